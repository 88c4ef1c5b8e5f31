"""One CSV of daily prices → the canonical tables that can be made of it, and a plain list of what was assumed.

Meant for somebody who has prices and little else. What prices cannot tell is not made up: a style whose figures are not in the file
has no values later on. What is derived (the previous close, the adjustment factor, an index, membership) is said in ``notes``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date

import numpy as np
import polars as pl

from rotation_pipeline.market.calendar import add_months, last_session, month_sessions, month_start, months_between
from rotation_pipeline.market.calendar import sessions as sessions_between
from rotation_pipeline.sources.base import SourceError

VALUATION = (
    "pe_ttm", "pb", "ps_ttm", "dividend_yield_ttm", "turnover_rate", "total_market_value", "float_market_value",
)  # fmt: skip
FEWEST_MONTHS = 33
"""27 of market data before the first result, of which the regime detectors need 25 before the first exposures, and 6 to tell of."""
USUAL_HISTORY = 36
"""Months of market data the defaults ask for before the sample."""
INDEX_LEVEL = 1000.0
"""Level of a made index before its first session."""


@dataclass(frozen=True, slots=True)
class PriceFolder:
    """Canonical tables made of prices, which styles they serve, the sample they allow, and what was assumed."""

    tables: dict[str, pl.DataFrame]
    """All but the two large ones, bars and valuation."""
    rows: dict[str, int]
    """Of every table."""
    styles: tuple[str, ...]
    absent: dict[str, str]
    """Style → what it needs."""
    first: date
    last: date
    history_months: int
    style_history_months: int
    members: int
    notes: list[str] = field(default_factory=list[str])


class PriceTables:
    """Canonical tables from prices that are handed over some securities at a time, in the order of their identifiers.

    ``prices``: all of them, of which only sums and extremes are read. ``index``: day and close of an index, as
    :func:`~rotation_pipeline.sources.price_csv.read_index`; None: one is made. ``adjusted``: dividends and splits are in the
    prices already (see :func:`check_adjustment`). ``lots``: volume is in lots of 100. ``thousands``: amount is in thousand
    CNY. ``fewest``: securities there must be at every month end on which styles are formed.
    Raises :class:`SourceError` for days that are no sessions, units that cannot be, too short a history, an index that lacks a
    session and too few securities: all before the first of them is handed over.
    """

    def __init__(
        self,
        prices: pl.LazyFrame,
        index: pl.DataFrame | None,
        index_id: str,
        *,
        adjusted: bool,
        lots: bool,
        thousands: bool,
        fewest: int = 1,
    ) -> None:
        self._columns, self._index, self._index_id = prices.collect_schema().names(), index, index_id
        self._adjusted, self._lots, self._thousands = adjusted, lots, thousands
        self._unit_notes = _checked_units(prices, adjusted=adjusted, lots=lots, thousands=thousands)
        self.first, self.last = _span(prices)
        self.sample = _sample(self.first, self.last)
        self._days = sessions_between(self.first, self.last)
        if index is not None:
            missing = sorted(set(self._days) - set(index["day"].to_list()))
            if missing:
                raise SourceError(f"the index has no level of {missing[0]} ({len(missing)} sessions without)")
        ends = [pl.col("day").min().alias("start"), pl.col("day").max().alias("end")]
        self._spans = prices.group_by("asset_id").agg(ends).sort("asset_id").collect(engine="streaming")
        start, end, _, style_history = self.sample
        for month in months_between(add_months(start, -style_history), end):
            if (count := self._alive(last_session(month))) < fewest:
                raise SourceError(
                    f"prices of {count} securities at the end of {month:%Y-%m}; {fewest} are needed to sort them by style into five groups"
                )
        self._absent = self._height = 0
        self._parts: dict[str, list[pl.DataFrame]] = {"listings": [], "industries": []}
        self._returns = _Returns(self._days)

    def _alive(self, day: date) -> int:
        """Securities between their first price and their last on ``day``."""
        return self._spans.filter((pl.col("start") <= day) & (pl.col("end") >= day)).height

    def add(self, prices: pl.DataFrame) -> pl.DataFrame:
        """Bars of the next securities, all their days at once: canonical columns and those of the file."""
        units = _in_units(prices, lots=self._lots, thousands=self._thousands)
        bars, absent = _full_sessions(units, self._days)
        bars = _with_factors(bars, adjusted=self._adjusted)
        self._absent, self._height = self._absent + absent, self._height + bars.height
        spans = self._spans.join(bars, on="asset_id", how="semi", maintain_order="left")
        self._parts["listings"].append(_listings(spans, bars, self.last))
        self._parts["industries"].append(_industries(bars))
        self._returns.add(bars)
        return bars

    def result(self) -> PriceFolder:
        """All tables but bars and valuation."""
        start, end, history, style_history = self.sample
        whole = {name: pl.concat(parts) for name, parts in self._parts.items()}
        spans, no_day = self._spans, pl.lit(None, dtype=pl.Date)
        until = pl.when(pl.col("end") < self.last).then(pl.col("end") + pl.duration(days=1)).alias("valid_to")
        ends = {month_sessions(month)[-1] for month in months_between(month_start(self.first), month_start(self.last))}
        is_end = pl.col("day").is_in(list(ends)).alias("is_month_end")
        tables: dict[str, pl.DataFrame] = {
            "trading_days": pl.DataFrame({"day": self._days}).with_columns(is_end),
            "index_bars": _index_bars(self._index if self._index is not None else self._returns.levels(), self._days, self._index_id),
            "index_members": spans.select(
                pl.lit(self._index_id).alias("index_id"), "asset_id", pl.col("start").alias("valid_from"), until,
                no_day.alias("announced_on"),
            ),
            "listings": whole["listings"],
            "industries": whole["industries"],
        }  # fmt: skip
        order = (
            "trading_days",
            "index_bars",
            "daily_bars",
            "index_members",
            "listings",
            "daily_valuation",
            "industries",
        )
        rows = {name: tables[name].height if name in tables else self._height for name in order}
        styles, absent = _styles(self._columns)
        members = self._alive(last_session(end))
        notes = self._notes(spans.height)
        return PriceFolder(tables, rows, styles, absent, start, end, history, style_history, members, notes)

    def _notes(self, securities: int) -> list[str]:
        """What was assumed."""
        notes = list(self._unit_notes)
        if self._absent:
            notes.append(
                f"{self._absent} of {self._height} sessions have no row: they count as suspended, at the last close"
            )
        notes += _adjustment_notes(self._columns, adjusted=self._adjusted)
        if "is_st" not in self._columns:
            notes.append("there is no is_st: no security counts as under special treatment")
        if self._index is None:
            notes.append(
                "the index is made: all securities in equal parts every day, dividends as in the prices, no costs. Market regimes and "
                "betas are measured on it"
            )
        if "industry" not in self._columns:
            notes.append(
                "there is no industry: all securities are unclassified, and no exposure is freed of industry effects"
            )
        notes.append(
            f"every one of the {securities} securities counts as a member from its first price to its last: if the list was drawn up "
            "today, it holds the survivors, and every result is flattered by that"
        )
        return notes


def daily_bars(bars: pl.DataFrame) -> pl.DataFrame:
    """The canonical columns of :meth:`PriceTables.add`."""
    return bars.select(
        "asset_id", "day", "open", "high", "low", "close", "prev_close", "volume", "amount", "adj_factor", "is_suspended",
        "is_st", "board",
    )  # fmt: skip


_REMEDIES: dict[float, tuple[bool, bool]] = {
    1.0: (False, False), 100.0: (True, False), 0.001: (False, True), 0.1: (True, True),
}  # fmt: skip
"""Median of amount ÷ (volume × close) as the file has them → whether volume is in lots and amount in thousands."""


def _checked_units(prices: pl.LazyFrame, *, adjusted: bool, lots: bool, thousands: bool) -> list[str]:
    """Notes on the units, what is said of which is held against the prices.

    Money traded by shares traded is the average price, near the close whatever the vendor. Adjusted prices are another
    matter: there a power of ten may be the adjustment's, so only what was said of the units is held against them.
    """
    if "amount" not in prices.collect_schema():
        notes = ["there is no amount: it is volume × close"]
        if lots or thousands:
            notes.append(
                "without an amount nothing tells whether the units are as said: compare the turnover with what you know"
            )
        return notes
    traded = prices.filter((pl.col("volume") > 0) & (pl.col("amount") > 0))
    ratio, count = _median(traded.select((pl.col("amount") / pl.col("volume") / pl.col("close")).alias("ratio")))
    meant = next((units for times, units in _REMEDIES.items() if ratio is not None and 0.5 < ratio / times < 2.0), None)
    told, said = (lots, thousands), lots or thousands
    held = said and meant is not None if adjusted else said or meant is not None
    if held and meant != told and ratio is not None:
        flags = [name for name, used in zip(("--lots", "--thousands"), meant or (), strict=False) if used]
        used = [name for name, given in (("--lots", lots), ("--thousands", thousands)) if given]
        remedy = f"With {' '.join(flags)} they fit" if flags else f"Without {' '.join(used)} they fit"
        plain = meant is not None and not (adjusted and flags)
        remedy = remedy if plain else "No unit makes them fit: look at the columns volume, amount and close"
        raise SourceError(
            f"prices: amount ÷ volume, as the file has them, is {ratio:.3g} times the close in the median of {count} "
            f"rows, so volume is not in {'lots' if lots else 'shares'} or amount not in {'thousand CNY' if thousands else 'CNY'}. {remedy}"
        )
    return []


def _median(ratios: pl.LazyFrame) -> tuple[float | None, int]:
    """Median of the column ``ratio`` (null without rows) and how many rows there are, without holding them all.

    They are counted in classes 0.01 % wide; only those of the classes in the middle are looked at one by one.
    """
    classes = ratios.with_columns((pl.col("ratio").abs().log10() * 23_000).round().alias("class"))
    counts = classes.group_by("class").len().sort("class", nulls_last=False).collect(engine="streaming")
    count = int(counts["len"].sum())
    if not count:
        return None, 0
    before = counts["len"].cum_sum() - counts["len"]
    middle = counts.filter((before <= count // 2) & (before + counts["len"] > (count - 1) // 2))["class"]
    skipped = int(counts.filter(pl.col("class") < middle.min())["len"].sum())
    near = classes.filter(pl.col("class").is_between(middle.min(), middle.max())).collect(engine="streaming")
    values = near["ratio"].sort()
    low, high = values[(count - 1) // 2 - skipped], values[count // 2 - skipped]
    return (low + high) / 2.0, count


def _in_units(prices: pl.DataFrame, *, lots: bool, thousands: bool) -> pl.DataFrame:
    """Volume in shares and amount in CNY, made of volume and close where there is none."""
    volume = pl.col("volume") * (100.0 if lots else 1.0)
    amount = (
        pl.col("amount") * (1000.0 if thousands else 1.0) if "amount" in prices.columns else volume * pl.col("close")
    )
    return prices.with_columns(volume.alias("volume"), amount.alias("amount"))


def _span(prices: pl.LazyFrame) -> tuple[date, date]:
    """First and last day. Raises :class:`SourceError` for a day that is no session."""
    days = prices.select("day").unique().collect(engine="streaming")["day"].sort()
    first, last = days[0], days[-1]
    odd = sorted(set(days.to_list()) - set(sessions_between(first, last)))
    if odd:
        strange = prices.filter(pl.col("day").is_in(odd))
        count, asset = strange.select(pl.len(), pl.col("asset_id").min()).collect(engine="streaming").row(0)
        when = (
            strange.filter(pl.col("asset_id") == asset).select(pl.col("day").min()).collect(engine="streaming").item()
        )
        raise SourceError(f"prices of {asset}: {when} is no session of the exchanges ({count} such rows)")
    return first, last


def _full_sessions(prices: pl.DataFrame, sessions: list[date]) -> tuple[pl.DataFrame, int]:
    """A row for every session between a security's first and last: where none was given it was suspended; how many were not."""
    days = pl.DataFrame({"day": sessions})
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
    return full.drop("_absent"), int(full["_absent"].sum())


