"""Files of lines of JSON that others append to: each call reads what is new."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from pathlib import Path
from typing import Any

MOST_BYTES = 2**28  # of one file: more is no progress of a run
MOST = 10**9  # of sweeps, trials or cores: more is nobody's count


def number(value: Any) -> float | None:
    """A finite number as a float; None for anything else that a file may say."""
    with suppress(OverflowError):  # an integer that no float holds
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            return float(value)
    return None


def whole(value: Any) -> int | None:
    """A count; None for anything else that a file may say."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST else None


class Lines:
    """The lines of a file so far, as dicts; what is no whole line of JSON is passed over."""

    def __init__(self, path: Path):
        self.path = Path(path)
        self.items: list[dict[str, Any]] = []
        self._offset, self._file = 0, None

    def update(self) -> bool:
        """Read what was appended; True if there was any. A file that was written anew is read anew."""
        try:
            stat = self.path.stat()
        except OSError:
            return False
        if stat.st_size < self._offset or (self._file is not None and stat.st_ino != self._file):
            self.items, self._offset = [], 0
        self._file = stat.st_ino
        if stat.st_size == self._offset or stat.st_size > MOST_BYTES:
            return False
        with suppress(OSError), self.path.open("rb") as file:
            file.seek(self._offset)
            text = file.read()
            whole = text.rfind(b"\n") + 1  # the last line may be half written
            self._offset += whole
            for line in text[:whole].splitlines():
                with suppress(ValueError, RecursionError):
                    item = json.loads(line)
                    if isinstance(item, dict):
                        self.items.append(item)
            return whole > 0
        return False
