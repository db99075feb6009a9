"""What the Snakefile asks of a tuning study; see `ptydesign.kinds`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ptydesign.study.checked import check_job_memory, write_plan_file
from ptydesign.study.versions import ALGORITHMS, LAYOUT, TRIAL, versions
from ptydesign.tuning import layout
from ptydesign.tuning import resolve as resolving
from ptydesign.tuning.config import TuningConfig
from ptydesign.tuning.resolve import Resolved

MODEL = TuningConfig
BEST = 2  # version of best-<budget>.yaml: how the plan found is written


def load(folder: Path, scale: str, root: Path) -> Resolved:
    """The checked study of a folder."""
    return resolving.resolve(folder, scale, root)


def check_memory(resolved: Resolved, cores: int, machine_gib: float) -> str | None:
    """A warning if jobs side by side need more memory than there is. Raises InputError if one does."""
    mend = "Scan fewer positions, or run it with an executor plugin."
    return check_job_memory(resolved.study.study, resolving.memory_gib(resolved), cores, machine_gib, mend)


def write_plan(resolved: Resolved, cores: int) -> dict[str, Any]:
    """Write plan.yaml and return the estimate in it."""
    numbers = resolving.estimate(resolved, cores)
    write_plan_file(resolved, "tuning", {"potential_key": resolved.key, "estimate": numbers})
    return numbers


def summary(resolved: Resolved, cores: int, numbers: Mapping[str, Any] | None = None) -> str:
    """What the study would take, in words."""
    return resolving.summary(resolved, dict(numbers or resolving.estimate(resolved, cores)))


def table_files(resolved: Resolved) -> list[str]:
    """What figures and report are drawn from, relative to the results folder."""
    return layout.table_files(resolved.study)


def draw(results: Path) -> list[Path]:
    """Draw the figures of a results folder."""
    from ptydesign.tuning.figures import draw_all

    return draw_all(results)


def report(results: Path) -> Path:
    """Write the report of a results folder."""
    from ptydesign.tuning.report import write_report

    return write_report(results)


def settings(resolved: Resolved, step: str, **which: Any) -> dict[str, Any]:
    """Settings, by value, that a step's output depends on; what it reads from files of other steps is not repeated."""
    study = resolved.content
    seed = {"seed": study["seed"]}
    scanned = {"data": {**study["data"], **_stamps(resolved)}, "heldout": study["agreement"]["heldout"], **seed}
    if resolved.study.truth_known:
        scanned["data"] = {k: v for k, v in scanned["data"].items() if k != "sample"} | {"potential_key": resolved.key}
    names = ("plan", "agreement", "score", "prune", "objective")
    trial = {**{n: study[n] for n in names}, **seed, **versions(*TRIAL, "tuning")}
    searched = {**trial, "space": study["space"], "search": study["search"], **versions("design")}
    best = {"objective": study["objective"], "budget": study["budget"], "clock": study["clock"]}
    match step:
        case "resolve":
            return {**study, "potential_key": resolved.key, "layout": LAYOUT, "algorithms": dict(ALGORITHMS)}
        case "scan":
            return {**scanned, "repeat": which["repeat"], **versions("simulate", "tuning")}
        case "tune":
            kept = {n: v for n, v in study["search"].items() if n not in ("repeats", "smaller", "random")}
            return {**searched, "search": kept, "which": which}
        case "pick":
            return {**best, "search": study["search"], "plan": study["plan"], "prune": study["prune"], "best": BEST}
        case "assess":
            group = layout.groups(resolved.study)[which["group"]]
            more = {"example": study["example"]} if group.kind == "example" else {}
            more |= {"space": study["space"]} if group.kind == "effects" else {}
            return {**trial, "references": study["references"], **more, "group": which["group"]}
        case "tabulate":
            return {**study, **versions("tuning")}
        case "figures" | "report":
            return versions("figures", "tuning")
    raise ValueError(step)


def _stamps(resolved: Resolved) -> dict[str, Any]:
    """Size and time of measured files: another file under the same name is other data."""
    data = resolved.study.data
    if resolved.study.truth_known:
        return {}
    files = [getattr(data, name) for name in ("file", "first", "second") if getattr(data, name, None) is not None]
    return {"stamps": [[f.stat().st_size, f.stat().st_mtime_ns] for f in files]}


def job_memory_mb(resolved: Resolved, attempt: int) -> int:
    """Memory to ask for; grows with the attempt."""
    return int(1024 * resolving.memory_gib(resolved) * (1 + 0.5 * attempt))
