"""What Snakemake says in the terminal while a study runs: failed jobs with the end of their logs, and little else.

Its own option `quiet: rules` hides failed jobs, too.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from snakemake_interface_logger_plugins.common import LogEvent

LAST_LINES = 30  # of a failed job's log; Snakemake's own words are the last twelve of a cluster's
TOO_MUCH = (LogEvent.JOB_INFO, LogEvent.GROUP_INFO, LogEvent.SHELLCMD)  # of each job
CHATTER = ("Select jobs to execute", "Execute ")  # for every few jobs


def tell_less(logger: logging.Logger, jobs: bool) -> None:
    """Leave out of the terminal what would drown the progress line; Snakemake's own log keeps it. jobs: whether each
    job is to be shown."""

    def shown(record: logging.LogRecord) -> bool:
        return not str(record.msg).startswith(CHATTER) and (jobs or _event(record) not in TOO_MUCH)

    for handler in logger.handlers:
        if isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler):
            handler.addFilter(shown)
            handler.setFormatter(Short(handler.formatter or logging.Formatter()))


class Short(logging.Formatter):
    """Says of a failed job what a person needs; the rest as Snakemake does."""

    def __init__(self, other: logging.Formatter):
        super().__init__()
        self.other = other

    def format(self, record: logging.LogRecord) -> str:
        """The text of a message."""
        if _event(record) != LogEvent.JOB_ERROR:
            return self.other.format(record)
        return failed_job(record.__dict__)


def failed_job(told: dict[str, Any]) -> str:
    """A failed job: its rule and file, why it failed, and the end of its log."""
    made = ", ".join(list(told["output"])[:1]) or "nothing"
    lines = [f"failed: {told['rule_name']}, which makes {made}"]
    lines += [f"  {line}" for line in str(told.get("rule_msg") or "").splitlines()]
    lines += [f"  {name}: {value}" for name, value in (told.get("aux") or {}).items()]
    for file in told["log"] or ():
        lines += [f"  {file} ends with:", *(f"  | {line}" for line in last_lines(Path(file)))]
    return "\n".join(lines)


def last_lines(file: Path, count: int = LAST_LINES) -> Iterable[str]:
    """The end of a log; says so if there is none."""
    try:
        return file.read_text(encoding="utf-8", errors="replace").splitlines()[-count:] or ["(nothing)"]
    except OSError:
        return ["(no such file: the job did not start)"]


def _event(record: logging.LogRecord) -> Any:
    return getattr(record, "event", None)
