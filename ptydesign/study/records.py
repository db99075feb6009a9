"""Files that one job of a study makes and another one reads."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from ptydesign.errors import InputError


def read_json(path: Path) -> Any:
    """Content of a file that another job made. Raises InputError if it can't be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        mend = "Delete it and run the study's snakemake command again."
        raise InputError(str(path), "must be a readable file of this study", str(error), mend) from None


def finite(value: float) -> float | None:
    """A number as JSON can hold it; None for one that isn't finite, as the last loss of what diverged."""
    return float(value) if math.isfinite(value) else None
