"""Error in real space against time, for this package's engines and phaser's, from the same start."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from benchmarks import ours, peer
from benchmarks.data import Case

ENGINES = ("epie", "lsqml", "gradient")
GROUP = 64
SCORED = 24  # sweeps of a run
# The settings of phaser's that end with the smallest error here, of those in `peer.TRIED`; ours are the defaults.
LEVEL = 1.2  # the stated quality: times the final error


def measure(cases: dict[int, Case], seconds: dict[int, float], peers: dict) -> pd.DataFrame:
    """Errors (rad) of each run at some of its sweeps, up to so many seconds for each number of slices."""
    rows = []
    for slices, case in cases.items():
        for engine in ENGINES:
            for name, run, settings in (
                ("ptydesign", ours.run, {}),
                ("phaser", peer.run, peers.get((slices, engine), {})),
            ):
                pace = np.median(run(case, engine, GROUP, sweeps=4, **settings).seconds[1:])
                made = run(case, engine, GROUP, sweeps=max(4, round(seconds[slices] / pace)), keep=True, **settings)
                chosen = np.unique(np.geomspace(1, len(made.objects), SCORED).round().astype(int))
                for sweep in chosen:
                    error = case.error_rad(made.objects[sweep - 1], made.origin_a)
                    clock = made.clock_s[sweep - 1]
                    rows.append({"slices": slices, "engine": engine, "program": name, "sweep": sweep,
                                 "seconds": clock, "error_rad": error})  # fmt: skip
                print(
                    f"{slices} slices, {engine}, {name}: {error:.4f} rad after {sweep} sweeps, {clock:.1f} s",
                    flush=True,
                )
    return pd.DataFrame(rows)


def at_time(curve: pd.DataFrame, seconds: float) -> float:
    """The error of the last scored sweep that ended in time; NaN before the first."""
    done = curve[curve.seconds <= seconds]
    return float(done.error_rad.iloc[-1]) if len(done) else float("nan")


def time_to(curve: pd.DataFrame, error_rad: float) -> float:
    """Seconds until the error is first as small; infinity if it never is."""
    reached = curve[curve.error_rad <= error_rad]
    return float(reached.seconds.iloc[0]) if len(reached) else float("inf")


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """One row for each case and engine: errors after equal times, and times to the stated quality."""
    rows = []
    for (slices, engine), part in table.groupby(["slices", "engine"], sort=False):
        mine, theirs = (part[part.program == name] for name in ("ptydesign", "phaser"))
        whole = min(mine.seconds.max(), theirs.seconds.max())
        row = {"slices": slices, "engine": engine, "seconds": whole}
        for fraction in (0.25, 0.5, 1.0):
            row[f"error_rad_{fraction:g}"] = at_time(mine, fraction * whole)
            row[f"phaser_error_rad_{fraction:g}"] = at_time(theirs, fraction * whole)
        level = LEVEL * mine.error_rad.iloc[-1]
        row |= {"level_rad": level, "to_level_s": time_to(mine, level), "phaser_to_level_s": time_to(theirs, level)}
        rows.append(row)
    return pd.DataFrame(rows)


def markdown(summed: pd.DataFrame) -> str:
    """The summary for the documentation: errors in mrad, ours / phaser's."""
    head = (
        "| slices | engine | time T (s) | error after T/4 (mrad, ours / phaser's) | after T/2 | after T "
        "| level: 1.2 x our final error (mrad) | time to it (s): ours | phaser's |\n"
        "|---|---|---|---|---|---|---|---|---|\n"
    )
    lines = []
    for row in summed.to_dict("records"):
        errors = [
            f"{1e3 * row[f'error_rad_{f}']:.1f} / {1e3 * row[f'phaser_error_rad_{f}']:.1f}"
            for f in ("0.25", "0.5", "1")
        ]
        theirs = row["phaser_to_level_s"]
        never = f"{theirs:.1f}" if np.isfinite(theirs) else "not reached"
        lines.append(
            f"| {row['slices']} | {row['engine']} | {row['seconds']:.0f} | " + " | ".join(errors)
            + f" | {1e3 * row['level_rad']:.1f} | {row['to_level_s']:.1f} | {never} |"
        )  # fmt: skip
    return head + "\n".join(lines) + "\n"


def figure(table: pd.DataFrame) -> Figure:
    """Error against time, a panel for each number of slices and engine."""
    slices, engines = table.slices.unique(), table.engine.unique()
    made = Figure(figsize=(2.4 * len(engines), 2.1 * len(slices)), layout="constrained")
    axes = made.subplots(len(slices), len(engines), squeeze=False, sharey="row")
    for row, number in zip(axes, slices, strict=True):
        for ax, engine in zip(row, engines, strict=True):
            for name, style in (("ptydesign", "-"), ("phaser", "--")):
                curve = table.query("slices == @number and engine == @engine and program == @name")
                ax.loglog(curve.seconds, 1e3 * curve.error_rad, style, marker=".", ms=3, label=name)
            ax.set_title(f"{engine}, {number} slice{'s' if number > 1 else ''}", fontsize=8)
        row[0].set_ylabel("rms phase error (mrad)")
    for ax in axes[-1]:
        ax.set_xlabel("time (s)")
    axes[0, 0].legend()
    return made
