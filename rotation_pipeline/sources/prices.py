"""One CSV of daily prices → the canonical tables that can be made of it, and a plain list of what was assumed.

Meant for somebody who has prices and little else. What prices cannot tell is not made up: a style whose figures are not in the file
has no values later on. What is derived (the previous close, the adjustment factor, an index, membership) is said in ``notes``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Literal

import polars as pl

from rotation_pipeline.market.calendar import add_months, last_session, month_sessions, month_start, months_between
from rotation_pipeline.market.calendar import sessions as sessions_between
from rotation_pipeline.sources.base import SourceError

Prices = Literal["unadjusted", "adjusted"]
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
VALUATION = (
    "pe_ttm", "pb", "ps_ttm", "dividend_yield_ttm", "turnover_rate", "total_market_value", "float_market_value",
)  # fmt: skip
FEWEST_MONTHS = 33
"""27 of market data before the first result, of which the regime detectors need 25 before the first exposures, and 6 to tell of."""
USUAL_HISTORY = 36
"""Months of market data the defaults ask for before the sample."""
INDEX_LEVEL = 1000.0
"""Level of a made index before its first session."""
_EMPTY = "_empty_"
"""Prefix of the flag columns that mark optional values that were not given."""
_DAY_FORMATS = ("%Y-%m-%d", "%Y%m%d", "%Y/%m/%d", "%Y-%m-%d %H:%M:%S")


@dataclass(frozen=True, slots=True)
class PriceFolder:
    """Canonical tables made of prices, which styles they serve, the sample they allow, and what was assumed."""

    tables: dict[str, pl.DataFrame]
    styles: tuple[str, ...]
    absent: dict[str, str]
    """Style → what it needs."""
    first: date
    last: date
    history_months: int
    style_history_months: int
    members: int
    notes: list[str] = field(default_factory=list[str])


def read_prices(path: Path) -> pl.DataFrame:
    """The file with canonical column names and types, sorted by security and day; columns it knows nothing of are left out.

    The text is read a piece at a time and never held whole: only the columns known, as numbers.
    Raises :class:`SourceError` naming the column, the row's value or the two rows that are one too many.
    """
    raw = pl.scan_csv(path, infer_schema=False, glob=False)
    try:
        columns = raw.collect_schema().names()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise SourceError(f"prices {path} can't be read as CSV: {error}") from error
    found = _columns(columns, path)
    lacking = [name for name in NEEDED if name not in found]
    if lacking:
        told = "; ".join(f"{name} (called {', '.join(NAMES[name][:4])})" for name in lacking)
        raise SourceError(f"prices {path} lack {told}. Their columns are {', '.join(columns)}")
    frame = raw.select(pl.col(column).str.strip_chars().alias(name) for name, column in found.items())
    numbers = [name for name in found if name not in ("asset_id", "day", "is_st", "industry")]
    day = pl.coalesce(pl.col("day").str.to_date(form, strict=False) for form in _DAY_FORMATS)
    empty = {name: pl.col(name).is_in(["", "nan", "NaN", "None", "null"]) | pl.col(name).is_null() for name in numbers}
    parsed = frame.with_columns(
        _identifier().alias("asset_id"),
        day.alias("day"),
        *(pl.col(name).cast(pl.Float64, strict=False).fill_nan(None) for name in numbers),
        *(empty[name].alias(_EMPTY + name) for name in numbers if name not in NEEDED),
    )
    try:
        typed = parsed.collect(engine="streaming")
    except (pl.exceptions.PolarsError, OSError) as error:
        raise SourceError(f"prices {path} can't be read as CSV: {error}") from error
    for name in ("asset_id", "day", *numbers):
        wrong = typed[name].is_null() if name in NEEDED else typed[name].is_null() & ~typed[_EMPTY + name]
        if wrong.any():
            at = int(wrong.arg_max() or 0)
            text = frame.select(name).slice(at, 1).collect(engine="streaming")[name][0]
            raise SourceError(f"prices {path}, row {at + 2}: {text!r} in column {found[name]} is no {name}")
    typed = typed.select(list(found))
    if "is_st" in found:
        typed = typed.with_columns(pl.col("is_st").str.to_lowercase().is_in(["1", "true", "t", "yes", "y"]))
    twice = typed.filter(pl.struct("asset_id", "day").is_duplicated())
    if twice.height:
        asset, when = twice.select("asset_id", "day").row(0)
        raise SourceError(f"prices {path} hold {asset} of {when} more than once ({twice.height} such rows)")
    return typed.sort("asset_id", "day")


def _columns(names: Iterable[str], path: Path) -> dict[str, str]:
    """Canonical name → column of the file."""
    lowered: dict[str, str] = {}
    for name in names:
        lowered.setdefault(name.strip().lstrip("\ufeff").lower(), name)
    found: dict[str, str] = {}
    for name, known in NAMES.items():
        own = [lowered[item] for item in known if item in lowered]
        if len(own) > 1:
            raise SourceError(f"prices {path} have {len(own)} columns for {name}: {', '.join(own)}; keep one")
        if own:
            found[name] = own[0]
    return found


def _identifier() -> pl.Expr:
    """600519.SH from what files write; a bare number is a stock, since a file of prices holds no index."""
    text = pl.col("asset_id").str.to_uppercase()
    digits = text.str.extract(r"^(?:(?:SH|SZ|BJ)\.?)?(\d{1,6})(?:\.(?:SH|SZ|BJ|XSHG|XSHE|SS))?$", 1).str.zfill(6)
    named = text.str.extract(r"(SH|SZ|BJ|XSHG|XSHE|SS)", 1).replace({"XSHG": "SH", "SS": "SH", "XSHE": "SZ"})
    guessed = (
        pl.when(digits.str.contains("^[69]")).then(pl.lit("SH"))
        .when(digits.str.contains("^[023]")).then(pl.lit("SZ"))
        .when(digits.str.contains("^[48]")).then(pl.lit("BJ"))
    )  # fmt: skip
    return digits + pl.lit(".") + pl.coalesce(named, guessed)


def price_tables(
    prices: pl.DataFrame,
    index: pl.DataFrame | None,
    kind: Prices | None,
    index_id: str,
    *,
    lots: bool,
    thousands: bool,
    fewest: int = 1,
) -> PriceFolder:
    """Canonical tables of :func:`read_prices`. ``index``: day and close of an index, as :func:`read_index`; None: one is made.

    ``kind``: whether dividends and splits are in the prices already; needed where neither ``adj_factor`` nor ``prev_close`` is
    given. ``lots``: volume is in lots of 100. ``thousands``: amount is in thousand CNY. ``fewest``:
    securities there must be at every month end on which styles are formed. Raises :class:`SourceError` for days that are no sessions, units that cannot be, prices whose adjustment is not known, and too short a history.
    """
    notes: list[str] = []
    bars = _full_sessions(_units(prices, kind, notes, lots=lots, thousands=thousands), notes)
    bars = _adjusted(bars, kind, notes)
    first, last = bars["day"].min(), bars["day"].max()
    assert isinstance(first, date)
    assert isinstance(last, date)
    days = sessions_between(first, last)
    start, end, history, style_history = _sample(first, last)
    for month in months_between(add_months(start, -style_history), end):
        if (count := _members(bars, month)) < fewest:
            raise SourceError(
                f"prices of {count} securities at the end of {month:%Y-%m}; {fewest} are needed to sort them by style into five groups"
            )
    spans = bars.group_by("asset_id", maintain_order=True).agg(
        pl.col("day").min().alias("start"), pl.col("day").max().alias("end")
    )
    until = pl.when(pl.col("end") < last).then(pl.col("end") + pl.duration(days=1)).alias("valid_to")
    no_day = pl.lit(None, dtype=pl.Date)
    ends = {month_sessions(month)[-1] for month in months_between(month_start(first), month_start(last))}
    tables: dict[str, pl.DataFrame] = {
        "trading_days": pl.DataFrame({"day": days}).with_columns(pl.col("day").is_in(list(ends)).alias("is_month_end")),
        "index_bars": _index_bars(bars, index, days, index_id, notes),
        "daily_bars": bars.select(
            "asset_id", "day", "open", "high", "low", "close", "prev_close", "volume", "amount", "adj_factor", "is_suspended",
            "is_st", "board",
        ),
        "index_members": spans.select(
            pl.lit(index_id).alias("index_id"), "asset_id", pl.col("start").alias("valid_from"), until,
            no_day.alias("announced_on"),
        ),
    }  # fmt: skip
    tables |= {"listings": _listings(spans, bars, last), "daily_valuation": _valuation(bars)}
    tables["industries"] = _industries(bars, notes)
    notes.append(
        f"every one of the {spans.height} securities counts as a member from its first price to its last: if the list was drawn up "
        "today, it holds the survivors, and every result is flattered by that"
    )
    styles, absent = _styles(bars.columns)
    return PriceFolder(tables, styles, absent, start, end, history, style_history, _members(bars, end), notes)


_REMEDIES: dict[float, tuple[bool, bool]] = {
    1.0: (False, False), 100.0: (True, False), 0.001: (False, True), 0.1: (True, True),
}  # fmt: skip
"""Median of amount ÷ (volume × close) as the file has them → whether volume is in lots and amount in thousands."""


def _units(prices: pl.DataFrame, kind: Prices | None, notes: list[str], *, lots: bool, thousands: bool) -> pl.DataFrame:
    """Volume in shares and amount in CNY, what is said of the units held against the prices.

    Money traded by shares traded is the average price, near the close whatever the vendor. Adjusted prices are another
    matter: there a power of ten may be the adjustment's, so only what was said of the units is held against them.
    """
    volume = pl.col("volume") * (100.0 if lots else 1.0)
    if "amount" not in prices.columns:
        notes.append("there is no amount: it is volume × close")
        if lots or thousands:
            notes.append(
                "without an amount nothing tells whether the units are as said: compare the turnover with what you know"
            )
        return prices.with_columns(volume.alias("volume"), (volume * pl.col("close")).alias("amount"))
    traded = prices.filter((pl.col("volume") > 0) & (pl.col("amount") > 0))
    ratio = traded.select((pl.col("amount") / pl.col("volume") / pl.col("close")).median()).item()
    meant = next((units for times, units in _REMEDIES.items() if ratio is not None and 0.5 < ratio / times < 2.0), None)
    told, said = (lots, thousands), lots or thousands
    held = said and meant is not None if kind == "adjusted" else said or meant is not None
    if held and meant != told and ratio is not None:
        flags = [name for name, used in zip(("--lots", "--thousands"), meant or (), strict=False) if used]
        used = [name for name, given in (("--lots", lots), ("--thousands", thousands)) if given]
        remedy = f"With {' '.join(flags)} they fit" if flags else f"Without {' '.join(used)} they fit"
        plain = meant is not None and not (kind == "adjusted" and flags)
        remedy = remedy if plain else "No unit makes them fit: look at the columns volume, amount and close"
        raise SourceError(
            f"prices: amount ÷ volume, as the file has them, is {ratio:.3g} times the close in the median of {traded.height} "
            f"rows, so volume is not in {'lots' if lots else 'shares'} or amount not in {'thousand CNY' if thousands else 'CNY'}. {remedy}"
        )
    return prices.with_columns(
        volume.alias("volume"), (pl.col("amount") * (1000.0 if thousands else 1.0)).alias("amount")
    )


def _full_sessions(prices: pl.DataFrame, notes: list[str]) -> pl.DataFrame:
    """A row for every session between a security's first and last: where none was given it was suspended."""
    first, last = prices["day"].min(), prices["day"].max()
    assert isinstance(first, date)
    assert isinstance(last, date)
    days = pl.DataFrame({"day": sessions_between(first, last)})
    strange = prices.join(days, on="day", how="anti")
    if strange.height:
        asset, when = strange.select("asset_id", "day").row(0)
        raise SourceError(f"prices of {asset}: {when} is no session of the exchanges ({strange.height} such rows)")
    spans = prices.group_by("asset_id").agg(pl.col("day").min().alias("start"), pl.col("day").max().alias("end"))
    grid = spans.join(days, how="cross").filter(pl.col("day").is_between("start", "end")).select("asset_id", "day")
    full = grid.join(prices, on=["asset_id", "day"], how="left").sort("asset_id", "day")
    silent = pl.col("close").is_null() | (pl.col("volume").fill_null(0.0) == 0.0)
    full = full.with_columns(silent.alias("is_suspended"), pl.col("close").is_null().alias("_absent"))
    carried = [name for name in full.columns if name not in ("asset_id", "day", "volume", "amount", "prev_close", "is_suspended", "_absent")]  # fmt: skip
    full = full.with_columns(pl.col(name).forward_fill().over("asset_id") for name in carried)
    quiet = pl.col("is_suspended")
    full = full.with_columns(
        *(pl.when(quiet).then(pl.col("close")).otherwise(pl.col(name)).alias(name) for name in ("open", "high", "low")),
        *(pl.when(quiet).then(0.0).otherwise(pl.col(name)).alias(name) for name in ("volume", "amount")),
    )
    absent = int(full["_absent"].sum())
    if absent:
        notes.append(f"{absent} of {full.height} sessions have no row: they count as suspended, at the last close")
    return full.drop("_absent")


