"""HDF5 files of other programs: any array, arrays behind external links, and layouts that are known by themselves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ptydesign.errors import InputError, describe, nearest
from ptydesign.hdf5 import NUMBERS, outside_files
from ptydesign.instruments.frames import Frames, of_array
from ptydesign.readable import check_readable

SUFFIXES = (".h5", ".hdf5", ".hdf", ".emd", ".nxs", ".cxi", ".mat")
PLUGIN = "Install the filters that instruments use: pip install 'ptydesign[formats]' (hdf5plugin)."
LARGEST_BYTES = 2**30  # of an array beside the patterns: a mask, positions, a probe
MASKS = (
    "entry/instrument/detector/detectorSpecific/pixel_mask",
    "entry/instrument/detector/pixel_mask",
    "entry/instrument/detector/pixel_mask_applied",
)


def read_array(path: Path, name: str) -> np.ndarray:
    """One whole array of numbers. Raises InputError that lists the file's arrays if it has none so named."""
    with opened(path) as file:
        item = _array(file, path, name)
        if item.dtype.kind not in NUMBERS:
            raise InputError(f"{path}: {name}", "must be an array of numbers", str(item.dtype), "Name another array.")
        if item.nbytes > LARGEST_BYTES:
            rule = f"must take at most {LARGEST_BYTES / 2**30:g} GiB"
            raise InputError(f"{path}: {name}", rule, item.shape, "Name another array.")
        return item[()]


def read(path: Path, name: str | None, scan_last: bool = False) -> Frames:
    """Frames of an array, or of all arrays of a group one after the other; without a name of a known layout, or of the
    only stack in the file."""
    with opened(path, keep=True) as file:
        if name is None:
            name, record = _known(file, path)
        else:
            record = {}
        item = file.get(name)
        if isinstance(item, h5py.Group):
            frames = _group(item, path, name)
        else:
            frames = of_array(_filtered(_array(file, path, name), path), str(path), scan_last)
        matlab = path.suffix.lower() == ".mat"  # MATLAB writes its axes in reverse
        if matlab:
            frames = _reversed(_array(file, path, name), path)
        record = {"reader": "hdf5", "array": name} | record
        return _with_mask(file, frames, path).with_words(record, {} if matlab else _offers(file, item))


@contextmanager
def opened(path: Path, keep: bool = False) -> Iterator[h5py.File]:
    """An HDF5 file; its errors as InputError. keep: leave it open, for frames that are read later."""
    if not path.is_file():
        raise InputError("file", "must exist", str(path), "Check the path.")
    check_readable(path)
    file = None
    with suppress(ImportError):
        import hdf5plugin  # noqa: F401 - registers compression filters
    try:
        file = h5py.File(path, "r")
        _check_inside(file, path, path.resolve().parent, {path.resolve()})
        yield file
    except InputError:
        raise
    except (OSError, KeyError, RuntimeError, TypeError, ValueError) as error:
        mend = "Give another file, or write it again."
        raise InputError(str(path), "must be a readable, complete HDF5 file", str(error), mend) from None
    finally:
        if file is not None and not keep:
            file.close()


def _check_inside(file: h5py.File, path: Path, folder: Path, seen: set[Path]) -> None:
    """Refuse links and virtual arrays that lead out of the file's folder, and raw files in its place: a stranger's file
    must not read the user's. Files beside it are those of a detector that writes its patterns apart."""

    def other(name: str, where: str) -> None:
        target = (folder / where).resolve()
        if Path(where).is_absolute() or not target.is_relative_to(folder):
            rule = f"its array {name} must lie in it, or in a file of its folder"
            raise InputError(
                str(path), rule, where, "If you trust it, copy that file beside it and link it by its name."
            )
        if target not in seen and target.is_file():
            seen.add(target)
            with suppress(OSError), h5py.File(target, "r") as linked:  # what is no HDF5 file is refused when it is read
                _check_inside(linked, target, folder, seen)

    def walk(group: h5py.Group, prefix: str) -> None:
        for key in group:
            name, link = f"{prefix}{key}", group.get(key, getlink=True)
            if isinstance(link, h5py.ExternalLink):
                other(name, link.filename)
            if not isinstance(link, h5py.HardLink):
                continue
            item = group[key]
            if isinstance(item, h5py.Group) and item.id not in groups:
                groups.append(item.id)
                walk(item, f"{name}/")
            elif isinstance(item, h5py.Dataset):
                if item.external:
                    rule = f"its array {name} must not be the bytes of another file"
                    raise InputError(str(path), rule, item.external[0][0], "Give that file by itself, with --raw.")
                for where in outside_files(item):
                    other(name, where)

    groups = [file.id]
    walk(file, "")


