"""`python -m benchmarks gpu`: how fast one accelerator is, in parts that are kept as they end.

A run that is broken off goes on where it stopped; `--again PART` measures a part anew. It needs jax, numpy, scipy,
h5py, pydantic, scikit-image and optax only: the sample's potential and the designs come from a file that `--prepare`
makes on a computer that has ASE and scikit-optimize. Writes gpu.md and one JSON file for each part.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import subprocess
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.gpu_tables import DOSE, LARGEST_GIB, markdown

os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.9")
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # other programs take theirs beside
os.environ.setdefault("XLA_FLAGS", "--xla_gpu_autotune_level=0")  # trying kernels takes longer than they do

STUDY = "studies/lowdose"
ENGINES = ("gradient", "lsqml", "epie", "rpie", "raar", "difference_map")
CASES = {(1, 1): 1024, (1, 4): 1024, (10, 1): 256}  # (slices, modes): positions, as `benchmarks.speed` has them
FIGURE4 = {(1, 1): 4096, (20, 1): 6400}  # phaser's Fig. 4
GROUPS = (16, 64, 256)
SHAPE = (128, 128)


Job = Callable[[], dict[str, Any]]


def device(size: Size) -> dict[str, Job]:
    """What computes, and its bare transforms."""

    def job() -> dict[str, Any]:
        import jax

        from benchmarks import floor

        pixels, waves = ((128, 256), (64, 256, 1024, 4096)) if size.whole else ((32,), (4,))
        times = {}
        for n in pixels:
            batches = tuple(max(1, number * 128**2 // n**2) for number in waves) if size.whole else waves
            times[f"{n} x {n}"] = floor.pair_s((n, n), 8 * max(batches), batches)
        packages = {name: version(name) for name in ("jax", "jaxlib", "numpy", "phaserEM", "ptychi")}
        return {
            "device": jax.devices()[0].device_kind,
            "platform": jax.default_backend(),
            "host_cores": os.cpu_count(),
            "versions": {name: found for name, found in packages.items() if found},
            "pair_s": times,
            "driver": smi("driver_version"),
        }

    return {"device": job}


def sweeps(size: Size) -> dict[str, Job]:
    """A sweep of each engine against its floor."""
    return {
        f"{slices} {modes} {engine}": partial(size.row, slices, modes, positions, engine, 64)
        for (slices, modes), positions in CASES.items()
        for engine in ENGINES
        if slices == 1 or engine not in ("raar", "difference_map")  # these are for one slice
    }


def together(size: Size) -> dict[str, Job]:
    """A sweep of several small reconstructions at once, as a search at preview scale has them."""
    from ptydesign.reconstruct.together import Member, reconstruct_together

    case = case_of((64, 64) if size.whole else size.shape, 300 if size.whole else 9, 1)
    plan = ours_plan(case, 128)

    def job(number: int) -> dict[str, Any]:
        members = [Member(case.dataset, plan, seed) for seed in range(number)]
        seconds = np.diff(reconstruct_together(members)[0][1].seconds)  # a member's share
        return {"together": number, "sweep_s": float(seconds[1:].min())}

    return {str(number): partial(job, number) for number in ((1, 8, 32) if size.whole else (1, 2))}


def figure4(size: Size) -> dict[str, Job]:
    """The two cases of phaser's Fig. 4 by group size."""
    return {
        f"{slices} {modes} {engine} {group}": partial(size.row, slices, modes, positions, engine, group)
        for (slices, modes), positions in FIGURE4.items()
        for engine in ("gradient", "lsqml")
        for group in GROUPS
    }


def peers(size: Size) -> dict[str, Job]:
    """The same by other programs, where they are installed; the middle group size first."""

    def job(name: str, run: Callable[..., Any], key: tuple[int, int], engine: str, group: int) -> dict[str, Any]:
        slices, modes = key
        row = {"program": name, "slices": slices, "modes": modes, "engine": engine, "group": group}
        return {**row, "sweep_s": size.timed(run, slices, FIGURE4[key], engine, group, modes)}

    return {
        f"{name} {key[0]} {key[1]} {engine} {group}": partial(job, name, run, key, engine, group)
        for group in sorted(GROUPS, key=lambda group: group != 64)
        for key in FIGURE4
        for name, (run, engines) in others().items()
        for engine in engines
    }


