"""From prices and point-in-time figures to raw factors, scores, styles and groups, month by month."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rotation_pipeline.factors import kernels, preprocess
from rotation_pipeline.factors.errors import BadInput, MissingInput, TooFewNames
from rotation_pipeline.factors.inputs import (
    Days,
    as_days,
    floats,
    members_of,
    ordered_months,
    require_columns,
    require_sorted,
    with_snapshot,
)
from rotation_pipeline.factors.options import FactorOptions
from rotation_pipeline.factors.statistics import Floats
from rotation_pipeline.factors.styles import RAW_FACTOR_NAMES, RAW_FACTORS, SERIES, STYLES
from rotation_pipeline.factors.tables import EXPOSURES

Flags = NDArray[np.bool_]
PRICE_FACTORS = ("mom_20", "mom_120", "rsi_14", "volatility_60", "beta_252")
"""Factors of the compiled kernels, in their order; all others are ratios of the month-end snapshot."""
_SORTED: tuple[str, ...] = tuple(sorted(SERIES))
_ORDER = np.array([SERIES.index(name) for name in _SORTED])
_STYLE_OF = np.array([STYLES.index(factor.style) for factor in RAW_FACTORS])
_SIGN = np.array([float(factor.sign) for factor in RAW_FACTORS])


@dataclass(frozen=True)
class _Windows:
    """First and last session number each month looks back on, shape (months,)."""

    opens: NDArray[np.int64]
    closes: NDArray[np.int64]
    calendar: NDArray[np.int64]
    """Last session number of every calendar month the sessions touch."""


def _windows(sessions: Days, months: Sequence[date], lookback: int) -> _Windows:
    session_month = sessions.astype("datetime64[M]")
    wanted = as_days(months).astype("datetime64[M]")
    closes = np.searchsorted(session_month, wanted, side="right") - 1
    bad = (closes < 0) | (session_month[np.maximum(closes, 0)] != wanted)
    if bad.any():
        raise MissingInput(f"sessions has none in {wanted[bad][0]}; hand over the sessions of every month asked for")
    calendar = np.flatnonzero(np.append(session_month[1:] != session_month[:-1], True))
    return _Windows(
        np.maximum(closes - lookback + 1, 0).astype(np.int64), closes.astype(np.int64), calendar.astype(np.int64)
    )


def _session_numbers(days: Days, sessions: Days, table: str) -> NDArray[np.int64]:
    """Number of each day's session, by looking it up in a table of all calendar days."""
    first = sessions[0].astype(np.int64)
    numbers = np.full(sessions[-1].astype(np.int64) - first + 1, -1, np.int64)
    numbers[sessions.astype(np.int64) - first] = np.arange(sessions.size)
    found = numbers[days.astype(np.int64) - first]
    if found.size and found.min() < 0:
        unknown = days[int(np.argmin(found))]
        raise BadInput(f"{table}: {unknown} is no session of the exchange; check the calendar or quarantine the row")
    return found


def _index_returns(index_daily: pl.DataFrame, sessions: Days, windows: _Windows, months: Sequence[date]) -> Floats:
    require_columns(index_daily, "intermediate.index_daily", ("day", "ret"))
    if "index_id" in index_daily.columns and index_daily["index_id"].n_unique() > 1:
        found = sorted(index_daily["index_id"].unique().to_list())
        raise BadInput(f"intermediate.index_daily holds {found}; beta needs one index, filter it first")
    inside = index_daily.filter(pl.col("day").is_between(sessions[0].item(), sessions[-1].item()))
    out = np.full(sessions.size, np.nan)
    out[_session_numbers(as_days(inside["day"].to_numpy()), sessions, "intermediate.index_daily")] = floats(
        inside, "ret"
    )
    for month, first, last in zip(months, windows.opens, windows.closes, strict=True):
        if np.isnan(out[first : last + 1]).all():
            raise MissingInput(f"intermediate.index_daily has no return in the window of {month:%Y-%m}; load the index")
    return out


def _own_days(bars: pl.DataFrame, sessions: Days, windows: _Windows) -> pl.DataFrame:
    """Own trading days inside the windows: rows that traded and have a price."""
    require_columns(bars, "intermediate.adjusted_bars", ("day", "asset_key", "adj_close", "ret", "is_suspended"))
    first, last = sessions[windows.opens.min()].item(), sessions[windows.closes.max()].item()
    inside = pl.col("day").is_between(first, last) & ~pl.col("is_suspended") & pl.col("adj_close").is_not_null()
    own = bars.lazy().filter(inside).select("asset_key", "day", "adj_close", "ret").collect()
    require_sorted(own, "intermediate.adjusted_bars", ("asset_key", "day"))
    price = own["adj_close"].to_numpy()
    bad = ~(np.isfinite(price) & (price > 0.0))
    if bad.any():
        row = own.row(int(np.argmax(bad)), named=True)
        raise BadInput(
            f"intermediate.adjusted_bars: asset_key {row['asset_key']} on {row['day']} has adj_close {row['adj_close']}; "
            "an adjusted price is positive, quarantine the row"
        )
    return own


