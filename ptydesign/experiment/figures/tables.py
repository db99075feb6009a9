"""Everything figures and report may look at: the tables and the resolved plan of a finished study, checked."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ptydesign.config import read_yaml
from ptydesign.errors import InputError
from ptydesign.io import read_images

OPTIMISED = "optimised"
STATUSES = ("ok", "failed", "diverged")
FAILED = "reconstruction failed"
LEAST_SSIM = 0.2  # below it a reconstruction shows nothing of the specimen
_PAPERS = {"cao2022": "Cao et al. 2022"}
_REDO = "Make it anew: delete it and run the study's snakemake command again."

# Table -> (columns that hold text, columns that hold numbers). Other columns are read as they come.
_COLUMNS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "trials": (("search", "status", "reason"), ("dose_e_per_a2", "round", "index", "objective", "psnr_db")),
    "validation": (("design", "simulator", "status", "reason"), ("dose_e_per_a2", "repeat", "psnr_db")),
    "recommended": (
        ("parameter", "unit"),
        ("dose_e_per_a2", "best", "low", "high", "searched_low", "searched_high"),
    ),
    "summary": (
        ("design", "simulator"),
        ("dose_e_per_a2", "n", "ssim_mean", "ssim_std", "psnr_db_mean", "psnr_db_std"),
    ),
    "convergence": (("search",), ("dose_e_per_a2", "trials", "best_objective")),
    "map": (("status", "reason"), ("dose_e_per_a2", "psnr_db")),
}


@dataclass(frozen=True)
class Tables:
    """A study's results. Frames have the columns listed in `docs/architecture.md` and the study's collect step.

    `maps` and `convergence` are None for a study that did not ask for them. images: {group: {"arrays", "attrs"}}.
    """

    folder: Path
    plan: dict[str, Any]
    trials: pd.DataFrame
    validation: pd.DataFrame
    recommended: pd.DataFrame
    summary: pd.DataFrame
    convergence: pd.DataFrame | None
    maps: pd.DataFrame | None
    images: dict[str, dict[str, dict[str, Any]]] = field(repr=False)

    @property
    def doses(self) -> list[float]:
        """All doses of the study in e/A^2, rising: those asked for and those found in the tables."""
        asked = [float(dose) for dose in self.plan.get("doses_e_per_a2") or []]
        found = [*self.recommended["dose_e_per_a2"], *self.summary["dose_e_per_a2"]]
        doses: list[float] = []
        for dose in sorted([*asked, *map(float, found)]):
            if not doses or not np.isclose(dose, doses[-1], rtol=1e-6):
                doses.append(dose)
        return doses

    @property
    def parameters(self) -> list[str]:
        """Names of the varied parameters, in the plan's order, then others in the table's order."""
        found = list(dict.fromkeys(self.recommended["parameter"]))
        planned = [name for name in self.plan.get("space") or {} if name in found or not found]
        return planned + [name for name in found if name not in planned]

    @property
    def reference(self) -> str:
        """Name of the design that the optimised one is compared with (`expert`)."""
        names = [name for name in dict.fromkeys(self.summary["design"]) if name != OPTIMISED]
        return names[0] if names else str((self.plan.get("reference") or {}).get("name", "expert"))

    @property
    def reference_point(self) -> dict[str, float]:
        """Numbers of the reference design: the plan's experiment with the reference's values laid over it."""
        point = {**(self.plan.get("experiment") or {}), **(self.plan.get("reference") or {})}
        return {name: float(value) for name, value in point.items() if _is_number(value)}

    def at(self, frame: pd.DataFrame, dose: float) -> pd.DataFrame:
        """The rows of one dose."""
        return frame[np.isclose(frame["dose_e_per_a2"].to_numpy(dtype=float), dose, rtol=1e-6)]

    def recommendation(self, dose: float, parameter: str) -> pd.Series | None:
        """The row of one parameter at one dose; None where no design was found."""
        rows = self.at(self.recommended, dose)
        rows = rows[(rows["parameter"] == parameter) & rows["best"].notna()]
        return None if rows.empty else rows.iloc[0]

    def scores(self, dose: float, design: str, simulator: str) -> pd.Series | None:
        """The summary's row, None where nothing was scored."""
        rows = self.at(self.summary, dose)
        rows = rows[(rows["design"] == design) & (rows["simulator"] == simulator) & (rows["n"] > 0)]
        return None if rows.empty or not np.isfinite(rows.iloc[0]["ssim_mean"]) else rows.iloc[0]

    def failed(self, dose: float, design: str, simulator: str = "jax") -> bool:
        """Whether the mean scores say that nothing was reconstructed; False where nothing was scored."""
        row = self.scores(dose, design, simulator)
        if row is None:
            return False
        runs = self.at(self.validation, dose)
        runs = runs[(runs["design"] == design) & (runs["simulator"] == simulator) & (runs["status"] == "ok")]
        contrast = runs["contrast"].mean() if "contrast" in runs.columns else np.nan
        return bool(row["ssim_mean"] < LEAST_SSIM or contrast <= 0)

    def fitted(self, dose: float) -> int:
        """Number of scored trials behind the search's surrogate model at a dose."""
        rows = self.at(self.trials, dose)
        return int(((rows["search"] == "bo") & rows["objective"].notna()).sum())

    @property
    def paper(self) -> str | None:
        """The publication that the study asks to be compared with."""
        return _PAPERS.get(self.plan.get("compare_with"))

    def after(self, place: str) -> str:
        """ " After Cao et al. 2022, Fig. 5." for a caption; empty where the study asks for no comparison."""
        return f" After {self.paper}, {place}." if self.paper else ""

    def image(self, dose: float, design: str) -> dict[str, dict[str, Any]] | None:
        """Group of images.h5 for one dose and design, None where there is none."""
        for group in self.images.values():
            attrs = group["attrs"]
            if "phase" not in group["arrays"] or attrs["design"] != design:
                continue
            if np.isclose(float(attrs["dose_e_per_a2"]), dose, rtol=1e-6):
                return group
        return None

    def log_scale(self, parameter: str) -> bool:
        """Whether the search space has this parameter on a logarithmic scale."""
        dimension = (self.plan.get("space") or {}).get(parameter)
        return isinstance(dimension, dict) and dimension.get("scale") == "log"


def read_tables(folder: Path) -> Tables:
    """Read and check plan.yaml and tables/ of a results folder.

    Raises InputError that names the file (and column) which is missing or wrong. map.csv and convergence.csv may be
    missing only if the plan asks for no map and no random search.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError("results folder", "must exist", str(folder), "Run the study first: snakemake studies/<name>.")
    plan = read_yaml(folder / "plan.yaml")
    frames = {}
    for name in _COLUMNS:
        path = folder / "tables" / f"{name}.csv"
        optional = (name == "map" and not plan.get("map")) or (name == "convergence" and not plan.get("random"))
        frames[name] = None if optional and not path.exists() else _read_table(path, *_COLUMNS[name])
    if frames["map"] is not None:
        frames["map"] = _check_map(folder / "tables" / "map.csv", frames["map"], plan)
    references = set(frames["summary"]["design"]) - {OPTIMISED}
    if len(references) > 1:
        path = folder / "tables" / "summary.csv"
        raise InputError(f"{path}: design", f"must be '{OPTIMISED}' or one other", sorted(references), _REDO)
    return Tables(
        folder=folder,
        plan=plan,
        trials=frames["trials"],
        validation=frames["validation"],
        recommended=frames["recommended"],
        summary=frames["summary"],
        convergence=frames["convergence"],
        maps=frames["map"],
        images=_read_images(folder / "tables" / "images.h5"),
    )


def extent_a(group: dict[str, dict[str, Any]], array: str) -> tuple[float, float]:
    """(y, x) size in angstrom of an image."""
    pixel = np.broadcast_to(np.asarray(group["attrs"]["pixel_a"], dtype=float), (2,))
    shape = group["arrays"][array].shape
    return float(shape[0] * pixel[0]), float(shape[1] * pixel[1])


def _read_table(path: Path, texts: tuple[str, ...], numbers: tuple[str, ...]) -> pd.DataFrame:
    if not path.is_file():
        raise InputError(str(path), "must exist", "no file", "Run the study's snakemake command; it makes this table.")
    try:
        frame = pd.read_csv(path, encoding="utf-8")
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise InputError(str(path), "must be a CSV table with a header", str(error), _REDO) from None
    missing = [name for name in (*texts, *numbers) if name not in frame.columns]
    if missing:
        raise InputError(f"{path}: {missing[0]}", "is a required column", list(frame.columns), _REDO)
    for name in texts:
        frame[name] = frame[name].astype(object).where(frame[name].notna(), "").astype(str)
    scores = [name for name in frame.columns if name.startswith("ssim_")]
    scores += [name for name in ("contrast",) if name in frame.columns]
    for name in dict.fromkeys([*numbers, *scores]):
        try:
            frame[name] = pd.to_numeric(frame[name]).astype(float)
        except (ValueError, TypeError) as error:
            raise InputError(f"{path}: {name}", "must hold numbers only", str(error), _REDO) from None
        if np.isinf(frame[name]).any():
            raise InputError(f"{path}: {name}", "must be finite or empty", "infinity", _REDO)
    bad_dose = frame["dose_e_per_a2"][~(frame["dose_e_per_a2"] > 0)]
    if len(bad_dose):
        raise InputError(f"{path}: dose_e_per_a2", "must be a positive dose", float(bad_dose.iloc[0]), _REDO)
    if "status" in texts and (unknown := sorted(set(frame["status"]) - set(STATUSES))):
        raise InputError(f"{path}: status", f"must be one of {', '.join(STATUSES)}", unknown[0], _REDO)
    return frame


def _check_map(path: Path, frame: pd.DataFrame, plan: dict[str, Any]) -> pd.DataFrame | None:
    """The map with its two parameters as numbers; None if it holds no row."""
    for name in map_axes(plan):
        if name not in frame.columns:
            raise InputError(f"{path}: {name}", "the plan's map needs this column", list(frame.columns), _REDO)
        frame[name] = pd.to_numeric(frame[name], errors="coerce")
        if frame[name].isna().any():
            raise InputError(f"{path}: {name}", "must hold numbers only", "text or empty", _REDO)
    return None if frame.empty or not plan.get("map") else frame


def map_axes(plan: dict[str, Any]) -> tuple[str, ...]:
    """Names of the two parameters of the plan's map, (x, y); empty without a map. Raises InputError if one lacks."""
    section = plan.get("map")
    if not section:
        return ()
    try:
        return tuple(str(section[axis]["name"]) for axis in ("x", "y"))
    except (KeyError, TypeError):
        raise InputError("plan.yaml: map", "needs x.name and y.name", section, _REDO) from None


def _read_images(path: Path) -> dict[str, dict[str, dict[str, Any]]]:
    if not path.is_file():
        raise InputError(str(path), "must exist", "no file", "Run the study's snakemake command; it makes this file.")
    images = read_images(path)
    for name, group in images.items():
        needs = ("pixel_a", "dose_e_per_a2", "design") if "phase" in group["arrays"] else ()
        lacking = [key for key in needs if key not in group["attrs"]]
        if lacking:
            raise InputError(f"{path}: {name}", f"needs the attribute {lacking[0]}", sorted(group["attrs"]), _REDO)
        if needs and "truth" not in group["arrays"]:
            raise InputError(f"{path}: {name}", "needs the array truth", sorted(group["arrays"]), _REDO)
    return images


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
