"""A large market is computed a few months at a time; what is stored does not show it."""

from __future__ import annotations

import gc
import shutil
import weakref
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from cli_project import Project

from rotation_pipeline.market.calendar import months_between
from rotation_pipeline.market.schema import stored_name
from rotation_pipeline.market.simulation import SimulationOptions
from rotation_pipeline.market.tables import SOURCE_TABLES
from rotation_pipeline.orchestration import stages as at_work
from rotation_pipeline.orchestration.graph import stages
from rotation_pipeline.orchestration.runner import run_graph
from rotation_pipeline.orchestration.stages import Frame, Work
from rotation_pipeline.settings import stored_settings
from rotation_pipeline.sources.base import SourceError
from rotation_pipeline.sources.simulated import SimulatedSource
from rotation_pipeline.warehouse.catalog import table_named
from rotation_pipeline.warehouse.store import Warehouse, open_warehouse

WIDE = [stage for stage in stages() if stage.wide]


class Until(SimulatedSource):
    """A simulated market that is interrupted where bars of later months are asked for, or has none of them."""

    def __init__(self, options: SimulationOptions, ends: date, last: date = date(2100, 1, 1)) -> None:
        super().__init__(options)
        self.ends, self.last = ends, last

    def span(self) -> tuple[date, date]:
        first, last = super().span()
        return first, min(last, self.last)

    def fetch(self, table_name: str, first: date, last: date) -> pl.DataFrame:
        if table_name == "daily_bars" and last >= self.ends:
            raise KeyboardInterrupt
        return super().fetch(table_name, first, last)


def _tables(warehouse: Warehouse) -> dict[str, pl.DataFrame]:
    return {name: warehouse.read(name) for stage in WIDE for name in stage.tables}


def _writes(warehouse: Warehouse, name: str) -> int:
    return warehouse.execute("SELECT count(*) FROM meta.executions WHERE table_name = ?", [name])[0][0]


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
        writes = {name: _writes(warehouse, name) for name in ("intermediate.adjusted_bars", "raw.daily_bars")}
    bars = before["intermediate.adjusted_bars"].height
    assert min(writes.values()) > 2
    for name, rows in before.items():
        columns = [stored_name(column) for column in table_named(name).columns if not column.volatile]
        assert rows.height or name == "raw.quarantine", name
        assert after[name].select(columns).equals(rows.select(columns)), name
    for outcome in outcomes:
        for name, count in outcome.rows.items():
            assert count == before[name].height == outcome.quality[name].rows
            assert min(count, 1) <= outcome.frames[name].height <= count
    assert bars > at_once


def test_a_market_of_fifty_is_computed_at_once(project: Project) -> None:
    assert at_work.ROWS_AT_ONCE > 135 * 250 * 25
    with open_warehouse(project.database, read_only=True) as warehouse:
        assert _writes(warehouse, "raw.daily_bars") == _writes(warehouse, "intermediate.adjusted_bars") == 1


def test_an_ingestion_cut_off_keeps_the_parts_it_has_and_the_next_one_completes_it(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_warehouse(project.database, read_only=True) as whole:
        settings = stored_settings(whole.latest_run()["settings"], database=str(tmp_path / "cut.duckdb"))
        months = whole.months("raw.daily_bars")[:12]
        expected = {table.full_name: whole.read(table.full_name, last=months[-1]) for table in SOURCE_TABLES}
    source, asked = Until(settings.simulation, months[7]), [months[0], months[-1]]
    monkeypatch.setattr(at_work, "ROWS_AT_ONCE", 5_000)
    with open_warehouse(settings.database_path) as warehouse:
        with pytest.raises(KeyboardInterrupt):
            run_graph(warehouse, settings, months_between(*asked), only=["raw_market_data"], source=source)
        kept = warehouse.months("raw.ingestions")
        assert 0 < len(kept) < 8
        assert warehouse.months("raw.daily_bars") == warehouse.months("raw.listings") == kept == months[: len(kept)]
        source.ends = date.max
        run_graph(warehouse, settings, months_between(*asked), only=["raw_market_data"], source=source)
        for name, rows in expected.items():
            assert warehouse.read(name).drop("run_id", strict=False).equals(rows.drop("run_id", strict=False)), name


def test_months_the_source_does_not_have_are_refused_before_any_part_is_stored(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_warehouse(project.database, read_only=True) as whole:
        settings = stored_settings(whole.latest_run()["settings"], database=str(tmp_path / "none.duckdb"))
        months = whole.months("raw.daily_bars")
    source = Until(settings.simulation, date.max, months[5])
    monkeypatch.setattr(at_work, "ROWS_AT_ONCE", 5_000)
    with open_warehouse(settings.database_path) as warehouse:
        with pytest.raises(SourceError, match="completely; asked for"):
            run_graph(warehouse, settings, months, only=["raw_market_data"], source=source)
        assert warehouse.months("raw.ingestions") == []


def test_a_stage_in_parts_tells_how_far_it_is_of_all_months(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "parts.duckdb"
    shutil.copy(project.database, path)
    stage = next(stage for stage in stages() if stage.name == "adjusted_bars")

    def counting(work: Work) -> Mapping[str, Frame]:
        for done in range(len(work.months) * 5 + 1):  # a stage counts what it likes
            work.progress(done, len(work.months) * 5)
        return stage.compute(work)

    told: list[tuple[int, int]] = []
    with open_warehouse(path) as warehouse:
        settings = stored_settings(warehouse.latest_run()["settings"], database=str(path))
        months = warehouse.months("raw.daily_bars")[:12]
        for rows in (2_000_000, 5_000):
            monkeypatch.setattr(at_work, "ROWS_AT_ONCE", rows)
            told.clear()
            run_id = str(warehouse.latest_run()["run_id"])
            work = Work(warehouse, settings, SimulatedSource(settings.simulation), run_id, list(months))
            work.progress = lambda done, total: told.append((done, total))
            at_work.run_stage(replace(stage, compute=counting), work)
            if rows == 2_000_000:
                assert told == [(done, 60) for done in range(61)]
    assert {total for _, total in told} == {12}
    done = [done for done, _ in told]
    assert done == sorted(done)
    assert set(done) == set(range(13))


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
    monkeypatch.setattr(at_work, "ROWS_KEPT", 2_000)
    with open_warehouse(path) as warehouse:
        settings = stored_settings(warehouse.latest_run()["settings"], database=str(path))
        months = warehouse.months("raw.daily_bars")[:12]
        (outcome,) = run_graph(warehouse, settings, months, only=["adjusted_bars"])
    assert len(alive) > 4
    assert most <= 2
    kept = outcome.frames["intermediate.adjusted_bars"]
    assert 0 < kept.height <= 2_000 < outcome.rows["intermediate.adjusted_bars"]
    assert kept["month"].unique().sort().to_list() == months[-kept["month"].n_unique() :]
