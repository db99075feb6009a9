"""Reconstructions without iterations: single sideband, parallax, centre of mass, Wigner distribution deconvolution.

Rodenburg, McCallum & Nellist, Ultramicroscopy 48:304 (1993); Pennycook et al., Ultramicroscopy 151:160 (2015);
parallax (tilt-corrected bright field): Varnavides et al., arXiv:2309.05250 (2023); integrated centre of mass: Lazic,
Bosch & Lazar, Ultramicroscopy 160:265 (2016).

With G(k, Q), the patterns' Fourier transform over the scan, and a probe P(r - X):

- an object psi of any strength gives G(k, Q) = sum_b psi(b + Q) conj(psi(b)) P(k - b - Q) conj(P(k - b)), a convolution
  over k, which `wigner` undoes and reads at b = 0;
- a weak phase phi, exp(i phi) = 1 + i phi, gives G(k, Q) = i phi(Q) Gamma(k, Q), where
  Gamma = conj(P(k)) P(k - Q) - P(k) conj(P(k + Q)).

For the latter phi(Q) = sum_k conj(W) G / (i sum_k conj(W) Gamma) for any weights W(k, Q). `single_sideband` has
W = Gamma. Where only one of the two terms of Gamma is not zero (a double overlap) this is the paper's sum of sidebands
with the aberrations' phases taken out; triple overlaps, where the two terms partly cancel, are weighted by what is left
of them: with a defocused probe they hold most of the signal. With several probe modes Gamma is their sum. `parallax`
has W = exp(i Q grad chi(k)): each pixel's image is shifted back by what the aberrations chi shifted it.

`centre_of_mass` integrates the mean momentum of each pattern, (2 pi)^-1 grad phi blurred by the probe's intensity, for
a phase of any strength; the blur stays.

Scan positions may lie anywhere: G is a sum over positions, each with the mean area of one. Frequencies beyond the
scan's Nyquist frequency are left at zero, since they alias.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Complex, Float, Shaped
from scipy.spatial import ConvexHull, QhullError

from ptydesign.errors import InputError
from ptydesign.types import Dataset, ReconState, blocks

Frequencies = Float[np.ndarray, " frequency"]
BRIGHT = 1e-3  # bright field: pixels with more than this part of the probe's largest intensity
CHUNK_FREQUENCIES = 16


class Scanned(NamedTuple):
    """What the methods work with. patterns: (position, pixel) counts without their mean; bright: (ky, kx) which pixels;
    spectrum: (mode, ky, kx); positions_px: (position, 2) on the canvas; area_px: of a position; qy, qx: frequencies in
    cycles per pixel below the scan's Nyquist frequency, one of each pair q, -q."""

    patterns: Complex[np.ndarray, "position pixel"]
    bright: Bool[np.ndarray, "ky kx"]
    probe: Complex[np.ndarray, "mode y x"]
    spectrum: Complex[np.ndarray, "mode ky kx"]
    positions_px: Float[np.ndarray, "position 2"]
    area_px: float
    qy: Frequencies
    qx: Frequencies

    def parts(self) -> Iterator[slice]:
        """Few frequencies at a time."""
        return (slice(s, s + CHUNK_FREQUENCIES) for s in range(0, len(self.qy), CHUNK_FREQUENCIES))

    def transform(
        self, part: slice, values: Shaped[np.ndarray, "position value"]
    ) -> Complex[np.ndarray, "frequency value"]:
        """Fourier transform over the scan of values (position, value)."""
        at = np.outer(self.qy[part], self.positions_px[:, 0]) + np.outer(self.qx[part], self.positions_px[:, 1])
        return self.area_px * (np.exp(-2j * np.pi * at).astype(np.complex64) @ values)

    def displaced(self, qy: Frequencies, qx: Frequencies) -> Complex[np.ndarray, "frequency mode ky kx"]:
        """Modes at k - Q for each Q."""
        ny, nx = self.probe.shape[-2:]
        y, x = np.arange(ny)[:, None] - ny // 2, np.arange(nx)[None] - nx // 2
        ramp = np.exp(2j * np.pi * (qy[:, None, None] * y + qx[:, None, None] * x))
        return np.fft.fft2(np.fft.ifftshift(self.probe * ramp[:, None], axes=(-2, -1)), norm="ortho")

    def sides(self, part: slice) -> tuple[Complex[np.ndarray, "frequency mode pixel"], ...]:
        """The two terms of Gamma of bright pixels."""
        here = self.spectrum[:, self.bright]
        left = np.conj(here) * self.displaced(self.qy[part], self.qx[part])[..., self.bright]
        right = here * np.conj(self.displaced(-self.qy[part], -self.qx[part])[..., self.bright])
        return left, right


