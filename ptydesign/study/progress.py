"""The progress line: trials done, best score so far, time left. For people only; no result depends on it.

Jobs run in processes of their own and tell each other through `logs/progress.jsonl`, one short line for each trial,
appended whole. A line cut off by a kill is skipped.
"""

from __future__ import annotations

import json
import os
import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ptydesign.study.kind import Run

from ptydesign.errors import InputError
from ptydesign.functions import plain_name
from ptydesign.session import Session

EVERY_S = 10.0  # between two lines
MOST_REASON = 400  # characters: a line stays below a page
PAUSE_S = 60.0  # longer without a trial: the study was stopped in between
METRICS = {  # in a terminal's letters; -1: less is better, and what is maximised is its negative
    "ssim": ("SSIM", 1),
    "psnr_db": ("PSNR in dB", 1),
    "frc_area": ("FRC area", 1),
    "information": ("information in bit/A^2", 1),
    "mse_rad2": ("MSE in rad^2", -1),
    "heldout_misfit": ("held-out misfit", -1),
}
STALLED_S = 1800.0  # without a trial, on a cluster: time to look


class Progress:
    """Reports trials of one results folder.

    total: trials of the whole study. cores: how many jobs run at a time. version: hash of what determines the trials;
    lines of another version are those of an earlier configuration and don't count. unit: of what trials differ in.
    metric: what is maximised. parts: of `Counted`.
    """

    def __init__(
        self,
        results: Path,
        total: int,
        cores: int,
        version: str = "",
        unit: str = "e/A^2",
        metric: str = "ssim",
        parts: Mapping[str, int] | None = None,
    ):
        self.unit, self.metric, self.parts = unit, metric, dict(parts or {})
        self.folder = Path(results) / "logs"
        self.total, self.cores, self.version = total, max(1, cores), version

    def done(
        self, name: str, dose: float, value: float | None, seconds: float | None, about: Mapping[str, Any] | None = None
    ) -> None:
        """Note a trial: a unique name, its objective (None if it failed), its wall time (None if it was stored).

        about: for viewers: its point, key, status, and reason, which is cut short. Raises InputError once a stop is
        asked for: the trial is stored by then.
        """
        trials, spared = self.read()
        new = name not in trials
        about = {name: v[:MOST_REASON] if isinstance(v, str) else v for name, v in (about or {}).items()}
        entry = self._note({"trial": name, "dose": dose, "value": value, "s": seconds, **about})
        trials[name] = _newer(trials.get(name), entry)
        self._show(trials, spared, new)
        check_wanted(self.folder)

    def spare(self, name: str, trials: int) -> None:
        """Note that so many trials of those that `total` counts aren't needed. name: a unique one, as of a trial."""
        if trials > 0:
            self._note({"trial": name, "spared": trials})

    def _note(self, content: dict[str, Any]) -> dict[str, Any]:
        self.folder.mkdir(parents=True, exist_ok=True)
        entry = {**content, "of": self.version, "t": round(time.time(), 1)}
        # one write of less than a page with O_APPEND: lines of different processes don't mix
        handle = os.open(self.folder / "progress.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(handle, (json.dumps(entry) + "\n").encode())
        finally:
            os.close(handle)
        return entry

    def read(self) -> tuple[dict[str, dict[str, Any]], dict[str, int]]:
        """The trials noted so far by name, and how many of `total` are spared, by the part that has ended with it. A
        part that runs again hasn't ended."""
        trials: dict[str, dict[str, Any]] = {}
        spared: dict[str, int] = {}
        with suppress(OSError):
            for line in (self.folder / "progress.jsonl").read_text(encoding="utf-8").splitlines():
                with suppress(ValueError, KeyError, TypeError):
                    entry = json.loads(line)
                    if entry["of"] != self.version:
                        continue
                    if "spared" in entry:
                        spared[entry["trial"]] = entry["spared"]
                    else:
                        trials[entry["trial"]] = _newer(trials.get(entry["trial"]), entry)
                        for part in [part for part in spared if entry["trial"].startswith(f"{part}/")]:
                            del spared[part]
        return trials, spared

    def _show(self, trials: dict[str, dict[str, Any]], spared: dict[str, int], new: bool) -> None:
        """Print, unless any job of this study printed within the last seconds."""
        last = new and len(trials) == self.total - sum(spared.values())
        stamp = self.folder / ".progress"
        with suppress(OSError):
            if not last and stamp.exists() and time.time() - stamp.stat().st_mtime < EVERY_S:
                return
            stamp.touch()
        _tell(self.line(trials, spared))

    def line(self, trials: Mapping[str, Mapping[str, Any]], spared: Mapping[str, int]) -> str:
        """What the terminal shows of what `read` gives."""
        total = self.total - sum(spared.values())
        left = seconds_left(trials, total, self.cores, self.parts, spared)
        return progress_line(trials, total, left, self.unit, self.metric)


def check_wanted(folder: Path) -> None:
    """Raise InputError if a stop is asked for in a folder of logs."""
    session = Session(folder)
    if session.asked_to_stop:
        mend = f"Its snakemake command goes on with it; for one step by hand remove {session.stop_file}."
        raise InputError("study", "must not be asked to stop", "a stop", mend)


def _newer(old: dict[str, Any] | None, new: dict[str, Any]) -> dict[str, Any]:
    """The new entry; a trial that came from the store keeps the time that it took."""
    return {**old, "value": new["value"]} if old is not None and new["s"] is None else new


def seconds_left(
    trials: Mapping[str, Mapping[str, Any]],
    total: int,
    cores: int,
    parts: Mapping[str, int] | None = None,
    ended: Iterable[str] = (),
) -> float | None:
    """Wall seconds until all trials are done: those that are left of each part, at what its trials cost on average.

    How many cores are really at work is seen since the last long pause, which has the jobs' start in it. parts: of
    `Counted`; without any, all trials are alike. ended: parts of which no more trials come.
    """
    computed = sorted((t["t"], t["s"], part_of(name, parts or {})) for name, t in trials.items() if t["s"] is not None)
    if not computed or len(trials) >= total:
        return None
    mean = sum(s for _, s, _ in computed) / len(computed)
    first = len(computed) - 1
    while first > 0 and computed[first][0] - computed[first - 1][0] < PAUSE_S + 5 * mean:
        first -= 1
    session = computed[first:]
    began, spent = session[0][0] - session[0][1], sum(s for _, s, _ in session)
    slowness = max(1.0, (session[-1][0] - began) * cores / spent) if len(session) > 2 * cores and spent else 1.0
    if not parts:
        return (total - len(trials)) * mean * slowness / cores
    costs: dict[str, list[float]] = {}
    for _, seconds, part in computed:
        for name in {part, _dose(part)}:
            costs.setdefault(name, []).append(seconds)
    done = Counter(part_of(name, parts) for name in trials)
    work = 0.0
    for part, count in parts.items():
        known = costs.get(part) or costs.get(_dose(part)) or [mean]
        work += max(0, count - done[part]) * (part not in ended) * sum(known) / len(known)
    return work * slowness / cores


def _dose(part: str) -> str:
    """What the name of a part ends with: parts of one dose cost about the same."""
    return re.split("[-/]", part)[-1]


def part_of(trial: str, parts: Iterable[str]) -> str:
    """The part that a trial belongs to by its name, or ''."""
    return next((part for part in parts if trial.startswith(f"{part}/")), "")


def progress_line(
    trials: Mapping[str, Mapping[str, Any]],
    total: int,
    left_s: float | None,
    unit: str = "e/A^2",
    metric: str = "ssim",
) -> str:
    """`120/304 trials, best SSIM 0.912 at 10000 e/A^2, 3 failed, about 6 min left`.

    The best is that of the latest trial's dose: scores of different doses don't compare.
    """
    done = min(len(trials), total)
    good = [t for t in trials.values() if t["value"] is not None]
    parts = [f"{done}/{total} trials"]
    if good:
        dose = max(good, key=lambda t: t["t"])["dose"]
        best = max(t["value"] for t in good if t["dose"] == dose)
        words, sign = METRICS.get(metric, (plain_name(metric), 1))
        parts.append(f"best {words} {sign * best:.4g} at {dose:g} {unit}")
    failed = len(trials) - len(good)
    if failed:
        parts.append(f"{failed} failed")
    if left_s is not None:
        parts.append(f"about {left_s / 60:.0f} min left" if left_s > 90 else f"about {left_s:.0f} s left")
    return "ptydesign: " + ", ".join(parts)


def progress_of(run: Run, cores: int) -> Progress | None:
    """The progress of a study; None for a kind that doesn't count trials."""
    if run.kind.progress is None:
        return None
    counted = run.kind.progress(run.resolved)
    return Progress(
        run.resolved.results, counted.total, cores, counted.version, counted.unit, counted.metric, counted.parts
    )


def watch(runs: Iterable[Run], jobs: int) -> None:
    """Show the progress of studies whose jobs run elsewhere, until this process ends. jobs: at a time."""
    followed = [found for run in runs if (found := progress_of(run, jobs)) is not None]
    known = [one.read() for one in followed]  # here: what ends while the thread starts is told, too
    threading.Thread(target=_follow, args=(followed, known), daemon=True).start()


def _follow(followed: Sequence[Progress], known: list[Any]) -> None:
    changed = time.monotonic()
    while True:
        time.sleep(EVERY_S)
        for index, one in enumerate(followed):
            if (noted := one.read()) != known[index]:
                known[index], changed = noted, time.monotonic()
                _tell(one.line(*noted))
        if time.monotonic() - changed > STALLED_S:
            changed = time.monotonic()
            _tell(stalled(STALLED_S / 60))


def stalled(minutes: float) -> str:
    """What to do where nothing has happened for a while."""
    return (
        f"ptydesign: no trial has ended for {minutes:.0f} min. If the queue (squeue --me) has none of the jobs, press "
        "Ctrl-C and give the same command again: what is finished is kept"
    )


@contextmanager
def told(what: str, first_s: float = EVERY_S, every_s: float = PAUSE_S) -> Iterator[None]:
    """Says after a while that some work goes on, and how long it has taken. what: the work, in words."""
    ended, began = threading.Event(), time.monotonic()

    def tell() -> None:
        wait = first_s
        while not ended.wait(wait):
            _tell(f"ptydesign: {what}, {time.monotonic() - began:.0f} s so far")
            wait = every_s

    threading.Thread(target=tell, daemon=True).start()
    try:
        yield
    finally:
        ended.set()


def _tell(words: str) -> None:
    """To the terminal; where it is a file, with the time."""
    if not sys.stderr.isatty():
        words = f"{time.strftime('%H:%M:%S')} {words}"
    print(words, file=sys.stderr, flush=True)
