"""The factor-level backtest: what the weights of t−1 earned over t, before and after costs.

Gross return Σ w LS. Two costs, both shown: moving between styles (½ Σ|w − w⁺|) and the trading inside each style's own
long-short book (Σ|w| × its turnover), which many studies forget. A style whose book could not be formed (null return) earns
nothing and costs nothing; the weight that lay idle is shown as ``uninvested``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from rotation_pipeline.allocation.frames import (
    MissingMonthError,
    Month,
    as_month,
    as_months,
    by_month,
    make_frame,
    month_before,
    numbers,
    require,
)
from rotation_pipeline.allocation.inertia import TotalLossError, drift
from rotation_pipeline.allocation.scores import Floats
from rotation_pipeline.allocation.tables import BASELINES, HEADLINE
from rotation_pipeline.backtest.options import BacktestOptions
from rotation_pipeline.backtest.tables import BACKTEST, TIMED, UNHELD
from rotation_pipeline.factors.styles import STYLES


@dataclass(frozen=True, slots=True)
class Book:
    """Weights set at t−1 and what was traded to reach them; (K,) in the order of STYLES, ``drifted`` None at the start."""

    weight: Floats
    drifted: Floats | None


@dataclass(frozen=True, slots=True)
class StyleMonth:
    """(K,) long-short return and book turnover of each style in one month; NaN = no book."""

    returns: Floats
    turnover: Floats


@dataclass(frozen=True, slots=True)
class Row:
    """One row of BACKTEST; the names are the table's columns."""

    month: pd.Timestamp
    strategy: str
    role: str
    gross_return: float
    factor_turnover: float
    book_turnover: float
    uninvested: float
    factor_cost: float
    book_cost: float
    net_return: float
    net_value: float
    peak: float
    drawdown: float


def role(series: str) -> str:
    """What the rows of a series may be used for."""
    if series in BASELINES:
        return "baseline"
    if series in TIMED:
        return "strategy" if series == HEADLINE else "alternative"
    return {"oracle": "upper_bound", "index": "index"}[series]


def oracle_weights(returns: Floats, epsilon: float) -> Floats:
    """Inverse-regret weights with perfect foresight: w_i ∝ 1/(max_j LS_j − LS_i + ε), from the month's own returns.

    ``returns`` (K,) fraction per month; a style without a book (NaN) gets 0, and all zeros if none has one. An upper bound on
    what timing could earn, never a strategy. ε → 0 holds the month's best style only.
    """
    known = ~np.isnan(returns)
    weights = np.zeros(returns.shape)
    if known.any():
        inverse = 1.0 / (returns[known].max() - returns[known] + epsilon)
        weights[known] = inverse / inverse.sum()
    return weights


