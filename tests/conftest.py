"""Shared by all tests."""

from __future__ import annotations

import gc
from pathlib import Path

import jax
import pytest

jax.devices()  # JAX starts with one core in each test process, whatever a command in it asks for

# A process may have some 65,000 mappings (Linux's vm.max_map_count), and each compiled function takes several: a worker
# that keeps all that thousands of tests compile dies in the next compilation.
MOST_MAPPINGS = 25_000
MAPPINGS = Path("/proc/self/maps")


@pytest.fixture(autouse=True, scope="module")
def room_for_compiled_code():
    """Compiled code of earlier files is dropped before there is too much of it."""
    yield
    if MAPPINGS.exists() and MAPPINGS.read_bytes().count(b"\n") > MOST_MAPPINGS:
        jax.clear_caches()
        gc.collect()
