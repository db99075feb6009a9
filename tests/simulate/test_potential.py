"""Potentials: against an independent direct sum and abTEM's own sampling; slices, thermal motion, cache, images."""

import json
from pathlib import Path

import ase
import numpy as np
import pytest
import tifffile
from scipy.constants import e, h, m_e

from ptydesign.config import build
from ptydesign.errors import InputError
from ptydesign.grids import Grid, resample
from ptydesign.simulate import potential as module
from ptydesign.simulate.potential import (
    PotentialConfig,
    build_potential,
    cached_potential,
    potential_key,
    potential_of_atoms,
)
from ptydesign.simulate.specimen import BilayerSample, ImageSample, StructureSample, check_sample
from ptydesign.units import interaction_parameter

GRID = Grid((56, 72), (0.125, 0.125))  # 7 x 9 A
SCORED = 2.67  # 1/A, up to where the potential has to be exact: 2/3 of the Nyquist frequency


@pytest.fixture(scope="module")
def atoms():
    """A few atoms at odd places, one outside the cell (it wraps), in a cell of 9 x 7 x 8 A (x, y, z)."""
    positions = [[1.03, 2.21, 0.5], [4.48, 6.93, 2.1], [7.77, 0.4, 3.9], [3.3, 3.9, 4.1], [9.6, 5.05, 7.2]]
    return ase.Atoms(["Mo", "S", "W", "Se", "Mo"], positions, cell=[9.0, 7.0, 8.0], pbc=True)


def direct_sum(atoms, parametrization, grid, sigma_a=0.0):
    """Fourier coefficients of the projected potential in V A, atom by atom from the published formulas.

    V(k) = h^2/(2 pi m e) / area * sum_j f_j(k) exp(-2 pi i k r_j), float64, every k of the full grid.
    Kirkland 2020, eq. C.15: f = sum a/(k^2 + b) + sum c exp(-d k^2); Lobato & Van Dyck 2014, eq. 16.
    """
    import abtem.parametrizations

    tables = Path(abtem.parametrizations.__file__).parent / "data"
    table = json.loads((tables / f"{parametrization}.json").read_text())
    prefactor = h**2 / (2 * np.pi * m_e * e) * 1e20  # 47.878 V A^2
    ky, kx = np.meshgrid(*(np.fft.fftfreq(n, d) for n, d in zip(grid.shape, grid.pixel_a, strict=True)), indexing="ij")
    k2 = kx**2 + ky**2
    total = np.zeros(grid.shape, complex)
    for symbol, (x, y, _) in zip(atoms.get_chemical_symbols(), atoms.positions, strict=True):
        p = np.array(table[symbol])
        if parametrization == "kirkland":
            a, b, c, d = p
            f = sum(a[i] / (k2 + b[i]) + c[i] * np.exp(-d[i] * k2) for i in range(3))
        else:
            a, b = p
            f = sum(a[i] * (2 + b[i] * k2) / (1 + b[i] * k2) ** 2 for i in range(5))
        total += f * np.exp(-2j * np.pi * (kx * x + ky * y)) * np.exp(-2 * np.pi**2 * sigma_a**2 * k2)
    return prefactor * total / (grid.extent_a[0] * grid.extent_a[1]), np.sqrt(k2)


def error_up_to(values, expected, k, limit):
    """Relative L2 error of Fourier coefficients with 0 < k <= limit."""
    scored = (k > 0) & (k <= limit)
    return np.linalg.norm((values - expected)[scored]) / np.linalg.norm(expected[scored])


@pytest.mark.parametrize("parametrization", ["kirkland", "lobato"])
@pytest.mark.parametrize("grid", [GRID, Grid((57, 71), (7 / 57, 9 / 71))], ids=["even", "odd"])
def test_l2_error_against_direct_sum(atoms, parametrization, grid):
    """The requirement is 2 % up to 2.67 1/A; exact summation leaves float32 rounding."""
    config = PotentialConfig(parametrization=parametrization)
    built = potential_of_atoms(atoms, config, grid)
    assert built.slices_va.shape == (1, 1, *grid.shape)
    assert built.slices_va.dtype == np.float32
    spectrum = np.fft.fft2(built.slices_va[0, 0].astype(float)) / (grid.shape[0] * grid.shape[1])
    expected, k = direct_sum(atoms, parametrization, grid)
    assert error_up_to(spectrum, expected, k, SCORED) < 1e-4
    assert spectrum[0, 0].real == pytest.approx(expected[0, 0].real, rel=1e-4)  # the mean inner potential
    assert error_up_to(spectrum, expected, k, 0.98 * 0.5 / max(grid.pixel_a)) < 1e-4
    # the measure notices what it should notice
    for wrong in (np.roll(built.slices_va[0, 0], 1, 0), built.slices_va[0, 0][::-1], 1.021 * built.slices_va[0, 0]):
        assert error_up_to(np.fft.fft2(wrong.astype(float)) / wrong.size, expected, k, SCORED) > 0.02


