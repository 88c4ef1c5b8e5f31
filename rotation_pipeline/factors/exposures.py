"""From raw factors to scores, styles and groups, month by month."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rotation_pipeline.factors import preprocess
from rotation_pipeline.factors.definitions import RawFactor, logarithm
from rotation_pipeline.factors.errors import BadInput, TooFewNames
from rotation_pipeline.factors.inputs import (
    as_days,
    floats,
    members_of,
    require_columns,
    require_sorted,
    snapshot_of,
)
from rotation_pipeline.factors.options import FactorOptions
from rotation_pipeline.factors.statistics import Floats
from rotation_pipeline.factors.styles import RAW_FACTOR_NAMES, RAW_FACTORS, SERIES, STYLES
from rotation_pipeline.factors.tables import EXPOSURES

Flags = NDArray[np.bool_]
_SORTED: tuple[str, ...] = tuple(sorted(SERIES))
_ORDER = np.array([SERIES.index(name) for name in _SORTED])
_STYLE_OF = np.array([STYLES.index(factor.style) for factor in RAW_FACTORS])
_SIGN = np.array([float(factor.sign) for factor in RAW_FACTORS])


def quantile_groups(score: Floats, tradable: Flags, asset_key: NDArray[np.int32], n_groups: int) -> NDArray[np.int32]:
    """Group 1 … ``n_groups`` of each tradable name with a score, 0 for the others, shape (n,).

    Names are put in order of score, then of asset_key among equals (the order average ranks with that tie-break
    give), and name i of n goes to group ⌊i × n_groups / n⌋ + 1, so sizes differ by at most one.
    """
    chosen = np.flatnonzero(tradable & ~np.isnan(score))
    order = chosen[np.argsort(score[chosen])]
    ordered = score[order]
    if (ordered[1:] == ordered[:-1]).any():
        order = chosen[np.lexsort((asset_key[chosen], score[chosen]))]
    group = np.zeros(score.size, np.int32)
    group[order] = np.arange(order.size) * n_groups // max(order.size, 1) + 1
    return group


@dataclass(frozen=True)
class _CrossSection:
    """One month's members: key, masks, raw values (11, n), industry number (−1 unknown), ln market value."""

    asset_key: NDArray[np.int32]
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
    if np.count_nonzero(estimation & ~np.isnan(x)) < options.min_factor_names:
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
    spread = clipped[estimation & ~np.isnan(clipped)]
    return preprocess.standardise(left, estimation, 1e-10 * float(spread.max() - spread.min()))


def _style_scores(scores: Floats, estimation: Flags, options: FactorOptions) -> tuple[Floats, Floats]:
    """Mean of the present factor scores of each style and its z-score, each of shape (5, n)."""
    n = scores.shape[1]
    means, styles = np.full((len(STYLES), n), np.nan), np.full((len(STYLES), n), np.nan)
    for s in range(len(STYLES)):
        own = scores[np.equal(_STYLE_OF, s)]
        count = np.zeros(n)
        total = np.zeros(n)
        for row in own:
            known = ~np.isnan(row)
            count += known
            total += np.where(known, row, 0.0)
        enough = count >= max(options.style_min_share * own.shape[0] - 1e-9, 1.0)
        means[s, enough] = total[enough] / count[enough]
        if np.count_nonzero(estimation & enough) >= options.min_factor_names:
            styles[s] = preprocess.standardise(means[s], estimation, 0.0)
    return means, styles


def _month_scores(section: _CrossSection, options: FactorOptions) -> tuple[Floats, Floats, Flags]:
    """Raw value, score and coverage in the order of :data:`SERIES`, each of shape (16, n)."""
    scores = np.empty_like(section.raw)
    for f, factor in enumerate(RAW_FACTORS):
        scores[f] = _SIGN[f] * _score_factor(section.raw[f], factor, section, options)
    means, styles = _style_scores(scores, section.estimation, options)
    raw = np.vstack([np.full(styles.shape, np.nan), section.raw])
    return raw, np.vstack([styles, scores]), ~np.isnan(np.vstack([means, section.raw]))


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
    values = np.vstack([floats(raw, name) for name in RAW_FACTOR_NAMES])
    size = logarithm(snapshot_of(rows, snapshot, ("total_market_value",))["total_market_value"])
    names = sorted(rows["industry"].drop_nulls().unique().to_list())
    # numbered over all months asked for: only the grouping matters, and sums run inside a group in row order
    industry = (
        rows["industry"]
        .cast(pl.String)
        .replace_strict({name: i for i, name in enumerate(names)}, default=-1, return_dtype=pl.Int64)
    )
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
            columns["in_tradable"][part].astype(np.bool_), np.ascontiguousarray(values[:, part]),
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
    sections = _sections(raw, universe, snapshot, options) if raw.height else []
    parts: dict[str, list[NDArray[np.generic]]] = {
        name: [] for name in ("raw_value", "score", "quantile", "in_coverage")
    }
    members: dict[str, list[NDArray[np.generic]]] = {
        name: [] for name in ("month", "asset_key", "in_estimation", "in_tradable")
    }
    for month, section in sections:
        values, scores, covered = _month_scores(section, options)
        groups = np.vstack(
            [quantile_groups(row, section.tradable, section.asset_key, options.n_groups) for row in scores]
        )
        for name, block in zip(parts, (values, scores, groups, covered), strict=True):
            parts[name].append(np.ascontiguousarray(block[_ORDER].T).ravel())
        n = section.asset_key.size
        per_member = (np.full(n, np.datetime64(month, "D")), section.asset_key, section.estimation, section.tradable)
        for name, column in zip(members, per_member, strict=True):
            members[name].append(np.repeat(column, len(_SORTED)))
    schema = {
        "month": pl.Date, "asset_key": pl.Int32, "factor": pl.String, "kind": pl.String, "raw_value": pl.Float64,
        "score": pl.Float64, "quantile": pl.Int32, "in_coverage": pl.Boolean, "in_estimation": pl.Boolean, "in_tradable": pl.Boolean,
    }  # fmt: skip
    if not sections:
        return pl.DataFrame(schema=schema)
    columns = {name: np.concatenate(pieces) for name, pieces in (members | parts).items()}
    count = columns["score"].size // len(_SORTED)
    label = pl.Series("factor", np.tile(np.arange(len(_SORTED)), count))
    kinds = ["style" if name in STYLES else "raw" for name in _SORTED]
    frame = pl.DataFrame(columns).with_columns(
        label.replace_strict(range(len(_SORTED)), _SORTED, return_dtype=pl.String).alias("factor"),
        label.replace_strict(range(len(_SORTED)), kinds, return_dtype=pl.String).alias("kind"),
        pl.col("raw_value", "score").fill_nan(None),
        pl.when(pl.col("quantile") > 0).then(pl.col("quantile")).alias("quantile"),
    )
    return frame.select(pl.col(name).cast(kind) for name, kind in schema.items()).select(EXPOSURES.stored_names)
