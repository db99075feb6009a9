"""The state between two engines: another pixel (patterns padded or cropped), slices split or merged, probe modes added
or dropped. NumPy, double precision; the result is a state like that of `start.start_state`.
"""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
from jaxtyping import Complex, Float, Int, Shaped
from pydantic import Field, model_validator

from ptydesign import waves
from ptydesign.config import Strict
from ptydesign.errors import InputError
from ptydesign.grids import Grid, crop_spectrum
from ptydesign.reconstruct.pixels import Factor, window_of
from ptydesign.reconstruct.regularise import on_probes
from ptydesign.reconstruct.scans import Scans
from ptydesign.types import Dataset, ReconState

Spectrum = Shaped[np.ndarray, "*stack ny nx"]
Probe = Complex[np.ndarray, "mode ny nx"]
Thickness = Float[np.ndarray, " slice"]
MARGIN_PX = 4  # canvas beyond the outermost windows: room for corrected positions
CANVAS_MULTIPLE = 64  # canvases are rounded up, so that few shapes are compiled


class Resample(Strict):
    """Changes of the state before an engine; what isn't given stays."""

    pixels: tuple[int, int] | None = None
    """[ky, kx] pixels of the patterns: cropped to the lowest angles, or padded by angles without data. The window's
    extent stays, so the object's pixel shrinks as patterns grow."""
    slices: int | None = Field(None, ge=1)
    """New number of slices, of equal thickness; old ones are split or merged."""
    slice_thickness_a: float | None = Field(None, gt=0)
    """Thickness of the new slices in angstrom; null keeps the total."""
    modes: int | None = Field(None, ge=1)
    """New number of probe modes: the strongest are kept, or further ones are added."""
    new_power: float = Field(0.02, gt=0, lt=1)
    """Fraction of the total power of each mode that is added."""

    @model_validator(mode="after")
    def _sensible(self) -> Resample:
        if self.pixels is not None and min(self.pixels) < 8:
            raise InputError("pixels", "must be at least 8 by 8", self.pixels, "Keep more of the patterns.")
        if self.slice_thickness_a is not None and self.slices is None:
            raise InputError("slice_thickness_a", "belongs to slices", self.slice_thickness_a, "Give slices as well.")
        return self

    def after(self, slices: int, slice_thickness_a: float, modes: int) -> tuple[int, float, int]:
        """Slices, their mean thickness and modes after the change. Raises InputError if it can't be made."""
        total = slices * slice_thickness_a
        if self.slices is not None:
            if self.slice_thickness_a is None and self.slices > 1 and total == 0:
                raise InputError(
                    "slice_thickness_a", "is needed to split a slice without a thickness", None, "Give the thickness."
                )
            slices = self.slices
            slice_thickness_a = total / slices if self.slice_thickness_a is None else self.slice_thickness_a
        more = 0 if self.modes is None else self.modes - modes
        if more * self.new_power >= 1:
            raise InputError("new_power", f"of {more} new modes must sum to less than 1", self.new_power, "Lower it.")
        return slices, slice_thickness_a, modes if self.modes is None else self.modes


def resample_dataset(dataset: Dataset, pixels: tuple[int, int]) -> Dataset:
    """Patterns cropped to their lowest angles, or padded by pixels without data (mask 0); see `Resample.pixels`."""
    if tuple(pixels) == tuple(dataset.grid.shape):
        return dataset
    if isinstance(dataset, Scans):
        return dataset.each(lambda scan: resample_dataset(scan, pixels))
    pixel = tuple(p * n / m for p, n, m in zip(dataset.grid.pixel_a, dataset.grid.shape, pixels, strict=True))

    def fit(array: np.ndarray) -> np.ndarray:
        return fit_spectrum(np.asarray(array), pixels)

    return dataclasses.replace(
        dataset,
        patterns=fit(dataset.patterns),
        mask=fit(dataset.mask),
        background=None if dataset.background is None else fit(dataset.background),
        probe_guess=None if dataset.probe_guess is None else fit_probe(np.asarray(dataset.probe_guess), pixels),
        grid=Grid(tuple(pixels), pixel),
    )


def fit_spectrum(spectrum: Spectrum, shape: tuple[int, int]) -> Shaped[np.ndarray, "*stack {shape[0]} {shape[1]}"]:
    """Corner-centred (..., ny, nx) cropped or padded with zeros to `shape`, axis by axis; values stay."""
    for axis, new in zip((-2, -1), shape, strict=True):
        old = spectrum.shape[axis]
        if new < old:
            size = (new, spectrum.shape[-1]) if axis == -2 else (spectrum.shape[-2], new)
            spectrum = crop_spectrum(spectrum, size)
        elif new > old:
            wide = list(spectrum.shape)
            wide[axis] = new
            padded = np.zeros(wide, spectrum.dtype)
            place = np.fft.fftfreq(old, 1 / old).round().astype(int) % new
            np.moveaxis(padded, axis, 0)[place] = np.moveaxis(spectrum, axis, 0)
            spectrum = padded
    return spectrum


