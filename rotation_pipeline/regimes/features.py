"""Daily features of the benchmark index.

Every window is computed from its own rows alone, in two passes where a spread is taken: running sums would make a row
depend on where the data starts and lose digits on quiet stretches.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
from numba import njit
from numpy.typing import NDArray

from rotation_pipeline.regimes.errors import RegimeInputError
from rotation_pipeline.regimes.frames import as_months, days, floats, table_frame
from rotation_pipeline.regimes.tables import FEATURE_COLUMNS, FEATURES

Array = NDArray[np.float64]
_TABLE = "intermediate.index_daily"
SESSIONS_PER_YEAR = 244
"""Shanghai sessions a year."""
SHORT_WINDOW = 21
"""Sessions of a month: return, volatility, downside deviation, turnover."""
HALF_YEAR = 122
"""Sessions of half a year. A trend against this mean, not the year's, finds
simulated regimes better (balanced accuracy 0.67 against 0.65 with Gaussian, 0.63 against 0.58 with heavy-tailed days),
because regimes last 6 to 18 months."""
LONG_WINDOW = 244
"""Sessions of a year: usual turnover, highest and mean close."""


@njit(cache=True)
def _features(close: Array, ret: Array, amount: Array, out: Array) -> None:
    """One row per session into ``out`` (n, 7); a window that is too short or holds a NaN gives NaN."""
    n = close.shape[0]
    year = float(SESSIONS_PER_YEAR)
    for t in range(n):
        if t >= SHORT_WINDOW:
            out[t, 0] = close[t] / close[t - SHORT_WINDOW] - 1.0
        if t >= SHORT_WINDOW - 1:
            mean = 0.0
            for s in range(t - SHORT_WINDOW + 1, t + 1):
                mean += ret[s]
            mean /= SHORT_WINDOW
            squares = 0.0
            downside = 0.0
            for s in range(t - SHORT_WINDOW + 1, t + 1):
                squares += (ret[s] - mean) ** 2
                # not min(): a comparison with NaN would hide it
                downside += 0.0 if ret[s] > 0.0 else ret[s] ** 2
            out[t, 1] = np.sqrt(squares / (SHORT_WINDOW - 1) * year)
            out[t, 2] = np.sqrt(downside / SHORT_WINDOW * year)
        if t >= HALF_YEAR - 1:
            total = 0.0
            for s in range(t - HALF_YEAR + 1, t + 1):
                total += close[s]
            out[t, 6] = close[t] / (total / HALF_YEAR) - 1.0
        if t >= LONG_WINDOW - 1:
            recent = 0.0
            usual = 0.0
            total = 0.0
            highest = close[t]
            for s in range(t - LONG_WINDOW + 1, t + 1):
                usual += amount[s]
                total += close[s]
                if s > t - SHORT_WINDOW:
                    recent += amount[s]
                highest = max(highest, close[s])
            if usual > 0.0:
                out[t, 3] = (recent / SHORT_WINDOW) / (usual / LONG_WINDOW)
            out[t, 4] = close[t] / highest - 1.0
            out[t, 5] = close[t] / (total / LONG_WINDOW) - 1.0


def index_features(index_daily: pd.DataFrame, months: Sequence[date | pd.Timestamp]) -> pd.DataFrame:
    """intermediate.index_features of the sessions of ``months``.

    Args:
        index_daily: one row per session of one index, ascending: ``day``, ``close`` (index points), ``ret`` (simple
            return, fraction; null in the first row only) and ``amount`` (CNY, nullable), with 243 sessions before the
            first wanted one where all features are wanted; later sessions are ignored.
        months: calendar months, any day of each.

    Returns:
        Frame with the columns of ``FEATURES``, sorted by day. Null: the window reaches before the first session, or
        an amount in it is missing.

    Raises:
        RegimeInputError: unsorted or repeated days, a close that is missing or not positive, a gap in the returns, or
            a month without sessions.
    """
    stamps = days(index_daily, "day", _TABLE)
    close, ret, amount = (floats(index_daily, name, _TABLE) for name in ("close", "ret", "amount"))
    _check(stamps, close, ret)
    session_months = stamps.astype("datetime64[M]")
    wanted = as_months(months)
    for month in wanted:
        if not (session_months == month).any():
            raise RegimeInputError(f"{_TABLE}: no session in {month}; load that month first")
    out = np.full((stamps.size, len(FEATURE_COLUMNS)), np.nan)
    _features(close, ret, amount, out)
    chosen = np.isin(session_months, np.asarray(wanted, dtype="datetime64[M]"))
    columns: dict[str, NDArray[Any]] = {"month": session_months[chosen], "day": stamps[chosen]}
    for position, name in enumerate(FEATURE_COLUMNS):
        columns[name] = out[chosen, position]
    return table_frame(FEATURES, columns)


def _check(stamps: NDArray[np.datetime64], close: Array, ret: Array) -> None:
    if stamps.size and not (np.diff(stamps) > np.timedelta64(0, "D")).all():
        raise RegimeInputError(f"{_TABLE}: days must be unique and ascending; pass one index, sorted by day")
    bad = np.flatnonzero(~(close > 0.0))
    if bad.size:
        raise RegimeInputError(f"{_TABLE}: close of {stamps[bad[0]]} is missing or not positive")
    gaps = np.flatnonzero(np.isnan(ret[1:])) + 1
    if gaps.size:
        raise RegimeInputError(f"{_TABLE}: ret of {stamps[gaps[0]]} is missing; only the first may be")
