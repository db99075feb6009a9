"""Halves of the data: independent, complete, and their ring correlation."""

from __future__ import annotations

import csv
import dataclasses

import numpy as np
import pytest
import toy

from ptydesign import api, io
from ptydesign.cli import main
from ptydesign.errors import InputError
from ptydesign.halves import reconstruct_halves
from ptydesign.reconstruct.split import SPLITS, split_counts, split_positions
from ptydesign.score.halves import compare_halves
from ptydesign.score.metrics import FrcCurve


@pytest.fixture(scope="module")
def data():
    return toy.experiment(shape=(24, 32), steps=(11, 13), dose=2e4)[0]


def test_halves_by_positions_are_neighbours_and_none_is_lost(data):
    first, second = split_positions(data, 3)
    together = np.concatenate([first.positions_a, second.positions_a])
    assert sorted(map(tuple, together)) == sorted(map(tuple, data.positions_a))
    assert len(second.positions_a) - len(first.positions_a) in (0, 1)
    # no half has a hole: the nearest of the other half is about a step away
    distance = np.hypot(*(first.positions_a[:, None] - second.positions_a[None]).transpose(2, 0, 1)).min(axis=1)
    assert distance.max() < 2 * 1.2
    same, other = split_positions(data, 3)[0], split_positions(data, 4)[0]
    np.testing.assert_array_equal(first.positions_a, same.positions_a)
    assert not np.array_equal(first.positions_a, other.positions_a)


def test_halves_by_counts_are_independent_poisson(data):
    flat = dataclasses.replace(data, patterns=np.random.default_rng(0).poisson(3.0, data.patterns.shape).astype(float))
    first, second = split_counts(flat, 0)
    np.testing.assert_array_equal(first.patterns + second.patterns, flat.patterns)
    a, b = first.patterns.ravel(), second.patterns.ravel()
    assert a.mean() == pytest.approx(1.5, rel=0.01)
    assert a.var() == pytest.approx(1.5, rel=0.02)
    assert abs(np.corrcoef(a, b)[0, 1]) < 4 / np.sqrt(a.size)
    with pytest.raises(InputError, match="whole counts"):
        split_counts(dataclasses.replace(data, patterns=data.patterns + 0.3), 0)


@pytest.fixture(scope="module")
def state(data):
    return api.reconstruct_dataset(data, plan(8), progress=False).state


def plan(sweeps):
    return api.make_plan(engines=[{"engine": "lsqml", "sweeps": sweeps, "group": 32}])


def test_a_reconstruction_agrees_with_itself(state):
    agreement = compare_halves(state, state)
    np.testing.assert_allclose(agreement.frc_curve.frc, 1, atol=1e-6)
    np.testing.assert_allclose(agreement.shift_a, 0, atol=1e-6)


def test_a_shift_a_ramp_and_another_canvas_are_removed(state):
    """Moved by (2.3, -1.4) px on a canvas that begins elsewhere, with another phase and slope."""
    object_ = np.asarray(state.object)
    fy, fx = (np.fft.fftfreq(n) for n in object_.shape[-2:])
    factor = np.exp(-2j * np.pi * (2.3 * fy[:, None] - 1.4 * fx[None, :]))
    y, x = np.indices(object_.shape[-2:])
    moved = np.fft.ifft2(np.fft.fft2(object_) * factor) * np.exp(1j * (0.02 * y - 0.01 * x + 1.0))
    moved = np.pad(moved, ((0, 0), (5, 0), (3, 0)), mode="edge")
    other = state.replace(
        object=moved,
        origin_a=np.asarray(state.origin_a) - np.array([5, 3]) * 0.3,
        positions_px=np.add(state.positions_px, [5, 3]),
    )
    agreement = compare_halves(state, other, max_shift_a=1.2)
    np.testing.assert_allclose(agreement.shift_a, (-2.3 * 0.3, 1.4 * 0.3), atol=0.02)
    signal = agreement.frc_curve.q < 0.8  # the object has nothing beyond
    assert agreement.frc_curve.frc[signal].min() > 0.99


def test_noise_does_not_agree(state):
    rng = np.random.default_rng(0)
    noise = [state.replace(object=np.exp(1j * rng.normal(0, 0.1, state.object.shape))) for _ in range(2)]
    curve = compare_halves(*noise).frc_curve
    assert abs(curve.area(curve.nyquist)) < 0.1


