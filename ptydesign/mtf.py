"""A detector's modulation transfer function, in one place for simulation, reconstruction and bound."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

Transfer = Float[np.ndarray, "ny half"]


def mtf(shape: tuple[int, int], at_nyquist: float) -> Transfer | None:
    """(ny, nx // 2 + 1) what patterns of a shape are multiplied by in Fourier space; None for a detector that blurs
    nothing (1).

    m^(sin^2(pi fy) + sin^2(pi fx)), f in cycles per pixel, m = at_nyquist: that of the discrete Gaussian kernel
    (Lindeberg, IEEE PAMI 12:234, 1990). Unlike a Gaussian cut off at Nyquist its kernel is positive, so no pixel gets a
    negative mean.
    """
    if at_nyquist == 1:
        return None
    fy, fx = np.fft.fftfreq(shape[0]), np.fft.rfftfreq(shape[1])
    return at_nyquist ** (np.sin(np.pi * fy[:, None]) ** 2 + np.sin(np.pi * fx[None, :]) ** 2)
