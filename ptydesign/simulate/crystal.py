"""Crystals from structure files: read, turn the zone axis along the beam, fill an orthogonal box."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ptydesign.errors import InputError, describe
from ptydesign.simulate import cif

if TYPE_CHECKING:
    import ase

EDGE_A = 1e-6  # an atom this close below an edge of the box belongs to the other side (rounding)
CLOSEST_A = 0.4  # no two atoms of a real structure are closer (H2: 0.74 A)
MAX_ATOMS = 20_000_000
MOST_INDEX = 100  # of a zone axis
OCCUPANCIES = ("occupancy", "occupancies")  # arrays that ASE's readers of other formats (PDB, muSTEM) make
LAST_ELEMENT = 103  # of Kirkland's and Lobato's tables


@dataclass(frozen=True)
class Mixed:
    """Sites that are shared by elements, or partly empty: each copy of one is filled by chance.

    sites: (n,) number of the site of each atom. low, high: (n,): an atom is there if the copy's random number, between
    0 and 1, lies between them. seed: of the random numbers, which depend on nothing but the site and its cell.
    """

    sites: np.ndarray
    low: np.ndarray
    high: np.ndarray
    seed: int = 0

    @staticmethod
    def of(atoms: ase.Atoms, seed: int) -> Mixed | None:
        """Those of a structure; None if all of its sites are full."""
        if cif.SHARE not in atoms.arrays:
            return None
        sites, high = atoms.arrays[cif.SITE], np.empty(len(atoms))
        for site in np.unique(sites):
            high[sites == site] = np.cumsum(atoms.arrays[cif.SHARE][sites == site])
        high = np.where(high >= cif.FULL, 1.0, high)
        return Mixed(sites, high - atoms.arrays[cif.SHARE], high, seed)

    def are_there(self, atom: int, cells: np.ndarray, copies: int) -> np.ndarray:
        """Which copies of an atom there are: (cells, copies). cells: (n, 2) along the two lateral vectors."""
        if self.low[atom] <= 0 and self.high[atom] >= 1:
            return np.ones((len(cells), copies), dtype=bool)
        number = _random(self.seed, self.sites[atom], cells[:, :1], cells[:, 1:], np.arange(copies))
        return (self.low[atom] <= number) & (number < self.high[atom])


@dataclass(frozen=True)
class Oriented:
    """A cell whose third vector is along the beam (+z).

    vectors: (3, 3), one vector (x, y, z) in each row, the third being (0, 0, period). positions: (n, 3) x, y, z in
    angstrom. numbers: (n,). periodic: False for a file without periodic boundaries. mixed: where sites are shared or
    partly empty.
    """

    vectors: np.ndarray
    positions: np.ndarray
    numbers: np.ndarray
    periodic: bool = True
    mixed: Mixed | None = None

    def turned(self, angle_rad: float) -> Oriented:
        """Turned about the beam, from +x towards +y."""
        cos, sin = math.cos(angle_rad), math.sin(angle_rad)
        turn = np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]])  # acts on row vectors
        return replace(self, vectors=self.vectors @ turn, positions=self.positions @ turn)


def read_structure(path: Path) -> ase.Atoms:
    """Read a structure file with ASE (the last image of a trajectory).

    Sites of a CIF that are shared or partly empty are marked (`cif.SHARE`). Raises InputError if it is missing or
    unreadable, is empty, has a cell without volume, an unknown element, a partial occupancy in another format (ASE
    keeps the most frequent element), or atoms on top of each other.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError("sample.file", "must exist", str(path), "Check the path.")
    state = path.stat()
    return _read(path, state.st_mtime_ns, state.st_size).copy()