def ours_plan(case: Any, group: int) -> Any:
    """That of the main study, but for its number of sweeps."""
    from benchmarks import ours

    return ours.plan_of(case, "lsqml", group, batches="compact", noise="poisson")


def trials(size: Size) -> dict[str, Job]:
    """Trials of the main study at paper scale, one dose: designs spread over its first points, and once more with other
    noise, when everything is compiled."""
    import jax

    from benchmarks.trials_worker import Watch
    from ptydesign.experiment.config import StudyConfig
    from ptydesign.experiment.trial import Trial
    from ptydesign.study.acquisition import at_point
    from ptydesign.study.file import load_study

    study = load_study(Path(STUDY), "paper" if size.whole else "smoke", StudyConfig)
    potential, points, alone = read_prepared(size.potential)
    every = [Trial(at_point(study.experiment, point), DOSE) for point in points]
    fit = [t for t in every if 4 * t.experiment.positions * t.experiment.detector_pixels**2 <= LARGEST_GIB * 2**30]
    chosen = [fit[i] for i in np.linspace(0, len(fit) - 1, min(size.designs, len(fit))).astype(int)]
    if smallest(every) not in chosen:
        chosen[0] = smallest(every)
    compiler: list[float] = []
    jax.monitoring.register_event_duration_secs_listener(Watch(compiler))

    def job(seed: int) -> dict[str, Any]:
        compiler.clear()
        with Busy() as busy:
            found = timed_trials(study.model_copy(update={"seed": seed}), potential, chosen, size.most)
        told = {"cpu": alone, "points": len(every), "fit": len(fit), "compile_s": sum(compiler)}
        return {**told, **found, "compiled": len(compiler), "busy_percent": busy.percent, "peak_gib": peak_gib()}

    return {"first": partial(job, study.seed), "again": partial(job, study.seed + 1)}


def smallest(trials: list[Any]) -> Any:
    """The trial of least work: what the computer that prepares runs, too."""
    return min(trials, key=lambda t: t.experiment.positions * t.experiment.detector_pixels**2)


def timed_trials(study: Any, potential: Any, trials: list[Any], most: int | None) -> dict[str, Any]:
    """Run trials together: {seconds, trials}."""
    from ptydesign.experiment.together import run_together
    from ptydesign.experiment.trial import Running, judged

    rows: list[dict[str, Any]] = []
    begin = time.perf_counter()
    for one in run_together([Running(study, potential, trial) for trial in trials], most=most):
        best = judged(study, one.result)
        rows.append(
            {
                "step_a": one.trial.experiment.step_a,
                "pixels": one.trial.experiment.detector_pixels,
                "positions": one.trial.experiment.positions,
                "status": one.result["status"],
                "reason": one.result["reason"],
                "sweeps": one.result.get("sweeps"),
                "ssim": best["scores"]["ssim"]["1.5"] if best else None,
                **one.cost,
                "at_s": time.perf_counter() - begin,
            }
        )
        print(rows[-1], flush=True)
    return {"seconds": time.perf_counter() - begin, "trials": rows}


PARTS: dict[str, Callable[[Size], dict[str, Job]]] = {
    "device": device,
    "sweeps": sweeps,
    "together": together,
    "figure4": figure4,
    "trials": trials,
    "peers": peers,
}


