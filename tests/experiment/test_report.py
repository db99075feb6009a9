"""The report: self-contained, and its findings are those of the tables. The tables are synthetic."""

from __future__ import annotations

import html.parser
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from synthetic_study import SPACE, copy, draw_all, rewrite, write_report, write_results

from ptydesign import kinds
from ptydesign.experiment.findings import compare, probe_radius_a, sentences, trends
from ptydesign.experiment.tables import FAILED, read_tables
from ptydesign.study.kind import Run


@pytest.fixture(scope="module")
def full(tmp_path_factory) -> Path:
    """A complete results folder with figures and report. Tests that change it work on a copy."""
    folder = write_results(tmp_path_factory.mktemp("figures") / "synthetic")
    draw_all(folder)
    write_report(folder)
    return folder


HEADINGS = ["What was found", "What was asked", "Failures", "Figures", "Tables", "How to reproduce"]


class Links(html.parser.HTMLParser):
    """Everything a page would fetch, its visible headings, and tags left open."""

    def __init__(self):
        super().__init__()
        self.fetched, self.open, self.errors, self.headings, self._in = [], [], [], [], None

    def handle_starttag(self, tag, attrs):
        self.fetched += [value for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.errors.append(tag)

    def handle_data(self, data):
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)


def test_report_is_self_contained_and_complete(full):
    page = (full / "report.html").read_text()
    links = Links()
    links.feed(page)
    assert not links.errors
    assert not links.open
    pictures = [link for link in links.fetched if link.startswith("data:image/png;base64,")]
    tables = [link for link in links.fetched if link not in pictures]
    assert len(pictures) == 7
    assert all((full / link).is_file() for link in tables)
    assert {"tables/trials.csv", "tables/summary.csv"} < set(tables)
    assert page.index(pictures[0]) < page.index("<table")  # before anything that fills a screen
    assert "http:" not in page
    assert "https:" not in page
    assert links.headings == HEADINGS
    for words in ("snakemake studies/synthetic", "Which settings give", "twist_deg: 30.0", "the loss became NaN"):
        assert words in page
    assert str(full) not in page  # no path of the machine it was made on


def test_report_escapes_what_a_study_says(full, tmp_path):
    folder = copy(full, tmp_path)
    change_settings(folder, title="<script>alert(1)</script>", scale="paper")
    page = write_report(folder).read_text()
    assert "<script>" not in page
    assert "snakemake studies/synthetic --config scale=paper" in page


def test_results_of_before_are_reported_under_their_old_name(full, tmp_path):
    folder = copy(full, tmp_path)
    (folder / "resolved.yaml").rename(folder / "plan.yaml")
    before = (folder / "report.html").read_bytes()
    assert write_report(folder).read_bytes() == before


def verdicts(folder: Path) -> dict[str, str]:
    return {trend.claim: trend.verdict for trend in trends(read_tables(folder))}


def test_trends_are_those_of_the_tables(full, tmp_path):
    """The synthetic study was made to show all trends; each disappears when its table says otherwise."""
    assert set(verdicts(full).values()) == {"appears"}
    worse = copy(full, tmp_path)

    def change(frame):
        worst = (frame["dose_e_per_a2"] == 5000) & (frame["design"] == "optimised")
        frame.loc[worst, "ssim_mean"] = 0.3
        frame.loc[(frame["dose_e_per_a2"] == 50000) & (frame["design"] == "expert"), "ssim_mean"] = 0.1

    rewrite(worse, "summary", change)

    def lose(frame):
        frame.loc[frame["dose_e_per_a2"] == 5000, ["difference", "low", "high"]] = -0.3, -0.32, -0.28
        frame.loc[frame["dose_e_per_a2"] == 50000, ["difference", "low", "high"]] = 0.8, 0.78, 0.82

    rewrite(worse, "gains", lose)

    def reverse(frame):
        for name in SPACE:
            rows = frame["parameter"] == name
            for column in ("best", "low", "high"):
                frame.loc[rows, column] = frame.loc[rows, column].to_numpy()[::-1]

    rewrite(worse, "recommended", reverse)
    assert set(verdicts(worse).values()) == {"does not appear"}


