"""`python docs/make_page.py . docs/page`: screenshots of the page for docs/page.md, of a folder that has
results/lowdose-smoke and studies/plan_bilayer. It needs the extras `web` and `dev`, and Chromium."""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

VIEWS = {
    "study": ("/study?run=results/lowdose-smoke", "Chance of being best", 1000),
    "explorer": ("/explore?plan=studies/plan_bilayer", "The draw has", 760),
}
WIDTH, SHOWN = 1500, 1000  # pixels of the screen, and of a picture
COLOURS = 240  # of a picture: they are to be small


def main() -> None:
    """Take them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="folder to serve")
    parser.add_argument("output", type=Path, help="folder for the pictures (PNG)")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "ptydesign", "serve", str(options.folder), "--no-browser", "--port", "0"]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    base, _, token = re.search(r"http://\S+", server.stderr.readline()).group().partition("/?token=")
    try:
        with sync_playwright() as playwright:
            path = shutil.which("chromium") or shutil.which("google-chrome")
            browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
            for name, (address, words, height) in VIEWS.items():
                tab = browser.new_page(viewport={"width": WIDTH, "height": height})
                tab.set_default_timeout(120_000)
                tab.goto(f"{base}{address}&token={token}")
                tab.get_by_text(words).wait_for()
                time.sleep(2)  # the last plots are drawn
                # the head says in which folder this was
                tab.evaluate("document.querySelector('.folder').textContent = ''")
                file = options.output / f"{name}.png"
                tab.screenshot(path=file)
                with Image.open(file) as picture:
                    small = picture.convert("RGB").resize((SHOWN, round(height * SHOWN / WIDTH)), Image.LANCZOS)
                    small.quantize(COLOURS).save(file, optimize=True)
                print(f"{file}: {file.stat().st_size / 1024:.0f} kB")
            browser.close()
    finally:
        server.terminate()


if __name__ == "__main__":
    main()
