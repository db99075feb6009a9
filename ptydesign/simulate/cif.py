"""Crystals from CIFs: the operations that a file lists are applied as they stand, whatever its setting is called, and
sites that are shared or partly empty are kept as such.

ASE parses the file. Its own expansion looks a space group up by number or symbol: of other settings (P b n m) it knows
nothing, and it keeps one element of a shared site.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ptydesign.errors import NOTHING, InputError

if TYPE_CHECKING:
    import ase
    from ase.io.cif import CIFBlock

SAME_A = 0.1  # sites that are closer are one: coordinates are rounded, and no two atoms are so close
FULL = 0.99  # occupancies from here on are whole
MOST_SHARED = 1.02  # rounded occupancies of a site, together
CLOSEST_A = 1.0  # sites that are closer exclude each other (H2 has 0.74, but no crystal has it with an occupancy)
# Arrays of the atoms, where needed: (n,) occupancy, (n,) number of the site.
SHARE, SITE = "share", "site"
OPERATIONS = (
    "_space_group_symop_operation_xyz",
    "_space_group_symop.operation_xyz",
    "_symmetry_equiv_pos_as_xyz",
)
SYMBOLS = ("_space_group_name_h-m_alt", "_symmetry_space_group_name_h-m", "_space_group.name_h-m_alt")
NUMBERS = ("_space_group_it_number", "_space_group.it_number", "_symmetry_int_tables_number")
RHOMBOHEDRAL = (146, 148, 155, 160, 161, 166, 167)
MONOCLINIC = range(3, 16)
ADD = "Write the file again with its operations (VESTA does), or list them as _space_group_symop_operation_xyz."


def read_cif(path: Path) -> ase.Atoms:
    """All atoms of the cell, with the arrays `SHARE` and `SITE` if any site is shared or partly empty.

    Raises InputError for several structures in a file, operations that are none, a space group whose setting can't be
    told, and occupancies that can't be. ASE's errors, if the file is no CIF, go through.
    """
    from ase.io.cif import parse_cif

    blocks = [block for block in parse_cif(str(path)) if block.has_structure()]
    if len(blocks) > 1:
        names = ", ".join(block.name for block in blocks)
        mend = "Leave one of them in the file."
        raise InputError("sample.file", f"must hold one structure ({path})", f"{len(blocks)}: {names}", mend)
    if not blocks:
        raise InputError("sample.file", f"must hold atoms ({path})", NOTHING, "Is it the right CIF?")
    (block,) = blocks
    listed = block.get_unsymmetrized_structure()
    shares = _occupancies(block, len(listed), path)
    if listed.cell.rank < 3:
        return listed
    rotations, translations = _operations(block, path)
    return _expanded(listed, shares, rotations, translations, path)


def _occupancies(block: CIFBlock, count: int, path: Path) -> np.ndarray:
    """(n,) of the listed atoms; 1 where a file says nothing."""
    given = block.get("_atom_site_occupancy") or [1.0] * count
    shares = np.array([1.0 if one in (".", "?", None) else one for one in given], dtype=float)
    wrong = shares[(shares <= 0) | (shares > MOST_SHARED)]
    if len(wrong):
        mend = "Correct it, or remove a site that is empty."
        raise InputError("sample.file", f"occupancies must be above 0, and at most 1 ({path})", float(wrong[0]), mend)
    return np.where(shares >= FULL, 1.0, shares)


def _first(block: CIFBlock, names: tuple[str, ...]):
    return next((block[name] for name in names if block.get(name) not in (None, ".", "?", "")), None)


def _operations(block: CIFBlock, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Rotations (n, 3, 3) and translations (n, 3) in fractions of the cell."""
    from ase.spacegroup.spacegroup import parse_sitesym

    listed = _first(block, OPERATIONS)
    if listed is None:
        return _of_group(block, path)
    listed = [listed] if isinstance(listed, str) else listed
    rotations, translations = parse_sitesym(listed)
    turns = np.abs(np.rint(np.linalg.det(rotations))) == 1
    wrong = [one for one, turn in zip(listed, turns, strict=True) if not turn or one.count(",") != 2]
    if wrong:
        raise InputError("sample.file", f"must list operations as x,y,z ({path})", wrong[0], "Correct it.")
    return rotations, translations


