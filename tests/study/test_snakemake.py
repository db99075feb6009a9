"""The Snakefile with real jobs: complete, rerun what changed, refuse bad input, survive kill -9."""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from study_files import tiny, write_study

from benchmarks import kills

ROOT = Path(__file__).parents[2]
TABLES = [f"results/tiny/tables/{name}.csv" for name in ("trials", "validation", "recommended", "summary", "map")]

# Rounds of two chunks and of one: every rule has a job, and few have many.
SMALL = {
    "search": {"initial": 4, "points": 2, "batch": 2},
    "random": None,
    "decision": {"contenders": 2, "first": 2, "draws": 4, "refine": 1},
    "jobs": {"chunk": 3},
}
COLLECT = "experiment_collect_tiny"  # a rule of its own: the tables differ with the study


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """Environment whose compiled code and potentials are shared by the runs of this module."""
    return {**os.environ, "PTYDESIGN_CACHE": str(tmp_path_factory.mktemp("cache"))}


def small(**changes) -> dict:
    """The tiny study with fewer jobs."""
    return tiny(**SMALL, **changes)


def make_workplace(folder: Path, **changes) -> Path:
    shutil.copy(ROOT / "Snakefile", folder)
    shutil.copytree(ROOT / "profiles", folder / "profiles")
    write_study(folder / "studies" / "tiny", small(**changes))
    (folder / "yaml.py").write_text("raise SystemExit('jobs must not import modules of the folder they run in')")
    return folder


def snakemake(folder: Path, environment: dict, *arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-P", "-m", "snakemake", *arguments]  # as the script `snakemake`, without this folder
    return subprocess.run(
        command, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )


def planned_jobs(folder: Path, environment: dict) -> dict[str, int]:
    """Jobs of a dry run by rule."""
    done = snakemake(folder, environment, "studies/tiny", "-n", "--quiet", "host")
    assert done.returncode == 0, done.stdout
    stats = re.findall(r"^(\w+) +(\d+)$", done.stdout.partition("Job stats:")[2].partition("\n\n")[0], re.MULTILINE)
    return {rule: int(count) for rule, count in stats if rule != "total"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory, environment):
    """A study that ran without interruption."""
    folder = make_workplace(tmp_path_factory.mktemp("finished"))
    done = snakemake(folder, environment, "studies/tiny")
    assert done.returncode == 0, done.stdout
    folder.joinpath("output.txt").write_text(done.stdout)
    return folder


def test_a_study_runs_to_its_report(finished):
    results = finished / "results" / "tiny"
    for name in ("resolved.yaml", "report.html", *(f"tables/{Path(t).name}" for t in TABLES), "tables/images.h5"):
        assert (results / name).stat().st_size > 0, name
    rows = len((results / "tables" / "trials.csv").read_text().splitlines()) - 1
    assert rows == 6 + 4 + 1  # of the search, of the map, and one after the search
    assert len((results / "tables" / "validation.csv").read_text().splitlines()) == 1 + 2 * 2
    output = (finished / "output.txt").read_text()
    assert "21 trials" in output
    assert "estimate:" in output
    assert re.search(r"ptydesign: \d+/21 trials, best SSIM 0\.\d+", output)
    leftovers = [p for p in finished.rglob(".*") if re.search(r"\.(json|csv|h5|yaml|html)", p.name)]
    assert not leftovers


def test_a_complete_study_has_nothing_to_do(finished, environment):
    """Nor has it under the name that a shell completes."""
    done = snakemake(finished, environment, "studies/tiny", "studies/tiny/")
    assert done.returncode == 0, done.stdout
    assert "Nothing to be done" in done.stdout


@pytest.mark.parametrize(
    "changes, expected",
    [
        ({}, set()),
        ({"title": "Other"}, {"resolve", "figures", "report"}),
        ({"validation__repeats": 3}, {"resolve", "experiment_validate", COLLECT, "figures", "report"}),
        (
            {"map__x__values": [-6, -3]},
            {"resolve", "experiment_propose", "experiment_sample", COLLECT, "figures", "report"},
        ),
    ],
)
def test_a_change_reruns_what_it_touches(finished, environment, changes, expected):
    file = finished / "studies" / "tiny" / "study.yaml"
    before = file.read_text()
    try:
        write_study(file.parent, small(**changes))
        file.write_text("# a comment\n" + file.read_text())
        planned = planned_jobs(finished, environment)
        assert set(planned) - {"studies"} == expected
        if "map__x__values" in changes:
            assert (planned["experiment_propose"], planned["experiment_sample"]) == (1, 2)
    finally:
        file.write_text(before)


IMPORTS = "import snakemake.cli, snakemake.workflow, jax, pandas, scipy.spatial"


def cpu_s(run) -> float:
    """Processor time of the processes that `run` starts: their wall time on a machine that does nothing else."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_bad_input_is_refused_in_seconds_before_anything_is_made(tmp_path, environment):
    folder = make_workplace(tmp_path, space__semiangle_mrad={"low": 10, "high": 99})
    needed = cpu_s(lambda: subprocess.run([sys.executable, "-c", IMPORTS], check=True))
    outputs = []
    took = cpu_s(lambda: outputs.append(snakemake(folder, environment, "studies/tiny")))
    assert took < 2 * needed  # seconds, of which imports are most; how many is the machine's
    (done,) = outputs
    assert done.returncode != 0
    errors = [line for line in done.stdout.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "space.semiangle_mrad" in errors[0]
    assert "Traceback" not in done.stdout
    assert not (folder / "results").exists()


def test_a_study_killed_at_any_moment_ends_bit_identical(finished, environment, tmp_path):
    """With its jobs, and without; nobody unlocks or cleans. `python -m benchmarks kills` does so at random."""
    cache = Path(environment["PTYDESIGN_CACHE"])
    place = kills.Place.make(tmp_path / "again", finished / "studies" / "tiny", "preview", cache, cores=2)

    def stored() -> dict[Path, int]:
        found = (place.folder / "results" / ".points").glob("*/*.json")
        return {p: p.stat().st_mtime_ns for p in found if not p.name.startswith(".")}

    kept: dict[Path, int] = {}
    for enough, alone in ((1, False), (8, True)):  # while the first points are computed, and again later
        process = place.start()
        try:
            deadline = time.monotonic() + 600
            while len(stored()) < enough and time.monotonic() < deadline:
                assert process.poll() is None, "ended before it could be killed"
                time.sleep(0.02)
        finally:
            kills.kill(process, alone)
        found = stored()
        assert enough <= len(found) < 20
        assert kept.items() <= found.items(), "a stored trial was computed again"
        kept = found
    count = kills.Count()
    kills.judge(place, kills.Place(finished, "tiny", "preview", cache).tables, count)
    assert (count.ends, count.identical, count.leftovers) == (1, 1, 0)
    assert "killed" in (place.folder / "output.txt").read_text()  # a lock was in the way
    for path, moment in kept.items():
        assert path.stat().st_mtime_ns == moment, "a stored trial was computed again"
