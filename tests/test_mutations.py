"""A short form of `python -m benchmarks mutations`: files changed at random are used, or refused in a sentence."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from benchmarks import mutations

STUDIES = Path(__file__).parents[1] / "studies"
QUICK = (
    "dataset", "reconstruction", "picture of a reconstruction", "checkpoint", "plan of a reconstruction", "calibration",
    "positions", "plan of beam time",
)  # fmt: skip
EACH = 8


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """Good files by kind."""
    found = mutations.cases(STUDIES, tmp_path_factory.mktemp("good"))
    return {case.name: case for case in found}


@pytest.mark.parametrize("kind", QUICK)
def test_a_changed_file_is_used_or_refused_in_a_sentence(kind, good, tmp_path):
    case, rng = good[kind], random.Random(kind)
    assert mutations.tried(case.read, case.path)[0] == 0
    for number in range(EACH):
        folder = tmp_path / str(number)
        shutil.copytree(case.path.parent, folder)
        change = mutations.mutated(folder / case.path.name, rng)
        status, words = mutations.tried(case.read, folder / case.path.name)
        assert status in (0, 2), (change, words)


def test_a_traceback_or_an_endless_line_is_no_sentence(tmp_path):
    def broken(path):
        raise KeyError("lost")

    def endless(path):
        print("error: " + "x" * 5000)
        return 2

    assert mutations.tried(broken, tmp_path)[0] == 3
    assert mutations.tried(endless, tmp_path)[0] == 3
