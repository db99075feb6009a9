"""The steps of a plan on the command line, one for each rule. Imports are inside: threads are set before numpy."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ptydesign.study.step import CHUNK, ROUND, Option, Step

if TYPE_CHECKING:
    from ptydesign.planning.resolve import Resolved


def card(resolved: Resolved, options: argparse.Namespace) -> None:
    from ptydesign.planning.resolve import plan_cards
    from ptydesign.planning.show import write_cards

    write_cards(resolved.results, plan_cards(resolved.study), resolved.bench.camera_unit)


def potentials(resolved: Resolved, options: argparse.Namespace) -> None:
    from ptydesign.planning.search import build_potentials

    build_potentials(resolved)


def propose(resolved: Resolved, options: argparse.Namespace) -> None:
    from ptydesign.planning.search import write_points

    write_points(resolved, options.search, options.round_)


def evaluate(resolved: Resolved, options: argparse.Namespace) -> None:
    from ptydesign.planning.search import evaluate as run
    from ptydesign.planning.search import make_progress

    run(resolved, options.search, options.round_, options.chunk, make_progress(resolved, options.cores))


def choose(resolved: Resolved, options: argparse.Namespace) -> None:
    from ptydesign.planning.search import choose as run

    run(resolved, options.search)


def robust(resolved: Resolved, options: argparse.Namespace) -> None:
    from ptydesign.planning.robust import robust as run
    from ptydesign.planning.search import make_progress

    run(resolved, options.design, make_progress(resolved, options.cores))


def tolerance(resolved: Resolved, options: argparse.Namespace) -> None:
    from ptydesign.planning.search import make_progress
    from ptydesign.planning.tolerance import write_tolerance

    write_tolerance(resolved, options.parameter, make_progress(resolved, options.cores))


def limits(resolved: Resolved, options: argparse.Namespace) -> None:
    from ptydesign.planning.limits import write_limits

    write_limits(resolved, options.design)


def screen(resolved: Resolved, options: argparse.Namespace) -> None:
    from ptydesign.planning.limits import write_screen

    write_screen(resolved, options.search)


def collect(resolved: Resolved, options: argparse.Namespace) -> None:
    from ptydesign.planning.collect import collect as run

    run(resolved)


SEARCH = Option("search", "dose of the search, as 1000")
DESIGN = Option("design", "candidate-0, ... or expert")
BOUNDED = Option("design", "recommended or expert")
PARAMETER = Option("parameter", "as defocus_nm")

STEPS = (
    Step("plancard", card, "Write a plan's feasibility card."),
    Step("planpotentials", potentials, "Build a plan's potentials, or find them in the cache."),
    Step("planpropose", propose, "Write the points of one round of a plan's search.", (SEARCH, ROUND)),
    Step("planevaluate", evaluate, "Evaluate one chunk of a plan's round.", (SEARCH, ROUND), (CHUNK,), jax=True),
    Step("planchoose", choose, "Choose a plan's winner and its neighbours at a dose.", (SEARCH,)),
    Step("planrobust", robust, "Try a design of a plan again under errors.", (DESIGN,), jax=True),
    Step("plantolerance", tolerance, "Simulate how far a parameter may be off.", (PARAMETER,), jax=True),
    Step("planlimits", limits, "Compute the Cramer-Rao bound of a design.", (BOUNDED,), jax=True),
    Step("planscreen", screen, "Look at all settings of a search by Fisher information.", (SEARCH,), jax=True),
    Step("plancollect", collect, "Write the tables of a finished plan."),
)
