"""`show` and `export`, and the numbers behind the pictures: diagnostics and planning rules."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import tifffile
import toy

from ptydesign import api, diagnostics, io
from ptydesign.cli import main
from ptydesign.design import sampling
from ptydesign.errors import InputError
from ptydesign.pictures import data as data_pictures
from ptydesign.pictures import reconstruction as reconstruction_pictures
from ptydesign.pictures.panels import complex_colours
from ptydesign.pictures.region import flattened, phase_rad, scanned
from ptydesign.units import wavelength_a


@pytest.fixture(scope="module")
def data():
    return toy.experiment(shape=(24, 32), steps=(5, 7), slices=2)[0]


@pytest.fixture(scope="module")
def result(data):
    plan = api.make_plan(
        engines=[{"engine": "lsqml", "sweeps": 2, "group": 8}],
        probe={"mode_powers": [0.2], "opr_modes": 2},
        object={"slices": 2, "slice_thickness_a": 40.0},
    )
    return api.reconstruct_dataset(data, plan, progress=False)


@pytest.fixture(scope="module")
def files(tmp_path_factory, data, result):
    folder = tmp_path_factory.mktemp("files")
    io.write_dataset(folder / "data.h5", data)
    io.write_reconstruction(folder / "out.h5", result)
    return folder


@pytest.mark.parametrize("name,pictures", [("data", data_pictures.PICTURES), ("out", reconstruction_pictures.PICTURES)])
def test_show_draws_every_picture(name, pictures, files, tmp_path, capsys):
    assert main(["show", str(files / f"{name}.h5"), "-o", str(tmp_path / "p")]) == 0
    wanted = sorted(f"{p}.{suffix}" for p in pictures for suffix in ("png", "pdf"))
    assert sorted(p.name for p in (tmp_path / "p").iterdir()) == wanted
    assert all(p.stat().st_size > 2000 for p in (tmp_path / "p").iterdir())
    assert len(capsys.readouterr().out.splitlines()) == len(wanted)


def test_a_probe_that_does_not_vary_has_no_picture_of_it(result, tmp_path):
    state = result.state.replace(opr_modes=None, opr_weights=None)
    io.write_reconstruction(tmp_path / "still.h5", dataclasses.replace(result, state=state))
    assert main(["show", str(tmp_path / "still.h5"), "-o", str(tmp_path / "p")]) == 0
    assert {p.stem for p in (tmp_path / "p").iterdir()} == set(reconstruction_pictures.PICTURES) - {"variation"}


def test_show_refuses_other_files(files, tmp_path):
    (tmp_path / "x.h5").write_text("x")
    assert main(["show", str(tmp_path / "x.h5"), "-o", str(tmp_path / "p")]) == 2
    assert main(["show", str(files / "data.h5"), "-o", str(tmp_path / "x.h5")]) == 2
    io.write_hdf5(tmp_path / "potential.h5", "potential", {}, {})
    assert main(["show", str(tmp_path / "potential.h5"), "-o", str(tmp_path / "p")]) == 2
    assert not (tmp_path / "p").exists()


def test_pictures_of_odd_results(result):
    """A diverged run, corrected positions, many modes: drawn, not raised."""
    state = result.state
    many = state.replace(
        probe=np.concatenate([state.probe] * 6), positions_px=state.positions_px + np.sin(np.arange(70)).reshape(35, 2)
    )
    for one in (
        dataclasses.replace(result, state=many),
        dataclasses.replace(result, history={"loss": np.full(3, np.nan)}),
        dataclasses.replace(result, state=state.replace(object=state.object * np.nan)),
        dataclasses.replace(result, state=state.replace(positions_px=state.positions_px * np.nan)),
        dataclasses.replace(result, state=state.replace(object=np.ones_like(state.object))),
    ):
        for draw in reconstruction_pictures.PICTURES.values():
            assert draw(one).axes


def test_data_without_optics_or_dark_field(data):
    bare = dataclasses.replace(data, optics=None, probe_guess=None, mask=np.zeros_like(data.mask))
    bare.mask[:3, :3] = 1
    for draw in data_pictures.PICTURES.values():
        assert draw(bare).axes


@pytest.mark.parametrize("shape", [(24, 32), (15, 20)])
def test_zero_frequency_is_drawn_at_zero(shape):
    """A beam in the pixel of zero frequency alone, on even and odd numbers of pixels."""
    data = toy.experiment(shape=shape, steps=(4, 4))[0]
    beam = np.zeros_like(data.patterns)
    beam[:, 0, 0] = 5
    (image,) = data_pictures.patterns(dataclasses.replace(data, patterns=beam)).axes[0].images
    left, right, bottom, top = image.get_extent()
    drawn = np.asarray(image.get_array())
    row, column = np.unravel_index(np.argmax(drawn), drawn.shape)
    assert left + (column + 0.5) * (right - left) / shape[1] == pytest.approx(0, abs=1e-12)
    assert top + (row + 0.5) * (bottom - top) / shape[0] == pytest.approx(0, abs=1e-12)
    dky, dkx = data.grid.reciprocal_pixel
    assert (right - left, bottom - top) == pytest.approx((shape[1] * dkx, shape[0] * dky))


def test_the_scanned_region_holds_the_positions(result):
    rows, columns = scanned(result)
    inside = np.asarray(result.state.positions_px)
    assert inside[:, 0].min() <= rows.start < inside[:, 0].min() + 1
    assert inside[:, 1].max() - 1 < columns.stop - 1 <= inside[:, 1].max()


def test_flattening_keeps_the_picture():
    y, x = np.indices((30, 40))
    phase = 0.4 * np.sin(2 * np.pi * x / 20) * np.sin(2 * np.pi * y / 15)
    ramped = 1.3 * np.exp(1j * (phase + 0.3 * y - 0.2 * x + 2.0))
    level = flattened(ramped[None])
    np.testing.assert_allclose(np.abs(level), 1.3)
    found = phase_rad(level)[0]
    np.testing.assert_allclose(found - found.mean(), phase - phase.mean(), atol=0.06)
    assert np.ptp(phase_rad(np.exp(1j * np.linspace(0, 9, 50))[None, None].repeat(20, axis=1))) == pytest.approx(9)


def test_colours_of_complex_values():
    red, cyan, black = complex_colours(np.array([2.0, -2.0, 0.0]))
    np.testing.assert_allclose([red, cyan, black], [(1, 0, 0), (0, 1, 1), (0, 0, 0)], atol=1e-12)


@pytest.mark.parametrize("options", [[], ["--total"], ["--whole"], ["--quantity", "amplitude"], ["--flat"]])
def test_export(options, files, result, tmp_path):
    path = tmp_path / "phase.tif"
    assert main(["export", str(files / "out.h5"), str(path), *options]) == 0
    rows, columns = (slice(None), slice(None)) if "--whole" in options else scanned(result)
    object_ = np.asarray(result.state.object)
    object_ = object_.prod(axis=0, keepdims=True) if "--total" in options else object_
    wanted = object_[:, rows, columns]
    with tifffile.TiffFile(path) as file:
        image = np.atleast_3d(file.asarray().T).T
        metadata = file.imagej_metadata
        numerator, denominator = file.pages[0].tags["XResolution"].value
    assert image.dtype == np.float32
    if "amplitude" in options:
        np.testing.assert_allclose(image, np.abs(wanted), rtol=1e-6)
    elif "--flat" in options:
        assert np.abs(np.angle(np.exp(1j * image).sum(axis=(1, 2)))).max() < 1e-3
    else:
        np.testing.assert_allclose(image, np.angle(wanted), atol=1e-6)
    assert metadata["unit"] == "nm"
    assert numerator / denominator == pytest.approx(10 / 0.3, rel=1e-6)
    origin = np.asarray(result.state.origin_a) + 0.3 * np.array([rows.start or 0, columns.start or 0])
    np.testing.assert_allclose(json.loads(metadata["origin_a"]), origin)
    assert json.loads(metadata["plan"]) == result.plan


def test_export_refuses_what_it_cannot_write(files, tmp_path):
    assert main(["export", str(files / "out.h5"), str(tmp_path / "phase.png")]) == 2
    assert main(["export", str(files / "data.h5"), str(tmp_path / "phase.tif")]) == 2
    (tmp_path / "old.tif").write_text("mine")
    assert main(["export", str(files / "out.h5"), str(tmp_path / "old.tif")]) == 2
    assert (tmp_path / "old.tif").read_text() == "mine"
    assert [p.name for p in tmp_path.iterdir()] == ["old.tif"]


def test_virtual_detectors(data):
    """Rings add up to the whole; the centre of mass follows a pattern that is moved."""
    disk = diagnostics.bright_field_radius(data)
    assert disk == pytest.approx(0.025 / wavelength_a(80))
    inner, outer = (diagnostics.virtual_image(data, *r) for r in ((0, disk), (disk, np.inf)))
    np.testing.assert_allclose(inner + outer, data.patterns.sum(axis=(1, 2)))
    assert diagnostics.pacbed(data).sum() == pytest.approx(data.patterns.sum(axis=(1, 2)).mean())
    before = diagnostics.centre_of_mass(data)
    spot = np.zeros_like(data.patterns)
    spot[:, 3, -2] = 5
    dky, dkx = data.grid.reciprocal_pixel
    found = diagnostics.centre_of_mass(dataclasses.replace(data, patterns=spot))
    np.testing.assert_allclose(found, np.broadcast_to((3 * dky, -2 * dkx), before.shape))
    assert np.isnan(diagnostics.centre_of_mass(dataclasses.replace(data, patterns=0 * spot))).all()
    with pytest.raises(InputError, match="pixels of the detector"):
        diagnostics.virtual_image(data, 99, 100)


def test_the_disk_is_estimated_without_optics(data):
    known = diagnostics.bright_field_radius(data)
    found = diagnostics.bright_field_radius(dataclasses.replace(data, optics=None))
    assert found == pytest.approx(known, rel=0.15)


@pytest.mark.parametrize("shape,angle", [((5, 9), 0.0), ((8, 3), 0.4), ((30, 30), 1.0)])
def test_the_step_of_a_raster(shape, angle):
    points = np.stack(np.meshgrid(*(np.arange(n) * 0.7 for n in shape), indexing="ij"), -1).reshape(-1, 2)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    assert diagnostics.step_a(points @ turn) == pytest.approx(0.7)
    assert diagnostics.nearest_a(points @ turn) == pytest.approx(0.7)


def test_the_step_of_lines_and_points():
    line = np.stack([np.arange(6) * 0.3, np.zeros(6)], axis=1)
    assert diagnostics.step_a(line) == pytest.approx(0.3)
    assert diagnostics.step_a(line[:1]) == 0


def test_scan_maps_put_values_where_they_were_measured():
    points = np.stack(np.meshgrid(np.arange(4) * 2.0, np.arange(6) * 2.0, indexing="ij"), -1).reshape(-1, 2)
    values = np.arange(24.0)
    order = np.random.default_rng(0).permutation(24)
    image, extent = diagnostics.scan_map(points[order], values[order])
    np.testing.assert_array_equal(image, values.reshape(4, 6))
    assert extent == (-1, 11, 7, -1)


def test_metrics_of_a_dataset(data):
    numbers = diagnostics.sampling_metrics(data)
    assert numbers["dose_e_per_a2"] == pytest.approx(1e5, rel=0.3)  # 35 jittered positions: their hull is too large
    assert numbers["reciprocal_pixel_per_a"] == pytest.approx(1 / (24 * 0.3))
    assert numbers["detector_edge_mrad"] == pytest.approx(wavelength_a(80) / 0.6 * 1e3, rel=1e-6)
    assert numbers["window_sampling"] == pytest.approx(24 * 0.3 / (2 * numbers["probe_radius_a"]))


def test_planning_rules():
    """Against numbers worked out by hand."""
    assert sampling.areal_overlap(1.0, 0.0) == pytest.approx(1)
    assert sampling.areal_overlap(1.0, 2.0) == 0
    assert sampling.areal_overlap(1.0, 3.0) == 0
    assert sampling.linear_overlap(2.0, 1.0) == 0.75
    assert sampling.fundamental_sampling(4.0, 0.05) == pytest.approx(5)
    assert sampling.window_sampling(10, 0.02) == pytest.approx(2.5)
    assert sampling.linear_oversampling(3, 2) == 3
    assert sampling.areal_oversampling(2, 4) == pytest.approx(np.pi / 4)
    assert sampling.electrons_per_pattern(100, 0.5) == 25
    assert sampling.counts_per_bright_pixel(np.pi * 100, 20e-3, 2e-3) == pytest.approx(1)
    assert sampling.geometric_radius_a(-500, 0.0, 0.02) == 10
    angles = np.linspace(0, 0.02, 2001)
    for defocus, cs in ((500, 1.2e7), (3000, 1.2e7), (-3000, 1.2e7), (9000, 1.2e7), (2000, -1e7)):
        rays = np.abs(defocus * angles - cs * angles**3).max()
        assert sampling.geometric_radius_a(defocus, cs, 0.02) == pytest.approx(rays, rel=1e-5)
    assert sampling.ronchigram_magnification_px_per_a(20e-3, 1e-3, 10) == pytest.approx(2)
    assert sampling.counted_rate(1e6, 1e-6) == pytest.approx(5e5)
    assert sampling.counted_rate(1e6, 1e-6, paralysable=True) == pytest.approx(1e6 / np.e)
    assert sampling.scan_time_s(1000, 100, 10, 0.1) == pytest.approx(11)
    assert sampling.depth_resolution_a(0.02, 0.02) == pytest.approx(100)
    assert sampling.depth_resolution_of_angle_a(0.02, 0.02) == pytest.approx(50)


def test_areal_overlap_is_that_of_two_disks():
    """Counted on a grid."""
    y, x = np.mgrid[-3:3:0.005, -3:3:0.005]
    both = (np.hypot(y, x) < 1.3) & (np.hypot(y, x - 0.9) < 1.3)
    counted = both.sum() / (np.hypot(y, x) < 1.3).sum()
    assert sampling.areal_overlap(1.3, 0.9) == pytest.approx(counted, rel=1e-3)


def test_probe_radius_of_a_gaussian():
    y, x = np.mgrid[-20:20:0.25, -24:24:0.5]
    intensity = np.exp(-(y**2 + (x - 3) ** 2) / (2 * 2.0**2))
    wanted = 2.0 * np.sqrt(2 * np.log(10))  # 1 - exp(-R^2 / 2 sigma^2) = 0.9
    assert sampling.probe_radius_a(intensity, (0.25, 0.5)) == pytest.approx(wanted, rel=0.01)
