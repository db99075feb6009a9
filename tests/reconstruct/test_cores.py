"""Several cores share a reconstruction. JAX counts its devices once: each number of cores is a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

from ptydesign.reconstruct import cores

SCRIPT = """
import sys
import numpy as np
from ptydesign.reconstruct import cores
number = cores.use_cores(int(sys.argv[1]))
import jax, toy
from ptydesign.config import build
from ptydesign.reconstruct.plan import Plan
from ptydesign.reconstruct.run import one_sweep, reconstruct
assert len(jax.devices()) == number == int(sys.argv[1])
common = {"sweeps": 2, "group": 20, "refine_positions": True, "positions_start": 1, "refine_intensity": True}
engines = [
    {"engine": "gradient", **common},
    {"engine": "epie", **common},
    {"engine": "lsqml", "refine_tilt": True, "propagation_start": 0, **common},
]
plan = {"precision": "double", "object": {"slices": 2, "slice_thickness_a": 40.0}, "probe": {"mode_powers": [0.1]}}
dataset, _ = toy.experiment(shape=(16, 20), steps=(5, 6), slices=2)
state, history, outcome = reconstruct(dataset, build(Plan, {**plan, "engines": engines}, "plan"))
assert outcome.status == "all_sweeps_done"
arrays = {name: value for name, value in vars(state).items() if isinstance(value, np.ndarray)}
np.savez(sys.argv[2], loss=history.loss, **arrays)
"""


def test_any_number_of_cores_gives_the_same(tmp_path):
    found = []
    for number in (1, 3):
        out = tmp_path / f"{number}.npz"
        subprocess.run(
            [sys.executable, "-c", SCRIPT, str(number), str(out)],
            check=True,
            cwd=Path(__file__).parents[1] / "support",
            timeout=300,
        )
        found.append(dict(np.load(out)))
    assert np.ptp(found[0]["positions_px"] - np.round(found[0]["positions_px"])) > 0
    for other in found[1:]:
        for name, value in found[0].items():
            np.testing.assert_allclose(other[name], value, rtol=1e-8, atol=1e-9, err_msg=name)


def test_patterns_are_not_copied_for_each_core():
    """What a core is given is the memory itself, at an address that XLA takes as it is."""
    for shape in ((3, 5), (7, 4, 9)):
        room = np.arange(np.prod(shape) + 1, dtype=np.float32)[1:].reshape(shape)
        placed = cores.aligned(room)
        assert placed.ctypes.data % 64 == 0
        np.testing.assert_array_equal(placed, room)
        assert cores.aligned(placed) is placed


def test_cores_are_chosen_before_jax_starts():
    import jax

    before = len(jax.devices())
    assert cores.use_cores(before + 1) == before
