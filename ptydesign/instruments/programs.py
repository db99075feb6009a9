"""Datasets for other programs of ptychography: a folder with patterns and settings in their layout, units and signs.

phaser 0.3 (a plan), PtyRAD 1.0 (a parameter file), py4DSTEM 0.14 (an EMD file and a script) and HyperSpy (hspy). The
layouts follow the programs' own readers, and `python -m benchmarks peers` runs phaser and py4DSTEM on what is written
here. All but PtyRAD, which takes positions as they are, take a raster: what a row and a column add to the position.
"""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import yaml

from ptydesign import __version__
from ptydesign.errors import InputError, nearest
from ptydesign.files import written
from ptydesign.types import Dataset, Optics, blocks
from ptydesign.units import MRAD, wavelength_a
from ptydesign.waves import HIGHER

STRAY = 0.02  # of a step: how far a position may lie from its raster
SWEEPS, GROUP, OBJECT_PX = 50, 64, 5.0  # of the plans that are written: a start to change


@dataclass(frozen=True)
class Raster:
    """A scan of rows and columns. row_a, column_a: (y, x) in angstrom that one row, and one column, adds."""

    shape: tuple[int, int]
    row_a: np.ndarray
    column_a: np.ndarray

    @property
    def steps_a(self) -> tuple[float, float]:
        """Lengths of both."""
        return float(np.hypot(*self.row_a)), float(np.hypot(*self.column_a))


