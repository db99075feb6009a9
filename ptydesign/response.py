"""What a detector makes of the intensity that falls on it: pixels that count all that falls on them, and its MTF."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

Transfer = Float[np.ndarray, "ny half"]


@dataclass(frozen=True)
class Response:
    """integrated: pixels count what falls on their whole area, as real ones do, not the intensity at their middle times
    the area. mtf_nyquist: the MTF at the pixels' Nyquist frequency, 1 for a detector that blurs nothing."""

    integrated: bool = False
    mtf_nyquist: float = 1.0

    def transfer(self, shape: tuple[int, int]) -> Transfer | None:
        """(ny, nx // 2 + 1) what patterns of a shape are multiplied by in Fourier space; None for nothing.

        A frequency of f cycles per pixel is a distance of f window widths in the exit wave's autocorrelation, of which
        a square pixel keeps sinc(f) along each axis. That is exact for an exit wave of at most half a window.
        """
        if self == Response():
            return None
        found = mtf(shape, self.mtf_nyquist)
        if self.integrated:
            found = found * np.sinc(np.fft.fftfreq(shape[0]))[:, None] * np.sinc(np.fft.rfftfreq(shape[1]))[None, :]
        return found


def mtf(shape: tuple[int, int], at_nyquist: float) -> Transfer:
    """m^(sin^2(pi fy) + sin^2(pi fx)), f in cycles per pixel, m = at_nyquist: that of the discrete Gaussian kernel
    (Lindeberg, IEEE PAMI 12:234, 1990). Unlike a Gaussian cut off at Nyquist its kernel is positive, so no pixel gets a
    negative mean."""
    fy, fx = np.fft.fftfreq(shape[0]), np.fft.rfftfreq(shape[1])
    return at_nyquist ** (np.sin(np.pi * fy[:, None]) ** 2 + np.sin(np.pi * fx[None, :]) ** 2)
