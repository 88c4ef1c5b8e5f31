"""Are the stock-level books better than their yardsticks, every look counted?

A stock-level book trades weights that were searched for at the factor level, so its claim is deflated by **all** trials:
the configurations evaluated there and the ways of trading them evaluated here. Only excess returns are deflated, and with the
variance of the stock-level trials' own information ratios: the net return of a long-only book is mostly the market's, which no
search found, and its ratio says nothing about those of market-neutral books. The yardstick is static equal weight traded
as the same portfolio; it is no trial itself. Books that hold the market are set beside the index too, which is a price index: that
excess contains the dividends received.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import polars as pl

from rotation_pipeline.allocation.frames import MissingMonthError, as_month
from rotation_pipeline.backtest.counting import Tried, counted, latest_until, read_trials, spread
from rotation_pipeline.backtest.methods import method_text
from rotation_pipeline.backtest.options import BacktestOptions
from rotation_pipeline.backtest.resampling import stationary_months
from rotation_pipeline.backtest.significance import (
    BLOCK_TAG,
    Known,
    Statistic,
    belief_rows,
    excess_row,
    sharpe_rows,
)
from rotation_pipeline.backtest.stock_level.measures import COMPARED_WITH
from rotation_pipeline.backtest.stock_level.rows import COSTS
from rotation_pipeline.backtest.stock_level.tables import STOCK_SIGNIFICANCE, STOCK_STRATEGIES
from rotation_pipeline.backtest.trials import STOCK_BOOK, Evaluated
from rotation_pipeline.market.conventions import Floats
from rotation_pipeline.regimes.statistics import benjamini_hochberg, generator

JUDGED = STOCK_STRATEGIES[0]
INDEX = "index"
HOLDS_NO_MARKET = ("long_short",)


def monthly_net(daily: pl.DataFrame) -> dict[tuple[str, str], tuple[tuple[pd.Timestamp, ...], Floats]]:
    """Months (n,) and net returns (n,) of each (strategy, portfolio) of rows of STOCK_BACKTEST, every month from the first on."""
    monthly = (
        daily.sort("day").group_by("strategy", "portfolio", "month", maintain_order=True)
        .agg(pl.col("nav_fen").last(), pl.col("profit_fen").sum(), pl.sum_horizontal(*(pl.col(f"{name}_fen").sum() for name in COSTS)).alias("costs"))
        .sort("month")
    )  # fmt: skip
    found: dict[tuple[str, str], tuple[tuple[pd.Timestamp, ...], Floats]] = {}
    for (strategy, portfolio), rows in monthly.partition_by("strategy", "portfolio", as_dict=True).items():
        nav = rows["nav_fen"].to_numpy()
        start = nav - rows["profit_fen"].to_numpy() + rows["costs"].to_numpy()
        stamps = tuple(as_month(month) for month in rows["month"].to_list())
        found[str(strategy), str(portfolio)] = stamps, np.asarray(nav / start - 1.0, dtype=np.float64)
    return found


def stock_trials(daily: pl.DataFrame, configurations: Mapping[str, Mapping[str, Any]]) -> list[Evaluated]:
    """The strategy's books as configurations evaluated; ``configurations``: per portfolio everything that shapes it.

    MissingMonthError where a book and equal weight traded in the same way have other months.
    """
    net = monthly_net(daily)
    found: list[Evaluated] = []
    for (strategy, portfolio), (months, returns) in sorted(net.items()):
        if strategy == COMPARED_WITH:
            continue
        theirs, benchmark = net.get((COMPARED_WITH, portfolio), ((), np.empty(0)))
        if theirs != months:
            raise MissingMonthError(
                f"marts.stock_backtest has other months of {strategy} than of {COMPARED_WITH} as {portfolio}: materialise it from "
                "its first month on"
            )
        found.append(Evaluated(STOCK_BOOK, strategy, configurations[portfolio], months, returns, benchmark))
    return found


def stock_significance(
    daily: pl.DataFrame,
    index_returns: pl.DataFrame,
    trials: pd.DataFrame,
    months: Iterable[date],
    options: BacktestOptions,
) -> pd.DataFrame:
    """Rows of STOCK_SIGNIFICANCE for ``months``, each from months up to it.

    ``daily``: rows of STOCK_BACKTEST from their first month on; ``index_returns``: month, ret; ``trials``: rows of TRIALS, every
    configuration ever evaluated. Below ``minimum_months`` values are null. MissingMonthError names the table and month to
    materialise.
    """
    net = monthly_net(daily)
    market = {as_month(month): value for month, value in zip(index_returns["month"], index_returns["ret"], strict=True)}
    portfolios = sorted(portfolio for strategy, portfolio in net if strategy == JUDGED)
    tried = read_trials(trials)
    found: list[tuple[object, ...]] = []
    for month in sorted({as_month(month) for month in months}):
        considered = counted(latest_until(tried, month))
        rows: list[tuple[str, Statistic]] = []
        for portfolio in portfolios:
            known = _known(net, portfolio, market, month, considered, options)
            rows += [(portfolio, row) for row in _statistics(known, portfolio)]
        tests = [(p, row) for p, row in rows if row.name == "sharpe_difference_bootstrap"]
        adjusted = benjamini_hochberg(np.array([row.p_value for _, row in tests]))
        detail = method_text("adjusted", count=int(np.count_nonzero(~np.isnan(adjusted))))
        for (portfolio, row), p_value in zip(tests, adjusted, strict=True):
            corrected = Statistic(
                JUDGED, row.baseline, "sharpe_difference_adjusted", row.value, p_value=float(p_value), detail=detail
            )
            rows.append((portfolio, corrected))
        rows.sort(key=lambda pair: (pair[0], pair[1].baseline, pair[1].name))
        found += [
            (month, r.strategy, p, r.baseline, r.name, r.value, r.low, r.high, r.p_value, r.trials, r.detail)
            for p, r in rows
        ]
    return _frame(found)


def _statistics(known: Known, portfolio: str) -> list[Statistic]:
    found = [*sharpe_rows(known, JUDGED, COMPARED_WITH), *belief_rows(known, JUDGED, COMPARED_WITH)]
    found.append(excess_row(known, JUDGED, COMPARED_WITH))
    if portfolio not in HOLDS_NO_MARKET:
        found.append(excess_row(known, JUDGED, INDEX))
        found += [row for row in belief_rows(known, JUDGED, INDEX) if row.name != "deflated_sharpe"]
    return found


def _known(
    net: Mapping[tuple[str, str], tuple[tuple[pd.Timestamp, ...], Floats]],
    portfolio: str,
    market: Mapping[pd.Timestamp, float | None],
    month: pd.Timestamp,
    trials: Sequence[Tried],
    options: BacktestOptions,
) -> Known:
    """The book, its yardstick and the index up to ``month``; months drawn as for the factor-level books."""
    stamps = net[JUDGED, portfolio][0]
    if month not in stamps or net[COMPARED_WITH, portfolio][0] != stamps:
        raise MissingMonthError(
            f"marts.stock_backtest lacks rows of {portfolio} up to {month:%Y-%m}: materialise its months from the first on"
        )
    count = stamps.index(month) + 1
    lacking = [stamp for stamp in stamps[:count] if market.get(stamp) is None]
    if lacking:
        raise MissingMonthError(
            f"intermediate.index_monthly has no return for {lacking[0]:%Y-%m}: materialise that month first"
        )
    columns = [net[JUDGED, portfolio][1][:count], net[COMPARED_WITH, portfolio][1][:count]]
    columns.append(np.array([market[stamp] for stamp in stamps[:count]], dtype=np.float64))
    block = max(1, min(round(options.mean_block), count // 4))
    random = generator((options.seed, month.year, month.month, BLOCK_TAG))
    starts = random.integers(0, count, size=(options.resamples, count // block), dtype=np.int64)
    return Known(
        (JUDGED, COMPARED_WITH, INDEX), (JUDGED,), np.column_stack(columns), max(len(trials), 1), 0.0, _variance(trials, count), starts, block,
        stationary_months(count, month, options), options,
    )  # fmt: skip


def _variance(trials: Sequence[Tried], months: int) -> float:
    """Variance of the information ratios of the stock-level trials over ``months`` months; NaN below two of them."""
    own = [row for row in trials if row.kind == STOCK_BOOK]
    return spread(own, months, "information_ratio") if len(own) > 1 else math.nan


def _frame(rows: list[tuple[object, ...]]) -> pd.DataFrame:
    columns: dict[str, object] = {}
    for place, name in enumerate(STOCK_SIGNIFICANCE.stored_names):
        values = [row[place] for row in rows]
        if name == "month":
            columns[name] = np.array(values, dtype="datetime64[ns]")
        elif name == "trials":
            columns[name] = pd.array(values, dtype="Int32")
        elif name in ("value", "low", "high", "p_value"):
            columns[name] = np.array(values, dtype=np.float64)
        else:
            columns[name] = np.array(values, dtype=object)
    return pd.DataFrame(columns)
