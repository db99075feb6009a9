"""A server and a browser for the tests of the page; skipped, with the reason, where either isn't installed."""

from __future__ import annotations

from pathlib import Path

import pytest
import web_page


@pytest.fixture(scope="session")
def browser():
    """A headless Chromium."""
    pytest.importorskip("panel", reason="the page needs the extra `web`")
    playwright = pytest.importorskip("playwright.sync_api", reason="a browser is driven by playwright (extra `dev`)")
    path = web_page.browser_path()
    if path is None:
        pytest.skip("no Chromium on this machine")
    with playwright.sync_playwright() as one:
        try:
            found = one.chromium.launch(executable_path=path, args=list(web_page.FLAGS))
        except playwright.Error as error:
            pytest.skip(f"Chromium doesn't start here: {str(error).splitlines()[0]}")
        yield found
        found.close()


@pytest.fixture
def open_page(browser):
    """A function that serves a folder and opens it."""
    pages = []

    def make(folder: Path) -> web_page.Page:
        process, address = web_page.serve(folder)
        pages.append(web_page.Page(browser, address, process))
        return pages[-1]

    yield make
    for page in pages:
        page.close()
