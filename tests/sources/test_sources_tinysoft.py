"""TinySoft: canonical rows, units and traps, through a stand-in with the interface of its client.

The real client speaks a protocol of its own to a paid service; where it is installed, its interface is held against the
stand-in's and its failure to connect is read, no more.
"""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from collections.abc import Generator
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import polars as pl
import pytest
import vendor_market as market

from rotation_pipeline.market.calendar import sessions
from rotation_pipeline.sources.base import SourceError
from rotation_pipeline.sources.ingest import Ingestion, ingest_months
from rotation_pipeline.sources.vendors import vendor_source
from rotation_pipeline.sources.vendors.answers import Answer
from rotation_pipeline.sources.vendors.caller import Caller
from rotation_pipeline.sources.vendors.errors import BadAnswer, VendorBusy, VendorError
from rotation_pipeline.sources.vendors.options import VendorOptions
from rotation_pipeline.sources.vendors.source import VendorSource
from rotation_pipeline.sources.vendors.tinysoft import TinysoftAdapter
from rotation_pipeline.sources.vendors.tinysoft_answers import asset, dated, from_ole, vendor_code

NOW = datetime(2024, 1, 1)
FIRST, LAST = date(2021, 11, 1), date(2022, 2, 1)
MONTH = date(2022, 1, 1)
OPTIONS = VendorOptions(pause=0, first_wait=0, attempts=2, members_from="2021-11", time_limit=20.0, assets=market.CODES)
SOME = ("000016.SZ", "600001.SH", "600002.SH")
USER = "user0123456789abcdefuser"
HERE = Path(__file__).parent
STAND_IN = HERE / "tinysoft_stand_in"
real = importlib.util.find_spec("pyTSL")
needs_client = pytest.mark.skipif(real is None, reason="the package tspytsl (extra tinysoft) is not installed")


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Generator[Path]:
    """Folder of the stand-in's tricks and log; the environment of the child."""
    folder = tmp_path_factory.mktemp("stand-in")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", f"{STAND_IN}:{HERE}")
        patch.setenv("TINYSOFT_TRICKS", str(folder / "tricks.json"))
        patch.setenv("TINYSOFT_LOG", str(folder / "log"))
        patch.setenv("TINYSOFT_USER", USER)
        patch.setenv("TINYSOFT_PASSWORD", market.CANARY)
        yield folder


@pytest.fixture(autouse=True)
def sound(places: Path) -> Generator[None]:
    yield
    (places / "tricks.json").unlink(missing_ok=True)


class Shared(Caller):
    """One child for all tests."""

    real: Caller

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the child alone."""

    def _once(self, method: str, params: dict[str, Any]) -> Answer:
        return self.real._once(method, params)


@pytest.fixture(scope="module")
def caller(places: Path) -> Generator[Caller]:
    del places
    with Caller("tinysoft", OPTIONS) as found:
        yield found


def source_of(caller: Caller, folder: Path, codes: tuple[str, ...] = SOME, **options: Any) -> VendorSource:
    bound = type("Bound", (Shared,), {"real": caller})
    chosen = replace(OPTIONS, assets=codes, **options)
    return VendorSource(TinysoftAdapter((market.INDEX,), chosen), folder, chosen, caller=bound)


@pytest.fixture(scope="module")
def source(caller: Caller, tmp_path_factory: pytest.TempPathFactory) -> VendorSource:
    found = source_of(caller, tmp_path_factory.mktemp("tinysoft"), market.CODES)
    found.prepare(FIRST, LAST)
    return found


@pytest.fixture(scope="module")
def ingested(source: VendorSource) -> Ingestion:
    return ingest_months(source, list(market.MONTHS), fetched_at=NOW)


def of(rows: pl.DataFrame, code: str) -> pl.DataFrame:
    return rows.filter(pl.col("asset_id") == code)


# --- rows ----------------------------------------------------------------------------------------------------------------


def test_everything_passes_the_sanity_rules(ingested: Ingestion) -> None:
    assert set(ingested.quarantine["rule"]) == {"4_member_count"}
    assert all(rows.height for rows in ingested.tables.values())


def test_bars(source: VendorSource) -> None:
    """OLE days, shares and CNY as they come, the exchange's previous close, and factors a later dividend does not rewrite."""
    rows = of(source.fetch("daily_bars", FIRST, market.LAST), "600001.SH")
    true = [bar for bar in market.bars() if bar.code == "600001.SH"]
    assert rows["day"].to_list() == [bar.day for bar in true]
    for name, expected in (
        ("volume", "volume"),
        ("amount", "amount"),
        ("close", "close"),
        ("prev_close", "prev_close"),
    ):
        assert rows[name].to_list() == [getattr(bar, expected) for bar in true]
    assert rows["adj_factor"].to_list() == pytest.approx([bar.factor for bar in true], rel=1e-6)
    assert set(rows.filter(pl.col("day") < market.EX_DAY)["adj_factor"]) == {1.0}
    index = source.fetch("index_bars", FIRST, market.LAST)
    assert (index["index_id"][0], index["day"][0], index["close"][0]) == (market.INDEX, FIRST, 3005.0)


