"""Files of instruments through RosettaSciIO, which is imported only here and only when it is needed."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import logging
import math
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ptydesign.errors import InputError, nearest
from ptydesign.instruments.frames import Frames, of_array
from ptydesign.instruments.readers import raw
from ptydesign.units import MRAD, NM

# Where several readers share a suffix, the one that reads diffraction patterns.
PREFERRED = {"xml": "EMPAD", "mrc": "MRC"}
# Readers that shape the scan by themselves, or drop frames beyond a shape that they are given: asked for all frames.
IN_A_ROW = {"QuantumDetector"}
MANY = 2**40


def read(path: Path, format: str | None, scan_shape: tuple[int, int] | None, scan_last: bool = False) -> Frames:
    """Frames of a file; turned as RosettaSciIO turns them.

    format: a name of RosettaSciIO's, where the suffix leaves a choice. scan_shape: (rows, columns), for readers that
    would guess it. Raises InputError for a file that is unknown, unreadable, or holds no stack of patterns.
    """
    specification = _specification(path, format)
    if specification["name"] == "EMPAD" and (frames := _empad_by_acquisition(path)) is not None:
        return frames
    signals = _load(path, specification, scan_shape)
    stacks = [s for s in signals if len(s["data"].shape) in (3, 4)]
    if not stacks:
        shapes = [s["data"].shape for s in signals]
        raise InputError(str(path), "must hold a stack of patterns (3 or 4 axes)", shapes, "Give another file.")
    signal = max(stacks, key=lambda s: math.prod(s["data"].shape))
    record = {"reader": f"rosettasciio {specification['name']}", "version": _rosettasciio().__version__}
    record["axes"] = [
        {k: _plain(axis.get(k)) for k in ("name", "size", "scale", "offset", "units")} for axis in signal["axes"]
    ]
    frames = of_array(signal["data"], str(path), scan_last).with_words(record, _offers(signal))
    return _header_of_merlin(path, frames) if specification["name"] == "QuantumDetector" else frames


def knows(path: Path) -> bool:
    """Whether the suffix belongs to one of its formats."""
    suffix = path.suffix.lower().removeprefix(".")
    return any(suffix in (e.lower() for e in plugin["file_extensions"]) for plugin in _rosettasciio().IO_PLUGINS)


def _rosettasciio() -> Any:
    if importlib.util.find_spec("rsciio") is None:
        raise InputError(
            "import", "needs RosettaSciIO for files of instruments", None, "Install it: pip install rosettasciio."
        )
    logging.getLogger("rsciio").setLevel(logging.ERROR)  # what is missing is said here, where it matters
    return importlib.import_module("rsciio")


def _specification(path: Path, format: str | None) -> dict[str, Any]:
    plugins = _rosettasciio().IO_PLUGINS
    if format is not None:
        for plugin in plugins:
            if plugin["name"].lower() == format.lower():
                return plugin
        raise InputError(
            "format", "must be one of RosettaSciIO's", format, nearest(format, [p["name"] for p in plugins])
        )
    suffix = path.suffix.lower().removeprefix(".")
    found = [p for p in plugins if suffix in (e.lower() for e in p["file_extensions"])]
    found = [p for p in found if p["name"] == PREFERRED.get(suffix)] or found
    if len(found) == 1:
        return found[0]
    if not found:
        raise InputError(
            str(path), "must have the suffix of a known format", path.suffix, "Give --format, or convert it to .npy."
        )
    raise InputError(
        str(path),
        "its suffix belongs to several formats",
        path.suffix,
        f"Give --format ({', '.join(p['name'] for p in found)}), or FILE:name for an array in it.",
    )


def _load(path: Path, specification: dict[str, Any], scan_shape: tuple[int, int] | None) -> list[dict[str, Any]]:
    try:
        reader = importlib.import_module(specification["api"]).file_reader
        options: dict[str, Any] = {}
        if specification["name"] in IN_A_ROW:
            options["navigation_shape"] = (MANY,)
        elif scan_shape is not None and "navigation_shape" in inspect.signature(reader).parameters:
            options["navigation_shape"] = scan_shape[::-1]
        try:
            return reader(str(path), lazy=True, **options)
        except NotImplementedError:  # how a format's reader says that it can't be lazy
            return reader(str(path), **options)
    except ImportError as error:
        raise InputError(str(path), f"needs a further package: {error}", specification["name"], "Install it.") from None
    except Exception as error:  # its readers raise whatever a broken file makes them raise
        mend = "Check it."
        if specification["name"] == "EMPAD":
            mend = "Import its .raw file by itself, with --raw empad and --scan-shape."
        raise InputError(
            str(path), f"must be a readable {specification['name']} file", f"{type(error).__name__}: {error}", mend
        ) from None


def _empad_by_acquisition(path: Path) -> Frames | None:
    """Frames of an EMPAD file whose raw file isn't named after the scan's shape, by what the XML says of the
    acquisition; None for the others, which RosettaSciIO reads."""
    from xml.etree import ElementTree

    try:
        root = ElementTree.parse(path).getroot()
        named = root.find("raw_file").get("filename")  # type: ignore[union-attr]
        if root.find("pix_x") is not None or root.find(".//series_count") is not None or named.startswith("scan_"):
            return None
        (acquired,) = root.findall("scan_parameters[@mode='acquire']")
        columns, rows = (int(acquired.findtext(f"scan_resolution_{axis}")) for axis in "xy")  # type: ignore[arg-type]
    except (ElementTree.ParseError, AttributeError, TypeError, ValueError, OSError):
        return None
    beside = path.with_name(Path(named).name)
    if not beside.is_file():
        raise InputError(
            str(path), "its raw file must be beside it", beside.name, "Copy it there, or correct the name."
        )
    frames = raw.read(beside, raw.NAMED["empad"]).with_words({"reader": "EMPAD", "xml": path.name})
    if frames.count != rows * columns:
        return frames.with_words({"frames_announced": rows * columns}, {"scan_shape": [rows, columns]})
    return replace(frames, scan=(rows, columns))


def _header_of_merlin(path: Path, frames: Frames) -> Frames:
    """Adds what Merlin's .hdr file says of the scan: frames for each trigger, usually a line of the scan."""
    header = path.with_suffix(".hdr")
    if not header.is_file():
        return frames
    lines = (line.partition("\t") for line in header.read_text(errors="replace").splitlines())
    says = {name.rstrip(":"): value for name, _, value in lines}
    try:
        columns, total = (int(says[f"Frames {what} (Number)"]) for what in ("per Trigger", "in Acquisition"))
    except (KeyError, ValueError) as error:
        warnings.warn(f"{header.name} can't be read: {error}", stacklevel=2)
        return frames
    if columns <= 1 or total % columns:
        return frames.with_words({"frames_announced": total})
    return frames.with_words({"frames_announced": total}, {"scan_shape": [total // columns, columns]})


# Units of an axis -> factor to angstrom, 1/angstrom or mrad.
_LENGTHS = {"nm": NM, "a": 1.0, "å": 1.0, "pm": 1e-2, "um": 1e4, "µm": 1e4}
_FREQUENCIES = {"1/nm": 1 / NM, "nm^-1": 1 / NM, "1/a": 1.0, "1/å": 1.0, "å^-1": 1.0}
_ANGLES = {"mrad": 1.0, "rad": 1 / MRAD}


def _offers(signal: dict[str, Any]) -> dict[str, Any]:
    """Calibration that the file's axes and metadata suggest."""
    offers: dict[str, Any] = {}
    axes = list(signal["axes"])
    scan, pixels = axes[:-2], axes[-2:]

    def scales(pair: list[dict[str, Any]], units: dict[str, float]) -> list[float] | None:
        factors = [units.get(str(axis.get("units", "")).strip().lower()) for axis in pair]
        if len(pair) != 2 or None in factors:
            return None
        return [abs(float(axis["scale"])) * factor for axis, factor in zip(pair, factors, strict=True)]

    for name, pair, units in (
        ("step_a", scan, _LENGTHS),
        ("reciprocal_pixel", pixels, _FREQUENCIES),
        ("pixel_mrad", pixels, _ANGLES),
    ):
        found = scales(pair, units)
        if found and min(found) > 0:
            offers[name] = [float(f"{value:.6g}") for value in found]
    instrument = signal.get("metadata", {}).get("Acquisition_instrument", {})
    microscope = instrument.get("TEM", {}) if isinstance(instrument, dict) else {}
    voltage = microscope.get("beam_energy") if isinstance(microscope, dict) else None
    if isinstance(voltage, int | float) and voltage > 0:
        offers["voltage_kv"] = float(voltage)
    semiangle = microscope.get("convergence_angle") if isinstance(microscope, dict) else None
    if isinstance(semiangle, int | float) and semiangle > 0:
        offers["semiangle_mrad"] = float(semiangle)
    return offers


def _plain(value: Any) -> Any:
    """JSON's own types; what has none becomes text."""
    if isinstance(value, np.generic):
        value = value.item()
    return value if value is None or isinstance(value, (str, int, float)) else str(value)
