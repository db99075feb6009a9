"""The kind `compare`: named designs and reconstructions beside each other, each with fresh draws.

results/<study>[-<scale>]/
  resolved.yaml, potential.json
  draws/<dose>-<design>.json   fresh draws of a design; all reconstructions get the same patterns
  tables/, figures/, report.html, logs/

A small kind, and the one to copy for a new one: `config` is its file, this module says what is computed, `report` what
is shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptydesign.compare.config import CompareStudy
from ptydesign.experiment import checks, estimate, spectra
from ptydesign.experiment.config import SimulatedStudy
from ptydesign.experiment.images import keep_images, kept_images
from ptydesign.experiment.kind import POTENTIAL, POTENTIAL_FILE, SIMULATED
from ptydesign.experiment.resolve import Resolved, resolved
from ptydesign.experiment.search import Runner
from ptydesign.experiment.trial import Trial
from ptydesign.functions import plain_name
from ptydesign.simulate.specimen import mixed_words
from ptydesign.study import cost, improbable, tables
from ptydesign.study.draws import Save, Summary, difference, fresh_draws, summarise, verdict
from ptydesign.study.file import dose_name, in_file, load_study
from ptydesign.study.kind import Counted, Kind, Step, Which, Work
from ptydesign.study.progress import Progress
from ptydesign.study.quantities import ssim_column
from ptydesign.study.store import PointStore, digest, seed_of
from ptydesign.study.versions import FIELD_TRIAL, LAYOUT, versions

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

TABLES = ("draws", "comparison", "contrasts", "spectrum")
DRAWS = "draws/{dose}-{design}.json"


def load(folder: Path, scale: str, root: Path) -> Resolved:
    """The checked study of a folder. Raises InputError."""
    folder = Path(folder)
    study = load_study(folder, scale, CompareStudy)
    points = [(f"designs.{name}", design.point) for name, design in study.designs.items()]
    with in_file(folder / "study.yaml"):
        variants = [study.by(way) for way in study.ways] if study.protocols else [study]
        for one in variants:
            checks.check_points(one, one.score, points, folder)
        if study.protocols and study.specimen_a is None:  # one specimen, which holds what the widest scan needs
            shapes = [checks.potential_shape(one, points, folder) for one in variants]
            extent = tuple(max(sizes) * study.potential.pixel_a for sizes in zip(*shapes, strict=True))
            study = study.model_copy(update={"specimen_a": extent})
        study = checks.found_sample(study, points, folder)
        warnings = [*_warnings(study, folder), *checks.margin_warnings(study, points)]
    return resolved(study, points, folder, root, warnings)


def _warnings(study: CompareStudy, folder: Path) -> Iterator[str]:
    questions = [*improbable.of_experiment(study.experiment, "experiment"), *improbable.of_thickness(study.sample)]
    questions += improbable.of_image(study.sample, study.experiment.voltage_kv)
    narrowest = min(plan.probe.window for plan in study.reconstructions.values())
    for name, design in study.designs.items():
        config = study.config(name)
        questions += improbable.of_experiment(config, f"designs.{name}", design.point)
        yield from checks.window_warnings(config, name, narrowest)
        for dose in study.doses_e_per_a2:
            yield from checks.faint_warnings(dose, config.step_a, f"the step of {name}")
    for name, plan in study.reconstructions.items():
        yield from checks.slices_warnings(study, plan, folder, f"the reconstruction {name}")
        yield from checks.mtf_warnings(study.experiment, plan, f"the reconstruction {name}")
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
    """Simulate a design at a dose with fresh noise, several times, and reconstruct it in every way. What is simulated
    alike has the same patterns."""
    study = resolved.study
    value = next(value for value in study.doses_e_per_a2 if dose_name(value) == dose)
    ways = {name: (study.config(design, name), study.by(name)) for name in study.ways}
    runner = Runner(resolved, progress)

    def run(number: int, save: Save | None) -> Iterator[dict[str, Any]]:
        for name, (config, one) in ways.items():
            trial = Draw(config, value, repeat=number)
            key, result = runner.run(trial, f"{dose}/{design}/{name}/{number}", save, one)
            yield {study.way_word: name, "key": key, **result}

    records = fresh_draws(run, study.draws, keep_images(runner.store), every=True)
    content = {"dose_e_per_a2": value, "design": design, "trials": records}
    return resolved.write_json(DRAWS.format(dose=dose, design=design), content)


def collect(resolved: Resolved) -> list[Path]:
    """Write the tables and the images of the first draws."""
    import pandas as pd

    from ptydesign.experiment.collect import score_columns

    study, rows, images = resolved.study, [], {}
    word = study.way_word
    store, width = PointStore(resolved.root), f"{study.objective.width_px:g}"
    for which in _jobs(resolved):
        content = resolved.read_json(DRAWS.format(**which))
        for record in content["trials"]:
            place = {name: content[name] for name in ("dose_e_per_a2", "design")}
            place[word] = record[word]
            rows.append({**place, "draw": record["repeat"], **score_columns(study, record)})
            if record["repeat"] == 1 and record["status"] == "ok":
                group = kept_images(store, record["key"], ("phase", "truth"), ("pixel_a", "ssim_by_width"))
                ssim = group["attrs"].pop("ssim_by_width").get(width)
                group["attrs"] |= place | ({} if ssim is None else {"ssim": ssim})
                images["-".join([*which.values(), record[word]])] = group
    draws = pd.DataFrame(rows)
    asked = pd.DataFrame(contrasts(study, draws), columns=contrast_columns(study))
    rings = pd.DataFrame(_rings(resolved), columns=["dose_e_per_a2", "design", word, *spectra.COLUMNS])
    frames = {"draws": draws, "comparison": pd.DataFrame(comparison(study, draws)), "contrasts": asked}
    frames["spectrum"] = rings
    return tables.write_tables(resolved.results, frames, images)


def _rings(resolved: Resolved) -> Iterable[dict[str, Any]]:
    """What the draws of each pair say by ring of spatial frequency."""
    study, store = resolved.study, PointStore(resolved.root)
    for which in _jobs(resolved):
        content = resolved.read_json(DRAWS.format(**which))
        for way in study.ways:
            records = [record for record in content["trials"] if record[study.way_word] == way]
            for row in spectra.rows(spectra.by_ring(store, records, study.score_of(way).frc_qmax)):
                yield {**{n: content[n] for n in ("dose_e_per_a2", "design")}, study.way_word: way, **row}


def comparison(study: CompareStudy, draws: pd.DataFrame) -> Iterable[dict[str, Any]]:
    """Of each score, dose and pair: mean, spread and interval, and the paired difference from the first pair.

    draws: a row for each trial, with the columns of draws.csv; those without a score don't count.
    """
    for score in scores(study.objective.model_dump()):
        for dose in study.doses_e_per_a2:
            found = {pair: _values(study, draws, score, dose, pair) for pair in study.pairs}
            base = found[study.pairs[0]]
            for pair, values in found.items():
                own = summarise(values, study.confidence)
                first = pair == study.pairs[0]
                apart = Summary(0) if first else difference(values, base, study.confidence)
                yield {
                    "score": score,
                    "dose_e_per_a2": dose,
                    "design": pair[0],
                    study.way_word: pair[1],
                    **asdict(own),
                    "difference_n": apart.n,
                    **{f"difference_{name}": getattr(apart, name) for name in ("mean", "std", "low", "high")},
                    "verdict": "" if first else verdict(apart, score != "mse_rad2"),
                }


def contrasts(study: CompareStudy, draws: pd.DataFrame) -> Iterable[dict[str, Any]]:
    """Of each score, contrast, dose and way: the difference of its two designs, draw by draw, and a verdict."""
    for score in scores(study.objective.model_dump()):
        for name, designs in study.contrasts.items():
            for dose in study.doses_e_per_a2:
                for way in study.ways:
                    one, other = (_values(study, draws, score, dose, (design, way)) for design in designs)
                    apart = difference(one, other, study.confidence)
                    asked = {"score": score, "contrast": name, "dose_e_per_a2": dose, study.way_word: way}
                    yield asked | asdict(apart) | {"verdict": verdict(apart, score != "mse_rad2")}


def contrast_columns(study: CompareStudy) -> list[str]:
    """Of the table, which is empty without contrasts."""
    return ["score", "contrast", "dose_e_per_a2", study.way_word, *(f.name for f in fields(Summary)), "verdict"]


def _values(study: CompareStudy, draws: pd.DataFrame, score: str, dose: float, pair: tuple[str, str]) -> np.ndarray:
    """Scores of a pair's draws, in their order."""
    rows = draws[(draws["dose_e_per_a2"] == dose) & (draws["design"] == pair[0])]
    return rows[rows[study.way_word] == pair[1]].sort_values("draw")[score].to_numpy(float)


