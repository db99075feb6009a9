"""Sane at low dose: settings that follow from the counts, the state that explains held-out patterns best, and whether a
run has got anywhere.

With few counts a reconstruction soon fits their noise: the loss falls on, and the error rises. Patterns that it hasn't
seen tell when.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

import jax
import numpy as np

from ptydesign.errors import InputError
from ptydesign.reconstruct.misfit import misfits
from ptydesign.reconstruct.paths import with_values
from ptydesign.reconstruct.pixels import Factor, pixels_of
from ptydesign.reconstruct.plan import Plan
from ptydesign.reconstruct.resample import resample_dataset
from ptydesign.reconstruct.scans import Scans, parts_of
from ptydesign.types import Dataset, Outcome, ReconState, blocks

FEW = 1.0  # counts of a bright pixel below which steps fit noise
LARGEST_GROUP = 1024
NEVER = 1_000_000  # a sweep that no reconstruction reaches
HELD_OUT, LEAST_POSITIONS = 0.05, 60
STILL = 1e-3  # part of its start by which a loss must fall at least
ABOVE, STUCK = "above_start", "no_progress"


def counts_per_bright_pixel(dataset: Dataset) -> float:
    """Mean counts of the pixels that hold the beam: sum m^2 / sum m of the mean pattern m."""
    mean = sum(np.sum(block, axis=0, dtype=np.float64) for block in blocks(dataset.patterns)) * dataset.mask
    mean = mean / len(dataset.patterns)
    return float(np.sum(mean**2) / max(np.sum(mean), 1e-30))


def for_counts(plan: Plan, dataset: Dataset) -> tuple[Plan, list[str]]:
    """The plan with what it leaves open as few counts want it, and a word for each change; as it is where there are
    more than FEW counts in a bright pixel.

    Few counts want the likelihood of counts, a start from single sideband, updates from all positions, which average
    their noise, and the probe as it is known: a probe that is refined takes up noise.
    """
    counts = counts_per_bright_pixel(dataset)
    if counts >= FEW or counts == 0:  # without any count there is nothing to reconstruct, which the engine says
        return plan, []
    wanted: dict[str, object] = {}
    if "method" not in plan.object.model_fields_set:
        wanted["object.method"] = "ssb"
    for number, engine in enumerate(plan.engines):
        open_ = {"noise": "poisson", "group": min(len(dataset.patterns), LARGEST_GROUP), "probe_start": NEVER}
        wanted |= {f"engines.{number}.{n}": v for n, v in open_.items() if n not in engine.model_fields_set}
    changed = with_values(plan.model_dump(mode="json", exclude_unset=True), wanted)
    words = [f"{path}: {'never' if value == NEVER else value}" for path, value in wanted.items()]
    return changed, words


def hold_out(dataset: Dataset, part: float, seed: int) -> tuple[Dataset, Dataset]:
    """(patterns to reconstruct, patterns held out), the second a random part of those inside the scan. Raises
    InputError if that leaves too few of either."""
    if not 0 < part < 0.5:
        raise InputError("heldout", "must be a part between 0 and 0.5", part, "Give 0.05, or 0 for none.")
    if isinstance(dataset, Scans):
        pairs = [hold_out(scan, part, seed) for scan in dataset.scans]
        return tuple(dataset.replaced(scans) for scans in zip(*pairs, strict=True))  # type: ignore[return-value]
    places = np.asarray(dataset.positions_a)
    inside = np.flatnonzero(np.all((places > places.min(axis=0)) & (places < places.max(axis=0)), axis=1))
    number = round(part * len(places))
    if number < 1 or number > len(inside) // 2:
        raise InputError("heldout", f"needs more than {len(places)} positions", part, "Give 0: no pattern is held out.")
    out = np.random.default_rng([seed, 0x686F6C64]).permutation(inside)[:number]
    chosen = np.zeros(len(places), bool)
    chosen[out] = True
    return tuple(  # type: ignore[return-value]
        dataclasses.replace(dataset, patterns=np.asarray(dataset.patterns)[kept], positions_a=places[kept])
        for kept in (~chosen, chosen)
    )


@dataclass
class Best:
    """An observer of `reconstruct` that keeps the state whose misfit of held-out patterns is least.

    nominal: what is reconstructed, as the plan corrects it; heldout likewise. noise, offset: of the misfit. window: of
    the waves, in windows of the detector. misfit:
    negative log-likelihood per electron, {sweep: value}. state: the best so far, NumPy; sweep: after which, 0 is the
    start, which counts if `look` was given it.
    """

    nominal: Dataset
    heldout: Dataset
    noise: str
    offset: float
    window: Factor = 1
    misfit: dict[int, float] = field(default_factory=dict)
    state: ReconState | None = None
    sweep: int = 0

    def __call__(self, sweep: int, loss: float, state: ReconState) -> None:
        self.look(sweep, state)

    def look(self, sweep: int, state: ReconState) -> None:
        """Judge the state after a sweep."""
        count = len(self.nominal.positions_a)
        kept = state.replace(positions_px=state.positions_px[:count], intensity=state.intensity[:count])
        if state.opr_weights is not None:
            kept = kept.replace(opr_weights=state.opr_weights[:count])
        if state.scan is not None:
            kept = kept.replace(scan=state.scan[:count])
        kept = jax.tree.map(np.array, kept)
        seen = resample_dataset(self.heldout, pixels_of(kept.probe.shape[-2:], self.window))
        electrons = float(np.sum(seen.patterns * seen.mask))
        values = misfits(kept, self._moved(kept, seen), self.noise, self.offset)
        found = float(values.sum()) / max(electrons, 1e-30)
        if self.state is None or found < min(self.misfit.values()):
            self.state, self.sweep = kept, sweep
        self.misfit[sweep] = found

    def history(self, sweeps: int) -> np.ndarray:
        """(sweep,) of the first `sweeps`; NaN where a run went on from a checkpoint."""
        return np.array([self.misfit.get(sweep + 1, np.nan) for sweep in range(sweeps)])

    def _moved(self, state: ReconState, seen: Dataset) -> Dataset:
        """Held-out patterns where the refined positions of each scan have them."""
        found, first, moved = state.positions_a, 0, []
        for told, scan in zip(parts_of(self.nominal), parts_of(seen), strict=True):
            count = len(told.positions_a)
            where = _mapped(told.positions_a, found[first : first + count], scan.positions_a)
            moved.append(dataclasses.replace(scan, positions_a=where))
            first += count
        return seen.replaced(moved) if isinstance(seen, Scans) else moved[0]


def _mapped(nominal: np.ndarray, found: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Places (n, 2) after the affine map from nominal positions to those that were found."""
    nominal = np.asarray(nominal)
    basis = np.column_stack([np.ones(len(nominal)), nominal])
    return np.column_stack([np.ones(len(places)), places]) @ np.linalg.lstsq(basis, found, rcond=None)[0]


def judged(outcome: Outcome, loss: np.ndarray) -> Outcome:
    """An outcome that says so if the loss (sweep,) ended above its start, or hardly below it."""
    if outcome.status == "diverged" or len(loss) < 2:
        return outcome
    first, last = float(loss[0]), float(loss[-1])
    if last > first:
        mend = "Larger groups, smaller steps or a probe that stays (probe_start) heed noise."
        reason = f"The loss ended above its start: {last:.4g} after {first:.4g}. {mend} {outcome.reason}"
        return dataclasses.replace(outcome, status=ABOVE, reason=reason)
    if first - last < STILL * abs(first):
        mend = "Is the calibration right? See `ptydesign calibrate`."
        part = (first - last) / abs(first)
        reason = f"No progress: the loss fell by {part:.2g} of its start. {mend} {outcome.reason}"
        return dataclasses.replace(outcome, status=STUCK, reason=reason)
    return outcome
