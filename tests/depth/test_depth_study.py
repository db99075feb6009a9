"""The tiny study of depth: its tables and its report, what diverges; and one as Snakemake runs it, with a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from base64 import b64encode as b64
from pathlib import Path

import pandas as pd
import pytest
import yaml
from every_kind import write_tiny
from finished import Study
from synthetic_study import rewrite
from thick_files import DIVERGES, pictures, says_how_to_reproduce, section

ROOT = Path(__file__).parents[2]
MISSING = "Depth resolution against the experiment: not drawn, because no two experiments that differ in one number"


@pytest.fixture
def whole(studies) -> Study:
    """The study, which has run."""
    return studies["depth"]


@pytest.fixture
def copied(whole, tmp_path, monkeypatch, studies) -> Study:
    """The same to be changed."""
    monkeypatch.setenv("PTYDESIGN_CACHE", str(studies.cache))
    return whole.copy(tmp_path)


def test_a_whole_study(whole):
    page = (whole.results / "report.html").read_text()
    assert "RMSE" in page
    assert page.count("data:image/png") >= 3
    assert len(pd.read_csv(whole.results / "tables" / "interstitials.csv")) == 2
    assert "None of 3: everything gave a result." in section(page, "Failures")
    assert section(page, "Figures").count(": not drawn, because") == 1
    assert MISSING in page


def test_the_page_says_how_to_reproduce_it(whole):
    says_how_to_reproduce(whole)


def test_an_assumption_that_diverged_is_told_once_and_leaves_its_figure_out(copied):
    """The true thickness is one of two thicknesses and one of the numbers of slices."""
    results = copied.results
    assert "thickness.png" in pictures(results)

    def change(frame):
        lost = frame["slices"] == 5
        assert lost.sum() == 2
        frame["reason"] = frame["reason"].astype(object)
        frame.loc[lost, ["status", "reason"]] = ("diverged", "Lower its steps.")
        frame.loc[lost, ["misfit_seen", "misfit_held_out"]] = float("nan")

    rewrite(results, "thickness", change)
    page = copied.report()
    failures = section(page, "Failures")
    assert "1 of 3 did not give a score" in failures
    assert "5 slices of 7.34 Å assumed" in failures
    assert "Lower its steps." in failures
    assert "Thickness and number of slices: not drawn, because no two assumptions of a kind gave a misfit" in page
    assert not {"thickness.png", "thickness.pdf"} & set(pictures(results))
    assert "misfit of held-out patterns is least" not in page


def test_a_study_without_assumptions_says_so(copied):
    rewrite(copied.results, "thickness", lambda frame: frame.iloc[:0])
    page = copied.report()
    assert "not drawn, because the study assumes no other thickness or number of slices" in page
    assert "None of 1: everything gave a result." in page


def test_a_study_in_which_all_diverges_ends_with_its_reasons(copied):
    """Not with a job that fails."""

    file = copied.folder / "study.yaml"
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    content["reconstruction"]["engines"][0]["object_rate"] = DIVERGES
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    copied.step("reconstruct", variant="base")
    copied.step("measure", variant="base")
    for guess in (copied.results / "thickness").glob("*.json"):
        copied.step("thickness", guess=guess.stem)
    copied.step("collect")
    page = copied.report()
    assert section(page, "Failures").count("gradient diverged in sweep 1: loss nan") == 3
    assert "3 of 3 did not give a score" in page
    assert "The reconstruction of the base experiment failed: gradient diverged" in section(page, "What was found")
    assert section(page, "Figures").count(": not drawn, because") == 4
    assert "Projection: not drawn, because the reconstruction of the base experiment failed" in page
    assert set(pictures(copied.results)) == {"index.json"}


@pytest.mark.slow
def test_a_killed_study_simulates_no_chunk_again_and_ends_bit_identical(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--snakefile",
        str(ROOT / "Snakefile"),
        "studies/depth",
        "--cores",
        "2",
    ]

    def snakemake(workplace: Path, *more: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [*command, *more], cwd=workplace, capture_output=True, text=True, timeout=500, check=False
        )

    for workplace in (whole, killed):
        write_tiny("depth", workplace / "studies" / "depth")
    done = snakemake(whole)
    assert done.returncode == 0, done.stderr
    results = killed / "results" / "depth"
    data = results / "data" / "base"

    def finished() -> list[Path]:
        """Chunks of which the job has ended, as Snakemake notes it; one that ends while it is killed is made again."""
        noted = {p.name for p in (killed / ".snakemake" / "metadata").glob("*")}
        return [p for p in data.glob("chunk-*.h5") if b64(str(p.relative_to(killed)).encode()).decode() in noted]

    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, cwd=killed, start_new_session=True, **quiet)
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
    for path in (whole / "results" / "depth" / "tables").glob("*.csv"):
        assert (results / "tables" / path.name).read_bytes() == path.read_bytes(), path.name
    rest = snakemake(killed, "--dry-run")
    assert "Nothing to be done" in rest.stdout + rest.stderr
