"""The resolved plan: a study with every default written out, what it will cost, and what versions made it."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml

from ptydesign import __version__, io
from ptydesign.errors import InputError
from ptydesign.simulate.potential import potential_key
from ptydesign.study import layout
from ptydesign.study.checks import check_results, check_study, potential_shape
from ptydesign.study.config import StudyConfig
from ptydesign.study.estimate import estimate
from ptydesign.study.file import folder_name, load_study
from ptydesign.study.store import digest
from ptydesign.study.versions import ALGORITHMS, LAYOUT

PLAN = "plan.yaml"
LIBRARIES = ("numpy", "scipy", "jax", "jaxlib", "abtem", "ase", "scikit-optimize", "scikit-learn", "scikit-image")


@dataclass(frozen=True)
class Resolved:
    """A checked study, ready to run. results: its results folder. shape: pixels (y, x) of its potential."""

    study: StudyConfig
    results: Path
    shape: tuple[int, int]
    key: str
    warnings: tuple[str, ...] = ()

    @cached_property
    def content(self) -> dict[str, Any]:
        """The study's settings, JSON-able. Not to be changed."""
        return self.study.model_dump(mode="json")

    @property
    def root(self) -> Path:
        """Folder that holds the results of all studies, their point store and cache."""
        return self.results.parent


def resolve(folder: Path, scale: str, root: Path) -> Resolved:
    """The study of a folder at one scale, with all checks done. Raises InputError; takes about a second."""
    folder = Path(folder)
    study = load_study(folder, scale, StudyConfig)
    try:
        study, warnings = check_study(study, folder)
    except InputError as error:
        raise InputError(f"{folder / 'study.yaml'}: {error.field}", error.rule, error.value, error.mend) from None
    results = Path(root) / folder_name(study.study, scale)
    check_results(results, study.study)
    shape = potential_shape(study, folder)
    return Resolved(
        study, results, shape, potential_key(study.sample, study.potential, shape, study.seed), tuple(warnings)
    )


def write_plan(resolved: Resolved, cores: int) -> dict[str, Any]:
    """Write results/<study>/plan.yaml and return the estimate in it."""
    numbers = estimate(resolved.study, resolved.shape, cores)
    more = {"potential_shape": list(resolved.shape), "potential_key": resolved.key, "estimate": numbers}
    write_plan_file(resolved, "experiment", more)
    return numbers


def write_plan_file(resolved: Any, kind: str, more: Mapping[str, Any]) -> None:
    """Write plan.yaml of a study of any kind: its settings (`resolved.content`) and, as `resolved`, what made it and
    `more`."""
    header = {
        "layout": LAYOUT,
        "kind": kind,
        "study": resolved.study.study,
        "ptydesign": __version__,
        "algorithms": dict(ALGORITHMS),
        "hash": digest(resolved.content),
        **more,
        "warnings": list(resolved.warnings),
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "libraries": {name: _version(name) for name in LIBRARIES},
    }
    text = "# Written by `ptydesign resolve`: every setting of this study, and what made it.\n"
    text += yaml.safe_dump({**resolved.content, "resolved": header}, sort_keys=False, allow_unicode=True)
    io.write_text(resolved.results / PLAN, text)


def total_trials(resolved: Resolved) -> int:
    """Number of trials of the study."""
    return layout.total_trials(resolved.study)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
