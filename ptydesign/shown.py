"""What a notebook shows of data, plans and results; what does it is loaded when it is asked for."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any


def _call(place: str, *arguments: Any) -> Any:
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(f"ptydesign.notebook.{module}"), name)(*arguments)


class Shown:
    """Shows itself in a notebook: a small picture, and the numbers that matter."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        return _call("pages:html_of", self)


class Explored(Shown):
    """Can be looked at with the page's own views, as a widget."""

    __slots__ = ()

    def explore(self) -> Any:
        """A widget (Panel, the extra `notebook`) to look at it. Raises InputError where the extra isn't installed."""
        return _call("widgets:explore", self)


class Exported(Explored):
    """Goes to libraries of arrays with coordinates."""

    __slots__ = ()

    def to_xarray(self) -> Any:
        """An xarray.Dataset with units and coordinates. Raises InputError where xarray isn't installed."""
        return _call("arrays:to_xarray", self)

    def to_hyperspy(self) -> Any:
        """HyperSpy signals by name, with calibrated axes. Raises InputError where HyperSpy isn't installed."""
        return _call("arrays:to_hyperspy", self)


def brief(self: Any) -> str:
    """`repr` of data and results: a line for each field, arrays as their type and shape."""
    lines = [f"{type(self).__name__}:"]
    for one in fields(self):
        value = getattr(self, one.name)
        if value is not None:
            lines.append(f"  {one.name}: {_in_words(value)}")
    return "\n".join(lines)


def _in_words(value: Any) -> str:
    if hasattr(value, "shape") and hasattr(value, "dtype") and value.shape:
        return f"{value.dtype} {' x '.join(map(str, value.shape))}"
    if isinstance(value, Mapping) and value:
        items = [f"{key} {_in_words(item)}" if hasattr(item, "shape") else str(key) for key, item in value.items()]
        return ", ".join(items)
    if is_dataclass(value) and type(value).__repr__ is brief:
        return brief(value).replace("\n", "\n  ")
    return str(value)
