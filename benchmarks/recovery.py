"""`python -m benchmarks.recovery`: what reconstructions recover from simulated data; writes docs/results/recovery/.

Twisted bilayer MoS2 and SrTiO3 at 80 kV and 25 mrad. Patterns have 64 x 64 pixels of 0.2 A, and scans 20 x 20 positions
at steps of 0.6 A. Patterns are simulated in a larger window on finer pixels and integrated into the detector's. Each
table says what was wrong at the start, and what is wanted.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
from pathlib import Path

import ase
import numpy as np
import pandas as pd

from ptydesign import api, io, waves
from ptydesign.grids import Grid
from ptydesign.reconstruct.engines import ENGINES
from ptydesign.score.compare import compare, scanned_region
from ptydesign.simulate.dataset import required_shape, simulate
from ptydesign.simulate.potential import PotentialConfig, build_potential, potential_of_atoms
from ptydesign.simulate.specimen import BilayerSample
from ptydesign.types import Dataset, Detector, Experiment, Optics, Potential, Reconstruction, Scan, Truth
from ptydesign.units import wavelength_a

PIXEL_A, SHAPE, STEP_A, FIELD_A = 0.2, (64, 64), 0.6, 11.4
HIGH, LOW = 1e6, 1e3  # e/A^2
DEFOCUS_A = 80.0
WIDE_A = 20.4
MRAD, DEG = 1e-3, np.pi / 180


def experiment(dose: float = HIGH, defocus_a: float = DEFOCUS_A, field_a: float = FIELD_A, **scan) -> Experiment:
    """The experiment of all cases."""
    return Experiment(
        optics=Optics(80.0, 25 * MRAD, defocus_a),
        scan=Scan(STEP_A, (field_a, field_a), **scan),
        detector=Detector(SHAPE, (PIXEL_A, PIXEL_A)),
        dose_e_per_a2=dose,
    )


def bilayer(made: Experiment) -> Potential:
    """Two layers of MoS2, twisted by 30 degrees, in one slice."""
    config = PotentialConfig(pixel_a=PIXEL_A / 2)
    return build_potential(BilayerSample(), config, required_shape([made], (config.pixel_a,) * 2))


def leaning_crystal(made: Experiment, tilt_rad: np.ndarray, thickness_a: float = 150.0) -> Potential:
    """SrTiO3 along [001], 15 nm thick, whose columns lean by a tilt (y, x): seen from the beam, a tilted crystal."""
    cell_a, slice_a = 3.905, 3.905 / 2
    grid = Grid(required_shape([made], (PIXEL_A / 2,) * 2, thickness_a), (PIXEL_A / 2,) * 2)
    extent = grid.extent_a
    layers = round(thickness_a / cell_a)
    basis = [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
    cell = ase.Atoms("SrTiO3", scaled_positions=basis, cell=[cell_a] * 3, pbc=True)
    atoms = cell.repeat((int(extent[1] // cell_a) + 4, int(extent[0] // cell_a) + 4, layers))
    xyz = atoms.positions - [2 * cell_a, 2 * cell_a, 0]
    xyz[:, 0] += xyz[:, 2] * np.tan(tilt_rad[1])
    xyz[:, 1] += xyz[:, 2] * np.tan(tilt_rad[0])
    xyz[:, 2] += slice_a / 2
    inside = (xyz[:, 0] >= 0) & (xyz[:, 0] < extent[1]) & (xyz[:, 1] >= 0) & (xyz[:, 1] < extent[0])
    box = [extent[1], extent[0], layers * cell_a]
    kept = ase.Atoms(atoms.numbers[inside], positions=xyz[inside], cell=box, pbc=True)
    return potential_of_atoms(kept, PotentialConfig(pixel_a=PIXEL_A / 2, slice_thickness_a=slice_a), grid)


def started(dataset: Dataset, **optics) -> Dataset:
    """The dataset with other nominal optics."""
    return dataclasses.replace(dataset, optics=dataclasses.replace(dataset.optics, **optics))


def run(dataset: Dataset, engine: str, sweeps: int, plan: dict | None = None, **settings) -> Reconstruction:
    """Reconstruct with one engine."""
    made = api.make_plan(engines=[{"engine": engine, "sweeps": sweeps, **settings}], **(plan or {}))
    return api.reconstruct_dataset(dataset, made, progress=False)


def scored(result: Reconstruction, truth: Truth, inset_a: float = 0.5):
    """The score in the scanned region, so far inside its edge."""
    state = result.state
    region = scanned_region(truth.positions_a, inset_a)
    return compare(state.object, tuple(state.pixel_a), tuple(state.origin_a), truth, region).score


# Name -> noise model, engine, settings; all else is default.
PLANS = {
    **{name: ("poisson", name, {}) for name in ENGINES},
    "gradient, L-BFGS": ("poisson", "gradient", {"rule": "lbfgs"}),
    "gradient, Polyak": ("poisson", "gradient", {"rule": "polyak"}),
    "lsqml, compact": ("poisson", "lsqml", {"batches": "compact"}),
}


def engines() -> pd.DataFrame:
    """Every engine at high and low dose with the Poisson model and default steps, from a defocus that is 1 nm off. The
    object starts as vacuum, whose error is 0.229 rad. Wanted: less, at any dose."""
    rows = []
    for dose in (HIGH, LOW):
        made = experiment(dose)
        data, truth = simulate(bilayer(made), made, seed=0)
        data = dataclasses.replace(started(data, defocus_a=DEFOCUS_A - 10), positions_a=truth.positions_a)
        for name, (noise, engine, settings) in PLANS.items():
            result = run(data, engine, 60 if dose == HIGH else 25, noise=noise, **settings)
            score = scored(result, truth)
            rows.append(
                {
                    "dose_e_per_a2": dose,
                    "engine": name,
                    "sweeps": result.outcome.sweeps,
                    "outcome": result.outcome.status,
                    "rms_error_rad": np.sqrt(score.mse_rad2),
                    "ssim": score.ssim[1.5],
                    "contrast": score.contrast,
                }
            )
            print(rows[-1], flush=True)
    return pd.DataFrame(rows)


def noise_models() -> pd.DataFrame:
    """Noise models at high and low dose with default steps, from the same start as the engines. At low dose the
    amplitude model, which is the default, loses contrast: the mean of a root is less than the root of the mean."""
    rows = []
    for dose in (HIGH, LOW):
        made = experiment(dose)
        data, truth = simulate(bilayer(made), made, seed=0)
        data = dataclasses.replace(started(data, defocus_a=DEFOCUS_A - 10), positions_a=truth.positions_a)
        for engine, settings in (("gradient", {}), ("lsqml", {"batches": "compact"}), ("epie", {})):
            for noise in ("amplitude", "anscombe", "poisson"):
                score = scored(run(data, engine, 60 if dose == HIGH else 25, noise=noise, **settings), truth)
                rows.append(
                    {"dose_e_per_a2": dose, "engine": ", ".join([engine, *settings.values()]), "noise": noise,
                     "rms_error_rad": np.sqrt(score.mse_rad2), "ssim": score.ssim[1.5], "contrast": score.contrast}
                )  # fmt: skip
                print(rows[-1], flush=True)
    return pd.DataFrame(rows)


def position_errors_a(positions_a: np.ndarray, truth: Truth) -> np.ndarray:
    """(position,) distances from the true ones in two dimensions, after a common shift."""
    off = positions_a - truth.positions_a
    return np.hypot(*(off - off.mean(axis=0)).T)


def rms(values: np.ndarray) -> float:
    """Root of the mean square."""
    return float(np.sqrt(np.mean(values**2)))


def positions() -> pd.DataFrame:
    """Scan positions from jitter, 1 % scale and 0.5 deg rotation. Wanted: 0.05 A rms in two dimensions. Jitter of
    0.35 A rms along each axis is 0.5 A rms in two dimensions. At 0.5 A along each axis a few positions start beyond the
    reach of a gradient. The search for positions, which is on by default, finds them. Without it (`search_every: 0`) 8
    to 10 of 400 stay wrong, and 0.32 to 0.34 A rms remain."""
    rows = []
    for jitter in (0.5 / np.sqrt(2), 0.5):
        made = experiment(jitter_a=jitter, scale_error=0.01, rotation_error_rad=0.5 * DEG)
        data, truth = simulate(bilayer(made), made, seed=1)
        start = position_errors_a(data.positions_a, truth)
        for engine, sweeps in (("lsqml", 60), ("gradient", 80), ("epie", 60)):
            result = run(data, engine, sweeps, noise="poisson", refine_positions=True)
            found = position_errors_a(result.state.positions_a, truth)
            rows.append(
                {"jitter_per_axis_a": jitter, "engine": engine, "sweeps": sweeps, "start_rms_a": rms(start),
                 "found_rms_a": rms(found), "found_median_a": float(np.median(found)),
                 "worse_than_0.1_a": int(np.sum(found > 0.1)), "positions": len(found), "wanted_rms_a": 0.05}
            )  # fmt: skip
            print(rows[-1], flush=True)
    return pd.DataFrame(rows)


SOURCES_A = [(y, x) for y in (-0.3, 0.3) for x in (-0.2, 0.2)]  # four incoherent points: exactly four modes


def true_powers(made: Experiment) -> np.ndarray:
    """Power fractions of the probe's modes: eigenvalues of the mutual coherence of the sources' probes."""
    grid = Grid(SHAPE, (PIXEL_A, PIXEL_A))
    optics = made.optics
    spectrum = waves.probe_spectrum(grid, wavelength_a(optics.voltage_kv), optics.semiangle_rad, **optics.aberrations)
    ky, kx = grid.frequencies()
    shifted = [np.asarray(spectrum) * np.exp(-2j * np.pi * (ky * y + kx * x)) for y, x in SOURCES_A]
    powers = np.linalg.svd(np.stack(shifted).reshape(len(SOURCES_A), -1), compute_uv=False) ** 2
    return powers / powers.sum()


def modes() -> pd.DataFrame:
    """Four probe modes of a source of four points, from 4 % for each mode but the first. Wanted: power fractions within
    a tenth."""
    made = experiment(HIGH / len(SOURCES_A))
    potential = bilayer(experiment(field_a=FIELD_A + 2))
    centre = np.asarray(potential.grid.extent_a) / 2
    parts = [simulate(potential, made, 10 + n, centre_a=tuple(centre + off))[0] for n, off in enumerate(SOURCES_A)]
    data = simulate(potential, made, 0)[0]
    data = dataclasses.replace(data, patterns=sum(part.patterns for part in parts))
    true = true_powers(made)
    rows = []
    for name, settings in {"0.9": {"acceleration": 0.9}, "none": {}}.items():
        plan = {"probe": {"mode_powers": [0.04] * 3}}
        result = run(data, "lsqml", 200, plan, noise="poisson", **settings)
        powers = np.sum(np.abs(np.asarray(result.state.probe)) ** 2, axis=(1, 2))
        for number, (found, wanted) in enumerate(zip(powers / powers.sum(), true, strict=True), 1):
            rows.append(
                {"acceleration": name, "mode": number, "start": 0.88 if number == 1 else 0.04, "found": found,
                 "true": wanted, "relative_error": found / wanted - 1, "wanted": 0.1}
            )  # fmt: skip
            print(rows[-1], flush=True)
    return pd.DataFrame(rows)


def tilt() -> pd.DataFrame:
    """The tilt of a 15 nm crystal, from none, with slices of 2.5 nm. Wanted: within 0.5 mrad."""
    wanted = np.array([3.0, -2.0]) * MRAD
    made = experiment()
    data, truth = simulate(leaning_crystal(made, wanted), made, seed=3)
    data = dataclasses.replace(data, positions_a=truth.positions_a)
    rows = []
    for engine, settings in (("lsqml", {}), ("gradient", {"slices_alike": 1.0})):
        plan = {"object": {"slices": 6, "slice_thickness_a": 25.0}}
        result = run(data, engine, 60, plan, refine_tilt=True, propagation_start=1, **settings)
        found = np.asarray(result.state.tilt_rad)
        error = float(np.abs(found - wanted).max())
        rows.append(
            {"engine": engine, "true_y_mrad": wanted[0] / MRAD, "true_x_mrad": wanted[1] / MRAD,
             "found_y_mrad": found[0] / MRAD, "found_x_mrad": found[1] / MRAD,
             "largest_error_mrad": error / MRAD, "wanted_mrad": 0.5}
        )  # fmt: skip
        print(rows[-1], flush=True)
    return pd.DataFrame(rows)


def probe_defocus_a(result: Reconstruction, made: Experiment, mode: np.ndarray | None = None) -> float:
    """Defocus of the first mode, or another: least-squares phase A + b k + c k^2 in the aperture, by intensity."""
    grid = Grid(result.state.probe.shape[-2:], tuple(float(p) for p in result.state.pixel_a))
    ky, kx = (np.broadcast_to(k, grid.shape) for k in grid.frequencies())
    k2, wavelength = ky**2 + kx**2, wavelength_a(made.optics.voltage_kv)
    wave = np.asarray(result.state.probe[0] if mode is None else mode)
    spectrum = np.fft.fft2(np.fft.ifftshift(wave))
    inside = wavelength**2 * k2 < (0.9 * made.optics.semiangle_rad) ** 2

    def score(defocus_a: float) -> float:
        """Sharpness of the probe that this defocus is taken from: largest where no curvature is left."""
        flat = np.where(inside, spectrum, 0) * np.exp(-1j * np.pi * wavelength * defocus_a * k2)
        return float(np.abs(np.fft.ifft2(flat)).max())

    tried = np.arange(-300.0, 300.5, 1.0)
    return float(tried[np.argmax([score(d) for d in tried])])


def defocus() -> pd.DataFrame:
    """A start whose defocus is 10 nm off, absorbed by the probe. Wanted: an error of the object at most 1.1 times that
    from the true defocus, and the probe's own defocus within 1 nm."""
    made = experiment()
    data, truth = simulate(bilayer(made), made, seed=4)
    data = dataclasses.replace(data, positions_a=truth.positions_a)
    rows = []
    for engine in ("lsqml", "gradient"):
        for start, label, settings in (
            (DEFOCUS_A, "true", {}),
            (DEFOCUS_A + 100, "10 nm off", {}),
            (DEFOCUS_A + 100, "10 nm off, probe fixed", {"probe_start": 10**6}),
        ):
            result = run(started(data, defocus_a=start), engine, 100, noise="poisson", **settings)
            rows.append(
                {"engine": engine, "start": label, "start_defocus_a": start, "true_defocus_a": DEFOCUS_A,
                 "found_defocus_a": probe_defocus_a(result, made),
                 "rms_error_rad": np.sqrt(scored(result, truth).mse_rad2)}
            )  # fmt: skip
            print(rows[-1], flush=True)
    return pd.DataFrame(rows)


