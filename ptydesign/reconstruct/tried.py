"""Tiny cases on which users' functions are tried before work starts: shapes, finite values, gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ptydesign.functions import Place
from ptydesign.grids import Grid
from ptydesign.types import Dataset, Optics, ReconState

PIXELS, CANVAS, SLICES, MODES = (12, 10), (30, 27), 2, 2
STEP = 1e-6  # of the numerical derivative, in double precision
AGREE = 1e-3  # relative, of both derivatives


def dataset() -> Dataset:
    """Six patterns of 12 x 10 pixels."""
    rng = np.random.default_rng(1)
    where = np.stack(np.meshgrid([4.0, 7.0], [4.0, 6.0, 8.0], indexing="ij"), -1).reshape(-1, 2)
    return Dataset(
        patterns=rng.poisson(3.0, (len(where), *PIXELS)).astype(np.float32),
        positions_a=where,
        grid=Grid(PIXELS, (0.5, 0.5)),
        voltage_kv=80.0,
        mask=np.ones(PIXELS, np.float32),
        optics=Optics(voltage_kv=80.0, semiangle_rad=0.02),
    )


def states(real: type = np.float32) -> list[ReconState]:
    """Two states of one shape: random, and vacuum as reconstructions start from. real: type of real numbers."""
    rng, complex_ = np.random.default_rng(2), np.result_type(real, np.complex64)
    shape = (SLICES, *CANVAS)
    random = (1 + 0.1 * rng.normal(size=shape)) * np.exp(0.3j * rng.normal(size=shape))
    probe = rng.normal(size=(MODES, *PIXELS)) + 1j * rng.normal(size=(MODES, *PIXELS))
    positions = dataset().positions_a / 0.5 + 2
    rest = {
        "probe": probe,
        "positions_px": positions,
        "intensity": np.ones(len(positions)),
        "tilt_rad": np.zeros(2),
        "thickness_a": np.full(SLICES, 10.0),
        "pixel_a": np.full(2, 0.5),
        "origin_a": np.full(2, -1.0),
        "wavelength_a": np.asarray(0.04),
    }
    found = [ReconState(object=object_, **rest) for object_ in (random, np.ones(shape, complex))]
    return [jax.tree.map(lambda a: np.asarray(a, complex_ if np.iscomplexobj(a) else real), one) for one in found]


def finite(place: Place, value: Any, what: str = "values") -> None:
    """Raises InputError unless all numbers are finite."""
    wrong = np.asarray(value)[~np.isfinite(value)]
    if wrong.size:
        mend = "Look for a division by zero, or a root or logarithm at zero; jnp.where doesn't shield a gradient."
        raise place.error(f"must give finite {what}", f"{wrong.size} that are not, as {wrong[0]}", mend)


def shaped(place: Place, value: Any, shape: tuple[int, ...], what: str, kinds: str = "f") -> None:
    """Raises InputError unless a value is an array of this shape, of real (f) or complex (c) numbers."""
    value = value if hasattr(value, "dtype") else np.asarray(value) if np.isscalar(value) else None
    if value is None or tuple(value.shape) != tuple(shape) or value.dtype.kind not in kinds:
        found = "no array" if value is None else f"shape {tuple(value.shape)} of {value.dtype}"
        word = {"f": "real", "c": "complex"}[kinds]
        raise place.error(f"must give {what}, shape {tuple(shape)} of {word} numbers", found, "Return that.")


def same_kind(place: Place, before: ReconState, after: Any) -> None:
    """Raises InputError unless a state has the arrays of the one before, of the same shapes and types: others would be
    compiled anew in each sweep, or not at all."""
    if not isinstance(after, ReconState):
        raise place.error("must give a state", type(after).__name__, "Return state.replace(...).")
    for name, old in vars(before).items():
        new = getattr(after, name)
        kinds = [None if a is None else (jnp.shape(a), str(jnp.result_type(a))) for a in (old, new)]
        if kinds[0] != kinds[1]:
            rule = f"must leave the shape and type of the state's {name} as they are, {kinds[0]}"
            raise place.error(rule, kinds[1], "Another one would be compiled anew in each sweep.")


def gradient(place: Place, both: Callable[[Any], tuple[Any, Any]], at: Any, what: str) -> None:
    """Raises InputError unless a gradient is finite and that of its function. both: of arrays (a tree), gives a real
    number and its gradient as JAX does. To be called in double precision."""
    _, slopes = both(at)
    for leaf in jax.tree.leaves(slopes):
        finite(place, leaf, f"gradients in {what}")
    rng = np.random.default_rng(3)

    def along(a: Any) -> np.ndarray:
        d = rng.normal(size=np.shape(a))
        return d + 1j * rng.normal(size=d.shape) if np.iscomplexobj(a) else d

    direction = jax.tree.map(along, at)
    ends = [jax.tree.map(lambda a, d, s=sign: np.asarray(a) + s * STEP * d, at, direction) for sign in (1, -1)]
    up, down = (float(both(end)[0]) for end in ends)
    numeric = (up - down) / (2 * STEP)
    # JAX gives d/dx - i d/dy of a real function
    parts = [(np.asarray(s) * d).real for s, d in zip(*map(jax.tree.leaves, (slopes, direction)), strict=True)]
    exact, size = (sum(float(np.sum(f(part))) for part in parts) for f in (np.asarray, np.abs))
    if abs(numeric - exact) > AGREE * max(size, abs(numeric)) + 1e-6:
        rule = f"must be differentiable by JAX: along a random direction in {what} it changes by {numeric:.4g}"
        mend = "Avoid rounding, comparisons and jax.lax.stop_gradient."
        raise place.error(rule, _Gradient(exact), mend)


class _Gradient(float):
    """A gradient in an error's text."""

    def __repr__(self) -> str:
        return f"a gradient of {float(self):.4g}"
