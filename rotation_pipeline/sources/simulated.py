"""The embedded default source: the simulated market behind the interface every vendor has."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from datetime import date

import polars as pl

from rotation_pipeline.market.calendar import CalendarError, add_months, calendar_end, month_last_day, month_start
from rotation_pipeline.market.simulation import SimulationOptions, Simulator
from rotation_pipeline.market.simulation.records import STOCK_DAYS
from rotation_pipeline.market.tables import DATED_BY, INTERVAL_ENDS, INTERVAL_TABLES, SOURCE_TABLES, TRUTH_TABLES
from rotation_pipeline.sources.base import SourceError, SourceKind

MODEL = "1"
"""Raised whenever the simulated market changes for equal options."""
STOCK_DAYS_HELD = 2_000_000
"""Stock-days (about 150 bytes each) from which on months long past are let go: memory follows the market and not its
span. 50 stocks reach it after a century; 5,000 after a year and a half."""
MONTHS_BEHIND = 14
"""Months before those asked for that are held in any case: whoever judges a month looks back a year at most."""
_TABLES = {table.name: table for table in SOURCE_TABLES}


class SimulatedSource:
    """A simulated market grown as far as it is asked for; equal options give equal tables.

    Of a large market the stock-days of the months asked for last are held. To be asked for earlier ones costs the
    simulation from its beginning: ask for months in their order.
    """

    def __init__(self, options: SimulationOptions) -> None:
        self._options = options
        self._simulator: Simulator | None = None
        self._held_from = date.min

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
        """Version of the model and a hash of the options in effect: equal markets have equal versions."""
        text = json.dumps(self._options.in_effect, sort_keys=True)
        return f"{MODEL}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"

    def span(self) -> tuple[date, date]:
        """From the options' first month to the last one the exchange's calendar records completely."""
        end = calendar_end()
        complete = month_start(end) if end == month_last_day(end) else add_months(end, -1)
        return self._options.first_month, complete

    def serves(self, table_name: str) -> bool:
        """True for every canonical table."""
        return table_name in _TABLES

    def fetch(self, table_name: str, first: date, last: date) -> pl.DataFrame:
        """Rows of [first, last] as :class:`rotation_pipeline.sources.base.Source` describes.

        Reports and dividends reach back before the first bars. Raises :class:`SourceError` for an unknown table or days
        beyond the recorded calendar.
        """
        if not self.serves(table_name):
            raise SourceError(
                f"source simulated: there is no table {table_name!r}; it has {', '.join(sorted(_TABLES))}"
            )
        simulator, table = self._grown(first, last, held=table_name in STOCK_DAYS), _TABLES[table_name]
        if table_name in DATED_BY:
            return simulator.records.dated(table, (first, last))
        frame = simulator.records.intervals(
            table, simulator.standing, simulator.membership, add_months(simulator.next_month, -1)
        )
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
        begin, end = min(months, default=first), max(months, default=first)
        records = self._grown(begin, end, held=False).records
        return {
            table.name: records.truth(table, (begin, end)).filter(pl.col("month").is_in(list(months)))
            for table in TRUTH_TABLES
        }

    def _grown(self, first: date, last: date, *, held: bool) -> Simulator:
        """The market up to the month of ``last`` or further, grown on from where it stood; ``held``: its stock-days from
        ``first`` on must be there."""
        if self._simulator is None or (held and first < self._held_from):
            self._simulator, self._held_from = Simulator(self._options), date.min
        simulator, end = self._simulator, max(month_start(last), self._options.first_month)
        while simulator.next_month <= end:
            self._let_go(simulator, first)
            try:
                simulator.advance(simulator.next_month)
            except CalendarError as error:
                raise SourceError(f"source simulated: {error}") from error
        return simulator

    def _let_go(self, simulator: Simulator, first: date) -> None:
        """Forget what lies far behind ``first``, if much is held."""
        before = add_months(month_start(first), -MONTHS_BEHIND)
        anything = before > self._held_from or simulator.next_month <= before
        if anything and simulator.records.stock_days > STOCK_DAYS_HELD:
            simulator.records.forget(before)
            self._held_from = before
