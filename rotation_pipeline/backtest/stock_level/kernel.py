"""One book over consecutive sessions, in compiled integer arithmetic.

Units: money fen (0.01 CNY); prices and rights 0.0001 CNY per share; dividends 0.000001 CNY per share; bonus shares
0.000001 per share held; rates 1e-8 (commission, stamp duty, transfer fee, slippage), 1e-6 (lending), 1e-4 (recovery),
tax rates whole percent. Every amount is rounded half up to the fen where it arises. No sum overflows 64 bits while a
position is below 1e9 shares and 1e11 CNY.

Within a session: corporate actions and delistings before the open, then the orders in the sequence given, then the close.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

BUY, SELL, SHORT, COVER = 0, 1, 2, 3
SIDES = ("buy", "sell", "short", "cover")
OPEN_FOR_TRADE, SUSPENDED, NO_BAR, DELISTED = 0, 1, 2, 3
REASONS = (
    "filled", "suspended", "no_bar", "delisted", "limit_up", "limit_down", "t_plus_1", "participation", "cash", "odd_lot", "no_shares",
)  # fmt: skip
"""Why an order was not (wholly) done, by code; the first four beyond ``filled`` are the states of a stock's day."""
_LIMIT_UP, _LIMIT_DOWN, _T1, _PARTICIPATION, _CASH, _ODD_LOT, _NO_SHARES = 4, 5, 6, 7, 8, 9, 10

LEDGER = (
    "cash", "long_value", "short_value", "bought", "sold", "commission", "stamp_duty", "transfer_fee", "slippage", "dividends",
    "dividends_paid", "other_rights", "delisted", "dividend_tax", "lending_fee", "profit",
)  # fmt: skip
"""Columns of the daily ledger, fen. ``profit`` is gross of fees and taxes and counted position by position."""
(
    CASH, LONG_VALUE, SHORT_VALUE, BOUGHT, SOLD, COMMISSION, STAMP, TRANSFER, SLIPPAGE, DIVIDENDS,
    DIVIDENDS_PAID, RIGHTS, GONE, TAX, LENDING, PROFIT,
) = range(len(LEDGER))  # fmt: skip
FILLS = (
    "order", "session", "requested", "filled", "price", "amount", "commission", "stamp_duty", "transfer_fee", "slippage",
    "dividend_tax", "reason",
)  # fmt: skip
"""Columns of the fills: one row per order and session it was tried; order −1−a is the end of delisted asset a."""
_LONG, _SHORT, _SELLABLE, _USED, _VALUE, _FLOW = 0, 1, 2, 3, 4, 5


class Market(NamedTuple):
    """D sessions × A assets: what the market allowed."""

    price: Ints
    """Price of execution; 0 where there is none."""
    close: Ints
    """Closing price, the last one known where there is no bar."""
    capacity: Ints
    """Shares one book may trade that day."""
    state: Ints
    """OPEN_FOR_TRADE, SUSPENDED, NO_BAR or DELISTED."""
    at_up: Flags
    at_down: Flags
    """Nothing can be bought (sold) at the price of execution."""
    dividend: Ints
    bonus: Ints
    rights: Ints
    """What the exchange's previous close says was detached beyond recorded dividends, settled in cash."""


class Terms(NamedTuple):
    """What the date and the listing say about costs and sizes: D sessions, A assets."""

    day: Ints
    """(D,) days since 1970-01-01."""
    gap: Ints
    """(D,) calendar days since the session before."""
    month_end: Ints
    """(D,) last day on which shares bought that session are held for up to a month."""
    year_end: Ints
    tax: Ints
    """(D, 3) tax in percent on a dividend of that ex-day: held up to a month, up to a year, longer."""
    commission: Ints
    commission_minimum: Ints
    stamp_buy: Ints
    stamp_sell: Ints
    transfer: Ints
    transfer_share: Ints
    """(D, 3) by exchange."""
    exchange: Ints
    """(A,) 0 Beijing, 1 Shanghai, 2 Shenzhen."""
    lot_minimum: Ints
    lot_step: Ints
    """(A,) size of a buy order."""
    slippage: int
    lending: int
    recovery: int


class Lots(NamedTuple):
    """Shares by day of purchase, oldest first: (A, L) and where the first and the next free one stand, (A,)."""

    day: Ints
    month_end: Ints
    year_end: Ints
    shares: Ints
    tax: Ints
    """(A, L, 3) tax due at the sale, 1e-8 CNY per share, by holding period."""
    first: Ints
    free: Ints


class Orders(NamedTuple):
    """N orders sorted by their first session; within a session they are tried in this sequence."""

    asset: Ints
    side: Ints
    shares: Ints
    """What is left to do; counts down."""
    first: Ints
    last: Ints
    """Sessions between which the order is tried."""


