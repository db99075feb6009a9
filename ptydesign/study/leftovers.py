"""What a killed run leaves behind: Snakemake's lock, and temporary files. Who runs here is noted in .snakemake/runs/.

A note is taken away when its run ends. One that is still there tells of a run that goes on, or of one that was killed.
"""

from __future__ import annotations

import atexit
import json
import os
import platform
import re
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil

from ptydesign.errors import InputError

NOTES, LOCKS = Path("runs"), Path("locks")  # in .snakemake
TEMPORARY = re.compile(r"\..+\.[a-z0-9_]{8}(\.\w+)?")  # as ptydesign.files.atomic calls them
ABANDONED_S = 24 * 3600.0  # a temporary file of that age belongs to nobody, whoever else uses its folder


@dataclass(frozen=True)
class Note:
    """A run of Snakemake: its machine and process, and when that started, since numbers of processes come again."""

    host: str
    pid: int
    started: float
    results: list[str] = field(default_factory=list)  # folders of the studies that it runs

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


def enter(snakemake: Path, results: Iterable[Path], cache: Path, store: Path | None = None) -> list[str]:
    """Note that this process runs here, after what dead runs left is removed; returns what to tell of it.

    snakemake: the folder `.snakemake`. results: folders of the studies that are run. Temporary files are removed from
    them and from `store` if nobody else runs here; from `cache`, which other folders' runs may share, only those of
    yesterday. Raises InputError if one of the studies runs already.
    """
    results = list(results)
    notes = {file: note for file in sorted((snakemake / NOTES).glob("*.json")) if (note := _read(file))}
    dead = [file for file, note in notes.items() if note.here and not note.alive]
    others = [note for file, note in notes.items() if file not in dead]
    for file in dead:
        file.unlink(missing_ok=True)
    for note in others:
        _check_not_run(note, results)
    _write_own(snakemake / NOTES, results)
    if others:
        return [_goes_on(note) for note in others]
    told = []
    if dead and any((snakemake / LOCKS).glob("*.lock")):
        shutil.rmtree(snakemake / LOCKS, ignore_errors=True)
        killed = ", ".join(str(notes[file].pid) for file in dead)
        told.append(f"the lock of a run that was killed (process {killed}) is removed")
    found = [path for folder in (*results, *([store] if store else [])) for path in temporary_files(folder)]
    found += [path for path in temporary_files(cache) if _age_s(path) > ABANDONED_S]
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


def temporary_files(folder: Path) -> Iterator[Path]:
    """Files that were being written, in a folder and below."""
    for place, _, files in os.walk(folder):
        yield from (Path(place) / file for file in files if TEMPORARY.fullmatch(file))


def _check_not_run(note: Note, results: Iterable[Path]) -> None:
    """Snakemake would say so too, and advise to break its lock."""
    for folder in results:
        if note.here and str(folder) in note.results:
            mend = f"Wait for it, or end it with `kill {note.pid}`; then run the same command again."
            raise InputError(str(folder), "must not be computed twice", f"still running as process {note.pid}", mend)


def _goes_on(note: Note) -> str:
    if note.here:
        return f"process {note.pid} runs snakemake in this folder too"
    mend = "if it was killed: snakemake --unlock, then the command again"
    return f"process {note.pid} of {note.host} may run snakemake in this folder too; {mend}"


def _write_own(folder: Path, results: Iterable[Path]) -> None:
    me = psutil.Process()
    file = folder / f"{platform.node()}-{me.pid}.json"
    folder.mkdir(parents=True, exist_ok=True)
    own = Note(platform.node(), me.pid, me.create_time(), [str(one) for one in results])
    file.write_text(json.dumps(asdict(own)), encoding="utf-8")
    atexit.register(file.unlink, missing_ok=True)


def _read(file: Path) -> Note | None:
    """A note; none of one that a kill cut off: its run did nothing yet."""
    try:
        return Note(**json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _age_s(path: Path) -> float:
    with suppress(OSError):
        return time.time() - path.stat().st_mtime
    return 0.0
