"""Statistics of series: published cases, statsmodels, empyrical."""

from __future__ import annotations

import math

import empyrical
import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from rotation_pipeline.factors import statistics

NAN = float("nan")
SERIES = st.lists(st.floats(-0.3, 0.3).map(lambda v: round(v, 4)), min_size=5, max_size=80).filter(
    lambda values: len(set(values)) > 3
)


@settings(deadline=None, max_examples=25)
@given(SERIES, st.integers(0, 4))
def test_newey_west_is_statsmodels_hac(values: list[float], lags: int) -> None:
    for chosen in (lags, None):
        maxlags = lags if chosen is not None else math.floor(4 * (len(values) / 100) ** (2 / 9))
        model = sm.OLS(values, np.ones(len(values))).fit(
            cov_type="HAC", cov_kwds={"maxlags": maxlags, "use_correction": False}
        )
        assert statistics.newey_west_t(values, chosen) == pytest.approx(model.tvalues[0], rel=1e-8, abs=1e-12)


@pytest.mark.parametrize(("n", "lags"), [(3, 1), (12, 2), (100, 4), (127, 4), (128, 4), (400, 5), (1, 0), (0, 0)])
def test_lag_rule(n: int, lags: int) -> None:
    assert statistics.newey_west_lags(n) == lags


def test_newey_west_edges() -> None:
    assert math.isnan(statistics.newey_west_t([0.01, 0.02]))
    assert math.isnan(statistics.newey_west_t([0.1] * 40))
    assert statistics.newey_west_t([0.01, NAN, 0.02, 0.05]) == statistics.newey_west_t([0.01, 0.02, 0.05])
    with pytest.raises(ValueError, match="lags = 3"):
        statistics.newey_west_t([0.01, 0.02, 0.05], 3)


def test_max_drawdown_published_case() -> None:
    # empyrical-reloaded efe6066, tests/test_stats.py, TestStats.test_max_drawdown (Apache-2.0)
    cases = {
        -0.1: [NAN, 0.01, 0.1, -0.04, 0.02, 0.03, 0.02, 0.01, -0.1],
        -0.3659073: [0.0, -0.06, -0.07, -0.01, -0.09, -0.02, -0.06, -0.08, -0.05],
        -0.378589157: [-0.02, -0.06, -0.07, -0.01, -0.09, -0.02, -0.06, -0.08, -0.05],
        -0.10000000000000009: [0.1, -0.1, 0.1],
        0.0: [0.01, 0.02, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01],
    }
    for expected, returns in cases.items():
        assert statistics.max_drawdown(returns) == pytest.approx(expected, abs=1e-8)
    assert statistics.max_drawdown([0.5, -1.2, 0.5]) == -1.0
    assert math.isnan(statistics.max_drawdown([]))


@settings(deadline=None, max_examples=25)
@given(SERIES)
def test_agreement_with_empyrical(values: list[float]) -> None:
    series = pd.Series(values)
    assert statistics.sharpe(values) == pytest.approx(
        empyrical.sharpe_ratio(series, annualization=12), rel=1e-9, abs=1e-12
    )
    assert statistics.max_drawdown(values) == pytest.approx(empyrical.max_drawdown(series), abs=1e-9)


@settings(deadline=None, max_examples=25)
@given(SERIES, st.integers(0, 1000))
def test_correlations_are_scipys(values: list[float], seed: int) -> None:
    other = np.random.default_rng(seed).integers(0, 6, len(values)).astype(float)
    if len(set(other.tolist())) < 2:
        other[0] += 1
    assert statistics.pearson(values, other) == pytest.approx(stats.pearsonr(values, other)[0], abs=1e-10)
    assert statistics.spearman(values, other) == pytest.approx(stats.spearmanr(values, other)[0], abs=1e-10)
    holed = [NAN, *values]
    assert statistics.spearman(holed, [1.0, *other]) == statistics.spearman(values, other)


def test_correlation_edges() -> None:
    assert math.isnan(statistics.spearman([1.0, 2.0], [1.0, 2.0]))
    assert math.isnan(statistics.pearson([0.1] * 5, [1.0, 2.0, 3.0, 4.0, 5.0]))
    with pytest.raises(ValueError, match="one length"):
        statistics.pearson([1.0], [1.0, 2.0])


@settings(deadline=None, max_examples=25)
@given(SERIES)
def test_describe_is_the_functions_bit_for_bit(values: list[float]) -> None:
    holed = [*values, NAN]
    got = statistics.describe(holed)
    assert got == (
        len(values), statistics.mean(holed), statistics.newey_west_t(holed), statistics.ratio_of_mean_to_deviation(holed),
        statistics.share_above_zero(holed), statistics.max_drawdown(holed),
    )  # fmt: skip
    assert statistics.column_means(np.array([holed, holed]).T.copy()).tolist() == [statistics.mean(values)] * 2


def test_small_series() -> None:
    assert statistics.describe([])[0] == 0
    assert all(math.isnan(value) for value in statistics.describe([])[1:])
    assert statistics.standard_deviation([0.1] * 9) == 0.0
    assert math.isnan(statistics.standard_deviation([0.1]))
    assert math.isnan(statistics.sharpe([0.1, 0.2]))
    assert statistics.share_above_zero([0.0, 1.0]) == 0.5
