"""A checked plan, ready to run: its bench, and one study of an experiment for each of its optical modes.

A mode is a voltage, a camera length and a thickness: the first two fix the pixel of the reconstruction, lambda / (N
dtheta), so each has a potential of its own. Everything below a trial (simulate, reconstruct, score, the point store) is
that of `study`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

from ptydesign.experiment.checks import Place, extremes, potential_shape
from ptydesign.experiment.config import StudyConfig
from ptydesign.experiment.resolve import Resolved as StudyResolved
from ptydesign.planning import aberrations
from ptydesign.planning.card import Card, make_card
from ptydesign.planning.config import PlanningStudy
from ptydesign.planning.gun import MOST_TIMES
from ptydesign.planning.instrument import Beam, Bench, Setting
from ptydesign.planning.operation import Operation, operate
from ptydesign.planning.possible import unusable
from ptydesign.planning.reconstruction import in_slices, probe_powers, trial_reconstruction
from ptydesign.planning.thumb import expert, feasible_near, rule_for
from ptydesign.simulate.coherence import largest_source_a, largest_spread_a
from ptydesign.simulate.detector import MAX_MEAN_COUNTS
from ptydesign.simulate.potential import potential_key
from ptydesign.simulate.specimen import StructureSample
from ptydesign.study.acquisition import ExperimentConfig
from ptydesign.study.checked import Checked
from ptydesign.units import MM, MRAD, NM

LEAST_DOSE = "dose.json"  # where the least dose is looked for
SSIM_WIDTH_A = 0.375  # of SSIM's Gaussian, the same length whatever the pixel: 1.5 px of 0.25 A, as Cao et al.
LARGEST_ERROR = 3.5  # standard deviations of the scan's calibration, at which draws are cut off
AFFINE = ("scale_error", "aspect_error", "shear_error")  # of a scan, that `instrument.affine_error` is of
# Largest pixel of a simulation. Patterns of a projected zeolite at 300 kV differ by 1.3 % (L2) from those on a third of
# it: below their counting noise up to about 1e6 electrons in a pattern.
FINEST_A = 0.2


class Mode(NamedTuple):
    """What fixes a potential. thickness: factor of the plan's."""

    voltage_kv: float
    camera: float
    thickness: float = 1.0

    @property
    def name(self) -> str:
        """In files, as 80/4/1."""
        return "/".join(f"{v:g}" for v in self)


@dataclass(frozen=True)
class PlanningResolved(Checked):
    """A checked plan."""

    study: PlanningStudy

    @cached_property
    def bench(self) -> Bench:
        """The instrument with its detector."""
        return Bench(self.study)

    @property
    def dose_e_per_a2(self) -> float:
        """The dose at which designs are tried under errors, and that the sheet is for; where the least is looked for,
        known after the searches."""
        goal = self.study.goal
        return goal.dose_limit if goal.minimise is None else self.read_json(LEAST_DOSE)["dose_e_per_a2"]

    @cached_property
    def modes(self) -> dict[Mode, StudyResolved]:
        """The optical modes in which a setting is possible, each with its study."""
        bench, plan = self.bench, self.study
        useful = [pair for pair, problem in unusable(bench).items() if problem is None]
        factors = {1.0, *(thickness_factors(plan))}
        found = [Mode(*pair, factor) for pair in useful for factor in sorted(factors)]
        return {mode: self._study(mode) for mode in found}

    def of(self, setting: Setting, thickness: float = 1.0) -> StudyResolved:
        """The study that a setting belongs to."""
        mode = Mode(setting.voltage_kv, setting.camera, thickness)
        # a mode is left out if none of the settings that stand for all is possible: one between them may be
        return self.modes.get(mode) or self._study(mode)

    def _study(self, mode: Mode) -> StudyResolved:
        study = mode_study(self.bench, mode)
        shape = potential_shape(study, _with_sources(self.bench, mode, _places(self.bench, mode, study)))
        key = potential_key(study.sample, study.potential, shape, study.seed)
        return StudyResolved(study, self.results, shape, key)


