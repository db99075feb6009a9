"""What to look at before a reconstruction: mean pattern, virtual images, centre of mass, probe overlap, sampling."""

from __future__ import annotations

import numpy as np

from ptydesign import waves
from ptydesign.design import sampling
from ptydesign.errors import InputError
from ptydesign.instruments.doubts import numbers, places_of
from ptydesign.instruments.estimate.disk import Disk, find_disk
from ptydesign.instruments.estimate.frames import odd_frames
from ptydesign.instruments.estimate.pixels import odd_pixels
from ptydesign.instruments.survey import COARSE
from ptydesign.types import Dataset, blocks
from ptydesign.units import MRAD, wavelength_a

BLOCK = 256  # patterns handled at a time
BRIGHTER = 2.0  # than the rest: a disk that may be the beam's


def found_disk(dataset: Dataset, mean: np.ndarray | None = None) -> Disk | None:
    """The bright-field disk as the patterns have it, in pixels of the array with zero frequency at (ny//2, nx//2); None
    if there is no clear one. mean: `pacbed`, if it is known."""
    mean = pacbed(dataset) if mean is None else mean
    good = np.fft.fftshift(np.asarray(dataset.mask) > 0)
    disk = find_disk(np.fft.fftshift(mean), good) if good.any() else None
    return disk if disk is not None and disk.known else None


def found_radius(dataset: Dataset, disk: Disk) -> float:
    """Its radius in 1/angstrom."""
    return float(np.sqrt(np.prod(np.array(disk.radii_px) * dataset.grid.reciprocal_pixel)))


def pacbed(dataset: Dataset) -> np.ndarray:
    """Mean pattern (ky, kx) in counts, corner-centred, 0 where masked (position-averaged diffraction)."""
    total = sum(np.sum(block, axis=0, dtype=np.float64) for block in blocks(dataset.patterns))
    return total / len(dataset.patterns) * dataset.mask


def doubts(dataset: Dataset) -> list[str]:
    """What looks wrong in a dataset and can't be known to be: for warnings before a reconstruction."""
    found, totals, coarse, total = [], [], [], np.zeros(dataset.grid.shape)
    edges = [np.linspace(0, n, COARSE + 1).astype(int)[:-1] for n in dataset.grid.shape]
    for block in blocks(dataset.patterns):
        counts = block * dataset.mask
        total += np.sum(counts, axis=0, dtype=np.float64)
        totals.append(np.sum(counts, axis=(1, 2), dtype=np.float64))
        blocked = np.add.reduceat(np.add.reduceat(counts, edges[0], axis=1), edges[1], axis=2)
        coarse.append(blocked.reshape(len(counts), -1).astype(np.float32))
    counts = np.concatenate(totals)
    places = np.flatnonzero(counts == 0)
    if len(places):
        first = ", ".join(str(p) for p in places[:5]) + (", ..." if len(places) > 5 else "")
        found.append(f"{len(places)} of {len(dataset.patterns)} patterns have no counts (numbers {first})")
    odd = odd_frames(counts, np.concatenate(coarse), np.zeros(len(counts)), 1)
    for words, where in odd.reasons.items():
        where = np.setdiff1d(where, places)
        if len(where):
            mend = "`ptydesign import --skip-frames bad` leaves them out"
            found.append(f"{len(where)} patterns {words} (numbers {numbers(where, 5)}): {mend}")
    hot = odd_pixels(total, np.zeros(total.shape), np.zeros(total.shape), 1, np.asarray(dataset.mask) > 0, True).hot
    if hot.any():
        mend = "mask them (`ptydesign import --repair-pixels mask`)"
        found.append(f"pixels are hot, far above their neighbours (ky, kx: {places_of(hot)}): {mend}")
    if _beam_in_the_middle(total / len(dataset.patterns), dataset):
        found.append(
            "the mean pattern is dark around pixel (0, 0) and bright in the array's middle: zero frequency must be at "
            "pixel (0, 0), as after np.fft.ifftshift; `ptydesign import` puts it there"
        )
    return found


