"""Strict configuration: every section of a study or plan file is a frozen pydantic model made from `Strict`.

Each layer owns the section that describes it (samples in `simulate.specimen`, the search space in
`design.space`, ...); this module has what they share: strictness and errors that tell what to do.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from ptydesign.errors import InputError, nearest

Model = TypeVar("Model", bound=BaseModel)


class Strict(BaseModel):
    """Base of all configuration: unknown keys are refused, values are frozen, NaN and infinity are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, validate_default=True)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML (or JSON) file. Raises InputError if it is missing or is not a mapping."""
    path = Path(path)
    if not path.is_file():
        raise InputError("file", "must exist", str(path), "Check the path, or copy a study folder that has one.")
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeys)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(str(path), "must be valid YAML", str(error), "Correct the line it names.") from None
    if not isinstance(content, dict):
        raise InputError(str(path), "must be a mapping of keys to values", content, "See studies/lowdose/study.yaml.")
    return content


def build(model: type[Model], content: Mapping[str, Any], source: str) -> Model:
    """Validate a mapping. Raises InputError for the first problem: field path, rule, value received, mend."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise _explain(error, model, source) from None


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `changes` laid over it, mapping by mapping; anything that is not a mapping is replaced."""
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        merged[key] = merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


class _UniqueKeys(yaml.SafeLoader):
    """YAML loader that refuses a key given twice (the first value would silently be lost)."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen: set = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.YAMLError(f"key {key!r} is given twice{key_node.start_mark}")
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


# YAML 1.1 reads "5e4" as a string; numbers written that way are meant as numbers.
_UniqueKeys.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    __import__("re").compile(r"^[-+]?(?:[0-9][0-9_]*)(?:\.[0-9_]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


def _explain(error: ValidationError, model: type[BaseModel], source: str) -> InputError:
    """The first problem of a pydantic error as an InputError; a misspelt key before the key that is missing for it."""
    # a list whose items are wrong is also "too short": no problem of its own
    problems = [p for p in error.errors() if p["type"] != "too_short" or error.error_count() == 1]
    unknown = [p for p in problems if p["type"] == "extra_forbidden"]
    first = unknown[0] if unknown and problems[0]["type"] == "missing" else problems[0]
    cause = first.get("ctx", {}).get("error")
    path = ".".join(str(part) for part in first["loc"])
    if isinstance(cause, InputError):
        field = f"{path}.{cause.field}" if path and cause.field not in path else path or cause.field
        return InputError(f"{source}: {field}", cause.rule, cause.value, cause.mend)
    others = len(problems) - 1
    more = f" ({others} more problem{'s' if others > 1 else ''} after this one.)" if others else ""
    if first["type"] == "extra_forbidden":
        known = _fields_at(model, first["loc"][:-1])
        return InputError(
            f"{source}: {path}",
            "is not a known key",
            first["input"],
            nearest(str(first["loc"][-1]), known) + more,
        )
    if first["type"] == "union_tag_invalid":
        kind = first["ctx"]["discriminator"].strip("'")
        known = [tag.strip("' ") for tag in first["ctx"]["expected_tags"].split(",")]
        return InputError(
            f"{source}: {path}.{kind}", "is not known", first["ctx"]["tag"], nearest(first["ctx"]["tag"], known) + more
        )
    if first["type"] == "literal_error" and isinstance(first["input"], str):
        known = first["ctx"]["expected"].split("'")[1::2]
        return InputError(f"{source}: {path}", "is not known", first["input"], nearest(first["input"], known) + more)
    if first["type"] == "union_tag_not_found":
        kind = first["ctx"]["discriminator"].strip("'")
        return InputError(f"{source}: {path}.{kind}", "is required", first["input"], f"Say which {kind}.{more}")
    if first["type"] == "missing":
        return InputError(f"{source}: {path}", "is required", "nothing", f"Add it.{more}")
    return InputError(
        f"{source}: {path}",
        first["msg"][0].lower() + first["msg"][1:],
        first["input"],
        f"Correct it in {source}.{more}",
    )


def _fields_at(model: type[BaseModel], location: tuple) -> list[str]:
    """Names of the fields of the model found by following `location` from `model`; unions without a tag give all."""
    from typing import get_args

    def models_in(annotation: Any) -> list[type[BaseModel]]:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            return [annotation]
        return [m for part in get_args(annotation) for m in models_in(part)]

    current = [model]
    for part in location:
        found = []
        for candidate in current:
            if part in candidate.model_fields:
                found += models_in(candidate.model_fields[part].annotation)
        # an index: stay; the tag of a union: the models that have it as a value
        tagged = [m for m in current if any(f.default == part for f in m.model_fields.values())]
        current = found or (tagged if isinstance(part, str) else []) or current
    return sorted({alias for m in current for alias in m.model_fields})
