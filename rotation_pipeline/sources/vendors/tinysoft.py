"""TinySoft: its calls, names and units → canonical tables.

Bars come through ``query`` without adjustment, everything else through programs in TinySoft's language: tables by number,
functions of the index, and the exchange's previous close. Days are whole numbers (20220104, 0 for none) in tables and OLE
doubles in bars. Nothing of a program comes from the vendor; codes are checked before they are written into one.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from functools import partial

import polars as pl

from rotation_pipeline.market.calendar import (
    FIRST_SESSION,
    last_session,
    month_last_day,
    month_sessions,
    parse_month,
    sessions,
)  # fmt: skip
from rotation_pipeline.sources.vendors.answers import Answer, Field, frame
from rotation_pipeline.sources.vendors.caller import Caller
from rotation_pipeline.sources.vendors.conversions import (
    board,
    complete,
    enough,
    fundamentals,
    intervals,
    profitability,
    unique,
    versions,
)
from rotation_pipeline.sources.vendors.errors import BadAnswer
from rotation_pipeline.sources.vendors.histories import (
    NAMES,
    canonical,
    chained,
    due,
    explained,
    group,
    named,
    reaches,
    silent,
    stretches,
    whole_month,
)
from rotation_pipeline.sources.vendors.options import VendorOptions
from rotation_pipeline.sources.vendors.source import (
    Fetch,
    Unit,
    covering,
    monthly_units,
    read_months,
    read_whole,
    whole_units,
)
from rotation_pipeline.sources.vendors.store import VendorStore
from rotation_pipeline.sources.vendors.tinysoft_answers import (
    BARS,
    CALENDAR,
    CAPITAL,
    CHANGES,
    DIVIDENDS,
    FIELDS,
    HALTS,
    INDUSTRIES,
    LISTINGS,
    MEMBERS,
    OPEN,
    PREVIOUS,
    RENAMED,
    REPORTS,
    SHUT,
    STATES,
    WEIGHTS,
    asset,
    bare,
    dated,
    from_ole,
    number,
    vendor_code,
)

BATCH = 50
"""Securities in one program."""


class TinysoftAdapter:
    """All canonical tables, of named securities."""

    name = "tinysoft"
    model = "tinysoft-2"
    first_month = date(1991, 1, 1)

    def __init__(self, index_ids: tuple[str, ...], options: VendorOptions) -> None:
        self.index_ids, self._options = index_ids, options
        self.selection: Mapping[str, object] = {"index_ids": index_ids}
        self.assets = named(self.name, options.assets)
        named(self.name, index_ids)
        self._read: dict[tuple[str, str | None], pl.DataFrame] = {}
        self._made: dict[str | None, dict[str, pl.DataFrame]] = {}
        self._group = group(self.assets)
        self.cannot: Mapping[str, str] = {
            "daily_valuation.ps_ttm": "no sales are read; the column is null",
            "daily_valuation.dividend_yield_ttm": "dividends are a table of their own; the column is null",
        }

    def units(self, first: date, last: date) -> list[Unit]:
        """What is told of all securities at once, each one's bars, then membership and months."""
        left, origin = self._options.leave_out, parse_month(self._options.members_from)
        of_all: dict[str, Fetch] = {
            "listings": self._listings, "renamed": self._renamed, "halts": self._halts, "capital": self._capital,
        }  # fmt: skip
        if "industries" not in left:
            of_all["industries"] = self._industries
        if "fundamentals" not in left or "daily_valuation" not in left:
            of_all |= {kind: partial(self._reports, kind) for kind in REPORTS}
        histories: dict[str, Fetch] = {f"bars_{code}": partial(self._bars, code) for code in self.assets}
        if "dividends" not in left:  # held against the bars
            histories[f"dividends_{self._group}"] = self._dividends
        monthly = {
            "trading_days": self._trading_days, "index_bars": self._index_bars, "index_weights": self._index_weights,
            f"checked_{self._group}": self._checked,
        }  # fmt: skip
        return [
            *whole_units({f"{kind}_{self._group}": fetch for kind, fetch in of_all.items()}, last),
            *whole_units({**histories, "changes": self._changes}, last),
            *monthly_units({"members": self._members}, min(origin, first), last),
            *monthly_units(monthly, first, last),
        ]

    def rows(self, table: str, first: date, last: date, store: VendorStore) -> pl.DataFrame:
        """Canonical rows, made from what is stored whenever they are asked for."""
        self._read.clear()
        self._made.clear()
        if table in ("trading_days", "index_bars", "index_weights"):
            return read_months(store, table, first, last)
        if table == "index_members":
            origin = parse_month(self._options.members_from)
            spells = intervals(read_months(store, "members", min(origin, first), last)).drop("announced_on")
            return self._announced(spells, self._whole(store, "changes", last))
        if table in ("industries", "dividends"):
            return self._whole(store, f"{table}_{self._group}", last)
        if table == "listings":
            return self._listed(last, store).select("asset_id", "name", "board", "listed_on", "delisted_on")
        if table == "fundamentals":
            return self._fundamentals(last, store)
        kinds = ["listings", "halts", "renamed", "capital"]
        parts = [
            self._of_months(table, code, low, high, store)
            for code in self.assets
            for low, high in stretches(
                store, [f"bars_{code}", *(f"{kind}_{self._group}" for kind in kinds)], first, last
            )
        ]
        return pl.concat(parts).sort("asset_id", "day")

    # --- asking ------------------------------------------------------------------------------------------------------

    def _table(self, caller: Caller, table: int, fields: Mapping[str, Field], days: tuple[str, ...]) -> pl.DataFrame:
        """All rows of a table for the named securities; columns in ``days`` become dates."""
        parts: list[pl.DataFrame] = []
        for at in range(0, len(self.assets), BATCH):
            codes = ",".join(f"'{vendor_code(code)}'" for code in self.assets[at : at + BATCH])
            answer = caller.call("exec", code=f"return select * from infotable {table} of array({codes}) end;").once()
            rows = dated(frame(bare(answer, fields), fields, asset), days, answer)
            stranger = set(rows["asset_id"]) - set(self.assets)
            if stranger:
                raise BadAnswer(f"{answer.call}: rows of {min(stranger)} came, which was not asked for")
            parts.append(rows)
        return pl.concat(parts)

    def _trading_days(self, caller: Caller, month: date, _store: VendorStore) -> pl.DataFrame:
        low, high = map(number, whole_month(month))
        code = f"return select * from infotable 753 of 'SH000001' where ['截止日']>={low} and ['截止日']<={high} end;"
        answer = caller.call("exec", code=code)
        rows = dated(frame(bare(answer, CALENDAR), CALENDAR, asset), ("day",), answer)
        strange = sorted(set(rows["open"]) - OPEN - SHUT)
        if strange:
            raise BadAnswer(f"{answer.call}: 是否交易日 is {strange[0]!r}, which is neither yes nor no")
        days = unique(rows, ["day"], answer).filter(pl.col("open").is_in(list(OPEN))).select("day").sort("day")
        complete(days["day"].to_list(), month, answer)
        return days.with_columns((pl.col("day") == pl.col("day").max()).alias("is_month_end"))

    def _query(self, caller: Caller, code: str, first: date, last: date) -> tuple[pl.DataFrame, Answer]:
        answer = caller.call(
            "query", stock=vendor_code(code), cycle="日线", begin_time=number(first), end_time=number(last), rate=0,
            fields=FIELDS,
        )  # fmt: skip
        rows = from_ole(frame(bare(answer, BARS), BARS, asset), answer)
        if set(rows["asset_id"]) - {code} or rows.filter(~pl.col("day").is_between(first, last)).height:
            raise BadAnswer(f"{answer.call}: rows of another security or day came. Nothing was stored")
        return unique(rows, ["day"], answer).sort("day"), answer

    def _index_bars(self, caller: Caller, month: date, _store: VendorStore) -> pl.DataFrame:
        parts: list[pl.DataFrame] = []
        for index in self.index_ids:
            rows, answer = self._query(caller, index, *whole_month(month))
            complete(rows["day"].to_list(), month, answer)
            names = ["index_id", "day", "open", "high", "low", "close", "volume", "amount"]
            parts.append(rows.rename({"asset_id": "index_id"}).select(names))
        return pl.concat(parts)

    def _members(self, caller: Caller, month: date, store: VendorStore) -> pl.DataFrame:
        """Members at the month's last close: index_id, asset_id, day."""
        day, before = last_session(month), f"{month - timedelta(days=1):%Y-%m}"
        known = store.read("members", before) if before in store.units("members") else None
        parts: list[pl.DataFrame] = []
        for index in self.index_ids:
            answer = caller.call("exec", code=f"return GetBKByDate('{vendor_code(index)}',{number(day)}T);")
            rows = unique(frame(bare(answer, MEMBERS), MEMBERS, asset), ["asset_id"], answer)
            enough(
                rows.height, 0 if known is None else known.filter(pl.col("index_id") == index).height, "members", answer
            )
            parts.append(rows.select(pl.lit(index).alias("index_id"), "asset_id", pl.lit(day).alias("day")))
        return pl.concat(parts).sort("index_id", "asset_id")

    def _changes(self, caller: Caller, month: date, _store: VendorStore) -> pl.DataFrame:
        """Entries with the day they became public: index_id, asset_id, since, announced_on."""
        parts: list[pl.DataFrame] = []
        for index in self.index_ids:
            answer = caller.call("exec", code=f"return select * from infotable 752 of '{vendor_code(index)}' end;")
            rows = dated(frame(bare(answer, CHANGES), CHANGES, asset), ("since", "announced_on"), answer)
            parts.append(
                rows.select(pl.lit(index).alias("index_id"), pl.all()).filter(pl.col("since") <= month_last_day(month))
            )
        return pl.concat(parts).sort("index_id", "asset_id", "since")

    def _index_weights(self, caller: Caller, month: date, _store: VendorStore) -> pl.DataFrame:
        day = last_session(month)
        parts: list[pl.DataFrame] = []
        for index in self.index_ids:
            code = f"Ret:=GetBkWeightByDate('{vendor_code(index)}',{number(day)}T,t);if Ret then return t;else return array();"
            answer = caller.call("exec", code=code)
            rows = unique(frame(bare(answer, WEIGHTS), WEIGHTS, asset), ["asset_id"], answer)
            parts.append(rows.select(pl.lit(index).alias("index_id"), "asset_id", pl.lit(day).alias("day"), "weight"))
        text = pl.lit("tinysoft GetBkWeightByDate").alias("derivation")
        return pl.concat(parts).with_columns(text).sort("index_id", "asset_id")

    def _listings(self, caller: Caller, month: date, _store: VendorStore) -> pl.DataFrame:
        """First trading days, and whether the vendor calls the security delisted by now; when is seen from its bars."""
        rows = self._table(caller, 12, LISTINGS, ("listed_on",)).filter(pl.col("listed_on").is_not_null())
        missing = sorted(set(self.assets) - set(rows["asset_id"]))
        if missing:
            raise BadAnswer(
                f"tinysoft: {', '.join(missing[:5])} of source.vendor.assets have no first trading day in table 12"
            )
        rows, begun = rows.unique(["asset_id", "listed_on"]), pl.col("listed_on") <= month_last_day(month)
        taken = rows.filter(~begun)["asset_id"].unique()  # a state told of these is that of a company still to come
        rows = rows.filter(begun)
        again = rows.filter(rows["asset_id"].is_duplicated()).sort("asset_id", "listed_on")
        if again.height:
            code, days = again["asset_id"][0], ", ".join(map(str, again["listed_on"].head(2)))
            raise BadAnswer(
                f"tinysoft: table 12 has two first trading days of {code} ({days}): a code used again, of which nothing tells "
                "when the first company left. Nothing was stored; leave it out of source.vendor.assets, or take it from "
                "another source"
            )
        states = self._table(caller, 10, STATES, ()).unique("asset_id", keep="first", maintain_order=True)
        own = ~pl.col("asset_id").is_in(taken.implode())
        gone = (pl.col("state").str.contains("终止|退市").fill_null(value=False) & own).alias("gone")
        return rows.join(states.select("asset_id", gone), on="asset_id", how="left").sort("asset_id", "listed_on")

    def _renamed(self, caller: Caller, month: date, _store: VendorStore) -> pl.DataFrame:
        rows = self._table(caller, 14, RENAMED, ("day",))
        return rows.filter(pl.col("day") <= month_last_day(month)).unique(maintain_order=True).sort("asset_id", "day")

    def _halts(self, caller: Caller, month: date, _store: VendorStore) -> pl.DataFrame:
        rows = self._table(caller, 127, HALTS, ("since", "until"))
        return rows.filter(pl.col("since") <= month_last_day(month)).unique().sort("asset_id", "since", "until")

    def _capital(self, caller: Caller, month: date, _store: VendorStore) -> pl.DataFrame:
        """Share counts by the day they were in force and known."""
        rows = self._table(caller, 16, CAPITAL, ("day", "announced_on"))
        known = pl.max_horizontal("day", "announced_on").alias("day")
        rows = rows.with_columns(known).drop("announced_on").filter(pl.col("day") <= month_last_day(month))
        return rows.unique(["asset_id", "day"], keep="last", maintain_order=True).sort("asset_id", "day")

    def _industries(self, caller: Caller, month: date, _store: VendorStore) -> pl.DataFrame:
        """First level of every scheme; the ends are exclusive."""
        rows = self._table(caller, 139, INDUSTRIES, ("valid_from", "valid_to")).filter(pl.col("level") == 1)
        names = ["asset_id", "valid_from", "valid_to", "scheme", "industry"]
        return rows.filter(pl.col("valid_from") <= month_last_day(month)).select(names).unique().sort(names)

    def _bars(self, code: str, caller: Caller, month: date, store: VendorStore) -> pl.DataFrame:
        """The history up to the end of ``month``: what the exchange calls the previous close comes by itself."""
        self._read.clear()
        listings = read_whole(store, f"listings_{self._group}", month).filter(pl.col("asset_id") == code)
        last = month_last_day(month)
        start = max(listings["listed_on"][0], FIRST_SESSION) if listings.height else last
        rows, answer = self._query(caller, code, start, last)
        rows = rows.filter(pl.col("volume") > 0)  # a suspended day may have a row of its own
        if rows.height == 0:
            if listings.height:
                raise BadAnswer(f"{answer.call}: no bars of {code} came though it was listed. Nothing was stored")
            return rows.with_columns(pl.lit(None, dtype=pl.Float64).alias("prev_close"))
        reaches(code, rows, start, "tinysoft")
        program = (
            f"setsysparam(pn_stock(),'{vendor_code(code)}');setsysparam(pn_cycle(),cy_day());setsysparam(pn_rate(),0);"
            f"setsysparam(pn_date(),{number(last)}T);n:=tradedays({number(start)}T,{number(last)}T);"
            "return nday(n,'date',sp_time(),'prev',sys_prevclose());"
        )
        answer = caller.call("exec", code=program)
        previous = unique(from_ole(frame(bare(answer, PREVIOUS), PREVIOUS, asset), answer), ["day"], answer)
        whole = rows.join(previous, on="day", how="left").sort("day")
        lacking = whole.filter(pl.col("prev_close").is_null() | (pl.col("prev_close") <= 0))
        if lacking.height:
            raise BadAnswer(f"{answer.call}: no previous close for {lacking['day'][0]}, on which {code} traded")
        self._tail(code, whole, listings, month, store)
        return whole.drop("asset_id")

    def _tail(self, code: str, whole: pl.DataFrame, listings: pl.DataFrame, month: date, store: VendorStore) -> None:
        """Refuse bars that end early without a suspension or the end of the listing."""
        end = month_sessions(month)[-1]
        if whole["day"][-1] < end and not listings["gone"][-1] and end not in self._halted(code, month, store, [end]):
            raise BadAnswer(
                f"tinysoft: the bars of {code} end on {whole['day'][-1]}, and nothing says that it was suspended on {end} or "
                "left the exchange; the vendor sent half an answer, has not finished this month, or another company has had "
                "its code since. Nothing was stored"
            )

    def _dividends(self, caller: Caller, month: date, store: VendorStore) -> pl.DataFrame:
        """Distributions by ex-day, per share; several of one day add up. Raises if the bars say they are per ten."""
        rows = self._table(caller, 18, DIVIDENDS, ("ex_day", "announced_on"))
        rows = rows.filter(pl.col("ex_day") <= month_last_day(month))
        shares = (pl.col("bonus").fill_null(0.0) + pl.col("converted").fill_null(0.0)).sum().alias("shares_per_share")
        cash = pl.col("cash").fill_null(0.0).sum().alias("cash_per_share")
        found = (
            rows.group_by("asset_id", "ex_day")
            .agg(pl.col("announced_on").max(), cash, shares)
            .sort("asset_id", "ex_day")
        )
        for code in sorted(set(found["asset_id"])):
            history = read_whole(store, f"bars_{code}", month)
            _per_share(code, found.filter(pl.col("asset_id") == code), history)
        return found.select("asset_id", "ex_day", "announced_on", "cash_per_share", "shares_per_share")

    def _reports(self, kind: str, caller: Caller, month: date, _store: VendorStore) -> pl.DataFrame:
        """What was stated of each period, and when: asset_id, report_period, announced_on, flag, value.

        A later report restates the year before: such a row counts from its own day, and without one it is left.
        """
        table, fields = REPORTS[kind]
        rows = self._table(caller, table, fields, tuple(name for name in fields if name not in ("asset_id", "value")))
        stated = pl.col("stated_in") if "stated_in" in fields else pl.col("report_period")
        own = stated.is_null() | (stated == pl.col("report_period"))
        rows = rows.with_columns(stated.cast(pl.String).fill_null("").alias("flag")).filter(own | pl.col("announced_on").is_not_null())  # fmt: skip
        rows = rows.filter(pl.col("report_period") <= month_last_day(month))
        return rows.select("asset_id", "report_period", "announced_on", "flag", "value").unique().sort(pl.all())

    def _checked(self, _caller: Caller, month: date, store: VendorStore) -> pl.DataFrame:
        """Nothing to keep: refuses the month if too many days have neither bar nor suspension."""
        self._read.clear()
        expected = found = 0
        for row in self._listed(month, store).iter_rows(named=True):
            days = due(row["listed_on"], row["delisted_on"], *whole_month(month))
            quiet = silent(read_whole(store, f"bars_{row['asset_id']}", month), days)
            expected += len(days)
            found += len(days) - len(quiet) + len(self._halted(row["asset_id"], month, store, quiet))
        explained(month, expected, found, "tinysoft", store)
        return pl.DataFrame({"month": [month], "expected": [expected], "found": [found]})

    # --- what is made of it ------------------------------------------------------------------------------------------

    def _whole(self, store: VendorStore, table: str, month: date) -> pl.DataFrame:
        """The whole-table unit that covers ``month``, read once for all rows that are asked for together."""
        key = table, covering(store, table, month)
        if key not in self._read:
            self._read[key] = read_whole(store, table, month)
        return self._read[key]

    def _halted(self, code: str, month: date, store: VendorStore, days: list[date]) -> set[date]:
        """Those of ``days`` on which table 127 has the security suspended."""
        halts = self._whole(store, f"halts_{self._group}", month).filter(pl.col("asset_id") == code)
        spells = list(halts.select("since", "until").iter_rows())
        return {day for day in days if any(since <= day and (until is None or day <= until) for since, until in spells)}

    def _listed(self, month: date, store: VendorStore) -> pl.DataFrame:
        """Listings known in ``month``; a security has left on the first session after its last bar that no suspension
        explains, if the vendor calls it delisted."""
        key = "listed", f"{month}"
        if key in self._read:
            return self._read[key]
        rows = self._whole(store, f"listings_{self._group}", month).filter(pl.col("listed_on") <= month_last_day(month))
        ends: list[date | None] = []
        for row in rows.iter_rows(named=True):
            end: date | None = None
            bars = self._whole(store, f"bars_{row['asset_id']}", month).filter(pl.col("day") <= month_last_day(month))
            if row["gone"] and bars.height:
                later = sessions(bars["day"][-1] + timedelta(days=1), month_last_day(month)) if bars["day"][-1] < month_last_day(month) else []  # fmt: skip
                unexplained = set(later) - self._halted(row["asset_id"], month, store, later)
                end = min(unexplained, default=None)
            ends.append(end)
        self._read[key] = rows.with_columns(
            pl.Series("delisted_on", ends, dtype=pl.Date), board("asset_id").alias("board"),
            pl.lit(None, dtype=pl.String).alias("name"),
        )  # fmt: skip
        return self._read[key]

    def _announced(self, spells: pl.DataFrame, changes: pl.DataFrame) -> pl.DataFrame:
        """Intervals with the day their entry became public, from the last entry before it was seen."""
        known = changes.filter(pl.col("since").is_not_null()).sort("since")
        return spells.sort("valid_from").join_asof(
            known, left_on="valid_from", right_on="since", by=["index_id", "asset_id"], strategy="backward",
            check_sortedness=False,
        ).select("index_id", "asset_id", "valid_from", "valid_to", "announced_on").sort("index_id", "asset_id", "valid_from")  # fmt: skip

    def _items(self, month: date, store: VendorStore) -> dict[str, pl.DataFrame]:
        """Items of reports as what was public when, made once for all rows that are asked for together."""
        key = covering(store, f"profit_{self._group}", month)
        if key not in self._made:
            self._made[key] = self._fresh_items(month, store)
        return self._made[key]

    def _fresh_items(self, month: date, store: VendorStore) -> dict[str, pl.DataFrame]:
        known = {kind: versions(self._whole(store, f"{kind}_{self._group}", month)) for kind in REPORTS}
        return {**profitability(known["profit"], known["equity"]), "roe": known["roe"]}

    def _fundamentals(self, last: date, store: VendorStore) -> pl.DataFrame:
        return fundamentals(self._items(last, store))

    def _of_months(self, table: str, code: str, first: date, last: date, store: VendorStore) -> pl.DataFrame:
        """Rows of one security in months that the same stored units cover."""
        listed = self._listed(last, store).filter(pl.col("asset_id") == code)
        spells = listed.select("listed_on", "delisted_on").iter_rows()
        days = sorted({day for start, end in spells for day in due(start, end, first, month_last_day(last))})
        history = self._whole(store, f"bars_{code}", last)
        bars = canonical(code, history, days, self._halted(code, last, store, silent(history, days)))
        if table == "daily_bars":
            return _treated(bars, self._whole(store, f"renamed_{self._group}", last)).select(NAMES)
        return self._valuation(bars, last, store)

    def _valuation(self, bars: pl.DataFrame, month: date, store: VendorStore) -> pl.DataFrame:
        """Market values from share counts; ratios to trailing profit and equity as last announced."""
        rows = _as_of(bars.sort("day"), self._whole(store, f"capital_{self._group}", month), ["total", "float"])
        items = self._items(month, store)
        for item in ("net_profit_ttm", "book_equity"):
            latest = items[item].sort("announced_on", "report_period").with_columns(pl.col("report_period").cum_max().over("asset_id").alias("newest"))  # fmt: skip
            latest = latest.filter(pl.col("report_period") == pl.col("newest")).select("asset_id", pl.col("announced_on").alias("day"), pl.col("value").alias(item))  # fmt: skip
            rows = _as_of(rows, latest.unique(["asset_id", "day"], keep="last", maintain_order=True), [item])
        value = pl.col("close") * pl.col("total")
        null = pl.lit(None, dtype=pl.Float64)
        return rows.select(
            "asset_id", "day", _ratio(value, "net_profit_ttm").alias("pe_ttm"), _ratio(value, "book_equity").alias("pb"),
            null.alias("ps_ttm"), null.alias("dividend_yield_ttm"), _ratio(pl.col("volume"), "float").alias("turnover_rate"),
            value.alias("total_market_value"), (pl.col("close") * pl.col("float")).alias("float_market_value"),
        )  # fmt: skip


