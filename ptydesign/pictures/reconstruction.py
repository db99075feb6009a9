"""Pictures of a reconstruction: object, power spectrum, probe, positions, loss."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from ptydesign import drawing
from ptydesign.pictures import panels
from ptydesign.pictures.region import flattened, phase_rad, scanned
from ptydesign.score.metrics import taper_window
from ptydesign.types import Reconstruction
from ptydesign.waves import all_modes

MOST_SLICES, MOST_MODES = 12, 8  # drawn; further ones are named in the title
ARROWS = 2000  # at most


def object_(result: Reconstruction) -> Figure:
    """Phase and amplitude of the scanned region: all slices together, then each slice."""
    part = _region(result)
    pixel = _pixel(result)
    total = flattened(np.prod(part, axis=0, keepdims=True))
    height, width = part.shape[-2] * pixel[0], part.shape[-1] * pixel[1]
    slices = part.shape[0] if part.shape[0] > 1 else 0
    shown = min(slices, MOST_SLICES)
    rows, columns = panels.grid_of(shown) if shown else (0, 0)
    panel_in = drawing.TWO_COLUMNS_IN / 2 * min(height / width, 1.6)
    small_in = drawing.TWO_COLUMNS_IN / max(columns, 1) * min(height / width, 1.6)
    figure = drawing.new_figure(drawing.TWO_COLUMNS_IN, panel_in + rows * (small_in + 0.2))
    upper, *lower = figure.subfigures(
        1 + bool(shown), 1, height_ratios=[panel_in, rows * (small_in + 0.2)][: 1 + bool(shown)], squeeze=False
    )[:, 0]
    left, right = upper.subplots(1, 2)
    image = panels.image_in_a(left, phase_rad(total)[0], pixel, cmap="gray")
    panels.colour_bar(upper, image, left, "Phase (rad)")
    image = panels.image_in_a(right, np.abs(total)[0], pixel, cmap="gray")
    panels.colour_bar(upper, image, right, "Amplitude")
    left.set_title("Phase" if not slices else f"Phase of all {slices} slices")
    right.set_title("Amplitude")
    if shown:
        phases = phase_rad(flattened(part))
        same = panels.limits(phases, 0.1, 99.9)
        for index, axes in enumerate(lower[0].subplots(rows, columns, squeeze=False).ravel()):
            if index >= shown:
                axes.set_visible(False)
                continue
            which = round(index * (slices - 1) / max(shown - 1, 1))
            panels.image_in_a(axes, phases[which], pixel, cmap="gray", **same)
            axes.set_title(f"Slice {which + 1}")
    return figure


def spectrum(result: Reconstruction) -> Figure:
    """Power spectrum of the transmission, and its mean over rings."""
    part = flattened(np.prod(_region(result), axis=0, keepdims=True))[0]
    windows = [taper_window(n, 0.25) for n in part.shape]
    power = np.abs(np.fft.fft2((part - part.mean()) * windows[0][:, None] * windows[1][None, :])) ** 2 / part.size
    pixel = _pixel(result)
    ky, kx = (np.fft.fftfreq(n, p) for n, p in zip(part.shape, pixel, strict=True))
    figure = drawing.new_figure(drawing.TWO_COLUMNS_IN, 3.0)
    left, right = figure.subplots(1, 2)
    edge = [0.5 / p for p in pixel]
    shown = np.log10(np.maximum(np.fft.fftshift(power), power.max() * 1e-12))
    extent = panels.spectrum_extent(part.shape, [1 / (n * p) for n, p in zip(part.shape, pixel, strict=True)])
    image = left.imshow(shown, extent=extent, cmap="magma", **panels.limits(shown, 1, 99.95))
    panels.colour_bar(figure, image, left, "log₁₀ power")
    left.set(xlabel="kx (1/Å)", ylabel="ky (1/Å)", title="Power spectrum of the transmission")
    radius = np.hypot(ky[:, None], kx[None, :])
    width = max(1 / (n * p) for n, p in zip(part.shape, pixel, strict=True))
    ring = np.floor(radius / width).astype(int).ravel()
    count = np.bincount(ring)
    mean = np.bincount(ring, power.ravel()) / np.maximum(count, 1)
    q = (np.arange(len(mean)) + 0.5) * width
    keep = (count > 0) & (mean > 0) & (q <= min(edge))
    right.semilogy(q[keep], mean[keep], color=drawing.BLUE)
    right.set(xlabel="k (1/Å)", ylabel="Mean power", title="Mean over rings", xlim=(0, None))
    return figure


def probe(result: Reconstruction) -> Figure:
    """Each probe mode in real and reciprocal space: brightness is amplitude, hue is phase."""
    probes = np.asarray(result.state.probe)
    power = np.sum(np.abs(probes) ** 2, axis=(-2, -1))
    share = (power / np.maximum(power.sum(axis=-1, keepdims=True), 1e-30)).ravel()
    modes, scans = all_modes(probes), probes.ndim == 4
    shown = min(len(modes), MOST_MODES)
    each = min(drawing.TWO_COLUMNS_IN / max(shown, 2), 1.75)
    ratio = modes.shape[1] * _pixel(result)[0] / (modes.shape[2] * _pixel(result)[1])
    figure = drawing.new_figure(max(each * shown, 2.2), 2 * each * min(ratio, 1.6) + 0.5)
    axes = figure.subplots(2, shown, squeeze=False)
    extent = [n * p for n, p in zip(modes.shape[1:], _pixel(result), strict=True)]
    for index in range(shown):
        panels.image_in_a(axes[0, index], panels.complex_colours(modes[index]), _pixel(result))
        scan, mode = divmod(index, probes.shape[-3])
        axes[0, index].set_title(f"{f'Scan {scan + 1}, mode' if scans else 'Mode'} {mode + 1}: {share[index]:.1%}")
        wave = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(modes[index])))
        edge = [n / e / 2 for n, e in zip(wave.shape, extent, strict=True)]
        axes[1, index].imshow(panels.complex_colours(wave), extent=(-edge[1], edge[1], edge[0], -edge[0]))
        drawing.bare(axes[1, index])
        axes[1, index].set_xlabel(f"± {edge[1]:.3g} 1/Å")
    axes[0, 0].set_ylabel("Real space")
    axes[1, 0].set_ylabel("Reciprocal space")
    return figure


def variation(result: Reconstruction) -> Figure | None:
    """Modes by which the first probe mode varies over the scan, and their weights; None without OPR."""
    if result.state.opr_modes is None:
        return None
    modes, weights = np.asarray(result.state.opr_modes), np.asarray(result.state.opr_weights)
    found = result.state.positions_a
    shown = min(len(modes), MOST_MODES)
    each = min(drawing.TWO_COLUMNS_IN / max(shown, 2), 2.2)
    figure = drawing.new_figure(max(each * shown, 2.6), 1.75 * each + 0.4)
    axes = figure.subplots(2, shown, squeeze=False)
    for index in range(shown):
        panels.image_in_a(axes[0, index], panels.complex_colours(modes[index]), _pixel(result))
        rms = float(np.sqrt(np.mean(weights[:, index] ** 2)))
        axes[0, index].set_title(f"Variation {index + 1}: rms {rms:.2g}")
        largest = max(float(np.abs(weights[:, index]).max()), 1e-12)
        size = 12 * (each / 2.2) ** 2 * 400 / max(len(weights), 400)
        dots = axes[1, index].scatter(
            found[:, 1], found[:, 0], c=weights[:, index], s=size, cmap="RdBu_r", vmin=-largest, vmax=largest
        )
        panels.colour_bar(figure, dots, axes[1, index], "Weight" if index == shown - 1 else "")
        axes[1, index].set(xlabel="x (Å)", ylabel="y (Å)" if index == 0 else "", aspect="equal")
        axes[1, index].invert_yaxis()
    return figure


def positions(result: Reconstruction) -> Figure:
    """Nominal and corrected positions, and the distribution of the corrections."""
    nominal, found = np.asarray(result.nominal_positions_a), result.state.positions_a
    change = found - nominal
    change = change - change.mean(axis=0)
    length = np.hypot(*change.T)
    figure = drawing.new_figure(drawing.TWO_COLUMNS_IN, 3.2)
    left, right = figure.subplots(1, 2, width_ratios=(1.25, 1))
    corrected = bool(length.max() > 1e-3 * float(np.min(_pixel(result))))
    left.plot(nominal[:, 1], nominal[:, 0], "o", ms=2.2, mfc="none", mew=0.5, color=drawing.GREY, label="Nominal")
    if corrected:
        left.plot(found[:, 1], found[:, 0], ".", ms=2.2, color=drawing.VERMILLION, label="Corrected")
        left.quiver(
            *nominal[:ARROWS, ::-1].T, *change[:ARROWS, ::-1].T, angles="xy", scale_units="xy", scale=1, width=0.002,
            color=drawing.BLUE,
        )  # fmt: skip
    left.set(xlabel="x (Å)", ylabel="y (Å)", aspect="equal")
    left.invert_yaxis()
    left.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=2, borderaxespad=0.2)
    if corrected:
        right.hist(length, bins=30, color=drawing.BLUE)
        rms = float(np.sqrt(np.mean(length**2)))
        right.set(xlabel="Correction (Å), mean drift removed", ylabel="Positions", title=f"rms {rms:.3g} Å")
    else:
        drawing.empty_panel(right, "Positions were not corrected")
    return figure


def loss(result: Reconstruction) -> Figure:
    """Loss of each sweep."""
    values = np.asarray(result.history["loss"])
    figure = drawing.new_figure(drawing.ONE_COLUMN_IN, 2.3)
    axes = figure.subplots()
    if not np.any(np.isfinite(values)):
        drawing.empty_panel(axes, "No finite loss")
        return figure
    axes.plot(np.arange(1, len(values) + 1), values, color=drawing.BLUE, marker="." if len(values) < 40 else None)
    axes.set_yscale("log" if np.nanmin(values) > 0 else "linear")
    axes.set(xlabel="Sweep", ylabel="Loss per count", title=result.outcome.words.capitalize())
    return figure


PICTURES = {
    "object": object_,
    "spectrum": spectrum,
    "probe": probe,
    "variation": variation,
    "positions": positions,
    "loss": loss,
}


def _pixel(result: Reconstruction) -> tuple[float, float]:
    y, x = np.asarray(result.state.pixel_a, float)
    return float(y), float(x)


def _region(result: Reconstruction) -> np.ndarray:
    """(slice, y, x) scanned part of the object."""
    rows, columns = scanned(result)
    return np.asarray(result.state.object)[:, rows, columns]
