"""Files of lines of JSON that others append to: each call reads what is new."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

MOST_BYTES = 2**28  # of one file: more is no progress of a run


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
                with suppress(ValueError):
                    item = json.loads(line)
                    if isinstance(item, dict):
                        self.items.append(item)
            return whole > 0
        return False
