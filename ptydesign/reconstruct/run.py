"""The only loop. A sweep over all groups is one compiled function; between sweeps: schedules, history, stops."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from ptydesign.errors import InputError
from ptydesign.reconstruct import refine
from ptydesign.reconstruct.batches import padded_groups
from ptydesign.reconstruct.engine import Engine, EngineConfig, Group, Memory, Parameters, Static
from ptydesign.reconstruct.engines import ENGINES
from ptydesign.reconstruct.forward import Problem, optical
from ptydesign.reconstruct.plan import Plan
from ptydesign.reconstruct.start import start_state
from ptydesign.types import Dataset, Outcome, ReconState

Observer = Callable[[int, float, ReconState], None]

DIVERGED = 10.0  # times the first sweep's loss


@dataclass(frozen=True)
class History:
    """loss: (sweeps,) negative log-likelihood per measured electron, summed over a sweep's groups as they were met."""

    loss: np.ndarray


def reconstruct(
    dataset: Dataset, plan: Plan, seed: int = 0, observers: Sequence[Observer] = ()
) -> tuple[ReconState, History, Outcome]:
    """Reconstruct a dataset.

    observers are called after each sweep with (sweep, loss, state). A diverged run is an outcome, not an exception.
    The result is a function of (dataset, plan, seed) on one kind of machine.
    """
    x64 = plan.precision == "double"
    with jax.enable_x64(True) if x64 else nullcontext():
        return _reconstruct(dataset, plan, seed, observers, np.float64 if x64 else np.float32)


def _reconstruct(dataset, plan, seed, observers, real):
    rng = np.random.default_rng([seed, 0x7265636F])
    count = len(dataset.positions_a)
    room = capacity(count)
    state = _to_device(_pad_positions(start_state(dataset, plan), room), real)
    _check_inside(state, count)
    losses: list[float] = []
    for settings in plan.engines:
        problem = make_problem(dataset, settings, room, real)
        state, outcome = _run_engine(state, problem, settings, count, rng, losses, observers)
        if outcome.status == "diverged":
            break
    kept = state.replace(positions_px=state.positions_px[:count], intensity=state.intensity[:count])
    return jax.tree.map(np.asarray, kept), History(np.asarray(losses)), outcome


