"""Akshare itself against local sites that answer in their own form: canonical rows, units, and the traps of scraping."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Generator
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import polars as pl
import pytest
import vendor_akshare_server as places
import vendor_market as market
import vendor_reused
from vendor_akshare_server import CODES, SOME, Sites, members, serving

from rotation_pipeline.market.calendar import month_sessions
from rotation_pipeline.sources.base import Downloads, Source
from rotation_pipeline.sources.ingest import Ingestion, ingest_months
from rotation_pipeline.sources.vendors import vendor_source
from rotation_pipeline.sources.vendors.akshare import AkshareAdapter, prefixed
from rotation_pipeline.sources.vendors.answers import Answer
from rotation_pipeline.sources.vendors.caller import Caller
from rotation_pipeline.sources.vendors.errors import BadAnswer, VendorBusy, VendorError
from rotation_pipeline.sources.vendors.options import VendorOptions
from rotation_pipeline.sources.vendors.source import VendorSource

NOW = datetime(2024, 1, 1)
FIRST, LAST = date(2021, 11, 1), date(2022, 2, 1)
MONTH = date(2022, 1, 1)
OPTIONS = VendorOptions(pause=0, first_wait=0, attempts=2, members_from="2021-11", time_limit=20.0)
needs_client = pytest.mark.skipif(
    importlib.util.find_spec("akshare") is None, reason="the package akshare (extra akshare) is not installed"
)


class Shared(Caller):
    """One child for all tests: the client is imported once."""

    real: Caller

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:  # fmt: skip
        """Leave the child alone."""

    def _once(self, method: str, params: dict[str, Any]) -> Answer:
        return self.real._once(method, params)


@pytest.fixture(scope="module")
def sites() -> Generator[Sites]:
    with serving() as running:
        yield running


@pytest.fixture(autouse=True)
def sound(request: pytest.FixtureRequest) -> Generator[None]:
    yield
    if "sites" in request.fixturenames:
        used: Sites = request.getfixturevalue("sites")
        used.trick, used.delay = None, 0.0


@pytest.fixture(scope="module")
def caller(sites: Sites) -> Generator[Caller]:
    with pytest.MonkeyPatch.context() as patch:
        for name in (
            "TUSHARE_TOKEN",
            "TINYSOFT_PASSWORD",
            "BAOSTOCK_API_KEY",
        ):  # keys of others, in the same environment
            patch.setenv(name, market.CANARY)
        with Caller("akshare", replace(OPTIONS, address=sites.address)) as found:
            yield found


def source_of(caller: Caller, folder: Path, codes: tuple[str, ...] = SOME) -> VendorSource:
    """A source of some securities, membership beside it, over ``folder``."""
    options = replace(OPTIONS, assets=codes)
    bound = type("Bound", (Shared,), {"real": caller})
    source = vendor_source("akshare", folder / "cache", (market.INDEX,), options, beside=members(folder / "members"))
    return VendorSource(AkshareAdapter((market.INDEX,), options), folder / "cache", options, caller=bound, beside=source._beside)  # pyright: ignore[reportPrivateUsage] # fmt: skip


@pytest.fixture(scope="module")
def source(caller: Caller, tmp_path_factory: pytest.TempPathFactory) -> VendorSource:
    found = source_of(caller, tmp_path_factory.mktemp("akshare"), CODES)
    found.prepare(FIRST, LAST)
    return found


@pytest.fixture(scope="module")
def ingested(source: VendorSource) -> Ingestion:
    return ingest_months(source, list(market.MONTHS), fetched_at=NOW)


def bars(source: VendorSource, code: str) -> pl.DataFrame:
    return source.fetch("daily_bars", FIRST, market.LAST).filter(pl.col("asset_id") == code).sort("day")


def at(rows: pl.DataFrame, day: date) -> dict[str, Any]:
    return rows.filter(pl.col("day") == day).row(0, named=True)


# --- rows ----------------------------------------------------------------------------------------------------------------


@needs_client
def test_everything_passes_the_sanity_rules(source: VendorSource, ingested: Ingestion) -> None:
    assert isinstance(source, Source)
    assert isinstance(source, Downloads)
    assert set(ingested.quarantine["rule"]) == {"4_member_count"}
    empty = {name for name, rows in ingested.tables.items() if rows.height == 0}
    assert empty == {"fundamentals", "index_weights", "industries"}
    assert set(ingested.ingestions["source"]) == {"akshare+files"}


@needs_client
def test_units_and_previous_closes(source: VendorSource) -> None:
    """Lots, percent and cents; on the ex-day the vendor's own change is −22 %, the true one 0 %."""
    true = {bar.day: bar for bar in market.bars() if bar.code == "600001.SH"}
    rows = bars(source, "600001.SH")
    assert rows["day"].to_list() == sorted(true)
    for row in rows.iter_rows(named=True):
        bar = true[row["day"]]
        assert (row["volume"], row["amount"], row["close"], row["prev_close"]) == (
            bar.volume,
            bar.amount,
            bar.close,
            bar.prev_close,
        )
        assert row["adj_factor"] == pytest.approx(bar.factor, rel=1e-6)
    before = rows.filter(pl.col("day") < market.EX_DAY)
    assert set(before["adj_factor"]) == {1.0}  # a later dividend does not rewrite
    value = at(source.fetch("daily_valuation", FIRST, market.LAST).filter(pl.col("asset_id") == "600003.SH"), MONTH.replace(day=4))  # fmt: skip
    close = at(bars(source, "600003.SH"), MONTH.replace(day=4))["close"]
    assert (value["turnover_rate"], value["pb"], value["dividend_yield_ttm"]) == (0.0125, -0.8, None)
    assert value["total_market_value"] == pytest.approx(close * places.SHARES)
    index = source.fetch("index_bars", FIRST, market.LAST).row(0, named=True)
    assert (index["index_id"], index["close"], index["volume"], index["amount"]) == (market.INDEX, 3005.0, 1000.0, 20000.0)  # fmt: skip


