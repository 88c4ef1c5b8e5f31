"""The stock-level backtest: every book over months of sessions, each month from the account the one before left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import cast

import numpy as np
import polars as pl

from rotation_pipeline.allocation.frames import MissingMonthError
from rotation_pipeline.backtest.stock_level.account import Account, closed, lots_of, opened, spread
from rotation_pipeline.backtest.stock_level.against import Against, held_weights
from rotation_pipeline.backtest.stock_level.kernel import (
    BOUGHT,
    CASH,
    DIVIDENDS,
    DIVIDENDS_PAID,
    GONE,
    LEDGER,
    LONG_VALUE,
    PROFIT,
    RIGHTS,
    SHORT_VALUE,
    SOLD,
    Ints,
    run_sessions,
)
from rotation_pipeline.backtest.stock_level.options import StockLevelOptions
from rotation_pipeline.backtest.stock_level.orders import size_orders
from rotation_pipeline.backtest.stock_level.panel import MonthData, Panel, build_panel, price_units
from rotation_pipeline.backtest.stock_level.rows import (
    COSTS,
    BookName,
    Ran,
    Stored,
    TableRows,
    daily_rows,
    lot_rows,
    order_rows,
    position_rows,
    stored_account,
)
from rotation_pipeline.backtest.stock_level.tables import (
    STOCK_BACKTEST,
    STOCK_LOTS,
    STOCK_ORDERS,
    STOCK_POSITIONS,
    STOCK_STRATEGIES,
)
from rotation_pipeline.backtest.stock_level.targets import (
    Signal,
    Target,
    build_target,
    read_signal,
    style_vector,
)
from rotation_pipeline.market.calendar import add_months
from rotation_pipeline.market.conventions import Floats
from rotation_pipeline.market.reused_codes import handed_over, rows_before
from rotation_pipeline.market.schema import Table

_SPLIT = ("weights", "exposures", "snapshot", "daily_bars", "dividends", "listings", "trading_days")
_COSTS = [LEDGER.index(name) for name in COSTS]


class ReconciliationError(ArithmeticError):
    """Cash, shares and profit do not add up: a fault of the engine, never of the data."""


@dataclass(frozen=True, slots=True)
class StockInputs:
    """Stored rows the engine reads, columns as in their tables; all but weights from the month before the first on.

    ``weights`` rows of marts.weights; ``exposures`` style rows of marts.factor_exposures; ``snapshot`` of
    intermediate.stock_snapshot; the others of the raw tables of their names.
    """

    weights: pl.DataFrame
    exposures: pl.DataFrame
    snapshot: pl.DataFrame
    daily_bars: pl.DataFrame
    dividends: pl.DataFrame
    listings: pl.DataFrame
    trading_days: pl.DataFrame
    index: pl.DataFrame | None = None
    """For index_enhanced only: month, asset_key, index_weight (null: not given for it), industry (null: not classified), of
    every member at the month's last close."""
    history: pl.DataFrame | None = None
    """For index_enhanced only: rows of raw.daily_bars (month, asset_key, day, close, prev_close) of ``risk_months`` months before
    the first; ``listings`` of these months are read then, too."""


@dataclass(frozen=True, slots=True)
class StockResult:
    """Rows of the tables of the same names, and what a reader should know of how they were made."""

    daily: pl.DataFrame
    orders: pl.DataFrame
    positions: pl.DataFrame
    lots: pl.DataFrame
    notices: tuple[str, ...] = ()


def books_of(options: StockLevelOptions) -> tuple[BookName, ...]:
    """Every book: strategy and portfolio."""
    return tuple((strategy, portfolio) for strategy in STOCK_STRATEGIES for portfolio in options.portfolios)


