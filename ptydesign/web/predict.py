"""What the trials of a plan say of a setting that the explorer shows."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from ptydesign.study.file import dose_name
from ptydesign.web.explorer import Explorer, Knobs
from ptydesign.web.trials import Slice, Trials

ALONG = ("defocus_nm", "step_a")


@dataclass(frozen=True)
class Predicted:
    """The surrogate's score of a setting, and along defocus (in the microscope's sign) and step. dose_e_per_a2: of the
    search that is nearest; trials: that it has."""

    mean: float
    std: float
    dose_e_per_a2: float
    trials: int
    slices: tuple[Slice, ...]


def predict(explorer: Explorer, trials: Trials, knobs: Knobs) -> Predicted:
    """The surrogate at the controls. Raises InputError for a setting outside of what was searched, and for too few
    trials."""
    doses = explorer.plan.goal.doses_e_per_a2
    dose = min(doses, key=lambda d: abs(math.log(d / knobs.dose_e_per_a2)))
    trials.update()
    model = trials.model(dose_name(dose))
    space, setting = model.surrogate.space, explorer.setting(knobs)
    point = space.validate_point({name: getattr(setting, name) for name in space.names})
    mean, std = model.surrogate.predict([point])
    slices = []
    for name in (name for name in ALONG if name in space.names):
        one = model.along(name, point)
        sign = explorer.bench.defocus_sign if name == "defocus_nm" else 1
        slices.append(replace(one, values=[sign * value for value in one.values]))
    return Predicted(float(mean[0]), float(std[0]), dose, model.of, tuple(slices))
