"""Two sources for the same months held against each other: rows, prices, volumes, returns, and what their differences are.

Each is taken as it was delivered, before any sanity rule: what a rule would refuse (lots for shares, say) is to be found
here, not to stop here. Months pass in pieces; everything kept of a piece adds up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Literal

import polars as pl

from rotation_pipeline.market.identifiers import with_asset_id
from rotation_pipeline.market.reused_codes import another_company
from rotation_pipeline.market.schema import Table
from rotation_pipeline.market.tables import SOURCE_TABLES
from rotation_pipeline.sources.options import ReconcileOptions

Kind = Literal["price", "volume", "returns", "valuation", "fundamentals", "cash", "ratio", "same"]
_KINDS: dict[str, dict[str, Kind]] = {
    "trading_days": {"is_month_end": "same"},
    "index_bars": {**dict.fromkeys(("open", "high", "low", "close"), "price"), "volume": "volume", "amount": "volume"},
    "daily_bars": {
        **dict.fromkeys(("open", "high", "low", "close", "prev_close"), "price"),
        "volume": "volume", "amount": "volume", "return": "returns", "is_suspended": "same", "is_st": "same", "board": "same",
    },
    "daily_valuation": dict.fromkeys(
        ("pe_ttm", "pb", "ps_ttm", "dividend_yield_ttm", "turnover_rate", "total_market_value", "float_market_value"),
        "valuation",
    ),
    "fundamentals": {"value": "fundamentals"},
    "dividends": {"cash_per_share": "cash", "shares_per_share": "ratio"},
    "index_members": {},
    "index_weights": {"weight": "valuation"},
    "industries": {},
    "listings": {"board": "same", "listed_on": "same"},
}  # fmt: skip
"""Columns compared and how; ``adj_factor`` counts by the returns it makes, for its base is each vendor's own."""
_KEYS: dict[str, tuple[str, ...]] = {
    "index_members": ("month", "index_id", "asset_id"),
    "industries": ("month", "asset_id", "scheme", "industry"),
}
"""Where not the table's own: who was a member counts, not the day a vendor says it began."""
_ALWAYS = {
    "price": 0.005,
    "volume": 0.0,
    "returns": 0.0,
    "valuation": 0.0,
    "fundamentals": 0.0,
    "cash": 0.0,
    "ratio": 0.0,
}
_LEAST = {"volume": 100.0, "amount": 1000.0}
_POWERS = (1e-4, 1e-3, 1e-2, 1e2, 1e3, 1e4)
_NEAR = 0.02
"""How near a ratio must be to a power of ten: rounding to lots moves small volumes."""
_FEW = 5
"""Rows from which a difference of some rows only is named a unit, or a security's month adjusted: one or two may be chance."""
_CENTS = 0.01
"""CNY that rounding to cents may move the difference of two prices by, twice half a cent."""
_FAR = 0.9
"""Of two prices the lower over the higher, below which the difference is no noise, whatever each is rounded to."""
_SOME = 0.25
"""Share of differing closes that adjusting must explain to be named. Noise of cents explains less than 0.01 of them; prices
less the cash paid since, as some sites adjust, keep the returns of rows near the last ex-days only."""
ROW_SCHEMA = pl.Schema({"table": pl.String(), "a": pl.Int64(), "b": pl.Int64(), "both": pl.Int64(), "only_a": pl.Int64(), "only_b": pl.Int64()})  # fmt: skip
COLUMN_SCHEMA = pl.Schema(
    {
        "table": pl.String(), "column": pl.String(), "compared": pl.Int64(), "beyond": pl.Int64(), "largest": pl.Float64(),
        "null_in_a": pl.Int64(), "null_in_b": pl.Int64(), **{f"x{power:g}": pl.Int64() for power in _POWERS},
    }
)  # fmt: skip
WORST_SCHEMA = pl.Schema(
    {"table": pl.String(), "column": pl.String(), "row_key": pl.String(), "a": pl.String(), "b": pl.String(), "size": pl.Float64()}
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """What two sources differ in.

    ``rows``: :data:`ROW_SCHEMA`, keys by table. ``columns``: :data:`COLUMN_SCHEMA`; ``beyond``: values beyond the
    tolerance or null on one side only; ``largest``: of the differences (relative, or absolute for returns and cash);
    ``x100`` …: rows in which B is so many times A. ``worst``: :data:`WORST_SCHEMA`, largest first. ``missing``: the first
    rows one side alone has (table, lacking: the side that lacks it, row_key). ``named``: what the differences are, in words.
    """

    rows: pl.DataFrame
    columns: pl.DataFrame
    worst: pl.DataFrame
    missing: pl.DataFrame
    named: tuple[str, ...]

    @property
    def agree(self) -> bool:
        """Same rows, every value within its tolerance."""
        return not self.rows["only_a"].sum() and not self.rows["only_b"].sum() and not self.columns["beyond"].sum()


@dataclass
class Reconciler:
    """Two sources, piece by piece. ``a`` and ``b`` of :meth:`add`: stored columns with ``month`` by table name."""

    options: ReconcileOptions = field(default_factory=ReconcileOptions)
    _rows: list[pl.DataFrame] = field(default_factory=list[pl.DataFrame])
    _columns: list[pl.DataFrame] = field(default_factory=list[pl.DataFrame])
    _worst: list[pl.DataFrame] = field(default_factory=list[pl.DataFrame])
    _missing: list[pl.DataFrame] = field(default_factory=list[pl.DataFrame])
    _days: list[tuple[str, str, date]] = field(default_factory=list[tuple[str, str, date]])
    _scattered: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    _factors: list[pl.DataFrame] = field(default_factory=list[pl.DataFrame])
    _rebased: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])

    def add(self, a: Mapping[str, pl.DataFrame], b: Mapping[str, pl.DataFrame], months: Sequence[date]) -> None:
        """Compare ``months`` of the tables both have. Earlier rows of ``daily_bars`` are what its first returns need."""
        wanted = list(months)
        listed = _listed(a, b)
        for table in SOURCE_TABLES:
            if table.name not in a or table.name not in b:
                continue
            left, right = (
                _ready(table, mine[table.name], other[table.name], listed) for mine, other in ((a, b), (b, a))
            )
            left, right = (frame.filter(pl.col("month").is_in(wanted)) for frame in (left, right))
            both = self._match(table, left, right)
            for name, kind in _KINDS[table.name].items():
                self._compare(table, both, name, kind)
            if table.name == "daily_bars":
                self._explain_bars(both)

    def _match(self, table: Table, left: pl.DataFrame, right: pl.DataFrame) -> pl.DataFrame:
        key = _key(table)
        both = left.join(right, on=key, how="inner", suffix="|b")
        counts = (left.height, right.height, both.height, left.height - both.height, right.height - both.height)
        self._rows.append(pl.DataFrame([(table.name, *counts)], schema=ROW_SCHEMA, orient="row"))
        for mine, other, side in ((left, right, "b"), (right, left, "a")):
            lost = mine.join(other, on=key, how="anti")
            if not lost.height:
                continue
            shown = _named_keys(table, lost.sort(key).head(self.options.worst))
            self._missing.append(shown.select(table=pl.lit(table.name), lacking=pl.lit(side), row_key="row_key"))
            days = 0
            if "day" in key:
                gone = lost.filter(~pl.col("day").is_in(other["day"].unique().implode()))
                self._days += [(table.name, side, day) for day in gone["day"].unique().sort().to_list()]
                days = gone.height
            self._scattered[table.name, side] += lost.height - days
        return both

    def _compare(self, table: Table, both: pl.DataFrame, name: str, kind: Kind) -> None:
        left, right = pl.col(name), pl.col(f"{name}|b")
        size, beyond = _beyond(name, kind, self.options)
        one_sided = left.is_null() != right.is_null()
        counted = both.select(
            compared=(left.is_not_null() & right.is_not_null()).sum(),
            beyond=(beyond | one_sided).sum(),
            largest=size.max(),
            null_in_a=(left.is_null() & right.is_not_null()).sum(),
            null_in_b=(left.is_not_null() & right.is_null()).sum(),
            **{f"x{power:g}": (_near(name, power).sum() if kind != "same" else pl.lit(0)) for power in _POWERS},
        )
        head = counted.with_columns(table=pl.lit(table.name), column=pl.lit(name))
        self._columns.append(head.select(pl.col(column).cast(dtype) for column, dtype in COLUMN_SCHEMA.items()))
        found = both.with_columns(size=size.fill_null(float("inf"))).filter(beyond | one_sided)
        if found.height:
            found = found.sort("size", *_key(table), descending=[True] + [False] * len(_key(table))).head(
                self.options.worst
            )
            shown = _named_keys(table, found).with_columns(table=pl.lit(table.name), column=pl.lit(name))
            self._worst.append(
                shown.select(
                    "table",
                    "column",
                    "row_key",
                    left.cast(pl.String).alias("a"),
                    right.cast(pl.String).alias("b"),
                    "size",
                )
            )

    def _explain_bars(self, both: pl.DataFrame) -> None:
        """Whether prices differ because one side is adjusted, and returns because of a factor: counts that add up."""
        close, back = (
            _beyond(name, "price", self.options)[1].fill_null(value=False) for name in ("close", "prev_close")
        )
        moved = _beyond("return", "returns", self.options)[1].fill_null(value=False)
        known = pl.col("return").is_not_null() & pl.col("return|b").is_not_null()
        # adjusted prices are sold rounded to cents: then returns agree as far as cents allow, and prices differ by more
        slack = self.options.returns + _CENTS / pl.col("last_close").abs() + _CENTS / pl.col("last_close|b").abs()
        apart = (pl.col("close") - pl.col("close|b")).abs() > 2 * _CENTS
        near = apart & ((pl.col("return") - pl.col("return|b")).abs() <= slack)
        same = close & known & _adjusting(known) & (~moved | near)
        self._rebased.append(both.select(a=close.sum(), b=same.sum()).row(0))
        odd = both.filter(
            moved & ~close & ~back & ~_beyond("last_close", "price", self.options)[1].fill_null(value=False)
        )
        self._factors.append(with_asset_id(odd.select("asset_key", "day")) if odd.height else _NO_FACTORS)

    def result(self) -> Reconciliation:
        """Everything added so far."""
        rows = _concat(ROW_SCHEMA, self._rows).group_by("table", maintain_order=True).sum()
        counts = [name for name in COLUMN_SCHEMA if name not in ("table", "column", "largest")]
        columns = _concat(COLUMN_SCHEMA, self._columns).group_by("table", "column", maintain_order=True)
        summed = columns.agg(pl.col(counts).sum(), pl.col("largest").max()).select(list(COLUMN_SCHEMA))
        worst = _concat(WORST_SCHEMA, self._worst).sort(
            "size", "table", "column", "row_key", descending=[True, False, False, False]
        )
        worst = worst.group_by("table", "column", maintain_order=True).head(self.options.worst)
        worst = worst.sort("size", "table", "column", "row_key", descending=[True, False, False, False])
        missing = (
            pl.concat([_NO_ROWS, *self._missing])
            .group_by("table", "lacking", maintain_order=True)
            .head(self.options.worst)
        )
        return Reconciliation(rows, summed, worst, missing, tuple(self._names(rows, summed)))

    def _names(self, rows: pl.DataFrame, columns: pl.DataFrame) -> Iterator[str]:
        """The differences with a known cause, in words."""
        for table, side, day in sorted(set(self._days)):
            yield f"missing day: {side.upper()} has no row of {table} on {day}"
        for name in rows["table"]:
            for side in ("a", "b"):
                if count := self._scattered[name, side]:
                    yield f"missing rows: {side.upper()} lacks {count} rows of {name} that the other has"
        for row in columns.iter_rows(named=True):
            power = max(_POWERS, key=lambda p: row[f"x{p:g}"])
            count, share = row[f"x{power:g}"], self.options.unit_share
            if count > share * max(row["compared"], 1):
                yield _unit(row["table"], row["column"], power)
            elif count >= _FEW and count > share * row["beyond"]:
                yield f"{_unit(row['table'], row['column'], power)}; so in {count} of {row['compared']} rows"
        different, same_returns = (sum(part) for part in zip(*self._rebased, strict=True)) if self._rebased else (0, 0)
        scaled = columns.filter((pl.col("table") == "daily_bars") & (pl.col("column") == "close"))
        if different and same_returns > _SOME * different and not any(scaled[f"x{p:g}"].sum() for p in _POWERS):
            yield (
                f"adjusted prices: {different} closes differ and {same_returns} of them earn the same adjusted return; one "
                "side's prices are adjusted (qfq or hfq), canonical ones are not"
            )
        factors = pl.concat([_NO_FACTORS, *self._factors])
        if factors.height:
            shown = ", ".join(f"{asset} {day}" for asset, day in factors.sort("day", "asset_id").head(5).iter_rows())
            more = f" and {factors.height - 5} more" if factors.height > 5 else ""
            yield (
                f"adjustment factor: {factors.height} returns differ though close, last close and prev_close agree; the "
                f"factor of one side is wrong on {shown}{more}"
            )


