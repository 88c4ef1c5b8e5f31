"""Tushare: canonical rows, units and traps, from answers in its own form; its own client against a local stand-in."""

from __future__ import annotations

import importlib.util
from collections.abc import Generator
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import vendor_market as market
import vendor_reused
from vendor_direct import OPTIONS, source_of
from vendor_tushare_server import Stand, serving

from rotation_pipeline.sources.base import Downloads, Source, SourceError
from rotation_pipeline.sources.ingest import Ingestion, ingest_months
from rotation_pipeline.sources.vendors import vendor_source
from rotation_pipeline.sources.vendors.caller import Caller
from rotation_pipeline.sources.vendors.errors import BadAnswer, VendorBusy, VendorError
from rotation_pipeline.sources.vendors.source import VendorSource

NOW = datetime(2024, 1, 1)
FIRST, LAST = date(2021, 11, 1), date(2022, 2, 1)
needs_client = pytest.mark.skipif(
    importlib.util.find_spec("tushare") is None, reason="the package tushare (extra tushare) is not installed"
)


@pytest.fixture(scope="module")
def stand() -> Generator[Stand]:
    with serving() as running:
        yield running


@pytest.fixture(autouse=True)
def sound(request: pytest.FixtureRequest) -> Generator[None]:
    yield
    if "stand" in request.fixturenames:
        used: Stand = request.getfixturevalue("stand")
        used.trick, used.delay = None, 0.0


@pytest.fixture(scope="module")
def source(stand: Stand, tmp_path_factory: pytest.TempPathFactory) -> VendorSource:
    found = source_of(stand, tmp_path_factory.mktemp("tushare"))
    found.prepare(FIRST, LAST)
    return found


@pytest.fixture(scope="module")
def ingested(source: VendorSource) -> Ingestion:
    return ingest_months(source, list(market.MONTHS), fetched_at=NOW)


def bars(source: VendorSource, code: str) -> pl.DataFrame:
    return source.fetch("daily_bars", FIRST, market.LAST).filter(pl.col("asset_id") == code).sort("day")


def at(rows: pl.DataFrame, day: date) -> dict[str, Any]:
    return rows.filter(pl.col("day") == day).row(0, named=True)


def test_it_is_a_source_that_downloads(source: VendorSource) -> None:
    assert isinstance(source, Source)
    assert isinstance(source, Downloads)
    assert source.kind == "real"
    assert source.refused() == {}


def test_everything_passes_the_sanity_rules(ingested: Ingestion) -> None:
    """Small indices are warned of; no row of this market is wrong."""
    assert set(ingested.quarantine["rule"]) == {"4_member_count"}
    assert all(ingested.tables[name].height for name in ingested.tables)


def test_units_of_bars_and_valuation(source: VendorSource) -> None:
    true = next(bar for bar in market.bars() if bar.code == "600001.SH" and bar.day == market.EX_DAY)
    row = at(bars(source, "600001.SH"), market.EX_DAY)
    assert row["volume"] == true.volume
    assert row["amount"] == true.amount
    assert row["prev_close"] == true.prev_close  # the exchange's, ex-rights: not the close before
    assert row["adj_factor"] == true.factor
    value = (
        source.fetch("daily_valuation", FIRST, market.LAST).filter(pl.col("asset_id") == "600003.SH").row(0, named=True)
    )
    assert (value["turnover_rate"], value["dividend_yield_ttm"], value["pb"], value["pe_ttm"]) == (
        0.0125,
        0.025,
        -0.8,
        None,
    )
    close = at(bars(source, "600003.SH"), value["day"])["close"]
    assert value["total_market_value"] == pytest.approx(close * 1e8, rel=1e-12)
    index = source.fetch("index_bars", FIRST, market.LAST)
    assert (index["volume"][0], index["amount"][0]) == (1000.0, 20_000.0)


