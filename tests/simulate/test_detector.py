import math
from dataclasses import replace

import numpy as np
import pytest

from ptydesign.errors import InputError
from ptydesign.simulate import coherence
from ptydesign.simulate.coherence import (
    focal_points,
    incoherent_probes,
    normal_points,
    phases_rad,
    probe_count,
    source_points,
)
from ptydesign.simulate.detector import blurred, readout
from ptydesign.types import Detector, Experiment, Optics, Scan

EXPERIMENT = Experiment(
    optics=Optics(80, 0.025, 100.0),
    scan=Scan(1.0, (4.0, 4.0)),
    detector=Detector((24, 40), (0.25, 0.25)),
    dose_e_per_a2=1e4,
)


def test_mtf_blurs_and_conserves():
    detector = Detector((12, 20), (0.25, 0.25), mtf_nyquist=0.4)
    point = np.zeros((2, 12, 20))
    point[0, 0, 0] = point[1, 3, 5] = 10.0
    seen = blurred(point, replace(EXPERIMENT, detector=detector))
    assert seen.min() >= 0
    np.testing.assert_allclose(seen.sum(axis=(1, 2)), 10.0)
    np.testing.assert_allclose(seen[1], np.roll(seen[0], (3, 5), (0, 1)), atol=1e-12)
    transfer = np.fft.fft2(seen[0]) / 10
    assert transfer[6, 0].real == pytest.approx(0.4)
    assert transfer[0, 10].real == pytest.approx(0.4)
    assert transfer[6, 10].real == pytest.approx(0.16)
    assert blurred(point, replace(EXPERIMENT, detector=replace(detector, mtf_nyquist=1.0))) is point


def test_readout_is_poisson():
    mean = np.full((4000, 3, 4), 0.02)
    counts = readout(mean, 250.0, 1.5, np.random.default_rng(3))
    assert counts.dtype == np.float32
    assert np.all(counts == np.round(counts))
    assert counts.mean() == pytest.approx(6.5, abs=4 * math.sqrt(6.5 / counts.size))
    assert counts.var() == pytest.approx(6.5, rel=0.05)
    np.testing.assert_array_equal(counts, readout(mean, 250.0, 1.5, np.random.default_rng(3)))


@pytest.mark.parametrize("highest", [0.0, 0.2, 1.0, 2.5, 4.0, 8.6, 12.5])
def test_quadrature_is_a_normal_mean(highest):
    nodes, weights = normal_points(highest, "source_size_a", 1.0)
    assert len(nodes) % 2
    assert weights.sum() == pytest.approx(1)
    for frequency in np.linspace(0, highest, 7):
        assert np.cos(frequency * nodes) @ weights == pytest.approx(math.exp(-(frequency**2) / 2), abs=0.01)


def test_too_much_focal_spread_is_refused():
    with pytest.raises(InputError, match=r"12\.5 rad.*Take 206 or less"):
        normal_points(60.0, "focal_spread_a", 1000.0)


@pytest.mark.parametrize(
    "source_a, spread_a, most", [(0.0, 0.0, 1), (0.2, 0.0, 9), (0.0, 60.0, 6), (0.2, 60.0, 30), (1.2, 0.0, 80)]
)
def test_few_incoherent_probes_have_the_mutual_coherence_of_source_and_foci(source_a, spread_a, most, monkeypatch):
    """Against the Gaussians' own: exp(-(2 pi s)^2 |q - q'|^2 / 2) exp(-(pi lambda d)^2 (q^2 - q'^2)^2 / 2)."""
    experiment = replace(EXPERIMENT, source_size_a=source_a, focal_spread_a=spread_a)
    fewer = probe_count(experiment)
    monkeypatch.setattr(coherence, "LEFT_OUT", 1e-3)
    coherence._powers.cache_clear()
    source, focal = phases_rad(experiment)
    axis = np.linspace(-1, 1, 17)
    angles = np.stack(np.meshgrid(axis, axis, indexing="ij")).reshape(2, -1)
    angles = angles[:, np.hypot(*angles) <= 1]
    spectrum = np.exp(3j * (angles**2).sum(axis=0)) / math.sqrt(angles.shape[1])
    probes = incoherent_probes(spectrum, angles, experiment)
    assert abs(len(probes) - probe_count(experiment)) <= len(probes) / 25  # on another grid
    assert len(probes) <= most
    coherence._powers.cache_clear()
    assert fewer < len(probes) or fewer == 1
    assert len(probes) <= len(source_points(experiment)[1]) * len(focal_points(experiment)[1])
    assert np.sum(np.abs(probes) ** 2) == pytest.approx(1, rel=1e-9)
    apart = ((angles[:, :, None] - angles[:, None]) ** 2).sum(axis=0)
    squares = (angles**2).sum(axis=0)
    exact = np.exp(-((source / 2) ** 2) * apart / 2 - focal**2 * (squares[:, None] - squares) ** 2 / 2)
    exact = exact * np.outer(spectrum, spectrum.conj())
    found = np.einsum("mp,mq->pq", probes, probes.conj())
    assert np.linalg.norm(found - exact) < 0.01 * np.linalg.norm(exact)
