"""Rows of the feasibility card: one rule each."""

from __future__ import annotations

from dataclasses import dataclass

GREEN, AMBER, RED, INFO = "green", "amber", "red", "information"
RULE = "rule of thumb"


@dataclass(frozen=True)
class Row:
    """One rule. value in `unit`; limit: what is wanted, in words; change: what to do, empty if green."""

    name: str
    value: float | None
    unit: str
    limit: str
    status: str
    formula: str
    source: str
    change: str = ""

    @property
    def value_text(self) -> str:
        """The value with its unit."""
        if self.value is None:
            return "impossible"
        return f"{number_words(self.value)} {self.unit}".strip()


def graded(value: float, green: float, amber: float) -> str:
    """Green from `green` on, amber from `amber` on; falling if amber > green."""
    if green >= amber:
        return GREEN if value >= green else AMBER if value >= amber else RED
    return GREEN if value <= green else AMBER if value <= amber else RED


def unless(good: bool, change: str) -> str:
    """What to change, or nothing."""
    return "" if good else change


def number_words(value: float | None) -> str:
    """Three digits, or a whole number with commas; "-" for none."""
    if value is None:
        return "-"
    if value != 0 and (abs(value) >= 1e7 or abs(value) < 1e-3):
        return f"{value:.2e}"
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def part_words(part: float) -> str:
    """A part of a limit in per cent, with as many digits as tell it from 100 %; above 2 how many times as much."""
    if part > 2:
        return f"{number_words(part)} times as much"
    digits = next(digits for digits in range(3, 12) if f"{part:.9g}" == "1" or f"{100 * part:.{digits}g}" != "100")
    return f"{100 * part:.{digits}g} % of it"
