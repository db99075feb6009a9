"""Scores that a user's function gives: (image, truth, pixel_a) -> a number, the greater the better."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float, Real

from ptydesign.functions import Place, Registry, guarded

Image = Real[np.ndarray, "y x"]
Metric = Callable[[Image, Image, tuple[float, float]], float]


def _taken(function: Any, place: Place) -> Metric:
    """A user's metric, tried on noise; what it gives is checked whenever it is called."""
    call = guarded(function, place)

    def metric(image: Image, truth: Image, pixel_a: tuple[float, float]) -> float:
        value = call(np.array(image), np.array(truth), pixel_a)
        number: Float[np.ndarray, ""] | None = np.asarray(value) if np.ndim(value) == 0 else None
        if number is None or number.dtype.kind not in "uifb" or not math.isfinite(number):
            got = np.shape(value) if number is None else value
            raise place.error("must give one finite number", got, "Return a float, the greater the better.")
        return float(number)

    truth = np.random.default_rng(0).normal(size=(24, 20))
    metric(truth + 0.1, truth, (0.25, 0.25))
    return metric


METRICS: Registry[Metric] = Registry("metric", {}, _taken)
