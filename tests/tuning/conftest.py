"""The tiny tuning study, which is done once for all tests."""

from __future__ import annotations

import pytest
from finished import Study


@pytest.fixture(autouse=True)
def cache(studies, monkeypatch):
    """Potentials and compiled code of the finished study are taken from there."""
    monkeypatch.setenv("PTYDESIGN_CACHE", str(studies.cache))


@pytest.fixture(scope="session")
def done(studies) -> Study:
    """The tiny study, done. Tests that change it work on a copy."""
    return studies["tuning"]


@pytest.fixture(scope="session")
def finished(done):
    """The same as it was resolved."""
    return done.run.resolved
