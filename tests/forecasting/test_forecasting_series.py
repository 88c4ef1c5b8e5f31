"""The walk-forward on any return series: what the graph's own experts say, and nothing from later months."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from rotation_pipeline.factors.styles import STYLES
from rotation_pipeline.forecasting.mixture import mix
from rotation_pipeline.forecasting.options import ForecastOptions, NetworkOptions
from rotation_pipeline.forecasting.series import MIXED, MIXTURE, SeriesForecasts, market_state, past_errors, walk_series
from rotation_pipeline.forecasting.tables import MARKET_FEATURES
from rotation_pipeline.forecasting.walk_forward import ForecastInputError, MonthlyPanel, expert_forecasts

OPTIONS = ForecastOptions(refit_every=6, momentum_spans=(1, 12))
QUICK = NetworkOptions(hidden=4, attention_heads=2, feed_forward=4, head_hidden=2, seeds=1, epochs=2, workers=1)
FIRST = 47


def panel_of(returns: np.ndarray) -> MonthlyPanel:
    calendar = pd.date_range("1970-01-01", periods=len(returns), freq="MS", name="month")
    names = tuple(f"series {k}" for k in range(returns.shape[1]))
    return MonthlyPanel(calendar, names, returns, market_state(returns[:, 0]))


def returns_of(months: int = 66, count: int = 6) -> np.ndarray:
    return np.random.default_rng(9).normal(0.004, 0.03, (months, count))


@pytest.fixture(scope="module")
def found() -> SeriesForecasts:
    return walk_series(panel_of(returns_of()), FIRST, OPTIONS, QUICK)


def test_later_months_change_nothing(found: SeriesForecasts) -> None:
    changed = returns_of()
    changed[58:] = 0.3
    for other in (changed, returns_of()[:58]):
        again = walk_series(panel_of(other), FIRST, OPTIONS, QUICK)
        for name, mean in found.means.items():
            assert np.isnan(mean[:FIRST]).all()
            assert (mean[FIRST:58] == again.means[name][FIRST:58]).all(), name
        assert (found.weights[:58] == again.weights[:58]).all()


def test_simple_experts_and_mixture_are_those_of_the_graph() -> None:
    """On five series named as the styles are, with the market features left empty on both sides."""
    returns = returns_of(60, 5)
    calendar = pd.date_range("1970-01-01", periods=60, freq="MS", name="month")
    styles = pd.DataFrame(returns, calendar, list(STYLES))
    market = pd.DataFrame(np.nan, calendar, list(MARKET_FEATURES))
    options = dataclasses.replace(OPTIONS, refit_every=1, experts=MIXED)
    theirs = expert_forecasts(styles, market, list(calendar[FIRST:]), options, QUICK).forecasts
    panel = MonthlyPanel(pd.DatetimeIndex(calendar), STYLES, returns, market.to_numpy())
    ours = walk_series(panel, FIRST, options, QUICK)
    for name in MIXED:
        wide = theirs[theirs["expert"] == name].pivot(index="month", columns="style", values="mean")
        assert (wide[list(STYLES)].to_numpy() == ours.means[name][FIRST:]).all(), name
    mixed = mix(theirs, styles, list(calendar[FIRST:]), options)
    wide = mixed.forecasts.pivot(index="month", columns="style", values="mean")[list(STYLES)].to_numpy()
    np.testing.assert_array_equal(wide, ours.means[MIXTURE][FIRST:])
    error = mixed.forecasts.pivot(index="month", columns="style", values="standard_error")[list(STYLES)].to_numpy()
    made = past_errors(ours.means[MIXTURE], returns, options.loss_memory_months)[FIRST:]
    np.testing.assert_array_equal(error, made)


def test_a_span_alone_is_factor_momentum_of_that_span(found: SeriesForecasts) -> None:
    alone = dataclasses.replace(OPTIONS, momentum_spans=(12,))
    again = walk_series(found.panel, FIRST, alone, QUICK)
    assert (again.means["factor_momentum"][FIRST:] == found.means["factor_momentum_12"][FIRST:]).all()
    assert (found.means["factor_momentum_1"][FIRST:] != found.means["factor_momentum_12"][FIRST:]).all()


def test_the_market_state_is_that_of_the_months_so_far() -> None:
    market = np.random.default_rng(2).normal(0.01, 0.05, 40)
    state = market_state(market)
    assert np.isnan(state[10, 1:3]).all()
    window = market[19:31]
    expected = [market[30], window.std(ddof=1), window.mean()]
    np.testing.assert_allclose(state[30, :3], expected, rtol=1e-12)
    wealth = np.cumprod(1.0 + market[:31])
    assert state[30, 3] == pytest.approx(wealth[-1] / max(1.0, wealth.max()) - 1.0)
    assert (market_state(market[:31])[30] == state[30]).all()


def test_too_little_history_and_gaps_are_refused() -> None:
    with pytest.raises(ForecastInputError, match="begin later"):
        walk_series(panel_of(returns_of()), 20, OPTIONS, QUICK)
    gap = returns_of()
    gap[3, 2] = np.nan
    with pytest.raises(ForecastInputError, match="a return is missing"):
        walk_series(panel_of(gap), FIRST, OPTIONS, QUICK)
