"""Cross-sectional preprocessing: published cases, least squares, invariances."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm, rankdata

from rotation_pipeline.factors import preprocess
from rotation_pipeline.factors.books import half_book

NAN = float("nan")
CROSS_SECTIONS = st.lists(st.floats(-1e3, 1e3).map(lambda v: round(v, 3)), min_size=3, max_size=40).filter(
    lambda values: max(values) - min(values) > 0.1
)


def test_zscore_published_case() -> None:
    # skfolio c06db840, test_cs_standard_scaler.py, TestRegression.test_global_standardization (BSD-3-Clause)
    rows = [[1.0, 2.0, 4.0, 10.0], [4.0, 1.0, 3.0, 7.0]]
    expected = [[-0.80622577482985, -0.55815630565144, -0.0620173672946, 1.4263994477759], [0.1, -1.1, -0.3, 1.3]]
    for row, want in zip(rows, expected, strict=True):
        np.testing.assert_allclose(preprocess.zscore(row), want, rtol=1e-11, atol=1e-12)


def test_winsorise_published_case() -> None:
    # skfolio c06db840, _cs_winsorizer.py, class docstring example (BSD-3-Clause)
    rows = [[1.0, NAN, 3.0, 4.0], [4.0, 3.0, 2.0, 1.0], [10.0, 20.0, NAN, 40.0]]
    weights = [[1, 0, 1, 1], [1, 0, 1, 1], [1, 1, 0, 1]]
    plain = [[1.4, NAN, 3, 3.8], [3.7, 3, 2, 1.3], [12, 20, NAN, 36]]
    weighted = [[1.4, NAN, 3, 3.8], [3.6, 3, 2, 1.2], [12, 20, NAN, 36]]
    for row, mask, want, want_weighted in zip(rows, weights, plain, weighted, strict=True):
        np.testing.assert_allclose(preprocess.winsorise_quantile(row, None, 0.1, 0.9), want, atol=1e-9)
        np.testing.assert_allclose(
            preprocess.winsorise_quantile(row, np.array(mask) > 0, 0.1, 0.9), want_weighted, atol=1e-9
        )


def test_mad_clips_at_robust_deviations_of_the_estimation_names() -> None:
    x = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 1000.0, -1000.0, NAN])
    estimation = np.array([True] * 5 + [False, False, True])
    got = preprocess.winsorise_mad(x, estimation, limit=2.0)
    edge = 2.0 * 1.4826 * 1.0
    np.testing.assert_allclose(got, [1, 2, 3, 4, 5, 3 + edge, 3 - edge, NAN])


def test_mad_of_zero_falls_back_to_the_mean_deviation_instead_of_erasing_everything() -> None:
    x = np.array([0.0] * 7 + [1.0, 2.0, 300.0])
    got = preprocess.winsorise_mad(x)
    assert got[7] == 1.0
    assert got[8] == 2.0
    assert got[9] == pytest.approx(5 * 1.253314 * 303 / 10)


@settings(deadline=None, max_examples=25)
@given(CROSS_SECTIONS, st.floats(0.01, 100.0), st.floats(-100.0, 100.0))
def test_zscore_ignores_scale_and_shift(values: list[float], scale: float, shift: float) -> None:
    x = np.array(values)
    np.testing.assert_allclose(preprocess.zscore(scale * x + shift), preprocess.zscore(x), atol=1e-7)
    z = preprocess.zscore(x)
    assert z.mean() == pytest.approx(0, abs=1e-9)
    assert z.std(ddof=1) == pytest.approx(1)


@pytest.mark.parametrize("x", [[0.1] * 30, [27.3] * 5 + [NAN], [1.0], [NAN, NAN], []])
def test_no_spread_gives_null_not_zero(x: list[float]) -> None:
    assert np.isnan(preprocess.zscore(x)).all()


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10**6), st.booleans(), st.booleans(), st.booleans())
def test_neutralise_is_weighted_least_squares_with_intercept(
    seed: int, industry: bool, size: bool, weighted: bool
) -> None:
    rng = np.random.default_rng(seed)
    n = 40
    x, log_mv, codes = rng.standard_normal(n) + 3, rng.normal(25, 1, n), rng.permutation(np.arange(n) % 5)
    weights = np.exp(0.5 * log_mv) if weighted else np.ones(n)
    estimation = rng.random(n) < 0.9
    x[3], log_mv[4] = NAN, NAN
    got = preprocess.neutralise(x, codes if industry else None, log_mv if size else None, estimation, weights)
    design = [np.ones(n)]
    if industry:
        design += [(codes == g).astype(float) for g in range(1, 5)]
    if size:
        design.append(log_mv - 25)
    regressors = np.column_stack(design)
    known = ~np.isnan(x) & ~np.isnan(regressors).any(axis=1) & ~np.isnan(weights)
    fitted = known & estimation
    model = sm.WLS(x[fitted], regressors[fitted], weights=weights[fitted]).fit()
    usable = ~np.isnan(x) & ~np.isnan(regressors).any(axis=1)
    np.testing.assert_allclose(got[usable], (x - regressors @ model.params)[usable], atol=1e-9)
    assert np.isnan(got[~usable]).all()


def test_neutralise_names_without_industry_or_with_an_unseen_one_are_null() -> None:
    x = np.array([1.0, 2.0, 3.0, 4.0])
    got = preprocess.neutralise(x, np.array([0, 0, -1, 1]), estimation=np.array([True, True, True, False]))
    np.testing.assert_allclose(got, [-0.5, 0.5, NAN, NAN])


def test_rank_transforms() -> None:
    x = np.array([3.0, 1.0, NAN, 1.0, 9.0])
    ranks = np.array([3.0, 1.5, NAN, 1.5, 4.0])
    np.testing.assert_allclose(preprocess.rank_normal(x), norm.ppf((ranks - 0.375) / 4.25))
    u = 2 * (ranks - 0.5) / 4 - 1
    np.testing.assert_allclose(preprocess.power_rank(x, 1.0), u)
    np.testing.assert_allclose(preprocess.power_rank(x, 3.0), u**3)
    with pytest.raises(ValueError, match="power must be positive"):
        preprocess.power_rank(x, 0.0)


@settings(deadline=None, max_examples=25)
@given(CROSS_SECTIONS)
def test_average_ranks_are_scipys(values: list[float]) -> None:
    np.testing.assert_array_equal(preprocess.average_ranks(values), rankdata(values))


def test_a_suspended_name_is_null_and_moves_no_other_rank() -> None:
    # Heerozh/spectre issue 25: on 2023-05-29 SZ002880 is suspended; SH600030 must have rank 1, not 2
    assert preprocess.average_ranks([20.1, 9.9]).tolist() == [2.0, 1.0]
    second = preprocess.average_ranks([20.3, NAN])
    assert second[0] == 1.0
    assert np.isnan(second[1])


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10**6), st.integers(0, 45))
def test_half_book_is_balanced_in_every_industry(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    score, keys, industry = rng.standard_normal(n), np.arange(n), rng.integers(-1, 4, n)
    tradable = rng.random(n) < 0.8
    weights = half_book(score, keys, tradable, industry, rng.normal(25, 1, n))
    assert not weights[~tradable | (industry < 0)].any()
    for g in range(4):
        assert weights[industry == g].sum() == pytest.approx(0, abs=1e-12)
    if weights.any():
        assert weights[weights > 0].sum() == pytest.approx(1)
        assert weights[weights < 0].sum() == pytest.approx(-1)


def test_half_book_without_neutralising_is_top_half_minus_bottom_half() -> None:
    assert half_book([3.0, 1.0, 2.0, 4.0, NAN], np.arange(5), [True] * 5).tolist() == [0.5, -0.5, -0.5, 0.5, 0.0]


def test_shapes_are_checked() -> None:
    with pytest.raises(ValueError, match="as many estimation flags"):
        preprocess.zscore([1.0, 2.0], [True])
    with pytest.raises(ValueError, match="one-dimensional"):
        preprocess.zscore([[1.0, 2.0]])
    with pytest.raises(ValueError, match="as many industries"):
        preprocess.neutralise([1.0, 2.0], industry=[0])
    with pytest.raises(ValueError, match="0 ≤ low < high ≤ 1"):
        preprocess.winsorise_quantile([1.0], None, 0.9, 0.1)
