"""What is refused or warned of before any job starts: memory, results folder."""

from __future__ import annotations

import pytest
from study_files import tiny, write_study

from ptydesign import kinds, machine
from ptydesign.errors import InputError
from ptydesign.study.cost import check_memory


def load(tmp_path):
    return kinds.load_studies(tmp_path / "studies", {}, ["studies/tiny"], tmp_path / "results")


def test_memory_is_checked_against_the_machine(tmp_path):
    folder = write_study(tmp_path / "studies" / "tiny", tiny())
    run = kinds.open_study(folder, "preview", tmp_path / "results")
    each = max(run.memory_gib.values())
    assert check_memory(run.kind, run.resolved, 2, 3 * each) is None
    assert "--cores 3" in check_memory(run.kind, run.resolved, 8, 3.5 * each)
    with pytest.raises(InputError, match=r"studies/tiny.*memory.*executor"):
        check_memory(run.kind, run.resolved, 1, 0.5 * each)


def test_a_job_too_large_for_this_machine_is_refused(tmp_path, monkeypatch):
    write_study(tmp_path / "studies" / "tiny", tiny())
    monkeypatch.setattr(machine, "memory_bytes", lambda: 0.1 * machine.GIB)
    with pytest.raises(InputError, match="memory"):
        kinds.check_fits(load(tmp_path).values(), 2)


def test_jobs_that_together_need_too_much_are_warned_of(tmp_path, monkeypatch, capsys):
    write_study(tmp_path / "studies" / "tiny", tiny())
    monkeypatch.setattr(machine, "memory_bytes", lambda: 4.0 * machine.GIB)
    kinds.check_fits(load(tmp_path).values(), 64)
    assert "--cores" in capsys.readouterr().err


def test_only_studies_that_a_command_line_names_are_read(tmp_path):
    for name in ("tiny", "other"):
        write_study(tmp_path / "studies" / name, tiny())

    def names(*arguments):
        return list(kinds.load_studies(tmp_path / "studies", {}, arguments, tmp_path / "results"))

    assert names() == []
    assert names("studies/tiny", "-n") == ["tiny"]
    assert names("results/other/report.html") == ["other"]
    assert names("--target-jobs", "experiment_round:run=tiny,search=a", "--mode", "remote") == ["tiny"]
    assert names("experiment_collect_other") == ["other"]
    assert names("all", "studies/tiny") == ["other", "tiny"]


def test_an_overview_says_what_there_is_and_what_it_takes(tmp_path):
    write_study(tmp_path / "studies" / "tiny", tiny())
    write_study(tmp_path / "studies" / "broken", tiny(experiment__step_a=-1))
    broken, fine = list(kinds.overview(tmp_path / "studies", "preview", tmp_path / "results", 2))[1:3]
    assert "experiment.step_a" in broken
    assert "tiny" in fine
    assert " min " in fine
    with pytest.raises(InputError, match="studies"):
        list(kinds.overview(tmp_path / "none", "preview", tmp_path / "results", 2))


def test_a_results_folder_that_is_a_file_is_refused(tmp_path):
    write_study(tmp_path / "studies" / "tiny", tiny())
    (tmp_path / "results").write_text("not a folder")
    with pytest.raises(InputError, match=r"results folder.*written"):
        load(tmp_path)
