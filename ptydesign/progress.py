"""The progress of a reconstruction: sweeps, loss, time per sweep, time left."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any, TextIO

PLAIN_EVERY_S = 10.0  # between lines where nothing can be redrawn: a log file, a pipe


class SweepBar:
    """A context manager and an observer of `reconstruct`: called after each sweep with (sweep, loss, state).

    total: sweeps of the whole plan. seconds: its budget, which may end it sooner; fewer: whether something else may, so
    that the time left is the most. In a terminal it redraws one line; elsewhere it prints a line now and then.
    """

    def __init__(self, total: int, file: TextIO | None = None, seconds: float | None = None, fewer: bool = False):
        self.total, self.file, self.seconds, self.fewer = total, file or sys.stderr, seconds, fewer
        self._live: Any = None
        self._task: Any = None
        self._start = self._printed = 0.0
        self._first, self._first_s = 0, 0.0

    def __enter__(self) -> SweepBar:
        self._start = self._printed = time.monotonic()
        if self.file.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

            columns = TextColumn("sweep"), MofNCompleteColumn(), BarColumn(), TextColumn("{task.fields[words]}")
            self._live = Progress(*columns, console=Console(file=self.file))
            self._task = self._live.add_task("", total=self.total, words="compiling")
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def __call__(self, sweep: int, loss: float, state: Any = None) -> None:
        now = time.monotonic()
        if self._first == 0:  # a resumed run begins with a later one
            # holds the compilation, so it says nothing of the others
            self._first, self._first_s = sweep, now - self._start
        words = self.words(sweep, loss, now - self._start)
        if self._live is not None:
            self._live.update(self._task, completed=sweep, words=words)
        elif sweep in (self._first, self.total) or now - self._printed >= PLAIN_EVERY_S:
            self._printed = now
            print(f"sweep {sweep}/{self.total}, {words}", file=self.file, flush=True)

    def words(self, sweep: int, loss: float, elapsed_s: float) -> str:
        """`loss 0.0312, 0.21 s per sweep, 12 s left`, or `at most 12 s left`."""
        done = sweep - self._first
        each = (elapsed_s - self._first_s) / done if done > 0 else elapsed_s
        left = each * (self.total - sweep)
        if self.seconds is not None:
            left = min(left, max(0.0, self.seconds - elapsed_s))
        most = "at most " if self.fewer else ""
        return f"loss {loss:.4g}, {each:.2g} s per sweep, {most}{duration(left)} left"


def duration(seconds: float) -> str:
    """`45 s`, `12 min`, `3.2 h`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
