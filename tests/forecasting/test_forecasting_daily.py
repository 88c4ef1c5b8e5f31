"""Daily form of the networks: blocks, targets and purging by hand, training against torch, planted signals and noise."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rotation_pipeline.factors.styles import STYLES
from rotation_pipeline.forecasting import network
from rotation_pipeline.forecasting.daily_inputs import DailyInputs, daily_history
from rotation_pipeline.forecasting.daily_network import (
    FittedDailyNetworks,
    block_ends,
    block_inputs,
    forward_sums,
    prepare_daily,
)
from rotation_pipeline.forecasting.errors import ForecastInputError
from rotation_pipeline.forecasting.history import DailyHistory
from rotation_pipeline.forecasting.options import NetworkOptions
from rotation_pipeline.forecasting.samples import TooLittleHistoryError, scaled_inputs
from rotation_pipeline.forecasting.tables import DAILY_FEATURES

SMALL = NetworkOptions(
    hidden=8, attention_heads=2, feed_forward=12, head_hidden=4, seeds=3, epochs=12, patience=20, dropout=0.0,
    daily_lookback=6,
)  # fmt: skip
BENCHMARK = Path(__file__).resolve().parents[2] / "benchmarks" / "bench_forecasting_network.py"


@pytest.fixture(scope="module")
def peer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bench_forecasting_daily", BENCHMARK)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def sessions(months: int = 30, seed: int = 0) -> DailyHistory:
    rng = np.random.default_rng(seed)
    count = months * 20
    return DailyHistory(
        rng.normal(0.0, 0.008, (count, 5)), rng.normal(size=(count, 7)), 2015 * 12 + np.repeat(np.arange(months), 20)
    )


def learnable(months: int, seed: int = 1) -> DailyHistory:
    """Daily returns around a slow mean, which one market feature announces: its average over the next 21 sessions."""
    rng = np.random.default_rng(seed)
    count = months * 20
    slow = np.zeros(count + 21)
    for d in range(1, count + 21):
        slow[d] = 0.93 * slow[d - 1] + rng.normal(0.0, 0.37)
    market = rng.normal(size=(count, 7))
    market[:, 3] = np.lib.stride_tricks.sliding_window_view(slow[1:], 21).mean(axis=1)
    styles = rng.normal(0.0, 0.004, (count, 5)) + 0.003 * slow[:count, None] * np.array([1.0, -1.0, 0.5, -0.5, 1.0])
    return DailyHistory(styles, market, 2015 * 12 + np.repeat(np.arange(months), 20))


def test_blocks_are_counted_back_from_the_last_session() -> None:
    np.testing.assert_array_equal(block_ends(13, 5, 0), [7, 12])
    np.testing.assert_array_equal(block_ends(13, 5, 3), [4, 9])
    np.testing.assert_array_equal(block_ends(3, 5, 0), [])
    daily = sessions(2)
    daily.styles[33, 2] = np.nan
    rows = block_inputs(daily, block_ends(40, 5, 0), 5)
    assert rows.shape == (8, 13)
    np.testing.assert_allclose(rows[7, :5], daily.styles[35:40].sum(axis=0))
    np.testing.assert_array_equal(rows[7, 5:12], daily.market[39])
    assert np.isnan(rows[6, 2])
    assert rows[6, 12] == pytest.approx(1 / 12)


def test_targets_are_the_next_sessions_and_unknown_where_one_is() -> None:
    returns = sessions(4).styles
    returns[60, 1] = np.nan
    found = forward_sums(returns, 21)
    np.testing.assert_allclose(found[10], returns[11:32].sum(axis=0))
    np.testing.assert_array_equal(np.isnan(found[:, 0]), np.arange(80) > 80 - 1 - 21)
    assert np.isnan(found[39:60, 1]).all()
    assert not np.isnan(found[38, 1])
    assert np.isnan(forward_sums(returns[:21], 21)).all()


@settings(deadline=None, max_examples=25)
@given(
    st.integers(24, 60),
    st.integers(1, 10),
    st.integers(2, 12),
    st.integers(5, 30),
    st.integers(1, 7),
    st.integers(0, 19),
)
def test_no_training_target_reaches_into_the_validation_tail(
    months: int, step: int, lookback: int, horizon: int, stride: int, cut: int
) -> None:
    """Change everything after the first validation window's last session: training blocks and statistics stay; and every
    window's target is the sum of the sessions after its last one."""
    options = replace(SMALL, daily_step=step, daily_lookback=lookback, daily_horizon=horizon, daily_stride=stride)
    whole = sessions(months, months)
    count = len(whole.styles) - cut
    daily = DailyHistory(whole.styles[:count], whole.market[:count], whole.months[:count])
    try:
        sample = prepare_daily(daily, options)
    except TooLittleHistoryError:
        return
    ends = block_ends(count, step, 0)[lookback - 1 :]
    first = ends[sample.targets.shape[1] - sample.validation]
    changed = DailyHistory(daily.styles.copy(), daily.market.copy(), daily.months)
    changed.styles[first + 1 :] += 1.0
    changed.market[first + 1 :] -= 3.0
    other = prepare_daily(changed, options)
    np.testing.assert_array_equal(sample.center, other.center)
    np.testing.assert_array_equal(sample.scale, other.scale)
    blocks = sample.blocks(lookback)
    assert len(blocks) == len(range(0, step, stride))
    for offset, (block, again) in enumerate(zip(blocks, other.blocks(lookback), strict=True)):
        np.testing.assert_array_equal(block.months, again.months)
        np.testing.assert_array_equal(block.targets, again.targets)
        assert block.windows <= sample.train
        last = block_ends(count, step, offset * stride)[lookback - 1 :][: block.windows]
        for j in (0, block.windows - 1):
            target = daily.styles[last[j] + 1 : last[j] + 1 + horizon].sum(axis=0) / sample.scale
            np.testing.assert_allclose(block.targets[:, j], target, rtol=1e-4, atol=1e-5)
            assert last[j] + horizon <= first
    # the last validation target is the last there is
    np.testing.assert_array_less(ends[sample.targets.shape[1] - 1] + horizon, count)
    assert count - 1 - (ends[sample.targets.shape[1] - 1] + horizon) < step


