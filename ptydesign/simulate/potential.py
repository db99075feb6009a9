"""Potentials of samples, slice by slice: exact structure factors, thermal motion, and a cache by content."""

from __future__ import annotations

import hashlib
import json
import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import BeforeValidator, Field, PositiveFloat, field_validator

from ptydesign import io
from ptydesign.config import Count, Strict
from ptydesign.errors import InputError, nearest
from ptydesign.grids import Grid
from ptydesign.simulate import image
from ptydesign.simulate.specimen import BilayerSample, ImageSample, Sample, StructureSample, build_atoms
from ptydesign.simulate.structure_factors import project, scattering_factors
from ptydesign.types import Potential
from ptydesign.units import interaction_parameter

if TYPE_CHECKING:
    import ase

VERSION = 1  # of the algorithm: raise it whenever the same configuration gives another potential
MOST_SIGMA_A = 2.0  # of a thermal displacement: atoms of a crystal have no more
EDGE_A = 1e-5  # an atom this close below a slice's exit face belongs to the next slice (rounding)

SigmaA = float | dict[str, float]


class _Thermal(Strict):
    """Thermal displacements."""

    sigma_a: SigmaA
    """Thermal displacement in angstrom, 1-D rms: one for all elements or one for each, as {Mo: 0.05, S: 0.07}."""

    @field_validator("sigma_a")
    @classmethod
    def _displacements_of_elements(cls, value: SigmaA) -> SigmaA:
        from ase.data import atomic_numbers

        what = f"a 1-D rms displacement in A, at most {MOST_SIGMA_A:g}"
        if not isinstance(value, dict):
            if not 0 < value <= MOST_SIGMA_A:
                mend = "Give one as 0.08, or leave thermal out for atoms at rest."
                raise InputError("sigma_a", f"must be {what} and greater than 0", value, mend)
            return value
        for symbol, sigma in value.items():
            if symbol not in atomic_numbers:
                raise InputError("sigma_a", "keys must be elements", symbol, nearest(symbol, set(atomic_numbers)))
            if not 0 <= sigma <= MOST_SIGMA_A:
                mend = "Give one as 0.08; 0 is an atom at rest."
                raise InputError(symbol, f"must be {what} and at least 0", sigma, mend)
        return value

    def of(self, symbols: set[str]) -> dict[str, float]:
        """sigma of each element in angstrom. Raises InputError if one is missing."""
        if not isinstance(self.sigma_a, dict):
            return dict.fromkeys(symbols, self.sigma_a)
        missing = sorted(symbols - set(self.sigma_a))
        if missing:
            raise InputError(
                "potential.thermal.sigma_a",
                "needs a value for every element of the sample",
                self.sigma_a,
                f"Add {', '.join(missing)}.",
            )
        return {symbol: self.sigma_a[symbol] for symbol in symbols}


class DebyeWaller(_Thermal):
    """The time average: every atom's potential convolved with a Gaussian. No thermal diffuse scattering."""

    kind: Literal["debye_waller"]
    """How atoms vibrate; `debye_waller` blurs their potentials, which costs no time."""


class FrozenPhonons(_Thermal):
    """Snapshots of independently vibrating atoms (Loane, Xu & Silcox, Acta Cryst. A 47:267, 1991)."""

    kind: Literal["frozen_phonons"]
    """How atoms vibrate; `frozen_phonons` moves them at random, with diffuse scattering."""
    configurations: Count = 8
    """Snapshots whose patterns are averaged; time and memory grow with them."""


Motion = Annotated[DebyeWaller | FrozenPhonons, Field(discriminator="kind")] | None
Thermal = Annotated[
    Motion,
    BeforeValidator(lambda value: None if value == "none" else value, json_schema_input_type=Motion | Literal["none"]),
]


class PotentialConfig(Strict):
    """How a sample's potential is computed."""

    parametrization: Literal["kirkland", "lobato"] = "kirkland"
    """Table of the atoms' scattering factors."""
    pixel_a: PositiveFloat = 0.125
    """Pixel of the simulation in angstrom; `experiment.pixel_a` x detector_pixels must be a whole number of these."""
    slice_thickness_a: PositiveFloat | None = None
    """Largest thickness of a slice in angstrom, all are equal; null projects the sample into one. An atom belongs
    wholly to the slice that holds its centre."""
    thermal: Thermal = None
    """Thermal motion of the atoms; none or null is atoms at rest."""


def build_potential(sample: Sample, config: PotentialConfig, shape: tuple[int, int], seed: int = 0) -> Potential:
    """The sample's potential on `shape` = (ny, nx) pixels of config.pixel_a, float32 V A.

    seed: of the frozen phonons; configuration i depends on (seed, i) alone. Raises InputError if the sample can't be
    used, doesn't cover the area, or if the result would not fit into half of this machine's memory.
    """
    grid = Grid(tuple(shape), (config.pixel_a, config.pixel_a))
    if isinstance(sample, ImageSample):
        return _from_image(sample, config, grid)
    atoms = build_atoms(sample, grid.extent_a)
    return potential_of_atoms(atoms, config, grid, seed)