@pytest.mark.parametrize("parametrization", ["kirkland", "lobato"])
def test_agrees_with_abtem_on_a_fine_grid(atoms, parametrization):
    """abTEM's own projection, sampled so finely that its interpolation between pixels is harmless, Fourier-cropped."""
    import abtem

    fine = 8
    theirs = abtem.Potential(
        atoms,
        gpts=(GRID.shape[1] * fine, GRID.shape[0] * fine),  # axis 0 of abTEM is x
        projection="infinite",
        parametrization=parametrization,
        slice_thickness=8.0,
    ).build(lazy=False)
    reference = resample(theirs.array.sum(0).T.astype(float), GRID.shape)
    ours = potential_of_atoms(atoms, PotentialConfig(parametrization=parametrization), GRID).slices_va[0, 0]
    k = np.hypot(*GRID.frequencies())
    assert error_up_to(np.fft.fft2(ours), np.fft.fft2(reference), k, SCORED) < 0.01


def test_moving_atoms_by_a_fraction_of_a_pixel_moves_the_potential(atoms):
    shift = np.array([0.043, -0.078])  # y, x
    moved = atoms.copy()
    moved.positions += [shift[1], shift[0], 0]
    config = PotentialConfig(thermal={"kind": "debye_waller", "sigma_a": 0.05})
    before, after = (potential_of_atoms(a, config, GRID).slices_va[0, 0] for a in (atoms, moved))
    ky, kx = GRID.frequencies()
    expected = np.fft.ifft2(np.fft.fft2(before) * np.exp(-2j * np.pi * (ky * shift[0] + kx * shift[1]))).real
    np.testing.assert_allclose(after, expected, atol=1e-5 * np.abs(expected).max())


def test_more_atoms_than_one_chunk(monkeypatch, atoms):
    from ptydesign.simulate import structure_factors

    whole = potential_of_atoms(atoms, PotentialConfig(), GRID).slices_va
    monkeypatch.setattr(structure_factors, "CHUNK", 1)
    np.testing.assert_allclose(
        potential_of_atoms(atoms, PotentialConfig(), GRID).slices_va, whole, rtol=1e-4, atol=0.01
    )


# ---- slices


def test_slices_hold_their_atoms_and_sum_to_the_projection(atoms):
    config = PotentialConfig(slice_thickness_a=2.1)
    built = potential_of_atoms(atoms, config, GRID)
    np.testing.assert_allclose(built.thickness_a, [2.0] * 4)  # 8 A in equal slices of at most 2.1 A
    # z = 0.5 | 2.1, 3.9 | 4.1 | 7.2
    for index, members in enumerate([[0], [1, 2], [3], [4]]):
        alone = potential_of_atoms(atoms[members], PotentialConfig(), GRID).slices_va[0, 0]
        np.testing.assert_allclose(built.slices_va[0, index], alone, atol=1e-3)
    whole = potential_of_atoms(atoms, PotentialConfig(), GRID).slices_va[0, 0]
    np.testing.assert_allclose(built.slices_va[0].sum(0), whole, atol=1e-2)


def test_atoms_on_a_boundary_go_with_the_later_slice_and_empty_slices_are_zero(atoms):
    boundary = atoms.copy()
    boundary.positions[:, 2] = [2.0 - 1e-9, 2.0, 2.0 + 1e-9, 2.0, 8.0]
    built = potential_of_atoms(boundary, PotentialConfig(slice_thickness_a=2.0), GRID).slices_va[0]
    assert [bool(np.any(s)) for s in built] == [False, True, False, True]


