"""Which kinds of studies there are, and what all kinds share: loading, settings of jobs, plan, figures, report.

A kind is a package with a rules file `rules/<kind>.smk`, a `commands` module whose STEPS are its jobs on the command
line (light to import), and a `workflow` module, which has

- `MODEL`: the model of the study file;
- `load(folder, scale, root)`: the checked study, with `study.study`, `study.scale`, `results` (a folder), `warnings`;
- `settings(resolved, step, **which)`: the settings, by value, that a step's output depends on;
- `check_memory(resolved, cores, machine_gib)`: raises InputError for a job too large; a warning, or None;
- `write_plan(resolved, cores)`: writes plan.yaml with `resolved.kind`, returns the estimate;
- `summary(resolved, cores, numbers=None)`: what the study takes, in words;
- `table_files(resolved)`: what figures are drawn from; `draw(results)`; `report(results)`.

A new kind is a package, a rules file and one line in KINDS.
"""

from __future__ import annotations

import importlib
import math
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ptydesign.errors import InputError, nearest
from ptydesign.study.file import DEFAULT_SCALE, PLAN, kind_of
from ptydesign.study.step import Step
from ptydesign.study.store import digest

if TYPE_CHECKING:
    from pydantic import BaseModel

# Kind -> package. `experiment`: which experiment is best, at each dose; `depth`: where single atoms are in depth;
# `tuning`: which reconstruction parameters are best; `regularisation`: what settings and engines do to a thick sample;
# `plan`: an experiment before beam time.
KINDS = {
    "experiment": "ptydesign.experiment",
    "depth": "ptydesign.depth",
    "tuning": "ptydesign.tuning",
    "regularisation": "ptydesign.regularisation",
    "plan": "ptydesign.planning",
}

OPTIONS = ("scale",)


@dataclass(frozen=True)
class Run:
    """A study at one scale, and its kind."""

    kind: str
    resolved: Any

    @property
    def flow(self) -> ModuleType:
        """The kind's `workflow` module."""
        return _workflow(self.kind)

    def settings(self, step: str, **which: Any) -> dict[str, Any]:
        """Settings, by value, that a step's output depends on. which: of the steps that are done many times."""
        return self.flow.settings(self.resolved, step, **which)

    def settings_hash(self, step: str, **which: Any) -> str:
        """Hash of `settings`: a job refuses to run if the study file was changed after the graph of jobs was made."""
        return digest(self.settings(step, **which))[:12]


def open_study(folder: Path, scale: str, root: Path) -> Run:
    """The checked study of a folder at one scale. Raises InputError; takes about a second."""
    kind = kind_of(folder, KINDS)
    return Run(kind, _workflow(kind).load(Path(folder), scale, root))


def finished_kind(results: Path) -> ModuleType:
    """The `workflow` module of the kind that a results folder belongs to. Raises InputError if it has no plan."""
    import yaml

    path = Path(results) / PLAN
    try:
        kind = yaml.safe_load(path.read_text(encoding="utf-8"))["resolved"].get("kind", "experiment")
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError):
        mend = "Give a folder that a study has made, as results/lowdose."
        raise InputError(str(path), "must be the plan of a study", "missing or unreadable", mend) from None
    if kind not in KINDS:
        raise InputError(f"{path}: kind", "is not a known kind of study", kind, nearest(str(kind), KINDS))
    return _workflow(kind)


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
                warning = run.flow.check_memory(run.resolved, cores, machine_memory_gib())
                if warning:
                    print(f"warning: {warning}", file=sys.stderr)
    return found


def machine_memory_gib() -> float:
    """Physical memory of this machine; infinite where the system doesn't tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    except (ValueError, OSError, AttributeError):
        return math.inf


def model_of(kind: str) -> type[BaseModel]:
    """The model of a kind's study file. Raises InputError for an unknown kind."""
    if kind not in KINDS:
        raise InputError("--kind", "is not a known kind of study", kind, nearest(kind, KINDS))
    return _workflow(kind).MODEL


def rules_file(kind: str) -> str:
    """The file with the Snakemake rules of a kind."""
    return str(Path(__file__).parent / "rules" / f"{kind}.smk")


def steps(kind: str) -> tuple[Step, ...]:
    """The steps of a kind on the command line."""
    return importlib.import_module(f"{KINDS[kind]}.commands").STEPS


def all_steps() -> list[Step]:
    """The steps of all kinds; their names differ."""
    return [step for kind in KINDS for step in steps(kind)]


def _workflow(kind: str) -> ModuleType:
    return importlib.import_module(f"{KINDS[kind]}.workflow")


def _check_folder(root: Path) -> None:
    """Refuse a results folder that can't be written to, before any work."""
    above = root if root.exists() else root.parent
    if not above.is_dir() or not os.access(above, os.W_OK):
        mend = "Remove what is in its place, or change its permissions."
        raise InputError("results folder", "must be a folder that can be written to", str(root), mend)