class Size:
    """How much is measured. whole: as the documentation shows it; else what a test can do in seconds."""

    def __init__(self, whole: bool, potential: Path, designs: int, most: int | None = None):
        self.whole, self.potential, self.designs, self.most = whole, potential, designs, most
        self.shape = SHAPE if whole else (16, 20)

    def positions(self, number: int) -> int:
        """Of a case."""
        return number if self.whole else 9

    def row(self, slices: int, modes: int, positions: int, engine: str, group: int) -> dict[str, Any]:
        """Seconds of our sweep, of its floor, and what goes with them."""
        from benchmarks import floor, ours
        from benchmarks.speed import transforms_per_floor

        positions = self.positions(positions)
        slices = slices if self.whole else min(slices, 2)
        case = case_of(self.shape, positions, slices)
        run = ours.run(case, engine, min(group, positions), modes, sweeps=5)
        batches = (64, 1024, 4096) if self.whole else (4,)
        pair_s = floor.pair_s(self.shape, 8 * max(batches), batches)
        row = {
            "slices": slices,
            "modes": modes,
            "positions": positions,
            "engine": engine,
            "group": group,
            "floor_s": pair_s * positions * modes * slices,
            "sweep_s": run.sweep_s,
            "compile_s": run.compilation_s,
            "transforms": transforms_per_floor(case, engine, min(group, positions)),
            "peak_gib": peak_gib(),
        }
        print(row, flush=True)
        return row

    def timed(self, peer: Callable[..., Any], slices: int, positions: int, engine: str, group: int, modes: int) -> Any:
        """Seconds of a peer's sweep, or what went wrong."""
        case = case_of(self.shape, self.positions(positions), slices)
        try:
            return peer(case, engine, group, modes, sweeps=4).sweep_s
        except Exception as error:  # another program's
            return f"{type(error).__name__}: {error}"[:200]


def case_of(shape: tuple[int, int], positions: int, slices: int) -> Any:
    """A scan over nothing, with noise: the time of a sweep doesn't depend on what is seen."""
    from benchmarks import data
    from ptydesign import waves
    from ptydesign.grids import Grid
    from ptydesign.types import Dataset, Optics
    from ptydesign.units import wavelength_a

    side = int(np.ceil(np.sqrt(positions)))
    grid = Grid(shape, (data.PIXEL_A, data.PIXEL_A))
    optics = Optics(200.0, 0.025, data.DEFOCUS_A)
    spectrum = waves.probe_spectrum(grid, wavelength_a(200.0), optics.semiangle_rad, defocus_a=optics.defocus_a)
    rng = np.random.default_rng(0)
    few = rng.poisson(data.DOSE * data.STEP_A**2 * np.abs(spectrum) ** 2, (16, *shape)).astype(np.float32)
    places = np.stack(np.meshgrid(np.arange(side), np.arange(side), indexing="ij"), -1).reshape(-1, 2)[:positions]
    dataset = Dataset(
        patterns=few[np.arange(positions) % 16],
        positions_a=places * data.STEP_A + rng.normal(0, 0.1, places.shape),
        grid=grid,
        voltage_kv=200.0,
        mask=np.ones(shape, np.float32),
        optics=optics,
    )
    return data.Case(dataset, None, slices, (0.0, 0.0, 1.0, 1.0))


def others() -> dict[str, tuple[Callable[..., Any], tuple[str, ...]]]:
    """Other programs that are installed, and their engines."""
    found: dict[str, tuple[Callable[..., Any], tuple[str, ...]]] = {}
    if version("phaserEM"):
        from benchmarks import peer

        found["phaser"] = peer.run, ("lsqml", "gradient")
    if version("ptychi"):
        from benchmarks import chi

        found["pty-chi"] = chi.run, ("lsqml",)
    return found


class Busy:
    """Asks the driver twice a second how busy the device is. percent: the mean, None where nobody tells."""

    def __enter__(self) -> Busy:
        self.seen: list[float] = []
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self._ask, daemon=True)
        self.thread.start()
        return self

    def _ask(self) -> None:
        while not self.stopped.wait(0.5):
            if (told := smi("utilization.gpu")) is None:
                return
            self.seen.append(float(told.split()[0]))

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        self.thread.join()
        self.percent = float(np.mean(self.seen)) if self.seen else None


