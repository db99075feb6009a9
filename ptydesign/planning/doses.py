"""Critical doses of common specimens, from `doses.yaml`, to choose a goal from."""

from __future__ import annotations

import functools
import textwrap
from pathlib import Path

import yaml
from pydantic import Field, PositiveFloat, TypeAdapter

from ptydesign.config import Strict

FILE = Path(__file__).parent / "doses.yaml"
INDENT = " " * 4
AT_100_KV = (
    "At 100 kV damage per electron is 1.57 times that at 300 kV (bacteriorhodopsin and paraffin: Peet et al., "
    "Ultramicroscopy (2019), PMC6495108, abstract)."
)


class CriticalDose(Strict):
    """A dose at which a specimen has changed."""

    specimen: str
    """Which specimen."""
    dose_e_per_a2: tuple[PositiveFloat, ...] = Field(min_length=1, max_length=2)
    """Dose in e/A^2; [low, high] of several specimens."""
    kv: PositiveFloat | None = None
    """Accelerating voltage in kV, where the source says it."""
    change: str
    """What had changed."""
    source: str
    """Publication."""

    @property
    def words(self) -> str:
        """The dose with its unit."""
        return (
            " to ".join(f"{dose:,g}" for dose in self.dose_e_per_a2)
            + " e/Å²"
            + (f" at {self.kv:g} kV" if self.kv else "")
        )


@functools.cache
def critical_doses() -> tuple[CriticalDose, ...]:
    """All of the table, the most sensitive specimen first."""
    found = TypeAdapter(tuple[CriticalDose, ...]).validate_python(yaml.safe_load(FILE.read_text(encoding="utf-8")))
    return tuple(sorted(found, key=lambda one: one.dose_e_per_a2[0]))


def doses_text(width: int = 79) -> str:
    """The table for a terminal: each dose with what had changed and its source."""
    lines = []
    for one in critical_doses():
        lines.append(f"{one.specimen}: {one.words}")
        for words in (one.change, one.source):
            lines += textwrap.wrap(words, width, initial_indent=INDENT, subsequent_indent=INDENT)
    return "\n".join([*lines, "", *textwrap.wrap(AT_100_KV, width)])