def test_bars_are_asked_for_unadjusted(source: VendorSource, stand: Stand) -> None:
    """`pro_bar` makes its previous close by shifting raw closes, and adjusted prices are rewritten by each later dividend: bars
    come from `daily` and factors from `adj_factor`, and what is stored on an ex-day is the exchange's previous close."""
    methods = {method for method, _ in stand.asked}
    assert {"daily", "adj_factor"} < methods
    assert "pro_bar" not in methods
    assert not [params for _, params in stand.asked if {"adj", "adjust"} & set(params)]
    rows = source.fetch("daily_bars", FIRST, market.LAST).filter(pl.col("asset_id") == "600001.SH").sort("day")
    at = rows["day"].to_list().index(market.EX_DAY)
    true = next(bar for bar in market.bars() if (bar.code, bar.day) == ("600001.SH", market.EX_DAY))
    assert rows["close"][at] == true.close
    assert rows["prev_close"][at] == true.prev_close < rows["close"][at - 1]


def test_suspended_days_repeat_the_last_close(source: VendorSource) -> None:
    rows = bars(source, "600002.SH")
    last = at(rows, date(2021, 12, 28))
    for day in (date(2021, 12, 29), date(2022, 1, 4), date(2022, 2, 15)):  # within its month, and two months on
        row = at(rows, day)
        assert row["is_suspended"]
        assert (row["close"], row["prev_close"], row["adj_factor"]) == (
            last["close"],
            last["close"],
            last["adj_factor"],
        )
        assert (row["volume"], row["amount"]) == (0.0, 0.0)
    assert not at(rows, market.RETURNS_ON)["is_suspended"]
    assert not at(bars(source, "300004.SZ"), date(2022, 1, 11))["is_suspended"]  # half an hour is no suspended day


def test_suspended_for_a_year(source: VendorSource) -> None:
    rows = bars(source, "600008.SH")
    assert rows["is_suspended"].all()
    last = max((bar for bar in market.bars() if bar.code == "600008.SH"), key=lambda bar: bar.day)
    assert last.day == market.LONG_SUSPENDED_SINCE
    assert set(rows["close"]) == {last.close}


def test_treatment_boards_and_delisting(source: VendorSource) -> None:
    treated = bars(source, "600003.SH")
    assert treated.filter("is_st")["day"].min() == date(2022, 1, 10)
    boards = {code: bars(source, code)["board"][0] for code in ("300004.SZ", "688005.SH", "000016.SZ", "600001.SH")}
    assert boards == {"300004.SZ": "chinext", "688005.SH": "star", "000016.SZ": "main", "600001.SH": "main"}
    assert bars(source, "600007.SH")["day"].max() == date(2022, 1, 19)
    listed = source.fetch("listings", FIRST, market.LAST)
    assert listed.filter(pl.col("asset_id") == "600007.SH")["delisted_on"][0] == market.DELISTED
    assert listed["name"].null_count() == listed.height  # today's names are none of the past


def test_dividends_of_one_day_add_up_and_plans_are_left(source: VendorSource) -> None:
    rows = source.fetch("dividends", FIRST, market.LAST)
    assert rows.height == 1
    row = rows.row(0, named=True)
    assert row["cash_per_share"] == pytest.approx(market.CASH)
    assert (row["shares_per_share"], row["announced_on"]) == (market.SHARES, date(2022, 1, 6))


def test_a_dividend_sent_twice_is_paid_once(stand: Stand, source: VendorSource, tmp_path: Path) -> None:
    def twice(api: str, _params: object, sound: dict[str, Any], _number: int) -> dict[str, Any] | None:
        data = sound["data"]
        return {**sound, "data": {**data, "items": [*data["items"], *data["items"]]}} if api == "dividend" else None

    stand.trick = twice
    found = source_of(stand, tmp_path).fetch("dividends", date(2022, 1, 1), date(2022, 1, 31))
    assert found.height == 1
    assert found.equals(source.fetch("dividends", date(2022, 1, 1), date(2022, 1, 31)))


def test_equal_payments_for_two_periods_add_up(stand: Stand, source: VendorSource, tmp_path: Path) -> None:
    def again(api: str, _params: object, sound: dict[str, Any], _number: int) -> dict[str, Any] | None:
        if api != "dividend":
            return None
        data, at = sound["data"], sound["data"]["fields"].index("end_date")
        more = [[*row[:at], "20191231", *row[at + 1 :]] for row in data["items"]]
        return {**sound, "data": {**data, "items": [*data["items"], *more]}}

    stand.trick = again
    found = source_of(stand, tmp_path).fetch("dividends", date(2022, 1, 1), date(2022, 1, 31))
    stand.trick = None
    once = source.fetch("dividends", date(2022, 1, 1), date(2022, 1, 31))
    assert found["cash_per_share"].to_list() == (2 * once["cash_per_share"]).to_list()


