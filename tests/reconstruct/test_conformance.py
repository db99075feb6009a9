"""One suite over every engine x noise model x regulariser: a new entry of a registry is covered by itself.

For each engine and noise model all regularisers are compiled into one sweep, with values that do nothing; each test
then gives one of them, or none, or all, values that act. That nothing compiles twice is checked on the way.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import toy

from ptydesign.config import build
from ptydesign.errors import InputError
from ptydesign.reconstruct import run
from ptydesign.reconstruct.checkpoint import Checkpoints
from ptydesign.reconstruct.costs import COSTS
from ptydesign.reconstruct.engines import ENGINES, gradient
from ptydesign.reconstruct.line_search import RULES
from ptydesign.reconstruct.noise import NOISE_MODELS
from ptydesign.reconstruct.plan import Plan
from ptydesign.reconstruct.regularise import CONSTRAINTS
from ptydesign.reconstruct.scans import join_scans
from ptydesign.reconstruct.start import start_state

SHAPE = (20, 24)
# name -> settings. The gradient engine's rules that measure their steps are engines of their own here.
ENGINE_SETTINGS = {**{name: {"engine": name} for name in ENGINES}} | {
    rule: {"engine": "gradient", "rule": rule} for rule in RULES
}
# What does nothing, and what acts on the toy. Deramp and orthogonal modes change the gauge only.
NEUTRAL = {
    "deramp": {},
    "layer_blur": {"sigma_a": 0.0},
    "object_amplitude": {"smallest": 0.0, "largest": 9.0},
    "object_lowpass": {"qmax": 90.0},
    "orthogonal_modes": {},
    "positivity": {"strength": 0.0},
    "probe_aperture": {"semiangle_mrad": 900.0},
    "probe_support": {"radius_a": 900.0},
}
ACTING = {
    "layer_blur": {"sigma_a": 30.0},
    "object_amplitude": {"smallest": 0.95, "largest": 1.05},
    "object_lowpass": {"qmax": 1.1},
    "positivity": {"floor_rad": -0.2, "strength": 0.5},
    "probe_aperture": {"semiangle_mrad": 30.0},
    "probe_support": {"radius_a": 3.0},
}
CASES = [(engine, noise) for engine in ENGINE_SETTINGS for noise in NOISE_MODELS]


def test_every_constraint_has_values():
    assert set(NEUTRAL) == set(CONSTRAINTS)
    assert set(ACTING) == {name for name, c in CONSTRAINTS.items() if set(c.config.model_fields) - {"kind", "every"}}


def slices_of(engine):
    return 2 if ENGINES[ENGINE_SETTINGS[engine]["engine"]].config.multislice else 1


def plan_of(engine, noise, acting=(), sweeps=2, **settings):
    """acting: names of the regularisers that do something."""
    chosen = {kind: ACTING[kind] if kind in acting else NEUTRAL[kind] for kind in NEUTRAL}
    content = {**ENGINE_SETTINGS[engine], "group": 8, "sweeps": sweeps, "noise": noise, "probe_start": 0, **settings}
    if ENGINES[content["engine"]].config.keeps_waves:
        chosen.pop("deramp")  # refused
    content["constraints"] = [{"kind": kind, **values} for kind, values in chosen.items()]
    if engine == "gradient":  # of the other rules `test_line_search` has a cost
        content["costs"] = [{"kind": kind, "weight": 0.3 if kind in acting else 0.0} for kind in COSTS]
    start = {"slices": slices_of(engine), "slice_thickness_a": 40.0 if slices_of(engine) > 1 else 0.0}
    return build(Plan, {"object": start, "probe": {"mode_powers": [0.2]}, "engines": [content]}, "plan")


def flat_phases(slices):
    """Function of a canvas that gives phases (slice, y, x) whose sum has no slope over the scan: nothing to deramp."""

    def phases(canvas):
        rng = np.random.default_rng(5)
        values = np.stack([toy.smooth_phase(canvas, 0.3, rng, 0.15 / np.sqrt(slices)) for _ in range(slices)])
        y, x = np.indices(canvas)
        first = [n // 2 + 8 for n in SHAPE]
        box = np.s_[first[0] : first[0] + 13, first[1] : first[1] + 16]
        basis = np.stack([np.ones(y[box].size), y[box].ravel(), x[box].ravel()], axis=1)
        plane = np.linalg.lstsq(basis, values.sum(axis=0)[box].ravel(), rcond=None)[0]
        values[0] -= plane[0] + plane[1] * y + plane[2] * x
        return values

    return phases


_DATA = {}


def data_of(engine, noisy=True):
    """(dataset, truth) of 30 positions, two modes, and two slices where the engine can."""
    key = slices_of(engine), noisy
    if key not in _DATA:
        _DATA[key] = toy.experiment(
            shape=SHAPE,
            steps=(5, 6),
            step_a=0.9,
            slices=key[0],
            modes=((0.8, 0), (0.2, 1)),
            noisy=noisy,
            phases=flat_phases(key[0]),
        )
    return _DATA[key]


@pytest.fixture(autouse=True)
def compiles_once(request):
    """No second compilation, whatever a test does with one engine and noise model."""
    yield
    engine, noise = (
        (request.node.callspec.params.get(n) for n in ("engine", "noise"))
        if hasattr(request.node, "callspec")
        else (None, None)
    )
    if noise is not None and "room" not in request.node.name:
        before = run.one_sweep._cache_size()
        run.reconstruct(data_of(engine)[0], plan_of(engine, noise, sweeps=1, offset=3e-3, max_amplitude=1.4))
        assert run.one_sweep._cache_size() == before


@pytest.mark.parametrize("engine,noise", CASES)
def test_the_loss_falls(engine, noise):
    _, history, outcome = run.reconstruct(data_of(engine)[0], plan_of(engine, noise, sweeps=12))
    assert outcome.status == "all_sweeps_done", outcome.reason
    assert history.loss[-1] < 0.75 * history.loss[0]
    every = run.reconstruct(data_of(engine)[0], plan_of(engine, noise, [*ACTING], sweeps=4))
    assert every[2].status == "all_sweeps_done", every[2].reason
    assert np.all(np.isfinite(every[0].object))


@pytest.mark.parametrize("engine,noise", CASES)
def test_each_regulariser_acts(engine, noise):
    """Alone; another engine or noise model never switches one off."""
    dataset = data_of(engine)[0]
    sweeps = 6  # until some phases are negative
    free = run.reconstruct(dataset, plan_of(engine, noise, sweeps=sweeps))[0]
    names = [*ACTING, *(COSTS if engine == "gradient" else ())]
    if slices_of(engine) == 1:
        names = [n for n in names if not n.startswith("layer")]
    for name in names:
        state, _, outcome = run.reconstruct(dataset, plan_of(engine, noise, [name], sweeps))
        assert outcome.status == "all_sweeps_done", (name, outcome.reason)
        assert np.all(np.isfinite(state.object)), name
        change = max(np.abs(state.object - free.object).max(), np.abs(state.probe - free.probe).max())
        assert change > 1e-4, name


@pytest.mark.parametrize("engine,noise", CASES)
def test_truth_is_a_fixed_point(engine, noise, monkeypatch):
    """Of noiseless data, all regularisers compiled in but idle."""
    dataset, transmission = data_of(engine, noisy=False)
    monkeypatch.setattr(
        run, "start_state", lambda data, plan: toy.true_state(start_state(data, plan), data, transmission)
    )
    # Adam's steps have the size of the rate, however small the gradient
    small = {"object_rate": 1e-5, "probe_rate": 1e-5} if engine == "gradient" else {}
    state, history, _ = run.reconstruct(dataset, plan_of(engine, noise, sweeps=4, **small))
    assert np.abs(history.loss).max() < 2e-6
    assert toy.phase_error(state, transmission, dataset) < 2e-3


@pytest.mark.parametrize("engine,noise", CASES)
def test_a_known_background_belongs_to_the_model(engine, noise, monkeypatch):
    """With it the truth stays a fixed point; with half of it the truth no longer fits."""
    dataset, transmission = data_of(engine, noisy=False)
    monkeypatch.setattr(
        run, "start_state", lambda data, plan: toy.true_state(start_state(data, plan), data, transmission)
    )
    background = 0.2 * dataset.patterns.mean() * (1 + np.cos(np.arange(SHAPE[1]))) * np.ones(SHAPE)
    dirty = dataclasses.replace(dataset, patterns=dataset.patterns + background)
    small = {"object_rate": 1e-5, "probe_rate": 1e-5} if engine == "gradient" else {}
    right, wrong = (
        run.reconstruct(dataclasses.replace(dirty, background=b), plan_of(engine, noise, sweeps=4, **small))
        for b in (background, background / 2)
    )
    assert np.abs(right[1].loss).max() < 2e-6
    assert toy.phase_error(right[0], transmission, dataset) < 2e-3
    assert wrong[1].loss[0] > 5e-4  # as the truth was met: engines then put the rest into the object


@pytest.mark.parametrize("engine,noise", CASES)
def test_masked_pixels_have_no_effect(engine, noise):
    dataset = data_of(engine)[0]
    mask = np.ones(SHAPE)
    mask[3:6, 2:9] = 0
    dirt = np.where(mask > 0, dataset.patterns, np.random.default_rng(0).uniform(0, 1e4, dataset.patterns.shape))
    clean, dirty = (
        run.reconstruct(dataclasses.replace(dataset, mask=mask, patterns=p), plan_of(engine, noise))[0]
        for p in (dataset.patterns, dirt)
    )
    np.testing.assert_array_equal(clean.object, dirty.object)
    np.testing.assert_array_equal(clean.probe, dirty.probe)


@pytest.mark.slow  # two compilations of everything that an engine has
@pytest.mark.parametrize("engine", ENGINE_SETTINGS)
def test_room_for_more_positions_has_no_effect(engine, monkeypatch):
    """Padding: 30 positions in arrays of 32 or of 48."""
    dataset = data_of(engine)[0]
    plan = plan_of(engine, "amplitude", refine_positions=True, positions_start=1)
    tight = run.reconstruct(dataset, plan)
    monkeypatch.setattr(run, "capacity", lambda count: 48)
    wide = run.reconstruct(dataset, plan)
    np.testing.assert_allclose(wide[0].object, tight[0].object, atol=1e-4)
    np.testing.assert_allclose(wide[0].positions_px, tight[0].positions_px, atol=1e-4)
    np.testing.assert_allclose(wide[1].loss, tight[1].loss, rtol=1e-4)
    assert wide[0].positions_px.shape == (30, 2)


@pytest.mark.parametrize("engine,noise", CASES)
def test_saved_loaded_and_resumed_is_identical(engine, noise, tmp_path):
    dataset, path = data_of(engine)[0], tmp_path / "run.h5"
    plan = plan_of(engine, noise, ["object_amplitude"], sweeps=4)  # refined positions: tests of `refine` and OPR
    whole, history, ended = run.reconstruct(dataset, plan, seed=3)

    def stop(sweep, loss, state):
        if sweep == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run.reconstruct(dataset, plan, seed=3, observers=[stop], checkpoints=Checkpoints(path, every=2))
    state, again, outcome = run.reconstruct(dataset, plan, seed=3, resume=path)
    np.testing.assert_array_equal(again.loss, history.loss)
    for item in dataclasses.fields(state):
        np.testing.assert_array_equal(getattr(state, item.name), getattr(whole, item.name), err_msg=item.name)
    assert outcome == ended


@pytest.mark.parametrize("engine", ENGINE_SETTINGS)
def test_scans_of_one_object(engine):
    """Two modes of each of two scans, without and with all regularisers; engines that keep waves refuse them."""
    whole = data_of(engine)[0]
    halves = [
        dataclasses.replace(whole, patterns=whole.patterns[part], positions_a=whole.positions_a[part])
        for part in (slice(0, 15), slice(15, 30))
    ]
    plan = plan_of(engine, "poisson", sweeps=8)
    if ENGINES[plan.engines[0].engine].config.keeps_waves:
        with pytest.raises(InputError, match="must be one that several scans can share"):
            run.reconstruct(join_scans(halves), plan)
        return
    state, history, outcome = run.reconstruct(join_scans(halves), plan)
    assert outcome.status == "all_sweeps_done", outcome.reason
    assert state.probe.shape == (2, 2, *SHAPE)
    assert history.loss[-1] < 0.85 * history.loss[0]
    every = run.reconstruct(join_scans(halves), plan_of(engine, "poisson", [*ACTING], sweeps=3))
    assert every[2].status == "all_sweeps_done", every[2].reason
    assert np.all(np.isfinite(every[0].object))
    assert np.all(np.isfinite(every[0].probe))
    for probe in state.probe:  # each scan's modes are orthogonal
        assert np.abs(np.vdot(probe[0], probe[1])) < 1e-3 * np.linalg.norm(probe[0]) * np.linalg.norm(probe[1])


@pytest.mark.parametrize("engine", [e for e in ENGINES if ENGINES[e].config.keeps_waves])
def test_engines_that_keep_waves_refuse_deramp(engine):
    with pytest.raises(InputError, match=f"engines.0.constraints: deramp is not for {engine}"):
        build(Plan, {"engines": [{"engine": engine, "constraints": [{"kind": "deramp"}]}]}, "plan")


def test_rules_of_fixed_steps_fall_too():
    """Every other rule of the gradient engine."""
    for rule in gradient.RULES:
        rate = {} if rule in ("adam", "nadam", "amsgrad") else {"object_rate": 0.2, "probe_rate": 0.05}
        plan = build(
            Plan,
            {"engines": [{"engine": "gradient", "rule": rule, "group": 8, "sweeps": 8, **rate}]},
            "plan",
        )
        _, history, outcome = run.reconstruct(data_of("raar")[0], plan)
        assert outcome.status == "all_sweeps_done", rule
        assert history.loss[-1] < 0.8 * history.loss[0], rule
