"""What is asked of a cluster for a job: memory and time.

Both come from the estimate. What jobs of the step took here before (their `benchmark:` files) raises them, and never
lowers them: a job whose trials were stored took less than it would anew.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from ptydesign.study.cost import estimate
from ptydesign.study.costs import Measured, measured_steps
from ptydesign.study.kind import Run, Step

LIGHT_GIB = 1.0  # of a job that holds libraries and tables only
SLOW_RATE = 1e9  # FFT units per second of a slow core; today's have two to four times as many
LEAST_MIN = 30  # for a short job: what starts it and what isn't estimated may take minutes
LARGEST_PER_MEAN = 3  # the longest job of a step over their mean, as measured at most


@dataclass(frozen=True)
class Requests:
    """For the jobs of one study. Both grow with the attempt, so that a job that was cut off gets more."""

    run: Run

    @cached_property
    def mean_s(self) -> Mapping[str, float]:
        """Estimated seconds of one job of each step on a slow core."""
        steps = estimate(self.run.kind, self.run.resolved, 1, SLOW_RATE)["steps"]
        return {name: one["core_s"] / max(1, one["jobs"]) for name, one in steps.items()}

    @cached_property
    def measured(self) -> Mapping[str, Measured]:
        """What jobs of each step took here before."""
        return measured_steps(self.run.resolved.results, [step.name for step in self.run.kind.steps])

    def memory_mb(self, step: Step, attempt: int) -> int:
        """MB to ask for."""
        gib = self.run.memory_gib[step.memory] if step.memory else LIGHT_GIB
        if step.name in self.measured:
            gib = max(gib, self.measured[step.name].memory_gib)
        return int(1024 * gib * (1 + 0.5 * attempt))

    def runtime_min(self, step: Step, attempt: int) -> int:
        """Minutes to ask for."""
        seconds = LARGEST_PER_MEAN * self.mean_s[step.name]
        if step.name in self.measured:
            seconds = max(seconds, 2 * self.measured[step.name].longest_s)
        return attempt * (LEAST_MIN + math.ceil(seconds / 60))
