"""A picture of a reconstruction while it runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from ptydesign import drawing
from ptydesign.errors import InputError
from ptydesign.io import atomic
from ptydesign.pictures import panels
from ptydesign.pictures.region import flattened, phase_rad, scanned_part
from ptydesign.types import ReconState
from ptydesign.waves import all_modes


class Previews:
    """An observer of `reconstruct` that draws phase, first probe mode and loss so far into one PNG, anew after every
    `every` sweeps; a viewer that reloads always finds a whole picture."""

    def __init__(self, path: Path | str, every: int = 10):
        self.path, self.every = Path(path), every
        if self.path.suffix.lower() != ".png":
            raise InputError("preview", "must end in .png", self.path.name, "Give another name.")
        if every < 1:
            raise InputError("preview_every", "must be at least 1 sweep", every, "Give a positive number.")
        self._sweeps: list[int] = []
        self._losses: list[float] = []

    def __call__(self, sweep: int, loss: float, state: ReconState) -> None:
        self._sweeps.append(sweep)
        self._losses.append(loss)
        if sweep % self.every == 0:
            with drawing.styled(), atomic(self.path) as temporary:
                self.draw(state).savefig(temporary, format="png", dpi=drawing.DPI, metadata={"Software": None})

    def draw(self, state: ReconState) -> Figure:
        """The picture of a state after the sweeps seen so far."""
        pixel = tuple(float(p) for p in np.asarray(state.pixel_a))
        rows, columns = scanned_part(np.asarray(state.positions_px), state.object.shape[-2:])
        total = np.prod(np.asarray(state.object), axis=0, keepdims=True)[:, rows, columns]
        figure = drawing.new_figure(drawing.TWO_COLUMNS_IN, 2.4)
        left, middle, right = figure.subplots(1, 3, width_ratios=(1, 1, 1.1))
        shown = panels.image_in_a(left, phase_rad(flattened(total))[0], pixel, cmap="gray")
        panels.colour_bar(figure, shown, left, "Phase (rad)")
        left.set_title("Phase of all slices" if state.object.shape[0] > 1 else "Phase")
        panels.image_in_a(middle, panels.complex_colours(all_modes(state.probe)[0]), pixel)
        middle.set_title("First probe mode")
        right.plot(self._sweeps, self._losses, color=drawing.BLUE)
        right.set(xlabel="Sweep", ylabel="Loss per count", title=f"Sweep {self._sweeps[-1]}")
        right.set_yscale("log" if np.nanmin([1.0, *self._losses]) > 0 else "linear")
        return figure
