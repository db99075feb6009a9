"""Reconstructions of a study of depth: of every experiment, and with other thicknesses and numbers of slices."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ptydesign import io
from ptydesign.depth.config import BASE, DepthStudy
from ptydesign.depth.measure import measure
from ptydesign.errors import InputError
from ptydesign.reconstruct.misfit import misfit
from ptydesign.reconstruct.plan import Plan
from ptydesign.study.records import finite
from ptydesign.thick.data import subset
from ptydesign.thick.resolve import ThickResolved
from ptydesign.thick.steps import load_dataset, read_specimen, resumed, truth_of
from ptydesign.types import Reconstruction

HELD_OUT_SEED = 0x68656C64


@dataclass(frozen=True)
class Guess:
    """One assumption on the sample: number of slices and the thickness of one. varied: what it is one of several of,
    thickness or slices, or both."""

    slices: int
    slice_a: float
    varied: tuple[str, ...]

    @property
    def name(self) -> str:
        """Part of a file name."""
        return f"{self.slices}x{self.slice_a:.3f}"


def slice_thickness(resolved: ThickResolved) -> float:
    """Thickness of the study's slices, which together are the sample."""
    return float(resolved.shape.thickness_a) / resolved.study.slices


def plan_of(resolved: ThickResolved) -> Plan:
    """The plan of the reconstructions."""
    return resolved.study.plan_of(resolved.study.slices, slice_thickness(resolved))


def guesses(resolved: ThickResolved) -> list[Guess]:
    """All assumptions that the study tries; the true thickness is among those that vary it."""
    study: DepthStudy = resolved.study
    if study.thickness is None:
        return []
    true, slice_a = float(resolved.shape.thickness_a), slice_thickness(resolved)
    pairs = []
    for thickness in {*study.thickness.thickness_a, true} if study.thickness.thickness_a else ():
        slices = study.slices if study.thickness.hold == "slices" else max(2, round(thickness / slice_a))
        pairs.append(("thickness", slices, thickness / slices))
    pairs += [("slices", slices, true / slices) for slices in study.thickness.slices]
    names: dict[tuple[int, float], list[str]] = {}
    for varied, slices, each in pairs:
        names.setdefault((slices, round(each, 6)), []).append(varied)
    return [Guess(slices, each, tuple(varied)) for (slices, each), varied in sorted(names.items())]


def find_guess(resolved: ThickResolved, name: str) -> Guess:
    """The assumption of this name. Raises InputError if there is none."""
    known = {guess.name: guess for guess in guesses(resolved)}
    if name not in known:
        raise InputError("guess", "must be one of the study's", name, f"It has: {', '.join(known)}.")
    return known[name]


def reconstruct(resolved: ThickResolved, variant: str) -> Path:
    """Reconstruct an experiment's data; goes on from a checkpoint if there is one of the same data and plan."""
    plan = plan_of(resolved)
    dataset = load_dataset(resolved, variant, slice_thickness(resolved))
    path = resolved.results / "reconstruction" / f"{variant}.h5"
    result = resumed(dataset, plan, resolved.noise_seed(variant), path, resolved.study.jobs.checkpoint)
    io.write_reconstruction(path, result, resolved.place(f"reconstruction/{variant}.h5"))
    path.with_suffix(".checkpoint.h5").unlink(missing_ok=True)
    return path


def read_made(resolved: ThickResolved, variant: str) -> Reconstruction:
    """The reconstruction of an experiment's data that `reconstruct` made."""
    file = f"reconstruction/{variant}.h5"
    return io.read_reconstruction(resolved.results / file, resolved.place(file))


def write_measure(resolved: ThickResolved, variant: str) -> Path:
    """Measure a reconstruction: measure/<variant>.json."""
    potential, specimen = read_specimen(resolved)
    result = read_made(resolved, variant)
    found: dict[str, Any] = {"status": result.outcome.status, "reason": result.outcome.reason}
    if result.outcome.status != "diverged":
        window = resolved.experiments[variant].detector.grid
        truth = truth_of(resolved, potential)
        found = measure(resolved.study, result.state, truth, specimen, resolved.centre_a, window)
    found |= {"name": variant, "sweeps": result.outcome.sweeps, "loss": finite(result.history["loss"][-1])}
    return resolved.write_json(f"measure/{variant}.json", found)


def write_guess(resolved: ThickResolved, guess: str) -> Path:
    """Reconstruct most of the base's patterns under an assumption; misfit of those and of the others."""
    study: DepthStudy = resolved.study
    assumed = find_guess(resolved, guess)
    dataset = load_dataset(resolved, BASE, assumed.slice_a)
    held = held_out(len(dataset.positions_a), study.thickness.held_out, study.seed)
    plan = study.plan_of(assumed.slices, assumed.slice_a)
    engines = [engine.model_dump(mode="json") for engine in plan.engines]
    engines[-1]["sweeps"] = max(1, study.thickness.sweeps - sum(e["sweeps"] for e in engines[:-1]))
    plan = Plan.model_validate({**plan.model_dump(mode="json"), "engines": engines})
    path = resolved.results / "thickness" / f"{assumed.name}.json"
    seen = subset(dataset, ~held)
    result = resumed(seen, plan, study.seed, path, study.jobs.checkpoint)
    last = plan.engines[-1]
    misfits = {"misfit_seen": None, "misfit_held_out": None}
    if result.outcome.status != "diverged":
        parts = (seen, subset(dataset, held))
        misfits = {n: misfit(result.state, d, last.noise, last.offset) for n, d in zip(misfits, parts, strict=True)}
    resolved.write_json(
        f"thickness/{assumed.name}.json",
        {
            "varied": list(assumed.varied),
            "slices": assumed.slices,
            "slice_a": assumed.slice_a,
            "thickness_a": assumed.slices * assumed.slice_a,
            "true_thickness_a": float(resolved.shape.thickness_a),
            "status": result.outcome.status,
            "reason": result.outcome.reason,
            "sweeps": result.outcome.sweeps,
            "patterns_seen": int((~held).sum()),
            "patterns_held_out": int(held.sum()),
            **misfits,
        },
    )
    path.with_suffix(".checkpoint.h5").unlink(missing_ok=True)
    return path


def held_out(count: int, fraction: float, seed: int) -> np.ndarray:
    """(count,) True for the patterns that a reconstruction doesn't see: at least one, never at the scan's two ends."""
    rng = np.random.default_rng([seed, HELD_OUT_SEED])
    number = max(1, math.floor(count * fraction))
    chosen = np.zeros(count, bool)
    chosen[1 + rng.permutation(count - 2)[:number]] = True
    return chosen
