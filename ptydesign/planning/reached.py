"""What a design's trials reach beside its bound: bias and scatter of its repeats, and the floor at a higher dose."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ptydesign.experiment.search import Runner
from ptydesign.experiment.trial import judged, lengthened
from ptydesign.planning.instrument import Setting
from ptydesign.planning.resolve import PlanningResolved, for_beam
from ptydesign.planning.search import Runners
from ptydesign.score.spread import spread
from ptydesign.study.store import PointStore

TIMES = 100.0  # the dose of the floor, over the plan's
LONGER = 5


def spread_of(resolved: PlanningResolved, content: Mapping[str, Any], rings: int, qmax: float) -> dict[str, Any]:
    """`bias_rad`, `scatter_rad` and `ssnr` of a design's repeats in rings up to qmax (1/A); empty if fewer than two
    could be scored. content: of robust/<design>.json."""
    store = PointStore(resolved.root)
    good = [t for t in content["trials"] if t["kind"] == "repeat" and t["status"] == "ok"]
    if len(good) < 2:
        return {}
    kept = [store.images(t["key"]) for t in good]
    images = np.stack([one["arrays"]["phase"] for one in kept])
    found = spread(images, kept[0]["arrays"]["truth"], tuple(kept[0]["attrs"]["pixel_a"]), rings, qmax)
    by_ring = {"bias_rad": found.bias_rad, "scatter_rad": found.scatter_rad, "ssnr": found.ssnr}
    return {name: values.tolist() for name, values in by_ring.items()}


def floor(resolved: PlanningResolved, setting: Setting) -> dict[str, Any]:
    """`floor_dose_e_per_a2` and `floor_error_rad`: the error that is left with TIMES the dose at the same setting; None
    where it couldn't be scored. The reconstruction takes up to LONGER times the sweeps: with little noise, those of a
    plan for a low dose end it long before it has converged."""
    one, dose = resolved.of(setting), resolved.dose_e_per_a2
    trial = Runners(resolved).trial(setting, dose, repeat=1, times=TIMES)
    study = lengthened(for_beam(resolved.bench, one.study, trial.experiment), LONGER)
    _, result = Runner(one).run(trial, None, study=study)
    best = judged(study, result)
    error = float(np.sqrt(best["scores"]["mse_rad2"])) if best else None
    return {"floor_dose_e_per_a2": TIMES * dose, "floor_error_rad": error}
