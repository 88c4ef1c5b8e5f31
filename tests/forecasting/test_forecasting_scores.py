"""Scores against references and by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy.stats import norm, spearmanr

from rotation_pipeline.factors.styles import STYLES
from rotation_pipeline.forecasting.mixture import mix
from rotation_pipeline.forecasting.options import ForecastOptions
from rotation_pipeline.forecasting.scores import (
    clark_west,
    diebold_mariano,
    forecast_scores,
    hit_rate,
    out_of_sample_r2,
    rank_correlation,
)
from rotation_pipeline.forecasting.tables import SCORES
from rotation_pipeline.forecasting.walk_forward import expert_forecasts

OPTIONS = ForecastOptions(
    min_train_months=20, min_score_months=6, experts=("zero", "historical_mean", "factor_momentum")
)


def test_clark_west_is_the_regression_on_a_constant() -> None:
    rng = np.random.default_rng(0)
    outcome, forecast = rng.normal(size=60), rng.normal(0.2, 0.5, 60)
    benchmark = np.full(60, 0.1)
    adjusted = (outcome - benchmark) ** 2 - (outcome - forecast) ** 2 + (benchmark - forecast) ** 2
    reference = sm.OLS(adjusted, np.ones(60)).fit()
    statistic, p = clark_west(outcome, benchmark, forecast)
    assert statistic == pytest.approx(reference.tvalues[0])
    assert p == pytest.approx(norm.sf(statistic))
    assert all(np.isnan(clark_west(outcome, benchmark, benchmark)))


def test_clark_west_by_hand() -> None:
    # f = 2 (r − b)(m − b): 2·[1·1, −1·1, 2·1, 1·(−1)] = [2, −2, 4, −2]; mean ½, sd 3 (Σ dev² = 27, n − 1 = 3)
    statistic, p = clark_west(np.array([1.0, -1.0, 2.0, 1.0]), np.zeros(4), np.array([1.0, 1.0, 1.0, -1.0]))
    assert statistic == pytest.approx(0.5 / (3.0 / 2.0))
    assert p == pytest.approx(0.36944134018176367)


def test_clark_west_has_its_size_where_the_naive_test_has_none() -> None:
    rng = np.random.default_rng(1)
    rejected = 0
    for _ in range(400):
        outcome, forecast = rng.normal(size=100), rng.normal(0.0, 0.3, 100)
        rejected += clark_west(outcome, np.zeros(100), forecast)[1] < 0.1
    assert rejected / 400 == pytest.approx(0.1, abs=0.04)


@pytest.mark.parametrize("horizon", [1, 3])
def test_diebold_mariano_is_the_corrected_mean_test(horizon: int) -> None:
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=80) ** 2, rng.normal(size=80) ** 2 * 0.8
    uniform = sm.stats.sandwich_covariance.weights_uniform
    fit = sm.OLS(a - b, np.ones(80)).fit(
        cov_type="HAC", cov_kwds={"maxlags": horizon - 1, "weights_func": uniform, "use_correction": False}
    )
    correction = (80 + 1 - 2 * horizon + horizon * (horizon - 1) / 80) / 80
    statistic, p = diebold_mariano(a, b, horizon)
    assert statistic == pytest.approx(fit.tvalues[0] * np.sqrt(correction))
    assert 0.0 < p < 1.0
    assert diebold_mariano(b, a, horizon)[0] == pytest.approx(-statistic)
    assert np.isnan(diebold_mariano(a, a)[0])


def test_small_measures() -> None:
    r, f = np.array([1.0, -1.0, 2.0, 0.5]), np.array([0.5, 0.5, 0.0, 1.0])
    assert out_of_sample_r2(r, f, np.zeros(4)) == pytest.approx(1.0 - (0.25 + 2.25 + 4.0 + 0.25) / 6.25)
    assert np.isnan(out_of_sample_r2(r, f, r))
    assert hit_rate(r, f) == pytest.approx(2 / 3)
    assert np.isnan(hit_rate(r, np.zeros(4)))
    assert rank_correlation(r, f) == pytest.approx(spearmanr(r, f).statistic)
    assert np.isnan(rank_correlation(r, np.ones(4)))


@pytest.fixture(scope="module")
def made() -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    from rotation_pipeline.forecasting.options import NetworkOptions
    from rotation_pipeline.forecasting.tables import MARKET_FEATURES

    rng = np.random.default_rng(5)
    index = pd.date_range("2015-01-01", periods=45, freq="MS", name="month")
    styles = pd.DataFrame(rng.normal(0.002, 0.03, (45, 5)), index, list(STYLES))
    market = pd.DataFrame(np.nan, index, list(MARKET_FEATURES))
    forecasts = expert_forecasts(styles, market, list(index), OPTIONS, NetworkOptions()).forecasts
    return forecasts, mix(forecasts, styles, list(index), OPTIONS).forecasts, styles


def test_table_holds_the_numbers_one_computes_by_hand(made: tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]) -> None:
    forecasts, mixture, styles = made
    month = styles.index[40]
    scores = forecast_scores(forecasts, mixture, styles, [month], OPTIONS).set_index(["expert", "style"])
    assert len(scores) == 4 * 6
    wide = forecasts[forecasts["expert"] == "factor_momentum"].pivot(index="month", columns="style", values="mean")[
        list(STYLES)
    ]
    rows = range(19, 40)  # 20 months of history stamp the first forecast; the outcome of row 39 is row 40
    y = styles.to_numpy()[20:41]
    m = wide.to_numpy()[19:40]
    b = np.array([styles.to_numpy()[: t + 1].mean(axis=0) for t in rows])
    got = scores.loc[("factor_momentum", "ALL")]
    assert got["months"] == 21
    assert got["r2_out_of_sample"] == pytest.approx(1 - ((y - m) ** 2).sum() / ((y - b) ** 2).sum())
    assert got["squared_error_gain"] == pytest.approx(((y - b) ** 2).sum() - ((y - m) ** 2).sum())
    assert got["hit_rate"] == pytest.approx((np.sign(y) == np.sign(m)).mean())
    assert got["rank_correlation"] == pytest.approx(
        np.mean([spearmanr(a, c).statistic for a, c in zip(y, m, strict=True)])
    )
    ry, rm = y - y.mean(axis=1, keepdims=True), m - m.mean(axis=1, keepdims=True)
    assert got["r2_relative"] == pytest.approx(1 - ((ry - rm) ** 2).sum() / (ry**2).sum())
    val = scores.loc[("factor_momentum", "VAL")]
    assert val["r2_relative"] == pytest.approx(1 - ((ry - rm)[:, 1] ** 2).sum() / (ry[:, 1] ** 2).sum())
    assert val["clark_west_t"] == pytest.approx(clark_west(y[:, 1], b[:, 1], m[:, 1])[0])
    assert np.isnan(val["rank_correlation"])
    losses = [((y - v) ** 2).mean(axis=1) for v in (b, m)]
    assert got["diebold_mariano_t"] == pytest.approx(diebold_mariano(*losses)[0])


def test_zero_mean_and_mixture_rows(made: tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]) -> None:
    forecasts, mixture, styles = made
    scores = forecast_scores(forecasts, mixture, styles, [styles.index[40]], OPTIONS).set_index(["expert", "style"])
    assert scores.loc[("historical_mean", "ALL"), "r2_out_of_sample"] == 0.0
    assert np.isnan(scores.loc[("historical_mean", "ALL"), "clark_west_t"])
    assert np.isnan(scores.loc[("zero", "ALL"), "hit_rate"])
    assert scores.loc[("zero", "ALL"), "r2_relative"] == 0.0
    assert scores["months"].eq(21).all()
    rows = mixture.merge(
        styles.shift(-1).rename_axis(columns="style").stack().rename("outcome").reset_index(), on=["month", "style"]
    )
    rows = rows[(rows["month"] >= styles.index[19]) & (rows["month"] < styles.index[40])]
    inside = ((rows["outcome"] >= rows["low"]) & (rows["outcome"] <= rows["high"])).mean()
    assert scores.loc[("mixture", "ALL"), "coverage"] == pytest.approx(inside)


def test_early_months_are_null_and_replay_is_exact(made: tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]) -> None:
    forecasts, mixture, styles = made
    months = list(styles.index)
    whole = forecast_scores(forecasts, mixture, styles, months, OPTIONS)
    assert list(whole.columns) == SCORES.stored_names
    assert len(whole) == 45 * 24
    early = whole[whole["month"] == styles.index[10]]
    assert early["months"].eq(0).all()
    assert early["r2_out_of_sample"].isna().all()
    for column in SCORES.columns:
        if not column.nullable:
            assert whole[column.name].notna().all(), column.name
    month = styles.index[38]
    cut = [f[f["month"] <= month] for f in (forecasts, mixture)]
    changed = styles.copy()
    changed.loc[changed.index > month] = 1.0
    expected = whole[whole["month"] == month].reset_index(drop=True)
    for other in (
        forecast_scores(*cut, styles.loc[:month], [month], OPTIONS),
        forecast_scores(forecasts, mixture, changed, [month], OPTIONS),
    ):
        pd.testing.assert_frame_equal(expected, other, check_exact=True)


def test_an_experts_interval_is_its_normal_one(made: tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]) -> None:
    forecasts, mixture, styles = made
    scores = forecast_scores(forecasts, mixture, styles, [styles.index[40]], OPTIONS).set_index(["expert", "style"])
    outcome = styles.shift(-1).rename_axis(columns="style").stack().rename("outcome").reset_index()
    for expert in ("factor_momentum", "historical_mean"):
        rows = forecasts[forecasts["expert"] == expert].merge(outcome, on=["month", "style"])
        rows = rows[(rows["month"] >= styles.index[19]) & (rows["month"] < styles.index[40])]
        spread = (rows["outcome"] - rows["mean"]).abs() / rows["standard_error"]
        inside = spread.le(norm.ppf(0.9))  # a central interval of 80 % ends at the 90 % quantile
        assert scores.loc[(expert, "ALL"), "coverage"] == pytest.approx(inside.mean())
        val = rows["style"].eq("VAL").to_numpy()
        assert scores.loc[(expert, "VAL"), "coverage"] == pytest.approx(inside[val].mean())
