"""The detector's response in the forward model: against integrals over pixels, and what it saves."""

import dataclasses

import numpy as np
import pytest
import toy

from ptydesign import api
from ptydesign.reconstruct.misfit import misfit
from ptydesign.reconstruct.run import reconstruct
from ptydesign.response import Response, mtf
from ptydesign.simulate.detector import apply_mtf
from ptydesign.types import Detector

FINE = 8  # samples of a pixel along an axis


def blurred(pattern, transfer):
    return np.fft.irfft2(np.fft.rfft2(pattern) * transfer, s=pattern.shape[-2:])


@pytest.mark.parametrize("shape", [(24, 32), (32, 20)])
def test_whole_pixels_are_integrals_of_a_wave_in_half_a_window(shape):
    """The intensity of a wave in half its window is known between the pixels' middles, and so is its mean there."""
    rng = np.random.default_rng(0)
    inside = [n // 2 for n in shape]
    wave = rng.normal(size=inside) + 1j * rng.normal(size=inside)
    coarse = np.abs(np.fft.fft2(wave, s=shape)) ** 2
    fine = np.abs(np.fft.fft2(wave, s=[FINE * n for n in shape])) ** 2
    # the trapezoidal rule from edge to edge of each pixel, on a fine grid
    half = FINE // 2
    rule = np.r_[0.5, np.ones(FINE - 1), 0.5] / FINE
    wanted = np.zeros(shape)
    for i, u in zip(range(-half, half + 1), rule, strict=True):
        for j, v in zip(range(-half, half + 1), rule, strict=True):
            wanted += u * v * np.roll(fine, (-i, -j), axis=(0, 1))[::FINE, ::FINE]
    found = blurred(coarse, Response(integrated=True).transfer(shape))
    np.testing.assert_allclose(found, wanted, atol=4e-3 * wanted.max())  # of the rule
    assert np.abs(coarse - wanted).max() > 0.05 * wanted.max()


def test_the_mtf_is_the_simulations():
    pattern = np.random.default_rng(1).random((3, 12, 20))
    detector = Detector((12, 20), (0.25, 0.25), mtf_nyquist=0.3)
    np.testing.assert_allclose(blurred(pattern, Response(False, 0.3).transfer((12, 20))), apply_mtf(pattern, detector))
    assert Response().transfer((12, 20)) is None
    assert mtf((12, 20), 0.3)[6, 0] == pytest.approx(0.3)


@pytest.fixture(scope="module")
def seen_by_a_real_detector():
    """A dataset whose patterns are blurred, with noise, and its object."""
    dataset, object_ = toy.experiment(shape=(32, 40), steps=(8, 7), noisy=False)
    transfer = Response(True, 0.4).transfer(dataset.grid.shape)
    mean = np.maximum(blurred(np.asarray(dataset.patterns, float), transfer), 0)
    counts = np.random.default_rng(2).poisson(mean).astype(np.float32)
    return dataclasses.replace(dataset, patterns=counts), object_


RESPONSE = {"integrated_pixels": True, "mtf_nyquist": 0.4}


@pytest.mark.parametrize(
    "engine",
    [
        {"engine": "lsqml", "sweeps": 12},
        {"engine": "gradient", "rule": "lbfgs", "sweeps": 12},
        {"engine": "epie", "sweeps": 12},
        {"engine": "difference_map", "sweeps": 12},
    ],
    ids=lambda engine: engine["engine"],
)
def test_patterns_are_explained_only_with_their_response(seen_by_a_real_detector, engine):
    dataset, _ = seen_by_a_real_detector
    losses = {}
    for name, correction in (("points", {}), ("real", RESPONSE)):
        plan = api.make_plan(engines=[engine | {"noise": "poisson"}], correction=correction)
        state = reconstruct(dataset, plan)[0]
        losses[name] = misfit(state, plan.correction.applied(dataset), "poisson", 1e-3)
    assert losses["real"] < 0.6 * losses["points"]


def test_a_plan_without_a_response_is_written_as_before():
    plan = api.make_plan(engines=[{"engine": "lsqml"}])
    assert "correction" not in plan.model_dump(mode="json")
    with pytest.raises(Exception, match="mtf_nyquist"):
        api.make_plan(engines=[{"engine": "lsqml"}], correction={"mtf_nyquist": 1.5})
