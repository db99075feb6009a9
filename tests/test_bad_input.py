"""Bad input: the command says which field breaks which rule with what value and what to do, before work starts."""

from __future__ import annotations

import dataclasses
import json

import h5py
import numpy as np
import pytest
import toy

from ptydesign import io
from ptydesign.cli import main
from ptydesign.config import build
from ptydesign.diagnostics import doubts
from ptydesign.errors import InputError
from ptydesign.reconstruct import run
from ptydesign.reconstruct.checkpoint import Checkpoints
from ptydesign.reconstruct.plan import Plan

PLAN = "engines: [{engine: epie, sweeps: 1, group: 4}]"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A good dataset and plan; nothing may be computed from them."""
    io.write_dataset(tmp_path / "data.h5", toy.experiment(shape=(16, 20), steps=(4, 5))[0])
    (tmp_path / "plan.yaml").write_text(PLAN)

    def computed(*_):
        raise AssertionError("work has started")

    monkeypatch.setattr(run, "one_sweep", computed)
    monkeypatch.setattr(run, "sweep_in_chunks", computed)
    return tmp_path


def replaced(name, change):
    """A dataset file with one array replaced by a function of it."""

    def spoil(path):
        with h5py.File(path, "a") as file:
            values, attributes = change(file[name][()]), dict(file[name].attrs)
            del file[name]
            file[name] = values
            file[name].attrs.update(attributes)

    return spoil


def put(index, value):
    def change(values):
        values[index] = value
        return values

    return change


def attributed(**changes):
    """A dataset file with other attributes; optics__voltage_kv reaches inside."""

    def spoil(path):
        with h5py.File(path, "a") as file:
            attributes = json.loads(file.attrs["attributes"])
            for name, value in changes.items():
                *outer, last = name.split("__")
                inside = attributes[outer[0]] if outer else attributes
                inside[last] = value
            file.attrs["attributes"] = json.dumps(attributes)

    return spoil


def without(name):
    """A dataset file that lacks an attribute."""

    def spoil(path):
        with h5py.File(path, "a") as file:
            attributes = json.loads(file.attrs["attributes"])
            del attributes[name]
            file.attrs["attributes"] = json.dumps(attributes)

    return spoil


def added(name, values):
    """A dataset file with one more array."""

    def spoil(path):
        with h5py.File(path, "a") as file:
            file[name] = values

    return spoil


def both(*spoils):
    def spoil(path):
        for one in spoils:
            one(path)

    return spoil


def aperture_of(semiangle_rad):
    """A dataset file whose probe is made from optics alone."""

    def spoil(path):
        with h5py.File(path, "a") as file:
            del file["probe_guess"]

    return both(spoil, attributed(optics__semiangle_rad=semiangle_rad))


def truncated(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def foreign(path):
    with h5py.File(path, "w") as file:
        file["scan"] = np.ones((4, 4))


# name -> (what is done to the data file, field, rule, value, remedy)
DATA = {
    "nan": (
        replaced("patterns", put((3, 4, 5), np.nan)),
        ("dataset.patterns", "finite and not negative", "1 bad values", "mask them"),
    ),
    "infinite": (
        replaced("patterns", put((3, 4, 5), np.inf)),
        ("dataset.patterns", "finite and not negative", "1 bad values", "mask them"),
    ),
    "negative": (
        replaced("patterns", put((3, slice(2), 5), -1.0)),
        ("dataset.patterns", "finite and not negative", "2 bad values", "mask them"),
    ),
    "no counts": (replaced("patterns", np.zeros_like), ("dataset.patterns", "at least one count", "got 0", "dose")),
    "far positions": (
        replaced("positions", put(0, 1e7)),
        ("dataset.positions_a", "must span an object of at most", "999", "Check the positions' unit"),
    ),
    "positions without a number": (
        replaced("positions", put(0, np.nan)),
        ("dataset.positions_a", "must be finite", "NaN", "Correct the positions"),
    ),
    "too few positions": (
        replaced("positions", lambda values: values[:-1]),
        ("dataset.positions_a", "one (y, x) for each of the 20 patterns", "(19, 2)", "Give one position for each"),
    ),
    "another mask": (
        replaced("mask", lambda values: values[:-1]),
        ("dataset.patterns", "same pixels", "(15, 20)", "Crop or bin"),
    ),
    "no voltage": (
        attributed(voltage_kv=0),
        ("dataset.voltage_kv", "acceleration voltage in kV", "got 0", "Correct it"),
    ),
    "one pixel size": (
        attributed(pixel_a=[0.6]),
        ("grid", "two positive numbers (y, x)", "(0.6,)", "Correct the values"),
    ),
    "negative pixel": (
        attributed(pixel_a=[0.6, -0.6]),
        ("grid", "two positive numbers (y, x)", "-0.6", "Correct the values"),
    ),
    "milliradian": (
        attributed(optics__semiangle_rad=21.4),
        ("dataset.optics.semiangle_rad", "must be in rad", "21.4", "write 0.0214"),
    ),
    "voltage in volts": (
        attributed(voltage_kv=80_000),
        ("dataset.voltage_kv", "acceleration voltage in kV", "got 80000", "Correct it"),
    ),
    "voltage as text": (attributed(voltage_kv="80"), ("dataset.voltage_kv", "must be a number", "'80'", "quotes")),
    "lacks a voltage": (without("voltage_kv"), ("dataset.voltage_kv", "is required", "got nothing", "docs/files.md")),
    "lacks optics": (without("optics"), ("dataset.optics", "is required", "got nothing", "docs/files.md")),
    "pixel without a number": (
        attributed(pixel_a=[0.6, float("nan")]),
        ("grid", "two positive numbers (y, x)", "nan", "Correct the values"),
    ),
    "one number for both pixels": (
        attributed(pixel_a=0.6),
        ("dataset.pixel_a", "must be a list of two sizes (y, x)", "got 0.6", "Give both"),
    ),
    "no semi-angle": (
        attributed(optics__semiangle_rad=0),
        ("dataset.optics.semiangle_rad", "must be in rad", "got 0", "Correct it"),
    ),
    "infinite defocus": (
        attributed(optics__defocus_a=float("inf")),
        ("dataset.optics.defocus_a", "must be finite", "got inf", "Correct it"),
    ),
    "optics in other units": (
        attributed(optics__semiangle_mrad=25),
        ("dataset.optics.semiangle_mrad", "is not a known key", "got 25", "Did you mean 'semiangle_rad'?"),
    ),
    "optics without a semi-angle": (
        attributed(optics={"voltage_kv": 80}),
        ("dataset.optics.semiangle_rad", "is required", "got nothing", "Add it"),
    ),
    "optics as a number": (
        attributed(optics=25),
        ("dataset.optics", "must be a mapping of names to numbers", "got 25", "Correct it"),
    ),
    "an aperture beyond the detector": (
        aperture_of(0.1),
        ("dataset.optics.semiangle_rad", "must lie inside the detector's edge, 0.0696 rad", "got 0.1", "or pixel_a"),
    ),
    "no patterns": (
        both(replaced("patterns", lambda values: values[:0]), replaced("positions", lambda values: values[:0])),
        ("dataset.patterns", "at least one pattern", "(0, 16, 20)", "Give some"),
    ),
    "a mask of weights": (
        replaced("mask", put((2, 3), 7.0)),
        ("dataset.mask", "must be 1 (good) or 0 (ignore)", "got 7.0", "Correct it"),
    ),
    "another probe guess": (
        replaced("probe_guess", lambda values: values[:, :-1]),
        ("dataset.probe_guess", "(modes, 16, 20)", "(1, 15, 20)", "or leave it out"),
    ),
    "an empty probe guess": (
        replaced("probe_guess", np.zeros_like),
        ("dataset.probe_guess", "not all 0", "got '0'", "or leave it out"),
    ),
    "a probe guess without a number": (
        replaced("probe_guess", put((0, 1, 1), np.nan)),
        ("dataset.probe_guess", "must be finite waves", "NaN", "or leave it out"),
    ),
    "another background": (
        added("background", np.ones((4, 4))),
        ("dataset.background", "(16, 20) pixels", "(4, 4)", "Give mean counts"),
    ),
    "a background below zero": (
        added("background", np.full((16, 20), -0.5)),
        ("dataset.background", "finite and not negative", "got -0.5", "Give mean counts"),
    ),
    "two voltages": (
        attributed(optics__voltage_kv=300),
        ("dataset.optics.voltage_kv", "must be the dataset's voltage_kv", "300", "Correct the one"),
    ),
    "truncated": (truncated, ("data.h5", "must be a readable, complete HDF5 file", "truncated", "Write it again")),
    "foreign": (foreign, ("data.h5", "must be a ptydesign dataset file", "got nothing", "`ptydesign import`")),
    "no HDF5": (
        lambda path: path.write_text("x"),
        ("data.h5", "must be a readable, complete HDF5 file", "signature", "another file"),
    ),
}


@pytest.mark.parametrize("chunks", [(), ("--chunk-gib", "0.000005")])
@pytest.mark.parametrize("name", DATA)
def test_bad_data(name, chunks, folder, capsys):
    """Read at once, and left on the disk."""
    spoil, words = DATA[name]
    spoil(folder / "data.h5")
    refused(folder, capsys, words, *chunks)


# plan -> (field, rule, value, remedy)
PLANS = {
    "engines: [{engine: lsqlm}]": ("engines.0.engine", "is not known", "'lsqlm'", "Did you mean 'lsqml'?"),
    "engines: [{engine: epie, sweps: 3}]": ("engines.0.sweps", "is not a known key", "got 3", "Did you mean 'sweeps'?"),
    "enginse: [{engine: epie}]": ("enginse", "is not a known key", "epie", "Did you mean 'engines'?"),
    "{engines: [{engine: epie}], precison: double}": ("precison", "not a known key", "'double'", "mean 'precision'?"),
}


@pytest.mark.parametrize("plan", PLANS)
def test_bad_plans(plan, folder, capsys):
    (folder / "plan.yaml").write_text(plan)
    refused(folder, capsys, ("plan.yaml", *PLANS[plan]))


def test_a_chunk_that_holds_no_group(folder, capsys):
    words = "chunk_gib", "must hold one group of epie: 20 patterns", "e-10", "larger chunks (--chunk-gib)"
    (folder / "plan.yaml").write_text("engines: [{engine: epie, group: 20}]")
    refused(folder, capsys, words, "--chunk-gib", "1e-9")


def test_a_resume_from_another_plan(folder, capsys, monkeypatch):
    data, kept = io.read_dataset(folder / "data.h5"), folder / "kept.h5"
    other = build(Plan, {"engines": [{"engine": "epie", "sweeps": 1, "object_step": 0.4}]}, "plan")
    monkeypatch.undo()
    run.reconstruct(data, other, checkpoints=Checkpoints(kept))
    words = f"{kept}: plan", "must be the plan that the checkpoint was made with", "got '", "Resume with that plan"
    refused(folder, capsys, words, "--resume", str(kept))


def test_positions_outside_the_object(folder, monkeypatch):
    """A state whose canvas is too small is refused by name; one made from the data always has the room."""
    data, right = io.read_dataset(folder / "data.h5"), run.start_state

    def beyond(dataset, plan):
        state = right(dataset, plan)
        return dataclasses.replace(state, positions_px=np.add(state.positions_px, (0, 1000)))

    monkeypatch.setattr(run, "start_state", beyond)
    with pytest.raises(InputError, match=r"positions: must lie inside the object; got \[.*10\d\d.*Enlarge the object"):
        run.reconstruct(data, build(Plan, {"engines": [{"engine": "epie"}]}, "plan"))


def refused(folder, capsys, words, *options):
    """Exit status 2, one message with all words, nothing written."""
    before = sorted(folder.iterdir())
    out = str(folder / "out.h5")
    command = ["reconstruct", str(folder / "data.h5"), str(folder / "plan.yaml"), "-o", out, "--quiet", *options]
    assert main(command) == 2
    error = capsys.readouterr().err
    for word in words:
        assert word in error, error
    assert "Traceback" not in error
    assert sorted(folder.iterdir()) == before


def centred(image):
    """With zero frequency in the array's middle."""
    return np.fft.fftshift(image, axes=(-2, -1))


