"""Axes that the study's figures share."""

from __future__ import annotations

import math

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, NullLocator

from ptydesign.study.quantities import dose_number


def dose_axis(axes: Axes, doses: list[float], width_in: float, label: bool = True) -> None:
    """Logarithmic dose axis with a tick and a label at each dose of the study; labels turn when they would touch.

    width_in: width of the axes in inch.
    """
    low, high = min(doses), max(doses)
    margin = (high / low) ** 0.07 if high > low else 2.0
    margin = max(margin, 1.15)
    axes.set_xscale("log")
    axes.set_xlim(low / margin, high * margin)
    axes.xaxis.set_major_locator(FixedLocator(doses))
    axes.xaxis.set_minor_locator(NullLocator())
    texts = [dose_number(dose) for dose in doses]
    axes.set_xticks(doses, texts)
    inch_per_decade = width_in / math.log10(high * margin**2 / low)
    for first, second, left, right in zip(doses, doses[1:], texts, texts[1:], strict=False):
        needed = 0.058 * (len(left) + len(right)) / 2 + 0.06
        if math.log10(second / first) * inch_per_decade < needed:
            for tick in axes.get_xticklabels():
                tick.set(rotation=45, ha="right", rotation_mode="anchor")
            break
    if label:
        axes.set_xlabel("Dose (e/Å²)")
