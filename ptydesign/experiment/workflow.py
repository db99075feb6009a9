"""What the Snakefile asks of a study of an experiment: which settings each of its jobs depends on, which files.

A rule's `params` hold these settings by value, so that a job runs again when a setting or an algorithm version that it
depends on changes, and not when a comment or an unrelated setting does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ptydesign.experiment import estimate, layout
from ptydesign.experiment import resolve as resolve_module
from ptydesign.experiment.config import StudyConfig
from ptydesign.experiment.resolve import Resolved
from ptydesign.experiment.trial import study_inputs
from ptydesign.study.versions import ALGORITHMS, LAYOUT, versions

MODEL = StudyConfig


def load(folder: Path, scale: str, root: Path) -> Resolved:
    """The checked study of a folder."""
    return resolve_module.resolve(folder, scale, root)


def check_memory(resolved: Resolved, cores: int, machine_gib: float) -> str | None:
    """A warning if jobs side by side need more memory than there is. Raises InputError if one does."""
    return estimate.check_memory(resolved.study, resolved.shape, cores, machine_gib)


def write_plan(resolved: Resolved, cores: int) -> dict[str, Any]:
    """Write plan.yaml and return the estimate."""
    return resolve_module.write_plan(resolved, cores)


def summary(resolved: Resolved, cores: int, numbers: Mapping[str, Any] | None = None) -> str:
    """What the study would take, in words. numbers: the estimate, if it was made."""
    return estimate.summary(resolved.study, numbers or estimate.estimate(resolved.study, resolved.shape, cores))


def table_files(resolved: Resolved) -> list[str]:
    """What figures and report are drawn from, relative to the results folder."""
    return layout.table_files(resolved.study)


def draw(results: Path) -> list[Path]:
    """Draw the figures of a results folder."""
    from ptydesign.experiment.figures import draw_all

    return draw_all(results)


def report(results: Path) -> Path:
    """Write the report of a results folder."""
    from ptydesign.experiment.report import write_report

    return write_report(results)


def settings(resolved: Resolved, step: str, search: str | None = None, round_: int = 0) -> dict[str, Any]:
    """Settings, by value, that a step's output depends on; what it reads from files of other steps is not repeated.

    search, round_: of the steps that belong to one.
    """
    study = resolved.content
    config = study["search"]
    size = None if search is None else layout.find_search(resolved.study, search).sizes[round_]
    trial = {**study_inputs(resolved.study, resolved.key), "experiment": study["experiment"], "seed": study["seed"]}
    model = {"space": study["space"], "objective": study["objective"], "seed": study["seed"], **versions("design")}
    first = ("initial", "initial_design", "points")
    match step:
        case "resolve":
            return {**study, "potential_key": resolved.key, "layout": LAYOUT, "algorithms": dict(ALGORITHMS)}
        case "potential":
            return {"key": resolved.key}
        case "propose" if round_ > 0:
            return {**model, "search": {n: v for n, v in config.items() if n not in first}, "n": size}
        case "propose":
            return {**versions("design"), **_first_points(resolved, search)}
        case "evaluate":
            return {**trial, "n": size, "chunk": study["jobs"]["chunk"]}
        case "choose":
            return {**model, "kernel": config["kernel"], "failure_value": config["failure_value"]}
        case "validate":
            extra = {n: study[n] for n in ("reference", "validation")}
            return {**trial, **extra, "parameters": list(study["space"])}
        case "collect":
            names = ("space", "objective", "score", "map", "experiment", "sample", "reference")
            return {**{n: study[n] for n in names}, **versions("collect"), "layout": LAYOUT}
        case "figures" | "report":
            return versions("figures")
    raise ValueError(step)


def _first_points(resolved: Resolved, search: str) -> dict[str, Any]:
    """What the first round of a search depends on."""
    study, found = resolved.study, layout.searches(resolved.study)[search]
    if found.kind == layout.MAP:
        return {"map": study.map.model_dump(mode="json")}
    space = {"space": study.space.model_dump(mode="json"), "seed": study.seed, "n": found.sizes[0]}
    return space if found.kind == layout.RANDOM else {**space, "design": study.search.initial_design}


def job_memory_mb(resolved: Resolved, attempt: int) -> int:
    """Memory to ask for; grows with the attempt."""
    return int(1024 * estimate.memory_gib(resolved.study, resolved.shape) * (1 + 0.5 * attempt))


def search_files(resolved: Resolved, kinds: Sequence[str]) -> list[str]:
    """Files of all chunks of some kinds of searches, relative to the results folder."""
    found = layout.searches(resolved.study).values()
    return [file for search in found if search.kind in kinds for file in search.all_files()]


def winner_files(resolved: Resolved) -> list[str]:
    """Files that hold each dose's winner, relative to the results folder."""
    return [f"search/{s.name}/best.json" for s in layout.searches(resolved.study).values() if s.kind == layout.BO]
