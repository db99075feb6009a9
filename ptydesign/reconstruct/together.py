"""Several reconstructions in one compiled sweep, for an accelerator that one small scan doesn't fill.

They have detectors of one size, plans of one engine that compile alike, and numbers of positions that are padded to the
same. Canvases are padded to the largest of them. Each keeps its own groups, schedules, stop and budget, and none sees
its neighbours: one that diverges leaves the others alone. What has ended is worked on until half have, and then they
close ranks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ptydesign import accelerator
from ptydesign.errors import InputError
from ptydesign.reconstruct import accelerate, feed, position_search
from ptydesign.reconstruct.checkpoint import Record
from ptydesign.reconstruct.context import Groups, Options, Parameters
from ptydesign.reconstruct.engine import Engine, EngineConfig, Memory
from ptydesign.reconstruct.engines import ENGINES
from ptydesign.reconstruct.forward import Problem
from ptydesign.reconstruct.observers import OBSERVERS, Observer
from ptydesign.reconstruct.plan import Plan
from ptydesign.reconstruct.run import (
    History,
    Sent,
    capacity,
    check_inside,
    ended,
    groups_of,
    history_of,
    make_problem,
    pad_positions,
    to_device,
    values_at,
    without_padding,
    work_gflop,
)
from ptydesign.reconstruct.schedule import Clock
from ptydesign.reconstruct.start import start_state
from ptydesign.reconstruct.sweep import sweeps_together
from ptydesign.types import Dataset, Outcome, ReconState

Result = tuple[ReconState, History, Outcome]
Each = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]  # `map`, or that of a pool

REAL = np.float32
PART = 0.6  # of the device's memory that reconstructions may take
WAVES = 12  # arrays of a group's waves that are alive at once
CANVASES = 10  # arrays as large as the object


@dataclass
class Member:
    """One of the reconstructions, as `run.reconstruct` takes it.

    observers: (sweep, loss, state), True ends it. sweeps: after which they look; None: after each. A state is valid
    during their call only.
    """

    dataset: Dataset
    plan: Plan
    seed: int
    observers: Sequence[Observer] = ()
    sweeps: frozenset[int] | None = None
    most: int | None = None
    record: Record = field(default_factory=Record)
    result: Result | None = None
    electrons: float = np.nan  # that its patterns hold together

    def __post_init__(self) -> None:
        self.dataset = self.plan.corrected(self.dataset)
        self.start = start_state(self.dataset, self.plan)
        self.observers = [*self.observers, *(OBSERVERS[name]() for name in self.plan.observers)]
        self.rng = np.random.default_rng([self.seed, 0x7265636F])
        check_inside(self.start, self.count)

    @property
    def count(self) -> int:
        """Number of positions."""
        return len(self.dataset.positions_a)

    @property
    def seconds(self) -> float:
        """Its share of the time so far."""
        return self.record.seconds[-1] if self.record.seconds else 0.0

    @property
    def canvas(self) -> tuple[int, int]:
        """(y, x) pixels of the object."""
        return self.start.object.shape[-2:]

    @property
    def settings(self) -> EngineConfig:
        """Of its engine."""
        return self.plan.engines[0]

    @property
    def fixed_canvas(self) -> bool:
        """Whether regularisers may look at all of the canvas, so that it can't be padded."""
        return bool(self.settings.constraints or getattr(self.settings, "costs", ()))

    @property
    def alike(self) -> tuple[Any, ...]:
        """What members of one batch have in common."""
        settings = self.settings
        # which positions measure a step depends on the room there is: neighbours must not decide on it
        shapes = self.dataset.grid.shape, self.start.probe.shape, len(self.start.object), capacity(self.count)
        canvas = self.canvas if self.fixed_canvas else None
        return settings.engine, settings.options(), settings.group, *shapes, self.plan.probe.opr_modes, canvas

    def looks(self, sweep: int) -> bool:
        """Whether its observers look after a sweep."""
        return bool(self.observers) and (self.sweeps is None or sweep in self.sweeps)


