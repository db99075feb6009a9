"""The kind `experiment`: which experiment is best, at each dose.

results/<study>[-<scale>]/
  resolved.yaml, potential.json
  search/<search>-<dose>/             rounds and best.json, as ptydesign.study.rounds has them
  search/bo-<dose>/refined.json       trials one by one after the rounds
  search/bo-<dose>/decision.json      which contender wins, and how sure that is
  validation/<dose>-<simulator>.json  winners and the reference, simulated again
  tables/, figures/, report.html, logs/
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from importlib.metadata import version
from typing import Any

from ptydesign.experiment import estimate, scope
from ptydesign.experiment.config import StudyConfig
from ptydesign.experiment.resolve import Resolved, resolve
from ptydesign.experiment.search import version_of
from ptydesign.experiment.trial import path_inputs, study_inputs
from ptydesign.study import cost, rounds
from ptydesign.study.kind import Counted, Kind, Step, Which, Work
from ptydesign.study.tables import table_files
from ptydesign.study.versions import LAYOUT, versions

POTENTIAL_FILE = "potential.json"


def _searches(resolved: Resolved) -> dict[str, scope.Search]:
    return scope.searches(resolved.study)


def _unordered(resolved: Resolved) -> list[Which]:
    return rounds.chunked(s for s in _searches(resolved).values() if not s.ordered)


def _found(resolved: Resolved, dose: str) -> list[str]:
    study = resolved.study
    return [scope.winner(study, one).best_file for one in scope.helping(study, dose)]


def _contenders(resolved: Resolved, dose: str) -> list[str]:
    study = resolved.study
    tuned = scope.tuned(study, dose)
    found = [scope.winner(study, dose).best_file]
    if study.decision.draws:
        found = [scope.REFINED_FILE.format(dose=one) for one in scope.helping(study, dose)]
    return found if tuned is None else [*found, tuned.best_file]


def _winner(resolved: Resolved, dose: str, simulator: str) -> list[str]:
    return [scope.DECISION.format(dose=dose)]


def _all_trials(resolved: Resolved) -> Iterable[str]:
    return (file for search in _searches(resolved).values() for file in search.all_files())


# what they depend on, by value


def _keyed(resolved: Resolved) -> dict[str, Any]:
    return {"key": resolved.key}


def _trial(resolved: Resolved) -> dict[str, Any]:
    """What all trials depend on."""
    content = resolved.content
    study = resolved.study
    own = {name: content[name] for name in ("experiment", "seed")}
    return {**study_inputs(study, resolved.key), **path_inputs(study), **own}


def _model(resolved: Resolved) -> dict[str, Any]:
    """What proposals and winners depend on."""
    return {**{n: resolved.content[n] for n in ("space", "objective", "seed")}, **versions("design")}


def _proposed(resolved: Resolved, search: str, round_: int) -> dict[str, Any]:
    content, found = resolved.content, _searches(resolved)[search]
    if round_ > 0:
        config = {n: v for n, v in content["search"].items() if n not in ("initial", "initial_design", "points")}
        other = {"optuna": version("optuna")} if config["method"] == "optuna" else {}
        return {**_model(resolved), "search": config, "n": found.sizes[round_], **other}
    if found.kind == scope.MAP:
        return {**versions("design"), "map": content["map"]}
    first = {**versions("design"), "space": content["space"], "seed": content["seed"], "n": found.sizes[0]}
    return first if found.kind == scope.RANDOM else {**first, "design": content["search"]["initial_design"]}


def _evaluated(resolved: Resolved, search: str, round_: int, chunk: int = 0) -> dict[str, Any]:
    sizes = _searches(resolved)[search].sizes
    return {**_trial(resolved), "n": sizes[round_], "chunk": resolved.content["jobs"]["chunk"]}


def _chosen(resolved: Resolved, search: str) -> dict[str, Any]:
    config = resolved.content["search"]
    most = resolved.content["decision"]["contenders"]
    return {
        **_model(resolved),
        "kernel": config["kernel"],
        "failure_value": config["failure_value"],
        "most": most,
        **versions("decision"),
    }


def _refined(resolved: Resolved, dose: str) -> dict[str, Any]:
    more = {n: resolved.content["decision"][n] for n in ("refine", "others", "zone", "contenders")}
    kernel = {"kernel": resolved.content["search"]["kernel"]}
    return {**_trial(resolved), **_model(resolved), **kernel, **more, **versions("decision")}


def _decided(resolved: Resolved, dose: str) -> dict[str, Any]:
    extra = {n: resolved.content[n] for n in ("reference", "decision", "objective")}
    return {**_trial(resolved), **extra, **versions("decision")}


def _validated(resolved: Resolved, dose: str, simulator: str) -> dict[str, Any]:
    content = resolved.content
    extra = {n: content[n] for n in ("reference", "validation", "objective")}
    return {**_trial(resolved), **extra, "parameters": list(content["space"])}


def _collected(resolved: Resolved) -> dict[str, Any]:
    names = ("space", "objective", "score", "map", "experiment", "sample", "reference")
    return {**{n: resolved.content[n] for n in names}, **versions("collect", "field"), "layout": LAYOUT}


POTENTIAL = Step(
    "potential",
    "Build the sample's potential, or find it in the cache.",
    "ptydesign.experiment.search:build_potential",
    (POTENTIAL_FILE,),
    depends=_keyed,
    memory="trial",
    threads=None,
)
ROUND, PROPOSE, EVALUATE, CHOOSE = rounds.steps(
    "ptydesign.experiment.search", _searches, POTENTIAL_FILE, _proposed, _evaluated, _chosen
)
SAMPLE = replace(
    EVALUATE,
    name="sample",
    help="Evaluate one chunk of the random search or of the map.",
    each=_unordered,
    priority=0,
)
REFINE = Step(
    "refine",
    "Try at a dose what the others found, and then point by point what a model expects most of.",
    "ptydesign.experiment.refine:refine_search",
    (scope.REFINED_FILE,),
    each=lambda resolved: scope.refined(resolved.study),
    needs=(POTENTIAL_FILE, _found),
    depends=_refined,
    memory="trial",
    priority=15,
    progress=True,
    jax=True,
)
DECIDE = Step(
    "decide",
    "Draw a dose's contenders with fresh noise until it is known which is best.",
    "ptydesign.experiment.decide:decide_winner",
    (scope.DECISION,),
    each=lambda resolved: scope.doses(resolved.study),
    needs=(POTENTIAL_FILE, _contenders),
    depends=_decided,
    memory="trial",
    priority=15,
    progress=True,
    jax=True,
)
VALIDATE = Step(
    "validate",
    "Simulate a dose's winner and the reference again with fresh noise.",
    "ptydesign.experiment.validate:validate",
    (scope.VALIDATION,),
    each=lambda resolved: scope.validations(resolved.study),
    needs=(POTENTIAL_FILE, _winner),
    depends=_validated,
    memory="trial",
    priority=5,
    progress=True,
    jax=True,
)
COLLECT = Step(
    "collect",
    "Write the tables.",
    "ptydesign.experiment.collect:collect",
    lambda resolved: table_files(scope.tables(resolved.study)),
    needs=(POTENTIAL_FILE, _all_trials, CHOOSE.files, DECIDE.files, VALIDATE.files),
    depends=_collected,
    memory="tables",
    local=True,
)
STEPS = (POTENTIAL, ROUND, PROPOSE, EVALUATE, SAMPLE, CHOOSE, REFINE, DECIDE, VALIDATE, COLLECT)


def work(resolved: Resolved) -> dict[str, Work]:
    """Of each step. Compiling, once for all, is shared between them."""
    study, found = resolved.study, _searches(resolved)
    each = estimate.search_work(study)
    units = {
        REFINE.name: estimate.refining_work(study),
        DECIDE.name: estimate.decision_work(study),
        VALIDATE.name: estimate.validation_work(study),
    }
    for step in (ROUND, EVALUATE, SAMPLE):
        jobs = [(found[w["search"]], w["round"], w.get("chunk", 0)) for w in step.each(resolved)]
        units[step.name] = sum(each[search.name] * len(search.indices(r, chunk)) for search, r, chunk in jobs)
    compiling = estimate.compile_s(study) / sum(units.values())
    # the rounds of a search follow one another, be they of one chunk or of many
    chain = max(each[search.name] * sum(min(n, search.chunk) for n in search.sizes) for search in found.values())
    chains = dict.fromkeys((ROUND.name, EVALUATE.name), chain)
    return {name: Work(value, compiling * value, chains.get(name, 0.0)) for name, value in units.items()}


def memory(resolved: Resolved) -> dict[str, float]:
    """GiB of one job of each sort."""
    shape = resolved.shape
    return {"trial": estimate.memory_gib(resolved.study, shape), "tables": estimate.potential_gib(shape)}


def words(resolved: Resolved, numbers: Mapping[str, Any]) -> str:
    """What the study takes, in words."""
    trials = scope.trials(resolved.study)
    parts = ", ".join(f"{name} {count}" for name, count in trials.items())
    return cost.summary(resolved, numbers, f"{sum(trials.values())} trials ({parts})")


# What kinds have in common that simulate experiments on one potential.
SIMULATED: dict[str, Any] = {
    "more": lambda resolved: {"potential_shape": list(resolved.shape), "potential_key": resolved.key},
    "resolves": lambda resolved: {"potential_key": resolved.key},
    "mend": "Take a smaller field of view, fewer detector pixels or larger steps, or run it with an executor plugin.",
}

KIND = Kind(
    name="experiment",
    asks="which experiment gives the best image, at each dose?",
    model=StudyConfig,
    load=resolve,
    steps=STEPS,
    tables=COLLECT.files,
    read="ptydesign.experiment.tables:read_tables",
    figures="ptydesign.experiment.figures:FIGURES",
    page="ptydesign.experiment.page:page",
    work=work,
    memory=memory,
    words=words,
    **SIMULATED,
    progress=lambda resolved: Counted(
        sum(scope.trials(resolved.study).values()),
        version_of(resolved),
        metric=resolved.study.objective.metric,
        parts=scope.parts(resolved.study),
    ),
)