def detector() -> pd.DataFrame:
    """A detector with an MTF, by LSQ-ML with a fixed probe. The model takes it for an ideal one, or knows the MTF at
    the Nyquist frequency (`correction.mtf_nyquist`). Wanted: at high dose an error at most 1.1 times that of an ideal
    detector."""
    rows = []
    for dose in (HIGH, LOW):
        for mtf in (1.0, 0.5, 0.2):
            made = experiment(dose)
            made = dataclasses.replace(made, detector=dataclasses.replace(made.detector, mtf_nyquist=mtf))
            data, truth = simulate(bilayer(made), made, seed=5)
            for name, correction in (("ideal", {}), ("MTF", {"mtf_nyquist": mtf}))[: 1 + (mtf < 1)]:
                settings = {"noise": "poisson", "batches": "compact", "probe_start": 10**6}
                result = run(data, "lsqml", 60 if dose == HIGH else 15, {"correction": correction}, **settings)
                score = scored(result, truth)
                rows.append(
                    {"dose_e_per_a2": dose, "mtf_nyquist": mtf, "model": name,
                     "rms_error_rad": np.sqrt(score.mse_rad2), "ssim": score.ssim[1.5], "contrast": score.contrast,
                     "information_bit_per_a2": score.information}
                )  # fmt: skip
                print(rows[-1], flush=True)
    return pd.DataFrame(rows)


