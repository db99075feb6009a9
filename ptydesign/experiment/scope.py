"""What a study of an experiment tries: its searches, rounds and re-simulations. Nothing here depends on a score."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from ptydesign.design.space import Space, build_space
from ptydesign.errors import InputError, nearest
from ptydesign.experiment.config import StudyConfig
from ptydesign.experiment.points import of_experiment
from ptydesign.study.file import dose_name
from ptydesign.study.kind import Which
from ptydesign.study.rounds import Rounds

BO, TUNED, RANDOM, MAP = "bo", "tuned", "random", "map"
REFINED = "refined"  # trials after the rounds of a search
PLAIN = ", default reconstruction"  # what a design is called that has the study's plan
SHARED = 2  # contenders of each other dose that are tried at a dose, after its search and again before its decision
WORTH = 0.1  # of the indifference zone: what another trial after a search must be expected to gain
WITHIN = 0.05  # of the best objective: what counts as nearly as good
REFINED_FILE = "search/bo-{dose}/refined.json"
DECISION = "search/bo-{dose}/decision.json"
VALIDATION = "validation/{dose}-{simulator}.json"
TABLES = (
    "trials", "contenders", "decisions", "validation", "recommended", "summary", "gains", "two_by_two",
    "convergence", "spectrum", "pareto", "map",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Search(Rounds):
    """One sequence of rounds at one dose. kind: BO, TUNED (plans for the reference), RANDOM or MAP."""

    kind: str
    dose_e_per_a2: float

    @property
    def ordered(self) -> bool:
        """Whether a round waits for the one before it."""
        return self.kind in (BO, TUNED)


def searches(study: StudyConfig) -> dict[str, Search]:
    """All searches by name, as bo-1000: one for each dose, one of the reference's plans, the random search, the map."""
    config, tuned = study.search, study.reference.tuned
    wanted = [(BO, dose, _sizes(config.initial, config.points, config.batch)) for dose in study.doses_e_per_a2]
    if study.tuned_space is not None:
        sizes = _sizes(tuned.initial, tuned.points, config.batch)
        wanted += [(TUNED, dose, sizes) for dose in study.doses_e_per_a2]
    if study.random is not None:
        equal = config.initial + config.points + (study.decision.refine if study.decision.draws else 0)
        wanted.append((RANDOM, study.random.dose_e_per_a2, (equal,)))
    if study.map is not None:
        wanted.append((MAP, study.map.dose_e_per_a2, (len(study.map.x.values) * len(study.map.y.values),)))
    found = [
        Search(name=f"{kind}-{dose_name(dose)}", sizes=sizes, chunk=study.jobs.chunk, kind=kind, dose_e_per_a2=dose)
        for kind, dose, sizes in wanted
    ]
    return {search.name: search for search in found}


