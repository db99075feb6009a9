"""Trials of a plan and what is made of them: errors, belief, choice under errors, fronts, words of the sheet."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from plan_files import resolved_of, tiny_plan
from scipy.ndimage import gaussian_filter

from ptydesign.errors import InputError
from ptydesign.experiment.trial import Trial
from ptydesign.planning import collect, robust, scope, search
from ptydesign.planning.collect import pareto
from ptydesign.planning.config import RobustnessConfig
from ptydesign.planning.errors import OF_SEARCH, draw_errors, drawn
from ptydesign.planning.instrument import Setting
from ptydesign.planning.load import load
from ptydesign.planning.operation import operate
from ptydesign.planning.reconstruction import day_reconstruction, trial_reconstruction
from ptydesign.planning.resolution import reached_resolution_a
from ptydesign.planning.resolve import Mode, expert_at, mode_study, to_experiment_config
from ptydesign.planning.sheet import defocus_words, limit_words
from ptydesign.planning.space import make_space
from ptydesign.planning.trial import PlannedTrial, tilted
from ptydesign.reconstruct.plan import Plan
from ptydesign.score.metrics import radial_frc, ring_power
from ptydesign.types import Potential


def test_trial_of_a_mode_has_the_pixel_of_its_camera(tmp_path):
    resolved = resolved_of(tmp_path)
    study = mode_study(resolved.bench, Mode(80, 4.0))
    pixel = 0.0417572 / (32 * 4e-3)
    assert study.experiment.pixel_a == pytest.approx(pixel, rel=1e-4)
    ratio = study.experiment.pixel_a / study.potential.pixel_a
    assert ratio == pytest.approx(round(ratio), abs=1e-9)
    assert study.objective.width_px * pixel == pytest.approx(0.375, rel=1e-3)


def test_drift_is_that_of_the_lines_of_the_day(tmp_path):
    resolved = resolved_of(tmp_path, instrument__drift_a_per_min=60)
    bench = resolved.bench
    operation = operate(bench, Setting(80, 20, -4, 2, 4.0), 2000)
    config = to_experiment_config(bench, operation)
    margin = 2 * 40 * 0.02 + 0.0417572 / 0.02 + 2  # rays twice, diffraction, a step
    rows = math.ceil((7 + 2 * margin) / 2) + 1
    line = (operation.shape[1] * operation.dwell_us + 100) * 1e-6
    assert np.hypot(*config.drift_a) == pytest.approx(60 / 60 * rows * line, rel=1e-6)
    assert config.source_size_a == 0


def test_plain_planned_trial_is_a_trial(tmp_path):
    resolved = resolved_of(tmp_path)
    bench = resolved.bench
    one = next(iter(resolved.modes.values()))
    config = to_experiment_config(bench, operate(bench, Setting(80, 20, -4, 2, 4.0), 2000))
    plain, planned = Trial(config, 2000.0), PlannedTrial(config, 2000.0)
    assert plain.key(one.study, one.key) == planned.key(one.study, one.key)
    wrong = PlannedTrial(config, 2000.0, believed=config.model_copy(update={"defocus_nm": -1.0}))
    assert wrong.key(one.study, one.key) != planned.key(one.study, one.key)


def test_operator_believes_the_nominal_defocus(tmp_path):
    from ptydesign.experiment.search import cached
    from ptydesign.simulate.dataset import simulate
    from ptydesign.study.acquisition import to_experiment

    resolved = resolved_of(tmp_path)
    bench = resolved.bench
    one = next(iter(resolved.modes.values()))
    believed = to_experiment_config(bench, operate(bench, Setting(80, 20, -4, 2, 4.0), 2000))
    true = believed.model_copy(update={"defocus_nm": -6.0})
    trial = PlannedTrial(true, 2000.0, believed=believed)
    dataset, _ = simulate(cached(one)[0], to_experiment(true, 2000.0), 1)
    known = trial.known(dataset)
    assert (dataset.optics.defocus_a, known.optics.defocus_a) == (-60, -40)
    np.testing.assert_array_equal(known.patterns, dataset.patterns)


def test_tilt_shears_the_slices():
    """A point in each slice moves by (depth - middle) tan(tilt); projections stay centred."""
    slices = np.zeros((1, 3, 32, 40), np.float32)
    y, x = np.indices((32, 40))
    slices[:] = np.exp(-((y - 16) ** 2 + (x - 20) ** 2) / 8)
    potential = Potential(slices, (0.5, 0.25), np.array([100.0, 100.0, 100.0]))
    moved = tilted(potential, (10.0, -5.0)).slices_va[0]
    for number, depth in enumerate((-100, 0, 100)):
        total = moved[number].sum()
        cy, cx = (moved[number] * y).sum() / total, (moved[number] * x).sum() / total
        assert cy - 16 == pytest.approx(depth * np.tan(10e-3) / 0.5, abs=0.01)
        assert cx - 20 == pytest.approx(depth * np.tan(-5e-3) / 0.25, abs=0.01)


def test_draws_are_the_same_for_every_design_and_respect_the_config(tmp_path):
    resolved = resolved_of(tmp_path)
    draws = [draw_errors(resolved, n) for n in range(40)]
    assert draws == [draw_errors(resolved, n) for n in range(40)]
    assert np.std([d.defocus_nm for d in draws]) == pytest.approx(2, rel=0.3)
    assert all(0 <= d.drift <= 2 for d in draws)
    assert all(0.5 <= d.source <= 1.5 for d in draws)
    assert {d.tilt_mrad for d in draws} == {(0.0, 0.0)}  # one projected slice has no tilt
    assert {d.thickness for d in draws} == {1.0}


def tried(design: str, planned: list, draws: list) -> dict:
    trials = [{"kind": "repeat", "number": n, "objective": v} for n, v in enumerate(planned)]
    trials += [{"kind": "draw", "number": n, "objective": v} for n, v in enumerate(draws)]
    return {"design": design, "trials": trials}


def recommended(*designs: dict, least: float = 0.4, zone: float = 0.01) -> tuple[str, dict[str, dict]]:
    contents = {one["design"]: one for one in designs}
    chosen, found = robust.recommend([robust.summarise_design(one, least) for one in designs], contents, zone)
    return chosen, {one["design"]: one for one in found}


def test_the_plateau_wins_not_the_peak():
    peak = tried("candidate-0", [0.95, 0.95], [0.9, 0.41, None, 0.3])
    plateau = tried("candidate-1", [0.85, 0.86], [0.84, 0.85, 0.83, 0.84])
    chosen, found = recommended(peak, plateau)
    assert chosen == "candidate-1"
    # of the draws, the repeats have no errors; below an absolute score, not half of the design's own
    assert [found["candidate-0"][name] for name in ("failed", "tried", "unplanned")] == [2, 4, 0]
    assert (found["candidate-1"]["failed"], found["candidate-1"]["failure_low"]) == (0, 0.0)
    assert 0.4 < found["candidate-1"]["failure_high"] < 0.6  # four draws without a failure prove little
    dead = tried("candidate-2", [None], [None])
    assert recommended(dead, plateau)[0] == "candidate-1"
    with pytest.raises(InputError, match="could be scored"):
        recommended(dead)


def test_trials_reconstruct_as_on_the_day(tmp_path):
    """The defocus is searched as far as it may be off, positions are refined if the stage drifts; and a plan of the
    user's own is taken as it is."""
    plan = resolved_of(tmp_path, reconstruction=None).study
    found = trial_reconstruction(plan)
    offsets = found.calibrate.offsets["defocus_nm"]
    assert (offsets[0], offsets[-1]) == (-5.0, 5.0)  # 2.5 times 2 nm
    assert found.engines[-1].refine_positions
    assert day_reconstruction(plan) == found
    still = resolved_of(
        tmp_path / "still", reconstruction=None, instrument__drift_a_per_min=0, instrument__defocus_error_nm=0
    ).study
    assert not trial_reconstruction(still).engines[-1].refine_positions
    assert not trial_reconstruction(still).calibrate.offsets
    assert trial_reconstruction(resolved_of(tmp_path / "own").study).engines[0].sweeps == 6


