"""Instruments' files: real files in several formats, orientation, centring, binning, bad input."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from ptydesign.cli import main
from ptydesign.commands import CALIBRATION
from ptydesign.config import build
from ptydesign.errors import InputError
from ptydesign.instruments import arrange
from ptydesign.instruments.calibration import Calibration
from ptydesign.instruments.convert import import_file
from ptydesign.instruments.estimate.disk import find_disk
from ptydesign.instruments.files import read_array
from ptydesign.io import read_dataset
from ptydesign.units import wavelength_a

SCAN, SIDE, CENTRE = (3, 4), 32, (14.0, 17.0)


def disks(detector=(SIDE, SIDE), centre=CENTRE, scan=SCAN, radius=6.0):
    """(scan y, scan x, ky, kx) uint8: a disk that is no mirror image of itself, brighter from pattern to pattern."""
    y, x = np.indices(detector)
    inside = np.hypot(y - centre[0], x - centre[1]) <= radius
    # the wedge lies far from half of the maximum, so the disk keeps its centroid above half
    one = np.where(inside, 100 + 3 * (y > centre[0]) + 7 * (x > centre[1] + 2) * (y < centre[0]), 2)
    count = scan[0] * scan[1]
    return (one[None] + np.arange(count)[:, None, None]).reshape(*scan, *detector).astype(np.uint8)


def calibration(**changes):
    known = {"voltage_kv": 200, "semiangle_mrad": 20, "step_a": (0.5, 0.8), "reciprocal_pixel": 0.05}
    return build(Calibration, {k: v for k, v in (known | changes).items() if v is not None}, "calibration")


def expected(data, centre=CENTRE):
    """Zero frequency at (0, 0), by hand: rolled patterns, the rows and columns that came around blanked."""
    ny, nx = data.shape[-2:]
    flat = data.reshape(-1, ny, nx).astype(np.float32)
    ky, kx = np.fft.fftfreq(ny, 1 / ny).astype(int), np.fft.fftfreq(nx, 1 / nx).astype(int)
    rows, columns = ky + int(centre[0]), kx + int(centre[1])
    inside = ((rows >= 0) & (rows < ny))[:, None] & ((columns >= 0) & (columns < nx))[None]
    return flat[:, rows % ny][:, :, columns % nx] * inside, inside


def signal(data):
    names = ("y", "x", "ky", "kx")
    axes = [
        {"name": n, "size": s, "scale": 1.0, "offset": 0.0, "units": "px", "navigate": i < 2, "index_in_array": i}
        for i, (n, s) in enumerate(zip(names, data.shape, strict=True))
    ]
    return {
        "data": data,
        "axes": axes,
        "metadata": {"General": {"title": "test"}, "Signal": {}},
        "attributes": {"_lazy": False, "ragged": False},
    }


def write_hspy(folder, data):
    from rsciio.hspy import file_writer

    path = folder / "data.hspy"
    whole = signal(data) | {
        "learning_results": {},
        "original_metadata": {},
        "package_info": {"package": "test", "package_version": "1"},
    }
    whole |= {"models": {}, "tmp_parameters": {}}
    file_writer(str(path), whole)
    return path


def write_blo(folder, data):
    from rsciio.blockfile import file_writer

    path = folder / "data.blo"
    file_writer(str(path), signal(data) | {"original_metadata": {}}, navigator=None, show_progressbar=False)
    return path


def write_emd(folder, data):
    from rsciio.emd import file_writer

    path = folder / "data.emd"
    file_writer(str(path), signal(data) | {"original_metadata": {}})
    return path


def write_npy(folder, data):
    path = folder / "data.npy"
    np.save(path, data)
    return path


def write_hdf5(folder, data):
    import h5py

    path = folder / "data.h5"
    with h5py.File(path, "w") as file:
        file["entry/frames"] = data.reshape(-1, *data.shape[-2:])
    return f"{path}:entry/frames"


def write_mib(folder, data):
    """Merlin's frames as they lie in a file: a header of 384 bytes, then 16-bit big-endian rows from bottom to top."""
    path, (ny, nx) = folder / "data.mib", data.shape[-2:]
    with path.open("wb") as file:
        for number, frame in enumerate(data.reshape(-1, ny, nx)):
            words = f"MQ1,{number + 1:06d},00384,01,{nx:04d},{ny:04d},U16,   1x1,01,"
            words += f"2026-01-02T03:04:05.{number:06d}000Z,0.001000s,0.0,12"
            file.write(words.encode().ljust(384, b"\0"))
            file.write(frame[::-1].astype(">u2").tobytes())
    return path


