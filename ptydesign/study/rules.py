"""What Snakemake's rules ask: each step of each kind is a rule, or one for each study where its files differ."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ptydesign.study.kind import Kind, Run, Step, Which
from ptydesign.study.requests import Requests


@dataclass(frozen=True)
class Rule:
    """A step of the studies of a kind, `runs` by their results folders, as a rule of Snakemake."""

    kind: Kind
    step: Step
    runs: Mapping[str, Run]
    studies: Path
    root: Path

    @property
    def name(self) -> str:
        """Of the rule."""
        own = f"_{next(iter(self.runs))}" if callable(self.step.makes) else ""
        return f"{self.kind.name}_{self.step.name}{own}"

    @property
    def outputs(self) -> list[str]:
        """Files, with the rule's wildcards."""
        if callable(self.step.makes):
            ((name, run),) = self.runs.items()
            return [f"{self.root}/{name}/{file}" for file in self.step.makes(run.resolved)]
        return [f"{self.root}/{{run}}/{file}" for file in self.step.makes]

    @property
    def wildcards(self) -> dict[str, str]:
        """What each wildcard may be: the studies of the kind, and what the step's jobs are called."""
        if callable(self.step.makes):
            return {}
        found: dict[str, dict[str, None]] = {name: {} for name in self.step.names}
        for run in self.runs.values():
            for which in self.step.each(run.resolved):
                for name in found:
                    found[name][str(which[name])] = None
        return {"run": "|".join(map(re.escape, self.runs)), **{n: _pattern(list(words)) for n, words in found.items()}}

    def job(self, wildcards: Any) -> tuple[str, Run, Which]:
        """(results folder, its study, which job) that wildcards name."""
        name = next(iter(self.runs)) if callable(self.step.makes) else wildcards.run
        run = self.runs[name]
        given = {one: wildcards[one] for one in self.step.names}
        return name, run, self.step.find(run.resolved, given, self.known[name]) if given else {}

    @cached_property
    def known(self) -> dict[str, Mapping[tuple[str, ...], Which]]:
        """Jobs of each study, by their names: there may be thousands."""
        return {name: self.step.known(run.resolved) for name, run in self.runs.items()}

    @property
    def inputs(self) -> Callable[[Any], list[str]]:
        """Of a job; a function of its wildcards."""

        def found(wildcards):
            name, run, which = self.job(wildcards)
            return [f"{self.root}/{name}/{file}" for file in self.step.inputs(run.resolved, which)]

        return found

    @property
    def settings(self) -> Callable[[Any], dict[str, Any]]:
        """What its output depends on, by value."""

        def found(wildcards):
            _, run, which = self.job(wildcards)
            return run.settings(self.step.name, which)

        return found

    @property
    def command(self) -> Callable[[Any], str]:
        """Its command line, behind Python's name."""

        def found(wildcards):
            _, run, which = self.job(wildcards)
            options = [f"--{name} {shlex.quote(str(value))}" for name, value in which.items()]
            if self.step.threads is not None:
                options.append(f"--threads {self.step.threads}")
            place = step_command(run, self.kind.name, self.step.name, which, self.studies, self.root)
            return " ".join([place, *options])

        return found

    @cached_property
    def requests(self) -> dict[str, Requests]:
        """What to ask for, of each study."""
        return {name: Requests(run) for name, run in self.runs.items()}

    def resources(self, gpu: bool) -> dict[str, Any]:
        """Memory in MB and runtime in minutes of a job. gpu: whether all get a GPU that don't say otherwise
        (`default-resources: [gpu=1]` of a profile); a step that can't use it says so."""

        def memory(wildcards, attempt):
            return self.requests[self.job(wildcards)[0]].memory_mb(self.step, attempt)

        def runtime(wildcards, attempt):
            return self.requests[self.job(wildcards)[0]].runtime_min(self.step, attempt)

        return {"mem_mb": memory, "runtime": runtime, **({"gpu": 0} if gpu and not self.step.jax else {})}

    def beside(self, suffix: str) -> str:
        """A file in logs/ with the rule's wildcards."""
        name = next(iter(self.runs)) if callable(self.step.makes) else "{run}"
        parts = [self.step.name, *(f"{{{one}}}" for one in self.step.names)]
        return f"{self.root}/{name}/logs/{'-'.join(parts)}.{suffix}"


def step_command(run: Run, kind: str, step: str, which: Which, studies: Path, root: Path) -> str:
    """A step's command line up to its own options, with the settings that it is expected to find."""
    study = run.resolved.study
    folder, results = shlex.quote(str(studies / study.study)), shlex.quote(str(root))
    expected = run.settings_hash(step, which)
    return f"-m ptydesign step {kind} {step} {folder} --scale {study.scale} --root {results} --expect {expected}"


def rules(runs: Mapping[str, Run], studies: Path, root: Path) -> Iterator[Rule]:
    """All rules of all studies but those that every study has."""
    kinds: dict[str, dict[str, Run]] = {}
    for name, run in runs.items():
        kinds.setdefault(run.kind.name, {})[name] = run
    for found in kinds.values():
        kind = next(iter(found.values())).kind
        for step in kind.steps:
            groups = [{name: run} for name, run in found.items()] if callable(step.makes) else [found]
            for group in groups:
                if any(list(step.each(run.resolved)) for run in group.values()):
                    yield Rule(kind, step, group, studies, root)


def _pattern(words: list[str]) -> str:
    """A regular expression of these words and no others; of numbers, of any number."""
    if all(word.isdecimal() for word in words):
        return "[0-9]+"
    return "|".join(map(re.escape, words))
