"""How much memory an import may take, and what a block of patterns may take of it."""

from __future__ import annotations

import math
import os
from pathlib import Path

from ptydesign.errors import InputError

GIB = 2**30
PART = 0.5  # of what is free
BLOCKS = 8  # as large as a block: what is read, its counts, what is made of them, and the library's own copies
LEAST_BLOCK = 2**16


def free_bytes() -> float:
    """Memory that is free for new things: the machine's, or what a limit on this process leaves; infinite where nobody
    tells."""
    found = [math.inf]
    about = Path("/proc/meminfo")
    if about.exists():
        found += [1024.0 * int(line.split()[1]) for line in about.read_text().splitlines() if line.startswith("MemAv")]
    group = Path("/sys/fs/cgroup")
    try:
        limit, used = ((group / f"memory.{name}").read_text().strip() for name in ("max", "current"))
        if limit != "max":
            found.append(max(float(limit) - float(used), 0.0))
    except (OSError, ValueError):
        pass
    try:
        import resource

        soft, _ = resource.getrlimit(resource.RLIMIT_AS)
        if soft != resource.RLIM_INFINITY:
            taken = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
            found.append(max(float(soft - taken), 0.0))
    except (ImportError, OSError, ValueError):
        pass
    return min(found)


def bound_bytes(memory_gib: float | None) -> float:
    """What may be taken: as the user says, or half of what is free. Raises InputError unless it is positive."""
    if memory_gib is None:
        return PART * free_bytes()
    if not memory_gib > 0:
        raise InputError("memory_gib", "must be positive", memory_gib, "Give GiB of memory, as 2.")
    return memory_gib * GIB


def check_room(needed: float, bound: float, name: str) -> None:
    """Raises InputError unless so many bytes, and as many to work with, are within the bound."""
    if 2 * needed > bound:
        raise InputError(
            name,
            f"needs {2 * needed / GIB:.2g} GiB of memory",
            float(f"{bound / GIB:.3g}"),
            "Free memory, or give a larger --memory-gib.",
        )


def block_bytes(bound: float, frame_bytes: float) -> float:
    """What a block of frames may take. Raises InputError if the bound doesn't hold a single one."""
    block = min(bound / BLOCKS, 2.0**28)
    if block < max(frame_bytes, LEAST_BLOCK):
        need = BLOCKS * max(frame_bytes, LEAST_BLOCK) / GIB
        raise InputError(
            "memory_gib",
            f"must hold some frames: at least {need:.2g} GiB",
            float(f"{bound / GIB:.3g}"),
            "Free memory, or give a larger --memory-gib.",
        )
    return block
