"""The tables of a finished study of regularisation, as figures and report read them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ptydesign.regularisation.config import TABLES
from ptydesign.study import tables


@dataclass(frozen=True)
class RegularisationTables(tables.Tables):
    """`errors`, `summary`, `dumbbells`, `trials`."""

    @property
    def plans(self) -> pd.DataFrame:
        """Summaries of the plans themselves."""
        factor = self["summary"]["factor"]
        return self["summary"][factor.isna() | (factor == "")]

    @property
    def factors(self) -> list[str]:
        """What is varied alone."""
        return [v["name"] for v in self.study["vary"]]

    def series(self, factor: str) -> list[tuple[float, str, bool]]:
        """(value, item, whether it is the plan's own) of a factor, in rising order."""
        first = self.study["plans"][0]["name"]
        rows = self["summary"][self["summary"]["factor"] == factor]
        found = [(float(r["value"]), str(r["item"]), False) for _, r in rows.iterrows()]
        path = next(v["path"] for v in self.study["vary"] if v["name"] == factor)
        found.append((_at(self.study["plans"][0]["plan"], path), first, True))
        return sorted(found)

    def curve(self, item: str) -> pd.DataFrame:
        """Errors of a reconstruction by sweep."""
        return self["errors"][self["errors"]["item"] == item].sort_values("sweep")


def _at(content: Any, path: str) -> float:
    for part in path.split("."):
        content = content[int(part)] if isinstance(content, list) else content[part]
    return float(content)


def read_tables(folder: Path) -> RegularisationTables:
    """The tables of a results folder. Raises InputError naming what is missing."""
    return tables.read_tables(folder, TABLES, sort=RegularisationTables)
