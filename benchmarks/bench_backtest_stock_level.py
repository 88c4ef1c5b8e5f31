"""Stock-level engine against backtrader on the same orders, and its time on 50 and 5,000 stocks.

Run: ``python benchmarks/bench_backtest_stock_level.py [rounds] [stocks]`` (default 3 rounds; 5,000 stocks for the large market).

Same orders: ten years of daily bars of 50 stocks, made here; each month ten of the stocks, drawn at random, are sold and ten
bought, whole lots, at the next open; commission with its minimum, stamp duty and transfer fee of the date. Both start from
frames in memory: ours builds its integer panel and runs the compiled kernel in one call, backtrader its feeds and its event
loop (``Cerebro`` as it comes). A ratio counts only if every position is the same and the cash agrees within three cents an
order, which is what rounding each fee to the cent may make. One process, one thread, warm, random order within a round; the median of
the paired CPU-second ratios is reported with its range.

Whole engine: targets, orders, panel, kernel and rows of all six books over 121 months, from frames in memory.
"""

from __future__ import annotations

import importlib.util
import random
import statistics
import sys
import time
from collections.abc import Callable
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import scoreboard
from threadpoolctl import threadpool_limits

from rotation_pipeline.backtest.stock_level.account import lots_of, opened
from rotation_pipeline.backtest.stock_level.engine import StockInputs, books_of, run_stock_level
from rotation_pipeline.backtest.stock_level.kernel import BUY, CASH, SELL, Orders, run_sessions
from rotation_pipeline.backtest.stock_level.options import StockLevelOptions
from rotation_pipeline.backtest.stock_level.panel import MonthData, build_panel
from rotation_pipeline.backtest.stock_level.tables import STOCK_STRATEGIES
from rotation_pipeline.factors.styles import STYLES
from rotation_pipeline.market.calendar import add_months, last_session, months_between, sessions
from rotation_pipeline.market.conventions import commission, stamp_duty, transfer_fee

FIRST, LAST = date(2014, 1, 1), date(2024, 1, 1)
STOCKS = 50
TRADED = 10
CAPITAL = 1e9
GOAL_SMALL, GOAL_LARGE = 2.0, 60.0
SAME_ORDERS = "stock-level engine, the same orders in backtrader"
OPTIONS = StockLevelOptions(capital=CAPITAL, execution="open", participation=1.0, slippage_bp=0.0)


def make_bars(stocks: int, days: list[date], seed: int = 0) -> pl.DataFrame:
    """Bars of ``stocks`` stocks, sorted by asset and day; no move comes near a limit."""
    rng = np.random.default_rng(seed)
    shape = (stocks, len(days))
    step = rng.uniform(-0.03, 0.03, shape)
    close = np.maximum(np.round(20.0 * np.exp(np.cumsum(step - step.mean(axis=1, keepdims=True), axis=1)), 2), 2.0)
    before = np.concatenate([close[:, :1], close[:, :-1]], axis=1)
    opening = np.round((before + close) / 2, 2)
    volume = rng.integers(10_000_000, 90_000_000, shape).astype(np.float64)
    day = np.array(days, dtype="datetime64[D]")
    # one flat price inside the day keeps the frame small; only the opening and the close matter here
    return pl.DataFrame({
        "month": np.tile(day.astype("datetime64[M]").astype("datetime64[D]"), stocks),
        "asset_key": np.repeat(((600_000 + np.arange(stocks)) * 4 + 1).astype(np.int32), len(days)),
        "day": np.tile(day, stocks),
        "open": opening.ravel(), "high": np.maximum(opening, close).ravel(), "low": np.minimum(opening, close).ravel(),
        "close": close.ravel(), "prev_close": before.ravel(), "volume": volume.ravel(), "amount": (volume * close).ravel(),
        "is_suspended": np.zeros(close.size, dtype=np.bool_), "is_st": np.zeros(close.size, dtype=np.bool_),
    }).with_columns(pl.lit("main").alias("board"))  # fmt: skip


def make_orders(days: list[date], seed: int = 1) -> list[tuple[int, int, int, int]]:
    """(session, stock, side, shares): on each month's first session all of one group is sold and another bought."""
    rng = np.random.default_rng(seed)
    firsts = [i for i in range(1, len(days)) if days[i].month != days[i - 1].month]
    held: dict[int, int] = {}
    made: list[tuple[int, int, int, int]] = []
    for session in firsts:
        made += [(session, stock, SELL, shares) for stock, shares in sorted(held.items())]
        held = {int(stock): int(rng.integers(50, 2_000)) * 100 for stock in rng.choice(STOCKS, TRADED, replace=False)}
        made += [(session + 1, stock, BUY, shares) for stock, shares in sorted(held.items())]
    return made


