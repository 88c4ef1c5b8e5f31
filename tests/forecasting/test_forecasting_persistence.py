"""Time-series momentum and the random walk of the rank against slow references, on planted markets and on noise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from rotation_pipeline.forecasting.history import History
from rotation_pipeline.forecasting.options import ForecastOptions
from rotation_pipeline.forecasting.persistence import (
    RankRandomWalk,
    TimeSeriesMomentum,
    rank_scores,
    trailing_deviations,
)

OPTIONS = ForecastOptions()


def history(styles: np.ndarray) -> History:
    return History(styles, np.full((len(styles), 7), np.nan), 2019, 12)


def noise(months: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.0, 0.035, (months, 5))


def wandering(months: int, seed: int, persistence: float) -> np.ndarray:
    """Returns with autoregressive expectations."""
    rng = np.random.default_rng(seed)
    level = np.zeros((months, 5))
    for t in range(1, months):
        level[t] = persistence * level[t - 1] + rng.normal(0.0, 0.01, 5)
    return level + rng.normal(0.0, 0.02, (months, 5))


def slow_z(values: np.ndarray) -> tuple[float, float]:
    deviation = values[-OPTIONS.time_series_volatility_months :].std(ddof=1)
    z = [values[-j:].sum() / (deviation * np.sqrt(j)) for j in OPTIONS.momentum_spans]
    return float(np.mean([min(max(one, -2.0), 2.0) for one in z])), float(deviation)


def slow_slope(x: np.ndarray, y: np.ndarray) -> float:
    good = np.isfinite(x) & np.isfinite(y)
    months = good.any(axis=1).sum()
    if months < 6:
        return 0.0
    return float(
        (x[good] * y[good]).sum() / ((x[good] ** 2).sum() * (1.0 + OPTIONS.momentum_shrinkage_months / months))
    )


def test_time_series_momentum_equals_its_formula() -> None:
    styles = wandering(60, 0, 0.9)
    expert = TimeSeriesMomentum(OPTIONS)
    expert.fit(history(styles))
    mean, error = expert.predict(history(styles))
    z, deviation = (np.full((60, 5), np.nan) for _ in range(2))
    for t in range(17, 60):
        for k in range(5):
            z[t, k], deviation[t, k] = slow_z(styles[: t + 1, k])
    units = np.full((60, 5), np.nan)
    units[:-1] = styles[1:] / deviation[:-1]
    slopes = [max(0.0, slow_slope(z[:t], units[:t])) for t in range(60)]
    assert expert.slope == pytest.approx(slopes[59])
    assert expert.slope > 0.0
    np.testing.assert_allclose(mean, slopes[59] * deviation[59] * z[59])
    errors = np.array([styles[t + 1] - slopes[t] * deviation[t] * z[t] for t in range(17, 59)])
    np.testing.assert_allclose(error, np.sqrt((errors**2).mean(axis=0)))
    seen = expert.signals(styles)[0]
    np.testing.assert_allclose(seen[17:], z[17:])
    assert np.isnan(seen[:17]).all(), "half of three years of returns before a volatility"


def test_one_extreme_month_does_not_speak_loudest() -> None:
    styles = noise(80, 1)
    loud = styles.copy()
    loud[-1, 0] = 0.5
    limit = OPTIONS.time_series_limit
    z = TimeSeriesMomentum(OPTIONS).signals(loud)[0]
    assert np.nanmax(np.abs(z)) <= limit
    assert z[-1, 0] == pytest.approx(limit, abs=0.3)


def test_time_series_momentum_is_found_and_reversal_silences_it() -> None:
    found = TimeSeriesMomentum(OPTIONS)
    found.fit(history(wandering(300, 2, 0.95)))
    assert found.slope > 0.1
    rng = np.random.default_rng(3)
    shocks = rng.normal(0.0, 0.03, (300, 5))
    reversing = shocks.copy()
    reversing[1:] -= 0.6 * shocks[:-1]
    found.fit(history(reversing))
    assert found.slope == 0.0
    mean, error = found.predict(history(reversing))
    np.testing.assert_array_equal(mean, 0.0)
    assert (error > 0.0).all()


@pytest.mark.parametrize("make", [TimeSeriesMomentum, RankRandomWalk])
def test_noise_is_met_with_near_silence(make: type[TimeSeriesMomentum | RankRandomWalk]) -> None:
    means = []
    for seed in range(20):
        h = history(noise(100, 50 + seed))
        expert = make(OPTIONS)
        expert.fit(h)
        means.append(expert.predict(h)[0])
    assert np.sqrt(np.mean(np.square(means))) < 0.1 * 0.035


def slow_walk(styles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(s u, relative returns) without missing values."""
    apart = styles - styles.mean(axis=1, keepdims=True)
    scores = np.empty_like(styles)
    for t in range(len(styles)):
        size = np.sqrt((apart[: t + 1] ** 2).mean())
        for k in range(5):
            rank = 1 + sum(styles[t, j] < styles[t, k] for j in range(5))
            scores[t, k] = size * norm.ppf((rank - 3 / 8) / (5 + 1 / 4))
    return scores, apart


