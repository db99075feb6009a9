"""Small 4D-STEM scans in plain NumPy, independent of the package: patterns as a camera gives them.

Zero frequency is in the middle. Four kinds of samples: single atoms, an amorphous film, a thin crystal, a thick one of
several slices.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

KV, WAVELENGTH_A = 80.0, 0.0417571607


@dataclass(frozen=True)
class Scan:
    """What was simulated. patterns: (rows, columns, ky, kx) counts. aperture_px: radius of the disk in pixels."""

    patterns: np.ndarray
    pixel_mrad: float
    semiangle_mrad: float
    step_a: float
    aperture_px: float
    defocus_nm: float
    rotation_deg: float

    @property
    def options(self) -> list[str]:
        """Of `ptydesign import`, for all but orientation and defocus."""
        names = {"semiangle": self.semiangle_mrad, "pixel": self.pixel_mrad}
        given = [f for name, value in names.items() for f in (f"--{name}-mrad", str(value))]
        return ["--voltage-kv", str(KV), "--step-a", str(self.step_a), *given]


def atoms(n: int, pixel_a: float, rng: np.random.Generator, per_a2: float = 0.06, peak: float = 0.35) -> np.ndarray:
    """(1, y, x) phase of single atoms at random places, and of a bar of heavier ones, which has no symmetry."""
    size = n * pixel_a
    places = rng.uniform(0, size, (int(per_a2 * size**2), 2))
    heights = rng.uniform(0.4, 1, len(places)) * peak
    return _gaussians(n, pixel_a, places, heights, 0.45)[None]


def film(n: int, pixel_a: float, rng: np.random.Generator) -> np.ndarray:
    """(1, y, x) phase of an amorphous film: many light atoms, twice over each other."""
    size = n * pixel_a
    places = rng.uniform(0, size, (int(0.35 * size**2), 2))
    return _gaussians(n, pixel_a, places, np.full(len(places), 0.12), 0.35)[None]


def crystal(n: int, pixel_a: float, rng: np.random.Generator) -> np.ndarray:
    """(1, y, x) phase of a honeycomb with two kinds of atoms, turned by 11 deg."""
    a, turn = 3.16, np.radians(11)
    size = n * pixel_a
    reach = int(2 * size / a)
    i, j = np.meshgrid(np.arange(-reach, reach), np.arange(-reach, reach), indexing="ij")
    x, y = a * (i + j / 2), a * np.sqrt(3) / 2 * j
    places, heights = [], []
    for dx, dy, height in ((0, 0, 0.55), (a / 2, a / np.sqrt(12), 0.3)):
        px, py = x + dx, y + dy
        places.append(np.stack([py * np.cos(turn) + px * np.sin(turn), px * np.cos(turn) - py * np.sin(turn)], -1))
        heights.append(np.full(places[-1].shape[:2], height))
    where = np.concatenate([p.reshape(-1, 2) for p in places]) + size / 2
    inside = np.all((where > 1) & (where < size - 1), axis=1)
    return _gaussians(n, pixel_a, where[inside], np.concatenate([h.ravel() for h in heights])[inside], 0.4)[None]


def thick(n: int, pixel_a: float, rng: np.random.Generator) -> np.ndarray:
    """(5, y, x) phases of slices of a square lattice with a heavy and a light column, turned by -7 deg."""
    a, turn = 3.9, np.radians(-7)
    size = n * pixel_a
    reach = int(2 * size / a)
    i, j = np.meshgrid(np.arange(-reach, reach), np.arange(-reach, reach), indexing="ij")
    slices = np.zeros((5, n, n))
    for dx, dy, height in ((0, 0, 0.3), (a / 2, a / 2, 0.18), (a / 2, 0, 0.08)):
        px, py = a * i + dx, a * j + dy
        where = np.stack([py * np.cos(turn) + px * np.sin(turn), px * np.cos(turn) - py * np.sin(turn)], -1)
        where = where.reshape(-1, 2) + size / 2
        where = where[np.all((where > 1) & (where < size - 1), axis=1)]
        slices += _gaussians(n, pixel_a, where, np.full(len(where), height), 0.4)
    return slices


SAMPLES = {"atoms": atoms, "film": film, "crystal": crystal, "thick": thick}
SLICE_A = 12.0


def _gaussians(n: int, pixel_a: float, places: np.ndarray, heights: np.ndarray, sigma_a: float) -> np.ndarray:
    """Periodic sum of Gaussians, through its Fourier transform."""
    image = np.zeros((n, n))
    whole = np.floor(places / pixel_a).astype(int)
    rest = places / pixel_a - whole
    for dy in (0, 1):
        for dx in (0, 1):
            share = np.abs(1 - dy - rest[:, 0]) * np.abs(1 - dx - rest[:, 1]) * heights
            np.add.at(image, ((whole[:, 0] + dy) % n, (whole[:, 1] + dx) % n), share)
    k2 = np.fft.fftfreq(n, pixel_a)[:, None] ** 2 + np.fft.fftfreq(n, pixel_a)[None] ** 2
    smooth = np.exp(-2 * np.pi**2 * sigma_a**2 * k2) * 2 * np.pi * sigma_a**2 / pixel_a**2
    return np.fft.ifft2(np.fft.fft2(image) * smooth).real


def scanned(
    sample: str = "atoms",
    shape: tuple[int, int] = (20, 20),
    pixels: int = 64,
    pixel_mrad: float = 1.6,
    semiangle_mrad: float = 22.0,
    defocus_nm: float = 15.0,
    step_a: float = 1.2,
    rotation_deg: float = 0.0,
    electrons: float = 3000.0,
    seed: int = 0,
    vacuum: bool = False,
) -> Scan:
    """Patterns of a raster whose x axis is turned from kx towards ky; the edge of the aperture opens a pixel by the
    part of it that lies inside."""
    rng = np.random.default_rng(seed)
    window = WAVELENGTH_A / (pixel_mrad * 1e-3)
    pixel = window / pixels
    y, x = np.meshgrid(*(np.arange(m) - (m - 1) / 2 for m in shape), indexing="ij")
    cos, sin = np.cos(np.radians(rotation_deg)), np.sin(np.radians(rotation_deg))
    where = np.stack([x * sin + y * cos, x * cos - y * sin], -1).reshape(-1, 2) * step_a / pixel
    canvas = int(np.ceil(np.ptp(where, axis=0).max() + 1.2 * pixels)) // 2 * 2 + 2
    phases = np.zeros((1, canvas, canvas)) if vacuum else SAMPLES[sample](canvas, pixel, rng)
    transmissions = np.exp(1j * phases)
    f = np.fft.fftfreq(pixels)
    k2 = (f[:, None] ** 2 + f[None] ** 2) / pixel**2
    radius = semiangle_mrad / pixel_mrad
    opened = np.clip(0.5 + radius - np.sqrt(k2) * window, 0, 1)
    probe = np.sqrt(opened) * np.exp(1j * np.pi * WAVELENGTH_A * defocus_nm * 10 * k2)
    fresnel = np.exp(-1j * np.pi * WAVELENGTH_A * SLICE_A * k2)
    patterns = np.empty((len(where), pixels, pixels), np.float32)
    for index, place in enumerate(where + canvas / 2):
        whole = np.floor(place).astype(int)
        rest = place - whole + pixels // 2
        wave = np.fft.ifft2(probe * np.exp(-2j * np.pi * (f[:, None] * rest[0] + f[None] * rest[1])))
        rows, columns = ((w - pixels // 2 + np.arange(pixels)) % canvas for w in whole)
        for number, transmission in enumerate(transmissions):
            wave = wave if number == 0 else np.fft.ifft2(np.fft.fft2(wave) * fresnel)
            wave = wave * transmission[np.ix_(rows, columns)]
        mean = np.abs(np.fft.fft2(wave)) ** 2
        patterns[index] = np.fft.fftshift(rng.poisson(mean * electrons / opened.sum()))
    return Scan(
        patterns.reshape(*shape, pixels, pixels), pixel_mrad, semiangle_mrad, step_a, radius, defocus_nm, rotation_deg
    )
