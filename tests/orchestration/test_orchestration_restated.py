"""A source that delivers other rows for months stored before: told at the next run over them, and named by the report."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import polars as pl
from conftest import small_settings

from rotation_pipeline.market.calendar import months_between
from rotation_pipeline.orchestration.runner import run_graph
from rotation_pipeline.sources.base import SourceKind
from rotation_pipeline.sources.simulated import SimulatedSource
from rotation_pipeline.warehouse.store import Warehouse, open_warehouse

MONTHS = months_between(date(2011, 1, 1), date(2011, 3, 1))


class Revised(SimulatedSource):
    """Closes and lows of some days are a cent lower than before."""

    days: tuple[date, ...] = ()
    kind: SourceKind = "real"  # type: ignore[assignment]  # a real source may have another version each month

    @property
    def version(self) -> str:
        return f"{super().version}-{len(self.days)}"

    def fetch(self, table_name: str, first: date, last: date) -> pl.DataFrame:
        rows = super().fetch(table_name, first, last)
        if table_name != "daily_bars":
            return rows
        traded = pl.col("day").is_in(list(self.days)) & (pl.col("volume") > 0)
        return rows.with_columns(pl.when(traded).then(pl.col("low") - 0.01).otherwise(pl.col("low")).alias("low"))


def ingest(warehouse: Warehouse, path: Path, months: list[date], *days: date) -> tuple[str, list[str]]:
    """Ingest alone; the run that did it and what it told."""
    settings = small_settings(path)
    source = Revised(settings.simulation)
    source.days = days
    told: list[str] = []
    run_graph(warehouse, settings, months, only=["raw_market_data"], source=source, warn=told.append)
    return str(warehouse.latest_run()["run_id"]), told


def test_other_rows_of_a_stored_month_are_told_and_remembered(tmp_path: Path) -> None:
    with open_warehouse(tmp_path / "w.duckdb") as warehouse:
        first, told = ingest(warehouse, tmp_path, MONTHS)
        assert told == []
        before = {row["month"]: row["sha256"] for row in bars(warehouse)}
        again, told = ingest(warehouse, tmp_path, MONTHS)
        assert (again, told) == (first, [])
        assert warehouse.restated([first], MONTHS[-1]) == []

        second, told = ingest(warehouse, tmp_path, MONTHS, date(2011, 2, 15), date(2011, 3, 15))
        assert second != first
        assert len(told) == 1
        for part in (
            "delivers other rows than those stored before: raw.daily_bars of 2011-02 … 2011-03 (2 months). The new rows replace",
            "compute all months again (`rotation run` without --month and --stage)",
        ):
            assert part in told[0]
        after = {row["month"]: row["sha256"] for row in bars(warehouse)}
        assert [month for month in MONTHS if before[month] != after[month]] == MONTHS[1:]
        assert warehouse.restated([first, second], MONTHS[-1]) == [(first, "daily_bars", month) for month in MONTHS[1:]]
        assert warehouse.restated([first], MONTHS[1]) == [(first, "daily_bars", MONTHS[1])]
        assert warehouse.restated([second], MONTHS[-1]) == []


def test_a_month_fetched_for_the_first_time_is_no_change(tmp_path: Path) -> None:
    with open_warehouse(tmp_path / "w.duckdb") as warehouse:
        ingest(warehouse, tmp_path, MONTHS[:1])
        _, told = ingest(warehouse, tmp_path, MONTHS[1:], date(2011, 2, 15))
        assert told == []
        _, told = ingest(warehouse, tmp_path, MONTHS[1:2])
        assert "raw.daily_bars of 2011-02." in told[0]


def bars(warehouse: Warehouse) -> list[dict[str, object]]:
    return warehouse.read("raw.ingestions", table_name="daily_bars").to_dicts()
