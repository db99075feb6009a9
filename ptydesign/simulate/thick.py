"""Thick crystals as a periodic supercell: from a structure file, with defects and amorphous films.

The supercell repeats the oriented crystal a whole number of times along y, x and the beam, so that it continues
periodically and windows may reach over its edges. Frame as in `specimen`: x is axis 1, y axis 0, the beam along +z;
z = 0 is the entrance face of the first film.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import PositiveInt, field_validator

from ptydesign.config import Strict
from ptydesign.errors import InputError
from ptydesign.simulate import crystal, films
from ptydesign.simulate.defects import (
    Defect,
    Interstitial,
    Placed,
    Vacancy,
    check_free,
    choose_sites,
    unique_sites,
)

if TYPE_CHECKING:
    import ase

SQUARE = 1e-3  # by which the lateral vectors' cosine may differ from 0
SAME_A = 0.02  # by which a crystal may miss its own period


class ThickSample(Strict):
    """A crystal from a structure file that ASE reads, repeated to a periodic supercell.

    The oriented cell's lateral vectors must be perpendicular.
    """

    file: Path
    """Structure file; the path counts from the study's folder."""
    zone_axis: tuple[int, int, int] = (0, 0, 1)
    """[u, v, w] of the file's cell, along the beam."""
    quarter_turn: bool = False
    """Whether y and x of the oriented cell are exchanged; if not, its shorter lateral vector is along x."""
    repeats: tuple[PositiveInt, PositiveInt, PositiveInt]
    """Oriented cells along [y, x, beam]; the supercell must hold the scan."""
    defects: tuple[Defect, ...] = ()
    """Point defects, placed in the order given."""
    film: films.FilmConfig | None = None
    """Amorphous film on both faces; null leaves them bare."""

    @field_validator("zone_axis")
    @classmethod
    def _not_zero(cls, value: tuple[int, int, int]) -> tuple[int, int, int]:
        if value == (0, 0, 0):
            raise InputError("zone_axis", "must have a direction", value, "Give three whole numbers, as [1, 1, 0].")
        return crystal.check_indices(value)


@dataclass(frozen=True)
class Shape:
    """What is known of a specimen before its atoms are made. extent_a: (y, x). faces_a: z of the crystal's faces."""

    extent_a: tuple[float, float]
    faces_a: tuple[float, float]
    thickness_a: float
    atoms: int


@dataclass(frozen=True)
class Specimen:
    """Atoms in the periodic cell (x, y, z), the defects among them, and the crystal's faces (z, in angstrom)."""

    atoms: ase.Atoms
    defects: tuple[Placed, ...]
    faces_a: tuple[float, float]


def read_oriented(sample: ThickSample) -> tuple[crystal.Oriented, ase.Atoms]:
    """The file's cell with the zone axis along the beam and perpendicular lateral vectors along x and y, and the file's
    atoms. Raises InputError if they can't be."""
    atoms = crystal.read_structure(sample.file)
    crystal.check_full(atoms, sample.file)
    atoms.pbc = True
    oriented = crystal.orient(atoms, sample.zone_axis)
    first, second = oriented.vectors[:2, :2]
    cosine = float(first @ second / np.linalg.norm(first) / np.linalg.norm(second))
    if abs(cosine) > SQUARE:
        raise InputError(
            "sample.zone_axis",
            "must give a cell with perpendicular lateral vectors",
            f"{list(sample.zone_axis)}: {math.degrees(math.acos(cosine)):.2f} deg between them",
            "Choose another zone axis, or write a file with a larger, rectangular cell.",
        )
    if sample.quarter_turn:
        oriented = oriented.turned(math.pi / 2)
    return oriented, atoms


def shape_of(sample: ThickSample) -> Shape:
    """Size of the supercell. Raises InputError if repeats don't make it periodic, or if it has too many atoms."""
    oriented, _ = read_oriented(sample)
    lengths = _lateral(sample, oriented)
    entrance, exit_ = (sample.film.entrance_a, sample.film.exit_a) if sample.film else (0.0, 0.0)
    crystal_a = sample.repeats[2] * oriented.vectors[2, 2]
    extent = (lengths[0] * sample.repeats[0], lengths[1] * sample.repeats[1])
    crystal.check_count(oriented, extent, crystal_a)
    _check_period(sample, oriented)
    count = len(oriented.numbers) * math.prod(sample.repeats)
    faces = (entrance, entrance + crystal_a)
    return Shape(extent, faces, faces[1] + exit_, count)