def windows() -> pd.DataFrame:
    """Probes beside the detector's window, by LSQ-ML with a fixed probe. Waves have the detector's window, which
    samples a pattern once in a pixel, or twice that, which integrates over pixels (`probe.window: 2`). The scan is
    20.4 A wide, at steps of 1.2 A, and its middle of 10.4 A is scored. Wanted: at high dose an error at most 1.1 times
    that of a detector of 128 pixels, whose window is far wider than the probe."""
    rows = []
    for dose, defocus_a, pixels in itertools.product((HIGH, LOW), (80.0, 200.0), (128, 64, 32)):
        made = experiment(dose, defocus_a)
        detector, scan = Detector((pixels, pixels), (PIXEL_A, PIXEL_A)), Scan(2 * STEP_A, (WIDE_A, WIDE_A))
        made = dataclasses.replace(made, detector=detector, scan=scan)
        data, truth = simulate(bilayer(made), made, seed=5)
        for window in (1, 2)[: 1 + (pixels < 128)]:
            settings = {"noise": "poisson", "batches": "compact", "probe_start": 10**6}
            sweeps = 60 if dose == HIGH else 15
            result = run(data, "lsqml", sweeps, {"probe": {"window": window}}, **settings)
            score, alpha = scored(result, truth, inset_a=5.0), made.optics.semiangle_rad
            probe_a = 2 * alpha * defocus_a + 1.22 * wavelength_a(made.optics.voltage_kv) / alpha
            rows.append(
                {"dose_e_per_a2": dose, "probe_a": probe_a, "detector_pixels": pixels,
                 "detector_window_a": pixels * PIXEL_A, "waves_window_a": window * pixels * PIXEL_A,
                 "rms_error_rad": np.sqrt(score.mse_rad2), "ssim": score.ssim[1.5], "contrast": score.contrast}
            )  # fmt: skip
            print(rows[-1], flush=True)
    return pd.DataFrame(rows)


