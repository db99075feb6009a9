"""The data types of `types.py` as files. docs/files.md describes the layouts; `hdf5` has what they have in common.

Also the one place where other modules find how files are written: `io.write_json`, `io.write_text`, `io.atomic`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from typing import Any

import numpy as np

from ptydesign.errors import NOTHING, InputError, nearest
from ptydesign.files import atomic, write_json, write_text
from ptydesign.grids import Grid
from ptydesign.hdf5 import (
    SCHEMA,
    Array,
    array_bytes,
    check_hdf5,
    complete,
    kind_of,
    read_hdf5,
    read_hdf5_attributes,
    read_hdf5_shape,
    temporary_array,
    write_hdf5,
    written_hash,
)
from ptydesign.types import Dataset, Optics, Outcome, Potential, ReconState, Reconstruction, Truth

__all__ = [
    "SCHEMA",
    "Array",
    "array_bytes",
    "atomic",
    "check_hdf5",
    "kind_of",
    "read_hdf5",
    "read_hdf5_attributes",
    "temporary_array",
    "write_hdf5",
    "write_json",
    "write_text",
    "written_hash",
]


LEAST_PIXEL_A, MOST_PIXEL_A = 1e-3, 1e4  # of a window: beyond, no electrons have such angles
MOST_ELECTRONS = 1e15  # of a pattern


def write_potential(path: Path, potential: Potential, attributes: Mapping[str, Any], of: str = "") -> None:
    """Write a potential; see `types.Potential`. of, here and below: which file of a study it is, if it is one."""
    arrays = {
        "slices": Array(potential.slices_va, "V*angstrom", "configuration,slice,y,x"),
        "thickness": Array(np.asarray(potential.thickness_a, np.float64), "angstrom", "slice"),
    }
    write_hdf5(path, "potential", arrays, {**attributes, "pixel_a": list(potential.pixel_a)}, of)


def read_potential(path: Path, of: str | None = None) -> Potential:
    """Read a file written by `write_potential`."""
    names = ("slices", "thickness")
    arrays, attributes = read_hdf5(path, "potential", names, names, of=of)
    return Potential(arrays["slices"], tuple(attributes["pixel_a"]), arrays["thickness"])


def write_dataset(path: Path, dataset: Dataset, of: str = "") -> None:
    """Write a dataset; see `types.Dataset`."""
    arrays = {
        "patterns": Array(dataset.patterns, "counts", "position,ky,kx"),
        "positions": Array(dataset.positions_a, "angstrom", "position,(y,x)"),
        "mask": Array(dataset.mask, "1 good, 0 ignore", "ky,kx"),
    }
    if dataset.probe_guess is not None:
        arrays["probe_guess"] = Array(dataset.probe_guess, "sqrt(counts)", "mode,y,x")
    if dataset.background is not None:
        arrays["background"] = Array(dataset.background, "counts", "ky,kx")
    attributes = {
        "pixel_a": list(dataset.grid.pixel_a),
        "voltage_kv": dataset.voltage_kv,
        "optics": None if dataset.optics is None else vars(dataset.optics),
        "electrons_per_pattern": dataset.electrons_per_pattern,
        "provenance": dataset.provenance,
    }
    write_hdf5(path, "dataset", arrays, attributes, of)


def read_dataset(path: Path, mapped: bool = False, of: str | None = None) -> Dataset:
    """Read a file written by `write_dataset`. mapped: leave the patterns on the disk, see `map_array`."""
    mappings = ("patterns",) if mapped else ()
    required = ("patterns", "positions", "mask")
    arrays, attributes = read_hdf5(
        path, "dataset", (*required, "probe_guess", "background"), required, mappings, of, _check_shapes
    )
    with complete(Path(path)):
        known = _of_dataset(attributes)
        grid = Grid(arrays["patterns"].shape[-2:], known.pop("pixel_a"))
        _check_sizes(grid, known["electrons_per_pattern"])
        return Dataset(
            patterns=arrays["patterns"],
            positions_a=arrays["positions"],
            grid=grid,
            mask=arrays["mask"],
            probe_guess=arrays.get("probe_guess"),
            background=arrays.get("background"),
            **known,
        )


def _of_dataset(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of a dataset that may be another program's, each of its type. Raises InputError."""
    names = ("pixel_a", "voltage_kv", "optics", "electrons_per_pattern", "provenance")
    pixel, voltage, optics, electrons, provenance = (_known(attributes, name) for name in names)
    if not isinstance(pixel, list):
        raise InputError("dataset.pixel_a", "must be a list of two sizes (y, x)", pixel, "Give both, in angstrom.")
    return {
        "pixel_a": tuple(_number("dataset.pixel_a", size) for size in pixel),
        "voltage_kv": _number("dataset.voltage_kv", voltage),
        "optics": None if optics is None else _optics(optics),
        "electrons_per_pattern": None if electrons is None else _number("dataset.electrons_per_pattern", electrons),
        "provenance": _provenance(provenance),
    }


