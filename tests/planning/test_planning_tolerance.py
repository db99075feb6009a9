"""How far a setting may be off: what is tried, where it ends and why, and how the sheet says it."""

from __future__ import annotations

import numpy as np
import pytest
from plan_files import resolved_of

from ptydesign.design.space import build_space
from ptydesign.planning.instrument import Setting
from ptydesign.planning.search import tolerances
from ptydesign.planning.sheet import _tolerance
from ptydesign.planning.space import make_space
from ptydesign.planning.tolerance import apart, ended_by, ends_and_reasons, ends_of, kept_range, values_to_try


def test_tolerance_is_the_range_about_the_point():
    space = build_space({"defocus_nm": {"low": -100, "high": 100}, "semiangle_mrad": {"choices": [10, 20, 30, 40]}})

    def predict(points):
        mean = [1 - (p["defocus_nm"] - 20) ** 2 / 4000 - (p["semiangle_mrad"] != 20) * 0.04 for p in points]
        return np.array(mean), np.array([0.02 * (p["semiangle_mrad"] > 20) for p in points])

    found = tolerances(predict, space, {"defocus_nm": 20.0, "semiangle_mrad": 20})
    low, high = found["defocus_nm"]  # 5 % are lost 14.1 nm away; values are looked at every 5 nm
    assert (low, high) == (10.0, 30.0)
    assert set(found) == {"defocus_nm"}  # of choices the next ones are simulated in any case


def test_values_to_try_for_a_tolerance():
    space = build_space({"defocus_nm": {"low": -10, "high": 60}, "semiangle_mrad": {"choices": [10, 20, 30]}})
    defocus, aperture = space.dimensions
    tried = values_to_try(defocus, 40.0, [22.0, 41.0], (-10, 60), gap=6)
    assert tried == [(-1, 34.0), (-1, 28.0), (-1, 22.0), (1, 46.0), (1, 52.0)]  # 1 nm above is too little to look at
    assert values_to_try(defocus, 60.0, None, (-10, 60), gap=6) == [(-1, 54.0), (-1, 48.0)]  # the range ends here
    far = [v for _, v in values_to_try(defocus, 40.0, [-10.0, 40.0], (-10, 40), gap=6)]
    assert far == [34, 28, 22, 16, 10, 4]  # no further than six gaps
    through = [v for _, v in values_to_try(defocus, 10.0, [-10.0, 10.0], (-10, 10), gap=6)]
    assert through == [5, 0, -5, -10]
    odd = [v for _, v in values_to_try(defocus, 8.0, [-7.0, 8.0], (-10, 8), gap=6)]
    assert odd == [3, 0, -2, -7]  # focus itself is looked at
    assert values_to_try(aperture, 20, [20, 20], (), gap=1) == [(-1, 10), (1, 30)]
    assert values_to_try(aperture, 30, None, (), gap=1) == [(-1, 20)]


def test_a_tolerance_ends_where_the_card_turns_red(tmp_path):
    """On the way to focus a scan with large steps loses its overlap; 0.4 is the card's least."""
    resolved = resolved_of(
        tmp_path, instrument__defocus_nm={"low": -30, "high": 60}, instrument__pixels_mrad=[2.5], goal__resolution_a=1.2
    )
    bench, setting = resolved.bench, Setting(80, 20, 12, 2, 2.5)
    defocus, step = (make_space(bench).dimensions[i] for i in (1, 2))
    low, high = ends_of(bench, setting, "defocus_nm", defocus)
    radius = 2 / 2 / (1 - 0.4)
    expected = np.sqrt(radius**2 - (0.61 * 0.0417572 / 0.02) ** 2) / 0.02 / 10
    assert expected < low < expected + apart(setting, "defocus_nm") / 5
    assert apart(setting, "defocus_nm") == pytest.approx(0.0417572 / 0.02**2 / 10, rel=1e-4)
    probe_in_window = 0.0417572 / 2.5e-3 / 2 / 0.02 / 10
    assert high == pytest.approx(probe_in_window, rel=0.1)  # there the probe outgrows the window
    below, above = (reason for _, reason in ends_and_reasons(bench, setting, "defocus_nm", defocus))
    assert (below, above) == ("Linear overlap", "Window against probe")
    assert ends_and_reasons(bench, setting, "step_a", step)[0] == (1.2, "range")  # the instrument's
    in_focus = Setting(80, 20, 0, 2, 2.5)  # red already: nothing new turns red
    assert ends_of(bench, in_focus, "defocus_nm", defocus)[0] < -low


