"""The reference of study keys, docs/study.md, made from the configuration models themselves."""

from __future__ import annotations

import inspect
import json
import types
import typing
from typing import Any

from pydantic import BaseModel, RootModel

from ptydesign.reconstruct.plan import Plan
from ptydesign.study.file import DEFAULT_KIND

HEADER = """# Keys of a study file

Made by `ptydesign keys{option} > docs/{page}`. A study is a folder in `studies/` with a `study.yaml`;
every key is checked before anything runs. `scales: {smoke: ..., preview: ..., paper: ...}` holds changes that are laid
over the rest at that scale. Keys without a default are required.
"""


# What other kinds of studies share with this page, and leave to it.
PLAN_HERE = "\nThe keys of a plan of reconstruction are in [study.md](study.md).\n"


def keys_page(kind: str, top: type[BaseModel]) -> str:
    """The page as Markdown: every section, its description, and a table of keys, types and defaults.

    top: the model of the kind's study file. Plans of reconstruction are described for the default kind alone.
    """
    default = kind == DEFAULT_KIND
    option, page = ("", "study.md") if default else (f" --kind {kind}", f"{kind}-keys.md")
    parts = [HEADER.replace("{option}", option).replace("{page}", page) + ("" if default else PLAN_HERE)]
    seen: set[type[BaseModel]] = set() if default else {Plan}
    queue: list[tuple[str, type[BaseModel]]] = [("(top level)", top)]
    while queue:
        title, model = queue.pop(0)
        if model in seen:
            continue
        seen.add(model)
        text = inspect.cleandoc(model.__doc__ or "")
        parts.append(f"## {title}\n\n{text}\n")
        rows = []
        for name, field in model.model_fields.items():
            if model is top and name in ("study", "scale"):
                continue  # set when the study is loaded
            described = f" {field.description}" if field.description else ""
            rows.append(f"| `{name}` | {_type(field.annotation)} | {_default(field)} |{described} |")
            parent = "" if model is top else f"{title} / "
            queue += [(f"{parent}{name}{_choice(m)}", m) for m in _models(field.annotation)]
        if rows and not issubclass(model, RootModel):
            parts.append("| key | value | default | |\n|---|---|---|---|\n" + "\n".join(rows) + "\n")
    return "\n".join(parts)


def _models(annotation: Any) -> list[type[BaseModel]]:
    """The configuration models inside an annotation."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [m for part in typing.get_args(annotation) for m in _models(part)]


def _choice(model: type[BaseModel]) -> str:
    """`: bilayer` for a model that a fixed word selects."""
    for name in ("kind", "engine"):
        if name in model.model_fields:
            return f": {name} {', '.join(map(str, typing.get_args(model.model_fields[name].annotation)))}"
    return ""


def _default(field: Any) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    return "see its section" if isinstance(value, BaseModel) else f"`{json.dumps(value)}`"


def _type(annotation: Any) -> str:
    """A short name of a type, for people."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation is typing.Any:
        return "value"
    if origin is typing.Annotated:
        return _type(arguments[0])
    if origin is typing.Literal:
        return " or ".join(f"`{a}`" for a in arguments)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys("null" if a is type(None) else _type(a) for a in arguments))
    if origin in (tuple, list):
        inner = [_type(a) for a in arguments if a is not Ellipsis]
        return f"list of {inner[0]}" if len(inner) != 2 else f"[{', '.join(inner)}]"
    if origin is dict:
        return f"mapping to {_type(arguments[1])}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "section"
    return {"float": "number", "int": "whole number", "str": "text", "bool": "true or false", "Path": "path"}.get(
        getattr(annotation, "__name__", str(annotation)), str(annotation)
    )