@njit(cache=True)
def half_up(value: int, unit: int) -> int:
    """``value`` ≥ 0 in units of ``unit``, halves rounded up."""
    return (2 * value + unit) // (2 * unit)


@njit(cache=True)
def signed_half_up(value: int, unit: int) -> int:
    """The same for either sign, halves away from zero."""
    return half_up(value, unit) if value >= 0 else -half_up(-value, unit)


@njit(cache=True)
def lots_to_buy(shares: int, minimum: int, step: int) -> int:
    """Largest order to buy of at most ``shares``."""
    if shares < minimum:
        return 0
    return minimum + (shares - minimum) // step * step


@njit(cache=True)
def lots_to_sell(shares: int, held: int, minimum: int, step: int) -> int:
    """Largest order to sell of at most ``shares``: an odd rest goes only with the whole position."""
    if shares >= held:
        return held
    return lots_to_buy(shares, minimum, step)


@njit(cache=True)
def trade_costs(
    terms: Terms, session: int, asset: int, shares: int, amount: int, is_sale: bool
) -> tuple[int, int, int, int]:
    """Commission, stamp duty, transfer fee and slippage of one trade."""
    commission = max(half_up(amount * terms.commission[session], 10**8), terms.commission_minimum[session])
    stamp = half_up(amount * (terms.stamp_sell[session] if is_sale else terms.stamp_buy[session]), 10**8)
    exchange = terms.exchange[asset]
    transfer = half_up(amount * terms.transfer[session, exchange], 10**8)
    transfer += half_up(shares * terms.transfer_share[session, exchange], 10**6)
    return commission, stamp, transfer, half_up(amount * terms.slippage, 10**8)


@njit(cache=True)
def _outlay(terms: Terms, session: int, asset: int, shares: int, price: int) -> int:
    amount = half_up(shares * price, 100)
    commission, stamp, transfer, slippage = trade_costs(terms, session, asset, shares, amount, False)
    return amount + commission + stamp + transfer + slippage


@njit(cache=True)
def affordable(
    terms: Terms, session: int, asset: int, wanted: int, price: int, cash: int, least: int, step: int
) -> int:
    """Largest order of at most ``wanted`` shares, costs included, that ``cash`` pays for; ``wanted`` is a legal size."""
    if _outlay(terms, session, asset, wanted, price) <= cash:
        return wanted
    low, high = (
        -1,
        (wanted - least) // step if wanted >= least else -1,
    )  # steps above the least order; −1: not even that
    while low < high:
        middle = (low + high + 1) // 2
        if _outlay(terms, session, asset, least + middle * step, price) <= cash:
            low = middle
        else:
            high = middle - 1
    return least + low * step if low >= 0 else 0


@njit(cache=True)
def _add_lot(lots: Lots, asset: int, shares: int, terms: Terms, session: int) -> None:
    end = lots.free[asset]
    if end > lots.first[asset] and lots.day[asset, end - 1] == terms.day[session]:
        lots.shares[asset, end - 1] += shares
        return
    lots.day[asset, end] = terms.day[session]
    lots.month_end[asset, end] = terms.month_end[session]
    lots.year_end[asset, end] = terms.year_end[session]
    lots.shares[asset, end] = shares
    lots.tax[asset, end, :] = 0
    lots.free[asset] = end + 1


@njit(cache=True)
def _take_lots(lots: Lots, asset: int, shares: int, today: int) -> int:
    """Remove ``shares``, first in first out; the dividend tax due on them, fen."""
    due = 0
    left = shares
    while left > 0:
        at = lots.first[asset]
        taken = min(left, lots.shares[asset, at])
        held = 0 if today <= lots.month_end[asset, at] else 1 if today <= lots.year_end[asset, at] else 2
        due += taken * lots.tax[asset, at, held]
        lots.shares[asset, at] -= taken
        left -= taken
        if lots.shares[asset, at] == 0:
            lots.first[asset] = at + 1
    return half_up(due, 10**6)


@njit(cache=True)
def _corporate_actions(
    market: Market, terms: Terms, lots: Lots, book: Ints, ledger: Ints, session: int, asset: int
) -> None:
    """Cash, bonus shares and other rights of shares held over the night."""
    long, short = book[asset, _LONG], book[asset, _SHORT]
    cash = market.dividend[session, asset]
    if cash > 0:
        received, paid = half_up(long * cash, 10**4), half_up(short * cash, 10**4)
        ledger[DIVIDENDS] += received
        ledger[DIVIDENDS_PAID] += paid
        ledger[CASH] += received - paid
        book[asset, _FLOW] += received - paid
        for at in range(lots.first[asset], lots.free[asset]):
            for held in range(3):
                lots.tax[asset, at, held] += cash * terms.tax[session, held]
    rights = market.rights[session, asset]
    if rights != 0:
        settled = signed_half_up(long * rights, 100) - signed_half_up(short * rights, 100)
        ledger[RIGHTS] += settled
        ledger[CASH] += settled
        book[asset, _FLOW] += settled
    bonus = market.bonus[session, asset]
    if bonus > 0:
        new = long * bonus // 10**6
        if new > 0:
            _add_lot(lots, asset, new, terms, session)
            book[asset, _LONG] += new
        book[asset, _SHORT] += short * bonus // 10**6