def possible(plan: Plan) -> bool:
    """Whether reconstructions by a plan can share a compiled sweep: one engine, in single precision, that moves no
    positions by search, changes no pixels, and keeps no waves."""
    settings = plan.engines[0]
    searched = any(position_search.due(settings, sweep) for sweep in range(settings.sweeps))
    return (
        len(plan.engines) == 1
        and plan.precision == "single"
        and not plan.calibrate.offsets
        and settings.resample is None
        and not settings.keeps_waves
        and not searched
    )


def batches(members: Sequence[Member], most: int | None = None, shares: int = 1) -> Iterator[list[int]]:
    """Indices of members that fit together: alike, of similar size, and as many as the device's memory allows.

    most: of them in a batch. shares: batches that share the memory.
    """
    kinds: dict[tuple[Any, ...], list[int]] = {}
    for index, member in enumerate(members):
        kinds.setdefault(member.alike, []).append(index)
    for indices in kinds.values():
        waiting = sorted(indices, key=lambda i: (-members[i].count, -np.prod(members[i].canvas)))
        while waiting:
            number = places(members[waiting[0]], free_bytes() / shares)
            number = min(number, most or number)
            yield waiting[:number]
            waiting = waiting[number:]


def free_bytes() -> float:
    """Of the device's memory, what reconstructions may take. Not of what is free just now: batches come and go."""
    return PART * feed.memory_bytes()


def places(largest: Member, free: float) -> int:
    """How many reconstructions, none larger than this one, fit into so many bytes: a power of two, at least one."""
    return 1 << (max(1, int(free / needed_bytes(largest))).bit_length() - 1)


def needed_bytes(member: Member) -> int:
    """What a reconstruction takes of the device's memory."""
    slices, (modes, ny, nx) = len(member.start.object), member.start.probe.shape
    pixels = int(np.prod(member.dataset.grid.shape))
    patterns = 2 * 4 * capacity(member.count) * pixels  # twice, while they are put together
    waves = 8 * WAVES * member.settings.members(member.count) * ny * nx * modes * slices
    canvases = 8 * CANVASES * slices * int(np.prod(member.canvas))
    return patterns + waves + canvases


def roomy(pixels: int) -> int:
    """A power of two, or one and a half times that, that is no less: few shapes of canvases are compiled."""
    power = 1 << (pixels - 1).bit_length()
    return 3 * power // 4 if pixels <= 3 * power // 4 else power


def reconstruct_together(members: Sequence[Member], each: Each = map) -> list[Result]:
    """The result of each member, as `run.reconstruct` gives it, within rounding.

    members: alike (`batches`). each: applies a function to all of several things, a pool's `map` to look at several
    states at once. The seconds of a history are a member's share. Raises InputError for members that aren't alike.
    """
    if len({member.alike for member in members}) > 1:
        raise InputError("members", "must be alike", len(members), "Sort them with `batches`.")
    with accelerator.exact():
        _Batch(members, each).run()
    return [member.result for member in members]


class _Batch:
    """Members in places; their arrays have the place as first axis. A place may hold one that has ended."""

    def __init__(self, members: Sequence[Member], each: Each):
        self.each = each
        number = 1 << (len(members) - 1).bit_length()
        self.members = [*members, *[members[-1]] * (number - len(members))]  # places that are left over do what it does
        self.active = [index < len(members) for index in range(number)]
        first = members[0]
        self.engine: Engine = ENGINES[first.settings.engine]
        self.options: Options = first.settings.options()
        self.room = capacity(first.count)
        self.canvas = tuple(roomy(int(n)) for n in np.max([member.canvas for member in members], axis=0))
        if first.fixed_canvas:
            self.canvas = first.canvas
        self.problem: Problem = _stacked(list(each(self._problem, self.members)))
        self.state: ReconState = _stacked(list(each(self._state, self.members)))
        self.memory: Memory = jax.vmap(self._memory)(self.state)
        self.clock, self.sent = Clock(), Sent(REAL)

    def _problem(self, member: Member) -> Problem:
        problem = make_problem(member.dataset, member.settings, self.room, REAL)
        member.electrons = float(problem.counts) * member.count
        return problem

    def _state(self, member: Member) -> ReconState:
        more = [(0, 0), *((0, n - m) for n, m in zip(self.canvas, member.canvas, strict=True))]
        padded = member.start.replace(object=np.pad(member.start.object, more, constant_values=1))
        return to_device(pad_positions(padded, self.room), REAL)

    def _memory(self, state: ReconState) -> Memory:
        return accelerate.init(self.engine.init(state, self.options), state, self.options)

    def run(self) -> None:
        """Sweep until all have ended."""
        self._end_those_done()
        drawn = self._drawn()
        while any(self.active):
            before_s, working = self.clock.seconds, sum(self.active)
            parameters = self._parameters()
            self.state, self.memory, found = sweeps_together(
                self.state, self.memory, drawn, self.problem, parameters, self.options, self.engine
            )
            drawn = self._drawn()  # while the device works
            losses = np.asarray(found)
            share_s = (self.clock.seconds - before_s) / working
            for index in self._working():
                member = self.members[index]
                member.record.swept(
                    float(losses[index]) / member.electrons, self._cost(member), member.seconds + share_s
                )
            self._look()
            self._end_those_done()
            if 0 < 2 * sum(self.active) <= len(self.members):
                drawn = self._closed_ranks(drawn)

    def _working(self) -> list[int]:
        return [index for index, active in enumerate(self.active) if active]

    def _parameters(self) -> Parameters:
        values = [values_at(member.settings, member.record.sweep) for member in self.members]
        return self.sent.parameters({name: [one[name] for one in values] for name in values[0]})

    def _drawn(self) -> Groups:
        """The next groups of all; those of places that aren't active don't matter."""
        drawn: list[Any] = []
        for member, active in zip(self.members, self.active, strict=True):
            positions = np.asarray(member.start.positions_px, REAL)
            drawn.append(groups_of(positions, member.settings, member.rng, self.room) if active else None)
        some = next((groups for groups in drawn if groups is not None), None)
        if some is None:
            return Groups(jnp.zeros(0), jnp.zeros(0))
        return Groups(*jax.device_put([np.stack(a) for a in zip(*(groups or some for groups in drawn), strict=True)]))

    def _cost(self, member: Member) -> float:
        return work_gflop(self.engine, member.settings, member.count, member.start, member.record.sweep)

    def _look(self) -> None:
        due = [i for i in self._working() if self.members[i].looks(len(self.members[i].record.loss))]

        def look(index: int) -> None:
            member, state = self.members[index], self._state_of(index)
            sweep, loss = len(member.record.loss), member.record.loss[-1]
            ends = [observe(sweep, loss, state) is True for observe in member.observers]  # all of them look
            if any(ends):
                member.most = sweep

        for _ in self.each(look, due):
            pass

    def _state_of(self, index: int) -> ReconState:
        """The state in a place, on its own canvas."""
        state = jax.tree.map(lambda a: a[index], self.state)
        rows, columns = self.members[index].canvas
        return without_padding(state.replace(object=state.object[:, :rows, :columns]), self.members[index].count)

    def _end_those_done(self) -> None:
        for index in self._working():
            member = self.members[index]
            clock = Clock(member.seconds)
            outcome, _ = ended(member.plan, member.settings, member.record, clock, self._cost(member), member.most)
            if outcome is not None:
                member.result = self._state_of(index), history_of(member.record), outcome
                self.active[index] = False

    def _closed_ranks(self, drawn: Groups) -> Groups:
        """Leave as many places as a power of two that holds those at work."""
        kept = self._working()
        number = 1 << (len(kept) - 1).bit_length()
        kept += [index for index in range(len(self.members)) if index not in kept][: number - len(kept)]
        chosen = jnp.asarray(kept)
        self.state, self.memory, self.problem, drawn = jax.tree.map(
            lambda a: a[chosen], (self.state, self.memory, self.problem, drawn)
        )
        self.members = [self.members[index] for index in kept]
        self.active = [self.active[index] for index in kept]
        return drawn


def _stacked(trees: Sequence[Any]) -> Any:
    """Trees of arrays of one shape, as one tree with an axis more."""
    return jax.tree.map(lambda *arrays: jnp.stack(arrays), *trees)
