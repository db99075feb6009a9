"""What a study found, computed from its tables: scores compared, settings recommended, trends present or absent."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.stats import spearmanr

from ptydesign.experiment.carried import carried
from ptydesign.experiment.config import OPTIMISED
from ptydesign.experiment.gained import apart, maximised
from ptydesign.experiment.tables import FAILED, LEAST_SSIM, ExperimentTables
from ptydesign.experiment.words import setting
from ptydesign.study.decide import ALIKE as TIED
from ptydesign.study.decide import ALONE, BUDGET, DECIDED
from ptydesign.study.draws import ALIKE, BETTER, WORSE
from ptydesign.study.draws import OPEN as UNJUDGED
from ptydesign.study.quantities import count_text, dose_text, fixed, number, quantity
from ptydesign.units import MRAD, NM, wavelength_a

BLANK_SIGMAS = 2  # standard deviations above a blank image's score from which a score says something
LEAST_TRIALS = 20  # with fewer, a surrogate model's 5 % ranges deserve caution
YES, NO, WEAK, OPEN = "appears", "does not appear", "within the tolerances", "cannot be judged"


@dataclass(frozen=True)
class Trend:
    """A trend of Cao et al. 2022: whether it shows in this study, and the numbers that say so."""

    claim: str
    verdict: str
    reason: str


@dataclass(frozen=True)
class Compared:
    """Mean scores of both designs at one dose, by one simulator; spreads are sample standard deviations.

    n: pairs of runs. difference: optimised minus reference; low, high: its interval of 95 %, NaN for a single pair.
    verdict: on which side of zero the interval lies. failed: of which design nothing was reconstructed.
    """

    dose: float
    n: int
    optimised: tuple[float, float]
    reference: tuple[float, float]
    difference: float
    low: float
    high: float
    verdict: str
    failed: tuple[bool, bool] = (False, False)

    @property
    def interval(self) -> str:
        """ "0.14 to 0.17"."""
        return f"{fixed(self.low, 3)} to {fixed(self.high, 3)}" if math.isfinite(self.low) else "unknown"


def compare(tables: ExperimentTables, simulator: str, score: str = "ssim") -> list[Compared]:
    """Both designs' scores (`ssim` or `psnr_db`) at each dose that has both, doses rising."""
    found = []
    for dose in tables.doses:
        designs = (OPTIMISED, tables.reference)
        rows = [tables.scores(dose, design, simulator) for design in designs]
        gains = tables.at("gains", dose)
        gains = gains[(gains["simulator"] == simulator) & (gains["metric"] == score) & (gains["n"] > 0)]
        if all(row is not None for row in rows) and len(gains):
            gain = gains.iloc[0]
            means = [(float(row[f"{score}_mean"]), float(row[f"{score}_std"])) for row in rows]
            interval = (float(gain[name]) for name in ("difference", "low", "high"))
            failed = tuple(tables.failed(dose, design, simulator) for design in designs)
            found.append(Compared(dose, int(gain["n"]), *means, *interval, gain["verdict"], failed))
    return found


def sentences(tables: ExperimentTables) -> list[str]:
    """One-sentence findings."""
    said = (_gain, maximised, apart, _decided, _failed, _blank, carried, _dosed, _independent, _search, _edges, _few)
    found = (say(tables) for say in said)
    return [text for text in found if text]


def trends(tables: ExperimentTables) -> list[Trend]:
    """The paper's trends in this study. Those about a parameter that was not varied are left out."""
    found = [_beats(tables), _gain_falls(tables)]
    if "step_a" in tables.parameters:
        found += [_rises(tables, "step_a", "the best scan step grows with dose"), _large_steps(tables)]
    if "semiangle_mrad" in tables.parameters:
        found.append(_aperture(tables))
    if "detector_pixels" in tables.parameters:
        found.append(_rises(tables, "detector_pixels", "few detector pixels are best at low dose"))
    if {"semiangle_mrad", "defocus_nm"} & set(tables.parameters):
        found.append(_small_probe(tables))
    return found


