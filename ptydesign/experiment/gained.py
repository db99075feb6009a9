"""What a winner gained beside SSIM and PSNR: in what was searched for, and by another dose."""

from __future__ import annotations

import numpy as np

from ptydesign.experiment.config import OPTIMISED
from ptydesign.experiment.tables import ExperimentTables
from ptydesign.study.draws import difference, summarise, verdict
from ptydesign.study.quantities import dose_text, number

APPLIED = "applied_dose_e_per_a2"


def maximised(tables: ExperimentTables) -> str:
    """Both designs in what was searched for, where that is neither of the scores that are always compared."""
    if tables.study["objective"]["metric"] in ("ssim", "psnr_db"):
        return ""
    rows, said = tables["validation"], []
    for dose in tables.doses:
        here = rows[np.isclose(rows["dose_e_per_a2"], dose, rtol=1e-6) & (rows["simulator"] == "jax")]
        both = [
            dict(zip(one["repeat"], one["objective"].to_numpy(float), strict=True))
            for one in (here[here["design"] == design] for design in (OPTIMISED, tables.reference))
        ]
        values = [[one[repeat] for repeat in sorted(both[0].keys() & both[1].keys())] for one in both]
        means, found = [summarise(one).mean for one in values], difference(*values)
        if found.n:
            span = "unknown" if found.low is None else f"{number(found.low)} to {number(found.high)}"
            said.append(
                f"{number(means[0])} against {number(means[1])} at {dose_text(dose)}, a difference of "
                f"{number(found.mean)} (95 % interval {span}: {verdict(found)})"
            )
    return f"What was maximised, {tables.objective}, in the same re-simulations: {'; '.join(said)}." if said else ""


def apart(tables: ExperimentTables) -> str:
    """A caution where the search chose another dose than the reference has."""
    said = []
    for dose in tables.doses:
        row = tables.recommendation(dose, APPLIED)
        other = tables.reference_point.get(APPLIED, dose)
        if row is not None and not np.isclose(row["best"], other, rtol=0.01):
            said.append(f"{number(row['best'])} e/Å² against {dose_text(other)}")
    if not said:
        return ""
    return (
        f"Caution: the optimised settings apply another dose than the {tables.reference} settings, "
        f"{'; '.join(said)}. The differences above hold what that dose is worth."
    )