@pytest.mark.parametrize("encoder", network.ENCODERS)
def test_losses_follow_those_of_plain_torch_modules(peer: ModuleType, encoder: network.Encoder) -> None:
    options = replace(SMALL, daily_lookback=12, epochs=2)
    start = peer.starting_point(encoder, 24, options, daily=True)
    assert len({block.windows for block in start[0].blocks(12)}) == 2, "blocks of unequal width are part of the case"
    ours = peer.train_stacked(encoder, *start, options)
    threads = torch.get_num_threads()
    theirs = peer.train_plain(encoder, *start, options)
    torch.set_num_threads(threads)
    assert ours.shape == theirs.shape == (10, 3)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("encoder", network.ENCODERS)
def test_same_seed_same_bits_and_its_own_random_numbers(encoder: network.Encoder) -> None:
    options = replace(SMALL, dropout=0.3, epochs=4)
    daily = sessions()
    a, b = (FittedDailyNetworks(encoder, daily, 2020, 3, options).predict(daily) for _ in range(2))
    assert a.mean.tobytes() == b.mean.tobytes()
    assert a.standard_error.tobytes() == b.standard_error.tobytes()
    assert a.latent.tobytes() == b.latent.tobytes()
    drawn = [network.generators(encoder, 2020, 3, options, stream)[0].random() for stream in (0, 1)]
    assert drawn[0] != drawn[1]


def test_a_forecast_reads_the_last_blocks_only() -> None:
    daily = learnable(40)
    fitted = FittedDailyNetworks("gru", daily, 2018, 4, replace(SMALL, epochs=20, learning_rate=0.02))
    recent = DailyHistory(daily.styles[-30:], daily.market[-30:], daily.months[-30:])
    assert fitted.predict(recent).mean.tobytes() == fitted.predict(daily).mean.tobytes()
    assert (fitted.predict(daily).mean != 0.0).any()
    inputs = scaled_inputs(
        block_inputs(recent, block_ends(30, 5, 0), 5), fitted.sample.center, fitted.sample.spread, SMALL.input_limit
    )
    assert fitted.forecast(inputs).mean.tobytes() == fitted.predict(daily).mean.tobytes()
    with pytest.raises(TooLittleHistoryError, match="lower the network option daily_lookback"):
        fitted.predict(DailyHistory(daily.styles[-29:], daily.market[-29:], daily.months[-29:]))


