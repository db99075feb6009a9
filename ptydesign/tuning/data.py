"""The data of a tuning study: two independent scans of the same area, and patterns kept from both reconstructions.

The truth of a simulation goes to a file of its own, which only the scorer opens.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ptydesign import io, units
from ptydesign.errors import InputError
from ptydesign.reconstruct.split import SPLITS
from ptydesign.study.acquisition import ExperimentConfig, to_experiment
from ptydesign.study.records import place_of, read_record
from ptydesign.study.store import seed_of
from ptydesign.tuning import scope
from ptydesign.tuning.config import OneFile, SimulatedData
from ptydesign.types import Dataset, Experiment, Truth

LEAST_POSITIONS = 16
TRUTH = "truth.h5"


@dataclass(frozen=True)
class Pair:
    """Two scans, the patterns held out of each, and where the truth lies (None for measured data) and what it says that
    it is."""

    scans: tuple[Dataset, Dataset]
    heldout: tuple[Dataset, Dataset]
    digest: str
    truth: Path | None
    truth_of: str | None = None

    def read_truth(self) -> Truth | None:
        """For the scorer."""
        return None if self.truth is None else io.read_truth(self.truth, self.truth_of)


def second_experiment(data: SimulatedData) -> ExperimentConfig:
    """The experiment of the second scan. Raises InputError naming `data.second.<field>`."""
    from ptydesign.config import build

    try:
        return build(ExperimentConfig, {**data.experiment.model_dump(mode="json"), **data.second}, "data.second")
    except InputError as error:
        field = error.field.replace("data.second: ", "data.second.")
        raise InputError(field, error.rule, error.value, error.mend) from None


def experiments(data: SimulatedData) -> tuple[Experiment, Experiment]:
    """Both scans' experiments at the search's dose."""
    return tuple(to_experiment(c, data.dose_e_per_a2, margin=False) for c in (data.experiment, second_experiment(data)))  # type: ignore[return-value]


def scan(resolved: Any, repeat: int) -> Path:
    """Make one repeat of the data: simulate it at all its doses, or take it from the study's files; hold patterns
    out.
    """
    study, results = resolved.study, resolved.results
    entries = {}
    if isinstance(study.data, SimulatedData):
        pairs = _simulated(resolved, repeat)
    else:
        pairs = {scope.MEASURED: (*_measured(resolved), None)}
    for name, (first, second, truth) in pairs.items():
        folder = f"data/{name}"
        seed = seed_of(study.seed, "heldout", repeat)
        content, hashes = hashlib.sha256(), {}
        for word, dataset, number in (("first", first, 0), ("second", second, 1)):
            kept, out = hold_out(dataset, study.agreement.heldout, seed + number)
            for file, one in ((f"{folder}/{word}.h5", kept), (f"{folder}/{word}-heldout.h5", out)):
                io.write_dataset(results / file, one, resolved.place(file))
                hashes[Path(file).name] = io.written_hash(results / file)
            for array in (kept.patterns, kept.positions_a, out.patterns, out.positions_a, kept.mask):
                content.update(np.ascontiguousarray(array).tobytes())
            if kept.probe_guess is not None:
                content.update(np.ascontiguousarray(kept.probe_guess).tobytes())
            content.update(repr((kept.optics, kept.grid, kept.voltage_kv)).encode())
        if truth is not None:
            file = f"{folder}/{TRUTH}"
            io.write_truth(results / file, truth, resolved.place(file))
            hashes[TRUTH] = io.written_hash(results / file)
            content.update(np.ascontiguousarray(truth.phase_rad).tobytes())
        counts = float(np.mean(np.sum(first.patterns, axis=(1, 2))))
        entries[name] = {"digest": content.hexdigest()[:32], "positions": len(first.positions_a), "counts": counts}
        entries[name] |= {"truth": truth is not None, "files": hashes}
    return resolved.write_json(scope.DATA.format(repeat=repeat), entries)


def read_pair(results: Path, repeat: int, name: str) -> Pair:
    """A pair of scans that `scan` made. Raises InputError."""
    record = scope.DATA.format(repeat=repeat)
    entries: Mapping[str, Any] = read_record(results, record)
    again = f"Delete {results / record} and run the study's snakemake command again."

    def place(file: str) -> tuple[Path, str]:
        """Where a file of the pair lies and what it must say that it is, if it is the one that was written with the
        record."""
        path = results / f"data/{name}/{file}"
        if (found := io.written_hash(path)) != entries[name]["files"].get(file):
            raise InputError(str(path), f"must be what was made with {record}", found, again)
        return path, place_of(results, f"data/{name}/{file}")

    def read(file: str) -> Dataset:
        try:
            path, of = place(file)
            return io.read_dataset(path, of=of)
        except InputError as error:
            raise InputError(error.field, error.rule, error.value, again) from None

    kept, out = (tuple(read(f"{word}{end}.h5") for word in ("first", "second")) for end in ("", "-heldout"))
    truth = place(TRUTH) if entries[name]["truth"] else (None, None)
    return Pair(kept, out, entries[name]["digest"], *truth)  # type: ignore[arg-type]


def hold_out(dataset: Dataset, part: float, seed: int) -> tuple[Dataset, Dataset]:
    """(kept, held out): a part of the positions, drawn at random, at least one. Raises InputError if too few are
    left.
    """
    count = len(dataset.positions_a)
    number = max(1, round(part * count))
    if count - number < LEAST_POSITIONS:
        rule = f"must leave {LEAST_POSITIONS} positions or more to each reconstruction"
        raise InputError("agreement.heldout", rule, f"{number} of {count}", "Scan more positions, or hold out fewer.")
    out = np.zeros(count, bool)
    out[np.random.default_rng([seed, 0x686F6C64]).choice(count, number, replace=False)] = True
    return tuple(  # type: ignore[return-value]
        replace(dataset, patterns=dataset.patterns[which], positions_a=dataset.positions_a[which])
        for which in (~out, out)
    )


def _simulated(resolved: Any, repeat: int) -> dict[str, tuple[Dataset, Dataset, Truth]]:
    from ptydesign.simulate.dataset import simulate_doses
    from ptydesign.simulate.potential import cached_potential
    from ptydesign.study.store import cache_folder

    study = resolved.study
    cache = cache_folder(resolved.root)
    potential, _ = cached_potential(study.data.sample, study.data.potential, resolved.shape, study.seed, cache)
    doses = scope.doses_of(study, repeat)
    found = []
    for number, experiment in enumerate(experiments(study.data)):
        seed = seed_of(study.seed, "scan", repeat, number)
        found.append(simulate_doses(potential, experiment, doses, seed))
    names = [scope.data_name(study, repeat, dose) for dose in doses]
    return {
        name: (told(first, study.data), told(second, study.data), truth)
        for name, (first, truth), (second, _) in zip(names, *found, strict=True)
    }


def told(dataset: Dataset, data: SimulatedData) -> Dataset:
    """What the operator of the microscope knows: nominal positions and optics, and nothing of a background."""
    optics = dataset.optics
    changes = {}
    if data.nominal.defocus_nm is not None:
        changes["defocus_a"] = data.nominal.defocus_nm * units.NM
    if data.nominal.semiangle_mrad is not None:
        changes["semiangle_rad"] = data.nominal.semiangle_mrad * units.MRAD
    changes |= dict.fromkeys(("astigmatism_a", "astigmatism_angle_rad", "coma_a", "coma_angle_rad"), 0.0)
    return replace(dataset, optics=replace(optics, **changes), background=None)


def _measured(resolved: Any) -> tuple[Dataset, Dataset]:
    data, seed = resolved.study.data, seed_of(resolved.study.seed, "halves")
    if isinstance(data, OneFile):
        return SPLITS[data.split](io.read_dataset(data.file), seed)
    first, second = io.read_dataset(data.first), io.read_dataset(data.second)
    if first.grid != second.grid or first.voltage_kv != second.voltage_kv:
        got = [(d.grid, d.voltage_kv) for d in (first, second)]
        raise InputError("data.second", "must have the pixels and voltage of data.first", got, "Import both alike.")
    return first, second
