"""The kind `planning`: an experiment before beam time.

results/<study>[-<scale>]/
  resolved.yaml, card.html, card.csv, card.json, potentials.json
  dose.json                                the least dose, where it is looked for
  search/<dose>/                           rounds and best.json, as ptydesign.study.rounds has them
  robust/<design>.json                     the candidates and the rule of thumb under errors, at the dose limit
  tolerance/<parameter>.json               the recommended design with other values of one parameter
  limits/<design>.json, screen/<dose>.json Fisher information
  tables/, figures/, report.html, logs/
  sheet.html, sheet.pdf, settings.json, calibration.yaml, reconstruction.yaml
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ptydesign.experiment import estimate
from ptydesign.experiment.trial import study_inputs
from ptydesign.planning import scope
from ptydesign.planning.config import PlanningStudy
from ptydesign.planning.instrument import Setting
from ptydesign.planning.load import load
from ptydesign.planning.operation import operate
from ptydesign.planning.reconstruction import in_slices, thickness_a
from ptydesign.planning.resolve import LEAST_DOSE, PlanningResolved, expert_at, for_beam, to_experiment_config
from ptydesign.planning.search import version_of
from ptydesign.planning.space import make_space, setting_of
from ptydesign.planning.tables import TABLE_FILES
from ptydesign.study import cost, rounds
from ptydesign.study.kind import Counted, Kind, Step, Which, Work
from ptydesign.study.versions import ALGORITHMS, versions

BOUND_TRIALS = 10  # a Cramer-Rao bound takes about as long as so many trials
TRIAL_S = 5.0  # of a trial besides its transforms: nearly every design has shapes of its own to compile
VERSION = {"planning": ALGORITHMS["planning"]}


def _searches(resolved: PlanningResolved) -> dict[str, scope.Search]:
    return scope.searches(resolved.study)


# which jobs there are


def _each_search(resolved: PlanningResolved) -> list[Which]:
    return [{"search": name} for name in _searches(resolved)]


def _each_design(resolved: PlanningResolved) -> list[Which]:
    return [{"design": design} for design in scope.designs(resolved.study)]


def _each_parameter(resolved: PlanningResolved) -> list[Which]:
    return [{"parameter": name} for name in scope.parameters(resolved.study)]


def _each_least(resolved: PlanningResolved) -> list[Which]:
    return [{}] if resolved.study.goal.minimise else []


def _each_bound(resolved: PlanningResolved) -> list[Which]:
    return [{"design": design} for design in scope.LIMIT_DESIGNS]


# what they need


def _before(resolved: PlanningResolved, search: str, round_: int) -> list[str]:
    """What the points of a round depend on: earlier rounds, or the whole search at the dose below."""
    found = _searches(resolved)[search]
    if round_:
        return found.files_before(round_)
    return [file for s in _searches(resolved).values() if s.dose_e_per_a2 == found.before for file in s.all_files()]


def _trials(resolved: PlanningResolved, search: str) -> list[str]:
    return _searches(resolved)[search].all_files()


def _winner(resolved: PlanningResolved, **which: Any) -> list[str]:
    """The winner at the dose that the sheet is for."""
    if resolved.study.goal.minimise:
        return [*CHOOSE.files(resolved), *LEAST.files(resolved)]
    return [list(_searches(resolved).values())[-1].best_file]


def _all_trials(resolved: PlanningResolved) -> list[str]:
    return [file for search in _searches(resolved).values() for file in search.all_files()]


# what they depend on, by value


def _base(resolved: PlanningResolved) -> dict[str, Any]:
    """What all trials of a plan depend on."""
    names = ("instrument", "detector", "goal", "simulation", "seed")
    return {**{n: resolved.content[n] for n in names}, "modes": _modes(resolved), **VERSION}


def _modes(resolved: PlanningResolved) -> dict[str, Any]:
    return {mode.name: study_inputs(one.study, one.key) for mode, one in resolved.modes.items()}


def _carded(resolved: PlanningResolved) -> dict[str, Any]:
    return {**resolved.content, **VERSION}


def _keys(resolved: PlanningResolved) -> dict[str, Any]:
    return {"keys": sorted(one.key for one in resolved.modes.values())}


def _proposed(resolved: PlanningResolved, search: str, round_: int) -> dict[str, Any]:
    content = resolved.content
    config = {n: v for n, v in content["search"].items() if n != "points"}
    names = ("instrument", "detector", "goal", "expert", "simulation", "seed")
    own = {"search": config, "n": _searches(resolved)[search].sizes[round_], **versions("design"), **VERSION}
    return {**{n: content[n] for n in names}, **own}


def _evaluated(resolved: PlanningResolved, search: str, round_: int, chunk: int = 0) -> dict[str, Any]:
    content = resolved.content
    errors = {n: content["robustness"][n] for n in ("tilt_mrad", "thickness_error")} | {"errors": content["errors"]}
    return {
        **_base(resolved),
        **errors,
        "n": _searches(resolved)[search].sizes[round_],
        "chunk": resolved.content["chunk"],
    }


def _chosen(resolved: PlanningResolved, search: str) -> dict[str, Any]:
    content = resolved.content
    names = ("instrument", "detector", "goal", "expert", "seed", "search")
    candidates = {"candidates": content["robustness"]["candidates"]}
    return {**{n: content[n] for n in names}, **candidates, **versions("design"), **VERSION}


def _tried(resolved: PlanningResolved, design: str) -> dict[str, Any]:
    unused = ("tolerance_repeats", "failed_below", "least_score", "zone", "candidates")
    robustness = {n: v for n, v in resolved.content["robustness"].items() if n not in unused}
    return {**_base(resolved), "robustness": robustness, "expert": resolved.content["expert"], "design": design}


def _least(resolved: PlanningResolved) -> dict[str, Any]:
    return {**_base(resolved), "repeats": resolved.content["robustness"]["repeats"]}


def _tolerated(resolved: PlanningResolved, parameter: str) -> dict[str, Any]:
    repeats = resolved.content["robustness"]["tolerance_repeats"]
    return {**_base(resolved), "tolerance_repeats": repeats, "parameter": parameter, **versions("tolerance")}


def _bounded(resolved: PlanningResolved, design: str) -> dict[str, Any]:
    return {**_base(resolved), "expert": resolved.content["expert"], "which": design, **versions("bound")}


def _screened(resolved: PlanningResolved, search: str) -> dict[str, Any]:
    return {**_base(resolved), "expert": resolved.content["expert"], "which": search}


def _collected(resolved: PlanningResolved) -> dict[str, Any]:
    return {**resolved.content, **versions("collect"), **VERSION}


CARD = Step(
    "card",
    "Write the feasibility card.",
    "ptydesign.planning.show:write_card_files",
    ("card.json",),
    depends=_carded,
    priority=90,
    threads=None,
    local=True,
)
POTENTIALS = Step(
    "potentials",
    "Build the potentials, or find them in the cache.",
    "ptydesign.planning.search:build_potentials",
    ("potentials.json",),
    needs=("card.json",),
    depends=_keys,
    memory="trial",
    threads=None,
)
ROUND, PROPOSE, EVALUATE, CHOOSE = rounds.steps(
    "ptydesign.planning.search",
    _searches,
    "potentials.json",
    _proposed,
    _evaluated,
    _chosen,
    before=_before,
    choice="Choose a dose's winner and its neighbours.",
)
SCREEN = Step(
    "screen",
    "Look at all settings of a search by Fisher information.",
    "ptydesign.planning.limits:write_screen",
    ("screen/{search}.json",),
    each=_each_search,
    needs=(_trials,),
    depends=_screened,
    memory="trial",
    jax=True,
)
LEAST = Step(
    "least-dose",
    "Find the least dose at which the resolution is reached.",
    "ptydesign.planning.least_dose:choose_dose",
    (LEAST_DOSE,),
    each=_each_least,
    needs=("potentials.json", CHOOSE.files),
    depends=_least,
    memory="trial",
    priority=5,
    progress=True,
    jax=True,
)
ROBUST = Step(
    "robust",
    "Try a design again under errors.",
    "ptydesign.planning.robust:robust",
    ("robust/{design}.json",),
    each=_each_design,
    needs=("potentials.json", _winner),
    depends=_tried,
    memory="trial",
    priority=5,
    progress=True,
    jax=True,
)
TOLERANCE = Step(
    "tolerance",
    "Simulate how far a parameter may be off.",
    "ptydesign.planning.tolerance:write_tolerance",
    ("tolerance/{parameter}.json",),
    each=_each_parameter,
    needs=("potentials.json", _winner, lambda resolved, parameter: ROBUST.files(resolved)),
    depends=_tolerated,
    memory="trial",
    progress=True,
    jax=True,
)
LIMITS = Step(
    "limits",
    "Compute the Cramer-Rao bound of a design.",
    "ptydesign.planning.limits:write_limits",
    ("limits/{design}.json",),
    each=_each_bound,
    needs=("potentials.json", lambda resolved, design: ROBUST.files(resolved)),
    depends=_bounded,
    memory="trial",
    jax=True,
)
COLLECT = Step(
    "collect",
    "Write the tables, and the recommendation.",
    "ptydesign.planning.collect:collect",
    TABLE_FILES,
    needs=(
        "resolved.yaml",
        _all_trials,
        CHOOSE.files,
        LEAST.files,
        SCREEN.files,
        ROBUST.files,
        TOLERANCE.files,
        LIMITS.files,
    ),
    depends=_collected,
    local=True,
)
STEPS = (CARD, POTENTIALS, ROUND, PROPOSE, EVALUATE, CHOOSE, LEAST, SCREEN, ROBUST, TOLERANCE, LIMITS, COLLECT)


def memory(resolved: PlanningResolved) -> dict[str, float]:
    """GiB of one job: the largest mode's."""
    each = [estimate.memory_gib(one.study, one.shape) for one in resolved.modes.values()]
    pixels = max(math.prod(one.shape) for one in resolved.modes.values())
    return {"trial": max(each) + (_slices(resolved) - 1) * pixels * 20 / 2**30}


