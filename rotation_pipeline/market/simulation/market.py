"""The simulated market as canonical tables and as truth."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import polars as pl

from rotation_pipeline.market.simulation.engine import Simulator
from rotation_pipeline.market.simulation.options import SimulationOptions
from rotation_pipeline.market.simulation.records import DATED_TABLES, INTERVAL_TABLES_OF_SOURCE
from rotation_pipeline.market.tables import TRUTH_TABLES


@dataclass(frozen=True, slots=True)
class SimulatedMarket:
    """A simulated market up to the end of ``last_month``.

    ``tables``: the canonical tables by name, stored columns without ``month`` (``asset_key`` for an asset), sorted by
    key; intervals are plain, an open end is null. Fundamentals and dividends begin before the first bars. ``truth``:
    ``regimes``, ``premia`` and ``betas`` with ``month``, which nothing but tests and the evaluation of recovery may read.
    """

    options: SimulationOptions
    last_month: date
    tables: dict[str, pl.DataFrame]
    truth: dict[str, pl.DataFrame]


def simulate(options: SimulationOptions, last_month: date) -> SimulatedMarket:
    """Simulate from the options' first month to ``last_month`` (first day of a month).

    A market simulated to a later month has equal rows, bit for bit, up to ``last_month``. Raises ``SimulationError`` for
    a month before the start and options that can't be met, ``CalendarError`` beyond the recorded calendar.
    """
    simulator = Simulator(options)
    simulator.advance(last_month)
    return market_of(simulator, last_month)


def market_of(simulator: Simulator, last_month: date) -> SimulatedMarket:
    """Tables and truth of a simulator that stands at the end of ``last_month``."""
    records = simulator.records
    tables = {table.name: records.dated(table) for table in DATED_TABLES}
    for table in INTERVAL_TABLES_OF_SOURCE:
        tables[table.name] = records.intervals(table, simulator.standing, simulator.membership, last_month)
    truth = {table.name: records.truth(table) for table in TRUTH_TABLES}
    return SimulatedMarket(simulator.options, last_month, tables, truth)