def _check_sizes(grid: Grid, electrons: float | None) -> None:
    """Refuse what no measurement has."""
    if not all(LEAST_PIXEL_A <= size <= MOST_PIXEL_A for size in grid.pixel_a):
        rule = f"must be the window's pixel in angstrom, {LEAST_PIXEL_A:g} to {MOST_PIXEL_A:g}"
        raise InputError("dataset.pixel_a", rule, grid.pixel_a, "Correct it in the data's calibration.")
    if electrons is not None and not 0 <= electrons <= MOST_ELECTRONS:
        rule = f"must be 0 to {MOST_ELECTRONS:g} electrons, or null"
        raise InputError("dataset.electrons_per_pattern", rule, electrons, "Correct it, or leave it null.")


def _check_shapes(arrays: Mapping[str, Any]) -> None:
    """Refuse arrays of a dataset that don't belong together, before they are read: one of them may be huge."""
    for name, array in arrays.items():
        if name != "probe_guess" and array.dtype.kind == "c":
            mend = "Write real numbers."
            raise InputError(f"dataset.{name}", "must be real numbers", f"complex ones ({array.dtype})", mend)
    shape = arrays["patterns"].shape
    if len(shape) != 3:
        raise InputError("dataset.patterns", "must be (position, ky, kx)", shape, "Write them as three axes.")
    pixels, each = shape[1:], f"needs one (y, x) for each of the {shape[0]} patterns"
    rules = {
        "positions": ((shape[0], 2), each, "Give one position for each."),
        "mask": (pixels, f"patterns and mask must have the same pixels, {pixels}", "Crop or bin them to one shape."),
        "background": (pixels, f"must have the patterns' {pixels} pixels", "Give mean counts of each pixel."),
    }
    for name, (wanted, rule, mend) in rules.items():
        if name in arrays and arrays[name].shape != wanted:
            field = {"positions": "positions_a", "mask": "patterns"}.get(name, name)
            raise InputError(f"dataset.{field}", rule, arrays[name].shape, mend)


def _known(attributes: Mapping[str, Any], name: str) -> Any:
    if name not in attributes:
        raise InputError(f"dataset.{name}", "is required", NOTHING, "docs/files.md says what a dataset holds.")
    return attributes[name]


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(name, "must be a number", value, "Write it again, without quotes.")
    try:
        float(value)
    except OverflowError:
        raise InputError(name, "must be a number that a computer can hold", value, "Correct it.") from None
    return value


def _provenance(value: Any) -> dict[str, Any]:
    """Where a dataset comes from: anything, but what `ptydesign import` writes has its shape."""
    ours = ("calibration", "disk")
    parts = {f".{name}": value.get(name) or {} for name in ours} if isinstance(value, dict) else {"": value}
    for name, part in parts.items():
        if not isinstance(part, dict):
            raise InputError(f"dataset.provenance{name}", "must be a mapping of names to values", part, "Correct it.")
    return value


def _optics(values: Any) -> Optics:
    """Optics of a file that may be another program's."""
    if not isinstance(values, dict):
        raise InputError("dataset.optics", "must be a mapping of names to numbers, or null", values, "Correct it.")
    names = {f.name: f.default is MISSING for f in fields(Optics)}
    for name in values:
        if name not in names:
            raise InputError(f"dataset.optics.{name}", "is not a known key", values[name], nearest(name, names))
    for name, required in names.items():
        if required and name not in values:
            raise InputError(f"dataset.optics.{name}", "is required", NOTHING, "Add it, or give null for no optics.")
    return Optics(**{name: _number(f"dataset.optics.{name}", value) for name, value in values.items()})


def write_truth(path: Path, truth: Truth, of: str = "") -> None:
    """Write the ground truth of a simulation; see `types.Truth`."""
    arrays = {
        "phase": Array(truth.phase_rad, "rad", "slice,y,x"),
        "positions": Array(truth.positions_a, "angstrom", "position,(y,x)"),
        "thickness": Array(np.asarray(truth.thickness_a, np.float64), "angstrom", "slice"),
    }
    write_hdf5(path, "truth", arrays, {"pixel_a": list(truth.pixel_a)}, of)


def read_truth(path: Path, of: str | None = None) -> Truth:
    """Read a file written by `write_truth`."""
    names = ("phase", "positions", "thickness")
    arrays, attributes = read_hdf5(path, "truth", names, names, of=of)
    return Truth(arrays["phase"], tuple(attributes["pixel_a"]), arrays["positions"], arrays["thickness"])


