import math
from dataclasses import replace

import numpy as np
import pytest

from ptydesign.errors import InputError
from ptydesign.grids import Grid
from ptydesign.simulate.scan import check_windows, half_extent_a, raster, raster_shape, true_positions
from ptydesign.types import Potential, Scan

SCAN = Scan(step_a=2.0, field_of_view_a=(7.0, 12.0))


def test_raster_covers_the_field_row_by_row():
    positions = raster(SCAN, (30.0, 50.0))
    assert raster_shape(SCAN) == (5, 7)
    grid = positions.reshape(5, 7, 2)
    np.testing.assert_allclose(np.diff(grid[..., 0], axis=0), 2.0)
    np.testing.assert_allclose(np.diff(grid[..., 1], axis=1), 2.0)
    np.testing.assert_allclose(positions.mean(axis=0), (30.0, 50.0))
    assert np.all(np.ptp(positions, axis=0) >= SCAN.field_of_view_a)


def test_raster_does_not_grow_by_rounding():
    assert raster_shape(Scan(0.1, (6.0, 0.3))) == (61, 4)


def test_rotation_turns_from_x_towards_y():
    along_x = raster(replace(SCAN, rotation_rad=math.pi / 2), (0.0, 0.0)).reshape(5, 7, 2)
    # A row ran along +x; turned by 90 degrees it runs along +y.
    np.testing.assert_allclose(along_x[0, 1] - along_x[0, 0], (2.0, 0.0), atol=1e-12)
    np.testing.assert_allclose(along_x[1, 0] - along_x[0, 0], (0.0, -2.0), atol=1e-12)
    angle = 0.3
    turned = raster(replace(SCAN, rotation_rad=angle), (3.0, 4.0)).reshape(5, 7, 2)
    np.testing.assert_allclose(turned[0, 1] - turned[0, 0], (2 * math.sin(angle), 2 * math.cos(angle)))
    np.testing.assert_allclose(turned.mean(axis=(0, 1)), (3.0, 4.0))


def test_true_positions_without_errors_are_nominal():
    nominal = raster(SCAN, (30.0, 50.0))
    np.testing.assert_allclose(true_positions(SCAN, nominal, np.random.default_rng(0)), nominal)


def test_drift_grows_linearly():
    scan = replace(SCAN, drift_a=(3.0, -1.0))
    nominal = raster(scan, (30.0, 50.0))
    moved = true_positions(scan, nominal, np.random.default_rng(0)) - nominal
    np.testing.assert_allclose(moved[0], 0, atol=1e-12)
    np.testing.assert_allclose(moved[-1], (3.0, -1.0))
    np.testing.assert_allclose(moved[len(moved) // 2], (1.5, -0.5))


def test_calibration_errors_are_about_the_centre():
    scan = replace(SCAN, scale_error=0.02, rotation_error_rad=0.1)
    nominal = raster(scan, (30.0, 50.0))
    true = true_positions(scan, nominal, np.random.default_rng(0))
    np.testing.assert_allclose(true.mean(axis=0), (30.0, 50.0))
    expected = raster(replace(SCAN, step_a=2.04, field_of_view_a=(7.14, 12.24), rotation_rad=0.1), (30.0, 50.0))
    np.testing.assert_allclose(true, expected)


def test_jitter_has_the_stated_deviation_and_is_seeded():
    scan = replace(SCAN, step_a=0.2, jitter_a=0.4)
    nominal = raster(scan, (0.0, 0.0))
    moved = true_positions(scan, nominal, np.random.default_rng(1)) - nominal
    assert len(moved) > 2000
    np.testing.assert_allclose(moved.std(axis=0), 0.4, rtol=0.06)  # 4 standard errors
    assert abs(np.corrcoef(moved.T)[0, 1]) < 0.08
    np.testing.assert_array_equal(moved, true_positions(scan, nominal, np.random.default_rng(1)) - nominal)
    assert np.any(moved != true_positions(scan, nominal, np.random.default_rng(2)) - nominal)


def test_half_extent_holds_every_true_position():
    scan = replace(
        SCAN, rotation_rad=0.4, jitter_a=0.3, drift_a=(2.0, -3.0), scale_error=0.03, rotation_error_rad=-0.05
    )
    reach = half_extent_a(scan)
    nominal = raster(scan, (0.0, 0.0))
    for seed in range(50):
        assert np.all(np.abs(true_positions(scan, nominal, np.random.default_rng(seed))) <= reach)


@pytest.mark.parametrize(
    "change, field",
    [
        ({"step_a": -1.0}, "scan.step_a"),
        ({"step_a": 0.0}, "scan.step_a"),
        ({"step_a": 1e-4}, "scan.step_a"),
        ({"field_of_view_a": (0.0, 5.0)}, "scan.field_of_view_a"),
        ({"jitter_a": -0.1}, "scan.jitter_a"),
        ({"scale_error": 2.0}, "scan.scale_error"),
        ({"rotation_rad": math.nan}, "scan"),
    ],
)
def test_impossible_scans_are_refused(change, field):
    with pytest.raises(InputError) as error:
        raster(replace(SCAN, **change), (0.0, 0.0))
    assert error.value.field == field


def test_windows_must_lie_on_the_specimen_unless_it_is_periodic():
    potential = Potential(np.zeros((1, 1, 40, 60), np.float32), (0.5, 0.25), np.ones(1))
    window = Grid((20, 30), (0.5, 0.25))
    good = np.array([[5.0, 3.75], [15.0, 11.25]])
    check_windows(potential, good, window, periodic=False)
    for shift in ((-0.5, 0), (0, -0.25), (0.5, 0), (0, 0.25)):
        with pytest.raises(InputError, match="must hold the scan and the window"):
            check_windows(potential, good + shift, window, periodic=False)
        check_windows(potential, good + shift, window, periodic=True)
    with pytest.raises(InputError, match="must hold"):
        check_windows(potential, good, Grid((44, 30), (0.5, 0.25)), periodic=True)
    check_windows(potential, good, Grid((10, 15), (1.0, 0.5)), periodic=False)  # the same window on a coarser pixel
    with pytest.raises(InputError, match="finite"):
        check_windows(potential, np.array([[math.nan, 5.0]]), window, periodic=False)


def test_aspect_and_shear_are_about_the_centre():
    scan = replace(SCAN, aspect_error=0.02, shear_error=-0.01)
    nominal = raster(scan, (30.0, 50.0))
    true = true_positions(scan, nominal, np.random.default_rng(0))
    y, x = (nominal - (30.0, 50.0)).T
    np.testing.assert_allclose(true - (30.0, 50.0), np.stack([1.02 * y, x - 0.01 * y], axis=-1), atol=1e-12)


def test_line_noise_moves_whole_lines_and_leaves_jitter_as_it_was():
    plain = replace(SCAN, jitter_a=0.1)
    scan = replace(plain, field_of_view_a=(600.0, 8.0), line_noise_a=0.5)
    nominal = raster(scan, (0.0, 0.0))
    with_lines, without = (
        true_positions(s, nominal, np.random.default_rng(3)) for s in (scan, replace(scan, line_noise_a=0))
    )
    rows, columns = raster_shape(scan)
    moved = (with_lines - without).reshape(rows, columns, 2)
    np.testing.assert_allclose(moved, np.broadcast_to(moved[:, :1], moved.shape), atol=1e-9)
    assert moved[:, 0].std() == pytest.approx(0.5, rel=0.15)