def _as_of(rows: pl.DataFrame, known: pl.DataFrame, names: list[str]) -> pl.DataFrame:
    return rows.join_asof(
        known.select("asset_id", "day", *names).sort("day"), on="day", by="asset_id", strategy="backward", check_sortedness=False
    )  # fmt: skip


def _ratio(over: pl.Expr, name: str) -> pl.Expr:
    return pl.when(pl.col(name) != 0).then(over / pl.col(name))


def _treated(bars: pl.DataFrame, renamed: pl.DataFrame) -> pl.DataFrame:
    """Add ``is_st`` from the name of the day: ST and *ST are part of it.

    Before the first change it is false: the name it had then is told by a change that was still to come.
    """
    special = pl.col("after").str.to_uppercase().str.contains("ST", literal=True).fill_null(value=False).alias("is_st")
    changes = renamed.with_columns(special).unique(["asset_id", "day"], keep="last", maintain_order=True)
    rows = _as_of(bars.sort("day"), changes, ["is_st"])
    return rows.with_columns(pl.col("is_st").fill_null(value=False))


def _per_share(code: str, paid: pl.DataFrame, history: pl.DataFrame) -> None:
    """Hold distributions against the exchange's previous closes: read per ten shares they must not fit better."""
    before = chained(history).with_columns(pl.col("close").shift(1).alias("last")).select("day", "last", "prev_close")
    seen = paid.join(before.drop_nulls(), left_on="ex_day", right_on="day")

    def off(scale: float) -> float:
        cash, shares = pl.col("cash_per_share") / scale, pl.col("shares_per_share") / scale
        return float(seen.select((((pl.col("last") - cash) / (1 + shares)) - pl.col("prev_close")).abs().sum()).item())

    if seen.height and off(10.0) < off(1.0):
        raise BadAnswer(
            f"tinysoft: distributions of {code} fit its previous closes only as per ten shares (deviation {off(10.0):.2f} CNY "
            f"in place of {off(1.0):.2f}); the vendor's unit has changed. Nothing was stored"
        )
