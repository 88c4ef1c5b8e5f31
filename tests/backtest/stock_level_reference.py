"""The stock-level engine again, slow and plain: exact fractions, dates and lists, straight from the raw rows.

Nothing of the engine's own arithmetic is used; rates come from the scalar functions of the trading conventions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from typing import Any

from rotation_pipeline.backtest.stock_level.options import StockLevelOptions
from rotation_pipeline.market.conventions import commission, dividend_tax, lots, stamp_duty, transfer_fee

DUST = Fraction(51, 10_000)


def exact(value: float) -> Fraction:
    return Fraction(repr(float(value)))


def fen(amount: Fraction) -> int:
    """CNY → fen, halves away from zero."""
    whole = math.floor(abs(amount) * 100 + Fraction(1, 2))
    return whole if amount >= 0 else -whole


def limit_price(prev_close: float, rate: str, sign: int) -> Decimal:
    raw = Decimal(repr(prev_close)) * (1 + sign * Decimal(rate))
    return raw.quantize(Decimal("0.01"), rounding=ROUND_HALF_UP)


def limit_of(board: str, is_st: bool, day: date) -> str:
    if board == "star" or (board == "chinext" and day >= date(2020, 8, 24)):
        return "0.2"
    return "0.05" if is_st else "0.1"


@dataclass
class Lot:
    bought_on: date
    shares: int
    base: tuple[int, int, int] = (0, 0, 0)
    """Tax due from before the run, 1e-8 CNY per share."""
    dividends: list[tuple[date, Fraction]] = field(default_factory=list)

    def tax(self, shares: int, today: date) -> Fraction:
        month = dividend_tax(date(2016, 1, 4), self.bought_on, today)  # 0.2, 0.1 or 0 tell the holding period
        carried = Fraction(self.base[{0.2: 0, 0.1: 1, 0.0: 2}[month]], 10**8)
        own = sum((cash * exact(dividend_tax(ex, self.bought_on, today)) for ex, cash in self.dividends), Fraction(0))
        return shares * (carried + own)


@dataclass
class Order:
    asset: int
    side: str
    shares: int
    first: int
    last: int


@dataclass
class Holder:
    """One book. ``last`` closing price, long ``lots`` and ``short`` shares by asset key."""

    cash: int
    last: dict[int, Fraction]
    lots: dict[int, list[Lot]]
    short: dict[int, int]

    def long(self, asset: int) -> int:
        return sum(lot.shares for lot in self.lots.get(asset, []))

    def worth(self, asset: int) -> int:
        price = self.last.get(asset, Fraction(0))
        return fen(self.long(asset) * price) - fen(self.short.get(asset, 0) * price)


@dataclass
class Market:
    """Raw rows: bars by (asset, day), dividends by (asset, ex_day), delisting days, boards."""

    days: Sequence[date]
    last_day: date
    bars: Mapping[tuple[int, date], Mapping[str, Any]]
    dividends: Mapping[tuple[int, date], tuple[float, float]]
    delisted: Mapping[int, date]
    boards: Mapping[int, str]


class Reference:
    """Runs a holder over the market's days; ``ledger`` and ``fills`` are lists of dictionaries in fen and shares."""

    def __init__(self, market: Market, holder: Holder, orders: list[Order], options: StockLevelOptions) -> None:
        self.market, self.holder, self.orders, self.options = market, holder, orders, options
        self.assets = sorted(market.boards)
        self.ledger: list[dict[str, int]] = []
        self.fills: list[dict[str, Any]] = []
        self.expected = dict(holder.last)  # last close, restated for ex-days since

    def run(self) -> None:
        before = self.market.last_day
        for session, day in enumerate(self.market.days):
            self.session, self.day = session, day
            self.row = dict.fromkeys(
                ("bought", "sold", "commission", "stamp_duty", "transfer_fee", "slippage", "dividends", "dividends_paid",
                 "other_rights", "delisted", "dividend_tax", "lending_fee", "profit"), 0)  # fmt: skip
            self.flow = dict.fromkeys(self.assets, 0)
            self.worth = {asset: self.holder.worth(asset) for asset in self.assets}
            self.used = dict.fromkeys(self.assets, 0)
            self._lend((day - before).days)
            self.sellable = {asset: self.holder.long(asset) for asset in self.assets}
            for asset in self.assets:
                self._morning(asset)
            for number, order in enumerate(self.orders):
                if order.first <= session <= order.last and order.shares > 0:
                    ratio = exact(self.market.dividends.get((order.asset, day), (0.0, 0.0))[1])
                    order.shares += math.floor(order.shares * ratio)
                    self._attempt(number, order)
            self._evening()
            before = day

    def _lend(self, nights: int) -> None:
        owed = sum(fen(shares * self.holder.last[asset]) for asset, shares in self.holder.short.items() if shares)
        fee = fen(Fraction(owed, 100) * exact(self.options.short_fee) * nights / 365)
        self.row["lending_fee"] = fee
        self.holder.cash -= fee

    def _gone(self, asset: int) -> bool:
        return asset in self.market.delisted and self.day >= self.market.delisted[asset]

    def _morning(self, asset: int) -> None:
        holder = self.holder
        cash, bonus = (exact(x) for x in self.market.dividends.get((asset, self.day), (0.0, 0.0)))
        bar = self.market.bars.get((asset, self.day))
        gap = Fraction(0)
        if asset in self.expected and self.expected[asset] > 0:
            without = self.expected[asset] - cash
            self.expected[asset] = without / (1 + bonus)
            if bar is not None:
                gap = without - (1 + bonus) * exact(bar["prev_close"])
                gap = Fraction(round(gap * 10_000), 10_000) if abs(gap) > DUST * (1 + bonus) else Fraction(0)
        long, short = holder.long(asset), holder.short.get(asset, 0)
        if not long and not short:
            return
        if self._gone(asset):
            price = holder.last[asset]
            pay = [fen(Fraction(fen(n * price), 100) * exact(self.options.delisting_recovery)) for n in (long, short)]
            tax = self._take(asset, long)
            holder.short[asset] = 0
            self._book(asset, pay[0] - pay[1], "delisted")
            self._charge("dividend_tax", tax)
            self.fills.append({"order": "delisting", "asset": asset, "session": self.session, "filled": long or short,
                               "amount": pay[0] + pay[1], "dividend_tax": tax, "reason": "delisted"})  # fmt: skip
            return
        if cash:
            got, owed = fen(long * cash), fen(short * cash)
            self.row["dividends"] += got
            self.row["dividends_paid"] += owed
            holder.cash += got - owed
            self.flow[asset] += got - owed
            for lot in holder.lots.get(asset, []):
                lot.dividends.append((self.day, cash))
        if gap:
            self._book(asset, fen(long * gap) - fen(short * gap), "other_rights")
        new = math.floor(long * bonus)
        if new:
            holder.lots[asset].append(Lot(self.day, new))
        holder.short[asset] = short + math.floor(short * bonus)

    def _book(self, asset: int, amount: int, column: str) -> None:
        self.row[column] += amount
        self.holder.cash += amount
        self.flow[asset] += amount

    def _charge(self, column: str, amount: int) -> None:
        self.row[column] += amount
        self.holder.cash -= amount

    def _take(self, asset: int, shares: int) -> int:
        due = Fraction(0)
        while shares:
            lot = self.holder.lots[asset][0]
            part = min(shares, lot.shares)
            due += lot.tax(part, self.day)
            lot.shares -= part
            shares -= part
            if not lot.shares:
                self.holder.lots[asset].pop(0)
        return fen(due)

    def _price(self, bar: Mapping[str, Any]) -> Fraction:
        if self.options.execution == "vwap":
            traded = exact(bar["amount"]) / exact(bar["volume"])
            return Fraction(round(min(max(traded, exact(bar["low"])), exact(bar["high"])) * 10_000), 10_000)
        return exact(bar[self.options.execution])

    def _blocked(self, order: Order, bar: Mapping[str, Any]) -> str | None:
        buys = order.side in ("buy", "cover")
        rate = limit_of(self.market.boards[order.asset], bar["is_st"], self.day)
        limit = limit_price(bar["prev_close"], rate, 1 if buys else -1)
        if self.options.execution == "vwap":
            shown = Decimal(repr(bar["low" if buys else "high"]))
        else:
            shown = Decimal(repr(bar[self.options.execution]))
        if buys and shown >= limit:
            return "limit_up"
        if not buys and shown <= limit:
            return "limit_down"
        return None

    def _costs(self, order: Order, shares: int, price: Fraction) -> tuple[int, dict[str, int]]:
        amount = fen(shares * price)
        money = Fraction(amount, 100)
        terms, fee = commission(self.day), transfer_fee(self.day, ("BJ", "SH", "SZ")[order.asset % 4])
        rate = terms.of_turnover if self.options.commission_rate is None else self.options.commission_rate
        least = terms.minimum if self.options.commission_minimum is None else self.options.commission_minimum
        side = "buy" if order.side in ("buy", "cover") else "sell"
        return amount, {
            "commission": max(fen(money * exact(rate)), fen(exact(least))),
            "stamp_duty": fen(money * exact(stamp_duty(self.day, side))),
            "transfer_fee": fen(money * exact(fee.of_turnover)) + fen(shares * exact(fee.per_share)),
            "slippage": fen(money * exact(self.options.slippage_bp) / 10_000),
        }

    def _legal(self, order: Order, shares: int) -> int:
        """Largest order the exchange takes: an odd rest only with the whole position."""
        held = {"sell": self.holder.long(order.asset), "cover": self.holder.short.get(order.asset, 0)}.get(order.side)
        if held is not None and shares >= held:
            return held
        rule = lots(self.market.boards[order.asset], self.day)
        sizes = range(rule.minimum, shares + 1, rule.step)
        return sizes[-1] if sizes else 0

    def _attempt(self, number: int, order: Order) -> None:
        wanted, shares, reason = order.shares, order.shares, "filled"
        bar = self.market.bars.get((order.asset, self.day))
        if self._gone(order.asset):
            shares, reason = 0, "delisted"
        elif bar is None:
            shares, reason = 0, "no_bar"
        elif bar["is_suspended"] or not bar["volume"] > 0:
            shares, reason = 0, "suspended"
        elif (blocked := self._blocked(order, bar)) is not None:
            shares, reason = 0, blocked
        else:
            shares, reason = self._possible(order, bar)
        fill: dict[str, Any] = {"order": number, "asset": order.asset, "session": self.session, "requested": wanted,
                                "filled": shares, "reason": reason, "amount": 0, "dividend_tax": 0}  # fmt: skip
        if shares and bar is not None:
            self._trade(order, shares, self._price(bar), fill)
        self.fills.append(fill)
        order.shares = 0 if reason in ("odd_lot", "no_shares", "delisted") else wanted - shares

    def _possible(self, order: Order, bar: Mapping[str, Any]) -> tuple[int, str]:
        shares, reason = order.shares, "filled"
        if order.side in ("sell", "cover"):
            held = self.holder.long(order.asset) if order.side == "sell" else self.holder.short.get(order.asset, 0)
            if shares > held:
                shares, reason = held, "no_shares"
            if order.side == "sell" and shares > self.sellable[order.asset]:
                shares, reason = self.sellable[order.asset], "t_plus_1"
        room = math.floor(exact(bar["volume"]) * exact(self.options.participation)) - self.used[order.asset]
        if shares > room:
            shares, reason = room, "participation"
        legal = self._legal(order, shares)
        if legal < shares and reason == "filled":
            reason = "odd_lot"
        shares = legal
        if order.side in ("buy", "cover"):
            price, asked = self._price(bar), shares
            while shares and self._outlay(order, shares, price) > self.holder.cash:
                shares = self._fewer(order, shares)
            if shares < asked:
                reason = "cash"
        return shares, reason

    def _outlay(self, order: Order, shares: int, price: Fraction) -> int:
        amount, costs = self._costs(order, shares, price)
        return amount + sum(costs.values())

    def _fewer(self, order: Order, shares: int) -> int:
        rule = lots(self.market.boards[order.asset], self.day)
        sizes = range(rule.minimum, shares, rule.step)
        return sizes[-1] if sizes else 0

    def _trade(self, order: Order, shares: int, price: Fraction, fill: dict[str, Any]) -> None:
        amount, costs = self._costs(order, shares, price)
        for name, cost in costs.items():
            self._charge(name, cost)
        if order.side in ("buy", "cover"):
            self._book(order.asset, -amount, "bought")
            self.row["bought"] += 2 * amount  # booked as money spent, counted as amount bought
        else:
            self._book(order.asset, amount, "sold")
        if order.side == "buy":
            self.holder.lots.setdefault(order.asset, []).append(Lot(self.day, shares))
        elif order.side == "sell":
            tax = self._take(order.asset, shares)
            self._charge("dividend_tax", tax)
            self.sellable[order.asset] -= shares
            fill["dividend_tax"] = tax
        else:
            sign = 1 if order.side == "short" else -1
            self.holder.short[order.asset] = self.holder.short.get(order.asset, 0) + sign * shares
        self.used[order.asset] += shares
        fill.update(amount=amount, **costs)

    def _evening(self) -> None:
        long = short = 0
        for asset in self.assets:
            bar = self.market.bars.get((asset, self.day))
            if bar is not None:
                self.holder.last[asset] = self.expected[asset] = exact(bar["close"])
            price = self.holder.last.get(asset, Fraction(0))
            long += fen(self.holder.long(asset) * price)
            short += fen(self.holder.short.get(asset, 0) * price)
            self.row["profit"] += self.holder.worth(asset) - self.worth[asset] + self.flow[asset]
        self.ledger.append({"cash": self.holder.cash, "long_value": long, "short_value": short, **self.row})
