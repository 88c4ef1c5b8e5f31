"""Pooled regressions: solvers against scikit-learn and LightGBM themselves, recovery of a planted driver, silence on noise."""

from __future__ import annotations

import builtins
import sys
from typing import Any

import lightgbm
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cross_decomposition import PLSRegression
from sklearn.linear_model import ElasticNet

from rotation_pipeline.forecasting.errors import ForecastInputError
from rotation_pipeline.forecasting.history import History
from rotation_pipeline.forecasting.options import ForecastOptions
from rotation_pipeline.forecasting.pooled import (
    PooledElasticNet,
    PooledLightGBM,
    PooledPLS,
    PooledRegression,
    PooledRidge,
    elastic_net,
    partial_least_squares,
)

OPTIONS = ForecastOptions()
NEW = (PooledElasticNet, PooledPLS, PooledLightGBM)


def problem(seed: int, rows: int = 90, columns: int = 14) -> tuple[np.ndarray, np.ndarray]:
    """Correlated predictors, some of which matter."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, columns)) + 0.8 * rng.normal(size=(rows, 1))
    return x, x[:, :3] @ [0.5, -0.4, 0.3] + rng.normal(size=rows)


def history(months: int = 60, seed: int = 0) -> History:
    rng = np.random.default_rng(seed)
    return History(rng.normal(0.0, 0.035, (months, 5)), rng.normal(size=(months, 7)), 2019, 12)


@pytest.mark.parametrize("penalty", [0.001, 0.03, 0.2])
@pytest.mark.parametrize("ratio", [0.1, 0.5, 1.0])
def test_elastic_net_solves_what_sklearn_solves(penalty: float, ratio: float) -> None:
    x, y = problem(0)
    peer = ElasticNet(alpha=penalty, l1_ratio=ratio, fit_intercept=False, tol=1e-15, max_iter=1_000_000)
    found = elastic_net(x, y, penalty, ratio)
    np.testing.assert_allclose(found, peer.fit(x, y).coef_, atol=1e-8)
    assert (found != 0.0).any()


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.floats(0.01, 1.0), st.floats(0.1, 1.0), st.booleans())
def test_elastic_net_meets_its_optimality_conditions(seed: int, penalty: float, ratio: float, more: bool) -> None:
    """Zero is in the subdifferential: x'(y − Xβ)/n − ridge β = lasso · sign β where β ≠ 0, at most lasso elsewhere; also
    with more predictors than rows."""
    x, y = problem(seed, rows=20 if more else 60, columns=30 if more else 8)
    beta = elastic_net(x, y, penalty, ratio, start=np.full(x.shape[1], 0.3))
    slope = x.T @ (y - x @ beta) / len(y) - penalty * (1.0 - ratio) * beta
    alive = beta != 0.0
    np.testing.assert_allclose(slope[alive], penalty * ratio * np.sign(beta[alive]), atol=1e-8)
    assert (np.abs(slope[~alive]) <= penalty * ratio + 1e-8).all()
    np.testing.assert_allclose(beta, elastic_net(x, y, penalty, ratio), atol=1e-8)


def test_a_large_penalty_drops_every_predictor_and_a_constant_zero_column_stays_out() -> None:
    x, y = problem(1)
    x[:, 4] = 0.0
    assert elastic_net(x, y, 1e-4, 0.5)[4] == 0.0
    largest = np.abs(x.T @ y).max() / len(y) / 0.5
    np.testing.assert_array_equal(elastic_net(x, y, 1.0001 * largest, 0.5), 0.0)
    assert (elastic_net(x, y, 0.9999 * largest, 0.5) != 0.0).sum() == 1


def test_partial_least_squares_are_sklearns() -> None:
    x, y = problem(2)
    found = partial_least_squares(x, y, 6)
    for components, beta in enumerate(found, 1):
        peer = PLSRegression(components, scale=False).fit(x, y)
        np.testing.assert_allclose(beta, peer.coef_[0], atol=1e-10)
        rows = np.random.default_rng(3).normal(size=(5, x.shape[1]))
        predictor = PooledPLS(OPTIONS).fitted(x, y, [float(components)])[0]
        np.testing.assert_allclose(predictor(rows), peer.predict(rows).ravel(), atol=1e-10)
    # all components: least squares
    whole = partial_least_squares(x, y, x.shape[1])[-1]
    np.testing.assert_allclose(whole, np.linalg.lstsq(x - x.mean(0), y - y.mean(), rcond=None)[0], atol=1e-8)


def test_partial_least_squares_stop_when_nothing_is_left() -> None:
    x, y = problem(4, columns=5)
    assert partial_least_squares(x, np.full(len(y), 2.0), 3) == []
    exact = partial_least_squares(x[:, :1], 3.0 * x[:, 0] + 1.0, 3)
    assert len(exact) == 1
    assert exact[0][0] == pytest.approx(3.0)
    assert partial_least_squares(np.zeros_like(x), y, 2) == []
    level = PooledPLS(OPTIONS).fitted(x, np.full(len(y), 2.0), [0.0, 2.0])
    assert level[1](x[:2]).tolist() == [0.0, 0.0], "without a component there is no forecast"


def test_trees_read_at_a_number_are_those_trained_to_it_and_none_forecast_zero() -> None:
    x, y = problem(5, rows=300)
    model = PooledLightGBM(OPTIONS)
    none, few, many = model.fitted(x, y, [0.0, 10.0, 40.0])
    np.testing.assert_array_equal(none(x), 0.0)
    booster = lightgbm.train(model._parameters(), lightgbm.Dataset(x, y), 10)
    np.testing.assert_array_equal(few(x), booster.predict(x))
    assert ((y - many(x)) ** 2).mean() < ((y - few(x)) ** 2).mean() < (y**2).mean()
    assert few(x).tobytes() == PooledLightGBM(OPTIONS).fitted(x, y, [10.0])[0](x).tobytes()
    # too few rows for one split
    np.testing.assert_array_equal(model.fitted(x[:40], y[:40], [40.0])[0](x), 0.0)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **named: Any) -> Any:
        if name == "lightgbm":
            raise ImportError(name)
        return real(name, *rest, **named)

    monkeypatch.delitem(sys.modules, "lightgbm")
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ForecastInputError, match="needs the package lightgbm"):
        PooledLightGBM(OPTIONS).fitted(*problem(0), [10.0])


@pytest.mark.parametrize("make", NEW)
def test_a_market_driver_is_learnt(make: type[PooledRegression]) -> None:
    planted = history(150, 3)
    planted.styles[1:, 1] += 0.05 * planted.market[:-1, 0]
    expert = make(OPTIONS)
    expert.fit(planted)
    answers = []
    for value in (2.0, -2.0):
        planted.market[-1] = 0.0
        planted.market[-1, 0] = value
        answers.append(expert.predict(planted)[0][1])
    assert answers[0] > 0.01
    assert answers[1] < -0.01


@pytest.mark.parametrize("make", NEW)
def test_noise_is_met_with_silence(make: type[PooledRegression]) -> None:
    """Over 12 markets without structure: mostly no forecast at all, and none worth a fifth of a standard deviation."""
    means = []
    for seed in range(12):
        noise = history(100, 100 + seed)
        expert = make(OPTIONS)
        expert.fit(noise)
        means.append(expert.predict(noise)[0])
    assert np.mean([(mean == 0.0).all() for mean in means]) >= 0.5
    assert np.sqrt(np.mean(np.square(means))) < 0.2 * 0.035


@pytest.mark.parametrize("make", [PooledRidge, *NEW])
def test_folds_are_predicted_from_what_lies_before_them(make: type[PooledRegression]) -> None:
    """The error reported is the least of the candidates' on the folds, made again here one by one."""
    h = history(70, 6)
    h.styles[1:] += 0.02 * h.market[:-1, :1]
    expert = make(OPTIONS)
    expert.fit(h)
    edges = [11 + round(k * 58 / 5) for k in range(1, 5)]
    errors = []
    for candidate in expert.candidates():
        squares = []
        for start, stop in zip(edges, [*edges[1:], 69], strict=True):
            # what was known at the close of month ``start``, and nothing else, fits and scales
            known = h.until(start + 1)
            x, y = reference_rows(known, known, range(11, start), expert.interacted)
            spread = x.std(axis=0)
            spread[spread < 1e-12] = 1.0
            predictor = expert.fitted(x / spread, y, [candidate])[0]
            x, y = reference_rows(h, known, range(start, stop), expert.interacted)
            squares.append((y - predictor(x / spread)) ** 2)
        errors.append(np.sqrt(np.concatenate(squares).mean()))
    assert expert.penalty == expert.candidates()[int(np.argmin(errors))]
    np.testing.assert_allclose(expert.predict(h)[1], min(errors) * np.sqrt(h.styles.var(axis=0)), rtol=1e-8)


