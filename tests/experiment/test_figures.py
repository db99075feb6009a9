"""Figures: drawn from tables only, legible, reproducible; wrong tables are refused. The tables are synthetic."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from synthetic_study import DOSES, copy, draw_all, make_images, rewrite, scale_column, write_report, write_results

from ptydesign.drawing import DPI, VERMILLION, cell_edges, nice_length, styled
from ptydesign.errors import InputError
from ptydesign.experiment import figures
from ptydesign.experiment.tables import read_tables
from ptydesign.io import Array, write_images
from ptydesign.study.quantities import axis_label, dose_number, number, score_label, ssim_column

FIGURES = {figure.name: figure for figure in figures.FIGURES}


@pytest.fixture(scope="module")
def full(tmp_path_factory) -> Path:
    """A complete results folder with figures and report. Tests that change it work on a copy."""
    folder = write_results(tmp_path_factory.mktemp("figures") / "synthetic")
    draw_all(folder)
    write_report(folder)
    return folder


def pixels(folder: Path) -> dict[str, bytes]:
    """Figures of a results folder, by name, as a screen shows them: quicker than files, and as far as the eye sees."""
    tables, found = read_tables(folder), {}
    for name, shown in FIGURES.items():
        if shown.skip(tables):
            continue
        with styled():
            figure = shown.draw(tables)
            figure.set_dpi(DPI / 2)
            figure.canvas.draw()
        found[name] = bytes(figure.canvas.buffer_rgba())
    return found


@pytest.fixture(scope="module")
def seen(full) -> dict[str, bytes]:
    """The figures of the complete folder."""
    return pixels(full)


def visible_texts(figure):
    """Texts with something in them that a reader sees, and their boxes in pixels."""
    from matplotlib.text import Text

    renderer = figure.canvas.get_renderer()
    found = []
    beyond = set()  # labels of ticks outside the axes' limits exist but are never drawn
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        low, high = sorted(axis.get_view_interval())
        for tick in axis.get_major_ticks() + axis.get_minor_ticks():
            if not low <= tick.get_loc() <= high:
                beyond |= {tick.label1, tick.label2}
    for item in figure.findobj(lambda artist: isinstance(artist, Text) and artist not in beyond):
        shown = item.get_visible() and item.get_text().strip() and (item.axes is None or item.axes.get_visible())
        if shown and np.all(np.isfinite(item.get_window_extent(renderer).extents)):
            found.append((item, item.get_window_extent(renderer)))
    return found


CASES = {
    "full": {},
    "failed_dose": {"failed_dose": 100.0},
    "one_dose": {"doses": (1000.0,), "random": False, "mapped": False},
    "nine_doses": {"doses": (100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0, 1e4, 2e4, 5e4)},
    "other_parameters": {"space": {"voltage_kv": {"low": 60, "high": 300}, "tilt_um": {"low": 0.5, "high": 2.5}}},
    "one_parameter": {"space": {"cs_mm": {"low": 0.01, "high": 2.0, "scale": "log"}}},
}


@pytest.mark.parametrize("case", CASES)
def test_nothing_is_clipped_and_no_texts_touch(case, tmp_path):
    tables = read_tables(write_results(tmp_path / "run", **CASES[case]))
    drawn = 0
    for name, shown in FIGURES.items():
        if shown.skip(tables):
            continue
        with styled():
            figure = shown.draw(tables)
            figure.canvas.draw()
            width, height = figure.get_size_inches()
            assert width in (3.4, 7.0)
            box = figure.get_tightbbox(figure.canvas.get_renderer())
            assert min(box.x0, box.y0, width - box.x1, height - box.y1) >= 0, name
            texts = visible_texts(figure)
        # rotated labels have large upright boxes: their neighbours are told apart by the rule in `dose_axis`
        upright = [(item, area) for item, area in texts if item.get_rotation() % 90 == 0]
        for k, (first, one) in enumerate(upright):
            for second, other in upright[k + 1 :]:
                overlap = min(one.x1, other.x1) - max(one.x0, other.x0), min(one.y1, other.y1) - max(one.y0, other.y0)
                message = f"{name}: {first.get_text()!r} over {second.get_text()!r}"
                assert min(overlap) <= 1.0, message
        drawn += 1
    assert drawn >= 3


def test_files_have_the_size_of_a_journal_column(full):
    widths = {
        "reconstructions": 7.0,
        "settings": 7.0,
        "structure": 7.0,
        "maps": 7.0,
        "spectrum": 7.0,
        "convergence": 3.4,
    }
    for name, inches in widths.items():
        with Image.open(full / "figures" / f"{name}.png") as picture:
            assert picture.size[0] == round(inches * DPI)
            assert np.asarray(picture.convert("L")).std() > 10
        content = (full / "figures" / f"{name}.pdf").read_bytes()
        assert content.startswith(b"%PDF")
        assert b"CreationDate" not in content
    assert not [path for path in (full / "figures").iterdir() if path.name.startswith(".")]


def test_equal_tables_give_equal_bytes(full, tmp_path):
    again = copy(full, tmp_path)
    shutil.rmtree(again / "figures")
    (again / "report.html").unlink()
    draw_all(again)
    write_report(again)
    for path in sorted((full / "figures").iterdir()):
        assert path.read_bytes() == (again / "figures" / path.name).read_bytes(), path.name
    assert (full / "report.html").read_bytes() == (again / "report.html").read_bytes()


@pytest.mark.parametrize(
    "table, column, figure",
    [
        ("summary", "ssim_mean", "reconstructions"),
        ("summary", "psnr_db_std", "reconstructions"),
        ("recommended", "best", "settings"),
        ("recommended", "high", "settings"),
        ("map", "ssim_1.5px", "maps"),
        ("map", "psnr_db", "maps"),
        ("convergence", "best_objective", "convergence"),
        ("trials", "objective", "convergence"),
        ("spectrum", "ssnr", "spectrum"),
    ],
)
def test_figures_follow_their_tables_and_no_others(full, seen, tmp_path, table, column, figure):
    folder = copy(full, tmp_path)
    rewrite(folder, table, scale_column(column, 0.9))
    changed = pixels(folder)
    assert [name for name in seen if changed[name] != seen[name]] == [figure]


def test_images_follow_the_image_file(full, seen, tmp_path):
    folder = copy(full, tmp_path)
    rng = np.random.default_rng(5)
    groups = make_images(DOSES, rng)
    groups["structure"]["arrays"]["potential_va"] = Array(np.arange(56.0 * 72).reshape(56, 72), "V*angstrom", "y,x")
    write_images(folder / "tables" / "images.h5", groups)
    changed = pixels(folder)
    for name, same in (("reconstructions", False), ("structure", False), ("settings", True)):
        assert (changed[name] == seen[name]) is same, name


def test_atoms_lie_on_the_potential(full):
    """Panels a and b of the structure show the same field: the x and y of atoms match bright pixels, not y and x."""
    tables = read_tables(full)
    with styled():
        figure = FIGURES["structure"].draw(tables)
    atoms, potential = figure.axes[:2]
    assert atoms.get_xlim() == potential.get_xlim() == (0, 18.0)
    assert atoms.get_ylim() == potential.get_ylim() == (14.0, 0)
    offsets = np.asarray(atoms.collections[0].get_offsets())
    image = potential.images[0].get_array()
    inside = offsets[(offsets[:, 0] < 17.8) & (offsets[:, 1] < 13.8)]
    values = image[
        np.round(inside[:, 1] / 0.25).astype(int).clip(0, 55), np.round(inside[:, 0] / 0.25).astype(int).clip(0, 71)
    ]
    assert np.min(values) > 0.35 * 400  # every atom, the lightest included, sits on its own peak


def test_same_phase_range_of_each_dose_and_one_scale_in_all_images(full):
    tables = read_tables(full)
    with styled():
        figure = FIGURES["reconstructions"].draw(tables)
    images = [image for axes in figure.axes for image in axes.images]
    assert len(images) == 2 * len(DOSES) + 1
    ranges = Counter(image.get_clim() for image in images)
    assert sorted(ranges.values()) == [1, *[2] * len(DOSES)]  # the truth's, and that of both designs at each dose
    pixels_per_a = {round(i.axes.get_window_extent().width / np.ptp(i.axes.get_xlim()), 3) for i in images}
    assert len(pixels_per_a) == 1


def test_a_reference_on_the_border_of_a_map_is_drawn_whole(full, tmp_path):
    folder = copy(full, tmp_path)
    study = yaml.safe_load((folder / "resolved.yaml").read_text())
    xs, ys = (study["map"][axis]["values"] for axis in "xy")
    study["reference"]["step_a"] = float(cell_edges(sorted(xs), log=True)[0])
    study["reference"]["semiangle_mrad"] = float(cell_edges(sorted(ys))[-1])
    (folder / "resolved.yaml").write_text(yaml.safe_dump(study))
    with styled():
        figure = FIGURES["maps"].draw(read_tables(folder))
        figure.canvas.draw()
    markers = [line for axes in figure.axes for line in axes.lines if line.get_marker() == "^"]
    assert len(markers) == 4
    for line in markers:
        seen, panel = line.get_window_extent(), line.axes.get_window_extent()
        assert min(seen.x0 - panel.x0, panel.x1 - seen.x1, seen.y0 - panel.y0, panel.y1 - seen.y1) >= 0


def test_the_reference_lies_above_the_best_values(full):
    with styled():
        figure = FIGURES["settings"].draw(read_tables(full))
    for axes in figure.axes:
        best = next(line for line in axes.lines if line.get_marker() == "o")
        reference = next(line for line in axes.lines if line.get_color() == VERMILLION)
        assert reference.get_zorder() > best.get_zorder()
        assert reference.is_dashed()


def test_failed_reconstructions_are_marked_and_scores_named(full, tmp_path):
    folder = copy(full, tmp_path)
    rewrite(folder, "validation", lambda f: f.assign(contrast=np.where(f["dose_e_per_a2"] == 100, -0.2, 0.9)))
    for base, failed in ((full, 0), (folder, 2)):
        tables = read_tables(base)
        with styled():
            figure = FIGURES["reconstructions"].draw(tables)
        texts = [text.get_text() for axes in figure.axes for text in axes.texts]
        assert texts.count("reconstruction\nfailed") == failed
        assert ("reconstruction failed" in FIGURES["reconstructions"].caption(tables)) is bool(failed)
        labels = [axes.get_xlabel() for axes in figure.axes if axes.images]
        assert sum(label.startswith("SSIM 0.") and label.endswith(" dB") for label in labels) == 2 * len(DOSES)


def test_a_dose_without_design_says_so(tmp_path):
    folder = write_results(tmp_path / "run", failed_dose=100.0)
    tables = read_tables(folder)
    with styled():
        drawn = {name: FIGURES[name].draw(tables) for name in ("reconstructions", "settings")}
    assert any("all trials failed" in t.get_text() for axes in drawn["reconstructions"].axes for t in axes.texts)
    assert sum("all trials failed" in t.get_text() for axes in drawn["settings"].axes for t in axes.texts) == 4
    draw_all(folder)
    page = write_report(folder).read_text()
    assert "No pair of scores at 100 e/Å²" in page
    assert "fewer than 4 scan positions" in page


def test_a_figure_that_cannot_be_drawn_is_left_out_and_named(full, tmp_path):
    folder = write_results(tmp_path / "run", doses=(1000.0,), random=False, mapped=False)
    (folder / "figures").mkdir()
    (folder / "figures" / "maps.png").write_bytes(b"of an earlier run")
    names = {path.stem for path in draw_all(folder)}
    assert names == {"reconstructions", "settings", "decision", "spectrum", "structure"}
    assert not (folder / "figures" / "maps.png").exists()
    page = write_report(folder).read_text()
    assert "Parameter maps: not drawn, because the study has no map" in page
    assert "Convergence of the search: not drawn, because the study has no random search" in page
    assert "cannot be judged" in page


def test_every_trial_failed_everywhere(tmp_path):
    """A study without any result still has a report that says so."""
    folder = write_results(tmp_path / "run", doses=(100.0,), random=False, mapped=False)
    for name in ("trials", "validation"):
        rewrite(folder, name, lambda frame: frame.assign(status="failed", reason="out of memory", objective=np.nan))
    for name in ("contenders", "spectrum"):
        rewrite(folder, name, lambda frame: frame.iloc[:0])
    rewrite(folder, "recommended", lambda frame: frame.assign(best=np.nan, low=np.nan, high=np.nan))
    rewrite(folder, "summary", lambda f: f.assign(n=0, ssim_mean=np.nan, ssim_std=np.nan, psnr_db_mean=np.nan))
    images = make_images((100.0,), np.random.default_rng(0))
    write_images(folder / "tables" / "images.h5", {"structure": images["structure"]})
    assert {path.stem for path in draw_all(folder)} == {"structure"}
    page = write_report(folder).read_text()
    assert "all trials failed" in page
    assert "out of memory" in page


@pytest.mark.parametrize("name", ["trials", "validation", "recommended", "summary", "convergence", "map"])
def test_missing_table_is_named(full, tmp_path, name):
    folder = copy(full, tmp_path)
    (folder / "tables" / f"{name}.csv").unlink()
    for act in (draw_all, write_report):
        with pytest.raises(InputError, match=rf"{name}\.csv: must exist"):
            act(folder)


def test_missing_or_foreign_images_are_named(full, tmp_path):
    folder = copy(full, tmp_path)
    images = folder / "tables" / "images.h5"
    images.write_bytes(b"no HDF5")
    with pytest.raises(InputError, match=r"images\.h5"):
        draw_all(folder)
    images.unlink()
    with pytest.raises(InputError, match=r"images\.h5"):
        draw_all(folder)


@pytest.mark.parametrize(
    "table, change, words",
    [
        ("summary", lambda f: f.drop(columns="ssim_std"), r"summary\.csv: ssim_std: is a required column"),
        ("recommended", lambda f: f.assign(best="two"), r"recommended\.csv: best: must hold numbers"),
        ("trials", lambda f: f.assign(status="fine"), r"trials\.csv: status: must be one of"),
        ("trials", lambda f: f.assign(dose_e_per_a2=-1.0), r"trials\.csv: dose_e_per_a2: must be a positive"),
        ("convergence", lambda f: f.assign(best_objective=np.inf), r"convergence\.csv: best_objective: must be finite"),
        ("map", lambda f: f.drop(columns="step_a"), r"map\.csv: step_a: is a required column"),
        ("summary", lambda f: f.assign(design=["a", "b"] * (len(f) // 2)), r"summary\.csv: design"),
    ],
)
def test_bad_table_is_refused_and_nothing_written(full, tmp_path, table, change, words):
    folder = copy(full, tmp_path)
    rewrite(folder, table, change)
    before = {path.name: path.read_bytes() for path in (folder / "figures").iterdir()}
    with pytest.raises(InputError, match=words):
        draw_all(folder)
    assert {path.name: path.read_bytes() for path in (folder / "figures").iterdir()} == before


def test_empty_file_missing_folder_and_missing_figure(full, tmp_path):
    with pytest.raises(InputError, match="results folder"):
        draw_all(tmp_path / "nowhere")
    folder = copy(full, tmp_path)
    (folder / "figures" / "maps.png").unlink()
    with pytest.raises(InputError, match=r"maps\.png: must exist"):
        write_report(folder)
    (folder / "tables" / "summary.csv").write_text("")
    with pytest.raises(InputError, match=r"summary\.csv: design: is a required column"):
        write_report(folder)


def test_words_and_numbers():
    assert axis_label("semiangle_mrad") == "Aperture semi-angle (mrad)"
    assert axis_label("beam_tilt_mrad") == "Beam tilt (mrad)"
    assert axis_label("oddity") == "Oddity"
    assert [number(v) for v in (0.0, 1.0, -55.0, 1234.5, 0.01234, 2.5e-7, float("nan"))] == [
        "0", "1", "−55", "1,234", "0.0123", "2.5×10^−7", "–",
    ]  # fmt: skip
    assert number(9.999) == "10"
    assert number(0.9996) == "1"
    assert dose_number(50000.0) == "50,000"
    assert dose_number(0.5) == "0.5"
    assert score_label(ssim_column(5)) == "SSIM (width 5 px)"
    assert score_label("objective") == "Objective"
    assert [nice_length(v) for v in (1.0, 4.9, 6.0, 23.0, 0.07)] == pytest.approx([1, 2, 5, 20, 0.05])
    assert cell_edges([1, 2, 4], log=True) == pytest.approx([2**-0.5, 2**0.5, 2**1.5, 2**2.5])
    assert cell_edges([0, 1, 3]) == pytest.approx([-0.5, 0.5, 2, 4])


@pytest.mark.parametrize(
    "metric, words", [("ssim", "SSIM (width 5 px)"), ("psnr_db", "PSNR (dB)"), ("mse_rad2", "−MSE (rad²)")]
)
def test_words_of_the_objective(metric, words, full):
    tables = read_tables(full)
    study = {**tables.study, "objective": {"metric": metric, "width_px": 5}}
    assert replace(tables, study=study).objective == words
