"""Slips in a plan's file, as a new user made them: the error names what was meant."""

from __future__ import annotations

import re

import numpy as np
import pytest
import yaml
from plan_files import tiny_plan, write_plan
from study_files import tiny

from ptydesign.cli import main
from ptydesign.errors import InputError
from ptydesign.experiment.resolve import resolve
from ptydesign.planning.card import make_card
from ptydesign.planning.instrument import Bench, Setting
from ptydesign.planning.load import read_plan
from ptydesign.planning.operation import operate
from ptydesign.planning.rows import part_words
from ptydesign.slips import in_known_unit

STRUCTURE = {"kind": "structure", "file": "studies/plan_oxide/SrTiO3.cif"}
IMAGE = {"kind": "image", "pixel_a": 0.1, "quantity": "phase_rad", "voltage_kv": 80, "edge": "periodic"}

SLIPS = {
    "C30 among the aberrations": (
        {"instrument__aberrations": {"C30": {"mm": 1}}},
        r"aberrations.C30: is not a known key.*instrument.cs_mm, in mm",
    ),
    "C10 among the aberrations": ({"instrument__aberrations": {"C10": {"nm": 5}}}, r"C10.*instrument.defocus_nm"),
    "what no simulation has": ({"instrument__aberrations": {"D4": {"nm": 5}}}, r"D4.*can't be simulated"),
    "C12 beside the aberrations": (
        {"instrument__C12": 3},
        r"instrument.C12:.*instrument.aberrations: {C12: {nm: ..., angle_deg: ...}} \(twofold",
    ),
    "its unit beside it": ({"instrument__B2_nm": 30}, r"instrument.aberrations: {B2: {nm"),
    "C3 beside them": ({"instrument__C3": 1}, r"instrument.cs_mm"),
    "C50 in nm": ({"instrument__aberrations": {"C50": {"nm": 2e6}}}, r"C50.nm: is not a known key.*Write mm: 2\."),
    "B2 in um": ({"instrument__aberrations": {"B2": {"residual_um": 0.03}}}, r"residual_um.*Write residual_nm: 30\."),
    "a range in another unit": (
        {"instrument__defocus_a": {"low": -550, "high": 0}},
        r"instrument.defocus_a:.*Write defocus_nm: {low: -55, high: 0}\.",
    ),
    "a residual of a lens without a corrector": (
        {"instrument__aberrations": {"A1": {"residual_nm": 500}}},
        r"A1.residual_nm: must leave a probe that fits into the widest window, 10 Å.*disk of 283 Å.*Give 18.5 or less",
    ),
    "depth of an image": ({"goal__depth": True, "sample": {**IMAGE, "file": "p.npy"}}, r"goal.depth: needs a sample"),
    "no title": ({"title": " "}, r"title: must have a word"),
    "a number for a title": ({"title": 123}, r'title: must be text; got 123. Put it in quotes, as "123"'),
    "a number for an instrument": ({"instrument": 123}, r'instrument: must be a name.*got 123. Put a name in quotes'),
    "001 for a zone axis": ({"sample": {**STRUCTURE, "zone_axis": 1}}, r"got 1. Write three, as \[0, 0, 1\]"),
    "a word for a zone axis": ({"sample": {**STRUCTURE, "zone_axis": "[1-10]"}}, r"Write \[1, -1, 0\], with"),
}  # fmt: skip


def write_image(folder, largest: float):
    y, x = np.mgrid[:200, :200] * 0.1
    np.save(folder / "p.npy", largest * np.cos(2 * np.pi * x / 2.5) ** 2 * np.cos(2 * np.pi * y / 2.5) ** 2)


@pytest.mark.parametrize("slip", SLIPS)
def test_an_error_says_what_was_meant(tmp_path, slip):
    changes, words = SLIPS[slip]
    write_image(tmp_path, 0.1)
    with pytest.raises(InputError, match=words):
        read_plan(write_plan(tmp_path / "p.yaml", **changes))


@pytest.mark.parametrize("name, words", [("C12", "astigmatism_nm"), ("B2", "coma_um, three"), ("C30_mm", "cs_mm")])
def test_an_experiment_says_what_an_aberration_is_called(tmp_path, name, words):
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "study.yaml").write_text(yaml.safe_dump(tiny(**{f"experiment__{name}": 3})))
    with pytest.raises(InputError, match=rf"experiment.{name}: is not a known key; got 3. Write {words}"):
        resolve(tmp_path / "study", "preview", tmp_path)


