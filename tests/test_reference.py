"""docs/study.md says what the configuration models say."""

from pathlib import Path

from ptydesign.study.config import StudyConfig
from ptydesign.study.reference import keys_page
from ptydesign.tuning.config import TuningConfig

PAGE = Path(__file__).parents[1] / "docs" / "study.md"


def test_the_page_is_up_to_date():
    assert PAGE.read_text(encoding="utf-8") == keys_page(), "run: ptydesign keys > docs/study.md"


def test_the_page_of_tuning_studies_is_up_to_date():
    found = keys_page(TuningConfig, " --kind tuning", "tuning-keys.md")
    page = PAGE.with_name("tuning-keys.md").read_text(encoding="utf-8")
    assert page == found, "run: ptydesign keys --kind tuning > docs/tuning-keys.md"


def test_the_page_names_every_section_and_the_choices():
    page = keys_page()
    for name in StudyConfig.model_fields:
        assert name in ("study", "scale") or f"`{name}`" in page
    for text in ("sample: kind structure", "`zone_axis`", "engine lsqml", "`defocus_nm`", "`[0, 0, 1]`"):
        assert text in page
