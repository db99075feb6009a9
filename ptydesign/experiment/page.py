"""What the report of a study of an experiment says, from its tables."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from ptydesign.experiment import findings, words
from ptydesign.experiment.carried import signal
from ptydesign.experiment.config import OPTIMISED
from ptydesign.experiment.scope import WORTH
from ptydesign.experiment.tables import FAILED, ExperimentTables
from ptydesign.study.page import Cell, Page, Table
from ptydesign.study.quantities import dose_number, dose_text, fixed, number, words_and_unit
from ptydesign.study.tables import failures

_SEARCHES = {
    "bo": "optimisation", "refined": "refinement", "random": "random search", "map": "map",
    "tuned": "tuning of the reference",
}  # fmt: skip
_LOOKS = {findings.YES: "yes", findings.NO: "no"}


def page(tables: ExperimentTables) -> Page:
    """What was asked and found."""
    tried = _tried(tables)
    found = [_recommended(tables), _scores(tables), *_signal(tables), *_two_by_two(tables), _decisions(tables)]
    return Page(
        facts=_facts(tables),
        asked=[_space(tables)],
        sentences=findings.sentences(tables),
        found=[*found, _trends(tables)] if tables.paper else found,
        failures=failures(tried, "where"),
        tried=len(tried),
        reproduce=_seeds(tables),
        trials="tables/trials.csv",
    )


def _facts(tables: ExperimentTables) -> list[tuple[str, str]]:
    study, trials = tables.study, tables["trials"]
    search, by = study["search"], trials["search"].value_counts(sort=False)
    counted = ", ".join(f"{count} by {_SEARCHES[name]}" for name, count in by.items())
    field = " × ".join(number(value) for value in reversed(study["experiment"]["field_of_view_a"]))
    return [
        ("Sample", sample_text(study["sample"])),
        ("Scored field", f"{field} Å (x × y); the scan covers it and a margin"),
        ("Doses", f"{', '.join(dose_number(dose) for dose in tables.doses)} e/Å²"),
        ("Maximised", tables.objective),
        ("Search", f"{search['initial']} first points and {search['points']} proposed ones at each dose"),
        ("Trials", f"{len(trials)} ({counted}), and {len(tables['validation'])} re-simulations of the winners"),
        ("Compared with", _reference_text(tables)),
        ("Repeats", f"{study['validation']['repeats']} fresh noise seeds for each winner and dose"),
        ("Scale", study["scale"]),
    ]


def sample_text(sample: dict[str, Any]) -> str:
    """A study's sample in words."""
    if sample["kind"] == "bilayer":
        return f"bilayer {' on '.join(sample['layers'])}, twisted by {number(sample['twist_deg'])}°"
    shown = {key: value for key, value in sample.items() if key != "kind" and value is not None}
    return f"{sample['kind']}: " + ", ".join(f"{key} {value}" for key, value in shown.items())


def _reference_text(tables: ExperimentTables) -> str:
    point = tables.reference_point
    values = [_with_unit(name, point[name]) for name in tables.parameters if name in point]
    return f"{tables.reference}: {', '.join(values)}" if values else tables.reference


def _with_unit(name: str, value: float) -> str:
    return f"{words_and_unit(name)[0].lower()} {words.setting(name, value)}"


def _space(tables: ExperimentTables) -> Table:
    rows = []
    for name, dimension in tables.study["space"].items():
        if dimension.get("choices"):
            searched, scale = ", ".join(map(_value, dimension["choices"])), "choices"
        else:
            searched = f"{number(dimension['low'])} to {number(dimension['high'])}"
            scale = "integers" if dimension.get("integer") else dimension.get("scale", "linear")
        rows.append((words_and_unit(name)[0], searched, words.unit(name), scale))
    return Table("Ranges searched", ("Parameter", "Searched", "Unit", "Scale"), rows, words=range(4))


