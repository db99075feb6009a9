"""`python -m benchmarks.stability`: does another seed of the search recommend as good a design?

The searches of studies/lowdose run again with several seeds, up to the decision. What each recommends is then simulated
with the same fresh noise as all others: its true score. Beside it stands what a search without a decision would take,
its best single trial. Writes docs/results/lowdose/stability.csv and .md; started again, it goes on.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from ptydesign import kinds
from ptydesign.experiment import scope
from ptydesign.experiment.points import experiment_at
from ptydesign.experiment.search import Runner, find_search, study_at
from ptydesign.experiment.trial import Trial, judged, value_at
from ptydesign.reconstruct.cores import use_cores
from ptydesign.study.file import dose_name
from ptydesign.study.rounds import read_round

ROOT = Path(__file__).parents[1]
RESULTS = Path("docs/results/lowdose")
STUDY = ROOT / "studies" / "lowdose"
REPEAT = 3000  # repeats from here on, apart from those of a study
DECIDED, BEST_TRIAL = "decided", "best trial"


@dataclass(frozen=True)
class Chosen:
    """A design that a search of one seed and dose gives. ranges: {parameter: [low, high]} of those like it."""

    seed: int
    dose_e_per_a2: float
    rule: str
    point: dict[str, Any]
    sweeps: int
    ranges: dict[str, Any]


def write_study(place: Path, seed: int, doses: list[float]) -> None:
    """The study with another seed: its searches and their decisions."""
    content = yaml.safe_load((STUDY / "study.yaml").read_text())
    content |= {"seed": seed, "doses_e_per_a2": doses}
    for part in ("random", "map", "compare_with"):
        content.pop(part)
    content.pop("scales")
    folder = place / "studies" / f"seed_{seed}"
    if not folder.exists():
        folder.mkdir(parents=True)
        (folder / "study.yaml").write_text(yaml.safe_dump(content, sort_keys=False))


def search(place: Path, seeds: list[int], doses: list[float], cores: int) -> None:
    """All searches, up to their decisions."""
    for name in ("Snakefile", "profiles"):
        target = place / name
        if not target.exists():
            (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, target)
    files = [f"results/seed_{s}/{scope.DECISION.format(dose=dose_name(d))}" for s in seeds for d in doses]
    command = [sys.executable, "-m", "snakemake", "--cores", str(cores), *files]
    environment = {**os.environ, "PTYDESIGN_CACHE": str(place / "cache")}
    subprocess.run(command, cwd=place, env=environment, check=True)


def chosen(place: Path, seed: int, dose: float) -> list[Chosen]:
    """What the decision recommends, and the best single trial of the search."""
    resolved = opened(place, seed)
    decision = resolved.read_json(scope.DECISION.format(dose=dose_name(dose)))
    found = find_search(resolved.study, f"bo-{dose_name(dose)}")
    records = [
        r for n in range(len(found.sizes)) for r in read_round(resolved.results, found, n) if r["status"] == "ok"
    ]
    best = max(records, key=lambda r: value_of(resolved.study, r))
    stop = judged(resolved.study, best)["sweeps"]
    return [
        Chosen(seed, dose, DECIDED, decision["point"], decision["sweeps"], decision["tolerance"]),
        Chosen(seed, dose, BEST_TRIAL, best["point"], stop, {}),
    ]


def value_of(study: Any, record: dict[str, Any]) -> float:
    """The score of a trial at its own best stop."""
    return value_at(study, record, judged(study, record)["sweeps"])


def opened(place: Path, seed: int) -> Any:
    """A seed's study."""
    return kinds.open_study(place / "studies" / f"seed_{seed}", "preview", place / "results").resolved


def true_scores(place: Path, base: int, one: Chosen, draws: int) -> list[float | None]:
    """Scores of a design with fresh noise. base: the seed whose study gives the noise, the same for all designs."""
    use_cores(1)
    os.environ["PTYDESIGN_CACHE"] = str(place / "cache")
    resolved = opened(place, base)
    runner, study = Runner(resolved), study_at(resolved.study, one.point)
    config = experiment_at(resolved.study.experiment, one.point)
    trials = (Trial(config, one.dose_e_per_a2, repeat=REPEAT + n, stop=one.sweeps) for n in range(draws))
    return [value_at(study, runner.run(trial, None, study=study)[1], one.sweeps) for trial in trials]


