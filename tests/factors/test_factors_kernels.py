"""Rolling factors: against the slow definitions, at their edges, and the same bits whatever else is asked for."""

from __future__ import annotations

import math
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from factors_reference import Market, key_of, make_market, slow_price_factors, slow_rsi
from hypothesis import given, settings
from hypothesis import strategies as st

from rotation_pipeline.factors import kernels
from rotation_pipeline.factors.errors import BadInput, MissingInput
from rotation_pipeline.factors.options import FactorOptions
from rotation_pipeline.factors.raw import COMPILED as PRICE_FACTORS
from rotation_pipeline.factors.raw import compute_raw_factors
from rotation_pipeline.market.calendar import add_months

OPTIONS = FactorOptions()


@pytest.fixture(scope="module")
def market() -> Market:
    return make_market(7)


def raw_of(market: Market, months: list[date], options: FactorOptions = OPTIONS) -> pl.DataFrame:
    return compute_raw_factors(
        market.bars, market.index_daily, market.snapshot, market.universe, market.sessions, months, options
    )


def with_bars(market: Market, bars: pl.DataFrame) -> Market:
    return Market(bars, market.index_daily, market.snapshot, market.universe, market.sessions, market.months)


def value(frame: pl.DataFrame, name: str, number: int) -> float | None:
    return frame.filter(pl.col("asset_key") == key_of(number))[name][0]


def one_window(
    price: np.ndarray, ret: np.ndarray | None = None, *, lookback: int | None = None, annual: float = 1.0
) -> np.ndarray:
    """The five factors of one asset that trades every session, at the last one; months of 21 sessions; a flat index."""
    n = price.size
    months = np.append(np.arange(20, n - 1, 21), n - 1)
    lead = kernels.LEAD
    return kernels.month_end_factors(
        np.concatenate((np.zeros(lead), np.arange(n))).astype(np.int32), np.array([lead]), np.array([lead + n]),
        np.concatenate((np.ones(lead), price)), np.concatenate((np.ones(lead), np.zeros(n) if ret is None else ret)),
        np.zeros(n), np.array([max(n - (lookback or n), 0)]), np.array([n - 1]), months, np.zeros((1, 1), np.int32), 1,
        0.8, 252, 120, annual,
    )  # fmt: skip


@settings(deadline=None, max_examples=3)
@given(st.integers(0, 10_000))
def test_kernels_equal_the_slow_definitions(seed: int) -> None:
    market = make_market(seed, n_assets=12, n_months=30)
    months = [market.months[i] for i in (0, 4, 8, 20, 25, 29)]
    raw = raw_of(market, months)
    assert raw.height > 40
    for row in raw.iter_rows(named=True):
        expected = slow_price_factors(market, row["asset_key"], row["month"])
        for name in PRICE_FACTORS:
            got = math.nan if row[name] is None else row[name]
            assert got == pytest.approx(expected[name], rel=1e-10, abs=1e-12, nan_ok=True), (name, row["month"])


def test_a_month_alone_from_its_own_window_equals_the_backfill_bit_for_bit(market: Market) -> None:
    everything = raw_of(market, market.months)
    for month in (market.months[3], market.months[28], market.months[-1]):
        until = add_months(month, 1)
        days = market.sessions[market.sessions < np.datetime64(until)][-OPTIONS.lookback_sessions :]
        inside = pl.col("day").is_between(days[0].item(), days[-1].item())
        alone = compute_raw_factors(
            market.bars.filter(inside), market.index_daily.filter(inside), market.snapshot.filter(pl.col("month") == month),
            market.universe.filter(pl.col("month") == month), days, [month], OPTIONS,
        )  # fmt: skip
        assert alone.equals(everything.filter(pl.col("month") == month))


