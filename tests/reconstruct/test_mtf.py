"""The detector's MTF in the forward model: that of the simulation, and what knowing it saves."""

import dataclasses

import numpy as np
import pytest
import toy

from ptydesign import api
from ptydesign.errors import InputError
from ptydesign.mtf import mtf
from ptydesign.reconstruct.misfit import misfit
from ptydesign.reconstruct.run import reconstruct
from ptydesign.simulate import detector
from ptydesign.types import Detector, Experiment, Optics, Scan

AT_NYQUIST = 0.3


def blurred(patterns):
    shape = patterns.shape[-2:]
    return np.fft.irfft2(np.fft.rfft2(patterns) * mtf(shape, AT_NYQUIST), s=shape)


def test_it_is_the_simulations_and_conserves_counts():
    patterns = np.random.default_rng(1).random((3, 12, 20))
    pixels = Detector((12, 20), (0.25, 0.25), mtf_nyquist=AT_NYQUIST)
    made = Experiment(Optics(80.0, 0.025, 0.0), Scan(1.0, (4.0, 4.0)), pixels, 1e4)
    np.testing.assert_allclose(detector.blurred(patterns, made), blurred(patterns), rtol=1e-6)
    np.testing.assert_allclose(blurred(patterns).sum(axis=(1, 2)), patterns.sum(axis=(1, 2)))
    assert mtf((12, 20), AT_NYQUIST)[6, 0] == pytest.approx(AT_NYQUIST)
    assert mtf((12, 20), 1.0) is None


@pytest.fixture(scope="module")
def seen():
    """(dataset with blurred patterns and noise, its object)."""
    dataset, object_ = toy.experiment(shape=(32, 40), steps=(8, 7), noisy=False)
    counts = np.random.default_rng(2).poisson(np.maximum(blurred(dataset.patterns), 0)).astype(np.float32)
    return dataclasses.replace(dataset, patterns=counts), object_


@pytest.mark.parametrize(
    "engine",
    [
        {"engine": "lsqml", "sweeps": 25},
        {"engine": "lsqml", "sweeps": 25, "batches": "compact"},
        {"engine": "gradient", "rule": "lbfgs", "sweeps": 25},
        {"engine": "epie", "sweeps": 25},
        {"engine": "difference_map", "sweeps": 40},
    ],
    ids=lambda engine: "-".join(map(str, engine.values())),
)
def test_a_known_mtf_gives_the_object_back(seen, engine):
    dataset, object_ = seen
    losses, errors = {}, {}
    for known in (1.0, AT_NYQUIST):
        plan = api.make_plan(
            engines=[engine | {"noise": "poisson", "probe_start": 1000}], correction={"mtf_nyquist": known}
        )
        state = reconstruct(dataset, plan)[0]
        losses[known] = misfit(state, plan.correction.applied(dataset), "poisson", 1e-3)
        errors[known] = toy.phase_error(state, object_, dataset)
    assert losses[AT_NYQUIST] < 0.5 * losses[1.0]
    assert errors[AT_NYQUIST] < 0.5 * errors[1.0]


def test_an_ideal_detector_is_not_written_into_a_plan():
    plan = api.make_plan(engines=[{"engine": "lsqml"}], correction={"mtf_nyquist": 1.0})
    assert "correction" not in plan.model_dump(mode="json")


@pytest.mark.parametrize("value", [0.0, 1.5, "half"])
def test_what_is_no_mtf_is_refused(value):
    with pytest.raises(InputError, match="mtf_nyquist"):
        api.make_plan(engines=[{"engine": "lsqml"}], correction={"mtf_nyquist": value})
