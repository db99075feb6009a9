"""The tables of a finished study of an experiment, checked, as figures and report read them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ptydesign.errors import InputError
from ptydesign.experiment.config import OPTIMISED
from ptydesign.functions import plain_name
from ptydesign.study import tables
from ptydesign.study.quantities import score_label, ssim_column
from ptydesign.study.tables import REDO

STATUSES = ("ok", "failed", "diverged")
FAILED = "reconstruction failed"
LEAST_SSIM = 0.2  # below it a reconstruction shows nothing of the specimen
_PAPERS = {"cao2022": "Cao et al. 2022"}

# Table -> (columns that hold text, columns that hold numbers). Other columns are read as they come.
_COLUMNS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "trials": (("search", "status", "reason"), ("dose_e_per_a2", "round", "index", "objective", "psnr_db")),
    "validation": (("design", "simulator", "status", "reason"), ("dose_e_per_a2", "repeat", "psnr_db")),
    "contenders": ((), ("dose_e_per_a2", "place", "n", "mean", "difference", "low", "high", "better")),
    "decisions": (
        ("outcome",),
        (
            "dose_e_per_a2",
            "refined",
            "draws",
            "probability_best",
            "probability_good",
            "expected_loss",
            "expected_gain",
        ),
    ),
    "gains": (("simulator", "metric", "verdict"), ("dose_e_per_a2", "n", "difference", "low", "high")),
    "two_by_two": (("experiment", "reconstruction"), ("dose_e_per_a2", "n", "ssim_mean", "ssim_std")),
    "recommended": (
        ("parameter", "unit"),
        ("dose_e_per_a2", "best", "low", "high", "searched_low", "searched_high"),
    ),
    "summary": (
        ("design", "simulator"),
        ("dose_e_per_a2", "n", "ssim_mean", "ssim_std", "psnr_db_mean", "psnr_db_std"),
    ),
    "convergence": (("search",), ("dose_e_per_a2", "trials", "best_objective")),
    "spectrum": (("design",), ("dose_e_per_a2", "q_per_a", "truth_rad", "bias_rad", "scatter_rad", "ssnr")),
    "pareto": (("search",), ("dose_e_per_a2", "objective")),
    "map": (("status", "reason"), ("dose_e_per_a2", "psnr_db")),
}
OPTIONAL = ("map", "pareto", "two_by_two", "spectrum")


def in_order(trials: pd.DataFrame, search: str) -> pd.DataFrame:
    """Trials of the searches of one kind in the order in which they were made; with those of the search proper (bo)
    come those one by one after it (refined)."""
    kinds = ("bo", "refined") if search == "bo" else (search,)
    kept = trials[trials["search"].isin(kinds)]
    return kept.sort_values(["dose_e_per_a2", "search", "round", "index"], kind="stable")  # bo before refined


@dataclass(frozen=True)
class ExperimentTables(tables.Tables):
    """`trials`, `validation`, `recommended`, `summary`, `convergence`; `map` and `pareto`, None where there is none."""

    @property
    def doses(self) -> list[float]:
        """All doses of the study in e/A^2, rising: those asked for and those found in the tables."""
        found = [*self["recommended"]["dose_e_per_a2"], *self["summary"]["dose_e_per_a2"]]
        doses: list[float] = []
        for dose in sorted(map(float, [*self.study["doses_e_per_a2"], *found])):
            if not doses or not np.isclose(dose, doses[-1], rtol=1e-6):
                doses.append(dose)
        return doses

    @property
    def parameters(self) -> list[str]:
        """Names of the varied parameters, in the study's order, then others in the table's order."""
        found = list(dict.fromkeys(self["recommended"]["parameter"]))
        asked = [name for name in self.study["space"] if name in found or not found]
        return asked + [name for name in found if name not in asked]

    @property
    def varied(self) -> list[str]:
        """Names of all varied parameters, words included."""
        return list(self.study["space"])

    @property
    def reference(self) -> str:
        """Name of the design that the optimised one is compared with (`expert`)."""
        names = [name for name in dict.fromkeys(self["summary"]["design"]) if name != OPTIMISED]
        return names[0] if names else str(self.study["reference"]["name"])

    @property
    def reference_point(self) -> dict[str, float]:
        """Numbers of the reference design: the study's experiment with the reference's values laid over it."""
        point = {**self.study["experiment"], **self.study["reference"]}
        return {name: float(value) for name, value in point.items() if _is_number(value)}

    @property
    def objective(self) -> str:
        """What the search maximised, in words."""
        objective = self.study["objective"]
        metric = objective["metric"]
        label = score_label(ssim_column(objective["width_px"]) if metric == "ssim" else plain_name(metric))
        return f"−{label}" if metric == "mse_rad2" else label

    @property
    def map_axes(self) -> tuple[str, ...]:
        """Names of the two parameters of the map, (x, y); empty without a map."""
        return _map_axes(self.study)

    @property
    def paper(self) -> str | None:
        """The publication that the study asks to be compared with."""
        return _PAPERS.get(self.study.get("compare_with"))

    def after(self, place: str) -> str:
        """ " After Cao et al. 2022, Fig. 5." for a caption; empty where the study asks for no comparison."""
        return f" After {self.paper}, {place}." if self.paper else ""

    def at(self, name: str, dose: float) -> pd.DataFrame:
        """The rows of a table of one dose."""
        frame = self[name]
        return frame[np.isclose(frame["dose_e_per_a2"].to_numpy(dtype=float), dose, rtol=1e-6)]

    def recommendation(self, dose: float, parameter: str) -> pd.Series | None:
        """The row of one parameter at one dose; None where no design was found."""
        rows = self.at("recommended", dose)
        rows = rows[(rows["parameter"] == parameter) & rows["best"].notna()]
        return None if rows.empty else rows.iloc[0]

    def scores(self, dose: float, design: str, simulator: str) -> pd.Series | None:
        """The summary's row, None where nothing was scored."""
        rows = self.at("summary", dose)
        rows = rows[(rows["design"] == design) & (rows["simulator"] == simulator) & (rows["n"] > 0)]
        return None if rows.empty or not np.isfinite(rows.iloc[0]["ssim_mean"]) else rows.iloc[0]

    def failed(self, dose: float, design: str, simulator: str = "jax") -> bool:
        """Whether the mean scores say that nothing was reconstructed; False where nothing was scored."""
        row = self.scores(dose, design, simulator)
        if row is None:
            return False
        runs = self.at("validation", dose)
        runs = runs[(runs["design"] == design) & (runs["simulator"] == simulator) & (runs["status"] == "ok")]
        contrast = runs["contrast"].mean() if "contrast" in runs.columns else np.nan
        return bool(row["ssim_mean"] < LEAST_SSIM or contrast <= 0)

    def fitted(self, dose: float) -> int:
        """Number of scored trials behind the surrogate model of a dose."""
        rows = self.at("trials", dose)
        return int((rows["search"].isin(("bo", "refined")) & rows["objective"].notna()).sum())

    def image(self, dose: float, design: str) -> dict[str, dict[str, Any]] | None:
        """Group of images.h5 for one dose and design, None where there is none."""
        for group in self.images.values():
            attrs = group["attrs"]
            if "phase" not in group["arrays"] or attrs["design"] != design:
                continue
            if np.isclose(float(attrs["dose_e_per_a2"]), dose, rtol=1e-6):
                return group
        return None

    @property
    def comparison_dose(self) -> float | None:
        """The lowest dose at which both the search and random search found a score; None without one."""
        rows = self["convergence"].dropna(subset="best_objective")
        found = [set(rows.loc[rows["search"] == name, "dose_e_per_a2"]) for name in ("bo", "random")]
        return min(set.intersection(*found), default=None)

    def log_scale(self, parameter: str) -> bool:
        """Whether the search space has this parameter on a logarithmic scale."""
        return self.study["space"].get(parameter, {}).get("scale") == "log"