def test_later_data_and_other_months_change_nothing(market: Market) -> None:
    month = market.months[26]
    cut = pl.col("day") < add_months(month, 1)
    early = compute_raw_factors(
        market.bars.filter(cut), market.index_daily.filter(cut), market.snapshot.filter(pl.col("month") <= month),
        market.universe.filter(pl.col("month") <= month), market.sessions[market.sessions < np.datetime64(add_months(month, 1))],
        [month], OPTIONS,
    )  # fmt: skip
    for months in (market.months, [market.months[2], month], [month, market.months[-1]]):
        assert early.equals(raw_of(market, months).filter(pl.col("month") == month))


def test_the_order_of_rows_does_not_matter(market: Market) -> None:
    months = market.months[-3:]
    expected = raw_of(market, months)
    for bars in (
        market.bars.sort("day", "asset_key"),
        market.bars.reverse(),
        market.bars.sample(fraction=1.0, shuffle=True, seed=3),
    ):
        assert raw_of(with_bars(market, bars), months).equals(expected)


def test_prices_older_than_the_lookback_are_ignored(market: Market) -> None:
    month = market.months[-1]
    options = FactorOptions(lookback_sessions=130)
    first = market.sessions[-130].item()
    doubled = pl.when(pl.col("day") < first).then(pl.col("adj_close") * 2).otherwise(pl.col("adj_close"))
    other = with_bars(market, market.bars.with_columns(doubled.alias("adj_close")))
    assert raw_of(market, [month], options).equals(raw_of(other, [month], options))
    assert not raw_of(market, [month]).equals(raw_of(other, [month]))


def test_a_name_suspended_at_the_month_end_keeps_its_last_trading_days_values(market: Market) -> None:
    month, number = market.months[-1], 1
    last = market.sessions[-1].item()
    stop = last - timedelta(days=60)
    mask = (pl.col("asset_key") == key_of(number)) & (pl.col("day") > stop)
    bars = market.bars.with_columns(
        pl.when(mask).then(True).otherwise(pl.col("is_suspended")).alias("is_suspended"),
        pl.when(~mask).then(pl.col("ret")).alias("ret"),
    )
    got = raw_of(with_bars(market, bars), [month])
    expected = slow_price_factors(with_bars(market, bars), key_of(number), month)
    for name in PRICE_FACTORS:
        assert value(got, name, number) == pytest.approx(expected[name], rel=1e-11)
    assert value(got, "mom_20", number) != value(raw_of(market, [month]), "mom_20", number)


def test_eighty_percent_of_a_window_suffices_and_less_is_null(market: Market) -> None:
    month, number = market.months[-1], 1
    for rows, known in (
        (17, {"mom_20", "rsi_14"}),
        (16, {"rsi_14"}),
        (13, {"rsi_14"}),
        (12, set()),
        (49, {"mom_20", "rsi_14", "volatility_60"}),
        (48, {"mom_20", "rsi_14"}),
    ):
        first = market.sessions[-rows].item()
        bars = market.bars.filter((pl.col("asset_key") != key_of(number)) | (pl.col("day") >= first))
        got = raw_of(with_bars(market, bars), [month])
        assert {name for name in PRICE_FACTORS if value(got, name, number) is not None} == known


def test_beta_needs_its_own_minimum_and_pairs_a_resumption_with_the_index_of_its_span() -> None:
    market = make_market(3, n_assets=8, n_months=30)
    number, month = 1, market.months[-1]
    index = market.index_daily["ret"].to_numpy()
    traded = np.arange(index.size) % 3 == 0
    level = np.cumprod(1 + index)
    price = 5.0 * level**1.0
    ret = np.full(index.size, np.nan)
    positions = np.flatnonzero(traded)
    ret[positions[1:]] = 0.001 + 1.5 * (price[positions[1:]] / price[positions[:-1]] - 1)
    own = pl.DataFrame({
        "day": market.sessions, "asset_key": np.full(index.size, key_of(number), np.int32), "close": price, "adj_close": price,
        "ret": ret, "is_suspended": ~traded,
    }).with_columns(pl.col("ret").fill_nan(None), pl.col("day").dt.month_start().alias("month"))  # fmt: skip
    bars = pl.concat([market.bars.filter(pl.col("asset_key") != key_of(number)), own.select(market.bars.columns)])
    odd = with_bars(market, bars.sort("asset_key", "day"))
    assert value(raw_of(odd, [month]), "beta_252", number) == pytest.approx(1.5, rel=1e-10)
    strict = FactorOptions(beta_min_days=200)
    assert value(raw_of(odd, [month], strict), "beta_252", number) is None


