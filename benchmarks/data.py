"""Simulated data that all compared programs reconstruct.

200 kV, 25 mrad, 128 x 128 patterns of 0.2 A pixels, 1e6 e/A^2, steps of 0.6 A with 0.1 A rms jitter along each axis
(the positions are known), 120 A of defocus where a reconstruction starts from 110 A. One slice: twisted MoS2, 32 x 32
positions. Ten slices: 208 A of SrTiO3 [001], stretched by 2.4 % so that pixels fit its cell, simulated in 26 slices,
16 x 16 positions.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from ptydesign.score.compare import ScoreConfig, compare
from ptydesign.simulate.dataset import required_shape, simulate
from ptydesign.types import Dataset, Detector, Experiment, Grid, Optics, Potential, Scan, Truth

PIXEL_A, SHAPE, STEP_A, DOSE = 0.2, (128, 128), 0.6, 1e6
DEFOCUS_A, START_DEFOCUS_A = 120.0, 110.0
CELL_A, CELLS = 4.0, 52
THICKNESS_A = CELL_A * CELLS
WIDTH = ScoreConfig(ssim_widths_px=(1.5,))


@dataclass(frozen=True)
class Case:
    """A dataset with the truth behind it, and the slices to reconstruct it with."""

    dataset: Dataset
    truth: Truth
    slices: int
    region_a: tuple[float, float, float, float]

    @property
    def slice_thickness_a(self) -> float:
        """0 for one slice."""
        return THICKNESS_A / self.slices if self.slices > 1 else 0.0

    def error_rad(self, object_: np.ndarray, origin_a: np.ndarray) -> float:
        """Rms phase error of an object (slice, y, x) in the scanned region; global phase, ramp and shift removed."""
        score = compare(object_, (PIXEL_A, PIXEL_A), tuple(origin_a), self.truth, self.region_a, WIDTH).score
        return float(np.sqrt(score.mse_rad2))


def experiment(positions: int) -> Experiment:
    """The experiment, with a square scan of about so many positions."""
    side = round(np.sqrt(positions))
    field = (side - 1) * STEP_A
    return Experiment(
        optics=Optics(200.0, 0.025, DEFOCUS_A),
        scan=Scan(STEP_A, (field, field), jitter_a=0.1),
        detector=Detector(SHAPE, (PIXEL_A, PIXEL_A)),
        dose_e_per_a2=DOSE,
    )


def make_case(positions: int, slices: int) -> Case:
    """Simulate a case."""
    made = experiment(positions)
    potential = bilayer(made) if slices == 1 else strontium_titanate(made)
    dataset, truth = simulate(potential, made, seed=0, periodic=slices > 1)
    low, high = dataset.positions_a.min(axis=0), dataset.positions_a.max(axis=0)
    optics = dataclasses.replace(dataset.optics, defocus_a=START_DEFOCUS_A)
    dataset = dataclasses.replace(dataset, positions_a=truth.positions_a, optics=optics)
    return Case(dataset, truth, slices, (*low, *high))


def bilayer(made: Experiment) -> Potential:
    """Two layers of MoS2, twisted by 30 degrees."""
    from ptydesign.simulate.potential import PotentialConfig, build_potential
    from ptydesign.simulate.specimen import BilayerSample

    config = PotentialConfig(pixel_a=PIXEL_A / 2)
    return build_potential(BilayerSample(), config, required_shape([made], (config.pixel_a,) * 2))


def strontium_titanate(made: Experiment) -> Potential:
    """SrTiO3 along [001] on a periodic area, two unit cells to a slice."""
    import ase

    from ptydesign.simulate.potential import PotentialConfig, potential_of_atoms

    needed = required_shape([made], (PIXEL_A / 2,) * 2, THICKNESS_A)
    cells = -(-int(max(needed)) // 40)  # 40 px of 0.1 A to a cell
    basis = [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
    cell = ase.Atoms("SrTiO3", scaled_positions=basis, cell=[CELL_A] * 3, pbc=True)
    atoms = cell.repeat((cells, cells, CELLS))
    atoms.positions[:, 2] += CELL_A / 4
    extent = cells * CELL_A
    pixels = 40 * cells
    grid = Grid((pixels, pixels), (extent / pixels,) * 2)
    return potential_of_atoms(atoms, PotentialConfig(pixel_a=grid.pixel_a[0], slice_thickness_a=2 * CELL_A), grid)
