"""Ingestion: months, snapshots, hashes, quarantine, and replay equality."""

from __future__ import annotations

import hashlib
import json
import struct
from datetime import date, datetime
from typing import Any

import polars as pl
import pytest
from sources_market import FIRST, LAST, MemorySource, tables

from rotation_pipeline.market.calendar import month_last_day, months_between
from rotation_pipeline.market.options import SanityOptions
from rotation_pipeline.market.sanity import PartitionRejected, SchemaMismatch
from rotation_pipeline.market.tables import INGESTIONS, QUARANTINE, SOURCE_TABLES
from rotation_pipeline.sources.base import Source, SourceError
from rotation_pipeline.sources.canonical import content_hashes
from rotation_pipeline.sources.ingest import Ingestion, ingest_months

NOW = datetime(2024, 2, 1, 8, 0)
MONTHS = months_between(FIRST, LAST)


@pytest.fixture(scope="module")
def frames() -> dict[str, pl.DataFrame]:
    """The market with a few planted errors, one of them known as such only later."""
    market = tables()
    valuation = market["daily_valuation"]
    wrong = (pl.col("asset_id") == "600003.SH") & pl.col("day").is_between(date(2022, 1, 27), date(2022, 2, 9))
    market["daily_valuation"] = valuation.with_columns(
        pl.when(wrong)
        .then(pl.col("total_market_value") * 2)
        .otherwise(pl.col("total_market_value"))
        .alias("total_market_value")
    )
    spike = (pl.col("asset_id") == "600004.SH") & (pl.col("day") == date(2022, 1, 28))
    market["daily_bars"] = market["daily_bars"].with_columns(
        pl.when(spike).then(1.5).otherwise(pl.col("adj_factor")).alias("adj_factor")
    )
    return market


def run(frames: dict[str, pl.DataFrame], months: list[date] = MONTHS, **given: Any) -> Ingestion:
    return ingest_months(MemorySource(frames, **given), months, fetched_at=NOW)


def of(frame: pl.DataFrame, month: date) -> pl.DataFrame:
    return frame.filter(pl.col("month") == month)


def test_memory_source_is_a_source(frames: dict[str, pl.DataFrame]) -> None:
    assert isinstance(MemorySource(frames), Source)


def test_tables_have_the_stored_columns_sorted_by_key(frames: dict[str, pl.DataFrame]) -> None:
    whole = run(frames)
    for table in SOURCE_TABLES:
        frame = whole.tables[table.name]
        assert frame.columns == table.stored_names
        key = ["asset_key" if name == "asset_id" else name for name in table.key if name != "month"]
        assert frame.equals(frame.sort("month", *key))
        assert frame.select("month", *key).is_unique().all()
    assert whole.quarantine.columns == QUARANTINE.stored_names
    assert whole.ingestions.columns == INGESTIONS.stored_names
    assert whole.ingestions.equals(whole.ingestions.sort(INGESTIONS.key))


def test_a_month_alone_equals_the_month_in_a_range(frames: dict[str, pl.DataFrame]) -> None:
    whole = run(frames)
    assert whole.quarantine.height > 5
    for month in MONTHS:
        alone = run(frames, [month])
        for table in SOURCE_TABLES:
            assert alone.tables[table.name].equals(of(whole.tables[table.name], month)), table.name
        assert alone.quarantine.equals(of(whole.quarantine, month))
        assert alone.ingestions.equals(of(whole.ingestions, month))


def test_months_with_gaps_equal_the_range(frames: dict[str, pl.DataFrame]) -> None:
    whole, some = run(frames), run(frames, [MONTHS[4], MONTHS[0], MONTHS[1], MONTHS[4]])
    chosen = pl.col("month").is_in([MONTHS[0], MONTHS[1], MONTHS[4]])
    for table in SOURCE_TABLES:
        assert some.tables[table.name].equals(whole.tables[table.name].filter(chosen))
    assert some.quarantine.equals(whole.quarantine.filter(chosen))
    assert some.ingestions.equals(whole.ingestions.filter(chosen))


def test_a_source_cut_off_gives_the_same_past(frames: dict[str, pl.DataFrame]) -> None:
    whole = run(frames)
    for month in MONTHS[1:4]:
        cut = run(frames, [month], until=month_last_day(month), last_month=month)
        for table in SOURCE_TABLES:
            assert cut.tables[table.name].equals(of(whole.tables[table.name], month)), table.name
        assert cut.quarantine.equals(of(whole.quarantine, month))
        assert cut.ingestions.equals(of(whole.ingestions, month))


