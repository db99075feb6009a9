"""What a step of a study is on the command line: a kind's `commands` module has a list STEPS of them."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Option:
    """An option that a step needs: `--name`."""

    name: str
    help: str | None = None
    type: type = str

    @property
    def attribute(self) -> str:
        """Its name among the parsed options and in `workflow.settings`."""
        return {"round": "round_"}.get(self.name, self.name)

    def add_to(self, parser: argparse.ArgumentParser) -> None:
        """Add it to a parser."""
        parser.add_argument(f"--{self.name}", type=self.type, required=True, dest=self.attribute, help=self.help)


ROUND, CHUNK = Option("round", type=int), Option("chunk", type=int)


@dataclass(frozen=True)
class Step:
    """A subcommand that does one job of a study: `run(resolved, options)` reads files and writes files.

    name: of the subcommand, unique among all kinds, and of the step in `workflow.settings`. which: options that
    `workflow.settings` takes too. more: its other options. jax: it compiles.
    """

    name: str
    run: Callable[[Any, argparse.Namespace], None]
    help: str
    which: tuple[Option, ...] = ()
    more: tuple[Option, ...] = ()
    jax: bool = False