def run_backtest(
    weights: pd.DataFrame,
    longshort: pd.DataFrame,
    index_returns: pd.DataFrame,
    months: Iterable[Month],
    first_month: Month,
    previous: pd.DataFrame | None,
    options: BacktestOptions,
) -> pd.DataFrame:
    """Rows of BACKTEST for ``months``.

    ``weights``: rows of WEIGHTS for every month before one asked for. ``longshort``: style rows of LONGSHORT (month, factor,
    long_short, book_turnover), all months from the first to the last asked for. ``index_returns``: month, ret, fraction per
    month. ``first_month``: the store's first; nothing is held over it. ``previous``: rows of BACKTEST of the month before the
    first asked for, whose net value and peak go on.

    The backtest starts with the first month after ``first_month`` in which some style has a return; months before have no
    rows. Each series starts at net value 1, and its first factor turnover is 0: entering is the books' own first turnover.
    Errors: MissingMonthError names the table and month to materialise; TotalLossError the series that lost everything.
    """
    start, wanted = as_month(first_month), as_months(months)
    held, past = by_month(weights), by_month(previous)
    styles = {month: _style_month(rows, month) for month, rows in by_month(longshort).items()}
    market = {month: float(numbers(rows, "ret")[-1]) for month, rows in by_month(index_returns).items()}
    begun = [month for month, style in styles.items() if month > start and not np.isnan(style.returns).all()]
    first = min(begun, default=None)
    order = _series(held, wanted)
    rows: list[Row] = []
    values: dict[str, tuple[float, float]] = {}
    values_month: pd.Timestamp | None = None
    for month in wanted:
        if first is None or month < first:
            if month not in styles:
                raise MissingMonthError(
                    f"marts.factor_longshort has no rows for {month:%Y-%m}: materialise that month first"
                )
            continue
        before = month_before(month)
        if month == first:
            values = dict.fromkeys(order, (1.0, 1.0))
        elif values_month != before:
            values = _stored_values(past, month, order)
        books = _books(require("marts.weights", held, before, f"to backtest {month:%Y-%m}"), before, order)
        books["oracle"] = _oracle(styles, month, None if month == first else before, options.oracle_epsilon)
        style = _held_month(styles, month)
        if month not in market or np.isnan(market[month]):
            raise MissingMonthError(
                f"index_returns has no return for {month:%Y-%m}: materialise the index of that month first"
            )
        for series in order:
            if series == "index":
                row = _row(month, series, market[month], 0.0, 0.0, 0.0, values[series], options)
            else:
                book = books[series] if month != first else Book(books[series].weight, None)
                row = _row(month, series, *_earned(book, style), values[series], options)
            rows.append(row)
            values[series] = (row.net_value, row.peak)
        values_month = month
    return _frame(rows)


def _earned(book: Book, style: StyleMonth) -> tuple[float, float, float, float]:
    """Gross return, factor turnover, book turnover and uninvested weight of a book over one month."""
    absent = np.isnan(style.returns)
    size = np.abs(book.weight)
    gross = float(np.sum(book.weight * np.where(absent, 0.0, style.returns)))
    factor_turnover = 0.0 if book.drifted is None else 0.5 * float(np.abs(book.weight - book.drifted).sum())
    book_turnover = float(np.sum(size * np.where(absent, 0.0, style.turnover)))
    return gross, factor_turnover, book_turnover, float(np.sum(np.where(absent, size, 0.0)))


def _row(
    month: pd.Timestamp,
    series: str,
    gross: float,
    factor_turnover: float,
    book_turnover: float,
    uninvested: float,
    before: tuple[float, float],
    options: BacktestOptions,
) -> Row:
    """One row of BACKTEST; ``before`` is net value and peak at the close of the month before."""
    cost = options.cost_bp / 1e4
    factor_cost, book_cost = factor_turnover * cost, book_turnover * cost
    net = gross - factor_cost - book_cost
    value = before[0] * (1.0 + net)
    if value <= 0.0:
        raise TotalLossError(
            f"{series} lost {-net:.1%} net in {month:%Y-%m}, all it had: check the style returns of that month"
        )
    peak = max(before[1], value)
    return Row(
        month, series, role(series), gross, factor_turnover, book_turnover, uninvested, factor_cost, book_cost, net,
        value, peak, value / peak - 1.0,
    )  # fmt: skip


def _oracle(
    styles: Mapping[pd.Timestamp, StyleMonth], month: pd.Timestamp, before: pd.Timestamp | None, epsilon: float
) -> Book:
    """The oracle's weights for ``month``, and its weights for the month before as they drifted over it."""
    weights = oracle_weights(_held_month(styles, month).returns, epsilon)
    if before is None:
        return Book(weights, None)
    returns = _held_month(styles, before).returns
    return Book(weights, drift(oracle_weights(returns, epsilon), returns, f"oracle in {before:%Y-%m}"))


