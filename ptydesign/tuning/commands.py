"""The steps of a tuning study on the command line, one for each rule. Each loads, makes one call, saves.

Imports are inside the functions: thread counts have to be set before numpy and jax are loaded.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from ptydesign.study.step import Option, Step

if TYPE_CHECKING:
    from ptydesign.tuning.resolve import Resolved


def scan(resolved: Resolved, options: argparse.Namespace) -> None:
    from ptydesign.tuning.data import scan as run

    run(resolved, options.repeat)


def tune(resolved: Resolved, options: argparse.Namespace) -> None:
    from ptydesign.tuning.search import tune as run

    run(resolved, options.search, options.segment, _progress(resolved, options))


def pick(resolved: Resolved, options: argparse.Namespace) -> None:
    from ptydesign.tuning.search import choose

    choose(resolved)


def assess(resolved: Resolved, options: argparse.Namespace) -> None:
    from ptydesign.tuning.assess import assess as run

    run(resolved, options.group, _progress(resolved, options))


def tabulate(resolved: Resolved, options: argparse.Namespace) -> None:
    from ptydesign.tuning.collect import collect

    collect(resolved)


def _progress(resolved: Resolved, options: argparse.Namespace) -> Any:
    from ptydesign.study.progress import Progress
    from ptydesign.study.store import digest
    from ptydesign.tuning.resolve import total_trials

    version = digest(resolved.content)[:8]
    unit = "s" if resolved.study.budget.unit == "seconds" else "GFLOP"
    return Progress(resolved.results, total_trials(resolved.study), options.cores, version, unit)


REPEAT = Option("repeat", "0: what searches see; 1, 2, ...: fresh data", int)
SEARCH = (Option("search", "as bo-w25-0, random-w25-0"), Option("segment", type=int))
GROUP = Option("group", "as validation-1, effects-w25, example")

STEPS = (
    Step("scan", scan, "Make the two scans of a tuning study, or split measured ones.", (REPEAT,), jax=True),
    Step("tune", tune, "Do one segment of a search of plans.", SEARCH, jax=True),
    Step("pick", pick, "Choose the best plan at each budget."),
    Step("assess", assess, "Evaluate plans on other data, or one parameter at a time.", (GROUP,), jax=True),
    Step("tabulate", tabulate, "Write the tables of a finished tuning study."),
)
