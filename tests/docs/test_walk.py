"""docs/walk.md against a real run of its study."""

from __future__ import annotations

import fnmatch
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[2]
WALK = (ROOT / "docs" / "walk.md").read_text(encoding="utf-8")

pytestmark = pytest.mark.slow


def output(folder: Path, *arguments: str) -> str:
    done = subprocess.run([sys.executable, "-m", *arguments], cwd=folder, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def shown(heading: str) -> list[str]:
    """Lines of the blocks of a section that show an output: those after its first block, the command."""
    section = WALK.split(f"## {heading}")[1].split("\n## ")[0]
    return [line for block in re.findall(r"^```\n(.*?)^```", section, re.M | re.S)[1:] for line in block.splitlines()]


def test_the_walk_shows_what_its_commands_do(tmp_path):
    shutil.copy(ROOT / "Snakefile", tmp_path)
    shutil.copytree(ROOT / "profiles", tmp_path / "profiles")
    shutil.copytree(ROOT / "studies" / "lowdose", tmp_path / "studies" / "lowdose")

    said = output(tmp_path, "ptydesign", "check", "studies/lowdose", "--scale", "smoke")
    for line in shown("2. Ask what it would take"):
        assert line.partition("estimate")[0] in said  # an estimate depends on the number of cores

    run = ("snakemake", "studies/lowdose", "--config", "scale=smoke")
    said = output(tmp_path, *run)
    *_, last, report = shown("3. Run it")
    form = re.sub(r"\d+", r"\\d+", re.escape(last))  # the search's path is the processor's
    assert re.search(form, said)
    assert report in said
    assert "Nothing to be done" in output(tmp_path, *run)

    results = tmp_path / "results" / "lowdose-smoke"
    table = WALK.split("## 5. Look at the files")[1].split("\n## ")[0]
    patterns = re.findall(r"`([^`]+)`", "".join(re.findall(r"^\| (`.*?) \|", table, re.M)))
    patterns = [pattern + "*" if pattern.endswith("/") else pattern for pattern in patterns]
    files = [str(path.relative_to(results)) for path in results.rglob("*") if path.is_file()]
    assert [name for name in files if not any(fnmatch.fnmatch(name, p) for p in patterns)] == []
    assert [p for p in patterns if not fnmatch.filter(files, p)] == []

    summary = pd.read_csv(results / "tables" / "summary.csv").query("simulator == 'jax' and dose_e_per_a2 == 10000")
    told = re.search(r"SSIM of about (0\.\d+) for the optimised experiment and (0\.\d+) for the expert's", WALK)
    assert [row.ssim_mean for row in summary.itertuples()] == pytest.approx([float(v) for v in told.groups()], abs=0.04)
