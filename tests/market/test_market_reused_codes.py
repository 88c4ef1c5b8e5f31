"""Which rows of a code are of which company."""

from __future__ import annotations

from datetime import date

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from rotation_pipeline.market.reused_codes import by_code, by_company, handed_over, later_companies, rows_before

OLD, NEW, THIRD = date(2001, 3, 5), date(2013, 6, 3), date(2016, 2, 1)


def listings(*rows: tuple[str, int, date | None]) -> pl.DataFrame:
    schema = {"month": pl.String(), "asset_key": pl.Int32(), "listed_on": pl.Date()}
    frame = pl.DataFrame(list(rows), schema=schema, orient="row")
    return frame.with_columns((pl.col("month") + "-01").str.to_date())


def test_companies_that_took_over_a_code() -> None:
    rows = [
        ("2013-01", 5, OLD), ("2013-02", 5, OLD), ("2013-06", 5, NEW), ("2013-07", 5, NEW), ("2016-02", 5, THIRD),
        ("2013-06", 9, NEW), ("2013-07", 9, NEW),  # a new code
        ("2013-01", 13, OLD), ("2013-07", 13, NEW),  # a day corrected after the month it would have begun in
        ("2013-01", 17, None),
    ]  # fmt: skip
    found = later_companies(listings(*rows))
    assert found.rows() == [(5, NEW), (5, THIRD)]
    assert later_companies(listings()).is_empty()


def test_each_company_has_a_key_of_its_own_and_the_code_comes_back() -> None:
    later = pl.DataFrame(
        {"asset_key": [5, 5], "listed_on": [NEW, THIRD]}, schema={"asset_key": pl.Int32, "listed_on": pl.Date}
    )
    days = [date(2013, 6, 2), NEW, date(2016, 1, 31), THIRD]
    frame = pl.DataFrame(
        {"day": days * 2, "asset_key": [5] * 4 + [6] * 4}, schema={"day": pl.Date, "asset_key": pl.Int32}
    )
    keyed = by_company(frame, later)
    assert keyed["asset_key"].to_list() == [20, 21, 21, 22, 24, 24, 24, 24]
    assert_frame_equal(by_code(keyed), frame)
    assert by_company(frame, later.clear()) is frame
    months = frame.select(pl.col("day").dt.month_start().alias("month"), "asset_key")
    assert by_company(months, later)["asset_key"].to_list()[:4] == [21, 21, 21, 22]


def test_codes_handed_over_since_the_last_session() -> None:
    last = date(2013, 5, 31)
    rows = [
        ("2013-05", 5, OLD), ("2013-06", 5, NEW),
        ("2013-05", 9, OLD), ("2013-06", 9, OLD),
        ("2013-06", 13, NEW),  # a new code
        ("2013-05", 17, OLD), ("2013-06", 17, date(2013, 5, 20)),  # a day corrected
    ]  # fmt: skip
    assert handed_over(listings(*rows), date(2013, 6, 1), last).rows() == [(5, NEW)]
    assert handed_over(listings(*rows, ("2013-07", 9, date(2013, 7, 1))), date(2013, 6, 1), last).rows() == [(5, NEW)]
    assert handed_over(listings(*rows[1:]), date(2013, 6, 1), last).is_empty(), "nobody had it the month before"
    weekend = handed_over(listings(*rows, ("2013-06", 21, date(2013, 5, 31))), date(2013, 6, 1), date(2013, 5, 30))
    assert weekend.rows() == [(5, NEW), (21, date(2013, 5, 31))]


def test_rows_of_a_later_company_are_left_out_from_its_first_day_on() -> None:
    later = pl.DataFrame({"asset_key": [5], "listed_on": [NEW]}, schema={"asset_key": pl.Int32, "listed_on": pl.Date})
    days = [NEW, date(2013, 6, 2), THIRD]
    frame = pl.DataFrame({"ex_day": days * 2, "asset_key": pl.Series([5] * 3 + [6] * 3, dtype=pl.Int32)})
    assert rows_before(frame, later, "ex_day").rows() == [(days[1], 5), *((day, 6) for day in days)]
    assert rows_before(frame, later.clear(), "ex_day") is frame


def test_more_companies_than_there_is_room_for_are_refused() -> None:
    days = [date(2013, month, 3) for month in (6, 7, 8, 9)]
    later = pl.DataFrame(
        {"asset_key": [5] * 4, "listed_on": days}, schema={"asset_key": pl.Int32, "listed_on": pl.Date}
    )
    with pytest.raises(ValueError, match=r"000001.SH was given to 5 companies"):
        by_company(pl.DataFrame({"day": days, "asset_key": [5] * 4}), later)
