"""Work in threads whose results are shown in one browser's page."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import suppress
from typing import Any

import panel as pn

EVERY_MS = 1000  # a result whose call got lost, for the page was not there yet, waits no longer than that


class Later:
    """Of one page, or of a notebook without a server: there the work is waited for."""

    def __init__(self) -> None:
        self._document = pn.state.curdoc
        self._waiting: list[tuple[Future, Callable[[Future], None]]] = []
        if self._document is not None:
            pn.state.add_periodic_callback(self.show, EVERY_MS)

    def do(self, pool: Executor, work: Callable[[], Any], show: Callable[[Future], None]) -> None:
        """Do work in a thread; show is called with what came out, in the page's own thread."""
        future = pool.submit(work)
        self._waiting.append((future, show))
        if self._document is None:
            future.exception()
            self.show()
        else:
            future.add_done_callback(self._call)

    def show(self) -> None:
        """Show what is there, each once."""
        there = [one for one in self._waiting if one[0].done()]
        self._waiting = [one for one in self._waiting if one not in there]
        for future, show in there:
            show(future)

    def _call(self, _: Future) -> None:
        with suppress(RuntimeError, ValueError):  # the browser has gone, or is not there yet
            self._document.add_next_tick_callback(self.show)