def run_stock_level(
    inputs: StockInputs, months: Sequence[date], first_month: date, stored: Stored | None, options: StockLevelOptions
) -> StockResult:
    """Every book of :func:`books_of` over ``months``, consecutive and ascending.

    The signal of a month is that of the close before it: weights and exposures stamped t−1, sizes from the closing prices and
    the net value then, orders from the first session of t on. ``first_month``: where the books begin, with nothing but cash;
    later months go on from ``stored``. The rows of a month depend on nothing but its own inputs and the account it started
    from. Errors: MissingMonthError names the table and month to materialise, PanelError the bar that cannot be used,
    ReconciliationError a day that does not add up.
    """
    books = books_of(options)
    split = {name: _by_month(getattr(inputs, name)) for name in _SPLIT}
    against = (
        Against(inputs.index, inputs.history, inputs.listings, options.enhanced)
        if "index_enhanced" in options.portfolios
        else None
    )
    relaxed: dict[BookName, list[dict[str, float]]] = {}
    daily, orders, positions, lots = TableRows(), TableRows(), TableRows(), TableRows()
    accounts = _begin(months[0], first_month, stored, options) if months else {}
    for month in months:
        data, last_closes = _month_data(split, month)
        signal = read_signal(
            _need(split, "exposures", "marts.factor_exposures", add_months(month, -1)),
            _need(split, "snapshot", "intermediate.stock_snapshot", add_months(month, -1)),
        )
        styles = _style_weights(_need(split, "weights", "marts.weights", add_months(month, -1)), month)
        index = None if against is None else against.at(signal, add_months(month, -1))
        targets = {
            book: build_target(
                book[1], signal, styles[book[0]], options, index, held_weights(accounts[book], signal.assets)
            )
            for book in books
        }
        for book, target in targets.items():
            relaxed.setdefault(book, []).append(target.relaxed)
        panel, mark = _shared_panel(data, signal, targets, accounts, last_closes, options)
        for book in books:
            ran = _run_month(book, accounts[book], targets[book], panel, mark, options)
            accounts[book] = ran.account
            daily.add(daily_rows(ran, month, data.days, round(options.capital * 100)))
            orders.add(order_rows(ran, month, panel, data.days, mark))
            positions.add(position_rows(ran, month, panel))
            lots.add(lot_rows(ran, month))
    made = ((daily, STOCK_BACKTEST), (orders, STOCK_ORDERS), (positions, STOCK_POSITIONS), (lots, STOCK_LOTS))
    frames = (rows.frame(_schema(table)) for rows, table in made)
    return StockResult(*frames, notices=(*_said(relaxed), *(() if against is None else against.notices())))


def _said(relaxed: Mapping[BookName, list[dict[str, float]]]) -> list[str]:
    """Limits that gave way, in words: a line per book."""
    lines: list[str] = []
    for book, months in relaxed.items():
        names = sorted({name for month in months for name in month})
        if names:
            worst = ", ".join(f"{name} by up to {max(month.get(name, 0.0) for month in months):.4f}" for name in names)
            lines.append(
                f"stock-level book {'/'.join(book)}: in {sum(map(bool, months))} of {len(months)} months no weights satisfied all "
                f"limits of stock_level.enhanced; exceeded: {worst}"
            )
    return lines


def _begin(
    month: date, first_month: date, stored: Stored | None, options: StockLevelOptions
) -> dict[BookName, Account]:
    """Accounts before ``month``."""
    if month <= first_month:
        return dict.fromkeys(books_of(options), opened(options.capital))
    before = add_months(month, -1)
    if stored is None or stored.daily.is_empty():
        raise MissingMonthError(
            f"marts.stock_backtest has no rows for {before:%Y-%m}, needed to go on with {month:%Y-%m}: materialise that month first"
        )
    return {book: stored_account(book, before, stored) for book in books_of(options)}


def _by_month(frame: pl.DataFrame) -> dict[date, pl.DataFrame]:
    return {key[0]: rows for key, rows in frame.partition_by("month", as_dict=True).items()}  # pyright: ignore[reportReturnType]  # month is a date


def _need(split: Mapping[str, Mapping[date, pl.DataFrame]], name: str, table: str, month: date) -> pl.DataFrame:
    rows = split[name].get(month)
    if rows is None:
        raise MissingMonthError(f"{table} has no rows for {month:%Y-%m}: materialise that month first")
    return rows


def _month_data(split: Mapping[str, Mapping[date, pl.DataFrame]], month: date) -> tuple[MonthData, pl.DataFrame]:
    """The month's market data, and the last close of each stock in the month before."""
    before = add_months(month, -1)
    days = _need(split, "trading_days", "raw.trading_days", month)["day"].sort().to_list()
    earlier = _need(split, "trading_days", "raw.trading_days", before)["day"].max()
    bars = _need(split, "daily_bars", "raw.daily_bars", month)
    old = _need(split, "daily_bars", "raw.daily_bars", before)
    dividends = split["dividends"].get(month)
    listings = _need(split, "listings", "raw.listings", month)
    # what is held or ordered was chosen before the month: where its code then goes to another company, no row of that one
    # counts, and the one chosen is listed no more
    known = pl.concat([_need(split, "listings", "raw.listings", before), listings])
    later = handed_over(known, month, cast("date", earlier))
    data = MonthData(
        days=tuple(days),
        last_day=cast("date", earlier),  # the month has sessions
        bars=rows_before(bars, later, "day").sort("asset_key", "day"),
        dividends=_no_rows(split["dividends"]) if dividends is None else rows_before(dividends, later, "ex_day"),
        listings=listings.join(later, on="asset_key", how="anti", maintain_order="left"),
    )
    closes = old.sort("asset_key", "day").group_by("asset_key", maintain_order=True).agg(pl.col("close").last())
    return data, closes


