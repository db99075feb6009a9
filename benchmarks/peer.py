"""The same reconstruction by phaser (phaserEM on PyPI; Gilgenbach, Zhu & LeBeau, 2025), on its JAX backend.

It starts from this package's own start: the same probe, the same positions and the same canvas, pixel by pixel, so that
both results are scored alike. phaser centres a window of n pixels at (n - 1) / 2, this package at n // 2.
"""

from __future__ import annotations

import importlib.metadata
import logging
import time

import jax.numpy as jnp
import numpy as np

from benchmarks.data import PIXEL_A, Case
from benchmarks.ours import Run, plan_of
from ptydesign.reconstruct.start import start_state

OBJECT_RATE, PROBE_RATE = 0.03, 0.01  # of Adam; the probe's relative to its largest amplitude, as this package's
# Settings that the comparison of quality tries first; () are phaser's defaults.
TRIED = {
    "epie": ({}, {"beta_object": 0.5, "beta_probe": 0.5}, {"beta_object": 0.2, "beta_probe": 0.2}),
    "lsqml": ({}, {"beta_object": 4.0, "beta_probe": 4.0}),
    "gradient": ({"object_rate": 0.01}, {"object_rate": 0.03}, {"object_rate": 0.06}),
}


def version() -> str:
    """phaser's, if it is installed."""
    try:
        return importlib.metadata.version("phaserEM")
    except importlib.metadata.PackageNotFoundError:
        return "missing"


def settings(engine: str, group: int, sweeps: int, scale: float, **changes) -> tuple[str, dict]:
    """phaser's engine and its settings. scale: the probe's largest amplitude, the unit of its learning rate."""
    common = {"niter": sweeps, "grouping": group, "noise_model": "anscombe", "bwlim_frac": None}
    common |= {"group_constraints": [{"type": "clamp_object_amplitude", "amplitude": 1.5}], "iter_constraints": []}
    if engine == "gradient":
        rates = {
            "object": {"type": "adam", "learning_rate": changes.get("object_rate", OBJECT_RATE)},
            "probe": {"type": "adam", "learning_rate": changes.get("probe_rate", PROBE_RATE) * scale},
        }
        return "gradient", {**common, "solvers": rates, "regularizers": []}
    return "conventional", {**common, "solver": {"type": engine, **changes}}


def run(case: Case, engine: str, group: int, modes: int = 1, sweeps: int = 4, keep: bool = False, **changes) -> Run:
    """Reconstruct with phaser."""
    import pane
    from phaser.engines.conventional.run import run_engine as conventional
    from phaser.engines.gradient.run import run_engine as gradient
    from phaser.observer import Observer
    from phaser.plan import ConventionalEnginePlan, GradientEnginePlan
    from phaser.state import IterState, Patterns, PixelatedObjectState, PixelatedProbeState, ReconsState, ScanState
    from phaser.utils.num import Sampling
    from phaser.utils.object import ObjectSampling

    logging.disable(logging.INFO)
    start = start_state(case.dataset, plan_of(case, "gradient", group, modes))
    shape = np.asarray(case.dataset.grid.shape)
    corner = np.asarray(start.positions_px) - shape // 2
    scan = jnp.asarray((corner + (shape - 1) / 2) * PIXEL_A, jnp.float32)
    thickness = np.full(case.slices, case.slice_thickness_a) if case.slices > 1 else np.zeros(0)
    state = ReconsState(
        iter=IterState(1, 0, 0, sweeps, sweeps),
        wavelength=float(start.wavelength_a),
        probe=PixelatedProbeState(
            Sampling(tuple(shape), sampling=(PIXEL_A,) * 2), jnp.asarray(start.probe, jnp.complex64)
        ),
        object=PixelatedObjectState(
            ObjectSampling(start.object.shape[-2:], (PIXEL_A,) * 2, corner=(0.0, 0.0)),
            jnp.asarray(start.object, jnp.complex64),
            jnp.asarray(thickness, jnp.float32),
        ),
        scan=ScanState(scan, scan.copy()),
    )
    data = Patterns(np.asarray(case.dataset.patterns, np.float32), np.asarray(case.dataset.mask, np.float32))
    clock: list[float] = []
    busy: list[float] = []
    objects: list[np.ndarray] = []

    class Watch(Observer):
        def start_engine(self, init_state):
            clock.append(time.perf_counter())
            busy.append(time.process_time())

        def update_iteration(self, state, i, n, errors):
            found = np.array(state.object.data)
            clock.append(time.perf_counter())
            busy.append(time.process_time())
            if keep:
                objects.append(found)

    kind, content = settings(engine, group, sweeps, float(np.abs(start.probe).max()), **changes)
    plan, engine_of = (GradientEnginePlan, gradient) if kind == "gradient" else (ConventionalEnginePlan, conventional)
    arguments = {"data": data, "state": state, "dtype": np.float32, "xp": jnp, "recons_name": "benchmark"}
    engine_of({**arguments, "observer": Watch(), "seed": 0, "engine_i": 0}, pane.from_data(content, plan))
    return Run(np.diff(clock), np.diff(busy), objects, np.asarray(start.origin_a))
