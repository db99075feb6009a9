"""What the data say of defocus, aperture, rotation, scan scale and others that they were told, by reconstructions.

Each value of a parameter is tried from the same start in two reconstructions, each of one half of the counts. How badly
these explain their own half and the other is averaged: a reconstruction fits the noise of its own half, and by about as
much explains the other half too badly, so that the mean favours no value for the freedom that it leaves the object. By
its own half alone a scan is found too large, since its patterns then share less; by the other half alone, too small.

Where the misfit m(v) = sum_j m_j(v) of the patterns j is least, its error is that of an M-estimator (White,
Econometrica 50:1, 1982): sqrt(sum_j m_j'^2) / m'', to which a tenth of the distance of two tried values is added.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ptydesign.errors import InputError, nearest
from ptydesign.reconstruct.correction import OPTICS, told
from ptydesign.reconstruct.misfit import misfits
from ptydesign.reconstruct.paths import with_values
from ptydesign.reconstruct.plan import Plan
from ptydesign.reconstruct.resample import fit_canvas
from ptydesign.reconstruct.run import reconstruct
from ptydesign.reconstruct.scans import Scans
from ptydesign.reconstruct.split import SPLITS
from ptydesign.types import Dataset, ReconState
from ptydesign.units import MRAD, NM, wavelength_a

SWEEPS, POSITIONS = 8, 400
ERRORS = 2.0  # of the interval, in standard errors
TRUSTED = 0.1  # of the distance of two values: within it a parabola may be the wrong curve
MOVES = 3  # of the range of a search, where the misfit falls towards its end
NEVER = 1_000_000  # a sweep that no reconstruction reaches

Values = Float[np.ndarray, " value"]


@dataclass(frozen=True)
class Curve:
    """How badly the data are explained with each value of one parameter.

    values: (value,), rising. misfit: (value,) negative log-likelihood per electron. best: the least of a parabola
    through them; error: its standard error, infinite where the misfit has no least value among those tried. told: what
    data and plan say.
    """

    name: str
    told: float
    values: Values
    misfit: Values
    best: float
    error: float

    @property
    def known(self) -> bool:
        """Whether the data say anything of it."""
        return bool(np.isfinite(self.error))

    @property
    def interval(self) -> tuple[float, float]:
        """In which the misfit stays within noise of its least: two standard errors to each side."""
        return self.best - ERRORS * self.error, self.best + ERRORS * self.error

    @property
    def words(self) -> str:
        """A line of a table: name, what was told, what was found, and whether they agree."""
        said = f"{self.name:18s} told {self.told:9.4g}   "
        if not self.known:
            return f"{said}can't be known from these data"
        low, high = self.interval
        verdict = "outside: corrected" if self.doubted else "within noise"
        return f"{said}found {self.best:9.4g}, {low:.4g} to {high:.4g}   told is {verdict}"

    @property
    def doubted(self) -> bool:
        """Whether what was told lies outside."""
        low, high = self.interval
        return self.known and not low <= self.told <= high


@dataclass(frozen=True)
class Parameter:
    """What can be calibrated. path: in a plan. width: of a first search to each side, from dataset and plan. told: its
    value in them; unit: for tables. moves: how often a search may go on beyond its range: where the data say little, as
    of a scan's scale, it must not."""

    path: str
    width: Callable[[Dataset, Plan], float]
    told: Callable[[Dataset, Plan], float]
    unit: str
    moves: int = 0


def _of_optics(name: str, width: Callable[[Dataset, Plan], float], unit: str) -> Parameter:
    def value(dataset: Dataset, plan: Plan) -> float:
        given = getattr(plan.correction, name)
        return told(dataset, name) if given is None else given

    return Parameter(f"correction.{name}", width, value, unit, moves=MOVES)


def _of_scan(name: str, width: float, unit: str) -> Parameter:
    return Parameter(
        f"correction.{name}", lambda dataset, plan: width, lambda dataset, plan: getattr(plan.correction, name), unit
    )