def test_every_trial_of_a_search_has_errors_of_its_own(tmp_path):
    resolved = resolved_of(tmp_path)
    setting = Setting(80, 20, -4, 2, 4.0)
    trials = [drawn(resolved, setting, 2000, OF_SEARCH + n)[0] for n in range(3)]
    assert len({trial.experiment.defocus_nm for trial in trials}) == 3
    assert {trial.believed.defocus_nm for trial in trials} == {-4}
    assert len({trial.seed(resolved.of(setting).study) for trial in trials}) == 3
    # and none of those under which designs are compared
    compared = {drawn(resolved, setting, 2000, n)[0].experiment.defocus_nm for n in range(30)}
    assert not compared & {trial.experiment.defocus_nm for trial in trials}


def test_what_cannot_be_told_from_the_rule_of_thumb_is_not_recommended():
    """Draw by draw: a difference that all draws show is one, though the draws scatter by ten times as much."""
    rng = np.random.default_rng(0)
    errors = 0.1 * rng.normal(size=30)
    rule = tried("expert", [0.8, 0.8], list(0.8 + errors))
    clear = tried("candidate-0", [0.83], list(0.83 + errors + 0.01 * rng.normal(size=30)))
    chosen, found = recommended(clear, rule)
    assert chosen == "candidate-0"
    assert found["expert"]["behind"] == pytest.approx(0.03, abs=0.005)
    assert 0 < found["expert"]["behind_low"] < 0.03 < found["expert"]["behind_high"] < 0.04
    lucky = tried("candidate-0", [0.9], list(0.81 + 0.1 * rng.normal(size=30)))
    chosen, found = recommended(lucky, rule)
    assert chosen == "expert"
    assert found["expert"]["best"] == (found["expert"]["robust"] >= found["candidate-0"]["robust"])
    small = tried("candidate-0", [0.805], list(0.805 + errors))
    assert recommended(small, rule)[0] == "expert"  # surely better, by less than matters
    assert recommended(small, rule, zone=0.001)[0] == "candidate-0"


