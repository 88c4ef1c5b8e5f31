"""Sanity rules 3 and 4, and the rules of the tables other than daily bars, with planted errors."""

from __future__ import annotations

import json
from datetime import date, timedelta

import polars as pl
import pytest
from market_frames import ASSETS, FIRST, LAST, MONTHS, bars, planted, position, valuation

from rotation_pipeline.market.calendar import month_last_day, sessions
from rotation_pipeline.market.identifiers import asset_key
from rotation_pipeline.market.options import SanityOptions
from rotation_pipeline.market.sanity import PartitionRejected, SanityContext, check_table
from rotation_pipeline.market.tables import (
    DAILY_VALUATION,
    DIVIDENDS,
    FUNDAMENTALS,
    INDEX_BARS,
    INDEX_MEMBERS,
    INDEX_WEIGHTS,
    INDUSTRIES,
    TRADING_DAYS,
)

A, B, C, D = ASSETS


@pytest.fixture(scope="module")
def market() -> pl.DataFrame:
    return bars()


def judge(frame: pl.DataFrame, market: pl.DataFrame, months: list[date] = MONTHS, **given: pl.DataFrame):
    return check_table(DAILY_VALUATION, frame, SanityContext(months, bars=market, **given))


def scaled(frame: pl.DataFrame, asset: str, first: date, last: date, factor: float) -> pl.DataFrame:
    """Market values of one security × factor from ``first`` to ``last``."""
    here = (pl.col("asset_key") == asset_key(asset)) & pl.col("day").is_between(first, last)
    return frame.with_columns(
        pl.when(here).then(pl.col(name) * factor).otherwise(pl.col(name)).alias(name)
        for name in ("total_market_value", "float_market_value")
    )


def days_of(findings: pl.DataFrame, rule: str) -> list[str]:
    return [json.loads(key)["day"] for key in findings.filter(pl.col("rule") == rule)["row_key"]]


# --- rule 3 ----------------------------------------------------------------------------------------------------------


def test_sound_valuation_passes(market: pl.DataFrame) -> None:
    result = judge(valuation(market), market)
    assert result.findings.is_empty()
    assert result.accepted.height == market.height


def test_lasting_jump_is_a_warning(market: pl.DataFrame) -> None:
    frame = scaled(valuation(market), A, date(2022, 2, 15), LAST, 1.25)
    result = judge(frame, market)
    assert result.findings.select("rule", "severity").rows() == [("3_share_count_jump", "warning")]
    assert days_of(result.findings, "3_share_count_jump") == ["2022-02-15"]
    assert result.accepted.height == frame.height
    assert result.counts["warnings"].to_list() == [0, 1, 0]


@pytest.mark.parametrize(("factor", "reported"), [(1.2, False), (1.21, True), (0.8, False), (0.79, True)])
def test_jump_threshold(market: pl.DataFrame, factor: float, reported: bool) -> None:
    found = judge(scaled(valuation(market), A, date(2022, 2, 15), LAST, factor), market).findings
    assert (found.height == 1) is reported


def test_jump_that_is_undone_is_a_glitch(market: pl.DataFrame) -> None:
    frame = scaled(valuation(market), A, date(2022, 2, 15), date(2022, 2, 17), 0.5)
    result = judge(frame, market)
    assert days_of(result.findings, "3_share_count_glitch") == ["2022-02-15", "2022-02-16", "2022-02-17"]
    assert days_of(result.findings, "3_share_count_jump") == ["2022-02-18"]
    assert result.counts.select("quarantined", "warnings").rows() == [(0, 0), (3, 1), (0, 0)]


def test_glitch_across_a_month_end_is_seen_from_the_later_month_only(market: pl.DataFrame) -> None:
    frame = scaled(valuation(market), A, date(2022, 2, 25), date(2022, 3, 2), 0.5)
    found = judge(frame, market).findings
    # at the end of February nobody can know that the count will come back
    assert days_of(found, "3_share_count_jump") == ["2022-02-25", "2022-03-03"]
    assert days_of(found, "3_share_count_glitch") == ["2022-03-01", "2022-03-02"]


def test_glitch_longer_than_the_limit_is_a_jump(market: pl.DataFrame) -> None:
    frame = scaled(valuation(market), A, date(2022, 1, 6), date(2022, 2, 25), 0.5)
    found = judge(frame, market).findings
    assert set(found["rule"]) == {"3_share_count_jump"}
    assert days_of(found, "3_share_count_jump") == ["2022-01-06", "2022-02-28"]


