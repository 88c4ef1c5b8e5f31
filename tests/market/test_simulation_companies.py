"""Reports come late, are revised, and valuation knows only what was published."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from rotation_pipeline.market.simulation import SimulatedMarket, SimulationOptions, simulate

START = date(2012, 1, 1)


@pytest.fixture(scope="module")
def market() -> SimulatedMarket:
    return simulate(SimulationOptions(seed=5, start_month="2012-01"), date(2017, 12, 1))


@pytest.fixture(scope="module")
def reports(market: SimulatedMarket) -> pl.DataFrame:
    return market.tables["fundamentals"]


def deadline(period: date) -> date:
    """Legal deadline of a report."""
    ends = {3: date(period.year, 4, 30), 6: date(period.year, 8, 31), 9: date(period.year, 10, 31)}
    return ends.get(period.month, date(period.year + 1, 4, 30))


def test_reports_meet_their_deadlines(market: SimulatedMarket, reports: pl.DataFrame) -> None:
    """A prospectus, published on the day of listing, may be later."""
    listed = dict(market.tables["listings"].select("asset_key", "listed_on").iter_rows())
    first = reports.filter(~pl.col("is_revision") & (pl.col("item") == "roe_ttm"))
    late = 0
    for row in first.iter_rows(named=True):
        assert row["announced_on"] > row["report_period"]
        if row["announced_on"] > deadline(row["report_period"]):
            assert row["announced_on"] == listed[row["asset_key"]]
            late += 1
    assert first.height > 1000
    assert 0 < late < 0.1 * first.height
    lag = (first["announced_on"] - first["report_period"]).dt.total_days()
    assert lag.n_unique() > 40


def test_history_begins_before_the_bars(reports: pl.DataFrame) -> None:
    """Profit growth of the first month needs the report of a year before it."""
    early = reports.filter((pl.col("announced_on") < START) & (pl.col("item") == "net_profit_ttm"))
    per_name = early.group_by("asset_key").agg(pl.col("report_period").n_unique().alias("periods"))
    assert int(per_name["periods"].min()) >= 5  # pyright: ignore[reportArgumentType]


def test_revisions_follow_the_first_value(reports: pl.DataFrame) -> None:
    key = ["asset_key", "report_period", "item"]
    first = reports.filter(~pl.col("is_revision"))
    assert not first.select(key).is_duplicated().any()
    second = reports.filter("is_revision").join(first, on=key, suffix="_first")
    assert second.height == reports.filter("is_revision").height
    assert (second["announced_on"] > second["announced_on_first"]).all()
    assert 0.01 < second.height / first.height < 0.06
    changed = second.filter(pl.col("item") == "net_profit_ttm")
    assert (changed["value"] != changed["value_first"]).mean() > 0.95
    assert not reports["announcement_is_deadline"].any()


def test_valuation_knows_what_was_published(market: SimulatedMarket, reports: pl.DataFrame) -> None:
    """Recomputed from the tables: latest period published up to the day, its latest version."""
    bars, valuation = market.tables["daily_bars"], market.tables["daily_valuation"]
    wide = reports.pivot(on="item", index=["asset_key", "report_period", "announced_on"], values="value")
    rng = np.random.default_rng(0)
    rows = bars.join(valuation, on=["asset_key", "day"])[rng.integers(0, bars.height, 400)]
    for row in rows.iter_rows(named=True):
        known = wide.filter((pl.col("asset_key") == row["asset_key"]) & (pl.col("announced_on") <= row["day"]))
        latest = known.sort("report_period", "announced_on").row(-1, named=True)
        value = row["total_market_value"]
        assert row["pb"] == pytest.approx(value / latest["book_equity"], rel=1e-12)
        assert row["pe_ttm"] == pytest.approx(value / latest["net_profit_ttm"], rel=1e-12)
        assert row["ps_ttm"] == pytest.approx(value / latest["revenue_ttm"], rel=1e-12)
        assert latest["roe_ttm"] == pytest.approx(latest["net_profit_ttm"] / latest["book_equity"], rel=1e-12)
        assert row["float_market_value"] <= value
    assert (valuation["pe_ttm"] < 0).any()


def test_share_count_moves_with_bonus_shares_only(market: SimulatedMarket) -> None:
    joined = market.tables["daily_bars"].join(market.tables["daily_valuation"], on=["asset_key", "day"])
    shares = joined.with_columns(shares=(pl.col("total_market_value") / pl.col("close")).round(0)).with_columns(
        growth=pl.col("shares") / pl.col("shares").shift(1).over("asset_key")
    )
    moved = shares.filter((pl.col("growth") - 1).abs() > 1e-9)
    gifts = market.tables["dividends"].filter(pl.col("shares_per_share") > 0)
    matched = moved.join(gifts, left_on=["asset_key", "day"], right_on=["asset_key", "ex_day"])
    assert matched.height == moved.height > 5
    assert float((matched["growth"] - 1 - matched["shares_per_share"]).abs().max()) < 1e-8  # pyright: ignore[reportArgumentType]


def test_dividend_yield_is_the_last_years_cash(market: SimulatedMarket) -> None:
    """Cash per present share: later bonus shares dilute it."""
    bars, dividends = market.tables["daily_bars"], market.tables["dividends"]
    rng = np.random.default_rng(1)
    rows = bars.join(market.tables["daily_valuation"], on=["asset_key", "day"])[rng.integers(0, bars.height, 300)]
    paid = 0
    for row in rows.iter_rows(named=True):
        own = dividends.filter((pl.col("asset_key") == row["asset_key"]) & (pl.col("ex_day") <= row["day"])).sort(
            "ex_day"
        )
        cash = 0.0
        for gift in own.iter_rows(named=True):
            recent = gift["ex_day"] > row["day"] - timedelta(days=365)
            cash = (cash + (gift["cash_per_share"] if recent else 0.0)) / (1 + gift["shares_per_share"])
        paid += cash > 0
        assert row["dividend_yield_ttm"] == pytest.approx(cash / row["close"], rel=1e-9, abs=1e-15)
    assert paid > 100


def test_dividends_are_announced_before_they_are_paid(market: SimulatedMarket) -> None:
    dividends = market.tables["dividends"]
    assert (dividends["announced_on"] < dividends["ex_day"]).all()
    on_time = dividends.filter(pl.col("ex_day").dt.month().is_between(5, 7))
    assert on_time.height > 0.95 * dividends.height
    assert dividends.filter(pl.col("ex_day") < START).height > 20
