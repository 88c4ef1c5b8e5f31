"""Daily bars, dividends and listings of one month as the integers the kernel works on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from functools import lru_cache

import numpy as np
import polars as pl

from rotation_pipeline.backtest.stock_level.kernel import (
    DELISTED,
    NO_BAR,
    OPEN_FOR_TRADE,
    SUSPENDED,
    Flags,
    Ints,
    Market,
    Terms,
)
from rotation_pipeline.backtest.stock_level.options import StockLevelOptions
from rotation_pipeline.market.calendar import sessions_since
from rotation_pipeline.market.conventions import (
    DIVIDEND_TAX,
    Floats,
    commission,
    holding_ends,
    in_force,
    limit_prices,
    limit_rates,
    lots,
    settlement,
    stamp_duty,
    transfer_fee,
)

PRICE_UNIT = 10_000
"""Units of price per CNY."""
SHARE_UNIT = 1_000_000
"""Units of dividend per CNY, and of bonus shares per share."""
_EXCHANGES = ("BJ", "SH", "SZ")


class PanelError(ValueError):
    """Market data the engine cannot run on; the text names table, asset and day."""


@dataclass(frozen=True, slots=True)
class MonthData:
    """Rows of one month, asset_key sorted within day: bars, dividends and listings as in the canonical tables."""

    days: tuple[date, ...]
    """Sessions of the month."""
    last_day: date
    """The session before the first one."""
    bars: pl.DataFrame
    dividends: pl.DataFrame
    listings: pl.DataFrame


@dataclass(frozen=True, slots=True)
class Panel:
    """What the kernel needs for one month, assets as columns in the order of ``assets``."""

    assets: Ints
    market: Market
    terms: Terms


def price_units(prices: Floats) -> Ints:
    """CNY → integers of 0.0001 CNY; not finite gives 0."""
    return np.rint(np.where(np.isfinite(prices), prices, 0.0) * PRICE_UNIT).astype(np.int64)


def build_panel(data: MonthData, assets: Ints, mark: Ints, options: StockLevelOptions) -> Panel:
    """The month for ``assets`` (A,) ascending keys; ``mark`` (A,) their last closing prices before it, 0 = none.

    A price that is not positive on a day with trades raises :class:`PanelError`.
    """
    grid = _Grid(data, assets)
    state, listed_on = _states(data, grid, assets)
    closes = price_units(grid.values("close"))
    close = np.empty_like(closes)
    last = mark.copy()
    for session in range(len(data.days)):
        last = np.where(grid.present[session], closes[session], last)
        close[session] = last
    price, at_up, at_down = _execution(data, grid, state, listed_on, options)
    volume = np.where(state == OPEN_FOR_TRADE, np.nan_to_num(grid.values("volume")), 0.0)
    dividend, bonus = _distributions(data, grid)
    market = Market(
        price=price,
        close=close,
        capacity=np.floor(volume * options.participation).astype(np.int64),
        state=state,
        at_up=at_up,
        at_down=at_down,
        dividend=dividend,
        bonus=bonus,
        rights=_other_rights(grid, mark, close, dividend, bonus),
    )
    return Panel(assets, market, _terms(data, grid, assets, options))


class _Grid:
    """Bars laid out sessions × assets."""

    def __init__(self, data: MonthData, assets: Ints) -> None:
        self.shape = (len(data.days), assets.size)
        self.days = np.array(data.days, dtype="datetime64[D]")
        self.assets = assets
        wanted = pl.Series(assets, dtype=pl.Int32)
        self._bars = data.bars.filter(pl.col("asset_key").is_in(wanted.implode()))
        self.where = self.positions(self._bars, "day")
        self.present = np.zeros(self.shape, dtype=np.bool_)
        self.present[self.where] = True

    def positions(self, rows: pl.DataFrame, day: str) -> tuple[Ints, Ints]:
        """Session and asset of each row; the session is the first one on or after the row's day."""
        when = np.searchsorted(self.days, rows[day].to_numpy().astype("datetime64[D]"))
        return when.astype(np.int64), np.searchsorted(self.assets, rows["asset_key"].to_numpy()).astype(np.int64)

    def values(self, name: str) -> Floats:
        """A number column, NaN where there is no bar."""
        out = np.full(self.shape, np.nan)
        out[self.where] = self._bars[name].to_numpy()
        return out

    def flags(self, name: str) -> Flags:
        """A flag column, False where there is no bar."""
        out = np.zeros(self.shape, dtype=np.bool_)
        out[self.where] = self._bars[name].to_numpy()
        return out

    def boards(self) -> list[str]:
        """Board of each asset, ``main`` where the month has no bar (nothing can be traded then)."""
        found = ["main"] * self.shape[1]
        last = self._bars.group_by("asset_key").agg(pl.col("board").last())
        for key, board in last.iter_rows():
            found[int(np.searchsorted(self.assets, key))] = board
        return found