def test_bilayer_in_two_slices_has_one_layer_in_each():
    sample = BilayerSample(layers=("MoS2", "WSe2"), twist_deg=20.0)
    both = build_potential(sample, PotentialConfig(slice_thickness_a=6.5), (96, 128))
    assert both.slices_va.shape == (1, 2, 96, 128)
    assert both.pixel_a == (0.125, 0.125)
    first, second = both.slices_va[0]
    assert second.max() > 1.3 * first.max()  # tungsten is the heavier
    # the common metal site lies at the centre pixel
    for layer in (first, second):
        inner = layer[16:-16, 16:-16]  # at the edges, where the layers are cut, atoms meet across the boundary
        assert layer[48, 64] == pytest.approx(inner.max(), rel=0.02)


# ---- thermal motion


def test_debye_waller_is_the_mean_of_frozen_phonons(atoms):
    sigma = {"Mo": 0.10, "S": 0.18, "W": 0.08, "Se": 0.14}
    coarse = Grid((28, 36), (0.25, 0.25))
    smeared = potential_of_atoms(atoms, PotentialConfig(thermal={"kind": "debye_waller", "sigma_a": sigma}), coarse)
    thermal = {"kind": "frozen_phonons", "sigma_a": sigma, "configurations": 600}
    frozen = potential_of_atoms(atoms, PotentialConfig(thermal=thermal), coarse, seed=3)
    still = potential_of_atoms(atoms, PotentialConfig(), coarse).slices_va[0, 0]
    mean = frozen.slices_va[:, 0].mean(0)
    assert frozen.slices_va.shape == (600, 1, 28, 36)
    scale = np.linalg.norm(smeared.slices_va - smeared.slices_va.mean())
    noise = np.linalg.norm(mean - smeared.slices_va[0, 0]) / scale
    assert noise < 0.03
    assert np.linalg.norm(still - smeared.slices_va[0, 0]) / scale > 5 * noise


def test_debye_waller_factor(atoms):
    config = PotentialConfig(thermal={"kind": "debye_waller", "sigma_a": 0.085})
    built = potential_of_atoms(atoms, config, GRID).slices_va[0, 0]
    expected, k = direct_sum(atoms, "kirkland", GRID, sigma_a=0.085)
    assert error_up_to(np.fft.fft2(built) / built.size, expected, k, SCORED) < 1e-4


def test_frozen_phonons_depend_on_seed_and_number_only(atoms):
    def snapshots(count, seed):
        thermal = {"kind": "frozen_phonons", "sigma_a": 0.1, "configurations": count}
        return potential_of_atoms(atoms, PotentialConfig(thermal=thermal), GRID, seed).slices_va

    three = snapshots(3, 7)
    assert np.array_equal(snapshots(5, 7)[:3], three)
    assert not np.array_equal(snapshots(3, 8), three)
    assert not np.array_equal(three[0], three[1])


def test_missing_sigma_is_named(atoms):
    config = PotentialConfig(thermal={"kind": "debye_waller", "sigma_a": {"Mo": 0.1, "S": 0.1, "Se": 0.1}})
    with pytest.raises(InputError, match=r"every element.*Add W"):
        potential_of_atoms(atoms, config, GRID)


# ---- configuration and limits


@pytest.mark.parametrize(
    "content, message",
    [
        ({"parametrisation": "kirkland"}, "parametrisation: is not a known key.*parametrization"),
        ({"parametrization": "peng"}, "kirkland.*lobato"),
        ({"pixel_a": -0.1}, "pixel_a.*got -0.1"),
        ({"slice_thickness_a": 0}, "slice_thickness_a"),
        ({"thermal": {"kind": "debye_waller"}}, "sigma_a: is required"),
        ({"thermal": {"kind": "frozen_phonons", "sigma_a": 0.1, "configurations": 0}}, "configurations"),
        ({"thermal": {"kind": "debye_waller", "sigma_a": {"Mb": 0.1}}}, "keys must be elements"),
    ],
)
def test_bad_configuration(content, message):
    with pytest.raises(InputError, match=message):
        build(PotentialConfig, content, "study.yaml")


def test_no_thermal_motion_can_be_written_out():
    assert build(PotentialConfig, {"thermal": "none"}, "study.yaml") == PotentialConfig()


def test_a_potential_beyond_the_memory_is_refused_at_once(atoms):
    thermal = {"kind": "frozen_phonons", "sigma_a": 0.1, "configurations": 10**4}
    with pytest.raises(InputError, match="half of this machine's memory"):
        potential_of_atoms(atoms, PotentialConfig(thermal=thermal), Grid((50_000, 50_000), GRID.pixel_a))


