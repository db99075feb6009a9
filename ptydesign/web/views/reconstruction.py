"""A reconstruction, live or finished: phase, probe, positions, loss, spectrum, log; several runs side by side."""

from __future__ import annotations

import io as text_io
from html import escape
from typing import Any

import numpy as np
import panel as pn
from bokeh.models import ColumnDataSource

from ptydesign.drawing import BLUE, GREY, VERMILLION
from ptydesign.errors import InputError
from ptydesign.session import RUNNING
from ptydesign.study.quantities import fixed
from ptydesign.units import NM
from ptydesign.web import jobs
from ptydesign.web.iterations import Iteration, Reconstruction, fit_aberrations
from ptydesign.web.runs import RECONSTRUCTION, UNREADABLE, Run
from ptydesign.web.site import Site
from ptydesign.web.views import plots, shell
from ptydesign.web.views.runs import card

EVERY_MS = 1500
MOST_BESIDE = 4
LARGE, SMALL = 365, 172
ALL = "all together"
WORDS = {  # of each aberration: what it is called, and its decimals
    "defocus_nm": ("Defocus (nm)", 2),
    "astigmatism_nm": ("Astigmatism (nm)", 2),
    "astigmatism_deg": ("its angle (°)", 0),
    "coma_um": ("Coma (µm)", 3),
    "coma_deg": ("its angle (°)", 0),
    "cs_mm": ("Cs (mm)", 4),
}


def view(site: Site) -> pn.Template:
    """The page of the run that the address names."""
    name = shell.query("run")
    try:
        content = View(site, site.reconstruction(name), name)
    except InputError as error:
        return shell.page("Reconstruction", "/", str(site.folder.path), shell.html(shell.error(str(error))))
    pn.state.add_periodic_callback(content.update, EVERY_MS)
    return shell.page(name, "/", str(site.folder.path), content.layout)


