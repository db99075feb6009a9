"""What a setting of an instrument means, at once: card, probe, overlap, a pattern; and in some seconds, a picture."""

from __future__ import annotations

import json
import os
import re
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from ptydesign import files, waves
from ptydesign.design import sampling
from ptydesign.errors import InputError
from ptydesign.experiment.config import StudyConfig
from ptydesign.grids import Grid
from ptydesign.planning.card import Card, make_card
from ptydesign.planning.instrument import PER_PA_US, Bench, Setting
from ptydesign.planning.library import find_instrument
from ptydesign.planning.load import make_plan, read_plan
from ptydesign.planning.operation import Operation, operate
from ptydesign.planning.resolve import (
    Mode,
    PlanningResolved,
    detected_dose,
    expert_at,
    for_beam,
    to_experiment_config,
)
from ptydesign.reconstruct.plan import Calibrate
from ptydesign.study.acquisition import ExperimentConfig, to_experiment
from ptydesign.study.cost import fft_rate
from ptydesign.study.file import DEFAULT_SCALE, folder_name
from ptydesign.units import MRAD, wavelength_a
from ptydesign.web.pattern import Specimen
from ptydesign.yamls import read_text

SPECIMEN_BYTES = 2**29  # of one plan's specimens that are kept
QUICK_FIELD_A, QUICK_SWEEPS, QUICK_MARGIN = 10.0, 20, 0.5
NAMES = ("voltage_kv", "semiangle_mrad", "defocus_nm", "step_a", "camera")


@dataclass(frozen=True)
class Control:
    """Something that can be set. choices: what exists; else a range. log: even in its logarithm."""

    name: str
    choices: tuple[float, ...] = ()
    low: float = 0.0
    high: float = 0.0
    log: bool = False


@dataclass(frozen=True)
class Knobs:
    """Where all controls stand. defocus_nm: in the microscope's own sign."""

    voltage_kv: float
    semiangle_mrad: float
    defocus_nm: float
    step_a: float
    camera: float
    current_pa: float
    dwell_us: float

    @property
    def dose_e_per_a2(self) -> float:
        """Electrons in a dwell time over the area of a step."""
        return self.current_pa * self.dwell_us * PER_PA_US / self.step_a**2

    def at_dose(self, dose_e_per_a2: float) -> Knobs:
        """The same with the dwell time that gives a dose."""
        return replace(self, dwell_us=dose_e_per_a2 * self.step_a**2 / PER_PA_US / self.current_pa)


@dataclass(frozen=True)
class Probe:
    """intensity: (y, x) on the sample, its sum 1, blurred by the source, centred. phase_rad: (ky, kx) over the
    aperture, NaN outside, zero frequency in the middle. pixel_a, pixel_mrad: of the two. radius_a: of its rays and
    diffraction."""

    intensity: np.ndarray
    phase_rad: np.ndarray
    pixel_a: float
    pixel_mrad: float
    radius_a: float


@dataclass(frozen=True)
class Answer:
    """What a setting means. depth_of_field_a: 2 lambda / alpha^2. overlap: of neighbouring probes."""

    knobs: Knobs
    setting: Setting
    operation: Operation
    card: Card
    probe: Probe
    depth_of_field_a: float
    overlap: float


@dataclass(frozen=True)
class Pattern:
    """(ky, kx) counts of a pattern with the zero frequency in the middle: the mean, and one draw with noise."""

    mean: np.ndarray
    draw: np.ndarray
    pixel_mrad: float


@dataclass(frozen=True)
class Picture:
    """A simulated reconstruction of the piece beside the truth: (y, x) phase in rad; score: of the plan's objective."""

    image: np.ndarray
    truth: np.ndarray
    pixel_a: tuple[float, float]
    score: float
    sweeps: int
    seconds: float


