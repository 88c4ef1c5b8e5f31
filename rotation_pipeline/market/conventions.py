"""Trading conventions of the A-share market as effective-dated tables.

A rule is a row with the day it took effect and where it is written; a function looks up the row in force. No rate
appears anywhere else. Prices are compared with limits in integers of 0.0001 CNY: binary fractions put half a cent on
the wrong side (10 % above 5.55 is 6.11, and 5.55 × 1.1 in floats is 6.1050000000000004).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal, Protocol, TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rotation_pipeline.market.calendar import add_months, month_last_day, sessions_since

Side = Literal["buy", "sell"]
Board = Literal["main", "chinext", "star", "beijing"]


class ConventionError(ValueError):
    """A day before the first recorded rule, or a board that is none."""


class _Dated(Protocol):
    @property
    def effective_from(self) -> date: ...


Row = TypeVar("Row", bound=_Dated)


def in_force(rows: Sequence[Row], day: date, what: str) -> Row:
    """The row of ``rows`` (ascending by day) in force on ``day``; :class:`ConventionError` before the first one."""
    found = [row for row in rows if row.effective_from <= day]
    if not found:
        raise ConventionError(
            f"no {what} is recorded for {day}; the first rule took effect on {rows[0].effective_from}"
        )
    return found[-1]


# --- costs -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StampDuty:
    """Tax on turnover, a fraction, by side."""

    effective_from: date
    buy: float
    sell: float
    source: str


STAMP_DUTY = (
    StampDuty(date(2007, 5, 30), 0.003, 0.003, "Ministry of Finance, Caishui [2007] 84"),
    StampDuty(date(2008, 4, 24), 0.001, 0.001, "Ministry of Finance, notice of 2008-04-23"),
    StampDuty(date(2008, 9, 19), 0.0, 0.001, "Ministry of Finance, notice of 2008-09-18: on sales only"),
    StampDuty(date(2023, 8, 28), 0.0, 0.0005, "Ministry of Finance and STA, announcement 2023 No. 39: halved"),
)


def stamp_duty(day: date, side: Side) -> float:
    """Stamp duty on ``day`` as a fraction of turnover."""
    row = in_force(STAMP_DUTY, day, "stamp duty")
    return row.sell if side == "sell" else row.buy


@dataclass(frozen=True, slots=True)
class TransferFee:
    """Fee of the clearing house, both sides: a fraction of turnover plus an amount per share (of 1 CNY face value)."""

    effective_from: date
    of_turnover: float
    per_share: float
    source: str


TRANSFER_FEE = {
    "SH": (
        TransferFee(date(2012, 9, 1), 0.0, 0.0003, "ChinaClear Shanghai: 0.3 per mille of face value, both sides"),
        TransferFee(date(2015, 8, 1), 0.00002, 0.0, "ChinaClear, notice of 2015-07-01: 0.02 per mille of turnover"),
        TransferFee(date(2022, 4, 29), 0.00001, 0.0, "ChinaClear, notice of 2022-04-28: 0.01 per mille of turnover"),
    ),
    "SZ": (
        TransferFee(date(2012, 9, 1), 0.0, 0.0, "contained in the Shenzhen handling fee until 2015-08-01"),
        TransferFee(date(2015, 8, 1), 0.00002, 0.0, "ChinaClear, notice of 2015-07-01: 0.02 per mille of turnover"),
        TransferFee(date(2022, 4, 29), 0.00001, 0.0, "ChinaClear, notice of 2022-04-28: 0.01 per mille of turnover"),
    ),
    "BJ": (
        TransferFee(date(2021, 11, 15), 0.000025, 0.0, "ChinaClear Beijing: 0.025 per mille of turnover"),
        TransferFee(date(2022, 4, 29), 0.00001, 0.0, "ChinaClear, notice of 2022-04-28: 0.01 per mille of turnover"),
    ),
}


def transfer_fee(day: date, exchange: str = "SH") -> TransferFee:
    """The transfer fee in force: cost = ``of_turnover`` × turnover + ``per_share`` × shares, on both sides."""
    if exchange not in TRANSFER_FEE:
        raise ConventionError(f"{exchange!r} is no exchange; expected one of {', '.join(TRANSFER_FEE)}")
    return in_force(TRANSFER_FEE[exchange], day, f"transfer fee ({exchange})")


@dataclass(frozen=True, slots=True)
class Commission:
    """Broker's commission: a fraction of turnover with a minimum per order; contains handling and regulatory fees."""

    effective_from: date
    of_turnover: float
    minimum: float
    source: str


