"""The steps of a study of an experiment on the command line, one for each rule. Each loads, makes one call, saves.

Imports are inside the functions: thread counts have to be set before numpy and jax are loaded.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ptydesign.study.step import CHUNK, ROUND, Option, Step

if TYPE_CHECKING:
    from ptydesign.experiment.resolve import Resolved


def potential(resolved: Resolved, options: argparse.Namespace) -> None:
    from ptydesign import io
    from ptydesign.experiment.search import potential_file

    file = potential_file(resolved).name
    io.write_json(resolved.results / "potential.json", {"key": resolved.key, "shape": resolved.shape, "file": file})


def propose(resolved: Resolved, options: argparse.Namespace) -> None:
    from ptydesign.experiment.search import write_points

    write_points(resolved, options.search, options.round_)


def evaluate(resolved: Resolved, options: argparse.Namespace) -> None:
    from ptydesign.experiment.search import evaluate as run
    from ptydesign.experiment.search import make_progress

    run(resolved, options.search, options.round_, options.chunk, make_progress(resolved, options.cores))


def choose(resolved: Resolved, options: argparse.Namespace) -> None:
    from ptydesign.experiment.search import choose as run

    run(resolved, options.search)


def validate(resolved: Resolved, options: argparse.Namespace) -> None:
    from ptydesign.experiment.search import make_progress
    from ptydesign.experiment.validate import validate as run

    run(resolved, options.dose, options.simulator, make_progress(resolved, options.cores))


def collect(resolved: Resolved, options: argparse.Namespace) -> None:
    from ptydesign.experiment.collect import collect as run

    run(resolved)


SEARCH = Option("search", "as bo-1000, random-1000, map-1000")
WINNER = (Option("dose", "in e/A^2", float), Option("simulator", "jax or abtem"))

STEPS = (
    Step("potential", potential, "Build the sample's potential, or find it in the cache."),
    Step("propose", propose, "Write the points of one round of a search.", (SEARCH, ROUND)),
    Step("evaluate", evaluate, "Evaluate one chunk of a round.", (SEARCH, ROUND), (CHUNK,), jax=True),
    Step("choose", choose, "Choose the winner of a search.", (SEARCH,)),
    Step("validate", validate, "Re-simulate a dose's winner and the reference with fresh noise.", (), WINNER, jax=True),
    Step("collect", collect, "Write the tables of a finished study."),
)
