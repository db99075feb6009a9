"""Which kinds of studies there are, and loading studies of any kind.

A new kind is a package (a simple one: a module) with a `KIND` and one line in KINDS.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ptydesign import functions, machine
from ptydesign.errors import InputError, nearest
from ptydesign.study import cost
from ptydesign.study.file import DEFAULT_KIND, DEFAULT_SCALE, RENAMED, kind_of
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

OPTIONS = ("scale", "allow_code")


def find_kind(name: str) -> Kind:
    """A kind by its name, also as it used to be called. Raises InputError."""
    name = RENAMED.get(name, name)
    if name not in KINDS:
        raise InputError("kind", "is not a known kind of study", name, nearest(name, KINDS))
    return load(KINDS[name])


def open_study(folder: Path, scale: str, root: Path) -> Run:
    """The checked study of a folder at one scale. Raises InputError; takes about a second."""
    kind = find_kind(kind_of(folder, KINDS))
    return Run(kind, kind.load(Path(folder), scale, root))


def finished_kind(results: Path) -> Kind:
    """The kind that a results folder belongs to. Raises InputError if it has no settings of a study."""
    _, made = read_settings(results)
    return find_kind(str(made.get("kind", DEFAULT_KIND)))


def load_studies(
    studies: Path, config: Mapping[str, Any], arguments: Sequence[str], root: Path, cores: int = 1
) -> dict[str, Run]:
    """Every study below `studies` at the scale asked for, by the name of its results folder.

    Raises InputError for an unknown option, a results folder that can't be written, a job too large for this machine,
    and for a broken study if it is asked for, or if none is asked for by name; otherwise a broken study is left out
    with a warning. cores: jobs at a time, for a warning if they need more memory than there is.
    """
    for name in config:
        if name not in OPTIONS:
            raise InputError(f"--config {name}", "is not a known option", config[name], nearest(str(name), OPTIONS))
    scale = str(config.get("scale", DEFAULT_SCALE))
    if str(config.get("allow_code", False)).lower() == "true":  # for the jobs, too: each reads this configuration
        functions.allow()
    _check_folder(root)
    asked = {Path(word).name for word in arguments if word.startswith(f"{studies.name}/")}
    found = {}
    for file in sorted(Path(studies).glob("*/study.yaml")):
        try:
            run = open_study(file.parent, scale, root)
        except InputError as error:
            if not asked or file.parent.name in asked:
                raise
            print(f"warning: {file.parent} is left out: {error}", file=sys.stderr)
            continue
        found[run.resolved.results.name] = run
    for name in asked:
        if not (Path(studies) / name / "study.yaml").is_file():
            known = [file.parent.name for file in Path(studies).glob("*/study.yaml")]
            raise InputError("study", "must be a folder in studies/ with a study.yaml", name, nearest(name, known))
    if not any(word.startswith("--executor") or word == "-e" for word in arguments):  # else another machine's memory
        for run in found.values():
            if run.resolved.study.study in asked:
                warning = cost.check_memory(run.kind, run.resolved, cores, machine.memory_bytes() / machine.GIB)
                if warning:
                    print(f"warning: {warning}", file=sys.stderr)
    return found


def _check_folder(root: Path) -> None:
    """Refuse a results folder that can't be written to, before any work."""
    above = root if root.exists() else root.parent
    if not above.is_dir() or not os.access(above, os.W_OK):
        mend = "Remove what is in its place, or change its permissions."
        raise InputError("results folder", "must be a folder that can be written to", str(root), mend)
