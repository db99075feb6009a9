"""Folders of runs as a page finds them: written by the code that runs use, with made-up trials and tiny data."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import toy
import yaml
from synthetic_study import EXPERT, MADE, make_settings

from ptydesign import io
from ptydesign.reconstruct.plan import Plan
from ptydesign.session import DONE, Session
from ptydesign.study.progress import Progress

SPACE = {
    "step_a": {"low": 0.5, "high": 8.0, "scale": "log"},
    "semiangle_mrad": {"low": 10.0, "high": 45.0},
    "defocus_nm": {"low": -100.0, "high": 20.0},
    "detector_pixels": {"choices": [24, 32, 48, 64, 96]},
}


def study(
    folder: Path, name: str = "lowdose", trials: int = 30, state: str = DONE, title: str = "A made-up study"
) -> Path:
    """results/<name> with a smooth made-up score; every seventh trial fails. Returns the folder."""
    results = folder / "results" / name
    settings = {**make_settings(space=SPACE, random=False, mapped=False), "title": title}
    results.mkdir(parents=True)
    (results / "resolved.yaml").write_text(yaml.safe_dump({**settings, "resolved": MADE}, sort_keys=False))
    session = Session(results / "logs")
    session.begin(
        kind="experiment", study=name, title=title, scale="preview", cores=2, total=trials, version="v", unit="e"
    )
    progress = Progress(results, trials, 2, "v")
    rng = np.random.default_rng(0)
    for number in range(trials):
        point = {
            "step_a": float(np.exp(rng.uniform(np.log(0.5), np.log(8)))),
            "semiangle_mrad": rng.uniform(10, 45),
            "defocus_nm": rng.uniform(-100, 20),
            "detector_pixels": int(rng.choice([24, 32, 48, 64, 96])),
        }
        bad = number % 7 == 6
        score = None if bad else score_of(point) + 0.01 * rng.normal()
        entry = {"point": point, "key": f"{number:032x}", "status": "diverged" if bad else "ok",
                 "reason": "epie diverged in sweep 3." if bad else ""}  # fmt: skip
        progress._note(
            {"trial": f"bo-1000/{number // 10}/{number % 10}", "dose": 1000.0, "value": score, "s": 2.0, **entry}
        )
    if state == DONE:
        (results / "report.html").write_text("<p>report</p>")
        session.end(DONE)
    return results


def score_of(point: dict) -> float:
    """Best at the expert's defocus and 30 mrad."""
    return 0.9 - ((point["semiangle_mrad"] - 30) / 40) ** 2 - ((point["defocus_nm"] - EXPERT["defocus_nm"]) / 150) ** 2


def dataset(folder: Path, name: str = "data.h5", **options) -> Path:
    """A tiny dataset's file."""
    path = folder / name
    io.write_dataset(path, toy.experiment(**{"shape": (16, 16), "steps": (6, 6), **options})[0])
    return path


def plan(sweeps: int = 6, **engine) -> Plan:
    """A plan of one engine."""
    return Plan(engines=[{"engine": "epie", "sweeps": sweeps, "group": 6, **engine}])


def lines(path: Path, *items: dict) -> None:
    """Append lines of JSON."""
    with path.open("a") as file:
        file.writelines(json.dumps(item) + "\n" for item in items)
