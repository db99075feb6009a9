"""What the figures of a tuning study share: colours of plans and methods, phases, diffractograms, curves."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from ptydesign.drawing import BLUE, GREEN, GREY, OKABE_ITO, ORANGE, VERMILLION, bare, nice_length, scale_bar
from ptydesign.score.metrics import taper_window

COLOURS = {"bo": BLUE, "random": ORANGE}
MARKS = "osD^vP"
_PLANS = (BLUE, VERMILLION, GREEN, OKABE_ITO[4], OKABE_ITO[5], GREY)


def plan_look(plans: list[str], name: str) -> dict[str, Any]:
    """Colour and mark of a plan."""
    number = plans.index(name) if name in plans else len(plans)
    return {"color": _PLANS[number % len(_PLANS)], "marker": MARKS[number % len(MARKS)]}


def phase(axes: Axes, group: dict[str, Any], limits: tuple[float, float], name: str = "phase", bar: bool = True) -> Any:
    """A phase in rad with a scale bar; the mean is removed, since it is free."""
    image, pixel = group["arrays"][name], group["attrs"]["pixel_a"]
    height, width = (n * p for n, p in zip(image.shape, pixel, strict=True))
    drawn = axes.imshow(
        image - image.mean(), cmap="cividis", vmin=limits[0], vmax=limits[1], extent=(0, width, height, 0)
    )
    bare(axes)
    if bar:
        scale_bar(axes, width, height)
    return drawn


def phase_limits(groups: list[dict[str, Any]]) -> tuple[float, float]:
    """Common limits: the truth's range if there is one, else of the first picture."""
    first = groups[0]["arrays"]
    image = first.get("truth", first["phase"])
    image = image - image.mean()
    return float(np.quantile(image, 0.002)), float(np.quantile(image, 0.998))


def diffractogram(axes: Axes, group: dict[str, Any], limit: float, name: str = "phase") -> None:
    """Logarithm of the power spectrum of a tapered phase, up to `limit` in 1/A."""
    image, pixel = group["arrays"][name], group["attrs"]["pixel_a"]
    window = taper_window(image.shape[0], 1.0)[:, None] * taper_window(image.shape[1], 1.0)
    size = [4 * n for n in image.shape]  # padded, so that spots are drawn round
    power = np.abs(np.fft.fftshift(np.fft.fft2((image - image.mean()) * window, s=size))) ** 2
    power = np.log10(power / power.max() + 1e-12)
    edges = [0.5 / p for p in pixel]
    limit = min(limit, *edges)
    axes.imshow(power, cmap="magma", vmin=-4, vmax=0, extent=(-edges[1], edges[1], edges[0], -edges[0]))
    axes.set(xlim=(-limit, limit), ylim=(limit, -limit))
    bare(axes)
    length = nice_length(0.5 * limit)
    axes.plot([-0.9 * limit, -0.9 * limit + length], [0.88 * limit] * 2, color="white", lw=2, solid_capstyle="butt")
    axes.text(
        -0.9 * limit + length / 2, 0.82 * limit, f"{length:g}/Å", color="white", ha="center", va="bottom", fontsize=6
    )


def ring_correlation(axes: Axes, group: dict[str, Any], q_max: float, **look: Any) -> None:
    """FRC against frequency."""
    axes.plot(group["arrays"]["q"], group["arrays"]["frc"], **look)
    axes.set(xlim=(0, q_max), ylim=(-0.15, 1.05), xlabel="Spatial frequency (1/Å)", ylabel="FRC")


def spread(axes: Axes, x: Any, mean: Any, std: Any, colour: str, text: str) -> None:
    """A mean with a band of one standard deviation."""
    x, mean, std = (np.asarray(v, float) for v in (x, mean, std))
    axes.plot(x, mean, color=colour, label=text, zorder=3)
    axes.fill_between(x, mean - std, mean + std, color=colour, alpha=0.2, lw=0, zorder=2)
