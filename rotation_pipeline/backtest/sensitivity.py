"""One cell of the sensitivity study: what the headline book does when one setting, or one convention, is another.

A cell is judged by the same functions as the headline itself, so that the cell of the settings in use has the verdict's own
numbers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields

import numpy as np
import numpy.typing as npt
import pandas as pd

from rotation_pipeline.allocation.frames import (
    MissingMonthError,
    Month,
    as_month,
    by_month,
    make_frame,
    month_before,
    numbers,
    rows_where,
)
from rotation_pipeline.backtest.history import BENCHMARK
from rotation_pipeline.backtest.options import BacktestOptions
from rotation_pipeline.backtest.significance import significance_table
from rotation_pipeline.backtest.tables import SENSITIVITY
from rotation_pipeline.factors.styles import STYLES

HEADLINE = "rotation"
IN_USE = "in use"
"""Value of the settings in use on an axis where another book stands in."""
EARNED = ("month", "strategy", "gross_return", "factor_turnover", "book_turnover")
"""Columns of BACKTEST every statistic is computed from."""


@dataclass(frozen=True, slots=True)
class Judged:
    """The headline book of one cell against equal weight, both after costs; ratios per year, NaN = too few months."""

    months: int
    sharpe: float
    baseline_sharpe: float
    difference: float
    low: float
    high: float
    p_value: float
    active_share: float
    """Mean ½ Σ|w − 1/K|."""
    turnover: float
    """½ Σ|w − w⁺| a year."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of SENSITIVITY without its month and fingerprint."""

    axis: str
    position: int
    value: str
    changes: str
    is_default: bool
    trial_id: str
    code_version: str
    judged: Judged


@dataclass(frozen=True, slots=True)
class Unvaried:
    """An axis that is not varied, or not wholly, because the book in use would not change.

    ``reason``: ``no_score``, it has none; ``no_forecast``, it reads none, so that late ones change nothing (trading a session
    late does); ``one_index``, no other index is stored; ``short_sample``, a second start would leave too few months;
    ``planned_cost``, the book plans with another cost than it is charged, which stays while the charge varies.
    """

    axis: str
    reason: str
    values: Mapping[str, object] = field(default_factory=dict[str, object])
    """What its sentence names."""
    partly: bool = False
    """Other cells of the axis are computed."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where the default stands among the distinct cells of a study."""

    cells: int
    rank: int
    """1 + the number of cells with a larger Sharpe difference than the default's."""
    positive: int
    """Cells with a difference above 0."""
    significant: int
    """Cells whose interval lies above 0."""
    worse: int
    """Cells whose interval lies below 0."""
    smallest: float
    median: float
    largest: float


def judge(
    backtest: pd.DataFrame, books: pd.DataFrame, trials: pd.DataFrame, month: Month, options: BacktestOptions
) -> Judged:
    """The headline book over all months up to ``month``, by the tests of the significance stage.

    ``backtest``: columns EARNED of every series and month from the start on; ``books``: rows of BOOKS; ``trials``: rows of
    TRIALS, which no number here depends on. MissingMonthError if the backtest has not begun by ``month``.
    """
    stamp = as_month(month)
    earned = rows_where(backtest, "strategy", HEADLINE)
    earned = pd.DataFrame(earned.loc[earned["month"] <= stamp])
    if earned.empty:
        raise MissingMonthError(f"marts.backtest has no rows up to {stamp:%Y-%m}: materialise the backtest first")
    tests = significance_table(backtest, trials, [stamp], options)
    own = rows_where(tests, "strategy", HEADLINE)
    sharpe, *_ = _statistic(own, "zero", "sharpe_bootstrap")
    difference, low, high, p_value = _statistic(own, BENCHMARK, "sharpe_difference_bootstrap")
    held = rows_where(books, "strategy", HEADLINE)
    shares = [float(numbers(rows, "active_share")[0]) for when, rows in by_month(held).items() if when <= stamp]
    return Judged(
        months=len(earned), sharpe=sharpe, baseline_sharpe=sharpe - difference, difference=difference, low=low, high=high,
        p_value=p_value, active_share=math.fsum(shares) / len(shares),
        turnover=float(numbers(earned, "factor_turnover").mean()) * options.periods_per_year,
    )  # fmt: skip


def _statistic(tests: pd.DataFrame, baseline: str, name: str) -> tuple[float, float, float, float]:
    row = rows_where(rows_where(tests, "baseline", baseline), "statistic", name)
    value, low, high, p_value = (float(numbers(row, column)[0]) for column in ("value", "low", "high", "p_value"))
    return value, low, high, p_value


