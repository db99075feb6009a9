"""What a plan's jobs would refuse, `card` and `plan` refuse before they start, in the same words; what can't be used
doesn't count."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from plan_files import write_plan

from ptydesign.cli import main
from ptydesign.planning import kind, page
from ptydesign.planning.collect import cards_of
from ptydesign.planning.instrument import Bench, Setting
from ptydesign.planning.load import load, read_plan
from ptydesign.planning.possible import unusable
from ptydesign.planning.resolve import Mode, expert_at

CELL = Path(__file__).parents[2] / "studies" / "plan_oxide" / "SrTiO3.cif"
SMALL_CELL = {"kind": "structure", "file": str(CELL), "zone_axis": [0, 0, 1], "repeats": [3, 3, 2]}
IMAGE = {"kind": "image", "file": "small.npy", "pixel_a": 0.1, "quantity": "phase_rad", "voltage_kv": 80}
FIXED = {"instrument__defocus_nm": {"low": 0, "high": 0}, "instrument__step_a": {"low": 2, "high": 2}}


@pytest.mark.parametrize(
    "changes, field, words",
    [
        ({"sample": SMALL_CELL}, "sample.repeats", "the sample must cover scan and window, 73.1 x 73.1 A (y, x)"),
        ({"sample": IMAGE}, "sample.file", "the sample must cover scan and window, 73.1 x 73.1 A (y, x)"),
        ({**FIXED, "search": {"initial": 200, "points": 2, "batch": 2}}, "search.initial", "must leave 200 different"),
        ({"robustness": {"candidates": 100, "repeats": 5000, "draws": 9999}}, "studies/p", "must take at most"),
    ],
)
def test_card_and_plan_refuse_in_the_same_words(tmp_path, monkeypatch, capsys, changes, field, words):
    monkeypatch.chdir(tmp_path)
    np.save("small.npy", np.random.default_rng(0).random((100, 100)))
    write_plan(Path("p.yaml"), **changes)
    said = []
    for command in ("card", "plan"):
        assert main([command, "p.yaml"]) == 2
        said.append(capsys.readouterr().err)
    assert said[0] == said[1]
    assert said[0].startswith(f"error: p.yaml: {field}: ")
    assert words in said[0]
    assert not Path("studies").exists()
    if "sample" in changes:
        assert "at 80 kV with the camera of 4 mrad, for a field of 7 x 8 A (simulation.field_of_view_a)" in said[0]


def test_one_card_where_the_rule_of_thumb_is_recommended(tmp_path):
    bench = Bench(read_plan(write_plan(tmp_path / "p.yaml"))[0])
    one, other = (asdict(Setting(80, 20, -4, step, 4.0)) for step in (2.0, 1.5))
    both = cards_of(bench, {"recommended": one, "expert": other}, 8000)
    assert [card.what for card in both] == ["recommended", "rule of thumb"]
    assert not any(row.name == "Reconstruction time" for card in both for row in card.rows)  # it is the machine's
    same = cards_of(bench, {"recommended": one, "expert": one}, 8000)
    assert [card.what for card in same] == ["rule of thumb (recommended)"]
    older = SimpleNamespace(recommendation={"cards": [same[0].content()] * 2})
    assert len(list(page._cards(older, bench))) == 1


def test_first_points_are_spread_and_what_follows_is_likely(tmp_path):
    """A few settings with small steps would be most of the estimate, but nobody proposes or recommends them."""
    write_plan(tmp_path / "tiny" / "study.yaml", instrument__step_a={"low": 0.2, "high": 3})
    resolved = load(tmp_path / "tiny", "preview", tmp_path / "results")
    each = kind._work_of_settings(resolved)
    mean, middle = np.mean(each), np.median(each)
    assert mean > 1.5 * middle
    work = kind.work(resolved)
    own = kind._work_of(resolved, [expert_at(resolved.bench, 8000)])[0]
    assert work["robust"].units == pytest.approx(10 * (2 * middle + own))
    searched = work["round"].units + work["evaluate"].units
    assert searched == pytest.approx(6 * mean + 4 * middle)


def test_an_image_that_goes_on_is_large_enough(tmp_path):
    np.save(tmp_path / "small.npy", np.random.default_rng(0).random((100, 100)))
    assert read_plan(write_plan(tmp_path / "p.yaml", sample={**IMAGE, "edge": "periodic"}))[0]


def test_a_camera_that_cannot_be_used_asks_for_no_specimen(tmp_path):
    """At 4 mrad a pixel holds too many electrons, in every setting: only the other camera has a mode."""
    numbers = {"pixels": [128, 128], "frames_per_s": 1e4, "counts_per_frame": 4}
    changes = {"detector__override": numbers, "instrument__pixels_mrad": [1.1, 4.0], "goal__doses_e_per_a2": [400]}
    write_plan(tmp_path / "tiny" / "study.yaml", **changes)
    resolved = load(tmp_path / "tiny", "preview", tmp_path / "results")
    problems = unusable(resolved.bench)
    assert problems[80, 1.1] is None
    assert problems[80, 4.0].name == "counts per frame"
    assert list(resolved.modes) == [Mode(80, 1.1)]
    assert any("4 mrad nothing is possible (counts per frame" in words for words in resolved.warnings)


def test_an_own_setting_that_cannot_be_set_is_refused(tmp_path, capsys):
    override = {"pixels": [64, 64], "frames_per_s": 10000, "rate_per_px_s": 7e4}
    changes = {"detector__override": override, "instrument__pixels_mrad": [2.0, 4.0]}
    assert main(["card", str(write_plan(tmp_path / "p.yaml", **changes))]) == 0
    own = {"camera": 4.0, "semiangle_mrad": 20}
    assert main(["card", str(write_plan(tmp_path / "q.yaml", **changes, expert=own))]) == 2
    said = capsys.readouterr().err
    assert "expert: must be possible at 2000 e/Å²: count rate binds" in said
    assert "Or leave expert out." in said
