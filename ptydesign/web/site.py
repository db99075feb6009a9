"""What all views of one server share: the folder, what was read of it, and threads for what takes longer."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from ptydesign.web.folder import Folder
from ptydesign.web.runs import Run, Runs


@dataclass(frozen=True)
class Site:
    """folder: what is shown. may_act: whether runs may be started and stopped from the page."""

    folder: Folder
    may_act: bool = True
    runs: Runs = field(init=False)
    workers: ThreadPoolExecutor = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "runs", Runs(self.folder))
        object.__setattr__(self, "workers", ThreadPoolExecutor(2, "page"))

    def find(self, name: str) -> Run | None:
        """The run of a name, None if there is none."""
        return next((run for run in self.runs.find() if run.name == name), None)
