"""Probe, aberrations, propagators and the one multislice forward model (JAX).

Conventions (checked against abTEM in tests/test_simulators.py):
- plane waves exp(+2 pi i k r); a slice transmits exp(+i sigma V); a distance dz propagates by
  exp(-i pi lambda dz k^2) in Fourier space (Kirkland 2020, eq. 6.65);
- the probe in Fourier space is A(k) exp(-i chi(k)); positive `defocus_a` is underfocus, C10 = -defocus;
- Fourier transforms are unitary, so sum |psi|^2 is the number of electrons on both sides;
- a real-space probe has its centre at pixel (ny//2, nx//2); spectra are corner-centred: nothing is
  shifted inside a loop.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, Inexact

from ptydesign import accelerator
from ptydesign.grids import Grid

# A product of two waves limited to this fraction of Nyquist folds nothing back into it (Kirkland 2020, sec. 6.8).
BAND_LIMIT = 2 / 3

# Aberrations beyond coma and Cs: (name in keywords and `Optics`, n, m) of C_nm in Krivanek's notation (Krivanek,
# Dellby, Lupini, Ultramicroscopy 78:1, 1999). In Haider's they are A2, S3 = C32 / 4, A3 and C5.
HIGHER = (("trefoil", 2, 3), ("star", 3, 2), ("fourfold", 3, 4), ("c5", 5, 0))

Waves = Complex[Array, "*stack ny nx"]
Number = Float[Array, ""] | float


def fft2(wave: Inexact[Array, "*stack ny nx"]) -> Waves:
    """Unitary 2-D Fourier transform over the last two axes."""
    return scaled(jnp.fft.fft2(wave), 1 / math.sqrt(math.prod(wave.shape[-2:])))


def ifft2(wave: Inexact[Array, "*stack ny nx"]) -> Waves:
    """Unitary inverse 2-D Fourier transform over the last two axes."""
    if accelerator.used():  # whose inverse is followed by a pass of its own that divides by the number of pixels
        return jnp.conj(fft2(jnp.conj(wave)))
    return scaled(jnp.fft.ifft2(wave), math.sqrt(math.prod(wave.shape[-2:])))


def scaled(wave: Complex[Array, "*shape"], factor: Float[Array, "#*shape"] | float) -> Complex[Array, "*shape"]:
    """A complex array times a real one. JAX would make the factor complex, for thrice the arithmetic."""
    return jax.lax.complex(wave.real * factor, wave.imag * factor)


def aberration_phase(
    grid: Grid,
    wavelength_a: float,
    *,
    defocus_a: float = 0.0,
    astigmatism_a: float = 0.0,
    astigmatism_angle_rad: float = 0.0,
    coma_a: float = 0.0,
    coma_angle_rad: float = 0.0,
    cs_a: float = 0.0,
    **higher: float,
) -> Float[np.ndarray, "ny nx"]:
    """Aberration function chi(k) in rad, shape grid.shape, corner-centred, float64 (Kirkland 2020, ch. 2).

    chi = 2 pi / lambda (a^2/2 (C10 + C12 cos 2(phi - phi12)) + a^3/3 C21 cos(phi - phi21) + a^4/4 Cs + ...),
    a = lambda k, C10 = -defocus, phi measured from +x towards +y.
    higher: of `HIGHER`, as `trefoil_a` and `trefoil_angle_rad`: a^(n+1)/(n+1) C_nm cos m(phi - phi_nm) each.
    """
    ky, kx = grid.frequencies()
    alpha2 = wavelength_a**2 * (ky**2 + kx**2)
    alpha = np.sqrt(alpha2)
    phi = np.arctan2(ky, kx)
    second = 0.5 * alpha2 * (-defocus_a + astigmatism_a * np.cos(2 * (phi - astigmatism_angle_rad)))
    third = alpha2 * alpha / 3 * coma_a * np.cos(phi - coma_angle_rad)
    path = second + third + 0.25 * alpha2**2 * cs_a
    known = {f"{name}{end}" for name, _, m in HIGHER for end in (("_a", "_angle_rad") if m else ("_a",))}
    if not known.issuperset(higher):
        raise TypeError(f"unknown aberrations {sorted(set(higher) - known)}")
    for name, n, m in HIGHER:
        if amplitude := higher.get(f"{name}_a", 0.0):
            turned = np.cos(m * (phi - higher.get(f"{name}_angle_rad", 0.0)))
            path = path + alpha ** (n + 1) / (n + 1) * amplitude * turned
    return 2 * np.pi / wavelength_a * path


def aperture(grid: Grid, wavelength_a: float, semiangle_rad: float) -> Float[np.ndarray, "ny nx"]:
    """Amplitude transmission of a sharp aperture in [0, 1], shape grid.shape, corner-centred, float64.

    Its square is a linear ramp one reciprocal pixel wide, the part of the pixel that a sharp edge leaves open (abTEM's
    soft aperture). As an amplitude, abTEM's choice, the ramp would lose electrons at the edge: patterns integrated
    into detector pixels then depend on the window several times more.
    """
    ky, kx = grid.frequencies()
    alpha = wavelength_a * np.hypot(ky, kx)
    phi = np.arctan2(ky, kx)
    dky, dkx = grid.reciprocal_pixel
    width = wavelength_a * np.hypot(np.sin(phi) * dky, np.cos(phi) * dkx)
    return np.sqrt(np.clip((semiangle_rad - alpha) / width + 0.5, 0.0, 1.0))


def probe_spectrum(
    grid: Grid, wavelength_a: float, semiangle_rad: float, **aberrations: float
) -> Complex[np.ndarray, "ny nx"]:
    """Probe in Fourier space, shape grid.shape, corner-centred, complex128, sum |P|^2 = 1, centred at r = 0.

    aberrations: the keywords of `aberration_phase`.
    """
    spectrum = aperture(grid, wavelength_a, semiangle_rad) * np.exp(
        -1j * aberration_phase(grid, wavelength_a, **aberrations)
    )
    return spectrum / np.sqrt(np.sum(np.abs(spectrum) ** 2))


def shift_phase(grid: Grid, shift_a: Float[Array | np.ndarray, "*stack 2"]) -> Complex[Array, "*stack ny nx"]:
    """Fourier factor that moves a wave by shift_a = (y, x) in angstrom: exp(-2 pi i k r); shape (..., ny, nx).

    shift_a: (..., 2).
    """
    ky, kx = grid.frequencies()
    shift_a = jnp.asarray(shift_a)
    real = jnp.float64 if shift_a.dtype == jnp.float64 else jnp.float32
    phase_y = jnp.exp(-2j * jnp.pi * jnp.asarray(ky, real) * shift_a[..., 0, None, None])
    phase_x = jnp.exp(-2j * jnp.pi * jnp.asarray(kx, real) * shift_a[..., 1, None, None])
    return phase_y * phase_x


def centre_spectrum(grid: Grid, spectrum: Complex[np.ndarray, "*stack ny nx"]) -> Complex[np.ndarray, "*stack ny nx"]:
    """Real-space wave, centred at pixel (ny//2, nx//2), of a spectrum whose wave sits at r = 0."""
    return np.fft.fftshift(np.fft.ifft2(spectrum, norm="ortho"), axes=(-2, -1))


def band_limit(grid: Grid, fraction: float = BAND_LIMIT, taper: float = 0.02) -> Float[np.ndarray, "ny nx"]:
    """Antialiasing aperture in [0, 1], shape grid.shape, corner-centred (Kirkland 2020, sec. 6.8).

    0 from `fraction` of the smaller Nyquist frequency on; before it a cosine taper of width `taper` (fraction of the
    same frequency). The defaults are abTEM's.
    """
    ky, kx = grid.frequencies()
    nyquist = min(0.5 / grid.pixel_a[0], 0.5 / grid.pixel_a[1])
    beyond = np.hypot(ky, kx) - (fraction - taper) * nyquist
    return 0.5 * (1 + np.cos(np.pi * np.clip(beyond / (taper * nyquist), 0, 1)))


def band_limit_of(grid: Grid, pixel_a: float) -> Float[np.ndarray, "ny nx"]:
    """The band limit, as above, that belongs to another pixel than the grid's; shape grid.shape."""
    part = max(grid.pixel_a) / pixel_a
    return band_limit(grid, BAND_LIMIT * part, 0.02 * part)


def all_modes(probe: Complex[Array | np.ndarray, "*scan mode ny nx"]) -> Complex[np.ndarray, "modes ny nx"]:
    """Modes (mode, y, x) of a probe, or of several scans' (scan, mode, y, x), those of one scan after the other."""
    return np.asarray(probe).reshape(-1, *probe.shape[-2:])


def propagator(
    frequencies: tuple[Float[Array | np.ndarray, "ny 1"], Float[Array | np.ndarray, "1 nx"]],
    wavelength_a: Number,
    distance_a: Number,
    tilt_rad: Float[Array, " 2"] | tuple[Number, Number] = (0.0, 0.0),
) -> Complex[Array, "ny nx"]:
    """Fresnel propagator exp(-i pi lambda dz k^2), shape (ny, nx), corner-centred (Kirkland 2020, eq. 6.65).

    frequencies: (ky (ny, 1), kx (1, nx)) in 1/angstrom, as `Grid.frequencies` gives them; may be traced, as may
    wavelength, distance and tilt. tilt_rad: specimen tilt (y, x); a small tilt shifts the wave by dz tan(tilt) per
    slice (Kirkland 2020, eq. 6.98): an additional exp(+2 pi i dz k tan(tilt)).
    """
    dtype = jnp.result_type(float)
    ky, kx = (jnp.asarray(k, dtype) for k in frequencies)
    phase = -jnp.pi * wavelength_a * distance_a * (ky**2 + kx**2)
    tilted = 2 * jnp.pi * distance_a * (ky * jnp.tan(tilt_rad[0]) + kx * jnp.tan(tilt_rad[1]))
    return jnp.exp(1j * (phase + tilted))


def multislice(
    wave: Waves, transmission: Complex[Array, "slice ny nx"], propagators: Complex[Array, "step ny nx"]
) -> Waves:
    """Exit wave after all slices: psi_i = (psi_{i-1} T_{i-1}) * p_i (Cowley & Moodie 1957).

    wave: (..., ny, nx). transmission: (slices, ny, nx) (broadcast against leading axes of the wave).
    propagators: (m, ny, nx) in Fourier space, one after each of the first m slices; m = slices - 1
    leaves the wave at the last slice's exit face (enough for an intensity), m = slices propagates past it.
    """
    slices, steps = transmission.shape[0], propagators.shape[0]

    def step(psi: Waves, slice_: tuple[Array, Array]) -> tuple[Waves, None]:
        t, p = slice_
        return ifft2(fft2(psi * t) * p), None

    if steps:
        wave, _ = jax.lax.scan(step, wave, (transmission[:steps], propagators))
    return wave if steps == slices else wave * transmission[-1]