def write_empad(folder, data):
    """EMPAD: 128 x 128 float32 and two more rows for each pattern, described by an XML file."""
    whole = np.zeros((*data.shape[:2], 130, 128), "<f4")
    whole[..., :128, :] = data
    whole.tofile(folder / "scan.raw")
    path = folder / "scan.xml"
    path.write_text(
        f'<root><raw_file filename="scan.raw"/><pix_x>{data.shape[1]}</pix_x><pix_y>{data.shape[0]}</pix_y></root>'
    )
    return path


def dm4_group(items):
    """A group of a DM4 file: tags of a mapping, or tags without names of a list."""
    named = items.items() if isinstance(items, dict) else [("", item) for item in items]
    tags = b"".join(dm4_tag(name, content) for name, content in named)
    return b"\1\0" + struct.pack(">Q", len(items)) + tags


def dm4_tag(name, content):
    """A tag of a DM4 file: a group, or text, a number or an array (little-endian inside)."""

    def value(body, *information):
        return b"%%%%" + struct.pack(f">{len(information) + 1}Q", len(information), *information) + body

    if isinstance(content, dict | list):
        body = dm4_group(content)
    elif isinstance(content, str):
        body = value(content.encode("utf-16-le"), 20, 4, len(content))
    elif isinstance(content, np.ndarray):
        body = value(content.astype("<u2").tobytes(), 20, 4, content.size)
    elif isinstance(content, float):
        body = value(struct.pack("<f", content), 6)
    else:
        body = value(struct.pack("<I", content), 5)
    kind = 20 if isinstance(content, dict | list) else 21
    return struct.pack(">BH", kind, len(name)) + name.encode() + struct.pack(">Q", len(body)) + body


def write_dm4(folder, data):
    """DigitalMicrograph's version 4: a header and a tree of tags; the fastest axis comes first."""
    axis = {"Origin": 0.0, "Scale": 1.0, "Units": "px"}
    image = {
        "ImageData": {
            "Calibrations": {"Brightness": axis, "Dimension": [axis] * 4},
            "Data": data,
            "DataType": 10,
            "Dimensions": list(data.shape[::-1]),
            "PixelDepth": 2,
        },
        "ImageTags": {"Microscope Info": {"Illumination Mode": "STEM"}},
        "Name": "scan",
    }
    root = dm4_group({"ImageList": [image]})
    path = folder / "data.dm4"
    path.write_bytes(struct.pack(">IQI", 4, len(root), 1) + root)
    return path


WRITERS = [write_hspy, write_blo, write_emd, write_npy, write_hdf5, write_mib, write_dm4]


@pytest.mark.parametrize("write", WRITERS)
def test_formats_give_the_same_dataset(write, tmp_path):
    data = disks()
    dataset = import_file(write(tmp_path, data), calibration(scan_shape=SCAN))
    patterns, inside = expected(data)
    np.testing.assert_array_equal(dataset.patterns, patterns)
    np.testing.assert_array_equal(dataset.mask, inside)
    assert dataset.grid.pixel_a == pytest.approx((1 / (SIDE * 0.05),) * 2)
    assert dataset.electrons_per_pattern == pytest.approx(patterns.sum(axis=(1, 2)).mean())
    assert dataset.provenance["calibration"]["step_a"] == [0.5, 0.8]


def test_empad(tmp_path):
    data = disks((128, 128), (60.0, 70.0), radius=12)
    path = write_empad(tmp_path, data)
    dataset = import_file(path, calibration(crop_px=(64, 32)))
    np.testing.assert_array_equal(dataset.patterns[:, 0, 0], data[..., 60, 70].ravel())
    np.testing.assert_array_equal(dataset.patterns[:, -1, 2], data[..., 59, 72].ravel())
    assert dataset.patterns.shape == (12, 64, 32)
    assert dataset.grid.pixel_a == pytest.approx((1 / (64 * 0.05), 1 / (32 * 0.05)))
    assert dataset.mask.all()