def test_membership_changes_on_the_first_snapshot_that_shows_it(source: VendorSource) -> None:
    rows = source.fetch("index_members", date(2022, 2, 1), market.LAST)
    named = {row["asset_id"]: (row["valid_from"], row["valid_to"]) for row in rows.iter_rows(named=True)}
    assert named["600100.SH"] == (date(2021, 11, 30), market.LAST)
    assert named["600101.SH"] == (market.LAST, None)
    weights = source.fetch("index_weights", FIRST, market.LAST)
    assert weights.group_by("day").agg(pl.col("weight").sum())["weight"].to_list() == pytest.approx([1.0] * 4)


def test_reports_are_trailing_and_as_first_announced(source: VendorSource) -> None:
    rows = source.fetch("fundamentals", FIRST, market.LAST).filter(pl.col("asset_id") == "600001.SH")
    value = {
        (row["item"], row["report_period"], row["announced_on"]): (row["value"], row["is_revision"])
        for row in rows.iter_rows(named=True)
    }
    year, first, revised = date(2021, 12, 31), date(2022, 1, 20), date(2022, 2, 15)
    assert value["net_profit_ttm", year, first] == (450.0, False)
    assert value["net_profit_ttm", year, revised] == (460.0, True)
    assert value["roe_ttm", year, first] == (450 / 4000, False)
    assert value["roe_ttm", year, revised] == (460 / 4000, True)
    assert value["roe", year, first] == (0.1, False)  # not the correction of 99 % that carries the original's day
    assert value["net_profit_yoy", year, first] == (0.12, False)


def test_trailing_sum_of_a_quarter(stand: Stand, tmp_path: Path) -> None:
    """Half-year 2021 of 600001: 250 + 400 − 200, announced 2021-08-25."""
    from vendor_direct import DirectCaller

    from rotation_pipeline.sources.vendors.store import VendorStore
    from rotation_pipeline.sources.vendors.tushare import TushareAdapter

    adapter = TushareAdapter((market.INDEX,), OPTIONS)
    caller = type("Bound", (DirectCaller,), {"stand": stand})("tushare", OPTIONS)
    units = adapter.units(date(2021, 8, 1), date(2021, 10, 1))
    fetch = {unit.month.month: unit.fetch for unit in units if unit.table == "fundamentals"}
    rows = fetch[8](caller, date(2021, 8, 1), VendorStore(tmp_path))
    ttm = rows.filter((pl.col("item") == "net_profit_ttm") & (pl.col("asset_id") == "600001.SH"))
    assert ttm["value"].to_list() == [450.0]
    october = fetch[10](caller, date(2021, 10, 1), VendorStore(tmp_path))
    late = october.filter((pl.col("item") == "roe") & (pl.col("asset_id") == "600102.SH"))
    assert late.select("announced_on", "announcement_is_deadline").row(0) == (date(2021, 10, 31), True)


def test_a_month_alone_equals_the_month_in_a_range(ingested: Ingestion, stand: Stand, tmp_path: Path) -> None:
    alone = ingest_months(source_of(stand, tmp_path), [market.MONTHS[0]], fetched_at=NOW)
    for name, frame in alone.tables.items():
        assert frame.equals(ingested.tables[name].filter(pl.col("month") == market.MONTHS[0])), name


def test_only_what_is_missing_is_asked_for(source: VendorSource, stand: Stand) -> None:
    before = len(stand.asked)
    assert source.prepare(FIRST, LAST) == 0
    assert len(stand.asked) == before


