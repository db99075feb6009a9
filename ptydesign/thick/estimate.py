"""What a study of a thick sample takes, from sizes alone: work in FFT units (as the other studies), time, memory."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ptydesign.reconstruct.plan import Plan
from ptydesign.study import cost
from ptydesign.study.cost import transform
from ptydesign.thick import data
from ptydesign.thick.resolve import ThickResolved, made

LIBRARIES_GIB = 0.9
SIMULATION_OVERHEAD = 2.3  # time of a simulated slice over that of its two transforms (large windows leave the cache)
RECONSTRUCTION_OVERHEAD = 2.0
OBJECT_COPIES = 10  # state, two moments of the update rule, gradient, costs' gradient and their temporaries
MEND = "Take a smaller field of view, fewer slices or configurations, or run it with an executor plugin."


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
    return LIBRARIES_GIB + most / 2**30 + 2 * potential_gib(resolved)


def potential_gib(resolved: ThickResolved) -> float:
    """Of the potential, all thermal configurations."""
    configurations, slices = resolved.study.potential.configurations, len(resolved.slices_a)
    return 4 * configurations * slices * math.prod(resolved.grid.shape) / 2**30


def reconstruction_gib(resolved: ThickResolved, name: str, slices: int) -> float:
    """Memory of a job that reconstructs: counts (several copies while they are put together), object, its moments."""
    experiment = resolved.experiments[name]
    patterns = data.pattern_count(experiment) * math.prod(experiment.detector.pixels)
    field = experiment.scan.field_of_view_a
    canvas = math.prod(
        f / p + n + 32 for f, p, n in zip(field, experiment.detector.pixel_a, experiment.detector.pixels, strict=True)
    )
    return LIBRARIES_GIB + (4 * 4 * patterns + 8 * OBJECT_COPIES * slices * canvas) / 2**30


def memory_gib(resolved: ThickResolved, slices: int) -> dict[str, float]:
    """GiB of one job of each sort. slices: the most of any reconstruction."""
    reconstructions = [reconstruction_gib(resolved, name, slices) for name in resolved.study.names]
    return {
        "simulation": simulation_gib(resolved),
        "reconstruction": max(reconstructions),
        "tables": LIBRARIES_GIB + 2 * potential_gib(resolved),
    }


def summary(resolved: ThickResolved, numbers: Mapping[str, Any], what: str) -> str:
    """The estimate in a few lines, for a terminal. what: what the study's reconstructions are."""
    study, shape = resolved.study, resolved.shape
    size = f"{shape.extent_a[1]:.1f} x {shape.extent_a[0]:.1f} x {shape.thickness_a:.1f} A"
    counts = made(resolved)["patterns"]
    patterns = ", ".join(f"{name} {count}" for name, count in counts.items())
    disk = sum(4 * count * math.prod(resolved.experiments[name].detector.pixels) for name, count in counts.items())
    return (
        f"{size} (x, y, z), {len(resolved.slices_a)} slices of {resolved.grid.shape[1]} x {resolved.grid.shape[0]} px, "
        f"{study.potential.configurations} thermal configurations\n"
        f"patterns: {patterns}; {disk / 2**30:.3g} GiB of data\n" + cost.summary(resolved, numbers, what)
    )
