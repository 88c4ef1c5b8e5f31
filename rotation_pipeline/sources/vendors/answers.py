"""From what a vendor answered to typed columns: by name, strictly, naming what can't be read."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal

import polars as pl

from rotation_pipeline.sources.vendors.errors import BadAnswer

_GROUPED = re.compile(r"^[+-]?\d{1,3}(,\d{3})+(\.\d+)?$")
_EMPTY = frozenset({"", "None", "nan", "NaN", "null"})
_MOJIBAKE = re.compile("[\u0080-\u00ff\ufffd]")
"""Chinese text read as another encoding; no name of a Chinese security holds these."""


@dataclass(slots=True)
class Answer:
    """Columns and rows as the vendor sent them; ``call`` says what was asked."""

    call: str
    columns: list[str]
    rows: list[list[Any]]

    def at(self, name: str) -> int:
        """Position of a column. Raises :class:`BadAnswer` if it is not there."""
        if name not in self.columns:
            raise BadAnswer(
                f"{self.call}: there is no column {name!r} among {', '.join(self.columns) or 'none'}; the vendor or its "
                "client has changed. Nothing was stored"
            )
        return self.columns.index(name)

    def values(self, name: str) -> list[Any]:
        """Values of a column."""
        at = self.at(name)
        return [row[at] for row in self.rows]

    def once(self) -> Answer:
        """Without rows sent twice: equal in every column, those not read too, so that two equal payments stay two."""
        return Answer(self.call, self.columns, list(map(list, dict.fromkeys(map(tuple, self.rows)))))


@dataclass(frozen=True, slots=True)
class Field:
    """Where a canonical column comes from: the vendor's name, how to read it, and what one unit of it is worth."""

    column: str
    kind: Literal["text", "number", "day", "asset"]
    times: float = 1.0
    over: float = 1.0
    """The value is multiplied by ``times`` and divided by ``over``: 100 exactly, not times 0.01."""
    decimals: int | None = None
    """Rounded to so many decimals after conversion: what the vendor's own precision allows."""
    format: str = "%Y%m%d"
    required: bool = False
    """An empty value is an error."""


def frame(answer: Answer, fields: Mapping[str, Field], asset: Callable[[str], str]) -> pl.DataFrame:
    """Typed columns by canonical name; ``asset`` translates the vendor's code. Columns are found by name, in any order.

    Raises :class:`BadAnswer` for rows of another length, a column that is missing and a value that can't be read.
    """
    for row in answer.rows:
        if len(row) != len(answer.columns):
            raise BadAnswer(f"{answer.call}: a row has {len(row)} values for {len(answer.columns)} columns: {row}")
    columns: list[pl.Series] = []
    for name, field in fields.items():
        read, dtype = _reader(field, asset)
        found: list[Any] = []
        for value in answer.values(field.column):
            try:
                read_value = None if _empty(value) else read(value)
            except ValueError as error:
                raise BadAnswer(
                    f"{answer.call}: {value!r} in column {field.column} can't be read as {field.kind} ({error}). "
                    "Nothing was stored"
                ) from error
            if read_value is None and field.required:
                raise BadAnswer(f"{answer.call}: column {field.column} is empty in a row. Nothing was stored")
            found.append(read_value)
        series = pl.Series(name, found, dtype=dtype)
        if field.kind == "number":
            series = series * field.times / field.over
            series = series if field.decimals is None else series.round(field.decimals)
        columns.append(series.alias(name))
    return pl.DataFrame(columns)


def _empty(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value)) or (isinstance(value, str) and value.strip() in _EMPTY)  # fmt: skip


def _reader(field: Field, asset: Callable[[str], str]) -> tuple[Callable[[Any], Any], pl.DataType]:
    if field.kind == "number":
        return number, pl.Float64()
    if field.kind == "day":
        return lambda value: day(value, field.format), pl.Date()
    if field.kind == "asset":
        return lambda value: asset(text(value)), pl.String()
    return text, pl.String()


def number(value: object) -> float:
    """A finite number, or text that holds one, with commas between thousands at most. Raises ValueError."""
    if isinstance(value, bool):
        raise ValueError("a truth value is no number")
    if isinstance(value, int | float):
        found = float(value)
    else:
        written = str(value).strip()
        found = float(written.replace(",", "") if _GROUPED.match(written) else written)
    if not math.isfinite(found):
        raise ValueError("not finite")
    return found


def day(value: object, written: str) -> date:
    """A day written as ``written`` says. Raises ValueError."""
    return datetime.strptime(str(value).strip(), written).date()


def text(value: object) -> str:
    """Text as it was meant. Raises ValueError where it was read in another encoding."""
    found = str(value)
    if _MOJIBAKE.search(found):
        raise ValueError("text in another encoding than its header says")
    return found
