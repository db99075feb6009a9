"""How much memory an import may take, and what a block of patterns may take of it."""

from __future__ import annotations

from ptydesign.errors import InputError
from ptydesign.machine import GIB, free_bytes

PART = 0.5  # of what is free
BLOCKS = 8  # as large as a block: what is read, its counts, what is made of them, and the library's own copies
LEAST_BLOCK = 2**16
ORDER_BYTES = 64  # of a frame: its place in file and scan, its total, whether it is kept


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
