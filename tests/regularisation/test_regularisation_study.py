"""The tiny study of regularisation, with a tuned plan: its tables and its report, what diverges."""

from __future__ import annotations

import json

import pandas as pd
import pytest
import yaml
from finished import Study
from synthetic_study import rewrite, sign_settings
from thick_files import DIVERGES, pictures, says_how_to_reproduce, section


@pytest.fixture
def whole(studies) -> Study:
    """The study, which has run."""
    return studies["regularisation"]


@pytest.fixture
def copied(whole, tmp_path, monkeypatch, studies) -> Study:
    """The same to be changed."""
    monkeypatch.setenv("PTYDESIGN_CACHE", str(studies.cache))
    return whole.copy(tmp_path)


def test_a_whole_study_with_a_tuned_plan(whole):
    results = whole.results
    summary = pd.read_csv(results / "tables" / "summary.csv").set_index("item")
    trials = pd.read_csv(results / "tables" / "trials.csv")
    best = trials.loc[trials["rmse_slices_rad"].idxmin()]
    assert json.loads(summary.loc["epie", "tuned"]) == {
        "engines.0.object_step": pytest.approx(best["engines.0.object_step"])
    }
    plan = json.loads((results / "tuning" / "epie.json").read_text())["best"]
    used = json.loads((results / "errors" / "epie.json").read_text())
    assert used["sweeps"] == 4
    assert plan
    errors = pd.read_csv(results / "tables" / "errors.csv")
    for _, curve in errors.groupby("item"):
        assert curve["rmse_slices_rad"].iloc[-1] < curve["rmse_slices_rad"].iloc[0]
    page = (results / "report.html").read_text()
    assert page.count("data:image/png") == 4
    assert "not drawn" not in page
    assert "None of 6: everything gave a result." in section(page, "Failures")


def test_the_page_says_how_to_reproduce_it(whole):
    says_how_to_reproduce(whole)


def test_what_diverged_and_what_has_no_score_is_told_with_its_reason(copied):
    def unscored(frame):
        lost = frame["item"] == "offset_0"
        frame.loc[lost, "reason"] = "The reconstructed phase is constant in the scored region."
        frame.loc[lost, "rmse_slices_rad"] = float("nan")

    def diverged(frame):
        frame.loc[[0, 2], ["status", "reason"]] = ("diverged", "epie diverged in sweep 2.")

    rewrite(copied.results, "summary", unscored)
    rewrite(copied.results, "trials", diverged)
    failures = section(copied.report(), "Failures")
    assert "3 of 6 did not give a score" in failures
    rows = [row.replace('<td class="text">', "|") for row in failures.split("<tr>")[2:]]
    assert any("|offset_0</td>|failed" in row and "The reconstructed phase is constant" in row for row in rows)
    assert any("|tuning of epie</td>|diverged" in row and "sweep 2.</td><td>2<" in row for row in rows)


def test_a_study_that_compares_nothing_says_which_figures_it_has_none_of(copied):
    """One plan, and nothing that varies."""
    file = copied.results / "resolved.yaml"
    text = file.read_text()
    vary = text[text.index("\nvary:") : text.index("\ntuning:")]
    file.write_text(text.replace(vary, "\nvary: []"))
    sign_settings(file)
    rewrite(copied.results, "summary", lambda frame: frame[frame["item"] == "epie"])
    page = copied.report()
    assert "Error against iteration: not drawn, because no setting is varied alone" in page
    assert "Final images: not drawn, because no setting is varied alone" in page
    assert "Engines: phase and power spectrum: not drawn, because fewer than two plans gave an image" in page
    assert "Engines: error and dumbbells: not drawn, because the study has one plan only" in page
    assert set(pictures(copied.results)) == {"index.json"}


def test_a_study_in_which_all_diverges_ends_with_its_reasons(copied):
    """Not with a job that fails."""

    file = copied.folder / "study.yaml"
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    for plan in content["plans"]:
        plan["plan"] = {"engines": [{"engine": "gradient", "sweeps": 4, "group": 8, "object_rate": DIVERGES}]}
    content["plans"][0]["tune"] = {"engines.0.probe_rate": {"low": 0.001, "high": 0.01}}
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    copied.step("tune", plan="epie")
    for item in ("epie", "gradient", "offset_0"):
        copied.step("reconstruct", item=item)
    copied.step("resolve")
    copied.step("collect")
    page = copied.report()
    assert "6 of 6 did not give a score" in page
    assert section(page, "Failures").count("gradient diverged in sweep 1: loss nan") == 4
    assert "Diverged: epie, gradient." in section(page, "What was found")
    assert "Error against iteration: not drawn, because no reconstruction could be scored" in page
    assert "Final images: not drawn, because every reconstruction diverged" in page
    assert "convergence.png" not in pictures(copied.results)
