"""Rules that concern several sections of a study; all take well under a second, before any work starts."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ptydesign.design.space import build_space
from ptydesign.errors import InputError
from ptydesign.experiment.config import SimulatedStudy, StudyConfig
from ptydesign.experiment.points import RECONSTRUCTION, is_path, of_experiment, plan_at
from ptydesign.experiment.scope import design_space
from ptydesign.reconstruct.paths import check_paths
from ptydesign.reconstruct.plan import Plan
from ptydesign.score.compare import ScoreConfig
from ptydesign.score.metrics import ssim_window_px
from ptydesign.simulate.dataset import check_experiment, required_shape
from ptydesign.simulate.specimen import ImageSample, build_atoms, check_sample, mixed_words
from ptydesign.study import improbable
from ptydesign.study.acquisition import OPERATOR_NAMES, ExperimentConfig, at_point, field_at, to_experiment

Place = tuple[str, Mapping[str, Any]]  # a section of the study, and a point of the experiment that it asks for
Study = TypeVar("Study", bound=SimulatedStudy)

MIN_ELECTRONS = 1.0  # per pattern: less is an empty dataset
MAX_CORNERS = 512
WINDOWS = {1: "detector's window", 2: "waves' window, twice the detector's"}
WIDER = {1: " (`probe: {window: 2}` in the reconstruction makes room for twice as wide ones)", 2: ""}
PLANS = 64  # points of the space that are turned into plans before work starts
THICKNESS_TOLERANCE = 0.2  # of the sample's, by which the reconstruction's may differ before it is warned of


def check_study(study: StudyConfig, folder: Path) -> tuple[StudyConfig, list[str]]:
    """The study with its sample's file found from `folder`, and warnings.

    Raises InputError for the first broken rule, with the field as it stands in study.yaml.
    """
    warnings: list[str] = []
    points = list(extremes(study))
    check_points(study, study.score, points, folder)
    _check_plans(study)
    _check_positions(study)
    _check_windows(study, warnings)
    warnings += margin_warnings(study, points)
    _check_faint(study, warnings)
    warnings += slices_warnings(study, study.reconstruction, folder)
    warnings += mtf_warnings(study.experiment, study.reconstruction)
    improbable.check_meant(study.meant, study.model_dump())
    study = found_sample(study, points, folder)
    warnings += filter(None, [mixed_words(study.sample)])
    warnings += improbable.asked(_questions(study, points), study.meant)
    return study, warnings


def _questions(study: StudyConfig, points: Sequence[Place]) -> Iterator[improbable.Question]:
    """About numbers that look like another unit."""
    space = [at_point(study.experiment, point, where) for where, point in points if where == "space"]
    yield from improbable.of_experiment(study.experiment, "experiment")
    yield from (one for one in improbable.of_range(space, "space") if one.field.partition(".")[2] in study.space.root)
    reference = study.reference.point
    yield from improbable.of_experiment(at_point(study.experiment, reference, "reference"), "reference", reference)
    yield from improbable.of_thickness(study.sample)
    yield from improbable.of_image(study.sample, study.experiment.voltage_kv)


def _check_plans(study: StudyConfig) -> None:
    """Every value of the space that belongs to the plan must make one: one at a time, then some together."""
    space = build_space(study.space)
    paths = [name for name in space.names if is_path(name)]
    check_paths([name.removeprefix(RECONSTRUCTION) for name in paths])
    for name in paths:
        dimension = study.space.root[name]
        for value in dimension.choices or _ends(dimension):
            plan_at(study.reconstruction, space.alone(name, value))
    if paths:
        for point in space.from_cube(np.random.default_rng(0).random((PLANS, len(space.names)))):
            plan_at(study.reconstruction, point)


def _check_positions(study: StudyConfig) -> None:
    """Some designs of the space, and the reference, must have few enough positions."""
    most = study.most_positions
    if most is None:
        return
    reference = at_point(study.experiment, study.reference.point, "reference").positions
    if reference > most:
        rule = f"must not be less than the reference's, {reference} with its margin"
        raise InputError("most_positions", rule, most, "Raise it, or give the reference a larger step.")
    if not design_space(study).draw(np.random.default_rng(0), 1):
        rule = "must leave some designs of the space"
        raise InputError("most_positions", rule, most, "Raise it, or let the space have larger steps.")


def check_points(study: SimulatedStudy, score: ScoreConfig, points: Sequence[Place], folder: Path) -> None:
    """What every study of simulated experiments keeps to, at the extreme points that it may ask for.

    Raises InputError for the first broken rule, with the field as it stands in study.yaml.
    """
    # missing or unreadable file, nothing to see: before anything is derived from it
    check_sample(study.sample, folder, field_a=study.experiment.field_of_view_a)
    _check_pixels(study)
    _check_score(study, score)
    # the experiment's own values too: what replaces them today may be left out tomorrow
    for where, point in itertools.chain([("experiment", {})], points):
        config = at_point(study.experiment, point, where)
        _check_optics(config, where, point)
        _check_scan(config, where, point)
        for dose in study.doses_e_per_a2:
            _check_dose(config, dose, where, point)


def found_sample(study: Study, points: Sequence[Place], folder: Path) -> Study:
    """The study with its sample's file found from `folder`, which must be large enough. Raises InputError."""
    extent = tuple(n * study.potential.pixel_a for n in potential_shape(study, points, folder))
    return study.model_copy(update={"sample": check_sample(study.sample, folder, extent)})


