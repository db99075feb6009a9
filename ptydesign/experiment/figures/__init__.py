"""The study's figures, drawn from its tables only. A new figure is a new module, and its name here."""

from ptydesign.experiment.figures import convergence, decision, maps, reconstructions, settings, structure

FIGURES = tuple(
    one.FIGURE for one in (reconstructions, settings, decision, structure, maps, convergence)
)  # as in the report
