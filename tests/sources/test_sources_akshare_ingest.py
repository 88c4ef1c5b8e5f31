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

needs_client = pytest.mark.skipif(
    importlib.util.find_spec("akshare") is None, reason="the package akshare (extra akshare) is not installed"
)


def ingest(rotation: Any, sites: Sites, folder: Path, place: Path) -> Any:
    """One command."""
    vendor = {"pause": 0, "first_wait": 0, "attempts": 1, "address": sites.address, "members_from": "2019-05"}
    return rotation(
        "ingest", "--source", "akshare", "--path", folder, "--from", "2021-10", "--to", "2022-02",
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
    """`rotation ingest` over 33 months of three securities, membership from a folder."""
    start = date(2019, 5, 6)
    monkeypatch.setattr(market, "FIRST", start)
    monkeypatch.setattr(market, "CODES", SOME)
    monkeypatch.setattr(places, "BEGINNINGS", dict.fromkeys(SOME, start))
    folder = members(tmp_path / "members", SOME, start)
    rows = pl.read_parquet(folder / "index_members.parquet")
    named = pl.lit("S").alias("scheme"), pl.lit("i").alias("industry")
    rows.select("asset_id", "valid_from", "valid_to", *named).write_parquet(folder / "industries.parquet")
    with serving() as sites:
        index = sites.klines["1.000016"][0][1][1:]
        sites.klines["1.000016"] = [(day, [f"{day}", *index]) for day in sessions(start, market.LAST)]
        answer = ingest(rotation, sites, folder, tmp_path)
    assert answer.code == 0, answer.stderr
    assert "source akshare+files does not serve fundamentals" in answer.stderr
    assert "fetched 81 of 81: done" in answer.stderr
    assert "coverage" in answer.stdout
    row = next(line for line in answer.stdout.splitlines() if "daily_bars" in line and "yes" in line)
    assert "32 of 32" in row
