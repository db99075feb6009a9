"""Peak memory of a reconstruction, each in a process of its own: what it takes beyond the dataset and the libraries."""

from __future__ import annotations

import math
import resource
import subprocess
import sys

import numpy as np
import pandas as pd

ENGINES = ("gradient", "lsqml", "epie", "raar", "difference_map")
POSITIONS, SHAPE, PIXEL_A = 1024, (128, 128), 0.2
CHUNKED, MORE, CHUNK_MIB = ("gradient", "lsqml", "epie"), 4 * POSITIONS, 8
MIB = 2**20


def peak_mib() -> float:
    """Largest resident memory of this process so far, in MiB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MIB


def of_engine(engine: str, cores: int, positions: int = POSITIONS, chunk_mib: float = math.inf) -> float:
    """MiB that two sweeps over so many patterns of noise add to a process that has the dataset."""
    from ptydesign.config import build
    from ptydesign.reconstruct.cores import use_cores
    from ptydesign.reconstruct.plan import Plan
    from ptydesign.reconstruct.run import reconstruct
    from ptydesign.types import Dataset, Grid, Optics

    use_cores(cores)
    rng = np.random.default_rng(0)
    patterns = np.empty((positions, *SHAPE), np.float32)
    for pattern in patterns:  # one by one: no larger array before the peak is read
        pattern[:] = rng.poisson(20, SHAPE)
    side = int(np.sqrt(positions))
    scan = np.stack(np.meshgrid(*(np.arange(side) * 0.6,) * 2, indexing="ij"), -1).reshape(-1, 2) + 30.0
    dataset = Dataset(patterns, scan, Grid(SHAPE, (PIXEL_A,) * 2), 200.0, np.ones(SHAPE), Optics(200.0, 0.025, 110.0))
    before = peak_mib()
    plan = build(Plan, {"engines": [{"engine": engine, "sweeps": 2, "group": 64}]}, "plan")
    reconstruct(dataset, plan, chunk_gib=chunk_mib / 1024)
    return peak_mib() - before


def measure(cores: int) -> pd.DataFrame:
    """One row for each engine, on one core and on so many; then with chunks, for a measurement and a larger one."""
    cases = [(engine, number, POSITIONS, math.inf) for number in sorted({1, cores}) for engine in ENGINES]
    cases += [(engine, cores, size, CHUNK_MIB) for engine in CHUNKED for size in (POSITIONS, MORE)]
    rows = []
    for engine, number, size, chunk_mib in cases:
        call = f"of_engine({engine!r}, {number}, {size}, float('{chunk_mib}'))"
        code = f"from benchmarks.memory import of_engine; print({call})"
        found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
        row = {"engine": engine, "cores": number, "patterns": size, "chunk_mib": chunk_mib}
        rows.append({**row, "mib": float(found.split()[-1])})
        print(f"{call}: {rows[-1]['mib']:.0f} MiB", flush=True)
    return pd.DataFrame(rows)


def markdown(table: pd.DataFrame) -> str:
    """The table for the documentation."""
    one = SHAPE[0] * SHAPE[1] * 4 / MIB
    head = "| engine | cores | patterns (MiB, single precision) | chunk (MiB) | peak beyond the dataset (MiB) |\n"
    lines = [
        f"| {row.engine} | {row.cores} | {row.patterns} ({one * row.patterns:.0f}) | "
        f"{'none' if math.isinf(row.chunk_mib) else format(row.chunk_mib, 'g')} | {row.mib:.0f} |"
        for row in table.itertuples()
    ]
    return head + "|---|---|---|---|---|\n" + "\n".join(lines) + "\n"
