"""Aberrations and scan errors of an instrument: names, phases against abTEM's, draws, and where they arrive."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from plan_files import write_plan
from scipy.interpolate import RegularGridInterpolator

from ptydesign.errors import InputError
from ptydesign.planning import aberrations
from ptydesign.planning.aberrations import KINDS, LARGEST_RESIDUAL, Aberrations
from ptydesign.planning.card import geometry, make_card
from ptydesign.planning.errors import draw_errors, drawn
from ptydesign.planning.instrument import Bench, Setting
from ptydesign.planning.load import read_plan
from ptydesign.planning.operation import operate
from ptydesign.planning.probes import probe_intensity
from ptydesign.planning.reconstruction import trial_reconstruction
from ptydesign.planning.resolve import PlanningResolved, to_experiment_config
from ptydesign.study.acquisition import ExperimentConfig, to_experiment
from ptydesign.units import NM, wavelength_a

SETTING = Setting(80, 20, -4, 2.0, 4.0)
ALL = {
    "A1": {"nm": 2, "angle_deg": 20, "residual_nm": 1},
    "B2": {"nm": 10, "angle_deg": -40, "residual_nm": 30},
    "A2": {"nm": 40, "angle_deg": 75},
    "S3": {"nm": 300, "angle_deg": 10},
    "A3": {"nm": 900, "angle_deg": -20, "residual_nm": 500},
    "C5": {"mm": 1.5, "residual_mm": 0.5},
}


def resolved_of(tmp_path, **instrument) -> PlanningResolved:
    changes = {f"instrument__{name}": value for name, value in instrument.items()}
    return PlanningResolved(read_plan(write_plan(tmp_path / "p.yaml", **changes))[0], Path())


def config_of(given: dict, **more) -> ExperimentConfig:
    base = {"step_a": 1, "semiangle_mrad": 20, "defocus_nm": 0, "detector_pixels": 64, "pixel_a": 0.2}
    return ExperimentConfig(
        **base, **more, field_of_view_a=(8, 8), **aberrations.fields(Aberrations.model_validate(given))
    )


@pytest.mark.parametrize("name", ALL)
def test_phases_of_haiders_names_are_abtems_of_krivaneks(name):
    """chi of the plan's optics at some angles against abTEM's with the coefficients converted by hand."""
    abtem = pytest.importorskip("abtem")
    from ptydesign.grids import Grid
    from ptydesign.waves import aberration_phase

    kind = next(k for k in KINDS if k.haider == name)
    value, angle = ALL[name].get("nm", 0) * NM or ALL[name]["mm"] * 1e7, ALL[name].get("angle_deg", 0)
    theirs = {f"C{kind.krivanek[1:]}": {"B2": 3, "S3": 4}.get(name, 1) * value}
    if name != "C5":
        theirs[f"phi{kind.krivanek[1:]}"] = math.radians(angle)
    grid, wavelength = Grid((48, 60), (0.3, 0.25)), wavelength_a(80)
    ours = aberration_phase(grid, wavelength, **to_experiment(config_of({name: ALL[name]}), 1.0).optics.aberrations)
    settings = {"precision": "float64", "fft": "numpy", "device": "cpu", "diagnostics.progress_bar": False}
    with abtem.config.set(settings):
        kernel = (
            abtem.transfer.Aberrations(
                aberration_coefficients=theirs, energy=80e3, gpts=grid.shape[::-1], extent=grid.extent_a[::-1]
            )
            ._evaluate_kernel()
            .T
        )
    within = wavelength * np.hypot(*grid.frequencies()) < 0.03
    np.testing.assert_allclose(np.exp(-1j * ours)[within], kernel[within], atol=1e-5)
    assert np.ptp(ours[within]) > 0.05


def test_both_notations_mean_the_same(tmp_path):
    ours = aberrations.keywords(Aberrations.model_validate({"B2": {"nm": 100, "angle_deg": 30}, "S3": {"nm": 50}}))
    theirs = aberrations.keywords(Aberrations.model_validate({"C21": {"nm": 300, "angle_deg": 30}, "C32": {"nm": 200}}))
    assert ours == pytest.approx(theirs)
    assert ours == pytest.approx(
        {"coma_a": 3000, "coma_angle_rad": math.radians(30), "star_a": 2000, "star_angle_rad": 0}
    )
    with pytest.raises(InputError, match=r"instrument\.aberrations\.C12: is the same aberration as A1"):
        resolved_of(tmp_path, aberrations={"A1": {"nm": 1}, "C12": {"nm": 1}})


def test_known_aberrations_are_in_every_trial_and_residuals_in_the_draws(tmp_path):
    resolved = resolved_of(tmp_path, aberrations=ALL)
    planned = to_experiment_config(resolved.bench, operate(resolved.bench, SETTING, 8000))
    assert (planned.astigmatism_nm, planned.coma_um) == pytest.approx((2, 0.03))
    trial, errors = drawn(resolved, SETTING, 8000, 3)
    assert trial.believed.model_dump(exclude={"drift_a"}) == planned.model_dump(exclude={"drift_a"})
    assert set(errors.aberrations) == {"C12", "C21", "C34", "C50"}
    known = 2 * np.exp(2j * math.radians(20))
    true = trial.experiment.astigmatism_nm * np.exp(2j * math.radians(trial.experiment.astigmatism_deg))
    assert true - known == pytest.approx(complex(*errors.aberrations["C12"]), abs=1e-5)
    assert trial.experiment.trefoil_nm == pytest.approx(40)
    assert trial.experiment.c5_mm == pytest.approx(1.5 + errors.aberrations["C50"][0])


def test_residuals_have_the_width_that_is_given_and_an_end():
    given = Aberrations.model_validate(ALL)
    found = [aberrations.drawn(given, np.random.default_rng(n)) for n in range(2000)]
    parts = np.array([one["C21"] for one in found])
    assert parts.std(axis=0) == pytest.approx([0.09, 0.09], rel=0.06)  # 3 x 30 nm, in um, of each component
    assert abs(np.corrcoef(parts.T)[0, 1]) < 0.07
    assert np.hypot(*parts.T).max() <= LARGEST_RESIDUAL * 0.09 + 1e-6
    fewer = aberrations.drawn(Aberrations.model_validate({"C5": ALL["C5"]}), np.random.default_rng(7))
    assert fewer["C50"] == found[7]["C50"]  # no draw depends on what else is given


def test_draws_of_an_instrument_without_them_are_as_they_were(tmp_path):
    plain, more = resolved_of(tmp_path), resolved_of(tmp_path, aberrations=ALL, affine_error=0.01, line_noise_a=0.1)
    one, other = draw_errors(plain, 5), draw_errors(more, 5)
    for name in ("defocus_nm", "drift", "drift_angle_rad", "source", "thickness"):
        assert getattr(one, name) == getattr(other, name)
    assert one.aberrations == {}
    assert not any(one.of_scan.values())


def test_scan_errors_are_drawn_and_reach_the_true_scan(tmp_path):
    instrument = {"affine_error": 0.01, "rotation_error_deg": 0.5, "line_noise_a": 0.2, "drift_direction_deg": 90}
    resolved = resolved_of(tmp_path, **instrument)
    found = [draw_errors(resolved, number) for number in range(300)]
    for name, width in (
        ("scale_error", 0.01),
        ("aspect_error", 0.01),
        ("shear_error", 0.01),
        ("rotation_error_deg", 0.5),
    ):
        assert np.std([getattr(one, name) for one in found]) == pytest.approx(width, rel=0.15)
    trial, errors = drawn(resolved, SETTING, 8000, 1)
    true, believed = (to_experiment(c, 1.0).scan for c in (trial.experiment, trial.believed))
    assert true.shear_error == errors.shear_error != 0 == believed.shear_error
    assert true.rotation_error_rad == pytest.approx(math.radians(errors.rotation_error_deg))
    assert true.line_noise_a == believed.line_noise_a == 0.2
    assert true.drift_a[0] > 0  # 90 degrees from +x towards +y
    assert true.drift_a[1] == pytest.approx(0, abs=1e-3 * true.drift_a[0])
    assert true.field_of_view_a == believed.field_of_view_a


@pytest.mark.parametrize(
    "name", ["position_jitter_a", "line_noise_a", "affine_error", "rotation_error_deg", "drift_a_per_min"]
)
def test_the_day_refines_positions_if_anything_of_the_scan_is_wrong(tmp_path, name):
    still = {"instrument__drift_a_per_min": 0, "reconstruction": None}
    plan = read_plan(write_plan(tmp_path / "p.yaml", **still))[0]
    assert not trial_reconstruction(plan).engines[0].refine_positions
    plan = read_plan(write_plan(tmp_path / "p.yaml", **{**still, f"instrument__{name}": 0.05}))[0]
    assert trial_reconstruction(plan).engines[0].refine_positions


def test_card_compares_residuals_with_a_quarter_wave(tmp_path):
    bench = resolved_of(tmp_path, aberrations={"A1": {"residual_nm": 1}, "B2": {"residual_nm": 300}}).bench
    rows = {row.name: row for row in make_card(bench, operate(bench, SETTING, 8000), "x", 1e9).rows}
    a1, b2 = rows["Residual A1, twofold astigmatism"], rows["Residual B2, axial coma"]
    wavelength, alpha = wavelength_a(80), 0.02
    assert a1.value == pytest.approx(2 * math.pi / wavelength * math.sqrt(2) * 10 * alpha**2 / 2)
    assert b2.value == pytest.approx(2 * math.pi / wavelength * math.sqrt(2) * 3 * 3000 * alpha**3 / 3)
    assert (a1.status, b2.status) == ("green", "amber")
    assert "Align B2" in b2.change
    assert "Haider" in b2.source


def test_a_probe_is_as_wide_as_its_aberrations_make_it(tmp_path):
    plain, wide = resolved_of(tmp_path).bench, resolved_of(tmp_path, aberrations={"A1": {"nm": 6}}).bench
    radius = math.hypot((40 + 60) * 0.02, 0.61 * wavelength_a(80) / 0.02)
    assert wide.probe_radius_a(SETTING) == pytest.approx(radius, rel=1e-3)
    assert plain.probe_radius_a(SETTING) < radius
    assert next(geometry(wide, SETTING)).value == pytest.approx(2 * radius, rel=1e-3)


def test_specimen_holds_the_largest_residuals(tmp_path):
    plain = resolved_of(tmp_path)
    wide = resolved_of(tmp_path, aberrations={"A1": {"residual_nm": 5}}, affine_error=0.02)
    mode = next(iter(plain.modes))
    assert all(b > a for a, b in zip(plain.modes[mode].shape, wide.modes[mode].shape, strict=True))


def test_bound_and_explorer_have_the_known_aberrations(tmp_path):
    bench: Bench = resolved_of(tmp_path, aberrations={"A2": {"nm": 30, "angle_deg": 12}}).bench
    found = bench.aberrations_of(SETTING)
    assert found["defocus_a"] == -40
    assert (found["trefoil_a"], found["trefoil_angle_rad"]) == pytest.approx((300, math.radians(12)))


def test_the_picture_of_a_probe_shows_its_aberrations(tmp_path):
    """With threefold astigmatism alone a probe has three lobes: turned by 120 degrees it is the same."""
    bench = resolved_of(tmp_path, aberrations={"A2": {"nm": 300}}).bench
    image, pixel = probe_intensity(bench, Setting(80, 20, 0, 2.0, 4.0))
    y, x = ((np.arange(n) - n // 2) * pixel for n in image.shape)
    at = RegularGridInterpolator((y, x), image, method="cubic")
    angles = np.radians(np.arange(0, 360, 5))
    ring = np.stack([np.sin(angles), np.cos(angles)], axis=-1) * 1.2
    values = at(ring)
    assert np.ptp(values) > 0.2 * values.max()
    np.testing.assert_allclose(values, np.roll(values, 24), atol=0.03 * values.max())
    moved, _ = probe_intensity(bench, Setting(80, 20, 0, 2.0, 4.0), {"C21": (0.4, 0.0)})
    assert np.abs(moved - image).max() > 0.1
