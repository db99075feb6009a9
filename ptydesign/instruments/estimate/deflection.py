"""The scan's turn against the detector from the patterns' centres of mass, whatever the probe.

For a thin specimen the mean deflection of a pattern is the gradient of the phase, averaged over the probe: a field
without curl. If the scan is turned against the detector, it has one; the turn that leaves least is the scan's (as in
differential phase contrast; Lazic, Bosch & Lazar, Ultramicroscopy 160:265, 2016).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ptydesign.instruments.estimate.sideband import turned


@dataclass(frozen=True)
class Field:
    """Fourier components of the deflection. frequencies: (q, 2) in 1/A, of the scan's frame; values: (q, 2) complex, of
    (ky, kx)."""

    frequencies: np.ndarray
    values: np.ndarray

    def part(self, which: np.ndarray) -> Field:
        """The same with some frequencies."""
        return Field(self.frequencies[which], self.values[which])

    @property
    def effective(self) -> float:
        """How many frequencies share the power."""
        power = np.sum(np.abs(self.values) ** 2, axis=1)
        return float(power.sum() ** 2 / max(np.sum(power**2), 1e-300))


def spectrum(positions_a: np.ndarray, moment: np.ndarray) -> Field | None:
    """The field of centres of mass (n, 2) at positions (n, 2) in the scan's frame; NaN are left out. A plane, which
    descan gives, is taken out. None if the positions don't span an area."""
    there = np.all(np.isfinite(moment), axis=1)
    positions, moment = positions_a[there] - positions_a[there].mean(axis=0), moment[there]
    extent = np.ptp(positions, axis=0) if len(positions) else np.zeros(2)
    if len(positions) < 25 or min(extent) <= 0:
        return None
    plane = np.column_stack([np.ones(len(positions)), positions])
    moment = moment - plane @ np.linalg.lstsq(plane, moment, rcond=None)[0]
    step = np.sqrt(np.prod(extent) / len(positions))
    spacing = 1 / (extent + step)
    limit = 0.4 / step
    reach = np.floor(limit / spacing).astype(int)
    rows, columns = np.meshgrid(*(np.arange(-r, r + 1) for r in reach), indexing="ij")
    half = (rows > 0) | ((rows == 0) & (columns > 0))
    frequencies = np.stack([rows[half], columns[half]], axis=1) * spacing
    frequencies = frequencies[np.hypot(*frequencies.T) < limit]
    if len(frequencies) < 12:
        return None
    middle = (positions.max(axis=0) + positions.min(axis=0)) / 2
    taper = np.prod(np.cos(np.pi * np.clip((positions - middle) / (1.02 * extent), -0.5, 0.5)) ** 2, axis=1)
    moment = (moment - np.average(moment, axis=0, weights=taper)) * taper[:, None]
    values = np.concatenate(
        [
            np.exp(-2j * np.pi * (part @ positions.T)) @ moment
            for part in np.array_split(frequencies, 1 + len(frequencies) // 512)
        ]
    )
    return Field(frequencies, values)


def least_curl(field: Field, mirrored: bool) -> tuple[float, float]:
    """(turn in rad in [0, pi), share of the power that is curl) of the turn with least curl."""
    values = field.values[:, ::-1] if mirrored else field.values
    along = field.frequencies / np.hypot(*field.frequencies.T)[:, None]
    # curl of the turn t: |Q x C|^2 = a - b cos 2t - c sin 2t
    cross = along[:, 1] * values[:, 0] - along[:, 0] * values[:, 1]
    dot = along[:, 0] * values[:, 0] + along[:, 1] * values[:, 1]
    power = np.sum(np.abs(values) ** 2)
    b = np.sum(np.abs(dot) ** 2 - np.abs(cross) ** 2) / 2
    c = np.sum(np.real(np.conj(dot) * cross))
    turn = np.arctan2(c, b) / 2 % np.pi
    return float(turn), float(0.5 - np.hypot(b, c) / max(power, 1e-300))


def skewness(field: Field, mirrored: bool, turn_rad: float) -> float:
    """Third moment of the phase that has this gradient, in arbitrary units: positive if it peaks upwards."""
    values = field.values[:, ::-1] if mirrored else field.values
    q = turned(field.frequencies, turn_rad).T
    square = np.sum(q**2, axis=1)
    phi = np.sum(q * values, axis=1) / (1j * square)
    strongest = np.argsort(-np.abs(phi))[:200]
    side = 48
    low = 1 / np.abs(field.frequencies[np.abs(field.frequencies) > 0]).min()
    axis = (np.arange(side) / side - 0.5) * low
    y, x = np.meshgrid(axis, axis, indexing="ij")
    points = np.stack([y.ravel(), x.ravel()], axis=1)
    phase = np.real(np.exp(2j * np.pi * (points @ field.frequencies[strongest].T)) @ phi[strongest])
    return float(np.mean((phase - phase.mean()) ** 3))
