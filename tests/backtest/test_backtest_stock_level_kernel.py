"""The compiled engine against the plain one on random markets, and what must hold on any of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from fractions import Fraction
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stock_level_reference import Holder, Lot, Market, Order, Reference, exact

from rotation_pipeline.backtest.stock_level.account import Account, LotRows, lots_of, spread
from rotation_pipeline.backtest.stock_level.kernel import (
    FILLS,
    LEDGER,
    REASONS,
    SIDES,
    Orders,
    lots_to_buy,
    lots_to_sell,
    run_sessions,
)
from rotation_pipeline.backtest.stock_level.options import StockLevelOptions
from rotation_pipeline.backtest.stock_level.panel import MonthData, build_panel, ordinal, price_units
from rotation_pipeline.market.calendar import add_months, last_session, month_sessions
from rotation_pipeline.market.conventions import LOTS, holding_ends, round_lots
from rotation_pipeline.market.identifiers import asset_key

STOCKS = {"600001.SH": "main", "000002.SZ": "main", "300003.SZ": "chinext", "688004.SH": "star", "603005.SH": "main"}
MONTHS = (date(2014, 5, 1), date(2015, 8, 1), date(2015, 9, 1), date(2020, 8, 1), date(2022, 4, 1), date(2023, 8, 1))
"""Months in which a fee, a tax or a limit changes, and one before all of them."""
BAR_SCHEMA = {
    "asset_key": pl.Int32, "day": pl.Date, "open": pl.Float64, "high": pl.Float64, "low": pl.Float64, "close": pl.Float64,
    "prev_close": pl.Float64, "volume": pl.Float64, "amount": pl.Float64, "is_suspended": pl.Boolean, "is_st": pl.Boolean,
    "board": pl.String,
}  # fmt: skip


class World:
    """A random month of a few stocks, an account, and orders."""

    def __init__(self, seed: int, month: date, options: StockLevelOptions) -> None:
        self.random = np.random.default_rng(seed)
        self.options = options
        self.days = month_sessions(month)
        self.last_day = last_session(add_months(month, -1))
        names = [name for name in STOCKS if STOCKS[name] != "star" or month >= date(2019, 8, 1)]
        self.assets = np.array(sorted(asset_key(name) for name in names), dtype=np.int64)
        self.boards = {asset_key(name): STOCKS[name] for name in names}
        self.close = {int(asset): round(float(self.random.uniform(3.0, 40.0)), 2) for asset in self.assets}
        self.bars: list[dict[str, Any]] = []
        self.dividends: dict[tuple[int, date], tuple[float, float]] = {}
        self.delisted: dict[int, date] = {}
        for asset in self.assets.tolist():
            self._path(asset)
        self._account(month)
        self._orders()

    def _path(self, asset: int) -> None:
        random, last = self.random, self.close[asset]
        is_st = bool(random.random() < 0.1) and self.boards[asset] == "main"
        if random.random() < 0.15:
            self.delisted[asset] = self.days[int(random.integers(3, len(self.days)))]
        for day in self.days:
            if asset in self.delisted and day >= self.delisted[asset]:
                break
            cash, bonus = 0.0, 0.0
            if random.random() < 0.06:
                cash = float(random.choice([0.0, 0.123, 1.5, 0.0701])) if last > 4.0 else 0.0
                bonus = float(random.choice([0.0, 0.3, 1.0]))
                self.dividends[asset, day] = (cash, bonus)
            base = round((last - cash) / (1 + bonus), 2)
            if random.random() < 0.03:
                base = round(base * 0.9, 2)  # a rights issue
            if random.random() < 0.05:
                continue  # no bar
            last = self._bar(asset, day, base, last if base == last else base, is_st)

    def _bar(self, asset: int, day: date, base: float, last: float, is_st: bool) -> float:
        random = self.random
        row = {"asset_key": asset, "day": day, "prev_close": base, "is_st": is_st, "board": self.boards[asset]}
        if random.random() < 0.08:
            flat = dict.fromkeys(("open", "high", "low", "close"), last)
            self.bars.append({**row, **flat, "volume": 0.0, "amount": 0.0, "is_suspended": True})
            return last
        limit = 0.05 if is_st else 0.1
        if random.random() < 0.15:  # one price all day, at a limit
            price = round(base * (1 + limit * random.choice([-1, 1])) + 1e-9, 2)
            prices = np.array([price] * 4)
        else:
            prices = np.round(base * (1 + random.uniform(-limit * 0.8, limit * 0.8, 4)), 2)
        low, high = float(prices.min()), float(prices.max())
        volume = float(random.integers(1, 60) * 100 + random.integers(0, 100))
        amount = round(volume * float(random.uniform(low, high)), 2)
        self.bars.append(
            {**row, "open": float(prices[0]), "close": float(prices[1]), "low": low, "high": high, "volume": volume,
             "amount": amount, "is_suspended": False}
        )  # fmt: skip
        return float(prices[1])

    def _account(self, month: date) -> None:
        random = self.random
        lots: list[tuple[int, int, int, tuple[int, int, int]]] = []
        short: dict[int, int] = {}
        for asset in self.assets.tolist():
            if random.random() < 0.5:
                bought = sorted({int(day) for day in random.integers(5, 500, 3)}, reverse=True)
                for days in bought:
                    tax = int(random.integers(0, 3)) * 10_000_000
                    lots.append(
                        (asset, ordinal(month - timedelta(days=days)), int(random.integers(1, 1500)), (2 * tax, tax, 0))
                    )
            elif random.random() < 0.4:
                short[asset] = int(random.integers(1, 15)) * 100
        self.lots, self.short = lots, short
        self.cash = int(random.choice([5_000_00, 60_000_00, 2_000_000_00]))

    def _orders(self) -> None:
        random, count = self.random, int(self.random.integers(1, 25))
        made = []
        for _ in range(count):
            first = int(random.integers(0, len(self.days)))
            shares = int(random.choice([random.integers(1, 3000), random.integers(1, 20) * 100]))
            made.append(
                (
                    first,
                    int(random.choice(self.assets)),
                    int(random.integers(0, 4)),
                    shares,
                    first + int(random.integers(0, 6)),
                )
            )
        made.sort(key=lambda order: order[0])
        self.orders = made

    def data(self) -> MonthData:
        bars = pl.DataFrame(self.bars, schema=BAR_SCHEMA)
        rows = [(asset, day, *terms) for (asset, day), terms in self.dividends.items()]
        dividends = pl.DataFrame(
            rows, orient="row",
            schema={"asset_key": pl.Int32, "ex_day": pl.Date, "cash_per_share": pl.Float64, "shares_per_share": pl.Float64},
        )  # fmt: skip
        listings = pl.DataFrame(
            [(asset, date(2001, 1, 5), self.delisted.get(asset)) for asset in self.assets.tolist()], orient="row",
            schema={"asset_key": pl.Int32, "listed_on": pl.Date, "delisted_on": pl.Date},
        )  # fmt: skip
        return MonthData(tuple(self.days), self.last_day, bars, dividends, listings)

    def account(self) -> Account:
        marks = {asset: int(price_units(np.array([price]))[0]) for asset, price in self.close.items()}
        held = sorted({lot[0] for lot in self.lots} | set(self.short))
        long = {asset: sum(lot[2] for lot in self.lots if lot[0] == asset) for asset in held}
        own = [np.array([lot[i] for lot in self.lots], dtype=np.int64) for i in range(3)]
        tax = np.array([lot[3] for lot in self.lots], dtype=np.int64).reshape(-1, 3)
        return Account(
            self.cash, np.array(held, dtype=np.int64), np.array([long[a] for a in held], dtype=np.int64),
            np.array([self.short.get(a, 0) for a in held], dtype=np.int64), np.array([marks[a] for a in held], dtype=np.int64),
            LotRows(own[0], own[1], own[2], tax),
        )  # fmt: skip

    def compiled(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        account = self.account()
        mark = price_units(np.array([self.close[asset] for asset in self.assets.tolist()]))
        panel = build_panel(self.data(), self.assets, mark, self.options)
        table = np.array(self.orders, dtype=np.int64).reshape(-1, 5)
        orders = Orders(*(np.ascontiguousarray(column) for column in
                          (np.searchsorted(self.assets, table[:, 1]), table[:, 2], table[:, 3], table[:, 0], table[:, 4])))  # fmt: skip
        long, short = spread(account, self.assets)
        tries = orders.last - orders.first + 1
        lots = lots_of(account, self.assets, panel.market, orders.asset, orders.side, tries)
        return run_sessions(panel.market, panel.terms, lots, orders, long, short, mark, account.cash)

    def plain(self) -> Reference:
        lots: dict[int, list[Lot]] = {}
        for asset, day, shares, tax in self.lots:
            lots.setdefault(asset, []).append(Lot(date(1970, 1, 1) + timedelta(days=day), shares, tax))
        last = {asset: exact(price) for asset, price in self.close.items()}
        holder = Holder(self.cash, last, lots, dict(self.short))
        bars = {(row["asset_key"], row["day"]): row for row in self.bars}
        market = Market(self.days, self.last_day, bars, self.dividends, self.delisted, self.boards)
        orders = [Order(asset, SIDES[side], shares, first, last) for first, asset, side, shares, last in self.orders]
        reference = Reference(market, holder, orders, self.options)
        reference.run()
        return reference


OPTIONS = StockLevelOptions(participation=0.5, slippage_bp=7.0, delisting_recovery=0.75)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    month=st.sampled_from(MONTHS),
    execution=st.sampled_from(["open", "vwap", "close"]),
    participation=st.sampled_from([0.1, 0.5, 1.0]),
)
def test_kernel_is_the_plain_engine(seed: int, month: date, execution: Any, participation: float) -> None:
    world = World(seed, month, replace(OPTIONS, execution=execution, participation=participation))
    ledger, fills, _ = world.compiled()
    reference = world.plain()
    for session, expected in enumerate(reference.ledger):
        assert dict(zip(LEDGER, ledger[session].tolist(), strict=True)) == {name: expected[name] for name in LEDGER}, (
            session
        )
    assert fills.shape[0] == len(reference.fills)
    for row, expected in zip(fills.tolist(), reference.fills, strict=True):
        found = dict(zip(FILLS, row, strict=True))
        assert REASONS[found["reason"]] == expected["reason"]
        assert found["order"] == (
            expected["order"] if expected["order"] != "delisting" else -1 - _place(world, expected)
        )
        same = (
            "session",
            "filled",
            "amount",
            "dividend_tax",
            "requested",
            "commission",
            "stamp_duty",
            "transfer_fee",
            "slippage",
        )
        for name in same:
            assert found[name] == expected.get(name, found[name] if name == "requested" else 0), name


def _place(world: World, expected: dict[str, Any]) -> int:
    return int(np.searchsorted(world.assets, expected["asset"]))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), month=st.sampled_from(MONTHS))
def test_every_fen_is_accounted_for(seed: int, month: date) -> None:
    """cash + holdings + fees + taxes = initial + profit, to the fen, on every day of any market with any orders."""
    world = World(seed, month, OPTIONS)
    ledger, _, profit = world.compiled()
    column = dict(zip(LEDGER, ledger.T, strict=True))
    costs = sum(
        column[name] for name in ("commission", "stamp_duty", "transfer_fee", "slippage", "dividend_tax", "lending_fee")
    )
    initial = world.account().net_value
    holdings = column["long_value"] - column["short_value"]
    assert (column["cash"] + holdings + np.cumsum(costs) == initial + np.cumsum(column["profit"])).all()
    assert int(profit.sum()) == int(column["profit"].sum())


def test_random_markets_meet_every_reason() -> None:
    """The property tests would prove little if the random markets never blocked an order."""
    met: set[str] = set()
    for seed in range(60):
        _, fills, _ = World(seed, MONTHS[seed % len(MONTHS)], OPTIONS).compiled()
        met |= {REASONS[code] for code in fills[:, FILLS.index("reason")].tolist()}
    assert met == set(REASONS)


@pytest.mark.parametrize("board", sorted(LOTS))
def test_lots_are_those_of_the_conventions(board: str) -> None:
    rule = LOTS[board][-1]
    for shares in (0, 1, 99, 100, 101, 150, 199, 200, 201, 1234):
        assert lots_to_buy(shares, rule.minimum, rule.step) == round_lots(shares, board, date(2024, 1, 2))
    assert lots_to_sell(137, 137, rule.minimum, rule.step) == 137
    assert lots_to_sell(50, 137, rule.minimum, rule.step) == 0


def test_holding_ends_are_the_tax_thresholds() -> None:
    assert holding_ends(date(2024, 1, 31)) == (date(2024, 2, 29), date(2025, 1, 31))


def test_fraction_of_a_price_is_read_as_printed() -> None:
    assert exact(5.55) == Fraction(111, 20)