def test_suspensions_treatment_and_the_end_of_a_listing(source: VendorSource) -> None:
    rows = source.fetch("daily_bars", FIRST, market.LAST)
    idle = of(rows, "600002.SH").filter(pl.col("is_suspended"))
    assert idle["day"].to_list() == [day for day in sessions(FIRST, market.LAST) if market.suspended("600002.SH", day)]
    assert (idle["volume"].sum(), idle["open"].n_unique()) == (0.0, 1)
    assert of(rows, "600008.SH")["is_suspended"].all()
    assert of(rows, "600003.SH").filter(pl.col("is_st"))["day"].min() == date(2022, 1, 10)
    listed = source.fetch("listings", FIRST, market.LAST)
    assert of(listed, "600007.SH")["delisted_on"][0] == market.DELISTED
    assert listed["delisted_on"].null_count() == listed.height - 1
    early = source.fetch("listings", FIRST, date(2021, 12, 31))
    assert of(early, "600007.SH")["delisted_on"][0] is None  # not known yet


def test_valuation(source: VendorSource) -> None:
    rows = of(source.fetch("daily_valuation", FIRST, market.LAST), "600001.SH").sort("day")
    bar = next(bar for bar in market.bars() if bar.code == "600001.SH" and bar.day == market.LAST)
    last = rows.row(-1, named=True)
    assert last["total_market_value"] == pytest.approx(bar.close * 1e8)
    assert last["float_market_value"] == pytest.approx(bar.close * 0.6e8)
    assert last["turnover_rate"] == pytest.approx(bar.volume / 0.6e8)
    assert last["pe_ttm"] == pytest.approx(bar.close * 1e8 / 400)
    assert last["pb"] == pytest.approx(bar.close * 1e8 / 4000)


def test_reports_as_first_announced(source: VendorSource) -> None:
    """A year restated by the next year's report counts from that report's day; the trailing sum of 2021 stays 400."""
    adapter = TinysoftAdapter((market.INDEX,), OPTIONS)
    rows = of(adapter.rows("fundamentals", FIRST, LAST, source.store), "600001.SH")
    equity = rows.filter((pl.col("item") == "book_equity") & (pl.col("report_period") == date(2020, 12, 31)))
    assert equity.select("announced_on", "value", "is_revision").rows() == [
        (date(2021, 1, 20), 4000.0, False),
        (date(2022, 1, 20), 3900.0, True),
    ]
    known = {
        (row["item"], row["report_period"]): row["value"]
        for row in rows.filter(~pl.col("is_revision")).iter_rows(named=True)
    }
    end = date(2021, 12, 31)
    assert (known["net_profit_ttm", end], known["roe_ttm", end], known["roe", end]) == (400.0, 0.1, 0.1)
    assert known["net_profit_ttm", date(2021, 9, 30)] == 400.0  # 300 + 400 − 300


