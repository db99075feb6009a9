"""Stopping, going on and starting: by the same command lines that a user types, in processes that outlive this server.

What is started follows from checked pieces, never from a command line that a file in the folder holds.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ptydesign
import ptydesign.study
from ptydesign import files, functions, hdf5
from ptydesign.config import build
from ptydesign.errors import InputError
from ptydesign.planning.load import study_name
from ptydesign.reconstruct.live import SUFFIX, best_beside
from ptydesign.reconstruct.plan import Plan
from ptydesign.session import RUNNING, Session
from ptydesign.study.file import DEFAULT_SCALE, FOLDER_NAME, SCALES, folder_name
from ptydesign.web.folder import Folder
from ptydesign.web.lines import number, whole
from ptydesign.yamls import read_text

RULES = Path(ptydesign.study.__file__).parent / "study.smk"
PROFILE = RULES.parent / "profiles" / "default"
LOG = "page.txt"  # in the folder of a run's logs: what the process said that was started here
PLAN_SUFFIX = ".plan.yaml"
TAIL = 1500  # characters of what it said that are shown


@dataclass
class Started:
    """A process that was started here, and where it writes."""

    process: subprocess.Popen
    log: Path

    def failed(self) -> str:
        """What it said if it ended badly; empty if it runs or ended well."""
        code = self.process.poll()
        if not code:
            return ""
        try:
            said = self.log.read_text(encoding="utf-8", errors="replace")
        except OSError:
            said = ""
        errors = [line for line in said.splitlines() if line.startswith("error: ")]
        return errors[-1].removeprefix("error: ") if errors else said[-TAIL:].strip() or f"It ended with {code}."


def session_of(run: Path) -> Session:
    """The session of a study's results folder, or of a reconstruction's."""
    return Session(run if run.name.endswith(SUFFIX) else run / "logs")


def stop(run: Path) -> None:
    """Ask a run to end after its sweep, or its trials. Raises InputError if it doesn't run."""
    session = session_of(run)
    if session.state() != RUNNING:
        raise InputError("run", "must be running to be stopped", session.state() or "nothing", "Reload the page.")
    session.ask_to_stop()


def go_on(folder: Folder, run: Path) -> Started:
    """Go on with a run where it was. Raises InputError if it runs, or if its files are not in the folder."""
    session = session_of(run)
    if session.state() == RUNNING:
        raise InputError("run", "must not be running to go on", run.name, "Stop it first.")
    said = session.read()
    if run.name.endswith(SUFFIX):
        data, plan, output = (_inside(folder, said, name) for name in ("data_file", "plan_file", "output_file"))
        _check_replaceable(output)
        checkpoint = run / "checkpoint.h5"
        for name in ("checkpoint_file", "resume_file"):
            if said.get(name):
                checkpoint = _inside(folder, said, name)
        resume = ["--resume", str(checkpoint)] if checkpoint.is_file() else []
        seed, heldout, paths = whole(said.get("seed")) or 0, number(said.get("heldout")), said.get("further_files")
        further = [
            _inside(folder, {"data_file": one}, "data_file") for one in (paths if isinstance(paths, list) else ())
        ]
        words = [
            "reconstruct",
            *map(str, [data, *further, plan]),
            "-o",
            str(output),
            "--live",
            "--overwrite",
            "--quiet",
            *resume,
        ]
        if heldout is not None:
            words += ["--heldout", str(heldout)]
        return _start(_ptydesign(*words, "--seed", str(seed)), output.parent, run / LOG)
    return start_study(folder, *study_of(run))


def study_of(run: Path) -> tuple[Path, str]:
    """(its folder in studies/, scale) of a results folder; the folder may be gone."""
    said = session_of(run).read()
    scale = str(said.get("scale", DEFAULT_SCALE))
    study = str(said.get("study") or run.name.removesuffix(f"-{scale}"))
    return run.parent.parent / "studies" / study, scale


def start_study(folder: Folder, study: Path, scale: str, cores: int | None = None, executor: str = "") -> Started:
    """Start a study of a workspace (the folder that holds studies/), here or through an executor of Snakemake's.

    Raises InputError for a study that breaks a rule, for one that runs, and for an unknown scale or executor.
    """
    from ptydesign import kinds

    study = folder.find(folder.name(study.resolve()) if study.exists() else str(study))
    workspace = study.parent.parent
    if study.parent.name != "studies" or not re.fullmatch(FOLDER_NAME, study.name):
        rule = "must be a folder in studies/"
        raise InputError("study", rule, folder.name(study), "Put it there: studies/NAME/study.yaml.")
    _check_how(scale, executor)
    results = results_of(study, scale)
    if not results.resolve().is_relative_to(folder.path):
        rule = "must be in the folder that the page shows, links followed"
        raise InputError("results", rule, str(results.resolve()), "Type its command.")
    if session_of(results).state() == RUNNING:
        raise InputError("study", "must not be running already", study.name, "Look at it on the list of runs.")
    kinds.open_study(study, scale, workspace / "results")
    words = ["-P", "-m", "snakemake", "--snakefile", str(RULES), "--workflow-profile", str(PROFILE)]
    words += ["--cores", str(cores) if cores else "all", *(["--executor", executor] if executor else [])]
    words += [f"studies/{study.name}", "--config", f"scale={scale}"]
    return _start([sys.executable, *words], workspace, results / "logs" / LOG)


