"""HDF5 files that others made, looked at by a process of its own before this one reads them.

The HDF5 library may never come back from a damaged file, or break down in it (HDFGroup/hdf5, issue 1707), and while it
is in there nothing of Python's runs, not even Ctrl-C. A child may be lost.
"""

from __future__ import annotations

import functools
import json
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from ptydesign.errors import InputError

SIGNATURE = b"\x89HDF\r\n\x1a\n"  # at the start of a file, or behind a block of a user's own: HDF5 format, II.A
PLACES = (0, 512, 1024, 2048)
MOST_S = 5  # of processor time for a file: what is done takes milliseconds
MOST_ITEMS = 1000  # groups and arrays of a file that are looked at, with their attributes

# A dot for each file. Errors that the library tells are left to the reader, which has words for them.
_LOOK = """
import contextlib, json, resource, sys
paths, most_s, most = json.load(sys.stdin)
import h5py
for path in paths:
    used = resource.getrusage(resource.RUSAGE_SELF)
    limit = int(used.ru_utime + used.ru_stime) + most_s
    resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.getrlimit(resource.RLIMIT_CPU)[1]))
    left = most
    def look(name, item):
        global left
        left -= 1
        with contextlib.suppress(Exception):
            dict(item.attrs)
        return None if left else True
    with contextlib.suppress(Exception), h5py.File(path, "r") as file:
        look("", file)
        file.visititems(look)
    print(end=".", flush=True)
"""


def check_readable(path: Path) -> None:
    """Refuse an HDF5 file in which the library finds no end, or breaks down; other files are left to their readers. A
    command may ask twice of a file. Raises InputError."""
    if path.is_file() and (found := _trouble(path, path.stat().st_mtime_ns)):
        mend = "It is damaged: write it again, or give another file."
        raise InputError(str(path), "must be a file that the HDF5 library can read", found, mend)


@functools.lru_cache(64)
def _trouble(path: Path, changed_ns: int) -> str:
    return unreadable([path]).get(path, "")


def unreadable(paths: Iterable[Path]) -> dict[Path, str]:
    """What the library does in those of some HDF5 files that it can't be trusted with."""
    left, found = [path for path in paths if _is_hdf5(path)], {}
    while left:
        words = json.dumps([[str(path) for path in left], MOST_S, MOST_ITEMS])
        command = [sys.executable, "-I", "-c", _LOOK]
        child = subprocess.run(
            command, input=words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False
        )
        if child.returncode >= 0:
            break
        number = len(child.stdout)
        ended = -child.returncode
        endless = ended in (signal.SIGXCPU, signal.SIGKILL)
        found[left[number]] = f"no end in {MOST_S} s" if endless else str(signal.strsignal(ended))
        left = left[number + 1 :]
    return found


def _is_hdf5(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            start = file.read(PLACES[-1] + len(SIGNATURE))
    except OSError:  # as for a folder
        return False
    return any(start[place:].startswith(SIGNATURE) for place in PLACES)
