"""Studies of regularisation: errors of slices, dumbbells, what varies, and a whole study with a tuned plan."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from thick_files import write_study

from ptydesign import drawing, kinds
from ptydesign.errors import InputError
from ptydesign.reconstruct.plan import Plan
from ptydesign.regularisation.figures import engines, images
from ptydesign.regularisation.run import dumbbells, find_item, items
from ptydesign.regularisation.tables import RegularisationTables
from ptydesign.regularisation.tune import short
from ptydesign.score.align import sample_truth
from ptydesign.score.dumbbells import measure_pair, pairs
from ptydesign.score.slices import depth_bins, in_bins, overlap, slice_error
from ptydesign.study.cost import words
from ptydesign.types import Truth

ROOT = Path(__file__).parents[2]


def test_overlap_shares_slices_and_keeps_the_sum():
    shares = overlap(np.full(6, 2.0), np.array([5.0, 7.0]))
    assert shares[0] == pytest.approx([1, 1, 0.5, 0, 0, 0])
    assert shares.sum(axis=0) == pytest.approx(np.ones(6))
    assert overlap(np.full(4, 2.0), np.array([3.0])).sum() == pytest.approx(1.5)  # the rest lies beyond


def test_slice_error_is_zero_for_the_truth_and_sees_swapped_slices():
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:48, :40] * 0.25
    waves = [np.sin(2 * np.pi * (a * y / 12 + b * x / 10)) for a, b in ((1, 2), (3, 1), (2, 2))]
    truth = Truth(np.stack([rng.normal() * w for w in waves]), (0.25, 0.25), np.empty((0, 2)), np.full(3, 4.0))
    where = (2.0, 2.0, 9.0, 8.0), (0.0, 0.0)
    args = (np.full(3, 4.0), (0.25, 0.25), (0.0, 0.0), truth, depth_bins(truth, 3), *where)
    constant = np.array([0.3, -2.0, 1.0])[:, None, None]
    assert slice_error(truth.phase_rad + constant, *args) < 1e-9
    swapped = truth.phase_rad[[1, 0, 2]]
    rows, columns = slice(8, 36), slice(8, 32)
    parts = (swapped - truth.phase_rad)[:, rows, columns]
    expected = np.sqrt(np.mean((parts - parts.mean(axis=(1, 2), keepdims=True)) ** 2))
    assert slice_error(swapped, *args) == pytest.approx(expected, rel=1e-6)


def test_slice_error_does_not_depend_on_how_the_sample_is_cut():
    """Nothing reconstructed is as wrong in 2 slices as in 12, and a sample cut short is charged for what is missing."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:48, :40] * 0.25
    waves = [np.sin(2 * np.pi * (a * y / 12 + b * x / 10)) for a, b in rng.integers(1, 4, (12, 2))]
    truth = Truth(np.stack(waves), (0.25, 0.25), np.empty((0, 2)), np.full(12, 2.0))
    bins = depth_bins(truth, 6)

    def error(phase, slices_a):
        where = (2.0, 2.0, 9.0, 8.0), (0.0, 0.0)
        return slice_error(phase, slices_a, (0.25, 0.25), (0.0, 0.0), truth, bins, *where)

    nothing = [error(np.zeros((n, 48, 40)), np.full(n, 24.0 / n)) for n in (2, 3, 6, 12)]
    assert nothing == pytest.approx([nothing[0]] * 4, rel=1e-12)
    assert error(truth.phase_rad, truth.thickness_a) < 1e-9
    assert error(in_bins(truth.phase_rad, truth.thickness_a, bins), bins) < 1e-9
    coarse = in_bins(truth.phase_rad, truth.thickness_a, np.full(2, 12.0))
    assert 0.1 * nothing[0] < error(coarse, np.full(2, 12.0)) < nothing[0]
    assert error(truth.phase_rad[:6], truth.thickness_a[:6]) == pytest.approx(
        error(np.concatenate([truth.phase_rad[:6], np.zeros((6, 48, 40))]), truth.thickness_a), rel=1e-9
    )
    long = in_bins(np.ones((13, 2, 2)), np.full(13, 2.0), bins)
    np.testing.assert_allclose(long[:, 0, 0], [2, 2, 2, 2, 2, 3])  # what is beyond the sample is in the last bin


