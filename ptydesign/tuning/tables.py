"""The tables of a finished tuning study, as figures and report read them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ptydesign.design.space import SpaceConfig
from ptydesign.reconstruct.paths import label
from ptydesign.study import tables
from ptydesign.tuning.config import FOUND
from ptydesign.tuning.scope import OPTIONAL_TABLES, TABLES, Budget, combinations

METHODS = {"bo": "Bayesian optimisation", "random": "random search"}
METRICS = {
    "frc_area": "FRC area",
    "heldout_misfit": "held-out misfit",
    "ssim": "SSIM against truth",
    "psnr_db": "PSNR (dB)",
    "mse_rad2": "MSE (rad²)",
}


@dataclass(frozen=True)
class TuningTables(tables.Tables):
    """`trials`, `convergence`, `summary`, `chosen`, `budgets`, `pareto`, `saved`; those of `scope.OPTIONAL_TABLES`."""

    @property
    def truth(self) -> bool:
        """Whether there is a truth: the data are simulated."""
        return self.study["data"]["kind"] == "simulated"

    @property
    def metric(self) -> str:
        """The objective, the first if there are several."""
        return self.study["objective"]["metrics"][0]

    @property
    def sign(self) -> int:
        """-1 for an objective of which less is better: tables hold it negated."""
        return -1 if self.metric in ("heldout_misfit", "mse_rad2") else 1

    @property
    def q_max(self) -> float:
        """Largest frequency of the ring correlation's area, in 1/A."""
        return float(self.study["objective"]["q_max_per_a"])

    @property
    def budget(self) -> float:
        """The main budget."""
        return float(self.study["budget"]["values"][-1])

    @property
    def budgets(self) -> list[float]:
        """All budgets, rising."""
        return [float(value) for value in self.study["budget"]["values"]]

    @property
    def main(self) -> Budget:
        """The main budget, with its unit as the study has it."""
        return Budget(self.study["budget"]["unit"], self.budget)

    @property
    def combinations(self) -> float | None:
        """Number of different plans of the space; None for a continuous one."""
        return combinations(SpaceConfig.model_validate(self.study["space"]))

    @property
    def unit(self) -> str:
        """The budgets' unit, in words."""
        return "s" if self.study["budget"]["unit"] == "seconds" else "GFLOP"

    @property
    def plans(self) -> list[str]:
        """The plan that was found, if any, and its references."""
        known = [FOUND, *self.study["references"]]
        return [name for name in known if (self["budgets"]["plan"] == name).any()]

    @property
    def parameters(self) -> list[str]:
        """Paths of the space."""
        return list(self.study["space"])

    def labels(self) -> dict[str, str]:
        """Path -> words, with the engine's number where two paths have the same words."""
        words = {path: label(path) for path in self.parameters}
        twice = [w for w in words.values() if list(words.values()).count(w) > 1]
        return {path: path if w in twice else w for path, w in words.items()}

    def picture(self, **which: Any) -> dict[str, Any] | None:
        """The first picture whose attributes are these."""
        for group in self.images.values():
            if all(_equal(group["attrs"].get(name), value) for name, value in which.items()):
                return group
        return None

    def pictures(self, **which: Any) -> list[dict[str, Any]]:
        """All such pictures."""
        return [g for g in self.images.values() if all(_equal(g["attrs"].get(n), v) for n, v in which.items())]


def short(value: str) -> str:
    """A value of a parameter as it stands on an axis."""
    if value in ("True", "False"):
        return "on" if value == "True" else "off"
    try:
        return f"{float(value):g}"
    except ValueError:
        return value


def _equal(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, float) and isinstance(found, int | float):
        return bool(np.isclose(found, wanted))
    return found == wanted


def read_tables(folder: Path) -> TuningTables:
    """The tables of a results folder. Raises InputError naming what is missing."""
    # words such as "True" are values of parameters: they stay as they are written
    texts = {"value": str, "reason": str}
    return tables.read_tables(folder, (*TABLES, *OPTIONAL_TABLES), OPTIONAL_TABLES, texts, TuningTables)
