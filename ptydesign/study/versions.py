"""Explicit versions of the algorithms and of the layout of a results folder.

A version is part of the parameters of every Snakemake job that uses the algorithm, and of the hash under which a
trial is stored. Raise it when a change of the code changes numbers: then exactly the jobs that it touches run again.
"""

from __future__ import annotations

LAYOUT = 1  # of results/<study>/: files, columns, plan.yaml

ALGORITHMS = {
    "simulate": 3,  # samples, potentials, scan, detector, both simulators
    "reconstruct": 3,
    "score": 1,
    "thick": 2,  # supercells with defects, chunks, what is measured of thick samples
    "design": 1,  # first points, proposals, surrogate
    "tuning": 1,  # trials, searches and tables of tuning studies
    "collect": 2,  # tables
    "figures": 6,  # figures and report
}

TRIAL = ("simulate", "reconstruct", "score")  # what a trial's numbers depend on


def versions(*names: str) -> dict[str, int]:
    """The versions of some algorithms."""
    return {name: ALGORITHMS[name] for name in names}
