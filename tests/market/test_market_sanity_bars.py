"""Sanity rules 1, 2, 5, 6 and 7 on daily bars with planted errors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import polars as pl
import pytest
from market_frames import ASSETS, MONTHS, bars, listings, planted, position, with_month

from rotation_pipeline.market.calendar import add_months
from rotation_pipeline.market.identifiers import asset_key
from rotation_pipeline.market.options import SanityOptions
from rotation_pipeline.market.sanity import (
    PartitionRejected,
    SanityContext,
    SanityError,
    SchemaMismatch,
    check_table,
    windows,
)
from rotation_pipeline.market.sanity import bars as sanity_bars
from rotation_pipeline.market.tables import DAILY_BARS

A, B, C, D = ASSETS
DAY = date(2022, 2, 15)


@pytest.fixture(scope="module")
def market() -> pl.DataFrame:
    return bars()


def judge(frame: pl.DataFrame, **options: object):
    context = SanityContext(MONTHS, SanityOptions(**options), listings=listings(frame))
    return check_table(DAILY_BARS, frame, context)


def only(frame: pl.DataFrame, rule: str, asset: str = A, day: date = DAY) -> str:
    """The frame's single quarantined row is that of ``asset`` on ``day``, by ``rule``; its detail."""
    result = judge(frame)
    kept_out = result.findings.filter(pl.col("severity") == "quarantined")
    assert [json.loads(key) for key in kept_out["row_key"]] == [{"asset_id": asset, "day": day.isoformat()}]
    assert kept_out["rule"].to_list() == [rule]
    assert kept_out["month"].to_list() == [day.replace(day=1)]
    assert json.loads(kept_out["row"][0])["asset_id"] == asset
    assert result.accepted.height == frame.height - 1
    assert result.accepted.filter((pl.col("asset_key") == asset_key(asset)) & (pl.col("day") == day)).is_empty()
    assert result.counts.filter(pl.col("quarantined") > 0).select("month", "quarantined").rows() == [
        (day.replace(day=1), 1)
    ]
    return kept_out["detail"][0]


def test_sound_market_passes_whole(market: pl.DataFrame) -> None:
    result = judge(market.sample(fraction=1.0, shuffle=True, seed=1))
    assert result.findings.is_empty()
    assert result.accepted.equals(market.sort("month", "asset_key", "day"))
    assert result.counts["rows"].sum() == market.height


def test_average_price_outside_the_range(market: pl.DataFrame) -> None:
    assert "amount / volume" in only(
        planted(market, position(market, A, DAY), amount=pl.col("amount") * 1.1), "1_amount_per_share"
    )


@pytest.mark.parametrize(
    ("volume", "amount", "hint"),
    [
        (0.01, 1.0, "lots of 100 shares: write volume"),
        (1.0, 0.001, "thousand CNY: write amount"),
        (0.01, 0.001, "write factor = 100 for volume and factor = 1000 for amount"),
        (1.0, 0.0001, "10,000 CNY"),
    ],
)
def test_vendor_units_are_recognised(market: pl.DataFrame, volume: float, amount: float, hint: str) -> None:
    wrong = market.with_columns(pl.col("volume") * volume, pl.col("amount") * amount)
    with pytest.raises(PartitionRejected, match=hint) as caught:
        judge(wrong)
    assert (caught.value.table, caught.value.month, caught.value.rule) == (
        "raw.daily_bars",
        MONTHS[0],
        "1_amount_per_share",
    )
    assert caught.value.share == 1.0
    assert "2022-01" in str(caught.value)
    assert A in str(caught.value) or "asset_id" in str(caught.value)


@pytest.mark.parametrize(
    "wrong",
    [
        {"close": 0.0},
        {"low": 0.0, "open": 0.0},
        {"prev_close": 0.0},
        {"high": pl.col("low")},
        {"volume": 0.0},
        {"is_suspended": True},
        {"is_suspended": True, "volume": 0.0},
    ],
)
def test_prices_out_of_order(market: pl.DataFrame, wrong: dict[str, object]) -> None:
    frame = planted(market, position(market, A, DAY), **wrong)
    result = judge(frame)
    kept_out = result.findings.filter(pl.col("severity") == "quarantined")
    assert "2_price_order" in kept_out["rule"].to_list()
    assert kept_out["row_key"].n_unique() == 1  # the next row is not blamed


def test_suspended_day_passes(market: pl.DataFrame) -> None:
    at = position(market, A, DAY)
    still = pl.col("prev_close")
    frame = planted(
        market, at, is_suspended=True, volume=0.0, amount=0.0, open=still, high=still, low=still, close=still
    )
    frame = planted(frame, at + 1, prev_close=pl.col("close").shift(1))
    assert judge(frame).findings.is_empty()