def at_edge(row: dict) -> bool:
    """Whether a best value lies within 1 % of the searched range of one of its ends."""
    span = row["searched_high"] - row["searched_low"]
    return bool(min(row["best"] - row["searched_low"], row["searched_high"] - row["best"]) <= 0.01 * span)


def _gain(tables: ExperimentTables) -> str:
    pairs = compare(tables, "jax")
    if not pairs:
        return f"No dose has scores of both the optimised and the {tables.reference} settings."
    shown = [pair for pair in pairs if not pair.failed[0]]
    if not shown:
        return f"Optimised settings are not compared with the {tables.reference} settings: {FAILED} at every dose."
    best = max(shown, key=lambda pair: pair.difference)
    lost = f" ({FAILED})" if best.failed[1] else ""
    above = sum(pair.verdict == BETTER for pair in shown)
    parts = [f"higher at {above} of {len(pairs)} doses"]
    for said, words in ((ALIKE, ALIKE), (WORSE, "lower"), (UNJUDGED, "not to be judged by a single pair")):
        doses = [dose_text(pair.dose) for pair in shown if pair.verdict == said]
        parts += [f"{words} at {', '.join(doses)}"] if doses else []
    return (
        f"SSIM of the optimised settings against the {tables.reference} settings, by {_pairs(pairs)}: "
        f"{'; '.join(parts)}. The difference is largest at {dose_text(best.dose)}: {fixed(best.optimised[0], 3)} "
        f"against {fixed(best.reference[0], 3)}{lost}, {fixed(best.difference, 3)} (95 % interval {best.interval})."
    )


def _pairs(pairs: list[Compared]) -> str:
    """What a verdict rests on."""
    return f"95 % intervals of {count_text([pair.n for pair in pairs])} paired re-simulations"


def _decided(tables: ExperimentTables) -> str:
    """How sure it is that the winners are the best of what was tried."""
    rows, config = tables["decisions"], tables.study["decision"]
    sure, zone = f"{100 * config['probability']:.0f} %", number(config["zone"])
    words = {
        DECIDED: f"the winner is the best contender with a probability of {sure} or more",
        TIED: f"no contender is better by more than {zone}, with a probability of {sure} or more",
        BUDGET: "the draws ended before that was known",
        ALONE: "the search's model left a single contender",
    }
    said = []
    for outcome, text in words.items():
        doses = [dose_text(dose) for dose in rows.loc[rows["outcome"] == outcome, "dose_e_per_a2"]]
        said += [f"at {', '.join(doses)} {text}"] if doses else []
    return f"Winners were decided by draws with fresh noise: {'; '.join(said)}." if said else ""


def _failed(tables: ExperimentTables) -> str:
    """At which doses a design gave no reconstruction worth the name."""
    lost = []
    for design in (OPTIMISED, tables.reference):
        doses = [dose_text(dose) for dose in tables.doses if tables.failed(dose, design)]
        if doses:
            lost.append(f"with {design} settings at {', '.join(doses)}")
    if not lost:
        return ""
    return f"{FAILED.capitalize()} (SSIM below {LEAST_SSIM:g} or contrast not positive) {'; '.join(lost)}."


def _few(tables: ExperimentTables) -> str:
    """A caution about ranges that rest on few trials."""
    counts = [tables.fitted(dose) for dose in tables.doses]
    few = [count for count in counts if 0 < count < LEAST_TRIALS]
    if not few:
        return ""
    return (
        f"Caution: the 5 % ranges of the settings rest on a model of only {count_text(few)} trials at {len(few)} of "
        f"{len(counts)} doses (fewer than {LEAST_TRIALS})."
    )


def _blank(tables: ExperimentTables) -> str:
    """What an image without structure scores, and which designs aren't told from it by their PSNR or SSIM."""
    rows = tables["summary"][tables["summary"]["simulator"] == "jax"]
    if "ssim_blank" not in rows or rows["ssim_blank"].isna().all():  # tables of an earlier version, or no image
        return ""
    rows = rows[np.isfinite(rows["ssim_blank"])]
    near = []
    for _, row in rows.iterrows():
        lost = [
            word
            for score, word in (("ssim", "SSIM"), ("psnr_db", "PSNR"))
            if row[f"{score}_mean"] - BLANK_SIGMAS * np.nan_to_num(row[f"{score}_std"]) <= row[f"{score}_blank"]
        ]
        if lost:
            near.append(f"the {row['design']} settings' {' and '.join(lost)} at {dose_text(row['dose_e_per_a2'])}")
    said = f" Not told from it: {', '.join(near)}." if near else ""
    first = rows.iloc[0]
    ssim, psnr = fixed(first["ssim_blank"], 3), fixed(first["psnr_db_blank"], 1)
    return f"A blank image has SSIM {ssim} and PSNR {psnr} dB.{said}"


