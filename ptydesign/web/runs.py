"""What there is below a folder: studies, plans and reconstructions, each with its state and progress."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ptydesign import hdf5
from ptydesign.errors import InputError
from ptydesign.functions import plain_name
from ptydesign.readable import unreadable
from ptydesign.reconstruct.live import SUFFIX
from ptydesign.session import DONE, SILENT, STOPPED, Session
from ptydesign.study.file import OLD_RESOLVED, RESOLVED
from ptydesign.study.progress import METRICS, seconds_left
from ptydesign.web.folder import Folder, link_in
from ptydesign.web.lines import Lines, number, whole
from ptydesign.yamls import glance

STUDY, PLAN, RECONSTRUCTION, DATASET = "study", "plan", "reconstruction", "dataset"
WAITING = "waiting"
UNREADABLE = "unreadable"
LINKED = "It holds a link, {}, and links may lead anywhere."
MOST_CACHED = 2000
LONGEST_TITLE = 200  # letters
INSTRUMENT_SUFFIXES = (
    ".mib",
    ".hdr",
    ".dm4",
    ".dm3",
    ".emd",
    ".blo",
    ".hspy",
    ".zspy",
    ".mrc",
    ".tvips",
    ".nxs",
    ".prz",
)

Content = TypeVar("Content")


@dataclass(frozen=True)
class Run:
    """One run. name: its path in the folder; sort: study, plan or reconstruction; kind: of a study. done, total: trials
    or sweeps, total 0 if unknown; failed: trials; left_s: seconds left; spoke: when it last gave a sign of life, in
    seconds since 1970; best: the best score, or the last loss; of: what that is, as `SSIM at 10,000 e/Å²`."""

    name: str
    sort: str
    kind: str
    title: str
    state: str
    reason: str = ""
    done: int = 0
    total: int = 0
    failed: int = 0
    left_s: float | None = None
    spoke: float | None = None
    best: float | None = None
    of: str = ""


class Runs:
    """The runs below a folder; what did not change is not read again."""

    def __init__(self, folder: Folder):
        self.folder = folder
        self._known: dict[tuple[Path, str], tuple[tuple, Any]] = {}

    def find(self) -> list[Run]:
        """All runs, the one that spoke last first."""
        found: list[Run] = []
        for path, folders, files in self.folder.walk():
            if self._is_study(path, files):
                found.append(self._study(path))
                folders[:] = []
                continue
            if "study.yaml" in files and not self._has_results(path):
                found += self._waiting(path)
            shown = {n.removesuffix(SUFFIX) for n in folders if n.endswith(SUFFIX)}
            found += [self._live(path / (n + SUFFIX)) for n in sorted(shown)]
            folders[:] = [n for n in folders if not n.endswith(SUFFIX)]
            arrays = [path / n for n in files if n.endswith(".h5") and n.removesuffix(".h5") not in shown]
            self._look(arrays)
            for file in arrays:
                found += self._file(file)
        return sorted(found, key=lambda run: (-(run.spoke or 0), run.name))

    def datasets(self) -> list[str]:
        """Names of the datasets in the folder."""
        found = []
        for path, folders, files in self.folder.walk():
            folders[:] = [n for n in folders if not n.endswith(SUFFIX)]
            arrays = [path / n for n in files if n.endswith(".h5")]
            self._look(arrays)
            found += [file for file in arrays if self._kind(file) == "dataset"]
        return [self.folder.name(path) for path in found]

    def instrument_files(self) -> list[str]:
        """Names of files that detectors write, by their suffix."""
        found = []
        for path, folders, files in self.folder.walk():
            folders[:] = [n for n in folders if not n.endswith(SUFFIX)]
            found += [path / n for n in files if n.lower().endswith(INSTRUMENT_SUFFIXES)]
        return [self.folder.name(path) for path in found]

    def studies(self) -> list[str]:
        """Names of the folders in studies/ with a study.yaml."""
        found = [
            path for path, _, files in self.folder.walk() if "study.yaml" in files and path.parent.name == "studies"
        ]
        return [self.folder.name(path) for path in found]

    def plans(self) -> list[str]:
        """Names of the files and folders that may hold a plan of a beam time."""
        found = []
        for path, folders, files in self.folder.walk():
            folders[:] = [n for n in folders if not n.endswith(SUFFIX)]
            if self._is_study(path, files):
                folders[:] = []
                continue
            for name in files:
                if name.endswith((".yaml", ".yml")) and _is_plan(self._cached(path / name, "yaml", glance)):
                    found.append(path if name == "study.yaml" else path / name)
        return [self.folder.name(path) for path in found]

    def _is_study(self, path: Path, files: list[str]) -> bool:
        """Whether a folder holds a study's results. The old name of resolved.yaml is that of many a plan, too."""
        if RESOLVED in files or OLD_RESOLVED not in files:
            return RESOLVED in files
        content = self._cached(path / OLD_RESOLVED, "yaml", glance)
        return isinstance(content, dict) and "resolved" in content

    def _study(self, path: Path) -> Run:
        if link := link_in(path):
            return Run(self.folder.name(path), STUDY, "", path.name, UNREADABLE, LINKED.format(link))
        session = Session(path / "logs")
        said, name = session.read(), self.folder.name(path)
        made = self._cached(path / (RESOLVED if (path / RESOLVED).exists() else OLD_RESOLVED), "yaml", glance)
        if not isinstance(made, dict) or not isinstance(made.get("resolved"), dict):
            return Run(name, STUDY, "", path.name, UNREADABLE, "resolved.yaml says nothing of a study.")
        kind = str(said.get("kind") or made["resolved"].get("kind") or "experiment")
        file = path / "logs" / "progress.jsonl"
        noted = self._cached(file, str(said.get("version")), lambda p: _trials(p, said.get("version")))
        trials = {one: item for one, item in noted.items() if "spared" not in item}
        ended = noted.keys() - trials.keys()
        values = [value for value in (number(t.get("value")) for t in trials.values()) if value is not None]
        total = whole(said.get("total")) or 0
        total -= sum(whole(item.get("spared")) or 0 for item in noted.values())
        finished = (path / "report.html").exists()
        state = session.state() or (DONE if finished else STOPPED)
        cores = whole(said.get("cores")) or 1
        parts = said.get("parts") if isinstance(said.get("parts"), dict) else {}
        left = None
        if state == "running":
            with suppress(TypeError, KeyError):
                left = seconds_left(trials, total, max(cores, 1), parts, ended)
        return Run(
            name=name,
            sort=PLAN if kind in ("planning", "plan") else STUDY,
            kind=kind,
            title=_title(made, path),
            state=state,
            reason=_reason(state, said) or ("" if finished or said else "It did not come to its report."),
            done=len(trials),
            total=total or (len(trials) if finished else 0),
            failed=len(trials) - len(values),
            left_s=left,
            spoke=session.spoke() or _changed(file) or _changed(path),
            best=max(values, default=None),
            of=_of(trials, said),
        )

    def _waiting(self, path: Path) -> list[Run]:
        content = self._cached(path / "study.yaml", "yaml", glance)
        if not isinstance(content, dict):
            return []
        kind = str(content.get("kind", "experiment"))
        sort = PLAN if kind in ("planning", "plan") else STUDY
        return [Run(self.folder.name(path), sort, kind, _title(content, path), WAITING)]

    def _has_results(self, path: Path) -> bool:
        """Whether a study's folder in studies/ has results of any scale beside it."""
        results = path.parent.parent / "results"
        return any(
            (results / name / RESOLVED).exists() for name in (path.name, f"{path.name}-smoke", f"{path.name}-paper")
        )

    def _live(self, path: Path) -> Run:
        if link := link_in(path):
            return Run(self.folder.name(path), RECONSTRUCTION, "", path.stem, UNREADABLE, LINKED.format(link))
        session = Session(path)
        said, state = session.read(), session.state()
        if not said:
            return Run(self.folder.name(path), RECONSTRUCTION, "", path.stem, UNREADABLE, "No session.json in it.")
        lines = self._cached(path / "progress.jsonl", "sweeps", sweeps)
        total = whole(said.get("sweeps")) or 0
        last = lines[-1] if lines else {}
        return Run(
            name=self.folder.name(path),
            sort=RECONSTRUCTION,
            kind=engines_of(said.get("plan")),
            title=path.stem,
            state=state,
            reason=_reason(state, said),
            done=int(last.get("sweep", 0)),
            total=total,
            left_s=_left(lines, total) if state == "running" else None,
            spoke=session.spoke(),
            best=number(last.get("loss")),
        )

    def _finished(self, path: Path) -> Run:
        name = self.folder.name(path)
        try:
            said = hdf5.read_hdf5_attributes(path, "reconstruction")
            outcome = said["outcome"]
            return Run(name, RECONSTRUCTION, engines_of(said["plan"]), path.stem,
                       DONE if outcome["status"] != "diverged" else "failed", str(outcome["reason"]),
                       int(outcome["sweeps"]), int(outcome["sweeps"]), spoke=_changed(path))  # fmt: skip
        except (InputError, KeyError, TypeError, ValueError) as error:
            return Run(name, RECONSTRUCTION, "", path.stem, UNREADABLE, str(error))

    def _kept(self, path: Path) -> Run:
        name = self.folder.name(path)
        try:
            said = hdf5.read_hdf5_attributes(path, "checkpoint")
            loss = said["record"]["loss"]
            return Run(name, RECONSTRUCTION, engines_of(said["plan"]), path.stem, STOPPED,
                       "A checkpoint: go on from it with `ptydesign reconstruct --resume`.",
                       len(loss), _sweeps(said["plan"]), spoke=_changed(path),
                       best=number(loss[-1]) if loss else None)  # fmt: skip
        except (InputError, KeyError, TypeError, ValueError) as error:
            return Run(name, RECONSTRUCTION, "", path.stem, UNREADABLE, str(error))

    def _look(self, paths: Sequence[Path]) -> None:
        """Look at all HDF5 files that are new, at once, before one of them is read."""
        new = [path for path in paths if not self._is_known(path, "trouble")]
        found = unreadable(new)
        for path in new:
            self._cached(path, "trouble", lambda path: found.get(path, ""))

    def _file(self, path: Path) -> list[Run]:
        if trouble := self._cached(path, "trouble", _trouble):
            return [Run(self.folder.name(path), RECONSTRUCTION, "", path.stem, UNREADABLE, f"HDF5: {trouble}")]
        kind = self._kind(path)
        if kind == "reconstruction":
            return [self._cached(path, "run", self._finished)]
        if kind == "checkpoint":
            return [self._cached(path, "run", self._kept)]
        return []

    def _kind(self, path: Path) -> str:
        if self._cached(path, "trouble", _trouble):
            return ""

        def kind(path: Path) -> str:
            with suppress(InputError):
                return hdf5.kind_of(path)
            return ""

        return self._cached(path, "kind", kind)

    def _cached(self, path: Path, what: str, read: Callable[[Path], Content]) -> Content:
        """What `read` makes of a file, read again when the file changes."""
        if not self._is_known(path, what):
            if len(self._known) > MOST_CACHED:
                self._known.clear()
            stamp = _stamp(path)
            self._known[path, what] = stamp, read(path)
        return self._known[path, what][1]

    def _is_known(self, path: Path, what: str) -> bool:
        known = self._known.get((path, what))
        return known is not None and known[0] == _stamp(path)


