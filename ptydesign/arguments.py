"""The parser of command lines: what is missing, misspelt or of another kind is said in a sentence, as of a file."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from typing import Any

from ptydesign.errors import NOTHING, InputError, nearest


class Parser(argparse.ArgumentParser):
    """argparse's, whose errors are InputErrors that name the option and the nearest one that there is.

    rest: the attribute that takes all that stands behind `--`, for another program; none if empty."""

    rest = ""

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """As argparse's. Raises InputError."""
        options, unknown = self.parse_known_args(args, namespace)
        if unknown:
            raise self._unknown(unknown, list(args or []))
        return options

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """As argparse's, which doesn't know what stands behind `--` where an option is before it."""
        words, behind = list(sys.argv[1:] if args is None else args), []
        if self.rest and "--" in words:
            place = words.index("--")
            words, behind = words[:place], words[place + 1 :]
        options, unknown = super().parse_known_args(words, namespace)
        if self.rest:
            setattr(options, self.rest, behind)
        return options, unknown

    def error(self, message: str) -> Any:
        """What argparse says, as an InputError."""
        help_ = f"`{self.prog} --help` has all options."
        missing = re.fullmatch(r"the following arguments are required: (.*)", message)
        if missing:
            usage = " ".join(self.format_usage().removeprefix("usage: ").replace("[-h] ", "").split())
            short = usage if len(usage) < 90 else f"{self.prog} {' '.join(self._required())}"
            raise InputError(self.prog, f"needs {missing[1]}", NOTHING, f"Write: {short}. {help_}")
        wrong = re.fullmatch(r"argument ([^:]*): invalid (.*?) value: '(.*)'", message)
        if wrong:
            name, kind, value = wrong.groups()
            kind = {"int": "a whole number", "float": "a number"}.get(kind, f"a {kind}")
            raise InputError(f"{self.prog}: {name}", f"must be {kind}", value, help_)
        choice = re.fullmatch(r"argument ([^:]*): invalid choice: '(.*?)' \(choose from (.*)\)", message)
        if choice:
            name, value, known = choice.groups()
            words = [word.strip("' ") for word in known.split(",")]
            raise InputError(f"{self.prog}: {name}", "must be one of its choices", value, nearest(value, words))
        raise InputError(self.prog, "must be used as its help says", message, help_)

    def _required(self) -> list[str]:
        """Words of the arguments that must be there."""
        found = []
        for action in self._actions:
            if action.required:
                name = (action.metavar or action.dest).upper()
                found.append(f"{action.option_strings[0]} {name}" if action.option_strings else name)
        return found

    def _unknown(self, unknown: list[str], given: list[str]) -> InputError:
        """Of the first word that no option or argument takes."""
        parser = self._of_command(given) or self
        word = next((word for word in unknown if word.startswith("-")), unknown[0])
        if not word.startswith("-"):
            return InputError(
                parser.prog, "takes no further argument", word, f"`{parser.prog} --help` has all of them."
            )
        known = [option for action in parser._actions for option in action.option_strings]
        return InputError(f"{parser.prog}: option", "is not known", word, nearest(word.partition("=")[0], known))

    def _of_command(self, given: list[str]) -> Parser | None:
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                return next((action.choices[word] for word in given if word in action.choices), None)
        return None
