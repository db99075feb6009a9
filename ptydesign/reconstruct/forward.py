"""The forward model of every engine, and the loops over positions that share it.

psi_0,m = P_m(r - X_j) O(r);  psi_s = p_s * psi_{s-1} O_s;  I_j = w_j B S sum_m |F psi_m|^2 (+ background)

B, where there is one, is the blur of the detector's MTF: symmetric, so its own adjoint. S sums over the detector's
pixels where the window is wider than the detector's, so that F has several samples in each (`pixels`).

A loop that reads part of its carry, and changes that part after a long calculation, makes XLA copy the whole of it in
each pass. Such a loop keeps what it found and writes it at the start of the next pass, before it reads.

Adjoints come from JAX's vector-Jacobian product of `exit_waves`; nothing is differentiated by hand. A core of a CPU
works on one position after the other, whose waves stay in its cache, and accumulates one group's update; several cores
share a group's positions; an accelerator takes many at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Complex, Float, Inexact, Int, Num

from ptydesign import accelerator
from ptydesign.grids import Grid
from ptydesign.reconstruct import cores, pixels
from ptydesign.reconstruct.noise import NOISE_MODELS
from ptydesign.reconstruct.shapes import (
    AnyCanvas,
    Basis,
    Index,
    Indices,
    Lit,
    Modes,
    Patch,
    Pattern,
    Probe,
    Propagators,
    Scalar,
    Wave,
)
from ptydesign.types import ReconState
from ptydesign.waves import fft2, ifft2, propagator

Adjoint = Callable[[Modes], tuple[Modes, Patch]]
Sums = TypeVar("Sums")
CHUNK_ELEMENTS = 2**26  # complex numbers of a chunk's waves on an accelerator: 512 MiB


class Problem(NamedTuple):
    """What stays fixed during a reconstruction. patterns: (position, ky, kx) counts, zero where masked; mask,
    background: (ky, kx); offset: counts; counts: mean counts per pattern (scale of the loss); positions: how many there
    are, the first of the arrays' positions (others only fill them); nominal_a: (position, 2) as measured. rows: None,
    or, where patterns are a chunk as it was stored (`feed`), the (position,) row of each. transfer: (ky, half of kx) of
    the detector's MTF, None for B = 1. scan: (position,) number of each one's scan, where the background is
    (scan, ky, kx); else None. None: not needed."""

    patterns: Num[Array, "pattern ny nx"] | None
    mask: Pattern
    background: Pattern
    offset: Scalar
    counts: Scalar
    positions: Int[Array, ""] | None = None
    nominal_a: Float[Array, "position 2"] | None = None
    rows: Int[Array, " position"] | None = None
    transfer: Float[Array, "ny half"] | None = None
    scan: Int[Array, " position"] | None = None

    def members(self) -> Bool[Array, " position"]:
        """Which of the arrays' positions are real."""
        return jnp.arange(len(self.nominal_a)) < self.positions

    def nominal_px(self, state: ReconState) -> Float[Array, "position 2"]:
        """Nominal positions on a state's canvas."""
        return (self.nominal_a - state.origin_a) / state.pixel_a

    def pattern(self, index: Index) -> Pattern:
        """(ky, kx) counts of a position, zero where masked."""
        if self.rows is None:
            return self.patterns[index]
        return self.patterns[self.rows[index]].astype(self.mask.dtype) * self.mask

    def of(self, index: Index) -> Problem:
        """With the background of a position's scan."""
        return self if self.scan is None else self._replace(background=self.background[self.scan[index]], scan=None)

    def seen(self, intensity: Float[Array, "*stack wy wx"]) -> Float[Array, "*stack ny nx"]:
        """B S of one or several intensities in the waves' window."""
        return self._blurred(pixels.summed(intensity, self.mask.shape))

    def seen_back(self, factor: Pattern, window: tuple[int, int], gradient: bool) -> Lit:
        """What a factor of each pixel is for the waves' samples. gradient: the adjoint of `seen`; else its mean over
        the pixels that a sample counts in."""
        return pixels.spread(self._blurred(factor), window, gradient)

    def _blurred(self, pattern: Float[Array, "*stack ny nx"]) -> Float[Array, "*stack ny nx"]:
        if self.transfer is None:
            return pattern
        return jnp.fft.irfft2(jnp.fft.rfft2(pattern) * self.transfer, s=pattern.shape[-2:]).astype(pattern.dtype)

    def expected(self, far: Modes, weight: Scalar) -> Pattern:
        """Mean counts (ky, kx) of a wave on the detector (mode, *window) with an intensity factor."""
        pattern = self.seen(weight * jnp.sum(far.real**2 + far.imag**2, axis=0))
        if self.transfer is not None:
            pattern = jnp.maximum(pattern, 0)  # rounding may leave -1e-6
        return pattern + self.background

    def no_loss(self) -> Pattern:
        """Where losses of pixels are summed."""
        return jnp.zeros_like(self.mask)


