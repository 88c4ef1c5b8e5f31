"""Shares that small companies issue for others they take over: what keeps the sizes of a whole market together.

Prices of the simulated market are free to wander for ever, since anything that called them back would be something to find;
market values would then drift apart without end. Those of real companies do not, because the small ones grow by
placements and restructurings paid in shares, and the value of a listing itself carries the smallest (Liu, Stambaugh and Yuan
2019). Here a small name now and then takes over a company like itself, all for new
shares: shares, book, profits and the dividend decided all grow by the same factor, so that the price and every figure per
share stay what they were, and no return follows (a pooling of interests, the year before restated with it).
"""

from __future__ import annotations

from datetime import date

import numpy as np

from rotation_pipeline.market.simulation.companies import Companies
from rotation_pipeline.market.simulation.events import MonthEvents
from rotation_pipeline.market.simulation.options import SimulationOptions, Stream, generator
from rotation_pipeline.market.simulation.roster import Bools, Floats, Roster

LARGEST = 0.19
"""Most new shares at once, over those outstanding: placements were held to a fifth of the shares (rules of February 2017),
and sanity rule 3 reports a jump beyond it."""
_LEAST = 0.05
REACH = 0.35
"""Names up to so much (ln) above the median size take others over; the pace grows with the square of the distance below.
Set with ``small_issues`` to the shape of ln market value of all A shares: a tenth of them 0.84 or more below the median in the mean of 2010-2021."""


def size_gaps(roster: Roster, listed: Bools, value: Floats) -> Floats:
    """ln market value less the median of the listed small names, shape (n,); 0 for large names and those not listed.

    ``value``: market value at the last close, CNY, > 0 where ``listed``.
    """
    known = roster.small & listed
    gaps = np.zeros(value.size)
    if known.any():
        logs = np.log(value[known])
        gaps[known] = logs - np.median(logs)
    return gaps


def placed_shares(options: SimulationOptions, roster: Roster, events: MonthEvents, month: date, gaps: Floats) -> Floats:
    """Factor by which each name's shares grow on the first session of ``month``, shape (n,), 1 = none.

    ``gaps``: of :func:`size_gaps`. Names that list, leave or are suspended at the month's begin are left out.
    """
    n = gaps.size
    rng = generator(options.seed, Stream.PLACEMENT, month)
    draw, size = rng.random(n), rng.uniform(_LEAST, LARGEST, n)
    pace = options.small_issues * np.maximum(REACH - gaps, 0.0) ** 2
    hazard = pace / 12.0 / (0.5 * (_LEAST + LARGEST))
    taking = roster.small & events.listed[0] & ~events.suspended[0] & (draw < hazard)
    taking[events.newly] = False
    taking[events.delisted] = False
    return np.where(taking, 1.0 + size, 1.0)


def enlarge(companies: Companies, growth: Floats) -> None:
    """Companies ``growth`` times as large, shape (n,): book, profits of eight quarters, the dividend decided."""
    companies.book = np.rint(companies.book * growth)
    companies.profits = np.rint(companies.profits * growth[:, None])
    companies.dividend_cash = companies.dividend_cash * growth
