"""Searches in rounds: points are asked for, evaluated in chunks, and told to the next round.

How many rounds and chunks there are follows from the study file. Where a round is one chunk, asking and evaluating are
one job. Files of a search, relative to the results folder:

search/<name>/round-<r>/points.json, chunk-<c>.json    points of a round, and its evaluated chunks
search/<name>/round-<r>/trials.json                    both, of a round that is one chunk
search/<name>/best.json                                the winner
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ptydesign.errors import InputError
from ptydesign.study.kind import Files, Step, Which
from ptydesign.study.records import REDO, read_record, write_record

POINTS = "search/{search}/round-{round}/points.json"
CHUNK = "search/{search}/round-{round}/chunk-{chunk}.json"
ROUND = "search/{search}/round-{round}/trials.json"
BEST = "search/{search}/best.json"


@dataclass(frozen=True, kw_only=True)
class Rounds:
    """One search. name: its folder; sizes: points of each round; chunk: points of one job."""

    name: str
    sizes: tuple[int, ...]
    chunk: int

    @property
    def ordered(self) -> bool:
        """Whether a round waits for the one before it, and the best point wins."""
        return True

    @property
    def total(self) -> int:
        """Number of trials."""
        return sum(self.sizes)

    def chunks(self, round_: int) -> int:
        """Number of jobs that evaluate a round."""
        return math.ceil(self.sizes[round_] / self.chunk)

    def whole(self, round_: int) -> bool:
        """Whether a round is one job, which asks and evaluates."""
        return self.chunks(round_) == 1

    def indices(self, round_: int, chunk: int) -> range:
        """Places of a chunk's points in its round."""
        return range(chunk * self.chunk, min((chunk + 1) * self.chunk, self.sizes[round_]))

    def points_file(self, round_: int) -> str:
        """File that holds the points of a round."""
        return (ROUND if self.whole(round_) else POINTS).format(search=self.name, round=round_)

    def trial_files(self, round_: int) -> list[str]:
        """Files that hold the trials of a round."""
        if self.whole(round_):
            return [ROUND.format(search=self.name, round=round_)]
        return [CHUNK.format(search=self.name, round=round_, chunk=c) for c in range(self.chunks(round_))]

    def all_files(self) -> list[str]:
        """Files that hold the trials of all rounds."""
        return [file for r in range(len(self.sizes)) for file in self.trial_files(r)]

    def files_before(self, round_: int) -> list[str]:
        """What the points of a round depend on: all earlier trials, and the search's state."""
        files = [file for r in range(round_) for file in self.trial_files(r)]
        return list(dict.fromkeys([*files, *([self.points_file(round_ - 1)] if round_ else [])]))

    @property
    def best_file(self) -> str:
        """File that holds the winner."""
        return BEST.format(search=self.name)

    def check(self, round_: int) -> None:
        """Raise InputError for a round that there isn't."""
        if not 0 <= round_ < len(self.sizes):
            rule = f"must lie in 0 ... {len(self.sizes) - 1}"
            raise InputError("round", rule, round_, "The search has so many rounds.")


def asked(searches: Iterable[Rounds]) -> list[Which]:
    """Rounds whose points are a file of their own."""
    return [{"search": s.name, "round": r} for s in searches for r in range(len(s.sizes)) if not s.whole(r)]


def chunked(searches: Iterable[Rounds]) -> list[Which]:
    """Chunks of these rounds."""
    found = [(s, r) for s in searches for r in range(len(s.sizes)) if not s.whole(r)]
    return [{"search": s.name, "round": r, "chunk": c} for s, r in found for c in range(s.chunks(r))]


def whole(searches: Iterable[Rounds]) -> list[Which]:
    """Rounds that are one job."""
    return [{"search": s.name, "round": r} for s in searches for r in range(len(s.sizes)) if s.whole(r)]


