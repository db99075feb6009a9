"""The study's figures, drawn from tables only. One module for each figure; each has

- `skip(tables) -> str | None`: a sentence that says why the figure can't be drawn from these tables,
- `caption(tables) -> str`: what is shown, in the units and numbers of these tables,
- `draw(tables) -> Figure`.

A new figure is a new module and one line in FIGURES.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

from ptydesign.study.figures import convergence, maps, reconstructions, settings, structure
from ptydesign.study.figures.style import save, styled
from ptydesign.study.figures.tables import Tables, read_tables

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
    folder = Path(results_folder) / "figures"
    paths = []
    for name, module in FIGURES.items():
        if module.skip(tables):
            for suffix in ("png", "pdf"):
                (folder / f"{name}.{suffix}").unlink(missing_ok=True)
            continue
        with styled():
            paths += save(module.draw(tables), folder, name)
    return paths


__all__ = ["FIGURES", "Tables", "draw_all", "read_tables"]
