"""The progress line: trials done, best score so far, time left. For people only; no result depends on it.

Jobs run in processes of their own and tell each other through `logs/progress.jsonl`, one short line for each trial,
appended whole. A line cut off by a kill is skipped.
"""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

EVERY_S = 10.0


class Progress:
    """Reports trials of one results folder. total: trials of the whole study. cores: how many jobs run at a time."""

    def __init__(self, results: Path, total: int, cores: int):
        self.folder = Path(results) / "logs"
        self.total, self.cores = total, max(1, cores)

    def done(self, name: str, dose: float, value: float | None, seconds: float | None) -> None:
        """Note a trial: a unique name, its objective (None if it failed), its wall time (None if it was stored)."""
        self.folder.mkdir(parents=True, exist_ok=True)
        line = json.dumps({"trial": name, "dose": dose, "value": value, "s": seconds, "t": round(time.time(), 1)})
        # one write of less than a page with O_APPEND: lines of different processes don't mix
        handle = os.open(self.folder / "progress.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(handle, (line + "\n").encode())
        finally:
            os.close(handle)
        self._show()

    def _show(self) -> None:
        """Print, unless any job of this study printed within the last seconds."""
        stamp = self.folder / ".progress"
        with suppress(OSError):
            recent = stamp.exists() and time.time() - stamp.stat().st_mtime < EVERY_S
            trials = self._trials()
            if recent and len(trials) < self.total:
                return
            stamp.touch()
            print(progress_line(trials, self.total, self.cores), file=sys.stderr, flush=True)

    def _trials(self) -> dict[str, dict[str, Any]]:
        trials: dict[str, dict[str, Any]] = {}
        with suppress(OSError):
            for line in (self.folder / "progress.jsonl").read_text(encoding="utf-8").splitlines():
                with suppress(ValueError, KeyError, TypeError):
                    entry = json.loads(line)
                    old = trials.get(entry["trial"], {})
                    if entry["s"] is None:
                        entry["s"] = old.get("s")
                    trials[entry["trial"]] = entry
        return trials


def progress_line(trials: dict[str, dict[str, Any]], total: int, cores: int) -> str:
    """`120/304 trials, best 0.912 at 10000 e/A^2, 3 failed, about 6 min left`."""
    done = min(len(trials), total)
    values = [(t["value"], t["dose"]) for t in trials.values() if t["value"] is not None]
    best = max(values, default=None)
    parts = [f"{done}/{total} trials"]
    if best is not None:
        parts.append(f"best {best[0]:.4g} at {best[1]:g} e/A^2")
    failed = len(trials) - len(values)
    if failed:
        parts.append(f"{failed} failed")
    seconds = [t["s"] for t in trials.values() if t["s"] is not None]
    if seconds and done < total:
        left = (total - done) * sum(seconds) / len(seconds) / cores
        parts.append(f"about {left / 60:.0f} min left" if left > 90 else f"about {left:.0f} s left")
    return "ptydesign: " + ", ".join(parts)