def test_pairs_are_mutual_and_short():
    columns = np.array([[0, 0], [0, 0.6], [3, 3], [3, 3.9], [3, 4.5]])
    assert pairs(columns, 1.0).tolist() == [[0, 1], [3, 4]]
    assert len(pairs(columns[:1], 1.0)) == 0


@pytest.mark.parametrize("separation", [0.45, 0.59, 0.9])
def test_separation_of_a_known_dumbbell(separation):
    pixel, start = (0.11, 0.13), (-4.0, -3.0)
    y = start[0] + pixel[0] * np.arange(70)[:, None]
    x = start[1] + pixel[1] * np.arange(50)[None, :]
    turn = np.array([np.sin(0.7), np.cos(0.7)])
    ends = [np.array([0.21, 0.33]) + s * separation / 2 * turn for s in (-1, 1)]
    image = 3 + sum(
        h * np.exp(-((y - e[0]) ** 2 + (x - e[1]) ** 2) / 0.08) for h, e in zip((1.0, 0.8), ends, strict=True)
    )
    wrong = [e + np.array([0.05, -0.04]) for e in ends]  # it does not start from the answer
    found = measure_pair(image, pixel, start, *wrong)
    assert found.separation_a == pytest.approx(separation, abs=0.02)
    assert (found.dip > 0.2) == (separation > 0.5)
    assert measure_pair(image, pixel, start, (-3.9, -2.9), (-3.4, -2.9)) is None  # at the edge


def test_dumbbells_of_the_truth_are_fitted_as_the_reconstructions(tmp_path):
    """Of a reconstruction that is the truth, moved by the allowed shift, both fits find the same."""
    resolved = kinds.open_study(ROOT / "studies" / "engines", "preview", tmp_path).resolved
    middle = np.asarray(resolved.centre_a)
    atoms = middle + np.array([[-0.21, -0.2], [0.21, 0.2]])
    fine, step, shift = 0.1, (0.15, 0.16), np.array([0.03, -0.05])
    y, x = np.arange(400)[:, None] * fine, np.arange(400)[None, :] * fine
    blobs = sum(np.exp(-((y - a) ** 2 + (x - b) ** 2) / 0.15) for a, b in atoms)
    truth = Truth(blobs[None], (fine, fine), np.empty((0, 2)), np.array([64.2]))
    origin = middle - 4
    phase = sample_truth(blobs, (fine, fine), tuple(origin - shift), step, (54, 50))
    state = SimpleNamespace(pixel_a=step, origin_a=origin, phase_rad=phase[None])
    (row,) = dumbbells(resolved, state, truth, {"columns": {"Pr": atoms}}, list(shift))
    assert row["separation_a"] == pytest.approx(row["truth_fit_a"], abs=2e-3)
    assert row["true_a"] == pytest.approx(0.58, abs=1e-6)
    assert abs(row["truth_fit_a"] - row["true_a"]) < 0.05


def test_what_varies_keeps_the_rest_of_the_plan(tmp_path):
    resolved = kinds.open_study(ROOT / "studies" / "regularisation", "preview", tmp_path).resolved
    study = resolved.study
    names = [item.name for item in items(study)]
    assert names[0] == "gradient"
    assert len(names) == len(set(names)) == 1 + sum(len(v.values) for v in study.vary)
    item = find_item(study, "layer_tikhonov_0")
    plan = study.plan_with(study.plans[0].plan, {item.path: item.value}, 100.0)
    base = study.plan_with(study.plans[0].plan, {}, 100.0)
    assert plan.engines[0].costs[0].weight == 0
    assert plan.engines[0].costs[1] == base.engines[0].costs[1]
    assert (base.object.slices, base.object.slice_thickness_a) == (14, pytest.approx(100 / 14))
    both = study.plan_with(study.plans[0].plan, {"slices": 5, "thickness_a": 60.0}, 100.0)
    assert (both.object.slices, both.object.slice_thickness_a) == (5, 12.0)
    with pytest.raises(InputError, match="must be one of"):
        find_item(study, "nothing")


