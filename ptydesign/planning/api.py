"""Plans from Python and notebooks: `design = ptydesign.plan("my.yaml")`.

The work is done by Snakemake with the rules of the package, in a workspace with folders studies/ and results/, as on
the command line.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

import ptydesign.study
from ptydesign import io
from ptydesign.config import read_yaml
from ptydesign.errors import InputError
from ptydesign.planning.library import with_instrument
from ptydesign.planning.load import KIND, study_name
from ptydesign.shown import Explored
from ptydesign.study.child import SNAKEMAKE, run_to_its_end, stoppable
from ptydesign.study.file import DEFAULT_SCALE, folder_name, named_today

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from ptydesign.planning.tables import PlanningTables

RULES = Path(ptydesign.study.__file__).parent / "study.smk"
PROFILE = RULES.parent / "profiles" / "default"
MADE_FROM = "# made from "  # begins a study.yaml; the plan's file follows, as JSON, from the workspace


@dataclass(frozen=True)
class Design(Explored):
    """A finished plan. folder: its results, with sheet.pdf, sheet.html, report.html and settings.json."""

    folder: Path

    @cached_property
    def results(self) -> PlanningTables:
        """All tables, images and the recommendation."""
        from ptydesign.planning.tables import read_tables

        return read_tables(self.folder)

    @property
    def settings(self) -> dict[str, Any]:
        """The recommended setting in the microscope's units and sign, with current, dwell time and scan."""
        item = self.results.recommended
        names = ("current_pa", "dwell_us", "scan_shape", "scan_time_s", "dose_e_per_a2", "pixel_mrad")
        return {**item["setting"], **{name: item[name] for name in names}}

    @property
    def tolerance(self) -> dict[str, dict[str, Any]]:
        """Of each parameter: `low` and `high`, within which simulations keep 95 % of the score, the others held; and
        `low_ended_by`, `high_ended_by`: "range", the instrument's; "score", a loss of it; "open", the last value that
        was tried kept it; or the name of the rule that turns red there."""
        found = {}
        for name, one in self.results.recommendation["tolerance"].items():
            (low, high), (below, above) = one["range"], one["ended_by"]
            found[name] = {"low": low, "high": high, "low_ended_by": below, "high_ended_by": above}
        return found

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        """Tables by name: trials, robustness, candidates, tolerance, pareto, limits, screen, summary."""
        return self.results.frames

    @property
    def card(self) -> pd.DataFrame:
        """The feasibility card of the rule of thumb at each dose."""
        import pandas as pd

        return pd.read_csv(self.folder / "card.csv")

    def figure(self, name: str) -> Figure:
        """A figure by name: prediction, probe, patterns, fronts, robustness, tolerance, limits, screen."""
        from ptydesign.planning.figures import FIGURES
        from ptydesign.study.figures import draw

        return draw(FIGURES, self.results, name)

    @property
    def figures(self) -> dict[str, Figure]:
        """All figures by name."""
        from ptydesign.planning.figures import FIGURES

        return {one.name: self.figure(one.name) for one in FIGURES if not one.skip(self.results)}


def plan(
    source: Path | str | dict[str, Any],
    workspace: Path | str = ".",
    scale: str = DEFAULT_SCALE,
    cores: int | None = None,
    options: Sequence[str] = (),
) -> Design:
    """Plan an experiment; returns when the sheet is written. What was computed before is kept.

    source: a plan file, a study's folder, or the plan as a dict (its `title` names it). workspace: folder that has, or
    gets, studies/ and results/. scale: smoke, preview or paper. options: passed to snakemake, as ("--executor",
    "slurm"). Raises InputError for a plan that breaks a rule, and if the work stops.
    """
    workspace = Path(workspace)
    name = install(source, workspace, scale)
    run_rules(name, workspace, scale, cores, options)
    return Design(workspace / "results" / folder_name(name, scale))


