"""What every step of every kind of studies keeps to: it runs, twice with equal bytes and from stored trials, after a
kill too; it refuses a study that has changed; its rule is complete; figures and page are functions of the tables."""

from __future__ import annotations

import html
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import h5py
import pytest
import yaml
from every_kind import TITLE

from benchmarks import corruptions
from ptydesign import kinds, steps
from ptydesign.cli import main
from ptydesign.study import cost
from ptydesign.study.damage import damaged
from ptydesign.study.kind import SHARED
from ptydesign.study.store import PointStore

ROOT = Path(__file__).parents[2]
SECONDS = "history/seconds"
SEED = "seed"  # a setting that every kind has and that most steps depend on

# Run a command line, and die as by `kill -9` while a file of the results is renamed for the n-th time.
KILLED = """
import os, signal, sys
from ptydesign.cli import main
left, root, rename = int(sys.argv[1]), sys.argv[2], os.replace
def replace(source, target):
    global left
    left -= str(target).startswith(root)
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    rename(source, target)
os.replace = replace
sys.exit(main(sys.argv[3:]))
"""


@pytest.fixture(autouse=True)
def surroundings(studies):
    """Tests run jobs where the finished studies ran."""
    with studies.surroundings():
        yield


def content(file: Path) -> bytes | dict[str, bytes]:
    """What must be equal: all bytes; of a file with a reconstruction, all but the seconds that it took."""
    if file.suffix != ".h5":
        return file.read_bytes()
    with h5py.File(file) as opened:
        if SECONDS not in opened:
            return file.read_bytes()
        names: list[str] = []
        opened.visit(names.append)
        found = {name: opened[name][()].tobytes() for name in names if isinstance(opened[name], h5py.Dataset)}
        words = repr(sorted((name, value) for name, value in opened.attrs.items() if name != "hash"))
    return {**found, SECONDS: b"", "attributes": re.sub(r'"seconds": [\d.]+', "", words).encode()}


def refuse(*_):
    raise AssertionError("a trial was computed again, or something was measured")


@pytest.mark.parametrize("kind", kinds.KINDS)
def test_every_step_has_a_job_here_and_runs(kind, studies):
    study = studies[kind]
    run = study.run
    done = list(study.jobs())
    assert {job.step.name for job in done} == {step.name for step in run.kind.steps}
    made = [file for job in done for file in job.outputs]
    assert len(made) == len(set(made)), "two jobs make the same file"
    assert set(run.kind.tables(run.resolved)) <= set(made)
    assert not {step.memory for step in run.kind.steps if step.memory} - set(run.memory_gib)
    assert not set(run.kind.work(run.resolved)) - {step.name for step in run.kind.steps}


@pytest.mark.parametrize("kind", kinds.KINDS)
def test_the_page_is_complete_and_a_function_of_the_tables(kind, studies, tmp_path, monkeypatch):
    study = studies[kind].copy(tmp_path)
    results = study.root / kind
    page = (results / "report.html").read_bytes()
    figures = {file: file.read_bytes() for file in (results / "figures").iterdir()}
    for name in ("What was asked", "What was found", "Failures", "Figures", "How to reproduce"):
        assert f"<h2>{name}</h2>" in html.unescape(page.decode())
    assert str(studies[kind].workplace) not in html.unescape(page.decode())
    assert f"<h1>{html.escape(TITLE)}</h1>" in page.decode().replace("&#34;", "&quot;")
    drawn = {figure.name for figure in study.run.kind.pictures if (results / f"figures/{figure.name}.png").exists()}
    for figure in study.run.kind.pictures:
        assert (f". {figure.title}.</b>" in html.unescape(page.decode())) == (figure.name in drawn)
        assert (f"{figure.title}: not drawn, because" in html.unescape(page.decode())) == (figure.name not in drawn)
    shutil.rmtree(results / "figures")
    (results / "report.html").unlink()
    monkeypatch.setattr(cost, "time", SimpleNamespace(process_time=refuse))
    assert study.report().encode() == page
    assert {file: file.read_bytes() for file in (results / "figures").iterdir()} == figures


@pytest.mark.parametrize("kind", kinds.KINDS)
def test_a_job_that_runs_again_computes_no_trial_and_gives_equal_bytes(kind, studies, tmp_path, monkeypatch):
    study = studies[kind].copy(tmp_path)
    monkeypatch.setattr(PointStore, "put", refuse)
    for job in study.jobs():
        before = [content(file) for file in study.files(job)]
        for file in study.files(job):
            file.unlink()
        study.do(job)
        assert [content(file) for file in study.files(job)] == before, job


