"""`rotation show`: what is printed of a table, as it is and as it stood on a day."""

from __future__ import annotations

import io
import json
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from conftest import small_settings
from typer.testing import CliRunner, Result

from rotation_pipeline.cli import app
from rotation_pipeline.market.calendar import months_between, sessions
from rotation_pipeline.market.identifiers import asset_id
from rotation_pipeline.orchestration.runner import run_graph
from rotation_pipeline.warehouse.errors import WarehouseError
from rotation_pipeline.warehouse.store import open_warehouse

DAY = date(2011, 4, 15)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five months of raw market data."""
    chosen = small_settings(tmp_path_factory.mktemp("show"))
    with open_warehouse(chosen.database_path, threads=2) as warehouse:
        run_graph(warehouse, chosen, months_between(date(2010, 12, 1), date(2011, 4, 1)), only=["raw_market_data"])
    return chosen.database_path


def show(database: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["show", *arguments, "--database", str(database)])


def answer(database: Path, *arguments: str) -> Any:
    found = show(database, *arguments, "--json")
    assert found.exit_code == 0, found.output
    return json.loads(found.stdout)


def test_json_as_of_a_day_has_the_rows_known_then(database: Path) -> None:
    found = answer(database, "raw.daily_bars", "--month", "2011-04", "--as-of", str(DAY))
    assert (found["as_of"], found["source_kind"], found["complete"]) == (str(DAY), "simulated", True)
    days = {row["day"] for row in found["rows"]}
    assert max(days) == str(DAY)
    now = answer(database, "raw.daily_bars", "--month", "2011-04")
    assert max(row["day"] for row in now["rows"]) == "2011-04-29"
    assert now["as_of"] is None
    with open_warehouse(database, read_only=True) as warehouse:
        stood = warehouse.as_of("raw.daily_bars", DAY, first=date(2011, 4, 1))
    assert len(found["rows"]) == stood.height
    assert [row["close"] for row in found["rows"]] == stood["close"].to_list()


def test_csv_of_one_security_with_readable_identifiers(database: Path) -> None:
    with open_warehouse(database, read_only=True) as warehouse:
        name = asset_id(warehouse.read("raw.daily_bars", limit=1)["asset_key"][0])
    found = show(database, "staging.daily_bars", "--asset", name, "--as-of", str(DAY), "--csv")
    assert found.exit_code == 0, found.output
    rows = pl.read_csv(io.StringIO(found.stdout), try_parse_dates=True)
    assert rows["asset_id"].unique().to_list() == [name]
    assert rows["day"].max() == DAY
    assert rows.columns[:3] == ["month", "asset_id", "day"]


def test_a_screen_shows_twenty_rows_says_so_and_names_the_kind_of_data(database: Path) -> None:
    found = show(database, "raw.trading_days", "--as-of", str(DAY))
    assert found.exit_code == 0, found.output
    assert "as it stood at the close of 2011-04-15; simulated data" in found.stdout.replace("\n", " ")
    assert found.stdout.count("2010-12-01  2010-12-") == 20
    assert "the first 20 rows" in found.stdout
    found = show(database, "raw.trading_days", "--month", "2011-04", "--as-of", str(DAY), "--limit", "50")
    assert "the first" not in found.stdout
    assert found.stdout.count("2011-04-01  2011-04-") == len(sessions(date(2011, 4, 1), DAY))
    assert "no rows" in show(database, "raw.trading_days", "--as-of", "2005-01-04").stdout


def test_a_limit_marks_json_as_incomplete(database: Path) -> None:
    found = answer(database, "raw.daily_bars", "--limit", "3")
    assert (len(found["rows"]), found["complete"]) == (3, False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["raw.daily_bars", "--as-of", "2011-02-30"], "is no day"),
        (["raw.daily_bars", "--month", "April"], "is no month"),
        (["raw.daily_bars", "--asset", "600519"], "is no security identifier"),
        (["raw.trading_days", "--asset", "600519.SH"], "has no column asset_id"),
        (["raw.daily_bars", "--json", "--csv"], "choose one of"),
        (["raw.daily_bars", "--limit", "0"], "--limit"),
    ],
)
def test_wrong_usage_ends_with_2_and_says_what_is_wrong(database: Path, arguments: list[str], message: str) -> None:
    found = show(database, *arguments)
    assert found.exit_code == 2
    assert message in " ".join(found.output.replace("│", " ").split())


def test_an_unknown_table_is_refused_with_near_names(database: Path) -> None:
    found = show(database, "raw.daily_bar")
    assert isinstance(found.exception, WarehouseError)
    assert "did you mean raw.daily_bars" in str(found.exception)
