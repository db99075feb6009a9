"""What work that runs says of itself to whoever looks at its folder, on this machine or on a shared disk: that it
lives, what it is, how it ended; and the wish that it stop. No result depends on it.

session.json    what runs, since when, where; at the end, how it ended
.alive          touched every few seconds by the process that runs
stop            made by whoever wants it to stop; its next start takes it away
"""

from __future__ import annotations

import json
import os
import platform
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ptydesign import files

SCHEMA = 1
MOST_BYTES = 2**24  # of session.json, which holds a plan at most
BEAT_S = 2.0  # between two signs of life
SILENT_S = 30.0  # without one, the process is gone: disks that machines share show a file late
RUNNING, DONE, FAILED, STOPPED, SILENT = "running", "done", "failed", "stopped", "silent"


@dataclass(frozen=True)
class Session:
    """The files of one folder. A viewer only reads, and asks to stop."""

    folder: Path

    @property
    def file(self) -> Path:
        """What runs, and how it ended."""
        return self.folder / "session.json"

    @property
    def alive_file(self) -> Path:
        """The sign of life."""
        return self.folder / ".alive"

    @property
    def stop_file(self) -> Path:
        """The wish to stop."""
        return self.folder / "stop"

    def begin(self, **about: Any) -> None:
        """Say that work begins, with JSON-able facts; an old wish to stop is forgotten."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.stop_file.unlink(missing_ok=True)
        where = {"host": platform.node(), "pid": os.getpid(), "command": sys.argv, "directory": os.getcwd()}
        now = round(time.time(), 1)
        files.write_json(self.file, {"schema": SCHEMA, "state": RUNNING, "began": now, **where, **about})
        self.alive_file.touch()

    def end(self, state: str, reason: str = "", **more: Any) -> None:
        """Say how it ended. Only the process that began may say so."""
        content = self.read()
        if content.get("pid") == os.getpid() and content.get("host") == platform.node():
            ended = {"state": state, "reason": reason, "ended": round(time.time(), 1), **more}
            files.write_json(self.file, {**content, **ended})

    def read(self) -> dict[str, Any]:
        """What it says; empty if nothing that can be read."""
        with suppress(OSError, ValueError, RecursionError):
            if self.file.stat().st_size > MOST_BYTES:
                return {}
            content = json.loads(self.file.read_text(encoding="utf-8"))
            if isinstance(content, dict) and isinstance(content.get("state"), str):
                return content
        return {}

    def spoke(self) -> float | None:
        """When it last gave a sign of life, in seconds since 1970; None if never."""
        with suppress(OSError):
            return self.alive_file.stat().st_mtime
        return None

    def state(self) -> str:
        """running, done, failed, stopped; silent: it says that it runs, and gives no sign of life; empty: nothing."""
        state, spoke = str(self.read().get("state", "")), self.spoke()
        if state == RUNNING and (spoke is None or time.time() - spoke > SILENT_S):
            return SILENT
        return state

    def ask_to_stop(self) -> None:
        """Wish that it stop, so that it can go on later."""
        self.stop_file.touch()

    @property
    def asked_to_stop(self) -> bool:
        """Whether somebody wishes that it stop."""
        return self.stop_file.exists()

    @contextmanager
    def beating(self, on_stop: Callable[[], None] | None = None) -> Iterator[None]:
        """Signs of life while the block runs; on_stop is called once, from another thread, when a stop is wished."""
        over = threading.Event()

        def beat() -> None:
            told = False
            while not over.wait(BEAT_S):
                with suppress(OSError):  # a full or missing disk is no reason to end the work
                    self.alive_file.touch()
                    if not told and on_stop is not None and self.asked_to_stop:
                        told = True
                        on_stop()

        thread = threading.Thread(target=beat, name="signs of life", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