def _of_group(block: CIFBlock, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The operations of a space group that a file names without listing them. Raises InputError where its setting can't
    be told: positions of another setting would give another crystal."""
    from ase.spacegroup import Spacegroup

    symbol, number = _first(block, SYMBOLS), _first(block, NUMBERS)
    number = int(number) if number is not None else None
    if symbol is None and number is None:
        return np.eye(3, dtype=int)[None], np.zeros((1, 3))
    name, _, suffix = str(symbol or number).strip().partition(":")
    name = re.sub(r"^([A-Z]) 1 (\S+) 1$", r"\1 \2", name.strip())  # P 1 21/c 1 is P 21/c
    try:
        group = Spacegroup(name if symbol else number)
    except Exception:  # ASE's, whatever it is
        group = None
    if group is None or (number is not None and group.no != number):
        rule = f"must list its symmetry operations: the setting of its space group isn't the standard one ({path})"
        raise InputError("sample.file", rule, symbol or number, ADD)
    angles = block.get_cell().angles()
    if group.no in RHOMBOHEDRAL:
        setting = 1 if np.allclose(angles, (90, 90, 120), atol=0.1) else 2
    elif group.no in MONOCLINIC:
        setting = 1 if np.allclose(angles[[0, 2]], 90, atol=0.1) else None
    elif _has_two(group.no):
        setting = {"1": 1, "2": 2}.get(suffix or str(block.get("_symmetry_space_group_setting", "")))
    else:
        setting = 1
    if setting is None:
        rule = f"must list its symmetry operations: its space group has several settings ({path})"
        raise InputError("sample.file", rule, symbol or number, f"{ADD} Or say which origin it is: {name}:1 or :2.")
    return Spacegroup(group.no, setting).get_op()


def _has_two(number: int) -> bool:
    """Whether a space group has two settings in the tables, as two choices of the origin."""
    from ase.spacegroup import Spacegroup

    try:
        Spacegroup(number, 2)
    except Exception:  # ASE's
        return False
    return True


def _expanded(
    listed: ase.Atoms, shares: np.ndarray, rotations: np.ndarray, translations: np.ndarray, path: Path
) -> ase.Atoms:
    """The listed atoms with all that symmetry makes of them; each place once, with all that share it."""
    import ase

    cell = listed.cell.array
    places = np.empty((0, 3))  # of sites, in fractions
    sites, numbers, parts = [], [], []
    for number, share, position in zip(
        listed.numbers, shares, listed.cell.scaled_positions(listed.positions), strict=True
    ):
        images = (rotations @ position + translations) % 1.0
        images = images[np.unique(np.argmax(_together(images, images, cell), axis=1))]
        known = _together(images, places, cell)
        new = images[~known.any(axis=1)]
        orbit = [int(np.argmax(row)) for row in known if row.any()] + list(range(len(places), len(places) + len(new)))
        places = np.concatenate([places, new])
        for site in orbit:
            others = [n for n, at in enumerate(sites) if at == site]
            if any(numbers[n] == number and parts[n] == share == 1 for n in others):
                continue  # a file that lists all atoms, and operations too
            if sum(parts[n] for n in others) + share > MOST_SHARED:
                kinds = {ase.data.chemical_symbols[z]: float(p) for z, p in [
                    *((numbers[n], parts[n]) for n in others), (number, share)]}  # fmt: skip
                rule = f"occupancies of a site must be 1 or less together ({path})"
                raise InputError("sample.file", rule, kinds, "Correct them, or remove a site that is listed twice.")
            sites.append(site)
            numbers.append(number)
            parts.append(share)
    atoms = ase.Atoms(numbers, cell=cell, pbc=True, scaled_positions=places[sites])
    if min(parts) < 1:
        atoms.set_array(SHARE, np.array(parts))
        atoms.set_array(SITE, np.array(sites))
        _check_apart(atoms, path)
    return atoms


def _together(some: np.ndarray, others: np.ndarray, cell: np.ndarray) -> np.ndarray:
    """Whether positions in fractions are one place: (some, others)."""
    apart = some[:, None] - others
    return np.linalg.norm((apart - np.rint(apart)) @ cell, axis=-1) < SAME_A


def _check_apart(atoms: ase.Atoms, path: Path) -> None:
    """Refuse sites that exclude each other: each would be filled whatever the other is."""
    from ase.neighborlist import neighbor_list

    shares, sites = atoms.arrays[SHARE], atoms.arrays[SITE]
    for first, second in zip(*neighbor_list("ij", atoms, CLOSEST_A), strict=True):
        if sites[first] != sites[second] and min(shares[first], shares[second]) < 1:
            one, other = (f"{atoms.symbols[n]} {shares[n]:g}" for n in (first, second))
            rule = f"sites that are partly empty must be {CLOSEST_A:g} A apart ({path})"
            mend = "They exclude each other: keep one of them, or write a supercell with explicit atoms."
            raise InputError("sample.file", rule, f"{one} beside {other}", mend)
