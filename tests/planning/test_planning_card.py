"""The feasibility card: formulas against numbers worked out by hand, colours, outputs, and its time."""

from __future__ import annotations

import csv
import json
import math
import re
import resource
import subprocess
import sys

import pytest
from plan_files import write_plan

from ptydesign.cli import main
from ptydesign.planning.card import make_card
from ptydesign.planning.instrument import Bench, Setting
from ptydesign.planning.load import read_plan
from ptydesign.planning.operation import operate
from ptydesign.planning.resolve import plan_cards

RATE = 1e9


def rows_of(tmp_path, setting: Setting, dose: float = 2000, **changes):
    bench = Bench(read_plan(write_plan(tmp_path / "p.yaml", **changes))[0])
    return {row.name: row for row in make_card(bench, operate(bench, setting, dose), "x", RATE).rows}


def test_values_by_hand(tmp_path):
    wavelength, alpha, step, dtheta = 0.0417572, 20e-3, 2.0, 4e-3
    radius = math.hypot(40 * alpha, 0.61 * wavelength / alpha)
    rows = rows_of(tmp_path, Setting(80, 20, -4, step, 4.0))
    window = wavelength / dtheta
    g = step / 2 / radius
    expected = {
        "Probe diameter": 2 * radius,
        "Window against probe": window / 2 / radius,
        "Fundamental sampling": window / step,
        "Linear overlap": 1 - step / 2 / radius,
        "Areal overlap": 2 / math.pi * (math.acos(g) - g * math.sqrt(1 - g * g)),
        "Probes that light a point": math.pi * radius**2 / step**2,
        "Ronchigram magnification": alpha / dtheta / radius,
        "Resolution of the detector's edge": wavelength / (16 * dtheta),
        "Electrons per pattern": 8000,
        "Electrons in a bright pixel": 8000 / (math.pi * (alpha / dtheta) ** 2),
        "Drift during the scan": rows["Scan time"].value / 60,
        "Thickness": 12.3,
    }
    for name, value in expected.items():
        assert rows[name].value == pytest.approx(value, rel=2e-3), name


def test_dead_time_and_rates(tmp_path):
    override = {"pixels": [32, 32], "frames_per_s": 10000, "dead_time_ns": 500, "rate_per_px_s": 1e6}
    rows = rows_of(tmp_path, Setting(80, 20, -4, 2.0, 4.0), detector__override=override)
    rate = rows["Rate in a bright pixel"].value
    assert rows["Lost in dead time"].value == pytest.approx(100 * (1 - 1 / (1 + rate * 5e-7)), rel=1e-6)
    assert rows["Lost in dead time"].status == "red"


def test_colours_turn_at_their_limits(tmp_path):
    def status(name, defocus, step):
        return rows_of(tmp_path, Setting(80, 20, defocus, step, 4.0))[name].status

    assert [status("Window against probe", df, 1) for df in (-4, -22, -40)] == ["green", "amber", "red"]
    assert [status("Linear overlap", -4, step) for step in (1, 1.6, 3)] == ["green", "amber", "red"]


def test_every_row_that_is_not_green_says_what_to_change(tmp_path):
    for setting in (Setting(80, 20, -40, 3.0, 4.0), Setting(80, 25, 0, 1.2, 4.0)):
        for row in rows_of(tmp_path, setting, 8000).values():
            assert row.status in ("green", "amber", "red", "information")
            if row.status in ("amber", "red"):
                assert row.change, row.name
                assert row.formula or row.value is None, row.name


@pytest.mark.parametrize("defocus", [-3.7, -5, -8])
def test_a_row_turns_green_with_the_step_that_it_asks_for(tmp_path, defocus):
    for name in ("Linear overlap", "Fundamental sampling", "Probes that light a point"):
        row = rows_of(tmp_path, Setting(80, 20, defocus, 6.0, 4.0))[name]
        step = float(re.search(r"A step of ([0-9.]+) Å or less", row.change).group(1))
        assert rows_of(tmp_path, Setting(80, 20, defocus, step, 4.0))[name].status == "green", (name, step)


def test_impossible_current_is_a_red_row(tmp_path):
    rows = rows_of(tmp_path, Setting(80, 20, -4, 2.0, 4.0), dose=1e9)
    assert rows["beam current"].status == "red"
    assert "dose of at most" in rows["beam current"].change


