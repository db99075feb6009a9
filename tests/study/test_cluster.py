"""What is asked of a cluster, what is said of failed jobs, and jobs that the Slurm plugin would forget."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import yaml
from snakemake_interface_logger_plugins.common import LogEvent
from study_files import tiny, write_study

from ptydesign import kinds
from ptydesign.study import progress, slurm, terminal
from ptydesign.study.requests import LEAST_MIN, LIGHT_GIB, Requests

ROOT = Path(__file__).parents[2]


@pytest.fixture
def requests(tmp_path):
    folder = write_study(tmp_path / "studies" / "tiny", tiny())
    return Requests(kinds.open_study(folder, "preview", tmp_path / "results"))


def measure(requests: Requests, step: str, seconds: float, memory_mb: float) -> None:
    """What a job of a step took before."""
    logs = requests.run.resolved.results / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    (logs / f"{step}-a-0.tsv").write_text(f"s\tmax_rss\n{seconds}\t{memory_mb}\n")


def test_every_step_asks_for_memory_and_time_and_for_more_the_second_time(requests):
    for step in requests.run.kind.steps:
        assert requests.memory_mb(step, 1) >= 1024 * 0.8
        assert LEAST_MIN <= requests.runtime_min(step, 1) < 120
        assert requests.memory_mb(step, 2) > requests.memory_mb(step, 1)
        assert requests.runtime_min(step, 2) == 2 * requests.runtime_min(step, 1)
    assert requests.memory_mb(requests.run.kind.step("propose"), 1) == int(1024 * LIGHT_GIB * 1.5)


def test_what_was_measured_raises_what_is_asked_for_and_does_not_lower_it(requests):
    evaluate = requests.run.kind.step("evaluate")
    before = requests.memory_mb(evaluate, 1), requests.runtime_min(evaluate, 1)
    measure(requests, "evaluate", 1, 10)
    again = Requests(requests.run)
    assert (again.memory_mb(evaluate, 1), again.runtime_min(evaluate, 1)) == before
    measure(requests, "evaluate", 3600, 8192)
    again = Requests(requests.run)
    assert again.memory_mb(evaluate, 1) == int(8 * 1024 * 1.5)
    assert again.runtime_min(evaluate, 1) == LEAST_MIN + 120


def test_every_profile_shows_failed_jobs_and_asks_slurm_by_the_queue():
    """`quiet: rules` hides them."""
    found = {path.parent.name: yaml.safe_load(path.read_text()) for path in ROOT.glob("profiles/*/config.yaml")}
    assert {"default", "slurm"} <= set(found)
    assert not any("rules" in one["quiet"] for one in found.values())
    assert found["slurm"]["slurm-status-command"] == "squeue"


@pytest.fixture
def logged(tmp_path):
    """A logger as Snakemake's, told to say less, and what it says."""
    logger, stream = logging.Logger("snakemake"), (tmp_path / "terminal.txt").open("w+")
    logger.addHandler(logging.StreamHandler(stream))
    logger.addHandler(logging.FileHandler(tmp_path / "log.txt"))
    terminal.tell_less(logger, jobs=False)

    def said() -> str:
        stream.flush()
        return (tmp_path / "terminal.txt").read_text()

    yield logger, said
    stream.close()


def test_a_failed_job_is_shown_with_the_end_of_its_log(logged, tmp_path):
    logger, said = logged
    log = tmp_path / "round.log"
    log.write_text("".join(f"line {n}\n" for n in range(100)))
    told = {"rule_name": "experiment_round", "output": ["results/x/trials.json", "b"], "log": [str(log), "no.log"]}
    told |= {"rule_msg": "sbatch: error: Invalid account", "aux": {"external_jobid": "7"}, "event": LogEvent.JOB_ERROR}
    logger.error("Error in rule", extra=told)
    logger.info("job", extra={"event": LogEvent.JOB_INFO})
    logger.info("Execute 3 jobs...")
    logger.info("Trying to restart job 7.")
    for words in ("experiment_round, which makes results/x/trials.json", "Invalid account", "external_jobid: 7"):
        assert words in said()
    assert "| line 99" in said()
    assert "| line 9\n" not in said()
    assert "did not start" in said()
    assert said().splitlines()[-1] == "Trying to restart job 7."
    assert "job\n" in (tmp_path / "log.txt").read_text()  # Snakemake's own log has everything


