"""Observers: functions (sweep, loss, state) that look at a reconstruction after each sweep and change nothing in it."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from typing import Any

from ptydesign.errors import InputError
from ptydesign.functions import Place, Registry, guarded
from ptydesign.types import ReconState

Observer = Callable[[int, float, ReconState], bool | None]


def _taken(function: Any, place: Place) -> Callable[[], Observer]:
    """A maker of a user's observer. It isn't tried, for what it writes would be written; one that fails during a run is
    not called again in that run."""
    call = guarded(function, place)
    try:
        inspect.signature(function).bind(1, 1.0, None)
    except TypeError as error:
        raise place.error("must take (sweep, loss, state)", str(error), "Give it three parameters.") from None

    def made() -> Observer:
        failed = False

        def observe(sweep: int, loss: float, state: ReconState) -> None:
            nonlocal failed
            if failed:
                return
            try:
                call(sweep, loss, state)
            except InputError as error:
                failed = True
                warnings.warn(f"{error} The reconstruction goes on without it.", stacklevel=2)

        return observe

    return made


OBSERVERS: Registry[Callable[[], Observer]] = Registry("observer", {}, _taken)