def _adjusted(bars: pl.DataFrame, kind: Prices | None, notes: list[str]) -> pl.DataFrame:
    """With previous close, cumulative factor, special treatment and board."""
    own = {"adj_factor", "prev_close"} & set(bars.columns)
    before = pl.col("close").shift(1).over("asset_id")
    if kind == "adjusted":
        if own:
            raise SourceError(
                f"prices are said to be adjusted and have {', '.join(sorted(own))}; leave one of the two out"
            )
        notes.append(
            "prices are taken as adjusted: returns hold dividends and splits, amounts are volume × close, and lots and costs of the "
            "stock-level books are of adjusted prices"
        )
        bars = bars.with_columns(
            pl.lit(1.0).alias("adj_factor"), before.fill_null(pl.col("open")).alias("prev_close"),
            (pl.col("volume") * pl.col("close")).alias("amount"),
        )  # fmt: skip
    elif "adj_factor" in own:
        carried = before * pl.col("adj_factor").shift(1).over("asset_id") / pl.col("adj_factor")
        given = pl.col("prev_close") if "prev_close" in own else pl.lit(None, dtype=pl.Float64)
        bars = bars.with_columns(pl.coalesce(given, carried, pl.col("open")).alias("prev_close"))
    elif "prev_close" in own:
        notes.append("there is no adj_factor: it is made of close and prev_close, which the exchange sets ex-rights")
        given = pl.coalesce(pl.col("prev_close"), before, pl.col("open"))
        bars = bars.with_columns(given.alias("prev_close"))
        step = pl.when(pl.col("is_suspended")).then(1.0).otherwise((before / pl.col("prev_close")).fill_null(1.0))
        bars = bars.with_columns(step.cum_prod().over("asset_id").alias("adj_factor"))
    else:
        raise SourceError(
            "the file has neither adj_factor nor prev_close, so a price that falls on an ex-day cannot be told from a loss. Add one "
            "of the two columns, or say --adjusted if dividends and splits are in the prices already"
        )
    if "is_st" not in bars.columns:
        notes.append("there is no is_st: no security counts as under special treatment")
        bars = bars.with_columns(pl.lit(value=False).alias("is_st"))
    number = pl.col("asset_id").str.slice(0, 3)
    board = (
        pl.when(pl.col("asset_id").str.ends_with(".BJ")).then(pl.lit("beijing"))
        .when(number.is_in(["688", "689"])).then(pl.lit("star"))
        .when(number.is_in(["300", "301", "302"])).then(pl.lit("chinext"))
        .otherwise(pl.lit("main"))
    )  # fmt: skip
    return bars.with_columns(board.alias("board"))


