"""Tushare: its calls, names and units → canonical tables.

Bars come from ``daily`` and ``adj_factor`` and never from ``pro_bar``, which rebuilds the previous close by shifting raw
closes and so loses the exchange's ex-rights close. The whole market is asked for day by day.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta

import polars as pl

from rotation_pipeline.market.calendar import FIRST_SESSION, month_last_day, month_sessions, parse_month
from rotation_pipeline.sources.vendors.answers import Answer, Field, frame
from rotation_pipeline.sources.vendors.caller import Caller
from rotation_pipeline.sources.vendors.conversions import (
    board,
    complete,
    enough,
    fundamentals,
    intervals,
    profitability,
    quarters_before,
    unique,
    versions,
)  # fmt: skip
from rotation_pipeline.sources.vendors.errors import BadAnswer
from rotation_pipeline.sources.vendors.options import VendorOptions
from rotation_pipeline.sources.vendors.source import Unit, monthly_units, read_months, read_whole, whole_units
from rotation_pipeline.sources.vendors.store import VendorStore

CODE = Field("ts_code", "asset", required=True)
DAY = Field("trade_date", "day", required=True)
BARS: dict[str, Field] = {
    "asset_id": CODE, "day": DAY,
    **{name: Field(name, "number") for name in ("open", "high", "low", "close")},
    "prev_close": Field("pre_close", "number"),
    "volume": Field("vol", "number", times=100, decimals=0),  # lots
    "amount": Field("amount", "number", times=1000, decimals=2),  # thousand CNY
}  # fmt: skip
FACTORS = {"asset_id": CODE, "day": DAY, "adj_factor": Field("adj_factor", "number")}
SUSPENSIONS = {
    "asset_id": CODE, "day": DAY, "part": Field("suspend_timing", "text"), "kind": Field("suspend_type", "text"),
}  # fmt: skip
INDEX = {
    "index_id": CODE, "day": DAY,
    **{name: Field(name, "number") for name in ("open", "high", "low", "close")},
    "volume": BARS["volume"], "amount": BARS["amount"],
}  # fmt: skip
VALUATION = {
    "asset_id": CODE, "day": DAY,
    "pe_ttm": Field("pe_ttm", "number"), "pb": Field("pb", "number"), "ps_ttm": Field("ps_ttm", "number"),
    "dividend_yield_ttm": Field("dv_ttm", "number", over=100),  # %
    "turnover_rate": Field("turnover_rate", "number", over=100),  # % of float
    "total_market_value": Field("total_mv", "number", times=10_000, decimals=2),  # ten thousand CNY
    "float_market_value": Field("circ_mv", "number", times=10_000, decimals=2),
}  # fmt: skip
WEIGHTS = {
    "index_id": Field("index_code", "asset", required=True), "asset_id": Field("con_code", "asset", required=True),
    "day": DAY, "weight": Field("weight", "number", over=100),
}  # fmt: skip
DIVIDENDS = {
    "asset_id": CODE, "ex_day": Field("ex_date", "day"), "state": Field("div_proc", "text", required=True),
    "planned_on": Field("ann_date", "day"), "terms_on": Field("imp_ann_date", "day"),
    "cash_per_share": Field("cash_div_tax", "number"), "shares_per_share": Field("stk_div", "number"),
}  # fmt: skip
LISTINGS = {
    "asset_id": CODE, "name": Field("name", "text"),
    "listed_on": Field("list_date", "day"), "delisted_on": Field("delist_date", "day"),
}  # fmt: skip
NAMES = {
    "asset_id": CODE, "name": Field("name", "text", required=True),
    "valid_from": Field("start_date", "day", required=True), "until": Field("end_date", "day"),
}  # fmt: skip
INDUSTRIES = {
    "asset_id": CODE, "industry": Field("l1_name", "text", required=True),
    "valid_from": Field("in_date", "day", required=True), "valid_to": Field("out_date", "day"),
}  # fmt: skip
DONE = "实施"
"""State of a dividend that was carried out."""
DIVIDEND_STATES = frozenset(
    {DONE, "预案", "股东大会通过", "股东大会未通过", "股东提议", "停止实施", "不分配", "延期实施", "未通过", "取消"}
)
PERIODS = 7
"""Quarters whose reports may be announced in a month: annual reports and their revisions up to a year and a half late."""


def asset(code: str) -> str:
    """``600519.SH`` as tushare writes it is canonical already. Raises ValueError for anything else, suffix and all."""
    if len(code) != 9 or not code[:6].isdigit() or code[6:] not in (".SH", ".SZ", ".BJ"):
        raise ValueError("expected six digits and .SH, .SZ or .BJ; the suffix is never guessed")
    return code


def _written(day: date) -> str:
    return f"{day:%Y%m%d}"


class TushareAdapter:
    """All canonical tables. ``index_ids``: indices whose bars and members are wanted."""

    name = "tushare"
    model = "tushare-2"
    first_month = date(1991, 1, 1)
    cannot: Mapping[str, str] = {}

    def __init__(self, index_ids: tuple[str, ...], options: VendorOptions) -> None:
        self.index_ids, self._options = index_ids, options
        self.selection: Mapping[str, object] = {
            "index_ids": index_ids,
            "assets": sorted(options.assets),
            "industry_scheme": options.industry_scheme,
        }
        self._reports: dict[tuple[str, object], pl.DataFrame] = {}

    def units(self, first: date, last: date) -> list[Unit]:
        """Whole tables first, for bars need them; then membership since its fixed beginning; then month by month."""
        origin = parse_month(self._options.members_from)
        whole = {"listings": self._listings, "st_spells": self._st_spells, "industries": self._industries}
        monthly = {
            "trading_days": self._trading_days, "index_bars": self._index_bars, "daily_bars": self._daily_bars,
            "daily_valuation": self._valuation, "fundamentals": self._fundamentals, "dividends": self._dividends,
        }  # fmt: skip
        return [
            *whole_units(whole, last),
            *monthly_units({"index_weights": self._index_weights}, min(origin, first), last),
            *monthly_units(monthly, first, last),
        ]

    def rows(self, table: str, first: date, last: date, store: VendorStore) -> pl.DataFrame:
        """Rows of a table from complete units; intervals of members from snapshots since their fixed beginning."""
        if table == "index_members":
            origin = parse_month(self._options.members_from)
            return intervals(read_months(store, "index_weights", min(origin, first), last))
        if table == "listings":
            # today's name is no name of the past: it is kept in the store and not handed on
            listed = read_whole(store, table, last).with_columns(pl.lit(None, dtype=pl.String).alias("name"))
            return listed.filter(pl.col("listed_on") <= month_last_day(last))
        if table == "industries":
            return read_whole(store, table, last)
        return read_months(store, table, first, last)

    # --- what months have in common ----------------------------------------------------------------------------------

    def _wanted(self, rows: pl.DataFrame) -> pl.DataFrame:
        return rows.filter(pl.col("asset_id").is_in(list(self._options.assets))) if self._options.assets else rows

    def _listings(self, caller: Caller, month: date, _store: VendorStore) -> pl.DataFrame:
        parts = [
            (answer, frame(answer, LISTINGS, asset))
            for state in ("L", "D", "P")
            for answer in [
                caller.pages("stock_basic", exchange="", list_status=state, fields="ts_code,name,list_date,delist_date")
            ]
        ]
        enough(parts[0][1].height, 1, "listed securities", parts[0][0])
        rows = pl.concat([rows for _, rows in parts]).filter(pl.col("listed_on").is_not_null())
        rows = unique(rows, ["asset_id", "listed_on"], parts[0][0]).filter(pl.col("listed_on") <= month_last_day(month))
        rows = self._wanted(rows.with_columns(board("asset_id").alias("board")))
        return rows.select("asset_id", "name", "board", "listed_on", "delisted_on").sort("asset_id", "listed_on")

    def _st_spells(self, caller: Caller, _month: date, _store: VendorStore) -> pl.DataFrame:
        """Days under special treatment, from the names of the time: ST and *ST are part of the name. Ends exclusive."""
        answer = caller.pages("namechange", fields="ts_code,name,start_date,end_date")
        rows = frame(answer, NAMES, asset).unique(maintain_order=True)
        rows = self._wanted(rows.filter(pl.col("name").str.to_uppercase().str.contains("ST", literal=True)))
        ends = pl.col("until").dt.offset_by("1d")
        return rows.select("asset_id", "valid_from", ends.alias("valid_to")).sort(pl.all())

    def _industries(self, caller: Caller, _month: date, _store: VendorStore) -> pl.DataFrame:
        scheme = self._options.industry_scheme
        classes = caller.pages("index_classify", level="L1", src=scheme, fields="index_code,industry_name")
        parts = [
            frame(
                caller.pages("index_member_all", l1_code=code, is_new=state, fields="l1_name,ts_code,in_date,out_date"),
                INDUSTRIES,
                asset,
            )
            for code in sorted(str(value) for value in classes.values("index_code"))
            for state in ("Y", "N")
        ]
        enough(len(parts), 2, "industries", classes)
        rows = self._wanted(pl.concat(parts)).unique(["asset_id", "industry", "valid_from", "valid_to"])
        names = ["asset_id", "valid_from", "valid_to", "scheme", "industry"]
        return rows.with_columns(pl.lit(f"{scheme} L1").alias("scheme")).select(names).sort(names)

    # --- months ------------------------------------------------------------------------------------------------------

    def _trading_days(self, caller: Caller, month: date, _store: VendorStore) -> pl.DataFrame:
        answer = caller.pages(
            "trade_cal", exchange="SSE", start_date=_written(month), end_date=_written(month_last_day(month)), is_open="1",
            fields="cal_date,is_open",
        )  # fmt: skip
        days = frame(answer, {"day": Field("cal_date", "day", required=True)}, asset).sort("day")
        complete(days["day"].to_list(), month, answer)
        return unique(days, ["day"], answer).with_columns((pl.col("day") == pl.col("day").max()).alias("is_month_end"))

    def _index_bars(self, caller: Caller, month: date, _store: VendorStore) -> pl.DataFrame:
        parts: list[pl.DataFrame] = []
        for index in self.index_ids:
            answer = caller.pages(
                "index_daily", ts_code=index, start_date=_written(month), end_date=_written(month_last_day(month)),
                fields="ts_code,trade_date,open,high,low,close,vol,amount",
            )  # fmt: skip
            rows = unique(frame(answer, INDEX, asset), ["index_id", "day"], answer)
            if set(rows["index_id"]) - {index}:
                raise BadAnswer(f"{answer.call}: rows of {', '.join(sorted(set(rows['index_id'])))} came instead")
            complete(rows["day"].to_list(), month, answer)
            parts.append(rows)
        return pl.concat(parts).sort("index_id", "day")

    def _index_weights(self, caller: Caller, month: date, store: VendorStore) -> pl.DataFrame:
        parts: list[pl.DataFrame] = []
        before = month - timedelta(days=1)
        earlier = store.units("index_weights")
        known = store.read("index_weights", f"{before:%Y-%m}") if f"{before:%Y-%m}" in earlier else None
        for index in self.index_ids:
            answer = caller.pages(
                "index_weight", index_code=index, start_date=_written(month), end_date=_written(month_last_day(month)),
                fields="index_code,con_code,trade_date,weight",
            )  # fmt: skip
            rows = unique(frame(answer, WEIGHTS, asset), ["index_id", "asset_id", "day"], answer)
            # before the vendor's records begin there is nothing; a month without a snapshot after that is half an answer
            members = 0 if known is None else known.filter(pl.col("index_id") == index)["asset_id"].n_unique()
            last = rows.filter(pl.col("day") == pl.col("day").max())
            enough(last.height, members, "members", answer)
            parts.append(rows)
        text = pl.lit("tushare index_weight").alias("derivation")
        return pl.concat(parts).with_columns(text).sort("index_id", "day", "asset_id")

    def _daily_bars(self, caller: Caller, month: date, store: VendorStore) -> pl.DataFrame:
        listings, spells = read_whole(store, "listings", month), read_whole(store, "st_spells", month)
        parts: list[pl.DataFrame] = []
        before = pl.DataFrame(schema={"asset_id": pl.String, "day": pl.Date, "close": pl.Float64, "adj_factor": pl.Float64})  # fmt: skip
        for day in month_sessions(month):
            answer = self._of_day(caller, "daily", day, "ts_code,trade_date,open,high,low,close,pre_close,vol,amount")
            bars = self._wanted(unique(frame(answer, BARS, asset), ["asset_id"], answer))
            _only(bars, day, answer)
            factors = self._factors(caller, day, bars)
            listed = _listed(listings, day)
            silent = self._suspended(caller, day, listed, bars)
            enough(bars.height + len(silent), listed.height, "bars and suspensions", answer)
            carried = self._carried(caller, silent, listings, before, day)
            carried = carried.join(factors, on="asset_id", how="left", suffix="_today")
            carried = carried.with_columns(pl.coalesce("adj_factor_today", "adj_factor").alias("adj_factor"))
            whole = pl.concat([bars.join(factors, on="asset_id", how="left").with_columns(
                pl.lit(value=False).alias("is_suspended")), _repeated(carried, day)], how="diagonal")  # fmt: skip
            before = pl.concat([before.join(whole, on="asset_id", how="anti"), whole.select(before.columns)])
            parts.append(whole)
        return _with_treatment(pl.concat(parts), spells)

    def _of_day(self, caller: Caller, method: str, day: date, fields: str) -> Answer:
        return caller.pages(method, trade_date=_written(day), fields=fields)

    def _factors(self, caller: Caller, day: date, bars: pl.DataFrame) -> pl.DataFrame:
        """Cumulative factors of a day: asset_id, adj_factor."""
        answer = self._of_day(caller, "adj_factor", day, "ts_code,trade_date,adj_factor")
        rows = unique(frame(answer, FACTORS, asset), ["asset_id"], answer)
        _only(rows, day, answer)
        enough(bars.join(rows, on="asset_id", how="semi").height, bars.height, "factors", answer)
        return rows.select("asset_id", "adj_factor")

    def _suspended(self, caller: Caller, day: date, listed: pl.DataFrame, bars: pl.DataFrame) -> list[str]:
        """Listed securities without a bar that the vendor says were suspended the whole day."""
        answer = self._of_day(caller, "suspend_d", day, "ts_code,trade_date,suspend_timing,suspend_type")
        rows = frame(answer, SUSPENSIONS, asset)
        _only(rows, day, answer)
        whole_day = rows.filter((pl.col("kind") == "S") & pl.col("part").is_null())
        silent = listed.join(bars, on="asset_id", how="anti").join(whole_day, on="asset_id", how="semi")
        return silent["asset_id"].unique().sort().to_list()

    def _carried(
        self, caller: Caller, silent: list[str], listings: pl.DataFrame, before: pl.DataFrame, day: date
    ) -> pl.DataFrame:
        """Last close and factor of each suspended security: from earlier in the month, else asked for."""
        known = before.filter(pl.col("asset_id").is_in(silent))
        rows = [known.select(before.columns)]
        for code in sorted(set(silent) - set(known["asset_id"])):
            start = listings.filter((pl.col("asset_id") == code) & (pl.col("listed_on") <= day))["listed_on"].max()
            assert isinstance(start, date)
            span = {"start_date": _written(max(start, FIRST_SESSION)), "end_date": _written(day - timedelta(days=1))}
            answer = caller.pages("daily", ts_code=code, **span, fields=",".join(f.column for f in BARS.values()))
            bars = frame(answer, BARS, asset).filter(pl.col("asset_id") == code)
            if bars.height == 0:
                continue  # suspended since its listing: there is no price to repeat
            last = bars.sort("day").tail(1)
            when = _written(last["day"][0])
            found = caller.pages("adj_factor", ts_code=code, start_date=when, end_date=when, fields="ts_code,trade_date,adj_factor")  # fmt: skip
            factor = frame(found, FACTORS, asset).select("asset_id", "adj_factor")
            rows.append(last.join(factor, on="asset_id", how="left").select(before.columns))
        return pl.concat(rows)

    def _valuation(self, caller: Caller, month: date, store: VendorStore) -> pl.DataFrame:
        traded = store.read("daily_bars", f"{month:%Y-%m}").filter(~pl.col("is_suspended"))
        fields = ",".join(field.column for field in VALUATION.values())
        parts: list[pl.DataFrame] = []
        for day in month_sessions(month):
            answer = self._of_day(caller, "daily_basic", day, fields)
            rows = self._wanted(unique(frame(answer, VALUATION, asset), ["asset_id"], answer))
            _only(rows, day, answer)
            enough(rows.height, traded.filter(pl.col("day") == day).height, "valuations", answer)
            parts.append(rows)
        return pl.concat(parts).sort("asset_id", "day")

    def _dividends(self, caller: Caller, month: date, _store: VendorStore) -> pl.DataFrame:
        """Distributions carried out, by ex-day; several of one day add up. Known since the announcement of the terms."""
        parts: list[pl.DataFrame] = []
        # the period tells two equal payments of one day apart from one row sent twice
        fields = ",".join([*(field.column for field in DIVIDENDS.values()), "end_date"])
        for day in month_sessions(month):
            answer = caller.pages("dividend", ex_date=_written(day), fields=fields).once()
            rows = frame(answer, DIVIDENDS, asset)
            strange = sorted(set(rows["state"].drop_nulls()) - DIVIDEND_STATES)
            if strange:
                raise BadAnswer(f"{answer.call}: div_proc {strange[0]!r} is no state known; the vendor has changed")
            done = rows.filter(pl.col("state") == DONE)
            _only(done, day, answer, "ex_day")
            parts.append(done)
        rows = self._wanted(pl.concat(parts)).with_columns(pl.coalesce("terms_on", "planned_on").alias("announced_on"))
        return (
            rows.group_by("asset_id", "ex_day")
            .agg(pl.col("announced_on").max(), pl.col("cash_per_share", "shares_per_share").fill_null(0.0).sum())
            .sort("asset_id", "ex_day")
        )

    # --- reports -----------------------------------------------------------------------------------------------------

    def _fundamentals(self, caller: Caller, month: date, _store: VendorStore) -> pl.DataFrame:
        """Items announced in the month. ``roe_ttm`` = trailing profit over equity at the period's end, both as first
        announced; ``roe`` is the vendor's, of the year to date."""
        after = month_last_day(month) + timedelta(days=1)
        profit = versions(self._statement(caller, "income", "n_income_attr_p", "f_ann_date", after, PERIODS + 5))
        equity = versions(self._statement(caller, "balancesheet", "total_hldr_eqy_exc_min_int", "f_ann_date", after, PERIODS))  # fmt: skip
        items = {
            **profitability(profit, equity),
            "roe": versions(self._statement(caller, "fina_indicator", "roe", "ann_date", after, PERIODS, over=100)),
            "net_profit_yoy": versions(
                self._statement(caller, "fina_indicator", "netprofit_yoy", "ann_date", after, PERIODS, over=100)
            ),
        }
        announced = fundamentals(items).filter(pl.col("announced_on").is_between(month, month_last_day(month)))
        return announced.filter(pl.col("report_period").is_in(quarters_before(after, PERIODS)))

    def _statement(
        self, caller: Caller, method: str, column: str, announced: str, after: date, periods: int, *, over: float = 1.0
    ) -> pl.DataFrame:
        """One column of the reports of the last ``periods`` quarters: asset, period, announcement, flag, value."""
        wanted = quarters_before(after, periods)
        if self._options.assets:
            parts = [self._asked(caller, method, {"ts_code": code}) for code in sorted(self._options.assets)]
        else:
            parts = [self._asked(caller, f"{method}_vip", {"period": _written(period)}) for period in wanted]
        names = ["asset_id", "report_period", "announced_on", "flag"]
        rows = pl.concat(parts).filter(pl.col("report_period").is_in(wanted))
        return rows.select(
            *names[:2], pl.col(announced).alias(names[2]), names[3], (pl.col(column) / over).alias("value")
        )

    def _asked(self, caller: Caller, method: str, params: dict[str, str]) -> pl.DataFrame:
        """Reports of one call, remembered while this adapter lives: neighbouring months need the same ones."""
        key = method, tuple(params.items())
        if key not in self._reports:
            fields = REPORTS[method.removesuffix("_vip")]
            kind = {} if method.startswith("fina") else {"report_type": "1"}
            columns = ",".join(field.column for field in fields.values())
            answer = caller.pages(method, **params, **kind, fields=columns)
            self._reports[key] = frame(answer, fields, asset).unique(maintain_order=True)
        return self._reports[key]


