"""`python -m benchmarks.defocus`: a design under errors of the defocus, reconstructed as it is believed, and after a
search of the defocus by the data; writes docs/results/planning/defocus.csv.

The design is the peak of an earlier search of studies/plan_bilayer, which failed in two of six draws because nobody had
searched the defocus. The same data are reconstructed in both ways.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from ptydesign.experiment.search import Runner
from ptydesign.experiment.trial import objective_value, run_trial, simulate_trial
from ptydesign.io import write_text
from ptydesign.planning.errors import drawn
from ptydesign.planning.instrument import Setting
from ptydesign.planning.load import load
from ptydesign.planning.resolve import PlanningResolved

PEAK = Setting(voltage_kv=80, semiangle_mrad=30, defocus_nm=24.5722, step_a=4.24326, camera=0.9)  # underfocus


def rows(resolved: PlanningResolved, draws: int) -> Iterator[dict[str, Any]]:
    """Of each draw: the defocus that is true, the one that the data say, and SSIM in both ways."""
    one, dose = resolved.of(PEAK), resolved.study.goal.dose_limit
    potential, searched = Runner(one).potential(), one.study
    plan = searched.reconstruction.model_dump(mode="json", exclude_unset=True)
    plan.pop("calibrate")
    believed = searched.model_copy(update={"reconstruction": type(searched.reconstruction)(**plan)})
    for number in range(draws):
        trial, errors = drawn(resolved, PEAK, dose, number)
        data = simulate_trial(searched, potential, trial)
        found = [run_trial(study, potential, trial, lambda *_, data=data: data)[0] for study in (believed, searched)]
        scores = [objective_value(study, result) for study, result in zip((believed, searched), found, strict=True)]
        yield {
            "draw": number,
            "defocus_error_nm": errors.defocus_nm,
            "error_left_nm": found[1]["calibrated"]["defocus_nm"] - PEAK.defocus_nm - errors.defocus_nm,
            "ssim_believed": scores[0],
            "ssim_searched": scores[1],
        }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.defocus", description=__doc__)
    parser.add_argument("--draws", type=int, default=6, help="of all errors (default: 6)")
    parser.add_argument("--out", type=Path, default=Path("docs/results/planning/defocus.csv"), help="file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        resolved = load(Path("studies/plan_bilayer"), "preview", Path(folder))
        table = pd.DataFrame(rows(resolved, options.draws))
    write_text(options.out, table.to_csv(index=False, float_format="%.4g"))
    print(table.to_string(index=False))


if __name__ == "__main__":
    main()
