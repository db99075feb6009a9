"""From records to tidy tables, one row for each record, units in the column names. No wall time enters a table."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ptydesign import io, units
from ptydesign.experiment import objectives, scope, spectra
from ptydesign.experiment.config import OPTIMISED, StudyConfig
from ptydesign.experiment.images import kept_images
from ptydesign.experiment.resolve import Resolved
from ptydesign.experiment.search import cached
from ptydesign.experiment.tables import in_order
from ptydesign.experiment.trial import judged, objective_value
from ptydesign.functions import plain_name
from ptydesign.score import metrics
from ptydesign.simulate.specimen import ImageSample, build_atoms
from ptydesign.study.draws import difference, summarise, verdict
from ptydesign.study.file import dose_name
from ptydesign.study.quantities import ssim_column
from ptydesign.study.rounds import best_so_far, read_round
from ptydesign.study.store import PointStore
from ptydesign.study.tables import write_tables

STRUCTURE_A = 30.0  # side of the piece of the sample that is shown at most
UNITS = {
    "kv": "kV", "a": "A", "mrad": "mrad", "nm": "nm", "pixels": "px", "deg": "deg", "um": "um", "mm": "mm",
}  # fmt: skip
IMAGE_ATTRS = ("pixel_a", "data_range_rad", "psnr_db", "ssim_by_width")
REGION = ("region_y0_a", "region_x0_a", "region_y1_a", "region_x1_a")  # the scored part of the specimen


def collect(resolved: Resolved) -> list[Path]:
    """Write tables/ from the records of a finished study; returns the paths."""
    study = resolved.study
    trials = pd.DataFrame(_trial_rows(resolved))
    validation = pd.DataFrame(_validation_rows(resolved))
    is_map = trials["search"] == scope.MAP
    images = _image_groups(resolved)
    frames = {
        "trials": trials,
        "contenders": pd.DataFrame(
            _contender_rows(resolved), columns=[*CONTENDERS[:2], *study.space.root, *CONTENDERS[2:]]
        ),
        "decisions": pd.DataFrame(_decision_rows(resolved)),
        "validation": validation,
        "recommended": pd.DataFrame(_recommended_rows(resolved), columns=RECOMMENDED),
        "summary": _summary(study, validation, images),
        "gains": pd.DataFrame(gain_rows(validation, study.reference.name, _compared(study))),
        "convergence": pd.DataFrame(_convergence_rows(trials)),
        "spectrum": pd.DataFrame(_spectrum_rows(resolved), columns=["dose_e_per_a2", "design", *spectra.COLUMNS]),
    }
    if study.tuned_space is not None:
        frames["two_by_two"] = pd.DataFrame(_two_by_two(study, validation))
    if study.map is not None:
        frames["map"] = trials[is_map]
    if study.objective.against:
        frames["pareto"] = _pareto(study, trials)
    return write_tables(resolved.results, frames, images, digits=None)


def _pareto(study: StudyConfig, trials: pd.DataFrame) -> pd.DataFrame:
    """Scored trials of the searches with their objectives; front: which no other of their dose beats in all of them."""
    names, costs = list(study.space.root), [objectives.COLUMNS[name] for name in study.objective.against]
    kept = trials[(trials["search"] != scope.MAP) & (trials["status"] == "ok")].copy()
    found = [
        objectives.costs_at(study, {n: row[n] for n in names}, row["dose_e_per_a2"]) for row in kept.to_dict("records")
    ]
    for name, column in objectives.COLUMNS.items():
        if column in costs:
            kept[column] = [one[name] for one in found]
    kept["front"] = False
    for _, group in kept.groupby("dose_e_per_a2"):
        kept.loc[group.index, "front"] = objectives.front(group["objective"], [group[c] for c in costs])
    places = ["dose_e_per_a2", "search", "round", "index"]
    return kept[list(dict.fromkeys([*places, *names, "objective", *costs, "front"]))]


def _trial_rows(resolved: Resolved) -> Iterable[dict[str, Any]]:
    study = resolved.study
    for search in scope.searches(study).values():
        for round_ in range(len(search.sizes)):
            for record in read_round(resolved.results, search, round_):
                point = scope.point_of(study, search, record["point"])
                yield _trial_row(study, search.kind, search.dose_e_per_a2, round_, record, point)
    for content in _decisions(resolved):
        for record in content["refined"]:
            yield _trial_row(study, scope.REFINED, content["dose_e_per_a2"], 0, record, record["point"])


def _trial_row(
    study: StudyConfig, kind: str, dose: float, round_: int, record: dict[str, Any], point: dict[str, Any]
) -> dict[str, Any]:
    base = study.experiment
    at = {name: point[name] if name in point else getattr(base, name, None) for name in _parameters(study)}
    where = {"search": kind, "dose_e_per_a2": dose, "round": round_, "index": record["index"]}
    return {**where, **at, **score_columns(study, record)}


CONTENDERS = [
    "dose_e_per_a2", "place", "sweeps", "n", "mean", "difference", "low", "high", "better", "alike",
]  # fmt: skip


def _contender_rows(resolved: Resolved) -> Iterable[dict[str, Any]]:
    """Each dose's contenders, the winner first: mean over their draws, and how much less than the winner's it is."""
    for content in _decisions(resolved):
        for row in content["contenders"]:
            own = {"dose_e_per_a2": content["dose_e_per_a2"], "n": len(row["values"]), **row["point"]}
            yield {**own, **{name: row[name] for name in CONTENDERS if name in row}}


def _decision_rows(resolved: Resolved) -> Iterable[dict[str, Any]]:
    """How each dose was decided, and how sure that is."""
    names = ("outcome", "draws", "probability_best", "probability_good", "expected_loss", "expected_gain", "sweeps")
    for content in _decisions(resolved):
        own = {"dose_e_per_a2": content["dose_e_per_a2"], "refined": len(content["refined"])}
        own |= {name: content.get(name) for name in names}
        yield {**own, "reference_sweeps": content["reference"]["sweeps"]}


def _decisions(resolved: Resolved) -> Iterable[dict[str, Any]]:
    for which in scope.doses(resolved.study):
        yield resolved.read_json(scope.DECISION.format(**which))


def _compared(study: StudyConfig) -> dict[str, str]:
    """Scores that both designs are compared in, and their columns: what was maximised is one of them."""
    always = {"ssim": ssim_column(_reported_width(study)), "psnr_db": "psnr_db"}
    return always if study.objective.metric in always else {**always, "objective": "objective"}


def gain_rows(validation: pd.DataFrame, reference: str, compared: Mapping[str, str]) -> Iterable[dict[str, Any]]:
    """Optimised minus reference in the re-simulations of one number each, with the interval that holds 95 %.

    compared: scores, and their columns."""
    for (dose, simulator), rows in validation.groupby(["dose_e_per_a2", "simulator"], sort=False):
        both = [rows[rows["design"] == design] for design in (OPTIMISED, reference)]
        for metric, column in compared.items():
            scores = [dict(zip(r["repeat"], r[column].to_numpy(float), strict=True)) for r in both]
            shared = sorted(scores[0].keys() & scores[1].keys())
            found = difference(*([one[number] for number in shared] for one in scores))
            interval = {"n": found.n, "difference": found.mean, "low": found.low, "high": found.high}
            known = {"dose_e_per_a2": dose, "simulator": simulator, "metric": metric}
            yield {**known, **interval, "verdict": verdict(found)}


def _validation_rows(resolved: Resolved) -> Iterable[dict[str, Any]]:
    study = resolved.study
    for which in scope.validations(study):
        content = resolved.read_json(scope.VALIDATION.format(**which))
        for record in content["trials"]:
            yield {
                "design": record["design"],
                "simulator": content["simulator"],
                "repeat": record["repeat"],
                "dose_e_per_a2": content["dose_e_per_a2"],
                **{name: record["point"][name] for name in study.space.root},
                **score_columns(study, record),
            }


def _parameters(study: StudyConfig) -> list[str]:
    """Names of all varied parameters: those of the space, then those that only the map varies."""
    more = [] if study.map is None else [study.map.x.name, study.map.y.name, *study.map.at]
    return list(dict.fromkeys([*study.space.root, *more]))


def score_columns(study: StudyConfig, record: dict[str, Any]) -> dict[str, Any]:
    """Status and scores of a record, in the order of the tables; empty where there is no score."""
    best = judged(study, record)
    scores = best.get("scores", {})
    ssim = scores.get("ssim", {})
    return {
        "status": record["status"],
        "reason": record["reason"],
        "objective": objective_value(study, record),
        **{ssim_column(width): ssim.get(f"{width:g}") for width in study.score.ssim_widths_px},
        **{name: scores.get(name) for name in ("psnr_db", "mse_rad2", "frc_area", "information", "contrast")},
        **{plain_name(name): scores.get(name) for name in study.score.functions},
        "positions": record.get("positions"),
        "sweeps": best.get("sweeps", record.get("sweeps")),
        "fluence_mean": record.get("fluence_mean"),
        "fluence_least": record.get("fluence_least"),
        "seed": record["seed"],
        **dict(zip(REGION, record["region_a"], strict=True)),
        "data_range_rad": scores.get("data_range_rad"),
        "frc_qmax_per_a": scores.get("frc_qmax"),
    }


RECOMMENDED = [
    "dose_e_per_a2", "parameter", "best", "low", "high", "unit", "searched_low", "searched_high",
]  # fmt: skip


def _recommended_rows(resolved: Resolved) -> Iterable[dict[str, Any]]:
    """The winner of each dose, and the range of each parameter within 5 % of the best according to the surrogate."""
    study = resolved.study
    for dose in study.doses_e_per_a2:
        best = resolved.read_json(scope.DECISION.format(dose=dose_name(dose)))
        for name, dimension in study.space.root.items():
            if not dimension.ordered:  # words are in the table of contenders
                continue
            low, high = best["tolerance"].get(name) or (None, None)
            ends = (
                (min(dimension.values), max(dimension.values)) if dimension.choices else (dimension.low, dimension.high)
            )
            yield {
                "dose_e_per_a2": dose,
                "parameter": name,
                "best": (best["point"] or {}).get(name),
                "low": low,
                "high": high,
                "unit": UNITS.get(name.rpartition("_")[2], ""),
                "searched_low": ends[0],
                "searched_high": ends[1],
            }


def _summary(study: StudyConfig, validation: pd.DataFrame, images: dict[str, dict[str, Any]]) -> pd.DataFrame:
    """Mean and sample standard deviation over the repeats of each (dose, design, simulator); failures are left out.

    Beside them what an image without any structure scores: less than that is nothing.
    """
    ssim = ssim_column(_reported_width(study))
    rows = []
    for dose in study.doses_e_per_a2:
        for design in (OPTIMISED, study.reference.name):
            for simulator in scope.simulators(study):
                chosen = validation[
                    (validation["dose_e_per_a2"] == dose)
                    & (validation["design"] == design)
                    & (validation["simulator"] == simulator)
                    & (validation["status"] == "ok")
                ]
                row = {"dose_e_per_a2": dose, "design": design, "simulator": simulator, "n": len(chosen)}
                for name, column in (("ssim", ssim), ("psnr_db", "psnr_db")):
                    found = summarise(chosen[column].to_numpy(float))
                    row |= {f"{name}_mean": found.mean, f"{name}_std": found.std}
                rows.append(row | blank_scores(images.get(f"{dose_name(dose)}-{design}")))
    return pd.DataFrame(rows)


def blank_scores(group: dict[str, Any] | None) -> dict[str, float | None]:
    """SSIM and PSNR of an image that is the truth's mean everywhere. group: images of a scored trial, None for none."""
    if group is None:
        return {"ssim_blank": None, "psnr_db_blank": None}
    truth, attrs = np.asarray(group["arrays"]["truth"].values, float), group["attrs"]
    blank, data_range = np.full_like(truth, truth.mean()), attrs["data_range_rad"]
    return {
        "ssim_blank": float(metrics.ssim(blank, truth, attrs["ssim_width_px"], data_range)),
        "psnr_db_blank": float(metrics.psnr(blank, truth, data_range)),
    }


