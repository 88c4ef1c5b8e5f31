"""A local gateway behind which the sites akshare scrapes answer in their own form: host and path as they are asked for."""

from __future__ import annotations

import contextlib
import io
import json
import re
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import polars as pl
import vendor_market as market

from rotation_pipeline.market.calendar import sessions

Trick = Callable[[str, dict[str, str], Any], "bytes | int | dict[str, Any] | None"]
"""(host and path, parameters, the sound answer) → another answer, bytes to send as they are, an HTTP status, or None."""
KLINES = "push2his.eastmoney.com/api/qt/stock/kline/get"
FACTORS = "finance.sina.com.cn/realstock/company/"
CENTRE = "datacenter-web.eastmoney.com/api/data/v1/get"
SHANGHAI = ("query.sse.com.cn/sseQuery/commonQuery.do", "query.sse.com.cn/commonQuery.do")
SHENZHEN = "www.szse.cn/api/report/ShowReport"
DIVIDENDS = "webapi.cninfo.com.cn/api/sysapi/p_sysapi1139"
BEGINNINGS = {code: date(2021, 2, 1) if code == "600008.SH" else market.FIRST for code in market.CODES}
SHARES = 1e8
CODES = market.CODES[:10]
SOME = ("000016.SZ", "600001.SH", "600002.SH")
COMPANY = ("SECURITY_CODE", "SECURITY_NAME_ABBR", "SUSPEND_START_TIME", "SUSPEND_END_TIME", "SUSPEND_EXPIRE", "SUSPEND_REASON",
           "TRADE_MARKET", "SUSPEND_START_DATE", "PREDICT_RESUME_DATE", "TRADE_MARKET_CODE", "SECUCODE", "x")  # fmt: skip


def klines() -> dict[str, list[tuple[date, list[str]]]]:
    """By secid: day and its line in Eastmoney's order; lots; the change of price is from the raw close of the day before."""
    found: dict[str, list[tuple[date, list[str]]]] = {}
    before: dict[str, float] = {}
    for bar in market.bars():
        low, high = sorted((bar.close, bar.prev_close))
        raw = before.get(bar.code, bar.prev_close)
        change = bar.close - raw
        line = [
            f"{bar.day}", f"{bar.prev_close:.2f}", f"{bar.close:.2f}", f"{high:.2f}", f"{low:.2f}", f"{bar.volume / 100:.0f}",
            f"{bar.amount:.2f}", "1.00", f"{100 * change / raw:.2f}", f"{change:.2f}", "1.25",
        ]  # fmt: skip
        found.setdefault(f"{int(bar.code[7:] == 'SH')}.{bar.code[:6]}", []).append((bar.day, line))
        before[bar.code] = bar.close
    found["1.000016"] = [
        (day, [f"{day}", "3000.00", "3005.00", "3010.00", "2990.00", "10", "20000.00", "0.5", "0", "0", "0"])
        for day in sessions(date(2021, 2, 1), market.LAST)
    ]
    return found


