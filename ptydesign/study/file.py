"""The study file: what all kinds of studies share. `study.yaml` says its kind (`experiment` if it says none), and its
`scales` section holds what differs from scale to scale."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from ptydesign.config import build, holds, merge, read_yaml
from ptydesign.errors import InputError, nearest

Model = TypeVar("Model", bound=BaseModel)

SCALES = ("smoke", "preview", "paper")
DEFAULT_SCALE = "preview"
FOLDER_NAME = r"^[A-Za-z0-9_]+$"  # it becomes part of file names and of Snakemake's rules
KIND, DEFAULT_KIND = "kind", "experiment"
PLAN = "plan.yaml"  # in the results: every setting of the study, and what made it


def kind_of(folder: Path, known: Iterable[str]) -> str:
    """The kind of a folder's study. Raises InputError if it is none of the known ones."""
    path = Path(folder) / "study.yaml"
    kind = read_yaml(path).get(KIND, DEFAULT_KIND)
    if kind not in known:
        raise InputError(f"{path}: {KIND}", "is not a known kind of study", kind, nearest(str(kind), known))
    return kind


def folder_name(study: str, scale: str) -> str:
    """Name of the results folder: results/<study>, or results/<study>-<scale> for a scale that isn't the default."""
    return study if scale == DEFAULT_SCALE else f"{study}-{scale}"


@contextmanager
def in_file(path: Path) -> Iterator[None]:
    """Errors inside are raised with the file before their field."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{path}: {error.field}", error.rule, error.value, error.mend) from None


def load_study(folder: Path, scale: str, model: type[Model]) -> Model:
    """The study of a folder at one scale: its study.yaml with `scales.<scale>` laid over it, validated as `model`,
    which has the fields `study` and `scale` for what isn't in the file.

    Raises InputError naming the field, the rule, the value and the mend.
    """
    path = Path(folder) / "study.yaml"
    if scale not in SCALES:
        raise InputError("scale", "must be a known scale", scale, nearest(str(scale), SCALES))
    content = read_yaml(path)
    content.pop(KIND, None)
    name = Path(folder).resolve().name
    if not re.fullmatch(FOLDER_NAME, name):
        rule = "its folder's name must consist of letters (a to z), digits and underscores"
        raise InputError(f"{path}: study", rule, name, "Rename the folder.")
    scales = content.pop("scales", None) or {}
    if not isinstance(scales, Mapping):
        raise InputError(f"{path}: scales", "must be a mapping of scale to changes", scales, "See studies/lowdose.")
    for key, changes in scales.items():
        if key not in SCALES:
            raise InputError(f"{path}: scales.{key}", "is not a known scale", key, nearest(str(key), SCALES))
        if changes is not None and not isinstance(changes, Mapping):
            raise InputError(f"{path}: scales.{key}", "must be a mapping", changes, "Write keys as at the top level.")
    for key in ("study", "scale"):
        if key in content or key in (scales.get(scale) or {}):
            rule = "comes from the folder's name" if key == "study" else "is chosen by --config scale=..."
            raise InputError(f"{path}: {key}", rule, content.get(key), "Remove it.")
    changes = scales.get(scale) or {}
    header = {"study": name, "scale": scale}
    try:
        return build(model, merge(content, changes), str(path), header)
    except InputError as error:
        place = error.field.removeprefix(f"{path}: ")
        if not holds(changes, place):
            raise
        raise InputError(f"{path}: scales.{scale}.{place}", error.rule, error.value, error.mend) from None
