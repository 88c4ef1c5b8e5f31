"""Sessions behind the months: what the jump model and the daily networks look at, checked and aligned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rotation_pipeline.factors.styles import STYLES
from rotation_pipeline.forecasting.errors import ForecastInputError
from rotation_pipeline.forecasting.frames import numbers
from rotation_pipeline.forecasting.history import DailyHistory
from rotation_pipeline.forecasting.tables import DAILY_FEATURES


@dataclass(frozen=True)
class DailyInputs:
    """``styles``: index day (a session each, ascending), columns STYLES, long-short returns in fraction per day, NaN before a
    style exists or without names in a leg. ``market``: index day, columns DAILY_FEATURES, a row for every day of
    ``styles``; NaN where unknown."""

    styles: pd.DataFrame
    market: pd.DataFrame


def _days(index: pd.Index, what: str) -> pd.DatetimeIndex:
    if not isinstance(index, pd.DatetimeIndex) or not len(index):
        raise ForecastInputError(
            f"{what}: the index must hold sessions as datetime64, got {index.dtype} of length {len(index)}"
        )
    if not index.is_monotonic_increasing or index.has_duplicates:
        raise ForecastInputError(f"{what}: sessions must ascend, each once")
    return index


def _ordinals(index: pd.DatetimeIndex) -> NDArray[np.int64]:
    return index.to_numpy().astype("datetime64[M]").astype(np.int64) + 1970 * 12


def daily_history(daily: DailyInputs, calendar: pd.DatetimeIndex) -> DailyHistory:
    """The sessions of the months of ``calendar`` as arrays. Raises ForecastInputError for missing columns or days, an
    infinity, or a month of the calendar without a session."""
    days = _days(daily.styles.index, "daily style returns")
    for frame, columns, what in (
        (daily.styles, STYLES, "daily style returns"),
        (daily.market, DAILY_FEATURES, "daily market"),
    ):
        unknown = [name for name in columns if name not in frame.columns]
        if unknown:
            raise ForecastInputError(f"{what}: no column {unknown}; it needs {list(columns)}")
    absent = days.difference(_days(daily.market.index, "daily market"))
    if len(absent):
        raise ForecastInputError(
            f"daily market has no row for {absent[0]:%Y-%m-%d} ({len(absent)} sessions absent); unknown features must be rows of NaN"
        )
    ordinals, wanted = _ordinals(days), _ordinals(calendar)
    missing = np.setdiff1d(wanted, ordinals)
    if len(missing):
        first = int(missing[0])
        raise ForecastInputError(
            f"daily style returns: no session in {first // 12}-{first % 12 + 1:02d}, but style_returns has that month"
        )
    inside = np.isin(ordinals, wanted)
    styles = numbers(daily.styles, STYLES)[inside]
    market = numbers(cast("pd.DataFrame", daily.market.loc[days]), DAILY_FEATURES)[inside]
    for values, columns, what in ((styles, STYLES, "daily style returns"), (market, DAILY_FEATURES, "daily market")):
        infinite = np.isinf(values).any(axis=0)
        if infinite.any():
            raise ForecastInputError(f"{what}: {columns[int(np.argmax(infinite))]} holds an infinity")
    return DailyHistory(np.ascontiguousarray(styles), np.ascontiguousarray(market), ordinals[inside])