@functools.lru_cache(maxsize=8)
def _read(path: Path, *state: int) -> ase.Atoms:
    """What a file in this state holds: a plan asks for its sample's thickness at each setting."""
    from ase.data import atomic_numbers
    from ase.io import read
    from ase.io.formats import filetype
    from ase.neighborlist import neighbor_list

    try:
        whole_name = {"do_not_split_by_at_sign": True}  # else what follows an @ would be an index
        atoms = cif.read_cif(path) if filetype(str(path)) == "cif" else read(path, **whole_name)
    except InputError:
        raise
    except Exception as error:  # ASE's readers raise whatever they stumble over
        key = error.args[0] if isinstance(error, KeyError) and error.args else None
        if isinstance(key, str) and 0 < len(key) <= 3 and key.isalpha() and key not in atomic_numbers:
            raise _unknown_element(path, key) from None
        raise InputError(
            "sample.file",
            "must be a structure file that ASE reads (CIF, XYZ, POSCAR, ...)",
            str(path),
            f"ASE stopped with {describe(error)}. Check the file, for instance with `ase info FILE`.",
        ) from None
    if len(atoms) == 0:
        raise InputError("sample.file", "must have atoms", str(path), "Give another file.")
    if not np.all(np.isfinite(atoms.positions)):
        raise InputError("sample.file", "positions must be finite", str(path), "Correct the file.")
    volume = abs(np.linalg.det(atoms.cell.array))
    lengths = atoms.cell.lengths()
    if not np.isfinite(volume) or volume <= 1e-6 * max(1.0, float(np.prod(lengths))):
        raise InputError(
            "sample.file",
            f"must have a cell with a volume ({path})",
            atoms.cell.array.tolist(),
            'Add the cell to the file (for XYZ: Lattice="ax ay az bx by bz cx cy cz" in its second line).',
        )
    unknown = atoms.numbers[(atoms.numbers < 1) | (atoms.numbers > LAST_ELEMENT)]
    if len(unknown):
        raise _unknown_element(path, atoms.get_chemical_symbols()[int(np.argmax(atoms.numbers == unknown[0]))])
    shares = [share for name in OCCUPANCIES for share in np.ravel(atoms.arrays.get(name, 1.0)) if share < cif.FULL]
    if shares:  # nothing says which atoms share a site
        rule = f"every site must be fully occupied by one element ({path})"
        mend = "Write it as a CIF, whose shared and partly empty sites are known, or a supercell with explicit atoms."
        raise InputError("sample.file", rule, float(shares[0]), mend)
    first, second = neighbor_list("ij", atoms, CLOSEST_A)
    if cif.SITE in atoms.arrays:  # those that share a site are there one at a time
        apart = atoms.arrays[cif.SITE][first] != atoms.arrays[cif.SITE][second]
        first, second = first[apart], second[apart]
    if len(first):
        raise InputError(
            "sample.file",
            f"atoms must be at least {CLOSEST_A} A apart ({path})",
            f"{len(first) // 2} closer pairs, one of them atoms {first[0]} and {second[0]} (or an image)",
            "Remove duplicates; check that the file is in angstrom.",
        )
    return atoms


def check_indices(zone_axis: tuple[int, int, int]) -> tuple[int, int, int]:
    """A zone axis of indices that a crystal is looked along. Raises InputError."""
    if max(map(abs, zone_axis)) > MOST_INDEX:
        rule = f"must have indices between -{MOST_INDEX} and {MOST_INDEX}"
        raise InputError("zone_axis", rule, list(zone_axis), "Take a direction of low indices near it.")
    return zone_axis


def check_full(atoms: ase.Atoms, path: Path) -> None:
    """Raises InputError for a structure with sites that are shared or partly empty."""
    if cif.SHARE in atoms.arrays:
        rule = f"every site must be fully occupied by one element in a study of thick samples ({path})"
        mend = "Write a supercell with explicit atoms, or use the sample in a study of experiments."
        raise InputError("sample.file", rule, mixed_words(atoms), mend)


def mixed_words(atoms: ase.Atoms) -> str:
    """Which sites are shared or partly empty, as "Sr 0.7 + Ba 0.3"; empty if none is."""
    if cif.SHARE not in atoms.arrays:
        return ""
    shares, sites = atoms.arrays[cif.SHARE], atoms.arrays[cif.SITE]
    kinds = []
    for site in np.unique(sites[shares < 1]):
        at = np.flatnonzero(sites == site)
        kinds.append(" + ".join(f"{atoms.symbols[n]} {shares[n]:g}" for n in at))
    return ", ".join(dict.fromkeys(kinds))


