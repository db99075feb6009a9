"""Image metrics: SSIM, PSNR, MSE and Fourier ring correlation, of images that are aligned already (see `align`)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Complex, Float, Int, Num, Real

from ptydesign.errors import InputError

Image = Real[np.ndarray, "y x"]
Rings = Float[np.ndarray, " ring"]

_HALF_BIT_SNR = 0.2071  # SNR of each half that carries half a bit per Fourier coefficient in their sum
_ONE_BIT_SNR = 0.5
_MOST_SNR = 1e6  # of a ring in `information`: rounding alone would tell of more
_SSIM_TRUNCATE = 3.5  # scikit-image cuts its Gaussian here, in standard deviations


class ScoreFailure(ValueError):
    """A reconstruction that cannot be scored (NaN, no contrast). The trial failed; the message is the reason."""


def ssim_window_px(width_px: float) -> int:
    """Side of the square that SSIM with a Gaussian of `width_px` looks at, in pixels; images must be as large."""
    return 2 * int(_SSIM_TRUNCATE * width_px + 0.5) + 1


def ssim(image: Image, truth: Image, width_px: float, data_range: float) -> float:
    """Mean structural similarity with a Gaussian window (Wang et al., IEEE Trans. Image Process. 13:600, 2004).

    image, truth: (y, x), one unit. width_px: standard deviation of the window. data_range: L of the constants
    (0.01 L)^2 and (0.03 L)^2. Pixels whose window leaves the image don't count.
    Raises InputError if the window does not fit into the image.
    """
    from skimage.metrics import structural_similarity

    _same_shape(image, truth)
    _positive_range(data_range)
    if not width_px > 0 or ssim_window_px(width_px) > min(image.shape):
        raise InputError(
            "ssim_widths_px",
            f"its window of {ssim_window_px(width_px)} px must fit into the scored image of {image.shape} px",
            width_px,
            "Score a larger region, or use a smaller width.",
        )
    value = structural_similarity(
        np.asarray(image, np.float64),
        np.asarray(truth, np.float64),
        gaussian_weights=True,
        sigma=width_px,
        use_sample_covariance=False,
        data_range=data_range,
    )
    return float(value)


def mse(image: Image, truth: Image) -> float:
    """Mean squared difference of two images (y, x), in their unit squared."""
    from skimage.metrics import mean_squared_error

    _same_shape(image, truth)
    return float(mean_squared_error(truth, image))


def psnr(image: Image, truth: Image, data_range: float) -> float:
    """Peak signal-to-noise ratio 10 log10(L^2 / MSE) in dB of two images (y, x); infinite for equal images."""
    from skimage.metrics import peak_signal_noise_ratio

    _same_shape(image, truth)
    _positive_range(data_range)
    with np.errstate(divide="ignore"):
        return float(peak_signal_noise_ratio(truth, image, data_range=data_range))


@dataclass(frozen=True)
class FrcCurve:
    """A Fourier ring correlation.

    q: (rings,) centre of each ring in 1/angstrom, the first one above zero. frc: (rings,) in [-1, 1].
    count: (rings,) Fourier pixels in each ring. nyquist: the band limit of the images in 1/angstrom.
    """

    q: Rings
    frc: Rings
    count: Int[np.ndarray, " ring"]
    nyquist: float

    @property
    def half_bit(self) -> Rings:
        """(rings,) half-bit threshold."""
        return bit_threshold(self.count, _HALF_BIT_SNR)

    @property
    def one_bit(self) -> Rings:
        """(rings,) one-bit threshold."""
        return bit_threshold(self.count, _ONE_BIT_SNR)

    def area(self, q_max: float) -> float:
        """Mean FRC of the rings up to `q_max` in 1/angstrom; 1 is perfect.

        Raises InputError if q_max lies above the band limit (areas are comparable only at one fixed q_max) or
        below the first ring.
        """
        return float(np.mean(self.frc[self._up_to(q_max)]))

    def signal_to_noise(self) -> Rings:
        """(rings,) power of the signal over that of all else in the first image, of which the second is the truth.

        With a noiseless partner FRC^2 = S / (S + 1) (Penczek, Methods Enzymol. 482:73, 2010), whatever the contrast;
        1/n is what noise alone gives in a ring of n pixels. Zero where the two don't correlate; of small rings with
        little signal a little too much, since what scatters below zero is cut.
        """
        square = np.where(self.frc > 0, self.frc, 0.0) ** 2
        ratio = square / np.maximum(1 - square, 1 / (1 + _MOST_SNR))
        return np.maximum(ratio - 1 / np.maximum(self.count, 1), 0.0)

    def information(self, q_max: float) -> float:
        """Bits per square angstrom that the first image tells of the second, the truth, up to `q_max` in 1/angstrom.

        A coefficient of Fourier space tells log2(1 + S) bits (Shannon, Proc. IRE 37:10, 1949), and a real image
        has half of them: the integral of log2(1 + S(q)) / 2 over the plane. Errors that all repeats share count as
        noise. Neither pixel nor contrast matter. Raises InputError as `area` does.
        """
        inside, width = self._up_to(q_max), self.q[0]  # the rings are as wide as the first one's frequency
        return float(np.sum(np.pi * self.q[inside] * width * np.log2(1 + self.signal_to_noise()[inside])))

    def _up_to(self, q_max: float) -> Bool[np.ndarray, " ring"]:
        if not self.q[0] <= q_max <= self.nyquist * (1 + 1e-9):
            raise InputError(
                "frc_qmax",
                f"must lie between the first ring, {self.q[0]:.4g} 1/A, and the band limit, {self.nyquist:.4g} 1/A",
                q_max,
                "Choose one q_max that every image of the study reaches, or a finer reconstruction pixel.",
            )
        return self.q <= q_max * (1 + 1e-9)

    def resolution_a(self, threshold: Rings) -> float:
        """1/q in angstrom where the curve first falls below a threshold (rings,), linearly interpolated.

        The band limit's 1/q if it never does, infinity if it starts below.
        """
        excess = self.frc - threshold
        below = np.flatnonzero(excess < 0)
        if below.size == 0:
            return float(1 / self.q[-1])
        i = int(below[0])
        if i == 0:
            return float("inf")
        part = excess[i - 1] / (excess[i - 1] - excess[i])
        return float(1 / (self.q[i - 1] + part * (self.q[i] - self.q[i - 1])))

    def resolution_words(self, threshold: Rings) -> str:
        """`resolution_a` for people: `1.23 A`, or what keeps it from being a number of the specimen."""
        if np.all(self.frc >= threshold):
            edge = self.resolution_a(threshold)
            return f"{edge:.3g} A, the detector's edge, for the correlation never falls below the threshold"
        if self.frc[0] < threshold[0]:
            return "none, for the correlation lies below the threshold from the first ring on"
        return f"{self.resolution_a(threshold):.3g} A"


def bit_threshold(count: Int[np.ndarray, " ring"] | float, snr: float) -> Rings | float:
    """Information threshold of a ring of `count` pixels (van Heel & Schatz, J. Struct. Biol. 151:250, 2005, eq. 17).

    T = (S + 2 sqrt(S/n) + 1/sqrt(n)) / (S + 2 sqrt(S/n) + 1), S = `snr` of each half: 0.2071 half bit, 0.5 one bit.
    """
    root = np.sqrt(np.asarray(count, np.float64))
    cross = 2 * np.sqrt(snr) / root
    return (snr + cross + 1 / root) / (snr + cross + 1)


def radial_frc(first: Image, second: Image, pixel_a: tuple[float, float], taper: float = 0.25) -> FrcCurve:
    """Fourier ring correlation of two registered real images (Saxton & Baumeister, J. Microsc. 127:127, 1982).

    FRC = Re sum F1 F2* / sqrt(sum |F1|^2 sum |F2|^2) over each ring. The real part, not the modulus: the modulus
    has a positive floor. Means are removed and edges tapered, since an image's edges correlate with themselves.

    first, second: (y, x), equal shapes, registered beforehand. pixel_a: (y, x). taper: part of each axis that
    rises from and falls to zero (0 = none, 1 = Hann). Rings are as wide as the larger reciprocal pixel, up to the
    smaller Nyquist frequency. A ring where an image has no power has an FRC of 0.
    """
    _same_shape(first, second)
    for name, image in (("first", first), ("second", second)):
        if not np.all(np.isfinite(image)):
            raise ScoreFailure(f"The {name} image of the Fourier ring correlation has values that are not finite.")
    ny, nx = first.shape
    if min(ny, nx) < 4:
        raise InputError(
            "image", "must be at least 4 x 4 px for a Fourier ring correlation", first.shape, "Enlarge it."
        )
    spectra = [_tapered_spectrum(image, taper) for image in (first, second)]
    q, nyquist, ring = _rings(first.shape, pixel_a)
    cross = _ring_sums((spectra[0] * spectra[1].conj()).real, ring, len(q))
    powers = [_ring_sums(np.abs(s) ** 2, ring, len(q)) for s in spectra]
    norm = np.sqrt(powers[0]) * np.sqrt(powers[1])
    # Rounding leaves about eps^2 of the total power in rings that are empty.
    floor = np.prod([np.sqrt(np.sum(p)) * 1e-14 for p in powers])
    frc = np.where(norm > floor, cross / np.where(norm > floor, norm, 1.0), 0.0)
    return FrcCurve(q=q, frc=frc, count=_ring_sums(None, ring, len(q)), nyquist=nyquist)


def ring_power(image: Image, pixel_a: tuple[float, float], taper: float = 0.25) -> Rings:
    """(rings,) summed power of an image (y, x) in the rings of its `radial_frc`."""
    q, _, ring = _rings(image.shape, pixel_a)
    return _ring_sums(np.abs(_tapered_spectrum(image, taper)) ** 2, ring, len(q))


def _rings(shape: tuple[int, int], pixel_a: tuple[float, float]) -> tuple[Rings, float, Int[np.ndarray, " pixel"]]:
    """Frequencies of the rings, as wide as the larger reciprocal pixel; the smaller Nyquist frequency; and the ring of
    each pixel of a corner-centred spectrum, flat, 0 for the middle."""
    width = max(1 / (n * p) for n, p in zip(shape, pixel_a, strict=True))
    nyquist = min(0.5 / pixel_a[0], 0.5 / pixel_a[1])
    qy, qx = (np.fft.fftfreq(n, p) for n, p in zip(shape, pixel_a, strict=True))
    ring = np.rint(np.hypot(qy[:, None], qx[None, :]) / width).astype(int).ravel()
    return width * np.arange(1, int(np.floor(nyquist / width + 1e-9)) + 1), nyquist, ring


def _ring_sums(values: Image | None, ring: Int[np.ndarray, " pixel"], rings: int) -> Num[np.ndarray, " {rings}"]:
    """(rings,) sums of values (y, x), or numbers of pixels."""
    weights = None if values is None else values.ravel()
    return np.bincount(ring, weights, minlength=rings + 1)[1 : rings + 1]


def _tapered_spectrum(image: Image, taper: float) -> Complex[np.ndarray, "y x"]:
    """Spectrum of an image without its mean, its edges tapered."""
    ny, nx = image.shape
    window = taper_window(ny, taper)[:, None] * taper_window(nx, taper)[None, :]
    return np.fft.fft2(_without_mean(image, window) * window)


def taper_window(size: int, fraction: float) -> Float[np.ndarray, " {size}"]:
    """Tukey window (size,): cosine edges over `fraction` of the size together, 1 between; no zero at the ends."""
    edge = fraction * size / 2
    if edge <= 0:
        return np.ones(size)
    distance = np.minimum(np.arange(size) + 0.5, size - np.arange(size) - 0.5)
    return 0.5 * (1 - np.cos(np.pi * np.clip(distance / edge, 0, 1)))


def _without_mean(image: Image, window: Image) -> Image:
    """The image less its mean under the window, so that the tapered image has no zero frequency to leak."""
    return image - np.sum(image * window) / np.sum(window)


def _same_shape(image: Image, truth: Image) -> None:
    if np.ndim(image) != 2 or np.shape(image) != np.shape(truth):
        raise InputError(
            "image", "two images (y, x) of one shape are compared", (np.shape(image), np.shape(truth)), "Align them."
        )


def _positive_range(data_range: float) -> None:
    if not (np.isfinite(data_range) and data_range > 0):
        raise InputError("data_range", "must be positive and finite", data_range, "Use the truth's range.")
