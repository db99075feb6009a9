"""`ptydesign show`: all pictures of a file."""

from __future__ import annotations

from pathlib import Path

from ptydesign import drawing, io
from ptydesign.errors import InputError
from ptydesign.instruments import memory
from ptydesign.pictures import data, reconstruction
from ptydesign.types import Dataset, Reconstruction

# Kind of file -> {name of the picture: function that draws it}.
KINDS = {"dataset": data.PICTURES, "reconstruction": reconstruction.PICTURES}


def show(file: Path | str, folder: Path | str, memory_gib: float | None = None) -> list[Path]:
    """Draw all pictures of a dataset or a reconstruction into a folder, as PNG and PDF. Returns the paths written.

    memory_gib: what may be taken (default: half of what is free); patterns that take more than half of it stay on the
    disk. Raises InputError for a file of another kind, and for a reconstruction that doesn't fit.
    """
    file, folder = Path(file), Path(folder)
    if folder.exists() and not folder.is_dir():
        raise InputError("output", "must be a folder", str(folder), "Give another name.")
    kind = io.kind_of(file)
    if kind not in KINDS:
        raise InputError(str(file), "must hold a dataset or a reconstruction", kind, "Give another file.")
    content = _content(file, kind, memory_gib)
    paths = []
    for name, draw in KINDS[kind].items():
        with drawing.styled():
            figure = draw(content)
            paths += drawing.save(figure, folder, name) if figure is not None else []
    return paths


def _content(file: Path, kind: str, memory_gib: float | None) -> Dataset | Reconstruction:
    bound = memory.bound_bytes(memory_gib)
    needed = io.array_bytes(file)
    if kind == "dataset":
        return io.read_dataset(file, mapped=needed > bound / 2)
    memory.check_room(needed, bound, str(file))
    return io.read_reconstruction(file)