def test_membership_weights_industries_and_dividends(source: VendorSource) -> None:
    members = source.fetch("index_members", date(2022, 2, 1), market.LAST)
    spans = {row["asset_id"]: row for row in members.iter_rows(named=True)}
    assert (spans["600100.SH"]["valid_from"], spans["600100.SH"]["valid_to"]) == (date(2021, 11, 30), market.LAST)
    assert (spans["600101.SH"]["valid_from"], spans["600101.SH"]["announced_on"]) == (market.LAST, date(2022, 1, 28))
    weights = source.fetch("index_weights", date(2022, 2, 1), market.LAST)
    assert weights["weight"].sum() == pytest.approx(1.0)
    industries = source.fetch("industries", FIRST, market.LAST)
    assert set(industries["industry"]) == {"银行"}
    paid = source.fetch("dividends", FIRST, market.LAST)
    assert paid.rows() == [("600001.SH", market.EX_DAY, date(2022, 1, 6), market.CASH, market.SHARES)]


def test_a_month_alone_equals_the_month_in_a_range(ingested: Ingestion, caller: Caller, tmp_path: Path) -> None:
    found = ingest_months(source_of(caller, tmp_path, market.CODES), [MONTH], fetched_at=NOW)
    for name, rows in found.tables.items():
        assert rows.equals(ingested.tables[name].filter(pl.col("month") == MONTH)), name


def test_interrupted_ten_times_and_resumed(caller: Caller, tmp_path: Path) -> None:
    class Stop(Exception):
        pass

    def listen(done: int, _total: int, _text: str) -> None:
        if done:
            raise Stop

    whole, broken = source_of(caller, tmp_path / "a"), source_of(caller, tmp_path / "b")
    total = whole.prepare(MONTH, LAST)
    for _ in range(10):
        with pytest.raises(Stop):
            broken.prepare(MONTH, LAST, listen)
    assert broken.prepare(MONTH, LAST) == total - 10
    kept = [
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.suffix in (".json", ".parquet")}
        for folder in (tmp_path / "a", tmp_path / "b")
    ]  # fmt: skip
    assert kept[0] == kept[1]
    assert len(kept[0]) == total + 2


def test_the_twenty_ninth_of_february() -> None:
    """As a whole number and as an OLE double: 45,351 days after the end of 1899."""
    leap, answer = date(2024, 2, 29), Answer("call", ["day"], [])
    numbers = pl.DataFrame({"day": [20240229.0, 0.0]})
    assert dated(numbers, ("day",), answer)["day"].to_list() == [leap, None]
    assert from_ole(pl.DataFrame({"ole": [45351.0, 45352.625]}), answer)["day"].to_list() == [leap, date(2024, 3, 1)]
    with pytest.raises(BadAnswer, match="20230229 in day is no day as 20220104"):
        dated(pl.DataFrame({"day": [20230229.0]}), ("day",), answer)


def test_codes_and_securities_that_are_none(tmp_path: Path) -> None:
    assert (asset("SH600519"), vendor_code("000001.SZ")) == ("600519.SH", "SZ000001")
    for wrong in ("600519", "600519.SH", "HK600519", "SH60051x"):
        with pytest.raises(ValueError, match="never guessed"):
            asset(wrong)
    for assets, said in (((), "name them in"), (("600519.SH') end; //",), "is no security identifier")):
        with pytest.raises(SourceError, match=said):
            vendor_source("tinysoft", tmp_path, (market.INDEX,), replace(OPTIONS, assets=assets))


def test_tables_left_out_are_not_asked_for(caller: Caller, places: Path, tmp_path: Path) -> None:
    (places / "log").unlink(missing_ok=True)
    source = source_of(caller, tmp_path, leave_out=("dividends", "industries", "fundamentals", "daily_valuation"))
    source.prepare(MONTH, MONTH)
    asked = (places / "log").read_text(encoding="utf-8")
    assert not re.search(r"infotable (18|139|42|44|46) ", asked)
    assert "infotable 127 " in asked
    assert source.refused()["dividends"] == "left out by source.vendor.leave_out"


