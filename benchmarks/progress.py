"""`python -m benchmarks.progress studies/lowdose`: how far off was the time that a study's progress line announced?

A finished study's own notes are played again: after each tenth of its trials, what the line said was left, and how long
it really took until the last trial, without pauses of PAUSE_S and more. The time of the report isn't in it. Prints a
table.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

from ptydesign.kinds import load_studies
from ptydesign.study.kind import Run
from ptydesign.study.progress import progress_of, seconds_left

PARTS, PAUSE_S = 10, 600.0


def replayed(run: Run, cores: int) -> list[tuple[float, float, float]]:
    """(part of the trials that are done, seconds left as announced, as it was) after each tenth."""
    progress = progress_of(run, cores)
    trials, spared = progress.read()
    order = sorted(trials.items(), key=lambda item: item[1]["t"])
    times, found = [trial["t"] for _, trial in order], []
    steps = [0.0 if later - earlier > PAUSE_S else later - earlier for earlier, later in itertools.pairwise(times)]
    for tenth in range(1, PARTS):
        count = len(order) * tenth // PARTS
        seen = dict(order[:count])
        # what later trials spared was not known yet
        known = {name: n for name, n in spared.items() if ended_at(trials, name) <= order[count - 1][1]["t"]}
        total = progress.total - sum(known.values())
        left = seconds_left(seen, total, cores, progress.parts, known)
        found.append((tenth / PARTS, left or 0.0, sum(steps[count - 1 :])))
    return found


def ended_at(trials: dict, part: str) -> float:
    """When the last trial of a part was noted."""
    return max((t["t"] for name, t in trials.items() if name.startswith(f"{part}/")), default=0.0)


def markdown(rows: list[tuple[float, float, float]]) -> str:
    """The table."""
    lines = ["| trials done | left, as announced (min) | left, as it was (min) | off by |", "|---|---|---|---|"]
    lines += [f"| {part:.0%} | {said / 60:.1f} | {was / 60:.1f} | {said / was - 1:+.0%} |" for part, said, was in rows]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Play a study's notes again."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.progress", description=__doc__)
    parser.add_argument("study", type=Path, help="folder of a study that has been run")
    parser.add_argument("--scale", default="preview", help="(default: %(default)s)")
    parser.add_argument("--cores", type=int, default=2, help="that snakemake had (default: %(default)s)")
    parser.add_argument("--results", type=Path, default=Path("results"), help="(default: %(default)s)")
    options = parser.parse_args()
    config = {"scale": options.scale}
    (run,) = load_studies(options.study.parent, config, [str(options.study)], options.results).values()
    print(markdown(replayed(run, options.cores)))


if __name__ == "__main__":
    main()
