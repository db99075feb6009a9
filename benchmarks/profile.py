"""Where the time of a sweep goes: operation by operation, as XLA's own profiler saw them on one core.

One core, since the operations of two overlap. Kinds: Fourier transforms; arithmetic (loops over pixels that XLA has
fused: products, noise model, sums); copies (patches cut out and put back, arrays cleared or moved); and the rest, in
which no operation runs (dispatch of operations, the host between sweeps).
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import pandas as pd

from benchmarks import ours
from benchmarks.data import SHAPE, Case
from benchmarks.speed import GOALS
from ptydesign.reconstruct.run import reconstruct

SWEEPS = 4
KINDS = ("transforms", "arithmetic", "copies", "rest")
# Beginnings of the names of operations that only hold others, and of those that move what is there.
HOLDERS = ("while", "call", "conditional", "ThunkExecutor", "end:")
MOVES = ("copy", "wrapped_broadcast", "wrapped_copy", "wrapped_slice", "slice_bitcast", "bitcast_dynamic", "dynamic-")


def kind_of(name: str) -> str | None:
    """The kind of an operation by the name that XLA gave it; None for one that only holds others."""
    if name.startswith(HOLDERS):
        return None
    if name.startswith("fft"):
        return "transforms"
    return "copies" if name.startswith(MOVES) else "arithmetic"


def operations_s(folder: Path) -> dict[str, float]:
    """Seconds of each kind of operation in the newest trace of a folder."""
    trace = max(folder.rglob("*.xplane.pb"), key=lambda path: path.stat().st_mtime)
    found: dict[str, float] = defaultdict(float)
    for plane in jax.profiler.ProfileData.from_file(str(trace)).planes:
        for line in plane.lines:
            if "XLA" not in line.name:  # the host's own threads
                continue
            for event in line.events:
                if kind := kind_of(event.name):
                    found[kind] += event.duration_ns * 1e-9
    return found


def measure(cases: dict[int, Case], groups: Sequence[int], save: Callable[[pd.DataFrame], None]) -> None:
    """One row for each case, engine and group size: shares of a sweep. Needs `use_cores(1)` before."""
    rows = []
    for group in groups:
        for (slices, modes), engines in GOALS.items():
            case = cases[slices]
            for engine in engines:
                plan = ours.plan_of(case, engine, group, modes, SWEEPS, probe_start=0)
                reconstruct(case.dataset, plan)  # compiles
                with tempfile.TemporaryDirectory() as folder:
                    with jax.profiler.trace(folder):
                        _, history, _ = reconstruct(case.dataset, plan)
                    found = operations_s(Path(folder))
                sweep_s = history.seconds[-1] / SWEEPS
                shares = {kind: found[kind] / SWEEPS / sweep_s for kind in KINDS[:-1]}
                shares["rest"] = 1 - sum(shares.values())
                rows.append({"slices": slices, "modes": modes, "engine": engine, "group": group, **shares})
                print(f"{slices} slices, {modes} modes, {engine}, groups of {group}: "
                      + ", ".join(f"{kind} {share:.0%}" for kind, share in shares.items()), flush=True)  # fmt: skip
                save(pd.DataFrame(rows).sort_values(["slices", "modes", "engine", "group"], ignore_index=True))


def slowed() -> float:
    """How many times as long a core's transform takes while all cores do the same."""
    count = os.cpu_count() or 1
    script = f"from benchmarks import floor; print(floor.pair_s({SHAPE}, 16384, (1,)))"

    def run(processes: int) -> float:
        command = [sys.executable, "-c", script]
        started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(processes)]
        return max(float(one.communicate()[0]) for one in started)

    return run(count) / run(1)


def markdown(table: pd.DataFrame) -> str:
    """The table for the documentation."""
    names = ["slices, modes", "engine", "group", *KINDS]
    head = "| " + " | ".join(names) + " |\n" + "|---" * len(names) + "|\n"
    return head + "".join(
        f"| {row.slices}, {row.modes} | {row.engine} | {row.group} | "
        + " | ".join(f"{getattr(row, kind):.0%}" for kind in KINDS)
        + " |\n"
        for row in table.itertuples()
    )
