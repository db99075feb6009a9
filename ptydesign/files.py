"""Writing files: whole or not at all, under a temporary name that is then renamed; a disk that refuses says why."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ptydesign.errors import InputError

FULL = (errno.ENOSPC, errno.EDQUOT)
IN_THE_WAY = (
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.EFBIG,
)  # fmt: skip
KIB, MIB = 2**10, 2**20


@contextmanager
def atomic(path: Path, needed: int = 0) -> Iterator[Path]:
    """A temporary path in the same folder; renamed to `path` when the block ends well, removed when it does not.

    needed: bytes that it may take, to be named if the disk is full. Raises InputError for what the disk refuses.
    """
    path = Path(path)
    with written(path, needed):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name[:100]}.", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    with written(path, needed):
        try:
            yield temporary
            temporary.chmod(0o644)
            temporary.replace(path)
        finally:  # before the disk's free room is told
            with suppress(FileNotFoundError):
                temporary.unlink()


@contextmanager
def written(path: Path, needed: int = 0) -> Iterator[None]:
    """What the disk says of a file that can't be written, as an InputError. needed: bytes that it may take."""
    try:
        yield
    except OSError as error:
        number = error.errno or _number_in(str(error))
        if number in FULL:
            raise InputError(*_full(path, needed)) from None
        if number in IN_THE_WAY:
            mend = "Write to another folder, or change what is in the way."
            raise InputError(str(path), "must be a file that can be written", os.strerror(number), mend) from None
        raise


class Disk(io.FileIO):
    """A file for a library that crashes when it can't write, as HDF5 does when it closes one: it is told that all is
    well, and what the disk said is kept."""

    refused: OSError | None = None

    def write(self, data: Any) -> int:
        """Write all of the data, as long as the disk takes it."""
        left = memoryview(data).cast("B")
        size = len(left)
        with self._kept():
            while len(left) and self.refused is None:
                left = left[super().write(left) :]
        return size

    def truncate(self, size: int | None = None) -> int:
        """Set the file's size, as long as the disk takes it."""
        with self._kept():
            return super().truncate(size)
        return size or 0

    @contextmanager
    def _kept(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.refused = error

    def check(self) -> None:
        """Raises what the disk said."""
        if self.refused is not None:
            raise self.refused


def check_room(folder: Path, needed: int = 0) -> None:
    """Refuse work whose results would not fit on the disk. needed: bytes. Raises InputError."""
    if free_bytes(folder) < max(needed, MIB):
        raise InputError(*_full(folder, needed))


def free_bytes(path: Path) -> int:
    """Room on the disk that a path lies on, or will."""
    place = Path(path).absolute()
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically (UTF-8)."""
    content = text.encode("utf-8")
    with atomic(path, len(content)) as temporary:
        temporary.write_bytes(content)


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically; NaN is refused, keys keep their order."""
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def _number_in(text: str) -> int | None:
    """HDF5 puts the error's number into words."""
    match = re.search(r"errno = (\d+)", text)
    return int(match[1]) if match else None


def _full(path: Path, needed: int) -> tuple[str, str, str, str]:
    wanted = f" (up to {_size(needed)})" if needed else ""
    mend = "Free some room and run the same command again; what is finished is kept."
    return str(path), f"must fit on its disk{wanted}", f"{_size(free_bytes(path))} free", mend


def _size(count: int) -> str:
    return f"{count / MIB:,.1f} MiB" if count >= MIB else f"{count / KIB:,.1f} KiB"
