"""Accounts and what happened to them as rows of tables, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import numpy as np
import polars as pl

from rotation_pipeline.allocation.frames import MissingMonthError
from rotation_pipeline.backtest.stock_level.account import Account, LotRows, values
from rotation_pipeline.backtest.stock_level.kernel import FILLS, LEDGER, REASONS, SIDES, Ints
from rotation_pipeline.backtest.stock_level.panel import PRICE_UNIT, Panel, price_units
from rotation_pipeline.backtest.stock_level.targets import Target
from rotation_pipeline.market.conventions import Floats

EPOCH = date(1970, 1, 1)
COSTS = ("commission", "stamp_duty", "transfer_fee", "slippage", "dividend_tax", "lending_fee")
"""Ledger columns that leave the book for good."""
BookName = tuple[str, str]
"""(strategy, portfolio)."""


@dataclass(frozen=True, slots=True)
class Ran:
    """One book over one month: the ledger by session, the fills, the gross profit per asset, the account at the close."""

    name: BookName
    ledger: Ints
    fills: Ints
    order_asset: Ints
    order_side: Ints
    profit: Ints
    target: Target
    account: Account
    nav_before: int
    """Net value at the close before the month, fen."""


Columns = dict[str, Any]
"""Arrays of one length by column; other values repeat."""


@dataclass(slots=True)
class TableRows:
    """Columns of one table, gathered book by book and month by month."""

    parts: dict[str, list[Any]] = field(default_factory=dict[str, list[Any]])

    def add(self, columns: Columns) -> None:
        """Append rows."""
        count = next(value.size for value in columns.values() if isinstance(value, np.ndarray))
        for name, value in columns.items():
            whole = value if isinstance(value, np.ndarray) else np.full(count, value, dtype=_kind(value))
            self.parts.setdefault(name, []).append(whole)

    def frame(self, schema: Mapping[str, Any]) -> pl.DataFrame:
        """All rows with the columns and types of ``schema``."""
        typed = pl.Schema(schema)
        if not self.parts:
            return pl.DataFrame(schema=typed)
        return pl.DataFrame([
            pl.Series(name, _plain(np.concatenate(self.parts[name]))).cast(kind) for name, kind in typed.items()
        ])  # fmt: skip


def _kind(value: object) -> str:
    return "datetime64[D]" if isinstance(value, date) else "object"


def _plain(column: np.ndarray) -> Any:
    return column.tolist() if column.dtype == object else column


def daily_rows(ran: Ran, month: date, days: Sequence[date], capital: int) -> Columns:
    """Rows of marts.stock_backtest."""
    ledger = {name: ran.ledger[:, i] for i, name in enumerate(LEDGER)}
    nav = ledger["cash"] + ledger["long_value"] - ledger["short_value"]
    before = np.concatenate([[ran.nav_before], nav[:-1]])
    return {
        "month": month,
        "strategy": ran.name[0],
        "portfolio": ran.name[1],
        "day": np.array(days, dtype="datetime64[D]"),
        "nav_fen": nav,
        **{f"{name}_fen": column for name, column in ledger.items()},
        "net_return": nav / before - 1.0,
        "net_value": nav / capital,
    }


def order_rows(ran: Ran, month: date, panel: Panel, days: Sequence[date], mark: Ints) -> Columns:
    """Rows of marts.stock_orders: one per order and session it was tried, and one per delisted position."""
    found = {name: ran.fills[:, i] for i, name in enumerate(FILLS)}
    order = found["order"]
    ended = order < 0
    if ran.order_asset.size:
        at = np.maximum(order, 0)
        asset, side = np.where(ended, -1 - order, ran.order_asset[at]), np.where(ended, len(SIDES), ran.order_side[at])
    else:
        asset, side = -1 - order, np.full(order.size, len(SIDES), dtype=np.int64)
    sides = np.array([*SIDES, "delisting"], dtype=object)
    price = found["price"] / PRICE_UNIT
    return {
        "month": month,
        "strategy": ran.name[0],
        "portfolio": ran.name[1],
        "asset_key": panel.assets[asset],
        "side": sides[side],
        "day": np.array(days, dtype="datetime64[D]")[found["session"]],
        "requested": found["requested"],
        "filled": found["filled"],
        "capacity": panel.market.capacity[found["session"], asset],
        "requested_fen": values(found["requested"], mark[asset]),
        "price": np.where(found["filled"] > 0, price, np.nan),
        **{f"{name}_fen": found[name] for name in FILLS[5:11]},
        "reason": np.array(REASONS, dtype=object)[found["reason"]],
    }


def position_rows(ran: Ran, month: date, panel: Panel) -> Columns:
    """Rows of marts.stock_positions: what is held, was aimed at or moved money in the month."""
    size = panel.assets.size
    shares, weight, score = np.zeros(size, dtype=np.int64), np.zeros(size), np.full(size, np.nan)
    held = np.searchsorted(panel.assets, ran.account.assets)
    shares[held] = ran.account.long - ran.account.short
    aimed = np.searchsorted(panel.assets, ran.target.assets)
    weight[aimed], score[aimed] = ran.target.weight, ran.target.score
    close = panel.market.close[-1]
    keep = np.flatnonzero((shares != 0) | (weight != 0.0) | (ran.profit != 0))
    worth = np.sign(shares) * values(np.abs(shares), close)
    return {
        "month": month,
        "strategy": ran.name[0],
        "portfolio": ran.name[1],
        "asset_key": panel.assets[keep],
        "shares": shares[keep],
        "close": close[keep] / PRICE_UNIT,
        "value_fen": worth[keep],
        "weight": worth[keep] / ran.account.net_value,
        "target_weight": weight[keep],
        "score": score[keep],
        "profit_fen": ran.profit[keep],
    }


def lot_rows(ran: Ran, month: date) -> Columns:
    """Rows of marts.stock_lots."""
    lots = ran.account.lots
    return {
        "month": month,
        "strategy": ran.name[0],
        "portfolio": ran.name[1],
        "asset_key": lots.asset,
        "acquired_on": lots.day.astype("datetime64[D]"),
        "shares": lots.shares,
        "tax_month": lots.tax[:, 0],
        "tax_year": lots.tax[:, 1],
        "tax_longer": lots.tax[:, 2],
    }


@dataclass(frozen=True, slots=True)
class Stored:
    """Rows of the month before the first one: marts.stock_backtest, stock_positions and stock_lots."""

    daily: pl.DataFrame
    positions: pl.DataFrame
    lots: pl.DataFrame


def stored_account(name: BookName, month: date, stored: Stored) -> Account:
    """The account at the close of ``month`` from the rows stored for it; MissingMonthError if there are none."""
    of_book = (pl.col("strategy") == name[0]) & (pl.col("portfolio") == name[1])
    own = stored.daily.filter(of_book).sort("day")
    if own.is_empty():
        raise MissingMonthError(
            f"marts.stock_backtest has no rows of {'/'.join(name)} for {month:%Y-%m}: materialise that month first"
        )
    rows = stored.positions.filter(of_book & (pl.col("shares") != 0)).sort("asset_key")
    bought = stored.lots.filter(of_book).sort("asset_key", "acquired_on")
    shares = rows["shares"].to_numpy().astype(np.int64)
    closes: Floats = rows["close"].to_numpy()
    account = Account(
        cash=int(own["cash_fen"][-1]),
        assets=rows["asset_key"].to_numpy().astype(np.int64),
        long=np.maximum(shares, 0),
        short=np.maximum(-shares, 0),
        mark=price_units(closes),
        lots=LotRows(
            bought["asset_key"].to_numpy().astype(np.int64),
            np.array([(day - EPOCH).days for day in bought["acquired_on"]], dtype=np.int64),
            bought["shares"].to_numpy().astype(np.int64),
            np.ascontiguousarray(bought.select("tax_month", "tax_year", "tax_longer").to_numpy().astype(np.int64)),
        ),
    )
    if account.net_value != int(own["nav_fen"][-1]):
        raise MissingMonthError(
            f"marts.stock_positions of {'/'.join(name)} at {month:%Y-%m} are worth {account.net_value} fen with the cash, "
            f"marts.stock_backtest says {own['nav_fen'][-1]}: materialise that month again"
        )
    return account
