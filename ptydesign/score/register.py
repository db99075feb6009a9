"""The shift between an image and a patch around it, whatever affine ramp the image has.

For every trial shift the best ramp is projected out (variable projection, Golub & Pereyra, SIAM J. Numer. Anal. 10:413,
1973), so neither can absorb the other. The criterion is the normalised correlation, which a wrong contrast cannot bias.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Complex, Float

from ptydesign.score.metrics import Image, taper_window

Shift = Float[np.ndarray, " 2"]
Factor = Complex[np.ndarray, "#ky #kx"] | float  # of a spectrum
TAPER_PX = 16  # soft edge around the patch that is shifted in Fourier space, outside of what is compared


def planes(shape: tuple[int, int]) -> Float[np.ndarray, "3 y x"]:
    """Orthonormal basis (3, y, x) of the affine functions on an image: constant, slope in y, slope in x."""
    y = np.arange(shape[0]) - (shape[0] - 1) / 2
    x = np.arange(shape[1]) - (shape[1] - 1) / 2
    basis = np.stack([np.ones(shape), np.broadcast_to(y[:, None], shape), np.broadcast_to(x[None, :], shape)])
    return basis / np.sqrt(np.sum(basis**2, axis=(1, 2), keepdims=True))


def affine_part(image: Image) -> Image:
    """Least-squares plane (y, x) through an image (y, x)."""
    basis = planes(image.shape)
    return np.tensordot(np.tensordot(basis, image, 2), basis, 1)


def faded(patch: Image) -> Image:
    """The patch with soft edges, so that it may be taken as periodic."""
    rows, columns = (taper_window(size, 2 * TAPER_PX / size) for size in patch.shape)
    return patch * rows[:, None] * columns[None, :]


def patch_margin(pixel_a: tuple[float, float], max_shift_a: float) -> tuple[int, int]:
    """Pixels (y, x) that `register` needs around the image on each side of its patch."""
    return tuple(int(np.ceil(max_shift_a / p)) + 2 + TAPER_PX for p in pixel_a)


def register(
    image: Image,
    patch: Float[np.ndarray, "Y X"],
    margin: tuple[int, int],
    pixel_a: tuple[float, float],
    max_shift_a: float,
    tolerance_px: float = 0.01,
    guess_px: tuple[float, float] | None = None,
) -> tuple[float, float]:
    """Shift (y, x) in pixels by which `image` is displaced from the middle of `patch`, whatever ramp image has.

    image: (ny, nx). patch: (ny + 2 margin_y, nx + 2 margin_x), pixel `margin` belongs to the image's pixel (0, 0).
    Maximises the normalised correlation of image(r) with patch(r - shift), both free of planes: all shifts within
    max_shift_a on a half-pixel grid, unless guess_px (y, x) is within a pixel of it already, then Gauss-Newton from
    the best. The result never lies beyond max_shift_a.
    """
    search = _Search(image, patch, margin)
    limit_px = np.array([max_shift_a / p for p in pixel_a])
    shift = search.best_on_grid(limit_px) if guess_px is None else np.array(guess_px)
    value = search.correlation(shift)
    for _ in range(20):
        step = search.newton_step(shift)
        step *= min(1.0, 1.0 / max(np.hypot(*step), 1e-12))  # the grid is half a pixel: longer steps leave the peak
        while True:
            trial = shift + step
            trial = trial / max(1.0, float(np.hypot(*(trial / limit_px))))
            better = search.correlation(trial)
            if better >= value or np.hypot(*step) < 0.1 * tolerance_px:
                break
            step = step / 2
        moved = np.hypot(*(trial - shift))
        if better >= value:
            shift, value = trial, better
        if moved < 0.1 * tolerance_px:
            break
    return float(shift[0]), float(shift[1])


def move_patch(
    patch: Image, margin: tuple[int, int], shift_px: tuple[float, float], shape: tuple[int, int]
) -> Float[np.ndarray, "{shape[0]} {shape[1]}"]:
    """What `register` compared: the patch moved by (y, x) pixels, on the image's pixels `shape`, without its plane."""
    return _Search(np.zeros(shape), patch, margin).moved(np.asarray(shift_px))


