"""The simulated exchange keeps the exchange's rules, judged by independent arithmetic and by the sanity rules."""

from __future__ import annotations

from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal

import numpy as np
import polars as pl
import pytest

from rotation_pipeline.market.calendar import months_between
from rotation_pipeline.market.simulation import SimulatedMarket, SimulationOptions, simulate
from rotation_pipeline.sources.ingest import ingest_months
from rotation_pipeline.sources.simulated import SimulatedSource

OPTIONS = SimulationOptions(
    seed=11, delisting_hazard=0.003, st_hazard=0.004, listing_hazard=0.05, start_month="2016-01"
)
LAST = date(2023, 9, 1)


@pytest.fixture(scope="module")
def market() -> SimulatedMarket:
    return simulate(OPTIONS, LAST)


@pytest.fixture(scope="module")
def bars(market: SimulatedMarket) -> pl.DataFrame:
    return market.tables["daily_bars"]


def trading(bars: pl.DataFrame) -> pl.DataFrame:
    return bars.filter(~pl.col("is_suspended"))


def test_sanity_rules_find_nothing() -> None:
    source = SimulatedSource(OPTIONS)
    months = months_between(date(2016, 1, 1), LAST)
    judged = ingest_months(source, months, fetched_at=datetime(2024, 1, 1))
    assert judged.quarantine.height == 0
    assert judged.ingestions["quarantined"].sum() == 0
    assert judged.ingestions.height == 10 * len(months)
    assert set(judged.ingestions["source_kind"]) == {"simulated"}


def test_every_listed_name_has_every_session(market: SimulatedMarket, bars: pl.DataFrame) -> None:
    days = market.tables["trading_days"].select("day")
    expected = days.join(market.tables["listings"], how="cross").filter(
        (pl.col("day") >= pl.col("listed_on"))
        & (pl.col("delisted_on").is_null() | (pl.col("day") < pl.col("delisted_on")))
    )
    assert expected.height == bars.height
    assert expected.join(bars, on=["asset_key", "day"], how="anti").height == 0


def test_prices_are_cents_and_ordered(bars: pl.DataFrame) -> None:
    for name in ("open", "high", "low", "close", "prev_close"):
        values = bars[name].to_numpy()
        assert np.array_equal(values, np.rint(values * 100) / 100)
    assert bars.filter(pl.col("low") > pl.min_horizontal("open", "close")).height == 0
    assert bars.filter(pl.col("high") < pl.max_horizontal("open", "close")).height == 0
    mean = trading(bars).select(pl.col("amount") / pl.col("volume"), "low", "high")
    assert (
        mean.filter((pl.col("amount") < pl.col("low") * 0.9999) | (pl.col("amount") > pl.col("high") * 1.0001)).height
        == 0
    )


def test_suspended_days_repeat_the_last_close(bars: pl.DataFrame) -> None:
    still = bars.with_columns(last=pl.col("close").shift(1).over("asset_key")).filter("is_suspended")
    assert still.height > 300
    for name in ("open", "high", "low", "close", "prev_close"):
        assert still.filter(pl.col("last").is_not_null() & (pl.col(name) != pl.col("last"))).height == 0
    assert still["volume"].sum() == 0
    assert still["amount"].sum() == 0


def limit(row: dict[str, object], listed_on: date) -> str | None:
    """Daily limit of a row, written from the rules' text; None = none that day or a first day with its own limits."""
    day, board = row["day"], row["board"]
    assert isinstance(day, date)
    if (day - listed_on).days <= 14:
        return None
    if board == "star" or (board == "chinext" and day >= date(2020, 8, 24)):
        return "0.20"
    if board == "beijing":
        return "0.30"
    return "0.05" if row["is_st"] else "0.10"