# --- bad answers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trick", "said"),
    [
        ({"18": "per ten"}, "distributions of 600001.SH fit its previous closes only as per ten shares"),
        ({"753": {"skip": 9}}, "sessions of 2022-01 are lacking"),
        ({"753": {"set": {"是否交易日": 2}}}, "是否交易日 is '2', which is neither yes nor no"),
        ({"query": {"skip": 40, "stock": "SH600001"}}, "the vendor sent part of its history"),
        ({"query": {"again": 2, "stock": "SH600001"}}, "rows share their key"),
        ({"query": {"rename": {"vol": "volume"}, "stock": "SH600001"}}, "there is no column 'vol'"),
        ({"query": {"set": {"vol": "1,2"}, "stock": "SH600001"}}, "'1,2' in column vol can't be read as number"),
        ({"10": {"set": {"当前状态": "\u00e6\u00ad\u00a3"}}}, "text in another encoding"),
        ({"query": {"set": {"date": 20220104}, "stock": "SH600001"}}, "is no OLE day"),
        ({"query": {"set": {"StockID": "SZ600001"}, "stock": "SH600001"}}, "rows of another security or day came"),
        ({"query": {"set": {"StockID": "600001"}, "stock": "SH600001"}}, "the exchange is never guessed"),
        ({"nday": {"skip": 3}}, "no previous close for 2021-11-01"),
        ({"nday": {"set": {"prev": 0}}}, "no previous close"),
        ({"12": {"skip": 2}}, "have no first trading day in table 12"),
        ({"12": {"set": {"上市日": 44565.0}}}, "is no day as 20220104"),
        ({"12": {"add": {"StockID": "SH600001", "上市日": 20220110}}}, "two first trading days of 600001.SH (2021-11-01, 2022-01-10)"),
        ({"16": {"set": {"StockID": "SH600999"}}}, "rows of 600999.SH came"),
        ({"127": {"rename": {"停牌截止日": "停牌结束日"}}}, "there is no column '停牌截止日'"),
        ({"127": {"skip": 9}}, "nothing says that it was suspended on 2022-01-28"),
    ],
)  # fmt: skip
def test_bad_answers(caller: Caller, places: Path, tmp_path: Path, trick: dict[str, Any], said: str) -> None:
    (places / "tricks.json").write_text(json.dumps(trick), encoding="utf-8")
    with pytest.raises(BadAnswer, match=re.escape(said)):
        source_of(caller, tmp_path).prepare(MONTH, MONTH)


@pytest.mark.parametrize("trick", [{"backwards": True}, {"set": {"vol": "1,200,000"}}, {"18 twice": True}])
def test_answers_in_another_form(
    caller: Caller, places: Path, source: VendorSource, tmp_path: Path, trick: dict[str, Any]
) -> None:
    """Columns in another order and numbers as text with commas are read as they are meant, and a row sent twice counts once."""
    table, name = ("dividends", "18") if "18 twice" in trick else ("daily_bars", "query")
    (places / "tricks.json").write_text(json.dumps({name: {**trick, "stock": "SH600001"}}), encoding="utf-8")
    month = MONTH, date(2022, 1, 31)
    found = source_of(caller, tmp_path).fetch(table, *month)
    sound = source.fetch(table, *month).filter(pl.col("asset_id").is_in(list(SOME)))
    if "set" in trick:
        mine = (pl.col("asset_id") == "600001.SH") & ~pl.col("is_suspended")
        sound = sound.with_columns(pl.when(mine).then(1.2e6).otherwise("volume").alias("volume"))
    assert found.height > 0
    assert found.equals(sound)


def test_a_later_listing_does_not_refuse_the_months_before_it(caller: Caller, places: Path, tmp_path: Path) -> None:
    """Nor is the later company's state the first one's: bars that end early are refused, whatever became of the later one."""
    later = {"12": {"add": {"StockID": "SH600001", "上市日": 20220210}}}
    (places / "tricks.json").write_text(json.dumps(later), encoding="utf-8")
    source = source_of(caller, tmp_path / "a")
    source.prepare(MONTH, MONTH)
    listed = of(source.fetch("listings", MONTH, date(2022, 1, 31)), "600001.SH")
    assert listed.select("listed_on", "delisted_on").rows() == [(FIRST, None)]
    with pytest.raises(BadAnswer, match=r"two first trading days of 600001\.SH"):
        source.prepare(MONTH, LAST)
    gone = (*SOME, "600007.SH")
    later = {"12": {"add": {"StockID": "SH600007", "上市日": 20220210}}}
    (places / "tricks.json").write_text(json.dumps(later), encoding="utf-8")
    with pytest.raises(
        BadAnswer, match=r"the bars of 600007\.SH end on 2022-01-19.*another company has had its code since"
    ):
        source_of(caller, tmp_path / "b", gone).prepare(MONTH, MONTH)