def _recommended(tables: ExperimentTables) -> Table:
    """Value, tolerance, whether at an edge, and the trials behind it."""
    header = [Cell("Dose", "e/Å²"), *map(_head, tables.parameters), "Sweeps", "Trials"]
    rows = []
    for dose in tables.doses:
        fitted = tables.fitted(dose)
        rows.append(
            [
                Cell(dose_number(dose), FAILED if tables.failed(dose, OPTIMISED) else ""),
                *(_setting(tables, dose, name) for name in tables.parameters),
                _sweeps(tables, dose),
                Cell(str(fitted), "few: caution" if fitted < findings.LEAST_TRIALS else ""),
            ]
        )
    note = (
        "Below each value: the range of that one parameter in which the objective stays within 5 % of the best "
        "according to the search's surrogate model, fitted to as many scored trials as the last column says, and in "
        "which contenders lie that can't be told from the winner. "
        "Sweeps: of the reconstruction, the best on average over draws, of those at which trials are scored. "
        "Trials without a score were kept and counted as failures by the search. "
        "* at an edge of the range searched: the optimum may lie outside."
    )
    return Table("Recommended settings", header, rows, note, words=())


def _sweeps(tables: ExperimentTables, dose: float) -> Cell:
    """After how many sweeps the winner is judged, and the reference."""
    rows = tables["validation"]
    rows = rows[np.isclose(rows["dose_e_per_a2"], dose) & (rows["status"] == "ok")]
    counts = {design: group["sweeps"].median() for design, group in rows.groupby("design")}
    own, other = counts.get(OPTIMISED), counts.get(tables.reference)
    said = "" if other is None else f"{tables.reference}: {other:.0f}"
    return Cell("none" if own is None else f"{own:.0f}", said)


def _head(name: str) -> Cell:
    return Cell(words_and_unit(name)[0], words.unit(name))


def _setting(tables: ExperimentTables, dose: float, name: str) -> Cell:
    row = tables.recommendation(dose, name)
    if row is None:  # no winner, or the parameter has no meaning beside the winner's others
        return Cell("–") if len(tables.at("contenders", dose)) else Cell("none", "all trials failed")
    known = np.isfinite(row["low"]) and np.isfinite(row["high"])
    span = f"{number(row['low'])} to {number(row['high'])}" if known else "tolerance unknown"
    side = words.side(name, row["best"])
    return Cell(number(row["best"]) + "*" * findings.at_edge(row.to_dict()), f"{side}, {span}" if side else span)


def _scores(tables: ExperimentTables) -> Table:
    designs = ("optimised", tables.reference, "difference")
    known = set(tables["summary"]["simulator"])
    rows = [row for simulator in ("jax", "abtem") if simulator in known for row in _score_rows(tables, simulator)]
    note = (
        "Mean ± one sample standard deviation over n re-simulations with fresh noise seeds, not the scores seen by the "
        "search or by the decision. Below each difference: its interval of 95 % from the pairs of re-simulations "
        f"(Student's), and what it says. {findings.search_spread(tables)}"
    )
    return Table(
        f"Optimised against {tables.reference}",
        (Cell("Dose", "e/Å²"), "Simulator", "n", *designs, *designs),
        rows,
        note,
        groups=(("", 1), ("", 1), ("", 1), ("SSIM", 3), ("PSNR (dB)", 3)),
        words=(1,),
        look="tight",
    )


def _score_rows(tables: ExperimentTables, simulator: str) -> Iterable[list[str | Cell]]:
    for dose in tables.doses:
        both = {design: tables.scores(dose, design, simulator) for design in (OPTIMISED, tables.reference)}
        counts = ["0" if row is None else str(int(row["n"])) for row in both.values()]
        cells: list[str | Cell] = [dose_number(dose), simulator, " / ".join(dict.fromkeys(counts))]
        for score, decimals in (("ssim", 3), ("psnr_db", 1)):
            for design, row in both.items():
                failed = score == "ssim" and tables.failed(dose, design, simulator)
                cells.append(Cell(_mean_text(row, score, decimals), FAILED if failed else ""))
            pair = next((pair for pair in findings.compare(tables, simulator, score) if pair.dose == dose), None)
            if pair is None:
                cells.append("–")
            else:
                said = f"{pair.interval}: {pair.verdict}" if np.isfinite(pair.low) else pair.verdict
                cells.append(Cell("+" * (pair.difference > 0) + fixed(pair.difference, decimals), said))
        yield cells


