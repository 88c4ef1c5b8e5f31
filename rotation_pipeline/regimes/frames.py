"""Typed columns of pandas frames, and months as NumPy ``datetime64[M]``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rotation_pipeline.market.schema import Table
from rotation_pipeline.regimes.errors import RegimeInputError

Month = np.datetime64
"""A calendar month, ``datetime64[M]``; adding 1 gives the next."""
Array = NDArray[np.float64]


def as_month(month: date | pd.Timestamp | np.datetime64 | str) -> Month:
    """The calendar month of any day in it."""
    value: Any = month.to_datetime64() if isinstance(month, pd.Timestamp) else month
    return np.datetime64(value, "M")


def as_months(months: Iterable[date | pd.Timestamp | np.datetime64 | str]) -> list[Month]:
    """The calendar months, ascending, each once."""
    return sorted({as_month(month) for month in months})


def year_and_month(month: Month) -> tuple[int, int]:
    """(year, month), the part of every seed that depends on time."""
    number = int(month.astype(np.int64))
    return 1970 + number // 12, number % 12 + 1


def _column(frame: pd.DataFrame, name: str, table: str) -> Any:
    anything: Any = frame
    if name not in anything.columns:
        raise RegimeInputError(f"{table}: column {name} is missing")
    return anything[name]


def floats(frame: pd.DataFrame, name: str, table: str) -> Array:
    """A column as contiguous float64, null as NaN."""
    return np.ascontiguousarray(_column(frame, name, table).to_numpy(dtype=np.float64, na_value=np.nan))


def texts(frame: pd.DataFrame, name: str, table: str) -> list[str]:
    """A column of texts."""
    return [str(value) for value in _column(frame, name, table)]


def days(frame: pd.DataFrame, name: str, table: str) -> NDArray[np.datetime64]:
    """A column of dates as ``datetime64[D]``."""
    return np.asarray(_column(frame, name, table).to_numpy(dtype="datetime64[ns]").astype("datetime64[D]"))


def months_of(frame: pd.DataFrame, table: str) -> NDArray[np.datetime64]:
    """The month column as ``datetime64[M]``."""
    return np.asarray(days(frame, "month", table).astype("datetime64[M]"))


def table_frame(table: Table, columns: Mapping[str, Sequence[Any] | NDArray[Any]]) -> pd.DataFrame:
    """The columns as a frame in the table's order; dates become ``datetime64[ns]``, integers int64."""
    kinds = {column.name: column.type for column in table.columns}
    data: dict[str, Any] = {}
    for name in table.stored_names:
        values: Any = columns[name]
        if kinds[name] == "DATE":
            data[name] = np.asarray(values, dtype="datetime64[D]").astype("datetime64[ns]")
        elif kinds[name] == "DOUBLE":
            data[name] = np.asarray(values, dtype=np.float64)
        elif kinds[name] == "INTEGER":
            data[name] = np.asarray(values, dtype=np.int64)
        elif kinds[name] == "BOOLEAN":
            data[name] = np.asarray(values, dtype=np.bool_)
        else:
            data[name] = np.asarray(values, dtype=object)
    return pd.DataFrame(data)


def sorted_by_key(table: Table, rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Rows as a frame sorted by the table's key."""
    ordered = sorted(rows, key=lambda row: tuple(row[name] for name in table.key))
    return table_frame(table, {name: [row[name] for row in ordered] for name in table.stored_names})