def _beam_in_the_middle(mean: np.ndarray, dataset: Dataset) -> bool:
    """Whether a mean pattern (ky, kx) looks like one with zero frequency at (ny//2, nx//2): there a disk as large as
    the aperture holds more than twice as much a pixel as the rest, and the disk at (0, 0) less than its own rest.

    A beam stop darkens the disk at (0, 0) alone, dark field falls off towards the middle, and a beam that is off centre
    lies in neither disk: none of them meets both.
    """
    radius = bright_field_radius(dataset, mean)
    disk = np.hypot(*dataset.grid.frequencies()) < radius

    def contrast(inside: np.ndarray) -> float:
        inside, rest = inside & (dataset.mask > 0), ~inside & (dataset.mask > 0)
        if not inside.any() or not rest.any():
            return 1.0
        return float(mean[inside].mean() / max(mean[rest].mean(), 1e-30))

    return contrast(disk) < 1 and contrast(np.fft.fftshift(disk)) > BRIGHTER


def bright_field_radius(dataset: Dataset, mean: np.ndarray | None = None) -> float:
    """Radius of the bright-field disk in 1/angstrom: the aperture, or where no optics are known, that of a disk with
    the area of the pixels above half of the mean pattern's 99th percentile among bright ones. mean: `pacbed`, if it is
    known."""
    if dataset.optics is not None:
        return dataset.optics.semiangle_rad / wavelength_a(dataset.voltage_kv)
    mean = pacbed(dataset) if mean is None else mean
    bright = mean[mean > mean.max() / 10]
    dky, dkx = dataset.grid.reciprocal_pixel
    return float(np.sqrt(np.sum(mean > np.percentile(bright, 99) / 2) * dky * dkx / np.pi))


def virtual_image(dataset: Dataset, inner: float, outer: float) -> np.ndarray:
    """(position,) counts on an annular detector, inner <= |k| < outer in 1/angstrom; masked pixels don't count.

    Raises InputError if no pixel lies between the radii.
    """
    ky, kx = dataset.grid.frequencies()
    radius = np.hypot(ky, kx)
    ring = (radius >= inner) & (radius < outer) & (dataset.mask > 0)
    if not ring.any():
        raise InputError("inner, outer", "must hold pixels of the detector (1/A)", (inner, outer), "Widen the ring.")
    return np.concatenate([block[:, ring].sum(axis=1, dtype=np.float64) for block in blocks(dataset.patterns)])


def centre_of_mass(dataset: Dataset) -> np.ndarray:
    """(position, 2) mean (ky, kx) of each pattern in 1/angstrom, NaN for a pattern without counts."""
    ky, kx = dataset.grid.frequencies()
    result = np.full((len(dataset.patterns), 2), np.nan)
    for start in range(0, len(dataset.patterns), BLOCK):
        patterns = dataset.patterns[start : start + BLOCK] * dataset.mask
        total = patterns.sum(axis=(1, 2), dtype=np.float64)
        moment = [np.sum(patterns * k, axis=(1, 2), dtype=np.float64) for k in (ky, kx)]
        with np.errstate(invalid="ignore", divide="ignore"):
            result[start : start + BLOCK] = np.stack(moment, axis=-1) / total[:, None]
    return result


def nearest_a(positions_a: np.ndarray) -> float:
    """Median distance of a position (position, 2) to its nearest neighbour elsewhere; 0 for a single one."""
    from scipy.spatial import cKDTree

    distinct = np.unique(np.round(positions_a, 6), axis=0)
    if len(distinct) < 2:
        return 0.0
    return float(np.median(cKDTree(distinct).query(distinct, 2)[0][:, 1]))


def step_a(positions_a: np.ndarray) -> float:
    """Step of the square raster that has as many positions on the same area; exact for rasters, 0 for one position.

    N s^2 = A + s P/2 + s^2, with the area A and perimeter P of the positions' convex hull. Positions on a line have
    their median distance.
    """
    from scipy.spatial import ConvexHull, QhullError

    try:
        hull = ConvexHull(positions_a)
    except (QhullError, ValueError):
        return nearest_a(positions_a)
    half, more = hull.area / 4, len(positions_a) - 1  # in two dimensions `area` is the perimeter, `volume` the area
    return float((half + np.sqrt(half**2 + more * hull.volume)) / more)


