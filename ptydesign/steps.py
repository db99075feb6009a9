"""`ptydesign step <kind> <step> <study>`: one job of a study, as Snakemake's rules call it.

The options are the step's own. Thread counts have to be set before numpy and jax are loaded, so imports are inside.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ptydesign import functions
from ptydesign.arguments import Parser
from ptydesign.errors import InputError, nearest
from ptydesign.files import check_room

if TYPE_CHECKING:
    from ptydesign.study.kind import Kind, Run, Step, Which

RESOLVE = "resolve"  # the step that every study has
LEAST_BYTES = 64 * 2**20  # room on the disk without which no job begins: a retry of one that filled it ends at once
# What was before a step's name in its command of earlier versions, and steps that had another name.
FORMER_PREFIX = {
    "experiment": "",
    "tuning": "",
    "depth": "depth-",
    "regularisation": "regularisation-",
    "planning": "plan",
}
FORMER_STEP = {"tune": ("tuning", "search"), "pick": ("tuning", "choose"), "tabulate": ("tuning", "collect")}


def main(arguments: Sequence[str]) -> int:
    """Do one job of a study. Raises InputError."""
    set_threads(_given(arguments, "--threads"))
    from ptydesign import kinds
    from ptydesign.study import parent
    from ptydesign.study.progress import check_wanted

    parent.end_with_parent(parent.end_job)
    words = [word for word in arguments[:2] if not word.startswith("-")]
    if not words:
        lines = [f"  {name:16s}{kinds.find_kind(name).asks}" for name in kinds.KINDS]
        print("usage: ptydesign step <kind> <step> <study> [options]\n\nkinds of studies:", *lines, sep="\n")
        return 0 if {"-h", "--help"} & set(arguments) else 2
    kind = kinds.find_kind(words[0])
    if len(words) < 2:
        lines = [f"  {step.name:16s}{step.help}" for step in kind.steps]
        lines.insert(0, f"  {RESOLVE:16s}Write resolved.yaml: every setting, what the study takes, and the versions.")
        print(f"usage: ptydesign step {kind.name} <step> <study> [options]\n\nsteps:", *lines, sep="\n")
        return 0 if {"-h", "--help"} & set(arguments) else 2
    step = None if words[1] == RESOLVE else kind.step(words[1])
    options = _parser(kind, words[1], step).parse_args(arguments[2:])
    run = kinds.open_study(options.study, options.scale, options.root)
    if run.kind.name != kind.name:
        mend = f"Its command is: ptydesign step {run.kind.name} ..."
        raise InputError(str(options.study), f"must be a study of the kind {kind.name}", run.kind.name, mend)
    which = {} if step is None else step.find(run.resolved, {name: getattr(options, name) for name in step.names})
    _check_expected(run, words[1], which, options)
    check_wanted(run.resolved.results / "logs")
    check_room(options.root, LEAST_BYTES)
    if step is None:
        _resolve(run, options.cores)
        return 0
    if step.jax:
        from ptydesign import compiled
        from ptydesign.study.store import cache_folder

        compiled.keep(cache_folder(run.resolved.root) / "jax")
    from ptydesign.study.progress import progress_of, told
    from ptydesign.study.records import made_with

    names = ", ".join(map(str, which.values()))
    with made_with(run.resolved.results, run.made_with):
        if step.progress and run.kind.progress is not None:
            step.run(run.resolved, which, progress=progress_of(run, options.cores))
            return 0
        with told(f"{run.resolved.study.study}: {step.name}{f' ({names})' if names else ''}"):
            step.run(run.resolved, which)
    return 0


def _parser(kind: Kind, name: str, step: Step | None) -> argparse.ArgumentParser:
    parser = Parser(f"ptydesign step {kind.name} {name}", description=step.help if step else None)
    add_study(parser)
    parser.add_argument("--threads", type=int, default=None, help="cores this process may use (default: all)")
    parser.add_argument("--expect", help="hash of the settings; refuse to run with others (the Snakefile's)")
    for one in step.names if step else ():
        parser.add_argument(f"--{one}", required=True, help="which of the step's jobs")
    return parser


def add_study(parser: argparse.ArgumentParser) -> None:
    """Options that say which study is meant."""
    parser.add_argument("study", type=Path, help="folder with a study.yaml, as studies/lowdose")
    add_run(parser)


def add_run(parser: argparse.ArgumentParser) -> None:
    """Options of a run."""
    parser.add_argument("--scale", default="preview", help="smoke, preview (default) or paper")
    parser.add_argument("--root", type=Path, default=Path("results"), help="folder of all results (default: results)")
    parser.add_argument("--cores", type=int, default=_cores(), help="cores of the whole study, for its estimates")
    functions.add_option(parser)


def _resolve(run: Run, cores: int) -> None:
    """Write resolved.yaml, and say what the study takes."""
    from ptydesign.study.checked import write_resolved
    from ptydesign.study.cost import estimate

    numbers = estimate(run.kind, run.resolved, cores)
    write_resolved(run.resolved, run.kind.name, numbers, run.kind.more(run.resolved))
    warn(run)
    print(run.kind.words(run.resolved, numbers), file=sys.stderr, flush=True)


def warn(run: Run) -> None:
    """Print a study's warnings."""
    for warning in run.resolved.warnings:
        print(f"warning: {warning}", file=sys.stderr)


def _check_expected(run: Run, step: str, which: Which, options: argparse.Namespace) -> None:
    """Raises InputError if the study isn't the one that the graph of jobs was made for."""
    if options.expect is None:
        return
    found = run.settings_hash(step, which)
    if found != options.expect:
        rule = "must not change while the study runs"
        mend = "Let the jobs that run end, then run the study's snakemake command again."
        raise InputError(str(options.study / "study.yaml"), rule, f"settings {found} for {options.expect}", mend)


def _given(arguments: Sequence[str], name: str) -> int | None:
    """A number of the command line before it is parsed; None if there is none."""
    for word, after in zip(arguments, [*arguments[1:], ""], strict=False):
        value = after if word == name else word.removeprefix(f"{name}=") if word.startswith(f"{name}=") else ""
        if value.isdecimal():
            return int(value)
    return None


def _cores() -> int:
    """Jobs that run side by side: as Snakemake says, or all cores."""
    return int(os.environ.get("PTYDESIGN_CORES") or os.cpu_count() or 1)


def set_threads(threads: int | None) -> None:
    """Bound the threads of numpy and jax; takes effect only before they are imported."""
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # several processes may share a GPU
    if threads is None:
        return
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[name] = str(threads)
    if threads == 1:
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen=false".strip()


def old_command(name: str) -> str | None:
    """What a step's command of earlier versions is called now; None if there was no such command."""
    from ptydesign import kinds

    if name == RESOLVE:
        return "ptydesign step <kind> resolve"
    if name in FORMER_STEP:
        return " ".join(("ptydesign step", *FORMER_STEP[name]))
    for kind in ("experiment", "tuning", *FORMER_PREFIX):
        for step in kinds.find_kind(kind).steps:
            if name == FORMER_PREFIX.get(kind, "") + step.name:
                return f"ptydesign step {kind} {step.name}"
    return None


def suggest(name: str, known: Sequence[str]) -> str:
    """What a word that is no command may have meant."""
    now = old_command(name)
    return f"It is called `{now}` now." if now else nearest(name, known)
