"""Reconstructions in a few lines of Python; `ptydesign` re-exports these names, loaded when they are first used.

import ptydesign

data = ptydesign.read_dataset("data.h5")
plan = ptydesign.read_plan("plan.yaml")
result = ptydesign.reconstruct_dataset(data, plan)
ptydesign.write_reconstruction("out.h5", result)
"""

from __future__ import annotations

import logging
import platform
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from ptydesign import __version__
from ptydesign.config import build, read_yaml
from ptydesign.errors import InputError, nearest
from ptydesign.progress import SweepBar
from ptydesign.reconstruct.calibrate import calibrated
from ptydesign.reconstruct.checkpoint import Checkpoints
from ptydesign.reconstruct.direct import METHODS
from ptydesign.reconstruct.misfit import misfit
from ptydesign.reconstruct.plan import Plan
from ptydesign.reconstruct.run import History, Observer, reconstruct
from ptydesign.reconstruct.scans import join_scans
from ptydesign.reconstruct.schedule import Stop
from ptydesign.reconstruct.start import start_state
from ptydesign.types import Dataset, Outcome, Reconstruction

LOG = logging.getLogger(__name__)


def read_plan(path: Path | str) -> Plan:
    """A plan from a YAML or JSON file. Raises InputError that names the nearest known key for a misspelt one."""
    return build(Plan, read_yaml(Path(path)), str(path))


def make_plan(**settings: Any) -> Plan:
    """A plan from keywords, as in a file: make_plan(engines=[{"engine": "lsqml", "sweeps": 40}])."""
    return build(Plan, settings, "plan")


def reconstruct_dataset(
    dataset: Dataset | Sequence[Dataset],
    plan: Plan,
    seed: int = 0,
    progress: bool = True,
    observers: Sequence[Observer] = (),
    checkpoints: Checkpoints | None = None,
    resume: Path | None = None,
    chunk_gib: float | None = None,
) -> Reconstruction:
    """Reconstruct, and keep the plan, the seed and the provenance with the result.

    dataset: one scan, or several of the same object, whose shifts against the first are refined.
    progress: a bar on stderr. observers: called after each sweep with (sweep, loss, state); before it, those with a
    method `spend` are told (GFLOP, seconds) since the start. True ends the run.
    checkpoints: where to write them; resume: a checkpoint of the same dataset, plan and seed to go on from.
    chunk_gib: patterns that take more stay where they are, in memory or (`read_dataset(path, mapped=True)`) on the
    disk, and are worked on in chunks of at most this size; None: more than half of the device's free memory.
    A diverged run is an outcome, not an exception. Raises InputError for data that can't be reconstructed.
    """
    import jax

    begin = time.perf_counter()
    dataset = dataset if isinstance(dataset, Dataset) else join_scans(dataset)
    plan, found = calibrated(dataset, plan, seed)
    for curve in found.values():
        words = f"{curve.name}: {curve.best:.5g} by the data (told {curve.told:.5g})"
        LOG.info(words)
        if progress:
            print(words, file=sys.stderr)
    budget, fewer = plan.budget, any(engine.stop != Stop() for engine in plan.engines)
    shown = SweepBar(plan.sweeps, None, budget.seconds, budget.work_gflop, fewer) if progress else nullcontext()
    with shown as bar:
        watching = [*observers, bar] if bar is not None else observers
        meters = [one.spend for one in watching if hasattr(one, "spend")]

        def meter(work_gflop: float, seconds: float) -> None:
            for spend in meters:
                spend(work_gflop, seconds)

        state, history, outcome = reconstruct(dataset, plan, seed, watching, checkpoints, resume, chunk_gib, meter)
    provenance = {
        "data": dataset.provenance,
        "ptydesign": __version__,
        "jax": jax.__version__,
        "device": jax.devices()[0].device_kind,
        "python": platform.python_version(),
        "seconds": round(time.perf_counter() - begin, 3),
    }
    return Reconstruction(
        state=state,
        history=_arrays(history),
        outcome=outcome,
        nominal_positions_a=np.asarray(plan.corrected(dataset).positions_a),
        plan=plan.model_dump(mode="json"),
        seed=seed,
        provenance=provenance,
    )


def direct_reconstruction(dataset: Dataset, method: str = "ssb", plan: Plan | None = None) -> Reconstruction:
    """A reconstruction without iterations: is iterating worth it at this dose?

    method: ssb (single sideband), parallax (tilt-corrected bright field), com (integrated centre of mass: the phase
    blurred by the probe), wdd (Wigner distribution deconvolution). plan: its correction, probe and precision count; the
    phase is that of one slice. The history holds the loss of the result by the plan's noise model. Raises InputError
    for an unknown method, or positions on a line.
    """
    if method not in METHODS:
        raise InputError("method", "must be known", method, nearest(method, METHODS))
    begin = time.perf_counter()
    content = {"engines": [{"engine": "lsqml", "noise": "poisson"}]}
    if plan is not None:
        content = plan.model_dump(mode="json", exclude_unset=True, exclude={"object", "budget", "calibrate"})
    plan = build(Plan, {**content, "object": {"method": method}}, "plan")
    corrected = plan.corrected(dataset)
    state = start_state(corrected, plan)
    last = plan.engines[-1]
    loss = misfit(state, corrected, last.noise, last.offset)
    return Reconstruction(
        state=state,
        history={"loss": np.array([loss])},
        outcome=Outcome("converged", f"A direct reconstruction ({method}): there is nothing to iterate.", 0),
        nominal_positions_a=np.asarray(corrected.positions_a),
        plan=plan.model_dump(mode="json"),
        seed=0,
        provenance={
            "data": dataset.provenance,
            "ptydesign": __version__,
            "method": method,
            "seconds": round(time.perf_counter() - begin, 3),
        },
    )


def _arrays(history: History) -> dict[str, np.ndarray]:
    """The numeric columns of a history."""
    columns = {f.name: np.asarray(getattr(history, f.name)) for f in fields(history)}
    return {name: values for name, values in columns.items() if values.dtype.kind in "fiub"}
