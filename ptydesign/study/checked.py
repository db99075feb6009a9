"""A checked study of any kind, ready to run: its settings, its plan.yaml, the memory of its jobs."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml

from ptydesign import __version__, io
from ptydesign.config import read_yaml
from ptydesign.errors import InputError
from ptydesign.study.file import PLAN
from ptydesign.study.store import digest
from ptydesign.study.versions import ALGORITHMS, LAYOUT

LIBRARIES = ("numpy", "scipy", "jax", "jaxlib", "abtem", "ase", "scikit-optimize", "scikit-learn", "scikit-image")


@dataclass(frozen=True)
class Checked:
    """What a checked study of any kind has. study: its model; results: its results folder."""

    study: Any
    results: Path
    warnings: tuple[str, ...] = field(default=(), kw_only=True)

    @cached_property
    def content(self) -> dict[str, Any]:
        """The study's settings, JSON-able. Not to be changed."""
        return self.study.model_dump(mode="json")

    @property
    def root(self) -> Path:
        """Folder that holds the results of all studies, their point store and cache."""
        return self.results.parent


def write_plan_file(resolved: Checked, kind: str, more: Mapping[str, Any]) -> None:
    """Write plan.yaml: the study's settings and, as `resolved`, what made it and `more`."""
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


def check_results(folder: Path, study: str) -> None:
    """Refuse a results folder of another layout version or of another study."""
    folder = Path(folder)
    plan_file = folder / "plan.yaml"
    if not plan_file.exists():  # new, or killed while the plan was being written
        return
    mend = f"Move {folder} away or delete it; the study then runs anew, from stored trials where they still hold."
    try:
        resolved = read_yaml(plan_file).get("resolved") or {}
        found, owner = resolved.get("layout"), resolved.get("study", study)
    except InputError as error:
        raise InputError("results folder", "must have a readable plan.yaml", error.value, mend) from None
    if not isinstance(found, int) or found < LAYOUT:
        rule = f"must have layout version {LAYOUT}, and {folder} was made by an older version of ptydesign"
        raise InputError("results folder", rule, found, mend)
    if found > LAYOUT:
        rule = f"must have layout version {LAYOUT}, and {folder} was made by a newer version of ptydesign"
        raise InputError("results folder", rule, found, f"Update ptydesign, or: {mend}")
    if owner != study:
        raise InputError("results folder", f"must belong to the study {study!r}", owner, mend)


def check_job_memory(study: str, gib: float, cores: int, machine_gib: float, mend: str, job: str = "") -> str | None:
    """Refuse a study of which one job doesn't fit into the machine; a warning if `cores` jobs at a time don't.

    gib: of its largest job. job: which one that is. mend: what to do about it.
    """
    if gib > machine_gib:
        found = f"an estimate of {gib:.1f} GiB" + (f" ({job})" if job else "")
        rule = f"a job must fit into this machine's {machine_gib:.0f} GiB of memory"
        raise InputError(f"studies/{study}", rule, found, mend)
    if cores * gib > machine_gib:
        return (
            f"{cores} jobs at a time need up to {cores * gib:.0f} GiB, this machine has {machine_gib:.0f}: "
            f"run with --cores {max(1, int(machine_gib / gib))}"
        )
    return None


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
