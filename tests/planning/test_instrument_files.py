"""Instruments as files: included in plans by name, made by a questionnaire, checked; the examples."""

from __future__ import annotations

import io

import pytest
import yaml
from plan_files import TINY_PLAN, write_plan

from ptydesign.cli import main
from ptydesign.errors import InputError
from ptydesign.planning.api import install
from ptydesign.planning.config import InstrumentConfig
from ptydesign.planning.library import EXAMPLES, find_instrument, lines_of, new_path, read_instrument
from ptydesign.planning.load import make_plan, read_plan
from ptydesign.planning.questions import make_instrument

ANSWERS = ["my Titan", "80 300", "15 21.4, 25", "-60 60", "overfocus", "0.4 6", "", "115 145", "1 5 20", "1 20000",
           "500", "No", "", "schottky", "0.2", "80 21.4 5", "0.9", "1.2", "", "yes", "2 30 1", "0 0 30", "", "", "",
           "1 0.5", "3", "", ""]  # fmt: skip


def answered(monkeypatch, lines) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(lines) + "\n"))


@pytest.mark.parametrize("where", ["plan", "here", "path"])
def test_a_plan_includes_an_instrument_by_name(tmp_path, monkeypatch, where):
    folder, here = tmp_path / "plans", tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    base = {"plan": folder / "instruments", "here": here / "instruments", "path": folder}[where]
    base.mkdir(parents=True)
    (base / "mine.yaml").write_text(yaml.safe_dump(TINY_PLAN["instrument"]))
    path = write_plan(folder / "p.yaml", instrument="mine.yaml" if where == "path" else "mine")
    assert read_plan(path)[0].instrument == InstrumentConfig(**TINY_PLAN["instrument"])
    install(path, tmp_path / "work")  # the study's file holds it all, wherever it is read
    written = yaml.safe_load((tmp_path / "work" / "studies" / "p" / "study.yaml").read_text())
    assert written["instrument"] == TINY_PLAN["instrument"]


def test_a_study_and_a_dict_include_it_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "instruments").mkdir()
    (tmp_path / "instruments" / "mine.yaml").write_text(yaml.safe_dump(TINY_PLAN["instrument"]))
    write_plan(tmp_path / "studies" / "p" / "study.yaml", instrument="mine")
    wanted = InstrumentConfig(**TINY_PLAN["instrument"])
    assert read_plan(tmp_path / "studies" / "p")[0].instrument == wanted
    assert make_plan({**TINY_PLAN, "instrument": "mine"}, "p")[0].instrument == wanted


def test_a_name_that_is_not_there_names_the_nearest(tmp_path):
    with pytest.raises(InputError, match=r"instrument: must be a file.*got 'titan-80'.*Did you mean 'titan-80kv'"):
        read_plan(write_plan(tmp_path / "p.yaml", instrument="titan-80"))
    with pytest.raises(InputError, match=r"must be an instrument's file; got 'x/mine.yaml'"):
        read_plan(write_plan(tmp_path / "p.yaml", instrument="x/mine.yaml"))
    (tmp_path / "bad.yaml").write_text(yaml.safe_dump({**TINY_PLAN["instrument"], "currents_pa": [0.001]}))
    with pytest.raises(InputError, match=r"bad.yaml: currents_pa: must be in pA.*write \[1\]"):
        read_plan(write_plan(tmp_path / "p.yaml", instrument="./bad.yaml"))


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_examples_are_instruments_whose_sources_are_named(path, tmp_path):
    content = read_instrument(path)
    assert {"voltages_kv", "apertures_mrad"} <= set(content["sources"]) <= set(content)
    words = "\n".join(lines_of(path))
    assert content["sources"]["apertures_mrad"] in words
    assert "no source given" in words
    assert f"source (rms) at {content['voltages_kv'][0]} kV" in words
    assert find_instrument(path.stem, tmp_path) == path


