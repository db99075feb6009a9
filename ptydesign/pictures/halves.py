"""Picture of two halves' agreement."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from ptydesign import drawing
from ptydesign.pictures import panels
from ptydesign.score.halves import HalvesAgreement


def frc(agreement: HalvesAgreement, pixel_a: tuple[float, float]) -> Figure:
    """Phases of both halves, and their ring correlation with its thresholds."""
    figure = drawing.new_figure(drawing.TWO_COLUMNS_IN, 2.5)
    axes = figure.subplots(1, 3)
    same = panels.limits(agreement.first, 0.1, 99.9)
    for one, image, title in zip(axes, (agreement.first, agreement.second), ("Half 1", "Half 2"), strict=False):
        panels.image_in_a(one, image, pixel_a, cmap="gray", **same)
        one.set_title(title)
    curve = agreement.frc_curve
    axes[2].plot(curve.q, curve.frc, color=drawing.BLUE, label="FRC")
    axes[2].plot(curve.q, curve.one_bit, color=drawing.VERMILLION, ls="--", lw=0.9, label="1 bit")
    axes[2].plot(curve.q, curve.half_bit, color=drawing.GREY, ls=":", lw=0.9, label="1/2 bit")
    axes[2].set(xlabel="k (1/Å)", ylabel="Fourier ring correlation", xlim=(0, curve.nyquist), ylim=(-0.1, 1.02))
    resolution = curve.resolution_a(curve.one_bit)
    axes[2].set_title(f"1 bit: {resolution:.3g} Å" if np.isfinite(resolution) else "1 bit: not reached")
    axes[2].legend(loc="lower left")
    return figure


def table(agreement: HalvesAgreement) -> str:
    """The curve as CSV."""
    curve = agreement.frc_curve
    columns = np.stack([curve.q, curve.frc, curve.count, curve.half_bit, curve.one_bit], axis=1)
    lines = [",".join(f"{value:.6g}" for value in row) for row in columns]
    return "\n".join(["q_per_a,frc,pixels,half_bit,one_bit", *lines]) + "\n"
