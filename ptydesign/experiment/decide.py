"""Which design of a dose wins, after how many sweeps, and how sure that is: fresh noise until it is known.

What other doses found is tried first (`refine`); contenders are what a model of all trials can't tell from its optimum.

A contender's reconstruction ends at the sweep that is best on average over its draws. The reference's plan and stop are
found from draws of its own in the same way, so that both designs are judged at their best.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ptydesign.experiment import scope
from ptydesign.experiment.points import experiment_at, of_experiment
from ptydesign.experiment.refine import exchanged
from ptydesign.experiment.resolve import Resolved
from ptydesign.experiment.search import Runner, study_at
from ptydesign.experiment.trial import Trial, common_stop, value_at
from ptydesign.study.decide import Standing, decide
from ptydesign.study.progress import Progress

FIRST = 1000  # numbers of these draws come after it, so that a validation has none of their noise


class Draws:
    """Draws of some designs at one dose, and what they are worth. name: of the designs, for the progress line."""

    def __init__(self, runner: Runner, dose: str, name: str, points: Sequence[Mapping[str, Any]], worst: float | None):
        self.runner, self.dose, self.name, self.points, self.worst = runner, dose, name, points, worst
        self.study = runner.resolved.study
        self.found: list[dict[int, dict[str, Any]]] = [{} for _ in points]

    def draw(self, place: int, number: int) -> None:
        """Make draw `number`, 1, 2, ..., of the design at a place."""
        point, dose = self.points[place], scope.winner(self.study, self.dose).dose_e_per_a2
        trial = Trial(experiment_at(self.study.experiment, point), dose, repeat=FIRST + number)
        name = f"decision/{self.dose}/{self.name}/{place}/{number}"
        key, result = self.runner.run(trial, name, study=study_at(self.study, point))
        self.found[place][number] = {"number": number, "key": key, **result}

    def stop(self, place: int) -> int | None:
        """The sweep after which a design's reconstruction ends."""
        return common_stop(self.study, list(self.found[place].values()))

    @property
    def spent(self) -> int:
        """Draws made."""
        return sum(map(len, self.found))

    def values(self) -> list[dict[int, float]]:
        """Objectives at each design's stop by draw; one that failed has the worst that is known."""
        found = []
        for place, draws in enumerate(self.found):
            stop = self.stop(place)
            found.append({number: value_at(self.study, result, stop) for number, result in draws.items()})
        seen = [value for values in found for value in values.values() if value is not None]
        worst = min([*seen, *([] if self.worst is None else [self.worst])], default=0.0)
        return [{n: worst if value is None else value for n, value in values.items()} for values in found]


def decide_winner(resolved: Resolved, dose: str, progress: Progress | None = None) -> Path:
    """Draw a dose's contenders until it is known which is best, and so the reference's plans; write decision.json.

    A search without a success has a null winner."""
    study, runner = resolved.study, Runner(resolved, progress)
    found, tuned = scope.winner(study, dose), scope.tuned(study, dose)
    if study.decision.draws:
        known = exchanged(runner, dose)
    else:
        known = {**resolved.read_json(found.best_file), "refined": [], "gain": None}
    content, spent = _decided(runner, dose, "search", known["contenders"], known)
    content |= {"refined": known["refined"], "expected_gain": known["gain"]}
    spent += len(known["refined"])
    reference = [study.reference.point]
    if tuned is not None:
        plans = resolved.read_json(tuned.best_file)
        reference += [scope.point_of(study, tuned, point) for point in plans["contenders"]]
    content["reference"], more = _decided(runner, dose, "reference", reference, {"worst": None, "tolerance": {}})
    spent += more
    if tuned is not None:
        content["default"] = {}
        for name in ("winner", "reference"):
            point = (content if name == "winner" else content["reference"])["point"]
            if point is not None:
                plain, more = _decided(runner, dose, f"default/{name}", [of_experiment(point)], {"worst": None})
                content["default"][name] = {"point": plain["point"], "sweeps": plain["sweeps"]}
                spent += more
    if progress is not None:
        progress.spare(f"decision/{dose}", scope.decision_trials(study) - spent)
    return resolved.write_json(scope.DECISION.format(dose=dose), {"dose_e_per_a2": found.dose_e_per_a2, **content})


def _decided(
    runner: Runner, dose: str, name: str, points: Sequence[Mapping[str, Any]], known: Mapping[str, Any]
) -> tuple[dict[str, Any], int]:
    """(what is found of some designs, draws spent). known: the worst score seen, and ranges by the search's model."""
    config = runner.resolved.study.decision
    points = points[: None if config.draws else 1]
    if not points:
        return {"point": None, "sweeps": None, "contenders": [], "tolerance": {}, "outcome": None, "draws": 0}, 0
    draws = Draws(runner, dose, name, points, known["worst"])
    outcome, said = decide(draws.draw, draws.values, len(points), config)
    ranges = _ranges(known.get("tolerance", {}), [points[i] for i in said.alike])
    return {"outcome": outcome, "draws": draws.spent, **_said(draws, said), "tolerance": ranges}, draws.spent


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

    No ends for words, and for what has no meaning at the winner."""
    result = {}
    for name in alike[0]:
        low, high = model.get(name) or (None, None)
        values = [point[name] for point in alike if point.get(name) is not None]
        known = values and all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
        ends = [value for value in (low, high, *values) if value is not None]
        result[name] = [min(ends), max(ends)] if known else [None, None]
    return result
