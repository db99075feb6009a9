"""Which kinds of studies there are, and loading studies of any kind.

A new kind is a package (a simple one: a module) with a `KIND` and one line in KINDS.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ptydesign import functions, machine
from ptydesign.config import read_yaml
from ptydesign.errors import InputError, nearest
from ptydesign.study import cost
from ptydesign.study.file import DEFAULT_KIND, DEFAULT_SCALE, SCALES, kind_of, named_today
from ptydesign.study.kind import Kind, Run, load
from ptydesign.study.tables import read_settings

KINDS = {
    "experiment": "ptydesign.experiment.kind:KIND",
    "depth": "ptydesign.depth.kind:KIND",
    "tuning": "ptydesign.tuning.kind:KIND",
    "regularisation": "ptydesign.regularisation.kind:KIND",
    "planning": "ptydesign.planning.kind:KIND",
    "compare": "ptydesign.compare.kind:KIND",
}
RULES = Path(__file__).parent / "study" / "study.smk"  # Snakemake's rules of all kinds

PLANNING = "planning"
OPTIONS = ("scale", "allow_code")
ALL = "all"  # the target that is all studies


def find_kind(name: str) -> Kind:
    """A kind by its name, also as it used to be called. Raises InputError."""
    name = named_today(name)
    if name not in KINDS:
        raise InputError("kind", "is not a known kind of study", name, nearest(name, KINDS))
    return load(KINDS[name])


def open_study(folder: Path, scale: str, root: Path) -> Run:
    """The checked study of a folder at one scale. Raises InputError; takes about a second."""
    kind = find_kind(kind_of(folder, KINDS))
    return Run(kind, kind.load(Path(folder), scale, root))


def open_any(path: Path, scale: str, root: Path) -> Run:
    """`open_study`, also of a folder's study.yaml and of a plan's file outside of any study. Raises InputError."""
    path = Path(path)
    if path.name == "study.yaml" or path.suffix not in (".yaml", ".yml"):
        return open_study(path.parent if path.is_file() else path, scale, root)
    content = read_yaml(path)
    kind = content.get("kind", DEFAULT_KIND if DEFAULT_KIND in content else PLANNING)
    if isinstance(kind, str) and find_kind(kind).name != PLANNING:
        mend = f"Make it studies/{path.stem}/study.yaml, and check that folder."
        raise InputError(str(path), "must be in a folder of its own, which names the study", path.name, mend)
    return Run(find_kind(PLANNING), find_kind(PLANNING).load(path, scale, root))


def finished_kind(results: Path) -> Kind:
    """The kind that a results folder belongs to. Raises InputError if it has no settings of a study."""
    _, made = read_settings(results)
    return find_kind(str(made.get("kind", DEFAULT_KIND)))


def load_studies(studies: Path, config: Mapping[str, Any], arguments: Sequence[str], root: Path) -> dict[str, Run]:
    """The studies below `studies` at the scale asked for, by the names of their results folders: those that the command
    line names, none where it names none, and all for the target `all`.

    Raises InputError for an unknown option, a results folder that can't be written, and for a broken study if it is
    asked for or all are; otherwise a broken study is left out with a warning.
    """
    for name in config:
        if name not in OPTIONS:
            raise InputError(f"--config {name}", "is not a known option", config[name], nearest(str(name), OPTIONS))
    scale = str(config.get("scale", DEFAULT_SCALE))
    if str(config.get("allow_code", False)).lower() == "true":  # for the jobs, too: each reads this configuration
        functions.allow()
    _check_folder(root)
    known = {file.parent.name: file.parent for file in sorted(Path(studies).glob("*/study.yaml"))}
    asked = {Path(word).name for word in arguments if word.startswith(f"{studies.name}/")}
    for name in asked - set(known):
        raise InputError("study", "must be a folder in studies/ with a study.yaml", name, nearest(name, known))
    found = {}
    for name in _named(known, arguments):
        try:
            run = open_study(known[name], scale, root)
        except InputError as error:
            if name in asked or ALL in arguments:
                raise
            print(f"warning: {known[name]} is left out: {error}", file=sys.stderr)
            continue
        found[run.resolved.results.name] = run
    return found


def _named(known: Iterable[str], arguments: Sequence[str]) -> list[str]:
    """Studies that a command line names, also in a file or as an executor names its jobs: the others need not be read
    for each job."""
    words = [word for word in arguments if not word.startswith("scale=")]
    return [name for name in known if ALL in words or any(name in word for word in words)]


def overview(studies: Path, scale: str, root: Path, cores: int) -> Iterator[str]:
    """Lines that say which studies there are, what each takes at a scale, and how to run one. Raises InputError."""
    folders = [file.parent for file in sorted(Path(studies).glob("*/study.yaml"))]
    if not folders:
        raise InputError("studies", "must hold folders with a study.yaml", str(studies), "docs/studies.md shows one.")
    rate = cost.fft_rate()
    wide = 2 + max(len(str(folder)) for folder in folders)
    yield f"{'study':{wide}s}{'kind':16s}{'jobs':>6s}{'time':>10s}{'GiB':>6s}  title"
    for folder in folders:
        try:
            run = open_study(folder, scale, root)
        except InputError as error:
            yield f"{folder!s:{wide}s}{error}"
            continue
        numbers = cost.estimate(run.kind, run.resolved, cores, rate)
        took = f"{numbers['jobs']:6d}{cost.duration(numbers['minutes']):>10s}{numbers['memory_gib_all_cores']:6.1f}"
        yield f"{folder!s:{wide}s}{run.kind.name:16s}{took}  {run.resolved.study.title}"
    yield ""
    yield f"Time and memory are estimates for {cores} cores at scale {scale} (scales: {', '.join(SCALES)})."
    yield f"To run one: snakemake {folders[0]} --config scale={scale}"
    yield f"To run all: snakemake {ALL}"


def check_sizes(runs: Iterable[Run]) -> None:
    """Refuse studies that take more than anybody has machines for. Raises InputError."""
    for run in runs:
        cost.check_size(run.kind, run.resolved)


def check_fits(runs: Iterable[Run], cores: int) -> None:
    """Refuse studies of which one job doesn't fit into this machine; warn of those of which `cores` jobs don't.

    Raises InputError."""
    for run in runs:
        warning = cost.check_memory(run.kind, run.resolved, cores, machine.memory_bytes() / machine.GIB)
        if warning:
            print(f"warning: {warning}", file=sys.stderr)


def _check_folder(root: Path) -> None:
    """Refuse a results folder that can't be written to, before any work."""
    above = root if root.exists() else root.parent
    if not above.is_dir() or not os.access(above, os.W_OK):
        mend = "Remove what is in its place, or change its permissions."
        raise InputError("results folder", "must be a folder that can be written to", str(root), mend)