def smi(what: str) -> str | None:
    """What NVIDIA's driver tells, None without one."""
    command = ["nvidia-smi", f"--query-gpu={what}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip().splitlines()[0]


def peak_gib() -> float | None:
    """The most memory that the device has had in use, None where it doesn't tell."""
    import jax

    told = jax.devices()[0].memory_stats()
    return told["peak_bytes_in_use"] / 2**30 if told else None


def version(package: str) -> str | None:
    """Of a package, None if it isn't installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def prepare(path: Path, scale: str, number: int) -> None:
    """Write the potential and the first points of the main study."""
    from ptydesign.design.propose import initial_design
    from ptydesign.experiment.config import StudyConfig
    from ptydesign.experiment.resolve import resolve
    from ptydesign.experiment.scope import design_space
    from ptydesign.experiment.trial import Trial, judged, run_trial
    from ptydesign.simulate.potential import build_potential
    from ptydesign.study.acquisition import at_point

    resolved = resolve(Path(STUDY), scale, path.parent)
    study: StudyConfig = resolved.study
    points = initial_design(design_space(study), number, study.search.initial_design, study.seed)
    potential = build_potential(study.sample, study.potential, resolved.shape, study.seed)
    trial = smallest([Trial(at_point(study.experiment, point), DOSE) for point in points])
    result, _, _ = run_trial(study, potential, trial)
    alone = {"step_a": trial.experiment.step_a, "ssim": judged(study, result)["scores"]["ssim"]["1.5"]}
    np.savez_compressed(
        path,
        slices_va=potential.slices_va,
        pixel_a=potential.pixel_a,
        thickness_a=potential.thickness_a,
        points=json.dumps(points),
        alone=json.dumps(alone),
    )


def read_prepared(path: Path) -> tuple[Any, list[dict[str, Any]], dict[str, float]]:
    """(potential, points, what one trial scores there) that `prepare` wrote."""
    from ptydesign.types import Potential

    with np.load(path) as file:
        pixel = tuple(float(p) for p in file["pixel_a"])
        potential = Potential(file["slices_va"], pixel, file["thickness_a"])
        return potential, json.loads(str(file["points"])), json.loads(str(file["alone"]))


def main(arguments: list[str] | None = None) -> None:
    """Measure what isn't there yet, and print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks gpu", description=__doc__)
    parser.add_argument("parts", nargs="*", default=list(PARTS), help=f"of {', '.join(PARTS)} (default: all)")
    parser.add_argument("--out", type=Path, default=Path("results/gpu"), help="folder (default: %(default)s)")
    parser.add_argument("--potential", type=Path, default=Path("results/gpu/prepared.npz"), help="(%(default)s)")
    parser.add_argument("--prepare", action="store_true", help="write that file, and end")
    parser.add_argument("--number", type=int, default=100, help="of designs to prepare (default: 100)")
    parser.add_argument("--designs", type=int, default=32, help="of which trials are timed (default: %(default)s)")
    parser.add_argument("--most", type=int, default=None, help="trials of a batch (default: as many as fit)")
    parser.add_argument("--again", nargs="+", default=[], help="parts to measure anew")
    parser.add_argument("--tiny", action="store_true", help="a size that a CPU can do in seconds")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    if options.prepare:
        prepare(options.potential, "smoke" if options.tiny else "paper", options.number)
        return
    size = Size(not options.tiny, options.potential, options.designs, options.most)
    found: dict[str, dict[str, Any]] = {}
    for part in PARTS:
        kept = options.out / f"{part}.json"
        found[part] = json.loads(kept.read_text()) if kept.exists() and part not in options.again else {}
        begin = time.perf_counter()
        for name, job in PARTS[part](size).items() if part in options.parts else ():
            if name not in found[part]:
                found[part][name] = job()
                kept.with_suffix(".part").write_text(json.dumps(found[part], indent=1))
                kept.with_suffix(".part").replace(kept)
        print(f"{part}: {time.perf_counter() - begin:.0f} s", flush=True)
    (options.out / "gpu.md").write_text(markdown(found))
    print(markdown(found))


if __name__ == "__main__":
    main()
