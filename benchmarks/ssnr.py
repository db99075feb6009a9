"""`python -m benchmarks ssnr`: how much of the dose becomes signal, by spatial frequency, for direct methods, engines
and the bound; writes docs/results/ssnr/ssnr.csv, .md and .png.

A white-noise weak phase (0.1 rad rms up to 0.96 1/A) is scanned at 80 kV, 15 mrad, 20 nm, in steps of 0.65 A, with a
known probe. Its images with fresh noise give the spectral signal-to-noise ratio (SSNR) by ring. Divided by the dose and
by the object's power spectrum it is the efficiency K(q): of all electrons, times the square of the contrast. For weak
objects K is known:

- an estimate sum_k conj(W) G / (i sum_k conj(W) Gamma), see `reconstruct.direct`, has
  K = |sum conj(W) Gamma|^2 / sum |W|^2 |P|^2, from shot noise of variance |P(k)|^2 a electron;
- no linear estimate of the bright field has more than sum |Gamma|^2 / |P|^2, what single sideband has with a flat
  aperture;
- electrons that leave the aperture count twice, as those of a double overlap do: a dark pixel has little signal, and no
  noise without it. The bound of Cramer and Rao holds with them.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ptydesign import api, drawing, waves
from ptydesign.design import limits
from ptydesign.grids import Grid
from ptydesign.reconstruct.direct import METHODS
from ptydesign.reconstruct.run import reconstruct
from ptydesign.reconstruct.start import start_state
from ptydesign.score.compare import ScoreConfig, compare
from ptydesign.score.spread import spread
from ptydesign.simulate.dataset import simulate
from ptydesign.types import Dataset, Detector, Experiment, Optics, Potential, ReconState, Scan, Truth
from ptydesign.units import interaction_parameter, wavelength_a

KV, SEMIANGLE_RAD, DEFOCUS_A = 80.0, 0.015, 200.0
STEP_A, FIELD_A, MARGIN_A = 0.65, 18.0, 7.5
PIXELS, PIXEL_A = 48, 0.5  # of the detector
FINE_A, EXTENT_A = 0.25, 64.0  # of the object
RMS_RAD, QMAX, RINGS = 0.1, 0.96, 16
DOSES = (1e2, 1e3, 1e4, 1e5, 1e6)
DIRECT = ("com", "parallax", "ssb")
STOPS = (5, 20, 60)
KNOWN = {"noise": "poisson", "sweeps": STOPS[-1], "probe_start": 10**6}  # the probe is
ENGINES = {
    "lsqml": {"engines": [{"engine": "lsqml", "batches": "compact", **KNOWN}]},
    "gradient": {"engines": [{"engine": "gradient", "rule": "lbfgs", **KNOWN}]},
}
SCORED = ScoreConfig(ssim_widths_px=(1.5,), frc_qmax=QMAX)
NAMES = {"com": "centre of mass", "parallax": "parallax", "ssb": "single sideband", "lsqml": "LSQ-ML",
         "gradient": "L-BFGS"}  # fmt: skip


# closed forms


@dataclass(frozen=True)
class Lens:
    """A round aperture. cutoff: its radius in 1/A."""

    cutoff: float
    wavelength_a: float
    defocus_a: float

    def grid(self, size: int = 401) -> tuple[np.ndarray, np.ndarray]:
        """(ky, kx) over the aperture, each flat."""
        line = (np.arange(size) - size // 2) / (size // 2) * self.cutoff
        ky, kx = np.meshgrid(line, line, indexing="ij")
        inside = np.hypot(ky, kx) < self.cutoff
        return ky[inside], kx[inside]

    def wave(self, ky: np.ndarray, kx: np.ndarray) -> np.ndarray:
        """The probe's transform, 1 in modulus within the aperture."""
        k2 = ky**2 + kx**2
        return (k2 < self.cutoff**2) * np.exp(-1j * np.pi * self.wavelength_a * self.defocus_a * k2)