_REPORT = {
    "asset_id": CODE, "report_period": Field("end_date", "day", required=True), "ann_date": Field("ann_date", "day"),
    "flag": Field("update_flag", "text"),
}  # fmt: skip
REPORTS: dict[str, dict[str, Field]] = {
    "fina_indicator": {**_REPORT, "roe": Field("roe", "number"), "netprofit_yoy": Field("netprofit_yoy", "number")},
    "income": {**_REPORT, "f_ann_date": Field("f_ann_date", "day"), "n_income_attr_p": Field("n_income_attr_p", "number")},
    "balancesheet": {
        **_REPORT, "f_ann_date": Field("f_ann_date", "day"),
        "total_hldr_eqy_exc_min_int": Field("total_hldr_eqy_exc_min_int", "number"),
    },
}  # fmt: skip


def _only(rows: pl.DataFrame, day: date, answer: Answer, column: str = "day") -> None:
    other = rows.filter(pl.col(column).ne_missing(day))
    if other.height:
        raise BadAnswer(
            f"{answer.call}: rows of {other[column][0]} came though {day} was asked for. Nothing was stored"
        )


def _listed(listings: pl.DataFrame, day: date) -> pl.DataFrame:
    end = pl.col("delisted_on")
    return listings.filter((pl.col("listed_on") <= day) & (end.is_null() | (end > day)))


