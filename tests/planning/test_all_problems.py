"""What is wrong with a file in several places is told of all of them at once."""

from __future__ import annotations

import pytest
from plan_files import tiny_plan, write_plan

from ptydesign.config import build
from ptydesign.errors import InputError, said, together
from ptydesign.planning.load import make_plan, read_plan
from ptydesign.reconstruct.plan import Plan

DEFOCUS, DETECTOR = {"instrument__defocus_nm": [-60, 60]}, {"detector": {"name": "EMPAX"}}
NO_DOSE = {"goal__doses_e_per_a2": [-1]}


def fields(error: InputError) -> set[str]:
    """Of all problems."""
    return {one.field.partition(": ")[2] for one in (error, *error.others)}


@pytest.mark.parametrize(
    "changes, wanted",
    [
        (DEFOCUS | DETECTOR, {"instrument.defocus_nm", "detector.name"}),
        (
            DEFOCUS | {"instrument__step_a": 2e6, "instrument__flyback_us": "3 us"},
            {"instrument.defocus_nm", "instrument.step_a", "instrument.flyback_us"},
        ),
        (DEFOCUS | {"instrument__step_a": {"low": 1, "high": 2e6}}, {"instrument.defocus_nm", "instrument.step_a"}),
        (DETECTOR | NO_DOSE, {"detector.name", "goal.doses_e_per_a2.0"}),
    ],
)
def test_problems_of_different_sections_are_told_together(changes, wanted):
    with pytest.raises(InputError) as caught:
        make_plan(tiny_plan(**changes), "p")
    assert fields(caught.value) == wanted


def test_rules_between_sections_are_told_together(tmp_path):
    path = write_plan(tmp_path / "p.yaml", detector__bin=7, sample={"kind": "structure", "file": "nothing.cif"})
    with pytest.raises(InputError) as caught:
        read_plan(path)
    lines = said(caught.value).splitlines()
    assert len(lines) == 2
    assert all(line.startswith(f"error: {path}: ") for line in lines)
    assert {line.removeprefix(f"error: {path}: ").partition(": ")[0] for line in lines} == {
        "sample.file",
        "detector.bin",
    }


def test_an_unknown_engine_does_not_hide_its_misspelt_keys():
    with pytest.raises(InputError) as caught:
        build(Plan, {"engines": [{"engine": "lsqm", "sweps": 2}]}, "plan")
    assert fields(caught.value) == {"engines.0.engine", "engines.0.sweps"}
    assert "Did you mean 'sweeps'" in caught.value.others[0].mend


def test_checks_that_pass_say_nothing():
    together()
    together(lambda: None)
