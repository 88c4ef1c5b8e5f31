"""Walk-forward: replay equality, nulls, errors, processes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from rotation_pipeline.factors.styles import STYLES
from rotation_pipeline.forecasting import training_pool
from rotation_pipeline.forecasting.daily_inputs import DailyInputs
from rotation_pipeline.forecasting.options import ForecastOptions, NetworkOptions
from rotation_pipeline.forecasting.tables import DAILY_FEATURES, EXPERT_FORECASTS, EXPERTS, LATENT, MARKET_FEATURES
from rotation_pipeline.forecasting.walk_forward import ForecastInputError, expert_forecasts

NETWORKS = NetworkOptions(hidden=8, attention_heads=2, feed_forward=8, head_hidden=4, seeds=2, epochs=4, workers=1)
OPTIONS = ForecastOptions(min_train_months=30)
EVERY = ForecastOptions(min_train_months=30, experts=EXPERTS)
SIMPLE = ForecastOptions(
    min_train_months=30, experts=("zero", "historical_mean", "factor_momentum", "regime_mean", "pooled_ridge")
)


def inputs(months: int = 48, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    rng = np.random.default_rng(seed)
    index = pd.date_range("2016-01-01", periods=months, freq="MS", name="month")
    styles = pd.DataFrame(rng.normal(0.0, 0.03, (months, 5)), index, list(STYLES))
    market = pd.DataFrame(rng.normal(size=(months, len(MARKET_FEATURES))), index, list(MARKET_FEATURES))
    market.iloc[:9, 4:] = np.nan
    return styles, market


def sessions(styles: pd.DataFrame, seed: int = 1) -> DailyInputs:
    """Business days of the months of ``styles``."""
    rng = np.random.default_rng(seed)
    days = pd.bdate_range(styles.index[0], styles.index[-1] + pd.offsets.MonthEnd())
    return DailyInputs(
        pd.DataFrame(rng.normal(0.0, 0.007, (len(days), 5)), days, list(STYLES)),
        pd.DataFrame(rng.normal(size=(len(days), len(DAILY_FEATURES))), days, list(DAILY_FEATURES)),
    )


def cut(daily: DailyInputs, month: pd.Timestamp) -> DailyInputs:
    """The sessions up to a month's last."""
    end = month + pd.offsets.MonthEnd()
    return DailyInputs(daily.styles.loc[:end], daily.market.loc[:end])


def at(frame: pd.DataFrame, month: pd.Timestamp) -> pd.DataFrame:
    return frame[frame["month"] == month].reset_index(drop=True)


def test_month_alone_month_in_range_and_cut_data_give_the_same_bits() -> None:
    styles, market = inputs()
    months = list(styles.index[39:43])
    whole = expert_forecasts(styles, market, months, OPTIONS, NETWORKS)
    month = months[1]
    later_styles, later_market = styles.copy(), market.copy()
    later_styles.loc[later_styles.index > month] = 0.5
    later_market.loc[later_market.index > month] = -7.0
    variants = [
        expert_forecasts(styles, market, [month], OPTIONS, NETWORKS),
        expert_forecasts(styles.loc[:month], market.loc[:month], [month], OPTIONS, NETWORKS),
        expert_forecasts(later_styles, later_market, months, OPTIONS, NETWORKS),
    ]
    for other in variants:
        pd.testing.assert_frame_equal(at(whole.forecasts, month), at(other.forecasts, month), check_exact=True)
        pd.testing.assert_frame_equal(at(whole.latent, month), at(other.latent, month), check_exact=True)
    assert whole.forecasts["mean"].notna().all()


def test_every_expert_gives_the_same_bits_alone_in_a_range_and_from_cut_data() -> None:
    styles, market = inputs()
    daily = sessions(styles)
    months = list(styles.index[43:46])  # August to October: the daily networks of August and September share July's fit
    month = months[1]
    networks = NetworkOptions(**{**NETWORKS.__dict__, "daily_lookback": 6, "epochs": 2})
    whole = expert_forecasts(styles, market, months, EVERY, networks, daily=daily)
    later_styles, later_market, later_daily = styles.copy(), market.copy(), sessions(styles)
    later_styles.loc[later_styles.index > month] = 0.5
    later_market.loc[later_market.index > month] = -7.0
    for frame in (later_daily.styles, later_daily.market):
        frame.loc[frame.index > month + pd.offsets.MonthEnd()] = 0.3
    variants = [
        expert_forecasts(styles, market, [month], EVERY, networks, daily=daily),
        expert_forecasts(styles.loc[:month], market.loc[:month], [month], EVERY, networks, daily=cut(daily, month)),
        expert_forecasts(later_styles, later_market, months, EVERY, networks, daily=later_daily),
    ]
    for other in variants:
        pd.testing.assert_frame_equal(at(whole.forecasts, month), at(other.forecasts, month), check_exact=True)
        pd.testing.assert_frame_equal(at(whole.latent, month), at(other.latent, month), check_exact=True)
    assert set(whole.forecasts["expert"]) == set(EXPERTS)
    assert whole.forecasts[["mean", "standard_error"]].notna().all(axis=None)
    assert set(whole.latent["expert"]) == {name for name in EXPERTS if name.startswith("network_")}
    # and the changed future is seen by those whose turn it is
    last = [at(found.forecasts, months[2]).set_index(["expert", "style"]) for found in (whole, variants[2])]
    for name in EXPERTS:
        assert not last[0].loc[name].equals(last[1].loc[name]), name


