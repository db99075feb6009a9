"""What the Snakefile asks of a study of regularisation; `ptydesign.kinds` says what that is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ptydesign.errors import InputError
from ptydesign.regularisation.config import BASE, SLICES, TABLES, THICKNESS, RegularisationStudy
from ptydesign.regularisation.run import find_item, items
from ptydesign.study.file import in_file
from ptydesign.study.versions import ALGORITHMS, LAYOUT, versions
from ptydesign.thick import estimate, tables
from ptydesign.thick import resolve as thick
from ptydesign.thick.config import check_margin, check_slices
from ptydesign.thick.resolve import ThickResolved
from ptydesign.thick.scored import scored_words, with_doubts

KIND = "regularisation"
MODEL = RegularisationStudy
DUMBBELLS = 2  # version of what is measured of them


def load(folder: Path, scale: str, root: Path) -> ThickResolved:
    """The checked study of a folder."""
    resolved = thick.resolve(RegularisationStudy, folder, scale, root)
    study, whole = resolved.study, float(resolved.shape.thickness_a)
    with in_file(Path(folder) / "study.yaml"):
        check_slices(study, resolved.shape, study.slices, whole / study.slices, "slices")
        for number, item in enumerate(study.plans):
            most = most_slices(study, item.name)
            check_slices(study, resolved.shape, most, whole / most, f"plans.{number}.tune.{SLICES}")
            if item.tune is not None and THICKNESS in item.tune.root:
                ends = _ends(item.tune.root[THICKNESS])
                if not min(ends) <= whole <= max(ends):
                    rule = f"must hold the sample's thickness, {whole:.1f} A"
                    raise InputError(f"plans.{number}.tune.{THICKNESS}", rule, list(ends), "Widen or move the range.")
                for value in ends:
                    check_slices(study, resolved.shape, most, value / most, f"plans.{number}.tune.{THICKNESS}")
        check_margin(study, study.errors.margin_a, "errors.margin_a")
        if study.dumbbells is not None:
            _check_element(study)
        return with_doubts(resolved, study.errors.margin_a, "errors.margin_a", counted=False)


def most_slices(study: RegularisationStudy, plan: str) -> int:
    """The largest number of slices that a plan may be given."""
    item = next(item for item in study.plans if item.name == plan)
    if item.tune is None or SLICES not in item.tune.root:
        return study.slices
    return int(max(_ends(item.tune.root[SLICES])))


def _ends(dimension: Any) -> tuple:
    return tuple(dimension.choices or (dimension.low, dimension.high))


def _check_element(study: RegularisationStudy) -> None:
    from ptydesign.simulate.crystal import read_structure

    found = sorted(set(read_structure(study.sample.file).get_chemical_symbols()))
    if study.dumbbells.element not in found:
        rule = f"must be one of the file's elements {found}"
        raise InputError("dumbbells.element", rule, study.dumbbells.element, "Correct it.")


def settings(resolved: ThickResolved, step: str, plan: str | None = None, item: str | None = None) -> dict[str, Any]:
    """Settings, by value, that a step's output depends on; what it reads from files of other steps is not repeated."""
    content, study = resolved.content, resolved.study
    match step:
        case "resolve":
            return {**content, "layout": LAYOUT, "algorithms": dict(ALGORITHMS)}
        case "regularisation-specimen":
            return resolved.specimen_settings()
        case "regularisation-simulate":
            return resolved.data_settings(BASE)
        case "regularisation-tune":
            return {**_common(resolved), "plan": _plan(study, plan), "tuning": content["tuning"]}
        case "regularisation-reconstruct":
            found = find_item(study, item)
            varied = {"path": found.path, "value": found.value}
            measured = content["dumbbells"] and {**content["dumbbells"], "version": DUMBBELLS}
            return {**_common(resolved), "plan": _plan(study, found.plan), **varied, "dumbbells": measured}
        case "regularisation-collect":
            return {**versions("collect"), "items": [i.name for i in items(study)], "layout": LAYOUT}
        case "figures" | "report":
            return versions("figures")
    raise ValueError(step)


