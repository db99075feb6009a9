"""What a kind of studies is, as data: its steps, tables, figures and page. Everything else follows from them.

A `Step` says each fact about a job once. Snakemake's rules, their wildcards, the options on the command line, the lists
of files, the counts of jobs and the estimate are made from it (`study.smk`, `jobs`, `ptydesign.study.cost`).
"""

from __future__ import annotations

import graphlib
import importlib
import string
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptydesign.errors import InputError, nearest
from ptydesign.study.store import digest
from ptydesign.study.versions import ALGORITHMS, LAYOUT, versions

if TYPE_CHECKING:
    from pydantic import BaseModel

    from ptydesign.study.checked import Checked
    from ptydesign.study.figures import Figure
    from ptydesign.study.page import Page
    from ptydesign.study.tables import Tables

SHARED = ("resolve", "figures", "report")  # steps that every study has

Which = Mapping[str, Any]  # which of a step's jobs: {"variant": "base"}
Files = str | Callable[..., Iterable[str]]  # a pattern, or a function of (resolved, **which)


def once(resolved: Checked) -> list[Which]:
    """Of a step that has one job."""
    return [{}]


def nothing(resolved: Checked, **which: Any) -> dict[str, Any]:
    """Of a step that depends on the files alone that it reads."""
    return {}


def load(place: str) -> Any:
    """What a place as `ptydesign.depth.figures:FIGURES` names; imported when it is needed."""
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)


@dataclass(frozen=True)
class Step:
    """One job of a study, or many of a sort.

    does: the function (resolved, **which) that does it, as `module:name`, imported only when it runs. makes: its files,
    as patterns that hold the names of `which`; or a function of resolved, for files that differ from study to study.
    each: which jobs there are. needs: files of other steps. depends: the settings, by value, that its output depends on
    beside those files. memory: the entry of the kind's `memory` that a job needs. progress: it is given the progress
    line. jax: it compiles, and a GPU makes it faster. local: it takes seconds, so it isn't asked of a cluster. threads:
    cores of a job; None: all.
    """

    name: str
    help: str
    does: str
    makes: tuple[str, ...] | Callable[[Any], list[str]]
    each: Callable[[Any], Iterable[Which]] = once
    needs: tuple[Files, ...] = ()
    depends: Callable[..., dict[str, Any]] = nothing
    memory: str = ""
    priority: int = 0
    progress: bool = False
    jax: bool = False
    local: bool = False
    threads: int | None = 1

    @cached_property
    def names(self) -> tuple[str, ...]:
        """What tells its jobs apart: the options on the command line, and the rule's wildcards."""
        if callable(self.makes):
            return ()
        found = [name for file in self.makes for _, name, _, _ in string.Formatter().parse(file) if name]
        return tuple(dict.fromkeys(found))

    def outputs(self, resolved: Checked, which: Which) -> list[str]:
        """Files of one job, relative to the results folder."""
        if callable(self.makes):
            return list(self.makes(resolved))
        return [file.format(**which) for file in self.makes]

    def files(self, resolved: Checked, **which: Any) -> list[str]:
        """Files of all its jobs; as one of another step's `needs`."""
        return [file for one in self.each(resolved) for file in self.outputs(resolved, one)]

    def inputs(self, resolved: Checked, which: Which) -> list[str]:
        """Files that one job needs, relative to the results folder."""
        found: list[str] = []
        for need in self.needs:
            found += [need.format(**which)] if isinstance(need, str) else need(resolved, **arguments(which))
        return found

    def settings(self, resolved: Checked, which: Which) -> dict[str, Any]:
        """What one job's output depends on beside its inputs, by value."""
        return self.depends(resolved, **arguments(which))

    def known(self, resolved: Checked) -> dict[tuple[str, ...], Which]:
        """Its jobs, by their names as words."""
        return {tuple(str(one[name]) for name in self.names): one for one in self.each(resolved)}

    def find(
        self, resolved: Checked, given: Mapping[str, str], known: Mapping[tuple[str, ...], Which] | None = None
    ) -> Which:
        """The job that words name, as a rule's wildcards or options do. known: its jobs, where many are looked for.

        Raises InputError."""
        known = self.known(resolved) if known is None else known
        words = tuple(str(given[name]) for name in self.names)
        if words not in known:
            near = nearest(" ".join(words), [" ".join(one) for one in known])
            raise InputError(f"{self.name}: {', '.join(self.names)}", "must be one of the study's", words, near)
        return known[words]

    def run(self, resolved: Checked, which: Which, **more: Any) -> Any:
        """Do one job."""
        return load(self.does)(resolved, **arguments(which), **more)


def arguments(which: Which) -> dict[str, Any]:
    """A job's names as arguments of a function: `round` is Python's own."""
    return {{"round": "round_"}.get(name, name): value for name, value in which.items()}


@dataclass(frozen=True)
class Work:
    """Of all jobs of a step. units: FFT units (`ptydesign.study.cost`). seconds: of one core, besides. chain: FFT units
    that can only be done one after the other; chain_s: seconds, where a clock ends what is done."""

    units: float = 0.0
    seconds: float = 0.0
    chain: float = 0.0
    chain_s: float = 0.0


@dataclass(frozen=True)
class Job:
    """One job of a study."""

    step: Step
    which: Which
    outputs: list[str]
    inputs: list[str]
    settings: dict[str, Any]


