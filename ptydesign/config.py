"""Strict configuration: every section of a study or plan file is a frozen pydantic model made from `Strict`.

Each layer owns the section that describes it (samples in `simulate.specimen`, the search space in
`design.space`, ...); this module has what they share: strictness and errors that tell what to do.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, RootModel, ValidationError, WithJsonSchema, model_validator

from ptydesign.errors import NOTHING, InputError, nearest
from ptydesign.functions import beside
from ptydesign.slips import in_known_unit, meant
from ptydesign.yamls import read_yaml as read_yaml

Model = TypeVar("Model", bound=BaseModel)

MOST_ITEMS = 1000  # of a list in a file
MOST_PROBLEMS = 12  # that are shown at once
Count = Annotated[int, Field(ge=1, le=10_000)]  # of repeats, draws, sweeps: more is a slip of the keyboard
MOST_LETTERS = 10_000  # of a text in a file
LARGEST_WHOLE = 2**63 - 1  # number in a file: what a processor's integer holds
# Largest magnitudes of numbers, by the names or the last parts of the names of keys: no instrument has more.
LARGEST = {
    "thermal_sigma_a": 2.0,
    "step_a": 1e4,
    "pixel_a": 100.0,
    "a": 1e6,
    "nm": 1e6,
    "um": 1e5,
    "mm": 1e5,
    "mrad": 1e3,
    "deg": 1e4,
    "px": 16_384,
    "bin": 1024,
    "pa": 1e9,
    "us": 1e9,
    "s": 1e7,
}


class Strict(BaseModel):
    """Base of all configuration: unknown keys are refused, values are frozen, NaN and infinity are refused, and so are
    words and booleans where a number belongs. The text under a field is its description."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, validate_default=True, use_attribute_docstrings=True
    )

    @model_validator(mode="before")
    @classmethod
    def _numbers_are_numbers(cls, content: Any) -> Any:
        wrong = {}
        for name in cls.model_fields if isinstance(content, Mapping) else ():
            try:
                _check_size(name, content.get(name))
                _check_numbers(name, content.get(name), _not_numbers(cls, name))
            except InputError as error:  # raised here, it would hide what is wrong with other fields
                wrong[name] = _Wrong(error)
        return {**content, **wrong} if wrong else content

    @classmethod
    def instead_of(cls, key: str, value: Any) -> str:
        """What to write instead of a key that isn't known here and belongs elsewhere; or nothing."""
        return ""


@dataclass(frozen=True)
class _Wrong:
    """Stands where a file has a value that is refused: no field's type takes it."""

    error: InputError


def cause_of(problem: Mapping[str, Any]) -> InputError | None:
    """The InputError behind one of pydantic's problems, if one is."""
    if isinstance(problem["input"], _Wrong):
        return problem["input"].error
    cause = problem.get("ctx", {}).get("error")
    return cause if isinstance(cause, InputError) else None


def one_of(known: Iterable[Any]) -> WithJsonSchema:
    """For `Annotated`: the known values of a field whose validator refuses others, for the schema."""
    return WithJsonSchema({"enum": list(known)})


def build(
    model: type[Model], content: Mapping[str, Any], source: str, header: Mapping[str, Any] | None = None
) -> Model:
    """Validate a mapping. Raises InputError for all problems: field path, rule, value received, mend of each.

    header: fields that the caller sets, not the user. Functions that a file names are looked for beside it.
    """
    content = {**content, **(header or {})}
    try:
        with beside(source):
            return model.model_validate(content)
    except ValidationError as error:
        raise _explain(error, model, source, content, set(header or ())) from None


