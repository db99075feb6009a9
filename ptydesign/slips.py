"""Slips of a file's author, and what was meant: a key that is known in another unit, a list without commas, ..."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

# Units as the last part of a key, or all of it, in one of each kind.
KINDS: tuple[dict[str, float], ...] = (
    {"pm": 1e-3, "a": 0.1, "angstrom": 0.1, "nm": 1.0, "um": 1e3, "mm": 1e6, "cm": 1e7, "m": 1e9},
    {"urad": 1e-3, "mrad": 1.0, "rad": 1e3, "deg": 17.453292519943295},
    {"ns": 1e-3, "us": 1.0, "ms": 1e3, "s": 1e6, "min": 6e7, "h": 3.6e9},
    {"fa": 1e-3, "pa": 1.0, "na": 1e3},
    {"v": 1e-3, "kv": 1.0, "mv": 1e3},
)
DIGITS = 12  # of a converted number: more are rounding


def in_known_unit(key: str, value: Any, known: Iterable[str]) -> str:
    """What to write instead of `defocus_a: -550` where `defocus_nm` is known; nothing where more than a key's unit
    differs. value: a number, or a list or mapping of numbers."""
    stem, _, unit = key.lower().rpartition("_")
    for units in KINDS:
        for name in sorted(known) if unit in units else ():
            its_stem, _, its_unit = name.rpartition("_")
            if its_stem == stem and its_unit in units:
                converted = _times(value, units[unit] / units[its_unit])
                return "" if converted is None else f"Write {name}: {converted}."
    return ""


def _times(value: Any, factor: float) -> str | None:
    """A value times a factor, as it is written in a file; None if it is no number or holds none."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return f"{value * factor:.{DIGITS}g}"
    if isinstance(value, Mapping):
        parts = [(name, _times(one, factor)) for name, one in value.items()]
        return None if any(one is None for _, one in parts) else f"{{{', '.join(f'{n}: {one}' for n, one in parts)}}}"
    if isinstance(value, list | tuple):
        items = [_times(one, factor) for one in value]
        return None if None in items else f"[{', '.join(items)}]"
    return None


def meant(problem: Mapping[str, Any], beside: set[str] = frozenset()) -> str:  # type: ignore[assignment]
    """What a list without commas, a range written as a list, or a number for a section was meant to be, or nothing."""
    value = problem["input"]
    words = value[0] if isinstance(value, list) and len(value) == 1 else value
    numbers = words.strip("[]() ").split() if isinstance(words, str) and len(words) < 100 else []
    if len(numbers) > 1 and all(map(_is_number, numbers)):
        return f"Write it with commas: [{', '.join(numbers)}]."
    pair = isinstance(value, list) and len(value) == 2 and all(_is_number(str(end)) for end in value)
    if problem["type"] not in ("model_type", "model_attributes_type"):
        return ""
    section = "" if isinstance(value, list) else "It is a section: write its keys below it, each with its value."
    return f"Write a range as {{low: {value[0]}, high: {value[1]}}}." if pair else section


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