def no_dividends() -> pl.DataFrame:
    """A dividends frame without rows."""
    return pl.DataFrame(
        schema={"month": pl.Date, "asset_key": pl.Int32, "ex_day": pl.Date, "cash_per_share": pl.Float64, "shares_per_share": pl.Float64}
    )  # fmt: skip


def listings(keys: np.ndarray, months: list[date]) -> pl.DataFrame:
    """Everything listed long ago."""
    return pl.DataFrame({"month": np.repeat(np.array(months, dtype="datetime64[D]"), keys.size), "asset_key": np.tile(keys, len(months))}).with_columns(
        pl.lit(date(2001, 1, 4)).alias("listed_on"), pl.lit(None, dtype=pl.Date).alias("delisted_on")
    )  # fmt: skip


def ours(bars: pl.DataFrame, days: list[date], made: list[tuple[int, int, int, int]]) -> tuple[float, list[int]]:
    """Cash at the end in CNY and the shares of each stock."""
    assets = bars["asset_key"].unique().sort().to_numpy().astype(np.int64)
    data = MonthData(
        tuple(days),
        last_session(add_months(days[0], -1)),
        bars,
        no_dividends(),
        listings(assets.astype(np.int32), [FIRST]),
    )
    panel = build_panel(data, assets, np.zeros(assets.size, dtype=np.int64), OPTIONS)
    table = np.array(made, dtype=np.int64)
    columns = [np.ascontiguousarray(table[:, i]) for i in range(4)]
    orders = Orders(asset=columns[1], side=columns[2], shares=columns[3], first=columns[0], last=columns[0].copy())
    account = opened(CAPITAL)
    lots = lots_of(account, assets, panel.market, orders.asset, orders.side, np.ones(len(made), dtype=np.int64))
    long, short = np.zeros(assets.size, dtype=np.int64), np.zeros(assets.size, dtype=np.int64)
    ledger, _, _ = run_sessions(
        panel.market, panel.terms, lots, orders, long, short, np.zeros(assets.size, dtype=np.int64), account.cash
    )
    return int(ledger[-1, CASH]) / 100, long.tolist()


def backtrader_loop(
    bars: pl.DataFrame, days: list[date], made: list[tuple[int, int, int, int]]
) -> tuple[float, list[int]]:
    """The same by backtrader."""
    import backtrader as bt

    library: Any = bt

    class Fees(library.CommInfoBase):
        """Commission, stamp duty and transfer fee of the date."""

        params = (("stocklike", True), ("clock", None))

        def _getcommission(self, size: float, price: float, pseudoexec: bool) -> float:
            day = self.p.clock.datetime.date(0)
            amount = abs(size) * price
            fee, rate = transfer_fee(day), commission(day)
            stamp = stamp_duty(day, "buy" if size > 0 else "sell")
            return (
                max(rate.of_turnover * amount, rate.minimum)
                + (stamp + fee.of_turnover) * amount
                + fee.per_share * abs(size)
            )

    class Replay(library.Strategy):
        """Places each order at the close before its session."""

        def __init__(self) -> None:
            self.by_session: dict[int, list[tuple[int, int, int]]] = {}
            for session, stock, side, shares in made:
                self.by_session.setdefault(session, []).append((stock, side, shares))

        def next(self) -> None:
            for stock, side, shares in self.by_session.get(len(self), ()):
                trade = self.buy if side == BUY else self.sell
                trade(data=self.datas[stock], size=shares)

    cerebro = library.Cerebro(stdstats=False)
    for _, own in bars.to_pandas().groupby("asset_key", sort=True):
        frame = own.set_index(pd.DatetimeIndex(own["day"]))[["open", "high", "low", "close", "volume"]]
        cerebro.adddata(library.feeds.PandasData(dataname=frame))
    cerebro.broker.setcash(CAPITAL)
    cerebro.broker.addcommissioninfo(Fees(clock=cerebro.datas[0]))
    cerebro.addstrategy(Replay)
    (strategy,) = cerebro.run()
    return float(cerebro.broker.getcash()), [int(strategy.getposition(data).size) for data in strategy.datas]


