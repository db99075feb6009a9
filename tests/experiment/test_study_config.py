"""Study files: scales, checks before any work, conversion of units."""

from __future__ import annotations

import math
import resource
import subprocess
import sys

import numpy as np
import pytest
from study_files import tiny, write_study

from ptydesign.config import read_yaml
from ptydesign.errors import InputError
from ptydesign.experiment import scope
from ptydesign.experiment.checks import extremes, potential_shape
from ptydesign.experiment.config import StudyConfig
from ptydesign.experiment.resolve import resolve
from ptydesign.simulate.dataset import check_experiment
from ptydesign.simulate.scan import raster
from ptydesign.simulate.window import choose_window
from ptydesign.study.acquisition import ExperimentConfig, at_point, to_experiment
from ptydesign.study.file import SCALES, folder_name, load_study
from ptydesign.study.versions import LAYOUT


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
    made = to_experiment(config, 1234.0, margin=False)
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
    with_margin = to_experiment(config, 1234.0)
    wide = [size + 2 * config.margin_a for size in (20, 30)]
    assert with_margin.scan.field_of_view_a == pytest.approx(wide)
    assert config.positions == len(raster(with_margin.scan, (0.0, 0.0)))
    # 200 kV: lambda = 0.025079 A (Kirkland 2020, table 2.2)
    assert config.detector_edge_mrad == pytest.approx(0.0250793 / 0.4 * 1e3, rel=1e-4)


def test_applied_dose_replaces_the_study_dose():
    config = at_point(ExperimentConfig(**tiny()["experiment"]), {"applied_dose_e_per_a2": 33.0})
    assert to_experiment(config, 1000).dose_e_per_a2 == 33


@pytest.mark.parametrize("scale", SCALES)
def test_the_shipped_study_is_valid_at_every_scale(scale, tmp_path):
    found = resolve("studies/lowdose", scale, tmp_path)
    assert found.results.name == folder_name("lowdose", scale)
    assert sum(scope.trials(found.study).values()) > 0


def test_scales_are_laid_over_mapping_by_mapping(tmp_path):
    folder = write_study(tmp_path / "tiny", tiny(scales={"smoke": {"search": {"points": 2}}, "paper": None}))
    smoke, preview = (load_study(folder, scale, StudyConfig) for scale in ("smoke", "preview"))
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
        ({"search__points": 10_000_000}, "search.points", "Lower"),
        ({"search__points": 1700}, "search.points", "Raise `batch` or lower `points`"),
        ({"search__initial": 10_001}, "search.initial", "Lower"),
        ({"experiment__drift_a": [0, 3.6]}, "experiment.drift_a", "larger field"),
        ({"experiment__position_jitter_a": 3.1}, "experiment.position_jitter_a", "larger field"),
        ({"space__position_jitter_a": {"low": 0, "high": 3.1}}, "space.position_jitter_a", "larger field"),
        ({"experiment__semiangle_mrad": 90, "reference__semiangle_mrad": 20, "map__at": {"semiangle_mrad": 20},
          "space__semiangle_mrad": {"low": 10, "high": 20}}, "experiment.semiangle_mrad", "83.5"),
        ({"experiment__field_of_view_a": [60000, 60000]}, "experiment.step_a", "field_of_view_a"),
        ({"doses_e_per_a2": [1e8], "random": None, "map": None}, "doses_e_per_a2", "Lower the dose"),
        ({"reference__pixel_a": 0.3}, "reference.pixel_a", "whole fraction"),
        ({"titel": "x"}, "titel", "title"),
        ({"reconstruction__engines": [{"engine": "lsqml", "damping": {"schedule": "cosine", "start": 1, "end": "0",
          "sweeps": 4}}]}, "reconstruction.engines.0.schedules.damping.end", "quotes"),
    ],
)  # fmt: skip
def test_bad_input_names_field_and_mend(changes, field, mend, tmp_path):
    with pytest.raises(InputError) as caught:
        resolved(tmp_path, **changes)
    path = tmp_path / "studies" / "tiny" / "study.yaml"
    assert caught.value.field.removeprefix(f"{path}: ").startswith(field)
    assert mend in caught.value.mend
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    "changes, field, known",
    [
        ({"sample": {"kind": "structure", "file": "a.cif", "zone_axs": [0, 0, 1]}}, "sample.zone_axs",
         {"file", "kind", "occupation_seed", "repeats", "rotation_deg", "thickness_a", "zone_axis"}
         | {"film", "film_seed"}),
        ({"sample": {"kind": "image", "file": "a.npy", "pixl_a": 1}}, "sample.pixl_a",
         {"centre_a", "edge", "file", "kind", "pixel_a", "quantity", "thickness_a", "voltage_kv"}),
        ({"reconstruction__engines": [{"engine": "raar", "constraints": [{"kind": "object_lowpass", "qmx": 1}]}]},
         "reconstruction.engines.0.constraints.0.qmx", {"edge", "every", "kind", "qmax"}),
    ],
)  # fmt: skip
def test_only_keys_of_the_chosen_kind_are_known(changes, field, known, tmp_path):
    with pytest.raises(InputError) as caught:
        resolved(tmp_path, **changes)
    assert caught.value.field.endswith(f"study.yaml: {field}")
    words = caught.value.mend.split("Known here: ")[1].split(".")[0]
    assert set(words.split(", ")) == known


