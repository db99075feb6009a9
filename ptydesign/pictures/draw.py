"""`ptydesign show`: all pictures of a file."""

from __future__ import annotations

from pathlib import Path

from ptydesign import drawing, io
from ptydesign.errors import InputError
from ptydesign.pictures import data, reconstruction

# Kind of file -> (reader, {name of the picture: function that draws it}).
KINDS = {
    "dataset": (io.read_dataset, data.PICTURES),
    "reconstruction": (io.read_reconstruction, reconstruction.PICTURES),
}


def show(file: Path | str, folder: Path | str) -> list[Path]:
    """Draw all pictures of a dataset or a reconstruction into a folder, as PNG and PDF. Returns the paths written.

    Raises InputError for a file of another kind.
    """
    file, folder = Path(file), Path(folder)
    if folder.exists() and not folder.is_dir():
        raise InputError("output", "must be a folder", str(folder), "Give another name.")
    kind = io.kind_of(file)
    if kind not in KINDS:
        raise InputError(str(file), "must hold a dataset or a reconstruction", kind, "Give another file.")
    read, pictures = KINDS[kind]
    content = read(file)
    paths = []
    for name, draw in pictures.items():
        with drawing.styled():
            figure = draw(content)
            paths += drawing.save(figure, folder, name) if figure is not None else []
    return paths
