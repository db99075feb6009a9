"""Types of the core: every argument has one, and arrays have the shapes and kinds that signatures say.

The second is checked in a process of its own, in which jaxtyping's import hook gives every function of the core to
beartype: it runs each engine on a small problem, scores, and limits.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CORE = ("ptydesign.reconstruct", "ptydesign.waves", "ptydesign.score", "ptydesign.design.limits")


@pytest.mark.parametrize("path", sorted((ROOT / "ptydesign/reconstruct").rglob("*.py")), ids=lambda path: path.stem)
def test_no_argument_is_untyped(path):
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef):
            a = node.args
            arguments = [*a.posonlyargs, *a.args, *a.kwonlyargs, *(x for x in (a.vararg, a.kwarg) if x)]
            untyped = [x.arg for x in arguments if x.annotation is None and x.arg not in ("self", "cls")]
            if node.returns is None and node.name != "__init__":
                untyped.append("what it returns")
            found += [f"{node.name} (line {node.lineno}): {name}" for name in untyped]
    assert not found


def test_arrays_have_the_shapes_that_signatures_say():
    done = subprocess.run([sys.executable, __file__], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


# --- in the process of its own ----------------------------------------------------------------------------------------

REFINED = {
    "refine_positions": True,
    "positions_start": 0,
    "position_error_a": 0.1,
    "search_every": 1,
    "refine_intensity": True,
    "intensity_start": 0,
}
TILTED = {"refine_tilt": True, "refine_thickness": "each", "propagation_start": 0}
SUPPORT = {"kind": "probe_support", "radius_a": 3.0}
# engine's settings, slices, modes by which the probe varies
CASES = [
    ({"engine": "gradient", **REFINED, "constraints": "all", "costs": "all"}, 1, 0),
    ({"engine": "gradient", "rule": "lbfgs", "costs": [{"kind": "object_tv", "weight": 1e-4}]}, 2, 0),
    ({"engine": "gradient", "rule": "polyak", "noise": "gaussian"}, 1, 2),
    ({"engine": "lsqml", **REFINED, **TILTED, "acceleration": 0.5, "noise": "poisson"}, 3, 1),
    (
        {"engine": "lsqml", "batches": "compact", "step_positions": 2, "resample": {"pixels": [18, 20], "modes": 3}},
        1,
        0,
    ),
    ({"engine": "epie", **REFINED, "noise": "anscombe"}, 1, 1),
    ({"engine": "rpie", "object_modes": "first"}, 2, 0),
    ({"engine": "difference_map", **REFINED}, 1, 0),
    ({"engine": "raar", "object_modes": "first", "constraints": [SUPPORT]}, 1, 0),
]


def engines() -> set[str]:
    """Reconstruct with every engine, with one of them in chunks; which engines they were."""
    import toy

    from ptydesign.config import build
    from ptydesign.reconstruct.costs import COSTS
    from ptydesign.reconstruct.misfit import misfit
    from ptydesign.reconstruct.plan import Plan
    from ptydesign.reconstruct.predict import heldout_misfit
    from ptydesign.reconstruct.run import reconstruct

    gentle = {
        "deramp": {},
        "layer_blur": {"sigma_a": 5.0},
        "object_amplitude": {},
        "object_lowpass": {"qmax": 1.0},
        "orthogonal_modes": {},
        "positivity": {},
        "probe_aperture": {"semiangle_mrad": 30.0},
        "probe_support": {"radius_a": 3.0},
    }
    every = {
        "constraints": [{"kind": kind, "every": "group", **values} for kind, values in gentle.items()],
        "costs": [{"kind": kind, "weight": 1e-6} for kind in COSTS],
    }
    for number, (settings, slices, varying) in enumerate(CASES):
        dataset, _ = toy.experiment(shape=(14, 16), steps=(4, 5), step_a=0.9, slices=slices)
        settings = {name: every[name] if value == "all" else value for name, value in settings.items()}
        start = {"slices": slices, "slice_thickness_a": 40.0 if slices > 1 else 0.0}
        content = {
            "object": start,
            "probe": {"mode_powers": [0.2], "opr_modes": varying, "window": 2 - number % 2},
            "engines": [{"group": 5, "sweeps": 3, "probe_start": 0, "opr_start": 0, **settings}],
        }
        plan = build(Plan, content, "plan")
        chunks = settings["engine"] == "epie"
        state, _, outcome = reconstruct(dataset, plan, chunk_gib=20 * 14 * 16 * 4 / 2**30 if chunks else None)
        assert outcome.status == "all_sweeps_done", outcome.reason
        if chunks or settings["engine"] == "rpie":
            heldout_misfit(state, dataset.positions_a, dataset)
            misfit(state, dataset, "poisson", 1e-3)
    return {settings["engine"] for settings, *_ in CASES}


def scores() -> None:
    """Every score, of the truth with noise."""
    import numpy as np
    import toy

    from ptydesign.score import depth, dumbbells
    from ptydesign.score.compare import ScoreConfig, compare, scanned_region
    from ptydesign.score.halves import compare_halves
    from ptydesign.score.slices import depth_bins, slice_error
    from ptydesign.types import ReconState, Truth

    rng = np.random.default_rng(0)
    pixel, slices = (0.2, 0.21), np.full(3, 20.0)
    phase = np.stack([toy.smooth_phase((90, 100), 0.2, rng) for _ in range(3)])
    truth = Truth(phase.astype(np.float32), pixel, np.zeros((1, 2)), slices)
    region = scanned_region(np.array([[3.0, 3.0], [15.0, 18.0]]))
    config = ScoreConfig(ssim_widths_px=(0.5,), frc_qmax=0.8)
    score = compare(np.exp(1j * phase), pixel, (0.0, 0.0), truth, region, config).score
    slice_error(phase, slices, pixel, (0.0, 0.0), truth, depth_bins(truth, 4), region, score.shift_a)
    states = [
        ReconState(
            object=np.exp(1j * (phase + rng.normal(0, 0.1, phase.shape))),
            probe=np.ones((1, 16, 16), complex),
            positions_px=np.array([[20.0, 20.0], [75.0, 80.0]]),
            intensity=np.ones(2),
            tilt_rad=np.zeros(2),
            thickness_a=slices,
            pixel_a=np.asarray(pixel),
            origin_a=np.zeros(2),
            wavelength_a=np.asarray(0.04),
        )
        for _ in range(2)
    ]
    compare_halves(*states)
    depth.disc_means(phase, np.array([[20.0, 30.0]]), (2.0, 2.0))
    below_a = np.arange(12) * 10.0
    assert depth.fit_peak(below_a, np.exp(-0.5 * ((below_a - 44) / 15) ** 2)) is not None
    columns = np.array([[3.0, 2.5], [3.0, 3.6]])
    y, x = np.meshgrid(np.arange(60) * 0.1, np.arange(60) * 0.1, indexing="ij")
    image = sum(np.exp(-((y - a) ** 2 + (x - b) ** 2) / 0.1) for a, b in columns)
    for one, other in dumbbells.pairs(columns, 2.0):
        assert dumbbells.measure_pair(image, (0.1, 0.1), (0.0, 0.0), columns[one], columns[other]) is not None


def limits() -> None:
    """A bound with an unknown probe, and the information with a known one."""
    import jax.numpy as jnp
    import numpy as np

    from ptydesign import waves
    from ptydesign.design import limits
    from ptydesign.grids import Grid

    grid, rng = Grid((12, 14), (0.4, 0.4)), np.random.default_rng(0)
    spectrum = waves.probe_spectrum(grid, 0.0418, 0.025, defocus_a=100.0)
    steps = np.asarray(waves.propagator(grid.frequencies(), 0.0418, 30.0))[None]
    support = (np.abs(spectrum) > 0).astype(float)
    imaging = limits.make_imaging(grid, rng.uniform(0, 20, (6, 2)), 500.0, support, 0.01, steps, 0.7)
    phase = rng.normal(0, 0.1, (2, 20, 24))
    unknowns = limits.Unknowns(jnp.asarray(phase, jnp.float32), limits.probe_unknowns(spectrum))
    limits.expected_counts(unknowns, imaging.positions_px[0], imaging.electrons[0], imaging)
    mode = limits.windowed_mode(phase, np.ones((20, 24)), (0.1, 0.05), 0.3, probe_known=False)[None]
    limits.least_variance(unknowns, imaging, mode, probe_known=False, iterations=2)
    limits.information(unknowns, imaging, jnp.asarray(mode, jnp.float32))


def main() -> None:
    import jax
    from jaxtyping import TypeCheckError, install_import_hook

    sys.path[:0] = [str(ROOT / "tests/support"), str(ROOT)]
    jax.config.update("jax_disable_most_optimizations", True)
    with install_import_hook(CORE, "checker.checked"):
        import ptydesign.design.limits
        import ptydesign.reconstruct.predict
        import ptydesign.score.compare
        import ptydesign.score.depth
        import ptydesign.score.dumbbells
        import ptydesign.score.halves
        import ptydesign.score.slices  # noqa: F401
    import jax.numpy as jnp

    from ptydesign import waves
    from ptydesign.reconstruct.engines import ENGINES

    for wrong in (jnp.zeros(4, jnp.complex64), jnp.zeros((4, 4), jnp.int32)):
        with pytest.raises(TypeCheckError):
            waves.fft2(wrong)
    assert engines() == set(ENGINES)
    scores()
    limits()


if __name__ == "__main__":
    main()
