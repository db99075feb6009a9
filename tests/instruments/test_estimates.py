"""What is found in data is what they were made with, in four kinds of samples; what can't be known is said."""

from __future__ import annotations

import numpy as np
import pytest
import scans

from ptydesign.cli import main
from ptydesign.config import build
from ptydesign.instruments.calibration import Calibration
from ptydesign.instruments.convert import import_file
from ptydesign.instruments.estimate import deflection, descan
from ptydesign.instruments.estimate.disk import find_disk
from ptydesign.instruments.estimate.orientation import together
from ptydesign.instruments.estimated import doubts_of, orientations
from ptydesign.io import read_dataset

HALF_THICKNESS_NM = {"thick": 4 / 2 * scans.SLICE_A / 10}  # one slice sees the middle of the specimen in focus


def saved(folder, scan, patterns=None):
    path = folder / "scan.npy"
    np.save(path, scan.patterns if patterns is None else patterns)
    return path


def calibrated(scan, **changes):
    known = {"voltage_kv": scans.KV, "step_a": scan.step_a, "pixel_mrad": scan.pixel_mrad}
    known |= {"semiangle_mrad": scan.semiangle_mrad} | changes
    return build(Calibration, known, "calibration")


def apart(one, other, period=360.0):
    return abs((one - other + period / 2) % period - period / 2)


@pytest.mark.parametrize("sample", scans.SAMPLES)
@pytest.mark.parametrize("rotation,defocus_nm", [(17.0, 15.0), (-100.0, -20.0)])
def test_rotation_and_defocus_of_four_kinds_of_samples(sample, rotation, defocus_nm, tmp_path):
    scan = scans.scanned(sample, (32, 28), rotation_deg=rotation, defocus_nm=defocus_nm, electrons=10_000, seed=5)
    dataset = import_file(saved(tmp_path, scan), calibrated(scan))
    radii = dataset.provenance["disk"]["radius_px"]
    assert radii == pytest.approx([scan.aperture_px] * 2, rel=0.01)
    found = together(*orientations(dataset))
    assert found.known
    assert found.hand_known
    assert not found.mirrored
    expected = defocus_nm - HALF_THICKNESS_NM.get(sample, 0.0)
    sign = np.sign(found.defocus_a) * np.sign(expected)
    assert sign > 0 or not found.sign_sure  # a lattice of two atoms has no sign
    assert sign * found.defocus_a / 10 == pytest.approx(expected, rel=0.1)
    assert apart(found.turn_deg + (0 if sign > 0 else 180), rotation) < 1.0
    assert np.hypot(*found.astigmatism_a) < 15


@pytest.mark.parametrize("transpose", [False, True])
@pytest.mark.parametrize("flip_ky", [False, True])
@pytest.mark.parametrize("flip_kx", [False, True])
def test_all_eight_orientations_are_found(transpose, flip_ky, flip_kx, tmp_path, capsys):
    """--estimate makes the dataset that the right flags would have made, whichever of them were needed."""
    scan = scans.scanned("atoms", (22, 26), rotation_deg=20.0, electrons=10_000, seed=2)
    stored = scan.patterns[..., ::-1] if flip_kx else scan.patterns
    stored = stored[..., ::-1, :] if flip_ky else stored
    stored = np.swapaxes(stored, -1, -2) if transpose else stored
    out = tmp_path / "data.h5"
    options = [*scan.options, "--estimate", "--defocus-nm", "15"]
    assert main(["import", str(saved(tmp_path, scan, stored)), "-o", str(out), *options]) == 0
    assert "rotation_deg" in capsys.readouterr().out
    dataset = read_dataset(out)
    right = calibrated(scan, rotation_deg=20.0, defocus_nm=15.0).positions_a((22, 26))
    # the found flags may differ from those needed by a turn of both: compare in the detector's own frame
    c = dataset.provenance["calibration"]
    y, x = dataset.positions_a.T
    y, x = (-y if c["flip_ky"] else y), (-x if c["flip_kx"] else x)
    y, x = (x, y) if c["transpose"] else (y, x)
    y, x = (x, y) if transpose else (y, x)
    y, x = (-y if flip_ky else y), (-x if flip_kx else x)
    assert np.abs(np.stack([y, x], 1) - right).max() < 0.03 * np.ptp(right)