def steps(
    place: str,
    searches: Callable[[Any], Mapping[str, Rounds]],
    ready: str,
    proposed: Callable[..., dict[str, Any]],
    evaluated: Callable[..., dict[str, Any]],
    chosen: Callable[..., dict[str, Any]],
    before: Files | None = None,
    choice: str = "Choose the winner of a search.",
) -> tuple[Step, Step, Step, Step]:
    """The steps `round`, `propose`, `evaluate` and `choose` of a kind that searches in rounds.

    place: the module that has do_round, propose_points, evaluate and choose. searches: those of a resolved study, by
    name. ready: the file that trials need. proposed, evaluated, chosen: the settings that points, trials and a winner
    depend on. before: what points depend on, if it is more than the earlier rounds. choice: what `choose` does.
    """

    def of(resolved: Any) -> list[Rounds]:
        return list(searches(resolved).values())

    def earlier(resolved: Any, search: str, round_: int) -> list[str]:
        return searches(resolved)[search].files_before(round_)

    def points(resolved: Any, search: str, round_: int, chunk: int) -> list[str]:
        return [searches(resolved)[search].points_file(round_)]

    def trials(resolved: Any, search: str) -> list[str]:
        return searches(resolved)[search].all_files()

    def both(resolved: Any, search: str, round_: int) -> dict[str, Any]:
        return {"propose": proposed(resolved, search, round_), "evaluate": evaluated(resolved, search, round_)}

    before = before or earlier
    trial = {"memory": "trial", "priority": 10, "progress": True, "jax": True}  # what has no order fills the gaps
    return (
        Step("round", "Ask for the points of a round, and evaluate them.", f"{place}:do_round", (ROUND,),
             each=lambda resolved: whole(of(resolved)), needs=(ready, before), depends=both, **trial),
        Step("propose", "Write the points of a round.", f"{place}:propose_points", (POINTS,),
             each=lambda resolved: asked(of(resolved)), needs=(before,), depends=proposed, priority=20,
             local=True),
        Step("evaluate", "Evaluate one chunk of a round.", f"{place}:evaluate", (CHUNK,),
             each=lambda resolved: chunked(s for s in of(resolved) if s.ordered), needs=(ready, points),
             depends=evaluated, **trial),
        Step("choose", choice, f"{place}:choose", (BEST,),
             each=lambda resolved: [{"search": s.name} for s in of(resolved) if s.ordered], needs=(trials,),
             depends=chosen, priority=20, local=True),
    )  # fmt: skip


def write_points(results: Path, search: Rounds, round_: int, points: Sequence[Mapping[str, Any]], state: Any) -> Path:
    """Write the points of a round that is evaluated in chunks. state: of the search, which saves replaying it."""
    return write_record(results, search.points_file(round_), {"points": list(points), "state": state})


def read_points(results: Path, search: Rounds, round_: int) -> tuple[list[dict[str, Any]], Any]:
    """(points, state) of a round as they were asked for. Raises InputError if their number isn't the study's."""
    file = search.points_file(round_)
    content = read_record(results, file)
    points = content["points"]
    if len(points) != search.sizes[round_]:
        rule = f"must hold {search.sizes[round_]} points of {search.name}"
        raise InputError(str(Path(results) / file), rule, len(points), REDO)
    return points, content["state"]


def read_round(results: Path, search: Rounds, round_: int) -> list[dict[str, Any]]:
    """Records of the trials of a finished round, by index. Raises InputError for a file without just its own trials."""
    found = []
    for chunk, file in enumerate(search.trial_files(round_)):
        trials = read_record(results, file)["trials"]
        indices, wanted = [trial["index"] for trial in trials], list(search.indices(round_, chunk))
        if indices != wanted:
            raise InputError(str(Path(results) / file), f"must hold the trials {wanted}", indices, REDO)
        found += trials
    return found


def best_so_far(values: Sequence[float | None]) -> list[float | None]:
    """The greatest value up to each trial; None until one succeeds."""
    best: float | None = None
    result = []
    for value in values:
        if value is not None and (best is None or value > best):
            best = value
        result.append(best)
    return result
