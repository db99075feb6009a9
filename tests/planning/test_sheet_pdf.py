"""The sheet is a page and its back, however much there is to say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ptydesign import drawing
from ptydesign.planning.sheet import CHECKLIST
from ptydesign.planning.sheet_pdf import A4_IN, LARGE, MEASURED, draw_checks, draw_page, write_pdf
from ptydesign.planning.tables import PlanningTables

NAMES = (
    "Voltage",
    "Aperture",
    "Scan step",
    "Scan",
    "Dwell time",
    "Current",
    "Camera",
    "Rotation",
    "Dose",
    "Source",
    "Time",
)
ROW = {"value": "+19.7 nm on the display", "tolerance": "", "note": ""}
LONG = {**ROW, "name": "Defocus", "tolerance": "10.6 or less to 19.7 nm", "note": "weaken the lens " * 6}


def content(cautions: int) -> dict:
    words = (
        "Errors cost much: 0.57 instead of 0.90, in the worst draw 0.57 (defocus wrong by 4 nm, 1.3 times the drift)."
    )
    return {
        "title": "SrTiO3",
        "instrument": "a microscope",
        "detector": "a detector",
        "settings": [LONG, *({"name": name, **ROW} for name in NAMES)],
        "expected": [("Score", "0.905"), *(("Caution", words) for _ in range(cautions))],
        "first_minutes": [
            {
                "what": "The disk without specimen",
                "expect": "54.8 pixels across, even " * 3,
                "otherwise": "Narrower: " * 16,
            }
        ]
        * 9,
        "checklist": list(CHECKLIST),
        "commands": ["ptydesign import SCAN", "ptydesign reconstruct data.h5"],
        "study": "foot",
        "version": "1",
        "seed": 0,
        "hash": "0" * 32,
    }


def tables() -> PlanningTables:
    image = np.linspace(0, 1, 600).reshape(20, 30)
    shown = {"arrays": {"truth": image, "phase": image}, "attrs": {"pixel_a": [0.3, 0.2], "ssim": 0.9}}
    images = {"recommended": shown, "expert": shown}
    return PlanningTables(Path(), {}, {}, {}, images, {"expert_name": "rule of thumb"})


def with_patterns() -> PlanningTables:
    found, square = tables(), np.linspace(0, 5, 900).reshape(30, 30)
    arrays = {"ronchigram": square, "pacbed": square}
    found.images["patterns"] = {"arrays": arrays, "attrs": {"pixel_mrad": 2.0}}
    found.recommendation["recommended"] = {"setting": {"semiangle_mrad": 20.0}}
    return found


@pytest.mark.parametrize("cautions", [0, 4, 9, 16])
def test_all_is_on_the_page_and_nothing_on_the_foot(cautions):
    with drawing.styled():
        page = draw_page(content(cautions), tables())
        draw = page.canvas.get_renderer()
        boxes = {text.get_text(): text.get_window_extent(draw) for text in page.texts}
    width, height = page.bbox.width, page.bbox.height
    foot = next(box for words, box in boxes.items() if words.startswith("foot"))
    for words, box in boxes.items():
        assert box.x0 > 0, words
        assert box.x1 < width, words
        assert box.y1 < height, words
        assert box.y0 > foot.y1 or box is foot, words
    assert [axes for axes in page.axes if axes.bbox.y0 < foot.y1] == []
    sizes = {round(axes.bbox.width / width, 3) for axes in page.axes if axes.images}
    assert len(sizes) == 1
    assert (sizes == {LARGE}) == (cautions <= 4)


def test_a_sheet_of_usual_length_has_large_letters():
    with drawing.styled():
        sizes = [{t.get_fontsize() for t in draw_page(content(n), tables()).texts} for n in (0, 1, 16)]
    assert sizes[0] == sizes[1] >= {8.0, 13.0}
    assert max(sizes[2]) < 13


def test_the_back_holds_all_checks():
    with drawing.styled():
        page = draw_checks(content(0), with_patterns())
        draw = page.canvas.get_renderer()
        boxes = [(text.get_text(), text.get_window_extent(draw)) for text in page.texts]
    width, foot = page.bbox.width, next(box for words, box in boxes if words.startswith("foot"))
    columns = [0.27 * width, 0.53 * width, MEASURED * width]
    for words, box in boxes:
        assert 0 < box.x0 < box.x1 < width, words
        assert box.y0 > foot.y1 or box is foot, words
        if words[:4] in ("The ", "54.8", "Narr") and words != "The first ten minutes":
            assert box.x1 < min(column for column in columns if column > box.x0 + 1), words


def test_it_is_two_pages_of_a4_with_equal_bytes(tmp_path):
    for name in ("a", "b"):
        write_pdf(tmp_path / f"{name}.pdf", content(4), tables())
    written = (tmp_path / "a.pdf").read_bytes()
    assert written == (tmp_path / "b.pdf").read_bytes()
    box = f"/MediaBox [ 0 0 {A4_IN[0] * 72:.2f} {A4_IN[1] * 72:.2f} ]".encode()
    assert written.count(b"/MediaBox") == written.count(box) == 2
