"""A plan from a file, or from a study's folder, checked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ptydesign.config import read_yaml
from ptydesign.errors import InputError
from ptydesign.planning.checks import check_plan
from ptydesign.planning.config import PlanningStudy
from ptydesign.planning.library import with_instrument
from ptydesign.planning.ready import check_ready
from ptydesign.planning.resolve import PlanningResolved
from ptydesign.study.checked import check_results
from ptydesign.study.file import DEFAULT_SCALE, build_study, folder_name, in_file, name_of, named_today

TEMPLATE = Path(__file__).parent / "template.yaml"
KIND = "planning"
# What makes a probe large, and with it the window that it is simulated in.
WINDOW = "instrument.defocus_nm"
WINDOW_MEND = (
    "Allow less defocus, defocus_error_nm (three times it counts), focal_spread_nm or cs_mm; or a larger smallest "
    "aperture; or bin less."
)
# Fields of the studies that trials belong to -> what they follow from in a plan.
MODE_FIELDS = {
    "step_a": "simulation.field_of_view_a",
    "field_of_view_a": "simulation.field_of_view_a",
    "specimen_a": "simulation.field_of_view_a",
    "frc_qmax": "goal.resolution_a",
    "ssim_widths_px": "simulation.field_of_view_a",
    "defocus_nm": "instrument.defocus_nm",
    "semiangle_mrad": "instrument.apertures_mrad",
    "source_size_a": "instrument.source_size_a",
    "focal_spread_nm": "instrument.focal_spread_nm",
    "position_jitter_a": "instrument.position_jitter_a",
    "line_noise_a": "instrument.line_noise_a",
    "drift_a": "simulation.field_of_view_a",
    "cs_mm": "instrument.cs_mm",
    "experiment, space": WINDOW,
    "detector_pixels": "detector.bin",
    "pixel_a": "instrument.pixels_mrad",
    "doses_e_per_a2": "goal.doses_e_per_a2",
    "applied_dose_e_per_a2": "goal.doses_e_per_a2",
    "slice_thickness_a": "simulation.slice_thickness_a",
}


def study_name(path: Path) -> str:
    """Name of the study that a plan's file becomes: the file's name with underscores for what may not be in it."""
    return re.sub(r"[^A-Za-z0-9_]", "_", Path(path).stem)


def read_plan(path: Path, scale: str = DEFAULT_SCALE) -> tuple[PlanningStudy, list[str]]:
    """(checked plan, warnings) of a YAML file or of a folder with a study.yaml. Raises InputError.

    All that its jobs would refuse is looked for by `start.read_to_start`."""
    path = Path(path)
    if path.is_dir() and not (path / "study.yaml").is_file():
        raise InputError("plan", "must be a file, or a study's folder", str(path), "`ptydesign init` writes a plan.")
    source = path / "study.yaml" if path.is_dir() else path
    _check_is_plan(source)
    name = name_of(path) if path.is_dir() else study_name(path)
    with in_file(source):
        content = with_instrument(read_yaml(source), source.parent)
    plan = _build(content, str(source), name, scale)
    with in_file(source):
        return _checked(plan, source.parent)


def make_plan(content: Mapping[str, Any], name: str, scale: str = DEFAULT_SCALE) -> tuple[PlanningStudy, list[str]]:
    """(checked plan, warnings) of a dict, as a file would hold it. Raises InputError."""
    return _checked(_build(with_instrument(content, Path.cwd()), "plan", name, scale), Path.cwd())


def _check_is_plan(path: Path) -> None:
    """Say what another file is that is taken for a plan."""
    content = read_yaml(path)
    kind = content.get("kind", "experiment" if "experiment" in content else KIND)
    if named_today(kind) != KIND and isinstance(kind, str):
        own = path.name == "study.yaml"
        target = f"studies/{path.resolve().parent.name if own else path.stem}"
        run = f"Run it: snakemake {target}" if own else f"Make it {target}/study.yaml, and run: snakemake {target}"
        mend = f"{run}. `ptydesign init` writes a plan."
        raise InputError(str(path), "must be a plan of beam time", f"a study of the kind {kind}", mend)
    if "engines" in content:
        mend = "It is for `ptydesign reconstruct DATA PLAN`. `ptydesign init` writes a plan of beam time."
        raise InputError(str(path), "must be a plan of beam time", "a plan of a reconstruction", mend)


def _build(content: Mapping[str, Any], source: str, name: str, scale: str) -> PlanningStudy:
    content = dict(content)
    kind = content.pop("kind", KIND)
    if named_today(kind) != KIND:
        raise InputError(f"{source}: kind", f"must be {KIND}", kind, "Give a plan; `ptydesign init` writes one.")
    return build_study(content, source, name, scale, PlanningStudy)


def load(folder: Path, scale: str, root: Path) -> PlanningResolved:
    """The checked plan of a study's folder. Raises InputError."""
    plan, warnings = read_plan(Path(folder), scale)
    results = Path(root) / folder_name(plan.study, scale)
    check_results(results, plan.study)
    return PlanningResolved(plan, results, warnings=tuple(warnings))


def _checked(plan: PlanningStudy, folder: Path) -> tuple[PlanningStudy, list[str]]:
    """The plan with its sample's file found from `folder`, all rules checked: also those of the studies that its trials
    belong to, which are named by the plan's own fields."""
    plan, warnings = check_plan(plan, folder)
    resolved = PlanningResolved(plan, Path())
    try:
        _ = resolved.modes
    except InputError as error:
        section, _, name = error.field.removeprefix(f"{plan.study}: ").rpartition(".")
        field, value, mend = MODE_FIELDS.get(name, f"simulation ({section}.{name})"), error.value, error.mend
        if field == WINDOW:
            mend = WINDOW_MEND
        raise InputError(field, error.rule, value, mend) from None
    check_ready(resolved)
    return plan, warnings
