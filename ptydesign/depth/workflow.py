"""What the Snakefile asks of a study of depth; `ptydesign.kinds` says what that is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ptydesign.depth.config import BASE, TABLES, DepthStudy
from ptydesign.depth.reconstruct import find_guess, guesses, plan_of, slice_thickness
from ptydesign.study.file import in_file
from ptydesign.study.versions import ALGORITHMS, LAYOUT, versions
from ptydesign.thick import estimate, tables
from ptydesign.thick import resolve as thick
from ptydesign.thick.config import check_margin, check_slices
from ptydesign.thick.resolve import ThickResolved
from ptydesign.thick.scored import scored_words, with_doubts

KIND = "depth"
MODEL = DepthStudy


def load(folder: Path, scale: str, root: Path) -> ThickResolved:
    """The checked study of a folder."""
    resolved = thick.resolve(DepthStudy, folder, scale, root)
    study = resolved.study
    with in_file(Path(folder) / "study.yaml"):
        check_margin(study, study.measure.margin_a, "measure.margin_a")
        check_slices(study, resolved.shape, study.slices, slice_thickness(resolved), "slices")
        for guess in guesses(resolved):
            field = {"thickness": "thickness_a"}.get(guess.varied[0], guess.varied[0])
            check_slices(study, resolved.shape, guess.slices, guess.slice_a, f"thickness.{field}")
        return with_doubts(resolved, study.measure.margin_a, "measure.margin_a", counted=True)


def settings(
    resolved: ThickResolved,
    step: str,
    variant: str | None = None,
    data: str | None = None,
    guess: str | None = None,
) -> dict[str, Any]:
    """Settings, by value, that a step's output depends on; what it reads from files of other steps is not repeated."""
    content = resolved.content
    match step:
        case "resolve":
            return {**content, "layout": LAYOUT, "algorithms": dict(ALGORITHMS)}
        case "depth-specimen":
            return resolved.specimen_settings()
        case "depth-simulate":
            return resolved.data_settings(data)
        case "depth-reconstruct":
            return _reconstruction(resolved, variant)
        case "depth-measure":
            return {"measure": content["measure"], **versions("score"), "thick": ALGORITHMS["thick"]}
        case "depth-thickness":
            found = find_guess(resolved, guess)
            assumed = {"slices": found.slices, "slice_a": found.slice_a, "varied": list(found.varied)}
            assumed |= {name: content["thickness"][name] for name in ("sweeps", "held_out")}
            return {**_reconstruction(resolved, BASE), "assumed": assumed, "seed": content["seed"]}
        case "depth-collect":
            return {"variants": content["variants"], **versions("collect"), "layout": LAYOUT}
        case "figures" | "report":
            return versions("figures")
    raise ValueError(step)


def _reconstruction(resolved: ThickResolved, variant: str) -> dict[str, Any]:
    return {
        "dose_e_per_a2": resolved.experiments[variant].dose_e_per_a2,
        "noise_seed": resolved.noise_seed(variant),
        "plan": plan_of(resolved).model_dump(mode="json"),
        "data": resolved.data_settings(variant),
        **versions("reconstruct"),
    }


def measure_files(resolved: ThickResolved) -> list[str]:
    """Measured reconstructions, relative to the results folder."""
    return [f"measure/{name}.json" for name in resolved.study.names]


def guess_files(resolved: ThickResolved) -> list[str]:
    """Misfits under assumptions, relative to the results folder."""
    return [f"thickness/{guess.name}.json" for guess in guesses(resolved)]


def table_files(resolved: ThickResolved) -> list[str]:
    """What figures and report are drawn from, relative to the results folder."""
    return tables.table_files(TABLES)


def memory(resolved: ThickResolved) -> dict[str, float]:
    """GiB of one job of each kind."""
    study = resolved.study
    slices = max([study.slices, *(guess.slices for guess in guesses(resolved))])
    return {
        "simulation": estimate.simulation_gib(resolved),
        "reconstruction": max(estimate.reconstruction_gib(resolved, name, slices) for name in study.names),
    }


def check_memory(resolved: ThickResolved, cores: int, machine_gib: float) -> str | None:
    """A warning if jobs side by side need more memory than there is. Raises InputError if one does."""
    return estimate.check_memory(resolved, memory(resolved), cores, machine_gib)


def _numbers(resolved: ThickResolved, cores: int) -> dict[str, Any]:
    study = resolved.study
    plan = plan_of(resolved)
    works = {name: estimate.reconstruction_work(resolved, name, plan) for name in study.names}
    for guess in guesses(resolved):
        part = study.thickness.sweeps / plan.sweeps * guess.slices / study.slices
        works[guess.name] = works[BASE] * part
    chunks = sum(resolved.chunks(name) for name in resolved.data_names)
    jobs = 5 + chunks + 2 * len(study.names) + len(guesses(resolved))
    return estimate.numbers(resolved, cores, works, memory(resolved), jobs)


def summary(resolved: ThickResolved, cores: int, numbers: Mapping[str, Any] | None = None) -> str:
    """What the study would take, in words. numbers: the estimate, if it was made."""
    plan = plan_of(resolved)
    words = (
        f"{len(resolved.study.names)} reconstructions of {plan.sweeps} sweeps in {plan.object.slices} slices, "
        f"{len(guesses(resolved))} under assumed thicknesses"
    )
    found = estimate.summary(resolved, dict(numbers or _numbers(resolved, cores)), words)
    return f"{found}\n{scored_words(resolved, resolved.study.measure.margin_a)}"


def write_plan(resolved: ThickResolved, cores: int) -> dict[str, Any]:
    """Write plan.yaml; returns the estimate in it."""
    numbers = _numbers(resolved, cores)
    thick.write_plan(resolved, KIND, numbers)
    return numbers


def draw(results: Path) -> list[Path]:
    """Draw the figures of a results folder."""
    from ptydesign.depth.figures import draw_all

    return draw_all(results)


def report(results: Path) -> Path:
    """Write the report of a results folder."""
    from ptydesign.depth.report import write_report

    return write_report(results)
