"""`python -m benchmarks peers`: other programs reconstruct what `ptydesign export --to` writes of simulated data.

Twisted bilayer MoS2 at 80 kV and 25 mrad, 1e6 e/A^2, a raster that is turned by 10 degrees, as in
`benchmarks.recovery`. Each program runs in an environment of its own, by its own command on the exported folder, with
the defaults that are written there. Its phase is compared with the truth as it lies: a picture that is mirrored, turned
or of another scale scores low. Writes docs/results/recovery/peers.csv.

    python -m venv a && a/bin/pip install phaserEM 'click<8.2'
    python -m venv b && b/bin/pip install py4DSTEM
    python -m benchmarks peers --phaser a/bin/phaser --py4dstem b/bin/python
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from benchmarks import recovery
from ptydesign.instruments.programs import export_dataset
from ptydesign.score.compare import ScoreConfig, compare, scanned_region
from ptydesign.simulate.dataset import required_shape, simulate
from ptydesign.simulate.potential import PotentialConfig, build_potential
from ptydesign.simulate.specimen import BilayerSample
from ptydesign.types import Dataset, Truth

RESULTS = Path("docs/results/recovery")
TURNED_RAD = np.deg2rad(10)
ASIDE_A = np.array([0.7, 1.9])  # of the specimen's centre, about which it has mirrors
ROOM_PX = 48  # of the potential beyond what a scan in its middle needs
INSET_A, SHIFT_A = 2.5, 1.5  # the box around a turned scan has corners that it doesn't reach

Image = tuple[np.ndarray, float, np.ndarray]  # complex object, pixel in angstrom, position (y, x) of its first pixel


def of_phaser(command: Path, folder: Path, dataset: Dataset) -> Image:
    """phaser's reconstruction of the last iteration. Its scan lies about zero."""
    run([str(command), "run", "plan.yaml"], folder)
    with h5py.File(max(folder.rglob("iter*.h5"))) as file:
        found, first = file["object/data"][()], file["scan/data"][()].reshape(-1, 2)[0]
        corner, pixel = file["object/corner"][()], float(file["object/sampling"][0])
    return np.prod(found, axis=0), pixel, corner + dataset.positions_a[0] - first


def of_py4dstem(command: Path, folder: Path, dataset: Dataset) -> Image:
    """py4DSTEM's phase. It lies about the middle of its array as the scan about its own."""
    run([str(command), "reconstruct.py"], folder)
    phase, pixel = np.load(folder / "phase_rad.npy"), float(dataset.grid.pixel_a[0])
    middle = (dataset.positions_a.min(axis=0) + dataset.positions_a.max(axis=0)) / 2
    return np.exp(1j * phase), pixel, middle - np.array(phase.shape) / 2 * pixel


PROGRAMS: dict[str, Callable[[Path, Path, Dataset], Image]] = {"phaser": of_phaser, "py4dstem": of_py4dstem}


def run(command: list[str], folder: Path) -> None:
    """Run a program in a folder; what it said is shown if it fails."""
    alone = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=folder, env=alone, text=True, capture_output=True, check=False)
    if done.returncode:
        raise SystemExit(
            f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-4000:]}"
        )


def row(program: str, image: Image, truth: Truth) -> dict[str, object]:
    """Scores of an image."""
    array, pixel, origin = image
    region = scanned_region(truth.positions_a, INSET_A)
    config = ScoreConfig(max_shift_a=SHIFT_A)
    score = compare(array[None], (pixel, pixel), tuple(origin), truth, region, config).score
    shift = float(np.hypot(*score.shift_a))
    return {
        "program": program, "rms_error_rad": float(np.sqrt(score.mse_rad2)), "ssim": score.ssim[1.5],
        "contrast": score.contrast, "shift_a": shift,
    }  # fmt: skip


def measure(programs: dict[str, Path]) -> pd.DataFrame:
    """What other programs recover from datasets that `ptydesign export --to` wrote: 50 iterations each with the
    settings of the exported plan, ePIE of phaser 0.3 and gradient descent of py4DSTEM 0.14; ptydesign's LSQ-ML beside
    them. The scan is turned by 10 degrees and lies off the specimen's mirrors. Nothing is turned or mirrored before the
    score, so orientation, scale and signs are right. Wanted: a high score, not a contest: none of the settings is
    tuned. Shifts up to half a pixel along each axis come of where a program has the middle of a window."""
    made = recovery.experiment(rotation_rad=TURNED_RAD)
    config = PotentialConfig(pixel_a=recovery.PIXEL_A / 2)
    height, width = required_shape([made], (config.pixel_a,) * 2)
    potential = build_potential(BilayerSample(), config, (height + ROOM_PX, width + ROOM_PX))
    centre = np.array(potential.grid.extent_a) / 2 + ASIDE_A
    dataset, truth = simulate(potential, made, seed=0, centre_a=(float(centre[0]), float(centre[1])))
    own = recovery.run(dataset, "lsqml", 50, noise="anscombe", group=64)
    state = own.state
    rows = [row("ptydesign", (np.prod(state.object, axis=0), float(state.pixel_a[0]), state.origin_a), truth)]
    for program, command in programs.items():
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder, program)
            export_dataset(dataset, place, program)
            rows.append(row(program, PROGRAMS[program](command.absolute(), place, dataset), truth))
        print(rows[-1], flush=True)
    return pd.DataFrame(rows)


def main() -> None:
    """Reconstruct and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks peers", description=__doc__)
    for program in PROGRAMS:
        parser.add_argument(f"--{program}", type=Path, help="its command, or the Python of its environment")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder (default: %(default)s)")
    options = parser.parse_args()
    table = measure({name: path for name in PROGRAMS if (path := getattr(options, name)) is not None})
    table.to_csv(options.out / "peers.csv", index=False, float_format="%.4g")
    print(recovery.markdown(table))


if __name__ == "__main__":
    main()
