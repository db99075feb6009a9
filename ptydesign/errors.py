"""Errors that tell a user what to do."""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

SAID = "error: "  # begins what a command prints of an error
LONGEST = 120  # letters of a value in an error
LONGEST_NAME = 300  # of a field or a rule: file names and keys are the user's
LONGEST_MEND = 1500  # with a list of what is known
MOST_KNOWN = 40  # names in a list of what is known


_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")


class _Nothing:
    """What was received where nothing was given; not None, which YAML writes as null."""

    def __repr__(self) -> str:
        return "nothing"


NOTHING = _Nothing()


class InputError(ValueError):
    """A value from outside that breaks a rule.

    The message always names the field, the rule, the value received and the mend, so that a user can
    correct the input without reading code. others: further errors of the same file, each on a line of its own.
    """

    def __init__(self, field: str, rule: str, value: object, mend: str, others: Sequence[InputError] = ()):
        self.field, self.rule, self.value, self.mend, self.others = field, rule, value, mend, tuple(others)
        own = f"{_line(field)}: {_line(rule)}; got {shown(value)}. {_line(mend, LONGEST_MEND)}"
        super().__init__("\n".join([printable(own), *map(str, self.others)]))

    def within(self, place: str) -> InputError:
        """The same in a file or section, with all others."""
        others = [one.within(place) for one in self.others]
        return InputError(f"{place}: {self.field}", self.rule, self.value, self.mend, others)

    def at(self, field: str) -> InputError:
        """The same of another field, as of one whose file is known now."""
        return InputError(field, self.rule, self.value, self.mend, self.others)


def together(*checks: Callable[[], object]) -> None:
    """Make checks that don't depend on each other; raises one InputError of all that fail."""
    found: list[InputError] = []
    for check in checks:
        try:
            check()
        except InputError as error:
            found += [InputError(error.field, error.rule, error.value, error.mend), *error.others]
    if found:
        first, *others = found
        raise InputError(first.field, first.rule, first.value, first.mend, others)


def said(error: InputError) -> str:
    """What a command prints of an error: a line for each problem."""
    return "\n".join(f"{SAID}{line}" for line in str(error).splitlines())


def printable(text: str) -> str:
    """A text whose control characters but line ends are written out: a terminal would obey them."""
    return _CONTROL.sub(lambda found: repr(found[0])[1:-1], text)


def shown(value: object, limit: int = LONGEST) -> str:
    """A value as it would be written in a file: lists in brackets, mappings in braces, null for None; never longer than
    `limit`."""
    text = ""
    for part in _parts(value, limit):
        text += part
        if len(text) > limit:
            return text[: limit - 3] + "..."
    return text


def _parts(value: object, limit: int, depth: int = 8) -> Iterable[str]:
    """A value's text piece by piece: of a huge one only the beginning is made."""
    if hasattr(value, "tolist"):  # numpy's
        value = value.tolist() if getattr(value, "size", 1) <= limit else f"an array {value.shape}"  # type: ignore[attr-defined]
    if value is None or isinstance(value, bool):
        yield {None: "null", True: "true", False: "false"}[value]
    elif isinstance(value, str):
        yield repr(value[: limit + 1])
    elif isinstance(value, int) and value.bit_length() > 4 * limit:
        yield f"an integer of {int(value.bit_length() * 0.30103) + 1} digits"
    elif isinstance(value, Mapping | list | tuple):
        if depth == 0:
            yield "..."
            return
        pairs = value.items() if isinstance(value, Mapping) else ((None, item) for item in value)
        first, last = "{}" if isinstance(value, Mapping) else "()" if isinstance(value, tuple) else "[]"
        yield first
        for number, (key, item) in enumerate(pairs):
            yield ", " if number else ""
            yield f"{str(key)[:limit]}: " if first == "{" else ""
            yield from _parts(item, limit, depth - 1)
        yield f",{last}" if first == "(" and len(value) == 1 else last
    else:
        yield repr(value)


def _line(words: str, longest: int = LONGEST_NAME) -> str:
    """Words on one line of bounded length."""
    words = " ".join(words.split()) if any(ord(letter) < 32 for letter in words) else words
    return words if len(words) <= longest else f"{words[: longest - 3]}..."


def nearest(word: str, known: Iterable[str]) -> str:
    """A sentence that names the known word nearest to a misspelt one, whatever its case, and all known words."""
    known = sorted(known)
    lower = {name.lower(): name for name in known}
    match = difflib.get_close_matches(word[:LONGEST].lower(), list(lower), n=1)
    hint = f"Did you mean {lower[match[0]]!r}? " if match else ""
    more = f", and {len(known) - MOST_KNOWN} more" if len(known) > MOST_KNOWN else ""
    return f"{hint}Known here: {', '.join(known[:MOST_KNOWN])}{more}."


def near_files(path: Path) -> str:
    """A sentence that names the file nearest to a misspelt one in its folder; nothing if there is none."""
    folder = path.parent
    names = [one.name for one in itertools.islice(folder.iterdir(), 1000)] if folder.is_dir() else []
    if not folder.is_dir() and str(folder) not in ("", "."):
        return near_files(folder) or f"There is no folder {folder}."
    match = difflib.get_close_matches(path.name, [name for name in names if not name.startswith(".")], n=1)
    return f"Did you mean {str(folder / match[0])!r}?" if match else ""


def describe(error: BaseException) -> str:
    """What an exception of another library says, in one line; its kind too, which is all that some have."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