def _places(bench: Bench, mode: Mode, study: StudyConfig) -> Iterator[Place]:
    """Extreme points of a mode's study, each with a defocus that its aperture can have, and the plan's own expert."""
    setting = Setting(mode.voltage_kv, bench.instrument.apertures_mrad[0], 0.0, 1.0, mode.camera)
    for where, point in extremes(study):
        if "defocus_nm" in point:
            angle = point.get("semiangle_mrad", study.experiment.semiangle_mrad)
            low, high = _reached_nm(bench, replace(setting, semiangle_mrad=angle))
            point = {**point, "defocus_nm": min(max(point["defocus_nm"], low), high)}
        yield where, point
    for dose in bench.goal.doses_e_per_a2:
        own = expert_at(bench, dose)
        if (own.voltage_kv, own.camera) == mode[:2]:
            for error in (-1, 1):  # three standard deviations, twice over
                defocus = own.defocus_nm + error * 6 * bench.instrument.defocus_error_nm
                yield "expert", {"semiangle_mrad": own.semiangle_mrad, "defocus_nm": defocus, "step_a": own.step_a}


def thickness_factors(plan: PlanningStudy) -> tuple[float, ...]:
    """Thinner and thicker specimens that robustness tries: of a structure in slices only."""
    error = plan.robustness.thickness_error
    known = isinstance(plan.sample, StructureSample) and plan.sample.thickness_a is not None
    return (1 - error, 1 + error) if error and known and in_slices(plan) else ()


def mode_study(bench: Bench, mode: Mode) -> StudyConfig:
    """The study of an experiment in which a mode's trials happen; its space says how large the specimen must be."""
    plan, instrument = bench.plan, bench.instrument
    base = Setting(mode.voltage_kv, instrument.apertures_mrad[0], 0.0, instrument.step_a.low, mode.camera)
    pixel = bench.pixel_a(base)
    sample = plan.sample
    if mode.thickness != 1.0:
        sample = sample.model_copy(update={"thickness_a": sample.thickness_a * mode.thickness})
    sigma, snapshots = plan.simulation.thermal_sigma_a, plan.simulation.phonons
    motion = {"kind": "frozen_phonons", "configurations": snapshots} if snapshots else {"kind": "debye_waller"}
    width = max(0.3, SSIM_WIDTH_A / pixel)
    low, high = _reached_nm(bench, base)
    coarsest = min(instrument.step_a.high, bench.largest_step_a) * 1.0001
    # no trial has more electrons in a pattern: `constraints.simulated`
    doses = sorted({min(dose, MAX_MEAN_COUNTS / coarsest**2) for dose in plan.goal.doses_e_per_a2})
    space: dict[str, Any] = {
        "defocus_nm": {"low": low, "high": high},
        "step_a": {"low": instrument.step_a.low, "high": coarsest},
    }
    if len(instrument.apertures_mrad) > 1:
        space["semiangle_mrad"] = {"choices": list(_inside(bench, mode))}
        if len(space["semiangle_mrad"]["choices"]) < 2:
            del space["semiangle_mrad"]
    drift = min(plan.simulation.field_of_view_a) / 8
    return StudyConfig(
        study=plan.study,
        title=plan.title,
        question="",
        scale=plan.scale,
        seed=plan.seed,
        sample=sample,
        potential={
            "parametrization": plan.simulation.parametrization,
            "pixel_a": pixel / max(2, math.ceil(pixel / FINEST_A)),
            "slice_thickness_a": plan.simulation.slice_thickness_a,
            "thermal": motion | {"sigma_a": sigma} if sigma else None,
        },
        experiment={
            **_experiment(bench, base),
            "drift_a": (drift, drift),
            **aberrations.fields(instrument.aberrations, aberrations.largest(instrument.aberrations)),
            "rotation_error_deg": LARGEST_ERROR * instrument.rotation_error_deg,
            **dict.fromkeys(AFFINE, LARGEST_ERROR * instrument.affine_error),
        },
        doses_e_per_a2=doses,
        space=space,
        search=plan.search,
        reconstruction=trial_reconstruction(plan, (), bench.mtf(mode.voltage_kv)),
        score={"ssim_widths_px": [width], "frc_qmax": min(1 / plan.goal.resolution_a, 0.5 / pixel)},
        objective={"metric": "ssim", "width_px": width},
    )