def orient(atoms: ase.Atoms, zone_axis: tuple[int, int, int], seed: int = 0) -> Oriented:
    """The crystal turned so that [uvw] is along +z and the first vector's projection along +x.

    The new cell holds the same atoms: it is the file's cell in another basis of the same lattice. seed: of what fills
    sites that are shared or partly empty.
    """
    basis = _lattice_basis(zone_axis, atoms.cell.array)
    vectors = basis @ atoms.cell.array
    ez = vectors[2] / np.linalg.norm(vectors[2])
    ex = vectors[0] - (vectors[0] @ ez) * ez
    ex /= np.linalg.norm(ex)
    frame = np.array([ex, np.cross(ez, ex), ez]).T  # row vectors times this are x, y, z in the beam's frame
    turned = vectors @ frame
    turned[2, :2] = 0.0
    periodic, mixed = bool(np.all(atoms.pbc)), Mixed.of(atoms, seed)
    return Oriented(turned, atoms.positions @ frame, atoms.numbers.copy(), periodic, mixed)


def fill(
    cell: Oriented, extent_a: tuple[float, float], thickness_a: float, centre_a: tuple[float, float] = (0.0, 0.0)
) -> tuple[np.ndarray, np.ndarray]:
    """All atoms of the infinite crystal inside a box: positions (n, 3) x, y, z in the box, numbers (n,).

    extent_a: (y, x). centre_a: the crystal's (x, y) that comes to the box's centre. The crystal starts at z = 0, atoms
    below it come back from above.
    """
    size = np.array([extent_a[1], extent_a[0]])
    lateral = cell.vectors[:2, :2]
    start = cell.positions[:, :2] - centre_a + size / 2
    # which cells can reach the box: its corners in lattice coordinates, widened by where the cell's atoms lie
    corners = np.array([[0, 0], [size[0], 0], [0, size[1]], size]) @ np.linalg.inv(lateral)
    inside = start @ np.linalg.inv(lateral)
    low = np.floor(corners.min(0) - inside.max(0)).astype(int)
    high = np.ceil(corners.max(0) - inside.min(0)).astype(int)
    cells = np.stack(np.meshgrid(*(np.arange(a, b + 1) for a, b in zip(low, high, strict=True)), indexing="ij"), -1)
    cells = cells.reshape(-1, 2)
    period_a = cell.vectors[2, 2]
    copies = np.arange(math.ceil((thickness_a - EDGE_A) / period_a)) * period_a
    shifts, rises = cells @ lateral, cells @ cell.vectors[:2, 2]
    positions, numbers = [], []
    for atom, (first, z, number) in enumerate(zip(start, cell.positions[:, 2], cell.numbers, strict=True)):
        xy = first + shifts
        keep = np.all((xy >= -EDGE_A) & (xy < size - EDGE_A), axis=1)
        heights = (z + rises[keep] + EDGE_A) % period_a - EDGE_A
        column = np.broadcast_to(xy[keep][:, None], (keep.sum(), len(copies), 2)).reshape(-1, 2)
        heights = (heights[:, None] + copies).ravel()
        whole = heights < thickness_a - EDGE_A
        if cell.mixed is not None:
            whole &= cell.mixed.are_there(atom, cells[keep], len(copies)).ravel()
        positions.append(np.column_stack([column, heights])[whole])
        numbers.append(np.full(whole.sum(), number))
    return np.maximum(np.concatenate(positions), 0.0), np.concatenate(numbers)


def cells_to_cover(cell: Oriented, extent_a: tuple[float, float]) -> tuple[int, int]:
    """Smallest numbers of cells along the two lateral vectors that, centred, cover extent_a (y, x)."""
    half = np.array([[x * extent_a[1], y * extent_a[0]] for x in (-0.5, 0.5) for y in (-0.5, 0.5)])
    fractions = np.abs(half @ np.linalg.inv(cell.vectors[:2, :2])).max(0)
    first, second = (max(1, math.ceil(2 * f - 1e-6)) for f in fractions)
    return first, second