def fit_window(probe: Spectrum, shape: tuple[int, int]) -> Complex[np.ndarray, "*stack {shape[0]} {shape[1]}"]:
    """Probe modes (..., ny, nx), centred, cut to a smaller window or with zeros around them; pixels stay."""
    return np.fft.fftshift(fit_spectrum(np.fft.ifftshift(probe, axes=(-2, -1)), shape), axes=(-2, -1))


def fit_probe(probe: Spectrum, shape: tuple[int, int]) -> Complex[np.ndarray, "*stack {shape[0]} {shape[1]}"]:
    """Probe modes (..., ny, nx), centred, band-limited or refined to `shape`; the power of kept frequencies stays."""
    spectrum = np.fft.fft2(np.fft.ifftshift(probe, axes=(-2, -1)), norm="ortho")
    return np.fft.fftshift(np.fft.ifft2(fit_spectrum(spectrum, shape), norm="ortho"), axes=(-2, -1))


def resample_state(state: ReconState, change: Resample, window: Factor = 1) -> ReconState:
    """The state on another pixel, with other slices and other modes. NumPy arrays in and out. window: of the waves, in
    windows of the detector."""
    state = dataclasses.replace(state, object=np.asarray(state.object, np.complex128))
    state = on_probes(state, lambda probe: np.asarray(probe, np.complex128))
    if change.pixels is not None and window_of(change.pixels, window) != state.probe.shape[-2:]:
        state = change_pixel(state, window_of(change.pixels, window))
    if change.slices is not None:
        state = change_slices(state, change.slices, change.slice_thickness_a)
    if change.modes is not None:
        each = state.probe if state.scan is not None else [state.probe]
        changed = np.stack([change_modes(probe, change.modes, change.new_power) for probe in each])
        state = state.replace(probe=changed if state.scan is not None else changed[0])
    return state