def efficiency(method: str, q: float, lens: Lens) -> float:
    """K(q) of a direct method for a weak phase, or of the `bound`; see the module."""
    ky, kx = lens.grid()
    here, number = lens.wave(ky, kx), len(ky)
    left, right = np.conj(here) * lens.wave(ky, kx - q), here * np.conj(lens.wave(ky, kx + q))
    gamma = left - right
    if method in ("ssb", "bound"):
        bright = np.sum(np.abs(gamma) ** 2) / number
        lost = sum(1 - np.sum(np.abs(side) ** 2) / number for side in (left, right))
        return float(bright + (lost if method == "bound" else 0.0))
    # Parallax undoes the shift of each pixel's image, which is the slope of the aberrations' phase there.
    slope = 2 * np.pi * lens.wavelength_a * lens.defocus_a * kx
    weights = np.exp(-1j * q * slope) if method == "parallax" else kx
    return float(np.abs(np.sum(weights * gamma)) ** 2 / np.sum(np.abs(weights) ** 2) / number)


def by_ring(method: str, lens: Lens) -> np.ndarray:
    """(ring,) K as `spread` measures it: signal and noise of an image, each averaged over the ring and smeared by the
    window under which the image is looked at. Within a ring that depends on what a method does with frequencies of
    little contrast: its regularisation, which `reconstruct.direct` gives."""
    size = 4 * round(FIELD_A / PIXEL_A)  # fine enough for the window's width
    ky, kx = Grid((size, size), (PIXEL_A, PIXEL_A)).frequencies()
    q = np.hypot(ky, kx)
    line = np.linspace(0, 1.5 * QMAX, 300)
    k = np.interp(q, line, [efficiency(method, one, lens) for one in line])
    if method == "com":
        reach = 0.5 / STEP_A
        gain = np.interp(q, line, [_blur(one, lens) for one in line]) * q**2 / (q**2 + 1e-4 * reach**2)
        gain *= q < reach
    else:
        gain = k / (k + 0.01 * k.max())
    window = np.zeros((size, size))
    window[: size // 4, : size // 4] = np.outer(*[np.hanning(size // 4 + 2)[1:-1]] * 2)
    smear = np.abs(np.fft.fft2(window)) ** 2

    def seen(power: np.ndarray) -> np.ndarray:
        smeared = np.fft.ifft2(np.fft.fft2(power) * np.fft.fft2(smear)).real
        return np.array([smeared[(q * RINGS / QMAX).astype(int) == ring].sum() for ring in range(RINGS)])

    noise = np.divide(gain**2, k, out=np.zeros_like(k), where=k > 1e-9)
    return seen(gain**2) / seen(noise)


def _blur(q: float, lens: Lens) -> float:
    """What the centre of mass leaves of a phase's contrast."""
    ky, kx = lens.grid()
    here = lens.wave(ky, kx)
    gamma = np.conj(here) * lens.wave(ky, kx - q) - here * np.conj(lens.wave(ky, kx + q))
    return float(np.abs(np.sum(kx * gamma)) / len(ky) / max(q, 1e-6))


LENS = Lens(SEMIANGLE_RAD / wavelength_a(KV), wavelength_a(KV), DEFOCUS_A)


# what is simulated


def white_phase(shape: tuple[int, int], pixel_a: float, seed: int) -> np.ndarray:
    """(y, x) rad: white up to QMAX, periodic, RMS_RAD."""
    ky, kx = Grid(shape, (pixel_a, pixel_a)).frequencies()
    noise = np.fft.fft2(np.random.default_rng(seed).standard_normal(shape))
    phase = np.fft.ifft2(noise * (np.hypot(ky, kx) < QMAX)).real
    return phase * RMS_RAD / np.std(phase)


def experiment(dose: float) -> Experiment:
    """The scan, which goes beyond what is scored."""
    side = FIELD_A + 2 * MARGIN_A
    optics = Optics(KV, SEMIANGLE_RAD, DEFOCUS_A)
    return Experiment(optics, Scan(STEP_A, (side, side)), Detector((PIXELS, PIXELS), (PIXEL_A, PIXEL_A)), dose)


def specimen(seed: int) -> Potential:
    """The white phase as a potential."""
    size = round(EXTENT_A / FINE_A)
    volts = white_phase((size, size), FINE_A, seed) / interaction_parameter(KV)
    return Potential(volts[None, None].astype(np.float32), (FINE_A, FINE_A), np.array([1.0]))


def image(state: ReconState, truth: Truth) -> tuple[np.ndarray, np.ndarray]:
    """Phase and truth (y, x) of what is scored."""
    middle, half = EXTENT_A / 2, FIELD_A / 2
    region = (middle - half, middle - half, middle + half, middle + half)
    found = compare(np.asarray(state.object), tuple(np.asarray(state.pixel_a)), tuple(np.asarray(state.origin_a)),
                    truth, region, SCORED)  # fmt: skip
    return found.image, found.truth_image


def direct_image(method: str, dataset: Dataset, truth: Truth) -> tuple[np.ndarray, np.ndarray]:
    """By a direct method."""
    state = start_state(dataset, api.make_plan(**ENGINES["lsqml"]))
    return image(dataclasses.replace(state, object=METHODS[method](dataset, state)[None]), truth)


def engine_images(name: str, dataset: Dataset, truth: Truth) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """By an engine, after each of STOPS."""
    found = {}

    def look(sweep: int, loss: float, state: ReconState) -> None:
        if sweep in STOPS:
            found[sweep] = image(state, truth)

    reconstruct(dataset, api.make_plan(**ENGINES[name]), observers=[look])
    return found


def measured(dose: float, repeats: int, seed: int, engines: Sequence[str] = tuple(ENGINES)) -> Iterator[dict]:
    """K by ring of all methods at a dose; a row each. stop: sweeps, 0 of a direct method."""
    images: dict[tuple[str, int], list] = {}
    potential = specimen(seed)
    for number in range(repeats):
        dataset, truth = simulate(potential, experiment(dose), seed=seed * 1000 + number, periodic=True)
        for method in DIRECT:
            images.setdefault((method, 0), []).append(direct_image(method, dataset, truth))
        for name in engines:
            for stop, pair in engine_images(name, dataset, truth).items():
                images.setdefault((name, stop), []).append(pair)
    for (method, stop), pairs in images.items():
        phases, truths = zip(*pairs, strict=True)
        found = spread(np.stack(phases), truths[0], (PIXEL_A, PIXEL_A), RINGS, QMAX)
        power = (found.truth_rad * PIXEL_A) ** 2
        for q, ratio, k in zip(found.q_per_a, found.ssnr, found.ssnr / dose / power, strict=True):
            yield {"dose_e_per_a2": dose, "method": method, "stop": stop, "q_per_a": q, "ssnr": ratio, "k": k}


def numeric_bound(frequencies: Sequence[float], seed: int, cells: int = 64) -> pd.DataFrame:
    """K of the bound of Cramer and Rao at frequencies along x: of a periodic object, scanned everywhere."""
    grid = Grid((PIXELS, PIXELS), (PIXEL_A, PIXEL_A))
    spectrum = waves.probe_spectrum(grid, LENS.wavelength_a, SEMIANGLE_RAD, defocus_a=DEFOCUS_A)
    spectrum = np.asarray(spectrum) / np.linalg.norm(spectrum)
    side = round(cells * PIXEL_A / STEP_A)
    line = np.arange(side) * cells / side
    positions = np.stack(np.meshgrid(line, line, indexing="ij"), -1).reshape(-1, 2)
    phase = white_phase((cells, cells), PIXEL_A, seed)[None].astype(np.float32)
    electrons = (cells * PIXEL_A / side) ** 2  # of 1 e/A^2
    imaging = limits.make_imaging(grid, positions, electrons, np.abs(spectrum) > 0)
    unknowns = limits.Unknowns(phase, limits.probe_unknowns(spectrum))
    rows = []
    for q in frequencies:
        cycles = round(q * cells * PIXEL_A) / cells
        waves_ = [limits.windowed_mode(phase, np.ones(phase.shape[1:]), (0.0, cycles), at) for at in (0.0, np.pi / 2)]
        variance, rest = limits.least_variance(unknowns, imaging, np.stack(waves_))
        rows.append({"q_per_a": cycles / PIXEL_A, "k": float(np.mean(1 / (PIXEL_A**2 * variance))),
                     "residual": float(rest.max())})  # fmt: skip
    return pd.DataFrame(rows)


# what is shown


def chosen(table: pd.DataFrame) -> pd.DataFrame:
    """Of each engine and dose the stop with the most information, integral of log2(1 + SSNR) / 2 over the plane."""
    bits = (np.log2(1 + table["ssnr"]) * table["q_per_a"]).groupby([table[n] for n in ("dose_e_per_a2", "method",
                                                                                    "stop")]).sum()  # fmt: skip
    best = bits.groupby(level=[0, 1]).idxmax()
    return table[[tuple(row) in set(best) for row in table[["dose_e_per_a2", "method", "stop"]].to_numpy()]]


def draw(table: pd.DataFrame, bound: pd.DataFrame, path: Path) -> None:
    """A panel for each dose: measured as marks, closed forms as lines."""
    doses = sorted(table["dose_e_per_a2"].unique())
    figure = drawing.new_figure(drawing.TWO_COLUMNS_IN, 2.1 * -(-len(doses) // 3) + 0.5)
    grid = figure.subplots(-(-len(doses) // 3), 3, squeeze=False, sharex=True, sharey=True).ravel()
    looks = dict(zip(NAMES, zip(drawing.OKABE_ITO[1:], "osD^v", strict=False), strict=False))
    q = np.linspace(0.02, QMAX, 60)
    for axes, dose in zip(grid, doses, strict=False):
        axes.plot(q, [efficiency("bound", one, LENS) for one in q], color=drawing.GREY, lw=1.2, label="bound, weak")
        axes.plot(bound["q_per_a"], bound["k"], "x", color=drawing.GREY, ms=4, label="bound, computed")
        for method, (colour, marker) in looks.items():
            rows = chosen(table[(table["dose_e_per_a2"] == dose) & (table["method"] == method)])
            axes.plot(rows["q_per_a"], rows["k"], marker, color=colour, ms=3.5, mfc="none", label=NAMES[method])
            if method in DIRECT:
                axes.plot(q, [efficiency(method, one, LENS) for one in q], color=colour, lw=0.8)
        axes.set_title(f"{dose:,.0f} e/Å²")
        axes.set_ylim(0, None)
    for axes in grid[len(doses) :]:
        axes.set_visible(False)
    for axes in grid[max(0, len(doses) - 3) : len(doses)]:
        axes.set_xlabel("Spatial frequency (1/Å)")
        axes.tick_params(labelbottom=True)
    for axes in grid[::3]:
        axes.set_ylabel("SSNR / (dose × power)")
    handles, labels = grid[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=4)
    figure.savefig(path, dpi=200)


def markdown(table: pd.DataFrame, bound: pd.DataFrame) -> str:
    """Mean K within and beyond the bright field's reach, 2 alpha / lambda, of each method and dose."""
    rows, edge = chosen(table), 2 * LENS.cutoff
    lines = ["| dose (e/Å²) | method | sweeps | K below 2α/λ | closed form | K beyond | bound below, beyond |",
             "|---|---|---|---|---|---|---|"]  # fmt: skip
    weights = {"below": lambda q: q * (q < edge), "beyond": lambda q: q * (q >= edge)}
    limit = {name: np.average(bound["k"], weights=of(bound["q_per_a"])) for name, of in weights.items()}
    for (dose, method), own in rows.groupby(["dose_e_per_a2", "method"], sort=False):
        mean = {name: np.average(own["k"], weights=of(own["q_per_a"])) for name, of in weights.items()}
        known = "–"
        if method in DIRECT:
            closed = [efficiency(method, q, LENS) for q in own["q_per_a"]]
            known = f"{np.average(closed, weights=weights['below'](own['q_per_a'])):.3f}"
        lines.append(
            f"| {dose:,.0f} | {NAMES[method]} | {own['stop'].iloc[0] or '–'} | {mean['below']:.3f} | {known} | "
            f"{mean['beyond']:.3f} | {limit['below']:.3f}, {limit['beyond']:.3f} |"
        )
    return "\n".join(lines) + "\n"


def run(out: Path, doses: Sequence[float], repeats: int, seed: int = 1) -> None:
    """Measure, and write after each dose."""
    out.mkdir(parents=True, exist_ok=True)
    bound = numeric_bound((np.arange(RINGS) + 0.5) / RINGS * QMAX, seed)
    bound.to_csv(out / "bound.csv", index=False, float_format="%.4g")
    rows: list[dict] = []
    for dose in doses:
        rows += measured(dose, repeats, seed)
        table = pd.DataFrame(rows)
        table.to_csv(out / "ssnr.csv", index=False, float_format="%.4g")
        (out / "ssnr.md").write_text(markdown(table, bound))
        with drawing.styled():
            draw(table, bound, out / "ssnr.png")
        print(markdown(table[table["dose_e_per_a2"] == dose], bound), flush=True)


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks ssnr", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--out", type=Path, default=Path("docs/results/ssnr"))
    parser.add_argument("--doses", type=float, nargs="+", default=DOSES)
    parser.add_argument("--repeats", type=int, default=12, help="images of each method and dose (default: 12)")
    options = parser.parse_args()
    run(options.out, options.doses, options.repeats)


if __name__ == "__main__":
    main()
