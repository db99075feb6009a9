"""The engines. A new one is a new file and a line here."""

from __future__ import annotations

from ptydesign.reconstruct.engine import Engine
from ptydesign.reconstruct.engines import gradient, lsqml, pie, projections

ENGINES: dict[str, Engine] = {
    "gradient": gradient.ENGINE,
    "lsqml": lsqml.ENGINE,
    "epie": pie.EPIE,
    "rpie": pie.RPIE,
    "difference_map": projections.DIFFERENCE_MAP,
    "raar": projections.RAAR,
}