def read_index(path: Path) -> pl.DataFrame:
    """day, open, high, low, close of an index from a CSV with at least a date and a close. Raises :class:`SourceError`."""
    try:
        raw = pl.read_csv(path, infer_schema=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise SourceError(f"index {path} can't be read as CSV: {error}") from error
    found = _columns(raw.columns, path)
    lacking = [name for name in ("day", "close") if name not in found]
    if lacking:
        raise SourceError(f"index {path} lacks {', '.join(lacking)}; its columns are {', '.join(raw.columns)}")
    levels = [
        pl.col(found.get(name, found["close"])).cast(pl.Float64, strict=False).alias(name)
        for name in ("open", "high", "low", "close")
    ]
    day = pl.coalesce(pl.col(found["day"]).str.to_date(form, strict=False) for form in _DAY_FORMATS)
    frame = raw.select(day.alias("day"), *levels)
    if frame.null_count().sum_horizontal().item():
        raise SourceError(f"index {path} has a date or level that can't be read")
    if frame["day"].is_duplicated().any():
        raise SourceError(f"index {path} has a day more than once")
    return frame.sort("day")


def _index_bars(
    bars: pl.DataFrame, index: pl.DataFrame | None, days: list[date], index_id: str, notes: list[str]
) -> pl.DataFrame:
    if index is not None:
        missing = sorted(set(days) - set(index["day"].to_list()))
        if missing:
            raise SourceError(f"the index has no level of {missing[0]} ({len(missing)} sessions without)")
        levels = index.filter(pl.col("day").is_in(days))
    else:
        notes.append(
            "the index is made: all securities in equal parts every day, dividends as in the prices, no costs. Market regimes and "
            "betas are measured on it"
        )
        adjusted = pl.col("close") * pl.col("adj_factor")
        ret = (adjusted / adjusted.shift(1).over("asset_id") - 1.0).alias("ret")
        daily = bars.with_columns(ret).group_by("day").agg(pl.col("ret").mean().fill_null(0.0)).sort("day")
        close = (INDEX_LEVEL * (1.0 + daily["ret"]).cum_prod()).alias("close")
        levels = daily.select("day").with_columns(close.alias(name) for name in ("open", "high", "low", "close"))
    nothing = pl.lit(None, dtype=pl.Float64)
    return levels.select(
        pl.lit(index_id).alias("index_id"), "day", "open", "high", "low", "close", nothing.alias("volume"), nothing.alias("amount")
    )  # fmt: skip


def _listings(spans: pl.DataFrame, bars: pl.DataFrame, last: date) -> pl.DataFrame:
    """First price to last; what was listed before the file begins is listed since its first day, as far as the file can say."""
    boards = bars.group_by("asset_id").agg(pl.col("board").first())
    gone = pl.when(pl.col("end") < last).then(pl.col("end") + pl.duration(days=1))
    return (
        spans.join(boards, on="asset_id", how="left", maintain_order="left")
        .select("asset_id", pl.lit(None, dtype=pl.String).alias("name"), "board", pl.col("start").alias("listed_on"), gone.alias("delisted_on"))
    )  # fmt: skip


def _valuation(bars: pl.DataFrame) -> pl.DataFrame:
    """The figures of the file; those it does not have are null."""
    nothing = pl.lit(None, dtype=pl.Float64)
    figures = (pl.col(name) if name in bars.columns else nothing.alias(name) for name in VALUATION)
    return bars.select("asset_id", "day", *figures)


def _industries(bars: pl.DataFrame, notes: list[str]) -> pl.DataFrame:
    """Intervals of one industry; without a column of them all are unclassified."""
    if "industry" not in bars.columns:
        notes.append(
            "there is no industry: all securities are unclassified, and no exposure is freed of industry effects"
        )
        bars = bars.with_columns(pl.lit("unclassified").alias("industry"))
    run = (pl.col("industry") != pl.col("industry").shift(1)).fill_null(value=True).cum_sum().over("asset_id")
    spans = (
        bars.drop_nulls("industry").with_columns(run.alias("run")).group_by("asset_id", "run", maintain_order=True)
        .agg(pl.col("industry").first(), pl.col("day").min().alias("valid_from"))
    )  # fmt: skip
    until = pl.col("valid_from").shift(-1).over("asset_id").alias("valid_to")
    return spans.select("asset_id", "valid_from", until, pl.lit("file").alias("scheme"), "industry")


def _styles(columns: list[str]) -> tuple[tuple[str, ...], dict[str, str]]:
    """Styles the columns serve, and what the others need."""
    needs = {
        "VAL": ("pb, pe_ttm or dividend_yield_ttm", ("pb", "pe_ttm", "dividend_yield_ttm")),
        "QLTY": (
            "roe_ttm and net_profit_ttm with the day they were announced: a file fundamentals (docs/real-data.md)",
            (),
        ),
        "SIZE": ("total_market_value (CNY)", ("total_market_value",)),
    }
    absent = {style: told for style, (told, names) in needs.items() if not any(name in columns for name in names)}
    return tuple(style for style in ("MOM", "VAL", "QLTY", "VOL", "SIZE") if style not in absent), absent


def _members(bars: pl.DataFrame, month: date) -> int:
    """Securities with a price at the close of the month."""
    return int(bars.filter(pl.col("day") == last_session(month)).height)


def _sample(first: date, last: date) -> tuple[date, date, int, int]:
    """First and last month of results, and the months of market data and of exposures before them."""
    start, end = month_start(first), month_start(last)
    if first > month_sessions(start)[0]:
        start = add_months(start, 1)
    if last < last_session(end):
        end = add_months(end, -1)
    months = months_between(start, end) if start <= end else []
    if len(months) < FEWEST_MONTHS:
        raise SourceError(
            f"prices run from {first} to {last}, {len(months)} whole months; {FEWEST_MONTHS} are needed at least: 27 before the first "
            "result (index features and regimes need two years) and some to tell of"
        )
    history, style_history = (USUAL_HISTORY, 7) if len(months) >= USUAL_HISTORY + 12 else (27, 2)
    return add_months(start, history), end, history, style_history
