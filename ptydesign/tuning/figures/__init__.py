"""The figures of a tuning study, drawn from its tables only. One module for each; each has TITLE, `skip(tables)` (a
sentence that says why it can't be drawn, or None), `caption(tables)` and `draw(tables)`.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

from ptydesign import drawing
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
from ptydesign.tuning.figures.tables import Tables, read_tables

# File name -> module, in the order of the report.
FIGURES: dict[str, ModuleType] = {
    "convergence": convergence,
    "reconstructions": reconstructions,
    "one_changed": one_changed,
    "budgets": budgets,
    "effects": effects,
    "chosen": chosen,
    "doses": doses,
    "pareto": pareto,
    "example": example,
}


def draw_all(results_folder: Path) -> list[Path]:
    """Draw every figure that the tables allow into results_folder/figures, as PNG and PDF; returns the paths."""
    tables = read_tables(results_folder)
    draw = {n: lambda m=module: None if m.skip(tables) else m.draw(tables) for n, module in FIGURES.items()}
    return drawing.draw_all(draw, results_folder)


__all__ = ["FIGURES", "Tables", "draw_all", "read_tables"]
