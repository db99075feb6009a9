"""What data, plans and results show in a notebook, and their arrays with coordinates."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest
import toy
import web_runs

from ptydesign.api import reconstruct_dataset
from ptydesign.errors import InputError


@pytest.fixture(scope="module")
def data():
    return toy.experiment(shape=(16, 16), steps=(6, 6))[0]


@pytest.fixture(scope="module")
def result(data):
    return reconstruct_dataset(data, web_runs.plan(sweeps=2), progress=False)


def test_data_plans_states_and_results_show_themselves(data, result):
    assert "36 of 16 × 16 px" in data._repr_html_()
    assert "image/png;base64," in data._repr_html_()
    assert "All 2 sweeps done" in result._repr_html_()
    assert "Probe modes" in result.state._repr_html_()
    assert "epie" in web_runs.plan()._repr_html_()


def test_words_of_a_file_are_words(result):
    outcome = replace(result.outcome, status="<script>alert(1)</script>")
    assert "<script>" not in replace(result, outcome=outcome)._repr_html_()


def test_arrays_have_coordinates_in_angstrom(data, result):
    pytest.importorskip("xarray", reason="arrays with coordinates need the extra `notebook`")
    arrays = result.to_xarray()
    assert arrays.phase.dims == ("z", "y", "x")
    assert arrays.y.attrs["units"] == "angstrom"
    y, x = result.state.positions_a[7]
    row, column = np.rint(result.state.positions_px[7]).astype(int)
    nearest = arrays.phase.isel(z=0).sel(y=y, x=x, method="nearest")
    assert float(nearest) == pytest.approx(result.state.phase_rad[0, row, column])
    patterns = data.to_xarray()
    pixel = float(patterns.kx[1] - patterns.kx[0])
    assert pixel == pytest.approx(data.grid.reciprocal_pixel[1])
    middle = patterns.patterns.sel(ky=0, kx=0).values
    np.testing.assert_array_equal(middle, data.patterns[:, 0, 0])


def test_signals_are_calibrated(result):
    pytest.importorskip("hyperspy", reason="HyperSpy is the user's to install")
    signals = result.to_hyperspy()
    assert signals["phase"].axes_manager["x"].scale == pytest.approx(float(result.state.pixel_a[1]))


def test_without_hyperspy_it_says_what_to_install(data, monkeypatch):
    for name in ("hyperspy", "hyperspy.api"):
        monkeypatch.setitem(sys.modules, name, None)
    pytest.importorskip("xarray", reason="arrays with coordinates need the extra `notebook`")
    with pytest.raises(InputError, match="pip install hyperspy"):
        data.to_hyperspy()


def test_data_and_results_are_explored(data, result):
    panel = pytest.importorskip("panel", reason="widgets need the extra `notebook`")
    assert isinstance(data.explore(), panel.Column)
    assert isinstance(result.explore(), panel.Column)
