"""Design electron-ptychography experiments and study reconstructions by simulation."""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

# Name -> module that has it. Loaded when first used: `import ptydesign` stays quick.
_PUBLIC = {
    "InputError": "ptydesign.errors",
    "Dataset": "ptydesign.types",
    "Reconstruction": "ptydesign.types",
    "read_dataset": "ptydesign.io",
    "write_dataset": "ptydesign.io",
    "read_reconstruction": "ptydesign.io",
    "write_reconstruction": "ptydesign.io",
    "read_plan": "ptydesign.api",
    "make_plan": "ptydesign.api",
    "reconstruct_dataset": "ptydesign.api",
    "direct_reconstruction": "ptydesign.api",
    "reconstruct_halves": "ptydesign.halves",
    "scan_parameters": "ptydesign.reconstruct.calibrate",
    "calibrate": "ptydesign.reconstruct.calibrate",
    "plan": "ptydesign.planning.api",
    "Design": "ptydesign.planning.api",
    "Calibration": "ptydesign.instruments.calibration",
    "import_file": "ptydesign.instruments.convert",
    "use_cores": "ptydesign.reconstruct.cores",
    "show": "ptydesign.pictures.draw",
    "export_image": "ptydesign.pictures.export",
}
__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'ptydesign' has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})
