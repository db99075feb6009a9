"""`python -m benchmarks trials`: what a trial costs, beside an earlier version of the package.

Designs from the first points of the main study's search, with the margins of a fair field, are simulated,
reconstructed and scored by the package as it is and by an earlier one, which is taken from this repository's history.
The scans, doses and seeds are the same. The earlier one does 50 sweeps and scores the last; today's is scored along its
path, as the study asks. Each side works in a process of its own, on one core. Writes trials.csv and trials.md.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ptydesign.design.propose import initial_design
from ptydesign.experiment import scope
from ptydesign.experiment.checks import potential_shape
from ptydesign.experiment.config import StudyConfig
from ptydesign.experiment.trial import Trial, passed, scored_region_a
from ptydesign.simulate.potential import build_potential
from ptydesign.study.acquisition import at_point, to_experiment
from ptydesign.study.file import load_study

EARLIER = "b1ad017"
EARLIER_SWEEPS = 50
ROOT = Path(__file__).parents[1]
ROOM_PX = 400  # more than the earlier version's windows need beyond today's
PATIENCE = (1, 2, 3)
ONE_CORE = {
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"),
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
}


def designs(study: StudyConfig, number: int) -> list[dict[str, Any]]:
    """The first points of the search, the study's doses in turn: what a worker is told of each."""
    points = initial_design(scope.design_space(study), number, study.search.initial_design, study.seed)
    found = []
    for index, point in enumerate(points):
        config, dose = at_point(study.experiment, point), study.doses_e_per_a2[index % len(study.doses_e_per_a2)]
        seed = Trial(config, dose).seed(study)
        found.append({"point": point, "dose": dose, "seed": seed, "experiment": asdict(to_experiment(config, dose))})
    return found


def measure(study: StudyConfig, number: int) -> pd.DataFrame:
    """A row for each design and side."""
    given = designs(study, number)
    configs = [("", one["point"]) for one in given]
    shape = tuple(n + ROOM_PX for n in potential_shape(study.model_copy(update={"specimen_a": None}), configs))
    potential = build_potential(study.sample, study.potential, shape, study.seed)
    extent = potential.grid.extent_a
    engine = study.reconstruction.engines[-1].model_dump(mode="json", exclude_defaults=True)
    engine["engine"] = study.reconstruction.engines[-1].engine
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "potential.npy", potential.slices_va)
        archived = subprocess.run(["git", "archive", EARLIER, "ptydesign"], cwd=ROOT, capture_output=True, check=True)
        with tarfile.open(fileobj=io.BytesIO(archived.stdout)) as archive:
            archive.extractall(Path(folder) / "earlier", filter="data")
        for side, tree, sweeps, scored in (
            ("earlier", Path(folder) / "earlier", EARLIER_SWEEPS, [EARLIER_SWEEPS]),
            ("now", ROOT, study.reconstruction.sweeps, list(study.scored)),
        ):
            told = {
                "folder": folder,
                "pixel_a": list(potential.pixel_a),
                "thickness_a": list(map(float, potential.thickness_a)),
                "region": scored_region_a(study.experiment.field_of_view_a, extent),
                "score": study.score.model_dump(mode="json"),
                "plan": {"engines": [{**engine, "sweeps": sweeps}]},
                "scored": scored,
                "width": f"{study.objective.width_px:g}",
                "designs": given,
            }
            Path(folder, f"{side}.json").write_text(json.dumps(told))
            environment = {**os.environ, **ONE_CORE, "PYTHONPATH": str(tree)}
            worker = [sys.executable, str(ROOT / "benchmarks" / "trials_worker.py"), str(Path(folder, f"{side}.json"))]
            with subprocess.Popen(worker, cwd=tree, env=environment, stdout=subprocess.PIPE, text=True) as process:
                for line in process.stdout:
                    print(side, line.rstrip(), flush=True)
                    rows.append({"side": side, **json.loads(line)})
            if process.returncode:
                raise RuntimeError(f"the {side} side stopped with {process.returncode}")
    return pd.DataFrame(rows)


def markdown(rows: pd.DataFrame) -> str:
    """Core-seconds a trial on both sides, and what ending trials early would save and cost."""
    parts = ["simulate_s", "reconstruct_s", "score_s", "total_s"]
    rows = rows.assign(total_s=rows[["simulate_s", "reconstruct_s", "score_s"]].sum(axis=1))
    means = rows.groupby("side")[parts].mean()
    text = [
        f"Means over {rows['index'].nunique()} designs, in core-seconds a trial without compiling.",
        "",
        "| | simulation | reconstruction | scores | trial | compiling, all (s) | functions compiled |",
        "|---|---|---|---|---|---|---|",
    ]
    for side, name in (("earlier", f"{EARLIER}, {EARLIER_SWEEPS} sweeps"), ("now", "now, to the plan's end")):
        own = rows[rows["side"] == side]
        cells = [f"{means.loc[side, part]:.2f}" for part in parts]
        text.append(f"| {name} | {' | '.join(cells)} | {own['compile_s'].sum():.0f} | {own['compiled'].sum():.0f} |")
    ratio = means.loc["earlier"] / means.loc["now"]
    text += [f"| ratio | {' | '.join(f'{ratio[part]:.1f}' for part in parts)} | | |", ""]
    now = rows[rows["side"] == "now"].set_index("index")
    earlier = rows[rows["side"] == "earlier"].set_index("index")
    paths = [dict(path) for path in now["path"]]
    same = [pd.Series(dict(path)).max() - dict(other)[EARLIER_SWEEPS]
            for path, other in zip(now["path"], earlier.loc[now.index, "path"], strict=True)]  # fmt: skip
    text += [
        f"Best score now less the earlier score: {np.mean(same):+.4f} on average, {np.min(same):+.4f} at least.",
        "",
        "| a trial ends after | sweeps | core-seconds a trial | against the earlier one | score lost: mean, most |",
        "|---|---|---|---|---|",
    ]
    for patience in (None, *PATIENCE):
        done = [ended(path, patience) for path in paths]
        part = [last / max(path) for (last, _), path in zip(done, paths, strict=True)]
        lost = [max(path.values()) - best for (_, best), path in zip(done, paths, strict=True)]
        total = now["simulate_s"] + np.asarray(part) * (now["reconstruct_s"] + now["score_s"])
        name = "all sweeps" if patience is None else f"{patience} worse in a row"
        text.append(
            f"| {name} | {100 * np.mean(part):.0f} % | {total.mean():.2f} | "
            f"{means.loc['earlier', 'total_s'] / total.mean():.1f} times less | {np.mean(lost):.4f}, {max(lost):.4f} |"
        )
    return "\n".join(text) + "\n"


def ended(path: dict[int, float], patience: int | None) -> tuple[int, float]:
    """(last sweep, best value) of a path that ends by the rule."""
    values = list(path.values())
    last = next((n for n in range(1, len(values)) if passed(values[:n], patience)), len(values))
    return list(path)[last - 1], max(values[:last])


def run(out: Path, machine: str, number: int) -> None:
    """Measure and write."""
    study = load_study(ROOT / "studies" / "lowdose", "preview", StudyConfig)
    rows = measure(study, number)
    out.joinpath("trials.csv").write_text(rows.drop(columns="path").to_csv(index=False, float_format="%.5g"))
    out.joinpath("trials.md").write_text(f"Measured on {machine}.\n\n{markdown(rows)}")