def test_each_table_is_fetched_once(frames: dict[str, pl.DataFrame]) -> None:
    source = MemorySource(frames)
    ingest_months(source, MONTHS[2:], fetched_at=NOW)
    assert sorted(name for name, _, _ in source.fetched) == sorted(table.name for table in SOURCE_TABLES)
    assert ("daily_bars", date(2021, 11, 17), date(2022, 4, 30)) in source.fetched
    assert ("index_bars", date(2022, 1, 1), date(2022, 4, 30)) in source.fetched


def test_interval_snapshots_hide_what_comes_later(frames: dict[str, pl.DataFrame]) -> None:
    members = run(frames).tables["index_members"]
    left, entered = 600001 * 4 + 1, 600051 * 4 + 1
    january, february, march = (of(members, date(2022, n, 1)) for n in (1, 2, 3))
    assert january.filter(pl.col("asset_key") == left)["valid_to"].to_list() == [None]
    assert january.filter(pl.col("asset_key") == entered).is_empty()
    assert february.filter(pl.col("asset_key") == left)["valid_to"].to_list() == [date(2022, 2, 15)]
    assert february.filter(pl.col("asset_key") == entered).height == 1
    assert march.filter(pl.col("asset_key") == left).is_empty()
    assert (january.height, february.height, march.height) == (50, 51, 50)


def test_an_end_on_the_first_day_of_the_next_month_is_hidden(frames: dict[str, pl.DataFrame]) -> None:
    changed = dict(frames)
    end = pl.when(pl.col("asset_id") == "600002.SH").then(pl.lit(date(2022, 2, 1))).otherwise(pl.col("delisted_on"))
    changed["listings"] = frames["listings"].with_columns(end.alias("delisted_on"))
    listings = run(changed).tables["listings"].filter(pl.col("asset_key") == 600002 * 4 + 1)
    assert listings["month"].max() == date(2022, 1, 1)
    assert listings["delisted_on"].null_count() == listings.height


def test_quarantine_and_ingestions_agree(frames: dict[str, pl.DataFrame]) -> None:
    whole = run(frames)
    january = of(whole.quarantine, date(2022, 1, 1))
    assert january.select("table_name", "rule", "severity").rows() == [
        ("daily_bars", "6_adjusted_return", "quarantined"),
        ("daily_valuation", "3_share_count_jump", "warning"),
    ]
    # the count came back on 2022-02-10: the days in February are a glitch, those in January were let in
    february = of(whole.quarantine, date(2022, 2, 1))
    assert february.filter(pl.col("rule") == "3_share_count_glitch").height == 3
    record = whole.ingestions.row(
        by_predicate=(pl.col("month") == date(2022, 1, 1)) & (pl.col("table_name") == "daily_bars"), named=True
    )
    assert (record["rows"], record["quarantined"], record["warnings"]) == (51 * 19 - 1, 1, 0)
    assert record["fetched_at"] == NOW
    assert (record["source_kind"], record["source_version"]) == ("simulated", "1")
    assert january["ingestion"][0] == f"memory/daily_bars/2022-01/{record['sha256'][:16]}"
    assert json.loads(january["row"][0])["asset_id"] == "600004.SH"


def test_warm_up_membership_is_let_in_with_a_warning(frames: dict[str, pl.DataFrame]) -> None:
    thin = dict(frames)
    thin["index_members"] = frames["index_members"].filter(pl.col("asset_id") > "600010.SH")
    result = run(thin, [MONTHS[0]])
    found = result.quarantine.filter(pl.col("table_name") == "index_members")
    assert found.select("rule", "severity", "detail").rows() == [
        ("4_member_count", "warning", "40 members at the last close, expected 50")
    ]
    assert result.tables["index_members"].height == 40


