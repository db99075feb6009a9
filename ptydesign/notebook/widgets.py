"""Widgets of a notebook: the page's own views."""

from __future__ import annotations

from functools import singledispatch
from pathlib import Path
from typing import Any

from ptydesign.errors import InputError
from ptydesign.planning.api import Design
from ptydesign.types import Dataset, Reconstruction


def explore(item: Any) -> Any:
    """A widget to look at data, a result or a design. Raises InputError where the extra isn't installed."""
    try:
        import panel as pn
    except ImportError:
        mend = "Install the extra: pip install 'ptydesign[notebook]'."
        raise InputError("panel", "must be installed for widgets", "nothing", mend) from None
    pn.extension("tabulator")
    return _view(item).layout


@singledispatch
def _view(item: Any) -> Any:
    raise InputError("item", "must be a dataset, a result or a design", type(item).__name__, "Give one of these.")


@_view.register
def _(item: Dataset) -> Any:
    from ptydesign.web.views.dataset import View

    return View(item)


@_view.register
def _(item: Reconstruction) -> Any:
    from ptydesign.web.iterations import Reconstruction as Shown
    from ptydesign.web.views.reconstruction import View

    return View(None, Shown(Path(), item), "this result")


@_view.register
def _(item: Design) -> Any:
    from ptydesign.web.explorer import Explorer
    from ptydesign.web.folder import Folder
    from ptydesign.web.site import Site
    from ptydesign.web.views.explore import Explore

    workspace = item.folder.resolve().parent.parent
    study = item.results.study
    explorer = Explorer(workspace / "studies" / study["study"], study["scale"])
    name = f"studies/{study['study']}"
    return Explore(Site(Folder(workspace), may_act=False), explorer, name)
