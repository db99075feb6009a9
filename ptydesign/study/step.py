"""What a step of a study is on the command line: a kind's `commands` module has a list STEPS of them."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


def no_arguments(parser: argparse.ArgumentParser) -> None:
    """For a step without options of its own."""


@dataclass(frozen=True)
class Step:
    """A subcommand that does one job of a study: `run(resolved, options)` reads files and writes files.

    name: of the subcommand, unique among all kinds, and of the step in `workflow.settings`. arguments: adds its options
    to a parser. which: names of those options (as attributes) that `workflow.settings` takes. jax: it compiles.
    """

    name: str
    run: Callable[[Any, argparse.Namespace], None]
    help: str
    arguments: Callable[[argparse.ArgumentParser], None] = no_arguments
    which: tuple[str, ...] = ()
    jax: bool = False
