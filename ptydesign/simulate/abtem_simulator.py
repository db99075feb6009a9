"""The same patterns as `jax_simulator`, computed by abTEM's own probe, aberrations, transmission and multislice.

Slow, and independent: shared with the JAX simulator are only where the windows lie (`scan`), the integration over
detector pixels, and the quadrature of partial coherence. abTEM has no windowed probes, so its multislice runs on the
piece of the whole specimen's band-limited transmission function that lies in the window, on the potential's own pixel.
Precision is float64.
"""

from __future__ import annotations

import numpy as np

from ptydesign.errors import InputError
from ptydesign.simulate.coherence import focal_points, source_points
from ptydesign.simulate.integrate import pattern, pixels_of, probe_spectrum
from ptydesign.simulate.scan import check_windows
from ptydesign.simulate.window import Window
from ptydesign.types import Experiment, Optics, Potential
from ptydesign.units import KV, MRAD


def intensities(
    potential: Potential,
    experiment: Experiment,
    positions_a: np.ndarray,
    window: Window,
    periodic: bool = False,
) -> np.ndarray:
    """Mean pattern at each true position: (position, *detector.pixels) float32, corner-centred.

    See `jax_simulator.intensities`, which has the same arguments, result and errors.
    """
    import abtem  # 10 s of imports: only here

    if experiment.defocus_drift_a or experiment.astigmatism_drift_a:
        drift = (experiment.defocus_drift_a, experiment.astigmatism_drift_a)
        mend = "Use the jax simulator, or leave the drift out."
        raise InputError("experiment.defocus_drift_a", "can't be simulated with abTEM", drift, mend)
    positions_a = np.asarray(positions_a, np.float64)
    offsets, offset_weights = source_points(experiment)
    changes, focal_weights = focal_points(experiment)
    if max(window.ratio) > 1:
        raise InputError("window", "must have the potential's pixel", window.grid.pixel_a, "Make it with fine=True.")
    check_windows(potential, (positions_a[:, None] + offsets).reshape(-1, 2), window.grid, periodic)
    everything = tuple(np.fft.fftfreq(size, 1 / size) for size in window.grid.shape)
    of_probe = np.abs(probe_spectrum(window.grid, experiment.optics)) ** 2
    pixels = pixels_of(experiment, window.grid, everything, of_probe)
    total = np.zeros((len(positions_a), *experiment.detector.pixels))
    settings = {"precision": "float64", "fft": "numpy", "device": "cpu", "diagnostics.progress_bar": False}
    with abtem.config.set(settings):
        probes = [_probe(experiment.optics, change, window) for change in changes]
        for slices_va in potential.slices_va:
            transmission = _transmission(slices_va, potential, experiment.optics.voltage_kv)
            for index, position in enumerate(positions_a):
                for offset, offset_weight in zip(offsets, offset_weights, strict=True):
                    local, rest_a = _crop(transmission, position + offset, potential, window)
                    for probe, focal_weight in zip(probes, focal_weights, strict=True):
                        fine, direct = _pattern(probe, local, rest_a, window)
                        weight = offset_weight * focal_weight / len(potential.slices_va)
                        total[index] += weight * pattern(fine * pixels.kept, direct, pixels)
    return total.astype(np.float32)


def _probe(optics: Optics, defocus_change_a: float, window: Window):
    """abTEM's probe for these optics, as large as the window. abTEM's axes are (x, y), its angles mrad, energy eV."""
    import abtem

    energy = optics.voltage_kv * KV
    return abtem.Probe(
        aperture=abtem.transfer.Aperture(semiangle_cutoff=optics.semiangle_rad / MRAD, energy=energy, soft=True),
        energy=energy,
        extent=window.grid.extent_a[::-1],
        gpts=window.grid.shape[::-1],
        defocus=optics.defocus_a + defocus_change_a,
        astigmatism=optics.astigmatism_a,
        astigmatism_angle=optics.astigmatism_angle_rad,
        coma=optics.coma_a,
        coma_angle=optics.coma_angle_rad,
        Cs=optics.cs_a,
        C23=optics.trefoil_a,
        phi23=optics.trefoil_angle_rad,
        C32=optics.star_a,
        phi32=optics.star_angle_rad,
        C34=optics.fourfold_a,
        phi34=optics.fourfold_angle_rad,
        C50=optics.c5_a,
    )


def _transmission(slices_va: np.ndarray, potential: Potential, voltage_kv: float):
    """abTEM's transmission function of the whole specimen, band-limited by abTEM, axes (slice, x, y)."""
    import abtem
    from abtem.antialias import AntialiasAperture

    array = abtem.PotentialArray(
        np.swapaxes(slices_va, -1, -2).astype(np.float64),
        slice_thickness=[float(thickness) for thickness in potential.thickness_a],
        extent=potential.grid.extent_a[::-1],
    )
    return AntialiasAperture().bandlimit(array.transmission_function(energy=voltage_kv * KV))


def _crop(transmission, position_a: np.ndarray, potential: Potential, window: Window):
    """The transmission functions of the slices in the window around a position, and the probe's (x, y) in it in A."""
    from abtem.potentials.iam import TransmissionFunction

    pixel = np.asarray(potential.pixel_a)
    rows, columns = (
        np.arange(size) - size // 2 + int(np.rint(place))
        for size, place in zip(window.grid.shape, position_a / pixel, strict=True)
    )
    local = transmission.array[:, (columns % potential.grid.shape[1])[:, None], rows % potential.grid.shape[0]]
    slices = [
        TransmissionFunction(
            array[None],
            slice_thickness=thickness,
            extent=window.grid.extent_a[::-1],
            energy=transmission.energy,
        )
        for array, thickness in zip(local, transmission.slice_thickness, strict=True)
    ]
    y, x = position_a - np.array([rows[0], columns[0]]) * pixel
    return slices, (x, y)


def _pattern(
    probe, slices: list, probe_position_a: tuple[float, float], window: Window
) -> tuple[np.ndarray, np.ndarray]:
    """Of abTEM's multislice: the fine pattern, window.grid.shape, corner-centred, as a fraction of the incident
    electrons, and the part of these that leave undeflected, ().

    Waves.multislice of abTEM 1.0.11 fails on transmission functions and would band-limit a cropped potential, whose
    edges don't match; its steps take them as they are.
    """
    import abtem
    from abtem.antialias import AntialiasAperture
    from abtem.multislice import FresnelPropagator, conventional_multislice_step

    wave = probe.build(scan=abtem.CustomScan(np.array([probe_position_a])), lazy=False)
    incident = np.fft.fft2(wave.array.reshape(window.grid.shape[::-1])).T
    propagator, antialias = FresnelPropagator(), AntialiasAperture()
    for transmission in slices:
        wave = conventional_multislice_step(wave, transmission, propagator, antialias)
    leaving = np.fft.fft2(wave.array.reshape(window.grid.shape[::-1])).T
    (ky, kx), thickness_a = window.grid.frequencies(), sum(one.slice_thickness[0] for one in slices)
    free = incident * np.exp(-1j * np.pi * wave.wavelength * thickness_a * (ky**2 + kx**2))
    everything = np.sum(np.abs(incident) ** 2)
    fine = np.abs(leaving) ** 2 / everything
    return fine, np.abs(np.vdot(free, leaving) / everything) ** 2
