"""HDF5 files of ptydesign. With the readers of instruments, the only module that knows HDF5.

Every file has root attributes `kind`, `schema`, `ptydesign` (version) and `attributes` (JSON); `of` says which file of
a study it is. Every array has `units`, `axes` and the `hash` of its values, and the root has one of all else in the
file. They are checked when a file is read: it must hold what was written. Only a dataset need not have them: other
programs write datasets, too. Only arrays that are asked for are read.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import math
import os
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import h5py
import numpy as np

from ptydesign import __version__
from ptydesign.errors import NOTHING, InputError, near_files
from ptydesign.files import Disk, atomic, check_room
from ptydesign.machine import GIB, memory_bytes

SCHEMA = 1
MAPPED_BYTES = 2**25  # unpacked at once
EARLIER = "it has no hash: an earlier version made it, or it was changed"
SETTINGS = " with settings "  # behind the place of a file of a study: the hash of what its job was told
OTHERS = "must be made with the study's settings"
NUMBERS = "biufc"  # kinds of numpy's types that an array may have
CHANGED_BY_USERS = ("dataset",)  # kinds of files that other programs write and change: a doubt, not an error
REDO = "Delete it and run the command that made it again; a study's snakemake command makes all that is missing."


@dataclass(frozen=True)
class Array:
    """An array, or what gives one in parts, with its units and the names of its axes."""

    values: np.ndarray
    units: str
    axes: str


def write_hdf5(
    path: Path,
    kind: str,
    arrays: Mapping[str, Array],
    attributes: Mapping[str, Any],
    of: str = "",
    packed: bool = True,
) -> None:
    """Write arrays (names may contain groups, "a/b") and JSON-able attributes to a new HDF5 file, atomically.

    of: which file of a study it is, if it is one. packed: smaller files, for more time.
    """
    needed = sum(array.values.nbytes for array in arrays.values())
    text = json.dumps(dict(attributes))
    with _to_disk(path, needed) as (file, check):
        file.attrs.update(kind=kind, schema=SCHEMA, ptydesign=__version__, attributes=text, of=of)
        for name, array in arrays.items():
            # shuffle + gzip 1: sparse counts shrink some twentyfold, at little time
            values = array.values
            worth = packed and values.size > 4096
            packing = {"compression": "gzip", "compression_opts": 1, "shuffle": True} if worth else {}
            dataset = file.create_dataset(name, np.shape(values), values.dtype, track_times=False, **packing)
            found = _fill(dataset, values, check)
            dataset.attrs.update(units=array.units, axes=array.axes, hash=found)
        file.attrs["hash"] = _hash_of(file)


@contextmanager
def _to_disk(path: Path, needed: int) -> Iterator[tuple[h5py.File, Callable[[], None]]]:
    """A new file, whole or not at all, and what raises InputError at once where the disk has refused a part of it."""
    with atomic(path, needed) as temporary, Disk(temporary, "w+") as disk:
        with h5py.File(disk, "w", track_order=True) as file:
            yield file, disk.check
        disk.check()


def _fill(dataset: h5py.Dataset, values: np.ndarray, check: Callable[[], None]) -> str:
    """Write an array part by part, for it may be larger than memory; the hash of its values."""
    content = hashlib.sha256()
    if dataset.size and not dataset.shape:
        dataset[()] = values
        content.update(np.asarray(values).tobytes())
    elif dataset.size:
        step = max(1, MAPPED_BYTES // max(1, dataset.nbytes // len(dataset)))
        if dataset.chunks:  # a chunk that is written twice is packed twice
            step = -(-step // dataset.chunks[0]) * dataset.chunks[0]
        for start in range(0, len(dataset), step):
            part = np.ascontiguousarray(values[start : start + step], dtype=dataset.dtype)
            dataset[start : start + step] = part
            check()
            content.update(part)
    return content.hexdigest()


def _hash_of(file: h5py.File) -> str:
    """Of a file's attributes, and of the names, types and hashes of its arrays."""
    words = [str(file.attrs.get(name, "")) for name in ("kind", "schema", "attributes", "of")]
    for name, item in sorted(_arrays(file).items()):
        told = [str(item.attrs.get(word, "")) for word in ("units", "axes", "hash")]
        words += [name, item.dtype.str, str(item.shape), *told]
    return hashlib.sha256("\0".join(words).encode()).hexdigest()


