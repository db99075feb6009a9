"""Several scans of one object: a probe for each, shifts between them, and what can't be joined."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy
import two_scans

from ptydesign import api, cli, io
from ptydesign.errors import InputError
from ptydesign.reconstruct import refine, run, shifts
from ptydesign.reconstruct.checkpoint import Checkpoints
from ptydesign.reconstruct.context import Context, Group
from ptydesign.reconstruct.directions import directions
from ptydesign.reconstruct.noise import NOISE_MODELS
from ptydesign.reconstruct.run import make_problem, pad_positions, reconstruct, to_device
from ptydesign.reconstruct.sane import Best, hold_out
from ptydesign.reconstruct.scans import join_scans
from ptydesign.reconstruct.start import start_state

SHAPE = (20, 24)  # not square
SMALL = {"shape": SHAPE, "steps": (5, 4), "dose": 1e4}
SHIFT_A = two_scans.SHIFT_A
NEVER = 10**6


def plan_of(engine="gradient", sweeps=20, plan=None, **settings):
    content = {"engine": engine, "sweeps": sweeps, "group": 16, "noise": "poisson", **settings}
    return api.make_plan(engines=[content], **(plan or {}))


@pytest.fixture(scope="module")
def defoci():
    """([two defoci of half the dose each, the second shifted], transmission)."""
    return two_scans.pair(second={"defocus_a": 60.0, "shift_a": SHIFT_A}, **{**SMALL, "steps": (7, 6), "dose": 5e3})


@pytest.fixture(scope="module")
def together(defoci):
    return api.reconstruct_dataset(defoci[0], plan_of(sweeps=30), progress=False)


def shift_a(result):
    """(2,) mean of what the second scan's positions moved against the first's."""
    moved, scan = result.state.positions_a - result.nominal_positions_a, result.state.scan
    return moved[scan == 1].mean(axis=0) - moved[scan == 0].mean(axis=0)


def likeness(found, true):
    """|<found, true>| of normalised waves, at the best whole-pixel shift."""
    cross = np.fft.ifft2(np.fft.fft2(found) * np.conj(np.fft.fft2(true)))
    return np.abs(cross).max() / np.linalg.norm(found) / np.linalg.norm(true)


# ---- what it finds


def test_two_defoci_with_two_probes_and_a_shift(defoci, together):
    datasets, transmission = defoci
    assert together.state.probe.shape == (2, 1, *SHAPE)
    np.testing.assert_array_equal(together.state.scan, np.repeat([0, 1], 42))
    np.testing.assert_allclose(shift_a(together), SHIFT_A, atol=0.02)
    np.testing.assert_allclose(together.state.positions_a[:42], datasets[0].positions_a, atol=1e-4)  # the first stays
    for probe, dataset in zip(together.state.probe, datasets, strict=True):
        assert likeness(probe[0], dataset.probe_guess[0]) > 0.995
    assert likeness(together.state.probe[0, 0], datasets[1].probe_guess[0]) < 0.97  # they differ
    error = toy.phase_error(together.state, transmission, datasets[0])
    alone = api.reconstruct_dataset(datasets[0], plan_of(sweeps=30), progress=False)
    assert error < 0.85 * toy.phase_error(alone.state, transmission, datasets[0])
    unmoved = api.reconstruct_dataset(datasets, plan_of(sweeps=30, refine_shift=False), progress=False)
    assert error < 0.75 * toy.phase_error(unmoved.state, transmission, datasets[0])
    np.testing.assert_allclose(unmoved.state.positions_a, unmoved.nominal_positions_a, atol=1e-4)


@pytest.mark.parametrize("engine", ["lsqml", "epie"])
def test_other_engines_find_them_too(engine, defoci):
    datasets, transmission = defoci
    found = api.reconstruct_dataset(datasets, plan_of(engine), progress=False)
    np.testing.assert_allclose(shift_a(found), SHIFT_A, atol=0.03)
    assert min(likeness(p[0], d.probe_guess[0]) for p, d in zip(found.state.probe, datasets, strict=True)) > 0.99
    assert toy.phase_error(found.state, transmission, datasets[0]) < 0.035


def test_two_dwell_times_are_better_together():
    datasets, transmission = two_scans.pair(first={"dose": 3e3}, second={"dose": 3e2}, **{**SMALL, "steps": (7, 6)})
    plan = plan_of(sweeps=15, probe_start=NEVER)
    errors = [
        toy.phase_error(api.reconstruct_dataset(given, plan, progress=False).state, transmission, datasets[0])
        for given in (datasets, datasets[0], datasets[1])
    ]
    assert errors[0] < min(errors[1:])
    power = np.sum(np.abs(start_state(join_scans(datasets), plan).probe) ** 2, axis=(1, 2, 3))
    np.testing.assert_allclose(power[0] / power[1], 10, rtol=0.1)


# ---- the same as one scan


def halves_of(dataset):
    """One scan as two, the first positions and the others, in order."""
    parts = slice(None, len(dataset.patterns) // 2), slice(len(dataset.patterns) // 2, None)
    return [
        dataclasses.replace(dataset, patterns=dataset.patterns[part], positions_a=dataset.positions_a[part])
        for part in parts
    ]


@pytest.mark.parametrize(
    "settings",
    [
        {"engine": "gradient", "rule": "sgd", "object_rate": 0.5},
        {"engine": "gradient", "rule": "lbfgs"},
        {"engine": "lsqml"},
        {"engine": "lsqml", "batches": "compact"},
        {"engine": "rpie"},
    ],
    ids=lambda s: "-".join(map(str, s.values())),
)
def test_one_scan_in_two_parts_is_that_scan(settings):
    """With the probe as it is known the order of the groups is the same, so that only rounding may differ."""
    dataset, _ = toy.experiment(**SMALL)
    plan = plan_of(sweeps=3, plan={"precision": "double"}, probe_start=NEVER, refine_shift=False, **settings)
    whole = reconstruct(dataset, plan, seed=3)
    start = start_state(dataset, plan)
    parts = join_scans(halves_of(dataset))
    # each half's own counts would scale its probe
    original = run.start_state
    run.start_state = lambda d, p: original(d, p).replace(probe=np.stack([start.probe] * 2))
    try:
        split = reconstruct(parts, plan, seed=3)
    finally:
        run.start_state = original
    assert np.abs(whole[0].object - start.object).max() > 1e-3
    np.testing.assert_allclose(split[0].object, whole[0].object, atol=1e-9)
    np.testing.assert_allclose(split[1].loss, whole[1].loss, rtol=1e-9)


def test_a_split_scan_is_as_good_with_free_probes():
    dataset, transmission = toy.experiment(**{**SMALL, "steps": (7, 6)})
    plan = plan_of(sweeps=25)
    errors = [
        toy.phase_error(api.reconstruct_dataset(given, plan, progress=False).state, transmission, dataset)
        for given in (dataset, halves_of(dataset))
    ]
    np.testing.assert_allclose(errors[1], errors[0], rtol=0.15)


# ---- its parts


@pytest.fixture(scope="module")
def problem_of_two():
    """(state, context, group of both scans, dataset), double precision, two modes, each scan with its background."""
    settings = {**SMALL, "modes": ((0.8, 0), (0.2, 1))}
    one, two = two_scans.pair(second={"defocus_a": 60.0, "dose": 1e3}, **settings)[0]
    rng = np.random.default_rng(7)
    one = dataclasses.replace(one, background=rng.uniform(0.1, 0.5, SHAPE))
    joined = join_scans([one, two])
    plan = plan_of(plan={"precision": "double", "probe": {"mode_powers": [0.2]}})
    with jax.enable_x64(True):
        start = pad_positions(start_state(joined, plan), run.capacity(40))
        start = start.replace(object=start.object * np.exp(0.1j * rng.normal(size=start.object.shape)))
        state = to_device(start, np.float64)
        problem = make_problem(joined, plan.engines[0], run.capacity(40), np.float64)
        context = Context(problem, {}, plan.engines[0].options()).at(state)
        members = Group(jnp.asarray([3, 25, 11, 38, 0], jnp.int32), jnp.asarray(4, jnp.int32))
    return state, context, members, joined


def test_gradient_is_that_of_automatic_differentiation(problem_of_two):
    state, context, members, joined = problem_of_two
    chosen = np.asarray(members.indices)[:4]
    model = NOISE_MODELS["poisson"]
    ky, kx = np.fft.fftfreq(SHAPE[0])[:, None], np.fft.fftfreq(SHAPE[1])[None]

    def loss(object_, probe):
        total = 0.0
        for index in chosen:
            scan = 0 if index < 20 else 1
            place = np.asarray(state.positions_px[index])
            whole = np.round(place).astype(int)
            first = whole - np.asarray(SHAPE) // 2
            turn = np.exp(-2j * np.pi * (ky * (place - whole)[0] + kx * (place - whole)[1]))
            window = object_[0, first[0] : first[0] + SHAPE[0], first[1] : first[1] + SHAPE[1]]
            waves = jnp.fft.ifft2(jnp.fft.fft2(probe[scan]) * turn) * window
            background = joined.scans[scan].background
            far = jnp.fft.fft2(waves, norm="ortho")
            expected = jnp.sum(jnp.abs(far) ** 2, axis=0) + (0 if background is None else background)
            total = total + jnp.sum(model.nll(expected, joined.patterns[index], context.problem.offset))
        return total

    with jax.enable_x64(True):
        (found,) = directions(state, (members,), context, gradient=True)
        value, (d_object, d_probe) = jax.value_and_grad(loss, argnums=(0, 1))(state.object, state.probe)
    np.testing.assert_allclose(found.loss, value, rtol=1e-10)
    for ours, wanted in ((found.object, d_object), (found.probe, d_probe)):
        wanted = -np.conj(wanted) / 2
        np.testing.assert_allclose(ours, wanted, atol=1e-9 * np.abs(wanted).max())
    assert np.abs(d_probe).max(axis=(1, 2, 3)).min() > 0


def test_the_affine_map_is_each_scans_own(problem_of_two):
    state, context, _, _ = problem_of_two
    with jax.enable_x64(True):
        moved = state.positions_px + jnp.where(state.scan[:, None] == 1, 3.0, 0.0)
        found = refine.mapped(moved, state, context.problem)
    np.testing.assert_allclose(found[:40], moved[:40], atol=1e-3)


def test_patterns_on_the_host_give_the_same(defoci, monkeypatch):
    """In chunks of three groups; the shift is measured by one pattern of each group."""
    monkeypatch.setattr(shifts, "MEASURED", 4)
    plan = plan_of(sweeps=2, group=8)
    whole, parts = (api.reconstruct_dataset(defoci[0], plan, progress=False, chunk_gib=gib) for gib in (None, 5.6e-5))
    assert np.abs(shift_a(whole)).max() > 1e-3
    np.testing.assert_allclose(parts.state.object, whole.state.object, atol=1e-5)
    np.testing.assert_allclose(parts.state.positions_px, whole.state.positions_px, atol=1e-4)


def test_goes_on_from_a_checkpoint(tmp_path, defoci):
    plan, path = plan_of(sweeps=4), tmp_path / "checkpoint.h5"
    joined = join_scans(defoci[0])
    unbroken = reconstruct(joined, plan)
    reconstruct(joined, plan, checkpoints=Checkpoints(path, 2), most=2)
    resumed = reconstruct(joined, plan, resume=path)
    for name in ("object", "probe", "positions_px", "scan"):
        np.testing.assert_array_equal(getattr(resumed[0], name), getattr(unbroken[0], name))
    other = dataclasses.replace(defoci[0][1], optics=dataclasses.replace(defoci[0][1].optics, defocus_a=61.0))
    with pytest.raises(InputError, match="dataset"):
        reconstruct(join_scans([defoci[0][0], other]), plan, resume=path)


def test_file_of_the_result(tmp_path, together):
    io.write_reconstruction(tmp_path / "result.h5", together)
    read = io.read_reconstruction(tmp_path / "result.h5")
    np.testing.assert_array_equal(read.state.probe, together.state.probe)
    np.testing.assert_array_equal(read.state.scan, together.state.scan)
    assert read.plan == together.plan
    assert len(read.provenance["data"]["scans"]) == 2


def test_held_out_patterns_are_judged_by_their_scans_probe(defoci, together):
    plan = plan_of()
    kept, out = hold_out(join_scans(defoci[0]), 0.1, 0)
    assert [len(scan.patterns) for scan in out.scans] == [4, 4]
    assert [len(scan.patterns) for scan in kept.scans] == [38, 38]
    state = together.state
    chosen = np.concatenate([np.flatnonzero((state.scan == n) & np.isin(np.tile(np.arange(42), 2), index_of(k, d)))
                             for n, (k, d) in enumerate(zip(kept.scans, defoci[0], strict=True))])  # fmt: skip
    seen = state.replace(positions_px=state.positions_px[chosen], intensity=state.intensity[chosen],
                         scan=state.scan[chosen])  # fmt: skip
    best = Best(kept, out, "poisson", plan.engines[0].offset)
    best.look(1, seen)
    best.look(2, seen.replace(probe=seen.probe[::-1].copy()))  # each with the other's probe
    assert best.misfit[1] < 0.7 * best.misfit[2]
    assert best.sweep == 1


def index_of(part, whole):
    return [int(np.flatnonzero((whole.positions_a == place).all(axis=1))[0]) for place in part.positions_a]


# ---- the command


@pytest.fixture
def files(tmp_path, defoci):
    """Two datasets and a plan in a folder."""
    for name, dataset in zip("ab", defoci[0], strict=True):
        io.write_dataset(tmp_path / f"{name}.h5", dataset)
    (tmp_path / "plan.yaml").write_text("engines:\n  - {engine: gradient, sweeps: 2, group: 16, noise: poisson}\n")
    return tmp_path


def call(folder, *words):
    return cli.main(["reconstruct", *(str(folder / w) if w.endswith((".h5", ".yaml")) else w for w in words)])


def test_command_and_its_pictures(files, capsys):
    assert call(files, "a.h5", "b.h5", "plan.yaml", "-o", "out.h5", "--quiet", "--heldout", "0.1") == 0
    for name in ("out", "out_best"):
        result = io.read_reconstruction(files / f"{name}.h5")
        assert result.state.probe.shape == (2, 1, *SHAPE)
    assert cli.main(["show", str(files / "out.h5"), "-o", str(files / "pictures")]) == 0
    assert "probe.png" in capsys.readouterr().out


def changed(dataset, **changes):
    return dataclasses.replace(dataset, **changes)


def refused(capsys, folder, *words):
    assert call(folder, *words, "-o", "out.h5", "--quiet") == 2
    assert not (folder / "out.h5").exists()
    return capsys.readouterr().err


def test_what_does_not_belong_together_is_refused(files, defoci, capsys):
    one, two = defoci[0]
    assert "must not name a file twice" in refused(capsys, files, "a.h5", "a.h5", "plan.yaml")
    other = dataclasses.replace(two.optics, voltage_kv=200.0)
    cut = {"patterns": two.patterns[:, :18], "mask": two.mask[:18], "probe_guess": None}
    cases = {
        "patterns: must not be those of": one,
        "voltage_kv: must be the first scan's, 80": changed(two, voltage_kv=200.0, optics=other),
        "pixel_a: must be the first scan's": changed(two, grid=dataclasses.replace(two.grid, pixel_a=(0.3, 0.31))),
        "patterns: must have patterns of the first scan's": changed(
            two, grid=dataclasses.replace(two.grid, shape=(18, 24)), **cut
        ),
        "positions_a: must overlap an earlier scan's": changed(two, positions_a=two.positions_a + 50.0),
    }
    for words, dataset in cases.items():
        io.write_dataset(files / "c.h5", dataset)
        assert words in refused(capsys, files, "a.h5", "c.h5", "plan.yaml")
        (files / "c.h5").unlink()


@pytest.mark.parametrize(
    "plan, words",
    [
        ("engines: [{engine: raar}]", "engines.0.engine: must be one that several scans can share"),
        ("engines: [{engine: lsqml}]\nprobe: {opr_modes: 1}", "probe.opr_modes: must be 0 for several scans"),
        ("engines: [{engine: lsqml}]\nscans: [{}, {}]", "scans: must be one entry for each further scan"),
        ("engines: [{engine: lsqml}]\ncalibrate: {offsets: {defocus_nm: [-1, 0, 1]}}", "calibrate: must be empty"),
        ("engines: [{engine: lsqml}]\nscans: [{correction: {pixel_scale: 1.1}}]", "is the same for all scans"),
    ],
)
def test_what_a_plan_cannot_ask_of_several_scans(plan, words, files, capsys):
    (files / "other.yaml").write_text(plan + "\n")
    assert words in refused(capsys, files, "a.h5", "b.h5", "other.yaml")


def test_entries_of_one_scan_are_refused(defoci):
    with pytest.raises(InputError, match="of which there are 0"):
        api.reconstruct_dataset(defoci[0][0], plan_of(plan={"scans": [{}]}), progress=False)


def test_what_is_told_of_further_scans(defoci):
    told = {"scans": [{"shift_y_a": 1.5, "correction": {"defocus_nm": 9.0}}], "correction": {"defocus_nm": 7.0}}
    corrected = plan_of(plan=told).corrected(join_scans(defoci[0]))
    assert [scan.optics.defocus_a for scan in corrected.scans] == pytest.approx([70.0, 90.0])
    np.testing.assert_allclose(corrected.positions_a[42:], defoci[0][1].positions_a + np.array([1.5, 0]))
    np.testing.assert_allclose(corrected.positions_a[:42], defoci[0][0].positions_a)


def test_plans_of_one_scan_are_written_as_before():
    written = plan_of().model_dump(mode="json")
    assert "scans" not in written
    assert "refine_shift" not in written["engines"][0]
