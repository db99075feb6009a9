"""`python -m benchmarks corruptions`: files of finished studies are damaged, and the studies go on from there.

A study of each kind runs to its report. Then, many times: one of its files (a record of a job, a table, a record of the
point store, a cached potential) is cut, changed, emptied, exchanged or taken away; the jobs that read it run again; and
what they make is compared with what they made. A damage is

- refused: a job stopped with the file's name, and after the next start of the study all was as before;
- deleted: the same, but a user had to delete the file that was named;
- repaired: the file was made anew with a word, and all was as before;
- harmless: nothing was said, and nothing differed;
- silent: something differed without a word. There must be none.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from benchmarks import smoke
from ptydesign import kinds
from ptydesign.cli import main
from ptydesign.errors import InputError
from ptydesign.study.damage import remove_damaged
from ptydesign.study.kind import Job, Run
from ptydesign.study.store import FOLDER

REFUSED, BY_HAND, REPAIRED, HARMLESS, SILENT = "refused", "deleted", "repaired", "harmless", "silent"
OTHER = "other numbers, with a word"
OUTCOMES = (REFUSED, BY_HAND, REPAIRED, HARMLESS, SILENT, OTHER, "traceback", "not mended")
MEASURED = "history/seconds"  # differs from run to run


@dataclass(frozen=True)
class Study:
    """A study in a folder of its own, with its results and its caches below `root`."""

    folder: Path
    root: Path
    scale: str

    @cached_property
    def run(self) -> Run:
        """The study, checked; as it was before it was damaged."""
        return self.open()

    def open(self) -> Run:
        """The study as it is. Raises InputError."""
        return kinds.open_study(self.folder, self.scale, self.root)

    @cached_property
    def results(self) -> Path:
        """Its results folder."""
        return self.run.resolved.results

    def command(self, *words: str) -> tuple[int, str]:
        """(exit status, what it said) of a command of ptydesign, run in this process."""
        said = io.StringIO()
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            try:
                status = main(list(words))
            except Exception as error:
                status = 1
                said.write(f"Traceback: {type(error).__name__}: {error}")
        return status, said.getvalue()

    def step(self, name: str, which: dict | None = None) -> tuple[int, str]:
        """One job."""
        options = [word for key, value in (which or {}).items() for word in (f"--{key}", str(value))]
        place = ["--scale", self.scale, "--root", str(self.root)]
        return self.command("step", self.run.kind.name, name, str(self.folder), *place, *options)

    def finish(self) -> tuple[int, str]:
        """Do all jobs whose files are missing, figures and report; (exit status, what was said)."""
        jobs = [job for job in ordered(self.run) if not all((self.results / file).is_file() for file in job.outputs)]
        return self.do(jobs, shown=True)

    def do(self, jobs: Iterable[Job], shown: bool) -> tuple[int, str]:
        """Do jobs, and draw figures and report if they are to be `shown`; stops at the first that fails."""
        said = ""
        if not (self.results / "resolved.yaml").is_file():
            status, said = self.step("resolve")
            if status:
                return status, said
        commands = [lambda job=job: self.step(job.step.name, dict(job.which)) for job in jobs]
        for name in ("figures", "report") if shown else ():
            commands.append(lambda name=name: self.command(name, str(self.results)))
        for command in commands:
            status, words = command()
            said += words
            if status:
                return status, said
        return 0, said


def ordered(run: Run) -> Iterator[Job]:
    """All jobs, each after those that make its inputs."""
    waiting, made = list(run.kind.jobs(run.resolved)), {"resolved.yaml"}
    while waiting:
        ready = [job for job in waiting if made.issuperset(job.inputs)]
        for job in ready:
            made.update(job.outputs)
            waiting.remove(job)
            yield job


def readers(study: Study, file: Path) -> tuple[list[Job], bool]:
    """(jobs that read a file, whether figures and report do)."""
    run, results = study.run, study.results
    jobs = list(ordered(run))
    if file.is_relative_to(results):
        name = file.relative_to(results).as_posix()
        shown = name.split("/")[0] in ("tables", "figures", "resolved.yaml")
        if name.startswith("data/") and name.endswith(".h5") and not any(name in job.inputs for job in jobs):
            return [job for job in jobs if any(one.startswith("data/") for one in job.inputs)][:3], False
        return [job for job in jobs if name in job.inputs], shown
    if file.name.startswith("potential-"):
        return [job for job in jobs if job.step.name in ("potential", "potentials", "scan")], False
    if file.suffix == ".h5":  # images of the store
        return [job for job in jobs if job.step.name == "collect"], False
    told = [job for job in jobs if any(file.stem in text(results / one) for one in job.outputs)]
    return told[:2] or [job for job in jobs if job.step.name == "tune"], False


def text(path: Path) -> str:
    """A JSON file's text; nothing for others."""
    return path.read_text() if path.suffix == ".json" and path.is_file() else ""