def test_daily_networks_are_refitted_by_their_own_calendar() -> None:
    styles, market = inputs()
    daily = sessions(styles)
    options = ForecastOptions(min_train_months=30, experts=("zero", "network_gru_daily"))
    networks = NetworkOptions(**{**NETWORKS.__dict__, "daily_lookback": 6, "daily_refit_every": 3})
    seen: list[tuple[int, int]] = []
    months = list(styles.index[42:46])  # July to October 2019: fits of July and October
    found = expert_forecasts(
        styles, market, months, options, networks, lambda done, total: seen.append((done, total)), daily=daily
    )
    assert seen[-1] == (6, 6)
    own = found.forecasts[found.forecasts["expert"] == "network_gru_daily"]
    assert len(set(own.groupby("month")["mean"].first())) > 1
    monthly = NetworkOptions(**{**networks.__dict__, "daily_refit_every": 1})
    every = expert_forecasts(styles, market, months[:2], options, monthly, daily=daily)
    pd.testing.assert_frame_equal(at(found.forecasts, months[0]), at(every.forecasts, months[0]), check_exact=True)


def test_a_rolling_window_forgets_sessions_too() -> None:
    styles, market = inputs(60)
    daily = sessions(styles)
    experts = ("zero", "jump_model", "network_gru_daily")
    options = ForecastOptions(window="rolling", rolling_months=36, min_train_months=36, experts=experts)
    month = [styles.index[-1]]
    base = expert_forecasts(styles, market, month, options, NETWORKS, daily=daily)
    daily.styles.iloc[: 24 * 20] += 0.3
    other = expert_forecasts(styles, market, month, options, NETWORKS, daily=daily)
    pd.testing.assert_frame_equal(base.forecasts, other.forecasts, check_exact=True)


def test_experts_that_look_at_sessions_need_them() -> None:
    styles, market = inputs()
    options = ForecastOptions(min_train_months=30, experts=("zero", "jump_model", "network_gru_daily"))
    with pytest.raises(ForecastInputError, match=r"\['jump_model', 'network_gru_daily'\] look at sessions"):
        expert_forecasts(styles, market, [styles.index[40]], options, NETWORKS)
    short = ForecastOptions(min_train_months=12, experts=("zero", "network_lstm_daily"))
    networks = NetworkOptions(**{**NETWORKS.__dict__, "daily_lookback": 60})
    with pytest.raises(
        training_pool.NetworkTrainingError, match=r"network_lstm_daily, 2017-01: .*raise min_train_months"
    ):
        expert_forecasts(styles, market, [styles.index[13]], short, networks, daily=sessions(styles))


def test_rows_are_complete_sorted_and_null_until_there_is_history() -> None:
    styles, market = inputs()
    styles.iloc[:15, 4] = np.nan
    seen: list[tuple[int, int]] = []
    months = [styles.index[k] for k in (2, 28, 29, 47)]
    result = expert_forecasts(styles, market, months, OPTIONS, NETWORKS, lambda done, total: seen.append((done, total)))
    frame = result.forecasts
    assert list(frame.columns) == EXPERT_FORECASTS.stored_names
    assert list(result.latent.columns) == LATENT.stored_names
    assert len(frame) == 4 * len(OPTIONS.experts) * 5
    pd.testing.assert_frame_equal(frame, frame.sort_values(list(EXPERT_FORECASTS.key), ignore_index=True))
    early = frame[frame["month"] < months[2]]
    assert early.loc[early["expert"] == "zero", "mean"].eq(0.0).all()
    assert early.loc[early["expert"] != "zero", ["mean", "standard_error"]].isna().all(axis=None)
    spoken = frame[(frame["month"] >= months[2]) & (frame["expert"] != "zero")]
    late_style = (spoken["style"] == styles.columns[4]) & (spoken["month"] == months[2])
    pd.testing.assert_series_equal(spoken["mean"].isna(), late_style, check_names=False)
    assert set(result.latent["month"]) == set(months[2:])
    assert len(result.latent) == 2 * 2 * NETWORKS.hidden
    assert seen == [(k, 8) for k in range(1, 9)]


