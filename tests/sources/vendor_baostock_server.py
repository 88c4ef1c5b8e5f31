"""A local server that speaks baostock's protocol: one TCP line a request, header, fields split by \\1, pages, compression."""

from __future__ import annotations

import contextlib
import json
import socketserver
import threading
import zlib
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import date, timedelta
from typing import Any

import vendor_market as market

from rotation_pipeline.market.calendar import sessions

SPLIT, END, PAGE = "\1", b"<![CDATA[]]>\n", 2000
COMPRESSED = {"95": "96", "98": "99"}
Trick = Callable[[str, list[str], int], bytes | None]
"""(method, parameters, page) → bytes instead of the answer; b"" closes the connection."""


def vendor(code: str) -> str:
    """600519.SH → sh.600519."""
    return f"{code[7:].lower()}.{code[:6]}"


def lines() -> list[dict[str, str]]:
    """Daily rows of every listed security, all text, '' on suspended days, as the vendor sends them."""
    traded = {(bar.code, bar.day): bar for bar in market.bars()}
    found: list[dict[str, str]] = []
    for code in market.CODES:
        last = 0.0
        for day in sessions(date(2021, 2, 1) if code == "600008.SH" else market.FIRST, market.LAST):
            bar = traded.get((code, day))
            if code == "600007.SH" and day >= market.DELISTED and bar is None:
                continue
            key = {"date": f"{day:%Y-%m-%d}", "code": vendor(code), "isST": str(int(code == "600003.SH" and day >= date(2022, 1, 10)))}  # fmt: skip
            if bar is None:
                price = f"{last:.4f}"
                prices = dict.fromkeys(("open", "high", "low", "close", "preclose"), price)
                empty = dict.fromkeys(("volume", "amount", "turn", "peTTM", "pbMRQ", "psTTM"), "")
                found.append({**key, **prices, **empty, "tradestatus": "0"})
                continue
            last = bar.close
            low, high = sorted((bar.close, bar.prev_close))
            found.append({
                **key, "open": f"{bar.prev_close:.4f}", "high": f"{high:.4f}", "low": f"{low:.4f}", "close": f"{bar.close:.4f}",
                "preclose": f"{bar.prev_close:.4f}", "volume": f"{bar.volume:.0f}", "amount": f"{bar.amount:.4f}", "turn": "1.250000",
                "peTTM": "12.5", "pbMRQ": "1.5", "psTTM": "2.0", "tradestatus": "1",
            })  # fmt: skip
    return found