SHIFT_A = np.array([0.3, 0.3])  # half a step: of a second scan, which nobody told


def scan_of(potential: Potential, made: Experiment, seed: int, shift_a: np.ndarray | float = 0.0):
    """(data, truth) of a scan whose sample had moved, and whose positions don't know it."""
    centre = np.asarray(potential.grid.extent_a) / 2 + shift_a
    data, truth = simulate(potential, made, seed, centre_a=tuple(centre))
    return dataclasses.replace(data, positions_a=truth.positions_a - shift_a), truth


def place_a(result: Reconstruction, number: int, optics: Optics) -> np.ndarray:
    """(y, x) by which a scan has moved: its positions, and its probe in its window, which no pattern can tell apart."""
    state, grid = result.state, Grid(SHAPE, (PIXEL_A, PIXEL_A))
    spectrum = waves.probe_spectrum(grid, wavelength_a(optics.voltage_kv), optics.semiangle_rad, **optics.aberrations)
    found = np.fft.fft2(np.fft.ifftshift(state.probe[number, 0]))
    across = found * np.conj(np.asarray(spectrum))
    # the mean phase from one pixel of the aperture to the next
    slopes = [np.angle(np.sum(np.roll(across, -1, axis) * np.conj(across))) for axis in (0, 1)]
    in_window = -np.asarray(slopes) / (2 * np.pi) * np.asarray(SHAPE) * PIXEL_A
    return (state.positions_a - result.nominal_positions_a)[state.scan == number].mean(axis=0) + in_window


