"""What all views of one server share: the folder, what was read of it, and threads for what takes longer."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ptydesign.planning.load import TEMPLATE
from ptydesign.web.explorer import Explorer
from ptydesign.web.folder import Folder
from ptydesign.web.iterations import Reconstruction
from ptydesign.web.runs import Run, Runs
from ptydesign.web.trials import Fit, Trials

MOST_KEPT = 24  # studies, and fits, that are kept at hand


class Site:
    """folder: what is shown. may_act: whether runs may be started and stopped from the page."""

    def __init__(self, folder: Folder, may_act: bool = True):
        self.folder, self.may_act = folder, may_act
        self.runs = Runs(folder)
        self.workers = ThreadPoolExecutor(2, "page")
        self.builders = ThreadPoolExecutor(1, "specimens")  # so that a setting whose specimen is there waits for none
        self.pictures = ThreadPoolExecutor(1, "pictures")
        self._kept: OrderedDict[Any, Any] = OrderedDict()

    def find(self, name: str) -> Run | None:
        """The run of a name, None if there is none."""
        return next((run for run in self.runs.find() if run.name == name), None)

    def trials(self, name: str) -> Trials:
        """The trials of a study. Raises InputError for a name that is none."""
        path = self.folder.find(name)
        return self.keep(("trials", name), lambda: Trials(path))

    def reconstruction(self, name: str) -> Reconstruction:
        """A reconstruction, live or not; a file that was written anew is read anew. Raises InputError."""
        path = self.folder.find(name)
        stamp = 0 if path.is_dir() else path.stat().st_mtime_ns
        return self.keep(("reconstruction", name, stamp), lambda: Reconstruction(path))

    def fit(self, name: str, search: str, count: int) -> Fit:
        """What `count` trials of a search say together."""
        return self.keep(("fit", name, search, count), lambda: self.trials(name).fit(search))

    def explorer(self, name: str, scale: str) -> Explorer:
        """The explorer of a plan; read anew when its file changes. An empty name: the plan that `init` writes."""
        path = self.folder.find(name) if name else TEMPLATE
        file = path / "study.yaml" if path.is_dir() else path
        stamp = file.stat().st_mtime_ns if file.exists() else 0
        return self.keep(("explorer", name, scale, stamp), lambda: Explorer(path, scale))

    def keep(self, key: tuple, make: Callable[[], Any]) -> Any:
        """What is kept under a key, made when it is needed; the oldest goes."""
        if key not in self._kept:
            self._kept[key] = make()
        self._kept.move_to_end(key)
        while len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)
        return self._kept[key]
