"""What a killed run leaves behind: Snakemake's lock, and temporary files. Who runs here is noted in .snakemake/runs/.

A note is taken away when its run ends. One that is still there tells of a run that goes on, or of one that was killed.
"""

from __future__ import annotations

import atexit
import json
import platform
import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from ptydesign import files

NOTES, LOCKS = Path("runs"), Path("locks")  # in .snakemake


@dataclass(frozen=True)
class Note:
    """A run of Snakemake: its machine and process, and when that started, since numbers of processes come again."""

    host: str
    pid: int
    started: float

    @property
    def here(self) -> bool:
        """Whether it was made on this machine, so that its end can be told."""
        return self.host == platform.node()

    @property
    def alive(self) -> bool:
        """Whether the process is still there; only of a note that was made here."""
        try:
            process = psutil.Process(self.pid)
            return abs(process.create_time() - self.started) < 2 and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False


def enter(snakemake: Path, results: Iterable[Path], cache: Path) -> list[str]:
    """Note that this process runs here, after what dead runs left is removed; returns what to tell of it.

    snakemake: the folder `.snakemake`. results, cache: folders whose temporary files go if their writer is dead.
    """
    notes = {file: note for file in sorted((snakemake / NOTES).glob("*.json")) if (note := _read(file))}
    dead = [file for file, note in notes.items() if note.here and not note.alive]
    others = [note for file, note in notes.items() if file not in dead]
    for file in dead:
        file.unlink(missing_ok=True)
    _write_own(snakemake / NOTES)
    if others:
        return [_goes_on(note) for note in others]
    told = []
    if dead and any((snakemake / LOCKS).glob("*.lock")):
        shutil.rmtree(snakemake / LOCKS, ignore_errors=True)
        killed = ", ".join(str(notes[file].pid) for file in dead)
        told.append(f"the lock of a run that was killed (process {killed}) is removed")
    found = [path for folder in (*results, cache) for path in files.leftovers(folder)]
    for path in found:
        path.unlink(missing_ok=True)
    for folder in snakemake.glob("tmp.*"):  # scripts of jobs that went to a cluster
        shutil.rmtree(folder, ignore_errors=True)
    if found:
        told.append(f"{len(found)} temporary file{'s' * (len(found) > 1)} of a run that was killed: removed")
    return told


def forget(snakemake: Path) -> None:
    """Remove all notes: somebody said that nobody runs here (`snakemake --unlock`)."""
    shutil.rmtree(snakemake / NOTES, ignore_errors=True)


def _goes_on(note: Note) -> str:
    if note.here:
        return f"process {note.pid} runs snakemake in this folder too"
    mend = "if it was killed: snakemake --unlock, then the command again"
    return f"process {note.pid} of {note.host} may run snakemake in this folder too; {mend}"


def _write_own(folder: Path) -> None:
    me = psutil.Process()
    file = folder / f"{platform.node()}-{me.pid}.json"
    folder.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(asdict(Note(platform.node(), me.pid, me.create_time()))), encoding="utf-8")
    atexit.register(file.unlink, missing_ok=True)


def _read(file: Path) -> Note | None:
    """A note; none of one that a kill cut off: its run did nothing yet."""
    try:
        return Note(**json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