COMMISSION = (
    Commission(
        date(1990, 12, 19), 0.00025, 5.0, "customary retail rate; at most 0.3 % and at least 5 CNY by CSRC 2002 No. 21"
    ),
)


def commission(day: date) -> Commission:
    """The default commission in force on ``day``."""
    return in_force(COMMISSION, day, "commission")


def order_cost(
    day: date,
    side: Side,
    shares: float,
    amount: float,
    *,
    exchange: str = "SH",
    commission_rate: float | None = None,
    commission_minimum: float | None = None,
) -> float:
    """Commission, stamp duty and transfer fee of one order in CNY.

    ``shares`` and ``amount`` (CNY) ≥ 0; an order of nothing costs nothing. Rates given replace the customary ones.
    """
    if shares < 0 or amount < 0:
        raise ConventionError(f"an order of {shares} shares for {amount} CNY is no order; both must be at least 0")
    if amount == 0:
        return 0.0
    customary = commission(day)
    rate = customary.of_turnover if commission_rate is None else commission_rate
    least = customary.minimum if commission_minimum is None else commission_minimum
    fee = transfer_fee(day, exchange)
    return (
        max(rate * amount, least) + stamp_duty(day, side) * amount + fee.of_turnover * amount + fee.per_share * shares
    )


# --- price limits ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PriceLimit:
    """Daily limit of a seasoned share in basis points; ``special`` holds under special treatment (ST)."""

    effective_from: date
    ordinary: int
    special: int
    source: str


@dataclass(frozen=True, slots=True)
class FirstDays:
    """Limits on the first sessions after listing: ``days`` of them, in basis points; None = no limit."""

    effective_from: date
    days: int
    down: int | None
    up: int | None
    source: str


_MAIN = "SSE and SZSE trading rules"
PRICE_LIMITS: dict[str, tuple[PriceLimit, ...]] = {
    "main": (
        PriceLimit(date(1996, 12, 16), 1000, 1000, "CSRC notice of 1996-12-13"),
        PriceLimit(date(1998, 4, 22), 1000, 500, "special treatment introduced, 5 %"),
        PriceLimit(date(2026, 7, 6), 1000, 1000, f"{_MAIN}, 2026 revision: risk-warned main-board shares 10 %"),
    ),
    "chinext": (
        PriceLimit(date(2009, 10, 30), 1000, 500, "SZSE ChiNext opened, general trading rules"),
        PriceLimit(date(2020, 8, 24), 2000, 2000, "SZSE ChiNext special trading rules, 2020"),
    ),
    "star": (PriceLimit(date(2019, 7, 22), 2000, 2000, "SSE STAR special trading rules, 2019"),),
    "beijing": (PriceLimit(date(2021, 11, 15), 3000, 3000, "BSE trading rules, 2021"),),
}
FIRST_DAYS: dict[str, tuple[FirstDays, ...]] = {
    "main": (
        FirstDays(date(1996, 12, 16), 1, None, None, "CSRC notice of 1996-12-13: none on the first day"),
        FirstDays(
            date(2014, 1, 1), 1, 3600, 4400, "SSE and SZSE notices of 2013-12-13: +44 % / −36 % of the issue price"
        ),
        FirstDays(date(2023, 4, 10), 5, None, None, f"{_MAIN}, 2023 revision (registration): none for five sessions"),
    ),
    "chinext": (
        FirstDays(date(2009, 10, 30), 1, None, None, "SZSE trading rules: none on the first day"),
        FirstDays(date(2014, 1, 1), 1, 3600, 4400, "SZSE notice of 2013-12-13: +44 % / −36 % of the issue price"),
        FirstDays(date(2020, 8, 24), 5, None, None, "SZSE ChiNext special trading rules, 2020: none for five sessions"),
    ),
    "star": (
        FirstDays(date(2019, 7, 22), 5, None, None, "SSE STAR special trading rules, 2019: none for five sessions"),
    ),
    "beijing": (FirstDays(date(2021, 11, 15), 1, None, None, "BSE trading rules, 2021: none on the first day"),),
}
_LONGEST = max(row.days for rows in FIRST_DAYS.values() for row in rows)
BOARD_CODES = {name: code for code, name in enumerate(PRICE_LIMITS)}

