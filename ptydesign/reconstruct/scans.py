"""Several scans that share one object: two defoci, two dwell times. Each has its own probe, dose and positions.

A scan's probe is an array (mode, y, x) of its own, so that a state of several has probes (scan, mode, y, x) and knows
the scan of each position. Groups mix the scans: object and probes are updated from all of them together. The detector
must be the same, and the regions must overlap: what the scans have in common is the object.

Nothing but the overlap says how the scans lie to each other. A later scan's shift against the first is known as well as
the stage is; `refine_shift` takes one damped step of Fisher scoring a sweep (`fisher`), from a sample of its patterns.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int32

from ptydesign import io
from ptydesign.errors import InputError
from ptydesign.types import Dataset, blocks

SAME = 1e-4  # relative difference of what two scans must have in common
MOST = 16


@dataclass(frozen=True)
class Scans(Dataset):
    """Several datasets of one object as one, whose patterns and positions follow each other; see `join_scans`.

    scans: the datasets; their patterns are parts of `patterns`. mask: (ky, kx), good in all of them. The optics and the
    guess of the probe are each scan's own, and None here; `background` is (scan, ky, kx), or None.
    """

    scans: tuple[Dataset, ...] = ()

    def __post_init__(self) -> None:
        # each scan has been checked when it was made
        if sum(len(scan.patterns) for scan in self.scans) != len(self.patterns):
            raise InputError("dataset", "must be changed scan by scan", type(self).__name__, "Use `each`.")

    @property
    def scan(self) -> Int32[np.ndarray, " position"]:
        """(position,) the number of each position's scan: 0, 1, ..."""
        return np.repeat(np.arange(len(self.scans), dtype=np.int32), [len(scan.patterns) for scan in self.scans])

    def each(self, change: Callable[[Dataset], Dataset]) -> Scans:
        """With each scan changed."""
        return self.replaced([change(scan) for scan in self.scans])

    def replaced(self, scans: Sequence[Dataset]) -> Scans:
        """With other scans. Patterns that are the same are not copied."""
        kept = all(new.patterns is old.patterns for new, old in zip(scans, self.scans, strict=True))
        return _joined(scans, self.patterns if kept else None)


def parts_of(dataset: Dataset) -> tuple[Dataset, ...]:
    """The scans of a dataset; itself if it is one."""
    return dataset.scans if isinstance(dataset, Scans) else (dataset,)


def numbers_of(dataset: Dataset) -> Int32[np.ndarray, " position"] | None:
    """(position,) the number of each position's scan; None of a single scan."""
    return dataset.scan if isinstance(dataset, Scans) else None


def each_scan(change: Callable[[Dataset], Dataset], dataset: Dataset) -> Dataset:
    """A dataset after a change of each of its scans."""
    return dataset.each(change) if isinstance(dataset, Scans) else change(dataset)


def join_scans(datasets: Sequence[Dataset], names: Sequence[str] = ()) -> Dataset:
    """Datasets of one object as one, to be reconstructed together; a single one stays as it is.

    names: what errors call them. Raises InputError for different voltages, patterns of different shape or pixel, or a
    dataset that is there twice.
    """
    if not datasets:
        raise InputError("data", "must be one dataset or more", 0, "Give one.")
    first, names = datasets[0], names or [f"scan {number + 1}" for number in range(len(datasets))]
    if len(datasets) > MOST:
        raise InputError("data", f"must be at most {MOST} scans", len(datasets), "Join fewer.")
    for number, other in enumerate(datasets[1:], 1):
        place = names[number]
        if other.grid.shape != first.grid.shape:
            rule = f"must have patterns of the first scan's {first.grid.shape} pixels"
            mend = "Crop or bin it as the first when you import it."
            raise InputError(f"{place}: patterns", rule, other.grid.shape, mend)
        if not np.allclose(other.grid.pixel_a, first.grid.pixel_a, rtol=SAME, atol=0):
            rule = f"must be the first scan's, {first.grid.pixel_a} A: one camera length, one binning"
            raise InputError(f"{place}: pixel_a", rule, other.grid.pixel_a, "Import both with one calibration.")
        if not np.isclose(other.voltage_kv, first.voltage_kv, rtol=SAME, atol=0):
            rule = f"must be the first scan's, {first.voltage_kv:g}"
            raise InputError(f"{place}: voltage_kv", rule, other.voltage_kv, "Correct the calibration that is wrong.")
        for one, name in zip(datasets[:number], names, strict=False):
            if _same(one, other):
                mend = "Give each measurement once: twice the same counts are no more knowledge."
                raise InputError(f"{place}: patterns", f"must not be those of {name}", "the same", mend)
    return first if len(datasets) == 1 else _joined(datasets, None)


