"""JSON schemas of the files that people write, made from the models themselves.

An editor that finds one named in a file's first line completes keys, says what they are and marks what is wrong. A
schema knows keys, types, bounds and choices; what fields mean together is for the models' validators.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from ptydesign.study.file import DEFAULT_KIND, KIND, SCALES

FOLDER = Path(__file__).parents[1] / "schemas"
COMMENT = "# yaml-language-server: $schema="
DEFS = "#/$defs/"
PART = "Part"  # after the name of a section: as a scale may change it
LOADED = ("study", "scale")  # fields of a study that are set when it is loaded

Schema = dict[str, Any]


def file_schema(kind: str, model: type[BaseModel]) -> Schema:
    """The schema (draft 2020-12) of the files of a kind.

    model: of the file. That of a study, which has the field `scale`, gets the keys `kind` and `scales`, and loses what
    is set when it is loaded.
    """
    made = model.model_json_schema(schema_generator=_Generator)
    definitions = made.pop("$defs", {})
    for schema in (made, *definitions.values()):
        _require_tags(schema, definitions)
    for name, schema in (("", made), *definitions.items()):
        _tidy(schema, name or model.__name__)
    if "scale" in made["properties"]:
        _as_study(made, definitions, kind)
    head = {"$schema": GenerateJsonSchema.schema_dialect, "title": kind}
    return {**head, **made, "$defs": dict(sorted(definitions.items()))}


def schema_text(kind: str, model: type[BaseModel]) -> str:
    """The schema as its file holds it."""
    return json.dumps(file_schema(kind, model), indent=1, ensure_ascii=False) + "\n"


def schema_path(kind: str) -> Path:
    """Where the schema of a kind lies in this installation."""
    return FOLDER / f"{kind}.json"


def naming_schema(text: str, kind: str) -> str:
    """The text of a YAML file with this installation's schema named in its first line, in the place of another one."""
    first, _, rest = text.partition("\n")
    return f"{COMMENT}{schema_path(kind).as_uri()}\n{rest if first.startswith(COMMENT) else text}"


def within(schema: Mapping[str, Any]) -> Iterator[Schema]:
    """The schemas that a schema is made of, without following references."""
    yield from schema.get("properties", {}).values()
    for key in ("anyOf", "oneOf", "prefixItems"):
        yield from schema.get(key, ())
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield schema[key]


class _Generator(GenerateJsonSchema):
    """Without titles, which repeat the keys; with the defaults that a factory makes."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def get_default_value(self, schema: Any) -> Any:
        factory = schema.get("default_factory")
        return factory() if factory is not None else super().get_default_value(schema)


def _require_tags(schema: Schema, definitions: dict[str, Schema]) -> None:
    """The key that chooses among sections is required in each, as it is when the file is read, and comes first."""
    choice = schema.pop("discriminator", None)
    for reference in choice["mapping"].values() if choice else ():
        section, tag = definitions[reference.removeprefix(DEFS)], choice["propertyName"]
        section["required"] = [tag, *(name for name in section.get("required", ()) if name != tag)]
        section["properties"] = {tag: section["properties"][tag], **section["properties"]}
        section["properties"][tag].pop("default", None)
    for part in within(schema):
        _require_tags(part, definitions)


def _tidy(schema: Schema, name: str = "") -> None:
    """Without the title that is only the model's name, and with each paragraph of a description in one line."""
    if schema.get("title") == name:
        del schema["title"]
    if "description" in schema:
        schema["description"] = "\n\n".join(" ".join(p.split()) for p in schema["description"].split("\n\n"))
    for part in within(schema):
        _tidy(part)


def _as_study(made: Schema, definitions: dict[str, Schema], kind: str) -> None:
    """The keys of a study's file in the place of the model's."""
    for name in LOADED:
        del made["properties"][name]
    made["required"] = [name for name in made["required"] if name not in LOADED]
    part = _part(made, definitions)
    definitions[f"Study{PART}"] = part | {"description": "What differs at this scale."}
    change = {"anyOf": [{"$ref": f"{DEFS}Study{PART}"}, {"type": "null"}]}
    scales = {"type": "object", "properties": dict.fromkeys(SCALES, change), "additionalProperties": False}
    first = {"const": kind, "description": "Which kind of study the file is."}
    if kind == DEFAULT_KIND:
        first["default"] = kind
    else:
        made["required"].insert(0, KIND)
    about = "What differs at a scale, laid over the rest key by key; a list is replaced as a whole."
    last = {"anyOf": [scales, {"type": "null"}], "default": None, "description": about}
    made["properties"] = {KIND: first, **made["properties"], "scales": last}


def _part(schema: Schema, definitions: dict[str, Schema]) -> Schema:
    """The schema of a change that is laid over what a schema describes: no key is required. Sections that it refers to
    are added to the definitions. What is in a list is no part: a list is replaced."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(DEFS)
        if name + PART not in definitions:
            definitions[name + PART] = {}  # it is being made
            definitions[name + PART] = _part(definitions[name], definitions)
        schema = {**schema, "$ref": schema["$ref"] + PART}
    found = {key: value for key, value in schema.items() if key not in ("required", "default", "oneOf")}
    if "properties" in schema:
        found["properties"] = {name: _part(one, definitions) for name, one in schema["properties"].items()}
    for key in ("anyOf", "oneOf"):  # a part may fit several
        if key in schema:
            found["anyOf"] = [_part(one, definitions) for one in schema[key]]
    if isinstance(schema.get("additionalProperties"), dict):
        found["additionalProperties"] = _part(schema["additionalProperties"], definitions)
    return found
