"""Trials of a dose after the rounds of its search, one by one, where a model of all that is known expects most.

A search proposes many points at a time, and so may leave a narrow optimum between them. Here each point waits for the
result of the one before it. The first points are what the searches of the other doses found, since the best design
changes little from dose to dose, and the model is of the trials of all doses. The end is decided: no more trials once
the model expects too little of another one.

Doses are refined beside each other, and one may find there what another one lacks. So all is said and done twice:
before its contenders are drawn, each dose tries what the others have found by then.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ptydesign.design.settings import Observation
from ptydesign.design.space import Point, Space
from ptydesign.experiment import scope
from ptydesign.experiment.config import StudyConfig
from ptydesign.experiment.points import experiment_at
from ptydesign.experiment.resolve import Resolved
from ptydesign.experiment.search import Runner, all_observations, study_at
from ptydesign.experiment.trial import Trial, objective_value
from ptydesign.study.progress import Progress

FIRST = 20_000  # numbers of these draws of noise come after it, apart from all others
OTHERS, MODEL = "others", "model"  # where a point comes from

Attempt = Callable[[Point, str], Observation]  # makes a trial of a point
Tried = Mapping[float, Sequence[Observation]]  # trials of each dose's search
Found = Mapping[float, Sequence[Point]]  # contenders of each dose's search


@dataclass(frozen=True)
class Refined:
    """What all trials of a dose say together.

    contenders, tolerance: as `choose` finds them of a search. gain: what the model expects of one more trial, in the
    objective's unit.
    """

    contenders: list[Point]
    tolerance: dict[str, list]
    gain: float


def refine_search(resolved: Resolved, dose: str, progress: Progress | None = None) -> Path:
    """Go on after the search of a dose; write refined.json: the records of the trials, contenders, ranges, gain."""
    names = ("dose_e_per_a2", "contenders", "tolerance", "worst")
    known = {}
    for name in scope.helping(resolved.study, dose):
        best = resolved.read_json(scope.winner(resolved.study, name).best_file)
        known[name] = {"refined": [], "gain": None} | {one: best[one] for one in names}
    return resolved.write_json(scope.REFINED_FILE.format(dose=dose), _further(Runner(resolved, progress), dose, known))


def exchanged(runner: Runner, dose: str) -> dict[str, Any]:
    """As refined.json of a dose has it, after it tried what the other doses found when they were refined."""
    resolved = runner.resolved
    names = scope.helping(resolved.study, dose)
    known = {name: resolved.read_json(scope.REFINED_FILE.format(dose=name)) for name in names}
    return known[dose] if len(known) == 1 else _further(runner, dose, known)


def _further(runner: Runner, dose: str, known: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What is known of a dose after more trials. known: what is known of all doses that help it, by their names."""
    resolved, study, own = runner.resolved, runner.resolved.study, known[dose]
    tried = {
        one["dose_e_per_a2"]: [
            *all_observations(resolved, scope.winner(study, name)),
            *(_observation(study, record) for record in one["refined"]),
        ]
        for name, one in known.items()
    }
    found = {one["dose_e_per_a2"]: one["contenders"] for one in known.values()}
    left = study.decision.refine - sum(record["found"] == MODEL for record in own["refined"])
    attempts = Attempts(runner, dose, own["refined"])
    refined = refine(study, tried, own["dose_e_per_a2"], found, attempts, left)
    return {**own, "refined": attempts.records, **({} if refined is None else vars(refined))}


def refine(study: StudyConfig, tried: Tried, own: float, found: Found, attempt: Attempt, left: int) -> Refined | None:
    """Try at the dose `own` what the other doses found, and then what a model asks for; None where there is too little
    for a model. tried: trials of each dose; found: its contenders, the best first; left: how many a model may ask for.

    The model is of the trials of all doses, if they help each other. Contenders and tolerances are of the dose's own.
    """
    from ptydesign.design.surrogate import contenders, plateau, surrogate
    from ptydesign.experiment.contenders import of_others, shared_model

    space, config, together = scope.design_space(study), study.decision, study.decision.others and len(tried) > 1
    seen = list(tried[own])

    def model(smoothness: Sequence[float] | None = None) -> Any:
        if together:
            return shared_model(space, study.search, {**tried, own: seen}, own, study.seed, smoothness)
        return surrogate(space, study.search, seen, study.seed, smoothness) if _various(seen) else None

    known = model()
    if together:
        others = of_others(found, own, None if known is None else known.best())
        seen += [attempt(point, OTHERS) for point in _new(space, seen, others)]
        known = model()
    if known is None:
        return None
    while True:
        point, gain = known.challenger()
        if left == 0 or gain < scope.WORTH * config.zone:
            break
        seen.append(attempt(point, MODEL))
        known, left = model((known.nu,)), left - 1
    of_own = surrogate(space, study.search, seen, study.seed)
    ranges = {name: [one.low, one.high] for name, one in plateau(of_own, scope.WITHIN).items()}
    return Refined(contenders(of_own, config.contenders), ranges, gain)


def _various(seen: Sequence[Observation]) -> bool:
    """Whether a model can be fitted."""
    return len({one.value for one in seen if not one.failed}) > 1


class Attempts:
    """Trials of a dose with noise of their own, and their records: with the point, and as `found` OTHERS or MODEL.
    made: records of earlier ones."""

    def __init__(self, runner: Runner, dose: str, made: Sequence[dict[str, Any]] = ()):
        self.runner, self.dose, self.study = runner, dose, runner.resolved.study
        self.records: list[dict[str, Any]] = list(made)

    def __call__(self, point: Mapping[str, Any], found: str) -> Observation:
        """Make the next one."""
        index, at = len(self.records), scope.winner(self.study, self.dose).dose_e_per_a2
        trial = Trial(experiment_at(self.study.experiment, point), at, repeat=FIRST + index)
        name = f"decision/{self.dose}/refine/{index}"
        key, result = self.runner.run(trial, name, study=study_at(self.study, point), point=point)
        self.records.append({"index": index, "point": dict(point), "found": found, "key": key, **result})
        return _observation(self.study, self.records[-1])


def _observation(study: StudyConfig, record: Mapping[str, Any]) -> Observation:
    return Observation(record["point"], objective_value(study, record), record["reason"])


def _new(space: Space, tried: Sequence[Observation], points: Sequence[Point]) -> list[Point]:
    """Those that weren't tried, none twice."""
    taken = [space.validate_point(one.point) for one in tried]
    found: list[Point] = []
    for point in map(space.validate_point, points):
        if point not in taken and point not in found:
            found.append(point)
    return found
