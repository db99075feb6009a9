"""Which reader a file belongs to."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ptydesign.errors import InputError, near_files
from ptydesign.instruments.frames import Frames
from ptydesign.instruments.readers import arrays, hdf5, own, raw, rosetta, zarrs

HOLDERS = (*hdf5.SUFFIXES, ".npz", ".zarr")  # files that hold several arrays: FILE:NAME
BY_ROSETTA = (".emd",)  # HDF5 that RosettaSciIO knows better, unless an array in it is named


def read_array(source: str | Path) -> np.ndarray:
    """A whole array of .npy, .npz, .mat, TIFF, text (columns), zarr or HDF5; `file:name` where a file holds several."""
    path, name = split(source)
    if not path.exists():
        raise InputError("file", "must exist", str(source), "Check the path; arrays in HDF5 are given as file.h5:name.")
    if path.suffix.lower() == ".zarr":
        return zarrs.read_array(path, name)
    if name is not None and path.suffix.lower() in hdf5.SUFFIXES and _is_hdf5(path):
        return hdf5.read_array(path, name)
    return arrays.whole(path, name)


def read_frames(
    source: str | Path,
    format: str | None = None,
    scan_shape: tuple[int, int] | None = None,
    layout: str | None = None,
    scan_last: bool = False,
    loader: str | None = None,
) -> Frames:
    """The patterns of a file, to be read in parts.

    format: a name of RosettaSciIO's, where the suffix leaves a choice. scan_shape: (rows, columns), for readers that
    would guess it. layout: of a raw binary, as `raw.layout_of` reads it. scan_last: the array's last axes are the scan.
    loader: a function of the user's that reads the file, as file.py:name.
    Raises InputError for a file that is missing, unknown, unreadable, or holds no stack of patterns.
    """
    path, name = check_there(source)
    suffix = path.suffix.lower()
    if loader is not None:
        return own.read(path, loader, scan_last)
    if layout is not None:
        return raw.read(path, raw.layout_of(layout))
    if format is not None:
        return rosetta.read(path, format, scan_shape, scan_last)
    if suffix == ".zarr":
        return zarrs.read(path, name, scan_last)
    if path.is_dir():
        return arrays.folder(path)
    if suffix == ".npy":
        return arrays.npy(path, scan_last)
    if suffix == ".npz":
        return arrays.npz(path, name, scan_last)
    if suffix in arrays.IMAGES:
        return arrays.tiff(path, scan_last)
    if suffix == ".mat" and not _is_hdf5(path):
        return arrays.mat(path, name)
    if suffix in hdf5.SUFFIXES and (name is not None or suffix not in BY_ROSETTA):
        return hdf5.read(path, name, scan_last)
    if suffix == ".raw" and not rosetta.knows(path):
        mend = f"Give --raw with its layout. {raw.EXAMPLE}"
        raise InputError(str(path), "its layout must be known: a raw binary doesn't say it", suffix, mend)
    return rosetta.read(path, format, scan_shape, scan_last)


def check_there(source: str | Path) -> tuple[Path, str | None]:
    """What `split` gives. Raises InputError if there is no such file."""
    path, name = split(source)
    if not path.exists():
        raise InputError("file", "must exist", str(path), near_files(path) or "Check the path.")
    return path, name


def split(source: str | Path) -> tuple[Path, str | None]:
    """(file, name of the array in it, or None) of FILE or FILE:NAME; a file with a colon in its name is that file."""
    if Path(source).exists():
        return Path(source), None
    head, _, name = str(source).rpartition(":")
    if head and Path(head).suffix.lower() in HOLDERS:
        return Path(head), name
    return Path(source), None


def _is_hdf5(path: Path) -> bool:
    """By its signature, at the start or after a MATLAB header of 512 bytes."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(520)
    return b"\x89HDF\r\n\x1a\n" in (head[:8], head[512:])
