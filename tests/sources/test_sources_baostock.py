"""Baostock: its own client against a server that speaks its protocol; units, suspended days, and the client's traps."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Generator
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import vendor_market as market
import vendor_reused
from vendor_baostock_server import Bao, error, message, serving, vendor

from rotation_pipeline.sources.base import SourceError
from rotation_pipeline.sources.ingest import Ingestion, ingest_months
from rotation_pipeline.sources.vendors import vendor_source
from rotation_pipeline.sources.vendors.answers import Answer
from rotation_pipeline.sources.vendors.baostock import BaostockAdapter, asset, vendor_code
from rotation_pipeline.sources.vendors.caller import Caller
from rotation_pipeline.sources.vendors.errors import BadAnswer, VendorBusy, VendorError
from rotation_pipeline.sources.vendors.options import VendorOptions
from rotation_pipeline.sources.vendors.source import VendorSource

NOW = datetime(2024, 1, 1)
FIRST, LAST = date(2021, 11, 1), date(2022, 2, 1)
OPTIONS = VendorOptions(pause=0, first_wait=0, attempts=2, members_from="2021-11", time_limit=10.0)
needs_client = pytest.mark.skipif(
    importlib.util.find_spec("baostock") is None, reason="the package baostock (extra baostock) is not installed"
)


class DirectCaller(Caller):
    """Asks the stand-in's knowledge without protocol or client."""

    known: Bao

    def _once(self, method: str, params: dict[str, Any]) -> Answer:
        given = [str(value) for name, value in params.items() if name not in {"frequency", "adjustflag"}]
        self.known.questions.append((method, given))
        rows = self.known.rows(method, given)
        names = params["fields"].split(",") if "fields" in params else list(rows[0]) if rows else []
        if not rows:
            from vendor_baostock_server import FIELDS

            names = ["code", *FIELDS.get(method, ())]
        return Answer(f"baostock {method}({params})", names, [[row[name] for name in names] for row in rows])


@pytest.fixture(scope="module")
def known() -> Generator[Bao]:
    with serving() as running:
        yield running


def direct(known: Bao, folder: Path, options: VendorOptions) -> VendorSource:
    caller = type("Bound", (DirectCaller,), {"known": known})
    return VendorSource(BaostockAdapter((market.INDEX,), options), folder, options, caller=caller)


@pytest.fixture(scope="module")
def named(known: Bao, tmp_path_factory: pytest.TempPathFactory) -> VendorSource:
    """Every security named."""
    found = direct(known, tmp_path_factory.mktemp("named"), replace(OPTIONS, assets=market.CODES))
    found.prepare(FIRST, LAST)
    return found


@pytest.fixture(scope="module")
def ingested(named: VendorSource) -> Ingestion:
    return ingest_months(named, list(market.MONTHS), fetched_at=NOW)


def test_everything_passes_the_sanity_rules(ingested: Ingestion) -> None:
    assert set(ingested.quarantine["rule"]) == {"4_member_count"}


def test_bars_and_suspended_days(named: VendorSource) -> None:
    bars = named.fetch("daily_bars", FIRST, market.LAST)
    true = next(bar for bar in market.bars() if bar.code == "600001.SH" and bar.day == market.EX_DAY)
    row = bars.filter((pl.col("asset_id") == true.code) & (pl.col("day") == true.day)).row(0, named=True)
    assert (row["volume"], row["amount"], row["prev_close"], row["adj_factor"]) == (true.volume, true.amount, true.prev_close, true.factor)  # fmt: skip
    before = bars.filter((pl.col("asset_id") == true.code) & (pl.col("day") < true.day))
    assert set(before["adj_factor"]) == {1.0}  # a later dividend does not rewrite
    idle = bars.filter((pl.col("asset_id") == "600002.SH") & (pl.col("day") == date(2022, 1, 4))).row(0, named=True)
    assert (idle["is_suspended"], idle["volume"], idle["amount"], idle["open"] == idle["close"]) == (
        True,
        0.0,
        0.0,
        True,
    )
    treated = bars.filter((pl.col("asset_id") == "600003.SH") & pl.col("is_st"))
    assert treated["day"].min() == date(2022, 1, 10)