def _reached_nm(bench: Bench, setting: Setting) -> tuple[float, float]:
    """(low, high) of the underfocus that trials of a setting's mode have: what can be set and leaves the probe in the
    window with the setting's aperture, and three standard deviations of error twice over."""
    angle = setting.semiangle_mrad * MRAD
    largest = bench.instrument.apertures_mrad[-1] * MRAD
    most = (bench.window_a(setting) / 2 / angle + abs(bench.instrument.cs_mm) * MM * largest**2) / NM
    low, high = (min(max(limit, -most), most) for limit in bench.underfocus_nm)
    margin = 2 * 3 * bench.instrument.defocus_error_nm
    return low - margin, high + margin + 1e-3


def _with_sources(bench: Bench, mode: Mode, places: Iterable[Place]) -> Iterator[Place]:
    """Points with the largest source and focal spread that trials have with their aperture."""
    for where, point in places:
        aperture = point.get("semiangle_mrad", bench.instrument.apertures_mrad[0])
        setting = Setting(mode.voltage_kv, aperture, 0.0, 1.0, mode.camera)
        beam = mode.voltage_kv, aperture * MRAD
        size = MOST_TIMES * bench.source_a(setting, max(bench.instrument.currents_pa))
        spread = MOST_TIMES * bench.focal_spread_nm(mode.voltage_kv) * NM
        # what can't be simulated isn't: `constraints.coherence`
        size, spread = min(size, largest_source_a(*beam)), min(spread, largest_spread_a(*beam))
        yield where, {**point, "source_size_a": size, "focal_spread_nm": spread / NM}


def _inside(bench: Bench, mode: Mode) -> list[float]:
    return [a for a in bench.instrument.apertures_mrad if a < bench.edge_mrad(mode.camera)]


def _experiment(bench: Bench, setting: Setting) -> dict[str, Any]:
    """Fields of an experiment that the setting and the instrument fix."""
    instrument = bench.instrument
    return {
        "voltage_kv": setting.voltage_kv,
        "step_a": setting.step_a,
        "semiangle_mrad": setting.semiangle_mrad,
        "defocus_nm": setting.defocus_nm,
        "detector_pixels": bench.pixels,
        "pixel_a": bench.pixel_a(setting),
        "field_of_view_a": bench.plan.simulation.field_of_view_a,
        "cs_mm": instrument.cs_mm,
        "position_jitter_a": instrument.position_jitter_a,
        "line_noise_a": instrument.line_noise_a,
        "mtf_nyquist": bench.mtf(setting.voltage_kv),
        **aberrations.fields(instrument.aberrations),
        **_losses(bench, setting),
    }


def _losses(bench: Bench, setting: Setting) -> dict[str, float]:
    """Fields of an acquisition whose electrons are counted after energy losses, too."""
    found = bench.losses(setting.voltage_kv)
    if found is None or bench.instrument.energy_filter:
        return {}
    return {"inelastic_part": found.part, "inelastic_angle_mrad": found.angle_mrad}


def still_config(bench: Bench, operation: Operation) -> ExperimentConfig:
    """The acquisition as it is planned, source and focal spread included, of a specimen that doesn't drift."""
    setting = operation.setting
    beam = bench.beam(setting, operation.current_pa)._asdict()
    return ExperimentConfig(**{**_experiment(bench, setting), **beam})