def _repeated(carried: pl.DataFrame, day: date) -> pl.DataFrame:
    """Rows of a suspended day: prices repeat the last close, nothing was traded."""
    prices = [pl.col("close").alias(name) for name in ("open", "high", "low", "prev_close")]
    nothing = [pl.lit(0.0).alias(name) for name in ("volume", "amount")]
    flags = [pl.lit(day).alias("day"), pl.lit(value=True).alias("is_suspended")]
    return carried.select("asset_id", *flags, *prices, "close", *nothing, "adj_factor")


def _with_treatment(bars: pl.DataFrame, spells: pl.DataFrame) -> pl.DataFrame:
    """Canonical columns with ``is_st`` from spells and ``board`` from the number."""
    hits = bars.select("asset_id", "day").join(spells, on="asset_id").filter(
        (pl.col("valid_from") <= pl.col("day")) & (pl.col("valid_to").is_null() | (pl.col("valid_to") > pl.col("day")))
    )  # fmt: skip
    flagged = hits.select("asset_id", "day", pl.lit(value=True).alias("is_st")).unique()
    rows = bars.join(flagged, on=["asset_id", "day"], how="left").with_columns(pl.col("is_st").fill_null(value=False))
    names = ["asset_id", "day", "open", "high", "low", "close", "prev_close", "volume", "amount", "adj_factor", "is_suspended", "is_st"]  # fmt: skip
    return rows.select(*names, board("asset_id").alias("board")).sort("asset_id", "day")
