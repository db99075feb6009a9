"""Zarr stores: any array, and abTEM's measurements."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ptydesign.errors import InputError, describe
from ptydesign.instruments.frames import Frames, of_array
from ptydesign.instruments.readers.arrays import chosen_array

ANGSTROM, PER_ANGSTROM = ("å", "a", "angstrom"), ("1/å", "1/a")


def read(path: Path, name: str | None, scan_last: bool = False) -> Frames:
    """Frames of a store; name: which array, if there are several. abTEM's axes (x, y, kx, ky) are swapped."""
    array, chosen, attributes = _open(path, name)
    metadata = attributes.get("metadata" + chosen.removeprefix("array"), {}) if chosen.startswith("array") else {}
    record: dict[str, Any] = {"reader": "zarr", "array": chosen}
    if "abTEM" not in str(metadata.get("data_origin", "")):
        return of_array(array, str(path), scan_last).with_words(record)
    axes = [metadata["axes"][key] for key in sorted(metadata["axes"], key=lambda k: int(k.split("_")[-1]))]
    frames = of_array(_Swapped(array), str(path)).with_words(record | {"layout": str(metadata["data_origin"])})
    offers: dict[str, Any] = {"corner": metadata.get("kwargs", {}).get("fftshift") is False}
    if isinstance(metadata.get("energy"), int | float):
        offers["voltage_kv"] = metadata["energy"] / 1e3
    if isinstance(metadata.get("semiangle_cutoff"), int | float):
        offers["semiangle_mrad"] = float(metadata["semiangle_cutoff"])
    for field, pair, units in (("step_a", axes[:-2], ANGSTROM), ("reciprocal_pixel", axes[-2:], PER_ANGSTROM)):
        if len(pair) == 2 and all(str(axis.get("units", "")).lower() in units for axis in pair):
            offers[field] = [float(f"{axis['sampling']:.6g}") for axis in pair[::-1]]
    return frames.with_words({}, {key: value for key, value in offers.items() if value is not False})


def read_array(path: Path, name: str | None) -> np.ndarray:
    """One whole array of a store."""
    return np.asarray(_open(path, name, axes=())[0])


def _open(path: Path, name: str | None, axes: tuple[int, ...] = (3, 4)) -> tuple[Any, str, dict[str, Any]]:
    try:
        import zarr
    except ImportError:
        raise InputError(str(path), "needs a further package: zarr", None, "Install it: pip install zarr.") from None
    try:
        store = zarr.open(str(path), mode="r")
        if hasattr(store, "shape"):
            return store, "", dict(store.attrs)
        shapes = {n: tuple(item.shape) for n, item in store.members(max_depth=None) if hasattr(item, "shape")}
        chosen = chosen_array(path, name, shapes, axes)
        return store[chosen], chosen, dict(store.attrs)
    except InputError:
        raise
    except Exception as error:  # a broken store makes zarr raise whatever lies below it
        raise InputError(str(path), "must be a readable zarr store", describe(error), "Check it.") from None


class _Swapped:
    """(x, y, kx, ky) seen as (y, x, ky, kx)."""

    def __init__(self, array: Any):
        self.array, self.dtype = array, array.dtype
        self.shape = (*array.shape[:-2][::-1], *array.shape[-2:][::-1])

    def __getitem__(self, where: Any) -> np.ndarray:
        where = where if isinstance(where, tuple) else (where,)
        where = (*where, *(slice(None),) * (len(self.shape) - 2 - len(where)))
        taken = np.asarray(self.array[where[::-1]])
        kept = taken.ndim - 2
        return taken.transpose(*range(kept)[::-1], kept + 1, kept)
