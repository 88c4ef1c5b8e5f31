"""What the real ``pyTSL`` offers, as far as it is used, over a small made-up market: same classes, arguments, and values.

Tricks come from the JSON file TINYSOFT_TRICKS names, and calls are written to the file TINYSOFT_LOG names.
"""

from __future__ import annotations

import json
import os
import re
import time
from datetime import date
from pathlib import Path
from typing import Any

import vendor_market as market

from rotation_pipeline.market.calendar import sessions

if "TINYSOFT_FIRST" in os.environ:  # a longer and smaller market: the members alone
    market.FIRST = date.fromisoformat(os.environ["TINYSOFT_FIRST"])
    market.CODES = tuple(code for code in market.CODES if code.startswith("6001"))
OLE = date(1899, 12, 30)
BEGINNINGS = {code: date(2021, 2, 1) if code == "600008.SH" else market.FIRST for code in market.CODES}
SHARES = 1e8


def vendor(code: str) -> str:
    """600519.SH → SH600519."""
    return f"{code[7:]}{code[:6]}"


def whole(day: date) -> int:
    """20220104."""
    return int(f"{day:%Y%m%d}")


def day_of(number: str) -> date:
    """The inverse of :func:`whole`."""
    return date(int(number[:4]), int(number[4:6]), int(number[6:]))


class TSResultValue:
    """An answer: error code, message, value."""

    def __init__(self, value: object = None, error: int = 0, message: str = "") -> None:
        self._value, self._error, self._message = value, error, message

    def error(self) -> int:
        return self._error

    def message(self) -> str:
        return self._message

    def value(self, parse_date: object = None) -> object:
        del parse_date
        return self._value


