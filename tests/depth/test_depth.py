"""Studies of depth: the Gaussian in depth, what counts as found, and the whole study at smoke scale."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from thick_files import write_study

from ptydesign import kinds
from ptydesign.cli import main
from ptydesign.depth.config import MeasureConfig
from ptydesign.depth.figures import FIGURES, resolution, thickness
from ptydesign.depth.measure import is_found, match, summarise
from ptydesign.depth.reconstruct import guesses
from ptydesign.depth.tables import DepthTables
from ptydesign.errors import InputError
from ptydesign.score.depth import DepthPeak, disc_means, disc_points, fit_peak
from ptydesign.study.cost import words

ROOT = Path(__file__).parents[2]
STUDY = ROOT / "studies" / "depth"


def test_fit_of_a_known_profile():
    depth = (np.arange(24) + 0.5) * 6.5
    true = DepthPeak(depth_a=71.3, fwhm_a=18.8, height=25.0, offset=-10.0)
    found = fit_peak(depth, true.at(depth))
    assert (found.depth_a, found.fwhm_a, found.height, found.offset) == pytest.approx(
        (71.3, 18.8, 25.0, -10.0), rel=1e-4
    )
    fine = np.linspace(0, 156, 20001)
    assert found.area == pytest.approx(np.trapezoid(true.at(fine) + 10, fine), rel=1e-3)


def test_fit_under_noise_is_unbiased_and_scales():
    rng = np.random.default_rng(0)
    depth = (np.arange(20) + 0.5) * 8
    true = DepthPeak(80.0, 25.0, 10.0, 0.0)
    errors = [fit_peak(depth, true.at(depth) + rng.normal(0, 0.5, 20)).depth_a - 80 for _ in range(60)]
    assert abs(np.mean(errors)) < 0.4
    assert 0.1 < np.std(errors) < 2
    one, thousand = (fit_peak(depth, scale * true.at(depth)) for scale in (1, 1000))
    assert thousand.height == pytest.approx(1000 * one.height, rel=1e-3)


def test_no_peak_no_fit():
    depth = np.arange(10.0)
    assert fit_peak(depth, np.zeros(10)) is None
    assert fit_peak(depth[:4], np.array([0, 1, 0, 0.0])) is None
    assert fit_peak(depth, np.full(10, np.nan)) is None


def test_disc_means_of_known_images():
    points = disc_points()
    assert np.mean(points**2, axis=0) == pytest.approx([0.25, 0.25], rel=0.02)  # of a uniform disc
    y, x = np.mgrid[:30, :40]
    image = np.stack([2.0 * y - x, (y - 12.3) ** 2 + (x - 20.6) ** 2])
    means = disc_means(image, np.array([[12.3, 20.6]]), (2.0, 3.0))
    assert means[0, 0] == pytest.approx(2 * 12.3 - 20.6, abs=1e-6)
    assert means[0, 1] == pytest.approx((2.0**2 + 3.0**2) / 4, rel=0.02)


def test_found_detected_and_false():
    config = MeasureConfig()
    strong, weak, wide = DepthPeak(50, 20, 30, 0), DepthPeak(50, 20, 1, 0), DepthPeak(50, 90, 30, 0)
    assert [is_found(p, config, expected=400.0) for p in (strong, weak, wide, None)] == [True, False, False, False]
    assert not is_found(DepthPeak(50, 20, 30, 0, bounded=True), config, expected=400.0)  # a bound, not a width
    depth = np.arange(5.0, 60, 10)
    assert fit_peak(depth, 50 - (depth - 30) ** 2 / 50).bounded
    true = [
        {"element": "Sn", "y_a": 1.0, "x_a": 2.0, "z_a": 53.0},
        {"element": "Sn", "y_a": 5.0, "x_a": 2.0, "z_a": 90.0},
        {"element": "Sn", "y_a": 9.0, "x_a": 9.0, "z_a": 10.0},
    ]
    places = np.array([[1.0, 2.0], [5.0, 2.0], [7.0, 7.0]])
    rows, matched = match(true, places, [strong, strong, strong], [True] * 3, config)
    assert [r["detected"] for r in rows] == [True, False, False]  # 40 A off; no column there
    assert matched == {0}
    numbers = summarise(rows)
    assert (numbers["interstitial_count"], numbers["detected"]) == (3, 1)
    assert numbers["rmse_a"] == pytest.approx(3.0)
    assert summarise([])["rmse_a"] is None


@pytest.mark.parametrize("scale", ["smoke", "preview", "paper"])
def test_the_study_is_valid_at_every_scale(scale, tmp_path):
    run = kinds.open_study(STUDY, scale, tmp_path)
    assert run.kind.name == "depth"
    assert "GiB for each job" in words(run, 2)
    if scale == "paper":
        size = (*run.resolved.shape.extent_a[::-1], run.resolved.shape.thickness_a)
        assert size == pytest.approx((92.17, 92.33, 293.5), abs=0.05)
    if scale == "preview":
        assert 2 * max(run.memory_gib.values()) < 24


def test_the_study_of_a_hundred_sweeps_differs_from_the_studys_base_in_its_plan_alone(tmp_path):
    folder = tmp_path / "studies" / "depth100"
    shutil.copytree(STUDY, folder)
    shutil.copy(ROOT / "docs" / "results" / "depth" / "depth100.yaml", folder / "study.yaml")
    ours, base = (kinds.open_study(path, "preview", tmp_path).resolved for path in (folder, STUDY))
    assert ours.data_settings("base") == base.data_settings("base")
    assert ours.study.measure == base.study.measure
    assert ours.study.reconstruction.sweeps == 100


def test_the_study_at_the_papers_thickness_is_that_of_paper_scale_over_a_part_of_its_field(tmp_path):
    folder = tmp_path / "studies" / "depth293"
    shutil.copytree(STUDY, folder)
    shutil.copy(ROOT / "docs" / "results" / "depth" / "depth293.yaml", folder / "study.yaml")
    ours, paper = (kinds.open_study(*args, tmp_path).resolved for args in ((folder, "preview"), (STUDY, "paper")))
    assert ours.shape.thickness_a == paper.shape.thickness_a == pytest.approx(293.5, abs=0.05)
    assert len(ours.placed) == len(paper.placed) == 16
    assert ours.study.slices == paper.study.slices
    for name in ("voltage_kv", "semiangle_mrad", "defocus_nm", "applied_dose_e_per_a2", "detector_pixels", "pixel_a"):
        assert getattr(ours.study.experiment, name) == getattr(paper.study.experiment, name)


SN = {"kind": "interstitial", "element": "Sn", "host": "Si", "offset": [0, 0, 0.5]}


def defects(*found):
    return lambda c: c["sample"].update(defects=[{**SN, **more} for more in found])


@pytest.mark.parametrize(
    "change, field, message",
    [
        (lambda c: c["sample"].update(file="none.cif"), "sample.file", "must exist"),
        (lambda c: c["sample"].update(repeats=[6, 8, 15]), "sample.repeats", "supercell of at least"),
        (lambda c: c["experiment"].update(field_of_view_a=[90, 10]), "experiment.field_of_view_a", "must fit"),
        (lambda c: c.update(slices=4), "slices", "must be at least 5"),
        (lambda c: c.update(slices=200), "slices", "simulation's slices"),
        (lambda c: c["thickness"].update(slices=[500]), "thickness.slices", "simulation's slices"),
        (
            lambda c: c["thickness"].update(hold="slices", thickness_a=[40]),
            "thickness.thickness_a",
            "24 slices of 1.67",
        ),
        (lambda c: c["thickness"].update(hold="slice"), "thickness.hold", "Did you mean 'slices'"),
        (
            defects({"at_a": [[0, 9, 60], [14, 0, 60]]}),
            "sample.defects.0.at_a",
            r"must put an interstitial into the scored field .* measure.margin_a.* nothing would be measured; "
            r"got \[\[0.0, 9.0, 60.0\], \[14.0, 0.0, 60.0\]\]. The sites there .* Move them, or scan a larger field",
        ),
        (lambda c: c["experiment"].pop("applied_dose_e_per_a2"), "experiment.applied_dose_e_per_a2", "is required"),
        (lambda c: c["experiment"].update(scan_margin_a=3), "experiment.scan_margin_a", "all that is scanned"),
        (lambda c: c["experiment"].update(semiangle_mrad=80), "experiment.semiangle_mrad", "aperture must lie inside"),
        (lambda c: c["variants"][0].update(semiangle_mrad=80), "variants.angle15.semiangle_mrad", "aperture must lie"),
        (lambda c: c["variants"][0].update(angle=80), "variants.0.angle", "not a number of the experiment"),
        (lambda c: c["variants"][1].update(name="angle15"), "variants", "different names"),
        (lambda c: c["sample"]["defects"][0].update(count=90), "sample.defects.0.count", "found room"),
        (lambda c: c["sample"].update(defects=[]), "sample.defects", "must place interstitials"),
        (
            lambda c: c["reconstruction"].update(object={"slices": 3, "slice_thickness_a": 5}),
            "object.slices",
            "study's key",
        ),
        (lambda c: c["measure"].update(radius=1), "measure.radius", "not a known key"),
        (lambda c: c["measure"].update(margin_a=9), "measure.margin_a", r"must leave 1 A .* at most 8\.5"),
        (lambda c: c["potential"]["thermal"]["sigma_a"].pop("Sn"), "potential.thermal.sigma_a", "Add Sn"),
        (lambda c: c["potential"]["thermal"]["sigma_a"].pop("C"), "potential.thermal.sigma_a", "Add C"),
        (
            lambda c: c["potential"]["thermal"].update(sigma_a=-1),
            "potential.thermal.sigma_a",
            "must be a 1-D rms displacement in A, at most 2 and greater than 0; got -1.0. Give one as 0.08",
        ),
        (
            lambda c: c["potential"]["thermal"]["sigma_a"].update(Si=-1),
            "potential.thermal.sigma_a.Si",
            "must be a 1-D rms displacement in A, at most 2 and at least 0; got -1.0. Give one as 0.08",
        ),
        (
            lambda c: c["potential"]["thermal"]["sigma_a"].update(Si=None),
            "potential.thermal.sigma_a.Si",
            r"must be a valid number; got null. Correct it in \S*study.yaml.$",
        ),
        (
            lambda c: c["measure"].update(margin_a=-1),
            "measure.margin_a",
            "must be at least 0; got -1. Give a number that is at least 0.",
        ),
        (
            lambda c: c["experiment"].update(applied_dose_e_per_a2=-1),
            "experiment.applied_dose_e_per_a2",
            "must be greater than 0; got -1. Give a number that is greater than 0.",
        ),
        (
            lambda c: c["variants"][2].update(applied_dose_e_per_a2=-1),
            "variants.dose_1e6.applied_dose_e_per_a2",
            "must be greater than 0; got -1. Give a number that is greater than 0.",
        ),
        (lambda c: c.update(kind="dpeth"), "study.yaml: kind", "not a known kind of study; got 'dpeth'. .*'depth'"),
        (lambda c: c.update(titel="x"), "study.yaml: titel", "not a known key; got 'x'. Did you mean 'title'?"),
        (lambda c: c["sample"]["film"].update(density_g_cm3=9), "sample.film.density_g_cm3", "At most"),
        (lambda c: c["thickness"].update(thickness_a=[-30]), "thickness.thickness_a", "must be positive"),
        (
            lambda c: c["thickness"].update(slices=[8, 8]),
            "thickness.slices",
            "must differ; got .* List each value once",
        ),
        (lambda c: c["sample"]["defects"][0].pop("count"), "sample.defects.0", "Say how many"),
    ],
)
def test_bad_studies_are_refused(tmp_path, change, field, message):
    folder = write_study(tmp_path, "depth", change)
    with pytest.raises(InputError, match=message) as caught:
        kinds.open_study(folder, "preview", tmp_path / "results")
    assert field in caught.value.field


@pytest.mark.parametrize(
    "change, scored, warning",
    [
        (defects({"count": 12, "margin_a": 2.5}), "12 of 12 Sn interstitial", None),
        (
            defects({"at_a": [[0, 0, 50], [0, 9, 60]]}),
            "1 of 2 Sn interstitial",
            "sample.defects.0.at_a: should lie in the scored field (|y| <= 7, |x| <= 7 A from the middle of the scan: "
            "experiment.field_of_view_a less measure.margin_a, 2 A, on each side) to count; got [[0.0, 9.0, 60.0]]. "
            "The sites there are at",
        ),
        (
            defects({"at_a": [[0, 14, 60]]}, {"count": 2}),
            "0 of 1 Sn interstitial, 2 of 2 Sn interstitial",
            "Move them, or scan a larger field or lower measure.margin_a.",
        ),
        (
            defects({"count": 12, "margin_a": 0}),
            "8 of 12 Sn interstitial",
            "got '4 of 12 outside'. Give it a margin_a of at least 2, or",
        ),
    ],
)
def test_defects_that_will_not_count_are_said_before_work_starts(tmp_path, change, scored, warning, capsys):
    folder = write_study(tmp_path, "depth", change)
    for command in (["check"], ["step", "depth", "resolve"]):  # `resolve` is the first job of a run
        assert main([*command, str(folder), "--root", str(tmp_path / "results")]) == 0
        found = capsys.readouterr()
        assert f"defects in the scored field of 14 x 14 A (x, y): {scored}\n" in found.out + found.err
        assert found.err.count("warning: sample.defects.0") == (warning is not None)
        assert (warning or "") in found.err


def guesses_of(tmp_path, hold):
    wanted = {"hold": hold, "thickness_a": [115, 175], "slices": [8, 12]}
    folder = write_study(tmp_path, "depth", lambda c: c["thickness"].update(wanted))
    resolved = kinds.open_study(folder, "preview", tmp_path / "results").resolved
    true = float(resolved.shape.thickness_a)
    found = guesses(resolved)
    by_slices = [(g.slices, g.slices * g.slice_a) for g in found if "slices" in g.varied]
    assert by_slices == [(8, pytest.approx(true)), (12, pytest.approx(true))]
    by_thickness = [g for g in found if "thickness" in g.varied]
    assert sorted(g.slices * g.slice_a for g in by_thickness) == pytest.approx([115, true, 175])
    return by_thickness, true


def test_the_thickness_of_a_slice_is_held_while_the_thickness_varies(tmp_path):
    found, true = guesses_of(tmp_path, "slice_thickness")
    assert [g.slices for g in found] == [18, 24, 27]
    assert [g.slice_a for g in found] == pytest.approx([true / 24] * 3, rel=0.5 / 18)


def test_the_number_of_slices_is_held_while_the_thickness_varies(tmp_path):
    found, true = guesses_of(tmp_path, "slices")
    assert [g.slices for g in found] == [24] * 3
    assert [g.slice_a for g in found] == pytest.approx([115 / 24, true / 24, 175 / 24])


def tables_of(study, **frames) -> DepthTables:
    """Tables of a study of depth, empty but for these."""
    names = ("interstitials", "columns", "summary", "thickness")
    return DepthTables(Path(), study, {}, {name: frames.get(name, pd.DataFrame()) for name in names}, {})


@pytest.mark.parametrize(
    "plan, words",
    [
        ({}, "slice thickness held: 6.4 to 6.5 Å\n(18 to 24 slices)"),  # a plan of before there was a choice
        ({"hold": "slices"}, "number of slices held: 18 to 24\n(of 6.4 to 6.5 Å)"),
    ],
)
def test_the_figure_says_what_is_held(plan, words):
    rows = [("thickness", 18, 6.39), ("thickness", 24, 6.47), ("slices", 8, 19.4), ("slices", 24, 6.47)]
    frame = pd.DataFrame(rows, columns=["varied", "slices", "slice_a"])
    frame = frame.assign(
        thickness_a=frame["slices"] * frame["slice_a"], true_thickness_a=155.2, status="all_sweeps_done"
    )
    frame = frame.assign(misfit_seen=0.002, misfit_held_out=[0.005, 0.004, 0.01, 0.004])
    figure = thickness(tables_of({"thickness": plan}, thickness=frame))
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == [words, "thickness held at the true 155.2 Å\n(slices of 6.5 to 19.4 Å)"]


def test_nothing_detected_draws_no_resolution():
    names = pd.DataFrame({"variant": ["base", "dose_1e5"], "changed": ["", "applied_dose_e_per_a2"], "status": "ok"})
    summary = names.assign(applied_dose_e_per_a2=[1e7, 1e5], detected=[1, 0], interstitial_count=2)
    summary = summary.assign(fwhm_a=[9.0, np.nan], fwhm_sd_a=np.nan, rmse_a=[1.0, np.nan], spread_a=[1.0, np.nan])
    one, none = tables_of({}, summary=summary), tables_of({}, summary=summary.assign(detected=0))
    assert len(resolution(one).axes) == 1
    skip = next(figure.skip for figure in FIGURES if figure.name == "resolution")
    assert skip(one) is None
    assert "found an interstitial" in skip(none)
