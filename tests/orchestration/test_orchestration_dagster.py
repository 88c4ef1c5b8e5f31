"""The graph as Dagster sees it."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
from conftest import small_settings
from dagster._core.asset_graph_view.asset_graph_view import AssetGraphView, TemporalContext
from dagster._core.execution.asset_backfill import AssetBackfillData, execute_asset_backfill_iteration_inner
from dagster._core.test_utils import create_test_daemon_workspace_context
from dagster._core.workspace.load_target import ModuleTarget

from rotation_pipeline.definitions import build_definitions
from rotation_pipeline.orchestration import resources
from rotation_pipeline.orchestration import stages as at_work
from rotation_pipeline.orchestration.assets import asset_key
from rotation_pipeline.orchestration.graph import stages
from rotation_pipeline.orchestration.plots import plot_markdown
from rotation_pipeline.orchestration.replay import compare
from rotation_pipeline.orchestration.runner import run_graph
from rotation_pipeline.settings import Settings
from rotation_pipeline.sources.base import SourceError
from rotation_pipeline.sources.simulated import SimulatedSource
from rotation_pipeline.warehouse.catalog import catalog, table_named
from rotation_pipeline.warehouse.store import open_warehouse

BACKFILLED = ["raw_market_data", "staging", "adjusted_bars", "index_daily", "index_features"]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Market data of a small market, stored without Dagster."""
    chosen = small_settings(tmp_path_factory.mktemp("dagster"))
    with open_warehouse(chosen.database_path, threads=2) as warehouse:
        run_graph(warehouse, chosen, chosen.all_months(), only=BACKFILLED)
    return chosen


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as found:
        yield found


def definitions(settings: Settings) -> dg.Definitions:
    return build_definitions(settings)


def test_every_table_is_an_asset_with_all_a_reader_needs(settings: Settings) -> None:
    specs = {spec.key: spec for spec in definitions(settings).resolve_all_asset_specs()}
    for stage in stages():
        for name in stage.tables:
            spec = specs[asset_key(name)]
            assert spec.description, name
            assert spec.owners, name
            assert spec.kinds, name
            assert spec.group_name == stage.group
            schema = spec.metadata["dagster/column_schema"]
            assert [column.name for column in schema.columns] == table_named(name).column_names
            assert all(column.description for column in schema.columns)
            assert spec.partitions_def is not None
            assert name.startswith("raw.") or spec.deps, name


def test_no_asset_depends_on_the_truth(settings: Settings) -> None:
    for spec in definitions(settings).resolve_all_asset_specs():
        assert not any(dep.asset_key.path[0] == "truth" for dep in spec.deps)


def test_every_stored_table_has_a_blocking_check(settings: Settings) -> None:
    graph = definitions(settings).resolve_asset_graph()
    checked = {key.asset_key for key in graph.asset_check_keys if graph.get_check_spec(key).blocking}
    stored = {asset_key(name) for stage in stages() for name in stage.tables if not table_named(name).view}
    assert checked == stored


