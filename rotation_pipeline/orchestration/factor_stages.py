"""How the factor stages are wired: read inputs, call one domain function, return rows by table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from typing import Any, cast

import polars as pl

from rotation_pipeline.factors import tables as factors
from rotation_pipeline.market.calendar import add_months, month_last_day, sessions
from rotation_pipeline.market.reused_codes import by_code, by_company, later_companies
from rotation_pipeline.orchestration.stages import Frame, Work, first_month
from rotation_pipeline.settings import Settings

Outputs = Mapping[str, Frame]


def exposure_months(settings: Settings) -> int:
    """Months before the first one that hold the sessions the factors look back on."""
    fewest = 18  # no month has fewer sessions but those of long holidays
    return -(-settings.factors.lookback_sessions // fewest)


def factor_exposures(work: Work) -> Outputs:
    """Exposures of every member."""
    from rotation_pipeline.factors.exposures import compute_exposures
    from rotation_pipeline.factors.raw import bar_columns, compute_raw_factors, figure_columns

    options = work.settings.factors
    back = exposure_months(work.settings)
    first = add_months(work.first, -back)
    figures = dict.fromkeys(("month", "asset_key", *figure_columns(), "total_market_value"))
    snapshot = work.table("intermediate.stock_snapshot", back=0, order=(), columns=tuple(figures))
    universe = work.table("intermediate.universe", back=0, order=())
    later = _later_companies(work, back)  # no window reaches into the prices of another company of the same code
    bars = work.warehouse.batches(
        "intermediate.adjusted_bars", columns=bar_columns(), order=("day", "asset_key"), first=first, last=work.last
    )
    index = work.table("intermediate.index_daily", back=back)
    with closing(bars):  # also where an error holds on to what was being read
        raw = compute_raw_factors(
            bars if later.is_empty() else _of_companies(bars, later),
            index,
            by_company(snapshot, later),
            by_company(universe, later),
            sessions(first, month_last_day(work.last)),
            work.months,
            options,
        )
    raw = raw if later.is_empty() else by_code(raw)
    return {factors.EXPOSURES.full_name: compute_exposures(raw, universe, snapshot, options)}


def _later_companies(work: Work, back: int) -> pl.DataFrame:
    """Companies that were given another one's code in the months computed or ``back`` months before them."""
    listings = work.table("raw.listings", back=back, order=(), columns=("month", "asset_key", "listed_on"))
    return later_companies(listings)


def _of_companies(batches: Iterable[Any], later: pl.DataFrame) -> Iterator[Any]:
    """Arrow record batches with a key for each company."""
    for batch in batches:
        yield from by_company(cast("pl.DataFrame", pl.from_arrow(batch)), later).to_arrow().to_batches()


def factor_returns(work: Work) -> Outputs:
    """Quintile long-short returns, monthly and daily."""
    from rotation_pipeline.factors.formation import JUDGED_COLUMNS
    from rotation_pipeline.factors.paths import HELD_COLUMNS
    from rotation_pipeline.factors.returns import long_short_returns

    later = _later_companies(work, 2)  # what was bought of one company is held to its delisting and no further
    bars = work.table("intermediate.adjusted_bars", back=1, order=("asset_key", "day"), columns=HELD_COLUMNS)
    values = work.table("intermediate.stock_snapshot", back=1, columns=("month", "asset_key", "total_market_value"))
    found = long_short_returns(
        by_company(work.table("marts.factor_exposures", back=2, columns=JUDGED_COLUMNS), later),
        by_company(bars, later),
        by_company(values, later),
        work.months,
        work.settings.factors,
        first_month=first_month(work.settings, "exposures"),
    )
    return {
        factors.LONGSHORT.full_name: found.longshort,
        factors.GROUPS.full_name: found.groups,
        factors.LONGSHORT_DAILY.full_name: found.daily,
    }


def factor_evidence(work: Work) -> Outputs:
    """IC and how it decays, coverage, autocorrelation."""
    from rotation_pipeline.factors.evidence import evidence_tables
    from rotation_pipeline.factors.formation import JUDGED_COLUMNS
    from rotation_pipeline.factors.paths import HELD_COLUMNS

    options, begin = work.settings.factors, first_month(work.settings, "exposures")
    later = _later_companies(work, options.ic_horizons)  # a score says nothing of another company of the same code
    bars = work.table("intermediate.adjusted_bars", back=0, order=("asset_key", "day"), columns=HELD_COLUMNS)
    found = evidence_tables(
        by_company(work.table("marts.factor_exposures", back=options.ic_horizons, columns=JUDGED_COLUMNS), later),
        by_company(bars, later),
        work.months,
        options,
        begin,
    )
    return {factors.EVIDENCE.full_name: found.evidence, factors.DECAY.full_name: found.decay}


def factor_summary(work: Work) -> Outputs:
    """Tear sheet over all months so far."""
    from rotation_pipeline.factors.evidence import summary

    found = summary(
        work.pandas("marts.factor_longshort"),
        work.pandas("marts.factor_evidence"),
        work.pandas("marts.factor_groups"),
        work.months,
        work.settings.factors,
    )
    return {factors.SUMMARY.full_name: found}
