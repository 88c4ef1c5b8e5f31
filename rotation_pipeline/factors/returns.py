"""Quantile groups bought at a month's opening close and held: monthly and daily returns, sizes, turnover.

A row stamped t is the return over (t−1, t] of groups formed on the scores stamped t−1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
from numpy.typing import NDArray

from rotation_pipeline.factors import holding
from rotation_pipeline.factors.errors import BadInput, MissingInput
from rotation_pipeline.factors.formation import SORTED_SERIES, Formation, Formations, formation_before, formations
from rotation_pipeline.factors.inputs import as_days, floats, ordered_months, require_columns, require_sorted
from rotation_pipeline.factors.options import FactorOptions
from rotation_pipeline.factors.paths import MonthPaths, Paths, month_paths
from rotation_pipeline.factors.ranks import Ints, places
from rotation_pipeline.factors.statistics import Floats
from rotation_pipeline.factors.styles import SERIES, STYLES
from rotation_pipeline.factors.tables import GROUPS, LONGSHORT, LONGSHORT_DAILY
from rotation_pipeline.market.calendar import add_months
from rotation_pipeline.market.schema import Table

Columns = dict[str, NDArray[Any]]
"""Columns of a table by name, of one length."""


@dataclass(frozen=True)
class LongShortResult:
    """Tables marts.factor_longshort, marts.factor_groups and marts.factor_longshort_daily, sorted by key."""

    longshort: pd.DataFrame
    groups: pd.DataFrame
    daily: pd.DataFrame


def _market_values(snapshot: pl.DataFrame, months: Sequence[date]) -> dict[date, tuple[NDArray[np.int32], Floats]]:
    """Keys, rising, and total market values (CNY, NaN unknown) of each month."""
    require_columns(snapshot, "intermediate.stock_snapshot", ("month", "asset_key", "total_market_value"))
    rows = snapshot.select("month", "asset_key", "total_market_value").filter(pl.col("month").is_in(list(months)))
    rows = rows.sort("month", "asset_key")
    require_sorted(rows, "intermediate.stock_snapshot", ("month", "asset_key"))
    stamps, keys = as_days(rows["month"].to_numpy()), rows["asset_key"].to_numpy().astype(np.int32)
    values = floats(rows, "total_market_value")
    out: dict[date, tuple[NDArray[np.int32], Floats]] = {}
    for month in months:
        low, high = (
            np.searchsorted(stamps, np.datetime64(month, "D")),
            np.searchsorted(stamps, np.datetime64(month, "D"), "right"),
        )
        if low == high:
            raise MissingInput(f"intermediate.stock_snapshot has no row for {month:%Y-%m}; value weights need it")
        out[month] = keys[low:high], values[low:high]
    return out


def _aligned(known: NDArray[np.int32], values: Floats, keys: NDArray[np.int32]) -> Floats:
    at = places(known, keys)
    return np.where(at >= 0, values[np.maximum(at, 0)], np.nan)


@dataclass(frozen=True)
class _Month:
    """All that one month's returns are computed from; ``earlier`` is the formation before (first book: None)."""

    month: date
    formation: Formation
    paths: MonthPaths
    market_value: Floats
    earlier: Formation | None
    earlier_paths: MonthPaths | None


def _held_rows(this: _Month) -> Ints:
    rows = this.paths.rows(this.formation.asset_key)
    held = (this.formation.group > 0).any(axis=0)
    lost = int(np.count_nonzero(held & (rows < 0)))
    if 2 * lost > int(np.count_nonzero(held)):
        raise MissingInput(
            f"intermediate.adjusted_bars has no row in {this.month:%Y-%m} for {lost} of {int(np.count_nonzero(held))} held "
            "members; load that month's bars"
        )
    return rows


def _refuse_other_groups(found: Formations, n_groups: int) -> None:
    """Raise BadInput for a group that the setting knows nothing of."""
    for month, formation in found.items():
        most = int(formation.group.max(initial=0))
        if most > n_groups or int(formation.group.min(initial=0)) < 0:
            raise BadInput(
                f"marts.factor_exposures of {month:%Y-%m} has members in group {most}, factors.n_groups is {n_groups}; "
                "compute exposures and returns with one setting"
            )


