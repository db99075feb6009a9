"""The steps of a study of depth on the command line, one for each rule. Each loads, makes one call, saves."""

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
    from ptydesign.thick.steps import simulate as run

    run(resolved, options.data, options.chunk)


def reconstruct(resolved: ThickResolved, options: argparse.Namespace) -> None:
    from ptydesign.depth.reconstruct import reconstruct as run

    run(resolved, options.variant)


def measure(resolved: ThickResolved, options: argparse.Namespace) -> None:
    from ptydesign.depth.reconstruct import write_measure

    write_measure(resolved, options.variant)


def thickness(resolved: ThickResolved, options: argparse.Namespace) -> None:
    from ptydesign.depth.reconstruct import write_guess

    write_guess(resolved, options.guess)


def collect(resolved: ThickResolved, options: argparse.Namespace) -> None:
    from ptydesign.depth.collect import collect as run

    run(resolved)


DATA = Option("data", "experiment whose patterns are simulated: base, or a variant")
VARIANT = Option("variant", "base, or the name of one of the study's variants")
GUESS = Option("guess", "assumed slices, as 16x9.701")

STEPS = (
    Step("depth-specimen", specimen, "Build a thick sample with its defects, and its potential."),
    Step("depth-simulate", simulate, "Simulate one chunk of patterns of a thick sample.", (DATA,), (CHUNK,), jax=True),
    Step("depth-reconstruct", reconstruct, "Reconstruct the patterns.", (VARIANT,), jax=True),
    Step("depth-measure", measure, "Look for interstitials in a reconstruction.", (VARIANT,)),
    Step("depth-thickness", thickness, "Misfit under an assumed thickness.", (GUESS,), jax=True),
    Step("depth-collect", collect, "Write the tables of a study of depth."),
)
