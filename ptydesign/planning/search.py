"""The steps of a plan's searches: points of a round, evaluation, choice of the winner and its neighbours."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ptydesign.design.settings import Observation
from ptydesign.design.space import Point, Space
from ptydesign.errors import InputError, nearest
from ptydesign.experiment.search import Runner, cached
from ptydesign.experiment.trial import judged, objective_value
from ptydesign.planning import scope
from ptydesign.planning.errors import OF_SEARCH, drawn
from ptydesign.planning.instrument import Setting
from ptydesign.planning.operation import operate
from ptydesign.planning.resolve import PlanningResolved, detected_dose, expert_at, for_beam, to_experiment_config
from ptydesign.planning.scope import Search
from ptydesign.planning.space import make_space, point_of, setting_of
from ptydesign.planning.trial import PlannedTrial
from ptydesign.study import rounds
from ptydesign.study.draws import Save, fresh_draws
from ptydesign.study.file import dose_name
from ptydesign.study.progress import Progress
from ptydesign.study.store import digest, seed_of

WITHIN = 0.05  # of the best score: what counts as nearly as good
APART = 0.12  # least distance of two candidates, in widths of the search ranges
WORTH = 0.15  # of the best score: what another aperture's best setting may lack and still be tried under errors
PROBE = ("voltage_kv", "semiangle_mrad")  # the choices that make the probe, on which robustness depends most
SPREAD = 41  # values at which a parameter's tolerance is looked for


def find_search(resolved: PlanningResolved, name: str) -> Search:
    """A search by the name of its dose. Raises InputError."""
    known = scope.searches(resolved.study)
    if name not in known:
        raise InputError("dose", "must be one of the plan's", name, nearest(name, known))
    return known[name]


def build_potentials(resolved: PlanningResolved) -> None:
    """Build the potential of every mode, or find it in the cache; write potentials.json."""
    files = {mode.name: cached(one)[1].name for mode, one in resolved.modes.items()}
    resolved.write_json("potentials.json", files)


def points_of(resolved: PlanningResolved, search: Search, round_: int) -> tuple[list[Point], Any]:
    """(points, state) of a round: a pure function of (instrument, earlier rounds, best of the dose below, seed)."""
    from ptydesign.design.propose import propose

    search.check(round_)
    plan, space = resolved.study, make_space(resolved.bench, search.dose_e_per_a2)
    if round_ == 0:
        return _first_points(resolved, search, space), None
    history = [observations(resolved, search, r) for r in range(round_)]
    _, state = rounds.read_points(resolved.results, search, round_ - 1)
    seed = seed_of(plan.seed, "propose", search.dose_e_per_a2)
    return propose(space, plan.search, history, search.sizes[round_], seed, state)


def propose_points(resolved: PlanningResolved, search: str, round_: int) -> Path:
    """Write the points of a round that is evaluated in chunks."""
    found = find_search(resolved, search)
    return rounds.write_points(resolved.results, found, round_, *points_of(resolved, found, round_))


def _first_points(resolved: PlanningResolved, search: Search, space: Space) -> list[Point]:
    """The rule of thumb, and a spread-out design; after the first dose, half of it the best of the dose below that can
    be done here."""
    size = search.sizes[0]
    points = _own_point(resolved, search, space)
    if search.before is not None:
        below = find_search(resolved, dose_name(search.before))
        seen = [o for r in range(len(below.sizes)) for o in observations(resolved, below, r) if not o.failed]
        ranked = [dict(o.point) for o in sorted(seen, key=lambda o: -o.value)]
        ranked = [p for p in ranked if p not in points and (space.allowed is None or space.allowed(p))]
        points += ranked[: size // 2]
    return _filled(resolved, search, space, points)


def check_first_points(resolved: PlanningResolved, search: Search) -> None:
    """Raises InputError if a search has fewer settings to start from than it asks for."""
    space = make_space(resolved.bench, search.dose_e_per_a2)
    _filled(resolved, search, space, _own_point(resolved, search, space))


def _own_point(resolved: PlanningResolved, search: Search, space: Space) -> list[Point]:
    """The rule of thumb's point, if it can be done."""
    expert = point_of(space, expert_at(resolved.bench, search.dose_e_per_a2))
    return [expert] if space.allowed is None or space.allowed(expert) else []


def _filled(resolved: PlanningResolved, search: Search, space: Space, points: list[Point]) -> list[Point]:
    """Some points and a spread-out design, as many as the first round has. Raises InputError if there are fewer."""
    from ptydesign.design.propose import initial_design

    plan, size = resolved.study, search.sizes[0]
    fresh = initial_design(space, size, plan.search.initial_design, seed_of(plan.seed, "design", search.dose_e_per_a2))
    points = [*points, *[p for p in fresh if p not in points][: size - len(points)]]
    if len(points) < size:
        rule = f"must leave {size} different settings that are possible at {search.dose_e_per_a2:g} e/Å²"
        raise InputError("search.initial", rule, len(points), "Lower it, or widen the instrument's ranges.")
    return points


