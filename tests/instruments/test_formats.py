"""The same patterns in every kind of file: the same dataset; broken files and missing parts are named."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
import tifffile
from scipy.io import savemat

from ptydesign.config import build
from ptydesign.errors import InputError
from ptydesign.instruments.calibration import Calibration
from ptydesign.instruments.convert import import_file
from ptydesign.instruments.files import read_array, read_frames

SCAN, PIXELS = (3, 4), (28, 36)


def patterns():
    """(3, 4, 28, 36) uint16: no symmetry of scan or detector leaves them as they are."""
    y, x = np.indices(PIXELS)
    disk = np.where(np.hypot(y - 14, x - 18) < 7, 200 + 5 * (y > 14) + 3 * (x > 20), 4)
    return (disk + np.arange(12).reshape(3, 4, 1, 1)).astype(np.uint16)


def calibration(**changes):
    known = {"voltage_kv": 200, "semiangle_mrad": 7 * 0.05 * 25.0795, "step_a": 0.5, "reciprocal_pixel": 0.05}
    return build(Calibration, known | {"centre_px": (14, 18)} | changes, "calibration")


def expected():
    return np.fft.ifftshift(patterns(), axes=(2, 3)).reshape(12, *PIXELS)


def npz(folder):
    np.savez_compressed(folder / "data.npz", dp=patterns(), positions=np.zeros((12, 2)))
    return folder / "data.npz", {}


def mat5(folder):
    savemat(folder / "data.mat", {"dp": patterns().transpose(2, 3, 0, 1), "lambda": 0.025})
    return folder / "data.mat", {}


def mat5_in_a_row(folder):
    savemat(folder / "data.mat", {"dp": patterns().reshape(12, *PIXELS).transpose(1, 2, 0)})
    return folder / "data.mat", {"scan_shape": SCAN}


def mat73(folder):
    """MATLAB's order of axes in HDF5 is the reverse of its own; a header of 512 bytes comes first."""
    with h5py.File(folder / "data.mat", "w", userblock_size=512) as file:
        file["dp"] = patterns().transpose(2, 3, 0, 1).T
    return f"{folder / 'data.mat'}:dp", {}


def tiff(folder):
    tifffile.imwrite(folder / "stack.tif", patterns().reshape(12, *PIXELS))
    return folder / "stack.tif", {"scan_shape": SCAN}


def packed_tiff(folder):
    tifffile.imwrite(
        folder / "stack.tiff", patterns().reshape(12, *PIXELS), compression="zlib", photometric="minisblack"
    )
    return folder / "stack.tiff", {"scan_shape": SCAN}


def folder_of_tiffs(folder):
    (folder / "frames").mkdir()
    for number, frame in enumerate(patterns().reshape(12, *PIXELS), 1):
        tifffile.imwrite(folder / "frames" / f"frame_{number}.tif", frame)  # 10 comes after 9, not after 1
    return folder / "frames", {"scan_shape": SCAN}


def folder_of_arrays(folder):
    (folder / "frames").mkdir()
    for number, frame in enumerate(patterns().reshape(12, *PIXELS)):
        np.save(folder / "frames" / f"{number:04d}.npy", frame)
    return folder / "frames", {"scan_shape": SCAN}


def scan_last(folder):
    np.save(folder / "data.npy", patterns().transpose(2, 3, 0, 1))
    return folder / "data.npy", {"scan_last": True}


def scan_last_in_hdf5(folder):
    with h5py.File(folder / "data.h5", "w") as file:
        file["a/b"] = patterns().transpose(2, 3, 0, 1)
    return folder / "data.h5", {"scan_last": True}


def fortran(folder):
    np.save(folder / "data.npy", np.asfortranarray(patterns()))
    return folder / "data.npy", {}


def py4dstem(folder):
    with h5py.File(folder / "cube.h5", "w") as file:
        file.create_dataset("datacube_root/datacube/data", data=patterns(), chunks=(1, 1, *PIXELS), compression="gzip")
        file["datacube_root/datacube/dim0"] = np.arange(3)
    return folder / "cube.h5", {}


def dectris(folder, linked=True):
    """A master file with links to the frames, and a mask whose zeros are good."""
    frames = patterns().reshape(12, *PIXELS).astype(np.uint32)
    frames[:, 2, 5] = 2**32 - 1
    with h5py.File(folder / "run_master.h5", "w") as master:
        group = master.create_group("entry/data")
        for number, part in enumerate((frames[:7], frames[7:]), 1):
            name = f"run_data_{number:06d}.h5"
            if linked:
                with h5py.File(folder / name, "w") as file:
                    file["entry/data/data"] = part
            group[f"data_{number:06d}"] = h5py.ExternalLink(name, "entry/data/data")
        mask = np.zeros(PIXELS, np.uint32)
        mask[2, 5] = 8
        master["entry/instrument/detector/detectorSpecific/pixel_mask"] = mask
        master["entry/instrument/beam/incident_energy"] = 200e3
    return folder / "run_master.h5", {"scan_shape": SCAN}


