"""CIFs: settings that ASE doesn't know, and sites that are shared or partly empty."""

from __future__ import annotations

from pathlib import Path

import ase
import ase.build
import numpy as np
import pytest
from ase.spacegroup import crystal as spacegroup_crystal
from plan_files import write_plan

from ptydesign.errors import InputError
from ptydesign.planning.load import read_plan
from ptydesign.simulate import cif, crystal
from ptydesign.simulate.cif import read_cif
from ptydesign.simulate.specimen import StructureSample, build_atoms
from ptydesign.simulate.thick import ThickSample, read_oriented

# GdFeO3's structure in the two settings of group 62: x, y, z of P b n m are z, x, y of P n m a.
PBNM = ((-0.0156, 0.0626, 0.25), (0, 0.5, 0), (0.1005, 0.4669, 0.25), (0.6957, 0.3013, 0.0506))
SYMBOLS = ("Gd", "Fe", "O", "O")
CELL = (5.349, 5.611, 7.669)
OPERATIONS = """loop_
_symmetry_equiv_pos_as_xyz
'x, y, z'
'-x, -y, z+1/2'
'x+1/2, -y+1/2, -z'
'-x+1/2, y+1/2, -z+1/2'
'-x, -y, -z'
'x, y, -z+1/2'
'-x+1/2, y+1/2, z'
'x+1/2, -y+1/2, z+1/2'
"""


def write_cif(
    path: Path, sites, cell=(4.0, 4.0, 4.0), symbol="P 1", operations="", more="", angles=(90, 90, 90)
) -> Path:
    """sites: (symbol, x, y, z, occupancy) each."""
    lines = ["data_x", f"_symmetry_space_group_name_H-M '{symbol}'" if symbol else "", more]
    lines += [f"_cell_length_{name} {value}" for name, value in zip("abc", cell, strict=True)]
    lines += [f"_cell_angle_{name} {value}" for name, value in zip(("alpha", "beta", "gamma"), angles, strict=True)]
    lines += [operations, "loop_", "_atom_site_label", "_atom_site_type_symbol"]
    lines += [f"_atom_site_{name}" for name in ("fract_x", "fract_y", "fract_z", "occupancy")]
    lines += [f"{kind}{n} {kind} {x} {y} {z} {share}" for n, (kind, x, y, z, share) in enumerate(sites)]
    path.write_text("\n".join(lines) + "\n")
    return path


def same(atoms: ase.Atoms, other: ase.Atoms) -> bool:
    """Whether two crystals in one cell have the same atoms, in any order."""
    apart = atoms.get_scaled_positions()[:, None] - other.get_scaled_positions()
    distances = np.linalg.norm((apart - np.rint(apart)) @ atoms.cell.array, axis=-1)
    nearest = distances.argmin(axis=1)
    right = np.all(distances.min(axis=1) < 1e-3) and np.all(atoms.numbers == other.numbers[nearest])
    return bool(right and len(set(nearest)) == len(atoms) == len(other))


@pytest.mark.parametrize("number", ["", "_symmetry_Int_Tables_number 62"])
@pytest.mark.parametrize("symbol", ["P b n m", "P bnm", "Pbnm", ""])
def test_operations_of_the_file_count_whatever_its_setting_is_called(tmp_path, symbol, number):
    sites = [(kind, *place, 1) for kind, place in zip(SYMBOLS, PBNM, strict=True)]
    found = read_cif(write_cif(tmp_path / "a.cif", sites, CELL, symbol, OPERATIONS, number))
    standard = [(y, z, x) for x, y, z in PBNM]
    theirs = spacegroup_crystal(SYMBOLS, standard, spacegroup=62, cellpar=[*CELL[1:], CELL[0], 90, 90, 90])
    places = theirs.get_scaled_positions()[:, [2, 0, 1]]
    assert same(found, ase.Atoms(theirs.numbers, cell=CELL, scaled_positions=places, pbc=True))


def test_a_setting_that_cannot_be_told_is_refused(tmp_path):
    """ASE takes P n m a's operations for it, and makes twice the gadolinium."""
    sites = [(kind, *place, 1) for kind, place in zip(SYMBOLS, PBNM, strict=True)]
    number = "_symmetry_Int_Tables_number 62"
    for more in ("", number):
        with pytest.raises(
            InputError, match=r"isn't the standard one.*got 'P b n m'.*_space_group_symop_operation_xyz"
        ):
            read_cif(write_cif(tmp_path / "a.cif", sites, CELL, "P b n m", more=more))
    standard = [(kind, y, z, x, 1) for kind, (x, y, z) in zip(SYMBOLS, PBNM, strict=True)]
    for symbol, more in (("P n m a", ""), ("", number), ("P n m a", number)):
        found = read_cif(write_cif(tmp_path / "a.cif", standard, [*CELL[1:], CELL[0]], symbol, more=more))
        assert str(found.symbols.formula.reduce()[0]) == "GdFeO3"


