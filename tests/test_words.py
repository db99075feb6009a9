"""What is said of a wrong word, value or file: the whole of it, in lines of bounded length, with what was meant."""

from __future__ import annotations

import shlex
import time
from pathlib import Path

import plan_files
import pytest
import study_files
import yaml

from ptydesign import cli
from ptydesign.cli import main
from ptydesign.config import read_yaml
from ptydesign.drawing import literal, new_figure, styled
from ptydesign.errors import InputError, shown
from ptydesign.planning.detectors import detector_names, detector_table, find_detector
from ptydesign.types import Dataset, Grid, Optics

STUDIES = Path(__file__).parents[1] / "studies"


@pytest.mark.parametrize(
    "value, words",
    [
        ([-60, 60], "[-60, 60]"),
        ({"low": -60, "high": 60}, "{low: -60, high: 60}"),
        ((1,), "(1,)"),
        ("x" * 10**6, "'xxx"),
        (2**9000, "an integer of 27"),
        ({"a": {"b": [1.5, None, True]}}, "{a: {b: [1.5, null, true]}}"),
    ],
)
def test_values_are_shown_as_they_are_written_and_never_longer_than_a_line(value, words):
    assert shown(value).startswith(words)
    assert len(shown(value)) <= 120


def test_of_a_huge_value_only_the_beginning_is_made():
    value: list = [1] * 10
    for _ in range(30):
        value = [value] * 10
    start = time.process_time()
    assert len(shown(value)) <= 120
    assert time.process_time() - start < 0.5


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [1, 2]\n" + "".join(f"{n}: &{n} [{', '.join([f'*{p}'] * 9)}]\n" for p, n in zip("abcdefgh", "bcdefghi")),  # noqa: B905
        "a: " + "[" * 500 + "]" * 500,
        "a: " + "[" * 5000 + "]" * 5000,
        "a: &a [*a]",
    ],
)
def test_a_file_that_unfolds_into_a_huge_one_is_refused_in_a_moment(text, tmp_path):
    (tmp_path / "study.yaml").write_text(text)
    start = time.process_time()
    with pytest.raises(InputError, match="must hold at most 100000 values, nested at most 50 deep"):
        read_yaml(tmp_path / "study.yaml")
    assert time.process_time() - start < 2


def test_a_whole_number_that_no_float_holds_is_refused_where_it_stands(tmp_path, capsys):
    study_files.write_study(tmp_path / "mine", study_files.tiny(search__initial=10**400))
    assert main(["check", str(tmp_path / "mine")]) == 2
    assert "search.initial: must be at most" in capsys.readouterr().err
    plan = plan_files.write_plan(tmp_path / "mine.yaml", detector__bin=10**400)
    assert main(["card", str(plan)]) == 2
    assert "detector.bin: must be at most" in capsys.readouterr().err


def test_all_problems_of_a_file_are_said_at_once(tmp_path, capsys):
    content = study_files.tiny(experiment__step_a=2e6, search__initial=0, title=3, colour="red")
    study_files.write_study(tmp_path / "mine", content)
    assert main(["check", str(tmp_path / "mine")]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert all(line.startswith("error: ") for line in lines)
    for words in ("search.initial: must be at least 1", "title: must be", "colour: is not a known key", "step_a: must"):
        assert any(words in line for line in lines), words


@pytest.mark.parametrize(
    "command, words",
    [
        ("import", "import: needs file, -o/--output; got nothing. Write: ptydesign import"),
        ("plan", "plan: needs plan; got nothing"),
        ("pln", "Did you mean 'plan'?"),
        ("Plan", "Did you mean 'plan'?"),
        ("card --sacle smoke my.yaml", "option: is not known; got '--sacle'. Did you mean '--scale'?"),
        ("card my.yml", "Did you mean 'my.yaml'?"),
        ("plan my.yaml --cores two", "--cores: must be a whole number; got 'two'"),
        (f"card {STUDIES / 'lowdose'}", "a study of the kind experiment'. Run it: snakemake studies/lowdose"),
        ("card my.yaml more.yaml", "takes no further argument; got 'more.yaml'"),
        ("detectors empadd", "Did you mean 'EMPAD'?"),
    ],
)
def test_what_is_meant_is_said(command, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("my.yaml").write_text("title: mine")
    assert main(command.split()) == 2
    error = capsys.readouterr().err
    assert words in error, error
    assert error.startswith("error: ")


@pytest.mark.parametrize("kind", ["[1]", "{a: 1}", "[[[]]]", "null"])
@pytest.mark.parametrize("command", ["check", "card", "plan"])
def test_a_kind_may_be_anything_in_a_file(command, kind, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for file in (Path("mine/study.yaml"), Path("mine.yaml")):
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"kind: {kind}\ntitle: mine")
        assert main([command, str(file)]) == 2
        assert f"got {kind}" in capsys.readouterr().err


def test_a_study_elsewhere_is_told_where_to_go(tmp_path, capsys):
    (tmp_path / "mine.yaml").write_text("kind: tuning")
    assert main(["card", str(tmp_path / "mine.yaml")]) == 2
    assert "Make it studies/mine/study.yaml, and run: snakemake studies/mine." in capsys.readouterr().err


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"defocus_nm": [-60, 60]}, "Write a range as {low: -60, high: 60}"),
        ({"apertures_mrad": ["15 20"]}, "Write it with commas: [15, 20]"),
        ({"apertures_mrad": [30, 50, 100]}, "diameters in um"),
        ({"pixels_mrad": [0.0008, 0.0011]}, "If they are in rad, write [0.8, 1.1]"),
        ({"pixels_mrad": None, "camera_lengths_mm": [8, 11.5]}, "If it is in cm, write 80"),
    ],
)
def test_another_unit_or_form_is_recognised(changes, words, tmp_path, capsys):
    assert main(["init", str(tmp_path / "my.yaml")]) == 0
    content = yaml.safe_load((tmp_path / "my.yaml").read_text())
    content["instrument"] = {k: v for k, v in (content["instrument"] | changes).items() if v is not None}
    (tmp_path / "my.yaml").write_text(yaml.safe_dump(content))
    assert main(["card", str(tmp_path / "my.yaml")]) == 2
    assert words in capsys.readouterr().err


