"""Amorphous films on a crystal's faces: random sequential placement of atoms."""

from __future__ import annotations

import math

import numpy as np
from pydantic import Field, PositiveFloat, field_validator, model_validator
from scipy.spatial import cKDTree

from ptydesign.config import Strict
from ptydesign.errors import InputError, nearest

AVOGADRO_PER_MOL = 6.02214076e23
MAX_ROUNDS = 400
TILE_A = 60.0  # side of what is repeated where a film has no box of its own: wider than what is scored
FULL = 0.35  # of the volume is filled by spheres that are placed one after the other, at most


class FilmConfig(Strict):
    """An amorphous film on each face of a crystal, of randomly placed atoms."""

    element: str = "C"
    """Symbol of the film's element."""
    entrance_a: float = Field(20.0, ge=0, le=2000)
    """Thickness in angstrom on the face that the beam meets first; 0 is none."""
    exit_a: float = Field(20.0, ge=0, le=2000)
    """Thickness in angstrom on the other face; 0 is none."""
    density_g_cm3: PositiveFloat = 2.0
    """Mass density in g/cm^3."""
    closest_a: PositiveFloat = 1.4
    """Smallest distance in angstrom of two of the film's atoms."""
    crystal_a: PositiveFloat = 1.8
    """Smallest distance in angstrom of a film's atom to one of the crystal."""

    @field_validator("element")
    @classmethod
    def _known(cls, symbol: str) -> str:
        from ase.data import atomic_numbers

        if symbol not in atomic_numbers or symbol == "X":
            raise InputError("element", "must be an element", symbol, nearest(symbol, {*atomic_numbers} - {"X"}))
        return symbol

    @model_validator(mode="after")
    def _has_room(self) -> FilmConfig:
        filled = math.pi / 6 * self.closest_a**3 * 1e-24 * self.atoms_per_cm3
        if filled > FULL:
            most = self.density_g_cm3 * FULL / filled
            rule = f"must leave room for atoms {self.closest_a:g} A apart: they fill {filled:.0%}; at most {FULL:.0%}"
            raise InputError("density_g_cm3", rule, self.density_g_cm3, f"At most {most:.2g}, or lower closest_a.")
        return self

    @property
    def atoms_per_cm3(self) -> float:
        """Number density."""
        from ase.data import atomic_masses, atomic_numbers

        return self.density_g_cm3 * AVOGADRO_PER_MOL / atomic_masses[atomic_numbers[self.element]]


def covered(
    film: FilmConfig,
    extent_a: tuple[float, float],
    faces_a: tuple[float, float],
    thickness_a: float,
    positions: np.ndarray,
    numbers: np.ndarray,
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Positions (n, 3) x, y, z and atomic numbers (n,) of a crystal with films from its faces' heights to the ends of a
    thickness.

    extent_a: (y, x). A film is one tile, repeated about the middle of the area, so that it is the same there whatever
    the extent; atoms too close to the crystal's are left out. seed: of the tile. Raises InputError if its atoms find no
    room.
    """
    from ase.data import atomic_numbers

    middle, crystal = np.array([extent_a[1], extent_a[0], 0.0]) / 2, cKDTree(positions)
    for face, (low, high) in enumerate(((0.0, faces_a[0]), (faces_a[1], thickness_a))):
        rng = np.random.default_rng([seed, 2, face])
        tile = grow(film, (TILE_A, TILE_A), low, high, np.empty((0, 3)), rng)
        reach = np.ceil(middle[:2] / TILE_A - 0.5)
        steps = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in reach), [0.0], indexing="ij"), -1).reshape(
            -1, 1, 3
        )
        atoms = (tile + middle - [TILE_A / 2, TILE_A / 2, 0] + TILE_A * steps).reshape(-1, 3)
        atoms = atoms[np.all((atoms >= 0) & (atoms < [extent_a[1], extent_a[0], np.inf]), axis=1)]
        atoms = atoms[crystal.query(atoms)[0] >= film.crystal_a] if len(atoms) else atoms
        positions = np.concatenate([positions, atoms])
        numbers = np.concatenate([numbers, np.full(len(atoms), atomic_numbers[film.element])])
    return positions, numbers


def grow(
    film: FilmConfig, box_a: tuple[float, float], bottom_a: float, top_a: float, crystal: np.ndarray, rng
) -> np.ndarray:
    """Positions (n, 3) x, y, z of a film between two heights, periodic in x and y.

    box_a: (y, x). crystal: (m, 3) atoms of the crystal, from which the film keeps its distance; the number of atoms is
    that of the density in the whole volume. Raises InputError if they find no room.
    """
    height = top_a - bottom_a
    volume_cm3 = box_a[0] * box_a[1] * height * 1e-24
    wanted = round(film.atoms_per_cm3 * volume_cm3)
    if not wanted:
        return np.empty((0, 3))
    size = np.array([box_a[1], box_a[0], 4 * height + 1e3])  # never periodic in z
    near = crystal[(crystal[:, 2] > bottom_a - film.crystal_a) & (crystal[:, 2] < top_a + film.crystal_a)]
    wall = _tree(near, size, bottom_a) if len(near) else None
    placed = np.empty((0, 3))
    for _ in range(MAX_ROUNDS):
        batch = rng.random((max(64, wanted // 2), 3)) * [box_a[1], box_a[0], height] + [0, 0, bottom_a]
        if wall is not None:
            batch = batch[_tree_distance(wall, batch, size, bottom_a) >= film.crystal_a]
        if len(placed):
            batch = batch[_tree_distance(_tree(placed, size, bottom_a), batch, size, bottom_a) >= film.closest_a]
        placed = np.concatenate([placed, _first_come(batch, size, bottom_a, film.closest_a)])[:wanted]
        if len(placed) == wanted:
            return placed
    fraction = wanted * math.pi / 6 * film.closest_a**3 / (box_a[0] * box_a[1] * height)
    raise InputError(
        "film.density_g_cm3",
        f"must leave room for atoms {film.closest_a:g} A apart (they fill {fraction:.0%} of it; 35 % is the most)",
        film.density_g_cm3,
        "Lower the density or closest_a.",
    )


def _first_come(batch: np.ndarray, size: np.ndarray, bottom_a: float, closest_a: float) -> np.ndarray:
    """Points in order, without those that are too close to an earlier one that stays."""
    if len(batch) < 2:
        return batch
    keep = np.ones(len(batch), bool)
    pairs = _tree(batch, size, bottom_a).query_pairs(closest_a, output_type="ndarray")
    for first, second in pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]:
        if keep[first]:
            keep[second] = False
    return batch[keep]


def _wrapped(points: np.ndarray, size: np.ndarray, bottom_a: float) -> np.ndarray:
    return np.mod(points - [0, 0, bottom_a - 100.0], size)


def _tree(points: np.ndarray, size: np.ndarray, bottom_a: float) -> cKDTree:
    return cKDTree(_wrapped(points, size, bottom_a), boxsize=size)


def _tree_distance(tree: cKDTree, points: np.ndarray, size: np.ndarray, bottom_a: float) -> np.ndarray:
    return tree.query(_wrapped(points, size, bottom_a))[0]
