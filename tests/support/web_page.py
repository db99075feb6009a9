"""A server in a process of its own, and a folder that it shows in a headless browser."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

WAIT_S = 240  # for what comes: a machine that tests may be slow, cold and busy
ROOT = Path(__file__).parents[2]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = ("--no-sandbox", "--disable-dev-shm-usage")


def browser_path() -> str | None:
    """Where Chromium is, None if it isn't."""
    return next((found for name in BROWSERS if (found := shutil.which(name))), None)


class Page:
    """A served folder and a browser. errors: what the page's scripts complained of; outside: addresses of other hosts
    that it asked for."""

    def __init__(self, browser, address: str, process: subprocess.Popen):
        self.base, _, self.token = address.partition("/?token=")
        self.process = process
        self.context = browser.new_context(viewport={"width": 1500, "height": 900}, accept_downloads=True)
        self.errors: list[str] = []
        self.outside: list[str] = []
        self.tab = self.open_tab()

    def open_tab(self):
        """Another tab of the same browser."""
        tab = self.context.new_page()
        tab.set_default_timeout(WAIT_S * 1000)
        tab.on("pageerror", lambda error: self.errors.append(str(error)))
        tab.on("dialog", lambda dialog: (self.errors.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        tab.on("request", lambda request: self._asked(request.url))
        return tab

    def _asked(self, url: str) -> None:
        if not url.startswith((self.base, self.base.replace("http", "ws"), "data:", "blob:")):
            self.outside.append(url)

    def goto(self, path: str, tab=None):
        """Open one of the pages, and wait until it is there."""
        tab = tab or self.tab
        tab.goto(f"{self.base}{path}{'&' if '?' in path else '?'}token={self.token}")
        tab.wait_for_function("window.Bokeh && Bokeh.documents.length > 0 && Bokeh.documents[0].is_idle")
        return tab

    def close(self) -> None:
        """End both."""
        self.context.close()
        self.process.terminate()
        self.process.wait(20)


def serve(folder: Path, *options: str) -> tuple[subprocess.Popen, str]:
    """A server of a folder in a process of its own, and its address."""
    command = [sys.executable, "-m", "ptydesign", "serve", str(folder), "--no-browser", "--port", "0", *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PTYDESIGN_CACHE": str(folder / ".cache")}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    said = ""
    until = time.monotonic() + WAIT_S
    while time.monotonic() < until and process.poll() is None:
        said += process.stderr.readline()
        found = re.search(r"http://\S+", said)
        if found:
            return process, found.group()
    process.kill()
    raise AssertionError(f"no address: {said}")
