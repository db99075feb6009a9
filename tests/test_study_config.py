"""Study files: scales, checks before any work, conversion of units."""

from __future__ import annotations

import math
import resource
import subprocess
import sys

import numpy as np
import pytest
from study_files import tiny, write_study

from ptydesign.errors import InputError
from ptydesign.simulate.dataset import check_experiment
from ptydesign.simulate.detector import choose_window
from ptydesign.simulate.scan import raster
from ptydesign.study import layout
from ptydesign.study.checks import potential_shape
from ptydesign.study.config import SCALES, folder_name, load_study
from ptydesign.study.experiment import ExperimentConfig, at_point, to_experiment
from ptydesign.study.resolve import resolve
from ptydesign.study.versions import LAYOUT
from ptydesign.study.workflow import settings_hash


def resolved(tmp_path, scale="preview", **changes):
    return resolve(write_study(tmp_path / "studies" / "tiny", tiny(**changes)), scale, tmp_path / "results")


def test_units_are_converted_once_and_rightly():
    config = ExperimentConfig(
        voltage_kv=200,
        step_a=0.7,
        semiangle_mrad=21,
        defocus_nm=-5.5,
        detector_pixels=96,
        pixel_a=0.2,
        field_of_view_a=(20, 30),
        astigmatism_nm=2,
        astigmatism_deg=90,
        coma_um=0.3,
        coma_deg=-45,
        cs_mm=1.2,
        focal_spread_nm=3,
        rotation_deg=180,
        drift_a=(1, -2),
    )
    made = to_experiment(config, 1234.0)
    assert made.optics.defocus_a == -55
    assert made.optics.semiangle_rad == pytest.approx(0.021)
    assert made.optics.astigmatism_a == 20
    assert made.optics.astigmatism_angle_rad == pytest.approx(math.pi / 2)
    assert made.optics.coma_a == pytest.approx(3000)
    assert made.optics.coma_angle_rad == pytest.approx(-math.pi / 4)
    assert made.optics.cs_a == pytest.approx(1.2e7)
    assert made.focal_spread_a == 30
    assert made.scan.rotation_rad == pytest.approx(math.pi)
    assert made.scan.field_of_view_a == (20, 30)
    assert made.scan.drift_a == (1, -2)
    assert made.detector.pixels == (96, 96)
    assert made.electrons_per_pattern == pytest.approx(1234 * 0.49)
    check_experiment(made)
    assert config.positions == len(raster(made.scan, (0.0, 0.0)))
    # 200 kV: lambda = 0.025079 A (Kirkland 2020, table 2.2)
    assert config.detector_edge_mrad == pytest.approx(0.0250793 / 0.4 * 1e3, rel=1e-4)


def test_applied_dose_replaces_the_study_dose():
    config = at_point(ExperimentConfig(**tiny()["experiment"]), {"applied_dose_e_per_a2": 33.0})
    assert to_experiment(config, 1000).dose_e_per_a2 == 33


@pytest.mark.parametrize("scale", SCALES)
def test_the_shipped_study_is_valid_at_every_scale(scale, tmp_path):
    found = resolve("studies/lowdose", scale, tmp_path)
    assert found.results.name == folder_name("lowdose", scale)
    assert layout.total_trials(found.study) > 0


def test_scales_are_laid_over_mapping_by_mapping(tmp_path):
    folder = write_study(tmp_path / "tiny", tiny(scales={"smoke": {"search": {"points": 2}}, "paper": None}))
    smoke, preview = load_study(folder, "smoke"), load_study(folder, "preview")
    assert (smoke.search.points, smoke.search.initial) == (2, 4)
    assert preview.search.points == 4
    assert smoke.study == "tiny"


@pytest.mark.parametrize(
    "changes, field, mend",
    [
        ({"experiment__stepp_a": 1}, "experiment.stepp_a", "step_a"),
        ({"experiment__step_a": -1}, "experiment.step_a", ""),
        ({"space__step_a__low": -0.5}, "space.step_a", ""),
        ({"space__stepp_a": {"low": 1, "high": 2}}, "space.stepp_a", "step_a"),
        ({"reference__semiangle_mrad": 90}, "reference.semiangle_mrad", "83.5"),
        ({"space__semiangle_mrad": {"low": 10, "high": 84}}, "space.semiangle_mrad", "83.5"),
        ({"doses_e_per_a2": [0]}, "doses_e_per_a2", ""),
        ({"doses_e_per_a2": [-5]}, "doses_e_per_a2", ""),
        ({"doses_e_per_a2": [1e12]}, "doses_e_per_a2", ""),
        ({"doses_e_per_a2": [0.01], "random": None, "map": None}, "doses_e_per_a2", "Raise"),
        ({"doses_e_per_a2": [2000, 2000]}, "doses_e_per_a2", "once"),
        ({"random__dose_e_per_a2": 1}, "random.dose_e_per_a2", ""),
        ({"map__x__name": "stepp"}, "map.x", "step_a"),
        ({"map__y__values": [1, 20]}, "map.step_a", "smaller step"),
        ({"space__step_a__high": 9}, "space.step_a", "smaller step"),
        ({"objective__width_px": 7}, "objective.width_px", ""),
        ({"score__ssim_widths_px": [1.5, 5]}, "score.ssim_widths_px", "larger field"),
        ({"score__frc_qmax": 2.5}, "score.frc_qmax", "Lower"),
        ({"potential__pixel_a": 0.2}, "potential.pixel_a", "0.25"),
        ({"sample": {"kind": "structure", "file": "missing.cif"}}, "sample.file", "path"),
        ({"reference__detector_pixels": 4}, "reference.detector_pixels", ""),
        ({"experiment__detector_pixels": 8, "experiment__defocus_nm": -200, "space": {"step_a": {"low": 1, "high": 2}}},
         "space.detector_pixels", "more detector pixels"),
        ({"search__acquisition": "gp_hegde"}, "search.acquisition", "gp_hedge"),
        ({"reconstruction__engines": []}, "reconstruction.engines", ""),
        ({"scales__huge": {}}, "scales.huge", "paper"),
        ({"study": "other"}, "study", "Remove"),
        ({"specimen_a": [10, 200]}, "specimen_a", "Enlarge"),
    ],
)  # fmt: skip
def test_bad_input_names_field_and_mend(changes, field, mend, tmp_path):
    with pytest.raises(InputError) as caught:
        resolved(tmp_path, **changes)
    assert field in caught.value.field
    assert mend in caught.value.mend
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    "plan", ["resolved: {layout: 0}", "title: from before there were layouts", "resolved: {layout: 99}", "cut: [1, 2"]
)
def test_results_of_another_version_are_refused_and_kept(plan, tmp_path):
    old = tmp_path / "results" / "tiny"
    old.mkdir(parents=True)
    (old / "plan.yaml").write_text(plan)
    with pytest.raises(InputError, match="results folder") as caught:
        resolved(tmp_path)
    assert "away" in caught.value.mend
    assert (old / "plan.yaml").read_text() == plan


