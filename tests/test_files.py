"""Files of datasets and reconstructions, the reconstruct command, the names that `ptydesign` exports."""

from __future__ import annotations

import dataclasses
import io as text_io
import json
import re
import subprocess
import sys

import h5py
import numpy as np
import pytest
import toy

import ptydesign
from ptydesign import api, hdf5, io
from ptydesign.cli import main
from ptydesign.config import build
from ptydesign.errors import InputError
from ptydesign.progress import SweepBar, duration
from ptydesign.reconstruct import cores
from ptydesign.reconstruct.checkpoint import cores_to_resume
from ptydesign.reconstruct.plan import Plan
from ptydesign.types import ReconState

PLAN = """
probe: {mode_powers: [0.1]}
engines:
  - {engine: lsqml, sweeps: 2, group: 16}
"""


@pytest.fixture(scope="module")
def data():
    return toy.experiment(shape=(16, 20), steps=(4, 5))[0]


@pytest.fixture(scope="module")
def result(data):
    plan = api.make_plan(engines=[{"engine": "gradient", "sweeps": 2, "group": 8}], probe={"mode_powers": [0.2]})
    return api.reconstruct_dataset(data, plan, seed=3, progress=False)


@pytest.fixture
def folder(tmp_path, data):
    io.write_dataset(tmp_path / "data.h5", data)
    (tmp_path / "plan.yaml").write_text(PLAN)
    return tmp_path


def test_a_dataset_returns_as_it_was(tmp_path, data):
    rng = np.random.default_rng(0)
    whole = dataclasses.replace(
        data,
        background=rng.uniform(size=data.grid.shape),
        electrons_per_pattern=12.5,
        provenance={"seed": 1, "nested": {"list": [1, None]}},
    )
    bare = dataclasses.replace(data, optics=None, probe_guess=None)
    for number, one in enumerate((whole, bare)):
        io.write_dataset(tmp_path / f"{number}.h5", one)
        again = io.read_dataset(tmp_path / f"{number}.h5")
        for field in dataclasses.fields(one):
            np.testing.assert_equal(getattr(again, field.name), getattr(one, field.name))


def test_a_reconstruction_returns_as_it_was(tmp_path, result):
    path = tmp_path / "out.h5"
    io.write_reconstruction(path, result)
    again = io.read_reconstruction(path)
    for field in dataclasses.fields(ReconState):
        old, new = (getattr(r.state, field.name) for r in (result, again))
        np.testing.assert_equal(new, old)
        assert old is None or np.asarray(new).dtype == np.asarray(old).dtype
    for name in ("history", "outcome", "nominal_positions_a", "plan", "seed", "provenance"):
        np.testing.assert_equal(getattr(again, name), getattr(result, name))
    assert build(Plan, again.plan, "plan").sweeps == 2
    assert set(io.STATE_ARRAYS) >= {f.name for f in dataclasses.fields(ReconState)}


def test_every_array_has_units_and_axes(tmp_path, data, result):
    io.write_dataset(tmp_path / "data.h5", data)
    io.write_reconstruction(tmp_path / "out.h5", result)
    for name in ("data", "out"):
        with h5py.File(tmp_path / f"{name}.h5") as file:
            assert file.attrs["ptydesign"] == ptydesign.__version__
            found = []
            file.visititems(lambda n, d, found=found: found.append(d) if isinstance(d, h5py.Dataset) else None)
            assert len(found) >= 3
            for dataset in found:
                assert dataset.attrs["units"]
                axes = dataset.attrs["axes"]
                names = axes.replace("(y,x)", "yx").split(",") if axes else []
                assert len(names) == dataset.ndim, dataset.name


def test_broken_and_foreign_files_are_refused(tmp_path, result):
    good = tmp_path / "out.h5"
    io.write_reconstruction(good, result)
    whole = good.read_bytes()
    broken = tmp_path / "broken.h5"
    for part in (0.0, 0.02, 0.5, 0.99):
        broken.write_bytes(whole[: int(part * len(whole))])
        with pytest.raises(InputError, match="complete HDF5 file"):
            io.read_reconstruction(broken)
    with pytest.raises(InputError, match="must be a ptydesign dataset file; got 'reconstruction'"):
        io.read_dataset(good)
    with h5py.File(broken, "w") as file:
        file["patterns"] = np.ones(3)
    with pytest.raises(InputError, match="ptydesign import"):
        io.read_dataset(broken)
    for change, words in (
        (lambda f: f.attrs.update(schema=io.SCHEMA + 1), "Update ptydesign"),
        (lambda f: f.attrs.update(attributes="{"), "attributes: must be JSON"),
        (lambda f: f.attrs.update(attributes=json.dumps({"plan": {}})), "must hold what was written"),
        (lambda f: f.attrs.pop("hash"), "it has no hash"),
        (lambda f: f.__delitem__("state/probe"), "state/probe"),
        (lambda f: f.__setitem__("state/spin", 1.0), "must hold what was written"),
        (lambda f: f["state/probe"].__setitem__((0, 0, 0), 7.0), "the array state/probe differs"),
    ):
        broken.write_bytes(whole)
        with h5py.File(broken, "a") as file:
            change(file)
        with pytest.raises(InputError, match=words):
            io.read_reconstruction(broken)


