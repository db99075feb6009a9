"""Images of a trial, kept beside its record in the point store."""

from __future__ import annotations

from typing import Any

import numpy as np

from ptydesign import io
from ptydesign.study.draws import Save
from ptydesign.study.store import PointStore

UNITS = {"phase": ("rad", "y,x"), "truth": ("rad", "y,x"), "frc_q": ("1/angstrom", "ring"), "frc": ("1", "ring")}


def keep_images(store: PointStore) -> Save:
    """What keeps the reconstruction, the truth and their ring correlation of a trial."""

    def save(key: str, comparison: Any) -> None:
        score = comparison.score
        found = {
            "phase": comparison.image.astype("float32"),
            "truth": comparison.truth_image.astype("float32"),
            "frc_q": np.asarray(comparison.frc_q),
            "frc": np.asarray(comparison.frc),
        }
        attrs = {
            "pixel_a": [float(v) for v in score.pixel_a],
            "data_range_rad": float(score.data_range),
            "psnr_db": float(score.psnr_db),
            "ssim": float(next(iter(score.ssim.values()))),
            "ssim_by_width": {f"{width:g}": float(value) for width, value in score.ssim.items()},
        }
        arrays = {name: io.Array(values, *UNITS[name]) for name, values in found.items()}
        store.put_images(key, {"arrays": arrays, "attrs": attrs})

    return save


def kept_images(store: PointStore, key: str, arrays: tuple[str, ...], attrs: tuple[str, ...]) -> dict[str, Any]:
    """Some of the images and numbers that were kept of a trial, as a group of images.h5. Raises InputError."""
    item = store.images(key)
    return {
        "arrays": {name: io.Array(item["arrays"][name], *UNITS[name]) for name in arrays},
        "attrs": {name: item["attrs"][name] for name in attrs},
    }
