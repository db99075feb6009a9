"""Stopping, going on and starting: by the same command lines that a user types, and nothing that needs this server."""

from __future__ import annotations

from pathlib import Path

from ptydesign.errors import InputError
from ptydesign.reconstruct.live import SUFFIX
from ptydesign.session import RUNNING, Session


def session_of(run: Path) -> Session:
    """The session of a study's results folder, or of a reconstruction's."""
    return Session(run if run.name.endswith(SUFFIX) else run / "logs")


def stop(run: Path) -> None:
    """Ask a run to end after its sweep, or its trials. Raises InputError if it doesn't run."""
    session = session_of(run)
    if session.state() != RUNNING:
        raise InputError("run", "must be running to be stopped", session.state() or "nothing", "Reload the page.")
    session.ask_to_stop()


def go_on(run: Path) -> None:
    """Go on with a run that was stopped, by the command that began it."""
    raise InputError("run", "can't go on from here yet", run.name, "Type its command again.")