def _states(data: MonthData, grid: _Grid, assets: Ints) -> tuple[Ints, np.ndarray]:
    """State of each asset and session, and the day each asset was listed (NaT = unknown)."""
    idle = grid.flags("is_suspended") | ~(np.nan_to_num(grid.values("volume")) > 0.0)
    state = np.where(grid.present, np.where(idle, SUSPENDED, OPEN_FOR_TRADE), NO_BAR).astype(np.int64)
    listed_on = np.full(assets.size, np.datetime64("NaT", "D"))
    known = np.zeros(assets.size, dtype=np.bool_)
    rows = data.listings.filter(pl.col("asset_key").is_in(pl.Series(assets, dtype=pl.Int32).implode()))
    for key, listed, delisted in rows.select("asset_key", "listed_on", "delisted_on").iter_rows():
        at = int(np.searchsorted(assets, key))
        known[at] = True
        listed_on[at] = listed
        if delisted is not None:
            state[np.searchsorted(grid.days, np.datetime64(delisted)) :, at] = DELISTED
    # no listing of the month tells of it: it ended after its last bar, and a session without one before that is a gap
    trades_on = np.logical_or.accumulate(grid.present[::-1], axis=0)[::-1]
    state[~trades_on & ~known] = DELISTED
    return state, listed_on


def _execution(
    data: MonthData, grid: _Grid, state: Ints, listed_on: np.ndarray, options: StockLevelOptions
) -> tuple[Ints, Flags, Flags]:
    """Price of execution, and where nothing can be bought (limit up) or sold (limit down) at it."""
    high, low = grid.values("high"), grid.values("low")
    if options.execution == "vwap":
        volume = grid.values("volume")
        with np.errstate(invalid="ignore", divide="ignore"):
            traded = grid.values("amount") / volume
        price = np.clip(traded, low, high)
        highest, lowest = low, high  # the whole day stood at the limit
    else:
        price = highest = lowest = grid.values(options.execution)
    sessions, columns = grid.where
    boards = np.array(grid.boards(), dtype=object)[columns]
    days = grid.days[sessions]
    age = sessions_since(listed_on[columns], days)
    down, up = limit_rates(boards, days, grid.flags("is_st")[grid.where], age)
    bottom, top = limit_prices(grid.values("prev_close")[grid.where], down, up)
    at_up, at_down = np.zeros(grid.shape, dtype=np.bool_), np.zeros(grid.shape, dtype=np.bool_)
    at_up[grid.where] = np.isfinite(top) & (price_units(highest[grid.where]) >= price_units(top))
    at_down[grid.where] = price_units(lowest[grid.where]) <= price_units(bottom)
    units = np.where(state == OPEN_FOR_TRADE, price_units(price), 0)
    bad = (state == OPEN_FOR_TRADE) & (units <= 0)
    if bad.any():
        session, column = np.argwhere(bad)[0]
        raise PanelError(
            f"raw.daily_bars: asset key {grid.assets[column]} has no {options.execution} price on {data.days[session]} though it "
            "traded; correct the source, or execute at another price (stock_level.execution)"
        )
    return units, at_up, at_down


def _distributions(data: MonthData, grid: _Grid) -> tuple[Ints, Ints]:
    """Cash (1e-6 CNY) and bonus shares (1e-6) per share by session, summed."""
    dividend, bonus = np.zeros(grid.shape, dtype=np.int64), np.zeros(grid.shape, dtype=np.int64)
    rows = data.dividends.filter(
        pl.col("asset_key").is_in(pl.Series(grid.assets, dtype=pl.Int32).implode())
        & (pl.col("ex_day") <= data.days[-1])
    )
    where = grid.positions(rows, "ex_day")
    np.add.at(dividend, where, np.rint(rows["cash_per_share"].to_numpy() * SHARE_UNIT).astype(np.int64))
    np.add.at(bonus, where, np.rint(rows["shares_per_share"].to_numpy() * SHARE_UNIT).astype(np.int64))
    return dividend, bonus


