"""Baostock: its calls, names and units → canonical tables.

Everything comes as text, and as '' on suspended days. With ``source.vendor.assets`` each security is asked for; without,
bars come day by day for the whole market, and what exists only security by security (reports, dividends) is not served.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import date, timedelta

import polars as pl

from rotation_pipeline.market.calendar import last_session, month_last_day, month_sessions, parse_month
from rotation_pipeline.sources.base import SourceError
from rotation_pipeline.sources.vendors.answers import Answer, Field, frame
from rotation_pipeline.sources.vendors.caller import Caller
from rotation_pipeline.sources.vendors.conversions import (
    board,
    complete,
    enough,
    fundamentals,
    intervals,
    quarters_before,
    unique,
    versions,
)
from rotation_pipeline.sources.vendors.errors import BadAnswer
from rotation_pipeline.sources.vendors.options import VendorOptions
from rotation_pipeline.sources.vendors.source import Fetch, Unit, monthly_units, read_months, read_whole, whole_units
from rotation_pipeline.sources.vendors.store import VendorStore

ISO = "%Y-%m-%d"
CODE = Field("code", "asset", required=True)
DAY = Field("date", "day", format=ISO, required=True)
PRICES = {name: Field(name, "number") for name in ("open", "high", "low", "close")}
BARS: dict[str, Field] = {
    "asset_id": CODE, "day": DAY, **PRICES, "prev_close": Field("preclose", "number"),
    "volume": Field("volume", "number"), "amount": Field("amount", "number"),  # shares, CNY
    "status": Field("tradestatus", "text", required=True), "st": Field("isST", "text", required=True),
    "turnover_rate": Field("turn", "number", over=100),  # %
    "pe_ttm": Field("peTTM", "number"), "pb": Field("pbMRQ", "number"), "ps_ttm": Field("psTTM", "number"),
}  # fmt: skip
INDEX = {"index_id": CODE, "day": DAY, **PRICES, "volume": BARS["volume"], "amount": BARS["amount"]}
FACTORS = {
    "asset_id": CODE, "day": Field("dividOperateDate", "day", format=ISO, required=True),
    "adj_factor": Field("backAdjustFactor", "number"),
}  # fmt: skip
MEMBERS = {"asset_id": CODE, "updated": Field("updateDate", "day", format=ISO, required=True)}
LISTINGS = {
    "asset_id": CODE, "name": Field("code_name", "text"), "kind": Field("type", "text", required=True),
    "listed_on": Field("ipoDate", "day", format=ISO), "delisted_on": Field("outDate", "day", format=ISO),
}  # fmt: skip
REPORT = {
    "asset_id": CODE, "announced_on": Field("pubDate", "day", format=ISO),
    "report_period": Field("statDate", "day", format=ISO, required=True),
}  # fmt: skip
PROFIT = {
    **REPORT, "roe": Field("roeAvg", "number"), "total": Field("totalShare", "number"), "float": Field("liqaShare", "number"),
}  # fmt: skip
GROWTH = {**REPORT, "net_profit_yoy": Field("YOYNI", "number")}
DIVIDENDS = {
    "asset_id": CODE, "ex_day": Field("dividOperateDate", "day", format=ISO),
    "announced_on": Field("dividPlanDate", "day", format=ISO), "cash_per_share": Field("dividCashPsBeforeTax", "number"),
    "bonus": Field("dividStocksPs", "number"), "converted": Field("dividReserveToStockPs", "number"),
}  # fmt: skip
MEMBER_CALLS = {"000016.SH": "query_sz50_stocks", "000300.SH": "query_hs300_stocks", "000905.SH": "query_zz500_stocks"}
STOCK = "1"
"""Kind of a security that is a share."""
BEGINNING = "1990-12-19"
"""Always given: left out, the vendor begins with 2015."""
PERIODS = 7
"""Quarters whose reports may be announced in a month."""
BY_SECURITY = "baostock has it security by security only: name them in source.vendor.assets"


def asset(code: str) -> str:
    """``sh.600519`` → ``600519.SH``. Raises ValueError for anything else."""
    if len(code) != 9 or code[:3] not in ("sh.", "sz.", "bj.") or not code[3:].isdigit():
        raise ValueError("expected sh., sz. or bj. and six digits; the exchange is never guessed")
    return f"{code[3:]}.{code[:2].upper()}"


def vendor_code(asset_id: str) -> str:
    """``600519.SH`` → ``sh.600519``."""
    return f"{asset_id[7:].lower()}.{asset_id[:6]}"


class BaostockAdapter:
    """Bars, valuation, members by date; reports and dividends of named securities. No weights, no industries by date."""

    name = "baostock"
    model = "baostock-2"
    first_month = date(1991, 1, 1)

    def __init__(self, index_ids: tuple[str, ...], options: VendorOptions) -> None:
        other = sorted(set(index_ids) - set(MEMBER_CALLS))
        if other:
            raise SourceError(f"source baostock knows the members of {', '.join(MEMBER_CALLS)}, not of {other[0]}")
        self.index_ids, self._options = index_ids, options
        self.selection: Mapping[str, object] = {"index_ids": index_ids, "assets": sorted(options.assets)}
        self._asked: dict[tuple[str, str], pl.DataFrame] = {}
        self.cannot: Mapping[str, str] = {
            "index_weights": "baostock has no weights",
            "industries": "baostock has today's classification only: using it for the past would be look-ahead",
            **({} if options.assets else {"fundamentals": BY_SECURITY, "dividends": BY_SECURITY}),
        }

    def units(self, first: date, last: date) -> list[Unit]:
        """Listings and factors first, then membership since its fixed beginning, then month by month."""
        origin = parse_month(self._options.members_from)
        named: dict[str, Fetch] = {"fundamentals": self._fundamentals, "dividends": self._dividends}
        monthly: dict[str, Fetch] = {
            "trading_days": self._trading_days, "index_bars": self._index_bars, "daily_bars": self._daily_bars,
            "daily_valuation": self._valuation, **(named if self._options.assets else {}),
        }  # fmt: skip
        return [
            *whole_units({"listings": self._listings, "factors": self._factors}, last),
            *monthly_units({"index_members": self._members}, min(origin, first), last),
            *monthly_units(monthly, first, last),
        ]

    def rows(self, table: str, first: date, last: date, store: VendorStore) -> pl.DataFrame:
        """Rows of a table from complete units; intervals of members from snapshots since their fixed beginning."""
        if table == "index_members":
            return intervals(read_months(store, table, min(parse_month(self._options.members_from), first), last))
        if table == "listings":
            listed = read_whole(store, table, last).with_columns(pl.lit(None, dtype=pl.String).alias("name"))
            return listed.filter(pl.col("listed_on") <= month_last_day(last))
        rows = read_months(store, table, first, last)
        return rows.drop("turnover_rate", "pe_ttm", "pb", "ps_ttm") if table == "daily_bars" else rows

    # --- whole tables ------------------------------------------------------------------------------------------------

    def _listings(self, caller: Caller, month: date, _store: VendorStore) -> pl.DataFrame:
        answer = caller.call("query_stock_basic")
        rows = frame(answer, LISTINGS, asset).filter((pl.col("kind") == STOCK) & pl.col("listed_on").is_not_null())
        rows = unique(rows, ["asset_id", "listed_on"], answer).filter(pl.col("listed_on") <= month_last_day(month))
        if self._options.assets:
            rows = rows.filter(pl.col("asset_id").is_in(list(self._options.assets)))
        enough(rows.height, len(self._options.assets) or 1, "listed securities", answer)
        rows = rows.with_columns(board("asset_id").alias("board"))
        return rows.select("asset_id", "name", "board", "listed_on", "delisted_on").sort("asset_id", "listed_on")

    def _factors(self, caller: Caller, month: date, store: VendorStore) -> pl.DataFrame:
        """Backward factor from each ex-day on: asset_id, day, adj_factor; 1 before the first."""
        parts: list[pl.DataFrame] = []
        for code in read_whole(store, "listings", month)["asset_id"].unique().sort():
            end = f"{month_last_day(month):%Y-%m-%d}"
            answer = caller.call("query_adjust_factor", code=vendor_code(code), start_date=BEGINNING, end_date=end)
            parts.append(_of(code, unique(frame(answer, FACTORS, asset), ["day"], answer), answer))
        return pl.concat(parts).sort("asset_id", "day")

    # --- months ------------------------------------------------------------------------------------------------------

    def _members(self, caller: Caller, month: date, store: VendorStore) -> pl.DataFrame:
        """Members at the month's last close: index_id, asset_id, day."""
        day = last_session(month)
        before = f"{month - timedelta(days=1):%Y-%m}"
        known = store.read("index_members", before) if before in store.units("index_members") else None
        parts: list[pl.DataFrame] = []
        for index in self.index_ids:
            answer = caller.call(MEMBER_CALLS[index], date=f"{day:%Y-%m-%d}")
            rows = unique(frame(answer, MEMBERS, asset), ["asset_id"], answer)
            if rows.filter(pl.col("updated") > day).height:
                raise BadAnswer(f"{answer.call}: members as of {rows['updated'].max()} came though {day} was asked for")
            enough(rows.height, 0 if known is None else known.filter(pl.col("index_id") == index).height, "members", answer)  # fmt: skip
            parts.append(rows.select(pl.lit(index).alias("index_id"), "asset_id", pl.lit(day).alias("day")))
        return pl.concat(parts).sort("index_id", "asset_id")

    def _trading_days(self, caller: Caller, month: date, _store: VendorStore) -> pl.DataFrame:
        answer = caller.call("query_trade_dates", **_span(month))
        fields = {
            "day": Field("calendar_date", "day", format=ISO, required=True),
            "open": Field("is_trading_day", "text"),
        }
        days = unique(frame(answer, fields, asset), ["day"], answer).filter(pl.col("open") == "1").select("day").sort("day")  # fmt: skip
        complete(days["day"].to_list(), month, answer)
        return days.with_columns((pl.col("day") == pl.col("day").max()).alias("is_month_end"))

    def _index_bars(self, caller: Caller, month: date, _store: VendorStore) -> pl.DataFrame:
        parts: list[pl.DataFrame] = []
        for index in self.index_ids:
            answer = self._lines(caller, index, month, INDEX)
            rows = _of(index, unique(frame(answer, INDEX, asset), ["day"], answer), answer, "index_id")
            complete(rows["day"].to_list(), month, answer)
            parts.append(rows)
        return pl.concat(parts).sort("index_id", "day")

    def _lines(self, caller: Caller, code: str, month: date, fields: Mapping[str, Field]) -> Answer:
        names = ",".join(field.column for field in fields.values())
        return caller.call(
            "query_history_k_data_plus", code=vendor_code(code), fields=names, **_span(month), frequency="d",
            adjustflag="3",
        )  # fmt: skip

    def _daily_bars(self, caller: Caller, month: date, store: VendorStore) -> pl.DataFrame:
        listings, sessions = read_whole(store, "listings", month), month_sessions(month)
        parts: list[pl.DataFrame] = []
        if self._options.assets:
            due = Counter[str]()  # a code used again is listed twice, perhaps in one month
            for code, start, end in listings.select("asset_id", "listed_on", "delisted_on").iter_rows():
                due[code] += sum(start <= day < (end or date.max) for day in sessions)
            for code in sorted(+due):
                answer = self._lines(caller, code, month, BARS)
                rows = _of(code, unique(frame(answer, BARS, asset), ["day"], answer), answer)
                enough(rows.height, due[code], "days", answer)
                parts.append(rows)
        else:
            for day in sessions:
                answer = caller.call("query_daily_history_k_AStock", date=f"{day:%Y-%m-%d}")
                rows = unique(frame(answer, BARS, asset), ["asset_id"], answer)
                if rows.filter(pl.col("day") != day).height:
                    raise BadAnswer(f"{answer.call}: rows of another day came")
                ended = pl.col("delisted_on")
                listed = listings.filter((pl.col("listed_on") <= day) & (ended.is_null() | (ended > day))).height
                enough(rows.height, listed, "bars", answer)
                parts.append(rows)
        if not parts:
            raise BadAnswer(f"source baostock: none of source.vendor.assets was listed in {month:%Y-%m}")
        return _canonical(pl.concat(parts), read_whole(store, "factors", month))

    def _valuation(self, caller: Caller, month: date, store: VendorStore) -> pl.DataFrame:
        """Ratios of the bars' call; market values are close × shares as last reported, for named securities only."""
        bars = store.read("daily_bars", f"{month:%Y-%m}").sort("day")
        shares = pl.DataFrame(schema={"asset_id": pl.String, "day": pl.Date, "total": pl.Float64, "float": pl.Float64})
        if self._options.assets:
            reports = self._reports(caller, "query_profit_data", PROFIT, month)
            known = reports.filter(pl.col("announced_on").is_not_null()).sort("announced_on", "report_period")
            shares = known.select("asset_id", pl.col("announced_on").alias("day"), "total", "float")
        rows = bars.join_asof(shares, on="day", by="asset_id", strategy="backward", check_sortedness=False)
        return rows.select(
            "asset_id", "day", "pe_ttm", "pb", "ps_ttm", pl.lit(None, dtype=pl.Float64).alias("dividend_yield_ttm"),
            "turnover_rate", (pl.col("close") * pl.col("total")).alias("total_market_value"),
            (pl.col("close") * pl.col("float")).alias("float_market_value"),
        ).sort("asset_id", "day")  # fmt: skip

    # --- named securities --------------------------------------------------------------------------------------------

    def _reports(self, caller: Caller, method: str, fields: Mapping[str, Field], month: date) -> pl.DataFrame:
        """Reports of the last quarters before the end of ``month``, remembered while this adapter lives."""
        parts: list[pl.DataFrame] = []
        for code in sorted(self._options.assets):
            for period in quarters_before(month_last_day(month) + timedelta(days=1), PERIODS):
                key = method, f"{code} {period}"
                if key not in self._asked:
                    answer = caller.call(method, code=vendor_code(code), year=period.year, quarter=period.month // 3)
                    self._asked[key] = _of(code, frame(answer, fields, asset), answer)
                parts.append(self._asked[key])
        return pl.concat(parts)

    def _fundamentals(self, caller: Caller, month: date, _store: VendorStore) -> pl.DataFrame:
        """``roe`` of the year to date and ``net_profit_yoy``, with the vendor's announcement days. Fractions as they come."""
        found = {
            "roe": self._reports(caller, "query_profit_data", PROFIT, month),
            "net_profit_yoy": self._reports(caller, "query_growth_data", GROWTH, month),
        }
        flag = pl.lit("0").alias("flag")
        items = {item: versions(rows.with_columns(pl.col(item).alias("value"), flag)) for item, rows in found.items()}
        return fundamentals(items).filter(pl.col("announced_on").is_between(month, month_last_day(month)))

    def _dividends(self, caller: Caller, month: date, _store: VendorStore) -> pl.DataFrame:
        parts: list[pl.DataFrame] = []
        for code in sorted(self._options.assets):
            key = "query_dividend_data", f"{code} {month.year}"
            if key not in self._asked:
                answer = caller.call(key[0], code=vendor_code(code), year=str(month.year), yearType="operate").once()  # fmt: skip
                self._asked[key] = _of(code, frame(answer, DIVIDENDS, asset), answer)
            parts.append(self._asked[key])
        rows = pl.concat(parts).filter(pl.col("ex_day").is_between(month, month_last_day(month)))
        cash, shares = pl.col("cash_per_share").fill_null(0.0), pl.col("bonus").fill_null(0.0) + pl.col("converted").fill_null(0.0)  # fmt: skip
        return (
            rows.group_by("asset_id", "ex_day")
            .agg(pl.col("announced_on").max(), cash.sum(), shares.sum().alias("shares_per_share"))
            .sort("asset_id", "ex_day")
        )


def _span(month: date) -> dict[str, str]:
    return {"start_date": f"{month:%Y-%m-%d}", "end_date": f"{month_last_day(month):%Y-%m-%d}"}


def _of(code: str, rows: pl.DataFrame, answer: Answer, column: str = "asset_id") -> pl.DataFrame:
    other = rows.filter(pl.col(column) != code)
    if other.height:
        raise BadAnswer(
            f"{answer.call}: rows of {other[column][0]} came though {code} was asked for. Nothing was stored"
        )
    return rows


def _canonical(rows: pl.DataFrame, factors: pl.DataFrame) -> pl.DataFrame:
    """Canonical bars (and the ratios that came along): suspended days repeat the last close, with nothing traded."""
    strange = rows.filter(~pl.col("status").is_in(["0", "1"]) | ~pl.col("st").is_in(["0", "1"]))
    if strange.height:
        raise BadAnswer(f"baostock: tradestatus or isST is neither 0 nor 1 in {strange.row(0)}; the vendor has changed")
    idle = pl.col("status") == "0"
    last = pl.coalesce("close", "prev_close")
    filled = rows.with_columns(
        *(pl.when(idle).then(last).otherwise(name).alias(name) for name in (*PRICES, "prev_close")),
        *(pl.when(idle).then(0.0).otherwise(name).alias(name) for name in ("volume", "amount")),
        idle.alias("is_suspended"), (pl.col("st") == "1").alias("is_st"), board("asset_id").alias("board"),
    ).sort("day")  # fmt: skip
    whole = filled.join_asof(factors.sort("day"), on="day", by="asset_id", strategy="backward", check_sortedness=False)
    names = [
        "asset_id",
        "day",
        *PRICES,
        "prev_close",
        "volume",
        "amount",
        "adj_factor",
        "is_suspended",
        "is_st",
        "board",
    ]
    ratios = ["turnover_rate", "pe_ttm", "pb", "ps_ttm"]
    return whole.with_columns(pl.col("adj_factor").fill_null(1.0)).select(*names, *ratios).sort("asset_id", "day")
