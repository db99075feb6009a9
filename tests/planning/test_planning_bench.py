"""Instrument, detectors and constraints of a plan: what can be set, and what to do where nothing can."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from plan_files import write_plan

from ptydesign.design.propose import initial_design
from ptydesign.design.sampling import saturated_fraction
from ptydesign.errors import InputError
from ptydesign.planning.config import DetectorChoice, PlanningStudy
from ptydesign.planning.constraints import most_counts
from ptydesign.planning.detectors import detector_names, find_detector
from ptydesign.planning.instrument import Bench, Setting
from ptydesign.planning.load import TEMPLATE, read_plan
from ptydesign.planning.operation import operate
from ptydesign.planning.resolve import Mode, mode_study
from ptydesign.planning.scope import total_trials
from ptydesign.planning.space import make_space, setting_of
from ptydesign.units import wavelength_a

ELECTRONS_PER_PA_US = 6.241509


def plan_of(tmp_path, **changes) -> PlanningStudy:
    return read_plan(write_plan(tmp_path / "p.yaml", **changes))[0]


def test_template_is_a_plan_at_every_scale():
    trials = {scale: total_trials(read_plan(TEMPLATE, scale)[0]) for scale in ("smoke", "preview", "paper")}
    assert trials["smoke"] < trials["preview"] / 2
    assert trials["paper"] > trials["preview"] * 2


@pytest.mark.parametrize("name", detector_names())
def test_every_number_of_a_detector_has_a_source(name):
    detector = find_detector(name)
    given = {f for f, v in detector.model_dump().items() if v is not None} - {"name", "sources"}
    assert given == set(detector.sources)
    assert all(len(source) > 3 for source in detector.sources.values())
    assert detector.pixels
    assert detector.frames_per_s


def test_override_replaces_a_number_and_its_source():
    detector = find_detector("EMPAD", {"frames_per_s": 900})
    assert (detector.frames_per_s, detector.source("frames_per_s")) == (900, "given in the plan")
    assert find_detector("mine", {"pixels": [64, 80], "frames_per_s": 10}).pixels == (64, 80)
    with pytest.raises(InputError, match="EMPAD"):
        find_detector("EMPADD")


def test_mtf_is_interpolated():
    detector = find_detector("x", {"pixels": [9, 9], "frames_per_s": 1, "mtf_nyquist": {60: 0.6, 100: 0.4}})
    assert [detector.mtf_at(v) for v in (30, 60, 80, 300)] == pytest.approx([0.6, 0.6, 0.5, 0.4])


def test_dose_current_and_dwell_agree(tmp_path):
    bench = Bench(plan_of(tmp_path))
    operation = operate(bench, Setting(80, 20, -4, 2, 4.0), 2000)
    assert operation.feasible
    assert operation.electrons == 8000
    assert operation.current_pa * operation.dwell_us * ELECTRONS_PER_PA_US == pytest.approx(8000, rel=1e-5)
    assert operation.current_pa == 4  # 20 pA would take less than a frame of 100 us
    rows, columns = operation.shape
    assert (rows, columns) == (31, 41)
    assert operation.scan_time_s == pytest.approx(rows * columns * operation.dwell_us * 1e-6 + rows * 1e-4)


def test_camera_length_gives_the_pixel(tmp_path):
    plan = plan_of(
        tmp_path,
        instrument__pixels_mrad=None,
        instrument__camera_lengths_mm=[37.5],
        detector__override={"pixels": [32, 48], "pixel_um": 150, "frames_per_s": 10000},
    )
    bench = Bench(plan)
    assert bench.pixel_mrad(37.5) == pytest.approx(4.0)
    assert bench.pixels == 32
    setting = Setting(80, 20, -4, 2, 37.5)
    assert bench.pixel_a(setting) * 32 == pytest.approx(bench.window_a(setting)) == wavelength_a(80) / 4e-3


def test_binning_keeps_the_physical_pixels_counts(tmp_path):
    fine = Bench(
        plan_of(tmp_path, detector__override={"pixels": [64, 64], "frames_per_s": 1e4}, instrument__pixels_mrad=[2])
    )
    coarse = Bench(
        plan_of(
            tmp_path, detector__bin=2, detector__override={"pixels": [64, 64], "frames_per_s": 1e4},
            instrument__pixels_mrad=[2],
        )
    )  # fmt: skip
    setting = Setting(80, 20, 0, 2, 2)
    assert coarse.pixel_mrad(2) == 2 * fine.pixel_mrad(2)
    assert operate(coarse, setting, 2000).counts_bright == operate(fine, setting, 2000).counts_bright


def test_microscopes_sign_of_defocus(tmp_path):
    changes = {"instrument__conventions": {"defocus_positive": "overfocus"}}
    bench = Bench(plan_of(tmp_path, **changes))
    assert bench.underfocus_nm == (0, 6)  # -6 ... 0 on a display that shows overfocus as positive
    assert bench.shown(Setting(80, 20, 5, 2, 4.0))["defocus_nm"] == -5


def violation(bench: Bench, setting: Setting, dose: float) -> str:
    return operate(bench, setting, dose).violations[0].name


def test_constraints_bind_and_their_mend_is_feasible(tmp_path):
    bench = Bench(plan_of(tmp_path))
    setting = Setting(80, 20, -4, 2, 4.0)
    operation = operate(bench, setting, 20)
    assert operation.violations[0].name == "frame rate"
    step = math.sqrt(100 * ELECTRONS_PER_PA_US / 20)  # 1 pA in a frame of 100 us
    assert step > 3  # more than the scan generator does, so a step isn't offered; the dose is
    assert operation.violations[0].mend == "Use a current of 0.12 pA, if it can be set, or a dose of 157 e/Å² or more."
    assert violation(bench, setting, 1e7) == "beam current"
    most = 20 * 20000 * ELECTRONS_PER_PA_US / 4
    shown = float(re.search(r"dose of at most ([0-9.e+]+)", operate(bench, setting, 1e7).violations[0].mend).group(1))
    assert 0.99 * most < shown <= most
    assert operate(bench, setting, most * 0.999).current_pa == 20
    assert violation(bench, Setting(80, 20, -60, 2, 4.0), 2000) == "window"
    slow = Bench(plan_of(tmp_path, goal__field_of_view_a=[1500, 1500], goal__doses_e_per_a2=[2000]))
    assert violation(slow, setting, 2000) == "time"


def test_counts_and_rates_bind(tmp_path):
    override = {"pixels": [32, 32], "frames_per_s": 10000, "counts_per_frame": 90}
    bench = Bench(plan_of(tmp_path, detector__override=override, goal__doses_e_per_a2=[2000]))
    assert violation(bench, Setting(80, 20, -4, 2, 4.0), 8000) == "counts per frame"
    override = {"pixels": [32, 32], "frames_per_s": 10000, "rate_per_px_s": 1.5e5}
    bench = Bench(plan_of(tmp_path, detector__override=override, goal__doses_e_per_a2=[2000]))
    operation = operate(bench, Setting(80, 20, -4, 2, 4.0), 2000)
    assert operation.current_pa == 1  # 4 pA fit the frame rate, but are too many electrons per second in a pixel
    assert operation.rate_bright_s < 1.5e5


def test_search_space_keeps_choices_discrete_and_constraints(tmp_path):
    bench = Bench(plan_of(tmp_path, instrument__currents_pa=[2], goal__doses_e_per_a2=[400]))
    space = make_space(bench, 400)
    assert set(space.names) == {"semiangle_mrad", "defocus_nm", "step_a"}
    points = initial_design(space, 20)
    assert len(points) == 20
    assert {p["semiangle_mrad"] for p in points} <= {20.0, 25.0}
    # 2 pA give 1248 electrons in a frame of 100 us: a step of 1.77 A or more at 400 e/A^2
    assert min(p["step_a"] for p in points) > 1.76
    assert all(operate(bench, setting_of(bench, p), 400).feasible for p in points)


def test_counters_lose_what_scatters_above_their_most(tmp_path):
    """A counter of one electron that gets 0.989 on average loses 36 %, not nothing."""
    assert saturated_fraction(0.989, 1) == pytest.approx(1 - (1 - math.exp(-0.989)) / 0.989, rel=1e-9)
    assert saturated_fraction(0.989, 1) == pytest.approx(0.364, abs=1e-3)
    rng = np.random.default_rng(0)
    counts = rng.poisson(60, 200_000)
    assert saturated_fraction(60, 63) == pytest.approx(1 - np.minimum(counts, 63).sum() / counts.sum(), abs=2e-3)
    assert most_counts(1) == pytest.approx(0.104, abs=0.001)
    assert saturated_fraction(most_counts(63), 63) == pytest.approx(0.05)
    assert most_counts(0.1) == 0.1  # a mean itself
    override = {"pixels": [32, 32], "frames_per_s": 10000, "counts_per_frame": 1}
    bench = Bench(plan_of(tmp_path, goal__doses_e_per_a2=[200]))
    one_bit = Bench(bench.plan.model_copy(update={"detector": DetectorChoice(name="x", override=override)}))
    setting = Setting(80, 20, -4, 2, 4.0)
    dose = 0.5 * math.pi * 25 / 4  # half an electron in a bright pixel
    assert operate(one_bit, setting, dose).counts_bright == pytest.approx(0.5)
    assert "counts per frame" in [v.name for v in operate(one_bit, setting, dose).violations]
    assert "counts per frame" not in [v.name for v in operate(one_bit, setting, dose / 6).violations]


def test_every_mend_can_be_followed(tmp_path):
    """Steps that are named can be done, and so can the nearest dose."""
    for dose in (1e-3, 1, 5, 20, 1e7, 1e8, 1e9):
        with pytest.raises(InputError) as caught:
            plan_of(tmp_path, goal__doses_e_per_a2=[dose])
        mend = caught.value.mend
        assert caught.value.field.endswith("goal.doses_e_per_a2")
        nearest = float(re.search(r"a dose of ([0-9.e+]+) e/Å², the nearest", mend).group(1))
        plan_of(tmp_path, goal__doses_e_per_a2=[nearest])
        for step in re.findall(r"a step of ([0-9.]+) A", mend):
            assert 1.2 <= float(step) <= 3
        assert "camera" not in mend  # there is one only


def test_every_impossible_dose_is_named_with_its_mend(tmp_path):
    with pytest.raises(InputError) as caught:
        plan_of(tmp_path, goal__doses_e_per_a2=[5, 2000, 1e8])
    assert caught.value.rule.startswith("no setting is possible at 5 e/Å²: frame rate binds")
    assert "Nor at 1e+08 e/Å² (counts per frame)." in caught.value.mend
    doses = [float(v) for v in re.findall(r"a dose of ([0-9.e+]+) e/Å², the nearest", caught.value.mend)]
    assert len(doses) == 2
    plan_of(tmp_path, goal__doses_e_per_a2=[doses[0], 2000, doses[1]])
    with pytest.raises(InputError) as caught:
        plan_of(tmp_path, instrument__currents_pa=[40000, 80000], goal__doses_e_per_a2=[2000])
    most = float(re.search(r"A current of ([0-9.e+]+) pA or less is needed", caught.value.mend).group(1))
    plan_of(tmp_path, instrument__currents_pa=[most], goal__doses_e_per_a2=[2000])


def test_spherical_aberration_counts_in_the_probes_size(tmp_path):
    with pytest.raises(InputError, match=r"cs_mm: .*window binds.*balances cs_mm"):
        plan_of(tmp_path, instrument__cs_mm=1.2)


def test_a_pattern_of_a_simulation_holds_so_many_electrons(tmp_path):
    bench = Bench(plan_of(tmp_path, instrument__currents_pa=[20, 2000]))
    setting = Setting(80, 20, -4, 2, 4.0)
    assert operate(bench, setting, 4e6).feasible  # 1.6e7 electrons
    operation = operate(bench, setting, 4.3e6)
    assert [v.name for v in operation.violations] == ["simulated counts"]
    assert "a dose of at most 4.19e+06 e/Å²" in operation.violations[0].mend


def test_what_the_probe_cannot_use_of_the_defocus_range_is_not_simulated(tmp_path):
    """The specimen is sized for a probe that fits the window."""
    wide = mode_study(Bench(plan_of(tmp_path, instrument__defocus_nm={"low": -6000, "high": 6000})), Mode(80, 4.0))
    low, high = wide.space.root["defocus_nm"].low, wide.space.root["defocus_nm"].high
    most = wavelength_a(80) / 4e-3 / 2 / 0.02 / 10
    assert high - 1e-3 - 6 * 2 == pytest.approx(most, rel=1e-6)
    assert low == pytest.approx(-most - 6 * 2, rel=1e-6)


BAD = {
    "currents in nA": ({"instrument__currents_pa": [0.001, 0.002]}, "instrument.currents_pa", r"write \[1, 2\]"),
    "camera in m": (
        {
            "instrument__pixels_mrad": None, "instrument__camera_lengths_mm": [0.0375],
            "detector__override": {"pixels": [32, 48], "pixel_um": 150, "frames_per_s": 10000},
        }, "instrument.camera_lengths_mm", "If it is in m, write 37.5",
    ),
    "large source": (
        {"instrument__source_size_a": 5.0}, "instrument.source_size_a", r"1\.5 times as much\); got .5 Å rms",
    ),
    "jitter": ({"simulation__field_of_view_a": [5000, 5000]}, "simulation.field_of_view_a", "4000000 positions"),
    "gun": ({"goal__doses_e_per_a2": [1e7]}, "goal.doses_e_per_a2", "beam current binds.*a dose of.*nearest"),
    "too faint": ({"goal__doses_e_per_a2": [5]}, "goal.doses_e_per_a2", "frame rate binds.*a dose of.*nearest"),
    "frame rate": ({"instrument__dwell_us": {"low": 1, "high": 50}}, "instrument.dwell_us.high", "10000 frames/s"),
    "aperture": ({"expert": {"semiangle_mrad": 23.7}}, "expert.semiangle_mrad", "nearest is 25 mrad"),
    "camera": ({"expert": {"camera": 3}}, "expert.camera", "nearest is 4 mrad"),
    "voltage": ({"expert": {"voltage_kv": 300}}, "expert.voltage_kv", "nearest is 80 kV"),
    "defocus": ({"expert": {"defocus_nm": 20}}, "expert.defocus_nm", "nearest is 0"),
    "time": ({"goal__time_limit_s": 0.01}, "goal.time_limit_s", "time binds.*a field of"),
    "resolution": ({"goal__resolution_a": 0.2}, "goal.resolution_a", "detector edge binds.*resolution of"),
    "both cameras": ({"instrument__camera_lengths_mm": [100]}, "instrument.camera_lengths_mm", "only one"),
    "detector": ({"detector__name": "EMPAT", "detector__override": {}}, "detector.name", "Did you mean 'EMPAD'"),
    "bin": ({"detector__bin": 4}, "detector.bin", "at least 16 pixels"),
    "bin that leaves some": (
        {"detector__bin": 3, "detector__override": {"pixels": [96, 128], "frames_per_s": 1e4}}, "detector.bin",
        r"divide the 96 x 128 pixels.*got 3.*Use bin: 2 or bin: 4, or bin: 3 with override: \{pixels: \[96, 126\]\}",
    ),
    "bin that leaves some of one side": (
        {"detector__bin": 2, "detector__override": {"pixels": [65, 64], "frames_per_s": 1e4}}, "detector.bin",
        r"divide the 65 x 64 .*got 2. Use bin: 1, or bin: 2 with override: \{pixels: \[64, 64\]\}",
    ),
    "no bin divides": (
        {"detector": {"name": "K2", "bin": 10}}, "detector.bin", r"Use bin: 10 with override: \{pixels: \[3710, 3830\]",
    ),
    "defocus in um": (
        {"instrument__defocus_nm": {"low": -0.15, "high": 0.15}}, "instrument.defocus_nm",
        r"in nm.*got \[-0.15, 0.15\]. If it is in um, write {low: -150, high: 150}. In focus only is {low: 0, high: 0}",
    ),
    "defocus in m": (
        {"instrument__defocus_nm": {"low": 0, "high": 6e-8}}, "instrument.defocus_nm", "in m, write {low: 0, high: 60}",
    ),
    "one defocus in um": ({"instrument__defocus_nm": {"low": 0.05, "high": 0.05}}, "instrument.defocus_nm", "low: 50,"),
    "defocus in angstrom": (
        {"instrument__defocus_nm": {"low": -2e5, "high": 0}}, "instrument.defocus_nm",
        "in angstrom, write {low: -20000, high: 0}",
    ),
    "no defocus": ({"instrument__defocus_nm": {"low": 0, "high": 1e12}}, "instrument.defocus_nm", "another unit"),
    "too many pixels": ({"detector": {"name": "K3"}}, "detector.bin", "bin: 8"),
    "twice": ({"instrument__apertures_mrad": [20, 20]}, "instrument.apertures_mrad", "once"),
    "range": ({"instrument__defocus_nm": {"low": 5, "high": -5}}, "instrument.defocus_nm", "must not exceed high"),
    "radian": ({"instrument__apertures_mrad": [0.02, 0.025]}, "apertures_mrad", r"in mrad.*\[20, 25\]"),
    "volt": ({"instrument__voltages_kv": [80000]}, "voltages_kv", r"in kV.*\[80\]"),
    "empty": ({"instrument__apertures_mrad": []}, "apertures_mrad", r"at least 1 item"),
    "scales": ({"scales": {"tiny": {}}}, "scales.tiny", "smoke"),
    "misspelt scale": ({"scales": {"smoke": {"serach": {}}}}, "serach", "search"),
    "value of a scale": ({"scales": {"paper": {"search": {"initial": -1}}}}, "paper.search.initial", "at least 1"),
    "word": ({"goal__resolution_a": "fine"}, "goal.resolution_a", "must be a number"),
    "number with its unit": ({"goal__time_limit_s": "120 s"}, "goal.time_limit_s", "the number alone: no unit"),
    "nothing in a list": ({"instrument__apertures_mrad": []}, "instrument.apertures_mrad", "List what there is"),
    "low currents in nA": (
        {"instrument__currents_pa": [0.005, 0.01, 0.1]}, "instrument.currents_pa", r"write \[5, 10, 100\]"
    ),
    "Cs in um": ({"instrument__cs_mm": 1200}, "instrument.cs_mm", "at most 10"),
    "unknown key": ({"goal__resolutoin_a": 1}, "goal.resolutoin_a", "resolution_a"),
    "step": ({"instrument__step_a": {"low": 5, "high": 6}}, "instrument.step_a.low", "half of the simulated field"),
    "sample": ({"sample": {"kind": "structure", "file": "no.cif"}}, "sample.file", "must exist"),
    "mm": (
        {"instrument__pixels_mrad": None, "instrument__camera_lengths_mm": [60],
         "detector": {"name": "mine", "override": {"pixels": [32, 32], "frames_per_s": 1e4}}},
        "detector.override.pixel_um", "is required",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_nonsense_is_refused_with_what_to_do(tmp_path, name):
    changes, field, words = BAD[name]
    with pytest.raises(InputError) as caught:
        read_plan(write_plan(tmp_path / "p.yaml", **changes))
    message = str(caught.value)
    assert re.search(field, caught.value.field), message
    assert re.search(words, message), message


@pytest.mark.parametrize(
    ("low", "high", "apertures", "advised"),
    [(0, 0, [20], False), (-5, 5, [25], False), (-5, 5, [10], False), (-3, 1, [5, 25], False), (-1.5, 1.5, [5], True)],
)
def test_a_range_of_defocus_that_changes_nothing_is_advised(tmp_path, low, high, apertures, advised):
    """lambda/alpha^2 at 80 kV is 167 nm at 5 mrad, 42 nm at 10 mrad, 6.7 nm at 25 mrad."""
    changes = {"instrument__defocus_nm": {"low": low, "high": high}, "instrument__apertures_mrad": apertures}
    plan = plan_of(tmp_path, **changes)
    assert (plan.instrument.defocus_nm.low, plan.instrument.defocus_nm.high) == (low, high)
    warnings = [w for w in read_plan(write_plan(tmp_path / "p.yaml", **changes))[1] if "defocus_nm" in w]
    assert bool(warnings) is advised
    assert all("If it is in um, write {low: -1500, high: 1500}" in w for w in warnings)


@pytest.mark.parametrize(
    ("name", "wrong"), [("K3", 1), ("K3", 8), ("K3", 9), ("K3", 20), ("K2", 1), ("K2", 8), ("K2", 10)]
)
def test_the_mend_of_a_bin_can_be_followed(tmp_path, name, wrong):
    """Also where no bin divides both sides and leaves few enough pixels, as for K2."""

    def plan_with(bin_: int, **override) -> PlanningStudy:
        numbers = {"frames_per_s": 1e4, "rate_per_px_s": 1e9, **override}
        detector = {"name": name, "bin": bin_, "override": numbers}
        return plan_of(tmp_path, detector=detector, instrument__pixels_mrad=[0.03])

    with pytest.raises(InputError, match=r"detector\.bin") as caught:
        plan_with(wrong)
    advice = re.findall(r"bin: (\d+)(?: with override: {pixels: \[(\d+), (\d+)\]})?", caught.value.mend)
    assert advice
    for bin_, *part in advice:
        plan = plan_with(int(bin_), **({"pixels": [int(n) for n in part]} if all(part) else {}))
        assert all(n % plan.detector.bin == 0 for n in Bench(plan).detector.pixels)


def test_a_cut_to_a_square_is_said(tmp_path):
    changes = {"detector__bin": 2, "detector__override": {"pixels": [66, 80], "frames_per_s": 1e4}}
    _, warnings = read_plan(write_plan(tmp_path / "p.yaml", **changes))
    assert any("the middle 32 x 32 of the 33 x 40 binned ones" in w for w in warnings)
    assert not any("the middle" in w for w in read_plan(write_plan(tmp_path / "p.yaml"))[1])