def test_two_equal_payments_of_two_plans_add_up(caller: Caller, places: Path, tmp_path: Path) -> None:
    """The report period tells them apart, and it is not read."""
    (places / "tricks.json").write_text(json.dumps({"18": {"plans": ["20211231", "20210930"]}}), encoding="utf-8")
    paid = source_of(caller, tmp_path).fetch("dividends", MONTH, date(2022, 1, 31))
    assert paid["cash_per_share"].to_list() == [2 * market.CASH]


def test_text_as_bytes_of_its_encoding(caller: Caller, places: Path) -> None:
    """Older clients hand on what the server sent."""
    code = "return select * from infotable 10 of array('SH600001') end;"
    plain = caller.call("exec", code=code)
    (places / "tricks.json").write_text(json.dumps({"10": {"bytes": True}}), encoding="utf-8")
    raw = caller.call("exec", code=code)
    assert (raw.columns, raw.rows) == (plain.columns, plain.rows)


@pytest.mark.parametrize(
    ("trick", "error", "said"),
    [
        ({"error": -1, "said": "not login."}, VendorBusy, "not login"),
        ({"error": 7, "said": "server busy"}, VendorBusy, "server busy (code 7)"),
        ({"error": 9, "said": f"没有权限 {market.CANARY}"}, VendorError, "没有权限 ***"),
        ({"value": "a word"}, VendorBusy, "no table but 'a word'"),
    ],
)
def test_refusals(caller: Caller, places: Path, trick: dict[str, Any], error: type[VendorError], said: str) -> None:
    (places / "tricks.json").write_text(json.dumps({"10": trick}), encoding="utf-8")
    with pytest.raises(VendorError, match=re.escape(said)) as caught:
        caller.call("exec", code="return select * from infotable 10 of array('SH600001') end;")
    assert type(caught.value) is error
    assert market.CANARY not in str(caught.value)
    (places / "tricks.json").unlink()
    assert caller.call("exec", code="return select * from infotable 10 of array('SH600001') end;").rows