def test_valuation_reports_and_dividends(named: VendorSource) -> None:
    value = (
        named.fetch("daily_valuation", FIRST, market.LAST).filter(pl.col("asset_id") == "600001.SH").row(0, named=True)
    )
    close = named.fetch("daily_bars", value["day"], value["day"]).filter(pl.col("asset_id") == "600001.SH")["close"][0]
    assert (value["turnover_rate"], value["pb"]) == (0.0125, 1.5)
    assert value["total_market_value"] == pytest.approx(close * 1e8)
    reports = named.fetch("fundamentals", FIRST, market.LAST).filter(pl.col("asset_id") == "600001.SH")
    roe = reports.filter(pl.col("item") == "roe").row(0, named=True)
    assert (roe["value"], roe["report_period"], roe["announced_on"]) == (0.1, date(2021, 12, 31), date(2022, 1, 20))
    paid = named.fetch("dividends", FIRST, market.LAST).row(0, named=True)
    assert (paid["cash_per_share"], paid["shares_per_share"], paid["ex_day"]) == (0.5, 0.2, market.EX_DAY)


def test_members_by_date_and_what_it_cannot_serve(named: VendorSource, known: Bao, tmp_path: Path) -> None:
    rows = named.fetch("index_members", date(2022, 2, 1), market.LAST)
    spans = {row["asset_id"]: (row["valid_from"], row["valid_to"]) for row in rows.iter_rows(named=True)}
    assert (spans["600100.SH"], spans["600101.SH"]) == ((date(2021, 11, 30), market.LAST), (market.LAST, None))
    asked = len(known.asked)
    whole = direct(known, tmp_path, OPTIONS)
    assert set(whole.refused()) == {"index_weights", "industries", "fundamentals", "dividends"}
    with pytest.raises(SourceError, match="does not serve industries: baostock has today's classification only"):
        whole.fetch("industries", FIRST, market.LAST)
    with pytest.raises(SourceError, match=r"not of 000852\.SH"):
        vendor_source("baostock", tmp_path, ("000852.SH",), OPTIONS)
    assert len(known.asked) == asked


def test_the_whole_market_by_day_equals_security_by_security(named: VendorSource, known: Bao, tmp_path: Path) -> None:
    whole = direct(known, tmp_path, OPTIONS).fetch("daily_bars", FIRST, market.LAST)
    assert whole.equals(named.fetch("daily_bars", FIRST, market.LAST))