def test_a_difference_whose_interval_holds_zero_is_not_a_win(full, tmp_path):
    folder = copy(full, tmp_path)
    rewrite(folder, "gains", lambda f: f.assign(low=-0.1, high=0.9, verdict="not distinguishable"))
    assert verdicts(folder)["optimised settings beat the expert at every dose"] == "within the tolerances"
    assert verdicts(folder)["the gain is largest at the lowest dose"] == "within the tolerances"
    said = sentences(read_tables(folder))[0]
    assert "higher at 0 of 5 doses; not distinguishable at 100 e/Å², 500 e/Å²," in said


def test_intervals_against_numbers_worked_by_hand(full):
    """Student's t of four degrees of freedom is 2.776 at 95 %."""
    table = pd.read_csv(full / "tables" / "validation.csv")
    rows = table[(table["dose_e_per_a2"] == 1000) & (table["simulator"] == "jax")]
    a, b = (rows.loc[rows["design"] == name, "ssim_1.5px"].to_numpy() for name in ("optimised", "expert"))
    half = 2.7764451 * np.std(a - b, ddof=1) / np.sqrt(5)
    pair = next(pair for pair in compare(read_tables(full), "jax") if pair.dose == 1000)
    assert pair.difference == pytest.approx((a - b).mean(), rel=1e-12)
    assert (pair.low, pair.high) == pytest.approx(((a - b).mean() - half, (a - b).mean() + half), rel=1e-6)
    assert pair.n == 5
    assert {pair.verdict for pair in compare(read_tables(full), "abtem")} == {"cannot be judged"}


def test_how_the_winners_were_decided_is_said(full):
    found = sentences(read_tables(full))[1]
    assert (
        "at 100 e/Å², 50,000 e/Å² no contender is better by more than 0.01, with a probability of 95 % or more" in found
    )
    assert "at 500 e/Å² the draws ended before that was known" in found
    assert "at 1,000 e/Å² the winner is the best contender with a probability of 95 % or more" in found
    page = write_report(full).read_text()
    assert "How the winners were decided" in page
    assert "below 0.001" in page


def test_a_failed_reconstruction_is_no_gain(full, tmp_path):
    """The gain is largest at the lowest dose, but SSIM 0.1 says nothing. A contrast below 0 is a failure, too."""
    assert FAILED not in (full / "report.html").read_text()
    folder = copy(full, tmp_path)

    def change(frame):
        lowest = frame["dose_e_per_a2"] == 100
        frame.loc[lowest & (frame["design"] == "optimised"), "ssim_mean"] = 0.1
        frame.loc[lowest & (frame["design"] == "expert"), "ssim_mean"] = -0.7

    def invert(frame):
        frame.loc[(frame["dose_e_per_a2"] == 1000) & (frame["design"] == "expert"), "contrast"] = -0.1

    rewrite(folder, "summary", change)
    rewrite(folder, "validation", invert)
    gain, _, failed, *_ = sentences(read_tables(folder))
    assert "largest at 500 e/Å²" in gain
    assert "at 4 of 5 doses" in gain
    assert "with optimised settings at 100 e/Å²; with expert settings at 100 e/Å², 1,000 e/Å²." in failed
    assert verdicts(folder)["optimised settings beat the expert at every dose"] == "cannot be judged"
    assert verdicts(folder)["the gain is largest at the lowest dose"] == "cannot be judged"
    page = write_report(folder).read_text()
    # beside the recommended settings, and in the scores of both designs and simulators
    assert page.count(f"<small>{FAILED}</small>") == 1 + 2 + 2 + 2


def change_settings(folder: Path, **changes) -> None:
    path = folder / "resolved.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **changes}, sort_keys=False))


def test_a_paper_is_compared_with_only_where_the_study_asks(full, tmp_path):
    page = (full / "report.html").read_text()
    assert page.count("After Cao et al. 2022") == 4
    assert "Trends of Cao et al. 2022" in page
    folder = copy(full, tmp_path)
    change_settings(folder, compare_with=None)
    assert "Cao et al." not in write_report(folder).read_text()


