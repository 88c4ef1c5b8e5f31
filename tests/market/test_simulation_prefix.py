"""A market simulated further is the same market: equal rows, bit for bit, in every month both have."""

from __future__ import annotations

from datetime import date

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from rotation_pipeline.market.calendar import CalendarError, add_months, month_last_day
from rotation_pipeline.market.simulation import (
    SimulatedMarket,
    SimulationError,
    SimulationOptions,
    Simulator,
    market_of,
    simulate,
)
from rotation_pipeline.market.tables import DATED_BY, INTERVAL_ENDS, INTERVAL_TABLES, SOURCE_TABLES, TRUTH_TABLES

OPTIONS = SimulationOptions(
    seed=3, n_stocks=30, n_members=25, n_spare=20, start_month="2011-06", delisting_hazard=0.004
)
LONG = date(2016, 8, 1)


@pytest.fixture(scope="module")
def market() -> SimulatedMarket:
    return simulate(OPTIONS, LONG)


def cut(market: SimulatedMarket, last_month: date) -> tuple[dict[str, pl.DataFrame], dict[str, pl.DataFrame]]:
    """What of ``market`` was known at the end of ``last_month``."""
    last = month_last_day(last_month)
    tables: dict[str, pl.DataFrame] = {}
    for name, frame in market.tables.items():
        if name in DATED_BY:
            tables[name] = frame.filter(pl.col(DATED_BY[name]) <= last)
        else:
            end = INTERVAL_ENDS[name]
            begun = frame.filter(pl.col(INTERVAL_TABLES[name]) <= last)
            hidden = pl.when(pl.col(end) <= last).then(pl.col(end)).alias(end)
            tables[name] = begun.with_columns(hidden)
    return tables, {name: frame.filter(pl.col("month") <= last_month) for name, frame in market.truth.items()}


@pytest.mark.parametrize("last_month", [date(2011, 6, 1), date(2012, 4, 1), date(2013, 12, 1), date(2016, 6, 1)])
def test_shorter_market_is_a_prefix(market: SimulatedMarket, last_month: date) -> None:
    tables, truth = cut(market, last_month)
    short = simulate(OPTIONS, last_month)
    assert set(short.tables) == {table.name for table in SOURCE_TABLES}
    for name, frame in short.tables.items():
        assert_frame_equal(frame, tables[name], check_exact=True)
    for name, frame in short.truth.items():
        assert_frame_equal(frame, truth[name], check_exact=True)


def test_growing_month_by_month_changes_nothing(market: SimulatedMarket) -> None:
    simulator, month = Simulator(OPTIONS), OPTIONS.first_month
    while month <= date(2012, 9, 1):
        simulator.advance(month)
        month = add_months(month, 1)
    grown = market_of(simulator, date(2012, 9, 1))
    tables, _ = cut(market, date(2012, 9, 1))
    for name, frame in grown.tables.items():
        assert_frame_equal(frame, tables[name], check_exact=True)


def test_columns_types_and_order(market: SimulatedMarket) -> None:
    types = {
        "DATE": pl.Date(),
        "VARCHAR": pl.String(),
        "DOUBLE": pl.Float64(),
        "BOOLEAN": pl.Boolean(),
        "ASSET": pl.Int32(),
    }
    for table in (*SOURCE_TABLES, *TRUTH_TABLES):
        frame = (market.tables | market.truth)[table.name]
        with_month = table.schema == "truth"
        columns = [column for column in table.columns if with_month or column.name != "month"]
        assert frame.columns == [name for name in table.stored_names if with_month or name != "month"]
        for column, dtype in zip(columns, frame.dtypes, strict=True):
            assert dtype == types[column.type], (table.name, column.name)
            if not column.nullable:
                assert frame[frame.columns[columns.index(column)]].null_count() == 0, (table.name, column.name)
        key = ["asset_key" if name == "asset_id" else name for name in table.key if with_month or name != "month"]
        assert not frame.select(key).is_duplicated().any(), table.name
        assert_frame_equal(frame.sort(key), frame)


def test_other_seeds_give_other_markets(market: SimulatedMarket) -> None:
    other = simulate(SimulationOptions(seed=4, n_stocks=30, n_members=25, n_spare=20), date(2011, 8, 1))
    mine = market.tables["index_bars"].head(20)["close"].to_list()
    assert mine != other.tables["index_bars"].head(20)["close"].to_list()


def test_strength_leaves_the_market_of_the_first_month_alone() -> None:
    """Before any exposure is known nothing can be paid for."""
    first = SimulationOptions().first_month
    none, full = (simulate(SimulationOptions(premium_strength=strength, n_stocks=20), first) for strength in (0.0, 2.0))
    assert_frame_equal(none.tables["daily_bars"], full.tables["daily_bars"], check_exact=True)


def test_months_and_options_that_cannot_be_met() -> None:
    with pytest.raises(SimulationError, match="start_month"):
        simulate(OPTIONS, date(2011, 5, 1))
    with pytest.raises(SimulationError, match="start_month"):
        simulate(SimulationOptions(start_month="2011"), date(2012, 1, 1))
    with pytest.raises(SimulationError, match="start_month"):
        simulate(SimulationOptions(start_month="1995-01"), date(2012, 1, 1))
    with pytest.raises(CalendarError):
        Simulator(SimulationOptions(start_month="2040-01"))