def test_rsi_forgets_its_seed_within_the_window() -> None:
    rng = np.random.default_rng(1)
    price = 10 * np.exp(np.cumsum(0.02 * rng.standard_normal(1500)))
    out = one_window(price, lookback=504)
    assert out[2, 0] == pytest.approx(slow_rsi(price), abs=1e-12)
    assert (13 / 14) ** (503 - 14) < 1e-14


def test_rsi_of_a_published_series() -> None:
    # Wilder's method on the worked example of StockCharts' ChartSchool (QQQQ closes, December 2009)
    price = np.array([
        44.3389, 44.0902, 44.1497, 43.6124, 44.3278, 44.8264, 45.0955, 45.4245, 45.8433, 46.0826, 45.8931, 46.0328, 45.6140,
        46.2820, 46.2820, 46.0028, 46.0328,
    ])  # fmt: skip
    expected = {15: 70.53, 16: 66.32, 17: 66.55}
    for n, rsi in expected.items():
        out = one_window(price[:n])
        assert out[2, 0] == pytest.approx(rsi, abs=0.01)


def test_volatility_of_nearly_constant_prices_is_exact() -> None:
    n = 500
    ret = np.where(np.arange(n) < 300, 0.1, 1e-9 * np.where(np.arange(n) % 2, 1.0, -1.0))
    out = one_window(np.ones(n), ret, annual=math.sqrt(244.0))
    assert out[3, 0] == pytest.approx(np.std(ret[-60:], ddof=1) * math.sqrt(244), rel=1e-12)
    assert math.isnan(out[2, 0])  # a price that never changed has no RSI
    assert math.isnan(out[4, 0])  # nor has a constant index a slope


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (lambda m: with_bars(m, pl.concat([m.bars, m.bars.tail(1)])), BadInput, "adjusted_bars"),
        (
            lambda m: with_bars(m, m.bars.with_columns(pl.lit(0.0).alias("adj_close"))),
            BadInput,
            "adjusted price is positive",
        ),
        (
            lambda m: with_bars(m, m.bars.filter(pl.col("day") < m.sessions[-1].item())),
            MissingInput,
            "no security trades",
        ),
        (lambda m: with_bars(m, m.bars.drop("ret")), MissingInput, "lacks"),
    ],
)
def test_bad_bars_are_named(market: Market, change, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        raw_of(change(market), [market.months[-1]])


def test_missing_inputs_of_a_month_are_named(market: Market) -> None:
    month = market.months[-1]
    later = add_months(month, 1)
    with pytest.raises(MissingInput, match="sessions has none"):
        compute_raw_factors(
            market.bars, market.index_daily, market.snapshot.with_columns(pl.lit(later).alias("month")).unique("asset_key"),
            market.universe.with_columns(pl.lit(later).alias("month")).unique("asset_key"), market.sessions, [later], OPTIONS,
        )  # fmt: skip
    with pytest.raises(MissingInput, match="universe has no row"):
        raw_of(market, [later])
    with pytest.raises(MissingInput, match="stock_snapshot has no row"):
        compute_raw_factors(
            market.bars, market.index_daily, market.snapshot.filter(pl.col("month") < month), market.universe, market.sessions,
            [month], OPTIONS,
        )  # fmt: skip
    with pytest.raises(MissingInput, match="index_daily has no return"):
        compute_raw_factors(
            market.bars, market.index_daily.clear(), market.snapshot, market.universe, market.sessions, [month], OPTIONS
        )
    two = pl.concat([market.index_daily, market.index_daily.with_columns(pl.lit("000300.SH").alias("index_id"))])
    with pytest.raises(BadInput, match="beta needs one index"):
        compute_raw_factors(market.bars, two, market.snapshot, market.universe, market.sessions, [month], OPTIONS)
