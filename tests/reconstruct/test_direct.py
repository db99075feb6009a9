"""Single sideband against the closed form of weak phase objects, and as a start."""

from __future__ import annotations

import numpy as np
import pytest
import toy

from ptydesign import io
from ptydesign.cli import main
from ptydesign.config import build
from ptydesign.errors import InputError
from ptydesign.grids import Grid
from ptydesign.reconstruct.direct import METHODS, centre_of_mass, mean_spacing, parallax, single_sideband, wigner
from ptydesign.reconstruct.plan import Plan
from ptydesign.reconstruct.run import reconstruct
from ptydesign.reconstruct.start import start_state
from ptydesign.types import Dataset, Optics

PIXEL_A = 0.3


def weak_wave(strength, frequency, angle, offset=0.4, defocus_a=0.0, rotation=0.0, shape=(32, 40), steps=(30, 24)):
    """(Dataset, phase(y_a, x_a)): exact patterns of exp(i a cos(2 pi q r + offset)), a function of the plane."""
    qy, qx = frequency * np.sin(angle), frequency * np.cos(angle)
    probe = toy.probe_of(shape, PIXEL_A, 0.025, defocus_a)
    raster = np.stack(np.meshgrid(*(0.5 * np.arange(n) for n in steps), indexing="ij"), -1).reshape(-1, 2)
    turn = np.array([[np.cos(rotation), -np.sin(rotation)], [np.sin(rotation), np.cos(rotation)]])
    positions = raster @ turn + 3.0

    def phase(y, x):
        return strength * np.cos(2 * np.pi * (qy * y + qx * x) + offset)

    y = (np.arange(shape[0]) - shape[0] // 2)[:, None] * PIXEL_A
    x = (np.arange(shape[1]) - shape[1] // 2)[None] * PIXEL_A
    waves = np.stack([probe * np.exp(1j * phase(y + p[0], x + p[1])) for p in positions])
    patterns = np.abs(np.fft.fft2(waves, norm="ortho")) ** 2 * 500
    dataset = Dataset(
        patterns,
        positions,
        Grid(shape, (PIXEL_A, PIXEL_A)),
        80.0,
        np.ones(shape),
        Optics(80.0, 0.025, defocus_a),
        probe_guess=probe[None],
    )
    return dataset, phase


def started(dataset, **object_start):
    return start_state(dataset, build(Plan, {"object": object_start, "engines": [{"engine": "lsqml"}]}, "plan"))


def in_the_middle(state, dataset, rotation):
    """(y_a, x_a, mask) of the canvas: specimen coordinates, and what lies 3 A inside the scan."""
    rows, columns = np.indices(state.object.shape[-2:])
    y, x = state.origin_a[0] + PIXEL_A * rows, state.origin_a[1] + PIXEL_A * columns
    turn = np.array([[np.cos(rotation), -np.sin(rotation)], [np.sin(rotation), np.cos(rotation)]])
    centre = dataset.positions_a.mean(axis=0)
    along = np.stack([y - centre[0], x - centre[1]], axis=-1) @ turn.T
    half = np.ptp(dataset.positions_a @ turn.T, axis=0) / 2
    return y, x, np.all(np.abs(along) < half - 3.0, axis=-1)


@pytest.mark.parametrize(
    "frequency,angle,defocus_a,triple,rotation",
    [
        (0.45, 0.3, 0.0, True, 0.0),
        (0.7, 1.1, 0.0, False, 0.0),  # double overlaps only: the papers' sum
        (0.7, -0.6, 60.0, False, 0.0),
        (0.25, 0.3, 100.0, True, 0.0),  # mostly triple overlaps
        (0.5, 2.0, -80.0, True, 0.4),
    ],
)
def test_a_weak_phase_wave_is_found(frequency, angle, defocus_a, triple, rotation):
    dataset, phase = weak_wave(1e-2, frequency, angle, defocus_a=defocus_a, rotation=rotation)
    state = started(dataset)
    found = np.angle(single_sideband(dataset, state, regularisation=1e-4, triple_overlap=triple))
    y, x, middle = in_the_middle(state, dataset, rotation)
    true = phase(y, x)[middle]
    contrast = np.vdot(true, found[middle]) / np.vdot(true, true)
    assert contrast == pytest.approx(1.0, abs=0.03)
    assert np.std(found[middle] - true) < 0.05 * np.std(true)


def test_parallax_finds_a_weak_phase_wave():
    dataset, phase = weak_wave(1e-2, 0.25, 0.3, defocus_a=100.0)
    state = started(dataset)
    found = np.angle(parallax(dataset, state))
    y, x, middle = in_the_middle(state, dataset, 0.0)
    true = phase(y, x)[middle]
    assert np.vdot(true, found[middle]) / np.vdot(true, true) == pytest.approx(1.0, abs=0.05)
    assert np.corrcoef(true, found[middle])[0, 1] > 0.99


def test_wigner_finds_a_weak_phase_wave():
    dataset, phase = weak_wave(1e-2, 0.5, 2.0, defocus_a=-80.0, rotation=0.4)
    state = started(dataset)
    found = np.angle(wigner(dataset, state, regularisation=1e-3))
    y, x, middle = in_the_middle(state, dataset, 0.4)
    true = phase(y, x)[middle]
    assert np.vdot(true, found[middle]) / np.vdot(true, true) == pytest.approx(1.0, abs=0.07)
    assert np.std(found[middle] - true) < 0.08 * np.std(true)


@pytest.mark.parametrize("strength", [1e-2, 0.6])
@pytest.mark.parametrize("defocus_a", [0.0, 60.0])
def test_centre_of_mass_is_the_phase_blurred_by_the_probe(strength, defocus_a):
    frequency, angle = 0.4, 0.7
    dataset, phase = weak_wave(strength, frequency, angle, defocus_a=defocus_a)
    state = started(dataset)
    found = np.angle(centre_of_mass(dataset, state))
    y, x, middle = in_the_middle(state, dataset, 0.0)
    intensity = np.abs(dataset.probe_guess[0]) ** 2
    rows, columns = np.nonzero(intensity > 1e-9)
    dy, dx = (PIXEL_A * (i - n // 2) for i, n in zip((rows, columns), intensity.shape, strict=True))
    weights = intensity[rows, columns]
    true = np.array([weights @ phase(b + dy, a + dx) for b, a in zip(y[middle], x[middle], strict=True)])
    contrast = np.vdot(true, found[middle]) / np.vdot(true, true)
    assert contrast == pytest.approx(1.0, abs=0.05)
    assert np.std(found[middle] - true) < 0.1 * np.std(true)


@pytest.mark.parametrize("method", METHODS)
def test_one_command_for_each_method(method, tmp_path, capsys):
    dataset, transmission = toy.experiment(shape=(24, 24), dose=1e6, steps=(14, 13), step_a=0.6, defocus_a=60.0)
    io.write_dataset(tmp_path / "data.h5", dataset)
    command = ["direct", str(tmp_path / "data.h5"), "-o", str(tmp_path / "out.h5"), "--method"]
    assert main([*command, method]) == 0
    result = io.read_reconstruction(tmp_path / "out.h5")
    blank = result.state.replace(object=np.ones_like(result.state.object))
    errors = [toy.phase_error(state, transmission, dataset) for state in (result.state, blank)]
    assert errors[0] < 0.95 * errors[1]
    assert main([*command, "sideband", "--overwrite"]) == 2
    assert "must be known" in capsys.readouterr().err


def test_counts_background_and_mask_do_not_matter():
    dataset, _ = weak_wave(1e-2, 0.4, 0.7)
    base = single_sideband(dataset, started(dataset))
    mask = np.ones(dataset.grid.shape)
    mask[16, 10:] = 0  # dark field
    other = dict(vars(dataset), patterns=np.where(mask > 0, 7.0 * dataset.patterns, 1e6), mask=mask)
    other = Dataset(**other)
    np.testing.assert_allclose(single_sideband(other, started(other)), base, atol=1e-5)


@pytest.mark.parametrize("rotation", [0.0, 0.7])
def test_mean_spacing_of_a_raster(rotation):
    raster = np.stack(np.meshgrid(1.3 * np.arange(7), 1.3 * np.arange(12), indexing="ij"), -1).reshape(-1, 2)
    turn = np.array([[np.cos(rotation), -np.sin(rotation)], [np.sin(rotation), np.cos(rotation)]])
    assert mean_spacing(raster @ turn) == pytest.approx(1.3, rel=1e-9)
    with pytest.raises(InputError, match="span an area"):
        mean_spacing(raster[:12])


@pytest.mark.parametrize("slices", [1, 2])
def test_a_start_from_single_sideband_is_nearer(slices):
    dataset, transmission = toy.experiment(dose=1e6, steps=(22, 20), step_a=0.6)
    section = {"slices": slices, "slice_thickness_a": 1e-6 if slices > 1 else 0.0}
    errors, losses = {}, {}
    for method in ("vacuum", "ssb"):
        errors[method] = toy.phase_error(started(dataset, method=method, **section), transmission, dataset)
        content = {"object": {**section, "method": method}, "engines": [{"engine": "lsqml", "sweeps": 1}]}
        losses[method] = reconstruct(dataset, build(Plan, content, "plan"))[1].loss[0]
    assert errors["ssb"] < 0.5 * errors["vacuum"]
    assert losses["ssb"] < 0.7 * losses["vacuum"]


def test_a_plan_without_it_is_written_as_before():
    plan = build(Plan, {"engines": [{"engine": "lsqml"}]}, "plan")
    assert "method" not in plan.model_dump()["object"]
    direct = build(Plan, {"object": {"method": "ssb"}, "engines": [{"engine": "lsqml"}]}, "plan")
    assert build(Plan, direct.model_dump(), "plan") == direct
