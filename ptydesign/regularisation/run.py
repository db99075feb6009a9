"""Reconstructions of a study of regularisation, each watched: its errors every few sweeps."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ptydesign import io
from ptydesign.errors import InputError
from ptydesign.reconstruct.plan import Plan
from ptydesign.regularisation.config import SLICES, RegularisationStudy, value_at
from ptydesign.score.align import sample_truth
from ptydesign.score.compare import ScoreConfig, compare
from ptydesign.score.dumbbells import measure_pair, pairs
from ptydesign.score.metrics import ScoreFailure
from ptydesign.score.slices import depth_bins, slice_error
from ptydesign.study.records import finite
from ptydesign.thick.config import BASE
from ptydesign.thick.resolve import ThickResolved
from ptydesign.thick.scored import scored_half_a
from ptydesign.thick.steps import load_dataset, read_specimen, resumed, truth_of
from ptydesign.types import ReconState, Truth

SCORE = ScoreConfig(ssim_widths_px=(0.5,), max_shift_a=0.5)


@dataclass(frozen=True)
class Item:
    """One reconstruction: a plan of the study as it is (or as it was tuned), or the first plan with a value at a path.

    factor: name of what is varied, or "" for a plan.
    """

    name: str
    plan: str
    factor: str = ""
    path: str = ""
    value: float | None = None

    @property
    def file(self) -> str:
        """Its reconstruction, relative to the results folder."""
        return f"reconstruction/{self.name}.h5"


def items(study: RegularisationStudy) -> list[Item]:
    """All reconstructions: the plans, then what varies the first of them."""
    found = [Item(item.name, item.name) for item in study.plans]
    first = study.plans[0]
    for vary in study.vary:
        own = value_at(first.plan, vary.path)
        for number, value in enumerate(vary.values):
            if value != own:
                found.append(Item(f"{vary.name}_{number}", first.name, vary.name, vary.path, value))
    return found


def most_slices(study: RegularisationStudy, plan: str) -> int:
    """The largest number of slices that a plan may be given."""
    item = next(item for item in study.plans if item.name == plan)
    if item.tune is None or SLICES not in item.tune.root:
        return study.slices
    return int(max(ends_of(item.tune.root[SLICES])))


def ends_of(dimension: Any) -> tuple:
    """All choices of a dimension, or the ends of its range."""
    return tuple(dimension.choices or (dimension.low, dimension.high))


def tuned_plans(study: RegularisationStudy) -> list[str]:
    """Names of the plans that are tuned."""
    return [item.name for item in study.plans if item.tune is not None]


def find_item(study: RegularisationStudy, name: str) -> Item:
    """The reconstruction of this name. Raises InputError if there is none."""
    known = {item.name: item for item in items(study)}
    if name not in known:
        raise InputError("item", "must be one of the study's", name, f"It has: {', '.join(known)}.")
    return known[name]


def tuned_values(resolved: ThickResolved, plan: str) -> dict[str, Any]:
    """What the tuning of a plan found: values by path; nothing for a plan that isn't tuned."""
    named = next(item for item in resolved.study.plans if item.name == plan)
    if named.tune is None:
        return {}
    return resolved.read_json(f"tuning/{plan}.json")["best"]


def plan_of(resolved: ThickResolved, item: Item) -> Plan:
    """The plan of a reconstruction, with what its tuning found."""
    study: RegularisationStudy = resolved.study
    plan = next(named.plan for named in study.plans if named.name == item.plan)
    values = tuned_values(resolved, item.plan)
    if item.factor:
        values = {**values, item.path: item.value}
    return study.plan_with(plan, values, float(resolved.shape.thickness_a))


class Watch:
    """An observer of `reconstruct` that measures errors every few sweeps; `rows` are JSON-able.

    file: of the results folder, keeps the rows, so that a resumed reconstruction has those of its first part.
    """

    def __init__(self, resolved: ThickResolved, truth: Truth, plan: Plan, file: str | None = None):
        self.resolved = resolved
        self.study: RegularisationStudy = resolved.study
        self.region = region_of(resolved)
        self.truth, self.last, self.file = truth, plan.sweeps, file
        self.slices_a = np.full(plan.object.slices, plan.object.slice_thickness_a)
        self.bins_a = depth_bins(truth, self.study.slices)  # the same for all plans, whatever their slices
        self.rows: list[dict[str, Any]] = []
        if file is not None and (resolved.results / file).is_file():
            with suppress(InputError):  # of an earlier version, or damaged: the reconstruction begins anew
                self.rows = resolved.read_json(file)["rows"]

    def __call__(self, sweep: int, loss: float, state: ReconState) -> None:
        every = self.study.errors.every
        if sweep % every and sweep not in (1, 2, self.last):
            return
        self.rows = [row for row in self.rows if row["sweep"] < sweep]
        self.rows.append({"sweep": sweep, "loss": finite(loss), **self.errors(state)})
        if self.file is not None:
            self.resolved.write_json(self.file, {"rows": self.rows})

    def errors(self, state: ReconState) -> dict[str, Any]:
        """Errors of a state; None where it can't be scored."""
        pixel, origin = (tuple(float(v) for v in np.asarray(a)) for a in (state.pixel_a, state.origin_a))
        object_ = np.asarray(state.object)
        try:
            score = compare(object_, pixel, origin, self.truth, self.region, SCORE).score
        except ScoreFailure as error:
            return {"rmse_projected_rad": None, "rmse_slices_rad": None, "reason": str(error)}
        args = (self.truth, self.bins_a, self.region, score.shift_a)
        return {
            "rmse_projected_rad": float(np.sqrt(score.mse_rad2)),
            "rmse_slices_rad": slice_error(np.angle(object_), self.slices_a, pixel, origin, *args),
            "frc_area": float(score.frc_area),
            "contrast": float(score.contrast),
            "shift_a": [float(v) for v in score.shift_a],
        }


