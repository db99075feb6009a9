"""Simulated data in chunks on disk: mean patterns first, counts when they are put together.

A chunk holds mean patterns (fractions of the incident electrons) of consecutive scan positions. It is written whole or
not at all, so a killed study goes on with the chunks that are missing; doses share chunks, since only the counting
differs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ptydesign import __version__, io
from ptydesign.errors import InputError
from ptydesign.simulate.dataset import SIMULATORS, content_of
from ptydesign.simulate.detector import blurred, readout
from ptydesign.simulate.scan import raster, raster_shape, true_positions
from ptydesign.simulate.window import Window
from ptydesign.types import Dataset, Experiment, Optics, Potential

KIND = "patterns"


def pattern_count(experiment: Experiment) -> int:
    """Number of scan positions."""
    rows, columns = raster_shape(experiment.scan)
    return rows * columns


def chunk_count(experiment: Experiment, size: int) -> int:
    """Number of chunks of at most `size` patterns."""
    return math.ceil(pattern_count(experiment) / size)


def positions(experiment: Experiment, centre_a: tuple[float, float], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Nominal and true positions (position, 2); the true ones depend on the seed alone, not on chunks."""
    nominal = raster(experiment.scan, centre_a)
    return nominal, true_positions(experiment.scan, nominal, np.random.default_rng([seed, 0]))


def simulate_chunk(
    potential: Potential,
    experiment: Experiment,
    window: Window,
    centre_a: tuple[float, float],
    seed: int,
    simulator: str,
    part: slice,
) -> np.ndarray:
    """Mean patterns (position, ky, kx) of some of the positions, with what blurs them, float32."""
    _, true = positions(experiment, centre_a, seed)
    mean = SIMULATORS[simulator](potential, experiment, true[part], window, periodic=True)
    return blurred(mean, experiment)


def write_chunk(
    path: Path, mean: np.ndarray, part: slice, experiment: Experiment, window: Window, of: str = ""
) -> None:
    """Write a chunk; see the module's text. of: which file of a study it is."""
    attributes = {
        "first": part.start,
        "experiment": content_of(experiment),
        "window_px": list(window.grid.shape),
        "window_pixel_a": list(window.grid.pixel_a),
    }
    arrays = {"mean": io.Array(mean, "fraction of incident electrons", "position,ky,kx")}
    io.write_hdf5(path, KIND, arrays, attributes, of)


def read_chunks(paths: Mapping[Path, str | None], count: int) -> list[np.ndarray]:
    """Mean patterns of all chunks in order. paths: with what each must say that it is (None: anything). Raises
    InputError if they don't follow each other or aren't `count`."""
    chunks, following = [], 0
    for path, place in paths.items():
        arrays, attributes = io.read_hdf5(path, KIND, ("mean",), ("mean",), of=place)
        if attributes["first"] != following:
            mend = "Delete it; the study's command makes it anew."
            raise InputError(str(path), f"must begin with pattern {following}", attributes["first"], mend)
        chunks.append(arrays["mean"])
        following += len(arrays["mean"])
    if following != count:
        raise InputError("chunks", f"must hold {count} patterns together", following, "Make the missing ones.")
    return chunks


def assemble(
    chunks: Sequence[np.ndarray],
    experiment: Experiment,
    optics: Optics,
    centre_a: tuple[float, float],
    seed: int,
    noise_seed: int,
) -> Dataset:
    """The dataset of an experiment: Poisson counts of the chunks' mean patterns at the experiment's dose.

    optics: what the reconstruction is told. seed: of the positions, as in `simulate_chunk`; noise_seed: of the counts,
    an independent stream for each chunk.
    """
    background = experiment.detector.background_e_per_px
    counts = [
        readout(mean, experiment.electrons_per_pattern, background, np.random.default_rng([noise_seed, 1, number]))
        for number, mean in enumerate(chunks)
    ]
    shape = experiment.detector.pixels
    return Dataset(
        patterns=np.concatenate(counts),
        positions_a=positions(experiment, centre_a, seed)[0],
        grid=experiment.detector.grid,
        voltage_kv=experiment.optics.voltage_kv,
        mask=np.ones(shape, np.float32),
        optics=optics,
        electrons_per_pattern=experiment.electrons_per_pattern,
        background=np.full(shape, background, np.float32) if background else None,
        provenance={"ptydesign": __version__, "noise_seed": noise_seed, "experiment": content_of(experiment)},
    )


def subset(dataset: Dataset, keep: np.ndarray) -> Dataset:
    """The patterns and positions of `keep` (indices or booleans)."""
    from dataclasses import replace

    return replace(dataset, patterns=dataset.patterns[keep], positions_a=dataset.positions_a[keep])