def _same(one: Dataset, other: Dataset) -> bool:
    """Whether both hold the same counts."""
    if one.patterns.shape != other.patterns.shape:
        return False
    pairs = zip(blocks(one.patterns), blocks(other.patterns), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


def _joined(datasets: Sequence[Dataset], patterns: np.ndarray | None) -> Scans:
    """patterns: of all, where they are in one array already."""
    counts = [len(dataset.patterns) for dataset in datasets]
    if patterns is None:
        kind = np.result_type(*(dataset.patterns.dtype for dataset in datasets))
        shape = (sum(counts), *datasets[0].grid.shape)
        stored = any(isinstance(dataset.patterns, np.memmap) for dataset in datasets)
        patterns = io.temporary_array(shape, kind) if stored else np.empty(shape, kind)
        place = 0
        for dataset in datasets:
            for block in blocks(dataset.patterns):
                patterns[place : place + len(block)] = block
                place += len(block)
    ends = np.cumsum(counts)
    own = [patterns[end - count : end] for count, end in zip(counts, ends, strict=True)]
    given = [dataset.electrons_per_pattern for dataset in datasets]
    known = any(dataset.background is not None for dataset in datasets)
    shape = datasets[0].grid.shape
    return Scans(
        patterns=patterns,
        positions_a=np.concatenate([dataset.positions_a for dataset in datasets]),
        grid=datasets[0].grid,
        voltage_kv=datasets[0].voltage_kv,
        mask=np.prod([np.asarray(dataset.mask) for dataset in datasets], axis=0),
        electrons_per_pattern=None if None in given else float(np.average(given, weights=counts)),
        background=np.stack([_background(dataset, shape) for dataset in datasets]) if known else None,
        provenance={"scans": [dataset.provenance for dataset in datasets]},
        mtf_nyquist=datasets[0].mtf_nyquist,
        scans=tuple(_with_patterns(dataset, part) for dataset, part in zip(datasets, own, strict=True)),
    )


def _with_patterns(dataset: Dataset, patterns: np.ndarray) -> Dataset:
    """The dataset with its patterns at another place, without a look at all of them."""
    made = object.__new__(type(dataset))
    for field in dataclasses.fields(dataset):
        object.__setattr__(made, field.name, patterns if field.name == "patterns" else getattr(dataset, field.name))
    return made


def _background(dataset: Dataset, shape: tuple[int, int]) -> np.ndarray:
    return np.zeros(shape) if dataset.background is None else np.asarray(dataset.background)


def check_overlap(dataset: Scans) -> None:
    """Raises InputError for a scan whose region, by its nominal positions, no earlier one overlaps."""
    corners = [(scan.positions_a.min(axis=0), scan.positions_a.max(axis=0)) for scan in dataset.scans]
    for number in range(1, len(corners)):
        low, high = corners[number]
        if not any(np.all((low <= top) & (high >= bottom)) for bottom, top in corners[:number]):
            value = f"{low.round(1).tolist()} to {high.round(1).tolist()}"
            first = f"{corners[0][0].round(1).tolist()} to {corners[0][1].round(1).tolist()}"
            raise InputError(
                f"scan {number + 1}: positions_a",
                f"must overlap an earlier scan's, as the first's {first} (y, x) in A",
                value,
                "Say how it is shifted: `scans: [{shift_y_a: ..., shift_x_a: ...}]` in the plan.",
            )
