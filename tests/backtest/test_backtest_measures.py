"""Measures: published cases, agreement with empyrical, hand values, limits."""

from __future__ import annotations

import math

import empyrical
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from rotation_pipeline.backtest import measures as m

NAN = math.nan
# empyrical-reloaded, tests/test_stats.py, class TestStats (Apache-2.0)
MIXED = [NAN, 0.01, 0.1, -0.04, 0.02, 0.03, 0.02, 0.01, -0.1]
POSITIVE = [0.01, 0.02, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01]
NEGATIVE = [0.0, -0.06, -0.07, -0.01, -0.09, -0.02, -0.06, -0.08, -0.05]
ALL_NEGATIVE = [-0.02, *NEGATIVE[1:]]
FROM_ZERO = [0.0, *MIXED[1:]]


@pytest.mark.parametrize(
    ("returns", "expected"),
    [(MIXED, 1.7238613961706866), (POSITIVE, 52.915026221291804), (NEGATIVE, -24.406808633910085)],
)
def test_sharpe_published_case(returns: list[float], expected: float) -> None:
    assert float(m.sharpe_ratio(returns, 252.0)) == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize(
    ("returns", "expected"),
    [(MIXED, -0.1), (NEGATIVE, -0.3659073), (ALL_NEGATIVE, -0.378589157), ([0.1, -0.1, 0.1], -0.1), (POSITIVE, 0.0)],
)
def test_max_drawdown_published_case(returns: list[float], expected: float) -> None:
    assert float(m.max_drawdown(returns)) == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize(
    ("returns", "periods", "expected"),
    [
        (MIXED, 252, 2.605531251673693),
        (NEGATIVE, 252, -13.5327430750434),
        (FROM_ZERO, 52, 1.115890105686644),
        (FROM_ZERO, 12, 0.5360562674188976),
    ],
)
def test_sortino_published_case(returns: list[float], periods: int, expected: float) -> None:
    assert float(m.sortino_ratio(returns, periods)) == pytest.approx(expected, abs=1e-8)


def test_alpha_beta_published_case() -> None:
    benchmark = [NAN, -0.06, -0.07, -0.01, -0.09, -0.02, -0.06, -0.08, -0.05]
    alpha, beta = m.alpha_beta(MIXED, benchmark, 252.0)
    assert (float(alpha), float(beta)) == pytest.approx((-0.9997853834885004, -0.7129629629629631), abs=1e-8)


@settings(deadline=None, max_examples=25)
@given(arrays(np.float64, st.integers(4, 60), elements=st.floats(-0.4, 0.4)), st.integers(0, 99))
def test_agrees_with_empyrical(returns: np.ndarray, seed: int) -> None:
    if returns.std() < 1e-4 or (returns < -1e-3).sum() == 0:
        return
    benchmark = np.random.default_rng(seed).normal(0, 0.05, returns.size)
    pairs = [
        (m.annualised_return(returns), empyrical.annual_return(returns, "monthly")),
        (m.volatility(returns), empyrical.annual_volatility(returns, "monthly")),
        (m.sharpe_ratio(returns), empyrical.sharpe_ratio(returns, period="monthly")),
        (m.sortino_ratio(returns), empyrical.sortino_ratio(returns, period="monthly")),
        (m.max_drawdown(returns), empyrical.max_drawdown(returns)),
        (m.calmar_ratio(returns), empyrical.calmar_ratio(returns, "monthly")),
        (m.total_return(returns), empyrical.cum_returns_final(returns)),
        (m.alpha_beta(returns, benchmark)[0], empyrical.alpha(returns, benchmark, period="monthly")),
        (m.alpha_beta(returns, benchmark)[1], empyrical.beta(returns, benchmark)),
        (m.information_ratio(returns, benchmark, 1.0), empyrical.excess_sharpe(returns, benchmark)),
        (m.skewness(returns), stats.skew(returns)),
        (m.kurtosis(returns), stats.kurtosis(returns, fisher=False)),
    ]
    for mine, theirs in pairs:
        np.testing.assert_allclose(mine, theirs, rtol=1e-7, atol=1e-10)


def test_many_series_at_once_equal_one_at_a_time() -> None:
    returns = np.random.default_rng(2).normal(0, 0.05, (40, 7))
    benchmark = returns[:, 3].copy()
    functions = [
        m.annualised_return, m.volatility, m.sharpe_ratio, m.sortino_ratio, m.max_drawdown, m.calmar_ratio, m.hit_rate,
        m.skewness, m.kurtosis, m.worst, m.total_return,
        lambda r: m.excess_return(r, benchmark), lambda r: m.tracking_error(r, benchmark), lambda r: m.information_ratio(r, benchmark),
        lambda r: m.alpha_beta(r, benchmark)[0], lambda r: m.alpha_beta(r, benchmark)[1],
    ]  # fmt: skip
    for function in functions:
        single = [float(function(returns[:, i])) for i in range(7)]
        np.testing.assert_allclose(function(returns), single, rtol=1e-9, atol=1e-13)


def test_drawdown_dates_by_hand() -> None:
    assert m.max_drawdown_span([0.1, -0.2, 0.1, 0.2, -0.1]) == (0, 1, 3)
    assert m.max_drawdown_span([-0.1, -0.1, 0.05]) == (-1, 1, None)
    with pytest.raises(ValueError, match="one series"):
        m.max_drawdown_span([])


def test_what_cannot_be_computed_is_nan() -> None:
    constant = np.full(7, 0.1)  # its sample deviation is not exactly 0 in floating point
    for function in (m.sharpe_ratio, m.skewness, m.kurtosis):
        assert math.isnan(float(function(constant)))
        assert math.isnan(float(function([0.1])))
    assert float(m.volatility(constant)) == 0.0
    for function in (m.annualised_return, m.max_drawdown, m.hit_rate, m.worst, m.sortino_ratio, m.total_return):
        assert math.isnan(float(function([])))
    assert math.isnan(float(m.information_ratio(constant, constant)))
    assert math.isnan(float(m.calmar_ratio(POSITIVE)))
    assert math.isnan(float(m.alpha_beta([0.1, 0.2], [0.1, 0.1])[1]))
    assert float(m.annualised_return([0.5, -1.0, 0.5])) == -1.0
    assert float(m.annualised_return([0.5, -1.2, 0.5])) == -1.0


def test_wrong_shapes_are_errors() -> None:
    with pytest.raises(ValueError, match="complete"):
        m.sharpe_ratio(np.array([[0.1, NAN], [0.1, 0.2]]))
    with pytest.raises(ValueError, match="same periods"):
        m.information_ratio([0.1, 0.2], [0.1])
