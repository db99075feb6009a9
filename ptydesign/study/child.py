"""A command that ends when this process is told to end: Ctrl-C, `kill PID`, a terminal that is closed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ptydesign.study.parent import PATIENCE_S, named

STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Snakemake, which an interrupt ends without a word until it runs jobs (`hear_interrupts`): while it starts, it has
# nothing to tidy up. -P: see the rules.
SNAKEMAKE = (
    sys.executable,
    "-P",
    "-c",
    "import signal; signal.signal(signal.SIGINT, signal.SIG_DFL); from snakemake.cli import main; main()",
)


def run_to_its_end(command: Sequence[str], folder: Path) -> int:
    """Run a command in a folder; returns its exit status.

    Raises KeyboardInterrupt when this process is told to end, after the command and all that it started have ended.
    """
    with stoppable():
        # a group of its own, so that all that it started can be told
        process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, process_group=0, env=named())
        try:
            return process.wait()
        except KeyboardInterrupt:
            _end(process)
            raise


def hear_interrupts() -> None:
    """Snakemake's jobs begin: an interrupt is one that Python raises."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _end(process: subprocess.Popen) -> None:
    """Interrupt a process and its group, as Ctrl-C does; kill what doesn't listen. Snakemake takes its lock away."""
    for number, seconds in ((signal.SIGINT, PATIENCE_S), (signal.SIGKILL, None)):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
            break
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # jobs that outlive Snakemake


@contextmanager
def stoppable() -> Iterator[None]:
    """Let all signals that end a process do what Ctrl-C does; only a program's main thread can. Ctrl-C's own is among
    them since a shell that starts something in the background lets it ignore that, and so what it starts."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in STOPS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