def test_element_without_scattering_factors(atoms):
    heavy = atoms.copy()
    heavy.numbers[0] = 110
    with pytest.raises(InputError, match=r"scattering factors of kirkland; got 'Ds'"):
        potential_of_atoms(heavy, PotentialConfig(), GRID)


# ---- cache


@pytest.fixture
def gold(tmp_path):
    path = tmp_path / "gold.cif"
    ase.Atoms("Au", [[0, 0, 0]], cell=[3.0, 3.5, 4.0], pbc=True).write(path)
    return StructureSample(kind="structure", file=path)


def test_cache_builds_once_and_returns_the_same_potential(tmp_path, monkeypatch):
    sample, config, shape = BilayerSample(twist_deg=9.0), PotentialConfig(slice_thickness_a=7.0), (40, 64)
    calls = []
    original = module.build_potential
    monkeypatch.setattr(module, "build_potential", lambda *args: calls.append(1) or original(*args))
    _, first = cached_potential(sample, config, shape, 0, tmp_path / "cache")
    stored, again = cached_potential(sample, config, shape, 5, tmp_path / "cache")  # no phonons: no seed
    assert first == again
    assert len(calls) == 1
    built = original(sample, config, shape, 0)
    assert np.array_equal(stored.slices_va, built.slices_va)
    assert stored.pixel_a == built.pixel_a
    np.testing.assert_array_equal(stored.thickness_a, built.thickness_a)
    assert [p.name for p in (tmp_path / "cache").iterdir()] == [first.name]


