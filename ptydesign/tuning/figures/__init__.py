"""The figures of a tuning study, drawn from its tables only. A new figure is a new module, and its name here."""

from ptydesign.tuning.figures import (
    budgets,
    chosen,
    convergence,
    doses,
    effects,
    example,
    one_changed,
    pareto,
    reconstructions,
)

FIGURES = tuple(
    one.FIGURE
    for one in (
        convergence,
        reconstructions,
        one_changed,
        budgets,
        effects,
        chosen,
        doses,
        pareto,
        example,
    )  # as in the report
)
