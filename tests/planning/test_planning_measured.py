"""`ptydesign plan --from`: what a reconstructed measurement says of setting, dose and errors."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import yaml
from plan_files import write_plan

from ptydesign import io, waves
from ptydesign.cli import main
from ptydesign.errors import InputError
from ptydesign.grids import Grid
from ptydesign.planning.instrument import Bench
from ptydesign.planning.load import read_plan
from ptydesign.planning.measured import measured, scan_errors, source_of
from ptydesign.simulate.coherence import beam_phases_rad, incoherent_probes, mode_powers
from ptydesign.simulate.scan import raster, true_positions
from ptydesign.study.acquisition import ExperimentConfig, to_experiment
from ptydesign.types import Dataset, Optics, Outcome, ReconState, Reconstruction, Scan
from ptydesign.units import wavelength_a

PIXELS, PIXEL_MRAD, ALPHA = 64, 1.0, 20.0
GRID = Grid((PIXELS, PIXELS), (wavelength_a(80) / (PIXELS * PIXEL_MRAD * 1e-3),) * 2)
SCAN = Scan(2.0, (60.0, 60.0))
WRONG = replace(SCAN, scale_error=0.01, aspect_error=-0.02, shear_error=0.015, rotation_error_rad=math.radians(0.7))
INSTRUMENT = {
    "instrument__pixels_mrad": [0.5, 2.5],
    "instrument__defocus_nm": {"low": -60, "high": 60},
    "instrument__apertures_mrad": [20, 25],
    "detector__override": {"pixels": [128, 128], "frames_per_s": 10000},
    "goal__resolution_a": 1.4,
}


def bench(tmp_path, **changes) -> Bench:
    return Bench(read_plan(write_plan(tmp_path / "p.yaml", **{**INSTRUMENT, **changes}))[0])


def data(told_nm: float = 30.0, electrons: float = 8000.0, **optics) -> Dataset:
    nominal = raster(SCAN, (40.0, 40.0))
    patterns = np.full((len(nominal), PIXELS, PIXELS), electrons / PIXELS**2, np.float32)
    return Dataset(
        patterns, nominal, GRID, 80.0, np.ones((PIXELS, PIXELS), np.float32),
        Optics(80.0, ALPHA * 1e-3, told_nm * 10, **optics),
    )  # fmt: skip


def probes(defocus_nm: float, source_a: float = 0.0) -> np.ndarray:
    """(mode, y, x), as a reconstruction has them."""
    spectrum = waves.probe_spectrum(GRID, wavelength_a(80), ALPHA * 1e-3, defocus_a=defocus_nm * 10)
    config = ExperimentConfig(step_a=2, semiangle_mrad=ALPHA, defocus_nm=defocus_nm, detector_pixels=PIXELS,
                              pixel_a=GRID.pixel_a[0], field_of_view_a=(60, 60), source_size_a=source_a)  # fmt: skip
    inside = np.nonzero(spectrum)
    angles = np.stack([np.broadcast_to(k, GRID.shape)[inside] for k in GRID.frequencies()]) * wavelength_a(80) / 0.02
    found = incoherent_probes(spectrum[inside], angles, to_experiment(config, 1000))
    whole = np.zeros((len(found), *GRID.shape), complex)
    whole[:, *inside] = found
    return np.stack([np.asarray(waves.centre_spectrum(GRID, one)) for one in whole])


def result(refined: np.ndarray, probe: np.ndarray) -> Reconstruction:
    pixel = np.asarray(GRID.pixel_a)
    state = ReconState(
        object=jnp.ones((1, 8, 8), complex), probe=jnp.asarray(probe), positions_px=jnp.asarray(refined / pixel),
        intensity=jnp.ones(len(refined)), tilt_rad=jnp.zeros(2), thickness_a=jnp.ones(1), pixel_a=jnp.asarray(pixel),
        origin_a=jnp.zeros(2), wavelength_a=jnp.asarray(wavelength_a(80)),
    )  # fmt: skip
    done = Outcome("all_sweeps_done", "", 1)
    return Reconstruction(state, {"loss": np.ones(1)}, done, raster(SCAN, (40.0, 40.0)), {}, 0)


def taken(tmp_path, dataset: Dataset, reconstruction: Reconstruction, **changes) -> dict:
    return {one.field: one for one in measured(bench(tmp_path, **changes), dataset, reconstruction)}


def test_errors_of_a_scan_are_those_that_the_simulator_makes():
    nominal = raster(SCAN, (40.0, 40.0))
    found = scan_errors(nominal, true_positions(WRONG, nominal, np.random.default_rng(0)))
    assert (found.scale, found.aspect, found.shear) == pytest.approx((0.01, -0.02, 0.015), abs=1e-9)
    assert found.rotation_deg == pytest.approx(0.7)
    assert max(found.line_a, found.jitter_a) < 1e-6
    noisy = replace(WRONG, jitter_a=0.2, line_noise_a=0.4)
    both = [scan_errors(nominal, true_positions(noisy, nominal, np.random.default_rng(n))) for n in range(20)]
    assert np.sqrt(np.mean([one.jitter_a**2 for one in both])) == pytest.approx(0.2, rel=0.05)
    assert np.sqrt(np.mean([one.line_a**2 for one in both])) == pytest.approx(0.4, rel=0.15)
    turned = replace(SCAN, rotation_rad=math.radians(30))  # a turned scan has lines, too
    turned_nominal = raster(turned, (40.0, 40.0))
    moved = true_positions(replace(turned, line_noise_a=0.4), turned_nominal, np.random.default_rng(1))
    assert scan_errors(turned_nominal, moved).line_a == pytest.approx(0.4, rel=0.4)


@pytest.mark.parametrize("source_a", [0.3, 0.6])
def test_a_source_follows_from_the_powers_of_the_modes(source_a):
    powers = mode_powers(*beam_phases_rad(80, 0.02, source_a, 0.0))[:4]
    assert source_of(powers[0] / powers.sum(), 4, 80, ALPHA, 0.0) == pytest.approx(source_a, rel=0.01)
    assert source_of(1.0, 4, 80, ALPHA, 0.0) == pytest.approx(0.0, abs=0.02)


def test_setting_dose_and_errors_are_taken(tmp_path):
    nominal = raster(SCAN, (40.0, 40.0))
    refined = true_positions(WRONG, nominal, np.random.default_rng(0))
    found = taken(tmp_path, data(), result(refined, probes(33.0, 0.5)))
    expert = {name: found[f"expert.{name}"].value for name in ("voltage_kv", "semiangle_mrad", "defocus_nm", "camera")}
    assert expert == {"voltage_kv": 80, "semiangle_mrad": 20, "defocus_nm": 30, "camera": 0.5}  # binned by 2
    assert found["expert.step_a"].value == pytest.approx(2.0)
    assert found["goal.doses_e_per_a2"].value == [2000.0]
    assert found["instrument.defocus_error_nm"].value == pytest.approx(3.0, abs=0.3)
    assert found["instrument.rotation_error_deg"].value == pytest.approx(0.7)
    assert found["instrument.affine_error"].value == pytest.approx(
        math.sqrt((0.01**2 + 0.02**2 + 0.015**2) / 3), rel=0.01
    )
    assert found["instrument.position_jitter_a"].value == pytest.approx(0, abs=1e-3)
    assert found["instrument.source_size_a"].value == pytest.approx(0.5, rel=0.1)


def test_dose_has_what_the_detector_misses_and_what_was_before(tmp_path):
    override = {**INSTRUMENT["detector__override"], "dqe": 0.5}
    found = taken(tmp_path, data(), result(raster(SCAN, (40.0, 40.0)), probes(30.0)), detector__override=override,
                  goal__pre_exposure_e_per_a2=500)  # fmt: skip
    assert found["goal.doses_e_per_a2"].value == [pytest.approx(8000 / 0.5 / 4 + 500)]


def test_what_the_reconstruction_does_not_tell_stays(tmp_path):
    found = taken(tmp_path, data(told_nm=80.0), result(raster(SCAN, (40.0, 40.0)), probes(80.0)))
    assert found["expert.defocus_nm"].value is None
    assert "80 of the data isn't in the instrument's range" in found["expert.defocus_nm"].why
    assert found["instrument.position_jitter_a"].value is None
    assert found["instrument.source_size_a"].value is None
    gun = taken(
        tmp_path, data(), result(raster(SCAN, (40.0, 40.0)), probes(30.0, 0.5)), instrument__gun={"kind": "schottky"}
    )
    assert gun["instrument.source_size_a"].value is None
    assert "as of 0.5" in gun["instrument.source_size_a"].why


@pytest.mark.parametrize(
    "changes, words",
    [
        (
            {"instrument__apertures_mrad": [15, 25]},
            "apertures_mrad: must have the value of the data; got '20, not 15'. Add 20",
        ),
        ({"instrument__voltages_kv": [60]}, "voltages_kv: must have the value of the data; got '80, not 60'"),
        ({"instrument__pixels_mrad": [0.8]}, "pixels_mrad: must have the camera of the data, whose pixels are 1 mrad"),
    ],
)
def test_an_instrument_that_is_another_is_refused(tmp_path, changes, words):
    with pytest.raises(InputError, match=words):
        taken(tmp_path, data(), result(raster(SCAN, (40.0, 40.0)), probes(30.0)), **changes)


def test_the_command_writes_the_next_plan_and_cards_it(tmp_path, capsys):
    nominal = raster(SCAN, (40.0, 40.0))
    refined = true_positions(WRONG, nominal, np.random.default_rng(0))
    io.write_dataset(tmp_path / "data.h5", data())
    io.write_reconstruction(tmp_path / "out.h5", result(refined, probes(33.0)))
    path = write_plan(tmp_path / "p.yaml", **INSTRUMENT)
    command = ["plan", str(path), "--from", str(tmp_path / "data.h5"), str(tmp_path / "out.h5"), "--card"]
    assert main(command) in (0, None)
    shown = capsys.readouterr().out
    assert "goal.doses_e_per_a2: [2000.0] (8000 electrons in a pattern" in shown
    assert "Tiny plan, next time: your own setting at 2000" in shown
    new = read_plan(tmp_path / "p_next.yaml")[0]
    assert (new.expert.defocus_nm, new.goal.doses_e_per_a2) == (30, (2000.0,))
    assert new.instrument.rotation_error_deg == pytest.approx(0.7)
    assert new.sample == read_plan(path)[0].sample
    assert "# instrument.source_size_a: left as it is (one probe mode" in (tmp_path / "p_next.yaml").read_text()
    assert main(command) == 2
    assert "must not exist yet" in capsys.readouterr().err
    Path(tmp_path / "p_next.yaml").unlink()
    write_plan(
        path, **INSTRUMENT, goal__pre_exposure_e_per_a2=1999, goal__doses_e_per_a2=[8000], goal__time_limit_s=0.01
    )
    assert main(command) == 2
    assert not (tmp_path / "p_next.yaml").exists()
    assert yaml.safe_load(path.read_text())["title"] == "Tiny plan"
