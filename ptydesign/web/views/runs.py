"""The list of runs."""

from __future__ import annotations

from contextlib import suppress
from html import escape

import panel as pn

from ptydesign.errors import InputError
from ptydesign.session import DONE
from ptydesign.web import jobs
from ptydesign.web.runs import RECONSTRUCTION, UNREADABLE, WAITING, Run
from ptydesign.web.site import Site
from ptydesign.web.views import shell

EVERY_MS = 2000
MOST_DATASETS = 40  # that are listed
ALONE = "Runs"  # the table's head when nothing runs
MOST_CARDS = 12  # of runs that run


def view(site: Site) -> pn.Template:
    """The page."""
    running = pn.Column(sizing_mode="stretch_width", margin=0)
    table = shell.html()
    shown: dict[str, object] = {}

    def update() -> None:
        runs = site.runs.find()
        active = [run for run in runs if run.state == "running"][:MOST_CARDS]
        names = [run.name for run in active]
        if names != shown.get("active"):
            shown["cards"] = {run.name: shell.html() for run in active}
            rows = [
                pn.Row(shown["cards"][run.name], jobs_button(site, run), sizing_mode="stretch_width") for run in active
            ]
            running[:] = ([shell.html("<h2>Running</h2>")] if rows else []) + rows
            shown["active"] = names
        for run in active:
            text = card(run)
            if shown["cards"][run.name].object != text:
                shown["cards"][run.name].object = text
        head = "All others" if names else ALONE
        text = rest([run for run in runs if run.name not in names], head) + datasets(site.runs.datasets())
        if table.object != text:
            table.object = text

    update()
    pn.state.add_periodic_callback(update, EVERY_MS)
    return shell.page("Runs", "/", str(site.folder.path), running, table)


def jobs_button(site: Site, run: Run) -> pn.widgets.Button:
    """Stop a run that runs."""
    button = pn.widgets.Button(name="Stop", button_type="light", width=90, disabled=not site.may_act, margin=(12, 6))

    def stopping() -> None:
        button.name, button.disabled = "Stopping", True

    def stop(_: object) -> None:
        with suppress(InputError):  # it has ended meanwhile, and the list says so in a moment
            jobs.stop(site.folder.find(run.name))
        stopping()

    with suppress(InputError):
        if jobs.session_of(site.folder.find(run.name)).asked_to_stop:
            stopping()
    button.on_click(stop)
    return button


def address_of(run: Run) -> str:
    """The page that shows a run."""
    return "/reconstruction" if run.sort == RECONSTRUCTION else "/study"


def card(run: Run, titled: bool = True) -> str:
    """A run that runs; its own page has the title already."""
    left = f", about {shell.duration(run.left_s)} left" if run.left_s is not None else ""
    unit = "sweeps" if run.sort == RECONSTRUCTION else "trials"
    failed = f", {run.failed} failed" if run.failed else ""
    total = run.done if run.state == DONE else run.total  # a decision may spare trials
    of = f" of {total}" if total and run.state != DONE else ""
    title = f"<b>{shell.link(address_of(run), run.title, run=run.name)}</b> " if titled else ""
    return (
        f'<div style="background:#fff;border:1px solid #e1e6ea;border-radius:6px;padding:9px 12px">'
        f"{shell.state(run.state)} &nbsp;{title}"
        f'<span class="quiet">{escape(run.name)}, {escape(run.kind)}; last sign of life: {shell.ago(run.spoke)}</span>'
        f'<div style="display:flex;gap:14px;align-items:center;margin-top:7px"><div style="flex:1">'
        f"{shell.bar(run.done, total)}</div><span>{run.done}{of} {unit}{failed}{left}</span></div></div>"
    )


def datasets(names: list[str]) -> str:
    """Links to the datasets."""
    if not names:
        return ""
    links = ", ".join(shell.link("/dataset", name, run=name) for name in names[:MOST_DATASETS])
    more = f" and {len(names) - MOST_DATASETS} more" if len(names) > MOST_DATASETS else ""
    return f"<h2 style='margin-top:14px'>Datasets</h2><p>{links}{more}</p>"


def rest(runs: list[Run], head: str) -> str:
    """The table of all others; those that could not be read last."""
    if not runs:
        words = (
            "No runs in this folder yet. A study writes `results/`, a reconstruction with `--live` a folder "
            "`*.live`. The plan explorer works without any; Start begins a run."
        )
        return shell.note(words) if head == ALONE else ""
    lines = []
    for run in sorted(runs, key=lambda run: (run.state == UNREADABLE, run.state == WAITING)):
        words = shell.link(address_of(run), run.title, run=run.name) if run.state != UNREADABLE else escape(run.title)
        if run.state == WAITING:
            words = shell.link("/start", run.title, study=run.name)
        of = f"/{run.total}" if run.total > run.done and run.state != DONE else ""
        count = f"{run.done}{of}" if run.done or run.total else ""
        best = f"{run.best:.4g}" if run.best is not None else ""
        what = "loss" if run.sort == RECONSTRUCTION else run.of
        what = f"<div class=quiet>{escape(what)}</div>" if best else ""
        lines.append(
            f"<tr><td>{shell.state(run.state)}</td><td>{words}<div class=quiet>{escape(run.name)}</div></td>"
            f"<td>{escape(run.sort)}<div class=quiet>{escape(run.kind) if run.kind != run.sort else ''}</div></td>"
            f"<td class=number>{count}</td><td class=number>{run.failed or ''}</td>"
            f"<td class=number>{best}{what}</td><td>{shell.ago(run.spoke)}</td>"
            f"<td class=quiet>{escape(run.reason)}</td></tr>"
        )
    return (
        f"<h2>{head}</h2><table><thead><tr><th>State<th>Run<th>Kind<th class=number>Trials or sweeps"
        "<th class=number>Failed<th class=number>Best<th>Last sign of life<th>Why</tr></thead><tbody>"
        + "".join(lines)
        + "</tbody></table>"
    )