@needs_client
def test_a_number_of_an_index_is_another_exchanges_stock(source: VendorSource) -> None:
    rows = bars(source, "000016.SZ")
    assert rows["close"].max() < 100
    assert set(rows["board"]) == {"main"}
    assert prefixed("000016.SH") == "sh000016"


@needs_client
def test_suspended_days(source: VendorSource) -> None:
    rows = bars(source, "600002.SH")
    idle = rows.filter(pl.col("is_suspended"))
    days = month_sessions(date(2021, 12, 1))[-3:] + month_sessions(MONTH)
    assert set(days) < set(idle["day"])
    last = rows.filter(~pl.col("is_suspended") & (pl.col("day") < idle["day"][0])).row(-1, named=True)
    for row in idle.iter_rows(named=True):
        assert {row[name] for name in ("open", "high", "low", "close", "prev_close")} == {last["close"]}
        assert (row["volume"], row["amount"], row["adj_factor"]) == (0.0, 0.0, last["adj_factor"])
    assert bars(source, "600008.SH")["is_suspended"].all()  # since months before the first month asked for
    assert bars(source, "600007.SH")["day"].max() < market.DELISTED


@needs_client
def test_dividends_are_per_ten_and_plans_have_no_day(source: VendorSource) -> None:
    rows = source.fetch("dividends", FIRST, market.LAST)
    assert rows.rows() == [("600001.SH", market.EX_DAY, date(2022, 1, 6), market.CASH, market.SHARES)]


