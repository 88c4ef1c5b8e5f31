"""The day loop: volatility recursions and the exchange's rules, compiled.

Prices are integers of 0.01 CNY inside the loop, so limits round half up exactly as the exchange's decimals do. The
price of a day is the last close times one plus the day's return, rounded: there is no hidden fair value behind it, so
neither rounding nor a limit hit leaves anything that a past return could foretell.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from rotation_pipeline.market.simulation.roster import Bools, Floats, Ints

_OVERNIGHT = 0.08
"""Share of a day's move that the open shows on average; SSE 50 names open 0.33 % from the last close in the median."""
_ONE_PRICE = 1.5
"""A return beyond this multiple of the limit leaves the whole day at the limit price."""


@njit(cache=True)
def volatility_path(shocks: Floats, state: Floats, arch: float, garch: float) -> Floats:
    """Unit-mean GARCH(1,1) scales (Bollerslev 1986): g ← 1 − a − b + a g e² + b g.

    ``shocks`` (nd, n) of unit variance, ``state`` (n,) moved to the month's end. Returns √g before each day, (nd, n).
    """
    nd, n = shocks.shape
    scale = np.empty((nd, n))
    for d in range(nd):
        for i in range(n):
            g = state[i]
            scale[d, i] = np.sqrt(g)
            state[i] = 1.0 - arch - garch + g * (arch * shocks[d, i] * shocks[d, i] + garch)
    return scale


@njit(cache=True)
def _half_up(price: float) -> int:
    """CNY to integer cents, half up."""
    return int(np.floor(price * 100.0 + 0.5))


@njit(cache=True)
def _limit(prev: int, basis_points: int) -> int:
    """Limit price in cents: prev × (1 + basis points / 10,000), half up."""
    return (prev * (10_000 + basis_points) + 5_000) // 10_000


@njit(cache=True)
def _close(prev: int, change: float, down: int, up: int) -> tuple[int, int, int, bool]:
    """Close, lowest and highest allowed price in cents, and whether the whole day trades at one limit price.

    ``down``, ``up``: limits in basis points, negative = none.
    """
    low = 1 if down < 0 else max(_limit(prev, -down), 1)
    high = 2_000_000_000 if up < 0 else max(_limit(prev, up), low)
    close = max(_half_up(prev / 100.0 * (1.0 + change)), 1)
    clipped = min(max(close, low), high)
    beyond = (change < 0.0 and down >= 0 and -change * 10_000 > _ONE_PRICE * down) or (
        change > 0.0 and up >= 0 and change * 10_000 > _ONE_PRICE * up
    )
    return clipped, low, high, beyond and clipped != close


@njit(cache=True)
def _path(prev: int, close: int, low: int, high: int, sigma: float, draws: Floats) -> tuple[int, int, int]:
    """Open, high and low in cents: extremes of a Brownian bridge from open to close.

    ``draws``: a normal and two uniforms in (0, 1].
    """
    move = np.log(close / prev)
    start = prev * np.exp(_OVERNIGHT * move + 0.22 * sigma * draws[0])
    first = min(max(int(np.floor(start + 0.5)), low), high)
    swing = np.log(close / first)
    inside = 0.72 * sigma * sigma
    top = 0.5 * (swing + np.sqrt(swing * swing - 2.0 * inside * np.log(draws[1])))
    bottom = 0.5 * (swing - np.sqrt(swing * swing - 2.0 * inside * np.log(draws[2])))
    highest = min(max(int(np.floor(first * np.exp(top) + 0.5)), first, close), high)
    lowest = max(min(int(np.floor(first * np.exp(bottom) + 0.5)), first, close), low)
    return first, highest, lowest


@njit(cache=True)
def index_path(before: float, level: float, sigma: float, draws: Floats, unit: float) -> tuple[float, float, float]:
    """Open, high and low of an index that moved from ``before`` to ``level``, in steps of 1 / ``unit``."""
    first, highest, lowest = _path(
        int(np.rint(before * unit)), int(np.rint(level * unit)), 1, 2_000_000_000_000, sigma, draws
    )
    return first / unit, highest / unit, lowest / unit


OPEN, HIGH, LOW, CLOSE, PREV, VOLUME, AMOUNT, ADJ, SHARES, FLOATING, CASH_TTM, RETURN = range(12)
LAST, FACTOR, TOTAL, TRADABLE, MISSED, CASH_NEW, CASH_OLD, EX_NEW, EX_OLD, DUE_CASH, DUE_BONUS, PAID = range(12)
"""Rows of the state: last close (CNY), adjustment factor, shares, tradable shares, return missed in a suspension, the
last two dividends per share with their ex-days (ordinals), distribution due per share, cash paid since the quarter's start."""