def test_engines_know_their_own_keys_only(tmp_path):
    with pytest.raises(InputError, match=r"engines\.0\.grup: is not a known key") as caught:
        resolved(tmp_path, reconstruction__engines=[{"engine": "epie", "grup": 8}])
    words = caught.value.mend.split("Known here: ")[1].rstrip(".").split(", ")
    assert "group" in words
    assert "damping" not in words  # of lsqml


def test_keys_that_the_loader_sets_are_not_offered(tmp_path):
    with pytest.raises(InputError) as caught:
        resolved(tmp_path, titel="x")
    words = caught.value.mend.split("Known here: ")[1].rstrip(".").split(", ")
    assert "seed" in words
    assert not {"study", "scale"} & set(words)


@pytest.mark.parametrize(
    "changes, field",
    [
        ({"sample": {"kind": "structure"}}, "sample.file"),
        ({"sample": {"layers": ["MoS2", "WS2"]}}, "sample.kind"),
        ({"map__x": {"values": [1, 2]}}, "map.x.name"),
    ],
)
def test_what_is_missing_is_called_nothing(changes, field, tmp_path):
    with pytest.raises(InputError, match=rf"study.yaml: {field}: is required; got nothing\. "):
        resolved(tmp_path, **changes)


@pytest.mark.parametrize(
    "changes, field",
    [
        ({"search": {"pionts": 2}}, "scales.smoke.search.pionts"),
        ({"search": {"points": -2}}, "scales.smoke.search.points"),
        ({"reconstruction": {"engines": [{"engine": "lsqml", "group": 0}]}},
         "scales.smoke.reconstruction.engines.0.group"),
        ({"search": {"points": 2}}, "experiment.stepp_a"),
    ],
)  # fmt: skip
def test_a_problem_of_a_scale_is_found_there(changes, field, tmp_path):
    content = tiny(scales={"smoke": changes})
    if "experiment" in field:
        content["experiment"]["stepp_a"] = 1
    folder = write_study(tmp_path / "tiny", content)
    with pytest.raises(InputError) as caught:
        load_study(folder, "smoke", StudyConfig)
    assert caught.value.field == f"{folder / 'study.yaml'}: {field}"


@pytest.mark.parametrize(
    "changes, field",
    [
        ({"experiment__voltage_kv": "80"}, "experiment.voltage_kv"),
        ({"experiment__voltage_kv": True}, "experiment.voltage_kv"),
        ({"experiment__field_of_view_a": ["6", 7]}, "experiment.field_of_view_a"),
        ({"seed": "3"}, "seed"),
        ({"doses_e_per_a2": [True]}, "doses_e_per_a2"),
        ({"space__step_a__low": "1"}, "space.step_a.low"),
        ({"reference__step_a": "2"}, "reference.step_a"),
        ({"map__at": {"semiangle_mrad": "20"}}, "map.at"),
        ({"potential__thermal": {"kind": "debye_waller", "sigma_a": {"Mo": "0.1"}}}, "potential.thermal.sigma_a"),
        ({"reconstruction__engines": [{"engine": "lsqml", "group": "8"}]}, "reconstruction.engines.0.group"),
    ],
)
def test_words_and_booleans_are_no_numbers(changes, field, tmp_path):
    with pytest.raises(InputError, match=rf"study.yaml: {field}: must be a number"):
        resolved(tmp_path, **changes)


