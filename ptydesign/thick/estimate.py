"""What a study of a thick sample takes, from sizes alone: work in FFT units (as the other studies), time, memory."""

from __future__ import annotations

import math
from typing import Any

from ptydesign.reconstruct.plan import Plan
from ptydesign.study.checked import check_job_memory
from ptydesign.study.cost import duration, fft_rate, transform
from ptydesign.thick import data
from ptydesign.thick.resolve import ThickResolved

LIBRARIES_GIB = 0.9
SIMULATION_OVERHEAD = 2.3  # time of a simulated slice over that of its two transforms (large windows leave the cache)
RECONSTRUCTION_OVERHEAD = 2.0
OBJECT_COPIES = 10  # state, two moments of the update rule, gradient, costs' gradient and their temporaries
START_S = 6.0  # of a job: imports, loading or making compiled code


def simulation_work(resolved: ThickResolved) -> float:
    """Work of all simulated data in FFT units."""
    total = 0.0
    for name in resolved.data_names:
        pixels = math.prod(resolved.windows[name].grid.shape)
        slices = len(resolved.slices_a) * resolved.study.potential.configurations
        count = data.pattern_count(resolved.experiments[name])
        total += count * slices * 2 * transform(pixels) * SIMULATION_OVERHEAD
    return total


def reconstruction_work(resolved: ThickResolved, name: str, plan: Plan) -> float:
    """Work of one reconstruction in FFT units."""
    experiment = resolved.experiments[name]
    transforms = 4 + 6 * (plan.object.slices - 1)
    each = plan.sweeps * plan.probe.modes * transforms * transform(math.prod(experiment.detector.pixels))
    return data.pattern_count(experiment) * each * RECONSTRUCTION_OVERHEAD


def simulation_gib(resolved: ThickResolved) -> float:
    """Memory of a job that simulates: potential, one configuration's transmission (made, continued), propagators."""
    slices = len(resolved.slices_a)
    most = 0.0
    for name in resolved.data_names:
        window = resolved.windows[name].grid.shape
        whole = math.prod(n + m for n, m in zip(resolved.grid.shape, window, strict=True))
        chunk = resolved.study.jobs.patterns * math.prod(resolved.experiments[name].detector.pixels)
        most = max(most, 8 * slices * (2 * whole + 2 * math.prod(window)) + 8 * chunk)
    configurations = resolved.study.potential.configurations
    potential = 4 * configurations * slices * math.prod(resolved.grid.shape)
    return LIBRARIES_GIB + (most + 2 * potential) / 2**30


def reconstruction_gib(resolved: ThickResolved, name: str, slices: int) -> float:
    """Memory of a job that reconstructs: counts (several copies while they are put together), object, its moments."""
    experiment = resolved.experiments[name]
    patterns = data.pattern_count(experiment) * math.prod(experiment.detector.pixels)
    field = experiment.scan.field_of_view_a
    canvas = math.prod(
        f / p + n + 32 for f, p, n in zip(field, experiment.detector.pixel_a, experiment.detector.pixels, strict=True)
    )
    return LIBRARIES_GIB + (4 * 4 * patterns + 8 * OBJECT_COPIES * slices * canvas) / 2**30


def numbers(resolved: ThickResolved, cores: int, works: dict[str, float], memory: dict[str, float], jobs: int) -> dict:
    """The estimate: time in minutes and memory in GiB, JSON-able. works: of each reconstruction.

    memory: GiB of a job of each kind."""
    rate = fft_rate()
    simulation = simulation_work(resolved) / rate
    reconstructions = {name: work / rate for name, work in works.items()}
    seconds = simulation + sum(reconstructions.values()) + START_S * jobs
    patterns = {n: data.pattern_count(resolved.experiments[n]) for n in resolved.data_names}
    disk = sum(4 * count * math.prod(resolved.experiments[name].detector.pixels) for name, count in patterns.items())
    longest = max(reconstructions.values(), default=0.0)
    largest = max(memory.values())
    return {
        "patterns": patterns,
        "jobs": jobs,
        "core_minutes": round(seconds / 60, 1),
        "simulation_core_minutes": round(simulation / 60, 1),
        "longest_reconstruction_minutes": round(longest / 60, 1),
        "cores": cores,
        "minutes": round(max(seconds / cores, simulation / cores + longest) / 60, 1),
        "memory_gib": {name: round(value, 2) for name, value in memory.items()},
        "memory_gib_all_cores": round(cores * largest, 2),
        "data_gib": round(disk / 2**30, 3),
        "fft_units_per_s": float(f"{rate:.3g}"),
    }


def summary(resolved: ThickResolved, found: dict[str, Any], words: str) -> str:
    """The estimate in a few lines, for a terminal. words: what the study's jobs are."""
    study, shape = resolved.study, resolved.shape
    size = f"{shape.extent_a[1]:.1f} x {shape.extent_a[0]:.1f} x {shape.thickness_a:.1f} A"
    patterns = ", ".join(f"{name} {count}" for name, count in found["patterns"].items())
    memory = ", ".join(f"{name} {value:g}" for name, value in found["memory_gib"].items())
    whole, work, part = (duration(found[f"{name}minutes"]) for name in ("", "core_", "simulation_core_"))
    return (
        f"{study.study} ({study.scale}): {size} (x, y, z), {len(resolved.slices_a)} slices of {resolved.grid.shape[1]} "
        f"x {resolved.grid.shape[0]} px, {study.potential.configurations} thermal configurations\n"
        f"patterns: {patterns}; {words}; {found['jobs']} jobs\n"
        f"estimate: {whole} on {found['cores']} cores ({work} of one core, {part} of it simulation); "
        f"GiB of memory of a job: {memory}; {found['data_gib']:g} GiB of data"
    )


def check_memory(resolved: ThickResolved, found: dict[str, float], cores: int, machine_gib: float) -> str | None:
    """Refuse a study of which one job doesn't fit into the machine; a warning if `cores` jobs at a time don't."""
    job, gib = max(found.items(), key=lambda item: item[1])
    mend = "Take a smaller field of view, fewer slices or configurations, or run it with an executor plugin."
    return check_job_memory(resolved.study.study, gib, cores, machine_gib, mend, job)


def job_memory_mb(gib: float, attempt: int) -> int:
    """Memory to ask for; grows with the attempt."""
    return int(1024 * gib * (0.8 + 0.2 * attempt))