def _price_factors(
    bars: pl.DataFrame,
    index_daily: pl.DataFrame,
    members: pl.DataFrame,
    sessions: Days,
    months: Sequence[date],
    options: FactorOptions,
) -> Floats:
    """Price factors of each universe row, shape (5, rows); ``members`` has month and asset_key."""
    windows = _windows(sessions, months, options.lookback_sessions)
    index_return = _index_returns(index_daily, sessions, windows, months)
    own = _own_days(bars, sessions, windows)
    keys = own["asset_key"].to_numpy()
    session = _session_numbers(as_days(own["day"].to_numpy()), sessions, "intermediate.adjusted_bars")
    assets, start = np.unique(keys, return_index=True)
    start = start.astype(np.int64)
    stop = np.append(start[1:], keys.size).astype(np.int64)[: start.size]
    traded = np.isin(windows.closes, session)
    if not traded.all():
        month = months[int(np.argmin(traded))]
        raise MissingInput(
            f"intermediate.adjusted_bars: no security trades on the last session of {month:%Y-%m}; load that month's bars"
        )
    member_key = members["asset_key"].to_numpy()
    member_month = np.searchsorted(as_days(months), as_days(members["month"].to_numpy()))
    member_asset = np.minimum(np.searchsorted(assets, member_key), assets.size - 1)
    known = assets[member_asset] == member_key
    wanted = np.zeros((assets.size, len(months)), np.bool_)
    wanted[member_asset[known], member_month[known]] = True
    values = kernels.month_end_factors(
        session, start, stop, floats(own, "adj_close"), floats(own, "ret"),
        kernels.spans_of_index(session, start, stop, index_return), windows.opens, windows.closes, windows.calendar, wanted,
        options.min_window_share, options.beta_window, options.beta_min_days, float(options.trading_days_per_year) ** 0.5,
    )  # fmt: skip
    return np.where(known, values[:, member_asset, member_month], np.nan)


def _snapshot_factors(rows: pl.DataFrame) -> dict[str, Floats]:
    """Valuation, quality and size of each universe row; ``rows`` is the universe joined with the snapshot."""

    def inverse(name: str) -> Floats:
        values = floats(rows, name)
        return np.divide(1.0, values, out=np.full(values.size, np.nan), where=values != 0.0)

    base, profit = floats(rows, "net_profit_ttm_year_ago"), floats(rows, "net_profit_ttm")
    growth = np.divide(profit - base, np.abs(base), out=np.full(base.size, np.nan), where=base != 0.0)
    size = floats(rows, "total_market_value")
    return {
        "book_to_price": inverse("pb"),
        "earnings_yield": inverse("pe_ttm"),
        "dividend_yield": floats(rows, "dividend_yield"),
        "roe_ttm": floats(rows, "roe_ttm"),
        "profit_growth": growth,
        "log_market_value": np.log(size, out=np.full(size.size, np.nan), where=size > 0.0),
    }