def reference_rows(h: History, known: History, months: range, interacted: bool) -> tuple[np.ndarray, np.ndarray]:
    """Predictors and targets written out one by one, measured by the statistics of ``known``."""
    sigma = np.sqrt(known.styles.var(axis=0))
    mean, deviation = known.market.mean(axis=0), known.market.std(axis=0, ddof=1)
    x, y = [], []
    for t in months:
        scaled = [min(max(value, -4.0), 4.0) for value in (h.market[t] - mean) / deviation]
        for i in range(h.styles.shape[1]):
            own = [h.styles[t - lag, i] for lag in (0, 1, 2)]
            own += [h.styles[t - span + 1 : t + 1, i].mean() for span in (3, 6, 12)]
            dummies = [float(i == j) for j in range(h.styles.shape[1])]
            spread = [d * value for d in dummies for value in scaled] if interacted else scaled
            x.append([value / sigma[i] for value in own] + dummies + spread)
            y.append(h.styles[t + 1, i] / sigma[i])
    return np.array(x), np.array(y)


@pytest.mark.parametrize("make", NEW)
def test_silent_without_enough_months_and_takes_missing_features(make: type[PooledRegression]) -> None:
    short = history(20)
    expert = make(OPTIONS)
    expert.fit(short)
    assert np.isnan(np.array(expert.predict(short))).all()
    h = history(60)
    h.market[:, 4:] = np.nan
    h.market[30:33, 0] = np.nan
    h.styles[:30, 3] = np.nan
    expert.fit(h)
    mean, error = expert.predict(h)
    assert np.isfinite(mean).all()
    assert (error > 0.0).all()
    h.styles[-1, 2] = np.nan
    mean, error = expert.predict(h)
    assert np.isnan([mean[2], error[2]]).all()
