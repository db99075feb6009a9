"""Which contender of a dose wins, after how many sweeps, and how sure that is: fresh noise until it is known.

A contender's reconstruction ends at the sweep that is best on average over its draws. The reference's stop is found
from draws of its own in the same way, so that both designs are judged at their best.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ptydesign import io
from ptydesign.experiment import scope
from ptydesign.experiment.resolve import Resolved
from ptydesign.experiment.search import Runner
from ptydesign.experiment.trial import Trial, common_stop, value_at
from ptydesign.study.acquisition import at_point
from ptydesign.study.decide import Standing, decide
from ptydesign.study.progress import Progress

FIRST = 1000  # numbers of these draws come after it, so that a validation has none of their noise


class Draws:
    """Draws of some designs at one dose, and what they are worth."""

    def __init__(self, runner: Runner, dose: str, points: Sequence[Mapping[str, Any]], worst: float | None):
        self.runner, self.dose, self.points, self.worst = runner, dose, points, worst
        self.study = runner.resolved.study
        self.found: list[dict[int, dict[str, Any]]] = [{} for _ in points]

    def draw(self, place: int, number: int) -> None:
        """Make draw `number`, 1, 2, ..., of the design at a place."""
        experiment = at_point(self.study.experiment, self.points[place])
        dose = scope.winner(self.study, self.dose).dose_e_per_a2
        name = f"decision/{self.dose}/{place}/{number}"
        key, result = self.runner.run(Trial(experiment, dose, repeat=FIRST + number), name)
        self.found[place][number] = {"number": number, "key": key, **result}

    def stop(self, place: int) -> int | None:
        """The sweep after which a design's reconstruction ends."""
        return common_stop(self.study, list(self.found[place].values()))

    def values(self) -> list[dict[int, float]]:
        """Objectives at each design's stop by draw; one that failed has the worst that the search saw."""
        found = []
        for place, draws in enumerate(self.found):
            stop = self.stop(place)
            values = {number: value_at(self.study, result, stop) for number, result in draws.items()}
            found.append({number: self.worst if value is None else value for number, value in values.items()})
        return found


def decide_winner(resolved: Resolved, dose: str, progress: Progress | None = None) -> Path:
    """Draw a dose's contenders until it is known which is best; write decision.json. No contender: a null winner."""
    study, found = resolved.study, scope.winner(resolved.study, dose)
    best = resolved.read_json(found.best_file)
    runner, points = Runner(resolved, progress), best["contenders"][: None if study.decision.draws else 1]
    content: dict[str, Any] = {"dose_e_per_a2": found.dose_e_per_a2, "point": None, "sweeps": None, "contenders": []}
    content |= {"tolerance": {}, "outcome": None, "draws": 0}
    if points:
        draws = Draws(runner, dose, points, best["worst"])
        outcome, said = decide(draws.draw, draws.values, len(points), study.decision)
        content |= {"outcome": outcome, "draws": sum(map(len, draws.found)), **_said(draws, said)}
        content["tolerance"] = _ranges(best["tolerance"], [points[i] for i in said.alike])
    reference = Draws(runner, dose, [study.reference.point], None)
    for number in range(1, study.decision.first + 1):
        reference.draw(0, number)
    content["reference"] = {"sweeps": reference.stop(0)}
    if progress is not None:
        progress.spare(f"decision/{dose}", scope.decision_trials(study) - content["draws"] - study.decision.first)
    path = resolved.results / scope.DECISION.format(dose=dose)
    io.write_json(path, content)
    return path


def _said(draws: Draws, said: Standing) -> dict[str, Any]:
    """The winner, and each contender beside it, the best first."""
    values, rows = draws.values(), []
    for place in sorted(range(len(values)), key=lambda i: -said.means[i]):
        rival = said.rivals[place]
        row = {"place": place, "point": draws.points[place], "sweeps": draws.stop(place)}
        row |= {"mean": said.means[place], "values": values[place], "alike": place in said.alike}
        row |= {"keys": [draws.found[place][number]["key"] for number in sorted(draws.found[place])]}
        names = ("difference", "low", "high", "better")
        rows.append(row | {name: None if rival is None else getattr(rival, name) for name in names})
    point, sweeps = draws.points[said.leader], draws.stop(said.leader)
    sure = {"probability_best": said.best, "probability_good": said.good, "expected_loss": said.loss}
    return {"point": point, "sweeps": sweeps, "contenders": rows, **sure}


def _ranges(model: Mapping[str, Any], alike: Sequence[Mapping[str, Any]]) -> dict[str, list]:
    """[low, high] of each parameter: of the model's plateau and of the contenders that can't be told from the winner.

    No ends for words."""
    result = {}
    for name in alike[0]:
        low, high = model.get(name) or (None, None)
        values = [point[name] for point in alike]
        known = isinstance(values[0], int | float) and not isinstance(values[0], bool)
        ends = [value for value in (low, high, *values) if value is not None]
        result[name] = [min(ends), max(ends)] if known else [None, None]
    return result