class Explorer:
    """A plan whose instrument is tried by hand. path: its file or its study's folder. Raises InputError for a plan that
    breaks a rule."""

    def __init__(self, path: Path, scale: str = DEFAULT_SCALE):
        self.path, self.scale = Path(path), scale
        self.plan, self.warnings = read_plan(self.path, scale)
        self._prepare()

    @classmethod
    def template(cls) -> Explorer:
        """The plan that `ptydesign init` writes."""
        from ptydesign.planning.load import TEMPLATE

        return cls(TEMPLATE)

    def _prepare(self) -> None:
        self.resolved = PlanningResolved(self.plan, self.results)
        self.bench: Bench = self.resolved.bench
        self._specimens: OrderedDict[Mode, Specimen] = OrderedDict()  # the one that was used last is at the end
        self._lock = Lock()  # of that: several browsers may look at one plan

    def _root(self) -> Path:
        """Where potentials are kept: with the results of the workspace that the plan is in, or the user's cache."""
        folder = self.path if self.path.is_dir() else self.path.parent
        for above in (folder, *folder.parents[:2]):
            if (above / "results").is_dir() and os.access(above / "results", os.W_OK):
                return above / "results"
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ptydesign" / "explorer"

    @cached_property
    def rate(self) -> float:
        """Transforms of this machine, for the card's time of a reconstruction."""
        return fft_rate()

    @property
    def results(self) -> Path:
        """Where the results of this plan are, once it ran."""
        return self._root() / folder_name(self.plan.study, self.scale)

    @property
    def file(self) -> Path:
        """The plan's file."""
        return self.path / "study.yaml" if self.path.is_dir() else self.path

    @cached_property
    def controls(self) -> dict[str, Control]:
        """All controls by name; what has one value is a choice of one."""
        instrument, bench = self.plan.instrument, self.bench
        high = min(instrument.step_a.high, bench.largest_step_a)
        dwell = instrument.dwell_us
        doses = self.plan.goal.doses_e_per_a2
        found = (
            Control("voltage_kv", tuple(instrument.voltages_kv)),
            Control("semiangle_mrad", tuple(instrument.apertures_mrad)),
            Control("camera", tuple(bench.cameras)),
            Control("defocus_nm", low=instrument.defocus_nm.low, high=instrument.defocus_nm.high),
            Control("step_a", low=instrument.step_a.low, high=high, log=True),
            Control("current_pa", tuple(instrument.currents_pa)),
            Control("dwell_us", low=max(dwell.low, bench.shortest_dwell_us()), high=dwell.high, log=True),
            Control("dose_e_per_a2", low=min(doses) / 10, high=max(doses) * 10, log=True),
        )
        return {one.name: one for one in found}

    def start(self) -> Knobs:
        """The rule of thumb's setting, or the plan's own expert's, at the largest dose."""
        dose = max(self.plan.goal.doses_e_per_a2)
        return self.knobs_of(expert_at(self.bench, dose), dose)

    def knobs_of(self, setting: Setting, dose_e_per_a2: float) -> Knobs:
        """The controls of a setting, with the current that gives the dose soonest, or the smallest."""
        current = operate(self.bench, setting, dose_e_per_a2).current_pa or min(self.plan.instrument.currents_pa)
        shown = self.bench.shown(setting)
        return Knobs(**{n: shown[n] for n in NAMES}, current_pa=current, dwell_us=1.0).at_dose(dose_e_per_a2)

    def advised(self, recommended: Mapping[str, Any]) -> Knobs:
        """The controls of what a finished plan recommends (`recommended` of its recommendation.json), with its current
        and its dose. Raises InputError for what is no recommendation."""
        try:
            setting = {name: float(recommended["setting"][name]) for name in NAMES}
            current = float(recommended.get("current_pa") or min(self.plan.instrument.currents_pa))
            return Knobs(**setting, current_pa=current, dwell_us=1.0).at_dose(float(recommended["dose_e_per_a2"]))
        except (KeyError, TypeError, ValueError) as error:
            rule = "must have a setting and a dose"
            raise InputError("recommended", rule, repr(error), "Run the plan again.") from None

    def setting(self, knobs: Knobs) -> Setting:
        """The setting of the controls, in ptydesign's sign."""
        values = {name: getattr(knobs, name) for name in NAMES}
        return Setting(**{**values, "defocus_nm": self.bench.defocus_sign * knobs.defocus_nm + 0.0})

    def answer(self, knobs: Knobs) -> Answer:
        """What needs no specimen; some milliseconds."""
        bench, setting = self.bench, self.setting(knobs)
        operation = operate(bench, setting, knobs.dose_e_per_a2, knobs.current_pa)
        card = make_card(bench, operation, "these settings", self.rate)
        radius = bench.probe_radius_a(setting)
        return Answer(
            knobs, setting, operation, card, self._probe(operation, radius),
            sampling.depth_resolution_a(wavelength_a(setting.voltage_kv), setting.semiangle_mrad * MRAD),
            sampling.linear_overlap(radius, setting.step_a),
        )  # fmt: skip

    def _probe(self, operation: Operation, radius_a: float) -> Probe:
        bench, setting = self.bench, operation.setting
        wavelength, source = wavelength_a(setting.voltage_kv), bench.source_a(setting, operation.current_pa)
        size, pixel = bench.pixels, bench.pixel_a(setting)
        grid = Grid((size, size), (pixel, pixel))
        aberrations = bench.aberrations_of(setting)
        spectrum = waves.probe_spectrum(grid, wavelength, setting.semiangle_mrad * MRAD, **aberrations)
        intensity = np.abs(waves.centre_spectrum(grid, spectrum)) ** 2
        ky, kx = grid.frequencies()
        if source:
            blur = np.exp(-2 * (np.pi * source) ** 2 * (ky**2 + kx**2))
            intensity = np.fft.ifft2(np.fft.fft2(intensity) * blur).real
        phase = np.where(np.abs(spectrum) > 0, np.angle(spectrum), np.nan)
        return Probe(
            intensity / intensity.sum(), np.fft.fftshift(phase), pixel, bench.pixel_mrad(setting.camera), radius_a
        )

    def ready(self, knobs: Knobs) -> bool:
        """Whether the specimen of these settings is at hand, so that `pattern` is quick."""
        return self._mode(knobs) in self._specimens

    def pattern(self, knobs: Knobs, seed: int = 0) -> Pattern:
        """A pattern in the middle of the specimen; the first one of a mode builds the specimen. Raises InputError."""
        setting = self.setting(knobs)
        operation = operate(self.bench, setting, knobs.dose_e_per_a2, knobs.current_pa)
        config = to_experiment_config(self.bench, _timed(operation))
        experiment = to_experiment(config, detected_dose(self.bench, operation))
        mean = np.fft.fftshift(self._specimen_of(knobs).mean_pattern(experiment)) * experiment.electrons_per_pattern
        draw = np.random.default_rng(seed).poisson(mean).astype(np.float32)
        return Pattern(mean, draw, self.bench.pixel_mrad(setting.camera))

    def _mode(self, knobs: Knobs) -> Mode:
        return Mode(knobs.voltage_kv, knobs.camera)

    def _specimen_of(self, knobs: Knobs) -> Specimen:
        """Kept, so that to come back to a camera length takes no building; those that were left longest ago go."""
        mode = self._mode(knobs)
        with self._lock:
            if mode in self._specimens:
                self._specimens.move_to_end(mode)
                return self._specimens[mode]
        made = Specimen(self._potential(knobs), mode.voltage_kv)
        with self._lock:
            self._specimens[mode] = made
            while len(self._specimens) > 1 and sum(one.bytes for one in self._specimens.values()) > SPECIMEN_BYTES:
                self._specimens.popitem(last=False)
        return made

    def _potential(self, knobs: Knobs) -> Any:
        from ptydesign.experiment.search import Runner

        mode = self._mode(knobs)
        if mode not in self.resolved.modes:
            rule = "must reach the plan's resolution with this aperture"
            raise InputError(
                "camera", rule, f"{mode.camera:g} {self.bench.camera_unit}", "Take a shorter camera length."
            )
        return Runner(self.resolved.modes[mode]).potential()

    def picture(self, knobs: Knobs) -> Picture:
        """One simulated reconstruction at this setting, a quick one: see `quick`. Raises InputError if it fails."""
        from ptydesign.experiment.trial import objective_value, run_trial
        from ptydesign.planning.trial import PlannedTrial

        begin, setting = time.perf_counter(), self.setting(knobs)
        operation = _timed(operate(self.bench, setting, knobs.dose_e_per_a2, knobs.current_pa))
        config = to_experiment_config(self.bench, operation)
        study, config = quick(for_beam(self.bench, self.resolved.of(setting).study, config), config)
        trial = PlannedTrial(config, detected_dose(self.bench, operation))
        result, _, comparison = run_trial(study, self._potential(knobs), trial)
        if comparison is None:
            raise InputError(
                "picture", "must come out of a trial", result["reason"] or result["status"], "Change the setting."
            )
        score = objective_value(study, result)
        pixel = tuple(comparison.score.pixel_a)
        return Picture(comparison.image, comparison.truth_image, pixel, float(score), int(result["sweeps"]),
                       time.perf_counter() - begin)  # fmt: skip

    def with_expert(self, knobs: Knobs) -> str:
        """The plan's text with these settings as the expert's. Raises InputError for one that breaks a rule."""
        text = self.file.read_text(encoding="utf-8")
        values = {n: float(f"{getattr(knobs, n):.4g}") for n in NAMES}
        line = "expert: {" + ", ".join(f"{name}: {value:g}" for name, value in values.items()) + "}"
        without = re.sub(
            r"(?m)^expert:.*\n(?:[ \t]+.*\n|[}\]].*\n|[ \t]*\n(?=[ \t]+\S))*",
            "",
            text if text.endswith("\n") else text + "\n",
        )
        return f"{without.rstrip()}\n\n{line}\n"

    def write(self, knobs: Knobs, path: Path) -> None:
        """Write a plan file with these settings as the expert's: this plan's own, or a new one. Raises InputError, and
        leaves what there is, if it isn't a valid plan."""
        path, text = Path(path), self.with_expert(knobs)
        if path.suffix not in (".yaml", ".yml"):
            raise InputError("plan", "must end in .yaml", path.name, "Give another name.")
        if path.exists() and path.resolve() != self.file.resolve():
            raise InputError("plan", "must not exist yet", path.name, "Give another name.")
        content, moves = read_text(text, path.name), path.parent.resolve() != self.file.parent.resolve()
        file = (content.get("sample") or {}).get("file")
        if isinstance(file, str):
            content["sample"]["file"] = str((self.file.parent / file).resolve())
            if moves:
                told = rf"(\bfile:[ \t]*)(?P<quote>[\"']?){re.escape(file)}(?P=quote)"
                text = re.sub(told, lambda found: found[1] + _quoted(content["sample"]["file"]), text)
        name = content.get("instrument")
        if isinstance(name, str):
            content["instrument"] = str(find_instrument(name, self.file.parent).resolve())
            if moves:
                told = r"(?m)^(instrument:[ \t]*)\S.*$"
                text = re.sub(told, lambda found: found[1] + _quoted(content["instrument"]), text)
        if moves and read_text(text, path.name) != content:
            rule = (
                "must name its files as `file: NAME` and `instrument: NAME`, each in one line, to be written elsewhere"
            )
            raise InputError("plan", rule, self.file.name, f"Copy it into {path.parent}, and open it there.")
        make_plan(content, self.plan.study, self.scale)
        files.write_text(path, text)


