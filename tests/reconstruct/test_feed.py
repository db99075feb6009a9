"""Patterns in chunks on the host: the same result as with all of them on the device, for every engine."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import toy

from ptydesign.config import build
from ptydesign.errors import InputError
from ptydesign.grids import Grid
from ptydesign.reconstruct import feed, sweep
from ptydesign.reconstruct.checkpoint import Checkpoints
from ptydesign.reconstruct.engines import ENGINES
from ptydesign.reconstruct.plan import Plan
from ptydesign.reconstruct.run import reconstruct
from ptydesign.types import Dataset, Optics, blocks

SHAPE = (16, 20)
PATTERN_GIB = SHAPE[0] * SHAPE[1] * 4 / feed.GIB  # single precision
# name -> settings; every kind of end of a sweep
ENGINE_SETTINGS = {name: {"engine": name} for name in ENGINES} | {
    "compact": {"engine": "lsqml", "batches": "compact", "step_positions": 2},
    "polyak": {"engine": "gradient", "rule": "polyak"},
    "costs": {"engine": "gradient", "costs": [{"kind": "object_tv", "weight": 1e-3}]},
    "accelerated": {"engine": "lsqml", "acceleration": 0.9},
}
WHOLE = {name for name, engine in ENGINES.items() if engine.config.keeps_waves}


def plan_of(*engines, precision="single", opr=0, slices=1):
    content = {
        "precision": precision,
        "object": {"slices": slices, "slice_thickness_a": 40.0 if slices > 1 else 0.0},
        "probe": {"mode_powers": [0.2], "opr_modes": opr},
        "engines": [{"group": 4, "sweeps": 3, "probe_start": 0, **e} for e in engines],
    }
    return build(Plan, content, "plan")


@pytest.fixture(scope="module")
def data():
    """30 positions: eight groups of three or four, of which a chunk of three leaves two over; a mask, a background."""
    dataset, _ = toy.experiment(shape=SHAPE, steps=(5, 6), step_a=0.9)
    mask = np.ones(SHAPE)
    mask[3:5, 2:7] = 0
    return dataclasses.replace(
        dataset, patterns=dataset.patterns.astype(np.uint16), mask=mask, background=np.full(SHAPE, 0.3)
    )


def same(first, second):
    (state, history, outcome), (other, again, ended) = first, second
    for item in dataclasses.fields(state):
        np.testing.assert_array_equal(getattr(other, item.name), getattr(state, item.name), err_msg=item.name)
    np.testing.assert_array_equal(again.loss, history.loss)
    assert ended == outcome


@pytest.mark.parametrize("name", sorted(set(ENGINE_SETTINGS) - WHOLE))
def test_chunks_give_the_same_bit_by_bit(name, data):
    """Three groups at a time."""
    plan = plan_of(ENGINE_SETTINGS[name])
    as_floats = dataclasses.replace(data, patterns=data.patterns.astype(np.float32))
    compiled = sweep.some_groups._cache_size()
    fed = reconstruct(data, plan, chunk_gib=12 * PATTERN_GIB / 2)  # two bytes a pixel
    assert sweep.some_groups._cache_size() == compiled + 1
    same(reconstruct(as_floats, plan), fed)


def test_what_is_measured_at_the_end_of_a_sweep_sees_its_patterns(data):
    """Tilt and thickness, positions and intensity factors, a probe that varies, several slices, in double precision."""
    settings = {"refine_tilt": True, "refine_thickness": "total", "propagation_start": 0, "opr_start": 1}
    settings |= {"refine_positions": True, "positions_start": 1, "refine_intensity": True, "intensity_start": 1}
    plan = plan_of({"engine": "lsqml", "group": 12, "sweeps": 2, **settings}, precision="double", opr=2, slices=2)
    whole = reconstruct(data, plan)
    assert np.any(whole[0].tilt_rad != 0)
    assert np.all(whole[0].thickness_a != 40.0)
    same(whole, reconstruct(data, plan, chunk_gib=36 * PATTERN_GIB / 2))


def test_a_search_for_positions_sees_all_patterns(data):
    """Twelve at a time, of 30; one position is far off."""
    wrong = data.positions_a.copy()
    wrong[11] += 1.5
    data = dataclasses.replace(data, positions_a=wrong)
    settings = {"engine": "epie", "refine_positions": True, "positions_start": 0, "search_part": 0.5}
    searched, plain = (plan_of({**settings, "search_every": every}) for every in (1, 0))
    whole = reconstruct(data, searched)
    assert np.abs(whole[0].positions_px - reconstruct(data, plain)[0].positions_px).max() > 0.5
    same(whole, reconstruct(data, searched, chunk_gib=12 * PATTERN_GIB / 2))


def test_a_run_in_chunks_goes_on_from_a_checkpoint_of_one_without(data, tmp_path):
    """In two engines; the second one's patterns are padded and cropped on their way."""
    plan = plan_of({"engine": "epie"}, {"engine": "gradient", "resample": {"pixels": [12, 26]}})
    whole = reconstruct(data, plan)
    path = tmp_path / "run.h5"

    def stop(sweep, loss, state):
        if sweep == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reconstruct(data, plan, observers=[stop], checkpoints=Checkpoints(path, every=1))
    same(whole, reconstruct(data, plan, resume=path, chunk_gib=12 * PATTERN_GIB / 2))