def compute_raw_factors(
    bars: pl.DataFrame,
    index_daily: pl.DataFrame,
    snapshot: pl.DataFrame,
    universe: pl.DataFrame,
    sessions: Sequence[date] | NDArray[np.datetime64],
    months: Sequence[date],
    options: FactorOptions,
) -> pl.DataFrame:
    """Raw factors of every universe member at the last close of each month, before any preprocessing.

    Windows count a security's own trading days inside the last ``options.lookback_sessions`` sessions and look at
    nothing older or later, so a month equals itself in any larger request, bit for bit. A member suspended at the
    month end has the value of its last own trading day in that window; one without any has null.

    Args:
        bars: intermediate.adjusted_bars sorted by asset_key, day: day, asset_key, adj_close, ret, is_suspended.
        index_daily: intermediate.index_daily of one index: day, ret (fraction).
        snapshot: intermediate.stock_snapshot of the months: pb, pe_ttm, dividend_yield, roe_ttm, net_profit_ttm,
            net_profit_ttm_year_ago, total_market_value.
        universe: intermediate.universe of the months.
        sessions: sessions of the exchange, rising, from the start of the first window to the end of the last month.
        months: first days of the months wanted.

    Returns:
        month, asset_key and the eleven factors of :data:`RAW_FACTOR_NAMES` in their own units, sorted by month,
        asset_key; null is too little data, an undefined ratio (division by 0) or an unknown figure.

    Raises:
        MissingInput: a month without sessions, universe, snapshot, bars or index returns.
        BadInput: unsorted or doubled rows, prices ≤ 0, days that are no session, several indices.
    """
    wanted = ordered_months(months)
    if not wanted:
        return pl.DataFrame(
            schema={"month": pl.Date, "asset_key": pl.Int32, **dict.fromkeys(RAW_FACTOR_NAMES, pl.Float64)}
        )
    days = as_days(sessions)
    if days.size == 0 or not (days[1:] > days[:-1]).all():
        raise BadInput("sessions must be rising and distinct days")
    members = members_of(universe, wanted)
    columns = (
        "pb",
        "pe_ttm",
        "dividend_yield",
        "roe_ttm",
        "net_profit_ttm",
        "net_profit_ttm_year_ago",
        "total_market_value",
    )
    values = _snapshot_factors(with_snapshot(members.select("month", "asset_key"), snapshot, columns))
    price = _price_factors(bars, index_daily, members, days, wanted, options)
    values.update(zip(PRICE_FACTORS, price, strict=True))
    return members.select("month", pl.col("asset_key").cast(pl.Int32)).with_columns(
        pl.Series(name, values[name], dtype=pl.Float64).fill_nan(None) for name in RAW_FACTOR_NAMES
    )


def quantile_groups(score: Floats, tradable: Flags, asset_key: NDArray[np.int32], n_groups: int) -> NDArray[np.int32]:
    """Group 1 … ``n_groups`` of each tradable name with a score, 0 for the others, shape (n,).

    Names are put in order of score, then of asset_key among equals (the order average ranks with that tie-break
    give), and name i of n goes to group ⌊i × n_groups / n⌋ + 1, so sizes differ by at most one.
    """
    chosen = np.flatnonzero(tradable & ~np.isnan(score))
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


def _score_factor(x: Floats, name: str, section: _CrossSection, options: FactorOptions) -> Floats:
    """Winsorise, neutralise, standardise one factor; NaN throughout below ``min_factor_names`` values."""
    estimation = section.estimation
    if np.count_nonzero(estimation & ~np.isnan(x)) < options.min_factor_names:
        return np.full(x.size, np.nan)
    clipped = _winsorised(x, estimation, options)
    by_industry = options.neutralise in ("industry", "both")
    by_size = options.neutralise in ("size", "both") and name != "log_market_value"
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
        scores[f] = _SIGN[f] * _score_factor(section.raw[f], factor.name, section, options)
    means, styles = _style_scores(scores, section.estimation, options)
    raw = np.vstack([np.full(styles.shape, np.nan), section.raw])
    return raw, np.vstack([styles, scores]), ~np.isnan(np.vstack([means, section.raw]))


def _sections(
    raw: pl.DataFrame, universe: pl.DataFrame, snapshot: pl.DataFrame, options: FactorOptions
) -> list[tuple[date, _CrossSection]]:
    months = raw["month"].unique().sort().to_list()
    rows = with_snapshot(members_of(universe, months), snapshot, ("total_market_value",))
    require_columns(raw, "raw factors", ("month", "asset_key", *RAW_FACTOR_NAMES))
    require_sorted(raw, "raw factors", ("month", "asset_key"))
    if not raw.select("month", "asset_key").equals(
        rows.select("month", "asset_key").cast({"asset_key": raw["asset_key"].dtype})
    ):
        raise BadInput("raw factors and intermediate.universe hold different members; compute both from one universe")
    values = np.vstack([floats(raw, name) for name in RAW_FACTOR_NAMES])
    market_value = floats(rows, "total_market_value")
    size = np.log(market_value, out=np.full(market_value.size, np.nan), where=market_value > 0.0)
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
        raw: result of :func:`compute_raw_factors`; its months are the months computed.
        universe: intermediate.universe with in_estimation, in_tradable, industry.
        snapshot: intermediate.stock_snapshot with total_market_value (CNY), for neutralisation.

    Returns:
        The columns of ``tables.EXPOSURES``, one row per month, member and series, sorted by month, asset_key, factor.
        ``score`` is null without a value, below ``min_factor_names`` values, or in a cross-section without spread;
        ``in_coverage`` of a style row says that the mean of its factors exists.

    Raises:
        TooFewNames: a month with fewer than ``min_names`` estimation members.
        MissingInput, BadInput: as in :func:`compute_raw_factors`.
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
