"""A reconstruction as it comes: its session, its sweeps, and the iterations that are kept; or its finished file."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ptydesign import hdf5, types
from ptydesign.errors import InputError
from ptydesign.grids import Grid
from ptydesign.pictures.region import flattened, phase_rad, scanned_part
from ptydesign.reconstruct.live import SUFFIX, iterations
from ptydesign.reconstruct.log import FILE
from ptydesign.session import DONE, FAILED, Session
from ptydesign.units import NM
from ptydesign.waves import all_modes
from ptydesign.web.lines import Lines, number
from ptydesign.web.runs import by_sweep

LOG_BYTES = 20_000  # of a log that are shown
NOMINAL = "positions_nominal"
ITERATION = ("object", "probe", "positions")  # arrays of an iteration's file
ABERRATIONS = ("defocus_nm", "astigmatism_nm", "astigmatism_deg", "coma_um", "coma_deg", "cs_mm")


@dataclass(frozen=True)
class Iteration:
    """What there was after a sweep. object: (slice, y, x) of the scanned part; pixel_a, origin_a: (y, x) of it; probe:
    (mode, y, x) with probe_pixel_a; positions_a: (position, 2)."""

    sweep: int
    object: np.ndarray
    pixel_a: tuple[float, float]
    origin_a: tuple[float, float]
    probe: np.ndarray
    probe_pixel_a: tuple[float, float]
    positions_a: np.ndarray
    thickness_a: np.ndarray
    wavelength_a: float

    def phase_rad(self, slice_: int | None = None) -> np.ndarray:
        """(y, x) phase of one slice, or of all together, without mean slope."""
        part = np.prod(self.object, axis=0, keepdims=True) if slice_ is None else self.object[slice_ : slice_ + 1]
        return phase_rad(flattened(part))[0]

    def power(self) -> tuple[np.ndarray, tuple[float, float]]:
        """(ky, kx) log10 of the power spectrum of the transmission, zero frequency in the middle, and its pixel."""
        part = flattened(np.prod(self.object, axis=0, keepdims=True))[0]
        window = np.outer(np.hanning(part.shape[0]), np.hanning(part.shape[1]))
        power = np.fft.fftshift(np.abs(np.fft.fft2((part - part.mean()) * window)) ** 2)
        size = tuple(1 / (n * p) for n, p in zip(part.shape, self.pixel_a, strict=True))
        return np.log10(np.maximum(power, max(float(power.max()), 1e-30) * 1e-10)), size

    @property
    def mode_powers(self) -> np.ndarray:
        """(mode,) share of each mode in the probe's electrons."""
        power = np.sum(np.abs(self.probe) ** 2, axis=(1, 2))
        return power / max(float(power.sum()), 1e-30)

    def at_focus(self, mode: int, change_nm: float) -> np.ndarray:
        """(y, x) intensity of a mode at another plane, its most 1; change_nm along the beam."""
        grid = Grid(self.probe.shape[-2:], self.probe_pixel_a)
        ky, kx = grid.frequencies()
        turn = np.exp(-1j * np.pi * self.wavelength_a * change_nm * NM * (ky**2 + kx**2))
        wave = np.fft.ifft2(np.fft.fft2(self.probe[mode]) * turn)
        intensity = np.abs(wave) ** 2
        return intensity / max(float(intensity.max()), 1e-30)


