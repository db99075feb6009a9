"""The plan explorer: sliders for what the instrument can do, and what they mean."""

from __future__ import annotations

import math
import shlex
from concurrent.futures import Future
from dataclasses import replace
from html import escape
from typing import Any

import numpy as np
import panel as pn
from bokeh.models import ColumnDataSource, CustomJSTickFormatter, Span

from ptydesign.drawing import BLUE, GREEN, ORANGE, VERMILLION
from ptydesign.errors import InputError
from ptydesign.planning.card import Card
from ptydesign.planning.resolve import expert_name
from ptydesign.study.quantities import number
from ptydesign.web.explorer import (
    QUICK_FIELD_A,
    QUICK_SWEEPS,
    Answer,
    Control,
    Explorer,
    Knobs,
    Pattern,
    Picture,
    moved,
)
from ptydesign.web.predict import Predicted, predict
from ptydesign.web.site import Site
from ptydesign.web.trials import recommendation
from ptydesign.web.views import plots, shell
from ptydesign.web.views.later import Later

WORDS = {
    "voltage_kv": "Voltage (kV)",
    "semiangle_mrad": "Aperture (mrad)",
    "camera": "Camera",
    "defocus_nm": "Defocus (nm)",
    "step_a": "Scan step (Å)",
    "current_pa": "Current (pA)",
    "dwell_us": "Dwell time (µs)",
    "dose_e_per_a2": "Dose (e/Å²)",
}
SCALES = ("preview", "smoke", "paper")
SIZE = 150  # of an image, in pixels of the screen
MARKS = {"green": "ok", "amber": "mind", "red": "no", "information": ""}


def view(site: Site) -> pn.Template:
    """The page of the plan that the address names, or of the template."""
    name, scale = shell.query("plan"), shell.query("scale") or "preview"
    plans = ["", *site.runs.plans()]
    choose = pn.widgets.Select(
        name="Plan",
        options={p or "the plan that `ptydesign init` writes": p for p in plans},
        value=name if name in plans else "",
        width=330,
    )
    at = pn.widgets.Select(name="Scale", options=list(SCALES), value=scale if scale in SCALES else SCALES[0], width=110)

    def go(_: Any) -> None:
        pn.state.location.search = shell.search(plan=choose.value, scale=at.value)
        pn.state.location.reload = True

    for one in (choose, at):
        one.param.watch(go, "value")
    try:
        if scale not in SCALES:
            raise InputError("scale", f"must be one of {', '.join(SCALES)}", scale, "Correct the address.")
        explorer = site.explorer(name, scale)
    except InputError as error:
        return shell.page(
            "Plan explorer", "/explore", str(site.folder.path), pn.Row(choose, at), shell.html(shell.error(str(error)))
        )
    content = Explore(site, explorer, name)
    return shell.page(
        "Plan explorer", "/explore", str(site.folder.path), pn.Row(choose, at, content.title), content.layout
    )