def _run_engine(state, problem, settings: EngineConfig, count, rng, losses, observers):
    engine = ENGINES[settings.engine]
    compact = settings.batches == "compact"
    static: Static = (*settings.static(), ("compact", compact))
    room = problem.patterns.shape[0]
    shape = (-(-room // settings.group), settings.group)
    positions = np.asarray(state.positions_px)[:count]
    memory = engine.init(state, static)
    electrons = float(problem.counts) * count
    best = np.inf
    for sweep in range(settings.sweeps):
        indices, counts = padded_groups(positions, settings.group, settings.batches, rng, shape)
        groups = Group(jnp.asarray(indices), jnp.asarray(counts))
        parameters = {n: jnp.asarray(v, state.positions_px.dtype) for n, v in settings.parameters().items()}
        parameters["probe_on"] = jnp.asarray(float(sweep >= settings.probe_start), state.positions_px.dtype)
        parameters |= {n: jnp.asarray(v, state.positions_px.dtype) for n, v in settings.starts(sweep).items()}
        number = jnp.asarray(-(-count // settings.group), jnp.int32)
        state, memory, loss = one_sweep(state, memory, problem, groups, number, parameters, engine, static)
        losses.append(float(loss) / electrons)
        for observe in observers:
            observe(len(losses), losses[-1], state)
        best = min(best, losses[-1])
        if not np.isfinite(losses[-1]) or losses[-1] > DIVERGED * losses[0]:
            reason = (
                f"{settings.engine} diverged in sweep {len(losses)}: loss {losses[-1]:.3g} after a best of {best:.3g}. "
                "Lower its steps or its momentum."
            )
            return state, Outcome("diverged", reason, len(losses))
    return state, Outcome("budget_spent", f"All {len(losses)} sweeps done.", len(losses))


@functools.partial(jax.jit, static_argnames=("engine", "static"), donate_argnums=(0, 1))
def one_sweep(
    state: ReconState,
    memory: Memory,
    problem: Problem,
    groups: Group,
    number: jax.Array,
    parameters: Parameters,
    engine: Engine,
    static: Static,
) -> tuple[ReconState, Memory, jax.Array]:
    """All groups of a sweep (the first `number` rows), then the engine's end of a sweep. Returns the summed loss."""
    derived = optical(state, state.probe.shape[-2:])
    before = state
    total_members = jnp.sum(groups.count)

    def body(i, carry):
        state, memory, total = carry
        members = Group(groups.indices[i], groups.count[i])
        state = refine.group(state, members.indices, members.count, problem, derived, parameters, static, total_members)
        state, memory, loss = engine.group(state, memory, members, problem, derived, parameters, static)
        return clamp(state, parameters["max_amplitude"]), memory, total + loss

    start = (state, memory, jnp.zeros((), state.positions_px.dtype))
    state, memory, loss = jax.lax.fori_loop(0, number, body, start)
    state, memory = engine.sweep(state, memory, groups, problem, derived, parameters, static)
    state = refine.sweep(state, before, (groups.indices, groups.count), problem, parameters, static)
    return orthogonal_modes(clamp(state, parameters["max_amplitude"])), memory, loss


def clamp(state: ReconState, largest: jax.Array) -> ReconState:
    """Object amplitudes above `largest` are reduced to it; phases stay."""
    amplitude = jnp.abs(state.object)
    return state.replace(object=state.object * jnp.minimum(1.0, largest / jnp.maximum(amplitude, 1e-20)))


def orthogonal_modes(state: ReconState) -> ReconState:
    """Probe modes rotated to be orthogonal, in order of power; the sum of their intensities stays as it is."""
    modes = state.probe.shape[0]
    if modes == 1:
        return state
    flat = state.probe.reshape(modes, -1)
    _, vectors = jnp.linalg.eigh(flat @ jnp.conj(flat.T))
    rotated = jnp.conj(vectors[:, ::-1].T) @ flat
    return state.replace(probe=rotated.reshape(state.probe.shape))


def capacity(count: int) -> int:
    """Positions are padded to 32 times a power of two, or one and a half times that: few shapes are compiled."""
    size = 32
    while size < count:
        size = size * 3 // 2 if (size & (size - 1)) == 0 else size * 4 // 3
    return size


def make_problem(dataset: Dataset, settings: EngineConfig, room: int, real: type) -> Problem:
    """The dataset as arrays on the device, padded to `room` positions."""
    count = len(dataset.patterns)
    patterns = np.zeros((room, *dataset.grid.shape), real)
    patterns[:count] = dataset.patterns * dataset.mask
    mean = float(patterns[:count].mean())
    background = np.zeros(dataset.grid.shape) if dataset.background is None else dataset.background
    if mean == 0:
        raise InputError("dataset.patterns", "must hold at least one count", 0, "Raise the dose, or check the mask.")
    return Problem(
        patterns=jnp.asarray(patterns),
        mask=jnp.asarray(dataset.mask, real),
        background=jnp.asarray(background, real),
        offset=jnp.asarray(settings.offset * mean, real),
        counts=jnp.asarray(mean * dataset.mask.size, real),
        nominal_a=jnp.asarray(_padded(dataset.positions_a, room), real),
    )


def _pad_positions(state: ReconState, room: int) -> ReconState:
    more = room - len(state.positions_px)
    return state.replace(
        positions_px=_padded(state.positions_px, room), intensity=np.concatenate([state.intensity, np.ones(more)])
    )


def _padded(positions: np.ndarray, room: int) -> np.ndarray:
    return np.concatenate([positions, np.repeat(positions[:1], room - len(positions), axis=0)])


def _to_device(state: ReconState, real: type) -> ReconState:
    complex_ = np.complex128 if real is np.float64 else np.complex64
    return jax.tree.map(lambda a: jnp.asarray(a, complex_ if np.iscomplexobj(a) else real), state)


def _check_inside(state: ReconState, count: int) -> None:
    shape, half = np.asarray(state.object.shape[-2:]), np.asarray(state.probe.shape[-2:]) // 2
    positions = np.asarray(state.positions_px)[:count]
    if np.any(positions < half) or np.any(positions > shape - half - 1):
        worst = positions[np.argmax(np.max(np.abs(positions - shape / 2), axis=1))]
        raise InputError("positions", "must lie inside the object", worst.tolist(), "Enlarge the object.")
