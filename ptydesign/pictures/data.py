"""Pictures of a dataset: mean pattern, virtual images, probe and scan, sampling."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from ptydesign import diagnostics, drawing
from ptydesign.pictures import panels, told
from ptydesign.types import Dataset


def patterns(dataset: Dataset) -> Figure:
    """Mean pattern (PACBED), a single pattern, and the mean over rings, with the bright-field disk as told (full line)
    and as found (dotted)."""
    figure = drawing.new_figure(drawing.TWO_COLUMNS_IN, 2.4)
    axes = figure.subplots(1, 3)
    mean = diagnostics.pacbed(dataset)
    extent = panels.spectrum_extent(dataset.grid.shape, dataset.grid.reciprocal_pixel)
    disk, seen = diagnostics.bright_field_radius(dataset, mean), diagnostics.found_disk(dataset, mean)
    middle = len(dataset.patterns) // 2
    for one, image, title in (
        (axes[0], mean, "Mean pattern"),
        (axes[1], dataset.patterns[middle], f"Pattern {middle}"),
    ):
        image = np.where(dataset.mask > 0, image, np.nan)
        shown = np.log10(np.fft.fftshift(np.maximum(image, max(float(np.nanmax(image)), 1e-9) * 1e-5)))
        drawn = one.imshow(shown, extent=extent, cmap="magma")
        panels.colour_bar(figure, drawn, one, "log₁₀ counts")
        one.set(xlabel="kx (1/Å)", ylabel="ky (1/Å)", title=title)
        angle = np.linspace(0, 2 * np.pi, 200)
        one.plot(disk * np.cos(angle), disk * np.sin(angle), color=drawing.OKABE_ITO[5], lw=0.7)
        if seen is not None:
            (cy, cx), (ry, rx) = (
                np.subtract(seen.centre_px, [n // 2 for n in dataset.grid.shape]) * dataset.grid.reciprocal_pixel,
                np.array(seen.radii_px) * dataset.grid.reciprocal_pixel,
            )
            one.plot(cx + rx * np.cos(angle), cy + ry * np.sin(angle), color=drawing.GREEN, lw=0.7, ls=":")
    ky, kx = dataset.grid.frequencies()
    width = max(dataset.grid.reciprocal_pixel)
    ring = np.floor(np.hypot(ky, kx) / width + 0.5).astype(int).ravel()
    good = np.asarray(dataset.mask).ravel() > 0
    count = np.bincount(ring, good)
    profile = np.bincount(ring, mean.ravel()) / np.maximum(count, 1)
    q = np.arange(len(profile)) * width
    keep = (count > 0) & (profile > 0)
    axes[2].semilogy(q[keep], profile[keep], color=drawing.BLUE)
    axes[2].axvline(disk, color=drawing.OKABE_ITO[5], lw=0.7)
    if seen is not None:
        axes[2].axvline(diagnostics.found_radius(dataset, seen), color=drawing.GREEN, lw=0.7, ls=":")
    axes[2].set(xlabel="k (1/Å)", ylabel="Mean counts per pixel", title="Mean over rings", xlim=(0, None))
    return figure


def virtual_images(dataset: Dataset) -> Figure:
    """Bright field, annular dark field, and the centre of mass along y and x, at the scan's positions."""
    disk = diagnostics.bright_field_radius(dataset)
    moment = diagnostics.centre_of_mass(dataset)
    images = [
        ("Bright field", diagnostics.virtual_image(dataset, 0, disk), "Counts", "gray"),
        ("Centre of mass, ky", moment[:, 0], "1/Å", "RdBu_r"),
        ("Centre of mass, kx", moment[:, 1], "1/Å", "RdBu_r"),
    ]
    ky, kx = dataset.grid.frequencies()
    if np.any((np.hypot(ky, kx) >= 1.2 * disk) & (dataset.mask > 0)):
        dark = diagnostics.virtual_image(dataset, 1.2 * disk, np.inf)
        images.insert(1, ("Dark field, beyond 1.2 disk radii", dark, "Counts", "gray"))
    figure = drawing.new_figure(drawing.TWO_COLUMNS_IN, 5.4)
    for axes, (title, values, unit, colours) in zip(figure.subplots(2, 2).ravel(), images, strict=False):
        image, extent = diagnostics.scan_map(dataset.positions_a, values)
        options = panels.limits(image, 0.5, 99.5)
        if colours != "gray" and options:
            middle = float(np.nanmean(image))
            reach = max(options["vmax"] - middle, middle - options["vmin"])
            options = {"vmin": middle - reach, "vmax": middle + reach}
        drawn = axes.imshow(image, extent=extent, cmap=colours, interpolation="nearest", **options)
        panels.colour_bar(figure, drawn, axes, unit)
        axes.set(xlabel="x (Å)", ylabel="y (Å)", title=title)
    for axes in figure.axes[len(images) : 4] if len(images) < 4 else []:
        axes.set_visible(False)
    return figure


