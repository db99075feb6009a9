"""A checked study of any kind, ready to run: its settings, its resolved.yaml, its results folder."""

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
from ptydesign.study.file import RESOLVED, resolved_file
from ptydesign.study.records import HASH_LINE, place_of, read_record, text_hash, write_record
from ptydesign.study.store import digest
from ptydesign.study.versions import ALGORITHMS, LAYOUT, READ_LAYOUTS

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

    def read_json(self, file: str) -> dict[str, Any]:
        """Content of a file of the results folder that another job made. Raises InputError if it can't be read, or
        isn't what was written."""
        return read_record(self.results, file)

    def write_json(self, file: str, content: Mapping[str, Any]) -> Path:
        """Write a file of the results folder that another job reads; returns its path."""
        return write_record(self.results, file, content)

    def place(self, file: str) -> str:
        """What an HDF5 file of the results folder says that it is."""
        return place_of(self.results, file)


def write_resolved(resolved: Checked, kind: str, numbers: Mapping[str, Any], more: Mapping[str, Any]) -> None:
    """Write resolved.yaml: the study's settings and, as `resolved`, what made it, its estimate and `more`."""
    made = {
        "layout": LAYOUT,
        "kind": kind,
        "study": resolved.study.study,
        "ptydesign": __version__,
        "algorithms": dict(ALGORITHMS),
        "hash": digest(resolved.content),
        **more,
        "estimate": dict(numbers),
        "warnings": list(resolved.warnings),
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "libraries": {name: _version(name) for name in LIBRARIES},
    }
    text = "# Written by `ptydesign resolve`: every setting of this study, and what made it.\n"
    text += yaml.safe_dump({**resolved.content, "resolved": made}, sort_keys=False, allow_unicode=True)
    io.write_text(resolved.results / RESOLVED, f"{text}{HASH_LINE}{text_hash(text)}\n")


def check_results(folder: Path, study: str) -> None:
    """Refuse a results folder of a layout that can't be read, or of another study."""
    folder = Path(folder)
    file = resolved_file(folder)
    if not file.exists():  # new, or killed while it was being written
        return
    mend = f"Move {folder} away or delete it; the study then runs anew, from stored trials where they still hold."
    try:
        made = read_yaml(file).get("resolved")
        made = made if isinstance(made, dict) else {}
        found, owner = made.get("layout"), made.get("study", study)
    except InputError as error:
        again = f"Delete {file}; the study's snakemake command makes it anew."
        raise InputError(str(file), "must be a readable file of this study", error.value, again) from None
    if not isinstance(found, int):
        again = f"Delete {file}; the study's snakemake command makes it anew."
        raise InputError(str(file), "must be a readable file of this study, with its layout", found, again)
    rule = f"must have layout version {LAYOUT}, and {folder} was made by"
    if found < min(READ_LAYOUTS):
        raise InputError("results folder", f"{rule} an older version of ptydesign", found, mend)
    if found > LAYOUT:
        raise InputError(
            "results folder", f"{rule} a newer version of ptydesign", found, f"Update ptydesign, or: {mend}"
        )
    if owner != study:
        raise InputError("results folder", f"must belong to the study {study!r}", owner, mend)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
