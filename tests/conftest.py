"""Shared by all tests: which worker runs what, where compiled code is kept, and how much of it a process holds.

- A file of tests runs on one worker (`--dist loadfile`). Two workers that share a file would both make its fixtures,
  and both trace and compile the same functions: most of the time goes there.
- All processes of a session, the commands that tests start included, look compiled code up in one folder. It is empty
  when the session starts and goes when it ends; nothing is read from the user's own.
- Studies that many tests look at run once in a session (`finished`).
"""

from __future__ import annotations

import gc
import os
import shutil
import tempfile
from pathlib import Path

import pytest

# JAX's own variables, which it reads when it is imported: workers, and what tests start, have them from here.
COMPILED = "JAX_COMPILATION_CACHE_DIR"
WORKER = "PYTEST_XDIST_WORKER" in os.environ
if not WORKER:
    os.environ[COMPILED] = tempfile.mkdtemp(prefix="ptydesign-tests-")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"

import jax  # noqa: E402
from finished import Finished  # noqa: E402

assert jax.config.jax_compilation_cache_dir == os.environ[COMPILED], "JAX was imported too early"
jax.devices()  # JAX starts with one core in each test process, whatever a command in it asks for

HERE = Path(__file__).parent
# Of half a minute and more, the longest first, so that no worker is alone with one at the end. Others follow.
LONGEST = (
    "study/test_steps.py",
    "study/test_snakemake.py",
    "reconstruct/test_refine.py",
    "reconstruct/test_conformance.py",
    "planning/test_plan_end_to_end.py",
    "tuning/test_tuning_steps.py",
    "reconstruct/test_engines.py",
    "depth/test_depth_study.py",
    "regularisation/test_regularisation_study.py",
    "reconstruct/test_opr.py",
    "reconstruct/test_types.py",
    "experiment/test_figures.py",
    "reconstruct/test_feed.py",
    "reconstruct/test_position_search.py",
)

# A process may have some 65,000 mappings (Linux's vm.max_map_count), and each compiled function takes several: a worker
# that keeps all that thousands of tests compile dies in the next compilation.
MOST_MAPPINGS = 25_000
MAPPINGS = Path("/proc/self/maps")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first."""
    order = {HERE / name: n for n, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path, len(order)))


def pytest_unconfigure() -> None:
    """The session's folder goes."""
    if not WORKER:
        shutil.rmtree(os.environ[COMPILED], ignore_errors=True)


@pytest.fixture(scope="session")
def studies(tmp_path_factory) -> Finished:
    """A tiny study of each kind, which all workers share. Tests that change one copy it."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if WORKER else own) / "finished"
    folder.mkdir(exist_ok=True)
    return Finished(folder)


@pytest.fixture(autouse=True, scope="module")
def room_for_compiled_code():
    """Compiled code of earlier files is dropped before there is too much of it."""
    yield
    if MAPPINGS.exists() and MAPPINGS.read_bytes().count(b"\n") > MOST_MAPPINGS:
        jax.clear_caches()
        gc.collect()
