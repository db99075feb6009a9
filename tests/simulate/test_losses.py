"""Energy losses: mean free paths as measured, and the blur of the patterns of electrons that have them."""

from dataclasses import replace

import numpy as np
import pytest

from ptydesign import losses
from ptydesign.errors import InputError
from ptydesign.simulate.dataset import check_experiment, content_of
from ptydesign.simulate.detector import blurred
from ptydesign.types import Detector, Experiment, Optics, Scan
from ptydesign.units import wavelength_a

MADE = Experiment(Optics(80.0, 0.025, 0.0), Scan(1.0, (4.0, 4.0)), Detector((48, 64), (0.25, 0.3)), 1e4)


@pytest.mark.parametrize(("voltage_kv", "measured_nm"), [(200, 150), (300, 179)])
def test_mean_free_path_of_silicon_is_the_measured_one(voltage_kv, measured_nm):
    """Potapov, Ultramicroscopy (2014), doi:10.1016/j.ultramic.2014.05.010."""
    assert losses.mean_free_path_a(2.33, voltage_kv) / 10 == pytest.approx(measured_nm, rel=0.02)


def test_a_mean_free_path_loses_all_but_one_in_e():
    assert losses.part_of(870.0, 870.0) == pytest.approx(1 - np.exp(-1))
    assert losses.part_of(0.0, 870.0) == 0


def test_the_blur_is_a_lorentzians():
    """Beside sums over a hundred times as many points, on a detector whose pixels aren't square."""
    angle, finer = 1e-3, 51
    pixel = wavelength_a(80.0) / (np.array([48, 64]) * MADE.detector.pixel_a)
    found = losses.lorentzian((48, 64), tuple(pixel), angle)
    offsets = ((np.arange(finer) + 0.5) / finer - 0.5)[:, None]
    whole = np.pi * np.log(1 + (losses.THETA_C_RAD / angle) ** 2)
    for row, column in ((0, 1), (1, 0), (-2, 3), (5, 0), (40, 2)):
        at = [row - 48 * (row >= 24), column]
        y, x = (at[0] + offsets) * pixel[0], (at[1] + offsets.T) * pixel[1]
        square = y**2 + x**2
        weight = np.mean((square < losses.THETA_C_RAD**2) / (square + angle**2)) * np.prod(pixel) / whole
        assert found[row, column] == pytest.approx(weight, rel=0.02, abs=1e-9)
    # what stays in its pixel is nearly what a disc of a pixel's area holds
    radius = np.sqrt(np.prod(pixel) / np.pi)
    assert found[0, 0] == pytest.approx(np.pi * np.log(1 + (radius / angle) ** 2) / whole, rel=0.05)


def test_it_conserves_counts_and_makes_none_negative():
    point = np.zeros((48, 64))
    point[7, 11] = 100.0
    found = blurred(point, replace(MADE, inelastic_part=0.4, inelastic_angle_rad=1e-4))
    assert found.sum() == pytest.approx(100)
    assert found.min() >= 0
    assert 60 < found[7, 11] < 100
    reach = losses.THETA_C_RAD / (wavelength_a(80.0) / (48 * 0.25))
    assert found[7 + int(reach) - 1, 11] > 0 == found[7 + int(reach) + 2, 11].round(9)


def test_no_losses_change_nothing():
    patterns = np.random.default_rng(0).random((2, 48, 64))
    assert blurred(patterns, MADE) is patterns


@pytest.mark.parametrize(
    ("field", "value"), [("inelastic_part", 1.0), ("inelastic_part", -0.1), ("inelastic_angle_rad", 0.0)]
)
def test_what_cannot_be_is_refused(field, value):
    with pytest.raises(InputError, match=field):
        check_experiment(replace(MADE, **{field: value}))


def test_without_losses_an_experiment_is_written_as_before():
    assert "inelastic_part" not in content_of(replace(MADE, inelastic_angle_rad=2e-4))
    assert content_of(replace(MADE, inelastic_part=0.1))["inelastic_angle_rad"] == 1e-4
