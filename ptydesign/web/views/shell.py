"""What all pages have: the head, the look, words for times and states, a message in place of a view."""

from __future__ import annotations

import re
import time
from html import escape
from pathlib import Path
from urllib.parse import urlencode

import panel as pn

from ptydesign.drawing import BLUE, GREEN, GREY, OKABE_ITO, ORANGE, VERMILLION

CSS = (Path(__file__).parent.parent / "page.css").read_text(encoding="utf-8")
PAGES = (("/", "Runs"), ("/explore", "Plan explorer"), ("/start", "Start"))
COLOURS = {
    "running": BLUE,
    "done": GREEN,
    "failed": VERMILLION,
    "unreadable": VERMILLION,
    "stopped": ORANGE,
    "silent": ORANGE,
    "waiting": GREY,
    "green": GREEN,
    "amber": ORANGE,
    "red": VERMILLION,
    "information": GREY,
}
PALETTE = OKABE_ITO

_TEMPLATE = """
{% extends base %}
{% block title %}{{ page_title | e }}{% endblock %}
{% block postamble %}<style>{{ css }}</style>{% endblock %}
{% block contents %}
<div class="top"><a class="brand" href="/">ptydesign</a>
{% for address, name in pages %}<a href="{{ address }}"{% if address == here %} class="here"{% endif %}>{{ name }}</a>
{% endfor %}<span class="folder">{{ folder | e }}</span></div>
<main>{{ embed(roots.main) }}</main>
{{ embed(roots.location) }}
{% endblock %}
"""

# Inside Panel's panes: a page's own style doesn't reach there.
STYLE = """
:host { font-family: system-ui, "Segoe UI", "DejaVu Sans", sans-serif; font-size: 14px; color: #1c2733; }
h1 { font-size: 20px; margin: 0 0 4px; font-weight: 650; } h2 { font-size: 15px; margin: 0 0 6px; font-weight: 650; }
p { margin: 3px 0; } a { color: #0063a5; text-decoration: none; } a:hover { text-decoration: underline; }
.quiet { color: #5d6b78; font-size: 12.5px; } .number { font-variant-numeric: tabular-nums; text-align: right; }
table { border-collapse: collapse; width: 100%; background: #fff; border: 1px solid #e1e6ea; border-radius: 6px; }
th { text-align: left; font-weight: 600; color: #5d6b78; font-size: 12.5px; padding: 7px 10px; white-space: nowrap; }
td { padding: 4px 10px; border-top: 1px solid #edf0f2; vertical-align: top; }
th.number { text-align: right; }
.state { display: inline-block; border-radius: 10px; padding: 1px 9px; color: #fff; font-size: 12px;
  white-space: nowrap; }
.bar { background: #e4e9ed; border-radius: 4px; height: 8px; overflow: hidden; min-width: 60px; flex: 1; }
.bar i { display: block; height: 8px; background: #0072B2; }
.error { border-left: 4px solid #D55E00; background: #fff4ec; padding: 9px 12px; border-radius: 4px; }
.note { border-left: 4px solid #56B4E9; background: #eef6fb; padding: 9px 12px; border-radius: 4px; }
code { background: #eef1f3; padding: 1px 4px; border-radius: 3px; font-size: 12.5px; }
pre { background: #fff; border: 1px solid #e1e6ea; border-radius: 6px; padding: 10px; font-size: 12px;
  white-space: pre-wrap; overflow-wrap: anywhere; }
"""


def page(title: str, here: str, folder: str, *content: pn.viewable.Viewable) -> pn.Template:
    """A whole page. here: the address in the head that it belongs to."""
    template = pn.Template(_TEMPLATE, location=True)  # a choice may lead to another address
    for name, value in (("page_title", f"{title} - ptydesign"), ("css", CSS), ("pages", PAGES), ("here", here),
                        ("folder", folder)):  # fmt: skip
        template.add_variable(name, value)
    template.add_panel("main", pn.Column(*content, sizing_mode="stretch_width"))
    return template


def query(name: str) -> str:
    """What the address says of a name; empty if nothing."""
    values = (pn.state.session_args or {}).get(name) or [b""]
    return values[0].decode("utf-8", "replace")


def html(text: str = "", **options) -> pn.pane.HTML:
    """A pane of HTML whose words are escaped already."""
    # its own design: the template would give it style sheets that its first change takes away, and lay all out again
    own = {"stylesheets": [STYLE], "design": pn.theme.Native, "sizing_mode": "stretch_width", "margin": (4, 0)}
    return pn.pane.HTML(text, **{**own, **options})


def wrapping(*items: pn.viewable.Viewable, **styles: str) -> pn.Row:
    """Things of fixed width side by side, that go on below in a narrow window."""
    # a sizing mode would have Panel demand the width of all of them together
    return pn.Row(*items, styles={"flex-wrap": "wrap", "width": "100%", "min-width": "0", **styles}, margin=0)


def marked(words: str) -> str:
    """Words as HTML: `code` as such, and each line on its own."""
    return re.sub(r"`([^`\n]+)`", r"<code>\1</code>", escape(words)).replace("\n", "<br>")


def error(words: str) -> str:
    """A message that something is wrong."""
    return f'<div class="error">{marked(words)}</div>'


def note(words: str) -> str:
    """A message that nothing is wrong."""
    return f'<div class="note">{marked(words)}</div>'


def state(name: str) -> str:
    """A state in its colour."""
    return f'<span class="state" style="background:{COLOURS.get(name, GREY)}">{escape(name)}</span>'


def state_words(name: str, words: str) -> str:
    """Words in the colour of a state."""
    return f'<span class="state" style="background:{COLOURS.get(name, GREY)}">{escape(words)}</span>' if words else ""


def search(**query: str) -> str:
    """The part of an address behind the question mark, with it."""
    return "?" + urlencode(query)


def bar(done: float, total: float) -> str:
    """A bar of progress."""
    part = 100 * min(done / total, 1.0) if total else 0
    return f'<div class="bar"><i style="width:{part:.1f}%"></i></div>'


def link(address: str, words: str, **query: str) -> str:
    """A link to one of the pages."""
    return f'<a href="{escape(address + "?" + urlencode(query))}">{escape(words)}</a>'


def duration(seconds: float | None) -> str:
    """`12 s`, `3 min`, `2.1 h`, `3 days`."""
    if seconds is None:
        return ""
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.0f} days"


def ago(moment: float | None) -> str:
    """How long ago that was."""
    if moment is None:
        return ""
    passed = time.time() - moment
    return "now" if passed < 5 else f"{duration(passed)} ago"
