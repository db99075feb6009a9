"""Keys of the point store for 20 trials of every kind that has a store, recomputed from what the golden file lists.

After a change on purpose: `python tests/support/store_keys.py` writes the file again.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
FILE = ROOT / "tests" / "study" / "golden" / "keys.json"


def listed() -> dict[str, list[dict[str, Any]]]:
    """Of each kind: trials as {study, scale, given, key}."""
    return json.loads(FILE.read_text())


def recomputed(kind: str, results: Path) -> Iterator[str]:
    """The keys of a kind's trials, in the file's order."""
    from ptydesign.kinds import open_study

    loaded: dict[tuple[str, str], Any] = {}
    for item in listed()[kind]:
        place = item["study"], item["scale"]
        if place not in loaded:
            loaded[place] = open_study(ROOT / "studies" / item["study"], item["scale"], results).resolved
        yield KEYS[kind](loaded[place], item["given"])


def _experiment(resolved: Any, given: dict[str, Any]) -> str:
    from ptydesign.experiment.trial import Trial
    from ptydesign.study.acquisition import at_point

    point = resolved.study.reference.point if given["point"] is None else given["point"]
    config = at_point(resolved.study.experiment, point)
    return Trial(config, given["dose_e_per_a2"], given["simulator"], given["repeat"]).key(resolved.study, resolved.key)


def _planning(resolved: Any, given: dict[str, Any]) -> str:
    from ptydesign.planning.errors import drawn
    from ptydesign.planning.instrument import Setting
    from ptydesign.planning.operation import operate
    from ptydesign.planning.resolve import detected_dose, to_experiment_config
    from ptydesign.planning.trial import PlannedTrial

    setting, bench = Setting(**given["setting"]), resolved.bench
    if "draw" in given:
        trial, errors = drawn(resolved, setting, resolved.study.goal.dose_limit, given["draw"])
        one = resolved.of(setting, errors.thickness)
        return trial.key(one.study, one.key)
    one = resolved.of(setting)
    operation = operate(bench, setting, given["dose_e_per_a2"])
    config = to_experiment_config(bench, operation)
    trial = PlannedTrial(config, detected_dose(bench, operation), repeat=given["repeat"])
    return trial.key(one.study, one.key)


def _regularisation(resolved: Any, given: dict[str, Any]) -> str:
    from ptydesign.regularisation.tune import short, trial_inputs
    from ptydesign.study.store import digest

    study = resolved.study
    named = next(item for item in study.plans if item.name == given["plan"])
    plan = study.plan_with(named.plan, given["point"], float(resolved.shape.thickness_a))
    return digest(trial_inputs(resolved, short(plan, study.tuning.sweeps)))


def _tuning(resolved: Any, given: dict[str, Any]) -> str:
    from ptydesign.tuning.data import Pair
    from ptydesign.tuning.scope import Budget
    from ptydesign.tuning.trial import Trial

    pair = Pair((), (), given["data"], Path("truth.h5"))  # type: ignore[arg-type]
    return Trial(resolved.study, given["values"], Budget(*given["budget"]), pair).key()


KEYS = {"experiment": _experiment, "planning": _planning, "regularisation": _regularisation, "tuning": _tuning}


def main() -> None:
    """Write the keys of today's code."""
    with tempfile.TemporaryDirectory() as results:
        found = {
            kind: [
                {**item, "key": key} for item, key in zip(listed()[kind], recomputed(kind, Path(results)), strict=True)
            ]
            for kind in KEYS
        }
    FILE.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
