"""Files of a study that were cut, changed, emptied, exchanged or taken away are refused by name or made anew."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from ptydesign import compiled, io
from ptydesign.cli import main
from ptydesign.errors import InputError
from ptydesign.study import tables
from ptydesign.study.damage import remove_damaged
from ptydesign.study.figures import INDEX
from ptydesign.study.page import PAGES
from ptydesign.study.records import made_with, place_of, read_record, write_record
from ptydesign.study.rounds import Rounds, read_round
from ptydesign.study.store import PointStore, digest

FILE = "search/bo-100/round-0/trials.json"


def trials(*indices: int) -> dict:
    return {"trials": [{"index": i, "point": {"step_a": 0.1 * i}, "value": 0.25} for i in indices]}


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_text(path.read_text()[:-9]),
        lambda path: path.write_text(""),
        lambda path: path.write_text("null"),
        lambda path: path.write_text("[1, 2]"),
        lambda path: path.write_bytes(b"\xff" + path.read_bytes()),
        lambda path: change(path, "0.25", "0.26"),
        lambda path: change(path, '"value"', '"valus"'),
        lambda path: change(path, '"hash"', '"hush"'),
        lambda path: path.write_text(json.dumps({**json.loads(path.read_text()), **trials(0)})),
        lambda path: path.unlink(),
        lambda path: shutil.copy(path.parents[1] / "round-1" / path.name, path),
        lambda path: shutil.copy(path.parents[4] / "other" / FILE, path),
    ],
)
def test_a_damaged_record_is_refused_by_its_name(damage, tmp_path):
    for results, file in ((tmp_path / "mine", FILE), (tmp_path / "other", FILE)):
        write_record(results, file, trials(0, 1, 2))
    write_record(tmp_path / "mine", FILE.replace("round-0", "round-1"), trials(0, 1, 2))
    assert read_record(tmp_path / "mine", FILE) == trials(0, 1, 2)
    damage(tmp_path / "mine" / FILE)
    with pytest.raises(InputError, match=r"round-0/trials.json") as caught:
        read_record(tmp_path / "mine", FILE)
    assert "Delete it" in caught.value.mend


def test_results_may_lie_elsewhere(tmp_path):
    write_record(tmp_path / "a" / "tiny", FILE, trials(0))
    (tmp_path / "a").rename(tmp_path / "b")
    assert read_record(tmp_path / "b" / "tiny", FILE) == trials(0)


def test_a_chunk_holds_just_its_own_trials(tmp_path):
    search = Rounds(name="bo-100", sizes=(4,), chunk=2)
    first, second = search.trial_files(0)
    write_record(tmp_path, first, trials(0, 1))
    write_record(tmp_path, second, trials(2, 3))
    assert [trial["index"] for trial in read_round(tmp_path, search, 0)] == [0, 1, 2, 3]
    for wrong in ((2,), (3, 2), (0, 1), (2, 3, 4)):
        write_record(tmp_path, second, trials(*wrong))
        with pytest.raises(InputError, match=r"chunk-1.json: must hold the trials"):
            read_round(tmp_path, search, 0)


def test_a_record_of_the_store_is_what_was_written_for_its_inputs(tmp_path, capsys):
    store = PointStore(tmp_path)
    records = {digest({"n": n}): {"inputs": {"n": n}, "result": {"score": 0.5 + n}, "cost": {}} for n in range(2)}
    for key, record in records.items():
        store.put(key, record)
    assert all(store.get(key) == record for key, record in records.items())
    first, second = records
    whole = store.path(first).read_text()
    for damage in (
        lambda: change(store.path(first), "0.5", "0.7"),
        lambda: change(store.path(first), '"n": 0', '"n": 7'),
        lambda: store.path(first).write_text(whole[:-5]),
        lambda: store.path(first).write_text("null"),
        lambda: change(store.path(first), '"cost"', '"cast"'),
        lambda: shutil.copy(store.path(second), store.path(first)),
    ):
        store.path(first).write_text(whole)
        damage()
        assert store.get(first) is None
        assert f"{store.path(first)} is damaged" in capsys.readouterr().err
    store.path(first).unlink()
    assert store.get(first) is None
    assert capsys.readouterr().err == ""


def test_records_of_the_store_without_a_hash_are_no_records_and_that_is_said_once(tmp_path, capsys):
    store = PointStore(tmp_path)
    for n in range(3):
        record = {"inputs": {"n": n}, "result": {"score": 0.5}, "cost": {}}
        store.put(digest({"n": n}), record)
        store.path(digest({"n": n})).write_text(json.dumps(record | {"result": {"score": 0.7}}))
    assert [store.get(digest({"n": n})) for n in range(3)] == [None] * 3
    assert capsys.readouterr().err.count("records without a hash") == 1


def test_images_of_the_store_belong_to_their_trial(tmp_path, capsys):
    store = PointStore(tmp_path)
    for key in ("a" * 32, "b" * 32):
        image = np.full((3, 4), float(len(key)))
        store.put_images(key, {"arrays": {"phase": io.Array(image, "rad", "y,x")}, "attrs": {"pixel_a": [1.0, 1.0]}})
    assert store.has_images("a" * 32)
    shutil.copy(store.images_path("b" * 32), store.images_path("a" * 32))
    assert not store.has_images("a" * 32)
    assert "must be" in capsys.readouterr().err
    with pytest.raises(InputError, match="Delete the study's results folder"):
        store.images("a" * 32)


def test_a_table_that_was_cut_is_refused(tmp_path):
    frame = pd.DataFrame({"score": np.arange(50) / 7})
    paths = tables.write_tables(tmp_path, {"trials": frame}, {})
    assert {path.name for path in paths} == {"trials.csv", "images.h5", "hashes.json"}
    tables.check_files(tmp_path, tables.HASHES, "tables")
    for path in paths:
        whole = path.read_bytes()
        for damaged in (whole[: len(whole) // 2], whole.replace(b"1", b"2", 1), b""):
            path.write_bytes(damaged)
            with pytest.raises(InputError, match=path.name):
                tables.check_files(tmp_path, tables.HASHES, "tables")
        path.write_bytes(whole)
    paths[0].unlink()
    with pytest.raises(InputError, match=r"trials.csv"):
        tables.check_files(tmp_path, tables.HASHES, "tables")


def test_pages_that_were_cut_or_changed_are_made_again(studies, tmp_path, capsys):
    study = studies["compare"].copy(tmp_path / "place")
    report, picture = study.results / "report.html", next((study.results / "figures").glob("*.pdf"))
    whole = report.read_bytes()
    capsys.readouterr()  # of the study that was made for all tests
    remove_damaged(study.run)
    assert report.is_file()
    assert capsys.readouterr().err == ""
    for damaged in (whole[: len(whole) // 3], whole.replace(b"0.", b"9."), b""):
        report.write_bytes(damaged)
        remove_damaged(study.run)
        assert not report.exists()
        assert f"{report} is damaged" in capsys.readouterr().err
        report.write_bytes(whole)
    (study.results / PAGES).unlink()  # a run that was killed between the two
    remove_damaged(study.run)
    assert not report.exists()
    assert "warning" not in capsys.readouterr().err
    study.report()
    assert report.read_bytes() == whole
    picture.write_bytes(b"%PDF")
    remove_damaged(study.run)
    assert not {report, picture, study.results / "figures" / "index.json"} & set(study.results.rglob("*"))
    assert f"{picture} is damaged" in capsys.readouterr().err


def reseed(study, **changed):
    """The study as it is with other values in its file."""
    path = study.folder / "study.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **changed}, sort_keys=False))
    return study


def test_a_hash_of_settings_has_all_that_a_file_comes_from(studies, tmp_path):
    study = studies["compare"].copy(tmp_path / "place")
    first = study.run.made_with
    assert {file for job in study.jobs() for file in job.outputs} == set(first)
    assert reseed(study, title="Another title").run.made_with == first
    other = reseed(study, seed=8).run.made_with
    assert {file for file in first if first[file] == other[file]} == {"potential.json"}  # all but it have noise


def test_a_file_of_other_settings_is_refused_and_made_again(studies, tmp_path, capsys):
    study = studies["compare"].copy(tmp_path / "place")
    file = next(file for job in study.jobs() for file in job.outputs if file.startswith("draws/"))
    content = read_record(study.results, file)
    with made_with(study.results, {file: "0" * 12}):
        write_record(study.results, file, content)
    assert read_record(study.results, file) == content  # whoever looks at results need not have the study
    assert main(study.command("collect")) == 2
    said = capsys.readouterr().err
    assert f"{study.results / file}: must be made with the study's settings" in said
    remove_damaged(study.run)
    said = capsys.readouterr().err
    assert not (study.results / file).exists()
    assert f"so made again: {file}\n" in said
    assert "warning" not in said
    assert (study.results / "tables" / "hashes.json").exists()


def test_a_study_with_another_seed_begins_anew_with_one_calm_line(studies, tmp_path, capsys):
    study = reseed(studies["compare"].copy(tmp_path / "place"), seed=8)
    remove_damaged(study.run)
    said = capsys.readouterr().err
    assert said.count("made with other settings") == said.count("\n") == 1
    left = [file for file in study.run.made_with if (study.results / file).exists()]
    assert [file for file in left if not file.endswith(".csv")] == ["potential.json"]  # tables: their hashes are gone
    assert not (study.results / "report.html").exists()


def test_figures_of_other_tables_are_made_again(studies, tmp_path, capsys):
    study = studies["compare"].copy(tmp_path / "place")
    record = read_record(study.results, INDEX)
    write_record(study.results, INDEX, {**record, "from": {tables.HASHES: "0" * 32}})
    remove_damaged(study.run)
    assert not (study.results / INDEX).exists()
    assert not (study.results / "report.html").exists()
    assert f"made again: {INDEX}" in capsys.readouterr().err


def test_an_hdf5_file_says_with_which_settings_it_was_made(tmp_path):
    group = {"a": {"arrays": {"b": io.Array(np.ones((2, 3)), "rad", "y,x")}, "attrs": {}}}
    with made_with(tmp_path, {"images.h5": "1" * 12}):
        io.write_images(tmp_path / "images.h5", group, place_of(tmp_path, "images.h5"))
        assert io.read_images(tmp_path / "images.h5", place_of(tmp_path, "images.h5"))
    assert io.read_images(tmp_path / "images.h5", place_of(tmp_path, "images.h5"))
    with made_with(tmp_path, {"images.h5": "2" * 12}), pytest.raises(InputError, match=r"2222.*got '1111"):
        io.read_images(tmp_path / "images.h5", place_of(tmp_path, "images.h5"))


def test_half_written_compiled_code_is_removed_once_with_one_line(tmp_path, capsys):
    import zlib

    whole = zlib.compress(b"code" * 1000)
    for name, content in (("good", whole), ("cut", whole[:-9]), ("none", b""), ("junk", b"junk")):
        (tmp_path / f"{name}-cache").write_bytes(content)
    compiled.remove_broken(tmp_path)
    assert {path.name for path in tmp_path.glob("*-cache")} == {"good-cache"}
    assert capsys.readouterr().err.count("3 half-written") == 1
    compiled.remove_broken(tmp_path)
    assert capsys.readouterr().err == ""
