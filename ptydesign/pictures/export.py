"""Images of a reconstruction as TIFF, with pixel size."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from ptydesign import io
from ptydesign.errors import InputError
from ptydesign.instruments import memory
from ptydesign.pictures.region import flattened, scanned
from ptydesign.units import NM

QUANTITIES = ("phase", "amplitude")


def export_image(
    reconstruction: Path | str,
    path: Path | str,
    *,
    quantity: str = "phase",
    whole: bool = False,
    flat: bool = False,
    total: bool = False,
    memory_gib: float | None = None,
) -> None:
    """Write the phase (rad) or amplitude of a reconstruction's file as 32-bit TIFF, one page for each slice.

    whole: the whole canvas, not only the scanned region. flat: without mean phase and mean slope. total: one page with
    the product of all slices. The phase lies in (-pi, pi]: it is not unwrapped. ImageJ reads pixel size and slice
    spacing (nm); the description also has the origin in angstrom and the plan. memory_gib: what may be taken (default:
    half of what is free). Raises InputError for a foreign file, an unknown quantity, a suffix that is not .tif or
    .tiff, and a reconstruction that doesn't fit into memory.
    """
    import tifffile

    path = Path(path)
    if path.suffix.lower() not in (".tif", ".tiff"):
        raise InputError("output", "must end in .tif or .tiff", path.name, "Give another name.")
    if quantity not in QUANTITIES:
        raise InputError("quantity", f"must be one of {', '.join(QUANTITIES)}", quantity, "Correct it.")
    if Path(reconstruction).is_file():
        memory.check_room(io.array_bytes(Path(reconstruction)), memory.bound_bytes(memory_gib), str(reconstruction))
    result = io.read_reconstruction(Path(reconstruction))
    rows, columns = (slice(None), slice(None)) if whole else scanned(result)
    object_ = np.asarray(result.state.object)
    if total:
        object_ = np.prod(object_, axis=0, keepdims=True)
    object_ = object_[:, rows, columns]
    if flat:
        object_ = flattened(object_)
    image = (np.angle(object_) if quantity == "phase" else np.abs(object_)).astype(np.float32)
    pixel = np.asarray(result.state.pixel_a, float)
    start = np.asarray(result.state.origin_a, float) + pixel * [rows.start or 0, columns.start or 0]
    metadata = {
        "axes": "ZYX",
        "unit": "nm",
        "spacing": float(np.mean(result.state.thickness_a)) / NM,
        "quantity": f"{quantity} in rad" if quantity == "phase" else quantity,
        "pixel_a": json.dumps(pixel.tolist()),
        "origin_a": json.dumps(start.tolist()),
        "outcome": result.outcome.status,
        "plan": json.dumps(result.plan),
        "seed": result.seed,
    }
    per_nm = NM / pixel
    with io.atomic(path) as temporary:
        tifffile.imwrite(temporary, image, imagej=True, resolution=(per_nm[1], per_nm[0]), metadata=metadata)
