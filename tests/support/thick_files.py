"""Studies of thick samples, for tests: those of the repository with changes, run at smoke scale, and their reports."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from ptydesign.cli import main

ROOT = Path(__file__).parents[2]
DIVERGES = 1e39  # a rate that is infinite in single precision
RESULTS = Path("results") / "mine-smoke"


def write_study(workplace: Path, name: str, change: Callable[[dict[str, Any]], Any]) -> Path:
    """A study of the repository with changes, as studies/mine; returns its folder. One that is there is replaced."""
    folder = workplace / "studies" / "mine"
    shutil.copytree(ROOT / "studies" / name, folder, dirs_exist_ok=True)
    content = yaml.safe_load((folder / "study.yaml").read_text(encoding="utf-8"))
    change(content)
    (folder / "study.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    return folder


def command_of(*more: str) -> list[str]:
    """Snakemake's command line."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "studies/mine"]
    return [*command, "--cores", "2", "--config", "scale=smoke", *more]


def snakemake(workplace: Path, *more: str) -> subprocess.CompletedProcess:
    """Run it."""
    return subprocess.run(
        command_of(*more), cwd=workplace, capture_output=True, text=True, timeout=500, check=False
    )  # fmt: skip


def step(workplace: Path, kind: str, name: str, **which: str) -> None:
    """Do one job anew."""
    options = [word for key, value in which.items() for word in (f"--{key}", value)]
    folder, root = workplace / "studies" / "mine", workplace / "results"
    assert main(["step", kind, name, str(folder), "--scale", "smoke", "--root", str(root), *options]) == 0


def report(results: Path) -> str:
    """The page, figures and page made anew."""
    for command in ("figures", "report"):
        assert main([command, str(results)]) == 0
    return (results / "report.html").read_text(encoding="utf-8")


def section(page: str, title: str) -> str:
    """What stands under a heading."""
    return page.partition(f"<h2>{title}</h2>")[2].partition("</section>")[0]


def pictures(results: Path) -> dict[str, bytes]:
    """Figures of a results folder, by file name."""
    return {file.name: file.read_bytes() for file in (results / "figures").iterdir()}


def is_function_of_tables(workplace: Path, elsewhere: Path) -> None:
    """Asserts that figures and page, made twice and elsewhere, have equal bytes, and that no path is in the page."""
    before, page = pictures(workplace / RESULTS), (workplace / RESULTS / "report.html").read_bytes()
    shutil.copytree(workplace / RESULTS, elsewhere / RESULTS)
    shutil.rmtree(elsewhere / RESULTS / "figures")
    for _ in range(2):
        assert report(elsewhere / RESULTS).encode() == page
        assert pictures(elsewhere / RESULTS) == before
    assert str(workplace).encode() not in page


def says_how_to_reproduce(workplace: Path) -> None:
    """Asserts that the page names the command, what determines the study, and all of its settings."""
    results = workplace / RESULTS
    said = section((results / "report.html").read_text(encoding="utf-8"), "How to reproduce")
    content = yaml.safe_load((results / "resolved.yaml").read_text(encoding="utf-8"))
    made = content.pop("resolved")
    assert "<pre>snakemake studies/mine --config scale=smoke</pre>" in said
    assert f"<dt>Hash of the settings</dt><dd>{made['hash']}</dd>" in said
    assert f"seed</dt><dd>{content['seed']}</dd>" in said
    assert f"ptydesign {made['ptydesign']}" in said
    assert all(f"{name} {value}" in said for name, value in made["libraries"].items() if value)
    assert all(f"\n{name}:" in said for name in content if name != "study")
