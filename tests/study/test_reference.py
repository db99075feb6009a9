"""docs/study.md and docs/*-keys.md say what the configuration models say, and say it of every key."""

import re
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel, RootModel

from ptydesign import kinds
from ptydesign.cli import main
from ptydesign.config import Strict
from ptydesign.errors import InputError
from ptydesign.planning.detectors import Detector
from ptydesign.study.keys import OTHERS, keys_page

DOCS = Path(__file__).parents[2] / "docs"
FILES = {
    **{kind: kinds.find_kind(kind).model for kind in kinds.KINDS},
    **{name: item[0] for name, item in OTHERS.items()},
}


@pytest.mark.parametrize("kind", FILES)
def test_pages_are_up_to_date(kind):
    name, option = ("study.md", "") if kind == "experiment" else (f"{kind}-keys.md", f" --kind {kind}")
    page = (DOCS / name).read_text(encoding="utf-8")
    assert page == keys_page(kind, FILES[kind]), f"run: ptydesign keys{option} > docs/{name}"


@pytest.mark.parametrize("kind", FILES)
def test_no_cell_is_empty(kind):
    rows = re.findall(r"^\| (`.*) \|$", keys_page(kind, FILES[kind]), re.MULTILINE)
    assert len(rows) >= len(FILES[kind].model_fields) - 2
    for row in rows:
        cells = [cell.strip() for cell in row.split(" | ")]
        assert len(cells) == 4, row
        assert all(cells), row


def models(annotation) -> set[type[BaseModel]]:
    """The models that a file of some model is made of."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return {annotation}.union(*(models(field.annotation) for field in annotation.model_fields.values()))
    return set().union(*(models(part) for part in get_args(annotation)))


EVERY = sorted(set().union(*(models(model) for model in (*FILES.values(), Detector))), key=lambda model: model.__name__)


def test_every_model_of_a_file_is_strict_and_found():
    assert len(EVERY) > 60
    assert all(issubclass(model, Strict | RootModel) for model in EVERY)


@pytest.mark.parametrize("model", EVERY, ids=lambda model: model.__name__)
def test_a_description_says_more_than_the_name(model):
    assert model.__doc__
    for name, field in model.model_fields.items():
        if issubclass(model, RootModel):
            continue
        text = field.description or ""
        assert text.endswith("."), (name, text)
        assert text[0].isupper() or text[0] == "[", (name, text)
        words = set(re.findall(r"[a-z0-9]+", text.lower()))
        more = words - set(name.split("_")) - {"the", "a", "of", "in", "an", "and"}
        assert len(more) >= 2, (name, text)


def test_descriptions_of_a_models_fields_differ():
    for model in EVERY:
        texts = [field.description for field in model.model_fields.values()]
        assert len(set(texts)) == len(texts), model


def test_units_of_names_are_said():
    """The unit at the end of a name is in its description, too."""
    words = {
        "a": "angstrom", "px": "pixel", "s": "second", "nm": "nm", "mrad": "mrad", "kv": "kV", "deg": "degrees",
        "mm": "mm", "um": "micrometres", "rad": "rad", "pa": "pA", "us": "microseconds", "a2": "e/A^2", "cm3": "g/cm^3",
        "ns": "ns", "per_a": "1/A",
    }  # fmt: skip
    for model in EVERY:
        for name, field in model.model_fields.items():
            word = words["per_a"] if name.endswith("per_a") else words.get(name.rpartition("_")[2])
            assert word is None or word in field.description, (model, name, field.description)


def test_an_unknown_kind_has_no_page(capsys):
    with pytest.raises(InputError, match="known kind"):
        kinds.find_kind("dept")
    assert main(["keys", "--kind", "dept"]) == 2
    assert "depth" in capsys.readouterr().err


@pytest.mark.parametrize(
    "kind, texts",
    {
        "experiment": (
            "## sample: kind structure",
            "| `zone_axis` | [whole number, whole number, whole number] | `[0, 0, 1]` |",
            "| `semiangle_mrad` | number `> 0` `<= 200` | required |",
            "| `detector_pixels` | whole number `>= 8` `<= 4096` | required |",
            "| `reconstruction` | [plan](reconstruction-keys.md) | required |",
            "| `thermal` | section or `none` or null | `null` |",
        ),
        "reconstruction": (
            "## engines: engine lsqml",
            "| `object_rate` | number `> 0` or schedule | `0.02` |",
            "| `constraints` | list of sections | `[]` |",
            "`layer_tikhonov` or `layer_tv`",
        ),
        "planning": ("| `currents_pa` | list of 1 or more numbers `> 0` | required |", "## instrument / conventions"),
        "calibration": ("| `step_a` | number or [number, number] or null | `null` |",),
    }.items(),
)
def test_a_page_says_choices_bounds_and_defaults(kind, texts):
    page = keys_page(kind, FILES[kind])
    for text in texts:
        assert text in page


def test_a_page_has_each_section_once():
    for kind, model in FILES.items():
        titles = re.findall(r"^## (.*)$", keys_page(kind, model), re.MULTILINE)
        assert len(set(titles)) == len(titles), kind
