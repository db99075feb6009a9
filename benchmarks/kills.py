"""Kills at random moments: a study that was killed, and started again, ends with the tables of one that ran through.

Smoke studies of every kind run from the repository's own files. Each is killed at random moments, Snakemake alone or
with all of its jobs, and started again by the same command; nothing is unlocked or cleaned by hand. After some kills it
may end, its tables are compared byte by byte, and a new life begins.
"""

from __future__ import annotations

import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pandas as pd
import psutil

from benchmarks import smoke
from ptydesign.study.leftovers import temporary_files

ROOT = Path(__file__).parents[1]
LIFE = 10  # kills of a study before it may end
ALONE = 0.5  # share of kills that leave Snakemake's jobs alive


@dataclass(frozen=True)
class Place:
    """A folder with the rules and one study. cache: of compiled code and potentials, which lives may share."""

    folder: Path
    study: str
    scale: str
    cache: Path
    cores: int = 2

    @classmethod
    def make(cls, folder: Path, study: Path, scale: str, cache: Path, cores: int = 2) -> Place:
        """A new folder with a copy of the rules, the profile and a study's folder."""
        folder.mkdir(parents=True)
        shutil.copy(ROOT / "Snakefile", folder)
        shutil.copytree(ROOT / "profiles", folder / "profiles")
        shutil.copytree(study, folder / "studies" / study.name)
        return cls(folder, study.name, scale, cache, cores)

    def start(self) -> subprocess.Popen:
        """The study, in a group of its own; what it says is added to output.txt."""
        command = [sys.executable, "-m", "snakemake", f"studies/{self.study}", "--cores", str(self.cores)]
        command += ["--config", f"scale={self.scale}"]
        environment = {**os.environ, "PTYDESIGN_CACHE": str(self.cache)}
        with (self.folder / "output.txt").open("a") as output:
            return subprocess.Popen(
                command, cwd=self.folder, env=environment, stdout=output, stderr=subprocess.STDOUT,
                start_new_session=True,
            )  # fmt: skip

    @property
    def said(self) -> str:
        """All that it said so far."""
        file = self.folder / "output.txt"
        return file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""

    def finish(self) -> None:
        """Run the study to its end. Raises RuntimeError with what it said if that fails."""
        if self.start().wait():
            raise RuntimeError(self.said[-5000:])

    @property
    def tables(self) -> dict[str, bytes]:
        """Its tables and images."""
        (folder,) = (self.folder / "results").glob(f"{self.study}*/tables")
        return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.name[0] != "."}

    @property
    def leftovers(self) -> list[Path]:
        """Temporary files and locks."""
        return [*temporary_files(self.folder / "results"), *(self.folder / ".snakemake" / "locks").glob("*")]


@dataclass
class Count:
    """What happened to the studies of a kind."""

    kills: int = 0
    interrupted: Counter[str] = field(default_factory=Counter)
    alone: int = 0
    failed: int = 0
    ends: int = 0
    identical: int = 0
    leftovers: int = 0
    seconds: list[float] = field(default_factory=list)


def kill(process: subprocess.Popen, alone: bool) -> None:
    """End a study at once: Snakemake alone, or its jobs too."""
    if alone:
        process.kill()
    else:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def at_work(process: subprocess.Popen) -> list[str]:
    """Steps that the jobs of a Snakemake do just now: what a kill interrupts."""
    found = []
    with suppress(psutil.Error):
        for child in psutil.Process(process.pid).children(recursive=True):
            with suppress(psutil.Error):
                words = child.cmdline()
                if "ptydesign" in words and Path(words[0]).name.startswith("python"):
                    told = words[words.index("ptydesign") + 1 :]
                    found.append(told[2] if told[0] == "step" else told[0])
    return found


def failures(said: str) -> int:
    """Failed jobs in what Snakemake said."""
    return sum(line.startswith(("failed: ", "Error in rule")) for line in said.splitlines())


