"""A direct reconstruction without iterations: single sideband ptychography.

Rodenburg, McCallum & Nellist, Ultramicroscopy 48:304 (1993); Pennycook et al., Ultramicroscopy 151:160 (2015).

For a weak phase phi, exp(i phi) = 1 + i phi, and a probe P(r - X), the pattern's Fourier transform over the scan is

    G(k, Q) = i phi(Q) Gamma(k, Q),   Gamma = conj(P(k)) P(k - Q) - P(k) conj(P(k + Q)),

so that phi(Q) = sum_k conj(Gamma) G / (i sum_k |Gamma|^2), over the pixels k of the bright field. Where only one of the
two terms is not zero (a double overlap) this is the paper's sum of sidebands with the aberrations' phases taken out;
triple overlaps, where the two terms partly cancel, are weighted by what is left of them: with a defocused probe they
hold most of the signal. With several probe modes Gamma is their sum.

Scan positions may lie anywhere: G is a sum over positions, each with the mean area of one. Frequencies beyond the
scan's Nyquist frequency are left at zero, since they alias.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Complex, Float
from scipy.spatial import ConvexHull, QhullError

from ptydesign.errors import InputError
from ptydesign.types import Dataset, ReconState, blocks

Frequencies = Float[np.ndarray, " frequency"]
BRIGHT = 1e-3  # bright field: pixels with more than this part of the probe's largest intensity
CHUNK_FREQUENCIES = 16


def single_sideband(
    dataset: Dataset, state: ReconState, regularisation: float = 1e-2, triple_overlap: bool = True
) -> Complex[np.ndarray, "y x"]:
    """Object (y, x) complex128 exp(i phi) on the canvas of a state, from the state's probe and positions.

    regularisation: part of the largest sum |Gamma|^2 that is added to each, so that frequencies without signal stay
    small. triple_overlap: False leaves those pixels out, as the papers do. The phase is a sum over all slices and is
    quantitative as far as it is weak; it has no mean. Raises InputError for positions on a line.
    """
    canvas, pixel = state.object.shape[-2:], np.asarray(state.pixel_a)
    positions = np.asarray(state.positions_px, float)
    probe = np.asarray(state.probe, np.complex128)
    spacing = mean_spacing(positions * pixel)
    qy, qx = _half_plane(canvas, pixel, 0.5 / spacing)

    spectrum = np.fft.fft2(np.fft.ifftshift(probe, axes=(-2, -1)), norm="ortho")
    brightness = np.sum(np.abs(spectrum) ** 2, axis=0)
    bright = (brightness > BRIGHT * brightness.max()) & (np.asarray(dataset.mask) > 0)
    seen = np.concatenate([np.asarray(block, np.float32)[:, bright] for block in blocks(dataset.patterns)])
    patterns = seen / np.asarray(state.intensity)[:, None]
    patterns = (patterns - patterns.mean(axis=0)).astype(np.complex64)
    area_px = spacing**2 / np.prod(pixel)

    ny, nx = probe.shape[-2:]
    y, x = np.arange(ny)[:, None] - ny // 2, np.arange(nx)[None] - nx // 2

    def displaced(qy: Frequencies, qx: Frequencies) -> Complex[np.ndarray, "frequency mode pixel"]:
        """Modes at k - Q for each Q: (frequency, mode, bright pixel)."""
        ramp = np.exp(2j * np.pi * (qy[:, None, None] * y + qx[:, None, None] * x))
        waves = np.fft.ifftshift(probe * ramp[:, None], axes=(-2, -1))
        return np.fft.fft2(waves, norm="ortho")[..., bright]

    signal, power = np.zeros(len(qy), complex), np.zeros(len(qy))
    here = spectrum[:, bright]
    for start in range(0, len(qy), CHUNK_FREQUENCIES):
        part = slice(start, start + CHUNK_FREQUENCIES)
        left = np.conj(here) * displaced(qy[part], qx[part])
        right = here * np.conj(displaced(-qy[part], -qx[part]))
        gamma = np.sum(left - right, axis=1)
        if not triple_overlap:
            edge = brightness.max() / 4
            gamma = gamma * ((np.sum(np.abs(left), axis=1) > edge) != (np.sum(np.abs(right), axis=1) > edge))
        scan = np.exp(-2j * np.pi * (np.outer(qy[part], positions[:, 0]) + np.outer(qx[part], positions[:, 1])))
        transform = area_px * (scan.astype(np.complex64) @ patterns)
        signal[part] = np.sum(np.conj(gamma) * transform, axis=1) / 1j
        power[part] = np.sum(np.abs(gamma) ** 2, axis=1)

    if not power.size or power.max() == 0:
        raise InputError(
            "dataset", "must have signal below the scan's Nyquist frequency", spacing, "Start from vacuum."
        )
    phase = np.zeros(canvas, complex)
    rows, columns = (np.round(q * n).astype(int) for q, n in zip((qy, qx), canvas, strict=True))
    phase[rows, columns] = signal / (power + regularisation * power.max())
    # the other half plane of a real phase is the conjugate
    return np.exp(1j * 2 * np.fft.ifft2(phase).real)


def mean_spacing(positions_a: Float[np.ndarray, "position 2"]) -> float:
    """Side in angstrom of a square as large as the mean area of a position, for positions (n, 2) on any lattice.

    Pick's theorem: n = A / s^2 + L / (2 s) + 1 with the area A and the perimeter L of the positions' convex hull.
    """
    try:
        hull = ConvexHull(positions_a)
    except (QhullError, ValueError):
        raise InputError(
            "dataset.positions_a",
            "must span an area for single sideband",
            positions_a[:2].tolist(),
            "Use another start.",
        ) from None
    area, perimeter = hull.volume, hull.area  # in two dimensions
    half = perimeter / 4
    return float((half + np.sqrt(half**2 + (len(positions_a) - 1) * area)) / (len(positions_a) - 1))


def _half_plane(
    canvas: tuple[int, int], pixel_a: Float[np.ndarray, " 2"], largest: float
) -> tuple[Frequencies, Frequencies]:
    """Frequencies (qy, qx) of a canvas in cycles per pixel, below `largest` in 1/angstrom; one of each pair q, -q."""
    qy, qx = (q.ravel() for q in np.meshgrid(*(np.fft.fftfreq(n) for n in canvas), indexing="ij"))
    kept = (np.hypot(qy / pixel_a[0], qx / pixel_a[1]) < largest) & ((qy > 0) | ((qy == 0) & (qx > 0)))
    return qy[kept], qx[kept]
