"""Arrays in files of their own: .npy, .npz, .mat, TIFF, text, and folders with one frame in each file."""

from __future__ import annotations

import re
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from ptydesign.errors import InputError, nearest
from ptydesign.instruments.frames import Frames, of_array, of_binary

TEXT = (".csv", ".txt", ".dat")
IMAGES = (".tif", ".tiff")
ONE_FRAME = (".tif", ".tiff", ".npy", ".dm3", ".dm4", ".mrc")


def npy(path: Path, scan_last: bool = False) -> Frames:
    """Frames of an array that NumPy saved."""
    with _readable(path), path.open("rb") as file:
        version = np.lib.format.read_magic(file)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = header(file)
        offset = file.tell()
    record = {"reader": "numpy"}
    if scan_last or fortran or dtype.hasobject or len(shape) not in (3, 4):
        with _readable(path):
            return of_array(np.load(path, mmap_mode="r", allow_pickle=False), str(path), scan_last).with_words(record)
    frames = of_array(np.lib.stride_tricks.as_strided(np.zeros(1, dtype), shape, (0,) * len(shape)), str(path))
    if path.stat().st_size < offset + frames.count * frames.frame_bytes:
        raise InputError(str(path), "must be complete", f"{path.stat().st_size} bytes", "Copy it again.")
    return of_binary(path, dtype, frames.pixels, frames.count, offset, scan=frames.scan).with_words(record)


def npz(path: Path, name: str | None, scan_last: bool = False) -> Frames:
    """Frames of an array in an .npz archive, unpacked into a temporary file; name: which one, if there are several."""
    with _readable(path), zipfile.ZipFile(path) as archive:
        names = [n.removesuffix(".npy") for n in archive.namelist()]
        sizes = {}
        for one in names:
            with archive.open(f"{one}.npy") as file:
                version = np.lib.format.read_magic(file)
                read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                sizes[one] = read(file)[0]
        chosen = chosen_array(path, name, sizes)
        room = tempfile.NamedTemporaryFile(suffix=".npy")  # noqa: SIM115 - lives as long as the frames
        with archive.open(f"{chosen}.npy") as file:
            while part := file.read(2**24):
                room.write(part)
        room.flush()
    frames = npy(Path(room.name), scan_last)
    read_part = frames.read

    def read(start: int, stop: int, keep: Any = room) -> np.ndarray:
        return read_part(start, stop)

    return Frames(
        read, frames.count, frames.pixels, frames.dtype, frames.scan, record={"reader": "npz", "array": chosen}
    )


def mat(path: Path, name: str | None) -> Frames:
    """Frames of an array in a MATLAB file before version 7.3, which has (ky, kx, position) or (ky, kx, y, x)."""
    from scipy.io import loadmat, whosmat

    with _readable(path):
        sizes = {n: shape for n, shape, _ in whosmat(path)}
        chosen = chosen_array(path, name, sizes)
        array = loadmat(path, variable_names=[chosen])[chosen]
    return of_array(array, str(path), scan_last=True).with_words({"reader": "scipy.io.loadmat", "array": chosen})


def tiff(path: Path, scan_last: bool = False) -> Frames:
    """Frames of a TIFF file, a page each."""
    import tifffile

    with _readable(path):
        file = tifffile.TiffFile(path)
        series = max(file.series, key=lambda s: s.size)
        shape, dtype = tuple(series.shape), series.dtype
        if series.dataoffset is not None and len(shape) in (3, 4) and not scan_last:
            order = np.dtype(dtype).newbyteorder(file.byteorder)
            frames = of_array(np.lib.stride_tricks.as_strided(np.zeros(1, order), shape, (0,) * len(shape)), str(path))
            whole = of_binary(path, order, frames.pixels, frames.count, series.dataoffset, scan=frames.scan)
            return whole.with_words({"reader": "tifffile"})
        pages = series.pages

    def read(start: int, stop: int) -> np.ndarray:
        return np.stack([pages[i].asarray() for i in range(start, stop)])

    if len(shape) != 3 or scan_last:
        return of_array(series.asarray(), str(path), scan_last).with_words({"reader": "tifffile"})
    return Frames(read, shape[0], shape[1:], np.dtype(dtype), record={"reader": "tifffile"})