def torment(place: Place, kills: int, moment: Callable[[], float], alone: Callable[[], bool], count: Count) -> bool:
    """Start a study and kill it after random seconds, up to `kills` times; False if it ended before its turn.

    Between kills none of its jobs may fail: those that did before a kill are counted, too."""
    for _ in range(kills):
        before = len(place.said)
        process, after = place.start(), moment()
        try:
            status = process.wait(after)
            count.failed += failures(place.said[before:]) or status != 0
            return False
        except subprocess.TimeoutExpired:
            left = alone()
            count.interrupted.update(at_work(process) or ["no job"])
            kill(process, left)
            count.failed += failures(place.said[before:])
            count.kills, count.alone = count.kills + 1, count.alone + left
            count.seconds.append(after)
    return True


def judge(place: Place, wanted: dict[str, bytes], count: Count) -> None:
    """Let a study end, and compare."""
    before = len(place.said)
    place.finish()
    count.failed += failures(place.said[before:])  # a job that failed and was tried again
    count.ends += 1
    count.identical += place.tables == wanted
    count.leftovers += len(place.leftovers)


def measure(kills: int, seed: int, kinds: Sequence[str], cores: int) -> Iterator[pd.DataFrame]:
    """The counts of all kinds, after each life of a study. Lives of the kinds take turns."""
    chance, counts = random.Random(seed), {kind: Count() for kind in kinds}
    first: dict[str, tuple[float, dict[str, bytes]]] = {}
    with tempfile.TemporaryDirectory(prefix="kills-") as folder:
        for life, kind in enumerate(itertools.cycle(kinds)):
            left = kills - sum(count.kills for count in counts.values())
            if left <= 0:
                return
            name, _ = smoke.STUDIES[kind]
            place = partial(Place.make, study=Path(folder) / "studies" / name, scale=smoke.SCALE,
                            cache=Path(folder) / "cache", cores=cores)  # fmt: skip
            if kind not in first:
                smoke.write_study(kind, ROOT / "studies", Path(folder) / "studies")
                whole, start = place(Path(folder) / kind), time.monotonic()
                whole.finish()
                first[kind] = time.monotonic() - start, whole.tables
            took, wanted = first[kind]
            killed = place(Path(folder) / f"{kind}-{life}")
            moment = partial(chance.uniform, 1, took / 3)
            torment(killed, min(LIFE, left), moment, lambda: chance.random() < ALONE, counts[kind])
            judge(killed, wanted, counts[kind])
            shutil.rmtree(killed.folder, ignore_errors=True)
            yield table(counts)


def _counted(steps: Counter[str]) -> str:
    return ", ".join(f"{name} {number}" for name, number in steps.most_common())


def table(counts: dict[str, Count]) -> pd.DataFrame:
    """A row for each kind that was killed, and their sum."""
    rows = [
        {"kind": kind, "study": smoke.STUDIES[kind][0], "kills": c.kills, "of Snakemake alone": c.alone,
         "failed": c.failed, "ends": c.ends, "identical": c.identical, "left over": c.leftovers,
         "interrupted": _counted(c.interrupted),
         "first s": min(c.seconds, default=0), "last s": max(c.seconds, default=0)}
        for kind, c in counts.items()
        if c.ends
    ]  # fmt: skip
    found = pd.DataFrame(rows)
    sums = ("kills", "of Snakemake alone", "failed", "ends", "identical", "left over")
    summed = {name: found[name].sum() for name in sums}
    ends = {
        "kind": "all",
        "study": "",
        "interrupted": "",
        "first s": found["first s"].min(),
        "last s": found["last s"].max(),
    }
    return pd.concat([found, pd.DataFrame([{**summed, **ends}])], ignore_index=True)[list(found.columns)]


def markdown(found: pd.DataFrame) -> str:
    """The table as Markdown."""
    head = (
        f"`python -m benchmarks kills`: studies at scale {smoke.SCALE}, killed (SIGKILL) at random moments and started "
        "again by the same command. Failed: jobs that failed by themselves. Interrupted: jobs that a kill met at work, "
        "by steps. An end is identical if all tables are, byte by byte. Left over: temporary files and locks at the "
        "end. First, last: the earliest and the latest kill, in seconds after a start.\n\n"
    )
    lines = ["| " + " | ".join(found.columns) + " |", "|" + "---|" * len(found.columns)]
    lines += ["| " + " | ".join(f"{v:.1f}" if isinstance(v, float) else str(v) for v in row) + " |"
              for row in found.itertuples(index=False)]  # fmt: skip
    return head + "\n".join(lines) + "\n"