def test_words_of_a_figure_are_shown_as_they_are(tmp_path):
    with styled():
        figure = new_figure(2, 2)
        axes = figure.subplots()
        axes.set(title="HfO2 $[111]{ film", xlabel="a_b^c $x$", yscale="log")
        axes.plot([1, 2], [1, 1000], label="$unclosed")
        axes.legend()
        literal(figure)
        figure.savefig(tmp_path / "one.png")
        assert not axes.title.get_parse_math()
        assert all(label.get_parse_math() for label in axes.get_yticklabels())  # powers of ten


def test_a_card_shows_brackets_of_a_title(tmp_path, capsys):
    assert main(["init", str(tmp_path / "my.yaml")]) == 0
    text = (tmp_path / "my.yaml").read_text()
    title = next(line for line in text.splitlines() if line.startswith("title:"))
    (tmp_path / "my.yaml").write_text(text.replace(title, 'title: "HfO2 [/111] film [bold]"'))
    assert main(["card", str(tmp_path / "my.yaml")]) == 0
    assert "HfO2 [/111] film [bold]" in capsys.readouterr().out


def test_a_command_that_is_told_can_be_copied(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["init", "mein Plän @1.yaml"]) == 0
    _, command, *_ = capsys.readouterr().out.split("`")
    assert main(shlex.split(command)[1:]) == 0


@pytest.mark.parametrize("before", ["", "--scale smoke --cores 2"])
def test_what_stands_behind_two_dashes_is_for_snakemake(before):
    options = cli._parser()[0].parse_args(["plan", "my.yaml", *before.split(), "--", "-n", "--cores", "3", "--", "x"])
    assert options.snakemake == ["-n", "--cores", "3", "--", "x"]
    assert options.cores == (2 if before else None)


def test_the_table_of_detectors_fits_a_screen():
    lines = detector_table(map(find_detector, detector_names())).splitlines()
    assert len(lines) == 1 + len(detector_names())
    assert max(map(len, lines)) < 80


def test_repr_of_data_is_a_few_lines():
    import numpy as np

    patterns = np.ones((25, 8, 8), np.float32)
    data = Dataset(patterns, np.zeros((25, 2)), Grid((8, 8), (1.0, 1.0)), 80.0, np.ones((8, 8)), Optics(80, 0.02, 0))
    lines = repr(data).splitlines()
    assert len(lines) < 12
    assert "  patterns: float32 25 x 8 x 8" in lines


def test_a_structure_file_may_have_any_name(tmp_path):
    from ptydesign.simulate.crystal import read_structure

    (source,) = (STUDIES / "plan_oxide").glob("*.cif")
    for name in ("SrTiO3@300K.cif", "my oxide.cif", "Oxid \"ü\" 'x'.cif", "a:b.cif"):
        (tmp_path / name).write_bytes(source.read_bytes())
        assert len(read_structure(tmp_path / name)) > 0
