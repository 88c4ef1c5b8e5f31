"""Plain pandas frames in and out: columns checked by name and kind, identifiers and dates in one form."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields, is_dataclass
from datetime import date
from typing import Any, TypeVar, cast

import numpy as np
import pandas as pd
import polars as pl

from rotation_pipeline.market.identifiers import IdentifierError, with_asset_id, with_asset_key

Months = Iterable[str | date | pd.Timestamp]
"""Months, each as ``2014-01``, a date or a timestamp (any day of it); ``pd.period_range`` and ``pd.date_range`` will do."""
_Options = TypeVar("_Options")
_DATE = re.compile(r"\d{4}-\d{2}(-\d{2})?")


class NotebookError(ValueError):
    """An argument that cannot be used; the message names it, the column and the row, and says what is expected."""


def month_of(value: object, what: str = "month") -> pd.Timestamp:
    """First day of the month of ``value``: a text as ``2014-01`` or ``2014-01-31``, a date, a timestamp or a period."""
    text = str(value) if isinstance(value, pd.Period) else value
    known = isinstance(text, date | np.datetime64) or (isinstance(text, str) and _DATE.fullmatch(text.strip()))
    try:
        stamp = pd.Timestamp(cast(Any, text)) if known else None
    except ValueError:
        stamp = None
    if not isinstance(stamp, pd.Timestamp):
        raise NotebookError(f"{what}: {value!r} is no month; write it as '2014-01'")
    return stamp.normalize().replace(day=1)


def months_of(values: Months, what: str = "months") -> list[date]:
    """Distinct months as first days, ascending."""
    if isinstance(values, str):
        values = [values]
    found = sorted({month_of(value, what) for value in values})
    if not found:
        raise NotebookError(f"{what}: no month is asked for")
    return [stamp.date() for stamp in found]


def checked(options: _Options) -> _Options:
    """``options`` if every field lies within its bounds, else an error that names the field.

    A dataclass does not look at what it is given; the settings of the pipeline do, and so does this.
    """
    from pydantic import TypeAdapter, ValidationError

    if not is_dataclass(options) or isinstance(options, type):
        raise NotebookError(f"options: {options!r} is no options object")
    values = {field.name: getattr(options, field.name) for field in fields(options)}
    try:
        TypeAdapter(type(options)).validate_python(values)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise NotebookError(f"{type(options).__name__}.{place}: {first['msg']}, got {first['input']!r}") from error
    return cast(_Options, options)


def option_values(options: object) -> dict[str, Any]:
    """The fields of an options object by name."""
    return asdict(cast(Any, options))


def read(frame: pd.DataFrame, what: str, columns: Mapping[str, str]) -> pl.DataFrame:
    """The named columns of ``frame`` in one form each, other columns left out.

    Args:
        frame: any index. what: its name in errors.
        columns: kind by name: ``day`` (date), ``month`` (first day of any date's month), ``asset`` (column ``asset_id``,
            text as 600519.SH; comes back as integer ``asset_key``), ``text``, ``number``, ``flag``. A trailing ``?``
            allows nulls; where the column is absent, it is all null.

    Raises:
        NotebookError: no frame, no row, a missing column, a null where none may be, or a value of another kind.
    """
    if not isinstance(cast(object, frame), pd.DataFrame):
        raise NotebookError(f"{what}: a pandas DataFrame is expected, got {type(frame).__name__}")
    missing = [name for name, kind in columns.items() if name not in frame.columns and not kind.endswith("?")]
    if missing:
        raise NotebookError(f"{what}: column {missing[0]!r} is missing; it has {[str(name) for name in frame.columns]}")
    if not len(frame):
        raise NotebookError(f"{what}: there is no row")
    out: dict[str, pl.Series] = {}
    for name, kind in columns.items():
        values = frame[name] if name in frame.columns else pd.Series([None] * len(frame), dtype=object)
        out[name] = _column(cast(pd.Series, values), f"{what}: column {name!r}", kind)
    found = pl.DataFrame(out)
    if "asset_id" in columns:
        try:
            found = with_asset_key(found)
        except IdentifierError as error:
            raise NotebookError(f"{what}: column 'asset_id': {error}") from error
    return found


def _column(values: pd.Series, where: str, kind: str) -> pl.Series:
    plain = kind.removesuffix("?")
    empty = np.asarray(values.isna(), dtype=bool)
    if not kind.endswith("?") and empty.any():
        raise NotebookError(f"{where} is null in row {int(np.argmax(empty))}; only columns said to be nullable may be")
    try:
        if plain in ("day", "month"):
            if pd.api.types.is_numeric_dtype(values.dtype):
                raise ValueError(f"got the number {values.iloc[0]}; write dates as 2014-01-31")
            if isinstance(values.dtype, pd.PeriodDtype):
                values = values.dt.to_timestamp()
            stamps = pd.to_datetime(values, format="ISO8601")
            found = pl.Series(np.asarray(stamps, dtype="datetime64[D]")).cast(pl.Date)
            return found.dt.truncate("1mo") if plain == "month" else found
        if plain == "number":
            numbers = cast(pd.Series, pd.to_numeric(values)).to_numpy(dtype=np.float64, na_value=np.nan)
            return pl.Series(numbers).fill_nan(None)
    except (ValueError, TypeError) as error:
        raise NotebookError(f"{where}: {_kinds[plain]} expected; {error}") from error
    known = values[~empty]
    wanted = (bool, np.bool_) if plain == "flag" else str
    odd = [value for value in known.tolist() if not isinstance(value, wanted)]
    if odd:
        raise NotebookError(f"{where}: {_kinds[plain]} expected, got {odd[0]!r}")
    objects = [None if null else value for value, null in zip(values.tolist(), empty.tolist(), strict=True)]
    return pl.Series(objects, dtype=pl.Boolean if plain == "flag" else pl.String)


_kinds = {
    "day": "dates are", "month": "months are", "number": "numbers are", "flag": "True or False is",
    "text": "text is", "asset": "text as 600519.SH is",
}  # fmt: skip


def plain(frame: pl.DataFrame) -> pd.DataFrame:
    """A pandas frame with text identifiers (``asset_id``), dates as datetime64[ns], nulls as NaN or None."""
    if "asset_key" in frame.columns:
        frame = with_asset_id(frame)
    dates = [name for name, kind in frame.schema.items() if kind == pl.Date]
    return frame.with_columns(pl.col(dates).cast(pl.Datetime("ns"))).to_pandas()


def keyed_by_month(frame: pd.DataFrame, what: str, columns: Iterable[str]) -> pd.DataFrame:
    """``frame`` with ``month`` as first days (datetime64[ns]); its columns are checked by name.

    Raises:
        NotebookError: no frame, or a column is missing.
    """
    if not isinstance(cast(object, frame), pd.DataFrame):
        raise NotebookError(f"{what}: a pandas DataFrame is expected, got {type(frame).__name__}")
    missing = [name for name in ("month", *columns) if name not in frame.columns]
    if missing:
        raise NotebookError(f"{what}: column {missing[0]!r} is missing; it has {[str(name) for name in frame.columns]}")
    stamps = _column(cast(pd.Series, frame["month"]), f"{what}: column 'month'", "month") if len(frame) else []
    return frame.assign(month=np.asarray(stamps, dtype="datetime64[D]").astype("datetime64[ns]"))
