"""The kind `depth`: at which depth single atoms are found in a thick sample.

results/<study>[-<scale>]/
  resolved.yaml, specimen.h5
  data/<experiment>/chunk-<c>.h5     simulated patterns
  reconstruction/<variant>.h5        of every experiment, measure/<variant>.json what is found in it
  thickness/<slices>x<slice>.json    misfits under assumptions on the sample
  tables/, figures/, report.html, logs/
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ptydesign.depth.config import BASE, TABLES, DepthStudy
from ptydesign.depth.reconstruct import find_guess, guesses, plan_of, slice_thickness
from ptydesign.study.file import in_file
from ptydesign.study.kind import Kind, Step, Which, Work
from ptydesign.study.tables import table_files
from ptydesign.study.versions import LAYOUT, versions
from ptydesign.thick import estimate, steps
from ptydesign.thick import resolve as thick
from ptydesign.thick.config import check_margin, check_slices
from ptydesign.thick.resolve import ThickResolved
from ptydesign.thick.scored import scored_words, with_doubts


def load(folder: Path, scale: str, root: Path) -> ThickResolved:
    """The checked study of a folder. Raises InputError."""
    resolved = thick.resolve(DepthStudy, folder, scale, root)
    study = resolved.study
    with in_file(Path(folder) / "study.yaml"):
        check_margin(study, study.measure.margin_a, "measure.margin_a")
        check_slices(study, resolved.shape, study.slices, slice_thickness(resolved), "slices")
        for guess in guesses(resolved):
            field = {"thickness": "thickness_a"}.get(guess.varied[0], guess.varied[0])
            check_slices(study, resolved.shape, guess.slices, guess.slice_a, f"thickness.{field}")
        return with_doubts(resolved, study.measure.margin_a, "measure.margin_a", counted=True)


def _variants(resolved: ThickResolved) -> list[Which]:
    return [{"variant": name} for name in resolved.study.names]


def _guesses(resolved: ThickResolved) -> list[Which]:
    return [{"guess": guess.name} for guess in guesses(resolved)]


def _chunks(resolved: ThickResolved, variant: str = BASE, **which: Any) -> list[str]:
    return resolved.chunk_files(variant)


def _reconstruction(resolved: ThickResolved, variant: str) -> dict[str, Any]:
    return {
        "dose_e_per_a2": resolved.experiments[variant].dose_e_per_a2,
        "noise_seed": resolved.noise_seed(variant),
        "plan": plan_of(resolved).model_dump(mode="json"),
        "data": resolved.data_settings(variant),
        **versions("reconstruct"),
    }


def _measured(resolved: ThickResolved, variant: str) -> dict[str, Any]:
    return {"measure": resolved.content["measure"], **versions("score", "thick")}


def _assumed(resolved: ThickResolved, guess: str) -> dict[str, Any]:
    content, found = resolved.content, find_guess(resolved, guess)
    assumed = {"slices": found.slices, "slice_a": found.slice_a, "varied": list(found.varied)}
    assumed |= {name: content["thickness"][name] for name in ("sweeps", "held_out")}
    return {**_reconstruction(resolved, BASE), "assumed": assumed, "seed": content["seed"]}


def _collected(resolved: ThickResolved) -> dict[str, Any]:
    return {"variants": resolved.content["variants"], **versions("collect"), "layout": LAYOUT}


RECONSTRUCT = Step(
    "reconstruct",
    "Reconstruct the patterns of an experiment.",
    "ptydesign.depth.reconstruct:reconstruct",
    ("reconstruction/{variant}.h5",),
    each=_variants,
    needs=(_chunks,),
    depends=_reconstruction,
    memory="reconstruction",
    priority=20,
    jax=True,
)
MEASURE = Step(
    "measure",
    "Look for interstitials in a reconstruction.",
    "ptydesign.depth.reconstruct:write_measure",
    ("measure/{variant}.json",),
    each=_variants,
    needs=(steps.SPECIMEN_FILE, "reconstruction/{variant}.h5"),
    depends=_measured,
    memory="reconstruction",
    priority=20,
)
THICKNESS = Step(
    "thickness",
    "Misfit under an assumed thickness.",
    "ptydesign.depth.reconstruct:write_guess",
    ("thickness/{guess}.json",),
    each=_guesses,
    needs=(_chunks,),
    depends=_assumed,
    memory="reconstruction",
    jax=True,
)
COLLECT = Step(
    "collect",
    "Write the tables.",
    "ptydesign.depth.collect:collect",
    tuple(table_files(TABLES)),
    needs=(steps.SPECIMEN_FILE, f"reconstruction/{BASE}.h5", MEASURE.files, THICKNESS.files),
    depends=_collected,
    memory="tables",
)
STEPS = (steps.SPECIMEN, steps.SIMULATE, RECONSTRUCT, MEASURE, THICKNESS, COLLECT)


def memory(resolved: ThickResolved) -> dict[str, float]:
    """GiB of one job of each sort."""
    study = resolved.study
    slices = max([study.slices, *(guess.slices for guess in guesses(resolved))])
    return estimate.memory_gib(resolved, slices)


def work(resolved: ThickResolved) -> dict[str, Work]:
    """Of each step."""
    study, plan = resolved.study, plan_of(resolved)
    works = {name: estimate.reconstruction_work(resolved, name, plan) for name in study.names}
    assumed = [
        works[BASE] * study.thickness.sweeps / plan.sweeps * guess.slices / study.slices for guess in guesses(resolved)
    ]
    return {
        steps.SIMULATE.name: Work(estimate.simulation_work(resolved)),
        RECONSTRUCT.name: Work(sum(works.values()), chain=max(works.values())),
        THICKNESS.name: Work(sum(assumed), chain=max(assumed, default=0.0)),
    }


def words(resolved: ThickResolved, numbers: Mapping[str, Any]) -> str:
    """What the study takes, in words."""
    plan = plan_of(resolved)
    what = (
        f"{len(resolved.study.names)} reconstructions of {plan.sweeps} sweeps in {plan.object.slices} slices, "
        f"{len(guesses(resolved))} under assumed thicknesses"
    )
    found = estimate.summary(resolved, numbers, what)
    return f"{found}\n{scored_words(resolved, resolved.study.measure.margin_a)}"


KIND = Kind(
    name="depth",
    asks="at which depth are single atoms found in a thick sample?",
    model=DepthStudy,
    load=load,
    steps=STEPS,
    tables=COLLECT.files,
    read="ptydesign.depth.tables:read_tables",
    figures="ptydesign.depth.figures:FIGURES",
    page="ptydesign.depth.page:page",
    work=work,
    memory=memory,
    words=words,
    more=thick.made,
    mend=estimate.MEND,
)
