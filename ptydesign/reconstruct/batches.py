"""Batches of scan positions: balanced (sizes differ by at most one), none dropped, reproducible by seed."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int, Int32

Positions = Float[np.ndarray, "position 2"]


def neighbours_in_order(positions: Positions) -> Int[np.ndarray, " position"]:
    """Order of (n, 2) positions in which neighbours in the list are mostly neighbours in the plane.

    Recursive bisection of the longer side; deterministic, and the same in all sweeps over the same positions.
    """
    return _in_order(positions.tobytes(), positions.dtype.str)


@functools.lru_cache(maxsize=128)
def _in_order(content: bytes, dtype: str) -> Int[np.ndarray, " position"]:
    positions = np.frombuffer(content, dtype).reshape(-1, 2)

    def split(indices: np.ndarray) -> list[int]:
        if len(indices) <= 2:
            return indices.tolist()
        points = positions[indices]
        axis = int(np.argmax(np.ptp(points, axis=0)))
        ordered = indices[np.argsort(points[:, axis], kind="stable")]
        half = len(ordered) // 2
        return split(ordered[:half]) + split(ordered[half:])

    return np.asarray(split(np.arange(len(positions))), dtype=np.int64)


def sizes_of(count: int, groups: int) -> Int[np.ndarray, " {groups}"]:
    """`groups` sizes that add up to `count` and differ by at most one."""
    base, more = divmod(count, groups)
    return np.asarray([base + 1] * more + [base] * (groups - more))


def compact(positions: Positions, groups: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Spatial clusters: recursive bisection into `groups` parts, along axes turned by a random angle."""
    angle = rng.uniform(0, np.pi)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    turned = positions @ turn

    def split(indices: np.ndarray, sizes: np.ndarray) -> list[np.ndarray]:
        if len(sizes) == 1:
            return [rng.permutation(indices)]
        points = turned[indices]
        axis = int(np.argmax(np.ptp(points, axis=0)))
        ordered = indices[np.argsort(points[:, axis], kind="stable")]
        half = len(sizes) // 2
        cut = int(sizes[:half].sum())
        return split(ordered[:cut], sizes[:half]) + split(ordered[cut:], sizes[half:])

    return split(np.arange(len(positions)), sizes_of(len(positions), groups))


def sparse(positions: Positions, groups: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Positions far apart: neighbours in the plane are dealt to different groups, in random order."""
    order = neighbours_in_order(positions)
    blocks = -(-len(order) // groups)
    dealt = np.concatenate([rng.permutation(groups) for _ in range(blocks)])[: len(order)]
    by_group = order[np.argsort(dealt, kind="stable")]
    return [rng.permutation(m) for m in np.split(by_group, np.cumsum(np.bincount(dealt, minlength=groups))[:-1])]


def random(positions: Positions, groups: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Groups drawn at random."""
    return np.split(rng.permutation(len(positions)), np.cumsum(sizes_of(len(positions), groups))[:-1])


BATCHES: dict[str, Callable[[Positions, int, np.random.Generator], list[np.ndarray]]] = {
    "compact": compact,
    "sparse": sparse,
    "random": random,
}


def padded_groups(
    positions: Positions, size: int, kind: str, rng: np.random.Generator, capacity: tuple[int, int]
) -> tuple[Int32[np.ndarray, "group slot"], Int32[np.ndarray, " group"]]:
    """Groups of at most `size` positions in random order, as (indices, counts) of a fixed shape.

    capacity: (groups, width) of the index array, at least ceil(n / size) and size. indices: int32, rows padded with 0.
    counts: (groups,) int32 members of each row, 0 for rows that hold no group.
    """
    number = -(-len(positions) // size)
    groups = BATCHES[kind](positions, number, rng)
    indices = np.zeros(capacity, np.int32)
    counts = np.zeros(capacity[0], np.int32)
    for row, group in enumerate(rng.permutation(number)):
        indices[row, : len(groups[group])] = groups[group]
        counts[row] = len(groups[group])
    return indices, counts
