"""What the rules of a plan ask: see `ptydesign.kinds` for what a kind's workflow has."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ptydesign.experiment import estimate as study_estimate
from ptydesign.experiment.trial import study_inputs
from ptydesign.planning import layout
from ptydesign.planning.config import PlanConfig
from ptydesign.planning.load import load
from ptydesign.planning.operation import operate
from ptydesign.planning.resolve import Resolved, expert_at, to_experiment_config
from ptydesign.planning.space import make_space, setting_of
from ptydesign.study import cost
from ptydesign.study.checked import check_job_memory, write_plan_file
from ptydesign.study.versions import ALGORITHMS, LAYOUT, versions

MODEL = PlanConfig

__all__ = ["check_memory", "draw", "load", "report", "settings", "summary", "table_files", "write_plan"]

PLANNING = 3  # version of planning's own algorithms: cards, draws, choice, limits
BOUND = 5  # version of the bound
TOLERANCE = 2  # version of what a tolerance says
BOUND_TRIALS = 10  # a Cramer-Rao bound takes about as long as so many trials
TRIAL_S = 5.0  # of a trial besides its transforms: nearly every design has shapes of its own to compile


def _base(resolved: Resolved) -> dict[str, Any]:
    """What all trials of a plan depend on."""
    content = resolved.content
    names = ("instrument", "detector", "goal", "simulation", "seed")
    modes = {"/".join(f"{v:g}" for v in mode): study_inputs(one.study, one.key) for mode, one in resolved.modes.items()}
    return {**{n: content[n] for n in names}, "modes": modes, "planning": PLANNING}


def settings(
    resolved: Resolved,
    step: str,
    search: str | None = None,
    round_: int = 0,
    design: str | None = None,
    parameter: str | None = None,
) -> dict[str, Any]:
    """Settings, by value, that a step's output depends on; what it reads from files of other steps is not repeated."""
    content, base = resolved.content, _base(resolved)
    config = content["search"]
    size = None if search is None else layout.searches(resolved.study)[search].sizes[round_]
    match step:
        case "resolve":
            return {**content, "modes": base["modes"], "layout": LAYOUT, "algorithms": dict(ALGORITHMS)}
        case "plancard":
            return {**content, "planning": PLANNING}
        case "planpotentials":
            return {"keys": sorted(one.key for one in resolved.modes.values())}
        case "planpropose":
            own = {n: v for n, v in config.items() if n not in ("points",)}
            names = ("instrument", "detector", "goal", "expert", "simulation", "seed")
            own = {"search": own, "n": size, **versions("design"), "planning": PLANNING}
            return {**{n: content[n] for n in names}, **own}
        case "planevaluate":
            return {**base, "n": size, "chunk": content["chunk"]}
        case "planchoose":
            names = ("instrument", "detector", "goal", "expert", "seed", "search")
            candidates = {"candidates": content["robustness"]["candidates"]}
            return {**{n: content[n] for n in names}, **candidates, **versions("design"), "planning": PLANNING}
        case "planrobust":
            unused = ("tolerance_repeats", "failed_below", "candidates")
            robustness = {n: v for n, v in content["robustness"].items() if n not in unused}
            return {**base, "robustness": robustness, "expert": content["expert"], "design": design}
        case "plantolerance":
            repeats = content["robustness"]["tolerance_repeats"]
            return {**base, "tolerance_repeats": repeats, "parameter": parameter, "tolerance": TOLERANCE}
        case "planlimits":
            return {**base, "expert": content["expert"], "which": design, "bound": BOUND}
        case "planscreen":
            return {**base, "expert": content["expert"], "which": search}
        case "plancollect":
            return {**content, **versions("collect"), "planning": PLANNING}
        case "figures" | "report":
            return {**versions("figures"), "planning": PLANNING}
    raise ValueError(step)


def estimate(resolved: Resolved, cores: int) -> dict[str, Any]:
    """Trials, time in minutes and memory in GiB, by the mean work of settings that can be done at the dose limit."""
    plan, rate = resolved.study, cost.fft_rate()
    trials = layout.total_trials(plan)
    slow = len(layout.designs(plan)) * plan.robustness.draws
    coherent, incoherent = _typical_work(resolved)
    work = (trials - slow + BOUND_TRIALS * len(layout.LIMIT_DESIGNS)) * coherent + slow * incoherent
    minutes = (work / rate + trials * TRIAL_S + _jobs(resolved) * cost.START_S + 60) / 60
    return {
        "trials_total": trials,
        "jobs": _jobs(resolved),
        "core_minutes": round(minutes, 1),
        "minutes": round(max(minutes / cores, 1), 1),
        "cores": cores,
        "memory_gib": round(memory_gib(resolved), 2),
    }


