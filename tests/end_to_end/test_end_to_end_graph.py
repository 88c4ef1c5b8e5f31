"""The whole graph on a small simulated market: rows, replay, months alone, interruption."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import polars as pl
import pytest
from conftest import small_settings

from rotation_pipeline.market.calendar import add_months, month_last_day, months_between
from rotation_pipeline.market.schema import stored_name
from rotation_pipeline.orchestration.graph import stages
from rotation_pipeline.orchestration.replay import compare, spread, verify_leak_is_caught, verify_replay
from rotation_pipeline.orchestration.runner import run_graph
from rotation_pipeline.settings import Settings, load_settings
from rotation_pipeline.warehouse.catalog import catalog, table_named
from rotation_pipeline.warehouse.errors import MissingPartition, WarehouseError
from rotation_pipeline.warehouse.store import Warehouse, open_warehouse


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The small graph, run once for all months."""
    chosen = small_settings(tmp_path_factory.mktemp("graph"))
    with open_warehouse(chosen.database_path, threads=2) as warehouse:
        run_graph(warehouse, chosen, chosen.all_months())
    return chosen


@pytest.fixture
def stored(settings: Settings) -> Iterator[Warehouse]:
    with open_warehouse(settings.database_path, read_only=True, threads=2) as warehouse:
        yield warehouse


def sample(settings: Settings) -> list[date]:
    return months_between(settings.sample.first, settings.sample.last)


def test_every_stage_has_rows_of_every_month_of_the_sample(settings: Settings, stored: Warehouse) -> None:
    for stage in stages():
        for name in stage.tables:
            if table_named(name).minimum_rows:
                wanted = stage.months(settings, settings.all_months())
                assert stored.months(name) == wanted, name


def test_five_styles_every_month_and_the_full_universe(settings: Settings, stored: Warehouse) -> None:
    rows = stored.read("marts.factor_longshort", first=settings.sample.first, kind="style")
    assert rows.height == 5 * len(sample(settings))
    assert rows["long_short"].null_count() == 0
    assert rows["n_members"].unique().to_list() == [30]


def test_weights_sum_to_one_and_earn_over_the_next_month(settings: Settings, stored: Warehouse) -> None:
    weights = stored.read("marts.weights", strategy="rotation")
    sums = weights.group_by("month").agg(pl.col("weight").sum())
    assert sums["weight"].to_list() == pytest.approx([1.0] * sums.height, abs=1e-12)
    month = sample(settings)[5]
    held = stored.read("marts.weights", first=add_months(month, -1), last=add_months(month, -1), strategy="rotation")
    earned = stored.read("marts.factor_longshort", first=month, last=month, kind="style")
    joined = held.join(earned, left_on="style", right_on="factor")
    expected = (joined["weight"] * joined["long_short"]).sum()
    got = stored.read("marts.backtest", first=month, last=month, strategy="rotation")["gross_return"][0]
    assert got == pytest.approx(expected, abs=1e-12)


def test_everything_says_simulated(settings: Settings, stored: Warehouse) -> None:
    assert stored.read("raw.ingestions")["source_kind"].unique().to_list() == ["simulated"]
    assert stored.latest_run()["source_kind"] == "simulated"
    reports = sorted((settings.output / "small").glob("report_*.html"))
    assert [path.name for path in reports] == ["report_2015-06_en.html", "report_2015-06_zh.html"]
    assert "SIMULATED" in reports[0].read_text(encoding="utf-8")


def test_replay_gives_equal_rows_in_every_table_of_every_stage(settings: Settings, stored: Warehouse) -> None:
    months = spread(sample(settings), 3)
    found = verify_replay(stored, settings, months)
    assert [str(item) for item in found if not item.equal] == []
    tables = {name for stage in stages() for name in stage.tables if not table_named(name).view}
    assert {item.table for item in found} == tables
    assert all(item.rows for item in found if table_named(item.table).minimum_rows)


def test_a_stage_that_looks_ahead_is_caught(settings: Settings, stored: Warehouse) -> None:
    found = verify_leak_is_caught(stored, settings, spread(sample(settings), 6))
    assert any(not item.equal for item in found if item.table == "marts.regimes")
    assert all(item.equal for item in found if item.table == "marts.regime_models")


def test_months_one_by_one_give_the_rows_of_the_backfill(settings: Settings, stored: Warehouse, tmp_path: Path) -> None:
    alone = tmp_path / "alone.duckdb"
    shutil.copy(settings.database_path, alone)
    months = sample(settings)[-3:]
    chosen = settings.model_copy(update={"database": alone, "output": tmp_path})
    with open_warehouse(alone, threads=2) as warehouse:
        with warehouse.transaction():
            for name, table in catalog().items():
                if not table.view and table.schema != "truth":
                    warehouse.execute(f"DELETE FROM {name} WHERE month >= ?", [months[0]])
        for month in months:
            run_graph(warehouse, chosen, [month])
        for name, table in catalog().items():
            if not table.view:
                assert compare(table, stored.read(name), warehouse.read(name)) == (0, ""), name


