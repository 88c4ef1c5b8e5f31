"""What happens to names in a month beside trading: listings, delistings, special treatment, suspensions, industries.

Every event falls by chance that no exposure foretells, and a delisting has no drift of its own: with premia of 0 no
style may earn anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from rotation_pipeline.market.simulation.options import SimulationOptions, Stream, generator
from rotation_pipeline.market.simulation.roster import BOARD_OPENED, BOARDS, INDUSTRIES, Bools, Floats, Ints, Roster

SHORTER_SUSPENSIONS = date(2018, 11, 1)
"""Since the rules of 2018-11-06 suspensions last ten sessions at most."""
_ST_MONTHS = 12
_INDUSTRY_CHANGE = 0.0005
SPARE_ELIGIBLE = 5
"""No delisting may leave fewer names than the index plus these."""


@dataclass(slots=True)
class Standing:
    """State of every name, arrays of shape (n,)."""

    listed_on: NDArray[np.datetime64]
    """First trading day, NaT before it is known."""
    delisted_on: NDArray[np.datetime64]
    """First day no longer listed, NaT while listed."""
    st_since: Ints
    """Month number (year × 12 + month) special treatment began in, 0 without it."""
    suspended_left: Ints
    """Sessions of a suspension still to come after the last month."""
    industry: Ints
    industry_since: NDArray[np.datetime64]

    @property
    def listed(self) -> Bools:
        """Listed at the last close."""
        return ~np.isnat(self.listed_on) & np.isnat(self.delisted_on)


@dataclass(frozen=True, slots=True)
class MonthEvents:
    """Events of one month by session (nd) and name (n)."""

    days: NDArray[np.datetime64]
    listed: Bools
    """Shape (nd, n): listed that day."""
    newly: Ints
    """Names listing this month."""
    delisted: Ints
    """Names whose last session is in this month or the last one of the month before."""
    is_st: Bools
    """Shape (n,): under special treatment all month."""
    suspended: Bools
    """Shape (nd, n)."""
    industry_changes: list[tuple[int, np.datetime64, np.datetime64, int]]
    """(name, valid from, valid to, industry) of classifications that ended at the first session."""


def start_standing(roster: Roster) -> Standing:
    """Standing before the first month."""
    n = roster.keys.size
    return Standing(
        roster.listed_on.copy(),
        np.full(n, np.datetime64("NaT"), dtype="datetime64[D]"),
        np.zeros(n, dtype=np.int64),
        np.zeros(n, dtype=np.int64),
        roster.industry.copy(),
        roster.listed_on.copy(),
    )


def draw_events(
    options: SimulationOptions,
    roster: Roster,
    standing: Standing,
    month: date,
    days: NDArray[np.datetime64],
    profit: Floats,
    price: Floats,
) -> MonthEvents:
    """Draw the month's events and move ``standing`` to its end. ``profit``: last known trailing profit; ``price``: last close,
    both of shape (n,)."""
    rng = generator(options.seed, Stream.EVENTS, month)
    nd = days.size
    before = standing.listed
    newly = _list_names(options, roster, standing, month, days, rng)
    delisted = _delist_names(options, roster, standing, days, before, price, rng)
    sessions = days[:, None]
    listed = ~np.isnat(standing.listed_on) & (sessions >= standing.listed_on)
    listed &= np.isnat(standing.delisted_on) | (sessions < standing.delisted_on)
    is_st = _special_treatment(options, roster, standing, month, before, profit, rng)
    changes = _reclassify(standing, days, before, rng)
    suspended = _suspend(options, roster, standing, month, before, nd, rng)
    for name in newly:
        standing.industry_since[name] = standing.listed_on[name]
    return MonthEvents(days, listed, newly, delisted, is_st, suspended & listed, changes)


def _list_names(
    options: SimulationOptions,
    roster: Roster,
    standing: Standing,
    month: date,
    days: NDArray[np.datetime64],
    rng: np.random.Generator,
) -> Ints:
    n = roster.keys.size
    draw, place = rng.random(n), rng.integers(0, days.size, n)
    opened = np.array([BOARD_OPENED[name] <= month for name in BOARDS])[roster.board]
    newly = np.flatnonzero(np.isnat(standing.listed_on) & opened & (draw < options.listing_hazard))
    standing.listed_on[newly] = days[place[newly]]
    return newly


def _delist_names(
    options: SimulationOptions,
    roster: Roster,
    standing: Standing,
    days: NDArray[np.datetime64],
    before: Bools,
    price: Floats,
    rng: np.random.Generator,
) -> Ints:
    n = roster.keys.size
    draw, place = rng.random(n), rng.integers(0, days.size, n)
    hazard = options.delisting_hazard * np.where(standing.st_since > 0, 10.0, 1.0) * np.where(price < 1.0, 50.0, 1.0)
    # a newcomer's listing month and its first half year are safe: the review needs names with a history
    seasoned = before & ((days[0] - np.where(before, standing.listed_on, days[0])).astype(np.int64) > 180)
    room = int((before & roster.eligible & (standing.st_since == 0)).sum()) - options.members - SPARE_ELIGIBLE
    delisted: list[int] = []
    for name in np.flatnonzero(seasoned & (draw < hazard)):
        counts = bool(roster.eligible[name])  # under special treatment too: a member among them must be replaced
        if counts and room <= 0:
            continue
        room -= int(counts)
        standing.delisted_on[name] = days[place[name]]
        delisted.append(int(name))
    return np.array(delisted, dtype=np.int64)


def _special_treatment(
    options: SimulationOptions,
    roster: Roster,
    standing: Standing,
    month: date,
    before: Bools,
    profit: Floats,
    rng: np.random.Generator,
) -> Bools:
    """Special treatment starts and ends with a month; losses make it likelier and keep it on."""
    n = before.size
    draw = rng.random(n)
    number = month.year * 12 + month.month
    running = standing.st_since > 0
    over = running & (number - standing.st_since >= _ST_MONTHS) & ((profit > 0) | (number - standing.st_since >= 24))
    hazard = options.st_hazard * np.where(profit < 0, 5.0, 0.8) * np.where(roster.small, options.small_st, 1.0)
    begins = before & ~running & (draw < hazard)
    standing.st_since = np.where(begins, number, np.where(over, 0, standing.st_since))
    return standing.st_since > 0


def _reclassify(
    standing: Standing, days: NDArray[np.datetime64], before: Bools, rng: np.random.Generator
) -> list[tuple[int, np.datetime64, np.datetime64, int]]:
    n = before.size
    draw, target = rng.random(n), rng.integers(1, len(INDUSTRIES), n)
    ended: list[tuple[int, np.datetime64, np.datetime64, int]] = []
    for name in np.flatnonzero(before & (draw < _INDUSTRY_CHANGE)):
        if standing.industry_since[name] >= days[0]:
            continue
        ended.append((int(name), standing.industry_since[name], days[0], int(standing.industry[name])))
        standing.industry[name] = (standing.industry[name] + target[name]) % len(INDUSTRIES)
        standing.industry_since[name] = days[0]
    return ended


def _suspend(
    options: SimulationOptions,
    roster: Roster,
    standing: Standing,
    month: date,
    before: Bools,
    nd: int,
    rng: np.random.Generator,
) -> Bools:
    """Suspended sessions, shape (nd, n): half of the spells a day, some ten, before 2018-11 a few up to four months."""
    n = before.size
    draw, kind, place = rng.random(n), rng.random(n), rng.integers(0, nd, n)
    short, long = rng.integers(2, 11, n), rng.integers(15, 81, n)
    length = np.where(kind < 0.5, 1, np.where(kind < 0.86, short, long))
    if month >= SHORTER_SUSPENSIONS:
        length = np.minimum(length, 10)
    hazard = options.suspension_hazard * np.where(roster.small, options.small_suspension, 1.0)
    starts = before & (standing.suspended_left == 0) & (draw < hazard)
    begin = np.where(starts, place, 0)
    end = np.where(starts, place + length, standing.suspended_left)
    session = np.arange(nd)[:, None]
    standing.suspended_left = np.maximum(end - nd, 0)
    return (session >= begin) & (session < end)