def _plan(study: RegularisationStudy, name: str) -> dict[str, Any]:
    return next(item for item in study.plans if item.name == name).model_dump(mode="json")


def _common(resolved: ThickResolved) -> dict[str, Any]:
    content = resolved.content
    return {
        "data": resolved.data_settings(BASE),
        "noise_seed": resolved.noise_seed(BASE),
        "dose_e_per_a2": resolved.experiments[BASE].dose_e_per_a2,
        **{name: content[name] for name in ("slices", "errors", "seed")},
        **versions("reconstruct", "score"),
    }


def tuned_plans(resolved: ThickResolved) -> list[str]:
    """Names of the plans that are tuned."""
    return [item.name for item in resolved.study.plans if item.tune is not None]


def tuning_files(resolved: ThickResolved, item: str | None = None) -> list[str]:
    """Files of the tuning that a reconstruction needs, or of all, relative to the results folder."""
    names = tuned_plans(resolved)
    if item is not None:
        names = [name for name in names if name == find_item(resolved.study, item).plan]
    return [f"tuning/{name}.json" for name in names]


def error_files(resolved: ThickResolved) -> list[str]:
    """Errors of all reconstructions, relative to the results folder."""
    return [f"errors/{item.name}.json" for item in items(resolved.study)]


def table_files(resolved: ThickResolved) -> list[str]:
    """What figures and report are drawn from, relative to the results folder."""
    return tables.table_files(TABLES)


def memory(resolved: ThickResolved) -> dict[str, float]:
    """GiB of one job of each kind."""
    slices = max(most_slices(resolved.study, item.name) for item in resolved.study.plans)
    return {
        "simulation": estimate.simulation_gib(resolved),
        "reconstruction": estimate.reconstruction_gib(resolved, BASE, slices),
    }


def check_memory(resolved: ThickResolved, cores: int, machine_gib: float) -> str | None:
    """A warning if jobs side by side need more memory than there is. Raises InputError if one does."""
    return estimate.check_memory(resolved, memory(resolved), cores, machine_gib)


def _numbers(resolved: ThickResolved, cores: int) -> dict[str, Any]:
    study, whole = resolved.study, float(resolved.shape.thickness_a)
    plans = {named.name: study.plan_with(named.plan, {}, whole) for named in study.plans}
    works = {item.name: estimate.reconstruction_work(resolved, BASE, plans[item.plan]) for item in items(study)}
    trials = study.tuning.initial + study.tuning.points
    for name in tuned_plans(resolved):
        part = study.tuning.sweeps / plans[name].sweeps * most_slices(study, name) / study.slices
        works[f"tuning of {name}"] = works[name] * part * trials
    jobs = 5 + resolved.chunks(BASE) + len(works)
    return estimate.numbers(resolved, cores, works, memory(resolved), jobs)


def summary(resolved: ThickResolved, cores: int, numbers: Mapping[str, Any] | None = None) -> str:
    """What the study would take, in words. numbers: the estimate, if it was made."""
    study = resolved.study
    trials = (study.tuning.initial + study.tuning.points) * len(tuned_plans(resolved))
    words = f"{len(items(study))} reconstructions in {study.slices} slices, {trials} trials of tuning"
    found = estimate.summary(resolved, dict(numbers or _numbers(resolved, cores)), words)
    return f"{found}\n{scored_words(resolved, study.errors.margin_a)}"


def write_plan(resolved: ThickResolved, cores: int) -> dict[str, Any]:
    """Write plan.yaml; returns the estimate in it."""
    numbers = _numbers(resolved, cores)
    thick.write_plan(resolved, KIND, numbers)
    return numbers


def draw(results: Path) -> list[Path]:
    """Draw the figures of a results folder."""
    from ptydesign.regularisation.figures import draw_all

    return draw_all(results)


def report(results: Path) -> Path:
    """Write the report of a results folder."""
    from ptydesign.regularisation.report import write_report

    return write_report(results)