def scans() -> pd.DataFrame:
    """Two scans of one object by LSQ-ML; the sample moved by 0.3 A along y and x in between, which the model isn't
    told. Two defoci, each with half of the dose: from 1 nm off with free probes at high dose, with fixed ones at low
    dose. Two dwell times, with fixed probes. Wanted: two defoci within 1.1 times the error of the better single scan
    with the whole dose, two dwell times below the error of the longer one alone, shifts within 0.05 A, and at high dose
    each defocus within 1 nm."""
    cases = {
        "defoci, high dose": ((DEFOCUS_A, HIGH / 2), (2 * DEFOCUS_A, HIGH / 2), 60, {}),
        "defoci, low dose": ((DEFOCUS_A, LOW / 2), (2 * DEFOCUS_A, LOW / 2), 15, {"probe_start": 10**6}),
        "dwell times": ((DEFOCUS_A, 10 * LOW), (DEFOCUS_A, LOW), 30, {"probe_start": 10**6}),
    }
    potential = bilayer(experiment(field_a=FIELD_A + 2))
    rows = []
    for case, (first, second, sweeps, settings) in cases.items():
        off = 0.0 if settings else 10.0
        whole = 2 if case != "dwell times" else 1  # a single scan with the dose of both

        def made(which: tuple[float, float], dose_factor: float = 1.0) -> Experiment:
            return experiment(which[1] * dose_factor, which[0])

        truth = scan_of(potential, made(first), 6)[1]
        doses_of = {f"{n} alone": [which[1] * whole] for n, which in (("first", first), ("second", second))}
        doses_of["together"] = [first[1], second[1]]
        both = [scan_of(potential, made(which), 8 + n, n * SHIFT_A)[0] for n, which in enumerate((first, second))]
        alone = [scan_of(potential, made(which, whole), 6 + n)[0] for n, which in enumerate((first, second))]
        alone = alone if whole > 1 else both  # with one dose the same data, so that noise makes no difference
        for name, data in {"first alone": alone[0], "second alone": alone[1], "together": both}.items():
            given, doses = data if isinstance(data, list) else [data], doses_of[name]
            given = [started(one, defocus_a=one.optics.defocus_a - off) for one in given]
            plan = api.make_plan(
                engines=[{"engine": "lsqml", "sweeps": sweeps, "batches": "compact", "noise": "poisson", **settings}]
            )
            result = api.reconstruct_dataset(given, plan, progress=False)
            score, state, shift, defocus = scored(result, truth, inset_a=0.8), result.state, np.nan, [np.nan] * 2
            if len(given) > 1:
                places = [place_a(result, number, one.optics) for number, one in enumerate(both)]
                shift = float(np.abs(places[1] - places[0] - SHIFT_A).max())
                if not settings:
                    defocus = [probe_defocus_a(result, made(first), probe[0]) for probe in state.probe]
            rows.append(
                {"case": case, "model": name,
                 "dose_e_per_a2": " + ".join(f"{dose:g}" for dose in doses),
                 "rms_error_rad": np.sqrt(score.mse_rad2), "ssim": score.ssim[1.5], "contrast": score.contrast,
                 "shift_error_a": shift, "defocus_1_a": defocus[0], "defocus_2_a": defocus[1]}
            )  # fmt: skip
            print(rows[-1], flush=True)
    return pd.DataFrame(rows)


