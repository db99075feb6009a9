"""Writing files: whole or not at all, under a temporary name that is then renamed; a disk that refuses says why."""

from __future__ import annotations

import errno
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
MIB = 2**20


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
    try:
        with written(path, needed):
            yield temporary
            temporary.chmod(0o644)
            temporary.replace(path)
    finally:
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
        if number in (
            errno.EACCES,
            errno.EPERM,
            errno.EROFS,
            errno.ENOTDIR,
            errno.EEXIST,
            errno.ENAMETOOLONG,
            errno.EFBIG,
        ):
            mend = "Write to another folder, or change what is in the way."
            raise InputError(str(path), "must be a file that can be written", os.strerror(number), mend) from None
        raise


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
    wanted = f" (up to {needed / MIB:,.1f} MiB)" if needed > MIB else ""
    mend = "Free some room and run the same command again; what is finished is kept."
    return str(path), f"must fit on its disk{wanted}", f"{free_bytes(path) / MIB:,.1f} MiB free", mend