def _two_by_two(study: StudyConfig, validation: pd.DataFrame) -> Iterable[dict[str, Any]]:
    """Both experiments, each with the study's reconstruction and with its own: what each of the two changes brings."""
    ssim = ssim_column(_reported_width(study))
    for dose in study.doses_e_per_a2:
        rows = validation[(validation["dose_e_per_a2"] == dose) & (validation["simulator"] == "jax")]
        for experiment in (OPTIMISED, study.reference.name):
            for reconstruction, more in (("default", scope.PLAIN), ("own", "")):
                chosen = rows[(rows["design"] == experiment + more) & (rows["status"] == "ok")]
                known = {"dose_e_per_a2": dose, "experiment": experiment, "reconstruction": reconstruction}
                found = {
                    name: summarise(chosen[c].to_numpy(float)) for name, c in (("ssim", ssim), ("psnr_db", "psnr_db"))
                }
                scores = {f"{n}_{what}": getattr(f, what) for n, f in found.items() for what in ("mean", "std")}
                sweeps = None if chosen.empty else float(chosen["sweeps"].median())
                yield {**known, "sweeps": sweeps, "n": len(chosen), **scores}


def _reported_width(study: StudyConfig) -> float:
    """Width of the SSIM that is reported: the objective's, else the one next to the usual 1.5."""
    widths = study.score.ssim_widths_px
    return study.objective.width_px if study.objective.metric == "ssim" else min(widths, key=lambda w: abs(w - 1.5))


