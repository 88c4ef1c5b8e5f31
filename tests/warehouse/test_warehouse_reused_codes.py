"""Codes given to another company: SQL models and Python say the same, on a made-up exchange that reuses them in every way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from warehouse_rows import model_rows, put, put_sessions

from rotation_pipeline.market.calendar import add_months, last_session, month_last_day, months_between, sessions
from rotation_pipeline.market.identifiers import asset_id, asset_key
from rotation_pipeline.market.reused_codes import later_companies, present_since, reused_codes
from rotation_pipeline.notebook.market import adjusted_bars, month_end_figures
from rotation_pipeline.warehouse.store import Warehouse, open_warehouse

TWICE, CORRECTED, THIS_MONTH, NEW, EDGE, LAST_DAY = (f"60000{n}.SH" for n in range(1, 7))
OLD = date(2001, 1, 4)
FIRST, LAST = date(2012, 5, 1), date(2015, 6, 1)
MONTHS = months_between(FIRST, LAST)
ENDS = months_between(date(2015, 3, 1), LAST)
Listing = tuple[str, date, date, date]
"""A code, its first day, and the first and last month it is known by that day."""
CASES: list[Listing] = [
    (TWICE, OLD, FIRST, date(2013, 2, 1)), (TWICE, date(2013, 6, 3), date(2013, 6, 1), date(2014, 9, 1)),
    (TWICE, date(2015, 2, 11), date(2015, 2, 1), LAST),
    (CORRECTED, OLD, FIRST, date(2015, 1, 1)), (CORRECTED, date(2014, 12, 1), date(2015, 2, 1), LAST),
    (THIS_MONTH, OLD, FIRST, date(2015, 1, 1)), (THIS_MONTH, date(2015, 6, 1), LAST, LAST),
    (NEW, date(2015, 3, 10), date(2015, 3, 1), LAST),
    (EDGE, OLD, FIRST, date(2012, 11, 1)), (EDGE, date(2015, 5, 4), date(2015, 5, 1), LAST),  # 30 months before May
    (LAST_DAY, OLD, FIRST, date(2015, 2, 1)), (LAST_DAY, date(2015, 5, 31), date(2015, 5, 1), LAST),  # after the last session
]  # fmt: skip


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warehouse]:
    with open_warehouse(tmp_path_factory.mktemp("reused") / "w.duckdb", threads=1) as opened:
        yield opened


def put_listings(warehouse: Warehouse, cases: Sequence[Listing]) -> pl.DataFrame:
    rows = [
        {"asset_id": code, "month": month, "listed_on": listed}
        for code, listed, first, last in cases
        for month in months_between(first, last)
    ]
    put(warehouse, "raw.listings", rows)
    return warehouse.read("raw.listings", columns=("month", "asset_key", "listed_on"))


def view(warehouse: Warehouse) -> pl.DataFrame:
    rows = warehouse.query("SELECT * FROM staging.reused_codes ORDER BY month, asset_key")
    assert rows["asset_id"].to_list() == [asset_id(key) for key in rows["asset_key"]]
    return rows.drop("asset_id")


def test_the_view_has_the_rows_of_the_function(warehouse: Warehouse) -> None:
    listings = put_listings(warehouse, CASES)
    expected = [
        (date(2013, 6, 1), TWICE, date(2013, 6, 3), date(2013, 2, 1)),
        (date(2015, 2, 1), TWICE, date(2015, 2, 11), date(2014, 9, 1)),
        (date(2015, 5, 1), EDGE, date(2015, 5, 4), date(2012, 11, 1)),
        (date(2015, 5, 1), LAST_DAY, date(2015, 5, 31), date(2015, 2, 1)),
        (date(2015, 6, 1), THIS_MONTH, date(2015, 6, 1), date(2015, 1, 1)),
    ]
    found = view(warehouse)
    assert found.rows() == [(month, asset_key(code), listed, before) for month, code, listed, before in expected]
    assert_frame_equal(reused_codes(listings), found)
    pairs = [(asset_key(code), listed) for _, code, listed, _ in expected]
    assert later_companies(listings).rows() == sorted(pairs)
    for month in ENDS:  # what came later changes nothing
        known = pl.col("month") <= month
        assert_frame_equal(reused_codes(listings.filter(known)), found.filter(known))


def slowly(cases: pl.DataFrame, end: date, months: int) -> dict[int, date]:
    """The rule in words: listed in its month, by the month's last session; another one listed earlier was known before."""
    rows = cases.rows()
    found: dict[int, date] = {}
    for month, key, listed in rows:
        before = [when for when, other, earlier in rows if other == key and earlier < listed and when < month]
        begun = month <= listed <= month_last_day(month) and month <= end and listed <= last_session(end)
        if begun and any(when >= add_months(end, -months) for when in before):
            found[key] = max(found.get(key, listed), listed)
    return found


