"""Rolling factors at month ends, compiled: one pass over columns sorted by asset and session.

Rows are a security's **own trading days** only (suspended days are taken out before). A month end looks back on a
window of exchange sessions (504 by default) and ignores whatever lies before it, so a month computed alone, from that
much history, equals the same month of a backfill bit for bit: no sum is carried from one month end to the next, and
every window is added up in the same order whoever asks.

A security that does not trade at the month end keeps the value of its last own trading day inside the window.
Windows are counted back from that day.

Deviations are taken in two passes around the window's own mean: running sums lose 3–4e-5 on nearly constant prices.
A stock that traded on every session of its beta window shares the index's deviations with all others; the rest pair
each own day with the index over the same span.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from rotation_pipeline.factors import lanes

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Sessions = NDArray[np.int32]
RSI_PERIOD = 14
VOLATILITY_WINDOW = 60
_MONTH = 24
"""Changes a calendar month's block has room for: no month has more sessions than 23."""
_SEED = 40
"""Changes the first block of a window has room for: the seed's and those of the rest of its month."""
LEAD = 48
"""Rows of numbers before each security's, so that a block that is filled from the right may begin before them."""
_BLOCKS = 28
"""Calendar months a window of whole months is added up over at once."""


@njit(cache=True)
def _fill_spans(session: Sessions, begin: int, end: int, index_return: Floats, origin: int, out: Floats) -> None:
    """Index return over the span of each own return of rows [begin, end), row r to out[r − origin]; none is the asset's
    first."""
    before = session[begin - 1]
    for row in range(begin, end):
        now = session[row]
        if now == before + 1:
            out[row - origin] = index_return[now]
        else:
            level = 1.0
            for s in range(before + 1, now + 1):
                level *= 1.0 + index_return[s]
            out[row - origin] = level - 1.0
        before = now


@njit(cache=True)
def spans_of_index(session: Sessions, first: int, last: int, index_return: Floats) -> Floats:
    """Index return over the span of each own return of one asset's rows [first, last), shape (last − first,).

    A stock's return on its resumption day spans the suspension, so its partner is the index compounded over the same
    sessions (previous own day, this day]. NaN for the first row and where an index return is missing.

    Args:
        session: number of each row's session, rising inside an asset, shape (rows,).
        index_return: simple return of the index by session number, NaN if unknown, shape (sessions,).
    """
    out = np.full(last - first, np.nan)
    if last > first:
        _fill_spans(session, first + 1, last, index_return, first, out)
    return out


@njit(cache=True)
def _place(session: Sessions, first: int, last: int, guess: int, wanted: int) -> int:
    """First row of [first, last) whose session is ``wanted`` or later, looked for from a good guess."""
    row = min(max(guess, first), last)
    while row > first and session[row - 1] >= wanted:
        row -= 1
    while row < last and session[row] < wanted:
        row += 1
    return row


@njit(cache=True)
def trading(session: Sessions, start: Ints, stop: Ints, wanted: Ints) -> NDArray[np.bool_]:
    """Whether some asset has a row of each wanted session, shape (wanted,)."""
    out = np.zeros(wanted.size, np.bool_)
    for asset in range(start.size):
        row = start[asset]
        for m in range(wanted.size):
            if not out[m]:
                row = _place(session, start[asset], stop[asset], row, wanted[m])
                out[m] = row < stop[asset] and session[row] == wanted[m]
    return out


@njit(cache=True)
def _runs(session: Sessions, first: int, last: int, out: Ints) -> int:
    """First row of each run of consecutive sessions in rows [first, last), at least one; how many runs."""
    out[0], count, row = first, 1, first
    while row < last - 1:
        far = min(row + 64, last - 1)
        if session[far] - session[row] != far - row:
            near = row  # follows on from row; far does not
            while far - near > 1:
                middle = (near + far) // 2
                if session[middle] - session[row] == middle - row:
                    near = middle
                else:
                    far = middle
            out[count] = far
            count += 1
        row = far
    return count


@njit(cache=True)
def _row_bounds(session: Sessions, runs: Ints, last: int, bounds: Ints, out: Ints) -> None:
    """First row at or after each of the rising session numbers ``bounds``, of an asset with these runs."""
    k, row = 0, runs[0]
    base, end = session[row], runs[1] if runs.size > 1 else last
    for m in range(bounds.size):
        at = row + bounds[m] - base
        while at >= end and end < last:
            k += 1
            row = runs[k]
            base, end = session[row], runs[k + 1] if k + 1 < runs.size else last
            at = row + bounds[m] - base
        out[m] = min(max(at, row), end)


