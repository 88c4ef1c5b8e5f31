"""The index: fifty members, reviews on the right days, and a level that follows from them."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from rotation_pipeline.market.identifiers import asset_id
from rotation_pipeline.market.simulation import SimulatedMarket, SimulationOptions, simulate
from rotation_pipeline.market.simulation.membership import effective_day
from rotation_pipeline.market.simulation.options import SimulationError
from rotation_pipeline.market.simulation.roster import draw_roster


@pytest.fixture(scope="module")
def market() -> SimulatedMarket:
    return simulate(SimulationOptions(seed=9, delisting_hazard=0.003, st_hazard=0.002), date(2017, 6, 1))


def member_days(market: SimulatedMarket) -> pl.DataFrame:
    days = market.tables["trading_days"].select("day")
    spells = market.tables["index_members"]
    return days.join(spells, how="cross").filter(
        (pl.col("day") >= pl.col("valid_from")) & (pl.col("valid_to").is_null() | (pl.col("day") < pl.col("valid_to")))
    )


def test_effective_days_are_the_confirmed_ones() -> None:
    """SSE 50 reviews as published: spec/market-data.md."""
    assert effective_day(2014, 12) == date(2014, 12, 15)
    assert effective_day(2015, 6) == date(2015, 6, 15)
    assert effective_day(2015, 12) == date(2015, 12, 14)


def test_fifty_members_on_every_day(market: SimulatedMarket) -> None:
    counts = member_days(market).group_by("day").agg(pl.col("asset_key").n_unique())
    assert counts.height == market.tables["trading_days"].height
    assert set(counts["asset_key"]) == {50}


def test_members_are_listed(market: SimulatedMarket) -> None:
    inside = member_days(market)
    bars = market.tables["daily_bars"].select("asset_key", "day", "board", "is_st")
    joined = inside.join(bars, on=["asset_key", "day"])
    assert joined.height == inside.height
    assert set(joined["board"]) <= {"main", "star"}


def test_changes_happen_at_reviews_or_delistings(market: SimulatedMarket) -> None:
    members = market.tables["index_members"]
    start = date(2011, 6, 1)
    entries = members.filter(pl.col("valid_from") > start)
    reviews = {effective_day(year, month) for year in range(2011, 2018) for month in (6, 12)}
    leavings = set(market.tables["listings"]["delisted_on"].drop_nulls())
    days = set(entries["valid_from"])
    assert days <= reviews | leavings
    assert len(days & reviews) >= 6
    assert days & leavings
    per_review = entries.filter(pl.col("valid_from").is_in(list(reviews))).group_by("valid_from").len()
    assert int(per_review["len"].max()) <= 5 + 3  # pyright: ignore[reportArgumentType]
    assert (entries["announced_on"] <= entries["valid_from"]).all()


def test_weights_are_tradable_market_values(market: SimulatedMarket) -> None:
    weights = market.tables["index_weights"]
    ends = market.tables["trading_days"].filter("is_month_end")
    assert set(weights["day"]) == set(ends["day"])
    sums = weights.group_by("day").agg(pl.col("weight").sum(), pl.len())
    assert float((sums["weight"] - 1).abs().max()) < 1e-12  # pyright: ignore[reportArgumentType]
    assert set(sums["len"]) == {50}
    joined = weights.join(market.tables["daily_valuation"], on=["asset_key", "day"]).with_columns(
        share=pl.col("float_market_value") / pl.col("float_market_value").sum().over("day")
    )
    assert float((joined["share"] - joined["weight"]).abs().max()) < 1e-12  # pyright: ignore[reportArgumentType]
    assert joined.join(member_days(market), on=["asset_key", "day"]).height == joined.height


def test_index_moves_are_the_members_moves(market: SimulatedMarket) -> None:
    """Weights of the day before × price changes; bonus shares are made good, cash dividends are not reinvested."""
    bars = market.tables["daily_bars"].join(market.tables["daily_valuation"], on=["asset_key", "day"])
    gifts = market.tables["dividends"].select("asset_key", pl.col("ex_day").alias("day"), "shares_per_share")
    panel = bars.join(gifts, on=["asset_key", "day"], how="left").with_columns(
        last=pl.col("close").shift(1).over("asset_key", order_by="day"),
        value=pl.col("float_market_value").shift(1).over("asset_key", order_by="day"),
        gift=pl.col("shares_per_share").fill_null(0.0),
    )
    inside = member_days(market).select("asset_key", "day").join(panel, on=["asset_key", "day"])
    move = pl.col("close") * (1 + pl.col("gift")) / pl.col("last") - 1
    expected = inside.drop_nulls("last").group_by("day").agg(
        ((pl.col("value") * move).sum() / pl.col("value").sum()).alias("expected")
    ).sort("day")  # fmt: skip
    index = market.tables["index_bars"].with_columns(move=pl.col("close") / pl.col("close").shift(1) - 1)
    both = expected.join(index, on="day").drop_nulls("move")
    assert both.height > 1400
    assert float((both["expected"] - both["move"]).abs().max()) < 2e-7  # pyright: ignore[reportArgumentType]
    totals = inside.group_by("day").agg(pl.col("amount").sum().alias("members")).join(index, on="day")
    assert np.allclose(totals["members"], totals["amount"], rtol=1e-12)


def test_index_bars_are_ordered(market: SimulatedMarket) -> None:
    index = market.tables["index_bars"]
    assert (index["low"] <= index.select(pl.min_horizontal("open", "close")).to_series()).all()
    assert (index["high"] >= index.select(pl.max_horizontal("open", "close")).to_series()).all()
    assert set(index["index_id"]) == {"000016.SH"}


def test_index_size_is_an_option() -> None:
    small = simulate(SimulationOptions(n_stocks=40, n_members=12, index_id="000300.SH"), date(2011, 9, 1))
    assert small.tables["index_weights"].group_by("day").len()["len"].unique().to_list() == [12]
    assert set(small.tables["index_members"]["index_id"]) == {"000300.SH"}
    first = small.tables["index_members"]["valid_from"].min()
    assert isinstance(first, date)
    assert first < date(2011, 6, 1) - timedelta(days=100)


def test_a_member_under_special_treatment_leaves_once() -> None:
    """In this market one left a review both for its treatment and to make room for a strong newcomer."""
    members = simulate(SimulationOptions(seed=17, premium_strength=0.0), date(2021, 1, 1)).tables["index_members"]
    spells = members.select("asset_key", "valid_from")
    assert spells.n_unique() == spells.height
    inside = members.filter(
        (pl.col("valid_from") <= date(2021, 1, 29)) & (pl.col("valid_to").fill_null(date.max) > date(2021, 1, 29))
    )
    assert inside.height == 50


def test_there_are_codes_for_an_index_of_five_thousand() -> None:
    """And the codes of a smaller market are what they always were, none of a real exchange."""
    roster = draw_roster(SimulationOptions(n_stocks=5000, n_members=5000, n_spare=1000))
    names = [asset_id(int(key)) for key in roster.keys]
    assert len(set(names)) == 6000
    assert int((roster.eligible).sum()) >= 5000
    assert all(not name.startswith(("600", "601", "603", "605", "688", "689")) for name in names)
    small = [asset_id(int(key)) for key in draw_roster(SimulationOptions()).keys]
    assert small[0] == "606001.SH"
    assert max(name for name in small if name < "68") < "610000"
    with pytest.raises(
        SimulationError, match=r"segment shenzhen has codes for 5999 names only; lower simulation\.n_stocks"
    ):
        draw_roster(SimulationOptions(n_stocks=60_000, n_members=50))


def test_more_members_than_names_are_refused_and_few_names_are_all_members() -> None:
    assert SimulationOptions(n_stocks=30).members == 30
    with pytest.raises(SimulationError, match="n_members 5000 is more than n_stocks 50, of which members are taken"):
        SimulationOptions(n_members=5000)
