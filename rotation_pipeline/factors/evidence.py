"""Is there anything in a factor? Information coefficients, tear sheets, decay, correlations, sub-periods.

Everything stamped t uses scores and returns up to the close of t. Correlations are over tradable members that have a
score and a return; a constant score has none, and the month is left out of means and t statistics (not counted as 0).

References
----------
Grinold, R. and Kahn, R. (2000), Active Portfolio Management, chapters 6 and 11 (IC).
Newey, W. and West, K. (1987), Econometrica 55.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd
import polars as pl
from numpy.typing import NDArray

from rotation_pipeline.factors import statistics
from rotation_pipeline.factors.errors import BadInput, MissingExposures, MissingInput
from rotation_pipeline.factors.formation import SORTED_SERIES, Formation, Formations, formation_before, formations
from rotation_pipeline.factors.inputs import ordered_months
from rotation_pipeline.factors.options import FactorOptions
from rotation_pipeline.factors.paths import MonthPaths, Paths, month_paths
from rotation_pipeline.factors.ranks import correlations, places, rank_correlations
from rotation_pipeline.factors.returns import Columns, frame_of
from rotation_pipeline.factors.statistics import Floats
from rotation_pipeline.factors.styles import SERIES
from rotation_pipeline.factors.tables import DECAY, EVIDENCE, SUMMARY
from rotation_pipeline.market.calendar import add_months

MONTHS_PER_YEAR = 12.0


def _columns(rows: list[dict[str, object]]) -> list[Columns]:
    return [{name: np.array([row[name] for row in rows]) for name in rows[0]}] if rows else []


@dataclass(frozen=True)
class MonthlyEvidence:
    """Tables marts.factor_evidence and marts.factor_decay, sorted by key."""

    evidence: pd.DataFrame
    decay: pd.DataFrame


def rank_ic_of(formation: Formation, paths: MonthPaths) -> Floats:
    """Spearman correlations of the scores with the returns of tradable members that have a row in the month, (16,)."""
    match, returns = paths.rows(formation.asset_key), paths.total.reshape(1, -1)
    return rank_correlations(formation.score, formation.order, returns, paths.order, match, formation.tradable)


def _evidence_columns(month: date, now: Formation, before: Formation, paths: MonthPaths, rank_ic: Floats) -> Columns:
    """One month's rows of marts.factor_evidence, by factor."""
    covered = np.array([int(np.count_nonzero(row)) for row in before.covered])
    both = places(before.asset_key, now.asset_key)
    everybody = np.ones(now.asset_key.size, np.bool_)
    rows = paths.rows(before.asset_key)
    return {
        "month": np.full(len(SORTED_SERIES), np.datetime64(month, "ns")),
        "factor": np.array(SORTED_SERIES, dtype=object),
        "ic": correlations(before.score, paths.total, rows, before.tradable),
        "rank_ic": rank_ic,
        "coverage": covered / before.asset_key.size,
        "autocorrelation": rank_correlations(now.score, now.order, before.score, before.order, both, everybody),
    }


def _decay_columns(month: date, horizons: Sequence[int], rank_ics: Sequence[Floats]) -> Columns:
    """One month's rows of marts.factor_decay, by factor and horizon."""
    series, count = len(SORTED_SERIES), len(horizons)
    return {
        "month": np.full(series * count, np.datetime64(month, "ns")),
        "factor": np.repeat(np.array(SORTED_SERIES, dtype=object), count),
        "horizon": np.tile(np.array(horizons, np.int64), series),
        "rank_ic": np.stack(rank_ics, axis=1).ravel(),
    }


