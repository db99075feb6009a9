"""A small ptychography experiment written in plain NumPy, independent of the package's forward model."""

from __future__ import annotations

import numpy as np

from ptydesign.grids import Grid
from ptydesign.types import Dataset, Optics

WAVELENGTH_A = 0.0417571607  # 80 kV


def smooth_phase(shape: tuple[int, int], pixel_a: float, rng: np.random.Generator, rms: float = 0.15) -> np.ndarray:
    """Random phase (y, x) in rad without frequencies beyond about 1 1/A."""
    k2 = np.fft.fftfreq(shape[0], pixel_a)[:, None] ** 2 + np.fft.fftfreq(shape[1], pixel_a)[None] ** 2
    phase = np.fft.ifft2(np.fft.fft2(rng.normal(size=shape)) * np.exp(-k2 / 0.5**2)).real
    return phase * rms / phase.std()


def probe_of(shape: tuple[int, int], pixel_a: float, semiangle_rad: float, defocus_a: float) -> np.ndarray:
    """Hard-edged probe centred at (ny//2, nx//2), sum |P|^2 = 1."""
    ky, kx = np.fft.fftfreq(shape[0], pixel_a)[:, None], np.fft.fftfreq(shape[1], pixel_a)[None]
    k2 = ky**2 + kx**2
    spectrum = (WAVELENGTH_A**2 * k2 < semiangle_rad**2) * np.exp(1j * np.pi * WAVELENGTH_A * defocus_a * k2)
    probe = np.fft.fftshift(np.fft.ifft2(spectrum))
    return probe / np.linalg.norm(probe)


def experiment(
    shape=(32, 40),
    pixel_a=0.3,
    steps=(9, 8),
    step_a=1.2,
    dose=1e5,
    slices=1,
    thickness_a=40.0,
    modes=((1.0, 0),),
    seed=0,
    noisy=True,
    semiangle_rad=0.025,
    defocus_a=120.0,
    phases=None,
    drift_a=(0.0, 0.0),
    shift_a=(0.0, 0.0),
):
    """(Dataset, object (slice, y, x) complex, first pixel of the object in the specimen's frame (y, x) px).

    modes: (power, order) of incoherent probe modes; order n multiplies the probe by x^n.
    drift_a: focus and twofold astigmatism of all modes go from minus this at the first position to plus at the last.
    shift_a: (y, x) of all positions.
    phases: function of the canvas (y, x) that gives the slices' phases, instead of random ones.
    """
    rng = np.random.default_rng(seed)
    ny, nx = shape
    canvas = tuple(int(np.ceil(n * step_a / pixel_a)) + s + 24 for n, s in zip(steps, shape, strict=True))
    if phases is None:
        values = np.stack([smooth_phase(canvas, pixel_a, rng, 0.15 / np.sqrt(slices)) for _ in range(slices)])
    else:
        values = phases(canvas)
    transmission = np.exp(1j * values)
    first_mode = probe_of(shape, pixel_a, semiangle_rad, defocus_a)
    x = (np.arange(nx) - nx // 2)[None]
    probes = []
    for power, order in modes:
        mode = first_mode * x**order
        for other in probes:
            mode = mode - other * np.vdot(other, mode) / np.vdot(other, other)
        probes.append(mode / np.linalg.norm(mode) * np.sqrt(power))
    raster = np.stack(np.meshgrid(*(np.arange(n) * step_a for n in steps), indexing="ij"), -1).reshape(-1, 2)
    positions = (
        raster + rng.uniform(-0.2, 0.2, raster.shape) + (np.asarray(shape) // 2 + 8) * pixel_a + np.asarray(shift_a)
    )
    fy, fx = np.fft.fftfreq(ny)[:, None], np.fft.fftfreq(nx)[None]
    k2 = (fy**2 + fx**2) / pixel_a**2
    drift = np.pi * WAVELENGTH_A * (drift_a[0] * k2 + drift_a[1] * (fy**2 - fx**2) / pixel_a**2)
    times = np.linspace(-1, 1, len(positions))
    fresnel = np.exp(-1j * np.pi * WAVELENGTH_A * thickness_a * k2)
    patterns = np.zeros((len(positions), ny, nx))
    for j, position in enumerate(positions / pixel_a):
        whole = np.round(position).astype(int)
        rest = position - whole
        window = np.s_[whole[0] - ny // 2 : whole[0] - ny // 2 + ny, whole[1] - nx // 2 : whole[1] - nx // 2 + nx]
        for probe in probes:
            shift = np.exp(-2j * np.pi * (fy * rest[0] + fx * rest[1]) + 1j * drift * times[j])
            wave = np.fft.ifft2(np.fft.fft2(probe) * shift)
            for s in range(slices):
                wave = wave * transmission[s][window]
                if s < slices - 1:
                    wave = np.fft.ifft2(np.fft.fft2(wave) * fresnel)
            patterns[j] += np.abs(np.fft.fft2(wave, norm="ortho")) ** 2
    patterns *= dose * step_a**2
    if noisy:
        patterns = rng.poisson(patterns)
    dataset = Dataset(
        patterns=patterns.astype(np.float64),
        positions_a=positions,
        grid=Grid(shape, (pixel_a, pixel_a)),
        voltage_kv=80.0,
        mask=np.ones(shape),
        optics=Optics(80.0, semiangle_rad, defocus_a),
        probe_guess=np.stack(probes),
    )
    return dataset, transmission


def true_state(start, dataset, transmission):
    """A start with the true object (slice, y, x) and positions in it; the probe is the start's own."""
    pixel = np.asarray(dataset.grid.pixel_a)
    origin = np.round(start.origin_a / pixel).astype(int)
    canvas = np.ones(start.object.shape, complex)
    part = transmission[:, origin[0] : origin[0] + canvas.shape[1], origin[1] : origin[1] + canvas.shape[2]]
    canvas[:, : part.shape[1], : part.shape[2]] = part
    return start.replace(object=canvas, positions_px=dataset.positions_a / pixel - origin, origin_a=origin * pixel)


def phase_error(state, transmission, dataset) -> float:
    """Rms phase error in rad over the scanned region, after removing a constant and a ramp (sum over slices)."""
    pixel = dataset.grid.pixel_a[0]
    shift = np.asarray(state.origin_a) / pixel
    found = np.asarray(state.object).prod(axis=0)
    rows, cols = (np.fft.fftfreq(n)[:, None] for n in found.shape)
    moved = np.fft.ifft2(np.fft.fft2(found) * np.exp(-2j * np.pi * (rows * (shift[0] % 1) + cols.T * (shift[1] % 1))))
    whole = np.floor(shift).astype(int)
    low = np.ceil(dataset.positions_a.min(axis=0) / pixel).astype(int)
    high = np.floor(dataset.positions_a.max(axis=0) / pixel).astype(int)
    truth = transmission.prod(axis=0)[low[0] : high[0], low[1] : high[1]]
    mine = moved[low[0] - whole[0] : high[0] - whole[0], low[1] - whole[1] : high[1] - whole[1]]
    difference = mine * np.conj(truth)
    difference = np.angle(difference * np.exp(-1j * np.angle(difference.mean())))
    y, x = np.indices(difference.shape)
    basis = np.stack([np.ones(difference.size), y.ravel(), x.ravel()], axis=1)
    flat = difference.ravel()
    return float(np.std(flat - basis @ np.linalg.lstsq(basis, flat, rcond=None)[0]))