@pytest.mark.parametrize("encoder", network.ENCODERS)
def test_planted_dynamics_are_learnt(encoder: network.Encoder) -> None:
    daily = learnable(90)
    options = replace(SMALL, epochs=20, learning_rate=0.02, patience=10)
    fitted = FittedDailyNetworks(encoder, daily.until(2015 * 12 + 69), 2020, 10, options)
    made, came = [], []
    for month in range(70, 89):
        made.append(fitted.predict(daily.until(2015 * 12 + month)).mean)
        came.append(daily.styles[(month + 1) * 20 : (month + 2) * 20].sum(axis=0))
    assert np.corrcoef(np.ravel(made), np.ravel(came))[0, 1] > 0.6


def test_noise_is_met_with_near_silence() -> None:
    means = []
    for seed in range(4):
        daily = sessions(60, 50 + seed)
        fitted = FittedDailyNetworks("gru", daily, 2020, 1, replace(SMALL, epochs=30, patience=10, learning_rate=3e-3))
        means.append(fitted.predict(daily).mean)
    assert np.sqrt(np.mean(np.square(means))) < 0.15 * 0.008 * np.sqrt(21)


def test_too_few_sessions_are_refused_by_name_and_a_late_style_has_no_forecast() -> None:
    with pytest.raises(
        TooLittleHistoryError, match=r"120 sessions leave -?\d+ training windows .* raise min_train_months"
    ):
        prepare_daily(sessions(6), SMALL)
    daily = sessions()
    daily.styles[:500, 2] = np.nan
    forecast = FittedDailyNetworks("gru", daily, 2020, 3, replace(SMALL, epochs=2)).predict(daily)
    np.testing.assert_array_equal(np.isnan(forecast.mean), [False, False, True, False, False])


# ---------------------------------------------------------------------- frames to arrays


def frames(months: int = 4) -> tuple[DailyInputs, pd.DatetimeIndex]:
    calendar = pd.date_range("2016-01-01", periods=months, freq="MS")
    days = pd.bdate_range("2016-01-01", calendar[-1] + pd.offsets.MonthEnd())
    rng = np.random.default_rng(0)
    return DailyInputs(
        pd.DataFrame(rng.normal(size=(len(days), 5)), days, list(STYLES)),
        pd.DataFrame(rng.normal(size=(len(days), 7)), days, list(DAILY_FEATURES)),
    ), calendar


def test_sessions_of_the_calendar_are_taken_in_order() -> None:
    inputs, calendar = frames()
    shuffled = DailyInputs(inputs.styles[list(reversed(STYLES))], inputs.market)
    found = daily_history(shuffled, calendar[1:3])
    inside = inputs.styles.loc["2016-02":"2016-03"]
    np.testing.assert_array_equal(found.styles, inside[list(STYLES)])
    assert found.months[0] == 2016 * 12 + 1
    assert found.until(2016 * 12 + 1).months.max() == 2016 * 12 + 1
    assert found.since(2016 * 12 + 2).months.min() == 2016 * 12 + 2
    assert len(found.until(2016 * 12 + 1).months) + len(found.since(2016 * 12 + 2).months) == len(found.months)


def test_bad_sessions_are_named() -> None:
    inputs, calendar = frames()
    styles, market = inputs.styles, inputs.market
    infinite = styles.copy()
    infinite.iloc[30, 1] = np.inf
    cases = [
        (styles.drop(columns="VAL"), market, r"daily style returns: no column \['VAL'\]"),
        (styles, market.drop(columns="trend"), r"daily market: no column \['trend'\]"),
        (styles, market.iloc[:-2], "daily market has no row for 2016-04-28"),
        (styles.loc[:"2016-03-15"], market, "no session in 2016-04"),
        (styles.iloc[::-1], market, "sessions must ascend"),
        (styles.reset_index(drop=True), market, "the index must hold sessions"),
        (infinite, market, "VAL holds an infinity"),
    ]
    for bad_styles, bad_market, message in cases:
        with pytest.raises(ForecastInputError, match=message):
            daily_history(DailyInputs(bad_styles, bad_market), calendar)