def zarr_store(folder):
    zarr = pytest.importorskip("zarr")
    store = zarr.open(str(folder / "data.zarr"), mode="w")
    store["dp"] = patterns()
    return folder / "data.zarr", {}


FILES = [npz, mat5, mat5_in_a_row, mat73, tiff, packed_tiff, folder_of_tiffs, folder_of_arrays, scan_last]
FILES += [scan_last_in_hdf5, fortran, py4dstem, zarr_store]


@pytest.mark.parametrize("write", FILES)
def test_every_kind_of_file_gives_the_same_dataset(write, tmp_path):
    path, changes = write(tmp_path)
    dataset = import_file(path, calibration(**changes), memory_gib=1e-3)
    np.testing.assert_array_equal(dataset.patterns, expected())
    assert dataset.mask.all()
    np.testing.assert_array_equal(dataset.positions_a, calibration().positions_a(SCAN))


def test_a_dectris_master_file(tmp_path):
    path, changes = dectris(tmp_path)
    dataset = import_file(path, calibration(**changes))
    good = np.ones(PIXELS)
    good[2, 5] = 0
    np.testing.assert_array_equal(dataset.mask, np.fft.ifftshift(good))
    np.testing.assert_array_equal(dataset.patterns, expected() * dataset.mask)
    assert dataset.provenance["offered"] == {"voltage_kv": 200.0}
    with pytest.raises(InputError, match=r"entry/data/data_000001 \(7 x 28 x 36 uint32\)"):
        read_frames(f"{path}:entry/dat")


def test_a_dectris_master_file_alone(tmp_path):
    path, _ = dectris(tmp_path, linked=False)
    for source in (path, f"{path}:entry/data/data_000001"):
        with pytest.raises(InputError, match=r"lies in another file, which must be here; got 'run_data_000001.h5'"):
            read_frames(source)


def test_a_filter_that_is_missing_is_named(tmp_path, monkeypatch):
    path, _ = py4dstem(tmp_path)
    monkeypatch.setattr(h5py.h5z, "filter_avail", lambda code: False)
    with pytest.raises(InputError, match=r"filter that is not installed \(1\); got 'deflate'.*ptydesign\[formats\]"):
        read_frames(path)


def test_frames_that_a_detector_packed_with_bitshuffle(tmp_path):
    hdf5plugin = pytest.importorskip("hdf5plugin")
    with h5py.File(tmp_path / "packed.h5", "w") as file:
        frames = patterns().reshape(12, *PIXELS)
        file.create_dataset("entry/data/data_000001", data=frames, chunks=(1, *PIXELS), **hdf5plugin.Bitshuffle())
    dataset = import_file(tmp_path / "packed.h5", calibration(scan_shape=SCAN))
    np.testing.assert_array_equal(dataset.patterns, expected())


@pytest.mark.parametrize("dtype", ["<u2", ">u2", "<f4", "uint8"])
@pytest.mark.parametrize("offset,gap,footer", [(0, 0, 0), (100, 0, 7), (16, 40, 0), (0, 512, 8)])
def test_raw_binaries(dtype, offset, gap, footer, tmp_path):
    path = tmp_path / "scan.raw"
    frames = (patterns().reshape(12, *PIXELS) % 251).astype(dtype)
    with path.open("wb") as file:
        file.write(b"h" * offset)
        for number, frame in enumerate(frames):
            file.write(frame.tobytes())
            file.write(b"g" * (gap if number < 11 else 0))
        file.write(b"f" * footer)
    layout = f"dtype={dtype},pixels=28x36,offset={offset},gap={gap},footer={footer}"
    found = read_frames(path, layout=layout)
    assert found.count == 12
    np.testing.assert_array_equal(found.take(np.array([0, 5, 6, 11])), frames[[0, 5, 6, 11]])
    with pytest.raises(InputError, match="must hold whole frames"):
        read_frames(path, layout=layout.replace("28x36", "28x37"))
    with pytest.raises(InputError, match=r"its layout must be known.*--raw"):
        read_frames(path)


@pytest.mark.parametrize(
    "text", ["dtype=uint16", "pixels=4x4", "dtype=complex,pixels=4", "size=3", "dtype=u2,pixels=4,gap=-1"]
)
def test_layouts_that_cannot_be(text, tmp_path):
    (tmp_path / "scan.raw").write_bytes(b"0" * 64)
    with pytest.raises(InputError, match="raw"):
        read_frames(tmp_path / "scan.raw", layout=text)