def read_tables(folder: Path) -> ExperimentTables:
    """The tables of a results folder, checked. Raises InputError naming the file, and the column, that is missing or
    wrong."""
    folder = Path(folder)
    texts = {name: str for columns, _ in _COLUMNS.values() for name in columns}
    found = tables.read_tables(folder, list(_COLUMNS), OPTIONAL, texts, ExperimentTables)
    for name, frame in found.frames.items():
        found.frames[name] = _checked(folder / f"tables/{name}.csv", name, frame, found.study)
    references = set(found["summary"]["design"]) - {OPTIMISED}
    if len(references) > 1:
        path = folder / "tables/summary.csv"
        raise InputError(f"{path}: design", f"must be '{OPTIMISED}' or one other", sorted(references), REDO)
    _check_images(folder / tables.IMAGES, found.images)
    return found


def extent_a(group: dict[str, dict[str, Any]], array: str) -> tuple[float, float]:
    """(y, x) size in angstrom of an image."""
    pixel = np.broadcast_to(np.asarray(group["attrs"]["pixel_a"], dtype=float), (2,))
    shape = group["arrays"][array].shape
    return float(shape[0] * pixel[0]), float(shape[1] * pixel[1])


def _checked(path: Path, name: str, frame: pd.DataFrame | None, study: dict[str, Any]) -> pd.DataFrame | None:
    """A table with text and finite numbers where they must be; None for one that the study doesn't make."""
    unused = {"map": not study["map"], "pareto": not study["objective"].get("against")}
    if unused.get(name):
        return None
    if frame is None and name in ("two_by_two", "spectrum"):  # the latter is not in results of earlier versions
        return None
    if frame is None:
        raise InputError(str(path), "must exist", "no file", "Run the study's snakemake command; it makes this table.")
    texts, numbers = _COLUMNS[name]
    axes = _map_axes(study) if name == "map" else ()
    missing = [column for column in (*texts, *numbers, *axes) if column not in frame.columns]
    if missing:
        raise InputError(f"{path}: {missing[0]}", "is a required column", list(frame.columns), REDO)
    for column in texts:
        frame[column] = frame[column].fillna("")
    scores = [column for column in frame.columns if column.startswith("ssim_") or column == "contrast"]
    for column in dict.fromkeys([*numbers, *axes, *scores]):
        try:
            frame[column] = pd.to_numeric(frame[column]).astype(float)
        except (ValueError, TypeError) as error:
            raise InputError(f"{path}: {column}", "must hold numbers only", str(error), REDO) from None
        if np.isinf(frame[column]).any():
            raise InputError(f"{path}: {column}", "must be finite or empty", "infinity", REDO)
    for column in axes:
        if frame[column].isna().any():
            raise InputError(f"{path}: {column}", "must hold numbers only", "an empty cell", REDO)
    bad_dose = frame["dose_e_per_a2"][~(frame["dose_e_per_a2"] > 0)]
    if len(bad_dose):
        raise InputError(f"{path}: dose_e_per_a2", "must be a positive dose", float(bad_dose.iloc[0]), REDO)
    if "status" in texts and (unknown := sorted(set(frame["status"]) - set(STATUSES))):
        raise InputError(f"{path}: status", f"must be one of {', '.join(STATUSES)}", unknown[0], REDO)
    return frame


def _map_axes(study: dict[str, Any]) -> tuple[str, ...]:
    return tuple(study["map"][axis]["name"] for axis in ("x", "y")) if study["map"] else ()


def _check_images(path: Path, images: dict[str, dict[str, Any]]) -> None:
    for name, group in images.items():
        needs = ("pixel_a", "dose_e_per_a2", "design") if "phase" in group["arrays"] else ()
        lacking = [key for key in needs if key not in group["attrs"]]
        if lacking:
            raise InputError(f"{path}: {name}", f"needs the attribute {lacking[0]}", sorted(group["attrs"]), REDO)
        if needs and "truth" not in group["arrays"]:
            raise InputError(f"{path}: {name}", "needs the array truth", sorted(group["arrays"]), REDO)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
