"""Plans whose files have names that become the same study's."""

from __future__ import annotations

import pytest
from plan_files import tiny_plan, write_plan

from ptydesign.errors import InputError
from ptydesign.planning.api import install


def test_a_plan_does_not_take_the_study_of_another_file(tmp_path):
    first, second = write_plan(tmp_path / "a b.yaml"), write_plan(tmp_path / "a_b.yaml", title="second")
    assert install(first, tmp_path) == "a_b"
    made = (tmp_path / "studies" / "a_b" / "study.yaml").read_bytes()
    with pytest.raises(InputError, match=r"studies/a_b; got .*a_b\.yaml.*a b\.yaml made it: rename"):
        install(second, tmp_path)
    with pytest.raises(InputError, match="a plan with that title"):
        install(tiny_plan(title="A b"), tmp_path)
    elsewhere = write_plan(tmp_path / "elsewhere" / "a b.yaml", title="third")
    with pytest.raises(InputError, match="made it"):
        install(elsewhere, tmp_path)
    assert (tmp_path / "studies" / "a_b" / "study.yaml").read_bytes() == made


def test_a_file_that_is_changed_or_renamed_keeps_its_study(tmp_path):
    path = write_plan(tmp_path / "a b.yaml")
    install(path, tmp_path)
    write_plan(path, title="changed")
    assert install(path, tmp_path) == "a_b"
    study = tmp_path / "studies" / "a_b"
    assert "title: changed" in (study / "study.yaml").read_text()
    assert install(study, tmp_path) == install(study / "study.yaml", tmp_path) == "a_b"
    path.rename(tmp_path / "a_b.yaml")
    assert install(tmp_path / "a_b.yaml", tmp_path) == "a_b"
