"""A code given to another company after a delisting, and a security that changes its board: judged by what it was that day."""

from __future__ import annotations

import json
from datetime import date, datetime

import polars as pl
import pytest
from sources_market import FIRST, LAST, MemorySource, tables

from rotation_pipeline.market.calendar import months_between
from rotation_pipeline.market.identifiers import asset_key
from rotation_pipeline.market.options import SanityOptions
from rotation_pipeline.market.reused_codes import reused_codes
from rotation_pipeline.market.sanity.findings import PartitionRejected
from rotation_pipeline.sources.ingest import Ingestion, ingest_months

NOW = datetime(2024, 2, 1)
MONTHS = months_between(FIRST, LAST)
REUSED, MOVES = "600010.SH", "600011.SH"
GONE, BACK = date(2021, 12, 15), date(2022, 2, 15)
"""The first company's first day no longer listed, the second one's first day."""
CHANGED = date(2022, 2, 15)


def run(frames: dict[str, pl.DataFrame], months: list[date] = MONTHS) -> Ingestion:
    return ingest_months(MemorySource(frames), months, fetched_at=NOW)


def findings(found: Ingestion, asset: str) -> list[tuple[str, str]]:
    """(rule, day) of the security's bars, in order."""
    mine = found.quarantine.filter((pl.col("table_name") == "daily_bars") & pl.col("row_key").str.contains(asset))
    return sorted((rule, json.loads(key)["day"]) for rule, key in mine.select("rule", "row_key").iter_rows())


def reused_at(gone: date, back: date) -> dict[str, pl.DataFrame]:
    """One code, two companies: the second trades at a twentieth of the price and with a factor that begins at 1 again."""
    frames = tables()
    bars = frames["daily_bars"]
    mine, later = pl.col("asset_id") == REUSED, pl.col("day") >= back
    prices = ["open", "high", "low", "close", "prev_close", "amount"]
    bars = bars.filter(~mine | (pl.col("day") < gone) | later).with_columns(
        *(
            pl.when(mine & later).then((pl.col(name) / 20).round(2)).otherwise(pl.col(name)).alias(name)
            for name in prices
        ),
        pl.when(mine & ~later).then(3.5).otherwise(pl.col("adj_factor")).alias("adj_factor"),
    )
    # cents are coarse at a twentieth of the price: the average price must stay inside the day's range
    average = (pl.col("high") + pl.col("low")) / 2
    bars = bars.with_columns(
        pl.when(mine & later).then(pl.col("volume") * average).otherwise(pl.col("amount")).alias("amount")
    )
    before = pl.when(mine & later).then(pl.col("close").shift(1).over("asset_id")).otherwise(pl.col("prev_close"))
    first = mine & (pl.col("day") == back)
    bars = bars.sort("asset_id", "day").with_columns(
        pl.when(first).then(pl.col("prev_close")).otherwise(before).alias("prev_close")
    )
    low, high = pl.min_horizontal("open", "close", "low"), pl.max_horizontal("open", "close", "high")
    frames["daily_bars"] = bars.with_columns(low.alias("low"), high.alias("high"))
    valued = frames["daily_valuation"]
    frames["daily_valuation"] = valued.filter(
        (pl.col("asset_id") != REUSED) | (pl.col("day") < gone) | (pl.col("day") >= back)
    )
    listings = frames["listings"]
    one = listings.filter(pl.col("asset_id") == REUSED)
    frames["listings"] = pl.concat(
        [
            listings.filter(pl.col("asset_id") != REUSED),
            one.with_columns(pl.lit(gone).alias("delisted_on")),
            one.with_columns(pl.lit(back).alias("listed_on"), pl.lit("another").alias("name")),
        ]
    )
    return frames


@pytest.fixture(scope="module")
def reused() -> dict[str, pl.DataFrame]:
    return reused_at(GONE, BACK)


def test_a_reused_code_is_two_listings_and_nothing_is_kept_out(reused: dict[str, pl.DataFrame]) -> None:
    found = run(reused)
    assert findings(found, REUSED) == []
    listed = (
        found.tables["listings"]
        .filter(pl.col("asset_key") == 600010 * 4 + 1)
        .select("month", "name", "listed_on", "delisted_on")
    )
    assert [(month.month, name) for month, name, _, _ in listed.iter_rows()] == [
        (11, "名"), (12, "名"), (2, "another"), (3, "another"), (4, "another")
    ]  # fmt: skip
    assert listed["delisted_on"].to_list() == [None, GONE, None, None, None], "known from its own month on"


def test_without_the_second_listing_its_bars_are_told_of(reused: dict[str, pl.DataFrame]) -> None:
    once = {**reused, "listings": reused["listings"].filter(pl.col("listed_on") < BACK)}
    rules = {rule for rule, _ in findings(run(once), REUSED)}
    assert rules == {"7_not_listed"}
    open_ended = {**once, "listings": once["listings"].with_columns(pl.lit(None, dtype=pl.Date).alias("delisted_on"))}
    rules = {rule for rule, _ in findings(run(open_ended), REUSED)}
    assert "7_missing_session" in rules, "listed all the time, but without rows for two months"


def test_a_reused_code_month_by_month_is_the_same(reused: dict[str, pl.DataFrame]) -> None:
    whole = run(reused)
    for month in MONTHS:
        alone = run(reused, [month])
        assert alone.tables["daily_bars"].equals(whole.tables["daily_bars"].filter(pl.col("month") == month))
        assert alone.quarantine.equals(whole.quarantine.filter(pl.col("month") == month))