def scan_map(positions_a: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, tuple[float, float, float, float]]:
    """An image of values (position,) at any positions (position, 2): nearest neighbour, NaN outside the scan.

    Returns (y, x) and its (left, right, bottom, top) in angstrom, y pointing down, as imshow's `extent`.
    """
    from scipy.spatial import cKDTree

    step = nearest_a(positions_a) or 1.0
    low, high = positions_a.min(axis=0), positions_a.max(axis=0)
    pixel = max(step, float(np.max(high - low)) / 1024)
    shape = np.floor((high - low) / pixel + 1.5).astype(int)
    rows, columns = (low[a] + np.arange(shape[a]) * pixel for a in (0, 1))
    points = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1)
    distance, index = cKDTree(positions_a).query(points)
    image = np.where(distance <= 1.5 * max(step, step_a(positions_a)), np.asarray(values, np.float64)[index], np.nan)
    half = pixel / 2
    return image, (columns[0] - half, columns[-1] + half, rows[-1] + half, rows[0] - half)


def start_probe(dataset: Dataset) -> np.ndarray | None:
    """First guess of the probe (mode, y, x), from the dataset or its optics; None if neither is known."""
    if dataset.probe_guess is not None:
        return np.asarray(dataset.probe_guess).reshape(-1, *dataset.grid.shape)
    if dataset.optics is None:
        return None
    optics = dataset.optics
    wavelength = wavelength_a(optics.voltage_kv)
    spectrum = waves.probe_spectrum(dataset.grid, wavelength, optics.semiangle_rad, **optics.aberrations)
    return waves.centre_spectrum(dataset.grid, spectrum)[None]


def sampling_metrics(dataset: Dataset) -> dict[str, float]:
    """Numbers that plan or judge a dataset, {name with its unit: value}; those that need a probe are left out without
    one. The probe radius holds 90 % of the first guess's intensity."""
    step = step_a(dataset.positions_a)
    dk = max(dataset.grid.reciprocal_pixel)
    mean = pacbed(dataset)
    counts = float(mean.sum())
    wavelength = wavelength_a(dataset.voltage_kv)
    disk, seen = bright_field_radius(dataset, mean), found_disk(dataset, mean)
    values = {
        "positions": float(len(dataset.positions_a)),
        "step_a": step,
        "pixel_a": max(dataset.grid.pixel_a),
        "reciprocal_pixel_per_a": dk,
        "detector_edge_mrad": wavelength
        * min(n * d for n, d in zip(dataset.grid.shape, (dk, dk), strict=True))
        / 2
        / MRAD,
        "bright_field_radius_mrad": wavelength * disk / MRAD,
        **({} if seen is None else {"bright_field_radius_found_mrad": wavelength * found_radius(dataset, seen) / MRAD}),
        "bright_field_radius_px": disk / dk,
        "counts_per_pattern": counts,
        "counts_per_bright_pixel": sampling.counts_per_bright_pixel(counts, disk, dk),
    }
    if step > 0:
        values["dose_e_per_a2"] = counts / step**2
        values["fundamental_sampling"] = sampling.fundamental_sampling(step, dk)
    probe = start_probe(dataset)
    if probe is not None:
        radius = sampling.probe_radius_a(np.sum(np.abs(probe) ** 2, axis=0), dataset.grid.pixel_a)
        values["probe_radius_a"] = radius
        values["window_sampling"] = sampling.window_sampling(radius, dk)
        values["ronchigram_magnification_px_per_a"] = sampling.ronchigram_magnification_px_per_a(disk, dk, radius)
        if step > 0:
            values["linear_oversampling"] = sampling.linear_oversampling(radius, step)
            values["areal_oversampling"] = sampling.areal_oversampling(radius, step)
            values["linear_overlap"] = sampling.linear_overlap(radius, step)
            values["areal_overlap"] = sampling.areal_overlap(radius, step)
    return values