def _dosed(tables: ExperimentTables) -> str:
    """Whether every design got its dose in the scored field."""
    trials = tables["trials"]
    if "fluence_mean" not in trials or trials["fluence_mean"].isna().all():
        return ""
    mean, least = (fixed(100 * trials[f"fluence_{name}"].min(), 1) for name in ("mean", "least"))
    return (
        "Every design's scan goes beyond the scored field by a margin of its own: the field got at least "
        f"{mean} % of the stated dose on average, and no part of it less than {least} %."
    )


def _independent(tables: ExperimentTables) -> str:
    pairs = compare(tables, "abtem")
    if not pairs:
        return ""
    above = sum(pair.difference > 0 and not pair.failed[0] for pair in pairs)
    apart = []
    for dose in tables.doses:
        for design in (OPTIMISED, tables.reference):
            rows = [tables.scores(dose, design, simulator) for simulator in ("jax", "abtem")]
            if all(row is not None for row in rows):
                apart.append(abs(float(rows[0]["ssim_mean"] - rows[1]["ssim_mean"])))
    return (
        f"With the independent simulator (abTEM) the optimised settings score higher at {above} of {len(pairs)} doses; "
        f"its SSIM differs from the mean of the repeats by {number(max(apart), 2)} at most."
    )


def _search(tables: ExperimentTables) -> str:
    dose = tables.comparison_dose
    if dose is None:
        return ""
    rows = tables.at("convergence", dose).sort_values("trials")
    rows = rows[rows["best_objective"].notna()]
    bo, random = (rows[rows["search"] == search] for search in ("bo", "random"))
    ends = float(bo["best_objective"].iloc[-1]), float(random["best_objective"].iloc[-1])
    reached = bo[bo["best_objective"] >= ends[1]]
    when = (
        f"the optimisation reached the random search's final best after {int(reached['trials'].iloc[0])} trials"
        + (", within its initial design" if reached["trials"].iloc[0] <= tables.study["search"]["initial"] else "")
        if len(reached)
        else "the optimisation did not reach the random search's final best"
    )
    return (
        f"At {dose_text(dose)} {when}; final best {tables.objective}: {number(ends[0])} after "
        f"{int(bo['trials'].max())} trials of Bayesian optimisation, {number(ends[1])} after "
        f"{int(random['trials'].max())} random trials (one run of each)."
    )


def search_spread(tables: ExperimentTables) -> str:
    """What is known of how much another search would have found. It is made once at each dose; a random one beside it
    tells a little."""
    said = "± tells of noise. The spread from search to search is not known: there was one at each dose"
    ends = _ends(tables)
    if ends is None:
        return f"{said}."
    where, apart = dose_text(tables.comparison_dose), fixed(abs(ends[0] - ends[1]), 3)
    return (
        f"{said}. Beside it, the best trials of the optimisation and of a random search at {where} differ by {apart}."
    )


def _ends(tables: ExperimentTables) -> tuple[float, float] | None:
    """The best objective of the optimisation and of the random search, after as many trials of each as both have."""
    if tables.comparison_dose is None:
        return None
    rows = tables.at("convergence", tables.comparison_dose)
    rows = rows[rows["best_objective"].notna()].sort_values("trials")
    both = [rows[rows["search"] == search] for search in ("bo", "random")]
    if any(one.empty for one in both):
        return None
    count = min(one["trials"].max() for one in both)
    reached = [one[one["trials"] <= count] for one in both]
    if any(one.empty for one in reached):
        return None
    return tuple(float(one["best_objective"].iloc[-1]) for one in reached)


