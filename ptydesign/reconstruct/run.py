"""The only loop. A sweep is compiled (`sweep`); between sweeps: schedules, history, stops, checkpoints."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float, Int32

from ptydesign import accelerator
from ptydesign.errors import InputError
from ptydesign.mtf import mtf
from ptydesign.reconstruct import accelerate, cores, feed, position_search, refine, shifts
from ptydesign.reconstruct.batches import padded_groups, sizes_of
from ptydesign.reconstruct.checkpoint import (
    Checkpoints,
    Record,
    Saved,
    check_cores,
    identity,
    load,
    restored_memory,
    save,
)
from ptydesign.reconstruct.context import Context, Groups, Parameters
from ptydesign.reconstruct.engine import Engine, EngineConfig, Memory
from ptydesign.reconstruct.engines import ENGINES
from ptydesign.reconstruct.forward import Problem
from ptydesign.reconstruct.observers import OBSERVERS, Observer
from ptydesign.reconstruct.pixels import pixels_of
from ptydesign.reconstruct.plan import Plan
from ptydesign.reconstruct.resample import fit_spectrum, resample_dataset, resample_state
from ptydesign.reconstruct.scans import numbers_of
from ptydesign.reconstruct.schedule import Clock
from ptydesign.reconstruct.start import start_state
from ptydesign.reconstruct.sweep import one_sweep, sweep_in_chunks
from ptydesign.types import Dataset, Outcome, ReconState

Meter = Callable[[float, float], None]

LOG = logging.getLogger(__name__)
DIVERGED = 10.0  # times the first sweep's loss


@dataclass(frozen=True)
class History:
    """One entry for each sweep. loss: negative log-likelihood per measured electron, summed over a sweep's groups as
    they were met, without costs of regularisers; work_gflop: Fourier transforms since the start, by the engines'
    formulas; seconds: wall clock since the start."""

    loss: np.ndarray
    work_gflop: np.ndarray
    seconds: np.ndarray


def reconstruct(
    dataset: Dataset,
    plan: Plan,
    seed: int = 0,
    observers: Sequence[Observer] = (),
    checkpoints: Checkpoints | None = None,
    resume: Path | None = None,
    chunk_gib: float | None = None,
    meter: Meter | None = None,
    most: int | None = None,
) -> tuple[ReconState, History, Outcome]:
    """Reconstruct a dataset.

    observers are called after each sweep with (sweep, loss, state); a state is valid during the call only. A
    reconstruction ends when one returns True, as if it were the sweep of `most`. meter is
    called before them with what is spent so far, (GFLOP, seconds). A diverged run is an outcome, not an exception. The
    result is a function of (dataset, plan, seed) on one kind of machine, except where the plan limits seconds.
    checkpoints: where to write them; resume: a checkpoint of the same dataset, plan and seed to go on from, with the
    result that an unbroken run would have had. Raises InputError if it is another's.
    chunk_gib: patterns that take more stay on the host and reach the device in chunks of at most so many GiB, with the
    same result; None: where they take more than half of the device's free memory; inf: never. Raises InputError if an
    engine needs more of them at once.
    most: ends after so many sweeps, as if it had been looked at then; None: goes on to the plan's end.
    """
    if plan.calibrate.offsets:
        rule = "must have been searched: `calibrated` of reconstruct.calibrate gives the plan to reconstruct with"
        raise InputError("calibrate", rule, dict(plan.calibrate.offsets), "Leave it out here.")
    x64 = plan.precision == "double"
    observers = [*observers, *(OBSERVERS[name]() for name in plan.observers)]
    with jax.enable_x64(True) if x64 else nullcontext(), accelerator.exact():
        real = np.float64 if x64 else np.float32
        return _reconstruct(dataset, plan, seed, observers, checkpoints, resume, chunk_gib, meter, real, most)


def _reconstruct(
    dataset: Dataset,
    plan: Plan,
    seed: int,
    observers: Sequence[Observer],
    checkpoints: Checkpoints | None,
    resume: Path | None,
    chunk_gib: float | None,
    meter: Meter | None,
    real: type,
    most: int | None,
) -> tuple[ReconState, History, Outcome]:
    dataset = plan.corrected(dataset)
    rng = np.random.default_rng([seed, 0x7265636F])
    count = len(dataset.positions_a)
    room = capacity(count)
    hosts = _hosts(dataset, plan, room, real, chunk_gib)
    who = identity(dataset, plan, seed) if checkpoints or resume else {}
    saved = load(resume, who, plan) if resume else None
    if saved is None:
        record, state = Record(), to_device(pad_positions(start_state(dataset, plan), room), real)
        check_inside(state, count)
    else:
        check_cores(saved, resume)
        record, state = saved.record, to_device(saved.state, real)
        rng.bit_generator.state = saved.rng
    clock = Clock(record.seconds[-1] if record.seconds else 0.0)
    kept_s = clock.seconds

    def keep(state: ReconState, memory: Memory, positions: np.ndarray) -> None:
        if checkpoints:
            content = Saved(record, state, jax.tree.leaves(memory), positions, rng.bit_generator.state, cores.number())
            save(checkpoints.path, content, who, plan)

    for number in range(record.engine, len(plan.engines)):
        settings = plan.engines[number]
        engine, options = ENGINES[settings.engine], settings.options()
        over = engine.cores()
        if saved is None:
            if settings.resample is not None:
                changed = jax.tree.map(np.asarray, state)
                state = to_device(resample_state(changed, settings.resample, plan.probe.window), real)
                check_inside(state, count)
            record.engine, record.sweep, record.first = number, 0, len(record.loss)
            memory = accelerate.init(engine.init(state, options), state, options)
            positions = np.asarray(state.positions_px)[:count]
        else:
            fresh = accelerate.init(engine.init(state, options), state, options)
            memory = restored_memory(fresh, saved.memory, resume)
            positions, saved = saved.batch_positions, None
        LOG.info(_engine_words(plan, number, record.sweep))
        state, memory = cores.placed((state, memory), over)
        host, sent = hosts[number], Sent(real)
        if host is None:
            pixels = pixels_of(state.probe.shape[-2:], plan.probe.window)
            problem = make_problem(resample_dataset(dataset, pixels), settings, room, real, over)
        else:
            problem = cores.placed(small_problem(dataset, host.pixels, settings, room, real), over)
        electrons = float(problem.counts) * count
        while True:
            cost = work_gflop(engine, settings, count, state, record.sweep)
            outcome, last = ended(plan, settings, record, clock, cost, most)
            if outcome is not None:
                break
            indices, counts = groups_of(positions, settings, rng, room)
            context = Context(problem, sent.parameters(values_at(settings, record.sweep)), options)
            if position_search.due(settings, record.sweep):
                worst = position_search.searched(settings, count, record.sweep)
                state = position_search.search(state, context, worst, over, host)
            if host is None:
                groups = Groups(jnp.asarray(indices), jnp.asarray(counts))
                state, memory, loss = one_sweep(state, memory, groups, context, engine)
            else:
                state, memory, loss = sweep_in_chunks(state, memory, indices, counts, context, engine, host)
            record.swept(float(loss) / electrons, cost, clock.seconds)
            if meter is not None:
                meter(record.work_gflop[-1], record.seconds[-1])
            done = [observe(len(record.loss), record.loss[-1], state) is True for observe in observers]
            if any(done):
                most = len(record.loss)
            if checkpoints and checkpoints.due(len(record.loss), clock.seconds - kept_s):
                keep(state, memory, positions)
                kept_s = clock.seconds
        if last:
            break
        if outcome.status != "all_sweeps_done":  # which speaks of the whole plan
            LOG.info(outcome.reason)
    keep(state, memory, positions)
    return without_padding(state, count), history_of(record), outcome


def _engine_words(plan: Plan, number: int, done: int) -> str:
    """What an engine of a plan is about to do; done: its sweeps so far."""
    one = plan.engines[number]
    of = f"engine {number + 1} of {len(plan.engines)}, " if len(plan.engines) > 1 else ""
    left = f" after {done}" if done else ""
    return f"{of}{one.engine}: {one.sweeps} sweeps{left}, groups of {one.group}, {one.noise} noise"


def without_padding(state: ReconState, count: int) -> ReconState:
    """A state with its first `count` positions, as NumPy arrays."""
    kept = state.replace(positions_px=state.positions_px[:count], intensity=state.intensity[:count])
    if state.opr_weights is not None:
        kept = kept.replace(opr_weights=state.opr_weights[:count])
    if state.scan is not None:
        kept = kept.replace(scan=state.scan[:count])
    return jax.tree.map(np.asarray, kept)


def history_of(record: Record) -> History:
    """The history of what was recorded."""
    return History(*(np.asarray(a, float) for a in (record.loss, record.work_gflop, record.seconds)))


def ended(
    plan: Plan, settings: EngineConfig, record: Record, clock: Clock, next_gflop: float, most: int | None
) -> tuple[Outcome | None, bool]:
    """The outcome if the present engine must not begin another sweep, and whether that ends the whole run."""
    done, own = len(record.loss), record.own_loss
    worse = own and settings.stop.worse is not None and own[-1] > settings.stop.worse * np.nanmin(own)
    if own and (not np.isfinite(own[-1]) or own[-1] > DIVERGED * own[0] or worse):
        best = np.nanmin([np.inf, *own])
        reason = (
            f"{settings.engine} diverged in sweep {done}: loss {own[-1]:.3g} after a best of {best:.3g}. "
            "Lower its steps or its momentum."
        )
        return Outcome("diverged", reason, done), True
    work = record.work_gflop[-1] if record.work_gflop else 0.0
    spent = plan.budget.spent(clock.seconds, work, next_gflop) if done else None
    if spent:
        return Outcome("budget_spent", f"The plan's budget ended it after sweep {done}: {spent}.", done), True
    if most is not None and done >= most:
        if done < plan.sweeps:
            return Outcome("stopped", f"Stopped after sweep {done} of {plan.sweeps}, as asked.", done), True
        return _all_done(done), True
    last = record.engine == len(plan.engines) - 1
    change = settings.stop.converged(own)
    if change is not None:
        reason = (
            f"{settings.engine} converged in sweep {done}: the loss changed by {change:.2g} of its value, "
            f"less than {settings.stop.tolerance:g}, from {settings.stop.window} sweeps to the next."
        )
        return Outcome("converged", reason, done), last
    before_s, before = (
        (record.seconds[record.first - 1], record.work_gflop[record.first - 1]) if record.first else (0, 0)
    )
    spent = settings.stop.spent(clock.seconds - before_s, work - before, next_gflop) if own else None
    if spent:
        reason = f"The budget of {settings.engine} ended it after sweep {done}: {spent}."
        return Outcome("budget_spent", reason, done), last
    if record.sweep >= settings.sweeps:
        return _all_done(done), last
    return None, False


def _all_done(sweeps: int) -> Outcome:
    words = "The only sweep of the plan is done." if sweeps == 1 else f"All {sweeps} sweeps of the plan are done."
    return Outcome("all_sweeps_done", words, sweeps)


def values_at(settings: EngineConfig, sweep: int) -> dict[str, float]:
    """The continuous settings of one of the engine's sweeps, and the switches of what it updates."""
    values = {**settings.parameters_at(sweep), **settings.starts(sweep)}
    return {**values, "probe_on": float(sweep >= settings.probe_start)}


