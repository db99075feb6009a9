"""A whole study of regularisation at smoke scale, with a tuned plan: its tables and its report, what diverges."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from synthetic_study import rewrite
from thick_files import (
    DIVERGES,
    RESULTS,
    is_function_of_tables,
    pictures,
    report,
    says_how_to_reproduce,
    section,
    snakemake,
    step,
    write_study,
)

VARY = [{"name": "offset", "path": "engines.0.offset", "values": [0.01]}]


def two_plans(content) -> None:
    """A tuned plan of which one setting varies, and another one."""
    smoke = content["scales"]["smoke"]
    smoke["plans"].pop(1)
    smoke["vary"] = VARY


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A folder in which a whole study has run."""
    folder = tmp_path_factory.mktemp("whole")
    write_study(folder, "engines", two_plans)
    done = snakemake(folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def copied(whole, tmp_path):
    """The same to be changed."""
    return Path(shutil.copytree(whole, tmp_path / "copy"))


def test_a_whole_study_with_a_tuned_plan(whole):
    results = whole / RESULTS
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


def test_figures_and_page_are_functions_of_the_tables(whole, tmp_path):
    is_function_of_tables(whole, tmp_path)


def test_the_page_says_how_to_reproduce_it(whole):
    says_how_to_reproduce(whole)


def test_what_diverged_and_what_has_no_score_is_told_with_its_reason(copied):
    def unscored(frame):
        lost = frame["item"] == "offset_0"
        frame.loc[lost, "reason"] = "The reconstructed phase is constant in the scored region."
        frame.loc[lost, "rmse_slices_rad"] = float("nan")

    def diverged(frame):
        frame.loc[[0, 2], ["status", "reason"]] = ("diverged", "epie diverged in sweep 2.")

    rewrite(copied / RESULTS, "summary", unscored)
    rewrite(copied / RESULTS, "trials", diverged)
    failures = section(report(copied / RESULTS), "Failures")
    assert "3 of 6 did not give a score" in failures
    rows = [row.replace('<td class="text">', "|") for row in failures.split("<tr>")[2:]]
    assert any("|offset_0</td>|failed" in row and "The reconstructed phase is constant" in row for row in rows)
    assert any("|tuning of epie</td>|diverged" in row and "sweep 2.</td><td>2<" in row for row in rows)


def test_a_study_that_compares_nothing_says_which_figures_it_has_none_of(copied):
    """One plan, and nothing that varies."""
    file = copied / RESULTS / "resolved.yaml"
    text = file.read_text()
    vary = text[text.index("\nvary:") : text.index("\ntuning:")]
    file.write_text(text.replace(vary, "\nvary: []"))
    rewrite(copied / RESULTS, "summary", lambda frame: frame[frame["item"] == "epie"])
    page = report(copied / RESULTS)
    assert "Error against iteration: not drawn, because no setting is varied alone" in page
    assert "Final images: not drawn, because no setting is varied alone" in page
    assert "Engines: phase and power spectrum: not drawn, because fewer than two plans gave an image" in page
    assert "Engines: error and dumbbells: not drawn, because the study has one plan only" in page
    assert set(pictures(copied / RESULTS)) == {"index.json"}


def test_a_study_in_which_all_diverges_ends_with_its_reasons(copied):
    """Not with a job that fails."""

    def change(content):
        two_plans(content)
        plans = content["scales"]["smoke"]["plans"]
        for plan in plans:
            engine = {"engine": "gradient", "sweeps": 4, "group": 8, "object_rate": DIVERGES}
            plan["plan"] = {"engines": [engine]}
        plans[0]["tune"] = {"engines.0.probe_rate": {"low": 0.001, "high": 0.01}}

    write_study(copied, "engines", change)
    step(copied, "regularisation", "tune", plan="epie")
    for item in ("epie", "gradient", "offset_0"):
        step(copied, "regularisation", "reconstruct", item=item)
    step(copied, "regularisation", "resolve")
    step(copied, "regularisation", "collect")
    page = report(copied / RESULTS)
    assert "6 of 6 did not give a score" in page
    assert section(page, "Failures").count("gradient diverged in sweep 1: loss nan") == 4
    assert "Diverged: epie, gradient." in section(page, "What was found")
    assert "Error against iteration: not drawn, because no reconstruction could be scored" in page
    assert "Final images: not drawn, because every reconstruction diverged" in page
    assert "convergence.png" not in pictures(copied / RESULTS)