def work(resolved: PlanningResolved) -> dict[str, Work]:
    """Of each step: first points are spread over all settings that can be done, of which few with small steps take most
    of the time; what is proposed and tried again isn't among these, and counts as the one in the middle."""
    plan, searches = resolved.study, _searches(resolved).values()
    each = _work_of_settings(resolved)
    spread, middle = float(np.mean(each)), float(np.median(each))
    own = float(_work_of(resolved, [expert_at(resolved.bench, plan.goal.dose_limit)])[0])
    designs, repeats, draws = len(scope.designs(plan)) - 1, plan.robustness.repeats, plan.robustness.draws
    looks, tried = scope.tolerance_trials(plan), repeats + draws
    once, shared, least = 0.0, 0.0, scope.least_dose_trials(plan)
    trials = {True: 0, False: 0}
    for search in searches:
        for round_, size in enumerate(search.sizes):
            units = size * (middle if round_ else spread)
            once, shared = (once + units, shared) if search.whole(round_) else (once, shared + units)
            trials[search.whole(round_)] += size
    return {
        ROUND.name: Work(once, TRIAL_S * trials[True], once),
        EVALUATE.name: Work(shared, TRIAL_S * trials[False]),
        ROBUST.name: Work(tried * (designs * middle + own), TRIAL_S * (designs + 1) * tried, tried * max(middle, own)),
        LEAST.name: Work(least * middle, TRIAL_S * least, least * middle),
        TOLERANCE.name: Work(looks * middle, TRIAL_S * looks),
        LIMITS.name: Work(BOUND_TRIALS * (middle + own), chain=BOUND_TRIALS * max(middle, own)),
    }