@njit(cache=True)
def _delist(
    market: Market, terms: Terms, lots: Lots, book: Ints, ledger: Ints, fill: Ints, session: int, asset: int
) -> None:
    """Settle a delisted position in cash at its last price × recovery; no fee, dividend tax as at a sale."""
    long, short, price = book[asset, _LONG], book[asset, _SHORT], market.close[session, asset]
    received = half_up(half_up(long * price, 100) * terms.recovery, 10**4)
    paid = half_up(half_up(short * price, 100) * terms.recovery, 10**4)
    tax = _take_lots(lots, asset, long, terms.day[session])
    ledger[GONE] += received - paid
    ledger[TAX] += tax
    ledger[CASH] += received - paid - tax
    book[asset, _FLOW] += received - paid
    book[asset, _LONG] = 0
    book[asset, _SHORT] = 0
    shares = long if long > 0 else short
    fill[:] = (-1 - asset, session, shares, shares, price, received + paid, 0, 0, 0, 0, tax, DELISTED)


@njit(cache=True)
def _sizes(
    market: Market, terms: Terms, book: Ints, cash: int, session: int, asset: int, side: int, wanted: int
) -> tuple[int, int]:
    """Shares that can be traded of ``wanted``, and the reason why not all."""
    if market.state[session, asset] != OPEN_FOR_TRADE:
        return 0, market.state[session, asset]
    buys = side in (BUY, COVER)
    if buys and market.at_up[session, asset]:
        return 0, _LIMIT_UP
    if not buys and market.at_down[session, asset]:
        return 0, _LIMIT_DOWN
    least, step = terms.lot_minimum[asset], terms.lot_step[asset]
    shares, reason = wanted, 0
    held = -1  # opening orders come in lots; closing ones may take an odd rest with the whole position
    if side == SELL:
        held = book[asset, _LONG]
        if shares > held:
            shares, reason = held, _NO_SHARES
        if shares > book[asset, _SELLABLE]:
            shares, reason = book[asset, _SELLABLE], _T1
    elif side == COVER:
        held = book[asset, _SHORT]
        if shares > held:
            shares, reason = held, _NO_SHARES
    room = market.capacity[session, asset] - book[asset, _USED]
    if shares > room:
        shares, reason = room, _PARTICIPATION
    legal = lots_to_sell(shares, held, least, step) if held >= 0 else lots_to_buy(shares, least, step)
    if legal < shares and reason == 0:
        reason = _ODD_LOT
    shares = max(legal, 0)
    if buys and shares > 0:
        paid = affordable(terms, session, asset, shares, market.price[session, asset], cash, least, step)
        if paid < shares:
            shares, reason = paid, _CASH
    return shares, reason


@njit(cache=True)
def _try_order(
    market: Market,
    terms: Terms,
    lots: Lots,
    orders: Orders,
    book: Ints,
    ledger: Ints,
    fill: Ints,
    session: int,
    order: int,
) -> None:
    """Trade what can be traded of one order today; the row says what and why not more."""
    asset, side, wanted = orders.asset[order], orders.side[order], orders.shares[order]
    shares, reason = _sizes(market, terms, book, ledger[CASH], session, asset, side, wanted)
    fill[:] = (order, session, wanted, shares, 0, 0, 0, 0, 0, 0, 0, reason)
    if reason in (_ODD_LOT, _NO_SHARES, DELISTED):
        orders.shares[order] = 0  # tomorrow would not be different
    else:
        orders.shares[order] = wanted - shares
    if shares == 0:
        return
    price = market.price[session, asset]
    amount = half_up(shares * price, 100)
    is_sale = side in (SELL, SHORT)
    commission, stamp, transfer, slippage = trade_costs(terms, session, asset, shares, amount, is_sale)
    tax = 0
    if side == BUY:
        _add_lot(lots, asset, shares, terms, session)
        book[asset, _LONG] += shares
    elif side == SELL:
        tax = _take_lots(lots, asset, shares, terms.day[session])
        book[asset, _LONG] -= shares
        book[asset, _SELLABLE] -= shares
    elif side == SHORT:
        book[asset, _SHORT] += shares
    else:
        book[asset, _SHORT] -= shares
    book[asset, _USED] += shares
    flow = amount if is_sale else -amount
    book[asset, _FLOW] += flow
    ledger[CASH] += flow - commission - stamp - transfer - slippage - tax
    ledger[SOLD if is_sale else BOUGHT] += amount
    ledger[COMMISSION] += commission
    ledger[STAMP] += stamp
    ledger[TRANSFER] += transfer
    ledger[SLIPPAGE] += slippage
    ledger[TAX] += tax
    fill[4:11] = (price, amount, commission, stamp, transfer, slippage, tax)


