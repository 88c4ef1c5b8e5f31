"""The index: who its members are, how they are reviewed, and how its level follows from them.

Reviews follow the SSE 50's: effective the trading day after the second Friday of June and December, on data up to the
end of April and October, with a buffer for sitting members and at most a tenth replaced. A member that is delisted
between reviews is replaced that day.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, timedelta

import numpy as np
from numpy.typing import NDArray

from rotation_pipeline.market.calendar import next_session
from rotation_pipeline.market.simulation.events import MonthEvents, Standing
from rotation_pipeline.market.simulation.options import SimulationError
from rotation_pipeline.market.simulation.roster import Bools, Floats, Ints, Roster

BASE_LEVEL = 2000.0
"""Index level before the first session."""
_STAY_WITHIN = 1.1
_ENTER_WITHIN = 0.9
_REPLACED = 0.1
_NOTICE_SESSIONS = 10


def effective_day(year: int, month: int) -> date:
    """First session after the second Friday of a month."""
    first = date(year, month, 1)
    second_friday = first + timedelta(days=(4 - first.weekday()) % 7 + 7)
    return next_session(second_friday)


Spell = tuple[int, np.datetime64, np.datetime64, np.datetime64]
"""Name, first day, first day no longer a member, day it became public."""


@dataclass(slots=True)
class Membership:
    """State of the index."""

    since: NDArray[np.datetime64]
    """First day of the running membership, NaT for non-members, shape (n,)."""
    announced: NDArray[np.datetime64]
    """Day the running membership became public, NaT = unknown."""
    review_value: Floats
    """Tradable market value at the end of April or October, the data of the next review, shape (n,)."""
    level: float = BASE_LEVEL
    ended: list[Spell] = field(default_factory=list[Spell])
    """Memberships that ended."""

    @property
    def members(self) -> Bools:
        """Members at the last close, shape (n,)."""
        return ~np.isnat(self.since)


def start_membership(roster: Roster, standing: Standing, size: int, float_value: Floats, month: date) -> Membership:
    """The largest eligible names, members since the last review before ``month``."""
    ranked = _ranking(roster.eligible & standing.listed, float_value)
    if ranked.size < size:
        raise SimulationError(f"only {ranked.size} names can be members in {month:%Y-%m}, the index needs {size}")
    year, review = (month.year, 6) if month.month > 6 else (month.year - 1, 12)
    since = np.full(roster.keys.size, np.datetime64("NaT"), dtype="datetime64[D]")
    since[ranked[:size]] = np.datetime64(effective_day(year, review))
    announced = np.full(roster.keys.size, np.datetime64("NaT"), dtype="datetime64[D]")
    return Membership(since, announced, float_value.copy())


def month_members(
    membership: Membership, roster: Roster, standing: Standing, events: MonthEvents, month: date, float_value: Floats
) -> Bools:
    """Members on each session, shape (nd, n), moving ``membership`` to the month's end.

    ``float_value``: tradable market value at the last close of the month before, NaN for names not listed then.
    """
    days = events.days
    review = np.datetime64(effective_day(month.year, month.month)) if month.month in (6, 12) else None
    inside = np.empty((days.size, roster.keys.size), dtype=bool)
    for d, day in enumerate(days):
        leaving = np.flatnonzero(membership.members & (standing.delisted_on == day))
        if leaving.size:
            allowed = _candidates(roster, standing, events, float_value, day) & ~membership.members
            entering = _ranking(allowed, float_value)[: leaving.size]
            _swap(membership, leaving, entering, day, days[max(d - 5, 0)])
        if day == review:
            leaving, entering = _review(membership, roster, standing, events, float_value, day)
            _swap(membership, leaving, entering, day, days[max(d - _NOTICE_SESSIONS, 0)])
        inside[d] = membership.members
    return inside


def _candidates(
    roster: Roster, standing: Standing, events: MonthEvents, float_value: Floats, day: np.datetime64
) -> Bools:
    """Names that may enter: eligible, listed past the month's end, not under special treatment."""
    staying = np.isnat(standing.delisted_on)
    return roster.eligible & staying & np.isfinite(float_value) & (standing.listed_on < day) & ~events.is_st


def _ranking(allowed: Bools, float_value: Floats) -> Ints:
    """Allowed names from large to small tradable market value, ties by position."""
    names = np.flatnonzero(allowed & np.isfinite(float_value))
    return names[np.argsort(-float_value[names], kind="stable")]


def _review(
    membership: Membership,
    roster: Roster,
    standing: Standing,
    events: MonthEvents,
    float_value: Floats,
    day: np.datetime64,
) -> tuple[Ints, Ints]:
    """Members that fell behind and the names that replace them."""
    size = int(membership.members.sum())
    value = np.where(np.isfinite(float_value), membership.review_value, np.nan)
    ranked = _ranking(_candidates(roster, standing, events, value, day), value)
    place = np.full(roster.keys.size, ranked.size)
    place[ranked] = np.arange(ranked.size)
    members = membership.members
    must_go = np.flatnonzero(members & events.is_st)
    weak = np.flatnonzero(members & ~events.is_st & (place >= _STAY_WITHIN * size))
    weak = weak[np.argsort(-place[weak], kind="stable")]
    leaving = np.concatenate([must_go, weak])
    newcomers = ranked[~members[ranked]]
    strong = newcomers[place[newcomers] < _ENTER_WITHIN * size]
    middle = np.flatnonzero(members & ~events.is_st & (place < _STAY_WITHIN * size))
    middle = middle[np.argsort(-place[middle], kind="stable")]
    if strong.size > leaving.size:  # a strong newcomer pushes out the smallest sitting member
        leaving = np.concatenate([leaving, middle[: strong.size - leaving.size]])
    count = min(max(int(_REPLACED * size), must_go.size, 1), leaving.size, newcomers.size)
    return leaving[:count], newcomers[:count]


def _swap(membership: Membership, leaving: Ints, entering: Ints, day: np.datetime64, known: np.datetime64) -> None:
    """Replace ``leaving`` by ``entering`` from ``day`` on, public since ``known``."""
    if leaving.size != entering.size:
        raise SimulationError(
            f"the index loses {leaving.size} members on {day} and finds {entering.size}; raise option n_spare"
        )
    spells = zip(leaving, membership.since[leaving], membership.announced[leaving], strict=True)
    membership.ended.extend((int(name), since, day, announced) for name, since, announced in spells)
    membership.since[leaving] = np.datetime64("NaT")
    membership.announced[leaving] = np.datetime64("NaT")
    membership.since[entering] = day
    membership.announced[entering] = known
