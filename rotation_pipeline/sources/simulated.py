"""The embedded default source: the simulated market behind the interface every vendor has."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import date

import polars as pl

from rotation_pipeline.market.calendar import CalendarError, add_months, calendar_end, month_last_day, month_start
from rotation_pipeline.market.simulation import SimulatedMarket, SimulationOptions, Simulator, market_of
from rotation_pipeline.market.tables import DATED_BY, INTERVAL_ENDS, INTERVAL_TABLES, SOURCE_TABLES, TRUTH_TABLES
from rotation_pipeline.sources.base import SourceError, SourceKind

MODEL = "1"
"""Raised whenever the simulated market changes for equal options."""
_SERVED = frozenset(table.name for table in SOURCE_TABLES)


class SimulatedSource:
    """A simulated market grown as far as it is asked for; equal options give equal tables."""

    def __init__(self, options: SimulationOptions) -> None:
        self._options = options
        self._simulator: Simulator | None = None
        self._market: SimulatedMarket | None = None

    @property
    def name(self) -> str:
        """``simulated``."""
        return "simulated"

    @property
    def kind(self) -> SourceKind:
        """``simulated``: everything made from it says so."""
        return "simulated"

    @property
    def version(self) -> str:
        """Version of the model and a hash of the options."""
        text = json.dumps(asdict(self._options), sort_keys=True)
        return f"{MODEL}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"

    def span(self) -> tuple[date, date]:
        """From the options' first month to the last one the exchange's calendar records completely."""
        end = calendar_end()
        complete = month_start(end) if end == month_last_day(end) else add_months(end, -1)
        return self._options.first_month, complete

    def serves(self, table_name: str) -> bool:
        """True for every canonical table."""
        return table_name in _SERVED

    def fetch(self, table_name: str, first: date, last: date) -> pl.DataFrame:
        """Rows of [first, last] as :class:`rotation_pipeline.sources.base.Source` describes.

        Reports and dividends reach back before the first bars. Raises :class:`SourceError` for an unknown table or days
        beyond the recorded calendar.
        """
        if not self.serves(table_name):
            raise SourceError(
                f"source simulated: there is no table {table_name!r}; it has {', '.join(sorted(_SERVED))}"
            )
        frame = self._up_to(last).tables[table_name]
        if table_name in DATED_BY:
            return frame.filter(pl.col(DATED_BY[table_name]).is_between(first, last))
        start, end = INTERVAL_TABLES[table_name], INTERVAL_ENDS[table_name]
        return frame.filter((pl.col(start) <= last) & (pl.col(end).is_null() | (pl.col(end) > first)))

    def truth(self, months: Sequence[date]) -> dict[str, pl.DataFrame]:
        """``regimes``, ``premia`` and ``betas`` of the given months, stored columns with ``month``; for tests only.

        Raises :class:`SourceError` for months outside the span.
        """
        first, last = self.span()
        outside = [month for month in months if not first <= month <= last]
        if outside:
            raise SourceError(
                f"source simulated: truth is known from {first:%Y-%m} to {last:%Y-%m}, not {outside[0]:%Y-%m}"
            )
        market = self._up_to(max(months, default=first))
        return {
            table.name: market.truth[table.name].filter(pl.col("month").is_in(list(months))) for table in TRUTH_TABLES
        }

    def _up_to(self, day: date) -> SimulatedMarket:
        """The market up to the month of ``day`` or further; grown on from where it stood."""
        month = max(month_start(day), self._options.first_month)
        if self._market is None or self._market.last_month < month:
            if self._simulator is None:
                self._simulator = Simulator(self._options)
            try:
                self._simulator.advance(month)
            except CalendarError as error:
                raise SourceError(f"source simulated: {error}") from error
            self._market = market_of(self._simulator, month)
        return self._market
