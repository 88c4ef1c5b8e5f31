"""What akshare can't serve is said before anything is asked, what it may be asked for, and that it must be installed."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
import vendor_market as market
from vendor_akshare_server import CODES, SOME, members

from rotation_pipeline.sources.base import SourceError
from rotation_pipeline.sources.vendors import vendor_source
from rotation_pipeline.sources.vendors.caller import Caller
from rotation_pipeline.sources.vendors.errors import VendorError
from rotation_pipeline.sources.vendors.options import VendorOptions

MONTH = date(2022, 1, 1)
OPTIONS = VendorOptions(pause=0, first_wait=0, attempts=2, members_from="2021-11", time_limit=20.0)


def test_it_says_what_it_cannot_serve_before_it_starts(tmp_path: Path) -> None:
    options = replace(OPTIONS, assets=SOME)
    alone = vendor_source("akshare", tmp_path / "cache", (market.INDEX,), options)
    assert {"index_members", "index_weights", "industries", "fundamentals", "daily_bars.is_st"} < set(alone.refused())
    with pytest.raises(SourceError, match="does not serve index_members: akshare has today's members only"):
        alone.fetch("index_members", MONTH, date(2022, 1, 31))
    with pytest.raises(SourceError, match="does not serve fundamentals: akshare dates a report by its last update"):
        alone.fetch("fundamentals", MONTH, date(2022, 1, 31))
    assert not (tmp_path / "cache").exists()
    beside = vendor_source("akshare", tmp_path, (market.INDEX,), OPTIONS, beside=members(tmp_path / "m"))
    assert "index_members" not in beside.refused()
    assert set(beside.fetch("index_members", MONTH, date(2022, 1, 31))["asset_id"]) == set(CODES)
    assert not beside.serves("industries")


def test_securities_must_be_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"name them in source\.vendor\.assets, all that were ever members, or"):
        vendor_source("akshare", tmp_path, (market.INDEX,), OPTIONS)
    with pytest.raises(SourceError, match="expected six digits and"):
        vendor_source("akshare", tmp_path, (market.INDEX,), replace(OPTIONS, assets=("600519",)))
    with pytest.raises(SourceError, match=r"can't be asked for 900901\.SH: it reads the exchange"):
        vendor_source("akshare", tmp_path, (market.INDEX,), replace(OPTIONS, assets=("900901.SH",)))
    with pytest.raises(SourceError, match="Beijing's lists are not read"):
        vendor_source("akshare", tmp_path, (market.INDEX,), replace(OPTIONS, assets=("830799.BJ",)))


def test_simulated_tables_are_not_mixed_in(tmp_path: Path) -> None:
    folder = members(tmp_path / "m")
    (folder / "mapping.toml").write_text('[source]\nkind = "simulated"\n', encoding="utf-8")
    with pytest.raises(SourceError, match="real and simulated never mix"):
        vendor_source("akshare", tmp_path, (market.INDEX,), replace(OPTIONS, assets=SOME), beside=folder)


def test_the_folder_is_in_the_version(tmp_path: Path) -> None:
    options = replace(OPTIONS, assets=SOME)
    versions: list[str] = []
    for codes in (CODES, CODES[:3], CODES):
        beside = members(tmp_path / "m", codes)
        versions.append(vendor_source("akshare", tmp_path, (market.INDEX,), options, beside=beside).version)
    assert versions[0] == versions[2] != versions[1]


def test_without_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "akshare.py").write_text("raise ImportError('No module named akshare')", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with (
        Caller("akshare", OPTIONS) as asking,
        pytest.raises(VendorError, match=r"pip install 'rotation-pipeline\[akshare\]'"),
    ):
        asking.call("stock_value_em", symbol="600001")