@pytest.mark.parametrize("since", [vendor_reused.SOON, vendor_reused.AGAIN])
@pytest.mark.parametrize("assets", [(), market.CODES])
def test_a_code_used_again(
    assets: tuple[str, ...], since: date, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Reused(Bao):
        def rows(self, method: str, given: list[str]) -> list[dict[str, str]]:
            found = super().rows(method, given)
            if method != "query_stock_basic":
                return found
            gone = next(row for row in found if row["code"] == vendor(vendor_reused.CODE))
            return [*found, {**gone, "ipoDate": f"{since}", "outDate": ""}]

    bars = [*market.bars(), *vendor_reused.second(since)]
    monkeypatch.setattr(market, "bars", lambda: bars)
    vendor_reused.check(direct(Reused(), tmp_path, replace(OPTIONS, assets=assets)), since)


@pytest.mark.parametrize("assets", [(), market.CODES])
def test_the_twenty_ninth_of_february(assets: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leap = date(2024, 2, 29)
    monkeypatch.setattr(market, "FIRST", date(2023, 12, 1))
    monkeypatch.setattr(market, "LAST", leap)
    source = direct(Bao(), tmp_path, replace(OPTIONS, assets=assets, members_from="2023-12"))
    for table in ("trading_days", "index_bars", "daily_bars", "daily_valuation"):
        assert source.fetch(table, date(2024, 2, 1), leap)["day"].max() == leap, table
    assert source.fetch("trading_days", leap, leap)["is_month_end"].to_list() == [True]
    traded = source.fetch("daily_bars", leap, leap).filter(~pl.col("is_suspended"))
    assert set(traded["asset_id"]) == {bar.code for bar in market.bars() if bar.day == leap}


def test_codes() -> None:
    assert asset("sh.600519") == "600519.SH"
    assert vendor_code("000001.SZ") == "sz.000001"
    for wrong in ("600519", "600519.SH", "hk.600519", "sh.60051x"):
        with pytest.raises(ValueError, match="never guessed"):
            asset(wrong)


# --- bad answers ---------------------------------------------------------------------------------------------------------


DAILY, LINES, CALENDAR = "query_daily_history_k_AStock", "query_history_k_data_plus", "query_trade_dates"
Change = Callable[[Answer], Answer | None]


def changed(known: Bao, folder: Path, method: str, change: Change, assets: tuple[str, ...] = ()) -> VendorSource:
    """A source whose answers to ``method`` are ``change`` of the sound ones; None leaves one as it is."""

    class Odd(DirectCaller):
        def _once(self, method: str, params: dict[str, Any]) -> Answer:
            answer = super()._once(method, params)
            return (change(answer) or answer) if method == asked else answer

    asked, options = method, replace(OPTIONS, assets=assets)
    caller = type("Bound", (Odd,), {"known": known})
    return VendorSource(BaostockAdapter((market.INDEX,), options), folder, options, caller=caller)


def rows(change: Callable[[list[list[Any]]], list[list[Any]]], of: str = "") -> Change:
    """``change`` of the rows of answers to calls that name ``of``."""
    return lambda answer: Answer(answer.call, answer.columns, change(answer.rows)) if of in answer.call else None


def column(name: str, value: Any) -> Change:  # a value, or a function of the sound one
    def change(answer: Answer) -> Answer | None:
        if name not in answer.columns:
            return None
        at = answer.at(name)
        return rows(lambda found: [[*row[:at], value(row[at]) if callable(value) else value, *row[at + 1 :]] for row in found])(answer)  # fmt: skip

    return change


def renamed(name: str, other: str) -> Change:
    return lambda answer: Answer(answer.call, [other if one == name else one for one in answer.columns], answer.rows)


@pytest.mark.parametrize(
    ("method", "change", "assets", "said"),
    [
        (DAILY, column("tradestatus", "2"), (), "neither 0 nor 1"),
        (DAILY, column("close", "12,3"), (), "'12,3' in column close can't be read as number"),
        (DAILY, column("code", "600001"), (), "never guessed"),
        (DAILY, rows(lambda found: found[:9]), (), "9 bars, 20 were expected; the vendor sent half an answer"),
        (DAILY, rows(lambda found: []), (), "0 bars, 20 were expected"),
        (DAILY, rows(lambda found: [*found, *found]), (), "40 rows share their key"),
        (DAILY, renamed("preclose", "pre_close"), (), "there is no column 'preclose' among"),
        (DAILY, column("date", "2022-01-05"), (), "rows of another day came"),
        (DAILY, column("date", "05/01/2022"), (), "can't be read as day"),
        (CALENDAR, rows(lambda found: found[:14]), (), "sessions of 2022-01 are lacking, as 2022-01-17"),
        (LINES, rows(lambda found: found[8:], of="sh.000016"), (), "8 sessions of 2022-01 are lacking"),
        (LINES, rows(lambda found: found[:9], of="sh.600001"), market.CODES, "9 days, 19 were expected"),
        (LINES, column("code", "sh.600999"), market.CODES, "rows of 600999.SH came though 000016.SH was asked for"),
        ("query_sz50_stocks", rows(lambda found: found[:5], of="2022-01-28"), (), "5 members, 11 were expected"),
        ("query_sz50_stocks", column("updateDate", "2022-02-07"), (), "members as of 2022-02-07 came though"),
        ("query_stock_basic", rows(lambda found: found[-1:]), (), "0 listed securities, 1 were expected"),
        ("query_stock_basic", column("code_name", "名".encode().decode("latin-1")), (), "text in another encoding"),
        ("query_adjust_factor", rows(lambda found: [*found, *found]), (), "2 rows share their key"),
    ],
)  # fmt: skip
def test_bad_answers(
    known: Bao, tmp_path: Path, method: str, change: Change, assets: tuple[str, ...], said: str
) -> None:
    source = changed(known, tmp_path, method, change, assets)
    with pytest.raises(BadAnswer, match=re.escape(said)):
        source.prepare(date(2022, 1, 1), date(2022, 1, 1))
    assert "daily_bars/2022-01" not in source.store.entries()


def commas(answer: Answer) -> Answer:
    def grouped(text: str) -> str:
        return f"{float(text):,.4f}" if text else text

    for name in ("open", "close", "volume", "amount"):
        answer = column(name, grouped)(answer) or answer
    return answer


def backwards(answer: Answer) -> Answer:
    return Answer(answer.call, answer.columns[::-1], [row[::-1] for row in answer.rows])


@pytest.mark.parametrize("change", [commas, backwards])
def test_commas_in_numbers_and_the_order_of_columns_are_of_no_account(
    known: Bao, named: VendorSource, tmp_path: Path, change: Change
) -> None:
    seen: list[Answer] = []
    found = changed(known, tmp_path, DAILY, lambda answer: seen.append(answer) or change(answer))
    month = date(2022, 1, 1), date(2022, 1, 31)
    assert found.fetch("daily_bars", *month).equals(named.fetch("daily_bars", *month))
    other = change(seen[0])
    assert other is not None
    assert (other.columns, other.rows) != (seen[0].columns, seen[0].rows)


def test_a_dividend_sent_twice_is_paid_once(known: Bao, named: VendorSource, tmp_path: Path) -> None:
    """And two of one day add up."""
    month, twice = (date(2022, 1, 1), date(2022, 1, 31)), rows(lambda found: [*found, *found])
    found = changed(known, tmp_path / "a", "query_dividend_data", twice, market.CODES).fetch("dividends", *month)
    assert found.equals(named.fetch("dividends", *month))
    assert found["cash_per_share"].to_list() == [0.5]
    more = column("dividCashPsBeforeTax", "0.25")
    both: Change = lambda answer: rows(lambda found: [*found, *(more(answer) or answer).rows])(answer)  # noqa: E731
    found = changed(known, tmp_path / "b", "query_dividend_data", both, market.CODES).fetch("dividends", *month)
    assert found["cash_per_share"].to_list() == [0.75]

    def of_two_plans(answer: Answer) -> Answer:
        """The same days and amounts, told apart by a column that is not read alone."""
        plans = [[*row, plan] for row in answer.rows for plan in ("2021-08-20", "2021-10-27", "2021-10-27")]
        return Answer(answer.call, [*answer.columns, "dividPlanAnnounceDate"], plans)

    found = changed(known, tmp_path / "c", "query_dividend_data", of_two_plans, market.CODES).fetch("dividends", *month)
    assert found["cash_per_share"].to_list() == [1.0]


# --- its own client ------------------------------------------------------------------------------------------------------


@pytest.fixture
def caller(known: Bao, monkeypatch: pytest.MonkeyPatch) -> Generator[Caller]:
    monkeypatch.delenv("BAOSTOCK_API_KEY", raising=False)
    with Caller("baostock", replace(OPTIONS, address=known.address)) as found:
        yield found
    known.trick = None


@needs_client
def test_the_real_client_gives_the_same_rows(
    known: Bao, named: VendorSource, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """In one connection, with nothing on the terminal."""
    logins = known.logins
    options = replace(OPTIONS, assets=market.CODES, address=known.address)
    real = vendor_source("baostock", tmp_path, (market.INDEX,), options)
    real.prepare(date(2022, 1, 1), date(2022, 1, 1))
    for table in (
        "trading_days",
        "index_bars",
        "daily_bars",
        "daily_valuation",
        "fundamentals",
        "dividends",
        "listings",
    ):
        month = date(2022, 1, 1), date(2022, 1, 31)
        assert real.fetch(table, *month).equals(named.fetch(table, *month)), table
    assert known.logins == logins + 1
    assert capfd.readouterr() == ("", "")


@needs_client
def test_its_prints_are_not_in_the_answer_to_a_machine(known: Bao, rotation: Any, tmp_path: Path) -> None:
    """The client prints "login success!": with --json stdout is empty or one document."""
    import subprocess
    import sys

    said = "import baostock.common.contants as c; c.BAOSTOCK_SERVER_IP, c.BAOSTOCK_SERVER_PORT = sys.argv[1], int(sys.argv[2])"
    host, _, port = known.address.rpartition(":")
    command = [sys.executable, "-c", f"import sys; {said}; import baostock; baostock.login()", host, port]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert "login success!" in printed, "the client prints no more: this test shows nothing"
    known.trick = lambda method, *_: error("10001011", "黑名单用户") if method == "query_trade_dates" else None
    vendor = {"pause": 0, "first_wait": 0, "attempts": 1, "members_from": "2021-11", "address": known.address}
    logins = known.logins
    answer = rotation(
        "reconcile", "baostock", "baostock", "--from", "2022-02", "--to", "2022-02", "--json",
        *(part for name, value in vendor.items() for part in ("--set", f"source.vendor.{name}={value}")),
        "--set", f"source.cache={tmp_path / 'cache'}",
    )  # fmt: skip
    known.trick = None
    assert known.logins > logins
    assert (answer.code, answer.stdout) == (1, "")
    assert "黑名单用户" in answer.stderr
    assert "login" not in answer.stderr


def test_every_question_names_its_start(known: Bao, named: VendorSource) -> None:
    """Left out, the vendor begins with 2015 without a word: factors of the years before would be 1."""
    del named
    starts = {
        "query_history_k_data_plus": 2,
        "query_adjust_factor": 1,
        "query_trade_dates": 0,
    }
    asked = [(method, given) for method, given in known.questions if method in starts]
    assert {method for method, _ in asked} == set(starts)
    for method, given in asked:
        assert date.fromisoformat(given[starts[method]]) <= LAST, (method, given)
    assert {given[1] for method, given in asked if method == "query_adjust_factor"} == {"1990-12-19"}


@needs_client
def test_more_rows_than_a_page(known: Bao, caller: Caller) -> None:
    """Its get_data fails beyond 2,000 rows; the default start of 2015 is never used."""
    code = vendor("600001.SH")
    extra = [{**known.lines[0], "date": f"{date.fromordinal(date(2000, 1, 1).toordinal() + n)}"} for n in range(4500)]
    known.lines += extra
    try:
        found = caller.call("query_history_k_data_plus", code=code, fields="date,code,close", start_date="2000-01-01", end_date="2015-12-31")  # fmt: skip
        assert len(found.rows) == 4500

        def second_page_fails(method: str, given: list[str], page: int) -> bytes | None:
            del method, given
            return error("10002007", "网络接收错误。", "96") if page == 2 else None

        known.trick = second_page_fails
        with pytest.raises(VendorBusy, match="10002007"):  # not the first 2,000 rows as if they were all
            caller.call("query_history_k_data_plus", code=code, fields="date,code", start_date="2000-01-01", end_date="2015-12-31")  # fmt: skip
    finally:
        del known.lines[-4500:]


@needs_client
def test_a_closed_connection_loops_for_ever_and_is_killed(known: Bao, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rotation_pipeline.sources.vendors.caller.START_LIMIT", 8.0)
    span = {"start_date": "2022-01-01", "end_date": "2022-01-31"}
    with Caller("baostock", replace(OPTIONS, address=known.address, time_limit=0.5, attempts=1)) as asking:
        assert len(asking.call("query_trade_dates", **span).rows) == 31
        child = asking._child  # pyright: ignore[reportPrivateUsage]
        known.trick = lambda *_: b""
        with pytest.raises(VendorBusy, match=r"no answer within 0\.5 s; the call was killed"):
            asking.call("query_trade_dates", **span)
        assert child is not None
        assert child.poll() is not None
        known.trick = None
        assert len(asking.call("query_trade_dates", **span).rows) == 31  # a new child, a new login


@needs_client
def test_refusals_and_unreadable_answers(known: Bao, caller: Caller) -> None:
    span = {"start_date": "2022-01-01", "end_date": "2022-01-31"}
    known.trick = lambda *_: error("10001011", "黑名单用户")
    with pytest.raises(VendorError, match="黑名单用户") as caught:
        caller.call("query_trade_dates", **span)
    assert type(caught.value) is VendorError
    known.trick = lambda *_: error("10001001", "用户未登陆")
    logins = known.logins
    with pytest.raises(VendorBusy, match="用户未登陆"):
        caller.call("query_trade_dates", **span)
    assert known.logins == logins + 1  # asked again after a new login
    known.trick = lambda *_: message("34", "<html>busy</html>")
    with pytest.raises(VendorBusy, match="can't be read"):
        caller.call("query_trade_dates", **span)
    known.trick = lambda *_: message("34", "name").replace(b"name", "名".encode("gb18030"))
    with pytest.raises(VendorBusy, match="10002007"):  # the client calls it an error of the network
        caller.call("query_trade_dates", **span)


@needs_client
def test_an_address_without_port(known: Bao) -> None:
    del known
    with (
        Caller("baostock", replace(OPTIONS, address="localhost")) as asking,
        pytest.raises(VendorError, match="HOST:PORT"),
    ):
        asking.call("query_trade_dates")