def test_hash_is_that_of_the_bytes_and_of_nothing_else() -> None:
    frame = pl.DataFrame(
        {"month": [date(1970, 1, 2)], "name": ["é"], "value": [-0.0], "flag": [True], "count": [7], "gap": [None]},
        schema_overrides={"gap": pl.Float64},
    )
    expected = hashlib.sha256(struct.pack("<qq", 1, 6))
    for name, kind, flags, values, text in (
        ("month", "date", b"\x00", struct.pack("<i", 1), b""),
        ("name", "text", b"\x00", struct.pack("<q", 2), "é".encode()),
        ("value", "f8", b"\x00", struct.pack("<d", 0.0), b""),
        ("flag", "bool", b"\x00", b"\x01", b""),
        ("count", "i8", b"\x00", struct.pack("<q", 7), b""),
        ("gap", "f8", b"\x80", struct.pack("<d", 0.0), b""),
    ):
        for part in (name.encode(), kind.encode(), flags, values, text):
            expected.update(struct.pack("<q", len(part)) + part)
    assert content_hashes(frame, [date(1970, 1, 2)]) == [expected.hexdigest()]
    assert content_hashes(frame.with_columns(pl.lit(0.0).alias("gap")), [date(1970, 1, 2)]) != [expected.hexdigest()]


def test_hash_sees_every_change(frames: dict[str, pl.DataFrame]) -> None:
    before = run(frames).ingestions
    changed = dict(frames)
    here = (pl.col("asset_id") == "600005.SH") & (pl.col("day") == date(2022, 3, 1))
    changed["daily_bars"] = frames["daily_bars"].with_columns(
        pl.when(here).then(pl.col("volume") + 1).otherwise(pl.col("volume")).alias("volume")
    )
    after = run(changed).ingestions
    differs = before.filter(before["sha256"] != after["sha256"])
    assert differs.select("table_name", "month").rows() == [("daily_bars", date(2022, 3, 1))]


# --- refusals --------------------------------------------------------------------------------------------------------


def test_months_outside_the_span(frames: dict[str, pl.DataFrame]) -> None:
    with pytest.raises(SourceError, match="memory serves 2021-11 to 2022-04 completely; asked for 2021-10, 2022-05"):
        run(frames, months_between(date(2021, 10, 1), date(2022, 5, 1)))
    with pytest.raises(SourceError, match="give the first calendar day"):
        run(frames, [date(2022, 1, 2)])
    with pytest.raises(SourceError, match="no month was asked for"):
        run(frames, [])


def test_required_and_optional_tables(frames: dict[str, pl.DataFrame]) -> None:
    without = {name: frame for name, frame in frames.items() if name not in ("index_weights", "dividends", "listings")}
    result = run(without, [MONTHS[2]])
    assert result.tables["index_weights"].is_empty()
    assert result.tables["index_weights"].schema == run(frames, [MONTHS[2]]).tables["index_weights"].schema
    assert set(result.ingestions["table_name"]).isdisjoint({"index_weights", "dividends", "listings"})
    with pytest.raises(SourceError, match="does not serve daily_bars"):
        run({name: frame for name, frame in frames.items() if name != "daily_bars"})


def test_empty_month_is_refused(frames: dict[str, pl.DataFrame]) -> None:
    hole = dict(frames)
    hole["daily_valuation"] = frames["daily_valuation"].filter(pl.col("day").dt.month() != 2)
    with pytest.raises(SourceError, match="table daily_valuation: 0 rows for 2022-02"):
        run(hole)


def test_undated_rows_are_refused(frames: dict[str, pl.DataFrame]) -> None:
    class Careless(MemorySource):
        def fetch(self, table_name: str, first: date, last: date) -> pl.DataFrame:
            frame = super().fetch(table_name, first, last)
            if table_name != "fundamentals":
                return frame
            return frame.with_columns(pl.when(pl.int_range(pl.len()) > 0).then("announced_on").alias("announced_on"))

    with pytest.raises(SourceError, match="table fundamentals: 1 rows with announced_on = None"):
        ingest_months(Careless(frames), MONTHS, fetched_at=NOW)


def test_wrong_units_are_refused_with_the_remedy(frames: dict[str, pl.DataFrame]) -> None:
    lots = dict(frames)
    lots["daily_bars"] = frames["daily_bars"].with_columns(pl.col("volume") / 100)
    with pytest.raises(PartitionRejected, match=r"raw\.daily_bars 2021-11.*lots of 100 shares"):
        run(lots)
    named = dict(frames)
    named["daily_bars"] = frames["daily_bars"].rename({"volume": "vol"})
    with pytest.raises(SchemaMismatch, match=r"raw\.daily_bars: column 'volume' is missing"):
        run(named)


def test_options_reach_the_rules(frames: dict[str, pl.DataFrame]) -> None:
    with pytest.raises(PartitionRejected, match=r"at most 0\.00% may"):
        ingest_months(MemorySource(frames), MONTHS, fetched_at=NOW, options=SanityOptions(maximum_quarantined=0.0))