def install(source: Path | str | dict[str, Any], workspace: Path, scale: str = DEFAULT_SCALE) -> str:
    """Check a plan and put it into studies/<name>/study.yaml of a workspace, unless it is there; returns the name.

    A sample's file is named by its absolute path; an instrument that is included by name is written out. Raises
    InputError.
    """
    from ptydesign.planning.start import make_to_start, read_to_start

    if not isinstance(source, dict) and Path(source).is_dir():
        folder = Path(source)
        read_to_start(folder, scale)
        if folder.resolve().parent != (workspace / "studies").resolve():
            rule = f"must be a folder in {workspace / 'studies'}"
            raise InputError("plan", rule, str(folder), "Give its study.yaml, or another workspace.")
        return folder.resolve().name
    if isinstance(source, dict):
        content, base = dict(source), Path.cwd()
        name = study_name(Path(str(content.get("title", "plan")).lower() + ".yaml"))
    else:
        content, base = read_yaml(Path(source)), Path(source).parent
        name = study_name(Path(source)) if Path(source).name != "study.yaml" else base.resolve().name
    content = with_instrument(content, base)
    file = (content.get("sample") or {}).get("file")
    if isinstance(file, str):
        content["sample"] = {**content["sample"], "file": str((base / file).resolve())}
    path = workspace / "studies" / name / "study.yaml"
    if not isinstance(source, dict) and path.exists() and path.resolve() == Path(source).resolve():
        read_to_start(path.parent, scale)
        return name
    if isinstance(source, dict):
        make_to_start(content, name, scale)
    else:
        read_to_start(Path(source), scale)
    _check_is_plan(path, name)
    _check_same_file(path, source, workspace)
    head = "" if isinstance(source, dict) else f"{MADE_FROM}{json.dumps(os.path.relpath(source, workspace))}\n"
    io.write_text(path, head + yaml.safe_dump({"kind": KIND, **content}, sort_keys=False, allow_unicode=True))
    return name


def _check_same_file(path: Path, source: Path | str | dict[str, Any], workspace: Path) -> None:
    """A study that another plan's file made isn't replaced, as long as that file is there: `a b.yaml` by `a_b.yaml`."""
    first = path.read_text(encoding="utf-8").partition("\n")[0] if path.exists() else ""
    if not first.startswith(MADE_FROM):
        return
    other = workspace / json.loads(first.removeprefix(MADE_FROM))
    if other.is_file() and (isinstance(source, dict) or not other.samefile(source)):
        rule, mend = f"must not become the study of another file, {path.parent}", f"{other} made it: rename this plan."
        value = "a plan with that title" if isinstance(source, dict) else str(source)
        raise InputError("plan", rule, value, mend)


def _check_is_plan(path: Path, name: str) -> None:
    """A study of another kind isn't replaced."""
    kind = read_yaml(path).get("kind") if path.exists() else KIND
    if named_today(kind) != KIND:
        rule = f"must not have the name of another study, {path.parent}"
        raise InputError("plan", rule, name, "Rename the plan's file.")


@contextmanager
def to_its_end() -> Iterator[None]:
    """Raises InputError where the user ends the block: Ctrl-C, `kill PID`, a terminal that is closed."""
    try:
        with stoppable():
            yield
    except KeyboardInterrupt:
        mend = "Run the same command again: it goes on where it was."
        raise InputError("plan", "must run to its end", "interrupted", mend) from None


def run_rules(name: str, workspace: Path, scale: str, cores: int | None, options: Sequence[str]) -> None:
    """Run the rules of a plan. Raises InputError if they stop."""
    count = str(cores) if cores else "all"
    command = [*SNAKEMAKE, "--snakefile", str(RULES), "--cores", count, "--workflow-profile", str(PROFILE), *options]
    command += [f"studies/{name}", "--config", f"scale={scale}"]
    with to_its_end():
        code = run_to_its_end(command, workspace)
    if code:
        mend = "See what it said above; run the same command again to go on."
        raise InputError("plan", "must run to its end", f"snakemake stopped with {code}", mend)
