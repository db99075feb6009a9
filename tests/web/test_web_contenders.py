"""Which points may be the best, as the page says it: by the study's decision, before that by the surrogate."""

from __future__ import annotations

import numpy as np
import pytest
import web_runs

from ptydesign.study.records import write_record
from ptydesign.web.folder import Folder
from ptydesign.web.site import Site
from ptydesign.web.trials import Trials


def test_chances_of_a_few_noisy_trials_hold_their_noise(tmp_path):
    trials = Trials(web_runs.study(tmp_path, trials=14))  # of which 12 came out, with a noise of 0.01
    model = trials.model("bo-1000").surrogate
    points = [one.point for one in trials.fit("bo-1000").contenders]
    mean, std, chances = model.contest(points)
    assert std.min() > 0.006, "though the model can bend through every trial"
    assert chances.sum() == pytest.approx(1)
    assert np.argmax(chances) == np.argmax(mean)
    assert model.predict(points[:1])[1] < std[0]


def decide(results, keys, first=0.71, second=0.64):
    """A decision of bo-1000 as `experiment.decide` writes it, of two contenders with two draws each."""
    points = [{"step_a": step, "semiangle_mrad": 36.5, "defocus_nm": -4.6, "detector_pixels": 64} for step in (1.5, 2)]
    rows = [
        {"point": points[0], "mean": first, "values": {"1": first + 0.01, "2": first - 0.01}, "better": None},
        {"point": points[1], "mean": second, "values": {"1": second, "2": second}, "better": 0.002},
    ]
    rows = [{**row, "keys": keys[2 * i : 2 * i + 2]} for i, row in enumerate(rows)]
    content = {"outcome": "decided", "probability_best": 0.998, "contenders": rows}
    return write_record(results, "search/bo-1000/decision.json", content)


def test_a_decision_is_shown_as_it_was_made(tmp_path):
    study = pytest.importorskip("ptydesign.web.views.study", reason="the page needs the extra `web`")
    results = web_runs.study(tmp_path)
    trials = Trials(results)
    assert trials.decision("bo-1000") is None
    file = decide(results, [f"{n:032x}" for n in range(4)])
    found = trials.decision("bo-1000")
    assert [one.chance for one in found.contenders] == [0.998, 0.002]
    assert [one.draws for one in found.contenders] == [2, 2]
    assert found.contenders[0].std == pytest.approx(0.01414, rel=1e-3)
    shown = study.Study(Site(Folder(tmp_path)), "results/lowdose", trials).contenders.object
    assert "99.8 %" in shown
    assert "0.710 ± 0.014" in shown
    assert "Decided." in shown
    file.write_text(file.read_text().replace("0.998", "0.123"))
    assert trials.decision("bo-1000") is None, "it isn't what was written"


def test_an_earlier_run_s_decision_is_none_of_this_one(tmp_path):
    results = web_runs.study(tmp_path, state="running")
    decide(results, [f"{n:032x}" for n in range(4)])
    assert Trials(results).decision("bo-1000") is not None
    decide(results, ["f" * 32] * 4)
    assert Trials(results).decision("bo-1000") is None, "of draws that this run hasn't made"
