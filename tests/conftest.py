"""Shared by all tests: where compiled code is kept, how many cores a process takes, which files start first.

- A file runs on one worker (`--dist loadfile`): two workers that share a file would both make its fixtures, and both
  trace and compile its functions.
- All processes of a session, the commands that tests start included, look compiled code up in one folder. It is empty
  when the session starts and goes when it ends; nothing is read from or written to the user's own cache.
- Linear algebra takes one core in each process, as in the jobs of a study: there are as many workers as cores.
- Most of the time goes into compiling. What tests compile in their own process goes through XLA's older emitters of
  loops, which take two thirds of the time. Commands and scripts that tests start compile as for users.
  `XLA_FLAGS=--xla_cpu_use_fusion_emitters=true pytest` does so everywhere.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest

HERE = Path(__file__).parent
# Of half a minute and more, the longest first; others follow in any order.
LONGEST = (
    "study/test_snakemake.py",
    "reconstruct/test_refine.py",
    "reconstruct/test_conformance.py",
    "planning/test_plan_end_to_end.py",
    "reconstruct/test_engines.py",
    "tuning/test_tuning_steps.py",
    "reconstruct/test_opr.py",
    "depth/test_depth.py",
    "reconstruct/test_feed.py",
    "experiment/test_figures.py",
    "reconstruct/test_position_search.py",
    "regularisation/test_regularisation.py",
)
QUICK_TO_COMPILE = "--xla_cpu_use_fusion_emitters=false"
WORKER = "PYTEST_XDIST_WORKER" in os.environ

if not WORKER:  # workers and what they start have it from here
    SESSION = Path(tempfile.mkdtemp(prefix="ptydesign-tests-"))
    os.environ["XDG_CACHE_HOME"] = str(SESSION)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(SESSION / "ptydesign" / "jax")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    for library in ("OMP", "OPENBLAS", "MKL"):
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")


def pytest_configure(config: pytest.Config) -> None:
    """In each process that tests. JAX starts with one core, whatever a command asks for later."""
    if WORKER or not config.getoption("numprocesses", None):
        import jax
        import threadpoolctl

        given = os.environ.get("XLA_FLAGS")
        os.environ["XLA_FLAGS"] = f"{QUICK_TO_COMPILE} {given or ''}".strip()  # the last one of two equal names wins
        jax.devices()
        os.environ.pop("XLA_FLAGS") if given is None else os.environ.update(XLA_FLAGS=given)
        threadpoolctl.threadpool_limits(1)  # NumPy, if a plugin has imported it before the variables above were set


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, so that no worker is left alone with one at the end."""
    order = {HERE / name: n for n, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path, len(order)))


def pytest_unconfigure() -> None:
    if not WORKER:
        shutil.rmtree(SESSION, ignore_errors=True)