def to_experiment_config(
    bench: Bench,
    operation: Operation,
    drift: float = 1.0,
    drift_angle_rad: float | None = None,
    source: float = 1.0,
    focal_spread: float = 1.0,
) -> ExperimentConfig:
    """The acquisition that is simulated for an operation: the piece, with the drift that it sees when the lines of the
    scan on the day are as long as they are. drift_angle_rad: from +y towards +x, None for the instrument's, or a
    diagonal. drift, source, focal_spread: factors of what is planned."""
    planned = still_config(bench, operation)
    rows = math.ceil(planned.scanned_a[0] / planned.step_a) + 1
    moved = drift * bench.instrument.drift_a_per_min / 60 * rows * operation.line_time_s(bench)
    moved = min(moved, min(planned.field_of_view_a) / 8)  # beyond, no scan would be kept
    angle = drift_angle(bench) if drift_angle_rad is None else drift_angle_rad
    wrong = {
        "source_size_a": source * planned.source_size_a,
        "focal_spread_nm": focal_spread * planned.focal_spread_nm,
        "drift_a": (moved * math.cos(angle), moved * math.sin(angle)),
    }
    return planned.model_copy(update=wrong)


def for_beam(bench: Bench, study: StudyConfig, planned: ExperimentConfig) -> StudyConfig:
    """A mode's study with the probe modes that a beam needs as it is planned."""
    powers = probe_powers(bench, Beam(*(getattr(planned, name) for name in Beam._fields)))
    if not powers:
        return study
    return study.model_copy(update={"reconstruction": trial_reconstruction(bench.plan, powers, planned.mtf_nyquist)})


def drift_angle(bench: Bench) -> float:
    """Direction of the drift from +y towards +x in rad: the instrument's, or a diagonal where it isn't known."""
    known = bench.instrument.drift_direction_deg
    return math.pi / 4 if known is None else math.pi / 2 - math.radians(known)


def detected_dose(bench: Bench, operation: Operation) -> float:
    """The dose that the detector sees: the counted part of the applied one, what a filter lets through, times the
    DQE."""
    kept = bench.kept_part(operation.setting.voltage_kv)
    return operation.dose_e_per_a2 * operation.counted_part * kept * (bench.detector.dqe or 1.0)


def make_bench(plan: PlanningStudy) -> Bench:
    """The instrument with its detector."""
    return Bench(plan)


def plan_cards(plan: PlanningStudy, fft_units_per_s: float) -> list[Card]:
    """A card for the rule of thumb's setting at every dose."""
    bench, name, about = Bench(plan), expert_name(plan), expert_words(plan)
    doses = plan.goal.doses_e_per_a2
    operations = [operate(bench, expert_at(bench, dose), dose) for dose in doses]
    return [
        make_card(bench, one, name, fft_units_per_s, ". ".join(filter(None, (about, moved_words(bench, one)))))
        for one in operations
    ]


def moved_words(bench: Bench, operation: Operation) -> str:
    """What of the rule of thumb, or of the user's own setting, can't be done at the dose, why, and what is taken."""
    wanted, taken = bench.shown(expert(bench)), bench.shown(operation.setting)
    units = {
        "voltage_kv": "kV",
        "semiangle_mrad": "mrad",
        "defocus_nm": "nm",
        "step_a": "Å",
        "camera": bench.camera_unit,
    }
    changed = [
        f"{name.partition('_')[0]} {wanted[name]:g} {unit} is {taken[name]:g} {unit} here"
        for name, unit in units.items()
        if wanted[name] != taken[name]
    ]
    if not changed:
        return ""
    binding = operate(bench, expert(bench), operation.dose_e_per_a2).violations
    why = ", ".join(dict.fromkeys(one.name for one in binding))
    return f"{why[:1].upper()}{why[1:]} doesn't allow it at {operation.dose_e_per_a2:g} e/Å²: {', '.join(changed)}"


def expert_name(plan: PlanningStudy) -> str:
    """What the setting that the plan is compared with is called: the built-in rule of thumb, or the user's own."""
    return "your own setting" if plan.expert.model_dump(exclude_none=True) else "rule of thumb"


def expert_words(plan: PlanningStudy) -> str:
    """Which rule the rule of thumb follows, with its source; nothing of a setting that is all the user's own."""
    given = plan.expert.model_dump()
    if all(value is not None for value in given.values()):
        return ""
    return f"Rule for a {rule_for(Bench(plan)).words}"


def expert_at(bench: Bench, dose_e_per_a2: float) -> Setting:
    """The rule of thumb's setting, or the nearest that can be done at the dose."""
    return feasible_near(bench, expert(bench), dose_e_per_a2)
