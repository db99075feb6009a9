"""The study's figures, drawn from its tables only. A new figure is a new module, and its name here."""

from ptydesign.experiment.figures import (
    convergence,
    decision,
    maps,
    pareto,
    reconstructions,
    settings,
    spectrum,
    structure,
)

FIGURES = tuple(
    one.FIGURE for one in (reconstructions, settings, decision, spectrum, pareto, structure, maps, convergence)
)  # as in the report
