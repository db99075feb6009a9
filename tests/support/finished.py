"""The tiny study of each kind, run to its report once in a session, for all tests that look at one or change a copy."""

from __future__ import annotations

import itertools
import json
import os
import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fcntl import LOCK_EX, flock
from pathlib import Path
from types import SimpleNamespace

import pytest
from every_kind import write_tiny

from ptydesign import kinds
from ptydesign.cli import main
from ptydesign.study import cost
from ptydesign.study.kind import Job, Run
from ptydesign.study.rules import Rule, rules


class Wildcards(dict):
    """What Snakemake gives to a rule: values by name."""

    __getattr__ = dict.__getitem__


@dataclass
class Study:
    """A tiny study in a workplace. renames: files that each job put in place, as it was counted."""

    workplace: Path
    kind: str
    renames: dict[str, int] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        return self.workplace / "studies" / self.kind

    @property
    def root(self) -> Path:
        return self.workplace / "results"

    @property
    def results(self) -> Path:
        return self.root / self.kind

    @property
    def run(self) -> Run:
        return kinds.open_study(self.folder, "preview", self.root)

    def jobs(self) -> Iterator[Job]:
        """All jobs, each after those that make its inputs."""
        run = self.run
        waiting, made = list(run.kind.jobs(run.resolved)), {"resolved.yaml"}
        while waiting:
            ready = [job for job in waiting if made.issuperset(job.inputs)]
            assert ready, f"what makes the inputs of {waiting[0]}?"
            for job in ready:
                made.update(job.outputs)
                waiting.remove(job)
                yield job

    def files(self, job: Job) -> list[Path]:
        return [self.results / file for file in job.outputs]

    def command(self, step: str, which=None, *more: str) -> list[str]:
        options = [word for name, value in (which or {}).items() for word in (f"--{name}", str(value))]
        return ["step", self.kind, step, str(self.folder), "--root", str(self.root), *options, *more]

    def rule(self, job: Job) -> Rule:
        """The rule that makes a job's files."""
        (found,) = (r for r in rules({self.kind: self.run}, self.folder.parent, self.root) if r.step == job.step)
        return found

    def do(self, job: Job) -> None:
        """Run a job as its rule's command line does, but in this process."""
        wildcards = Wildcards(run=self.kind, **{name: str(value) for name, value in job.which.items()})
        python, ptydesign, *words = shlex.split(self.rule(job).command(wildcards))
        assert (python, ptydesign) == ("-m", "ptydesign")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "environ", os.environ.copy())  # the command bounds its own threads only
            assert main(words) == 0, job
        assert all(file.is_file() for file in self.files(job)), job

    def step(self, name: str, **which: str) -> None:
        """Do a job anew, of a study that may have changed since."""
        assert main(self.command(name, which)) == 0, (name, which)

    def report(self) -> str:
        """The page, figures and page made anew."""
        for command in ("figures", "report"):
            assert main([command, str(self.results)]) == 0
        return (self.results / "report.html").read_text(encoding="utf-8")

    def copy(self, workplace: Path) -> Study:
        """The same to be changed, in another workplace."""
        shutil.copytree(self.workplace, workplace, dirs_exist_ok=True)
        return Study(workplace, self.kind, self.renames)


class Finished(dict[str, Study]):
    """Studies that ran to their report, by kind: made when they are asked for, by one of the session's processes."""

    def __init__(self, folder: Path):
        super().__init__()
        self.folder = folder
        self.cache = folder / "cache"

    @contextmanager
    def surroundings(self) -> Iterator[None]:
        """Where their jobs find what is kept (potentials, compiled code), on a machine that always has one speed."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PTYDESIGN_CACHE", str(self.cache))
            ticks = itertools.count(step=1 / 16)
            patch.setattr(cost, "time", SimpleNamespace(process_time=ticks.__next__))
            yield

    def __missing__(self, kind: str) -> Study:
        study, counts = Study(self.folder / kind, kind), self.folder / f"{kind}.json"
        with (self.folder / f"{kind}.lock").open("w") as lock:
            flock(lock, LOCK_EX)
            if not counts.exists():
                shutil.rmtree(study.workplace, ignore_errors=True)  # of a process that failed
                with self.surroundings():
                    finish(study)
                counts.write_text(json.dumps(study.renames))
        study.renames = json.loads(counts.read_text())
        self[kind] = study
        return study


def finish(study: Study) -> None:
    """Run all jobs of a study, and count the files that each puts in place."""
    write_tiny(study.kind, study.folder)
    rename = os.replace
    study.step("resolve")
    for job in study.jobs():
        count = 0

        def counted(source, target):
            nonlocal count
            count += str(target).startswith(str(study.root))
            rename(source, target)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "replace", counted)
            study.do(job)
        study.renames[str(job.outputs)] = count
    study.report()