def _signal(tables: ExperimentTables) -> Iterable[Table]:
    """Down to which period images tell anything, and what their errors are made of."""
    rows = []
    for dose in tables.doses:
        cells: list[str] = [dose_number(dose)]
        for design in (OPTIMISED, tables.reference):
            found = signal(tables, dose, design)
            if found is None:
                cells += ["–"] * 3
            else:
                cells += [found.period, fixed(found.bias_rad, 4), fixed(found.scatter_rad, 4)]
        rows.append(cells)
    if all(cell == "–" for row in rows for cell in row[1:]):
        return
    note = (
        "Period: down to it an image has more signal than noise, by ring of spatial frequency. Bias: rms of what "
        "all re-simulations of a design have in common beside the truth. Scatter: rms of what differs between them. "
        "More dose lowers the scatter, and the part of the bias that is contrast lost to noise."
    )
    each = ("Period", "Bias", "Scatter")
    units = ("Å", "rad", "rad")
    header = [Cell("Dose", "e/Å²"), *(Cell(*pair) for _ in range(2) for pair in zip(each, units, strict=True))]
    groups = (("", 1), (OPTIMISED, 3), (tables.reference, 3))
    yield Table("Signal, bias and scatter", header, rows, note, groups=groups, words=())


def _decisions(tables: ExperimentTables) -> Table:
    """Each dose's contenders, and how sure the choice among them is."""
    config = tables.study["decision"]
    header = [Cell("Dose", "e/Å²"), *(Cell(*words_and_unit(name)) for name in tables.varied)]
    header += ["Sweeps", "Draws", "Mean", Cell("Behind the winner", "95 % interval"), "Probability of being better"]
    rows = []
    for dose in tables.doses:
        for rank, row in enumerate(tables.at("contenders", dose).to_dict("records")):
            first = rank == 0
            behind = f"{fixed(row['difference'], 3)}"
            span = "" if first else f"{fixed(row['low'], 3)} to {fixed(row['high'], 3)}"
            rows.append(
                [
                    Cell(
                        dose_number(dose) if first else "", _OUTCOMES.get(_outcome(tables, dose), "") if first else ""
                    ),
                    *(_value(row[name]) for name in tables.varied),
                    f"{row['sweeps']:.0f}",
                    f"{row['n']:.0f}",
                    fixed(row["mean"], 3),
                    "winner" if first else Cell(behind, span),
                    "" if first else ("below 0.001" if row["better"] < 0.001 else fixed(row["better"], 3)),
                ]
            )
    note = (
        f"{_refined(tables)}Contenders are the optimum of the model of all trials and tried points that the model "
        "can't tell from it. "
        "Draws with fresh noise go to the best and to the one that is hardest to tell from it, until "
        f"the best is known with a probability of {100 * config['probability']:.0f} %, or no other is better by more "
        f"than {number(config['zone'])} with that probability, or after {config['draws']} draws. A contender whose "
        "interval holds zero can't be told from the winner. The scores above are of other draws, since a winner's mean "
        "is a little too high: it was chosen by it."
    )
    return Table("How the winners were decided", header, rows, note, words=(), look="tight")


