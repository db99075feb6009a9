"""What this machine has: its memory, and what of it is free."""

from __future__ import annotations

import math
import os
from pathlib import Path

GIB = 2**30
ABOUT, GROUP = Path("/proc/meminfo"), Path("/sys/fs/cgroup")  # where Linux tells


def memory_bytes() -> float:
    """Physical memory of this machine; infinite where the system doesn't tell."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (ValueError, OSError, AttributeError):
        return math.inf


def free_bytes() -> float:
    """Memory that is free for new things: the machine's, or what a limit on its group or on this process leaves."""
    return min(_available(), _left_to_group(), _left_to_process())


def _available() -> float:
    """What the machine has free; all that it has where it doesn't tell."""
    try:
        lines = dict(line.split(":") for line in ABOUT.read_text().splitlines())
        return 1024.0 * int(lines["MemAvailable"].split()[0])
    except (OSError, ValueError, KeyError):
        return memory_bytes()


def _left_to_group() -> float:
    """What the limit of a control group (a container's, a batch job's) leaves; files that are cached can be dropped."""
    try:
        limit, used = ((GROUP / f"memory.{name}").read_text().strip() for name in ("max", "current"))
        kinds = dict(line.split() for line in (GROUP / "memory.stat").read_text().splitlines())
        return math.inf if limit == "max" else max(float(limit) - float(used) + float(kinds["inactive_file"]), 0.0)
    except (OSError, ValueError, KeyError):
        return math.inf


def _left_to_process() -> float:
    """What a limit on this process's address space leaves."""
    try:
        import resource

        soft, _ = resource.getrlimit(resource.RLIMIT_AS)
        if soft == resource.RLIM_INFINITY:
            return math.inf
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        return max(float(soft - taken), 0.0)
    except (ImportError, OSError, ValueError):
        return math.inf
