"""A checked study of a thick sample: sizes of everything, before anything is computed;."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ptydesign.grids import Grid
from ptydesign.simulate.crystal import read_structure
from ptydesign.simulate.dataset import content_of
from ptydesign.simulate.defects import Placed, Vacancy
from ptydesign.simulate.potential import file_digest
from ptydesign.simulate.thick import Shape, place_defects, slice_thicknesses
from ptydesign.simulate.window import Window
from ptydesign.study.checked import Checked, check_results
from ptydesign.study.file import folder_name, in_file, load_study
from ptydesign.study.store import seed_of
from ptydesign.study.versions import ALGORITHMS, versions
from ptydesign.thick import data
from ptydesign.thick.config import BASE, ThickStudy, check_files
from ptydesign.thick.experiment import fitted_experiment, potential_grid, scan_centre, window_of
from ptydesign.types import Experiment


@dataclass(frozen=True)
class ThickResolved(Checked):
    """A checked study, ready to run. shape: of the supercell; grid: of its potential; file_sha256: of the structure
    file's content. placed: its defects, in the study file's order. experiments, windows: by the names of the study's
    experiments."""

    study: ThickStudy
    shape: Shape
    grid: Grid
    file_sha256: str
    placed: tuple[Placed, ...]
    experiments: dict[str, Experiment]
    windows: dict[str, Window]

    @cached_property
    def content(self) -> dict[str, Any]:
        """The study's settings, JSON-able; the structure file by its content, wherever it lies. Not to be changed."""
        content = self.study.model_dump(mode="json")
        sample = {n: v for n, v in content["sample"].items() if n != "file"}
        name = self.study.sample.file.name
        return {**content, "sample": {"file": name, "file_sha256": self.file_sha256, **sample}}

    @property
    def centre_a(self) -> tuple[float, float]:
        """(y, x) of the scan's centre."""
        return scan_centre(self.grid)

    @cached_property
    def slices_a(self):
        """(slices,) thickness of the simulation's slices."""
        return slice_thicknesses(self.shape, self.study.potential.slice_a)

    def data_of(self, name: str) -> str:
        """The experiment whose simulated mean patterns another one uses: the first that differs in the dose only."""
        return next(other for other in self.experiments if self.simulated(other) == self.simulated(name))

    def simulated(self, name: str) -> dict[str, Any]:
        """All of an experiment that its mean patterns depend on, JSON-able: not the dose, nor the background."""
        content = content_of(self.experiments[name])
        del content["dose_e_per_a2"], content["detector"]["background_e_per_px"]
        return content

    @property
    def data_names(self) -> list[str]:
        """The experiments that are simulated."""
        return [name for name in self.experiments if self.data_of(name) == name]

    def chunks(self, name: str) -> int:
        """Chunks of an experiment's data."""
        return data.chunk_count(self.experiments[name], self.study.jobs.patterns)

    def chunk_files(self, name: str) -> list[str]:
        """Files of an experiment's data, relative to the results folder."""
        return [f"data/{self.data_of(name)}/chunk-{number}.h5" for number in range(self.chunks(name))]

    def part(self, name: str, chunk: int) -> slice:
        """Positions of a chunk."""
        size = self.study.jobs.patterns
        return slice(chunk * size, min((chunk + 1) * size, data.pattern_count(self.experiments[name])))

    def positions_seed(self, name: str) -> int:
        """Seed of the scan's errors."""
        return seed_of(self.study.seed, "positions", self.simulated(name))

    def noise_seed(self, name: str) -> int:
        """Seed of the counting noise, keyed by content."""
        return seed_of(self.study.seed, "noise", content_of(self.experiments[name]))

    def specimen_settings(self) -> dict[str, Any]:
        """What the specimen and its potential depend on."""
        names = ("sample", "potential", "seed")
        settings = {name: self.content[name] for name in names}
        field_a = list(self.study.experiment.field_of_view_a)
        return {**settings, "field_of_view_a": field_a, **versions("simulate"), "thick": ALGORITHMS["thick"]}

    def data_settings(self, name: str) -> dict[str, Any]:
        """What an experiment's chunks depend on."""
        more = {"simulator": self.study.simulator, "chunk": self.study.jobs.patterns}
        return {**self.specimen_settings(), "experiment": self.simulated(name), **more}


def resolve(model: type[ThickStudy], folder: Path, scale: str, root: Path) -> ThickResolved:
    """The study of a folder, checked as far as all kinds of thick samples go. Raises InputError; about a second."""
    folder = Path(folder)
    study = load_study(folder, scale, model)
    with in_file(folder / "study.yaml"):
        study, shape = check_files(study, folder)
        grid = potential_grid(shape, study.potential.pixel_a)
        _check_thermal(study)
        field_a = study.experiment.field_of_view_a
        _, _, placed = place_defects(study.sample, study.potential.slice_a, scan_centre(grid), field_a, study.seed)
        experiments, windows = {}, {}
        for name in study.names:
            point = study.point_of(name)
            where = "experiment" if name == BASE else f"variants.{name}"
            experiments[name] = fitted_experiment(study.experiment_of(name), grid, where, point)
            windows[name] = window_of(experiments[name], grid, shape, where, point)
    results = Path(root) / folder_name(study.study, scale)
    check_results(results, study.study)
    return ThickResolved(study, results, shape, grid, file_digest(study.sample.file), placed, experiments, windows)


def _check_thermal(study: ThickStudy) -> None:
    """Raise InputError unless every element of the sample has its displacement."""
    if study.potential.thermal is None:
        return
    sample = study.sample
    added = {defect.element for defect in sample.defects if not isinstance(defect, Vacancy)}
    film = {sample.film.element} if sample.film else set()
    study.potential.thermal.of({*read_structure(sample.file).get_chemical_symbols(), *added, *film})


def made(resolved: ThickResolved) -> dict[str, Any]:
    """What resolved.yaml says beside the settings: sizes of everything, seeds of the noise."""
    return {
        "supercell_a": [float(v) for v in (*resolved.shape.extent_a, resolved.shape.thickness_a)],
        "crystal_faces_a": [float(v) for v in resolved.shape.faces_a],
        "potential_shape": [len(resolved.slices_a), *resolved.grid.shape],
        "potential_pixel_a": list(resolved.grid.pixel_a),
        "pixel_a": {name: list(e.detector.pixel_a) for name, e in resolved.experiments.items()},
        "window_px": {name: list(w.grid.shape) for name, w in resolved.windows.items()},
        "noise_seeds": {name: resolved.noise_seed(name) for name in resolved.experiments},
        "patterns": {n: data.pattern_count(resolved.experiments[n]) for n in resolved.data_names},
    }
