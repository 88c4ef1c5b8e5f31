"""CSV files of prices and of an index: columns under the names they are known by, typed, what can't be read named with its row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import polars as pl

from rotation_pipeline.sources.base import SourceError
from rotation_pipeline.sources.columns import NULLS
from rotation_pipeline.sources.disk import of_writing
from rotation_pipeline.sources.file_faults import fault, strange_header

NAMES: dict[str, tuple[str, ...]] = {
    "asset_id": ("asset_id", "symbol", "code", "ts_code", "ticker", "股票代码", "证券代码", "代码"),
    "day": ("day", "date", "trade_date", "datetime", "日期", "交易日期"),
    "open": ("open", "开盘", "开盘价"),
    "high": ("high", "最高", "最高价"),
    "low": ("low", "最低", "最低价"),
    "close": ("close", "收盘", "收盘价"),
    "volume": ("volume", "vol", "成交量"),
    "amount": ("amount", "money", "成交额"),
    "prev_close": ("prev_close", "pre_close", "preclose", "前收盘", "前收盘价", "昨收"),
    "adj_factor": ("adj_factor", "factor", "hfq_factor", "复权因子"),
    "is_st": ("is_st", "isst", "st"),
    "industry": ("industry", "行业"),
    "pe_ttm": ("pe_ttm", "pettm"),
    "pb": ("pb", "pbmrq"),
    "ps_ttm": ("ps_ttm", "psttm"),
    "dividend_yield_ttm": ("dividend_yield_ttm",),
    "turnover_rate": ("turnover_rate",),
    "total_market_value": ("total_market_value",),
    "float_market_value": ("float_market_value",),
}
"""Canonical column → names it is known by, capitals aside."""
NEEDED = ("asset_id", "day", "open", "high", "low", "close", "volume")
_WAYS = {
    "asset_id": "a security is written 600519, 600519.SH or sh.600519",
    "day": "days are written 2024-01-31, 20240131 or 2024/1/31",
    "close": "write a number above 0 such as 1234.5, without commas and units: on a suspended day the last close, or no row",
    "is_st": "it is written 1 or 0, and nothing counts as 0",
}
"""How a value is to be written; any other is a plain number."""
_ST = ("1", "1.0", "true", "t", "yes", "y", "是", "st", "*st")
_NO_ST = ("0", "0.0", "false", "f", "no", "n", "否", *(text.lower() for text in NULLS))
_EMPTY = "_empty_"
"""Prefix of the flag columns that mark optional values that were not given."""
_ROW = "_row_"
_DAY_FORMATS = ("%Y-%m-%d", "%Y%m%d", "%Y/%m/%d", "%Y-%m-%d %H:%M:%S", "%Y/%m/%d %H:%M", "%Y/%m/%d %H:%M:%S")


def price_columns(path: Path) -> dict[str, str]:
    """Canonical name → column of the CSV ``path``, from its first line. Raises :class:`SourceError` for one that is lacking."""
    try:
        columns = pl.scan_csv(path, infer_schema=False, glob=False).collect_schema().names()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise _unreadable("prices", path, error) from error
    found = _columns(columns, path)
    lacking = [name for name in NEEDED if name not in found]
    if lacking:
        told = "; ".join(f"{name} (called {', '.join(NAMES[name][:4])})" for name in lacking)
        strange = strange_header(columns)
        remedy = strange or "Rename those that are called otherwise, in the first line"
        raise SourceError(f"prices {path} lack {told}. Their columns are {', '.join(columns)}. {remedy}")
    return found


def stage_prices(path: Path, found: Mapping[str, str], stage: Path) -> None:
    """The CSV ``path`` as the Parquet file ``stage``: the columns ``found`` under their canonical names and typed, rows as they come.

    The text is read a piece at a time and never held whole. Raises :class:`SourceError` naming the row's value; errors of writing
    pass through.
    """
    raw = pl.scan_csv(path, infer_schema=False, glob=False)
    frame = raw.select(pl.col(column).str.strip_chars().alias(name) for name, column in found.items())
    numbers = [name for name in found if name not in ("asset_id", "day", "is_st", "industry")]
    day = pl.coalesce(pl.col("day").str.to_date(form, strict=False) for form in _DAY_FORMATS)
    empty = {name: pl.col(name).is_in(NULLS) | pl.col(name).is_null() for name in numbers}
    treated = pl.col("is_st").fill_null("").str.to_lowercase()
    flags = [
        pl.when(treated.is_in(_ST))
        .then(pl.lit(value=True))
        .when(treated.is_in(_NO_ST))
        .then(pl.lit(value=False))
        .alias("is_st")
    ]
    parsed = frame.with_columns(
        _identifier().alias("asset_id"),
        day.alias("day"),
        *(_number(name) for name in numbers),
        *(flags if "is_st" in found else []),
        *(empty[name].alias(_EMPTY + name) for name in numbers if name not in NEEDED),
    )
    checked = [name for name in found if name != "industry"]
    try:
        parsed.sink_parquet(stage, compression="lz4")
    except (pl.exceptions.PolarsError, OSError) as error:
        if of_writing(error, stage.parent):
            raise
        raise _unreadable("prices", path, error) from error
    looked = (
        pl.scan_parquet(stage, glob=False)
        .with_row_index(_ROW)
        .select(pl.len().alias(_ROW), *map(_first_wrong, checked))
    )
    wrong = looked.collect(engine="streaming").row(0, named=True)
    if not wrong[_ROW]:
        raise SourceError(f"prices {path} hold no rows")
    for name in checked:
        at = wrong[name]
        if at is not None:
            text = frame.select(name).slice(at, 1).collect(engine="streaming")[name][0]
            way = _WAYS.get(name, "write a plain number such as 1234.5, without commas and units")
            shown = "nothing" if text is None else repr(text if len(text) <= 80 else f"{text[:80]}…")
            raise SourceError(f"prices {path}, row {at + 2}: {shown} in column {found[name]} is no {name}; {way}")


def _unreadable(what: str, path: Path, error: Exception) -> SourceError:
    told = str(error).partition("\n")[0].rstrip(".")
    return SourceError(f"{what} {path} can't be read as CSV: {told}.{fault([path], error)}")


def _number(name: str) -> pl.Expr:
    """Null for what is none, and for a close no share can have: factors and returns are made of it."""
    value = pl.col(name).cast(pl.Float64, strict=False)
    sound = value.is_finite() & (value > 0.0) if name == "close" else value.is_finite()
    return pl.when(sound).then(value).alias(name)


def _first_wrong(name: str) -> pl.Expr:
    """Position of the first row whose value of ``name`` could not be read; null without one."""
    wrong = pl.col(name).is_null()
    if name not in NEEDED and name != "is_st":
        wrong &= ~pl.col(_EMPTY + name)
    return pl.when(wrong).then(pl.col(_ROW)).min().alias(name)


def staged(stage: Path) -> pl.LazyFrame:
    """What :func:`stage_prices` wrote, in canonical columns."""
    return pl.scan_parquet(stage, glob=False).select(pl.exclude(f"^{_EMPTY}.*$"))


def refuse_copies(prices: pl.DataFrame, path: str) -> None:
    """Raise :class:`SourceError` where a security has a day more than once."""
    twice = prices.filter(pl.struct("asset_id", "day").is_duplicated())
    if twice.height:
        asset, when = twice.select("asset_id", "day").row(0)
        raise SourceError(f"prices {path} hold {asset} of {when} more than once ({twice.height} such rows)")


def _columns(names: Iterable[str], path: Path) -> dict[str, str]:
    """Canonical name → column of the file."""
    lowered: dict[str, list[str]] = {}
    for name in names:
        plain = (
            name.strip().lstrip("\ufeff").lower().partition("_duplicated_")[0]
        )  # as a name that is there twice is called
        lowered.setdefault(plain, []).append(name)
    found: dict[str, str] = {}
    for name, known in NAMES.items():
        own = [called for item in known for called in lowered.get(item, [])]
        if len(own) > 1:
            told = ", ".join(called.partition("_duplicated_")[0] for called in own)
            raise SourceError(f"{path} has {len(own)} columns for {name}: {told}; keep one")
        if own:
            found[name] = own[0]
    return found


def _identifier() -> pl.Expr:
    """600519.SH from what files write; a bare number is a stock, since a file of prices holds no index."""
    text = pl.col("asset_id").str.to_uppercase()
    digits = text.str.extract(r"^(?:(?:SH|SZ|BJ)\.?)?(\d{1,6})(?:\.(?:SH|SZ|BJ|XSHG|XSHE|SS))?$", 1).str.zfill(6)
    written = text.str.extract(r"(SH|SZ|BJ|XSHG|XSHE|SS)", 1)
    named = (  # not Expr.replace, for which polars holds the whole column
        pl.when(written.is_in(["XSHG", "SS"])).then(pl.lit("SH")).when(written == "XSHE").then(pl.lit("SZ")).otherwise(written)
    )  # fmt: skip
    guessed = (
        pl.when(digits.str.contains("^6|^90")).then(pl.lit("SH"))
        .when(digits.str.contains("^[023]")).then(pl.lit("SZ"))
        .when(digits.str.contains("^[48]|^92")).then(pl.lit("BJ"))
    )  # fmt: skip
    return digits + pl.lit(".") + pl.coalesce(named, guessed)


def read_index(path: Path) -> pl.DataFrame:
    """day, open, high, low, close of an index from a CSV with at least a date and a close. Raises :class:`SourceError`."""
    try:
        raw = pl.read_csv(path, infer_schema=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise _unreadable("index", path, error) from error
    found = _columns(raw.columns, path)
    lacking = [name for name in ("day", "close") if name not in found]
    if lacking:
        raise SourceError(f"index {path} lacks {', '.join(lacking)}; its columns are {', '.join(raw.columns)}")
    levels = [
        pl.col(found.get(name, found["close"]))
        .str.strip_chars()
        .cast(pl.Float64, strict=False)
        .fill_nan(None)
        .alias(name)
        for name in ("open", "high", "low", "close")
    ]
    day = pl.coalesce(pl.col(found["day"]).str.strip_chars().str.to_date(form, strict=False) for form in _DAY_FORMATS)
    frame = raw.select(day.alias("day"), *levels)
    for name in frame.columns:
        at = frame[name].is_null().arg_max()
        if frame[name].null_count() and at is not None:
            own = found.get(name, found["close"])
            shown = "nothing" if raw[own][at] is None else repr(raw[own][at])
            raise SourceError(
                f"index {path}, row {at + 2}: {shown} in column {own} is no {'day' if name == 'day' else 'level'}; "
                f"{_WAYS.get(name, 'write a plain number such as 1234.5')}"
            )
    if frame["day"].is_duplicated().any():
        raise SourceError(f"index {path} has {frame.filter(pl.col('day').is_duplicated())['day'].min()} more than once")
    return frame.sort("day")
