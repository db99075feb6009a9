"""`python -m benchmarks.fairness`: does a design's score depend on how far it is scanned, or on the sweeps it may take?

The expert's design of studies/lowdose, the recommended ones and the most defocused corner of the space are simulated
with fresh noise, with scans of several sizes about the same scored field, with their own margin and with a wider one.
They are reconstructed with the study's plan, and with one of twice the sweeps. Each score is that of the best stop.
Writes docs/results/lowdose/fairness.csv and .md. About half an hour of one core.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ptydesign.experiment.checks import potential_shape
from ptydesign.experiment.config import StudyConfig
from ptydesign.experiment.trial import Trial, judged, lengthened, run_trial
from ptydesign.reconstruct.cores import use_cores
from ptydesign.simulate.dataset import simulate_doses
from ptydesign.simulate.potential import build_potential
from ptydesign.study.acquisition import ExperimentConfig, at_point, to_experiment
from ptydesign.study.file import load_study

RESULTS = Path("docs/results/lowdose")
OWN = "own"  # the scan with the margin that follows from the design
WIDER = "wider"  # MORE_A beyond that on each side
MORE_A = 10.0
SCANS = ("24", "48", OWN, WIDER)
EXPERT, DEFOCUSED, RECOMMENDED = DESIGNS = ("expert", "defocused corner", "recommended")
REPEAT = 2000  # repeats from here on, apart from those of a study
CORNER = {"step_a": 2.0, "semiangle_mrad": 40.0, "defocus_nm": -60.0, "detector_pixels": 128}


def designs(study: StudyConfig, recommended: pd.DataFrame) -> Iterator[tuple[str, list[float], dict[str, Any]]]:
    """(name, doses, point) of what is compared."""
    doses = list(study.doses_e_per_a2)
    yield EXPERT, doses, study.reference.point
    yield DEFOCUSED, doses, CORNER
    for dose in doses:
        rows = recommended[recommended["dose_e_per_a2"] == dose]
        yield RECOMMENDED, [dose], dict(zip(rows["parameter"], rows["best"], strict=True))


def scans(config: ExperimentConfig, names: Sequence[str]) -> Iterator[tuple[str, ExperimentConfig]]:
    """(name, experiment) with scans of these sizes in angstrom about the field, with its own margin, or a wider one."""
    field = config.field_of_view_a[0]
    for name in names:
        margins = {OWN: lambda: None, WIDER: lambda: config.margin_a + MORE_A}
        margin = margins[name]() if name in margins else max(0.0, (float(name) - field) / 2)
        yield name, config.model_copy(update={"scan_margin_a": margin})


def measure(
    study: StudyConfig, recommended: pd.DataFrame, seeds: int, names: Sequence[str], sizes: Sequence[str]
) -> pd.DataFrame:
    """One row for each design of these names, dose, scan, number of sweeps and seed."""
    found = [(n, d, at_point(study.experiment, p)) for n, d, p in designs(study, recommended) if n in names]
    shape = _shape(study, [config for _, _, c in found for _, config in scans(c, sizes)])
    potential = build_potential(study.sample, study.potential, shape, study.seed)
    rows = []
    for name, doses, design in found:
        for scan, config in scans(design, sizes):
            for seed in range(seeds):
                made = simulate_doses(potential, to_experiment(config, doses[0]), doses, REPEAT + seed)
                for dose, data in zip(doses, made, strict=True):
                    for factor in (1, 2) if scan == OWN else (1,):
                        longer = lengthened(study, factor)
                        trial = Trial(config, dose, repeat=REPEAT + seed)
                        result, _, _ = run_trial(longer, potential, trial, lambda *_, data=data: data)
                        best = judged(longer, result)
                        rows.append(
                            {
                                "design": name,
                                "dose_e_per_a2": dose,
                                "scan_a": scan,
                                "sweeps_at_most": longer.reconstruction.sweeps,
                                "seed": REPEAT + seed,
                                "ssim": best["scores"]["ssim"][f"{study.objective.width_px:g}"] if best else None,
                                "stop": best.get("sweeps"),
                                "fluence_mean": result.get("fluence_mean"),
                                "fluence_least": result.get("fluence_least"),
                            }
                        )
                        print(rows[-1], flush=True)
    return pd.DataFrame(rows)


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Means and standard deviations over the seeds."""
    grouped = rows.groupby(["design", "dose_e_per_a2", "scan_a", "sweeps_at_most"], sort=False)
    return grouped.agg(
        n=("ssim", "count"),
        ssim_mean=("ssim", "mean"),
        ssim_std=("ssim", "std"),
        stop=("stop", "median"),
        fluence_mean=("fluence_mean", "first"),
        fluence_least=("fluence_least", "first"),
    ).reset_index()


def markdown(summed: pd.DataFrame) -> str:
    """A row for each design and dose, a column for each scan."""
    summed = summed.assign(
        column=[
            {OWN: f"own margin, {sweeps} sweeps", WIDER: f"{MORE_A:g} A wider, {sweeps} sweeps"}.get(scan, f"{scan} A")
            for scan, sweeps in zip(summed["scan_a"], summed["sweeps_at_most"], strict=True)
        ]
    )
    columns = list(dict.fromkeys(summed["column"]))
    lines = [f"| design | dose (e/A^2) | {' | '.join(columns)} |", "|---" * (2 + len(columns)) + "|"]
    for (design, dose), group in summed.groupby(["design", "dose_e_per_a2"], sort=False):
        cells = {
            row.column: f"{row.ssim_mean:.3f}{f' +- {row.ssim_std:.3f}' if row.n > 1 else ''} ({row.stop:.0f})"
            for row in group.itertuples()
            if row.n
        }
        lines.append(f"| {design} | {dose:,g} | {' | '.join(cells.get(c, 'failed') for c in columns)} |")
    return "\n".join(lines) + "\n"


def _shape(study: StudyConfig, configs: list[ExperimentConfig]) -> tuple[int, int]:
    """Of a potential that holds all of them."""
    shapes = []
    for config in configs:
        one = study.model_copy(update={"experiment": config, "specimen_a": None})
        shapes.append(potential_shape(one, [("", {})]))
    return max(y for y, _ in shapes), max(x for _, x in shapes)


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fairness", description=__doc__)
    parser.add_argument("--scale", default="preview")
    parser.add_argument("--seeds", type=int, default=2, help="simulations of each (default: 2)")
    parser.add_argument("--designs", nargs="+", choices=DESIGNS, default=DESIGNS, help="(default: all)")
    parser.add_argument(
        "--scans", nargs="+", default=SCANS, help="in angstrom, own or wider (default: 24 48 own wider)"
    )
    parser.add_argument("--name", default="fairness", help="of the files (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder (default: %(default)s)")
    options = parser.parse_args()
    use_cores(None)
    study = load_study(Path("studies/lowdose"), options.scale, StudyConfig)
    recommended = pd.read_csv(RESULTS / "recommended.csv")
    summed = summary(measure(study, recommended, options.seeds, options.designs, options.scans))
    summed.to_csv(options.out / f"{options.name}.csv", index=False, float_format="%.5g")
    (options.out / f"{options.name}.md").write_text(markdown(summed))


if __name__ == "__main__":
    main()