DOUBTFUL = toy.experiment(shape=(16, 20), steps=(4, 5))[0]


def changed_patterns(change):
    return dataclasses.replace(DOUBTFUL, patterns=change(DOUBTFUL.patterns.copy()))


@pytest.mark.parametrize("optics", [DOUBTFUL.optics, None])
def test_zero_frequency_in_the_middle_is_warned_of(optics):
    good = dataclasses.replace(DOUBTFUL, optics=optics)
    assert doubts(good) == []
    (words,) = doubts(dataclasses.replace(good, patterns=centred(good.patterns)))
    assert "zero frequency must be at pixel (0, 0)" in words


def test_what_is_odd_but_may_be_right_is_not_warned_of():
    ky, kx = DOUBTFUL.grid.frequencies()
    radius = np.hypot(ky, kx)
    disk = radius < DOUBTFUL.optics.semiangle_rad / toy.WAVELENGTH_A
    rng = np.random.default_rng(0)
    masked = dataclasses.replace(DOUBTFUL, mask=np.where(disk, 0.0, 1.0))  # a beam stop that is known
    cases = {
        "beam stop": changed_patterns(lambda p: np.where(disk, 0.0, p)),
        "masked beam stop": masked,
        "strong dark field": changed_patterns(lambda p: p * np.where(disk, 0.01, 1) + 5 * np.exp(-radius)),
        "far off centre": changed_patterns(lambda p: np.roll(p, (4, 5), axis=(1, 2))),
        "few counts": changed_patterns(lambda p: rng.poisson(p * (3 / p.sum(axis=(1, 2)).mean())) + (p == p.max())),
        "nothing but noise": changed_patterns(lambda p: rng.poisson(1.0, p.shape).astype(float)),
    }
    assert not [name for name, one in cases.items() if any("frequency" in words for words in doubts(one))]