def _quoted(text: str) -> str:
    """A text as YAML has it, whatever is in it."""
    return json.dumps(text, ensure_ascii=False)


def _timed(operation: Operation) -> Operation:
    """The operation of a given current always has its times."""
    if operation.dwell_us is None:
        raise InputError("current", "must be possible", None, "Choose another current.")
    return operation


def moved(explorer: Explorer, knobs: Knobs, changes: Mapping[str, float]) -> Knobs:
    """The controls after some were moved: the dwell time follows a dose, a current or a step, so that the dose stays;
    the dose follows the dwell time."""
    dose = changes.get("dose_e_per_a2", knobs.dose_e_per_a2)
    known = {field.name for field in fields(Knobs)}
    new = replace(knobs, **{name: value for name, value in changes.items() if name in known})
    return new if "dwell_us" in changes else new.at_dose(dose)


def quick(study: StudyConfig, config: ExperimentConfig) -> tuple[StudyConfig, ExperimentConfig]:
    """A trial that is over in some seconds: of at most QUICK_FIELD_A, with half the margin of the scan and at most
    QUICK_SWEEPS; settings aren't searched by the data, since they are exactly as told. Scores come out a little lower.
    """
    plan = study.reconstruction
    engines = tuple(one.model_copy(update={"sweeps": min(one.sweeps, QUICK_SWEEPS)}) for one in plan.engines)
    plan = plan.model_copy(update={"calibrate": Calibrate(), "engines": engines})
    field = tuple(min(size, QUICK_FIELD_A) for size in config.field_of_view_a)
    small = config.model_copy(update={"field_of_view_a": field, "scan_margin_a": QUICK_MARGIN * config.margin_a})
    return study.model_copy(update={"reconstruction": plan, "scored_sweeps": None}), small
