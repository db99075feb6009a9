"""The tables of a finished plan, as figures, sheet and notebooks read them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ptydesign import io
from ptydesign.config import read_yaml
from ptydesign.errors import InputError
from ptydesign.planning import layout


@dataclass(frozen=True)
class Tables:
    """folder: the results. plan: plan.yaml. frames: {name: table}. recommendation: what the sheet says. images:
    {recommended, expert: {arrays, attrs}}."""

    folder: Path
    plan: dict[str, Any]
    frames: dict[str, pd.DataFrame]
    recommendation: dict[str, Any]
    images: dict[str, dict[str, Any]]

    def __getitem__(self, name: str) -> pd.DataFrame:
        return self.frames[name]

    @property
    def recommended(self) -> dict[str, Any]:
        """Setting, operation and scores of the recommended design."""
        return self.recommendation["recommended"]

    @property
    def expert(self) -> dict[str, Any]:
        """The same of the rule of thumb."""
        return self.recommendation["expert"]


def read_tables(folder: Path) -> Tables:
    """Read tables/ and plan.yaml of a results folder. Raises InputError naming the file that is missing."""
    folder = Path(folder)
    for name in ["plan.yaml", *layout.table_files()]:
        if not (folder / name).is_file():
            raise InputError(str(folder / name), "must exist", "no file", "Run the plan first: ptydesign plan FILE.")
    frames = {}
    for name in layout.TABLES:
        path = folder / f"tables/{name}.csv"
        frames[name] = pd.read_csv(path) if path.read_text(encoding="utf-8").strip() else pd.DataFrame()
    recommendation = json.loads((folder / "tables/recommendation.json").read_text(encoding="utf-8"))
    images = io.read_images(folder / "tables/images.h5")
    return Tables(folder, read_yaml(folder / "plan.yaml"), frames, recommendation, images)