def scan(dataset: Dataset) -> Figure:
    """Positions with the probe's size, how often each point is lit, and the numbers of sampling and overlap."""
    numbers = diagnostics.sampling_metrics(dataset)
    figure = drawing.new_figure(drawing.TWO_COLUMNS_IN, 3.0)
    left, right = figure.subplots(1, 2, width_ratios=(1.1, 1))
    where = dataset.positions_a
    left.plot(where[:, 1], where[:, 0], ".", ms=1.6, color=drawing.BLUE)
    radius = numbers.get("probe_radius_a")
    if radius is not None:
        centre = where[len(where) // 2]
        angle = np.linspace(0, 2 * np.pi, 200)
        left.plot(
            centre[1] + radius * np.cos(angle),
            centre[0] + radius * np.sin(angle),
            color=drawing.VERMILLION,
            label="Probe (90 %)",
        )
        left.legend(loc="lower left", bbox_to_anchor=(0, 1.0), borderaxespad=0.2)
    left.set(xlabel="x (Å)", ylabel="y (Å)", aspect="equal")
    left.invert_yaxis()
    right.axis("off")
    lines = [[LABELS.get(name, name), f"{value:.4g}"] for name, value in numbers.items()]
    table = right.table(lines, loc="center", cellLoc="left", colWidths=(0.72, 0.28), edges="horizontal")
    table.auto_set_font_size(False)
    table.set_fontsize(6.5)
    for cell in table.get_celld().values():
        cell.set_linewidth(0.3)
    return figure


# Numbers of `diagnostics.sampling_metrics` -> words and unit.
LABELS = {
    "positions": "Positions",
    "step_a": "Step (Å)",
    "pixel_a": "Pixel of the reconstruction (Å)",
    "reciprocal_pixel_per_a": "Detector pixel (1/Å)",
    "detector_edge_mrad": "Detector's edge (mrad)",
    "bright_field_radius_mrad": "Bright-field radius, as told (mrad)",
    "bright_field_radius_found_mrad": "Bright-field radius, found (mrad)",
    "bright_field_radius_px": "Bright-field radius (px)",
    "counts_per_pattern": "Counts per pattern",
    "counts_per_bright_pixel": "Counts per bright-field pixel",
    "dose_e_per_a2": "Dose (counts/Å²)",
    "fundamental_sampling": "Fundamental sampling, want ≥ 1",
    "probe_radius_a": "Probe radius, 90 % (Å)",
    "window_sampling": "Window / probe diameter, want > 1",
    "ronchigram_magnification_px_per_a": "Ronchigram magnification (px/Å)",
    "linear_oversampling": "Positions across the probe",
    "areal_oversampling": "Probes on each point",
    "linear_overlap": "Linear overlap",
    "areal_overlap": "Areal overlap, want ≥ 0.4",
}
PICTURES = {"patterns": patterns, "virtual_images": virtual_images, "scan": scan, "estimates": told.estimates}