def _convergence_rows(trials: pd.DataFrame) -> Iterable[dict[str, Any]]:
    """Best objective after so many trials, for every search and dose."""
    for search in (scope.BO, scope.RANDOM):
        for dose, ordered in in_order(trials, search).groupby("dose_e_per_a2", sort=True):
            values = [None if math.isnan(v) else float(v) for v in ordered["objective"].to_numpy(float)]
            for count, best in enumerate(best_so_far(values), start=1):
                yield {"search": search, "dose_e_per_a2": dose, "trials": count, "best_objective": best}


def _spectrum_rows(resolved: Resolved) -> Iterable[dict[str, Any]]:
    """What the repeats of each design say by ring of spatial frequency."""
    study, store = resolved.study, PointStore(resolved.root)
    for dose in study.doses_e_per_a2:
        content = resolved.read_json(scope.VALIDATION.format(dose=dose_name(dose), simulator="jax"))
        for design in (OPTIMISED, study.reference.name):
            records = [record for record in content["trials"] if record["design"] == design]
            for row in spectra.rows(spectra.by_ring(store, records, study.score.frc_qmax)):
                yield {"dose_e_per_a2": dose, "design": design, **row}


def _image_groups(resolved: Resolved) -> dict[str, dict[str, Any]]:
    """Pictures of the first repeat of each design and dose, and the structure."""
    study = resolved.study
    store, groups = PointStore(resolved.root), {}
    width = _reported_width(study)
    for dose in study.doses_e_per_a2:
        content = resolved.read_json(scope.VALIDATION.format(dose=dose_name(dose), simulator="jax"))
        for record in content["trials"]:
            if record["repeat"] != 1 or record["status"] != "ok" or record["design"].endswith(scope.PLAIN):
                continue
            group = kept_images(store, record["key"], ("phase", "truth"), IMAGE_ATTRS)
            attrs = group["attrs"]
            attrs["ssim"] = attrs.pop("ssim_by_width")[f"{width:g}"]
            attrs |= {"dose_e_per_a2": dose, "design": record["design"], "ssim_width_px": width}
            groups[f"{dose_name(dose)}-{record['design']}"] = group
    groups["structure"] = _structure(resolved)
    return groups


