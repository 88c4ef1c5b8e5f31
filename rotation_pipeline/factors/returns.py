"""Quantile groups bought at a month's opening close and held: monthly and daily returns, sizes, turnover.

A row stamped t is the return over (t−1, t] of groups formed on the scores stamped t−1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd
import polars as pl
from numba import njit
from numpy.typing import NDArray

from rotation_pipeline.factors.errors import BadInput, MissingExposures, MissingInput
from rotation_pipeline.factors.inputs import floats, ordered_months, require_columns
from rotation_pipeline.factors.options import FactorOptions
from rotation_pipeline.factors.paths import MonthPaths, month_paths
from rotation_pipeline.factors.statistics import Floats
from rotation_pipeline.factors.styles import SERIES, STYLES
from rotation_pipeline.factors.tables import GROUPS, LONGSHORT, LONGSHORT_DAILY
from rotation_pipeline.market.calendar import add_months

Ints = NDArray[np.int64]
SORTED_SERIES: tuple[str, ...] = tuple(sorted(SERIES))
"""Series in the order of the tables' keys."""


@dataclass(frozen=True)
class LongShortResult:
    """Tables marts.factor_longshort, marts.factor_groups and marts.factor_longshort_daily, sorted by key."""

    longshort: pd.DataFrame
    groups: pd.DataFrame
    daily: pd.DataFrame


@dataclass(frozen=True)
class Formation:
    """What was known of the members at the close of a month.

    Attributes:
        asset_key: rising, shape (n,).
        score: by :data:`SORTED_SERIES`, NaN for null, shape (16, n).
        group: quantile by series, 0 for none, shape (16, n).
        covered: has a value, shape (16, n).
        tradable: shape (n,).
    """

    asset_key: NDArray[np.int32]
    score: Floats
    group: Ints
    covered: NDArray[np.bool_]
    tradable: NDArray[np.bool_]


def formations(exposures: pl.DataFrame, months: Sequence[date]) -> dict[date, Formation]:
    """Formation of each of ``months`` that marts.factor_exposures holds; a month it lacks is left out.

    Raises:
        BadInput: a month in which some member lacks some of the 16 series or has one twice.
    """
    require_columns(
        exposures,
        "marts.factor_exposures",
        ("month", "asset_key", "factor", "score", "quantile", "in_coverage", "in_tradable"),
    )
    out: dict[date, Formation] = {}
    rows = exposures.filter(pl.col("month").is_in(list(months))).sort("month", "asset_key", "factor")
    for (month,), part in rows.partition_by("month", as_dict=True, maintain_order=True).items():
        n, extra = divmod(part.height, len(SORTED_SERIES))
        keys = part["asset_key"].to_numpy().reshape(-1, len(SORTED_SERIES)) if not extra else np.empty((0, 1))
        if extra or part["factor"].to_list() != list(SORTED_SERIES) * n or not (keys == keys[:, :1]).all():
            raise BadInput(
                f"marts.factor_exposures of {month:%Y-%m}: every member needs each of the {len(SORTED_SERIES)} series once; "
                "compute the month again"
            )

        def block(values: NDArray[np.generic], n: int = n) -> NDArray[np.generic]:
            return np.ascontiguousarray(values.reshape(n, len(SORTED_SERIES)).T)

        out[month] = Formation(
            keys[:, 0].astype(np.int32),
            block(floats(part, "score")).astype(np.float64),
            block(part["quantile"].fill_null(0).to_numpy()).astype(np.int64),
            block(part["in_coverage"].to_numpy()).astype(np.bool_),
            block(part["in_tradable"].to_numpy())[0].astype(np.bool_),
        )
    return out


def formation_before(found: dict[date, Formation], month: date, first_month: date | None) -> Formation | None:
    """Formation of the month before ``month``; None if ``month`` is the first with exposures.

    Raises:
        MissingExposures: the month before has none though ``month`` is not the first.
    """
    before = add_months(month, -1)
    if before in found:
        return found[before]
    if first_month is not None and month == first_month:
        return None
    raise MissingExposures(
        f"marts.factor_exposures has no row for {before:%Y-%m}, on which the returns of {month:%Y-%m} are formed; compute "
        "that month first, or name the first month with exposures as first_month"
    )


