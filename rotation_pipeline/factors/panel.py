"""Daily bars as the kernels want them: columns of own trading days, one security after the other."""

from __future__ import annotations

import mmap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import polars as pl
from numba import njit
from numpy.typing import NDArray

from rotation_pipeline.factors import kernels
from rotation_pipeline.factors.errors import BadInput
from rotation_pipeline.factors.inputs import Days, require_columns
from rotation_pipeline.factors.pieces import BARS, TABLE, Bars, Bits, Block, Keys, blocks
from rotation_pipeline.factors.statistics import Floats

Number = TypeVar("Number", np.int32, np.float64)
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Panel:
    """Own trading days with a price, sorted by security and session.

    Attributes:
        days: session dates, rising, shape (sessions,); ``session`` counts them from 0.
        asset_key: rising, shape (assets,).
        start, stop: rows [start, stop) are a security's, shape (assets,); LEAD rows of ones come before each, and room
            that holds nothing may come after.
        session: session number of each row, shape (rows,).
        columns: by name, NaN unknown, each of shape (rows,); adj_close (CNY × factor, > 0) and ret (fraction) are there.
    """

    days: Days
    asset_key: Keys
    start: Ints
    stop: Ints
    session: Keys
    columns: Mapping[str, Floats]


@dataclass(frozen=True)
class History:
    """All that was loaded, for a factor of kind ``history``.

    Attributes:
        panel: own trading days of every security.
        index_return: return of the index by session, NaN unknown, shape (sessions,).
        opens, closes: first and last session number a month may look at, shape (months,). Rows of later sessions are
            there when later months are computed along, and must not be looked at.
    """

    panel: Panel
    index_return: Floats
    opens: Ints
    closes: Ints


@njit(cache=True)
def _unseen(key: Keys, place: Keys) -> Keys:
    """Keys without a place, each once."""
    out, n = np.empty(key.size, np.int32), 0
    for row in range(key.size):
        if place[key[row]] == -1:
            place[key[row]] = -2
            out[n] = key[row]
            n += 1
    return out[:n]


@njit(cache=True)
def _put(
    key: Keys, own: Bits, price: Floats, ret: Floats, begin: Ints, stop: Ints, day_session: Keys, known: Keys,
    place: Keys, cursor: Ints, latest: Keys, session: Keys, prices: Floats, returns: Floats, position: Ints,
) -> int:  # fmt: skip
    """Rows of some days, each sorted by key, to the ends of their securities' rows; a row out of order or twice, or −1.

    All days are walked along side by side, so that what lies next to each other in a day is read together, and what
    lies next to each other in a security is written together.

    Args:
        begin, stop: rows [begin, stop) of each day; begin is moved on. day_session: session number of each day.
        known: keys, rising. place: number of each key. cursor: next free row of each security. latest: session last
            seen of each. session, prices, returns: columns to fill. position: row of the input that belongs to each new row,
            security by security, if there is room for it.
    """
    filled = 0
    for wanted in known:
        a = place[wanted]
        at, last = cursor[a], latest[a]
        for d in range(begin.size):
            row = begin[d]
            if row < stop[d] and key[row] == wanted:
                begin[d] = row + 1
                if day_session[d] <= last:
                    return row
                last = day_session[d]
                if own[row]:
                    session[at] = last
                    prices[at] = price[row]
                    returns[at] = ret[row]
                    if position.size:
                        position[filled] = row
                        filled += 1
                    at += 1
        cursor[a], latest[a] = at, last
    for d in range(begin.size):
        if begin[d] < stop[d]:
            return begin[d]
    return -1


@njit(cache=True)
def _gather(
    values: Floats, position: Ints, known: Keys, place: Keys, before: Ints, after: Ints, column: Floats
) -> None:
    """Values in the order of ``position`` to rows [before, after) of each security."""
    k = 0
    for key in known:
        a = place[key]
        for row in range(before[a], after[a]):
            column[row] = values[position[k]]
            k += 1