def _typical_work(resolved: Resolved) -> tuple[float, float]:
    """Mean work of a trial over settings that can be done: coherent, and with source size and focal spread."""
    bench, limit = resolved.bench, resolved.study.goal.dose_limit
    space = make_space(bench, limit)
    points = space.from_cube(np.random.default_rng(0).random((study_estimate.SAMPLES, len(space.names))))
    settings_ = [setting_of(bench, p) for p in points if space.allowed is None or space.allowed(p)]
    each = []
    for setting in settings_ or [expert_at(bench, limit)]:
        study, operation = resolved.of(setting).study, operate(bench, setting, limit)
        configs = [study.experiment] * 2
        if operation.current_pa is not None:
            configs = [to_experiment_config(bench, operation, source_factor=factor) for factor in (None, 1.0)]
        each.append([study_estimate.trial_work(study, config, _slices(resolved)) for config in configs])
    return tuple(np.mean(each, axis=0).tolist())


def _slices(resolved: Resolved) -> int:
    from ptydesign.planning.reconstruction import in_slices, thickness_a

    plan = resolved.study
    return math.ceil(thickness_a(plan) / plan.simulation.slice_thickness_a) if in_slices(plan) else 1


def _jobs(resolved: Resolved) -> int:
    searches = layout.searches(resolved.study).values()
    jobs = sum(search.chunks(r) + 1 for search in searches for r in range(len(search.sizes)))
    designs, parameters = layout.designs(resolved.study), layout.parameters(resolved.study)
    return jobs + 2 * len(searches) + len(designs) + len(parameters) + 8


def memory_gib(resolved: Resolved) -> float:
    """Of one job: the largest mode's."""
    slices = _slices(resolved)
    each = [study_estimate.memory_gib(one.study, one.shape) for one in resolved.modes.values()]
    pixels = max(math.prod(one.shape) for one in resolved.modes.values())
    return max(each) + (slices - 1) * pixels * 20 / 2**30


def job_memory_mb(resolved: Resolved, attempt: int) -> int:
    """Memory to ask for; grows with the attempt."""
    return int(1024 * memory_gib(resolved) * (1 + 0.5 * attempt))


def check_memory(resolved: Resolved, cores: int, machine_gib: float) -> str | None:
    """Refuse a plan of which one job doesn't fit into the machine; a warning if `cores` jobs at a time don't."""
    mend = "Simulate a smaller field of view, bin the detector, or take thicker slices."
    return check_job_memory(resolved.study.study, memory_gib(resolved), cores, machine_gib, mend)


def write_plan(resolved: Resolved, cores: int) -> dict[str, Any]:
    """Write plan.yaml and return the estimate in it."""
    numbers = estimate(resolved, cores)
    more = {
        "algorithms": {**ALGORITHMS, "planning": PLANNING},
        "modes": {"/".join(f"{v:g}" for v in mode): one.key for mode, one in resolved.modes.items()},
        "estimate": numbers,
        "detector": resolved.bench.detector.model_dump(mode="json"),
    }
    write_plan_file(resolved, "plan", more)
    return numbers


def summary(resolved: Resolved, cores: int, numbers: Mapping[str, Any] | None = None) -> str:
    """What the plan takes, in two lines."""
    numbers = numbers or estimate(resolved, cores)
    plan = resolved.study
    times = f"{numbers['minutes']:.0f} min on {numbers['cores']} cores ({numbers['core_minutes']:.0f} min of one)"
    return (
        f"{plan.study} ({plan.scale}): {numbers['trials_total']} trials in {numbers['jobs']} jobs\n"
        f"estimate: {times}, "
        f"{numbers['memory_gib']:g} GiB for each job"
    )


def table_files(resolved: Resolved) -> list[str]:
    """What figures and report are drawn from, relative to the results folder."""
    return layout.table_files()


def record_files(resolved: Resolved) -> list[str]:
    """What the tables are made from, relative to the results folder."""
    searches = layout.searches(resolved.study).values()
    files = [file for search in searches for file in [*search.all_files(), search.best_file]]
    files += [f"screen/{search.name}.json" for search in searches]
    files += [*layout.robust_files(resolved.study), *layout.tolerance_files(resolved.study)]
    return [*files, *(f"limits/{design}.json" for design in layout.LIMIT_DESIGNS)]


def draw(results: Path) -> list[Path]:
    """Draw the figures of a results folder."""
    from ptydesign.planning.figures import draw_all

    return draw_all(results)


def report(results: Path) -> Path:
    """Write sheet and report of a results folder."""
    from ptydesign.planning.sheet import write_sheet

    return write_sheet(results)
