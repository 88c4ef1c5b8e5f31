"""Opening a file: other kinds of files and other people's databases are refused and left as they were."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import duckdb
import pytest

from rotation_pipeline.warehouse.errors import LayoutMismatch, WarehouseError
from rotation_pipeline.warehouse.store import open_warehouse

REMEDY = r"Set `database` to another file \(--database FILE\), or move this one away"


def foreign(path: Path, *statements: str) -> None:
    with duckdb.connect(str(path)) as connection:
        for statement in statements:
            connection.execute(statement)


@pytest.mark.parametrize("read_only", [True, False])
@pytest.mark.parametrize("content", [b"", b"short", b"not a database " * 100])
def test_a_file_of_another_kind_is_refused_and_kept(tmp_path: Path, content: bytes, read_only: bool) -> None:
    path = tmp_path / "w.duckdb"
    path.write_bytes(content)
    with (
        pytest.raises(WarehouseError, match=rf"w\.duckdb is no DuckDB database; nothing was changed\. {REMEDY}"),
        open_warehouse(path, read_only=read_only),
    ):
        pass
    assert path.read_bytes() == content


def test_a_database_of_another_engine_is_refused_without_looking_for_an_extension(tmp_path: Path) -> None:
    path = tmp_path / "w.duckdb"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE prices (close REAL)")
    connection.commit()
    connection.close()
    with pytest.raises(WarehouseError, match="is no DuckDB database"), open_warehouse(path):
        pass


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WarehouseError, match=rf"is a folder\. {REMEDY}"), open_warehouse(tmp_path):
        pass


@pytest.mark.parametrize("read_only", [True, False])
def test_a_database_of_somebody_else_is_refused_and_kept(tmp_path: Path, read_only: bool) -> None:
    path = tmp_path / "w.duckdb"
    foreign(path, "CREATE TABLE prices (close DOUBLE)", "CREATE VIEW cheap AS SELECT * FROM prices WHERE close < 1")
    told = rf"was not made by this pipeline: it holds main\.cheap, main\.prices\. Nothing was changed\. {REMEDY}"
    with pytest.raises(LayoutMismatch, match=told), open_warehouse(path, read_only=read_only):
        pass
    with duckdb.connect(str(path)) as connection:
        tables = connection.execute("SELECT table_name FROM information_schema.tables ORDER BY 1").fetchall()
    assert tables == [("cheap",), ("prices",)]


@pytest.mark.parametrize("read_only", [True, False])
def test_a_layout_table_of_somebody_else_is_refused(tmp_path: Path, read_only: bool) -> None:
    path = tmp_path / "w.duckdb"
    foreign(path, "CREATE SCHEMA meta", "CREATE TABLE meta.layout (page INTEGER)")
    with (
        pytest.raises(LayoutMismatch, match=rf"(?s)meta\.layout is not this pipeline's .*{REMEDY}"),
        open_warehouse(path, read_only=read_only),
    ):
        pass


def test_an_empty_database_is_filled_by_a_writer_and_refused_to_a_reader(tmp_path: Path) -> None:
    path = tmp_path / "w.duckdb"
    foreign(path)
    with (
        pytest.raises(WarehouseError, match="holds nothing yet; `rotation run` fills it"),
        open_warehouse(path, read_only=True),
    ):
        pass
    with open_warehouse(path) as warehouse:
        assert warehouse.months("raw.trading_days") == []


def test_a_database_without_a_table_of_this_version_says_so_to_a_reader_and_gets_it_from_a_writer(
    tmp_path: Path,
) -> None:
    path = tmp_path / "w.duckdb"
    with open_warehouse(path) as warehouse:
        warehouse.execute("DROP TABLE marts.significance")
        warehouse.execute("DELETE FROM meta.layout WHERE table_name = 'marts.significance'")
    with (
        pytest.raises(LayoutMismatch, match=r"earlier version: it has no marts\.significance\. `rotation run`"),
        open_warehouse(path, read_only=True),
    ):
        pass
    with open_warehouse(path) as warehouse:
        assert warehouse.count("marts.significance") == 0


def test_what_the_database_has_against_a_query_is_told(tmp_path: Path) -> None:
    path = tmp_path / "w.duckdb"
    with open_warehouse(path) as warehouse:
        with pytest.raises(WarehouseError, match=r"(?s)w\.duckdb could not be queried: .*no_such_column"):
            warehouse.query("SELECT no_such_column FROM marts.weights")
        warehouse.execute("DROP TABLE marts.significance")
        for ask in (warehouse.months, warehouse.count, warehouse.read):
            with pytest.raises(WarehouseError, match=r"(?s)could not be queried: .*significance"):
                ask("marts.significance")


def test_of_settings_that_shape_nothing_the_latest_are_remembered(tmp_path: Path) -> None:
    named = ("code_version", "settings", "seeds", "packages", "source", "source_kind", "source_version")
    with open_warehouse(tmp_path / "w.duckdb") as warehouse:
        for settings in ("{}", '{"threads": 3}', '{"threads": 3}'):
            warehouse.record_run("a", {**dict.fromkeys(named, "x"), "settings": settings})
        warehouse.record_run("b", {**dict.fromkeys(named, "x"), "settings": "{}"})
        stored = warehouse.query("SELECT run_id, settings FROM meta.runs ORDER BY run_id").rows()
    assert stored == [("a", '{"threads": 3}'), ("b", "{}")]