def limit_breach(market: pl.DataFrame, asset: str, factor: float, row: int | None = None) -> pl.DataFrame:
    """A close at ``factor`` × prev_close, everything else of the day in order; later rows follow in the factor."""
    at = position(market, asset, DAY) if row is None else row
    frame = planted(market, at, close=(pl.col("prev_close") * factor).round(2))
    frame = planted(
        frame, at, high=pl.max_horizontal("open", "close"), low=pl.min_horizontal("open", "close"),
        amount=pl.col("volume") * (pl.col("open") + pl.col("close")) / 2,
    )  # fmt: skip
    return planted(frame, at + 1, prev_close=frame["close"][at], adj_factor=pl.lit(1.0))


def test_limit_breach(market: pl.DataFrame) -> None:
    frame = limit_breach(market, A, 1.13)
    detail = judge(frame).findings.filter(pl.col("row_key").str.contains(DAY.isoformat()))
    assert detail["rule"].to_list() == ["5_price_limit"]
    # 13 % is inside the 20 % of ChiNext (since 2020-08-24) and STAR
    for free in (C, D):
        hits = judge(limit_breach(market, free, 1.13)).findings
        assert hits.filter(pl.col("row_key").str.contains(DAY.isoformat())).is_empty()
    assert "5_price_limit" in judge(limit_breach(market, D, 1.25)).findings["rule"].to_list()


