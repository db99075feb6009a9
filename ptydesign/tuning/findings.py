"""What a tuning study found, in sentences computed from its tables. A claim is made only outside the spread."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ptydesign.tuning.config import FOUND, OBJECTIVES
from ptydesign.tuning.tables import METHODS, METRICS, TuningTables, short

LEAST_REPEATS = 3  # for a spread that says something
TRUE_METRICS = ("ssim", "psnr_db", "mse_rad2")


@dataclass(frozen=True)
class Margin:
    """Two means with their spreads (sample standard deviations of single values). better: the first's lead, positive
    if it
    is the better one; sigmas: the lead over the spread of a difference of two single values."""

    first: float
    first_std: float
    second: float
    second_std: float
    n: int
    better: float

    @property
    def sigmas(self) -> float:
        spread = math.hypot(self.first_std, self.second_std)
        return self.better / spread if spread > 0 else math.inf * np.sign(self.better)

    def words(self, digits: int) -> str:
        """`first ± spread against second ± spread`."""
        pairs = ((self.first, self.first_std), (self.second, self.second_std))
        return " against ".join(
            f"{mean:.{digits}f}" + (f" ± {std:.{digits}f}" if self.n > 1 else "") for mean, std in pairs
        )

    @property
    def verdict(self) -> str:
        """yes: ahead, by more than the spread; no: behind, or within it."""
        if self.n < LEAST_REPEATS:
            return "too few repeats to say"
        return "yes" if self.better > 0 and self.sigmas > 1 else "no"


def search_margin(tables: TuningTables) -> Margin | None:
    """Best score after the last trial: Bayesian optimisation and random search, over the main searches."""
    rows = tables["summary"]
    rows = rows[rows["main"]]
    last = {m: rows[(rows["method"] == m)].sort_values("trials").iloc[-1:] for m in METHODS}
    if any(r.empty or not np.isfinite(r["mean"].iloc[0]) for r in last.values()):
        return None
    bo, random = (last[m].iloc[0] for m in METHODS)
    sign = tables.sign
    return Margin(
        first=sign * bo["mean"],
        first_std=_number(bo["std"]),
        second=sign * random["mean"],
        second_std=_number(random["std"]),
        n=int(min(bo["n"], random["n"])),
        better=bo["mean"] - random["mean"],
    )


def plan_margin(tables: TuningTables, reference: str, metric: str) -> Margin | None:
    """The plan found and a reference, on the data that were simulated afresh: the searches' own favour the plan found.

    Where there are none, on the searches' own.
    """
    table = tables["validation"]
    if table is None:
        table = tables["budgets"]
        table = table[np.isclose(table["budget"], tables.budget)]
    else:
        table = table[table["repeat"] > 0]
    found, other = (table[(table["plan"] == p)][metric].dropna() for p in (FOUND, reference))
    if found.empty or other.empty:
        return None
    lead = OBJECTIVES[metric] * (found.mean() - other.mean())
    stds = (_number(found.std(ddof=1)), _number(other.std(ddof=1)))
    return Margin(found.mean(), stds[0], other.mean(), stds[1], min(len(found), len(other)), lead)


def sentences(tables: TuningTables) -> list[str]:
    """The study's findings."""
    found = [*_search(tables), *_plan(tables), *_accuracy(tables), *_chosen(tables), *_agreement(tables)]
    return [*found, *_example(tables), *_clock(tables), *_saved(tables)]


def _search(tables: TuningTables) -> list[str]:
    margin = search_margin(tables)
    if margin is None:
        return ["No comparison of Bayesian optimisation with random search: one of them has no score."]
    error = math.hypot(margin.first_std, margin.second_std) / math.sqrt(margin.n)
    word = "above" if margin.better > 0 else "not above"
    trials = int(tables["summary"]["trials"].max())
    text = (
        f"After {trials} trials the best {METRICS[tables.metric]} of Bayesian optimisation is {word} random search's: "
        f"{margin.first:.4f} ± {margin.first_std:.4f} against {margin.second:.4f} ± {margin.second_std:.4f} (mean "
        "± standard "
        f"deviation of {margin.n} searches; the means differ by {margin.better:+.4f}, "
        f"{abs(margin.better) / error:.1f} standard "
        "errors)."
        if error > 0
        else f"After {trials} trials: {margin.first:.4f} against {margin.second:.4f}, {margin.n} search of each method."
    )
    rows = tables["summary"]
    bo = rows[rows["main"] & (rows["method"] == "bo")].sort_values("trials")
    reached = bo[bo["mean"] >= tables.sign * margin.second]
    more = (
        f" It needs {int(reached['trials'].iloc[0])} trials for what random search has after {trials}."
        if len(reached)
        else ""
    )
    return [text + more]


def _plan(tables: TuningTables) -> list[str]:
    table = tables["pareto"]
    if table.empty or not (tables["budgets"]["plan"] == FOUND).any():
        return ["No plan was found: no trial gave a score."]
    rows = tables["trials"]
    rows = rows[np.isclose(rows["budget"], tables.budget) & (rows["unit"] == tables.study["budget"]["unit"])]
    best = rows.loc[rows["objective"].idxmax()]
    words = tables.labels()
    values = ", ".join(f"{words[p]} {short(str(best[p]))}" for p in tables.parameters)
    return [f"Best plan at {tables.budget:g} {tables.unit}, of {len(table)} different ones that were scored: {values}."]


