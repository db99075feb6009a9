"""How badly a reconstruction explains patterns, those that it has seen or others."""

from __future__ import annotations

import functools
from contextlib import nullcontext

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ptydesign.errors import InputError
from ptydesign.mtf import mtf
from ptydesign.reconstruct.forward import Problem, compare_far, exit_waves, optical, probes_of, take, views
from ptydesign.reconstruct.scans import numbers_of
from ptydesign.reconstruct.shapes import Index, Points, Scalar
from ptydesign.types import Dataset, ReconState
from ptydesign.waves import fft2, ifft2


def misfit(state: ReconState, dataset: Dataset, noise: str, offset: float) -> float:
    """Negative log-likelihood per measured electron of all patterns of a dataset: see `misfits`."""
    electrons = float((dataset.patterns * dataset.mask).mean()) * dataset.mask.size * len(dataset.patterns)
    return float(np.sum(misfits(state, dataset, noise, offset)) / electrons)


def misfits(state: ReconState, dataset: Dataset, noise: str, offset: float) -> Float[np.ndarray, " position"]:
    """Negative log-likelihood of each pattern of a dataset.

    The state's object and probe at the dataset's own positions, which must be the nominal ones that the reconstruction
    used (refined positions are those of the patterns that it saw) and lie on its canvas. noise, offset: as an engine's
    settings. Raises InputError if a pattern's window leaves the canvas.
    """
    double = np.asarray(state.object).dtype == np.complex128
    real = np.float64 if double else np.float32
    shape, window = dataset.grid.shape, np.asarray(state.probe.shape[-2:])
    positions = (dataset.positions_a - np.asarray(state.origin_a)) / np.asarray(state.pixel_a)
    first = np.rint(positions) - window // 2
    if np.any(first < 0) or np.any(first + window > state.object.shape[-2:]):
        raise InputError("positions", "must lie on the reconstruction", "a window leaves it", "Give patterns inside.")
    mean = float((dataset.patterns * dataset.mask).mean())
    background = np.zeros(shape) if dataset.background is None else dataset.background
    transfer = mtf(shape, dataset.mtf_nyquist)
    with jax.enable_x64(True) if double else nullcontext():
        problem = Problem(
            patterns=jnp.asarray(dataset.patterns * dataset.mask, real),
            mask=jnp.asarray(dataset.mask, real),
            background=jnp.asarray(background, real),
            offset=jnp.asarray(offset * mean, real),
            counts=jnp.asarray(mean * dataset.mask.size, real),
            transfer=None if transfer is None else jnp.asarray(transfer, real),
            scan=None if background.ndim == 2 else jnp.asarray(numbers_of(dataset)),
        )
        state = jax.tree.map(jnp.asarray, state.replace(scan=numbers_of(dataset)))
        return np.asarray(_losses(state, problem, jnp.asarray(positions, real), noise), np.float64)


@functools.partial(jax.jit, static_argnames="noise")
def _losses(state: ReconState, problem: Problem, positions: Points, noise: str) -> Float[Array, " position"]:
    """(position,) negative log-likelihood."""
    shape = state.probe.shape[-2:]
    o = optical(state, shape)
    seen, probes = views(positions, shape, o), probes_of(state.replace(opr_modes=None, opr_weights=None))

    def one(index: Index) -> Scalar:
        probe = ifft2(probes.at(index) * seen.shift(index))
        wave = exit_waves(probe, take(state.object, seen.first[index], shape), o.propagators)
        weight = jnp.ones((), positions.dtype)
        return jnp.sum(compare_far(fft2(wave), problem.patterns[index], weight, problem.of(index), noise)[1])

    return jax.lax.map(one, jnp.arange(len(positions)))