def test_refits_follow_the_calendar_and_use_current_inputs() -> None:
    styles, market = inputs()
    options = ForecastOptions(min_train_months=30, refit_every=3, experts=("zero", "network_lstm"))
    months = list(styles.index[42:45])  # July, August, September 2019 share July's fit
    assert months[0].month == 7
    whole = expert_forecasts(styles, market, months, options, NETWORKS)
    alone = expert_forecasts(styles.loc[: months[1]], market.loc[: months[1]], [months[1]], options, NETWORKS)
    pd.testing.assert_frame_equal(at(whole.forecasts, months[1]), alone.forecasts, check_exact=True)
    every = expert_forecasts(
        styles, market, months, ForecastOptions(min_train_months=30, experts=("zero", "network_lstm")), NETWORKS
    )
    pd.testing.assert_frame_equal(at(whole.forecasts, months[0]), at(every.forecasts, months[0]), check_exact=True)
    latent = whole.latent.groupby("month")["value"].apply(lambda values: tuple(values))
    assert len(set(latent)) == 3


def test_rolling_window_forgets() -> None:
    styles, market = inputs(60)
    options = ForecastOptions(window="rolling", rolling_months=36, min_train_months=36)
    month = [styles.index[-1]]
    base = expert_forecasts(styles, market, month, options, NETWORKS)
    styles.iloc[:24] += 0.3
    pd.testing.assert_frame_equal(base.forecasts, expert_forecasts(styles, market, month, options, NETWORKS).forecasts)


def test_processes_change_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    styles, market = inputs()
    months = list(styles.index[44:46])
    one = expert_forecasts(styles, market, months, OPTIONS, NETWORKS)
    monkeypatch.setattr(training_pool, "MIN_TASKS_PER_WORKER", 1)
    two = expert_forecasts(styles, market, months, OPTIONS, NetworkOptions(**{**NETWORKS.__dict__, "workers": 2}))
    pd.testing.assert_frame_equal(one.forecasts, two.forecasts, check_exact=True)
    pd.testing.assert_frame_equal(one.latent, two.latent, check_exact=True)


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_in_a_fit_reaches_the_caller_with_its_month(monkeypatch: pytest.MonkeyPatch, workers: int) -> None:
    monkeypatch.setattr(training_pool, "MIN_TASKS_PER_WORKER", 1)
    styles, market = inputs(24)
    options = ForecastOptions(min_train_months=20, experts=("zero", "network_lstm"))
    networks = NetworkOptions(**{**NETWORKS.__dict__, "workers": workers})
    with pytest.raises(
        training_pool.NetworkTrainingError, match=r"network_lstm, 2017-(09|10): .*raise min_train_months to 25"
    ):
        expert_forecasts(styles, market, list(styles.index[20:22]), options, networks)


def test_bad_inputs_are_named() -> None:
    styles, market = inputs()
    month = [styles.index[40]]
    gap = styles.copy()
    gap.iloc[20, 1] = np.nan
    with pytest.raises(ForecastInputError, match="VAL has a gap in 2017-09"):
        expert_forecasts(gap, market, month, SIMPLE, NETWORKS)
    with pytest.raises(ForecastInputError, match="market has no row for 2019-12"):
        expert_forecasts(styles, market.iloc[:-1], month, SIMPLE, NETWORKS)
    with pytest.raises(ForecastInputError, match="consecutive first days, but position 5"):
        expert_forecasts(styles.drop(styles.index[5]), market, month, SIMPLE, NETWORKS)
    with pytest.raises(ForecastInputError, match="drawdown"):
        expert_forecasts(styles, market.drop(columns="drawdown"), month, SIMPLE, NETWORKS)
    with pytest.raises(ForecastInputError, match="month 2030-01 is requested"):
        expert_forecasts(styles, market, [pd.Timestamp("2030-01-01")], SIMPLE, NETWORKS)
    with pytest.raises(ForecastInputError, match="'zero'"):
        expert_forecasts(styles, market, month, ForecastOptions(experts=("historical_mean",)), NETWORKS)
    infinite = market.copy()
    infinite.iloc[3, 1] = np.inf
    with pytest.raises(ForecastInputError, match="volatility holds an infinity"):
        expert_forecasts(styles, infinite, month, SIMPLE, NETWORKS)


def test_nothing_requested_gives_empty_tables() -> None:
    result = expert_forecasts(*inputs(), [], SIMPLE, NETWORKS)
    assert result.forecasts.empty
    assert list(result.forecasts.columns) == EXPERT_FORECASTS.stored_names
