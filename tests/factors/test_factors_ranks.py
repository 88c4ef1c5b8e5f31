"""Orders and rank correlations: against stable sorts and SciPy's kind of ranks, whatever the numbers look like."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from rotation_pipeline.factors import statistics
from rotation_pipeline.factors.ranks import correlations, places, rank_correlations, rising_orders

NAN = math.nan
KINDS = ("normal", "ties", "constant", "outlier", "tiny", "huge", "infinite", "falling")


def numbers(kind: str, rng: np.random.Generator, shape: tuple[int, int], gaps: float) -> np.ndarray:
    """Cross-sections that are kind to a sort by image, and those that are not."""
    x = rng.standard_normal(shape)
    if kind == "ties":
        x = np.round(2.0 * x) * rng.choice([0.0, -0.0, 1.0], shape)  # zeros of both signs are equal
    elif kind == "constant":
        x = np.full(shape, 0.25)
    elif kind == "outlier":
        x.ravel()[: min(1, x.size)] = 1e12  # all others fall into one cell
    elif kind == "tiny":
        x = 1e-310 * x
    elif kind == "huge":
        x = 1.7e308 * np.sign(x) * rng.random(shape)
    elif kind == "infinite":
        x[rng.random(shape) < 0.2] = np.inf
    elif kind == "falling":
        x = -np.sort(x, axis=1)
    x[rng.random(shape) < gaps] = NAN
    return x


@settings(deadline=None, max_examples=25)
@given(st.sampled_from(KINDS), st.integers(0, 10**6), st.integers(0, 400), st.sampled_from([0.0, 0.3, 1.0]))
def test_orders_are_those_of_a_stable_sort(kind: str, seed: int, n: int, gaps: float) -> None:
    x = numbers(kind, np.random.default_rng(seed), (3, n), gaps)
    order = rising_orders(x)
    for row, position, tied, count in zip(x, order.position, order.tied, order.count, strict=True):
        known = np.flatnonzero(~np.isnan(row))
        expected = known[np.argsort(row[known], kind="stable")]
        np.testing.assert_array_equal(position[:count], expected)
        equal = row[expected[1:]] == row[expected[:-1]]
        np.testing.assert_array_equal(tied[:count], [False, *equal][:count])


@settings(deadline=None, max_examples=25)
@given(st.sampled_from(KINDS[:6]), st.integers(0, 10**6), st.integers(0, 80), st.integers(0, 90), st.booleans())
def test_rank_correlations_are_those_of_the_pairs_bit_for_bit(kind: str, seed: int, n: int, m: int, one: bool) -> None:
    rng = np.random.default_rng(seed)
    x, y = numbers(kind, rng, (4, n), 0.1), numbers(kind, rng, (1 if one else 4, m), rng.choice([0.0, 0.2]))
    match, use = np.full(n, -1, np.int64), rng.random(n) < 0.8
    met = min(n, m) // 2 if n else 0
    match[rng.permutation(n)[:met]] = rng.permutation(m)[:met]
    x[0] = np.where(np.isnan(x[0]), 0.5, x[0])  # a row without gaps beside rows with some
    got = rank_correlations(x, rising_orders(x), y, rising_orders(y), match, use)
    plain = correlations(x, y[0], match, use)
    pairs = use & (match >= 0)
    for s in range(4):
        theirs = y[0 if one else s][match[pairs]]
        np.testing.assert_equal(got[s], statistics.spearman(x[s][pairs], theirs))
        np.testing.assert_equal(plain[s], statistics.pearson(x[s][pairs], y[0][match[pairs]]))


def test_rank_correlation_is_scipys_with_ties() -> None:
    rng = np.random.default_rng(5)
    x, y = rng.integers(0, 5, (2, 300)).astype(float), rng.integers(0, 9, (1, 300)).astype(float)
    use = rng.random(300) < 0.7
    got = rank_correlations(x, rising_orders(x), y, rising_orders(y), np.arange(300), use)
    for s in range(2):
        assert got[s] == pytest.approx(stats.spearmanr(x[s][use], y[0][use])[0], abs=1e-14)


def test_no_correlation_below_three_pairs_or_without_variation() -> None:
    x = np.array([[1.0, 2.0, NAN, NAN], [3.0, 3.0, 3.0, 3.0], [1.0, 2.0, 3.0, NAN]])
    y = np.array([[4.0, 3.0, 2.0, 1.0]])
    everybody, same = np.ones(4, np.bool_), np.arange(4)
    got = rank_correlations(x, rising_orders(x), y, rising_orders(y), same, everybody)
    np.testing.assert_allclose(got, [NAN, NAN, -1.0], atol=1e-15)
    still = np.zeros((1, 4))
    assert np.isnan(rank_correlations(x, rising_orders(x), still, rising_orders(still), same, everybody)).all()


@settings(deadline=None, max_examples=25)
@given(st.sets(st.integers(0, 60)), st.lists(st.integers(-3, 63)))
def test_places_in_rising_keys(known: set[int], keys: list[int]) -> None:
    rising = np.array(sorted(known), np.int32)
    expected = [sorted(known).index(key) if key in known else -1 for key in keys]
    assert places(rising, np.array(keys, np.int32)).tolist() == expected
