"""The command line. Each command loads, makes one call, saves.

Imports are inside the commands: thread counts have to be set before numpy and jax are loaded, and `check` must not
wait for libraries that it doesn't need.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ptydesign import __version__, commands, inspect_commands, steps
from ptydesign.arguments import Parser
from ptydesign.errors import InputError, printable, said
from ptydesign.planning import cli as planning
from ptydesign.readable import check_readable
from ptydesign.web import cli as web

INPUT_ERROR, INTERRUPTED = 2, 130  # exit status; the second is a shell's after Ctrl-C

# What `ptydesign --help` shows, in the order of a microscopist's day.
GROUPS = {
    "Plan a beam time": ("init", "instrument", "detectors", "doses", "card", "plan"),
    "Reconstruct data": ("import", "show", "calibrate", "direct", "reconstruct", "halves", "export"),
    "Study by simulation": ("studies", "check", "figures", "report", "costs", "optuna", "keys"),
    "See it run": ("serve",),
}


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns the exit status. Bad input is one line on stderr."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    plain, warnings.formatwarning = warnings.formatwarning, _warning
    try:
        if arguments[:1] == ["step"]:
            return steps.main(arguments[1:])
        parser, names = _parser()
        if arguments and not arguments[0].startswith("-") and arguments[0] not in names:
            rule = "must be a command, see `ptydesign --help`"
            raise InputError("command", rule, arguments[0], steps.suggest(arguments[0], list(names)))
        options = parser.parse_args(arguments)
        for path in _paths(options):
            check_readable(path)
        steps.set_threads(getattr(options, "threads", None))
        return options.run(options) or 0
    except InputError as error:
        print(said(error), file=sys.stderr)
        return INPUT_ERROR
    except BrokenPipeError:
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    finally:
        warnings.formatwarning = plain


def _paths(options: argparse.Namespace) -> list[Path]:
    """Files and folders that a command is given."""
    values = [value if isinstance(value, list | tuple) else (value,) for value in vars(options).values()]
    return [one for some in values for one in some if isinstance(one, Path)]


def _warning(message: Warning | str, *_: Any, **__: Any) -> str:
    return f"warning: {printable(str(message))}\n"


def studies(options: argparse.Namespace) -> None:
    """Say which studies there are, and what each would take."""
    from ptydesign import kinds

    for line in kinds.overview(Path("studies"), options.scale, options.root, options.cores):
        print(line, flush=True)


def check(options: argparse.Namespace) -> None:
    """Check the file of a study or of a plan, and say what it would take."""
    from ptydesign import kinds
    from ptydesign.study.cost import check_size, words

    run = kinds.open_any(options.study, options.scale, options.root)
    check_size(run.kind, run.resolved)
    steps.warn(run)
    print(words(run, options.cores))
    if run.kind.name == kinds.PLANNING:
        print(f"`ptydesign card {shlex.quote(str(options.study))}` says what is possible, and what to change")


def keys(options: argparse.Namespace) -> None:
    """Print the reference of a file's keys, as Markdown or as a JSON schema."""
    from ptydesign import kinds
    from ptydesign.study.keys import OTHERS, keys_page
    from ptydesign.study.schema import schema_text

    model = OTHERS[options.kind][0] if options.kind in OTHERS else kinds.find_kind(options.kind).model
    print((schema_text if options.schema else keys_page)(options.kind, model), end="")


def figures(options: argparse.Namespace) -> None:
    """Draw a study's figures anew from its tables."""
    from ptydesign import kinds
    from ptydesign.study.figures import draw_all, write_index

    kind = kinds.finished_kind(options.results)
    paths = draw_all(kind.pictures, kind.read_tables(options.results))
    write_index(options.results, paths)


def report(options: argparse.Namespace) -> None:
    """Write a study's report anew from its tables and figures."""
    from ptydesign import kinds
    from ptydesign.study.figures import check_index

    kind = kinds.finished_kind(options.results)
    tables = kind.read_tables(options.results)
    check_index(options.results)
    print(f"report: {kind.write_pages(tables)}", file=sys.stderr)


def costs(options: argparse.Namespace) -> None:
    """Compare what a study took with what was estimated, step by step."""
    from ptydesign.study.costs import costs_table

    print(costs_table(options.results))


def optuna(options: argparse.Namespace) -> None:
    """Write the trials of a study of experiments as Optuna's storage, for its dashboard."""
    from ptydesign import kinds
    from ptydesign.experiment.to_optuna import write_storage

    kind = kinds.finished_kind(options.results)
    if kind.name != "experiment":
        raise InputError(str(options.results), "must be of a study of experiments", kind.name, "Give another folder.")
    for name in write_storage(options.results, options.output):
        print(name)
    print(f"optuna-dashboard {shlex.quote(f'sqlite:///{options.output}')}")


def _parser() -> tuple[argparse.ArgumentParser, tuple[str, ...]]:
    """The parser, and the names of all commands."""
    parser = Parser(
        prog="ptydesign",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Design electron-ptychography experiments by simulation, and reconstruct data.",
    )
    parser.add_argument("--version", action="version", version=f"ptydesign {__version__}")
    found = parser.add_subparsers(metavar="<command>", required=True, help=argparse.SUPPRESS)
    one = add(found, "studies", studies)
    steps.add_run(one)
    one = add(found, "check", check)
    one.add_argument("study", type=Path, help="folder with a study.yaml, as studies/lowdose, or a plan's file")
    steps.add_run(one)
    for name, run in (("figures", figures), ("report", report), ("costs", costs)):
        add(found, name, run).add_argument("results", type=Path, help="results folder of a study, as results/lowdose")
    one = add(found, "optuna", optuna)
    one.add_argument("results", type=Path, help="results folder of a finished study, as results/lowdose")
    one.add_argument("-o", "--output", type=Path, required=True, help="SQLite file to write, as trials.db")
    one = add(found, "keys", keys)
    one.add_argument(
        "--kind", default="experiment", help="kind of study (default: experiment), reconstruction or calibration"
    )
    one.add_argument("--schema", action="store_true", help="a JSON schema instead, for editors")
    commands.add_commands(found)
    inspect_commands.add_commands(found)
    planning.add_commands(found)
    web.add_commands(found)
    parser.epilog = _overview(found)
    return parser, tuple(found.choices)


def add(found: argparse._SubParsersAction, name: str, run: Callable) -> argparse.ArgumentParser:
    """Register a command, described by its docstring."""
    one = found.add_parser(name, description=run.__doc__)
    one.set_defaults(run=run)
    return one


def _overview(found: argparse._SubParsersAction) -> str:
    """All commands in their groups, with a line for each."""
    lines = []
    for title, names in GROUPS.items():
        lines.append(f"{title}:")
        lines += [f"  {name:14s}{(found.choices[name].description or '').splitlines()[0]}" for name in names]
        lines.append("")
    lines.append("`snakemake studies/<name>` runs a whole study; `ptydesign step` does one of its jobs.")
    return "\n".join(lines)
