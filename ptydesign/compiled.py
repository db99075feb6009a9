"""Compiled code, kept on the disk between processes and runs; what a full disk or a kill left half-written is removed.

JAX neither writes its entries atomically nor replaces broken ones: each later run would warn of them and compile anew.
"""

from __future__ import annotations

import os
import sys
import zlib
from contextlib import suppress
from pathlib import Path

CHECKED = ".checked"  # its time: when entries were last looked at
LEAST_COMPILE_S = 0.2
ZSTD = b"\x28\xb5\x2f\xfd"  # how entries begin that zstd packed; the others are zlib's


def keep(folder: Path) -> None:
    """Let JAX keep what takes LEAST_COMPILE_S or more to compile in a folder. Call it before anything is compiled.

    Where JAX's own JAX_COMPILATION_CACHE_DIR names another, JAX keeps it there and by its own settings.
    """
    if os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        return
    import jax

    jax.config.update("jax_compilation_cache_dir", str(Path(folder).resolve()))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", LEAST_COMPILE_S)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)


def remove_broken(folder: Path) -> None:
    """Remove entries that can't be unpacked, with one line; only those that are newer than the last look."""
    folder, broken = Path(folder), 0
    if not folder.is_dir():
        return
    stamp = folder / CHECKED
    last = stamp.stat().st_mtime if stamp.exists() else 0.0
    with suppress(OSError):
        stamp.touch()
        for entry in folder.glob("*-cache"):
            if entry.stat().st_mtime >= last and not is_whole(entry.read_bytes()):
                entry.unlink(missing_ok=True)
                broken += 1
    if broken:
        print(f"{folder}: {broken} half-written entries of compiled code removed; they are made anew", file=sys.stderr)


def is_whole(entry: bytes) -> bool:
    """Whether an entry of compiled code can be unpacked."""
    if entry.startswith(ZSTD):
        return _zstd_is_whole(entry)
    try:
        return bool(zlib.decompress(entry))
    except zlib.error:
        return False


def _zstd_is_whole(entry: bytes) -> bool:
    """As for zlib, where the library that JAX used is there."""
    try:
        import zstandard
    except ImportError:
        return True
    try:
        return bool(zstandard.ZstdDecompressor().decompress(entry))
    except zstandard.ZstdError:
        return False
