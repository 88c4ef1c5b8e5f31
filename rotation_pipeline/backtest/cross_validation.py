"""Combinatorial purged cross-validation (López de Prado 2018, chapter 12)."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.int64]


def combinatorial_purged_splits(
    count: int, folds: int, test_folds: int, purge: int = 0, embargo: int = 0
) -> list[tuple[Indices, Indices]]:
    """Training and test positions for every choice of ``test_folds`` out of ``folds`` consecutive folds.

    ``count`` observations in time order, the first count mod folds folds one longer. Around every run of neighbouring test
    folds ``purge`` observations leave the training set on both sides, and ``embargo`` more after it, because their windows
    overlap the test's. Choices come in lexicographic order. ValueError for impossible numbers.
    """
    if not 1 <= test_folds < folds <= count or purge < 0 or embargo < 0:
        raise ValueError(
            f"need 1 ≤ test_folds < folds ≤ count and no negative purge or embargo, got count={count}, folds={folds}, "
            f"test_folds={test_folds}, purge={purge}, embargo={embargo}"
        )
    fold = np.concatenate([np.full(part.size, i) for i, part in enumerate(np.array_split(np.arange(count), folds))])
    splits: list[tuple[Indices, Indices]] = []
    for chosen in combinations(range(folds), test_folds):
        is_test = np.isin(fold, chosen)
        is_train = ~is_test
        edges = np.diff(np.concatenate([[0], is_test.astype(np.int64), [0]]))
        for first, after in zip(np.flatnonzero(edges == 1), np.flatnonzero(edges == -1), strict=True):
            is_train[max(0, first - purge) : first] = False
            is_train[after : after + purge + embargo] = False
        splits.append((np.flatnonzero(is_train), np.flatnonzero(is_test)))
    return splits


def combinatorial_paths(folds: int, test_folds: int) -> Indices:
    """The split, as numbered by :func:`combinatorial_purged_splits`, from which each path takes each fold: folds × paths.

    Every fold is tested C(folds − 1, test_folds − 1) times, which is the number of paths: path p takes a fold from the
    p-th split that tests it, so that every test of a split is used once and a path covers all observations.
    """
    if not 1 <= test_folds < folds:
        raise ValueError(f"need 1 ≤ test_folds < folds, got folds={folds}, test_folds={test_folds}")
    chosen = list(combinations(range(folds), test_folds))
    found = [[number for number, tested in enumerate(chosen) if fold in tested] for fold in range(folds)]
    return np.array(found, dtype=np.int64)
