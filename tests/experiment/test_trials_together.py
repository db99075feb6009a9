"""Trials that are run together get what they get one by one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from study_files import tiny, write_study

from ptydesign import accelerator
from ptydesign.experiment import search
from ptydesign.experiment.resolve import resolve
from ptydesign.experiment.together import run_together, windows
from ptydesign.experiment.trial import Running, Trial, run_trial
from ptydesign.study.acquisition import at_point


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    root = tmp_path_factory.mktemp("together")
    return resolve(write_study(root / "studies" / "tiny", tiny()), "preview", root / "results")


@pytest.fixture(scope="module")
def potential(study):
    return search.cached(study)[0]


@pytest.fixture(scope="module")
def trials(study):
    base = study.study.experiment
    points = [{}, {"step_a": 2.5}, {"detector_pixels": 32}, {"defocus_nm": -500.0}]
    return [Trial(at_point(base, point), 2000.0) for point in points]


def test_together_as_alone(study, potential, trials):
    """One that can't be simulated, its window being larger than the specimen, is a result like the others."""
    running = [Running(study.study, potential, trial) for trial in trials]
    found = {id(one): one for one in run_together(running, threads=2)}
    assert len(found) == len(trials)
    for one, trial in zip(running, trials, strict=True):
        result, cost, images = run_trial(study.study, potential, trial)
        assert one.result["status"] == result["status"]
        assert one.result["reason"] == result["reason"]
        assert set(one.cost) == set(cost)
        assert (one.images is None) == (images is None)
        if result["status"] == "ok":
            assert one.known is None
            for mine, its in zip(one.result["path"], result["path"], strict=True):
                assert mine["sweeps"] == its["sweeps"]
                for metric in ("psnr_db", "mse_rad2", "frc_area", "contrast"):
                    np.testing.assert_allclose(mine["scores"][metric], its["scores"][metric], rtol=2e-3)
    assert [one.result["status"] for one in running] == ["ok", "ok", "ok", "failed"]


def test_windows_hold_no_more_than_memory_does(study, potential, trials):
    running = [Running(study.study, potential, trial) for trial in trials[:3]]
    assert [len(part) for part in windows(running, np.inf)] == [3]
    assert [len(part) for part in windows(running, 1.0)] == [1, 1, 1]
    first = next(windows(running, np.inf))
    assert first[0].trial.experiment.detector_pixels == 32


def test_a_round_on_an_accelerator(study, monkeypatch):
    """The same records as on a CPU, in the same order, under keys that name the device; the store has them."""
    found = search.find_search(study.study, "bo-2000")
    own = replace(study, results=study.root / "own")
    points, _ = search.points_of(own, found, 0)
    expected = search._evaluated(own, found, 0, range(len(points)), points, None)
    monkeypatch.setattr(search.accelerator, "used", lambda: True)
    monkeypatch.setattr(accelerator, "kind", lambda: "some device")
    got = search._evaluated(own, found, 0, range(len(points)), points, None)
    assert [one["point"] for one in got] == [one["point"] for one in expected]
    assert not {one["key"] for one in got} & {one["key"] for one in expected}
    for mine, its in zip(got, expected, strict=True):
        assert mine["status"] == its["status"] == "ok"
        np.testing.assert_allclose(
            mine["path"][-1]["scores"]["psnr_db"], its["path"][-1]["scores"]["psnr_db"], rtol=2e-3
        )
    monkeypatch.setattr(
        "ptydesign.experiment.together.run_together",
        lambda missing: pytest.fail("they are in the store") if missing else [],
    )
    assert search._evaluated(own, found, 0, range(len(points)), points, None) == got
