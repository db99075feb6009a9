"""Studies that Snakemake runs say so in their logs/, and end when they are asked to (`ptydesign.session`)."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from ptydesign.session import DONE, FAILED, STOPPED, Session
from ptydesign.study.kind import Counted, Run

TAIL_BYTES = 4000  # of a log, in which its error stands


class Watched:
    """The studies of one call of Snakemake. arguments: its command line, which names those that are asked for."""

    def __init__(self, runs: Mapping[str, Run], arguments: Sequence[str], studies: Path, cores: int):
        asked = {Path(word).name for word in arguments if word.startswith(f"{studies.name}/")}
        self.runs = [run for run in runs.values() if not asked or run.resolved.study.study in asked]
        self.cores, self._beating = cores, ExitStack()

    def begin(self) -> None:
        """Snakemake starts its first job."""
        for run in self.runs:
            counted = run.kind.progress(run.resolved) if run.kind.progress is not None else Counted(0, "", "")
            session = _session(run)
            study = run.resolved.study
            session.begin(
                kind=run.kind.name, study=study.study, title=study.title, scale=study.scale, cores=self.cores,
                total=counted.total, version=counted.version, unit=counted.unit, metric=counted.metric,
                parts=dict(counted.parts),
            )  # fmt: skip
            self._beating.enter_context(session.beating(_end_gracefully))

    def end(self, good: bool) -> None:
        """Snakemake is through."""
        self._beating.close()
        for run in self.runs:
            session = _session(run)
            if good or (run.resolved.results / "report.html").exists():
                session.end(DONE)
            elif session.asked_to_stop:
                session.end(STOPPED, "It was asked to stop; its command goes on where it was.")
            else:
                session.end(FAILED, last_error(session.folder))


def last_error(logs: Path) -> str:
    """The line of the newest log that says what went wrong."""
    for path in sorted(Path(logs).glob("*.log"), key=lambda path: path.stat().st_mtime, reverse=True)[:20]:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - TAIL_BYTES))
            lines = file.read().decode("utf-8", "replace").splitlines()
        found = [line for line in lines if line.startswith("error: ") or _raised(line)]
        if found:
            return f"{path.name}: {found[-1].removeprefix('error: ')}"
    return "See what snakemake said."


def _raised(line: str) -> bool:
    """Whether a line ends a traceback."""
    name, colon, _ = line.partition(":")
    return bool(colon) and name.rpartition(".")[2].endswith(("Error", "Exception", "Interrupt")) and " " not in name


def _session(run: Run) -> Session:
    return Session(run.resolved.results / "logs")


def _end_gracefully() -> None:
    """Snakemake starts no further job; those that run end with their trial (`study.progress`)."""
    os.kill(os.getpid(), signal.SIGTERM)
