"""The tiny tuning study, done once for all tests here."""

from __future__ import annotations

import pytest
from tuning_files import resolved_in, run_all


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    """Potentials are built once."""
    with pytest.MonkeyPatch.context() as patch:
        folder = str(tmp_path_factory.mktemp("cache"))
        patch.setenv("PTYDESIGN_CACHE", folder)
        yield folder


@pytest.fixture(scope="session")
def finished(tmp_path_factory, cache):
    """The tiny study, done. Tests that change it work on a copy."""
    resolved = resolved_in(tmp_path_factory.mktemp("finished"))
    run_all(resolved)
    return resolved
