"""Settings of what is refined besides object and probe; see `refine`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal

from pydantic import Field, model_serializer

from ptydesign.config import Strict


class Refinements(Strict):
    """What is refined besides object and probe; part of every engine's settings. Everything is off by default
    but the shift of further scans."""

    refine_positions: bool = False
    """Whether scan positions are corrected, for jitter and drift; low doses need `position_error_a` with it."""
    positions_start: int = Field(3, ge=0)
    """Sweeps before positions are corrected, so that object and probe take shape first."""
    position_step: float = Field(1.0, gt=0, le=2)
    """Factor of a position's step; less damps it."""
    position_clip_px: float = Field(0.3, gt=0)
    """Largest step of a position in a sweep, in object pixels."""
    position_affine: float = Field(0.0, ge=0, le=1)
    """Part of each departure from an affine map of the nominal positions that is taken back in a sweep; 1 allows the
    map only."""
    position_error_a: float = Field(0.0, ge=0)
    """Expected error of a position along one axis in angstrom, about an affine map of the nominal ones: a prior, for
    counts of electrons, which low doses need; 0 is none."""
    search_every: int = Field(10, ge=0)
    """Sweeps from one search for positions that descent cannot reach to the next; 0 is never."""
    search_radius_a: float = Field(1.5, gt=0)
    """How far in angstrom from where its neighbours put it a position is sought; about three times the expected
    error."""
    search_part: float = Field(0.05, gt=0, le=1)
    """Part of the positions, those that fit worst, to search for."""
    opr_start: int = Field(3, ge=0)
    """Sweeps before the probe may vary over the scan, with `probe.opr_modes`."""
    refine_intensity: bool = False
    """Whether an intensity factor of each pattern is fitted, for a beam current that fluctuates."""
    intensity_start: int = Field(3, ge=0)
    """Sweeps before intensity factors are corrected."""
    refine_tilt: bool = False
    """Whether the specimen's tilt is refined; needs two slices or more."""
    slices_alike: float = Field(0.5, ge=0, le=1)
    """Part of the slices' departure from their mean that is taken back in each sweep that refines the tilt; with 0 a
    tilt is hardly found."""
    refine_thickness: Literal["off", "total", "each"] = "off"
    """What is refined of the slices' thicknesses: nothing, one factor of all, or each slice's."""
    propagation_start: int = Field(5, ge=0)
    """Sweeps before tilt and thickness are refined."""
    propagation_step: float = Field(1.0, gt=0, le=10)
    """Factor of the step of tilt and thickness."""
    refine_shift: bool = True
    """Whether each further scan of the same object is shifted as a whole against the first; with one scan it does
    nothing."""

    quiet: ClassVar[frozenset[str]] = frozenset(
        {
            "refine_positions",
            "positions_start",
            "position_step",
            "position_clip_px",
            "position_affine",
            "position_error_a",
            "search_every",
            "search_radius_a",
            "search_part",
            "opr_start",
            "refine_intensity",
            "intensity_start",
            "refine_tilt",
            "slices_alike",
            "refine_thickness",
            "propagation_start",
            "propagation_step",
            "refine_shift",
        }
    )

    @model_serializer(mode="wrap")
    def _leave_out_what_is_off(self, handler: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        """A plan that refines nothing is written as it was before there were refinements: stored trials stay valid. One
        that refines positions says whether it searches for them: before there was a search it had other numbers."""
        fields = type(self).model_fields
        said = {"search_every"} if self.refine_positions else set()
        return {
            k: v
            for k, v in handler(self).items()
            if k not in self.quiet or k in said or getattr(self, k) != fields[k].default
        }

    def starts(self, sweep: int) -> dict[str, float]:
        """Switches (0 or 1) of what is refined in a sweep, as arguments of the compiled sweep."""
        return {
            "positions_on": float(sweep >= self.positions_start),
            "intensity_on": float(sweep >= self.intensity_start),
            "opr_on": float(sweep >= self.opr_start),
            "propagation_on": float(sweep >= self.propagation_start),
        }
