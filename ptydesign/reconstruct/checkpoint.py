"""Checkpoints: all that a run needs to go on as if it had never stopped, bit by bit."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ptydesign import functions, io
from ptydesign.errors import InputError
from ptydesign.reconstruct import cores
from ptydesign.reconstruct.plan import Plan
from ptydesign.reconstruct.scans import Scans
from ptydesign.types import Dataset, ReconState

UNITS = {
    "positions_px": ("pixel", "position,(y,x)"),
    "tilt_rad": ("rad", "(y,x)"),
    "thickness_a": ("angstrom", "slice"),
    "pixel_a": ("angstrom", "(y,x)"),
    "origin_a": ("angstrom", "(y,x)"),
    "wavelength_a": ("angstrom", ""),
    "object": ("1", "slice,y,x"),
    "probe": ("sqrt(counts)", "mode,y,x"),
    "intensity": ("1", "position"),
    "opr_modes": ("sqrt(counts)", "mode,y,x"),
    "opr_weights": ("1", "position,mode"),
    "scan": ("number", "position"),
}


@dataclass(frozen=True)
class Checkpoints:
    """Where and how often to write a checkpoint: after every `every` sweeps, but not within `seconds` of the last one,
    and at the end of a run."""

    path: Path
    every: int = 10
    seconds: float = 0.0

    def __post_init__(self) -> None:
        if self.every < 1:
            raise InputError("every", "must be at least 1 sweep", self.every, "Give a positive number.")

    def due(self, sweep: int, seconds: float) -> bool:
        """Whether to write one after a sweep, so many seconds after the last one."""
        return sweep % self.every == 0 and seconds >= self.seconds


@dataclass
class Record:
    """What a run has behind it. engine, sweep: where it stands; first: sweeps of all engines before this one;
    loss, work_gflop, seconds: one entry for each sweep, the last two summed from the start."""

    engine: int = 0
    sweep: int = 0
    first: int = 0
    loss: list[float] = field(default_factory=list)
    work_gflop: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    @property
    def own_loss(self) -> list[float]:
        """Losses of the present engine."""
        return self.loss[self.first :]

    def swept(self, loss: float, work_gflop: float, seconds: float) -> None:
        """One sweep more: its loss and its work, and the seconds since the start."""
        self.loss.append(loss)
        self.work_gflop.append(work_gflop + (self.work_gflop[-1] if self.work_gflop else 0.0))
        self.seconds.append(seconds)
        self.sweep += 1


@dataclass(frozen=True)
class Saved:
    """Content of a checkpoint. memory: leaves of the engine's memory; batch_positions: (position, 2) px that batches
    are made from; rng: state of the generator; cores: how many shared the work, None where that was not written."""

    record: Record
    state: ReconState
    memory: list[np.ndarray]
    batch_positions: np.ndarray
    rng: Mapping[str, Any]
    cores: int | None = None


def identity(dataset: Dataset, plan: Plan, seed: int) -> dict[str, Any]:
    """What must be the same for a run to be resumed: {plan, dataset, seed}, as hashes and a number."""
    data = hashlib.sha256()
    for name in ("patterns", "positions_a", "mask", "background", "probe_guess"):
        value = getattr(dataset, name)
        if value is not None:
            value = np.ascontiguousarray(value)
            data.update(f"{name}{value.dtype}{value.shape}".encode())
            data.update(value.view(np.uint8).reshape(-1))
    optics = None if dataset.optics is None else vars(dataset.optics)
    data.update(repr((dataset.grid, dataset.voltage_kv, optics)).encode())
    if isinstance(dataset, Scans):
        data.update("".join(identity(scan, plan, seed)["dataset"] for scan in dataset.scans).encode())
    text = json.dumps(plan.model_dump(mode="json"), sort_keys=True)
    return {
        "plan": hashlib.sha256(text.encode()).hexdigest()[:32],
        "dataset": data.hexdigest()[:32],
        "seed": int(seed),
    }


def save(path: Path, saved: Saved, who: Mapping[str, Any], plan: Plan) -> None:
    """Write a checkpoint, whole or not at all. who: see `identity`."""
    arrays = {}
    for item in dataclasses.fields(saved.state):
        value = getattr(saved.state, item.name)
        if value is not None:
            units, axes = UNITS.get(item.name, ("see ReconState", ""))
            arrays[f"state/{item.name}"] = io.Array(np.asarray(value), units, axes)
    for i, leaf in enumerate(saved.memory):
        arrays[f"memory/{i}"] = io.Array(np.asarray(leaf), "the engine's own", "")
    arrays["batch_positions"] = io.Array(saved.batch_positions, "pixel", "position,(y,x)")
    attributes = {
        "identity": dict(who),
        "plan": plan.model_dump(mode="json"),
        "record": dataclasses.asdict(saved.record),
        "rng": saved.rng,
        "memory": len(saved.memory),
        "cores": saved.cores,
    }
    io.write_hdf5(path, "checkpoint", arrays, attributes)


def load(path: Path, who: Mapping[str, Any], plan: Plan) -> Saved:
    """Read a checkpoint. Raises InputError if it belongs to another plan, dataset or seed, or is no checkpoint.

    plan: says which function of the user's has another source now."""
    known = ("state/*", "memory/*", "batch_positions")
    arrays, attributes = io.read_hdf5(path, "checkpoint", known, ("batch_positions",))
    if other := functions.changed(attributes["plan"], plan.model_dump(mode="json")):
        rule = f"must be resumed with the source of {other[0]} that the checkpoint was made with"
        mend = "Restore the file, or start anew without this checkpoint."
        raise InputError(str(path), rule, "another one", mend)
    for name, value in who.items():
        if attributes["identity"][name] != value:
            raise InputError(
                f"{path}: {name}",
                f"must be the {name} that the checkpoint was made with ({attributes['identity'][name]})",
                value,
                f"Resume with that {name}, or start anew without this checkpoint.",
            )
    names = [item.name for item in dataclasses.fields(ReconState)]
    return Saved(
        record=Record(**attributes["record"]),
        state=ReconState(**{n: arrays[f"state/{n}"] for n in names if f"state/{n}" in arrays}),
        memory=[arrays[f"memory/{i}"] for i in range(attributes["memory"])],
        batch_positions=arrays["batch_positions"],
        rng=attributes["rng"],
        cores=attributes.get("cores"),
    )


