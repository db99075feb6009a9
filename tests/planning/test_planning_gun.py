"""The gun: source and focal spread of each setting, in trials, on the card and in the reconstruction."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from plan_files import tiny_plan, write_plan

from ptydesign.errors import InputError
from ptydesign.planning.card import make_card
from ptydesign.planning.config import InstrumentConfig, PlanningStudy
from ptydesign.planning.errors import draw_errors, drawn
from ptydesign.planning.gun import SourceAt, focal_spread_nm, scaled_source_a, source_diameter_a, source_rms_a
from ptydesign.planning.instrument import Bench, Setting
from ptydesign.planning.load import load, read_plan
from ptydesign.planning.operation import operate
from ptydesign.planning.reconstruction import day_reconstruction, probe_powers, trial_reconstruction
from ptydesign.planning.resolve import for_beam, still_config, to_experiment_config
from ptydesign.planning.search import Runners
from ptydesign.planning.sheet import source_words
from ptydesign.simulate.coherence import beam_phases_rad

SETTING = Setting(80, 20, -4, 2, 4.0)
COLD = {"kind": "cold-feg", "reduced_brightness_a_per_m2_sr_v": 1e8, "energy_spread_ev": 0.3}
WEAK = {"kind": "schottky", "reduced_brightness_a_per_m2_sr_v": 2e7, "source": "our own knife edge"}
AT = {"voltage_kv": 80, "semiangle_mrad": 20, "current_pa": 4}


def bench_of(tmp_path, **changes) -> Bench:
    return Bench(read_plan(write_plan(tmp_path / "p.yaml", **changes))[0])


def test_brightness_ties_current_aperture_and_source():
    """I = B V (pi d^2 / 4) (pi alpha^2)."""
    diameter = source_diameter_a(1e8, 80, 15, 5)
    assert diameter == pytest.approx(0.336, abs=5e-4)
    area, solid = math.pi / 4 * (diameter * 1e-10) ** 2, math.pi * 15e-3**2
    assert 1e8 * 80e3 * area * solid == pytest.approx(5e-12)
    assert source_diameter_a(1e8, 80, 15, 25) == pytest.approx(math.sqrt(5) * diameter)
    # half of a Gaussian's current lies within the diameter: 1 - exp(-r^2 / 2 s^2)
    spread = source_rms_a(1e8, 80, 15, 5)
    assert math.exp(-((diameter / 2) ** 2) / 2 / spread**2) == pytest.approx(0.5)


def test_a_measured_source_scales_as_that_of_the_same_gun():
    here = source_rms_a(3e7, 80, 20, 4)
    assert scaled_source_a(here, SourceAt(**AT), 300, 25, 20) == pytest.approx(source_rms_a(3e7, 300, 25, 20))


def test_focal_spread_by_hand():
    """1.2 mm x 0.3 eV / 2.3548 / 80 keV x (1 + 80/511) / (1 + 80/1022)."""
    wanted = 1.2e6 * 0.3 / 2.35482 / 80e3 * (1 + 80 / 510.99895) / (1 + 80 / 1021.9979)
    assert focal_spread_nm(1.2, 0.3, 80) == pytest.approx(wanted, rel=1e-6)
    assert wanted == pytest.approx(2.05, abs=0.005)


@pytest.mark.parametrize("dose, aperture", [(2000, 20), (2000, 25), (8000, 25)])
def test_a_trial_has_the_source_of_its_setting(tmp_path, dose, aperture):
    bench = bench_of(tmp_path, instrument__gun=COLD, instrument__cc_mm=1.2)
    setting = replace(SETTING, semiangle_mrad=aperture)
    operation = operate(bench, setting, dose)
    config = to_experiment_config(bench, operation)
    assert config.source_size_a == pytest.approx(source_rms_a(1e8, 80, aperture, operation.current_pa), abs=1e-6)
    assert config.focal_spread_nm == pytest.approx(2.05, abs=0.005)
    assert config.margin_a == pytest.approx(
        config.model_copy(update={"source_size_a": 0.0}).margin_a + 3 * config.source_size_a
    )


def test_what_is_known_is_in_every_trial_and_what_is_uncertain_in_the_draws(tmp_path):
    write_plan(tmp_path / "tiny" / "study.yaml", instrument__source_size_a=0.2, instrument__focal_spread_nm=1.0)
    resolved = load(tmp_path / "tiny", "preview", tmp_path / "results")
    planned = Runners(resolved).trial(SETTING, 2000).experiment
    assert (planned.source_size_a, planned.focal_spread_nm) == (0.2, 1.0)
    errors = [draw_errors(resolved, number) for number in range(20)]
    for number, one in enumerate(errors[:3]):
        trial, _ = drawn(resolved, SETTING, 2000, number)
        assert trial.experiment.source_size_a == pytest.approx(0.2 * one.source)
        assert trial.experiment.focal_spread_nm == pytest.approx(one.focal_spread)
        assert (trial.believed.source_size_a, trial.believed.focal_spread_nm) == (0.2, 1.0)
        assert trial.experiment.margin_a == trial.believed.margin_a
    assert all(0.5 <= factor <= 1.5 for one in errors for factor in (one.source, one.focal_spread))
    assert len({one.source for one in errors}) == len({one.focal_spread for one in errors}) == 20


def test_a_plan_without_gun_takes_the_largest_current_and_one_with_it_a_fine_source(tmp_path):
    plain = bench_of(tmp_path, instrument__source_size_a=0.4)
    assert operate(plain, SETTING, 8000).current_pa == 20
    assert plain.source_a(SETTING, 1) == plain.source_a(SETTING, 20) == 0.4
    bench = bench_of(tmp_path, instrument__gun=WEAK)
    sizes = {current: bench.source_a(SETTING, current) for current in (1, 4, 20)}
    assert sizes[4] < 0.3 * 0.9 < sizes[20]
    assert operate(bench, SETTING, 8000).current_pa == 4
    # a time limit that only the largest current keeps
    hurried = bench_of(tmp_path, instrument__gun=WEAK, goal__time_limit_s=1)
    assert operate(hurried, SETTING, 8000).current_pa == 20
    rows = {row.name: row for row in make_card(hurried, operate(hurried, SETTING, 8000), "x", 1e9).rows}
    assert rows["Source size"].status == "amber"
    assert rows["Source size"].change.startswith("A current of 4 pA or less")
    assert rows["Source size"].source == "our own knife edge"


@pytest.mark.parametrize("own", [False, True])
def test_card_trials_and_the_day_have_the_same_probe_modes(tmp_path, own):
    reconstruction = {"reconstruction": None} if not own else {}
    bench = bench_of(tmp_path, instrument__source_size_a=0.4, **reconstruction)
    operation = operate(bench, SETTING, 8000)
    powers = probe_powers(bench, bench.beam(SETTING, operation.current_pa))
    assert len(powers) >= 2
    assert all(0 < power < 1 - sum(powers) for power in powers)
    row = next(row for row in make_card(bench, operation, "x", 1e9).rows if row.name == "Probe modes")
    day = day_reconstruction(bench.plan, 2, powers)
    assert row.value == 1 + len(powers)
    assert day.probe.modes == (1 if own else row.value)  # a plan of the user's own is taken as it is
    assert row.status == ("amber" if own else "green")
    write_plan(tmp_path / "tiny" / "study.yaml", instrument__source_size_a=0.4, **reconstruction)
    resolved = load(tmp_path / "tiny", "preview", tmp_path / "results")
    study = for_beam(bench, resolved.of(SETTING).study, still_config(bench, operation))
    assert study.reconstruction.probe == day.probe
    fine = bench_of(tmp_path, instrument__source_size_a=0.2, reconstruction=None)
    assert probe_powers(fine, fine.beam(SETTING, 4)) == ()
    assert trial_reconstruction(fine.plan).probe.modes == 1


def test_an_ordinary_source_is_simulated_and_what_cannot_be_is_left_out(tmp_path):
    """0.3 A rms with 30 mrad at 300 kV, 1.5 times as much in draws; with 0.6 A a word, on the card too."""
    changes = {
        "instrument__voltages_kv": [300], "instrument__apertures_mrad": [15, 30], "instrument__pixels_mrad": [4.5],
        "instrument__defocus_nm": {"low": -6, "high": 6},
    }  # fmt: skip
    bench = bench_of(tmp_path, instrument__source_size_a=0.3, **changes)
    setting = Setting(300, 30, 4, 1.5, 4.5)
    assert beam_phases_rad(300, 30e-3, 1.5 * 0.3, 0.0)[0] > 8.5
    assert "source size" not in {violation.name for violation in operate(bench, setting, 2000).violations}
    wide = bench_of(tmp_path, instrument__source_size_a=0.6, **changes)
    violation = next(v for v in operate(wide, setting, 2000).violations if v.name == "source size")
    assert "at most 0.435 Å rms" in violation.rule
    assert violation.mend == "Use an aperture of 15 mrad or less."
    rows = make_card(wide, operate(wide, setting, 2000), "x", 1e9).rows
    assert next(row for row in rows if row.name == "source size").status == "red"


def test_the_sheet_says_where_the_source_is_from(tmp_path):
    bench = bench_of(tmp_path, instrument__gun=COLD)
    item = {"source_size_a": 0.1, "focal_spread_nm": 0.0}
    assert source_words(item, bench) == ("0.1 Å rms, 0.24 Å FWHM", "cold-feg at this current")


BAD = {
    "per cm2": ({"gun": {**COLD, "reduced_brightness_a_per_m2_sr_v": 5e3}}, "gun.reduced.*cm.2 sr V\\), write 5e.07"),
    "not reduced": ({"gun": {**COLD, "reduced_brightness_a_per_m2_sr_v": 1e13}}, "divide it by the voltage.*1e.08"),
    "meV": ({"gun": {**COLD, "energy_spread_ev": 300}}, "gun.energy_spread_ev.*in meV, write 0.3"),
    "kind": ({"gun": {"kind": "schotky"}}, "gun.kind.*schottky"),
    "two sources": ({"gun": COLD, "source_size_a": 0.2}, "source_size_a: must say with a gun.*got 0.2.*source_at"),
    "measured nowhere": ({"source_at": AT}, "source_at: is where source_size_a was measured"),
    "twice": ({"gun": COLD, "source_size_a": 0.2, "source_at": AT}, "gun.reduced.*must be left out where a source"),
    "two spreads": ({"gun": COLD, "cc_mm": 1.2, "focal_spread_nm": 2}, "cc_mm: must be left out.*got 1.2"),
    "no energies": ({"cc_mm": 1.2}, "cc_mm: needs a gun.*Add gun"),
    "unknown source": ({"sources": {"curents_pa": "me"}}, "sources: must name fields.*currents_pa"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_contradicts_itself_is_refused_with_what_to_do(tmp_path, name):
    changes, words = BAD[name]
    with pytest.raises(InputError, match=words):
        read_plan(write_plan(tmp_path / "p.yaml", **{f"instrument__{key}": value for key, value in changes.items()}))


def test_a_typical_gun_is_said_not_to_be_yours(tmp_path):
    path = write_plan(tmp_path / "p.yaml", instrument__gun={"kind": "schottky"}, instrument__cc_mm=1.0)
    words = next(warning for warning in read_plan(path)[1] if "gun" in warning)
    assert "reduced_brightness_a_per_m2_sr_v 5e+07, energy_spread_ev 0.7" in words
    assert not [w for w in read_plan(write_plan(tmp_path / "q.yaml", instrument__gun=COLD))[1] if "gun" in w]


def test_a_resolved_plan_reads_as_itself():
    plan = PlanningStudy(study="x", **{k: v for k, v in tiny_plan(instrument__gun=COLD).items() if k != "kind"})
    assert InstrumentConfig.model_validate(plan.instrument.model_dump(mode="json")) == plan.instrument
