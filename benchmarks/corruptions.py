"""`python -m benchmarks corruptions`: files of finished studies are damaged, and the studies go on from there.

A study of each kind runs to its report, and a twin of it with another seed. Then, many times: one of its files (a
record of a job, a table, a figure, a page, a record of the point store, a cached potential, compiled code) is cut,
changed, emptied, exchanged, taken away, changed with its hash taken out, or put there from the twin; the jobs that read
it run again, or, where none does, the study starts again; and what is made is compared with what was. A damage is

- refused: a job stopped with the file's name, and after the next start of the study all was as before;
- deleted: the same, but a user had to delete the file that was named;
- repaired: the file was made anew with a word of ptydesign's own, and all was as before;
- harmless: nothing was said, and nothing differed;
- unnamed: as refused, but the file wasn't named;
- silent: something differed without a word. There must be none of both.
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
from typing import Any

import h5py
import numpy as np
import pandas as pd
import yaml

from benchmarks import smoke
from ptydesign import compiled, kinds
from ptydesign.cli import main
from ptydesign.errors import InputError
from ptydesign.study.damage import remove_damaged
from ptydesign.study.figures import INDEX
from ptydesign.study.file import RESOLVED
from ptydesign.study.kind import Job, Run
from ptydesign.study.page import PAGES, REPORT
from ptydesign.study.store import FOLDER

REFUSED, BY_HAND, REPAIRED, HARMLESS, SILENT = "refused", "deleted", "repaired", "harmless", "silent"
OTHER, UNNAMED = "other numbers, with a word", "unnamed"
OUTCOMES = (REFUSED, BY_HAND, REPAIRED, HARMLESS, SILENT, UNNAMED, OTHER, "traceback", "not mended")
OWN = ("error: ", "warning: ")  # how ptydesign's own words begin, or with the place that they are about
COMPILED = "jax"  # folder of compiled code in the cache
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

    def start(self) -> tuple[int, str]:
        """What a start of the study does: damaged files are taken away, and what is missing is made."""
        said = io.StringIO()
        with contextlib.redirect_stderr(said):
            compiled.remove_broken(self.root / ".cache" / COMPILED)
            remove_damaged(self.open())
        missing = self.missing()
        drawn = bool(missing) or not all((self.results / file).is_file() for file in (INDEX, REPORT, RESOLVED))
        status, words = self.do(missing, shown=drawn)
        return status, said.getvalue() + words

    def missing(self) -> list[Job]:
        """Jobs whose files aren't there."""
        return [job for job in ordered(self.run) if not all((self.results / file).is_file() for file in job.outputs)]

    def finish(self) -> tuple[int, str]:
        """Do all jobs whose files are missing, figures and report; (exit status, what was said)."""
        return self.do(self.missing(), shown=True)

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
    if COMPILED in file.parts:
        return [], False
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
    """The file ends somewhere before its last word: one that lacks its last line break alone still says all."""
    content = path.read_bytes()
    path.write_bytes(content[: rng.randrange(1, max(2, len(content.rstrip())))])


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


def bare(path: Path, rng: random.Random, others: list[Path]) -> None:
    """Its numbers are others, and its hash is taken out; a file that has none inside: a digit of it is another one."""
    if path.suffix == ".json":
        content = json.loads(path.read_text())
        content.pop("hash", None)
        path.write_text(json.dumps(_scaled(content)))
    elif path.suffix == ".h5":
        with h5py.File(path, "a") as file:
            file.attrs.pop("hash", None)
            file.visititems(lambda _, item: _changed(item))
    elif path.name == RESOLVED:
        lines = path.read_text().splitlines(keepends=True)
        path.write_text("".join(lines[:-1]))
    else:
        digit(path, rng, others)


def _scaled(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _scaled(value) for key, value in content.items()}
    if isinstance(content, list):
        return [_scaled(value) for value in content]
    return content * 1.37 if isinstance(content, float) else content


def _changed(item: Any) -> None:
    item.attrs.pop("hash", None)
    if isinstance(item, h5py.Dataset) and item.dtype.kind in "fc" and item.size:
        item[...] = item[()] * 1.37


DAMAGES: dict[str, Callable[[Path, random.Random, list[Path]], None]] = {
    one.__name__: one for one in (cut, flip, empty, drop, swap, digit, less, bare)
}
FOREIGN = "foreign"  # that of the twin with another seed is put in its place


def files_of(study: Study) -> list[Path]:
    """All that can be damaged: files of jobs, tables, figures, pages, records of the store, potentials, compiled code;
    not logs."""
    run, results = study.run, study.results
    found = [results / file for job in run.kind.jobs(run.resolved) for file in job.outputs]
    found += [results / RESOLVED, *sorted(results.glob("data/*/*.h5")), *sorted((results / "figures").iterdir())]
    found += [results / name for name in (REPORT, PAGES, "sheet.html", "sheet.pdf", "settings.json")]
    found += sorted((study.root / ".cache" / COMPILED).glob("*-cache"))[:20]
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


