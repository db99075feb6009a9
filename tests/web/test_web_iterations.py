"""What a reconstruction writes for viewers, what they make of it, and stopping it so that it goes on."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import toy
import web_runs

from ptydesign import waves
from ptydesign.api import reconstruct_dataset
from ptydesign.errors import InputError
from ptydesign.grids import Grid
from ptydesign.reconstruct import live, log
from ptydesign.reconstruct.checkpoint import Checkpoints
from ptydesign.reconstruct.live import Live
from ptydesign.reconstruct.plan import Plan
from ptydesign.web.folder import Folder
from ptydesign.web.iterations import Reconstruction, fit_aberrations
from ptydesign.web.runs import Runs


@pytest.fixture(scope="module")
def data():
    return toy.experiment(shape=(16, 16), steps=(6, 6))[0]


def run(folder, data, plan, stop_at=None, resume=None, every_s=0.0):
    """A reconstruction that shows itself, with an iteration of every sweep."""

    def stopper(sweep, loss, state):
        if sweep == stop_at:
            watched.stop()

    with Live(folder, data, plan, resumed=resume is not None) as watched:
        checkpoints = Checkpoints(folder / "checkpoint.h5", 100)
        result = reconstruct_dataset(data, plan, 0, False, [stopper, watched], checkpoints, resume)
        watched.finish(result.outcome, result.state)
    return result, watched


@pytest.fixture(autouse=True)
def every_sweep(monkeypatch):
    monkeypatch.setattr(live, "EVERY_S", 0.0)
    monkeypatch.setattr(live, "COST", 1e9)


def test_a_stopped_run_goes_on_as_if_it_had_not(tmp_path, data):
    plan = web_runs.plan(sweeps=6)
    whole, _ = run(tmp_path / "whole.live", data, plan)
    part, _ = run(tmp_path / "part.live", data, plan, stop_at=3)
    assert part.outcome.sweeps == 3
    folder = Folder(tmp_path)
    states = {one.title: one for one in Runs(folder).find()}
    assert (states["part"].state, states["part"].done, states["part"].total) == ("stopped", 3, 6)
    assert (states["whole"].state, states["whole"].done) == ("done", 6)
    rest, _ = run(tmp_path / "part.live", data, plan, resume=tmp_path / "part.live/checkpoint.h5")
    assert np.array_equal(rest.state.object, whole.state.object)
    shown = Reconstruction(tmp_path / "part.live")
    assert [sweep for sweep, _ in shown.losses] == [1, 2, 3, 4, 5, 6]
    assert shown.sweeps == [1, 2, 3, 4, 5, 6]
    np.testing.assert_allclose([loss for _, loss in shown.losses], whole.history["loss"])


def test_iterations_are_what_there_was(tmp_path, data):
    result, watched = run(tmp_path / "a.live", data, web_runs.plan(sweeps=3, refine_positions=True))
    shown = Reconstruction(tmp_path / "a.live")
    last = shown.iteration(3)
    np.testing.assert_allclose(last.positions_a, result.state.positions_a, rtol=1e-5)
    assert last.probe.shape == (1, 16, 16)
    np.testing.assert_allclose(np.abs(last.probe), np.abs(result.state.probe), rtol=1e-5)
    low = np.ceil(result.state.positions_px.min(axis=0)).astype(int)
    inside = result.state.object[0, low[0] : low[0] + 5, low[1] : low[1] + 5]
    np.testing.assert_allclose(last.object[0, :5, :5], inside, rtol=1e-5)
    assert shown.nominal_a.shape == (36, 2)
    assert last.mode_powers.sum() == pytest.approx(1)
    assert watched.cost_s > 0
    assert shown.session.read()["cost_s"] == pytest.approx(watched.cost_s, abs=0.01)


def test_iterations_cost_a_bounded_part_of_the_run(tmp_path, data, monkeypatch):
    """One more is written only when the time since the last is a hundred times what that took."""
    monkeypatch.setattr(live, "COST", 0.01)
    clock = [0.0]
    monkeypatch.setattr(live.time, "perf_counter", lambda: clock[0])
    written = []

    def slow(folder, sweep, state, count):
        written.append(sweep)
        clock[0] += 0.05

    monkeypatch.setattr(live, "write_iteration", slow)
    monkeypatch.setattr(Live, "_moved", lambda *_: "")
    with Live(tmp_path / "a.live", data, web_runs.plan()) as watched:
        for sweep in range(1, 101):
            clock[0] += 0.5
            watched(sweep, 1.0, None)
    assert 9 <= len(written) <= 10
    assert watched.cost_s <= 0.011 * clock[0]


def test_a_run_does_not_die_of_its_viewers(tmp_path, data, monkeypatch):
    def full(*_):
        raise InputError("disk", "must have room", "no room", "Make room.")

    monkeypatch.setattr(live, "write_iteration", full)
    result, _ = run(tmp_path / "a.live", data, web_runs.plan(sweeps=2))
    assert result.outcome.sweeps == 2


def test_few_iterations_stay(tmp_path):
    for sweep in range(1, 200):
        (tmp_path / f"iteration-{sweep:06d}.h5").touch()
        live.thin_out(tmp_path)
    kept = [int(path.stem[-6:]) for path in live.iterations(tmp_path)]
    assert len(kept) <= live.KEPT
    assert (kept[0], kept[-1]) == (1, 199)
    assert max(np.diff(kept)) <= 16


def test_large_objects_are_shown_binned(tmp_path, data, monkeypatch):
    monkeypatch.setattr(live, "MOST_PIXELS", 200)
    run(tmp_path / "a.live", data, web_runs.plan(sweeps=1))
    one = Reconstruction(tmp_path / "a.live").iteration(1)
    assert one.object.size <= 200
    assert one.pixel_a[0] > one.probe_pixel_a[0]


def test_a_failed_run_says_why(tmp_path, data):
    with pytest.raises(RuntimeError), Live(tmp_path / "a.live", data, web_runs.plan()):
        raise RuntimeError("no more memory")
    shown = next(iter(Runs(Folder(tmp_path)).find()))
    assert (shown.state, shown.reason) == ("failed", "RuntimeError: no more memory")


def test_finished_files_are_shown_too(tmp_path, data):
    from ptydesign import io

    result, _ = run(tmp_path / "a.live", data, web_runs.plan(sweeps=2))
    io.write_reconstruction(tmp_path / "b.h5", result)
    shown = Reconstruction(tmp_path / "b.h5")
    assert shown.sweeps == [2]
    assert shown.state == "done"
    assert shown.iteration(2).phase_rad().ndim == 2
    with pytest.raises(InputError):
        Reconstruction(web_runs.dataset(tmp_path))


@pytest.mark.parametrize("told", [{}, {"defocus_nm": -14.0}])
def test_aberrations_of_a_probe_are_found(told):
    grid, wavelength = Grid((64, 64), (0.3, 0.3)), 0.0418
    spectrum = waves.probe_spectrum(
        grid, wavelength, 0.02, defocus_a=-150.0, astigmatism_a=20.0, astigmatism_angle_rad=0.4, coma_a=2000.0,
        coma_angle_rad=1.0, cs_a=1e6,
    )  # fmt: skip
    fitted = fit_aberrations(waves.centre_spectrum(grid, spectrum), (0.3, 0.3), wavelength, told)
    expected = {"defocus_nm": -15, "astigmatism_nm": 2, "astigmatism_deg": np.degrees(0.4), "coma_um": 0.2,
                "coma_deg": np.degrees(1), "cs_mm": 0.1}  # fmt: skip
    assert fitted.values == pytest.approx(expected, rel=1e-4)
    assert fitted.residual_rad < 1e-6


def test_a_probe_through_focus_is_propagated():
    grid, wavelength = Grid((64, 64), (0.3, 0.3)), 0.0418
    waves_ = [waves.centre_spectrum(grid, waves.probe_spectrum(grid, wavelength, 0.02, defocus_a=d)) for d in (100, 0)]
    from ptydesign.web.iterations import Iteration

    one = Iteration(
        1, np.ones((1, 8, 8)), (0.3, 0.3), (0, 0), waves_[0][None], (0.3, 0.3), np.zeros((1, 2)), np.ones(1), wavelength
    )
    focused = np.abs(waves_[1]) ** 2
    np.testing.assert_allclose(one.at_focus(0, 10.0), focused / focused.max(), atol=1e-6)


def test_a_run_writes_its_own_log(tmp_path, data, monkeypatch):
    monkeypatch.setattr(log, "EVERY_S", 0.0)
    engine = {"engine": "epie", "sweeps": 2, "group": 6}
    plan = Plan(engines=[engine, {**engine, "engine": "lsqml", "refine_positions": True, "positions_start": 0}])

    folder, shown, seen = tmp_path / "a.live", warnings.showwarning, []

    def looks(sweep, loss, state):
        seen.append(Reconstruction(folder).log())
        if sweep == 3:
            warnings.warn("something odd", stacklevel=1)

    def watched():
        with Live(folder, data, plan, told=["few counts"]) as one:
            result = reconstruct_dataset(data, plan, 0, False, [one, looks])
            one.finish(result.outcome, result.state)
        return result

    with pytest.warns(UserWarning, match="odd"):
        result = watched()
    words = [line[21:] for line in seen[-1].splitlines()]  # while it ran
    assert words[:3] == ["Begins: 36 patterns of 16 x 16 pixels at 80 kV", "few counts",
                         "engine 1 of 2, epie: 2 sweeps, groups of 6, amplitude noise"]  # fmt: skip
    sweeps = [w for w in words if w.startswith("sweep")]
    assert [w.partition(":")[0] for w in sweeps] == [f"sweep {n} of 4" for n in range(1, 5)]
    assert f"loss {result.history['loss'][3]:.4g}" in sweeps[3]
    assert "positions corrected by" in sweeps[3]
    assert words.index("engine 2 of 2, lsqml: 2 sweeps, groups of 6, amplitude noise") > words.index(sweeps[1])
    assert "warning: something odd" in words
    assert "done: All 4 sweeps" in Reconstruction(tmp_path / "a.live").log()
    assert warnings.showwarning is shown


def test_a_log_goes_on_with_its_run_and_says_why_it_failed(tmp_path, data):
    run(tmp_path / "a.live", data, web_runs.plan(sweeps=4), stop_at=2)
    run(tmp_path / "a.live", data, web_runs.plan(sweeps=4), resume=tmp_path / "a.live/checkpoint.h5")
    said = Reconstruction(tmp_path / "a.live").log()
    assert said.index("asked to stop") < said.index("Goes on with 36") < said.index("epie: 4 sweeps after 2")
    with pytest.raises(ZeroDivisionError), Live(tmp_path / "b.live", data, web_runs.plan()):
        raise ZeroDivisionError("by hand")
    assert "failed: ZeroDivisionError: by hand" in Reconstruction(tmp_path / "b.live").log()