def test_the_questionnaire_makes_an_instrument_from_piped_answers(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    answered(monkeypatch, ANSWERS)
    assert main(["instrument", "new", "my-titan"]) == 0
    shown = capsys.readouterr().out
    assert all(unit in shown for unit in ("in kV", "in mrad", "in nm", "in angstrom", "in pA", "in mm", "microseconds"))
    found = InstrumentConfig(**yaml.safe_load((tmp_path / "instruments" / "my-titan.yaml").read_text()))
    assert (found.name, found.apertures_mrad, found.camera_lengths_mm) == ("my Titan", (15, 21.4, 25), (115, 145))
    assert (found.defocus_nm.low, found.conventions.defocus_positive) == (-60, "overfocus")
    assert (found.source_size_a, found.source_at.current_pa, found.gun.energy_spread_ev) == (0.2, 5, 0.9)
    assert found.beam_blanked_in_flyback is False
    assert (found.aberrations.A1.angle_deg, found.aberrations.B2.residual_nm, found.aberrations.C5.mm) == (30, 30, 1)
    assert found.aberrations.A2 is None
    assert (found.cc_mm, found.defocus_error_nm, found.drift_a_per_min) == (1.2, 3, 0)
    assert main(["instrument", "check", "my-titan"]) == 0
    assert "source (rms) at 300 kV, 25 mrad: " in capsys.readouterr().out
    answered(monkeypatch, ANSWERS)
    assert main(["instrument", "new", "my-titan"]) == 2
    assert "must not be taken" in capsys.readouterr().err


@pytest.mark.parametrize(
    "number, answer, words",
    [
        (2, "0.015 0.02", "must be semi-angles in mrad.*write \\[15, 20\\]"),
        (1, "80 kV", "must be numbers alone, in the unit of the question; got '80 kV'"),
        (3, "60", "must be 2 numbers; got '60'"),
        (3, "60 -60", "must not exceed high"),
        (11, "off", "beam_blanked_in_flyback: must be yes or no; got 'off'"),
        (20, "1", "aberrations.A1: must be 3 numbers"),
        (20, "-2 30 1", "aberrations.A1.nm: must be at least 0"),
        (13, "tungsten", "gun.kind.*lab6"),
        (8, None, "currents_pa: needs an answer; got 'the end of the answers'"),
    ],
)
def test_a_wrong_answer_is_refused_at_once_and_nothing_is_written(tmp_path, monkeypatch, capsys, number, answer, words):
    import re

    monkeypatch.chdir(tmp_path)
    answered(monkeypatch, [*ANSWERS[:number], *([answer] if answer else [])] if answer is None else
             [*ANSWERS[:number], answer, *ANSWERS[number + 1:]])  # fmt: skip
    if answer is None:
        monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(ANSWERS[:number]) + "\n"))
    assert main(["instrument", "new", "mine"]) == 2
    assert re.search(words, capsys.readouterr().err)
    assert not (tmp_path / "instruments").exists()


def test_on_a_terminal_a_wrong_answer_is_asked_for_again(tmp_path):
    answers = iter([ANSWERS[0], "80000", *ANSWERS[1:]])
    said: list[str] = []
    path = make_instrument("mine", tmp_path, lambda words: next(answers), True, said.append)
    assert yaml.safe_load(path.read_text())["voltages_kv"] == [80, 300]
    assert "If they are in V, write [80]" in said[0]


@pytest.mark.parametrize("name", ["a" * 300, "x.yaml", "titan-80kv"])
def test_a_name_that_cannot_be_is_refused(name, tmp_path):
    with pytest.raises(InputError, match="name: must"):
        new_path(name, tmp_path)


def test_only_what_matters_is_asked(tmp_path):
    """No flyback: nothing to blank. No known aberrations: none is asked for, and no empty section is written."""
    asked: list[str] = []
    answers = iter(["m", "80", "20", "-9 9", "", "1 2", "1", "5", "", "0", "", "", "", "", "", "n", "", "", ""])
    path = make_instrument("mine", tmp_path, lambda words: (asked.append(words), next(answers))[1], False)
    assert not any("flies back" in words or "A1, " in words for words in asked)
    assert "aberrations" not in yaml.safe_load(path.read_text())