def test_the_choice_of_the_origin_must_be_said(tmp_path):
    cell = (5.431,) * 3
    with pytest.raises(InputError, match=r"several settings.*F d -3 m:1 or :2"):
        read_cif(write_cif(tmp_path / "a.cif", [("Si", 0, 0, 0, 1)], cell, "F d -3 m"))
    wanted = ase.build.bulk("Si", cubic=True)
    wanted.set_cell(cell, scale_atoms=True)
    assert same(read_cif(write_cif(tmp_path / "a.cif", [("Si", 0, 0, 0, 1)], cell, "F d -3 m:1")), wanted)
    second = read_cif(write_cif(tmp_path / "a.cif", [("Si", 0.125, 0.125, 0.125, 1)], cell, "F d -3 m:2"))
    second.positions -= second.positions[0]
    second.wrap()
    assert len(second) == 8
    assert same(second, wanted) or same(ase.Atoms(second.numbers, -second.positions, cell=cell, pbc=True), wanted)


def test_rhombohedral_and_monoclinic_settings_follow_from_the_cell(tmp_path):
    hexagonal = read_cif(write_cif(tmp_path / "a.cif", [("Fe", 0, 0, 0.355, 1), ("O", 0.306, 0, 0.25, 1)],
                                   (5.035, 5.035, 13.747), "R -3 c", angles=(90, 90, 120)))  # fmt: skip
    assert len(hexagonal) == 30
    primitive = read_cif(write_cif(tmp_path / "a.cif", [("Fe", 0.355, 0.355, 0.355, 1), ("O", 0.556, 0.944, 0.25, 1)],
                                   (5.42,) * 3, "R -3 c", angles=(55.3,) * 3))  # fmt: skip
    assert len(primitive) == 10
    baddeleyite = [("Zr", 0.2754, 0.0395, 0.2083, 1)]
    cell, angles = (5.15, 5.21, 5.32), (90, 99.2, 90)
    assert len(read_cif(write_cif(tmp_path / "a.cif", baddeleyite, cell, "P 1 21/c 1", angles=angles))) == 4
    with pytest.raises(InputError, match="isn't the standard one"):
        read_cif(write_cif(tmp_path / "a.cif", baddeleyite, cell, "P 1 21/n 1", angles=angles))
    with pytest.raises(InputError, match="several settings"):
        read_cif(write_cif(tmp_path / "a.cif", baddeleyite, cell, "P 21/c", angles=(90, 90, 99.2)))


CUBIC = "loop_\n_symmetry_equiv_pos_as_xyz\n'x,y,z'\n'y,z,x'\n'z,x,y'\n"
MIXED = [("Sr", 0, 0, 0, 0.7), ("Ba", 0, 0, 0, 0.3), ("Ti", 0.5, 0.5, 0.5, 1), ("O", 0.5, 0.5, 0, 0.9)]


@pytest.fixture(scope="module")
def mixed(tmp_path_factory) -> Path:
    return write_cif(tmp_path_factory.mktemp("mixed") / "mixed.cif", MIXED, operations=CUBIC)


def built(path: Path, extent, **more) -> ase.Atoms:
    return build_atoms(StructureSample(kind="structure", file=path, thickness_a=40.0, **more), extent)


def test_shared_sites_have_the_files_composition_and_one_atom_each(mixed):
    atoms = built(mixed, (80.0, 80.0))
    cells, counts = 20 * 20 * 10, {kind: int(np.sum(atoms.symbols == kind)) for kind in ("Sr", "Ba", "Ti", "O")}
    assert counts["Sr"] + counts["Ba"] == counts["Ti"] == cells
    assert counts["Ba"] / cells == pytest.approx(0.3, abs=4 * np.sqrt(0.3 * 0.7 / cells))
    assert counts["O"] / (3 * cells) == pytest.approx(0.9, abs=4 * np.sqrt(0.09 / 3 / cells))
    assert len(np.unique(np.round(atoms.positions, 3), axis=0)) == len(atoms)