def one_session_later(backtest: pd.DataFrame, weights: pd.DataFrame, daily: pd.DataFrame) -> pd.DataFrame:
    """What the books would have earned, had the style weights been changed one session late: columns EARNED.

    On the first session of month t the weights of t−2, as they had drifted by the close of t−1, still earn that session's
    style returns; those of t−1 earn the rest of the month. Turnover is that of the month end, and returns inside a month are
    added, not compounded. The books of the styles themselves are formed on time. ``weights``: rows of WEIGHTS; ``daily``:
    style rows of LONGSHORT_DAILY, null = no book that day, which earns nothing. Series without weights are left as they are.
    """
    first = daily.sort_values("day").drop_duplicates(["month", "factor"])
    opening = first.pivot(index="month", columns="factor", values="long_short").reindex(columns=list(STYLES))
    returns = {as_month(month): row for month, row in zip(opening.index, _filled(opening), strict=True)}
    late: dict[tuple[pd.Timestamp, str], npt.NDArray[np.float64]] = {}
    for month, rows in by_month(weights).items():
        for book in sorted(set(rows["strategy"])):
            own = rows_where(rows, "strategy", book).set_index("style").loc[list(STYLES)]
            weight, drifted = numbers(own, "weight"), numbers(own, "drifted")
            late[month, str(book)] = np.where(np.isnan(drifted), 0.0, drifted - weight)
    found = pd.DataFrame(backtest[list(EARNED)]).reset_index(drop=True)
    gross = numbers(found, "gross_return").copy()
    for place, (stamp, book) in enumerate(zip(found["month"], found["strategy"], strict=True)):
        month = as_month(stamp)
        shift = late.get((month_before(month), str(book)))
        if shift is not None and month in returns:
            gross[place] += float(np.sum(shift * returns[month]))
    return found.assign(gross_return=gross)


def _filled(frame: pd.DataFrame) -> npt.NDArray[np.float64]:
    values = np.array(frame, dtype=np.float64)
    return np.where(np.isnan(values), 0.0, values)


def sensitivity_rows(rows: Sequence[Row], month: Month, fingerprint: str) -> pd.DataFrame:
    """Rows of SENSITIVITY of one study as of ``month``, sorted by key."""
    stamp = as_month(month)
    ordered = sorted(rows, key=lambda row: (row.axis, row.position))
    columns: dict[str, object] = {}
    for name in SENSITIVITY.stored_names:
        values = [
            stamp
            if name == "month"
            else fingerprint
            if name == "fingerprint"
            else getattr(row if hasattr(row, name) else row.judged, name)
            for row in ordered
        ]
        kind = {"DATE": "datetime64[ns]", "DOUBLE": "float64", "INTEGER": "int32", "BOOLEAN": "bool"}
        columns[name] = np.array(values, dtype=kind.get(SENSITIVITY.column(name).type, "object"))
    return make_frame(columns, SENSITIVITY.stored_names)


def stored_rows(cells: pd.DataFrame) -> list[Row]:
    """Rows of SENSITIVITY as they were before they were stored."""
    names = [item.name for item in fields(Judged)]
    return [
        Row(
            str(cell["axis"]), int(cell["position"]), str(cell["value"]), str(cell["changes"]), bool(cell["is_default"]),
            str(cell["trial_id"]), str(cell["code_version"]),
            Judged(int(cell["months"]), *(float(cell[name]) for name in names[1:])),
        )
        for cell in cells.to_dict("records")
    ]  # fmt: skip


def standing(cells: pd.DataFrame) -> Standing:
    """Rank of the default among the distinct cells (by trial) of rows of SENSITIVITY, and the spread of their differences.

    The default is one cell however many axes show it. Cells without a difference (too few months) are left out. ValueError
    without a default.
    """
    known = pd.DataFrame(cells.loc[~np.isnan(numbers(cells, "difference"))])
    distinct = pd.DataFrame(known.loc[~known["trial_id"].duplicated()])
    own = rows_where(distinct, "is_default", True)
    if own.empty:
        raise ValueError("no cell of the study has the settings in use: run the study again")
    values = numbers(distinct, "difference")
    default = float(numbers(own, "difference")[0])
    return Standing(
        cells=values.size,
        rank=1 + int(np.count_nonzero(values > default)),
        positive=int(np.count_nonzero(values > 0.0)),
        significant=int(np.count_nonzero(numbers(distinct, "low") > 0.0)),
        worse=int(np.count_nonzero(numbers(distinct, "high") < 0.0)),
        smallest=float(values.min()),
        median=float(np.median(values)),
        largest=float(values.max()),
    )
