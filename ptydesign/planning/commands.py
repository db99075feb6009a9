"""The steps of a plan on the command line, one for each rule. Imports are inside: threads are set before numpy."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ptydesign.study.step import Step

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


def _search(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--search", required=True, help="dose of the search, as 1000")


def _round(parser: argparse.ArgumentParser) -> None:
    _search(parser)
    parser.add_argument("--round", type=int, required=True, dest="round_")


def _chunk(parser: argparse.ArgumentParser) -> None:
    _round(parser)
    parser.add_argument("--chunk", type=int, required=True)


def _design(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--design", required=True, help="candidate-0, ... or expert")


def _parameter(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--parameter", required=True, help="as defocus_nm")


ROUND = ("search", "round_")

STEPS = (
    Step("plancard", card, "Write a plan's feasibility card."),
    Step("planpotentials", potentials, "Build a plan's potentials, or find them in the cache."),
    Step("planpropose", propose, "Write the points of one round of a plan's search.", _round, ROUND),
    Step("planevaluate", evaluate, "Evaluate one chunk of a plan's round.", _chunk, ROUND, jax=True),
    Step("planchoose", choose, "Choose a plan's winner and its neighbours at a dose.", _search, ("search",)),
    Step("planrobust", robust, "Try a design of a plan again under errors.", _design, ("design",), jax=True),
    Step("plantolerance", tolerance, "Simulate how far a parameter may be off.", _parameter, ("parameter",), jax=True),
    Step("planlimits", limits, "Compute the Cramer-Rao bound of a design.", _design, ("design",), jax=True),
    Step(
        "planscreen", screen, "Look at all settings of a search by Fisher information.", _search, ("search",), jax=True
    ),
    Step("plancollect", collect, "Write the tables of a finished plan."),
)
