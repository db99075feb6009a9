"""Reading files of instruments, through RosettaSciIO, which is imported only here and only when it is needed."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import math
from pathlib import Path
from typing import Any

import numpy as np

from ptydesign import io
from ptydesign.errors import InputError, nearest

# Where several readers share a suffix, the one that reads diffraction patterns.
PREFERRED = {"xml": "EMPAD", "mrc": "MRC"}
HDF5_SUFFIXES = (".h5", ".hdf5", ".hdf", ".emd", ".nxs", ".cxi")


def read_array(source: str | Path) -> np.ndarray:
    """An array from `file.npy`, `file.csv` or `.txt` (columns), or `file.h5:path/of/array`."""
    path, _, name = str(source).rpartition(":")
    if path and Path(path).suffix.lower() in HDF5_SUFFIXES:
        return io.read_foreign_hdf5(Path(path), name)
    path = Path(source)
    if not path.is_file():
        raise InputError("file", "must exist", str(source), "Check the path; arrays in HDF5 are given as file.h5:name.")
    try:
        if path.suffix.lower() == ".npy":
            return np.load(path, allow_pickle=False)
        if path.suffix.lower() in (".csv", ".txt", ".dat"):
            return np.loadtxt(path, delimiter="," if path.suffix.lower() == ".csv" else None, ndmin=2)
    except (OSError, ValueError) as error:
        raise InputError(str(path), "must hold an array", str(error), "Check the file.") from None
    raise InputError(str(path), "must be .npy, .csv, .txt, or file.h5:name", path.suffix, "Convert the array.")


def read_patterns(
    source: str | Path, format: str | None = None, scan_shape: tuple[int, int] | None = None
) -> tuple[Any, dict[str, Any]]:
    """(array, record) of a file with diffraction patterns.

    array: (scan y, scan x, ky, kx) or (position, ky, kx), NumPy, or dask that reads when it is asked. record: what the
    file says of its axes, for the provenance. format: a name of RosettaSciIO's, where the suffix leaves a choice.
    scan_shape: (rows, columns), for readers that would guess it. Patterns are turned as RosettaSciIO turns them.
    Raises InputError for a file that is missing, unknown, unreadable, or holds no stack of patterns.
    """
    head, _, name = str(source).rpartition(":")
    if head and Path(head).suffix.lower() in HDF5_SUFFIXES:
        return _checked(io.read_foreign_hdf5(Path(head), name), head), {"reader": "hdf5", "array": name}
    path = Path(source)
    if not path.exists():
        raise InputError("file", "must exist", str(path), "Check the path.")
    if path.suffix.lower() == ".npy" and format is None:
        return _checked(read_array(path), str(path)), {"reader": "numpy"}
    specification = _specification(path, format)
    signals = _load(path, specification, scan_shape)
    stacks = [s for s in signals if len(s["data"].shape) in (3, 4)]
    if not stacks:
        shapes = [s["data"].shape for s in signals]
        raise InputError(str(path), "must hold a stack of patterns (3 or 4 axes)", shapes, "Give another file.")
    signal = max(stacks, key=lambda s: math.prod(s["data"].shape))
    record = {"reader": f"rosettasciio {specification['name']}", "version": _rosettasciio().__version__}
    record["axes"] = [
        {k: _plain(axis.get(k)) for k in ("name", "size", "scale", "offset", "units")} for axis in signal["axes"]
    ]
    return _checked(signal["data"], str(path)), record


def _rosettasciio() -> Any:
    if importlib.util.find_spec("rsciio") is None:
        raise InputError(
            "import", "needs RosettaSciIO for files of instruments", None, "Install it: pip install rosettasciio."
        )
    return importlib.import_module("rsciio")


def _specification(path: Path, format: str | None) -> dict[str, Any]:
    plugins = _rosettasciio().IO_PLUGINS
    if format is not None:
        for plugin in plugins:
            if plugin["name"].lower() == format.lower():
                return plugin
        raise InputError(
            "format", "must be one of RosettaSciIO's", format, nearest(format, [p["name"] for p in plugins])
        )
    suffix = path.suffix.lower().removeprefix(".")
    found = [p for p in plugins if suffix in (e.lower() for e in p["file_extensions"])]
    found = [p for p in found if p["name"] == PREFERRED.get(suffix)] or found
    if len(found) == 1:
        return found[0]
    if not found:
        raise InputError(
            str(path), "must have the suffix of a known format", path.suffix, "Give --format, or convert it to .npy."
        )
    raise InputError(
        str(path),
        "its suffix belongs to several formats",
        path.suffix,
        f"Give --format ({', '.join(p['name'] for p in found)}), or FILE:name for an array in it.",
    )


def _load(path: Path, specification: dict[str, Any], scan_shape: tuple[int, int] | None) -> list[dict[str, Any]]:
    try:
        reader = importlib.import_module(specification["api"]).file_reader
        options: dict[str, Any] = {}
        if scan_shape is not None and "navigation_shape" in inspect.signature(reader).parameters:
            options["navigation_shape"] = scan_shape[::-1]
        try:
            return reader(str(path), lazy=True, **options)
        except NotImplementedError:  # how a format's reader says that it can't be lazy
            return reader(str(path), **options)
    except ImportError as error:
        raise InputError(str(path), f"needs a further package: {error}", specification["name"], "Install it.") from None
    except Exception as error:  # its readers raise whatever a broken file makes them raise
        raise InputError(
            str(path),
            f"must be a readable {specification['name']} file",
            f"{type(error).__name__}: {error}",
            "Check it.",
        ) from None


def _checked(array: Any, path: str) -> Any:
    if len(array.shape) not in (3, 4) or 0 in array.shape or np.dtype(array.dtype).kind not in "uif":
        raise InputError(
            path,
            "must hold real patterns (scan y, scan x, ky, kx) or (position, ky, kx)",
            (array.shape, str(array.dtype)),
            "Give another array.",
        )
    return array


def _plain(value: Any) -> Any:
    """JSON's own types; what has none becomes text."""
    if isinstance(value, np.generic):
        value = value.item()
    return value if value is None or isinstance(value, (str, int, float)) else str(value)