def listed(file: h5py.File) -> dict[str, tuple[tuple[int, ...], str]]:
    """{path: (shape, type)} of all arrays, those behind links too; of broken links, what they point to."""
    found: dict[str, tuple[tuple[int, ...], str]] = {}

    def walk(group: h5py.Group, prefix: str, above: tuple) -> None:
        for key in group:
            name, link = f"{prefix}{key}", group.get(key, getlink=True)
            try:
                item = group[key]
            except (KeyError, OSError):
                if isinstance(link, h5py.ExternalLink):
                    found[name] = ((), f"in {link.filename}, which is not here")
                continue
            if isinstance(item, h5py.Group):
                if item.id not in above:
                    walk(item, f"{name}/", (*above, item.id))
            elif isinstance(item, h5py.Dataset):
                found[name] = (item.shape or (), str(item.dtype))

    walk(file, "", (file.id,))
    return found


def _array(file: h5py.File, path: Path, name: str) -> h5py.Dataset:
    item = file.get(name)
    if isinstance(item, h5py.Dataset):
        return item
    link = file.get(name, getlink=True) if name in file or _linked(file, name) else None
    if isinstance(link, h5py.ExternalLink):
        raise InputError(str(path), f"its array {name} lies in another file, which must be here", link.filename,
                         "Copy that file beside it.")  # fmt: skip
    names = listed(file)
    if names and len(names) <= 30 and not any(n.lower() == name.lower() for n in names):
        raise InputError(str(path), "must hold the array", name, f"It holds {_table(names)}.")
    raise InputError(str(path), "must hold the array", name, nearest(name, names))


def _linked(file: h5py.File, name: str) -> bool:
    try:
        return file.get(name, getlink=True) is not None
    except KeyError:
        return False


def _table(names: dict[str, tuple[tuple[int, ...], str]]) -> str:
    return ", ".join(
        f"{name} ({' x '.join(map(str, shape))} {kind})" if shape else f"{name} ({kind})"
        for name, (shape, kind) in names.items()
    )


def _filtered(array: h5py.Dataset, path: Path) -> h5py.Dataset:
    """The array, if this machine can unpack it."""
    properties = array.id.get_create_plist()
    for number in range(properties.get_nfilters()):
        code, _, _, words = properties.get_filter(number)
        if not h5py.h5z.filter_avail(code):
            name = words.decode(errors="replace") or f"number {code}"
            raise InputError(str(path), f"is packed by a filter that is not installed ({code})", name, PLUGIN)
    return array


def _group(group: h5py.Group, path: Path, name: str) -> Frames:
    """Frames of all stacks of a group, in the order of their names: as DECTRIS writes them."""
    parts = []
    for key in sorted(group):
        link = group.get(key, getlink=True)
        try:
            item = group[key]
        except (KeyError, OSError):
            value = link.filename if isinstance(link, h5py.ExternalLink) else key
            rule = f"its array {name}/{key} lies in another file, which must be here"
            raise InputError(str(path), rule, value, "Copy that file beside it.") from None
        if isinstance(item, h5py.Dataset) and item.ndim in (3, 4):
            parts.append(of_array(_filtered(item, path), str(path)))
    if not parts:
        raise InputError(str(path), f"must hold stacks of patterns in {name}", list(group), "Name an array.")
    if len({(p.pixels, p.dtype) for p in parts}) > 1:
        value = [(p.pixels, str(p.dtype)) for p in parts]
        raise InputError(str(path), f"the stacks in {name} must have the same pixels and type", value, "Name one.")
    ends = np.cumsum([p.count for p in parts])

    def read(start: int, stop: int) -> np.ndarray:
        pieces = []
        for part, end in zip(parts, ends, strict=True):
            first = end - part.count
            if start < end and stop > first:
                pieces.append(part.read(max(start, first) - first, min(stop, end) - first))
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)

    scan = parts[0].scan if len(parts) == 1 else None
    return Frames(read, int(ends[-1]), parts[0].pixels, parts[0].dtype, scan, record={"arrays": len(parts)})