@njit(cache=True)
def _runs(values: Keys) -> Ints:
    """First rows of each run of equal values, then the number of rows."""
    count = 1 if values.size else 0
    for row in range(1, values.size):
        count += values[row] != values[row - 1]
    out = np.empty(count + 1, np.int64)
    out[0], k = 0, 1
    for row in range(1, values.size):
        if values[row] != values[row - 1]:
            out[k] = row
            k += 1
    out[count] = values.size
    return out


def session_table(sessions: Days) -> tuple[Keys, int]:
    """Session number of each calendar day from the first session to the last, −1 for none; and the first as a number."""
    first = int(sessions[0].astype(np.int64))
    number = np.full(int(sessions[-1].astype(np.int64)) - first + 1, -1, np.int32)
    number[sessions.astype(np.int64) - first] = np.arange(sessions.size, dtype=np.int32)
    return number, first


def session_numbers(days: NDArray[np.int32], sessions: Days, table: str) -> Keys:
    """Number of each day's session; days (since 1970) lie between the first and the last session.

    Raises:
        BadInput: a day that is no session.
    """
    number, first = session_table(sessions)
    found = number[days - first]
    if found.size and found.min() < 0:
        unknown = np.datetime64(int(days[int(np.argmin(found))]), "D")
        raise BadInput(f"{table}: {unknown} is no session of the exchange; check the calendar or quarantine the row")
    return found


@njit(cache=True)
def _first_bad(price: Floats, start: Ints, stop: Ints) -> tuple[int, int]:
    """First security and row without a positive price, −1 if there is none."""
    for asset in range(start.size):
        for row in range(start[asset], stop[asset]):
            if not price[row] > 0.0:
                return asset, row
    return -1, -1


class _Builder:
    """A panel in the making: every security has room for each session, touched only as far as it is filled."""

    def __init__(self, sessions: Days, first: int, columns: Sequence[str]) -> None:
        self.sessions = sessions
        self.number, self.zero = session_table(sessions)
        self.width = kernels.LEAD + sessions.size - first
        self.place = np.full(1, -1, np.int32)
        self.known = np.empty(0, np.int32)
        self.count = 0
        self.cursor, self.latest = np.empty(0, np.int64), np.empty(0, np.int32)
        self.session = np.empty(0, np.int32)
        self.columns = {name: np.empty(0) for name in dict.fromkeys(("adj_close", "ret", *columns))}

    def _room(self, highest: int, assets: int) -> None:
        """Room for keys up to ``highest`` and so many securities."""
        if highest >= self.place.size:
            self.place = np.concatenate((self.place, np.full(highest + 1 - self.place.size, -1, np.int32)))
        if assets <= self.cursor.size:
            return
        more = 2 * assets + 1024 - self.cursor.size  # room nobody has touched costs nothing
        self.cursor = np.concatenate((self.cursor, np.zeros(more, np.int64)))
        self.latest = np.concatenate((self.latest, np.full(more, -1, np.int32)))
        rows = self.cursor.size * self.width
        self.session = _longer(self.session, rows, self.count * self.width)
        self.columns = {name: _longer(column, rows, self.count * self.width) for name, column in self.columns.items()}

    def _admit(self, key: Keys) -> None:
        self._room(int(key.max()), self.count)
        fresh = _unseen(key, self.place)
        if not fresh.size:
            return
        self._room(int(key.max()), self.count + fresh.size)
        numbers = np.arange(self.count, self.count + fresh.size)
        self.place[fresh] = numbers
        self.cursor[numbers] = numbers * self.width + kernels.LEAD
        for name in self.columns:
            self.columns[name][: self.cursor.size * self.width].reshape(-1, self.width)[numbers, : kernels.LEAD] = 1.0
        self.count += fresh.size
        self.known = np.sort(np.concatenate((self.known, fresh)))

    def add(self, block: Block) -> str:
        """Put rows in place; words for one that is out of order or twice."""
        bounds = _runs(block.day)
        numbers = session_numbers(block.day[bounds[:-1]], self.sessions, TABLE)
        row = int(np.argmin(block.key))
        if block.key[row] < 0:
            raise BadInput(
                f"{TABLE}: asset_key {block.key[row]} on {np.datetime64(int(block.day[row]), 'D')} is negative; keys are those of "
                "market.identifiers, quarantine the row"
            )
        self._admit(block.key)
        more = list(self.columns)[2:]
        before, position = self.cursor.copy() if more else self.cursor, np.empty(block.rows if more else 0, np.int64)
        odd = _put(
            block.key, block.own, block.column("adj_close"), block.column("ret"), bounds[:-1].copy(), bounds[1:], numbers,
            self.known, self.place, self.cursor, self.latest, self.session, self.columns["adj_close"], self.columns["ret"],
            position,
        )  # fmt: skip
        if odd >= 0:
            return f"asset_key {block.key[odd]} on {np.datetime64(int(block.day[odd]), 'D')}"
        for name in more:
            _gather(block.column(name), position, self.known, self.place, before, self.cursor, self.columns[name])
        return ""

    def panel(self) -> Panel:
        """What was put in place. Raises BadInput for a price that is not positive."""
        number = self.place[self.known]
        start = number.astype(np.int64) * self.width + kernels.LEAD
        panel = Panel(self.sessions, self.known, start, self.cursor[number], self.session, self.columns)
        price = self.columns["adj_close"]
        asset, row = _first_bad(price, panel.start, panel.stop)
        if row >= 0:
            raise BadInput(
                f"{TABLE}: asset_key {self.known[asset]} on {self.sessions[self.session[row]]} has adj_close {price[row]}; "
                "an adjusted price is positive, quarantine the row"
            )
        return panel


