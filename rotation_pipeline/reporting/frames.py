"""Small typed helpers on pandas frames: choosing rows, columns as arrays, months."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import numpy as np
import numpy.typing as npt
import pandas as pd


def where(frame: pd.DataFrame, **equal: object) -> pd.DataFrame:
    """Rows whose columns equal the values given; a tuple stands for any of its members."""
    keep = np.ones(len(frame), dtype=bool)
    for column, value in equal.items():
        wanted = list(cast("tuple[object, ...]", value)) if isinstance(value, tuple) else [value]
        keep &= np.asarray(frame[column].isin(wanted), dtype=bool)
    return chosen(frame, keep)


def between(frame: pd.DataFrame, start: pd.Timestamp, end: pd.Timestamp) -> pd.DataFrame:
    """Rows with a month from ``start`` to ``end``, both included."""
    return chosen(frame, np.asarray((frame["month"] >= start) & (frame["month"] <= end), dtype=bool))


def chosen(frame: pd.DataFrame, keep: npt.NDArray[np.bool_]) -> pd.DataFrame:
    """Rows where ``keep`` (n,) is true, numbered anew."""
    return cast("pd.DataFrame", frame.loc[keep]).reset_index(drop=True)


def records(frame: pd.DataFrame) -> list[dict[str, object]]:
    """Rows as dictionaries."""
    return [{str(key): value for key, value in row.items()} for row in frame.to_dict("records")]


def floats(frame: pd.DataFrame, column: str) -> npt.NDArray[np.float64]:
    """A column as float64 (n,), NaN for null."""
    return np.asarray(frame[column].astype("float64"), dtype=np.float64)


def labels(frame: pd.DataFrame, column: str) -> list[str]:
    """A column as text."""
    return [str(value) for value in frame[column]]


def number(value: object) -> float | None:
    """A stored number, None where it is null or not finite."""
    if value is None or value is pd.NA or value is pd.NaT:
        return None
    converted = float(str(value))
    return converted if math.isfinite(converted) else None


def stamp(month: object) -> pd.Timestamp:
    """A date of any kind as a timestamp; ValueError for a missing one."""
    made = pd.Timestamp(str(month))
    if not isinstance(made, pd.Timestamp):
        raise ValueError(f"{month!r} is not a date")
    return made


def months_later(month: object, count: int) -> pd.Timestamp:
    """First day of the month ``count`` after that of ``month`` (before it, if negative)."""
    own = stamp(month)
    place = own.year * 12 + own.month - 1 + count
    return stamp(f"{place // 12:04d}-{place % 12 + 1:02d}-01")


def months_of(frame: pd.DataFrame) -> Sequence[pd.Timestamp]:
    """The different months of a frame in order."""
    return sorted({stamp(month) for month in frame["month"]})