def scanned(dataset: Dataset, state: ReconState, all_pixels: bool = False) -> Scanned:
    """Patterns and probe of a state, on its canvas. all_pixels: not only those of the bright field."""
    canvas, pixel = state.object.shape[-2:], np.asarray(state.pixel_a)
    positions = np.asarray(state.positions_px, float)
    probe = np.asarray(state.probe, np.complex128)
    spacing = mean_spacing(positions * pixel)
    spectrum = np.fft.fft2(np.fft.ifftshift(probe, axes=(-2, -1)), norm="ortho")
    brightness = np.sum(np.abs(spectrum) ** 2, axis=0)
    bright = (brightness > BRIGHT * brightness.max()) & (np.asarray(dataset.mask) > 0)
    if all_pixels:
        bright = np.ones_like(bright)
    weights = np.asarray(dataset.mask)[bright]
    seen = np.concatenate([np.asarray(block, np.float32)[:, bright] * weights for block in blocks(dataset.patterns)])
    patterns = seen / np.asarray(state.intensity)[:, None]
    patterns = (patterns - patterns.mean(axis=0)).astype(np.complex64)
    qy, qx = _half_plane(canvas, pixel, 0.5 / spacing)
    if not len(qy):
        raise InputError(
            "dataset", "must have signal below the scan's Nyquist frequency", spacing, "Start from vacuum."
        )
    return Scanned(patterns, bright, probe, spectrum, positions, spacing**2 / float(np.prod(pixel)), qy, qx)


def single_sideband(
    dataset: Dataset, state: ReconState, regularisation: float = 1e-2, triple_overlap: bool = True
) -> Complex[np.ndarray, "y x"]:
    """Object (y, x) complex128 exp(i phi) on the canvas of a state, from the state's probe and positions.

    regularisation: part of the largest sum |Gamma|^2 that is added to each, so that frequencies without signal stay
    small. triple_overlap: False leaves those pixels out, as the papers do. The phase is a sum over all slices and is
    quantitative as far as it is weak; it has no mean. Raises InputError for positions on a line.
    """
    scan = scanned(dataset, state)
    signal, power = np.zeros(len(scan.qy), complex), np.zeros(len(scan.qy))
    edge = np.sum(np.abs(scan.spectrum) ** 2, axis=0).max() / 4
    for part in scan.parts():
        left, right = scan.sides(part)
        gamma = np.sum(left - right, axis=1)
        if not triple_overlap:
            gamma = gamma * ((np.sum(np.abs(left), axis=1) > edge) != (np.sum(np.abs(right), axis=1) > edge))
        signal[part] = np.sum(np.conj(gamma) * scan.transform(part, scan.patterns), axis=1) / 1j
        power[part] = np.sum(np.abs(gamma) ** 2, axis=1)
    return _of_phase(scan, state, signal, power, regularisation)


def parallax(dataset: Dataset, state: ReconState, regularisation: float = 1e-2) -> Complex[np.ndarray, "y x"]:
    """As `single_sideband`, by the sum of the bright field's images, each shifted back by what the aberrations shifted
    it, and divided by the contrast that is left. It needs a defocused probe: in focus there is no contrast."""
    scan = scanned(dataset, state)
    slope = _phase_slopes(scan.spectrum[0], scan.bright)
    signal, contrast = np.zeros(len(scan.qy), complex), np.zeros(len(scan.qy), complex)
    ny, nx = scan.probe.shape[-2:]
    for part in scan.parts():
        # Q in detector pixels times the phase's change from a pixel to the next
        back = np.exp(1j * (np.outer(scan.qy[part] * ny, slope[0]) + np.outer(scan.qx[part] * nx, slope[1])))
        left, right = scan.sides(part)
        signal[part] = np.sum(back * scan.transform(part, scan.patterns), axis=1) / 1j
        contrast[part] = np.sum(back * np.sum(left - right, axis=1), axis=1)
    return _of_phase(scan, state, np.conj(contrast) * signal, np.abs(contrast) ** 2, regularisation)


def centre_of_mass(dataset: Dataset, state: ReconState, regularisation: float = 1e-4) -> Complex[np.ndarray, "y x"]:
    """Object (y, x) exp(i phi), where phi is the phase blurred by the probe's intensity: the integral of the patterns'
    centres. regularisation: part of the largest squared frequency that is added to each. Other things as
    `single_sideband`; but the phase need not be weak."""
    scan = scanned(dataset, state, all_pixels=True)
    rows, columns = (np.fft.fftfreq(n, 1 / n) for n in scan.probe.shape[-2:])
    ky, kx = (k[scan.bright] for k in np.broadcast_arrays(rows[:, None], columns[None]))
    total = np.mean(np.sum(np.asarray(dataset.patterns[: len(scan.patterns)]) * dataset.mask, axis=(-2, -1)))
    # in cycles per pixel, as qy and qx
    centres = scan.patterns @ np.stack([ky / len(rows), kx / len(columns)], axis=-1).astype(np.complex64) / total
    signal = np.zeros(len(scan.qy), complex)
    for part in scan.parts():
        along = scan.transform(part, centres)
        signal[part] = (scan.qy[part] * along[:, 0] + scan.qx[part] * along[:, 1]) / 1j
    return _of_phase(scan, state, signal, scan.qy**2 + scan.qx**2, regularisation)