def test_counts_are_judged_by_what_a_counter_loses(tmp_path):
    changes = {
        "detector__override": {"pixels": [32, 32], "frames_per_s": 10000, "counts_per_frame": 63},
        "goal__doses_e_per_a2": [2000],
    }
    rows = rows_of(tmp_path, Setting(80, 20, -4, 2.0, 4.0), dose=600, **changes)
    row = rows["Electrons in a bright pixel"]
    assert row.value == pytest.approx(30.56, rel=1e-3)
    assert row.status == "green"
    rows = rows_of(tmp_path, Setting(80, 20, -4, 2.0, 4.0), dose=1200, **changes)
    assert rows["Electrons in a bright pixel"].status == "amber"  # 61 on average fit into 63, but scatter
    assert 1 < rows["Lost above the most counts"].value < 5


def test_a_sparsity_limit_is_a_mean(tmp_path):
    changes = {
        "detector__override": {"pixels": [32, 32], "frames_per_s": 10000, "counts_per_frame": 0.1},
        "goal__doses_e_per_a2": [5],
        "instrument__currents_pa": [0.001, 0.01, 0.1, 0.2],
    }
    found = {dose: rows_of(tmp_path, Setting(80, 20, -4, 1.2, 4.0), dose=dose, **changes) for dose in (2, 5, 8)}
    statuses = [rows["Electrons in a bright pixel"].status for rows in found.values()]
    assert statuses == ["green", "amber", "red"]  # 0.037, 0.092, 0.147 on average


def test_the_side_of_focus_is_spelled_out(tmp_path, capsys):
    write_plan(tmp_path / "p.yaml", instrument__conventions={"defocus_positive": "overfocus"},
               instrument__defocus_nm={"low": 0, "high": 6})  # fmt: skip
    assert main(["card", str(tmp_path / "p.yaml")]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert re.search(r"defocus [0-9.]+ nm \(overfocus\)", shown)
    assert "-o FOLDER" in shown


def test_rule_of_thumb_uses_what_exists(tmp_path):
    plan, _ = read_plan(write_plan(tmp_path / "p.yaml"))
    cards = plan_cards(plan, RATE)
    assert [card.dose_e_per_a2 for card in cards] == [2000, 8000]
    assert cards[0].setting["semiangle_mrad"] == 20
    assert cards[0].setting["camera"] == 4


def test_command_writes_page_table_and_json_in_seconds(tmp_path):
    write_plan(tmp_path / "p.yaml")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "ptydesign", "card", str(tmp_path / "p.yaml"), "-o", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)  # not the clock: the machine may be busy
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 10
    assert "Window against" in done.stdout
    content = json.loads((tmp_path / "out" / "card.json").read_text())
    table = list(csv.DictReader((tmp_path / "out" / "card.csv").open()))
    assert len(table) == sum(len(card["rows"]) for card in content["cards"])
    assert content["fft_units_per_s"] > 0
    page = (tmp_path / "out" / "card.html").read_text()
    assert all(row["name"].replace("'", "&#39;") in page for row in table)


def test_init_writes_a_plan_once(tmp_path, capsys):
    path = tmp_path / "new.yaml"
    assert main(["init", str(path)]) == 0
    assert read_plan(path)[0].title
    assert main(["init", str(path)]) == 2
    assert "must not exist" in capsys.readouterr().err


def test_plan_refuses_nonsense_in_the_users_own_file(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_plan(tmp_path / "bad.yaml", goal__doses_e_per_a2=[5])
    assert main(["plan", "bad.yaml"]) == 2
    message = capsys.readouterr().err
    assert message.startswith("error: bad.yaml: goal.doses_e_per_a2: no setting is possible at 5 e/Å²")
    assert "Use a dose of 69.4 e/Å², the nearest that is possible." in message
    assert not (tmp_path / "studies").exists()
    (tmp_path / "studies" / "taken").mkdir(parents=True)
    (tmp_path / "studies" / "taken" / "study.yaml").write_text("title: another kind of study")
    write_plan(tmp_path / "taken.yaml")
    assert main(["plan", "taken.yaml"]) == 2
    assert "name of another study" in capsys.readouterr().err
