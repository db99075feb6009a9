"""The point store: every finished trial under a hash of everything that determines it.

Files appear whole or not at all (temporary name, then renamed), so a killed job loses only the trial that it was
working on, and two jobs that compute the same trial write the same content.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from ptydesign import io
from ptydesign.errors import InputError

FOLDER = ".points"
HASH = "hash"


def digest(content: Any) -> str:
    """Hash (32 hexadecimal digits) of JSON-able content; the order of keys doesn't matter."""
    text = json.dumps(content, sort_keys=True, allow_nan=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def seed_of(*content: Any) -> int:
    """A seed in [0, 2^31) that depends on content only, never on a place in a list."""
    return int(digest(list(content))[:12], 16) % 2**31


def cache_folder(root: Path) -> Path:
    """Where potentials and compiled code are kept: $PTYDESIGN_CACHE, or results/.cache."""
    return Path(os.environ.get("PTYDESIGN_CACHE") or Path(root) / ".cache")


@cache
def _tell_without_hash(folder: Path) -> None:
    """Once in a process: there may be thousands of them."""
    words = "has records without a hash, which may hold anything: their trials run again"
    print(f"warning: {folder} {words}", file=sys.stderr)


class PointStore:
    """Trials by hash, in `<root>/.points/`. A record is {inputs, result, cost}, only `result` may enter a table; `hash`
    is of what was written. One that isn't what was written is no record: the trial runs again."""

    def __init__(self, root: Path):
        self.folder = Path(root) / FOLDER

    def path(self, key: str) -> Path:
        """Where a record lies."""
        return self.folder / key[:2] / f"{key}.json"

    def images_path(self, key: str) -> Path:
        """Where a trial's images lie, if it has any."""
        return self.folder / key[:2] / f"{key}.h5"

    def get(self, key: str) -> dict[str, Any] | None:
        """The record, or None if there is none, with a word if there is one that is damaged or another trial's."""
        path = self.path(key)
        if not path.is_file():
            return None
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if HASH not in content:
                _tell_without_hash(self.folder)
                return None
            own = content.pop(HASH)
            if set(content) - {"cost"} != {"inputs", "result"} or own != digest(content):
                raise ValueError("it is not what was written")
            if digest(content["inputs"]) != key:
                raise ValueError("its inputs are another trial's")
        except (OSError, ValueError, TypeError, AttributeError) as error:
            print(f"warning: {path} is damaged ({error}): its trial runs again", file=sys.stderr)
            return None
        return content

    def put(self, key: str, record: Mapping[str, Any]) -> None:
        """Write a record. Its key must be the digest of its inputs."""
        io.write_json(self.path(key), {HASH: digest(dict(record)), **record})

    def put_images(self, key: str, images: Mapping[str, Any]) -> None:
        """Write a trial's images, {arrays, attrs}."""
        io.write_images(self.images_path(key), {"trial": images}, key)

    def images(self, key: str) -> dict[str, Any]:
        """A trial's images. Raises InputError if they aren't there, or not what was written."""
        path = self.images_path(key)
        try:
            return io.read_images(path, key)["trial"]
        except InputError as error:
            rule = f"must be there and whole ({error})"
            mend = "Delete the study's results folder and run its snakemake command again: its trials are in the store."
            raise InputError(str(path), rule, "no such images", mend) from None

    def has_images(self, key: str) -> bool:
        """Whether a trial's images are there and whole; a word if they are damaged."""
        path = self.images_path(key)
        try:
            if path.is_file():
                io.check_hdf5(path, key)
                return True
        except InputError as error:
            print(f"warning: {error}", file=sys.stderr)
        return False
