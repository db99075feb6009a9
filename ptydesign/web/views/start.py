"""Start a study, a plan or a reconstruction."""

from __future__ import annotations

import re
from typing import Any

import panel as pn

from ptydesign.errors import InputError
from ptydesign.functions import ALLOW
from ptydesign.study.file import SCALES
from ptydesign.web import jobs
from ptydesign.web.site import Site
from ptydesign.web.views import shell

EVERY_MS = 1000
SCALE_WORDS = {"smoke": "smoke: every step once, in minutes", "preview": "preview", "paper": "paper: hours or days"}
PLAN = """# docs/reconstruction-keys.md has every key
probe: {mode_powers: []}
engines:
  - {engine: lsqml, sweeps: 100, group: 64, noise: poisson}
"""
STARTED = "Started. The list of runs shows it in some seconds."
CALIBRATION = """# the keys of docs/calibration-keys.md; as
# voltage_kv: 80
# semiangle_mrad: 21.4
# step_a: 0.6
"""


def view(site: Site) -> pn.Template:
    """The page."""
    if not site.may_act:
        words = shell.note("This page only looks. Runs are started from the command line.")
        return shell.page("Start", "/start", str(site.folder.path), shell.html(words))
    study, reconstruction = StudyForm(site, shell.query("study")), ReconstructionForm(site)
    for form in (study, reconstruction):
        pn.state.add_periodic_callback(form.update, EVERY_MS)
    row = shell.wrapping(study.layout, reconstruction.layout)
    return shell.page("Start", "/start", str(site.folder.path), row)


class Form:
    """Fields with what is wrong beside each, and a button."""

    def __init__(self, site: Site):
        self.site = site
        self.says = shell.html()
        self.wrong: dict[str, pn.pane.HTML] = {}
        self.started: jobs.Started | None = None

    def field(self, name: str, widget: Any) -> pn.Column:
        """A field, and under it what is wrong with it."""
        self.wrong[name] = shell.html(margin=(0, 10))
        return pn.Column(widget, self.wrong[name], margin=0)

    def submit(self, do: Any, good: str) -> None:
        """Do it, or say beside the field what is wrong."""
        for pane in (*self.wrong.values(), self.says):
            pane.object = ""
        try:
            found = do()
        except InputError as error:
            first = next(iter(self.wrong))  # a file: what is wrong in it is beside its name
            place = next((n for n in self.wrong if re.match(rf"{n}($|[.:,])", error.field)), first)
            self.wrong[place].object = shell.error("\n".join(map(_on_a_page, str(error).splitlines())))
            return
        except OSError as error:
            self.says.object = shell.error(str(error))
            return
        if isinstance(found, jobs.Started):
            self.started = found
        self.says.object = shell.note(found if isinstance(found, str) else good)

    def update(self) -> None:
        """Say if what was started ended badly."""
        if self.started is not None:
            words = self.started.failed()
            if words:
                self.says.object = shell.error(f"It ended: {words}")
                self.started = None


def _on_a_page(words: str) -> str:
    """A line of an error whose mend is an option of the command line, as what to do here."""
    before, found, _ = words.partition(", say --allow-code")
    return (
        f"{before}, serve the page as `{ALLOW}=FOLDER ptydesign serve`: code of that folder may run."
        if found
        else words
    )