def _work_of_settings(resolved: PlanningResolved) -> np.ndarray:
    """Work of trials of settings that can be done: (setting,)."""
    bench, limit = resolved.bench, resolved.study.goal.dose_limit
    space = make_space(bench, limit)
    points = space.from_cube(np.random.default_rng(0).random((estimate.SAMPLES, len(space.names))))
    settings = [setting_of(bench, p) for p in points if space.allowed is None or space.allowed(p)]
    return _work_of(resolved, settings or [expert_at(bench, limit)])


def _work_of(resolved: PlanningResolved, settings: Sequence[Setting]) -> np.ndarray:
    """Work of a trial of each setting: (setting,)."""
    bench, limit, each = resolved.bench, resolved.study.goal.dose_limit, []
    snapshots = max(1, resolved.study.simulation.phonons)
    for setting in settings:
        study, operation = resolved.of(setting).study, operate(bench, setting, limit)
        config = study.experiment if operation.current_pa is None else to_experiment_config(bench, operation)
        each.append(estimate.trial_work(for_beam(bench, study, config), config, _slices(resolved), snapshots))
    return np.asarray(each)


def _slices(resolved: PlanningResolved) -> int:
    plan = resolved.study
    return math.ceil(thickness_a(plan) / plan.simulation.slice_thickness_a) if in_slices(plan) else 1


def words(resolved: PlanningResolved, numbers: Mapping[str, Any]) -> str:
    """What the plan takes, in words."""
    return cost.summary(resolved, numbers, f"{scope.total_trials(resolved.study)} trials")


def more(resolved: PlanningResolved) -> dict[str, Any]:
    """What resolved.yaml says beside the settings."""
    return {
        "modes": {mode.name: one.key for mode, one in resolved.modes.items()},
        "detector": resolved.bench.detector.model_dump(mode="json"),
    }


KIND = Kind(
    name="planning",
    asks="which settings are best for my sample on my microscope, and how sure is that?",
    model=PlanningStudy,
    load=load,
    steps=STEPS,
    tables=COLLECT.files,
    read="ptydesign.planning.tables:read_tables",
    figures="ptydesign.planning.figures:FIGURES",
    page="ptydesign.planning.page:page",
    also="ptydesign.planning.sheet:write_sheet",
    work=work,
    memory=memory,
    words=words,
    more=more,
    resolves=lambda resolved: {"modes": _modes(resolved)},
    mend="Simulate a smaller field of view, bin the detector, or take thicker slices.",
    seen=("figures", "planning"),
    progress=lambda resolved: Counted(
        scope.total_trials(resolved.study), version_of(resolved), parts=scope.parts(resolved.study)
    ),
)
