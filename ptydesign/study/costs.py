"""What each step of a study took, as Snakemake measured it, beside what was estimated."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ptydesign.study.tables import read_settings


@dataclass(frozen=True)
class Measured:
    """Jobs of a step that were measured: their number, seconds in all, of the longest, and the largest's GiB."""

    jobs: int
    seconds: float
    longest_s: float
    memory_gib: float


def costs_table(results: Path) -> str:
    """A table of estimated and measured seconds and memory of each step, as text. Raises InputError.

    Only jobs that ran are measured: those whose trials were stored cost less than was estimated.
    """
    _, made = read_settings(results)
    steps = (made.get("estimate") or {}).get("steps") or {}
    found = measured_steps(Path(results), list(steps))
    head = (
        f"{'step':14s}{'jobs':>6s}{'measured':>10s}{'s estimated':>13s}{'s measured':>12s}{'GiB est.':>10s}{'GiB':>7s}"
    )
    lines = [head]
    for name, one in steps.items():
        took = found.get(name)
        memory = f"{one['memory_gib']:.2f}" if "memory_gib" in one else "-"
        numbers = (f"{took.jobs}", f"{took.seconds:.1f}", f"{took.memory_gib:.2f}") if took else ("0", "-", "-")
        lines.append(
            f"{name:14s}{one['jobs']:6d}{numbers[0]:>10s}{one['core_s']:13.1f}{numbers[1]:>12s}{memory:>10s}{numbers[2]:>7s}"
        )
    return "\n".join(lines)


def measured_steps(results: Path, names: Sequence[str]) -> dict[str, Measured]:
    """Of each step that has run, from logs/<step>*.tsv."""
    found = {}
    for name in names:
        rows = [row for file in sorted((results / "logs").glob(f"{name}*.tsv")) for row in _rows(file, name)]
        if rows:
            seconds = [float(row["s"]) for row in rows]
            memory = max((float(row["max_rss"]) for row in rows if row["max_rss"] not in ("NA", "-")), default=0.0)
            found[name] = Measured(len(rows), sum(seconds), max(seconds), memory / 1024)
    return found


def _rows(file: Path, name: str) -> list[dict[str, str]]:
    """The last measurement of a job of a step; none where the file is another step's, or was cut off by a kill."""
    if file.stem != name and not file.stem.startswith(f"{name}-"):
        return []
    with file.open(encoding="utf-8") as lines:
        return [row for row in csv.DictReader(lines, delimiter="\t") if row.get("max_rss")][-1:]
