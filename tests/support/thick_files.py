"""Studies of thick samples, for tests: those of the repository with changes, and what their reports say."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from finished import Study

ROOT = Path(__file__).parents[2]
DIVERGES = 1e39  # a rate that is infinite in single precision


def write_study(workplace: Path, name: str, change: Callable[[dict[str, Any]], Any]) -> Path:
    """A study of the repository with changes, as studies/mine; returns its folder. One that is there is replaced."""
    folder = workplace / "studies" / "mine"
    shutil.copytree(ROOT / "studies" / name, folder, dirs_exist_ok=True)
    content = yaml.safe_load((folder / "study.yaml").read_text(encoding="utf-8"))
    change(content)
    (folder / "study.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    return folder


def section(page: str, title: str) -> str:
    """What stands under a heading."""
    return page.partition(f"<h2>{title}</h2>")[2].partition("</section>")[0]


def pictures(results: Path) -> dict[str, bytes]:
    """Figures of a results folder, by file name."""
    return {file.name: file.read_bytes() for file in (results / "figures").iterdir()}


def says_how_to_reproduce(study: Study) -> None:
    """Asserts that the page names the command, what determines the study, and all of its settings."""
    results = study.results
    said = section((results / "report.html").read_text(encoding="utf-8"), "How to reproduce")
    content = yaml.safe_load((results / "resolved.yaml").read_text(encoding="utf-8"))
    made = content.pop("resolved")
    assert f"<pre>snakemake studies/{study.kind}</pre>" in said
    assert f"<dt>Hash of the settings</dt><dd>{made['hash']}</dd>" in said
    assert f"seed</dt><dd>{content['seed']}</dd>" in said
    assert f"ptydesign {made['ptydesign']}" in said
    assert all(f"{name} {value}" in said for name, value in made["libraries"].items() if value)
    assert all(f"\n{name}:" in said for name in content if name != "study")
