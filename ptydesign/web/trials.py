"""The trials of a study, as they come, and what the surrogate makes of them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ptydesign import io
from ptydesign.config import build
from ptydesign.design.settings import Observation, SearchConfig
from ptydesign.design.space import Space, build_space
from ptydesign.errors import InputError
from ptydesign.functions import plain_name
from ptydesign.session import DONE, Session
from ptydesign.study.progress import METRICS
from ptydesign.study.quantities import score_label, words_and_unit
from ptydesign.study.rounds import best_so_far
from ptydesign.study.store import PointStore
from ptydesign.study.tables import read_settings
from ptydesign.web.contenders import Contender, Decision, decision, predicted
from ptydesign.web.lines import Lines, number
from ptydesign.web.runs import latest

if TYPE_CHECKING:
    from ptydesign.design.surrogate import Surrogate

COLUMNS = ("number", "trial", "search", "dose", "value", "best", "seconds", "status", "reason", "key")
MOST_FITTED = 600  # trials of one surrogate: fitting takes the cube of their number
SLICE = 61  # points of a slice


@dataclass(frozen=True)
class Picture:
    """An image (y, x) that a trial keeps. pixel_a: (y, x), None where the trial doesn't say."""

    name: str
    values: np.ndarray
    pixel_a: tuple[float, float] | None


@dataclass(frozen=True)
class Slice:
    """The surrogate along one parameter, the others held at the best trial. values: of the parameter; mean, std: of
    the score without noise."""

    name: str
    values: list[Any]
    mean: np.ndarray
    std: np.ndarray


@dataclass(frozen=True)
class Fit:
    """What a search's trials say together. contenders: the likeliest first; fitted, of: trials that it knows, and that
    there are."""

    slices: tuple[Slice, ...]
    contenders: tuple[Contender, ...]
    fitted: int
    of: int


@dataclass(frozen=True)
class Model:
    """A search's surrogate. of: how many trials there are."""

    surrogate: Surrogate
    of: int

    def along(self, name: str, point: Mapping[str, Any]) -> Slice:
        """The surrogate along one parameter, the others as in a point."""
        space = self.surrogate.space
        dimension = space.dimensions[space.names.index(name)]
        values = list(dimension.values) if dimension.size <= SLICE else _even(dimension, point[name])
        return Slice(name, values, *self.surrogate.predict([{**point, name: value} for value in values]))