def holds(content: Any, path: str) -> bool:
    """Whether nested mappings and lists have a value at a path such as `reconstruction.engines.0.group`."""
    for part in path.split("."):
        content = _inside(content, int(part) if part.isdigit() and isinstance(content, list) else part)
        if content is NOTHING:
            return False
    return True


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `changes` laid over it, mapping by mapping; anything that is not a mapping is replaced."""
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        merged[key] = merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


# Types of pydantic's errors that speak of Python -> rules in the words of a file.
_RULES = {
    "model_attributes_type": "must be a mapping of keys to values",
    "model_type": "must be a mapping of keys to values",
    "dict_type": "must be a mapping of keys to values",
    "tuple_type": "must be a list",
    "path_type": "must be a file's path",
    "string_type": "must be text",
    "too_short": "must have at least {min_length} item(s)",
}

_MENDS = {
    "tuple_type": "Write it in brackets, as [a, b].",
    "string_type": 'Put it in quotes, as "123".',
    "too_short": "List what there is, as [a, b].",
}

_BOUNDS = {
    "greater_than": "greater than",
    "greater_than_equal": "at least",
    "less_than": "less than",
    "less_than_equal": "at most",
}


def _check_numbers(name: str, value: Any, refused: tuple[type, ...]) -> None:
    """Refuse what pydantic would turn into a number, words and booleans."""
    wrong = [one for one in _scalars(value) if isinstance(one, refused)]
    if wrong:
        mend = "Write the number alone: no unit, no quotes." if isinstance(wrong[0], str) else "Give a number."
        raise InputError(name, "must be a number", wrong[0], meant({"type": "", "input": value}) or mend)


def _check_size(name: str, value: Any) -> None:
    """Refuse what nobody means: endless lists and texts, numbers that no instrument has."""
    if isinstance(value, list | tuple | dict) and len(value) > MOST_ITEMS:
        raise InputError(name, f"must have at most {MOST_ITEMS} items", f"{len(value)} items", "List fewer.")
    if isinstance(value, str) and len(value) > MOST_LETTERS:
        raise InputError(name, f"must have at most {MOST_LETTERS} letters", value, "Shorten it.")
    for number in () if isinstance(value, Mapping) else _scalars(value):  # a section looks after its own
        if isinstance(number, int) and abs(number) > LARGEST_WHOLE:
            raise InputError(name, f"must be at most {LARGEST_WHOLE}", number, "Remove the digits that are too many.")
    *words, unit = name.split("_")
    largest = LARGEST.get(name, LARGEST.get(unit) if words and "per" not in words else None)
    if largest is None:
        return
    for number in _scalars(value):
        if isinstance(number, int | float) and not isinstance(number, bool) and abs(number) > largest:
            rule = f"must be at most {largest:g}: no instrument and no sample has more"
            raise InputError(name, rule, number, "Is it in another unit?")


@functools.cache
def _not_numbers(model: type[BaseModel], name: str) -> tuple[type, ...]:
    """Types that pydantic would turn into a number where the model's field takes none of them."""
    annotation = model.model_fields[name].annotation
    known = set(_leaves(annotation))
    if not known & {int, float} or _models_in(annotation):  # a model looks after its own fields
        return ()
    return tuple(kind for kind in (str, bool) if kind not in known)


def _leaves(annotation: Any) -> Iterable[Any]:
    if get_origin(annotation) is Literal:
        return {type(value) for value in get_args(annotation)}
    if get_origin(annotation) is dict:
        return _leaves(get_args(annotation)[1])
    if get_origin(annotation) is Annotated:
        return _leaves(get_args(annotation)[0])
    parts = get_args(annotation)
    return [leaf for part in parts for leaf in _leaves(part)] if parts else [annotation]


