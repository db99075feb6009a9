"""Reconstructions that share a compiled sweep, and what an accelerator computes otherwise than a CPU."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import jax
import numpy as np
import pytest
import toy

from ptydesign import accelerator
from ptydesign.config import build
from ptydesign.errors import InputError
from ptydesign.reconstruct.plan import Plan
from ptydesign.reconstruct.run import reconstruct
from ptydesign.reconstruct.together import Member, batches, places, possible, reconstruct_together

ENGINES = [
    {"engine": "lsqml", "batches": "compact", "noise": "poisson", "probe_start": 2, "acceleration": 0.5},
    {"engine": "lsqml", "step_positions": 5},
    {"engine": "gradient", "costs": [{"kind": "object_l1", "weight": 1e-4}]},
    {"engine": "gradient", "rule": "polyak"},
    {"engine": "epie", "refine_positions": True, "refine_intensity": True},
]


@pytest.fixture
def as_on_an_accelerator(monkeypatch):
    """The paths of an accelerator, on the CPU."""
    jax.clear_caches()
    monkeypatch.setattr(accelerator, "used", lambda: True)
    yield
    jax.clear_caches()


def plan_of(engine, slices=1, modes=(), sweeps=5):
    content = {
        "object": {"slices": slices, "slice_thickness_a": 40.0 if slices > 1 else 0.0},
        "probe": {"mode_powers": modes},
        "engines": [{"group": 16, "sweeps": sweeps, **engine}],
    }
    return build(Plan, content, "plan")


@pytest.fixture(scope="module")
def scans():
    """Three experiments of one detector whose scans differ in size."""
    return [toy.experiment(shape=(24, 32), steps=steps, seed=n)[0] for n, steps in enumerate([(6, 7), (8, 5), (4, 9)])]


def assert_alike(found, expected, rtol=2e-3):
    (state, history, outcome), (state_, history_, outcome_) = found, expected
    np.testing.assert_allclose(history.loss, history_.loss, rtol=rtol)
    assert (outcome.status, outcome.sweeps) == (outcome_.status, outcome_.sweeps)
    np.testing.assert_allclose(history.work_gflop, history_.work_gflop)
    for name in ("object", "probe", "positions_px", "intensity"):
        one, other = getattr(state, name), getattr(state_, name)
        assert one.shape == other.shape
        assert np.linalg.norm(one - other) <= rtol * np.linalg.norm(other), name


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: " ".join(map(str, engine.values()))[:30])
def test_members_get_what_they_get_alone(engine, scans):
    plan = plan_of(engine)
    alone = [reconstruct(data, plan, seed) for seed, data in enumerate(scans)]
    members = [Member(data, plan, seed) for seed, data in enumerate(scans)]
    found = [None] * len(members)
    for indices in batches(members):
        for index, result in zip(indices, reconstruct_together([members[i] for i in indices]), strict=True):
            found[index] = result
    for one, other in zip(found, alone, strict=True):
        assert_alike(one, other)


@pytest.mark.parametrize("engine", ENGINES[:3], ids=lambda engine: " ".join(map(str, engine.values()))[:30])
@pytest.mark.parametrize("slices, modes", [(1, (0.1,)), (2, ())])
def test_an_accelerator_computes_the_same(engine, slices, modes, scans, as_on_an_accelerator, monkeypatch):
    plan = plan_of(engine, slices, modes, sweeps=3)
    found = reconstruct(scans[0], plan, 1)
    jax.clear_caches()
    monkeypatch.setattr(accelerator, "used", lambda: False)
    assert_alike(found, reconstruct(scans[0], plan, 1))


def test_neighbours_decide_on_nothing(scans):
    """Neither larger ones, which are kept apart, nor those on a larger canvas."""
    plan = plan_of({"engine": "lsqml", "batches": "compact", "group": 4})
    larger = toy.experiment(shape=(24, 32), steps=(14, 15))[0]
    mine, other, large = (Member(data, plan, 5) for data in (scans[0], scans[2], larger))
    assert sorted(map(len, batches([mine, other, large]))) == [1, 2]
    (alone,) = reconstruct_together([Member(scans[0], plan, 5)])
    beside = reconstruct_together([mine, other])[0]
    assert_alike(beside, alone, rtol=1e-5)
    with pytest.raises(InputError, match="alike"):
        reconstruct_together([mine, large])


def test_members_end_each_in_its_time(scans):
    """Of four in one batch one ends at its budget, one where its observer says so, and one diverges."""
    plan = plan_of({"engine": "lsqml"}, sweeps=6)
    seen = []

    def observe(sweep, loss, state):
        seen.append((sweep, state.object.shape))
        return sweep >= 4

    wild = dataclasses.replace(scans[2], patterns=scans[2].patterns.copy())
    worse = plan_of({"engine": "lsqml", "stop": {"worse": 1.0000001}, "object_step": 2.0, "probe_step": 2.0}, sweeps=6)
    members = [
        Member(scans[0], plan, 0),
        Member(scans[1], plan, 1, [observe], sweeps=frozenset({2, 4, 6})),
        Member(scans[0], plan, 2, most=2),
        Member(wild, worse, 3),
    ]
    with ThreadPoolExecutor(2) as pool:
        found = reconstruct_together(members, pool.map)
    assert [sweep for sweep, _ in seen] == [2, 4]
    assert {shape for _, shape in seen} == {found[1][0].object.shape}
    assert [outcome.sweeps for _, _, outcome in found[:3]] == [6, 4, 2]
    alone = reconstruct(wild, worse, 3)
    assert alone[2].status == "diverged"
    assert (found[3][2].status, found[3][2].sweeps) == (alone[2].status, alone[2].sweeps)
    assert_alike(found[0], reconstruct(scans[0], plan, 0))
    assert_alike(found[1], reconstruct(scans[1], plan, 1, [lambda sweep, loss, state: sweep >= 4]))


def test_what_can_not_be_shared_is_told(scans):
    plan, other = plan_of({"engine": "lsqml"}), plan_of({"engine": "epie"})
    members = [Member(scans[0], plan, 0), Member(scans[1], other, 1), Member(scans[2], plan, 2)]
    assert sorted(map(sorted, batches(members))) == [[0, 2], [1]]
    with pytest.raises(InputError, match="alike"):
        reconstruct_together(members)
    assert possible(plan)
    assert not possible(plan_of({"engine": "raar"}))
    assert not possible(plan_of({"engine": "lsqml", "refine_positions": True, "search_every": 1, "positions_start": 0}))
    assert not possible(build(Plan, {"engines": [{"engine": "lsqml"}, {"engine": "epie"}]}, "plan"))


def test_memory_bounds_a_batch(scans):
    members = [Member(scans[0], plan_of({"engine": "lsqml"}), seed) for seed in range(5)]
    one = next(free for free in 2.0 ** np.arange(10, 40) if places(members[0], free) > 1) / 2
    assert places(members[0], one) == 1
    assert places(members[0], 9 * one) in (4, 8, 16)
    assert [len(indices) for indices in batches(members, most=2)] == [2, 2, 1]