def test_a_part_of_a_file_is_refused(tmp_path):
    path = write_hspy(tmp_path, disks())
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match="readable HSPY file"):
        import_file(path, calibration())


@pytest.mark.parametrize(
    "store,options",
    [
        (lambda d: np.swapaxes(d, -1, -2), {"transpose": True}),
        (lambda d: d[..., ::-1, :], {"flip_ky": True}),
        (lambda d: d[..., ::-1], {"flip_kx": True}),
        (lambda d: np.swapaxes(d[..., ::-1, :], -1, -2), {"transpose": True, "flip_ky": True}),
        (lambda d: np.moveaxis(d, (0, 1), (2, 3)), {"scan_last": True}),
    ],
)
def test_turned_detectors(store, options, tmp_path):
    data = disks((30, 37))
    plain = import_file(write_npy(tmp_path, data), calibration())
    turned = import_file(write_npy(tmp_path, store(data)), calibration(**options))
    np.testing.assert_array_equal(turned.patterns, plain.patterns)
    np.testing.assert_array_equal(turned.mask, plain.mask)


@pytest.mark.parametrize("shape", [(30, 37), (32, 33)])
@pytest.mark.parametrize("flip", [False, True])
def test_corner_centred_files(shape, flip, tmp_path):
    data = disks(shape, (shape[0] // 2, shape[1] // 2), radius=5)
    stored = data[..., ::-1, :] if flip else data
    # the FFT's order of what the detector shows: its own zero frequency is at (ny//2, nx//2) before the flip
    dataset = import_file(write_npy(tmp_path, np.fft.ifftshift(data, axes=(-2, -1))), calibration(corner=True))
    np.testing.assert_array_equal(dataset.patterns.reshape(data.shape), np.fft.ifftshift(data, axes=(-2, -1)))
    if flip:
        path = write_npy(tmp_path, np.fft.ifftshift(stored, axes=(-2, -1)))
        again = import_file(path, calibration(corner=True, flip_ky=True))
        good = again.mask > 0
        ky = np.fft.fftfreq(shape[0], 1 / shape[0]).astype(int)
        # reversed: k becomes -k (shifted by the even window's missing +Nyquist row)
        shift = 1 if shape[0] % 2 == 0 else 0
        reference = np.fft.ifftshift(stored, axes=(-2, -1)).reshape(-1, *shape)[:, (-ky) % shape[0]]
        np.testing.assert_array_equal(again.patterns[:, good], reference[:, good])
        assert (~good).sum() == shift * shape[1]


@pytest.mark.parametrize("detector,binning", [((64, 64), 2), ((60, 66), 3), ((65, 64), 2), ((64, 64), 4)])
def test_binning_keeps_counts_and_the_zero_frequency(detector, binning):
    """The frequencies of the bins, weighted by what is in them, are those of the pixels."""
    rng = np.random.default_rng(0)
    centre = tuple((n - 1) / 2 for n in detector)
    box = arrange.centred_box(detector, centre, None, binning)
    y, x = np.indices(detector)
    blob = rng.uniform(0.5, 1, detector) * (np.hypot(y - centre[0], x - centre[1]) < 20)
    cut = arrange.cut(blob[None], box)[0]
    assert cut.sum() == pytest.approx(blob.sum())
    ny, nx = box.shape
    rows, columns = (np.arange(n) - n // 2 for n in (ny, nx))
    found = [(cut.sum(axis=1 - a) * k).sum() / cut.sum() * binning for a, k in ((0, rows), (1, columns))]
    wanted = [(blob * (i - c)).sum() / blob.sum() for i, c in ((y, centre[0]), (x, centre[1]))]
    assert np.abs(np.subtract(found, wanted)).max() < 0.55  # half a raw pixel is the best that whole pixels allow


def test_the_disk_is_found_beside_hot_pixels():
    data = disks((61, 53), (25.0, 30.0), radius=9).astype(float).mean(axis=(0, 1))
    data[3, 50] = 1e6
    found = find_disk(data, np.ones(data.shape, bool))
    assert np.abs(np.subtract(found.centre_px, (25.0, 30.0))).max() < 0.5


def test_gain_and_threshold(tmp_path):
    data = disks().astype(np.float32) * 2.5
    plain = import_file(write_npy(tmp_path, disks()), calibration(centre_px=CENTRE))
    data[..., 0, :] = -0.7
    same = import_file(write_npy(tmp_path, data), calibration(counts_per_electron=2.5, threshold=0.1, centre_px=CENTRE))
    part = np.s_[:, -13:, :]  # without the row of dark noise
    np.testing.assert_allclose(same.patterns[part], plain.patterns[part], rtol=1e-6)
    assert same.patterns.min() == 0
    with pytest.raises(InputError, match="not negative"):
        import_file(write_npy(tmp_path, data), calibration(centre_px=CENTRE))


def test_a_mask_belongs_to_the_detectors_own_pixels(tmp_path):
    data = disks()
    bad = np.ones((SIDE, SIDE))
    bad[5, 9] = 0
    np.save(tmp_path / "mask.npy", bad)
    path = write_npy(tmp_path, data)
    dataset = import_file(path, calibration(transpose=True, centre_px=(17, 14)), mask=tmp_path / "mask.npy")
    assert dataset.mask[9 - 17, 5 - 14] == 0
    assert dataset.patterns[:, 9 - 17, 5 - 14].max() == 0


def test_positions_of_a_turned_raster():
    where = calibration(rotation_deg=90).positions_a((3, 4))
    assert where.mean(axis=0) == pytest.approx((0, 0))
    np.testing.assert_allclose(where[1] - where[0], (0.8, 0), atol=1e-12)  # x turned towards y
    np.testing.assert_allclose(where[4] - where[0], (0, -0.5), atol=1e-12)
    tilted = calibration(rotation_deg=30).positions_a((2, 2))
    np.testing.assert_allclose(tilted[1] - tilted[0], (0.4, 0.8 * np.sqrt(3) / 2), atol=1e-12)


def test_positions_and_probe_from_files(tmp_path):
    path = write_npy(tmp_path, disks())
    given = np.random.default_rng(0).uniform(0, 20, (12, 2))
    np.savetxt(tmp_path / "where.csv", given, delimiter=",")
    np.save(tmp_path / "probe.npy", np.ones((SIDE, SIDE), complex))
    known = calibration(step_a=None, semiangle_mrad=None)
    dataset = import_file(
        path, known, positions=tmp_path / "where.csv", positions_unit="px", probe=tmp_path / "probe.npy"
    )
    np.testing.assert_allclose(dataset.positions_a, given / (SIDE * 0.05))
    assert dataset.optics is None
    assert dataset.probe_guess.shape == (1, SIDE, SIDE)


def test_pixels_in_mrad():
    known = calibration(reciprocal_pixel=None, pixel_mrad=1.5)
    assert known.detector_pixel == pytest.approx((1.5e-3 / wavelength_a(200),) * 2)
    known = calibration(reciprocal_pixel=None, pixel_mrad=(1.5, 1.2))
    assert known.detector_pixel[1] == pytest.approx(1.2e-3 / wavelength_a(200))


def test_files_are_read_in_blocks(tmp_path, monkeypatch):
    from ptydesign.instruments import memory

    path = write_hspy(tmp_path, disks())
    whole = import_file(path, calibration())
    monkeypatch.setattr(memory, "block_bytes", lambda *_: 5 * 5 * SIDE * SIDE)
    np.testing.assert_array_equal(import_file(path, calibration()).patterns, whole.patterns)


@pytest.mark.parametrize(
    "changes,words",
    [
        ({"pixel_mrad": 1.0}, "either it"),
        ({"reciprocal_pixel": None}, "either it"),
        ({"step_a": None}, "scan step"),
        ({"scan_shape": (5, 5)}, "must be the file's own, 3,4"),
        ({"scan_shape": (5, 5), "reshape": True}, "12 patterns"),
        ({"centre_px": (40, 3)}, "on the detector"),
        ({"crop_px": (4, 4)}, "8 pixels"),
        ({"voltage_kv": -1}, "greater than 0"),
        ({"stepp_a": 1}, "step_a"),
        ({"voltage_kv": 200_000}, "voltage_kv: must be in kV, 1 to 3000; got 200000"),
        ({"semiangle_mrad": 0.02}, r"semiangle_mrad: must be in mrad, and not less than a detector pixel, 1\.25 mrad"),
        ({"semiangle_mrad": 214}, "semiangle_mrad: must be in mrad, below 200; got 214"),
        ({"step_a": (0.5, 0)}, "step_a: must be positive"),
        ({"step_a": (0.5,)}, "step_a"),
        ({"step_a": (0.5, float("nan"))}, "step_a.*finite"),
        ({"reciprocal_pixel": float("inf")}, "reciprocal_pixel.*finite"),
        ({"bin": 3}, r"bin: must divide the 32 x 32 pixels that are kept; got 3\. Give 2, or crop_px 30,30 with it"),
        ({"bin": 2, "crop_px": (30, 25)}, r"bin: must divide the 30 x 25 .*got 2\. Give 1, or crop_px 30,24 with it"),
    ],
)
def test_bad_calibrations(changes, words, tmp_path):
    path = write_npy(tmp_path, disks())
    with pytest.raises(InputError, match=words):
        import_file(path, calibration(**changes))


@pytest.mark.parametrize(
    "error,tries", [(NotImplementedError("Lazy loading is not supported."), 2), (TypeError("a fault of its own"), 1)]
)
def test_a_reader_that_cannot_be_lazy_reads_at_once(error, tries, tmp_path, monkeypatch):
    """Any other error of it is one."""
    from rsciio import hspy

    path, right, asked = write_hspy(tmp_path, disks()), hspy.file_reader, []

    def reader(filename, lazy=False, **options):
        asked.append(lazy)
        if lazy:
            raise error
        return right(filename, lazy=lazy, **options)

    monkeypatch.setattr("rsciio.hspy.file_reader", reader)
    if tries == 2:
        assert len(import_file(path, calibration()).patterns) == 12
    else:
        with pytest.raises(InputError, match=r"readable HSPY file.*TypeError: a fault of its own"):
            import_file(path, calibration())
    assert asked == [True, False][:tries]


def test_a_bin_of_a_crop_that_it_divides(tmp_path):
    dataset = import_file(write_npy(tmp_path, disks()), calibration(bin=3, crop_px=(30, 24)))
    assert dataset.grid.shape == (10, 8)


def test_bad_files(tmp_path):
    with pytest.raises(InputError, match="must exist"):
        import_file(tmp_path / "none.mib", calibration())
    (tmp_path / "notes.odt").write_text("no data")
    with pytest.raises(InputError, match="suffix of a known format"):
        import_file(tmp_path / "notes.odt", calibration())
    (tmp_path / "data.h5").write_text("no data")
    (tmp_path / "data.img").write_text("no data")
    with pytest.raises(InputError, match="several formats"):
        import_file(tmp_path / "data.img", calibration())
    with pytest.raises(InputError, match="readable"):
        import_file(f"{tmp_path / 'data.h5'}:x", calibration())
    with pytest.raises(InputError, match="HSPY"):
        import_file(tmp_path / "notes.odt", calibration(), format="hspi")
    np.save(tmp_path / "flat.npy", np.ones((4, 4)))
    with pytest.raises(InputError, match="real patterns"):
        import_file(tmp_path / "flat.npy", calibration())
    source = write_hdf5(tmp_path, disks())
    with pytest.raises(InputError, match="entry/frames"):
        read_array(source.replace("frames", "frame"))


def test_the_command_and_its_options(tmp_path, capsys):
    assert set(CALIBRATION) == set(Calibration.model_fields)
    path, out = write_blo(tmp_path, disks()), tmp_path / "data.h5"
    (tmp_path / "c.yaml").write_text("voltage_kv: 200\nreciprocal_pixel: 0.05\nstep_a: [9, 9]\n")
    options = ["--calibration", str(tmp_path / "c.yaml"), "--semiangle-mrad", "20", "--step-a", "0.5,0.8"]
    assert main(["import", str(path), "-o", str(out), *options]) == 0
    assert "12 patterns of 32 x 32 px" in capsys.readouterr().out
    dataset = read_dataset(out)
    np.testing.assert_array_equal(dataset.patterns, expected(disks())[0])
    np.testing.assert_allclose(dataset.positions_a[1] - dataset.positions_a[0], (0, 0.8))
    before = out.read_bytes()
    assert main(["import", str(path), "-o", str(out), *options]) == 2
    assert main(["import", str(path), "-o", str(out), *options, "--overwrite", "--scan-shape", "7"]) == 2
    assert out.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []
