"""Trials together, for an accelerator: reconstructed in batches, simulated and scored by threads beside it.

While one window of trials is reconstructed, the next one is simulated. A trial's numbers are those that it has alone,
within rounding, and one that fails or diverges leaves the others alone.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from typing import TYPE_CHECKING

from threadpoolctl import threadpool_limits

from ptydesign import machine
from ptydesign.experiment.trial import Running, Simulate, simulate_trial

if TYPE_CHECKING:
    from ptydesign.reconstruct.together import Member

    Begun = tuple[Running, Member | None]

WINDOW = 64  # trials at most that are simulated ahead
HELD = 1 / 8  # of the free memory that their patterns may take
PATTERN_BYTES = 4  # of a pixel
SWITCH_S = 2e-4  # after which a thread of Python's lets another one run: those that score make many short calls
LANES = 4  # batches at once: while the states of one are scored, the device works on another


def run_together(
    trials: Sequence[Running],
    simulate: Simulate = simulate_trial,
    threads: int | None = None,
    most: int | None = None,
) -> Iterator[Running]:
    """Run trials and give each when it has ended, in an order of its own.

    threads: that simulate, and as many that score; None: one for each core. most: trials of a batch; None: as many as
    the device's memory allows.
    """
    number = threads or os.cpu_count() or 1
    parts = list(windows(trials, HELD * machine.free_bytes()))
    with (
        _switching(SWITCH_S),
        threadpool_limits(limits=1),  # of a product of matrices: the threads here are enough
        ThreadPoolExecutor(number) as simulating,
        ThreadPoolExecutor(number) as scoring,
        ThreadPoolExecutor(LANES) as lanes,
    ):

        def started(part: Sequence[Running]) -> list[Future[Begun]]:
            return [simulating.submit(_begun, trial, simulate) for trial in part]

        ahead = started(parts[0]) if parts else []
        for later in [*parts[1:], []]:
            begun = [future.result() for future in ahead]
            ahead = started(later)
            waiting = [lanes.submit(_alone, trial) for trial, member in begun if member is None]
            waiting += [lanes.submit(_batch, batch, scoring) for batch in _batches(begun, most)]
            for done in as_completed(waiting):
                yield from done.result()


@contextmanager
def _switching(seconds: float) -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(seconds)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def windows(trials: Sequence[Running], bytes_: float) -> Iterator[list[Running]]:
    """Trials in parts whose patterns take at most so many bytes, those of similar size beside each other."""

    def size(trial: Running) -> tuple[int, int]:
        return trial.trial.experiment.detector_pixels, trial.trial.experiment.positions

    part: list[Running] = []
    held = 0.0
    for trial in sorted(trials, key=size):
        pixels, positions = size(trial)
        needed = PATTERN_BYTES * positions * pixels**2
        if part and (len(part) == WINDOW or held + needed > bytes_):
            yield part
            part, held = [], 0.0
        part.append(trial)
        held += needed
    if part:
        yield part


def _begun(trial: Running, simulate: Simulate) -> Begun:
    """A trial that was begun, and the member of a batch that it is; None for one that is reconstructed alone, or has
    failed."""
    from ptydesign.reconstruct.together import Member, free_bytes, needed_bytes, possible

    with trial.judged():
        trial.begin(simulate)
        if possible(trial.plan):
            scored = frozenset(trial.study.scored)
            member = Member(trial.known, trial.plan, trial.seed, trial.observers, scored, trial.trial.stop)
            if needed_bytes(member) <= free_bytes() / LANES:
                return trial, member
    return trial, None


def _batches(begun: Sequence[Begun], most: int | None) -> Iterator[list[Begun]]:
    from ptydesign.reconstruct.together import batches

    shared = [(trial, member) for trial, member in begun if member is not None]
    for indices in batches([member for _, member in shared], most, LANES):
        yield [shared[index] for index in indices]


def _alone(trial: Running) -> list[Running]:
    if not trial.failed:
        with trial.judged():
            trial.reconstruct()
    return [trial]


def _batch(batch: Sequence[Begun], scoring: ThreadPoolExecutor) -> list[Running]:
    from ptydesign.reconstruct.together import reconstruct_together

    trials, members = zip(*batch, strict=True)
    results = reconstruct_together(members, scoring.map)
    return list(scoring.map(_ended, trials, results))


def _ended(trial: Running, result: tuple) -> Running:
    state, history, outcome = result
    with trial.judged():
        trial.end(state, outcome, float(history.seconds[-1]))
    trial.known = None  # its patterns
    return trial