def test_bonus_explains_a_jump(market: pl.DataFrame) -> None:
    ex_day = date(2022, 2, 15)
    frame = scaled(valuation(market), A, ex_day, LAST, 1.5)
    bonus = pl.DataFrame(
        {"asset_key": [asset_key(A)], "ex_day": [ex_day], "shares_per_share": [0.5]},
        schema_overrides={"asset_key": pl.Int32},
    )
    assert judge(frame, market, dividends=bonus).findings.is_empty()
    assert judge(frame, market).findings["rule"].to_list() == ["3_share_count_jump"]
    # a count that takes the bonus two days late is wrong on those days
    late = scaled(valuation(market), A, ex_day + timedelta(days=2), LAST, 1.5)
    found = judge(late, market, dividends=bonus).findings
    assert days_of(found, "3_share_count_glitch") == ["2022-02-15", "2022-02-16"]


def test_broken_close_does_not_condemn_the_valuation(market: pl.DataFrame) -> None:
    frame = valuation(market)
    wrong = planted(market, position(market, A, date(2022, 2, 15)), close=pl.col("close") * 10)
    assert judge(frame, wrong).findings.is_empty()


def test_float_above_total(market: pl.DataFrame) -> None:
    frame = valuation(market)
    at = position(frame, A, date(2022, 2, 15))
    just = planted(frame, at, float_market_value=pl.col("total_market_value") * 1.0009)
    assert judge(just, market).findings.is_empty()
    above = planted(frame, at, float_market_value=pl.col("total_market_value") * 1.0011)
    found = judge(above, market).findings
    assert found.select("rule", "severity").rows() == [("3_float_above_total", "quarantined")]


def test_valuation_month_alone_equals_range(market: pl.DataFrame) -> None:
    frame = scaled(valuation(market), A, date(2022, 1, 26), date(2022, 2, 9), 0.5)
    frame = scaled(frame, B, date(2022, 2, 24), date(2022, 3, 4), 1.7)
    bonus = pl.DataFrame(
        {
            "asset_key": [asset_key(C)] * 2,
            "ex_day": [date(2022, 1, 12), date(2022, 3, 9)],
            "shares_per_share": [0.3, 0.1],
        },
        schema_overrides={"asset_key": pl.Int32},
    )
    together = judge(frame, market, dividends=bonus)
    assert together.findings.height > 10
    for month in MONTHS:
        last, first = month_last_day(month), month - timedelta(days=45)
        visible = pl.col("day").is_between(first, last)
        alone = judge(
            frame.filter(pl.col("month") == month), market.filter(visible), [month],
            earlier=frame.filter(visible & (pl.col("day") < month)),
            dividends=bonus.filter(pl.col("ex_day").is_between(first, last)),
        )  # fmt: skip
        assert alone.accepted.equals(together.accepted.filter(pl.col("month") == month))
        assert alone.findings.equals(together.findings.filter(pl.col("month") == month))


# --- rule 4 ----------------------------------------------------------------------------------------------------------


def weights(count: int = 50, scale: float = 1.0) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "month": [MONTHS[0]] * count,
            "index_id": ["000016.SH"] * count,
            "asset_key": pl.Series([asset_key(A) + 4 * n for n in range(count)], dtype=pl.Int32),
            "day": [date(2022, 1, 28)] * count,
            "weight": [scale / count] * count,
            "derivation": pl.Series([None] * count, dtype=pl.String),
        }
    )


@pytest.mark.parametrize(
    ("scale", "refused"), [(1.0, False), (1.0049, False), (0.9951, False), (1.006, True), (100.0, True)]
)
def test_weights_sum_to_one(scale: float, refused: bool) -> None:
    context = SanityContext(MONTHS[:1])
    if not refused:
        assert check_table(INDEX_WEIGHTS, weights(scale=scale), context).findings.is_empty()
        return
    with pytest.raises(PartitionRejected, match="index_weights 2022-01") as caught:
        check_table(INDEX_WEIGHTS, weights(scale=scale), context)
    assert caught.value.share == 1.0