def _sizes(initial: int, points: int, batch: int) -> tuple[int, ...]:
    """Points of each round."""
    rest = points % batch
    return (initial, *[batch] * (points // batch), *([rest] if rest else []))


def space_of(study: StudyConfig, search: Search) -> Space:
    """What a search varies."""
    return build_space(study.tuned_space) if search.kind == TUNED else design_space(study)


def design_space(study: StudyConfig) -> Space:
    """What the searches for designs vary, without scans that take too long."""
    space, most = build_space(study.space), study.most_positions
    if most is None:
        return space

    @cache
    def short(items: tuple[tuple[str, Any], ...]) -> bool:
        # not validated as `experiment_at` does, which takes most of the time: the file's check saw the space's corners
        return study.experiment.model_copy(update=of_experiment(dict(items))).positions <= most

    return replace(space, allowed=lambda point: short(tuple(point.items())))


def point_of(study: StudyConfig, search: Search, point: Mapping[str, Any]) -> dict[str, Any]:
    """A point of a search with what the search holds."""
    return {**study.reference.point, **point} if search.kind == TUNED else dict(point)


def find_search(study: StudyConfig, name: str) -> Search:
    """A search by its name, as bo-1000. Raises InputError."""
    known = searches(study)
    if name not in known:
        raise InputError("search", "must be one of the study's searches", name, nearest(name, known))
    return known[name]


def winner(study: StudyConfig, dose: str) -> Search:
    """The search at a dose whose best point is simulated again."""
    return find_search(study, f"{BO}-{dose}")


def tuned(study: StudyConfig, dose: str) -> Search | None:
    """The search of the reference's plans at a dose; None if the space has no parameters of the reconstruction."""
    return None if study.tuned_space is None else find_search(study, f"{TUNED}-{dose}")


def doses(study: StudyConfig) -> list[Which]:
    """Jobs that decide which design wins at a dose."""
    return [{"dose": dose_name(dose)} for dose in study.doses_e_per_a2]


def helping(study: StudyConfig, dose: str) -> list[str]:
    """Doses whose trials help one, by their names: all, or itself."""
    return [which["dose"] for which in doses(study)] if study.decision.others else [dose]


def refined(study: StudyConfig) -> list[Which]:
    """Jobs that go on after the search of a dose; none where nothing is drawn."""
    return doses(study) if study.decision.draws else []


def refinements(study: StudyConfig) -> int:
    """Most trials of a dose after its search, before its contenders are drawn."""
    return study.decision.refine + 2 * from_others(study) if study.decision.draws else 0


def from_others(study: StudyConfig) -> int:
    """Most trials of a dose at once of what the other doses found, and of the optimum of all."""
    others = len(study.doses_e_per_a2) - 1
    return 1 + SHARED * others if study.decision.draws and study.decision.others and others else 0


def decision_trials(study: StudyConfig) -> int:
    """Most trials that decide which design wins at a dose, and when the reference's reconstruction ends."""
    config = study.decision
    draws = max(config.draws, config.first * config.contenders) if config.draws else 0
    most = refinements(study) + draws
    # with plans of their own for both: also those of the reference, and both experiments with the study's plan
    return most + config.first if study.tuned_space is None else most + draws + 2 * config.first


def simulators(study: StudyConfig) -> tuple[str, ...]:
    """Simulators that winners are validated with."""
    return ("jax", "abtem") if study.validation.abtem else ("jax",)


def validations(study: StudyConfig) -> Iterable[Which]:
    """Jobs that simulate winners again."""
    doses = [dose_name(dose) for dose in study.doses_e_per_a2]
    return [{"dose": dose, "simulator": simulator} for dose in doses for simulator in simulators(study)]


def tables(study: StudyConfig) -> list[str]:
    """Tables that the study makes."""
    left = {
        "map": study.map is None,
        "pareto": not study.objective.against,
        "two_by_two": study.tuned_space is None,
    }
    return [name for name in TABLES if not left.get(name, False)]


def parts(study: StudyConfig) -> dict[str, int]:
    """How many trials to expect of each search, and of each dose's decision, which mostly ends soon, and validation."""
    config, doses = study.decision, [dose_name(dose) for dose in study.doses_e_per_a2]
    sides = 1 if study.tuned_space is None else 2
    soon = min(decision_trials(study), refinements(study) + sides * config.first * (config.contenders + 1))
    each = trials(study)["validation"] // len(doses)
    found = {name: search.total for name, search in searches(study).items()}
    return found | {f"decision/{dose}": soon for dose in doses} | {f"validation/{dose}": each for dose in doses}


def trials(study: StudyConfig) -> dict[str, int]:
    """Number of trials of each search, of the decisions at most, and of the validation."""
    each = study.validation.repeats + int(study.validation.abtem)
    doses, designs = len(study.doses_e_per_a2), 2 if study.tuned_space is None else 4
    more = {"decision": doses * decision_trials(study), "validation": designs * each * doses}
    return {**{name: search.total for name, search in searches(study).items()}, **more}