@pytest.mark.parametrize(
    ("gone", "back"),
    [
        (date(2021, 12, 8), date(2021, 12, 22)),  # both in one month
        (date(2022, 1, 12), date(2022, 1, 12)),  # on one day
        (date(2022, 1, 4), date(2022, 1, 4)),  # on the first session of a month
        (date(2022, 1, 27), date(2022, 2, 8)),  # one month after the other
    ],
)
def test_the_second_company_may_follow_at_once(gone: date, back: date) -> None:
    """Its first rows are held against none of the first company's: neither factor, limits nor share count."""
    frames = reused_at(gone, back)
    found = run(frames)
    strange = found.quarantine.filter(pl.col("row_key").str.contains(REUSED))
    assert strange.is_empty(), strange
    rows = found.tables["listings"].filter(pl.col("asset_key") == asset_key(REUSED))
    second = pl.col("month") >= back.replace(day=1)
    assert rows.filter(second)["listed_on"].unique().to_list() == [back], "known from its own month on"
    assert rows.filter(~second)["listed_on"].n_unique() == 1
    assert reused_codes(rows).select("month", "listed_on").rows() == [(back.replace(day=1), back)]
    for month in MONTHS:
        alone = run(frames, [month])
        for name in ("daily_bars", "daily_valuation", "listings"):
            assert alone.tables[name].equals(found.tables[name].filter(pl.col("month") == month)), (name, month)
        assert alone.quarantine.equals(found.quarantine.filter(pl.col("month") == month))


def test_listings_of_one_code_that_overlap_are_both_kept_out() -> None:
    """Not one company after the other: which of the two is right can't be known."""
    frames = reused_at(date(2021, 12, 8), date(2021, 12, 22))
    twice = pl.col("delisted_on").is_null() | (pl.col("asset_id") != REUSED)
    later = pl.when(twice).then("delisted_on").otherwise(pl.lit(date(2021, 12, 23))).alias("delisted_on")
    with pytest.raises(PartitionRejected, match=rf"raw.listings 2021-12: .* 7_duplicate_key.*{REUSED}"):
        run({**frames, "listings": frames["listings"].with_columns(later)})


def test_listings_that_are_kept_out_excuse_nothing() -> None:
    """A second listing that contradicts the first makes no other company: raw.listings knows of neither."""
    frames, day = tables(), date(2022, 2, 15)
    again = frames["listings"].filter(pl.col("asset_id") == REUSED).with_columns(pl.lit(day).alias("listed_on"))
    listings = pl.concat([frames["listings"], again])
    factor = pl.when((pl.col("asset_id") == REUSED) & (pl.col("day") >= day)).then(pl.col("adj_factor") / 2)
    frames["daily_bars"] = frames["daily_bars"].with_columns(factor.otherwise("adj_factor").alias("adj_factor"))
    options = SanityOptions(maximum_quarantined=0.2)
    once, twice = (
        ingest_months(MemorySource({**frames, "listings": rows}), MONTHS, fetched_at=NOW, options=options)
        for rows in (frames["listings"], listings)
    )
    kept = twice.tables["listings"].filter(pl.col("asset_key") == asset_key(REUSED))
    assert kept["month"].to_list() == [month for month in MONTHS if month < day.replace(day=1)]
    assert ("6_factor_decrease", day.isoformat()) in findings(once, REUSED)
    told = [(rule, at) for rule, at in findings(twice, REUSED) if rule != "7_not_listed"]
    assert told == findings(once, REUSED)


def moved(frames: dict[str, pl.DataFrame], day: date, *, board: str) -> dict[str, pl.DataFrame]:
    """The security's close of ``day`` 15 % above the one before, which it stays at; ``board`` from CHANGED on."""
    bars = frames["daily_bars"].sort("asset_id", "day")
    mine = pl.col("asset_id") == MOVES
    level = bars.filter(mine & (pl.col("day") < day))["close"][-1]
    after = mine & (pl.col("day") >= day)
    up = round(level * 1.15, 2)
    first = pl.col("day") == day
    changed = bars.with_columns(
        *(pl.when(after).then(up).otherwise(pl.col(name)).alias(name) for name in ("open", "high", "low", "close")),
        pl.when(after & first).then(level).when(after).then(up).otherwise("prev_close").alias("prev_close"),
        pl.when(after).then(pl.col("volume") * up).otherwise("amount").alias("amount"),
        pl.when(mine & (pl.col("day") >= CHANGED)).then(pl.lit(board)).otherwise("board").alias("board"),
    )
    return {**frames, "daily_bars": changed}


@pytest.mark.parametrize(
    ("day", "board", "kept_out"),
    [
        (date(2022, 2, 14), "chinext", True),
        (date(2022, 2, 15), "chinext", False),
        (date(2022, 2, 15), "main", True),
        (date(2022, 3, 1), "star", False),
    ],
)
def test_the_limit_is_that_of_the_board_on_that_day(day: date, board: str, kept_out: bool) -> None:
    """Main board 10 %, ChiNext and STAR 20 %: a rise of 15 % passes from the day of the change on, not before."""
    found = run(moved(tables(), day, board=board))
    assert findings(found, MOVES) == ([("5_price_limit", day.isoformat())] if kept_out else [])
    boards = found.tables["daily_bars"].filter(pl.col("asset_key") == 600011 * 4 + 1).sort("day")
    if not kept_out:
        assert boards.filter(pl.col("day") < CHANGED)["board"].unique().to_list() == ["main"]
        assert boards.filter(pl.col("day") >= CHANGED)["board"].unique().to_list() == [board]