def wigner(dataset: Dataset, state: ReconState, regularisation: float = 1e-2) -> Complex[np.ndarray, "y x"]:
    """Object (y, x) complex128 of any strength, amplitude too, scaled to a mean of 1; of the first probe mode.

    regularisation: part of the largest squared Wigner distribution of the probe that is added to each value.
    """
    scan = scanned(dataset, state, all_pixels=True)
    shape, canvas = scan.probe.shape[-2:], state.object.shape[-2:]
    here = np.conj(scan.spectrum[0])
    total = sum(np.sum(block, axis=0, dtype=np.float64) for block in blocks(dataset.patterns))
    flat = np.fft.fft2(np.abs(here) ** 2)
    least = regularisation * np.max(np.abs(flat) ** 2)

    def at_zero(
        transform: Complex[np.ndarray, "*q ky kx"], kernel: Complex[np.ndarray, "*q ky kx"]
    ) -> tuple[Complex[np.ndarray, "*q"], Float[np.ndarray, "*q"]]:
        """What a deconvolution over k finds at b = 0, and what it would find there of 1."""
        weight = np.conj(kernel) / (np.abs(kernel) ** 2 + least)
        return tuple(np.mean(np.fft.fft2(t) * weight, axis=(-2, -1)) for t in (transform, np.fft.ifft2(kernel)))

    unscattered, most = (float(v.real) for v in at_zero(total / len(dataset.patterns) * dataset.mask, flat))
    spectrum = np.zeros(canvas, complex)
    for sign in (1, -1):
        rows, columns = (np.round(sign * q * n).astype(int) for q, n in zip((scan.qy, scan.qx), canvas, strict=True))
        for part in scan.parts():
            transform = scan.transform(part, scan.patterns)
            transform = (transform if sign > 0 else np.conj(transform)).reshape(-1, *shape)  # patterns are real
            overlap = here * scan.displaced(sign * scan.qy[part], sign * scan.qx[part])[:, 0]
            found, gain = at_zero(transform, np.fft.fft2(overlap))
            gain = gain.real / most
            spectrum[rows[part], columns[part]] = found * gain / (gain**2 + regularisation)
    return 1 + np.fft.ifft2(spectrum) / unscattered


METHODS: dict[str, Callable[[Dataset, ReconState], Complex[np.ndarray, "y x"]]] = {
    "ssb": single_sideband,
    "parallax": parallax,
    "com": centre_of_mass,
    "wdd": wigner,
}


def _of_phase(
    scan: Scanned, state: ReconState, signal: Complex[np.ndarray, " q"], power: Float[np.ndarray, " q"], least: float
) -> Complex[np.ndarray, "y x"]:
    """exp(i phi) on the canvas, phi(Q) = signal / power, regularised."""
    canvas = state.object.shape[-2:]
    if power.max() == 0:
        raise InputError("dataset", "must have signal below the scan's Nyquist frequency", 0, "Start from vacuum.")
    phase = np.zeros(canvas, complex)
    rows, columns = (np.round(q * n).astype(int) for q, n in zip((scan.qy, scan.qx), canvas, strict=True))
    phase[rows, columns] = signal / (power + least * power.max())
    # the other half plane of a real phase is the conjugate
    return np.exp(1j * 2 * np.fft.ifft2(phase).real)


def _phase_slopes(spectrum: Complex[np.ndarray, "ky kx"], bright: Bool[np.ndarray, "ky kx"]) -> tuple:
    """(pixel,) change of the probe's phase from a detector pixel to the next along ky and along kx, of bright pixels;
    at the aperture's edge from within it alone."""
    slopes = []
    for axis in (0, 1):
        after, before = np.roll(spectrum, -1, axis), np.roll(spectrum, 1, axis)
        pairs = after * np.conj(spectrum), spectrum * np.conj(before)
        inside = np.roll(bright, -1, axis) & bright, np.roll(bright, 1, axis) & bright
        angles, counts = (
            sum(np.angle(p) * i for p, i in zip(pairs, inside, strict=True)),
            sum(i.astype(int) for i in inside),
        )
        slopes.append((angles / np.maximum(counts, 1))[bright])
    return tuple(slopes)


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
