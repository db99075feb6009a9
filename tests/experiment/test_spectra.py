"""Bias, scatter and signal over noise of the re-simulations of a study's designs."""

import math

import numpy as np
import pytest
from synthetic_study import write_results

from ptydesign import io
from ptydesign.experiment import findings, spectra
from ptydesign.experiment.carried import signal
from ptydesign.experiment.tables import read_tables
from ptydesign.study.store import PointStore


def test_rings_tell_bias_from_scatter(tmp_path):
    """Images with a known error in common, and a known one of their own; those that failed don't count."""
    rng, store = np.random.default_rng(1), PointStore(tmp_path)
    y, x = np.mgrid[:48, :40] * 0.25
    truth = np.cos(2 * np.pi * x / 2.0) * np.cos(2 * np.pi * y / 3.0)
    records = []
    for number in range(12):
        image = 0.8 * truth + 0.1 * rng.standard_normal(truth.shape)
        key = f"{number:032x}"
        arrays = {"phase": io.Array(image, "rad", "y,x"), "truth": io.Array(truth, "rad", "y,x")}
        store.put_images(key, {"arrays": arrays, "attrs": {"pixel_a": [0.25, 0.25]}})
        records.append({"status": "ok", "key": key})
    found = spectra.by_ring(store, [*records, {"status": "diverged", "key": "none"}], 2.0)
    carried = int(np.argmax(found.truth_rad))
    assert found.bias_rad[carried] == pytest.approx(0.2 * found.truth_rad[carried], rel=0.05)
    assert found.scatter_rad[1:] == pytest.approx(0.1, rel=0.25)  # in the first is the mean alone
    assert found.ssnr[carried] > 10 > 1 > found.ssnr[-1]
    table = list(spectra.rows(found))
    assert len(table) == 20  # 10 A x 2 / A: narrower rings would be empty
    assert [row["ssnr"] for row in table] == found.ssnr.tolist()
    assert all(value is not None for row in table for value in row.values())
    assert len(spectra.by_ring(store, records, 2.4).q_per_a) == spectra.RINGS
    assert list(spectra.rows(spectra.by_ring(store, records[:1], 2.0))) == []


def test_the_report_says_what_an_image_carries(tmp_path):
    tables = read_tables(write_results(tmp_path / "run"))
    dose = tables.doses[0]
    found = signal(tables, dose, "optimised")
    assert not found.beyond
    assert signal(tables, tables.doses[-1], "optimised").period == "0.67 or less"
    assert found.period_a == pytest.approx(1 / (0.3 * math.log(dose / 10)), rel=0.1)  # where the ratio falls to 1
    q = (np.arange(24) + 0.5) / 24 * 1.5
    error = 0.25 * math.sqrt(np.sum((0.1 * np.exp(-q)) ** 2 * 2 * np.pi * q) * 1.5 / 24)
    assert found.bias_rad == pytest.approx(error, rel=1e-6)
    assert any("more signal than noise" in text for text in findings.sentences(tables))
