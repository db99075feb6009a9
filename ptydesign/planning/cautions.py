"""What a reader of the sheet should know before trusting it."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from ptydesign.planning.card import Card
from ptydesign.planning.config import PlanningStudy
from ptydesign.planning.resolution import is_reached, reached_resolution_a
from ptydesign.planning.rows import AMBER, RED
from ptydesign.planning.tables import PlanningTables
from ptydesign.reconstruct.plan import Plan
from ptydesign.simulate.specimen import ImageSample
from ptydesign.study.quantities import words_and_unit

UNSURE = 0.1  # difference of two scores of the same setting from which they aren't scatter of noise
UNTRIED = "without errors, and what is recommended was chosen by its score under errors, which this value has none of"
BETTER = 1.05  # times the recommended score: a neighbour that should have been found
FRAGILE = 0.85  # of the score as planned: what errors may leave without a word


def cautions(tables: PlanningTables, plan: PlanningStudy) -> list[str]:
    """Sentences; none if there is nothing to say."""
    card = Card.of(tables.recommendation["cards"][0])
    found = [_scale(plan), _goal(tables, plan), _fragile(tables), _search(tables), *_neighbours(tables)]
    found += [_wraps(tables, plan), _card(card), *map(_sentence, tables.recommendation["warnings"])]
    return [sentence for sentence in found if sentence]


def _sentence(words: str) -> str:
    return words[0].upper() + words[1:] + ("" if words.endswith((".", ")")) else ".")


def _scale(plan: PlanningStudy) -> str:
    return "Scale smoke is a quick look with few trials: plan again at preview." if plan.scale == "smoke" else ""


def _goal(tables: PlanningTables, plan: PlanningStudy) -> str:
    found = tables.images.get("recommended")
    reached = found and reached_resolution_a(found["arrays"], found["attrs"]["pixel_a"])
    wanted = plan.goal.resolution_a
    if is_reached(reached or None, wanted):
        return ""
    return f"The goal of {wanted:g} Å is not reached at this dose."


def _fragile(tables: PlanningTables) -> str:
    """Whether errors cost much of the score, and what was wrong in the draw that lost most."""
    item, draws = tables.recommended, tables["robustness"]
    draws = draws[(draws["design"] == item["design"]) & (draws["kind"] == "draw")]
    if item["planned"] is None or item["robust"] is None or draws.empty or item["robust"] >= FRAGILE * item["planned"]:
        return ""
    worst = draws.loc[draws["ssim"].fillna(0.0).idxmin()]
    wrong = [f"defocus wrong by {worst['defocus_error_nm']:+.1f} nm"]
    words = {
        "source": "a source {:.2g} times as wide",
        "drift": "{:.2g} times the drift",
        "thickness": "{:.2g} times the thickness",
    }
    words |= {"rotation_error_deg": "a scan turned by {:+.2g}°", "scale_error": "a scan too large by {:.1%}"}
    words |= {"aberrations": "{}"}
    wrong += [text.format(worst[name]) for name, text in words.items() if pd.notna(worst.get(name)) and worst[name]]
    if tilt := float(np.hypot(worst["tilt_y_mrad"], worst["tilt_x_mrad"])):
        wrong.append(f"{tilt:.0f} mrad of tilt")
    score = "a failed reconstruction" if np.isnan(worst["ssim"]) else f"{worst['ssim']:.2f}"
    return (
        f"Errors cost much: {item['robust']:.2f} instead of {item['planned']:.2f}, in the worst draw {score} "
        f"({', '.join(wrong)}). The tolerances hold for a value that is known: measure it before the scan."
    )


def _card(card: Card) -> str:
    """The rules of the card that aren't green at the recommended setting."""
    rows = [f"{row.name} {row.value_text} (wanted: {row.limit})" for row in card.rows if row.status in (AMBER, RED)]
    return f"Not green on the card: {'; '.join(rows)}." if rows else ""


def _search(tables: PlanningTables) -> str:
    """Whether the search saw the same setting with another score."""
    item, trials = tables.recommended, tables["trials"]
    if item["planned"] is None or tables.study.get("errors", "none") == "all":
        return ""
    same = trials[(trials["status"] == "ok") & (trials["dose_e_per_a2"] == item["dose_e_per_a2"])]
    for name, value in item["setting"].items():
        same = same[np.isclose(same[name], value, rtol=1e-6)]
    if same.empty or abs(same["ssim"].iloc[0] - item["planned"]) <= UNSURE:
        return ""
    return (
        f"The same setting scored {same['ssim'].iloc[0]:.2f} in the search and {item['planned']:.2f} with fresh noise: "
        "its reconstruction doesn't settle. More sweeps, or another setting, may be better."
    )


def _neighbours(tables: PlanningTables) -> list[str]:
    """Of values of one parameter that scored clearly better than the recommended one, the best."""
    tried = tables["tolerance"]
    if "kept" not in tried or not (tried["kept"] > BETTER).any():
        return []
    best = tried.loc[tried["kept"].idxmax()]
    return [f"{_better(best)} in one simulation, {UNTRIED}: the search had not ended."]


def higher_values(tables: PlanningTables) -> str:
    """Why values of one parameter that score higher in the tolerance figure aren't recommended; empty if none do, or by
    so much that it is a caution."""
    tried, item = tables["tolerance"], tables.recommended
    if "kept" not in tried or not 1 < tried["kept"].max() <= BETTER:
        return ""
    best = tried.loc[tried["kept"].idxmax()]
    gain, scatter = best["ssim"] - best["ssim"] / best["kept"], item["planned_std"] or 0.0
    if gain <= 2 * scatter:
        why = f"no more than noise may do (± {scatter:.3f} from one simulation to the next)"
    else:
        why = UNTRIED
    return f"{_better(best)}, {why}"


def _better(row: pd.Series) -> str:
    words, unit = words_and_unit(row["parameter"])
    value = f"{words} {row['value']:.4g} {unit}".strip()
    return f"{value} scored {row['ssim']:.3f} instead of {row['ssim'] / row['kept']:.3f}"


def _wraps(tables: PlanningTables, plan: PlanningStudy) -> str:
    found = tables.images.get("recommended")
    if not found or Plan.model_validate(tables.recommendation["reconstruction"]).final_slices[0] > 1:
        return ""
    truth = np.asarray(found["arrays"]["truth"])
    largest = float(np.max(truth) - np.median(truth))
    if largest <= math.pi:
        return ""
    flat = isinstance(plan.sample, ImageSample)
    mend = "give the structure, to have slices" if flat else "set simulation.slice_thickness_a"
    return f"The projected phase reaches {largest:.1f} rad, and a single slice can only show ±π: {mend}."
