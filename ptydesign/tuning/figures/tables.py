"""What figures and report of a tuning study may look at: its tables and plan."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ptydesign.config import read_yaml
from ptydesign.errors import InputError
from ptydesign.io import read_images
from ptydesign.reconstruct.paths import label
from ptydesign.tuning.config import FOUND

TABLES = ("trials", "convergence", "summary", "chosen", "budgets", "pareto", "saved")
OPTIONAL = ("validation", "doses", "effects", "example")
METHODS = {"bo": "Bayesian optimisation", "random": "random search"}
METRICS = {
    "frc_area": "FRC area",
    "heldout_misfit": "held-out misfit",
    "ssim": "SSIM against truth",
    "psnr_db": "PSNR (dB)",
    "mse_rad2": "MSE (rad²)",
}


@dataclass(frozen=True)
class Tables:
    """Tables of a finished tuning study by name (None where the study has none), its plan and pictures."""

    folder: Path
    plan: dict[str, Any]
    frames: dict[str, pd.DataFrame | None]
    images: dict[str, dict[str, Any]]

    def __getitem__(self, name: str) -> pd.DataFrame | None:
        return self.frames[name]

    @property
    def truth(self) -> bool:
        """Whether there is a truth: the data are simulated."""
        return self.plan["data"]["kind"] == "simulated"

    @property
    def metric(self) -> str:
        """The objective, the first if there are several."""
        return self.plan["objective"]["metrics"][0]

    @property
    def sign(self) -> int:
        """-1 for an objective of which less is better: tables hold it negated."""
        return -1 if self.metric in ("heldout_misfit", "mse_rad2") else 1

    @property
    def q_max(self) -> float:
        """Largest frequency of the ring correlation's area, in 1/A."""
        return float(self.plan["objective"]["q_max_per_a"])

    @property
    def budget(self) -> float:
        """The main budget."""
        return float(self.plan["budget"]["values"][-1])

    @property
    def budgets(self) -> list[float]:
        """All budgets, rising."""
        return [float(value) for value in self.plan["budget"]["values"]]

    @property
    def unit(self) -> str:
        """The budgets' unit, in words."""
        return "s" if self.plan["budget"]["unit"] == "seconds" else "GFLOP"

    @property
    def plans(self) -> list[str]:
        """The plan that was found, if any, and its references."""
        known = [FOUND, *self.plan["references"]]
        return [name for name in known if (self["budgets"]["plan"] == name).any()]

    @property
    def parameters(self) -> list[str]:
        """Paths of the space."""
        return list(self.plan["space"])

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


def _equal(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, float) and isinstance(found, int | float):
        return bool(np.isclose(found, wanted))
    return found == wanted


def read_tables(folder: Path) -> Tables:
    """The tables of a results folder. Raises InputError naming the one that is missing."""
    folder = Path(folder)
    plan = read_yaml(folder / "plan.yaml")
    frames: dict[str, pd.DataFrame | None] = {}
    for name in (*TABLES, *OPTIONAL):
        path = folder / "tables" / f"{name}.csv"
        if path.is_file():
            # words such as "True" are values of parameters: they stay as they are written
            frames[name] = pd.read_csv(path, dtype={"value": str, "reason": str}, keep_default_na=True)
        elif name in OPTIONAL:
            frames[name] = None
        else:
            mend = "Run the study's snakemake command again."
            raise InputError(str(path), "must exist", "no file", mend)
    return Tables(folder, plan, frames, read_images(folder / "tables" / "images.h5"))