def test_whole_numbers_serve_as_real_ones(tmp_path):
    found = resolved(tmp_path, experiment__voltage_kv=80, experiment__detector_pixels=32.0).study
    assert (found.experiment.voltage_kv, found.experiment.detector_pixels) == (80.0, 32)
    assert found.experiment.field_of_view_a == (6.0, 7.0)


def test_searches_of_the_largest_size_are_accepted(tmp_path):
    assert resolved(tmp_path, search__points=1600, search__initial=10_000).study.search.points == 1600


def test_a_folder_name_that_cannot_be_used_is_explained(tmp_path):
    with pytest.raises(InputError, match=r"letters .*, digits and underscores; got 'my-study'. Rename"):
        load_study(write_study(tmp_path / "my-study", tiny()), "preview", StudyConfig)


def test_a_reconstruction_that_does_not_know_the_mtf_is_warned_about(tmp_path):
    def said(**changes):
        return [w for w in resolved(tmp_path, **changes).warnings if "MTF" in w]

    assert said() == []
    (words,) = said(experiment__mtf_nyquist=0.4)
    assert "MTF of 0.4" in words
    assert "correction: {mtf_nyquist: 0.4}" in words
    assert said(experiment__mtf_nyquist=0.4, reconstruction__correction={"mtf_nyquist": 0.4}) == []
    assert len(said(reconstruction__correction={"mtf_nyquist": 0.4})) == 1


@pytest.mark.parametrize(
    "start, words",
    [
        ({"slices": 1}, "the reconstruction has one"),
        ({"slices": 3, "slice_thickness_a": 2}, "3 slices of 2 A make 6 A"),
        ({"slices": 8, "slice_thickness_a": 2}, "8 slices of 2 A make 16 A"),
        ({"slices": 6, "slice_thickness_a": 2}, None),
    ],
)
def test_slices_that_do_not_fit_the_sample_are_warned_of(start, words, tmp_path):
    """The bilayer is c/4 + c/2 + c/4 = 12.3 A thick."""
    warnings = resolved(tmp_path, potential__slice_thickness_a=2, reconstruction__object=start).warnings
    assert [w for w in warnings if "slice" in w] == [w for w in warnings if words is not None and words in w]
    assert any("slice" in w for w in warnings) == (words is not None)
    projected = resolved(tmp_path, reconstruction__object=start).warnings
    assert not any("slice" in w for w in projected)