@njit(cache=True)
def _pack(a: Floats, b: Floats, begin: int, end: int, x: Floats, y: Floats) -> int:
    """Entries [begin, end) where both are known to the front of ``x`` and ``y``; how many."""
    count = 0
    for i in range(begin, end):
        if not (np.isnan(a[i]) or np.isnan(b[i])):
            x[count], y[count] = a[i], b[i]
            count += 1
    return count


@njit(cache=True)
def _deviation(x: int, n: int) -> float:
    """Sample standard deviation of n numbers from address x on, at least 2; NaN if one of them is."""
    return math.sqrt(lanes.squares(x, n, lanes.total(x, n) / n) / (n - 1))


@njit(cache=True)
def _slope(x: int, y: int, n: int) -> float:
    """Least-squares slope of n numbers from address y on, on those from x on; NaN if one of them is.

    Σ (x − x̄) y needs no mean of y: the deviations of x add up to nothing.
    """
    sxx, sxy = lanes.products(x, y, n, lanes.total(x, n) / n)
    return sxy / sxx if sxx > 0.0 else np.nan


@njit(cache=True)
def _index_windows(index_return: Floats, closes: Ints, n: int) -> tuple[Floats, Floats]:
    """Deviations of the ``n`` index returns up to each month end from their mean, one month after the other, and the
    sums of their squares; the latter NaN where there are not so many or one is unknown."""
    out, squares = np.zeros(closes.size * n), np.full(closes.size, np.nan)
    for m in range(closes.size):
        start = closes[m] + 1 - n
        if start < 0:
            continue
        centre = lanes.total(lanes.address(index_return, start), n) / n
        for i in range(n):
            out[m * n + i] = index_return[start + i] - centre
        squares[m] = lanes.dot(lanes.address(out, m * n), lanes.address(out, m * n), n)
    return out, squares


# ---------------------------------------------------------------------- Wilder's averages


@njit(cache=True)
def _weights(n: int) -> tuple[Floats, Floats, Floats]:
    """Share of Wilder's average left after 0 … n−1 changes; weights of the changes of a block of k (row k), and of a
    window's first block: 14 changes of the seed and the k of the rest of its month. Blocks are filled from the right;
    what they hold beyond their changes has no weight. A last row of equal weights follows.
    """
    left = np.empty(n)
    left[0] = 1.0
    for k in range(1, n):
        left[k] = left[k - 1] * ((RSI_PERIOD - 1.0) / RSI_PERIOD)
    block, seed = np.zeros((_MONTH, _MONTH)), np.zeros((_MONTH + 1, _SEED))
    for k in range(_MONTH):
        for i in range(k):
            block[k, _MONTH - 1 - i] = left[i] / RSI_PERIOD
            seed[k, _SEED - 1 - i] = left[i] / RSI_PERIOD
        for i in range(RSI_PERIOD):
            seed[k, _SEED - 1 - k - i] = left[k] / RSI_PERIOD
    seed[_MONTH] = 1.0
    return left, block.ravel(), seed.ravel()


@njit(cache=True)
def _month_changes(price: Floats, first: int, ends: Ints, weight: Floats, up: Floats, moved: Floats) -> None:
    """What each calendar month's changes add to Wilder's averages of gains and of absolute changes."""
    begin = first + 1
    for b in range(ends.size):
        n = ends[b] - begin
        up[_BLOCKS + b], moved[_BLOCKS + b] = 0.0, 0.0
        if n > 0:
            up[_BLOCKS + b], moved[_BLOCKS + b] = lanes.rises(
                lanes.address(price, ends[b] - _MONTH), lanes.address(weight, n * _MONTH), _MONTH
            )
            begin = ends[b]


@njit(cache=True)
def _shares(left: Floats, opens: Ints, closes: Ints, calendar: Ints, block: Ints) -> tuple[Floats, Ints]:
    """For windows traded on every session: share left at the end of each of the last _BLOCKS calendar months' changes,
    0 up to the month the seed ends in; and that month, −1 where there are more months than that."""
    out, seeds = np.zeros(opens.size * _BLOCKS), np.full(opens.size, -1)
    for m in range(opens.size):
        seed = np.searchsorted(calendar, opens[m] + RSI_PERIOD)
        if seed < block[m] and block[m] - seed <= _BLOCKS:
            seeds[m] = seed
            for b in range(seed + 1, block[m] + 1):
                out[m * _BLOCKS + _BLOCKS - 1 - block[m] + b] = left[closes[m] - calendar[b]]
    return out, seeds


