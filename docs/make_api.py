"""`python docs/make_api.py`: writes docs/api.md, the page of the public names, from their docstrings."""

from __future__ import annotations

import dataclasses
import inspect
import re
from pathlib import Path

from pydantic import BaseModel

import ptydesign

PAGE = Path(__file__).with_name("api.md")
# What belongs together. A public name that is missing here, or is no longer public, stops the script.
SECTIONS = {
    "Plan an experiment": ("plan", "Design"),
    "Data": ("import_file", "Calibration", "read_dataset", "write_dataset", "Dataset"),
    "Reconstruct": (
        "read_plan",
        "make_plan",
        "reconstruct_dataset",
        "direct_reconstruction",
        "reconstruct_halves",
        "scan_parameters",
        "calibrate",
        "use_cores",
        "read_reconstruction",
        "write_reconstruction",
        "Reconstruction",
    ),
    "Pictures": ("show", "export_image"),
    "Errors": ("InputError",),
}
HEAD = """# Python interface

The public names of the package, made from their docstrings by `python docs/make_api.py`. Each is `ptydesign.<name>`.
Everything else may change. Units, axes and signs are those of [conventions.md](conventions.md).
"""


def page() -> str:
    """The whole page. Raises ValueError where SECTIONS and the public names differ."""
    listed = {name for names in SECTIONS.values() for name in names}
    public = set(ptydesign.__all__) - {"__version__"}
    if listed != public:
        raise ValueError(f"SECTIONS and ptydesign.__all__ differ in {sorted(public ^ listed)}")
    parts = [HEAD]
    for title, names in SECTIONS.items():
        parts += [f"## {title}\n", *(entry(name, getattr(ptydesign, name)) for name in names)]
    return "\n".join(parts)


def entry(name: str, item: object) -> str:
    """Heading, signature, docstring; of a model its fields, of any class its properties and methods."""
    model = inspect.isclass(item) and issubclass(item, BaseModel)
    arguments = [] if model else list(inspect.signature(item).parameters)
    parts = [f"### {name}\n"]
    parts += [] if model else [f"```python\n{signature(name, item)}\n```\n"]
    parts += [prose(inspect.getdoc(item), arguments)]
    parts += [fields_of(item)] if model else []
    parts += [members_of(item)] if inspect.isclass(item) else []
    return "\n".join(part for part in parts if part)


def signature(name: str, item: object) -> str:
    """A signature; with a line for each argument where it is long."""
    found = inspect.signature(item)
    arguments, keywords = [], False
    for argument in found.parameters.values():
        if argument.kind is argument.KEYWORD_ONLY and not keywords:
            arguments, keywords = [*arguments, "*"], True
        arguments.append(argument_text(argument))
    result = found.return_annotation
    end = ")" if result in (None, "None", found.empty) else f") -> {annotation(result)}"
    short = f"{name}({', '.join(arguments)}{end}"
    return short if len(short) <= 100 else "\n".join([f"{name}(", *(f"    {text}," for text in arguments), end])


def argument_text(argument: inspect.Parameter) -> str:
    """An argument as in a definition; a default that is made anew for each object is left out."""
    stars = {argument.VAR_POSITIONAL: "*", argument.VAR_KEYWORD: "**"}.get(argument.kind, "")
    kind = "" if argument.annotation is argument.empty else f": {annotation(argument.annotation)}"
    plain = argument.default is argument.empty
    default = "" if plain else f" = {argument.default!r}".replace("<factory>", "...")
    return f"{stars}{argument.name}{kind}{default}"


def annotation(found: object) -> str:
    """A type as it was written."""
    return found if isinstance(found, str) else inspect.formatannotation(found)


def prose(text: str | None, arguments: list[str] | None = None) -> str:
    """A docstring as Markdown: its paragraphs, with `name: meaning` marked where an argument has that name."""
    paragraphs = [" ".join(part.split()) for part in re.split(r"\n\s*\n", text or "")]
    marked = "\n\n".join(escaped(part) for part in paragraphs) + "\n"
    for name in arguments or ():
        marked = re.sub(rf"(^|[.;,] ){name}(?=(, \w+)*: )", rf"\1**`{name}`**", marked, flags=re.MULTILINE)
    return marked


def escaped(text: str) -> str:
    """Text in which Markdown finds no marks but those of code."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if part.startswith("`") else re.sub(r"([*<|\[])", r"\\\1", part) for part in parts)


def fields_of(model: type[BaseModel]) -> str:
    """A model's fields with types, defaults and descriptions."""
    rows = []
    for name, field in model.model_fields.items():
        default = "required" if field.is_required() else f"`{field.default!r}`"
        kind = escaped(annotation(field.annotation))
        rows.append(f"| `{name}` | {kind} | {default} | {escaped(field.description or '')} |")
    return "\n".join(["| field | type | default | |", "|---|---|---|---|", *rows]) + "\n"


def members_of(item: type) -> str:
    """Public properties and methods that a class itself defines, with the first paragraph of their docstrings."""
    fields = {field.name for field in dataclasses.fields(item)} if dataclasses.is_dataclass(item) else set()
    rows = []
    for name, member in vars(item).items():
        if name.startswith("_") or name in fields or not hasattr(member, "__get__"):
            continue
        call = signature(name, member).replace("(self, ", "(").replace("(self)", "()") if callable(member) else name
        rows.append(f"| `{call}` | {prose(inspect.getdoc(member)).splitlines()[0]} |")
    return "\n".join(["| property or method | |", "|---|---|", *rows]) + "\n" if rows else ""


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