def _held_month(styles: Mapping[pd.Timestamp, StyleMonth], month: pd.Timestamp) -> StyleMonth:
    """Style returns of a month of the running backtest; MissingMonthError if there is none."""
    style = styles.get(month)
    if style is None or np.isnan(style.returns).all():
        raise MissingMonthError(
            f"marts.factor_longshort has no style return for {month:%Y-%m} though the backtest has begun: materialise that month first"
        )
    return style


def _style_month(rows: pd.DataFrame, month: pd.Timestamp) -> StyleMonth:
    place = {style: i for i, style in enumerate(STYLES)}
    returns, turnover = np.full(len(STYLES), np.nan), np.full(len(STYLES), np.nan)
    found: list[str] = []
    for factor, ret, traded in zip(
        rows["factor"], numbers(rows, "long_short"), numbers(rows, "book_turnover"), strict=True
    ):
        if factor in place:
            returns[place[factor]], turnover[place[factor]] = ret, traded
            found.append(factor)
    if sorted(found) != sorted(STYLES):
        raise ValueError(
            f"marts.factor_longshort, {month:%Y-%m}: expected one row for each of {STYLES}, got {sorted(found)}"
        )
    style = StyleMonth(returns, turnover)
    unknown = ~np.isnan(style.returns) & np.isnan(style.turnover)
    if unknown.any():
        names = [name for name, missing in zip(STYLES, unknown, strict=True) if missing]
        raise ValueError(
            f"marts.factor_longshort, {month:%Y-%m}: {names} have a return but no book_turnover, so no cost"
        )
    return style


def _series(held: Mapping[pd.Timestamp, pd.DataFrame], months: list[pd.Timestamp]) -> list[str]:
    """Every series of the months, sorted: the books held over any of them, those every backtest has, oracle and index."""
    before = [month_before(month) for month in months]
    found = {str(book) for month in before if month in held for book in held[month]["strategy"].unique()}
    return sorted({*found, HEADLINE, *BASELINES, *UNHELD})


def _books(rows: pd.DataFrame, month: pd.Timestamp, order: list[str]) -> dict[str, Book]:
    """The books whose weights were set at ``month``."""
    place = {style: i for i, style in enumerate(STYLES)}
    weights = {series: np.full(len(STYLES), np.nan) for series in order if series not in UNHELD}
    drifted = {series: np.full(len(STYLES), np.nan) for series in weights}
    for series, style, weight, was in zip(
        rows["strategy"], rows["style"], numbers(rows, "weight"), numbers(rows, "drifted"), strict=True
    ):
        if series in weights:
            weights[series][place[style]], drifted[series][place[style]] = weight, was
    for series, weight in weights.items():
        if np.isnan(weight).any():
            raise MissingMonthError(
                f"marts.weights, {month:%Y-%m}: book {series} needs one weight for each of {STYLES}: materialise it again"
            )
    return {series: Book(weights[series], None if np.isnan(was).any() else was) for series, was in drifted.items()}


def _stored_values(
    past: Mapping[pd.Timestamp, pd.DataFrame], month: pd.Timestamp, order: list[str]
) -> dict[str, tuple[float, float]]:
    """Net value and peak of each series at the close of the month before ``month``."""
    before = month_before(month)
    rows = require("marts.backtest", past, before, f"as the month before {month:%Y-%m}")
    values = {
        str(series): (float(value), float(peak))
        for series, value, peak in zip(rows["strategy"], rows["net_value"], rows["peak"], strict=True)
    }
    missing = [series for series in order if series not in values]
    if missing:
        raise MissingMonthError(
            f"marts.backtest, {before:%Y-%m} has no rows of {missing}: materialise that month again"
        )
    return values


def _frame(rows: list[Row]) -> pd.DataFrame:
    columns: dict[str, object] = {}
    for name in BACKTEST.stored_names:
        column = [getattr(row, name) for row in rows]
        kind = "datetime64[ns]" if name == "month" else object if name in ("strategy", "role") else np.float64
        columns[name] = np.array(column, dtype=kind)
    return make_frame(columns, BACKTEST.stored_names)
