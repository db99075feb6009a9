"""tables/ of a study of a thick sample: what `collect` writes, and figures and report are drawn from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from ptydesign import io
from ptydesign.errors import InputError
from ptydesign.study.file import PLAN

if TYPE_CHECKING:
    import pandas as pd

IMAGES = "tables/images.h5"


def table_files(names: Sequence[str]) -> list[str]:
    """Files of the tables and of the images, relative to the results folder."""
    return [*(f"tables/{name}.csv" for name in names), IMAGES]


def write_tables(
    results: Path, frames: Mapping[str, pd.DataFrame], images: Mapping[str, Mapping[str, Any]]
) -> list[Path]:
    """Write tables/ of a finished study; returns the paths."""
    paths = [Path(results) / file for file in table_files(list(frames))]
    for path, frame in zip(paths, frames.values(), strict=False):
        io.write_text(path, frame.to_csv(index=False, lineterminator="\n", float_format="%.6g"))
    io.write_images(paths[-1], images)
    return paths


def read_contents(results: Path, names: Sequence[str]) -> dict[str, Any]:
    """Fields of a kind's Tables: `folder`, `plan` (plan.yaml), `images`, and each table under its name.

    Raises InputError naming what is missing.
    """
    import pandas as pd

    folder = Path(results)
    for file in table_files(names):
        if not (folder / file).is_file():
            raise InputError(str(folder / file), "must exist", "no file", "Run the study again.")
    frames = {name: pd.read_csv(folder / "tables" / f"{name}.csv") for name in names}
    plan = yaml.safe_load((folder / PLAN).read_text(encoding="utf-8"))
    return {"folder": folder, "plan": plan, **frames, "images": io.read_images(folder / IMAGES)}