def start_plan(folder: Folder, plan: Path, scale: str, cores: int | None = None, executor: str = "") -> Started:
    """Start a plan's file, as `ptydesign plan` does in its folder: it becomes a study there. Raises InputError."""
    from ptydesign.planning.api import install

    _check_how(scale, executor)
    if not (plan.parent / "studies").resolve().is_relative_to(folder.path):
        rule = "must be beside a folder studies/ that lies in the folder that the page shows"
        raise InputError("study", rule, plan.name, "Type its command.")
    if session_of(results_of(plan, scale)).state() == RUNNING:  # its study isn't written anew
        raise InputError("study", "must not be running already", plan.name, "Look at it on the list of runs.")
    return start_study(folder, plan.parent / "studies" / install(plan, plan.parent, scale), scale, cores, executor)


def _check_how(scale: str, executor: str) -> None:
    if scale not in SCALES:
        raise InputError("scale", f"must be one of {', '.join(SCALES)}", scale, "Choose one.")
    if executor and not re.fullmatch(r"[a-z][a-z0-9-]{0,40}", executor):
        raise InputError("executor", "must be the name of an executor of Snakemake's", executor, "As slurm.")


def results_of(study: Path, scale: str) -> Path:
    """Where the results of a study's folder in studies/, or of a plan's file, will be."""
    if study.is_dir():
        return study.parent.parent / "results" / folder_name(study.name, scale)
    return study.parent / "results" / folder_name(study_name(study), scale)


def start_reconstruction(
    folder: Folder, data: str, plan: str, output: str, seed: int = 0, calibration: str = "", threads: int | None = None
) -> Started:
    """Start a reconstruction. data: name of a dataset, or of an instrument's file, which is imported with `calibration`
    (YAML) first; plan: its text; output: name of the file to write, in the folder. Raises InputError."""
    source = folder.find(data)
    check_plan(folder, plan)
    target = check_output(folder, output)
    live = target.with_suffix(SUFFIX)
    plan_file = target.with_suffix(PLAN_SUFFIX)
    commands = []
    if source.suffix != ".h5" or _kind(source) != "dataset":
        check_calibration(calibration)
        calibrated = target.with_suffix(".calibration.yaml")
        imported = target.with_suffix(".data.h5")
        files.write_text(calibrated, calibration)
        commands.append(_ptydesign("import", str(source), "-o", str(imported), "--calibration", str(calibrated)))
        source = imported
    files.write_text(plan_file, plan)
    words = ["reconstruct", str(source), str(plan_file), "-o", str(target), "--live", "--quiet", "--seed", str(seed)]
    commands.append(_ptydesign(*words, *(["--threads", str(threads)] if threads else [])))
    if len(commands) == 1:
        return _start(commands[0], folder.path, live / LOG)
    line = " && ".join(shlex.join(command) for command in commands)
    return _start(["/bin/sh", "-c", line], folder.path, live / LOG)


def check_output(folder: Folder, output: str) -> Path:
    """The file that a reconstruction of a name writes. Raises InputError for one elsewhere, or that is there."""
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,80}", output):
        rule = "must be a file's name of letters, digits, _, - and ."
        raise InputError("output", rule, output or "nothing", "As silicon_1.h5.")
    target = folder.path / (output if output.endswith(".h5") else f"{output}.h5")
    for path in (target, target.with_suffix(SUFFIX)):
        if path.exists():
            raise InputError("output", "must not exist yet", path.name, "Give another name.")
    return target


def check_plan(folder: Folder, text: str) -> Plan:
    """The plan of a text, as the command reads it from a file in the folder. Raises InputError naming the field."""
    with functions.within(folder.path):
        return build(Plan, read_text(text, "plan"), "plan")


def check_calibration(text: str) -> None:
    """Raise InputError for a text that is no calibration, naming the field."""
    from ptydesign.instruments.calibration import Calibration

    build(Calibration, read_text(text, "calibration"), "calibration")


def _kind(path: Path) -> str:
    try:
        return hdf5.kind_of(path)
    except InputError:
        return ""


def _inside(folder: Folder, said: dict[str, Any], name: str) -> Path:
    """A file that a session names, in the folder. Raises InputError for one elsewhere."""
    path = Path(str(said.get(name) or "nothing").replace("\0", "?")).resolve()
    if not path.is_relative_to(folder.path):
        mend = "Type its command again, or serve a folder that holds all of its files."
        raise InputError(name.removesuffix("_file"), "must lie in the folder that the page shows", str(path), mend)
    return path


def _check_replaceable(output: Path) -> None:
    """Only a reconstruction is replaced by going on, whatever a session names."""
    for path in (output, best_beside(output)):
        if path.exists() and _kind(path) != "reconstruction":
            raise InputError("output", "must be a reconstruction to be replaced", path.name, "Type its command.")


def _ptydesign(*words: str) -> list[str]:
    return [sys.executable, "-P", "-m", "ptydesign", *words]  # -P: no module of the folder that it runs in


def _start(command: Sequence[str], directory: Path, log: Path) -> Started:
    """Start a process of its own session, so that neither Ctrl-C nor the end of this server ends it."""
    log.parent.mkdir(parents=True, exist_ok=True)
    package = str(Path(ptydesign.__file__).parent.parent)
    paths = [package, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))}
    with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o666), "ab") as out:
        process = subprocess.Popen(
            list(command), cwd=directory, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
            start_new_session=True, env=environment,
        )  # fmt: skip
    return Started(process, log)