@pytest.mark.parametrize("kind", kinds.KINDS)
def test_a_job_that_was_killed_goes_on_and_gives_equal_bytes(kind, studies, tmp_path):
    study = studies[kind].copy(tmp_path)
    job = max((job for job in study.jobs() if job.step.jax), key=lambda job: study.renames[str(job.outputs)])
    before = [content(file) for file in study.files(job)]
    for file in study.files(job):
        file.unlink()
    shutil.rmtree(PointStore(study.root).folder, ignore_errors=True)
    at = (study.renames[str(job.outputs)] + 1) // 2
    command = [sys.executable, "-c", KILLED, str(at), str(study.root), *study.command(job.step.name, job.which)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == -9, done.stderr
    assert not any(file.exists() for file in study.files(job))
    stored = {file: file.stat().st_mtime_ns for file in PointStore(study.root).folder.glob("*/[!.]*.json")}
    assert len(stored) == 0 or at > 1
    study.do(job)
    assert [content(file) for file in study.files(job)] == before
    assert all(file.stat().st_mtime_ns == moment for file, moment in stored.items()), "a stored trial was made again"


@pytest.mark.parametrize("kind", kinds.KINDS)
def test_a_changed_study_and_an_unknown_job_are_refused(kind, studies, tmp_path, capsys):
    study = studies[kind].copy(tmp_path)
    results, run = study.root / kind, study.run
    first = {job.step.name: job for job in reversed(list(run.kind.jobs(run.resolved)))}
    expected = {name: run.settings_hash(name, job.which) for name, job in first.items()}
    file = study.folder / "study.yaml"
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    file.write_text(yaml.safe_dump({**content, SEED: content[SEED] + 1}), encoding="utf-8")
    other = study.run
    touched = [name for name, job in first.items() if other.settings_hash(name, job.which) != expected[name]]
    assert len(touched) >= 2
    for word in (*first, *SHARED[:1]):
        shutil.rmtree(results, ignore_errors=True)
        which = first[word].which if word in first else {}
        hashes = [expected[word]] if word in touched else []
        for expect in (*hashes, "0" * 12):
            assert main(study.command(word, which, "--expect", expect)) == 2, word
            assert f"{file}: must not change while the study runs" in capsys.readouterr().err
        for name in which:
            assert main(study.command(word, {**which, name: "nonsense"})) == 2
            error = capsys.readouterr().err
            assert f"{word}: " in error
            assert "must be one of the study's" in error
        assert not results.exists(), f"{word} wrote before it refused"


@pytest.mark.parametrize("kind", kinds.KINDS)
def test_damage_of_any_file_is_found_before_work_starts(kind, studies, tmp_path):
    """A short form of `python -m benchmarks corruptions`: what is found is made anew, or refused when it is read."""
    study = studies[kind].copy(tmp_path)
    run, rng, results = study.run, random.Random(0), study.root / kind
    assert list(damaged(run)) == []
    files = [file for job in study.jobs() for file in study.files(job) if file.suffix in (".json", ".csv", ".h5")]
    hashes = [file for file in files if file.name == "hashes.json"]
    files = [file for file in files if file not in hashes] + [results / "resolved.yaml"]
    for some, damages in ((files, ("cut", "flip", "empty", "less", "bare")), (hashes, ("less", "empty", "bare"))):
        for damage in damages:
            whole = {file: file.read_bytes() for file in some}
            for file in some:
                if damage != "flip" or file.suffix != ".h5":  # HDF5 has bits that say nothing
                    corruptions.DAMAGES[damage](file, rng, [])
            found = {name for name, _ in damaged(run)}
            for file, content in whole.items():
                changed = file.read_bytes() != content  # a record that lists one thing alone still does
                assert not changed or file.relative_to(results).as_posix() in found, (file, damage)
                file.write_bytes(content)


@pytest.mark.parametrize("kind", kinds.KINDS)
def test_a_file_in_anothers_place_is_found_before_work_starts(kind, studies, tmp_path):
    study = studies[kind].copy(tmp_path)
    run, results = study.run, study.root / kind
    for suffix in (".json", ".h5"):
        jobs = [file for job in study.jobs() for file in study.files(job)]
        files = [file for file in jobs if file.suffix == suffix and file.parent.name != "tables"]
        whole = [file.read_bytes() for file in files]
        for file, content in zip(files, [*whole[1:], *whole[:1]], strict=True):
            file.write_bytes(content)
        found = {name for name, _ in damaged(run)}
        if len(files) > 1:
            assert {file.relative_to(results).as_posix() for file in files} <= found
        for file, content in zip(files, whole, strict=True):
            file.write_bytes(content)


def test_snakemake_finds_every_file_where_the_steps_made_it(studies, tmp_path):
    """Rules of all kinds at once: with all files in place there is nothing to be done, and a file that is missing has
    a rule, whatever made it."""
    shutil.copy(ROOT / "Snakefile", tmp_path)
    for kind in kinds.KINDS:
        studies[kind].copy(tmp_path)
    command = [sys.executable, "-m", "snakemake", *(f"studies/{kind}" for kind in kinds.KINDS), "--cores", "1", "-n"]

    def planned() -> str:
        done = subprocess.run(
            command, cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    assert "Nothing to be done" in planned()
    for kind in kinds.KINDS:
        shutil.rmtree(tmp_path / "results" / kind)
    words = planned()
    for kind in kinds.KINDS:
        for step in kinds.find_kind(kind).steps:
            assert f"\n{kind}_{step.name}" in words


@pytest.mark.parametrize(
    "words, threads",
    [(["--round", "0", "--threads", "2"], 2), (["--threads=3", "--chunk", "1"], 3), (["--round", "0"], None)],
)
def test_threads_are_not_another_options_number(words, threads):
    assert steps._given(words, "--threads") == threads
