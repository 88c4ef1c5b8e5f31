"""Names beyond the large ones: like the rest of all A shares, without a bit of a small market changed."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from rotation_pipeline.market.calendar import add_months, month_last_day, months_between
from rotation_pipeline.market.simulation import SimulatedMarket, SimulationOptions, Simulator, market_of, simulate
from rotation_pipeline.market.simulation.companies import start_companies
from rotation_pipeline.market.simulation.events import MonthEvents
from rotation_pipeline.market.simulation.full_market import monthly_panel
from rotation_pipeline.market.simulation.placements import LARGEST, REACH, enlarge, placed_shares, size_gaps
from rotation_pipeline.market.simulation.prices import draw_returns, start_dynamics
from rotation_pipeline.market.simulation.regimes import TRAITS
from rotation_pipeline.market.simulation.roster import draw_roster
from rotation_pipeline.market.tables import DATED_BY
from rotation_pipeline.sources.ingest import ingest_months
from rotation_pipeline.sources.simulated import SimulatedSource

WIDE = SimulationOptions(seed=6, n_stocks=640, n_members=100, n_spare=60, start_month="2011-01")
LAST = date(2015, 6, 1)
NONE_SMALL = 7000
INDEX_CLOSE, SUM_OF_CLOSES, SUM_OF_VOLUME = 1969.1043, 214_696.49, 353_481_477_000.0
"""Of the default market at the end of June 2011, recorded before there were further names."""


@pytest.fixture(scope="module")
def wide() -> SimulatedMarket:
    return simulate(WIDE, LAST)


@pytest.fixture(scope="module")
def alike() -> SimulatedMarket:
    """The same with every name drawn like the large ones."""
    return simulate(replace(WIDE, large_names=NONE_SMALL), LAST)


def panel(market: SimulatedMarket) -> pl.DataFrame:
    """Months of the names beyond the large ones, their first four left out."""
    keys = draw_roster(WIDE).keys[WIDE.large_names :].tolist()
    rows = monthly_panel(market.tables["daily_bars"], market.tables["daily_valuation"])
    seasoned = pl.col("month") >= pl.col("month").min().over("asset").dt.offset_by("4mo")
    return rows.filter(pl.col("asset").is_in(keys) & (pl.col("traded") > 15) & seasoned).with_columns(
        pl.col("size").cast(pl.Float64).log().alias("ln"), pl.col("turnover").log().alias("trade")
    )


def test_a_market_without_further_names_does_not_change() -> None:
    """Every number for further names may be anything, and the closes are those of before there were any."""
    last = date(2011, 6, 1)
    usual = simulate(SimulationOptions(), last)
    other = SimulationOptions(
        large_names=80, small_size=20.0, small_volatility=2.5, small_attention=0.9, small_attention_turnover=0.1,
        small_turnover=0.1, small_turnover_slope=0.9, small_issues=1.0, small_st=50.0, small_suspension=5.0,
    )  # fmt: skip
    assert other.total == other.large_names
    changed = simulate(other, last)
    for name, frame in usual.tables.items():
        assert_frame_equal(frame, changed.tables[name], check_exact=True)
    assert usual.tables["index_bars"]["close"][-1] == INDEX_CLOSE
    assert usual.tables["daily_bars"]["close"].sum() == pytest.approx(SUM_OF_CLOSES, abs=0.005)
    assert usual.tables["daily_bars"]["volume"].sum() == SUM_OF_VOLUME
    assert SimulatedSource(other).version == SimulatedSource(SimulationOptions()).version


def test_the_version_follows_what_has_an_effect() -> None:
    wild = replace(WIDE, small_volatility=2.0)
    assert SimulatedSource(wild).version != SimulatedSource(WIDE).version
    assert set(WIDE.in_effect) - set(SimulationOptions().in_effect) == {
        name for name in WIDE.in_effect if name.startswith(("small_", "large_"))
    }


def test_turnover_falls_with_size_and_is_higher(wide: SimulatedMarket, alike: SimulatedMarket) -> None:
    """The real slope of ln turnover on ln size is −0.30, the real median 32 % a month."""
    rows = panel(wide)
    slopes = [float(np.polyfit(part["ln"], part["trade"], 1)[0]) for _, part in rows.group_by("month")]
    assert -0.45 < float(np.mean(slopes)) < -0.15
    median, before = (float(frame["turnover"].median()) for frame in (rows, panel(alike)))  # pyright: ignore[reportArgumentType]
    assert 0.2 < median < 0.5
    assert median > 1.7 * before


def test_market_values_have_a_long_right_tail(wide: SimulatedMarket, alike: SimulatedMarket) -> None:
    for month in (date(2011, 12, 1), date(2015, 5, 1)):
        skew, spread = (panel(wide).filter(pl.col("month") == month)["ln"].skew(), panel(wide)["ln"].std())
        assert skew is not None
        assert skew > 0.6, month
        assert spread is not None
        before = panel(alike).filter(pl.col("month") == month)["ln"].skew()
        assert before is not None
        assert abs(before) < 0.4


def test_volatility_is_higher_and_lasts(wide: SimulatedMarket, alike: SimulatedMarket) -> None:
    """Real: autocorrelation 0.29 of ln monthly volatility after two months, its month's mean and the stock's taken out."""

    def memory(rows: pl.DataFrame) -> float:
        wild = pl.col("daily_volatility").log()
        rows = rows.with_columns((wild - wild.mean().over("month")).alias("gap"))
        rows = rows.with_columns((pl.col("gap") - pl.col("gap").mean().over("asset")).alias("gap"))
        later = rows.with_columns(pl.col("gap").shift(2).over("asset").alias("before"))
        return float(later.select(pl.corr("gap", "before")).item())

    new, old = panel(wide), panel(alike)
    assert memory(new) > memory(old) + 0.1
    near = (pl.col("largest") > 0.098).mean()
    assert new.select(near).item() > 1.5 * old.select(near).item()
    fat, thin = (
        float(rows.group_by("asset").agg(pl.col("ret").kurtosis(), pl.len()).filter(pl.col("len") > 45)["ret"].median())  # pyright: ignore[reportArgumentType]
        for rows in (new, old)
    )
    assert fat > thin


def test_a_placement_moves_no_price(wide: SimulatedMarket) -> None:
    """Shares grow by less than a fifth, on a month's first session, of a name that is small and trades; the close of the
    day before stays the previous close, and the adjustment factor stays."""
    large = set(draw_roster(WIDE).keys[: WIDE.large_names].tolist())
    rows = wide.tables["daily_bars"].join(wide.tables["daily_valuation"], on=["asset_key", "day"])
    rows = rows.sort("asset_key", "day").with_columns(
        (pl.col("total_market_value") / pl.col("close")).round().alias("shares"),
        (pl.col("day").dt.month() != pl.col("day").shift(1).over("asset_key").dt.month()).alias("first"),
    )
    rows = rows.with_columns(
        (pl.col("shares") / pl.col("shares").shift(1).over("asset_key")).alias("growth"),
        pl.col("close").shift(1).over("asset_key").alias("before"),
        pl.col("adj_factor").shift(1).over("asset_key").alias("factor"),
    )
    bonus = wide.tables["dividends"].filter(pl.col("shares_per_share") > 0).select("asset_key", day=pl.col("ex_day"))
    grown = rows.filter(pl.col("growth") > 1).join(bonus, on=["asset_key", "day"], how="anti")
    assert grown.height > 100
    assert grown["first"].all()
    assert not grown["is_suspended"].any()
    assert not set(grown["asset_key"].to_list()) & large
    assert float(grown["growth"].max()) <= 1 + LARGEST + 1e-6  # pyright: ignore[reportArgumentType]
    paid = wide.tables["dividends"].select("asset_key", day=pl.col("ex_day"))
    plain = grown.join(paid, on=["asset_key", "day"], how="anti")
    assert plain["prev_close"].to_list() == plain["before"].to_list()
    assert plain["adj_factor"].to_list() == plain["factor"].to_list()


def test_placements_hold_sizes_together(wide: SimulatedMarket) -> None:
    apart = simulate(replace(WIDE, small_issues=0.0), LAST)
    last = pl.col("month") == date(2015, 6, 1)
    held, free = (float(panel(market).filter(last)["ln"].quantile(0.5) - panel(market).filter(last)["ln"].quantile(0.1)) for market in (wide, apart))  # type: ignore[operator]  # never without rows  # fmt: skip
    assert held < 0.9 * free


def quiet(n: int, days: int = 20) -> MonthEvents:
    """A month in which nothing happens."""
    sessions = np.arange("2020-03-02", "2020-04-30", dtype="datetime64[D]")[:days]
    none, everywhere = np.zeros(0, dtype=np.int64), np.ones((days, n), dtype=bool)
    return MonthEvents(sessions, everywhere, none, none, np.zeros(n, dtype=bool), ~everywhere, [])


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**31 - 1), st.integers(0, 500), st.floats(0.0, 1.0))
def test_who_places_shares(seed: int, offset: int, issues: float) -> None:
    options = SimulationOptions(seed=seed, n_stocks=60, n_members=20, large_names=30, small_issues=issues)
    roster, month = draw_roster(options), add_months(date(1990, 1, 1), offset)
    n = roster.keys.size
    events = quiet(n)
    events.suspended[0, 40] = True
    events = replace(events, newly=np.array([41]), delisted=np.array([42]))
    deep, shallow = np.full(n, -3.0), np.full(n, -0.2)
    few, many = (placed_shares(options, roster, events, month, gaps) for gaps in (shallow, deep))
    for growth in (few, many):
        assert growth.min() >= 1.0
        assert growth.max() < 1.0 + LARGEST
        assert (growth[:30] == 1.0).all()
        assert (growth[40:43] == 1.0).all()
    assert (many[few > 1.0] == few[few > 1.0]).all()
    assert (placed_shares(options, roster, events, month, np.full(n, REACH)) == 1.0).all()
    if issues == 0.0:
        assert (many == 1.0).all()


def test_a_company_taken_over_changes_no_ratio() -> None:
    options = SimulationOptions(n_stocks=60, n_members=20, large_names=30)
    roster = draw_roster(options)
    one, two = (start_companies(roster, 1, date(2012, 1, 1)) for _ in range(2))
    growth = np.linspace(1.0, 1.19, roster.keys.size)
    enlarge(two, growth)
    assert two.book / one.book == pytest.approx(growth)
    assert two.profits / two.book[:, None] == pytest.approx(one.profits / one.book[:, None])
    assert two.dividend_cash == pytest.approx(one.dividend_cash * growth)
    assert (two.profitability == one.profitability).all()
    gaps = size_gaps(roster, np.ones(roster.keys.size, dtype=bool), np.exp(roster.log_size))
    assert (gaps[:30] == 0).all()
    assert np.median(gaps[30:]) == pytest.approx(0.0, abs=1e-12)
    assert np.diff(gaps[30:]) == pytest.approx(np.diff(roster.log_size[30:]))


def test_nothing_is_paid_for_attention_or_size() -> None:
    """Over five hundred months of one regime the mean return is the regime's drift, whatever the state before."""
    options = SimulationOptions(seed=1, n_stocks=60, n_members=20, large_names=10)
    roster = draw_roster(options)
    n, none = roster.keys.size, np.zeros((roster.keys.size, 5))
    events, dynamics, totals, seen = quiet(n), start_dynamics(n), [], []
    months = months_between(date(1980, 1, 1), date(2021, 8, 1))
    dynamics.size_gap = size_gaps(roster, np.ones(n, dtype=bool), np.exp(roster.log_size))
    for month in months:
        seen.append(dynamics.attention.copy())
        moves = draw_returns(options, roster, dynamics, events, roster.industry, month, "range", none, np.zeros(n))
        totals.append(moves.change.sum(axis=0))
    total, watched = np.array(totals)[:, 10:], np.array(seen)[:, 10:]
    assert np.array(seen)[-100:, :10].max() == 0
    assert watched[-300:].std() == pytest.approx(1.0, abs=0.1)
    few = roster.log_size[10:] < np.median(roster.log_size[10:])
    for part in (watched > 0, watched < 0, np.broadcast_to(few, total.shape), np.broadcast_to(~few, total.shape)):
        mean = np.array([row[mask].mean() for row, mask in zip(total, part, strict=True) if mask.any()])
        assert abs(mean.mean() - TRAITS["range"].drift) < 3.5 * mean.std() / np.sqrt(mean.size)


@pytest.mark.parametrize("last_month", [date(2011, 1, 1), date(2012, 5, 1)])
def test_a_shorter_market_is_a_prefix(wide: SimulatedMarket, last_month: date) -> None:
    """Simulated at once or month by month."""
    simulator = Simulator(WIDE)
    for month in months_between(WIDE.first_month, last_month):
        simulator.advance(month)
    last = month_last_day(last_month)
    for short in (simulate(WIDE, last_month), market_of(simulator, last_month)):
        for name, day in DATED_BY.items():
            if name in short.tables:
                assert_frame_equal(short.tables[name], wide.tables[name].filter(pl.col(day) <= last), check_exact=True)
        for name, frame in short.truth.items():
            assert_frame_equal(frame, wide.truth[name].filter(pl.col("month") <= last_month), check_exact=True)


def test_the_sanity_rules_find_nothing() -> None:
    source = SimulatedSource(replace(WIDE, n_stocks=300, n_members=50, start_month="2014-01"))
    judged = ingest_months(source, months_between(date(2014, 1, 1), date(2014, 12, 1)), fetched_at=datetime(2024, 1, 1))
    assert judged.quarantine.height == 0
    assert judged.ingestions["quarantined"].sum() == 0
