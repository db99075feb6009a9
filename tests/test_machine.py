"""What is free: the least of what the machine, the control group and the process's own limit leave."""

import math
import subprocess
import sys

import pytest

from ptydesign import machine

MEMORY = "MemTotal:       8000000 kB\nMemFree:        1000000 kB\nMemAvailable:   5000000 kB\n"


@pytest.fixture
def told(tmp_path, monkeypatch):
    """A machine of which 5,000,000 KiB are free, with no limits."""
    (tmp_path / "meminfo").write_text(MEMORY)
    monkeypatch.setattr(machine, "ABOUT", tmp_path / "meminfo")
    monkeypatch.setattr(machine, "GROUP", tmp_path)
    return tmp_path


def limit(folder, largest: str, used: int, cached: int) -> None:
    (folder / "memory.max").write_text(f"{largest}\n")
    (folder / "memory.current").write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon {used - cached}\nfile {cached}\ninactive_file {cached}\n")


def test_what_is_available_and_not_only_what_is_empty(told):
    assert machine.free_bytes() == 5_000_000 * 1024


def test_the_limit_of_a_group_counts_where_it_is_less(told):
    limit(told, "1000", 700, 100)
    assert machine.free_bytes() == 1000 - 700 + 100
    limit(told, "1000", 1200, 0)
    assert machine.free_bytes() == 0
    limit(told, "max", 700, 100)
    assert machine.free_bytes() == 5_000_000 * 1024


def test_a_machine_that_does_not_tell_has_all_that_it_has(told, monkeypatch):
    (told / "meminfo").write_text("MemTotal: 8000000 kB\n")
    assert machine.free_bytes() == machine.memory_bytes()
    (told / "meminfo").unlink()
    assert 2**28 < machine.free_bytes() == machine.memory_bytes() < math.inf


def test_a_limit_on_the_process_counts():
    code = (
        "import resource; from ptydesign import machine; limit = 2**30;"
        "resource.setrlimit(resource.RLIMIT_AS, (limit, limit)); print(machine.free_bytes() < limit)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"
