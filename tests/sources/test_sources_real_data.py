"""Real SSE 50 data: it loads without a mapping, and the sanity rules find what its own list of violations names."""

from __future__ import annotations

import json
from datetime import date, datetime
from pathlib import Path

import polars as pl
import pytest

from rotation_pipeline.market.calendar import months_between
from rotation_pipeline.sources.files import FilesSource
from rotation_pipeline.sources.ingest import Ingestion, ingest_months

DATA = Path(__file__).resolve().parents[2] / "../shared/data/sse50"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the real data beside the project is absent")
NOW = datetime(2024, 2, 1)
FIRST, LAST = date(2012, 1, 1), date(2024, 1, 1)


@pytest.fixture(scope="module")
def whole() -> Ingestion:
    return ingest_months(FilesSource(DATA), months_between(FIRST, LAST), fetched_at=NOW)


def keys(findings: pl.DataFrame, rule: str) -> set[tuple[str, str]]:
    found = [json.loads(key) for key in findings.filter(pl.col("rule") == rule)["row_key"]]
    return {(key["asset_id"], key["day"]) for key in found}


def listed(rule: str) -> pl.DataFrame:
    path = DATA / "sanity_violations.csv"
    frame = pl.read_csv(path, infer_schema_length=None).filter(pl.col("rule") == rule)
    return frame.filter(pl.col("day").is_between(pl.lit(FIRST.isoformat()), pl.lit("2024-01-31")))


def test_span_and_prices() -> None:
    source = FilesSource(DATA)
    assert source.span() == (date(2010, 1, 1), date(2025, 3, 1))
    moutai = source.fetch("daily_bars", date(2014, 1, 2), date(2014, 1, 2)).filter(pl.col("asset_id") == "600519.SH")
    assert moutai["close"].to_list() == [125.98]


def test_no_bar_is_kept_out(whole: Ingestion) -> None:
    assert whole.tables["trading_days"].filter(pl.col("day") >= date(2014, 1, 1)).height == 2456
    kept_out = whole.quarantine.filter(pl.col("severity") == "quarantined")
    assert set(kept_out["table_name"]) == {"daily_valuation"}
    assert set(kept_out["rule"]) == {"3_float_above_total", "3_share_count_glitch"}


def test_no_month_comes_near_the_limit_but_for_one_name(whole: Ingestion) -> None:
    share = whole.ingestions.filter(pl.col("rows") > 0).with_columns(
        (pl.col("quarantined") / (pl.col("rows") + pl.col("quarantined"))).alias("share")
    )
    assert share["share"].max() < 0.01
    assert share.filter(pl.col("share") > 0.006)["month"].min() == date(2023, 5, 1)


def test_float_above_total_is_what_the_data_lists(whole: Ingestion) -> None:
    assert keys(whole.quarantine, "3_float_above_total") == set(
        listed("3 float above total").select("asset_id", "day").rows()
    )


def test_share_jumps_are_what_the_data_lists(whole: Ingestion) -> None:
    jumps = listed("3 share jump").with_columns(
        pl.col("detail").str.extract(r"x ([0-9.]+),").cast(pl.Float64).alias("ratio")
    )
    beyond = set(jumps.filter((pl.col("ratio") - 1).abs() > 0.2).select("asset_id", "day").rows())
    reported = keys(whole.quarantine, "3_share_count_jump")
    glitches = keys(whole.quarantine, "3_share_count_glitch")
    assert len(beyond) > 60
    # 601919 2019-01-28 is a placement of exactly 20 %, which the list's 6 decimals put on neither side
    assert beyond - reported - glitches == set()
    assert reported <= beyond


def test_glitches_of_more_than_20_percent_are_found(whole: Ingestion) -> None:
    glitches = keys(whole.quarantine, "3_share_count_glitch")
    known = pl.read_csv(DATA / "share_count_glitches.csv").filter((pl.col("ratio") - 1).abs() > 0.2)
    known = known.filter((pl.col("from_day") >= FIRST.isoformat()) & ~pl.col("spans_month_end"))
    for asset, first, last, count in known.select("asset_id", "from_day", "to_day", "days").iter_rows():
        assert sum(name == asset and first <= day <= last for name, day in glitches) == count, asset


def test_membership_warnings_end_with_the_warm_up(whole: Ingestion) -> None:
    warned = whole.quarantine.filter(pl.col("rule") == "4_member_count")
    assert warned["table_name"].unique().to_list() == ["index_members"]
    assert warned["month"].max() < date(2013, 6, 1)
    # 19 former members stop on 2023-06-30 in this data
    gaps = whole.quarantine.filter(pl.col("rule") == "7_missing_session")
    assert gaps["month"].min() == date(2023, 7, 1)
    assert gaps.group_by("month").len()["len"].unique().to_list() == [19]


@pytest.mark.parametrize(
    "month", [date(2012, 1, 1), date(2015, 6, 1), date(2021, 1, 1), date(2021, 10, 1), date(2023, 6, 1)]
)
def test_a_month_alone_equals_the_range(whole: Ingestion, month: date) -> None:
    alone = ingest_months(FilesSource(DATA), [month], fetched_at=NOW)
    for name, frame in alone.tables.items():
        assert frame.equals(whole.tables[name].filter(pl.col("month") == month)), name
    assert alone.quarantine.equals(whole.quarantine.filter(pl.col("month") == month))
    assert alone.ingestions.equals(whole.ingestions.filter(pl.col("month") == month))
