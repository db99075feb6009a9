"""Files. The only module that knows HDF5; everything is written under a temporary name, then renamed.

Every HDF5 file has root attributes `kind`, `schema`, `ptydesign` (version) and provenance as JSON; every dataset has
`units` and `axes`. docs/files.md describes the layouts.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ptydesign import __version__
from ptydesign.errors import NOTHING, InputError, nearest
from ptydesign.grids import Grid
from ptydesign.types import Dataset, Optics, Outcome, Potential, ReconState, Reconstruction, Truth

SCHEMA = 1
MAPPED_BYTES = 2**25  # unpacked at once


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
    """An array, or what gives one in parts, with its units and the names of its axes."""

    values: np.ndarray
    units: str
    axes: str


def write_hdf5(
    path: Path, kind: str, arrays: Mapping[str, Array], attributes: Mapping[str, Any], packed: bool = True
) -> None:
    """Write arrays (names may contain groups, "a/b") and JSON-able attributes to a new HDF5 file, atomically. packed:
    smaller files, for more time."""
    with atomic(path) as temporary, h5py.File(temporary, "w", track_order=True) as file:
        file.attrs.update(kind=kind, schema=SCHEMA, ptydesign=__version__, attributes=json.dumps(dict(attributes)))
        for name, array in arrays.items():
            # shuffle + gzip 1: sparse counts shrink some twentyfold, at little time
            values = array.values
            worth = packed and values.size > 4096
            packing = {"compression": "gzip", "compression_opts": 1, "shuffle": True} if worth else {}
            dataset = file.create_dataset(name, np.shape(values), values.dtype, track_times=False, **packing)
            _fill(dataset, values)
            dataset.attrs.update(units=array.units, axes=array.axes)


def _fill(dataset: h5py.Dataset, values: np.ndarray) -> None:
    """Write an array part by part: it may be larger than memory."""
    if not dataset.size:
        return
    if not dataset.shape:
        dataset[()] = values
        return
    step = max(1, MAPPED_BYTES // max(1, dataset.nbytes // len(dataset)))
    if dataset.chunks:  # a chunk that is written twice is packed twice
        step = -(-step // dataset.chunks[0]) * dataset.chunks[0]
    for start in range(0, len(dataset), step):
        dataset[start : start + step] = values[start : start + step]


def read_hdf5(
    path: Path, kind: str, required: Iterable[str] = (), mapped: Iterable[str] = ()
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Arrays by name and attributes of a file of this kind; those named in `mapped` as `map_array` gives them.

    Raises InputError if it is missing, is no HDF5 file, is truncated, is of another kind, has a newer schema, or lacks
    an array that is `required`.
    """
    path = Path(path)
    found, schema = _kind_and_schema(path)
    if found != kind:
        raise InputError(str(path), f"must be a ptydesign {kind} file", found, _other_kind(found, kind))
    if schema > SCHEMA:
        raise InputError(
            str(path), f"must have schema {SCHEMA} or older", schema, "Update ptydesign, or write it again."
        )
    arrays: dict[str, np.ndarray] = {}
    with _complete(path), h5py.File(path, "r") as file:

        def take(name: str, item: Any) -> None:
            if isinstance(item, h5py.Dataset):
                arrays[name] = map_array(path, item) if name in mapped else item[()]

        file.visititems(take)
        attributes = json.loads(file.attrs["attributes"])
    missing = sorted(set(required) - set(arrays))
    if missing:
        raise InputError(str(path), f"must hold {', '.join(missing)}", sorted(arrays), "Write it again.")
    return arrays, attributes