def test_aperture_or_pixel_is_found_and_fills_the_calibration(tmp_path, capsys):
    scan = scans.scanned("film", (20, 20), electrons=4000)
    path = saved(tmp_path, scan)
    for name, value, missing, truth in (
        ("--pixel-mrad", "1.6", "semiangle_mrad", 22.0),
        ("--semiangle-mrad", "22", "pixel_mrad", 1.6),
    ):
        out = tmp_path / f"{missing}.h5"
        given = ["--voltage-kv", "80", "--step-a", "1.2", name, value, "--estimate"]
        assert main(["import", str(path), "-o", str(out), *given]) == 0
        assert missing in capsys.readouterr().out
        found = np.max(read_dataset(out).provenance["calibration"][missing])
        assert found == pytest.approx(truth, rel=0.01)
    given = ["--voltage-kv", "80", "--step-a", "1.2", "--estimate"]
    assert main(["import", str(path), "-o", str(tmp_path / "none.h5"), *given]) == 2
    assert "the disk tells only their ratio" in capsys.readouterr().err


def test_told_and_found_that_disagree_are_doubted(tmp_path):
    scan = scans.scanned("atoms", (22, 22), rotation_deg=-25.0, electrons=6000)
    path = saved(tmp_path, scan)
    for told, words in ((0.0, "turned by -2[45]"), (25.0, "turned by -2[45]"), (-25.0, None)):
        found = doubts_of(import_file(path, calibrated(scan, rotation_deg=told, defocus_nm=15.0)))
        if words is None:
            assert found == []
        else:
            (doubt,) = found
            assert __import__("re").search(words, doubt)
            assert "--rotation-deg" in doubt
    (doubt,) = doubts_of(import_file(path, calibrated(scan, rotation_deg=-25.0, defocus_nm=45.0)))
    assert "the defocus seems to be 1" in doubt
    mirrored = np.ascontiguousarray(np.swapaxes(scan.patterns, -1, -2))
    (doubt,) = doubts_of(import_file(saved(tmp_path, scan, mirrored), calibrated(scan, defocus_nm=15.0)))
    assert "--transpose" in doubt


def test_what_cannot_be_known_is_said(tmp_path, capsys):
    """Few electrons, or no specimen at all."""
    for scan in (scans.scanned("atoms", (14, 14), electrons=5), scans.scanned(shape=(18, 18), vacuum=True)):
        path, out = saved(tmp_path, scan), tmp_path / "data.h5"
        assert main(["import", str(path), "-o", str(out), *scan.options, "--estimate", "--overwrite"]) == 0
        told = capsys.readouterr()
        assert "can't be known from these data" in told.out
        assert read_dataset(out).provenance["calibration"]["rotation_deg"] == 0


@pytest.mark.parametrize("mirrored", [False, True])
def test_the_deflection_of_a_gradient_gives_its_turn(mirrored):
    """A field that is the gradient of a phase, at scattered positions, turned by 33 deg."""
    rng = np.random.default_rng(1)
    turn = np.radians(33.0)
    where = rng.uniform(0, 30, (900, 2))
    cos, sin = np.cos(turn), np.sin(turn)
    y, x = where[:, 1] * sin + where[:, 0] * cos, where[:, 1] * cos - where[:, 0] * sin
    field = np.zeros((900, 2))
    for ky, kx in rng.normal(0, 0.9, (12, 2)):
        phase = ky * y + kx * x + rng.uniform(0, 6)
        field += rng.uniform(0.2, 1) * np.cos(phase)[:, None] * [ky, kx]
    field = field[:, ::-1] if mirrored else field
    spectrum = deflection.spectrum(where, field)
    found, curl = deflection.least_curl(spectrum, mirrored)
    assert apart(np.degrees(found), 33.0, 180) < 2.0  # what leaks between frequencies
    assert curl < 0.2
    assert deflection.least_curl(spectrum, not mirrored)[1] > 2 * curl


