"""Score against the budget, with reconstructions (Cao Fig. 4)."""

from __future__ import annotations

import numpy as np
from matplotlib import figure as mpl

from ptydesign import drawing
from ptydesign.study.figures import Figure
from ptydesign.tuning.config import FOUND
from ptydesign.tuning.figures import style
from ptydesign.tuning.tables import METRICS, TuningTables

HERE = f"{FOUND}_here"


def _skip(tables: TuningTables) -> str | None:
    if len(tables.budgets) < 2:
        return "the study has one budget only"
    return None if tables["budgets"]["objective"].notna().any() else "no plan gave a score"


def _caption(tables: TuningTables) -> str:
    words = {"GFLOP": "Fourier transforms of one reconstruction", "s": "seconds of one reconstruction"}[tables.unit]
    return (
        f"{METRICS[tables.metric]} against the budget ({words}): the best plan of a search made at each budget, "
        "the plan "
        f"found at {tables.budget:g} {tables.unit} and the references; and the phases of the best plan at each "
        "budget. After "
        "Cao et al. 2022, Fig. 4."
    )


def _best_here(tables: TuningTables, budget: float) -> dict | None:
    own = tables.picture(group="budget", budget=budget, plan=HERE)
    return own if own is not None else tables.picture(group="budget", budget=budget, plan=FOUND)


def _draw(tables: TuningTables) -> mpl.Figure:
    shown = [(b, g) for b in tables.budgets if (g := _best_here(tables, b)) is not None]
    figure = drawing.new_figure(drawing.TWO_COLUMNS_IN, 2.5 + 7.0 / max(3, len(shown)))
    top, low = figure.subfigures(2, 1, height_ratios=[2.5, 7.0 / max(3, len(shown))])
    panels = top.subplots(1, 2 if tables.truth else 1, squeeze=False)[0]
    table = tables["budgets"]
    for axes, column in zip(panels, ("objective", "ssim"), strict=False):
        sign = tables.sign if column == "objective" else 1
        here = [
            table[np.isclose(table["budget"], b) & table["plan"].isin([HERE, FOUND])]
            .sort_values("plan")
            .iloc[-1:][column]
            for b in tables.budgets
        ]
        axes.plot(
            tables.budgets, [sign * float(v.iloc[0]) if len(v) else np.nan for v in here],
            "*-", color="black", ms=6, label="found at this budget",
        )  # fmt: skip
        for plan in tables.plans:
            rows = table[table["plan"] == plan].sort_values("budget")
            name = f"found at {tables.budget:g} {tables.unit}" if plan == FOUND else plan
            axes.plot(rows["budget"], sign * rows[column], label=name, **style.plan_look(tables.plans, plan))
        axes.set_xscale("log")
        axes.set_xticks(tables.budgets, [f"{b:g}" for b in tables.budgets])
        axes.minorticks_off()
        axes.set(xlabel=f"Budget of one reconstruction ({tables.unit})")
        axes.set_ylabel(METRICS[tables.metric if column == "objective" else "ssim"])
    panels[0].legend(loc="best")
    if shown:
        limits = style.phase_limits([shown[-1][1]])
        for axes, (budget, group) in zip(low.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
            style.phase(axes, group, limits)
            axes.set_title(f"{budget:g} {tables.unit}: {group['attrs']['frc_area']:.3f}")
    return figure


FIGURE = Figure("budgets", "Score against the budget", _draw, _caption, _skip)
