"""What the images of a study's designs carry: down to which period there is more signal than noise, bias, scatter."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ptydesign.experiment.config import OPTIMISED
from ptydesign.experiment.tables import ExperimentTables
from ptydesign.score.spread import period_a, rms_rad
from ptydesign.study.quantities import dose_text, fixed


@dataclass(frozen=True)
class Signal:
    """Of the re-simulations of a design. period_a: down to which an image has more signal than noise, None if nowhere;
    beyond: perhaps further, since the last ring has. bias_rad, scatter_rad: rms of what all have in common beside the
    truth, and of what differs between them."""

    period_a: float | None
    beyond: bool
    bias_rad: float
    scatter_rad: float

    @property
    def period(self) -> str:
        """ "2.13", "0.67 or less", "none"."""
        return "none" if self.period_a is None else fixed(self.period_a, 2) + " or less" * self.beyond


def signal(tables: ExperimentTables, dose: float, design: str) -> Signal | None:
    """What the rings of a design say; None where there are none."""
    rows, image = tables["spectrum"], tables.image(dose, design)
    if rows is None or image is None:
        return None
    rows = tables.at("spectrum", dose)
    return signal_of(rows[rows["design"] == design], image["attrs"]["pixel_a"])


def signal_of(rows: pd.DataFrame, pixel_a: Sequence[float]) -> Signal | None:
    """What the rings of one design say. pixel_a: (y, x) of its images."""
    if rows.empty:
        return None
    q, pixel = rows["q_per_a"].to_numpy(), math.sqrt(math.prod(pixel_a))
    ratio = rows["ssnr"].fillna(np.inf).to_numpy()
    rms = [rms_rad(q, rows[name].to_numpy(), pixel) for name in ("bias_rad", "scatter_rad")]
    found = period_a(q, ratio)
    beyond = found is not None and bool(found * (q[-1] + (q[-1] - q[-2]) / 2) < 1 + 1e-6)
    return Signal(found, beyond, *rms)


def carried(tables: ExperimentTables) -> str:
    """Down to which periods the images of both designs tell anything."""
    parts = []
    for dose in tables.doses:
        both = [signal(tables, dose, design) for design in (OPTIMISED, tables.reference)]
        if all(both):
            parts.append(f"{both[0].period} against {both[1].period} at {dose_text(dose)}")
    if not parts:
        return ""
    designs = f"{OPTIMISED} settings against {tables.reference} settings"
    return f"Periods in Å down to which an image has more signal than noise, {designs}: {'; '.join(parts)}."
