"""What a study takes before it starts: FFT units, n log2 n for a transform of n pixels, times a measured rate.

Work depends on the study file only. The machine enters through the rate alone, so that searches and progress never look
at a clock to decide anything.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ptydesign.errors import InputError
from ptydesign.study.kind import Kind, Run, Work

if TYPE_CHECKING:
    from ptydesign.study.checked import Checked

MOST_TRIALS, MOST_JOBS, MOST_YEARS = 1_000_000, 100_000, 100
NOMINAL_RATE, YEAR_S = 1e9, 3.2e7  # FFT units per second of one core, about
START_S = 3.0  # of a job: imports, loading compiled code


def estimate(kind: Kind, resolved: Checked, cores: int, rate: float | None = None) -> dict[str, Any]:
    """Jobs, time in minutes and memory in GiB, of the study and of each step, JSON-able. rate: FFT units per second of
    one core, measured if it isn't given."""
    rate = rate or fft_rate()
    work, memory = kind.work(resolved), kind.memory(resolved)
    steps, total, chain = {}, 0.0, 0.0
    for step in kind.steps:
        one, jobs = work.get(step.name, Work()), len(list(step.each(resolved)))
        seconds = one.units / rate + one.seconds + START_S * jobs
        steps[step.name] = {"jobs": jobs, "core_s": round(seconds, 1)}
        if step.memory:
            steps[step.name]["memory_gib"] = round(memory[step.memory], 2)
        total += seconds
        chain = max(chain, one.chain / rate, one.chain_s)
    total += 3 * START_S  # resolve, figures, report
    return {
        "jobs": sum(step["jobs"] for step in steps.values()) + 3,
        "core_minutes": round(total / 60, 1),
        "cores": cores,
        "minutes": round(max(total / cores, chain) / 60, 1),
        "memory_gib": {name: round(value, 2) for name, value in memory.items()},
        "memory_gib_all_cores": round(cores * max(memory.values()), 2),
        "fft_units_per_s": float(f"{rate:.3g}"),
        "steps": steps,
    }


def words(run: Run, cores: int) -> str:
    """What a study takes, in words."""
    return run.kind.words(run.resolved, estimate(run.kind, run.resolved, cores))


def summary(resolved: Checked, numbers: Mapping[str, Any], what: str) -> str:
    """An estimate in two lines, for a terminal. what: what the study's jobs are, in words."""
    study = resolved.study
    memory = ", ".join(f"{value:g} GiB for each job of {name}" for name, value in numbers["memory_gib"].items())
    return (
        f"{study.study} ({study.scale}): {what} in {numbers['jobs']} jobs\n"
        f"estimate: {duration(numbers['minutes'])} on {numbers['cores']} cores "
        f"({duration(numbers['core_minutes'])} of one core), {memory}, {numbers['memory_gib_all_cores']:g} GiB in all"
    )


def check_memory(kind: Kind, resolved: Checked, cores: int, machine_gib: float) -> str | None:
    """Refuse a study of which one job doesn't fit into the machine; a warning if `cores` jobs at a time don't."""
    job, gib = max(kind.memory(resolved).items(), key=lambda item: item[1])
    if gib > machine_gib:
        rule = f"a job must fit into this machine's {machine_gib:.0f} GiB of memory"
        raise InputError(f"studies/{resolved.study.study}", rule, f"an estimate of {gib:.1f} GiB ({job})", kind.mend)
    if cores * gib > machine_gib:
        return (
            f"{cores} jobs at a time need up to {cores * gib:.0f} GiB, this machine has {machine_gib:.0f}: "
            f"run with --cores {max(1, int(machine_gib / gib))}"
        )
    return None


def check_size(kind: Kind, resolved: Checked) -> None:
    """Refuse a study of more trials, jobs or work than anybody has machines for. Raises InputError."""
    field, mend = f"studies/{resolved.study.study}", "Lower counts of points, repeats or draws."
    trials = kind.progress(resolved).total if kind.progress is not None else 0
    if trials > MOST_TRIALS:
        raise InputError(field, f"must take at most {MOST_TRIALS:,} trials", f"{trials:,} trials", mend)
    jobs = sum(len(list(step.each(resolved))) for step in kind.steps)
    if jobs > MOST_JOBS:
        raise InputError(field, f"must take at most {MOST_JOBS:,} jobs", f"{jobs:,} jobs", mend)
    units = sum(one.units for one in kind.work(resolved).values())
    years = units / NOMINAL_RATE / YEAR_S
    if years > MOST_YEARS:
        rule = f"must take at most {MOST_YEARS} years of a core"
        raise InputError(field, rule, f"an estimate of {years:,.0f} years", f"{mend} Or simulate a smaller field.")


def fft_rate(seconds: float = 0.15) -> float:
    """FFT units per second of one core, measured with transforms of 128 x 128 pixels that stay in cache.

    In processor time, which other work on the machine doesn't lengthen.
    """
    from scipy.fft import fft2

    waves = np.random.default_rng(0).random((4, 128, 128)).astype(np.complex64)
    fft2(waves, workers=1)
    count, start = 0, time.process_time()
    while (passed := time.process_time() - start) < seconds:
        fft2(waves, workers=1)
        count += len(waves)
    return count * transform(128**2) / passed


def duration(minutes: float) -> str:
    """A time in words."""
    if minutes < 90:
        return f"{max(1, round(minutes))} min"
    return f"{minutes / 60:.0f} h" if minutes < 48 * 60 else f"{minutes / 1440:.0f} days"


def transform(pixels: float) -> float:
    """Work of a Fourier transform, in FFT units."""
    return pixels * math.log2(pixels)
