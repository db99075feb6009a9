"""Detectors by name, from `detectors.yaml`, where every number has a source; a plan may override each of them."""

from __future__ import annotations

import functools
import re
import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt

from ptydesign.config import Strict, build, read_yaml
from ptydesign.errors import InputError, nearest, shown

FILE = Path(__file__).parent / "detectors.yaml"
USER = "given in the plan"
UNVERIFIED = " (unverified)"
LIMITS = ("counts_per_frame", "rate_per_px_s", "hits_per_s")


class DetectorNumbers(Strict):
    """What a detector can do; null: no limit is known.

    These are the numbers of an entry of detectors.yaml, and of `detector.override` in a plan.
    """

    pixels: tuple[PositiveInt, PositiveInt] | None = None
    """[ny, nx] pixels of the detector, or of the part that is read."""
    pixel_um: PositiveFloat | None = None
    """Pitch of the pixels in micrometres; needed for camera lengths."""
    frames_per_s: PositiveFloat | None = None
    """Whole frames per second, back to back, their read-out included."""
    read_out_us: float | None = Field(None, ge=0)
    """Time in microseconds that reading a frame takes, in which nothing is counted; null is taken as 0."""
    blanked: bool | None = None
    """Whether the beam is off during the read-out; null is taken as no."""
    counts_per_frame: PositiveFloat | None = None
    """Most counts that a pixel can hold in a frame."""
    rate_per_px_s: PositiveFloat | None = None
    """Most counts per second of a pixel."""
    hits_per_s: PositiveFloat | None = None
    """Most events per second of the whole detector."""
    dead_time_ns: PositiveFloat | None = None
    """Time in ns that a pixel is blind after a count."""
    event_px: PositiveFloat | None = None
    """Area in pixels around an electron in which a second one of the same frame is lost, of detectors that find single
    electrons in sparse frames."""
    dqe: float | None = Field(None, gt=0, le=1)
    """Detective quantum efficiency at zero frequency; the dose is multiplied by it."""
    mtf_nyquist: dict[float, float] | None = None
    """Modulation transfer at the Nyquist frequency at each voltage, as {kV: value}; interpolated between them."""
    hits_per_electron: dict[float, float] | None = None
    """Pixels that count an electron, on average, as {kV: value}; interpolated between them, null is taken as 1."""
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
        return self.sources.get(field, "no limit known" if field in LIMITS else "not known")

    def mtf_at(self, voltage_kv: float) -> float:
        """Modulation transfer at Nyquist at a voltage, interpolated between what is known; 1 if nothing is."""
        return _interpolated(self.mtf_nyquist, voltage_kv)

    def hits_at(self, voltage_kv: float) -> float:
        """Pixels that count an electron at a voltage, on average."""
        return _interpolated(self.hits_per_electron, voltage_kv)

    def electrons(self, field: str, voltage_kv: float) -> float | None:
        """A limit of counts or hits (by its field) in electrons; None if no limit is known."""
        limit = getattr(self, field)
        return None if limit is None else limit / self.hits_at(voltage_kv)

    @property
    def nominal(self) -> list[str]:
        """Fields of numbers that could not be checked."""
        return [field for field, source in self.sources.items() if UNVERIFIED in source]

    def bytes_per_pattern(self, electrons: float, voltage_kv: float) -> float:
        """Size of a stored pattern: events, or pixels before any binning."""
        if self.bytes_per_hit is not None:
            return electrons * self.hits_at(voltage_kv) * self.bytes_per_hit
        return self.pixels[0] * self.pixels[1] * (self.bytes_per_px or 4.0)


def _interpolated(known: Mapping[float, float] | None, voltage_kv: float) -> float:
    """A number that is known at some voltages, at another: interpolated, and that of the nearest beyond them."""
    if not known:
        return 1.0
    voltages = sorted(known)
    return float(np.interp(voltage_kv, voltages, [known[v] for v in voltages]))


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


def plain(name: str) -> str:
    """A name without case, blanks and signs."""
    return re.sub(r"[^a-z0-9]", "", name.casefold())


@functools.cache
def _known() -> dict[str, str]:
    """Names of the data file by all the ways to write them."""
    return {plain(one): name for name, entry in _entries().items() for one in (name, *entry.get("aliases", ()))}


def check_known(name: str, override: DetectorNumbers | Mapping[str, Any]) -> str:
    """A detector's name as the data file has it. Raises InputError for one that isn't there nor is described."""
    given = override.model_dump(exclude_none=True) if isinstance(override, DetectorNumbers) else override
    name = _known().get(plain(name), name)
    if name not in _entries() and not {"pixels", "frames_per_s"} <= set(given):
        mend = nearest(name, detector_names()) + " Or describe it: override: {pixels: [ny, nx], frames_per_s: ...}."
        raise InputError("detector.name", "is not a known detector", name, mend)
    return name


def find_detector(name: str, override: DetectorNumbers | Mapping[str, Any] | None = None) -> Detector:
    """The detector of a name, in any case and common spelling, with some numbers overridden. Raises InputError naming
    the nearest known one.

    A name that isn't in the file is allowed if the override gives pixels, pixel_um and frames_per_s.
    """
    given = override.model_dump(exclude_none=True) if isinstance(override, DetectorNumbers) else dict(override or {})
    name = check_known(name, given)
    entry = {k: v for k, v in _entries().get(name, {}).items() if isinstance(v, dict)}
    values = {field: item["value"] for field, item in entry.items()}
    sources = {
        field: item["source"] + ("" if item.get("verified", True) else UNVERIFIED) for field, item in entry.items()
    }
    sources |= dict.fromkeys(given, USER)
    if "frames_per_s" in given and 1e6 / given["frames_per_s"] <= values.get("read_out_us", 0.0):
        # another way to read it than the one on file
        del values["read_out_us"], sources["read_out_us"]
    return build(Detector, {**values, **given, "name": name, "sources": sources}, f"detector {name}")