def _longer(values: NDArray[Number], size: int, used: int) -> NDArray[Number]:
    """More room, mapped: NumPy would ask for huge pages, and each of those is cleared in full for a few rows in it."""
    own = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}
    room = mmap.mmap(-1, max(size * values.itemsize, 1), **own)
    out: NDArray[Number] = np.frombuffer(room, values.dtype, size)
    out[:used] = values[:used]
    return out


def panel_of(bars: Bars, sessions: Days, columns: Sequence[str] = (), first: int = 0) -> Panel:
    """The panel of the rows of ``bars`` between session number ``first`` and the last of ``sessions``.

    Rows in order of day and key, as they are stored, are put in place as they come. A frame in another order is sorted
    first; pieces must come in order.

    Args:
        bars: intermediate.adjusted_bars, :data:`BARS` and ``columns``: a frame, or pieces of one.
        sessions: sessions of the exchange, rising; rows of other days are an error, rows outside are left out.
        columns: further columns of the bars to keep.

    Raises:
        MissingInput: a column is missing. BadInput: a row twice, a day that is no session, a price ≤ 0, a negative
            asset_key, a day, key or flag that is null.
    """
    begin, end = sessions[first].item(), sessions[-1].item()
    names = list(dict.fromkeys((*BARS, *columns)))
    if isinstance(bars, pl.DataFrame):
        require_columns(bars, TABLE, names)
        unknown = bars["day"].has_nulls()  # refused below, named beside its neighbours
        if not unknown and not bars["day"].is_sorted():
            bars = bars.select(names).sort("day", "asset_key")
    builder = _Builder(sessions, first, columns)
    for block in blocks(bars, names, begin, end):
        odd = builder.add(block)
        if not odd:
            continue
        # rows outside are left out, twice or not
        if isinstance(bars, pl.DataFrame) and not _twice(bars.filter(pl.col("day").is_between(begin, end))):
            return panel_of(bars.sort("day", "asset_key"), sessions, columns, first)
        raise BadInput(f"{TABLE}: {odd} is out of order or twice; a security has one row a day, and days come in order")
    return builder.panel()


def _twice(bars: pl.DataFrame) -> bool:
    return bool(bars.select(pl.struct("day", "asset_key").is_duplicated().any()).item())
