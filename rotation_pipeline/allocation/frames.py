"""Monthly frames: months as first-of-month timestamps, chains of them, and typed access to rows and columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

Month = pd.Timestamp | date | str


class MissingMonthError(ValueError):
    """A month that others build on is not in the input."""


def as_month(month: Month) -> pd.Timestamp:
    """First-of-month midnight timestamp; ValueError for any other day."""
    stamp = cast(pd.Timestamp, pd.Timestamp(month))
    if stamp.day != 1 or (stamp.hour, stamp.minute, stamp.second, stamp.microsecond) != (0, 0, 0, 0):
        raise ValueError(f"a month is given by its first day, got {month}")
    return stamp


def as_months(months: Iterable[Month]) -> list[pd.Timestamp]:
    """Months sorted, without repetition."""
    return sorted({as_month(month) for month in months})


def month_before(month: pd.Timestamp) -> pd.Timestamp:
    """The calendar month before ``month``."""
    earlier = month.year * 12 + month.month - 2
    return cast(pd.Timestamp, pd.Timestamp(year=earlier // 12, month=earlier % 12 + 1, day=1))


def by_month(frame: pd.DataFrame | None) -> dict[pd.Timestamp, pd.DataFrame]:
    """The rows of each month, months ascending; nothing for an empty frame or None."""
    if frame is None or frame.empty:
        return {}
    groups = cast(Iterable[tuple[Any, pd.DataFrame]], frame.groupby("month", sort=True))
    return {as_month(month): rows for month, rows in groups}


def require(table: str, months: Mapping[pd.Timestamp, pd.DataFrame], month: pd.Timestamp, why: str) -> pd.DataFrame:
    """The rows of ``month``, or MissingMonthError naming the table, the month and what to materialise."""
    rows = months.get(month)
    if rows is None or rows.empty:
        raise MissingMonthError(f"{table} has no rows for {month:%Y-%m}, needed {why}: materialise that month first")
    return rows


def rows_where(frame: pd.DataFrame, column: str, value: object) -> pd.DataFrame:
    """The rows whose ``column`` equals ``value``."""
    return cast(pd.DataFrame, frame[frame[column] == value])


def numbers(frame: pd.DataFrame, column: str) -> npt.NDArray[np.float64]:
    """A column as a new contiguous float array, null as NaN."""
    return np.array(frame[column].astype("float64"), dtype=np.float64)


def wide_by_month(
    frame: pd.DataFrame, names: Sequence[str], key: str, styles: Sequence[str]
) -> dict[pd.Timestamp, dict[str, dict[str, npt.NDArray[np.float64]]]]:
    """By month and column of ``names`` the (K,) values of each ``key``, styles in the order given; NaN for one without a row.

    ValueError if a key has a style twice in a month.
    """
    found: dict[pd.Timestamp, dict[str, dict[str, npt.NDArray[np.float64]]]] = {}
    if frame.empty:
        return found
    twice = frame.duplicated(["month", key, "style"])
    if twice.any():
        month, own, style = frame.loc[twice, ["month", key, "style"]].iloc[0]
        raise ValueError(
            f"{key} {own!r} has the style {style!r} twice in {as_month(month):%Y-%m}: compute that month again"
        )
    wide = frame.pivot(index=["month", key], columns="style", values=list(names))
    stamps = {month: as_month(month) for month in wide.index.unique("month")}
    for name in names:
        own_styles = cast(pd.DataFrame, wide[name])
        values = own_styles.reindex(columns=list(styles)).to_numpy(dtype=np.float64)
        for (month, own), row in zip(wide.index, np.ascontiguousarray(values), strict=True):
            found.setdefault(stamps[month], {each: {} for each in names})[name][str(own)] = row
    return found


def make_frame(columns: Mapping[str, object], names: Sequence[str]) -> pd.DataFrame:
    """A frame of ``columns`` in the order of ``names``."""
    return pd.DataFrame({name: columns[name] for name in names})