def test_a_dataset_that_breaks_rules_is_refused(tmp_path, data):
    io.write_dataset(tmp_path / "data.h5", data)
    nan, negative = data.patterns.copy(), data.patterns.copy()
    nan[3, 4, 5], negative[3, 4, 5] = np.nan, -1
    for name, values, words in (
        ("positions", np.ones((3, 2)), "one .y, x. for each of the 20 patterns"),
        ("positions", np.full((20, 2), np.nan), "must be finite"),
        ("mask", np.ones((4, 4)), "the same pixels"),
        ("patterns", nan, "1 bad values"),
        ("patterns", negative, "1 bad values"),
    ):
        path = tmp_path / "bad.h5"
        path.write_bytes((tmp_path / "data.h5").read_bytes())
        with h5py.File(path, "a") as file:
            del file[name]
            file[name] = values
        with pytest.raises(InputError, match=words):
            io.read_dataset(path)


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("dtype", [np.float32, np.uint16])
def test_patterns_may_stay_on_the_disk(packed, dtype, tmp_path, data, monkeypatch):
    """Compressed ones are unpacked, a few at a time, into a file that nobody sees; others are mapped as they are."""
    path = tmp_path / "data.h5"
    io.write_dataset(path, dataclasses.replace(data, patterns=data.patterns.astype(dtype)))
    if not packed:
        with h5py.File(path, "a") as file:
            values = file["patterns"][()]
            del file["patterns"]
            file["patterns"] = values
    monkeypatch.setattr(hdf5, "MAPPED_BYTES", 3 * data.patterns[0].nbytes)
    whole, mapped = io.read_dataset(path), io.read_dataset(path, mapped=True)
    assert isinstance(mapped.patterns, np.memmap)
    assert mapped.patterns.dtype == dtype
    assert not mapped.patterns.flags.writeable
    np.testing.assert_array_equal(mapped.patterns, whole.patterns)
    np.testing.assert_array_equal(mapped.positions_a, whole.positions_a)
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_nothing(tmp_path, data):
    bad = dataclasses.replace(data, provenance={"no": object()})
    with pytest.raises(TypeError):
        io.write_dataset(tmp_path / "data.h5", bad)
    assert list(tmp_path.iterdir()) == []


def test_the_command_reconstructs_as_python_does(folder, data, capsys):
    out = folder / "new" / "out.h5"
    arguments = ["reconstruct", str(folder / "data.h5"), str(folder / "plan.yaml"), "-o", str(out), "--seed", "4"]
    assert main(arguments) == 0
    shown = capsys.readouterr()
    assert "all 2 sweeps done" in shown.out
    assert "sweep 2/2, loss" in shown.err
    written = io.read_reconstruction(out)
    again = api.reconstruct_dataset(data, api.read_plan(folder / "plan.yaml"), seed=4, progress=False)
    np.testing.assert_array_equal(written.state.object, again.state.object)
    np.testing.assert_allclose(written.nominal_positions_a, data.positions_a)
    assert main(arguments) == 2  # the file exists
    assert main([*arguments, "--overwrite", "--quiet"]) == 0
    assert capsys.readouterr().err.count("sweep") == 0


LONGER = PLAN.replace("sweeps: 2", "sweeps: 6, refine_positions: true, positions_start: 1")


def run(folder, *more, plan="plan.yaml", out="out.h5"):
    return main(
        [
            "reconstruct",
            str(folder / "data.h5"),
            str(folder / plan),
            "-o",
            str(folder / out),
            "--quiet",
            "--threads",
            "1",
            *more,
        ]
    )


