"""The kind `compare`: named designs and reconstructions beside each other, each with fresh draws.

results/<study>[-<scale>]/
  resolved.yaml, potential.json
  draws/<dose>-<design>.json   fresh draws of a design; all reconstructions get the same patterns
  tables/, figures/, report.html, logs/

A small kind, and the one to copy for a new one: this file says what is computed, `report` what is shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, model_validator

from ptydesign.errors import InputError
from ptydesign.experiment import checks, estimate
from ptydesign.experiment.config import DesignConfig, ObjectiveConfig, SimulatedStudy, check_objective
from ptydesign.experiment.images import keep_images, kept_images
from ptydesign.experiment.kind import POTENTIAL, POTENTIAL_FILE, SIMULATED
from ptydesign.experiment.resolve import Resolved, resolved
from ptydesign.experiment.search import Runner
from ptydesign.experiment.trial import Trial
from ptydesign.functions import plain_name
from ptydesign.reconstruct.plan import Plan
from ptydesign.score.compare import ScoreConfig
from ptydesign.simulate.specimen import mixed_words
from ptydesign.study import cost, improbable, tables
from ptydesign.study.acquisition import ExperimentConfig, at_point
from ptydesign.study.draws import Save, Summary, difference, fresh_draws, summarise, verdict
from ptydesign.study.file import FOLDER_NAME, dose_name, in_file, load_study
from ptydesign.study.kind import Counted, Kind, Step, Which, Work
from ptydesign.study.progress import Progress
from ptydesign.study.quantities import ssim_column
from ptydesign.study.store import PointStore, digest, seed_of
from ptydesign.study.versions import FIELD_TRIAL, LAYOUT, versions

if TYPE_CHECKING:
    import pandas as pd

NO_NAMES = ("na", "nan", "none", "null")  # a table's empty cells are written so
TABLES = ("draws", "comparison")
DRAWS = "draws/{dose}-{design}.json"
NAMES = {"propertyNames": {"pattern": FOLDER_NAME}}  # they become part of file names


# the study file


class OnePlan(SimulatedStudy):
    """The study with one of its reconstructions: a study as a trial knows it."""

    reconstruction: Plan
    """Plan of reconstruction."""
    score: ScoreConfig
    """How reconstructions are scored against the truth."""
    objective: ObjectiveConfig
    """Which of the scores counts."""
    scored: ClassVar[tuple[int, ...]] = ()  # besides the last sweep
    patience: ClassVar[None] = None


class CompareStudy(SimulatedStudy):
    """A comparison at one scale: every design with every reconstruction, at each dose."""

    designs: dict[str, DesignConfig] = Field(min_length=1, json_schema_extra=NAMES)
    """Designs by name: what differs from `experiment`. All is compared with the first design and reconstruction."""
    reconstructions: dict[str, Plan] = Field(min_length=1, json_schema_extra=NAMES)
    """Plans of reconstruction by name. All get the same patterns of a design."""
    draws: int = Field(5, ge=2, le=10_000)
    """Simulations with fresh noise of each design at each dose."""
    confidence: float = Field(0.95, ge=0.5, lt=1)
    """Probability with which an interval holds the true mean."""
    score: ScoreConfig = ScoreConfig()
    """How reconstructions are scored against the truth."""
    objective: ObjectiveConfig = ObjectiveConfig()
    """Which of the scores is drawn and put into words; all are in the tables."""

    @model_validator(mode="after")
    def _consistent(self) -> CompareStudy:
        for field in ("designs", "reconstructions"):
            _check_names(field, list(getattr(self, field)))
        if len(self.pairs) < 2:
            rule = "must be two or more, or there must be two reconstructions"
            raise InputError("designs", rule, list(self.designs), "Add what it is to be compared with.")
        check_objective(self.objective, self.score)
        return self

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """(design, reconstruction) of all that is compared; the first is what the others are compared with."""
        return [(design, plan) for design in self.designs for plan in self.reconstructions]

    def config(self, design: str) -> ExperimentConfig:
        """The experiment of a design. Raises InputError."""
        return at_point(self.experiment, self.designs[design].point, f"designs.{design}")

    def with_plan(self, name: str) -> OnePlan:
        """The study with one of its reconstructions."""
        shared = {field: getattr(self, field) for field in OnePlan.model_fields if field != "reconstruction"}
        return OnePlan(**shared, reconstruction=self.reconstructions[name])


def _check_names(field: str, names: list[str]) -> None:
    for position, name in enumerate(names):
        if not re.fullmatch(FOLDER_NAME, name):
            rule = "must be a name of letters (a to z), digits and underscores"
            raise InputError(f"{field}.{name}", rule, name, "It becomes part of file names.")
        if name.lower() in NO_NAMES:
            raise InputError(f"{field}.{name}", "must not be a word for a missing value", name, "Rename it.")
        if name.lower() in [other.lower() for other in names[:position]]:
            raise InputError(f"{field}.{name}", "must differ from other names in more than case", name, "Rename it.")


def load(folder: Path, scale: str, root: Path) -> Resolved:
    """The checked study of a folder. Raises InputError."""
    folder = Path(folder)
    study = load_study(folder, scale, CompareStudy)
    points = [(f"designs.{name}", design.point) for name, design in study.designs.items()]
    with in_file(folder / "study.yaml"):
        checks.check_points(study, study.score, points, folder)
        study = checks.found_sample(study, points, folder)
        warnings = [*_warnings(study, folder), *checks.margin_warnings(study, points)]
    return resolved(study, points, folder, root, warnings)


def _warnings(study: CompareStudy, folder: Path) -> Iterator[str]:
    questions = [*improbable.of_experiment(study.experiment, "experiment"), *improbable.of_thickness(study.sample)]
    questions += improbable.of_image(study.sample, study.experiment.voltage_kv)
    for name, design in study.designs.items():
        config = study.config(name)
        questions += improbable.of_experiment(config, f"designs.{name}", design.point)
        yield from checks.window_warnings(config, name)
        for dose in study.doses_e_per_a2:
            yield from checks.faint_warnings(dose, config.step_a, f"the step of {name}")
    for name, plan in study.reconstructions.items():
        yield from checks.slices_warnings(study, plan, folder, f"the reconstruction {name}")
    yield from filter(None, [mixed_words(study.sample)])
    yield from improbable.asked(questions, study.meant)


# the steps


@dataclass(frozen=True)
class Draw(Trial):
    """A trial whose seed all designs share: what is random beside the counts (errors of positions, for instance) is
    then the same for all."""

    def seed(self, study: SimulatedStudy) -> int:
        """Seed of noise, position errors and the reconstruction's shuffling."""
        return seed_of(study.seed, "draw", self.dose_e_per_a2, self.simulator, self.repeat)


