"""The limit of a plan's designs: `design.limits` for a setting, the object being the sample itself.

The object is cut out of the potential on the reconstruction's pixel and slices, scan and window are the trial's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ptydesign import waves
from ptydesign.design import limits
from ptydesign.errors import InputError, nearest
from ptydesign.experiment.search import cached
from ptydesign.grids import Grid, crop_spectrum
from ptydesign.planning.instrument import Setting
from ptydesign.planning.operation import operate
from ptydesign.planning.patterns import expected_patterns
from ptydesign.planning.reached import floor, spread_of
from ptydesign.planning.reconstruction import trial_reconstruction
from ptydesign.planning.resolve import PlanningResolved, detected_dose, still_config
from ptydesign.planning.robust import read_robust, recommended
from ptydesign.planning.scope import EXPERT_DESIGN, RECOMMENDED
from ptydesign.planning.search import find_search, read_round
from ptydesign.planning.space import setting_of
from ptydesign.score.spread import period_a, rms_rad
from ptydesign.simulate.coherence import incoherent_probes
from ptydesign.simulate.detector import losses_of
from ptydesign.study.acquisition import to_experiment
from ptydesign.types import Experiment, Potential
from ptydesign.units import MRAD, interaction_parameter, wavelength_a

RINGS = 8  # frequencies at which the bound is computed
# (direction, phase) in rad of the waves whose variances are averaged; no direction is a crystal's symmetry axis
WAVES = ((0.3, 0.0), (1.9, math.pi / 2))
# The bound's error is of the residual's square. With the probe unknown the residual mixes units and falls late: for the
# zeolite's plan the bound is within 0.1 % after ten steps.
ITERATIONS = 40
TOLERANCE = 0.03
RINGS_IN_SLICES = 4  # in slices a product with the information takes as much longer
SCREEN_RINGS = 8
SEED = 1


@dataclass(frozen=True)
class Scene:
    """A design as `design.limits` wants it. window: (Y, X), the scanned region, fading at its edges. pixel_a: of the
    canvas (square)."""

    unknowns: limits.Unknowns
    imaging: limits.Imaging
    window: np.ndarray
    pixel_a: float

    @property
    def phase(self) -> np.ndarray:
        """(slices, Y, X) in rad."""
        return np.asarray(self.unknowns.phase)


def make_scene(resolved: PlanningResolved, setting: Setting, dose_e_per_a2: float, potential: Potential) -> Scene:
    """The object, probe and scan of a setting. Positions are filled up to few numbers, so that little is compiled."""
    from ptydesign.reconstruct.run import capacity
    from ptydesign.simulate.scan import raster
    from ptydesign.types import Scan

    bench, plan = resolved.bench, resolved.study
    pixel, size = bench.pixel_a(setting), bench.pixels
    grid = Grid((size, size), (pixel, pixel))
    wavelength = wavelength_a(setting.voltage_kv)
    field = plan.simulation.field_of_view_a
    planned = still_config(bench, operate(bench, setting, dose_e_per_a2))
    scanned = planned.scanned_a
    canvas = tuple(_even(math.ceil(extent / pixel) + size) for extent in scanned)
    slices, each_a = trial_reconstruction(plan).final_slices
    phase = _object(potential, pixel, canvas, slices) * interaction_parameter(setting.voltage_kv)
    nominal = raster(Scan(setting.step_a, scanned), (0.0, 0.0)) / pixel + np.asarray(canvas) / 2
    room = capacity(len(nominal))
    positions = np.concatenate([nominal, np.repeat(nominal[:1], room - len(nominal), axis=0)])
    electrons = np.zeros(room)
    detected = detected_dose(bench, operate(bench, setting, dose_e_per_a2))
    electrons[: len(nominal)] = detected * setting.step_a**2
    spectrum = waves.probe_spectrum(grid, wavelength, setting.semiangle_mrad * MRAD, **bench.aberrations_of(setting))
    steps = None
    if slices > 1:
        one = np.asarray(waves.propagator(grid.frequencies(), wavelength, each_a))
        steps = np.repeat(one[None], slices - 1, axis=0)
    beam = to_experiment(planned, dose_e_per_a2)
    imaging = limits.make_imaging(
        grid, positions, electrons, np.abs(spectrum) > 0, 0.0, steps, planned.mtf_nyquist,
        coherence=_coherence(grid, spectrum, beam), losses=losses_of(beam),
    )  # fmt: skip
    unknowns = limits.Unknowns(np.asarray(phase, np.float32), limits.probe_unknowns(spectrum))
    return Scene(unknowns, imaging, _window(canvas, field, pixel), pixel)


def _coherence(grid: Grid, spectrum: np.ndarray, beam: Experiment) -> np.ndarray | None:
    """Factors (mode, ny, nx) that make the incoherent probes of a beam of its coherent spectrum; None for one probe."""
    inside = np.nonzero(spectrum)
    ky, kx = (np.broadcast_to(k, grid.shape)[inside] for k in grid.frequencies())
    angles = np.stack([ky, kx]) * wavelength_a(beam.optics.voltage_kv) / beam.optics.semiangle_rad
    probes = incoherent_probes(spectrum[inside], angles, beam)
    if len(probes) == 1:
        return None
    factors = np.zeros((len(probes), *grid.shape), complex)
    factors[:, *inside] = probes / spectrum[inside]
    return factors


def _object(potential: Potential, pixel_a: float, canvas: tuple[int, int], slices: int) -> np.ndarray:
    """Projected potential (slices, Y, X) about the specimen's centre on the canvas's pixel, band-limited to it."""
    mean = potential.slices_va.mean(axis=0)
    groups = np.array_split(mean, slices) if slices > 1 else [mean]
    factor = round(pixel_a / potential.pixel_a[0])
    shape = [n // factor * factor for n in mean.shape[-2:]]
    found = []
    for group in groups:
        whole = group.sum(axis=0)[: shape[0], : shape[1]]
        small = [n // factor for n in shape]
        coarse = np.fft.ifft2(crop_spectrum(np.fft.fft2(whole), tuple(small))).real / factor**2
        first = [(have - want) // 2 for have, want in zip(small, canvas, strict=True)]
        rows = np.arange(first[0], first[0] + canvas[0]) % small[0]
        columns = np.arange(first[1], first[1] + canvas[1]) % small[1]
        found.append(coarse[rows[:, None], columns[None, :]])
    return np.stack(found)


def _window(canvas: tuple[int, int], field_a: tuple[float, float], pixel_a: float) -> np.ndarray:
    parts = []
    for size, extent in zip(canvas, field_a, strict=True):
        place = (np.arange(size) - size / 2) * pixel_a / extent
        parts.append(np.where(np.abs(place) < 0.5, np.cos(np.pi * place) ** 2, 0.0))
    return np.outer(*parts)


def _even(size: int) -> int:
    return size + size % 2


def rings(count: int, qmax: float) -> np.ndarray:
    """`count` frequencies in 1/A, the middles of rings of equal width up to qmax."""
    return (np.arange(count) + 0.5) / count * qmax


def bound(scene: Scene, qmax: float) -> dict[str, list[float]]:
    """Least standard deviation of a unit mode of the phase (rad) at each frequency, probe known and unknown, and what
    the object itself has there."""
    found: dict[str, list[float]] = {
        "q_per_a": [],
        "known_rad": [],
        "unknown_rad": [],
        "object_rad": [],
        "residual": [],
    }
    thick = len(scene.phase) > 1
    count = RINGS_IN_SLICES if thick else RINGS
    for q in rings(count, qmax):
        modes = []
        for angle, shift in WAVES[:1] if thick else WAVES:
            frequency = (q * scene.pixel_a * math.sin(angle), q * scene.pixel_a * math.cos(angle))
            modes.append(limits.windowed_mode(scene.phase, scene.window, frequency, shift, probe_known=False))
        known, rest = limits.least_variance(scene.unknowns, scene.imaging, np.stack(modes), True, ITERATIONS, TOLERANCE)
        unknown, _ = limits.least_variance(scene.unknowns, scene.imaging, np.stack(modes), False, ITERATIONS, TOLERANCE)
        found["q_per_a"].append(float(q))
        found["known_rad"].append(float(np.sqrt(np.mean(known))))
        found["unknown_rad"].append(float(np.sqrt(np.mean(np.maximum(unknown, known)))))
        found["residual"].append(float(np.max(rest)))
    found["object_rad"] = [float(v) for v in signal(scene, count, qmax)]
    return found


def signal(scene: Scene, count: int, qmax: float) -> np.ndarray:
    """Rms amplitude of unit modes of the projected phase in each ring, from its power spectrum in the window."""
    image = scene.phase.sum(axis=0)
    weight = scene.window / np.sum(scene.window)
    image = (image - np.sum(weight * image)) * scene.window
    power = np.abs(np.fft.fft2(image, norm="ortho")) ** 2 / np.mean(scene.window**2)
    ky, kx = Grid(image.shape, (scene.pixel_a, scene.pixel_a)).frequencies()
    ring = np.floor(np.hypot(ky, kx) / qmax * count).astype(int)
    return np.array([math.sqrt(power[ring == i].mean()) if np.any(ring == i) else 0.0 for i in range(count)])


def resolution_a(q_per_a: list[float], sigma_rad: list[float], object_rad: list[float]) -> float | None:
    """1 / the highest frequency up to which the object stands above the bound, from its strongest ring on, or None."""
    return period_a(np.asarray(q_per_a), np.asarray(object_rad) / np.asarray(sigma_rad))


def write_limits(resolved: PlanningResolved, design: str) -> Path:
    """The bound of the recommended design or of the rule of thumb at the dose limit, and what its simulations reach;
    write limits/<design>.json.

    Computed twice where the rule of thumb is what is recommended.
    """
    robust = read_robust(resolved)
    found = {RECOMMENDED: recommended(resolved, robust)[0], EXPERT_DESIGN: EXPERT_DESIGN}
    if design not in found:
        raise InputError("design", "must have a bound", design, nearest(design, found))
    setting = Setting(**robust[found[design]]["setting"])
    potential = cached(resolved.of(setting))[0]
    scene = make_scene(resolved, setting, resolved.dose_e_per_a2, potential)
    qmax = 0.5 / scene.pixel_a  # all that the reconstruction has, as its measured error
    content: dict[str, Any] = bound(scene, qmax)
    content["prior_rad"] = with_prior(content["unknown_rad"], content["object_rad"])
    for name in ("known", "unknown", "prior"):
        content[f"error_{name}_rad"] = rms_rad(content["q_per_a"], content[f"{name}_rad"], scene.pixel_a)
        content[f"resolution_{name}_a"] = resolution_a(
            content["q_per_a"], content[f"{name}_rad"], content["object_rad"]
        )
    content |= spread_of(resolved, robust[found[design]], len(content["q_per_a"]), qmax) | floor(resolved, setting)
    if design == RECOMMENDED:
        content["patterns"] = expected_patterns(resolved, setting, potential)
    return resolved.write_json(f"limits/{design}.json", {"design": design, "qmax_per_a": qmax, **content})


def with_prior(sigma_rad: list[float], object_rad: list[float]) -> list[float]:
    """The bound for a reconstruction that may be biased and knows the object's mean power in each ring (van Trees 1968,
    sec. 2.4): never above the error of a blank image, as the unbiased one is at low dose."""
    variance, power = np.square(sigma_rad), np.square(object_rad)
    return np.sqrt(variance * power / np.maximum(variance + power, 1e-30)).tolist()


def screen_value(scene: Scene, qmax: float) -> float:
    """A cheap first look at a design: the part of the object's power that is left as error if every frequency were
    measured with the mean information of its ring and shrunk as best it can be (van Trees' inequality with the object's
    own power as prior). 0 is perfect, 1 is nothing. One pass over the positions, the probe known."""
    rng = np.random.default_rng(SEED)
    ky, kx = Grid(scene.window.shape, (scene.pixel_a, scene.pixel_a)).frequencies()
    ring = np.floor(np.hypot(ky, kx) / qmax * SCREEN_RINGS).astype(int)
    vectors, sizes = [], []
    for number in range(SCREEN_RINGS):
        noise = np.fft.ifft2(np.fft.fft2(rng.standard_normal(ring.shape)) * (ring == number)).real * scene.window
        slices = len(scene.phase)
        vectors.append(np.repeat(noise[None] / np.linalg.norm(noise), slices, axis=0) / slices)
        sizes.append(int(np.sum(ring == number)))
    found = np.asarray(limits.information(scene.unknowns, scene.imaging, np.asarray(vectors, np.float32)))
    power = signal(scene, SCREEN_RINGS, qmax) ** 2
    left = power / (1 + power * found)
    return float(np.sum(sizes * left) / np.sum(sizes * power))


def write_screen(resolved: PlanningResolved, search: str) -> Path:
    """The cheap look at every setting that a dose's search tried; write screen/<dose>.json."""
    found = find_search(resolved, search)
    rows, potentials = [], {}
    for round_ in range(len(found.sizes)):
        for record in read_round(resolved, found, round_):
            setting = setting_of(resolved.bench, record["point"])
            one = resolved.of(setting)
            if one.key not in potentials:
                potentials[one.key] = cached(one)[0]
            scene = make_scene(resolved, setting, found.dose_e_per_a2, potentials[one.key])
            qmax = min(1 / resolved.study.goal.resolution_a, 0.5 / scene.pixel_a)
            value = screen_value(scene, qmax)
            rows.append({"round": round_, "index": record["index"], "left": value, "objective": record["objective"]})
    return resolved.write_json(f"screen/{found.name}.json", {"dose_e_per_a2": found.dose_e_per_a2, "rows": rows})