def _depth_nm(dataset: Dataset, plan: Plan) -> float:
    """Twice the depth of focus: what changes the picture clearly."""
    angle = told(dataset, "semiangle_mrad") * MRAD
    return max(2 * wavelength_a(dataset.voltage_kv) / angle**2 / NM, 0.15 * abs(told(dataset, "defocus_nm")))


def _coma_nm(dataset: Dataset, plan: Plan) -> float:
    angle = told(dataset, "semiangle_mrad") * MRAD
    return 3 * wavelength_a(dataset.voltage_kv) / angle**3 / NM


PARAMETERS: dict[str, Parameter] = {
    "defocus_nm": _of_optics("defocus_nm", _depth_nm, "nm"),
    "semiangle_mrad": _of_optics("semiangle_mrad", lambda d, p: 0.04 * told(d, "semiangle_mrad"), "mrad"),
    "rotation_deg": _of_scan("rotation_deg", 6.0, "deg"),
    "scan_scale": _of_scan("scan_scale", 0.06, "1"),
    "scan_aspect": _of_scan("scan_aspect", 0.06, "1"),
    "scan_shear": _of_scan("scan_shear", 0.06, "1"),
    "pixel_scale": _of_scan("pixel_scale", 0.04, "1"),
    "astigmatism_0_nm": _of_optics("astigmatism_0_nm", _depth_nm, "nm"),
    "astigmatism_45_nm": _of_optics("astigmatism_45_nm", _depth_nm, "nm"),
    "coma_x_nm": _of_optics("coma_x_nm", _coma_nm, "nm"),
    "coma_y_nm": _of_optics("coma_y_nm", _coma_nm, "nm"),
    "cs_mm": _of_optics("cs_mm", lambda d, p: _coma_nm(d, p) / told(d, "semiangle_mrad") * 1e-3, "mm"),
    "tilt_y_mrad": _of_scan("tilt_y_mrad", 4.0, "mrad"),
    "tilt_x_mrad": _of_scan("tilt_x_mrad", 4.0, "mrad"),
    "slice_thickness_a": Parameter(
        "object.slice_thickness_a",
        lambda d, p: 0.4 * p.object.slice_thickness_a,
        lambda d, p: p.object.slice_thickness_a,
        "A",
    ),
}
# The aperture first: while it is wrong it is all that the misfit sees.
DAILY = ("semiangle_mrad", "defocus_nm", "rotation_deg", "scan_shear", "scan_scale")
SLICED = ("tilt_y_mrad", "tilt_x_mrad", "slice_thickness_a")


def short_plan(plan: Plan, sweeps: int = SWEEPS) -> Plan:
    """The plan's start and correction with a few sweeps of L-BFGS, which has no random order and measures its own step,
    and the probe as the optics make it: a probe that is refined takes up what is asked for."""
    last = plan.engines[-1]
    engine = {"engine": "gradient", "rule": "lbfgs", "sweeps": sweeps, "probe_start": NEVER, "noise": last.noise}
    kept = plan.model_dump(mode="json", include={"probe", "object", "correction", "precision"})
    kept["probe"].pop("opr_modes", None)
    return with_values({**kept, "engines": [{**engine, "offset": last.offset}]}, {})


def middle(dataset: Dataset, positions: int = POSITIONS) -> Dataset:
    """The patterns of a square in the scan's middle that holds about so many positions; their counts as floats."""
    places = np.asarray(dataset.positions_a)
    if len(places) > positions:
        reach = np.max(np.abs(places - np.median(places, axis=0)), axis=1)
        kept = np.sort(np.argsort(reach, kind="stable")[:positions])
        dataset = dataclasses.replace(dataset, patterns=dataset.patterns[kept], positions_a=places[kept])
    return dataset