def test_failures_are_absolute():
    config = RobustnessConfig(failed_below=0.5)
    rule = tried("expert", [0.8, 0.9], [0.5])
    assert robust.least_score(rule, config) == pytest.approx(0.425)
    assert robust.least_score(rule, RobustnessConfig(least_score=0.7)) == 0.7
    assert robust.least_score(tried("expert", [None], [None]), config) == 0


def test_wilson_interval():
    low, high = robust.wilson(2, 10)
    assert (low, high) == pytest.approx((0.0567, 0.5098), abs=1e-3)
    assert robust.wilson(0, 0) == (0, 1)
    assert (robust.wilson(0, 7)[0], robust.wilson(7, 7)[1]) == (0.0, 1.0)  # to the last bit


def test_pareto_keeps_what_nothing_beats():
    rows = [(100, 1, 0.5), (100, 2, 0.6), (100, 3, 0.55), (1000, 1, 0.7), (1000, 2, 0.6), (1000, 4, 0.7)]
    frame = pd.DataFrame(rows, columns=["dose_e_per_a2", "scan_time_s", "ssim"]).assign(status="ok")
    kept = pareto(pd.concat([frame, frame.tail(1).assign(ssim=0.99, status="failed")]))
    assert [tuple(r) for r in kept[["dose_e_per_a2", "scan_time_s", "ssim"]].to_numpy()] == [
        (100, 1, 0.5),
        (100, 2, 0.6),
        (1000, 1, 0.7),
    ]


@pytest.mark.parametrize("positive, under, words", [("underfocus", 42, "underfocus"), ("overfocus", -42, "overfocus")])
def test_sign_of_defocus_is_spelled_out(tmp_path, positive, under, words):
    resolved = resolved_of(tmp_path, instrument__conventions={"defocus_positive": positive})
    found = defocus_words({"underfocus_nm": under}, resolved.bench)
    assert found.startswith(f"42.0 nm {words}")
    assert f"+ is {positive}" in found
    assert ("below" if under > 0 else "above") in found


def test_searches_are_warm_started_and_static(tmp_path):
    plan = resolved_of(tmp_path).study
    found = scope.searches(plan)
    assert [(s.before, s.sizes) for s in found.values()] == [(None, (4, 2)), (2000, (2, 2))]
    tolerance = sum(2 if name in ("semiangle_mrad", "camera") else 5 for name in scope.parameters(plan))
    assert tolerance > 0
    assert scope.total_trials(plan) == 10 + 3 * (2 + 8) + tolerance


def test_examples_are_valid():
    """The worked examples of docs/planning.md, at every scale."""
    root = Path(__file__).parents[2]
    for study in sorted((root / "studies").glob("plan_*")):
        for scale in ("smoke", "preview", "paper"):
            resolved = load(study, scale, root / "results")
            assert resolved.modes
            assert yaml.safe_dump(resolved.content)


