"""What a book owns at the close of a month, and how it enters and leaves the kernel."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from functools import lru_cache

import numpy as np

from rotation_pipeline.backtest.stock_level.kernel import BUY, Ints, Lots, Market
from rotation_pipeline.backtest.stock_level.panel import ordinal
from rotation_pipeline.market.conventions import holding_ends


@dataclass(frozen=True, slots=True)
class LotRows:
    """Long shares by day of purchase, sorted by asset and day: (m,) each, ``tax`` (m, 3) 1e-8 CNY per share."""

    asset: Ints
    day: Ints
    shares: Ints
    tax: Ints


@dataclass(frozen=True, slots=True)
class Account:
    """Cash (fen), positions (n,) with keys ascending, their last closing prices (0.0001 CNY), and the lots of the long ones."""

    cash: int
    assets: Ints
    long: Ints
    short: Ints
    mark: Ints
    lots: LotRows

    @property
    def net_value(self) -> int:
        """Cash + long − short, fen, each position rounded half up."""
        return self.cash + int(np.sum(values(self.long, self.mark) - values(self.short, self.mark)))


def values(shares: Ints, price: Ints) -> Ints:
    """Worth of shares at a price, fen, rounded half up as the kernel does."""
    return (2 * shares * price + 100) // 200


def opened(capital: float) -> Account:
    """A book with nothing but money (CNY)."""
    none = np.zeros(0, dtype=np.int64)
    return Account(
        round(capital * 100), none, none, none, none, LotRows(none, none, none, np.zeros((0, 3), dtype=np.int64))
    )


def spread(account: Account, assets: Ints) -> tuple[Ints, Ints]:
    """Long and short shares in the order of ``assets`` (A,), which must contain every key held."""
    where = np.searchsorted(assets, account.assets)
    long, short = np.zeros(assets.size, dtype=np.int64), np.zeros(assets.size, dtype=np.int64)
    long[where], short[where] = account.long, account.short
    return long, short


def lots_of(account: Account, assets: Ints, market: Market, order_asset: Ints, order_side: Ints, tries: Ints) -> Lots:
    """The lots as the kernel wants them, with room for every purchase and bonus the month may bring."""
    held = np.bincount(np.searchsorted(assets, account.lots.asset), minlength=assets.size)
    bought = np.bincount(order_asset, weights=np.where(order_side == BUY, tries, 0), minlength=assets.size)
    bonuses = (market.bonus > 0).sum(axis=0)
    width = int((held + np.minimum(bought.astype(np.int64) + bonuses, market.bonus.shape[0])).max(initial=0)) + 1
    shape = (assets.size, width)
    lots = Lots(
        day=np.zeros(shape, dtype=np.int64),
        month_end=np.zeros(shape, dtype=np.int64),
        year_end=np.zeros(shape, dtype=np.int64),
        shares=np.zeros(shape, dtype=np.int64),
        tax=np.zeros((*shape, 3), dtype=np.int64),
        first=np.zeros(assets.size, dtype=np.int64),
        free=held.astype(np.int64),
    )
    row = np.searchsorted(assets, account.lots.asset)
    column = np.arange(row.size) - np.searchsorted(row, row)  # position within the asset: rows are sorted by asset
    ends = np.array([_ends(day) for day in account.lots.day.tolist()], dtype=np.int64).reshape(-1, 2)
    lots.day[row, column], lots.shares[row, column], lots.tax[row, column] = (
        account.lots.day, account.lots.shares, account.lots.tax,
    )  # fmt: skip
    lots.month_end[row, column], lots.year_end[row, column] = ends[:, 0], ends[:, 1]
    return lots


@lru_cache(maxsize=16384)
def _ends(day: int) -> tuple[int, int]:
    month_end, year_end = holding_ends(date.fromordinal(day + date(1970, 1, 1).toordinal()))
    return ordinal(month_end), ordinal(year_end)


def closed(cash: int, assets: Ints, long: Ints, short: Ints, mark: Ints, lots: Lots, today: int) -> Account:
    """The account after the kernel's last session, ``today`` in days since 1970-01-01.

    Neighbouring lots that will be taxed alike for ever (held for more than a year, the same tax per share) become one, the
    oldest day standing for all.
    """
    keep = np.flatnonzero((long > 0) | (short > 0))
    rows: list[tuple[int, int, int, int, int, int]] = []
    for at in keep.tolist():
        for lot in range(int(lots.first[at]), int(lots.free[at])):
            tax = lots.tax[at, lot]
            aged = today > lots.year_end[at, lot]
            now = (
                int(assets[at]),
                int(lots.day[at, lot]),
                int(lots.shares[at, lot]),
                int(tax[0]),
                int(tax[1]),
                int(tax[2]),
            )
            if aged and rows and rows[-1][0] == now[0] and rows[-1][5] == now[5]:
                last = rows[-1]
                rows[-1] = (*last[:2], last[2] + now[2], *last[3:])
            else:
                rows.append(now)
    table = np.array(rows, dtype=np.int64).reshape(-1, 6)
    asset, day, left = (np.ascontiguousarray(table[:, column]) for column in range(3))
    found = LotRows(asset, day, left, np.ascontiguousarray(table[:, 3:]))
    return Account(cash, assets[keep], long[keep], short[keep], mark[keep], found)
