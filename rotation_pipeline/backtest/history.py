"""The backtest as arrays: months down, series across."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from rotation_pipeline.allocation.frames import MissingMonthError, as_month
from rotation_pipeline.allocation.scores import Floats
from rotation_pipeline.allocation.tables import BASELINES, HEADLINE
from rotation_pipeline.backtest.tables import TIMED, UNHELD

REQUIRED = (HEADLINE, *BASELINES, *UNHELD)
"""Series every backtest has."""
BENCHMARK = "equal_weight"
"""The baseline everything is compared with."""


@dataclass(frozen=True, slots=True)
class History:
    """Months (n,) ascending and, in the order of ``names``, (n, S) gross returns, factor and book turnover."""

    names: tuple[str, ...]
    """Series, sorted."""
    months: tuple[pd.Timestamp, ...]
    gross: Floats
    factor_turnover: Floats
    book_turnover: Floats

    def as_of(self, month: pd.Timestamp) -> History | None:
        """What was known at the close of ``month``; None before the backtest's start, MissingMonthError after its end.

        The arrays are fresh copies, so that later months leave no trace even in the memory layout.
        """
        if not self.months or month < self.months[0]:
            return None
        if month not in self.months:
            raise MissingMonthError(f"marts.backtest has no rows for {month:%Y-%m}: materialise that month first")
        return self.take(np.arange(self.months.index(month) + 1))

    def take(self, rows: npt.NDArray[np.int64]) -> History:
        """The months at the given positions."""
        return History(
            self.names,
            tuple(self.months[i] for i in rows),
            np.ascontiguousarray(self.gross[rows]),
            np.ascontiguousarray(self.factor_turnover[rows]),
            np.ascontiguousarray(self.book_turnover[rows]),
        )

    @property
    def strategies(self) -> tuple[str, ...]:
        """The books that time styles, the headline first."""
        return tuple(name for name in TIMED if name in self.names)

    def column(self, name: str) -> int:
        """Place of a series in the arrays."""
        return self.names.index(name)

    def net(self, cost_bp: float) -> Floats:
        """(n, S) returns after factor and book costs at ``cost_bp`` basis points per unit of turnover."""
        cost = cost_bp / 1e4
        return np.asarray(self.gross - self.factor_turnover * cost - self.book_turnover * cost, dtype=np.float64)


def read_history(backtest: pd.DataFrame) -> History:
    """Arrays of the rows of BACKTEST; MissingMonthError for a gap between months or a series without a row."""
    if backtest.empty:
        empty = np.empty((0, len(REQUIRED)))
        return History(tuple(sorted(REQUIRED)), (), empty, empty, empty)
    names = tuple(sorted({*REQUIRED, *map(str, backtest["strategy"].unique())}))
    wide = {
        name: backtest.pivot(index="month", columns="strategy", values=name).reindex(columns=list(names)).sort_index()
        for name in ("gross_return", "factor_turnover", "book_turnover")
    }
    months = tuple(as_month(month) for month in wide["gross_return"].index)
    numbered = [month.year * 12 + month.month for month in months]
    for earlier, later in zip(range(len(months)), range(1, len(months)), strict=False):
        if numbered[later] != numbered[earlier] + 1:
            raise MissingMonthError(
                f"marts.backtest has a gap after {months[earlier]:%Y-%m}: materialise the months up to {months[later]:%Y-%m}"
            )
    arrays: list[Floats] = []
    for name, frame in wide.items():
        values = np.array(frame, dtype=np.float64)
        if np.isnan(values).any():
            row, column = np.argwhere(np.isnan(values))[0]
            raise MissingMonthError(
                f"marts.backtest has no {name} of {names[column]} for {months[row]:%Y-%m}: materialise that month again"
            )
        arrays.append(values)
    return History(names, months, *arrays)
