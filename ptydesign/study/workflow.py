"""What the Snakefile asks: which studies there are, and which settings each of their jobs depends on.

A rule's `params` hold these settings by value, so that a job runs again when a setting or an algorithm version that it
depends on changes, and not when a comment or an unrelated setting does.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ptydesign.errors import InputError, nearest
from ptydesign.study import layout
from ptydesign.study.config import DEFAULT_SCALE
from ptydesign.study.estimate import check_memory, memory_gib
from ptydesign.study.resolve import Resolved, resolve
from ptydesign.study.store import digest
from ptydesign.study.trial import study_inputs
from ptydesign.study.versions import ALGORITHMS, LAYOUT, versions

OPTIONS = ("scale",)


def load_studies(
    studies: Path, config: Mapping[str, Any], arguments: Sequence[str], root: Path, cores: int = 1
) -> dict[str, Resolved]:
    """Every study below `studies` at the scale asked for, by the name of its results folder.

    Raises InputError for an unknown option, a results folder that can't be written, a job too large for this machine,
    and for a broken study if it is asked for, or if none is asked for by name; otherwise a broken study is left out
    with a warning. cores: jobs at a time, for a warning if they need more memory than there is.
    """
    for name in config:
        if name not in OPTIONS:
            raise InputError(f"--config {name}", "is not a known option", config[name], nearest(str(name), OPTIONS))
    scale = str(config.get("scale", DEFAULT_SCALE))
    _check_folder(root)
    asked = {Path(word).name for word in arguments if word.startswith(f"{studies.name}/")}
    found = {}
    for file in sorted(Path(studies).glob("*/study.yaml")):
        try:
            resolved = resolve(file.parent, scale, root)
        except InputError as error:
            if not asked or file.parent.name in asked:
                raise
            print(f"warning: {file.parent} is left out: {error}", file=sys.stderr)
            continue
        found[resolved.results.name] = resolved
    for name in asked:
        if not (Path(studies) / name / "study.yaml").is_file():
            known = [file.parent.name for file in Path(studies).glob("*/study.yaml")]
            raise InputError("study", "must be a folder in studies/ with a study.yaml", name, nearest(name, known))
    if not any(word.startswith("--executor") or word == "-e" for word in arguments):  # else another machine's memory
        for resolved in found.values():
            if resolved.study.study in asked:
                warning = check_memory(resolved.study, resolved.shape, cores, machine_memory_gib())
                if warning:
                    print(f"warning: {warning}", file=sys.stderr)
    return found


def machine_memory_gib() -> float:
    """Physical memory of this machine; infinite where the system doesn't tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    except (ValueError, OSError, AttributeError):
        return math.inf


def _check_folder(root: Path) -> None:
    """Refuse a results folder that can't be written to, before any work."""
    above = root if root.exists() else root.parent
    if not above.is_dir() or not os.access(above, os.W_OK):
        mend = "Remove what is in its place, or change its permissions."
        raise InputError("results folder", "must be a folder that can be written to", str(root), mend)


def settings(resolved: Resolved, step: str, search: str | None = None, round_: int = 0) -> dict[str, Any]:
    """Settings, by value, that a step's output depends on; what it reads from files of other steps is not repeated.

    search, round_: of the steps that belong to one.
    """
    study = resolved.content
    config = study["search"]
    size = None if search is None else layout.searches(resolved.study)[search].sizes[round_]
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
    return int(1024 * memory_gib(resolved.study, resolved.shape) * (1 + 0.5 * attempt))


def settings_hash(resolved: Resolved, step: str, search: str | None = None, round_: int = 0) -> str:
    """Hash of `settings`: a job refuses to run if the study file was changed after the graph of jobs was made."""
    return digest(settings(resolved, step, search, round_))[:12]


def search_files(resolved: Resolved, kinds: Sequence[str]) -> list[str]:
    """Files of all chunks of some kinds of searches, relative to the results folder."""
    found = layout.searches(resolved.study).values()
    return [file for search in found if search.kind in kinds for file in search.all_files()]


def winner_files(resolved: Resolved) -> list[str]:
    """Files that hold each dose's winner, relative to the results folder."""
    return [f"search/{s.name}/best.json" for s in layout.searches(resolved.study).values() if s.kind == layout.BO]