def test_a_broken_potential_is_built_anew_with_a_word(tmp_path, capsys):
    sample, config, shape = BilayerSample(twist_deg=9.0), PotentialConfig(slice_thickness_a=7.0), (40, 64)
    good, path = cached_potential(sample, config, shape, 0, tmp_path)
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    for broken in (b"", whole[: len(whole) // 2], bytes(flipped)):
        path.write_bytes(broken)
        found, _ = cached_potential(sample, config, shape, 0, tmp_path)
        assert f"the potential is built anew: {path}" in capsys.readouterr().err
        np.testing.assert_array_equal(found.slices_va, good.slices_va)
        assert path.read_bytes() == whole


def test_key_follows_content_not_location(tmp_path, gold, monkeypatch):
    config, shape = PotentialConfig(), (40, 64)
    key = potential_key(gold, config, shape, 0)
    copy = tmp_path / "elsewhere.cif"
    copy.write_bytes(gold.file.read_bytes())
    assert potential_key(gold.model_copy(update={"file": copy}), config, shape, 0) == key
    phonons = PotentialConfig(thermal={"kind": "frozen_phonons", "sigma_a": 0.1})
    others = [
        potential_key(gold.model_copy(update={"zone_axis": (1, 0, 0)}), config, shape, 0),
        potential_key(gold, PotentialConfig(parametrization="lobato"), shape, 0),
        potential_key(gold, config, (64, 40), 0),
        potential_key(gold, phonons, shape, 0),
        potential_key(gold, phonons, shape, 1),
    ]
    copy.write_bytes(gold.file.read_bytes().replace(b"3.5", b"3.6"))
    others.append(potential_key(gold.model_copy(update={"file": copy}), config, shape, 0))
    monkeypatch.setattr(module, "VERSION", module.VERSION + 1)
    others.append(potential_key(gold, config, shape, 0))
    assert len({key, *others}) == 8


def test_axes_of_a_crystal(gold):
    """a = 3.0 A along x (axis 1), b = 3.5 A along y (axis 0)."""
    values = build_potential(gold, PotentialConfig(), (56, 72)).slices_va[0, 0]  # 7 x 9 A
    np.testing.assert_allclose(values, np.roll(values, 28, axis=0), atol=0.02)
    np.testing.assert_allclose(values, np.roll(values, 24, axis=1), atol=0.02)


# ---- images


def smooth(y, x):
    """Band-limited to about 0.35 1/A."""
    return 0.3 * np.cos(1.9 * y + 0.4) * np.sin(1.1 * x) + 0.1 * np.cos(0.7 * y - 1.6 * x)


def saved(tmp_path, pixel_a, shape, quantity="potential_va", suffix=".npy", scale=100.0, **more):
    y, x = ((np.arange(n) - n // 2) * pixel_a for n in shape)
    values = scale * smooth(y[:, None], x[None])
    path = tmp_path / f"image{suffix}"
    np.save(path, values) if suffix == ".npy" else tifffile.imwrite(path, values.astype(np.float32))
    return ImageSample(kind="image", file=path, pixel_a=pixel_a, quantity=quantity, **more), values


@pytest.mark.parametrize("suffix", [".npy", ".tif", ".tiff"])
def test_image_of_equal_pixels_is_cropped_exactly(tmp_path, suffix):
    sample, values = saved(tmp_path, 0.125, (101, 140), suffix=suffix)
    built = build_potential(sample, PotentialConfig(), (64, 90))
    np.testing.assert_allclose(built.slices_va[0, 0], values[18:82, 25:115], rtol=1e-6)


@pytest.mark.parametrize("pixel_a", [0.1, 0.16, 0.4])
def test_image_is_interpolated_to_the_simulation_pixel(tmp_path, pixel_a):
    sample, _ = saved(tmp_path, pixel_a, (int(40 / pixel_a), int(50 / pixel_a)))
    built = build_potential(sample, PotentialConfig(), (160, 200)).slices_va[0, 0]
    y, x = ((np.arange(n) - n // 2) * 0.125 for n in (160, 200))
    expected = 100 * smooth(y[:, None], x[None])
    assert np.abs(built - expected).max() < 0.01 * np.abs(expected).max()


def test_finer_image_is_band_limited_not_aliased(tmp_path):
    """A wave above the new Nyquist frequency (4 1/A) must vanish, one below must stay."""
    path = tmp_path / "waves.npy"
    x = np.arange(1200) * 0.05
    np.save(
        path, np.tile(np.cos(2 * np.pi * 6.0 * (x + 0.025)) + 0.5 * np.cos(2 * np.pi * 1.0 * (x + 0.025)), (800, 1))
    )
    sample = ImageSample(kind="image", file=path, pixel_a=0.05, quantity="potential_va")
    values = build_potential(sample, PotentialConfig(), (64, 96)).slices_va[0, 0]
    assert np.abs(values).max() == pytest.approx(0.5, rel=0.02)


def test_phase_becomes_potential_at_its_voltage(tmp_path):
    sample, phase = saved(tmp_path, 0.125, (64, 80), "phase_rad", scale=1.0, voltage_kv=80.0)
    built = build_potential(sample, PotentialConfig(), (64, 80))
    np.testing.assert_allclose(built.slices_va[0, 0] * interaction_parameter(80.0), phase, atol=1e-6)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda p: None, "must exist"),
        (lambda p: p.write_bytes(b"no array"), "must be a readable image"),
        (lambda p: np.save(p, np.zeros((4, 50, 50))), r"two axes \(y, x\); got \(4, 50, 50\)"),
        (lambda p: np.save(p, np.zeros((50, 50), complex)), "must be real"),
        (lambda p: np.save(p, np.full((50, 50), np.nan)), "2500 bad pixels"),
        (lambda p: np.save(p, np.array([["a", "b"], ["c", "d"]])), "must be real"),
        (lambda p: np.save(p, np.zeros((50, 90))), r"must cover scan and window, 8.0 x 8.0 A.*got '6.2 x 11.2 A'"),
    ],
)
def test_bad_images(tmp_path, make, message):
    path = tmp_path / "image.npy"
    make(path)
    sample = ImageSample(kind="image", file=path, pixel_a=0.125, quantity="potential_va")
    with pytest.raises(InputError, match=message):
        build_potential(sample, PotentialConfig(), (64, 64))


def test_image_of_another_format_and_truncated_tiff(tmp_path):
    (tmp_path / "image.png").write_bytes(b"\x89PNG")
    tifffile.imwrite(tmp_path / "whole.tif", np.ones((64, 64), np.float32))
    (tmp_path / "cut.tif").write_bytes((tmp_path / "whole.tif").read_bytes()[:100])
    for name, message in (("image.png", r"must be .npy, .tif or .tiff"), ("cut.tif", "must be a readable image")):
        sample = ImageSample(kind="image", file=tmp_path / name, pixel_a=0.125, quantity="potential_va")
        with pytest.raises(InputError, match=message):
            build_potential(sample, PotentialConfig(), (32, 32))


def test_image_refuses_slices_and_thermal_motion(tmp_path):
    sample, _ = saved(tmp_path, 0.125, (64, 64))
    for change in ({"slice_thickness_a": 2.0}, {"thermal": {"kind": "debye_waller", "sigma_a": 0.1}}):
        with pytest.raises(InputError, match="one slice without atoms"):
            build_potential(sample, PotentialConfig(**change), (32, 32))


@pytest.mark.parametrize("edge, mode", [("periodic", "wrap"), ("reflect", "symmetric"), ("vacuum", "constant")])
def test_a_small_image_goes_on_beyond_its_edges(tmp_path, edge, mode):
    values = np.random.default_rng(4).uniform(size=(24, 31))
    path = tmp_path / "small.npy"
    np.save(path, values)
    sample = ImageSample(kind="image", file=path, pixel_a=0.125, quantity="potential_va", edge=edge)
    found = build_potential(sample, PotentialConfig(pixel_a=0.125), (48, 64), 0).slices_va[0, 0]
    first = 48 // 2 - 24 // 2, 64 // 2 - 31 // 2
    np.testing.assert_allclose(found[first[0] : first[0] + 24, first[1] : first[1] + 31], values, rtol=1e-6)
    around = np.pad(values, ((first[0], 48 - 24 - first[0]), (first[1], 64 - 31 - first[1])), mode=mode)
    np.testing.assert_allclose(found, around, rtol=1e-6)
    assert check_sample(sample, tmp_path, (60.0, 80.0)).edge == edge
    refused = sample.model_copy(update={"edge": None})
    assert "edge" not in refused.model_dump()
    with pytest.raises(InputError, match="edge periodic"):
        check_sample(refused, tmp_path, (60.0, 80.0))


@pytest.mark.parametrize("edge", ["periodic", "reflect", "vacuum", None])
def test_a_point_of_an_image_comes_to_the_middle(tmp_path, edge):
    values = np.random.default_rng(5).uniform(size=(40, 31))
    path = tmp_path / "off.npy"
    np.save(path, values)
    sample = ImageSample(
        kind="image", file=path, pixel_a=0.125, quantity="potential_va", edge=edge, centre_a=(12 * 0.125, 20 * 0.125)
    )
    found = build_potential(sample, PotentialConfig(pixel_a=0.125), (20, 16), 0).slices_va[0, 0]
    np.testing.assert_allclose(found, values[2:22, 12:28], rtol=1e-6)
    if edge is None:
        with pytest.raises(InputError, match="edge periodic"):  # on the other side there would be enough
            check_sample(sample, tmp_path, (30 * 0.125, 16 * 0.125))
    outside = sample.model_copy(update={"centre_a": (1.0, 31 * 0.125)})
    with pytest.raises(InputError, match=r"centre_a: must lie in the image, from \[0, 0\] to \[4.875, 3.75\] A"):
        outside.read()


def test_a_field_of_vacuum_is_refused_with_the_best_place(tmp_path):
    """A molecule in a corner, and the middle of the image empty."""
    values = np.zeros((120, 160))
    values[70:90, 20:36] = np.random.default_rng(6).uniform(size=(20, 16))
    np.save(tmp_path / "corner.npy", values)
    sample = ImageSample(kind="image", file="corner.npy", pixel_a=0.5, quantity="potential_va", edge="vacuum")
    with pytest.raises(InputError, match=r"sample.centre_a.*best place.*Set centre_a: \[") as refused:
        check_sample(sample, tmp_path, field_a=(10.0, 8.0))
    y, x = map(float, str(refused.value).rpartition("[")[2].rpartition("]")[0].split(","))
    assert (y, x) == pytest.approx((40.0, 14.0), abs=4)  # where an edge is seen, too, contrast is higher
    there = sample.model_copy(update={"centre_a": (y, x)})
    assert check_sample(there, tmp_path, field_a=(10.0, 8.0)).centre_a == (y, x)
    assert check_sample(sample, tmp_path, field_a=(50.0, 70.0)).centre_a is None  # large enough to hold it


def test_an_image_without_contrast_is_refused(tmp_path):
    np.save(tmp_path / "flat.npy", np.full((40, 40), 0.3))
    sample = ImageSample(kind="image", file="flat.npy", pixel_a=0.5, quantity="potential_va")
    with pytest.raises(InputError, match=r"sample.file: must have some contrast"):
        check_sample(sample, tmp_path, field_a=(10.0, 8.0))
