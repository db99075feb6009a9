"""The point store: every finished trial under a hash of everything that determines it.

Files appear whole or not at all (temporary name, then renamed), so a killed job loses only the trial that it was
working on, and two jobs that compute the same trial write the same content.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ptydesign import io

FOLDER = ".points"


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


class PointStore:
    """Trials by hash, in `<root>/.points/`. A record is {inputs, result, cost}; only `result` may enter a table."""

    def __init__(self, root: Path):
        self.folder = Path(root) / FOLDER

    def path(self, key: str) -> Path:
        """Where a record lies."""
        return self.folder / key[:2] / f"{key}.json"

    def images_path(self, key: str) -> Path:
        """Where a trial's images lie, if it has any."""
        return self.folder / key[:2] / f"{key}.h5"

    def get(self, key: str) -> dict[str, Any] | None:
        """The record, or None if there is no readable one."""
        with suppress(OSError, ValueError):
            record = json.loads(self.path(key).read_text(encoding="utf-8"))
            if isinstance(record, dict) and "result" in record:
                return record
        return None

    def put(self, key: str, record: Mapping[str, Any]) -> None:
        """Write a record."""
        io.write_json(self.path(key), dict(record))