@njit(cache=True)
def group_paths(group: Ints, row: Ints, weight: Floats, growth: Floats, n_groups: int) -> tuple[Floats, Ints]:
    """Value path of each bought-and-held group and the number of its names.

    Args:
        group: 1 … n_groups, 0 for none, shape (n,). row: row of ``growth``, −1 for a value that stays 1, shape (n,).
        weight: weight at purchase, NaN or ≤ 0 leaves the name out of the path (not of the count), shape (n,).
        growth: shape (assets, days).

    Returns:
        Paths of shape (n_groups, days), NaN for a group without weight; counts of shape (n_groups,).
    """
    days = growth.shape[1]
    paths, mass, count = np.zeros((n_groups, days)), np.zeros(n_groups), np.zeros(n_groups, np.int64)
    for i in range(group.size):
        g = group[i] - 1
        if g < 0:
            continue
        count[g] += 1
        if not weight[i] > 0.0:
            continue
        mass[g] += weight[i]
        for d in range(days):
            paths[g, d] += weight[i] * (growth[row[i], d] if row[i] >= 0 else 1.0)
    for g in range(n_groups):
        for d in range(days):
            paths[g, d] = paths[g, d] / mass[g] if mass[g] > 0.0 else np.nan
    return paths, count


def group_turnover(
    group: Ints, asset_key: NDArray[np.int32], group_before: Ints, key_before: NDArray[np.int32], which: int
) -> float:
    """Share of the names in group ``which`` that were not in it at the formation before; NaN for an empty group."""
    now = asset_key[group == which]
    if now.size == 0:
        return float("nan")
    return int(np.count_nonzero(~np.isin(now, key_before[group_before == which]))) / now.size


def book_weights(group: Ints, n_groups: int) -> Floats:
    """Equal-weighted long-short book: +1/n in the top group, −1/n in the bottom one; 0 throughout if either is empty."""
    top, bottom = group == n_groups, group == 1
    weights = np.zeros(group.size)
    if top.any() and bottom.any():
        weights[top] = 1.0 / np.count_nonzero(top)
        weights[bottom] = -1.0 / np.count_nonzero(bottom)
    return weights


def drifted_weights(weights: Floats, returns: Floats) -> Floats:
    """Weights after a month without trading, each leg measured in its own value (legs still sum to ±1).

    A leg that lost everything has no weight left.
    """
    grown = weights * (1.0 + returns)
    out = np.zeros(weights.size)
    for leg in (grown > 0.0, grown < 0.0):
        if leg.any():
            out[leg] = grown[leg] / abs(sum(grown[leg].tolist()))
    return out


def book_turnover(
    weights: Floats, asset_key: NDArray[np.int32], before: Floats, key_before: NDArray[np.int32]
) -> float:
    """½ Σ|w − w before| over the names of both books, each weight 0 where the name is absent; 2 changes every name."""
    names = np.union1d(asset_key, key_before)
    change = np.zeros(names.size)
    change[np.searchsorted(names, asset_key)] += weights
    change[np.searchsorted(names, key_before)] -= before
    return 0.5 * sum(np.abs(change).tolist())


def _market_values(snapshot: pl.DataFrame, month: date, keys: NDArray[np.int32]) -> Floats:
    rows = snapshot.filter(pl.col("month") == month).sort("asset_key")
    if rows.height == 0:
        raise MissingInput(f"intermediate.stock_snapshot has no row for {month:%Y-%m}; value weights need it")
    known, values = rows["asset_key"].to_numpy(), floats(rows, "total_market_value")
    at = np.minimum(np.searchsorted(known, keys), known.size - 1)
    return np.where(known[at] == keys, values[at], np.nan)


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


def _turnover_of_book(this: _Month, series: int, weights: Floats, n_groups: int) -> float:
    none = np.empty(0), np.empty(0, np.int32)
    before, keys = none
    if this.earlier is not None and this.earlier_paths is not None:
        keys = this.earlier.asset_key
        before = drifted_weights(
            book_weights(this.earlier.group[series], n_groups), this.earlier_paths.returns(keys, absent=0.0)
        )
    return book_turnover(weights, this.formation.asset_key, before, keys)