@njit(cache=True)
def _momentum_and_strength(
    price: Floats, low: Ints, high: Ints, ends: Ints, block: Ints, span: Ints, slot: Sessions, share: float,
    up: Floats, moved: Floats, left: Floats, weight: Floats, shares: Floats, whole_seed: Ints,
    mom_20: Floats, mom_120: Floats, rsi: Floats,
) -> None:  # fmt: skip
    """mom_20, mom_120 and Wilder's RSI of one asset.

    RSI is seeded with the mean of the first changes of the window. The averages are linear in their start: each month's
    changes count with the share left of them at the end, the seed and the rest of its month likewise. Months between
    come ready made from :func:`_month_changes`, weighted by :func:`_shares` where the window traded on every session.

    Args:
        ends: first row after each calendar month. block: calendar month of each window's end. span: sessions between a
            window's first and last.
    """
    few20, few120 = max(math.ceil(share * 20 - 1e-9), 1), max(math.ceil(share * 120 - 1e-9), 1)
    few14 = max(math.ceil(share * RSI_PERIOD - 1e-9), 1)
    seed = 0
    for m in range(low.size):
        a, b, k = low[m], high[m], slot[m]
        changes = b - a - 1
        if k < 0 or changes < few14:
            continue
        if changes >= few20:
            mom_20[k] = price[b - 1] / price[b - 1 - min(20, changes)] - 1.0
        if changes >= few120:
            mom_120[k] = price[b - 1] / price[b - 1 - min(120, changes)] - 1.0
        while ends[seed] <= a + min(RSI_PERIOD, changes):
            seed += 1
        if changes < RSI_PERIOD:
            # the last row of the table: equal weights
            gains, absolute = lanes.rises(
                lanes.address(price, b - changes), lanes.address(weight, _MONTH * _SEED), changes
            )
        else:
            rest = ends[seed] - (a + 1 + RSI_PERIOD)
            gains, absolute = lanes.rises(
                lanes.address(price, ends[seed] - _SEED), lanes.address(weight, rest * _SEED), _SEED
            )
            keep = left[b - ends[seed]]
            gains, absolute = gains * keep, absolute * keep
            if changes == span[m] and whole_seed[m] == seed:
                at = lanes.address(shares, m * _BLOCKS)
                risen, moves = lanes.dots(
                    lanes.address(up, block[m] + 1), lanes.address(moved, block[m] + 1), at, _BLOCKS
                )
                gains, absolute = gains + risen, absolute + moves
            else:
                for c in range(seed + 1, block[m] + 1):
                    keep = left[b - ends[c]]
                    gains, absolute = gains + up[_BLOCKS + c] * keep, absolute + moved[_BLOCKS + c] * keep
        rsi[k] = 100.0 * gains / absolute if absolute > 0.0 else np.nan


# ---------------------------------------------------------------------- volatility and beta


@njit(cache=True)
def _volatility(ret: Floats, low: Ints, high: Ints, slot: Sessions, few: int, annual: float, out: Floats) -> None:
    """volatility_60 of one asset; unknown returns are left out."""
    known = np.empty(VOLATILITY_WINDOW)
    for m in range(low.size):
        b, changes = high[m], high[m] - low[m] - 1
        if slot[m] < 0 or changes < few:
            continue
        if changes >= VOLATILITY_WINDOW:
            risk = _deviation(lanes.address(ret, b - VOLATILITY_WINDOW), VOLATILITY_WINDOW)
        else:
            risk = _deviation(lanes.address(ret, b - changes), changes)
        if np.isnan(risk):
            n = _pack(ret, ret, b - min(changes, VOLATILITY_WINDOW), b, known, known)
            risk = _deviation(lanes.address(known, 0), n) if n >= few else np.nan
        out[slot[m]] = annual * risk


@njit(cache=True)
def _slope_of_known(x: Floats, y: Floats, fewest: int) -> float:
    """Slope over the pairs both of which are known."""
    p, q = np.empty(x.size), np.empty(x.size)
    n = _pack(x, y, 0, x.size, p, q)
    return _slope(lanes.address(p, 0), lanes.address(q, 0), n) if n >= fewest else np.nan