class Bao:
    """What the stand-in knows, its tricks and what it was asked."""

    def __init__(self) -> None:
        self.lines = lines()
        self.trick: Trick | None = None
        self.asked: list[tuple[str, list[str]]] = []
        self.questions: list[tuple[str, list[str]]] = []
        """What was asked of it without the protocol."""
        self.logins = 0
        self.address = ""

    def rows(self, method: str, given: list[str]) -> list[dict[str, str]]:
        """All rows of one question."""
        if method == "query_history_k_data_plus":
            code, _, start, end = given[:4]
            if code == vendor(market.INDEX):
                return [
                    {"date": f"{day:%Y-%m-%d}", "code": code, "open": "3000", "high": "3010", "low": "2990", "close": "3005",
                     "volume": "1000", "amount": "20000"}
                    for day in sessions(date.fromisoformat(start), date.fromisoformat(end))
                ]  # fmt: skip
            return [row for row in self.lines if row["code"] == code and start <= row["date"] <= end]
        if method == "query_daily_history_k_AStock":
            return [row for row in self.lines if row["date"] == given[0]]
        if method == "query_trade_dates":
            first, last = (date.fromisoformat(text) for text in given)
            trading = set(sessions(first, last))
            days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
            return [{"calendar_date": f"{day:%Y-%m-%d}", "is_trading_day": str(int(day in trading))} for day in days]
        if method == "query_sz50_stocks":
            return [{"updateDate": given[0], "code": vendor(code), "code_name": "名"} for code in market.members(date.fromisoformat(given[0]))]  # fmt: skip
        if method == "query_stock_basic":
            shares = [
                {"code": vendor(code), "code_name": "名", "ipoDate": "2010-01-04", "type": "1", "status": "1",
                 "outDate": f"{market.DELISTED}" if code == "600007.SH" else ""} for code in market.CODES
            ]  # fmt: skip
            return [*shares, {"code": "sh.000016", "code_name": "上证50", "ipoDate": "2004-01-02", "type": "2", "status": "1", "outDate": ""}]  # fmt: skip
        return self.by_security(method, given)

    def by_security(self, method: str, given: list[str]) -> list[dict[str, str]]:
        """Factors, reports and dividends of one security."""
        code = given[0]
        if method == "query_adjust_factor":
            bars = [
                bar
                for bar in market.bars()
                if vendor(bar.code) == code and bar.day == market.EX_DAY and bar.factor != 1
            ]
            return [
                {"code": code, "dividOperateDate": f"{bar.day}", "foreAdjustFactor": "1.0", "backAdjustFactor": str(bar.factor), "adjustFactor": "1.0"}
                for bar in bars if given[1] <= f"{bar.day}" <= given[2]
            ]  # fmt: skip
        if method == "query_dividend_data":
            return [{
                "code": code, "dividPlanDate": "2022-01-06", "dividOperateDate": f"{market.EX_DAY}", "dividCashPsBeforeTax": "0.5",
                "dividStocksPs": "0.2", "dividReserveToStockPs": "",
            }] if (code, given[1]) == ("sh.600001", "2022") else []  # fmt: skip
        year, quarter = int(given[1]), int(given[2])
        end = ("03-31", "06-30", "09-30", "12-31")[quarter - 1]
        told = f"{year}-{('04-25', '08-25', '10-25')[quarter - 1]}" if quarter < 4 else f"{year + 1}-01-20"
        row = {"code": code, "pubDate": told, "statDate": f"{year}-{end}"}
        numbers = {
            "roeAvg": f"{0.025 * quarter:.6f}",
            "totalShare": "100000000.00",
            "liqaShare": "60000000.00",
            "YOYNI": "0.120000",
        }
        return [{**row, **numbers}] if told <= "2022-02-28" else []

    def answer(self, line: str) -> bytes:
        """The whole message that answers one request line."""
        kind, body = line[8:10], line[21:].split(SPLIT)[:-1]
        method = body[0]
        if method in {"login", "logout"}:
            self.logins += method == "login"
            return message("01", SPLIT.join(["0", "success", method, "anonymous"]))
        if method == "query_daily_history_k_AStock":
            given, page = body[2:], 1
        else:
            page, given = int(body[2]), body[4:]
        self.asked.append((method, given))
        tricked = None if self.trick is None else self.trick(method, given, page)
        if tricked is not None:
            return tricked
        rows = self.rows(method, given)
        names = given[1].split(",") if method == "query_history_k_data_plus" else list(rows[0]) if rows else ["code", *FIELDS.get(method, ())]  # fmt: skip
        if method == "query_daily_history_k_AStock":
            return message(
                "99", SPLIT.join(["0", "success", method, "anonymous", records(rows, names), ",".join(names)])
            )
        shown = rows[(page - 1) * PAGE : page * PAGE]
        head = ["0", "success", method, "anonymous", str(page), str(PAGE), records(shown, names) if shown else ""]
        if method == "query_history_k_data_plus":
            rest = [given[0], given[1], *given[2:]]
            return message("96", SPLIT.join([*head, *rest]) + "\n")
        return message(COMPRESSED.get(kind, f"{int(kind) + 1:02d}"), SPLIT.join([*head, *given, ",".join(names)]))


FIELDS = {
    "query_adjust_factor": ("dividOperateDate", "foreAdjustFactor", "backAdjustFactor", "adjustFactor"),
    "query_dividend_data": ("dividPlanDate", "dividOperateDate", "dividCashPsBeforeTax", "dividStocksPs", "dividReserveToStockPs"),
    "query_profit_data": ("pubDate", "statDate", "roeAvg", "totalShare", "liqaShare"),
    "query_growth_data": ("pubDate", "statDate", "YOYNI"),
}  # fmt: skip


def records(rows: list[dict[str, str]], names: list[str]) -> str:
    """Rows as the vendor packs them."""
    return json.dumps({"record": [[row[name] for name in names] for row in rows]}, ensure_ascii=False)


def message(kind: str, body: str) -> bytes:
    """Header, body (compressed for k-lines), check sum and end mark."""
    if kind in COMPRESSED.values():
        packed = zlib.compress(body.encode())
        return f"00.9.40{SPLIT}{kind}{SPLIT}{len(packed):010d}".encode() + packed + END
    head = f"00.9.40{SPLIT}{kind}{SPLIT}{len(body):010d}"
    return f"{head}{body}{SPLIT}{zlib.crc32((head + body).encode())}".encode() + END


def error(code: str, said: str, kind: str = "34") -> bytes:
    """A refusal."""
    body = SPLIT.join([code, said])
    return message(kind, body + ("\n" if kind in COMPRESSED.values() else ""))


@contextmanager
def serving() -> Generator[Bao]:
    """A running stand-in on a free local port."""
    known = Bao()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError):
                for line in self.rfile:
                    found = known.answer(line.decode().rstrip("\n"))
                    if not found:
                        return
                    self.wfile.write(found)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

    server: Any = Server(("127.0.0.1", 0), Handler)
    known.address = f"127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield known
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