def scan_parameters(
    dataset: Dataset, plan: Plan, values: Mapping[str, Sequence[float]], seed: int = 0, sweeps: int = SWEEPS
) -> dict[str, Curve]:
    """How well the data are explained with each value of each parameter, the others as data and plan have them.

    values: {name of `PARAMETERS`: three or more values}. All patterns are used; `middle` leaves fewer. plan: its start,
    correction and noise model count, see `short_plan`. Whole counts are split between the two reconstructions
    (`split_counts`), others are split by positions. Raises InputError for a parameter that isn't known, too few values,
    or one that data and plan can't have.
    """
    halves = _halves(dataset, seed)
    curves = {}
    for name, tried in values.items():
        parameter = _known(name, dataset, plan)
        tried = np.unique(np.asarray(tried, float))
        if len(tried) < 3:
            raise InputError(f"parameters.{name}", "needs three values or more", tried.tolist(), "Give more values.")
        short = short_plan(plan, sweeps).model_dump(mode="json")
        table = np.stack(
            [_misfits(halves, with_values(short, {parameter.path: float(v)}, "parameters")) for v in tried]
        )
        electrons = float(sum(np.sum(half.patterns * half.mask, dtype=np.float64) for half in halves))
        curves[name] = _curve(name, parameter.told(dataset, plan), tried, table, electrons)
    return curves


def calibrate(
    dataset: Dataset,
    plan: Plan,
    names: Sequence[str] = DAILY,
    seed: int = 0,
    sweeps: int = SWEEPS,
    rounds: int = 2,
    report: Callable[[Curve], None] | None = None,
) -> tuple[dict[str, Curve], Plan]:
    """Search each parameter in turn, with those found before as they were found, and go round again.

    Returns the last curve of each, with what was told at first, and the plan with the values found where what was told
    is outside the interval. report: called with each curve. Raises InputError as `scan_parameters`.
    """
    parameters = {name: _known(name, dataset, plan) for name in names}
    first = {name: p.told(dataset, plan) for name, p in parameters.items()}
    widths = {name: p.width(dataset, plan) for name, p in parameters.items()}
    content, curves, centres = plan.model_dump(mode="json", exclude_unset=True), {}, dict(first)
    for turn in range(rounds):
        for name in names:
            for _ in range(2 if turn == 0 else 1):  # a wide range, and then a narrow one
                now = with_values(content, {parameters[n].path: centres[n] for n in curves})
                curve = _searched(dataset, now, name, centres[name], widths[name], seed, sweeps)
                curves[name] = dataclasses.replace(curve, told=first[name])
                if curve.known:
                    centres[name], widths[name] = curve.best, max(4 * curve.error, widths[name] / 4)
            if report is not None:
                report(curves[name])
    found = {parameters[n].path: float(f"{c.best:.6g}") for n, c in curves.items() if c.doubted}
    return curves, with_values(content, found)


def calibrated(dataset: Dataset, plan: Plan, seed: int = 0) -> tuple[Plan, dict[str, Curve]]:
    """The plan with what its `calibrate` asks for searched and written into its correction, and what was found.

    The plan that is returned asks for nothing more, and `reconstruct` takes it. A parameter whose misfit has no least
    value among those tried stays as it was told. Raises InputError as `scan_parameters`.
    """
    if isinstance(dataset, Scans):
        if plan.calibrate.offsets:
            mend = "Calibrate each scan by itself (`ptydesign calibrate`), and write the corrections into `scans`."
            raise InputError("calibrate", "must be empty for several scans", dict(plan.calibrate.offsets), mend)
        return plan, {}
    asked, curves, found = plan.calibrate, {}, {}
    content = plan.model_dump(mode="json", exclude_unset=True)
    content.pop("calibrate", None)
    part = middle(dataset, asked.positions)
    for name, offsets in asked.offsets.items():
        now = with_values(content, found)
        parameter = _known(name, dataset, now)
        values = _allowed(name, parameter.told(dataset, now) + np.asarray(offsets))
        curves[name] = scan_parameters(part, now, {name: values}, seed, asked.sweeps)[name]
        if curves[name].known:
            found[parameter.path] = float(f"{curves[name].best:.6g}")
    return with_values(content, found), curves