_NO_ROWS = pl.DataFrame(schema={"table": pl.String, "lacking": pl.String, "row_key": pl.String})
_NO_FACTORS = pl.DataFrame(schema={"asset_id": pl.String, "day": pl.Date})


def common(
    a: Mapping[str, pl.DataFrame], b: Mapping[str, pl.DataFrame]
) -> tuple[dict[str, pl.DataFrame], dict[str, pl.DataFrame]]:
    """Both without securities and indices of which the other has no bars: for sources of different coverage."""
    kept: list[dict[str, pl.DataFrame]] = [dict(a), dict(b)]
    for column, name in (("asset_key", "daily_bars"), ("index_id", "index_bars")):
        if name not in a or name not in b:
            continue
        known = a[name].select(column).unique().join(b[name].select(column).unique(), on=column, how="semi")
        for side in kept:
            side.update(
                {
                    key: rows.join(known, on=column, how="semi", maintain_order="left")
                    for key, rows in side.items()
                    if column in rows.columns
                }
            )
    return kept[0], kept[1]


def _concat(schema: pl.Schema, parts: Sequence[pl.DataFrame]) -> pl.DataFrame:
    return pl.concat([schema.to_frame(), *parts])


def _key(table: Table) -> list[str]:
    names = _KEYS.get(table.name, table.key)
    return ["asset_key" if name == "asset_id" else name for name in names]


