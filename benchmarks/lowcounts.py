"""`python -m benchmarks.lowcounts`: what a plan that leaves everything open does with few electrons, against the best
of plans that were tried with the truth in view; writes docs/results/benchmarks/lowcounts.csv and .md.

Three samples at 80 kV and 22 mrad, 15 nm underfocus, 20 x 20 positions, 64 x 64 patterns: single atoms, an amorphous
film and a honeycomb, of `tests/support/scans.py`, simulated in plain NumPy. Scores are correlations of the phase with
the truth inside the scan.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from ptydesign import api
from ptydesign.grids import Grid
from ptydesign.reconstruct.run import reconstruct
from ptydesign.reconstruct.sane import HELD_OUT, Best, for_counts, hold_out
from ptydesign.reconstruct.start import start_state
from ptydesign.types import Dataset, Optics, ReconState

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
import scans

SAMPLES = ("atoms", "film", "crystal")
DOSES = (5.0, 30.0, 100.0, 1e3, 1e4, 1e6)  # e/A^2
STEP_A, SIDE, SWEEPS = 1.2, 20, 40
DEFAULT = {"engines": [{"engine": "lsqml", "noise": "poisson", "sweeps": SWEEPS}]}
# Plans that say everything; the best state of each along its way counts.
TRIED = {
    f"{start}, {name}, probe {probe}": {
        "object": {"method": start},
        "engines": [
            {**engine, "noise": "poisson", "sweeps": SWEEPS, "probe_start": 1 if probe == "refined" else 10**6}
        ],
    }
    for start in ("vacuum", "ssb")
    for name, engine in {
        "lsqml, groups of 32": {"engine": "lsqml", "group": 32},
        "lsqml, one group": {"engine": "lsqml", "group": 400},
        "gradient, L-BFGS": {"engine": "gradient", "rule": "lbfgs"},
    }.items()
    for probe in ("refined", "fixed")
}


def made(sample: str, dose: float) -> tuple[Dataset, np.ndarray, float]:
    """A dataset, and the truth's phase (y, x) whose middle is the scan's, on the dataset's pixel."""
    scan = scans.scanned(sample, (SIDE, SIDE), electrons=dose * STEP_A**2, seed=11)
    n = scan.patterns.shape[-1]
    pixel = scans.WAVELENGTH_A / (scan.pixel_mrad * 1e-3) / n
    patterns = np.fft.ifftshift(scan.patterns.reshape(-1, n, n), axes=(-2, -1))
    places = np.stack(np.meshgrid(*[(np.arange(SIDE) - (SIDE - 1) / 2) * STEP_A] * 2, indexing="ij"), -1)
    optics = Optics(scans.KV, scan.semiangle_mrad * 1e-3, scan.defocus_nm * 10)
    data = Dataset(patterns, places.reshape(-1, 2), Grid((n, n), (pixel,) * 2), scans.KV, np.ones((n, n)), optics)
    canvas = int(np.ceil((SIDE - 1) * STEP_A / pixel + 1.2 * n)) // 2 * 2 + 2  # as `scanned` has it
    return data, scans.SAMPLES[sample](canvas, pixel, np.random.default_rng(11)).sum(axis=0), pixel


def correlation(state: ReconState, truth: np.ndarray, pixel: float) -> float:
    """Of a state's phase, without its plane, with the truth inside the scan."""
    phase = np.angle(np.prod(np.asarray(state.object), axis=0))
    half = (SIDE - 1) * STEP_A / 2 - 1
    rows, columns = np.indices(phase.shape)
    y, x = (np.asarray(state.origin_a)[a] + pixel * i for a, i in enumerate((rows, columns)))
    inside = (np.abs(y) < half) & (np.abs(x) < half)
    from scipy.ndimage import map_coordinates

    middle = truth.shape[0] / 2
    right = map_coordinates(truth, [y[inside] / pixel + middle, x[inside] / pixel + middle], order=3)
    plane = np.column_stack([np.ones(inside.sum()), y[inside], x[inside]])
    left = phase[inside] - plane @ np.linalg.lstsq(plane, phase[inside], rcond=None)[0]
    right = right - plane @ np.linalg.lstsq(plane, right, rcond=None)[0]
    return float(np.vdot(left, right) / (np.linalg.norm(left) * np.linalg.norm(right) + 1e-30))


def default(data: Dataset, truth: np.ndarray, pixel: float) -> tuple[float, float]:
    """Correlations of the best state by held-out patterns, and of the last, of a plan that leaves all open."""
    plan, _ = for_counts(api.make_plan(**DEFAULT), data)
    rest, out = hold_out(data, HELD_OUT, 0)
    best = Best(rest, out, plan.engines[-1].noise, plan.engines[-1].offset)
    best.look(0, start_state(rest, plan))
    last = reconstruct(rest, plan, observers=[best])[0]
    return correlation(best.state, truth, pixel), correlation(last, truth, pixel)


def tuned(data: Dataset, truth: np.ndarray, pixel: float) -> tuple[float, str]:
    """The best correlation on the way of any of the tried plans, and whose."""
    found = []
    for name, content in TRIED.items():
        along: list[float] = []

        def look(sweep: int, loss: float, state: ReconState, along: list[float] = along) -> None:
            if sweep in (1, 2, 3, 5, 8, 12, 20, 30, SWEEPS):
                along.append(correlation(state, truth, pixel))

        reconstruct(data, api.make_plan(**content), observers=[look])
        found.append((max(along), name))
    return max(found)


def main() -> None:
    """Measure and write after each case."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lowcounts", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/results/benchmarks"))
    parser.add_argument("--doses", type=float, nargs="+", default=DOSES)
    options = parser.parse_args()
    rows = []
    for dose in options.doses:
        for sample in SAMPLES:
            case = made(sample, dose)
            best, last = default(*case)
            reached, whose = tuned(*case)
            rows.append(
                {"dose_e_per_a2": dose, "sample": sample, "kept": best, "last": last, "tuned": reached, "plan": whose}
            )
            print(rows[-1], flush=True)
            table = pd.DataFrame(rows)
            table.to_csv(options.out / "lowcounts.csv", index=False, float_format="%.4g")
            (options.out / "lowcounts.md").write_text(markdown(table))


def markdown(table: pd.DataFrame) -> str:
    """The table as a page."""
    lines = [
        "Correlation of the phase with the truth (`python -m benchmarks.lowcounts`). kept: the state that explains",
        "held-out patterns best, of a plan that leaves all open; last: its last state; tuned: the best state of twelve",
        "plans, chosen with the truth in view.",
        "",
        "| dose (e/A^2) | sample | kept | last | tuned | by the plan |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.dose_e_per_a2:,.0f} | {row.sample} | {row.kept:.3f} | {row.last:.3f} | {row.tuned:.3f} | {row.plan} |"
        for row in table.itertuples()
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