@needs_client
def test_listings(source: VendorSource) -> None:
    rows = source.fetch("listings", FIRST, market.LAST)
    assert rows.height == len(CODES)
    ends = {row["asset_id"]: row["delisted_on"] for row in rows.iter_rows(named=True)}
    assert {code for code, end in ends.items() if end} == {"600007.SH"}
    assert ends["600007.SH"] == market.DELISTED
    boards = {row["asset_id"]: row["board"] for row in rows.iter_rows(named=True)}
    assert (boards["300004.SZ"], boards["688005.SH"], boards["600001.SH"]) == ("chinext", "star", "main")
    assert rows["name"].null_count() == rows.height


@needs_client
def test_a_code_used_again(sites: Sites, caller: Caller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its number stands in both lists, and its history goes on with the second company's days."""
    lines = list[tuple[date, list[str]]]()
    for bar in vendor_reused.second():
        low, high = sorted((bar.close, bar.prev_close))
        prices = [f"{price:.2f}" for price in (bar.prev_close, bar.close, high, low)]
        moved = ["1.00", "0.00", f"{bar.close - bar.prev_close:.2f}", "1.25"]
        lines.append((bar.day, [f"{bar.day}", *prices, f"{bar.volume / 100:.0f}", f"{bar.amount:.2f}", *moved]))
    monkeypatch.setitem(sites.klines, "1.600007", [*sites.klines["1.600007"], *lines])

    def again(place: str, params: dict[str, str], sound: Any) -> dict[str, Any] | None:
        if place not in places.SHANGHAI or params["COMPANY_STATUS"] == "3" or params["STOCK_TYPE"] == "8":
            return None
        row = {**sound["result"][0], "A_STOCK_CODE": "600007", "COMPANY_CODE": "600007"}
        return {"result": [*sound["result"], {**row, "LIST_DATE": f"{vendor_reused.AGAIN:%Y%m%d}"}]}

    sites.trick = again
    vendor_reused.check(source_of(caller, tmp_path, CODES))


@needs_client
def test_a_month_alone_equals_the_month_in_a_range(ingested: Ingestion, caller: Caller, tmp_path: Path) -> None:
    """And a history that ends with the month equals the longer one."""
    alone = source_of(caller, tmp_path, CODES)
    found = ingest_months(alone, [MONTH], fetched_at=NOW)
    for name, rows in found.tables.items():
        assert rows.equals(ingested.tables[name].filter(pl.col("month") == MONTH)), name


@needs_client
def test_only_what_is_missing_is_asked_for(caller: Caller, sites: Sites, tmp_path: Path) -> None:
    source = source_of(caller, tmp_path)
    assert source.prepare(MONTH, MONTH) == 1 + 4 * len(SOME) + 2
    asked = len(sites.asked)
    assert source.prepare(MONTH, MONTH) == 0
    assert len(sites.asked) == asked
    more = source_of(
        caller, tmp_path, (*SOME, "600003.SH")
    )  # another set: only the new one's history, and what all share
    assert more.prepare(MONTH, MONTH) == 1 + 4 + 1
    assert "600003.SH" in set(more.fetch("daily_bars", MONTH, date(2022, 1, 31))["asset_id"])


@needs_client
def test_interrupted_ten_times_and_resumed(caller: Caller, tmp_path: Path) -> None:
    class Stop(Exception):
        pass

    whole, broken = source_of(caller, tmp_path / "a"), source_of(caller, tmp_path / "b")
    (tmp_path / "b" / "cache").mkdir(parents=True)
    total = whole.prepare(date(2021, 12, 1), LAST)
    stops = 0
    for _ in range(10):

        def listen(done: int, _total: int, _text: str) -> None:
            if done:
                raise Stop

        with pytest.raises(Stop):
            broken.prepare(date(2021, 12, 1), LAST, listen)
        stops += 1
    assert broken.prepare(date(2021, 12, 1), LAST) == total - stops
    files = [
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.suffix in (".json", ".parquet")}
        for folder in (tmp_path / "a" / "cache", tmp_path / "b" / "cache")
    ]  # fmt: skip
    assert files[0] == files[1]
    assert len(files[0]) == total + 2


