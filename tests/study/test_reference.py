"""docs/study.md says what the configuration models say."""

from pathlib import Path

import pytest
from pydantic import BaseModel

from ptydesign import kinds
from ptydesign.errors import InputError
from ptydesign.experiment.config import StudyConfig
from ptydesign.study.keys import keys_page

PAGE = Path(__file__).parents[2] / "docs" / "study.md"


def test_the_page_is_up_to_date():
    assert PAGE.read_text(encoding="utf-8") == keys_page("experiment", StudyConfig), (
        "run: ptydesign keys > docs/study.md"
    )


@pytest.mark.parametrize("kind", [kind for kind in kinds.KINDS if kind != "experiment"])
def test_pages_of_other_kinds_are_up_to_date(kind):
    page = PAGE.with_name(f"{kind}-keys.md").read_text(encoding="utf-8")
    model = kinds.find_kind(kind).model
    assert issubclass(model, BaseModel)
    assert page == keys_page(kind, model), f"run: ptydesign keys --kind {kind} > docs/{kind}-keys.md"
    assert all(name in ("study", "scale") or f"`{name}`" in page for name in model.model_fields)


def test_an_unknown_kind_has_no_page():
    with pytest.raises(InputError, match="known kind"):
        kinds.find_kind("dept")


def test_the_page_names_every_section_and_the_choices():
    page = keys_page("experiment", StudyConfig)
    for name in StudyConfig.model_fields:
        assert name in ("study", "scale") or f"`{name}`" in page
    for text in ("sample: kind structure", "`zone_axis`", "engine lsqml", "`defocus_nm`", "`[0, 0, 1]`"):
        assert text in page
