"""Settings that change from sweep to sweep, and when an engine stops."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Literal

import numpy as np
import optax
from pydantic import ConfigDict, Field, model_validator

from ptydesign.config import Strict
from ptydesign.errors import NOTHING, InputError


# By optax, evaluated on the host, so that a change recompiles nothing.
class Schedule(Strict):
    """A number that changes over an engine's sweeps: constant, or from `start` in the first sweep to `end` after
    `sweeps` sweeps, and `end` from then on."""

    model_config = ConfigDict(title="schedule")
    schedule: Literal["constant", "linear", "exponential", "cosine"]
    """How the value changes; constant stays at `start`."""
    start: float
    """Value in the engine's first sweep."""
    end: float | None = None
    """Value after `sweeps` sweeps and from then on; required unless constant."""
    sweeps: int | None = Field(None, ge=1)
    """Number of sweeps from `start` to `end`; required unless constant."""

    @model_validator(mode="after")
    def _complete(self) -> Schedule:
        if self.schedule == "constant":
            return self
        for name in ("end", "sweeps"):
            if getattr(self, name) is None:
                raise InputError(name, f"is required for a schedule that is {self.schedule}", NOTHING, "Add it.")
        if self.schedule == "exponential" and self.start * self.end <= 0:
            raise InputError(
                "end", "must have the sign of start, and neither be 0", (self.start, self.end), "Try linear or cosine."
            )
        return self

    def at(self, sweep: int) -> float:
        """The value in an engine's sweep (0, 1, ...)."""
        if self.schedule == "constant":
            return self.start
        if sweep >= self.sweeps:
            return self.end
        if self.schedule == "linear":
            function = optax.linear_schedule(self.start, self.end, self.sweeps)
        elif self.schedule == "exponential":
            function = optax.exponential_decay(self.start, self.sweeps, self.end / self.start)
        else:
            # optax decays by a factor, which can't lead away from 0: scale a decay from 1 to 0
            unit = optax.cosine_decay_schedule(1.0, self.sweeps)
            return self.end + (self.start - self.end) * float(unit(sweep))
        return float(function(sweep))


class Budget(Strict):
    """Limits of a whole plan or of one engine, beside its number of sweeps.

    work_gflop is the same on every machine: each Fourier transform counts 5 N log2 N, by the formula of the engine.
    """

    seconds: float | None = Field(None, gt=0)
    """Wall-clock seconds, looked at after each sweep; compilation counts."""
    work_gflop: float | None = Field(None, gt=0)
    """Work in 1e9 operations of Fourier transforms; a sweep that would exceed it is not begun, except the first."""

    def spent(self, seconds: float, work_gflop: float, next_gflop: float) -> str | None:
        """Why no further sweep may begin, or None."""
        if self.seconds is not None and seconds >= self.seconds:
            return f"{seconds:.3g} s of {self.seconds:g} s are used"
        if self.work_gflop is not None and work_gflop + next_gflop > self.work_gflop * (1 + 1e-9):
            return f"{work_gflop:.4g} of {self.work_gflop:g} GFLOP of Fourier transforms are used"
        return None


class Stop(Budget):
    """When one engine ends before its sweeps are done: its own budget, convergence or divergence."""

    tolerance: float | None = Field(None, gt=0, lt=1)
    """Converged if the mean loss of the last `window` sweeps differs by less than this fraction from that of the
    `window` sweeps before; null is never."""
    window: int = Field(5, ge=1)
    """Sweeps whose loss is averaged for `tolerance`."""
    worse: float | None = Field(None, gt=1)
    """Diverged if the loss is this many times the smallest one so far; null leaves it to the built-in limit."""

    def converged(self, losses: Sequence[float]) -> float | None:
        """The relative change if it is below the tolerance, else None. losses: of this engine."""
        if self.tolerance is None or len(losses) < 2 * self.window:
            return None
        before, now = np.mean(np.reshape(losses[-2 * self.window :], (2, self.window)), axis=1)
        change = float(abs(before - now))
        return change / float(abs(before)) if change < self.tolerance * abs(before) else None


class Clock:
    """Wall-clock seconds of a run, those before a resume included."""

    def __init__(self, before: float = 0.0):
        self.before, self.start = before, time.perf_counter()

    @property
    def seconds(self) -> float:
        """Seconds so far."""
        return self.before + time.perf_counter() - self.start
