"""Steps of a search: the potential, points of a round, trials, the winner; and running trials with the point store."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ptydesign import accelerator
from ptydesign.design.settings import Observation
from ptydesign.errors import InputError
from ptydesign.experiment import scope
from ptydesign.experiment.checks import map_point
from ptydesign.experiment.config import StudyConfig
from ptydesign.experiment.objectives import costs_at
from ptydesign.experiment.points import experiment_at, plan_at
from ptydesign.experiment.resolve import Resolved
from ptydesign.experiment.scope import Search, find_search
from ptydesign.experiment.trial import Running, Trial, objective_value, run_trial, simulate_trial, study_inputs
from ptydesign.study import rounds
from ptydesign.study.draws import Save
from ptydesign.study.progress import Progress
from ptydesign.study.store import PointStore, cache_folder, digest, seed_of
from ptydesign.types import Potential


def build_potential(resolved: Resolved) -> None:
    """Build the sample's potential, or find it in the cache; write potential.json."""
    _, path = cached(resolved)
    resolved.write_json("potential.json", {"key": resolved.key, "shape": list(resolved.shape), "file": path.name})


def points_of(resolved: Resolved, search: Search, round_: int) -> tuple[list[dict[str, Any]], Any]:
    """(points, state) of a round: a pure function of (space, all earlier rounds, seed).

    Each dose has first points of its own, which together are spread evenly: what one dose's search finds helps the
    others. The random search and the map have one round only.
    """
    search.check(round_)
    if round_ == 0:
        return _first_points(resolved, search), None
    from ptydesign.design.propose import propose

    study = resolved.study
    history = [observations(resolved, search, r) for r in range(round_)]
    # the state saves replaying the rounds; proposals are the same without it
    _, state = rounds.read_points(resolved.results, search, round_ - 1)
    seed = seed_of(study.seed, "propose", search.dose_e_per_a2)
    return propose(scope.space_of(study, search), study.search, history, search.sizes[round_], seed, state)


def _first_points(resolved: Resolved, search: Search) -> list[dict[str, Any]]:
    study = resolved.study
    if search.kind == scope.MAP:
        return [map_point(study, x, y) for y in study.map.y.values for x in study.map.x.values]
    from ptydesign.design.propose import initial_design

    space, config = scope.space_of(study, search), study.search
    if search.kind == scope.RANDOM:
        return initial_design(space, search.total, "random", seed_of(study.seed, "random"))
    size, doses = search.sizes[0], study.doses_e_per_a2
    if search.kind != scope.TUNED:
        start = doses.index(search.dose_e_per_a2) * size
        own = initial_design(space, size * len(doses), config.initial_design, study.seed)[start : start + size]
        if len(own) == size:  # less if hardly any point may be tried
            return own
    return initial_design(space, size, config.initial_design, study.seed)


def propose_points(resolved: Resolved, search: str, round_: int) -> Path:
    """Write the points of a round that is evaluated in chunks."""
    found = find_search(resolved.study, search)
    return rounds.write_points(resolved.results, found, round_, *points_of(resolved, found, round_))


def evaluate(resolved: Resolved, search: str, round_: int, chunk: int, progress: Progress | None = None) -> Path:
    """Evaluate one chunk of a round and write its records; trials in the point store are not computed again."""
    found = find_search(resolved.study, search)
    points, _ = rounds.read_points(resolved.results, found, round_)
    trials = _evaluated(resolved, found, round_, found.indices(round_, chunk), points, progress)
    content = {"search": search, "dose_e_per_a2": found.dose_e_per_a2, "round": round_, "trials": trials}
    return resolved.write_json(found.trial_files(round_)[chunk], content)


def do_round(resolved: Resolved, search: str, round_: int, progress: Progress | None = None) -> Path:
    """Ask for the points of a round that is one job, and evaluate them."""
    found = find_search(resolved.study, search)
    points, state = points_of(resolved, found, round_)
    trials = _evaluated(resolved, found, round_, range(len(points)), points, progress)
    content = {"search": search, "dose_e_per_a2": found.dose_e_per_a2, "round": round_, "points": points}
    return resolved.write_json(found.points_file(round_), {**content, "state": state, "trials": trials})


