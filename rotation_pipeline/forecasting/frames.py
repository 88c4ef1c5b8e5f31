"""Typed corners of pandas: months of a calendar, columns as arrays, tables in their stored form."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rotation_pipeline.market.schema import Table


def month_at(calendar: pd.DatetimeIndex, row: int) -> pd.Timestamp:
    """The month in ``row``."""
    return cast("pd.Timestamp", calendar[row])


def row_of(calendar: pd.DatetimeIndex, month: pd.Timestamp) -> int:
    """Row of ``month``, −1 if absent."""
    return int(calendar.get_indexer(pd.DatetimeIndex([month]))[0])


def as_months(values: Iterable[Any]) -> list[pd.Timestamp]:
    """Distinct timestamps in order."""
    return sorted({cast("pd.Timestamp", pd.Timestamp(value)) for value in values})


def texts(frame: pd.DataFrame, column: str) -> list[str]:
    """A text column as a list."""
    return [str(value) for value in cast("pd.Series", frame[column])]


def numbers(frame: pd.DataFrame, columns: str | Sequence[str]) -> NDArray[np.float64]:
    """One column (n) or several (n × columns) as contiguous float64; null becomes NaN."""
    chosen = frame[columns if isinstance(columns, str) else list(columns)]
    return np.ascontiguousarray(np.asarray(chosen, dtype=np.float64))


def select(frame: pd.DataFrame, rows: Any) -> pd.DataFrame:
    """Rows of ``frame`` where ``rows`` is true, renumbered."""
    return cast("pd.DataFrame", frame[rows]).reset_index(drop=True)


def stored(frame: pd.DataFrame, table: Table) -> pd.DataFrame:
    """``frame`` with the table's stored columns in their order, sorted by its key."""
    return cast("pd.DataFrame", frame[table.stored_names]).sort_values(list(table.key), ignore_index=True)