def test_rank_random_walk_equals_its_formula() -> None:
    styles = wandering(60, 4, 0.9)
    expert = RankRandomWalk(OPTIONS)
    expert.fit(history(styles))
    mean, error = expert.predict(history(styles))
    scores, apart = slow_walk(styles)

    def share(t: int) -> float:
        return min(max(slow_slope(scores[:t], apart[1 : t + 1]), 0.0), 1.0)

    assert 0.0 < expert.persistence < 1.0
    np.testing.assert_allclose(mean, share(59) * scores[59])
    assert mean.sum() == pytest.approx(0.0, abs=1e-15)
    errors = np.array([styles[t + 1] - share(t) * scores[t] for t in range(59)])
    np.testing.assert_allclose(error, np.sqrt((errors**2).mean(axis=0)))


def test_a_ranking_that_stays_is_walked_on() -> None:
    rng = np.random.default_rng(5)
    styles = np.array([0.02, 0.01, 0.0, -0.01, -0.02]) + rng.normal(0.0, 0.002, (120, 5))
    expert = RankRandomWalk(ForecastOptions(momentum_shrinkage_months=0.0))
    expert.fit(history(styles))
    assert expert.persistence > 0.95
    mean, _ = expert.predict(history(styles))
    np.testing.assert_allclose(mean, [0.02, 0.01, 0.0, -0.01, -0.02], atol=0.004)
    alternating = styles * np.where(np.arange(120) % 2, 1.0, -1.0)[:, None]
    expert.fit(history(alternating))
    assert expert.persistence == 0.0


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.integers(0, 4))
def test_rank_scores_keep_order_sum_to_zero_and_ignore_the_unknown(seed: int, missing: int) -> None:
    rng = np.random.default_rng(seed)
    row = rng.normal(size=5)
    row[rng.permutation(5)[:missing]] = np.nan
    scores = rank_scores(row[None])[0]
    known = ~np.isnan(row)
    np.testing.assert_array_equal(np.isnan(scores), ~known)
    assert scores[known].sum() == pytest.approx(0.0, abs=1e-12)
    np.testing.assert_array_equal(np.argsort(scores[known]), np.argsort(row[known]))
    np.testing.assert_allclose(rank_scores(np.exp(row)[None])[0], scores)


def test_ties_share_a_score_and_missing_styles_stay_missing() -> None:
    np.testing.assert_array_equal(rank_scores(np.array([[1.0, 1.0, np.nan]])), [[0.0, 0.0, np.nan]])
    styles = noise(60, 6)
    styles[:50, 3] = np.nan
    for make in (TimeSeriesMomentum, RankRandomWalk):
        expert = make(OPTIONS)
        expert.fit(history(styles))
        mean, error = expert.predict(history(styles))
        assert np.isfinite(np.delete(mean, 3)).all()
        assert np.isfinite(np.delete(error, 3)).all()
    assert np.isnan(trailing_deviations(styles, 36)[:, 3]).all()
