"""Any parameter of a plan by its path: `engines.0.noise`, `engines.*.group`, `object.slices`, `budget.work_gflop`.

A part is a key, the number of an engine (or of any item of a list), or `*` for every item. A plan is changed as the
mapping that a file holds and validated again, so that whatever a plan may hold can be searched, and nothing else.
"""

from __future__ import annotations

import copy
import difflib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ptydesign.config import build
from ptydesign.errors import InputError, nearest
from ptydesign.reconstruct.plan import Plan

MODE_SHARE = 0.05  # of the total power, of each probe mode after the first


def _modes(plan: dict[str, Any], count: Any) -> None:
    """Number of probe modes: a plan holds their powers, one for each mode after the first."""
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count < 1 / MODE_SHARE:
        rule = f"must be a whole number from 1 to {round(1 / MODE_SHARE) - 1}"
        raise InputError("probe.modes", rule, count, "Give the number of probe modes.")
    plan.setdefault("probe", {})["mode_powers"] = [MODE_SHARE] * (count - 1)


# What people search for but a plan says otherwise -> how to write it into a plan's mapping.
DERIVED: dict[str, Callable[[dict[str, Any], Any], None]] = {"probe.modes": _modes}


def with_values(plan: Mapping[str, Any], values: Mapping[str, Any], where: str = "space") -> Plan:
    """A plan's mapping with values at paths, validated. Raises InputError naming `<where>.<path>` if one doesn't
    fit.
    """
    changed = copy.deepcopy(dict(plan))
    for path, value in values.items():
        try:
            DERIVED[path](changed, value) if path in DERIVED else _set(changed, path.split("."), value, path)
        except InputError as error:
            raise InputError(f"{where}.{path}", error.rule, error.value, error.mend) from None
    try:
        return build(Plan, changed, "plan")
    except InputError as error:
        place = error.field.removeprefix("plan: ")
        through = [path for path in values if leads_to(place, path)]  # an unknown key on a path's way
        fault = next((path for path in values if leads_to(path, place)), through[0] if len(through) == 1 else None)
        field = f"{where}.{fault}" if fault is not None else f"plan.{place} with {dict(values)}"
        mend = error.mend.replace("Correct it in plan.", "Correct it in the study file.")
        raise InputError(field, error.rule, error.value, mend) from None


def leaves(content: Any, path: str = "") -> dict[str, Any]:
    """Every value of a plan's mapping by its path."""
    if not isinstance(content, Mapping | list):
        return {path: content}
    items = content.items() if isinstance(content, Mapping) else enumerate(content)
    return {p: v for part, below in items for p, v in leaves(below, f"{path}.{part}" if path else str(part)).items()}


def nearest_paths(path: str, known: Iterable[str]) -> str:
    """A sentence that names the known paths nearest to a misspelt one, or all if none is near."""
    known = sorted(known)
    found = difflib.get_close_matches(path, known, n=3, cutoff=0.5)
    return f"Did you mean {' or '.join(map(repr, found))}?" if found else f"Known here: {', '.join(known)}."


def _set(content: Any, parts: list[str], value: Any, path: str) -> None:
    """Put a value where the parts lead; mappings on the way are made if they are missing, items of lists are not."""
    part, rest = parts[0], parts[1:]
    if isinstance(content, list):
        if part == "*":
            indices = range(len(content))
        elif part.isdigit() and int(part) < len(content):
            indices = [int(part)]
        else:
            rule = f"must be * or below {len(content)} at {part!r}, which is an item of a list"
            raise InputError(path, rule, part, "Count from 0, and put the item into the plan first.")
        for index in indices:
            if rest:
                _set(content[index], rest, value, path)
            else:
                content[index] = value
    elif isinstance(content, dict):
        if rest:
            below = content.setdefault(part, {})
            if not isinstance(below, dict | list):
                raise InputError(path, f"must lead to a value, but {part!r} is one itself", below, "Shorten the path.")
            _set(below, rest, value, path)
        else:
            content[part] = value
    else:
        raise InputError(path, f"must lead to a value, but nothing is below {part!r}", content, "Shorten the path.")


def leads_to(path: str, place: str) -> bool:
    """Whether a path leads to a place in a plan, as an error names it, or to what holds it (`*` is any item)."""
    place = "probe.modes" if place.startswith("probe.mode_powers") else place
    wanted, found = path.split("."), place.split(".")
    return len(found) >= len(wanted) and all(w in ("*", f) for w, f in zip(wanted, found, strict=False))


def check_paths(names: list[str]) -> None:
    """Raises InputError for a path that no plan has."""
    known = [*Plan.model_fields, *DERIVED]
    for name in names:
        if name not in DERIVED and name.split(".")[0] not in Plan.model_fields:
            raise InputError(f"space.{name}", "must be a path in a plan", name, nearest(name.split(".")[0], known))


def label(path: str) -> str:
    """A path in words, for figures and tables: the last part that is a name."""
    return LABELS.get(path.split(".")[-1], path.split(".")[-1].replace("_", " "))


LABELS = {
    "modes": "probe modes",
    "opr_modes": "OPR modes",
    "group": "batch size",
    "batches": "batches",
    "noise": "noise model",
    "refine_positions": "position correction",
    "refine_intensity": "intensity correction",
    "object_modes": "modes updating the object",
}
