"""What the benchmarks compute from their measurements, and that their command's own side runs."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import psutil
import pytest
import toy
from study_files import tiny, write_study

from benchmarks import fairness, floor, gpu, kills, methods, ours, profile, quality, speed, stability, trends
from benchmarks.data import Case
from ptydesign.design.settings import Observation, SearchConfig
from ptydesign.design.space import build_space
from ptydesign.design.surrogate import surrogate
from ptydesign.experiment.resolve import resolve
from ptydesign.study.decide import DecisionConfig


def curves(mine, theirs):
    rows = [
        {"slices": 1, "engine": "epie", "program": name, "sweep": i, "seconds": float(i), "error_rad": error}
        for name, errors in (("ptydesign", mine), ("phaser", theirs))
        for i, error in enumerate(errors, 1)
    ]
    return pd.DataFrame(rows)


def test_errors_are_compared_after_equal_times_and_levels_may_be_out_of_reach():
    summed = quality.summary(curves([8.0, 4.0, 2.0, 1.0, 1.0, 1.0], [9.0, 8.0, 7.0, 6.0])).iloc[0]
    assert summed.seconds == 4
    assert (summed["error_rad_0.5"], summed["phaser_error_rad_0.5"]) == (4.0, 8.0)
    assert (summed["error_rad_1"], summed["phaser_error_rad_1"]) == (1.0, 6.0)
    assert summed.level_rad == pytest.approx(1.2)
    assert summed.to_level_s == 4
    assert summed.phaser_to_level_s == np.inf
    assert "not reached" in quality.markdown(pd.DataFrame([summed]))


def test_a_sweep_is_timed_without_its_compilation():
    run = ours.Run(np.array([5.0, 1.0, 2.0, 1.0]), np.array([6.0, 2.0, 3.0, 2.0]), [], np.zeros(2))
    assert (run.sweep_s, run.core_s, run.compilation_s) == (1.0, 2.0, 4.0)
    np.testing.assert_allclose(run.clock_s, [1, 2, 4, 5])


def test_the_floor_is_a_transform_and_its_inverse():
    waves = floor.prepared((8, 12), 2)
    np.testing.assert_allclose(floor.transforms(waves, 3), waves, atol=1e-5)
    assert floor.pair_s((8, 12), 64) > 0


def test_ratios_goals_and_transforms():
    row = {"slices": 1, "modes": 1, "positions": 9, "engine": "gradient", "group": 16, "floor_s": 2.0, "sweep_s": 3.0}
    row |= {
        "core_s": 5.0,
        "phaser_s": 6.0,
        "phaser_core_s": 10.0,
        "compilation_s": 1.0,
        "phaser_compilation_s": 2.0,
        "transforms": 2.0,
    }
    row |= {"goal_floor": 2.0, "goal_phaser": 3.0}
    table = speed.with_ratios(pd.DataFrame([row]))
    assert (table.sweep_per_floor[0], table.phaser_per_sweep[0], table.core_s_per_floor[0]) == (1.5, 2.0, 2.5)
    text = speed.markdown(table)
    assert "1.50 (2: met)" in text
    assert "2.0 (3: not met)" in text


def test_own_side_runs():
    dataset, _ = toy.experiment(shape=(16, 20), steps=(3, 4))
    case = Case(dataset, None, 1, (0.0, 0.0, 1.0, 1.0))
    run = ours.run(case, "gradient", 4, sweeps=3, keep=True)
    assert len(run.objects) == len(run.seconds) == 3
    assert speed.transforms_per_floor(case, "gradient", 4) == pytest.approx(2 + 3 * 2 / 24)


def test_a_profile_tells_transforms_arithmetic_and_copies_apart(tmp_path):
    import jax
    import jax.numpy as jnp

    kinds = {"fft.3": "transforms", "multiply_add_fusion": "arithmetic", "copy.7": "copies", "while.2": None}
    assert {name: profile.kind_of(name) for name in kinds} == kinds
    work = jax.jit(lambda x: jnp.sum(jnp.abs(jnp.fft.fft2(jnp.fft.ifft2(x) * x)) ** 2))
    waves = floor.prepared((32, 48), 4)
    work(waves).block_until_ready()
    with jax.profiler.trace(tmp_path):
        work(waves).block_until_ready()
    found = profile.operations_s(tmp_path)
    assert found["transforms"] > 0
    assert found["arithmetic"] > 0
    row = {"slices": 1, "modes": 1, "engine": "epie", "group": 16}
    table = pd.DataFrame([{**row, "transforms": 0.5, "arithmetic": 0.25, "copies": 0.05, "rest": 0.2}])
    assert "| 50% | 25% | 5% | 20% |" in profile.markdown(table)


def test_fairness_compares_each_design_with_scans_about_one_field(tmp_path):
    study = resolve(write_study(tmp_path / "tiny", tiny()), "preview", tmp_path / "results").study
    named = dict(fairness.scans(study.experiment, ("6", "10", fairness.OWN)))
    assert named["10"].scan_margin_a == (10 - study.experiment.field_of_view_a[0]) / 2
    assert named["6"].scan_margin_a == 0
    assert named[fairness.OWN].scan_margin_a is None
    longer = fairness.lengthened(study, 2)
    assert longer.reconstruction.sweeps == 2 * study.reconstruction.sweeps == longer.scored[-1]
    assert set(study.scored) <= set(longer.scored)


def test_fairness_tables_hold_means_spreads_and_stops():
    rows = pd.DataFrame(
        {"design": "expert", "dose_e_per_a2": dose, "scan_a": scan, "sweeps_at_most": 30, "seed": seed, "ssim": ssim,
         "stop": 10, "fluence_mean": 1.0, "fluence_least": 0.9}
        for dose in (100.0, 1000.0)
        for scan, base in (("24", 0.5), (fairness.OWN, 0.6))
        for seed, ssim in ((0, base), (1, base + 0.02))
    )  # fmt: skip
    rows.loc[(rows["dose_e_per_a2"] == 1000) & (rows["scan_a"] == "24"), "ssim"] = np.nan
    text = fairness.markdown(fairness.summary(rows))
    assert "| expert | 100 | 0.510 +- 0.014 (10) | 0.610 +- 0.014 (10) |" in text
    assert "| expert | 1,000 | failed | 0.610 +- 0.014 (10) |" in text


def test_kills_are_counted_by_kind_and_in_all():
    counts = {
        "depth": kills.Count(5, Counter(simulate=3, collect=1), alone=2, ends=2, identical=2, seconds=[3.0, 1.5]),
        "tuning": kills.Count(kills=1, ends=1, leftovers=1, seconds=[9.0]),
        "compare": kills.Count(),
    }
    found = kills.table(counts)
    assert list(found["kind"]) == ["depth", "tuning", "all"]
    whole = found.iloc[-1]
    assert (whole["kills"], whole["ends"], whole["identical"], whole["left over"]) == (6, 3, 2, 1)
    assert (whole["first s"], whole["last s"]) == (1.5, 9.0)
    assert "| all |" in kills.markdown(found)
    assert "simulate 3, collect 1" in kills.markdown(found)


def test_a_job_that_failed_before_a_kill_is_counted_and_what_a_kill_meets_is_noted():
    said = "rule a:\nfailed: depth_collect, which makes tables\n  why\nError in rule x:\nnot failed: y\n"
    assert kills.failures(said) == 2
    code = "import time; time.sleep(60)"
    nested = (
        f"import subprocess, sys; subprocess.run([sys.executable, '-c', {code!r}, 'ptydesign', 'step', 'depth', 'do'])"
    )
    process = subprocess.Popen([sys.executable, "-c", nested])
    try:
        wait_until = time.monotonic() + 60
        while not (found := kills.at_work(process)) and time.monotonic() < wait_until:
            time.sleep(0.05)
        assert found == ["do"]
    finally:
        for child in psutil.Process(process.pid).children():
            child.kill()
        process.kill()
        process.wait()


def test_levels_of_a_factor_are_told_apart_by_the_scatter_of_all_combinations():
    """At 100 e/A^2 the step matters, the radius doesn't, and what more pixels do is hidden in the noise."""
    rng = np.random.default_rng(0)
    rows = [
        {"step_a": s, "radius_a": r, "detector_pixels": p, "seed": seed, "dose_e_per_a2": 100.0,
         "ssim": 0.5 - 0.05 * (s == 6.0) - 0.0001 * (r == 8.0) + noise}
        for s in (1.0, 6.0) for r in (4.5, 8.0) for p in (48, 128)
        for seed, noise in enumerate(rng.normal(0, 0.001, 12))
    ]  # fmt: skip
    found = pd.DataFrame(trends.compared(pd.DataFrame(rows))).set_index(["factor", "level"])
    assert found.loc[("step_a", 6.0), "verdict"] == "worse"
    assert found.loc[("step_a", 6.0), "behind"] == pytest.approx(0.05, abs=0.003)
    assert set(found.loc["radius_a", "verdict"]) == {"best", "alike"}
    noisy = pd.DataFrame(rows).assign(ssim=lambda t: t["ssim"] + rng.normal(0, 0.05, len(t)))
    verdicts = pd.DataFrame(trends.compared(noisy)).set_index(["factor", "level"])["verdict"]
    assert set(verdicts["detector_pixels"]) == {"best", "open"}
    assert "**0.50" in trends.markdown(found.reset_index())


