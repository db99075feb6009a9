"""Physical constants and conversions. Inside the package: angstrom, radian, volt-angstrom, electrons."""

from __future__ import annotations

import math

from scipy.constants import c, e, h, hbar, m_e

NM = 10.0  # angstrom per nanometre
UM = 1e4  # angstrom per micrometre
MM = 1e7  # angstrom per millimetre
MRAD = 1e-3  # radian per milliradian
KV = 1e3  # volt per kilovolt


def wavelength_a(voltage_kv: float) -> float:
    """Relativistic electron wavelength in angstrom (De Graef 2003, eq. 2.37).

    `wavelength_a(80)` is 0.041757 A.
    """
    energy_ev = voltage_kv * KV
    momentum = math.sqrt(2 * m_e * energy_ev * e * (1 + energy_ev * e / (2 * m_e * c**2)))
    return h / momentum * 1e10


def interaction_parameter(voltage_kv: float) -> float:
    """Interaction parameter sigma in rad/(V A): the phase of a slice is sigma times its projected potential.

    sigma = 2 pi m e lambda / h^2 with the relativistic mass (Kirkland 2020, eq. 5.6).
    `interaction_parameter(80)` is 1.00871e-3.
    """
    energy_ev = voltage_kv * KV
    mass = m_e * (1 + energy_ev * e / (m_e * c**2))
    per_volt_metre = mass * e * wavelength_a(voltage_kv) * 1e-10 / (2 * math.pi * hbar**2)
    return per_volt_metre * 1e-10
