"""A stranger's HDF5 file: only what is known is read, and nothing outside of it."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
import toy

from ptydesign import io
from ptydesign.errors import InputError
from ptydesign.instruments import files


@pytest.fixture
def dataset(tmp_path):
    """A good dataset of another program, without hashes."""
    path = tmp_path / "data.h5"
    io.write_dataset(path, toy.experiment(shape=(16, 20), steps=(4, 5))[0])
    with h5py.File(path, "a") as file:
        del file.attrs["hash"]
        file.visititems(lambda _, item: item.attrs.pop("hash", None))
    return path


@pytest.fixture
def secret(tmp_path):
    """A file of the user's, beside which nothing of the stranger lies."""
    path = tmp_path / "home" / "secret.bin"
    path.parent.mkdir()
    path.write_bytes(bytes(range(256)) * 400)
    with h5py.File(path.with_suffix(".h5"), "w") as file:
        file["scan"] = np.ones((20, 16, 20))
    return path


def virtual(file, name, source, shape):
    layout = h5py.VirtualLayout(shape, "f8")
    layout[:] = h5py.VirtualSource(source, "scan", shape)
    file.create_virtual_dataset(name, layout)


def linked(file, name, source, inside):
    file[name] = h5py.ExternalLink(source, inside)


PUT = {
    "group": (lambda f, s: f.create_group("patterns/inside"), "patterns: must be an array; got 'a group of inside'"),
    "text": (lambda f, s: f.__setitem__("patterns", ["a", "b"]), "must be an array of numbers; got 'text'"),
    "complex": (lambda f, s: f.__setitem__("patterns", np.ones((20, 16, 20), complex)), "must be real numbers"),
    "axes": (lambda f, s: f.__setitem__("patterns", np.ones((20, 320))), "must be .position, ky, kx."),
    "bytes of another file": (
        lambda f, s: f.create_dataset("patterns", (20, 16, 20), "u1", external=[(str(s), 0, 6400)]),
        "must lie in the file itself, not in another one; got '.*secret.bin'",
    ),
    "virtual": (
        lambda f, s: virtual(f, "patterns", str(s.with_suffix(".h5")), (20, 16, 20)),
        "must lie in the file itself, not in another one; got '.*secret.h5'",
    ),
    "link": (lambda f, s: linked(f, "patterns", str(s.with_suffix(".h5")), "scan"), "must be in the file itself"),
    "soft link": (lambda f, s: f.__setitem__("patterns", h5py.SoftLink("/mask")), "must be in the file itself"),
}


@pytest.mark.parametrize("name", PUT)
def test_what_stands_in_the_place_of_patterns_is_refused(name, dataset, secret):
    put, words = PUT[name]
    with h5py.File(dataset, "a") as file:
        del file["patterns"]
        put(file, secret)
    with pytest.raises(InputError, match=words):
        io.read_dataset(dataset)


@pytest.mark.parametrize("name", ["positions", "mask", "background"])
def test_an_array_of_another_size_is_refused_before_it_is_read(name, dataset):
    with h5py.File(dataset, "a") as file:
        file.pop(name, None)
        file.create_dataset(name, (10**9, 2), "f8", chunks=(1000, 2))  # 16 GB, of which nothing is on the disk
    with pytest.raises(InputError, match=r"1000000000, 2"):
        io.read_dataset(dataset)


def test_what_is_not_known_is_not_read(dataset):
    good = io.read_dataset(dataset)
    with h5py.File(dataset, "a") as file:
        file.create_dataset("junk", (10**6, 4096, 4096), "f8", chunks=(1, 64, 64))
        file["words"] = "anything"
        linked(file, "elsewhere", "/etc/hostname", "x")
    np.testing.assert_array_equal(io.read_dataset(dataset).patterns, good.patterns)


def test_a_dataset_that_was_changed_is_said(tmp_path):
    path = tmp_path / "data.h5"
    io.write_dataset(path, toy.experiment(shape=(16, 20), steps=(4, 5))[0])
    with h5py.File(path, "a") as file:
        file["positions"][0] += 0.5
    with pytest.warns(UserWarning, match="does not hold what ptydesign wrote"):
        io.read_dataset(path)
    with pytest.raises(InputError, match="must hold what was written"):
        io.read_dataset(path, of="")


@pytest.mark.parametrize("way", ["link", "virtual", "bytes", "group"])
def test_import_reads_nothing_outside_the_files_folder(way, tmp_path, secret):
    path = tmp_path / "theirs" / "scan.h5"
    path.parent.mkdir()
    target = str(secret.with_suffix(".h5"))
    with h5py.File(path, "w") as file:
        if way == "link":
            linked(file, "entry/data", target, "scan")
        elif way == "virtual":
            virtual(file, "entry/data", "../home/secret.h5", (20, 16, 20))
        elif way == "bytes":
            file.create_dataset("entry/data", (20, 16, 20), "u1", external=[(str(secret), 0, 6400)])
        else:
            linked(file, "entry", target, "/")
    with pytest.raises(InputError, match=r"must lie in it, or in a file of its folder|bytes of another file"):
        files.read_frames(path)


def test_import_follows_links_to_files_beside_it(tmp_path):
    with h5py.File(tmp_path / "scan_data.h5", "w") as file:
        file["scan"] = np.arange(20 * 16 * 20, dtype=np.uint16).reshape(20, 16, 20)
    with h5py.File(tmp_path / "master.h5", "w") as file:
        linked(file, "entry/data/data_000001", "scan_data.h5", "scan")
    assert files.read_frames(tmp_path / "master.h5").count == 20
