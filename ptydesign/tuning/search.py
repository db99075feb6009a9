"""Searches: each asks for a plan, evaluates it, tells the result, one at a time; a segment of them is one job.

A search is a pure function of (space, settings, seed, results), so a killed one that starts again proposes the same
plans and finds their results in the point store. Searches of one repeat share their first points.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ptydesign import io
from ptydesign.design.settings import Observation, SearchConfig
from ptydesign.design.space import build_space
from ptydesign.study.records import read_record
from ptydesign.study.store import seed_of
from ptydesign.tuning import scope
from ptydesign.tuning.config import TuningConfig
from ptydesign.tuning.data import Pair, read_pair
from ptydesign.tuning.scope import BO, Search
from ptydesign.tuning.trial import Runner, Trial, metric_value, objective_value

AUGMENT = 0.05  # weight of the sum beside the largest term, as in ParEGO


def search_plans(resolved: Any, search: str, segment: int, progress: Any = None) -> Path:
    """Do one segment of a search and write all trials so far."""
    study, asked = resolved.study, scope.find_search(resolved.study, search)
    before = resolved.read_json(asked.file(segment - 1)) if segment else {"trials": [], "state": None}
    trials, state = list(before["trials"]), before["state"]
    pair = search_pair(resolved)
    runner = Runner(study, resolved.root, progress)
    first = first_points(study, asked)
    while len(trials) < min((segment + 1) * asked.segment, asked.total):
        if len(trials) < len(first):
            point = first[len(trials)]
        else:
            point, state = _next_point(study, asked, trials, state)
        result = runner.run(Trial(study, point, asked.budget, pair), f"{search}/{len(trials)}")
        trials.append({"index": len(trials), "point": point, **result})
    return resolved.write_json(asked.file(segment), {"search": search, "trials": trials, "state": state})


def search_pair(resolved: Any) -> Pair:
    """The data that searches see."""
    return read_pair(resolved.results, 0, scope.data_name(resolved.study))


def first_points(study: TuningConfig, search: Search) -> list[dict[str, Any]]:
    """All points of a random search; the first ones of a Bayesian one."""
    from ptydesign.design.propose import initial_design

    space, config = build_space(study.space), study.search
    seed = seed_of(study.seed, "first", search.repeat)
    points = initial_design(space, search.total, "random", seed)
    if search.method != BO:
        return points
    if config.initial_design == "random":
        return points[: config.initial]
    return initial_design(space, config.initial, config.initial_design, seed)


def _next_point(study: TuningConfig, search: Search, trials: list, state: Any) -> tuple[dict[str, Any], Any]:
    from ptydesign.design.propose import propose

    space = build_space(study.space)
    config = SearchConfig.model_validate(study.search.model_dump(include=set(SearchConfig.model_fields)))
    seed = seed_of(study.seed, "propose", search.name)
    if len(study.objective.metrics) > 1:
        # other weights make other values of all trials: nothing is remembered
        values = weighted(study, trials, seed)
        seen = [Observation(t["point"], v, t["reason"]) for t, v in zip(trials, values, strict=True)]
        points, _ = propose(space, config.model_copy(update={"acquisition": "EI"}), [seen], 1, seed + len(trials))
        return points[0], None
    seen = [Observation(t["point"], objective_value(study, t), t["reason"]) for t in trials]
    start = study.search.initial
    rounds = [seen[:start], *([one] for one in seen[start:])]
    points, state = propose(space, config, rounds, 1, seed, state)
    return points[0], state


def weighted(study: TuningConfig, trials: list, seed: int) -> list[float | None]:
    """Augmented Chebyshev sum of all metrics of each trial, scaled to [0, 1] over the trials, for random weights."""
    metrics = study.objective.metrics
    table = np.array([[np.nan if (v := metric_value(m, t)) is None else v for m in metrics] for t in trials], float)
    if np.all(np.isnan(table)):
        return [None] * len(trials)
    low, high = np.nanmin(table, axis=0), np.nanmax(table, axis=0)
    short = (high - table) / np.where(high > low, high - low, 1.0)
    weights = np.random.default_rng([seed, len(trials)]).dirichlet(np.ones(len(metrics)))
    values = -(np.max(weights * short, axis=1) + AUGMENT * np.sum(weights * short, axis=1))
    return [None if np.isnan(v) else float(v) for v in values]


def read_trials(results: Path, search: Search) -> list[dict[str, Any]]:
    """All trials of a finished search, in order."""
    return read_record(results, search.last_file)["trials"]


def choose(resolved: Any) -> Path:
    """The best plan that any search tried, at each budget; each as a file for `ptydesign reconstruct`, with the number
    of sweeps that the trial had."""
    import yaml

    from ptydesign.tuning.trial import plan_to_use

    study, results = resolved.study, resolved.results
    chosen: dict[str, Any] = {}
    for budget in scope.budgets(study):
        same = [s for s in scope.searches(study).values() if s.budget == budget]
        good = [(objective_value(study, t), t, s) for s in same for t in read_trials(results, s) if t["status"] == "ok"]
        entry: dict[str, Any] = {"point": None, "objective": None, "trials": sum(s.total for s in same)}
        sweeps = study.plan.sweeps
        if good:
            value, trial, search = max(good, key=lambda found: found[0])
            entry |= {"point": trial["point"], "objective": value, "search": search.name, "key": trial["key"]}
            sweeps = max(trial["sweeps"])
        chosen[budget.name] = entry
        content = plan_to_use(study, entry["point"] or {}, sweeps).model_dump(mode="json", exclude_unset=True)
        text = (
            f"# The best {study.objective.metrics[0]} of {entry['trials']} trials of study {study.study},\n"
            f"# with the sweeps that {budget.words} allowed for each scan; more of them may be better.\n"
            f"# Use it with: ptydesign reconstruct data.h5 {scope.best_file(budget)} -o out.h5\n"
        )
        io.write_text(results / scope.best_file(budget), text + yaml.safe_dump(content, sort_keys=False))
    return resolved.write_json(scope.BEST, chosen)
