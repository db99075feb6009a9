"""The plan explorer: what settings mean, a pattern as the simulator has it, plans that it writes."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from plan_files import write_plan

from ptydesign.errors import InputError
from ptydesign.planning.load import read_plan
from ptydesign.planning.operation import operate
from ptydesign.planning.resolve import detected_dose, make_bench, to_experiment_config
from ptydesign.planning.thumb import expert
from ptydesign.simulate.detector import blurred
from ptydesign.simulate.jax_simulator import intensities
from ptydesign.simulate.window import choose_window
from ptydesign.study.acquisition import to_experiment
from ptydesign.types import Potential
from ptydesign.web import explorer as explorers
from ptydesign.web.explorer import QUICK_FIELD_A, QUICK_SWEEPS, Explorer, moved, quick
from ptydesign.web.pattern import Specimen

STUDIES = Path(__file__).parents[2] / "studies"


@pytest.fixture(scope="module")
def explorer(tmp_path_factory):
    return Explorer(write_plan(tmp_path_factory.mktemp("plan") / "mine.yaml"), "smoke")


def test_controls_are_what_the_instrument_has(explorer):
    assert explorer.controls["semiangle_mrad"].choices == (20, 25)
    assert explorer.controls["current_pa"].choices == (1, 4, 20)
    step = explorer.controls["step_a"]
    assert (step.low, step.high) == (1.2, 3)


def test_dose_and_dwell_time_follow_each_other(explorer):
    knobs = explorer.start()
    assert knobs.dose_e_per_a2 == pytest.approx(8000)
    stepped = moved(explorer, knobs, {"step_a": 2 * knobs.step_a})
    assert stepped.dose_e_per_a2 == pytest.approx(8000), "a step keeps the dose"
    assert stepped.dwell_us == pytest.approx(4 * knobs.dwell_us)
    longer = moved(explorer, knobs, {"dwell_us": 2 * knobs.dwell_us})
    assert longer.dose_e_per_a2 == pytest.approx(16000)
    assert moved(explorer, knobs, {"dose_e_per_a2": 100.0}).dose_e_per_a2 == pytest.approx(100)


def test_the_answer_is_the_cards_and_the_plans(explorer):
    knobs = explorer.start()
    answer = explorer.answer(knobs)
    assert answer.operation == replace(operate(explorer.bench, expert(explorer.bench), 8000.0), setting=answer.setting)
    electrons = next(row for row in answer.card.rows if row.name == "Electrons per pattern")
    assert electrons.value == pytest.approx(8000 * knobs.step_a**2)
    assert answer.probe.intensity.sum() == pytest.approx(1)
    middle = np.unravel_index(np.argmax(answer.probe.intensity), answer.probe.intensity.shape)
    assert np.hypot(*(np.subtract(middle, 16) * answer.probe.pixel_a)) < answer.probe.radius_a
    inside = np.isfinite(answer.probe.phase_rad).sum() * answer.probe.pixel_mrad**2
    assert inside == pytest.approx(np.pi * knobs.semiangle_mrad**2, rel=0.25)


def test_a_current_that_cannot_be_is_red(explorer):
    knobs = moved(explorer, explorer.start(), {"current_pa": 20.0, "dose_e_per_a2": 100.0})
    answer = explorer.answer(knobs)
    assert answer.card.status == "red"
    named = {violation.name for violation in answer.operation.violations}
    assert "current and dwell time" in named


def test_an_answer_takes_a_fraction_of_300_ms(explorer):
    knobs = explorer.start()
    explorer.answer(knobs)
    begin = time.process_time()
    for defocus in (-1.0, -2.0, -3.0):
        explorer.answer(moved(explorer, knobs, {"defocus_nm": defocus}))
    assert (time.process_time() - begin) / 3 < 0.1


@pytest.mark.parametrize("slices", [1, 3])
def test_a_pattern_is_the_simulators(explorer, slices):
    knobs = explorer.start()
    operation = operate(explorer.bench, explorer.setting(knobs), knobs.dose_e_per_a2)
    for source_a in (0.0, 0.2):
        config = to_experiment_config(explorer.bench, operation)
        config = config.model_copy(update={"source_size_a": source_a, "drift_a": (0.0, 0.0)})
        experiment = to_experiment(config, detected_dose(explorer.bench, operation))
        pixel = explorer.bench.pixel_a(operation.setting) / 2
        rng = np.random.default_rng(0)
        values = 20 * rng.random((1, slices, 288, 288)).astype(np.float32)
        potential = Potential(values, (pixel, pixel), np.full(slices, 15.0))
        window = choose_window(experiment, potential.pixel_a, 15.0 * (slices - 1))
        middle = np.asarray(potential.grid.extent_a)[None] / 2
        expected = blurred(intensities(potential, experiment, middle, window, periodic=True)[0], experiment)
        found = Specimen(potential, 80.0).mean_pattern(experiment)
        np.testing.assert_allclose(found, expected, atol=2e-4 * expected.max())


def test_a_quick_trial_is_smaller_and_trusts_what_it_is_told(explorer):
    knobs = explorer.start()
    config = to_experiment_config(explorer.bench, operate(explorer.bench, explorer.setting(knobs), 8000.0))
    config = config.model_copy(update={"field_of_view_a": (24.0, 8.0)})
    study = explorer.resolved.of(explorer.setting(knobs)).study
    plan = study.reconstruction.model_copy(update={"calibrate": {"offsets": {"defocus_nm": (-5.0, 0.0, 5.0)}}})
    made, small = quick(study.model_copy(update={"reconstruction": plan, "scored_sweeps": (30, 60)}), config)
    assert small.field_of_view_a == (QUICK_FIELD_A, 8.0)
    assert small.margin_a == pytest.approx(config.margin_a / 2)
    assert small.positions < config.positions
    assert made.reconstruction.calibrate.offsets == {}
    assert max(made.scored) == made.reconstruction.sweeps <= QUICK_SWEEPS * len(plan.engines)


def test_it_writes_plans_that_are_good_and_compares_with_them(explorer, tmp_path):
    knobs = moved(explorer, explorer.start(), {"semiangle_mrad": 25.0, "step_a": 1.5, "defocus_nm": -3.0})
    path = tmp_path / "new.yaml"
    explorer.write(knobs, path)
    bench = make_bench(read_plan(path, "smoke")[0])
    assert expert(bench) == explorer.setting(knobs)
    before = path.read_text()
    explorer.path.with_suffix(".yaml").read_text()
    with pytest.raises(InputError, match="must not exist yet"):
        explorer.write(explorer.start(), path)
    assert path.read_text() == before
    again = Explorer(path, "smoke")
    again.write(moved(again, knobs, {"defocus_nm": -2.0}), path)
    text = path.read_text()
    assert text.count("expert:") == 1
    assert yaml.safe_load(text)["expert"]["defocus_nm"] == -2.0


def test_comments_of_a_plan_stay(tmp_path):
    path = write_plan(tmp_path / "mine.yaml")
    path.write_text("# for Tuesday\n" + path.read_text() + "expert:\n  semiangle_mrad: 20\n  step_a: 2\n# the end\n")
    one = Explorer(path, "smoke")
    one.write(one.start(), path)
    text = path.read_text()
    assert "# for Tuesday" in text
    assert "# the end" in text
    assert text.count("expert:") == 1


def test_braces_of_an_experts_setting_may_close_on_a_line_of_their_own(tmp_path):
    path = write_plan(tmp_path / "mine.yaml")
    path.write_text(path.read_text() + "expert: {\n  semiangle_mrad: 20,\n  step_a: 2\n}\n# the end\n")
    one = Explorer(path, "smoke")
    one.write(one.start(), path)
    assert path.read_text().count("expert") == 1
    assert yaml.safe_load(path.read_text())["expert"]["semiangle_mrad"] == one.start().semiangle_mrad
    assert "# the end" in path.read_text()


def test_a_plan_written_elsewhere_names_its_files_there(tmp_path):
    """In a folder whose name YAML would read as something else; other words that are the file's name stay."""
    folder = tmp_path / "it's: a #1"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "SrTiO3.cif").write_bytes((STUDIES / "plan_oxide" / "SrTiO3.cif").read_bytes())
    sample = {"kind": "structure", "file": "SrTiO3.cif", "zone_axis": [0, 0, 1], "thickness_a": 7.81}
    path = write_plan(folder / "sub" / "p.yaml", title="SrTiO3.cif, as it was sent", sample=sample)
    one = Explorer(path, "smoke")
    one.write(one.start(), folder / "new.yaml")
    assert read_plan(folder / "new.yaml", "smoke")[0].title == "SrTiO3.cif, as it was sent"
    content = path.read_text()
    path.write_text(content.replace("file: SrTiO3.cif", "'file': SrTiO3.cif"))
    with pytest.raises(InputError, match="must name its files as"):
        one.write(one.start(), folder / "other.yaml")
    assert not (folder / "other.yaml").exists()