def evidence_tables(
    exposures: pl.DataFrame | Formations,
    bars: pl.DataFrame | Paths,
    months: Sequence[date],
    options: FactorOptions | None = None,
    first_month: date | None = None,
) -> MonthlyEvidence:
    """Tables marts.factor_evidence and marts.factor_decay, from one reading of exposures and bars.

    The rank IC of marts.factor_evidence is the decay's at one month, and is computed once.

    Args:
        exposures: marts.factor_exposures from ``ic_horizons`` months before the first month to the last one; or what
            :func:`~rotation_pipeline.factors.formation.formations` made of it.
        bars: intermediate.adjusted_bars of the months, sorted by asset_key, day; or what
            :func:`~rotation_pipeline.factors.paths.month_paths` made of it.
        months: months wanted. first_month: first month that has exposures at all; it gets no row.

    Returns:
        ``evidence``: as :func:`monthly_evidence`. ``decay``: rank IC of scores 1, 2, … ``ic_horizons`` months old with the
        return of each month; a month has a row for each horizon that reaches back to ``first_month`` (None: the first
        ``exposures`` holds) at most. The mean over months is the curve of :func:`ic_decay`. NaN is null: constant or fewer
        than three pairs.

    Raises:
        MissingExposures: a month without exposures where some are needed. MissingInput: no bars.
    """
    wanted, horizons = ordered_months(months), (options or FactorOptions()).ic_horizons
    found = formations(exposures, _months_around(wanted, horizons))
    judged = [month for month in wanted if formation_before(found, month, first_month) is not None]
    paths = month_paths(bars, judged)
    plan = _decay_plan(found, wanted, horizons, first_month)
    evidence: list[Columns] = []
    decay: list[Columns] = []
    for month in judged:
        ics = {h: rank_ic_of(_known(found, add_months(month, -h)), paths[month]) for h in {1, *plan[month]}}
        before = _known(found, add_months(month, -1))
        evidence.append(_evidence_columns(month, _known(found, month), before, paths[month], ics[1]))
        if plan[month]:
            decay.append(_decay_columns(month, plan[month], [ics[h] for h in plan[month]]))
    return MonthlyEvidence(frame_of(evidence, EVIDENCE), frame_of(decay, DECAY))


def _months_around(months: Sequence[date], horizons: int) -> list[date]:
    """The months and ``horizons`` before each."""
    return sorted({add_months(month, -h) for month in months for h in range(horizons + 1)})


def _known(found: Formations, month: date) -> Formation:
    if month not in found:
        raise MissingExposures(f"marts.factor_exposures has no row for {month:%Y-%m}; compute that month first")
    return found[month]


def _decay_plan(
    found: Formations, months: Sequence[date], horizons: int, first_month: date | None
) -> dict[date, list[int]]:
    """Horizons of each month that reach back to the first month with exposures at most."""
    begin = min(found, default=None) if first_month is None else first_month
    return {
        month: [h for h in range(1, horizons + 1) if begin is not None and add_months(month, -h) >= begin]
        for month in months
    }


def monthly_evidence(
    exposures: pl.DataFrame | Formations,
    bars: pl.DataFrame | Paths,
    months: Sequence[date],
    first_month: date | None = None,
) -> pd.DataFrame:
    """IC, rank IC, coverage and score autocorrelation of every series (table marts.factor_evidence).

    Args:
        exposures: marts.factor_exposures of t and t−1 for each t in ``months``, or formations.
        bars: intermediate.adjusted_bars of the months, sorted by asset_key, day, or paths.
        months: months wanted. first_month: first month that has exposures at all; it gets no row.

    Returns:
        Columns of ``tables.EVIDENCE``. ``ic`` and ``rank_ic`` correlate the scores of t−1 with the buy-and-hold
        returns over (t−1, t] of tradable members; ``coverage`` is the share of members with a value at t−1;
        ``autocorrelation`` the rank correlation of the scores of t and t−1 over the members of both. NaN is null:
        constant or fewer than three pairs.

    Raises:
        MissingExposures: no exposures at t, or at t−1 of a month that is not the first. MissingInput: no bars.
    """
    return evidence_tables(exposures, bars, months, FactorOptions(ic_horizons=1), first_month).evidence


def _return_column(options: FactorOptions) -> str:
    return "long_short" if options.weighting == "equal" else "long_short_value_weighted"


def _by_factor(frame: pd.DataFrame, column: str) -> dict[str, tuple[NDArray[np.datetime64], Floats]]:
    """Months and values of each factor in time order."""
    ordered = frame.sort_values(["factor", "month"], kind="stable")
    names = ordered["factor"].to_numpy()
    stamps = ordered["month"].to_numpy().astype("datetime64[D]")
    values = ordered[column].to_numpy(dtype=np.float64)
    return {name: (stamps[names == name], values[names == name]) for name in sorted(set(names.tolist()))}


def _performance(returns: Floats, rank_ic: Floats) -> dict[str, float | int]:
    """The measures both tear sheets share; NaN where they can't be computed."""
    book, ic = statistics.describe(returns), statistics.describe(rank_ic)
    return {
        "months": book.n,
        "mean": book.mean,
        "t_newey_west": book.newey_west_t,
        "sharpe": book.ratio * math.sqrt(MONTHS_PER_YEAR),
        "hit_rate": book.share_above_zero,
        "max_drawdown": book.max_drawdown,
        "ic_mean": ic.mean,
        "icir": ic.ratio,
        "ic_positive": ic.share_above_zero,
    }