@dataclass(frozen=True)
class Counted:
    """The trials of a study, for its progress. version: hash of what determines them. unit: of what they differ in.
    metric: what is maximised. parts: how many are expected of those whose names begin with `<part>/`, of which each has
    a cost of its own; `total` is the most there can be."""

    total: int
    version: str
    unit: str = "e/A^2"
    metric: str = "ssim"
    parts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Kind:
    """A kind of studies.

    asks: its question, in a line. model: of the study file. load: (folder, scale, root) -> the checked study. tables:
    files that figures and page are drawn from. read, figures, page: `module:name` of the function that reads the tables
    of a results folder, of the tuple of figures, and of the function (tables) -> Page. work: FFT units and seconds of
    each step. memory: GiB of a job, by the names that steps give. words: (resolved, estimate) -> what the study takes,
    in words. more: what resolved.yaml holds beside the settings. resolves: what that file depends on beside them. mend:
    what to do where memory doesn't suffice. seen: versions of algorithms that pictures and page depend on. also:
    `module:name` of the function (tables) that writes what belongs to the report besides the page. progress: what
    there is to count while it runs.
    """

    name: str
    asks: str
    model: type[BaseModel]
    load: Callable[[Path, str, Path], Any]
    steps: tuple[Step, ...]
    tables: Callable[[Any], list[str]]
    read: str
    figures: str
    page: str
    work: Callable[[Any], Mapping[str, Work]]
    memory: Callable[[Any], Mapping[str, float]]
    words: Callable[[Any, Mapping[str, Any]], str]
    more: Callable[[Any], dict[str, Any]] = field(default=lambda resolved: {})
    resolves: Callable[[Any], dict[str, Any]] = field(default=lambda resolved: {})
    mend: str = "Scan fewer positions, or run it with an executor plugin."
    seen: tuple[str, ...] = ("figures",)
    also: str = ""
    progress: Callable[[Any], Counted] | None = None

    def step(self, name: str) -> Step:
        """A step by its name. Raises InputError."""
        known = {step.name: step for step in self.steps}
        if name not in known:
            mend = f"{nearest(name, known)} `ptydesign step {self.name} --help` lists them.".strip()
            raise InputError("step", f"is not a step of the kind {self.name}", name, mend)
        return known[name]

    def jobs(self, resolved: Checked) -> Iterator[Job]:
        """All jobs of a study but `resolve`, `figures` and `report`, which every study has."""
        for step in self.steps:
            for which in step.each(resolved):
                yield Job(
                    step,
                    which,
                    step.outputs(resolved, which),
                    step.inputs(resolved, which),
                    step.settings(resolved, which),
                )

    def shared_settings(self, resolved: Checked, name: str) -> dict[str, Any]:
        """Settings of the steps that every study has: resolve, figures, report."""
        if name == "resolve":
            return {**resolved.content, **self.resolves(resolved), "layout": LAYOUT, "algorithms": dict(ALGORITHMS)}
        return versions(*self.seen)

    def read_tables(self, results: Path) -> Tables:
        """The tables of a results folder, checked. Raises InputError naming what is missing or wrong."""
        return load(self.read)(Path(results))

    def write_also(self, tables: Tables) -> list[Path]:
        """Write what belongs to the report besides the page; returns the paths of what nobody is to change."""
        return load(self.also)(tables) if self.also else []

    def write_pages(self, tables: Tables) -> Path:
        """Write report.html and what belongs to it, and last of all their hashes; returns the report's path."""
        from ptydesign.study.figures import INDEX
        from ptydesign.study.page import PAGES, write_page
        from ptydesign.study.records import SHOWS, file_hash, hashes_of, write_record
        from ptydesign.study.tables import HASHES

        folder = tables.folder
        (folder / PAGES).unlink(missing_ok=True)  # if this ends half-way, pages without hashes are made again
        paths = self.write_also(tables)
        report = write_page(tables, self.make_page(tables), self.pictures)
        hashes = {path.name: file_hash(path) for path in (*paths, report)}
        write_record(folder, PAGES, {"files": hashes, SHOWS: hashes_of(folder, HASHES, INDEX)})
        return report

    @property
    def pictures(self) -> tuple[Figure, ...]:
        """Its figures."""
        return load(self.figures)

    def make_page(self, tables: Tables) -> Page:
        """What the report says."""
        return load(self.page)(tables)


@dataclass(frozen=True)
class Run:
    """A checked study at one scale, and its kind."""

    kind: Kind
    resolved: Any

    def settings(self, step: str, which: Which | None = None) -> dict[str, Any]:
        """Settings, by value, that a job depends on."""
        if step in SHARED:
            return self.kind.shared_settings(self.resolved, step)
        return self.kind.step(step).settings(self.resolved, which or {})

    def settings_hash(self, step: str, which: Which | None = None) -> str:
        """Hash of `settings`: a job refuses to run if the study file was changed after the graph of jobs was made."""
        return digest(self.settings(step, which))[:12]

    @cached_property
    def made_with(self) -> dict[str, str]:
        """Hashes of settings by file: those of its job, and of all jobs that its inputs come from."""
        jobs = list(self.kind.jobs(self.resolved))
        maker = {file: number for number, job in enumerate(jobs) for file in job.outputs}
        needs = {number: {maker[f] for f in job.inputs if f in maker} for number, job in enumerate(jobs)}
        found: dict[int, str] = {}
        for number in graphlib.TopologicalSorter(needs).static_order():
            earlier = sorted(found[one] for one in needs[number])
            found[number] = digest([jobs[number].settings, earlier])[:12]
        return {file: found[number] for file, number in maker.items()}

    @cached_property
    def memory_gib(self) -> Mapping[str, float]:
        """Of a job, by the names that steps give."""
        return self.kind.memory(self.resolved)
