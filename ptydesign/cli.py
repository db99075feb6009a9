"""The command line: a subcommand for each rule of the Snakefile (each kind of studies has its own), and
those of `ptydesign.commands`. Each loads, makes one call, saves.

Imports are inside the commands: thread counts have to be set before numpy and jax are loaded, and `check` must not
wait for libraries that it doesn't need.
"""

from __future__ import annotations

import argparse
import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptydesign import __version__
from ptydesign.commands import add_commands
from ptydesign.errors import InputError
from ptydesign.kinds import all_steps
from ptydesign.planning.cli import add_commands as add_planning
from ptydesign.study.file import DEFAULT_KIND

if TYPE_CHECKING:
    from ptydesign.kinds import Run
    from ptydesign.study.step import Step

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
    run = _open(options)
    _warn(run)
    print(run.flow.summary(run.resolved, options.cores))


def keys(options: argparse.Namespace) -> None:
    """Print the reference of a file's keys, as Markdown or as a JSON schema."""
    from ptydesign import kinds
    from ptydesign.study.keys import OTHERS, keys_page
    from ptydesign.study.schema import schema_text

    model = OTHERS[options.kind][0] if options.kind in OTHERS else kinds.model_of(options.kind)
    print((schema_text if options.schema else keys_page)(options.kind, model), end="")


def resolve(options: argparse.Namespace) -> None:
    """Write plan.yaml: every setting, what the study takes, and the versions."""
    run = _open(options)
    _check_expected(run, "resolve", options)
    numbers = run.flow.write_plan(run.resolved, options.cores)
    _warn(run)
    print(run.flow.summary(run.resolved, options.cores, numbers), file=sys.stderr, flush=True)


def figures(options: argparse.Namespace) -> None:
    """Draw the figures from the tables of a results folder."""
    from ptydesign import io, kinds

    paths = kinds.finished_kind(options.results).draw(options.results)
    io.write_json(options.results / "figures" / "index.json", [path.name for path in paths])


def report(options: argparse.Namespace) -> None:
    """Write the report of a results folder."""
    from ptydesign import kinds

    print(f"report: {kinds.finished_kind(options.results).report(options.results)}", file=sys.stderr)


DRAWING = (figures, report)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ptydesign",
        description="Design electron-ptychography experiments by simulation. `snakemake studies/<name>` runs a whole "
        "study; these commands are its steps.",
    )
    parser.add_argument("--version", action="version", version=f"ptydesign {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="<command>", required=True)
    for run in (check, resolve):
        one = _add(commands, run.__name__, run.__doc__, run)
        _add_study(one)
        if run is resolve:
            _add_expect(one)
    for step in all_steps():
        one = _add(commands, step.name, step.help, functools.partial(run_step, step))
        _add_study(one)
        _add_expect(one)
        for option in (*step.which, *step.more):
            option.add_to(one)
    for run in DRAWING:
        one = _add(commands, run.__name__, run.__doc__, run)
        one.add_argument("results", type=Path, help="results folder of a study, as results/lowdose")
    one = _add(commands, "keys", keys.__doc__, keys)
    one.add_argument(
        "--kind", default=DEFAULT_KIND, help=f"kind of study (default: {DEFAULT_KIND}), reconstruction or calibration"
    )
    one.add_argument("--schema", action="store_true", help="a JSON schema instead, for editors")
    add_commands(commands)
    add_planning(commands)
    return parser


def _add(commands: argparse._SubParsersAction, name: str, text: str, run: Callable) -> argparse.ArgumentParser:
    one = commands.add_parser(name, help=text, description=text)
    one.set_defaults(run=run)
    return one


def _add_study(one: argparse.ArgumentParser) -> None:
    one.add_argument("study", type=Path, help="folder with a study.yaml, as studies/lowdose")
    one.add_argument("--scale", default="preview", help="smoke, preview (default) or paper")
    one.add_argument("--root", type=Path, default=Path("results"), help="folder of all results (default: results)")
    one.add_argument("--threads", type=int, default=None, help="cores this process may use (default: all)")
    one.add_argument("--cores", type=int, default=_cores(), help="cores of the whole study, for its estimates")


def _add_expect(one: argparse.ArgumentParser) -> None:
    one.add_argument("--expect", help="hash of the settings; refuse to run with others (the Snakefile's)")


def run_step(step: Step, options: argparse.Namespace) -> None:
    """Do one job of a study."""
    from ptydesign import kinds

    run = _open(options)
    if step.name not in [one.name for one in kinds.steps(run.kind)]:
        known = [one.name for one in kinds.steps(run.kind)]
        mend = f"Its steps are: {', '.join(known)}."
        raise InputError(str(options.study), f"must be a study with the step {step.name}", f"kind {run.kind}", mend)
    _check_expected(run, step.name, options, {o.attribute: getattr(options, o.attribute) for o in step.which})
    if step.jax:
        _set_up_jax(run.resolved.results.parent)
    step.run(run.resolved, options)


def _open(options: argparse.Namespace) -> Run:
    from ptydesign import kinds

    return kinds.open_study(options.study, options.scale, options.root)


def _check_expected(run: Run, step: str, options: argparse.Namespace, which: dict[str, Any] | None = None) -> None:
    """Raises InputError if the study isn't the one that the graph of jobs was made for."""
    if options.expect is None:
        return
    found = run.settings_hash(step, **(which or {}))
    if found != options.expect:
        rule = "must not change while the study runs"
        mend = "Let the jobs that run end, then run the study's snakemake command again."
        raise InputError(str(options.study / "study.yaml"), rule, f"settings {found} for {options.expect}", mend)


def _warn(run: Run) -> None:
    for warning in run.resolved.warnings:
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


def _set_up_jax(root: Path) -> None:
    """Share compiled code between processes and runs."""
    import jax

    from ptydesign.study.store import cache_folder

    jax.config.update("jax_compilation_cache_dir", str(cache_folder(root).resolve() / "jax"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)
