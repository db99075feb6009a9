"""The layers of docs/architecture.md: imports run one way, and each library has its one place."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "ptydesign"


def test_imports_run_one_way():
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()", "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 kept, 0 broken" in done.stdout


def test_every_package_is_in_a_layer():
    layers = (ROOT / "pyproject.toml").read_text().partition("layers = [")[2].partition("]")[0]
    found = {
        p.stem if p.is_file() else p.name
        for p in PACKAGE.iterdir()
        if p.suffix == ".py" or (p / "__init__.py").exists()
    }
    missing = found - {"__init__", "__main__"} - set(re.findall(r"ptydesign\.(\w+)", layers))
    assert not missing


@pytest.mark.parametrize(
    "library, places",
    [
        ("h5py", {"hdf5.py", "readable.py", "instruments"}),
        ("abtem", {"simulate"}),
        ("skopt", {"design"}),
        ("optuna", {"design", "experiment"}),
        (
            "matplotlib",
            {
                "study",
                "experiment",
                "compare",
                "depth",
                "planning",
                "regularisation",
                "tuning",
                "pictures",
                "notebook",
                "web",
                "drawing.py",
            },
        ),
        ("rsciio", {"instruments"}),
        ("snakemake", set()),
    ],
)
def test_each_library_has_one_place(library, places):
    pattern = re.compile(rf"^\s*(import|from) {library}\b", re.MULTILINE)
    users = {p.relative_to(PACKAGE).parts[0] for p in PACKAGE.rglob("*.py") if pattern.search(p.read_text())}
    assert users <= places


def test_no_module_is_long():
    long = {str(p): n for p in PACKAGE.rglob("*.py") if (n := len(p.read_text().splitlines())) > 420}
    assert not long