def slice_thicknesses(shape: Shape, slice_a: float) -> np.ndarray:
    """(slices,) thickness in angstrom: each part of the specimen in equal slices of at most slice_a."""
    parts = (shape.faces_a[0], shape.faces_a[1] - shape.faces_a[0], shape.thickness_a - shape.faces_a[1])
    counts = [math.ceil(part / slice_a - 1e-6) for part in parts]
    return np.concatenate([np.full(n, part / n) if n else np.empty(0) for n, part in zip(counts, parts, strict=True)])


def build_specimen(
    sample: ThickSample, slice_a: float, centre_a: tuple[float, float], field_a: tuple[float, float], seed: int
) -> Specimen:
    """Atoms of the supercell with its defects and films.

    slice_a: of the simulation; the crystal's atomic planes are moved to the middle of its slices. centre_a, field_a:
    (y, x) of the scan, which says where defects may be. seed: of their choice and of the films.
    """
    import ase

    shape = shape_of(sample)
    positions, numbers, placed = place_defects(sample, slice_a, centre_a, field_a, seed)
    if sample.film:
        for face, (low, high) in enumerate(((0.0, shape.faces_a[0]), (shape.faces_a[1], shape.thickness_a))):
            rng = np.random.default_rng([seed, 2, face])
            film = films.grow(sample.film, shape.extent_a, low, high, positions, rng)
            positions = np.concatenate([positions, film])
            numbers = np.concatenate([numbers, np.full(len(film), ase.data.atomic_numbers[sample.film.element])])
    cell = (shape.extent_a[1], shape.extent_a[0], shape.thickness_a)
    return Specimen(ase.Atoms(numbers, positions, cell=cell, pbc=True), placed, shape.faces_a)


def place_defects(
    sample: ThickSample, slice_a: float, centre_a: tuple[float, float], field_a: tuple[float, float], seed: int
) -> tuple[np.ndarray, np.ndarray, tuple[Placed, ...]]:
    """The crystal with its defects, without films: positions (n, 3) x, y, z, numbers (n,), and the defects.

    Arguments as of `build_specimen`. Raises InputError for a defect that has no place.
    """
    import ase

    shape = shape_of(sample)
    oriented, file_atoms = read_oriented(sample)
    crystal_a = shape.faces_a[1] - shape.faces_a[0]
    rise = shape.faces_a[0] + crystal_a / math.ceil(crystal_a / slice_a - 1e-6) / 2
    positions, numbers = crystal.fill(oriented, shape.extent_a, crystal_a)
    positions = positions + np.array([0, 0, rise])
    placed: list[Placed] = []
    for index, defect in enumerate(sample.defects):
        rng = np.random.default_rng([seed, 1, index])
        taken = np.array([[p.x_a, p.y_a, p.z_a] for p in placed]).reshape(-1, 3)
        host = ase.data.atomic_numbers[defect.host]
        place = f"sample.defects.{index}"
        if not np.any(file_atoms.numbers == host):
            found = sorted(set(file_atoms.get_chemical_symbols()))
            raise InputError(f"{place}.host", f"must be one of the file's elements {found}", defect.host, "Correct it.")
        try:
            if isinstance(defect, Interstitial):
                sites = _moved_sites(sample, file_atoms, host, defect.offset, shape.extent_a, crystal_a)
                sites = sites + np.array([0, 0, rise])
                check_free(sites[:64], positions)  # all sites of a lattice have the same neighbours
            else:
                sites = positions[numbers == host]
            chosen = choose_sites(unique_sites(sites), defect, centre_a, field_a, shape.faces_a, rng, taken)
        except InputError as error:
            raise InputError(f"{place}.{error.field}", error.rule, error.value, error.mend) from None
        element = "" if isinstance(defect, Vacancy) else defect.element
        positions, numbers = _with(positions, numbers, chosen, defect, element)
        placed += [Placed(defect.kind, element, defect.host, float(y), float(x), float(z)) for x, y, z in chosen]
    return positions, numbers, tuple(placed)


