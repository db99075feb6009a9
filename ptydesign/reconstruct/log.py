"""A run's own log for viewers, whatever started it: what ptydesign logs, warnings, and sweeps now and then."""

from __future__ import annotations

import logging
import time
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

FILE = "log.txt"
EVERY_S = 4.0  # between two sweeps that are told
PACKAGE = logging.getLogger("ptydesign")


class RunLog(logging.Handler):
    """A context manager: lines of this process's ptydesign go to log.txt of a folder, each with its time.

    A disk that is full or gone ends the log, not the run. fresh: an earlier run's log is forgotten."""

    def __init__(self, folder: Path, fresh: bool = True):
        super().__init__(logging.INFO)
        self.path, self._fresh = Path(folder) / FILE, fresh
        self._file: TextIO | None = None
        self._swept = -float("inf")

    def __enter__(self) -> RunLog:
        with suppress(OSError):
            self._file = self.path.open("w" if self._fresh else "a", buffering=1, encoding="utf-8")
        self._level, self._shown = PACKAGE.level, warnings.showwarning
        PACKAGE.addHandler(self)
        PACKAGE.setLevel(logging.INFO)
        warnings.showwarning = self._warned
        return self

    def __exit__(self, *_: Any) -> None:
        warnings.showwarning = self._shown
        PACKAGE.setLevel(self._level)
        PACKAGE.removeHandler(self)
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
            self._file = None

    def say(self, words: str) -> None:
        """Write a line."""
        if self._file is not None:
            with suppress(OSError, ValueError):
                self._file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {words}\n")

    def due(self) -> bool:
        """Whether a sweep is to be told now: the first one, and then one every few seconds."""
        now = time.monotonic()
        if now - self._swept < EVERY_S:
            return False
        self._swept = now
        return True

    def emit(self, record: logging.LogRecord) -> None:
        """What ptydesign logs."""
        before = "warning: " if record.levelno >= logging.WARNING else ""
        self.say(before + record.getMessage())

    def _warned(
        self, message: Any, category: Any, filename: str, lineno: int, file: Any = None, line: Any = None
    ) -> None:
        self.say(f"warning: {message}")
        self._shown(message, category, filename, lineno, file, line)
