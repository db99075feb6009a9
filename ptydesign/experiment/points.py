"""Points of a search: values of the experiment, and of its reconstruction, told apart by their names.

`step_a` is a number of the experiment, `reconstruction.engines.0.noise` a path in the study's plan.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ptydesign.reconstruct.paths import with_values
from ptydesign.reconstruct.plan import Plan
from ptydesign.study.acquisition import ExperimentConfig, at_point

RECONSTRUCTION = "reconstruction."


def is_path(name: str) -> bool:
    """Whether a name is a path in the plan of reconstruction."""
    return name.startswith(RECONSTRUCTION)


def of_experiment(point: Mapping[str, Any]) -> dict[str, Any]:
    """The values of the experiment."""
    return {name: value for name, value in point.items() if not is_path(name)}


def of_reconstruction(point: Mapping[str, Any]) -> dict[str, Any]:
    """The values of the plan by path; what has no meaning at the point is left out."""
    values = {name: value for name, value in point.items() if is_path(name) and value is not None}
    return {name.removeprefix(RECONSTRUCTION): value for name, value in values.items()}


def experiment_at(base: ExperimentConfig, point: Mapping[str, Any], where: str = "point") -> ExperimentConfig:
    """An experiment with a point's values. Raises InputError naming the value, in `where`."""
    return at_point(base, of_experiment(point), where)


def plan_at(base: Plan, point: Mapping[str, Any], where: str = "space") -> Plan | None:
    """A plan with a point's values; None for a point that has none. Raises InputError naming the path."""
    changes = of_reconstruction(point)
    # what the file says alone: another engine hasn't the defaults of this one
    content = base.model_dump(mode="json", exclude_unset=True)
    return with_values(content, changes, f"{where}.{RECONSTRUCTION[:-1]}") if changes else None