def _searched(dataset: Dataset, plan: Plan, name: str, centre: float, width: float, seed: int, sweeps: int) -> Curve:
    """A parameter about a centre; the range moves to where the misfit falls, as often as it may."""
    for _ in range(PARAMETERS[name].moves + 1):
        values = _allowed(name, centre + width * np.linspace(-1, 1, 7))
        curve = scan_parameters(dataset, plan, {name: values}, seed, sweeps)[name]
        place = int(np.argmin(curve.misfit))
        if 0 < place < len(curve.values) - 1:
            break
        centre = curve.values[place]
    return curve


def _allowed(name: str, values: Values) -> Values:
    """Sizes and factors are positive."""
    return values[values > 0] if name in ("semiangle_mrad", "slice_thickness_a") else values


def _known(name: str, dataset: Dataset, plan: Plan) -> Parameter:
    if name not in PARAMETERS:
        raise InputError("parameters", "must be known", name, nearest(name, PARAMETERS))
    if name in OPTICS:
        told(dataset, name)
    if name in SLICED and plan.object.slices < 2:
        raise InputError(
            "parameters", f"{name} needs a plan of several slices", plan.object.slices, "Give object.slices."
        )
    return PARAMETERS[name]


def _halves(dataset: Dataset, seed: int) -> tuple[Dataset, Dataset]:
    try:
        return SPLITS["counts"](dataset, seed)
    except InputError:  # no whole counts
        return SPLITS["positions"](dataset, seed)


def _misfits(halves: tuple[Dataset, Dataset], plan: Plan) -> Float[np.ndarray, " pattern"]:
    """Of each pattern of both halves: the mean of its misfits with both halves' reconstructions."""
    engine = plan.engines[-1]
    corrected = [plan.correction.applied(half) for half in halves]
    total = [np.zeros(len(half.patterns)) for half in halves]
    for half in halves:
        state = reconstruct(half, plan, 0)[0]
        state = _widened(state, corrected)
        for number, other in enumerate(corrected):
            total[number] += misfits(state, other, engine.noise, engine.offset) / 2
    return np.concatenate(total)


def _widened(state: ReconState, datasets: Sequence[Dataset]) -> ReconState:
    """The state on a canvas that holds the windows of all: halves by positions don't span the same."""
    positions = np.concatenate([d.positions_a for d in datasets])
    wide = fit_canvas(state.replace(positions_px=(positions - state.origin_a) / state.pixel_a))
    return wide.replace(positions_px=wide.positions_px[: len(state.positions_px)])


def _curve(
    name: str, said: float, values: Values, table: Float[np.ndarray, "value pattern"], electrons: float
) -> Curve:
    """The least of a parabola through the values next to the least one, and its error.

    Of five values, or of three where those five are too far apart to lie on a parabola: its least must not lie beyond
    the neighbours of the least one."""
    total = table.sum(axis=1)
    place = int(np.argmin(total))
    best, error = float(values[place]), np.inf
    for reach in (2, 1) if 0 < place < len(values) - 1 else ():
        near = slice(max(0, place - reach), place + reach + 1)
        x = values[near] - values[place]
        scale = np.abs(x).max()
        fits = np.polynomial.polynomial.polyfit(x / scale, table[near] - table[place], 2)  # (3, pattern)
        slope, bend = fits[1].sum(), 2 * fits[2].sum()
        least = -slope / bend if bend > 0 else np.inf
        if values[place - 1] <= values[place] + least * scale <= values[place + 1]:
            scatter = fits[1] + 2 * fits[2] * least
            noise = float(np.sqrt(np.sum(scatter**2)) / bend * scale)
            error = float(np.hypot(noise, TRUSTED * np.median(np.diff(values[near]))))
            best = float(values[place] + least * scale)
            break
    return Curve(name, float(said), values, total / electrons, best, error)