def one_damage(
    study: Study, whole: Path, file: Path, damage: str, rng: random.Random, twin: Path | None = None
) -> dict[str, str]:
    """What happens if a file of a finished study is damaged: a row of the table. whole: the root of an undamaged copy;
    twin: of one with another seed. The study is spoilt after it."""
    others, root = alike(file, files_of(study)), study.root
    theirs = None if twin is None else twin / file.relative_to(root)
    if damage == FOREIGN and (theirs is None or not theirs.is_file()):
        damage = "swap"
    if damage == "swap" and not others:
        damage = "flip"
    jobs, shown = readers(study, file)
    outputs = [study.results / one for job in jobs for one in job.outputs]
    before = {one: one.read_bytes() for one in (file, *others)}
    if damage == FOREIGN:
        shutil.copy(theirs, file)
    else:
        DAMAGES[damage](file, rng, others)
    damaged = [one for one, content in before.items() if not one.is_file() or one.read_bytes() != content]
    row = {"study": study.folder.name, "file": str(file.relative_to(root)), "damage": damage}
    if not jobs and (COMPILED in file.parts or not shown or "figures" in file.parts):  # read at the next start, if ever
        status, said = study.start()
        words = _own(said, damaged, root)
        whole_again = all(_as_before(one, whole / one.relative_to(root)) for one in damaged)
        outcome = HARMLESS if not damaged else REPAIRED if words or damage == "drop" else SILENT
        return {**row, "outcome": "not mended" if status or not whole_again else outcome, "words": words}
    for path in outputs:
        path.unlink(missing_ok=True)
    if damage == "drop" and (own := [job for job in ordered(study.run) if study.results / job.outputs[0] == file]):
        jobs = [*own, *jobs]  # what is missing is made first
    status, said = study.do(jobs, shown)
    if shown:
        outputs += [study.results / "report.html", *(study.results / "figures").glob("*.png")]
    words = _own(said, damaged, root)

    def unchanged() -> bool:
        return all(path.is_file() and same(path, whole / path.relative_to(study.root)) for path in outputs)

    if status == 0:
        told = words or damage == "drop"  # what is missing is made: that is no secret
        outcome = (REPAIRED if told else HARMLESS) if unchanged() else (OTHER if told else SILENT)
        return {**row, "outcome": outcome, "words": words}
    if status != 2 or "Traceback" in said:
        return {**row, "outcome": "traceback", "words": said[-300:]}
    if not words:
        return {**row, "outcome": UNNAMED, "words": said[-300:]}
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


def _own(said: str, damaged: Iterable[Path], root: Path) -> str:
    """The first line of ptydesign's own that names a damaged file, or the folder that all of its sort lie in."""
    names = [str(one.relative_to(root)) for one in damaged]
    inside = [one.split("/", 1)[1] for one in names if not one.startswith(".")]  # behind the results folder
    folders = [str(root / FOLDER) for one in names if one.startswith(FOLDER)]
    folders += [str(root / ".cache" / COMPILED) for one in names if f"/{COMPILED}/" in one]
    for line in said.splitlines():
        if line.startswith((*OWN, str(root))) and any(word in line for word in (*names, *inside, *folders)):
            return line
    return ""


def _as_before(path: Path, whole: Path) -> bool:
    """Whether a file is as it was; compiled code that is gone is made when it is needed."""
    return same(path, whole) if path.is_file() else COMPILED in path.parts


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
        twin = Study(_other_seed(folder, place / "twins", seed + 1), place / "twin" / kind, smoke.SCALE)
        status, said = twin.finish()
        if status:
            raise RuntimeError(f"{kind}: {said}")
        files = files_of(whole)
        print(f"{kind}: finished, {len(files)} files", flush=True)
        for index in range(count // len(of) + (number < count % len(of))):
            copy = place / "copy"
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(whole.root, copy)
            study = Study(whole.folder, copy, smoke.SCALE)
            damage = [*DAMAGES, FOREIGN][index % (len(DAMAGES) + 1)]
            file = copy / rng.choice(files).relative_to(whole.root)
            rows.append(one_damage(study, whole.root, file, damage, rng, twin.root))
            print(*(rows[-1][key] for key in ("outcome", "damage", "study", "file", "words")), flush=True)
            yield pd.DataFrame(rows)


def _other_seed(folder: Path, place: Path, seed: int) -> Path:
    """A copy of a study's folder, under its name, with another seed."""
    copy = place / folder.name
    shutil.copytree(folder, copy)
    content = yaml.safe_load((copy / "study.yaml").read_text(encoding="utf-8"))
    content["seed"] = content.get("seed", 0) + seed
    (copy / "study.yaml").write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return copy


def markdown(table: pd.DataFrame) -> str:
    """What became of all damages, by their sort."""
    counts = pd.crosstab(table["damage"], table["outcome"]).reindex(columns=OUTCOMES, fill_value=0)
    counts.loc["all"] = counts.sum()
    lines = [["damage", *counts.columns, "all"], ["---"] * (len(counts.columns) + 2)]
    lines += [[name, *map(str, row), str(sum(row))] for name, *row in counts.itertuples()]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
