"""What a tuning study takes, from its budgets and sizes: FFT units, seconds, memory."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable

from ptydesign.simulate.coherence import probe_count
from ptydesign.simulate.window import choose_window
from ptydesign.study.cost import transform
from ptydesign.study.kind import Work
from ptydesign.tuning import scope
from ptydesign.tuning.config import TuningConfig
from ptydesign.tuning.data import experiments
from ptydesign.tuning.resolve import Resolved
from ptydesign.tuning.scope import Budget
from ptydesign.tuning.trial import SWITCHES

FLOP_PER_UNIT = 5.0  # of FFT units, n log2 n
OVERHEAD = 3.0  # time of a reconstruction over that of its Fourier transforms alone, measured on one core
SCORING_S, SEARCH_START_S, PROPOSAL_S, COMPILE_S = 0.2, 8.0, 0.3, 4.0

Trials = Iterable[tuple[Budget, int]]  # how many at which budget


def work(resolved: Resolved) -> dict[str, Work]:
    """Of each step."""
    study = resolved.study
    searches, groups = scope.searches(study).values(), scope.groups(study).values()
    searched = [(search.budget, search.total) for search in searches]
    assessed = [(group.budget, scope.count(study, group)) for group in groups]
    part = _computed(study, [*searched, *assessed])
    chains = [_trials([one]) for one in searched]
    asking = sum(SEARCH_START_S * s.segments + PROPOSAL_S * s.total for s in searches if s.method == scope.BO)
    units, seconds = _trials(searched, part)
    return {
        "scan": Work(0.0 if resolved.shape is None else _simulation(study)),
        "search": Work(
            units,
            seconds + asking + compiled(study) * COMPILE_S,
            chain=max(units for units, _ in chains),
            chain_s=max(seconds for _, seconds in chains),
        ),
        "assess": Work(*_trials(assessed, part)),
    }


def _trials(trials: Trials, part: dict[Budget, float] | None = None) -> tuple[float, float]:
    """(FFT units, seconds) of trials, each of two reconstructions. part: of those at a budget that are computed."""
    units = seconds = 0.0
    for budget, number in trials:
        number = number * part[budget] if part else number
        seconds += number * SCORING_S
        if budget.unit == scope.SECONDS:
            seconds += number * 2 * budget.value
        else:
            units += number * 2 * budget.value * 1e9 / FLOP_PER_UNIT * OVERHEAD
    return units, seconds


def _computed(study: TuningConfig, trials: Trials) -> dict[Budget, float]:
    """Which part of all trials at a budget has to be computed: plans that come up again are in the point store."""
    size, asked = scope.combinations(study.space), Counter()
    for budget, number in trials:
        asked[budget] += number
    return {budget: distinct(size, number) / number for budget, number in asked.items()}


def distinct(size: float | None, number: int) -> float:
    """How many different plans so many draws from a space find. size: None for a continuous one."""
    return number if size is None else size * -math.expm1(-number / size)


def compiled(study: TuningConfig) -> float:
    """About how many functions are compiled: one for each combination of what shapes a reconstruction, which switches
    (see `trial.switched`) and continuous settings don't."""
    number = 1.0
    for path, dimension in study.space.root.items():
        name = path.rpartition(".")[2]
        discrete = not dimension.continuous and not any(isinstance(v, float) for v in dimension.values)
        number *= dimension.size if discrete and name not in (*SWITCHES, "opr_modes") else 1
    return 1 + min(number, sum(scope.trials(study).values()))


def _simulation(study: TuningConfig) -> float:
    """FFT units of both scans of all repeats: partial coherence multiplies every pattern."""
    total = 0.0
    for experiment in experiments(study.data):
        window = choose_window(experiment, (study.data.potential.pixel_a,) * 2)
        each = probe_count(experiment) * 2 * transform(math.prod(window.grid.shape))
        total += study.data.positions * each * OVERHEAD
    return total * len(scope.scans(study))


def memory(resolved: Resolved) -> dict[str, float]:
    """GiB of a job: libraries, both scans in several copies, the potential."""
    patterns = 2 * resolved.positions * math.prod(resolved.pixels)
    potential = 0 if resolved.shape is None else 24 * math.prod(resolved.shape)
    return {"trial": (1.0 * 2**30 + 4 * 4 * patterns + potential) / 2**30}
