"""Energy losses in a plan's specimen, from its atoms: which part of the electrons has them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ptydesign import losses
from ptydesign.errors import InputError
from ptydesign.simulate.specimen import ImageSample, Sample, build_atoms
from ptydesign.units import MRAD, NM

G_PER_U, CM3_PER_A3 = 1.66053907e-24, 1e-24
PIECE_A = (48.0, 48.0)  # of the sample, enough to know its density
DIGITS = 6


class Losses(NamedTuple):
    """part: of the electrons. angle_mrad: theta_E. mean_free_path_nm, density_g_cm3: what they are from."""

    part: float
    angle_mrad: float
    mean_free_path_nm: float
    density_g_cm3: float


def density_and_thickness(sample: Sample) -> tuple[float, float]:
    """Mass density in g/cm^3 and thickness in angstrom. Raises InputError for an image."""
    if isinstance(sample, ImageSample):
        rule, mend = "must be left out where the sample is an image, which has no density", "Leave it out."
        raise InputError("instrument.energy_filter", rule, "an image", mend)
    atoms = build_atoms(sample, PIECE_A)
    # atoms fade towards the piece's edges, which cut cells: their sum is that of a crystal without edges
    faded = np.prod(2 * np.sin(np.pi * atoms.positions[:, :2] / PIECE_A[::-1]) ** 2, axis=1)
    grams = float(np.sum(atoms.get_masses() * faded) * G_PER_U)
    return grams / float(atoms.cell.volume * CM3_PER_A3), float(atoms.cell.lengths()[2])


def losses_in(density_g_cm3: float, thickness_a: float, voltage_kv: float) -> Losses:
    """Of a specimen."""
    path_a = losses.mean_free_path_a(density_g_cm3, voltage_kv)
    angle = losses.characteristic_rad(density_g_cm3, voltage_kv) / MRAD
    part = losses.part_of(thickness_a, path_a)
    return Losses(round(part, DIGITS), round(angle, DIGITS), path_a / NM, density_g_cm3)