def test_probes_of_the_factorial_have_their_radius():
    from ptydesign.units import wavelength_a

    defocus = trends.defocus_nm(8.0, 80)
    assert defocus < 0
    assert -defocus * 10 * 0.03 + 0.61 * wavelength_a(80) / 0.03 == pytest.approx(8.0)


def test_stability_is_judged_by_true_scores():
    table = pd.DataFrame(
        [
            {"dose_e_per_a2": 100.0, "rule": rule, "seed": seed, "ssim": ssim, "std": 0.01, "draws": 4}
            for rule, scores in (("decided", (0.50, 0.51, 0.52)), ("best trial", (0.50, 0.40, 0.53)))
            for seed, ssim in enumerate(scores)
        ]
    )
    ranges = {(0, 100.0): {"step_a": [1, 3]}, (1, 100.0): {"step_a": [2, 6]}, (2, 100.0): {"step_a": [4, 6]}}
    found = stability.summary(table, ranges).set_index("rule")
    assert found.loc["decided", "std_over_seeds"] == pytest.approx(0.01)
    assert found.loc["decided", "worst_behind_best"] == pytest.approx(0.03)  # the best that any rule found
    assert found.loc["decided", "overlapping"] == "2 of 3"
    assert found.loc["decided", "noise_of_a_mean"] == pytest.approx(0.005)
    assert "| 100 | best trial | 3 | 0.477 |" in stability.markdown(found.reset_index())