def test_what_fills_a_site_does_not_depend_on_the_area(mixed):
    small, large = built(mixed, (24.0, 16.0)), built(mixed, (80.0, 64.0))
    corner = np.array([(64 - 16) / 2, (80 - 24) / 2, 0])  # both have the crystal's origin in their middle
    there = {(*np.round(p, 2) + 0.0, z) for p, z in zip(large.positions - corner, large.numbers, strict=True)}
    assert {(*np.round(p, 2) + 0.0, z) for p, z in zip(small.positions, small.numbers, strict=True)} <= there
    other = built(mixed, (24.0, 16.0), occupation_seed=1)
    assert list(other.numbers) != list(small.numbers)
    assert list(built(mixed, (24.0, 16.0)).numbers) == list(small.numbers)


def test_neighbouring_sites_are_independent(mixed):
    """Barium beside barium, and beside it in the next seed, as often as chance has it."""

    def barium(seed: int) -> np.ndarray:
        atoms = built(mixed, (80.0, 80.0), occupation_seed=seed)
        found = np.full((20, 20, 10), np.nan)
        index = np.round(atoms.positions[(atoms.symbols == "Ba") | (atoms.symbols == "Sr")] / 4).astype(int)
        kinds = atoms.symbols[(atoms.symbols == "Ba") | (atoms.symbols == "Sr")] == "Ba"
        found[tuple(index.T)] = kinds
        assert not np.isnan(found).any()
        return found - found.mean()

    first, second = barium(0), barium(1)
    pairs = [(first[1:], first[:-1]), (first[:, 1:], first[:, :-1]), (first[..., 1:], first[..., :-1]), (first, second)]
    for some, others in pairs:
        assert abs(np.mean(some * others)) / first.var() < 4 / np.sqrt(some.size)


def test_full_sites_are_as_they_were(tmp_path, mixed):
    assert "occupation_seed" not in StructureSample(kind="structure", file=mixed).model_dump()
    assert StructureSample(kind="structure", file=mixed, occupation_seed=2).model_dump()["occupation_seed"] == 2
    whole = write_cif(tmp_path / "a.cif", [(*site[:4], 1) for site in MIXED if site[0] != "Ba"], operations=CUBIC)
    assert crystal.read_structure(whole).arrays.keys() == {"numbers", "positions"}
    twice = write_cif(tmp_path / "b.cif", [("Ti", 0.5, 0.5, 0.5, 1)] * 2, operations=CUBIC)
    assert len(read_cif(twice)) == 1


@pytest.mark.parametrize(
    "sites, operations, words",
    [
        ([("Sr", 0, 0, 0, 0.7), ("Ba", 0, 0, 0, 0.5)], CUBIC, "must be 1 or less together.*Sr: 0.7, Ba: 0.5"),
        ([("O", 0, 0, 0, 0.5), ("O", 0.2, 0, 0, 0.5)], CUBIC, "partly empty must be 1 A apart.*O 0.5 beside O 0.5"),
        ([("Sr", 0, 0, 0, 1.5)], CUBIC, "occupancies must be above 0.*got 1.5"),
        ([("Sr", 0, 0, 0, 0)], CUBIC, "occupancies must be above 0.*got 0.0"),
        ([("Sr", 0, 0, 0, 1)], "loop_\n_symmetry_equiv_pos_as_xyz\n'x,y,z'\n'x,x,z'\n", "as x,y,z.*got 'x,x,z'"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path, sites, operations, words):
    with pytest.raises(InputError, match=words):
        crystal.read_structure(write_cif(tmp_path / "a.cif", sites, operations=operations))


def test_a_file_of_two_structures_is_refused(tmp_path):
    path = write_cif(tmp_path / "a.cif", [("Sr", 0, 0, 0, 1)])
    path.write_text(path.read_text() + path.read_text().replace("data_x", "data_y"))
    with pytest.raises(InputError, match=r"must hold one structure.*2: x, y"):
        crystal.read_structure(path)


def test_it_is_said_and_thick_samples_refuse_it(tmp_path, mixed):
    sample = {"kind": "structure", "file": str(mixed), "thickness_a": 40}
    warnings = read_plan(write_plan(tmp_path / "p.yaml", sample=sample))[1]
    assert any("(Sr 0.7 + Ba 0.3, O 0.9) are filled by chance" in line for line in warnings)
    with pytest.raises(InputError, match=r"fully occupied.*Sr 0.7 \+ Ba 0.3"):
        read_oriented(ThickSample(file=mixed, repeats=(2, 2, 2)))
    assert cif.SHARE in crystal.read_structure(mixed).arrays
