"""A vendor's download holds nobody's database, and is not begun for one that would refuse what it brings."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path

import polars as pl
import pytest
from conftest import small_settings

from rotation_pipeline.orchestration import reconcile as reconciling
from rotation_pipeline.orchestration.runner import download, run_graph
from rotation_pipeline.sources.base import Downloads
from rotation_pipeline.sources.simulated import SimulatedSource
from rotation_pipeline.warehouse.errors import WarehouseError
from rotation_pipeline.warehouse.store import open_warehouse

MONTHS = [date(2011, 1, 1)]
OPEN = "import duckdb, sys; duckdb.connect(sys.argv[1]).close()"


class Slow(SimulatedSource):
    """Downloads nothing, but looks whether another process may write the database meanwhile."""

    database: Path | None = None
    looked = 0

    def prepare(
        self, first: date, last: date, listen: Callable[[int, int, str], None] = lambda _done, _total, _next: None
    ) -> int:
        assert first < MONTHS[0], "the months the sanity rules look back on are fetched too"
        assert last == MONTHS[-1]
        listen(0, 1, "one")
        self.looked += 1
        if self.database is not None:
            subprocess.run([sys.executable, "-c", OPEN, str(self.database)], check=True, capture_output=True)
        return 0

    def refused(self) -> dict[str, str]:
        return {}


def test_another_process_may_write_while_a_vendor_delivers(tmp_path: Path) -> None:
    settings = small_settings(tmp_path)
    source = Slow(settings.simulation)
    assert isinstance(source, Downloads)
    download(settings, source, MONTHS)
    assert (source.looked, settings.database_path.exists()) == (1, False), "no database is made before there are data"
    with open_warehouse(settings.database_path, threads=2) as warehouse:
        run_graph(warehouse, settings, MONTHS, only=["raw_market_data"], source=source)
    source.database = settings.database_path
    told: list[str] = []
    download(settings, source, MONTHS, lambda _done, _total, text: told.append(text))
    assert told == ["one"]


def test_a_database_may_be_written_while_the_other_side_of_a_reconciliation_is_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = small_settings(tmp_path)
    source = Slow(settings.simulation)
    with open_warehouse(settings.database_path, threads=2) as warehouse:
        run_graph(warehouse, settings, MONTHS, only=["raw_market_data"], source=source)
    monkeypatch.setattr(reconciling, "make_source", lambda _settings: source)
    source.database, source.looked = settings.database_path, 0
    told: list[str] = []
    with (
        reconciling.side(str(settings.database_path), settings) as left,
        reconciling.side("simulated", settings) as right,
    ):
        found = reconciling.reconcile(
            left, right, settings, MONTHS, fetching=lambda _done, _total, text: told.append(text)
        )
    assert found.rows.filter(pl.col("table") == "daily_bars")["a"][0] > 0
    assert (source.looked, told) == (1, ["one"])


def test_nothing_is_downloaded_for_a_database_of_another_source(tmp_path: Path) -> None:
    settings = small_settings(tmp_path)
    with open_warehouse(settings.database_path, threads=2) as warehouse:
        run_graph(warehouse, settings, MONTHS, only=["raw_market_data"], source=SimulatedSource(settings.simulation))
    other = small_settings(tmp_path, simulation={"seed": 3})
    source = Slow(other.simulation)
    with pytest.raises(WarehouseError, match="holds simulated data"):
        download(other, source, MONTHS)
    assert source.looked == 0
