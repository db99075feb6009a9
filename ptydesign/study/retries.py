"""Which failed jobs Snakemake tries again: not one that refused what it was given, since that stays as it is.

A job that ends with a line `error: ...` (an InputError: bad input, a full disk, a damaged file) would end so again. All
else, as a job that was killed for its memory, gets the attempts that the profile gives it. So do all jobs of a cluster,
whose nodes may see a file later than the others do.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from snakemake_interface_logger_plugins.common import LogEvent

from ptydesign.errors import SAID


def refused(logs: Iterable[str]) -> bool:
    """Whether one of a job's logs ends with what an InputError says."""
    return any(_last_line(Path(log)).startswith(SAID) for log in logs)


def not_of_refused(logger: logging.Logger, workflow: Any) -> None:
    """Let refused jobs of this machine have no further attempt. logger, workflow: Snakemake's."""

    def seen(record: logging.LogRecord) -> bool:
        told = record.__dict__
        if told.get("event") == LogEvent.JOB_ERROR and workflow.local_exec and refused(told["log"] or ()):
            for job in workflow.dag.jobs:
                if workflow.dag.jobid(job) == told["jobid"]:
                    # Not by its setter, which would ask for the resources of another attempt before those of this
                    # one are given back.
                    job._attempt = job.restart_times + 1
        return True

    logger.addFilter(seen)


def _last_line(log: Path) -> str:
    try:
        return next(reversed(log.read_text(encoding="utf-8", errors="replace").splitlines()), "")
    except OSError:
        return ""
