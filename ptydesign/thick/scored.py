"""Which defects lie in the part of the scan that is scored: known, and said, before anything is computed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ptydesign.errors import InputError
from ptydesign.simulate.defects import Defect, Interstitial, Placed
from ptydesign.thick.config import ThickStudy
from ptydesign.thick.resolve import ThickResolved

ROUNDING_A = 1e-6


def scored_half_a(study: ThickStudy, margin_a: float) -> np.ndarray:
    """Half of the scored field, (y, x): the scanned one less a margin on each side."""
    return np.asarray(study.experiment.field_of_view_a) / 2 - margin_a


def inside(places_a: np.ndarray, centre_a: tuple[float, float], half_a: np.ndarray) -> np.ndarray:
    """(n,) Whether places (n, 2), y, x, lie within half_a of the centre."""
    return np.all(np.abs(np.reshape(places_a, (-1, 2)) - centre_a) <= half_a + ROUNDING_A, axis=1)


def scored_words(resolved: ThickResolved, margin_a: float) -> str:
    """How many defects of each kind lie in the scored field, as "12 of 12 Sn interstitial"."""
    y, x = 2 * scored_half_a(resolved.study, margin_a)
    found = [
        f"{int(scored.sum())} of {len(placed)} {placed[0].element or placed[0].host} {placed[0].kind}"
        for _, _, placed, scored in _groups(resolved, margin_a)
    ]
    return f"defects in the scored field of {x:g} x {y:g} A (x, y): {', '.join(found) or 'none'}"


def with_doubts(resolved: ThickResolved, margin_a: float, margin_field: str, counted: bool) -> ThickResolved:
    """The study with a warning for defects that lie outside the scored field, where only the ones inside count.

    margin_field: where the study file has margin_a. counted: interstitials are what is measured; those at random places
    are warned of too, and InputError is raised if all lie outside. Otherwise only defects placed by hand matter.
    """
    y, x = scored_half_a(resolved.study, margin_a)
    field = (
        f"the scored field (|y| <= {y:g}, |x| <= {x:g} A from the middle of the scan: experiment.field_of_view_a "
        f"less {margin_field}, {margin_a:g} A, on each side)"
    )
    more = f"scan a larger field or lower {margin_field}"
    doubts, some, lost = [], False, None
    for number, defect, placed, scored in _groups(resolved, margin_a):
        measured = counted and isinstance(defect, Interstitial)
        some |= measured and bool(scored.any())
        if scored.all() or not (defect.at_a or measured):
            continue
        out = [place for place, is_scored in zip(placed, scored, strict=True) if not is_scored]
        doubt = _doubt(number, defect, out, scored, resolved.centre_a, margin_a, field, more)
        doubts.append(str(doubt))
        lost = doubt if measured and lost is None else lost
    if counted and not some and lost is not None:
        raise InputError(lost.field, f"must put an interstitial into {field}: nothing would be measured", lost.value,
                         lost.mend)  # fmt: skip
    return replace(resolved, warnings=(*resolved.warnings, *doubts))


def _doubt(number, defect, out, scored, centre_a, margin_a, field, more) -> InputError:
    """What is said of a defect of which some places, `out`, aren't scored."""
    if not defect.at_a:
        value = f"{len(out)} of {len(scored)} outside"
        mend = f"Give it a margin_a of at least {margin_a:g}, or {more}."
        return InputError(f"sample.defects.{number}.margin_a", f"should keep all of them in {field} to count", value,
                          mend)  # fmt: skip
    wanted = [list(place) for place, is_scored in zip(defect.at_a, scored, strict=True) if not is_scored]
    away = np.round([(p.y_a, p.x_a) for p in out] - np.asarray(centre_a), 1) + 0.0  # no -0.0
    sites = ", ".join(f"({y:g}, {x:g})" for y, x in away)
    mend = f"The sites there are at (y, x) = {sites} A. Move them, or {more}."
    return InputError(f"sample.defects.{number}.at_a", f"should lie in {field} to count", wanted, mend)


def _groups(resolved: ThickResolved, margin_a: float) -> Iterator[tuple[int, Defect, list[Placed], np.ndarray]]:
    """Each of the study's defects: its number, what it says, where it was placed, and which of these are scored."""
    half, rest = scored_half_a(resolved.study, margin_a), list(resolved.placed)
    for number, defect in enumerate(resolved.study.sample.defects):
        count = defect.count or len(defect.at_a)
        placed, rest = rest[:count], rest[count:]
        yield number, defect, placed, inside([(p.y_a, p.x_a) for p in placed], resolved.centre_a, half)