class Client:
    """The interface of ``pyTSL.Client`` that the adapter uses."""

    def __init__(self, user: str, password: str, host: str, port: int) -> None:
        self.user, self.password, self.host, self.port = user, password, host, port
        self._in = 0
        self._bars: dict[str, list[market.Bar]] = {}
        for bar in market.bars():
            self._bars.setdefault(bar.code, []).append(bar)

    def login(self) -> int:
        self._log("login", self.user, self.password, self.host, self.port)
        self._in = int(self.password == market.CANARY)
        return self._in

    def is_logined(self) -> int:
        return self._in

    def last_error(self) -> list[Any]:
        return [-13, f"Login denied for {self.user} with {self.password}"]

    def query(
        self, stock: object, cycle: object, begin_time: object, end_time: object, rate: int = 0, rateday: object = None,
        precision: object = None, viewpoint: object = None, service: str = "", timeout: int = 0, fields: object = None,
        cyclefilter: object = None,
    ) -> TSResultValue:  # fmt: skip
        del rateday, precision, viewpoint, service, cyclefilter
        self._log("query", stock, begin_time, end_time)
        assert (cycle, rate) == ("日线", 0)
        assert timeout > 0
        names = list(fields)  # type: ignore[call-overload]
        low, high = day_of(str(begin_time)), day_of(str(end_time))
        rows = [{name: row[name] for name in names} for row in self._lines(str(stock), low, high)]
        return self._tricked("query", str(stock), rows)

    def exec(self, code: str, service: str = "", timeout: int = 0, **system: object) -> TSResultValue:
        del service, system
        assert timeout > 0
        self._log("exec", code)
        for pattern, answer in (
            (r"infotable (\d+) of (.*?) (where.*)?end;$", self._table),
            (r"GetBKByDate\('(\w+)',(\d+)T\)", self._members),
            (r"GetBkWeightByDate\('(\w+)',(\d+)T,t\)", self._weights),
            (r"pn_stock\(\),'(\w+)'.*tradedays\((\d+)T,(\d+)T\)", self._previous),
        ):
            found = re.search(pattern, code)
            if found:
                name, rows = answer(*found.groups())
                return self._tricked(name, code, rows)
        return TSResultValue(None, 1, f"syntax: {code}")

    # --- the market --------------------------------------------------------------------------------------------------

    def _lines(self, stock: str, low: date, high: date) -> list[dict[str, Any]]:
        if stock == "SH000016":
            days = sessions(low, high)
            return [
                {"date": float((day - OLE).days), "StockID": stock, "open": 3000.0, "high": 3010.0, "low": 2990.0, "close": 3005.0,
                 "vol": 1000, "amount": 20000.0} for day in days
            ]  # fmt: skip
        code = f"{stock[2:]}.{stock[:2]}"
        traded = {bar.day: bar for bar in self._bars.get(code, [])}
        rows: list[dict[str, Any]] = []
        for day in sessions(low, high):
            bar = traded.get(day)
            if bar is not None:
                least, most = sorted((bar.close, bar.prev_close))
                rows.append({"date": float((day - OLE).days), "StockID": stock, "open": bar.prev_close, "high": most, "low": least,
                             "close": bar.close, "vol": bar.volume, "amount": bar.amount})  # fmt: skip
            elif market.suspended(code, day):  # a row without trade
                rows.append({"date": float((day - OLE).days), "StockID": stock, **dict.fromkeys(("open", "high", "low", "close", "vol", "amount"), 0)})  # fmt: skip
        return rows

    def _previous(self, stock: str, low: str, high: str) -> tuple[str, list[dict[str, Any]]]:
        bars = self._bars.get(f"{stock[2:]}.{stock[:2]}", [])
        span = [bar for bar in bars if day_of(low) <= bar.day <= day_of(high)]
        return "nday", [{"date": float((bar.day - OLE).days), "prev": bar.prev_close} for bar in span]

    def _members(self, index: str, day: str) -> tuple[str, list[str]]:
        assert index == "SH000016"
        return "members", [vendor(code) for code in market.members(day_of(day))]

    def _weights(self, index: str, day: str) -> tuple[str, list[dict[str, Any]]]:
        names = self._members(index, day)[1]
        return "weights", [{"代码": name, "名称": "名", "比例(%)": 100 / len(names)} for name in names]

    def _table(self, number: str, of: str, where: str | None) -> tuple[str, list[dict[str, Any]]]:
        asked = re.findall(r"'(\w+)'", of)
        if number == "753":
            low, high = (day_of(text) for text in re.findall(r"\d{8}", where or ""))
            trading = set(sessions(low, high))
            days = [date.fromordinal(n) for n in range(low.toordinal(), high.toordinal() + 1)]
            return number, [
                {"StockID": "SH000001", "截止日": whole(day), "是否交易日": int(day in trading)} for day in days
            ]
        if number == "752":
            entries = [("600100.SH", 20211101, 20211015), ("600101.SH", 20220215, 20220128)]
            return number, [
                {"StockID": asked[0], "代码": vendor(code), "入选日期": since, "入选公布日": told, "剔除日期": 0} for code, since, told in entries
            ]  # fmt: skip
        rows = [row for code in market.CODES for row in self._facts(number, code) if row["StockID"] in asked]
        return number, rows

    def _facts(self, number: str, code: str) -> list[dict[str, Any]]:
        key = {"StockID": vendor(code), "StockName": "名"}
        if number == "12":
            return [{**key, "上市日": whole(BEGINNINGS[code])}]
        if number == "10":
            return [{**key, "当前状态": "终止上市" if code == "600007.SH" else "正常上市"}]
        if number == "14":
            change = {"变动日": 20220110, "变更前名称": "甲", "变更后名称": "*ST甲"}
            return [{**key, **change}] if code == "600003.SH" else []
        if number == "127":
            if code == "600002.SH":
                return [{**key, "停牌开始日": 20211229, "停牌截止日": whole(market.RETURNS_ON) - 1}]
            return [{**key, "停牌开始日": 20210302, "停牌截止日": 0}] if code == "600008.SH" else []
        if number == "16":
            return [{**key, "变动日": 20150105, "公布日": 0, "总股本": SHARES, "已上市流通 A 股": 0.6 * SHARES}]
        if number == "139":
            root = {"所属属性名称": "申万行业分类2021"}
            return [
                {**key, **root, "属性名称": "银行", "级数": 1, "入选日期": 20150105, "剔除日期": 0},
                {**key, **root, "属性名称": "银行二级", "级数": 2, "入选日期": 20150105, "剔除日期": 0},
            ]
        if number == "18":
            return self._dividends(key, code)
        return self._reports(number, key)

    def _dividends(self, key: dict[str, str], code: str) -> list[dict[str, Any]]:
        if code != "600001.SH":
            return []
        scale = 10 if self._trick().get("18") == "per ten" else 1
        done = {"除权除息日": whole(market.EX_DAY), "实施公布日": 20220106, "红利比": market.CASH * scale}
        return [
            {**key, **done, "红股比": market.SHARES / 2 * scale, "转增比": market.SHARES / 2 * scale},
            {**key, "除权除息日": 0, "实施公布日": 0, "红利比": 0.3, "红股比": 0, "转增比": 0},
        ]

    def _reports(self, number: str, key: dict[str, str]) -> list[dict[str, Any]]:
        """Cumulative profit 100, 200, 300, 400 a year over equity 4,000; the year 2020 restated in 2021's report."""
        rows: list[dict[str, Any]] = []
        for year in (2019, 2020, 2021):
            for quarter, (end, when) in enumerate(((331, 425), (630, 825), (930, 1025), (1231, 120)), 1):
                period, told = year * 10000 + end, (year + (quarter == 4)) * 10000 + when
                row = {**key, "截止日": period, "公布日": told, "数据报告期": period}
                profit, equity = 100.0 * quarter, 4000.0
                rows.append(
                    {
                        **row,
                        "归属于母公司所有者净利润": profit,
                        "归属母公司股东权益合计": equity,
                        "净资产收益率(加权)(%)": 2.5 * quarter,
                    }
                )
        if number != "42":
            again = {**key, "截止日": 20201231, "公布日": 20220120, "数据报告期": 20211231}
            rows.append({**again, "归属于母公司所有者净利润": 390.0, "归属母公司股东权益合计": 3900.0})
        return [row for row in rows if row["公布日"] <= 20220228]

    # --- tricks ------------------------------------------------------------------------------------------------------

    def _trick(self) -> dict[str, Any]:
        path = os.environ.get("TINYSOFT_TRICKS")
        return json.loads(Path(path).read_text(encoding="utf-8")) if path and Path(path).is_file() else {}

    def _tricked(self, name: str, asked: str, rows: list[Any]) -> TSResultValue:
        trick = self._trick().get(name)
        if name == "18":
            plans = trick.get("plans") if isinstance(trick, dict) else None
            rows = [{**row, "截止日": plan} for row in rows for plan in plans] if plans else rows
            return TSResultValue(rows * 2 if isinstance(trick, dict) else rows)
        if trick is None:
            return TSResultValue(rows)
        if trick == "hang":
            time.sleep(30)
        if "error" in trick:
            return TSResultValue(None, trick["error"], trick["said"])
        if "stock" in trick and trick["stock"] not in asked:
            return TSResultValue(rows)
        if "value" in trick:
            return TSResultValue(trick["value"])
        if "bytes" in trick:
            return TSResultValue([{key.encode("gb18030"): value.encode("gb18030") if isinstance(value, str) else value for key, value in row.items()} for row in rows])  # fmt: skip
        changed = [{**row, **trick.get("set", {})} for row in rows]
        changed = [{trick.get("rename", {}).get(key, key): value for key, value in row.items()} for row in changed]
        changed = [dict(reversed(row.items())) if "backwards" in trick else row for row in changed]
        added = [{**rows[0], **trick["add"]}] if "add" in trick else []
        return TSResultValue(changed[trick.get("skip", 0) :] + changed[: trick.get("again", 0)] + added)

    def _log(self, *what: object) -> None:
        path = os.environ.get("TINYSOFT_LOG")
        if path:
            with Path(path).open("a", encoding="utf-8") as handle:
                handle.write(json.dumps(what, ensure_ascii=False) + "\n")
