"""Files that do harm."""

from __future__ import annotations

from pathlib import Path

import h5py


def endless(path: Path) -> None:
    """A file in which the HDF5 library never ends: an object of its heap has no size."""
    with h5py.File(path, "w") as file:
        file.attrs.update(kind="dataset", schema=1, attributes="x" * 200)
    content = bytearray(path.read_bytes())
    start = content.index(b"GCOL") + 16
    content[start : start + 64] = bytes(64)
    path.write_bytes(content)
