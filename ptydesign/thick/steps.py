"""Steps that all studies of thick samples share: the specimen with its potential, and chunks of simulated data."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ptydesign import api, io
from ptydesign.errors import InputError
from ptydesign.reconstruct.checkpoint import Checkpoints
from ptydesign.reconstruct.plan import Plan
from ptydesign.reconstruct.run import Observer
from ptydesign.simulate.potential import PotentialConfig, potential_of_atoms
from ptydesign.simulate.thick import build_specimen, free_places
from ptydesign.study.kind import Step, Which
from ptydesign.thick import data as chunks
from ptydesign.thick.experiment import optics_at_first_slice
from ptydesign.thick.resolve import ThickResolved
from ptydesign.types import Dataset, Potential, Reconstruction, Truth
from ptydesign.units import interaction_parameter

if TYPE_CHECKING:
    import ase

SPECIMEN_FILE = "specimen.h5"


def write_specimen(resolved: ThickResolved) -> Path:
    """Build the supercell and its potential: specimen.h5, a potential whose attributes hold the defects.

    `places`: (y, x) of all columns where an interstitial of the study could be, inside the scanned field.
    """
    study = resolved.study
    field = study.experiment.field_of_view_a
    specimen = build_specimen(study.sample, study.potential.slice_a, resolved.centre_a, field, study.seed)
    config = PotentialConfig(
        parametrization=study.potential.parametrization,
        pixel_a=resolved.grid.pixel_a[0],
        thermal=study.potential.thermal,
    )
    potential = potential_of_atoms(specimen.atoms, config, resolved.grid, study.seed, resolved.slices_a)
    attributes = {
        "defects": [asdict(defect) for defect in specimen.defects],
        "places": free_places(study.sample, resolved.centre_a, field).tolist(),
        "faces_a": [float(face) for face in specimen.faces_a],
        "thickness_a": float(resolved.shape.thickness_a),
        "columns": columns_of(specimen.atoms, resolved.centre_a, field),
        "atoms": len(specimen.atoms),
        "elements": {s: int(n) for s, n in specimen.atoms.symbols.formula.count().items()},
    }
    path = resolved.results / SPECIMEN_FILE
    io.write_potential(path, potential, attributes, resolved.place(SPECIMEN_FILE))
    return path


def columns_of(
    atoms: ase.Atoms, centre_a: tuple[float, float], field_a: tuple[float, float]
) -> dict[str, list[list[float]]]:
    """(y, x) of the columns of each of the crystal's elements in the scanned field: places where two or more of its
    atoms lie above each other."""
    found = {}
    for symbol in sorted(set(atoms.get_chemical_symbols())):
        places = atoms.positions[atoms.symbols == symbol][:, 1::-1]
        places = places[np.all(np.abs(places - centre_a) <= np.asarray(field_a) / 2, axis=1)]
        _, first, counts = np.unique(np.round(places / 0.05 + 0.123), axis=0, return_index=True, return_counts=True)
        found[symbol] = places[np.sort(first[counts > 1])].tolist()
    return found


def read_specimen(resolved: ThickResolved) -> tuple[Potential, dict[str, Any]]:
    """The potential and what is known of the specimen."""
    path, place = resolved.results / SPECIMEN_FILE, resolved.place(SPECIMEN_FILE)
    return io.read_potential(path, place), io.read_hdf5_attributes(path, "potential", place)


def truth_of(resolved: ThickResolved, potential: Potential) -> Truth:
    """The truth behind the data: phase of each slice, mean over thermal motion."""
    sigma = interaction_parameter(resolved.study.experiment.voltage_kv)
    phase = (sigma * potential.slices_va.mean(axis=0)).astype(np.float32)
    return Truth(phase, potential.pixel_a, np.empty((0, 2)), np.asarray(potential.thickness_a))


def simulate(resolved: ThickResolved, data: str, chunk: int) -> Path:
    """Simulate one chunk of an experiment's data."""
    experiment, window = resolved.experiments[data], resolved.windows[data]
    potential, _ = read_specimen(resolved)
    part = resolved.part(data, chunk)
    seed = resolved.positions_seed(data)
    mean = chunks.simulate_chunk(potential, experiment, window, resolved.centre_a, seed, resolved.study.simulator, part)
    file = f"data/{data}/chunk-{chunk}.h5"
    path = resolved.results / file
    chunks.write_chunk(path, mean, part, experiment, window, resolved.place(file))
    return path


def load_dataset(resolved: ThickResolved, name: str, slice_a: float) -> Dataset:
    """Counts of an experiment, with the optics where the first of the reconstruction's slices of slice_a lies."""
    experiment = resolved.experiments[name]
    paths = {resolved.results / file: resolved.place(file) for file in resolved.chunk_files(name)}
    patterns = chunks.read_chunks(paths, chunks.pattern_count(experiment))
    optics = optics_at_first_slice(experiment, slice_a, float(resolved.slices_a[0]))
    seeds = resolved.positions_seed(name), resolved.noise_seed(name)
    return chunks.assemble(patterns, experiment, optics, resolved.centre_a, *seeds)


def resumed(
    dataset: Dataset, plan: Plan, seed: int, path: Path, every: int, observers: Sequence[Observer] = ()
) -> Reconstruction:
    """A reconstruction with a checkpoint beside `path` after every so many sweeps; it goes on from one that is there.

    A checkpoint of other data, of another plan or one that is damaged is removed, with a word.
    """
    checkpoint = path.with_suffix(".checkpoint.h5")
    path.parent.mkdir(parents=True, exist_ok=True)
    options = {"progress": True, "observers": observers, "checkpoints": Checkpoints(checkpoint, every)}
    if checkpoint.exists():
        try:
            return api.reconstruct_dataset(dataset, plan, seed, resume=checkpoint, **options)
        except InputError as error:
            print(f"warning: begins anew without its checkpoint: {error}", file=sys.stderr)
            checkpoint.unlink(missing_ok=True)
    return api.reconstruct_dataset(dataset, plan, seed, **options)


def _chunks(resolved: ThickResolved) -> list[Which]:
    return [{"data": name, "chunk": n} for name in resolved.data_names for n in range(resolved.chunks(name))]


def _specimen(resolved: ThickResolved) -> dict[str, Any]:
    return resolved.specimen_settings()


def _simulated(resolved: ThickResolved, data: str, chunk: int) -> dict[str, Any]:
    return resolved.data_settings(data)


SPECIMEN = Step(
    "specimen",
    "Build a thick sample with its defects, and its potential.",
    "ptydesign.thick.steps:write_specimen",
    (SPECIMEN_FILE,),
    depends=_specimen,
    memory="simulation",
)
SIMULATE = Step(
    "simulate",
    "Simulate one chunk of an experiment's patterns.",
    "ptydesign.thick.steps:simulate",
    ("data/{data}/chunk-{chunk}.h5",),
    each=_chunks,
    needs=(SPECIMEN_FILE,),
    depends=_simulated,
    memory="simulation",
    priority=10,
    jax=True,
)
