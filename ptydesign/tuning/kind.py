"""The kind `tuning`: which reconstruction parameters are best for some data, in so much time or work.

results/<study>[-<scale>]/
  resolved.yaml
  data/repeat-<r>.json                    what was scanned: {data name: {folder, digest}}; the data beside it
  search/<method>-<budget>-<repeat>/segment-<s>.json
  best.json, best-<budget>.yaml           the plan found at each budget; a file for `ptydesign reconstruct`
  assess/<group>.json                     plans compared on other data, doses, budgets, one parameter at a time
  tables/, figures/, report.html, logs/
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ptydesign.study import cost
from ptydesign.study.kind import Counted, Kind, Step, Which
from ptydesign.study.store import digest
from ptydesign.study.tables import table_files
from ptydesign.study.versions import TRIAL, versions
from ptydesign.tuning import estimate, scope
from ptydesign.tuning.config import TuningConfig
from ptydesign.tuning.resolve import Resolved, resolve

# which jobs there are


def _repeats(resolved: Resolved) -> list[Which]:
    return [{"repeat": repeat} for repeat in scope.scans(resolved.study)]


def _segments(resolved: Resolved) -> list[Which]:
    found = scope.searches(resolved.study).values()
    return [{"search": search.name, "segment": number} for search in found for number in range(search.segments)]


def _groups(resolved: Resolved) -> list[Which]:
    return [{"group": name} for name in scope.groups(resolved.study)]


# what they need and make


def _before(resolved: Resolved, search: str, segment: int) -> list[str]:
    return [scope.find_search(resolved.study, search).file(segment - 1)] if segment else []


def _assessed_data(resolved: Resolved, group: str) -> list[str]:
    return [scope.DATA.format(repeat=scope.find_group(resolved.study, group).repeat)]


def _trials(resolved: Resolved) -> list[str]:
    return [search.last_file for search in scope.searches(resolved.study).values()]


def _best(resolved: Resolved) -> list[str]:
    return [scope.BEST, *map(scope.best_file, scope.budgets(resolved.study))]


# what they depend on, by value


def _scanned(resolved: Resolved, repeat: int) -> dict[str, Any]:
    """Of a simulated sample its potential; of measured files their size and time: another one is other data."""
    content, data = resolved.content, resolved.study.data
    told = dict(content["data"])
    if resolved.study.truth_known:
        told = {name: value for name, value in told.items() if name != "sample"} | {"potential_key": resolved.key}
    else:
        files = [file for name in ("file", "first", "second") if (file := getattr(data, name, None)) is not None]
        told["stamps"] = [[file.stat().st_size, file.stat().st_mtime_ns] for file in files]
    settings = {"data": told, "heldout": content["agreement"]["heldout"], "seed": content["seed"]}
    return {**settings, "repeat": repeat, **versions("simulate", "tuning")}


def _trial(resolved: Resolved) -> dict[str, Any]:
    """What all trials depend on."""
    names = ("plan", "agreement", "score", "prune", "objective", "seed")
    return {**{name: resolved.content[name] for name in names}, **versions(*TRIAL, "tuning")}


def _searched(resolved: Resolved, search: str, segment: int) -> dict[str, Any]:
    content = resolved.content
    kept = {n: v for n, v in content["search"].items() if n not in ("repeats", "smaller", "random")}
    which = {"search": search, "segment": segment}
    return {**_trial(resolved), "space": content["space"], "search": kept, **versions("design"), "which": which}


def _chosen(resolved: Resolved) -> dict[str, Any]:
    names = ("objective", "budget", "clock", "search", "plan", "prune")
    return {**{name: resolved.content[name] for name in names}, **versions("best")}


def _assessed(resolved: Resolved, group: str) -> dict[str, Any]:
    content = resolved.content
    more = {"effects": ("space",), "example": ("example",)}.get(scope.find_group(resolved.study, group).kind, ())
    return {**_trial(resolved), **{name: content[name] for name in ("references", *more)}, "group": group}


def _collected(resolved: Resolved) -> dict[str, Any]:
    return {**resolved.content, **versions("tuning")}


SCAN = Step(
    "scan",
    "Make two scans, or split measured ones; hold patterns out.",
    "ptydesign.tuning.data:scan",
    (scope.DATA,),
    each=_repeats,
    depends=_scanned,
    memory="trial",
    priority=30,
    jax=True,
)
SEARCH = Step(
    "search",
    "Do one segment of a search of plans.",
    "ptydesign.tuning.search:search_plans",
    (scope.SEGMENT,),
    each=_segments,
    needs=(scope.DATA.format(repeat=0), _before),
    depends=_searched,
    memory="trial",
    priority=20,
    progress=True,
    jax=True,
)
CHOOSE = Step(
    "choose",
    "Choose the best plan at each budget.",
    "ptydesign.tuning.search:choose",
    _best,
    needs=(_trials,),
    depends=_chosen,
    local=True,
)
ASSESS = Step(
    "assess",
    "Evaluate plans on other data, or one parameter at a time.",
    "ptydesign.tuning.assess:assess",
    (scope.ASSESSED,),
    each=_groups,
    needs=(scope.BEST, _assessed_data),
    depends=_assessed,
    memory="trial",
    priority=10,
    progress=True,
    jax=True,
)
COLLECT = Step(
    "collect",
    "Write the tables.",
    "ptydesign.tuning.collect:collect",
    lambda resolved: table_files(scope.tables(resolved.study)),
    needs=(scope.BEST, ASSESS.files, SCAN.files),
    depends=_collected,
    local=True,
)
STEPS = (SCAN, SEARCH, CHOOSE, ASSESS, COLLECT)


def words(resolved: Resolved, numbers: Mapping[str, Any]) -> str:
    """What the study takes, in words."""
    trials, size = scope.trials(resolved.study), scope.combinations(resolved.study.space)
    parts = ", ".join(f"{name} {count}" for name, count in trials.items())
    plans = f"{size:g} plans" if size else "a continuous space of plans"
    return cost.summary(resolved, numbers, f"{plans}; {sum(trials.values())} trials ({parts})")


def progress(resolved: Resolved) -> Counted:
    """Trials, which differ in what a reconstruction may cost."""
    unit = "s" if resolved.study.budget.unit == scope.SECONDS else "GFLOP"
    total = sum(scope.trials(resolved.study).values())
    return Counted(total, digest(resolved.content)[:8], unit, resolved.study.objective.metrics[0])


KIND = Kind(
    name="tuning",
    asks="which reconstruction parameters are best for this data?",
    model=TuningConfig,
    load=resolve,
    steps=STEPS,
    tables=COLLECT.files,
    read="ptydesign.tuning.tables:read_tables",
    figures="ptydesign.tuning.figures:FIGURES",
    page="ptydesign.tuning.page:page",
    work=estimate.work,
    memory=estimate.memory,
    words=words,
    more=lambda resolved: {"potential_key": resolved.key, "trials": scope.trials(resolved.study)},
    resolves=lambda resolved: {"potential_key": resolved.key},
    seen=("figures", "tuning"),
    progress=progress,
)
