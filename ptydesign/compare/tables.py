"""The tables of a comparison, as figures and page read them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ptydesign.compare.config import WAYS
from ptydesign.compare.kind import TABLES, scores
from ptydesign.study import tables
from ptydesign.study.file import dose_name
from ptydesign.study.quantities import fixed

DECIMALS = {"psnr_db": 2, "mse_rad2": 4}  # of a score in a table; 3 of others


@dataclass(frozen=True)
class CompareTables(tables.Tables):
    """`draws`, `comparison`, `contrasts`, `spectrum`; results of earlier versions lack the last."""

    @property
    def doses(self) -> list[float]:
        """Doses in e/A^2, rising."""
        return list(self.study["doses_e_per_a2"])

    @property
    def way_word(self) -> str:
        """What designs are done by: a protocol or a reconstruction. It is a column of all tables."""
        return WAYS[0] if self.study.get("protocols") else WAYS[1]

    @property
    def ways(self) -> list[str]:
        """Protocols, or reconstructions, in the file's order."""
        return list(self.study[f"{self.way_word}s"])

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """(design, protocol or reconstruction) of all that is compared."""
        return [(design, way) for design in self.study["designs"] for way in self.ways]

    @property
    def asked(self) -> dict[str, tuple[str, str]]:
        """Contrasts: pairs of designs by name."""
        return self.study.get("contrasts", {})

    @property
    def scores(self) -> list[str]:
        """Columns of the scores that are compared, the objective first; earlier versions had fewer."""
        there = set(self["comparison"]["score"])
        return [score for score in scores(self.study["objective"]) if score in there]

    @property
    def level(self) -> str:
        """Of the intervals, in words."""
        return f"{100 * self.study['confidence']:g} %"

    def name(self, pair: tuple[str, str]) -> str:
        """What a pair is called: by what differs between pairs."""
        design, way = pair
        if len(self.ways) == 1:
            return design
        return way if len(self.study["designs"]) == 1 else f"{design} with {way}"

    def row(self, score: str, dose: float, pair: tuple[str, str]) -> pd.Series:
        """What is known of a pair at a dose."""
        frame = self["comparison"]
        here = (frame["score"] == score) & np.isclose(frame["dose_e_per_a2"], dose)
        return frame[here & (frame["design"] == pair[0]) & (frame[self.way_word] == pair[1])].iloc[0]

    def values(self, score: str, dose: float, pair: tuple[str, str]) -> np.ndarray:
        """A pair's scores of single draws."""
        frame = self["draws"]
        here = np.isclose(frame["dose_e_per_a2"], dose) & (frame["design"] == pair[0])
        return frame[here & (frame[self.way_word] == pair[1])].sort_values("draw")[score].to_numpy(float)

    def contrast(self, score: str, name: str, dose: float, way: str) -> pd.Series:
        """The answer to a contrast at a dose."""
        frame = self["contrasts"]
        here = (frame["score"] == score) & (frame["contrast"] == name) & np.isclose(frame["dose_e_per_a2"], dose)
        return frame[here & (frame[self.way_word] == way)].iloc[0]

    def rings(self, dose: float, pair: tuple[str, str]) -> pd.DataFrame | None:
        """What a pair's draws say by ring of spatial frequency; None where that isn't known."""
        frame = self["spectrum"]
        if frame is None or frame.empty:
            return None
        here = np.isclose(frame["dose_e_per_a2"], dose) & (frame["design"] == pair[0])
        found = frame[here & (frame[self.way_word] == pair[1])]
        return None if found.empty else found

    def image(self, dose: float, pair: tuple[str, str]) -> dict[str, Any] | None:
        """The images of a pair's first draw; None if it failed."""
        return self.images.get("-".join([dose_name(dose), *pair]))


def read_tables(folder: Path) -> CompareTables:
    """The tables of a results folder. Raises InputError naming what is missing."""
    texts = dict.fromkeys(("design", "contrast", *WAYS), str)
    return tables.read_tables(folder, TABLES, optional=("contrasts", "spectrum"), texts=texts, sort=CompareTables)


def value_text(score: str, value: float) -> str:
    """A score, or a difference of scores, with the decimals of its kind."""
    return fixed(float(value), DECIMALS.get(score, 3))


def interval_text(score: str, low: float, high: float) -> str:
    """Empty where there is none."""
    return f"{value_text(score, low)} to {value_text(score, high)}" if np.isfinite(low) else ""
