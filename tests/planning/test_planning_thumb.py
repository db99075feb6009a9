"""The rule of thumb: what was published for such a sample, and always something that can be done."""

from __future__ import annotations

import pytest
from plan_files import write_plan

from ptydesign.planning.instrument import Bench
from ptydesign.planning.load import read_plan
from ptydesign.planning.operation import operate
from ptydesign.planning.resolve import expert_at, expert_words, moved_words, plan_cards
from ptydesign.planning.show import card_page, setting_text
from ptydesign.planning.thumb import DOSE_LIMITED, THICK, THIN, expert, rule_for

WIDE = {
    "instrument__voltages_kv": [300],
    "instrument__apertures_mrad": [15, 20, 30],
    "instrument__defocus_nm": {"low": -100, "high": 100},
    "instrument__step_a": {"low": 0.3, "high": 4},
    "instrument__pixels_mrad": [0.6],
    "instrument__currents_pa": [1, 10, 50],
    "detector__override": {"pixels": [128, 128], "frames_per_s": 10000},
    "goal__time_limit_s": None,
    "goal__resolution_a": 0.6,
}
OXIDE = {
    "sample": {"kind": "structure", "file": "studies/plan_oxide/SrTiO3.cif", "zone_axis": [0, 0, 1], "thickness_a": 200}
}


def bench_of(tmp_path, **changes) -> Bench:
    return Bench(read_plan(write_plan(tmp_path / "p.yaml", **{**WIDE, **changes}))[0])


def oxide(request, **changes):
    file = str(request.config.rootpath / OXIDE["sample"]["file"])
    return {"sample": {**OXIDE["sample"], "file": file}, "simulation__slice_thickness_a": 10.0, **changes}


def test_a_thick_crystal_in_slices_gets_what_was_published(tmp_path, request):
    bench = bench_of(tmp_path, **oxide(request), goal__doses_e_per_a2=[100_000])
    found = expert(bench)
    assert rule_for(bench) is THICK
    assert found.step_a == THICK.step_a == 0.41
    assert found.semiangle_mrad == 20  # the nearest to 21.4
    assert found.defocus_nm == pytest.approx(-20 * 21.4 / 20, abs=0.05)  # overfocus, with the published disk
    assert "Science 372:826" in expert_words(bench.plan)


def test_the_kind_of_sample_and_its_dose_choose_the_rule(tmp_path):
    assert rule_for(bench_of(tmp_path, goal__doses_e_per_a2=[50_000])) is THIN
    assert rule_for(bench_of(tmp_path, goal__doses_e_per_a2=[100, 5000])) is DOSE_LIMITED


def test_an_aperture_lies_inside_the_detector(tmp_path):
    """The detector ends at 10 mrad, and 17 mrad, though nearer to the published angle, can't be used."""
    narrow = {
        "instrument__apertures_mrad": [5, 8, 10, 17],
        "instrument__pixels_mrad": [10.1 / 64],
        "goal__resolution_a": 2.0,
        "goal__doses_e_per_a2": [20],
        "instrument__currents_pa": [0.1, 0.5, 1],
        "simulation__field_of_view_a": [30, 30],
    }
    bench = bench_of(tmp_path, **narrow)
    found = expert_at(bench, 20)
    assert found.semiangle_mrad == 10
    assert operate(bench, found, 20).feasible


@pytest.mark.parametrize("dose", [600, 5000, 4e5])
def test_what_can_be_done_at_all_can_be_done_by_the_rule(tmp_path, dose):
    """With so slow a detector and one current, few steps can be done: the rule is moved to one of them."""
    changes = {"goal__doses_e_per_a2": [dose], "instrument__currents_pa": [2], "instrument__dwell_us__high": 3000}
    changes |= {"detector__override": {"pixels": [128, 128], "frames_per_s": 2000, "counts_per_frame": 2000}}
    bench = bench_of(tmp_path, **changes)  # would be refused if nothing were possible
    assert operate(bench, expert_at(bench, dose), dose).feasible


def test_a_range_without_overfocus_is_kept_to(tmp_path):
    assert expert(bench_of(tmp_path, instrument__defocus_nm={"low": 0, "high": 30})).defocus_nm == 30
    assert expert(bench_of(tmp_path, instrument__defocus_nm={"low": -8, "high": 0})).defocus_nm == -8


def test_the_plans_own_values_stay(tmp_path):
    bench = bench_of(tmp_path, expert={"semiangle_mrad": 30, "defocus_nm": 12})
    found = expert_at(bench, 8000)
    assert (found.semiangle_mrad, found.defocus_nm) == (30, 12)


def test_card_names_the_rule_and_its_source(tmp_path):
    card = plan_cards(bench_of(tmp_path).plan, 1e9)[0]
    assert "Sci. Rep. 12:12284" in setting_text(card, "mrad")
    assert "Sci. Rep. 12:12284" in card_page([card], "mrad")
    own = bench_of(
        tmp_path, expert={"voltage_kv": 300, "semiangle_mrad": 20, "defocus_nm": -20, "step_a": 1, "camera": 0.6}
    )
    assert plan_cards(own.plan, 1e9)[0].about == ""


def test_a_setting_that_is_moved_says_why(tmp_path):
    """1.2 A at 300 e/A^2 needs frames that the detector can't do; what is taken is told."""
    path = write_plan(tmp_path / "p.yaml", expert={"step_a": 1.2}, goal__doses_e_per_a2=[300], detector__name="EMPAD")
    bench = Bench(read_plan(path)[0])
    operation = operate(bench, expert_at(bench, 300), 300)
    taken = operation.setting.step_a
    assert taken > 1.2
    words = moved_words(bench, operation)
    assert words.startswith("Frame rate")
    assert f"step 1.2 Å is {taken:g} Å here" in words
    assert moved_words(bench, operate(bench, expert(bench), 300)) == ""