class Trials:
    """The trials of one results folder; `update` reads what is new."""

    def __init__(self, results: Path):
        self.results = Path(results)
        self.study, self.made = read_settings(self.results)
        self.session = Session(self.results / "logs")
        self._lines = Lines(self.results / "logs" / "progress.jsonl")
        self.frame = pd.DataFrame(columns=COLUMNS)
        self.parameters: list[str] = []
        self._models: dict[str, Model] = {}
        self.update()

    @property
    def kind(self) -> str:
        """Of the study."""
        return str(self.made.get("kind", "experiment"))

    @property
    def title(self) -> str:
        """Of the study."""
        return str(self.study.get("title", self.results.name))

    @property
    def score(self) -> str:
        """What the score is, `SSIM`; `Score` where the run doesn't say."""
        metric = self.session.read().get("metric")
        if not isinstance(metric, str):
            return "Score"
        words, sign = METRICS.get(metric, (score_label(plain_name(metric)), 1))
        return words if sign > 0 else f"−{words}"

    @property
    def dose(self) -> str:
        """What searches differ in, with its unit."""
        unit = str(self.session.read().get("unit") or "e/A^2")
        return "Dose (e/Å²)" if unit == "e/A^2" else f"Budget ({unit})"

    def update(self) -> bool:
        """Read new trials; True if there are any."""
        if not self._lines.update() and len(self.frame):
            return False
        noted = latest(self._lines.items, self.session.read().get("version"))
        trials = {name: item for name, item in noted.items() if "spared" not in item}
        rows, points = [], []
        for item in sorted(trials.values(), key=lambda one: number(one.get("t")) or 0.0):
            name, point = str(item["trial"]), item.get("point")
            value = number(item.get("value"))
            status = str(item.get("status") or ("ok" if value is not None else "failed"))
            rows.append((len(rows) + 1, name, search_of(name), number(item.get("dose")), value, None,
                         number(item.get("s")), status, str(item.get("reason") or ""),
                         str(item.get("key") or "")))  # fmt: skip
            points.append(_scalars(point) if isinstance(point, dict) else {})
        frame = pd.DataFrame(rows, columns=COLUMNS)
        for _, part in frame.groupby("search"):
            frame.loc[part.index, "best"] = best_so_far(
                [None if v is None or np.isnan(v) else v for v in part["value"]]
            )
        given = pd.DataFrame(points, index=frame.index)
        varied = [n for n in given.columns if given[n].nunique(dropna=True) > 1 and n not in COLUMNS]
        order = [*(self.study.get("space") or {})]
        self.parameters = sorted(varied, key=lambda n: order.index(n) if n in order else len(order))
        self.frame = pd.concat([frame, given[[n for n in given.columns if n not in COLUMNS]]], axis=1)
        return True

    @property
    def searches(self) -> list[str]:
        """Names of the searches: of trials whose points differ; at a run's start, of those with a point."""
        if not self.parameters:
            return []
        different = self.frame.groupby("search", sort=False)[self.parameters].nunique().max(axis=1)
        return list(different.index[different > min(different.max() - 1, 1)])

    def even_in_log(self, name: str) -> bool:
        """Whether the search looks at a parameter in its logarithm."""
        dimension = (self.study.get("space") or {}).get(name)
        return isinstance(dimension, dict) and dimension.get("scale") == "log"

    def failures(self) -> list[tuple[str, int]]:
        """(reason, how many trials), the most frequent first."""
        bad = self.frame[self.frame["status"] != "ok"]
        counts = bad["reason"].replace("", "no reason recorded").value_counts()
        return [(str(reason), int(count)) for reason, count in counts.items()]

    def space(self, dose: float | None) -> Space:
        """The space of the searches at a dose. Raises InputError for a study that has none."""
        if self.kind in ("planning", "plan"):
            from ptydesign.planning.config import PlanningStudy
            from ptydesign.planning.instrument import Bench
            from ptydesign.planning.space import make_space

            return make_space(Bench(build(PlanningStudy, self.study, "resolved.yaml")), dose)
        space = self.study.get("space")
        if not isinstance(space, dict):
            raise InputError("space", "must be in the study's settings", "nothing", "This study has no search.")
        return build_space(space)

    def model(self, search: str) -> Model:
        """The surrogate of a search's trials; some seconds for hundreds, at once if no trial is new. Raises InputError
        for too few."""
        from ptydesign.design.surrogate import surrogate

        part = self.frame[self.frame["search"] == search]
        known = self._models.get(search)
        if known is not None and known.of == len(part):
            return known
        doses = part["dose"].dropna().unique()
        space = self.space(float(doses[0]) if len(doses) else None)
        part = part[part[[n for n in space.names if n in part]].notna().all(axis=1)]
        seen = []
        for row in _spread(part, MOST_FITTED).to_dict("records"):
            with suppress(InputError, KeyError):
                point = space.validate_point({name: row[name] for name in space.names})
                seen.append(Observation(point, None if pd.isna(row["value"]) else row["value"], row["reason"]))
        said = {name: value for name, value in self.study.get("search", {}).items() if name != "sampler"}
        config = build(SearchConfig, {**said, "method": "bo"}, "search")  # whichever method chose the points
        model = surrogate(space, config, seen, int(self.study.get("seed", 0)))
        self._models[search] = Model(model, len(part))
        return self._models[search]

    def fit(self, search: str) -> Fit:
        """What the trials of a search say together. Raises InputError as `model`."""
        known = self.model(search)
        model, seen = known.surrogate, known.surrogate.observations
        best, _, _ = model.best(observed=True)
        slices = tuple(known.along(name, best) for name in model.space.names)
        return Fit(slices, predicted(model, seen), len(seen), known.of)

    def decision(self, search: str) -> Decision | None:
        """What the study has decided of a search; None before."""
        running = self.session.state() not in ("", DONE)
        return decision(self.results, search, set(self.frame["key"]) if running else None)

    def pictures(self) -> dict[str, str]:
        """Trials that keep pictures: name -> key."""
        store = PointStore(self.results.parent)
        keys = dict(zip(self.frame["trial"], self.frame["key"], strict=True))
        return {name: key for name, key in keys.items() if _is_key(key) and store.images_path(key).is_file()}

    def picture(self, key: str) -> list[Picture]:
        """The images of a trial. Raises InputError if it keeps none."""
        if not _is_key(key):
            raise InputError("key", "must be a trial's", key, "Choose a trial of the list.")
        groups = io.read_images(PointStore(self.results.parent).images_path(key), key)
        return [
            Picture(name, np.asarray(values, float), _pixel(group["attrs"].get("pixel_a")))
            for group in groups.values()
            for name, values in group["arrays"].items()
            if np.ndim(values) == 2 and not np.iscomplexobj(values)
        ]


def search_of(trial: str) -> str:
    """The search of a trial by its name, as bo-1000/0/3. Where a decision refines a dose, its search goes on."""
    refined = re.fullmatch(r"decision/([^/]+)/refine/\d+", trial)
    if refined:
        return f"bo-{refined[1]}"
    return trial.rsplit("/", 2)[0] if trial.count("/") > 1 else trial.rpartition("/")[0]


def label(name: str) -> str:
    """`Scan step (Å)`; the end of a plan's path, `engines.0.object_step`."""
    words, unit = words_and_unit(name.rpartition(".")[2])
    return f"{words} ({unit})" if unit else words


def recommendation(results: Path) -> dict[str, Any]:
    """The recommended setting of a finished plan, in the microscope's units; empty if there is none."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        content = json.loads((Path(results) / "tables" / "recommendation.json").read_text(encoding="utf-8"))
        return dict(content["recommended"])
    return {}


def _spread(part: pd.DataFrame, most: int) -> pd.DataFrame:
    """All trials, or the better half of `most`, and as many of the others, evenly over the search."""
    if len(part) <= most:
        return part
    best = part.nlargest(most // 2, "value").index
    others = part.index.difference(best)
    even = others[np.linspace(0, len(others) - 1, most - len(best)).astype(int)]
    return part.loc[best.union(even)]


def _even(dimension: Any, place: Any) -> list[Any]:
    return sorted({*dimension.from_features(np.linspace(0.0, 1.0, SLICE)[:, None]), place})


def _scalars(point: dict[str, Any]) -> dict[str, Any]:
    return {str(name): value for name, value in point.items() if isinstance(value, int | float | str)}


def _pixel(value: Any) -> tuple[float, float] | None:
    found = [number(one) for one in value] if isinstance(value, list | tuple) else []
    return (found[0], found[1]) if len(found) == 2 and all(found) else None


def _is_key(key: Any) -> bool:
    return isinstance(key, str) and len(key) == 32 and set(key) <= set("0123456789abcdef")