# What a state holds: field -> (units, axes). Lengths of positions_px are pixels of the object.
STATE_ARRAYS = {
    "object": ("transmission", "slice,y,x"),
    "probe": ("sqrt(counts)", "mode,y,x"),
    "positions_px": ("object pixels", "position,(y,x)"),
    "intensity": ("1", "position"),
    "opr_modes": ("sqrt(counts)", "mode,y,x"),
    "opr_weights": ("1", "position,mode"),
    "scan": ("number", "position"),
    "tilt_rad": ("radian", "(y,x)"),
    "thickness_a": ("angstrom", "slice"),
    "pixel_a": ("angstrom", "(y,x)"),
    "origin_a": ("angstrom", "(y,x)"),
    "wavelength_a": ("angstrom", ""),
}


def write_reconstruction(path: Path, reconstruction: Reconstruction, of: str = "") -> None:
    """Write a reconstruction; see `types.Reconstruction`."""
    arrays = {"positions_nominal": Array(reconstruction.nominal_positions_a, "angstrom", "position,(y,x)")}
    for name, values in _fields_of(reconstruction.state).items():
        if values is not None:
            arrays[f"state/{name}"] = Array(np.asarray(values), *STATE_ARRAYS.get(name, ("", "")))
    for name, values in reconstruction.history.items():
        arrays[f"history/{name}"] = Array(np.asarray(values), _HISTORY_UNITS.get(name, ""), "sweep")
    attributes = {
        "plan": reconstruction.plan,
        "seed": reconstruction.seed,
        "outcome": asdict(reconstruction.outcome),
        "provenance": reconstruction.provenance,
    }
    write_hdf5(path, "reconstruction", arrays, attributes, of)


def read_reconstruction(path: Path, of: str | None = None) -> Reconstruction:
    """Read a file written by `write_reconstruction`."""
    needed = [f.name for f in fields(ReconState) if f.default is MISSING and f.default_factory is MISSING]
    required = ["positions_nominal", "history/loss", *(f"state/{name}" for name in needed)]
    known = ("positions_nominal", "history/*", "state/*")
    arrays, attributes = read_hdf5(path, "reconstruction", known, required, of=of)
    state, history = _group(arrays, "state"), _group(arrays, "history")
    unknown = sorted(set(state) - {f.name for f in fields(ReconState)})
    if unknown:
        raise InputError(str(path), "its state must be one that this version knows", unknown, "Update ptydesign.")
    with complete(Path(path)):
        return Reconstruction(
            state=ReconState(**state),
            history=history,
            outcome=Outcome(**attributes["outcome"]),
            nominal_positions_a=arrays["positions_nominal"],
            plan=attributes["plan"],
            seed=attributes["seed"],
            provenance=attributes["provenance"],
        )


_HISTORY_UNITS = {"loss": "negative log-likelihood per count", "work_gflop": "1e9 operations", "seconds": "second"}


def _fields_of(item: Any) -> dict[str, Any]:
    return {f.name: getattr(item, f.name) for f in fields(item)}


def _group(arrays: Mapping[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
    return {key.removeprefix(f"{name}/"): a for key, a in arrays.items() if key.startswith(f"{name}/")}


def write_images(path: Path, groups: Mapping[str, Mapping[str, Any]], of: str = "") -> None:
    """Write {group: {"arrays": {name: Array}, "attrs": {...}}}: the pictures that figures are drawn from."""
    arrays = {f"{group}/{name}": a for group, item in groups.items() for name, a in item["arrays"].items()}
    write_hdf5(path, "images", arrays, {group: dict(item["attrs"]) for group, item in groups.items()}, of)


def read_images(path: Path, of: str | None = None, hashed: bool = True) -> dict[str, dict[str, Any]]:
    """Read a file written by `write_images`: {group: {"arrays": {name: ndarray}, "attrs": {...}}}. hashed: see
    `read_hdf5`."""
    arrays, attributes = read_hdf5(path, "images", ("*/*",), of=of, hashed=hashed)
    groups: dict[str, dict[str, Any]] = {group: {"arrays": {}, "attrs": attrs} for group, attrs in attributes.items()}
    for name, values in arrays.items():
        group, _, leaf = name.rpartition("/")
        groups[group]["arrays"][leaf] = values
    return groups


def read_dataset_header(path: Path) -> dict[str, Any]:
    """Attributes of a dataset file and `shape`, (position, ky, kx) of its patterns, without reading these.

    Raises InputError as `read_hdf5` does.
    """
    known = _of_dataset(read_hdf5_attributes(path, "dataset"))
    return {**known, "shape": read_hdf5_shape(path, "dataset", "patterns")}