def same(mine: Path, before: Path) -> bool:
    """Whether a file is as it was, but for measured times."""
    if mine.read_bytes() == before.read_bytes():
        return True
    if mine.suffix != ".h5":
        return False
    with h5py.File(mine) as one, h5py.File(before) as other:
        names: list[str] = []
        one.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
        return MEASURED in names and all(
            name in other and np.array_equal(one[name][()], other[name][()]) for name in names if name != MEASURED
        )


def cut(path: Path, rng: random.Random, others: list[Path]) -> None:
    """The file ends somewhere."""
    content = path.read_bytes()
    path.write_bytes(content[: rng.randrange(1, max(2, len(content)))])


def flip(path: Path, rng: random.Random, others: list[Path]) -> None:
    """A bit of it is another one."""
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(bytes(content))


def empty(path: Path, rng: random.Random, others: list[Path]) -> None:
    """Nothing is in it."""
    path.write_bytes(b"")


def drop(path: Path, rng: random.Random, others: list[Path]) -> None:
    """It is gone."""
    path.unlink()


def swap(path: Path, rng: random.Random, others: list[Path]) -> None:
    """It and another file of its sort are exchanged."""
    other = rng.choice(others)
    mine, theirs = path.read_bytes(), other.read_bytes()
    path.write_bytes(theirs)
    other.write_bytes(mine)


def digit(path: Path, rng: random.Random, others: list[Path]) -> None:
    """One of its digits is another one; in a file that isn't text, a byte."""
    content = bytearray(path.read_bytes())
    places = [i for i, byte in enumerate(content) if 48 <= byte <= 57] if path.suffix != ".h5" else []
    if places:
        place = rng.choice(places)
        content[place] = 48 + (content[place] - 48 + rng.randrange(1, 10)) % 10
    else:
        content[rng.randrange(len(content))] ^= 255
    path.write_bytes(bytes(content))