def change_pixel(state: ReconState, shape: tuple[int, int]) -> ReconState:
    """Windows of `shape` with the same extent: object and probe by Fourier interpolation, positions in new pixels."""
    old = np.asarray(state.probe.shape[-2:])
    ratio = np.asarray(shape) / old
    # the object's extent must be a whole number of new pixels
    block = old // np.gcd(old, shape)
    canvas = np.asarray(state.object.shape[-2:])
    wide = -(-canvas // block) * block
    grown = _pad_vacuum(state.object, np.zeros(2, int), wide - canvas)
    new = tuple(int(n) for n in np.rint(wide * ratio))
    scale = new[0] * new[1] / (wide[0] * wide[1])
    object_ = np.fft.ifft2(fit_spectrum(np.fft.fft2(grown), new)) * scale
    state = on_probes(state, lambda probe: fit_probe(probe, shape))
    state = state.replace(
        object=object_,
        positions_px=np.asarray(state.positions_px, float) * ratio,
        pixel_a=np.asarray(state.pixel_a, float) / ratio,
    )
    return fit_canvas(state)


def fit_canvas(state: ReconState) -> ReconState:
    """The object extended by vacuum until every window and a margin fit into it; never cropped."""
    shape = np.asarray(state.probe.shape[-2:])
    positions = np.asarray(state.positions_px)
    low = np.floor(positions.min(axis=0)).astype(int) - shape // 2 - MARGIN_PX
    before = np.maximum(-low, 0)
    needed = np.ceil(positions.max(axis=0)).astype(int) + before + shape - shape // 2 + MARGIN_PX
    size = np.maximum(needed, np.asarray(state.object.shape[-2:]) + before)
    size = -(-size // CANVAS_MULTIPLE) * CANVAS_MULTIPLE
    after = size - before - np.asarray(state.object.shape[-2:])
    return state.replace(
        object=_pad_vacuum(state.object, before, after),
        positions_px=positions + before,
        origin_a=np.asarray(state.origin_a) - before * np.asarray(state.pixel_a),
    )


def _pad_vacuum(
    object_: Complex[np.ndarray, "slice y x"], before: Int[np.ndarray, " 2"], after: Int[np.ndarray, " 2"]
) -> Complex[np.ndarray, "slice Y X"]:
    return np.pad(object_, ((0, 0), *zip(before, after, strict=True)), constant_values=1.0)


def change_slices(state: ReconState, slices: int, slice_thickness_a: float | None) -> ReconState:
    """`slices` equal slices; the product over slices stays.

    Each new slice is the product of powers of the old ones, by the part of the old slice that lies in the new one:
    exact where slices are merged. A split divides the phase, which must lie within (-pi, pi]. The depth of the
    specimen's middle stays where the probe met it: the probe is propagated by what the new slices move it.
    """
    old = np.asarray(state.thickness_a, float)
    number = len(old)
    total = float(old.sum())
    # the old slices as parts of the total; those without thickness count alike
    parts = old / total if total > 0 else np.full(number, 1 / number)
    thickness = total / slices if slice_thickness_a is None else slice_thickness_a
    edges_old = np.concatenate([[0.0], np.cumsum(parts)])
    edges_new = np.linspace(0, 1, slices + 1)
    overlap = np.minimum(edges_old[None, 1:], edges_new[1:, None]) - np.maximum(
        edges_old[None, :-1], edges_new[:-1, None]
    )
    fraction = np.clip(overlap, 0, None) / np.maximum(parts, 1e-30)
    fraction = np.where(np.abs(fraction - 1) < 1e-9, 1.0, np.where(fraction < 1e-9, 0.0, fraction))
    made = np.ones((slices, *state.object.shape[-2:]), np.complex128)
    for j, i in np.argwhere(fraction > 0):
        made[j] *= state.object[i] if fraction[j, i] == 1 else _power(state.object[i], fraction[j, i])
    new = np.full(slices, float(thickness))
    moved = _middle(new) - _middle(old)
    grid = Grid(state.probe.shape[-2:], tuple(float(p) for p in state.pixel_a))
    if moved:
        factor = _propagator(grid, float(state.wavelength_a), -moved, np.asarray(state.tilt_rad, float))
        state = on_probes(state, lambda probe: np.fft.ifft2(np.fft.fft2(probe) * factor))
    return state.replace(object=made, thickness_a=new)


def _middle(thickness_a: Thickness) -> float:
    """Depth of the middle of the transmissions, which the model puts at the top of their slices."""
    top = np.cumsum(thickness_a) - thickness_a
    return float(np.average(top, weights=thickness_a)) if thickness_a.sum() > 0 else 0.0


def _propagator(grid: Grid, wavelength_a: float, distance_a: float, tilt_rad: Float[np.ndarray, " 2"]) -> Spectrum:
    with jax.enable_x64(True):
        return np.asarray(waves.propagator(grid.frequencies(), wavelength_a, distance_a, tuple(tilt_rad)))


def _power(values: Complex[np.ndarray, "y x"], exponent: float) -> Complex[np.ndarray, "y x"]:
    """Principal power of a transmission."""
    return np.abs(values) ** exponent * np.exp(1j * exponent * np.angle(values))


def change_modes(probe: Probe, modes: int, new_power: float) -> Complex[np.ndarray, "{modes} ny nx"]:
    """(modes, ny, nx): the strongest modes, or these and further ones with `new_power` of the total; power stays."""
    power = np.sum(np.abs(probe) ** 2)
    strength = np.sum(np.abs(probe) ** 2, axis=(-2, -1))
    probe = probe[np.argsort(-strength, kind="stable")]
    more = modes - len(probe)
    if more <= 0:
        kept = probe[:modes]
        return kept * np.sqrt(power / np.sum(np.abs(kept) ** 2))
    # orthonormal_modes normalises: only the new ones are taken from it
    basis = orthonormal_modes(probe[0], Grid(probe.shape[-2:], (1.0, 1.0)), probe, modes)
    new = basis[len(probe) :] * np.sqrt(new_power * power)
    return np.concatenate([probe * np.sqrt(1 - more * new_power), new])


def orthonormal_modes(
    first: Complex[np.ndarray, "ny nx"], grid: Grid, guess: Probe, number: int
) -> Complex[np.ndarray, "{number} ny nx"]:
    """`number` orthonormal modes: the guess's own, then the first times Hermite-like polynomials (Gram-Schmidt)."""
    y, x = grid.coordinates()
    intensity = np.abs(first) ** 2 / np.sum(np.abs(first) ** 2)
    sigma = np.sqrt(np.sum(intensity * (y**2 + x**2)) / 2)
    orders = sorted(((i, j) for i in range(number) for j in range(number)), key=lambda o: (sum(o), o))
    candidates = [*guess[:number], *(first * (y / sigma) ** i * (x / sigma) ** j for i, j in orders[1:])]
    modes: list[np.ndarray] = []
    for candidate in candidates:
        for mode in modes:
            candidate = candidate - mode * np.vdot(mode, candidate)
        norm = np.linalg.norm(candidate)
        if norm > 1e-8 * np.linalg.norm(first) and len(modes) < number:
            modes.append(candidate / norm)
    return np.stack(modes)
