"""The state a reconstruction starts from."""

from __future__ import annotations

import numpy as np
from jaxtyping import Complex

from ptydesign.errors import InputError
from ptydesign.grids import Grid
from ptydesign.reconstruct.opr import start_basis
from ptydesign.reconstruct.pixels import window_of
from ptydesign.reconstruct.plan import Plan
from ptydesign.reconstruct.resample import CANVAS_MULTIPLE, MARGIN_PX, fit_window, orthonormal_modes
from ptydesign.reconstruct.scans import Scans, check_overlap, numbers_of, parts_of
from ptydesign.reconstruct.starts import OBJECT_STARTS, PROBE_STARTS, of_optics
from ptydesign.types import Dataset, ReconState, blocks
from ptydesign.units import wavelength_a

ROOM_A, ROOM_PX = 2.0, 8  # more of it where positions are corrected: they stay on the canvas
LARGEST_CANVAS_PX = 2**28


def start_state(dataset: Dataset, plan: Plan) -> ReconState:
    """The plan's start of the object, nominal probe scaled to the data, nominal positions (NumPy, double precision).

    dataset: as the plan's correction leaves it.

    Raises InputError if neither optics nor a probe guess is known, the positions span an absurd area, or scans of one
    object don't overlap.
    """
    pixel = np.asarray(dataset.grid.pixel_a)
    shape = np.asarray(window_of(dataset.grid.shape, plan.probe.window))
    low, high = dataset.positions_a.min(axis=0), dataset.positions_a.max(axis=0)
    margin = np.full(2, MARGIN_PX)
    scan = numbers_of(dataset)
    if isinstance(dataset, Scans):
        check_overlap(dataset)
    if any(s.refine_positions or (s.refine_shift and scan is not None) for s in plan.engines):
        margin = np.maximum(ROOM_PX, np.ceil(ROOM_A / pixel).astype(int))
    origin = low - (shape // 2 + margin) * pixel
    needed = np.ceil((high - low) / pixel).astype(int) + shape + 2 * margin + 1
    canvas = -(-needed // CANVAS_MULTIPLE) * CANVAS_MULTIPLE
    if float(canvas[0]) * float(canvas[1]) > LARGEST_CANVAS_PX:
        raise InputError(
            "dataset.positions_a",
            f"must span an object of at most {LARGEST_CANVAS_PX:.0e} pixels of {dataset.grid.pixel_a} A",
            (high - low).tolist(),
            "Check the positions' unit, the detector's pixel, and for strays.",
        )
    slices, parts = plan.object.slices, parts_of(dataset)
    probes = [start_probe(part, plan) for part in parts]
    state = ReconState(
        object=np.ones((slices, *canvas), np.complex128),
        probe=probes[0] if scan is None else np.stack(probes),
        positions_px=(dataset.positions_a - origin) / pixel,
        intensity=np.ones(len(dataset.positions_a)),
        tilt_rad=plan.correction.tilt_rad,
        thickness_a=np.full(slices, plan.object.slice_thickness_a),
        pixel_a=pixel,
        origin_a=origin,
        wavelength_a=np.asarray(wavelength_a(dataset.voltage_kv)),
        scan=scan,
    )
    if plan.probe.opr_modes:
        basis = start_basis(state.probe[0], waves_grid(dataset, plan), plan.probe.opr_modes)
        state = state.replace(opr_modes=basis, opr_weights=np.zeros((len(dataset.positions_a), len(basis))))
    if scan is None or plan.object.method == "vacuum":
        return state.replace(object=start_object(dataset, plan, state))
    objects = [start_object(part, plan, scan_of(state, number)) for number, part in enumerate(parts)]
    # the counts say how much of the truth each shows
    weights = [np.sum(np.abs(probe) ** 2) * len(part.patterns) for probe, part in zip(probes, parts, strict=True)]
    return state.replace(object=np.average(objects, axis=0, weights=weights))


def start_object(dataset: Dataset, plan: Plan, state: ReconState) -> Complex[np.ndarray, "slice y x"]:
    """The plan's start of the object, from one scan's patterns, on the canvas of a state of that scan."""
    seen = state.replace(probe=fit_window(state.probe, dataset.grid.shape))
    found, slices = OBJECT_STARTS[plan.object.method](dataset, seen), len(state.object)
    if found.ndim == 2:
        found = np.repeat(np.exp(1j * np.angle(found) / slices)[None], slices, axis=0)
    return np.asarray(found, np.complex128)


def scan_of(state: ReconState, number: int) -> ReconState:
    """What a state of several scans says of one of them (0, 1, ...): its probe and positions, and the same object."""
    own = state.scan == number
    return state.replace(
        probe=state.probe[number], positions_px=state.positions_px[own], intensity=state.intensity[own], scan=None
    )


def waves_grid(dataset: Dataset, plan: Plan) -> Grid:
    """The grid of the waves' window, which may be wider than the patterns'."""
    return Grid(window_of(dataset.grid.shape, plan.probe.window), dataset.grid.pixel_a)


def start_probe(dataset: Dataset, plan: Plan) -> Complex[np.ndarray, "mode ny nx"]:
    """Probe modes (mode, ny, nx) complex128, centred, with the plan's powers and the data's mean counts. What is given
    in the patterns' window is zero beyond it."""
    grid = waves_grid(dataset, plan)
    if plan.probe.method == "nominal" and dataset.probe_guess is None:
        guess = of_optics(dataset, grid)
    else:
        guess = np.asarray(PROBE_STARTS[plan.probe.method](dataset), np.complex128)
    guess = fit_window(guess if guess.ndim == 3 else guess[None], grid.shape)
    first = guess[0]
    modes = orthonormal_modes(first, grid, guess, plan.probe.modes)
    powers = np.asarray([1 - sum(plan.probe.mode_powers), *plan.probe.mode_powers])
    background = 0.0 if dataset.background is None else dataset.background
    counts = np.mean(
        [
            total
            for block in blocks(dataset.patterns)
            for total in np.sum(np.clip(block - background, 0, None) * dataset.mask, axis=(-2, -1))
        ]
    )
    return modes * np.sqrt(powers * counts)[:, None, None]
