"""One column of a file → one canonical column: names, unit factors, date formats, flags, identifiers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, cast

import polars as pl

from rotation_pipeline.market.schema import Column
from rotation_pipeline.sources.base import SourceError

_TRUE = ("1", "true", "True", "TRUE", "t", "y", "yes")
_FALSE = ("0", "false", "False", "FALSE", "f", "n", "no")
NULLS = ("", "NaN", "nan", "null", "None", "NULL", "--")
_EXCHANGES = {"SH": "SH", "SZ": "SZ", "BJ": "BJ", "XSHG": "SH", "XSHE": "SZ", "XBSE": "BJ", "SS": "SH"}
_CODE = re.compile(r"^(?:(sh|sz|bj)[.]?(\d{6})|(\d{6})[.](sh|sz|bj|xshg|xshe|xbse|ss))$", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ColumnRule:
    """Where a canonical column comes from: a file's column, a constant, or nowhere (``missing``)."""

    column: str | None = None
    factor: float | None = None
    format: str | None = None
    true: tuple[str, ...] | None = None
    false: tuple[str, ...] | None = None
    constant: object = None
    missing: bool = False


def column_rule(column: Column, written: Any, where: str) -> ColumnRule:
    """A mapping entry → rule. Raises :class:`SourceError` naming the entry for keys or values that make no sense."""
    if isinstance(written, str):
        return ColumnRule(column=written)
    if not isinstance(written, dict):
        raise SourceError(
            f'{where} = {written!r}; write a column name or a table such as {{ column = "...", factor = 100 }}'
        )
    entry = cast(dict[str, Any], written)
    unknown = set(entry) - {"column", "factor", "format", "true", "false", "constant", "missing"}
    if unknown:
        raise SourceError(
            f"{where}: unknown key {sorted(unknown)[0]!r}; allowed are column, factor, format, true, false, constant, missing"
        )
    if sum(key in entry for key in ("constant", "missing")) + ("column" in entry) > 1:
        raise SourceError(f"{where}: give one of column, constant and missing")
    if entry.get("missing") and not column.nullable:
        raise SourceError(f"{where}: {column.name} may not be missing; give a column or a constant")
    factor = entry.get("factor")
    if factor is not None and (
        column.type != "DOUBLE" or isinstance(factor, bool) or not isinstance(factor, int | float)
    ):
        raise SourceError(f"{where}: factor = {factor!r} needs a numeric column and a number")
    if "format" in entry and column.type != "DATE":
        raise SourceError(f"{where}: format is for dates, {column.name} is {column.type}")
    if ("true" in entry or "false" in entry) and column.type != "BOOLEAN":
        raise SourceError(f"{where}: true and false are for flags, {column.name} is {column.type}")
    name = None if entry.get("missing") or "constant" in entry else str(entry.get("column", column.name))
    return ColumnRule(
        name, None if factor is None else float(factor), entry.get("format"), _texts(entry.get("true")),
        _texts(entry.get("false")), entry.get("constant"), bool(entry.get("missing", False)),
    )  # fmt: skip


def _texts(values: Any) -> tuple[str, ...] | None:
    if values is None:
        return None
    several = cast(list[Any], values) if isinstance(values, list) else [values]
    return tuple(str(value) for value in several)


def bad_value(name: str) -> str:
    """Name of the column that carries the file's own text of values of ``name`` that could not be read."""
    return f"_text_{name}"