def scores(objective: Mapping[str, Any]) -> list[str]:
    """Columns of the scores that are compared; the first one is the objective."""
    columns = {"ssim": ssim_column(objective["width_px"])}
    names = dict.fromkeys([objective["metric"], "psnr_db", "frc_area", "information", "mse_rad2"])
    return [columns.get(name, plain_name(name)) for name in names]


def _jobs(resolved: Resolved) -> list[Which]:
    doses = [dose_name(dose) for dose in resolved.study.doses_e_per_a2]
    return [{"dose": dose, "design": design} for dose in doses for design in resolved.study.designs]


def _drawn(resolved: Resolved, dose: str, design: str) -> dict[str, Any]:
    content, study = resolved.content, resolved.study
    return {
        "potential": resolved.key,
        "experiment": study.config(design).model_dump(mode="json"),
        "reconstructions": [list(item) for item in content["reconstructions"].items()],
        **({"protocols": [list(item) for item in content["protocols"].items()]} if study.protocols else {}),
        **{name: content[name] for name in ("score", "draws", "seed")},
        **versions(*FIELD_TRIAL),
    }


def _collected(resolved: Resolved) -> dict[str, Any]:
    content = resolved.content
    names = {name: list(content[name]) for name in ("designs", "reconstructions")}  # their order counts
    more = {name: content[name] for name in ("objective", "score", "confidence")}
    more |= {name: list(content[name].items()) for name in ("protocols", "contrasts") if name in content}
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
    ways = {name: study.by(name) for name in study.ways}
    each = [
        study.draws * sum(estimate.trial_work(one, study.config(design, way)) for way, one in ways.items())
        for design in study.designs
    ]
    units = len(study.doses_e_per_a2) * sum(each)
    return {DRAW.name: Work(units, estimate.COMPILE_S * len(study.pairs), chain=max(each))}


def memory(resolved: Resolved) -> dict[str, float]:
    """GiB of one job of each sort."""
    configs = [resolved.study.config(*pair) for pair in resolved.study.pairs]
    return {"trial": estimate.trials_gib(configs, resolved.shape)}


def trials(study: CompareStudy) -> int:
    """Number of reconstructions."""
    return len(study.doses_e_per_a2) * len(study.pairs) * study.draws


def words(resolved: Resolved, numbers: Mapping[str, Any]) -> str:
    """What the study takes, in words."""
    study = resolved.study
    what = f"{len(study.designs)} designs, {len(study.ways)} {study.way_word}s, {study.draws} draws of each"
    return cost.summary(resolved, numbers, f"{trials(study)} trials ({what})")


KIND = Kind(
    name="compare",
    asks="which of some designs and reconstructions is better, and how sure is that?",
    model=CompareStudy,
    load=load,
    steps=(POTENTIAL, DRAW, COLLECT),
    tables=COLLECT.files,
    read="ptydesign.compare.tables:read_tables",
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
