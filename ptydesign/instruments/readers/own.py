"""Files that a user's function reads: (path) -> patterns (scan y, scan x, ky, kx) or (position, ky, kx)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ptydesign.functions import Place, Registry, guarded
from ptydesign.instruments.frames import Frames, of_array

Loader = Callable[[Path], Frames]


def _taken(function: Any, place: Place) -> Loader:
    """A user's loader; what it gives is checked when a file is read."""
    call = guarded(function, place)

    def load(path: Path) -> Any:
        array = call(path)
        shape = getattr(array, "shape", None)
        if shape is None or len(shape) not in (3, 4) or 0 in shape or array.dtype.kind not in "uif":
            rule = "must give real patterns (scan y, scan x, ky, kx) or (position, ky, kx)"
            got = type(array).__name__ if shape is None else f"shape {tuple(shape)} of {array.dtype}"
            raise place.error(rule, got, "Return an array of NumPy, dask, h5py or zarr.")
        return array

    return load


LOADERS: Registry[Loader] = Registry("loader", {}, _taken)


def read(path: Path, name: str, scan_last: bool = False) -> Frames:
    """Frames of a file. name: of the loader, as file.py:name. Raises InputError."""
    name = LOADERS.full_name(name)
    return of_array(LOADERS[name](path), str(path), scan_last).with_words({"reader": name})
