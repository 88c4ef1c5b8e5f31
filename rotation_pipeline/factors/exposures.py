"""From raw factors to scores, styles and groups, month by month."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import polars as pl
from numba import njit
from numpy.typing import NDArray

from rotation_pipeline.factors import preprocess
from rotation_pipeline.factors.definitions import RawFactor, logarithm
from rotation_pipeline.factors.errors import BadInput, TooFewNames
from rotation_pipeline.factors.formation import SORTED_SERIES, Formation, cut, form
from rotation_pipeline.factors.inputs import (
    as_days,
    floats,
    members_of,
    require_columns,
    require_sorted,
    snapshot_of,
)
from rotation_pipeline.factors.options import FactorOptions
from rotation_pipeline.factors.ranks import Ints, rising_orders
from rotation_pipeline.factors.statistics import Flags, Floats
from rotation_pipeline.factors.styles import RAW_FACTOR_NAMES, RAW_FACTORS, STYLES
from rotation_pipeline.factors.tables import EXPOSURES

_STYLE_PLACE = np.array([SORTED_SERIES.index(name) for name in STYLES])
_FACTOR_PLACE = np.array([SORTED_SERIES.index(name) for name in RAW_FACTOR_NAMES])
_EVERY_PLACE = np.arange(len(SORTED_SERIES))
_STYLE_OF = np.array([STYLES.index(factor.style) for factor in RAW_FACTORS])


def quantile_groups(score: Floats, tradable: Flags, asset_key: NDArray[np.int32], n_groups: int) -> NDArray[np.int32]:
    """Group 1 … ``n_groups`` of each tradable name with a score, 0 for the others, shape (n,).

    Names are put in order of score, then of asset_key among equals (the order average ranks with that tie-break
    give), and name i of n goes to group ⌊i × n_groups / n⌋ + 1, so sizes differ by at most one.
    """
    by_key = np.argsort(asset_key, kind="stable")
    order = rising_orders(score[by_key].reshape(1, -1))
    group = np.zeros(score.size, np.int32)
    group[by_key] = cut(order.position, order.count, tradable[by_key], n_groups)[0]
    return group


@dataclass(frozen=True)
class _CrossSection:
    """One month's members: key, masks, raw values (11, n), industry number (−1 unknown), ln market value."""

    asset_key: NDArray[np.int32]  # rising
    estimation: Flags
    tradable: Flags
    raw: Floats
    industry: NDArray[np.int64]
    size: Floats


def _winsorised(x: Floats, estimation: Flags, options: FactorOptions) -> Floats:
    if options.winsorisation == "mad":
        return preprocess.mad_clip(x, estimation, options.mad_limit)
    if options.winsorisation == "quantile":
        return preprocess.quantile_clip(x, estimation, options.quantile_low, options.quantile_high)
    return x


def _score_factor(x: Floats, factor: RawFactor, section: _CrossSection, options: FactorOptions) -> Floats:
    """Winsorise, neutralise, standardise one factor; NaN throughout below ``min_factor_names`` values."""
    estimation = section.estimation
    count, _, _ = preprocess.extent(x, estimation)
    if count < options.min_factor_names:
        return np.full(x.size, np.nan)
    clipped = _winsorised(x, estimation, options)
    by_industry = options.neutralise in ("industry", "both")
    by_size = options.neutralise in ("size", "both") and factor.style != "SIZE"
    if not (by_industry or by_size):
        return preprocess.standardise(clipped, estimation, 0.0)
    group = section.industry if by_industry else np.zeros(x.size, np.int64)
    weight = np.exp(0.5 * section.size) if options.neutralise_weights == "sqrt_mv" else np.ones(x.size)
    left = preprocess.residual(clipped, estimation, group, section.size, by_size, weight)
    # what a regression leaves of a factor it explains fully is rounding of the factor's own size
    _, low, high = preprocess.extent(clipped, estimation)
    return preprocess.standardise(left, estimation, 1e-10 * (high - low))


@njit(cache=True)
def _style_means(scores: Floats, place: Ints, style: Ints, fewest: Floats) -> Floats:
    """Mean of each name's present scores by style, NaN below ``fewest`` of them, shape (styles, n); ``place``: row of each
    factor, ``style``: its style."""
    n, styles = scores.shape[1], fewest.size
    total, count = np.zeros((styles, n)), np.zeros((styles, n))
    for f in range(place.size):
        s, row = style[f], scores[place[f]]
        for i in range(n):
            known = not np.isnan(row[i])
            count[s, i] += known
            total[s, i] += row[i] if known else 0.0
    for s in range(styles):
        for i in range(n):
            total[s, i] = total[s, i] / count[s, i] if count[s, i] >= fewest[s] else np.nan
    return total