def _evaluated(
    resolved: Resolved,
    search: Search,
    round_: int,
    indices: Iterable[int],
    points: Sequence[Mapping[str, Any]],
    progress: Progress | None,
) -> list[dict[str, Any]]:
    """Records of some points of a round."""
    asked = []
    for index in indices:
        point = scope.point_of(resolved.study, search, points[index])
        trial = Trial(experiment_at(resolved.study.experiment, point), search.dose_e_per_a2)
        name = f"{search.name}/{round_}/{index}"
        asked.append(Asked(trial, name, study_at(resolved.study, point), points[index]))
    found = Runner(resolved, progress).run_all(asked)
    return [
        {"index": index, "point": points[index], "key": key, **result}
        for index, (key, result) in zip(indices, found, strict=True)
    ]


def choose(resolved: Resolved, search: str) -> Path:
    """The contenders of a search: the optimum of its model, and tried points that the model can't tell from it.

    With them the range of every parameter that stays within 5 % of the best, and the worst value seen, which a draw
    that fails counts as. Without a successful trial there are none.
    """
    from ptydesign.design.surrogate import apart, contenders, plateau, surrogate

    study, found = resolved.study, find_search(resolved.study, search)
    seen = all_observations(resolved, found)
    good = sorted((o for o in seen if not o.failed), key=lambda o: -o.value)
    space, most = scope.space_of(study, found), study.decision.contenders
    content: dict[str, Any] = {"search": search, "dose_e_per_a2": found.dose_e_per_a2, "contenders": []}
    content |= {"tolerance": {}, "worst": good[-1].value if good else None}
    if len({o.value for o in good}) > 1:
        model = surrogate(space, study.search, seen, study.seed)
        content |= {"contenders": contenders(model, most), "chosen_by": "surrogate"}
        content |= {"noise_std": float(model.noise_std)}
        content["tolerance"] = {n: [r.low, r.high] for n, r in plateau(model, scope.WITHIN).items()}
    elif good:
        chosen = [dict(good[0].point)]
        for one in good[1:]:
            chosen = apart(space, chosen, dict(one.point), most)
        content |= {"contenders": chosen, "chosen_by": "best score"}
    return resolved.write_json(found.best_file, content)


def all_observations(resolved: Resolved, search: Search) -> list[Observation]:
    """What a finished search found, in the order in which it was proposed."""
    return [one for round_ in range(len(search.sizes)) for one in observations(resolved, search, round_)]


def observations(resolved: Resolved, search: Search, round_: int) -> list[Observation]:
    """What a finished round found, in the order in which it was proposed."""
    found, study = rounds.read_round(resolved.results, search, round_), resolved.study
    return [
        Observation(
            r["point"],
            objective_value(study, r),
            r["reason"],
            tuple(costs_at(study, r["point"], search.dose_e_per_a2).values()),
        )
        for r in found
    ]


def study_at(study: StudyConfig, point: Mapping[str, Any]) -> StudyConfig:
    """The study with the plan of reconstruction that a point asks for."""
    plan = plan_at(study.reconstruction, point)
    return study if plan is None else study.model_copy(update={"reconstruction": plan})


@dataclass(frozen=True)
class Asked:
    """A trial to run. name: for the progress line; None for a trial that isn't counted. study: the study with the
    trial's plan of reconstruction. point: what a search asked for, for the progress line."""

    trial: Trial
    name: str | None
    study: StudyConfig
    point: Mapping[str, Any] | None = None


