"""Akshare: its functions, names and units → canonical tables.

It scrapes public sites, security by security: unadjusted bars of Eastmoney, cumulative factors of Sina, listings of the
exchanges, dividends of cninfo. Adjusted prices are never asked for: Eastmoney's are rounded to cents and rewritten by
each dividend. Its own change of price is used on the first day of a listing alone: on an ex-day it is from the raw close of the day before.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from functools import partial

import polars as pl

from rotation_pipeline.market.calendar import month_last_day
from rotation_pipeline.sources.base import SourceError
from rotation_pipeline.sources.vendors.answers import Answer, Field, frame
from rotation_pipeline.sources.vendors.caller import Caller
from rotation_pipeline.sources.vendors.conversions import board, complete, unique
from rotation_pipeline.sources.vendors.errors import BadAnswer
from rotation_pipeline.sources.vendors.histories import (
    NAMES,
    canonical,
    due,
    explained,
    group,
    month_end,
    named,
    previous_closes,
    reaches,
    silent,
    stretches,
    whole_month,
)
from rotation_pipeline.sources.vendors.options import VendorOptions
from rotation_pipeline.sources.vendors.source import Unit, monthly_units, read_months, read_whole, whole_units
from rotation_pipeline.sources.vendors.store import VendorStore

ISO = "%Y-%m-%d"
DAY = Field("日期", "day", format=ISO, required=True)
BARS: dict[str, Field] = {
    "code": Field("股票代码", "text", required=True), "day": DAY,
    "open": Field("开盘", "number", required=True), "high": Field("最高", "number", required=True),
    "low": Field("最低", "number", required=True), "close": Field("收盘", "number", required=True),
    "change": Field("涨跌额", "number"),
    "volume": Field("成交量", "number", times=100, decimals=0, required=True),  # lots
    "amount": Field("成交额", "number", required=True),  # CNY
    "turnover_rate": Field("换手率", "number", over=100),  # % of float
}  # fmt: skip
INDEX: dict[str, Field] = {
    "day": Field("date", "day", format=ISO, required=True),
    **{name: Field(name, "number", required=True) for name in ("open", "high", "low", "close")},
    "volume": Field("volume", "number", times=100, decimals=0), "amount": Field("amount", "number"),
}  # fmt: skip
FACTORS = {
    "day": Field("date", "day", format="%Y-%m-%d %H:%M:%S", required=True),
    "adj_factor": Field("hfq_factor", "number", required=True),
}  # fmt: skip
VALUES = {
    "day": Field("数据日期", "day", format=ISO, required=True),
    "pe_ttm": Field("PE(TTM)", "number"), "pb": Field("市净率", "number"), "ps_ttm": Field("市销率", "number"),
    "total_market_value": Field("总市值", "number"), "float_market_value": Field("流通市值", "number"),  # CNY
}  # fmt: skip
DIVIDENDS = {
    "ex_day": Field("除权日", "day", format=ISO), "announced_on": Field("实施方案公告日期", "day", format=ISO),
    "cash": Field("派息比例", "number", over=10), "bonus": Field("送股比例", "number", over=10),  # per 10 shares
    "converted": Field("转增比例", "number", over=10),
}  # fmt: skip
SUSPENSIONS = {
    "code": Field("代码", "text", required=True),
    "since": Field("停牌时间", "day", format=ISO, required=True), "until": Field("停牌截止时间", "day", format=ISO),
}  # fmt: skip
LISTS: dict[str, tuple[tuple[str, str, tuple[str, str, str | None]], ...]] = {
    "SH": (
        ("stock_info_sh_name_code", "主板A股", ("证券代码", "上市日期", None)),
        ("stock_info_sh_name_code", "科创板", ("证券代码", "上市日期", None)),
        ("stock_info_sh_delist", "全部", ("公司代码", "上市日期", "暂停上市日期")),
    ),
    "SZ": (
        ("stock_info_sz_name_code", "A股列表", ("A股代码", "A股上市日期", None)),
        ("stock_info_sz_delist", "终止上市公司", ("证券代码", "上市日期", "终止上市日期")),
    ),
}
"""By exchange: function, argument, columns of code, first day and first day no longer listed. What akshare calls 暂停上市日期
in Shanghai is the exchange's DELIST_DATE."""
CANNOT = {
    "index_members": "akshare has today's members only: using them for the past would be survivorship bias",
    "index_weights": "akshare has the last month's weights only",
    "industries": "akshare has today's classification, or codes of several editions of Shenwan's in one column",
    "fundamentals": "akshare dates a report by its last update, with that update's values: what was public when is not known",
    "daily_bars.is_st": "akshare has no dated names; is_st is false on every day, so the 5 % limit is not applied",
    "daily_valuation.dividend_yield_ttm": "akshare has no dated yield; the column is null",
}  # fmt: skip


