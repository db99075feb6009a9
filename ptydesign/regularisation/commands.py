"""The steps of a study of regularisation on the command line, one for each rule."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ptydesign.study.step import CHUNK, Option, Step

if TYPE_CHECKING:
    from ptydesign.thick.resolve import ThickResolved


def specimen(resolved: ThickResolved, options: argparse.Namespace) -> None:
    from ptydesign.thick.steps import write_specimen

    write_specimen(resolved)


def simulate(resolved: ThickResolved, options: argparse.Namespace) -> None:
    from ptydesign.thick.config import BASE
    from ptydesign.thick.steps import simulate as run

    run(resolved, BASE, options.chunk)


def tune(resolved: ThickResolved, options: argparse.Namespace) -> None:
    from ptydesign.regularisation.tune import tune as run

    run(resolved, options.plan)


def reconstruct(resolved: ThickResolved, options: argparse.Namespace) -> None:
    from ptydesign.regularisation.run import run_item

    run_item(resolved, options.item)


def collect(resolved: ThickResolved, options: argparse.Namespace) -> None:
    from ptydesign.regularisation.collect import collect as run

    run(resolved)


PLAN = Option("plan", "name of one of the study's plans")
ITEM = Option("item", "name of a plan, or <factor>_<number of its value>")

STEPS = (
    Step("regularisation-specimen", specimen, "Build a thick sample and its potential."),
    Step("regularisation-simulate", simulate, "Simulate one chunk of its patterns.", (), (CHUNK,), jax=True),
    Step("regularisation-tune", tune, "Tune a plan before it is compared.", (PLAN,), jax=True),
    Step("regularisation-reconstruct", reconstruct, "Reconstruct, and watch errors.", (ITEM,), jax=True),
    Step("regularisation-collect", collect, "Write the tables of a study of regularisation."),
)