@pytest.mark.parametrize(
    "text, line, words",
    [
        ("a: 1\nb: [1, 2\nc: 3\n", 3, "a list in [ ] is not closed"),
        ("a: 1\n\tb: 2\n", 2, "a tab; indent with spaces"),
        ("a: 1\nb: c: d\n", 2, "a ':' where none may stand"),
        ("a: 1\nb: 2\na: 3\n", 3, "'a' is given twice"),
        ("a: 1\n{{x}}: 1\n", 2, "can't be a key"),
        ("a: 'x\n", 2, "a quote is not closed"),
        ("a: 1\nb: \x01\n", 2, "special characters"),
    ],
)
def test_unreadable_yaml_names_line_and_problem(text, line, words, tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_yaml(path)
    assert caught.value.field == f"{path}, line {line}"
    assert words in caught.value.rule
    assert "\\n" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_encodings_than_utf8_are_named(tmp_path):
    path = tmp_path / "study.yaml"
    path.write_bytes("title: Präparat\n".encode("latin-1"))
    with pytest.raises(InputError, match="must be text in UTF-8"):
        read_yaml(path)


def test_the_command_line_knows_its_version(capsys):
    from ptydesign import __version__
    from ptydesign.cli import main

    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"ptydesign {__version__}\n"


@pytest.mark.parametrize(
    "made", ["resolved: {layout: 0}", "title: from before there were layouts", "resolved: {layout: 99}", "cut: [1, 2"]
)
@pytest.mark.parametrize("name", ["resolved.yaml", "plan.yaml"])
def test_results_of_another_version_are_refused_and_kept(name, made, tmp_path):
    old = tmp_path / "results" / "tiny"
    old.mkdir(parents=True)
    (old / name).write_text(made)
    with pytest.raises(InputError, match=r"results folder|must be a readable file of this study") as caught:
        resolved(tmp_path)
    assert "away" in caught.value.mend or "anew" in caught.value.mend
    assert (old / name).read_text() == made


@pytest.mark.parametrize("name, layout", [("resolved.yaml", LAYOUT), ("plan.yaml", 1)])
def test_results_of_versions_that_can_be_read_are_accepted(name, layout, tmp_path):
    old = tmp_path / "results" / "tiny"
    old.mkdir(parents=True)
    (old / name).write_text(f"resolved: {{layout: {layout}, study: tiny}}")
    assert resolved(tmp_path).results == old


def test_the_potential_holds_every_scan_of_the_space(tmp_path):
    """Steps between the ends of a range can overshoot the field of view by more than the ends do."""
    found = resolved(tmp_path, experiment__field_of_view_a=[7, 8], space__step_a__high=2.9)
    pixel = found.study.potential.pixel_a
    shape = np.array(potential_shape(found.study, extremes(found.study)))
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
    assert resolve("studies/lowdose", "paper", tmp_path).shape == (3456, 3456)


def test_a_probe_wider_than_the_window_is_warned_of(tmp_path):
    found = resolved(tmp_path, reference__defocus_nm=-30)
    assert any("expert" in warning for warning in found.warnings)
    assert not any("expert" in warning for warning in resolved(tmp_path).warnings)


def test_searches_are_static(tmp_path):
    found = scope.searches(resolved(tmp_path, search__points=6, search__batch=4).study)
    assert found["bo-2000"].sizes == (4, 4, 2)
    assert found["random-2000"].sizes == (4 + 6 + 2,)  # as many as the search, those one by one included
    assert found["map-2000"].sizes == (4,)
    assert [list(found["random-2000"].indices(0, c)) for c in range(5)] == [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]]
    assert found["bo-2000"].trial_files(1) == [f"search/bo-2000/round-1/chunk-{c}.json" for c in (0, 1)]
    assert found["bo-2000"].trial_files(2) == ["search/bo-2000/round-2/trials.json"]  # of one chunk: one job


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
        "import sys; from ptydesign.experiment.resolve import resolve; from pathlib import Path;"
        f"resolve(Path({str(folder)!r}), 'preview', Path('x'));"
        "assert not {'abtem', 'matplotlib', 'skimage', 'sklearn', 'skopt'} & set(sys.modules), 'heavy'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_scans_that_take_too_long_are_not_tried(tmp_path):
    study = resolved(tmp_path).study
    space = scope.design_space(study)
    points = space.draw(np.random.default_rng(0), 50)
    counts = sorted(at_point(study.experiment, point).positions for point in points)
    most = max(counts[25], at_point(study.experiment, study.reference.point).positions)
    short = study.model_copy(update={"most_positions": most})
    kept = scope.design_space(short).draw(np.random.default_rng(0), 50)
    assert counts[-1] > most >= max(at_point(study.experiment, point).positions for point in kept)
    assert len(kept) == 50


def test_a_limit_of_positions_that_nothing_keeps_is_refused(tmp_path):
    coarse = {"name": "coarse", "step_a": 6.0, "defocus_nm": 0}
    least = at_point(resolved(tmp_path).study.experiment, {"step_a": 3.0, "defocus_nm": 0}).positions
    for most, rule, more in ((3, "reference's", {}), (least - 1, "leave some designs", {"reference": coarse})):
        with pytest.raises(InputError, match=rule) as error:
            resolved(tmp_path / rule[:5], most_positions=most, **more)
        assert error.value.field.endswith("study.yaml: most_positions")


@pytest.mark.parametrize("name", ["", "optimised", "a/b", "two\nlines", " expert", "..", "x" * 41])
def test_what_a_reference_may_not_be_called(name, tmp_path):
    folder = write_study(tmp_path / "study", tiny(reference__name=name))
    with pytest.raises(InputError, match="name"):
        resolve(folder, "preview", tmp_path)


@pytest.mark.parametrize("name", ["Müllers Wahl", "$5 & <b>", "専門家"])
def test_a_reference_has_any_name_in_one_line(name, tmp_path):
    folder = write_study(tmp_path / "study", tiny(reference__name=name))
    assert resolve(folder, "preview", tmp_path).study.reference.name == name
