"""Patterns that stay on the host and reach the device in chunks of whole groups.

Where patterns take too much of the device's memory, a sweep is a few calls of one compiled function, each with the
patterns of its groups. They stay as they are stored (integers of a detector, an array mapped from a file) until the
device uses them. While it works on a chunk, the next one is gathered and sent: two are on the device at once.
The result is the one that patterns on the device would have given.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Int32

from ptydesign import machine
from ptydesign.errors import InputError
from ptydesign.machine import GIB
from ptydesign.reconstruct import cores, propagation, shifts
from ptydesign.reconstruct.engine import EngineConfig
from ptydesign.reconstruct.engines import ENGINES
from ptydesign.reconstruct.forward import Problem
from ptydesign.reconstruct.resample import fit_spectrum
from ptydesign.reconstruct.scans import parts_of
from ptydesign.types import Dataset, blocks

PART = 0.5  # of the device's free memory: what takes more stays on the host
CHUNK_PART = 1 / 16  # of it, for each of two chunks


def chunk_bytes(chunk_gib: float | None, needed: int, free: float | None = None) -> int | None:
    """Largest chunk in bytes, or None if patterns of `needed` bytes shall be on the device as a whole.

    chunk_gib: as the user gave it; None: only if they take more than PART of the device's free bytes (default: asked).
    Raises InputError unless chunk_gib is positive.
    """
    if chunk_gib is None:
        free = free_bytes() if free is None else free
        return None if needed <= PART * free else int(CHUNK_PART * free)
    if not chunk_gib > 0:
        raise InputError("chunk_gib", "must be positive", chunk_gib, "Give GiB of a chunk, or inf for no chunks.")
    return None if needed <= chunk_gib * GIB else int(chunk_gib * GIB)


def free_bytes() -> float:
    """Free memory of the device that JAX computes on; on a CPU the machine's."""
    statistics = jax.devices()[0].memory_stats()
    if statistics and "bytes_limit" in statistics:
        return statistics["bytes_limit"] - statistics["bytes_in_use"]
    return machine.free_bytes()


def memory_bytes() -> float:
    """Memory of the device that JAX computes on; on a CPU what is free of the machine's."""
    statistics = jax.devices()[0].memory_stats()
    return statistics["bytes_limit"] if statistics and "bytes_limit" in statistics else machine.free_bytes()


@dataclass(frozen=True)
class Host:
    """Patterns on the host.

    patterns: (position, ky, kx) as the dataset has them; pixels: (ky, kx) of the engine; dtype: of what is sent;
    groups, members: how many groups a chunk holds, and positions a group; last: how many first members of each group
    the end of a sweep looks at; over: the cores that share the work.
    """

    patterns: np.ndarray
    pixels: tuple[int, int]
    dtype: np.dtype
    groups: int
    members: int
    last: int
    over: Mesh | None

    def put(
        self, problem: Problem, indices: Int32[np.ndarray, "group slot"], counts: Int32[np.ndarray, " group"]
    ) -> Problem:
        """The problem with the patterns of groups: indices (n, m), of which the first counts (n,) are members."""
        rows = np.zeros(len(problem.nominal_a), np.int32)
        chunk = cores.zeros((indices.size, *self.pixels), self.dtype)
        places = np.flatnonzero(np.arange(indices.shape[1]) < counts[:, None])
        members = indices.reshape(-1)[places]
        rows[members] = places
        as_stored = self.pixels == self.patterns.shape[-2:]
        for place, member in sorted(zip(places, members, strict=True), key=lambda pair: pair[1]):  # as on the disk
            pattern = self.patterns[member]
            chunk[place] = pattern if as_stored else fit_spectrum(np.asarray(pattern), self.pixels)
        return problem._replace(patterns=cores.shared(chunk, self.over), rows=jnp.asarray(rows))


def host_of(
    dataset: Dataset, pixels: tuple[int, int], settings: EngineConfig, room: int, real: type, limit: int
) -> Host:
    """Patterns of an engine with chunks of at most `limit` bytes; room: how many positions its arrays have room for.

    Raises InputError if a group, or what the end of a sweep looks at, takes more, and for an engine that keeps waves.
    """
    if settings.keeps_waves:
        raise InputError(
            "chunk_gib",
            f"is not for {settings.engine}: it keeps the exit waves of all positions on the device, at least "
            "twice what their patterns take",
            limit / GIB,
            "Choose another engine, or have no chunks (--chunk-gib inf).",
        )
    stored = np.asarray(dataset.patterns[:0]).dtype
    narrow = stored.kind in "iub" and stored.itemsize <= np.dtype(real).itemsize
    dtype = stored if narrow else np.dtype(real)
    pattern = math.prod(pixels) * dtype.itemsize
    members = settings.members(room)
    groups = -(-room // members)
    if members * pattern > limit:
        raise InputError(
            "chunk_gib",
            f"must hold one group of {settings.engine}: {members} patterns, {members * pattern / GIB:.2g} GiB",
            limit / GIB,
            "Give larger chunks (--chunk-gib), smaller groups, or a rule that has groups (L-BFGS takes all positions).",
        )
    engine, shape = ENGINES[settings.engine], (settings.options(), groups, members)
    last = max(engine.looks_back(*shape), propagation.looks_back(*shape))
    last = max(last, shifts.looks_back(len(parts_of(dataset)), *shape))
    if last * groups * pattern > limit:
        raise InputError(
            "chunk_gib",
            f"must hold what ends a sweep of {settings.engine}: {last * groups} patterns, "
            f"{last * groups * pattern / GIB:.2g} GiB",
            limit / GIB,
            "Give larger chunks (--chunk-gib; inf: no chunks), larger groups, or another engine.",
        )
    chunk = min(groups, limit // (members * pattern))
    return Host(dataset.patterns, tuple(pixels), dtype, chunk, members, last, engine.cores())


def mean_counts(dataset: Dataset, pixels: tuple[int, int]) -> float:
    """Mean over positions and pixels, masked ones as zero, of patterns that are cropped or padded to `pixels`.

    Raises InputError if there is not a single count.
    """
    mask = fit_spectrum(np.asarray(dataset.mask), pixels)
    total = sum(
        float(np.sum(fit_spectrum(np.asarray(block), pixels) * mask, dtype=np.float64))
        for block in blocks(dataset.patterns)
    )
    if total == 0:
        raise InputError("dataset.patterns", "must hold at least one count", 0, "Raise the dose, or check the mask.")
    return total / (len(dataset.patterns) * mask.size)
