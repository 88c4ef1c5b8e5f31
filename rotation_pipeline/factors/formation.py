"""What was known of the members at a month's close, column by column: what books are formed from and scores judged by."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from itertools import pairwise

import numpy as np
import polars as pl
from numba import njit
from numpy.typing import NDArray

from rotation_pipeline.factors.errors import BadInput, MissingExposures
from rotation_pipeline.factors.inputs import require_columns
from rotation_pipeline.factors.ranks import Ints, Order, Places, places, rising_orders
from rotation_pipeline.factors.statistics import Flags, Floats
from rotation_pipeline.factors.styles import SERIES
from rotation_pipeline.market.calendar import add_months

Groups = NDArray[np.int8]
JUDGED_COLUMNS: tuple[str, ...] = ("month", "asset_key", "factor", "score", "quantile", "in_coverage", "in_tradable")
"""What is read of marts.factor_exposures to form books and judge scores."""
SORTED_SERIES: tuple[str, ...] = tuple(sorted(SERIES))
"""Series in the order of the tables' keys."""


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
    group: Groups
    covered: Flags
    tradable: Flags

    @cached_property
    def order(self) -> Order:
        """Members by rising score (see :func:`~rotation_pipeline.factors.ranks.rising_orders`), found once."""
        return rising_orders(self.score)

    def match(self, keys: NDArray[np.int32]) -> Ints:
        """Place of each of ``keys`` among the members, −1 where it is none, shape (keys,)."""
        return places(self.asset_key, keys)


Formations = Mapping[date, Formation]


@njit(cache=True)
def cut(position: Places, counts: Ints, tradable: Flags, n_groups: int) -> Groups:
    """Groups of tradable names by their orders, 0 for the others: name i of n in order goes to ⌊i × n_groups / n⌋ + 1.

    ``position``, ``counts``: of an :class:`~rotation_pipeline.factors.ranks.Order`; shape (series, n).
    """
    series, n = position.shape
    out, held = np.zeros((series, n), np.int8), np.empty(n, np.int32)
    for s in range(series):
        count = 0
        for i in position[s, : counts[s]]:
            if tradable[i]:
                held[count] = i
                count += 1
        for k in range(count):
            out[s, held[k]] = k * n_groups // count + 1
    return out


def form(asset_key: NDArray[np.int32], score: Floats, covered: Flags, tradable: Flags, n_groups: int) -> Formation:
    """Formation of scores (16, n): groups among the tradable, from the one sorting that its rank correlations use too."""
    formation = Formation(asset_key, score, np.zeros(score.shape, np.int8), covered, tradable)
    formation.group[:] = cut(formation.order.position, formation.order.count, tradable, n_groups)
    return formation


@njit(cache=True)
def _across(score: Floats, group: Groups, covered: Flags, scores: Floats, groups: Groups, covers: Flags) -> None:
    """Rows of members (n, series) laid out as columns (series, n), a few lines of memory at a time; infinite is NaN."""
    n, series = score.shape
    for low in range(0, n, 64):
        for s in range(series):
            for i in range(low, min(low + 64, n)):
                scores[s, i] = score[i, s] if np.isfinite(score[i, s]) else np.nan
                groups[s, i] = group[i, s]
                covers[s, i] = covered[i, s]


def _in_order(rows: pl.DataFrame, width: int) -> bool:
    """Rows lie as the table is written: sorted by month, member and series, each member with each series once."""
    if rows.height % width or not rows.height:
        return not rows.height
    name = rows["factor"]
    if tuple(name.head(width).to_list()) != SORTED_SERIES:
        return False
    month = rows["month"].to_physical().to_numpy().reshape(-1, width)
    key = rows["asset_key"].to_numpy().reshape(-1, width)
    a, b = month[:, 0], key[:, 0]
    return bool(
        ((a[1:] > a[:-1]) | ((a[1:] == a[:-1]) & (b[1:] > b[:-1]))).all()
        and np.equal(month, month[:, :1]).all()
        and np.equal(key, key[:, :1]).all()
        and (name.slice(width) == name.head(rows.height - width)).all()
    )


def _sorted(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows by month, member and series. Raises BadInput for an unknown series or a member without one of each."""
    width = len(SORTED_SERIES)
    found = rows.with_columns(pl.col("factor").cast(pl.Enum(SORTED_SERIES), strict=False).alias("series"))
    if found["series"].null_count():
        stranger = found.filter(pl.col("series").is_null())["factor"][0]
        raise BadInput(f"marts.factor_exposures holds the unknown series {stranger!r}")
    found = found.sort("month", "asset_key", "series")
    if not _in_order(found, width):
        held = found.group_by("month", "asset_key").agg(pl.len(), pl.col("series").n_unique().alias("distinct"))
        wrong = held.filter((pl.col("len") != width) | (pl.col("distinct") != width))["month"].min()
        raise BadInput(
            f"marts.factor_exposures of {wrong:%Y-%m}: every member needs each of the {width} series once; "
            "compute the month again"
        )
    return found


def _formation(rows: pl.DataFrame, width: int) -> Formation:
    """One month's rows, in order."""
    shape = (width, rows.height // width)
    scores, groups, covers = np.empty(shape), np.empty(shape, np.int8), np.empty(shape, np.bool_)
    score = rows["score"].cast(pl.Float64).fill_null(math.nan).to_numpy().reshape(-1, width)
    group = rows["quantile"].cast(pl.Int8).fill_null(0).to_numpy().reshape(-1, width)
    _across(score, group, rows["in_coverage"].to_numpy().reshape(-1, width), scores, groups, covers)
    key = rows["asset_key"].gather_every(width).cast(pl.Int32).to_numpy()
    return Formation(key, scores, groups, covers, rows["in_tradable"].gather_every(width).to_numpy())


def formations(exposures: pl.DataFrame | Formations, months: Sequence[date]) -> dict[date, Formation]:
    """Formation of each of ``months`` that marts.factor_exposures holds; a month it lacks is left out.

    Args:
        exposures: rows of the table in any order, or what was made of them before.

    Raises:
        BadInput: a month in which some member lacks some of the 16 series or has one twice.
    """
    if not isinstance(exposures, pl.DataFrame):
        return {month: exposures[month] for month in months if month in exposures}
    require_columns(exposures, "marts.factor_exposures", JUDGED_COLUMNS)
    width, rows = len(SORTED_SERIES), exposures.select(JUDGED_COLUMNS)
    if not _in_order(rows, width):
        rows = _sorted(rows.filter(pl.col("month").is_in(list(months))))
    stamps = rows["month"].to_physical().to_numpy()
    edges = [0, *(np.flatnonzero(stamps[1:] != stamps[:-1]) + 1).tolist(), stamps.size]
    wanted, out = set(months), dict[date, Formation]()
    for low, high in pairwise(edges):
        if high > low and (month := rows["month"][low]) in wanted:
            out[month] = _formation(rows.slice(low, high - low), width)
    return out


def formation_before(found: Formations, month: date, first_month: date | None) -> Formation | None:
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
