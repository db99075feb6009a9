"""`python -m benchmarks.page`: how quick the page is in a real browser, and what it costs a run to be watched.

Needs the extras `web` and `dev`, and Chromium. Take an otherwise idle machine; the table says how busy it was.

cold view     the list of 20 runs with 5,000 trials, from the address until it stands there: the first page that a new
              server shows to a new browser
first view    the same again
setting       the plan explorer, from a key on a handle until numbers, card, probe and pattern are new and drawn,
              by the browser's own clock (to ask it from outside takes as long again), for each kind of handle; the
              camera's first time at a value builds a specimen, and is timed apart. And what of the step's the server
              computes
watched       a reconstruction with --live, open in the browser: seconds that it says it spent on that, of all
memory        of the server, after the first view and after all
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))  # folders of runs as the tests have them

RUNS, TRIALS = 20, 250  # and trials of each
VIEWS, MOVES = 10, 20
LEFT = " ".join(["ArrowLeft"] * MOVES)
TO_AND_FRO = " ".join(["ArrowRight", "ArrowLeft"] * (MOVES // 2))  # of a handle that has few places
HANDLES = {  # words beside each, and its keys
    "Scan step": LEFT, "Defocus": LEFT, "Dwell time (": LEFT, "Dose (": LEFT, "Aperture (": TO_AND_FRO,
    "Current": TO_AND_FRO,
}  # fmt: skip
CAMERA = "Angle of a detector pixel"
ELECTRONS = ("Scan step", "Dwell time (", "Dose (")
PLAN = "plan_bilayer"
SWEEPS = 200
SCAN = {"shape": (64, 64), "steps": (20, 20)}
# A promise of the milliseconds from the next key until the text of the panes of all nodes is another, and drawn.
ANSWERED = """nodes => {
  const panes = nodes.map(node => node.getRootNode());
  const before = panes.map(pane => pane.textContent);
  window.answered = new Promise((done, failed) => addEventListener("keydown", key => {
    const look = () => {
      const seconds = (performance.now() - key.timeStamp) / 1000;
      if (seconds > 30) failed(new Error("the explorer doesn't answer"));
      else if (panes.some((pane, i) => pane.textContent === before[i])) requestAnimationFrame(look);
      else requestAnimationFrame(() => done(performance.now() - key.timeStamp));
    };
    look();
  }, {capture: true, once: true}));
}"""


def first_views(page, count: int) -> list[float]:
    """Seconds of each view of the list of runs."""
    found = []
    for _ in range(count):
        begin = time.perf_counter()
        page.goto("/").get_by_text(f"results/run{RUNS - 1:02d}").wait_for()
        found.append(time.perf_counter() - begin)
    return found


def settings(page, words: str, keys: str) -> list[float]:
    """Seconds from each key on a handle, named by the words beside it, until everything is new, and the frame after it
    is drawn."""
    tab = page.goto(f"/explore?plan=studies/{PLAN}&scale=preview")
    draw, numbers = tab.get_by_text("The draw has"), tab.get_by_text("Electrons per pattern").first
    draw.wait_for()
    handle = tab.get_by_text(words).first.locator("xpath=ancestor::div[1]").locator(".noUi-handle")
    handle.focus()
    found = []
    for key in keys.split():
        # most handles change both; the defocus and the aperture change no number of electrons
        watched = [draw, numbers] if words in ELECTRONS else [draw]
        tab.evaluate(ANSWERED, [one.element_handle() for one in watched])
        handle.press(key)
        found.append(tab.evaluate("() => answered") / 1000)
    return found


def computed(folder: Path) -> list[float]:
    """Seconds that the server computes for a new setting, without the browser."""
    from ptydesign.web.explorer import Explorer, moved

    explorer = Explorer(folder / "studies" / PLAN)
    knobs = explorer.start()
    explorer.pattern(knobs)
    found = []
    for number in range(MOVES):
        changed = moved(explorer, knobs, {"step_a": knobs.step_a * (1 - number / 100)})
        begin = time.perf_counter()
        explorer.answer(changed)
        explorer.pattern(changed)
        found.append(time.perf_counter() - begin)
    return found


def watched(page, folder: Path) -> tuple[float, float]:
    """(seconds that a run spent on being watched, all of its seconds), while its page is open."""
    import web_runs

    web_runs.dataset(folder, "watched.h5", **SCAN)
    plan = {"engines": [{"engine": "lsqml", "sweeps": SWEEPS, "group": 32}]}
    (folder / "plan.yaml").write_text(yaml.safe_dump(plan))
    command = [sys.executable, "-m", "ptydesign", "reconstruct", "watched.h5", "plan.yaml", "-o", "out.h5"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = subprocess.Popen([*command, "--live", "--quiet"], cwd=folder, env=environment, stdout=subprocess.DEVNULL)
    live = folder / "out.live"
    while run.poll() is None and not list(live.glob("iteration-*.h5")):
        time.sleep(0.1)
    page.goto("/reconstruction?run=out.live")
    if run.wait():
        raise AssertionError("the reconstruction failed")
    last = json.loads((live / "progress.jsonl").read_text().splitlines()[-1])
    return float(json.loads((live / "session.json").read_text())["cost_s"]), float(last["s"])


def memory_mb(process: subprocess.Popen) -> float:
    """What a process has in memory, in MB; Linux only."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1000


