"""Compiled code that processes and runs share."""

from __future__ import annotations

import os
from pathlib import Path


def keep(folder: Path) -> None:
    """Keep what takes 0.2 s or more to compile in a folder.

    Where JAX's own JAX_COMPILATION_CACHE_DIR names another, JAX keeps it there and by its own settings.
    """
    if os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        return
    import jax

    jax.config.update("jax_compilation_cache_dir", str(folder.resolve()))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)
