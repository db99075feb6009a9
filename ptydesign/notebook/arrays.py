"""Data and results as xarray datasets with units and coordinates, and as HyperSpy signals."""

from __future__ import annotations

from functools import singledispatch
from typing import Any

import numpy as np

from ptydesign.errors import InputError
from ptydesign.types import Dataset, Reconstruction


@singledispatch
def to_xarray(item: Any) -> Any:
    """An xarray.Dataset. Raises InputError where xarray isn't installed."""
    raise InputError("item", "must be a dataset or a reconstruction", type(item).__name__, "Give one of these.")


@to_xarray.register
def _(item: Dataset) -> Any:
    xarray = _library("xarray")
    ky, kx = (np.fft.fftshift(np.fft.fftfreq(n, p)) for n, p in zip(item.grid.shape, item.grid.pixel_a, strict=True))
    positions = np.asarray(item.positions_a)
    found = xarray.Dataset(
        {
            "patterns": (("position", "ky", "kx"), np.fft.fftshift(item.patterns, axes=(1, 2)), _units("counts")),
            "mask": (("ky", "kx"), np.fft.fftshift(np.asarray(item.mask)), {"long_name": "1 good, 0 ignore"}),
        },
        coords={
            "ky": ("ky", ky, _units("1/angstrom")),
            "kx": ("kx", kx, _units("1/angstrom")),
            "y": ("position", positions[:, 0], _units("angstrom")),
            "x": ("position", positions[:, 1], _units("angstrom")),
        },
        attrs={"voltage_kv": item.voltage_kv, **_optics(item)},
    )
    return found


@to_xarray.register
def _(item: Reconstruction) -> Any:
    xarray = _library("xarray")
    state = item.state
    object_, probe = np.asarray(state.object), np.asarray(state.probe)
    pixel, origin = np.asarray(state.pixel_a, float), np.asarray(state.origin_a, float)
    y, x = (origin[a] + pixel[a] * np.arange(object_.shape[a + 1]) for a in (0, 1))
    py, px = ((np.arange(n) - n // 2) * p for n, p in zip(probe.shape[-2:], pixel, strict=True))
    depth = np.concatenate([[0.0], np.cumsum(np.asarray(state.thickness_a, float))[:-1]])
    found, nominal = state.positions_a, np.asarray(item.nominal_positions_a)
    return xarray.Dataset(
        {
            "phase": (("z", "y", "x"), np.angle(object_), _units("rad")),
            "amplitude": (("z", "y", "x"), np.abs(object_), {"long_name": "amplitude of the transmission"}),
            "probe": (("scan", "mode", "probe_y", "probe_x")[-probe.ndim :], probe, _units("sqrt(counts)")),
            "position": (("index", "axis"), found, _units("angstrom")),
            "nominal_position": (("index", "axis"), nominal, _units("angstrom")),
            "loss": ("sweep", np.asarray(item.history["loss"]), {"long_name": "loss per count"}),
        },
        coords={
            "z": ("z", depth, _units("angstrom")),
            "y": ("y", y, _units("angstrom")),
            "x": ("x", x, _units("angstrom")),
            "probe_y": ("probe_y", py, _units("angstrom")),
            "probe_x": ("probe_x", px, _units("angstrom")),
            "axis": ["y", "x"],
            "sweep": np.arange(1, len(item.history["loss"]) + 1),
        },
        attrs={"outcome": item.outcome.status, "reason": item.outcome.reason, "seed": item.seed},
    )


def to_hyperspy(item: Dataset | Reconstruction) -> dict[str, Any]:
    """HyperSpy signals by name: patterns; or phase, amplitude, probe. Axes are calibrated in angstrom or 1/angstrom.

    Raises InputError where HyperSpy isn't installed.
    """
    signals = _library("hyperspy.api").signals
    arrays = to_xarray(item)
    names = ("patterns",) if isinstance(item, Dataset) else ("phase", "amplitude", "probe")
    found = {}
    for name in names:
        array = arrays[name]
        values = array.values
        kind = signals.ComplexSignal2D if np.iscomplexobj(values) else signals.Signal2D
        signal = kind(values)
        for place, dimension in enumerate(array.dims):
            axis = next(one for one in signal.axes_manager._axes if one.index_in_array == place)
            axis.name = dimension
            if dimension in arrays.coords and arrays.coords[dimension].ndim == 1:
                values = arrays.coords[dimension].values
                axis.offset, axis.units = float(values[0]), arrays.coords[dimension].attrs.get("units", "")
                axis.scale = float(values[1] - values[0]) if len(values) > 1 else 1.0
        signal.metadata.General.title = name
        found[name] = signal
    return found


def _library(name: str) -> Any:
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError:
        package = name.partition(".")[0]
        raise InputError(package, "must be installed", "nothing", f"pip install {package}.") from None


def _units(units: str) -> dict[str, str]:
    return {"units": units}


def _optics(item: Dataset) -> dict[str, float]:
    return (
        {}
        if item.optics is None
        else {name: value for name, value in vars(item.optics).items() if name != "voltage_kv"}
    )