def test_empty_patterns_are_counted():
    def emptied(patterns):
        patterns[[3, 7]] = 0
        return patterns

    (words,) = doubts(changed_patterns(emptied))
    assert words == "2 of 20 patterns have no counts (numbers 3, 7)"


@pytest.mark.parametrize("command", ["reconstruct", "halves"])
def test_doubts_are_said_before_work_starts(command, folder, capsys):
    def spoil(patterns):
        patterns[:7] = 0
        return centred(patterns)

    replaced("patterns", spoil)(folder / "data.h5")
    with pytest.raises(AssertionError, match="work has started"):
        main([command, str(folder / "data.h5"), str(folder / "plan.yaml"), "-o", str(folder / "out")])
    error = capsys.readouterr().err
    assert f"warning: {folder / 'data.h5'}: 7 of 20 patterns have no counts (numbers 0, 1, 2, 3, 4, ...)" in error
    assert "zero frequency must be at pixel (0, 0)" in error


@pytest.mark.parametrize("kind", ["data", "other"])
def test_a_resume_from_what_is_no_checkpoint(kind, folder, capsys):
    foreign(folder / "other.h5")
    got = "got 'dataset'" if kind == "data" else "got nothing"
    words = f"{kind}.h5: must be a ptydesign checkpoint file", got, "`ptydesign reconstruct --checkpoint FILE` wrote"
    refused(folder, capsys, words, "--resume", str(folder / f"{kind}.h5"))


def test_a_dataset_whose_attributes_are_no_json(folder, capsys):
    with h5py.File(folder / "data.h5", "a") as file:
        file.attrs["attributes"] = '{"voltage_kv": 80'
    assert main(["show", str(folder / "data.h5"), "-o", str(folder / "out")]) == 2
    assert "data.h5: attributes: must be JSON; got " in capsys.readouterr().err


def test_a_file_to_import_that_is_not_there_is_what_is_told(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    assert main(["import", "dta.h5", "-o", "out.h5"]) == 2
    assert capsys.readouterr().err == "error: file: must exist; got 'dta.h5'. Did you mean 'data.h5'?\n"


def test_what_is_missing_is_written_as_one_types_it(capsys):
    assert main(["show", "a"]) == 2
    assert "Write: ptydesign show -o OUTPUT" in capsys.readouterr().err


def test_an_interrupt_is_a_word(monkeypatch, capsys):
    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr("ptydesign.planning.doses.doses_text", interrupted)
    assert main(["doses"]) == 130
    assert capsys.readouterr().err == "interrupted\n"