def test_the_command_resumes_after_a_kill(folder):
    """Killed in sweep 4, checkpoint after sweep 3: the resumed file holds what an unbroken run gives, bit by bit."""
    (folder / "plan.yaml").write_text(LONGER)
    assert run(folder, out="whole.h5") == 0
    kept, picture = folder / "kept.h5", folder / "preview.png"
    code = f"""
import os, signal, sys
from ptydesign import progress
from ptydesign.cli import main
progress.SweepBar.__call__ = lambda self, sweep, loss, state: sweep == 4 and os.kill(os.getpid(), signal.SIGKILL)
main(["reconstruct", {str(folder / "data.h5")!r}, {str(folder / "plan.yaml")!r}, "-o", {str(folder / "out.h5")!r},
      "--threads", "1", "--checkpoint", {str(kept)!r}, "--checkpoint-every", "3"])
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert not (folder / "out.h5").exists()
    assert run(folder, "--resume", str(kept), "--preview", str(picture), "--preview-every", "2") == 0
    whole, resumed = (io.read_reconstruction(folder / name) for name in ("whole.h5", "out.h5"))
    for field in dataclasses.fields(ReconState):
        np.testing.assert_equal(getattr(resumed.state, field.name), getattr(whole.state, field.name))
    np.testing.assert_array_equal(resumed.history["loss"], whole.history["loss"])
    assert resumed.outcome == whole.outcome
    assert picture.read_bytes().startswith(b"\x89PNG")


def rewrite(file, content):
    """Other attributes, as if they had been written so."""
    file.attrs["attributes"] = json.dumps(content)
    file.attrs["hash"] = hdf5._hash_of(file)


def test_a_checkpoint_remembers_its_cores(folder, monkeypatch):
    """The command takes as many, if there are so many; another number is a warning."""
    kept, used = folder / "kept.h5", []
    assert run(folder, "--checkpoint", str(kept)) == 0
    assert cores_to_resume(kept) == 1
    monkeypatch.setattr(cores, "use_cores", used.append)
    arguments = ["reconstruct", str(folder / "data.h5"), str(folder / "plan.yaml"), "--quiet", "--resume", str(kept)]
    assert main([*arguments, "-o", str(folder / "same.h5")]) == 0
    assert main([*arguments, "-o", str(folder / "other.h5"), "--threads", "2"]) == 0
    assert used == [1, 2]
    with h5py.File(kept, "a") as file:
        content = json.loads(file.attrs["attributes"])
        rewrite(file, {**content, "cores": 3})
    monkeypatch.setattr(cores, "available", lambda: 3)
    assert cores_to_resume(kept) == 3
    monkeypatch.setattr(cores, "available", lambda: 2)
    assert cores_to_resume(kept) is None
    with pytest.warns(UserWarning, match="made with 3 cores and this run has 1.*resume with --threads 3"):
        assert main([*arguments, "-o", str(folder / "fewer.h5")]) == 0
    with h5py.File(kept, "a") as file:  # from before checkpoints said
        del content["cores"]
        rewrite(file, content)
    assert cores_to_resume(kept) is None
    assert main([*arguments, "-o", str(folder / "old.h5")]) == 0


def test_what_can_not_be_resumed_is_refused(folder, capsys):
    kept = folder / "kept.h5"
    assert run(folder, "--checkpoint", str(kept)) == 0
    (folder / "other.yaml").write_text(LONGER)
    again = ("--resume", str(kept))
    cases = [
        ((*again,), {"plan": "other.yaml", "out": "o.h5"}, "plan: must be the plan that the checkpoint was made with"),
        ((*again, "--seed", "3"), {"out": "o.h5"}, "seed: must be the seed"),
        (("--resume", str(folder / "data.h5")), {"out": "o.h5"}, "must be a ptydesign checkpoint file"),
        (("--resume", str(folder / "none.h5")), {"out": "o.h5"}, "must exist"),
        (("--checkpoint", str(kept)), {"out": "o.h5"}, "must not exist yet"),
        (("--checkpoint", str(folder / "k.h5"), "--checkpoint-every", "0"), {"out": "o.h5"}, "at least 1 sweep"),
        (("--preview", str(folder / "p.jpg")), {"out": "o.h5"}, "must end in .png"),
    ]
    for more, settings, words in cases:
        capsys.readouterr()
        assert run(folder, *more, **settings) == 2, more
        assert words in capsys.readouterr().err
        assert not (folder / "o.h5").exists()
    kept.write_bytes(kept.read_bytes()[:2000])
    assert run(folder, *again, out="o.h5") == 2
    assert "truncated" in capsys.readouterr().err


@pytest.mark.parametrize(
    "plan,words",
    [
        ("engines: [{engine: lsqlm}]", "engines.0.engine: is not known; got 'lsqlm'. Did you mean 'lsqml'?"),
        ("engines: [{engine: lsqml, sweps: 3}]", "sweps: is not a known key; got 3. Did you mean 'sweeps'?"),
        ("engins: [{engine: lsqml}]", "engins: is not a known key; got [{engine: 'lsqml'}]. Did you mean 'engines'?"),
        ("engines: [{sweeps: 3}]", "engines.0.engine: is required"),
        ("engines: []", "at least 1 item"),
        ("engines: [", "YAML"),
        ("engines: [{engine: lsqml, sweeps: 0}]", "sweeps"),
    ],
)
def test_bad_plans_leave_nothing(plan, words, folder, capsys):
    (folder / "plan.yaml").write_text(plan)
    before = sorted(folder.iterdir())
    assert main(["reconstruct", str(folder / "data.h5"), str(folder / "plan.yaml"), "-o", str(folder / "o.h5")]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert "Traceback" not in error
    assert sorted(folder.iterdir()) == before


def test_bad_data_leave_nothing(folder, data, capsys):
    far = data.positions_a.copy()
    far[0] = 1e7
    cases = {
        "far": lambda: io.write_dataset(folder / "far.h5", dataclasses.replace(data, positions_a=far)),
        "dark": lambda: io.write_dataset(folder / "dark.h5", dataclasses.replace(data, patterns=0 * data.patterns)),
        "blind": lambda: io.write_dataset(
            folder / "blind.h5", dataclasses.replace(data, optics=None, probe_guess=None)
        ),
        "text": lambda: (folder / "text.h5").write_text("x"),
        "none": lambda: None,
    }
    for name, write in cases.items():
        write()
        out = folder / "o.h5"
        code = main(["reconstruct", str(folder / f"{name}.h5"), str(folder / "plan.yaml"), "-o", str(out), "--quiet"])
        assert code == 2, name
        assert not out.exists()
    assert "Traceback" not in capsys.readouterr().err
    assert main(["reconstruct", str(folder / "data.h5"), str(folder / "plan.yaml"), "-o", str(folder)]) == 2


def test_import_is_quick_and_all_names_exist():
    code = "import sys, ptydesign; print([m for m in ('numpy', 'jax', 'pydantic', 'h5py') if m in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == "[]"
    for name in ptydesign.__all__:
        assert getattr(ptydesign, name) is not None
    with pytest.raises(AttributeError):
        _ = ptydesign.nothing


def test_progress_line():
    shown = text_io.StringIO()
    with SweepBar(3, shown) as bar:
        for sweep in (1, 2, 3):
            bar(sweep, 0.5 / sweep, None)
    lines = shown.getvalue().splitlines()
    assert lines[0].startswith("sweep 1/3, loss 0.5, ")
    assert lines[0].endswith(" s with compiling")  # nothing is known yet of the sweeps to come
    assert len(lines) == 3
    assert lines[-1].startswith("sweep 3/3, loss 0.1667,")
    assert lines[-1].endswith("0 s left")
    bar._first_s = 10.0  # compilation, which later sweeps don't pay
    assert bar.words(2, 1.0, 12.0) == "loss 1, 2 s per sweep, 2 s left"
    resumed = SweepBar(9, shown)
    resumed._first, resumed._first_s = 6, 10.0
    assert resumed.words(8, 1.0, 13.0) == "loss 1, 1.5 s per sweep, 2 s left"
    assert [duration(s) for s in (5, 600, 20000)] == ["5 s", "10 min", "5.6 h"]


def test_progress_counts_to_the_budget():
    """100,000 sweeps that a budget will end after a few."""
    shown = text_io.StringIO()
    for limit, count in (({"work_gflop": 6.0}, "2 (50 % of 6 GFLOP)"), ({"seconds": 40.0}, "2 (50 % of 40 s)")):
        bar = SweepBar(100_000, shown, **limit)
        bar._first, bar._first_s, bar._first_gflop = 1, 10.0, 1.5  # a sweep with and one without compilation
        bar.spend(3.0, 20.0)
        assert bar.count(2) == count
        assert bar.words(2, 1.0, 12.0) == f"loss 1, 2 s per sweep, {'4' if 'work_gflop' in limit else '20'} s left"
    bar.spend(50.0, 50.0)
    assert bar.words(3, 1.0, 12.0).endswith(" 0 s left")
    few = SweepBar(4, shown, work_gflop=1000.0, fewer=True)
    few.spend(1.0, 1.0)
    assert few.count(2) == "2/4"
    few._first, few._first_s, few._first_gflop = 1, 1.0, 0.5
    assert few.words(2, 1.0, 2.0) == "loss 1, 1 s per sweep, at most 2 s left"


def test_a_command_with_a_budget_shows_it(folder, capsys):
    (folder / "plan.yaml").write_text("budget: {work_gflop: 0.005}\nengines: [{engine: lsqml, sweeps: 100000}]")
    arguments = ["reconstruct", str(folder / "data.h5"), str(folder / "plan.yaml"), "-o", str(folder / "out.h5")]
    assert main(arguments) == 0
    shown = capsys.readouterr()
    assert re.search(r"sweep 1 \(\d+ % of 0.005 GFLOP\), loss", shown.err)
    assert re.search(r"after \d sweeps, loss [\d.e-]+, 0\.00\d+ GFLOP", shown.out)


def test_progress_in_a_terminal():
    class Terminal(text_io.StringIO):
        def isatty(self):
            return True

    shown = Terminal()
    with SweepBar(2, shown) as bar:
        bar(1, 0.25, None)
        bar(2, 0.125, None)
    assert "2/2" in shown.getvalue()
    assert "loss 0.125" in shown.getvalue()
