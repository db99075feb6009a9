"""What the doses' searches tell each other."""

import numpy as np

from ptydesign.design.settings import Observation, SearchConfig
from ptydesign.design.space import build_space
from ptydesign.experiment.contenders import of_others, shared_model
from ptydesign.experiment.scope import SHARED

SPACE = build_space({"x": {"low": 0, "high": 1}})
CONFIG = SearchConfig(kernel={"nu": 2.5})


def tried(places, best, height, scale=0.3):
    return [Observation({"x": float(x)}, height - scale * (x - best) ** 2) for x in places]


def test_a_dose_with_few_trials_learns_from_the_others():
    """Scores rise with the dose, and the best place moves with it: a model of all knows what one dose alone missed."""
    everywhere = np.linspace(0, 1, 15)
    doses = {100.0: tried([0.0, 0.9, 1.0], 0.45, 0.5), 1000.0: tried(everywhere, 0.5, 0.8)}
    doses |= {10.0: tried(everywhere, 0.4, 0.2)}
    model = shared_model(SPACE, CONFIG, doses, 100.0, 1)
    assert abs(model.best()["x"] - 0.45) < 0.06
    point, gain = model.challenger()
    assert abs(point["x"] - 0.45) < 0.1
    assert 0.5 * 0.3 * 0.45**2 < gain < 2 * 0.3 * 0.45**2  # on the best of the three, at 0.9
    again = shared_model(SPACE, CONFIG, doses, 100.0, 1, (model.nu,))
    assert again.challenger() == (point, gain)
    alone = {dose: seen for dose, seen in doses.items() if dose != 100.0}
    assert shared_model(SPACE, CONFIG, alone | {100.0: []}, 100.0, 1) is None
    failed = [Observation({"x": 0.95}, None, "dark")]  # counts as the worst that is known
    assert abs(shared_model(SPACE, CONFIG, alone | {100.0: doses[100.0] + failed}, 100.0, 1).best()["x"] - 0.45) < 0.1


def test_points_of_near_doses_come_first():
    found = {100.0: [{"x": 0.1}], 1000.0: [{"x": 0.2}, {"x": 0.5}, {"x": 0.7}], 5e4: [{"x": 0.9}], 1e4: []}
    assert SHARED == 2
    assert of_others(found, 100.0, {"x": 0.3}) == [{"x": 0.3}, {"x": 0.2}, {"x": 0.5}, {"x": 0.9}]
    assert of_others(found, 5e4, None) == [{"x": 0.2}, {"x": 0.5}, {"x": 0.1}]
