"""A reconstruction plan: engines in sequence and how the state starts."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, PositiveInt, model_serializer, model_validator

from ptydesign.config import Strict
from ptydesign.errors import InputError
from ptydesign.reconstruct.correction import Correction, ScanStart
from ptydesign.reconstruct.engines import ENGINES
from ptydesign.reconstruct.observers import OBSERVERS
from ptydesign.reconstruct.pixels import Factor
from ptydesign.reconstruct.scans import Scans, parts_of
from ptydesign.reconstruct.schedule import Budget
from ptydesign.reconstruct.starts import OBJECT_STARTS, PROBE_STARTS
from ptydesign.shown import Shown
from ptydesign.types import Dataset

EngineSettings = Annotated[
    functools.reduce(operator.or_, (engine.config for engine in ENGINES.values())), Field(discriminator="engine")
]


class ProbeStart(Strict):
    """The first guess of the probe: nominal optics (or the dataset's own guess) and further modes."""

    method: PROBE_STARTS.annotation = "nominal"
    """The dataset's own guess, else the probe of its optics; or a function of your own, named as file.py:name."""
    mode_powers: tuple[float, ...] = ()
    """Fraction of the total power of each mode after the first, which has the rest; [0.1, 0.05] makes three modes. More
    modes take up partial coherence."""
    window: Factor = 1
    """Side of the probe's window in windows of the detector. With 2 a probe may be twice as wide, and patterns are
    integrated over the detector's pixels instead of sampled in their middle; it takes four times as long."""
    opr_modes: int = Field(0, ge=0, le=20)
    """Modes by which the first mode varies over the scan (orthogonal probe relaxation), for drifts of focus or
    astigmatism; 0 is a fixed probe."""

    @model_validator(mode="after")
    def _fractions(self) -> ProbeStart:
        if any(p <= 0 for p in self.mode_powers) or sum(self.mode_powers) >= 1:
            raise InputError(
                "mode_powers", "must be positive and sum to less than 1", self.mode_powers, "Lower the fractions."
            )
        return self

    @model_serializer(mode="wrap")
    def _leave_out_unused(self, handler: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        """What is as it was before there was a choice isn't written."""
        before = (("opr_modes", 0), ("method", "nominal"), ("window", 1))
        return {k: v for k, v in handler(self).items() if (k, v) not in before}

    @property
    def modes(self) -> int:
        """Number of probe modes."""
        return 1 + len(self.mode_powers)


class ObjectStart(Strict):
    """The first guess of the object in `slices` slices of `slice_thickness_a`."""

    method: OBJECT_STARTS.annotation = "vacuum"
    """Vacuum, or a direct reconstruction, whose phase is shared out evenly among the slices: single sideband, parallax
    (tilt-corrected bright field), integrated centre of mass, or Wigner distribution deconvolution; or a function of
    your own, named as file.py:name."""
    slices: int = Field(1, ge=1)
    """Number of slices; 1 is a projection."""
    slice_thickness_a: float = Field(0.0, ge=0)
    """Thickness of a slice in angstrom; needed for more than one."""

    @model_validator(mode="after")
    def _thickness(self) -> ObjectStart:
        if self.slices > 1 and self.slice_thickness_a == 0:
            raise InputError(
                "slice_thickness_a", "must be positive for more than one slice", 0.0, "Give the slices' thickness."
            )
        return self

    @model_serializer(mode="wrap")
    def _leave_out_vacuum(self, handler: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        """A plan that starts from vacuum is written as it was before there was a choice: stored trials stay valid."""
        return {k: v for k, v in handler(self).items() if (k, v) != ("method", "vacuum")}


class Calibrate(Strict):
    """What is searched before the reconstruction by the data's own misfit, in short reconstructions: see `calibrate`.

    Where the misfit has a least value among those tried, that counts instead of what the data were told."""

    model_config = ConfigDict(title="calibrate")
    offsets: dict[str, tuple[float, ...]] = Field(default_factory=dict)
    """Offsets from what the data were told, three or more rising ones for each parameter of `ptydesign calibrate`, as
    {defocus_nm: [-4, -2, 0, 2, 4]}; they are searched in this order."""
    positions: PositiveInt = Field(100, le=100_000)
    """How many patterns are used, those in the scan's middle."""
    sweeps: PositiveInt = Field(5, le=1000)
    """Sweeps of each short reconstruction."""

    @model_validator(mode="after")
    def _rising(self) -> Calibrate:
        for name, values in self.offsets.items():
            if len(values) < 3 or list(values) != sorted(set(values)):
                rule = "must be three or more rising numbers"
                raise InputError(f"offsets.{name}", rule, list(values), "Write for example [-4, -2, 0, 2, 4].")
        return self


class Plan(Shown, Strict):
    """A plan: how a dataset is reconstructed."""

    model_config = ConfigDict(title="plan")
    probe: ProbeStart = ProbeStart()
    """How the probe starts."""
    object: ObjectStart = ObjectStart()
    """How the object starts, and in how many slices."""
    correction: Correction = Correction()
    """What the data were told and is taken to be otherwise: defocus, rotation, scan scale and others."""
    calibrate: Calibrate = Calibrate()
    """What of it is searched first, by the data's own misfit."""
    scans: tuple[ScanStart, ...] = ()
    """What is known of further scans of the same object, in the order of their files, the second first; none need be
    given."""
    precision: Literal["single", "double"] = "single"
    """Precision of floating-point numbers; double is slower, and for checks."""
    engines: tuple[EngineSettings, ...] = Field(min_length=1)
    """Engines that run one after the other, each from the state that the one before left."""
    budget: Budget = Budget()
    """Limits of all engines together."""
    observers: tuple[OBSERVERS.own_annotation, ...] = ()
    """Functions of your own, named as file.py:name, that are called after each sweep with (sweep, loss, state)."""

    @model_serializer(mode="wrap")
    def _without_unused(self, handler: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        # plans from before there were these sections keep their hash
        empty = {"budget": Budget(), "correction": Correction(), "calibrate": Calibrate(), "observers": (), "scans": ()}
        return {n: v for n, v in handler(self).items() if n not in empty or getattr(self, n) != empty[n]}

    @model_validator(mode="after")
    def _slices(self) -> Plan:
        slices, thickness, modes = self.object.slices, self.object.slice_thickness_a, self.probe.modes
        for number, engine in enumerate(self.engines):
            if engine.resample is not None:
                try:
                    slices, thickness, modes = engine.resample.after(slices, thickness, modes)
                except InputError as error:
                    place = f"engines.{number}.resample.{error.field}"
                    raise InputError(place, error.rule, error.value, error.mend) from None
            if self.probe.opr_modes and engine.keeps_waves:
                known = ", ".join(name for name, e in ENGINES.items() if not e.config.keeps_waves)
                raise InputError(
                    "probe.opr_modes", f"must be 0 for {engine.engine}", self.probe.opr_modes, f"Choose from: {known}."
                )
            if slices > 1 and not engine.multislice:
                known = ", ".join(name for name, e in ENGINES.items() if e.config.multislice)
                raise InputError(
                    f"engines.{number}.engine",
                    "is defined for one slice only",
                    f"{engine.engine} with {slices} slices",
                    f"Give it one slice, or choose from: {known}.",
                )
        return self

    def corrected(self, dataset: Dataset) -> Dataset:
        """A dataset, or several scans, as the plan corrects them. Raises InputError for what several scans can't have
        and for more in `scans` than there are."""
        number = len(parts_of(dataset)) - 1
        if len(self.scans) > number:
            rule = f"must be one entry for each further scan, of which there are {number}"
            raise InputError("scans", rule, len(self.scans), "Leave out the others, or name all files.")
        if not isinstance(dataset, Scans):
            return self.correction.applied(dataset)
        if self.probe.opr_modes:
            mend = "Leave it out, or reconstruct the scans one by one."
            raise InputError("probe.opr_modes", "must be 0 for several scans", self.probe.opr_modes, mend)
        for place, engine in enumerate(self.engines):
            if engine.keeps_waves:
                known = ", ".join(name for name, e in ENGINES.items() if not e.config.keeps_waves)
                rule = "must be one that several scans can share"
                raise InputError(f"engines.{place}.engine", rule, engine.engine, f"Choose from: {known}.")
        further = [*self.scans, *[ScanStart()] * (number - len(self.scans))]
        pairs = zip(further, dataset.scans[1:], strict=True)
        first = self.correction.applied(dataset.scans[0])
        return dataset.replaced([first, *(one.applied(scan, self.correction) for one, scan in pairs)])

    @property
    def final_slices(self) -> tuple[int, float]:
        """Slices of the result and their thickness in angstrom (0 if it isn't given)."""
        state = self.object.slices, self.object.slice_thickness_a, self.probe.modes
        for engine in self.engines:
            state = engine.resample.after(*state) if engine.resample is not None else state
        return state[:2]

    @property
    def sweeps(self) -> int:
        """Sweeps of all engines together."""
        return sum(engine.sweeps for engine in self.engines)
