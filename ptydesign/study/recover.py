"""What earlier runs left behind, put in order before a study runs: locks and temporary files of dead processes, damaged
files, half-written compiled code. Each with a word.

Snakemake's locks don't say whose they are, so every run is registered in `.snakemake/ptydesign/`, by its host, process
and start. Locks are taken away if all registered runs were of this host and none of them lives.
"""

from __future__ import annotations

import atexit
import os
import socket
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from ptydesign import compiled
from ptydesign.files import is_alive, leftovers
from ptydesign.study.damage import remove_damaged
from ptydesign.study.kind import Run
from ptydesign.study.store import cache_folder

WORKFLOW = Path(".snakemake")
RUNS, LOCKS = "ptydesign", "locks"


def put_in_order(root: Path, runs: Iterable[Run], workflow: Path = WORKFLOW) -> None:
    """Make ready for these studies to run in a workplace. root: the results folder; workflow: Snakemake's folder."""
    died = remove_stale_locks(workflow)
    register(workflow)
    if died:
        old = leftovers(root)
        for file in old:
            file.unlink(missing_ok=True)
        if old:
            print(f"{root}: {len(old)} temporary files of runs that were killed removed", file=sys.stderr)
    compiled.remove_broken(cache_folder(root) / "jax")
    for run in runs:
        remove_damaged(run)


def remove_stale_locks(workflow: Path) -> bool:
    """Take away the locks of runs that died; whether any did. Locks are kept while any run may live."""
    found = [file for file in (Path(workflow) / RUNS).glob("*") if file.is_file()]
    own = [file for file in found if file.name.startswith(f"{_host()}:")]
    dead = [file for file in own if not _lives(file)]
    for file in dead:
        file.unlink(missing_ok=True)
    locks = list((Path(workflow) / LOCKS).glob("*.lock"))
    if dead and locks and len(dead) == len(found):
        for file in locks:
            file.unlink(missing_ok=True)
        words = ", ".join(file.name.split(":")[1] for file in dead)
        print(f"the lock of a run that died (process {words}) was removed", file=sys.stderr)
    return bool(dead)


def register(workflow: Path) -> None:
    """Note that this process runs here, until it ends."""
    file = Path(workflow) / RUNS / f"{_host()}:{os.getpid()}:{_started(os.getpid())}"
    with suppress(OSError):  # without it locks are removed by hand, as Snakemake says
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
        atexit.register(file.unlink, missing_ok=True)


def _lives(file: Path) -> bool:
    _, process, started = file.name.split(":")
    return is_alive(int(process)) and _started(int(process)) == started


def _started(process: int) -> str:
    """When a process began, in ticks since the machine did; tells it from a later one of the same number."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return "0"


def _host() -> str:
    return socket.gethostname().replace(":", "_").replace("/", "_")
