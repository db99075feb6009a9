"""How the scan lies on the detector, and the probe's defocus: by the weak-phase fit, and by the deflection alone."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from ptydesign.instruments.estimate import deflection, sideband
from ptydesign.instruments.estimate.sideband import Setting, Signal

SURE = 6.0  # standard deviations of all settings tried, by which the best must stand out
GROUPS = 6
SKEWED = 0.3  # skewness of the phase, above which atoms are told from holes between them
SPREAD_DEG = 12.0  # of the groups' turns; beyond, they see nothing in common


@dataclass(frozen=True)
class Orientation:
    """What was found. mirrored: the patterns have to be transposed. turn_deg: the scan's x axis from kx towards ky.
    defocus_a > 0 is underfocus, None if the method doesn't see it. astigmatism_a: (C12 of kx^2 - ky^2, of 2 kx ky).
    Errors are standard deviations. sigmas: how far this stands out of all that were tried. hand_sigmas: the same over
    the best one with the other handedness. sign_sure: whether phi's sign says which of two opposite settings it is.
    method: sideband or deflection. signal, setting: for pictures, of the sideband."""

    mirrored: bool
    turn_deg: float
    turn_error_deg: float
    defocus_a: float | None
    defocus_error_a: float | None
    astigmatism_a: tuple[float, float] | None
    sigmas: float
    hand_sigmas: float
    sign_sure: bool
    method: str
    signal: Signal | None = field(default=None, repr=False)
    setting: Setting | None = field(default=None, repr=False)

    @property
    def known(self) -> bool:
        """Whether the turn stands out, and parts of the data agree on it."""
        return self.sigmas > SURE and self.turn_error_deg * np.sqrt(GROUPS) < SPREAD_DEG

    @property
    def hand_known(self) -> bool:
        """Whether it is known if the patterns have to be transposed."""
        return self.known and self.hand_sigmas > SURE


def by_sideband(signal: Signal) -> Orientation:
    """The setting that explains most of a bright-field signal."""
    found = sideband.search(signal)
    climbed = [sideband.refined(signal, setting) for _, setting in found.best]
    score, setting = max(climbed, key=lambda pair: pair[0])
    others = [s for s, other in climbed if other.mirrored != setting.mirrored]
    spread = (found.best[0][0] - found.middle) / max(found.sigmas, 1e-9)
    hand = (score - max(others, default=found.middle)) / max(spread, 1e-12)
    groups = np.arange(len(signal.frequencies)) % GROUPS
    apart = [sideband.refined(signal.part(np.flatnonzero(groups == g)), setting, False)[1] for g in range(GROUPS)]
    turns = np.angle(np.exp(1j * (np.array([s.turn_rad for s in apart]) - setting.turn_rad)))
    defoci = np.array([s.defocus_a for s in apart]) - setting.defocus_a
    setting, sure = _right_sign(signal, setting, groups)
    return Orientation(
        setting.mirrored,
        _degrees(setting.turn_rad),
        float(np.degrees(_robust(turns)) / np.sqrt(GROUPS)),
        setting.defocus_a,
        float(_robust(defoci) / np.sqrt(GROUPS)),
        setting.astigmatism_a,
        found.sigmas,
        hand,
        sure,
        "sideband",
        signal,
        setting,
    )


def by_deflection(positions_a: np.ndarray, moment: np.ndarray) -> Orientation | None:
    """The turn that leaves least curl in the patterns' centres of mass (n, 2); None without a scanned area."""
    field_ = deflection.spectrum(positions_a, moment)
    if field_ is None:
        return None
    hands = {hand: deflection.least_curl(field_, hand) for hand in (False, True)}
    hand = min(hands, key=lambda h: hands[h][1])
    turn, curl = hands[hand]
    groups = np.arange(len(field_.frequencies)) % GROUPS
    parts = [deflection.least_curl(field_.part(groups == g), hand)[0] for g in range(GROUPS)]
    error = np.angle(np.exp(2j * (np.array(parts) - turn))) / 2
    signs = [np.sign(deflection.skewness(field_.part(groups != g), hand, turn)) for g in range(GROUPS)]
    if sum(signs) < 0:
        turn += np.pi
    # curl's share of two random components is Beta distributed about 1/2, with its number of frequencies
    width = 0.5 / np.sqrt(field_.effective + 1)
    return Orientation(
        hand,
        _degrees(turn),
        float(np.degrees(_robust(error)) / np.sqrt(GROUPS)),
        None,
        None,
        None,
        (0.5 - curl) / width,
        (hands[not hand][1] - curl) / width,
        abs(sum(signs)) == GROUPS,
        "deflection",
    )


def together(one: Orientation | None, other: Orientation | None) -> Orientation | None:
    """The better known of two; its turn is the weighted mean of both where both are known and agree."""
    if one is None or not one.known:
        return other if other is not None and other.known else one
    if other is None or not other.known or one.mirrored != other.mirrored:
        return one
    apart = float(np.degrees(np.angle(np.exp(2j * np.radians(other.turn_deg - one.turn_deg))) / 2))
    errors = [max(o.turn_error_deg, 0.05) for o in (one, other)]
    if abs(apart) > 4 * np.hypot(*errors):
        return one
    weight = errors[0] ** 2 / (errors[0] ** 2 + errors[1] ** 2)
    error = float(1 / np.hypot(1 / errors[0], 1 / errors[1]))
    return replace(one, turn_deg=_degrees(np.radians(one.turn_deg + weight * apart)), turn_error_deg=error)


def _right_sign(signal: Signal, setting: Setting, groups: np.ndarray) -> tuple[Setting, bool]:
    """The setting or its opposite, whichever makes the phase peak upwards, and whether all parts of the data agree."""
    low = signal.positions_a.min(axis=0)
    extent = np.ptp(signal.positions_a, axis=0)
    pixel = 0.35 / signal.aperture
    size = np.clip(np.ceil(extent / pixel).astype(int), 8, 96)
    axes = [low[a] + np.arange(size[a]) * min(pixel, extent[a] / size[a]) for a in (0, 1)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
    signs = []
    for group in range(GROUPS):
        phase = sideband.phase_of(signal.part(np.flatnonzero(groups != group)), setting, points)
        signs.append(float(np.mean((phase - phase.mean()) ** 3) / max(phase.std(), 1e-30) ** 3))
    ups = sum(np.sign(signs))
    sure = abs(ups) == GROUPS and np.min(np.abs(signs)) > SKEWED
    return (setting if ups >= 0 else setting.opposite()), bool(sure)


def _robust(values: np.ndarray) -> float:
    """Standard deviation of a few values about 0, of which one may be wild."""
    return float(1.4826 * np.median(np.abs(values)))


def _degrees(turn_rad: float) -> float:
    """In (-180, 180]."""
    return float(-((-np.degrees(turn_rad) + 180) % 360 - 180))
