"""Time of a sweep against the floor and against phaser's, each group size in turn."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence

import pandas as pd

from benchmarks import floor, ours, peer
from benchmarks.data import SHAPE, Case
from ptydesign.reconstruct.batches import sizes_of
from ptydesign.reconstruct.engines import ENGINES

# (slices, modes): {engine: (largest sweep / floor, smallest phaser / ours)}
GOALS = {
    (1, 1): {"gradient": (2.0, 3.0), "epie": (2.5, 4.0), "lsqml": (2.5, 4.0)},
    (1, 4): {"gradient": (2.0, 2.0), "lsqml": (2.5, 3.0)},
    (10, 1): {"gradient": (2.5, 2.0), "lsqml": (3.0, 2.5)},
}


def transforms_per_floor(case: Case, engine: str, group: int) -> float:
    """Fourier transforms of a sweep, of the floor's: two per position, mode and slice."""
    count = len(case.dataset.positions_a)
    settings = ours.plan_of(case, engine, group).engines[0]
    sizes = sizes_of(count, -(-count // group))
    return sum(ENGINES[engine].transforms(settings, int(m), case.slices) for m in sizes) / (2 * count * case.slices)


def measure(cases: dict[int, Case], groups: Sequence[int], repeats: int, save: Callable[[pd.DataFrame], None]) -> None:
    """One row for each case, engine and group size; the fastest sweep of all repeats counts on both sides.

    save: called with the table so far after each row.
    """
    rows = []
    for group, (slices, modes) in itertools.product(groups, GOALS):
        case = cases[slices]
        steps = len(case.dataset.positions_a) * modes * slices
        for engine, (goal_floor, goal_peer) in GOALS[slices, modes].items():
            begin = time.perf_counter()
            floors, mine, theirs = [], [], []
            for _ in range(repeats):
                floors.append(floor.pair_s(SHAPE) * steps)
                mine.append(ours.run(case, engine, group, modes))
                theirs.append(peer.run(case, engine, group, modes))
            fastest = min(mine, key=lambda run: run.sweep_s)
            row = {
                "slices": slices,
                "modes": modes,
                "positions": len(case.dataset.positions_a),
                "engine": engine,
                "group": group,
                "floor_s": min(floors),
                "sweep_s": fastest.sweep_s,
                "core_s": min(run.core_s for run in mine),
                "phaser_s": min(run.sweep_s for run in theirs),
                "phaser_core_s": min(run.core_s for run in theirs),
                "compilation_s": mine[0].compilation_s,
                "phaser_compilation_s": theirs[0].compilation_s,
                "transforms": transforms_per_floor(case, engine, group),
                "goal_floor": goal_floor,
                "goal_phaser": goal_peer,
            }
            rows.append(row)
            took = time.perf_counter() - begin
            print(
                f"{slices} slices, {modes} modes, {engine}, groups of {group}: "
                f"{row['sweep_s'] / row['floor_s']:.2f} of the floor, "
                f"phaser {row['phaser_s'] / row['sweep_s']:.1f} times as long ({took:.0f} s)",
                flush=True,
            )
            save(with_ratios(pd.DataFrame(rows)))


def with_ratios(table: pd.DataFrame) -> pd.DataFrame:
    """The table, in order, with what its times are in proportion."""
    table = table.sort_values(["slices", "modes", "engine", "group"], ignore_index=True)
    return table.assign(
        sweep_per_floor=table.sweep_s / table.floor_s,
        core_s_per_floor=table.core_s / table.floor_s,
        phaser_per_floor=table.phaser_s / table.floor_s,
        phaser_per_sweep=table.phaser_s / table.sweep_s,
        phaser_core_s_per_core_s=table.phaser_core_s / table.core_s,
    )


def markdown(table: pd.DataFrame) -> str:
    """The table for the documentation."""
    head = (
        "| slices, modes | engine | group | floor (s) | sweep (s) | sweep / floor (goal) | phaser / ours (goal) "
        "| transforms / floor | core-seconds / floor | core-seconds, phaser / ours | compilation (s), phaser's |\n"
        "|---|---|---|---|---|---|---|---|---|---|---|\n"
    )
    lines = []
    for row in table.itertuples():
        met = [row.sweep_per_floor <= row.goal_floor, row.phaser_per_sweep >= row.goal_phaser]
        marks = ["met" if m else "not met" for m in met]
        lines.append(
            f"| {row.slices}, {row.modes} | {row.engine} | {row.group} | {row.floor_s:.3f} | {row.sweep_s:.3f} "
            f"| {row.sweep_per_floor:.2f} ({row.goal_floor:g}: {marks[0]}) "
            f"| {row.phaser_per_sweep:.1f} ({row.goal_phaser:g}: {marks[1]}) "
            f"| {row.transforms:.2f} | {row.core_s_per_floor:.2f} "
            f"| {row.phaser_core_s_per_core_s:.1f} "
            f"| {row.compilation_s:.1f}, {row.phaser_compilation_s:.1f} |"
        )
    return head + "\n".join(lines) + "\n"