def test_closes_stay_within_the_limits_in_decimals(market: SimulatedMarket, bars: pl.DataFrame) -> None:
    listed = dict(market.tables["listings"].select("asset_key", "listed_on").iter_rows())
    moves = trading(bars).with_columns(change=(pl.col("close") / pl.col("prev_close") - 1).abs())
    hits = 0
    for row in moves.filter(pl.col("change") > 0.045).iter_rows(named=True):
        rate = limit(row, listed[row["asset_key"]])
        if rate is None:
            continue
        prev, cent = Decimal(str(row["prev_close"])), Decimal("0.01")
        up = (prev * (1 + Decimal(rate))).quantize(cent, ROUND_HALF_UP)
        down = (prev * (1 - Decimal(rate))).quantize(cent, ROUND_HALF_UP)
        assert down <= Decimal(str(row["low"])), row
        assert Decimal(str(row["high"])) <= up, row
        hits += Decimal(str(row["close"])) in (down, up)
    assert hits > 200
    assert set(bars["board"]) == {"main", "star", "chinext", "beijing"}
    treated = moves.filter("is_st")
    assert treated.height > 500
    pinned = moves.filter((pl.col("high") == pl.col("low")) & (pl.col("change") > 0.04))
    assert pinned.height > 5


def test_previous_close_is_ex_rights(market: SimulatedMarket, bars: pl.DataFrame) -> None:
    """(last close − cash) / (1 + new shares), half up to 0.01, on ex-days; the last close on all others."""
    joined = bars.with_columns(last=pl.col("close").shift(1).over("asset_key")).join(
        market.tables["dividends"], left_on=["asset_key", "day"], right_on=["asset_key", "ex_day"], how="left"
    )
    plain = joined.filter(pl.col("cash_per_share").is_null() & pl.col("last").is_not_null())
    assert plain.filter(pl.col("prev_close") != pl.col("last")).height == 0
    ex = joined.filter(pl.col("cash_per_share").is_not_null() & pl.col("last").is_not_null())
    assert ex.height > 300
    assert ex.filter(pl.col("shares_per_share") > 0).height > 10
    exact = (pl.col("last") - pl.col("cash_per_share")) / (1 + pl.col("shares_per_share"))
    assert ex.filter((pl.col("prev_close") - exact).abs() > 0.005 + 1e-9).height == 0
    assert ex.filter("is_suspended").height == 0


def test_adjusted_prices_carry_the_total_return(bars: pl.DataFrame) -> None:
    adjusted = bars.with_columns(value=pl.col("close") * pl.col("adj_factor")).with_columns(
        change=pl.col("value") / pl.col("value").shift(1).over("asset_key") - 1,
        stated=pl.col("close") / pl.col("prev_close") - 1,
        growth=pl.col("adj_factor") / pl.col("adj_factor").shift(1).over("asset_key"),
    )
    rows = adjusted.drop_nulls("change")
    assert float((rows["change"] - rows["stated"]).abs().max()) < 1e-12  # pyright: ignore[reportArgumentType]
    assert float(rows["growth"].min()) >= 1 - 1e-9  # pyright: ignore[reportArgumentType]
    assert set(bars.group_by("asset_key").first()["adj_factor"]) == {1.0}


def test_names_come_and_go(market: SimulatedMarket, bars: pl.DataFrame) -> None:
    listings = market.tables["listings"]
    start = date(2016, 1, 1)
    later = listings.filter(pl.col("listed_on") >= start)
    gone = listings.drop_nulls("delisted_on")
    assert later.height >= 3
    assert gone.height >= 3
    assert listings["name"].str.starts_with("模拟").all()
    last = bars.group_by("asset_key").agg(pl.col("day").max()).join(gone, on="asset_key")
    assert last.filter(pl.col("day") >= pl.col("delisted_on")).height == 0
    star = listings.filter(pl.col("board") == "star")
    assert star.height > 0
    assert star.filter(pl.col("listed_on") < date(2019, 7, 22)).height == 0


def test_turnover_rises_with_volatility(market: SimulatedMarket, bars: pl.DataFrame) -> None:
    joined = trading(bars).join(market.tables["daily_valuation"], on=["asset_key", "day"])
    ranked = joined.select(
        pl.corr((pl.col("close") / pl.col("prev_close") - 1).abs(), pl.col("turnover_rate"), method="spearman")
    )
    assert ranked.item() > 0.15
