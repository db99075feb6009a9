"""Before a study runs: what is damaged among its files is taken away with a word, so that it is made anew.

Readers refuse a damaged file by its name (`records`, `tables`, `hdf5`). This looks at all of them at once, before the
graph of jobs is made: Snakemake makes again what is missing and needed.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ptydesign import io
from ptydesign.errors import InputError
from ptydesign.hdf5 import EARLIER, OTHERS
from ptydesign.study.figures import INDEX
from ptydesign.study.file import RESOLVED
from ptydesign.study.kind import Run
from ptydesign.study.page import PAGES, REPORT
from ptydesign.study.records import SHOWS, file_hash, made_with, place_of, read_record
from ptydesign.study.store import PointStore, digest
from ptydesign.study.tables import HASHES, read_settings

LARGEST_BYTES = 2**28  # of an HDF5 file that is read through before work starts; a larger one when a job reads it
NAMED = 4  # of many files
HASHED = {HASHES: "tables", INDEX: "figures", PAGES: "."}  # records of hashes, and the folders of what they are of


def remove_damaged(run: Run) -> None:
    """Take away files of a study that aren't what was written, and those that were made with other settings."""
    results = run.resolved.results
    if not results.is_dir():
        return
    old, others, again = list[str](), list[str](), set[str]()  # the last: what shows a file is made again with it
    with made_with(results, run.made_with):
        for file, error in damaged(run):
            if EARLIER in str(error.value):
                old.append(file)
            elif error.rule.startswith(OTHERS):
                others.append(file)
            else:
                # a round's trials may be needed by nothing any more: whether Snakemake makes them again isn't known
                what = "is damaged and is removed; it is made anew if something needs it"
                print(f"warning: {results / file} {what}: {error.rule}; {error.value}", file=sys.stderr)
            shown = Path(file).parts[0] in ("tables", "figures", RESOLVED)
            again |= {REPORT, INDEX} if shown else {REPORT} if "/" not in file else set()
            (results / file).unlink(missing_ok=True)
    if old:
        words = "files of an earlier version are made anew; stored trials are not computed again"
        print(f"{results}: {len(old)} {words}: {_named(old)}", file=sys.stderr)
    if others:  # that is as it should be after the study was changed
        words = "made with other settings than the study has now, so made again"
        print(f"{results}: {words}: {_named(others)}", file=sys.stderr)
    for file in again:
        (results / file).unlink(missing_ok=True)


def _named(files: Sequence[str]) -> str:
    more = f" and {len(files) - NAMED} more" if len(files) > NAMED else ""
    return f"{', '.join(files[:NAMED])}{more}"


def damaged(run: Run) -> Iterator[tuple[str, InputError]]:
    """(file relative to the results folder, what is wrong) of all that isn't what was written."""
    results = run.resolved.results
    if (results / RESOLVED).is_file():
        try:
            found = read_settings(results)[1].get("hash")
            if found != (wanted := digest(run.resolved.content)):
                yield RESOLVED, InputError(str(results / RESOLVED), f"{OTHERS} (hash {wanted})", found, "")
        except InputError as error:
            yield RESOLVED, error
    for record, folder in HASHED.items():
        if record != PAGES or (results / REPORT).is_file():  # without it all pages are made
            yield from _differing(results, record, folder)
    for job in run.kind.jobs(run.resolved):
        for file in job.outputs:
            if (results / file).is_file() and file not in HASHED:
                try:
                    _check(results, file)
                except InputError as error:
                    yield file, error


def _check(results: Path, file: str) -> None:
    path, place = results / file, place_of(results, file)
    if path.suffix == ".json":
        _check_images(results, read_record(results, file))
    elif path.suffix == ".h5" and path.stat().st_size > LARGEST_BYTES:
        io.read_hdf5_attributes(path, io.kind_of(path), place)
    elif path.suffix == ".h5":
        io.check_hdf5(path, place)


def _check_images(results: Path, record: Mapping[str, Any]) -> None:
    """Images of a record's trials, where there are any; those that are damaged are removed, so that the record is made
    again, and they with it. Raises InputError."""
    store, trials = PointStore(results.parent), record.get("trials")
    for trial in trials if isinstance(trials, list) else []:
        key = trial.get("key")
        if isinstance(key, str) and store.images_path(key).is_file() and not store.has_images(key):
            store.images_path(key).unlink()
            raise InputError(str(store.images_path(key)), "its images must be what was written", "others", "")


def _differing(results: Path, record: str, folder: str) -> Iterator[tuple[str, InputError]]:
    """Files of a folder that aren't what the record of their hashes says, and that record if it is damaged itself."""
    if not (results / record).is_file():
        if record == PAGES:
            yield REPORT, InputError(str(results / REPORT), f"must have its hash in {PAGES}", EARLIER, "")
        return
    try:
        content = read_record(results, record)
    except InputError as error:
        yield record, error
        return
    for name, wanted in content["files"].items():
        path = results / folder / name
        found = file_hash(path) if path.is_file() else "no file"
        if found != wanted:
            error = InputError(str(path), f"must be what was written (hash {wanted})", found, "")
            yield (Path(folder) / name).as_posix(), error
    seen = content.get(SHOWS, {})
    changed = [name for name in seen if (results / name).is_file() and file_hash(results / name) != seen[name]]
    if changed:
        yield record, InputError(str(results / record), f"{OTHERS}, from this {changed[0]}", seen[changed[0]], "")