class Reconstruction:
    """One reconstruction: a folder of a run that shows itself, a finished file or a checkpoint; or, without a path, a
    result at hand."""

    def __init__(self, path: Path, result: types.Reconstruction | None = None):
        self.path = Path(path)
        self.live = self.path.name.endswith(SUFFIX)
        self.session = Session(self.path)
        self._lines = Lines(self.path / "progress.jsonl")
        self.about: dict[str, Any] = {}
        self.losses: list[tuple[int, float]] = []
        self.nominal_a: np.ndarray | None = None
        self.sweeps: list[int] = []
        self._only: Iteration | None = None
        if result is not None:
            state = {name: value for name, value in vars(result.state).items() if value is not None}
            about = {"plan": result.plan, "reason": result.outcome.reason, "outcome": result.outcome.status}
            self._take(state, result.history["loss"], about, result.nominal_positions_a)
        elif not self.live:
            self._read_file()
        self.update()

    def update(self) -> bool:
        """Read what is new; True if there is anything."""
        if not self.live:
            return False
        self.about = self.session.read()
        if not self.about:
            raise InputError("run", "must have a session.json", self.path.name, "Start it with --live.")
        fresh = self._lines.update()
        if fresh:
            items = by_sweep(self._lines.items)
            found = [(int(item["sweep"]), number(item.get("loss"))) for item in items]
            self.losses = [(sweep, loss) for sweep, loss in found if loss is not None]
        known = [int(path.stem.rpartition("-")[2]) for path in iterations(self.path) if _numbered(path)]
        fresh = fresh or known != self.sweeps
        self.sweeps = known
        if self.nominal_a is None and (self.path / "start.h5").is_file():
            arrays, _ = hdf5.read_hdf5(self.path / "start.h5", "start", [NOMINAL])
            self.nominal_a = arrays[NOMINAL]
        return fresh

    @property
    def state(self) -> str:
        """Of the run."""
        if self.live:
            return self.session.state()
        return FAILED if self.about.get("outcome") == "diverged" else DONE

    def iteration(self, sweep: int) -> Iteration:
        """An iteration that is kept. Raises InputError for one that has gone."""
        return self._only if self._only is not None else _read(self.path / f"iteration-{sweep:06d}.h5")

    def told(self) -> dict[str, float]:
        """Aberrations that the run was told, in microscope units; empty if none."""
        optics = self.about.get("optics")
        if not isinstance(optics, dict):
            return {}

        def value(name: str) -> float:
            return number(optics.get(name)) or 0.0

        return {
            "defocus_nm": value("defocus_a") / NM,
            "astigmatism_nm": value("astigmatism_a") / NM,
            "astigmatism_deg": float(np.degrees(value("astigmatism_angle_rad"))),
            "coma_um": value("coma_a") / NM / 1e3,
            "coma_deg": float(np.degrees(value("coma_angle_rad"))),
            "cs_mm": value("cs_a") / NM / 1e6,
        }

    def semiangle_rad(self) -> float | None:
        """Of the aperture, as the run was told."""
        optics = self.about.get("optics")
        return number(optics.get("semiangle_rad")) if isinstance(optics, dict) else None

    def log(self) -> str:
        """The end of its log."""
        path = self.path / FILE
        try:
            with path.open("rb") as file:
                file.seek(max(0, path.stat().st_size - LOG_BYTES))
                return file.read().decode("utf-8", "replace")
        except OSError:
            return ""

    def _read_file(self) -> None:
        kind = hdf5.kind_of(self.path)
        if kind == "checkpoint":
            arrays, attributes = hdf5.read_hdf5(self.path, kind, ["state/*"])
            losses, outcome = attributes["record"]["loss"], {"reason": "A checkpoint.", "status": "stopped"}
        else:
            arrays, attributes = hdf5.read_hdf5(self.path, "reconstruction", [NOMINAL, "history/*", "state/*"])
            losses, outcome = arrays["history/loss"], attributes["outcome"]
        state = {name.partition("/")[2]: a for name, a in arrays.items() if name.startswith("state/")}
        about = {"plan": attributes["plan"], "reason": outcome["reason"], "outcome": outcome["status"]}
        self._take(state, losses, about, arrays.get(NOMINAL))

    def _take(self, state: dict[str, Any], losses: Any, about: dict[str, Any], nominal_a: np.ndarray | None) -> None:
        """What is finished has one iteration."""
        self.about, self.nominal_a = about, nominal_a
        self.losses = [(i, float(v)) for i, v in enumerate(losses, 1) if v is not None and np.isfinite(v)]
        self.sweeps = [len(losses)]
        state = {name: np.asarray(value) for name, value in state.items()}
        rows, columns = scanned_part(state["positions_px"], state["object"].shape[-2:])
        pixel, origin = state["pixel_a"].astype(float), state["origin_a"].astype(float)
        self._only = Iteration(
            len(losses), state["object"][:, rows, columns], tuple(pixel),
            tuple(origin + pixel * [rows.start, columns.start]), all_modes(state["probe"]), tuple(pixel),
            state["positions_px"] * pixel + origin, state["thickness_a"], float(state["wavelength_a"]),
        )  # fmt: skip


@dataclass(frozen=True)
class Fitted:
    """Aberrations of a probe's phase: in microscope units; residual_rad: rms that they leave, weighted by intensity."""

    values: dict[str, float]
    residual_rad: float