def check_adjustment(columns: Iterable[str], *, adjusted: bool) -> None:
    """Raise :class:`SourceError` where the canonical ``columns`` do not tell of dividends and splits though the prices are not
    ``adjusted``, or do though they are."""
    own = sorted({"adj_factor", "prev_close"} & set(columns))
    if adjusted and own:
        raise SourceError(f"prices are said to be adjusted and have {', '.join(own)}; leave one of the two out")
    if not adjusted and not own:
        raise SourceError(
            "the file has neither adj_factor nor prev_close, so a price that falls on an ex-day cannot be told from a loss. Add one "
            "of the two columns, or say --adjusted if dividends and splits are in the prices already"
        )


def _adjustment_notes(columns: list[str], *, adjusted: bool) -> list[str]:
    """How dividends and splits are known."""
    if adjusted:
        return [
            "prices are taken as adjusted: returns hold dividends and splits, amounts are volume × close, and lots and costs of the "
            "stock-level books are of adjusted prices"
        ]
    made = "there is no adj_factor: it is made of close and prev_close, which the exchange sets ex-rights"
    return [] if "adj_factor" in columns else [made]


def _with_factors(bars: pl.DataFrame, *, adjusted: bool) -> pl.DataFrame:
    """With previous close, cumulative factor, special treatment and board."""
    own = {"adj_factor", "prev_close"} & set(bars.columns)
    before = pl.col("close").shift(1).over("asset_id")
    if adjusted:
        bars = bars.with_columns(
            pl.lit(1.0).alias("adj_factor"), before.fill_null(pl.col("open")).alias("prev_close"),
            (pl.col("volume") * pl.col("close")).alias("amount"),
        )  # fmt: skip
    elif "adj_factor" in own:
        carried = before * pl.col("adj_factor").shift(1).over("asset_id") / pl.col("adj_factor")
        given = pl.col("prev_close") if "prev_close" in own else pl.lit(None, dtype=pl.Float64)
        bars = bars.with_columns(pl.coalesce(given, carried, pl.col("open")).alias("prev_close"))
    else:
        given = pl.coalesce(pl.col("prev_close"), before, pl.col("open"))
        bars = bars.with_columns(given.alias("prev_close"))
        step = pl.when(pl.col("is_suspended")).then(1.0).otherwise((before / pl.col("prev_close")).fill_null(1.0))
        bars = bars.with_columns(step.cum_prod().over("asset_id").alias("adj_factor"))
    if "is_st" not in bars.columns:
        bars = bars.with_columns(pl.lit(value=False).alias("is_st"))
    number = pl.col("asset_id").str.slice(0, 3)
    board = (
        pl.when(pl.col("asset_id").str.ends_with(".BJ")).then(pl.lit("beijing"))
        .when(number.is_in(["688", "689"])).then(pl.lit("star"))
        .when(number.is_in(["300", "301", "302"])).then(pl.lit("chinext"))
        .otherwise(pl.lit("main"))
    )  # fmt: skip
    return bars.with_columns(board.alias("board"))


