"""Files. The only module that knows HDF5; everything is written under a temporary name, then renamed.

Every HDF5 file has root attributes `kind`, `schema`, `ptydesign` (version) and provenance as JSON; every dataset has
`units` and `axes`. docs/files.md describes the layouts.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ptydesign import __version__
from ptydesign.errors import InputError
from ptydesign.grids import Grid
from ptydesign.types import Dataset, Optics, Potential, Truth

SCHEMA = 1


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary path in the same folder; renamed to `path` when the block ends well, removed when it does not."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically (UTF-8)."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically; NaN is refused, keys keep their order."""
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


@dataclass(frozen=True)
class Array:
    """An array with its units and the names of its axes."""

    values: np.ndarray
    units: str
    axes: str


def write_hdf5(path: Path, kind: str, arrays: Mapping[str, Array], attributes: Mapping[str, Any]) -> None:
    """Write arrays (names may contain groups, "a/b") and JSON-able attributes to a new HDF5 file, atomically."""
    with atomic(path) as temporary, h5py.File(temporary, "w", track_order=True) as file:
        file.attrs.update(kind=kind, schema=SCHEMA, ptydesign=__version__, attributes=json.dumps(dict(attributes)))
        for name, array in arrays.items():
            # shuffle + gzip 1: sparse counts shrink some twentyfold, at little time
            packing = (
                {"compression": "gzip", "compression_opts": 1, "shuffle": True} if array.values.size > 4096 else {}
            )
            dataset = file.create_dataset(name, data=array.values, track_times=False, **packing)
            dataset.attrs.update(units=array.units, axes=array.axes)


def read_hdf5(path: Path, kind: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Arrays by name and attributes of a file of this kind.

    Raises InputError if it is missing, is no HDF5 file, is truncated, is of another kind, or has a newer schema.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError("file", "must exist", str(path), "Check the path.")
    try:
        with h5py.File(path, "r") as file:
            found, schema = file.attrs.get("kind"), int(file.attrs.get("schema", 0))
            if found != kind:
                raise InputError(str(path), f"must be a ptydesign {kind} file", found, f"Give a {kind} file.")
            if schema > SCHEMA:
                raise InputError(
                    str(path), f"must have schema {SCHEMA} or older", schema, "Update ptydesign, or write it again."
                )
            arrays: dict[str, np.ndarray] = {}
            file.visititems(lambda n, item: arrays.update({n: item[()]}) if isinstance(item, h5py.Dataset) else None)
            return arrays, json.loads(file.attrs["attributes"])
    except (OSError, KeyError) as error:
        raise InputError(
            str(path), "must be a readable, complete HDF5 file", str(error), "Write it again, or give another file."
        ) from None


def write_potential(path: Path, potential: Potential, attributes: Mapping[str, Any]) -> None:
    """Write a potential; see `types.Potential`."""
    arrays = {
        "slices": Array(potential.slices_va, "V*angstrom", "configuration,slice,y,x"),
        "thickness": Array(np.asarray(potential.thickness_a, np.float64), "angstrom", "slice"),
    }
    write_hdf5(path, "potential", arrays, {**attributes, "pixel_a": list(potential.pixel_a)})


def read_potential(path: Path) -> Potential:
    """Read a file written by `write_potential`."""
    arrays, attributes = read_hdf5(path, "potential")
    return Potential(arrays["slices"], tuple(attributes["pixel_a"]), arrays["thickness"])


def write_dataset(path: Path, dataset: Dataset) -> None:
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
    write_hdf5(path, "dataset", arrays, attributes)


def read_dataset(path: Path) -> Dataset:
    """Read a file written by `write_dataset`."""
    arrays, attributes = read_hdf5(path, "dataset")
    optics = attributes["optics"]
    return Dataset(
        patterns=arrays["patterns"],
        positions_a=arrays["positions"],
        grid=Grid(arrays["patterns"].shape[-2:], tuple(attributes["pixel_a"])),
        voltage_kv=attributes["voltage_kv"],
        mask=arrays["mask"],
        optics=None if optics is None else Optics(**optics),
        electrons_per_pattern=attributes["electrons_per_pattern"],
        probe_guess=arrays.get("probe_guess"),
        background=arrays.get("background"),
        provenance=attributes["provenance"],
    )


def write_truth(path: Path, truth: Truth) -> None:
    """Write the ground truth of a simulation; see `types.Truth`."""
    arrays = {
        "phase": Array(truth.phase_rad, "rad", "slice,y,x"),
        "positions": Array(truth.positions_a, "angstrom", "position,(y,x)"),
        "thickness": Array(np.asarray(truth.thickness_a, np.float64), "angstrom", "slice"),
    }
    write_hdf5(path, "truth", arrays, {"pixel_a": list(truth.pixel_a)})


def read_truth(path: Path) -> Truth:
    """Read a file written by `write_truth`."""
    arrays, attributes = read_hdf5(path, "truth")
    return Truth(arrays["phase"], tuple(attributes["pixel_a"]), arrays["positions"], arrays["thickness"])


def write_images(path: Path, groups: Mapping[str, Mapping[str, Any]]) -> None:
    """Write {group: {"arrays": {name: Array}, "attrs": {...}}}: the pictures that figures are drawn from."""
    arrays = {f"{group}/{name}": a for group, item in groups.items() for name, a in item["arrays"].items()}
    write_hdf5(path, "images", arrays, {group: dict(item["attrs"]) for group, item in groups.items()})


def read_images(path: Path) -> dict[str, dict[str, Any]]:
    """Read a file written by `write_images`: {group: {"arrays": {name: ndarray}, "attrs": {...}}}."""
    arrays, attributes = read_hdf5(path, "images")
    groups: dict[str, dict[str, Any]] = {group: {"arrays": {}, "attrs": attrs} for group, attrs in attributes.items()}
    for name, values in arrays.items():
        group, _, leaf = name.rpartition("/")
        groups[group]["arrays"][leaf] = values
    return groups
