"""Told and found, side by side in `ptydesign show`; memory of `show` and `export`."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import scans

from ptydesign import diagnostics, io
from ptydesign.cli import main
from ptydesign.errors import InputError
from ptydesign.instruments.estimate.scan import oriented
from ptydesign.io import read_dataset
from ptydesign.pictures import told
from ptydesign.pictures.draw import show


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    """A scan turned by 30 deg at 15 nm, told as 0 deg, 12 nm and 24 mrad for 22."""
    folder = tmp_path_factory.mktemp("told")
    scan = scans.scanned("atoms", (22, 20), rotation_deg=30.0, electrons=8000)
    np.save(folder / "scan.npy", scan.patterns)
    told_options = ["--voltage-kv", "80", "--step-a", "1.2", "--pixel-mrad", "1.6", "--semiangle-mrad", "24"]
    arguments = ["import", str(folder / "scan.npy"), "-o", str(folder / "data.h5"), *told_options]
    assert main([*arguments, "--defocus-nm", "12"]) == 0
    return folder / "data.h5"


def table(dataset):
    disk = diagnostics.found_disk(dataset)
    fitted, deflected = oriented(dataset, diagnostics.found_radius(dataset, disk))
    return {name: (one, other) for name, one, other in told.rows(dataset, disk, fitted, deflected)}


def test_told_and_found_stand_side_by_side(imported):
    rows = table(read_dataset(imported))
    assert rows["Aperture (mrad)"][0] == "24"
    assert float(rows["Aperture (mrad)"][1].split(" ")[0]) == pytest.approx(22, rel=0.01)
    assert rows["Rotation (deg), sideband"][0] == "0"
    assert float(rows["Rotation (deg), sideband"][1].split(" ")[0]) == pytest.approx(30, abs=1.5)
    assert float(rows["Defocus, mid-specimen (nm)"][1].split(" ")[0]) == pytest.approx(15, rel=0.1)
    assert rows["Mirrored, sideband"] == ("no", "no")


def test_what_cannot_be_known_is_written_as_such(imported):
    dataset = read_dataset(imported)
    flat = np.broadcast_to(dataset.patterns.mean(axis=0), dataset.patterns.shape)
    empty = np.random.default_rng(0).poisson(flat).astype(np.float32)
    rows = table(dataclasses.replace(dataset, patterns=empty))
    assert rows["Rotation (deg), sideband"][1] == "can't be known"
    assert rows["Defocus, mid-specimen (nm)"][1] == "can't be known"


def test_the_found_disk_is_not_the_nominal_one(imported):
    numbers = diagnostics.sampling_metrics(read_dataset(imported))
    assert numbers["bright_field_radius_mrad"] == pytest.approx(24)
    assert numbers["bright_field_radius_found_mrad"] == pytest.approx(22, rel=0.01)


def test_a_hot_pixel_or_a_bad_frame_is_doubted_before_a_reconstruction(imported):
    dataset = read_dataset(imported)
    assert diagnostics.doubts(dataset) == []
    hot, bright = dataset.patterns.copy(), dataset.patterns.copy()
    hot[:, 3, 60] = 5000
    bright[77] *= 10
    (words,) = diagnostics.doubts(dataclasses.replace(dataset, patterns=hot))
    assert "hot" in words
    assert "3,60" in words
    (words,) = diagnostics.doubts(dataclasses.replace(dataset, patterns=bright))
    assert "numbers 77" in words


def test_show_leaves_large_patterns_on_the_disk(imported, tmp_path, monkeypatch):
    asked, read = [], io.read_dataset

    def watched(file, mapped=False):
        asked.append(mapped)
        return read(file, mapped)

    monkeypatch.setattr(io, "read_dataset", watched)
    monkeypatch.setattr("ptydesign.pictures.draw.KINDS", {"dataset": {}})
    show(imported, tmp_path / "p")
    show(imported, tmp_path / "p", memory_gib=1e-3)
    assert asked == [False, True]
    with pytest.raises(InputError, match="memory_gib"):
        show(imported, tmp_path / "p", memory_gib=-1)


def test_export_says_when_memory_is_too_small(tmp_path, imported):
    arrays = {"state/object": io.Array(np.zeros((1, 8, 8), complex), "", "")}
    io.write_hdf5(tmp_path / "out.h5", "reconstruction", arrays, {})
    assert main(["export", str(tmp_path / "out.h5"), str(tmp_path / "a.tif"), "--memory-gib", "1e-7"]) == 2
    assert not (tmp_path / "a.tif").exists()