def _other_rights(grid: _Grid, mark: Ints, close: Ints, dividend: Ints, bonus: Ints) -> Ints:
    """Value per share (0.0001 CNY) the exchange's previous close took off beyond the recorded dividends.

    A rights issue lowers the previous close without a dividend. Holders keep their wealth by subscribing; here the right is
    settled in cash at that theoretical value. Differences within the rounding of the previous close are none.
    """
    given = price_units(grid.values("prev_close")).astype(np.float64)
    rights = np.zeros(grid.shape, dtype=np.int64)
    before = mark.astype(np.float64)
    for session in range(grid.shape[0]):
        growth = 1.0 + bonus[session] / SHARE_UNIT
        cum = before - dividend[session] * (PRICE_UNIT / SHARE_UNIT)
        gap = np.where(grid.present[session] & (before > 0.0), cum - growth * given[session], 0.0)
        rights[session] = np.rint(np.where(np.abs(gap) > 51.0 * growth, gap, 0.0)).astype(np.int64)
        before = np.where(grid.present[session], close[session].astype(np.float64), cum / growth)
    return rights


@lru_cache(maxsize=8192)
def _holding(day: date) -> tuple[int, int]:
    month_end, year_end = holding_ends(day)
    return ordinal(month_end), ordinal(year_end)


def ordinal(day: date) -> int:
    """Days since 1970-01-01."""
    return day.toordinal() - date(1970, 1, 1).toordinal()


def rate_units(rate: float) -> int:
    """A fraction in units of 1e-8."""
    return round(rate * 1e8)


def _terms(data: MonthData, grid: _Grid, assets: Ints, options: StockLevelOptions) -> Terms:
    days = data.days
    if any(settlement(day) != 1 for day in (days[0], days[-1])):
        raise PanelError(f"the engine settles shares on the next session; the rule of {days[0]} is another")
    customary = [commission(day) for day in days]
    rates = [row.of_turnover if options.commission_rate is None else options.commission_rate for row in customary]
    least = [row.minimum if options.commission_minimum is None else options.commission_minimum for row in customary]
    fees = [[_transfer(day, exchange) for exchange in _EXCHANGES] for day in days]
    tax = [in_force(DIVIDEND_TAX, day, "dividend tax") for day in days]
    holding = np.array([_holding(day) for day in days], dtype=np.int64)
    ordinals = np.array([ordinal(day) for day in days], dtype=np.int64)
    sizes = [lots(board, days[-1]) for board in grid.boards()]
    return Terms(
        day=ordinals,
        gap=np.diff(ordinals, prepend=ordinal(data.last_day)),
        month_end=np.ascontiguousarray(holding[:, 0]),
        year_end=np.ascontiguousarray(holding[:, 1]),
        tax=np.array(
            [[round(100 * r) for r in (row.up_to_a_month, row.up_to_a_year, row.longer)] for row in tax], dtype=np.int64
        ),
        commission=np.array([rate_units(rate) for rate in rates], dtype=np.int64),
        commission_minimum=np.array([round(100 * amount) for amount in least], dtype=np.int64),
        stamp_buy=np.array([rate_units(stamp_duty(day, "buy")) for day in days], dtype=np.int64),
        stamp_sell=np.array([rate_units(stamp_duty(day, "sell")) for day in days], dtype=np.int64),
        transfer=np.array([[rate_units(rate) for rate, _ in row] for row in fees], dtype=np.int64),
        transfer_share=np.array([[rate_units(share) for _, share in row] for row in fees], dtype=np.int64),
        exchange=(assets % 4).astype(np.int64),
        lot_minimum=np.array([size.minimum for size in sizes], dtype=np.int64),
        lot_step=np.array([size.step for size in sizes], dtype=np.int64),
        slippage=rate_units(options.slippage_bp / 1e4),
        lending=round(options.short_fee * 1e6),
        recovery=round(options.delisting_recovery * 1e4),
    )


@lru_cache(maxsize=8192)
def _transfer(day: date, exchange: str) -> tuple[float, float]:
    """Transfer fee of a day; 0 before the exchange opened, when nothing trades on it."""
    if exchange == "BJ" and day < date(2021, 11, 15):
        return 0.0, 0.0
    fee = transfer_fee(day, exchange)
    return fee.of_turnover, fee.per_share