PARTS = {
    "engines": engines,
    "noise": noise_models,
    "positions": positions,
    "modes": modes,
    "tilt": tilt,
    "defocus": defocus,
    "detector": detector,
    "windows": windows,
    "scans": scans,
}


def markdown(table: pd.DataFrame) -> str:
    """A table as Markdown, numbers to three digits."""

    def cell(value) -> str:
        return f"{value:.3g}" if isinstance(value, float) else str(value)

    names = list(table.columns)
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    lines += ["| " + " | ".join(cell(v) for v in row) + " |" for row in table.itertuples(index=False)]
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> None:
    """Run the parts that are asked for; write one CSV each, and the page from all CSV files there are."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recovery", description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)} (default: all)")
    parser.add_argument("--out", type=Path, default=Path("docs/results/recovery"), help="folder (default: %(default)s)")
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.parts) - set(PARTS))
    if unknown:
        parser.error(f"unknown parts {unknown}; known: {', '.join(PARTS)}")
    for name in options.parts or PARTS:
        table = PARTS[name]()
        io.write_text(options.out / f"{name}.csv", table.to_csv(index=False, float_format="%.5g"))
    io.write_text(options.out / "README.md", page(options.out))


def page(folder: Path) -> str:
    """The page of all tables in a folder."""
    text = "# What reconstructions recover\n\n" + " ".join(__doc__.split("\n\n", 1)[1].split()) + "\n\n"
    text += "Made by `python -m benchmarks.recovery` from the root of the repository.\n"
    from benchmarks import peers

    for name, function in {**PARTS, "peers": peers.measure}.items():
        path = folder / f"{name}.csv"
        if path.exists():
            heading = " ".join(function.__doc__.split())
            text += f"\n## {name.capitalize()}\n\n{heading}\n\n{markdown(pd.read_csv(path))}"
    return text


if __name__ == "__main__":
    main()
