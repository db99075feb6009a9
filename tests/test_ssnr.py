"""Efficiencies of direct methods: closed forms, what they say of each other, and images with noise beside them."""

import numpy as np
import pandas as pd
import pytest

from benchmarks import ssnr
from benchmarks.ssnr import LENS, efficiency

METHODS = ("com", "parallax", "ssb", "bound")


@pytest.mark.parametrize("q", np.arange(0.05, 0.95, 0.1))
def test_no_method_has_more_than_single_sideband_and_that_less_than_the_bound(q):
    com, parallax, ssb, bound = (efficiency(method, q, LENS) for method in METHODS)
    assert max(com, parallax) <= ssb * (1 + 1e-9)
    assert ssb < bound


def test_without_triple_overlaps_all_scattered_electrons_count_twice():
    """Circles of radius c, q apart: their common area, on both sides, is what single sideband has."""
    q, c = 1.5 * LENS.cutoff, LENS.cutoff
    lens = 2 * c**2 * np.arccos(q / (2 * c)) - q / 2 * np.sqrt(4 * c**2 - q**2)
    assert efficiency("ssb", q, LENS) == pytest.approx(2 * lens / (np.pi * c**2), rel=0.01)
    assert efficiency("bound", q, LENS) == pytest.approx(2.0)
    assert efficiency("ssb", 2.05 * c, LENS) == 0


def test_in_focus_parallax_has_no_contrast_and_centre_of_mass_has():
    lens = ssnr.Lens(LENS.cutoff, LENS.wavelength_a, 0.0)
    assert efficiency("parallax", 0.3, lens) < 1e-6 < 0.1 < efficiency("com", 0.3, lens)


def test_a_white_phase_has_its_power_in_every_direction():
    phase = ssnr.white_phase((96, 128), 0.4, seed=3)
    assert np.std(phase) == pytest.approx(ssnr.RMS_RAD)
    power = np.abs(np.fft.fft2(phase, norm="ortho")) ** 2
    ky, kx = np.fft.fftfreq(96, 0.4), np.fft.fftfreq(128, 0.4)
    q = np.hypot(ky[:, None], kx)
    assert power[q > ssnr.QMAX].max() < 1e-20
    density = ssnr.RMS_RAD**2 / (np.pi * ssnr.QMAX**2) / 0.4**2
    for low in (0.1, 0.5, 0.8):
        assert power[(q > low) & (q < low + 0.15)].mean() == pytest.approx(density, rel=0.15)


def test_images_with_noise_have_the_closed_forms_ratio():
    rows = pd.DataFrame(ssnr.measured(1e3, repeats=4, seed=1, engines=()))
    assert set(rows["method"]) == set(ssnr.DIRECT)
    for method in ("ssb", "parallax"):
        own = rows[rows["method"] == method]
        inside = own["q_per_a"].between(0.12, 0.5).to_numpy()
        ratio = own["k"].to_numpy()[inside] / ssnr.by_ring(method, LENS)[inside]
        assert np.mean(ratio) == pytest.approx(1, abs=0.3)


def test_the_stop_that_tells_most_is_shown():
    rows = [
        {"dose_e_per_a2": 1e3, "method": method, "stop": stop, "q_per_a": q, "ssnr": ratio, "k": ratio}
        for method, stop, ratio in (("ssb", 0, 1.0), ("lsqml", 5, 2.0), ("lsqml", 20, 3.0), ("lsqml", 60, 1.0))
        for q in (0.3, 0.9)
    ]
    table, bound = pd.DataFrame(rows), pd.DataFrame({"q_per_a": [0.3, 0.9], "k": [2.0, 1.5], "residual": [0, 0]})
    assert set(ssnr.chosen(table)["stop"]) == {0, 20}
    text = ssnr.markdown(table, bound)
    assert "| 1,000 | LSQ-ML | 20 | 3.000 | – | 3.000 | 2.000, 1.500 |" in text