def read_hdf5(
    path: Path,
    kind: str,
    known: Sequence[str],
    required: Iterable[str] = (),
    mapped: Iterable[str] = (),
    of: str | None = None,
    fits: Callable[[Mapping[str, h5py.Dataset]], None] = lambda items: None,
    hashed: bool = True,
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Arrays by name and attributes of a file of this kind; those named in `mapped` as `map_array` gives them.

    known: names of the arrays to read, as `state/*`; what else is in the file is left alone. of: which file of a study
    it must be. fits: refuses arrays by their shapes and types before they are read. hashed: False for a file that may
    be of an earlier version, without hashes. Raises InputError if the file is missing, is no HDF5 file, is truncated or
    damaged, is of another kind or another file of a study, has a newer schema, lacks an array that is `required`, or
    holds something else in its place.
    """
    path = Path(path)
    with _opened(path, kind) as file:
        wanted, strict = {}, _is_strict(kind, of)
        for name, item in _items(file, path, known):
            check_array(path, name, item)
            wanted[name] = item
        missing = sorted(set(required) - set(wanted))
        if missing:
            raise InputError(str(path), f"must hold {', '.join(missing)}", sorted(wanted), "Write it again.")
        attributes = _attributes(file, path, kind, of, hashed)
        fits(wanted)
        _check_memory(path, [item for name, item in wanted.items() if name not in mapped])
        arrays = {}
        for name, item in wanted.items():
            arrays[name] = map_array(path, item) if name in mapped else _values(path, name, item, strict)
    return arrays, attributes


def read_hdf5_attributes(path: Path, kind: str, of: str | None = None) -> dict[str, Any]:
    """The attributes of a file of this kind alone. Raises InputError for another file, or one that is damaged."""
    with _opened(Path(path), kind) as file:
        return _attributes(file, Path(path), kind, of)


def read_hdf5_shape(path: Path, kind: str, name: str) -> tuple[int, ...]:
    """Shape of an array of a file of this kind, without reading it. Raises InputError."""
    with _opened(Path(path), kind) as file:
        found = dict(_items(file, Path(path), [name]))
        if name not in found:
            raise InputError(str(path), f"must hold {name}", NOTHING, "Write it again.")
        check_array(Path(path), name, found[name])
        return tuple(found[name].shape)


def check_hdf5(path: Path, of: str | None = None) -> None:
    """Read all of a file, part by part, and compare it with its hashes. Raises InputError."""
    path = Path(path)
    with complete(path), h5py.File(path, "r") as file:
        kind = str(file.attrs.get("kind"))
        _attributes(file, path, kind, of)
        for name, item in _arrays(file).items():
            content = hashlib.sha256()
            for part in _parts(item):
                content.update(np.ascontiguousarray(part))
            _check_hash(path, name, item, content.hexdigest(), _is_strict(kind, of))


def written_hash(path: Path) -> str:
    """The hash that a file says it has; readers check it. Raises InputError for another file."""
    _check_exists(Path(path))
    with complete(Path(path)), h5py.File(path, "r") as file:
        return str(file.attrs.get("hash", NOTHING))


def array_bytes(path: Path) -> int:
    """Bytes of all arrays of an HDF5 file, unpacked. Raises InputError for another file."""
    with complete(Path(path)), h5py.File(path, "r") as file:
        return sum(item.nbytes for item in _arrays(file).values())


def kind_of(path: Path) -> str:
    """What a ptydesign file holds: dataset, reconstruction, ... Raises InputError for other files."""
    path = Path(path)
    _check_exists(path)
    with complete(path), h5py.File(path, "r") as file:
        found = _kind(file)
    if found is None:
        raise InputError(str(path), "must be a file of ptydesign", None, _other_kind(None, "dataset"))
    return found


def map_array(path: Path, item: h5py.Dataset) -> np.ndarray:
    """An array of an open file that need not fit into memory, read-only: the file itself where it holds the array in
    one piece, else an unpacked copy in a temporary file, beside it if possible, that vanishes with the array."""
    if item.chunks is None and item.id.get_offset() is not None and item.size:
        return np.memmap(path, item.dtype, "r", item.id.get_offset(), item.shape)
    copy, start = temporary_array(item.shape, item.dtype, path.parent), 0
    for part in _parts(item):
        copy[start : start + len(part)] = part
        start += len(part)
    copy.flags.writeable = False
    return copy


def temporary_array(shape: tuple[int, ...], dtype: np.dtype, folder: Path | None = None) -> np.ndarray:
    """Room on the disk, in `folder` if it can be written, that vanishes with the array. Raises InputError if there
    isn't so much room."""
    beside = folder if folder is not None and os.access(folder, os.W_OK) else None
    check_room(beside or Path(tempfile.gettempdir()), math.prod(shape) * np.dtype(dtype).itemsize)
    with tempfile.TemporaryFile(dir=beside) as room:
        return np.memmap(room, dtype, "w+", shape=shape)


@contextmanager
def complete(path: Path) -> Iterator[None]:
    """What HDF5 says of a file that is none, is truncated or lacks something, as an InputError."""
    try:
        yield
    except InputError:
        raise
    except (OSError, KeyError, RuntimeError, TypeError, ValueError) as error:
        mend = "Write it again, or give another file; `ptydesign import` makes one of an instrument's file or an array."
        raise InputError(str(path), "must be a readable, complete HDF5 file", str(error), mend) from None


def check_array(path: Path, name: str, item: Any) -> None:
    """Refuse what is no array of numbers, or lies in another file. Raises InputError."""
    mend = f"Write {name} as an array of numbers, in the file itself."
    field = f"{path}: {name}"
    if isinstance(item, h5py.Group):
        inside = ", ".join(list(item)[:4])
        raise InputError(field, "must be an array", f"a group of {inside}" if inside else "an empty group", mend)
    if not isinstance(item, h5py.Dataset):
        raise InputError(field, "must be an array", f"a {type(item).__name__.lower()}", mend)
    if item.dtype.kind not in NUMBERS:
        words = "text" if item.dtype.kind in "OSUT" else f"the type {item.dtype}"
        raise InputError(field, "must be an array of numbers", words, mend)
    elsewhere = outside_files(item)
    if elsewhere:
        raise InputError(field, "must lie in the file itself, not in another one", elsewhere[0], mend)


def outside_files(item: h5py.Dataset) -> list[str]:
    """Other files that an array's values would be read from: external storage, a virtual dataset."""
    found = [str(name) for name, _, _ in item.external or ()]
    if item.is_virtual:
        found += [source.file_name for source in item.virtual_sources() if source.file_name != "."]
    return found


def _items(file: h5py.File, path: Path, known: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """(name, what is there) of all that has a known name. Links to elsewhere are not followed."""
    inner = {str(place) for name in known for place in PurePosixPath(name).parents} - {"."}

    def walk(group: h5py.Group, before: str) -> Iterator[tuple[str, Any]]:
        for name in group:
            full = f"{before}{name}"
            if not any(fnmatch.fnmatchcase(full, pattern) for pattern in (*known, *inner)):
                continue
            link = group.get(name, getlink=True)
            if not isinstance(link, h5py.HardLink):
                mend = f"Write {full} into the file."
                raise InputError(f"{path}: {full}", "must be in the file itself, not a link", link.path, mend)
            item = group[name]
            if isinstance(item, h5py.Group) and any(fnmatch.fnmatchcase(full, pattern) for pattern in inner):
                yield from walk(item, f"{full}/")
            elif any(fnmatch.fnmatchcase(full, pattern) for pattern in known):
                yield full, item

    yield from walk(file, "")


def _arrays(file: h5py.File) -> dict[str, h5py.Dataset]:
    """All arrays in the file itself, by name."""
    found: dict[str, h5py.Dataset] = {}
    file.visititems(lambda name, item: found.update({name: item}) if isinstance(item, h5py.Dataset) else None)
    return found


def _parts(item: h5py.Dataset) -> Iterator[np.ndarray]:
    if not item.shape:
        yield item[()]
        return
    step = max(1, MAPPED_BYTES // max(1, item.nbytes // max(1, len(item))))
    for start in range(0, len(item), step):
        yield item[start : start + step]


def _values(path: Path, name: str, item: h5py.Dataset, strict: bool) -> np.ndarray:
    values = item[()]
    _check_hash(path, name, item, hashlib.sha256(np.ascontiguousarray(values)).hexdigest(), strict)
    return values


def _is_strict(kind: str, of: str | None) -> bool:
    """Whether a file must hold what was written: all but those that users change, unless a study made them."""
    return kind not in CHANGED_BY_USERS or of is not None


def _check_hash(path: Path, name: str, item: h5py.Dataset, found: str, strict: bool) -> None:
    if found != item.attrs.get("hash", found):
        _differs(path, strict, f"the array {name} differs")


def _attributes(file: h5py.File, path: Path, kind: str, of: str | None, hashed: bool = True) -> dict[str, Any]:
    """The JSON attributes of an open file, whose hash and whose place in a study are right."""
    try:
        content = json.loads(file.attrs["attributes"])
    except ValueError as error:
        raise InputError(f"{path}: attributes", "must be JSON", str(error), "Write it again.") from None
    if not isinstance(content, dict):
        mend = "Write it again; docs/files.md says what it holds."
        raise InputError(f"{path}: attributes", "must be a JSON mapping of names to values", content, mend)
    must = hashed and _is_strict(kind, of)
    if file.attrs.get("hash") != _hash_of(file) and ("hash" in file.attrs or must):
        words = "attributes or arrays differ" if "hash" in file.attrs else EARLIER
        _differs(path, _is_strict(kind, of), words)
    if of is not None:
        check_place(path, str(file.attrs.get("of", "")), of)
    return content


def check_place(path: Path, found: str, wanted: str) -> None:
    """Refuse a file that says that it is another file of a study than is wanted, or made with other settings, where
    those are wanted. Raises InputError."""
    place, _, settings = found.partition(SETTINGS)
    wanted_place, _, wanted_settings = wanted.partition(SETTINGS)
    if place != wanted_place:
        raise InputError(str(path), f"must be {wanted_place}", place or NOTHING, REDO)
    if wanted_settings and settings != wanted_settings:
        raise InputError(str(path), f"{OTHERS} (hash {wanted_settings})", settings or EARLIER, REDO)


def _differs(path: Path, strict: bool, words: str) -> None:
    if strict:
        raise InputError(str(path), "must hold what was written", words, REDO)
    warnings.warn(f"{path} does not hold what ptydesign wrote: was it changed on purpose?", stacklevel=1)


@contextmanager
def _opened(path: Path, kind: str) -> Iterator[h5py.File]:
    """A file of this kind, open. Raises InputError for another one."""
    _check_exists(path)
    with complete(path), h5py.File(path, "r") as file:
        found = _kind(file)
        if found != kind:
            raise InputError(str(path), f"must be a ptydesign {kind} file", found or NOTHING, _other_kind(found, kind))
        _check_schema(file, path)
        yield file


def _check_exists(path: Path) -> None:
    if not path.is_file():
        raise InputError("file", "must exist", str(path), near_files(path) or "Check the path.")


def _kind(file: h5py.File) -> str | None:
    found = file.attrs.get("kind")
    return None if found is None else str(found)


def _check_schema(file: h5py.File, path: Path) -> None:
    schema = file.attrs.get("schema", SCHEMA)
    number = isinstance(schema, int | np.integer) and not isinstance(schema, bool)
    if not number or not 1 <= schema <= SCHEMA:
        mend = "Update ptydesign, or write it again." if number and schema > SCHEMA else "Write it again."
        raise InputError(f"{path}: schema", f"must be a whole number from 1 to {SCHEMA}", schema, mend)


def _check_memory(path: Path, items: Iterable[h5py.Dataset]) -> None:
    """Refuse arrays that say they are larger than this machine's memory."""
    needed, room = sum(item.nbytes for item in items), memory_bytes()
    if needed > room:
        rule = f"must have arrays that fit into this machine's memory ({room / GIB:.1f} GiB)"
        raise InputError(str(path), rule, f"{needed / GIB:.1f} GiB", "Write a smaller file, or use a larger machine.")


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