def raster_of(positions_a: np.ndarray) -> Raster:
    """The raster that (position, 2) positions (y, x) are of, row by row. Raises InputError if they are of none."""
    positions_a = np.asarray(positions_a, float)
    count, best = len(positions_a), None
    for rows in (n for n in range(2, count // 2 + 1) if count % n == 0):
        row, column = (part.ravel() for part in np.indices((rows, count // rows)))
        known = np.stack([row, column, np.ones(count)], 1)
        found, *_ = np.linalg.lstsq(known, positions_a, rcond=None)
        step = min(np.hypot(*found[0]), np.hypot(*found[1]))
        stray = float(np.max(np.abs(known @ found - positions_a))) / max(step, 1e-12)
        if best is None or stray < best[0]:
            best = stray, Raster((rows, count // rows), found[0], found[1])
    if best is None or best[0] > STRAY:
        got = f"{count} positions" + ("" if best is None else f", up to {best[0]:.2g} steps beside the nearest raster")
        raise InputError("dataset.positions_a", "must be those of a raster, row by row", got, "Crop the scan to one.")
    return best[1]


def export_dataset(dataset: Dataset, folder: Path, program: str) -> list[Path]:
    """Write a dataset for another program into a new folder; the paths of its files.

    Raises InputError for an unknown program, a scan that is no raster, and what the program can't take.
    """
    if program not in PROGRAMS:
        raise InputError("to", f"must be one of {', '.join(PROGRAMS)}", program, nearest(program, PROGRAMS))
    if dataset.optics is None:
        mend = "Import it again with the aperture's semi-angle and the defocus."
        raise InputError("dataset.optics", f"must be known for {program}", "nothing", mend)
    with _new(folder) as inside:
        PROGRAMS[program](dataset, dataset.optics, inside)
    return sorted(path for path in folder.iterdir())


@contextmanager
def _new(folder: Path) -> Iterator[Path]:
    """A folder that appears when all of it is written."""
    with written(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            yield made
            made.chmod(0o755)
            made.replace(folder)
        finally:
            shutil.rmtree(made, ignore_errors=True)


def _phaser(dataset: Dataset, optics: Optics, folder: Path) -> None:
    raster = raster_of(dataset.positions_a)
    if not math.isclose(*_pixel_mrad(dataset)):
        raise _not_square(dataset, "phaser")
    with h5py.File(folder / "patterns.h5", "w") as file:
        _fill(file.create_dataset("dp", (*raster.shape, *dataset.grid.shape), "f4"), dataset, centred=False)
    steps = np.array(raster.steps_a)
    affine = np.stack([raster.row_a, raster.column_a], 1) / steps
    epie = {  # its LSQ-ML hardly moves from an empty object on the counts of benchmarks/peers.py
        "type": "conventional", "niter": SWEEPS, "grouping": GROUP, "noise_model": "anscombe", "solver": "epie",
        "bwlim_frac": None, "group_constraints": [], "iter_constraints": [],
        "save": {"every": SWEEPS}, "save_images": {"every": SWEEPS},
    }  # fmt: skip
    probe = {"type": "focused", "conv_angle": optics.semiangle_rad / MRAD, "defocus": -optics.defocus_a}
    higher = [{"n": n, "m": m, "mag": size, "angle": math.degrees(turn)} for n, m, size, turn in _aberrations(optics)]
    plan = {
        "name": "from_ptydesign",
        "raw_data": {
            "type": "manual", "path": "patterns.h5", "key": "dp", "kv": dataset.voltage_kv, "fftshifted": True,
            "diff_step": _pixel_mrad(dataset)[0], "adu": 1.0,
        },
        "init": {
            "probe": {**probe, **({"aberrations": higher} if higher else {})},
            "scan": {
                "type": "raster", "shape": list(raster.shape), "step_size": steps.tolist(), "affine": affine.tolist(),
            },
        },
        "engines": [epie],
    }  # fmt: skip
    _write(folder / "plan.yaml", "phaser run plan.yaml", plan)


def _ptyrad(dataset: Dataset, optics: Optics, folder: Path) -> None:
    height, width = dataset.grid.shape
    if height != width or not math.isclose(*dataset.grid.pixel_a):
        raise _not_square(dataset, "PtyRAD")
    with h5py.File(folder / "patterns.hdf5", "w") as file:
        _fill(file.create_dataset("dp", (len(dataset.positions_a), *dataset.grid.shape), "f4"), dataset, centred=True)
    with h5py.File(folder / "positions.hdf5", "w") as file:  # as fold_slice's: the last first, and with the other sign
        for name, column in (("ppY", 0), ("ppX", 1)):
            file[name] = -np.asarray(dataset.positions_a, float)[::-1, column]
    count = len(dataset.positions_a)
    aberrations: dict[str, float] = {"C10": -optics.defocus_a}
    for n, m, size, turn in _aberrations(optics):
        aberrations |= {f"C{n}{m}": size} | ({f"phi{n}{m}": math.degrees(turn)} if m else {})
    settings = {
        "probe_kv": dataset.voltage_kv, "probe_conv_angle": optics.semiangle_rad / MRAD,
        "probe_aberrations": aberrations, "probe_pmode_max": 1, "obj_Nlayer": 1, "obj_slice_thickness": 1.0,
        "meas_Npix": width, "meas_calibration": {"mode": "dx", "value": dataset.grid.pixel_a[1]}, "meas_flipT": None,
        "meas_params": {"path": "patterns.hdf5", "key": "dp"},
        "pos_N_scans": count, "pos_N_scan_slow": 1, "pos_N_scan_fast": count, "pos_scan_step_size": 1.0,
        "pos_source": "foldslice_hdf5", "pos_params": "positions.hdf5", "pos_scan_rand_std": None,
    }  # fmt: skip
    run = {"NITER": SWEEPS, "SAVE_ITERS": SWEEPS, "BATCH_SIZE": {"size": GROUP}, "output_dir": "output/"}
    _write(folder / "params.yaml", "ptyrad run params.yaml", {"init_params": settings, "recon_params": run})


def _py4dstem(dataset: Dataset, optics: Optics, folder: Path) -> None:
    raster = raster_of(dataset.positions_a)
    across, down = dataset.grid.reciprocal_pixel[1], dataset.grid.reciprocal_pixel[0]
    if not math.isclose(across, down) or not math.isclose(*raster.steps_a, rel_tol=STRAY):
        raise _not_square(dataset, "py4DSTEM")
    step = float(np.mean(raster.steps_a))
    with h5py.File(folder / "patterns.h5", "w") as file:  # EMD 1.0
        file.attrs.update(emd_group_type="file", version_major=1, version_minor=0, authoring_program="ptydesign")
        root = _group(file, "datacube_root", "root", "Root")
        cube = _group(root, "datacube", "array", "DataCube")
        shape = (*raster.shape, *dataset.grid.shape)
        _fill(cube.create_dataset("data", shape, "f4"), dataset, centred=True)
        cube["data"].attrs["units"] = "electrons"
        axes = [("Rx", step, "A"), ("Ry", step, "A"), ("Qx", down, "A^-1"), ("Qy", across, "A^-1")]
        for number, (name, pixel, unit) in enumerate(axes):
            axis = cube.create_dataset(f"dim{number}", data=[0.0, pixel])
            axis.attrs.update(name=name, units=unit)
        kept = root.create_group("metadatabundle")
        kept.attrs["emd_group_type"] = "metadatabundle"
        calibration = _group(kept, "calibration", "metadata", "Calibration")
        known = {"Q_pixel_size": across, "Q_pixel_units": "A^-1", "R_pixel_size": step, "R_pixel_units": "A"}
        for name, value in known.items():
            item = calibration.create_dataset(name, data=value.encode() if isinstance(value, str) else value)
            item.attrs["type"] = b"string" if isinstance(value, str) else b"number"
    polar = {"C10": -optics.defocus_a}
    for n, m, size, turn in _aberrations(optics):
        polar |= {f"C{n}{m}": size} | ({f"phi{n}{m}": turn} if m else {})
    turned = math.degrees(math.atan2(raster.column_a[0], raster.column_a[1]))
    script = SCRIPT.format(version=__version__, kv=dataset.voltage_kv, mrad=optics.semiangle_rad / MRAD, polar=polar,
                           turned=turned, sweeps=SWEEPS, group=GROUP, room=OBJECT_PX)  # fmt: skip
    (folder / "reconstruct.py").write_text(script, encoding="utf-8")


SCRIPT = '''"""Written by ptydesign {version}: `python reconstruct.py` in an environment with py4DSTEM."""

import numpy as np
import py4DSTEM

data = py4DSTEM.read("patterns.h5")
found = py4DSTEM.process.phase.SingleslicePtychography(
    datacube=data, energy={kv} * 1e3, semiangle_cutoff={mrad}, polar_parameters={polar}, device="cpu",
    object_padding_px=({room:.0f}, {room:.0f}), verbose=True,
)
found.preprocess(plot_center_of_mass=False, plot_rotation=False, plot_probe_overlaps=False,
                 force_com_rotation={turned}, force_com_transpose=False)
found.reconstruct(num_iter={sweeps}, max_batch_size={group}, progress_bar=False, reset=True)
np.save("phase_rad.npy", np.angle(found.object))
'''


def _hyperspy(dataset: Dataset, optics: Optics, folder: Path) -> None:
    from rsciio.hspy import file_writer  # its zspy writer needs zarr before 3

    raster = raster_of(dataset.positions_a)
    shape, pixels = raster.shape, _pixel_mrad(dataset)
    data = np.empty((*shape, *dataset.grid.shape), np.float32)
    _fill(data, dataset, centred=True)
    steps = (*raster.steps_a, *pixels)
    axes = [
        {
            "_type": "UniformDataAxis", "name": name, "scale": float(step), "size": size, "navigate": place < 2,
            "units": "Å" if place < 2 else "mrad", "offset": 0.0 if place < 2 else -(size // 2) * step,
            "index_in_array": place, "is_binned": False,
        }
        for place, (name, step, size) in enumerate(zip(("y", "x", "ky", "kx"), steps, data.shape, strict=True))
    ]  # fmt: skip
    beam = {"beam_energy": dataset.voltage_kv, "convergence_angle": optics.semiangle_rad / MRAD}
    about = {
        "General": {"title": "from ptydesign"},
        "Signal": {"signal_type": "electron_diffraction"},
        "Acquisition_instrument": {"TEM": {**beam, "defocus_underfocus_a": optics.defocus_a}},
    }
    signal = {
        "data": data, "axes": axes, "metadata": about, "original_metadata": {}, "learning_results": {}, "models": {},
        "package_info": {"package": "ptydesign", "package_version": __version__},
        "attributes": {"_lazy": False, "ragged": False}, "tmp_parameters": {},
    }  # fmt: skip
    file_writer(str(folder / "patterns.hspy"), signal, show_progressbar=False)


PROGRAMS: dict[str, Callable[[Dataset, Optics, Path], None]] = {
    "phaser": _phaser, "ptyrad": _ptyrad, "py4dstem": _py4dstem, "hyperspy": _hyperspy,
}  # fmt: skip


def _fill(target: Any, dataset: Dataset, centred: bool) -> None:
    """Write the good pixels' counts block by block; bad ones, and what lies below the background, are zero."""
    background = 0.0 if dataset.background is None else dataset.background
    flat, start = target.ndim == 3, 0
    columns = target.shape[1]
    for block in blocks(dataset.patterns):
        part = np.clip(block - background, 0, None) * dataset.mask
        part = np.fft.fftshift(part, axes=(-2, -1)) if centred else part
        if flat:
            target[start : start + len(part)] = part
        else:
            for number, pattern in enumerate(part, start):
                target[number // columns, number % columns] = pattern
        start += len(part)


def _pixel_mrad(dataset: Dataset) -> tuple[float, float]:
    """(y, x) of a detector pixel."""
    wavelength = wavelength_a(dataset.voltage_kv)
    height, width = (step * wavelength / MRAD for step in dataset.grid.reciprocal_pixel)
    return height, width


def _aberrations(optics: Optics) -> Iterator[tuple[int, int, float, float]]:
    """(n, m, angstrom, azimuth in rad) of all but the defocus, in Krivanek's polar notation."""
    known = (("astigmatism", 1, 2), ("coma", 2, 1), ("cs", 3, 0), *HIGHER)
    for name, n, m in known:
        if size := getattr(optics, f"{name}_a"):
            yield n, m, size, getattr(optics, f"{name}_angle_rad") if m else 0.0


def _not_square(dataset: Dataset, program: str) -> InputError:
    got = f"patterns of {dataset.grid.shape} px of {dataset.grid.pixel_a} A"
    return InputError(
        "dataset", f"must have square pixels, and steps of one length, for {program}", got, "Crop or bin."
    )


def _group(parent: h5py.Group, name: str, kind: str, python_class: str) -> h5py.Group:
    group = parent.create_group(name)
    group.attrs.update(emd_group_type=kind, python_class=python_class)
    return group


def _write(path: Path, command: str, content: dict[str, Any]) -> None:
    text = f"# Written by ptydesign {__version__}: run `{command}` in this folder.\n"
    path.write_text(text + yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