def test_every_table_and_view_as_of_a_day_is_that_of_a_database_that_ends_there(
    settings: Settings, stored: Warehouse, tmp_path: Path
) -> None:
    path = tmp_path / "until.duckdb"
    shutil.copy(settings.database_path, path)
    month = sample(settings)[-4]
    with open_warehouse(path, threads=2) as until:
        for name, table in catalog().items():
            if not table.view:
                until.execute(f"DELETE FROM {name} WHERE month > ?", [month])
        for name, table in catalog().items():
            stood = stored.as_of(name, month_last_day(month))
            assert compare(table, stood, until.read(name)) == (0, ""), name
            assert stood.height < stored.read(name).height or not stood.height, name


def test_a_month_whose_predecessor_is_missing_is_refused_by_name(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "gap.duckdb"
    chosen = settings.model_copy(update={"database": path, "output": tmp_path})
    with open_warehouse(path, threads=2) as warehouse:
        with pytest.raises(MissingPartition, match=r"factor_exposures needs intermediate\.\w+ of .*2014-05"):
            run_graph(warehouse, chosen, [date(2014, 5, 1)], only=["factor_exposures"])
        assert warehouse.count("marts.factor_exposures") == 0
        assert warehouse.execute("SELECT * FROM meta.runs") == []


def test_two_markets_never_share_a_file(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "copy.duckdb"
    shutil.copy(settings.database_path, path)
    other = small_settings(tmp_path, simulation={"seed": 99}).model_copy(update={"database": path})
    with open_warehouse(path, threads=2) as warehouse, pytest.raises(WarehouseError, match="--database"):
        run_graph(warehouse, other, [date(2014, 5, 1)])


def test_a_run_killed_outright_leaves_the_month_as_it_was_and_the_next_run_goes_through(
    settings: Settings, stored: Warehouse, tmp_path: Path
) -> None:
    path = tmp_path / "killed.duckdb"
    shutil.copy(settings.database_path, path)
    month = sample(settings)[-1]
    script = textwrap.dedent(
        f"""
        import os, signal
        from datetime import date
        from pathlib import Path
        from rotation_pipeline.orchestration import stages
        from rotation_pipeline.orchestration.runner import run_graph
        from rotation_pipeline.settings import Settings
        from rotation_pipeline.warehouse.store import Warehouse, open_warehouse

        honest = Warehouse._replace
        def killed(self, table, *rest):
            honest(self, table, *rest)
            if table.name == "factor_groups":
                os.kill(os.getpid(), signal.SIGKILL)
        Warehouse._replace = killed
        settings = Settings.model_validate_json(Path("settings.json").read_text())
        with open_warehouse(settings.database_path, threads=2) as warehouse:
            run_graph(warehouse, settings, [date({month.year}, {month.month}, 1)])
        """
    )
    chosen = settings.model_copy(update={"database": path, "output": tmp_path})
    (tmp_path / "settings.json").write_text(chosen.model_dump_json())
    died = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=dict(os.environ), check=False)
    assert died.returncode == -9
    with open_warehouse(path, threads=2) as warehouse:
        for name, table in catalog().items():
            if not table.view:
                assert compare(table, stored.read(name), warehouse.read(name)) == (0, ""), name
        run_graph(warehouse, chosen, [month])
        for name, table in catalog().items():
            if not table.view:
                assert compare(table, stored.read(name), warehouse.read(name)) == (0, ""), name


def test_equal_settings_give_equal_bytes(settings: Settings, stored: Warehouse, tmp_path: Path) -> None:
    again = small_settings(tmp_path)
    first = [stage.name for stage in stages()][: [stage.name for stage in stages()].index("factor_returns") + 1]
    with open_warehouse(again.database_path, threads=2) as warehouse:
        run_graph(warehouse, again, again.all_months(), only=first)
        for name in ("raw.daily_bars", "marts.factor_exposures", "marts.factor_longshort"):
            columns = [*(stored_name(column) for column in table_named(name).columns), "run_id"]
            columns = [column for column in columns if column != "run_id" or table_named(name).tracked]
            query = f"SELECT {', '.join(columns)} FROM {name} ORDER BY ALL"
            assert stored.query(query).equals(warehouse.query(query)), name


def test_no_stage_reads_the_truth(settings: Settings, tmp_path: Path) -> None:
    assert not any("truth" in name for stage in stages() for name in stage.reads)
    assert load_settings().simulation.premium_strength == 1.0
