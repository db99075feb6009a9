"""Energy losses in a plan: how many electrons have them, and where they enter."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from plan_files import resolved_of, write_plan

from ptydesign.errors import InputError
from ptydesign.mtf import mtf
from ptydesign.planning.card import make_card
from ptydesign.planning.inelastic import density_and_thickness, losses_in
from ptydesign.planning.instrument import Bench, Setting
from ptydesign.planning.limits import make_scene
from ptydesign.planning.load import read_plan
from ptydesign.planning.operation import operate
from ptydesign.planning.resolve import detected_dose, still_config
from ptydesign.simulate.detector import losses_of
from ptydesign.simulate.specimen import BilayerSample, StructureSample
from ptydesign.study.acquisition import to_experiment
from ptydesign.types import Potential

SETTING = Setting(80, 20, -4, 2.0, 4.0)
OXIDE = Path(__file__).parents[2] / "studies" / "plan_oxide" / "SrTiO3.cif"
CARBON = {"sample__film": {"entrance_a": 300, "exit_a": 100}}


def bench_of(tmp_path, energy_filter, **changes) -> Bench:
    changes = changes | ({} if energy_filter is None else {"instrument__energy_filter": energy_filter})
    return Bench(read_plan(write_plan(tmp_path / "p.yaml", **changes))[0])


def test_density_is_the_crystals():
    """SrTiO3: 183.5 u in (3.905 A)^3, whatever its edges cut. A bilayer of MoS2: that of bulk, to its own distance."""
    oxide = StructureSample(kind="structure", file=OXIDE, thickness_a=10 * 3.905)
    assert density_and_thickness(oxide) == pytest.approx((183.48 * 1.66054 / 3.905**3, 39.05), rel=2e-3)
    assert density_and_thickness(BilayerSample())[0] == pytest.approx(5.0, rel=0.02)


def test_thickness_and_voltage_decide():
    thin, thick, fast = losses_in(5.12, 100, 80), losses_in(5.12, 2000, 80), losses_in(5.12, 2000, 300)
    assert thin.part == pytest.approx(1 - np.exp(-10 / thin.mean_free_path_nm), abs=1e-6)
    assert thick.part > 0.9 > fast.part > thin.part
    assert thick.angle_mrad > fast.angle_mrad


def test_a_filter_takes_electrons_away_and_without_one_patterns_are_blurred(tmp_path):
    off, counted, filtered = (bench_of(tmp_path, on, **CARBON) for on in (None, False, True))
    part = counted.losses(80).part
    assert 0.3 < part < 0.6  # 40 nm of carbon, of a mean free path of some 80
    one, other, third = (operate(bench, SETTING, 2000) for bench in (off, counted, filtered))
    assert one == other
    assert third.electrons == pytest.approx((1 - part) * one.electrons)
    assert third.counts_bright == pytest.approx((1 - part) * one.counts_bright)
    assert detected_dose(filtered, third) == pytest.approx((1 - part) * detected_dose(off, one))
    fields = [still_config(bench, operate(bench, SETTING, 2000)).model_dump() for bench in (off, counted, filtered)]
    assert fields[0] == fields[2]
    assert fields[1] == {**fields[0], "inelastic_part": part, "inelastic_angle_mrad": counted.losses(80).angle_mrad}
    cards = [make_card(bench, operate(bench, SETTING, 2000), "x", None) for bench in (off, counted, filtered)]
    rows = [{row.name: row for row in card.rows}.get("Electrons that lose energy") for card in cards]
    assert rows[0] is None
    assert rows[1].value == rows[2].value == pytest.approx(100 * part)
    assert "filtered out" in rows[2].source
    assert "blurred" in rows[1].source


def test_the_bound_has_them(tmp_path):
    resolved = resolved_of(tmp_path, instrument__energy_filter=False, **CARBON)
    setting = replace(SETTING, camera=resolved.bench.cameras[0])
    potential = Potential(np.ones((1, 1, 200, 200), np.float32), (0.25, 0.25), np.array([12.0]))
    imaging = make_scene(resolved, setting, 2000, potential).imaging
    planned = still_config(resolved.bench, operate(resolved.bench, setting, 2000))
    wanted = losses_of(to_experiment(planned, 2000))
    blur = mtf(wanted.shape[:1] * 2, planned.mtf_nyquist)
    np.testing.assert_allclose(imaging.mtf, wanted if blur is None else wanted * blur, rtol=1e-5)
    assert imaging.mtf.min() < 0.95


def test_a_plan_that_does_not_ask_is_written_as_before(tmp_path):
    assert "energy_filter" not in bench_of(tmp_path, None).instrument.model_dump()
    assert bench_of(tmp_path, None).losses(80) is None


def test_an_image_has_no_density(tmp_path):
    np.save(tmp_path / "phase.npy", np.random.default_rng(0).normal(0, 0.1, (400, 400)))
    image = {"kind": "image", "file": "phase.npy", "pixel_a": 0.2, "quantity": "phase_rad", "voltage_kv": 80}
    with pytest.raises(InputError, match=r"energy_filter.*an image"):
        resolved_of(tmp_path, instrument__energy_filter=False, sample=image | {"file": str(tmp_path / "phase.npy")})


def test_phonons_are_snapshots_of_the_motion(tmp_path):
    quiet, moving = ({"simulation__thermal_sigma_a": 0.08, **more} for more in ({}, {"simulation__phonons": 3}))
    first, second = (next(iter(resolved_of(tmp_path, **one).modes.values())).study.potential for one in (quiet, moving))
    assert first.thermal.model_dump() == {"kind": "debye_waller", "sigma_a": 0.08}
    assert second.thermal.model_dump() == {"kind": "frozen_phonons", "sigma_a": 0.08, "configurations": 3}
    with pytest.raises(InputError, match=r"thermal_sigma_a.*greater than 0"):
        resolved_of(tmp_path, simulation__phonons=3)