def test_a_short_plan_ends_its_schedules():
    engine = {"engine": "gradient", "sweeps": 50}
    engine["object_rate"] = {"schedule": "cosine", "start": 0.01, "end": 0.001, "sweeps": 50}
    plan = short(Plan.model_validate({"engines": [engine]}), 7)
    assert plan.sweeps == 7
    assert plan.engines[0].parameters_at(7)["object_rate"] == pytest.approx(0.001)


@pytest.mark.parametrize("name", ["regularisation", "engines"])
@pytest.mark.parametrize("scale", ["smoke", "preview", "paper"])
def test_studies_are_valid_at_every_scale(name, scale, tmp_path):
    run = kinds.open_study(ROOT / "studies" / name, scale, tmp_path)
    assert "GiB for each job" in words(run, 2)
    if scale == "preview":
        assert 2 * max(run.memory_gib.values()) < 24


@pytest.mark.parametrize(
    "name, change, field, message",
    [
        *[
            (
                "regularisation",
                lambda c, path=path: c["vary"][1].update(path=path),
                "vary.1.path",
                f"must lead to a number of the first plan; got '{path}'. {hint}",
            )
            for path, hint in {
                "engines.0.ofset": "Did you mean 'engines.0.offset'",
                "engines.0.engine": "Did you mean",
                "engines.0.costz.0.weight": "Did you mean 'engines.0.costs.0.weight' .* count from 0",
                "engines.1.costs.0.weight": "Did you mean 'engines.0.costs.0.weight'",
                "engines.0.costz.x": "Did you mean 'engines.0",
                "engines.0.offset.x": "Did you mean 'engines.0.offset'",
                "slices": "Known here: .*engines.0.costs.0.weight",  # which divided by a value of 0
            }.items()
        ],
        (
            "regularisation",
            lambda c: c.update(vary={"engines.0.costz.x": [1]}),
            "study.yaml: vary",
            "must be a list of name, path and values; got {.* Write - {name: offset, path: engines.0.offset",
        ),
        (
            "regularisation",
            lambda c: c["vary"][1].update(values=[-1]),
            "vary.1.engines.0.costs.0.weight",
            "must be at least 0; got -1.0. Give a number that is at least 0.",
        ),
        (
            "engines",
            lambda c: c["plans"][0].update(tune={"engines.1.object_step": {"low": 0.1, "high": 0.2}}),
            "plans.0.tune.engines.1.object_step",
            "Did you mean 'engines.0.object_step'",
        ),
        (
            "engines",
            lambda c: c["plans"][0].update(tune={"slces": {"choices": [3, 4]}}),
            "plans.0.tune.slces",
            "Did you mean 'slices'",
        ),
        (
            "engines",
            lambda c: c["plans"][0].update(tune={"slices": {"choices": [0, 4]}}),
            "plans.0.tune.slices",
            "must be greater than 0; got 0. Give a number greater than 0.",
        ),
        (
            "engines",
            lambda c: c["plans"][0].update(tune={"engines.*.object_step": {"low": -0.1, "high": 0.2}}),
            "plans.0.tune.engines.*.object_step",
            "must be at least 0; got -0.1. Give a number that is at least 0.",
        ),
        ("engines", lambda c: c["errors"].update(margin_a=-1), "errors.margin_a", "must be at least 0; got -1. Give"),
        ("regularisation", lambda c: c["vary"][1].update(name="offset"), "vary", "different names"),
        ("regularisation", lambda c: c.update(slices=100), "slices", "simulation's slices"),
        (
            "engines",
            lambda c: c["plans"][0]["tune"].update(slices={"choices": [4, 60]}),
            "plans.0.tune.slices",
            "finer|slices",
        ),
        (
            "engines",
            lambda c: c["plans"][0]["tune"].update(nothing={"low": 1, "high": 2}),
            "plans.0.tune.nothing",
            "known",
        ),
        ("engines", lambda c: c["plans"][1].update(name="epie"), "plans", "different names"),
        ("engines", lambda c: c["errors"].update(margin_a=9), "errors.margin_a", "must leave 1 A"),
        (
            "engines",
            lambda c: c["plans"][0]["tune"].update(thickness_a={"low": 20, "high": 60}),
            "plans.0.tune.thickness_a",
            "must hold the sample's thickness, 64.2 A",
        ),
        ("engines", lambda c: c["dumbbells"].update(element="Si"), "dumbbells.element", "one of the file's"),
        ("engines", lambda c: c["sample"].update(repeats=[7, 4, 8]), "sample.repeats", "supercell of at least"),
    ],
)
def test_bad_studies_are_refused(tmp_path, name, change, field, message):
    folder = write_study(tmp_path, name, change)
    with pytest.raises(InputError, match=message) as caught:
        kinds.open_study(folder, "preview", tmp_path / "results")
    assert field in caught.value.field


