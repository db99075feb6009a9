"""Thick crystals: supercells, defects, films, slices."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import cKDTree

from ptydesign.config import build
from ptydesign.errors import InputError
from ptydesign.grids import Grid
from ptydesign.simulate.films import FilmConfig
from ptydesign.simulate.potential import PotentialConfig, potential_of_atoms
from ptydesign.simulate.thick import ThickSample, build_specimen, free_places, shape_of, slice_thicknesses

A = 5.431
PLANE_A = A / math.sqrt(8)
SI = Path(__file__).parents[2] / "studies" / "depth" / "Si.cif"
SN = {"kind": "interstitial", "element": "Sn", "host": "Si", "offset": [0, 0, 0.5]}


def sample(**changes) -> ThickSample:
    content = {"file": SI, "zone_axis": [1, 1, 0], "repeats": [4, 5, 6], **changes}
    return ThickSample.model_validate(content)


def built(config: ThickSample, field=(12.0, 11.0), seed=3, slice_a=PLANE_A):
    shape = shape_of(config)
    centre = (shape.extent_a[0] / 2, shape.extent_a[1] / 2)
    return build_specimen(config, slice_a, centre, field, seed), centre


def periodic_tree(atoms, positions):
    size = np.add(atoms.cell.lengths(), [0, 0, 1e3])
    return cKDTree(np.mod(positions, size), boxsize=size), size


def test_supercell_of_silicon_110():
    shape = shape_of(sample())
    assert shape.extent_a == pytest.approx((4 * A, 5 * A / math.sqrt(2)))
    assert shape.thickness_a == pytest.approx(6 * A * math.sqrt(2))
    specimen, _ = built(sample())
    assert len(specimen.atoms) == 4 * 5 * 6 * 8 == shape.atoms
    # every atom has its four neighbours, over the lateral edges too
    tree, size = periodic_tree(specimen.atoms, specimen.atoms.positions)
    inner = specimen.atoms.positions
    inner = inner[(inner[:, 2] > 5) & (inner[:, 2] < shape.thickness_a - 5)]
    distance, _ = tree.query(np.mod(inner, size), k=6)
    assert distance[:, 1:5] == pytest.approx(A * math.sqrt(3) / 4, abs=1e-3)
    assert np.all(distance[:, 5] > 3)


def test_tetrahedral_sites_have_four_silicon_neighbours():
    config = sample(defects=[{**SN, "count": 6, "margin_a": 1, "depth_margin_a": 4, "apart_a": 1.5}])
    specimen, centre = built(config)
    atoms = specimen.atoms
    silicon = atoms.positions[atoms.numbers == 14]
    tree, size = periodic_tree(atoms, silicon)
    for defect in specimen.defects:
        distance, _ = tree.query(np.mod([defect.x_a, defect.y_a, defect.z_a], size), k=5)
        assert distance[:4] == pytest.approx(2.352, abs=1e-3)
        assert distance[4] == pytest.approx(A / 2, abs=1e-3)
        assert abs(defect.y_a - centre[0]) <= 5
        assert abs(defect.x_a - centre[1]) <= 4.5
    assert np.sum(atoms.numbers == 50) == 6
    depths = sorted(d.z_a for d in specimen.defects)
    assert depths[-1] - depths[0] > 0.6 * shape_of(config).thickness_a  # spread over the crystal
    lateral = np.array([[d.y_a, d.x_a] for d in specimen.defects])
    assert cKDTree(lateral).query(lateral, k=2)[0][:, 1].min() >= 1.5
    assert built(config)[0].defects == specimen.defects
    assert built(config, seed=4)[0].defects != specimen.defects
    places = free_places(config, centre, (12.0, 11.0))
    assert cKDTree(places).query(lateral)[0].max() < 1e-6


def test_defects_by_hand_substitutions_and_vacancies():
    config = sample(
        defects=[
            {**SN, "at_a": [[0.0, 0.0, 20.0]]},
            {"kind": "substitution", "element": "As", "host": "Si", "count": 3, "margin_a": 0},
            {"kind": "vacancy", "host": "Si", "count": 2, "margin_a": 0},
        ]
    )
    specimen, centre = built(config)
    numbers = specimen.atoms.numbers
    assert (np.sum(numbers == 14), np.sum(numbers == 33), np.sum(numbers == 50)) == (960 - 5, 3, 1)
    first = specimen.defects[0]
    assert np.linalg.norm([first.y_a - centre[0], first.x_a - centre[1], first.z_a - 20]) < 3
    vacancy = specimen.defects[-1]
    assert vacancy.element == ""
    where = [vacancy.x_a, vacancy.y_a, vacancy.z_a]
    assert cKDTree(specimen.atoms.positions).query(where)[0] > 2


def test_atomic_planes_lie_in_the_middle_of_slices():
    config = sample(film={"entrance_a": 7, "exit_a": 5})
    shape = shape_of(config)
    slices = slice_thicknesses(shape, PLANE_A + 1e-4)
    assert slices.sum() == pytest.approx(shape.thickness_a)
    specimen, _ = built(config, slice_a=PLANE_A + 1e-4)
    silicon = specimen.atoms.positions[specimen.atoms.numbers == 14, 2]
    edges = np.concatenate([[0], np.cumsum(slices)])
    index = np.searchsorted(edges, silicon) - 1
    assert silicon == pytest.approx((edges[index] + edges[index + 1]) / 2, abs=1e-3)


def test_film_has_its_density_and_distances():
    config = sample(film={"entrance_a": 8, "exit_a": 0, "density_g_cm3": 2.0})
    specimen, _ = built(config)
    atoms = specimen.atoms
    carbon = atoms.positions[atoms.numbers == 6]
    volume_cm3 = atoms.cell[0, 0] * atoms.cell[1, 1] * 8 * 1e-24
    assert len(carbon) * 12.011 / 6.02214076e23 / volume_cm3 == pytest.approx(2.0, rel=0.01)
    assert carbon[:, 2].min() >= 0
    assert carbon[:, 2].max() <= 8
    tree, size = periodic_tree(atoms, carbon)
    assert tree.query(np.mod(carbon, size), k=2)[0][:, 1].min() >= 1.4 - 1e-9
    silicon, size = periodic_tree(atoms, atoms.positions[atoms.numbers == 14])
    assert silicon.query(np.mod(carbon, size))[0].min() >= 1.8 - 1e-9


def test_too_dense_a_film_is_refused():
    with pytest.raises(InputError, match=r"density_g_cm3.*At most 4\.9"):
        build(FilmConfig, {"density_g_cm3": 9.0}, "film")
    build(FilmConfig, {"density_g_cm3": 4.8}, "film")


def test_unequal_slices_hold_their_atoms():
    import ase

    grid = Grid((40, 50), (0.2, 0.2))
    atoms = ase.Atoms("Si2", [[5, 4, 1.0], [5, 4, 6.0]], cell=(10, 8, 9), pbc=True)
    slices = potential_of_atoms(atoms, PotentialConfig(pixel_a=0.2), grid, 0, np.array([2.0, 3.0, 4.0])).slices_va[0]
    assert slices[0].max() > 100
    assert np.abs(slices[1]).max() == 0
    assert slices[2] == pytest.approx(slices[0])


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"zone_axis": [0, 0, 0]}, "direction"),
        ({"zone_axis": [1, 2, 3]}, "perpendicular"),
        ({"zone_axis": [2, 1, 1]}, "multiple of 3"),
        ({"repeats": [1, 1, 0]}, "greater than"),
        ({"defects": [{**SN, "element": "Sm1", "count": 1}]}, "must be an element"),
        ({"defects": [{**SN}]}, "at_a must be given"),
        ({"defects": [{**SN, "count": 1, "at_a": [[0, 0, 0]]}]}, "not both"),
    ],
)
def test_bad_samples_are_refused(changes, message):
    with pytest.raises((InputError, ValueError), match=message):
        shape_of(sample(**changes))


@pytest.mark.parametrize(
    "defect, field, message",
    [
        ({**SN, "count": 400}, "defects.0.count", "found room"),
        ({**SN, "count": 1, "margin_a": 9}, "defects.0.count", "found room"),
        ({**SN, "at_a": [[0, 0, 500]]}, "defects.0.at_a", "nearest site"),
        ({**SN, "host": "Ge", "count": 1}, "defects.0.host", "one of the file's elements"),
        ({**SN, "offset": [0, 0, 0.02], "count": 1}, "defects.0.offset", "away from the crystal's atoms"),
    ],
)
def test_impossible_defects_are_refused(defect, field, message):
    with pytest.raises(InputError, match=message) as caught:
        built(sample(defects=[defect]))
    assert caught.value.field == f"sample.{field}"


def test_both_simulators_agree_on_a_thick_periodic_specimen(tmp_path):
    """Chunks by abTEM's own multislice and by JAX, windows over the supercell's edges, a non-square detector window."""
    from ptydesign import kinds
    from ptydesign.thick.data import read_chunks, simulate_chunk, write_chunk
    from ptydesign.thick.steps import write_specimen

    resolved = kinds.open_study(SI.parent, "smoke", tmp_path).resolved
    write_specimen(resolved)
    from ptydesign import io

    potential = io.read_potential(resolved.results / "specimen.h5")
    experiment, window = resolved.experiments["base"], resolved.windows["base"]
    part = slice(10, 13)
    args = (potential, experiment, window, (2.0, 3.0), 1)  # the scan lies at the supercell's corner
    jax, abtem = (simulate_chunk(*args, simulator, part) for simulator in ("jax", "abtem"))
    assert np.linalg.norm(jax - abtem) < 1e-4 * np.linalg.norm(abtem)
    elsewhere = simulate_chunk(*args, "jax", slice(12, 14))
    assert elsewhere[0] == pytest.approx(jax[2], rel=1e-5, abs=1e-9)  # a pattern doesn't depend on its chunk
    first, second = tmp_path / "a.h5", tmp_path / "b.h5"
    write_chunk(first, jax[:2], slice(0, 2), experiment, window)
    write_chunk(second, jax[2:], slice(2, 3), experiment, window)
    assert np.array_equal(np.concatenate(read_chunks({first: None, second: None}, 3)), jax)
    with pytest.raises(InputError, match="begin with pattern"):
        read_chunks({second: None, first: None}, 3)
    with pytest.raises(InputError, match="must hold 3 patterns"):
        read_chunks({first: None}, 3)