@njit(cache=True)
def _beta(
    session: Sessions, ret: Floats, index_return: Floats, low: Ints, high: Ints, closes: Ints, slot: Sessions, window: int,
    fewest: int, deviations: Floats, squares: Floats, spans: Floats, out: Floats,
) -> None:  # fmt: skip
    """beta_252 of one asset: over a window with gaps each return has the index over its own span for a partner.

    Args:
        spans: room for an index return to each of its rows, filled as far as windows need them.
    """
    first, filled = low[0], low[0]
    for m in range(low.size):
        b = high[m]
        n = min(window, b - low[m] - 1)
        if slot[m] < 0 or n < fewest:
            continue
        last = session[b - 1]
        unbroken, slope = last - session[b - 1 - n] == n, np.nan
        if unbroken and n == window and last == closes[m] and squares[m] > 0.0:
            # traded on every session up to the month end: the index's deviations are the same for all such
            slope = lanes.dot(lanes.address(deviations, m * n), lanes.address(ret, b - n), n) / squares[m]
        elif unbroken:
            slope = _slope(lanes.address(index_return, last + 1 - n), lanes.address(ret, b - n), n)
        if np.isnan(slope):
            _fill_spans(session, max(filled, b - n), b, index_return, first, spans)
            filled = b
            slope = _slope(lanes.address(spans, b - n - first), lanes.address(ret, b - n), n)
            if np.isnan(slope):
                slope = _slope_of_known(spans[b - n - first : b - first], ret[b - n : b], fewest)
        out[slot[m]] = slope


@njit(cache=True)
def month_end_factors(
    session: Sessions,
    start: Ints,
    stop: Ints,
    price: Floats,
    ret: Floats,
    index_return: Floats,
    opens: Ints,
    closes: Ints,
    calendar: Ints,
    slot: Sessions,
    rows: int,
    share: float,
    beta_window: int,
    beta_fewest: int,
    annual: float,
) -> Floats:
    """mom_20, mom_120, rsi_14, volatility_60, beta_252 of every asset at every month end.

    Args:
        session, price, ret: rows of own trading days sorted by asset and session: session number, adjusted
            close (CNY × factor), daily return (fraction, NaN if unknown).
        start, stop: rows [start, stop) of each asset, shape (assets,); before each lie LEAD rows of numbers.
        index_return: return of the index by session number, NaN if unknown, shape (sessions,).
        opens, closes: first and last session number of each month's window, rising, shape (months,).
        calendar: last session number of every calendar month, those not asked for included, rising.
        slot: where to put the values of each (asset, month), −1 where none are wanted, shape (assets, months).
        rows: number of places.
        share: least share of a window that must be there (fraction); for momentum and RSI that of its changes, the
            oldest price there standing in for the window's start.
        beta_window, beta_fewest: pairs used at most and needed at least.
        annual: √(trading days per year).

    Returns:
        shape (5, rows); NaN where the window is too short or the value undefined (RSI without any change, beta on a
        constant index). The first own day of a window gives a price but no return: that one began outside.

    RSI is seeded with the mean of the first 14 changes in the window (Wilder 1978). Against a seed at the beginning
    of time this differs by at most 100 × (13/14)^(changes after the seed): 2e-14 points for a full window of 504
    sessions, 4e-6 for a year of prices.
    """
    out = np.full((5, rows), np.nan)
    few60 = max(math.ceil(share * VOLATILITY_WINDOW - 1e-9), 2)
    block, span, after = np.searchsorted(calendar, closes), closes - opens, calendar + 1
    deviations, squares = _index_windows(index_return, closes, beta_window)
    left, month_weight, seed_weight = _weights(index_return.size + 1)
    shares, whole_seed = _shares(left, opens, closes, calendar, block)
    up, moved = np.zeros(_BLOCKS + calendar.size), np.zeros(_BLOCKS + calendar.size)
    ends, low, high = np.empty(calendar.size, np.int64), np.empty(opens.size, np.int64), np.empty(opens.size, np.int64)
    most = max((stop - start).max(), 1) if start.size else 1
    runs, spans = np.empty(most, np.int64), np.empty(most)
    for asset in range(start.size):
        first, last, own = start[asset], stop[asset], slot[asset]
        if first == last:
            continue
        found = runs[: _runs(session, first, last, runs)]
        _row_bounds(session, found, last, after, ends)
        _row_bounds(session, found, last, opens, low)
        for m in range(opens.size):
            high[m] = ends[block[m]]
        _month_changes(price, first, ends, month_weight, up, moved)
        _momentum_and_strength(
            price, low, high, ends, block, span, own, share, up, moved, left, seed_weight, shares, whole_seed, out[0], out[1], out[2]
        )  # fmt: skip
        _volatility(ret, low, high, own, few60, annual, out[3])
        _beta(
            session, ret, index_return, low, high, closes, own, beta_window, beta_fewest, deviations, squares, spans, out[4]
        )  # fmt: skip
    return out
