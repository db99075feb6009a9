"""Every engine: the object is found, whatever the batches, noise model, slices, modes, scale and precision.

What must not have an effect, or must always hold, is in `test_conformance`.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import toy

from ptydesign.config import build
from ptydesign.errors import InputError
from ptydesign.reconstruct import run
from ptydesign.reconstruct.batches import BATCHES
from ptydesign.reconstruct.engines import ENGINES
from ptydesign.reconstruct.noise import NOISE_MODELS
from ptydesign.reconstruct.plan import Plan
from ptydesign.reconstruct.run import one_sweep, reconstruct
from ptydesign.reconstruct.start import start_state

# Continuous settings of each engine, different from the defaults.
CONTINUOUS = {
    "lsqml": {"delta": 0.3, "damping": 0.2},
    "gradient": {"object_rate": 0.01},
    "epie": {"object_step": 0.7},
    "rpie": {"object_alpha": 0.3, "probe_alpha": 0.5},
    "difference_map": {"beta": 0.9, "inertia": 0.05, "least": 0.4, "most": 0.8},
    "raar": {"beta": 0.7, "inertia": 0.05, "least": 0.4, "most": 0.8},
}
# Last loss over the first, at most. Engines that update after every position are far down after the first sweep.
FALLS = {"epie": 0.5, "rpie": 0.6}

# Engines that update once a sweep: which positions form a group has no effect.
WHOLE = ("difference_map", "raar")
# Batches and noise models meet in no line of code: each with one of the other.
CASES = [(e, b, "amplitude") for e in ENGINES for b in BATCHES if e not in WHOLE or b == "sparse"]
CASES += [(e, "sparse", n) for e in ENGINES for n in NOISE_MODELS if n != "amplitude"]


def plan_of(engine="lsqml", sweeps=12, precision="single", slices=1, mode_powers=(), **settings):
    return build(
        Plan,
        {
            "precision": precision,
            "object": {"slices": slices, "slice_thickness_a": 40.0 if slices > 1 else 0.0},
            "probe": {"mode_powers": mode_powers},
            "engines": [{"engine": engine, "sweeps": sweeps, "group": 16, **settings}],
        },
        "plan",
    )


@pytest.fixture(scope="module")
def data():
    return toy.experiment()


@pytest.mark.parametrize("engine,batches,noise", CASES)
def test_loss_falls_and_the_object_is_found(engine, batches, noise, data):
    dataset, transmission = data
    state, history, outcome = reconstruct(dataset, plan_of(engine, batches=batches, noise=noise, sweeps=25))
    assert outcome.status == "all_sweeps_done", outcome.reason
    assert history.loss[-1] < FALLS.get(engine, 0.3) * history.loss[0]
    contrast = np.std(np.angle(transmission))
    assert toy.phase_error(state, transmission, dataset) < 0.35 * contrast


@pytest.mark.parametrize("engine,batches", [(e, b) for e, b, n in CASES if b != "random" and n == "amplitude"])
@pytest.mark.parametrize("noise", ["amplitude", "poisson"])
def test_counts_may_have_any_scale(engine, batches, noise, data):
    """A gain of the detector changes nothing but the scale of the probe."""
    dataset, _ = data
    plan = plan_of(engine, batches=batches, noise=noise, sweeps=4)
    phases = []
    for scale in (1.0, 1e-4, 1e4):
        scaled = dataclasses.replace(dataset, patterns=dataset.patterns * scale)
        phases.append(reconstruct(scaled, plan)[0].phase_rad)
    np.testing.assert_allclose(phases[1], phases[0], atol=2e-3)
    np.testing.assert_allclose(phases[2], phases[0], atol=2e-3)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("batches", ["sparse", "compact"])
def test_seeds_reach_the_engine(engine, batches, data):
    dataset, _ = data
    plan = plan_of(engine, batches=batches, sweeps=3)
    first, again, other = (reconstruct(dataset, plan, seed=s)[0].object for s in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("engine", ENGINES)
def test_nothing_recompiles_for_other_continuous_settings_or_fewer_positions(engine, data):
    dataset, _ = data
    reconstruct(dataset, plan_of(engine, sweeps=1))
    compiled = one_sweep._cache_size()
    reconstruct(dataset, plan_of(engine, sweeps=2, max_amplitude=1.1, offset=1e-2, **CONTINUOUS[engine]))
    fewer = dataclasses.replace(dataset, patterns=dataset.patterns[:-3], positions_a=dataset.positions_a[:-3])
    reconstruct(fewer, plan_of(engine, sweeps=1))
    assert one_sweep._cache_size() == compiled


@pytest.mark.parametrize("engine", ENGINES)
def test_double_precision(engine, data, monkeypatch):
    """Agrees with single precision, whose rounding it does not have: a loss at the truth is its square."""
    dataset, _ = data
    single = reconstruct(dataset, plan_of(engine, sweeps=3, group=72))[0]
    double = reconstruct(dataset, plan_of(engine, sweeps=3, group=72, precision="double"))[0]
    for item in dataclasses.fields(double):
        value = getattr(double, item.name)
        assert value is None or value.dtype in (np.complex128, np.float64), item.name
    np.testing.assert_allclose(single.object, double.object, atol=2e-3)
    scale = np.abs(double.probe).max()
    np.testing.assert_allclose(single.probe / scale, double.probe / scale, atol=2e-3)
    exact, transmission = toy.experiment(noisy=False)
    monkeypatch.setattr(run, "start_state", lambda d, plan: toy.true_state(start_state(d, plan), d, transmission))
    losses = {
        p: reconstruct(exact, plan_of(engine, sweeps=1, group=72, precision=p))[1].loss[0] for p in ("single", "double")
    }
    assert losses["double"] < 1e-22 < 1e-17 < losses["single"]


@pytest.mark.parametrize("engine", ENGINES)
def test_several_slices_and_modes(engine):
    slices = 2 if ENGINES[engine].config.multislice else 1
    dataset, transmission = toy.experiment(slices=slices, modes=((0.8, 0), (0.2, 1)))
    plan = plan_of(engine, slices=slices, mode_powers=(0.2,), sweeps=30)
    state, history, _ = reconstruct(dataset, plan)
    assert history.loss[-1] < FALLS.get(engine, 0.3) * history.loss[0]
    assert toy.phase_error(state, transmission, dataset) < 0.08


@pytest.mark.parametrize("engine", [e for e in ENGINES if not ENGINES[e].config.multislice])
def test_engines_of_one_slice_refuse_more(engine):
    with pytest.raises(InputError, match=f"engines.0.engine: is defined for one slice.*{engine}.*lsqml"):
        plan_of(engine, slices=2)


def test_divergence_is_an_outcome(data):
    dataset, _ = data
    plan = plan_of("gradient", rule="sgd", object_rate=1e6, probe_rate=1e6, sweeps=30, max_amplitude=1e6)
    _, history, outcome = reconstruct(dataset, plan)
    assert outcome.status == "diverged"
    assert outcome.sweeps == len(history.loss) < 30
    assert "gradient" in outcome.reason
