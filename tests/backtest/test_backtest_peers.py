"""Measures and tests against other packages, where they have them: skfolio, scipy, statsmodels, arch.

Covered elsewhere: returns, Sharpe, Sortino, Calmar, drawdown, alpha and beta by empyrical (measures); the test for superior
predictive ability by arch and the splits by skfolio (search, cross-validation); Newey-West by statsmodels (factors);
Benjamini-Hochberg by statsmodels (regimes). No package at hand has the minimum track record or the Ledoit-Wolf
difference as a whole; those are held to their papers' published cases and formulas.
"""

from __future__ import annotations

import numpy as np
import pytest
import skfolio.measures as peers
import statsmodels.api as sm
from arch.bootstrap import StationaryBootstrap
from arch.covariance.kernel import Parzen
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from rotation_pipeline.backtest import deflation
from rotation_pipeline.backtest import measures as m
from rotation_pipeline.backtest.data_snooping import stationary_variance
from rotation_pipeline.backtest.resampling import percentile_interval, resampled_moments
from rotation_pipeline.backtest.sharpe_tests import long_run_variance, parzen, sharpe_test_hac
from rotation_pipeline.regimes.statistics import stationary_bootstrap_indices


def returns_of(seed: int, count: int = 120, series: int = 2) -> np.ndarray:
    random = np.random.default_rng(seed)
    common = random.standard_t(5, (count, 1)) * 0.02
    return random.normal(0.004, 0.03, (count, series)) + common


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 9999))
def test_moments_and_ratios_are_those_of_skfolio_and_scipy(seed: int) -> None:
    pair = returns_of(seed)
    first, second = np.ascontiguousarray(pair[:, 0]), np.ascontiguousarray(pair[:, 1])
    curve = np.cumprod(np.concatenate([[1.0], 1.0 + first]))
    expected = [
        (m.volatility(first, 1.0), peers.standard_deviation(first)),
        (m.worst(first), -peers.worst_realization(first)),
        (m.skewness(first), stats.skew(first)),
        (m.skewness(first), peers.skew(first)),
        (m.kurtosis(first), stats.kurtosis(first, fisher=False)),
        (m.kurtosis(first), peers.kurtosis(first)),
        (m.tracking_error(first, second, 1.0), peers.standard_deviation(first - second)),
        (m.max_drawdown(first), (curve / np.maximum.accumulate(curve) - 1.0).min()),
        (m.max_drawdown(first), -peers.max_drawdown(peers.get_drawdowns(first, compounded=True))),
        (m.hit_rate(first), stats.percentileofscore(-first, 0.0, kind="strict") / 100.0),
    ]
    for own, theirs in expected:
        assert float(own) == pytest.approx(float(theirs), rel=1e-9)
    line = sm.OLS(first, sm.add_constant(second)).fit()
    alpha, beta = m.alpha_beta(first, second, 1.0)
    assert (float(alpha), float(beta)) == pytest.approx(tuple(line.params), rel=1e-8)


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 9999), trials=st.integers(2, 40))
def test_probabilistic_and_deflated_sharpe_are_those_of_skfolio(seed: int, trials: int) -> None:
    returns = returns_of(seed)[:, 0]
    ratios = np.random.default_rng(seed).normal(0.1, 0.08, trials)
    shape = (float(m.sharpe_ratio(returns, 1.0)), returns.size, float(m.skewness(returns)), float(m.kurtosis(returns)))
    spread = float(ratios.var(ddof=1))
    assert deflation.expected_maximum_sharpe(trials, spread) == pytest.approx(
        peers.expected_max_sharpe_ratio(trials, spread**0.5), rel=1e-9
    )
    assert deflation.probabilistic_sharpe(*shape) == pytest.approx(peers.probabilistic_sharpe_ratio(returns), rel=1e-9)
    assert deflation.deflated_sharpe(*shape, trials, spread) == pytest.approx(
        peers.deflated_sharpe_ratio(returns, ratios), rel=1e-9
    )


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 9999), persistence=st.floats(-0.6, 0.8))
def test_long_run_variance_is_that_of_arch_with_its_kernel(seed: int, persistence: float) -> None:
    random = np.random.default_rng(seed)
    series = np.zeros(150)
    for t in range(1, series.size):
        series[t] = persistence * series[t - 1] + random.normal()
    rho = float(series[1:] @ series[:-1] / (series[:-1] @ series[:-1]))
    bandwidth = 2.6614 * (4.0 * rho**2 / (1.0 - rho) ** 4 * series.size) ** 0.2
    # arch weighs lag j by k(j / (bandwidth + 1)); the paper by k(j / bandwidth)
    theirs = Parzen(series, bandwidth=max(bandwidth - 1.0, 0.0), center=False).cov.long_run
    last = int(bandwidth)  # arch leaves the last lag below the bandwidth out
    gamma = float(series[last:] @ series[:-last]) / series.size if last else 0.0
    theirs = float(np.squeeze(theirs)) + 2.0 * parzen(last / bandwidth) * gamma
    if bandwidth > 1.0:
        assert long_run_variance(series) == pytest.approx(theirs * series.size / (series.size - 4), rel=1e-9)


def test_hac_of_a_sharpe_ratio_is_the_delta_method_on_statsmodels_moments() -> None:
    """For returns without serial dependence both come near Lo's (2002) √((1 + SR²/2) / n) on normal returns."""
    returns = np.random.default_rng(5).normal(0.02, 0.04, 4000)
    found = sharpe_test_hac(returns, None, 0.95)
    moments = sm.OLS(np.column_stack([returns, returns**2])[:, 0], np.ones(returns.size)).fit()
    assert found.value == pytest.approx(float(moments.params[0]) / returns.std(), rel=1e-3)
    assert (found.high - found.low) / 2 / 1.96 == pytest.approx(
        np.sqrt((1 + 0.5 * found.value**2) / returns.size), rel=0.05
    )


def test_the_stationary_bootstrap_spreads_a_mean_as_that_of_arch_and_as_its_theory() -> None:
    returns, block = returns_of(3, 200, 1), 6.0
    own = stationary_bootstrap_indices(200, block, 4000, (1, 2))
    mean, _ = resampled_moments(np.ascontiguousarray(returns), own)
    theirs = StationaryBootstrap(block, returns[:, 0], seed=7).apply(np.mean, 4000)[:, 0]
    assert mean[:, 0].std() == pytest.approx(theirs.std(), rel=0.06)
    assert mean[:, 0].std() == pytest.approx(float(np.sqrt(stationary_variance(returns, block)[0] / 200)), rel=0.06)
    low, high = percentile_interval(mean, 0.95)
    assert (low[0], high[0]) == pytest.approx(tuple(np.quantile(theirs, [0.025, 0.975])), abs=0.1 * theirs.std() * 2)