def _no_rows(rows: Mapping[date, pl.DataFrame]) -> pl.DataFrame:
    """A dividends frame without rows."""
    for frame in rows.values():
        return frame.clear()
    return pl.DataFrame(
        schema={"asset_key": pl.Int32, "ex_day": pl.Date, "cash_per_share": pl.Float64, "shares_per_share": pl.Float64}
    )


def _style_weights(rows: pl.DataFrame, month: date) -> dict[str, Floats]:
    found: dict[str, Floats] = {}
    for strategy in STOCK_STRATEGIES:
        own = rows.filter(pl.col("strategy") == strategy)
        try:
            found[strategy] = style_vector(dict(zip(own["style"], own["weight"], strict=True)))
        except KeyError as error:
            raise MissingMonthError(
                f"marts.weights of {strategy} before {month:%Y-%m} has no weight of style {error}: materialise that month again"
            ) from error
    return found


def _shared_panel(
    data: MonthData,
    signal: Signal,
    targets: Mapping[BookName, Target],
    accounts: Mapping[BookName, Account],
    last_closes: pl.DataFrame,
    options: StockLevelOptions,
) -> tuple[Panel, Ints]:
    """One panel for all books, and the last closing prices in its order."""
    held = [account.assets for account in accounts.values()]
    assets = np.unique(np.concatenate([*(target.assets for target in targets.values()), *held])).astype(np.int64)
    mark = np.zeros(assets.size, dtype=np.int64)
    known = last_closes.filter(pl.col("asset_key").is_in(pl.Series(assets, dtype=pl.Int32).implode()))
    mark[np.searchsorted(assets, known["asset_key"].to_numpy())] = price_units(known["close"].to_numpy())
    for account in accounts.values():
        mark[np.searchsorted(assets, account.assets)] = account.mark
    return build_panel(data, assets, mark, options), mark


def _run_month(
    name: BookName, account: Account, target: Target, panel: Panel, mark: Ints, options: StockLevelOptions
) -> Ran:
    """Size the orders at the close before, run the sessions, check that everything adds up."""
    assets, sessions = panel.assets, panel.market.close.shape[0]
    long, short = spread(account, assets)
    orders = size_orders(target, assets, long, short, mark, account.cash, panel.terms, sessions, options)
    lots = lots_of(account, assets, panel.market, orders.asset, orders.side, orders.last - orders.first + 1)
    ledger, fills, profit = run_sessions(panel.market, panel.terms, lots, orders, long, short, mark, account.cash)
    after = closed(int(ledger[-1, CASH]), assets, long, short, panel.market.close[-1], lots, int(panel.terms.day[-1]))
    ran = Ran(name, ledger, fills, orders.asset, orders.side, profit, target, after, account.net_value)
    reconcile(ran, account, assets)
    return ran


def reconcile(ran: Ran, before: Account, assets: Ints) -> None:
    """Raise :class:`ReconciliationError` unless every session adds up to the fen and lots add up to shares."""
    ledger = ran.ledger
    costs = ledger[:, _COSTS].sum(axis=1)
    nav = ledger[:, CASH] + ledger[:, LONG_VALUE] - ledger[:, SHORT_VALUE]
    flow = ledger[:, SOLD] - ledger[:, BOUGHT] + ledger[:, DIVIDENDS] - ledger[:, DIVIDENDS_PAID]
    flow = flow + ledger[:, RIGHTS] + ledger[:, GONE] - costs
    book = "/".join(ran.name)
    wrong = np.flatnonzero(np.diff(nav, prepend=before.net_value) != ledger[:, PROFIT] - costs)
    if wrong.size:
        raise ReconciliationError(f"{book}: net value, profit and costs disagree in session {wrong[0]} of the month")
    wrong = np.flatnonzero(np.diff(ledger[:, CASH], prepend=before.cash) != flow)
    if wrong.size:
        raise ReconciliationError(f"{book}: cash and its flows disagree in session {wrong[0]} of the month")
    owned = np.bincount(np.searchsorted(assets, ran.account.lots.asset), ran.account.lots.shares, assets.size)
    held = np.zeros(assets.size)
    held[np.searchsorted(assets, ran.account.assets)] = ran.account.long
    if (
        ran.account.net_value != int(nav[-1])
        or bool((owned != held).any())
        or int(ran.profit.sum()) != int(ledger[:, PROFIT].sum())
    ):
        raise ReconciliationError(f"{book}: positions, lots and the ledger disagree at the end of the month")


_TYPES = {"DATE": pl.Date, "DOUBLE": pl.Float64, "BIGINT": pl.Int64, "VARCHAR": pl.String, "ASSET": pl.Int32}


def _schema(table: Table) -> dict[str, type[pl.DataType]]:
    return {name: _TYPES[table.column(name).type] for name in table.stored_names}
