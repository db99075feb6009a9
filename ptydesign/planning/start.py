"""A plan that is about to be carded or run: all that its jobs would refuse is refused here, in one place."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ptydesign import machine
from ptydesign.planning import scope, search
from ptydesign.planning.config import PlanningStudy
from ptydesign.planning.kind import KIND
from ptydesign.planning.load import make_plan, read_plan
from ptydesign.planning.resolve import PlanningResolved
from ptydesign.study import cost
from ptydesign.study.file import DEFAULT_SCALE, in_file


def read_to_start(path: Path, scale: str = DEFAULT_SCALE) -> tuple[PlanningStudy, list[str]]:
    """(plan, warnings) of a file or a study's folder, ready to run. Raises InputError."""
    plan, warnings = read_plan(path, scale)
    with in_file(Path(path) / "study.yaml" if Path(path).is_dir() else Path(path)):
        check_start(plan)
    return plan, warnings


def make_to_start(content: Mapping[str, Any], name: str, scale: str = DEFAULT_SCALE) -> None:
    """Check a plan that is a dict. Raises InputError."""
    check_start(make_plan(content, name, scale)[0])


def check_start(plan: PlanningStudy) -> None:
    """The searches have points to start from, and the jobs fit into this machine. About a second.

    Raises InputError."""
    resolved = PlanningResolved(plan, Path())
    for one in scope.searches(plan).values():
        search.check_first_points(resolved, one)
    cost.check_size(KIND, resolved)
    cost.check_memory(KIND, resolved, 1, machine.memory_bytes() / machine.GIB)
