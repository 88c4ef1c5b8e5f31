"""What is known at the close of a month: forecasts, past returns, the state of the index; nothing later."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import pandas as pd

from rotation_pipeline.allocation.frames import MissingMonthError, as_month, by_month, numbers, require, rows_where
from rotation_pipeline.allocation.scores import Floats
from rotation_pipeline.factors.styles import STYLES

NETWORK = "network_lstm"
"""Expert whose forecasts the softmax_network book trades."""


@dataclass(frozen=True, slots=True)
class View:
    """What a strategy is told at t: (K,) mean, standard error and volatility, fraction per month, NaN = unknown."""

    mean: Floats
    standard_error: Floats
    volatility: Floats


@dataclass(frozen=True, slots=True)
class State:
    """What is known at the close of t."""

    month: pd.Timestamp
    mixture: View
    network: View
    returns: Floats
    """(T, K) long-short returns of the months up to t, oldest first; NaN = no book."""
    trend: float
    volatility: Floats
    """(T,) index volatility at the month ends up to t."""
    index_return: float
    book_turnover: Floats
    """(K,) turnover inside each style's long-short book over the month up to t; NaN = no book, or not handed in."""


class States:
    """Hands out what is known at t, and nothing later."""

    def __init__(
        self,
        forecasts: pd.DataFrame,
        experts: pd.DataFrame,
        style_returns: pd.DataFrame,
        index_features: pd.DataFrame,
        style_turnover: pd.DataFrame | None = None,
    ) -> None:
        self._forecasts = by_month(forecasts)
        self._experts = by_month(rows_where(experts, "expert", NETWORK))
        self._returns = style_returns.sort_index()[list(STYLES)].astype("float64")
        self._features = index_features.sort_values("month").set_index("month")
        if self._returns.index.has_duplicates or self._features.index.has_duplicates:
            raise ValueError("style_returns and index_features must have one row per month")
        turnover = self._returns * np.nan if style_turnover is None else style_turnover
        self._turnover = turnover.reindex(self._returns.index)[list(STYLES)].astype("float64")
        self._known: dict[pd.Timestamp, State] = {}

    def at(self, month: pd.Timestamp) -> State:
        """Everything the books may see at the close of ``month``."""
        if month not in self._known:
            self._known[month] = self._read(month)
        return self._known[month]

    def months_until(self, month: pd.Timestamp) -> list[pd.Timestamp]:
        """Months with a row of style returns up to ``month``, ascending."""
        return [as_month(stamp) for stamp in self._returns.loc[self._returns.index <= month].index]

    def _read(self, month: pd.Timestamp) -> State:
        needed = f"to allocate {month:%Y-%m}"
        mixture = by_style(require("marts.forecasts", self._forecasts, month, needed), "marts.forecasts", month)
        experts = self._experts.get(month)
        network = None if experts is None else by_style(experts, "marts.expert_forecasts", month)
        volatility = numbers(mixture, "volatility")
        returns = self._returns.loc[self._returns.index <= month]
        features = self._features.loc[self._features.index <= month]
        for table, index in (
            ("marts.factor_longshort", returns.index),
            ("intermediate.index_features", features.index),
        ):
            if len(index) == 0 or index[-1] != month:
                raise MissingMonthError(
                    f"{table} has no rows for {month:%Y-%m}, needed {needed}: materialise that month first"
                )
        nothing = np.full(len(STYLES), np.nan)
        return State(
            month=month,
            mixture=View(numbers(mixture, "mean"), numbers(mixture, "standard_error"), volatility),
            network=View(nothing, nothing, volatility)
            if network is None
            else View(numbers(network, "mean"), numbers(network, "standard_error"), volatility),
            returns=np.ascontiguousarray(returns.to_numpy(dtype=np.float64)),
            trend=float(features["trend"].astype("float64").iloc[-1]),
            volatility=numbers(features, "volatility"),
            index_return=float(features["index_return"].astype("float64").iloc[-1]),
            book_turnover=np.array(self._turnover.loc[month], dtype=np.float64),
        )


def by_style(rows: pd.DataFrame, table: str, month: pd.Timestamp) -> pd.DataFrame:
    """``rows`` indexed by style in the order of STYLES; ValueError if a style is missing or twice."""
    indexed = rows.set_index("style")
    if sorted(indexed.index) != sorted(STYLES):
        raise ValueError(f"{table}, {month:%Y-%m}: expected one row for each of {STYLES}, got {sorted(indexed.index)}")
    return cast(pd.DataFrame, indexed.loc[list(STYLES)])
