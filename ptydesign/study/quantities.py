"""Words and unit of each quantity, and numbers, as a reader sees them: axis labels, doses, values with their unit."""

from __future__ import annotations

import math
from collections.abc import Sequence

# Field of the experiment -> (words, unit). What is missing here gets words and unit from its name's suffix.
FIELDS: dict[str, tuple[str, str]] = {
    "voltage_kv": ("Beam energy", "keV"),
    "step_a": ("Scan step", "Å"),
    "semiangle_mrad": ("Aperture semi-angle", "mrad"),
    "defocus_nm": ("Defocus", "nm"),
    "detector_pixels": ("Detector size", "px"),
    "pixel_a": ("Real-space pixel", "Å"),
    "astigmatism_nm": ("Astigmatism", "nm"),
    "astigmatism_deg": ("Astigmatism angle", "°"),
    "coma_um": ("Coma", "µm"),
    "coma_deg": ("Coma angle", "°"),
    "cs_mm": ("Spherical aberration", "mm"),
    "trefoil_nm": ("Threefold astigmatism", "nm"),
    "trefoil_deg": ("Threefold astigmatism angle", "°"),
    "star_um": ("Star aberration", "µm"),
    "star_deg": ("Star aberration angle", "°"),
    "fourfold_um": ("Fourfold astigmatism", "µm"),
    "fourfold_deg": ("Fourfold astigmatism angle", "°"),
    "c5_mm": ("Fifth-order spherical aberration", "mm"),
    "line_noise_a": ("Line noise", "Å"),
    "position_jitter_a": ("Position jitter", "Å"),
    "drift_a": ("Drift", "Å"),
    "rotation_deg": ("Scan rotation", "°"),
    "source_size_a": ("Source size", "Å"),
    "focal_spread_nm": ("Focal spread", "nm"),
    "mtf_nyquist": ("MTF at Nyquist", ""),
    "background_e_per_px": ("Background", "e/px"),
    "dose_e_per_a2": ("Dose", "e/Å²"),
    "dose": ("Dose", "e/Å²"),
    "applied_dose_e_per_a2": ("Applied dose", "e/Å²"),
    "scan_time_s": ("Time of the scan", "s"),
}

_SUFFIXES = {
    "_e_per_a2": "e/Å²",
    "_e_per_px": "e/px",
    "_mrad": "mrad",
    "_rad": "rad",
    "_deg": "°",
    "_kv": "kV",
    "_nm": "nm",
    "_um": "µm",
    "_mm": "mm",
    "_px": "px",
    "_va": "V Å",
    "_a": "Å",
}


def words_and_unit(name: str) -> tuple[str, str]:
    """("Scan step", "Å") for "step_a". Names that are not in FIELDS are read by their suffix; of a path in a plan the
    last part, and which engine it belongs to if that isn't the first."""
    if "." in name:
        parts = name.split(".")
        words, unit = words_and_unit(parts[-1])
        place = parts[parts.index("engines") + 1] if "engines" in parts else "0"
        return (words if place in ("0", "*") else f"{words}, engine {int(place) + 1}"), unit
    if name in FIELDS:
        return FIELDS[name]
    for suffix, unit in _SUFFIXES.items():
        if name.endswith(suffix) and len(name) > len(suffix):
            return _sentence_case(name.removesuffix(suffix)), unit
    return _sentence_case(name), ""


def axis_label(name: str) -> str:
    """ "Scan step (Å)"."""
    words, unit = words_and_unit(name)
    return f"{words} ({unit})" if unit else words


def quantity(name: str, value: float) -> str:
    """ "1.25 Å": a value of a field with its unit."""
    unit = words_and_unit(name)[1]
    return number(value) + ("°" if unit == "°" else f" {unit}" if unit else "")


def number(value: float, digits: int = 3) -> str:
    """A number with `digits` significant digits, no exponent between 1e-3 and 1e6, a true minus sign; '–' for NaN."""
    if value is None or not math.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    if not 1e-3 <= abs(value) < 1e6:
        mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
        text = f"{mantissa.rstrip('0').rstrip('.') if '.' in mantissa else mantissa}×10^{int(exponent)}"
        return text.replace("-", "−")
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    text = f"{value:,.{decimals}f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return text.replace("-", "−")


def fixed(value: float | None, decimals: int) -> str:
    """A number with a fixed number of decimals and a true minus sign; '–' for one that is missing."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.{decimals}f}".replace("-", "−")


def dose_number(dose: float) -> str:
    """ "50,000": a dose as it was chosen, without rounding."""
    return f"{dose:,.0f}" if float(dose).is_integer() else f"{dose:,g}"


def dose_text(dose: float) -> str:
    """ "50,000 e/Å²"."""
    return f"{dose_number(dose)} e/Å²"


def count_text(counts: Sequence[int]) -> str:
    """ "5", or "3 to 5" where counts differ."""
    low, high = min(counts), max(counts)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def ssim_column(width_px: float) -> str:
    """ "ssim_1.5px": the column of an SSIM of one Gaussian width."""
    return f"ssim_{width_px:g}px"


def ssim_width(column: str) -> float | None:
    """1.5 for "ssim_1.5px"; None for a column that is not an SSIM."""
    if not (column.startswith("ssim_") and column.endswith("px")):
        return None
    try:
        return float(column.removeprefix("ssim_").removesuffix("px"))
    except ValueError:
        return None


def score_label(column: str) -> str:
    """Axis label of a score's column."""
    width = ssim_width(column)
    if width is not None:
        return f"SSIM (width {width:g} px)"
    return {
        "psnr_db": "PSNR (dB)",
        "mse_rad2": "MSE (rad²)",
        "frc_area": "FRC area",
        "information": "Information (bit/Å²)",
        "contrast": "Contrast factor",
        "objective": "Objective",
    }.get(column, column)


def _sentence_case(name: str) -> str:
    text = name.replace("_", " ").strip()
    return text[:1].upper() + text[1:]