def test_tolerance_ends_where_a_simulation_loses_more():
    def tried(*scores):
        return [{"side": s, "value": v, "score": x} for (s, v), x in zip(places, scores, strict=True)]

    places = [(-1, 30.0), (-1, 20.0), (1, 50.0), (1, 60.0)]
    ends = (10.0, 70.0)
    assert kept_range(40.0, tried(0.79, 0.77, 0.78, 0.5), 0.8, ends) == ([20.0, 50.0], [True, False])
    assert kept_range(40.0, tried(0.79, 0.77, 0.78, 0.5), 0.8, (20.0, 70.0)) == ([20.0, 50.0], [False, False])
    assert kept_range(40.0, tried(0.5, 0.79, None, 0.79), 0.8, ends) == (
        [40.0, 40.0],
        [False, False],
    )  # no gap is jumped


def test_words_of_a_tolerance():
    found = {
        "defocus_nm": {"range": [30.0, 54.0], "ended_by": ["score", "score"], "limits": [0.0, 60.0]},
        "step_a": {"range": [1.0, 3.0], "ended_by": ["open", "open"], "limits": [0.5, 8.0]},
        "semiangle_mrad": {"range": [20.0, 20.0], "ended_by": ["score", "score"], "limits": [15.0, 30.0]},
    }
    setting = {"defocus_nm": 42.0, "step_a": 1.2, "semiangle_mrad": 20.0}
    assert _tolerance(found, setting, "defocus_nm", "nm") == "42 ± 12 nm"
    assert _tolerance(found, setting, "step_a", "Å") == "1 or less to 3 Å or more"
    found["step_a"]["ended_by"] = ["score", "open"]
    assert _tolerance(found, setting, "step_a", "Å") == "1 to 3 Å or more"
    assert _tolerance(found, setting, "semiangle_mrad", "mrad") == "this one"
    assert _tolerance(found, setting, "camera", "mm") == ""
    # a smaller one exists and wasn't tried
    found["semiangle_mrad"] = {"range": [20.0, 25.0], "ended_by": ["open", "score"], "limits": [15.0, 30.0]}
    assert _tolerance(found, setting, "semiangle_mrad", "mrad") == "20 or less to 25 mrad"


def test_what_ends_a_tolerance_is_said():
    one = {"range": [-20.0, -5.3], "ended_by": ["range", "score"], "limits": [-20.0, 20.0]}
    setting = {"defocus_nm": -8.0}
    assert _tolerance({"defocus_nm": one}, setting, "defocus_nm", "nm") == "-20 to -5.3 nm (your range ends at -20)"
    both = {**one, "ended_by": ["range", "range"], "limits": [-20.0, -5.3]}
    assert _tolerance({"defocus_nm": both}, setting, "defocus_nm", "nm").endswith("(your range ends at -20 and -5.3)")
    one |= {"ended_by": ["score", "Window against probe"], "limits": [-30.0, -5.3]}
    words = "-20 to -5.3 nm (at -5.3 by the rule window against probe)"
    assert _tolerance({"defocus_nm": one}, setting, "defocus_nm", "nm") == words


def test_ends_of_a_tolerance_have_reasons(tmp_path):
    """The rule of the card, the instrument's range, a loss of score, a broken constraint, or none yet."""
    tried = [
        {"side": -1, "value": 30.0, "score": 0.79},
        {"side": -1, "value": 20.0, "score": 0.5, "broken": None},
        {"side": 1, "value": 50.0, "score": 0.79},
        {"side": 1, "value": 60.0, "score": None, "broken": "window"},
    ]
    reasons = ("range", "Linear overlap")

    def ended(low, high, more, ends):
        return ended_by((low, high), more, tried, ends, reasons)

    assert ended(30.0, 50.0, (False, False), (10.0, 70.0)) == ["score", "window"]
    assert ended(20.0, 60.0, (False, False), (20.0, 60.0)) == ["range", "Linear overlap"]
    assert ended(20.0, 60.0, (True, True), (10.0, 70.0)) == ["open", "open"]