def draw(resolved: Resolved, dose: str, design: str, progress: Progress | None = None) -> Path:
    """Simulate a design at a dose with fresh noise, several times, and reconstruct each in every way."""
    study = resolved.study
    value = next(value for value in study.doses_e_per_a2 if dose_name(value) == dose)
    plans = {name: study.with_plan(name) for name in study.reconstructions}
    config, runner = study.config(design), Runner(resolved, progress)

    def run(number: int, save: Save | None) -> Iterator[dict[str, Any]]:
        for name, one in plans.items():
            trial = Draw(config, value, repeat=number)
            key, result = runner.run(trial, f"{dose}/{design}/{name}/{number}", save, one)
            yield {"reconstruction": name, "key": key, **result}

    records = fresh_draws(run, study.draws, keep_images(runner.store))
    content = {"dose_e_per_a2": value, "design": design, "trials": records}
    return resolved.write_json(DRAWS.format(dose=dose, design=design), content)


def collect(resolved: Resolved) -> list[Path]:
    """Write the tables and the images of the first draws."""
    import pandas as pd

    from ptydesign.experiment.collect import score_columns

    study, rows, images = resolved.study, [], {}
    store, width = PointStore(resolved.root), f"{study.objective.width_px:g}"
    for which in _jobs(resolved):
        content = resolved.read_json(DRAWS.format(**which))
        for record in content["trials"]:
            place = {name: content[name] for name in ("dose_e_per_a2", "design")}
            place["reconstruction"] = record["reconstruction"]
            rows.append({**place, "draw": record["repeat"], **score_columns(study, record)})
            if record["repeat"] == 1 and record["status"] == "ok":
                group = kept_images(store, record["key"], ("phase", "truth"), ("pixel_a", "ssim_by_width"))
                ssim = group["attrs"].pop("ssim_by_width").get(width)
                group["attrs"] |= place | ({} if ssim is None else {"ssim": ssim})
                images["-".join([*which.values(), record["reconstruction"]])] = group
    draws = pd.DataFrame(rows)
    frames = {"draws": draws, "comparison": pd.DataFrame(comparison(study, draws))}
    return tables.write_tables(resolved.results, frames, images)