def _reversed(array: h5py.Dataset, path: Path) -> Frames:
    """MATLAB's (ky, kx, position) or (ky, kx, y, x), which version 7.3 stores with all axes in reverse."""
    array = _filtered(array, path)

    class Turned:
        shape = (*array.shape[:-2][::-1], *array.shape[-2:][::-1])
        dtype = array.dtype

        def __getitem__(self, where: Any) -> np.ndarray:
            where = where if isinstance(where, tuple) else (where,)
            outer = array.ndim - 2
            where = (*where, *(slice(None),) * (outer - len(where)))
            taken = array[(*where[::-1],)]
            kept = sum(isinstance(w, slice) for w in where)
            order = (*range(kept)[::-1], kept + 1, kept)
            return taken.transpose(order)

    return of_array(Turned(), str(path))


def _known(file: h5py.File, path: Path) -> tuple[str, dict[str, Any]]:
    """(array or group with the patterns, what is known of its writer) of a file without a name."""
    data = file.get("entry/data")
    if isinstance(data, h5py.Group) and any(key.startswith("data_") for key in data):
        return "entry/data", {"layout": "NeXus of DECTRIS"}
    if "kind" in file.attrs and "ptydesign" in file.attrs:
        raise InputError(str(path), "must be a file of an instrument", f"a {file.attrs['kind']} of ptydesign",
                         "It needs no import.")  # fmt: skip
    names = listed(file)
    stacks = {n: shape for n, (shape, kind) in names.items() if len(shape) in (3, 4) and min(shape) > 1}
    for end, layout in (
        ("datacube/data", "py4DSTEM"),
        ("datacubes/CBED_array_depth0000/data", "Prismatic"),
    ):
        fitting = [n for n in stacks if n.endswith(end) or ("/data/datacubes/" in n and layout == "py4DSTEM")]
        if len(fitting) == 1:
            return fitting[0], {"layout": layout}
    large = max(stacks, key=lambda n: np.prod(stacks[n]), default=None)
    if large is not None and all(
        np.prod(stacks[large]) >= 16 * np.prod(shape) for n, shape in stacks.items() if n != large
    ):
        return large, {}
    broken = {n: kind for n, (shape, kind) in names.items() if "not here" in kind}
    if broken and not stacks:
        raise InputError(str(path), "its arrays lie in other files, which must be here", broken,
                         "Copy them beside it.")  # fmt: skip
    words = _table({n: names[n] for n in list(stacks or names)[:30]})
    mend = f"Give FILE:NAME; it holds {words}." if names else "Give another file."
    raise InputError(str(path), "must hold one stack of patterns (3 or 4 axes)", f"{len(stacks)} of them", mend)


def _with_mask(file: h5py.File, frames: Frames, path: Path) -> Frames:
    """Frames with the mask that the detector wrote, whose zeros are good pixels."""
    from dataclasses import replace

    for name in MASKS:
        item = file.get(name)
        if isinstance(item, h5py.Dataset) and item.shape == frames.pixels:
            good = np.asarray(item[()]) == 0
            return replace(frames, good=good).with_words({"mask": name, "masked_pixels": int(np.sum(~good))})
    return frames


def _offers(file: h5py.File, item: Any) -> dict[str, Any]:
    """Calibration that a NeXus file, or one of py4DSTEM, says."""
    offers: dict[str, Any] = {}
    for name in ("entry/instrument/detector/ntrigger", "entry/instrument/detector/detectorSpecific/ntrigger"):
        value = _scalar(file, name)
        if value is not None and value > 1:
            offers["triggers"] = int(value)
    energy = _scalar(file, "entry/instrument/beam/incident_energy")
    if energy is not None and energy > 0:
        offers["voltage_kv"] = float(energy) / 1e3
    return offers


def _scalar(file: h5py.File, name: str) -> float | None:
    try:
        item = file.get(name)
        return float(np.ravel(item[()])[0]) if isinstance(item, h5py.Dataset) and item.size == 1 else None
    except (OSError, ValueError, TypeError) as error:
        raise InputError(name, "must be a number", describe(error), "Write the file again.") from None
