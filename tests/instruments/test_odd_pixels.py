"""Hot and dead pixels are told from sharp beams and the edges of disks."""

from __future__ import annotations

import numpy as np
import pytest

from ptydesign.instruments.estimate.pixels import filled, never_counting, odd_pixels

SHAPE = (40, 52)


def disk():
    y, x = np.indices(SHAPE)
    rng = np.random.default_rng(0)
    return rng.poisson(np.where(np.hypot(y - 19, x - 25) < 9, 4000.0, 30.0)).astype(float)


def found(total, corner=False):
    none = np.zeros(SHAPE)
    return odd_pixels(total, none, none, 100, np.ones(SHAPE, bool), corner)


@pytest.mark.parametrize("corner", [False, True])
def test_an_edge_has_no_odd_pixels(corner):
    total = np.fft.ifftshift(disk()) if corner else disk()
    odd = found(total, corner)
    assert not (odd.hot | odd.dead).any()


def test_a_sharp_beam_is_not_hot():
    y, x = np.indices(SHAPE)
    beam = 1e5 * np.exp(-((y - 19.3) ** 2 + (x - 25.4) ** 2) / 2 / 1.1**2) + 10
    assert not found(beam).hot.any()
    assert not found(np.fft.ifftshift(beam), corner=True).hot.any()


@pytest.mark.parametrize("places", [[(5, 5)], [(5, 5), (5, 6)], [(0, 51)], [(19, 25), (30, 2)]])
def test_hot_and_dead_pixels(places):
    for value, name in ((90_000.0, "hot"), (0.0, "dead")):
        total = np.full(SHAPE, 1000.0)
        for place in places:
            total[place] = value
        assert [tuple(p) for p in np.argwhere(getattr(found(total), name))] == sorted(places)


def test_gaps_between_bright_pixels_but_not_the_dark_field():
    total, good = disk(), np.ones(SHAPE, bool)
    total[total < 100] = 0  # a dark field without a count
    assert not never_counting(total, good).any()
    total[17:21] = 0
    dark = never_counting(total, good)
    assert dark[17:21, 20:31].all()
    assert not dark[:5].any()


def test_filled_pixels_have_the_mean_of_their_neighbours_and_are_never_negative():
    frames = np.stack([np.full(SHAPE, 7.0), np.zeros(SHAPE)])
    bad = np.zeros(SHAPE, bool)
    bad[3, 4], bad[0, 0], bad[10:14, 10:14] = True, True, True
    frames[:, bad] = 1e6
    result = filled(frames, bad)
    np.testing.assert_allclose(result[0], 7, rtol=1e-6)
    assert result[1].min() == result[1].max() == 0