# --- bad answers ---------------------------------------------------------------------------------------------------------


def refused(sites: Sites, caller: Caller, folder: Path, place: str, change: Any) -> str:  # params and answer → answer
    """What is said of a changed answer; nothing of it is stored."""
    sites.trick = lambda where, params, sound: change(params, sound) if where.startswith(place) else None
    source = source_of(caller, folder)
    with pytest.raises(VendorError) as caught:
        source.prepare(MONTH, MONTH)
    sites.trick = None
    stored = set(source.store.entries())
    said = str(caught.value)
    assert stored == {name for name in stored if source.store.read(*name.split("/")).height or "dividends" in name}, (
        said
    )
    return said


def of_stock(change: Any) -> Any:  # a function of the lines of 600001
    def changed(params: dict[str, str], sound: dict[str, Any]) -> dict[str, Any] | None:
        if params["secid"] != "1.600001":
            return None
        found = json.loads(json.dumps(sound))
        found["data"]["klines"] = change(found["data"]["klines"])
        return found

    return changed


def with_field(line: str, position: int, text: str) -> str:
    parts = line.split(",")
    return ",".join([*parts[:position], text, *parts[position + 1 :]])


@needs_client
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda lines: lines[:-5], "nothing says that 600001.SH was suspended on 2022-01-28; the vendor sent half an answer"),
        (lambda lines: lines[30:], "it was listed on 2021-11-01; the vendor sent part of its history"),
        (lambda lines: [*lines, lines[-1]], "2 rows share their key"),
        (lambda lines: [], "no bars of 600001.SH came though it was listed"),
        (lambda lines: [with_field(line, 2, "1,0") for line in lines], "Length mismatch|can't be read"),
        (lambda lines: [with_field(line, 2, "十") for line in lines], "column 收盘 is empty in a row"),
        (lambda lines: [with_field(line, 0, "soon") for line in lines], "column 日期 is empty in a row"),
        (lambda lines: [*lines, with_field(lines[-1], 0, "2022-03-01")], "rows of 2022-03-01 came"),
    ],
)  # fmt: skip
def test_bad_bars(sites: Sites, caller: Caller, tmp_path: Path, change: Any, said: str) -> None:
    text = refused(sites, caller, tmp_path, places.KLINES, of_stock(change))
    assert [part for part in said.split("|") if part in text], text


def of_centre(change: Any) -> Any:  # a function of the rows of values
    def changed(params: dict[str, str], sound: dict[str, Any]) -> dict[str, Any] | None:
        if params["reportName"] != "RPT_VALUEANALYSIS_DET" or sound["result"] is None:
            return None
        return {**sound, "result": {**sound["result"], "data": [change(row) for row in sound["result"]["data"]]}}

    return changed


@needs_client
def test_bad_values(sites: Sites, caller: Caller, tmp_path: Path) -> None:
    def one_day(row: dict[str, Any]) -> dict[str, Any]:
        return {**row, "TRADE_DATE": "2022-01-04 00:00:00"}

    assert "rows share their key" in refused(sites, caller, tmp_path / "a", places.CENTRE, of_centre(one_day))

    def renamed(row: dict[str, Any]) -> dict[str, Any]:
        return {"PB" if name == "PB_MRQ" else name: value for name, value in row.items()}

    assert "the answer can't be read" in refused(sites, caller, tmp_path / "b", places.CENTRE, of_centre(renamed))


@needs_client
def test_the_order_of_columns_is_of_no_account(
    sites: Sites, caller: Caller, source: VendorSource, tmp_path: Path
) -> None:
    turned: list[list[str]] = []

    def backwards(row: dict[str, Any]) -> dict[str, Any]:
        turned.append(list(row)[::-1])
        return dict(reversed(row.items()))

    change = of_centre(backwards)
    sites.trick = lambda place, params, sound: change(params, sound) if place == places.CENTRE else None
    month = MONTH, date(2022, 1, 31)
    found = source_of(caller, tmp_path).fetch("daily_valuation", *month)
    assert found.equals(source.fetch("daily_valuation", *month).filter(pl.col("asset_id").is_in(list(SOME))))
    assert turned


