"""The command line: one subcommand for each rule of the Snakefile, and those of `commands`. Each loads, makes one call,
saves.

Imports are inside the commands: thread counts have to be set before numpy and jax are loaded, and `check` must not
wait for libraries that it doesn't need.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ptydesign import __version__
from ptydesign.commands import add_commands
from ptydesign.errors import InputError

if TYPE_CHECKING:
    from ptydesign.study.resolve import Resolved

INPUT_ERROR = 2  # exit status


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns the exit status. Bad input is one line on stderr."""
    options = _parser().parse_args(arguments)
    _set_threads(getattr(options, "threads", None))
    try:
        options.run(options)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return INPUT_ERROR
    except BrokenPipeError:
        return 1
    return 0


def check(options: argparse.Namespace) -> None:
    """Validate a study and say what it would take."""
    from ptydesign.study.estimate import estimate, summary

    resolved = _resolve(options)
    _warn(resolved)
    print(summary(resolved.study, estimate(resolved.study, resolved.shape, options.cores)))


def keys(options: argparse.Namespace) -> None:
    """Print the reference of a study's keys, as Markdown."""
    from ptydesign.study.reference import keys_page

    print(keys_page(), end="")


def resolve(options: argparse.Namespace) -> None:
    """Write plan.yaml: every setting, what the study takes, and the versions."""
    from ptydesign.study.estimate import summary
    from ptydesign.study.resolve import write_plan

    resolved = _resolve(options, "resolve")
    numbers = write_plan(resolved, options.cores)
    _warn(resolved)
    print(summary(resolved.study, numbers), file=sys.stderr, flush=True)


def potential(options: argparse.Namespace) -> None:
    """Build the sample's potential, or find it in the cache."""
    from ptydesign import io
    from ptydesign.study.search import potential_file

    resolved = _resolve(options, "potential")
    file = potential_file(resolved).name
    io.write_json(resolved.results / "potential.json", {"key": resolved.key, "shape": resolved.shape, "file": file})


def propose(options: argparse.Namespace) -> None:
    """Write the points of one round of a search."""
    from ptydesign.study.search import write_points

    write_points(_resolve(options, "propose"), options.search, options.round)


def evaluate(options: argparse.Namespace) -> None:
    """Evaluate one chunk of a round."""
    from ptydesign.study.search import evaluate as run
    from ptydesign.study.search import make_progress

    resolved = _resolve(options, "evaluate")
    _set_up_jax(resolved)
    run(resolved, options.search, options.round, options.chunk, make_progress(resolved, _cores()))


def choose(options: argparse.Namespace) -> None:
    """Choose the winner of a search."""
    from ptydesign.study.search import choose as run

    run(_resolve(options, "choose"), options.search)


def validate(options: argparse.Namespace) -> None:
    """Re-simulate the winner and the reference of one dose with fresh noise."""
    from ptydesign.study.search import make_progress
    from ptydesign.study.validate import validate as run

    resolved = _resolve(options, "validate")
    _set_up_jax(resolved)
    run(resolved, options.dose, options.simulator, make_progress(resolved, _cores()))


def collect(options: argparse.Namespace) -> None:
    """Write the tables of a finished study."""
    from ptydesign.study.collect import collect as run

    run(_resolve(options, "collect"))


def figures(options: argparse.Namespace) -> None:
    """Draw the figures from the tables of a results folder."""
    from ptydesign import io
    from ptydesign.study.figures import draw_all

    paths = draw_all(options.results)
    io.write_json(options.results / "figures" / "index.json", [path.name for path in paths])


def report(options: argparse.Namespace) -> None:
    """Write the report of a results folder."""
    from ptydesign.study.report import write_report

    print(f"report: {write_report(options.results)}", file=sys.stderr)


STEPS = (check, resolve, potential, propose, evaluate, choose, validate, collect)
DRAWING = (figures, report)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ptydesign",
        description="Design electron-ptychography experiments by simulation. `snakemake studies/<name>` runs a whole "
        "study; these commands are its steps.",
    )
    parser.add_argument("--version", action="version", version=f"ptydesign {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="<command>", required=True)
    for run in (*STEPS, *DRAWING):
        name = run.__name__
        one = commands.add_parser(name, help=run.__doc__, description=run.__doc__)
        one.set_defaults(run=run)
        if run in DRAWING:
            one.add_argument("results", type=Path, help="results folder of a study, as results/lowdose")
            continue
        one.add_argument("study", type=Path, help="folder with a study.yaml, as studies/lowdose")
        one.add_argument("--scale", default="preview", help="smoke, preview (default) or paper")
        one.add_argument("--root", type=Path, default=Path("results"), help="folder of all results (default: results)")
        one.add_argument("--threads", type=int, default=None, help="cores this process may use (default: all)")
        if run in (check, resolve):
            one.add_argument("--cores", type=int, default=_cores(), help="cores that the estimate is for")
        if run is not check:
            one.add_argument("--expect", help="hash of the settings; refuse to run with others (the Snakefile's)")
        if run in (propose, evaluate, choose):
            one.add_argument("--search", required=True, help="as bo-1000, random-1000, map-1000")
        if run in (propose, evaluate):
            one.add_argument("--round", type=int, required=True)
        if run is evaluate:
            one.add_argument("--chunk", type=int, required=True)
        if run is validate:
            one.add_argument("--dose", type=float, required=True, help="in e/A^2")
            one.add_argument("--simulator", required=True, help="jax or abtem")
    described = commands.add_parser("keys", help=keys.__doc__, description=keys.__doc__)
    described.set_defaults(run=keys)
    add_commands(commands)
    return parser


def _resolve(options: argparse.Namespace, step: str | None = None) -> Resolved:
    """The checked study. Raises InputError if it isn't the one that the graph of jobs was made for."""
    from ptydesign.study.resolve import resolve as run
    from ptydesign.study.search import find_search
    from ptydesign.study.workflow import settings_hash

    resolved = run(options.study, options.scale, options.root)
    search, round_ = getattr(options, "search", None), getattr(options, "round", 0)
    if search is not None:
        find_search(resolved, search)
    expected = getattr(options, "expect", None)
    if step is not None and expected is not None:
        found = settings_hash(resolved, step, search, round_)
        if found != expected:
            rule = "must not change while the study runs"
            mend = "Let the jobs that run end, then run the study's snakemake command again."
            raise InputError(str(options.study / "study.yaml"), rule, f"settings {found} for {expected}", mend)
    return resolved


def _warn(resolved: Resolved) -> None:
    for warning in resolved.warnings:
        print(f"warning: {warning}", file=sys.stderr)


def _cores() -> int:
    """Jobs that run side by side: as Snakemake says, or all cores."""
    return int(os.environ.get("PTYDESIGN_CORES") or os.cpu_count() or 1)


def _set_threads(threads: int | None) -> None:
    """Bound the threads of numpy and jax; takes effect only before they are imported."""
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # several processes may share a GPU
    if threads is None:
        return
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[name] = str(threads)
    if threads == 1:
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen=false".strip()


def _set_up_jax(resolved: Resolved) -> None:
    """Share compiled code between processes and runs."""
    import jax

    from ptydesign.study.search import cache_folder

    jax.config.update("jax_compilation_cache_dir", str(cache_folder(resolved.root).resolve() / "jax"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)
