"""`python docs/make_sheet.py results/plan_bilayer docs/results/planning/sheet.png`: the sheet of a finished plan as
a picture, as it is in sheet.pdf."""

from __future__ import annotations

import argparse
from pathlib import Path

from ptydesign import drawing
from ptydesign.io import atomic
from ptydesign.planning.sheet import sheet_content
from ptydesign.planning.sheet_pdf import draw_page
from ptydesign.planning.tables import read_tables

DPI = 110


def main() -> None:
    """Draw it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path, help="folder of a finished plan")
    parser.add_argument("picture", type=Path, help="PNG to write")
    options = parser.parse_args()
    tables = read_tables(options.results)
    with drawing.styled(), atomic(options.picture) as temporary:
        page = draw_page(sheet_content(tables), tables)
        page.savefig(temporary, format="png", dpi=DPI, facecolor="white", metadata={"Software": None})


if __name__ == "__main__":
    main()
