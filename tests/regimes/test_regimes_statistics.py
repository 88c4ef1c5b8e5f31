"""Bootstrap, tests and indices against independent implementations; the jump path against a published case."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rotation_pipeline.regimes.errors import RegimeInputError
from rotation_pipeline.regimes.jump import jump_path
from rotation_pipeline.regimes.statistics import (
    StatisticsError,
    adjusted_rand,
    benjamini_hochberg,
    generator,
    kruskal_wallis,
    spell_permutation_p,
    stationary_bootstrap_indices,
)


def test_stationary_bootstrap_has_geometric_blocks_and_uniform_places():
    n, block = 50, 4.0
    indices = stationary_bootstrap_indices(n, block, 4000, (7, 2020, 1))
    assert indices.shape == (4000, n)
    assert indices.min() == 0
    assert indices.max() == n - 1
    continues = (np.diff(indices, axis=1) % n == 1).mean()
    # a restart lands on the next place by chance once in n
    assert continues == pytest.approx(1 - 1 / block + 1 / block / n, abs=0.005)
    counts = np.bincount(indices.ravel(), minlength=n) / indices.size * n
    assert counts == pytest.approx(np.ones(n), abs=0.06)


def test_stationary_bootstrap_variance_is_that_of_politis_and_romano():
    # their eq. 8: variance of the resampled mean = γ0/n + 2/n Σ (1 − i/n) ... with circular autocovariances
    rng = np.random.default_rng(0)
    x = np.convolve(rng.standard_normal(64), [1.0, 0.8, 0.5], mode="valid")
    n, p = x.size, 1 / 5.0
    centred = x - x.mean()
    circular = np.array([(centred * np.roll(centred, -lag)).mean() for lag in range(n)])
    lags = np.arange(1, n)
    exact = (circular[0] + 2 * ((1 - lags / n) * (1 - p) ** lags * circular[1:]).sum()) / n
    means = x[stationary_bootstrap_indices(n, 5.0, 40_000, (3,))].mean(axis=1)
    assert means.var() == pytest.approx(exact, rel=0.03)


def test_seeds_are_the_only_source_of_randomness():
    first = stationary_bootstrap_indices(20, 3.0, 10, (7, 2020, 1))
    assert (first == stationary_bootstrap_indices(20, 3.0, 10, (7, 2020, 1))).all()
    assert (first != stationary_bootstrap_indices(20, 3.0, 10, (7, 2020, 2))).any()
    assert (stationary_bootstrap_indices(1, 3.0, 5, (0,)) == 0).all()
    for bad in ({"n": 0}, {"mean_block": 0.5}, {"n_resamples": 0}, {"seed": ()}, {"seed": (-1,)}):
        with pytest.raises(StatisticsError):
            stationary_bootstrap_indices(**{"n": 5, "mean_block": 2.0, "n_resamples": 3, "seed": (1,), **bad})


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=12))
@settings(deadline=None, max_examples=25)
def test_benjamini_hochberg_equals_statsmodels(p: list[float]):
    from statsmodels.stats.multitest import multipletests

    expected = multipletests(p, method="fdr_bh")[1]
    assert benjamini_hochberg(p) == pytest.approx(expected, abs=1e-12)
    with_gap = benjamini_hochberg([*p, np.nan])
    assert with_gap[:-1] == pytest.approx(expected, abs=1e-12)
    assert np.isnan(with_gap[-1])


def test_benjamini_hochberg_by_hand_and_refusals():
    # Benjamini and Hochberg (1995), section 3.2: 15 p values, 4 rejected at 5 %
    published = [
        0.0001,
        0.0004,
        0.0019,
        0.0095,
        0.0201,
        0.0278,
        0.0298,
        0.0344,
        0.0459,
        0.3240,
        0.4262,
        0.5719,
        0.6528,
        0.7590,
        1.0,
    ]
    assert (benjamini_hochberg(published) <= 0.05).sum() == 4
    assert np.isnan(benjamini_hochberg([np.nan])).all()
    with pytest.raises(StatisticsError, match=r"\[0, 1\]"):
        benjamini_hochberg([0.5, 1.5])


@given(st.integers(2, 4), st.integers(0, 2**32 - 1), st.booleans())
@settings(deadline=None, max_examples=25)
def test_kruskal_wallis_equals_scipy(groups: int, seed: int, ties: bool):
    from scipy.stats import kruskal

    rng = np.random.default_rng(seed)
    codes = np.concatenate([np.arange(groups), rng.integers(0, groups, 20)])
    values = rng.standard_normal(codes.size)
    values = np.round(values, 0) if ties else values
    values[0] += 0.25
    h, p = kruskal_wallis(values, codes)
    peer = kruskal(*(values[codes == k] for k in range(groups)))
    assert h == pytest.approx(peer.statistic, abs=1e-9)
    assert p == pytest.approx(peer.pvalue, abs=1e-9)


def test_kruskal_wallis_of_equal_values_is_unknown():
    assert np.isnan(kruskal_wallis(np.ones(6), [0, 0, 0, 1, 1, 1])).all()
    with pytest.raises(StatisticsError, match="two groups"):
        kruskal_wallis(np.ones(3), [0, 0, 0])


def slow_permutation_p(values: np.ndarray, codes: np.ndarray, permutations: int, seed: tuple[int, ...]) -> float:
    """The same test with scipy and plain lists."""
    from scipy.stats import kruskal

    def statistic(labels: np.ndarray) -> float:
        return kruskal(*(values[labels == k] for k in np.unique(codes))).statistic

    spells = np.split(codes, np.flatnonzero(np.diff(codes)) + 1)
    rng = generator(seed)
    orders = rng.permuted(np.tile(np.arange(len(spells)), (permutations, 1)), axis=1)
    shifts = rng.integers(0, codes.size, size=permutations)
    observed = statistic(codes)
    extreme = 0
    for order, shift in zip(orders, shifts, strict=True):
        labels = np.roll(np.concatenate([spells[k] for k in order]), shift)
        extreme += statistic(labels) >= observed - 1e-9
    return (1 + extreme) / (1 + permutations)


def test_spell_permutation_equals_the_slow_one():
    rng = np.random.default_rng(4)
    codes = np.repeat([0, 1, 2, 0, 2, 1, 0], [6, 4, 7, 3, 5, 6, 4])
    table = rng.standard_normal((2, codes.size)) + np.array([[0.0], [0.4]]) * codes
    found = spell_permutation_p(table, codes, 150, (1, 2))
    assert found == pytest.approx([slow_permutation_p(row, codes, 150, (1, 2)) for row in table], abs=1e-12)
    alone = [spell_permutation_p(table[k : k + 1], codes, 150, (1, 2))[0] for k in range(2)]
    assert found.tolist() == alone
    constant = spell_permutation_p(np.ones((1, codes.size)), codes, 150, (1, 2))
    assert np.isnan(constant).all()


def test_spell_permutation_keeps_its_size_where_values_persist():
    rng = np.random.default_rng(11)
    rejected = {"spells": 0, "chi_square": 0}
    trials = 300
    for trial in range(trials):
        state, codes = 0, []
        while len(codes) < 120:
            codes += [state] * int(rng.integers(6, 19))
            state = (state + int(rng.integers(1, 3))) % 3
        labels = np.array(codes[:120])
        noise = rng.standard_normal(140)
        values = np.array([noise[t : t + 12] @ 0.8 ** np.arange(12) for t in range(120)])
        rejected["spells"] += spell_permutation_p(values[None], labels, 199, (trial,))[0] <= 0.05
        rejected["chi_square"] += kruskal_wallis(values, labels)[1] <= 0.05
    assert rejected["spells"] / trials < 0.10
    assert rejected["chi_square"] / trials > 0.25


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xyz")), min_size=2, max_size=30))
@settings(deadline=None, max_examples=25)
def test_adjusted_rand_equals_sklearn(pairs: list[tuple[str, str]]):
    from sklearn.metrics import adjusted_rand_score

    first, second = zip(*pairs, strict=True)
    assert adjusted_rand(first, second) == pytest.approx(adjusted_rand_score(first, second), abs=1e-12)


LOSS = np.array([[0, 1], [1, 0], [0, 1], [0, 1], [1, 0], [1, 0], [1, 0]], dtype=np.float64)
"""jumpmodels 0.1.1 (Apache-2.0), optimum confirmed by exhaustive search."""


@pytest.mark.parametrize(("penalty", "value"), [(0.0, 0.0), (0.6, 1.6), (1.1, 2.1), (5.0, 3.0)])
def test_published_jump_path(penalty: float, value: float):
    found, path = jump_path(LOSS, penalty)
    assert found == pytest.approx(value, abs=1e-9)
    assert LOSS[np.arange(7), path].sum() + penalty * (np.diff(path) != 0).sum() == pytest.approx(value, abs=1e-9)


@given(st.integers(1, 3), st.integers(1, 6), st.integers(0, 2**32 - 1), st.floats(0.0, 2.0))
@settings(deadline=None, max_examples=25)
def test_jump_path_is_the_best_of_all(states: int, n: int, seed: int, penalty: float):
    loss = np.random.default_rng(seed).random((n, states))
    best = min(
        loss[np.arange(n), list(path)].sum() + penalty * (np.diff(path) != 0).sum()
        for path in product(range(states), repeat=n)
    )
    value, path = jump_path(loss, penalty)
    assert value == pytest.approx(best, abs=1e-12)
    assert loss[np.arange(n), path].sum() + penalty * (np.diff(path) != 0).sum() == pytest.approx(best, abs=1e-12)


def test_jump_path_refuses_bad_input():
    with pytest.raises(RegimeInputError, match="penalty"):
        jump_path(LOSS, -1.0)
    with pytest.raises(RegimeInputError, match="finite"):
        jump_path(np.array([[np.nan]]), 1.0)