def region_of(resolved: ThickResolved) -> tuple[float, float, float, float]:
    """(y0, x0, y1, x1) in which errors are measured."""
    study, (y, x) = resolved.study, resolved.centre_a
    half = scored_half_a(study, study.errors.margin_a)
    return (float(y - half[0]), float(x - half[1]), float(y + half[0]), float(x + half[1]))


def run_item(resolved: ThickResolved, item: str) -> Path:
    """Reconstruct one item: reconstruction/<item>.h5, and its errors in errors/<item>.json."""
    study: RegularisationStudy = resolved.study
    found_item = find_item(study, item)
    plan = plan_of(resolved, found_item)
    potential, specimen = read_specimen(resolved)
    truth = truth_of(resolved, potential)
    dataset = load_dataset(resolved, BASE, plan.object.slice_thickness_a)
    path = resolved.results / found_item.file
    partial = Path(found_item.file).with_suffix(".errors.json")
    watch = Watch(resolved, truth, plan, str(partial))
    if not watch.rows:  # what a checkpoint has behind it was not kept
        path.with_suffix(".checkpoint.h5").unlink(missing_ok=True)
    result = resumed(dataset, plan, study.seed, path, study.jobs.checkpoint, [watch])
    io.write_reconstruction(path, result, resolved.place(found_item.file))
    found = {
        "item": item,
        "plan": found_item.plan,
        "factor": found_item.factor,
        "value": found_item.value,
        "status": result.outcome.status,
        "reason": result.outcome.reason,
        "sweeps": result.outcome.sweeps,
        "gflop": float(result.history["work_gflop"][-1]),
        "slices": plan.object.slices,
        "thickness_a": plan.object.slices * plan.object.slice_thickness_a,
        "errors": watch.rows,
        "dumbbells": [],
    }
    if study.dumbbells is not None and result.outcome.status != "diverged":
        shift_a = watch.rows[-1].get("shift_a", [0.0, 0.0])
        found["dumbbells"] = dumbbells(resolved, result.state, truth, specimen, shift_a)
    resolved.write_json(f"errors/{item}.json", found)
    for leftover in (path.with_suffix(".checkpoint.h5"), resolved.results / partial):
        leftover.unlink(missing_ok=True)
    return path


def dumbbells(
    resolved: ThickResolved, state: ReconState, truth: Truth, specimen: dict[str, Any], shift_a: list[float]
) -> list[dict]:
    """Separation of every pair in the region: of the atoms, and measured, in the truth at the same pixels too (what
    the fit itself is wrong by)."""
    config = resolved.study.dumbbells
    columns = np.asarray(specimen["columns"][config.element]).reshape(-1, 2)
    region = region_of(resolved)
    inside = np.all((columns >= region[:2]) & (columns <= region[2:]), axis=1)
    columns = columns[inside]
    pixel, origin = np.asarray(state.pixel_a, float), np.asarray(state.origin_a, float)
    image = state.phase_rad.sum(axis=0)
    true = sample_truth(truth.phase_rad.sum(axis=0), truth.pixel_a, tuple(origin), tuple(pixel), image.shape)
    rows = []
    for first, second in pairs(columns, config.longest_a):
        places = columns[[first, second]] + shift_a
        found = measure_pair(image, tuple(pixel), tuple(origin), *places)
        same_fit = measure_pair(true, tuple(pixel), tuple(origin), *columns[[first, second]])
        if found is not None:
            middle = columns[[first, second]].mean(axis=0) - resolved.centre_a
            rows.append(
                {
                    "y_a": float(middle[0]),
                    "x_a": float(middle[1]),
                    "true_a": float(np.hypot(*(columns[first] - columns[second]))),
                    "truth_fit_a": None if same_fit is None else same_fit.separation_a,
                    "separation_a": found.separation_a,
                    "dip": found.dip,
                }
            )
    return rows
