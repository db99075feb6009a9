"""The tables of a finished study of depth, as figures and report read them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ptydesign.depth.config import BASE, TABLES
from ptydesign.study import tables


@dataclass(frozen=True)
class DepthTables(tables.Tables):
    """`interstitials`, `columns`, `summary`, `thickness`."""

    @property
    def hold(self) -> str:
        """What is held while the assumed thickness varies: slice_thickness or slices."""
        return (self.study["thickness"] or {}).get("hold", "slice_thickness")  # studies of before had no choice

    def base(self, name: str) -> pd.DataFrame:
        """Rows of a table that belong to the base."""
        frame = self[name]
        return frame[frame["variant"] == BASE].reset_index(drop=True)

    def row(self, variant: str = BASE) -> pd.Series:
        """The summary of one experiment."""
        return self["summary"][self["summary"]["variant"] == variant].iloc[0]

    def varied_alone(self, key: str) -> pd.DataFrame:
        """Summaries of the base and of the variants that change only `key`, in its order; those with a result."""
        frame = self["summary"]
        alone = frame["changed"].isna() | frame["changed"].isin(["", key])
        return frame[alone & (frame["status"] == "ok")].sort_values(key)

    def guesses(self, varied: str) -> pd.DataFrame:
        """Assumptions that gave a misfit, of those of `thickness` or of `slices`."""
        frame = self["thickness"]
        good = (frame["status"] != "diverged") & frame["misfit_held_out"].notna()
        return frame[(frame["varied"] == varied) & good]

    def varied_keys(self) -> list[str]:
        """Numbers of the experiment of which a variant changes just one."""
        changed = [str(c) for c in self["summary"]["changed"].dropna() if str(c) and " " not in str(c)]
        return [key for key in dict.fromkeys(changed) if key in self["summary"].columns]


def read_tables(folder: Path) -> DepthTables:
    """The tables of a results folder. Raises InputError naming what is missing."""
    return tables.read_tables(folder, TABLES, sort=DepthTables)
