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
def _known(first: int, last: int, a: Floats, b: Floats) -> tuple[Ints, Floats, Floats]:
    """Rows [first, last) where both are known, packed; and how many lie before each row, shape (last − first + 1,)."""
    before = np.empty(last - first + 1, np.int64)
    x, y = np.empty(last - first), np.empty(last - first)
    count = 0
    for row in range(first, last):
        before[row - first] = count
        if not (np.isnan(a[row]) or np.isnan(b[row])):
            x[count], y[count] = a[row], b[row]
            count += 1
    before[last - first] = count
    return before, x, y


@njit(cache=True)
def _means(a: Floats, b: Floats) -> tuple[float, float]:
    """Means of two windows of one length, four sums side by side from the windows' own start."""
    s0 = s1 = s2 = s3 = t0 = t1 = t2 = t3 = 0.0
    full = a.size // 4
    for k in range(full):
        i = 4 * k
        s0, s1, s2, s3 = s0 + a[i], s1 + a[i + 1], s2 + a[i + 2], s3 + a[i + 3]
        t0, t1, t2, t3 = t0 + b[i], t1 + b[i + 1], t2 + b[i + 2], t3 + b[i + 3]
    for i in range(4 * full, a.size):
        s0, t0 = s0 + a[i], t0 + b[i]
    return ((s0 + s1) + (s2 + s3)) / a.size, ((t0 + t1) + (t2 + t3)) / a.size


@njit(cache=True)
def _products(a: Floats, b: Floats) -> tuple[float, float]:
    """Σ (a − ā)² and Σ (a − ā)(b − b̄) in a second pass, four sums side by side."""
    ma, mb = _means(a, b)
    s0 = s1 = s2 = s3 = t0 = t1 = t2 = t3 = 0.0
    full = a.size // 4
    for k in range(full):
        i = 4 * k
        d0, d1, d2, d3 = a[i] - ma, a[i + 1] - ma, a[i + 2] - ma, a[i + 3] - ma
        s0, s1, s2, s3 = s0 + d0 * d0, s1 + d1 * d1, s2 + d2 * d2, s3 + d3 * d3
        t0, t1 = t0 + d0 * (b[i] - mb), t1 + d1 * (b[i + 1] - mb)
        t2, t3 = t2 + d2 * (b[i + 2] - mb), t3 + d3 * (b[i + 3] - mb)
    for i in range(4 * full, a.size):
        d0 = a[i] - ma
        s0, t0 = s0 + d0 * d0, t0 + d0 * (b[i] - mb)
    return (s0 + s1) + (s2 + s3), (t0 + t1) + (t2 + t3)


@njit(cache=True)
def _deviation(x: Floats, fewest: int) -> float:
    """Sample standard deviation of a window."""
    if x.size < max(fewest, 2):
        return np.nan
    return math.sqrt(_products(x, x)[0] / (x.size - 1))


@njit(cache=True)
def _slope(x: Floats, y: Floats, fewest: int) -> float:
    """Least-squares slope of y on x over a window."""
    if x.size < fewest:
        return np.nan
    sxx, sxy = _products(x, y)
    return sxy / sxx if sxx > 0.0 else np.nan


@njit(cache=True)
def _averages(price: Floats, first: int, last: int, up: float, down: float) -> tuple[float, float]:
    """Wilder's averages carried over the changes that end at rows [first, last)."""
    keep, take = (RSI_PERIOD - 1.0) / RSI_PERIOD, 1.0 / RSI_PERIOD
    for row in range(first, last):
        change = price[row] - price[row - 1]
        up = up * keep + max(change, 0.0) * take
        down = down * keep + max(-change, 0.0) * take
    return up, down


@njit(cache=True)
def _seed(price: Floats, row: int, n: int) -> tuple[float, float]:
    """Simple means of the gains and losses of the ``n`` changes that end at ``row``."""
    gains = losses = 0.0
    for r in range(row - n + 1, row + 1):
        change = price[r] - price[r - 1]
        gains += max(change, 0.0)
        losses += max(-change, 0.0)
    return gains / n, losses / n