def cpu(task: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds of a call, and what it gave."""
    started = time.process_time()
    found = task()
    return time.process_time() - started, found


def against_backtrader(rounds: int) -> None:
    """Print the ratio on the same orders."""
    days = sessions(FIRST, date(2024, 1, 31))
    bars, made = make_bars(STOCKS, days), make_orders(days)
    ways: dict[str, Callable[[], Any]] = {
        "ours": lambda: ours(bars, days, made),
        "backtrader": lambda: backtrader_loop(bars, days, made),
    }
    ways["ours"]()
    ratios: list[float] = []
    gap = 0.0
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for round_ in range(rounds):
        order = random.Random(round_).sample(list(ways), len(ways))
        found = {name: cpu(ways[name]) for name in order}
        (cash, shares), (their_cash, their_shares) = found["ours"][1], found["backtrader"][1]
        gap = abs(cash - their_cash)
        if shares != their_shares or gap > 0.03 * len(made):
            raise SystemExit(
                f"the engines disagree: cash {cash:.2f} and {their_cash:.2f}, shares equal: {shares == their_shares}"
            )
        for name, (seconds, _) in found.items():
            spent[name].append(seconds)
        ratios.append(found["backtrader"][0] / found["ours"][0])
    print(f"{len(made)} orders, {STOCKS} stocks, {len(days)} sessions; positions equal, cash within {gap:.2f} CNY")
    for name, seconds in spent.items():
        print(f"  {name:<12} {statistics.median(seconds):8.3f} CPU s")
    print(f"  backtrader / ours: {statistics.median(ratios):.0f} ({min(ratios):.0f} to {max(ratios):.0f})")
    scoreboard.add(SAME_ORDERS, f"{statistics.median(ratios):.0f} ×", "none set")


def make_inputs(stocks: int) -> tuple[StockInputs, list[date]]:
    """A market of ``stocks`` members with random exposures and weights."""
    months = months_between(add_months(FIRST, -1), LAST)
    bars = make_bars(stocks, sessions(months[0], date(2024, 1, 31)))
    keys = np.unique(bars["asset_key"].to_numpy())
    rng = np.random.default_rng(2)
    rows = len(months) * keys.size
    month = np.repeat(np.array(months, dtype="datetime64[D]"), keys.size)
    members = pl.DataFrame({"month": month, "asset_key": np.tile(keys, len(months))})
    exposures = pl.concat([
        members.with_columns(
            pl.lit(style).alias("factor"), pl.Series("score", rng.normal(size=rows)), pl.lit(True).alias("in_tradable")
        )
        for style in STYLES
    ])  # fmt: skip
    weights = pl.DataFrame(
        [(when, strategy, style, 1.0 / len(STYLES)) for when in months for strategy in STOCK_STRATEGIES for style in STYLES],
        schema=["month", "strategy", "style", "weight"], orient="row",
    )  # fmt: skip
    days = bars.select("month", "day").unique().sort("day")
    snapshot = members.with_columns(pl.Series("float_market_value", rng.uniform(1e9, 1e11, rows)))
    return StockInputs(weights, exposures, snapshot, bars, no_dividends(), listings(keys, months), days), months[1:]


def whole_engine(stocks: int, goal: float) -> bool:
    """Print the CPU seconds of all books over ten years; whether a book stays within the goal."""
    inputs, months = make_inputs(stocks)
    run_stock_level(inputs, months[:2], months[0], None, StockLevelOptions())  # compiled
    seconds, found = cpu(lambda: run_stock_level(inputs, months, months[0], None, StockLevelOptions()))
    each = seconds / len(books_of(StockLevelOptions()))
    verdict = "reached" if each <= goal else "MISSED"
    print(
        f"{stocks} stocks, {len(months)} months, {len(books_of(StockLevelOptions()))} books: {seconds:.1f} CPU s, {each:.2f} a book (goal {goal:g}: {verdict}); "
        f"{found.orders.height} order rows, {found.daily.height} book days"
    )
    row = f"stock-level engine, {stocks:,} stocks, ten years, a book"
    if row in scoreboard.ROWS:
        scoreboard.add(row, f"{each:.2f} CPU s", f"< {goal:g} s", scoreboard.ceiling(each, goal))
    return each <= goal


def main() -> int:
    """Run everything; 1 if a goal is missed."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    large = int(sys.argv[2]) if len(sys.argv) > 2 else 5000
    if importlib.util.find_spec("backtrader") is None:
        print("backtrader is not installed (pip install -e '.[dev]'): the same orders are not measured")
        scoreboard.add(SAME_ORDERS, "not measured: backtrader is not installed")
    else:
        against_backtrader(rounds)
    reached = [whole_engine(STOCKS, GOAL_SMALL), whole_engine(large, GOAL_LARGE)]
    return int(not all(reached))


if __name__ == "__main__":
    with threadpool_limits(1):
        code = main()
    raise SystemExit(code)