def potential_shape(study: SimulatedStudy, points: Iterable[Place], folder: Path = Path()) -> tuple[int, int]:
    """Pixels (y, x) of the one potential that holds scan and window of every experiment the study may ask for."""
    pixel = (study.potential.pixel_a, study.potential.pixel_a)
    thickness_a = _thickness_a(study, folder)
    needed = (0, 0)
    for where, point in points:
        experiment = to_experiment(at_point(study.experiment, point, where), study.doses_e_per_a2[0])
        try:
            one = required_shape([experiment], pixel, thickness_a)
        except InputError as error:
            raise _in_operators_words(error, where, point) from None
        needed = (max(needed[0], one[0]), max(needed[1], one[1]))
    if study.specimen_a is None:
        return needed
    shape = tuple(round(extent / pixel[0]) for extent in study.specimen_a)
    if any(have < want for have, want in zip(shape, needed, strict=True)):
        rule = f"must hold scan and window of every experiment, {[round(n * pixel[0], 1) for n in needed]} A"
        raise InputError("specimen_a", rule, list(study.specimen_a), "Enlarge it, or leave it out.")
    return shape


def extremes(study: StudyConfig) -> Iterator[Place]:
    """(name of the section, point) at every corner of the space and of the map, and for the reference."""
    varied = of_experiment(study.space.root)
    names = list(varied)
    ends = [_ends(dimension) + _longest_scans(study, name) for name, dimension in varied.items()]
    # range by range first, so that an error names the one value that is at fault
    for name, values in zip(names, ends, strict=True):
        for value in values:
            at_point(study.experiment, {name: value}, "space")
    corners = itertools.islice(itertools.product(*ends), MAX_CORNERS)
    yield from (("space", dict(zip(names, corner, strict=True))) for corner in corners)
    yield "reference", study.reference.point
    if study.map is not None:
        for x, y in itertools.product(study.map.x.values, study.map.y.values):
            yield "map", map_point(study, x, y)


def map_point(study: StudyConfig, x: float, y: float) -> dict[str, Any]:
    """The point of the map at (x, y)."""
    return {**study.map.at, study.map.x.name: x, study.map.y.name: y}


def _ends(dimension: Any) -> tuple:
    if dimension.choices is not None:
        return tuple(dimension.choices)
    low, high = dimension.low, dimension.high
    ends = (low, high) if low > 0 or high < 0 else (low, 0.0, high)  # 0 defocus is an extreme of its own
    return tuple(int(v) for v in ends) if dimension.integer else ends


def _longest_scans(study: StudyConfig, name: str) -> tuple[float, ...]:
    """Steps of the space at which a scan overshoots the field most: just too short to need one position less."""
    dimension = study.space.root[name]
    if name != "step_a" or dimension.choices is not None:
        return ()
    fields = study.experiment.field_of_view_a
    steps = {field / math.ceil(field / dimension.high) * (1 - 1e-6) for field in fields if dimension.high > 0}
    return tuple(sorted(step for step in steps if dimension.low < step < dimension.high))


def _check_pixels(study: SimulatedStudy) -> None:
    ratio = study.experiment.pixel_a / study.potential.pixel_a
    if ratio < 1 - 1e-9 or abs(ratio - round(ratio)) > 1e-6:
        rule = f"must be experiment.pixel_a ({study.experiment.pixel_a}) divided by a whole number"
        mend = f"Use {study.experiment.pixel_a / max(1, round(ratio)):g}."
        raise InputError("potential.pixel_a", rule, study.potential.pixel_a, mend)


