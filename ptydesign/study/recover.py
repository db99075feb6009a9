"""Damaged files of earlier runs, put in order before a study runs: they are removed with a word, and made anew."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ptydesign import compiled
from ptydesign.study.damage import remove_damaged
from ptydesign.study.kind import Run
from ptydesign.study.store import cache_folder


def put_in_order(root: Path, runs: Iterable[Run]) -> None:
    """Make these studies ready to run: half-written compiled code and damaged files go. root: the results folder."""
    compiled.remove_broken(cache_folder(root) / "jax")
    for run in runs:
        remove_damaged(run)