def test_a_wrong_account_ends_it_at_once(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (places / "log").unlink(missing_ok=True)
    monkeypatch.setenv("TINYSOFT_PASSWORD", "wrong-word-0123456789")
    with (
        Caller("tinysoft", OPTIONS) as asking,
        pytest.raises(VendorError, match=r"denied.*TINYSOFT_USER and") as caught,
    ):
        asking.call("exec", code="return 1;")
    assert type(caught.value) is VendorError
    assert "wrong-word" not in str(caught.value)
    assert USER not in str(caught.value)
    assert len((places / "log").read_text(encoding="utf-8").splitlines()) == 1


def test_a_hung_call_is_killed(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Caller("tinysoft", replace(OPTIONS, time_limit=0.5, attempts=1)) as asking:
        code = "return select * from infotable 10 of array('SH600001') end;"
        assert asking.call("exec", code=code).rows
        monkeypatch.setattr("rotation_pipeline.sources.vendors.caller.START_LIMIT", 0.0)
        child = asking._child  # pyright: ignore[reportPrivateUsage]
        (places / "tricks.json").write_text(json.dumps({"10": "hang"}), encoding="utf-8")
        with pytest.raises(VendorBusy, match=r"no answer within 0\.5 s; the call was killed"):
            asking.call("exec", code=code)
    assert child is not None
    assert child.poll() is not None


# --- the account ---------------------------------------------------------------------------------------------------------


def test_the_account_stands_nowhere_but_in_the_login(
    places: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (places / "log").unlink(missing_ok=True)
    options = replace(OPTIONS, assets=SOME, address="127.0.0.1:4430")
    found = vendor_source("tinysoft", tmp_path, (market.INDEX,), options)
    told: list[str] = []
    found.prepare(MONTH, MONTH, lambda _done, _total, text: told.append(text))
    calls = [json.loads(line) for line in (places / "log").read_text(encoding="utf-8").splitlines()]
    assert calls[0] == ["login", USER, market.CANARY, "127.0.0.1", 4430]
    texts = [*told, json.dumps(calls[1:]), repr(options), found.version, *capfd.readouterr()]
    texts += [path.read_bytes().decode("latin-1") for path in tmp_path.rglob("*") if path.is_file()]
    assert len(texts) > 30
    assert not [text for text in texts if market.CANARY in text or USER in text]


def test_without_account_package_or_port(places: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def said(options: VendorOptions) -> str:
        with Caller("tinysoft", options) as asking, pytest.raises(VendorError) as caught:
            asking.call("exec", code="return 1;")
        assert type(caught.value) is VendorError
        return str(caught.value)

    del places
    assert "written HOST:PORT" in said(replace(OPTIONS, address="localhost"))
    (tmp_path / "pyTSL.py").write_text("raise ImportError('No module named pyTSL')", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert "pip install 'rotation-pipeline[tinysoft]'" in said(OPTIONS)
    monkeypatch.delenv("TINYSOFT_PASSWORD")
    assert "TINYSOFT_USER and TINYSOFT_PASSWORD are not both set" in said(OPTIONS)


# --- the command ---------------------------------------------------------------------------------------------------------


def test_ingest_ends_with_coverage(
    rotation: Any, places: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`rotation ingest` over 32 months of the members of a small index."""
    del places
    monkeypatch.setenv("TINYSOFT_FIRST", "2019-05-06")
    members = tuple(code for code in market.CODES if code.startswith("6001"))
    vendor = {"pause": 0, "first_wait": 0, "attempts": 1, "members_from": "2019-05", "assets": members}
    answer = rotation(
        "ingest", "--source", "tinysoft", "--from", "2021-10", "--to", "2022-02", "--database", tmp_path / "x.duckdb",
        *(part for name, value in vendor.items() for part in ("--set", f"source.vendor.{name}={json.dumps(value)}")),
        "--set", "sample.history_months=27", "--set", "sample.style_history_months=2",
    )  # fmt: skip
    assert answer.code == 0, answer.stderr
    assert "source tinysoft does not serve daily_valuation.ps_ttm" in answer.stderr
    covered = answer.stdout.partition("coverage")[2].splitlines()
    rows = {line.split()[0]: line for line in covered if " yes " in line or " no " in line}
    assert len(rows) == 10
    assert all("32 of 32" in rows[name] for name in ("daily_bars", "daily_valuation", "index_members", "index_weights"))
    assert market.CANARY not in answer.stdout + answer.stderr
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and market.CANARY.encode() in path.read_bytes()]


# --- its own client ------------------------------------------------------------------------------------------------------


@needs_client
def test_the_stand_in_has_the_interface_of_the_real_client() -> None:
    import pyTSL  # type: ignore[import-not-found]  # pyright: ignore

    package: Any = pyTSL
    for name in ("login", "is_logined", "last_error", "query", "exec"):
        assert hasattr(package.Client, name)
    signature = package.Client.query.__doc__.split(")")[0]
    order = [signature.index(f"{name}:") for name in ("stock", "cycle", "begin_time", "end_time", "rate", "timeout", "fields")]  # fmt: skip
    assert order == sorted(order)
    assert re.search(r"exec\(self: pyTSL\.Client, code: str, .*timeout: int", package.Client.exec.__doc__)
    assert re.search(r"user: str, password: str, host: str, port: int", package.Client.__init__.__doc__)
    for name in ("error", "message", "value"):
        assert hasattr(package.TSResultValue, name)
    # what an answer is made of, as the client itself decodes it: rows of named values, days as doubles
    sent = [{"StockID": "SH600519", "date": 44565.0, "截止日": 20220104}]
    assert package.DecodeStream(package.EncodeStream(sent)) == sent
    assert package.DoubleToDatetime(44565.0) == datetime(2022, 1, 4)


@needs_client
def test_the_real_client_without_a_server(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    del places
    assert real is not None
    assert real.origin is not None
    monkeypatch.setenv("PYTHONPATH", str(Path(real.origin).parent))
    with (
        Caller("tinysoft", replace(OPTIONS, address="127.0.0.1:9", attempts=1)) as asking,
        pytest.raises(VendorBusy, match="the login failed"),
    ):
        asking.call("exec", code="return 1;")


def test_the_stand_in_is_never_taken_for_the_real_client() -> None:
    assert str(STAND_IN) not in sys.path
    assert real is None or real.origin is None or Path(real.origin).parent != STAND_IN