def _check_score(study: SimulatedStudy, score: ScoreConfig) -> None:
    pixels = min(study.experiment.field_of_view_a) / study.experiment.pixel_a
    nyquist = 0.5 / study.experiment.pixel_a
    if score.frc_qmax > nyquist:
        rule = f"must not exceed the reconstruction's largest frequency, 1/(2 experiment.pixel_a) = {nyquist:g} 1/A"
        raise InputError("score.frc_qmax", rule, score.frc_qmax, "Lower it.")
    for width in score.ssim_widths_px:
        needed = ssim_window_px(width)
        if needed > pixels:
            rule = f"its window of {needed} px must fit into the scored field of view, {pixels:.0f} px"
            raise InputError("score.ssim_widths_px", rule, width, "Leave it out, or scan a larger field of view.")


def margin_warnings(study: SimulatedStudy, points: Sequence[Place]) -> Iterator[str]:
    """What a scan margin that is given costs, at the point that loses most of its dose."""
    from ptydesign.simulate.field import LEAST_ANYWHERE, fluence

    margin = study.experiment.scan_margin_a
    if margin is None:
        return
    free = study.experiment.model_copy(update={"scan_margin_a": None})
    needed = [at_point(free, point, where).margin_a for where, point in points]
    if margin >= max(needed):
        return
    where, point = points[needed.index(max(needed))]
    short = at_point(study.experiment, point, where)
    half = [size / 2 for size in short.field_of_view_a]
    mean, least = fluence(to_experiment(short, 1.0), (-half[0], -half[1], half[0], half[1]), (0.0, 0.0))
    if least < LEAST_ANYWHERE:
        yield (
            f"experiment.scan_margin_a ({margin:g} A) leaves the widest probe of the study {mean:.2f} of its dose in "
            f"the field, and {least:.2f} at an edge: leave it out for scores that are fair to every design"
        )


def _check_optics(config: ExperimentConfig, where: str, point: Mapping[str, Any]) -> None:
    edge = config.detector_edge_mrad
    if config.semiangle_mrad > edge:
        rule = f"the aperture must not be wider than the detector, whose edge lambda/(2 pixel_a) is at {edge:.2f} mrad"
        mend = f"Use at most {edge:.1f} mrad, or a smaller pixel_a."
        raise InputError(field_at(where, "semiangle_mrad", point), rule, config.semiangle_mrad, mend)


def _check_scan(config: ExperimentConfig, where: str, point: Mapping[str, Any]) -> None:
    if config.step_a > min(config.field_of_view_a):
        rule = f"must not exceed the field of view {list(config.field_of_view_a)} A"
        raise InputError(field_at(where, "step_a", point), rule, config.step_a, "Use a smaller step or a larger field.")
    half = [size / 2 for size in config.field_of_view_a]
    if any(abs(drift) > limit for drift, limit in zip(config.drift_a, half, strict=True)):
        rule = f"must not exceed half the field of view, {half} A (y, x)"
        raise InputError("experiment.drift_a", rule, list(config.drift_a), "Lower it, or scan a larger field of view.")
    if config.position_jitter_a > min(half):
        rule = f"must not exceed half the field of view, {min(half):g} A"
        mend = "Lower it, or scan a larger field of view."
        raise InputError(field_at(where, "position_jitter_a", point), rule, config.position_jitter_a, mend)


def _check_dose(config: ExperimentConfig, dose: float, where: str, point: Mapping[str, Any]) -> None:
    experiment = to_experiment(config, dose)
    try:
        check_experiment(experiment)
    except InputError as error:
        if error.field == "dose_e_per_a2" and config.applied_dose_e_per_a2 is None:
            raise InputError("doses_e_per_a2", error.rule, error.value, error.mend) from None
        raise _in_operators_words(error, where, point) from None


def _in_operators_words(error: InputError, where: str, point: Mapping[str, Any]) -> InputError:
    """The error of a check of `types.Experiment`, with the field as it stands in study.yaml."""
    name = OPERATOR_NAMES.get(error.field)
    sections = "experiment" if where == "experiment" else f"experiment, {where}"
    return InputError(field_at(where, name, point) if name else sections, error.rule, error.value, error.mend)