@njit(cache=True)
def _relative_strength(
    price: Floats, low: Ints, high: Ints, ends: Ints, block: Ints, wanted: NDArray[np.bool_], fewest: int, out: Floats
) -> None:
    """Wilder's RSI of one asset at every month end, each seeded inside its own window.

    The averages are linear in their start, so a calendar month's changes act on them as one step
    average ← average × decay + sum. Those steps are computed once, from the month's own rows, and every window takes
    its seed's month change by change and the later months step by step.

    Args:
        low, high: rows of each window. ends: last row + 1 of each calendar month. block: calendar month of each window.
    """
    first = low[0]
    months = ends.size
    decay, up_sum, down_sum = np.empty(months), np.empty(months), np.empty(months)
    begin = first
    for b in range(months):
        finish = max(ends[b], begin)
        up_sum[b], down_sum[b] = _averages(price, max(begin, first + 1), finish, 0.0, 0.0)
        decay[b] = ((RSI_PERIOD - 1.0) / RSI_PERIOD) ** float(finish - begin)
        begin = finish
    at = 0
    for m in range(low.size):
        changes = high[m] - low[m] - 1
        if not wanted[m] or changes < fewest or changes < 1:
            continue
        row = low[m] + min(RSI_PERIOD, changes)
        up, down = _seed(price, row, row - low[m])
        while ends[at] <= row:
            at += 1
        up, down = _averages(price, row + 1, ends[at], up, down)
        for b in range(at + 1, block[m] + 1):
            up = up * decay[b] + up_sum[b]
            down = down * decay[b] + down_sum[b]
        if up + down > 0.0:
            out[m] = 100.0 * up / (up + down)


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
    calendar: Ints,
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
        calendar: last session number of every calendar month, those not asked for included, rising.
        wanted: which (asset, month) to compute, shape (assets, months).
        share: least share of a window that must be there (fraction); for momentum and RSI that of its changes, the
            oldest price there standing in for the window's start.
        beta_window, beta_fewest: pairs used at most and needed at least.
        annual: √(trading days per year).

    Returns:
        shape (5, assets, months); NaN where the window is too short or the value undefined (RSI without any change,
        beta on a constant index). The first own day of a window gives a price but no return: that one began outside.

    RSI is seeded with the mean of the first 14 changes in the window (Wilder 1978). Against a seed at the beginning
    of time this differs by at most 100 × (13/14)^(changes after the seed): 2e-14 points for a full window of 504
    sessions, 4e-6 for a year of prices.
    """
    out = np.full((5, start.size, opens.size), np.nan)
    few20, few120 = math.ceil(share * 20 - 1e-9), math.ceil(share * 120 - 1e-9)
    few14, few60 = math.ceil(share * RSI_PERIOD - 1e-9), math.ceil(share * VOLATILITY_WINDOW - 1e-9)
    block = np.searchsorted(calendar, closes)
    whole = np.zeros(calendar.size, np.int64)
    for asset in range(start.size):
        first, last = start[asset], stop[asset]
        if first == last or not wanted[asset].any():
            continue
        low, high = _row_bounds(session, first, last, opens, closes)
        _, ends = _row_bounds(session, first, last, whole, calendar)
        _relative_strength(price, low, high, ends, block, wanted[asset], few14, out[2, asset])
        own, r, _ = _known(first, last, ret, ret)
        both, x, y = _known(first, last, index, ret)
        for m in range(opens.size):
            if not wanted[asset, m] or low[m] == high[m]:
                continue
            a, b = low[m], high[m]
            inner = a + 1 - first
            end = b - first
            out[0, asset, m] = _momentum(price, a, b, 20, few20)
            out[1, asset, m] = _momentum(price, a, b, 120, few120)
            latest = r[own[max(inner, end - VOLATILITY_WINDOW)] : own[end]]
            out[3, asset, m] = annual * _deviation(latest, few60)
            pairs = slice(both[max(inner, end - beta_window)], both[end])
            out[4, asset, m] = _slope(x[pairs], y[pairs], beta_fewest)
    return out
