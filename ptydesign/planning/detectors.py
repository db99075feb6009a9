"""Detectors by name, from `detectors.yaml`, where every number has a source; a plan may override each of them."""

from __future__ import annotations

import functools
import itertools
import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, PositiveFloat, PositiveInt

from ptydesign.config import Strict, build, read_yaml
from ptydesign.errors import InputError, nearest, shown

FILE = Path(__file__).parent / "detectors.yaml"
USER = "given in the plan"
UNVERIFIED = " (unverified)"


class DetectorNumbers(Strict):
    """What a detector can do; null: no limit is known.

    These are the numbers of an entry of detectors.yaml, and of `detector.override` in a plan.
    """

    pixels: tuple[PositiveInt, PositiveInt] | None = None
    """[ny, nx] pixels of the detector, or of the part that is read."""
    pixel_um: PositiveFloat | None = None
    """Pitch of the pixels in micrometres; needed for camera lengths."""
    frames_per_s: PositiveFloat | None = None
    """Whole frames per second, back to back."""
    counts_per_frame: PositiveFloat | None = None
    """Most electrons that a pixel can count in a frame."""
    rate_per_px_s: PositiveFloat | None = None
    """Most electrons per second that a pixel can count."""
    hits_per_s: PositiveFloat | None = None
    """Most events per second of the whole detector."""
    dead_time_ns: PositiveFloat | None = None
    """Time in ns that a pixel is blind after an electron."""
    dqe: float | None = Field(None, gt=0, le=1)
    """Detective quantum efficiency at zero frequency; the dose is multiplied by it."""
    mtf_nyquist: dict[float, float] | None = None
    """Modulation transfer at the Nyquist frequency at each voltage, as {kV: value}; interpolated between them."""
    bytes_per_px: PositiveFloat | None = None
    """Bytes of a pixel in the file."""
    bytes_per_hit: PositiveFloat | None = None
    """Bytes of an event in the file, for detectors that store events."""


class Detector(DetectorNumbers):
    """A detector with the source of each of its numbers."""

    name: str
    """What the detector is called in the data file."""
    sources: dict[str, str]
    """Where each number is from, by field."""

    def source(self, field: str) -> str:
        """Where a number is from."""
        return self.sources.get(field, "no limit known")

    def mtf_at(self, voltage_kv: float) -> float:
        """Modulation transfer at Nyquist at a voltage, interpolated between what is known; 1 if nothing is."""
        if not self.mtf_nyquist:
            return 1.0
        known = sorted(self.mtf_nyquist.items())
        if voltage_kv <= known[0][0]:
            return known[0][1]
        for (low, a), (high, b) in itertools.pairwise(known):
            if voltage_kv <= high:
                return a + (b - a) * (voltage_kv - low) / (high - low)
        return known[-1][1]

    def bytes_per_pattern(self, electrons: float) -> float:
        """Size of a stored pattern: events, or pixels before any binning."""
        if self.bytes_per_hit is not None:
            return electrons * self.bytes_per_hit
        return self.pixels[0] * self.pixels[1] * (self.bytes_per_px or 4.0)


# Columns of the table, which fits a screen of 80 letters: (field, head, width).
COLUMNS = (
    ("pixels", "pixels", 11),
    ("pixel_um", "um", 5),
    ("frames_per_s", "frames/s", 9),
    ("counts_per_frame", "e/frame", 9),
    ("rate_per_px_s", "e/px/s", 9),
    ("hits_per_s", "hits/s", 8),
    ("dqe", "DQE", 6),
)
NAME_WIDTH = 15


def detector_table(found: Iterable[Detector]) -> str:
    """Detectors with the numbers that decide, a line each; `-` is a limit that isn't known."""
    lines = [" ".join(["detector".ljust(NAME_WIDTH), *(head.rjust(width) for _, head, width in COLUMNS)])]
    for one in found:
        cells = [_number(one, field).rjust(width) for field, _, width in COLUMNS]
        lines.append(" ".join([one.name.ljust(NAME_WIDTH), *cells]))
    return "\n".join(lines)


def _number(detector: Detector, field: str) -> str:
    value = getattr(detector, field)
    mark = "?" if UNVERIFIED in detector.source(field) else ""
    if value is None:
        return "-"
    if isinstance(value, tuple):
        return " x ".join(map(str, value)) + mark
    words = f"{value:g}" if value < 1e6 else f"{value:.3g}".replace("e+0", "e")
    return words + mark


def source_lines(detector: Detector, width: int = 79) -> str:
    """All numbers of a detector, each with its source."""
    lines = [detector.name]
    for field in DetectorNumbers.model_fields:
        value = getattr(detector, field)
        value = "-" if value is None else f"{value:g}" if isinstance(value, float) else shown(value)
        lines.append(f"  {field:17s} {value}")
        lines += textwrap.wrap(detector.source(field), width, initial_indent=" " * 6, subsequent_indent=" " * 6)
    return "\n".join(lines)


@functools.cache
def _entries() -> dict[str, dict[str, Any]]:
    return read_yaml(FILE)


def detector_names() -> list[str]:
    """Names in the data file."""
    return list(_entries())


def find_detector(name: str, override: DetectorNumbers | Mapping[str, Any] | None = None) -> Detector:
    """The detector of a name with some numbers overridden. Raises InputError naming the nearest known one.

    A name that isn't in the file is allowed if the override gives pixels, pixel_um and frames_per_s.
    """
    given = override.model_dump(exclude_none=True) if isinstance(override, DetectorNumbers) else dict(override or {})
    if name not in _entries() and not {"pixels", "frames_per_s"} <= set(given):
        mend = nearest(name, detector_names()) + " Or describe it: override: {pixels: [ny, nx], frames_per_s: ...}."
        raise InputError("detector.name", "is not a known detector", name, mend)
    entry = {k: v for k, v in _entries().get(name, {}).items() if isinstance(v, dict)}
    values = {field: item["value"] for field, item in entry.items()}
    sources = {
        field: item["source"] + ("" if item.get("verified", True) else UNVERIFIED) for field, item in entry.items()
    }
    sources |= dict.fromkeys(given, USER)
    return build(Detector, {**values, **given, "name": name, "sources": sources}, f"detector {name}")
