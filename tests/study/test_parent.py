"""Nothing goes on without what started it, and whoever ends the start of a plan gets a sentence."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from ptydesign.errors import InputError
from ptydesign.planning.api import to_its_end
from ptydesign.study import parent
from ptydesign.study.child import SNAKEMAKE

ENOUGH_S = 60.0


def wait_for(what) -> None:
    begin = time.monotonic()
    while not what():
        assert time.monotonic() - begin < ENOUGH_S
        time.sleep(0.05)


def started(folder: Path, starts: str, job: str) -> tuple[subprocess.Popen, int]:
    """A process that starts a job, and the job's number once it watches."""
    code = "import os, time\nfrom ptydesign.study import parent\n"
    watch = f"{job}; open('new', 'w').write(str(os.getpid())); os.rename('new', 'pid'); time.sleep(600)"
    (folder / "job.py").write_text(f"{code}{watch}\n")
    process = subprocess.Popen([sys.executable, "-c", starts], cwd=folder, stderr=subprocess.DEVNULL)
    wait_for((folder / "pid").exists)
    return process, int((folder / "pid").read_text())


def ended(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_job_ends_with_the_process_that_started_it_through_a_shell(tmp_path):
    starts = (
        "import subprocess, sys; from ptydesign.study import parent; "
        "subprocess.run(f'{sys.executable} job.py | tee log', shell=True, env=parent.named())"
    )
    process, job = started(tmp_path, starts, "parent.end_with_parent(parent.end_job)")
    time.sleep(2 * parent.LOOK_S)
    assert not ended(job)
    process.kill()
    process.wait()
    wait_for(lambda: ended(job))


def test_a_group_ends_with_a_plan_that_is_killed(tmp_path):
    starts = (
        "import sys; from pathlib import Path; from ptydesign.study.child import run_to_its_end; "
        "run_to_its_end([sys.executable, 'job.py'], Path())"
    )
    child = "import subprocess; other = subprocess.Popen(['sleep', '600']); open('other', 'w').write(str(other.pid))"
    process, job = started(tmp_path, starts, f"{child}; parent.end_with_parent(parent.end_group)")
    process.kill()
    process.wait()
    wait_for(lambda: ended(job))
    wait_for(lambda: ended(int((tmp_path / "other").read_text())))


def test_a_process_that_nobody_named_goes_on(monkeypatch):
    monkeypatch.delenv(parent.PARENT, raising=False)
    parent.end_with_parent(lambda: pytest.fail("there is nobody to end with"))
    assert "parent" not in [thread.name for thread in threading.enumerate()]


def test_snakemake_that_is_ended_while_it_starts_says_nothing(tmp_path):
    (tmp_path / "Snakefile").write_text("open('begun', 'w').close()\nimport time\ntime.sleep(600)\n")
    process = subprocess.Popen([*SNAKEMAKE, "--cores", "1"], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    wait_for((tmp_path / "begun").exists)
    process.send_signal(signal.SIGINT)
    assert "Traceback" not in process.communicate(timeout=ENOUGH_S)[1]
    assert process.returncode == -signal.SIGINT


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_plan_that_is_ended_while_it_is_read_says_so(number):
    def ended() -> None:
        with to_its_end():
            os.kill(os.getpid(), number)
            time.sleep(ENOUGH_S)

    with pytest.raises(InputError, match="plan: must run to its end; got 'interrupted'"):
        ended()