class Explore:
    """The view of one explorer; also a widget of a notebook."""

    def __init__(self, site: Site, explorer: Explorer, name: str = ""):
        self.site, self.explorer, self.name = site, explorer, name
        self.knobs = explorer.start()
        self._moving, self._wanted, self._shown = False, 0, 0
        self.later = Later()
        self.title = shell.html(f"<h1>{escape(explorer.plan.title)}</h1>" + "".join(
            f'<p class="quiet">{shell.marked(w)}</p>' for w in explorer.warnings), margin=(20, 10))  # fmt: skip
        self.sliders = {n: self._slider(c) for n, c in explorer.controls.items() if len(c.choices) != 1}
        for control, slider in self.sliders.items():
            slider.param.watch(lambda event, control=control: self._moved(control, event.new), "value")
        self.summary, self.card, self.says = shell.html(), shell.html(), shell.html(margin=(4, 10))
        self.probe = plots.Image("Probe, four beside it", colours="magma", size=SIZE, bar=False)
        self.circles = ColumnDataSource({"x": [], "y": [], "d": [], "c": []})
        self.probe.figure.ellipse("x", "y", "d", "d", source=self.circles, fill_alpha=0, line_color="c", line_width=1.2)
        self.aperture = plots.Image("Aperture: phase (rad)", unit="mrad", colours="twilight", size=SIZE)
        self.mean = plots.Image("Pattern, mean counts", unit="mrad", colours="viridis", size=SIZE)
        self.draw = plots.Image("Pattern, one noisy draw", unit="mrad", colours="viridis", size=SIZE,
                                ranges=(self.mean.figure.x_range, self.mean.figure.y_range))  # fmt: skip
        self.pattern_says = shell.html()
        self.buttons = self._buttons()
        self.picture = shell.wrapping()
        self.prediction = pn.Column(sizing_mode="stretch_width", margin=0)
        images = shell.wrapping(*(one.pane for one in (self.probe, self.aperture, self.mean, self.draw)))
        self.layout = pn.Row(
            pn.Column(*self.sliders.values(), *self.buttons, self.says, width=280),
            pn.Column(
                self.summary, images, self.pattern_says, self.picture, self.prediction,
                shell.html("<h2>Feasibility card</h2>"), self.card, sizing_mode="stretch_width",
            ),
            sizing_mode="stretch_width",
        )  # fmt: skip
        self._place_sliders()
        self.update()

    # --- sliders

    def _slider(self, control: Control) -> pn.widgets.Widget:
        words = WORDS[control.name]
        if control.name == "camera":
            words = (
                "Camera length (mm)" if self.explorer.bench.camera_unit == "mm" else "Angle of a detector pixel (mrad)"
            )
        if control.name == "defocus_nm":
            positive = self.explorer.plan.instrument.conventions.defocus_positive
            words += f", positive is {positive}"
        if control.choices:
            options = {f"{v:g}": v for v in sorted(control.choices)}
            return pn.widgets.DiscreteSlider(name=words, options=options, width=260)
        if control.log:
            low, high = math.log10(control.low), math.log10(control.high)
            form = CustomJSTickFormatter(code="return Number((10 ** tick).toPrecision(3)).toString()")
            return pn.widgets.FloatSlider(name=words, start=low, end=high, step=0.005, format=form, width=260)
        return pn.widgets.FloatSlider(name=words, start=control.low, end=control.high, step=0.1, width=260)

    def _place_sliders(self) -> None:
        """Put the sliders where the controls are."""
        self._moving = True
        try:
            for name, slider in self.sliders.items():
                control = self.explorer.controls[name]
                value = getattr(self.knobs, name)
                if control.choices:
                    value = min(control.choices, key=lambda c, v=value: abs(c - v))
                else:
                    value = min(max(value, control.low), control.high)
                    value = math.log10(value) if control.log else value
                if slider.value != value:
                    slider.value = value
        finally:
            self._moving = False

    def _moved(self, name: str, value: float) -> None:
        if self._moving:
            return
        control = self.explorer.controls[name]
        self.set(moved(self.explorer, self.knobs, {name: 10**value if control.log else value}))

    def set(self, knobs: Knobs) -> None:
        """Show other settings."""
        self.knobs = knobs
        self._place_sliders()
        self.update()

    # --- answers

    def update(self) -> None:
        """Show what the controls mean. What needs no specimen doesn't wait for one that has to be built."""
        self._wanted += 1
        mine, knobs = self._wanted, self.knobs
        ready = self.explorer.ready(knobs)
        if not ready:
            with pn.io.hold():
                self._show(self.explorer.answer(knobs))
                self.pattern_says.object = '<p class="quiet">The specimen of this camera length is being built ...</p>'
        pool = self.site.workers if ready else self.site.builders
        self.later.do(pool, lambda: self._found(mine, knobs), lambda done: self._show_found(mine, done))
        self._predict()

    def _found(self, mine: int, knobs: Knobs) -> tuple[Answer, Pattern | str] | None:
        """Answer and pattern, or why there is none; None for settings that were left meanwhile."""
        if mine != self._wanted:
            return None
        answer = self.explorer.answer(knobs)
        try:
            return answer, self.explorer.pattern(knobs)
        except InputError as error:
            return answer, str(error)

    def _show_found(self, mine: int, done: Future) -> None:
        if mine < self._shown or (found := done.result()) is None:
            return
        self._shown = mine
        with pn.io.hold():  # one message to the browser, and one drawing there
            self._show(found[0])
            self._draw_pattern(found[1])

    def _show(self, answer: Answer) -> None:
        self.summary.object = summary(answer)
        self.card.object = card_table(answer.card)
        probe = answer.probe
        self.probe.show(probe.intensity / probe.intensity.max(), (probe.pixel_a, probe.pixel_a), limits=(0, 1))
        self._show_neighbours(answer)
        size = probe.phase_rad.shape[0]
        edge = -(size // 2 + 0.5) * probe.pixel_mrad
        self.aperture.show(probe.phase_rad, (probe.pixel_mrad,) * 2, (edge, edge), (-math.pi, math.pi))

    def _show_neighbours(self, answer: Answer) -> None:
        probe, step = answer.probe, answer.setting.step_a
        half = (probe.intensity.shape[0] // 2 + 0.5) * probe.pixel_a  # the middle of the pixel that it is centred at
        around = ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1))
        places = [(half + i * step, half + j * step) for i, j in around]
        self.circles.data = {
            "x": [x for x, _ in places], "y": [y for _, y in places], "d": [2 * probe.radius_a] * len(places),
            "c": ["#56B4E9", *["#ffffffaa"] * (len(places) - 1)],
        }  # fmt: skip

    def _draw_pattern(self, found: Pattern | str) -> None:
        if isinstance(found, str):
            self.pattern_says.object = shell.error(f"No pattern: {found}")
            return
        pixel = (found.pixel_mrad, found.pixel_mrad)
        origin = tuple(-(n // 2 + 0.5) * found.pixel_mrad for n in found.mean.shape)
        self.mean.show(found.mean, pixel, origin, (0, float(np.percentile(found.mean, 99.9))))
        self.draw.show(found.draw, pixel, origin, (0, max(1.0, float(np.percentile(found.draw, 99.9)))))
        most, total = found.draw.max(), found.draw.sum()
        self.pattern_says.object = (
            f'<p class="quiet">The draw has {total:,.0f} counts, at most {most:.0f} in a pixel (binned by '
            f"{self.explorer.bench.bin}). In the middle of the specimen, with source and focal spread as planned.</p>"
        )

    # --- the surrogate of a plan that ran

    def _predict(self) -> None:
        results = self.explorer.results
        if not (results / "logs" / "progress.jsonl").is_file():
            return
        mine, knobs = self._wanted, self.knobs
        self.later.do(
            self.site.workers, lambda: self._predicted(mine, knobs), lambda done: self._show_predicted(mine, done)
        )

    def _predicted(self, mine: int, knobs: Knobs) -> Predicted | None:
        if mine != self._wanted:
            return None
        trials = self.site.trials(self.site.folder.name(self.explorer.results))
        return predict(self.explorer, trials, knobs)

    def _show_predicted(self, mine: int, done: Future) -> None:
        if mine != self._wanted:
            return
        if done.exception() is not None:
            words = f"<h2>Predicted score</h2><p class=quiet>{escape(str(done.exception()))}</p>"
            self.prediction[:] = [shell.html(words)]
            return
        found = done.result()
        if found is None:
            return
        errors = ", each with errors of a day" if self.explorer.plan.errors == "all" else ""
        words = (
            f"<h2>Predicted score at {found.dose_e_per_a2:g} e/Å²: {found.mean:.3f} ± {found.std:.3f}</h2>"
            f'<p class="quiet">By the surrogate of {found.trials} trials of this plan{errors}. Blue: these settings; '
            "green: the recommended one.</p>"
        )
        recommended = recommendation(self.explorer.results).get("setting") or {}
        figures = []
        for one in found.slices:
            values = np.asarray(one.values, float)
            plot = plots.plain(height=210)
            plot.varea(values, one.mean - one.std, one.mean + one.std, color=ORANGE, alpha=0.22)
            plot.line(values, one.mean, color=ORANGE, line_width=2)
            here = getattr(self.knobs, one.name)
            plot.add_layout(Span(location=here, dimension="height", line_color=BLUE, line_width=2))
            advised = recommended.get(one.name)
            if isinstance(advised, int | float):
                mark = {"line_color": GREEN, "line_width": 2, "line_dash": "dashed"}
                plot.add_layout(Span(location=advised, dimension="height", **mark))
            plot.xaxis.axis_label, plot.yaxis.axis_label = WORDS[one.name], "Score"
            figures.append(pn.pane.Bokeh(plot, sizing_mode="stretch_width"))
        self.prediction[:] = [shell.html(words), pn.Row(*figures, sizing_mode="stretch_width")]

    # --- buttons

    def _buttons(self) -> list[Any]:
        reconstruct = pn.widgets.Button(name="Simulate a reconstruction", button_type="primary", width=260)
        reconstruct.on_click(lambda _: self._ask_picture(reconstruct))
        thumb = pn.widgets.Button(name=expert_name(self.explorer.plan).capitalize(), button_type="light", width=120)
        thumb.on_click(lambda _: self.set(self.explorer.start()))
        found = recommendation(self.explorer.results)
        words = "Recommended" if found else "Not planned yet"  # at this scale
        advised = pn.widgets.Button(name=words, button_type="light", width=120, disabled=not found)
        advised.on_click(lambda _: self._go_to(found))
        buttons: list[Any] = [reconstruct, pn.Row(thumb, advised, margin=0)]
        if self.site.may_act and self.name:
            expert = pn.widgets.Button(name="Take this as the expert's setting", button_type="light", width=260)
            expert.on_click(lambda _: self._write(self.explorer.file))
            buttons.append(expert)
        if self.site.may_act:
            name = pn.widgets.TextInput(placeholder="new_plan.yaml", width=145)
            write = pn.widgets.Button(name="Write a plan", button_type="light", width=95)
            write.on_click(lambda _: self._write_new(name.value))
            buttons.append(pn.Row(name, write, margin=0))
        return buttons

    def _go_to(self, recommended: dict[str, Any]) -> None:
        try:
            self.set(self.explorer.advised(recommended))
        except InputError as error:
            self.says.object = shell.error(str(error))

    def _write_new(self, name: str) -> None:
        if not name or name != name.strip() or any(c in name for c in "/\\\0") or name.startswith("."):
            self.says.object = shell.error("A plan's name is a file in the folder, as new_plan.yaml.")
            return
        self._write(self.site.folder.path / name)

    def _write(self, path: Any) -> None:
        try:
            self.explorer.write(self.knobs, path)
            name = self.site.folder.name(path.resolve())
            words = f"Written: {name}. Planned from the page Start or by `ptydesign plan {shlex.quote(name)}`, "
            self.says.object = shell.note(words + "its advice is compared with this setting.")
        except (InputError, OSError) as error:
            self.says.object = shell.error(str(error))

    def _ask_picture(self, button: Any) -> None:
        button.disabled, button.name = True, "Reconstructing ..."
        knobs = self.knobs
        self.later.do(
            self.site.pictures, lambda: self.explorer.picture(knobs), lambda done: self._show_picture(button, done)
        )

    def _show_picture(self, button: Any, done: Future) -> None:
        button.disabled, button.name = False, "Simulate a reconstruction"
        if done.exception() is not None:
            self.picture[:] = [shell.html(shell.error(str(done.exception())))]
            return
        found: Picture = done.result()
        # one scale for both; each about its own mean, for a reconstruction knows no constant phase
        found = replace(found, image=found.image - found.image.mean(), truth=found.truth - found.truth.mean())
        limits = plots.Image.percentiles(found.truth)
        images = [plots.Image(title, value="rad", size=SIZE + 60) for title in ("Reconstruction", "Truth")]
        images[1].figure.x_range, images[1].figure.y_range = images[0].figure.x_range, images[0].figure.y_range
        for one, image in zip(images, (found.image, found.truth), strict=True):
            one.show(image, found.pixel_a, limits=limits)
        words = (
            f"<h2>Simulated reconstruction</h2><p>Score {found.score:.3f} after {found.sweeps} sweeps.</p>"
            f'<p class="quiet">A quick one, with exactly these settings, beside the truth: of {QUICK_FIELD_A:g} Å at '
            f"most, with half the scan's margin and {QUICK_SWEEPS} sweeps at most. The plan's own trials may score a "
            f"little more. It took {found.seconds:.0f} s.</p>"
        )
        self.picture[:] = [*(one.pane for one in images), shell.html(words, width=320, sizing_mode=None)]


def summary(answer: Answer) -> str:
    """The numbers that matter, as tiles."""
    operation, knobs = answer.operation, answer.knobs
    tiles = (
        ("Dose", f"{number(knobs.dose_e_per_a2)} e/Å²"),
        ("Electrons per pattern", number(operation.electrons)),
        ("Dwell time", f"{number(knobs.dwell_us)} µs"),
        ("Linear overlap", f"{answer.overlap:.0%}"),
        ("Depth of field", f"{number(answer.depth_of_field_a / 10)} nm"),
        ("Scan on the day", f"{operation.shape[0]} × {operation.shape[1]}"),
        ("Scan time", _time(operation.scan_time_s)),
        ("Card", answer.card.status),
    )
    cells = []
    for name, value in tiles:
        colour = {"green": GREEN, "amber": "#B07400", "red": VERMILLION}.get(value, "#1c2733")
        cells.append(
            '<div style="background:#fff;border:1px solid #e1e6ea;border-radius:6px;padding:6px 12px;min-width:92px">'
            f'<div class="quiet">{escape(name)}</div><div style="font-size:16px;font-weight:600;color:{colour}">'
            f"{escape(value)}</div></div>"
        )
    return f'<div style="display:flex;flex-wrap:wrap;gap:8px;margin-top:8px">{"".join(cells)}</div>'


def card_table(card: Card) -> str:
    """The card's rows, with colours and marks that say the same without."""
    order = {"red": 0, "amber": 1, "green": 2, "information": 3}
    lines = []
    for row in sorted(card.rows, key=lambda row: order[row.status]):
        mark = shell.state_words(row.status, MARKS[row.status])
        why = escape(f"{row.formula}; {row.source}", quote=True)
        lines.append(
            f"<tr><td>{mark}</td><td title='{why}'>{escape(row.name)}</td>"
            f"<td class=number>{escape(row.value_text)}</td>"
            f"<td>{escape(row.limit)}</td><td>{escape(row.change)}</td></tr>"
        )
    head = "<tr><th><th>Rule<th class=number>Value<th>Wanted<th>What to change</tr>"
    return f"<table style='font-size:13px'><thead>{head}</thead><tbody>{''.join(lines)}</tbody></table>"


def _time(seconds: float | None) -> str:
    return f"{number(seconds, 2)} s" if seconds is not None and seconds < 10 else shell.duration(seconds)