class _Returns:
    """Sum and number of all adjusted returns of each session, added in the order of the securities one after the other: the
    same bits however many securities are handed over at once, and whatever days follow."""

    def __init__(self, days: list[date]) -> None:
        self._days = np.array(days, dtype="datetime64[D]")
        self._sum, self._count = np.zeros(len(days)), np.zeros(len(days), np.int64)

    def add(self, bars: pl.DataFrame) -> None:
        adjusted = pl.col("close") * pl.col("adj_factor")
        ret = (adjusted / adjusted.shift(1).over("asset_id") - 1.0).alias("ret")
        known = bars.select("day", ret).drop_nulls()
        at = np.searchsorted(self._days, known["day"].to_numpy())
        np.add.at(self._sum, at, known["ret"].to_numpy())
        np.add.at(self._count, at, 1)

    def levels(self) -> pl.DataFrame:
        """The index that equal parts of all securities make."""
        ret = self._sum / np.maximum(self._count, 1)
        close = pl.Series(INDEX_LEVEL * np.cumprod(1.0 + ret))
        return pl.DataFrame({"day": self._days, **dict.fromkeys(("open", "high", "low", "close"), close)})


def _index_bars(levels: pl.DataFrame, days: list[date], index_id: str) -> pl.DataFrame:
    """The sessions' levels of an index in canonical columns."""
    levels = levels.filter(pl.col("day").is_in(days))
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


def valuation(bars: pl.DataFrame) -> pl.DataFrame:
    """The figures of the file; those it does not have are null."""
    nothing = pl.lit(None, dtype=pl.Float64)
    figures = (pl.col(name) if name in bars.columns else nothing.alias(name) for name in VALUATION)
    return bars.select("asset_id", "day", *figures)


def _industries(bars: pl.DataFrame) -> pl.DataFrame:
    """Intervals of one industry; without a column of them all are unclassified."""
    if "industry" not in bars.columns:
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
