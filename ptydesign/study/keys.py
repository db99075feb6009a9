"""The reference of all keys, docs/study.md and docs/*-keys.md, made from the schemas of the files."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator

from pydantic import BaseModel

from ptydesign.functions import NAMED
from ptydesign.instruments.calibration import Calibration
from ptydesign.reconstruct.plan import Plan
from ptydesign.study.file import DEFAULT_KIND
from ptydesign.study.schema import COMMENT, DEFS, PART, Schema, file_schema, within

RECONSTRUCTION = "reconstruction"
# Files that are no studies: what they are called here -> their model, a title and what takes them.
OTHERS: dict[str, tuple[type[BaseModel], str, str]] = {
    RECONSTRUCTION: (Plan, "a plan of reconstruction", "`ptydesign reconstruct data.h5 plan.yaml` takes one."),
    "calibration": (Calibration, "a calibration", "`ptydesign import --calibration calibration.yaml` takes one."),
}
STUDY = "A study is a folder in `studies/` with a `study.yaml`."
HEADER = """# Keys of {title}

Made by `ptydesign keys{option} > docs/{page}`. {what}
Every key is checked before anything runs. `> 0` and `<= 200` are bounds, `[a, b]` is a list, `null` means none.

An editor that knows YAML schemas completes and explains the keys of a file that begins with the line
`{comment}PATH`, where PATH leads to `ptydesign/schemas/{kind}.json`.
"""
# A section that a page of its own describes -> the page.
ELSEWHERE = {"Plan": f"{RECONSTRUCTION}-keys.md"}
BOUNDS = {"exclusiveMinimum": ">", "minimum": ">=", "exclusiveMaximum": "<", "maximum": "<="}
TYPES = {
    "number": "number",
    "integer": "whole number",
    "string": "text",
    "boolean": "true or false",
    "null": "null",
    "object": "mapping",
}


def keys_page(kind: str, model: type[BaseModel]) -> str:
    """The page as Markdown: every section, its description, and a table of keys, values and defaults.

    kind: of a study, or one of OTHERS. model: of the file. Plans of reconstruction have a page of their own.
    """
    schema = file_schema(kind, model)
    option, page = ("", "study.md") if kind == DEFAULT_KIND else (f" --kind {kind}", f"{kind}-keys.md")
    _, title, what = OTHERS.get(kind, (model, f"a study of kind `{kind}`", STUDY))
    parts = [HEADER.format(title=title, option=option, page=page, what=what, comment=COMMENT, kind=kind)]
    definitions, seen = schema.pop("$defs"), {*ELSEWHERE, f"Study{PART}"}
    queue = [("(top level)", schema)]
    while queue:
        title, section = queue.pop(0)
        parts.append(f"## {title}\n\n{section['description']}\n")
        keys = {n: one for n, one in section.get("properties", {}).items() if not _of_another(n, one, section)}
        if keys:
            rows = [_row(name, one, section, definitions) for name, one in keys.items()]
            parts.append("| key | value | default | meaning |\n|---|---|---|---|\n" + "\n".join(rows) + "\n")
        # a section inside those that a word selects is the same in all of them
        parent = "" if section is schema else f"{title.rpartition(':')[0] or title} / "
        for name, one in (keys or {"(name)": section}).items():
            for reference in _references(one):
                if reference not in seen:
                    seen.add(reference)
                    found = definitions[reference]
                    queue.append((found.get("title", f"{parent}{name}{_choice(found)}"), found))
    return "\n".join(parts)


def _of_another(name: str, schema: Schema, section: Schema) -> bool:
    """Whether a key has no default of its own: one of the experiment, of which the section holds what differs."""
    return "default" not in schema and name not in section.get("required", ())


def _row(name: str, schema: Schema, section: Schema, definitions: dict[str, Schema]) -> str:
    words, default = _words(schema, definitions), _default(name, schema, section)
    cells = (f"`{name}`", words, default, schema.get("description", ""))
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _references(schema: Schema) -> Iterator[str]:
    """Names of the sections inside a schema."""
    if "$ref" in schema:
        yield schema["$ref"].removeprefix(DEFS)
    for part in within(schema):
        yield from _references(part)


def _choice(section: Schema) -> str:
    """`: kind bilayer` for a section that a fixed word selects."""
    for name in ("kind", "engine"):
        if name in section.get("required", ()) and "const" in section["properties"][name]:
            return f": {name} {section['properties'][name]['const']}"
    return ""


def _default(name: str, schema: Schema, section: Schema) -> str:
    if name in section.get("required", ()):
        return "required"
    if isinstance(schema["default"], dict) and any(_references(schema)) and schema["default"]:
        return "see its section"
    return f"`{json.dumps(schema['default'])}`"


def _words(schema: Schema, definitions: dict[str, Schema]) -> str:
    """What a value may be, for people."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(DEFS)
        word = definitions[name].get("title", "section")
        return f"[{word}]({ELSEWHERE[name]})" if name in ELSEWHERE else word
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    for key in ("anyOf", "oneOf"):
        if key in schema:
            words = dict.fromkeys(_words(one, definitions) for one in schema[key])
            if "number" in words:
                words.pop("whole number", None)
            return " or ".join(words)
    if "prefixItems" in schema:
        return f"[{', '.join(_words(one, definitions) for one in schema['prefixItems'])}]"
    if "items" in schema:
        least = f"{schema['minItems']} or more " if "minItems" in schema else ""
        return f"list of {least}{_many(schema['items'], definitions)}"
    if isinstance(schema.get("additionalProperties"), dict):
        return f"mapping to {_many(schema['additionalProperties'], definitions)}"
    if "type" not in schema:
        return "value"
    if schema.get("pattern") == NAMED:
        return "`file.py:name`"
    word = "path" if schema.get("format") == "path" else TYPES[schema["type"]]
    return " ".join([word, *_bounds(schema)])


def _many(schema: Schema, definitions: dict[str, Schema]) -> str:
    """What the values of a list or mapping may be."""
    words = _words(schema, definitions)
    return f"({words})" if " or " in words else re.sub(r"^(number|whole number|text|path|section)\b", r"\1s", words)


def _bounds(schema: Schema) -> list[str]:
    """The bounds of a number, without one that another one makes idle."""
    idle = schema.get("exclusiveMinimum", math.inf) < schema.get("minimum", -math.inf)
    kept = {key: sign for key, sign in BOUNDS.items() if key in schema and not (idle and sign == ">")}
    return [f"`{sign} {schema[key]:{'g' if isinstance(schema[key], float) else ''}}`" for key, sign in kept.items()]
