"""The progress of a reconstruction: sweeps, loss, time per sweep, time left."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any, TextIO

PLAIN_EVERY_S = 10.0  # between lines where nothing can be redrawn: a log file, a pipe


class SweepBar:
    """A context manager and an observer of `reconstruct`: called after each sweep with (sweep, loss, state).

    total: sweeps of the whole plan. seconds, work_gflop: its budget, which may end it sooner; then progress is the part
    of it that is spent. fewer: whether something else may end it, so that the time left is the most. In a terminal or
    a notebook it redraws one line; elsewhere it prints a line now and then.
    """

    def __init__(
        self,
        total: int,
        file: TextIO | None = None,
        seconds: float | None = None,
        work_gflop: float | None = None,
        fewer: bool = False,
    ):
        self.total, self.file, self.fewer = total, file or sys.stderr, fewer
        self.seconds, self.work_gflop = seconds, work_gflop
        self._live: Any = None
        self._task: Any = None
        self._start = self._printed = 0.0
        self._first, self._first_s, self._first_gflop = 0, 0.0, 0.0
        self._spent_gflop = self._spent_s = 0.0

    def __enter__(self) -> SweepBar:
        self._start = self._printed = time.monotonic()
        if self.file.isatty() or _in_notebook():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn

            texts = [TextColumn(f"{{task.fields[{name}]}}") for name in ("count", "words")]
            columns = TextColumn("sweep"), texts[0], BarColumn(), texts[1]
            self._live = Progress(*columns, console=Console(file=self.file))
            self._task = self._live.add_task("", total=1.0, count=f"0/{self.total}", words="compiling")
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def spend(self, work_gflop: float, seconds: float) -> None:
        """What the run has spent so far, before a resume too; told before each call."""
        self._spent_gflop, self._spent_s = work_gflop, seconds

    def __call__(self, sweep: int, loss: float, state: Any = None) -> None:
        now = time.monotonic()
        if self._first == 0:  # a resumed run begins with a later one
            # holds the compilation, so it says nothing of the others
            self._first, self._first_s, self._first_gflop = sweep, now - self._start, self._spent_gflop
        count, words = self.count(sweep), self.words(sweep, loss, now - self._start)
        if self._live is not None:
            self._live.update(self._task, completed=max(self._parts(sweep)), count=count, words=words)
        elif sweep in (self._first, self._first + 1, self.total) or now - self._printed >= PLAIN_EVERY_S:
            self._printed = now
            print(f"sweep {count}, {words}", file=self.file, flush=True)

    def _parts(self, sweep: int) -> tuple[float, float, float]:
        """What is done of the sweeps, spent of the seconds and of the work, each from 0 to 1."""
        seconds = self._spent_s / self.seconds if self.seconds is not None else 0.0
        work = self._spent_gflop / self.work_gflop if self.work_gflop is not None else 0.0
        return sweep / self.total, min(seconds, 1.0), min(work, 1.0)

    def count(self, sweep: int) -> str:
        """`12/40`, or `12 (30 % of 60 s)` where the budget will be spent before the sweeps are done."""
        parts = self._parts(sweep)
        if max(parts) == parts[0]:
            return f"{sweep}/{self.total}"
        limit = f"{self.seconds:g} s" if max(parts) == parts[1] else f"{self.work_gflop:g} GFLOP"
        return f"{sweep} ({100 * max(parts):.0f} % of {limit})"

    def words(self, sweep: int, loss: float, elapsed_s: float) -> str:
        """`loss 0.0312, 0.21 s per sweep, 12 s left`, or `at most 12 s left`."""
        done = sweep - self._first
        if done == 0 and sweep < self.total:
            return f"loss {loss:.4g}, {elapsed_s:.2g} s with compiling"
        each = (elapsed_s - self._first_s) / done if done > 0 else elapsed_s
        left = [each * (self.total - sweep)]
        if self.seconds is not None:
            left.append(self.seconds - self._spent_s)
        if self.work_gflop is not None and self._spent_gflop > 0:
            gflop = (self._spent_gflop - self._first_gflop) / done if done > 0 else self._spent_gflop / sweep
            left.append(each * (self.work_gflop - self._spent_gflop) / gflop)
        most = "at most " if self.fewer else ""
        return f"loss {loss:.4g}, {each:.2g} s per sweep, {most}{duration(max(0.0, min(left)))} left"


def _in_notebook() -> bool:
    """Whether this is a notebook's kernel, which redraws as a terminal does."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return type(shell).__name__ == "ZMQInteractiveShell"


def duration(seconds: float) -> str:
    """`45 s`, `12 min`, `3.2 h`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
