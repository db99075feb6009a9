"""The static shape of a plan: searches, rounds, chunks and file names. Nothing here depends on a score.

results/<study>[-<scale>]/
  plan.yaml, card.html, card.csv, card.json, potentials.json
  search/<dose>/round-<r>/points.json, chunk-<c>.json, and best.json
  robust/<design>.json                     the candidates and the rule of thumb under errors, at the dose limit
  tolerance/<parameter>.json               the recommended design with other values of one parameter
  limits/<design>.json, screen/<dose>.json Fisher information
  tables/, figures/, sheet.html, sheet.pdf, settings.json, calibration.yaml, reconstruction.yaml, report.html
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ptydesign.planning.config import PlanConfig
from ptydesign.planning.instrument import Bench
from ptydesign.planning.space import make_space
from ptydesign.study.file import dose_name

EXPERT_DESIGN = "expert"
RECOMMENDED = "recommended"  # whichever design it is
LIMIT_DESIGNS = (RECOMMENDED, EXPERT_DESIGN)
TRIED_IN_RANGE = 5  # values of a range that are simulated for its tolerance, typically
TABLES = ("trials", "robustness", "candidates", "tolerance", "pareto", "limits", "screen", "summary")


@dataclass(frozen=True)
class Search:
    """Rounds at one dose. before: the dose whose best points are tried first."""

    dose_e_per_a2: float
    sizes: tuple[int, ...]
    chunk: int
    before: float | None

    @property
    def name(self) -> str:
        """Folder name, as 1000."""
        return dose_name(self.dose_e_per_a2)

    def chunks(self, round_: int) -> int:
        """Number of jobs of a round."""
        return math.ceil(self.sizes[round_] / self.chunk)

    def indices(self, round_: int, chunk: int) -> range:
        """Positions of a chunk's points in its round."""
        return range(chunk * self.chunk, min((chunk + 1) * self.chunk, self.sizes[round_]))

    def points_file(self, round_: int) -> str:
        """File that holds the points of a round."""
        return f"search/{self.name}/round-{round_}/points.json"

    def chunk_files(self, round_: int) -> list[str]:
        """Files of a round."""
        return [f"search/{self.name}/round-{round_}/chunk-{c}.json" for c in range(self.chunks(round_))]

    def all_files(self) -> list[str]:
        """Files of all rounds."""
        return [file for r in range(len(self.sizes)) for file in self.chunk_files(r)]

    @property
    def best_file(self) -> str:
        """The winner and its candidates."""
        return f"search/{self.name}/best.json"


def searches(plan: PlanConfig) -> dict[str, Search]:
    """The searches by name, lowest dose first. After the first dose, half of the first points are the best ones of the
    dose below, and there are half as many."""
    config, found, before = plan.search, {}, None
    batches = [config.batch] * (config.points // config.batch)
    if config.points % config.batch:
        batches.append(config.points % config.batch)
    for dose in plan.goal.doses_e_per_a2:
        initial = config.initial if before is None else max(2, config.initial // 2)
        search = Search(dose, (initial, *batches), plan.chunk, before)
        found[search.name], before = search, dose
    return found


def designs(plan: PlanConfig) -> list[str]:
    """Designs that are tried under errors: candidates by rank, and the rule of thumb."""
    return [*(f"candidate-{i}" for i in range(plan.robustness.candidates)), EXPERT_DESIGN]


def robust_files(plan: PlanConfig) -> list[str]:
    """Files of the robustness."""
    return [f"robust/{name}.json" for name in designs(plan)]


def parameters(plan: PlanConfig) -> list[str]:
    """Parameters of which the tolerance is simulated: those with a choice, but for the voltage, which nobody sets
    wrong."""
    return [name for name in make_space(Bench(plan)).names if name != "voltage_kv"]


def tolerance_files(plan: PlanConfig) -> list[str]:
    """Files of the tolerances."""
    return [f"tolerance/{name}.json" for name in parameters(plan)]


def total_trials(plan: PlanConfig) -> int:
    """About the number of trials of the whole plan: how many a tolerance takes depends on where it ends."""
    robust = len(designs(plan)) * (plan.robustness.repeats + plan.robustness.draws)
    values = sum(2 if name in ("semiangle_mrad", "camera") else TRIED_IN_RANGE for name in parameters(plan))
    tolerance = values * plan.robustness.tolerance_repeats
    return sum(sum(search.sizes) for search in searches(plan).values()) + robust + tolerance


def table_files() -> list[str]:
    """Files that `plancollect` makes."""
    return [f"tables/{name}.csv" for name in TABLES] + ["tables/images.h5", "tables/recommendation.json"]
