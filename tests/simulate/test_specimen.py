"""Samples: geometry against independent constructions, and every way in which a file can be bad."""

import math
import subprocess
import sys

import ase
import numpy as np
import pytest
from ase.build import bulk
from ase.geometry import wrap_positions
from ase.io import write
from ase.spacegroup import crystal as spacegroup_crystal
from pydantic import TypeAdapter
from scipy.spatial import cKDTree

from ptydesign.config import Strict, build
from ptydesign.errors import InputError
from ptydesign.simulate import crystal
from ptydesign.simulate.specimen import (
    LAYERS,
    BilayerSample,
    ImageSample,
    SampleConfig,
    StructureSample,
    build_atoms,
    check_sample,
)


class Holder(Strict):
    sample: SampleConfig


def test_import_is_cheap():
    code = (
        "import sys, ptydesign.simulate.potential, ptydesign.simulate.specimen\n"
        "print([m for m in ('abtem', 'ase', 'numba') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


# ---- bilayers


@pytest.mark.parametrize(
    "name, bond_a",
    # measured M-X distances of the same papers and, independently, of the compounds' encyclopaedic entries
    [("MoS2", 2.417), ("WS2", 2.405), ("MoSe2", 2.527), ("WSe2", 2.526)],
)
def test_layer_has_trigonal_prisms(name, bond_a):
    atoms = build_atoms(BilayerSample(layers=(name, name), twist_deg=13.0), (24.0, 31.0))
    layer = LAYERS[name]
    metals = atoms[[s == layer.metal for s in atoms.get_chemical_symbols()]].positions
    others = atoms[[s == layer.chalcogen for s in atoms.get_chemical_symbols()]].positions
    tree = cKDTree(others)
    middle = np.all(np.abs(metals[:, :2] - [15.5, 12]) < [10, 7], axis=1)
    distances, indices = tree.query(metals[middle], k=7)
    np.testing.assert_allclose(distances[:, :6], bond_a, atol=0.006)
    assert np.all(distances[:, 6] > 3.0)
    # prism, not antiprism: the three above are exactly over the three below
    for near in others[indices[:, :6]]:
        xy = near[np.argsort(near[:, 2])][:, :2]
        np.testing.assert_allclose(np.sort(xy[:3], axis=0), np.sort(xy[3:], axis=0), atol=1e-9)


def test_bilayer_fills_a_non_square_cell_with_the_right_density():
    extent = (61.0, 47.0)
    atoms = build_atoms(BilayerSample(layers=("MoS2", "WSe2"), twist_deg=30.0), extent)
    np.testing.assert_allclose(atoms.cell.lengths()[:2], [47.0, 61.0])
    positions = atoms.positions
    assert np.all(positions >= 0)
    assert np.all(positions < atoms.cell.lengths())
    for metal, name in (("Mo", "MoS2"), ("W", "WSe2")):
        area = LAYERS[name].a ** 2 * math.sqrt(3) / 2
        count = sum(s == metal for s in atoms.get_chemical_symbols())
        assert count == pytest.approx(61 * 47 / area, rel=0.03)


@pytest.mark.parametrize("twist_deg", [0.0, 7.3, 30.0, 95.0])
def test_twist_turns_second_layer_about_a_common_metal_site(twist_deg):
    sample = BilayerSample(layers=("MoS2", "WSe2"), twist_deg=twist_deg, rotation_deg=11.0)
    atoms = build_atoms(sample, (40.0, 33.0))
    symbols = np.array(atoms.get_chemical_symbols())
    relative = atoms.positions - [16.5, 20.0, 0.0]
    directions = {}
    for metal, other in (("Mo", "S"), ("W", "Se")):
        on_axis = relative[(symbols == metal) & (np.hypot(*relative[:, :2].T) < 1e-6)]
        assert len(on_axis) == 1
        near = relative[(symbols == other) & (np.hypot(*relative[:, :2].T) < 2.2)]
        # the chalcogens are 120 deg apart, which fixes the turn (and its sense) modulo 120 deg
        turn = np.exp(3j * np.arctan2(near[:, 1], near[:, 0]))
        assert len(near) == 6
        np.testing.assert_allclose(turn, turn[0], atol=1e-6)
        directions[metal] = turn[0], on_axis[0, 2]
    assert directions["W"][0] / directions["Mo"][0] == pytest.approx(np.exp(3j * math.radians(twist_deg)))
    assert directions["Mo"][0] == pytest.approx(np.exp(3j * math.radians(90 + 11)))
    gap = (LAYERS["MoS2"].c + LAYERS["WSe2"].c) / 4
    assert directions["W"][1] - directions["Mo"][1] == pytest.approx(gap)


@pytest.mark.parametrize("name", sorted(LAYERS))
def test_sixty_degrees_and_a_shift_give_the_2h_crystal(name):
    layer = LAYERS[name]
    sample = BilayerSample(layers=(name, name), twist_deg=60.0, shift_a=(layer.a / math.sqrt(3), 0.0))
    periods = (3 * math.sqrt(3) * layer.a, 4 * layer.a)  # whole rectangular cells
    atoms = build_atoms(sample, periods)
    reference = spacegroup_crystal(
        [layer.metal, layer.chalcogen],
        [(1 / 3, 2 / 3, 0.25), (1 / 3, 2 / 3, layer.z)],
        spacegroup=194,
        cellpar=[layer.a, layer.a, layer.c, 90, 90, 120],
    )
    assert len(atoms) == 12 * len(reference) * 2
    # each atom must be one of the reference crystal, up to a translation that puts a metal on a metal
    first = atoms.positions[np.argmin(np.where(atoms.symbols == layer.metal, atoms.positions[:, 2], 99))]
    metals = reference.positions[reference.symbols == layer.metal]
    best = []
    for metal in metals:
        moved = wrap_positions(atoms.positions - first + metal, reference.cell, eps=1e-4)
        distance = np.linalg.norm(moved[:, None] - reference.positions[None], axis=-1)
        same = atoms.numbers[:, None] == reference.numbers[None]
        best.append(np.where(same, distance, 99).min(1).max())
    assert min(best) < 1e-3


def test_gap_must_keep_layers_apart():
    with pytest.raises(InputError, match=r"gap_a.*1 A apart.*got 3\.0"):
        build(Holder, {"sample": {"kind": "bilayer", "gap_a": 3.0}}, "study.yaml")


def test_gap_is_the_metal_distance():
    atoms = build_atoms(BilayerSample(layers=("MoS2", "WS2"), gap_a=6.8), (10.0, 12.0))
    z = {m: np.unique(atoms.positions[atoms.symbols == m][:, 2].round(6)) for m in ("Mo", "W")}
    assert z["W"] - z["Mo"] == pytest.approx(6.8)


# ---- structure files


@pytest.fixture
def silicon(tmp_path):
    path = tmp_path / "si.cif"
    bulk("Si", cubic=True, a=5.431).write(path)
    return path


@pytest.fixture
def skewed(tmp_path):
    """A triclinic crystal with a chiral motif."""
    path = tmp_path / "skewed.xyz"
    atoms = ase.Atoms(
        ["Sr", "Ti", "O", "N"],
        [[0.3, 0.2, 0.1], [2.2, 0.3, 0.4], [0.4, 2.3, 0.6], [0.7, 0.4, 2.4]],
        cell=[[4.1, 0.0, 0.0], [0.6, 5.3, 0.0], [0.9, -0.7, 6.2]],
        pbc=True,
    )
    atoms.write(path, format="extxyz")
    return path


def structure(path, **changes):
    return StructureSample(kind="structure", file=path, **changes)


AXES = [
    (0, 0, 1),
    (1, 0, 0),
    (0, 1, 0),
    (0, 0, -1),
    (1, 1, 0),
    (1, 1, 1),
    (-1, 2, 3),
    (2, 4, 2),
    (0, 3, -2),
    (5, -3, 4),
]


@pytest.mark.parametrize("axis", AXES)
def test_zone_axis_is_along_the_beam(skewed, axis):
    source = ase.io.read(skewed)
    cell = source.cell.array
    period = np.linalg.norm(np.array(axis) // math.gcd(*axis) @ cell)
    oriented = crystal.orient(source, axis)
    # a proper rotation of the same lattice in another basis
    frame = np.linalg.lstsq(source.positions, oriented.positions)[0]
    np.testing.assert_allclose(frame @ frame.T, np.eye(3), atol=1e-9)
    assert np.linalg.det(frame) == pytest.approx(1)
    basis = oriented.vectors @ frame.T @ np.linalg.inv(cell)
    np.testing.assert_allclose(basis, basis.round(), atol=1e-9)
    assert abs(np.linalg.det(basis)) == pytest.approx(1)
    np.testing.assert_allclose(oriented.vectors[2], [0, 0, period], atol=1e-9)
    # atoms of the filled box: moved by one period along the beam they meet the same element
    atoms = build_atoms(structure(skewed, zone_axis=axis, thickness_a=2 * period), (63.0, 81.0))
    low = atoms.positions[:, 2] < period - 1e-6
    tree = cKDTree(atoms.positions[~low])
    distance, index = tree.query(atoms.positions[low] + [0, 0, period])
    assert distance.max() < 1e-6
    assert np.array_equal(atoms.numbers[low], atoms.numbers[~low][index])
    assert len(atoms) == pytest.approx(4 * 63 * 81 * 2 * period / np.linalg.det(cell), rel=0.04)


@pytest.mark.parametrize("axis", AXES)
def test_turning_keeps_distances_and_handedness(skewed, axis):
    """Neighbourhoods in the box are those of the file: a mirrored or sheared crystal fails."""
    source = ase.io.read(skewed)
    atoms = build_atoms(structure(skewed, zone_axis=axis, thickness_a=25.0, rotation_deg=17.0), (25.0, 30.0))
    wide = source.repeat((7, 7, 7))

    def motif(cloud, centre):
        """Offsets from a Sr atom to the nearest Ti, O and N, as a Gram matrix and a signed volume."""
        tree = {s: cloud.positions[cloud.symbols == s] for s in ("Ti", "O", "N")}
        vectors = np.array([p[np.argmin(np.linalg.norm(p - centre, axis=1))] - centre for p in tree.values()])
        return vectors @ vectors.T, np.linalg.det(vectors)

    def middle(cloud):
        strontium = cloud.positions[cloud.symbols == "Sr"]
        return strontium[np.argmin(np.linalg.norm(strontium - cloud.cell.array.sum(0) / 2, axis=1))]

    gram, volume = motif(atoms, middle(atoms))
    expected_gram, expected_volume = motif(wide, middle(wide))
    np.testing.assert_allclose(gram, expected_gram, atol=1e-6)
    assert volume == pytest.approx(expected_volume, abs=1e-6)


def test_orientation_matches_the_literature_for_silicon_110(silicon):
    """[110] silicon: dumbbells of a/4 = 1.358 A projected distance, columns repeat every a/sqrt(2) along the beam."""
    atoms = build_atoms(structure(silicon, zone_axis=(1, 1, 0)), (30.0, 40.0))
    assert atoms.cell.lengths()[2] == pytest.approx(5.431 * math.sqrt(2))
    columns = np.unique(atoms.positions[:, :2].round(4), axis=0)
    distance = cKDTree(columns).query(columns, k=2)[0][:, 1]
    assert np.median(distance) == pytest.approx(5.431 / 4, abs=1e-3)


def test_axes_of_the_frame(tmp_path):
    """Cell vectors a, b, c of an orthogonal file become x, y, beam; for [100] b, c, a."""
    path = tmp_path / "axes.cif"
    ase.Atoms("Au", [[0, 0, 0]], cell=[3.0, 4.0, 5.0], pbc=True).write(path)
    for axis, periods in (((0, 0, 1), (3, 4, 5)), ((1, 0, 0), (4, 5, 3)), ((0, 1, 0), (5, 3, 4))):
        atoms = build_atoms(structure(path, zone_axis=axis), (60.0, 60.0))
        found = [np.diff(np.unique(atoms.positions[:, i].round(6))) for i in (0, 1)]
        np.testing.assert_allclose(found[0], periods[0], atol=1e-5)
        np.testing.assert_allclose(found[1], periods[1], atol=1e-5)
        assert atoms.cell.lengths()[2] == pytest.approx(periods[2])


def test_whole_cells_lose_no_atom_at_the_edges(silicon):
    a = 5.431
    atoms = build_atoms(structure(silicon, repeats=(4, 3, 2)), (3 * a, 4 * a))
    expected = bulk("Si", cubic=True, a=a).repeat((4, 3, 2))
    assert len(atoms) == len(expected) == 8 * 24
    np.testing.assert_allclose(atoms.cell.lengths(), expected.cell.lengths())
    ours, theirs = (wrap_positions(x.positions, x.cell, pbc=True, eps=1e-4) for x in (atoms, expected))
    assert cKDTree(theirs).query(ours)[0].max() < 1e-5


@pytest.mark.parametrize("thickness_a, layers", [(5.431, 4), (2.0, 2), (20.0, 15)])
def test_thickness_cuts_or_repeats(silicon, thickness_a, layers):
    atoms = build_atoms(structure(silicon, thickness_a=thickness_a), (12.0, 15.0))
    assert atoms.cell.lengths()[2] == thickness_a
    assert len(np.unique(atoms.positions[:, 2].round(4))) == layers  # planes a/4 apart, from z = 0


def test_too_few_repeats_are_refused_with_the_number_needed(silicon):
    with pytest.raises(InputError, match=r"sample.repeats.*takes 6 x 5 cells; got \[3, 8, 1\]"):
        build_atoms(structure(silicon, repeats=(3, 8, 1)), (5 * 5.431, 6 * 5.431))
    with pytest.raises(InputError, match="thickness_a"):
        build_atoms(structure(silicon, repeats=(9, 9, 1), thickness_a=8.0), (20.0, 20.0))
    assert len(build_atoms(structure(silicon, repeats=(6, 5, 1)), (5 * 5.431, 6 * 5.431))) == 240


def test_model_without_periodic_boundaries_is_not_repeated(tmp_path):
    path = tmp_path / "particle.xyz"
    atoms = bulk("Au", cubic=True).repeat(3)
    atoms.center(vacuum=8.0)
    atoms.pbc = False
    atoms.write(path, format="extxyz")
    built = build_atoms(structure(path), (20.0, 24.0))
    assert len(built) == len(atoms)
    np.testing.assert_allclose(built.positions[:, :2].mean(0), [12.0, 10.0], atol=1e-6)
    with pytest.raises(InputError, match=r"sample.repeats.*got \[1, 1, 1\]"):
        build_atoms(structure(path), (27.0, 24.0))


# ---- bad input


def bad_files(folder):
    (folder / "garbage.cif").write_text("this is no crystal\n")
    (folder / "blank.cif").write_text("data_\n")
    (folder / "binary.xyz").write_bytes(bytes(range(256)))
    (folder / "empty.xyz").write_text("")
    (folder / "molecule.xyz").write_text("2\n\nO 0 0 0\nO 0 0 1.2\n")
    (folder / "element.xyz").write_text('1\nLattice="4 0 0 0 4 0 0 0 4"\nQq 0 0 0\n')
    (folder / "placeholder.xyz").write_text('1\nLattice="4 0 0 0 4 0 0 0 4"\nX 0 0 0\n')
    (folder / "flat.xyz").write_text('1\nLattice="4 0 0 0 4 0 8 4 0"\nAu 0 0 0\n')
    (folder / "double.xyz").write_text('2\nLattice="4 0 0 0 4 0 0 0 4"\nAu 0 0 0\nAu 4 0 0.1\n')
    (folder / "nan.xyz").write_text('1\nLattice="4 0 0 0 4 0 0 0 4"\nAu nan 0 0\n')


@pytest.mark.parametrize(
    "name, rule, value",
    [
        ("nowhere.cif", "must exist", "nowhere"),
        ("garbage.cif", "ASE reads", "garbage.cif"),
        ("blank.cif", "must hold atoms", "got nothing"),
        ("binary.xyz", "ASE reads", "binary.xyz"),
        ("empty.xyz", "ASE reads|must have atoms", "empty.xyz"),
        ("molecule.xyz", "a cell with a volume", "0.0"),
        ("flat.xyz", "a cell with a volume", "8.0"),
        ("element.xyz", "must have elements from", "Qq"),
        ("placeholder.xyz", "must have elements from", "X"),
        ("double.xyz", "at least 0.4 A apart", "1 closer pairs"),
        ("nan.xyz", "finite", "nan.xyz"),
    ],
)
def test_bad_structure_files_are_named(tmp_path, name, rule, value):
    bad_files(tmp_path)
    with pytest.raises(InputError, match=rule) as caught:
        check_sample(structure(name), tmp_path)
    assert caught.value.field == "sample.file"
    assert value in str(caught.value)
    assert caught.value.mend


def test_partial_occupancy_of_another_format_is_refused(tmp_path):
    """A PDB says of an atom how often it is there, but not which others are there instead. A CIF does (test_cif)."""
    path = tmp_path / "alloy.pdb"
    write(path, bulk("Si", cubic=True))
    path.write_text(path.read_text().replace("  1.00  ", "  0.50  "))
    with pytest.raises(InputError, match=r"fully occupied by one element.*got 0.5. Write it as a CIF"):
        check_sample(structure(path), tmp_path)


def test_check_sample_finds_files_from_the_base_folder(silicon):
    checked = check_sample(structure(silicon.name), silicon.parent)
    assert checked.file == silicon
    assert check_sample(BilayerSample(), silicon.parent) == BilayerSample()
    with pytest.raises(InputError, match="takes 4 x 3 cells"):
        check_sample(structure(silicon, repeats=(1, 1, 1)), silicon.parent, (15.0, 20.0))


def test_absurd_thickness_is_refused_before_atoms_are_made(silicon):
    with pytest.raises(InputError, match="20,000,000 atoms"):
        check_sample(structure(silicon, thickness_a=1e6), silicon.parent, (100.0, 100.0))


@pytest.mark.parametrize(
    "content, message",
    [
        ({"kind": "bilayer", "twist": 3}, r"sample.*twist: is not a known key.*twist_deg"),
        ({"kind": "bilayer", "layers": ["MoS2"]}, "layers"),
        ({"kind": "bilayer", "layers": ["MoS2", "MoTe2"]}, "MoTe2"),
        ({"kind": "trilayer"}, "bilayer.*image.*structure"),
        ({"kind": "structure", "file": "a.cif", "zone_axis": [0, 0, 0]}, "zone_axis: must have a direction"),
        ({"kind": "structure", "file": "a.cif", "repeats": [1, 0, 1]}, "repeats"),
        ({"kind": "structure", "file": "a.cif", "thickness_a": -5}, "thickness_a.*got -5"),
        ({"kind": "image", "file": "a.npy", "pixel_a": 0, "quantity": "potential_va"}, "pixel_a"),
        ({"kind": "image", "file": "a.npy", "pixel_a": 0.1, "quantity": "phase_rad"}, "voltage_kv: is required"),
    ],
)
def test_bad_configuration(content, message):
    with pytest.raises(InputError, match=message):
        build(Holder, {"sample": content}, "study.yaml")


@pytest.mark.parametrize("kind", ["bilayer", "structure"])
def test_films_lie_on_both_faces_and_leave_the_sample_as_it_was(silicon, kind):
    made = {"kind": "bilayer"} if kind == "bilayer" else {"kind": "structure", "file": silicon, "thickness_a": 25.0}
    adapter, extent_a, film = TypeAdapter(SampleConfig), (22.0, 31.0), {"entrance_a": 6, "exit_a": 15, "element": "Ge"}
    bare, covered = (build_atoms(adapter.validate_python(made | more), extent_a) for more in ({}, {"film": film}))
    mine = covered[covered.numbers != 32]
    np.testing.assert_allclose(mine.positions, bare.positions + np.array([0, 0, 6]), atol=1e-9)
    assert covered.cell.lengths() == pytest.approx(bare.cell.lengths() + np.array([0, 0, 21]))
    heights = covered.positions[covered.numbers == 32, 2]
    top = 6 + bare.cell[2, 2]
    assert np.all((heights <= 6) | (heights >= top))
    grams = np.array([np.sum(heights <= 6), np.sum(heights >= top)]) * 72.63 / 6.02214076e23
    thick, near = np.array([6, 15]), 1.8  # what is too close to the sample is left out
    density = grams / (22 * 31 * thick * 1e-24)
    assert np.all((density > 2.0 * (thick - near) / thick) & (density < 2.05))
    assert cKDTree(mine.positions).query(covered.positions[covered.numbers == 32])[0].min() >= near
    other = build_atoms(adapter.validate_python(made | {"film": film, "film_seed": 1}), extent_a)
    assert len(other) != len(covered) or not np.allclose(other.positions, covered.positions)


def test_a_film_is_the_same_in_the_middle_of_every_area():
    """And has its density, over more than one tile."""
    sample = BilayerSample(film={"entrance_a": 0, "exit_a": 20})
    found = []
    for extent in ((24.0, 30.0), (150.0, 130.0)):
        atoms = build_atoms(sample, extent)
        carbon = atoms.positions[atoms.numbers == 6] - np.array([extent[1] / 2, extent[0] / 2, 0])
        near = carbon[np.all(np.abs(carbon[:, :2]) < 10, axis=1)]
        found.append(near[np.lexsort(near.T)])
    np.testing.assert_allclose(*found, atol=1e-9)
    grams = len(carbon) * 12.011 / 6.02214076e23
    assert grams / (150 * 130 * 20 * 1e-24) == pytest.approx(2.0, rel=0.05)


def test_a_sample_without_a_film_is_written_as_before():
    assert {"film", "film_seed"}.isdisjoint(BilayerSample(film_seed=3).model_dump(mode="json"))
    assert BilayerSample(film={}, film_seed=3).model_dump(mode="json")["film_seed"] == 3


def test_image_has_no_atoms(tmp_path):
    sample = ImageSample(kind="image", file=tmp_path / "a.npy", pixel_a=0.1, quantity="potential_va")
    with pytest.raises(InputError, match="must have atoms"):
        build_atoms(sample, (10.0, 10.0))


def test_union_is_read_by_kind():
    sample = TypeAdapter(SampleConfig).validate_python({"kind": "bilayer", "layers": ["WS2", "MoSe2"], "twist_deg": 5})
    assert sample == BilayerSample(layers=("WS2", "MoSe2"), twist_deg=5.0)


def test_a_file_that_changed_is_read_again_and_what_was_read_stays_as_it_was(tmp_path):
    path = tmp_path / "cell.xyz"
    bulk("Si", cubic=True).write(path)
    first = crystal.read_structure(path)
    first.numbers[:] = 6
    assert set(crystal.read_structure(path).numbers) == {14}
    bulk("Ge", cubic=True).write(path)
    assert set(crystal.read_structure(path).numbers) == {32}
