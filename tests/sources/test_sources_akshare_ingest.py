"""`rotation ingest` from akshare's sites behind a local gateway: what it says before it starts, and its coverage table."""

from __future__ import annotations

import importlib.util
import json
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import vendor_akshare_server as places
import vendor_market as market
from vendor_akshare_server import SOME, Sites, members, serving

from rotation_pipeline.market.calendar import sessions
from rotation_pipeline.market.identifiers import asset_id
from rotation_pipeline.warehouse.store import open_warehouse

needs_client = pytest.mark.skipif(
    importlib.util.find_spec("akshare") is None, reason="the package akshare (extra akshare) is not installed"
)


def ingest(rotation: Any, sites: Sites, folder: Path, place: Path) -> Any:
    """One command."""
    vendor = {"pause": 0, "first_wait": 0, "attempts": 1, "address": sites.address, "members_from": "2021-05"}
    return rotation(
        "ingest", "--source", "akshare", "--path", folder, "--from", "2023-10", "--to", "2024-02",
        "--database", place / "x.duckdb",
        *(part for name, value in vendor.items() for part in ("--set", f"source.vendor.{name}={json.dumps(value)}")),
        "--set", "sample.history_months=27", "--set", "sample.style_history_months=2",
    )  # fmt: skip


def test_ingest_without_membership_asks_nothing(rotation: Any, tmp_path: Path) -> None:
    vendor = ["--set", f"source.vendor.assets={json.dumps(SOME)}", "--set", "source.vendor.address=http://127.0.0.1:9"]
    answer = rotation("ingest", "--source", "akshare", "--database", tmp_path / "x.duckdb", *vendor)
    assert answer.code == 1
    assert "source akshare does not serve index_members: akshare has today's members only" in answer.stderr
    assert "error source akshare does not serve index_members, industries, and no month can be stored" in answer.stderr
    assert "Nothing was asked of the vendor" in answer.stderr
    assert not (tmp_path / "vendors").exists()


@needs_client
def test_ingest_ends_with_coverage(rotation: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`rotation ingest` over 32 months of three securities, the last day a 29 February; membership from a folder."""
    start, leap = date(2021, 5, 6), date(2024, 2, 29)
    monkeypatch.setattr(market, "FIRST", start)
    monkeypatch.setattr(market, "LAST", leap)
    monkeypatch.setattr(market, "CODES", SOME)
    monkeypatch.setattr(places, "BEGINNINGS", dict.fromkeys(SOME, start))
    folder = members(tmp_path / "members", SOME, start)
    rows = pl.read_parquet(folder / "index_members.parquet")
    named = pl.lit("S").alias("scheme"), pl.lit("i").alias("industry")
    rows.select("asset_id", "valid_from", "valid_to", *named).write_parquet(folder / "industries.parquet")
    with serving() as sites:
        index = sites.klines["1.000016"][0][1][1:]
        sites.klines["1.000016"] = [(day, [f"{day}", *index]) for day in sessions(start, leap)]
        answer = ingest(rotation, sites, folder, tmp_path)
    assert answer.code == 0, answer.stderr
    assert "source akshare+files does not serve fundamentals" in answer.stderr
    assert "fetched 81 of 81: done" in answer.stderr
    assert "coverage" in answer.stdout
    row = next(line for line in answer.stdout.splitlines() if "daily_bars" in line and "yes" in line)
    assert "32 of 32" in row
    assert f"Which rows, and why: `rotation show raw.quarantine --database {tmp_path / 'x.duckdb'}`" in answer.stdout
    true = {bar.code: (bar.close, bar.volume) for bar in market.bars() if bar.day == leap}
    with open_warehouse(tmp_path / "x.duckdb", read_only=True) as warehouse:
        february = {
            name: warehouse.read(f"raw.{name}", first=date(2024, 2, 1)).filter(pl.col("day") == leap)
            for name in ("trading_days", "index_bars", "daily_bars", "daily_valuation")
        }
    assert {name: rows.height for name, rows in february.items()} == {
        "trading_days": 1, "index_bars": 1, "daily_bars": 3, "daily_valuation": 3,
    }  # fmt: skip
    assert february["trading_days"]["is_month_end"].to_list() == [True]
    bars = february["daily_bars"].select("asset_key", "close", "volume").iter_rows()
    assert {asset_id(key): (close, volume) for key, close, volume in bars} == true