def evaluate(
    resolved: PlanningResolved, search: str, round_: int, chunk: int, progress: Progress | None = None
) -> Path:
    """Evaluate one chunk of a round; trials in the point store are not computed again."""
    found = find_search(resolved, search)
    points, _ = rounds.read_points(resolved.results, found, round_)
    trials = _evaluated(resolved, found, round_, found.indices(round_, chunk), points, progress)
    content = {"dose_e_per_a2": found.dose_e_per_a2, "round": round_, "trials": trials}
    return resolved.write_json(found.trial_files(round_)[chunk], content)


def do_round(resolved: PlanningResolved, search: str, round_: int, progress: Progress | None = None) -> Path:
    """Ask for the points of a round that is one job, and evaluate them."""
    found = find_search(resolved, search)
    points, state = points_of(resolved, found, round_)
    trials = _evaluated(resolved, found, round_, range(len(points)), points, progress)
    content = {"dose_e_per_a2": found.dose_e_per_a2, "round": round_, "points": points, "state": state}
    return resolved.write_json(found.points_file(round_), {**content, "trials": trials})


def _evaluated(
    resolved: PlanningResolved, search: Search, round_: int, indices: range, points: Sequence[Point], progress: Any
) -> list[dict[str, Any]]:
    """Records of some points of a round."""
    runners, trials = Runners(resolved, progress), []
    for index in indices:
        setting = setting_of(resolved.bench, points[index])
        name, dose = f"{search.name}/{round_}/{index}", search.dose_e_per_a2
        if resolved.study.errors == "none":  # as it is planned: what is known is in it all the same
            key, result, score = runners.planned(setting, dose, name)
        else:  # every trial its own: the surrogate learns the mean over them
            number = OF_SEARCH + sum(search.sizes[:round_]) + index
            trial, errors = drawn(resolved, setting, dose, number)
            key, result, score = runners.run(trial, setting, name, errors.thickness)
        trials.append({"index": index, "point": points[index], "key": key, "objective": score, **result})
    return trials


class Runners:
    """A `Runner` for each mode, made when a trial needs it."""

    def __init__(self, resolved: PlanningResolved, progress: Progress | None = None):
        self.resolved, self.progress = resolved, progress
        self._runners: dict[str, Runner] = {}

    def run(
        self, trial: PlannedTrial, setting: Setting, name: str, thickness: float = 1.0, save: Save | None = None
    ) -> tuple[str, dict[str, Any], float | None]:
        """(key, result, objective) of a trial; the result says which sweep counts, and its scores."""
        runner = self._of(setting, thickness)
        study = for_beam(self.resolved.bench, runner.resolved.study, trial.believed or trial.experiment)
        key, result = runner.run(trial, name, save, study=study, point=asdict(setting))
        return key, {**result, **judged(study, result)}, objective_value(study, result)

    def _of(self, setting: Setting, thickness: float = 1.0) -> Runner:
        one = self.resolved.of(setting, thickness)
        if one.key not in self._runners:
            self._runners[one.key] = Runner(one, self.progress)
        return self._runners[one.key]

    def trial(
        self, setting: Setting, dose: float, repeat: int = 0, stop: int | None = None, times: float = 1.0
    ) -> PlannedTrial:
        """A setting as it is planned for a dose. times: so many times the electrons, all else as it is."""
        bench = self.resolved.bench
        operation = operate(bench, setting, dose)
        config = to_experiment_config(bench, operation)
        electrons = times * detected_dose(bench, operation)
        return PlannedTrial(config, electrons, repeat=repeat, stop=stop, applied_e_per_a2=times * dose)

    def planned(
        self,
        setting: Setting,
        dose: float,
        name: str,
        repeat: int = 0,
        save: Save | None = None,
        stop: int | None = None,
    ) -> tuple[str, dict[str, Any], float | None]:
        """A setting as it is planned, nothing gone wrong."""
        return self.run(self.trial(setting, dose, repeat, stop), setting, name, save=save)

    def draws(
        self, setting: Setting, dose: float, name: str, draws: int, save: Save | None = None, stop: int | None = None
    ) -> list[dict[str, Any]]:
        """Results of a setting as it is planned, with fresh noise, each with its `objective`.

        name: for the progress line, before the draw's number. stop: see `PlannedTrial`."""

        def run(number: int, save: Save | None) -> Iterator[dict[str, Any]]:
            key, result, score = self.planned(setting, dose, f"{name}{number}", number, save, stop)
            yield {"key": key, "objective": score, **result}

        return fresh_draws(run, draws, save, every=True)


