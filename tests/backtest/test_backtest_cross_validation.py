"""Combinatorial purged cross-validation against skfolio's."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rotation_pipeline.backtest.cross_validation import combinatorial_paths, combinatorial_purged_splits

selection = pytest.importorskip("skfolio.model_selection")


@settings(max_examples=25, deadline=None)
@given(
    st.integers(3, 7).flatmap(lambda folds: st.tuples(st.just(folds), st.integers(2, folds - 1))),
    st.integers(6, 12),
    st.integers(0, 2),
    st.integers(0, 2),
)
def test_splits_are_those_of_skfolio(folds: tuple[int, int], size: int, purge: int, embargo: int) -> None:
    """On a number of observations the folds divide: what is left over goes to its last fold, here to the first ones."""
    count = folds[0] * size
    theirs = selection.CombinatorialPurgedCV(*folds, purged_size=purge, embargo_size=embargo)
    expected = list(theirs.split(np.zeros((count, 1))))
    ours = combinatorial_purged_splits(count, *folds, purge, embargo)
    assert len(ours) == len(expected) == comb(*folds)
    for (train, test), (their_train, their_tests) in zip(ours, expected, strict=True):
        assert train.tolist() == their_train.tolist()
        assert test.tolist() == np.concatenate(their_tests).tolist()
    assert combinatorial_paths(*folds).tolist() == theirs.recombined_paths.tolist()
    assert combinatorial_paths(*folds).shape[1] == theirs.n_test_paths


def test_every_path_tests_every_observation_once_and_never_trains_on_it() -> None:
    count, folds, chosen = 35, 6, 3
    splits, paths = combinatorial_purged_splits(count, folds, chosen, 1, 1), combinatorial_paths(folds, chosen)
    parts = np.array_split(np.arange(count), folds)
    used = [(int(split), fold) for fold in range(folds) for split in paths[fold]]
    assert len(set(used)) == len(used) == folds * comb(folds - 1, chosen - 1) == chosen * comb(folds, chosen)
    for split, fold in used:
        train, test = splits[split]
        assert set(parts[fold]) <= set(test)
        # neither the fold nor the observation beside it, whose window overlaps, is trained on
        near = {parts[fold][0] - 1, *parts[fold], parts[fold][-1] + 1, parts[fold][-1] + 2}
        assert not near & set(train)
    with pytest.raises(ValueError, match="test_folds < folds"):
        combinatorial_paths(3, 3)