@njit(cache=True)
def _distribute(state: Floats, i: int, day: int) -> float:
    """Take the due distribution off the price: the exchange's previous close in CNY."""
    last, cash, bonus = state[LAST, i], state[DUE_CASH, i], state[DUE_BONUS, i]
    prev = max(_half_up((last - cash) / (1.0 + bonus)), 1) / 100.0
    state[PAID, i] += cash * state[TOTAL, i]
    state[FACTOR, i] *= last / prev
    state[CASH_OLD, i], state[EX_OLD, i] = state[CASH_NEW, i], state[EX_NEW, i]
    state[CASH_NEW, i], state[EX_NEW, i] = cash, day
    if bonus > 0.0:
        for row in (TOTAL, TRADABLE):
            state[row, i] = np.rint(state[row, i] * (1.0 + bonus))
        for row in (CASH_NEW, CASH_OLD):
            state[row, i] /= 1.0 + bonus
    state[DUE_CASH, i] = 0.0
    state[DUE_BONUS, i] = 0.0
    return prev


@njit(cache=True)
def _trailing_cash(state: Floats, i: int, day: int) -> float:
    """Cash per present share with an ex-day in the last 365 days."""
    cash = 0.0
    if state[EX_NEW, i] > day - 365:
        cash += state[CASH_NEW, i]
    if state[EX_OLD, i] > day - 365:
        cash += state[CASH_OLD, i]
    return cash


@njit(cache=True)
def trade_month(
    ordinals: Ints,
    listed: Bools,
    suspended: Bools,
    change: Floats,
    sigma: Floats,
    limits_down: Ints,
    limits_up: Ints,
    turnover: Floats,
    draws: Floats,
    plan: Ints,
    state: Floats,
    out: Floats,
    ex_cash: Floats,
    ex_bonus: Floats,
) -> None:
    """Trade one month, day after day, stock after stock.

    ``ordinals`` (nd,); ``listed``, ``suspended``, ``change`` (the day's return), ``sigma`` (its volatility), limits in
    basis points (negative = none), ``turnover`` (rate wanted), all (nd, n); ``draws`` (nd, n, 4): a normal, three
    uniforms; ``plan`` (n,): session a distribution is due from, negative = none; ``state`` (12, n) moved to the month's end.
    Fills ``out`` (12, nd, n) where listed, and ``ex_cash``, ``ex_bonus`` (nd, n) on ex-days, NaN elsewhere.
    """
    nd, n = change.shape
    for d in range(nd):
        for i in range(n):
            if not listed[d, i]:
                continue
            last = state[LAST, i]
            prev = last
            if suspended[d, i]:
                state[MISSED, i] = (1.0 + state[MISSED, i]) * (1.0 + change[d, i]) - 1.0
                for row in (OPEN, HIGH, LOW, CLOSE):
                    out[row, d, i] = last
                out[VOLUME, d, i] = 0.0
                out[AMOUNT, d, i] = 0.0
                out[RETURN, d, i] = np.nan
            else:
                if 0 <= plan[i] <= d:
                    ex_cash[d, i], ex_bonus[d, i] = state[DUE_CASH, i], state[DUE_BONUS, i]
                    prev = _distribute(state, i, ordinals[d])
                    plan[i] = -1
                move = (1.0 + state[MISSED, i]) * (1.0 + change[d, i]) - 1.0
                state[MISSED, i] = 0.0
                cents = _half_up(prev)
                close, low, high, one_price = _close(cents, move, limits_down[d, i], limits_up[d, i])
                first, highest, lowest = _path(cents, close, low, high, sigma[d, i], draws[d, i])
                rate = turnover[d, i]
                if one_price:
                    first, highest, lowest, rate = close, close, close, 0.1 * rate
                place = 0.1 + 0.8 * draws[d, i, 3]
                vwap = (0.25 * (first + close) + 0.5 * (lowest + (highest - lowest) * place)) / 100.0
                volume = max(np.floor(rate * state[TRADABLE, i] / 100.0) * 100.0, 100.0)
                out[OPEN, d, i], out[HIGH, d, i] = first / 100.0, highest / 100.0
                out[LOW, d, i], out[CLOSE, d, i] = lowest / 100.0, close / 100.0
                out[VOLUME, d, i] = volume
                out[AMOUNT, d, i] = np.rint(volume * vwap * 100.0) / 100.0
                out[RETURN, d, i] = close / cents - 1.0
                state[LAST, i] = close / 100.0
            out[PREV, d, i] = prev
            out[ADJ, d, i] = state[FACTOR, i]
            out[SHARES, d, i] = state[TOTAL, i]
            out[FLOATING, d, i] = state[TRADABLE, i]
            out[CASH_TTM, d, i] = _trailing_cash(state, i, ordinals[d])
