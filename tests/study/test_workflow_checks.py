"""What is refused or warned of before any job starts: memory, results folder."""

from __future__ import annotations

import pytest
from study_files import tiny, write_study

from ptydesign import kinds, machine
from ptydesign.errors import InputError
from ptydesign.study.cost import check_memory


def load(tmp_path, *arguments, cores=2):
    return kinds.load_studies(tmp_path / "studies", {}, ["studies/tiny", *arguments], tmp_path / "results", cores)


def test_memory_is_checked_against_the_machine(tmp_path):
    folder = write_study(tmp_path / "studies" / "tiny", tiny())
    run = kinds.open_study(folder, "preview", tmp_path / "results")
    each = max(run.memory_gib.values())
    assert check_memory(run.kind, run.resolved, 2, 3 * each) is None
    assert "--cores 3" in check_memory(run.kind, run.resolved, 8, 3.5 * each)
    with pytest.raises(InputError, match=r"studies/tiny.*memory.*executor"):
        check_memory(run.kind, run.resolved, 1, 0.5 * each)


def test_a_job_too_large_for_this_machine_is_refused_unless_it_runs_elsewhere(tmp_path, monkeypatch):
    write_study(tmp_path / "studies" / "tiny", tiny())
    monkeypatch.setattr(machine, "memory_bytes", lambda: 0.1 * machine.GIB)
    with pytest.raises(InputError, match="memory"):
        load(tmp_path)
    assert "tiny" in load(tmp_path, "--executor", "slurm")


def test_jobs_that_together_need_too_much_are_warned_of(tmp_path, monkeypatch, capsys):
    write_study(tmp_path / "studies" / "tiny", tiny())
    monkeypatch.setattr(machine, "memory_bytes", lambda: 4.0 * machine.GIB)
    load(tmp_path, cores=64)
    assert "--cores" in capsys.readouterr().err


def test_a_results_folder_that_is_a_file_is_refused(tmp_path):
    write_study(tmp_path / "studies" / "tiny", tiny())
    (tmp_path / "results").write_text("not a folder")
    with pytest.raises(InputError, match=r"results folder.*written"):
        load(tmp_path)