class Optical(NamedTuple):
    """Derived once a sweep. ky (ny, 1), kx (1, nx): cycles per pixel; propagators: (slices - 1, ny, nx)."""

    ky: Float[Array, "ny 1"]
    kx: Float[Array, "1 nx"]
    propagators: Propagators


def optical(state: ReconState, shape: tuple[int, int]) -> Optical:
    """Frequencies and propagators of a state; thickness, tilt and pixel size may be traced."""
    ky, kx = Grid(shape, (1.0, 1.0)).frequencies()
    real = state.positions_px.dtype
    ky, kx = jnp.asarray(ky, real), jnp.asarray(kx, real)
    slices = state.object.shape[0]

    if slices == 1:
        return Optical(ky, kx, jnp.zeros((0, *shape), state.object.dtype))
    frequencies = (ky / state.pixel_a[0], kx / state.pixel_a[1])

    def one(distance_a: Scalar) -> Wave:
        return propagator(frequencies, state.wavelength_a, distance_a, state.tilt_rad)

    return Optical(ky, kx, jax.vmap(one)(state.thickness_a[:-1]).astype(state.object.dtype))


def corner(position_px: Float[Array, " 2"], shape: tuple[int, int]) -> Int[Array, " 2"]:
    """(2,) integer first pixel of the window whose centre pixel is nearest to a position."""
    return jnp.round(position_px).astype(jnp.int32) - jnp.asarray([shape[0] // 2, shape[1] // 2], jnp.int32)


class Views(NamedTuple):
    """Where the members of a group look. first (m, 2): first object pixel of the window; shift_y (m, ny),
    shift_x (m, nx): Fourier factors that move the probe by the fraction of a pixel that `corner` leaves over."""

    first: Int[Array, "slot 2"]
    shift_y: Complex[Array, "slot ny"]
    shift_x: Complex[Array, "slot nx"]

    def shift(self, slot: Index) -> Wave:
        """(ny, nx) Fourier factor of one member; a product of two tables, since an exponential per pixel costs as
        much as two Fourier transforms."""
        return self.shift_y[slot][:, None] * self.shift_x[slot][None, :]


def views(positions_px: Float[Array, "slot 2"], shape: tuple[int, int], o: Optical) -> Views:
    """Windows of positions (m, 2)."""
    fraction = positions_px - jnp.round(positions_px)
    first = jax.vmap(lambda p: corner(p, shape))(positions_px)
    shift_y = jnp.exp(-2j * jnp.pi * fraction[:, :1] * o.ky[:, 0])
    return Views(first, shift_y, jnp.exp(-2j * jnp.pi * fraction[:, 1:] * o.kx[0]))


class Probes(NamedTuple):
    """The probe of each position. spectrum: (mode, ky, kx), of a probe at the window's centre. basis (k, ky, kx) and
    weights (position, k): what is added to the first mode, or None. scan: (position,) number of each one's scan, where
    the spectrum is (scan, mode, ky, kx); else None."""

    spectrum: Probe
    basis: Basis | None
    weights: Float[Array, "position varying"] | None
    scan: Int[Array, " position"] | None = None

    def at(self, index: Index) -> Modes:
        """(mode, ky, kx) at a position."""
        if self.basis is None:
            return self.of(self.spectrum, index)
        return self.spectrum.at[0].add(jnp.einsum("k,kyx->yx", self.weights[index], self.basis))

    def of(self, each: Array, index: Index | Indices) -> Array:
        """What belongs to the scans of one or several positions; the whole where there is one scan."""
        return each if self.scan is None else each[self.scan[index]]

    def added(self, sums: Probe, changes: Array, indices: Index | Indices) -> Probe:
        """A sum of the probes' kind and the changes (slot, mode, ky, kx) of positions, or (mode, ky, kx) of one."""
        if self.scan is not None:
            return sums.at[self.scan[indices]].add(changes)
        return sums + (changes if changes.ndim == 3 else jnp.sum(changes, axis=0))

    def counts(self, indices: Indices, count: Index) -> Array:
        """How many of the first `count` indices are of each scan, (scan, 1, 1, 1); without scans the count itself."""
        if self.scan is None:
            return count
        member = jnp.arange(len(indices)) < count
        one = jnp.zeros(len(self.spectrum), jnp.int32)
        return one.at[self.scan[indices]].add(member.astype(jnp.int32))[:, None, None, None]


def probes_of(state: ReconState) -> Probes:
    """The probes of a state's positions."""
    basis = None if state.opr_modes is None else fft2(state.opr_modes)
    return Probes(fft2(state.probe), basis, state.opr_weights, state.scan)


def take(canvas: AnyCanvas, first: Int[Array, " 2"], shape: tuple[int, int]) -> Inexact[Array, "slice ny nx"]:
    """Window (slice, *shape) of a canvas (slice, y, x)."""
    return jax.lax.dynamic_slice(canvas, (jnp.zeros_like(first[0]), first[0], first[1]), (canvas.shape[0], *shape))


def put_patch(canvas: AnyCanvas, patch: Inexact[Array, "slice ny nx"], first: Int[Array, " 2"]) -> AnyCanvas:
    """The canvas (slice, y, x) with one window's content replaced."""
    return jax.lax.dynamic_update_slice(canvas, patch, (jnp.zeros_like(first[0]), first[0], first[1]))


def add_patches(
    canvas: AnyCanvas, patches: Inexact[Array, "position slice ny nx"], firsts: Int[Array, "position 2"]
) -> AnyCanvas:
    """Canvas (slice, y, x) plus patches (position, slice, ny, nx) at their first pixels (position, 2).

    On an accelerator all at once, in whatever order: sums of several patches differ in their last bits from run to run.
    """
    if accelerator.used():
        return _scattered(canvas, patches, firsts)
    shape = patches.shape[-2:]

    def add(i: Index, canvas: AnyCanvas) -> AnyCanvas:
        return put_patch(canvas, take(canvas, firsts[i], shape) + patches[i], firsts[i])

    return jax.lax.fori_loop(0, patches.shape[0], add, canvas)


def _scattered(
    canvas: AnyCanvas, patches: Inexact[Array, "position slice ny nx"], firsts: Int[Array, "position 2"]
) -> AnyCanvas:
    # apart from what makes the patches: fused with that, it would be made again for each of several canvases
    patches = jax.lax.optimization_barrier(patches)
    if jnp.iscomplexobj(canvas):  # accelerators add real numbers without locks
        parts = (_scattered(*pair, firsts) for pair in ((canvas.real, patches.real), (canvas.imag, patches.imag)))
        return jax.lax.complex(*parts)
    windows = jax.lax.ScatterDimensionNumbers((1, 2, 3), (), (1, 2))
    return jax.lax.scatter_add(canvas, firsts, patches, windows, mode=jax.lax.GatherScatterMode.PROMISE_IN_BOUNDS)


def exit_waves(probe: Modes, patch: Complex[Array, "slice *own ny nx"], propagators: Propagators) -> Modes:
    """Exit waves (mode, y, x) of shifted probe modes (mode, y, x) through a patch (slice, y, x), or one for each mode
    (slice, mode, y, x)."""
    wave = probe * patch[0]
    if patch.shape[0] == 1:
        return wave

    def step(wave: Array, slice_: tuple[Array, Array]) -> tuple[Array, None]:
        transmission, p = slice_
        return ifft2(fft2(wave) * p) * transmission, None

    return jax.lax.scan(step, wave, (patch[1:], propagators))[0]


def seen_by(probe: Modes, patch: Patch, modes: str) -> tuple[Modes, Complex[Array, "slice *own ny nx"]]:
    """Probe and patch (slice, mode, y, x) whose derivative is zero for modes that don't update the object."""
    if modes == "all" or probe.shape[0] == 1:
        return probe, patch
    others = jnp.broadcast_to(jax.lax.stop_gradient(patch)[:, None], (len(patch), len(probe) - 1, *patch.shape[1:]))
    return probe, jnp.concatenate([patch[:, None], others], axis=1)


def lit_exit_waves(
    probe: Modes, patch: Complex[Array, "slice *own ny nx"], propagators: Propagators, modes: str = "all"
) -> tuple[Modes, Float[Array, "slice ny nx"]]:
    """`exit_waves`, and the intensity (slice, y, x), summed over the modes that update the object, that falls on each
    slice."""

    def lit(wave: Modes) -> Lit:
        wave = wave if modes == "all" else wave[:1]
        return jnp.sum(wave.real**2 + wave.imag**2, axis=0)

    first = lit(probe)[None]
    wave = probe * patch[0]
    if patch.shape[0] == 1:
        return wave, first

    def step(wave: Array, slice_: tuple[Array, Array]) -> tuple[Array, Array]:
        transmission, p = slice_
        incident = ifft2(fft2(wave) * p)
        return incident * transmission, lit(incident)

    wave, more = jax.lax.scan(step, wave, (patch[1:], propagators))
    return wave, jnp.concatenate([first, more])


def compare_with_data(
    wave: Modes, pattern: Pattern, weight: Scalar, problem: Problem, noise: str, gradient: bool = False
) -> tuple[Modes, Pattern]:
    """Wave step (mode, y, x) that the data ask for and the loss of each pixel (ky, kx), of one position's exit wave.

    Losses are summed over positions first and over pixels at the end: that is quicker, and rounds less.
    weight: the pattern's intensity factor. Masked pixels have neither step nor loss. gradient: give the negative
    gradient of the loss with respect to conj(wave) instead of the curvature-scaled step.
    """
    far_step, loss = compare_far(fft2(wave), pattern, weight, problem, noise, gradient)
    return ifft2(far_step), loss


def compare_far(
    far: Modes, pattern: Pattern, weight: Scalar, problem: Problem, noise: str, gradient: bool = False
) -> tuple[Modes, Pattern]:
    """`compare_with_data` for a wave on the detector (mode, *window): the step is one there, too."""
    model = NOISE_MODELS[noise]
    expected = problem.expected(far, weight)
    loss = problem.mask * model.nll(expected, pattern, problem.offset)
    factor = -model.slope(expected, pattern, problem.offset)
    factor = factor * weight if gradient else factor * 2 / model.curvature(expected, pattern, problem.offset)
    return problem.seen_back(problem.mask * factor, far.shape[-2:], gradient) * far, loss


def exit_waves_and_adjoint(
    probe: Modes, patch: Patch, propagators: Propagators, modes: str = "all"
) -> tuple[Modes, Adjoint]:
    """`exit_waves`, and a function that applies the adjoint of its Jacobian to a wave (mode, y, x): (d probe, d patch).
    modes: which of them contribute to d patch, all or first.

    `exit_waves` is holomorphic, so the adjoint is the conjugate of JAX's transposed product of the conjugate. The
    waves between the slices are kept for it: nothing is propagated twice.
    """
    wave, pull = jax.vjp(lambda p, o: exit_waves(*seen_by(p, o, modes), propagators), probe, patch)

    def adjoint(step: Array) -> tuple[Array, Array]:
        d_probe, d_patch = pull(jnp.conj(step))
        return jnp.conj(d_probe), jnp.conj(d_patch)

    return wave, adjoint


def chunk_size(shape: tuple[int, int], modes: int, group: int) -> int:
    """Positions worked on at once: one on a CPU, where a chunk must stay in a core's cache and its windows must be
    slices rather than gathers; as many as fit into CHUNK_ELEMENTS on an accelerator."""
    if not accelerator.used():
        return 1
    return max(1, min(group, CHUNK_ELEMENTS // (shape[0] * shape[1] * modes)))


def over_chunks(
    count: Index,
    size: int,
    chunk: int,
    body: Callable[[Sums, Int[Array, " chunk"], Bool[Array, " chunk"]], Sums],
    zero: Sums,
    first: Index = 0,
) -> Sums:
    """Fold `body(carry, slots (chunk,), weight (chunk,))` over the members `first` to `count` of a group of `size`.

    Slots beyond `count` in the last chunk have weight zero; further chunks are not computed. The carry is a sum that
    starts at `zero`: where several cores share the work (`cores.py`), each folds its share and the sums are added.
    """
    if accelerator.used() and chunk >= size:  # a loop of one pass would wait for its count
        slots = first + jnp.arange(size)
        return body(zero, jnp.minimum(slots, size - 1), slots < count)
    share, shares = cores.share(), cores.shares()

    def one(i: Index, carry: Sums) -> Sums:
        slots = first + (i * shares + share) * chunk + jnp.arange(chunk)
        return body(carry, jnp.minimum(slots, size - 1), slots < count)

    chunks = (count - first + chunk - 1) // chunk
    return cores.add(jax.lax.fori_loop(0, (chunks - share + shares - 1) // shares, one, zero))