def monotonicity(group_returns: Floats) -> float:
    """Spearman correlation of group number with mean group return; NaN below three groups that have one.

    Args:
        group_returns: monthly returns, shape (months, groups), NaN for a month without names.
    """
    means = statistics.column_means(group_returns)
    return statistics.spearman(np.arange(1.0, means.size + 1.0), means)


def _group_tables(groups: pd.DataFrame, column: str) -> dict[str, tuple[NDArray[np.datetime64], Floats]]:
    """Months (m,) and group returns (m, groups) of each factor."""
    out: dict[str, tuple[NDArray[np.datetime64], Floats]] = {}
    ordered = groups.sort_values(["factor", "month", "quantile"], kind="stable")
    for name, part in ordered.groupby("factor", sort=True):
        stamps = np.unique(part["month"].to_numpy().astype("datetime64[D]"))
        values = part[column].to_numpy(dtype=np.float64)
        if values.size % stamps.size:
            raise BadInput(
                f"marts.factor_groups: {name} has not the same groups in every month; compute the table again"
            )
        out[str(name)] = stamps, values.reshape(stamps.size, -1)
    return out


def summary(
    longshort: pd.DataFrame,
    evidence: pd.DataFrame,
    groups: pd.DataFrame,
    months: Sequence[date],
    options: FactorOptions | None = None,
) -> pd.DataFrame:
    """Tear sheet of every series as of each month, over all months up to it (table marts.factor_summary).

    Args:
        longshort, evidence, groups: the stage's tables from the first month on; rows after a month are not read for it.
        months: months wanted; one without any return yet (the first) gets no row.
        options: ``weighting`` chooses which returns are summarised; None is equal weights.

    Returns:
        Columns of ``tables.SUMMARY``; NaN is null: too few months or a constant series.

    Raises:
        MissingInput: a month without returns though an earlier month has them.
    """
    chosen = options or FactorOptions()
    returns = _by_factor(longshort, _return_column(chosen))
    ics = _by_factor(evidence, "rank_ic")
    tables = _group_tables(groups, "return_equal" if chosen.weighting == "equal" else "return_value")
    known = set(longshort["month"].to_numpy().astype("datetime64[D]").tolist())
    rows: list[dict[str, object]] = []
    for month in ordered_months(months):
        if month not in known:
            if known and min(known) < month:
                raise MissingInput(f"marts.factor_longshort has no row for {month:%Y-%m}; compute that month first")
            continue
        stamp = np.datetime64(month, "D")
        for name, (stamps, values) in returns.items():
            ic_stamps, ic_values = ics.get(name, (stamps[:0], values[:0]))
            group_stamps, group_values = tables.get(name, (stamps[:0], np.empty((0, chosen.n_groups))))
            measures = _performance(values[stamps <= stamp], ic_values[ic_stamps <= stamp])
            shape = monotonicity(np.ascontiguousarray(group_values[group_stamps <= stamp]))
            rows.append({"month": pd.Timestamp(month), "factor": name, **measures, "monotonicity": shape})
    return frame_of(_columns(rows), SUMMARY)


def ic_decay(
    exposures: pl.DataFrame | Formations,
    bars: pl.DataFrame | Paths,
    months: Sequence[date],
    options: FactorOptions | None = None,
) -> pd.DataFrame:
    """Mean rank IC of scores with the return of the month 1, 2, … ``options.ic_horizons`` months later.

    The return is that of the one month at the horizon, not cumulated, so the curve shows where a signal still pays.

    Args:
        exposures: marts.factor_exposures. bars: intermediate.adjusted_bars, sorted by asset_key, day.
        months: months whose returns are used; scores are those of the months before that ``exposures`` holds.

    Returns:
        factor, horizon (months), months (ICs averaged), ic_mean, t_newey_west, sorted by factor, horizon; NaN where
        there is no IC or fewer than three.
    """
    horizons = (options or FactorOptions()).ic_horizons
    wanted = ordered_months(months)
    before = sorted({add_months(month, -h) for month in wanted for h in range(1, horizons + 1)})
    found, paths = formations(exposures, before), month_paths(bars, wanted)
    rows: list[dict[str, object]] = []
    for horizon in range(1, horizons + 1):
        collected: list[list[float]] = [[] for _ in SORTED_SERIES]
        for month in wanted:
            formation = found.get(add_months(month, -horizon))
            if formation is None:
                continue
            for s, value in enumerate(rank_ic_of(formation, paths[month]).tolist()):
                collected[s].append(value)
        for s, name in enumerate(SORTED_SERIES):
            values = statistics.present(collected[s])
            rows.append({
                "factor": name, "horizon": horizon, "months": int(values.size), "ic_mean": statistics.mean(values),
                "t_newey_west": statistics.newey_west_t(values),
            })  # fmt: skip
    frame = pd.DataFrame(rows)
    return frame.sort_values(["factor", "horizon"], kind="stable").reset_index(drop=True)