@dataclass(frozen=True)
class Scored:
    """One month's scores: the formation, what its factors were made from, and whom statistics were estimated on.

    Attributes:
        raw_value: by :data:`~rotation_pipeline.factors.styles.RAW_FACTORS`, NaN for null, shape (11, n).
        estimation: shape (n,).
    """

    formation: Formation
    raw_value: Floats
    estimation: Flags


def _scored(section: _CrossSection, options: FactorOptions) -> Scored:
    shape = (len(SORTED_SERIES), section.asset_key.size)
    score, covered = np.empty(shape), np.empty(shape, np.bool_)
    for f, (factor, place) in enumerate(zip(RAW_FACTORS, _FACTOR_PLACE, strict=True)):
        np.multiply(float(factor.sign), _score_factor(section.raw[f], factor, section, options), out=score[place])
    own = np.bincount(_STYLE_OF, minlength=len(STYLES))
    fewest = np.maximum(options.style_min_share * own - 1e-9, 1.0)
    means = _style_means(score, _FACTOR_PLACE, _STYLE_OF, fewest)
    for s, place in enumerate(_STYLE_PLACE):
        enough = np.count_nonzero(section.estimation & ~np.isnan(means[s])) >= options.min_factor_names
        score[place] = preprocess.standardise(means[s], section.estimation, 0.0) if enough else np.nan
    covered[_STYLE_PLACE], covered[_FACTOR_PLACE] = ~np.isnan(means), ~np.isnan(section.raw)
    formation = form(section.asset_key, score, covered, section.tradable, options.n_groups)
    return Scored(formation, section.raw, section.estimation)


def _sections(
    raw: pl.DataFrame, universe: pl.DataFrame, snapshot: pl.DataFrame, options: FactorOptions
) -> list[tuple[date, _CrossSection]]:
    months = raw["month"].unique().sort().to_list()
    rows = members_of(universe, months)
    require_columns(raw, "raw factors", ("month", "asset_key", *RAW_FACTOR_NAMES))
    require_sorted(raw, "raw factors", ("month", "asset_key"))
    if not raw.select("month", "asset_key").equals(
        rows.select("month", "asset_key").cast({"asset_key": raw["asset_key"].dtype})
    ):
        raise BadInput("raw factors and intermediate.universe hold different members; compute both from one universe")
    values = np.empty((len(RAW_FACTOR_NAMES), raw.height))
    for row, name in zip(values, RAW_FACTOR_NAMES, strict=True):
        floats(raw, name, row)
    size = logarithm(snapshot_of(rows, snapshot, ("total_market_value",))["total_market_value"])
    names = sorted(rows["industry"].drop_nulls().unique().to_list())
    # numbered over all months asked for: only the grouping matters, and sums run inside a group in row order
    industry = rows["industry"].cast(pl.String).cast(pl.Enum(names)).to_physical().cast(pl.Int64)
    columns = {name: rows[name].to_numpy() for name in ("asset_key", "in_estimation", "in_tradable")}
    codes, month_of = industry.fill_null(-1).to_numpy(), as_days(rows["month"].to_numpy())
    out: list[tuple[date, _CrossSection]] = []
    for month in months:
        low, high = (
            np.searchsorted(month_of, np.datetime64(month), "left"),
            np.searchsorted(month_of, np.datetime64(month), "right"),
        )
        part = slice(int(low), int(high))
        section = _CrossSection(
            columns["asset_key"][part].astype(np.int32), columns["in_estimation"][part].astype(np.bool_),
            columns["in_tradable"][part].astype(np.bool_), values[:, part],
            np.ascontiguousarray(codes[part], dtype=np.int64), np.ascontiguousarray(size[part]),
        )  # fmt: skip
        count = int(np.count_nonzero(section.estimation))
        if count < options.min_names:
            raise TooFewNames(
                f"{month:%Y-%m}: intermediate.universe has {count} estimation members, fewer than factors.min_names = "
                f"{options.min_names}; start later, widen the universe or lower factors.min_names"
            )
        out.append((month, section))
    return out


