"""Error in real space against time, for this package's engines and phaser's, from the same start."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter, NullFormatter

from benchmarks import ours, peer
from benchmarks.data import Case
from ptydesign.score.metrics import ScoreFailure

PROGRAMS = {"ptydesign": ours, "phaser": peer}
ENGINES = ("epie", "lsqml", "gradient")
GROUP = 64
SCORED = 24  # sweeps of a run
PILOT = 0.25  # of the time: how long each of a program's settings is tried
NAMES = ("error_rad", "phaser_error_rad")
LEVEL = 1.2  # the stated quality: times the final error


def lasting(program: ModuleType, case: Case, engine: str, seconds: float, settings: dict, pace_s: float) -> ours.Run:
    """A run of about so many seconds."""
    sweeps = max(4, round(seconds / pace_s))
    return program.run(case, engine, GROUP, sweeps=sweeps, keep=True, **settings)


def final_error(case: Case, run: ours.Run) -> float:
    """Of a run's last object; infinity if it can't be scored."""
    try:
        return case.error_rad(run.objects[-1], run.origin_a)
    except ScoreFailure:
        return float("inf")


def chosen(program: ModuleType, case: Case, engine: str, seconds: float, pace_s: float) -> dict:
    """The settings with the smallest error after a pilot run of so many seconds."""
    errors = []
    for settings in program.TRIED[engine]:
        try:
            errors.append(final_error(case, lasting(program, case, engine, seconds, settings, pace_s)))
        except ValueError as error:  # phaser's for a reconstruction that is not finite
            print(f"  {program.__name__}, {engine}, {settings}: {error}", flush=True)
            errors.append(float("inf"))
    return program.TRIED[engine][int(np.argmin(errors))]


def measure(cases: dict[int, Case], seconds: dict[int, float], save: Callable[[pd.DataFrame], None]) -> None:
    """Errors (rad) of each run at some of its sweeps, up to so many seconds for each number of slices.

    save: called with the table so far after each engine.
    """
    rows = []
    for slices, case in cases.items():
        for engine in ENGINES:
            for name, program in PROGRAMS.items():
                pace = float(np.median(program.run(case, engine, GROUP, **program.TRIED[engine][0]).seconds[1:]))
                settings = chosen(program, case, engine, PILOT * seconds[slices], pace)
                run = lasting(program, case, engine, seconds[slices], settings, pace)
                for sweep in np.unique(np.geomspace(1, len(run.objects), SCORED).round().astype(int)):
                    error, clock = case.error_rad(run.objects[sweep - 1], run.origin_a), run.clock_s[sweep - 1]
                    row = {"slices": slices, "engine": engine, "program": name, "settings": str(settings)}
                    rows.append({**row, "sweep": sweep, "seconds": clock, "error_rad": error})
                words = f"{error:.4f} rad after {sweep} sweeps, {clock:.1f} s"
                print(f"{slices} slices, {engine}, {name} {settings}: {words}", flush=True)
            save(pd.DataFrame(rows))


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
            " / ".join(
                "no sweep yet" if np.isnan(e) else f"{1e3 * e:.1f}" for e in (row[f"{name}_{f}"] for name in NAMES)
            )
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
            ax.xaxis.set_minor_formatter(NullFormatter())
            plain = LogFormatter(labelOnlyBase=False, minor_thresholds=(2, 0.5))
            for which in (ax.yaxis.set_major_formatter, ax.yaxis.set_minor_formatter):
                which(plain)
            ax.set_title(f"{engine}, {number} slice{'s' if number > 1 else ''}", fontsize=8)
        row[0].set_ylabel("rms phase error (mrad)")
    for ax in axes[-1]:
        ax.set_xlabel("time (s)")
    axes[0, 0].legend()
    return made
