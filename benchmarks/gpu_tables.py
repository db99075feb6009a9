"""What `benchmarks.gpu` measured, as tables."""

from __future__ import annotations

from typing import Any

import numpy as np

DOSE = 1000.0  # of the trials, in e/A^2
TRIALS, DOSES = 800, 9  # of the paper's study: points of a dose, and doses
LARGEST_GIB = 2.0  # patterns of a design that is timed: the host draws their noise in double precision


def markdown(found: dict[str, dict[str, Any]]) -> str:
    """The parts that there are, as tables. found: {part: {job: what it measured}}."""
    text = ["# One GPU", ""]
    if one := found["device"].get("device"):
        packages = ", ".join(f"{name} {number}" for name, number in one["versions"].items())
        text += [f"Measured on {one['device']} ({one['host_cores']} cores of its host), {packages}.", ""]
        text += ["| transform and inverse | microseconds | transforms a second |", "|---|---|---|"]
        text += [f"| {name} | {1e6 * s:.2f} | {2 / s:,.0f} |" for name, s in one["pair_s"].items()]
        text.append("")
    for part in ("sweeps", "figure4"):
        if rows := list(found[part].values()):
            text += [*_of_sweeps(rows, list(found["peers"].values()) if part == "figure4" else []), ""]
    if rows := found["together"].values():
        text += ["| reconstructions at once (64 px, 300 positions) | ms a sweep of each |", "|---|---|"]
        text += [f"| {row['together']} | {1e3 * row['sweep_s']:.2f} |" for row in rows]
        text.append("")
    if runs := list(found["trials"].values()):
        text += _of_trials(runs[0], runs[-1])
    return "\n".join(text) + "\n"


def _of_sweeps(rows: list[dict[str, Any]], beside: list[dict[str, Any]]) -> list[str]:
    names = list(dict.fromkeys(other["program"] for other in beside))
    head = ["slices, modes, positions", "engine", "group", "sweep (ms)", "sweep / floor", "sweep / its transforms"]
    head += ["compilation (s)", *(f"{name} / ours" for name in names)]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    same = ("slices", "modes", "engine", "group")
    for row in rows:
        ratio = row["sweep_s"] / row["floor_s"]
        cells = [f"{row['slices']}, {row['modes']}, {row['positions']}", row["engine"], str(row["group"])]
        cells += [f"{1e3 * row['sweep_s']:.1f}", f"{ratio:.1f}", f"{ratio / row['transforms']:.1f}"]
        cells.append(f"{row['compile_s']:.1f}")
        for name in names:
            times = [o["sweep_s"] for o in beside if o["program"] == name and all(o[k] == row[k] for k in same)]
            numbers = [time for time in times if isinstance(time, float)]
            cells.append(f"{numbers[0] / row['sweep_s']:.1f}" if numbers else "failed" if times else "")
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _of_trials(first: dict[str, Any], last: dict[str, Any]) -> list[str]:
    rows = last["trials"]
    rate = 60 * len(rows) / last["seconds"]
    means = {
        name: np.mean([row[name] for row in rows if name in row] or [0.0])
        for name in ("simulate_s", "reconstruct_s", "score_s")
    }
    same = next(row["ssim"] for row in first["trials"] if row["step_a"] == first["cpu"]["step_a"])
    busy = "unknown" if last["busy_percent"] is None else f"{last['busy_percent']:.0f} %"
    peak = "unknown" if last["peak_gib"] is None else f"{last['peak_gib']:.1f} GiB"
    runs = [f"{run['seconds']:.0f}; {run['compiled']}, {run['compile_s']:.0f}" for run in (first, last)]
    return [
        f"| trials at {DOSE:g} e/A^2 | |",
        "|---|---|",
        f"| designs whose patterns take at most {LARGEST_GIB:g} GiB | {last['fit']} of {last['points']} |",
        f"| trials, of them without a score | {len(rows)}, {sum(row['ssim'] is None for row in rows)} |",
        f"| first run: seconds; functions compiled, their seconds | {runs[0]} |",
        f"| with other noise: seconds; functions compiled, their seconds | {runs[1]} |",
        f"| trials a minute, of the second run | {rate:.1f} |",
        f"| minutes of {TRIALS} trials of one dose | {TRIALS / rate:.0f} |",
        f"| hours of {DOSES} doses | {DOSES * TRIALS / rate / 60:.1f} |",
        f"| seconds a trial: simulation, reconstruction, scores (of a thread's, or a share) | "
        f"{means['simulate_s']:.2f}, {means['reconstruct_s']:.2f}, {means['score_s']:.2f} |",
        f"| SSIM of one design; on the CPU that prepared them | {same:.4f}; {first['cpu']['ssim']:.4f} |",
        f"| device busy | {busy} |",
        f"| most memory of the device | {peak} |",
    ]