def test_a_camera_that_does_not_reach_the_resolution_says_so(tmp_path):
    one = Explorer(write_plan(tmp_path / "p.yaml", instrument__pixels_mrad=[4.0, 0.5]), "smoke")
    with pytest.raises(InputError, match="resolution"):
        one.pattern(moved(one, one.start(), {"camera": 0.5}))


def test_what_a_plan_recommends_has_its_current_and_dose(explorer):
    setting = {"voltage_kv": 80.0, "semiangle_mrad": 25.0, "defocus_nm": -4.0, "step_a": 1.2, "camera": 4.0}
    knobs = explorer.advised({"setting": setting, "current_pa": 4.0, "dose_e_per_a2": 8000.0})
    assert (knobs.current_pa, knobs.defocus_nm) == (4.0, -4.0)
    assert knobs.dose_e_per_a2 == pytest.approx(8000)
    with pytest.raises(InputError, match="must have a setting and a dose"):
        explorer.advised({"setting": {}})


def test_a_camera_that_was_seen_needs_no_second_specimen(tmp_path, monkeypatch):
    built = []

    class Made:
        bytes = 300

        def __init__(self, potential, voltage_kv):
            built.append(voltage_kv)

    monkeypatch.setattr(explorers, "Specimen", Made)
    one = Explorer(write_plan(tmp_path / "mine.yaml"), "smoke")
    monkeypatch.setattr(one, "_potential", lambda knobs: None)
    knobs = one.start()
    first, second, third = (replace(knobs, camera=knobs.camera * factor) for factor in (1, 2, 3))
    for here in (first, second, first, second, first):
        one._specimen_of(here)
    assert len(built) == 2
    monkeypatch.setattr(explorers, "SPECIMEN_BYTES", 700)
    one._specimen_of(third)
    assert [one.ready(here) for here in (first, second, third)] == [True, False, True], "what was left longest ago goes"
