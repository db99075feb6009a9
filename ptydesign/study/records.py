"""Files that one job of a study makes and another one reads.

Each says what it is (`of`: results folder and place in it, as lowdose/search/bo-100/round-0/trials.json, and a hash of
the settings that it was made with) and has the `hash` of its content, and both are checked when it is read: a file that
was cut, changed, put in another one's place or made with other settings is refused by its name, not believed.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ptydesign import io
from ptydesign.errors import NOTHING, InputError
from ptydesign.hdf5 import EARLIER, SETTINGS, check_place

REDO = "Delete it and run the study's snakemake command again; what it is made from is kept."
OF, HASH = "of", "hash"
SHOWS = "from"  # in records of figures and pages: hashes of the records that tell what they show
HASH_LINE = "# hash of the lines above: "  # the last one of a text file


_settings: dict[str, str] = {}  # of files by their places, in this process: see `made_with`


def place_of(results: Path, file: str | Path) -> str:
    """What a file of a results folder says that it is: where it belongs, whatever holds the folder, and, in a job of
    its study, the hash of the settings that it is made with."""
    place = f"{Path(results).name}/{Path(file).as_posix()}"
    return f"{place}{SETTINGS}{_settings[place]}" if place in _settings else place


@contextmanager
def made_with(results: Path, settings: Mapping[str, str]) -> Iterator[None]:
    """Inside, files of a study say which settings they are made with, and are refused if those are others. settings:
    hashes by file (`Run.made_with`)."""
    before = dict(_settings)
    _settings.update({place_of(results, file): found for file, found in settings.items()})
    try:
        yield
    finally:
        _settings.clear()
        _settings.update(before)


def hash_of(content: Any) -> str:
    """Hash (32 hexadecimal digits) of JSON-able content; the order of keys matters."""
    return text_hash(json.dumps(content, allow_nan=False, separators=(",", ":")))


def text_hash(text: str) -> str:
    """Hash (32 hexadecimal digits) of a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def check_text(path: Path) -> None:
    """Refuse a text file whose last line isn't the hash of the lines above. Raises InputError."""
    text, _, own = path.read_text(encoding="utf-8").rpartition(HASH_LINE)
    if own != f"{text_hash(text)}\n":
        raise InputError(str(path), "must hold what was written", f"hash {own.strip() or NOTHING}", REDO)


def write_record(results: Path, file: str | Path, content: Mapping[str, Any]) -> Path:
    """Write a file of a results folder, and return its path."""
    path = Path(results) / file
    told = {OF: place_of(results, file)}
    io.write_json(path, {**told, HASH: hash_of({**told, **content}), **content})
    return path


def read_record(results: Path, file: str | Path) -> dict[str, Any]:
    """Content of a file that another job made. Raises InputError if it can't be read, or isn't what was written."""
    path = Path(results) / file
    content = read_json(path)
    if not isinstance(content, dict):
        raise InputError(str(path), "must be a readable file of this study", content, REDO)
    own, place = content.pop(HASH, NOTHING), place_of(results, file)
    if own != hash_of(content):
        words = EARLIER if own is NOTHING else "its content has another hash"
        raise InputError(str(path), "must hold what was written", words, REDO)
    check_place(path, str(content.pop(OF, "")), place)
    return content


def read_json(path: Path) -> Any:
    """Content of a JSON file of a study. Raises InputError if it can't be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(str(path), "must be a readable file of this study", str(error), REDO) from None


def file_hash(path: Path) -> str:
    """Hash (32 hexadecimal digits) of a file's bytes. Raises InputError if it can't be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:32]
    except OSError as error:
        raise InputError(str(path), "must be a readable file of this study", str(error), REDO) from None


def hashes_of(results: Path, *files: str) -> dict[str, str]:
    """Hashes of files of a results folder that are there, by their names: what a record says of what it shows."""
    return {file: file_hash(Path(results) / file) for file in files if (Path(results) / file).is_file()}


def finite(value: float) -> float | None:
    """A number as JSON can hold it; None for one that isn't finite, as the last loss of what diverged."""
    return float(value) if math.isfinite(value) else None