@njit(cache=True)
def _open_session(
    market: Market, terms: Terms, lots: Lots, book: Ints, ledger: Ints, fills: Ints, count: int, session: int
) -> int:
    """Lending fee, delistings and corporate actions before the open; the number of fills so far."""
    before = ledger[SHORT_VALUE]
    fee = half_up(before * terms.lending * terms.gap[session], 365 * 10**6)
    ledger[BOUGHT:] = 0
    ledger[LENDING] = fee
    ledger[CASH] -= fee
    for asset in range(book.shape[0]):
        book[asset, _FLOW] = 0
        book[asset, _USED] = 0
        book[asset, _SELLABLE] = book[asset, _LONG]
        if book[asset, _LONG] == 0 and book[asset, _SHORT] == 0:
            continue
        if market.state[session, asset] == DELISTED:
            _delist(market, terms, lots, book, ledger, fills[count], session, asset)
            count += 1
        else:
            _corporate_actions(market, terms, lots, book, ledger, session, asset)
    return count


@njit(cache=True)
def _close_session(market: Market, book: Ints, ledger: Ints, profit: Ints, session: int) -> None:
    """Mark every position at the close; profit is the change of its value and the cash it gave or took."""
    ledger[LONG_VALUE] = 0
    ledger[SHORT_VALUE] = 0
    for asset in range(book.shape[0]):
        long = half_up(book[asset, _LONG] * market.close[session, asset], 100)
        short = half_up(book[asset, _SHORT] * market.close[session, asset], 100)
        gained = long - short - book[asset, _VALUE] + book[asset, _FLOW]
        profit[asset] += gained
        ledger[PROFIT] += gained
        ledger[LONG_VALUE] += long
        ledger[SHORT_VALUE] += short
        book[asset, _VALUE] = long - short


@njit(cache=True)
def run_sessions(
    market: Market, terms: Terms, lots: Lots, orders: Orders, long: Ints, short: Ints, mark: Ints, cash: int
) -> tuple[Ints, Ints, Ints]:
    """Run one book over D sessions.

    ``long``, ``short`` (A,) shares held before the first session and ``mark`` (A,) their last closing prices; these, ``lots``
    and ``orders`` are changed in place to their state at the end. ``lots`` must have room for one more lot per asset and
    session in which it is bought or receives bonus shares. Returns the ledger (D, len(LEDGER)), the fills (n, len(FILLS))
    and the gross profit of each asset (A,), fen.
    """
    sessions, assets = market.close.shape
    rows = assets
    for order in range(orders.asset.size):
        rows += max(0, min(orders.last[order], sessions - 1) - orders.first[order] + 1)
    fills = np.zeros((rows, len(FILLS)), dtype=np.int64)
    out = np.zeros((sessions, len(LEDGER)), dtype=np.int64)
    profit = np.zeros(assets, dtype=np.int64)
    book = np.zeros((assets, 6), dtype=np.int64)
    book[:, _LONG], book[:, _SHORT] = long, short
    ledger = np.zeros(len(LEDGER), dtype=np.int64)
    ledger[CASH] = cash
    for asset in range(assets):
        owed = half_up(short[asset] * mark[asset], 100)
        book[asset, _VALUE] = half_up(long[asset] * mark[asset], 100) - owed
        ledger[SHORT_VALUE] += owed
    count, begin = 0, 0
    for session in range(sessions):
        count = _open_session(market, terms, lots, book, ledger, fills, count, session)
        while begin < orders.asset.size and (orders.last[begin] < session or orders.shares[begin] == 0):
            begin += 1
        for order in range(begin, orders.asset.size):
            if orders.first[order] > session:
                break
            if orders.last[order] < session or orders.shares[order] == 0:
                continue
            bonus = market.bonus[session, orders.asset[order]]
            orders.shares[order] += orders.shares[order] * bonus // 10**6  # the order was given in old shares
            _try_order(market, terms, lots, orders, book, ledger, fills[count], session, order)
            count += 1
        _close_session(market, book, ledger, profit, session)
        out[session] = ledger
    long[:], short[:] = book[:, _LONG], book[:, _SHORT]
    return out, fills[:count].copy(), profit