@needs_client
def test_a_dividend_sent_twice_is_paid_once(sites: Sites, caller: Caller, source: VendorSource, tmp_path: Path) -> None:
    def twice(place: str, _params: dict[str, str], sound: Any) -> dict[str, Any] | None:
        return {**sound, "records": [*sound["records"], *sound["records"]]} if place == places.DIVIDENDS else None

    sites.trick = twice
    found = source_of(caller, tmp_path).fetch("dividends", FIRST, market.LAST)
    assert found.equals(source.fetch("dividends", FIRST, market.LAST))
    assert found["cash_per_share"].to_list() == [market.CASH]

    def of_two_plans(place: str, _params: dict[str, str], sound: Any) -> dict[str, Any] | None:
        if place != places.DIVIDENDS or not sound["records"]:
            return None
        special = {**sound["records"][0], "F044V": "特别分红", "F001V": "2021特别"}  # same days, same amounts
        return {**sound, "records": [*sound["records"], special, special]}

    sites.trick = of_two_plans
    both = source_of(caller, tmp_path / "plans").fetch("dividends", FIRST, market.LAST)
    assert both["cash_per_share"].to_list() == [2 * market.CASH]


@needs_client
def test_half_a_month_of_the_index(sites: Sites, caller: Caller, tmp_path: Path) -> None:
    def half(params: dict[str, str], sound: dict[str, Any]) -> dict[str, Any] | None:
        index = params["secid"] == "1.000016"
        return {**sound, "data": {**sound["data"], "klines": sound["data"]["klines"][8:]}} if index else None

    assert "8 sessions of 2022-01 are lacking" in refused(sites, caller, tmp_path, places.KLINES, half)


@needs_client
def test_a_silent_day_without_a_suspension_is_a_gap(sites: Sites, caller: Caller, tmp_path: Path) -> None:
    """It is no suspension; and where many days are silent so, the month is half an answer."""
    gone = {"2022-01-13"}
    sites.trick = lambda place, params, sound: (
        of_stock(lambda lines: [line for line in lines if line[:10] not in gone])(params, sound)
        if place == places.KLINES
        else None
    )
    source = source_of(caller, tmp_path / "one")
    source.prepare(MONTH, MONTH)
    days = bars_of(source, "600001.SH")
    assert date(2022, 1, 13) not in days
    assert len(days) == len(month_sessions(MONTH)) - 1
    gone |= {f"{day}" for day in month_sessions(MONTH)[2:15]}
    with pytest.raises(
        BadAnswer, match=r"bars and suspensions in 2022-01, 57 were expected; the vendor sent half a month"
    ):
        source_of(caller, tmp_path / "many").prepare(MONTH, MONTH)


def bars_of(source: VendorSource, code: str) -> list[date]:
    rows = source.fetch("daily_bars", MONTH, date(2022, 1, 31))
    return rows.filter(pl.col("asset_id") == code)["day"].to_list()


@needs_client
def test_lots_for_shares_are_found_on_the_way_in(sites: Sites, caller: Caller, tmp_path: Path) -> None:
    """Some sites send shares for the STAR board: rule 1 names it."""
    sites.trick = lambda place, params, sound: (
        of_stock(lambda lines: [with_field(line, 5, f"{float(line.split(',')[5]) * 100:.0f}") for line in lines])(params, sound)
        if place == places.KLINES
        else None
    )  # fmt: skip
    with pytest.raises(ValueError, match=r"1_amount_per_share.*Check the units of volume"):
        ingest_months(source_of(caller, tmp_path), [MONTH], fetched_at=NOW)


