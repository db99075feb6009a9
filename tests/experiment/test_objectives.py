"""A study with three objectives by one of Optuna's samplers: rounds, front, figure, report, and Optuna's storage."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import pytest
import study_files

from ptydesign import kinds
from ptydesign.cli import main
from ptydesign.errors import InputError
from ptydesign.experiment import collect
from ptydesign.experiment import search as steps
from ptydesign.experiment.config import SearchObjective
from ptydesign.experiment.findings import sentences
from ptydesign.experiment.objectives import costs, front
from ptydesign.experiment.tables import read_tables
from ptydesign.study.acquisition import at_point
from ptydesign.study.quantities import number as shown_number

AGAINST = {"metric": "ssim", "width_px": 1.5, "against": ["time", "dose"], "current_pa": 5, "least_dwell_us": 20}
SPACE = {
    "step_a": {"low": 1.5, "high": 3},
    "applied_dose_e_per_a2": {"low": 300, "high": 30000, "scale": "log"},
    "semiangle_mrad": {"choices": [20, 25]},
}


def content(**changes):
    return study_files.tiny(
        objective=AGAINST,
        space=SPACE,
        search={"method": "optuna", "sampler": "nsga2", "initial": 4, "points": 4, "batch": 2},
        random=None,
        map=None,
        scales={"preview": {}},
        validation={"repeats": 1, "abtem": False},
        decision={"contenders": 1, "first": 2, "draws": 0},
        reconstruction={"engines": [{"engine": "lsqml", "batches": "compact", "sweeps": 2, "group": 16}]},
        **changes,
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """All steps of the study, one after the other."""
    root = tmp_path_factory.mktemp("objectives")
    folder = study_files.write_study(root / "studies" / "several", content())
    options = [str(folder), "--root", str(root / "results")]
    assert main(["step", "experiment", "resolve", *options]) == 0
    run = kinds.open_study(folder, "preview", root / "results")
    waiting, made = list(run.kind.jobs(run.resolved)), {"resolved.yaml"}
    while waiting:
        job = next(job for job in waiting if made.issuperset(job.inputs))
        which = [word for name, value in job.which.items() for word in (f"--{name}", str(value))]
        assert main(["step", "experiment", job.step.name, *options, *which]) == 0
        made.update(job.outputs)
        waiting.remove(job)
    results = run.resolved.results
    assert main(["figures", str(results)]) == 0
    assert main(["report", str(results)]) == 0
    return run.resolved


def test_the_rounds_come_again_from_what_is_stored(finished):
    search = steps.find_search(finished.study, "bo-2000")
    for number in (1, 2):
        asked, _ = steps.rounds.read_points(finished.results, search, number)
        assert steps.points_of(finished, search, number)[0] == asked
    seen = steps.observations(finished, search, 0)
    assert all(len(o.costs) == 2 and o.costs[1] == o.point["applied_dose_e_per_a2"] for o in seen)


def test_the_front_is_in_a_table_a_figure_and_the_report(finished):
    table = pd.read_csv(finished.results / "tables" / "pareto.csv")
    assert list(table.columns) == [
        "dose_e_per_a2", "search", "round", "index", "step_a", "applied_dose_e_per_a2", "semiangle_mrad",
        "objective", "scan_time_s", "front",
    ]  # fmt: skip
    values = np.stack([-table["objective"], table["scan_time_s"], table["applied_dose_e_per_a2"]], axis=1)
    for row, on_front in zip(values, table["front"], strict=True):
        better = np.all(values <= row, axis=1) & np.any(values < row, axis=1)
        assert on_front == (not better.any())
    assert table["front"].any()
    assert (finished.results / "figures" / "pareto.png").stat().st_size > 5000
    report = (finished.results / "report.html").read_text(encoding="utf-8")
    assert "Several objectives and the Pareto front" in report
    assert f"the {table['front'].sum()} trials of the Pareto front" in " ".join(report.split())


def test_a_winner_with_another_dose_than_the_experts_is_told(finished):
    """Without it, the report would praise a design for the dose alone."""
    best = pd.read_csv(finished.results / "tables" / "recommended.csv").set_index("parameter")["best"]
    (said,) = [text for text in sentences(read_tables(finished.results)) if text.startswith("Caution: the optimised")]
    dose = shown_number(best["applied_dose_e_per_a2"])
    assert f"than the expert settings, {dose} e/Å² against 2,000 e/Å². The differences" in said


def test_the_time_of_a_scan(finished):
    """positions x the time of an electron dose at 5 pA, or the shortest dwell."""
    config = at_point(finished.study.experiment, {"step_a": 2, "applied_dose_e_per_a2": 1000})
    found = costs(SearchObjective(**AGAINST), config, 2000)
    assert found["dose"] == 1000
    assert found["time"] == pytest.approx(config.positions * 1000 * 2**2 * 1.602176634e-19 / 5e-12)
    faint = at_point(config, {"applied_dose_e_per_a2": 1})
    assert costs(SearchObjective(**AGAINST), faint, 2000)["time"] == pytest.approx(faint.positions * 20e-6)


def test_front_of_a_few_points():
    assert front([3, 2, 1, 3], [[3, 1, 2, 3]]).tolist() == [True, True, False, True]
    assert front([1.0], [[1.0]]).tolist() == [True]


def test_trials_open_in_optuna(finished, tmp_path, capsys):
    file = tmp_path / "trials.db"
    assert main(["optuna", str(finished.results), "-o", str(file)]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "several-bo-2000"
    spaced = tmp_path / "my trials.db"
    assert main(["optuna", str(finished.results), "-o", str(spaced)]) == 0
    assert shlex.split(capsys.readouterr().out.splitlines()[-1]) == ["optuna-dashboard", f"sqlite:///{spaced}"]
    spaced.unlink()
    assert main(["optuna", str(finished.results), "-o", str(tmp_path / "a?b.db")]) == 2
    assert "must have no ? in its path" in capsys.readouterr().err
    study = optuna.load_study(study_name="several-bo-2000", storage=f"sqlite:///{file}")
    assert [d.name for d in study.directions] == ["MAXIMIZE", "MINIMIZE", "MINIMIZE"]
    table = pd.read_csv(finished.results / "tables" / "trials.csv")
    assert len(study.trials) == len(table) == 8
    assert [t.values[0] for t in study.trials] == pytest.approx(list(table["objective"]))
    assert {t.params["semiangle_mrad"] for t in study.trials} <= {20, 25}
    pareto = pd.read_csv(finished.results / "tables" / "pareto.csv")
    assert {t.number for t in study.best_trials} == set(np.flatnonzero(pareto["front"]))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["trials.db"]
    assert main(["optuna", str(finished.results), "-o", str(file)]) == 2
    assert "must not exist yet" in capsys.readouterr().err
    assert main(["optuna", str(tmp_path), "-o", str(tmp_path / "other.db")]) == 2


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"search__method": "bo", "search__sampler": None}, "search.method: has one objective only; got 'bo'"),
        ({"search__sampler": "cmaes"}, "search.sampler: has one objective only"),
        ({"objective__current_pa": None}, "objective.current_pa: is required for the time"),
        ({"objective__against": ["time", "time"]}, "objective.against: must differ"),
        (
            {"space__applied_dose_e_per_a2": {"low": 1, "high": 2}, "objective__against": ["money"]},
            "'dose' or 'time'|known",
        ),
    ],
)
def test_wrong_objectives(tmp_path, changes, words):
    folder = study_files.write_study(tmp_path / "study", study_files.changed(content(), changes))
    with pytest.raises(InputError, match=words):
        kinds.open_study(folder, "preview", tmp_path / "results")


def test_a_dose_that_does_not_vary_is_no_objective(tmp_path):
    changed = content()
    del changed["space"]["applied_dose_e_per_a2"]
    folder = study_files.write_study(tmp_path / "study", changed)
    with pytest.raises(InputError, match=r"objective\.against: needs a space that varies the dose"):
        kinds.open_study(folder, "preview", tmp_path / "results")
    assert isinstance(folder, Path)


@pytest.mark.parametrize("metric, compared", [("ssim", 2), ("psnr_db", 2), ("information", 3)])
def test_gains_have_what_was_maximised(metric, compared, tmp_path):
    objective = {"metric": metric, **({"width_px": 1.5} if metric == "ssim" else {})}
    folder = study_files.write_study(tmp_path / "study", study_files.tiny(objective=objective))
    scores = collect._compared(kinds.open_study(folder, "preview", tmp_path).resolved.study)
    assert len(scores) == compared
    draws = [("optimised", [3.0, 5.0, 4.0]), ("expert", [1.0, 2.0, 3.0])]
    rows = [
        {"design": design, "simulator": "jax", "dose_e_per_a2": 10.0, "repeat": n}
        | dict.fromkeys(scores.values(), value)
        for design, values in draws
        for n, value in enumerate(values)
    ]
    found = pd.DataFrame(collect.gain_rows(pd.DataFrame(rows), "expert", scores))
    assert list(found["metric"]) == list(scores)
    assert list(found["difference"]) == pytest.approx([2.0] * compared)
