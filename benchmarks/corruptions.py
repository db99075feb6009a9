"""`python -m benchmarks corruptions`: files of finished studies are damaged, and the studies go on from there.

A study of each kind runs to its report. Then, many times: one of its files (a record of a job, a table, a record of the
point store, a cached potential) is cut, changed, emptied, exchanged or taken away; all that is made from it is made
again; and what the study says is compared with what it said. A damage is

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
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ptydesign import kinds
from ptydesign.cli import main
from ptydesign.errors import InputError
from ptydesign.study.damage import remove_damaged
from ptydesign.study.kind import Job, Run
from ptydesign.study.store import FOLDER

# A study of the repository for each kind, at its smoke scale.
STUDIES = ("lowdose", "depth", "reconparams", "engines", "plan_bilayer", "compare")
SCALE = "smoke"
REFUSED, BY_HAND, REPAIRED, HARMLESS, SILENT = "refused", "deleted", "repaired", "harmless", "silent"
SHOWN = ("report.html", "sheet.html", "tables", "figures")  # what a study says


@dataclass(frozen=True)
class Study:
    """A study in a folder of its own, with its results and its caches below `root`."""

    folder: Path
    root: Path
    scale: str

    @property
    def run(self) -> Run:
        """The study, checked."""
        return kinds.open_study(self.folder, self.scale, self.root)

    @property
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
        """Do all jobs whose files are missing, and the report; (exit status, what was said)."""
        results, said = self.results, ""
        if not (results / "resolved.yaml").is_file():
            status, said = self.step("resolve")
            if status:
                return status, said
        for job in ordered(self.run):
            if not all((results / file).is_file() for file in job.outputs):
                status, words = self.step(job.step.name, dict(job.which))
                said += words
                if status:
                    return status, said
        for name in ("figures", "report"):
            status, words = self.command(name, str(results))
            said += words
            if status:
                return status, said
        return 0, said

    def shown(self) -> dict[str, bytes]:
        """All that the study says, by file."""
        results, found = self.results, {}
        for name in SHOWN:
            place = results / name
            for file in [place] if place.is_file() else sorted(place.rglob("*")):
                if file.is_file():
                    found[str(file.relative_to(results))] = file.read_bytes()
        return found


def ordered(run: Run) -> Iterator[Job]:
    """All jobs, each after those that make its inputs."""
    waiting, made = list(run.kind.jobs(run.resolved)), {"resolved.yaml"}
    while waiting:
        ready = [job for job in waiting if made.issuperset(job.inputs)]
        for job in ready:
            made.update(job.outputs)
            waiting.remove(job)
            yield job


def made_from(run: Run, files: Iterable[str]) -> set[str]:
    """Files of all jobs that read these, or what is made from them."""
    seen, after = set(files), set()
    for job in ordered(run):
        if seen & set(job.inputs):
            seen.update(job.outputs)
            after.update(job.outputs)
    return after


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
    depth = len(file.parts)
    return [one for one in files if one != file and one.suffix == file.suffix and len(one.parts) == depth]


def one_damage(study: Study, before: dict[str, bytes], file: Path, damage: str, rng: random.Random) -> dict[str, str]:
    """What happens if a file of a finished study is damaged: a row of the table. The study is spoilt after it."""
    others = alike(file, files_of(study))
    if damage == "swap" and not others:
        damage = "flip"
    run, results = study.run, study.results
    DAMAGES[damage](file, rng, others)
    if file.is_relative_to(results):
        name = str(file.relative_to(results))
        gone = made_from(run, [name])
        if name.startswith("data/") and name.endswith(".h5") and not gone:  # made beside a record of them
            gone = made_from(run, [one for one in _names(run) if one.startswith("data/")])
    else:
        gone = set(_names(run))
    for one in gone - {str(file.relative_to(results)) if file.is_relative_to(results) else ""}:
        (results / one).unlink(missing_ok=True)
    status, said = study.finish()
    row = {"study": study.folder.name, "file": str(file.relative_to(study.root)), "damage": damage}
    if status == 0:
        same = study.shown() == before
        told = "warning" in said or damage == "drop"  # what is missing is made: that is no secret
        outcome = (REPAIRED if told else HARMLESS) if same else ("other numbers, with a word" if told else SILENT)
        return {**row, "outcome": outcome, "words": _first(said)}
    words = _first(said)
    if status != 2 or "Traceback" in said:
        return {**row, "outcome": "traceback", "words": words}
    with contextlib.suppress(InputError), contextlib.redirect_stderr(io.StringIO()):
        remove_damaged(study.run)
    status, said = study.finish()
    if status == 0:
        return {**row, "outcome": REFUSED if study.shown() == before else SILENT, "words": words}
    file.unlink(missing_ok=True)
    status, said = study.finish()
    return {**row, "outcome": BY_HAND if status == 0 else "not mended", "words": words}


def _names(run: Run) -> list[str]:
    return [file for job in run.kind.jobs(run.resolved) for file in job.outputs]


def _first(said: str) -> str:
    lines = [line for line in said.splitlines() if line.startswith(("error", "warning", "Traceback"))]
    return lines[0] if lines else ""


def measure(studies: Path, place: Path, count: int, names: Iterable[str] = STUDIES, seed: int = 0) -> pd.DataFrame:
    """Damage `count` files of studies, one at a time. studies: the folder of all; place: an empty folder to work in."""
    names, rng, rows = list(names), random.Random(seed), []
    for number, name in enumerate(names):
        whole = Study(studies / name, place / "whole" / name, SCALE)
        os.environ.pop("PTYDESIGN_CACHE", None)  # the cache is part of what is damaged
        status, said = whole.finish()
        if status:
            raise RuntimeError(f"{name}: {said}")
        before, files = whole.shown(), files_of(whole)
        for index in range(count // len(names) + (number < count % len(names))):
            copy = place / "copy"
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(whole.root, copy, ignore=shutil.ignore_patterns("jax"))
            study = Study(whole.folder, copy, SCALE)
            damage = list(DAMAGES)[index % len(DAMAGES)]
            file = copy / rng.choice(files).relative_to(whole.root)
            rows.append(one_damage(study, before, file, damage, rng))
            print(*(rows[-1][key] for key in ("outcome", "damage", "study", "file")), flush=True)
    return pd.DataFrame(rows)


def markdown(table: pd.DataFrame) -> str:
    """What became of all damages, by their sort."""
    counts = pd.crosstab(table["damage"], table["outcome"])
    counts.loc["all"] = counts.sum()
    lines = [["damage", *counts.columns, "all"], ["---"] * (len(counts.columns) + 2)]
    lines += [[name, *map(str, row), str(sum(row))] for name, *row in counts.itertuples()]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