def overlapping(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether the ranges of two recommendations overlap in every parameter."""
    pairs = [(one[name], other[name]) for name in one if name in other and one[name][0] is not None]
    return all(a[0] <= b[1] and b[0] <= a[1] for a, b in pairs)


def summary(table: pd.DataFrame, ranges: dict[tuple[int, float], dict[str, Any]]) -> pd.DataFrame:
    """A row for each dose and rule: mean, spread over seeds, the worst behind the best known, and overlapping pairs."""
    rows = []
    best = table.groupby("dose_e_per_a2")["ssim"].max()
    for (dose, rule), group in table.groupby(["dose_e_per_a2", "rule"], sort=False):
        pairs = list(itertools.combinations(group["seed"], 2))
        together = sum(overlapping(ranges[a, dose], ranges[b, dose]) for a, b in pairs) if rule == DECIDED else None
        rows.append(
            {
                "dose_e_per_a2": dose,
                "rule": rule,
                "seeds": len(group),
                "ssim_mean": group["ssim"].mean(),
                "std_over_seeds": group["ssim"].std(),
                "noise_of_a_mean": float(np.sqrt(np.mean(group["std"] ** 2 / group["draws"]))),
                "worst_behind_best": best[dose] - group["ssim"].min(),
                "overlapping": None if together is None else f"{together} of {len(pairs)}",
            }
        )
    return pd.DataFrame(rows)


def markdown(summed: pd.DataFrame) -> str:
    """The summary as a table."""
    head = "| dose (e/A^2) | taken | seeds | SSIM | std over seeds | worst behind the best | ranges that overlap |"
    lines = [head, "|---" * 7 + "|"]
    for row in summed.itertuples():
        cells = (f"{row.dose_e_per_a2:,g}", row.rule, row.seeds, f"{row.ssim_mean:.3f}", f"{row.std_over_seeds:.4f}")
        overlap = row.overlapping if isinstance(row.overlapping, str) else ""
        lines.append(f"| {' | '.join(map(str, cells))} | {row.worst_behind_best:.3f} | {overlap} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Search, measure, write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stability", description=__doc__)
    parser.add_argument("--seeds", type=int, default=8, help="of the search (default: 8)")
    parser.add_argument("--doses", type=float, nargs="+", default=[100, 1000, 10000], help="in e/A^2")
    parser.add_argument("--draws", type=int, default=20, help="of each recommended design (default: 20)")
    parser.add_argument("--cores", type=int, default=os.cpu_count(), help="(default: all)")
    parser.add_argument("--place", type=Path, default=None, help="folder to work in, and to go on in")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder (default: %(default)s)")
    options = parser.parse_args()
    place = (options.place or Path(tempfile.mkdtemp(prefix="stability-"))).resolve()
    print(f"works in {place}", flush=True)
    seeds = list(range(1, options.seeds + 1))
    for seed in seeds:
        write_study(place, seed, options.doses)
    search(place, seeds, options.doses, options.cores)
    found = [one for seed in seeds for dose in options.doses for one in chosen(place, seed, dose)]
    with ProcessPoolExecutor(options.cores, multiprocessing.get_context("spawn")) as pool:
        jobs = [pool.submit(true_scores, place, seeds[0], one, options.draws) for one in found]
        scores = [[value for value in job.result() if value is not None] for job in jobs]
    rows = [
        {
            "dose_e_per_a2": one.dose_e_per_a2, "rule": one.rule, "seed": one.seed, **one.point, "sweeps": one.sweeps,
            "ssim": np.mean(values), "std": np.std(values, ddof=1), "draws": len(values),
        }
        for one, values in zip(found, scores, strict=True)
    ]  # fmt: skip
    table = pd.DataFrame(rows)
    ranges = {(one.seed, one.dose_e_per_a2): one.ranges for one in found if one.rule == DECIDED}
    summed = summary(table, ranges)
    table.to_csv(options.out / "stability.csv", index=False, float_format="%.5g")
    (options.out / "stability.md").write_text(markdown(summed))
    print(summed.to_string(index=False))


if __name__ == "__main__":
    main()
