"""The one folder that a page may look into."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ptydesign.errors import InputError

DEPTH = 6  # of folders below it that are looked into
MOST = 20_000  # folders that are looked into
# What a results folder holds beside what says that it is one; nothing in these is a run.
INSIDE = {"tables", "search", "figures", "logs", "validation", "draws", "trials", "__pycache__", "node_modules"}

LIVE, LOGS = ".live", "logs"  # folders that a reconstruction and a study write while they run


class Folder:
    """A folder, and the names of what lies in it. Names are relative paths with slashes, as addresses have them."""

    def __init__(self, path: Path | str):
        self.path = Path(path).resolve()
        if not self.path.is_dir():
            rule = "must be a folder that can be read"
            raise InputError("folder", rule, str(path), "Give the folder that holds results/, or . for this one.")

    def find(self, name: str) -> Path:
        """What a name stands for. Raises InputError for one outside of the folder, links included, or of nothing."""
        mend = "Choose it on the list of runs."
        if not isinstance(name, str) or not name or "\0" in name or len(name) > 1000:
            raise InputError("name", "must name something in the folder", str(name)[:80], mend)
        try:
            path = (self.path / name).resolve()
        except (OSError, RuntimeError):  # a link to itself
            raise InputError("name", "must name something in the folder", name, mend) from None
        if not path.is_relative_to(self.path):
            raise InputError("name", "must lie in the folder that the page shows", name, mend)
        if not path.exists():
            raise InputError("name", "must name something in the folder", name, mend)
        if link := link_in(path):
            raise InputError("name", "must be a run without links, which may lead anywhere", link, "Remove the link.")
        return path

    def name(self, path: Path) -> str:
        """The name of something in the folder."""
        return path.relative_to(self.path).as_posix()

    def walk(self) -> Iterator[tuple[Path, list[str], list[str]]]:
        """(folder, folders in it, files in it), without hidden ones, links, and what studies and caches hold inside.
        What is taken from the list of folders is not looked into."""
        for seen, (here, folders, files) in enumerate(os.walk(self.path)):
            path = Path(here)
            deep = len(path.relative_to(self.path).parts) >= DEPTH
            kept = [] if deep else [n for n in folders if not n.startswith(".") and n not in INSIDE]
            folders[:] = sorted(n for n in kept if not os.path.islink(path / n))
            if seen >= MOST:
                return
            yield path, folders, sorted(n for n in files if not n.startswith(".") and not os.path.islink(path / n))


def link_in(run: Path) -> str:
    """The first link in the folder of a run, which writes none itself; empty without one, and for other folders."""
    if run.suffix != LIVE and not (run / LOGS).is_dir():
        return ""
    for here, folders, files in os.walk(run):
        for name in sorted((*folders, *files)):
            if os.path.islink(os.path.join(here, name)):
                return Path(here, name).relative_to(run.parent).as_posix()
    return ""
