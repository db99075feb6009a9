"""What a plan of a beam time tries: searches at each dose, designs under errors, parameters with a tolerance.

Nothing here depends on a score.
"""

from __future__ import annotations

from dataclasses import dataclass

from ptydesign.planning.config import PlanningStudy
from ptydesign.planning.instrument import Bench
from ptydesign.planning.space import make_space
from ptydesign.study.file import dose_name
from ptydesign.study.rounds import Rounds

EXPERT_DESIGN = "expert"
LEAST = "least-dose"  # trials that choose the dose
RECOMMENDED = "recommended"  # whichever design it is
LIMIT_DESIGNS = (RECOMMENDED, EXPERT_DESIGN)
TRIED_IN_RANGE = 5  # values of a range that are simulated for its tolerance, typically


@dataclass(frozen=True, kw_only=True)
class Search(Rounds):
    """Rounds at one dose. before: the dose whose best points are tried first."""

    dose_e_per_a2: float
    before: float | None


def searches(plan: PlanningStudy) -> dict[str, Search]:
    """The searches by name, lowest dose first. After the first dose, half of the first points are the best ones of the
    dose below, and there are half as many."""
    config, found, before = plan.search, {}, None
    batches = [config.batch] * (config.points // config.batch)
    if config.points % config.batch:
        batches.append(config.points % config.batch)
    for dose in plan.goal.doses_e_per_a2:
        initial = config.initial if before is None else max(2, config.initial // 2)
        search = Search(
            name=dose_name(dose), sizes=(initial, *batches), chunk=plan.chunk, dose_e_per_a2=dose, before=before
        )
        found[search.name], before = search, dose
    return found


def designs(plan: PlanningStudy) -> list[str]:
    """Designs that are tried under errors: candidates by rank, and the rule of thumb."""
    return [*(f"candidate-{i}" for i in range(plan.robustness.candidates)), EXPERT_DESIGN]


def parameters(plan: PlanningStudy) -> list[str]:
    """Parameters of which the tolerance is simulated: those with a choice, but for the voltage, which nobody sets
    wrong."""
    return [name for name in make_space(Bench(plan)).names if name != "voltage_kv"]


def tolerance_trials(plan: PlanningStudy) -> int:
    """About the number of trials of all tolerances: how many one takes depends on where it ends."""
    values = sum(2 if name in ("semiangle_mrad", "camera") else TRIED_IN_RANGE for name in parameters(plan))
    return values * plan.robustness.tolerance_repeats


def least_dose_trials(plan: PlanningStudy) -> int:
    """At most so many trials choose the dose."""
    return len(plan.goal.doses_e_per_a2) * plan.robustness.repeats if plan.goal.minimise else 0


def parts(plan: PlanningStudy) -> dict[str, int]:
    """About how many trials there are of each search and design, and of the tolerances."""
    each = plan.robustness.repeats + plan.robustness.draws
    found = {name: search.total for name, search in searches(plan).items()}
    found |= {LEAST: least_dose_trials(plan)} if plan.goal.minimise else {}
    return found | dict.fromkeys(designs(plan), each) | {"tolerance": tolerance_trials(plan)}


def total_trials(plan: PlanningStudy) -> int:
    """About the number of trials of the whole plan."""
    return sum(parts(plan).values())
