"""The same reconstruction by pty-chi (`ptychi` on PyPI, Advanced Photon Source), on PyTorch: seconds of a sweep.

It starts from this package's probe, positions and canvas. Only times are compared: what a sweep brings is another
question, and for that `benchmarks.quality` has phaser.
"""

from __future__ import annotations

import logging
import time

import numpy as np

from benchmarks.data import PIXEL_A, Case
from benchmarks.ours import Run, plan_of
from ptydesign.errors import InputError
from ptydesign.reconstruct.start import start_state

ANGSTROM_M = 1e-10

WARM = 1  # sweeps before those that count


def run(case: Case, engine: str, group: int, modes: int = 1, sweeps: int = 4) -> Run:
    """Reconstruct with pty-chi's LSQML. Raises InputError for another engine: others of the same name do other work."""
    if engine != "lsqml":
        raise InputError("engine", "must be lsqml beside pty-chi", engine, "Leave it out.")
    import ptychi.api as api
    import torch
    from ptychi.api.task import PtychographyTask

    logging.disable(logging.WARNING)
    there = torch.cuda.is_available()
    start = start_state(case.dataset, plan_of(case, "gradient", group, modes))
    options = api.LSQMLOptions()
    options.data_options.wavelength_m = float(start.wavelength_a) * ANGSTROM_M
    options.data_options.fft_shift = False
    options.data_options.save_data_on_device = there
    options.object_options.pixel_size_m = PIXEL_A * ANGSTROM_M
    if case.slices > 1:
        options.object_options.slice_spacings_m = np.full(case.slices - 1, case.slice_thickness_a * ANGSTROM_M)
    options.reconstructor_options.batch_size = group
    options.reconstructor_options.num_epochs = sweeps
    options.reconstructor_options.batching_mode = api.BatchingModes.UNIFORM
    options.reconstructor_options.default_device = api.Devices.GPU if there else api.Devices.CPU
    options.reconstructor_options.displayed_loss_function = None
    positions = np.asarray(start.positions_px) - np.asarray(start.object.shape[-2:]) / 2
    task = PtychographyTask(
        options,
        diffraction_data=np.asarray(case.dataset.patterns, np.float32),
        object_data=np.asarray(start.object, np.complex64),
        probe_data=np.asarray(start.probe, np.complex64)[None],
        probe_position_x_px=positions[:, 1].astype(np.float32),
        probe_position_y_px=positions[:, 0].astype(np.float32),
    )
    seconds, busy = [], []
    for _ in range(WARM + sweeps):
        begin, before = time.perf_counter(), time.process_time()
        task.run(1)
        if there:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - begin)
        busy.append(time.process_time() - before)
    return Run(np.asarray(seconds[WARM - 1 :]), np.asarray(busy[WARM - 1 :]), [], np.asarray(start.origin_a))