def map_array(path: Path, item: h5py.Dataset) -> np.ndarray:
    """An array of an open file that need not fit into memory, read-only: the file itself where it holds the array in
    one piece, else an unpacked copy in a temporary file, beside it if possible, that vanishes with the array."""
    if item.chunks is None and item.id.get_offset() is not None and item.size:
        return np.memmap(path, item.dtype, "r", item.id.get_offset(), item.shape)
    copy = temporary_array(item.shape, item.dtype, path.parent)
    step = max(1, MAPPED_BYTES // max(1, copy[:1].nbytes))
    for start in range(0, len(copy), step):
        copy[start : start + step] = item[start : start + step]
    copy.flags.writeable = False
    return copy


def temporary_array(shape: tuple[int, ...], dtype: np.dtype, folder: Path | None = None) -> np.ndarray:
    """Room on the disk, in `folder` if it can be written, that vanishes with the array."""
    beside = folder if folder is not None and os.access(folder, os.W_OK) else None
    with tempfile.TemporaryFile(dir=beside) as room:
        return np.memmap(room, dtype, "w+", shape=shape)


def read_hdf5_attributes(path: Path, kind: str) -> dict[str, Any]:
    """The attributes of a file of this kind alone. Raises InputError for another file."""
    path = Path(path)
    found, _ = _kind_and_schema(path)
    if found != kind:
        raise InputError(str(path), f"must be a ptydesign {kind} file", found, _other_kind(found, kind))
    with _complete(path), h5py.File(path, "r") as file:
        return json.loads(file.attrs["attributes"])


def array_bytes(path: Path) -> int:
    """Bytes of all arrays of an HDF5 file, unpacked. Raises InputError for another file."""
    sizes: list[int] = []
    with _complete(Path(path)), h5py.File(path, "r") as file:
        file.visititems(lambda _, item: sizes.append(item.nbytes) if isinstance(item, h5py.Dataset) else None)
    return sum(sizes)


def kind_of(path: Path) -> str:
    """What a ptydesign file holds: dataset, reconstruction, ... Raises InputError for other files."""
    found, _ = _kind_and_schema(Path(path))
    if found is None:
        raise InputError(str(path), "must be a file of ptydesign", None, _other_kind(None, "dataset"))
    return found


def _kind_and_schema(path: Path) -> tuple[str | None, int]:
    if not path.is_file():
        raise InputError("file", "must exist", str(path), "Check the path.")
    with _complete(path), h5py.File(path, "r") as file:
        found = file.attrs.get("kind")
        return (None if found is None else str(found)), int(file.attrs.get("schema", 0))


def _other_kind(found: str | None, kind: str) -> str:
    if kind in _MADE_BY:
        return f"Give a file that {_MADE_BY[kind]} wrote."
    if found is None:
        return "Files of other programs are converted by `ptydesign import`."
    return f"Give a {kind} file."


_MADE_BY = {
    "checkpoint": "`ptydesign reconstruct --checkpoint FILE`",
    "reconstruction": "`ptydesign reconstruct -o FILE`",
}


@contextmanager
def _complete(path: Path) -> Iterator[None]:
    """What HDF5 says of a file that is none, is truncated or lacks something, as an InputError."""
    try:
        yield
    except InputError:
        raise
    except (OSError, KeyError, RuntimeError, TypeError, ValueError) as error:
        mend = "Write it again, or give another file; `ptydesign import` makes one of an instrument's file or an array."
        raise InputError(str(path), "must be a readable, complete HDF5 file", str(error), mend) from None


def write_potential(path: Path, potential: Potential, attributes: Mapping[str, Any]) -> None:
    """Write a potential; see `types.Potential`."""
    arrays = {
        "slices": Array(potential.slices_va, "V*angstrom", "configuration,slice,y,x"),
        "thickness": Array(np.asarray(potential.thickness_a, np.float64), "angstrom", "slice"),
    }
    write_hdf5(path, "potential", arrays, {**attributes, "pixel_a": list(potential.pixel_a)})


def read_potential(path: Path) -> Potential:
    """Read a file written by `write_potential`."""
    arrays, attributes = read_hdf5(path, "potential", ("slices", "thickness"))
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


def read_dataset(path: Path, mapped: bool = False) -> Dataset:
    """Read a file written by `write_dataset`. mapped: leave the patterns on the disk, see `map_array`."""
    mappings = ("patterns",) if mapped else ()
    arrays, attributes = read_hdf5(path, "dataset", ("patterns", "positions", "mask"), mappings)
    with _complete(Path(path)):
        optics, voltage, pixel = (_known(attributes, name) for name in ("optics", "voltage_kv", "pixel_a"))
        if not isinstance(pixel, list):
            raise InputError("dataset.pixel_a", "must be a list of two sizes (y, x)", pixel, "Give both, in angstrom.")
        return Dataset(
            patterns=arrays["patterns"],
            positions_a=arrays["positions"],
            grid=Grid(arrays["patterns"].shape[-2:], tuple(_number("dataset.pixel_a", p) for p in pixel)),
            voltage_kv=_number("dataset.voltage_kv", voltage),
            mask=arrays["mask"],
            optics=None if optics is None else _optics(optics),
            electrons_per_pattern=_known(attributes, "electrons_per_pattern"),
            probe_guess=arrays.get("probe_guess"),
            background=arrays.get("background"),
            provenance=_known(attributes, "provenance"),
        )


def _known(attributes: Mapping[str, Any], name: str) -> Any:
    if name not in attributes:
        raise InputError(f"dataset.{name}", "is required", NOTHING, "docs/files.md says what a dataset holds.")
    return attributes[name]


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(name, "must be a number", value, "Write it again, without quotes.")
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
    arrays, attributes = read_hdf5(path, "truth", ("phase", "positions", "thickness"))
    return Truth(arrays["phase"], tuple(attributes["pixel_a"]), arrays["positions"], arrays["thickness"])


# What a state holds: field -> (units, axes). Lengths of positions_px are pixels of the object.
STATE_ARRAYS = {
    "object": ("transmission", "slice,y,x"),
    "probe": ("sqrt(counts)", "mode,y,x"),
    "positions_px": ("object pixels", "position,(y,x)"),
    "intensity": ("1", "position"),
    "opr_modes": ("sqrt(counts)", "mode,y,x"),
    "opr_weights": ("1", "position,mode"),
    "tilt_rad": ("radian", "(y,x)"),
    "thickness_a": ("angstrom", "slice"),
    "pixel_a": ("angstrom", "(y,x)"),
    "origin_a": ("angstrom", "(y,x)"),
    "wavelength_a": ("angstrom", ""),
}


def write_reconstruction(path: Path, reconstruction: Reconstruction) -> None:
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
    write_hdf5(path, "reconstruction", arrays, attributes)


def read_reconstruction(path: Path) -> Reconstruction:
    """Read a file written by `write_reconstruction`."""
    needed = [f.name for f in fields(ReconState) if f.default is MISSING and f.default_factory is MISSING]
    required = ["positions_nominal", "history/loss", *(f"state/{name}" for name in needed)]
    arrays, attributes = read_hdf5(path, "reconstruction", required)
    state, history = _group(arrays, "state"), _group(arrays, "history")
    unknown = sorted(set(state) - {f.name for f in fields(ReconState)})
    if unknown:
        raise InputError(str(path), "its state must be one that this version knows", unknown, "Update ptydesign.")
    with _complete(Path(path)):
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


def read_dataset_header(path: Path) -> dict[str, Any]:
    """Attributes of a dataset file and `shape`, (position, ky, kx) of its patterns, without reading these.

    Raises InputError as `read_hdf5` does.
    """
    path = Path(path)
    found, _ = _kind_and_schema(path)
    if found != "dataset":
        raise InputError(str(path), "must be a ptydesign dataset file", found, _other_kind(found, "dataset"))
    with _complete(path), h5py.File(path, "r") as file:
        return {**json.loads(file.attrs["attributes"]), "shape": tuple(file["patterns"].shape)}