def _refined(tables: ExperimentTables) -> str:
    """What was tried after the searches, and what the models expect of more."""
    rows, config = tables["decisions"], tables.study["decision"]
    if not rows["refined"].any():
        return ""
    counts = ", ".join(f"{count:.0f}" for count in rows["refined"])
    others = "what the other doses' searches found, and then " if config.get("others") else ""
    again = "Before its decision each dose tried what the others had found by then. " if config.get("others") else ""
    little = rows.loc[rows["expected_gain"] < WORTH * config["zone"], "dose_e_per_a2"]
    came = f"at {', '.join(map(dose_text, little))}" if len(little) else "at no dose"
    return (
        f"After the searches {counts} more trials were made, from the lowest dose on: {others}one after another where "
        f"the model expects the greatest improvement, until it expects less than a tenth of {number(config['zone'])}, "
        f"which it came to {came}, or {config['refine']} of them were made. {again}"
    )


def _value(value: object) -> str:
    """Of a setting: a number, or a word; a dash for one that has no meaning beside the others."""
    return value if isinstance(value, str) else number(value)


def _two_by_two(tables: ExperimentTables) -> Iterable[Table]:
    """Both experiments, each with the study's reconstruction and with its own."""
    rows = tables["two_by_two"]
    if rows is None:
        return
    columns = [(e, r) for e in (OPTIMISED, tables.reference) for r in ("default", "own")]
    lines = []
    for dose in tables.doses:
        at = tables.at("two_by_two", dose).set_index(["experiment", "reconstruction"])
        cells = []
        for column in columns:
            row = at.loc[column]
            known = row["n"] > 0
            said = f"{fixed(row['ssim_mean'], 3)} ± {fixed(row['ssim_std'], 3)}" if known else "failed"
            cells.append(Cell(said, f"{row['sweeps']:.0f} sweeps" if known else ""))
        lines.append([dose_number(dose), *cells])
    note = (
        "SSIM over re-simulations with fresh noise. Default: the study's reconstruction, at its own best stop. Own: "
        "the one that the search, or the reference's tuning, found for this experiment."
    )
    header = (Cell("Dose", "e/Å²"), *(f"{r} reconstruction" for _, r in columns))
    groups = (("", 1), ("optimised experiment", 2), (f"{tables.reference}'s experiment", 2))
    yield Table("Experiment and reconstruction", header, lines, note, groups=groups, words=())


_OUTCOMES = {
    "decided": "best, 95 % sure",
    "alike": "none better by the zone",
    "budget": "draws ended",
    "alone": "one contender",
}


def _outcome(tables: ExperimentTables, dose: float) -> str:
    return str(tables.at("decisions", dose)["outcome"].iloc[0])


def _mean_text(row: pd.Series | None, score: str, decimals: int) -> str:
    if row is None:
        return "failed"
    mean = fixed(row[f"{score}_mean"], decimals)
    return f"{mean} ± {fixed(row[f'{score}_std'], decimals)}" if row["n"] > 1 else mean


def _trends(tables: ExperimentTables) -> Table:
    rows = [
        (
            Cell(trend.claim[0].upper() + trend.claim[1:], look="wrap"),
            Cell(trend.verdict, look=f"verdict {_LOOKS.get(trend.verdict, 'open')}"),
            Cell(trend.reason, look="wrap"),
        )
        for trend in findings.trends(tables)
    ]
    return Table(f"Trends of {tables.paper}", ("Trend", "Here", "Why"), rows, words=range(3), look="trends")


def _tried(tables: ExperimentTables) -> pd.DataFrame:
    """Status and reason of all trials, and where in the study they were made."""
    trials, again = tables["trials"], tables["validation"]
    places = trials["search"].map(_SEARCHES), "validation (" + again["simulator"] + ")"
    frames = [f[["status", "reason"]].assign(where=where) for f, where in zip((trials, again), places, strict=True)]
    return pd.concat(frames)


def _seeds(tables: ExperimentTables) -> list[tuple[str, str]]:
    seeds = sorted({int(seed) for seed in tables["validation"]["seed"]})
    also = "; those of the map are also in tables/map.csv" if tables["map"] is not None else ""
    return [
        ("Seeds of trials", f"in tables/trials.csv{also}"),
        (f"Seeds of the {len(seeds)} re-simulations", ", ".join(map(str, seeds))),
    ]
