"""Monthly return series in one file: published factor histories, or long-short returns of another universe.

A file is a CSV (``.csv``, ``.csv.gz``) or Parquet table, one row a month. The month stands in one column (``yyyymm``, a
date or a text beginning with one) or in the two columns ``year`` and ``month``. Returns are turned into fractions; their
unit is stated by the caller and held against the numbers, because a percent taken for a fraction spoils everything
after it without a sound.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import pandas as pd

from rotation_pipeline.sources.base import SourceError

Unit = Literal["percent", "fraction"]
MONTH_COLUMNS = ("yyyymm", "date", "month", "day")
"""Names under which the month is looked for when none is given, in this order."""
MISSING_CODES = (-99.99, -999.0)
"""How public factor libraries write a missing percentage."""
SMALLEST, LARGEST = 0.002, 0.5
"""Monthly standard deviation (fraction) that return series have: 0.2 % to 50 %; outside, the unit is wrong."""


class FactorFileError(SourceError):
    """A file of return series that cannot be used; the text names the file, the column or month, and what to do."""


def read_factor_returns(
    path: Path, columns: Mapping[str, str], unit: Unit, month_column: str | None = None
) -> pd.DataFrame:
    """Returns of the named columns: index month (consecutive first days), float64, fraction per month; NaN = missing.

    ``columns``: column of the file → name of the series. ``unit``: of the file. ``month_column``: where the month
    stands; by default the first of :data:`MONTH_COLUMNS` the file has, or ``year`` and ``month``. Leading and trailing
    months in which every series is missing are dropped.

    Raises :class:`FactorFileError` for a file that is absent or unreadable, a column it has not, a value that is no
    number, a month twice, missing or out of order, and a spread that the unit cannot have.
    """
    frame = _table(path)
    absent = [name for name in columns if name not in frame.columns]
    if absent or not columns:
        raise FactorFileError(
            f"{path.name} has no column {', '.join(absent) or '(none named)'}; it has {', '.join(map(str, frame.columns))}"
        )
    months = _months(path, frame, month_column)
    order = np.argsort(months.to_numpy(), kind="stable")
    values = np.column_stack([_numbers(path, frame, name, months) for name in columns])[order]
    calendar = pd.DatetimeIndex(months[order], name="month")
    known = np.flatnonzero((~np.isnan(values)).any(axis=1))
    if not known.size:
        raise FactorFileError(f"{path.name}: {', '.join(columns)} hold no value at all")
    part = slice(int(known[0]), int(known[-1]) + 1)
    calendar, values = pd.DatetimeIndex(calendar[part]), values[part]
    _consecutive(path, calendar)
    fractions = values / 100.0 if unit == "percent" else values
    _plausible(path, fractions, list(columns), unit)
    return pd.DataFrame(fractions, index=calendar, columns=pd.Index(list(columns.values())))


def content_hash(path: Path) -> str:
    """SHA-256 of the file's bytes: what a result made of it depends on, wherever it lies."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise FactorFileError(f"{path} cannot be read ({error.strerror}); name a file of monthly returns") from error


def _table(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise FactorFileError(f"{path} does not exist; name a CSV or Parquet file of monthly returns")
    try:
        if path.suffix == ".parquet":
            return pd.read_parquet(path)
        return pd.read_csv(path, skipinitialspace=True)
    except (ValueError, OSError) as error:
        raise FactorFileError(f"{path.name} is neither a CSV nor a Parquet table: {error}") from error


def _months(path: Path, frame: pd.DataFrame, given: str | None) -> pd.DatetimeIndex:
    """First day of each row's month."""
    if given is None and {"year", "month"} <= set(frame.columns):
        texts = [f"{year}-{month}" for year, month in zip(frame["year"], frame["month"], strict=True)]
        return _parsed(path, "year and month", texts)
    name = given or next((name for name in MONTH_COLUMNS if name in frame.columns), None)
    if name is None or name not in frame.columns:
        raise FactorFileError(
            f"{path.name} has no column {given or 'of months: ' + ', '.join(MONTH_COLUMNS) + ', or year and month'}; it has "
            f"{', '.join(map(str, frame.columns))}"
        )
    values = cast("pd.Series", frame[name])
    if pd.api.types.is_datetime64_any_dtype(values):
        texts = [f"{value:%Y-%m-%d}" for value in pd.DatetimeIndex(values)]
    else:
        texts = [str(value).strip() for value in values]
    return _parsed(path, name, texts)


def _parsed(path: Path, name: str, texts: list[str]) -> pd.DatetimeIndex:
    found: list[pd.Timestamp] = []
    for row, text in enumerate(texts):
        form = {6: "%Y%m", 8: "%Y%m%d"}.get(len(text)) if text.isdigit() else "%Y-%m-%d" if len(text) > 7 else "%Y-%m"
        try:
            when = datetime.strptime(text[:10], form or "")
        except ValueError as error:
            raise FactorFileError(
                f"{path.name}, row {row + 1}: {name} = {text!r} is no month; write 196307, 1963-07-31 or two columns year and month"
            ) from error
        found.append(cast("pd.Timestamp", pd.Timestamp(year=when.year, month=when.month, day=1)))
    return pd.DatetimeIndex(found)


def _numbers(path: Path, frame: pd.DataFrame, name: str, months: pd.DatetimeIndex) -> np.ndarray[Any, Any]:
    column = cast("pd.Series", frame[name])
    numbers = np.asarray(pd.to_numeric(column, errors="coerce"), dtype=np.float64)
    wrong = np.flatnonzero((np.isnan(numbers) & np.asarray(column.notna())) | np.isinf(numbers))
    if wrong.size:
        row = int(wrong[0])
        raise FactorFileError(
            f"{path.name}: {name} of {months[row]:%Y-%m} is {str(column.iloc[row])!r}, which is no return; mend it or leave it empty"
        )
    return np.where(np.isin(numbers, MISSING_CODES), np.nan, numbers)


def _consecutive(path: Path, calendar: pd.DatetimeIndex) -> None:
    expected = pd.date_range(calendar[0], periods=len(calendar), freq="MS")
    for have, wanted in zip(calendar, expected, strict=True):
        if have != wanted:
            what = f"has {have:%Y-%m} twice" if have < wanted else f"has no row of {wanted:%Y-%m}"
            raise FactorFileError(f"{path.name} {what}; every month needs one row, with empty values where unknown")


def _plausible(path: Path, fractions: np.ndarray[Any, Any], names: list[str], unit: Unit) -> None:
    for k, name in enumerate(names):
        values = fractions[~np.isnan(fractions[:, k]), k]
        spread = float(values.std()) if values.size > 1 else float("nan")
        if values.size > 1 and float(np.ptp(values)) == 0.0:
            raise FactorFileError(f"{path.name}: {name} is the same in every month, which no return is")
        other = "fraction" if unit == "percent" else "percent"
        if spread < SMALLEST or spread > LARGEST:
            raise FactorFileError(
                f"{path.name}: read as {unit}, {name} has a monthly standard deviation of {spread:.3%}, outside "
                f"{SMALLEST:.1%} to {LARGEST:.0%}; its unit is probably {other}"
            )