@given(st.data())
@settings(deadline=None, max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_listings(warehouse: Warehouse, data: st.DataObject) -> None:
    days = st.dates(date(2012, 1, 1), date(2015, 6, 30))
    rows = {
        (code, month): data.draw(days)
        for code in (TWICE, NEW)
        for month in data.draw(st.lists(st.sampled_from(MONTHS[-12:]), unique=True, max_size=8))
    }
    put(
        warehouse,
        "raw.listings",
        [{"asset_id": code, "month": month, "listed_on": day} for (code, month), day in rows.items()],
    )
    listings = warehouse.read("raw.listings", columns=("month", "asset_key", "listed_on"))
    assert_frame_equal(reused_codes(listings), view(warehouse))
    ends = pl.DataFrame({"month": ENDS, "last_day": [last_session(month) for month in ENDS]})
    for months in (2, 12):
        since = present_since(reused_codes(listings), ends, months)
        found = {
            month: dict(rows.select("asset_key", "since").iter_rows()) for (month,), rows in since.group_by("month")
        }
        assert {month: found.get(month, {}) for month in ENDS} == {
            month: slowly(listings, month, months) for month in ENDS
        }


@given(st.data())
@settings(deadline=None, max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_returns_of_any_listings_are_those_of_the_notebook(warehouse: Warehouse, data: st.DataObject) -> None:
    """Adjusted bars of SQL, alone and in a range, against the frame a notebook makes of the same rows."""
    days = sessions(ENDS[0], date(2015, 6, 30))[::4]
    kept = data.draw(st.lists(st.sampled_from(days), unique=True, min_size=1))
    bars = [
        {"asset_id": TWICE, "day": day, "close": 8.0 + n, "is_suspended": n % 5 == 3}
        for n, day in enumerate(sorted(kept))
    ]
    put(warehouse, "raw.daily_bars", bars)
    known = data.draw(st.lists(st.sampled_from(ENDS), unique=True))
    rows = [{"asset_id": TWICE, "month": month, "listed_on": data.draw(st.sampled_from(days))} for month in known]
    put(warehouse, "raw.listings", rows)
    found = both_ways(warehouse, "intermediate.adjusted_bars")
    tables = (warehouse.read(f"raw.{name}") for name in ("daily_bars", "daily_valuation", "listings"))
    assert_frame_equal(found.select("day", "ret"), adjusted_bars(*tables).select("day", "ret"), check_exact=True)


def test_reports_and_dividends_of_the_present_company_are_those_of_the_notebook(warehouse: Warehouse) -> None:
    """Both SQL models, alone and in a range, and the frames a notebook makes of the same tables."""
    listings = put_listings(warehouse, CASES)
    put_sessions(warehouse, FIRST, last_session(LAST))
    codes = sorted({code for code, *_ in CASES})
    put(
        warehouse, "raw.daily_bars",
        [{"asset_id": code, "day": last_session(month)} for code in codes for month in ENDS],
    )  # fmt: skip
    # halves of halves, so that every order of summing gives the same
    put(
        warehouse, "raw.dividends",
        [{"asset_id": code, "ex_day": month.replace(day=8), "cash_per_share": n / 64, "shares_per_share": float(n % 2)}
         for code in codes for n, month in enumerate(MONTHS)],
    )  # fmt: skip
    reports: list[dict[str, Any]] = [
        {"asset_id": code, "month": month, "report_period": add_months(month, -1).replace(day=28), "announced_on": month.replace(day=20),
         "item": item, "value": float(n), "is_revision": False, "announcement_is_deadline": False}
        for code in codes for n, month in enumerate(MONTHS) for item in ("roe_ttm", "net_profit_ttm") if n % 3 == 0
    ]  # fmt: skip
    put(warehouse, "raw.fundamentals", reports)
    put(warehouse, "raw.ingestions", [{"table_name": "dividends", "month": month} for month in MONTHS])
    public = both_ways(warehouse, "intermediate.fundamentals_as_of")
    warehouse.write({"intermediate.fundamentals_as_of": public}, ENDS, "test")
    found = both_ways(warehouse, "intermediate.stock_snapshot")
    names = ("daily_bars", "daily_valuation", "dividends", "fundamentals")
    tables = {name: warehouse.read(f"raw.{name}") for name in names} | {"listings": listings}
    ends = pl.DataFrame({"month": ENDS, "last_day": [last_session(month) for month in ENDS]})
    expected = month_end_figures(tables, ends, warehouse.read("raw.ingestions"))
    assert_frame_equal(found.select(expected.columns), expected, check_exact=True)

    def cash(code: str, month: date) -> float:
        row = found.row(by_predicate=(pl.col("asset_key") == asset_key(code)) & (pl.col("month") == month), named=True)
        return 10.0 * row["dividend_yield"]

    june = MONTHS.index(LAST)
    assert cash(THIS_MONTH, LAST) == pytest.approx(june / 64 / (1 + june % 2)), "its own first payment"
    assert (
        cash(THIS_MONTH, add_months(LAST, -1))
        == cash(NEW, add_months(LAST, -1))
        == cash(CORRECTED, add_months(LAST, -1))
    )
    assert cash(EDGE, LAST) == cash(NEW, LAST), "the first company lies further back than anything that is summed"
    assert cash(TWICE, LAST) < cash(NEW, LAST)


def both_ways(warehouse: Warehouse, name: str) -> pl.DataFrame:
    together = model_rows(warehouse, name, ENDS[0], ENDS[-1])
    for month in ENDS:
        alone = model_rows(warehouse, name, month, month)
        assert alone.equals(together.filter(pl.col("month") == month), null_equal=True), month
    return together
