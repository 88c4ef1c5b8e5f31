"""What happened in the simulated market, kept as columns and handed out as canonical tables."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rotation_pipeline.market.calendar import month_last_day
from rotation_pipeline.market.schema import Table
from rotation_pipeline.market.simulation import companies as firms
from rotation_pipeline.market.simulation import kernels as k
from rotation_pipeline.market.simulation.events import MonthEvents, Standing
from rotation_pipeline.market.simulation.membership import Membership
from rotation_pipeline.market.simulation.options import SimulationOptions
from rotation_pipeline.market.simulation.regimes import REGIMES, STYLES
from rotation_pipeline.market.simulation.roster import BOARDS, INDUSTRIES, Bools, Floats, Ints, Roster
from rotation_pipeline.market.tables import DATED_BY, INTERVAL_ENDS, INTERVAL_TABLES, SOURCE_TABLES

SCHEME = "simulated level 1"
WEIGHT_DERIVATION = "simulated: tradable market value of the members at the close"
STOCK_DAYS = ("daily_bars", "daily_valuation")
"""Tables of a row a stock and session: all but these are small."""
Columns = dict[str, list[NDArray[np.generic]]]
_NEVER = np.datetime64("NaT")


@dataclass(frozen=True, slots=True)
class MonthRecord:
    """Results of one month; see :mod:`kernels` for the rows of ``out``."""

    month: date
    regime: str
    premium: Floats
    beta: Floats
    events: MonthEvents
    out: Floats
    ex_cash: Floats
    ex_bonus: Floats
    known: Floats
    """Shape (nd, n, 3): profit, book and revenue known at each close."""
    members: Bools
    """Members at the last close, shape (n,)."""


class Records:
    """Append-only columns of every table."""

    def __init__(self, options: SimulationOptions, roster: Roster) -> None:
        self._options = options
        self._roster = roster
        self._keys = roster.keys.astype(np.int32)
        self._columns: dict[str, Columns] = {}
        self._reclassified: list[tuple[int, np.datetime64, np.datetime64, int]] = []

    def _append(self, table: str, **columns: NDArray[np.generic]) -> None:
        store = self._columns.setdefault(table, {})
        for name, values in columns.items():
            store.setdefault(name, []).append(values)

    def add_dividends(
        self, names: Ints, ex_day: NDArray[np.datetime64], announced: Ints, cash: Floats, bonus: Floats
    ) -> None:
        """Distributions with their ex-days; ``announced`` as ordinals."""
        self._append(
            "dividends", asset_key=self._keys[names], ex_day=ex_day, announced_on=announced.astype("datetime64[D]"),
            cash_per_share=cash, shares_per_share=bonus,
        )  # fmt: skip

    def add_reports(self, reports: firms.Reports) -> None:
        """Published reports, a row per item."""
        items, count = len(firms.ITEMS), reports.asset.size
        self._append(
            "fundamentals",
            asset_key=np.repeat(self._keys[reports.asset], items),
            report_period=np.repeat(reports.period.astype("datetime64[D]"), items),
            announced_on=np.repeat(reports.announced.astype("datetime64[D]"), items),
            item=np.tile(np.arange(items, dtype=np.int8), count),
            value=reports.values[:, :items].reshape(-1),
            is_revision=np.repeat(reports.is_revision, items),
        )

    def add_index(self, days: NDArray[np.datetime64], bars: Floats) -> None:
        """Index bars, columns open, high, low, close, volume, amount."""
        names = ("open", "high", "low", "close", "volume", "amount")
        self._append("index_bars", day=days, **{name: bars[:, at].copy() for at, name in enumerate(names)})

    def add_month(self, record: MonthRecord, annual_announced: Ints, float_value: Floats) -> None:
        """Bars, valuation, dividends, weights and truth of one month.

        ``annual_announced``: day each annual report came out (ordinals); ``float_value``: tradable market value at the
        last close, NaN for names not listed.
        """
        days = record.events.days
        ends = np.zeros(days.size, dtype=bool)
        ends[-1] = True
        self._append("trading_days", day=days, is_month_end=ends)
        self._add_bars(record)
        d, names = np.nonzero(np.isfinite(record.ex_cash))
        self.add_dividends(names, days[d], annual_announced[names], record.ex_cash[d, names], record.ex_bonus[d, names])
        inside = np.flatnonzero(record.members)
        value = float_value[inside]
        self._append(
            "index_weights",
            asset_key=self._keys[inside],
            day=np.full(inside.size, days[-1]),
            weight=value / value.sum(),
        )
        listed = np.flatnonzero(record.events.listed[-1])
        month = np.datetime64(record.month, "D")
        self._append("regimes", month=np.array([month]), regime=np.array([REGIMES.index(record.regime)], dtype=np.int8))
        self._append(
            "premia",
            month=np.full(len(STYLES), month),
            style=np.arange(len(STYLES), dtype=np.int8),
            premium=record.premium,
        )
        self._append("betas", month=np.full(listed.size, month), asset_key=self._keys[listed], beta=record.beta[listed])
        self._reclassified.extend(record.events.industry_changes)

    def _add_bars(self, record: MonthRecord) -> None:
        events, out = record.events, record.out
        d, names = np.nonzero(events.listed)
        row = {at: out[at, d, names] for at in range(out.shape[0])}
        key, day = self._keys[names], events.days[d]
        self._append(
            "daily_bars", asset_key=key, day=day, open=row[k.OPEN], high=row[k.HIGH], low=row[k.LOW],
            close=row[k.CLOSE], prev_close=row[k.PREV], volume=row[k.VOLUME], amount=row[k.AMOUNT],
            adj_factor=row[k.ADJ], is_suspended=events.suspended[d, names], is_st=events.is_st[names],
            board=self._roster.board[names].astype(np.int8),
        )  # fmt: skip
        total, tradable = row[k.CLOSE] * row[k.SHARES], row[k.CLOSE] * row[k.FLOATING]
        profit, book, revenue = (record.known[d, names, at] for at in range(3))
        self._append(
            "daily_valuation", asset_key=key, day=day, pe_ttm=_ratio(total, profit), pb=_ratio(total, book),
            ps_ttm=_ratio(total, revenue), dividend_yield_ttm=row[k.CASH_TTM] / row[k.CLOSE],
            turnover_rate=row[k.VOLUME] / row[k.FLOATING], total_market_value=total, float_market_value=tradable,
        )  # fmt: skip

    @property
    def stock_days(self) -> int:
        """Rows of ``daily_bars`` held; ``daily_valuation`` has as many."""
        return sum(part.size for part in self._columns.get("daily_bars", {}).get("day", []))

    def forget(self, before: date) -> None:
        """Let go of the stock-days of months that ended before the day."""
        for name in STOCK_DAYS:
            store = self._columns.get(name, {})
            parts = store.get("day", [])
            kept = [at for at, days in enumerate(parts) if days.size and days.max() >= np.datetime64(before)]
            for column, values in store.items():
                store[column] = [values[0][:0].copy(), *(values[at] for at in kept)]

    # --- tables ------------------------------------------------------------------------------------------------------

    def _joined(self, table: Table, window: tuple[date, date] | None) -> dict[str, NDArray[np.generic]]:
        """The columns of a table, whole or the rows dated in ``window``, both ends included."""
        store = self._columns[table.name]
        if window is None:
            return {name: np.concatenate(parts) for name, parts in store.items()}
        dated = "month" if table.schema == "truth" else DATED_BY[table.name]
        first, last = (np.datetime64(day, "D") for day in window)
        inside = [(days >= first) & (days <= last) for days in store[dated]]
        chosen = [at for at, rows in enumerate(inside) if rows.any()]
        return {
            name: np.concatenate([parts[0][:0], *(parts[at][inside[at]] for at in chosen)])
            for name, parts in store.items()
        }

    def _collect(self, table: Table, window: tuple[date, date] | None = None) -> pl.DataFrame:
        """Rows of a table, sorted by its key, codes written out as text."""
        joined = self._joined(table, window)
        for name, value in _CONSTANTS.items():
            if table.name in value:
                joined[name] = np.zeros(next(iter(joined.values())).size, dtype=np.int8)
        words: dict[str, tuple[str, ...]] = {
            "board": BOARDS, "item": firms.ITEMS, "index_id": (self._options.index_id,),
            "derivation": (WEIGHT_DERIVATION,), "regime": REGIMES, "style": STYLES,
        }  # fmt: skip
        order = np.lexsort([_sortable(joined[name], words.get(name)) for name in reversed(_key(table))])
        columns: dict[str, pl.Series] = {}
        for name in table.stored_names:
            if name not in joined:
                continue
            values = joined.pop(name)[order]
            columns[name] = pl.Series(name, words[name])[values] if name in words else _series(name, values)
        return pl.DataFrame(columns)

    def dated(self, table: Table, window: tuple[date, date] | None = None) -> pl.DataFrame:
        """A table of dated rows in canonical columns without ``month``, sorted by its key: all of it, or the rows dated
        from the first to the last day of ``window``."""
        return self._collect(table, window)

    def intervals(self, table: Table, standing: Standing, membership: Membership, last_month: date) -> pl.DataFrame:
        """A table of intervals as known at the end of ``last_month``: later starts and ends are hidden."""
        makers = {
            "listings": lambda: self._listings(standing),
            "industries": lambda: self._industries(standing),
            "index_members": lambda: self._members(membership),
        }
        frame = makers[table.name]()
        last, end, start = month_last_day(last_month), INTERVAL_ENDS[table.name], INTERVAL_TABLES[table.name]
        names = [name for name in table.stored_names if name != "month"]
        hidden = pl.when(pl.col(end) <= last).then(pl.col(end)).alias(end)
        return frame.filter(pl.col(start) <= last).with_columns(hidden).select(names).sort(_key(table))

    def truth(self, table: Table, window: tuple[date, date] | None = None) -> pl.DataFrame:
        """A truth table in its stored columns, ``month`` included, sorted by its key; the months of ``window`` or all."""
        return self._collect(table, window)

    def _listings(self, standing: Standing) -> pl.DataFrame:
        names = np.flatnonzero(~np.isnat(standing.listed_on))
        return pl.DataFrame(
            {
                "asset_key": self._keys[names],
                "name": [self._roster.names[at] for at in names],
                "board": [BOARDS[int(self._roster.board[at])] for at in names],
                "listed_on": standing.listed_on[names],
                "delisted_on": standing.delisted_on[names],
            }
        )

    def _industries(self, standing: Standing) -> pl.DataFrame:
        running = [
            (int(at), standing.industry_since[at], standing.delisted_on[at], int(standing.industry[at]))
            for at in np.flatnonzero(~np.isnat(standing.listed_on))
        ]
        rows = [*self._reclassified, *running]
        return pl.DataFrame(
            {
                "asset_key": np.array([self._keys[row[0]] for row in rows], dtype=np.int32),
                "valid_from": np.array([row[1] for row in rows], dtype="datetime64[D]"),
                "valid_to": np.array([row[2] for row in rows], dtype="datetime64[D]"),
                "scheme": [SCHEME] * len(rows),
                "industry": [INDUSTRIES[row[3]] for row in rows],
            }
        )

    def _members(self, membership: Membership) -> pl.DataFrame:
        running = [
            (int(at), membership.since[at], _NEVER, membership.announced[at])
            for at in np.flatnonzero(membership.members)
        ]
        rows = [*membership.ended, *running]
        return pl.DataFrame(
            {
                "index_id": [self._options.index_id] * len(rows),
                "asset_key": np.array([self._keys[row[0]] for row in rows], dtype=np.int32),
                "valid_from": np.array([row[1] for row in rows], dtype="datetime64[D]"),
                "valid_to": np.array([row[2] for row in rows], dtype="datetime64[D]"),
                "announced_on": np.array([row[3] for row in rows], dtype="datetime64[D]"),
            }
        )


def _key(table: Table) -> list[str]:
    names = ["asset_key" if name == "asset_id" else name for name in table.key]
    if table.name in DATED_BY or table.schema == "truth":
        return names
    return [name for name in names if name != "month"]


def _ratio(value: Floats, base: Floats) -> Floats:
    """value / base, NaN where the base is 0 or unknown."""
    usable = np.isfinite(base) & (base != 0)
    return np.where(usable, value / np.where(usable, base, 1.0), np.nan)


def _sortable(values: NDArray[np.generic], words: tuple[str, ...] | None) -> NDArray[np.generic]:
    """Codes replaced by the alphabetical rank of their words, so that sorting by them sorts the text."""
    if words is None:
        return values
    rank = np.argsort(np.argsort(np.array([word.encode() for word in words])))
    return rank[values.astype(np.int64)]


def _series(name: str, values: NDArray[np.generic]) -> pl.Series:
    """A column; NaN in the ratios is null."""
    if values.dtype == np.bool_ or name == "announcement_is_deadline":
        return pl.Series(name, values.astype(np.bool_))
    series = pl.Series(name, values)
    return series.fill_nan(None) if name in _RATIOS else series


_RATIOS = frozenset({"pe_ttm", "pb", "ps_ttm"})
_CONSTANTS = {
    "index_id": ("index_bars", "index_weights"),
    "derivation": ("index_weights",),
    "announcement_is_deadline": ("fundamentals",),
}
"""Columns with one value, and the tables that have them."""
DATED_TABLES: tuple[Table, ...] = tuple(table for table in SOURCE_TABLES if table.name in DATED_BY)
INTERVAL_TABLES_OF_SOURCE: tuple[Table, ...] = tuple(table for table in SOURCE_TABLES if table.name in INTERVAL_TABLES)