def _turnovers(this: _Month, n_groups: int) -> tuple[Floats, Floats]:
    """Turnover of each group (NaN in a first month), (series, groups), and of each book (1 in a first month), (series,)."""
    formation, earlier = this.formation, this.earlier
    weights = holding.book_weights(formation.group, n_groups)
    series, n = formation.group.shape
    if earlier is None or this.earlier_paths is None:
        nowhere = np.full(n, -1, np.int64)
        return np.full((series, n_groups), np.nan), holding.book_turnover(weights, np.empty((series, 0)), nowhere)
    match = places(earlier.asset_key, formation.asset_key)
    returns = this.earlier_paths.returns(earlier.asset_key, absent=0.0)
    before = holding.drifted_weights(holding.book_weights(earlier.group, n_groups), returns)
    return (
        holding.group_turnover(formation.group, earlier.group, match, n_groups),
        holding.book_turnover(weights, before, match),
    )


def _daily_spread(paths: Floats) -> Floats:
    """Daily return of the last group minus that of the first, (series, days), from paths (series, 2, days) out of 1."""
    opened = np.concatenate((np.ones((*paths.shape[:2], 1)), paths[:, :, :-1]), axis=2)
    daily = paths / opened - 1.0
    return daily[:, 1] - daily[:, 0]


def _month_columns(this: _Month, options: FactorOptions) -> tuple[Columns, Columns, Columns]:
    """Columns of the three tables for one month, in the order of their keys."""
    formation, n_groups, series = this.formation, options.n_groups, len(SORTED_SERIES)
    rows, stamp, names = _held_rows(this), np.datetime64(this.month, "ns"), np.array(SORTED_SERIES, dtype=object)
    even, valued, ends, count = holding.group_values(
        formation.group, rows, this.market_value, this.paths.growth, n_groups, options.weighting == "value"
    )
    group_turnover, book_turnover = _turnovers(this, n_groups)
    longshort: Columns = {
        "month": np.full(series, stamp), "factor": names,
        "kind": np.array(["style" if name in STYLES else "raw" for name in SORTED_SERIES], dtype=object),
        "long_short": even[:, -1] - even[:, 0],
        "long_short_value_weighted": valued[:, -1] - valued[:, 0],
        "n_long": count[:, -1], "n_short": count[:, 0], "n_members": np.full(series, formation.asset_key.size),
        "book_turnover": book_turnover,
    }  # fmt: skip
    groups: Columns = {
        "month": np.full(series * n_groups, stamp), "factor": np.repeat(names, n_groups),
        "quantile": np.tile(np.arange(1, n_groups + 1), series), "n": count.ravel(),
        "return_equal": even.ravel() - 1.0, "return_value": valued.ravel() - 1.0,
        "turnover": group_turnover.ravel(),
    }  # fmt: skip
    spread, days = _daily_spread(ends), this.paths.days
    daily: Columns = {
        "month": np.full(spread.size, stamp), "day": np.repeat(days.astype("datetime64[ns]"), series),
        "factor": np.tile(names, days.size), "long_short": np.ascontiguousarray(spread.T).ravel(),
    }  # fmt: skip
    return longshort, groups, daily


def frame_of(parts: Sequence[Columns], table: Table) -> pd.DataFrame:
    """Parts, in the order of the table's key, put one under the other as a frame of its columns and pandas types; NaN is null."""
    types = {"DATE": "datetime64[ns]", "INTEGER": "int32", "VARCHAR": "object", "DOUBLE": "float64"}
    columns = {
        column.name: np.concatenate([np.asarray(part[column.name]) for part in parts]) if parts else np.empty(0)
        for column in table.columns
    }
    return pd.DataFrame(columns).astype({column.name: types[column.type] for column in table.columns})


