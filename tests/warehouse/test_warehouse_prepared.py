"""Relational models on chosen rows: adjusted bars, universe and snapshot, against plain loops where there is one."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from warehouse_rows import model_rows, put, put_sessions

from rotation_pipeline.market.calendar import add_months, last_session, months_between, sessions
from rotation_pipeline.market.identifiers import asset_key
from rotation_pipeline.warehouse.errors import WarehouseError
from rotation_pipeline.warehouse.store import Warehouse, open_warehouse

A, B, C = "600001.SH", "600002.SH", "600003.SH"
JAN, JUN = date(2015, 1, 1), date(2015, 6, 1)


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warehouse]:
    with open_warehouse(tmp_path_factory.mktemp("prepared") / "w.duckdb", threads=1) as opened:
        yield opened


@pytest.fixture(autouse=True)
def _empty(warehouse: Warehouse) -> None:
    for name in ("daily_bars", "daily_valuation", "listings", "dividends", "ingestions", "industries", "index_members"):
        put(warehouse, f"raw.{name}", [])


# --- adjusted bars ---------------------------------------------------------------------------------------------------


def alone_and_in_a_range(warehouse: Warehouse, name: str, first: date, last: date, **parameters: Any) -> pl.DataFrame:
    """Rows of the range, after holding them against those of each month alone, bit for bit."""
    together = model_rows(warehouse, name, first, last, **parameters)
    for month in months_between(first, last):
        alone = model_rows(warehouse, name, month, month, **parameters)
        assert alone.equals(together.filter(pl.col("month") == month), null_equal=True), month
    return together


def expected_returns(bars: list[dict[str, Any]], first: date, listed: dict[str, date]) -> dict[tuple[int, date], float]:
    """The slow way: each traded bar against the one stored before it, but for the first since a listing."""
    found: dict[tuple[int, date], float] = {}
    for bar in bars:
        own = [other for other in bars if other["asset_id"] == bar["asset_id"]]
        before = [other for other in own if other["day"] < bar["day"]]
        start = listed.get(bar["asset_id"])
        since = [other["day"] for other in own if start and start <= other["day"]]
        if before and not bar["is_suspended"] and bar["day"] >= first and bar["day"] != min(since, default=None):
            last = max(before, key=lambda other: other["day"])
            ratio = bar["close"] * bar["adj_factor"] / (last["close"] * last["adj_factor"])
            found[asset_key(bar["asset_id"]), bar["day"]] = ratio - 1
    return found


def returns_of(frame: pl.DataFrame) -> dict[tuple[int, date], float]:
    kept = frame.filter(pl.col("ret").is_not_null())
    return {(key, day): ret for key, day, ret in kept.select("asset_key", "day", "ret").iter_rows()}


def test_a_resumption_spans_a_suspension_without_rows_alone_and_in_a_range(warehouse: Warehouse) -> None:
    days = sessions(date(2012, 1, 1), date(2015, 6, 30))
    traded = [day for day in days if not date(2012, 3, 5) <= day < date(2015, 5, 20)]
    bars = [{"asset_id": A, "day": day, "close": 10.0 + n / 100} for n, day in enumerate(days)]
    bars += [{"asset_id": B, "day": day, "close": 7.0 if day.year == 2012 else 9.1} for day in traded]
    put(warehouse, "raw.daily_bars", bars)
    found = alone_and_in_a_range(warehouse, "intermediate.adjusted_bars", date(2015, 4, 1), JUN)
    whole = alone_and_in_a_range(warehouse, "intermediate.adjusted_bars", date(2012, 2, 1), JUN)
    assert found.equals(whole.filter(pl.col("month") >= date(2015, 4, 1)), null_equal=True)
    resumed = found.filter((pl.col("asset_key") == asset_key(B)) & (pl.col("day") == date(2015, 5, 20)))
    assert resumed["ret"].to_list() == [9.1 / 7.0 - 1]
    assert found.filter(pl.col("asset_key") == asset_key(A))["ret"].null_count() == 0


def test_bars_before_the_listing_of_a_reused_code_are_another_companys(warehouse: Warehouse) -> None:
    relisted = date(2015, 5, 20)
    days = sessions(JAN, date(2015, 6, 30))
    put(
        warehouse,
        "raw.daily_bars",
        [{"asset_id": B, "day": day} for day in days if not date(2015, 2, 3) <= day < relisted],
    )
    put(
        warehouse,
        "raw.listings",
        [
            {"asset_id": B, "month": month, "listed_on": relisted if month >= date(2015, 5, 1) else date(2001, 1, 4)}
            for month in months_between(JAN, JUN)
        ],
    )  # fmt: skip
    found = alone_and_in_a_range(warehouse, "intermediate.adjusted_bars", JAN, JUN)
    empty = found.filter(pl.col("ret").is_null())["day"].to_list()
    assert empty == [days[0], relisted]


@pytest.mark.parametrize("first_bar", [date(2015, 5, 29), date(2015, 6, 1), date(2015, 6, 24)])
def test_the_first_bar_of_a_reused_code_may_come_after_the_month_it_was_listed_in(
    warehouse: Warehouse, first_bar: date
) -> None:
    relisted, days = date(2015, 5, 20), sessions(JAN, date(2015, 6, 30))
    bars = [{"asset_id": B, "day": day} for day in days if not date(2015, 4, 3) <= day < first_bar]
    put(warehouse, "raw.daily_bars", bars)
    old = date(2001, 1, 4)
    rows = [(month, relisted if month >= date(2015, 5, 1) else old) for month in months_between(JAN, JUN)]
    put(warehouse, "raw.listings", [{"asset_id": B, "month": month, "listed_on": listed} for month, listed in rows])
    found = alone_and_in_a_range(warehouse, "intermediate.adjusted_bars", JAN, JUN)
    assert found.filter(pl.col("ret").is_null())["day"].to_list() == [days[0], first_bar]


def test_a_session_listed_in_the_month_keeps_its_later_returns(warehouse: Warehouse) -> None:
    listed = date(2015, 3, 10)
    days = sessions(listed, date(2015, 4, 30))
    put(warehouse, "raw.daily_bars", [{"asset_id": C, "day": day} for day in days])
    months = [date(2015, 3, 1), date(2015, 4, 1)]
    put(warehouse, "raw.listings", [{"asset_id": C, "month": month, "listed_on": listed} for month in months])
    found = alone_and_in_a_range(warehouse, "intermediate.adjusted_bars", JAN, JUN)
    assert found["ret"].null_count() == 1
    assert found.sort("day")["ret"][0] is None


@given(st.data())
@settings(deadline=None, max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_returns_against_the_slow_way_with_any_gaps(warehouse: Warehouse, data: st.DataObject) -> None:
    days = sessions(JAN, date(2015, 6, 30))[::6]
    bars: list[dict[str, Any]] = []
    for asset in (A, B, C):
        kept = data.draw(st.lists(st.sampled_from(days), unique=True))
        for day in sorted(kept):
            price = data.draw(st.integers(100, 9_999)) / 100
            suspended = data.draw(st.booleans())
            bars.append({"asset_id": asset, "day": day, "close": price, "adj_factor": 1.25, "is_suspended": suspended})
    put(warehouse, "raw.daily_bars", bars)
    listed = {B: data.draw(st.sampled_from(days))}
    first = listed[B].replace(day=1)
    put(
        warehouse, "raw.listings",
        [{"asset_id": B, "month": month, "listed_on": listed[B]} for month in months_between(first, JUN)],
    )  # fmt: skip
    found = alone_and_in_a_range(warehouse, "intermediate.adjusted_bars", date(2015, 2, 1), JUN)
    expected = expected_returns(bars, date(2015, 2, 1), listed)
    assert returns_of(found) == expected


# --- universe --------------------------------------------------------------------------------------------------------


def members_of(warehouse: Warehouse, industries: list[dict[str, Any]], months: list[date]) -> None:
    put_sessions(warehouse, months[0], last_session(months[-1]))
    assets = (A, B, C)
    put(warehouse, "raw.index_members", [{"asset_id": asset, "month": month} for asset in assets for month in months])
    put(warehouse, "raw.daily_bars", [{"asset_id": asset, "day": last_session(month)} for asset in assets for month in months])  # fmt: skip
    put(warehouse, "raw.industries", [{**row, "month": month} for row in industries for month in months])


def industries_of(frame: pl.DataFrame, month: date) -> list[str | None]:
    return frame.filter(pl.col("month") == month).sort("asset_key")["industry"].to_list()


MIXED = [
    {"asset_id": A, "scheme": "csrc", "industry": "J66"},
    {"asset_id": A, "scheme": "sw", "industry": "bank"},
    {"asset_id": B, "scheme": "csrc", "industry": "C15", "valid_from": date(2014, 1, 2)},
    {"asset_id": B, "scheme": "sw", "industry": "food"},
    {"asset_id": C, "scheme": "sw", "industry": "steel"},
]


@pytest.mark.parametrize("order", [1, -1])
def test_industries_of_two_schemes_are_never_mixed(warehouse: Warehouse, order: int) -> None:
    members_of(warehouse, MIXED[::order], [JAN, date(2015, 2, 1)])
    found = alone_and_in_a_range(warehouse, "intermediate.universe", JAN, date(2015, 2, 1))
    assert industries_of(found, JAN) == ["bank", "food", "steel"]
    chosen = alone_and_in_a_range(warehouse, "intermediate.universe", JAN, date(2015, 2, 1), industry_scheme="csrc")
    assert industries_of(chosen, JAN) == ["J66", "C15", None]


@pytest.mark.parametrize("order", [1, -1])
def test_equal_coverage_is_settled_by_the_name_of_the_scheme(warehouse: Warehouse, order: int) -> None:
    members_of(warehouse, MIXED[:4][::order], [JAN])
    assert industries_of(model_rows(warehouse, "intermediate.universe", JAN, JAN), JAN) == ["J66", "C15", None]


def test_the_latest_valid_classification_of_the_scheme_counts(warehouse: Warehouse) -> None:
    rows = [
        {"asset_id": A, "scheme": "sw", "industry": "old", "valid_to": date(2015, 1, 12)},
        {"asset_id": A, "scheme": "sw", "industry": "new", "valid_from": date(2015, 1, 12)},
        {"asset_id": B, "scheme": "sw", "industry": "first"},
        {"asset_id": B, "scheme": "sw", "industry": "second", "valid_from": date(2014, 7, 1)},
        {"asset_id": C, "scheme": "sw", "industry": "gone", "valid_to": date(2015, 1, 30)},
    ]
    members_of(warehouse, rows, [JAN])
    assert industries_of(model_rows(warehouse, "intermediate.universe", JAN, JAN), JAN) == ["new", "second", None]


def test_a_scheme_nobody_has_is_refused_by_name(warehouse: Warehouse) -> None:
    members_of(warehouse, MIXED, [JAN])
    with pytest.raises(WarehouseError, match=r"universe.*2015-01.*scheme gics.*universe\.industry_scheme"):
        model_rows(warehouse, "intermediate.universe", JAN, JAN, industry_scheme="gics")


def test_without_industries_they_are_unknown(warehouse: Warehouse) -> None:
    members_of(warehouse, [], [JAN])
    assert industries_of(model_rows(warehouse, "intermediate.universe", JAN, JAN), JAN) == [None, None, None]


# --- snapshot: dividend yield ----------------------------------------------------------------------------------------

MAY = date(2015, 5, 1)


def snapshot(
    warehouse: Warehouse, served: list[date], yields: dict[str, float | None], last: date = JUN
) -> pl.DataFrame:
    """Rows of May and June 2015 with A's two payments, ``served`` months of dividends and the source's own yields."""
    put_sessions(warehouse, date(2014, 5, 1), last_session(JUN))
    months = [MAY, JUN]
    assets = list(yields)
    put(warehouse, "raw.daily_bars", [{"asset_id": asset, "day": last_session(month)} for asset in assets for month in months])  # fmt: skip
    put(
        warehouse,
        "raw.daily_valuation",
        [
            {"asset_id": asset, "day": last_session(month), "dividend_yield_ttm": yields[asset]}
            for asset in assets
            for month in months
        ],
    )  # fmt: skip
    if served:
        put(
            warehouse,
            "raw.dividends",
            [
                {"asset_id": A, "ex_day": date(2014, 7, 10), "cash_per_share": 0.4},
                {"asset_id": A, "ex_day": date(2015, 4, 10), "cash_per_share": 0.1, "shares_per_share": 1.0},
            ],
        )
    every = [{"table_name": "daily_bars", "month": month} for month in months_between(date(2014, 5, 1), JUN)]
    put(warehouse, "raw.ingestions", [*every, *({"table_name": "dividends", "month": month} for month in served)])
    return alone_and_in_a_range(warehouse, "intermediate.stock_snapshot", MAY, last)


def yields_of(frame: pl.DataFrame, month: date) -> list[float | None]:
    return frame.filter(pl.col("month") == month).sort("asset_key")["dividend_yield"].to_list()


def test_dividends_served_give_the_cash_paid_and_zero_where_none_was(warehouse: Warehouse) -> None:
    found = snapshot(warehouse, months_between(date(2014, 5, 1), JUN), {A: 0.5, B: 0.5})
    # one new share for each held on 2015-04-10: both payments were for half as many shares as a holder has now
    assert yields_of(found, JUN) == [pytest.approx((0.4 / 2 + 0.1 / 2) / 10.0), 0.0]


def test_a_source_without_dividends_gives_its_own_yield_or_none(warehouse: Warehouse) -> None:
    found = snapshot(warehouse, [], {A: 0.03, B: None})
    assert yields_of(found, MAY) == [0.03, None]
    assert yields_of(found, JUN) == [0.03, None]


def test_a_month_without_dividends_makes_the_sum_unknown(warehouse: Warehouse) -> None:
    every = months_between(date(2014, 5, 1), JUN)
    found = snapshot(warehouse, [month for month in every if month != date(2014, 11, 1)], {A: 0.03, B: None})
    assert yields_of(found, JUN) == [0.03, None]


def listed_twice(relisted: date, corrected: date | None = None) -> list[dict[str, Any]]:
    """A's code with another company from ``relisted`` on; ``corrected``: the first one's day, corrected in 2015-02."""
    months = months_between(date(2013, 1, 1), JUN)
    old, other = date(2001, 1, 4), corrected or date(2001, 1, 4)
    return [
        {"asset_id": A, "month": month, "listed_on": relisted if month >= relisted.replace(day=1) else other if month >= date(2015, 2, 1) else old}
        for month in months
    ]  # fmt: skip


def test_dividends_of_the_company_that_had_the_code_before_are_not_counted(warehouse: Warehouse) -> None:
    every = months_between(date(2014, 5, 1), JUN)
    put(warehouse, "raw.listings", listed_twice(date(2015, 6, 3)))
    found = snapshot(warehouse, every, {A: 0.5, B: 0.5})
    assert yields_of(found, MAY) == [pytest.approx((0.4 / 2 + 0.1 / 2) / 10.0), 0.0], "the first company's own"
    assert yields_of(found, JUN) == [0.0, 0.0]
    put(warehouse, "raw.listings", listed_twice(date(2015, 4, 10)))
    assert yields_of(snapshot(warehouse, every, {A: 0.5, B: 0.5}), JUN)[0] == pytest.approx(0.1 / 2 / 10.0)
    put(warehouse, "raw.listings", listed_twice(date(2015, 9, 1), corrected=date(2014, 12, 1)))
    found = snapshot(warehouse, every, {A: 0.5, B: 0.5})
    assert yields_of(found, JUN)[0] == pytest.approx((0.4 / 2 + 0.1 / 2) / 10.0), (
        "a corrected day makes no other company"
    )


# --- reported items --------------------------------------------------------------------------------------------------


def reported(warehouse: Warehouse, listed: list[dict[str, Any]]) -> dict[tuple[date, str], tuple[float, float | None]]:
    """(month, item) → (value, the year before's) of A in April to June 2015."""
    put_sessions(warehouse, date(2012, 5, 1), last_session(JUN))
    periods = [
        (date(2013, 12, 31), date(2014, 4, 20), "roe_ttm", 0.10), (date(2014, 12, 31), date(2015, 4, 20), "roe_ttm", 0.11),
        (date(2013, 12, 31), date(2014, 4, 20), "net_profit_ttm", 5.0), (date(2014, 12, 31), date(2015, 6, 8), "roe_ttm", 0.30),
    ]  # fmt: skip
    put(
        warehouse, "raw.fundamentals",
        [{"asset_id": A, "month": told.replace(day=1), "report_period": period, "announced_on": told, "item": item, "value": value,
          "is_revision": False, "announcement_is_deadline": False} for period, told, item, value in periods],
    )  # fmt: skip
    put(warehouse, "raw.listings", listed)
    found = alone_and_in_a_range(warehouse, "intermediate.fundamentals_as_of", date(2015, 4, 1), JUN)
    return {(row["month"], row["item"]): (row["value"], row["value_year_ago"]) for row in found.to_dicts()}


def test_reports_of_the_company_that_had_the_code_before_are_not_known_of_the_present_one(warehouse: Warehouse) -> None:
    one = reported(warehouse, [])
    april = date(2015, 4, 1)
    assert one == {
        (april, "roe_ttm"): (0.11, 0.10), (MAY, "roe_ttm"): (0.11, 0.10), (JUN, "roe_ttm"): (0.30, 0.10),
        (april, "net_profit_ttm"): (5.0, None), (MAY, "net_profit_ttm"): (5.0, None), (JUN, "net_profit_ttm"): (5.0, None),
    }  # fmt: skip
    two = reported(warehouse, listed_twice(date(2015, 5, 20)))
    assert two == {
        (april, "roe_ttm"): (0.11, 0.10), (april, "net_profit_ttm"): (5.0, None), (JUN, "roe_ttm"): (0.30, None)
    }  # fmt: skip
    new = [row for row in listed_twice(date(2015, 5, 20)) if row["month"] >= MAY]
    assert reported(warehouse, new) == one, "what a company reports before its own listing is its own"


def test_the_window_starts_twelve_months_before_the_last_session(warehouse: Warehouse) -> None:
    # the last session of May 2015 is the 29th, so that an ex-day on 2014-05-30 counts; June ends on a session
    without_june = months_between(date(2014, 7, 1), JUN)
    found = snapshot(warehouse, without_june, {A: 0.03, B: None})
    assert yields_of(found, MAY) == [0.03, None]
    assert yields_of(found, JUN)[1] == 0.0
    without_may = months_between(add_months(JUN, -12), JUN)
    found = snapshot(warehouse, without_may, {A: 0.03, B: None})
    assert yields_of(found, MAY) == [0.03, None]
    found = snapshot(warehouse, months_between(add_months(JUN, -13), JUN), {A: 0.03, B: None})
    assert yields_of(found, MAY)[1] == 0.0


def test_the_universe_setting_reaches_the_query(tmp_path: Path) -> None:
    from rotation_pipeline.orchestration.graph import stage_named
    from rotation_pipeline.orchestration.stages import Work
    from rotation_pipeline.settings import load_settings
    from rotation_pipeline.sources.simulated import SimulatedSource

    with open_warehouse(tmp_path / "w.duckdb", threads=1) as opened:
        members_of(opened, MIXED, [JAN])
        chosen = load_settings(universe={"industry_scheme": "csrc"})
        work = Work(opened, chosen, SimulatedSource(chosen.simulation), "test", [JAN])
        rows = stage_named("universe").compute(work)["intermediate.universe"]
    assert isinstance(rows, pl.DataFrame)
    assert industries_of(rows, JAN) == ["J66", "C15", None]


def test_a_month_in_which_members_have_no_bars_is_refused(warehouse: Warehouse) -> None:
    """A list of members that goes on where only the bars of survivors do."""
    months = [JAN, date(2015, 2, 1)]
    members_of(warehouse, [], months)
    warehouse.execute("DELETE FROM raw.daily_bars WHERE month = ? AND asset_key = ?", [months[1], asset_key(C)])
    found = model_rows(warehouse, "intermediate.universe", JAN, JAN, maximum_absent=0.0)
    assert found["in_estimation"].to_list() == [True] * 3
    with pytest.raises(WarehouseError, match=r"universe: .*1 of 3 members of 000016\.SH .* 2015-02.* survivors.*--to.*maximum_absent"):  # fmt: skip
        model_rows(warehouse, "intermediate.universe", JAN, months[1], maximum_absent=0.3)
    kept = model_rows(warehouse, "intermediate.universe", JAN, months[1], maximum_absent=0.34)
    assert kept.filter(pl.col("month") == months[1]).sort("asset_key")["in_estimation"].to_list() == [True, True, False]
