"""How far a scan goes beyond the field, and the dose that arrives there."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

from ptydesign import waves
from ptydesign.errors import InputError
from ptydesign.grids import Grid
from ptydesign.simulate.field import LEAST_ANYWHERE, LEAST_MEAN, check_fluence, fluence, scan_margin_a, scanned_a
from ptydesign.simulate.scan import raster
from ptydesign.types import Detector, Experiment, Optics, Scan
from ptydesign.units import wavelength_a

FIELD = (14.0, 18.0)
REGION = (-7.0, -9.0, 7.0, 9.0)


def _experiment(step_a=2.0, semiangle_rad=0.02, defocus_a=-550.0, margin_a=None, **scan) -> Experiment:
    optics = Optics(80, semiangle_rad, defocus_a)
    made = Experiment(optics, Scan(step_a, FIELD, **scan), Detector((64, 64), (0.25, 0.25)), 1e3)
    margin = scan_margin_a(made) if margin_a is None else margin_a
    return replace(made, scan=replace(made.scan, field_of_view_a=scanned_a(FIELD, made.scan.rotation_rad, margin)))


@pytest.mark.parametrize("step_a, semiangle_rad, defocus_a", list(itertools.product((1, 6), (0.01, 0.04), (-600, 0))))
def test_every_corner_of_a_space_gets_its_dose(step_a, semiangle_rad, defocus_a):
    mean, least = fluence(_experiment(step_a, semiangle_rad, defocus_a), REGION, (0.0, 0.0))
    assert LEAST_MEAN <= mean <= 1.005
    assert LEAST_ANYWHERE <= least <= mean


def test_a_turned_scan_holds_the_upright_field():
    mean, least = fluence(_experiment(rotation_rad=math.radians(30)), REGION, (0.0, 0.0))
    assert mean == pytest.approx(1, abs=0.01)
    assert least > LEAST_ANYWHERE


@pytest.mark.parametrize("step_a, defocus_a", [(1.0, -300.0), (3.5, 200.0)])
def test_fluence_is_the_sum_of_probes(step_a, defocus_a):
    """Against each probe's intensity put down by hand, averaged over a step by sampling it."""
    made = _experiment(step_a, 0.025, defocus_a, margin_a=2.0)
    pixel, size = 0.25, 280
    grid = Grid((size, size), (pixel, pixel))
    spectrum = np.asarray(waves.probe_spectrum(grid, wavelength_a(80), 0.025, **made.optics.aberrations))
    intensity = np.fft.fftshift(np.abs(np.fft.ifft2(spectrum)) ** 2)
    intensity /= intensity.sum() * pixel**2
    axis = (np.arange(size) - size // 2) * pixel

    def at(y, x):
        """The mean fluence of a step about (y, x)."""
        total = 0.0
        for place in raster(made.scan, (0.0, 0.0)):
            rows, columns = (
                (-step_a / 2 <= axis + at - here) & (axis + at - here < step_a / 2)
                for at, here in zip(place, (y, x), strict=True)
            )
            total += intensity[np.ix_(rows, columns)].sum() * pixel**2
        return total

    corner = at(-7.0, -9.0)
    mean, least = fluence(made, REGION, (0.0, 0.0))
    assert least == pytest.approx(corner, abs=0.03)
    middles = (np.arange(12) + 0.5) / 12 - 0.5
    inner = np.mean([at(14 * y, 18 * x) for y in middles for x in middles])
    assert mean == pytest.approx(inner, abs=0.03)


def test_a_scan_that_ends_at_the_field_starves_wide_probes():
    wide, narrow = (fluence(_experiment(2.0, 0.02, d, margin_a=0.0), REGION, (0.0, 0.0)) for d in (-550.0, -50.0))
    assert wide[0] < 0.7
    assert wide[1] < 0.4
    assert narrow[0] > 0.9
    with pytest.raises(InputError, match="stated dose") as error:
        check_fluence(*wide, 0.0)
    assert error.value.field == "experiment.scan_margin_a"
    assert check_fluence(1.0, 0.95, 10.0) is None


def test_what_patterns_of_the_region_show_is_seen_from_all_sides():
    """Rays of 550 A x 20 mrad from both sides, diffraction, a step."""
    assert scan_margin_a(_experiment()) == pytest.approx(2 * 11 + wavelength_a(80) / 0.02 + 2)


def test_what_moves_positions_widens_the_margin():
    plain = scan_margin_a(_experiment())
    assert scan_margin_a(_experiment(drift_a=(0.0, -3.0))) == pytest.approx(plain + 3)
    assert scan_margin_a(_experiment(jitter_a=0.5)) == pytest.approx(plain + 1.5)
    assert scan_margin_a(replace(_experiment(), source_size_a=0.4)) == pytest.approx(plain + 1.2)
