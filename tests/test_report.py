"""The report: self-contained, and its findings are those of the tables. The tables are synthetic."""

from __future__ import annotations

import html.parser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from synthetic_study import SPACE, copy, rewrite, scale_column, write_results

from ptydesign.study.figures import draw_all, read_tables
from ptydesign.study.findings import compare, probe_radius_a, trends
from ptydesign.study.report import write_report


@pytest.fixture(scope="module")
def full(tmp_path_factory) -> Path:
    """A complete results folder with figures and report. Tests that change it work on a copy."""
    folder = write_results(tmp_path_factory.mktemp("figures") / "synthetic")
    draw_all(folder)
    write_report(folder)
    return folder


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
    assert len(links.fetched) == 5
    assert all(link.startswith("data:image/png;base64,") for link in links.fetched)
    assert "http:" not in page
    assert "https:" not in page
    assert links.headings == ["What was asked", "What was found", "Failures", "Figures", "How to reproduce"]
    for words in ("snakemake studies/synthetic", "Which settings give", "twist_deg: 30.0", "the loss became NaN"):
        assert words in page
    assert str(full) not in page  # no path of the machine it was made on


def test_report_escapes_what_a_study_says(full, tmp_path):
    folder = copy(full, tmp_path)
    plan = yaml.safe_load((folder / "plan.yaml").read_text())
    plan["title"], plan["scale"] = "<script>alert(1)</script>", "paper"
    (folder / "plan.yaml").write_text(yaml.safe_dump(plan))
    page = write_report(folder).read_text()
    assert "<script>" not in page
    assert "snakemake studies/synthetic --config scale=paper" in page


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

    def reverse(frame):
        for name in SPACE:
            rows = frame["parameter"] == name
            for column in ("best", "low", "high"):
                frame.loc[rows, column] = frame.loc[rows, column].to_numpy()[::-1]

    rewrite(worse, "recommended", reverse)
    assert set(verdicts(worse).values()) == {"does not appear"}


def test_a_difference_inside_the_error_bars_is_not_a_win(full, tmp_path):
    folder = copy(full, tmp_path)
    rewrite(folder, "summary", scale_column("ssim_std", 30))
    assert verdicts(folder)["optimised settings beat the expert at every dose"] == "within the tolerances"
    assert verdicts(folder)["the gain is largest at the lowest dose"] == "within the tolerances"
    assert all(not pair.outside for pair in compare(read_tables(folder), "jax"))


def test_sigmas_against_numbers_worked_by_hand(full):
    table = pd.read_csv(full / "tables" / "validation.csv")
    rows = table[(table["dose_e_per_a2"] == 1000) & (table["simulator"] == "jax")]
    a, b = (rows.loc[rows["design"] == name, "ssim_1.5"].to_numpy() for name in ("optimised", "expert"))
    expected = (a.mean() - b.mean()) / np.sqrt(a.var(ddof=1) + b.var(ddof=1))
    pair = next(pair for pair in compare(read_tables(full), "jax") if pair.dose == 1000)
    assert pair.sigmas == pytest.approx(expected, rel=1e-12)
    assert pair.n == (5, 5)
    assert all(np.isnan(pair.sigmas) for pair in compare(read_tables(full), "abtem"))


def test_probe_radius():
    # 80 kV: wavelength 0.041757 A; 20 mrad, -55 nm: 550 A * 0.02 + 0.61 * 0.041757 / 0.02
    assert probe_radius_a(80, 20, -55) == pytest.approx(11 + 1.27359, abs=1e-4)
