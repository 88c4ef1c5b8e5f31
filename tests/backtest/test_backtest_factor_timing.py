"""Books on return series, against hand-computed weights and loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st

from rotation_pipeline.allocation.options import AllocationOptions
from rotation_pipeline.backtest import factor_timing as timing
from rotation_pipeline.backtest.options import BacktestOptions


def returns_of(months: int = 80, count: int = 4, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.004, 0.03, (months, count))


def test_momentum_books_by_hand() -> None:
    signal = np.array([[0.02, -0.01, 0.0, 0.03], [-1.0, -2.0, -3.0, -4.0], [np.nan, 0.1, 0.2, 0.3]])
    assert timing.by_sign(signal)[0].tolist() == [0.25, -0.25, 0.0, 0.25]
    assert timing.winners(signal)[0].tolist() == [0.5, 0.0, 0.0, 0.5]
    assert timing.winners(signal)[1].tolist() == [0.0, 0.0, 0.0, 0.0]
    assert timing.across(signal)[0].tolist() == [0.25, -0.25, -0.25, 0.25]
    assert timing.across(signal)[2].tolist() == [0.0, 0.0, 0.0, 0.0]
    returns = returns_of()
    mean = timing.trailing_mean(returns, 12)
    assert np.isnan(mean[10]).all()
    np.testing.assert_allclose(mean[30], returns[19:31].mean(axis=0), rtol=1e-14)


def test_scaled_momentum_is_a_capped_z_with_legs_of_one_half() -> None:
    returns = returns_of()
    returns[60, 0] = 0.5  # far beyond the cap
    weights = timing.scaled_momentum(returns, 1)
    assert not weights[:35].any()
    z = np.clip(returns[60] / (returns[25:61].std(axis=0, ddof=1) * math.sqrt(12.0)), -2.0, 2.0)
    for side in (1.0, -1.0):
        leg = np.maximum(side * z, 0.0)
        if leg.any():
            np.testing.assert_allclose(np.maximum(side * weights[60], 0.0), 0.5 * leg / leg.sum(), rtol=1e-12)
    assert np.abs(weights).sum(axis=1).max() <= 1.0 + 1e-12


def test_nothing_looks_ahead() -> None:
    returns, changed = returns_of(), returns_of()
    changed[61:] = 0.2
    mean, other = timing.trailing_mean(returns, 3), timing.trailing_mean(changed, 3)
    error, volatility = np.full(returns.shape, 0.03), np.full(returns.shape, 0.03)
    views, others = (timing.Views(m, error, volatility) for m in (mean, other))
    options = AllocationOptions()
    for book, again in (
        (timing.scaled_momentum(returns, 6), timing.scaled_momentum(changed, 6)),
        (timing.softmax_book(views, returns, options), timing.softmax_book(others, changed, options)),
        (timing.anchored_book(views, returns, options), timing.anchored_book(others, changed, options)),
    ):
        assert (book[:61] == again[:61]).all()
        assert (book[61:] != again[61:]).any()


def test_the_graphs_books_hold_equal_weight_without_a_view_and_never_short() -> None:
    returns = returns_of()
    nothing = np.full(returns.shape, np.nan)
    options = AllocationOptions()
    silent = timing.Views(nothing, nothing, nothing)
    assert (timing.anchored_book(silent, returns, options) == 0.25).all()
    mean = timing.trailing_mean(returns, 6)
    views = timing.Views(mean, np.full(returns.shape, 0.01), np.full(returns.shape, 0.03))
    for weights in (timing.anchored_book(views, returns, options), timing.softmax_book(views, returns, options)):
        np.testing.assert_allclose(weights.sum(axis=1), 1.0, rtol=1e-12)
        assert weights.min() >= 0.0
        assert (weights[:6] == 0.25).all() or weights[0].tolist() == [0.25] * 4
        assert np.abs(weights - 0.25).max() > 0.02


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.floats(0.0, 100.0))
def test_earnings_are_those_of_a_loop(seed: int, cost: float) -> None:
    returns = returns_of(30, 3, seed)
    weights = timing.by_sign(timing.trailing_mean(returns, 2))
    first = 5
    earned = timing.earn(weights, returns, first)
    net = earned.net(cost)
    for i, t in enumerate(range(first, len(returns) - 1)):
        gross = sum(weights[t, k] * returns[t + 1, k] for k in range(3))
        traded = 0.0
        if t > first:
            value = 1.0 + sum(weights[t - 1, k] * returns[t, k] for k in range(3))
            before = [weights[t - 1, k] * (1.0 + returns[t, k]) / value for k in range(3)]
            traded = 0.5 * sum(abs(weights[t, k] - before[k]) for k in range(3))
        assert net[i] == pytest.approx(gross - traded * cost / 1e4, abs=1e-15)


def test_a_judgement_holds_the_measures_of_its_months() -> None:
    returns = returns_of(120)
    equal = timing.earn(np.full(returns.shape, 0.25), returns, 10)
    book = timing.earn(timing.by_sign(timing.trailing_mean(returns, 6)), returns, 10)
    one = timing.judge(book, equal, 60, 14.0, BacktestOptions(resamples=200))
    net, base = book.net(14.0)[-60:], equal.net(14.0)[-60:]
    assert one.months == 60
    assert one.sharpe == pytest.approx(net.mean() / net.std(ddof=1) * math.sqrt(12.0))
    assert one.difference == pytest.approx(one.sharpe - base.mean() / base.std(ddof=1) * math.sqrt(12.0))
    assert one.low < one.sharpe < one.high
    assert one.difference_low < one.difference < one.difference_high
    assert one.turnover == pytest.approx(book.turnover[-60:].mean() * 12.0)
    same = timing.judge(equal, equal, 60, 14.0, BacktestOptions(resamples=200))
    assert same.difference == 0.0
    assert math.isnan(same.difference_t)


def test_persistence_is_a_pooled_regression_with_errors_clustered_by_month() -> None:
    rng = np.random.default_rng(3)
    returns = 0.01 * rng.normal(size=(150, 1)) + 0.02 * rng.normal(size=(150, 3)) + 0.002
    found = timing.persistence(returns)
    gain = np.array([returns[t - 11 : t + 1].mean(axis=0) > 0 for t in range(11, 149)])
    future = returns[12:]
    assert found.after_gain == pytest.approx(future[gain].mean())
    assert found.after_loss == pytest.approx(future[~gain].mean())
    assert (found.gains, found.losses) == (int(gain.sum()), int((~gain).sum()))
    month = np.repeat(np.arange(138), 3)
    fit = sm.OLS(future.ravel(), sm.add_constant(gain.ravel().astype(float))).fit(
        cov_type="cluster", cov_kwds={"groups": month, "use_correction": False}
    )
    assert found.t == pytest.approx(fit.tvalues[1], rel=1e-9)
