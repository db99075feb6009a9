"""`python -m benchmarks.trends`: the paper's trends as a factorial experiment, instead of by best points of a search.

Every combination of scan step, probe radius and number of detector pixels is simulated at every dose of studies/lowdose
with the same noise seeds, at one aperture; the probe's radius is set by the defocus. A level of a factor is worth its
best combination with the other factors. Levels are compared in each dose with intervals from the scatter that all
combinations have. Writes docs/results/lowdose/trends.csv (all trials) and trends.md; started again, it goes on.
"""

from __future__ import annotations

import argparse
import itertools
import math
import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import t as student

from ptydesign import kinds
from ptydesign.experiment.search import cached
from ptydesign.experiment.trial import Trial, judged, lengthened, run_trial
from ptydesign.reconstruct.cores import use_cores
from ptydesign.simulate.dataset import simulate_doses
from ptydesign.study.acquisition import at_point, to_experiment
from ptydesign.units import MRAD, wavelength_a

RESULTS = Path("docs/results/lowdose")
STUDY = Path("studies/lowdose")
SEMIANGLE_MRAD = 30.0
LEVELS = {"step_a": (2.0, 3.5, 6.0), "radius_a": (4.5, 8.0, 14.0), "detector_pixels": (48, 96, 128)}
REPEAT = 4000  # repeats from here on, apart from those of a study
ZONE = 0.01  # of SSIM: a smaller difference doesn't count
LONG_FROM = 10_000.0  # e/A^2: from here on twice the sweeps, since little noise lets more of them help
LEVEL = 0.95


def defocus_nm(radius_a: float, voltage_kv: float) -> float:
    """Overfocus of a probe of this radius, |defocus| x semiangle + 0.61 wavelength / semiangle, as in the report."""
    angle = SEMIANGLE_MRAD * MRAD
    return -(radius_a - 0.61 * wavelength_a(voltage_kv) / angle) / angle / 10


def measure(workspace: Path, levels: dict[str, float], seed: int) -> list[dict[str, Any]]:
    """Scores of one combination at all doses, with one seed of the noise."""
    use_cores(1)
    resolved = kinds.open_study(STUDY, "preview", workspace).resolved
    study, (potential, _) = resolved.study, cached(resolved)
    point = {"step_a": levels["step_a"], "semiangle_mrad": SEMIANGLE_MRAD, "detector_pixels": levels["detector_pixels"]}
    point["defocus_nm"] = defocus_nm(levels["radius_a"], study.experiment.voltage_kv)
    config, doses, repeat = at_point(study.experiment, point), list(study.doses_e_per_a2), REPEAT + seed
    made = simulate_doses(potential, to_experiment(config, doses[0]), doses, repeat)
    rows = []
    for dose, data in zip(doses, made, strict=True):
        longer = lengthened(study, 2) if dose >= LONG_FROM else study
        result, _, _ = run_trial(longer, potential, Trial(config, dose, repeat=repeat), lambda *_, data=data: data)
        best = judged(longer, result)
        score = best["scores"]["ssim"][f"{study.objective.width_px:g}"] if best else None
        rows.append({**levels, "seed": seed, "dose_e_per_a2": dose, "ssim": score, "sweeps": best.get("sweeps")})
    return rows


def compared(table: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """For each dose, factor and level: its best combination, and how far that lies behind the best level's.

    The interval is Student's with the variance of one trial that all combinations of a dose share."""
    names = list(LEVELS)
    for dose, rows in table.groupby("dose_e_per_a2"):
        cells = rows.groupby(names)["ssim"].agg(["mean", "var", "count"])
        variance, freedom = float(np.average(cells["var"], weights=cells["count"] - 1)), int((cells["count"] - 1).sum())
        half = student.ppf((1 + LEVEL) / 2, freedom) * math.sqrt(2 * variance / cells["count"].min())
        for name in names:
            best = cells["mean"].groupby(level=name).max()
            for level, score in best.items():
                behind = float(best.max() - score)
                low, high = (0.0, 0.0) if behind == 0 else (behind - half, behind + half)
                verdict = "best" if behind == 0 else "worse" if low > 0 else "alike" if high < ZONE else "open"
                yield {
                    "dose_e_per_a2": dose, "factor": name, "level": level, "ssim": score, "behind": behind,
                    "low": low, "high": high, "verdict": verdict,
                }  # fmt: skip


def markdown(found: pd.DataFrame) -> str:
    """A row for each factor and level, a column for each dose: how far behind the best level."""
    doses = sorted(found["dose_e_per_a2"].unique())
    lines = [
        f"| factor | level | {' | '.join(f'{dose:,g} e/A^2' for dose in doses)} |",
        "|---" * (2 + len(doses)) + "|",
    ]
    for (factor, level), rows in found.groupby(["factor", "level"], sort=False):
        cells = {row.dose_e_per_a2: row for row in rows.itertuples()}
        shown = (
            f"**{c.ssim:.3f}**" if c.verdict == "best" else f"{c.behind:.3f} ({c.low:.3f} to {c.high:.3f})"
            for c in (cells[dose] for dose in doses)
        )  # fmt: skip
        lines.append(f"| {factor} | {level:g} | {' | '.join(shown)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.trends", description=__doc__)
    parser.add_argument("--seeds", type=int, default=2, help="simulations of each combination (default: 2)")
    parser.add_argument("--cores", type=int, default=os.cpu_count(), help="(default: all)")
    parser.add_argument("--workspace", type=Path, default=Path("results"), help="for the potential")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder (default: %(default)s)")
    options = parser.parse_args()
    file, names = options.out / "trends.csv", list(LEVELS)
    rows = pd.read_csv(file).to_dict("records") if file.exists() else []
    done = {(*(row[name] for name in names), row["seed"]) for row in rows}
    jobs = [
        (dict(zip(names, levels, strict=True)), seed)
        for seed, levels in itertools.product(range(options.seeds), itertools.product(*LEVELS.values()))
        if (*levels, seed) not in done
    ]
    with ProcessPoolExecutor(options.cores, multiprocessing.get_context("spawn")) as pool:
        for job in as_completed([pool.submit(measure, options.workspace, *job) for job in jobs]):
            rows += job.result()
            table = pd.DataFrame(rows).sort_values([*names, "seed", "dose_e_per_a2"])
            table.to_csv(file, index=False, float_format="%.5g")
            print(f"{len(rows)} trials", flush=True)
    found = pd.DataFrame(compared(pd.DataFrame(rows)))
    (options.out / "trends.md").write_text(markdown(found))
    print(found.to_string(index=False))


if __name__ == "__main__":
    main()
