"""A whole study of depth at smoke scale: its tables and its report, what diverges, a kill."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from base64 import b64encode as b64
from pathlib import Path

import pandas as pd
import pytest
from synthetic_study import rewrite
from thick_files import (
    DIVERGES,
    RESULTS,
    command_of,
    is_function_of_tables,
    pictures,
    report,
    says_how_to_reproduce,
    section,
    snakemake,
    step,
    write_study,
)

MISSING = "Depth resolution against the experiment: not drawn, because no two experiments that differ in one number"


def no_variants(content) -> None:
    content["scales"]["smoke"].update(variants=[])


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A folder in which a whole study has run."""
    folder = tmp_path_factory.mktemp("whole")
    write_study(folder, "depth", no_variants)
    done = snakemake(folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def copied(whole, tmp_path):
    """The same to be changed."""
    return Path(shutil.copytree(whole, tmp_path / "copy"))


def test_a_whole_study(whole):
    page = (whole / RESULTS / "report.html").read_text()
    assert "RMSE" in page
    assert page.count("data:image/png") >= 3
    assert len(pd.read_csv(whole / RESULTS / "tables" / "interstitials.csv")) == 2
    assert "None of 3: everything gave a result." in section(page, "Failures")
    assert section(page, "Figures").count(": not drawn, because") == 1
    assert MISSING in page


def test_figures_and_page_are_functions_of_the_tables(whole, tmp_path):
    is_function_of_tables(whole, tmp_path)


def test_the_page_says_how_to_reproduce_it(whole):
    says_how_to_reproduce(whole)


def test_an_assumption_that_diverged_is_told_once_and_leaves_its_figure_out(copied):
    """The true thickness is one of two thicknesses and one of the numbers of slices."""
    results = copied / RESULTS
    assert "thickness.png" in pictures(results)

    def change(frame):
        lost = frame["slices"] == 5
        assert lost.sum() == 2
        frame["reason"] = frame["reason"].astype(object)
        frame.loc[lost, ["status", "reason"]] = ("diverged", "Lower its steps.")
        frame.loc[lost, ["misfit_seen", "misfit_held_out"]] = float("nan")

    rewrite(results, "thickness", change)
    page = report(results)
    failures = section(page, "Failures")
    assert "1 of 3 did not give a score" in failures
    assert "5 slices of 7.34 Å assumed" in failures
    assert "Lower its steps." in failures
    assert "Thickness and number of slices: not drawn, because no two assumptions of a kind gave a misfit" in page
    assert not {"thickness.png", "thickness.pdf"} & set(pictures(results))
    assert "misfit of held-out patterns is least" not in page


def test_a_study_without_assumptions_says_so(copied):
    rewrite(copied / RESULTS, "thickness", lambda frame: frame.iloc[:0])
    page = report(copied / RESULTS)
    assert "not drawn, because the study assumes no other thickness or number of slices" in page
    assert "None of 1: everything gave a result." in page


def test_a_study_in_which_all_diverges_ends_with_its_reasons(copied):
    """Not with a job that fails."""

    def change(content):
        no_variants(content)
        content["scales"]["smoke"]["reconstruction"]["engines"][0]["object_rate"] = DIVERGES

    write_study(copied, "depth", change)
    step(copied, "depth", "reconstruct", variant="base")
    step(copied, "depth", "measure", variant="base")
    for file in (copied / RESULTS / "thickness").glob("*.json"):
        step(copied, "depth", "thickness", guess=file.stem)
    step(copied, "depth", "collect")
    page = report(copied / RESULTS)
    assert section(page, "Failures").count("gradient diverged in sweep 1: loss nan") == 3
    assert "3 of 3 did not give a score" in page
    assert "The reconstruction of the base experiment failed: gradient diverged" in section(page, "What was found")
    assert section(page, "Figures").count(": not drawn, because") == 4
    assert "Projection: not drawn, because the reconstruction of the base experiment failed" in page
    assert set(pictures(copied / RESULTS)) == {"index.json"}


@pytest.mark.slow
def test_a_killed_study_simulates_no_chunk_again_and_ends_bit_identical(whole, tmp_path):
    killed, results = tmp_path, whole / RESULTS
    write_study(killed, "depth", no_variants)
    data = killed / RESULTS / "data" / "base"

    def finished() -> list[Path]:
        """Chunks of which the job has ended, as Snakemake notes it; one that ends while it is killed is made again."""
        noted = {p.name for p in (killed / ".snakemake" / "metadata").glob("*")}
        return [p for p in data.glob("chunk-*.h5") if b64(str(p.relative_to(killed)).encode()).decode() in noted]

    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command_of(), cwd=killed, start_new_session=True, **quiet)
    try:
        deadline = time.monotonic() + 500
        while not finished() and time.monotonic() < deadline:
            assert process.poll() is None, "ended before it could be killed"
            time.sleep(0.02)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    kept = {path: path.stat().st_mtime_ns for path in finished()}
    assert kept
    assert snakemake(killed, "--unlock").returncode == 0
    again = snakemake(killed)
    assert again.returncode == 0, again.stderr
    for path, moment in kept.items():
        assert path.stat().st_mtime_ns == moment, "a chunk that was there was simulated again"
    for path in (results / "tables").glob("*.csv"):
        assert (killed / path.relative_to(whole)).read_bytes() == path.read_bytes(), path.name
    rest = snakemake(killed, "--dry-run")
    assert "Nothing to be done" in rest.stdout + rest.stderr
