"""`python -m benchmarks.methods`: which search finds the best design, at equal cost?

Real searches take minutes each; these run on models of a finished study's own trials (results/lowdose): at each dose
the Gaussian process of all its trials is taken for the truth, and the spread of repeated draws for the noise. Every
method has as many trials as the study, its contenders and draws; a method with fewer points in batches has more of them
one by one. So its true loss is known: how far the design that it recommends lies below the best of the whole space.
Writes docs/results/lowdose/methods.csv and .md.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import os
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ptydesign import kinds
from ptydesign.design.propose import initial_design, propose
from ptydesign.design.settings import Observation, SearchConfig
from ptydesign.design.surrogate import Surrogate, contenders, surrogate
from ptydesign.experiment import scope
from ptydesign.experiment.refine import refine
from ptydesign.experiment.resolve import Resolved
from ptydesign.experiment.search import observations
from ptydesign.experiment.trial import objective_value
from ptydesign.study.decide import decide
from ptydesign.study.file import dose_name
from ptydesign.study.store import seed_of

RESULTS = Path("docs/results/lowdose")
SMOOTH = 2.5  # nu of the models that are taken for the truth
METHODS: dict[str, dict[str, Any]] = {
    "GP-Hedge, nu 1": {},
    "GP-Hedge, nu 2.5": {"kernel": {"nu": 2.5}},
    "EI, nu 1": {"acquisition": "EI"},
    "EI, nu 2.5": {"acquisition": "EI", "kernel": {"nu": 2.5}},
    "LCB, nu 2.5": {"acquisition": "LCB", "kernel": {"nu": 2.5}},
    "TPE (Optuna)": {"method": "optuna", "sampler": "tpe"},
    "random": {"method": "random"},
    "8 in batches": {"points": 8},
    "none in batches": {"points": 0},
    "8 first, none in batches": {"initial": 8, "points": 0},
}
DECIDED, MODEL, BEST_TRIAL = "decided", "model's optimum", "best trial"


@dataclass(frozen=True)
class World:
    """What is taken for the truth. truth: a model of the trials of each dose. noise: standard deviation of a trial.
    best: the greatest value of the whole space."""

    truth: Mapping[float, Surrogate]
    noise: Mapping[float, float]
    best: Mapping[float, float]

    def value(self, dose: float, point: Mapping[str, Any]) -> float:
        """The true value of a point."""
        return float(self.truth[dose].predict([point])[0][0])

    def trial(self, dose: float, point: Mapping[str, Any], seed: int) -> float:
        """A trial of it, with noise."""
        return self.value(dose, point) + self.noise[dose] * float(np.random.default_rng(seed).standard_normal())


def world(resolved: Resolved, doses: list[float]) -> World:
    """From the trials of a finished study."""
    study = resolved.study
    space = scope.design_space(study)
    tried: dict[float, list[Observation]] = {dose: [] for dose in doses}
    for search in scope.searches(study).values():
        if search.dose_e_per_a2 in tried and search.kind in (scope.BO, scope.RANDOM):
            for number in range(len(search.sizes)):
                tried[search.dose_e_per_a2] += observations(resolved, search, number)
    noise = {}
    for dose in doses:
        decision = resolved.read_json(scope.DECISION.format(dose=dose_name(dose)))
        rows = decision["contenders"]
        one_by_one = ((r["point"], objective_value(study, r), r["reason"]) for r in decision[scope.REFINED])
        tried[dose] += [Observation(*record) for record in one_by_one]
        # their means are the best known values: an observation for each draw
        tried[dose] += [Observation(row["point"], value) for row in rows for value in row["values"].values()]
        spreads = [np.var(list(row["values"].values()), ddof=1) for row in rows if len(row["values"]) > 1]
        noise[dose] = float(np.sqrt(np.mean(spreads)))
    config = SearchConfig(kernel={"nu": SMOOTH})
    truth = {dose: surrogate(space, config, tried[dose], study.seed) for dose in doses}
    return World(truth, noise, {dose: model.best()[1] for dose, model in truth.items()})


def search(resolved: Resolved, made: World, changes: Mapping[str, Any], seed: int) -> list[dict[str, Any]]:
    """One row for each dose and each way to take a design: its loss."""
    study = resolved.study
    config = SearchConfig(**study.search.model_dump() | changes)
    space, doses = scope.design_space(study), list(made.truth)
    tried = {dose: _searched(space, config, study, seed, dose, made) for dose in doses}
    more = study.search.initial + study.search.points - config.initial - config.points
    decision = study.decision.model_copy(update={"refine": study.decision.refine + more})
    own = study.model_copy(update={"search": config, "decision": decision, "seed": seed})
    models = {dose: surrogate(space, config, seen, seed) for dose, seen in tried.items()}
    found = {dose: contenders(model, study.decision.contenders) for dose, model in models.items()}
    rows = []
    for dose in doses:
        count = itertools.count()

        def attempt(point: Mapping[str, Any], _: str, dose: float = dose, count: Any = count) -> Observation:
            return Observation(point, made.trial(dose, point, seed_of(seed, dose, next(count), "refine")))

        points = refine(own, tried, dose, found, attempt).contenders
        taken = {
            DECIDED: points[_decided(study, made, dose, points, seed)],
            MODEL: found[dose][0],
            BEST_TRIAL: max(tried[dose], key=lambda one: one.value).point,
        }
        rows += [
            {"dose_e_per_a2": dose, "seed": seed, "taken": how, "loss": made.best[dose] - made.value(dose, point)}
            for how, point in taken.items()
        ]
    return rows


def _searched(space: Any, config: SearchConfig, study: Any, seed: int, dose: float, made: World) -> list[Observation]:
    """The trials of one search."""

    def tried(points: list[dict[str, Any]]) -> list[Observation]:
        return [Observation(point, made.trial(dose, point, seed_of(seed, dose, point))) for point in points]

    rounds = [tried(initial_design(space, config.initial, config.initial_design, seed))]
    state = None
    left = config.points
    while left > 0:
        size = min(config.batch, left)
        points, state = propose(space, config, rounds, size, seed_of(seed, "propose", dose), state)
        rounds.append(tried(points))
        left -= size
    return [one for each in rounds for one in each]


def _decided(study: Any, made: World, dose: float, points: list[dict[str, Any]], seed: int) -> int:
    """Place of the winner by draws."""
    if len(points) == 1:
        return 0
    drawn: list[dict[int, float]] = [{} for _ in points]

    def draw(place: int, number: int) -> None:
        drawn[place][number] = made.trial(dose, points[place], seed_of(seed, dose, place, number, "draw"))

    return decide(draw, lambda: drawn, len(points), study.decision)[1].leader


def markdown(table: pd.DataFrame) -> str:
    """Mean, spread and worst of the losses, one row for each method and way."""
    doses = sorted(table["dose_e_per_a2"].unique())
    head = ["method", "taken", *(f"{dose:,g} e/A^2" for dose in doses)]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for (method, how), group in table.groupby(["method", "taken"], sort=False):
        cells = []
        for dose in doses:
            loss = group.loc[group["dose_e_per_a2"] == dose, "loss"]
            error = loss.std(ddof=1) / np.sqrt(len(loss))
            cells.append(f"{loss.mean():.4f} +- {error:.4f} ({loss.std(ddof=1):.4f}, {loss.max():.3f})")
        lines.append(f"| {method} | {how} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def run(job: tuple[Path, list[float], str, int]) -> list[dict[str, Any]]:
    """The rows of one method and seed."""
    place, doses, method, seed = job
    resolved = kinds.open_study(place / "studies/lowdose", "preview", place / "results").resolved
    return [{"method": method, **row} for row in search(resolved, world(resolved, doses), METHODS[method], seed)]


def main() -> None:
    """Search and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.methods", description=__doc__)
    parser.add_argument("--place", type=Path, default=Path(), help="folder with studies/ and results/ (default: here)")
    parser.add_argument("--seeds", type=int, default=8, help="(default: 8)")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS), help="(default: all)")
    parser.add_argument("--doses", type=float, nargs="+", default=None, help="in e/A^2 (default: the study's)")
    parser.add_argument("--cores", type=int, default=os.cpu_count(), help="(default: all)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder (default: %(default)s)")
    options = parser.parse_args()
    study = kinds.open_study(options.place / "studies/lowdose", "preview", options.place / "results").resolved.study
    doses = options.doses or list(study.doses_e_per_a2)
    jobs = [(options.place, doses, m, seed) for m in options.methods for seed in range(1, options.seeds + 1)]
    rows: list[dict[str, Any]] = []
    with ProcessPoolExecutor(options.cores, multiprocessing.get_context("spawn")) as pool:
        for found in pool.map(run, jobs):
            rows += found
            print(found[0]["method"], found[0]["seed"], [round(row["loss"], 4) for row in found], flush=True)
    table = pd.DataFrame(rows)
    table.to_csv(options.out / "methods.csv", index=False, float_format="%.5g")
    (options.out / "methods.md").write_text(markdown(table))
    print(markdown(table))


if __name__ == "__main__":
    main()