def test_no_trial_depends_on_the_comparison(tmp_path):
    run = kinds.open_study(Path(__file__).parents[2] / "studies" / "lowdose", "smoke", tmp_path)
    study = run.resolved.study
    assert study.compare_with == "cao2022"
    other = replace(run.resolved, study=study.model_copy(update={"compare_with": None}))
    for job, same in zip(run.kind.jobs(run.resolved), run.kind.jobs(other), strict=True):
        assert job == same
    assert run.settings("resolve") != Run(run.kind, other).settings("resolve")  # what the report reads


def test_why_the_best_aperture_is_not_that_of_the_paper(full, tmp_path):
    claim = "the best aperture lies above 30 mrad, except at the lowest dose"
    folder = copy(full, tmp_path)

    def change(frame):
        rows = frame["parameter"] == "semiangle_mrad"
        frame.loc[rows & (frame["dose_e_per_a2"] == 100), "best"] = 33.0
        frame.loc[rows & (frame["dose_e_per_a2"] == 5000), "best"] = 29.0

    rewrite(folder, "recommended", change)
    trend = next(trend for trend in trends(read_tables(folder)) if trend.claim == claim)
    assert trend.verdict == "does not appear"
    assert trend.reason.startswith("Also above 30 mrad at the lowest dose; not above 30 mrad at 5,000 e/Å². Best")


def test_smoke_scale_is_marked(full, tmp_path):
    assert "Smoke scale" not in (full / "report.html").read_text()
    folder = copy(full, tmp_path)
    change_settings(folder, scale="smoke")
    page = write_report(folder).read_text()
    assert page.index("Its numbers mean little") < page.index("What was asked")


def test_trials_behind_the_ranges_are_counted(full, tmp_path):
    tables = read_tables(full)
    rows = pd.read_csv(full / "tables" / "trials.csv")
    rows = rows[(rows["search"] == "bo") & (rows["status"] == "ok")]
    assert [tables.fitted(dose) for dose in tables.doses] == list(rows.groupby("dose_e_per_a2").size())
    assert not any("Caution" in text for text in sentences(tables))
    folder = copy(full, tmp_path)
    few = (rows["dose_e_per_a2"] == 500) & (rows.groupby("dose_e_per_a2").cumcount() < 19)
    rewrite(folder, "trials", lambda _: rows[few | (rows["dose_e_per_a2"] != 500)])
    caution = sentences(read_tables(folder))[-1]
    assert "a model of only 19 trials at 1 of 5 doses" in caution
    assert "few: caution" in write_report(folder).read_text()


def test_designs_are_compared_in_what_was_maximised(full):
    """Also where that is neither SSIM nor PSNR, which are always compared."""
    tables = read_tables(full)
    assert not any(text.startswith("What was maximised") for text in sentences(tables))
    tables.study["objective"]["metric"] = "mine.py:corr@0123456789ab"
    rows = tables["validation"]
    rows["objective"] = np.where(rows["design"] == "optimised", 0.9, 0.5) + 0.01 * rows["repeat"]
    (said,) = (text for text in sentences(tables) if text.startswith("What was maximised"))
    assert said.startswith("What was maximised, mine.py:corr, in the same re-simulations: ")
    assert "a difference of 0.4 (95 % interval 0.4 to 0.4: better)" in said


def test_probe_radius():
    # 80 kV: wavelength 0.041757 A; 20 mrad, -55 nm: 550 A * 0.02 + 0.61 * 0.041757 / 0.02
    assert probe_radius_a(80, 20, -55) == pytest.approx(11 + 1.27359, abs=1e-4)


def test_what_a_blank_image_scores_and_which_dose_arrived_is_said(full, tmp_path):
    said = sentences(read_tables(full))
    (blank,) = (text for text in said if text.startswith("A blank image"))
    assert blank == (
        "A blank image has SSIM 0.140 and PSNR 14.0 dB. Not told from it: the expert settings' PSNR at 100 e/Å²."
    )
    assert any("at least 99.5 % of the stated dose on average, and no part of it less than 97.0 %" in t for t in said)
    assert ">12<" in (full / "report.html").read_text().replace("\n", "").replace(" ", "")
    folder = copy(full, tmp_path)
    for table, columns in (("summary", ["ssim_blank", "psnr_db_blank"]), ("trials", ["fluence_mean", "fluence_least"])):
        rewrite(folder, table, lambda frame, columns=columns: frame.drop(columns=columns))
    older = sentences(read_tables(folder))
    assert len(older) == len(said) - 2
