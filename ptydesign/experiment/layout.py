"""The static shape of a study: its searches, rounds, chunks and file names. Nothing here depends on a score.

results/<study>[-<scale>]/
  plan.yaml, potential.json
  search/<search>-<dose>/round-<r>/points.json       points of round r
  search/<search>-<dose>/round-<r>/chunk-<c>.json    evaluated trials
  search/<search>-<dose>/best.json                   the winner
  validation/<dose>-<simulator>.json, validation/<dose>.h5
  tables/, figures/, report.html, logs/
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ptydesign.errors import InputError, nearest
from ptydesign.experiment.config import StudyConfig
from ptydesign.study.file import dose_name

BO, RANDOM, MAP = "bo", "random", "map"


@dataclass(frozen=True)
class Search:
    """One sequence of rounds at one dose. sizes: points of each round; chunk: points of one job."""

    kind: str
    dose_e_per_a2: float
    sizes: tuple[int, ...]
    chunk: int

    @property
    def name(self) -> str:
        """Folder name, as bo-1000."""
        return f"{self.kind}-{dose_name(self.dose_e_per_a2)}"

    @property
    def total(self) -> int:
        """Number of trials."""
        return sum(self.sizes)

    def chunks(self, round_: int) -> int:
        """Number of jobs of a round."""
        return math.ceil(self.sizes[round_] / self.chunk)

    def indices(self, round_: int, chunk: int) -> range:
        """Positions of a chunk's points in its round."""
        return range(chunk * self.chunk, min((chunk + 1) * self.chunk, self.sizes[round_]))

    def chunk_files(self, round_: int) -> list[str]:
        """Files of a round, relative to the results folder."""
        return [f"search/{self.name}/round-{round_}/chunk-{c}.json" for c in range(self.chunks(round_))]

    def all_files(self) -> list[str]:
        """Files of all rounds."""
        return [file for r in range(len(self.sizes)) for file in self.chunk_files(r)]

    def points_file(self, round_: int) -> str:
        """File that holds the points of a round."""
        return f"search/{self.name}/round-{round_}/points.json"


def searches(study: StudyConfig) -> dict[str, Search]:
    """All searches by name: one per dose, the random search, the map."""
    config, chunk = study.search, study.jobs.chunk
    batches = [config.batch] * (config.points // config.batch)
    if config.points % config.batch:
        batches.append(config.points % config.batch)
    sizes = (config.initial, *batches)
    found = [Search(BO, dose, sizes, chunk) for dose in study.doses_e_per_a2]
    if study.random is not None:
        found.append(Search(RANDOM, study.random.dose_e_per_a2, (config.initial + config.points,), chunk))
    if study.map is not None:
        size = len(study.map.x.values) * len(study.map.y.values)
        found.append(Search(MAP, study.map.dose_e_per_a2, (size,), chunk))
    return {search.name: search for search in found}


def find_search(study: StudyConfig, name: str) -> Search:
    """A search by its name, as bo-1000. Raises InputError."""
    known = searches(study)
    if name not in known:
        raise InputError("search", "must be one of the study's searches", name, nearest(name, known))
    return known[name]


def simulators(study: StudyConfig) -> tuple[str, ...]:
    """Simulators that winners are validated with."""
    return ("jax", "abtem") if study.validation.abtem else ("jax",)


def validation_files(study: StudyConfig) -> list[str]:
    """Files of the validation, relative to the results folder."""
    names = [dose_name(dose) for dose in study.doses_e_per_a2]
    return [f"validation/{name}-{simulator}.json" for name in names for simulator in simulators(study)]


def validation_trials(study: StudyConfig) -> int:
    """Number of re-simulated trials."""
    each = study.validation.repeats + int(study.validation.abtem)
    return 2 * each * len(study.doses_e_per_a2)


def total_trials(study: StudyConfig) -> int:
    """Number of trials of the whole study."""
    return sum(search.total for search in searches(study).values()) + validation_trials(study)


TABLES = ("trials", "validation", "recommended", "summary", "convergence", "map")


def table_files(study: StudyConfig) -> list[str]:
    """Files that `collect` makes, relative to the results folder."""
    skipped = {"map": study.map is None}
    return [f"tables/{name}.csv" for name in TABLES if not skipped.get(name)] + ["tables/images.h5"]