def disk_image(shape=(72, 60), centre=(33.3, 28.6), radius=14.4, stretch=1.0, fine=8):
    """A disk with a level inside and a tail outside, integrated over pixels."""
    y, x = ((np.arange(n * fine) + 0.5) / fine - 0.5 for n in shape)
    root = np.sqrt(stretch)
    r = np.hypot((y[:, None] - centre[0]) / root, (x[None] - centre[1]) * root)
    image = np.where(r < radius, 100.0, 8 * np.exp(-(r - radius) / 6))
    return image.reshape(shape[0], fine, shape[1], fine).mean(axis=(1, 3))


MASKS = {
    "none": lambda y, x: np.ones(np.broadcast(y, x).shape, bool),
    "gap": lambda y, x: (np.abs(y - 30) > 3) & (x > -1),
    "cross": lambda y, x: (np.abs(y - 36) > 2) & (np.abs(x - 25) > 4),
    "beam stop": lambda y, x: np.hypot(y - 33, x - 29) > 9,
    "arm": lambda y, x: ~((np.abs(y - 34) < 5) & (x < 32)),
}


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("told", [None, 20.0, 9.0])
def test_the_disk_is_found_behind_gaps_and_stops(mask, told):
    good = MASKS[mask](*np.indices((72, 60)))
    rng = np.random.default_rng(0)
    found = find_disk(rng.poisson(disk_image() * 5), good, told)
    assert found.known
    assert found.centre_px == pytest.approx((33.3, 28.6), abs=0.1)
    assert found.radius_px == pytest.approx(14.4, rel=0.01)


def test_a_disk_that_is_cut_or_stretched():
    cut = find_disk(disk_image()[:, :38], np.ones((72, 38), bool))
    assert cut.centre_px == pytest.approx((33.3, 28.6), abs=0.15)
    stretched = find_disk(disk_image(stretch=1.2), np.ones((72, 60), bool))
    assert stretched.radii_px == pytest.approx((14.4 * np.sqrt(1.2), 14.4 / np.sqrt(1.2)), rel=0.01)
    assert find_disk(np.zeros((20, 20)), np.ones((20, 20), bool)) is None


def test_descan_is_measured_and_taken_out(tmp_path):
    """Patterns whose beam walks by 6 px along ky and 3 px along kx over the scan."""
    scan = scans.scanned("atoms", (16, 18), electrons=4000)
    walk = np.stack(np.meshgrid(np.linspace(-3, 3, 16), np.linspace(1.5, -1.5, 18), indexing="ij"), axis=-1)
    moved = np.array(
        [[np.roll(scan.patterns[i, j], np.rint(walk[i, j]).astype(int), (0, 1)) for j in range(18)] for i in range(16)]
    )
    path = saved(tmp_path, scan, moved)
    plain = import_file(path, calibrated(scan, defocus_nm=15.0))
    assert any("beam's centre moves by" in words for words in plain.provenance["doubts"])
    still = import_file(path, calibrated(scan, defocus_nm=15.0, descan="plane", flip_ky=True))
    assert not any("centre moves" in words for words in still.provenance["doubts"])
    right = import_file(saved(tmp_path, scan), calibrated(scan, defocus_nm=15.0, flip_ky=True))
    inside = np.hypot(*still.grid.frequencies()) < 0.4
    # within the pixel that rounding leaves: the mean of the bright field has its edge back
    assert np.corrcoef(still.patterns[:, inside].mean(0), right.patterns[:, inside].mean(0))[0, 1] > 0.5
    edges = [np.hypot(*np.gradient(np.fft.fftshift(d.patterns.mean(0)))).max() for d in (plain, still, right)]
    assert edges[1] > 0.8 * edges[2] > edges[0]


def test_a_surface_of_descan_has_its_size_and_its_doubt():
    rng = np.random.default_rng(3)
    places = np.stack(np.meshgrid(np.arange(20.0), np.arange(30.0), indexing="ij"), -1).reshape(-1, 2)
    plane = places @ [[0.2, 0.0], [0.0, -0.05]]
    noisy = plane + rng.normal(0, 0.3, plane.shape)
    noisy[::50] = np.nan
    noisy[7] += 40
    found = descan.fitted(noisy, places)
    np.testing.assert_allclose(found.shift_px, plane - plane.mean(0), atol=0.15)
    assert found.range_px == pytest.approx(0.2 * 19, rel=0.05)
    assert found.known
    assert not descan.fitted(rng.normal(0, 0.3, plane.shape), places).known
    assert descan.fitted(plane[:20], places[:20]) is None
