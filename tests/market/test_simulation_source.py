"""The simulated market behind the interface of a source."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from rotation_pipeline.market.calendar import month_last_day, months_between
from rotation_pipeline.market.simulation import SimulationOptions
from rotation_pipeline.market.tables import DATED_BY, SOURCE_TABLES
from rotation_pipeline.sources import simulated
from rotation_pipeline.sources.base import Source, SourceError
from rotation_pipeline.sources.canonical import snapshot
from rotation_pipeline.sources.ingest import ingest_months
from rotation_pipeline.sources.simulated import SimulatedSource

OPTIONS = SimulationOptions(n_stocks=60, start_month="2015-01", delisting_hazard=0.003)
STAMP = datetime(2024, 1, 1)


def test_it_is_a_source() -> None:
    source = SimulatedSource(OPTIONS)
    assert isinstance(source, Source)
    assert (source.name, source.kind) == ("simulated", "simulated")
    assert all(source.serves(table.name) for table in SOURCE_TABLES)
    assert not source.serves("ticks")
    first, last = source.span()
    assert first == date(2015, 1, 1)
    assert last >= date(2024, 1, 1)


def test_version_follows_the_options() -> None:
    assert SimulatedSource(OPTIONS).version == SimulatedSource(OPTIONS).version
    assert SimulatedSource(OPTIONS).version != SimulatedSource(SimulationOptions()).version


def test_months_ingested_alone_or_together_are_equal() -> None:
    """Replay equality of the raw tables, through a source that has already gone further and one that has not."""
    together = ingest_months(
        SimulatedSource(OPTIONS), months_between(date(2016, 1, 1), date(2016, 12, 1)), fetched_at=STAMP
    )
    further = SimulatedSource(OPTIONS)
    further.fetch("index_bars", date(2018, 1, 1), date(2018, 1, 31))
    for source in (SimulatedSource(OPTIONS), further):
        alone = ingest_months(source, [date(2016, 6, 1)], fetched_at=STAMP)
        for name, frame in alone.tables.items():
            expected = together.tables[name].filter(pl.col("month") == date(2016, 6, 1))
            assert expected.height == frame.height
            assert_frame_equal(frame, expected, check_exact=True)


def test_intervals_overlap_the_days_asked_for() -> None:
    source = SimulatedSource(OPTIONS)
    source.fetch("index_bars", date(2018, 1, 1), date(2018, 1, 31))
    members = source.fetch("index_members", date(2016, 6, 20), date(2016, 6, 30))
    assert members["asset_key"].n_unique() == members.height == 50


def test_truth_of_the_months_asked_for() -> None:
    source = SimulatedSource(OPTIONS)
    months = [date(2015, 3, 1), date(2016, 2, 1)]
    truth = source.truth(months)
    assert truth["regimes"]["month"].to_list() == months
    assert truth["premia"].height == 10
    assert set(truth["betas"]["month"]) == set(months)
    with pytest.raises(SourceError, match="2014-12"):
        source.truth([date(2014, 12, 1)])


def test_months_long_past_are_let_go_and_made_again_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory follows the market and not its span; what is fetched does not show it."""
    whole = SimulatedSource(OPTIONS)
    whole.fetch("index_bars", date(2019, 12, 1), date(2019, 12, 31))
    monkeypatch.setattr(simulated, "STOCK_DAYS_HELD", 10_000)
    source, held = SimulatedSource(OPTIONS), 0
    windows = [(first, month_last_day(first)) for first in months_between(date(2015, 1, 1), date(2019, 12, 1))]
    for first, last in [*windows, windows[2], windows[-1]]:
        for table in SOURCE_TABLES:  # as an ingestion asks: rows before the month of some tables and not of others
            begin = first - timedelta(days=366 if table.name == "daily_bars" else 0)
            got = source.fetch(table.name, begin, last)
            if first.month in (1, 3):
                expected = whole.fetch(table.name, begin, last)
                if table.name not in DATED_BY:  # later ends are known to who went further
                    got, expected = snapshot(table, got, first), snapshot(table, expected, first)
                assert_frame_equal(got, expected, check_exact=True)
        assert_frame_equal(source.truth([first])["betas"], whole.truth([first])["betas"], check_exact=True)
        held = max(held, source._simulator.records.stock_days)  # type: ignore[union-attr]
    assert whole._simulator.records.stock_days > 70_000  # type: ignore[union-attr]
    assert held < 30_000


def test_a_market_of_fifty_is_held_whole() -> None:
    assert simulated.STOCK_DAYS_HELD > 80 * 250 * 25


def test_requests_it_can_not_meet() -> None:
    source = SimulatedSource(OPTIONS)
    with pytest.raises(SourceError, match="no table 'ticks'"):
        source.fetch("ticks", date(2016, 1, 1), date(2016, 1, 31))
    with pytest.raises(SourceError, match="recorded"):
        source.fetch("daily_bars", date(2090, 1, 1), date(2090, 1, 31))
    with pytest.raises(SourceError, match="serves 2015-01"):
        ingest_months(source, [date(2014, 1, 1)], fetched_at=STAMP)