def test_only_a_unit_is_converted():
    assert in_known_unit("dwell_ms", 0.1, {"dwell_us"}) == "Write dwell_us: 100."
    assert in_known_unit("size_nm", [1, 2.5], {"size_a", "b"}) == "Write size_a: [10, 25]."
    assert in_known_unit("voltage_v", 80000, {"voltage_kv"}) == "Write voltage_kv: 80."
    for key, value in (("dwell_mrad", 1), ("defocus_us", 1), ("dwell_ms", "1 ms"), ("dwell_ms", True), ("x", 1)):
        assert in_known_unit(key, value, {"dwell_us"}) == ""


@pytest.mark.parametrize(
    "largest, changes, words",
    [
        (120.0, {}, "is phase_rad from .* to 120 right?.*within 2 pi.*in mrad or degrees, write the image anew in rad"),
        (0.1, {}, None),
        (9000.0, {"quantity": "potential_va"}, "are 9.08 rad apart at 80 kV.*in mV A, write the image anew in V A"),
        (200.0, {"quantity": "potential_va"}, None),
        (0.1, {"quantity": "potential_va"}, "hydrogen atom spread over 0.9 A, 31 V A. If it is in rad, write quantity"),
    ],
)
def test_an_image_in_another_unit_is_asked_about(tmp_path, largest, changes, words):
    write_image(tmp_path, largest)
    sample = {"sample": {**IMAGE, "file": "p.npy", **changes}}
    asked = [line for line in read_plan(write_plan(tmp_path / "p.yaml", **sample))[1] if "is right, write" in line]
    assert bool(asked) == (words is not None)
    if words:
        assert re.search(words, asked[0])
        path = write_plan(tmp_path / "p.yaml", **sample, meant=["sample.file"])
        assert not any("is right, write" in line for line in read_plan(path)[1])


def test_a_plans_file_is_checked_as_a_studys_is(tmp_path, capsys):
    path = write_plan(tmp_path / "mine.yaml")
    assert main(["check", str(path), "--root", str(tmp_path / "results")]) == 0
    shown = capsys.readouterr().out
    assert "mine (preview): " in shown
    assert f"`ptydesign card {path}`" in shown
    write_plan(tmp_path / "p" / "study.yaml")
    assert main(["check", str(tmp_path / "p" / "study.yaml"), "--root", str(tmp_path / "results")]) == 0
    assert "p (preview): " in capsys.readouterr().out
    (tmp_path / "e.yaml").write_text(yaml.safe_dump(tiny()))
    assert main(["check", str(tmp_path / "e.yaml")]) == 2
    assert "must be in a folder of its own" in capsys.readouterr().err
    assert main(["check", str(tmp_path / "mime.yaml")]) == 2
    assert f"Did you mean '{path}'?" in capsys.readouterr().err


def rate_row(tmp_path, limit: float):
    bench = Bench(read_plan(write_plan(tmp_path / "p.yaml"))[0])
    goal = bench.goal.model_copy(update={"dose_rate_limit_e_per_a2_s": limit})
    bench = Bench(bench.plan.model_copy(update={"goal": goal}))
    operation = operate(bench, Setting(80, 20, -4, 2.0, 4.0), 8000, 4)
    return next(row for row in make_card(bench, operation, "x", 1e9).rows if row.name == "Dose rate in the probe")


def test_a_dose_rate_at_its_limit_is_told_from_one_above(tmp_path):
    rate = rate_row(tmp_path, 1e9).value
    at, above = rate_row(tmp_path, rate * (1 + 1e-12)), rate_row(tmp_path, rate * (1 - 1e-5))
    assert (at.status, above.status) == ("green", "red")
    assert "this is 100 % of it" in at.limit
    assert "this is 100.001 % of it" in above.limit
    assert rate_row(tmp_path, rate / 4).change == "0.25 times the current, or a probe 2 times as wide (more defocus)."
    assert [part_words(part) for part in (0.5, 0.9999, 1, 25)] == ["50 % of it", "99.99 % of it", "100 % of it",
                                                                    "25 times as much"]  # fmt: skip


def test_where_no_dose_rate_is_low_enough_the_least_is_named(tmp_path):
    with pytest.raises(InputError, match=r"at most 1 e/Å²/s; got '[\d.,e+]+ e/Å²/s with .* times as much'") as found:
        read_plan(write_plan(tmp_path / "p.yaml", goal__dose_rate_limit_e_per_a2_s=1))
    least = float(found.value.mend.partition("a limit of ")[2].partition(" ")[0].replace(",", ""))
    content = tiny_plan(goal__dose_rate_limit_e_per_a2_s=least, goal__doses_e_per_a2=[2000])
    (tmp_path / "q.yaml").write_text(yaml.safe_dump(content))
    read_plan(tmp_path / "q.yaml")