def test_results_of_this_version_are_accepted(tmp_path):
    old = tmp_path / "results" / "tiny"
    old.mkdir(parents=True)
    (old / "plan.yaml").write_text(f"resolved: {{layout: {LAYOUT}, study: tiny}}")
    assert resolved(tmp_path).results == old


def test_the_potential_holds_every_scan_of_the_space(tmp_path):
    """Steps between the ends of a range can overshoot the field of view by more than the ends do."""
    found = resolved(tmp_path, experiment__field_of_view_a=[7, 8], space__step_a__high=2.9)
    pixel = found.study.potential.pixel_a
    shape = np.array(potential_shape(found.study))
    assert np.all(shape == found.shape)
    for step in np.linspace(1.5, 2.9, 29):
        for defocus in (-8, 0):
            config = at_point(found.study.experiment, {"step_a": float(step), "defocus_nm": defocus})
            made = to_experiment(config, 100)
            window = np.array(choose_window(made, (pixel, pixel)).grid.shape)
            reach = np.abs(raster(made.scan, (0.0, 0.0))).max(axis=0)
            assert np.all(2 * reach / pixel + window <= shape), step


def test_the_specimen_may_be_larger_than_needed(tmp_path):
    found = resolved(tmp_path, specimen_a=[80, 100])
    assert found.shape == (80 / found.study.potential.pixel_a, 100 / found.study.potential.pixel_a)
    assert resolve("studies/lowdose", "paper", tmp_path).shape == (2048, 2048)


def test_a_probe_wider_than_the_window_is_warned_of(tmp_path):
    found = resolved(tmp_path, reference__defocus_nm=-30)
    assert any("expert" in warning for warning in found.warnings)
    assert not any("expert" in warning for warning in resolved(tmp_path).warnings)


def test_searches_are_static(tmp_path):
    found = layout.searches(resolved(tmp_path, search__points=6, search__batch=4).study)
    assert found["bo-2000"].sizes == (4, 4, 2)
    assert found["random-2000"].sizes == (10,)
    assert found["map-2000"].sizes == (4,)
    assert [list(found["random-2000"].indices(0, c)) for c in range(5)] == [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]]
    assert found["bo-2000"].chunk_files(2) == ["search/bo-2000/round-2/chunk-0.json"]


def test_the_command_line_refuses_bad_input_in_one_line_within_5_s(tmp_path):
    folder = write_study(tmp_path / "tiny", tiny(experiment__step_a=-1))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "ptydesign", "check", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # CPU time, which is the wall time of a machine that does nothing else
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 5
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert "experiment.step_a" in done.stderr
    assert "-1" in done.stderr


def test_validation_does_not_import_the_heavy_libraries(tmp_path):
    folder = write_study(tmp_path / "tiny", tiny())
    code = (
        "import sys; from ptydesign.study.resolve import resolve; from pathlib import Path;"
        f"resolve(Path({str(folder)!r}), 'preview', Path('x'));"
        "assert not {'abtem', 'matplotlib', 'skimage', 'sklearn', 'skopt'} & set(sys.modules), 'heavy'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_job_refuses_a_study_that_changed_since_its_graph_was_made(tmp_path, capsys):
    from ptydesign.cli import main

    folder = write_study(tmp_path / "studies" / "tiny", tiny())
    options = ["propose", str(folder), "--root", str(tmp_path / "results"), "--search", "map-2000", "--round", "0"]
    expected = settings_hash(resolve(folder, "preview", tmp_path / "results"), "propose", "map-2000", 0)
    assert main([*options, "--expect", expected]) == 0
    write_study(folder, tiny(map__x__values=[-7, -2]))
    assert main([*options, "--expect", expected]) == 2
    assert "must not change while the study runs" in capsys.readouterr().err
    assert main([*options[:-3], "map-1", *options[-2:]]) == 2
    assert "map-2000" in capsys.readouterr().err
