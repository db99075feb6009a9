"""What killed runs left is removed, and nothing of those that go on."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from ptydesign import io
from ptydesign.errors import InputError
from ptydesign.study import leftovers


@pytest.fixture
def place(tmp_path):
    """A folder with a lock, and a file that was being written."""
    (tmp_path / ".snakemake" / "locks").mkdir(parents=True)
    (tmp_path / ".snakemake" / "locks" / "0.output.lock").write_text("results/x/report.html")
    (tmp_path / ".snakemake" / "tmp.abc").mkdir()
    (tmp_path / "results" / "x").mkdir(parents=True)
    with io.atomic(tmp_path / "results" / "x" / "table.csv") as temporary:
        os.link(temporary, tmp_path / "left")
        name = temporary.name
    (tmp_path / "left").rename(tmp_path / "results" / "x" / name)
    (tmp_path / "results" / "x" / "table.csv").write_text("a")
    return tmp_path


def note(place: Path, pid: int, started: float, host: str | None = None) -> Path:
    folder = place / ".snakemake" / "runs"
    folder.mkdir(parents=True, exist_ok=True)
    content = {"host": host or platform.node(), "pid": pid, "started": started}
    (folder / f"{pid}.json").write_text(json.dumps(content))
    return folder / f"{pid}.json"


def enter(place: Path) -> list[str]:
    return leftovers.enter(place / ".snakemake", [place / "results"], place / "cache")


def left(place: Path) -> tuple[int, int]:
    """Locks and temporary files."""
    locks = place / ".snakemake" / "locks"
    return len(list(locks.glob("*"))), len(list(leftovers.temporary_files(place / "results")))


def dead_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_what_a_dead_run_left_is_removed_with_a_word(place):
    assert left(place) == (1, 1)
    noted = note(place, dead_process(), time.time() - 60)
    told = enter(place)
    assert left(place) == (0, 0)
    assert not noted.exists()
    assert not (place / ".snakemake" / "tmp.abc").exists()
    assert (place / "results" / "x" / "table.csv").read_text() == "a"
    assert len(told) == 2
    assert "killed" in told[0]
    (own,) = (place / ".snakemake" / "runs").glob("*.json")
    assert json.loads(own.read_text())["pid"] == os.getpid()


def test_a_process_that_got_the_number_of_a_dead_one_is_another(place):
    note(place, os.getpid(), psutil.Process().create_time() - 3600)
    enter(place)
    assert left(place) == (0, 0)


def test_nothing_is_removed_while_another_run_goes_on(place):
    me = psutil.Process()
    note(place, me.ppid(), psutil.Process(me.ppid()).create_time())
    note(place, dead_process(), time.time() - 60)
    told = enter(place)
    assert left(place) == (1, 1)
    assert str(me.ppid()) in told[0]


def test_the_end_of_a_run_elsewhere_is_not_guessed(place):
    note(place, dead_process(), time.time() - 60, host="another-machine")
    told = enter(place)
    assert left(place) == (1, 1)
    assert "another-machine" in told[0]
    assert "--unlock" in told[0]
    leftovers.forget(place / ".snakemake")
    assert not (place / ".snakemake" / "runs").exists()


def test_a_lock_without_a_note_is_left_to_snakemake(place):
    """Of a run that this version did not start: who knows."""
    enter(place)
    assert left(place)[0] == 1


def test_only_old_files_of_a_cache_that_others_share_are_removed(place):
    (place / "cache").mkdir()
    for name, age in ((".p.h5.abcdefgh.h5", 0), (".q.h5.abcdefgh.h5", 2 * leftovers.ABANDONED_S)):
        (place / "cache" / name).write_text("")
        os.utime(place / "cache" / name, (time.time() - age,) * 2)
    enter(place)
    assert [path.name for path in (place / "cache").iterdir()] == [".p.h5.abcdefgh.h5"]


def test_a_study_that_runs_is_not_started_again(place):
    me = psutil.Process()
    other = leftovers.Note(
        platform.node(), me.ppid(), psutil.Process(me.ppid()).create_time(), [str(place / "results")]
    )
    note(place, 1, 1.0).write_text(json.dumps(dataclasses.asdict(other)))
    with pytest.raises(InputError, match=f"still running as process {me.ppid()}") as caught:
        enter(place)
    assert f"`kill {me.ppid()}`" in caught.value.mend
    assert len(list((place / ".snakemake" / "runs").glob("*.json"))) == 1  # none of its own
    assert leftovers.enter(place / ".snakemake", [place / "another"], place / "cache")  # another study may run