def check_count(cell: Oriented, extent_a: tuple[float, float], thickness_a: float) -> None:
    """Raise InputError before atoms are made that no machine could hold."""
    density = len(cell.numbers) / abs(np.linalg.det(cell.vectors))
    count = density * extent_a[0] * extent_a[1] * thickness_a
    if count > MAX_ATOMS:
        raise InputError(
            "sample.thickness_a",
            f"the simulated volume must hold at most {MAX_ATOMS:,} atoms",
            f"{count:.3g} atoms in {extent_a[0]:.0f} x {extent_a[1]:.0f} x {thickness_a:.0f} A",
            "Make the sample thinner, or the field of view or window smaller.",
        )


def _random(seed: int, *keys: np.ndarray | int) -> np.ndarray:
    """Numbers between 0 and 1 that depend on whole numbers alone, whatever else is asked for: their shapes broadcast.

    Each key is mixed in by the finaliser of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014)."""
    state = np.uint64(seed)
    for key in keys:
        with np.errstate(over="ignore"):
            state = (state ^ np.asarray(key, dtype=np.int64).astype(np.uint64)) + np.uint64(0x9E3779B97F4A7C15)
            state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            state = state ^ (state >> np.uint64(31))
    return (state >> np.uint64(11)) * 2.0**-53


def _unknown_element(path: Path, symbol: str) -> InputError:
    return InputError(
        "sample.file",
        f"must have elements from hydrogen to lawrencium ({path})",
        symbol,
        "Correct the symbol in the file, or remove the placeholder atoms.",
    )


def _lattice_basis(axis: tuple[int, int, int], cell: np.ndarray) -> np.ndarray:
    """Integer matrix of determinant 1 or -1 whose third row is the primitive [uvw]; rows are lattice vectors."""
    u, v, w = (int(n) // math.gcd(*axis) for n in axis)
    nonzero = np.flatnonzero([u, v, w])
    if len(nonzero) == 1:  # along a cell vector: keep the file's own cell, cyclically
        third = int(nonzero[0])
        basis = np.eye(3, dtype=int)[[(third + 1) % 3, (third + 2) % 3, third]]
        basis[2] *= (u, v, w)[third]
        return basis
    g, a, b = _bezout(u, v)  # a u + b v = g
    _, c, d = _bezout(g, w)  # c g + d w = 1
    along = np.array([u // g, v // g, 0])
    basis = np.array([[-b, a, 0], -d * along + [0, 0, c], [u, v, w]])
    return _reduce(basis, cell)


def _reduce(basis: np.ndarray, cell: np.ndarray) -> np.ndarray:
    """Shortest lateral vectors (Lagrange's reduction of the projections along the beam), least inclined."""
    third = basis[2] @ cell
    axis = third / np.linalg.norm(third)

    def lateral(row: np.ndarray) -> np.ndarray:
        vector = row @ cell
        return vector - (vector @ axis) * axis

    p, q = basis[0], basis[1]
    while True:
        if np.linalg.norm(lateral(p)) > np.linalg.norm(lateral(q)) * (1 + 1e-9):
            p, q = q, p
        step = round(float(lateral(q) @ lateral(p) / (lateral(p) @ lateral(p))) - 1e-9)
        if step == 0:
            break
        q = q - step * p
    rows = [row - round(float(row @ cell @ axis / np.linalg.norm(third)) - 1e-9) * basis[2] for row in (p, q)]
    return np.array([*rows, basis[2]])


def _bezout(a: int, b: int) -> tuple[int, int, int]:
    """(g, x, y) with a x + b y = g = gcd(a, b) >= 0."""
    x, next_x, y, next_y = 1, 0, 0, 1
    while b:
        quotient, rest = divmod(a, b)
        a, b = b, rest
        x, next_x = next_x, x - quotient * next_x
        y, next_y = next_y, y - quotient * next_y
    return (a, x, y) if a >= 0 else (-a, -x, -y)
