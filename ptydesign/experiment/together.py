"""Trials together, for an accelerator: reconstructed in batches, simulated and scored by threads beside it.

While one window of trials is reconstructed, the next one is simulated. A trial's numbers are those that it has alone,
within rounding, and one that fails or diverges leaves the others alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from ptydesign import machine
from ptydesign.experiment.trial import Running, Simulate, simulate_trial

if TYPE_CHECKING:
    from ptydesign.reconstruct.together import Member

WINDOW = 64  # trials at most that are simulated ahead
HELD = 1 / 8  # of the free memory that their patterns may take
PATTERN_BYTES = 4  # of a pixel


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
    with ThreadPoolExecutor(number) as simulating, ThreadPoolExecutor(number) as scoring:

        def started(part: Sequence[Running]) -> list[Future[Running]]:
            return [simulating.submit(_begun, trial, simulate) for trial in part]

        ahead = started(parts[0]) if parts else []
        for later in [*parts[1:], []]:
            begun = [future.result() for future in ahead]
            ahead = started(later)
            yield from (trial for trial in begun if trial.failed)
            for batch in _reconstructed([trial for trial in begun if not trial.failed], scoring, most):
                yield from batch


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


def _begun(trial: Running, simulate: Simulate) -> Running:
    with trial.judged():
        trial.begin(simulate)
    return trial


def _reconstructed(trials: Sequence[Running], scoring: ThreadPoolExecutor, most: int | None) -> Iterator[list[Running]]:
    from ptydesign.reconstruct.together import batches, possible, reconstruct_together

    alone = [trial for trial in trials if not possible(trial.plan)]
    members, owners = [], []
    for trial in trials:
        if trial not in alone:
            with trial.judged():
                members.append(_member(trial))
                owners.append(trial)
    yield [trial for trial in trials if trial.failed]
    for trial in alone:
        with trial.judged():
            trial.reconstruct()
        yield [trial]
    for indices in batches(members, most):
        results = reconstruct_together([members[index] for index in indices], scoring.map)
        batch = [owners[index] for index in indices]
        list(scoring.map(_ended, batch, results))
        for index in indices:
            members[index] = None
        yield batch


def _member(trial: Running) -> Member:
    from ptydesign.reconstruct.together import Member

    looked_at = frozenset(trial.study.scored)
    return Member(trial.known, trial.plan, trial.seed, trial.observers, looked_at, trial.trial.stop)


def _ended(trial: Running, result: tuple) -> None:
    state, history, outcome = result
    with trial.judged():
        trial.end(state, outcome, float(history.seconds[-1]))
    trial.known = None  # its patterns
