"""All of the dose: what is counted of it, in the operation, the card, the trials, the bound and the sheet; and what a
detector makes of an electron."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import numpy as np
import pytest
from plan_files import write_plan

from ptydesign.cli import main
from ptydesign.errors import InputError
from ptydesign.mtf import mtf
from ptydesign.planning.card import make_card
from ptydesign.planning.card_dose import coincidence_loss
from ptydesign.planning.detectors import find_detector
from ptydesign.planning.doses import critical_doses
from ptydesign.planning.errors import drawn
from ptydesign.planning.instrument import Bench, Setting
from ptydesign.planning.limits import make_scene
from ptydesign.planning.load import load, read_plan
from ptydesign.planning.operation import operate
from ptydesign.planning.reconstruction import day_reconstruction
from ptydesign.planning.resolve import Mode, detected_dose, for_beam, mode_study
from ptydesign.planning.search import Runners
from ptydesign.planning.sheet import dose_words
from ptydesign.reconstruct.correction import Correction
from ptydesign.types import Potential

SETTING = Setting(80, 20, -4, 2.0, 4.0)
ELECTRONS = 6.241509  # in a pA and us
SLOW = {"pixels": [32, 32], "frames_per_s": 1000, "read_out_us": 400}
LOSSES = {
    "detector__override": SLOW,
    "instrument__beam_blanked_in_flyback": False,
    "goal__pre_exposure_e_per_a2": 200,
}


def bench_of(tmp_path, **changes) -> Bench:
    return Bench(read_plan(write_plan(tmp_path / "p.yaml", **changes))[0])


def rows_of(bench: Bench, dose: float = 2000, setting: Setting = SETTING):
    return {row.name: row for row in make_card(bench, operate(bench, setting, dose), "x", 1e9).rows}


def test_a_dose_is_shared_out_by_hand(tmp_path):
    """2000 e/A^2, 200 of them before the scan: 7200 electrons fall on a position of 2 A, in 1153.6 us of 1 pA. Of these
    400 us are the read-out and 100/41 us the flyback of a line of 41 positions."""
    operation = operate(bench_of(tmp_path, **LOSSES), SETTING, 2000)
    assert operation.current_pa == 1  # 4 pA take less than a frame
    beam = 7200 / ELECTRONS
    exposure = beam - 400 - 100 / 41
    assert operation.exposure_us == pytest.approx(exposure, rel=1e-6)
    assert operation.exposure_us == pytest.approx(751.13, abs=0.01)
    assert operation.dwell_us == pytest.approx(exposure + 400, rel=1e-6)
    assert operation.electrons == pytest.approx(exposure * ELECTRONS, rel=1e-6)
    assert operation.counted_part == pytest.approx(exposure / beam * 0.9, rel=1e-6)
    assert operation.counted_part == pytest.approx(0.5860, abs=1e-4)
    assert operation.scan_time_s == pytest.approx(31 * 41 * operation.dwell_us * 1e-6 + 31 * 1e-4, rel=1e-6)
    assert operation.rate_bright_s == pytest.approx(ELECTRONS * 1e6 / (math.pi * 25), rel=1e-6)


def test_blanked_beams_count_all(tmp_path):
    blanked = bench_of(tmp_path, detector__override={**SLOW, "blanked": True})
    operation = operate(blanked, SETTING, 2000)
    assert operation.counted_part == 1
    assert operation.electrons == 8000
    assert operation.dwell_us == pytest.approx(operation.exposure_us + 400)
    assert operation.current_pa == 1  # 2 pA would leave 641 us of exposure, but aren't on the list


def test_without_any_loss_nothing_changes(tmp_path):
    operation = operate(bench_of(tmp_path), SETTING, 2000)
    assert operation.counted_part == 1.0
    assert operation.electrons == 8000.0
    assert operation.exposure_us == operation.dwell_us
    assert operation.current_pa == 4


def test_a_current_that_counts_more_is_taken_within_the_time(tmp_path):
    """The larger current is quicker, but most of its frame is read-out."""
    fast = {"pixels": [32, 32], "frames_per_s": 5000, "read_out_us": 190}
    found = {limit: operate(bench_of(tmp_path, detector__override=fast, goal__time_limit_s=limit), SETTING, 2000)
             for limit in (60, 1)}  # fmt: skip
    assert [one.current_pa for one in found.values()] == [1, 4]
    assert found[60].counted_part > 0.8 > 0.5 > found[1].counted_part
    assert found[1].scan_time_s < 1 < found[60].scan_time_s


def test_trials_and_the_bound_get_the_counted_part(tmp_path):
    write_plan(tmp_path / "tiny" / "study.yaml", **LOSSES)
    resolved = load(tmp_path / "tiny", "preview", tmp_path / "results")
    bench, operation = resolved.bench, operate(resolved.bench, SETTING, 2000)
    counted = 2000 * operation.counted_part
    assert detected_dose(bench, operation) == pytest.approx(counted)
    assert drawn(resolved, SETTING, 2000, 0)[0].dose_e_per_a2 == pytest.approx(counted)
    assert Runners(resolved).trial(SETTING, 2000).dose_e_per_a2 == pytest.approx(counted)
    pixel = bench.pixel_a(SETTING) / 2
    potential = Potential(np.zeros((1, 1, 300, 300), np.float32), (pixel, pixel), np.ones(1))
    scene = make_scene(resolved, SETTING, 2000, potential)
    assert np.max(scene.imaging.electrons) == pytest.approx(counted * 4, rel=1e-5)


def test_the_card_says_what_is_counted_and_what_to_change(tmp_path):
    row = rows_of(bench_of(tmp_path, **LOSSES))["Dose that is counted"]
    assert row.value == pytest.approx(58.60, abs=0.01)
    assert row.status == "amber"
    assert "read-out 400 µs" in row.source
    assert "beam on in the flyback" in row.source
    assert "200 e/Å² before the scan" in row.source
    assert "blanked" in row.change  # the read-out costs most
    before = rows_of(bench_of(tmp_path, goal__pre_exposure_e_per_a2=1500))["Dose that is counted"]
    assert (before.value, before.status) == (25, "red")
    assert "beside the scan" in before.change
    assert rows_of(bench_of(tmp_path))["Dose that is counted"].status == "green"


def test_the_sheet_says_both_doses():
    item = {"dose_e_per_a2": 2000.0, "counted_part": 0.586, "pre_exposure_e_per_a2": 200.0}
    assert dose_words(item) == "all that the specimen gets; 1172 of it (59 %) are counted, 200 are before the scan"
    assert dose_words({"dose_e_per_a2": 2000.0}) == "current × dwell / step²"


def test_a_dose_rate_limits_the_current(tmp_path):
    radius2 = (40 * 0.02) ** 2 + (0.61 * 0.0417572 / 0.02) ** 2
    rate = ELECTRONS * 1e6 / (math.pi * radius2)
    assert rows_of(bench_of(tmp_path))["Dose rate in the probe"].value == pytest.approx(4 * rate, rel=1e-4)
    slow = bench_of(tmp_path, goal__dose_rate_limit_e_per_a2_s=2 * rate)
    assert operate(slow, SETTING, 2000).current_pa == 1
    assert operate(bench_of(tmp_path, goal__dose_rate_limit_e_per_a2_s=1e9), SETTING, 2000).current_pa == 4
    with pytest.raises(InputError, match="dose rate") as caught:
        bench_of(tmp_path, goal__dose_rate_limit_e_per_a2_s=rate / 1e4)
    assert "current / (e π R²)" in caught.value.rule
    assert caught.value.field.endswith("goal.dose_rate_limit_e_per_a2_s")


def test_the_nearest_dose_is_above_what_is_spent_before(tmp_path):
    """1 pA gives 624 electrons in a frame of 100 us: 69 e/A^2 in steps of 3 A, beside the 50 before the scan."""
    with pytest.raises(InputError, match="frame rate") as caught:
        bench_of(tmp_path, goal__pre_exposure_e_per_a2=50, goal__doses_e_per_a2=[60])
    nearest = float(re.search(r"a dose of ([0-9.]+) e/Å², the nearest", caught.value.mend).group(1))
    assert 50 + 624.15 / 9 <= nearest < 121  # three digits, upwards


@pytest.mark.parametrize(
    "changes, field, words",
    [
        ({"goal__pre_exposure_e_per_a2": 2000}, "goal.pre_exposure_e_per_a2", "below the smallest dose, 2000"),
        (
            {"detector__override": {**SLOW, "read_out_us": 1000}},
            "detector.override.read_out_us",
            "shorter than a frame",
        ),
        ({"goal__dose_rate_limit_e_per_a2_s": 0}, "goal.dose_rate_limit_e_per_a2_s", "must be greater than 0"),
        ({"detector__override": {**SLOW, "read_out_us": -1}}, "detector.override.read_out_us", "must be at least 0"),
    ],
)
def test_impossible_doses_are_refused(tmp_path, changes, field, words):
    with pytest.raises(InputError, match=words) as caught:
        bench_of(tmp_path, **changes)
    assert caught.value.field.endswith(field)


def test_every_critical_dose_has_a_source(capsys):
    assert main(["doses"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    found = critical_doses()
    assert [one.dose_e_per_a2[0] for one in found] == sorted(one.dose_e_per_a2[0] for one in found)
    for one in found:
        assert f"{one.specimen}: {one.words}" in shown
        assert re.search(r"20\d\d|abstract|fig", one.source)
        assert one.source in shown


def test_another_frame_rate_than_on_file_is_another_way_to_read():
    assert find_detector("EMPAD").read_out_us == 860
    assert find_detector("EMPAD", {"frames_per_s": 500}).read_out_us == 860
    assert find_detector("EMPAD", {"frames_per_s": 10000}).read_out_us is None


@pytest.mark.parametrize(
    "written, name",
    [
        ("empad", "EMPAD"), ("Empad G2", "EMPAD-G2"), ("Medipix3", "Merlin"), ("merlin 1 bit", "Merlin-1bit"),
        ("4D Camera", "4D-Camera"), ("timepix3", "Timepix3-quad"), ("Gatan K3", "K3"), ("Celeritas XS", "CeleritasXS"),
    ],
)  # fmt: skip
def test_detectors_are_found_as_they_are_written(written, name):
    assert find_detector(written).name == name


def test_an_electron_makes_several_hits(tmp_path):
    """3 hits at 80 kV: a third of the electrons per second, a third of the rate in a pixel, three times the file."""
    override = {"pixels": [32, 32], "frames_per_s": 10000, "hits_per_s": 1e8, "rate_per_px_s": 9e5, "bytes_per_hit": 8}
    one = bench_of(tmp_path, detector__override=override)
    three = bench_of(tmp_path, detector__override={**override, "hits_per_electron": {60: 2, 100: 4}})
    assert three.detector.hits_at(80) == 3
    assert three.detector.electrons("hits_per_s", 80) == pytest.approx(1e8 / 3)
    found = [operate(bench, SETTING, 2000) for bench in (one, three)]
    assert [operation.current_pa for operation in found] == [4, 1]  # 3.2e5 electrons in a bright pixel are 9.5e5 hits
    assert found[1].file_gb == pytest.approx(3 * found[0].file_gb)
    rows = rows_of(three)
    assert rows["Hits of an electron"].value == 3
    assert rows["Rate in a bright pixel"].limit == "300,000 or less"
    assert find_detector("Timepix3").hits_at(200) > 2


def test_contrast_of_the_finest_fringe_is_the_simulated_one(tmp_path):
    override = {"pixels": [64, 64], "frames_per_s": 10000, "mtf_nyquist": {60: 0.3, 70: 0.25}}
    bench = bench_of(tmp_path, detector__override=override, detector__bin=2, instrument__pixels_mrad=[2])
    row = rows_of(bench, setting=replace(SETTING, camera=2.0))["Contrast of the finest fringe (MTF)"]
    assert row.value == pytest.approx(0.25 ** (math.sin(math.pi / 4) ** 2))
    assert "of 70 kV, the nearest that is known" in row.source
    merlin = find_detector("Merlin")
    assert merlin.mtf_at(200) == 0.01


def test_trials_and_the_day_know_the_mtf(tmp_path):
    override = {"pixels": [64, 64], "frames_per_s": 10000, "mtf_nyquist": {80: 0.3}}
    changes = {"detector__override": override, "reconstruction": None}
    write_plan(tmp_path / "tiny" / "study.yaml", **changes)
    resolved = load(tmp_path / "tiny", "preview", tmp_path / "results")
    bench, study = resolved.bench, resolved.of(SETTING).study
    assert bench.mtf(80) == study.experiment.mtf_nyquist < 1
    known = study.reconstruction.correction
    assert known.mtf_nyquist == pytest.approx(bench.mtf(80), abs=1e-4)
    assert day_reconstruction(resolved.study, 5, (), bench.mtf(80)).correction == known
    pixel = bench.pixel_a(SETTING) / 2
    potential = Potential(np.zeros((1, 1, 300, 300), np.float32), (pixel, pixel), np.ones(1))
    bound = make_scene(resolved, SETTING, 2000, potential).imaging
    np.testing.assert_allclose(bound.mtf, mtf((64, 64), bench.mtf(80)), rtol=1e-6)
    modes = for_beam(bench, study, study.experiment.model_copy(update={"source_size_a": 0.4}))
    assert modes.reconstruction.correction == known
    (tmp_path / "ideal").mkdir()
    ideal = bench_of(tmp_path / "ideal", reconstruction=None)
    assert mode_study(ideal, Mode(80, SETTING.camera)).reconstruction.correction == Correction()


def test_coincidences_are_lost_as_in_a_simulation(tmp_path):
    """Of the electrons that meet in an event's pixels one is found."""
    counts = np.random.default_rng(0).poisson(0.4, 400_000)
    assert coincidence_loss(0.1, 4) == pytest.approx(1 - (counts > 0).sum() / counts.sum(), abs=2e-3)
    assert coincidence_loss(0.0, 4) == 0
    override = {"pixels": [32, 32], "frames_per_s": 10000, "event_px": 4}
    bench = bench_of(tmp_path, detector__override=override)
    operation = operate(bench, SETTING, 2000)
    row = rows_of(bench)["Lost in coincidences"]
    assert row.value == pytest.approx(100 * coincidence_loss(operation.rate_bright_s / 10000, 4))
    assert row.status == "red"