class Sent:
    """The continuous settings of a sweep on the device, which are sent when they change: each costs a transfer."""

    def __init__(self, real: type):
        self.real = real
        self.values: Mapping[str, Any] = {}
        self.there: Parameters = {}

    def parameters(self, values: Mapping[str, Any]) -> Parameters:
        """`values_at` for a compiled sweep; each may be a list of several reconstructions'."""
        if values != self.values:
            self.values = values
            self.there = jax.device_put({name: np.asarray(value, self.real) for name, value in values.items()})
        return self.there


def _hosts(dataset: Dataset, plan: Plan, room: int, real: type, chunk_gib: float | None) -> list[feed.Host | None]:
    """Of each engine: how its patterns are fed, None where they are on the device. Raises InputError, before anything
    is computed, if that is impossible."""
    hosts, pixels = [], dataset.grid.shape
    for settings in plan.engines:
        if settings.resample is not None and settings.resample.pixels is not None:
            pixels = settings.resample.pixels
        limit = feed.chunk_bytes(chunk_gib, room * int(np.prod(pixels)) * np.dtype(real).itemsize)
        hosts.append(None if limit is None else feed.host_of(dataset, pixels, settings, room, real, limit))
    return hosts


def groups_of(
    positions: np.ndarray, settings: EngineConfig, rng: np.random.Generator, room: int
) -> tuple[Int32[np.ndarray, "group slot"], Int32[np.ndarray, " group"]]:
    """The groups of a sweep: indices (n, m) and counts (n,), zero where there is no group."""
    size = settings.members(room)
    return padded_groups(positions, size, settings.batches, rng, (-(-room // size), size))


def work_gflop(engine: Engine, settings: EngineConfig, count: int, state: ReconState, sweep: int) -> float:
    """Fourier transforms of a sweep over `count` positions, 5 N log2 N operations each, in 1e9 operations."""
    sizes = sizes_of(count, -(-count // settings.members(count)))
    slices, (modes, ny, nx) = state.object.shape[0], state.probe.shape[-3:]
    transforms = sum(engine.transforms(settings, int(size), slices) for size in sizes)
    transforms += refine.transforms(settings, count, len(sizes), state, sweep)
    transforms += position_search.transforms(settings, count, state, sweep)
    transforms += shifts.transforms(settings, count, state)
    return transforms * modes * 5 * ny * nx * float(np.log2(ny * nx)) / 1e9


def capacity(count: int) -> int:
    """Positions are padded to 32 times a power of two, or one and a half times that: few shapes are compiled."""
    size = 32
    while size < count:
        size = size * 3 // 2 if (size & (size - 1)) == 0 else size * 4 // 3
    return size


def make_problem(dataset: Dataset, settings: EngineConfig, room: int, real: type, over: Mesh | None = None) -> Problem:
    """The dataset as arrays on the device, or on all cores `over` which it is shared, padded to `room` positions."""
    count = len(dataset.patterns)
    problem = cores.placed(small_problem(dataset, dataset.grid.shape, settings, room, real), over)
    patterns = cores.zeros((room, *dataset.grid.shape), real)
    np.multiply(dataset.patterns, dataset.mask, out=patterns[:count], casting="unsafe")
    return problem._replace(patterns=cores.shared(patterns, over))


def small_problem(dataset: Dataset, pixels: tuple[int, int], settings: EngineConfig, room: int, real: type) -> Problem:
    """All of a problem but its patterns, for patterns that are cropped or padded to `pixels`."""
    mask = fit_spectrum(np.asarray(dataset.mask), pixels)
    background = np.zeros(pixels) if dataset.background is None else fit_spectrum(dataset.background, pixels)
    mean = feed.mean_counts(dataset, pixels)
    transfer = mtf(pixels, dataset.mtf_nyquist)
    scan = None if background.ndim == 2 else jnp.asarray(_with_room(numbers_of(dataset), room))
    return Problem(
        patterns=None,
        mask=jnp.asarray(mask, real),
        background=jnp.asarray(background, real),
        offset=jnp.asarray(settings.offset * mean, real),
        counts=jnp.asarray(mean * mask.size, real),
        positions=jnp.asarray(len(dataset.positions_a), jnp.int32),
        nominal_a=jnp.asarray(_padded(dataset.positions_a, room), real),
        transfer=None if transfer is None else jnp.asarray(transfer, real),
        scan=scan,
    )


def pad_positions(state: ReconState, room: int) -> ReconState:
    """A state with room for so many positions."""
    more = room - len(state.positions_px)
    weights = state.opr_weights
    return state.replace(
        positions_px=_padded(state.positions_px, room),
        intensity=np.concatenate([state.intensity, np.ones(more)]),
        opr_weights=None if weights is None else np.pad(weights, ((0, more), (0, 0))),
        scan=None if state.scan is None else _with_room(state.scan, room),
    )


def _with_room(numbers: Int32[np.ndarray, " position"], room: int) -> Int32[np.ndarray, " {room}"]:
    return np.pad(numbers, (0, room - len(numbers)))


def _padded(positions: Float[np.ndarray, "position 2"], room: int) -> Float[np.ndarray, "{room} 2"]:
    return np.concatenate([positions, np.repeat(positions[:1], room - len(positions), axis=0)])


def to_device(state: ReconState, real: type) -> ReconState:
    """A state as arrays on the device, in a precision."""
    complex_ = np.complex128 if real is np.float64 else np.complex64
    kinds = {"c": complex_, "f": real, "i": np.int32}
    return jax.tree.map(lambda a: jnp.asarray(a, kinds[np.asarray(a).dtype.kind]), state)


def check_inside(state: ReconState, count: int) -> None:
    """Raises InputError if one of the first `count` windows leaves the canvas."""
    shape, half = np.asarray(state.object.shape[-2:]), np.asarray(state.probe.shape[-2:]) // 2
    positions = np.asarray(state.positions_px)[:count]
    if np.any(positions < half) or np.any(positions > shape - half - 1):
        worst = positions[np.argmax(np.max(np.abs(positions - shape / 2), axis=1))]
        raise InputError("positions", "must lie inside the object", worst.tolist(), "Enlarge the object.")