def less(path: Path, rng: random.Random, others: list[Path]) -> None:
    """Of what it lists, part is gone, and it can still be read: a record's longest list, a table's rows; `null` where
    it lists nothing."""
    if path.suffix == ".json":
        content = json.loads(path.read_text())
        lists = [name for name, value in content.items() if isinstance(value, list) and len(value) > 1]
        if lists:
            longest = max(lists, key=lambda name: len(content[name]))
            content[longest] = content[longest][:1]
            path.write_text(json.dumps(content))
        else:
            path.write_text("null")
    elif path.suffix in (".csv", ".yaml"):
        lines = path.read_text().splitlines(keepends=True)
        path.write_text("".join(lines[: max(1, len(lines) // 2)]))
    else:
        cut(path, rng, others)


DAMAGES: dict[str, Callable[[Path, random.Random, list[Path]], None]] = {
    one.__name__: one for one in (cut, flip, empty, drop, swap, digit, less)
}


def files_of(study: Study) -> list[Path]:
    """All that can be damaged: files of jobs, tables, records of the store, potentials; not logs, nor what is shown at
    the end."""
    run, results = study.run, study.results
    found = [results / file for job in run.kind.jobs(run.resolved) for file in job.outputs]
    found += [results / "resolved.yaml", results / "figures" / "index.json", *sorted(results.glob("data/*/*.h5"))]
    found += sorted((study.root / FOLDER).rglob("*.*"))
    found += sorted(study.root.rglob("potential-*.h5"))
    unread = ("card.html", "card.csv", "potential.json", "potentials.json")
    best = {file for file in found if file.name.startswith("best-")}  # for the user, read by nobody
    return sorted({file for file in found if file.is_file() and file.name not in unread} - best)


def alike(file: Path, files: list[Path]) -> list[Path]:
    """Others that could be taken for it."""
    depth, stored = len(file.parts), FOLDER in file.parts
    found = [one for one in files if one != file and one.suffix == file.suffix and len(one.parts) == depth]
    return [one for one in found if (FOLDER in one.parts) == stored]


def one_damage(study: Study, whole: Path, file: Path, damage: str, rng: random.Random) -> dict[str, str]:
    """What happens if a file of a finished study is damaged: a row of the table. whole: the root of its undamaged twin.
    The study is spoilt after it."""
    others = alike(file, files_of(study))
    if damage == "swap" and not others:
        damage = "flip"
    jobs, shown = readers(study, file)
    outputs = [study.results / one for job in jobs for one in job.outputs]
    DAMAGES[damage](file, rng, others)
    for path in outputs:
        path.unlink(missing_ok=True)
    if damage == "drop" and (own := [job for job in ordered(study.run) if study.results / job.outputs[0] == file]):
        jobs = [*own, *jobs]  # what is missing is made first
    status, said = study.do(jobs, shown)
    if shown:
        outputs += [study.results / "report.html", *(study.results / "figures").glob("*.png")]
    row = {"study": study.folder.name, "file": str(file.relative_to(study.root)), "damage": damage}
    words = _first(said)

    def unchanged() -> bool:
        return all(path.is_file() and same(path, whole / path.relative_to(study.root)) for path in outputs)

    if status == 0:
        told = "warning" in said or damage == "drop"  # what is missing is made: that is no secret
        outcome = (REPAIRED if told else HARMLESS) if unchanged() else (OTHER if told else SILENT)
        return {**row, "outcome": outcome, "words": words}
    if status != 2 or "Traceback" in said:
        return {**row, "outcome": "traceback", "words": words}
    with contextlib.suppress(InputError), contextlib.redirect_stderr(io.StringIO()):
        remove_damaged(study.open())
    for outcome in (REFUSED, BY_HAND):
        status, said = study.finish()
        if status == 0:
            return {**row, "outcome": outcome if unchanged() else OTHER, "words": words}
        if "Delete the study's results folder" in words:
            shutil.rmtree(study.results)
        for named in re.findall(r"Delete (/\S+?)[;.]? ", words):
            Path(named).unlink(missing_ok=True)
        file.unlink(missing_ok=True)
    return {**row, "outcome": "not mended", "words": words}


def _first(said: str) -> str:
    lines = [line for line in said.splitlines() if line.startswith(("error", "warning", "Traceback"))]
    return lines[0] if lines else ""


def measure(studies: Path, place: Path, count: int, of: Sequence[str], seed: int = 0) -> Iterator[pd.DataFrame]:
    """Damage `count` files of studies, one at a time; the table so far, after each. studies: the repository's; place:
    an empty folder to work in; of: kinds of studies, each of which has random numbers of its own."""
    rows = []
    os.environ.pop("PTYDESIGN_CACHE", None)  # the cache is part of what is damaged
    for number, kind in enumerate(of):
        rng = random.Random(f"{seed} {kind}")
        folder = smoke.write_study(kind, studies, place / "studies")
        whole = Study(folder, place / "whole" / kind, smoke.SCALE)
        status, said = whole.finish()
        if status:
            raise RuntimeError(f"{kind}: {said}")
        files = files_of(whole)
        print(f"{kind}: finished, {len(files)} files", flush=True)
        for index in range(count // len(of) + (number < count % len(of))):
            copy = place / "copy"
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(whole.root, copy, ignore=shutil.ignore_patterns("jax"))
            study = Study(whole.folder, copy, smoke.SCALE)
            damage = list(DAMAGES)[index % len(DAMAGES)]
            file = copy / rng.choice(files).relative_to(whole.root)
            rows.append(one_damage(study, whole.root, file, damage, rng))
            print(*(rows[-1][key] for key in ("outcome", "damage", "study", "file", "words")), flush=True)
            yield pd.DataFrame(rows)


def markdown(table: pd.DataFrame) -> str:
    """What became of all damages, by their sort."""
    counts = pd.crosstab(table["damage"], table["outcome"]).reindex(columns=OUTCOMES, fill_value=0)
    counts.loc["all"] = counts.sum()
    lines = [["damage", *counts.columns, "all"], ["---"] * (len(counts.columns) + 2)]
    lines += [[name, *map(str, row), str(sum(row))] for name, *row in counts.itertuples()]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