class Runner:
    """Runs trials, or takes them from the point store; the potential is loaded when the first trial needs it."""

    def __init__(self, resolved: Resolved, progress: Progress | None = None):
        self.resolved = resolved
        self.store = PointStore(resolved.root)
        self.progress = progress
        self._potential = None
        self._simulated: tuple[Trial, Any] | None = None

    def run(
        self,
        trial: Trial,
        name: str | None,
        save: Save | None = None,
        study: StudyConfig | None = None,
        point: Mapping[str, Any] | None = None,
    ) -> tuple[str, dict[str, Any]]:
        """(key, result) of a trial.

        name, point: as in `Asked`. save: called with (key, comparison) before the record of a scored trial appears.
        study: the study with another plan of reconstruction; the data of one trial are simulated once for all.
        """
        return self._run(Asked(trial, name, study or self.resolved.study, point), save)

    def run_all(self, asked: Sequence[Asked]) -> list[tuple[str, dict[str, Any]]]:
        """(key, result) of each trial. On an accelerator they are run together."""
        if not accelerator.used():
            return [self._run(one) for one in asked]
        from ptydesign.experiment.together import run_together

        keys = [one.trial.key(one.study, self.resolved.key) for one in asked]
        missing = {key: one for key, one in zip(keys, asked, strict=True) if self.store.get(key) is None}
        running = {key: Running(one.study, self.potential(), one.trial) for key, one in missing.items()}
        named = {id(trial): key for key, trial in running.items()}
        for ended in run_together(list(running.values())):
            key = named[id(ended)]
            self._put(key, missing[key], ended.result, ended.cost)
            self._told(missing[key], key, ended.result, round(sum(ended.cost.values()), 3))
        found = []
        for key, one in zip(keys, asked, strict=True):
            result = self.store.get(key)["result"]
            if key not in missing:
                self._told(one, key, result, None)
            found.append((key, result))
        return found

    def _run(self, asked: Asked, save: Save | None = None) -> tuple[str, dict[str, Any]]:
        key = asked.trial.key(asked.study, self.resolved.key)
        record, seconds = self.store.get(key), None
        if record is not None and save is not None and record["result"]["status"] == "ok":
            record = record if self.store.has_images(key) else None
        if record is None:
            start = time.perf_counter()
            result, cost, comparison = run_trial(asked.study, self.potential(), asked.trial, self._simulate)
            if save is not None and comparison is not None:
                save(key, comparison)
            self._put(key, asked, result, cost)
            seconds = round(time.perf_counter() - start, 3)
        else:
            result = record["result"]
        self._told(asked, key, result, seconds)
        return key, result

    def _put(self, key: str, asked: Asked, result: dict[str, Any], cost: dict[str, float]) -> None:
        inputs = asked.trial.inputs(asked.study, self.resolved.key)
        self.store.put(key, {"inputs": inputs, "result": result, "cost": cost})

    def _told(self, asked: Asked, key: str, result: Mapping[str, Any], seconds: float | None) -> None:
        if self.progress is None or asked.name is None:
            return
        about = {"point": asked.point, "key": key, "status": result["status"], "reason": result["reason"]}
        value = objective_value(asked.study, result)
        self.progress.done(asked.name, asked.trial.asked_e_per_a2, value, seconds, about)

    def _simulate(self, study: StudyConfig, potential: Any, trial: Trial) -> Any:
        """The data of a trial; those of the last one are at hand. None are while others are made: they are large."""
        data = replace(trial, stop=None)
        if self._simulated is None or self._simulated[0] != data:
            self._simulated = None
            self._simulated = data, simulate_trial(study, potential, trial)
        return self._simulated[1]

    def potential(self) -> Any:
        """The study's potential, from the cache."""
        if self._potential is None:
            self._potential, _ = cached(self.resolved)
        return self._potential


def cached(resolved: Resolved) -> tuple[Potential, Path]:
    """The study's potential, and its file in the cache; built if it isn't there or is damaged. Raises InputError if the
    sample's file changed."""
    from ptydesign.simulate.potential import cached_potential

    study = resolved.study
    cache = cache_folder(resolved.root)
    potential, path = cached_potential(study.sample, study.potential, resolved.shape, study.seed, cache)
    if resolved.key not in path.name:
        mend = "Run the study's snakemake command again."
        raise InputError("sample.file", "must be the file that the study was resolved with", str(path), mend)
    return potential, path


def version_of(resolved: Resolved) -> str:
    """Hash of what determines a study's trials, for the progress line."""
    study = resolved.study
    return digest([study_inputs(study, resolved.key), study.experiment.model_dump(mode="json"), study.seed])[:8]