def _plain(code: str) -> str:
    return code


def prefixed(identifier: str) -> str:
    """``600519.SH`` → ``sh600519``, where a function takes the exchange along."""
    return f"{identifier[7:].lower()}{identifier[:6]}"


def written(day: date) -> str:
    """As akshare takes a day."""
    return f"{day:%Y%m%d}"


class AkshareAdapter:
    """Bars, valuation, dividends and listings of named securities, bars of indices. No past members, no reports."""

    name = "akshare"
    model = "akshare-2"
    first_month = date(1991, 1, 1)

    def __init__(self, index_ids: tuple[str, ...], options: VendorOptions) -> None:
        self.index_ids, self._options = index_ids, options
        self.selection: Mapping[str, object] = {"index_ids": index_ids}
        self.assets = named(self.name, options.assets)
        strange = [code for code in self.assets if (code[0] == "6") != code.endswith(".SH") or code.endswith(".BJ")]
        if strange:
            raise SourceError(
                f"source akshare can't be asked for {strange[0]}: it reads the exchange from the number, Shanghai from a first "
                "6 and Shenzhen from any other; Beijing's lists are not read"
            )
        self.cannot: Mapping[str, str] = CANNOT
        self._group = group(self.assets)

    def units(self, first: date, last: date) -> list[Unit]:
        """Listings; each security's history, factors, values and dividends; then month by month."""
        left = self._options.leave_out
        own = {
            "bars": self._bars, "factors": self._factors,
            **({} if "daily_valuation" in left else {"values": self._values}),
            **({} if "dividends" in left else {"dividends": self._dividends}),
        }  # fmt: skip
        histories = {f"{kind}_{code}": partial(fetch, code) for code in self.assets for kind, fetch in own.items()}
        monthly = {"index_bars": self._index_bars, f"suspensions_{self._group}": self._suspensions}
        return [
            *whole_units({f"listings_{self._group}": self._listings, **histories}, last),
            *monthly_units(monthly, first, last),
        ]

    def rows(self, table: str, first: date, last: date, store: VendorStore) -> pl.DataFrame:
        """Canonical rows, made from histories and suspensions whenever they are asked for."""
        if table == "index_bars":
            return read_months(store, table, first, last)
        if table == "trading_days":
            days = read_months(store, "index_bars", first, last).select("day").unique().sort("day")
            return days.with_columns((pl.col("day") == pl.col("day").max().over(pl.col("day").dt.month_start())).alias("is_month_end"))  # fmt: skip
        if table == "listings":
            listed = read_whole(store, f"listings_{self._group}", last).with_columns(pl.lit(None, dtype=pl.String).alias("name"))  # fmt: skip
            return listed.filter(pl.col("listed_on") <= month_last_day(last))
        if table == "dividends":
            return pl.concat([read_whole(store, f"dividends_{code}", last) for code in self.assets])
        parts = [
            self._of_months(table, code, low, high, store)
            for code in self.assets
            for low, high in stretches(store, [f"bars_{code}", f"listings_{self._group}"], first, last)
        ]
        return pl.concat(parts).sort("asset_id", "day")

    # --- what is stored ----------------------------------------------------------------------------------------------

    def _index_bars(self, caller: Caller, month: date, _store: VendorStore) -> pl.DataFrame:
        parts: list[pl.DataFrame] = []
        for index in self.index_ids:
            span = {"start_date": written(month), "end_date": written(month_last_day(month))}
            answer = _bare(caller.call("stock_zh_index_daily_em", symbol=prefixed(index), **span), INDEX)
            rows = unique(frame(answer, INDEX, _plain), ["day"], answer).sort("day")
            complete(rows["day"].to_list(), month, answer)
            parts.append(_within(rows, *whole_month(month), answer).select(pl.lit(index).alias("index_id"), pl.all()))
        return pl.concat(parts)

    def _listings(self, caller: Caller, month: date, _store: VendorStore) -> pl.DataFrame:
        parts: list[pl.DataFrame] = []
        for exchange in sorted({code[7:] for code in self.assets}):
            for method, symbol, (code, since, until) in LISTS[exchange]:
                answer = caller.call(method, symbol=symbol)
                fields = {"code": Field(code, "text", required=True), "listed_on": Field(since, "day", format=ISO)}
                ends = {} if until is None else {"delisted_on": Field(until, "day", format=ISO)}
                rows = frame(answer, {**fields, **ends}, _plain).with_columns(
                    (pl.col("code") + f".{exchange}").alias("asset_id"),
                    *([] if ends else [pl.lit(None, dtype=pl.Date).alias("delisted_on")]),
                )
                parts.append(
                    rows.filter(pl.col("asset_id").is_in(list(self.assets)) & pl.col("listed_on").is_not_null())
                )
        rows = pl.concat([part.select("asset_id", "listed_on", "delisted_on") for part in parts])
        # one that left the exchange may stand in both lists for a while
        rows = rows.sort("asset_id", "listed_on", "delisted_on", nulls_last=True).unique(["asset_id", "listed_on"], keep="first", maintain_order=True)  # fmt: skip
        missing = sorted(set(self.assets) - set(rows["asset_id"]))
        if missing:
            raise BadAnswer(
                f"akshare: {', '.join(missing[:5])} of source.vendor.assets stand in no list of their exchange; the answer "
                "was cut, or they are no shares. Nothing was stored"
            )
        rows = rows.filter(pl.col("listed_on") <= month_last_day(month)).with_columns(
            board("asset_id").alias("board"), pl.lit(None, dtype=pl.String).alias("name")
        )
        return rows.select("asset_id", "name", "board", "listed_on", "delisted_on")

    def _bars(self, code: str, caller: Caller, month: date, store: VendorStore) -> pl.DataFrame:
        last = month_last_day(month)
        span = {"period": "daily", "start_date": "19900101", "end_date": written(last), "adjust": ""}
        answer = caller.call("stock_zh_a_hist", symbol=code[:6], **span)
        spells = self._listed(code, month, store)
        if not answer.rows:
            if spells:
                raise BadAnswer(
                    f"{answer.call}: no bars of {code} came though it was listed; the site may refuse this address. Nothing "
                    "was stored"
                )
            answer = _bare(answer, BARS)
        rows = _within(unique(frame(answer, BARS, _plain), ["day"], answer), date(1990, 1, 1), last, answer).sort("day")
        if set(rows["code"]) - {code[:6]}:
            raise BadAnswer(f"{answer.call}: rows of another security came. Nothing was stored")
        if spells:
            reaches(code, rows, spells[0][0], "akshare")
            end = month_end(month)
            if spells[-1][1] is None and rows["day"][-1] < end and code not in self._halted(caller, end):
                raise BadAnswer(
                    f"{answer.call}: the bars end on {rows['day'][-1]}, and nothing says that {code} was suspended on "
                    f"{end}; the vendor sent half an answer, or has not finished this month. Nothing was stored"
                )
        return rows.drop("code")

    def _factors(self, code: str, caller: Caller, month: date, _store: VendorStore) -> pl.DataFrame:
        answer = caller.call("stock_zh_a_daily", symbol=prefixed(code), adjust="hfq-factor")
        rows = unique(frame(answer, FACTORS, _plain), ["day"], answer).sort("day")
        wrong = rows.filter(pl.col("adj_factor") <= 0)
        if wrong.height:
            raise BadAnswer(f"{answer.call}: a factor of {wrong['adj_factor'][0]} on {wrong['day'][0]}")
        return rows.filter(pl.col("day") <= month_last_day(month))

    def _values(self, code: str, caller: Caller, month: date, _store: VendorStore) -> pl.DataFrame:
        answer = caller.call("stock_value_em", symbol=code[:6])
        rows = unique(frame(answer, VALUES, _plain), ["day"], answer).sort("day")
        return rows.filter(pl.col("day") <= month_last_day(month))

    def _dividends(self, code: str, caller: Caller, month: date, _store: VendorStore) -> pl.DataFrame:
        """Distributions by ex-day; several of one day add up, and plans have none."""
        answer = caller.call("stock_dividend_cninfo", symbol=code[:6]).once()
        rows = frame(answer, DIVIDENDS, _plain)
        rows = rows.filter(pl.col("ex_day") <= month_last_day(month))
        shares = pl.col("bonus").fill_null(0.0) + pl.col("converted").fill_null(0.0)
        found = rows.group_by("ex_day").agg(
            pl.col("announced_on").max(), pl.col("cash").fill_null(0.0).sum().alias("cash_per_share"),
            shares.sum().alias("shares_per_share"),
        )  # fmt: skip
        return found.select(pl.lit(code).alias("asset_id"), pl.all()).sort("ex_day")

    def _suspensions(self, caller: Caller, month: date, store: VendorStore) -> pl.DataFrame:
        """Days of the month on which a named security was silent and the vendor says it was suspended: asset_id, day."""
        quiet: dict[date, list[str]] = {}
        expected = 0
        for code in self.assets:
            days = self._due(code, *whole_month(month), store)
            expected += len(days)
            for day in silent(self._history(code, month, store), days):
                quiet.setdefault(day, []).append(code)
        found = [
            {"asset_id": code, "day": day}
            for day, codes in sorted(quiet.items())
            for halted in [self._halted(caller, day)]
            for code in codes
            if code in halted
        ]
        explained(month, expected, expected - sum(map(len, quiet.values())) + len(found), "akshare", store)
        return pl.DataFrame(found, schema={"asset_id": pl.String, "day": pl.Date})

    def _halted(self, caller: Caller, day: date) -> set[str]:
        """Named securities that were suspended the whole of ``day``, or for longer."""
        answer = caller.call("stock_tfp_em", date=written(day))
        rows = frame(answer, SUSPENSIONS, _plain)
        rows = rows.filter((pl.col("since") <= day) & (pl.col("until").is_null() | (pl.col("until") >= day)))
        numbers = set(rows["code"])
        return {code for code in self.assets if code[:6] in numbers}

    # --- what is made of it ------------------------------------------------------------------------------------------

    def _listed(self, code: str, month: date, store: VendorStore) -> list[tuple[date, date | None]]:
        """First day and first day no longer listed of each listing of ``code`` known in ``month``, ascending."""
        listed = read_whole(store, f"listings_{self._group}", month).filter(pl.col("asset_id") == code)
        return list(listed.select("listed_on", "delisted_on").sort("listed_on").iter_rows())

    def _due(self, code: str, first: date, last: date, store: VendorStore) -> list[date]:
        spells = self._listed(code, last.replace(day=1), store)
        return sorted({day for spell in spells for day in due(*spell, first, last)})

    def _history(self, code: str, month: date, store: VendorStore) -> pl.DataFrame:
        """Traded days with ``prev_close``; on the first day of each listing it is what the vendor's change of price implies: the
        last close before it is none, or that of another company."""
        bars, factors = (read_whole(store, f"{kind}_{code}", month) for kind in ("bars", "factors"))
        begun = [bars.filter(pl.col("day") >= start)["day"].min() for start, _ in self._listed(code, month, store)]
        issue = (pl.col("close") - pl.col("change").fill_null(0.0)).round(2)
        fresh = pl.col("prev_close").is_null() | pl.col("day").is_in([day for day in begun if day is not None])
        whole = previous_closes(bars, factors)
        return whole.with_columns(pl.when(fresh).then(issue).otherwise("prev_close").alias("prev_close")).drop("change")

    def _of_months(self, table: str, code: str, first: date, last: date, store: VendorStore) -> pl.DataFrame:
        history = self._history(code, last, store)
        halts = read_months(store, f"suspensions_{self._group}", first, last)
        halted = set(halts.filter(pl.col("asset_id") == code)["day"])
        days = self._due(code, first, month_last_day(last), store)
        bars = canonical(code, history, days, halted).with_columns(pl.lit(value=False).alias("is_st"))
        if table == "daily_bars":
            return bars.select(NAMES)
        values = read_whole(store, f"values_{code}", last)
        rows = bars.select("asset_id", "day", "turnover_rate").join(values, on="day", how="left")
        return rows.select(
            "asset_id", "day", "pe_ttm", "pb", "ps_ttm", pl.lit(None, dtype=pl.Float64).alias("dividend_yield_ttm"),
            "turnover_rate", "total_market_value", "float_market_value",
        )  # fmt: skip


def _bare(answer: Answer, fields: Mapping[str, Field]) -> Answer:
    """An answer without rows comes without columns too: here they are."""
    return answer if answer.rows else Answer(answer.call, [field.column for field in fields.values()], [])


def _within(rows: pl.DataFrame, first: date, last: date, answer: Answer) -> pl.DataFrame:
    other = rows.filter(~pl.col("day").is_between(first, last))
    if other.height:
        raise BadAnswer(f"{answer.call}: rows of {other['day'][0]} came, which were not asked for. Nothing was stored")
    return rows