@pytest.mark.parametrize("since", [vendor_reused.SOON, vendor_reused.AGAIN])
def test_a_code_used_again(since: date, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bars = [*market.bars(), *vendor_reused.second(since)]
    monkeypatch.setattr(market, "bars", lambda: bars)
    stand = Stand()
    listed = {"list_date": f"{since:%Y%m%d}", "delist_date": None, "list_status": "L"}
    stand.tables["stock_basic"].append({"ts_code": vendor_reused.CODE, "name": "另", **listed})
    vendor_reused.check(source_of(stand, tmp_path), since)


def test_the_twenty_ninth_of_february(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leap = date(2024, 2, 29)
    monkeypatch.setattr(market, "FIRST", date(2023, 12, 1))
    monkeypatch.setattr(market, "LAST", leap)
    source = source_of(Stand(), tmp_path, replace(OPTIONS, members_from="2023-12"))
    for table in ("trading_days", "index_bars", "index_weights", "daily_bars", "daily_valuation"):
        assert source.fetch(table, date(2024, 2, 1), leap)["day"].max() == leap, table
    assert source.fetch("trading_days", leap, leap)["is_month_end"].to_list() == [True]
    traded = source.fetch("daily_bars", leap, leap).filter(~pl.col("is_suspended"))
    assert set(traded["asset_id"]) == {bar.code for bar in market.bars() if bar.day == leap}


def test_named_assets_and_tables_left_out(stand: Stand, tmp_path: Path) -> None:
    options = replace(OPTIONS, assets=("600001.SH", "600100.SH"), leave_out=("fundamentals", "dividends"), page_rows=7)
    source = source_of(stand, tmp_path, options)
    assert source.refused()["dividends"] == "left out by source.vendor.leave_out"
    with pytest.raises(SourceError, match="does not serve dividends: left out"):
        source.fetch("dividends", FIRST, market.LAST)
    found = source.fetch("daily_bars", date(2022, 1, 1), date(2022, 1, 31))
    assert set(found["asset_id"]) == {"600001.SH", "600100.SH"}


# --- bad answers ---------------------------------------------------------------------------------------------------------


def refused(stand: Stand, folder: Path, api: str, change: Any) -> str:  # a function of the answer's data
    def trick(asked: str, params: dict[str, Any], sound: dict[str, Any], number: int) -> dict[str, Any] | None:
        del number
        if asked != api:
            return None
        return {**sound, "data": change(dict(sound["data"]), params)}

    stand.trick = trick
    source = source_of(stand, folder, replace(OPTIONS, page_rows=3000))
    with pytest.raises(BadAnswer) as caught:
        source.prepare(date(2022, 1, 1), date(2022, 1, 1))
    assert "daily_bars/2022-01" not in source.store.entries()
    return str(caught.value)


def rows(data: dict[str, Any], change: Any) -> dict[str, Any]:
    return {**data, "items": change(data["items"])}


def test_half_a_month(stand: Stand, tmp_path: Path) -> None:
    text = refused(stand, tmp_path, "index_daily", lambda data, _: rows(data, lambda items: items[8:]))
    assert "8 sessions of 2022-01 are lacking" in text


def test_a_day_without_bars_and_half_a_day(stand: Stand, tmp_path: Path) -> None:
    def gone(data: dict[str, Any], params: dict[str, Any]) -> dict[str, Any]:
        return rows(data, lambda items: [] if params.get("trade_date") == "20220112" else items)

    text = refused(stand, tmp_path / "a", "daily", gone)
    assert "20220112" in text
    assert "half an answer" in text
    assert "half an answer" in refused(
        stand, tmp_path / "b", "daily", lambda data, _: rows(data, lambda items: items[:9])
    )


def test_numbers_as_text_with_commas(stand: Stand, source: VendorSource, tmp_path: Path) -> None:
    def commas(api: str, params: dict[str, Any], sound: dict[str, Any], number: int) -> dict[str, Any]:
        del params, number
        if api == "daily":
            fields = sound["data"]["fields"]
            for row in sound["data"]["items"]:
                for name in ("vol", "amount", "close"):
                    row[fields.index(name)] = f"{row[fields.index(name)]:,}"
        return sound

    stand.trick = commas
    found = source_of(stand, tmp_path).fetch("daily_bars", date(2022, 1, 1), date(2022, 1, 31))
    assert found.equals(source.fetch("daily_bars", date(2022, 1, 1), date(2022, 1, 31)))
    for wrong in ("1,2,3", "12,34", "n/a", "1e999"):
        change = lambda data, _, wrong=wrong: rows(data, lambda items: [[*row[:2], wrong, *row[3:]] for row in items])  # noqa: E731
        assert "can't be read as number" in refused(stand, tmp_path / wrong.replace("/", ""), "daily", change)


def test_column_order_may_change_and_names_may_not(stand: Stand, source: VendorSource, tmp_path: Path) -> None:
    def backwards(api: str, params: dict[str, Any], sound: dict[str, Any], number: int) -> dict[str, Any]:
        del api, params, number
        data = sound["data"]
        return {**sound, "data": {"fields": data["fields"][::-1], "items": [row[::-1] for row in data["items"]]}}

    stand.trick = backwards
    found = source_of(stand, tmp_path / "order").fetch("daily_bars", date(2022, 1, 1), date(2022, 1, 31))
    assert found.equals(source.fetch("daily_bars", date(2022, 1, 1), date(2022, 1, 31)))

    def renamed(data: dict[str, Any], _: object) -> dict[str, Any]:
        return {**data, "fields": ["preclose" if name == "pre_close" else name for name in data["fields"]]}

    assert "no column 'pre_close' among" in refused(stand, tmp_path / "name", "daily", renamed)


def test_duplicated_pages(stand: Stand, tmp_path: Path) -> None:
    def again(asked: str, params: dict[str, Any], sound: dict[str, Any], number: int) -> dict[str, Any] | None:
        del number
        if asked == "daily" and params["offset"]:
            whole = stand.tables["daily"]
            first = [row for row in whole if row["trade_date"] == params["trade_date"]][: params["limit"]]
            fields = sound["data"]["fields"]
            return {**sound, "data": {"fields": fields, "items": [[row[name] for name in fields] for row in first]}}
        return None

    stand.trick = again
    with pytest.raises(BadAnswer, match="were on an earlier page"):
        source_of(stand, tmp_path, replace(OPTIONS, page_rows=6)).prepare(date(2022, 1, 1), date(2022, 1, 1))
    double = refused(stand, tmp_path / "one", "daily", lambda data, _: rows(data, lambda items: [*items, *items]))
    assert "share their key" in double


def test_pages_are_put_together(stand: Stand, source: VendorSource, tmp_path: Path) -> None:
    found = source_of(stand, tmp_path, replace(OPTIONS, page_rows=6)).fetch("daily_bars", FIRST, market.LAST)
    assert found.equals(source.fetch("daily_bars", FIRST, market.LAST))


def test_another_encoding(stand: Stand, tmp_path: Path) -> None:
    def latin(data: dict[str, Any], _: object) -> dict[str, Any]:
        at = data["fields"].index("name")
        return rows(
            data, lambda items: [[*row[:at], row[at].encode().decode("latin-1"), *row[at + 1 :]] for row in items]
        )

    assert "another encoding" in refused(stand, tmp_path, "stock_basic", latin)


def test_rows_of_another_day_and_a_bare_code(stand: Stand, tmp_path: Path) -> None:
    other = lambda data, _: rows(data, lambda items: [[row[0], "20220104", *row[2:]] for row in items])  # noqa: E731
    assert "rows of 2022-01-04 came though" in refused(stand, tmp_path / "a", "daily", other)
    bare = lambda data, _: rows(data, lambda items: [[row[0][:6], *row[1:]] for row in items])  # noqa: E731
    assert "the suffix is never guessed" in refused(stand, tmp_path / "b", "daily", bare)


# --- its own client ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def caller(stand: Stand) -> Generator[Caller]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TUSHARE_TOKEN", market.CANARY)
        options = replace(OPTIONS, address=stand.address, attempts=2, time_limit=20.0)
        with Caller("tushare", options) as found:
            yield found


@needs_client
def test_the_real_client_gives_the_same_rows(
    stand: Stand,
    source: VendorSource,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """And the token stands nowhere but in the requests."""
    monkeypatch.setenv("TUSHARE_TOKEN", market.CANARY)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    options = replace(OPTIONS, address=stand.address)
    real = vendor_source("tushare", tmp_path / "store", (market.INDEX,), options)
    told: list[str] = []
    stand.tokens.clear()
    real.prepare(date(2022, 2, 1), date(2022, 2, 1), lambda _done, _total, text: told.append(text))
    assert stand.tokens == {market.CANARY}
    for table in ("daily_bars", "daily_valuation", "fundamentals", "dividends", "listings"):
        got, expected = (item.fetch(table, date(2022, 2, 1), market.LAST) for item in (real, source))
        assert got.equals(expected), table
    texts = [*told, repr(options), real.version, *capfd.readouterr()]
    texts += [path.read_bytes().decode("latin-1") for path in tmp_path.rglob("*") if path.is_file()]
    assert len(texts) > 30
    assert not [text for text in texts if market.CANARY in text]


@needs_client
@pytest.mark.parametrize(
    ("said", "error"),
    [
        ("抱歉，您没有访问该接口的权限，权限的具体详情访问：https://example.org。", VendorError),
        ("抱歉，您每天最多访问该接口1次，权限的具体详情访问：https://example.org。", VendorError),
        (f"您的token不对，请确认。{market.CANARY}", VendorError),
        ("抱歉，您每分钟最多访问该接口200次，权限的具体详情访问：https://example.org。", VendorBusy),
    ],
)
def test_refusals(stand: Stand, caller: Caller, said: str, error: type[VendorError]) -> None:
    before = len(stand.asked)
    stand.trick = lambda _api, _params, sound, _number: {**sound, "code": 40203, "msg": said, "data": None}
    with pytest.raises(VendorError) as caught:
        caller.call("daily", trade_date="20220104")
    assert type(caught.value) is error
    assert said.partition("。")[0][:8] in str(caught.value)
    assert ("what TUSHARE_TOKEN holds" in str(caught.value)) == ("token" in said)
    assert market.CANARY not in str(caught.value)
    assert len(stand.asked) - before == (2 if error is VendorBusy else 1)  # asking again is for haste alone


@needs_client
@pytest.mark.parametrize(
    "body", ["<html><body>502 坏</body></html>".encode(), '{"code": 0, "data": "名'.encode("gb18030"), b'{"code": 0}']
)
def test_html_and_other_bytes(stand: Stand, caller: Caller, body: bytes) -> None:
    stand.trick = lambda *_: body
    with pytest.raises(VendorBusy, match="answer"):
        caller.call("daily", trade_date="20220104")
    stand.trick = None
    assert caller.call("daily", trade_date="20220104").rows  # the same child goes on


@needs_client
def test_a_hung_call_is_killed_and_reported(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUSHARE_TOKEN", market.CANARY)
    monkeypatch.setattr("rotation_pipeline.sources.vendors.caller.START_LIMIT", 10.0)
    told: list[str] = []
    waits: list[float] = []
    options = replace(OPTIONS, address=stand.address, time_limit=0.5, first_wait=1.0, attempts=2)
    with Caller("tushare", options, sleep=waits.append, tell=told.append) as asking:
        assert asking.call("daily", trade_date="20220104").rows
        monkeypatch.setattr("rotation_pipeline.sources.vendors.caller.START_LIMIT", 0.0)
        child = asking._child  # pyright: ignore[reportPrivateUsage]
        stand.delay = 3.0
        with pytest.raises(VendorBusy, match=r"tushare daily\(trade_date=20220104\): .* \(2 tries\)"):
            asking.call("daily", trade_date="20220104")
    assert child is not None
    assert child.poll() is not None
    assert len(told) == 1
    assert 1.0 <= waits[1] <= 1.5


@needs_client
def test_without_a_token(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TUSHARE_TOKEN", raising=False)
    with (
        Caller("tushare", replace(OPTIONS, address=stand.address)) as asking,
        pytest.raises(VendorError, match=r"TUSHARE_TOKEN is not set.*put yours into it"),
    ):
        asking.call("daily", trade_date="20220104")


def test_without_the_package(tmp_path: Path, stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tushare.py").write_text("raise ImportError('No module named tushare')", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("TUSHARE_TOKEN", market.CANARY)
    with (
        Caller("tushare", replace(OPTIONS, address=stand.address)) as asking,
        pytest.raises(VendorError, match=r"pip install 'rotation-pipeline\[tushare\]'"),
    ):
        asking.call("daily", trade_date="20220104")