def members(folder: Path, codes: tuple[str, ...] = CODES, since: date = market.FIRST) -> Path:
    """A folder with membership, which the sites lack."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [{"index_id": market.INDEX, "asset_id": code, "valid_from": since} for code in codes]
    empty = pl.lit(None, dtype=pl.Date)
    frame = pl.DataFrame(rows).with_columns(empty.alias("valid_to"), empty.alias("announced_on"))
    frame.write_parquet(folder / "index_members.parquet")
    return folder


class Sites:
    """What the sites know, their tricks and what they were asked."""

    def __init__(self) -> None:
        self.klines = klines()
        self.bars = market.bars()
        self.factors = {bar.code: bar.factor for bar in self.bars}
        self.trick: Trick | None = None
        self.delay = 0.0
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.raw: list[str] = []
        self.address = ""

    def answer(self, place: str, params: dict[str, str]) -> Any:
        """The sound answer of one site."""
        if place == KLINES:
            begin, end = (
                date.fromisoformat(f"{text[:4]}-{text[4:6]}-{text[6:]}") for text in (params["beg"], params["end"])
            )
            wanted = [int(field[1:]) - 51 for field in params["fields2"].split(",") if "f51" <= field <= "f61"]
            lines = [
                ",".join(line[at] for at in wanted)
                for day, line in self.klines.get(params["secid"], [])
                if begin <= day <= end
            ]
            market_code, _, code = params["secid"].partition(".")
            known = {"code": code, "market": int(market_code), "name": "名", "klines": lines}
            return {"rc": 0, "data": known if params["secid"] in self.klines else None}
        if place.startswith(FACTORS):
            symbol = place.removeprefix(FACTORS).split("/")[0]
            code = f"{symbol[2:]}.{symbol[:2].upper()}"
            rows = [{"d": f"{market.EX_DAY}", "f": f"{self.factors[code]:.16f}"}] if self.factors[code] != 1 else []
            rows.append({"d": "1900-01-01", "f": "1.0000000000000000"})
            return f"var {symbol}hfq={json.dumps({'total': len(rows), 'data': rows})}\n/* other */".encode()
        if place == CENTRE:
            return self.centre(params)
        if place in SHANGHAI:
            return {"result": self.shanghai(params)}
        if place == SHENZHEN:
            return workbook(self.shenzhen(params))
        if place == DIVIDENDS:
            return {"resultcode": 200, "records": self.dividends() if params["scode"] == "600001" else []}
        raise AssertionError(f"nobody knows {place}")

    def centre(self, params: dict[str, str]) -> dict[str, Any]:
        """Eastmoney's data centre: values of one security by day, or who was suspended on a day."""
        if params["reportName"] == "RPT_VALUEANALYSIS_DET":
            number = re.findall(r"\d{6}", params["filter"])[0]
            rows = [
                {
                    "TRADE_DATE": f"{bar.day} 00:00:00", "CLOSE_PRICE": bar.close, "CHANGE_RATE": 0, "PE_LAR": 1, "PEG_CAR": None,
                    "TOTAL_MARKET_CAP": bar.close * SHARES, "NOTLIMITED_MARKETCAP_A": bar.close * 0.6 * SHARES,
                    "TOTAL_SHARES": SHARES, "FREE_SHARES_A": 0.6 * SHARES, "PE_TTM": 12.5,
                    "PB_MRQ": -0.8 if number == "600003" else 1.5, "PCF_OCF_TTM": 3, "PS_TTM": 2.0,
                } for bar in self.bars if bar.code[:6] == number
            ][::-1]  # fmt: skip
        else:
            day = date.fromisoformat(re.findall(r"\d{4}-\d{2}-\d{2}", params["filter"])[0])
            halted = [(code, market.LONG_SUSPENDED_SINCE) for code in market.CODES if market.suspended(code, day)]
            rows = [
                dict(zip(COMPANY, (code[:6], "名", f"{since}", None, "连续停牌", "重大事项", "沪A", f"{since}", None, "1", "x", "x"), strict=True))
                for code, since in [*halted, ("900901.SH", day)]
            ]  # fmt: skip
        if not rows:
            return {"version": None, "result": None, "success": False, "message": "返回数据为空", "code": 9201}
        return {"success": True, "code": 0, "result": {"pages": 1, "count": len(rows), "data": rows}}

    def shanghai(self, params: dict[str, str]) -> list[dict[str, str]]:
        """Lists of the Shanghai exchange: traded (by board) and delisted."""
        gone = params["COMPANY_STATUS"] == "3"
        kind = params["STOCK_TYPE"]
        codes = [
            code for code in market.CODES
            if code.endswith(".SH") and (code == "600007.SH") == gone and (gone or code.startswith("68") == (kind == "8"))
        ] + [{"8": "688900.SH", "1": "601900.SH"}.get(kind, "600900.SH")]  # fmt: skip
        return [
            {
                "A_STOCK_CODE": code[:6], "COMPANY_CODE": code[:6], "SEC_NAME_CN": "名", "SEC_NAME_FULL": "名", "COMPANY_ABBR": "名",
                "FULL_NAME": "名", "LIST_DATE": f"{BEGINNINGS.get(code, market.FIRST):%Y%m%d}", "DELIST_DATE": f"{market.DELISTED:%Y%m%d}" if gone else "-",
            } for code in codes
        ]  # fmt: skip

    def shenzhen(self, params: dict[str, str]) -> list[dict[str, Any]]:
        """Lists of the Shenzhen exchange, numbers without their leading zeros as a sheet loses them."""
        if params["CATALOGID"] == "1793_ssgs":
            return [{"证券代码": 3, "证券简称": "名", "上市日期": "1991-01-14", "终止上市日期": "2002-06-14"}]
        listed = [(code, BEGINNINGS[code]) for code in market.CODES if code.endswith(".SZ")]
        listed += [(f"00{n:04d}.SZ", date(2000, 1, 4)) for n in range(100, 110)]
        return [
            {"板块": "主板", "A股代码": int(code[:6]), "A股简称": "名", "A股上市日期": f"{day}", "A股总股本": "1", "A股流通股本": "1", "所属行业": "x"}
            for code, day in listed
        ]  # fmt: skip

    def dividends(self) -> list[dict[str, Any]]:
        """Per ten shares; one carried out, one not yet dated."""
        row = {
            "F044V": "年度分红",
            "F018D": None,
            "F023D": None,
            "F025D": None,
            "F007V": "10送1转1派5",
            "F001V": "2021年报",
        }
        done = {
            **row,
            "F006D": "2022-01-06",
            "F011N": 1.0,
            "F010N": 1.0,
            "F012N": 10 * market.CASH,
            "F020D": f"{market.EX_DAY}",
        }
        return [done, {**row, "F006D": "2022-02-10", "F011N": None, "F010N": None, "F012N": 3.0, "F020D": None}]


def workbook(rows: list[dict[str, Any]]) -> bytes:
    """Rows as a spreadsheet."""
    import pandas as pd

    buffer = io.BytesIO()
    pd.DataFrame(rows).to_excel(buffer, index=False)
    return buffer.getvalue()


@contextmanager
def serving() -> Generator[Sites]:
    """A running gateway on a free local port."""
    sites = Sites()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.reply("")

        def do_POST(self) -> None:
            self.reply(self.rfile.read(int(self.headers["Content-Length"] or 0)).decode())

        def reply(self, body: str) -> None:
            if sites.delay:
                threading.Event().wait(sites.delay)
            asked = urlsplit(self.path)
            place, params = asked.path.lstrip("/"), dict(parse_qsl(asked.query))
            sites.asked.append((place, params))
            sites.raw.append(f"{self.requestline}\n{self.headers}\n{body}")
            sound = sites.answer(place, params)
            tricked = None if sites.trick is None else sites.trick(place, params, sound)
            found = sound if tricked is None else tricked
            status, content = (found, b"<html>no</html>") if isinstance(found, int) else (200, found)
            sent = content if isinstance(content, bytes) else json.dumps(content, ensure_ascii=False).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            with contextlib.suppress(OSError):  # the asker was killed meanwhile
                self.wfile.write(sent)

        def log_message(self, format: str, *args: Any) -> None:
            del format, args

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    sites.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield sites
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
