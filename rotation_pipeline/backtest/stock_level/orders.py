"""From target weights to orders in shares."""

from __future__ import annotations

import numpy as np

from rotation_pipeline.backtest.stock_level.account import values
from rotation_pipeline.backtest.stock_level.kernel import (
    BUY,
    COVER,
    SELL,
    SHORT,
    Ints,
    Orders,
    Terms,
    lots_to_buy,
    lots_to_sell,
)
from rotation_pipeline.backtest.stock_level.options import StockLevelOptions
from rotation_pipeline.backtest.stock_level.targets import Target


def size_orders(
    target: Target,
    assets: Ints,
    long: Ints,
    short: Ints,
    mark: Ints,
    cash: int,
    terms: Terms,
    sessions: int,
    options: StockLevelOptions,
) -> Orders:
    """Orders that bring a book from ``long``, ``short`` (A,) to the target, prices ``mark`` (0.0001 CNY), ``cash`` fen.

    The invested money is the net value less the cash buffer and less what is frozen. Sizes are rounded down to lots. Sequence:
    sales, short sales, purchases that close shorts, purchases; the last from the best score down, so that a shortage of cash
    hits the weakest. All may be tried in the first ``order_sessions`` of the month's ``sessions``.
    """
    wanted_long, wanted_short, rank = _wanted(target, assets, long, short, mark, cash, options)
    frozen = np.isin(assets, target.frozen)
    made: list[tuple[int, int, int]] = []
    for at in np.flatnonzero(~frozen).tolist():
        least, step = int(terms.lot_minimum[at]), int(terms.lot_step[at])
        for have, want, opening, closing in (
            (int(long[at]), int(wanted_long[at]), BUY, SELL),
            (int(short[at]), int(wanted_short[at]), SHORT, COVER),
        ):
            if want > have:
                shares, side = int(lots_to_buy(want - have, least, step)), opening
            else:
                shares, side = int(lots_to_sell(have - want, have, least, step)) if have else 0, closing
            if shares > 0:
                made.append((side, at, shares))
    sequence = {SELL: 0, SHORT: 1, COVER: 2, BUY: 3}
    made.sort(key=lambda order: (sequence[order[0]], rank[order[1]], order[1]))
    table = np.array(made, dtype=np.int64).reshape(-1, 3)
    count = table.shape[0]
    last = min(options.order_sessions, sessions) - 1
    return Orders(
        asset=np.ascontiguousarray(table[:, 1]),
        side=np.ascontiguousarray(table[:, 0]),
        shares=np.ascontiguousarray(table[:, 2]),
        first=np.zeros(count, dtype=np.int64),
        last=np.full(count, last, dtype=np.int64),
    )


def _wanted(
    target: Target, assets: Ints, long: Ints, short: Ints, mark: Ints, cash: int, options: StockLevelOptions
) -> tuple[Ints, Ints, Ints]:
    """Shares wanted long and short, not yet rounded to lots, and the rank of each asset's score (0 best), (A,)."""
    worth = values(long, mark) - values(short, mark)
    frozen = np.isin(assets, target.frozen)
    kept = max(int(np.maximum(worth[frozen], 0).sum()), int(np.maximum(-worth[frozen], 0).sum()))
    invested = max((cash + int(worth.sum())) * (1.0 - options.cash_buffer) - kept, 0.0)
    shares = np.zeros(assets.size)
    where = np.searchsorted(assets, target.assets)
    price = mark[where].astype(np.float64)
    shares[where] = np.where(price > 0.0, target.weight * invested * 100.0 / np.where(price > 0.0, price, 1.0), 0.0)
    rank = np.full(assets.size, assets.size, dtype=np.int64)
    rank[where[np.argsort(-target.score, kind="stable")]] = np.arange(where.size)
    return (
        np.floor(np.maximum(shares, 0.0)).astype(np.int64),
        np.floor(np.maximum(-shares, 0.0)).astype(np.int64),
        rank,
    )
