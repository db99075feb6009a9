"""A finished study's trials as Optuna's storage has them, so that its dashboard opens them."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd

from ptydesign.design.space import Space, build_space
from ptydesign.errors import InputError
from ptydesign.experiment import scope
from ptydesign.experiment.objectives import COLUMNS
from ptydesign.experiment.tables import ExperimentTables, read_tables
from ptydesign.study.file import dose_name


def write_storage(results: Path, file: Path) -> list[str]:
    """Write a SQLite file with a study of Optuna's for each search and dose; returns their names.

    The file appears whole or not at all. Raises InputError if it exists, or Optuna isn't installed.
    """
    try:
        import optuna
    except ImportError:
        raise InputError("optuna", "must be installed", "none", "pip install 'ptydesign[optuna]'") from None
    from ptydesign.design.by_optuna import directions, quiet, trial_to_show

    if file.exists():
        raise InputError("output", "must not exist yet", str(file), "Give another name.")
    if "?" in str(file.absolute()):  # an address of a storage ends there
        raise InputError("output", "must have no ? in its path", str(file), "Give another name.")
    if not file.absolute().parent.is_dir():
        raise InputError("output", "must be in a folder that exists", str(file), "Make the folder.")
    tables, made = read_tables(results), []
    space = build_space(tables.study["space"])
    costs = [COLUMNS[name] for name in tables.study["objective"].get("against", ())]
    unfinished = file.with_name(f".{file.name}.part")
    unfinished.unlink(missing_ok=True)
    try:
        with quiet():
            storage = optuna.storages.RDBStorage(f"sqlite:///{unfinished.absolute()}")
            for (search, dose), rows in _searches(tables, costs):
                made.append(f"{tables.study['study']}-{search}-{dose_name(dose)}")
                study = optuna.create_study(storage=storage, study_name=made[-1], directions=directions(len(costs)))
                study.set_metric_names([tables.objective, *costs])
                trials = (_row(space, row, costs) for row in rows.to_dict("records"))
                study.add_trials([trial_to_show(space, *one) for one in trials])
            storage.remove_session()
            storage.engine.dispose()
        unfinished.replace(file)
    finally:
        unfinished.unlink(missing_ok=True)
    return made


def _searches(tables: ExperimentTables, costs: list[str]) -> list[tuple[tuple, pd.DataFrame]]:
    """Trials by search and dose, in the order in which they were made, with their costs."""
    trials = tables["trials"]
    if costs:
        places = ["dose_e_per_a2", "search", "round", "index"]
        more = [column for column in costs if column not in trials.columns]
        trials = trials.merge(tables["pareto"][[*places, *more]], "left", on=places)
    trials = trials[trials["search"] != scope.MAP].sort_values(["round", "index"], kind="stable")
    return list(trials.groupby(["search", "dose_e_per_a2"], sort=True))


def _row(space: Space, row: dict, costs: list[str]) -> tuple[dict, list[float] | None, dict]:
    """(point, values or None, everything else that is known) of a trial."""
    point = space.validate_point({name: None if pd.isna(row[name]) else row[name] for name in space.names})
    values = None if row["status"] != "ok" else [row["objective"], *(row[column] for column in costs)]
    others = {k: v for k, v in row.items() if k not in space.names and k != "objective"}
    known = {k: v for k, v in others.items() if v != "" and not (isinstance(v, float) and math.isnan(v))}
    return point, values, known