def test_a_backfill_over_a_range_is_one_run(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planned by the daemon's own code over a loaded code location, as for a backfill launched in the UI."""
    monkeypatch.setenv("ROTATION_SAMPLE__START", settings.sample.start)
    months = [month.isoformat() for month in settings.all_months()]
    now = datetime.now(UTC)
    with (
        dg.DagsterInstance.local_temp() as instance,
        create_test_daemon_workspace_context(
            ModuleTarget("rotation_pipeline.definitions", None, None, None), instance
        ) as loaded,
    ):
        graph = loaded.create_request_context().asset_graph
        keys = sorted(graph.get_all_asset_keys())
        data = AssetBackfillData.from_asset_partitions(
            graph, months[1:], keys, instance, now.timestamp(), all_partitions=False
        )
        view = AssetGraphView(
            temporal_context=TemporalContext(effective_dt=now, last_event_id=None), instance=instance, asset_graph=graph
        )
        result = execute_asset_backfill_iteration_inner("b", data, view, now.timestamp(), logging.getLogger(), None)
    assert len(result.run_requests) == 1
    request = result.run_requests[0]
    assert set(request.asset_selection) == set(keys)
    assert request.tags["dagster/asset_partition_range_start"] == months[1]
    assert request.tags["dagster/asset_partition_range_end"] == months[-1]


def materialize(
    settings: Settings, instance: dg.DagsterInstance, names: list[str], first: date, last: date, **options: bool
) -> dg.ExecuteInProcessResult:
    defs = definitions(settings)
    keys = [asset_key(table) for stage in stages() if stage.name in names for table in stage.tables]
    job = defs.resolve_implicit_global_asset_job_def()
    tags = {
        "dagster/asset_partition_range_start": first.isoformat(),
        "dagster/asset_partition_range_end": last.isoformat(),
    }
    return job.execute_in_process(asset_selection=keys, instance=instance, tags=tags, **options)  # type: ignore[arg-type]


def test_a_range_in_dagster_equals_the_command_line(
    settings: Settings, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    chosen = settings.model_copy(update={"database": tmp_path / "dagster.duckdb"})
    months = settings.all_months()
    result = materialize(chosen, instance, BACKFILLED, months[0], months[-1])
    assert result.success
    with (
        open_warehouse(settings.database_path, read_only=True) as expected,
        open_warehouse(tmp_path / "dagster.duckdb", read_only=True) as got,
    ):
        for stage in stages():
            for name in stage.tables if stage.name in BACKFILLED else ():
                table = table_named(name)
                if not table.view:
                    assert compare(table, expected.read(name), got.read(name)) == (0, ""), name
    checks = result.get_asset_check_evaluations()
    assert checks
    assert all(check.passed for check in checks)
    *earlier, bars = result.asset_materializations_for_node("adjusted_bars")
    assert [item.partition for item in (*earlier, bars)] == [month.isoformat() for month in months]
    with open_warehouse(tmp_path / "dagster.duckdb", read_only=True) as got:
        stored = got.read("intermediate.adjusted_bars")
    assert {item.metadata["rows"].value for item in (*earlier, bars)} == {stored.height}
    assert bars.metadata["dagster/partition_row_count"].value == stored.filter(stored["month"] == months[-1]).height > 0
    assert not any("dagster/column_lineage" in item.metadata for item in earlier)
    lineage = bars.metadata["dagster/column_lineage"].value
    assert {dep.column_name for dep in lineage.deps_by_column["adj_close"]} == {"close", "adj_factor"}
    *_, features = result.asset_materializations_for_node("index_features")
    assert "data:image/svg+xml" in features.metadata["plot"].value


@pytest.mark.parametrize("at_once", [2_000_000, 2_000])
def test_the_plot_of_a_run_in_parts_is_of_all_its_months(
    settings: Settings, instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    """Though the rows of earlier parts are no longer in memory, and though more months are stored."""
    shutil.copy(settings.database_path, tmp_path / "parts.duckdb")
    chosen = settings.model_copy(update={"database": tmp_path / "parts.duckdb"})
    months = settings.all_months()[2:9]
    monkeypatch.setattr(at_work, "ROWS_AT_ONCE", at_once)
    monkeypatch.setattr(at_work, "ROWS_KEPT", 100)
    result = materialize(chosen, instance, ["adjusted_bars"], months[0], months[-1])
    *_, bars = result.asset_materializations_for_node("adjusted_bars")
    with open_warehouse(settings.database_path, read_only=True) as warehouse:
        rows = warehouse.read("intermediate.adjusted_bars", first=months[0], last=months[-1])
    assert rows["month"].n_unique() == 7
    assert bars.metadata["plot"].value == plot_markdown(table_named("intermediate.adjusted_bars"), rows)


def test_one_partition_alone_equals_the_range(settings: Settings, instance: dg.DagsterInstance, tmp_path: Path) -> None:
    copy = tmp_path / "copy.duckdb"
    shutil.copy(settings.database_path, copy)
    month = settings.sample.last
    with open_warehouse(copy) as warehouse, warehouse.transaction():
        for name, table in catalog().items():
            if not table.view and table.schema != "truth":
                warehouse.execute(f"DELETE FROM {name} WHERE month = ?", [month])
    chosen = settings.model_copy(update={"database": copy})
    assert materialize(chosen, instance, BACKFILLED, month, month).success
    with (
        open_warehouse(settings.database_path, read_only=True) as expected,
        open_warehouse(copy, read_only=True) as got,
    ):
        name = "intermediate.index_features"
        assert compare(table_named(name), expected.read(name), got.read(name)) == (0, "")


class Unreachable(SimulatedSource):
    """A source whose vendor does not answer."""

    def prepare(self, first: date, last: date, listen: Any = None) -> int:
        raise SourceError("the vendor does not answer")

    def refused(self) -> dict[str, str]:
        return {}

    def fetch(self, table_name: str, first: date, last: date) -> pl.DataFrame:
        raise SourceError("the vendor does not answer")


def test_only_the_asset_that_reads_the_source_asks_it(
    settings: Settings, instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "copy.duckdb"
    shutil.copy(settings.database_path, copy)
    chosen = settings.model_copy(update={"database": copy})
    monkeypatch.setattr(resources, "make_source", lambda given: Unreachable(given.simulation))
    month = settings.sample.last
    later = [name for name in BACKFILLED if name != "raw_market_data"]
    assert materialize(chosen, instance, later, month, month).success
    result = materialize(chosen, instance, ["raw_market_data"], month, month, raise_on_error=False)
    failure = next(event for event in result.all_events if event.is_step_failure)
    assert "the vendor does not answer" in str(failure.step_failure_data.error)
    assert [stage.name for stage in stages() if stage.fetches] == ["raw_market_data"]


def test_a_month_without_its_inputs_fails_with_the_remedy(
    settings: Settings, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    chosen = settings.model_copy(update={"database": tmp_path / "empty.duckdb"})
    month = settings.sample.last
    result = materialize(chosen, instance, ["index_features"], month, month, raise_on_error=False)
    assert not result.success
    failure = next(event for event in result.all_events if event.is_step_failure)
    assert "intermediate.index_daily" in str(failure.step_failure_data.error)
    with open_warehouse(tmp_path / "empty.duckdb", read_only=True) as warehouse:
        assert warehouse.count("intermediate.index_features") == 0


def test_a_month_whose_earlier_months_are_missing_fails_and_stores_nothing(
    settings: Settings, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.duckdb"
    shutil.copy(settings.database_path, copy)
    month = settings.sample.last
    with open_warehouse(copy) as warehouse:
        warehouse.execute("UPDATE meta.executions SET last_month = DATE '2015-03-01' WHERE first_month < last_month")
        before = warehouse.read("intermediate.index_features")
    chosen = settings.model_copy(update={"database": copy})
    result = materialize(chosen, instance, ["index_features"], month, month, raise_on_error=False)
    failure = next(event for event in result.all_events if event.is_step_failure)
    told = str(failure.step_failure_data.error)
    assert "index_features needs intermediate.index_daily of 2015-04 … 2015-06 (3 months)" in told
    with open_warehouse(copy, read_only=True) as warehouse:
        assert warehouse.read("intermediate.index_features").equals(before)


def test_a_partition_of_other_settings_fails_and_what_was_read_is_logged(
    settings: Settings, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.duckdb"
    shutil.copy(settings.database_path, copy)
    month = settings.sample.last
    with open_warehouse(copy) as warehouse:
        warehouse.execute("DELETE FROM meta.run_inputs")
    same = settings.model_copy(update={"database": copy})
    assert materialize(same, instance, ["index_daily"], month, month).success
    with open_warehouse(copy, read_only=True) as warehouse:
        logged = warehouse.execute("SELECT DISTINCT month FROM meta.run_inputs ORDER BY month")
        assert logged == [(date(2015, 5, 1),), (month,)]
    other = small_settings(tmp_path, universe={"members": 29}).model_copy(update={"database": copy})
    result = materialize(other, instance, ["index_daily"], month, month, raise_on_error=False)
    failure = next(event for event in result.all_events if event.is_step_failure)
    told = str(failure.step_failure_data.error)
    assert "index_daily: raw." in told
    assert "universe.members = 30 (now 29)" in told
    assert "--database FILE" in told


def test_a_partition_that_breaks_its_definition_fails_its_check_and_stores_nothing(
    settings: Settings, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.duckdb"
    shutil.copy(settings.database_path, copy)
    month = settings.sample.last
    with open_warehouse(copy) as warehouse:
        before = warehouse.read("intermediate.index_daily")
        warehouse.execute("UPDATE raw.index_bars SET amount = -1 WHERE month = ?", [month])
    result = materialize(
        settings.model_copy(update={"database": copy}), instance, ["index_daily"], month, month, raise_on_error=False
    )
    assert not result.success
    failed = [check for check in result.get_asset_check_evaluations() if not check.passed]
    assert [check.asset_key.to_user_string() for check in failed] == ["intermediate/index_daily"]
    with open_warehouse(copy, read_only=True) as warehouse:
        assert warehouse.read("intermediate.index_daily").equals(before)


def test_the_schedule_asks_for_the_month_just_ended(settings: Settings, instance: dg.DagsterInstance) -> None:
    defs = definitions(settings)
    schedule = defs.resolve_schedule_def("month_just_ended")
    context = dg.build_schedule_context(
        instance,
        scheduled_execution_time=datetime(2024, 3, 4, 6, tzinfo=UTC),
        repository_def=defs.get_repository_def(),
    )
    found = schedule.evaluate_tick(context).run_requests
    assert [request.partition_key for request in found or []] == ["2024-02-01"]


def test_the_asset_graph_is_one_pool(settings: Settings) -> None:
    graph = definitions(settings).resolve_asset_graph()
    pools = {pool for key in graph.get_all_asset_keys() for pool in graph.get(key).pools}
    assert pools == {"duckdb"}
