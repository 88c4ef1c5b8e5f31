"""A code of the vendors' small market given to another company some days after the first one left the exchange."""

from __future__ import annotations

from datetime import date, datetime

import polars as pl
import vendor_market as market

from rotation_pipeline.market.calendar import month_last_day, sessions
from rotation_pipeline.market.identifiers import asset_key
from rotation_pipeline.market.reused_codes import later_companies
from rotation_pipeline.market.sanity import conform
from rotation_pipeline.market.tables import LISTINGS
from rotation_pipeline.sources.canonical import partitioned
from rotation_pipeline.sources.ingest import ingest_months
from rotation_pipeline.sources.vendors.source import VendorSource

CODE = "600007.SH"
AGAIN = date(2022, 2, 10)
SOON = date(2022, 1, 25)
"""First days of the second company; the earlier one in the month in which the first one left."""
BEFORE = date(2021, 12, 1)
"""The month before those ingested."""
ISSUE = 3.0
"""Its issue price, a fifth of the first one's last close."""


def second(since: date = AGAIN) -> list[market.Bar]:
    """Every day of the second company; its factor begins at 1 again."""
    found: list[market.Bar] = []
    close = ISSUE
    for at, day in enumerate(sessions(since, market.LAST)):
        before, close = close, round(close * (1.02 if at % 2 else 0.99), 2)
        found.append(market.Bar(CODE, day, close, before, 1e5, round(1e5 * (before + close) / 2, 0), 1.0))
    return found


def check(source: VendorSource, since: date = AGAIN) -> None:
    """Two listings, each with its own days, and the second one's first return is from its issue price."""
    first = [bar.day for bar in market.bars() if bar.code == CODE and bar.day < market.DELISTED]
    true = second(since)
    rows = source.fetch("daily_bars", market.FIRST, market.LAST).filter(pl.col("asset_id") == CODE).sort("day")
    assert rows["day"].to_list() == [*first, *(bar.day for bar in true)]
    mine = rows.filter(pl.col("day") >= since)
    for name in ("close", "prev_close", "volume", "amount"):
        assert mine[name].to_list() == [getattr(bar, name) for bar in true], name
    assert mine["prev_close"][0] == ISSUE
    listed = source.fetch("listings", market.FIRST, market.LAST).filter(pl.col("asset_id") == CODE).sort("listed_on")
    assert listed.select("listed_on", "delisted_on").rows()[1:] == [(since, None)]
    assert listed["delisted_on"].to_list() == [market.DELISTED, None]
    found = ingest_months(source, list(market.MONTHS), fetched_at=datetime(2024, 1, 1))
    assert set(found.quarantine["rule"]) <= {"4_member_count"}
    # a company is a later one where an earlier month knows the first: the month before those ingested
    early = conform(LISTINGS, source.fetch("listings", BEFORE, month_last_day(BEFORE)), month=False)
    known = pl.concat([partitioned(LISTINGS, early, [BEFORE]), found.tables["listings"]])
    assert later_companies(known).rows() == [(asset_key(CODE), since)]
    for month in market.MONTHS:
        alone = ingest_months(source, [month], fetched_at=datetime(2024, 1, 1))
        assert alone.tables["daily_bars"].equals(found.tables["daily_bars"].filter(pl.col("month") == month))
