"""A table as of day d equals the one of a database made when nothing after d was known."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import polars as pl
import pytest
from conftest import small_settings
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from warehouse_rows import put, rows

from rotation_pipeline.market.calendar import add_months, month_start, months_between
from rotation_pipeline.market.tables import DATED_BY, INTERVAL_ENDS, INTERVAL_TABLES, SOURCE_TABLES
from rotation_pipeline.orchestration.graph import stages
from rotation_pipeline.orchestration.replay import compare
from rotation_pipeline.orchestration.runner import run_graph
from rotation_pipeline.settings import Settings
from rotation_pipeline.sources.base import Source
from rotation_pipeline.sources.canonical import partitioned
from rotation_pipeline.sources.ingest import empty
from rotation_pipeline.sources.simulated import SimulatedSource
from rotation_pipeline.warehouse.asof import last_complete_month
from rotation_pipeline.warehouse.catalog import catalog
from rotation_pipeline.warehouse.errors import WarehouseError
from rotation_pipeline.warehouse.schemas import polars_schema
from rotation_pipeline.warehouse.store import Warehouse, open_warehouse

FIRST, LAST = date(2013, 6, 1), date(2014, 12, 1)
A = "600001.SH"
MARKET_DATA = [stage.name for stage in stages() if stage.group == "market_data"]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return small_settings(
        tmp_path_factory.mktemp("asof"),
        sample={"start": "2014-03", "end": "2014-12", "history_months": 32, "style_history_months": 7},
        simulation={"n_stocks": 30, "n_members": 30, "n_spare": 20, "start_month": "2011-06"},
    )


@pytest.fixture(scope="module")
def source(settings: Settings) -> SimulatedSource:
    return SimulatedSource(settings.simulation)


def run_market_data(settings: Settings, source: Source, path: Path, last: date) -> None:
    months = months_between(settings.history_start, last)
    with open_warehouse(path, threads=2) as warehouse:
        run_graph(warehouse, settings, months, only=MARKET_DATA, source=source)


@pytest.fixture(scope="module")
def full(settings: Settings, source: SimulatedSource) -> Iterator[Warehouse]:
    """Raw and prepared market data up to December 2014."""
    run_market_data(settings, source, settings.database_path, LAST)
    with open_warehouse(settings.database_path, read_only=True, threads=2) as warehouse:
        yield warehouse


def known(source: SimulatedSource, name: str, day: date) -> pl.DataFrame:
    """What the source delivers on ``day``: nothing dated later, no end that lies in the future."""
    rows = source.fetch(name, FIRST, day)
    if name in DATED_BY:
        assert rows.filter(pl.col(DATED_BY[name]) > day).is_empty()
        return rows
    hidden = [column for column in (INTERVAL_ENDS[name], "announced_on") if column in rows.columns]
    begun = rows.filter(pl.col(INTERVAL_TABLES[name]) <= day)
    return begun.with_columns(pl.when(pl.col(column) <= day).then(pl.col(column)).alias(column) for column in hidden)


DAYS = [
    date(2013, 6, 3),  # the first session
    date(2013, 12, 31),  # a month's last session
    date(2014, 2, 2),  # a Sunday within the holidays, no session of the month yet
    date(2014, 6, 13),
    date(2014, 6, 16),  # the day a review takes effect
    date(2014, 8, 29),  # the month's last session, but not its last day
    date(2014, 10, 31),
    date(2014, 11, 18),
]


@pytest.mark.parametrize("day", DAYS)
def test_raw_tables_and_their_views_equal_a_database_cut_at_the_day(
    full: Warehouse, source: SimulatedSource, tmp_path: Path, day: date
) -> None:
    months = months_between(FIRST, day)
    with open_warehouse(tmp_path / "cut.duckdb", threads=2) as cut:
        for table in SOURCE_TABLES:
            rows = partitioned(table, known(source, table.name, day), months)
            schema = polars_schema(table)
            cut.write(
                {table.full_name: rows.select(pl.col(n).cast(kind) for n, kind in schema.items())}, months, "test"
            )
        for table in SOURCE_TABLES:
            for name in (table.full_name, f"staging.{table.name}"):
                stood = full.as_of(name, day, first=FIRST)
                assert compare(catalog()[name], stood, cut.read(name)) == (0, ""), name


def test_the_days_compared_have_something_to_hide(full: Warehouse) -> None:
    hidden: set[str] = set()
    for day in DAYS:
        month = month_start(day)
        for table in SOURCE_TABLES:
            now = full.read(table.full_name, first=month, last=month)
            stood = full.as_of(table.full_name, day, first=month, last=month)
            if not now.equals(stood, null_equal=True):
                hidden.add(table.name)
    assert hidden >= {"daily_bars", "trading_days", "fundamentals", "dividends", "index_members"}


def test_every_table_equals_that_of_a_database_run_until_then(
    settings: Settings, source: SimulatedSource, full: Warehouse, tmp_path: Path
) -> None:
    path = tmp_path / "until.duckdb"
    chosen = settings.model_copy(update={"database": path})
    raw = {table.full_name for table in SOURCE_TABLES} | {f"staging.{table.name}" for table in SOURCE_TABLES}
    # (last month run, day, whether the day is the month's last: before it raw rows of the month are still to come)
    for last, day, whole in (
        (date(2014, 7, 1), date(2014, 8, 28), False),
        (date(2014, 8, 1), date(2014, 8, 29), False),
        (date(2014, 8, 1), date(2014, 8, 31), True),
    ):
        if not path.exists():
            run_market_data(chosen, source, path, last)
        with open_warehouse(path, threads=2) as until:
            if until.months("raw.trading_days")[-1] < last:
                run_graph(until, chosen, [last], only=MARKET_DATA, source=source)
            filled = 0
            for name, table in catalog().items():
                if whole or name not in raw:
                    stood = full.as_of(name, day)
                    assert compare(table, stood, until.read(name)) == (0, ""), (name, day)
                    filled += stood.height > 0
            assert filled >= 10


def test_a_month_is_complete_from_the_close_of_its_last_session() -> None:
    assert last_complete_month(date(2014, 8, 28)) == date(2014, 7, 1)
    assert last_complete_month(date(2014, 8, 29)) == date(2014, 8, 1)
    assert last_complete_month(date(2014, 9, 1)) == date(2014, 8, 1)
    assert last_complete_month(date(1990, 12, 1)) == date(1990, 11, 1)
    assert last_complete_month(date(2300, 5, 31)) == date(2300, 4, 1)


@pytest.fixture(scope="module")
def intervals(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warehouse]:
    with open_warehouse(tmp_path_factory.mktemp("intervals") / "w.duckdb", threads=1) as warehouse:
        yield warehouse


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Warehouse]:
    with open_warehouse(tmp_path / "w.duckdb", threads=1) as warehouse:
        yield warehouse


def test_a_revision_is_shown_from_its_own_day_on(small: Warehouse) -> None:
    period = date(2014, 12, 31)
    first, revised = date(2015, 3, 20), date(2015, 4, 16)
    common = {"asset_id": A, "report_period": period, "item": "roe_ttm", "announcement_is_deadline": False}
    put(
        small,
        "raw.fundamentals",
        [
            {**common, "announced_on": first, "month": date(2015, 3, 1), "value": 0.10, "is_revision": False},
            {**common, "announced_on": revised, "month": date(2015, 4, 1), "value": 0.08, "is_revision": True},
        ],
    )

    def values(day: date) -> list[float]:
        return small.as_of("staging.fundamentals", day)["value"].to_list()

    assert values(date(2015, 3, 19)) == []
    assert values(first) == [0.10]
    assert values(date(2015, 4, 15)) == [0.10]
    assert values(revised) == [0.10, 0.08]


def test_an_end_is_unknown_until_its_day_and_snapshots_of_earlier_months_stay(small: Warehouse) -> None:
    out, told = date(2015, 6, 15), date(2015, 6, 1)
    put(
        small,
        "raw.index_members",
        [
            {"asset_id": A, "month": date(2015, 5, 1)},
            {"asset_id": A, "month": date(2015, 6, 1), "valid_to": out},
            {"asset_id": "600002.SH", "month": date(2015, 6, 1), "valid_from": out, "announced_on": told},
        ],
    )

    def members(day: date) -> list[tuple[date, date | None]]:
        stood = small.as_of("raw.index_members", day, order=("month", "asset_key"))
        return list(stood.select("month", "valid_to").iter_rows())

    may, june = date(2015, 5, 1), date(2015, 6, 1)
    assert members(date(2015, 5, 29)) == [(may, None)]
    assert members(date(2015, 6, 14)) == [(may, None), (june, None)]
    assert members(out) == [(may, None), (june, out), (june, None)]


INTERVALS = [next(table for table in SOURCE_TABLES if table.name == name) for name in INTERVAL_TABLES]


@given(st.data())
@hypothesis_settings(deadline=None, max_examples=15)
def test_intervals_on_any_day_equal_those_known_then(intervals: Warehouse, data: st.DataObject) -> None:
    table = data.draw(st.sampled_from(INTERVALS))
    start, end = INTERVAL_TABLES[table.name], INTERVAL_ENDS[table.name]
    days = st.dates(date(2014, 12, 1), date(2015, 6, 30))
    drawn = data.draw(st.lists(st.tuples(days, st.none() | days, st.none() | days), min_size=1, max_size=8))
    records = [
        {
            "asset_id": f"{600001 + n}.SH",
            start: first,
            end: last,
            "announced_on": told,
            "scheme": "sw",
            "industry": "bank",
        }
        for n, (first, last, told) in enumerate(drawn)
        if last is None or last > first
    ]
    columns = [name for name in polars_schema(table) if name != "month"]
    frame = rows(table.full_name, [{**record, "month": date(2015, 1, 1)} for record in records]).select(columns)
    months = months_between(date(2015, 1, 1), date(2015, 6, 1))
    intervals.write({table.full_name: partitioned(table, frame, months)}, months, "test")

    day = data.draw(st.dates(date(2015, 1, 1), date(2015, 6, 30)))
    hidden = [name for name in (end, "announced_on") if name in frame.columns]
    then = frame.filter(pl.col(start) <= day).with_columns(
        pl.when(pl.col(name) <= day).then(pl.col(name)).alias(name) for name in hidden
    )
    expected = partitioned(table, then, months_between(months[0], day))
    assert compare(table, intervals.as_of(table.full_name, day), expected) == (0, "")
    assert compare(table, intervals.as_of(f"staging.{table.name}", day), expected) == (0, "")


def test_a_dividend_announced_after_its_ex_day_waits_for_its_announcement(small: Warehouse) -> None:
    put(
        small,
        "raw.dividends",
        [
            {"asset_id": A, "ex_day": date(2015, 6, 3), "announced_on": date(2015, 6, 9), "cash_per_share": 0.1},
            {"asset_id": "600002.SH", "ex_day": date(2015, 6, 10), "announced_on": date(2015, 6, 1)},
            {"asset_id": "600003.SH", "ex_day": date(2015, 6, 2)},
        ],
    )
    heights = [small.as_of("raw.dividends", date(2015, 6, day)).height for day in (1, 2, 3, 8, 9, 10)]
    assert heights == [0, 1, 1, 1, 2, 3]


def test_selection_goes_with_the_day(full: Warehouse) -> None:
    day = date(2014, 6, 13)
    month = month_start(day)
    asset = full.read("raw.daily_bars", first=month, last=month, limit=1)["asset_key"][0]
    rows = full.as_of("staging.daily_bars", day, first=month, asset_key=asset, columns=("day", "close"), limit=3)
    assert rows.columns == ["day", "close"]
    assert rows.height == 3
    every = full.as_of("raw.daily_bars", day, first=month, asset_key=asset)
    assert every["day"].max() == day
    assert full.as_of("intermediate.adjusted_bars", day)["month"].max() == add_months(month, -1)


def test_an_unknown_table_is_refused_with_near_names(full: Warehouse) -> None:
    with pytest.raises(WarehouseError, match=r"did you mean raw\.daily_bars"):
        full.as_of("raw.daily_bar", date(2014, 6, 13))


def test_nothing_is_known_before_the_first_day(full: Warehouse) -> None:
    for name in catalog():
        assert full.as_of(name, date(2000, 1, 1)).is_empty(), name


def test_everything_is_known_after_the_last_day(full: Warehouse) -> None:
    for name, table in catalog().items():
        assert compare(table, full.as_of(name, date(2030, 1, 1)), full.read(name)) == (0, ""), name


def test_an_absent_table_of_a_source_is_empty_on_any_day(small: Warehouse) -> None:
    dividends = next(table for table in SOURCE_TABLES if table.name == "dividends")
    assert small.as_of("raw.dividends", date(2015, 1, 5)).schema == empty(dividends).schema
