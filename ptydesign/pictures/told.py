"""What was told of a dataset beside what its data say, and a fast picture of the phase."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from ptydesign import diagnostics, drawing
from ptydesign.instruments.estimate import sideband
from ptydesign.instruments.estimate.orientation import Orientation
from ptydesign.instruments.estimate.scan import oriented, told_turn_rad
from ptydesign.pictures import panels
from ptydesign.types import Dataset
from ptydesign.units import MRAD, NM, wavelength_a

PIXELS = 160  # of the fast picture, at most, along an axis


def estimates(dataset: Dataset) -> Figure:
    """A table of told and found values, the phase by single sideband with the found setting, and the beam's centre over
    the scan."""
    mean = diagnostics.pacbed(dataset)
    disk = diagnostics.found_disk(dataset, mean)
    radius = diagnostics.bright_field_radius(dataset, mean) if disk is None else diagnostics.found_radius(dataset, disk)
    fitted, deflected = oriented(dataset, radius)
    figure = drawing.new_figure(drawing.TWO_COLUMNS_IN, 3.0)
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.3))
    _phase(left, dataset, fitted)
    right.axis("off")
    lines = [["", "told", "found"], *rows(dataset, disk, fitted, deflected)]
    table = right.table(lines, loc="center", cellLoc="left", colWidths=(0.36, 0.2, 0.44), edges="horizontal")
    table.auto_set_font_size(False)
    table.set_fontsize(6)
    for cell in table.get_celld().values():
        cell.set_linewidth(0.3)
    return figure


def rows(
    dataset: Dataset,
    disk: diagnostics.Disk | None,
    fitted: Orientation | None,
    deflected: Orientation | None,
) -> list[list[str]]:
    """(quantity, told, found) as words; what can't be known says so."""
    optics, wavelength = dataset.optics, wavelength_a(dataset.voltage_kv)
    told = f"{optics.semiangle_rad / MRAD:.4g}" if optics is not None else "-"
    unknown = "can't be known"
    lines = []
    if disk is None:
        lines.append(["Aperture (mrad)", told, unknown])
    else:
        angle = wavelength * diagnostics.found_radius(dataset, disk) / MRAD
        error = angle * disk.error_px / disk.radius_px
        lines.append(["Aperture (mrad)", told, f"{angle:.4g} ± {error:.2g}"])
        away = np.subtract(disk.centre_px, [n // 2 for n in dataset.grid.shape])
        lines.append(["Disk's centre (ky, kx; px)", "0, 0", f"{away[0]:.2f}, {away[1]:.2f} ± {disk.error_px:.2g}"])
    turn = f"{np.degrees(told_turn_rad(dataset)):.4g}"
    for name, found in (("sideband", fitted), ("deflection", deflected)):
        known = found is not None and found.known
        words = f"{found.turn_deg:.1f} ± {found.turn_error_deg:.1g}" if known else unknown
        if known and not found.sign_sure:
            words += " (or 180 more)"
        lines.append([f"Rotation (deg), {name}", turn, words])
        if known and found.hand_known:
            lines.append([f"Mirrored, {name}", "no", "yes: transpose" if found.mirrored else "no"])
    told = f"{optics.defocus_a / NM:.4g}" if optics is not None else "-"
    if fitted is not None and fitted.known:
        found_words = f"{fitted.defocus_a / NM:.3g} ± {fitted.defocus_error_a / NM:.1g}"
        astigmatism = f"{np.hypot(*fitted.astigmatism_a) / NM:.2g}"
    else:
        found_words = astigmatism = unknown
    lines.append(["Defocus, mid-specimen (nm)", told, found_words])
    told = f"{optics.astigmatism_a / NM:.2g}" if optics is not None else "-"
    lines.append(["Twofold astigmatism (nm)", told, astigmatism])
    counts = dataset.electrons_per_pattern
    found_counts = f"{float(diagnostics.pacbed(dataset).sum()):.4g}"
    lines.append(["Counts per pattern", "-" if counts is None else f"{counts:.4g}", found_counts])
    return lines


def _phase(axes, dataset: Dataset, found: Orientation | None) -> None:
    """The phase by single sideband over the middle of the scan, in the scan's own frame."""
    if found is None or not found.known:
        axes.axis("off")
        axes.text(0.5, 0.5, "No phase by single sideband:\ntoo little signal", ha="center", transform=axes.transAxes)
        return
    signal = found.signal
    low, extent = signal.positions_a.min(axis=0), np.ptp(signal.positions_a, axis=0)
    pixel = max(0.12 / signal.aperture, float(extent.max()) / PIXELS)
    size = np.maximum(np.ceil(extent / pixel).astype(int), 2)
    grid = np.stack(np.meshgrid(*(low[a] + np.arange(size[a]) * pixel for a in (0, 1)), indexing="ij"), axis=-1)
    image = sideband.phase_of(signal, found.setting, grid.reshape(-1, 2)).reshape(size)
    panels.image_in_a(axes, image, (pixel, pixel), cmap="gray")
    axes.set_title("Phase by single sideband, arbitrary unit")
