"""Point defects in a crystal: interstitials, substitutions and vacancies, placed by rule or by hand.

Sites come from the crystal's own lattice: those of a host element, or a host's positions moved by a fraction of the
structure file's cell (the tetrahedral site of silicon is a host moved by [0, 0, 1/2]). Nothing is relaxed around a
defect: a strain field is not modelled.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, field_validator, model_validator
from scipy.spatial import cKDTree

from ptydesign.config import Count, Strict
from ptydesign.errors import NOTHING, InputError, nearest

CLOSEST_A = 0.5  # no interstitial may lie closer to an atom of the crystal
REACH_A = 3.0  # from a wanted place to a site
SAME_A = 0.01  # sites closer than this are one


class Placement(Strict):
    """Which of the possible sites are taken: `count` of them at random, or those nearest to `at_a`."""

    count: Count | None = None
    """How many, at random places drawn by the study's seed, their depths spread evenly over the crystal."""
    at_a: tuple[tuple[float, float, float], ...] = ()
    """Instead of count: places [y, x, z] in angstrom from the middle of the scan (y, x) and from the crystal's own
    entrance face (z; a film lies before it); each goes to the nearest site, at most 3 A away."""
    margin_a: float = Field(2.0, ge=0)
    """Least distance in angstrom from the edge of the scanned field, for `count`."""
    depth_margin_a: float = Field(0.0, ge=0)
    """Least distance in angstrom from both faces of the crystal, for `count`."""
    apart_a: float = Field(0.0, ge=0)
    """Least lateral distance in angstrom of two of them, and to earlier defects, for `count`."""

    @model_validator(mode="after")
    def _one_way(self) -> Placement:
        if self.count is None and not self.at_a:
            raise InputError("count", "or at_a must be given", NOTHING, "Say how many (count) or where (at_a).")
        if self.count is not None and self.at_a:
            raise InputError("count", "or at_a must be given, not both", self.count, "Keep one of the two.")
        return self


class _Defect(Placement):
    host: str
    """Symbol of the crystal's element whose sites are meant."""

    @field_validator("host", "element", check_fields=False)
    @classmethod
    def _known(cls, symbol: str) -> str:
        from ase.data import atomic_numbers

        if symbol not in atomic_numbers or symbol == "X":
            raise InputError("element", "must be an element", symbol, nearest(symbol, {*atomic_numbers} - {"X"}))
        return symbol


class Interstitial(_Defect):
    """An atom of `element` beside a host."""

    kind: Literal["interstitial"]
    """Which defect this is."""
    element: str
    """Symbol of the element that is placed."""
    offset: tuple[float, float, float]
    """From the host to the site, as fractions of the file's cell; [0, 0, 0.5] leads from an atom of silicon to its
    tetrahedral site."""


class Substitution(_Defect):
    """An atom of `element` in the place of a host."""

    kind: Literal["substitution"]
    """Which defect this is."""
    element: str
    """Symbol of the element that is placed."""


class Vacancy(_Defect):
    """A host that is missing."""

    kind: Literal["vacancy"]
    """Which defect this is."""


Defect = Annotated[Interstitial | Substitution | Vacancy, Field(discriminator="kind")]


@dataclass(frozen=True)
class Placed:
    """A defect that was placed; element: '' for a vacancy. Position in angstrom in the specimen's frame."""

    kind: str
    element: str
    host: str
    y_a: float
    x_a: float
    z_a: float


def choose_sites(
    sites: np.ndarray,
    placement: Placement,
    centre_a: tuple[float, float],
    field_a: tuple[float, float],
    faces_a: tuple[float, float],
    rng: np.random.Generator,
    taken: np.ndarray,
) -> np.ndarray:
    """Positions (n, 3) x, y, z of the sites that a placement takes, out of all `sites` (m, 3).

    centre_a, field_a: (y, x) of the scan. faces_a: z of the crystal's two faces. taken: (k, 3) positions of earlier
    defects, to which apart_a holds as well. Raises InputError if there are too few sites.
    """
    if placement.at_a:
        return _nearest_sites(sites, placement, centre_a, faces_a)
    sites = _inside(sites, placement, centre_a, field_a, faces_a)
    chosen: list[np.ndarray] = []
    low, high = (faces_a[0] + placement.depth_margin_a, faces_a[1] - placement.depth_margin_a)
    wanted = low + (np.arange(placement.count) + 0.5) * (high - low) / placement.count
    for depth in rng.permutation(wanted):
        others = np.array([*taken, *chosen]).reshape(-1, 3)
        free = _apart(sites, others, placement.apart_a)
        if not len(free):
            raise InputError(
                "count",
                f"must leave every defect a site {placement.apart_a:g} A from the next in the projection, "
                f"{placement.margin_a:g} A inside the scanned field; {len(chosen)} found room",
                placement.count,
                "Lower count, apart_a, margin_a or depth_margin_a, or scan a larger field.",
            )
        away = np.abs(free[:, 2] - depth)
        best = free[away < away.min() + SAME_A]
        chosen.append(best[rng.integers(len(best))])
    return np.array(chosen)


def check_free(positions: np.ndarray, atoms: np.ndarray) -> None:
    """Raise InputError if an interstitial (n, 3) lies on an atom (m, 3)."""
    if len(positions) and len(atoms):
        distance, _ = cKDTree(atoms).query(positions)
        if distance.min() < CLOSEST_A:
            raise InputError(
                "offset",
                f"must lead at least {CLOSEST_A} A away from the crystal's atoms",
                f"{distance.min():.2f} A",
                "For the tetrahedral site of silicon give [0, 0, 0.5].",
            )


def unique_sites(sites: np.ndarray) -> np.ndarray:
    """Sites (n, 3) without those that several hosts share, in order of z, y, x."""
    rounded = np.unique(np.round(sites[:, ::-1] / SAME_A).astype(np.int64), axis=0, return_index=True)[1]
    return sites[rounded]


def _inside(sites, placement, centre_a, field_a, faces_a) -> np.ndarray:
    half = np.array([field_a[1], field_a[0]]) / 2 - placement.margin_a
    lateral = np.abs(sites[:, :2] - [centre_a[1], centre_a[0]]) <= half
    deep = (sites[:, 2] >= faces_a[0] + placement.depth_margin_a) & (
        sites[:, 2] <= faces_a[1] - placement.depth_margin_a
    )
    return sites[lateral.all(axis=1) & deep]


def _apart(sites: np.ndarray, others: np.ndarray, apart_a: float) -> np.ndarray:
    """Sites that are not one of the others, nor laterally closer than apart_a to one."""
    if not len(others):
        return sites
    lateral, _ = cKDTree(others[:, :2]).query(sites[:, :2])
    whole, _ = cKDTree(others).query(sites)
    return sites[(lateral >= apart_a - 1e-9) & (whole > SAME_A)]


def _nearest_sites(sites, placement, centre_a, faces_a) -> np.ndarray:
    wanted = np.array([[x + centre_a[1], y + centre_a[0], z + faces_a[0]] for y, x, z in placement.at_a])
    tree = cKDTree(sites)
    distance, index = tree.query(wanted)
    if distance.max() > REACH_A:
        worst = int(np.argmax(distance))
        raise InputError(
            "at_a",
            f"must lie within {REACH_A:g} A of a site",
            list(placement.at_a[worst]),
            f"The nearest site is {distance[worst]:.1f} A away; check the place and the thickness.",
        )
    if len(set(index.tolist())) < len(index):
        raise InputError("at_a", "must name different sites", len(index), "Move those that are close together.")
    return sites[index]
