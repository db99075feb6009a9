"""Nothing wrong goes unnoticed: flyback, bad frames, hot pixels, masks the other way round, wrong apertures."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import scans

from ptydesign.cli import main
from ptydesign.config import build
from ptydesign.errors import InputError
from ptydesign.instruments.calibration import Calibration
from ptydesign.instruments.convert import import_file
from ptydesign.instruments.estimate.frames import odd_frames
from ptydesign.io import read_dataset


@pytest.fixture(scope="module")
def scan():
    return scans.scanned("atoms", (8, 10), pixels=48, pixel_mrad=2.0, semiangle_mrad=20.0, electrons=4000)


def calibrated(scan, **changes):
    known = {"voltage_kv": scans.KV, "step_a": scan.step_a, "pixel_mrad": scan.pixel_mrad, "defocus_nm": 15.0}
    known |= {"semiangle_mrad": scan.semiangle_mrad} | changes
    return build(Calibration, {k: v for k, v in known.items() if v is not None}, "calibration")


def imported(folder, scan, patterns, /, mask=None, **changes):
    np.save(folder / "scan.npy", patterns)
    if mask is not None:
        np.save(folder / "mask.npy", mask)
        mask = folder / "mask.npy"
    return import_file(folder / "scan.npy", calibrated(scan, **changes), mask=mask)


@pytest.fixture(scope="module")
def right(scan, tmp_path_factory):
    """What the scan gives, imported as it is."""
    return imported(tmp_path_factory.mktemp("right"), scan, scan.patterns)


def doubts(dataset):
    return "\n".join(dataset.provenance["doubts"])


def merlin(path, frames):
    """A .mib file of frames (n, ky, kx), 16 bit, rows from bottom to top, with a header of 384 bytes each."""
    ny, nx = frames.shape[-2:]
    with path.open("wb") as file:
        for number, frame in enumerate(frames):
            words = f"MQ1,{number + 1:06d},00384,01,{nx:04d},{ny:04d},U16,   1x1,01,"
            words += f"2026-01-02T03:04:05.{number:06d}000Z,0.001000s,0.0,12"
            file.write(words.encode().ljust(384, b"\0"))
            file.write(frame[::-1].astype(">u2").tobytes())
    return path


def test_a_good_scan_has_no_doubts(right):
    assert doubts(right) == ""


FLYBACK = {
    "after each line": (lambda p: np.concatenate([p, p[:, :1]], axis=1).reshape(-1, 48, 48), "10::11"),
    "before each line": (lambda p: np.concatenate([p[:, :1], p], axis=1).reshape(-1, 48, 48), "0::11"),
    "two after each": (lambda p: np.concatenate([p, p[:, :2]], axis=1).reshape(-1, 48, 48), "10::12,11::12"),
    "one early": (lambda p: np.concatenate([p[0, :1], p.reshape(-1, 48, 48)]), "0"),
    "three late": (lambda p: np.concatenate([p.reshape(-1, 48, 48), p[0, :3]]), "80:"),
}


@pytest.mark.parametrize("kind", FLYBACK)
@pytest.mark.parametrize("store", ["npy", "mib"])
def test_frames_beyond_the_scan_are_refused_and_skipped(kind, store, scan, right, tmp_path):
    make, skip = FLYBACK[kind]
    path = tmp_path / f"scan.{store}"
    frames = make(scan.patterns)
    if store == "mib":
        merlin(path, frames)
    else:
        np.save(path, frames)
    with pytest.raises(InputError, match="scan_shape: must give the file's") as said:
        import_file(path, calibrated(scan, scan_shape=(8, 10)))
    assert skip in str(said.value)
    dataset = import_file(path, calibrated(scan, scan_shape=(8, 10), skip_frames=skip))
    np.testing.assert_array_equal(dataset.patterns, right.patterns)
    np.testing.assert_array_equal(dataset.positions_a, right.positions_a)


def test_flyback_columns_are_cropped_from_the_scan(scan, right, tmp_path):
    wide = np.concatenate([scan.patterns[:, :2], scan.patterns, scan.patterns[:, :1]], axis=1)
    dataset = imported(tmp_path, scan, wide, scan_crop=":,2:12")
    np.testing.assert_array_equal(dataset.patterns, right.patterns)
    part = imported(tmp_path, scan, wide, scan_crop="2:5,3:7")
    np.testing.assert_array_equal(part.positions_a, calibrated(scan).positions_a((3, 4)))


@pytest.mark.parametrize("first", [True, False])
def test_many_frames_of_flyback_are_cropped(first, scan, right, tmp_path):
    back = scan.patterns[:, :6]
    frames = np.concatenate([back, scan.patterns] if first else [scan.patterns, back], axis=1).reshape(-1, 48, 48)
    with pytest.raises(InputError, match="ends with 6 frames of flyback") as said:
        imported(tmp_path, scan, frames, scan_shape=(8, 10))
    words = f"--scan-shape 8,16 --scan-crop {':,6:' if first else ':,:10'}"
    assert words in str(said.value)
    *_, shape, _, crop = words.split()
    shape = tuple(int(part) for part in shape.split(","))
    dataset = imported(tmp_path, scan, frames, scan_shape=shape, scan_crop=crop)
    np.testing.assert_array_equal(dataset.patterns, right.patterns)


def test_a_flyback_longer_than_its_line_is_none(scan, tmp_path):
    frames = np.zeros((10**5, 2, 2), np.uint8)
    with pytest.raises(InputError, match=r"got \(5, 6\)\. Correct rows or columns\.$"):
        imported(tmp_path, scan, frames, scan_shape=(5, 6))


def test_an_interrupted_scan_is_refused_with_its_full_lines(scan, tmp_path):
    path = merlin(tmp_path / "scan.mib", scan.patterns.reshape(-1, 48, 48)[:67])
    (tmp_path / "scan.hdr").write_text(
        "HDR,\t\nFrames in Acquisition (Number):\t80\nFrames per Trigger (Number):\t10\nEnd\t\n"
    )
    with pytest.raises(InputError, match=r"--scan-shape 6,10 --skip-frames 60:"):
        import_file(path, calibrated(scan, scan_shape=(8, 10)))
    dataset = import_file(path, calibrated(scan, scan_shape=(6, 10), skip_frames="60:"))
    assert len(dataset.patterns) == 60
    assert "announces 80 frames and the file holds 67" in doubts(dataset)
    with pytest.raises(InputError, match=r"header suggests 8,10"):
        import_file(path, calibrated(scan))


def test_a_scan_shape_that_the_file_contradicts(scan, tmp_path):
    with pytest.raises(InputError, match=r"must be the file's own, 8,10; got '10,8'.*--reshape"):
        imported(tmp_path, scan, scan.patterns, scan_shape=(10, 8))
    assert imported(tmp_path, scan, scan.patterns, scan_shape=(10, 8), reshape=True).provenance["scan_shape"] == [10, 8]


@pytest.mark.parametrize("skip", ["80", "5:x", "-90", "1-3"])
def test_frames_that_cannot_be_skipped(skip, scan, tmp_path):
    with pytest.raises(InputError, match="skip_frames"):
        imported(tmp_path, scan, scan.patterns, skip_frames=skip)


@pytest.mark.parametrize("crop", ["3", "1:20,0:5", "5:5,:", "a:b,:"])
def test_parts_of_a_scan_that_do_not_exist(crop, scan, tmp_path):
    with pytest.raises(InputError, match="scan_crop"):
        imported(tmp_path, scan, scan.patterns, scan_crop=crop)


SPOIL = {
    "ten times too bright": (lambda f: f * 10, "times as bright"),
    "dark": (lambda f: f * 0, "are dark"),
    "torn": (lambda f: np.where(np.arange(48)[:, None] < 24, f * 2, 0), "unlike their neighbours"),
}


@pytest.mark.parametrize("kind", SPOIL)
def test_bad_frames_are_said_and_left_out_on_request(kind, scan, right, tmp_path):
    spoil, words = SPOIL[kind]
    bad = scan.patterns.copy()
    bad[3, 4] = spoil(bad[3, 4])
    dataset = imported(tmp_path, scan, bad)
    assert words in doubts(dataset)
    assert "frames 34" in doubts(dataset)
    assert len(dataset.patterns) == 80
    assert dataset.provenance["zero_frequency_px"] == pytest.approx(right.provenance["zero_frequency_px"], abs=0.02)
    without = imported(tmp_path, scan, bad, skip_frames="bad")
    for name in ("patterns", "positions_a"):
        np.testing.assert_array_equal(getattr(without, name), np.delete(getattr(right, name), 34, axis=0))
    by_number = imported(tmp_path, scan, bad, skip_frames="34")
    np.testing.assert_array_equal(by_number.positions_a, without.positions_a)


@pytest.mark.parametrize("electrons", [8, 100])
def test_few_counts_are_no_bad_frames(electrons):
    rng = np.random.default_rng(0)
    coarse = rng.poisson(electrons / 16, (5000, 16)).astype(np.float32)
    assert not odd_frames(coarse.sum(axis=1), coarse, np.zeros(5000), 100).bad.any()


def test_an_edge_of_the_specimen_is_no_bad_frame(scan, tmp_path):
    half = scan.patterns.copy()
    half[:, 5:] *= 0.3
    assert "frames" not in doubts(imported(tmp_path, scan, half))


def test_a_hot_pixel_is_said_and_masked_or_filled(scan, right, tmp_path):
    hot = scan.patterns.copy()
    hot[..., 5, 40] = 4000
    dataset = imported(tmp_path, scan, hot)
    assert "1 pixel far above the neighbours (hot) (5,40): give --repair-pixels" in doubts(dataset)
    masked = imported(tmp_path, scan, hot, repair_pixels="mask", transpose=True)
    assert np.argwhere(masked.mask == 0).tolist() == [[(40 - 24) % 48, (5 - 24) % 48]]
    assert masked.patterns[:, masked.mask == 0].max() == 0
    filled = imported(tmp_path, scan, hot, repair_pixels="fill")
    assert filled.mask.all()
    where = (5 - 24) % 48, (40 - 24) % 48
    assert filled.patterns[:, *where].mean() == pytest.approx(right.patterns[:, *where].mean(), abs=0.2)
    assert filled.electrons_per_pattern == pytest.approx(right.electrons_per_pattern, rel=1e-3)


def test_a_dead_pixel_inside_the_disk(scan, tmp_path):
    dead = scan.patterns.copy()
    dead[..., 24, 20] = 0
    assert "1 pixel far below the neighbours (dead) (24,20)" in doubts(imported(tmp_path, scan, dead))


def test_a_gap_that_is_not_masked(scan, tmp_path):
    gap = scan.patterns.copy()
    gap[..., 22:28, :] = 0
    dataset = imported(tmp_path, scan, gap)
    assert "pixels between bright ones never count" in doubts(dataset)
    assert dataset.provenance["zero_frequency_px"] == pytest.approx((24, 24), abs=0.1)


@pytest.mark.parametrize("where", [np.s_[22:24, :], np.s_[:, 22:27], np.s_[18:30, 18:30]])
def test_a_gap_that_is_masked_leaves_the_centre(where, scan, tmp_path):
    gap, mask = scan.patterns.copy(), np.ones((48, 48))
    gap[:, :, *where], mask[where] = 0, 0
    dataset = imported(tmp_path, scan, gap, mask=mask)
    assert doubts(dataset) == ""
    assert dataset.provenance["zero_frequency_px"] == pytest.approx((24, 24), abs=0.1)


def test_values_that_are_no_numbers(scan, tmp_path):
    lost = scan.patterns.copy()
    rng = np.random.default_rng(0)
    for _ in range(5):
        lost[rng.integers(8), rng.integers(10), rng.integers(48), rng.integers(48)] = np.nan
    lost[:, :, 3, 3] = np.nan
    lost[6, 2] = np.nan
    dataset = imported(tmp_path, scan, lost)
    told = doubts(dataset)
    assert "5 values in 5 frames are no numbers" in told or "4 values in 4 frames" in told
    assert "1 of 80 frames have no numbers" in told
    assert "left out" in told
    assert "1 pixel that hold no numbers (3,3): masked" in told
    assert len(dataset.patterns) == 79
    assert np.isfinite(dataset.patterns).all()
    with pytest.raises(InputError, match="must hold counts"):
        imported(tmp_path, scan, np.full_like(lost, np.nan), centre_px=(24, 24))


def test_masks_of_either_convention(scan, tmp_path):
    bad = np.zeros((48, 48), int)
    bad[3, 7], bad[20, 30] = 1, 1
    with pytest.raises(InputError, match=r"less than half.*2 of 2304.*--mask-marks bad"):
        imported(tmp_path, scan, scan.patterns, mask=bad)
    dataset = imported(tmp_path, scan, scan.patterns, mask=bad, mask_marks="bad")
    assert (dataset.mask == 0).sum() == 2
    few = imported(tmp_path, scan, scan.patterns, mask=bad, mask_marks="good", centre_px=(24, 24))
    assert (few.mask == 1).sum() == 2
    assert "the mask leaves 2 of 2304 pixels" in doubts(few)
    with pytest.raises(InputError, match=r"must be 0 or 1; got 8.*--mask-marks bad"):
        imported(tmp_path, scan, scan.patterns, mask=np.where(bad, 8, 0))
    assert (imported(tmp_path, scan, scan.patterns, mask=bad * 8, mask_marks="bad").mask == 0).sum() == 2
    for mask in (bad[:40], bad * 1j, np.full((48, 48), np.nan), np.zeros((48, 48))):
        with pytest.raises(InputError, match="mask"):
            imported(tmp_path, scan, scan.patterns, mask=mask)


def test_pixels_at_the_top_of_their_type_are_no_counts(scan, tmp_path):
    marked = scan.patterns.astype(np.uint32)
    marked[..., 30, 2] = 2**32 - 1
    dataset = imported(tmp_path, scan, marked)
    assert "largest value of the file's type in most frames (30,2): masked" in doubts(dataset)
    assert dataset.mask[(30 - 24) % 48, (2 - 24) % 48] == 0
    assert dataset.patterns.max() < 2**16
    some = np.minimum(scan.patterns * 20, 255).astype(np.uint8)
    assert "the detector is saturated" in doubts(imported(tmp_path, scan, some))
    six_bits = np.minimum(scan.patterns * 5, 63).astype(np.uint16)
    assert "largest count of a 6-bit counter" in doubts(imported(tmp_path, scan, six_bits))


@pytest.mark.parametrize("told", [{"semiangle_mrad": 27.0}, {"pixel_mrad": 1.6}, {"pixel_mrad": 2.4}])
def test_an_aperture_that_does_not_fit_the_disk(told, scan, tmp_path):
    words = doubts(imported(tmp_path, scan, scan.patterns, **told))
    assert "the disk's radius is 10.0" in words
    assert "one is wrong" in words


def test_a_detector_with_different_angles_along_its_axes(scan, right, tmp_path):
    binned = scan.patterns.reshape(8, 10, 48, 24, 2).sum(-1)
    assert "times as long along ky as along kx" in doubts(imported(tmp_path, scan, binned, semiangle_mrad=None))
    dataset = imported(tmp_path, scan, binned, pixel_mrad=(2.0, 4.0))
    assert doubts(dataset) == ""
    assert dataset.grid.shape == (48, 24)
    assert dataset.grid.pixel_a == pytest.approx(right.grid.pixel_a)


def test_a_beam_in_the_corners_or_a_centre_that_is_told_wrong(scan, tmp_path):
    corner = np.fft.ifftshift(scan.patterns, axes=(2, 3))
    with pytest.raises(InputError, match="Give --corner"):
        imported(tmp_path, scan, corner)
    assert doubts(imported(tmp_path, scan, corner, corner=True)) == ""
    assert "--corner seems to be wrong" in doubts(imported(tmp_path, scan, scan.patterns, corner=True))
    assert "5.0 px from the --centre-px" in doubts(imported(tmp_path, scan, scan.patterns, centre_px=(27, 28)))


def test_dark_noise_below_zero_is_refused_with_its_mend(scan, tmp_path):
    noisy = scan.patterns + np.random.default_rng(0).normal(0, 0.1, scan.patterns.shape).astype(np.float32)
    with pytest.raises(InputError, match="counts must be finite and not negative"):
        imported(tmp_path, scan, noisy)
    assert imported(tmp_path, scan, noisy, threshold=0.5).patterns.min() == 0


def test_the_beam_without_a_specimen(scan, tmp_path):
    """--probe refuses it, --vacuum makes centre, aperture and first guess of it."""
    empty = scans.scanned(shape=(4, 4), pixels=48, pixel_mrad=2.0, semiangle_mrad=20.0, electrons=4e4, vacuum=True)
    beam = empty.patterns.mean(axis=(0, 1))
    np.save(tmp_path / "beam.npy", beam)
    np.save(tmp_path / "scan.npy", scan.patterns)
    with pytest.raises(InputError, match=r"probe: must be complex.*--vacuum"):
        import_file(tmp_path / "scan.npy", calibrated(scan), probe=tmp_path / "beam.npy")
    dataset = import_file(tmp_path / "scan.npy", calibrated(scan), vacuum=tmp_path / "beam.npy")
    spectrum = np.fft.fft2(np.fft.ifftshift(dataset.probe_guess[0]), norm="ortho")
    shape = np.abs(spectrum) ** 2
    assert shape.sum() == pytest.approx(dataset.electrons_per_pattern, rel=1e-3)
    np.testing.assert_allclose(shape / shape.sum(), np.fft.ifftshift(beam) / beam.sum(), atol=1e-5)
    k2 = dataset.grid.frequencies()[0] ** 2 + dataset.grid.frequencies()[1] ** 2
    bright = shape > shape.max() / 2
    phase = spectrum[bright] * np.exp(-1j * np.pi * scans.WAVELENGTH_A * 150 * k2[bright])
    assert np.abs(np.angle(phase / phase[0])).max() < 0.05  # underfocus, as the calibration says
    for wrong in (beam[:40], beam * 1j, -beam):
        np.save(tmp_path / "wrong.npy", wrong)
        with pytest.raises(InputError, match="vacuum"):
            import_file(tmp_path / "scan.npy", calibrated(scan), vacuum=tmp_path / "wrong.npy")


def test_doubts_are_said_on_stderr_and_kept(scan, tmp_path, capsys):
    hot = scan.patterns.copy()
    hot[..., 5, 40] = 4000
    np.save(tmp_path / "scan.npy", hot)
    out = tmp_path / "data.h5"
    options = [*scan.options, "--defocus-nm", "15"]
    assert main(["import", str(tmp_path / "scan.npy"), "-o", str(out), *options]) == 0
    assert "warning:" in capsys.readouterr().err
    assert "hot" in doubts(read_dataset(out))


def test_memory_is_bounded_or_refused_in_a_sentence(scan, tmp_path):
    np.save(tmp_path / "scan.npy", scan.patterns)
    path, c = tmp_path / "scan.npy", calibrated(scan)
    whole = import_file(path, c)
    small = import_file(path, c, memory_gib=1.2e6 / 2**30)
    assert isinstance(small.patterns, np.memmap)
    np.testing.assert_array_equal(small.patterns, whole.patterns)
    np.testing.assert_array_equal(import_file(path, c, lazy=True).patterns[5:9, 3], whole.patterns[5:9, 3])
    for bound in (1e-5, -1.0, 0.0):
        with pytest.raises(InputError, match="memory_gib"):
            import_file(path, c, memory_gib=bound)
    assert dataclasses.replace(small, patterns=whole.patterns).provenance == whole.provenance
