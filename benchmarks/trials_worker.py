"""One side of `benchmarks.trials`: trials with whatever version of the package is on the path. Prints a JSON line each.

It uses only what both versions have. CPU seconds are those of a second run of the same shapes, which compiles nothing;
how long the compiler took is counted by the clock.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np

from ptydesign.reconstruct.plan import Plan
from ptydesign.reconstruct.run import reconstruct
from ptydesign.score.compare import ScoreConfig, compare
from ptydesign.simulate.dataset import simulate
from ptydesign.types import Detector, Experiment, Optics, Potential, Scan

COMPILED = "/jax/core/compile/backend_compile_duration"


def main(path: str) -> None:
    """Run the trials that a file names."""
    told = json.loads(Path(path).read_text())
    slices_va = np.load(Path(told["folder"]) / "potential.npy")
    potential = Potential(slices_va, tuple(told["pixel_a"]), np.asarray(told["thickness_a"]))
    plan, config = Plan.model_validate(told["plan"]), ScoreConfig.model_validate(told["score"])
    compiler: list[float] = []
    watch = Watch(compiler)
    jax.monitoring.register_event_duration_secs_listener(watch)
    for index, design in enumerate(told["designs"]):
        scores: list[tuple[int, float]] = []
        seconds = dict.fromkeys(("simulate_s", "reconstruct_s", "score_s"), 0.0)
        compiler.clear()
        experiment = experiment_of(design["experiment"])
        one = replace(experiment, scan=replace(experiment.scan, field_of_view_a=(1e-3, 1e-3)))
        simulate(potential, one, design["seed"])  # any number of positions is compiled once
        clock = Clock()
        dataset, truth = simulate(potential, experiment, design["seed"])
        seconds["simulate_s"] = clock.lap()
        short = {"engines": [{**told["plan"]["engines"][0], "sweeps": 1}]}
        reconstruct(dataset, Plan.model_validate(short), design["seed"])
        compile_s, compiled = sum(compiler), len(compiler)
        clock.lap()

        def observe(sweep: int, loss: float, state, clock=clock, seconds=seconds, scores=scores, truth=truth) -> None:
            if sweep in told["scored"]:
                seconds["reconstruct_s"] += clock.lap()
                arrays = (np.asarray(array) for array in (state.object, state.pixel_a, state.origin_a))
                found = compare(*arrays, truth, tuple(told["region"]), config).score
                scores.append((sweep, float({f"{w:g}": v for w, v in found.ssim.items()}[told["width"]])))
                seconds["score_s"] += clock.lap()

        reconstruct(dataset, plan, design["seed"], (observe,))
        seconds["reconstruct_s"] += clock.lap()
        row = {"index": index, **design["point"], "dose": design["dose"], "positions": len(dataset.positions_a)}
        row |= {**seconds, "compile_s": compile_s, "compiled": compiled, "path": scores}
        print(json.dumps(row), flush=True)


class Watch:
    """Keeps how long each compilation took."""

    def __init__(self, kept: list[float]):
        self.kept = kept

    def __call__(self, event: str, seconds: float, **_: object) -> None:
        if event == COMPILED:
            self.kept.append(seconds)


class Clock:
    """CPU seconds of this process from one lap to the next."""

    def __init__(self) -> None:
        self.last = time.process_time()

    def lap(self) -> float:
        before, self.last = self.last, time.process_time()
        return self.last - before


def experiment_of(values: dict) -> Experiment:
    """An experiment from what `dataclasses.asdict` made of it."""
    pairs = {name: tuple(v) if isinstance(v, list) else v for name, v in values["scan"].items()}
    detector = {name: tuple(v) if isinstance(v, list) else v for name, v in values["detector"].items()}
    rest = {name: v for name, v in values.items() if name not in ("optics", "scan", "detector")}
    return Experiment(Optics(**values["optics"]), Scan(**pairs), Detector(**detector), **rest)


if __name__ == "__main__":
    main(sys.argv[1])
