"""Snakemake's executor plugin for Slurm, made to survive a controller that doesn't answer.

The plugin (2.8) forgets its active jobs if all queries of a check fail, as while the controller restarts. Snakemake
waits for ever then, and also for a job that the queue no longer knows. What every executor of Snakemake has mends both:
`check_active_jobs` yields the jobs that go on, and the others are reported.
"""

from __future__ import annotations

import functools
import importlib.util
import subprocess
import time
from collections.abc import Callable
from typing import Any

LOST_S = 600.0  # for so long the queue says that it doesn't know a job, until that is believed
ASK_S = 60.0  # for an answer


def remember_jobs() -> None:
    """Mend the plugin, if it is installed."""
    if importlib.util.find_spec("snakemake_executor_plugin_slurm") is not None:
        from snakemake_executor_plugin_slurm import Executor

        mend(Executor, queued)


def queued(run: str) -> set[str] | None:
    """Jobs of a run that the queue knows, ended ones too for a while; None if it doesn't answer."""
    command = ["squeue", "--noheader", "--states=all", "--format=%i", f"--name={run}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=ASK_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return set(done.stdout.split()) if done.returncode == 0 else None


def mend(executor: type, ask: Callable[[str], set[str] | None], lost_s: float = LOST_S) -> None:
    """Let an executor keep jobs that it neither reported nor yielded, and report those that the queue has lost.

    ask: `queued`. lost_s: after how long that is believed.
    """
    check, told, missing = executor.check_active_jobs, set(), {}

    def noting(report: Callable) -> Callable:
        @functools.wraps(report)
        def reported(self, job, *arguments: Any, **more: Any) -> Any:
            told.add(job.external_jobid)
            return report(self, job, *arguments, **more)

        return reported

    async def check_active_jobs(self, active_jobs):
        told.clear()
        async for _ in check(self, active_jobs):
            pass  # what isn't reported goes on
        known = ask(self.run_uuid) if active_jobs else None
        for job in active_jobs:
            name = job.external_jobid
            if name in told:
                continue
            if known is None or name in known:
                missing.pop(name, None)
            elif time.monotonic() - missing.setdefault(name, time.monotonic()) >= lost_s:
                self.report_job_error(job, msg=f"the queue no longer knows its job {name}. ")
                continue
            yield job

    executor.report_job_success = noting(executor.report_job_success)
    executor.report_job_error = noting(executor.report_job_error)
    executor.check_active_jobs = check_active_jobs
