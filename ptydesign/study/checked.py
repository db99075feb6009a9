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