def test_scene_has_the_truth_of_the_sample(tmp_path):
    """The object of the bound is the band-limited truth that a score compares with."""
    from ptydesign.experiment.search import cached
    from ptydesign.planning.limits import make_scene, screen_value

    resolved = resolved_of(tmp_path)
    setting = Setting(80, 20, -4, 2, 4.0)
    potential = cached(resolved.of(setting))[0]
    scene = make_scene(resolved, setting, 2000, potential)
    factor = round(scene.pixel_a / potential.pixel_a[0])
    fine = potential.slices_va.mean(axis=0).sum(axis=0) * 1.00871e-3
    rows, columns = (n // factor * factor for n in fine.shape)
    centre = fine[
        rows // 2 - 12 * factor : rows // 2 + 12 * factor, columns // 2 - 12 * factor : columns // 2 + 12 * factor
    ]
    coarse = centre.reshape(24, factor, 24, factor).mean(axis=(1, 3))
    y, x = (n // 2 for n in scene.phase.shape[-2:])
    found = scene.phase[0, y - 12 : y + 12, x - 12 : x + 12]
    # apart from a shift of less than a pixel the two are the same picture
    blurred, wanted = (gaussian_filter(image, 1.5)[2:-2, 2:-2] for image in (found, coarse))
    shifts = [np.roll(wanted, s, (0, 1))[2:-2, 2:-2].ravel() for s in itertools.product((-1, 0, 1), repeat=2)]
    assert max(np.corrcoef(blurred[2:-2, 2:-2].ravel(), one)[0, 1] for one in shifts) > 0.9
    assert found.mean() == pytest.approx(coarse.mean(), rel=0.1)
    values = [screen_value(make_scene(resolved, setting, dose, potential), 1.1) for dose in (20, 2000, 2e5)]
    assert values == sorted(values, reverse=True)
    assert 0 < values[-1] < values[0] < 1


def test_a_rule_of_thumb_wider_than_the_piece_takes_the_largest_step_that_it_holds(tmp_path):
    """Else the plan would stop at its first job: no step of the space is so large."""
    wide = {"instrument__step_a": {"low": 1.2, "high": 9}, "expert": {"step_a": 5}}
    resolved = resolved_of(tmp_path, **wide)
    limit = resolved.study.goal.dose_limit
    assert resolved.bench.largest_step_a == 3.5
    assert expert_at(resolved.bench, limit).step_a <= 3.5
    own = operate(resolved.bench, Setting(80, 20, -4, 5, 4.0), limit)
    assert "simulated piece" in {violation.name for violation in own.violations}
    first = search.points_of(resolved, next(iter(scope.searches(resolved.study).values())), 0)[0]
    assert make_space(resolved.bench, limit).validate_point(first[0])


def test_a_plan_without_room_is_refused(tmp_path):
    with pytest.raises(InputError, match="half of the simulated field"):
        resolved_of(tmp_path, simulation__field_of_view_a=[2, 2])
    assert tiny_plan()["simulation"]["field_of_view_a"] == [7, 8]


def test_resolution_ignores_rings_without_power():
    """White noise below 1/A over a lattice: the correlation of a ring without a spot says nothing."""
    size, pixel = 96, 0.25
    y, x = np.mgrid[:size, :size] * pixel
    truth = sum(np.cos(2 * np.pi * q * y) + np.cos(2 * np.pi * q * x) for q in (0.3125, 0.625, 0.9375))
    found = radial_frc(truth, truth, (pixel, pixel))
    frc = np.array(found.frc, float)
    power = ring_power(truth, (pixel, pixel))
    empty = power < 1e-3 * power.max()
    assert empty.sum() > 10
    frc[empty] = 0.0
    frc[np.array(found.q) > 0.8] = 0.1  # the third harmonic isn't seen
    arrays = {"truth": truth, "frc": frc, "frc_q": np.array(found.q)}
    assert 1 / 0.9375 < reached_resolution_a(arrays, (pixel, pixel)) < 1 / 0.625
    assert reached_resolution_a({**arrays, "frc": frc * 0.1}, (pixel, pixel)) is None


def test_tables_are_in_the_microscopes_sign(tmp_path):
    resolved = resolved_of(
        tmp_path,
        instrument__conventions={"defocus_positive": "overfocus"},
        instrument__defocus_nm={"low": 0, "high": 6},
    )
    content = {"parameter": "defocus_nm", "value": -4.0, "score": 0.8, "low": -5.0, "high": -2.0}
    content |= {"ended_by": ["open", "score"], "ends": [-6.0, 0.0]}
    tried = [(-5.0, 0.79), (-2.0, 0.78), (-1.0, 0.5)]
    content["tried"] = [{"value": v, "score": s, "possible": True} for v, s in tried]
    resolved.write_json("tolerance/defocus_nm.json", content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scope, "parameters", lambda plan: ["defocus_nm"])
        rows = list(collect._tolerance(resolved))
        shown = collect._shown_tolerance(resolved)
    assert [row["value"] for row in rows] == [1.0, 2.0, 4.0, 5.0]
    assert shown["defocus_nm"] == {"range": [2.0, 5.0], "ended_by": ["score", "open"], "limits": [0.0, 6.0]}


def test_what_a_trial_could_not_simulate_is_refused_with_the_plans_field(tmp_path):
    """The error says which plan it is, and which of the plan's own fields to change."""
    with pytest.raises(InputError) as caught:
        resolved_of(tmp_path, simulation__field_of_view_a=[5000, 5000])
    assert "tiny" in caught.value.field
    assert caught.value.field.endswith("simulation.field_of_view_a")


def test_a_slice_thicker_than_the_sample_is_refused(tmp_path):
    with pytest.raises(InputError, match="thicker than the sample"):
        resolved_of(tmp_path, simulation__slice_thickness_a=50)


def test_candidates_have_other_probes_than_the_peak_where_they_are_worth_it(tmp_path):
    resolved = resolved_of(tmp_path)
    space = make_space(resolved.bench, 2000)

    def point(angle: float, step: float) -> dict:
        return {"semiangle_mrad": angle, "defocus_nm": 3.0, "step_a": step}

    points = [point(25.0, 2.0), point(25.0, 2.01), point(25.0, 2.9), point(20.0, 2.0), point(20.0, 1.3)]
    near = search._different(space, points, np.array([0.9, 0.89, 0.88, 0.8, 0.79]), 3)
    assert near == [points[0], points[3], points[2]]  # the best, the best of the other aperture, what is apart
    far = search._different(space, points, np.array([0.9, 0.89, 0.88, 0.7, 0.69]), 3)
    assert far == [points[0], points[2], points[3]]  # 0.7 isn't worth it, but apart
    assert len(search._different(space, points, np.array([0.9, 0.89, 0.88, 0.8, 0.79]), 5)) == 5


def test_the_day_ends_at_the_stop_that_was_best(tmp_path):
    plan = resolved_of(tmp_path).study
    whole = day_reconstruction(plan)
    assert day_reconstruction(plan, 2).engines[-1].sweeps == 2 < whole.engines[-1].sweeps
    two = plan.model_copy(update={"reconstruction": Plan(engines=[whole.engines[0], whole.engines[0]])})
    first = whole.engines[0].sweeps
    assert [engine.sweeps for engine in day_reconstruction(two, first + 1).engines] == [first, 1]
    assert day_reconstruction(two, first).engines == day_reconstruction(two).engines  # the last engine has a sweep


def test_what_the_sheet_says_of_the_dose():
    """As measured on bilayer MoS2: the error is bias, and 100 times the dose takes it away."""
    rings = {"q_per_a": [0.5, 1.5], "bias_rad": [0.1, 0.1], "scatter_rad": [0.05, 0.04], "error_prior_rad": 0.045}
    limit = {**rings, "floor_error_rad": 0.027, "floor_dose_e_per_a2": 2e5}
    words = limit_words(0.117, limit, 0.25)
    assert words.startswith("More dose helps: contrast is lost to noise. Phase error 0.117 rad (bias 0.")
    assert "at 200000 e/Å² 0.027 rad. The bound at this dose is 0.045 rad" in words
    assert limit_words(0.117, {**limit, "floor_error_rad": 0.1}, 0.25).startswith("More dose hardly helps")
    noisy = {**limit, "scatter_rad": [0.2, 0.2]}
    assert limit_words(0.117, noisy, 0.25).startswith("More dose helps: noise scatters.")
    once = {name: value for name, value in limit.items() if name not in ("bias_rad", "scatter_rad")}
    assert "bias" not in limit_words(0.117, once, 0.25)