def test_empad_files_with_other_names_and_without_xml(tmp_path):
    whole = np.zeros((12, 130, 128), "<f4")
    whole[:, :28, :36] = patterns().reshape(12, *PIXELS)
    whole[:, 128:] = 7e8
    whole.tofile(tmp_path / "MoS2.raw")
    scan = (
        '<scan_parameters mode="{}"><scan_resolution_x>{}</scan_resolution_x><scan_resolution_y>{}</scan_resolution_y>'
    )
    scan += "</scan_parameters>"
    text = '<root><raw_file filename="{}"/>' + scan.format("search", 64, 64) + scan.format("acquire", 4, 3) + "</root>"
    (tmp_path / "MoS2.xml").write_text(text.format("MoS2.raw"))
    by_xml = import_file(tmp_path / "MoS2.xml", calibration(crop_px=PIXELS))
    np.testing.assert_array_equal(by_xml.patterns, expected())
    by_layout = read_frames(tmp_path / "MoS2.raw", layout="empad")
    assert by_layout.pixels == (128, 128)
    np.testing.assert_array_equal(by_layout.read(3, 5), whole[3:5, :128])
    (tmp_path / "other.xml").write_text(text.format("lost.raw"))
    with pytest.raises(InputError, match=r"lost\.raw"):
        read_frames(tmp_path / "other.xml")


def test_abtem_measurements_offer_their_calibration(tmp_path):
    """abTEM's axes are x, y, kx, ky."""
    zarr = pytest.importorskip("zarr")

    def axis(label, units, sampling):
        return {"label": label, "units": units, "sampling": sampling}

    axes = [axis("x", "Å", 0.4), axis("y", "Å", 0.6), axis("kx", "1/Å", 0.05), axis("ky", "1/Å", 0.04)]
    store = zarr.open(str(tmp_path / "m.zarr"), mode="w")
    store["array0"] = patterns().transpose(1, 0, 3, 2)
    store.attrs["metadata0"] = {
        "data_origin": "abTEM_v1.0.11",
        "energy": 80e3,
        "semiangle_cutoff": 21,
        "axes": {f"axis_{i}": a for i, a in enumerate(axes)},
        "kwargs": {"fftshift": True},
    }
    frames = read_frames(tmp_path / "m.zarr")
    assert frames.scan == SCAN
    np.testing.assert_array_equal(frames.read(0, 12), patterns().reshape(12, *PIXELS))
    np.testing.assert_array_equal(frames.read(5, 7), patterns().reshape(12, *PIXELS)[5:7])
    wanted = {"voltage_kv": 80.0, "semiangle_mrad": 21.0, "step_a": [0.6, 0.4], "reciprocal_pixel": [0.04, 0.05]}
    assert frames.offered == wanted


def test_files_with_several_arrays_ask_which(tmp_path):
    np.savez(tmp_path / "two.npz", a=patterns(), b=patterns())
    with pytest.raises(InputError, match=r"two.npz:NAME \(a, b\)"):
        read_frames(tmp_path / "two.npz")
    assert read_frames(f"{tmp_path / 'two.npz'}:b").count == 12
    with h5py.File(tmp_path / "two.h5", "w") as file:
        file["x/a"], file["b"] = patterns(), patterns()
    with pytest.raises(InputError, match=r"FILE:NAME; it holds b \(3 x 4 x 28 x 36 uint16\), x/a"):
        read_frames(tmp_path / "two.h5")


def test_folders_that_are_no_scan(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="must hold files with a frame each"):
        read_frames(tmp_path / "empty")
    path, _ = folder_of_arrays(tmp_path)
    np.save(path / "0005.npy", np.zeros((3, 3)))
    with pytest.raises(InputError, match=r"0005.npy: must have the \(28, 36\) pixels of 0000.npy"):
        read_frames(path).read(0, 12)
    tifffile.imwrite(path / "a.tif", np.zeros(PIXELS))
    with pytest.raises(InputError, match="files of one kind"):
        read_frames(path)


def test_files_that_end_early(tmp_path):
    path, _ = npz(tmp_path)
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(InputError, match=r"data\.npz: must hold an array"):
        read_frames(path)
    np.save(tmp_path / "data.npy", patterns())
    whole = (tmp_path / "data.npy").read_bytes()
    (tmp_path / "data.npy").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="must be complete"):
        read_frames(tmp_path / "data.npy")


def test_small_arrays_of_many_files(tmp_path):
    mask = np.eye(5)
    np.savez(tmp_path / "m.npz", mask=mask)
    savemat(tmp_path / "m.mat", {"mask": mask})
    tifffile.imwrite(tmp_path / "m.tif", mask)
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["a/mask"] = mask
    for source in ("m.npz", "m.npz:mask", "m.mat", "m.tif", "m.h5:a/mask"):
        np.testing.assert_array_equal(read_array(tmp_path / source), mask)