def _stamp(path: Path) -> tuple:
    """What changes with a file."""
    try:
        stat = path.stat()
    except OSError:
        return ()
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


def _trouble(path: Path) -> str:
    return unreadable([path]).get(path, "")


def sweeps(path: Path) -> list[dict[str, Any]]:
    """Lines of a reconstruction's progress, one for each sweep: those of a resumed run replace what came after its
    checkpoint."""
    lines = Lines(path)
    lines.update()
    return by_sweep(lines.items)


def by_sweep(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The last line of each sweep, and none beyond the sweep at which the last resumed run is."""
    found: dict[int, dict[str, Any]] = {}
    for item in items:
        sweep = whole(item.get("sweep"))
        if sweep is not None:
            if found and sweep <= max(found):
                found = {number: one for number, one in found.items() if number < sweep}
            found[sweep] = item
    return list(found.values())


def engines_of(plan: Any) -> str:
    """`lsqml, gradient`: the engines of a plan."""
    with suppress(KeyError, TypeError):
        return ", ".join(dict.fromkeys(str(one["engine"]) for one in plan["engines"]))
    return ""


def _sweeps(plan: Any) -> int:
    return sum(int(one["sweeps"]) for one in plan["engines"])


def _trials(path: Path, version: str | None) -> dict[str, dict[str, Any]]:
    """Trials by name; only those of the study as it is now, if that is known."""
    lines = Lines(path)
    lines.update()
    return latest(lines.items, version)


def latest(items: list[dict[str, Any]], version: str | None) -> dict[str, dict[str, Any]]:
    """The last line of each trial, with the time that it took when it was computed."""
    found: dict[str, dict[str, Any]] = {}
    for item in items:
        name = item.get("trial")
        if isinstance(name, str) and (version is None or item.get("of") == version):
            if item.get("s") is None and name in found:
                item = {**item, "s": found[name].get("s"), "t": found[name].get("t")}
            found[name] = item
    return found


def _left(lines: list[dict[str, Any]], total: int) -> float | None:
    """Seconds left, from the sweeps after the first, which holds the compilation."""
    with suppress(KeyError, TypeError, IndexError):
        recent = lines[-20:] if len(lines) > 2 else lines
        first, last = recent[0], recent[-1]
        if last["sweep"] > first["sweep"]:
            each = (last["s"] - first["s"]) / (last["sweep"] - first["sweep"])
            return max(0.0, each * (total - last["sweep"]))
    return None


def _reason(state: str, said: dict[str, Any]) -> str:
    if state == SILENT:
        return "It gave no sign of life for a while: killed, or its machine is gone. Its command goes on where it was."
    return str(said.get("reason") or "")


def _of(trials: dict[str, dict[str, Any]], said: dict[str, Any]) -> str:
    """What the best score is of: its metric and dose."""
    scored = [one for one in trials.values() if number(one.get("value")) is not None]
    dose = number(max(scored, key=lambda one: one["value"]).get("dose")) if scored else None
    named = said.get("metric")
    metric, sign = METRICS.get(named, (plain_name(named), 1)) if isinstance(named, str) else ("score", 1)
    unit = "e/Å²" if said.get("unit") == "e/A^2" else str(said.get("unit") or "")
    return f"{'' if sign > 0 else '−'}{metric}" + (f" at {dose:,g} {unit}".rstrip() if dose is not None else "")


def _is_plan(content: Any) -> bool:
    return isinstance(content, dict) and {"instrument", "detector", "goal"} <= set(content)


def _title(content: dict[str, Any], path: Path) -> str:
    return str(content.get("title") or path.name)[:LONGEST_TITLE]


def _changed(path: Path) -> float | None:
    with suppress(OSError):
        return path.stat().st_mtime
    return None
