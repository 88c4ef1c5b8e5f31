"""Simple experts against slow references written from their formulas."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge

from rotation_pipeline.forecasting.experts import (
    Expert,
    FactorMomentum,
    HistoricalMean,
    History,
    PooledRidge,
    RegimeMean,
    Zero,
    expanding_means,
    root_mean_square,
)
from rotation_pipeline.forecasting.options import ForecastOptions

OPTIONS = ForecastOptions()


def history(months: int = 60, seed: int = 0, styles: int = 5) -> History:
    rng = np.random.default_rng(seed)
    return History(rng.normal(0.004, 0.035, (months, styles)), rng.normal(size=(months, 7)), 2019, 12)


def test_zero_expects_nothing_and_errs_by_the_return() -> None:
    h = history()
    mean, error = Zero().predict(h)
    np.testing.assert_array_equal(mean, np.zeros(5))
    np.testing.assert_allclose(error, np.sqrt((h.styles**2).mean(axis=0)))


def test_historical_mean_and_its_walk_forward_errors() -> None:
    h = history()
    h.styles[:9, 2] = np.nan
    mean, error = HistoricalMean().predict(h)
    np.testing.assert_allclose(mean, np.nanmean(h.styles, axis=0))
    for k in range(5):
        values = h.styles[~np.isnan(h.styles[:, k]), k]
        errors = [values[t] - values[:t].mean() for t in range(1, len(values))]
        assert error[k] == pytest.approx(np.sqrt(np.mean(np.square(errors))))


def slow_signal(values: np.ndarray, options: ForecastOptions) -> float:
    means = []
    for span in options.momentum_spans:
        weights = [0.5 ** (age / options.momentum_halflife) for age in range(span)]
        means.append(sum(w * values[-1 - age] for age, w in enumerate(weights)) / sum(weights))
    return float(np.mean(means) - values.mean())


def test_factor_momentum_equals_its_formula() -> None:
    h = history(40)
    expert = FactorMomentum(OPTIONS)
    expert.fit(h)
    mean, error = expert.predict(h)
    x = np.full((40, 5), np.nan)
    y = np.full((40, 5), np.nan)
    for t in range(11, 40):
        for k in range(5):
            x[t, k] = slow_signal(h.styles[: t + 1, k], OPTIONS)
            if t + 1 < 40:
                y[t, k] = h.styles[t + 1, k] - h.styles[: t + 1, k].mean()
    # scale: surprises of all months, the first year's included
    surprises = np.array([h.styles[t + 1] - h.styles[: t + 1].mean(axis=0) for t in range(39)])
    scale = np.sqrt((surprises**2).mean(axis=0))
    a, b = (x / scale)[11:39], (y / scale)[11:39]
    slope = (a * b).sum() / ((a * a).sum() * (1 + OPTIONS.momentum_shrinkage_months / 28))
    assert expert.slope == pytest.approx(slope)
    np.testing.assert_allclose(mean, h.styles.mean(axis=0) + slope * x[39])
    assert (error > 0.0).all()


def test_factor_momentum_finds_planted_momentum_and_reversal() -> None:
    rng = np.random.default_rng(2)
    for sign in (1.0, -1.0):
        level = np.zeros((400, 5))
        for t in range(1, 400):
            level[t] = 0.7 * sign * level[t - 1] + rng.normal(0.0, 0.02, 5)
        expert = FactorMomentum(ForecastOptions(momentum_spans=(1,)))
        expert.fit(History(level, np.zeros((400, 7)), 2020, 1))
        assert expert.slope * sign > 0.5


def with_regimes(months: int, seed: int) -> History:
    """The last three market features are probabilities; style 0 earns 3 % a month after regime 2."""
    h = history(months, seed)
    state = np.random.default_rng(seed + 1).integers(0, 3, months)
    h.market[:, 4:] = np.where(state[:, None] == np.arange(3), 0.8, 0.1)
    h.styles[1:, 0] += 0.03 * (state[:-1] == 2)
    return h


def test_regime_mean_equals_its_formula() -> None:
    h = with_regimes(50, 0)
    h.market[:7, 4:] = np.nan
    h.styles[:12, 3] = np.nan
    expert = RegimeMean(OPTIONS, 3)
    expert.fit(h)
    mean, error = expert.predict(h)

    def forecast(t: int, k: int) -> float:
        total = 0.0
        for regime in (4, 5, 6):
            pairs = [
                (h.market[s, regime], h.styles[s + 1, k])
                for s in range(t)
                if np.isfinite(h.market[s, regime] + h.styles[s + 1, k])
            ]
            total += (
                h.market[t, regime]
                * sum(p * r for p, r in pairs)
                / (sum(p for p, _ in pairs) + OPTIONS.regime_shrinkage_months)
            )
        return total

    for k in range(5):
        assert mean[k] == pytest.approx(forecast(49, k))
        errors = [h.styles[t + 1, k] - forecast(t, k) for t in range(49)]
        errors = [e for e in errors if np.isfinite(e)]
        assert error[k] == pytest.approx(np.sqrt(np.mean(np.square(errors))))


def test_regime_mean_finds_the_premium_and_is_silent_without_probabilities() -> None:
    h = with_regimes(150, 2)
    expert = RegimeMean(OPTIONS, 3)
    expert.fit(h)
    h.market[-1, 4:] = [0.0, 0.0, 1.0]
    after = expert.predict(h)[0]
    assert after[0] == max(after)
    assert after[0] > 0.01
    h.market[-1, 4:] = [1.0, 0.0, 0.0]
    assert expert.predict(h)[0][0] < after[0] - 0.01
    h.market[-1, 4] = np.nan
    assert np.isnan(np.array(expert.predict(h))).all()


def test_ridge_solves_what_sklearn_solves() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(80, 12)), rng.normal(size=80)
    np.testing.assert_allclose(
        PooledRidge._solve(x, y, 7.0), Ridge(alpha=7.0, fit_intercept=False).fit(x, y).coef_, atol=1e-10
    )


def test_ridge_learns_a_market_driver_and_shrinks_noise() -> None:
    planted, noise = history(120, 3), history(120, 4)
    planted.styles[1:, 1] += 0.04 * planted.market[:-1, 0]
    learned, empty = PooledRidge(OPTIONS), PooledRidge(OPTIONS)
    learned.fit(planted)
    empty.fit(noise)
    assert learned.penalty < empty.penalty
    planted.market[-1] = 0.0
    planted.market[-1, 0] = 2.0
    up, error = learned.predict(planted)
    assert up[1] == max(up)
    assert up[1] > 0.02
    assert np.abs(empty.predict(noise)[0]).max() < 0.01
    assert (error > 0.0).all()


def test_ridge_is_silent_without_enough_months_and_takes_missing_features() -> None:
    short = history(20)
    expert = PooledRidge(OPTIONS)
    expert.fit(short)
    assert np.isnan(expert.predict(short)[0]).all()
    h = history(60)
    h.market[:, 4:] = np.nan
    h.market[30:33, 0] = np.nan
    h.styles[:30, 3] = np.nan
    expert.fit(h)
    assert np.isfinite(expert.predict(h)[0]).all()


def test_history_until_names_its_month() -> None:
    h = history(30)
    cut = h.until(17)
    assert (cut.year, cut.month) == (2018, 11)
    assert len(cut.styles) == 17


@pytest.mark.parametrize(
    "make",
    [
        Zero,
        HistoricalMean,
        lambda: FactorMomentum(OPTIONS),
        lambda: PooledRidge(OPTIONS),
        lambda: RegimeMean(OPTIONS, 3),
    ],
)
def test_the_future_changes_nothing(make: type[Expert]) -> None:
    whole = history(80)
    cut = whole.until(60)
    changed = History(whole.styles.copy(), whole.market.copy(), whole.year, whole.month)
    changed.styles[60:] = 9.0
    changed.market[60:] = -9.0
    answers = []
    for source in (cut, changed.until(60)):
        expert = make()
        expert.fit(source)
        answers.append(expert.predict(source))
    for a, b in zip(*answers, strict=True):
        assert a.tobytes() == b.tobytes()


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.integers(1, 30), st.integers(0, 8))
def test_expanding_means_equal_means(seed: int, months: int, missing: int) -> None:
    values = np.random.default_rng(seed).normal(size=(months, 3))
    values[:missing, 0] = np.nan
    means = expanding_means(values)
    for t in range(months):
        known = values[: t + 1, 0][~np.isnan(values[: t + 1, 0])]
        assert np.isnan(means[t, 0]) if not len(known) else means[t, 0] == pytest.approx(known.mean())
        np.testing.assert_allclose(means[t, 1:], values[: t + 1, 1:].mean(axis=0))


def test_error_needs_six_months() -> None:
    values = np.ones((6, 2))
    values[0, 1] = np.nan
    np.testing.assert_array_equal(root_mean_square(values), [1.0, np.nan])
