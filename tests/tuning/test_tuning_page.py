"""The report of a tuning study: failures, reasons, how to reproduce."""

from __future__ import annotations

import pytest
import yaml
from finished import Study
from synthetic_study import rewrite
from thick_files import DIVERGES, pictures, section
from tuning_files import resolved_in, run_all

from ptydesign.tuning.figures import FIGURES


@pytest.fixture
def copied(done, tmp_path) -> Study:
    """The finished study in another workplace, to be changed."""
    return done.copy(tmp_path)


def test_the_page_says_how_to_reproduce_it(finished):
    page = (finished.results / "report.html").read_text()
    said = section(page, "How to reproduce")
    made = yaml.safe_load((finished.results / "resolved.yaml").read_text())["resolved"]
    for words in ("<pre>snakemake studies/tuning</pre>", made["hash"], "seed</dt><dd>3</dd>", "tables/trials.csv"):
        assert words in said
    assert f"ptydesign {made['ptydesign']}" in said
    assert "\nbudget:" in said
    found = section(page, "What was found")
    assert (finished.results / "best-w0.04.yaml").read_text().splitlines()[-1] in found
    assert "The plan found beats timid in SSIM against truth" in found


def test_failures_are_counted_once_with_place_and_reason(copied):
    """Trials that searches share are one; tables of data and doses begin with the plans of the main budget."""

    def lost(frame):
        frame["reason"] = frame["reason"].astype(object)
        bad = frame["key"] == frame["key"].iloc[0]
        assert bad.sum() > 1
        frame.loc[bad, ["status", "reason"]] = ("diverged", "lsqml diverged.")

    def unscored(frame):
        frame["reason"] = frame["reason"].astype(object)
        rows = frame["plan"] == "timid"
        frame.loc[rows, ["status", "reason"]] = ("failed", "constant phase")
        frame.loc[rows, ["frc_area", "heldout_misfit", "sweeps"]] = float("nan")

    rewrite(copied.results, "trials", lost)
    for table in ("budgets", "validation", "doses"):
        rewrite(copied.results, table, unscored)
    page = copied.report()
    rows = section(page, "Failures").replace('<td class="text">', "|").split("<tr>")[2:]
    counts = {row.split("|")[1].partition("<")[0]: int(row.rpartition("<td>")[2].partition("<")[0]) for row in rows}
    assert counts == {"searches": 1, "plans at the budgets": 2, "fresh data": 1, "doses": 1}
    assert "5 of " in section(page, "Failures")
    assert "lsqml diverged." in page
    assert "<td>failed</td>" in section(page, "What was found")  # in the table of plans


def test_figures_that_the_tables_do_not_allow_have_their_reasons(copied):
    for table in ("effects", "example", "doses"):
        (copied.results / "tables" / f"{table}.csv").unlink()
    rewrite(copied.results, "chosen", lambda frame: frame.iloc[:0])
    missing = section(copied.report(), "Figures")
    assert "Values chosen: not drawn, because the space has no choices" in missing
    assert "against the dose: not drawn, because the study has one dose, or no truth" in missing
    assert missing.count("not drawn, because") == 5
    assert not [name for name in pictures(copied.results) if name.startswith(("effects", "example", "doses", "chosen"))]


@pytest.mark.parametrize("references", [{}, {"default": {}}])
def test_a_study_in_which_all_diverges_ends_with_its_reasons(references, tmp_path):
    """Not with a job that fails."""
    rates, batches = {"choices": [0.001, 0.002, 0.003]}, {"choices": ["sparse", "compact"]}
    resolved = resolved_in(
        tmp_path,
        plan={"engines": [{"engine": "gradient", "group": 12, "object_rate": DIVERGES}]},
        space={"engines.0.probe_rate": rates, "engines.0.batches": batches},
        example={"path": "engines.0.offset", "values": [0.001, 0.01]},
        references=references,
        search={"initial": 2, "points": 1, "repeats": 1},
    )
    run_all(resolved)
    page = (resolved.results / "report.html").read_text()
    assert "No plan was found: no trial gave a score." in page
    assert "gradient diverged in sweep 1: loss nan" in section(page, "Failures")
    assert section(page, "Figures").count("not drawn, because") == len(FIGURES) - 1  # the values chosen are known
    assert "everything gave a result" not in page