class View:
    """The view of one reconstruction; also a widget of a notebook, then without `site`."""

    def __init__(self, site: Site | None, run: Reconstruction, name: str):
        self.site, self.run, self.name = site, run, name
        self._shown: tuple = ()
        self.started: jobs.Started | None = None
        self._slices = 0
        self.head, self.says, self.log = (shell.html() for _ in range(3))
        self.fitted = shell.html(width=236, sizing_mode=None)
        self.act = pn.widgets.Button(name="Stop", width=90, button_type="light", margin=(22, 6))
        self.act.on_click(self._act)
        self.player = pn.widgets.DiscretePlayer(
            options=run.sweeps or [0], value=(run.sweeps or [0])[-1], interval=500, width=290, name="Sweep",
            show_value=False, show_loop_controls=False,
            visible_buttons=["first", "previous", "play", "pause", "next", "last"],
        )  # fmt: skip
        self.follow = pn.widgets.Checkbox(name="show the newest", value=True, margin=(28, 5))
        self.slice = pn.widgets.Select(name="Slice", options=[ALL], width=110)
        self.range = pn.widgets.RangeSlider(
            name="Colour range (%)", start=0, end=100, value=(0.1, 99.9), step=0.1, width=200, format="0.0"
        )
        self.gamma = pn.widgets.FloatSlider(name="Gamma", start=0.2, end=3, step=0.05, value=1, width=110)
        self.mode = pn.widgets.Select(name="Probe mode", options=[1], width=100)
        self.focus = pn.widgets.FloatSlider(name="Through focus (nm)", start=-50, end=50, step=0.5, value=0, width=160)
        self.phase = plots.Image("Phase", value="rad", size=LARGE)
        self.power = plots.Image("Power spectrum, log₁₀", unit="1/Å", colours="magma", size=SMALL)
        self.probe = plots.Image("Probe mode", colours="magma", size=SMALL, bar=False)
        self.beyond = plots.Image("The same, 0 nm on", colours="magma", size=SMALL, bar=False,
                                  ranges=(self.probe.figure.x_range, self.probe.figure.y_range))  # fmt: skip
        self.loss_source = ColumnDataSource({"sweep": [], "loss": []})
        self.positions_source = ColumnDataSource({"x": [], "y": [], "x0": [], "y0": []})
        self.loss, self.positions = self._loss_plot(), self._positions_plot()
        others = self._others()
        self.beside = pn.widgets.MultiChoice(
            name="Beside it",
            options=others,
            max_items=MOST_BESIDE,
            width=380,
            placeholder="choose other reconstructions",
        )
        self.compared = pn.Row(margin=0, styles={"flex-wrap": "wrap", "min-width": "0"})
        self.images: dict[str, plots.Image] = {}
        save = pn.widgets.FileDownload(
            callback=self._tiff, filename="phase.tif", label="Save TIFF", button_type="light", width=90, margin=(22, 6)
        )
        for one in (self.player, self.slice, self.range, self.gamma, self.mode, self.focus):
            one.param.watch(lambda _: self.show(), "value")
        self.player.param.watch(self._stepped, "value")
        self.beside.param.watch(lambda _: self._compare(), "value")
        small = shell.wrapping(
            self.power.pane, self.probe.pane, self.beyond.pane,
            pn.pane.Bokeh(self.loss, width=290, height=265, margin=(4, 8, 4, 0)),
            pn.pane.Bokeh(self.positions, width=260, height=265, margin=(4, 8, 4, 0)),
            self.fitted, flex=f"1 1 {2 * (SMALL + 100)}px",
        )  # fmt: skip
        self.layout = pn.Column(
            pn.Row(self.head, self.act, sizing_mode="stretch_width"),
            shell.wrapping(self.player, self.follow, self.slice, self.range, self.gamma, self.mode, self.focus, save),
            self.says,
            *((self.beside,) if site is not None else ()),
            shell.wrapping(self.phase.pane, self.compared, small),
            self.log,
            sizing_mode="stretch_width",
        )  # fmt: skip
        self.update()

    # --- what is new

    def update(self) -> None:
        """Show what is new."""
        try:
            self.run.update()
        except InputError as error:
            self.says.object = shell.error(str(error))
            return
        self._update_head()
        sweeps = self.run.sweeps
        if sweeps and list(self.player.options) != sweeps:
            at = self.player.value
            self._programmed = True
            value = sweeps[-1] if self.follow.value or at not in sweeps else at
            self.player.param.update(options=list(sweeps), value=value)
            self._programmed = False
        if len(self.run.losses) != len(self.loss_source.data["sweep"]):
            self.loss_source.data = {"sweep": [s for s, _ in self.run.losses], "loss": [v for _, v in self.run.losses]}
        self.show()

    def _update_head(self) -> None:
        found = self.site.find(self.name) if self.site is not None else None
        if found is None:
            self.act.visible = False
            reason = str(self.run.about.get("reason") or "")
            self.head.object = f"<h2>{escape(self.name)}</h2><p class=quiet>{escape(reason)}</p>"
            return
        cost = self.run.about.get("cost_s")
        seconds = self.run.about.get("seconds")
        told = f" Being watched cost it {cost:.2g} s." if isinstance(cost, int | float) and not seconds else ""
        text = (
            f"<h1>{escape(found.title)}</h1>{card(found, titled=False)}<p class=quiet>{escape(found.reason)}{told}</p>"
        )
        if self.head.object != text:
            self.head.object = text
        running = found.state == RUNNING
        stopping = running and self.run.session.asked_to_stop
        going = self.started is not None and self.started.process.poll() is None and not running
        name = "Stopping" if stopping else "Going on" if going else "Stop" if running else "Go on"
        if self.act.name != name:
            self.act.name = name
        self.act.disabled = going or stopping
        ended = self.started.failed() if self.started is not None else ""
        if ended:
            self.says.object = shell.error(f"It did not go on: {ended}")
        self.act.visible = (
            self.site.may_act and self.run.live and found.state in (RUNNING, "stopped", "silent", "failed")
        )
        log = self.run.log()
        if log:
            self.log.object = f"<h2>Log</h2><pre>{escape(log)}</pre>"

    _programmed = False

    def _stepped(self, event: Any) -> None:
        """Somebody looks at an earlier iteration: stay there."""
        if not self._programmed and self.run.sweeps and event.new != self.run.sweeps[-1]:
            self.follow.value = False

    def _act(self, _: Any) -> None:
        try:
            if self.act.name == "Stop":
                jobs.stop(self.run.path)
            else:
                self.started = jobs.go_on(self.site.folder, self.run.path)
            self._update_head()
        except InputError as error:
            self.says.object = shell.error(str(error))

    # --- pictures

    def show(self) -> None:
        """Show the chosen iteration."""
        if not self.run.sweeps:
            self.says.object = shell.note("No iteration yet: the first sweep compiles.")
            return
        chosen = (
            self.player.value,
            self.slice.value,
            self.range.value,
            self.gamma.value,
            self.mode.value,
            self.focus.value,
        )
        if chosen == self._shown:
            return
        try:
            one = self.run.iteration(self.player.value)
        except InputError:  # thinned out meanwhile
            self._shown = ()
            return
        self._shown = chosen
        self.says.object = ""
        self.player.name = f"After sweep {one.sweep}"
        if self._slices != len(one.object):
            self._slices = len(one.object)
            self.slice.options = [ALL, *range(1, self._slices + 1)] if self._slices > 1 else [ALL]
        if len(self.mode.options) != len(one.probe):
            self.mode.options = list(range(1, len(one.probe) + 1))
        self._show_phase(self.phase, one)
        self.phase.figure.title.text = f"Phase after sweep {one.sweep}" + (
            "" if self.slice.value == ALL else f", slice {self.slice.value}")  # fmt: skip
        power, size = one.power()
        edge = tuple(-(n // 2 + 0.5) * d for n, d in zip(power.shape, size, strict=True))
        self.power.show(power, size, edge, plots.Image.percentiles(power, 1, 99.95))
        self._show_probe(one)
        self._show_positions(one)
        for name, image in self.images.items():
            self._show_other(name, image)

    def _show_phase(self, image: plots.Image, one: Iteration) -> None:
        chosen = None if self.slice.value == ALL else min(int(self.slice.value), len(one.object)) - 1
        phase = one.phase_rad(chosen)
        low, high = self.range.value
        image.show(phase, one.pixel_a, one.origin_a, plots.Image.percentiles(phase, low, high))
        image.set_gamma(self.gamma.value)

    def _show_probe(self, one: Iteration) -> None:
        mode = min(int(self.mode.value), len(one.probe)) - 1
        here = one.at_focus(mode, 0.0)
        self.probe.figure.title.text = f"Probe mode {mode + 1}: {one.mode_powers[mode]:.1%}"
        self.probe.show(here, one.probe_pixel_a, limits=(0, 1))
        self.beyond.figure.title.text = f"The same, {self.focus.value:+g} nm on"
        self.beyond.show(one.at_focus(mode, self.focus.value), one.probe_pixel_a, limits=(0, 1))
        told = self.run.told()
        try:
            fitted = fit_aberrations(one.probe[mode], one.probe_pixel_a, one.wavelength_a, told)
        except (InputError, ValueError) as error:
            self.fitted.object = f"<h2>Aberrations</h2><p class=quiet>{escape(str(error))}</p>"
            return
        lines = "".join(
            f"<tr><td>{words}</td><td class=number>{fixed(told.get(name), decimals)}</td>"
            f"<td class=number>{fixed(fitted.values[name], decimals)}</td></tr>"
            for name, (words, decimals) in WORDS.items()
        )
        self.fitted.object = (
            "<h2>Aberrations of this mode</h2><table style='font-size:13px;width:auto'>"
            f"<thead><tr><th><th class=number>told<th class=number>fitted</tr></thead>{lines}</table>"
            f"<p class=quiet>The fit leaves {fitted.residual_rad:.2g} rad rms between neighbouring frequencies.</p>"
        )

    def _show_positions(self, one: Iteration) -> None:
        nominal = self.run.nominal_a
        found = one.positions_a
        if nominal is None or len(nominal) != len(found):
            nominal = found
        change = found - nominal
        change = change - change.mean(axis=0)
        rms = float(np.sqrt(np.mean(np.sum(change**2, axis=1))))
        size = float(np.median(np.hypot(*change.T))) or 1.0
        step = float(np.sqrt(np.prod(np.ptp(nominal, axis=0) + 1e-9) / max(len(nominal), 1)))
        factor = 1.0 if rms < 1e-6 else max(1.0, float(f"{0.5 * step / size:.1g}"))
        end = nominal + factor * change
        self.positions_source.data = {"x": nominal[:, 1], "y": nominal[:, 0], "x0": end[:, 1], "y0": end[:, 0]}
        times = f", drawn {factor:g} times" if factor > 1 else ""
        self.positions.title.text = (
            f"Corrections: {rms:.2g} Å rms{times}" if rms > 1e-6 else "Positions (not corrected)"
        )

    def _loss_plot(self) -> Any:
        plot = plots.plain("Loss per count", height=265, width=290, sizing_mode="fixed", y_axis_type="log")
        plot.line("sweep", "loss", source=self.loss_source, color=BLUE, line_width=2)
        plot.xaxis.axis_label = "Sweep"
        return plot

    def _positions_plot(self) -> Any:
        plot = plots.plain("Positions", height=265, width=260, sizing_mode="fixed", match_aspect=True)
        plot.y_range.flipped = True
        plot.segment("x", "y", "x0", "y0", source=self.positions_source, color=VERMILLION)
        plot.scatter("x", "y", source=self.positions_source, size=3, color=GREY)
        plot.xaxis.axis_label, plot.yaxis.axis_label = "x (Å)", "y (Å)"
        return plot

    # --- several runs

    def _others(self) -> list[str]:
        if self.site is None:
            return []
        runs: list[Run] = self.site.runs.find()
        return [r.name for r in runs if r.sort == RECONSTRUCTION and r.state != UNREADABLE and r.name != self.name]

    def _compare(self) -> None:
        ranges = self.phase.figure.x_range, self.phase.figure.y_range
        self.images = {}
        for name in self.beside.value[:MOST_BESIDE]:
            self.images[name] = plots.Image(name, value="rad", size=LARGE, ranges=ranges)
            self._show_other(name, self.images[name])
        self.compared[:] = [image.pane for image in self.images.values()]

    def _show_other(self, name: str, image: plots.Image) -> None:
        try:
            other = self.site.reconstruction(name)
            other.update()
            if other.sweeps:
                near = min(other.sweeps, key=lambda s: abs(s - self.player.value))
                one = other.iteration(near)
                image.keep_ranges = True
                self._show_phase(image, one)
                image.figure.title.text = f"{name}, sweep {one.sweep}"
        except InputError as error:
            self.says.object = shell.error(str(error))

    # --- saving

    def _tiff(self) -> text_io.BytesIO:
        import tifffile

        one = self.run.iteration(self.player.value)
        chosen = None if self.slice.value == ALL else int(self.slice.value) - 1
        pages = [one.phase_rad(chosen)]
        per_nm = NM / np.asarray(one.pixel_a)
        buffer = text_io.BytesIO()
        tifffile.imwrite(
            buffer, np.stack(pages).astype(np.float32), imagej=True, resolution=(per_nm[1], per_nm[0]),
            metadata={"axes": "ZYX", "unit": "nm", "quantity": "phase in rad", "sweep": one.sweep, "run": self.name},
        )  # fmt: skip
        buffer.seek(0)
        return buffer