def test_weights_of_49_members_are_a_warning() -> None:
    found = check_table(INDEX_WEIGHTS, weights(49), SanityContext(MONTHS[:1])).findings
    assert found.select("rule", "severity", "detail").rows() == [
        ("4_member_count", "warning", "49 weights, expected 50")
    ]


def members(count: int = 50) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "month": [MONTHS[0]] * count,
            "index_id": ["000016.SH"] * count,
            "asset_key": pl.Series([asset_key(A) + 4 * n for n in range(count)], dtype=pl.Int32),
            "valid_from": [date(2020, 6, 15)] * count,
            "valid_to": pl.Series([None] * count, dtype=pl.Date),
            "announced_on": pl.Series([None] * count, dtype=pl.Date),
        }
    )


def test_member_count() -> None:
    context = SanityContext(MONTHS[:1])
    assert check_table(INDEX_MEMBERS, members(), context).findings.is_empty()
    left = planted(members(), 3, valid_to=date(2022, 1, 20))
    result = check_table(INDEX_MEMBERS, left, context)
    assert result.findings["detail"].to_list() == ["49 members at the last close, expected 50"]
    assert result.findings["severity"].to_list() == ["warning"]
    assert result.accepted.height == 50
    twenty = SanityContext(MONTHS[:1], SanityOptions(members={"000016.SH": 20}))
    assert check_table(INDEX_MEMBERS, members(20), twenty).findings.is_empty()
    uncounted = SanityContext(MONTHS[:1], SanityOptions(members={}))
    assert check_table(INDEX_MEMBERS, members(20), uncounted).findings.is_empty()


def test_overlapping_and_empty_intervals() -> None:
    context = SanityContext(MONTHS[:1], SanityOptions(maximum_quarantined=0.5))
    again = planted(members(), 1, asset_key=asset_key(A), valid_from=date(2021, 6, 15))
    found = check_table(INDEX_MEMBERS, again, context).findings.filter(pl.col("severity") == "quarantined")
    assert found["rule"].to_list() == ["0_overlap"] * 2
    empty = planted(members(), 0, valid_from=date(2022, 1, 10), valid_to=date(2022, 1, 10))
    found = check_table(INDEX_MEMBERS, empty, context).findings.filter(pl.col("severity") == "quarantined")
    assert found["rule"].to_list() == ["0_interval"]


def test_industries_of_two_schemes_may_overlap() -> None:
    frame = pl.DataFrame(
        {
            "month": [MONTHS[0]] * 2, "asset_key": pl.Series([asset_key(A)] * 2, dtype=pl.Int32),
            "valid_from": [date(2020, 1, 1)] * 2, "valid_to": pl.Series([None] * 2, dtype=pl.Date),
            "scheme": ["one", "two"], "industry": ["bank", "banks"],
        }
    )  # fmt: skip
    assert check_table(INDUSTRIES, frame, SanityContext(MONTHS[:1])).findings.is_empty()
    same = frame.with_columns(
        pl.lit("one").alias("scheme"), pl.Series("valid_from", [date(2020, 1, 1), date(2021, 1, 1)])
    )
    with pytest.raises(PartitionRejected, match="0_overlap"):
        check_table(INDUSTRIES, same, SanityContext(MONTHS[:1]))


# --- calendar, index bars, announcements -----------------------------------------------------------------------------


def calendar() -> pl.DataFrame:
    days = pl.DataFrame({"day": sessions(FIRST, LAST)}).with_columns(pl.col("day").dt.month_start().alias("month"))
    ends = pl.col("day") == pl.col("day").max().over("month")
    return days.select("month", "day", ends.alias("is_month_end"))


def test_trading_days() -> None:
    assert check_table(TRADING_DAYS, calendar(), SanityContext(MONTHS)).findings.is_empty()
    with pytest.raises(PartitionRejected, match=r"7_missing_session.*2022-02-15.*Add the missing sessions"):
        check_table(TRADING_DAYS, calendar().filter(pl.col("day") != date(2022, 2, 15)), SanityContext(MONTHS))
    holiday = planted(calendar(), 3, day=date(2022, 1, 3))
    with pytest.raises(PartitionRejected, match="7_not_a_session"):
        check_table(TRADING_DAYS, holiday, SanityContext(MONTHS))
    with pytest.raises(PartitionRejected, match="7_month_end"):
        check_table(TRADING_DAYS, planted(calendar(), 3, is_month_end=True), SanityContext(MONTHS))