Boards = Sequence[str] | NDArray[np.object_] | NDArray[np.str_] | pl.Series
Days = NDArray[np.datetime64]
Floats = NDArray[np.float64]


def limit_rate(board: Boards, day: Days, is_st: NDArray[np.bool_]) -> Floats:
    """Daily limit of seasoned shares as a fraction (0.1 = ±10 %), all shapes (n,), ``day`` datetime64[D].

    Raises :class:`ConventionError` for an unknown board or a day before its first recorded rule.
    """
    return _seasoned(_board_codes(board), day, is_st) / 10_000.0


def limit_rates(
    board: Boards, day: Days, is_st: NDArray[np.bool_], sessions_since_listing: NDArray[np.int64]
) -> tuple[Floats, Floats]:
    """Limits (down, up) as fractions ≥ 0 with the first sessions after listing; infinite where there is none.

    ``sessions_since_listing``: 0 on the first session (see ``calendar.sessions_since``), negative = unknown, taken as
    seasoned. The rule of the day of listing holds for all the first days, also past a change of rule.
    Raises :class:`ConventionError` as :func:`limit_rate`.
    """
    codes = _board_codes(board)
    seasoned = _seasoned(codes, day, is_st) / 10_000.0
    down, up = seasoned.copy(), seasoned.copy()
    young = np.flatnonzero((sessions_since_listing >= 0) & (sessions_since_listing < _LONGEST))
    age, when, kind = sessions_since_listing[young], day[young], codes[young]
    for name, rows in FIRST_DAYS.items():
        for row in rows:  # ascending by day: a later rule overwrites an earlier one
            since_rule = sessions_since(np.full(when.shape, row.effective_from, dtype="datetime64[D]"), when)
            listed_under = (kind == BOARD_CODES[name]) & (age <= since_rule)
            first = young[listed_under]
            exempt = age[listed_under] < row.days
            down[first] = np.where(exempt, _fraction(row.down), seasoned[first])
            up[first] = np.where(exempt, _fraction(row.up), seasoned[first])
    return down, up


def limit_prices(prev_close: Floats, down: Floats, up: Floats | None = None) -> tuple[Floats, Floats]:
    """Lowest and highest price of the day in CNY, shape (n,): prev_close × (1 ∓ limit), rounded half up to 0.01.

    Exact decimal arithmetic in integers: ``prev_close`` is read to 0.0001 CNY, limits to 0.0001. ``up`` defaults to
    ``down``. No limit (infinite) gives 0 and infinity; an unknown ``prev_close`` (NaN) gives NaN.
    """
    up = down if up is None else up
    base = _integers(prev_close)
    low = _half_up(base * (10_000 - _integers(down)))
    high = _half_up(base * (10_000 + _integers(up)))
    unknown = ~np.isfinite(prev_close)
    low = np.where(unknown, np.nan, np.where(np.isfinite(down), low, 0.0))
    high = np.where(unknown, np.nan, np.where(np.isfinite(up), high, np.inf))
    return low, high


def _fraction(basis_points: int | None) -> float:
    return float("inf") if basis_points is None else basis_points / 10_000.0


def _integers(values: Floats) -> NDArray[np.int64]:
    """Units of 0.0001; what is not finite becomes 0 and is masked by the caller."""
    return np.rint(np.where(np.isfinite(values), values, 0.0) * 10_000.0).astype(np.int64)


