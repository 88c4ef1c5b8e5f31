"""A local server that answers as api.tushare.pro does: JSON over HTTP, columns and items, its units and its refusals."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import vendor_market as market

from rotation_pipeline.market.calendar import sessions

Rows = list[dict[str, Any]]
Trick = Callable[[str, dict[str, Any], dict[str, Any], int], bytes | dict[str, Any] | None]
"""(api, params, the sound answer, number of the call) → another answer, or bytes to send as they are, or None."""


def _d(day: date | None) -> str | None:
    return None if day is None else f"{day:%Y%m%d}"


def _bars() -> dict[str, Rows]:
    daily: Rows = []
    factors: Rows = []
    basic: Rows = []
    for bar in market.bars():
        low, high = min(bar.close, bar.prev_close), max(bar.close, bar.prev_close)
        key = {"ts_code": bar.code, "trade_date": _d(bar.day)}
        daily.append({
            **key, "open": bar.prev_close, "high": high, "low": low, "close": bar.close, "pre_close": bar.prev_close,
            "change": round(bar.close - bar.prev_close, 2), "vol": bar.volume / 100, "amount": bar.amount / 1000,
        })  # fmt: skip
        factors.append({**key, "adj_factor": bar.factor})
        basic.append({
            **key, "pe_ttm": None if bar.code == "600003.SH" else 12.5, "pb": -0.8 if bar.code == "600003.SH" else 1.5,
            "ps_ttm": 2.0, "dv_ttm": 2.5, "turnover_rate": 1.25,
            "total_mv": bar.close * 1e4 * bar.factor, "circ_mv": bar.close * 6e3 * bar.factor,
        })  # fmt: skip
    return {"daily": daily, "adj_factor": factors, "daily_basic": basic}


def _suspensions() -> Rows:
    return [
        {"ts_code": code, "trade_date": _d(day), "suspend_timing": None, "suspend_type": "S"}
        for code in ("600002.SH", "600008.SH")
        for day in sessions(market.FIRST, market.LAST)
        if market.suspended(code, day)
    ] + [{"ts_code": "300004.SZ", "trade_date": "20220111", "suspend_timing": "09:30-10:00", "suspend_type": "S"}]


def _reports() -> dict[str, Rows]:
    """Cumulative profit 100, 200, 300, 400 a year (in 2021 of 600001: 150, 250, 350, 450); one revision."""
    indicator: Rows = []
    income: Rows = []
    balance: Rows = []
    for code in market.CODES:
        for year in (2019, 2020, 2021):
            for quarter, (end, when) in enumerate(
                [("0331", "0425"), ("0630", "0825"), ("0930", "1025"), ("1231", "0120")], 1
            ):
                announced = f"{year + (quarter == 4)}{when}"
                profit = 100.0 * quarter + (50.0 if year == 2021 and code == "600001.SH" else 0.0)
                key = {"ts_code": code, "end_date": f"{year}{end}", "ann_date": announced, "update_flag": "0"}
                income.append({**key, "f_ann_date": announced, "n_income_attr_p": profit, "report_type": "1"})
                balance.append(
                    {**key, "f_ann_date": announced, "total_hldr_eqy_exc_min_int": 4000.0, "report_type": "1"}
                )
                indicator.append({**key, "roe": 2.5 * quarter, "netprofit_yoy": 12.0})
    last = {"ts_code": "600001.SH", "end_date": "20211231", "ann_date": "20220120"}
    income.append({**last, "f_ann_date": "20220215", "n_income_attr_p": 460.0, "report_type": "1", "update_flag": "1"})
    indicator.append(
        {**last, "roe": 99.0, "netprofit_yoy": 99.0, "update_flag": "1"}
    )  # the correction, dated as the original
    for row in indicator:
        if row["ts_code"] == "600102.SH" and row["end_date"] == "20210930":
            row["ann_date"] = None
    indicator.append(dict(indicator[0]))  # the vendor holds a few rows twice
    return {"fina_indicator": indicator, "income": income, "balancesheet": balance}


def tables() -> dict[str, Rows]:
    """Everything the stand-in knows, by api name."""
    days = sessions(market.FIRST, market.LAST)
    ends = [
        day for day, after in zip(days, [*days[1:], None], strict=True) if after is None or after.month != day.month
    ]
    listed = [
        {
            "ts_code": code, "name": f"名{n}", "list_date": "20100104",
            "delist_date": _d(market.DELISTED) if code == "600007.SH" else None,
            "list_status": "D" if code == "600007.SH" else "L",
        }
        for n, code in enumerate(market.CODES)
    ]  # fmt: skip
    dividend = {
        "ts_code": "600001.SH", "end_date": "20210630", "ann_date": "20211220", "imp_ann_date": "20220106",
        "div_proc": "实施", "ex_date": _d(market.EX_DAY), "cash_div": market.CASH * 0.8, "cash_div_tax": market.CASH - 0.2,
        "stk_div": market.SHARES,
    }  # fmt: skip
    second = {**dividend, "end_date": "20201231", "cash_div_tax": 0.2, "stk_div": None}
    industries = [("801780.SI", "银行"), ("801120.SI", "食品饮料")]
    return {
        **_bars(),
        **_reports(),
        "suspend_d": _suspensions(),
        "trade_cal": [{"cal_date": _d(day), "is_open": 1} for day in days],
        "index_daily": [
            {"ts_code": market.INDEX, "trade_date": _d(day), "open": 3000.0, "high": 3010.0, "low": 2990.0, "close": 3005.0,
             "vol": 10.0, "amount": 20.0} for day in days
        ],
        "index_weight": [
            {"index_code": market.INDEX, "con_code": code, "trade_date": _d(day), "weight": 100 / len(market.members(day))}
            for day in ends for code in market.members(day)
        ],
        "dividend": [dividend, second, {**dividend, "ts_code": "600003.SH", "div_proc": "预案"}],
        "stock_basic": listed,
        "namechange": [
            {"ts_code": "600003.SH", "name": "名2", "start_date": "20100104", "end_date": "20220109"},
            {"ts_code": "600003.SH", "name": "*ST名2", "start_date": "20220110", "end_date": None},
        ],
        "index_classify": [{"index_code": code, "industry_name": name} for code, name in industries],
        "index_member_all": [
            {"l1_code": industries[n % 2][0], "l1_name": industries[n % 2][1], "ts_code": code, "in_date": "20150101",
             "out_date": None, "is_new": "Y"} for n, code in enumerate(market.CODES)
        ],
    }  # fmt: skip


DATES = {"ann_date", "trade_date", "cal_date", "end_date"}


def select(rows: Rows, params: dict[str, Any]) -> Rows:
    """Rows as the parameters ask, newest first, cut to the page."""
    skipped = {"limit", "offset", "ts_type_name", "start_date", "end_date", "src", "level", "exchange"}
    wanted = {name: value for name, value in params.items() if name not in skipped and value != ""}
    if "period" in wanted:
        wanted["end_date"] = wanted.pop("period")
    for name, value in wanted.items():
        rows = [row for row in rows if name not in row or str(row[name]) == str(value)]
    dated = next((name for name in ("trade_date", "cal_date") if rows and name in rows[0]), None)
    if dated is not None and "start_date" in params:
        rows = [row for row in rows if params["start_date"] <= row[dated] <= params["end_date"]]
    if dated is not None:
        rows = sorted(rows, key=lambda row: row[dated], reverse=True)
    at = int(params.get("offset") or 0)
    return rows[at : at + int(params.get("limit") or 6000)]


class Stand:
    """The server's knowledge, its tricks and what it was asked."""

    def __init__(self) -> None:
        self.tables = tables()
        self.trick: Trick | None = None
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.tokens: set[str] = set()
        self.address = ""
        self.delay = 0.0

    def answer(self, request: dict[str, Any]) -> bytes | dict[str, Any]:
        """The answer to one request, trick included."""
        api, params = request["api_name"], request["params"]
        self.tokens.add(request["token"])
        self.asked.append((api, params))
        name = api.removesuffix("_vip")
        known = self.tables[name]
        fields = [field for field in str(request["fields"]).split(",") if field] or list(known[0])
        rows = select(known, params)
        data = {"fields": fields, "items": [[row.get(field) for field in fields] for row in rows]}
        sound = {"request_id": "x", "code": 0, "msg": "", "data": data}
        tricked = None if self.trick is None else self.trick(api, params, sound, len(self.asked))
        return sound if tricked is None else tricked


@contextmanager
def serving() -> Generator[Stand]:
    """A running stand-in on a free local port."""
    stand = Stand()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            if stand.delay:
                threading.Event().wait(stand.delay)
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            found = stand.answer(request)
            body = found if isinstance(found, bytes) else json.dumps(found, ensure_ascii=False).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html" if body.startswith(b"<") else "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with contextlib.suppress(OSError):  # the asker was killed meanwhile
                self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            del format, args

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    stand.address = f"http://127.0.0.1:{server.server_address[1]}/dataapi"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield stand
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
