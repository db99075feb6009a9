"""A plan from a file, or from a study's folder, checked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ptydesign.config import build, merge, read_yaml
from ptydesign.errors import InputError
from ptydesign.planning.checks import check_plan
from ptydesign.planning.config import PlanConfig
from ptydesign.study.file import DEFAULT_SCALE, in_file, load_study

TEMPLATE = Path(__file__).parent / "template.yaml"
KIND = "plan"


def study_name(path: Path) -> str:
    """Name of the study that a plan's file becomes: the file's name with underscores for what may not be in it."""
    return re.sub(r"[^A-Za-z0-9_]", "_", Path(path).stem)


def read_plan(path: Path, scale: str = DEFAULT_SCALE) -> tuple[PlanConfig, list[str]]:
    """(checked plan, warnings) of a YAML file or of a folder with a study.yaml. Raises InputError."""
    path = Path(path)
    if path.is_dir():
        source, plan = path / "study.yaml", load_study(path, scale, PlanConfig)
    else:
        source, plan = path, _build(read_yaml(path), str(path), study_name(path), scale)
    with in_file(source):
        return check_plan(plan, source.parent)


def make_plan(content: Mapping[str, Any], name: str, scale: str = DEFAULT_SCALE) -> tuple[PlanConfig, list[str]]:
    """(checked plan, warnings) of a dict, as a file would hold it. Raises InputError."""
    return check_plan(_build(dict(content), "plan", name, scale), Path.cwd())


def _build(content: dict[str, Any], source: str, name: str, scale: str) -> PlanConfig:
    kind = content.pop("kind", KIND)
    if kind != KIND:
        raise InputError(f"{source}: kind", f"must be {KIND}", kind, "Give a plan; `ptydesign init` writes one.")
    changes = (content.pop("scales", None) or {}).get(scale) or {}
    return build(PlanConfig, merge(content, changes), source, {"study": name, "scale": scale})
