"""Samples that a user's function makes: (extent_a) -> atoms in an orthogonal cell of that extent."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ptydesign.functions import Place, Registry, guarded

if TYPE_CHECKING:
    import ase

Build = Callable[[tuple[float, float]], "ase.Atoms"]
TINY_A = (8.0, 9.0)
TOLERANCE_A = 1e-6


def _taken(function: Any, place: Place) -> Build:
    """A user's sample, tried on a small area; what it gives is checked whenever it is called."""
    call = guarded(function, place)

    def build(extent_a: tuple[float, float]) -> ase.Atoms:
        import ase

        atoms = call(tuple(float(side) for side in extent_a))
        if not isinstance(atoms, ase.Atoms):
            raise place.error("must give ase.Atoms", type(atoms).__name__, "Return ase.Atoms(...).")
        cell = np.asarray(atoms.cell)
        wanted = np.diag([extent_a[1], extent_a[0], cell[2, 2]])
        if not (np.allclose(cell, wanted, atol=TOLERANCE_A) and cell[2, 2] > 0):
            rule = f"must have the orthogonal cell (x, y, thickness) of ({extent_a[1]:g}, {extent_a[0]:g}, t) angstrom"
            mend = "The area is (y, x), cells are (x, y, z): cut or repeat the specimen to it."
            raise place.error(rule, cell.round(3).tolist(), mend)
        if not len(atoms) or not np.all(np.isfinite(atoms.positions)):
            raise place.error("must give atoms at finite positions", f"{len(atoms)} atoms", "Correct them.")
        outside = (atoms.positions < -TOLERANCE_A) | (atoms.positions > np.diag(wanted) + TOLERANCE_A)
        if np.any(outside):
            at = atoms.positions[np.any(outside, axis=1)][0].round(3).tolist()
            raise place.error("must keep all atoms in the cell", at, "Use atoms.wrap(), or cut them off.")
        atoms.pbc = True
        return atoms

    first, again = build(TINY_A), build(TINY_A)
    if len(first) != len(again) or np.any(first.positions != again.positions) or np.any(first.numbers != again.numbers):
        rule = "must give the same atoms whenever it is called: jobs and simulators call it anew"
        raise place.error(rule, "others at the second call", "Give its random generator a seed.")
    return build


SAMPLES: Registry[Build] = Registry("sample", {}, _taken)