def folder(path: Path) -> Frames:
    """Frames of a folder that holds one in each file, in the order of the numbers in the files' names."""
    kinds: dict[str, list[Path]] = {}
    for file in path.iterdir():
        if file.suffix.lower() in ONE_FRAME and not file.name.startswith("."):
            kinds.setdefault(file.suffix.lower(), []).append(file)
    if not kinds:
        raise InputError(
            str(path), f"must hold files with a frame each ({', '.join(ONE_FRAME)})", "none", "Give a file of data."
        )
    if len(kinds) > 1:
        counts = {suffix: len(files) for suffix, files in kinds.items()}
        raise InputError(str(path), "must hold files of one kind", counts, "Move the others elsewhere.")
    ((suffix, files),) = kinds.items()
    files.sort(key=lambda p: [int(t) if t.isdigit() else t for t in re.split(r"(\d+)", p.name)])
    first = _one_frame(files[0])

    def read(start: int, stop: int) -> np.ndarray:
        taken = np.empty((stop - start, *first.shape), first.dtype)
        for place, file in enumerate(files[start:stop]):
            frame = _one_frame(file)
            if frame.shape != first.shape:
                rule = f"must have the {first.shape} pixels of {files[0].name}"
                raise InputError(str(file), rule, frame.shape, "Remove it from the folder.")
            taken[place] = frame
        return taken

    record = {"reader": "folder", "files": len(files), "first": files[0].name, "last": files[-1].name}
    return Frames(read, len(files), first.shape, first.dtype, record=record | {"suffix": suffix})


def _one_frame(path: Path) -> np.ndarray:
    suffix = path.suffix.lower()
    with _readable(path):
        if suffix == ".npy":
            frame = np.load(path, allow_pickle=False)
        elif suffix in IMAGES:
            import tifffile

            frame = tifffile.imread(path)
        else:
            import rsciio.digitalmicrograph
            import rsciio.mrc

            reader = rsciio.mrc if suffix == ".mrc" else rsciio.digitalmicrograph
            frame = np.asarray(max(reader.file_reader(str(path)), key=lambda s: s["data"].size)["data"])
    frame = np.squeeze(frame)
    if frame.ndim != 2 or frame.dtype.kind not in "uif":
        value = (frame.shape, str(frame.dtype))
        raise InputError(str(path), "must hold one frame of real numbers (ky, kx)", value, "Give the file by itself.")
    return frame


def whole(path: Path, name: str | None) -> np.ndarray:
    """Any array (a mask, positions, a probe) of .npy, .npz, .mat, TIFF or text. Raises InputError for other files."""
    suffix = path.suffix.lower()
    with _readable(path):
        if suffix == ".npy":
            return np.load(path, allow_pickle=False)
        if suffix == ".npz":
            with np.load(path, allow_pickle=False) as archive:
                return archive[chosen_array(path, name, {n: archive[n].shape for n in archive.files}, axes=())]
        if suffix == ".mat":
            from scipy.io import loadmat, whosmat

            chosen = chosen_array(path, name, {n: shape for n, shape, _ in whosmat(path)}, axes=())
            return loadmat(path, variable_names=[chosen])[chosen]
        if suffix in IMAGES:
            import tifffile

            return tifffile.imread(path)
        if suffix in TEXT:
            return np.loadtxt(path, delimiter="," if suffix == ".csv" else None, ndmin=2)
    known = ".npy, .npz, .mat, .tif, .csv, .txt, or file.h5:name"
    raise InputError(str(path), f"must be {known}", path.suffix, "Convert the array.")


def chosen_array(
    path: Path, name: str | None, shapes: dict[str, tuple[int, ...]], axes: tuple[int, ...] = (3, 4)
) -> str:
    """The array that is meant: that of the name, or the only one with so many axes (any, if `axes` is empty)."""
    if name is not None:
        if name not in shapes:
            raise InputError(str(path), "must hold the array", name, nearest(name, shapes))
        return name
    fitting = [n for n, shape in shapes.items() if not axes or len(shape) in axes]
    if len(fitting) == 1:
        return fitting[0]
    held = {n: shapes[n] for n in fitting or shapes}
    rule = "must hold one stack of patterns (3 or 4 axes)" if axes else "must hold one array"
    mend = f"Give {path.name}:NAME" + (f" ({', '.join(held)})." if held else ", or another file.")
    raise InputError(str(path), rule, held, mend)


class _readable:
    """What readers raise of a broken file, as an InputError."""

    def __init__(self, path: Path):
        self.path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type | None, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, Exception) and not isinstance(error, InputError):
            raise InputError(
                str(self.path), "must hold an array", f"{kind.__name__}: {error}", "Check the file."
            ) from None