@dataclass
class Job:
    external_jobid: str


class Plugin:
    """An executor with the plugin's fault: it yields nothing if it got no answer."""

    run_uuid = "run"

    def __init__(self, answers):
        self.answers, self.told = iter(answers), []

    def report_job_success(self, job):
        self.told.append((job.external_jobid, "success"))

    def report_job_error(self, job, msg=""):
        self.told.append((job.external_jobid, msg))

    async def check_active_jobs(self, active_jobs):
        states = next(self.answers)
        for job in active_jobs if states is not None else ():
            if states.get(job.external_jobid) == "COMPLETED":
                self.report_job_success(job)
            else:
                yield job


def follow(answers, queues, lost_s=60.0):
    """Jobs 1 and 2 over the checks: what goes on after each, and what was reported."""
    plugin, queues = type("Mended", (Plugin,), {}), iter(queues)
    slurm.mend(plugin, lambda run: next(queues), lost_s)
    made, jobs, active = plugin(answers), [Job("1"), Job("2")], []
    for _ in answers:

        async def check(jobs=jobs):
            return [job async for job in made.check_active_jobs(jobs)]

        jobs = asyncio.run(check())
        active.append([job.external_jobid for job in jobs])
    return active, made.told


def test_jobs_of_an_executor_that_got_no_answer_go_on():
    plain = Plugin([None])
    assert asyncio.run(_all(plain.check_active_jobs([Job("1")]))) == []  # the fault
    active, told = follow([None, {"1": "COMPLETED"}, {"2": "COMPLETED"}], [None, {"1", "2"}, {"2"}])
    assert active == [["1", "2"], ["2"], []]
    assert told == [("1", "success"), ("2", "success")]


async def _all(checked):
    return [job async for job in checked]


def test_a_job_that_the_queue_has_lost_is_reported_after_a_while():
    active, told = follow([{}, {}], [{"2"}, {"2"}], lost_s=0.0)
    assert active == [["1", "2"], ["2"]]
    assert told == [("1", "the queue no longer knows its job 1. ")]
    active, told = follow([{}, {}, {}], [{"2"}, None, {"2"}])  # not so soon
    assert active == [["1", "2"]] * 3
    assert told == []


def test_progress_of_jobs_elsewhere_is_followed(tmp_path, monkeypatch, capsys):
    run = kinds.open_study(write_study(tmp_path / "studies" / "tiny", tiny()), "preview", tmp_path / "results")
    monkeypatch.setattr(progress, "EVERY_S", 0.02)
    monkeypatch.setattr(progress, "STALLED_S", 0.2)
    progress.watch([run], jobs=4)
    noted = progress.progress_of(run, 4)
    monkeypatch.setattr(noted, "_show", lambda *arguments, **more: None)  # of the job, whose terminal nobody sees
    noted.done("a", 1000.0, 0.5, 2.0)
    said, end = "", time.monotonic() + 20
    while not ("1/" in said and "squeue" in said) and time.monotonic() < end:
        time.sleep(0.05)
        said += capsys.readouterr().err
    assert f"1/{noted.total} trials" in said
    assert "squeue" in said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_command_ends_with_the_process_that_started_it(number, tmp_path):
    """And what the command started, too."""
    code = (
        "import sys; from pathlib import Path; from ptydesign.study.child import run_to_its_end\n"
        "try: run_to_its_end(['bash', '-c', 'sleep 600 & echo $! > pid; wait'], Path('.'))\n"
        "except KeyboardInterrupt: sys.exit(5)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, env=environment)
    end = time.monotonic() + 60
    while not ((tmp_path / "pid").exists() and (tmp_path / "pid").read_text()) and time.monotonic() < end:
        time.sleep(0.02)
    child = int((tmp_path / "pid").read_text())
    process.send_signal(number)
    assert process.wait(60) == 5
    while runs(child) and time.monotonic() < end:
        time.sleep(0.02)
    assert not runs(child)


def runs(pid: int) -> bool:
    """Whether a process is there; one that ended may wait for somebody to ask how."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
