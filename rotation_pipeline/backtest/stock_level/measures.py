"""Table STOCK_MEASURES: what the stock-level books earned, what it cost, and how much money they could hold.

The index is a price index while the books receive dividends: their excess over it contains ``dividend_yield``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl

from rotation_pipeline.allocation.frames import MissingMonthError, as_month
from rotation_pipeline.backtest import measures as m
from rotation_pipeline.backtest.options import BacktestOptions
from rotation_pipeline.backtest.resampling import percentile_interval, resampled_moments, stationary_months
from rotation_pipeline.backtest.stock_level.rows import COSTS
from rotation_pipeline.backtest.stock_level.tables import STOCK_MEASURES, STOCK_STRATEGIES
from rotation_pipeline.market.conventions import Floats

COMPARED_WITH = "equal_weight"
MEASURE_NAMES: tuple[str, ...] = (
    "annualised_return", "capacity", "cost_drag", "dividend_yield", "excess_to_equal_weight", "excess_to_index",
    "gross_annualised_return", "information_ratio", "max_drawdown", "sharpe", "tracking_error", "turnover", "unfilled",
    "volatility",
)  # fmt: skip
"""What is measured. Returns, costs, excess, volatility and tracking error are fractions per year, net unless they say gross;
turnover ½ (bought + sold) / net value, fraction per month; unfilled the part of the ordered money never done; excess and
information ratio against the index (null for the long-short book, which holds no market), or against the equal-weight book
of the same portfolio (null for itself); capacity the net value in CNY up to which 95 % of the ordered money stays within the participation cap on its first session."""
CAPACITY_SHARE = 0.95
_KEYS = ("strategy", "portfolio")


@dataclass(frozen=True, slots=True)
class BookMonths:
    """One book by month, (n,): returns, and the parts of its net value at the start."""

    net: Floats
    gross: Floats
    turnover: Floats
    dividends: Floats
    ordered: Floats
    """CNY ordered."""
    unfilled: Floats
    """CNY of it never done."""
    usage: tuple[Floats, ...]
    """By month: (k, 2) of participation-cap units needed per CNY of net value, and CNY ordered."""

    def until(self, count: int) -> BookMonths:
        """The first ``count`` months, as fresh arrays."""
        return BookMonths(
            net=np.ascontiguousarray(self.net[:count]),
            gross=np.ascontiguousarray(self.gross[:count]),
            turnover=np.ascontiguousarray(self.turnover[:count]),
            dividends=np.ascontiguousarray(self.dividends[:count]),
            ordered=np.ascontiguousarray(self.ordered[:count]),
            unfilled=np.ascontiguousarray(self.unfilled[:count]),
            usage=self.usage[:count],
        )


def stock_measures(
    daily: pl.DataFrame,
    orders: pl.DataFrame,
    index_returns: pl.DataFrame,
    months: Iterable[date],
    options: BacktestOptions,
) -> pl.DataFrame:
    """Rows of STOCK_MEASURES for ``months``.

    ``daily``, ``orders``: rows of STOCK_BACKTEST and STOCK_ORDERS from their first month on; ``index_returns``: month, ret. Each
    month's rows use the months up to it. MissingMonthError names the table and month to materialise.
    """
    stored = daily["month"].unique().sort().to_list()
    market_of = dict(zip(index_returns["month"], index_returns["ret"], strict=True))
    lacking = [month for month in stored if market_of.get(month) is None]
    if lacking:
        raise MissingMonthError(
            f"intermediate.index_monthly has no return for {lacking[0]:%Y-%m}: materialise that month first"
        )
    market = np.array([market_of[month] for month in stored], dtype=np.float64)
    portfolios = sorted(daily["portfolio"].unique())
    books = {(s, p): _book(daily, orders, stored, s, p) for s in STOCK_STRATEGIES for p in portfolios}
    rows: list[tuple[object, ...]] = []
    for month in sorted(set(months)):
        if month not in stored:
            raise MissingMonthError(f"marts.stock_backtest has no rows for {month:%Y-%m}: materialise that month first")
        count = stored.index(month) + 1
        known = {book: months_of.until(count) for book, months_of in books.items()}
        rows += _as_of(month, known, np.ascontiguousarray(market[:count]), options)
    schema = {
        "month": pl.Date, "strategy": pl.String, "portfolio": pl.String, "measure": pl.String, "value": pl.Float64,
        "low": pl.Float64, "high": pl.Float64, "months": pl.Int32,
    }  # fmt: skip
    return pl.DataFrame(rows, schema=schema, orient="row").select(STOCK_MEASURES.stored_names)


def _book(
    daily: pl.DataFrame, orders: pl.DataFrame, stored: Sequence[date], strategy: str, portfolio: str
) -> BookMonths:
    own = (pl.col("strategy") == strategy) & (pl.col("portfolio") == portfolio)
    sums = ("profit_fen", "bought_fen", "sold_fen", "dividends_fen", *(f"{name}_fen" for name in COSTS))
    monthly = (
        daily.filter(own).sort("day").group_by("month", maintain_order=True)
        .agg(pl.col("nav_fen").last(), *(pl.col(name).sum() for name in sums)).sort("month")
    )  # fmt: skip
    if monthly["month"].to_list() != list(stored):
        raise MissingMonthError(
            f"marts.stock_backtest lacks months of {strategy}/{portfolio}: materialise its first months again"
        )
    costs = sum(monthly[f"{name}_fen"].to_numpy() for name in COSTS)
    nav, profit = monthly["nav_fen"].to_numpy(), monthly["profit_fen"].to_numpy()
    start = nav - profit + costs
    ordered, unfilled, usage = _orders(orders.filter(own), stored, start)
    return BookMonths(
        net=nav / start - 1.0,
        gross=profit / start,
        turnover=(monthly["bought_fen"].to_numpy() + monthly["sold_fen"].to_numpy()) / (2.0 * start),
        dividends=monthly["dividends_fen"].to_numpy() / start,
        ordered=ordered,
        unfilled=unfilled,
        usage=usage,
    )


def _orders(orders: pl.DataFrame, stored: Sequence[date], start: Floats) -> tuple[Floats, Floats, tuple[Floats, ...]]:
    """CNY ordered and never done by month, and the usage of the participation cap on the first session."""
    of_order = ("month", "asset_key", "side")
    tried = orders.filter(pl.col("side") != "delisting").sort(*of_order, "day")
    first = tried.unique(of_order, keep="first", maintain_order=True)
    last = tried.unique(of_order, keep="last", maintain_order=True)
    split_first, split_last = _by_month(first), _by_month(last)
    ordered, unfilled = np.zeros(len(stored)), np.zeros(len(stored))
    usage: list[Floats] = []
    for place, month in enumerate(stored):
        opened, ended = split_first.get(month, first.clear()), split_last.get(month, last.clear())
        worth = opened["requested_fen"].to_numpy() / 100.0
        ordered[place] = float(worth.sum())
        left = ended["requested"].to_numpy() - ended["filled"].to_numpy()
        unfilled[place] = float(
            (ended["requested_fen"].to_numpy() / 100.0 * left / ended["requested"].to_numpy()).sum()
        )
        room = opened["capacity"].to_numpy()
        traded = room > 0
        need = opened["requested"].to_numpy()[traded] / room[traded] / (start[place] / 100.0)
        usage.append(np.column_stack([need, worth[traded]]))
    return ordered, unfilled, tuple(usage)


def _by_month(frame: pl.DataFrame) -> dict[object, pl.DataFrame]:
    return {key[0]: rows for key, rows in frame.partition_by("month", as_dict=True).items()}


def capacity(usage: Sequence[Floats]) -> float:
    """Net value, CNY, at which CAPACITY_SHARE of the ordered money just fits the participation cap; NaN without orders.

    ``usage``: rows (cap units needed per CNY of net value, CNY ordered); needs grow in proportion to the net value.
    """
    every = np.concatenate([np.zeros((0, 2)), *usage])
    total = float(every[:, 1].sum())
    if total <= 0.0:
        return float("nan")
    ranked = every[np.argsort(every[:, 0], kind="stable")]
    at = int(np.searchsorted(np.cumsum(ranked[:, 1]), CAPACITY_SHARE * total))
    need = float(ranked[min(at, ranked.shape[0] - 1), 0])
    return 1.0 / need if need > 0.0 else float("nan")


def _as_of(
    month: date, books: dict[tuple[str, str], BookMonths], market: Floats, options: BacktestOptions
) -> list[tuple[object, ...]]:
    """Rows of one month."""
    intervals = _intervals(month, books, market, options)
    rows: list[tuple[object, ...]] = []
    for (strategy, portfolio), book in sorted(books.items()):
        values = _values(book, market, books[COMPARED_WITH, portfolio].net, options)
        for name in MEASURE_NAMES:
            found: tuple[float | None, ...] = (None, None, None)
            if _applies(name, strategy, portfolio):
                found = (_known(values[name]), *intervals.get((strategy, portfolio, name), (None, None)))
            rows.append((month, strategy, portfolio, name, *found, market.size))
    return rows


def _applies(name: str, strategy: str, portfolio: str) -> bool:
    """No book is compared with itself, and none that holds no market with the index."""
    if name == "excess_to_equal_weight":
        return strategy != COMPARED_WITH
    return portfolio != "long_short" or name not in ("excess_to_index", "information_ratio", "tracking_error")


def _known(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _values(book: BookMonths, market: Floats, base: Floats, options: BacktestOptions) -> dict[str, float]:
    year = options.periods_per_year
    ordered = float(book.ordered.sum())
    return {
        "annualised_return": float(m.annualised_return(book.net, year)),
        "capacity": capacity(book.usage),
        "cost_drag": float((book.gross - book.net).mean()) * year,
        "dividend_yield": float(book.dividends.mean()) * year,
        "excess_to_equal_weight": float(m.excess_return(book.net, base, year)),
        "excess_to_index": float(m.excess_return(book.net, market, year)),
        "gross_annualised_return": float(m.annualised_return(book.gross, year)),
        "information_ratio": float(m.information_ratio(book.net, market, year)),
        "max_drawdown": float(m.max_drawdown(book.net)),
        "sharpe": float(m.sharpe_ratio(book.net, year)),
        "tracking_error": float(m.tracking_error(book.net, market, year)),
        "turnover": float(book.turnover.mean()),
        "unfilled": float(book.unfilled.sum()) / ordered if ordered > 0.0 else float("nan"),
        "volatility": float(m.volatility(book.net, year)),
    }


def _intervals(
    month: date, books: dict[tuple[str, str], BookMonths], market: Floats, options: BacktestOptions
) -> dict[tuple[str, str, str], tuple[float | None, float | None]]:
    """Percentile intervals; the months are drawn for all books together, the same ones as for the factor-level backtest."""
    if market.size < options.minimum_months:
        return {}
    names = sorted(books)
    net = np.column_stack([books[name].net for name in names])
    base = np.column_stack([books[COMPARED_WITH, portfolio].net for _, portfolio in names])
    to_index, to_equal = net - market[:, None], net - base
    growth = np.log1p(np.maximum(net, -1.0 + 1e-12))
    stacked = np.ascontiguousarray(np.hstack([net, to_index, to_equal, growth]))
    mean, spread = resampled_moments(stacked, stationary_months(market.size, as_month(month), options))
    width, year = len(names), options.periods_per_year
    ratio = np.full((mean.shape[0], 2 * width), np.nan)
    noise = 1e-12 * np.abs(stacked[:, : 2 * width]).max(axis=0)
    np.divide(mean[:, : 2 * width], spread[:, : 2 * width], out=ratio, where=spread[:, : 2 * width] > noise)
    ratio *= np.sqrt(year)
    draws = {
        "annualised_return": np.expm1(mean[:, 3 * width :] * year),
        "sharpe": ratio[:, :width],
        "information_ratio": ratio[:, width:],
        "excess_to_index": mean[:, width : 2 * width] * year,
        "excess_to_equal_weight": mean[:, 2 * width : 3 * width] * year,
    }
    found: dict[tuple[str, str, str], tuple[float | None, float | None]] = {}
    for measure, values in draws.items():
        low, high = percentile_interval(values, options.confidence)
        for place, (strategy, portfolio) in enumerate(names):
            found[strategy, portfolio, measure] = _known(float(low[place])), _known(float(high[place]))
    return found