def _accuracy(tables: TuningTables) -> list[str]:
    result = []
    for reference in tables.study["references"]:
        for metric in ("frc_area", "heldout_misfit", *(("ssim", "mse_rad2") if tables.truth else ())):
            margin = plan_margin(tables, reference, metric)
            if margin is None:
                continue
            digits = 5 if metric == "mse_rad2" else 3
            word = "better than" if margin.better > 0 else "not better than"
            outside = ""
            if margin.n >= LEAST_REPEATS:
                side = "outside" if abs(margin.sigmas) > 1 else "within"
                outside = f", {side} the spread ({abs(margin.sigmas):.1f} σ, {margin.n} pairs of scans)"
            result.append(f"{METRICS[metric]}: the plan found is {word} {reference}: {margin.words(digits)}{outside}.")
    return result


def _chosen(tables: TuningTables) -> list[str]:
    table = tables["chosen"]
    if "later_bo" not in table or "later_random" not in table:
        return []
    rows = table[table["value"].isin(["True"])]
    words = tables.labels()
    parts = [
        f"{words[r['parameter']]} {100 * r['later_bo']:.0f} % ({100 * r['later_random']:.0f} %)"
        for _, r in rows.iterrows()
    ]
    if not parts:
        return []
    return [f"Bayesian optimisation (random search) switched on, after the first plans: {', '.join(parts)}."]


def _agreement(tables: TuningTables) -> list[str]:
    table = tables["pareto"]
    if not tables.truth or len(table) < 10:
        return []
    frc, misfit = (rank_correlation(table[name], table["ssim"]) for name in ("frc_area", "heldout_misfit"))
    best = {name: table.loc[table[name].idxmax() if sign > 0 else table[name].idxmin()] for name, sign in
            (("frc_area", 1), ("heldout_misfit", -1), ("ssim", 1))}  # fmt: skip
    return [
        f"Over all {len(table)} plans the rank correlation with the SSIM against the truth is {frc:+.2f} for the "
        "FRC area and "
        f"{-misfit:+.2f} for (less) held-out misfit. SSIM of the plan with the best FRC area "
        f"{best['frc_area']['ssim']:.3f}, with "
        f"the least misfit {best['heldout_misfit']['ssim']:.3f}, the best of all {best['ssim']['ssim']:.3f}."
    ]


def rank_correlation(first: pd.Series, second: pd.Series) -> float:
    """Spearman's."""
    return float(np.corrcoef(first.rank(), second.rank())[0, 1])


def _example(tables: TuningTables) -> list[str]:
    table = tables["example"]
    if table is None or table["frc_area"].notna().sum() < 2:
        return []
    rows = table[table["frc_area"].notna()]
    frc, misfit = rows.loc[rows["frc_area"].idxmax()], rows.loc[rows["heldout_misfit"].idxmin()]
    path = tables.study["example"]["path"]
    text = f"Over-smoothing ({path}): the FRC area is best at {frc['value']}, the held-out misfit at {misfit['value']}"
    if not tables.truth:
        return [f"{text}."]
    true = rows.loc[rows["ssim"].idxmax()]
    return [
        f"{text}, the SSIM against the truth at {true['value']} (SSIM there {true['ssim']:.3f}; {frc['ssim']:.3f} "
        "at the best "
        f"FRC area, {misfit['ssim']:.3f} at the least misfit)."
    ]


def _clock(tables: TuningTables) -> list[str]:
    rows = tables["summary"]
    rows = rows[(rows["unit"] == "seconds") & ~rows["main"]]
    if rows.empty:
        return []
    last = rows.sort_values("trials").groupby("method").tail(1).set_index("method")
    parts = [
        f"{METHODS[m]} {tables.sign * last.loc[m, 'mean']:.4f} ({int(last.loc[m, 'n'])})"
        for m in METHODS
        if m in last.index
    ]
    budget = rows["budget"].iloc[0]
    return [
        f"At equal wall-clock time, {budget:g} s a reconstruction, best {METRICS[tables.metric]} (searches): "
        f"{', '.join(parts)}."
    ]


def _saved(tables: TuningTables) -> list[str]:
    table = tables["saved"]
    if table.empty:
        return []
    ended, saved, spent = (table[c].sum() for c in ("diverged", "saved_by_ending_gflop", "spent_gflop"))
    asked, computed = int(table["asked"].sum()), int(table["computed"].sum())
    return [
        f"{int(ended)} of {computed} different trials diverged and were ended early, which saved {saved:.4g} "
        "GFLOP beside the "
        f"{spent:.5g} GFLOP that all trials took. {asked - computed} of {asked} trials had been computed before "
        "by another search."
    ]


def _number(value: float) -> float:
    return float(value) if np.isfinite(value) else 0.0
