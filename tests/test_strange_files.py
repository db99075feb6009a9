"""A stranger's HDF5 file: only what is known is read, and nothing outside of it."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest
import toy
import yaml
from strange_files import endless

from ptydesign import io, readable
from ptydesign.cli import main
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


def attributed(file, **changed):
    """With changed values of the JSON attributes; `__` leads into a mapping."""
    content = json.loads(file.attrs["attributes"])
    for name, value in changed.items():
        *holders, last = name.split("__")
        inner = content
        for holder in holders:
            inner = inner[holder]
        inner[last] = value
    file.attrs["attributes"] = json.dumps(content)


SAID = {
    "a list": (lambda f: f.attrs.update(attributes="[1, 2]"), "attributes: must be a JSON mapping"),
    "null": (lambda f: f.attrs.update(attributes="null"), "attributes: must be a JSON mapping"),
    "a number": (lambda f: f.attrs.update(attributes="3"), "attributes: must be a JSON mapping"),
    "text": (lambda f: f.attrs.update(attributes='"voltage_kv"'), "attributes: must be a JSON mapping"),
    "no text": (lambda f: f.attrs.update(attributes=np.arange(3)), "complete HDF5 file"),
    "deep": (lambda f: f.attrs.update(attributes="[" * 20_000), "complete HDF5 file"),
    "no attributes": (lambda f: f.attrs.pop("attributes"), "complete HDF5 file"),
    "counts in words": (lambda f: attributed(f, electrons_per_pattern="x"), "electrons_per_pattern: must be a number"),
    "negative counts": (lambda f: attributed(f, electrons_per_pattern=-3), "electrons_per_pattern: must be 0 to"),
    "counts beyond": (lambda f: attributed(f, electrons_per_pattern=1e300), "electrons_per_pattern: must be 0 to"),
    "tiny pixel": (lambda f: attributed(f, pixel_a=[1e-300, 0.5]), "dataset.pixel_a: must be .* 0.001 to 10000"),
    "huge pixel": (lambda f: attributed(f, pixel_a=[0.5, 1e300]), "dataset.pixel_a: must be .* 0.001 to 10000"),
    "pixel of text": (lambda f: attributed(f, pixel_a=["0.5", "0.5"]), "dataset.pixel_a: must be a number"),
    "one pixel": (lambda f: attributed(f, pixel_a=0.5), "dataset.pixel_a: must be a list"),
    "defocus": (
        lambda f: attributed(f, optics__defocus_a=1e300),
        "defocus_a: must be finite, and at most 1e.10",
    ),
    "long number": (lambda f: attributed(f, voltage_kv=10**400), "voltage_kv: must be a number that a computer can"),
    "provenance": (lambda f: attributed(f, provenance=[1]), "dataset.provenance: must be a mapping"),
    "calibration": (
        lambda f: attributed(f, provenance={"calibration": 5}),
        "provenance.calibration: must be a mapping",
    ),
    "schema below": (lambda f: f.attrs.update(schema=-1), "schema: must be a whole number"),
    "schema of text": (lambda f: f.attrs.update(schema="one"), "schema: must be a whole number"),
    "schema beyond": (lambda f: f.attrs.update(schema=io.SCHEMA + 1), "Update ptydesign"),
}


@pytest.mark.parametrize("name", SAID)
def test_attributes_of_a_stranger_are_refused_in_a_sentence(name, dataset):
    io.read_dataset(dataset)
    change, words = SAID[name]
    with h5py.File(dataset, "a") as file:
        change(file)
    for read in (io.read_dataset, io.read_dataset_header):
        if read is io.read_dataset or "must be a number" in words or "complete" in words:
            with pytest.raises(InputError, match=words):
                read(dataset)


def test_a_dataset_needs_no_schema(dataset):
    with h5py.File(dataset, "a") as file:
        del file.attrs["schema"]
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


def without_hashes(path):
    """As a file that somebody changed without a word: its state is another one, and nothing tells."""
    with h5py.File(path, "a") as file:
        file["state/object"][...] = file["state/object"][()] * np.exp(0.5j)
        del file.attrs["hash"]
        file.visititems(lambda _, item: item.attrs.pop("hash", None))


def test_a_reconstruction_without_its_hash_is_refused(tmp_path, capsys):
    data, _ = toy.experiment(shape=(16, 20), steps=(4, 5))
    plan = {"engines": [{"engine": "epie", "sweeps": 2, "group": 4}]}
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(plan))
    io.write_dataset(tmp_path / "data.h5", data)
    made = [str(tmp_path / name) for name in ("data.h5", "plan.yaml", "out.h5", "saved.h5", "o.tif")]
    data_file, plan_file, out, saved, picture = made
    run = ["reconstruct", data_file, plan_file, "-o", out, "--quiet", "--overwrite"]
    assert main([*run, "--checkpoint", saved, "--checkpoint-every", "1"]) == 0
    for path in (out, saved):
        without_hashes(path)
    capsys.readouterr()
    readers = {out: (["export", out, picture], ["show", out, "-o", picture]), saved: ([*run, "--resume", saved],)}
    for path, commands in readers.items():
        for command in commands:
            assert main(command) == 2, command
            said = capsys.readouterr().err
            assert said.startswith(f"error: {path}: must hold what was written; got 'it has no hash"), said
            assert "run the command that made it again" in said


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


@pytest.mark.parametrize("words", [("show", "-o"), ("import", "-o"), ("export",)])
def test_a_file_that_hdf5_finds_no_end_in_is_refused(words, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(readable, "MOST_S", 1)
    endless(tmp_path / "data.h5")
    command, *option = words
    told = (
        ["--voltage-kv", "80", "--step-a", "1", "--semiangle-mrad", "20", "--pixel-mrad", "2"]
        if command == "import"
        else []
    )
    assert main([command, str(tmp_path / "data.h5"), *option, str(tmp_path / "out"), *told]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {tmp_path / 'data.h5'}: must be a file that the HDF5 library can read; got 'no end")
    assert not (tmp_path / "out").exists()


def test_files_are_looked_at_together(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(readable, "MOST_S", 1)
    (tmp_path / "text.h5").write_text("no HDF5")
    for name in ("a.h5", "c.h5"):
        endless(tmp_path / name)
    names = ("a.h5", dataset.name, "c.h5", "text.h5", "none.h5")
    found = readable.unreadable(tmp_path / name for name in names)
    assert found == {tmp_path / name: "no end in 1 s" for name in ("a.h5", "c.h5")}
