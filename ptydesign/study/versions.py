"""All versions: of the algorithms, of the layout of a results folder, of files.

An algorithm's version is part of the parameters of every job that uses it, and of the hash under which a trial is
stored. Raise it when a change of the code changes numbers: then exactly the jobs that it touches run again.
"""

from __future__ import annotations

LAYOUT = 3  # of results/<study>/: files, columns, resolved.yaml
READ_LAYOUTS = (1, 2, 3)  # of results folders that can be gone on with, drawn and reported
HASHED_LAYOUT = 3  # from which on all files have hashes

ALGORITHMS = {
    "simulate": 4,  # samples, potentials, scan, detector, both simulators
    "field": 4,  # how far a scan goes beyond what is scored, at which sweep, and which scores are kept
    "reconstruct": 3,
    "score": 1,
    "thick": 2,  # supercells with defects, chunks, what is measured of thick samples
    "design": 3,  # first points, proposals, surrogate
    "decision": 5,  # trials after a search, its contenders, and draws that decide which wins
    "tuning": 1,  # trials, searches and tables of tuning studies
    "collect": 9,  # tables
    "figures": 18,  # figures and report
    "planning": 10,  # cards, draws of errors, choice, limits
    "bound": 10,  # the Cramer-Rao bound of a plan, and what its simulations reach
    "tolerance": 3,  # what a tolerance says
    "dumbbells": 2,  # what is measured of them
    "best": 2,  # best-<budget>.yaml: how the plan found is written
}

TRIAL = ("simulate", "reconstruct", "score")  # what a trial's numbers depend on
FIELD_TRIAL = ("field", *TRIAL)  # what those of a trial depend on that is scored in a field with a margin


def versions(*names: str) -> dict[str, int]:
    """The versions of some algorithms."""
    return {name: ALGORITHMS[name] for name in names}
