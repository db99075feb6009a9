"""Stored trials stay valid: their keys are those of the golden file, so that no trial is computed twice."""

import pytest
import store_keys

MEND = "a change of keys computes every stored trial again; on purpose: python tests/support/store_keys.py"


@pytest.mark.parametrize("kind", sorted(store_keys.KEYS))
def test_keys_of_stored_trials_stay(kind, tmp_path):
    listed = [item["key"] for item in store_keys.listed()[kind]]
    assert len(set(listed)) == len(listed) >= 20
    assert list(store_keys.recomputed(kind, tmp_path)) == listed, MEND