def cores_to_resume(path: Path) -> int | None:
    """How many cores a run must use to go on bit by bit from a checkpoint; None, as many as one likes: it does not say,
    or this machine has fewer. Raises InputError if it is no checkpoint."""
    wanted = io.read_hdf5_attributes(path, "checkpoint").get("cores")
    return wanted if wanted is not None and wanted <= cores.available() else None


def check_cores(saved: Saved, path: Path) -> None:
    """Warn if another number of cores goes on than made the checkpoint."""
    if None not in (saved.cores, cores.number()) and saved.cores != cores.number():
        text = (
            f"{path} was made with {saved.cores} cores and this run has {cores.number()}: its result will differ by "
            f"rounding from an unbroken run's. For the same bits resume with --threads {saved.cores}."
        )
        warnings.warn(text, stacklevel=2)


def restored_memory(template: Any, leaves: list[np.ndarray], path: Path) -> Any:
    """An engine's memory from its leaves. template: what the engine's `init` would give. Raises InputError if not of
    the same shapes: written by another version."""
    expected, tree = jax.tree.flatten(template)
    if [np.shape(a) for a in expected] != [a.shape for a in leaves]:
        raise InputError(str(path), "must fit the engine's memory", len(leaves), "Start anew: the version differs.")
    return jax.tree.unflatten(
        tree, [jax.numpy.asarray(leaf, like.dtype) for leaf, like in zip(leaves, expected, strict=True)]
    )