def _with(positions, numbers, chosen, defect, element):
    """Positions and numbers with the defects in them."""
    import ase

    if not isinstance(defect, Interstitial):
        from scipy.spatial import cKDTree

        keep = np.ones(len(positions), bool)
        keep[cKDTree(positions).query(chosen)[1]] = False
        positions, numbers = positions[keep], numbers[keep]
    if not element:
        return positions, numbers
    more = np.full(len(chosen), ase.data.atomic_numbers[element])
    return np.concatenate([positions, chosen]), np.concatenate([numbers, more])


def _moved_sites(sample, file_atoms, host, offset, extent_a, crystal_a) -> np.ndarray:
    """All positions (n, 3) of hosts moved by an offset in the file's cell, in the crystal's frame."""
    sites = file_atoms[file_atoms.numbers == host].copy()
    sites.positions = sites.positions + np.asarray(offset) @ file_atoms.cell.array
    oriented = crystal.orient(sites, sample.zone_axis)
    if sample.quarter_turn:
        oriented = oriented.turned(math.pi / 2)
    return crystal.fill(oriented, extent_a, crystal_a)[0]


def _lateral(sample: ThickSample, oriented: crystal.Oriented) -> tuple[float, float]:
    """Lengths (y, x) of the oriented cell's lateral vectors."""
    first, second = np.linalg.norm(oriented.vectors[:2, :2], axis=1)
    return (float(first), float(second)) if sample.quarter_turn else (float(second), float(first))


def _check_period(sample: ThickSample, oriented: crystal.Oriented) -> None:
    """Raise InputError unless the supercell's lateral vectors are translations of the crystal itself."""
    period = oriented.vectors[2, 2]
    order = (1, 0) if sample.quarter_turn else (0, 1)
    for axis, name in zip(order, "xy", strict=True):
        repeat = sample.repeats[1] if name == "x" else sample.repeats[0]
        rise = float(repeat * oriented.vectors[axis, 2] % period)
        shifted = crystal.Oriented(oriented.vectors, oriented.positions + np.array([0, 0, rise]), oriented.numbers)
        if min(rise, period - rise) > SAME_A and not _same(oriented, shifted):
            steps = range(2, 100)
            enough = next((n for n in steps if abs((n * oriented.vectors[axis, 2] / period + 0.5) % 1 - 0.5) < 1e-3), 0)
            raise InputError(
                "sample.repeats",
                f"must make the crystal periodic along {name}, whose cell vector is inclined to the beam by "
                f"{oriented.vectors[axis, 2]:.3f} A of a period of {period:.3f} A",
                list(sample.repeats),
                f"Give a multiple of {enough}." if enough else "Write a file with a larger cell.",
            )


def _same(first: crystal.Oriented, second: crystal.Oriented) -> bool:
    """Whether two crystals of one lattice have their atoms in the same places."""
    inverse = np.linalg.inv(first.vectors)
    a, b = first.positions @ inverse, second.positions @ inverse
    for position, number in zip(b, second.numbers, strict=True):
        away = a - position
        away = (away - np.rint(away)) @ first.vectors
        close = np.linalg.norm(away, axis=1) < SAME_A
        if not np.any(close & (first.numbers == number)):
            return False
    return True


def free_places(sample: ThickSample, centre_a: tuple[float, float], field_a: tuple[float, float]) -> np.ndarray:
    """(y, x) of every column of interstitial sites inside the scanned field, in angstrom: (place, 2), sorted."""
    shape = shape_of(sample)
    _, file_atoms = read_oriented(sample)
    import ase

    found = [np.empty((0, 2))]
    for defect in sample.defects:
        if isinstance(defect, Interstitial):
            host = ase.data.atomic_numbers[defect.host]
            crystal_a = shape.faces_a[1] - shape.faces_a[0]
            found.append(_moved_sites(sample, file_atoms, host, defect.offset, shape.extent_a, crystal_a)[:, 1::-1])
    places = np.concatenate(found)
    half = np.asarray(field_a) / 2
    places = places[np.all(np.abs(places - centre_a) <= half, axis=1)]
    _, first = np.unique(np.round(places / SAME_A).astype(np.int64), axis=0, return_index=True)
    return places[np.sort(first)] if len(first) else places
