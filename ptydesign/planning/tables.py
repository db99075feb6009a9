"""The tables of a finished plan, as figures, sheet and notebooks read them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ptydesign.study import tables
from ptydesign.study.records import read_record

TABLES = ("trials", "robustness", "candidates", "tolerance", "pareto", "limits", "screen", "summary")
RECOMMENDATION = "tables/recommendation.json"
TABLE_FILES = (*tables.table_files(TABLES), RECOMMENDATION)


@dataclass(frozen=True)
class PlanningTables(tables.Tables):
    """images: {recommended, expert: {arrays, attrs}}. recommendation: what the sheet says, in the microscope's sign."""

    recommendation: dict[str, Any]

    @property
    def recommended(self) -> dict[str, Any]:
        """Setting, operation and scores of the recommended design."""
        return self.recommendation["recommended"]

    @property
    def expert(self) -> dict[str, Any]:
        """The same of the rule of thumb."""
        return self.recommendation["expert"]


def read_tables(folder: Path) -> PlanningTables:
    """The tables of a results folder. Raises InputError naming the file that is missing."""
    found = tables.read_tables(folder, TABLES)
    recommendation = read_record(Path(folder), RECOMMENDATION)
    return PlanningTables(found.folder, found.study, found.made, found.frames, found.images, recommendation)
