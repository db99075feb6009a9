"""Best score so far against the number of trials: the search against random search at one dose."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib import figure as mpl

from ptydesign import drawing
from ptydesign.experiment.tables import ExperimentTables, in_order
from ptydesign.study.figures import Figure
from ptydesign.study.quantities import dose_text

_LOOKS = {
    "bo": ("Bayesian optimisation", drawing.BLUE, "-"),
    "random": ("random search", drawing.ORANGE, (0, (5, 1.5))),
}


def _skip(tables: ExperimentTables) -> str | None:
    """Needs a random search that ended with a score, at a dose that the search has too."""
    if not (tables["convergence"]["search"] == "random").any():
        return "the study has no random search to compare with"
    if tables.comparison_dose is None:
        return "random search and optimisation have no dose in common at which both found a score"
    return None


def _caption(tables: ExperimentTables) -> str:
    """What is shown, with the numbers of trials."""
    dose = tables.comparison_dose
    rows = tables.at("convergence", dose)
    counts = " and ".join(
        f"{int(rows.loc[rows['search'] == search, 'trials'].max())} trials of {_LOOKS[search][0]}" for search in _LOOKS
    )
    return (
        f"Best objective so far against trials at {dose_text(dose)}: {counts}. Dots are single trials; ticks at the "
        f"lower edge are failed ones. Grey: the first {tables.study['search']['initial']} trials, the initial design, "
        f"before any model is fitted.{_after(tables)} One run of each, so differences of a few trials mean little."
    )


def _draw(tables: ExperimentTables) -> mpl.Figure:
    """One panel, 3.4 inch wide."""
    dose = tables.comparison_dose
    figure = drawing.new_figure(drawing.ONE_COLUMN_IN, 2.6)
    axes = figure.subplots()
    rows = tables.at("convergence", dose)
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
    first = tables.study["search"]["initial"]
    axes.axvspan(0.5, first + 0.5, color=drawing.PALE, lw=0, zorder=0, label="initial design")
    if _after(tables):
        axes.axvline(_in_rounds(tables) + 0.5, color=drawing.GREY, lw=0.8, ls=":", zorder=1, label="then one by one")
    values = np.concatenate(shown)
    values = values[np.isfinite(values)]
    low, high = float(values.min()), float(values.max())
    pad = 0.07 * (high - low) or 0.05
    axes.set(xlim=(0.5, longest + 0.5), ylim=(low - pad, high + pad), xlabel="Trials")
    axes.set_ylabel(f"Best {tables.objective}")
    axes.xaxis.get_major_locator().set_params(integer=True)
    figure.legend(loc="outside upper center", ncols=2)
    return figure


def _single_trials(tables: ExperimentTables, dose: float, search: str) -> tuple[np.ndarray, pd.DataFrame]:
    """Trials in the order in which they were made, counted from 1."""
    trials = in_order(tables.at("trials", dose), search)
    return np.arange(1, len(trials) + 1), trials


def _in_rounds(tables: ExperimentTables) -> int:
    """Trials of the search proper."""
    trials = tables.at("trials", tables.comparison_dose)
    return int((trials["search"] == "bo").sum())


def _after(tables: ExperimentTables) -> str:
    """What the caption says of the trials after the search proper; nothing if there are none."""
    trials = tables.at("trials", tables.comparison_dose)
    if not (trials["search"] == "refined").any():
        return ""
    return (
        " Beyond the dotted line each trial waits for the one before it: what other doses found, then a model's wish."
    )


FIGURE = Figure("convergence", "Convergence of the search", _draw, _caption, _skip, narrow=True)
