"""tables/ of a finished study: written once by its collect step, read by figures, page and notebooks alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ptydesign import io
from ptydesign.config import read_yaml
from ptydesign.errors import InputError
from ptydesign.study.file import resolved_file
from ptydesign.study.records import REDO, check_text, file_hash, place_of, read_record, write_record
from ptydesign.study.versions import HASHED_LAYOUT

if TYPE_CHECKING:
    import pandas as pd

IMAGES = "tables/images.h5"
HASHES = "tables/hashes.json"  # of all files beside it, by which a table that was cut or changed is known
BAD = ("failed", "diverged")  # what a trial or a reconstruction may end with that gives no result


@dataclass(frozen=True)
class Tables:
    """All that figures and page may look at. folder: the results; study: its settings, as resolved.yaml has them;
    made: what made it (`resolved` in that file); frames: tables by name, None for one that the study did not ask for;
    images: {group: {"arrays", "attrs"}}.
    """

    folder: Path
    study: dict[str, Any]
    made: dict[str, Any]
    frames: dict[str, pd.DataFrame | None]
    images: dict[str, dict[str, Any]]

    def __getitem__(self, name: str) -> pd.DataFrame | None:
        return self.frames[name]


Kind = TypeVar("Kind", bound=Tables)


def table_files(names: Sequence[str], images: bool = True) -> list[str]:
    """Files of tables, and of images, relative to the results folder."""
    return [*(f"tables/{name}.csv" for name in names), *([IMAGES] if images else []), HASHES]


def write_tables(
    results: Path,
    frames: Mapping[str, pd.DataFrame],
    images: Mapping[str, Mapping[str, Any]] | None = None,
    digits: int | None = 6,
) -> list[Path]:
    """Write tables/ of a finished study; returns the paths. digits: of numbers; None: all that they have."""
    form = None if digits is None else f"%.{digits}g"
    paths = []
    for name, frame in frames.items():
        paths.append(Path(results) / f"tables/{name}.csv")
        io.write_text(paths[-1], frame.to_csv(index=False, lineterminator="\n", float_format=form))
    if images is not None:
        paths.append(Path(results) / IMAGES)
        io.write_images(paths[-1], images, place_of(results, IMAGES))
    hashes = {path.name: file_hash(path) for path in paths}
    return [*paths, write_record(results, HASHES, {"files": hashes})]


def check_files(results: Path, record: str, folder: str) -> dict[str, str]:
    """Hashes by name of a folder's files, as a record of them holds them. Raises InputError for a file that is missing
    or isn't what was written."""
    hashes: dict[str, str] = read_record(results, record)["files"]
    for name, wanted in hashes.items():
        path = Path(results) / folder / name
        found = file_hash(path)
        if found != wanted:
            raise InputError(str(path), f"must be what was written (hash {wanted})", found, REDO)
    return hashes


def read_settings(results: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """(settings, what made them) of a results folder. Raises InputError."""
    folder = Path(results)
    if not folder.is_dir():
        raise InputError("results folder", "must exist", str(folder), "Run the study first: snakemake studies/<name>.")
    content = read_yaml(resolved_file(folder))
    made = content.pop("resolved", None)
    if not isinstance(made, dict):
        raise InputError(f"{resolved_file(folder)}: resolved", "must say what made the study", made, REDO)
    if _has_hashes(made):
        check_text(resolved_file(folder))
    return content, made


def _has_hashes(made: Mapping[str, Any]) -> bool:
    """Whether the files of a results folder have hashes; those of earlier versions have none."""
    layout = made.get("layout")
    return not isinstance(layout, int) or layout >= HASHED_LAYOUT


def read_tables(
    results: Path,
    names: Sequence[str],
    optional: Sequence[str] = (),
    texts: Mapping[str, type] | None = None,
    sort: type[Kind] = Tables,
) -> Kind:
    """The tables of a results folder, as a kind's `Tables`. optional: tables that may be missing. texts: columns that
    are read as text. Raises InputError naming the file that is missing or unreadable."""
    folder = Path(results)
    study, made = read_settings(folder)
    hashed = _has_hashes(made)
    written = check_files(folder, HASHES, "tables") if hashed else {}
    frames = {name: read_table(folder / f"tables/{name}.csv", name in optional, texts) for name in names}
    unknown = [name for name, frame in frames.items() if frame is not None and f"{name}.csv" not in written]
    if hashed and unknown:
        raise InputError(str(folder / HASHES), f"must have a hash of {unknown[0]}.csv", sorted(written), REDO)
    if not (folder / IMAGES).is_file():
        raise InputError(str(folder / IMAGES), "must exist", "no file", "Run the study's snakemake command again.")
    images = io.read_images(folder / IMAGES, place_of(folder, IMAGES) if hashed else None, hashed)
    return sort(folder, study, made, frames, images)


def read_table(path: Path, optional: bool = False, texts: Mapping[str, type] | None = None) -> pd.DataFrame | None:
    """One table; empty for an empty file. Raises InputError."""
    import pandas as pd

    if not path.is_file():
        if optional:
            return None
        raise InputError(str(path), "must exist", "no file", "Run the study's snakemake command; it makes this table.")
    if not path.read_text(encoding="utf-8", errors="replace").strip():
        return pd.DataFrame()
    try:
        return pd.read_csv(path, encoding="utf-8", dtype=dict(texts or {}))
    except (pd.errors.ParserError, UnicodeDecodeError, ValueError) as error:
        raise InputError(str(path), "must be a CSV table with a header", str(error), REDO) from None


def failures(frame: pd.DataFrame, where: str = "") -> list[tuple[str, str, str, int]]:
    """(where, status, reason, count) of what gave no result, the most frequent first. where: a column that says
    which part of the study it was, or words for all of it."""
    if frame.empty or "status" not in frame:
        return []
    counts: dict[tuple[str, str, str], int] = {}
    for _, row in frame[frame["status"].isin(BAD)].iterrows():
        place = str(row[where]) if where in frame else where
        reason = row.get("reason")
        key = (place, str(row["status"]), reason if isinstance(reason, str) and reason else "no reason recorded")
        counts[key] = counts.get(key, 0) + 1
    return [(*key, count) for key, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]