def fit_aberrations(
    probe: np.ndarray, pixel_a: tuple[float, float], wavelength_a: float, told: dict[str, float]
) -> Fitted:
    """Defocus, astigmatism, coma and Cs whose phase is nearest to a probe's (y, x), starting at what was told.

    The phase differences of neighbouring frequencies are compared, so that nothing needs unwrapping; a shift of the
    probe is left free. Least squares, weighted by the amplitudes (Gauss-Newton, by scipy).
    """
    from scipy.optimize import least_squares

    grid = Grid(probe.shape, pixel_a)
    spectrum = np.fft.fft2(np.fft.ifftshift(probe))
    ky, kx = grid.frequencies()
    alpha2 = wavelength_a**2 * (ky**2 + kx**2)
    alpha, phi = np.sqrt(alpha2), np.arctan2(ky, kx)
    scale = 2 * np.pi / wavelength_a
    # phase chi per angstrom (C10, C12a, C12b, C21a, C21b, Cs) and per unit of shift
    basis = scale * np.stack([
        0.5 * alpha2, 0.5 * alpha2 * np.cos(2 * phi), 0.5 * alpha2 * np.sin(2 * phi),
        alpha**3 / 3 * np.cos(phi), alpha**3 / 3 * np.sin(phi), alpha2**2 / 4,
        wavelength_a * (ky + 0 * kx), wavelength_a * (kx + 0 * ky),
    ])  # fmt: skip
    amplitude = np.abs(spectrum)
    steps, weights, differences = [], [], []
    for axis in (0, 1):
        neighbour = np.roll(spectrum, -1, axis)
        weight = np.minimum(amplitude, np.roll(amplitude, -1, axis))
        change = np.roll(basis, -1, axis + 1) - basis
        near = np.abs(np.roll(alpha, -1, axis) - alpha) < 2 * np.max(alpha) / min(probe.shape)  # not around the edge
        keep = (weight > 0.2 * amplitude.max()) & near
        steps.append(change[:, keep])
        weights.append(weight[keep])
        differences.append((neighbour * np.conj(spectrum))[keep])
    step, weight, difference = np.concatenate(steps, 1), np.concatenate(weights), np.concatenate(differences)
    if not weight.size:
        raise InputError("probe", "must have an aperture", "nothing", "Look at another mode.")
    unit = difference / np.maximum(np.abs(difference), 1e-30)
    size = np.sqrt(np.mean(step**2, axis=1)) + 1e-30

    def residual(x: np.ndarray) -> np.ndarray:
        error = np.angle(unit * np.exp(1j * (step.T @ (x / size))))
        return weight / weight.max() * error

    begin = np.zeros(8)
    begin[:6] = _coefficients(told)
    found = least_squares(residual, begin * size, loss="soft_l1", f_scale=0.3)
    x = found.x / size
    rms = float(np.sqrt(np.sum(residual(found.x) ** 2) / np.sum((weight / weight.max()) ** 2)))
    return Fitted(_microscope(x[:6]), rms)


def _coefficients(told: dict[str, float]) -> np.ndarray:
    """(C10, C12 cos, C12 sin, C21 cos, C21 sin, Cs) in angstrom."""
    values = {name: float(told.get(name, 0.0)) for name in ABERRATIONS}
    twice, once = np.radians(2 * values["astigmatism_deg"]), np.radians(values["coma_deg"])
    c12, c21 = values["astigmatism_nm"] * NM, values["coma_um"] * 1e3 * NM
    return np.array([-values["defocus_nm"] * NM, c12 * np.cos(twice), c12 * np.sin(twice),
                     c21 * np.cos(once), c21 * np.sin(once), values["cs_mm"] * 1e6 * NM])  # fmt: skip


def _microscope(c: np.ndarray) -> dict[str, float]:
    return {
        "defocus_nm": float(-c[0] / NM),
        "astigmatism_nm": float(np.hypot(c[1], c[2]) / NM),
        "astigmatism_deg": float(np.degrees(np.arctan2(c[2], c[1])) / 2),
        "coma_um": float(np.hypot(c[3], c[4]) / NM / 1e3),
        "coma_deg": float(np.degrees(np.arctan2(c[4], c[3]))),
        "cs_mm": float(c[5] / NM / 1e6),
    }


@lru_cache(8)
def _read_stamped(path: Path, stamp: int) -> Iteration:
    arrays, attributes = hdf5.read_hdf5(path, "iteration", ITERATION, ITERATION)
    return Iteration(
        int(attributes["sweep"]), arrays["object"], tuple(attributes["pixel_a"]), tuple(attributes["origin_a"]),
        arrays["probe"], tuple(attributes["probe_pixel_a"]), arrays["positions"],
        np.asarray(attributes["thickness_a"]), float(attributes["wavelength_a"]),
    )  # fmt: skip


def _read(path: Path) -> Iteration:
    try:
        return _read_stamped(path, path.stat().st_mtime_ns)
    except FileNotFoundError:
        raise InputError("iteration", "must still be kept", path.name, "Move the slider again.") from None


def _numbered(path: Path) -> bool:
    return path.stem.rpartition("-")[2].isdigit()