class StudyForm(Form):
    """A study or a plan of the folder."""

    def __init__(self, site: Site, chosen: str):
        super().__init__(site)
        names = site.runs.studies()
        names += [name for name in site.runs.plans() if name not in names]
        if chosen and chosen not in names:  # as a study outside of studies/: why it can't start is said beside it
            names.insert(0, chosen)
        self.study = pn.widgets.Select(name="Study in studies/, or a plan's file", options=names, width=430,
                                       value=chosen if chosen in names else (names[0] if names else None))  # fmt: skip
        self.scale = pn.widgets.Select(
            name="Scale", options={SCALE_WORDS[s]: s for s in SCALES}, value="smoke", width=430
        )
        self.cores = pn.widgets.IntInput(name="Jobs at a time (0: all cores)", value=0, start=0, end=4096, width=200)
        self.executor = pn.widgets.TextInput(name="Executor (empty: here)", placeholder="slurm", width=200)
        check = pn.widgets.Button(name="Check", button_type="light", width=110)
        start = pn.widgets.Button(name="Start", button_type="primary", width=110)
        check.on_click(lambda _: self.submit(self._check, ""))
        start.on_click(lambda _: self.submit(self._start, STARTED))
        if not names:
            words = (
                "No study in studies/ and no plan in this folder. `ptydesign init` writes a plan; so does the explorer."
            )
            self.says.object = shell.note(words)
        self.layout = pn.Column(
            shell.html("<h1>A study or a plan</h1>"),
            self.field("study", self.study),
            self.field("scale", self.scale),
            pn.Row(self.field("cores", self.cores), self.field("executor", self.executor), margin=0),
            pn.Row(check, start),
            self.says,
            width=500,
            margin=(0, 30, 0, 0),
        )

    def _path(self) -> Any:
        return self.site.folder.find(self.study.value or "")

    def _check(self) -> str:
        from ptydesign import kinds
        from ptydesign.study.cost import words

        path = self._path()
        run = kinds.open_any(path, self.scale.value, jobs.results_of(path, self.scale.value).parent)
        warnings = "".join(f"\nWarning: {warning}." for warning in run.resolved.warnings)
        return words(run, self.cores.value or jobs.os.cpu_count() or 1) + warnings

    def _start(self) -> jobs.Started:
        path = self._path()
        start = jobs.start_study if path.is_dir() else jobs.start_plan
        return start(self.site.folder, path, self.scale.value, self.cores.value or None, self.executor.value.strip())


class ReconstructionForm(Form):
    """A dataset, or an instrument's file, and a plan."""

    def __init__(self, site: Site):
        super().__init__(site)
        names = site.runs.datasets() + site.runs.instrument_files()
        self.data = pn.widgets.Select(name="Dataset, or an instrument's file", options=names, width=430)
        self.plan = pn.widgets.CodeEditor(
            value=PLAN, language="yaml", theme="chrome", height=190, width=520, print_margin=False
        )
        self.calibration = pn.widgets.CodeEditor(
            value=CALIBRATION, language="yaml", theme="chrome", height=110, width=520, print_margin=False
        )
        self.output = pn.widgets.TextInput(name="File to write", placeholder="result.h5", width=250)
        self.seed = pn.widgets.IntInput(name="Seed", value=0, start=0, end=2**31 - 1, width=120)
        self.data.param.watch(lambda _: self._show(), "value")
        check = pn.widgets.Button(name="Check", button_type="light", width=110)
        start = pn.widgets.Button(name="Start", button_type="primary", width=110)
        check.on_click(lambda _: self.submit(self._check, "The plan is good."))
        start.on_click(lambda _: self.submit(self._start, STARTED))
        if not names:
            self.says.object = shell.note(
                "No dataset in this folder. `ptydesign import` makes one of an instrument's file."
            )
        self.calibrated = pn.Column(
            shell.html("<p class=quiet>Calibration of this file</p>"),
            self.field("calibration", self.calibration),
            margin=0,
        )
        self.layout = pn.Column(
            shell.html("<h1>A reconstruction</h1>"),
            self.field("data", self.data),
            self.calibrated,
            shell.html("<p class=quiet>Plan</p>"),
            self.field("plan", self.plan),
            pn.Row(self.field("output", self.output), self.field("seed", self.seed), margin=0),
            pn.Row(check, start),
            self.says,
            width=560,
        )
        self._show()

    def _show(self) -> None:
        self.calibrated.visible = bool(self.data.value) and self.data.value in self.site.runs.instrument_files()

    def _check(self) -> None:
        jobs.check_plan(self.site.folder, self.plan.value)
        jobs.check_output(self.site.folder, self.output.value.strip())
        if self.calibrated.visible:
            jobs.check_calibration(self.calibration.value)

    def _start(self) -> jobs.Started:
        calibration = self.calibration.value if self.calibrated.visible else ""
        return jobs.start_reconstruction(
            self.site.folder,
            self.data.value or "",
            self.plan.value,
            self.output.value.strip(),
            self.seed.value,
            calibration,
        )