def long_short_returns(
    exposures: pl.DataFrame | Formations,
    bars: pl.DataFrame | Paths,
    snapshot: pl.DataFrame,
    months: Sequence[date],
    options: FactorOptions,
    first_month: date | None = None,
) -> LongShortResult:
    """Group and long-short returns of every style and raw factor in each month.

    Members are sorted at the close of t−1 (the stored quantiles) and held over (t−1, t] without trading. A suspended
    member earns 0 until it trades again; a delisted one keeps its last value; one without a row in the month stays
    at 1. Value weights are total market values at the close of t−1; names without one have no part in them.
    Daily long-short returns are the long leg's daily return minus the short leg's; they don't compound to the
    monthly difference, which is that of the two legs' values.

    ``book_turnover`` compares the book formed at t−1 with the one formed at t−2 after its drift over t−1, each leg
    measured in its own value, so it needs exposures of t−2 and bars of t−1. Where exposures of t−2 don't exist the
    book is the first and its turnover 1.

    Args:
        exposures: marts.factor_exposures of t−1 and, but for the first book, t−2, for each t in ``months``; or what
            :func:`~rotation_pipeline.factors.formation.formations` made of it.
        bars: intermediate.adjusted_bars of t and, but for the first book, t−1, sorted by asset_key, day; or what
            :func:`~rotation_pipeline.factors.paths.month_paths` made of it.
        snapshot: intermediate.stock_snapshot of t−1 (total_market_value, CNY).
        months: months wanted.
        first_month: first month that has exposures at all. It gets no row. When given, exposures of t−2 are demanded
            for every later book; when None, their absence marks a first book.

    Returns:
        Three pandas frames with the columns of ``tables.LONGSHORT``, ``GROUPS`` and ``LONGSHORT_DAILY``; NaN is null.

    Raises:
        MissingExposures: no exposures at t−1 (or t−2, see above). MissingInput: no bars or snapshot of a month.
    """
    wanted = ordered_months(months)
    around = sorted({add_months(month, -lag) for month in wanted for lag in (1, 2)})
    found = formations(exposures, around)
    plan: list[tuple[date, Formation, Formation | None]] = []
    for month in wanted:
        formation = formation_before(found, month, first_month)
        if formation is None:
            continue
        strict = first_month is not None and add_months(month, -1) != first_month
        earlier = (
            formation_before(found, add_months(month, -1), first_month) if strict else found.get(add_months(month, -2))
        )
        plan.append((month, formation, earlier))
    _refuse_other_groups(found, options.n_groups)
    needed = {month for month, _, _ in plan} | {
        add_months(month, -1) for month, _, earlier in plan if earlier is not None
    }
    paths = month_paths(bars, needed)
    values = _market_values(snapshot, [add_months(month, -1) for month, _, _ in plan])
    months_columns: list[tuple[Columns, Columns, Columns]] = []
    for month, formation, earlier in plan:
        before = add_months(month, -1)
        value = _aligned(*values[before], formation.asset_key)
        earlier_paths = paths[before] if earlier is not None else None
        months_columns.append(
            _month_columns(_Month(month, formation, paths[month], value, earlier, earlier_paths), options)
        )
    tables = (LONGSHORT, GROUPS, LONGSHORT_DAILY)
    return LongShortResult(*(frame_of([part[k] for part in months_columns], table) for k, table in enumerate(tables)))


def longshort_wide(longshort: pd.DataFrame, weighting: str = "equal") -> pd.DataFrame:
    """A row per month and a column per series (styles first, then raw factors), as exported to factor_longshort.csv.

    Args:
        longshort: marts.factor_longshort. weighting: ``equal`` or ``value``: which of the two monthly returns.

    Returns:
        Column ``month`` (datetime64) and one column per series present, fraction per month, NaN for null.
    """
    columns = {"equal": "long_short", "value": "long_short_value_weighted"}
    if weighting not in columns:
        raise BadInput(f"weighting is equal or value, got {weighting!r}")
    wide = longshort.pivot(index="month", columns="factor", values=columns[weighting]).sort_index()
    unknown = sorted(set(wide.columns) - set(SERIES))
    if unknown:
        raise BadInput(f"marts.factor_longshort holds unknown series {unknown}")
    ordered = wide[[name for name in SERIES if name in wide.columns]].reset_index()
    ordered.columns.name = None
    return ordered
