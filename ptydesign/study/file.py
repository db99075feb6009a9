"""The study file: what all kinds of studies share. `study.yaml` says its kind (`experiment` if it says none), and its
`scales` section holds what differs from scale to scale."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, Field

from ptydesign.config import Strict, build, holds, merge, read_yaml
from ptydesign.errors import InputError, nearest

Model = TypeVar("Model", bound=BaseModel)

SCALES = ("smoke", "preview", "paper")
DEFAULT_SCALE = "preview"
FOLDER_NAME = r"^[A-Za-z0-9_]+$"  # it becomes part of file names and of Snakemake's rules
KIND, DEFAULT_KIND = "kind", "experiment"
RENAMED = {"plan": "planning"}  # kinds as they used to be called; see `named_today`
RESOLVED = "resolved.yaml"  # in the results: every setting of the study, and what made it
OLD_RESOLVED = "plan.yaml"


def named_today(kind: Any) -> Any:
    """A kind's name as it is called today; anything else that a file may hold there, as a list, as it is."""
    return RENAMED.get(kind, kind) if isinstance(kind, str) else kind


def kind_of(folder: Path, known: Iterable[str]) -> str:
    """The kind of a folder's study. Raises InputError if it is none of the known ones."""
    path = Path(folder) / "study.yaml"
    kind = named_today(read_yaml(path).get(KIND, DEFAULT_KIND))
    if kind not in list(known):
        raise InputError(f"{path}: {KIND}", "is not a known kind of study", kind, nearest(str(kind), known))
    return kind


def resolved_file(results: Path) -> Path:
    """The file of a results folder that holds its settings, under the name that it has there."""
    new, old = Path(results) / RESOLVED, Path(results) / OLD_RESOLVED
    return old if old.exists() and not new.exists() else new


def folder_name(study: str, scale: str) -> str:
    """Name of the results folder: results/<study>, or results/<study>-<scale> for a scale that isn't the default."""
    return study if scale == DEFAULT_SCALE else f"{study}-{scale}"


def _with_words(title: str) -> str:
    if not title.strip():
        raise InputError("title", "must have a word: it heads the pages", title, "Say what it is, in a few words.")
    return title


Title = Annotated[str, AfterValidator(_with_words)]


class StudyFile(Strict):
    """What every study says of itself."""

    study: str = Field(pattern=FOLDER_NAME)
    """Name of the study's folder; not in the file."""
    title: Title
    """What heads the report."""
    question: str
    """The question that the study answers, in a sentence or two; it heads the report."""
    scale: Literal["smoke", "preview", "paper"] = DEFAULT_SCALE
    """Scale of the run; not in the file."""
    seed: int = Field(0, ge=0, lt=2**31)
    """Start of all random numbers; another seed repeats the study with other noise."""


@contextmanager
def in_file(path: Path) -> Iterator[None]:
    """Errors inside are raised with the file before their field."""
    try:
        yield
    except InputError as error:
        raise error.within(str(path)) from None


def load_study(folder: Path, scale: str, model: type[Model]) -> Model:
    """The study of a folder at one scale: its study.yaml with `scales.<scale>` laid over it, validated as `model`,
    which has the fields `study` and `scale` for what isn't in the file.

    Raises InputError naming the field, the rule, the value and the mend.
    """
    path = Path(folder) / "study.yaml"
    content = read_yaml(path)
    content.pop(KIND, None)
    return build_study(content, str(path), name_of(folder), scale, model)


def name_of(folder: Path) -> str:
    """Name of the study of a folder. Raises InputError for one that can't be."""
    name = Path(folder).resolve().name
    if not re.fullmatch(FOLDER_NAME, name):
        rule = "its folder's name must consist of letters (a to z), digits and underscores"
        raise InputError(f"{Path(folder) / 'study.yaml'}: study", rule, name, "Rename the folder.")
    return name


def build_study(content: Mapping[str, Any], source: str, name: str, scale: str, model: type[Model]) -> Model:
    """`load_study` for the content of a file, without its kind. source, name: of the file, and of the study.

    The other scales' values are checked too, so that a misspelt key is found before the long run.
    """
    if scale not in SCALES:
        raise InputError("scale", "must be a known scale", scale, nearest(str(scale), SCALES))
    content = dict(content)
    scales = content.pop("scales", None) or {}
    if not isinstance(scales, Mapping):
        raise InputError(f"{source}: scales", "must be a mapping of scale to changes", scales, "See studies/lowdose.")
    for key, changes in scales.items():
        if key not in SCALES:
            raise InputError(f"{source}: scales.{key}", "is not a known scale", key, nearest(str(key), SCALES))
        if changes is not None and not isinstance(changes, Mapping):
            raise InputError(f"{source}: scales.{key}", "must be a mapping", changes, "Write keys as at the top level.")
        for field, rule in (("study", "comes from the folder's name"), ("scale", "is chosen by --config scale=...")):
            if field in content or field in (changes or {}):
                raise InputError(f"{source}: {field}", rule, content.get(field), "Remove it.")
    built = {one: _at_scale(content, source, name, one, scales.get(one) or {}, model) for one in {scale: 0, **scales}}
    return built[scale]


def _at_scale(
    content: Mapping[str, Any], source: str, name: str, scale: str, changes: Mapping[str, Any], model: type[Model]
) -> Model:
    try:
        return build(model, merge(content, changes), source, {"study": name, "scale": scale})
    except InputError as error:

        def placed(one: InputError) -> InputError:
            place = one.field.removeprefix(f"{source}: ")
            return one.at(f"{source}: scales.{scale}.{place}") if holds(changes, place) else one

        found = placed(error)
        raise InputError(found.field, found.rule, found.value, found.mend, [placed(o) for o in error.others]) from None


def dose_name(dose: float) -> str:
    """A dose as part of a file name: 1000, 0.5."""
    return str(int(dose)) if float(dose).is_integer() else repr(float(dose))
