"""Settings of an experiment in words: a defocus says on which side it is."""

from __future__ import annotations

from ptydesign.study.quantities import axis_label, quantity, words_and_unit

SIGN = "+ is underfocus"  # of what study files call defocus_nm


def side(name: str, value: float) -> str:
    """ "overfocus" or "underfocus" of a defocus that isn't zero; nothing of other settings."""
    if name != "defocus_nm" or value == 0:
        return ""
    return "underfocus" if value > 0 else "overfocus"


def setting(name: str, value: float) -> str:
    """ "−55 nm overfocus", "2 Å"."""
    return f"{quantity(name, value)} {side(name, value)}".strip()


def unit(name: str) -> str:
    """The unit of a setting, for the head of a column: "Å", "nm, + is underfocus"."""
    found = words_and_unit(name)[1]
    return f"{found}, {SIGN}" if name == "defocus_nm" else found


def label(name: str) -> str:
    """Label of an axis, where there is less room: "Scan step (Å)", "Defocus (nm, + under)"."""
    return axis_label(name).replace("nm", "nm, + under") if name == "defocus_nm" else axis_label(name)