def _structure(resolved: Resolved) -> dict[str, Any]:
    """The middle of the sample: projected potential, and its atoms in the same frame."""
    study = resolved.study
    potential = cached(resolved)[0]
    pixel = potential.pixel_a
    counts = []
    for axis in range(2):
        side = min(study.experiment.field_of_view_a[axis], STRUCTURE_A)
        total = potential.grid.shape[axis]
        count = min(total, round(side / pixel[axis]))
        counts.append(count - (total - count) % 2)  # equal margins on both sides: the centres coincide
    rows, columns = (
        slice((n - count) // 2, (n - count) // 2 + count) for n, count in zip(potential.grid.shape, counts, strict=True)
    )
    projected = potential.slices_va.mean(axis=0).sum(axis=0)[rows, columns]
    arrays = {"potential_va": io.Array(projected.astype(np.float32), "V*angstrom", "y,x")}
    extent = (counts[0] * pixel[0], counts[1] * pixel[1])
    attrs: dict[str, Any] = {
        "pixel_a": list(pixel),
        "sigma_rad_per_va": units.interaction_parameter(study.experiment.voltage_kv),
    }
    if not isinstance(study.sample, ImageSample):
        atoms = build_atoms(study.sample, extent)
        arrays["positions"] = io.Array(np.asarray(atoms.positions, float), "angstrom", "atom,(x,y,z)")
        arrays["numbers"] = io.Array(np.asarray(atoms.numbers), "1", "atom")
        attrs["cell"] = [float(v) for v in atoms.cell.lengths()]
    return {"arrays": arrays, "attrs": attrs}
