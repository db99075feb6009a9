"""The study's figures, drawn from tables only. One module for each figure; each has

- `skip(tables) -> str | None`: a sentence that says why the figure can't be drawn from these tables,
- `caption(tables) -> str`: what is shown, in the units and numbers of these tables,
- `draw(tables) -> Figure`.

A new figure is a new module and one line in FIGURES.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

from ptydesign import drawing
from ptydesign.experiment.figures import convergence, maps, reconstructions, settings, structure
from ptydesign.experiment.figures.tables import Tables, read_tables

# File name -> module, in the order of the report.
FIGURES: dict[str, ModuleType] = {
    "reconstructions": reconstructions,
    "settings": settings,
    "structure": structure,
    "maps": maps,
    "convergence": convergence,
}


def draw_all(results_folder: Path) -> list[Path]:
    """Draw every figure that the tables allow into results_folder/figures, as PNG (200 dpi) and PDF.

    Returns the paths written. Figures that can't be drawn are left out, and a file of an earlier run is removed; the
    report says why. Raises InputError naming the table that is missing or wrong.
    """
    tables = read_tables(results_folder)
    draw = {n: lambda m=module: None if m.skip(tables) else m.draw(tables) for n, module in FIGURES.items()}
    return drawing.draw_all(draw, results_folder)


__all__ = ["FIGURES", "Tables", "draw_all", "read_tables"]