def parsed(column: Column, rule: ColumnRule, found: pl.Schema, where: str) -> tuple[pl.Expr, pl.Expr | None]:
    """The canonical value, and a flag that is true where the file's value could not be read (None: it always can).

    Raises :class:`SourceError` for a type that can't become the column's.
    """
    if rule.column is None:
        return pl.lit(rule.constant, dtype=_wanted(column)) if rule.constant is not None else _null(column), None
    value, kind = pl.col(rule.column), found[rule.column]
    if kind in (pl.Categorical(), pl.Enum([])):
        value, kind = value.cast(pl.String), pl.String()
    if kind == pl.Null():
        return _null(column), None
    readers = {"ASSET": _asset, "VARCHAR": _text, "DATE": _date, "DOUBLE": _number, "BOOLEAN": _flag}
    reader = _asset if column.name == "index_id" else readers[column.type]
    read = reader(value, kind, rule)
    if read is None:
        way = (
            f'; write {column.name} = {{ column = "{rule.column}", format = "%Y%m%d" }} in the mapping'
            if column.type == "DATE" and kind.is_integer()
            else ""
        )
        raise SourceError(
            f"source files: {where}: column {rule.column!r} is {kind}, which can't be read as {column.type} for {column.name}{way}"
        )
    if column.type == "DOUBLE" and rule.factor is not None:
        read = read * rule.factor
    lossless = kind == _wanted(column) and column.type != "BOOLEAN" and reader is not _asset
    given = value.is_not_null() if kind != pl.String() else value.is_not_null() & ~value.str.strip_chars().is_in(NULLS)
    return read, None if lossless else given & read.is_null()


def _wanted(column: Column) -> pl.DataType:
    kinds: dict[str, pl.DataType] = {"DATE": pl.Date(), "DOUBLE": pl.Float64(), "BOOLEAN": pl.Boolean()}
    return kinds.get(column.type, pl.String())


def _null(column: Column) -> pl.Expr:
    return pl.lit(None, dtype=_wanted(column))


def _asset(value: pl.Expr, kind: pl.DataType, rule: ColumnRule) -> pl.Expr | None:
    """Any unambiguous spelling → 600519.SH; a bare number is none: 000016 is an index in Shanghai, a stock in Shenzhen."""
    if kind != pl.String():
        return None
    return value.map_batches(_identifiers, return_dtype=pl.String, is_elementwise=True)


def _identifiers(codes: pl.Series) -> pl.Series:
    """Each distinct spelling is translated once; null for one that is none."""
    spellings = codes.drop_nulls().unique().to_list()
    return codes.replace_strict(
        spellings, [_identifier(text) for text in spellings], default=None, return_dtype=pl.String
    )


def _identifier(text: str) -> str | None:
    match = _CODE.match(text.strip())
    if match is None:
        return None
    before, digits_after, digits_before, after = match.groups()
    return f"{digits_after or digits_before}.{_EXCHANGES[(before or after).upper()]}"


def _text(value: pl.Expr, kind: pl.DataType, rule: ColumnRule) -> pl.Expr | None:
    return value if kind == pl.String() else None


def _number(value: pl.Expr, kind: pl.DataType, rule: ColumnRule) -> pl.Expr | None:
    if kind == pl.String():
        return value.str.strip_chars().cast(pl.Float64, strict=False).fill_nan(None)
    return value.cast(pl.Float64).fill_nan(None) if kind.is_numeric() else None


def _date(value: pl.Expr, kind: pl.DataType, rule: ColumnRule) -> pl.Expr | None:
    if kind == pl.Date():
        return value
    if isinstance(kind, pl.Datetime):
        return pl.when(value.dt.time() == pl.time(0, 0)).then(value.dt.date())
    if kind.is_integer() and rule.format is not None:
        return value.cast(pl.String).str.to_date(rule.format, strict=False)
    if kind == pl.String():
        return value.str.strip_chars().str.to_date(rule.format or "%Y-%m-%d", strict=False)
    return None


def _flag(value: pl.Expr, kind: pl.DataType, rule: ColumnRule) -> pl.Expr | None:
    if kind == pl.Boolean() and rule.true is None and rule.false is None:
        return value
    if not (kind in (pl.String(), pl.Boolean()) or kind.is_integer()):
        return None
    text = value.cast(pl.String).str.strip_chars()
    yes, no = rule.true or _TRUE, rule.false or _FALSE
    return pl.when(text.is_in(yes)).then(pl.lit(value=True)).when(text.is_in(no)).then(pl.lit(value=False))
