"""A plan from a file, or from a study's folder, checked."""

from __future__ import annotations

import re
from pathlib import Path

from ptydesign.config import build, merge, read_yaml
from ptydesign.errors import InputError
from ptydesign.planning.checks import check_plan
from ptydesign.planning.config import PlanConfig
from ptydesign.study.file import DEFAULT_SCALE, load_study

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
        source, content = path, read_yaml(path)
        kind = content.pop("kind", KIND)
        if kind != KIND:
            raise InputError(f"{path}: kind", f"must be {KIND}", kind, "Give a plan; `ptydesign init` writes one.")
        changes = (content.pop("scales", None) or {}).get(scale) or {}
        plan = build(PlanConfig, merge(content, changes), str(path), {"study": study_name(path), "scale": scale})
    try:
        return check_plan(plan, source.parent)
    except InputError as error:
        raise InputError(f"{source}: {error.field}", error.rule, error.value, error.mend) from None
