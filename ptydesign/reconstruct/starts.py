"""How object and probe may start: the built-in ways, and functions of users, by name.

An object start is a function (dataset, state) -> transmission on the state's canvas: (slice, y, x), or (y, x) of the
whole specimen, whose phase is shared out evenly among the slices. The state has the probe, the positions, and vacuum.
A probe start is a function (dataset) -> probe in real space, (y, x) or (mode, y, x), centred at pixel (ny//2, nx//2);
its scale doesn't matter.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Complex

from ptydesign import waves
from ptydesign.errors import InputError
from ptydesign.functions import Place, Registry, guarded
from ptydesign.grids import Grid
from ptydesign.reconstruct import tried
from ptydesign.reconstruct.direct import METHODS
from ptydesign.types import Dataset, ReconState
from ptydesign.units import wavelength_a

Given = TypeVar("Given", Dataset, ReconState)
ObjectFunction = Callable[[Dataset, ReconState], Complex[np.ndarray, "*slice y x"]]
ProbeFunction = Callable[[Dataset], Complex[np.ndarray, "*mode ny nx"]]


def vacuum(dataset: Dataset, state: ReconState) -> Complex[np.ndarray, "slice y x"]:
    """Transmission 1 everywhere."""
    return np.ones(state.object.shape, np.complex128)


def nominal(dataset: Dataset) -> Complex[np.ndarray, "*mode ny nx"]:
    """The dataset's own guess, else the probe of its optics. Raises InputError if it has neither."""
    if dataset.probe_guess is not None:
        return np.asarray(dataset.probe_guess, np.complex128)
    return of_optics(dataset, dataset.grid)


def of_optics(dataset: Dataset, grid: Grid) -> Complex[np.ndarray, "ny nx"]:
    """The probe of a dataset's optics in a window. Raises InputError if it has none."""
    optics = dataset.optics
    if optics is None:
        raise InputError(
            "dataset.optics", "needs nominal optics or a probe guess to start from", None, "Add one to the dataset."
        )
    wavelength = wavelength_a(optics.voltage_kv)
    _check_aperture(optics.semiangle_rad, wavelength * 0.5 / max(grid.pixel_a))
    spectrum = waves.probe_spectrum(grid, wavelength, optics.semiangle_rad, **optics.aberrations)
    return waves.centre_spectrum(grid, spectrum)


def _check_aperture(semiangle_rad: float, edge_rad: float) -> None:
    """The window's pixel can't hold a probe whose aperture is cut off by the detector's edge."""
    if semiangle_rad > edge_rad * (1 + 1e-9):
        raise InputError(
            "dataset.optics.semiangle_rad",
            f"the aperture must lie inside the detector's edge, {edge_rad:.4g} rad",
            semiangle_rad,
            "Correct it, or pixel_a: a detector pixel is 1/(pixels x pixel_a).",
        )


def _to_read(given: Given) -> Given:
    """The same, whose arrays can't be changed in place: a run goes on with them."""
    shown = copy.copy(given)
    for name, value in vars(given).items():
        if isinstance(value, np.ndarray):
            view = value.view()
            view.flags.writeable = False
            object.__setattr__(shown, name, view)
    return shown


def _object(function: Any, place: Place) -> ObjectFunction:
    call = guarded(function, place)

    def start(dataset: Dataset, state: ReconState) -> Complex[np.ndarray, "*slice y x"]:
        value, shape = np.asarray(call(_to_read(dataset), _to_read(state))), state.object.shape
        tried.shaped(place, value, shape if value.ndim == 3 else shape[1:], "a transmission on the canvas", "c")
        tried.finite(place, value)
        return value

    start(tried.dataset(), tried.states(np.float64)[1])
    return start


def _probe(function: Any, place: Place) -> ProbeFunction:
    call = guarded(function, place)

    def start(dataset: Dataset) -> Complex[np.ndarray, "*mode ny nx"]:
        value, pixels = np.asarray(call(_to_read(dataset))), dataset.grid.shape
        tried.shaped(place, value, (*value.shape[: value.ndim == 3], *pixels), "a probe in the patterns' window", "c")
        tried.finite(place, value)
        if not np.any(value):
            raise place.error("must give a probe that isn't zero everywhere", "zeros", "Return a wave in real space.")
        return value

    start(tried.dataset())
    return start


OBJECT_STARTS: Registry[ObjectFunction] = Registry("object start", {"vacuum": vacuum, **METHODS}, _object)
PROBE_STARTS: Registry[ProbeFunction] = Registry("probe start", {"nominal": nominal}, _probe)
