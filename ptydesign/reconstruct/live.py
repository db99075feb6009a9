"""What a reconstruction writes for viewers while it runs: a folder with its session, its progress, and iterations.

session.json, .alive, stop    see `ptydesign.session`
progress.jsonl                a line for each sweep: sweep, loss, seconds, GFLOP since the start, clock
start.h5                      nominal positions
iteration-000012.h5           what there was after sweep 12: the scanned part of the object, probe, positions
checkpoint.h5                 to go on from
log.txt                       what happens, in words: `log`
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

import numpy as np

from ptydesign import hdf5
from ptydesign.errors import InputError
from ptydesign.reconstruct.log import RunLog
from ptydesign.reconstruct.plan import Plan
from ptydesign.session import DONE, FAILED, STOPPED, Session
from ptydesign.types import Dataset, Outcome, ReconState
from ptydesign.waves import all_modes

SUFFIX = ".live"
EVERY_S = 2.0  # between two iterations, at least
COST = 0.01  # of a run's time that iterations may take
MOST_PIXELS = 2**22  # of an iteration's object, over all slices
KEPT = 40  # iterations
LEAST_MOVED_A = 1e-3  # rms of corrections that are told
CHECKPOINT_S = 60.0  # between two checkpoints, at least


def best_beside(output: Path) -> Path:
    """Where the state that explains held-out patterns best is written beside the last one: out_best.h5."""
    return output.with_name(f"{output.stem}_best{output.suffix}")


class Live:
    """An observer of `reconstruct`, and a context manager around it. It returns True, which ends the run after this
    sweep, once somebody asks for a stop.

    folder: named as the output, with SUFFIX; cleared of an earlier run's files unless `resumed`. about: JSON-able facts
    for viewers. told: what was said before the run, for its log. cost_s: the time that it took from the run so far.
    """

    def __init__(
        self,
        folder: Path,
        dataset: Dataset,
        plan: Plan,
        about: Mapping[str, Any] | None = None,
        resumed: bool = False,
        told: Sequence[str] = (),
    ):
        self.folder, self.session = Path(folder), Session(Path(folder))
        self.cost_s = 0.0
        self._dataset, self._plan, self._about, self._resumed = dataset, plan, dict(about or {}), resumed
        self._last = -np.inf, 0.0  # when an iteration was written, and the seconds that it took
        self._spent = 0.0, 0.0
        self._stop = False
        self._told = told
        self.log = RunLog(self.folder, fresh=not resumed)
        self._lines: TextIO | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Live:
        begin = time.perf_counter()
        if not self._resumed:
            for path in (*iterations(self.folder), self.folder / "progress.jsonl"):
                path.unlink(missing_ok=True)
        dataset, plan = self._dataset, self._plan
        self.session.begin(
            kind="reconstruction",
            plan=plan.model_dump(mode="json"),
            sweeps=plan.sweeps,
            budget=plan.budget.model_dump(mode="json"),
            optics=None if dataset.optics is None else asdict(dataset.optics),
            voltage_kv=dataset.voltage_kv,
            patterns=list(dataset.patterns.shape),
            **self._about,
        )
        arrays = {"positions_nominal": hdf5.Array(np.asarray(dataset.positions_a), "angstrom", "position,(y,x)")}
        hdf5.write_hdf5(self.folder / "start.h5", "start", arrays, {})
        self._lines = self._stack.enter_context((self.folder / "progress.jsonl").open("a", buffering=1))
        self._stack.enter_context(self.log)
        self._begin_log()
        self._stack.enter_context(self.session.beating(self.stop))
        self.cost_s += time.perf_counter() - begin
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):  # a line that a full disk didn't take
            if error is not None:
                self.log.say(f"failed: {kind.__name__}: {error}")
        with suppress(OSError):
            self._stack.close()
        if error is not None:
            with suppress(OSError, InputError):
                self.session.end(FAILED, f"{kind.__name__}: {error}", cost_s=round(self.cost_s, 3))

    def _begin_log(self) -> None:
        """What is reconstructed, and what of it is corrected before."""
        count, ny, nx = self._dataset.patterns.shape
        goes = "Goes on with" if self._resumed else "Begins:"
        self.log.say(f"{goes} {count} patterns of {ny} x {nx} pixels at {self._dataset.voltage_kv:g} kV")
        for words in self._told:
            self.log.say(words)
        corrected = self._plan.correction.model_dump(mode="json", exclude_defaults=True)
        if corrected:
            self.log.say(f"corrected as the plan says: {', '.join(f'{n} {v}' for n, v in corrected.items())}")

    def stop(self) -> None:
        """End the run after the present sweep."""
        if not self._stop:
            self.log.say("asked to stop: ends after this sweep")
        self._stop = True

    def spend(self, work_gflop: float, seconds: float) -> None:
        """A meter of `reconstruct`: what is spent so far."""
        self._spent = work_gflop, seconds

    def __call__(self, sweep: int, loss: float, state: ReconState) -> bool:
        begin = time.perf_counter()
        with suppress(OSError, InputError):  # a full or missing disk ends the view, not the run
            self._show(sweep, loss, state, begin)
        self.cost_s += time.perf_counter() - begin
        return self._stop

    def _show(self, sweep: int, loss: float, state: ReconState, now: float) -> None:
        work, seconds = self._spent
        line = {"sweep": sweep, "loss": loss if np.isfinite(loss) else None, "s": round(seconds, 3)}
        self._lines.write(json.dumps({**line, "gflop": round(work, 3), "t": round(time.time(), 1)}) + "\n")
        if self.log.due():
            self.log.say(f"sweep {sweep} of {self._plan.sweeps}: loss {loss:.4g}{self._moved(state)}")
        written, took = self._last
        if now - written >= max(EVERY_S, took / COST):
            write_iteration(self.folder, sweep, state, len(self._dataset.positions_a))
            thin_out(self.folder)
            self._last = time.perf_counter(), time.perf_counter() - now

    @cached_property
    def _corrected_a(self) -> np.ndarray:
        """(position, 2) where the run began, but for what it refines."""
        return np.asarray(self._plan.correction.applied(self._dataset).positions_a)

    def _moved(self, state: ReconState) -> str:
        """How far the positions were corrected, beside a shift of all of them."""
        told = self._corrected_a
        found = np.asarray(state.positions_px)[: len(told)] * np.asarray(state.pixel_a) + np.asarray(state.origin_a)
        change = found - told
        rms = float(np.sqrt(np.mean(np.sum((change - change.mean(axis=0)) ** 2, axis=1))))
        return f", positions corrected by {rms:.2g} A rms" if rms > LEAST_MOVED_A else ""

    def finish(self, outcome: Outcome, state: ReconState) -> None:
        """The run is over: its last iteration, and how it ended."""
        how, reason = FAILED if outcome.status == "diverged" else DONE, outcome.reason
        if self._stop and outcome.sweeps < self._plan.sweeps and how == DONE:
            how, reason = STOPPED, f"Stopped after sweep {outcome.sweeps}, as asked; it goes on from its checkpoint."
        self.log.say(f"{how}: {reason}")
        with suppress(OSError, InputError):
            if outcome.sweeps:
                write_iteration(self.folder, outcome.sweeps, state, len(self._dataset.positions_a))
            self.session.end(how, reason, outcome=outcome.status, cost_s=round(self.cost_s, 3))


def iterations(folder: Path) -> list[Path]:
    """Files of the iterations that are kept, the earliest first."""
    return sorted(Path(folder).glob("iteration-*.h5"))


def write_iteration(folder: Path, sweep: int, state: ReconState, count: int) -> Path:
    """Write what a viewer shows of a state: count positions, and the object that lies between them, binned (or the
    product of its slices) if it is large."""
    positions = np.asarray(state.positions_px)[:count]
    object_ = np.asarray(state.object)
    low, high = scanned_corners(positions, object_.shape[-2:])
    part = object_[:, low[0] : high[0], low[1] : high[1]]
    slices = len(part)
    if part.size > MOST_PIXELS and slices > 1:
        part = np.prod(part, axis=0, keepdims=True)
    factor = int(np.ceil(np.sqrt(part.size / MOST_PIXELS)))
    pixel = np.asarray(state.pixel_a, float)
    arrays = {
        "object": hdf5.Array(binned(part, factor).astype(np.complex64), "transmission", "slice,y,x"),
        "probe": hdf5.Array(all_modes(state.probe).astype(np.complex64), "sqrt(counts)", "mode,y,x"),
        "positions": hdf5.Array(positions * pixel + np.asarray(state.origin_a), "angstrom", "position,(y,x)"),
    }
    attributes = {
        "sweep": sweep,
        "slices": slices,
        "pixel_a": (pixel * factor).tolist(),
        "probe_pixel_a": pixel.tolist(),
        "origin_a": (np.asarray(state.origin_a, float) + low * pixel).tolist(),
        "thickness_a": np.asarray(state.thickness_a, float).tolist(),
        "wavelength_a": float(state.wavelength_a),
    }
    path = Path(folder) / f"iteration-{sweep:06d}.h5"
    hdf5.write_hdf5(path, "iteration", arrays, attributes, packed=False)
    return path


def thin_out(folder: Path) -> None:
    """Leave at most KEPT iterations, spread evenly over the run: that goes whose neighbours are nearest to each other;
    the first and the newest stay."""
    found = iterations(folder)
    while len(found) > KEPT:
        sweeps = [int(path.stem.rpartition("-")[2]) for path in found]
        gaps = [after - before for before, after in zip(sweeps, sweeps[2:], strict=False)]
        found.pop(1 + int(np.argmin(gaps))).unlink(missing_ok=True)


def scanned_corners(positions_px: np.ndarray, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """(first, last + 1) pixel (y, x) of the object between the outermost positions; all of it if that is a line, or if
    positions of a diverged run are not finite."""
    size = np.asarray(shape)
    if not np.all(np.isfinite(positions_px)):
        return np.zeros(2, int), size
    low = np.clip(np.ceil(positions_px.min(axis=0)).astype(int), 0, size - 1)
    high = np.clip(np.floor(positions_px.max(axis=0)).astype(int) + 1, 1, size)
    whole = high - low < 8
    return np.where(whole, 0, low), np.where(whole, size, high)


def binned(image: np.ndarray, factor: int) -> np.ndarray:
    """(..., y, x) means of factor x factor pixels; what is left over at the ends is cut off."""
    if factor == 1:
        return image
    *front, ny, nx = image.shape
    ny, nx = ny // factor, nx // factor
    cut = image[..., : ny * factor, : nx * factor]
    return cut.reshape(*front, ny, factor, nx, factor).mean(axis=(-3, -1))