class _Search:
    """Correlations of an image with a shifted patch; the patch's edges are tapered so that it may be periodic."""

    def __init__(self, image: Image, patch: Float[np.ndarray, "Y X"], margin: tuple[int, int]):
        self.shape, self.margin = image.shape, margin
        self.basis = planes(image.shape)
        self.image = self.free(image)
        # A constant would make a step under the taper; planes are projected out in any case.
        self.spectrum = np.fft.rfft2(faded(patch - np.mean(patch)))
        self.size = patch.shape
        self.ky = np.fft.fftfreq(patch.shape[0])[:, None]
        self.kx = np.fft.rfftfreq(patch.shape[1])[None, :]

    def free(self, image: Image) -> Image:
        """The image without its plane."""
        return image - np.tensordot(np.tensordot(self.basis, image, 2), self.basis, 1)

    def moved(self, shift: Shift, factor: Factor = 1.0) -> Image:
        """The patch moved by `shift` px, on the image's pixels, without its plane; factor multiplies its spectrum."""
        (ny, nx), (my, mx) = self.shape, self.margin
        return self.free(self._whole(shift, factor)[my : my + ny, mx : mx + nx])

    def _whole(self, shift: Shift, factor: Factor = 1.0) -> Image:
        phase = np.exp(-2j * np.pi * self.ky * shift[0]) * np.exp(-2j * np.pi * self.kx * shift[1])
        return np.fft.irfft2(self.spectrum * phase * factor, self.size)

    def correlation(self, shift: Shift) -> float:
        """Normalised correlation, up to the image's constant norm."""
        moved = self.moved(shift)
        return float(np.sum(self.image * moved) / max(np.linalg.norm(moved), 1e-300))

    def best_on_grid(self, limit_px: Shift) -> Shift:
        """Best shift (2,) of a half-pixel grid inside the ellipse with half axes `limit_px`."""
        best, found = -np.inf, np.zeros(2)
        reach = [int(np.ceil(limit)) for limit in limit_px]
        whole = [np.arange(-r, r + 1) for r in reach]
        kernels = [np.fft.rfft2(k, self.size) for k in (self.image, np.ones(self.shape), *self.basis)]
        # patch(r - s) at the image's pixel r is patch index r + margin - s.
        take = np.ix_(self.margin[0] - whole[0], self.margin[1] - whole[1])
        for half in np.array([(0, 0), (0, 0.5), (0.5, 0), (0.5, 0.5)]):
            patch = self._whole(half)
            spectra = [np.fft.rfft2(p) for p in (patch, patch**2)]

            def product(k: int, power: int, spectra: list[np.ndarray] = spectra) -> Image:
                return np.fft.irfft2(spectra[power - 1] * kernels[k].conj(), self.size)[take]

            energy = product(1, 2) - sum(product(k, 1) ** 2 for k in (2, 3, 4))
            values = product(0, 1) / np.sqrt(np.maximum(energy, 1e-300))
            sy, sx = whole[0][:, None] + half[0], whole[1][None, :] + half[1]
            allowed = (sy / limit_px[0]) ** 2 + (sx / limit_px[1]) ** 2 <= 1
            # Without energy there is nothing to correlate with.
            allowed &= energy > 1e-9 * np.max(energy)
            values = np.where(allowed, values, -np.inf)
            if np.max(values) > best:
                i, j = np.unravel_index(np.argmax(values), values.shape)
                best, found = np.max(values), np.array([sy[i, 0], sx[0, j]])
        return found

    def newton_step(self, shift: Shift) -> Shift:
        """Gauss-Newton step (2,) of the shift in image = c patch(r - s) + plane, with c and the plane eliminated."""
        columns = [
            self.moved(shift),
            self.moved(shift, -2j * np.pi * self.ky),
            self.moved(shift, -2j * np.pi * self.kx),
        ]
        matrix = np.array([[np.sum(a * b) for b in columns] for a in columns])
        right = np.array([np.sum(a * self.image) for a in columns])
        solution = np.linalg.lstsq(matrix, right, rcond=None)[0]
        # A contrast near zero or below means noise: no step rather than a wild one.
        return solution[1:] / solution[0] if solution[0] > 1e-6 * np.abs(solution[1:]).max() else np.zeros(2)