def scores_by_month(
    raw: pl.DataFrame, universe: pl.DataFrame, snapshot: pl.DataFrame, options: FactorOptions
) -> dict[date, Scored]:
    """Scores, styles and groups of every member, column by column: what :func:`compute_exposures` lays out as rows.

    Arguments and errors are those of :func:`compute_exposures`. Months rise.
    """
    if not raw.height:
        return {}
    return {month: _scored(section, options) for month, section in _sections(raw, universe, snapshot, options)}


@njit(cache=True)
def _down(columns: NDArray[Any], place: Ints, out: NDArray[Any]) -> None:
    """Columns (series, n) laid out as rows (n, width), each series at its place, a few lines of memory at a time."""
    series, n = columns.shape
    for low in range(0, n, 64):
        for s in range(series):
            for i in range(low, min(low + 64, n)):
                out[i, place[s]] = columns[s, i]


def exposure_rows(scored: Mapping[date, Scored]) -> pl.DataFrame:
    """Scores of rising months as rows of marts.factor_exposures (see :func:`compute_exposures`)."""
    width, months = len(SORTED_SERIES), list(scored)
    size = np.array([scored[month].estimation.size for month in months], np.int64)
    total, low = int(size.sum()), 0
    raw_value, score = np.full((total, width), np.nan), np.empty((total, width))
    group, covered = np.empty((total, width), np.int8), np.empty((total, width), np.bool_)
    for found in scored.values():
        high, one = low + found.estimation.size, found.formation
        _down(found.raw_value, _FACTOR_PLACE, raw_value[low:high])
        for columns, rows in ((one.score, score), (one.group, group), (one.covered, covered)):
            _down(columns, _EVERY_PLACE, rows[low:high])
        low = high

    def member(name: str, values: Sequence[NDArray[Any]], kind: pl.DataType) -> pl.Series:
        column = np.concatenate(values) if values else np.empty(0, np.int32)
        return pl.Series(name, np.repeat(column, width)).cast(kind)

    def number(name: str, values: Floats) -> pl.Series:
        return pl.Series(name, values.ravel(), nan_to_null=True)

    days = np.repeat(as_days(months).astype(np.int32), size)
    place = pl.Series(np.tile(np.arange(width, dtype=np.uint32), total))
    kinds = ["style" if name in STYLES else "raw" for name in SORTED_SERIES]
    held = list(scored.values())
    quantile = pl.Series("quantile", group.ravel()).cast(pl.Int32)
    return pl.DataFrame([
        member("month", [days], pl.Date()), member("asset_key", [one.formation.asset_key for one in held], pl.Int32()),
        pl.Series("factor", SORTED_SERIES, pl.String).gather(place), pl.Series("kind", kinds, pl.String).gather(place),
        number("raw_value", raw_value), number("score", score), quantile.set(quantile == 0, None),
        pl.Series("in_coverage", covered.ravel()),
        member("in_estimation", [one.estimation for one in held], pl.Boolean()),
        member("in_tradable", [one.formation.tradable for one in held], pl.Boolean()),
    ]).select(EXPOSURES.stored_names)  # fmt: skip


def compute_exposures(
    raw: pl.DataFrame, universe: pl.DataFrame, snapshot: pl.DataFrame, options: FactorOptions
) -> pl.DataFrame:
    """Scores, styles and groups of every member (table marts.factor_exposures).

    Per month and factor: winsorise, (neutralise: weighted least squares with intercept), z-score (ddof = 1) on the
    estimation members, times the factor's sign. A style is the mean of a member's present factor scores, if at least
    ``style_min_share`` of the style's factors are there, z-scored again. Groups are formed among tradable members.

    Args:
        raw: result of :func:`~rotation_pipeline.factors.raw.compute_raw_factors`; its months are the months computed.
        universe: intermediate.universe with in_estimation, in_tradable, industry.
        snapshot: intermediate.stock_snapshot with total_market_value (CNY), for neutralisation.

    Returns:
        The columns of ``tables.EXPOSURES``, one row per month, member and series, sorted by month, asset_key, factor.
        ``score`` is null without a value, below ``min_factor_names`` values, or in a cross-section without spread;
        ``in_coverage`` of a style row says that the mean of its factors exists.

    Raises:
        TooFewNames: a month with fewer than ``min_names`` estimation members.
        MissingInput, BadInput: as in :func:`~rotation_pipeline.factors.raw.compute_raw_factors`.
    """
    return exposure_rows(scores_by_month(raw, universe, snapshot, options))