def choose(resolved: PlanningResolved, search: str) -> Path:
    """The winner of a dose and its neighbours: of the points that were tried, those of the highest mean of the
    surrogate that differ from each other, with each probe that is worth it. At the dose limit also how far each of
    their parameters may be off by the surrogate while the others stay: how far `tolerance` looks."""
    from ptydesign.design.surrogate import surrogate

    plan, found = resolved.study, find_search(resolved, search)
    seen = [o for r in range(len(found.sizes)) for o in observations(resolved, found, r)]
    good = [o for o in seen if not o.failed]
    if not good:
        reasons = ", ".join(sorted({o.reason for o in seen if o.reason}))[:200]
        mend = "Look at the reasons in the chunks' files; a larger field or fewer pixels often help."
        raise InputError(f"search {search}", "needs a trial that could be scored", reasons, mend)
    space = make_space(resolved.bench, found.dose_e_per_a2)
    ranked = sorted(good, key=lambda o: -o.value)
    scores = np.array([o.value for o in ranked])
    content: dict[str, Any] = {"dose_e_per_a2": found.dose_e_per_a2, "chosen_by": "best score"}
    model = None
    if len({o.value for o in good}) > 1:
        model = surrogate(space, plan.search, seen, plan.seed)
        mean, _ = model.predict([o.point for o in good])
        order = np.argsort(-mean, kind="stable")
        ranked, scores = [good[i] for i in order], mean[order]
        content |= {"chosen_by": "surrogate", "noise_std": float(model.noise_std), "mean": float(scores[0])}
    candidates = _different(space, [dict(o.point) for o in ranked], scores, plan.robustness.candidates)
    content |= {"candidates": candidates, "tolerances": {}}
    if model is not None and (plan.goal.minimise or found.dose_e_per_a2 == plan.goal.dose_limit):
        points = {f"candidate-{i}": point for i, point in enumerate(candidates)}
        points[scope.EXPERT_DESIGN] = point_of(space, expert_at(resolved.bench, found.dose_e_per_a2))
        content["tolerances"] = {name: tolerances(model.predict, space, point) for name, point in points.items()}
    return resolved.write_json(found.best_file, content)


def _different(space: Space, points: Sequence[Point], scores: np.ndarray, count: int) -> list[Point]:
    """Candidates from points in the order of their scores: the best, the best of each other probe that is WORTH it (the
    peak's neighbours all have the peak's probe, and fail together with it), then those that are APART from the ones
    chosen; nearer ones where there are no others."""
    chosen: list[Point] = []
    probes = set()
    for point, score in zip(points, scores, strict=True):
        probe = tuple(point.get(name) for name in PROBE)
        if len(chosen) < count and probe not in probes and score >= scores[0] - WORTH * abs(scores[0]):
            chosen.append(point)
            probes.add(probe)
    for apart in (APART, 0.0):
        for point in points:
            if len(chosen) < count and point not in chosen:
                here = space.to_unit([point])[0]
                if all(np.linalg.norm(here - space.to_unit([c])[0]) >= apart for c in chosen):
                    chosen.append(point)
    return chosen


def tolerances(predict: Callable, space: Space, point: Mapping[str, Any]) -> dict[str, list[float]]:
    """[low, high] of each range, the other parameters held, within which the surrogate is confident (by one standard
    deviation of its mean) that at most 5 % of the score at the point is lost."""
    found = {}
    threshold = float(predict([point])[0][0])
    threshold -= WITHIN * abs(threshold)
    for name, dimension in zip(space.names, space.dimensions, strict=True):
        if dimension.choices is not None:
            continue
        values = sorted({*dimension.from_features(np.linspace(0, 1, SPREAD)[:, None]), point[name]})
        mean, std = predict([{**point, name: value} for value in values])
        sure = mean - std
        low = high = values.index(point[name])
        while low > 0 and sure[low - 1] >= threshold:
            low -= 1
        while high < len(values) - 1 and sure[high + 1] >= threshold:
            high += 1
        found[name] = [values[low], values[high]]
    return found


def observations(resolved: PlanningResolved, search: Search, round_: int) -> list[Observation]:
    """What a finished round found, in the order in which it was proposed."""
    return [Observation(r["point"], r["objective"], r["reason"]) for r in read_round(resolved, search, round_)]


def read_round(resolved: PlanningResolved, search: Search, round_: int) -> list[dict[str, Any]]:
    """Records of a finished round by index."""
    return rounds.read_round(resolved.results, search, round_)


def version_of(resolved: PlanningResolved) -> str:
    """Hash of what determines a plan's trials, for the progress line."""
    return digest([resolved.content, sorted(one.key for one in resolved.modes.values())])[:8]
