"""A study or a plan, live: best so far, score against each parameter, surrogate, contenders, trials, pictures."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
import pandas as pd
import panel as pn
from bokeh.models import ColumnDataSource, FactorRange, HoverTool
from bokeh.models.widgets.tables import NumberFormatter

from ptydesign.drawing import BLUE, GREY, ORANGE, VERMILLION
from ptydesign.errors import InputError
from ptydesign.session import RUNNING
from ptydesign.study.quantities import number
from ptydesign.web import jobs
from ptydesign.web.contenders import Contender, Decision
from ptydesign.web.report import ADDRESS, files_of
from ptydesign.web.runs import PLAN
from ptydesign.web.site import Site
from ptydesign.web.trials import Fit, Trials, label, recommendation
from ptydesign.web.views import plots, shell
from ptydesign.web.views.later import Later
from ptydesign.web.views.runs import card

EVERY_MS = 2000
PER_ROW = 4  # plots of parameters side by side
MOST_PLOTS = 12
APPLIED = "applied_dose_e_per_a2"
MOST_PICTURES = 4  # of a trial
REFIT = 1.1  # times as many trials: then the surrogate is fitted anew


def view(site: Site) -> pn.Template:
    """The page of the run that the address names."""
    name = shell.query("run")
    try:
        trials = site.trials(name)
    except InputError as error:
        return shell.page("Study", "/", str(site.folder.path), shell.html(shell.error(str(error))))
    content = Study(site, name, trials)
    pn.state.add_periodic_callback(content.update, EVERY_MS)
    return shell.page(trials.title, "/", str(site.folder.path), content.layout)


class Study:
    """The view of one study."""

    def __init__(self, site: Site, name: str, trials: Trials):
        self.site, self.name, self.trials = site, name, trials
        self._shown, self._fitted = -1, ("", 0)
        self._fit: tuple[str, Fit] | None = None
        self.later = Later()
        self.started: jobs.Started | None = None
        self.head, self.below, self.says = shell.html(), shell.html(), shell.html()
        self.contenders = shell.html(width=620, sizing_mode=None, margin=(0, 0, 0, 14))
        searches = trials.searches
        self.search = pn.widgets.Select(name="Search", options=searches, width=200,
                                        value=_first(searches))  # fmt: skip
        self.act = pn.widgets.Button(name="Stop", width=90, button_type="light", margin=(22, 6), visible=site.may_act)
        self.act.on_click(self._act)
        self.source = ColumnDataSource({"number": [], "value": []})
        self.best_source = ColumnDataSource({"number": [], "best": []})  # a line that choosing points doesn't cut
        self.bands: dict[str, ColumnDataSource] = {}
        self.grid = pn.GridBox(ncols=PER_ROW, sizing_mode="stretch_width")
        self.best = self._best_plot()
        self.table = self._table()
        self.picture = shell.wrapping()
        self.pictures = pn.widgets.Select(name="Picture of a trial", options=[], width=320)
        self.search.param.watch(lambda _: self._draw(), "value")
        self.pictures.param.watch(lambda _: self._show_picture(), "value")
        self.source.selected.on_change("indices", self._brushed)
        self.layout = pn.Column(
            pn.Row(self.head, self.act, sizing_mode="stretch_width"),
            self.says,
            pn.Row(self.search, shell.html(_HELP), sizing_mode="stretch_width"),
            pn.Row(pn.pane.Bokeh(self.best, sizing_mode="stretch_width"), self.contenders, sizing_mode="stretch_width"),
            self.grid,
            shell.html("<h2>Trials</h2>"),
            self.table,
            self.below,
            self.pictures,
            self.picture,
            sizing_mode="stretch_width",
        )
        self.update()

    def update(self) -> None:
        """Show what is new."""
        self.trials.update()
        run = self.site.find(self.name)
        if run is not None:
            text = (
                f"<h1>{escape(self.trials.title)}</h1>{self._question()}" + card(run, titled=False) + _why(run.reason)
            )
            if run.sort == PLAN:
                text += self._explorer()
            if files := files_of(self.trials.results):
                links = (shell.link(ADDRESS, words, run=self.name, file=file) for file, words in files.items())
                text += f'<p class="quiet">In <code>{escape(self.name)}</code>: {", ".join(links)}</p>'
            if self.head.object != text:
                self.head.object = text
            running = run.state == RUNNING
            stopping = running and self.trials.session.asked_to_stop
            going = self.started is not None and self.started.process.poll() is None and not running
            name = "Stopping" if stopping else "Going on" if going else "Stop" if running else "Go on"
            if self.act.name != name:
                self.act.name = name
            self.act.disabled = going or stopping
            self.act.visible = self.site.may_act and run.state not in ("done", "unreadable")
        ended = self.started.failed() if self.started is not None else ""
        if ended:
            self.says.object = shell.error(f"It did not go on: {ended}")
        searches = self.trials.searches
        if list(self.search.options) != searches:
            self.search.options = searches
            if self.search.value not in searches and searches:
                self.search.value = _first(searches)
        if len(self.trials.frame) != self._shown:
            self._shown = len(self.trials.frame)
            self._draw()
        self._show_contenders()  # a decision comes without a new trial

    def _explorer(self) -> str:
        plan, scale = jobs.study_of(self.trials.results)
        if not (plan / "study.yaml").is_file() or not plan.resolve().is_relative_to(self.site.folder.path):
            return ""
        words = shell.link("/explore", "Its plan explorer", plan=self.site.folder.name(plan.resolve()), scale=scale)
        return f'<p class="quiet">{words}: sliders, and the predicted score at their setting</p>'

    def _question(self) -> str:
        question = str(self.trials.study.get("question") or "")
        return f'<p class="quiet">{escape(question)}</p>' if question else ""

    def _act(self, _: Any) -> None:
        try:
            if self.act.name == "Stop":
                jobs.stop(self.trials.results)
            else:
                self.started = jobs.go_on(self.site.folder, self.trials.results)
                self.says.object = ""
            self.update()
        except InputError as error:
            self.says.object = shell.error(str(error))

    # --- plots

    def _draw(self) -> None:
        frame = self.trials.frame
        part = frame[frame["search"] == self.search.value] if self.search.value else frame
        ok = part["value"].notna()
        names = [n for n in self.trials.parameters if n in part and part[n].nunique() > 1][:MOST_PLOTS]
        columns = {n: _plottable(part[n]) for n in names}
        self.source.data = {
            "number": np.arange(1, len(part) + 1), "trial": list(part["trial"]), "value": _floats(part["value"]),
            "reason": list(part["reason"]),
            "colour": np.where(ok, BLUE, VERMILLION).tolist(), **columns,
        }  # fmt: skip
        self.best_source.data = {"number": np.arange(1, len(part) + 1), "best": _floats(part["best"])}
        if list(self.bands) != names:
            self.bands = {}
            self.grid[:] = [pn.pane.Bokeh(self._parameter_plot(n, part), sizing_mode="stretch_width") for n in names]
        self._fill_table(part)
        failures = self.trials.failures()
        words = "".join(
            f"<tr><td class=number>{count}</td><td>{escape(reason)}</td></tr>" for reason, count in failures
        )
        head = "<tr><th class=number>Trials<th>Reason</tr>"
        self.below.object = f"<h2>Failures</h2><table>{head}{words}</table>" if words else ""
        pictures = self.trials.pictures()
        options = ["", *pictures]
        if list(self.pictures.options) != options:
            self.pictures.options = options
        self.pictures.visible = bool(pictures)
        self._refit(len(part))
        self._show_contenders()

    def _best_plot(self) -> Any:
        plot = plots.plain(f"{self.trials.score} of each trial, and the best so far", height=330, tools=_BRUSH)
        plot.scatter("number", "value", source=self.source, size=6, color="colour", alpha=0.6, **_FADED)
        plot.step("number", "best", source=self.best_source, mode="after", line_width=2, color=ORANGE)
        plot.add_tools(HoverTool(tooltips=_TIPS))
        plot.xaxis.axis_label, plot.yaxis.axis_label = "Trial of this search", self.trials.score
        plot.xaxis.ticker.min_interval = 1
        return plot

    def _parameter_plot(self, name: str, part: pd.DataFrame) -> Any:
        words = pd.api.types.is_string_dtype(part[name]) or part[name].dtype == object
        ranges = {"x_range": FactorRange(*sorted({str(v) for v in part[name].dropna()}))} if words else {}
        if self.trials.even_in_log(name):
            ranges["x_axis_type"] = "log"
        plot = plots.plain(height=235, tools=_BRUSH, **ranges)
        band = self.bands[name] = ColumnDataSource({"x": [], "mean": [], "low": [], "high": []})
        if not words:
            plot.varea("x", "low", "high", source=band, color=ORANGE, alpha=0.22)
            plot.line("x", "mean", source=band, color=ORANGE, line_width=2)
        plot.scatter(name, "value", source=self.source, size=6, color="colour", alpha=0.6, **_FADED)
        plot.add_tools(HoverTool(tooltips=_TIPS))
        sign = ", positive is underfocus" if name == "defocus_nm" else ""
        plot.xaxis.axis_label, plot.yaxis.axis_label = label(name) + sign, self.trials.score
        return plot

    # --- the surrogate, in a thread of its own

    def _refit(self, count: int) -> None:
        if not count:
            self.contenders.object = "<p class=quiet>No trial has ended yet.</p>"
        search = str(self.search.value or "")
        if not search or (self._fitted[0] == search and count < REFIT * self._fitted[1]):
            return
        if self._fitted[0] != search:
            for band in self.bands.values():
                band.data = {"x": [], "mean": [], "low": [], "high": []}
        self._fitted = search, count
        self.contenders.object = "<h2>Contenders</h2><p class=quiet>The surrogate is being fitted ...</p>"
        self.later.do(
            self.site.workers,
            lambda: self.site.fit(self.name, search, count),
            lambda done: self._show_fit(search, done),
        )

    def _show_fit(self, search: str, done: Any) -> None:
        if search != self.search.value:
            return
        error = done.exception()
        if error is not None:
            words = f"<p class=quiet>No surrogate yet: {escape(str(error))}</p>"
            self.contenders.object = f"<h2>Contenders</h2>{words}"
            self._show_contenders()
            return
        fit: Fit = done.result()
        for one in fit.slices:
            if one.name in self.bands:
                low, high = one.mean - one.std, one.mean + one.std
                self.bands[one.name].data = {"x": _floats(one.values), "mean": one.mean, "low": low, "high": high}
        self._fit = search, fit
        self._show_contenders()

    def _show_contenders(self) -> None:
        """What the study decided, or else what the surrogate says."""
        search = str(self.search.value or "")
        decision = self.trials.decision(search) if search else None
        if decision is not None:
            rows, words = decision.contenders, decided_words(decision)
        elif self._fit is not None and self._fit[0] == search:
            rows, words = self._fit[1].contenders, predicted_words(self._fit[1])
        else:
            return
        text = contenders(rows, words, recommendation(self.trials.results))
        if self.contenders.object != text:
            self.contenders.object = text

    # --- table and pictures

    def _table(self) -> pn.widgets.Tabulator:
        return pn.widgets.Tabulator(
            pd.DataFrame(), disabled=True, show_index=False, pagination="remote", page_size=12, theme="simple",
            layout="fit_columns", sizing_mode="stretch_width", selectable=False,
            configuration={"columnDefaults": {"headerWordWrap": True, "minWidth": 64, "tooltip": True}},
            widths={"number": 56, "trial": 190, "reason": "20%"},
            header_filters={"trial": {"type": "input", "func": "like", "placeholder": "filter"},
                            "status": {"type": "input", "func": "like", "placeholder": "filter"},
                            "reason": {"type": "input", "func": "like", "placeholder": "filter"}},
        )  # fmt: skip

    def _fill_table(self, part: pd.DataFrame) -> None:
        chosen = self.source.selected.indices
        rows = part.iloc[[i for i in chosen if i < len(part)]] if chosen else part
        names = [n for n in self.trials.parameters if n in rows]
        dose = [] if APPLIED in names else ["dose"]  # the search varies it
        shown = rows[["number", "trial", *dose, "value", *names, "seconds", "status", "reason"]].copy()
        self.table.titles = {"number": "#", "trial": "Trial", "dose": self.trials.dose, "value": self.trials.score,
                             "seconds": "Seconds",
                             "status": "Status", "reason": "Reason", **{n: label(n) for n in names}}  # fmt: skip
        self.table.formatters = {n: NumberFormatter(format="0.[0000]") for n in names if shown[n].dtype != object} | {
            "value": NumberFormatter(format="0.0000"), "seconds": NumberFormatter(format="0.0"),
            "dose": NumberFormatter(format="0,0.[00]"),
        }  # fmt: skip
        self.table.value = shown

    def _brushed(self, attribute: str, old: Any, new: Any) -> None:
        frame = self.trials.frame
        self._fill_table(frame[frame["search"] == self.search.value] if self.search.value else frame)

    def _show_picture(self) -> None:
        key = self.trials.pictures().get(self.pictures.value or "")
        self.picture[:] = []
        if key is None:
            return
        try:
            images = self.trials.picture(key)
        except InputError as error:
            self.picture[:] = [shell.html(shell.error(str(error)))]
            return
        shown = []
        for image in images[:MOST_PICTURES]:
            unit = "px" if image.pixel_a is None else "Å"
            one = plots.Image(image.name.replace("_", " ").capitalize(), unit=unit, value="rad", size=290)
            one.show(image.values, image.pixel_a or (1.0, 1.0))
            shown.append(one.pane)
        self.picture[:] = shown


def contenders(rows: Sequence[Contender], words: str, recommended: dict[str, Any]) -> str:
    """A table of the points that may be the best. words: on where this comes from, as HTML."""
    if not rows:
        return ""
    names, drawn = list(rows[0].point), rows[0].draws > 0
    head = "".join(f'<th class=number style="white-space:normal">{escape(label(n))}' for n in names)
    lines = []
    for one in rows:
        values = "".join(f"<td class=number>{escape(_value(one.point[n]))}</td>" for n in names)
        score = f"{one.mean:.3f}" + (f" ± {one.std:.3f}" if one.std is not None else "")
        draws = f"<td class=number>{one.draws}</td>" if drawn else ""
        bar = f'<div style="display:flex;gap:6px;align-items:center">{shell.bar(one.chance, 1)}' \
              f"<span>{_percent(one.chance)}</span></div>"  # fmt: skip
        lines.append(f"<tr>{values}<td class=number style='white-space:nowrap'>{score}</td>{draws}<td>{bar}</td></tr>")
    scores = "<th class=number>Mean score<th class=number>Draws" if drawn else "<th class=number>Score, predicted"
    more = f"<p class=quiet>The plan recommends: {escape(_words(recommended))}.</p>" if recommended else ""
    return (
        f"<h2>Contenders</h2><table><thead><tr>{head}{scores}"
        "<th style='width:120px;white-space:normal'>Chance of being best</tr></thead>"
        f"<tbody>{''.join(lines)}</tbody></table><p class=quiet>{words}</p>{more}"
    )


def decided_words(decision: Decision) -> str:
    """What the numbers of a decision mean."""
    return (
        f"<b>Decided.</b> {escape(decision.outcome)} By draws with fresh noise, ± is of one draw. The winner's chance "
        "is at least, the others' are at most these."
    )


def predicted_words(fit: Fit) -> str:
    """What the numbers of a surrogate mean."""
    of = f"{fit.fitted} of {fit.of} trials" if fit.fitted < fit.of else f"{fit.of} trials"
    words = f"Not decided yet. By the surrogate, fitted to {of}; ± is of another trial, with its noise. "
    new = "" if all(one.tried for one in fit.contenders) else "Its best point was not tried. "
    return f"{words}{new}The chance is among these points."


_BRUSH = "pan,wheel_zoom,box_select,lasso_select,tap,reset,save"
_FADED = {"nonselection_alpha": 0.08, "nonselection_color": GREY, "selection_alpha": 0.9}
_TIPS = [("trial", "@trial"), ("score", "@value{0.0000}"), ("", "@reason")]
_HELP = (
    '<p class="quiet" style="margin-top:26px">Orange: the surrogate with one standard deviation, the other parameters '
    "at the best trial. Choose points with a box or lasso: all plots mark them, and the table lists only them.</p>"
)


def _first(searches: list[str]) -> str | None:
    """What is shown first: the search itself, not the random one that it is compared with."""
    return next((s for s in searches if not s.startswith(("random", "map"))), searches[0] if searches else None)


def _why(reason: str) -> str:
    return f'<p class="quiet">{escape(reason)}</p>' if reason else ""


def _value(value: Any) -> str:
    return number(value, 4) if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


def _percent(chance: float) -> str:
    """`99.8 %`, `below 0.1 %`: nothing that is possible is called impossible or certain."""
    if chance < 0.001:
        return "below 0.1 %"
    return "above 99.9 %" if chance > 0.999 else f"{100 * chance:.3g} %"


def _words(recommended: dict[str, Any]) -> str:
    """A recommended setting, its defocus in the sign of the trials, in which positive is underfocus."""
    setting = dict(recommended.get("setting", {}))
    camera, unit = setting.pop("camera", None), recommended.get("camera_unit")
    setting["defocus_nm"] = recommended.get("underfocus_nm", setting.get("defocus_nm"))
    words = [f"{label(name)} {_value(value)}" for name, value in setting.items()]
    what = "Camera length (mm)" if unit == "mm" else "Angle of a detector pixel (mrad)"
    return ", ".join([*words, *([f"{what} {_value(camera)}"] if camera is not None else [])])


def _floats(values: Any) -> np.ndarray:
    return np.array([np.nan if v is None else float(v) for v in values], float)


def _plottable(column: pd.Series) -> list[Any]:
    return [str(v) for v in column] if column.dtype == object else column.astype(float).tolist()
