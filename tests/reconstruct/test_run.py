"""The loop: stops, budgets, schedules, engines in sequence, checkpoints."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy

from ptydesign.config import build
from ptydesign.errors import InputError
from ptydesign.reconstruct.checkpoint import Checkpoints
from ptydesign.reconstruct.context import Context, Group, Groups
from ptydesign.reconstruct.engines import ENGINES
from ptydesign.reconstruct.plan import Plan
from ptydesign.reconstruct.regularise import CONSTRAINTS
from ptydesign.reconstruct.run import make_problem, one_sweep, reconstruct
from ptydesign.reconstruct.schedule import Schedule, Stop
from ptydesign.reconstruct.start import start_state


def plan_of(*engines, slices=1, modes=(), budget=None, precision="single"):
    content = {
        "precision": precision,
        "object": {"slices": slices, "slice_thickness_a": 40.0 if slices > 1 else 0.0},
        "probe": {"mode_powers": modes},
        "engines": [{"group": 16, "sweeps": 4, **e} for e in engines],
    }
    return build(Plan, content | ({"budget": budget} if budget else {}), "plan")


@pytest.fixture(scope="module")
def data():
    return toy.experiment(shape=(24, 32), steps=(6, 7))


# --- stops ------------------------------------------------------------------------------------------------------------


def test_convergence_is_an_outcome(data):
    plan = plan_of({"engine": "lsqml", "sweeps": 200, "stop": {"tolerance": 0.02, "window": 3}})
    _, history, outcome = reconstruct(data[0], plan)
    assert outcome.status == "converged"
    assert outcome.sweeps == len(history.loss) < 200
    change = abs(np.mean(history.loss[-3:]) / np.mean(history.loss[-6:-3]) - 1)
    assert change < 0.02
    assert abs(np.mean(history.loss[-4:-1]) / np.mean(history.loss[-7:-4]) - 1) >= 0.02
    assert "converged in sweep" in outcome.reason


def test_too_few_sweeps_never_converge():
    assert Stop(tolerance=0.5, window=3).converged([1.0] * 5) is None
    assert Stop(tolerance=0.5, window=3).converged([1.0] * 6) == 0
    assert Stop(window=3).converged([1.0] * 6) is None


@pytest.mark.parametrize("engine", ["gradient", "lsqml"])
def test_a_work_budget_is_counted_in_fourier_transforms(engine, data):
    """Two-slice, two-mode: the sweeps that fit are done, and more work is never begun."""
    one = reconstruct(data[0], plan_of({"engine": engine, "sweeps": 1}))[1].work_gflop[0]
    plan = plan_of({"engine": engine, "sweeps": 50}, budget={"work_gflop": 3.5 * one})
    _, history, outcome = reconstruct(data[0], plan)
    assert (outcome.status, outcome.sweeps) == ("budget_spent", 3)
    np.testing.assert_allclose(history.work_gflop, one * np.arange(1, 4))
    assert "GFLOP" in outcome.reason
    # a budget below one sweep still does one
    assert reconstruct(data[0], plan_of({"engine": engine}, budget={"work_gflop": one / 9}))[2].sweeps == 1


def count_transforms(jaxpr) -> int:
    """2-D Fourier transforms of single modes in a program; a loop of unknown length counts once."""
    total = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "fft":
            total += int(np.prod(equation.invars[0].aval.shape[:-2], dtype=int))
        times = equation.params["length"] if equation.primitive.name == "scan" else 1
        for value in equation.params.values():
            for inner in value if isinstance(value, tuple | list) else [value]:
                inner = getattr(inner, "jaxpr", inner)
                if hasattr(inner, "eqns"):
                    total += times * count_transforms(inner)
    return total


@pytest.mark.parametrize("engine", ["gradient", "lsqml"])
@pytest.mark.parametrize("slices,modes", [(1, 1), (3, 2)])
def test_the_formula_counts_what_a_group_of_one_does(engine, slices, modes, data):
    plan = plan_of({"engine": engine, "group": 1}, slices=slices, modes=(0.2,) * (modes - 1))
    settings, state = plan.engines[0], start_state(data[0], plan)
    state = jax.tree.map(lambda a: jnp.asarray(a, np.complex64 if np.iscomplexobj(a) else np.float32), state)
    problem = make_problem(data[0], settings, len(state.positions_px), np.float32)
    parameters = {n: jnp.asarray(v, jnp.float32) for n, v in settings.parameters().items()} | {"probe_on": 1.0}
    kind = ENGINES[engine]

    def group(state):
        members = Group(jnp.zeros(1, jnp.int32), jnp.ones((), jnp.int32))
        context = Context(problem, parameters, settings.options()).at(state)
        return kind.group(state, kind.init(state, context.options), members, context)

    found = count_transforms(jax.make_jaxpr(group)(state).jaxpr)
    assert modes * kind.transforms(settings, 1, slices) == pytest.approx(found, rel=0.3)


def test_wall_clock_is_a_budget(data):
    _, history, outcome = reconstruct(data[0], plan_of({"engine": "lsqml", "sweeps": 10**6}, budget={"seconds": 0.5}))
    assert outcome.status == "budget_spent"
    assert history.seconds[-1] >= 0.5
    assert np.all(history.seconds[:-1] < 0.5)
    assert np.all(np.diff(history.seconds) > 0)


@pytest.mark.parametrize("asked, status", [(2, "stopped"), (3, "all_sweeps_done")])
def test_a_run_that_is_stopped_says_so(asked, status, data):
    plan = plan_of({"engine": "lsqml", "sweeps": 3})
    _, history, outcome = reconstruct(data[0], plan, observers=[lambda sweep, *_: sweep == asked])
    assert (outcome.status, outcome.sweeps, len(history.loss)) == (status, asked, asked)
    assert outcome.words == {"stopped": "stopped after 2 sweeps"}.get(status, "all 3 sweeps done")


def test_one_sweep_is_not_counted(data):
    _, _, outcome = reconstruct(data[0], plan_of({"engine": "lsqml", "sweeps": 1}))
    assert (outcome.words, outcome.reason) == ("the only sweep done", "The only sweep of the plan is done.")


def test_an_engine_that_stops_hands_over_to_the_next(data):
    work = reconstruct(data[0], plan_of({"engine": "lsqml", "sweeps": 1}))[1].work_gflop[0]
    first = {"engine": "lsqml", "sweeps": 50, "stop": {"work_gflop": 2.2 * work}}
    _, history, outcome = reconstruct(data[0], plan_of(first, {"engine": "gradient", "sweeps": 3}))
    assert outcome.sweeps == len(history.loss) == 2 + 3
    assert outcome.reason == "All 5 sweeps of the plan are done."


# --- schedules --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind,expected",
    [
        ("constant", [0.4] * 6),
        ("linear", [0.4, 0.325, 0.25, 0.175, 0.1, 0.1]),
        ("exponential", [0.4, 0.4 * 0.25**0.25, 0.2, 0.4 * 0.25**0.75, 0.1, 0.1]),
        ("cosine", [0.4, 0.1 + 0.15 * (1 + np.sqrt(0.5)), 0.25, 0.1 + 0.15 * (1 - np.sqrt(0.5)), 0.1, 0.1]),
    ],
)
def test_schedules(kind, expected):
    schedule = Schedule(schedule=kind, start=0.4, end=0.1, sweeps=4)
    np.testing.assert_allclose([schedule.at(i) for i in range(6)], expected, rtol=1e-6)
    if kind in ("linear", "cosine"):
        assert Schedule(schedule=kind, start=0.0, end=0.1, sweeps=4).at(2) == pytest.approx(0.05)


def test_a_schedule_reaches_the_engine_without_recompilation(data):
    """A rate of zero from the third sweep on freezes the object; a constant schedule is the plain number."""
    plain = reconstruct(data[0], plan_of({"engine": "gradient", "probe_start": 9}))[0].object
    compiled = one_sweep._cache_size()
    constant = {"schedule": "constant", "start": 0.02}
    same = reconstruct(data[0], plan_of({"engine": "gradient", "object_rate": constant, "probe_start": 9}))[0].object
    np.testing.assert_array_equal(same, plain)
    falling = {"schedule": "cosine", "start": 0.02, "end": 1e-30, "sweeps": 2}
    seen = []
    reconstruct(
        data[0],
        plan_of({"engine": "gradient", "object_rate": falling, "probe_start": 9}),
        observers=[lambda sweep, loss, state: seen.append(np.asarray(state.object))],
    )
    assert not np.array_equal(seen[0], seen[1])
    np.testing.assert_array_equal(seen[2], seen[1])
    assert one_sweep._cache_size() == compiled


def test_a_weight_may_follow_a_schedule():
    schedule = {"schedule": "linear", "start": 1.0, "end": 0.0, "sweeps": 4}
    plan = plan_of(
        {
            "engine": "gradient",
            "costs": [{"kind": "object_l2", "weight": 1.0}],
            "schedules": {"costs.0.weight": schedule},
        }
    )
    assert plan.engines[0].parameters_at(1)["costs.0.weight"] == 0.75


# --- checkpoints ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stop_at", [3, 7])
def test_resume_is_bit_identical(stop_at, data, tmp_path):
    """Stopped in either engine; the second works on other pixels, slices and modes."""

    class Stopped(Exception):
        pass

    def stop(sweep, loss, state):
        if sweep == stop_at + 1:
            raise Stopped

    decay = {"schedule": "cosine", "start": 0.02, "end": 0.005, "sweeps": 4}
    plan = plan_of(
        {"engine": "lsqml", "batches": "compact", "sweeps": 5},
        {
            "engine": "gradient",
            "object_rate": decay,
            "costs": [{"kind": "object_tv", "weight": 1e-4}],
            "constraints": [{"kind": "layer_blur", "sigma_a": 3.0}],
            "resample": {"pixels": [30, 36], "slices": 2, "slice_thickness_a": 5.0, "modes": 2},
        },
    )
    whole, history, outcome = reconstruct(data[0], plan, seed=5)
    path = tmp_path / "run.h5"
    with pytest.raises(Stopped):
        reconstruct(data[0], plan, seed=5, observers=[stop], checkpoints=Checkpoints(path, every=1))
    seen = []
    state, again, ended = reconstruct(data[0], plan, 5, [lambda sweep, *_: seen.append(sweep)], resume=path)
    assert seen == list(range(stop_at + 1, 10))
    for item in dataclasses.fields(state):
        np.testing.assert_array_equal(getattr(state, item.name), getattr(whole, item.name), err_msg=item.name)
    np.testing.assert_array_equal(again.loss, history.loss)
    np.testing.assert_array_equal(again.work_gflop, history.work_gflop)
    assert ended == outcome


def test_a_finished_run_resumes_to_its_end(data, tmp_path):
    plan, path = plan_of({"engine": "lsqml"}), tmp_path / "run.h5"
    state, _, outcome = reconstruct(data[0], plan, checkpoints=Checkpoints(path, every=100))
    same, _, ended = reconstruct(data[0], plan, resume=path)
    np.testing.assert_array_equal(same.object, state.object)
    assert ended == outcome


def test_foreign_checkpoints_are_refused(data, tmp_path):
    plan, path = plan_of({"engine": "lsqml", "sweeps": 2}), tmp_path / "run.h5"
    reconstruct(data[0], plan, checkpoints=Checkpoints(path))
    with pytest.raises(InputError, match="plan"):
        reconstruct(data[0], plan_of({"engine": "lsqml", "sweeps": 3}), resume=path)
    with pytest.raises(InputError, match="seed"):
        reconstruct(data[0], plan, seed=1, resume=path)
    other = dataclasses.replace(data[0], patterns=data[0].patterns + 1)
    with pytest.raises(InputError, match="dataset"):
        reconstruct(other, plan, resume=path)
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(InputError, match="HDF5"):
        reconstruct(data[0], plan, resume=path)
    with pytest.raises(InputError, match="exist"):
        reconstruct(data[0], plan, resume=tmp_path / "none.h5")


# --- truth ------------------------------------------------------------------------------------------------------------

GENTLE = {
    "deramp": {},
    "layer_blur": {"sigma_a": 5.0},
    "object_amplitude": {"smallest": 0.9, "largest": 1.1},
    "object_lowpass": {"qmax": 1.6},
    "orthogonal_modes": {},
    "positivity": {"floor_rad": -1.0},
    "probe_aperture": {"semiangle_mrad": 27.0},
    "probe_support": {"radius_a": 6.0},
}


@pytest.mark.parametrize("engine", ["gradient", "lsqml"])
def test_truth_stays_near_under_weak_regularisers(engine):
    """Started from the truth, noiseless: a loss far below that of a converged run, and it stays there."""
    dataset, transmission = toy.experiment(shape=(24, 32), steps=(6, 7), noisy=False, slices=2, thickness_a=40.0)
    assert set(GENTLE) == set(CONSTRAINTS)
    settings = {"engine": engine, "constraints": [{"kind": k, **v} for k, v in GENTLE.items()], "offset": 1e-3}
    if engine == "gradient":
        kinds = ("object_tv", "object_l2", "layer_tikhonov", "probe_phase_tv")
        settings |= {"object_rate": 1e-4, "probe_rate": 1e-4, "costs": [{"kind": k, "weight": 1e-7} for k in kinds]}
    plan = plan_of(settings, slices=2)
    settings = plan.engines[0]
    count = len(dataset.positions_a)
    state = toy.true_state(start_state(dataset, plan), dataset, transmission)
    state = jax.tree.map(lambda a: jnp.asarray(a, np.complex64 if np.iscomplexobj(a) else np.float32), state)
    problem = make_problem(dataset, settings, count, np.float32)
    kind = ENGINES[engine]
    memory = kind.init(state, settings.options())
    values = {**settings.parameters(), "probe_on": 1.0}
    parameters = {n: jnp.asarray(v, jnp.float32) for n, v in values.items()}
    context = Context(problem, parameters, settings.options())
    groups = Groups(jnp.arange(count, dtype=jnp.int32).reshape(3, -1), jnp.full(3, count // 3, jnp.int32))
    losses = []
    for _ in range(5):
        state, memory, loss = one_sweep(state, memory, groups, context, kind)
        losses.append(float(loss) / float(problem.counts) / count)
    assert losses[0] < 1e-5
    assert losses[-1] < 1e-4
    assert toy.phase_error(state, transmission, dataset) < 0.02


# --- bad plans --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "plan,words",
    [
        ({"engines": [{"engine": "lsqlm"}]}, "mean 'lsqml'"),
        ({"engines": [{"engine": "lsqml", "bathces": "compact"}]}, "mean 'batches'"),
        ({"engines": [{"engine": "lsqml", "batches": "compakt"}]}, "mean 'compact'"),
        ({"engines": [{"engine": "lsqml"}], "budget": {"second": 3}}, "mean 'seconds'"),
        ({"engines": [{"engine": "lsqml", "stop": {"tolerence": 0.1}}]}, "mean 'tolerance'"),
        ({"engines": [{"engine": "lsqml", "resample": {"pixel": [32, 32]}}]}, "mean 'pixels'"),
        ({"engines": [{"engine": "lsqml", "resample": {"slice_thickness_a": 3.0}}]}, "slices"),
        ({"engines": [{"engine": "lsqml", "resample": {"slices": 2}}]}, "engines.0.resample.slice_thickness_a"),
        ({"engines": [{"engine": "lsqml", "resample": {"modes": 60}}]}, "engines.0.resample.new_power"),
        ({"engines": [{"engine": "gradient", "object_rate": {"schedule": "cosinus", "start": 1.0}}]}, "mean 'cosine'"),
        ({"engines": [{"engine": "gradient", "object_rate": {"schedule": "cosine", "start": 1.0}}]}, "end"),
        ({"engines": [{"engine": "gradient", "object_rate": {"schedule": "constant", "start": -1.0}}]}, "object_rate"),
        (
            {
                "engines": [
                    {"engine": "gradient", "schedules": {"objekt_rate": {"schedule": "constant", "start": 1.0}}},
                ]
            },
            "mean 'object_rate'",
        ),
        (
            {
                "engines": [
                    {
                        "engine": "gradient",
                        "object_rate": {"schedule": "linear", "start": 0.1, "end": -0.1, "sweeps": 3},
                    },
                ]
            },
            "greater than 0",
        ),
    ],
)
def test_bad_plans_name_the_nearest(plan, words):
    with pytest.raises(InputError, match=words):
        build(Plan, plan, "plan.yaml")


def test_a_plan_without_the_options_is_written_without_them():
    """So that the hash of a plan, which names stored results, is what it was before they existed."""
    plain = plan_of({"engine": "gradient"}).model_dump(mode="json")
    assert set(plain) == {"probe", "object", "precision", "engines"}
    assert not {"constraints", "costs", "schedules", "stop", "resample"} & set(plain["engines"][0])
    full = plan_of(
        {
            "engine": "gradient",
            "object_rate": {"schedule": "constant", "start": 0.1},
            "costs": [{"kind": "object_tv", "weight": 1.0}],
            "constraints": [{"kind": "layer_blur", "sigma_a": 1.0}],
            "resample": {"modes": 3},
            "stop": {"seconds": 3.0},
        },
        budget={"work_gflop": 2.0},
    )
    assert build(Plan, full.model_dump(mode="json"), "plan") == full