def _half_up(units: NDArray[np.int64]) -> Floats:
    """Units of 1e-8 CNY ≥ 0 → CNY rounded half up to 0.01."""
    return ((units + 500_000) // 1_000_000) / 100.0


def _board_codes(board: Boards) -> NDArray[np.int64]:
    """Integer code of each board; :class:`ConventionError` names the first text that is no board."""
    series = board if isinstance(board, pl.Series) else pl.Series(list(board), dtype=pl.String)
    codes = series.cast(pl.String).replace_strict(BOARD_CODES, default=-1, return_dtype=pl.Int64).to_numpy()
    if codes.size and codes.min() < 0:
        found = series[int(np.argmin(codes))]
        raise ConventionError(f"{found!r} is no board; expected one of {', '.join(BOARD_CODES)}")
    return codes


def _seasoned(codes: NDArray[np.int64], day: Days, is_st: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Limit in basis points, first days after listing left out."""
    found = np.full(codes.shape, -1, dtype=np.int64)
    for name, rows in PRICE_LIMITS.items():
        for row in rows:  # ascending by day: a later rule overwrites an earlier one
            mask = (codes == BOARD_CODES[name]) & (day >= np.datetime64(row.effective_from))
            found[mask] = np.where(is_st[mask], row.special, row.ordinary)
    if found.size and found.min() < 0:
        at = int(np.argmin(found))
        name = list(BOARD_CODES)[int(codes[at])]
        first = PRICE_LIMITS[name][0].effective_from
        raise ConventionError(
            f"no price limit is recorded for board {name!r} on {day[at]}; the first rule is of {first}"
        )
    return found


# --- orders and tax --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Lots:
    """Sizes of a buy order: at least ``minimum`` shares, then in steps of ``step``. Odd lots may only be sold whole."""

    effective_from: date
    minimum: int
    step: int
    source: str


LOTS: dict[str, tuple[Lots, ...]] = {
    "main": (Lots(date(1990, 12, 19), 100, 100, f"{_MAIN}: multiples of 100"),),
    "chinext": (Lots(date(2009, 10, 30), 100, 100, f"{_MAIN}: multiples of 100"),),
    "star": (Lots(date(2019, 7, 22), 200, 1, "SSE STAR special trading rules: at least 200, then by 1"),),
    "beijing": (Lots(date(2021, 11, 15), 100, 1, "BSE trading rules: at least 100, then by 1"),),
}


def lots(board: str, day: date) -> Lots:
    """Order sizes in force for ``board`` on ``day``."""
    if board not in LOTS:
        raise ConventionError(f"{board!r} is no board; expected one of {', '.join(LOTS)}")
    return in_force(LOTS[board], day, f"lot size ({board})")


def round_lots(shares: float, board: str, day: date) -> int:
    """Largest order to buy of at most ``shares`` shares that the exchange takes; 0 if below the minimum."""
    rule = lots(board, day)
    whole = int(shares)
    if whole < rule.minimum:
        return 0
    return rule.minimum + (whole - rule.minimum) // rule.step * rule.step


@dataclass(frozen=True, slots=True)
class Settlement:
    """Sessions before shares bought may be sold."""

    effective_from: date
    sessions: int
    source: str


SETTLEMENT = (Settlement(date(1995, 1, 1), 1, "CSRC 1994: T+1 from 1995-01-01"),)


def settlement(day: date) -> int:
    """Sessions after the day of purchase on which shares may first be sold."""
    return in_force(SETTLEMENT, day, "settlement").sessions


@dataclass(frozen=True, slots=True)
class DividendTax:
    """Tax on cash dividends of a private holder by holding period, taken at the sale, first in first out."""

    effective_from: date
    up_to_a_month: float
    up_to_a_year: float
    longer: float
    source: str


DIVIDEND_TAX = (
    DividendTax(date(2005, 6, 13), 0.10, 0.10, 0.10, "Caishui [2005] 102: half of 20 % whatever the holding period"),
    DividendTax(date(2013, 1, 1), 0.20, 0.10, 0.05, "Caishui [2012] 85: by holding period"),
    DividendTax(date(2015, 9, 8), 0.20, 0.10, 0.0, "Caishui [2015] 101: none beyond a year"),
)


def dividend_tax(ex_day: date, bought_on: date, sold_on: date) -> float:
    """Tax rate (a fraction of the cash before tax) on a dividend with ``ex_day`` for shares bought and sold on the days given.

    A month (year) of holding ends on the same day of the next month (year), or on that month's last day.
    Raises :class:`ConventionError` if the sale precedes the purchase.
    """
    if sold_on < bought_on:
        raise ConventionError(f"sold on {sold_on}, before the purchase on {bought_on}")
    rule = in_force(DIVIDEND_TAX, ex_day, "dividend tax")
    month_end, year_end = holding_ends(bought_on)
    if sold_on <= month_end:
        return rule.up_to_a_month
    if sold_on <= year_end:
        return rule.up_to_a_year
    return rule.longer


def holding_ends(bought_on: date) -> tuple[date, date]:
    """Last days of sale on which shares bought that day were held for up to a month, and for up to a year."""
    return _months_after(bought_on, 1), _months_after(bought_on, 12)


def _months_after(day: date, months: int) -> date:
    """Same day of the month, ``months`` later, or that month's last day."""
    target = add_months(day, months)
    return target.replace(day=min(day.day, month_last_day(target).day))
