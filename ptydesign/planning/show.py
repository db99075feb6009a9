"""A card on a terminal, as a table, and as a page."""

from __future__ import annotations

import csv
import io as text_io
from collections.abc import Sequence
from pathlib import Path

from ptydesign import io
from ptydesign.planning.card import Card
from ptydesign.planning.resolve import PlanningResolved, plan_cards
from ptydesign.study.cost import fft_rate
from ptydesign.study.page import environment
from ptydesign.study.records import write_record

MARKS = {"green": "ok", "amber": "mind", "red": "NO", "information": "-"}
STYLES = {"green": "green", "amber": "yellow", "red": "bold red", "information": "dim"}
UNITS = {"voltage_kv": "kV", "semiangle_mrad": "mrad", "defocus_nm": "nm", "step_a": "Å"}
WORDS = {"voltage_kv": "voltage", "semiangle_mrad": "semi-angle", "defocus_nm": "defocus", "step_a": "step"}


def setting_text(card: Card, camera_unit: str) -> str:
    """A card's setting in one line, the defocus as displayed and its side in words."""
    setting = card.setting
    side = "underfocus" if card.underfocus_nm > 0 else "overfocus" if card.underfocus_nm < 0 else "in focus"
    parts = [f"{WORDS[n]} {setting[n]:g} {UNITS[n]}" + (f" ({side})" if n == "defocus_nm" else "") for n in WORDS]
    about = f". {card.about}" if card.about else ""
    return ", ".join([*parts, f"camera {setting['camera']:g} {camera_unit}"]) + about


def print_card(card: Card, camera_unit: str) -> None:
    """The card in colours on stdout; marks say the same without."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text  # shows words as they are: brackets are no markup

    console = Console()
    console.print(Text.assemble((card.title, "bold"), f": {card.what} at {card.dose_e_per_a2:g} e/Å²"))
    console.print(Text(setting_text(card, camera_unit)))
    table = Table(show_lines=False, pad_edge=False)
    for name in ("", "rule", "value", "wanted", "what to change"):
        table.add_column(name, overflow="fold")
    for row in card.rows:
        mark = Text(MARKS[row.status], style=STYLES[row.status])
        table.add_row(mark, *(Text(words) for words in (row.name, row.value_text, row.limit, row.change)))
    console.print(table)


def card_csv(cards: list[Card]) -> str:
    """All rows of some cards, tidy."""
    out = text_io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    header = ("what", "dose_e_per_a2", "name", "value", "unit", "limit", "status", "formula", "source", "change")
    writer.writerow(header)
    for card in cards:
        for row in card.rows:
            values = (row.name, row.value, row.unit, row.limit, row.status, row.formula, row.source, row.change)
            writer.writerow((card.what, card.dose_e_per_a2, *values))
    return out.getvalue()


def card_page(cards: list[Card], camera_unit: str, warnings: Sequence[str] = ()) -> str:
    """One self-contained HTML page. warnings: of the plan."""
    settings = [setting_text(card, camera_unit) for card in cards]
    return (
        environment(Path(__file__).parent)
        .get_template("card.html.j2")
        .render(cards=list(zip(cards, settings, strict=True)), title=cards[0].title, marks=MARKS, warnings=warnings)
    )


def write_card_files(resolved: PlanningResolved) -> None:
    """The step `card`: cards of the rule of thumb, with the measured speed of this machine's transforms."""
    rate = fft_rate()
    cards = plan_cards(resolved.study, rate)
    write_cards(resolved.results, cards, resolved.bench.camera_unit, rate, resolved.warnings)


def write_cards(
    folder: Path, cards: list[Card], camera_unit: str, fft_units_per_s: float, warnings: Sequence[str] = ()
) -> list[Path]:
    """card.html, card.csv and card.json in a folder. fft_units_per_s: with which they were made. warnings: of the
    plan, for the page."""
    folder = Path(folder)
    io.write_text(folder / "card.html", card_page(cards, camera_unit, warnings))
    io.write_text(folder / "card.csv", card_csv(cards))
    content = {"fft_units_per_s": fft_units_per_s, "cards": [card.content() for card in cards]}
    write_record(folder, "card.json", content)
    return [folder / f"card.{suffix}" for suffix in ("html", "csv", "json")]