def test_defects_outside_the_scored_field_are_warned_of(tmp_path):
    def change(content):
        places = [
            {"kind": "vacancy", "host": "Si", "at_a": [[0, 12, 60]]},
            {"kind": "vacancy", "host": "Si", "count": 3},
        ]
        content["sample"].update(defects=places)

    run = kinds.open_study(write_study(tmp_path, "regularisation", change), "preview", tmp_path)
    (warning,) = run.resolved.warnings  # of those placed by hand
    assert "sample.defects.0.at_a: should lie in the scored field (|y| <= 4.5" in warning
    assert "less errors.margin_a, 1.5 A" in warning
    assert "A (x, y): 0 of 1 Si vacancy, 3 of 3 Si vacancy" in words(run, 2)


def synthetic_tables(factor: bool) -> RegularisationTables:
    """Tables of a plan, and of another plan or of a setting that varies."""
    rng = np.random.default_rng(0)
    items = ["gradient", "offset_1"] if factor else ["gradient", "epie"]
    rows = {"item": items, "factor": ["", "offset" if factor else ""], "value": [np.nan, 1.0 if factor else np.nan]}
    vary = [{"name": "offset", "path": "engines.0.offset"}] if factor else []
    plan = {"vary": vary, "plans": [{"name": "gradient", "plan": {"engines": [{"offset": 0.1}]}}]}
    images = {
        name: {
            "arrays": {"phase": rng.uniform(-1, 5, (20, 24)), "power": rng.uniform(1e-6, 1, (20, 24))},
            "attrs": {"pixel_a": [0.2, 0.2]},
        }
        for name in ("truth", *items)
    }
    frames = {name: pd.DataFrame() for name in ("errors", "dumbbells", "trials")}
    return RegularisationTables(Path(), plan, {}, {**frames, "summary": pd.DataFrame(rows)}, images)


@pytest.mark.parametrize("name", ["images", "engines"])
def test_phases_can_be_read_off(name):
    """A bar with the unit, whose range is that of every panel, inside the figure."""
    tables = synthetic_tables(factor=name == "images")
    with drawing.styled():
        figure = {"images": images, "engines": engines}[name](tables)
        figure.canvas.draw()
    bars = {axes.get_ylabel(): axes for axes in figure.axes if axes.get_ylabel()}
    assert list(bars) == (["Phase (rad)"] if name == "images" else ["Phase (rad)", "log₁₀ (relative power)"])
    truth = tables.images["truth"]["arrays"]["phase"]
    shown = [picture for axes in figure.axes for picture in axes.images if picture.get_cmap().name == "gray"]
    assert len(shown) == 3
    for picture in shown:
        assert picture.get_clim() == pytest.approx(bars["Phase (rad)"].get_ylim())
        assert picture.get_clim() == pytest.approx(np.percentile(truth, (1, 99.5)))
    wide, tall = figure.bbox.size
    for axes in bars.values():
        assert len(axes.get_yticks()) >= 3
        box = axes.get_tightbbox()
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= wide
        assert box.y1 <= tall