def _edges(tables: ExperimentTables) -> str:
    rows = tables["recommended"][tables["recommended"]["best"].notna()].to_dict("records")
    doses: dict[str, list[float]] = {}
    for row in filter(at_edge, rows):
        doses.setdefault(setting(row["parameter"], row["best"]), []).append(row["dose_e_per_a2"])
    if not doses:
        return ""
    every = len(tables.doses)
    edges = [
        f"{value} at {'all doses' if len(found) == every > 1 else ', '.join(map(dose_text, found))}"
        for value, found in doses.items()
    ]
    return f"Best values at an edge of the searched range, so that the optimum may lie outside: {'; '.join(edges)}."


def _beats(tables: ExperimentTables) -> Trend:
    claim = f"optimised settings beat the {tables.reference} at every dose"
    pairs = compare(tables, "jax")
    lacking = [dose for dose in tables.doses if dose not in [pair.dose for pair in pairs]]
    if lacking:
        where = ", ".join(dose_text(dose) for dose in lacking)
        return Trend(claim, OPEN if pairs else NO, f"No pair of scores at {where}.")
    failed = [pair for pair in pairs if pair.failed[0]]
    if failed:
        where = ", ".join(dose_text(pair.dose) for pair in failed)
        return Trend(claim, OPEN, f"{FAILED.capitalize()} with optimised settings at {where}.")
    worse = [pair for pair in pairs if pair.difference <= 0]
    unclear = [pair for pair in pairs if pair.verdict != BETTER]
    if worse:
        return Trend(claim, NO, "Not better at " + ", ".join(dose_text(pair.dose) for pair in worse) + ".")
    if unclear:
        doses = ", ".join(dose_text(pair.dose) for pair in unclear)
        return Trend(claim, WEAK, f"Higher SSIM everywhere, but {_pairs(pairs)} hold zero, or are unknown, at {doses}.")
    least = min(pairs, key=lambda pair: pair.difference)
    return Trend(
        claim,
        YES,
        f"SSIM differs by {number(least.difference, 2)} or more, and {_pairs(pairs)} are above zero at all "
        f"{len(pairs)} doses.",
    )


def _gain_falls(tables: ExperimentTables) -> Trend:
    claim = "the gain is largest at the lowest dose"
    pairs = compare(tables, "jax")
    if len(pairs) < 2 or pairs[0].dose != tables.doses[0]:
        return Trend(claim, OPEN, "It takes scores of both designs at the lowest dose and at one more.")
    if pairs[0].failed[0]:
        return Trend(claim, OPEN, f"{FAILED.capitalize()} with optimised settings at {dose_text(pairs[0].dose)}.")
    best = max(pairs, key=lambda pair: pair.difference)
    numbers = ", ".join(f"{number(pair.difference, 2)} at {dose_text(pair.dose)}" for pair in pairs)
    if all(pair.reference[0] > 0 for pair in pairs):  # for information: the verdict rests on the difference
        share = ", ".join(f"{100 * pair.difference / pair.reference[0]:.0f} %" for pair in pairs)
        numbers += f" (of the {tables.reference}'s SSIM: {share})"
    if best is not pairs[0]:
        return Trend(claim, NO, f"SSIM gain: {numbers}.")
    second = max(pairs[1:], key=lambda pair: pair.difference)
    if not best.low > second.high:
        return Trend(claim, WEAK, f"SSIM gain: {numbers}; the intervals of the two largest overlap, or are unknown.")
    return Trend(claim, YES, f"SSIM gain: {numbers}.")


def _series(tables: ExperimentTables, name: str) -> list[tuple[float, dict]]:
    rows = [(dose, tables.recommendation(dose, name)) for dose in tables.doses]
    return [(dose, row.to_dict()) for dose, row in rows if row is not None]