def test_the_script_of_an_accelerator_runs_on_a_cpu_and_goes_on_where_it_stopped(tmp_path, monkeypatch, capsys):
    """At tiny size: the parts of a sweep for one engine each, and trials with what another computer prepared."""
    monkeypatch.setattr(gpu, "ENGINES", ("lsqml",))
    monkeypatch.setattr(gpu, "CASES", {(1, 2): 64})
    monkeypatch.setattr(gpu, "FIGURE4", {(2, 1): 64})
    monkeypatch.setattr(gpu, "GROUPS", (4,))
    where = ["--tiny", "--out", str(tmp_path), "--potential", str(tmp_path / "prepared.npz")]
    gpu.main(["--prepare", "--number", "3", *where])
    gpu.main(["--designs", "2", "device", "sweeps", "trials", *where])
    first = (tmp_path / "gpu.md").read_text()
    assert "Measured on cpu" in first
    assert "| 1, 2, 9 | lsqml |" in first
    assert "| trials, of them without a score | 2, 0 |" in first
    alone, there = first.partition("on the CPU that prepared them | ")[2].split(" |")[0].split("; ")
    assert float(alone) == pytest.approx(float(there), abs=1e-3)
    before = (tmp_path / "trials.json").stat().st_mtime_ns
    gpu.main(where)
    text = (tmp_path / "gpu.md").read_text()
    assert (tmp_path / "trials.json").stat().st_mtime_ns == before
    assert "| 2, 1, 9 | lsqml | 4 |" in text
    assert "reconstructions at once" in text


def test_times_of_other_programs_stand_beside_ours():
    row = {"slices": 1, "modes": 1, "positions": 9, "engine": "lsqml", "group": 16, "floor_s": 1.0, "sweep_s": 3.0,
           "transforms": 2.0, "compile_s": 1.0}  # fmt: skip
    other = {"program": "phaser", "slices": 1, "modes": 1, "engine": "lsqml", "group": 16, "sweep_s": 12.0}
    failed = {**other, "program": "pty-chi", "sweep_s": "RuntimeError: no memory"}
    found = {part: {} for part in gpu.PARTS} | {"figure4": {"a": row}, "peers": {"b": other, "c": failed}}
    text = gpu.markdown(found)
    assert "phaser / ours | pty-chi / ours" in text
    assert text.rstrip().endswith("| 3000.0 | 3.0 | 1.5 | 1.0 | 4.0 | failed |")


def test_methods_are_judged_by_what_they_miss_of_a_known_truth():
    """Without noise a decision takes the contender that is truly best; losses are told by dose, with their spread."""
    space = build_space({"x": {"low": 0, "high": 1}})
    seen = [Observation({"x": x}, 1 - (x - 0.3) ** 2) for x in np.linspace(0, 1, 12)]
    model = surrogate(space, SearchConfig(kernel={"nu": 2.5}), seen)
    quiet = methods.World({100.0: model}, {100.0: 0.0}, {100.0: model.best()[1]})
    assert quiet.trial(100.0, {"x": 0.3}, 1) == quiet.value(100.0, {"x": 0.3}) == pytest.approx(1, abs=1e-2)
    points = [{"x": 0.9}, {"x": 0.32}, {"x": 0.0}]
    study = SimpleNamespace(decision=DecisionConfig(first=2, draws=6))
    assert methods._decided(study, quiet, 100.0, points, 1) == 1
    loud = replace(quiet, noise={100.0: 0.1})
    draws = [loud.trial(100.0, {"x": 0.3}, seed) for seed in range(200)]
    assert np.std(draws) == pytest.approx(0.1, rel=0.2)
    rows = [{"method": "EI", "taken": "decided", "dose_e_per_a2": 100.0, "loss": loss} for loss in (0.01, 0.03)]
    assert "| EI | decided | 0.0200 +- 0.0100 (0.0141, 0.030) |" in methods.markdown(pd.DataFrame(rows))