def factor_correlations(longshort: pd.DataFrame, options: FactorOptions | None = None) -> pd.DataFrame:
    """Pearson correlations between the series' monthly long-short returns, over the months both have.

    Returns:
        factor_a, factor_b, months, correlation for every ordered pair in the order of :data:`SERIES`; NaN below three
        months or if constant.
    """
    wide = longshort.pivot(
        index="month", columns="factor", values=_return_column(options or FactorOptions())
    ).sort_index()
    present = [name for name in SERIES if name in wide.columns]
    values = {name: wide[name].to_numpy(dtype=np.float64) for name in present}
    rows = [
        {
            "factor_a": a,
            "factor_b": b,
            "months": int(np.count_nonzero(~np.isnan(values[a]) & ~np.isnan(values[b]))),
            "correlation": statistics.pearson(values[a], values[b]),
        }
        for a in present
        for b in present
    ]
    return pd.DataFrame(
        {name: [row[name] for row in rows] for name in ("factor_a", "factor_b", "months", "correlation")}
    )


def score_correlations(exposures: pl.DataFrame, months: Sequence[date]) -> pd.DataFrame:
    """Mean over ``months`` of the cross-sectional rank correlation between the scores of each pair of series.

    Returns:
        factor_a, factor_b, months (with a correlation), correlation; NaN where no month has one.

    Raises:
        MissingExposures: a month without exposures.
    """
    wanted = ordered_months(months)
    found = formations(exposures, wanted)
    absent = [month for month in wanted if month not in found]
    if absent:
        raise MissingExposures(f"marts.factor_exposures has no row for {absent[0]:%Y-%m}; compute that month first")
    rows: list[dict[str, object]] = []
    place = {name: s for s, name in enumerate(SORTED_SERIES)}
    for a in SERIES:
        for b in SERIES:
            values = [statistics.spearman(found[m].score[place[a]], found[m].score[place[b]]) for m in wanted]
            known = statistics.present(values)
            rows.append(
                {"factor_a": a, "factor_b": b, "months": int(known.size), "correlation": statistics.mean(known)}
            )
    return pd.DataFrame(rows)


def sub_periods(
    longshort: pd.DataFrame,
    evidence: pd.DataFrame,
    periods: Mapping[str, tuple[date, date]],
    options: FactorOptions | None = None,
) -> pd.DataFrame:
    """The tear sheet of every series inside each named period.

    Args:
        longshort, evidence: the stage's tables.
        periods: name → (first month, last month), both included.

    Returns:
        period, factor, first_month, last_month and the measures of marts.factor_summary (without monotonicity), in
        the order of ``periods``, then factor. ``months`` counts returns; NaN where they are too few.

    Raises:
        BadInput: a period that ends before it begins.
    """
    returns = _by_factor(longshort, _return_column(options or FactorOptions()))
    ics = _by_factor(evidence, "rank_ic")
    rows: list[dict[str, object]] = []
    for period, (first, last) in periods.items():
        if last < first:
            raise BadInput(f"sub_periods: {period!r} ends in {last:%Y-%m}, before it begins in {first:%Y-%m}")
        low, high = np.datetime64(first, "D"), np.datetime64(last, "D")
        for name, (stamps, values) in returns.items():
            ic_stamps, ic_values = ics.get(name, (stamps[:0], values[:0]))
            measures = _performance(
                values[(stamps >= low) & (stamps <= high)], ic_values[(ic_stamps >= low) & (ic_stamps <= high)]
            )
            rows.append({
                "period": period, "factor": name, "first_month": pd.Timestamp(first), "last_month": pd.Timestamp(last),
                **measures,
            })  # fmt: skip
    return pd.DataFrame(rows)
