"""Units that are commonly mistaken: a question with field, value, the other unit's value, and how to answer it."""

from __future__ import annotations

import pytest
import yaml
from plan_files import write_plan
from study_files import tiny

from ptydesign.cli import main
from ptydesign.errors import InputError
from ptydesign.experiment.resolve import resolve
from ptydesign.files import write_text
from ptydesign.planning.load import read_plan
from ptydesign.study.improbable import check_meant

CIF = {"kind": "structure", "file": "studies/plan_oxide/SrTiO3.cif", "zone_axis": [0, 0, 1]}
LENGTHS = {"instrument__pixels_mrad": None, "detector__override__pixel_um": 150}


def of_plan(tmp_path, **changes) -> list[str]:
    return [words for words in read_plan(write_plan(tmp_path / "p.yaml", **changes))[1] if "is right, write" in words]


def of_study(tmp_path, **changes) -> list[str]:
    folder = tmp_path / "study"
    write_text(folder / "study.yaml", yaml.safe_dump(tiny(**changes)))
    return [words for words in resolve(folder, "preview", tmp_path).warnings if "is right, write" in words]


def cif(request) -> dict:
    return {**CIF, "file": str(request.config.rootpath / CIF["file"])}


PLANS = {
    "defocus in angstrom": (
        {"instrument__defocus_nm": {"low": -55, "high": 0}},
        "instrument.defocus_nm",
        "-5.5, high: 0",
    ),
    "defocus in um": (
        {"instrument__defocus_nm": {"low": 0.2, "high": 1.2}, "instrument__apertures_mrad": [4, 5]},
        "instrument.defocus_nm",
        "low: 200, high: 1200",
    ),
    "camera length in cm": (
        {**LENGTHS, "instrument__camera_lengths_mm": [7.5]},
        "instrument.camera_lengths_mm",
        "write 75",
    ),
    "step in nm": (
        {
            "instrument__step_a": {"low": 0.05, "high": 0.15},
            "instrument__currents_pa": [0.01, 1],
            "goal__time_limit_s": None,
        },
        "instrument.step_a",
        "low: 0.5, high: 1.5",
    ),
    "dwell in ms": (
        {"instrument__dwell_us": {"low": 0.001, "high": 2000}},
        "instrument.dwell_us",
        "low: 1, high: 2e+06",
    ),
    "field in nm": ({"goal__field_of_view_a": [6, 6]}, "goal.field_of_view_a", "[60.0, 60.0]"),
}


@pytest.mark.parametrize("case", PLANS)
def test_a_plan_is_asked(tmp_path, case):
    changes, field, meant = PLANS[case]
    (words,) = [one for one in of_plan(tmp_path, **changes) if one.startswith(field)]
    assert meant in words
    assert f"write meant: [{field}]" in words
    assert not any(one.startswith(field) for one in of_plan(tmp_path, **changes, meant=[field]))


def test_usual_numbers_are_not_asked_about(tmp_path):
    assert of_plan(tmp_path) == []
    assert of_study(tmp_path) == []


def test_thickness_in_nm_is_asked_about(tmp_path, request):
    changes = {"sample": {**cif(request), "thickness_a": 20}}
    (words,) = of_plan(tmp_path, **changes)
    assert "sample.thickness_a" in words
    assert "in nm, write 200" in words
    assert of_plan(tmp_path, sample={**cif(request), "thickness_a": 200}) == []
    assert "in nm, write 200" in "".join(of_study(tmp_path, **changes))


@pytest.mark.parametrize("where", ["experiment", "reference"])
def test_a_design_of_a_study_is_asked_about(tmp_path, where):
    """55 nm at 25 mrad makes a disk of 27.5 A in a window of 8 A."""
    field = f"{where}.defocus_nm"
    (words,) = of_study(tmp_path, **{field.replace(".", "__"): -55})
    assert words.startswith(f"{field}: is -55 nm right?")
    assert "28 A wide" in words
    assert "window, 8 A" in words
    assert "angstrom, write -5.5" in words
    assert of_study(tmp_path, **{field.replace(".", "__"): -55}, meant=[field]) == []


def test_a_step_in_nm_and_a_defocus_in_um_of_a_study(tmp_path):
    assert "in nm, write 1" in of_study(tmp_path, experiment__step_a=0.1)[0]
    assert "in um, write -5" in of_study(tmp_path, experiment__defocus_nm=-0.005)[0]


def test_what_is_impossible_names_the_other_unit_too(tmp_path):
    with pytest.raises(InputError, match=r"dwell_us.high: must hold a frame.*in ms, write {low: 100, high: 20000}"):
        of_plan(tmp_path, instrument__dwell_us={"low": 0.1, "high": 20})


def test_a_question_is_a_line_on_stderr_and_on_the_card(tmp_path, capsys):
    path = write_plan(tmp_path / "p.yaml", instrument__defocus_nm={"low": -55, "high": 0})
    assert main(["card", str(path), "-o", str(tmp_path / "card")]) in (0, None)
    line = next(one for one in capsys.readouterr().err.splitlines() if "instrument.defocus_nm" in one)
    assert line.startswith("warning: ")
    assert "is -55 nm right?" in (tmp_path / "card" / "card.html").read_text()


def test_an_answer_changes_no_result(tmp_path):
    answered = read_plan(write_plan(tmp_path / "p.yaml", meant=["instrument.defocus_nm"]))[0]
    assert answered.model_dump() == read_plan(write_plan(tmp_path / "p.yaml"))[0].model_dump()


@pytest.mark.parametrize("name", ["instrument.defocus", "instrumnt.defocus_nm", "seed.x"])
def test_what_is_meant_must_be_a_field(name):
    content = {"seed": 1, "instrument": {"defocus_nm": {"low": 0.0, "high": 1.0}}}
    check_meant(["instrument.defocus_nm", "instrument.defocus_nm.low", "seed"], content)
    with pytest.raises(InputError, match=r"meant: must name fields of the file"):
        check_meant([name], content)


def test_a_range_that_nothing_can_use_names_the_other_unit(tmp_path):
    with pytest.raises(InputError, match=r"window binds.*in angstrom, write {low: -10, high: -9}"):
        of_plan(tmp_path, instrument__defocus_nm={"low": -100, "high": -90})
