"""The kind `regularisation`: what a plan's settings and engines do to the reconstruction of a thick sample.

results/<study>[-<scale>]/
  resolved.yaml, specimen.h5
  data/base/chunk-<c>.h5                        simulated patterns
  tuning/<plan>.json                            of the plans that are tuned before they are compared
  reconstruction/<item>.h5, errors/<item>.json  of every plan, and of the first one with one setting changed
  tables/, figures/, report.html, logs/
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ptydesign.errors import InputError
from ptydesign.regularisation.config import BASE, SLICES, TABLES, THICKNESS, RegularisationStudy
from ptydesign.regularisation.run import ends_of, find_item, items, most_slices, tuned_plans
from ptydesign.study.file import in_file
from ptydesign.study.kind import Kind, Step, Which, Work
from ptydesign.study.tables import table_files
from ptydesign.study.versions import ALGORITHMS, LAYOUT, versions
from ptydesign.thick import estimate, steps
from ptydesign.thick import resolve as thick
from ptydesign.thick.config import check_margin, check_slices
from ptydesign.thick.resolve import ThickResolved
from ptydesign.thick.scored import scored_words, with_doubts


def load(folder: Path, scale: str, root: Path) -> ThickResolved:
    """The checked study of a folder. Raises InputError."""
    resolved = thick.resolve(RegularisationStudy, folder, scale, root)
    study, whole = resolved.study, float(resolved.shape.thickness_a)
    with in_file(Path(folder) / "study.yaml"):
        check_slices(study, resolved.shape, study.slices, whole / study.slices, "slices")
        for number, item in enumerate(study.plans):
            most = most_slices(study, item.name)
            check_slices(study, resolved.shape, most, whole / most, f"plans.{number}.tune.{SLICES}")
            if item.tune is not None and THICKNESS in item.tune.root:
                ends = ends_of(item.tune.root[THICKNESS])
                if not min(ends) <= whole <= max(ends):
                    rule = f"must hold the sample's thickness, {whole:.1f} A"
                    raise InputError(f"plans.{number}.tune.{THICKNESS}", rule, list(ends), "Widen or move the range.")
                for value in ends:
                    check_slices(study, resolved.shape, most, value / most, f"plans.{number}.tune.{THICKNESS}")
        check_margin(study, study.errors.margin_a, "errors.margin_a")
        if study.dumbbells is not None:
            _check_element(study)
        return with_doubts(resolved, study.errors.margin_a, "errors.margin_a", counted=False)


def _check_element(study: RegularisationStudy) -> None:
    from ptydesign.simulate.crystal import read_structure

    found = sorted(set(read_structure(study.sample.file).get_chemical_symbols()))
    if study.dumbbells.element not in found:
        rule = f"must be one of the file's elements {found}"
        raise InputError("dumbbells.element", rule, study.dumbbells.element, "Correct it.")


def _tuned(resolved: ThickResolved) -> list[Which]:
    return [{"plan": name} for name in tuned_plans(resolved.study)]


def _items(resolved: ThickResolved) -> list[Which]:
    return [{"item": item.name} for item in items(resolved.study)]


def _chunks(resolved: ThickResolved, **which: Any) -> list[str]:
    return resolved.chunk_files(BASE)


def _tuning(resolved: ThickResolved, item: str) -> list[str]:
    """The tuning that a reconstruction needs."""
    plan = find_item(resolved.study, item).plan
    return [f"tuning/{plan}.json"] if plan in tuned_plans(resolved.study) else []


def _common(resolved: ThickResolved, plan: str) -> dict[str, Any]:
    content = resolved.content
    return {
        "data": resolved.data_settings(BASE),
        "noise_seed": resolved.noise_seed(BASE),
        "dose_e_per_a2": resolved.experiments[BASE].dose_e_per_a2,
        "plan": next(item for item in resolved.study.plans if item.name == plan).model_dump(mode="json"),
        **{name: content[name] for name in ("slices", "errors", "seed")},
        **versions("reconstruct", "score"),
    }


def _tune_settings(resolved: ThickResolved, plan: str) -> dict[str, Any]:
    return {**_common(resolved, plan), "tuning": resolved.content["tuning"]}


def _item_settings(resolved: ThickResolved, item: str) -> dict[str, Any]:
    found, measured = find_item(resolved.study, item), resolved.content["dumbbells"]
    measured = measured and {**measured, "version": ALGORITHMS["dumbbells"]}
    return {**_common(resolved, found.plan), "path": found.path, "value": found.value, "dumbbells": measured}


def _collected(resolved: ThickResolved) -> dict[str, Any]:
    return {**versions("collect"), "items": [i.name for i in items(resolved.study)], "layout": LAYOUT}


TUNE = Step(
    "tune",
    "Tune a plan before it is compared.",
    "ptydesign.regularisation.tune:tune",
    ("tuning/{plan}.json",),
    each=_tuned,
    needs=(steps.SPECIMEN_FILE, _chunks),
    depends=_tune_settings,
    memory="reconstruction",
    priority=20,
    jax=True,
)
RECONSTRUCT = Step(
    "reconstruct",
    "Reconstruct, and watch errors.",
    "ptydesign.regularisation.run:run_item",
    ("reconstruction/{item}.h5", "errors/{item}.json"),
    each=_items,
    needs=(steps.SPECIMEN_FILE, _chunks, _tuning),
    depends=_item_settings,
    memory="reconstruction",
    jax=True,
)
COLLECT = Step(
    "collect",
    "Write the tables.",
    "ptydesign.regularisation.collect:collect",
    tuple(table_files(TABLES)),
    needs=(steps.SPECIMEN_FILE, RECONSTRUCT.files, TUNE.files),
    depends=_collected,
    memory="tables",
)
STEPS = (steps.SPECIMEN, steps.SIMULATE, TUNE, RECONSTRUCT, COLLECT)


def memory(resolved: ThickResolved) -> dict[str, float]:
    """GiB of one job of each sort."""
    study = resolved.study
    return estimate.memory_gib(resolved, max(most_slices(study, item.name) for item in study.plans))


def work(resolved: ThickResolved) -> dict[str, Work]:
    """Of each step."""
    study, whole = resolved.study, float(resolved.shape.thickness_a)
    plans = {named.name: study.plan_with(named.plan, {}, whole) for named in study.plans}
    works = {item.name: estimate.reconstruction_work(resolved, BASE, plans[item.plan]) for item in items(study)}
    trials = study.tuning.initial + study.tuning.points
    tuning = [
        trials * works[name] * study.tuning.sweeps / plans[name].sweeps * most_slices(study, name) / study.slices
        for name in tuned_plans(study)
    ]
    return {
        steps.SIMULATE.name: Work(estimate.simulation_work(resolved)),
        TUNE.name: Work(sum(tuning), chain=max(tuning, default=0.0)),
        RECONSTRUCT.name: Work(sum(works.values()), chain=max(works.values())),
    }


def words(resolved: ThickResolved, numbers: Mapping[str, Any]) -> str:
    """What the study takes, in words."""
    study = resolved.study
    trials = (study.tuning.initial + study.tuning.points) * len(tuned_plans(study))
    what = f"{len(items(study))} reconstructions in {study.slices} slices, {trials} trials of tuning"
    return f"{estimate.summary(resolved, numbers, what)}\n{scored_words(resolved, study.errors.margin_a)}"


KIND = Kind(
    name="regularisation",
    asks="what do a plan's settings and engines do to a thick sample?",
    model=RegularisationStudy,
    load=load,
    steps=STEPS,
    tables=COLLECT.files,
    read="ptydesign.regularisation.tables:read_tables",
    figures="ptydesign.regularisation.figures:FIGURES",
    page="ptydesign.regularisation.page:page",
    work=work,
    memory=memory,
    words=words,
    more=thick.made,
    mend=estimate.MEND,
)