def comparison(study: CompareStudy, draws: pd.DataFrame) -> Iterable[dict[str, Any]]:
    """Of each score, dose and pair: mean, spread and interval, and the paired difference from the first pair.

    draws: a row for each trial, with the columns of draws.csv; those without a score don't count.
    """
    for score in scores(study.objective.model_dump()):
        for dose in study.doses_e_per_a2:
            found = {}
            for pair in study.pairs:
                rows = draws[(draws["dose_e_per_a2"] == dose) & (draws["design"] == pair[0])]
                rows = rows[rows["reconstruction"] == pair[1]].sort_values("draw")
                found[pair] = rows[score].to_numpy(float)
            base = found[study.pairs[0]]
            for pair, values in found.items():
                own = summarise(values, study.confidence)
                first = pair == study.pairs[0]
                apart = Summary(0) if first else difference(values, base, study.confidence)
                yield {
                    "score": score,
                    "dose_e_per_a2": dose,
                    "design": pair[0],
                    "reconstruction": pair[1],
                    **asdict(own),
                    "difference_n": apart.n,
                    **{f"difference_{name}": getattr(apart, name) for name in ("mean", "std", "low", "high")},
                    "verdict": "" if first else verdict(apart, score != "mse_rad2"),
                }


def scores(objective: Mapping[str, Any]) -> list[str]:
    """Columns of the scores that are compared; the first one is the objective."""
    columns = {"ssim": ssim_column(objective["width_px"])}
    names = dict.fromkeys([objective["metric"], "psnr_db", "frc_area", "mse_rad2"])
    return [columns.get(name, plain_name(name)) for name in names]


def _jobs(resolved: Resolved) -> list[Which]:
    doses = [dose_name(dose) for dose in resolved.study.doses_e_per_a2]
    return [{"dose": dose, "design": design} for dose in doses for design in resolved.study.designs]


def _drawn(resolved: Resolved, dose: str, design: str) -> dict[str, Any]:
    content = resolved.content
    return {
        "potential": resolved.key,
        "experiment": resolved.study.config(design).model_dump(mode="json"),
        "reconstructions": [list(item) for item in content["reconstructions"].items()],
        **{name: content[name] for name in ("score", "draws", "seed")},
        **versions(*FIELD_TRIAL),
    }


def _collected(resolved: Resolved) -> dict[str, Any]:
    content = resolved.content
    names = {name: list(content[name]) for name in ("designs", "reconstructions")}  # their order counts
    more = {name: content[name] for name in ("objective", "score", "confidence")}
    return {**names, **more, **versions("collect"), "layout": LAYOUT}


DRAW = Step(
    "draw",
    "Simulate a design at a dose with fresh noise, and reconstruct it in every way.",
    "ptydesign.compare.kind:draw",
    (DRAWS,),
    each=_jobs,
    needs=(POTENTIAL_FILE,),
    depends=_drawn,
    memory="trial",
    progress=True,
    jax=True,
)
COLLECT = Step(
    "collect",
    "Write the tables.",
    "ptydesign.compare.kind:collect",
    tuple(tables.table_files(TABLES)),
    needs=(DRAW.files,),
    depends=_collected,
    local=True,
)


def work(resolved: Resolved) -> dict[str, Work]:
    """Of each step. Shapes of each design are compiled anew for each reconstruction."""
    study = resolved.study
    plans = [study.with_plan(name) for name in study.reconstructions]
    each = [study.draws * sum(estimate.trial_work(p, study.config(d)) for p in plans) for d in study.designs]
    units = len(study.doses_e_per_a2) * sum(each)
    return {DRAW.name: Work(units, estimate.COMPILE_S * len(study.pairs), chain=max(each))}


def memory(resolved: Resolved) -> dict[str, float]:
    """GiB of one job of each sort."""
    return {"trial": estimate.trials_gib([resolved.study.config(d) for d in resolved.study.designs], resolved.shape)}


def trials(study: CompareStudy) -> int:
    """Number of reconstructions."""
    return len(study.doses_e_per_a2) * len(study.pairs) * study.draws


def words(resolved: Resolved, numbers: Mapping[str, Any]) -> str:
    """What the study takes, in words."""
    study = resolved.study
    what = f"{len(study.designs)} designs, {len(study.reconstructions)} reconstructions, {study.draws} draws of each"
    return cost.summary(resolved, numbers, f"{trials(study)} trials ({what})")


KIND = Kind(
    name="compare",
    asks="which of some designs and reconstructions is better, and how sure is that?",
    model=CompareStudy,
    load=load,
    steps=(POTENTIAL, DRAW, COLLECT),
    tables=COLLECT.files,
    read="ptydesign.compare.report:read_tables",
    figures="ptydesign.compare.report:FIGURES",
    page="ptydesign.compare.report:page",
    work=work,
    memory=memory,
    words=words,
    **SIMULATED,
    progress=lambda resolved: Counted(
        trials(resolved.study), digest([resolved.key, resolved.content])[:8], metric=resolved.study.objective.metric
    ),
)