def _rises(tables: ExperimentTables, name: str, claim: str) -> Trend:
    series = _series(tables, name)
    if len(series) < 2:
        return Trend(claim, OPEN, "It takes settings at two doses or more.")
    first, last = series[0][1], series[-1][1]
    values = [row["best"] for _, row in series]
    listed = ", ".join(number(value) for value in values)
    reason = f"Best values with rising dose: {listed} {quantity(name, values[-1]).split(' ')[-1]}."
    if not last["best"] > first["best"] or not spearmanr(range(len(values)), values).statistic >= 0.5:
        return Trend(claim, NO, reason)
    overlap = len(values) and not last["low"] > first["high"]
    if overlap:
        return Trend(claim, WEAK, reason + " The 5 % ranges at the lowest and the highest dose overlap.")
    return Trend(claim, YES, reason)


def _large_steps(tables: ExperimentTables) -> Trend:
    claim = "with more dose, steps above 5 Å become usable"
    series = _series(tables, "step_a")
    if len(series) < 2:
        return Trend(claim, OPEN, "It takes settings at two doses or more.")
    if max(row["searched_high"] for _, row in series) <= 5:
        return Trend(claim, OPEN, "No step above 5 Å was searched.")
    usable = [dose for dose, row in series if np.nanmax([row["high"], row["best"]]) > 5]
    if not usable:
        return Trend(claim, NO, "The 5 % range stays below 5 Å at every dose.")
    if series[0][0] in usable:
        return Trend(
            claim, NO, f"The 5 % range reaches beyond 5 Å at the lowest dose, {dose_text(series[0][0])}, already."
        )
    return Trend(claim, YES, f"The 5 % range reaches beyond 5 Å at {', '.join(map(dose_text, usable))}.")


def _aperture(tables: ExperimentTables) -> Trend:
    claim = "the best aperture lies above 30 mrad, except at the lowest dose"
    series = _series(tables, "semiangle_mrad")
    if len(series) < 2 or series[0][0] != tables.doses[0]:
        return Trend(claim, OPEN, "It takes settings at the lowest dose and at one more.")
    if max(row["searched_high"] for _, row in series) <= 30:
        return Trend(claim, OPEN, "No aperture above 30 mrad was searched.")
    values = [row["best"] for _, row in series]
    reason = f"Best values with rising dose: {', '.join(map(number, values))} mrad."
    against = ["also above 30 mrad at the lowest dose"] if values[0] > 30 else []
    below = [dose_text(dose) for (dose, _), value in zip(series[1:], values[1:], strict=True) if value <= 30]
    if below:
        against.append(f"not above 30 mrad at {', '.join(below)}")
    if not against:
        return Trend(claim, YES, reason)
    why = "; ".join(against)
    return Trend(claim, NO, f"{why[0].upper()}{why[1:]}. {reason}")


def _small_probe(tables: ExperimentTables) -> Trend:
    claim = "a small probe is best at low dose"
    radii = []
    for dose in tables.doses:
        point = dict(tables.reference_point)
        rows = {name: tables.recommendation(dose, name) for name in tables.parameters}
        if any(row is None for row in rows.values()):
            continue
        point |= {name: float(row["best"]) for name, row in rows.items()}
        if not {"semiangle_mrad", "defocus_nm", "voltage_kv"} <= set(point):
            return Trend(claim, OPEN, "Semi-angle, defocus or voltage are not in the study.")
        radii.append((dose, probe_radius_a(point["voltage_kv"], point["semiangle_mrad"], point["defocus_nm"])))
    if len(radii) < 2:
        return Trend(claim, OPEN, "It takes settings at two doses or more.")
    smallest, low = min(radii, key=lambda pair: pair[1]), radii[0]
    listed = ", ".join(f"{number(radius, 2)} Å at {dose_text(dose)}" for dose, radius in radii)
    verdict = YES if smallest is low and radii[-1][1] > low[1] else NO
    return Trend(
        claim, verdict, f"Probe radius, |defocus| × semi-angle + 0.61 λ / semi-angle, of the best points: {listed}."
    )


def probe_radius_a(voltage_kv: float, semiangle_mrad: float, defocus_nm: float) -> float:
    """Geometric radius plus the Airy disc's, in angstrom: a measure to rank settings by, not a probe's exact size."""
    semiangle = semiangle_mrad * MRAD
    return abs(defocus_nm) * NM * semiangle + 0.61 * wavelength_a(voltage_kv) / semiangle
