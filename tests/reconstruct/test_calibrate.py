"""What data were told is found again by short reconstructions, of patterns made in plain NumPy."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import scans
import toy
import yaml

from ptydesign import io
from ptydesign.cli import main
from ptydesign.config import build
from ptydesign.errors import InputError
from ptydesign.grids import Grid
from ptydesign.instruments.calibration import Calibration
from ptydesign.reconstruct.calibrate import calibrate, calibrated, middle, scan_parameters
from ptydesign.reconstruct.correction import Correction, corrected_optics
from ptydesign.reconstruct.plan import Plan
from ptydesign.reconstruct.run import reconstruct
from ptydesign.reconstruct.start import start_probe
from ptydesign.types import Dataset, Optics

ENGINES = [{"engine": "lsqml", "noise": "poisson", "sweeps": 2}]


def plan_of(**content):
    return build(Plan, {"engines": ENGINES, **content}, "plan")


def calibration(**changes):
    known = {"voltage_kv": 80, "semiangle_mrad": 22, "step_a": (1.2, 1.1), "pixel_mrad": 2.2}
    return build(Calibration, known | changes, "calibration")


@pytest.fixture(scope="module")
def data():
    """Atoms; what it is told is right."""
    scan = scans.scanned("atoms", (12, 12), 40, 2.2, 22.0, 15.0, 1.2, electrons=4000, seed=2)
    side = scans.WAVELENGTH_A / 2.2e-3 / 40
    patterns = np.fft.ifftshift(scan.patterns.reshape(-1, 40, 40), axes=(-2, -1))
    where = calibration(step_a=1.2).positions_a((12, 12))
    return Dataset(patterns, where, Grid((40, 40), (side, side)), 80.0, np.ones((40, 40)), Optics(80.0, 22e-3, 150.0))


@pytest.mark.parametrize("turn", [0.0, 30.0])
def test_a_scan_is_turned_as_import_turns_it(data, turn):
    told = calibration(rotation_deg=turn).positions_a((12, 12))
    right = calibration(rotation_deg=turn + 7.0, step_a=(1.2 * 1.03, 1.1 * 1.03)).positions_a((12, 12))
    found = Correction(rotation_deg=7.0, scan_scale=1.03).applied(dataclasses.replace(data, positions_a=told))
    np.testing.assert_allclose(found.positions_a, right, atol=1e-9)


def test_a_shear_moves_the_next_line_along_x(data):
    found = Correction(scan_shear=0.1, scan_aspect=2.0).applied(data).positions_a.reshape(12, 12, 2)
    np.testing.assert_allclose(found[1] - found[0], np.broadcast_to([2.4, 0.12], (12, 2)), atol=1e-9)


def test_components_of_aberrations():
    told = Optics(80.0, 0.022, 150.0, astigmatism_a=40.0, astigmatism_angle_rad=0.3)
    found = corrected_optics(told, {"astigmatism_45_nm": 0.0, "coma_y_nm": 20.0})
    assert found.astigmatism_angle_rad == pytest.approx(0.0)
    assert found.astigmatism_a == pytest.approx(40 * np.cos(0.6))
    assert (found.coma_a, found.coma_angle_rad) == pytest.approx((200.0, np.pi / 2))


def test_a_guess_of_the_probe_is_aberrated_like_one_of_optics(data):
    plan, right = plan_of(), plan_of(correction={"defocus_nm": 17.0, "astigmatism_0_nm": 3.0})
    guess = dataclasses.replace(data, probe_guess=start_probe(data, plan))
    probes = [start_probe(right.correction.applied(d), right) for d in (data, guess)]
    np.testing.assert_allclose(probes[1], probes[0], atol=1e-6 * np.abs(probes[0]).max())
    with pytest.raises(InputError, match=r"semiangle_mrad.*guess"):
        Correction(semiangle_mrad=20.0).applied(guess)


def test_a_plan_without_a_correction_is_written_as_before():
    assert "correction" not in plan_of().model_dump()
    right = plan_of(correction={"defocus_nm": 0.0})
    assert right.model_dump()["correction"] == {"defocus_nm": 0.0}
    assert build(Plan, right.model_dump(), "plan") == right


@pytest.mark.parametrize(
    "name, right, wrong, near",
    [
        ("semiangle_mrad", 22.0, 21.5, 0.15),
        ("defocus_nm", 15.0, 12.0, 1.0),
        ("rotation_deg", 0.0, 3.0, 2.0),
        ("pixel_scale", 1.0, 1.02, 0.006),
    ],
)
def test_each_parameter_is_found(data, name, right, wrong, near):
    width = abs(wrong - right) * 1.5
    curve = scan_parameters(data, plan_of(correction={name: wrong}), {name: right + width * np.linspace(-1, 1, 7)})[
        name
    ]
    assert curve.told == wrong
    assert curve.best == pytest.approx(right, abs=near)
    assert curve.doubted
    assert curve.error < near


def test_thickness_of_slices_is_found():
    dataset, _ = toy.experiment(steps=(8, 8), slices=2, thickness_a=60.0, dose=1e5)
    plan = plan_of(object={"slices": 2, "slice_thickness_a": 45.0})
    curve = scan_parameters(dataset, plan, {"slice_thickness_a": [30, 45, 60, 75, 90]})["slice_thickness_a"]
    assert curve.best == pytest.approx(60, abs=max(6.0, 2 * curve.error))


def test_the_middle_is_a_square(data):
    part = middle(data, 36)
    assert len(part.patterns) == 36
    assert np.ptp(part.positions_a, axis=0) == pytest.approx([6.0, 6.0])


def test_what_data_cannot_say(data):
    vacuum = np.random.default_rng(0).poisson(np.broadcast_to(data.patterns.mean(axis=0), data.patterns.shape))
    blank = dataclasses.replace(data, patterns=vacuum.astype(np.float32))
    curve = scan_parameters(blank, plan_of(), {"rotation_deg": np.linspace(-6, 6, 7)}, sweeps=4)["rotation_deg"]
    assert not curve.known or curve.error > 1.5


def test_one_command(data, tmp_path, capsys):
    wrong = dataclasses.replace(data, optics=dataclasses.replace(data.optics, semiangle_rad=0.0217))
    io.write_dataset(tmp_path / "data.h5", wrong)
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump({"engines": ENGINES}))
    command = ["calibrate", str(tmp_path / "data.h5"), str(tmp_path / "plan.yaml"), "--rounds", "1", "--quiet"]
    command += ["--sweeps", "4"]
    names = ["--parameters", "semiangle_mrad", "-o", str(tmp_path / "found.yaml")]
    assert main([*command, *names]) == 0
    said = capsys.readouterr().out
    assert "told is outside: corrected" in said
    found = yaml.safe_load((tmp_path / "found.yaml").read_text())
    assert found["engines"] == ENGINES
    assert found["correction"]["semiangle_mrad"] == pytest.approx(22.0, abs=0.1)
    assert main([*command, "--parameters", "defocus", "-o", str(tmp_path / "other.yaml")]) == 2
    assert "defocus_nm" in capsys.readouterr().err
    assert not (tmp_path / "other.yaml").exists()


def test_slices_are_needed_for_their_thickness(data):
    with pytest.raises(InputError, match="needs a plan of several slices"):
        calibrate(data, plan_of(), ["slice_thickness_a"])
    with pytest.raises(InputError, match="three values"):
        scan_parameters(data, plan_of(), {"defocus_nm": [10, 20]})


def test_a_plan_searches_what_it_asks_for_first(data):
    """The data are told a defocus that is wrong by 4 nm; the plan finds it, and starts from there."""
    told = dataclasses.replace(data, optics=dataclasses.replace(data.optics, defocus_a=190.0))
    plan = plan_of(calibrate={"offsets": {"defocus_nm": [-9, -6, -3, 0, 3, 6, 9]}})
    ready, found = calibrated(told, plan)
    assert found["defocus_nm"].told == pytest.approx(19)
    assert ready.correction.defocus_nm == pytest.approx(15, abs=1)
    assert not ready.calibrate.offsets
    assert ready.engines == plan.engines
    with pytest.raises(InputError, match="must have been searched"):
        reconstruct(told, plan)
    misses = [reconstruct(told, one)[1].loss[-1] for one in (ready, plan_of())]
    assert misses[0] < misses[1]
    assert calibrated(told, plan_of()) == (plan_of(), {})


@pytest.mark.parametrize("offsets", [[0, 1], [1, 0, -1], [0, 0, 1]])
def test_offsets_that_search_nothing_are_refused(offsets):
    with pytest.raises(InputError, match="three or more rising"):
        plan_of(calibrate={"offsets": {"defocus_nm": offsets}})


def test_an_unknown_parameter_is_refused(data):
    with pytest.raises(InputError, match="defocus_nm"):
        calibrated(data, plan_of(calibrate={"offsets": {"defocus": [-1, 0, 1]}}))