@pytest.mark.parametrize(
    "settings, patterns, words",
    [
        ({"engine": "raar"}, 12, "is not for raar: it keeps the exit waves of all positions"),
        ({"engine": "difference_map"}, 12, "is not for difference_map"),
        ({"engine": "lsqml", "batches": "compact"}, 4, "must hold what ends a sweep of lsqml: 32 patterns"),
        ({"engine": "gradient", "rule": "lbfgs"}, 12, "must hold one group of gradient: 32 patterns"),
        ({"engine": "epie", "group": 16}, 12, "must hold one group of epie: 16 patterns"),
    ],
)
def test_chunks_that_are_too_small_are_refused_before_anything_is_computed(settings, patterns, words, data):
    swept = []
    with pytest.raises(InputError, match=f"chunk_gib: {words}.*chunk-gib"):
        reconstruct(
            data,
            plan_of({"engine": "epie"}, settings),
            observers=[lambda *_: swept.append(1)],
            chunk_gib=patterns * PATTERN_GIB / 2,
        )
    assert not swept
    with pytest.raises(InputError, match=r"chunk_gib: must be positive; got -1"):
        reconstruct(data, plan_of(settings), chunk_gib=-1)


def test_large_patterns_stay_on_the_host_by_themselves():
    assert feed.chunk_bytes(None, needed=50, free=100.0) is None
    assert feed.chunk_bytes(None, needed=51, free=100.0) == 6
    assert feed.chunk_bytes(np.inf, needed=10**15) is None
    assert feed.chunk_bytes(1.0, needed=2**30) is None
    assert feed.chunk_bytes(1.0, needed=2**30 + 1) == 2**30


@pytest.mark.parametrize("dtype, sent", [(np.uint8, np.uint8), (np.int16, np.int16), (np.int64, np.float32)])
def test_a_chunk_holds_its_members_as_they_are_stored(dtype, sent):
    patterns = np.arange(7 * 12, dtype=dtype).reshape(7, 3, 4)
    data = Dataset(patterns, np.zeros((7, 2)), Grid((3, 4), (1.0, 1.0)), 80.0, np.ones((3, 4)), Optics(80.0, 0.02))
    settings = plan_of({"engine": "epie", "group": 3}).engines[0]
    host = feed.host_of(data, (3, 4), settings, 9, np.float32, limit=10**4)
    assert (host.groups, host.dtype) == (3, sent)
    small = feed.Problem(None, np.ones((3, 4), np.float32), None, None, None, nominal_a=np.zeros((9, 2)))
    problem = host.put(small, np.array([[6, 1, 0], [4, 5, 2]], np.int32), np.array([2, 3]))
    assert problem.patterns.shape == (6, 3, 4)
    for member in (6, 1, 4, 5, 2):
        np.testing.assert_array_equal(problem.pattern(member), patterns[member].astype(np.float32))


def test_blocks_cover_all_patterns(monkeypatch):
    monkeypatch.setattr("ptydesign.types.BLOCK_BYTES", 8 * 12 * 2)
    patterns = np.arange(60).reshape(5, 3, 4)
    assert [len(b) for b in blocks(patterns)] == [2, 2, 1]
    np.testing.assert_array_equal(np.concatenate(list(blocks(patterns))), patterns)