def potential_of_atoms(
    atoms: ase.Atoms, config: PotentialConfig, grid: Grid, seed: int = 0, slices_a: np.ndarray | None = None
) -> Potential:
    """Potential of atoms whose orthogonal cell is (x, y, z) = (grid.extent_a[1], grid.extent_a[0], thickness).

    slices_a: (slices,) thickness of each slice, which add up to the cell's; by default equal ones as `config` says.
    """
    from ase.data import atomic_numbers

    symbols = set(atoms.get_chemical_symbols())
    sigma = config.thermal.of(symbols) if config.thermal else {}
    by_number = {atomic_numbers[symbol]: sigma.get(symbol, 0.0) for symbol in symbols}
    phonons = config.thermal if isinstance(config.thermal, FrozenPhonons) else None
    thickness_a = atoms.cell.lengths()[2]
    if slices_a is None:
        count = 1 if config.slice_thickness_a is None else math.ceil(thickness_a / config.slice_thickness_a - 1e-9)
        slices_a = np.full(count, thickness_a / count)
    count = len(slices_a)
    exits = np.cumsum(slices_a)[:-1]
    configurations = phonons.configurations if phonons else 1
    _check_memory(configurations, count, grid)

    smear = by_number if isinstance(config.thermal, DebyeWaller) else None
    factors = scattering_factors(atoms.numbers, config.parametrization, grid, smear)
    rms = np.array([by_number[int(n)] for n in atoms.numbers])
    slices = np.zeros((configurations, count, *grid.shape), np.float32)
    for index, positions in enumerate(_snapshots(atoms.positions, rms, phonons, seed)):
        layer = np.searchsorted(exits, positions[:, 2] + EDGE_A, side="right")
        order = np.argsort(layer, kind="stable")
        bounds = np.searchsorted(layer[order], np.arange(count + 1))
        for number in range(count):
            members = order[bounds[number] : bounds[number + 1]]
            if len(members):
                slices[index, number] = project(positions[members][:, 1::-1], atoms.numbers[members], factors, grid)
    return Potential(slices, grid.pixel_a, slices_a)


def cached_potential(
    sample: Sample, config: PotentialConfig, shape: tuple[int, int], seed: int, folder: Path
) -> tuple[Potential, Path]:
    """The potential stored in `folder`, and its path; built first if it is not there, or anew, with a word, if what is
    there is damaged.

    The name is a hash of everything that determines the content: configuration, shape, seed (for frozen phonons), the
    bytes of the sample's file and the algorithm's version. Where the file lies doesn't matter.
    """
    key = potential_key(sample, config, shape, seed)
    path = Path(folder) / f"potential-{key}.h5"
    if path.is_file():
        try:
            return io.read_potential(path, key), path
        except InputError as error:
            print(f"warning: the potential is built anew: {error}", file=sys.stderr)
    potential = build_potential(sample, config, shape, seed)
    io.write_potential(path, potential, {"key": key, **_determining(sample, config, shape, seed)}, key)
    return potential, path


def potential_key(sample: Sample, config: PotentialConfig, shape: tuple[int, int], seed: int) -> str:
    """Hash (20 hexadecimal digits) of everything that determines the potential."""
    content = json.dumps(_determining(sample, config, shape, seed), sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:20]


def _determining(sample: Sample, config: PotentialConfig, shape: tuple[int, int], seed: int) -> dict[str, Any]:
    """JSON-able description of everything that determines the potential."""
    described = sample.model_dump(mode="json", exclude={"file"})
    if isinstance(sample, StructureSample | ImageSample):
        # the suffix decides how the bytes are read
        described["file_sha256"] = file_digest(sample.file)
        described["file_suffix"] = sample.file.suffix
    elif isinstance(sample, BilayerSample):
        described["gap_a"] = sample.metal_distance_a
    return {
        "sample": described,
        "potential": config.model_dump(mode="json"),
        "shape": [int(n) for n in shape],
        "seed": int(seed) if isinstance(config.thermal, FrozenPhonons) else None,
        "version": VERSION,
    }


def file_digest(path: Path) -> str:
    """SHA-256 of a sample's file. Raises InputError if it can't be read."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise InputError("sample.file", "must be readable", f"{path}: {error.strerror}", "Check the path.") from None


def _snapshots(
    positions: np.ndarray, rms: np.ndarray, phonons: FrozenPhonons | None, seed: int
) -> Iterator[np.ndarray]:
    """Positions (n, 3) of each configuration; rms: (n,) in angstrom."""
    if phonons is None:
        yield positions
        return
    for index in range(phonons.configurations):
        rng = np.random.default_rng([seed, index])
        yield positions + rng.normal(size=positions.shape) * rms[:, None]


def _from_image(sample: ImageSample, config: PotentialConfig, grid: Grid) -> Potential:
    if config.slice_thickness_a is not None or config.thermal is not None:
        raise InputError(
            "potential",
            "an image is one slice without atoms, so slice_thickness_a and thermal must be left out",
            config.model_dump(include={"slice_thickness_a", "thermal"}),
            "Leave them out, or use a bilayer or a structure file.",
        )
    _check_memory(1, 1, grid)
    values = image.continued(sample.read(), sample.pixel_a, grid.extent_a, sample.edge)
    values = image.crop_to(values, sample.pixel_a, grid.shape, config.pixel_a)
    if sample.quantity == "phase_rad":
        values = values / interaction_parameter(sample.voltage_kv)
    return Potential(values.astype(np.float32)[None, None], grid.pixel_a, np.array([sample.thickness_a]))


def _check_memory(configurations: int, slices: int, grid: Grid) -> None:
    """Raise InputError if the potential needs more than half of the machine's memory."""
    needed = 4 * configurations * slices * grid.shape[0] * grid.shape[1]
    limit = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    if needed > limit:
        raise InputError(
            "potential",
            f"must fit into half of this machine's memory ({limit / 2**30:.1f} GiB)",
            f"{configurations} configurations x {slices} slices x {grid.shape} pixels, {needed / 2**30:.1f} GiB",
            "Use thicker slices, fewer configurations, a larger pixel, or a smaller field of view or window.",
        )
