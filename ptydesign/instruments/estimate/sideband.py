"""Orientation and aberrations from the weak-phase model of a scan: a fit of single-sideband ptychography.

For a weak phase phi the scan's Fourier transform of the pattern is G(k, Q) = i phi(Q) Gamma(k, Q) with
Gamma = conj(P(k)) P(k - Q) - P(k) conj(P(k + Q)) (Rodenburg, McCallum & Nellist, Ultramicroscopy 48:304, 1993;
Pennycook et al., Ultramicroscopy 151:160, 2015). Which phi is not known, but Gamma is, from the aperture, the
aberrations, and how the scan is turned against the detector. The share of G that lies along Gamma, over all Q,

    E = sum_Q |sum_k conj(Gamma) G|^2 / sum_k |Gamma|^2  /  sum |G|^2,

is largest where these are right, with any specimen and without iterations. Q may lie beyond the scan's Nyquist
frequency: there G is that of its alias, and Gamma tells them apart.

E doesn't change if all aberrations change sign and the scan is turned by another 180 degrees: phi changes sign then. So
which of the two it is, only phi's sign can tell (atoms have a positive phase, a skewed distribution), or the operator.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage, optimize

MOST_POSITIONS = 4096
MOST_FREQUENCIES = 250
MOST_PIXELS = 700
PEAK = 12.0  # times the median power: a reflection
KEPT = 4  # hills of the search that are climbed
ANGLES = 36  # tried over 180 degrees
TURN = np.pi


@dataclass(frozen=True)
class Signal:
    """What is fitted. positions_a: (n, 2) in the scan's own frame, not turned. pixels: (k, 2) of the bright field in
    units of the aperture's radius; width: of a pixel in the same unit. frequencies: (q, 2) in 1/A. values: (q, k)
    complex G. aperture: radius in 1/A. wavelength_a. window_a: 1 / detector pixel."""

    positions_a: np.ndarray
    pixels: np.ndarray
    width: float
    frequencies: np.ndarray
    values: np.ndarray
    aperture: float
    wavelength_a: float
    window_a: float

    def part(self, frequencies: np.ndarray, pixels: np.ndarray | slice = slice(None)) -> Signal:
        """The same with some frequencies and pixels."""
        return Signal(
            self.positions_a,
            self.pixels[pixels],
            self.width,
            self.frequencies[frequencies],
            self.values[frequencies][:, pixels],
            self.aperture,
            self.wavelength_a,
            self.window_a,
        )


@dataclass(frozen=True)
class Setting:
    """How the scan and the probe may be. mirrored: the patterns have to be transposed. turn_rad: the scan's x axis from
    kx towards ky. defocus_a > 0 is underfocus. astigmatism_a: (along y^2 - x^2 with x^2 - y^2 positive, along 2xy)."""

    mirrored: bool
    turn_rad: float
    defocus_a: float
    astigmatism_a: tuple[float, float] = (0.0, 0.0)

    def opposite(self) -> Setting:
        """The other setting that explains the data as well, with the opposite phase."""
        first, second = self.astigmatism_a
        turn = (self.turn_rad + TURN + np.pi) % (2 * np.pi) - np.pi
        return Setting(self.mirrored, float(turn), -self.defocus_a, (-first, -second))


def signal_of(
    positions_a: np.ndarray,
    bright: np.ndarray,
    pixels: np.ndarray,
    width: float,
    aperture: float,
    wavelength_a: float,
    window_a: float,
) -> Signal | None:
    """The signal of bright-field counts (n, k) at positions (n, 2) in angstrom; pixels (k, 2), width in aperture radii.

    The strongest frequencies that the aperture lets through are kept. None if the positions don't span an area.
    """
    positions = positions_a - positions_a.mean(axis=0)
    extent = np.ptp(positions, axis=0)
    if len(positions) < 16 or min(extent) <= 0:
        return None
    step = np.sqrt(extent[0] * extent[1] / len(positions))
    spacing = 1 / (extent + step)
    limit = min(aperture, 1.5 / step)  # beyond the aperture's radius little is transferred
    taper = _taper(positions, extent)
    counts = bright.astype(np.float32)
    counts = (counts - np.average(counts, axis=0, weights=taper)) * taper[:, None].astype(np.float32)
    frequencies = _strongest(positions, counts, spacing, limit)
    if len(frequencies) < 12:
        return None
    values = _transform(positions, counts, frequencies)
    return Signal(positions, pixels, width, frequencies, values, aperture, wavelength_a, window_a)


def _transform(positions: np.ndarray, counts: np.ndarray, frequencies: np.ndarray) -> np.ndarray:
    """(q, k) complex64 Fourier sums of counts (n, k) at positions (n, 2)."""
    parts = []
    for part in np.array_split(frequencies, 1 + len(frequencies) // 256):
        parts.append(np.exp(-2j * np.pi * (part @ positions.T)).astype(np.complex64) @ counts)
    return np.concatenate(parts)


def _strongest(positions: np.ndarray, counts: np.ndarray, spacing: np.ndarray, limit: float) -> np.ndarray:
    """(q, 2) frequencies below a limit with the most power, of half a plane. A peak, which is a reflection, counts
    once, at its top."""
    reach = np.floor(limit / spacing).astype(int)
    rows, columns = np.meshgrid(*(np.arange(-r, r + 1) for r in reach), indexing="ij")
    half = (rows > 0) | ((rows == 0) & (columns > 0))
    mixed = counts @ np.random.default_rng(0).choice([-1.0, 1.0], (counts.shape[1], 64)).astype(np.float32)
    places = np.stack([rows[half], columns[half]], axis=1)
    power = np.zeros(rows.shape)
    power[half] = np.sum(np.abs(_transform(positions, mixed, places * spacing)) ** 2, axis=1)
    power += power[::-1, ::-1]  # the other half of a real signal
    peaks = (power == ndimage.maximum_filter(power, 3)) & (power > PEAK * np.median(power[half]))
    around = ndimage.maximum_filter(peaks, 3) & ~peaks
    logs = np.pad(np.log(power + 1e-3 * np.median(power[half])), 1, mode="edge")
    off = []
    for low, high in ((logs[:-2, 1:-1], logs[2:, 1:-1]), (logs[1:-1, :-2], logs[1:-1, 2:])):  # the top of a parabola
        bend = low + high - 2 * logs[1:-1, 1:-1]
        off.append(np.where(peaks & (bend < 0), np.clip((low - high) / np.where(bend < 0, 2 * bend, 1), -0.5, 0.5), 0))
    frequencies = np.stack([(rows + off[0])[half], (columns + off[1])[half]], axis=1) * spacing
    lengths = np.hypot(*frequencies.T)
    kept = (lengths < limit) & (lengths > 1.5 * max(spacing)) & ~around[half]
    return frequencies[kept][np.argsort(-power[half][kept], kind="stable")[:MOST_FREQUENCIES]]


def _overlaps(signal: Signal, setting: Setting) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """A(k) A(k - Q) and A(k) A(k + Q), (q, k); k.M.Q, (q, k); Q.M.Q, (q,).

    All aberrations are of second order, chi(k) = k.M.k, so chi(k) - chi(k -+ Q) = +-2 k.M.Q - Q.M.Q, and Gamma =
    exp(2 i k.M.Q) (A(k) A(k - Q) exp(-i Q.M.Q) - A(k) A(k + Q) exp(i Q.M.Q)).
    """
    k = signal.pixels[:, ::-1] if setting.mirrored else signal.pixels
    ky, kx = (k[:, axis].astype(np.float32) for axis in (0, 1))
    q = turned(signal.frequencies, setting.turn_rad) / signal.aperture
    qy, qx = (part[:, None].astype(np.float32) for part in q)
    first, second = setting.astigmatism_a
    scale = np.pi * signal.wavelength_a * signal.aperture**2
    matrix = scale * np.array([[-setting.defocus_a - first, second], [second, -setting.defocus_a + first]])
    my, mx = (part.astype(np.float32) for part in matrix @ q)

    def amplitude(y: np.ndarray, x: np.ndarray) -> np.ndarray:
        edge = (1 - np.sqrt(y * y + x * x)) / np.float32(signal.width) + np.float32(0.5)
        return np.sqrt(np.clip(edge, 0, 1))

    here = amplitude(ky, kx)
    along = my[:, None] * ky + mx[:, None] * kx
    constant = my * qy[:, 0] + mx * qx[:, 0]
    return here * amplitude(ky - qy, kx - qx), here * amplitude(ky + qy, kx + qx), along, constant


def turned(vectors: np.ndarray, angle_rad: float) -> tuple[np.ndarray, np.ndarray]:
    """(y, x) of vectors (n, 2) turned from x towards y."""
    cos, sin = np.cos(angle_rad), np.sin(angle_rad)
    y, x = vectors.T
    return np.stack([x * sin + y * cos, x * cos - y * sin])


def explained(signal: Signal, setting: Setting, power: float) -> float:
    """E, from 0 to 1; power: sum |G|^2."""
    projected, size = _projected(signal, setting)
    size = np.maximum(size, 0.02 * size.max() + 1e-12)
    return float(np.sum(np.abs(projected) ** 2 / size) / power)


def _projected(signal: Signal, setting: Setting) -> tuple[np.ndarray, np.ndarray]:
    """(q,) sum_k conj(Gamma) G, and sum_k |Gamma|^2, without Gamma itself."""
    left, right, along, constant = _overlaps(signal, setting)
    back = np.empty(along.shape, np.complex64)
    back.real, back.imag = np.cos(2 * along), -np.sin(2 * along)  # twice as quick as a complex exponential
    back *= signal.values
    real, imaginary = np.ascontiguousarray(back.real), np.ascontiguousarray(back.imag)
    first, second = (
        np.einsum("qk,qk->q", part, real) + 1j * np.einsum("qk,qk->q", part, imaginary) for part in (left, right)
    )
    turn = np.exp(1j * constant)
    both = np.einsum("qk,qk->q", left, right)
    size = np.einsum("qk,qk->q", left, left) + np.einsum("qk,qk->q", right, right) - 2 * both * np.real(turn**2)
    return turn * first - np.conj(turn) * second, size


@dataclass(frozen=True)
class Search:
    """A coarse search over handedness, turn and defocus. best: [(E, setting)] apart from each other, best first.
    middle: median E of all that were tried. sigmas: how far the best is above it, in standard deviations. step_a: of
    defocus."""

    best: list[tuple[float, Setting]]
    middle: float
    sigmas: float
    step_a: float


def search(signal: Signal) -> Search:
    """Try all turns and defoci that the window allows."""
    typical = float(np.median(np.hypot(*signal.frequencies.T)))
    step = 0.9 / (2 * np.pi * signal.wavelength_a * signal.aperture * typical)
    most = 0.55 * signal.window_a / (signal.wavelength_a * signal.aperture)
    defoci = np.arange(-np.ceil(most / step), np.ceil(most / step) + 1) * step
    power = float(np.sum(np.abs(signal.values) ** 2))
    found = []
    for hand in (False, True):
        for angle in np.arange(ANGLES) * np.pi / ANGLES:
            left, right, along, constant = _overlaps(signal, Setting(hand, angle, step))
            squares = np.sum(left**2 + right**2, axis=1), 2 * np.sum(left * right, axis=1)
            back = np.exp(-2j * along).astype(np.complex64)
            start = np.exp(-2j * along * (defoci[0] / step)).astype(np.complex64) * signal.values
            left, right = left * start, right * start
            for defocus in defoci:
                turn = np.exp(1j * constant * (defocus / step))
                projected = np.abs(turn * left.sum(axis=1) - np.conj(turn) * right.sum(axis=1)) ** 2
                size = squares[0] - squares[1] * np.real(turn**2)
                size = np.maximum(size, 0.02 * np.max(squares[0]))
                found.append((float(np.sum(projected / size) / power), Setting(hand, angle, float(defocus))))
                left *= back
                right *= back
    scores = np.array([score for score, _ in found])
    middle = float(np.median(scores))
    spread = 1.4826 * float(np.median(np.abs(scores - middle)))
    found.sort(key=lambda pair: -pair[0])
    kept: list[tuple[float, Setting]] = []
    for score, setting in found:
        if all(_apart(setting, other, step) for _, other in kept):
            kept.append((score, setting))
        if len(kept) == KEPT:
            break
    return Search(kept, middle, (found[0][0] - middle) / max(spread, 1e-12), step)


def _apart(one: Setting, other: Setting, step: float) -> bool:
    """Whether two settings are different hills; a setting and its opposite are the same."""
    if one.mirrored != other.mirrored:
        return True
    turn = abs(np.angle(np.exp(2j * (one.turn_rad - other.turn_rad))))
    apart = min(abs(one.defocus_a - other.defocus_a), abs(one.defocus_a + other.defocus_a))
    return bool(turn > np.radians(30) or apart > 4 * step)


def refined(signal: Signal, setting: Setting, astigmatic: bool = True) -> tuple[float, Setting]:
    """(E, setting) at the maximum near a setting."""
    unit = 1 / (2 * np.pi * signal.wavelength_a * signal.aperture**2)
    power = float(np.sum(np.abs(signal.values) ** 2))

    def of(p: np.ndarray) -> Setting:
        pair = (float(p[2] * unit), float(p[3] * unit)) if astigmatic else (0.0, 0.0)
        return Setting(setting.mirrored, float(p[0]), float(p[1] * unit), pair)

    start = [setting.turn_rad, setting.defocus_a / unit, *(a / unit for a in setting.astigmatism_a)]
    start = np.array(start if astigmatic else start[:2])
    size = np.array([0.1, 1.5, 0.7, 0.7])[: len(start)]
    simplex = np.vstack([start, start + np.diag(size)])
    done = optimize.minimize(
        lambda p: -explained(signal, of(p), power),
        start,
        method="Nelder-Mead",
        options={"initial_simplex": simplex, "xatol": 2e-3, "fatol": 1e-6, "maxfev": 120},
    )
    return float(-done.fun), of(done.x)


def phase_of(signal: Signal, setting: Setting, points_a: np.ndarray) -> np.ndarray:
    """(n,) phase in arbitrary units at points (n, 2) of the scan's frame, from the signal's frequencies."""
    projected, size = _projected(signal, setting)
    phi = projected / 1j / (size + 1e-2 * size.max())
    image = np.zeros(len(points_a))
    for start in range(0, len(points_a), 4096):
        waves = np.exp(2j * np.pi * (points_a[start : start + 4096] @ signal.frequencies.T))
        image[start : start + 4096] = 2 * (waves @ phi).real
    return image


def _taper(positions: np.ndarray, extent: np.ndarray) -> np.ndarray:
    """(n,) weights that fall to 0 at the edge of the scan over a tenth of it, so that its frame is no signal."""
    middle = (positions.max(axis=0) + positions.min(axis=0)) / 2
    away = 0.5 - np.abs(positions - middle) / (1.02 * extent)
    return np.prod(np.sin(np.pi / 2 * np.clip(away / 0.12, 0.05, 1)) ** 2, axis=1)
