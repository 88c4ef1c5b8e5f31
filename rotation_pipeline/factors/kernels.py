"""Rolling factors at month ends, compiled: one pass over columns sorted by asset and session.

Rows are a security's **own trading days** only (suspended days are taken out before). A month end looks back on a
window of exchange sessions (504 by default) and ignores whatever lies before it, so a month computed alone, from that
much history, equals the same month of a backfill bit for bit: no sum is carried from one month end to the next, and
every window is added up in the same order whoever asks.

A security that does not trade at the month end keeps the value of its last own trading day inside the window.
Windows are counted back from that day.

Deviations are taken in two passes around the window's own mean: running sums lose 3–4e-5 on nearly constant prices.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
RSI_PERIOD = 14
VOLATILITY_WINDOW = 60


@njit(cache=True)
def spans_of_index(session: Ints, start: Ints, stop: Ints, index_return: Floats) -> Floats:
    """Index return over the span of each row's own return, shape (rows,).

    A stock's return on its resumption day spans the suspension, so its partner is the index compounded over the same
    sessions (previous own day, this day]. NaN for a security's first row and where an index return is missing.

    Args:
        session: number of each row's session, rising inside an asset, shape (rows,).
        start, stop: rows [start, stop) of each asset, shape (assets,).
        index_return: simple return of the index by session number, NaN if unknown, shape (sessions,).
    """
    out = np.full(session.size, np.nan)
    for asset in range(start.size):
        for row in range(start[asset] + 1, stop[asset]):
            before, now = session[row - 1], session[row]
            if now == before + 1:
                out[row] = index_return[now]
            else:
                level = 1.0
                for s in range(before + 1, now + 1):
                    level *= 1.0 + index_return[s]
                out[row] = level - 1.0
    return out


@njit(cache=True)
def _row_bounds(session: Ints, first: int, last: int, opens: Ints, closes: Ints) -> tuple[Ints, Ints]:
    """Rows [low, high) of one asset inside each window of sessions [opens, closes]; windows rise."""
    n = opens.size
    low, high = np.empty(n, np.int64), np.empty(n, np.int64)
    a, b = first, first
    for m in range(n):
        while a < last and session[a] < opens[m]:
            a += 1
        while b < last and session[b] <= closes[m]:
            b += 1
        low[m], high[m] = a, b
    return low, high


@njit(cache=True)
def _momentum(price: Floats, low: int, high: int, n: int, fewest: int) -> float:
    steps = min(n, high - low - 1)
    if steps < fewest or steps < 1:
        return np.nan
    return price[high - 1] / price[high - 1 - steps] - 1.0


@njit(cache=True)
def _deviation(ret: Floats, low: int, high: int, n: int, fewest: int) -> float:
    """Sample standard deviation of the last ``n`` own trading days' returns.

    The first row of the look-back is left out: its return began at a price that lies before.
    """
    begin = max(low + 1, high - n)
    count, total = 0, 0.0
    for row in range(begin, high):
        value = ret[row]
        if not np.isnan(value):
            total += value
            count += 1
    if count < fewest or count < 2:
        return np.nan
    centre = total / count
    total = 0.0
    for row in range(begin, high):
        value = ret[row]
        if not np.isnan(value):
            total += (value - centre) ** 2
    return math.sqrt(total / (count - 1))


@njit(cache=True)
def _slope(ret: Floats, index: Floats, low: int, high: int, n: int, fewest: int) -> float:
    """Least-squares slope of ``ret`` on ``index`` over the last ``n`` own trading days that have both."""
    begin = max(low + 1, high - n)
    count, sx, sy = 0, 0.0, 0.0
    for row in range(begin, high):
        x, y = index[row], ret[row]
        if not (np.isnan(x) or np.isnan(y)):
            sx += x
            sy += y
            count += 1
    if count < fewest:
        return np.nan
    mx, my = sx / count, sy / count
    sxx, sxy = 0.0, 0.0
    for row in range(begin, high):
        x, y = index[row], ret[row]
        if not (np.isnan(x) or np.isnan(y)):
            sxx += (x - mx) * (x - mx)
            sxy += (x - mx) * (y - my)
    return sxy / sxx if sxx > 0.0 else np.nan


@njit(cache=True)
def _wilder(price: Floats, low: Ints, high: Ints, wanted: NDArray[np.bool_], fewest: int, out: Floats) -> None:
    """Wilder's RSI of one asset at every month end, each seeded inside its own window.

    All windows that are open at a row advance together: the recursion of one window is a chain of dependent
    operations, those of two dozen windows run side by side in vector registers.
    """
    months = low.size
    up, down = np.zeros(months), np.zeros(months)
    keep, take = (RSI_PERIOD - 1.0) / RSI_PERIOD, 1.0 / RSI_PERIOD
    opened = closed = 0
    for row in range(low[0] + 1, high[months - 1]):
        while closed < months and high[closed] <= row:
            closed += 1
        # a window is seeded at its 14th change: row == low + 14
        while opened < months and low[opened] + RSI_PERIOD < row:
            opened += 1
        change = price[row] - price[row - 1]
        gain, loss = max(change, 0.0), max(-change, 0.0)
        for m in range(closed, opened):
            up[m] = up[m] * keep + gain * take
            down[m] = down[m] * keep + loss * take
        m = opened
        while m < months and low[m] + RSI_PERIOD == row:
            if high[m] > row:
                _seed(price, row, RSI_PERIOD, m, up, down)
            m += 1
    for m in range(months):
        changes = high[m] - low[m] - 1
        if not wanted[m] or changes < fewest or changes < 1:
            continue
        if changes < RSI_PERIOD:
            _seed(price, high[m] - 1, changes, m, up, down)
        total = up[m] + down[m]
        if total > 0.0:
            out[m] = 100.0 * up[m] / total


@njit(cache=True)
def _seed(price: Floats, row: int, n: int, m: int, up: Floats, down: Floats) -> None:
    """Simple means of the gains and losses of the ``n`` changes that end at ``row``."""
    gains = losses = 0.0
    for r in range(row - n + 1, row + 1):
        change = price[r] - price[r - 1]
        gains += max(change, 0.0)
        losses += max(-change, 0.0)
    up[m], down[m] = gains / n, losses / n


@njit(cache=True)
def month_end_factors(
    session: Ints,
    start: Ints,
    stop: Ints,
    price: Floats,
    ret: Floats,
    index: Floats,
    opens: Ints,
    closes: Ints,
    wanted: NDArray[np.bool_],
    share: float,
    beta_window: int,
    beta_fewest: int,
    annual: float,
) -> Floats:
    """mom_20, mom_120, rsi_14, volatility_60, beta_252 of every asset at every month end.

    Args:
        session, price, ret, index: rows of own trading days sorted by asset and session: session number, adjusted
            close (CNY × factor), daily return (fraction, NaN if unknown), index return over the same span.
        start, stop: rows [start, stop) of each asset, shape (assets,).
        opens, closes: first and last session number of each month's window, rising, shape (months,).
        wanted: which (asset, month) to compute, shape (assets, months).
        share: least share of a window that must be there (fraction); for momentum and RSI that of its changes, the
            oldest price there standing in for the window's start.
        beta_window, beta_fewest: pairs used at most and needed at least.
        annual: √(trading days per year).

    Returns:
        shape (5, assets, months); NaN where the window is too short or the value undefined (RSI without any change,
        beta on a constant index).

    RSI is seeded with the mean of the first 14 changes in the window (Wilder 1978). Against a seed at the beginning
    of time this differs by at most 100 × (13/14)^(changes after the seed): 2e-14 points for a full window of 504
    sessions, 4e-6 for a year of prices.
    """
    out = np.full((5, start.size, opens.size), np.nan)
    few20, few120 = math.ceil(share * 20 - 1e-9), math.ceil(share * 120 - 1e-9)
    few14, few60 = math.ceil(share * RSI_PERIOD - 1e-9), math.ceil(share * VOLATILITY_WINDOW - 1e-9)
    for asset in range(start.size):
        if start[asset] == stop[asset] or not wanted[asset].any():
            continue
        low, high = _row_bounds(session, start[asset], stop[asset], opens, closes)
        _wilder(price, low, high, wanted[asset], few14, out[2, asset])
        for m in range(opens.size):
            if not wanted[asset, m]:
                continue
            a, b = low[m], high[m]
            out[0, asset, m] = _momentum(price, a, b, 20, few20)
            out[1, asset, m] = _momentum(price, a, b, 120, few120)
            out[3, asset, m] = annual * _deviation(ret, a, b, VOLATILITY_WINDOW, few60)
            out[4, asset, m] = _slope(ret, index, a, b, beta_window, beta_fewest)
    return out
