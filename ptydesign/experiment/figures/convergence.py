"""Best score so far against the number of trials: the search against random search at one dose."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ptydesign.experiment.figures import style
from ptydesign.experiment.figures.labels import dose_text, objective_label
from ptydesign.experiment.figures.tables import Tables

_LOOKS = {"bo": ("Bayesian optimisation", style.BLUE, "-"), "random": ("random search", style.ORANGE, (0, (5, 1.5)))}


def skip(tables: Tables) -> str | None:
    """Needs a random search that ended with a score, at a dose that the search has too."""
    if tables.convergence is None or not (tables.convergence["search"] == "random").any():
        return "the study has no random search to compare with"
    if comparison_dose(tables) is None:
        return "random search and optimisation have no dose in common at which both found a score"
    return None


def comparison_dose(tables: Tables) -> float | None:
    """The lowest dose that has scores of both searches."""
    table = tables.convergence
    if table is None:
        return None
    table = table[table["best_objective"].notna()]
    for dose in sorted(set(table["dose_e_per_a2"])):
        if {"bo", "random"} <= set(tables.at(table, dose)["search"]):
            return float(dose)
    return None


def caption(tables: Tables) -> str:
    """What is shown, with the numbers of trials."""
    dose = comparison_dose(tables)
    rows = tables.at(tables.convergence, dose)
    counts = " and ".join(
        f"{int(rows.loc[rows['search'] == search, 'trials'].max())} trials of {_LOOKS[search][0]}" for search in _LOOKS
    )
    first = initial_trials(tables, dose)
    shade = f" Grey: the first {first} trials, the initial design, before any model is fitted." if first else ""
    return (
        f"Best objective so far against trials at {dose_text(dose)}: {counts}. Dots are single trials; ticks at the "
        f"lower edge are failed ones.{shade} One run of each, so differences of a few trials mean little."
    )


def initial_trials(tables: Tables, dose: float) -> int:
    """Size of the initial design: the plan's `search.initial`, else the trials of the first round."""
    planned = (tables.plan.get("search") or {}).get("initial")
    if isinstance(planned, int) and planned > 0:
        return planned
    trials = tables.at(tables.trials, dose)
    trials = trials[trials["search"] == "bo"]
    return int((trials["round"] == trials["round"].min()).sum()) if len(trials) else 0


def draw(tables: Tables) -> Figure:
    """One panel, 3.4 inch wide."""
    dose = comparison_dose(tables)
    figure = style.new_figure(style.ONE_COLUMN_IN, 2.6)
    axes = figure.subplots()
    rows = tables.at(tables.convergence, dose)
    longest = float(rows["trials"].max())
    shown: list[np.ndarray] = []
    for search, (name, colour, dashes) in _LOOKS.items():
        line = rows[rows["search"] == search].sort_values("trials")
        axes.step(line["trials"], line["best_objective"], where="post", color=colour, ls=dashes, label=name, zorder=3)
        number, trials = _single_trials(tables, dose, search)
        good = trials["objective"].where(trials["status"] == "ok")
        axes.plot(number, good, ".", color=colour, ms=4, alpha=0.6, zorder=2, mew=0)
        lost = number[good.isna().to_numpy()]
        axes.plot(lost, np.full(len(lost), 0.015), "|", color=colour, ms=5, transform=axes.get_xaxis_transform())
        shown += [line["best_objective"].to_numpy(), good.to_numpy()]
    first = initial_trials(tables, dose)
    if first:
        axes.axvspan(0.5, first + 0.5, color=style.PALE, lw=0, zorder=0, label="initial design")
    values = np.concatenate(shown)
    values = values[np.isfinite(values)]
    low, high = float(values.min()), float(values.max())
    pad = 0.07 * (high - low) or 0.05
    axes.set(xlim=(0.5, longest + 0.5), ylim=(low - pad, high + pad), xlabel="Trials")
    axes.set_ylabel(f"Best {objective_label(tables.plan)}")
    axes.xaxis.get_major_locator().set_params(integer=True)
    figure.legend(loc="outside upper center", ncols=2)
    return figure


def _single_trials(tables: Tables, dose: float, search: str) -> tuple[np.ndarray, pd.DataFrame]:
    """Trials in the order in which they were made, counted from 1."""
    trials = tables.at(tables.trials, dose)
    trials = trials[trials["search"] == search].sort_values(["round", "index"], kind="stable")
    return np.arange(1, len(trials) + 1), trials
