"""YAML files that people write, as plain mappings: of a size that a person writes, with the line of what is wrong."""

from __future__ import annotations

from collections.abc import Hashable
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from ptydesign.errors import InputError, describe, near_files

MOST_BYTES, MOST_VALUES, DEEPEST = 4 * 2**20, 100_000, 50  # of a file that a person writes


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML (or JSON) file. Raises InputError if it is missing or is not a mapping."""
    path = Path(path)
    if not path.is_file():
        mend = near_files(path) or "Check the path: it counts from the folder you are in."
        raise InputError("file", "must exist", str(path), mend)
    if path.stat().st_size > MOST_BYTES:
        rule = f"must be a text of at most {MOST_BYTES // 2**20} MiB"
        raise InputError(str(path), rule, f"{path.stat().st_size} bytes", "Is it the right file?")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        mend = "Save the file as UTF-8 (an option of every editor)."
        raise InputError(str(path), "must be text in UTF-8", error.object[error.start : error.end], mend) from None
    return read_text(text, str(path), "See studies/lowdose/study.yaml.")


def read_text(text: str, source: str, mend: str = "As `engines: [...]`.") -> dict[str, Any]:
    """The mapping in a YAML text. source: what it is, for errors. Raises InputError."""
    try:
        content = _load(text, source)
    except (yaml.YAMLError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise _unreadable(error, text, source) from None
    if not isinstance(content, dict):
        raise InputError(source, "must be a mapping of keys to values", content, mend)
    return content


def glance(path: Path) -> Any:
    """Content of a YAML file that may be anybody's, quickly; None of one that isn't, or is larger than people write.

    PyYAML's own loader is slow, and libyaml's ends the process where values are nested deep: so depth is looked at
    before it builds anything."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    with suppress(OSError, ValueError, yaml.YAMLError, RecursionError, _TooLarge):
        if path.stat().st_size > MOST_BYTES:
            return None
        text = path.read_text(encoding="utf-8")
        depth = 0
        for event in yaml.parse(text, loader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > DEEPEST:
                return None
        one = loader(text)
        try:
            node = one.get_single_node()
            if node is not None:
                _measure(node, {})
                return one.construct_document(node)
        finally:
            one.dispose()
    return None


def _load(text: str, source: str) -> Any:
    """Content of a YAML text, if it is of a size that a person writes: aliases can make much of little."""
    loader = _UniqueKeys(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _measure(node, {})
        return loader.construct_document(node)
    except (RecursionError, _TooLarge):
        rule = f"must hold at most {MOST_VALUES} values, nested at most {DEEPEST} deep, its aliases (*name) written out"
        raise InputError(source, rule, "more", "Write a smaller file.") from None
    finally:
        loader.dispose()


class _TooLarge(Exception):
    """Of a YAML document."""


def _measure(node: yaml.Node, known: dict[int, tuple[int, int]]) -> tuple[int, int]:
    """(values, depth) of a node with its aliases written out."""
    if isinstance(node, yaml.ScalarNode):
        return 1, 0
    if id(node) not in known:
        known[id(node)] = (MOST_VALUES, 0)  # an alias of what it is in itself has no end
        inner = [n for item in node.value for n in (item if isinstance(item, tuple) else (item,))]
        found = [_measure(one, known) for one in inner]
        known[id(node)] = 1 + sum(count for count, _ in found), 1 + max((depth for _, depth in found), default=0)
    values, depth = known[id(node)]
    if values > MOST_VALUES or depth > DEEPEST:
        raise _TooLarge
    return values, depth


class _UniqueKeys(yaml.SafeLoader):
    """YAML loader that refuses a key given twice (the first value would silently be lost), and what is nested too deep
    as soon as it is."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.depth > DEEPEST:
            raise _TooLarge
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen: set = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                continue  # the base class says what is wrong
            if key in seen:
                raise yaml.MarkedYAMLError(problem=f"key {key!r} is given twice", problem_mark=key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


# YAML 1.1 reads "5e4" as a string; numbers written that way are meant as numbers.
_UniqueKeys.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    __import__("re").compile(r"^[-+]?(?:[0-9][0-9_]*)(?:\.[0-9_]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


# What PyYAML says, in part -> what an author of a study should know.
_PLAIN = {
    "found undefined alias": "* starts an alias; put quotes around it",
    "found unhashable key": "a list or mapping can't be a key; is a bracket or quote missing?",
    "'\\t'": "a tab; indent with spaces",
    "mapping values are not allowed": "a ':' where none may stand; check the indentation, and quote text that has one",
    "could not find expected ':'": "a line without 'key: value'",
    "expected <block end>": "the indentation doesn't fit the lines above",
    "expected ',' or ']'": "a list in [ ] is not closed, or a comma is missing",
    "expected ',' or '}'": "a mapping in { } is not closed, or a comma is missing",
    "unexpected end of stream": "a quote is not closed",
    "found a duplicate anchor": "an anchor is given twice",
}


def _unreadable(error: Exception, text: str, source: str) -> InputError:
    """A YAML error, with its line."""
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or describe(error)
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    position = getattr(error, "position", None)
    line = mark.line + 1 if mark else text.count("\n", 0, position) + 1 if isinstance(position, int) else None
    problem = next((words for part, words in _PLAIN.items() if part in problem), " ".join(problem.split()))
    lines = text.splitlines()
    value = lines[line - 1].strip() if line and line <= len(lines) else "the end of the file" if line else source
    place = f"{source}, line {line}" if line else source
    return InputError(place, f"must be valid YAML: {problem}", value, "Correct this line, or the one before it.")