@needs_client
@pytest.mark.parametrize(
    ("place", "answer", "error", "said"),
    [
        (places.KLINES, b"<html>busy</html>", VendorBusy, "the answer is no JSON but something else"),
        (places.KLINES, '{"data": "名'.encode("gb18030"), VendorBusy, "answer"),
        (places.KLINES, {"rc": 0}, VendorBusy, "the answer can't be read"),
        (places.KLINES, 403, VendorBusy, "the site answered with HTTP 403"),
        (places.SHENZHEN, b"<html>busy</html>", VendorBusy, "the answer can't be read"),
        (places.SHANGHAI[0], {"result": []}, VendorBusy, "the answer can't be read"),
        (places.CENTRE, {"result": {"pages": 1, "data": [{"x": 1}]}}, VendorBusy, "the answer can't be read"),
        (places.DIVIDENDS, {"resultcode": 402, "records": None}, VendorBusy, "the answer can't be read"),
        (places.FACTORS, b"var x={}", VendorBusy, "the answer can't be read"),
    ],
)
def test_unreadable_pages(
    sites: Sites, caller: Caller, tmp_path: Path, place: str, answer: Any, error: type[VendorError], said: str
) -> None:
    sites.trick = lambda where, _params, _sound: answer if where.startswith(place) else None
    with pytest.raises(VendorError, match=said) as caught:
        source_of(caller, tmp_path).prepare(MONTH, MONTH)
    assert type(caught.value) is error
    sites.trick = None
    assert source_of(caller, tmp_path).prepare(MONTH, MONTH) > 0  # the same child goes on, with what was stored


@needs_client
def test_a_security_without_values_or_dividends_is_none_and_no_failure(caller: Caller) -> None:
    assert caller.call("stock_value_em", symbol="600999").rows == []
    assert caller.call("stock_dividend_cninfo", symbol="600002").rows == []


@needs_client
def test_an_answer_is_never_run_as_a_program(sites: Sites, caller: Caller, tmp_path: Path) -> None:
    """The package hands Sina's page to eval."""
    mark = tmp_path / "run"
    sites.trick = lambda where, _params, _sound: (
        f'var x={{"data": __import__("pathlib").Path("{mark}").write_text("x")}}\n'.encode()
        if where.startswith(places.FACTORS)
        else None
    )
    with pytest.raises(VendorBusy, match="can't be read"):
        caller.call("stock_zh_a_daily", symbol="sh600001", adjust="hfq-factor")
    assert not mark.exists()


@needs_client
def test_keys_of_others_are_sent_nowhere(
    source: VendorSource, sites: Sites, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The child inherits the environment; nothing of it leaves."""
    texts = [*sites.raw, source.version, *capfd.readouterr()]
    texts += [path.read_bytes().decode("latin-1") for path in source.store.folder.rglob("*") if path.is_file()]
    assert len(texts) > 100
    assert not [text for text in texts if market.CANARY in text]
    assert capfd.readouterr() == ("", "")
    del tmp_path


@needs_client
def test_a_hung_call_is_killed(sites: Sites, monkeypatch: pytest.MonkeyPatch) -> None:
    with Caller("akshare", replace(OPTIONS, address=sites.address, time_limit=0.5, attempts=1)) as asking:
        assert asking.call("stock_value_em", symbol="600001").rows
        child = asking._child  # pyright: ignore[reportPrivateUsage]
        monkeypatch.setattr("rotation_pipeline.sources.vendors.caller.START_LIMIT", 0.0)
        sites.delay = 3.0
        with pytest.raises(VendorBusy, match=r"no answer within 0\.5 s; the call was killed"):
            asking.call("stock_value_em", symbol="600001")
    assert child is not None
    assert child.poll() is not None


@needs_client
def test_a_function_that_is_gone(caller: Caller) -> None:
    with pytest.raises(VendorError, match="has no function stock_of_tomorrow") as caught:
        caller.call("stock_of_tomorrow")
    assert type(caught.value) is VendorError