def _daily(path: Floats) -> Floats:
    """Daily returns of a value path that starts at 1, shape (days,)."""
    return path / np.concatenate((np.ones(1), path[:-1])) - 1.0


def _month_rows(
    this: _Month, options: FactorOptions
) -> tuple[list[dict[str, object]], list[dict[str, object]], list[dict[str, object]]]:
    formation, n_groups = this.formation, options.n_groups
    rows, stamp = _held_rows(this), pd.Timestamp(this.month)
    equal = np.ones(formation.asset_key.size)
    longshort: list[dict[str, object]] = []
    groups: list[dict[str, object]] = []
    daily: list[dict[str, object]] = []
    for s, name in enumerate(SORTED_SERIES):
        group = formation.group[s]
        even, count = group_paths(group, rows, equal, this.paths.growth, n_groups)
        valued, _ = group_paths(group, rows, this.market_value, this.paths.growth, n_groups)
        for g in range(n_groups):
            turnover = np.nan
            if this.earlier is not None:
                turnover = group_turnover(
                    group, formation.asset_key, this.earlier.group[s], this.earlier.asset_key, g + 1
                )
            groups.append({
                "month": stamp, "factor": name, "quantile": g + 1, "n": int(count[g]), "return_equal": even[g, -1] - 1.0,
                "return_value": valued[g, -1] - 1.0, "turnover": turnover,
            })  # fmt: skip
        longshort.append({
            "month": stamp, "factor": name, "kind": "style" if name in STYLES else "raw",
            "long_short": even[-1, -1] - even[0, -1], "long_short_value_weighted": valued[-1, -1] - valued[0, -1],
            "n_long": int(count[-1]), "n_short": int(count[0]), "n_members": formation.asset_key.size,
            "book_turnover": _turnover_of_book(this, s, book_weights(group, n_groups), n_groups),
        })  # fmt: skip
        held = even if options.weighting == "equal" else valued
        spread = _daily(held[-1]) - _daily(held[0])
        daily.extend(
            {"month": stamp, "day": day, "factor": name, "long_short": value}
            for day, value in zip(this.paths.days, spread, strict=True)
        )
    return longshort, groups, daily


def _frame(rows: list[dict[str, object]], names: list[str], key: Sequence[str]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=names)
    dates = {name: "datetime64[ns]" for name in ("month", "day") if name in names}
    counts = {name: "int32" for name in ("quantile", "n", "n_long", "n_short", "n_members") if name in names}
    texts = {name: "object" for name in ("factor", "kind") if name in names}
    numbers = {name: "float64" for name in names if name not in dates | counts | texts}
    return frame.astype(dates | counts | texts | numbers).sort_values(list(key), kind="stable").reset_index(drop=True)


def long_short_returns(
    exposures: pl.DataFrame,
    bars: pl.DataFrame,
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
        exposures: marts.factor_exposures of t−1 and, but for the first book, t−2, for each t in ``months``.
        bars: intermediate.adjusted_bars of t and, but for the first book, t−1, sorted by asset_key, day.
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
    needed = {month for month, _, _ in plan} | {
        add_months(month, -1) for month, _, earlier in plan if earlier is not None
    }
    paths = month_paths(bars, needed)
    longshort: list[dict[str, object]] = []
    groups: list[dict[str, object]] = []
    daily: list[dict[str, object]] = []
    for month, formation, earlier in plan:
        before = add_months(month, -1)
        value = _market_values(snapshot, before, formation.asset_key)
        earlier_paths = paths[before] if earlier is not None else None
        parts = _month_rows(_Month(month, formation, paths[month], value, earlier, earlier_paths), options)
        for collected, part in zip((longshort, groups, daily), parts, strict=True):
            collected.extend(part)
    return LongShortResult(
        _frame(longshort, LONGSHORT.stored_names, LONGSHORT.key),
        _frame(groups, GROUPS.stored_names, GROUPS.key),
        _frame(daily, LONGSHORT_DAILY.stored_names, LONGSHORT_DAILY.key),
    )


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