def measure(folder: Path, browser) -> list[tuple[str, str, str]]:
    """(what, goal, measured) of everything."""
    import web_page
    import web_runs

    for number in range(RUNS):
        web_runs.study(folder, f"run{number:02d}", trials=TRIALS)
    shutil.copytree(ROOT / "studies" / PLAN, folder / "studies" / PLAN)
    process, address = web_page.serve(folder)
    page = web_page.Page(browser, address, process)
    try:
        cold, views = first_views(page, 1), first_views(page, VIEWS)
        what = f"view of {RUNS} runs with {RUNS * TRIALS:,} trials"
        rows = [(f"Cold {what}", "2 s", spread(cold)), (f"Later {what}", "2 s", spread(views))]
        after = settings(page, "Scan step", LEFT)
        for words, keys in HANDLES.items():
            rows.append((f"Plan explorer: {words.rstrip(' (').lower()}", "0.3 s", spread(settings(page, words, keys))))
        camera = settings(page, CAMERA, TO_AND_FRO)
        rows.append(("Plan explorer: camera, a value seen before", "0.3 s", spread(camera[1:])))
        rows.append(("the same, a new value: card and probe are there before", "", spread(camera[:1])))
        rows.append((f"Plan explorer: step, right after {VIEWS} views of the list", "", spread(after)))
        before = memory_mb(process)
        rows.append(("Plan explorer: step, what the server computes", "", spread(computed(folder))))
        cost, seconds = watched(page, folder)
        words = f"{cost / seconds:.1%} ({cost:.2g} of {seconds:.0f} s)"
        rows.append(("Being watched, of a run's time", "2 %", words))
        for _ in range(VIEWS):
            page.goto("/")
            page.goto("/study?run=results/run00")
        after = memory_mb(process)
        rows.append((f"Memory of the server, then after {2 * VIEWS} views more", "bounded",
                     f"{before:.0f} MB, {after:.0f} MB"))  # fmt: skip
        return rows
    finally:
        page.close()


def spread(seconds: list[float]) -> str:
    """Median and the slowest."""
    return f"{statistics.median(seconds):.2f} s (slowest of {len(seconds)}: {max(seconds):.2f} s)"


def markdown(rows: list[tuple[str, str, str]]) -> str:
    """The table."""
    return (
        "\n".join(["| what | goal | measured |", "|---|---|---|", *(f"| {' | '.join(row)} |" for row in rows)]) + "\n"
    )


def main() -> None:
    """Measure, and print a table."""
    argparse.ArgumentParser(prog="python -m benchmarks.page", description=__doc__,
                            formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()  # fmt: skip
    import web_page
    from playwright.sync_api import sync_playwright

    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as room, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=web_page.browser_path(), args=list(web_page.FLAGS))
        rows = measure(Path(room), browser)
    print(f"{os.cpu_count()} cores; load before: {load:.1f}, after: {os.getloadavg()[0]:.1f}\n\n{markdown(rows)}")


if __name__ == "__main__":
    main()
