"""A large market is computed a few months at a time; what is stored does not show it."""

from __future__ import annotations

import gc
import shutil
import weakref
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from cli_project import Project

from rotation_pipeline.orchestration import stages as at_work
from rotation_pipeline.orchestration.graph import stages
from rotation_pipeline.orchestration.runner import run_graph
from rotation_pipeline.settings import stored_settings
from rotation_pipeline.warehouse.store import Warehouse, open_warehouse

WIDE = [stage for stage in stages() if stage.wide]


def _tables(warehouse: Warehouse) -> dict[str, pl.DataFrame]:
    return {name: warehouse.read(name) for stage in WIDE for name in stage.tables}


def test_wide_stages_in_parts_store_the_same_rows(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once = 12_000
    path = tmp_path / "parts.duckdb"
    shutil.copy(project.database, path)
    with open_warehouse(path) as warehouse:
        before = _tables(warehouse)
        settings = stored_settings(warehouse.latest_run()["settings"], database=str(path))
        months = warehouse.months("raw.daily_bars")
        monkeypatch.setattr(at_work, "ROWS_AT_ONCE", at_once)
        outcomes = run_graph(warehouse, settings, months, only=[stage.name for stage in WIDE])
        after = _tables(warehouse)
        writes = warehouse.execute(
            "SELECT count(*) FROM meta.executions WHERE table_name = 'intermediate.adjusted_bars'"
        )
    bars = before["intermediate.adjusted_bars"].height
    assert writes[0][0] > 2
    for name, rows in before.items():
        columns = [column for column in rows.columns if column != "run_id"]
        assert rows.height, name
        assert after[name].select(columns).equals(rows.select(columns)), name
    for outcome in outcomes:
        for name, count in outcome.rows.items():
            assert count == before[name].height == outcome.quality[name].rows
            assert 0 < outcome.frames[name].height <= count
    assert bars > at_once


def test_a_market_of_fifty_is_computed_at_once() -> None:
    assert at_work.ROWS_AT_ONCE > 135 * 250 * 25


def test_rows_of_earlier_parts_are_let_go(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While later parts are computed, no more than the last ones of each table is in memory."""
    path = tmp_path / "parts.duckdb"
    shutil.copy(project.database, path)
    alive: list[weakref.ref[pl.DataFrame]] = []
    most = 0
    stored = at_work.as_stored

    def counted(*given: Any) -> pl.DataFrame:
        nonlocal most
        frame = stored(*given)
        gc.collect()
        most = max(most, sum(one() is not None for one in alive))
        alive.append(weakref.ref(frame))
        return frame

    monkeypatch.setattr(at_work, "as_stored", counted)
    monkeypatch.setattr(at_work, "ROWS_AT_ONCE", 2_000)
    with open_warehouse(path) as warehouse:
        settings = stored_settings(warehouse.latest_run()["settings"], database=str(path))
        months = warehouse.months("raw.daily_bars")[:12]
        run_graph(warehouse, settings, months, only=["adjusted_bars"])
    assert len(alive) > 4
    assert most <= 2
