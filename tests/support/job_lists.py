"""The jobs of every study at every scale, a line each: what a job makes, its priority, what is asked of a cluster for
it, its inputs and settings.

After a change on purpose: `python tests/support/job_lists.py` writes the lists again; say in the commit what changed.
The first of these lists agreed with those of the rules that were written by hand for each kind, before steps were data.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ptydesign import kinds
from ptydesign.study.requests import Requests
from ptydesign.study.store import digest
from ptydesign.study.versions import ALGORITHMS

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "tests" / "study" / "golden"
SCALES = ("smoke", "preview", "paper")
FIELDS = ("step", "priority", "where", "memory", "runtime", "settings", "inputs", "outputs")


def lines(scale: str) -> Iterator[str]:
    """Of all studies at a scale. The folder of the repository has to be the current one."""
    for study in sorted(path.parent.name for path in Path("studies").glob("*/study.yaml")):
        run = kinds.open_study(Path("studies") / study, scale, Path("results-of-nobody"))  # nothing was measured
        requests = Requests(run)
        for job in run.kind.jobs(run.resolved):
            where = "local" if job.step.local else "GPU" if job.step.jax else "CPU"
            asked = where, requests.memory_mb(job.step, 1), requests.runtime_min(job.step, 1)
            known = digest(without_versions(job.settings)), digest(sorted(job.inputs))
            values = (job.step.name, job.step.priority, *asked, *known, " ".join(job.outputs))
            yield "\t".join(map(str, (study, *values)))


def without_versions(settings: Any) -> Any:
    """Settings without what is raised when code changes numbers."""
    if isinstance(settings, dict):
        versions = ("layout", "algorithms", "versions")
        left = {k: v for k, v in settings.items() if k not in versions and not (k in ALGORITHMS and isinstance(v, int))}
        return {key: without_versions(value) for key, value in left.items()}
    return [without_versions(value) for value in settings] if isinstance(settings, list | tuple) else settings


def path_of(scale: str) -> Path:
    """The list of a scale."""
    return FOLDER / f"jobs-{scale}.tsv.gz"


def read(scale: str) -> list[str]:
    """The list as it was written."""
    return gzip.decompress(path_of(scale).read_bytes()).decode().splitlines()


def main() -> None:
    """Write all lists."""
    for scale in SCALES:
        text = "".join(f"{line}\n" for line in lines(scale))
        path_of(scale).write_bytes(gzip.compress(text.encode(), mtime=0))


if __name__ == "__main__":
    main()