def test_halves_that_cannot_be_compared(state):
    with pytest.raises(InputError, match="same pixels"):
        compare_halves(state, state.replace(pixel_a=np.array([0.2, 0.3])))
    far = state.replace(origin_a=np.asarray(state.origin_a) + 100)
    with pytest.raises(InputError, match="in common"):
        compare_halves(state, far)


@pytest.mark.parametrize("split", SPLITS)
def test_noisy_halves_agree_up_to_the_aperture(split, data):
    first, second, agreement = reconstruct_halves(data, plan(15), split, progress=False)
    assert first.provenance["data"]["half"]["by"] == second.provenance["data"]["half"]["by"] == split
    curve = agreement.frc_curve
    assert curve.frc[curve.q < 0.6].min() > 0.8
    assert abs(curve.frc[curve.q > 1.3].mean()) < 0.25  # beyond twice the aperture there is only noise


@pytest.mark.parametrize("split", SPLITS)
def test_halves_of_patterns_on_the_disk(split, data, tmp_path, monkeypatch):
    """Block by block, the same as in memory; nothing is left in the folder."""
    counts = dataclasses.replace(data, patterns=np.rint(data.patterns).astype(np.float32))
    io.write_dataset(tmp_path / "data.h5", counts)
    mapped = io.read_dataset(tmp_path / "data.h5", mapped=True)
    whole = SPLITS[split](counts, 5)
    monkeypatch.setattr("ptydesign.reconstruct.split.BLOCK", 20)
    for one, other in zip(whole, SPLITS[split](mapped, 5, tmp_path), strict=True):
        assert isinstance(other.patterns, np.memmap)
        assert other.patterns.dtype == one.patterns.dtype
        np.testing.assert_array_equal(other.patterns, one.patterns)
        np.testing.assert_array_equal(other.positions_a, one.positions_a)
    assert [p.name for p in tmp_path.iterdir()] == ["data.h5"]


def test_the_command_in_chunks(data, tmp_path, capsys):
    io.write_dataset(tmp_path / "data.h5", data)
    (tmp_path / "plan.yaml").write_text("engines: [{engine: lsqml, sweeps: 2, group: 16}]")
    arguments = ["halves", str(tmp_path / "data.h5"), str(tmp_path / "plan.yaml"), "--quiet", "--threads", "1"]
    assert main([*arguments, "-o", str(tmp_path / "whole")]) == 0
    assert main([*arguments, "-o", str(tmp_path / "parts"), "--chunk-gib", "0.0002"]) == 0
    first, second = (io.read_reconstruction(tmp_path / name / "half2.h5") for name in ("whole", "parts"))
    np.testing.assert_array_equal(first.state.object, second.state.object)
    assert main([*arguments, "-o", str(tmp_path / "none"), "--chunk-gib", "1e-9"]) == 2
    assert "chunk_gib: must hold one group" in capsys.readouterr().err


def test_a_resolution_in_words():
    q, count = np.array([0.1, 0.2, 0.4]), np.full(3, 10**6)
    curves = [FrcCurve(q, np.array(frc), count, 0.4) for frc in ((0.9, 0.9, 0.9), (0.9, 0.9, 0.1), (0.1, 0.9, 0.9))]
    words = [curve.resolution_words(curve.one_bit) for curve in curves]
    assert words[0] == "2.5 A, the detector's edge, for the correlation never falls below the threshold"
    assert words[1] == f"{curves[1].resolution_a(curves[1].one_bit):.3g} A"
    assert words[2] == "none, for the correlation lies below the threshold from the first ring on"


def test_the_command(data, tmp_path, capsys):
    io.write_dataset(tmp_path / "data.h5", data)
    (tmp_path / "plan.yaml").write_text("engines: [{engine: lsqml, sweeps: 2, group: 32}]")
    arguments = ["halves", str(tmp_path / "data.h5"), str(tmp_path / "plan.yaml"), "-o", str(tmp_path / "h")]
    assert main([*arguments, "--by", "colour"]) == 2
    assert not (tmp_path / "h").exists()
    assert main([*arguments, "--quiet"]) == 0
    assert "resolution" in capsys.readouterr().out
    assert sorted(p.name for p in (tmp_path / "h").iterdir()) == [
        "frc.csv",
        "frc.pdf",
        "frc.png",
        "half1.h5",
        "half2.h5",
    ]
    rows = list(csv.DictReader((tmp_path / "h" / "frc.csv").open()))
    assert all(-1 <= float(row["frc"]) <= 1 for row in rows)
    assert float(rows[-1]["q_per_a"]) <= 1 / 0.6 + 1e-6
    assert main(arguments) == 2
