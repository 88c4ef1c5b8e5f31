"""The jump-model expert: features and means against slow references, planted states, silence on noise, no look ahead."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from rotation_pipeline.forecasting.history import DailyHistory, History
from rotation_pipeline.forecasting.jump_states import JumpModel, _Sessions, conditional_means, features
from rotation_pipeline.forecasting.options import ForecastOptions
from rotation_pipeline.regimes.jump import jump_loss, online_path
from rotation_pipeline.regimes.jump_detector import best_jump_fit

OPTIONS = ForecastOptions()
A_MONTH = 20


def market(months: int, seed: int, premium: float, spell: int = 18, styles: int = 5) -> tuple[History, np.ndarray]:
    """Styles that earn ``premium`` a month in calm spells of their own and lose it in stormy ones; the states by month."""
    rng = np.random.default_rng(seed)
    state = np.stack([np.repeat(rng.permutation(months // spell + 2) % 2, spell)[:months] for _ in range(styles)], 1)
    by_day = np.repeat(state, A_MONTH, axis=0)
    daily = rng.normal(size=by_day.shape) * np.where(by_day == 1, 0.012, 0.006)
    daily += premium / A_MONTH * np.where(by_day == 1, -1.0, 1.0)
    monthly = daily.reshape(months, A_MONTH, styles).sum(axis=1)
    first = 2010 * 12
    ordinals = first + np.repeat(np.arange(months), A_MONTH)
    last = first + months - 1
    sessions = DailyHistory(daily, np.full((len(daily), 7), np.nan), ordinals)
    return History(monthly, np.full((months, 7), np.nan), last // 12, last % 12 + 1, sessions), state


def test_features_equal_exponentially_weighted_means_of_pandas() -> None:
    returns = np.random.default_rng(0).normal(0.0, 0.01, 300)
    found = features(returns, (10.0, 20.0, 60.0))
    series = pd.Series(returns)

    def downside(halflife: float) -> pd.Series:
        return np.sqrt((np.minimum(series, 0.0) ** 2).ewm(halflife=halflife).mean())

    np.testing.assert_allclose(found[:, 0], downside(10.0), rtol=1e-10)
    for column, halflife in ((1, 20.0), (2, 60.0)):
        ratio = series.ewm(halflife=halflife).mean() / np.maximum(downside(halflife), 1e-8)
        np.testing.assert_allclose(found[:, column], ratio, rtol=1e-9)
    cut = features(returns[:120], (10.0, 20.0, 60.0))
    np.testing.assert_array_equal(found[:120], cut)


def test_means_are_those_after_the_state_shrunk_to_zero() -> None:
    states = np.array([-1, 0, 0, 1, 0, 1])
    returns = np.array([np.nan, np.nan, 0.02, 0.04, -0.01, 0.03])
    found = conditional_means(states, returns, 2.0)
    after = {0: [], 1: []}
    for t in range(6):
        if t and states[t - 1] >= 0 and np.isfinite(returns[t]):
            after[int(states[t - 1])].append(returns[t])
        expected = sum(after.get(int(states[t]), [])) / (len(after.get(int(states[t]), [])) + 2.0) if t else np.nan
        np.testing.assert_allclose(found[t], expected)


def slow(h: History, k: int) -> tuple[float, list[float]]:
    """Forecast and errors of one style, every past forecast made by itself from a history cut at its month."""
    assert h.daily is not None
    first = h.ordinal - len(h.styles) + 1

    def states(fit: int, until: int) -> list[int]:
        keep = h.daily.months <= first + until
        rows = features(h.daily.styles[keep, k], OPTIONS.jump_halflives)[20:]
        own = h.daily.months[keep][20:]
        seen = rows[own <= first + fit]
        x = np.clip((rows - seen.mean(0)) / seen.std(0), -3.0, 3.0)
        fitted = x[: len(seen)]
        starts = []
        for column in (-1, 0):
            half = fitted[:, column] > np.median(fitted[:, column])
            starts.append(np.array([fitted[half].mean(0), fitted[~half].mean(0)]))
        path = online_path(
            jump_loss(x, best_jump_fit(fitted, starts, OPTIONS.jump_penalty).centres), OPTIONS.jump_penalty
        )
        return [int(path[own == first + t][-1]) if (own == first + t).any() else -1 for t in range(until + 1)]

    def forecast(fit: int, t: int) -> float:
        labels = states(fit, t)
        after = [h.styles[s + 1, k] for s in range(t) if labels[s] == labels[t]]
        return sum(after) / (len(after) + OPTIONS.regime_shrinkage_months)

    last = len(h.styles) - 1
    errors = []
    for t in range(last):
        januaries = [
            r for r in range(t + 1) if (first + r) % 12 == 0 and (r + 1) * A_MONTH - 20 >= OPTIONS.jump_min_sessions
        ]
        if januaries:
            errors.append(h.styles[t + 1, k] - forecast(januaries[-1], t))
    return forecast(last, last), errors


def test_forecast_and_error_equal_forecasts_made_month_by_month_from_cut_histories() -> None:
    h, _ = market(42, 1, 0.03, spell=9)
    expert = JumpModel(OPTIONS)
    expert.fit(h)
    mean, error = expert.predict(h)
    for k in (0, 3):
        expected, errors = slow(h, k)
        assert len(errors) > 12
        assert mean[k] == pytest.approx(expected, abs=1e-12)
        assert error[k] == pytest.approx(np.sqrt(np.mean(np.square(errors))), abs=1e-12)


def test_planted_states_are_found_and_their_premium_is_forecast() -> None:
    right, signs = [], []
    for seed in range(6):
        h, state = market(120, 10 + seed, 0.03)
        assert h.daily is not None
        sessions = _Sessions(h.daily.styles[:, 0], h.daily.months, h.daily.months[0], 120, OPTIONS.jump_halflives)
        found = sessions.states(119, OPTIONS.jump_penalty)[2:]
        agreement = (found == state[2:, 0]).mean()
        right.append(max(agreement, 1.0 - agreement))
        expert = JumpModel(OPTIONS)
        expert.fit(h)
        mean, error = expert.predict(h)
        signs += list(np.sign(mean) == np.where(state[-1] == 1, -1.0, 1.0))
        assert (error > 0.0).all()
    assert np.mean(right) > 0.85
    assert np.mean(signs) > 0.8


def test_noise_is_met_with_near_silence() -> None:
    means = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        daily = rng.normal(0.0, 0.008, (100 * A_MONTH, 5))
        ordinals = 2010 * 12 + np.repeat(np.arange(100), A_MONTH)
        h = History(
            daily.reshape(100, A_MONTH, 5).sum(1), np.full((100, 7), np.nan), 2018, 4,
            DailyHistory(daily, np.full((2000, 7), np.nan), ordinals),
        )  # fmt: skip
        expert = JumpModel(OPTIONS)
        expert.fit(h)
        means.append(expert.predict(h)[0])
    assert np.sqrt(np.mean(np.square(means))) < 0.12 * 0.008 * np.sqrt(A_MONTH)


def test_later_sessions_change_no_earlier_state() -> None:
    h, _ = market(60, 3, 0.03)
    assert h.daily is not None
    whole, cut = (
        _Sessions(d.styles[:, 0], d.months, d.months[0], n, OPTIONS.jump_halflives)
        for d, n in ((h.daily, 60), (h.daily.until(h.ordinal - 20), 40))
    )
    np.testing.assert_array_equal(whole.states(39, 50.0)[:40], cut.states(39, 50.0))


def test_a_style_without_a_year_of_sessions_and_a_month_without_one_are_silent() -> None:
    h, _ = market(40, 4, 0.02)
    assert h.daily is not None
    h.daily.styles[: 29 * A_MONTH, 2] = np.nan
    h.styles[:29, 2] = np.nan
    h.daily.styles[-A_MONTH:, 4] = np.nan
    expert = JumpModel(OPTIONS)
    expert.fit(h)
    mean, error = expert.predict(h)
    np.testing.assert_array_equal(np.isnan(mean), [False, False, True, False, True])
    np.testing.assert_array_equal(np.isnan(error), np.isnan(mean))


def test_a_style_that_never_moves_is_one_state() -> None:
    h, _ = market(40, 5, 0.02)
    assert h.daily is not None
    h.daily.styles[:, 1] = 0.0
    h.styles[:, 1] = 0.0
    expert = JumpModel(OPTIONS)
    expert.fit(h)
    assert expert.predict(h)[0][1] == 0.0


def test_a_history_without_sessions_is_refused() -> None:
    h, _ = market(30, 6, 0.0)
    expert = JumpModel(OPTIONS)
    with pytest.raises(RuntimeError, match="needs fit"):
        expert.predict(h)
    expert.fit(h)
    with pytest.raises(ValueError, match="the history has none"):
        expert.predict(History(h.styles, h.market, h.year, h.month))
