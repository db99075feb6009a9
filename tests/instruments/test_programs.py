"""Datasets for other programs: positions and patterns by the formulas of their readers, and back by our own import.

That the programs themselves read and reconstruct them is shown by `python -m benchmarks peers`.
"""

from __future__ import annotations

from dataclasses import replace

import h5py
import numpy as np
import pytest
import toy
import yaml

from ptydesign import io
from ptydesign.cli import main
from ptydesign.errors import InputError
from ptydesign.instruments.programs import PROGRAMS, export_dataset, raster_of
from ptydesign.units import wavelength_a

ROWS, COLUMNS, STEP_A, TURNED = 5, 7, 1.2, 0.2


def raster(turned: float = TURNED) -> np.ndarray:
    """Positions of a turned raster somewhere."""
    row, column = (part.ravel() * STEP_A for part in np.indices((ROWS, COLUMNS)))
    cosine, sine = np.cos(turned), np.sin(turned)
    return np.stack([row * cosine + column * sine + 3.0, column * cosine - row * sine - 8.0], 1)


@pytest.fixture(scope="module")
def data():
    made = toy.experiment(shape=(32, 32), steps=(ROWS, COLUMNS), step_a=STEP_A)[0]
    optics = replace(made.optics, defocus_a=120.0, astigmatism_a=20.0, astigmatism_angle_rad=0.3, cs_a=1e4)
    mask = made.mask.copy()
    mask[3, 4] = 0  # a bad pixel
    return replace(made, positions_a=raster(), optics=optics, mask=mask)


def good(data) -> np.ndarray:
    """(row, column, ky, kx) counts of good pixels, zero frequency in the middle."""
    counts = np.fft.fftshift(np.asarray(data.patterns) * data.mask, axes=(-2, -1))
    return counts.reshape(ROWS, COLUMNS, *data.grid.shape).astype(np.float32)


def centred(positions: np.ndarray) -> np.ndarray:
    return positions - positions.mean(axis=0)


def test_the_raster_of_positions_is_found(data):
    found = raster_of(data.positions_a)
    assert found.shape == (ROWS, COLUMNS)
    np.testing.assert_allclose(found.row_a, STEP_A * np.array([np.cos(TURNED), -np.sin(TURNED)]), atol=1e-12)
    np.testing.assert_allclose(found.column_a, STEP_A * np.array([np.sin(TURNED), np.cos(TURNED)]), atol=1e-12)


def test_phasers_plan_has_our_positions_and_signs(data, tmp_path):
    export_dataset(data, tmp_path / "out", "phaser")
    plan = yaml.safe_load((tmp_path / "out/plan.yaml").read_text())
    scan, raw, probe = plan["init"]["scan"], plan["raw_data"], plan["init"]["probe"]
    grid = np.stack(np.indices(scan["shape"]), -1) * scan["step_size"]
    positions = (grid @ np.array(scan["affine"]).T).reshape(-1, 2)  # phaser/utils/scan.py
    np.testing.assert_allclose(centred(positions), centred(data.positions_a), atol=1e-9)
    assert wavelength_a(raw["kv"]) / (raw["diff_step"] * 1e-3) == pytest.approx(data.grid.extent_a[1])
    assert probe["defocus"] == -120.0  # overfocus there
    assert probe["conv_angle"] == pytest.approx(1e3 * data.optics.semiangle_rad)
    assert {"n": 3, "m": 0, "mag": 1e4, "angle": 0.0} in probe["aberrations"]
    with h5py.File(tmp_path / "out/patterns.h5") as file:
        np.testing.assert_array_equal(np.fft.fftshift(file["dp"], axes=(-2, -1)), good(data))


def test_ptyrads_parameters_have_our_positions_wherever_they_lie(data, tmp_path):
    rng = np.random.default_rng(0)
    data = replace(data, positions_a=data.positions_a + rng.normal(0, 0.3, data.positions_a.shape))
    export_dataset(data, tmp_path / "out", "ptyrad")
    settings = yaml.safe_load((tmp_path / "out/params.yaml").read_text())["init_params"]
    with h5py.File(tmp_path / "out/positions.hdf5") as file:
        positions = np.flipud(np.stack((-file["ppY"][()], -file["ppX"][()]), axis=1))  # ptyrad/init/initializer.py
    np.testing.assert_allclose(positions, data.positions_a, atol=1e-12)
    assert settings["meas_calibration"] == {"mode": "dx", "value": pytest.approx(data.grid.pixel_a[1])}
    assert settings["probe_aberrations"]["C10"] == -120.0
    assert settings["probe_aberrations"]["phi12"] == pytest.approx(np.degrees(0.3))
    with h5py.File(tmp_path / "out/patterns.hdf5") as file:
        np.testing.assert_array_equal(file["dp"], good(data).reshape(-1, *data.grid.shape))


@pytest.mark.parametrize("program, file", [("py4dstem", "patterns.h5"), ("hyperspy", "patterns.hspy")])
def test_what_is_exported_can_be_imported(data, tmp_path, program, file, capsys):
    """By the readers of other people's files, which know nothing of where these come from."""
    io.write_dataset(tmp_path / "data.h5", data)
    assert main(["export", str(tmp_path / "data.h5"), str(tmp_path / "out"), "--to", program]) == 0
    known = ["--voltage-kv", "80", "--semiangle-mrad", "25", "--step-a", str(STEP_A), "--centre-px", "16,16"]
    pixel = 1e3 * wavelength_a(80.0) / data.grid.extent_a[1]
    command = ["import", str(tmp_path / "out" / file), "-o", str(tmp_path / "back.h5"), *known]
    assert main([*command, "--pixel-mrad", str(pixel)]) == 0, capsys.readouterr().err
    back = io.read_dataset(tmp_path / "back.h5")
    assert back.provenance["scan_shape"] == [ROWS, COLUMNS]
    np.testing.assert_array_equal(np.fft.fftshift(back.patterns, axes=(-2, -1)).reshape(good(data).shape), good(data))


@pytest.mark.parametrize("program, changes, rule", [
    ("phasr", {}, "did you mean|phaser"),
    ("phaser", {"optics": None}, "must be known"),
    ("phaser", {"jitter": 0.3}, "must be those of a raster"),
    ("py4dstem", {"stretch": 1.5}, "must have square"),
])  # fmt: skip
def test_what_a_program_cannot_take_is_refused(data, tmp_path, program, changes, rule):
    if "jitter" in changes:
        moved = np.random.default_rng(0).normal(0, changes.pop("jitter"), data.positions_a.shape)
        changes = {"positions_a": data.positions_a + moved}
    if "stretch" in changes:
        changes = {"positions_a": raster(0.0) * [changes["stretch"], 1.0]}
    with pytest.raises(InputError, match=rule):
        export_dataset(replace(data, **changes), tmp_path / "out", program)
    assert list(tmp_path.iterdir()) == []


def test_square_patterns_are_asked_for_where_a_program_needs_them(tmp_path):
    made = replace(toy.experiment(shape=(16, 20), steps=(ROWS, COLUMNS))[0], positions_a=raster())
    for program in PROGRAMS:
        if program in ("ptyrad", "phaser", "py4dstem"):
            with pytest.raises(InputError, match="must have square"):
                export_dataset(made, tmp_path / program, program)