def _listed(a: Mapping[str, pl.DataFrame], b: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Latest ``listed_on`` of each code as known in each month, by each source: both are measured by both."""
    code = ["month", "asset_key"]
    found = [
        frames["listings"].group_by(code).agg(pl.col("listed_on").max()) for frames in (a, b) if "listings" in frames
    ]
    schema = {"month": pl.Date, "asset_key": pl.Int32, "listed_on": pl.Date}
    days = pl.concat([pl.DataFrame(schema=schema), *found]).group_by(code)
    return days.agg(pl.col("listed_on").min().alias("one_says"), pl.col("listed_on").max().alias("other_says"))


def _ready(table: Table, frame: pl.DataFrame, other: pl.DataFrame, listed: pl.DataFrame) -> pl.DataFrame:
    """One row a key (the first of copies, which the sanity rules would refuse), with the return of bars.

    Returns are from row to row of those the ``other`` side has too: where one side lacks a day, both are measured past it.
    A company that was given another one's code has no return on its first day: each company's factor has its own base.
    """
    key = _key(table)
    rows = frame.unique(key, keep="first", maintain_order=True)
    if table.name != "daily_bars":
        return rows
    adjusted, traded = pl.col("close") * pl.col("adj_factor"), ~pl.col("is_suspended")
    rows = rows.sort("asset_key", "day").join(listed, on=["month", "asset_key"], how="left", maintain_order="left")
    known = other.select(*key, pl.lit(value=True).alias("both")).unique()
    rows = rows.join(known, on=key, how="left", maintain_order="left")
    alike = ["asset_key", "both"]
    change = adjusted / adjusted.shift(1).over(alike) - 1.0
    before = pl.col("day").shift(1).over(alike)
    first = another_company(before, "one_says") | another_company(before, "other_says")
    return rows.with_columns(
        pl.when(traded & ~first).then(change).alias("return"),
        pl.col("close").shift(1).over(alike).alias("last_close"),
    ).drop("one_says", "other_says", "both")


def _named_keys(table: Table, rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with their key as JSON people read."""
    text = with_asset_id(rows) if "asset_key" in rows.columns else rows
    return text.rechunk().with_columns(
        pl.struct(list(_KEYS.get(table.name, table.key))).struct.json_encode().alias("row_key")
    )


def _beyond(name: str, kind: Kind, options: ReconcileOptions) -> tuple[pl.Expr, pl.Expr]:
    """Size of the difference of ``name`` and ``name|b``, and whether it is beyond the tolerance; null where one is null."""
    left, right = pl.col(name), pl.col(f"{name}|b")
    if kind == "same":
        return (left != right).cast(pl.Float64), left != right
    left, right = left.cast(pl.Float64), right.cast(pl.Float64)
    gap = (left - right).abs()
    if kind in ("returns", "cash"):
        allowed = options.returns if kind == "returns" else options.cash
        return gap, gap > allowed * (1 + 1e-9)
    relative = gap / pl.max_horizontal(left.abs(), right.abs(), pl.lit(1e-300))
    tolerance = {
        "price": options.price, "volume": options.volume, "valuation": options.valuation,
        "fundamentals": options.fundamentals, "ratio": options.fundamentals,
    }[kind]  # fmt: skip
    return relative, (relative > tolerance) & (gap > max(_ALWAYS[kind], _LEAST.get(name, 0.0)) * (1 + 1e-9))


def _near(name: str, power: float) -> pl.Expr:
    """Rows in which B is ``power`` times A."""
    ratio = pl.col(f"{name}|b").cast(pl.Float64) / pl.col(name).cast(pl.Float64)
    return ((ratio / power - 1.0).abs() < _NEAR).fill_null(value=False)


def _adjusting(known: pl.Expr) -> pl.Expr:
    """Rows of a security's month in which one side's closes, each times its factor, are the same multiple of the other's or
    lie the same amount off: as adjusting makes them between ex-days, and as noise of a few cents never does for long.

    Held over the rows with returns (``known``) of the month, of which there must be a few. A multiple need be the same only
    as far as rounding to cents allows: of one side, or of both where they lie too far apart for noise (qfq against hfq).
    Prices less the cash paid since keep their cents.
    """
    month = ["asset_key", "month"]

    def multiple(rounded: str, exact: str) -> pl.Expr:
        close, other = pl.col(f"close{rounded}"), pl.col(f"close{exact}")
        share = close / other
        half = _CENTS / 2 * (1.0 + pl.when(share < _FAR).then(share).otherwise(0.0))
        base = other * pl.col(f"adj_factor{exact}") / pl.col(f"adj_factor{rounded}")
        low, high = ((close - half) / base).filter(known).max(), ((close + half) / base).filter(known).min()
        return low.over(month) * (1 + 1e-9) < high.over(month)

    off = (pl.col("close|b") - pl.col("close")).filter(known)
    amount = (off.max() - off.min()).over(month) < _CENTS / 2
    steady = multiple("|b", "") | multiple("", "|b") | amount
    return (known.sum().over(month) >= _FEW) & steady.fill_null(value=False)


def _unit(table: str, column: str, power: float) -> str:
    known = {
        ("volume", 1e-2): "B counts lots of 100, A shares", ("volume", 1e2): "A counts lots of 100, B shares",
        ("amount", 1e-3): "B counts thousand CNY, A CNY", ("amount", 1e3): "A counts thousand CNY, B CNY",
        ("total_market_value", 1e-4): "B counts ten thousand CNY, A CNY",
        ("float_market_value", 1e-4): "B counts ten thousand CNY, A CNY",
        ("total_market_value", 1e4): "A counts ten thousand CNY, B CNY",
        ("float_market_value", 1e4): "A counts ten thousand CNY, B CNY",
        ("turnover_rate", 1e2): "B is in percent", ("turnover_rate", 1e-2): "A is in percent",
        ("dividend_yield_ttm", 1e2): "B is in percent", ("dividend_yield_ttm", 1e-2): "A is in percent",
    }.get((column, power), "units differ")  # fmt: skip
    return f"unit: {table}.{column} of B is {power:g} times that of A; {known}"
