"""A reconstruction of a case by this package, with the time of each sweep."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from benchmarks.data import Case
from ptydesign.config import build
from ptydesign.reconstruct.plan import Plan
from ptydesign.reconstruct.run import reconstruct

# Settings that the comparison of quality tries first, with the noise model that phaser is given.
SAME = {"noise": "anscombe"}
TRIED = {
    "epie": (SAME, {**SAME, "object_step": 0.2, "probe_step": 0.2}),
    "lsqml": (SAME, {**SAME, "object_step": 0.5}),
    "gradient": (SAME, {**SAME, "object_rate": 0.04}),
}


@dataclass(frozen=True)
class Run:
    """seconds (sweeps,): time of each sweep, the first with its compilation; cores_s: of all cores together. objects:
    after each sweep, if kept. origin_a: (y, x) of the objects' pixel (0, 0)."""

    seconds: np.ndarray
    cores_s: np.ndarray
    objects: list[np.ndarray]
    origin_a: np.ndarray

    @property
    def sweep_s(self) -> float:
        """Seconds of a sweep: the fastest, without the first."""
        return float(self.seconds[1:].min())

    @property
    def core_s(self) -> float:
        """Seconds of a sweep, summed over the cores: the least, without the first."""
        return float(self.cores_s[1:].min())

    @property
    def compilation_s(self) -> float:
        """What the first sweep takes longer than the others."""
        return float(max(self.seconds[0] - np.median(self.seconds[1:]), 0.0))

    @property
    def clock_s(self) -> np.ndarray:
        """(sweeps,) time at the end of each sweep, without compilation."""
        steady = self.seconds.copy()
        steady[0] = np.median(self.seconds[1:])
        return np.cumsum(steady)


def plan_of(case: Case, engine: str, group: int, modes: int = 1, sweeps: int = 5, **settings) -> Plan:
    """A plan with an engine's default settings but for those given."""
    return build(
        Plan,
        {
            "object": {"slices": case.slices, "slice_thickness_a": case.slice_thickness_a},
            "probe": {"mode_powers": [0.1] * (modes - 1)},
            "engines": [{"engine": engine, "group": group, "sweeps": sweeps, **settings}],
        },
        "plan",
    )


def run(case: Case, engine: str, group: int, modes: int = 1, sweeps: int = 5, keep: bool = False, **settings) -> Run:
    """Reconstruct. The probe is updated from the first sweep on, as phaser does."""
    objects: list[np.ndarray] = []
    origin, busy = [], [time.process_time()]

    def observe(sweep, loss, state) -> None:
        busy.append(time.process_time())
        if keep:
            objects.append(np.array(state.object))
        origin[:] = [np.array(state.origin_a)]

    plan = plan_of(case, engine, group, modes, sweeps, probe_start=0, **settings)
    _, history, outcome = reconstruct(case.dataset, plan, observers=[observe])
    if outcome.status == "diverged":
        print(f"  ours, {engine}: {outcome.reason}", flush=True)
    return Run(np.diff(history.seconds, prepend=0.0), np.diff(busy), objects, origin[0])