def _scalars(value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        return [v for v in value.values() if not isinstance(v, Mapping | list | tuple)]
    return [s for v in value for s in _scalars(v)] if isinstance(value, list | tuple) else [value]


def rule_and_mend(problem: Mapping[str, Any], otherwise: str) -> tuple[str, str]:
    """One of pydantic's problems in the words of a file, and what to do; `otherwise`, if it is no bound."""
    kind, context = problem["type"], problem.get("ctx", {})
    if kind in _BOUNDS:
        (bound,) = context.values()
        return f"must be {_BOUNDS[kind]} {bound:g}", f"Give a number that is {_BOUNDS[kind]} {bound:g}."
    if kind in _RULES:
        return _RULES[kind].format(**context), _MENDS.get(kind, otherwise)
    words = problem["msg"].removeprefix("Input should ")
    return f"must {words}" if words != problem["msg"] else words[0].lower() + words[1:], otherwise


def _explain(
    error: ValidationError, model: type[BaseModel], source: str, content: Mapping[str, Any], header: set[str]
) -> InputError:
    """All problems of a pydantic error as an InputError; a misspelt key before the key that is missing for it."""
    # a list whose items are wrong is also "too short": no problem of its own
    problems = [p for p in error.errors() if p["type"] != "too_short" or error.error_count() == 1]
    problems = [p for p in problems if not _of_another_member(p)] or problems
    unknown = [p for p in problems if p["type"] == "extra_forbidden"]
    if unknown and problems[0]["type"] == "missing":
        problems = [unknown[0], *(p for p in problems if p is not unknown[0])]
    found: dict[str, InputError] = {}  # of a union, the first member's problem with a field is enough
    for problem in problems[: 4 * MOST_PROBLEMS]:
        for one in (_problem(problem, model, source, content, header), *_of_no_member(problem, model, source, content)):
            found.setdefault(one.field, one)
    first, *others = list(found.values())[:MOST_PROBLEMS]
    return InputError(first.field, first.rule, first.value, first.mend, others)


def _problem(
    first: Mapping[str, Any], model: type[BaseModel], source: str, content: Mapping[str, Any], header: set[str]
) -> InputError:
    """One of pydantic's problems."""
    cause = cause_of(first)
    path, models = _place(model, first["loc"], content, first["type"] == "missing")
    known_here = {name for one in models for name in one.model_fields}
    if cause is not None:
        # a validator of one field names the field that the path ends in already
        named = not path or f".{path}".endswith(f".{cause.field}")
        field = (path or cause.field) if named else f"{path}.{cause.field}"
        return InputError(f"{source}: {field}", cause.rule, cause.value, cause.mend)
    if first["type"] == "extra_forbidden":
        known, key, value = known_here - (header if "." not in path else set()), str(first["loc"][-1]), first["input"]
        elsewhere = next(filter(None, (one.instead_of(key, value) for one in models if issubclass(one, Strict))), "")
        mend = in_known_unit(key, value, known) or elsewhere or nearest(key, known)
        return InputError(f"{source}: {path}", "is not a known key", value, mend)
    if first["type"] == "union_tag_invalid":
        kind = first["ctx"]["discriminator"].strip("'")
        known = [tag.strip("' ") for tag in first["ctx"]["expected_tags"].split(",")]
        return InputError(
            f"{source}: {path}.{kind}", "is not known", first["ctx"]["tag"], nearest(first["ctx"]["tag"], known)
        )
    if first["type"] == "literal_error" and isinstance(first["input"], str):
        known = first["ctx"]["expected"].split("'")[1::2]
        return InputError(f"{source}: {path}", "is not known", first["input"], nearest(first["input"], known))
    if first["type"] == "union_tag_not_found":
        kind = first["ctx"]["discriminator"].strip("'")
        return InputError(f"{source}: {path}.{kind}", "is required", NOTHING, f"Say which {kind}.")
    if first["type"] == "missing":
        return InputError(f"{source}: {path}", "is required", NOTHING, "Add it.")
    rule, mend = rule_and_mend(first, f"Correct it in {source}.")
    return InputError(f"{source}: {path}", rule, first["input"], meant(first, known_here) or mend)


def _of_no_member(
    problem: Mapping[str, Any], model: type[BaseModel], source: str, content: Mapping[str, Any]
) -> Iterable[InputError]:
    """Keys that no member of a union has, where it isn't known which one is meant."""
    if problem["type"] != "union_tag_invalid":
        return
    path, models = _place(model, (*problem["loc"], ""), content, missing=True)
    known = {name for one in models for name in one.model_fields}
    for key, value in problem["input"].items():
        if key not in known:
            yield InputError(f"{source}: {path}{key}", "is not a known key", value, nearest(str(key), known))


def _of_another_member(problem: Mapping[str, Any]) -> bool:
    """Whether a mapping isn't a number, or a number no mapping: of a union, that says what wasn't meant."""
    if isinstance(problem["input"], _Wrong):
        return False
    mapping = isinstance(problem["input"], Mapping)
    return problem["type"] in (("float_type", "int_type") if mapping else ("dict_type",))


def _place(model: type[BaseModel], location: tuple, content: Any, missing: bool) -> tuple[str, list[type[BaseModel]]]:
    """A pydantic location as a path of the user's file, and the models whose keys are known beside its last part.

    pydantic also names which member of a union it tried; that is no key of the file and is left out. Of a union, only
    the member that the content chooses counts. missing: the last part is a key that should be there.
    """
    parts: list[str] = []
    beside = models = _chosen([model], content)
    for number, part in enumerate(location):
        inside = _inside(content, part)
        fields = [m.model_fields[part].annotation for m in models if part in m.model_fields]
        last = number == len(location) - 1
        written = content is not NOTHING  # else a default, or made by a validator
        if written and inside is NOTHING and not fields and not (last and missing):
            continue
        parts.append(str(part))
        beside, content = models, inside
        # an index or the name of an entry leads to what the annotation holds, which is what we have
        models = _chosen([m for a in fields for m in _models_in(a)] if fields else models, content)
    return ".".join(parts), beside


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, RootModel):
        return _models_in(annotation.model_fields["root"].annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [m for part in get_args(annotation) for m in _models_in(part)]


def _chosen(models: list[type[BaseModel]], content: Any) -> list[type[BaseModel]]:
    """Those models whose fixed values (kind, engine) are the content's; all, if none are."""

    def fits(model: type[BaseModel]) -> bool:
        fixed = {n: f for n, f in model.model_fields.items() if get_origin(f.annotation) is Literal}
        return all(content.get(n, f.default) in get_args(f.annotation) for n, f in fixed.items() if _single(f))

    return ([m for m in models if fits(m)] or models) if isinstance(content, Mapping) else models


def _single(field: Any) -> bool:
    return len(get_args(field.annotation)) == 1


def _inside(content: Any, part: Any) -> Any:
    if isinstance(content, Mapping):
        return content.get(part, NOTHING)
    if isinstance(content, list | tuple) and isinstance(part, int) and part < len(content):
        return content[part]
    return NOTHING
