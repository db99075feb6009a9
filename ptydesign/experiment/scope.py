"""What a study of an experiment tries: its searches, rounds and re-simulations. Nothing here depends on a score."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ptydesign.errors import InputError, nearest
from ptydesign.experiment.config import StudyConfig
from ptydesign.study.file import dose_name
from ptydesign.study.kind import Which
from ptydesign.study.rounds import Rounds

BO, RANDOM, MAP = "bo", "random", "map"
DECISION = "search/bo-{dose}/decision.json"
VALIDATION = "validation/{dose}-{simulator}.json"
TABLES = (
    "trials", "contenders", "decisions", "validation", "recommended", "summary", "gains", "convergence", "map",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Search(Rounds):
    """One sequence of rounds at one dose. kind: BO, RANDOM or MAP."""

    kind: str
    dose_e_per_a2: float

    @property
    def ordered(self) -> bool:
        """Whether a round waits for the one before it."""
        return self.kind == BO


def searches(study: StudyConfig) -> dict[str, Search]:
    """All searches by name, as bo-1000: one for each dose, the random search, the map."""
    config = study.search
    batches = [config.batch] * (config.points // config.batch)
    if config.points % config.batch:
        batches.append(config.points % config.batch)
    wanted = [(BO, dose, (config.initial, *batches)) for dose in study.doses_e_per_a2]
    if study.random is not None:
        wanted.append((RANDOM, study.random.dose_e_per_a2, (config.initial + config.points,)))
    if study.map is not None:
        wanted.append((MAP, study.map.dose_e_per_a2, (len(study.map.x.values) * len(study.map.y.values),)))
    found = [
        Search(name=f"{kind}-{dose_name(dose)}", sizes=sizes, chunk=study.jobs.chunk, kind=kind, dose_e_per_a2=dose)
        for kind, dose, sizes in wanted
    ]
    return {search.name: search for search in found}


def find_search(study: StudyConfig, name: str) -> Search:
    """A search by its name, as bo-1000. Raises InputError."""
    known = searches(study)
    if name not in known:
        raise InputError("search", "must be one of the study's searches", name, nearest(name, known))
    return known[name]


def winner(study: StudyConfig, dose: str) -> Search:
    """The search at a dose whose best point is simulated again."""
    return find_search(study, f"{BO}-{dose}")


def doses(study: StudyConfig) -> list[Which]:
    """Jobs that decide which design wins at a dose."""
    return [{"dose": dose_name(dose)} for dose in study.doses_e_per_a2]


def decision_trials(study: StudyConfig) -> int:
    """Most trials that decide which design wins at a dose, and when the reference's reconstruction ends."""
    return max(study.decision.draws, study.decision.first) + study.decision.first


def simulators(study: StudyConfig) -> tuple[str, ...]:
    """Simulators that winners are validated with."""
    return ("jax", "abtem") if study.validation.abtem else ("jax",)


def validations(study: StudyConfig) -> Iterable[Which]:
    """Jobs that simulate winners again."""
    doses = [dose_name(dose) for dose in study.doses_e_per_a2]
    return [{"dose": dose, "simulator": simulator} for dose in doses for simulator in simulators(study)]


def tables(study: StudyConfig) -> list[str]:
    """Tables that the study makes."""
    return [name for name in TABLES if name != "map" or study.map is not None]


def trials(study: StudyConfig) -> dict[str, int]:
    """Number of trials of each search, of the decisions at most, and of the validation."""
    each = study.validation.repeats + int(study.validation.abtem)
    doses = len(study.doses_e_per_a2)
    more = {"decision": doses * decision_trials(study), "validation": 2 * each * doses}
    return {**{name: search.total for name, search in searches(study).items()}, **more}
