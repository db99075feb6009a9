"""Jobs end when the Snakemake that started them is gone, and Snakemake ends when `ptydesign plan` is: `kill -9` of one
process leaves none that would write the same files as those of the next start."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import psutil

PARENT = "PTYDESIGN_PARENT"  # the process that started this one; not getppid: there are shells in between
LOOK_S = 1.0
PATIENCE_S = 30.0  # for jobs to end by themselves


def named() -> dict[str, str]:
    """This process's environment for those that it starts."""
    return {**os.environ, PARENT: str(os.getpid())}


def end_with_parent(end: Callable[[], None]) -> None:
    """Call `end`, in another thread, once the process that started this one is gone; never if none named itself."""
    pid = os.environ.get(PARENT, "")
    if pid.isdecimal():
        threading.Thread(target=_watch, args=(int(pid), end), name="parent", daemon=True).start()


def end_job() -> None:
    """Ends a job at once: its files are whole or not there."""
    os.kill(os.getpid(), signal.SIGTERM)


def end_group() -> None:
    """Ends this process's group, its jobs too, as Ctrl-C does; what doesn't listen is killed."""
    os.killpg(os.getpgrp(), signal.SIGINT)
    time.sleep(PATIENCE_S)
    os.killpg(os.getpgrp(), signal.SIGKILL)


def _watch(pid: int, end: Callable[[], None]) -> None:
    while _alive(pid):
        time.sleep(LOOK_S)
    end()


def _alive(pid: int) -> bool:
    with suppress(psutil.Error):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False
