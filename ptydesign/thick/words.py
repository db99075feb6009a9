"""What pages say about a thick sample."""

from __future__ import annotations

from typing import Any


def defect_words(study: dict[str, Any]) -> str:
    """Defects of the sample, as "8 Al interstitial"; nothing if there are none."""
    return ", ".join(
        f"{d.get('count') or len(d['at_a'])} {d.get('element') or d['host']} {d['kind']}"
        for d in study["sample"]["defects"]
    )


def experiment_words(study: dict[str, Any]) -> str:
    """The experiment in a line."""
    experiment = study["experiment"]
    return (
        f"{experiment['voltage_kv']:g} kV, {experiment['semiangle_mrad']:g} mrad, defocus "
        f"{experiment['defocus_nm']:g} nm (positive is underfocus), step {experiment['step_a']:g} Å, "
        f"{experiment['applied_dose_e_per_a2']:.3g} e/Å²"
    )
