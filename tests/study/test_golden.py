"""The jobs of every study, with all that decides whether they run again, are those of the golden lists."""

from collections import defaultdict

import job_lists
import pytest

MEND = "if that is on purpose: python tests/support/job_lists.py, and say in the commit what changed"


def by_output(lines: list[str]) -> dict[tuple[str, str], dict[str, str]]:
    """(study, outputs) -> the other facts of a job."""
    found = {}
    for line in lines:
        study, *values = line.split("\t")
        facts = dict(zip(job_lists.FIELDS, values, strict=True))
        found[study, facts.pop("outputs")] = facts
    return found


@pytest.mark.parametrize("scale", job_lists.SCALES)
def test_jobs_are_those_of_the_list(scale, monkeypatch):
    monkeypatch.chdir(job_lists.ROOT)
    wanted, found = by_output(job_lists.read(scale)), by_output(list(job_lists.lines(scale)))
    assert set(found) == set(wanted), MEND
    changed = defaultdict(set)
    for place, facts in found.items():
        for name, value in facts.items():
            if value != wanted[place][name]:
                changed[place[0]].add(f"{name} of {facts['step']}")
    assert not changed, MEND
