"""Detectors by name, from `detectors.yaml`, where every number has a source; a plan may override each of them."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, PositiveFloat, PositiveInt

from ptydesign.config import Strict, build, read_yaml
from ptydesign.errors import InputError, nearest

FILE = Path(__file__).parent / "detectors.yaml"
USER = "given in the plan"


class DetectorNumbers(Strict):
    """What a detector can do; the entries of detectors.yaml, and of `detector.override` in a plan.

    None: no limit is known. counts_per_frame, rate_per_px_s: electrons. mtf_nyquist: {kV: value}, interpolated.
    """

    pixels: tuple[PositiveInt, PositiveInt] | None = Field(None, description="[ny, nx]")
    pixel_um: PositiveFloat | None = Field(None, description="pitch in micrometre")
    frames_per_s: PositiveFloat | None = Field(None, description="whole frames per second, back to back")
    counts_per_frame: PositiveFloat | None = Field(None, description="most electrons in a pixel and frame")
    rate_per_px_s: PositiveFloat | None = Field(None, description="most electrons per pixel and second")
    hits_per_s: PositiveFloat | None = Field(None, description="most events per second of the whole detector")
    dead_time_ns: PositiveFloat | None = Field(None, description="of a pixel after an electron")
    dqe: float | None = Field(None, gt=0, le=1, description="detective quantum efficiency at zero frequency")
    mtf_nyquist: dict[float, float] | None = Field(None, description="{kV: modulation transfer at Nyquist}")
    bytes_per_px: PositiveFloat | None = Field(None, description="bytes of a pixel in the file")
    bytes_per_hit: PositiveFloat | None = Field(None, description="bytes of an event in the file")


class Detector(DetectorNumbers):
    """A detector with the source of each of its numbers. sources: {field: where it is from}."""

    name: str
    sources: dict[str, str]

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
        field: item["source"] + ("" if item.get("verified", True) else " (unverified)") for field, item in entry.items()
    }
    sources |= dict.fromkeys(given, USER)
    return build(Detector, {**values, **given, "name": name, "sources": sources}, f"detector {name}")
