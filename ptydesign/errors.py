"""Errors that tell a user what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class _Nothing:
    """What was received where nothing was given; not None, which YAML writes as null."""

    def __repr__(self) -> str:
        return "nothing"


NOTHING = _Nothing()


class InputError(ValueError):
    """A value from outside that breaks a rule.

    The message always names the field, the rule, the value received and the mend, so that a user can
    correct the input without reading code.
    """

    def __init__(self, field: str, rule: str, value: object, mend: str):
        self.field, self.rule, self.value, self.mend = field, rule, value, mend
        super().__init__(f"{field}: {rule}; got {_short(value)}. {mend}")


def _short(value: object, limit: int = 120) -> str:
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."


def nearest(word: str, known: Iterable[str]) -> str:
    """A sentence that names the known word nearest to a misspelt one, and all known words."""
    known = sorted(known)
    match = difflib.get_close_matches(word, known, n=1)
    hint = f"Did you mean {match[0]!r}? " if match else ""
    return f"{hint}Known here: {', '.join(known)}."


def describe(error: BaseException) -> str:
    """What an exception of another library says, in one line; its kind too, which is all that some have."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