def _check_faint(study: StudyConfig, warnings: list[str]) -> None:
    """A dose is impossible if no step of the space gives an electron per pattern; warn if some steps don't."""
    steps = {at_point(study.experiment, p, w).step_a for w, p in extremes(study) if w == "space"}
    for dose in study.doses_e_per_a2:
        if dose * max(steps) ** 2 < MIN_ELECTRONS:
            rule = f"dose x step^2 must be at least {MIN_ELECTRONS:g} electron at the largest step, {max(steps):g} A"
            raise InputError("doses_e_per_a2", rule, dose, "Raise the dose or the step.")
        warnings += faint_warnings(dose, min(steps), "the smallest step")


def faint_warnings(dose: float, step_a: float, what: str) -> list[str]:
    """Of what has less than an electron in a pattern."""
    if dose * step_a**2 >= MIN_ELECTRONS:
        return []
    return [f"at {dose:g} e/A^2 {what} gives less than {MIN_ELECTRONS:g} electron per pattern"]


def _check_windows(study: StudyConfig, warnings: list[str]) -> None:
    """The reconstruction works in the detector's window, or in twice that; a probe that is larger than it wraps
    around."""
    times = study.reconstruction.probe.window
    corners = [at_point(study.experiment, point, where) for where, point in extremes(study) if where == "space"]
    roomy = max(corners, key=lambda c: c.window_a - c.probe_diameter_a)
    if roomy.probe_diameter_a > times * roomy.window_a:
        rule = f"the detector's window (pixels x pixel_a, at most {roomy.window_a:.1f} A) must hold the probe"
        value = f"a probe {roomy.probe_diameter_a:.1f} A wide"
        raise InputError("space.detector_pixels", rule, value, "Use more detector pixels or less defocus.")
    small = sum(c.probe_diameter_a > times * c.window_a for c in corners)
    if small:
        warnings.append(
            f"{small} of the {len(corners)} corners of the space have a probe wider than the {WINDOWS[times]}: "
            "the data are right there, but reconstructions will be poor" + WIDER[times]
        )
    reference = at_point(study.experiment, study.reference.point, "reference")
    warnings += window_warnings(reference, study.reference.name, times)


def window_warnings(config: ExperimentConfig, name: str, times: int) -> list[str]:
    """Of a design whose probe wraps around. times: the waves' window in windows of the detector."""
    room = times * config.window_a
    if config.probe_diameter_a <= room:
        return []
    return [
        f"the {name}'s probe ({config.probe_diameter_a:.1f} A) is wider than the {WINDOWS[times]} ({room:.1f} A)"
        + WIDER[times]
    ]


def slices_warnings(study: SimulatedStudy, plan: Plan, folder: Path, words: str = "the reconstruction") -> list[str]:
    """Of a sample in several slices, a reconstruction in one, or in slices that are together much too thin or thick."""
    thickness_a = _thickness_a(study, folder)
    if not thickness_a or thickness_a <= study.potential.slice_thickness_a:
        return []
    slices, each_a = plan.final_slices
    if slices == 1:
        return [f"the sample ({thickness_a:.1f} A thick) is simulated in several slices, but {words} has one"]
    if abs(slices * each_a / thickness_a - 1) > THICKNESS_TOLERANCE:
        return [
            f"{words}'s {slices} slices of {each_a:g} A make {slices * each_a:g} A, but the sample is "
            f"{thickness_a:.1f} A thick"
        ]
    return []


def mtf_warnings(experiment: ExperimentConfig, plan: Plan, words: str = "the reconstruction") -> list[str]:
    """Of a detector that is simulated with another MTF than the reconstruction believes."""
    simulated, believed = experiment.mtf_nyquist, plan.correction.mtf_nyquist
    if simulated == believed:
        return []
    return [
        f"the detector is simulated with an MTF of {simulated:g} at Nyquist, but {words} has {believed:g}: give its "
        f"plan correction: {{mtf_nyquist: {simulated:g}}}, unless that is the question"
    ]


def _thickness_a(study: SimulatedStudy, folder: Path) -> float:
    """Thickness of a sample in slices, 0 for one that is projected; a small piece of it is enough to know."""
    if study.potential.slice_thickness_a is None or isinstance(study.sample, ImageSample):
        return 0.0
    sample = check_sample(study.sample, folder) if not _is_found(study) else study.sample
    return float(build_atoms(sample, (8.0, 8.0)).cell.lengths()[2])


def _is_found(study: SimulatedStudy) -> bool:
    file = getattr(study.sample, "file", None)
    return file is None or Path(file).is_file()