def test_a_bar_on_a_board_that_did_not_exist_yet_is_kept_out(
    market: pl.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = market["day"].unique().sort()[:2].to_list()
    monkeypatch.setitem(sanity_bars.FIRST_RULES, "star", second)
    with pytest.raises(PartitionRejected, match=f"688001.SH.*board star did not exist on {first}"):
        judge(market)


def test_limit_of_special_treatment(market: pl.DataFrame) -> None:
    at = position(market, A, DAY)
    frame = limit_breach(market, A, 1.06)
    assert "5_price_limit" not in judge(frame).findings["rule"].to_list()
    assert "5_price_limit" in judge(planted(frame, at, is_st=True)).findings["rule"].to_list()


def test_new_listing_has_its_own_limits(market: pl.DataFrame) -> None:
    first = date(2022, 1, 4)
    frame = limit_breach(market, D, 3.0, position(market, D, first))
    seasoned = judge(frame).findings
    assert seasoned.filter(pl.col("row_key").str.contains(first.isoformat()))["rule"].to_list() == ["5_price_limit"]
    newly = listings(frame).with_columns(
        pl.when(pl.col("asset_key") == asset_key(D)).then(pl.lit(first)).otherwise("listed_on").alias("listed_on")
    )
    found = check_table(DAILY_BARS, frame, SanityContext(MONTHS, listings=newly)).findings
    assert found.filter(pl.col("row_key").str.contains(first.isoformat())).is_empty()


def test_resumption_is_exempt(market: pl.DataFrame) -> None:
    at = position(market, A, DAY)
    still = market["close"][at - 2]
    frame = planted(
        market, at - 1, is_suspended=True, volume=0.0, amount=0.0, open=still, high=still, low=still, close=still
    )
    frame = planted(frame, at, prev_close=still)
    frame = limit_breach(frame, A, 1.4)
    found = judge(frame).findings
    assert found.filter(pl.col("row_key").str.contains(DAY.isoformat())).is_empty()


def test_factor_that_ignores_an_ex_day(market: pl.DataFrame) -> None:
    # the exchange's previous close is 5 % lower, the factor says nothing of it
    at = position(market, A, DAY)
    frame = planted(market, at, prev_close=(pl.col("prev_close") * 0.95).round(2))
    assert "adjusted return" in only(frame, "6_adjusted_return")


def test_single_wrong_factor_blames_its_row_only(market: pl.DataFrame) -> None:
    for wrong in (0.7, 1.3):
        found = judge(planted(market, position(market, A, DAY), adj_factor=wrong)).findings
        assert {json.loads(key)["day"] for key in found["row_key"]} == {DAY.isoformat()}
        assert "6_adjusted_return" in found["rule"].to_list()
        assert ("6_factor_decrease" in found["rule"].to_list()) == (wrong < 1)


def test_false_jump_of_the_factor(market: pl.DataFrame) -> None:
    later = (pl.col("asset_key") == asset_key(A)) & (pl.col("day") >= DAY)
    frame = market.with_columns(pl.when(later).then(1.2).otherwise(pl.col("adj_factor")).alias("adj_factor"))
    only(frame, "6_adjusted_return")


def test_factor_may_fall_by_rounding(market: pl.DataFrame) -> None:
    later = (pl.col("asset_key") == asset_key(A)) & (pl.col("day") >= DAY)
    tiny = market.with_columns(pl.when(later).then(1 - 5e-7).otherwise(pl.col("adj_factor")).alias("adj_factor"))
    assert judge(tiny).findings.is_empty()


def test_true_ex_day_passes(market: pl.DataFrame) -> None:
    at = position(market, A, DAY)
    before = market["close"][at - 1]
    ex = round(before - 0.37, 2)
    later = (pl.col("asset_key") == asset_key(A)) & (pl.col("day") >= DAY)
    frame = planted(market, at, prev_close=ex)
    frame = frame.with_columns(pl.when(later).then(before / ex).otherwise(pl.col("adj_factor")).alias("adj_factor"))
    assert judge(frame).findings.is_empty()


def test_a_dividend_and_a_split_on_one_day(market: pl.DataFrame) -> None:
    """0.37 in cash and one new share for two: the factor must hold both; with one of them left out its row is named."""
    at = position(market, A, DAY)
    before = market["close"][at - 1]
    later = (pl.col("asset_key") == asset_key(A)) & (pl.col("day") >= DAY)
    prices = ("open", "high", "low", "close", "prev_close")
    split = market.with_columns(
        *(pl.when(later).then((pl.col(name) / 1.5).round(2)).otherwise(pl.col(name)).alias(name) for name in prices)
    )
    average = pl.when(later).then(pl.col("volume") * (pl.col("low") + pl.col("high")) / 2).otherwise(pl.col("amount"))
    ex = round((before - 0.37) / 1.5, 2)
    # the day after an ex-day has the close before it, whatever the rounding of a third
    follows = later & (pl.col("day") > DAY)
    split = split.sort("asset_key", "day").with_columns(
        average.alias("amount"),
        pl.when(follows).then(pl.col("close").shift(1).over("asset_key")).otherwise(pl.col("prev_close")).alias("prev_close"),
        pl.max_horizontal("open", "high", "close").alias("high"), pl.min_horizontal("open", "low", "close").alias("low"),
    )  # fmt: skip
    split = planted(split, position(split, A, DAY), prev_close=ex)

    def with_factor(factor: float) -> pl.DataFrame:
        return split.with_columns(pl.when(later).then(factor).otherwise(pl.col("adj_factor")).alias("adj_factor"))

    assert judge(with_factor(before / ex)).findings.is_empty()
    for wrong in (1.5, before / (before - 0.37)):
        only(with_factor(wrong), "6_adjusted_return")


def test_every_copy_of_a_key_is_kept_out(market: pl.DataFrame) -> None:
    at = position(market, A, DAY)
    frame = pl.concat([market, planted(market.slice(at, 1), 0, close=pl.col("close") + 0.01)])
    result = judge(frame)
    assert result.findings["rule"].to_list() == ["7_duplicate_key"]
    assert len(json.loads(result.findings["row"][0])) == 2
    assert result.accepted.height == market.height - 1
    assert result.counts["quarantined"].sum() == 2


def test_gap_is_reported_once_per_security_and_month(market: pl.DataFrame) -> None:
    gone = (pl.col("asset_key") == asset_key(A)) & pl.col("day").is_between(DAY, DAY + timedelta(days=2))
    found = judge(market.filter(~gone)).findings
    assert found.select("rule", "severity", "row").rows() == [("7_missing_session", "warning", "null")]
    assert "3 sessions from 2022-02-15 to 2022-02-17" in found["detail"][0]


def test_row_outside_the_listing(market: pl.DataFrame) -> None:
    delisted = listings(market).with_columns(
        pl.when(pl.col("asset_key") == asset_key(A)).then(pl.lit(DAY)).otherwise("delisted_on").alias("delisted_on")
    )
    found = check_table(DAILY_BARS, market, SanityContext(MONTHS, listings=delisted)).findings
    assert set(found["rule"]) == {"7_not_listed"}
    assert set(found["severity"]) == {"warning"}
    assert found.height == 2  # one in February, one in March


def test_day_without_session(market: pl.DataFrame) -> None:
    frame = planted(market, position(market, A, DAY), day=date(2022, 2, 12))
    rules = judge(frame).findings.filter(pl.col("severity") == "quarantined")["rule"].to_list()
    assert rules == ["7_not_a_session"]


def test_nulls_ranges_and_categories(market: pl.DataFrame) -> None:
    at = position(market, A, DAY)
    only(planted(market, at, close=None), "0_null")
    only(planted(market, at, close=float("nan")), "0_null")
    only(planted(market, at, volume=-1.0), "0_range")
    only(planted(market, at, amount=float("inf")), "0_range")
    only(planted(market, at, board="nasdaq"), "0_category")


def test_more_than_one_percent_is_refused(market: pl.DataFrame) -> None:
    february = market.filter(pl.col("month") == MONTHS[1]).height
    limit = int(february * 0.01)
    marked = market.with_columns(
        (pl.col("month") == MONTHS[1]).cum_sum().alias("n"),
    )
    bad = (pl.col("month") == MONTHS[1]) & (pl.col("n") % 50 == 0) & (pl.col("n") <= 50 * limit)
    just = marked.with_columns(pl.when(bad).then(-1.0).otherwise(pl.col("volume")).alias("volume")).drop("n")
    assert judge(just).counts["quarantined"].sum() == limit
    more = (pl.col("month") == MONTHS[1]) & (pl.col("n") % 50 == 0) & (pl.col("n") <= 50 * (limit + 1))
    over = marked.with_columns(pl.when(more).then(-1.0).otherwise(pl.col("volume")).alias("volume")).drop("n")
    with pytest.raises(PartitionRejected, match=r"raw\.daily_bars 2022-02") as caught:
        judge(over)
    assert caught.value.findings.height == limit + 1
    assert judge(over, maximum_quarantined=0.02).counts["quarantined"].sum() == limit + 1


def test_schema_errors_name_table_and_column(market: pl.DataFrame) -> None:
    with pytest.raises(SchemaMismatch, match=r"raw\.daily_bars: column 'adj_factor' is missing"):
        judge(market.drop("adj_factor"))
    with pytest.raises(SchemaMismatch, match="column 'close' is String, expected Float64"):
        judge(market.with_columns(pl.col("close").cast(pl.String)))
    with pytest.raises(SanityError, match="a month not judged"):
        check_table(DAILY_BARS, market, SanityContext(MONTHS[:2]))


def test_a_month_alone_equals_the_month_in_a_range(market: pl.DataFrame) -> None:
    frame = market
    for day, change in (
        (date(2022, 1, 28), {"adj_factor": 1.3}), (date(2022, 2, 7), {"adj_factor": 1.4}),
        (date(2022, 2, 28), {"close": 0.0}), (date(2022, 3, 1), {"prev_close": pl.col("prev_close") * 0.9}),
    ):  # fmt: skip
        frame = planted(frame, position(frame, A, day), **change)
    snapshots = listings(frame)
    together = check_table(DAILY_BARS, frame, SanityContext(MONTHS, listings=snapshots))
    assert together.findings.height >= 4
    for month in MONTHS:
        rows = frame.filter(pl.col("month") == month)
        earlier = frame.filter((pl.col("day") < month) & (pl.col("day") >= month - timedelta(days=45)))
        alone = check_table(
            DAILY_BARS,
            rows,
            SanityContext([month], earlier=earlier, listings=snapshots.filter(pl.col("month") == month)),
        )
        assert alone.accepted.equals(together.accepted.filter(pl.col("month") == month))
        assert alone.findings.equals(together.findings.filter(pl.col("month") == month))
        assert alone.counts.equals(together.counts.filter(pl.col("month") == month))


def test_months_helper_frames_are_whole() -> None:
    assert MONTHS[-1] == add_months(MONTHS[0], 2)
    assert with_month(bars().drop("month"))["month"].unique().sort().to_list() == MONTHS


def test_a_large_market_is_judged_a_few_months_at_a_time_with_equal_findings(
    market: pl.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = planted(market, position(market, A, DAY), close=99.0, high=99.1)
    wrong = planted(wrong, position(market, B, date(2022, 3, 1)), adj_factor=1.5)  # held against the month before
    whole = judge(wrong)
    assert whole.findings.height >= 2
    sizes: list[int] = []
    cut = windows.windows

    def counted(*given: Any) -> Iterator[tuple[list[date], pl.DataFrame]]:
        for chunk, rows in cut(*given):
            sizes.append(len(chunk))
            yield chunk, rows

    monkeypatch.setattr(sanity_bars, "windows", counted)
    for rows, expected in ((market.height, [3]), (market.height // 2, [1, 1, 1]), (1, [1, 1, 1])):
        monkeypatch.setattr(windows, "ROWS_AT_ONCE", rows)
        sizes.clear()
        parts = judge(wrong)
        assert sizes == expected
        assert parts.findings.equals(whole.findings)
        assert parts.accepted.equals(whole.accepted)