def index_bars() -> pl.DataFrame:
    empty = pl.lit(None, dtype=pl.Float64)
    return calendar().select(
        "month", pl.lit("000016.SH").alias("index_id"), "day", *(pl.lit(3000.0).alias(name) for name in ("open", "high", "low", "close")),
        empty.alias("volume"), empty.alias("amount"),
    )  # fmt: skip


def test_index_bars() -> None:
    assert check_table(INDEX_BARS, index_bars(), SanityContext(MONTHS)).findings.is_empty()
    gap = check_table(
        INDEX_BARS, index_bars().filter(pl.col("day") != date(2022, 2, 15)), SanityContext(MONTHS)
    ).findings
    assert [json.loads(key) for key in gap["row_key"]] == [{"index_id": "000016.SH", "day": "2022-02-15"}]
    assert gap["severity"].to_list() == ["warning"]
    with pytest.raises(PartitionRejected, match="2_price_order"):
        check_table(INDEX_BARS, planted(index_bars(), 5, close=3001.0), SanityContext(MONTHS))


def fundamentals() -> pl.DataFrame:
    count = 200
    return pl.DataFrame(
        {
            "month": [MONTHS[1]] * count, "asset_key": pl.Series([asset_key(A) + 4 * n for n in range(count)], dtype=pl.Int32),
            "report_period": [date(2021, 12, 31)] * count, "announced_on": [date(2022, 2, 26)] * count,
            "item": ["roe_ttm"] * count, "value": [0.1] * count, "is_revision": [False] * count,
            "announcement_is_deadline": [False] * count,
        }
    )  # fmt: skip


def test_fundamentals() -> None:
    context = SanityContext([MONTHS[1]])
    assert check_table(FUNDAMENTALS, fundamentals(), context).findings.is_empty()
    early = planted(fundamentals(), 7, report_period=date(2022, 3, 31))
    assert check_table(FUNDAMENTALS, early, context).findings["rule"].to_list() == ["0_announced_before_period"]
    stray = planted(fundamentals(), 7, announced_on=date(2022, 3, 1))
    assert check_table(FUNDAMENTALS, stray, context).findings["rule"].to_list() == ["0_month"]
    missing = planted(fundamentals(), 7, value=None)
    assert check_table(FUNDAMENTALS, missing, context).findings.is_empty()
    nameless = planted(fundamentals(), 7, item=None)
    assert check_table(FUNDAMENTALS, nameless, context).findings["rule"].to_list() == ["0_null"]


def test_a_negative_book_value_is_a_fact_and_no_mistake(market: pl.DataFrame) -> None:
    """More debts than assets: the equity reported and price / book are below zero and pass; no factor takes them for cheap
    (tests of the raw factors)."""
    poor = planted(fundamentals(), 7, item="book_equity", value=-3.2e8)
    assert check_table(FUNDAMENTALS, poor, SanityContext([MONTHS[1]])).findings.is_empty()
    frame = valuation(market)
    below = planted(frame, position(frame, A, date(2022, 2, 15)), pb=-0.8)
    assert judge(below, market).findings.is_empty()


def test_dividends_announced_after_the_ex_day_are_a_warning() -> None:
    frame = pl.DataFrame(
        {
            "month": [MONTHS[1]], "asset_key": pl.Series([asset_key(A)], dtype=pl.Int32), "ex_day": [date(2022, 2, 15)],
            "announced_on": [date(2022, 2, 16)], "cash_per_share": [0.5], "shares_per_share": [0.0],
        }
    )  # fmt: skip
    result = check_table(DIVIDENDS, frame, SanityContext([MONTHS[1]]))
    assert result.findings.select("rule", "severity").rows() == [("0_announced_after_ex_day", "warning")]
    assert result.accepted.height == 1
    empty = check_table(DIVIDENDS, frame.clear(), SanityContext([MONTHS[1]]))
    assert empty.counts.rows() == [(MONTHS[1], 0, 0, 0)]


def test_options_refuse_a_lookback_shorter_than_a_glitch() -> None:
    with pytest.raises(ValueError, match="lookback_days = 45 must exceed"):
        SanityOptions(share_count_return_days=60)
    with pytest.raises(ValueError, match="positive counts"):
        SanityOptions(members={"000016.SH": 0})
    assert hash(SanityOptions()) == hash(SanityOptions())
