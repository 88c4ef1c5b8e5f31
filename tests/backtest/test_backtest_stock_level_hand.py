"""A month computed by hand, to the fen: a dividend, a limit-up, a suspension, a fee change, an odd lot, bonus shares.

600001.SH: 1,050 shares held since 2023-08-01, last close 10.00. 000002.SZ: none held, last close 18.18. Cash 1,000,000.00.
Orders: buy 10,000 of 000002 from the first session on; sell 500 and then the other 550 of 600001; sell all of 000002.

| session    | what happens | cash |
|------------|--------------|------|
| 2023-08-24 | 600001 pays 0.50: 1,050 × 0.50 = 525.00. 000002 opens at 20.00 = 18.18 × 1.1 = 19.998, its limit: not bought | 1,000,525.00 |
| 2023-08-25 | 600001, 500 at 9.80: 4,900.00, commission 5.00 (least), stamp duty 0.1 % 4.90, transfer 0.05, tax 20 % × 0.50 × 500 = 50.00 | |
|            | 000002, 10,000 at 20.50: 205,000.00, commission 51.25, transfer 2.05 | 800,311.75 |
| 2023-08-28 | 600001 is suspended: 550 not sold | 800,311.75 |
| 2023-08-29 | 600001, 550 at 9.90: 5,445.00, commission 5.00, stamp duty now 0.05 % 2.7225 → 2.72, transfer 0.05, tax 55.00 | 805,693.98 |
| 2023-08-30 | 000002: 3 new shares for 10. The order for 10,000 now means 13,000; the new 3,000 may not be sold today. 10,000 at 16.20: | |
|            | 162,000.00, commission 40.50, stamp duty 81.00, transfer 1.62 | 967,570.86 |
| 2023-08-31 | 3,000 at 16.30: 48,900.00, commission 12.225 → 12.23, stamp duty 24.45, transfer 0.489 → 0.49 | 1,016,433.69 |

Profit: 600001 525 + 4,900 + 5,445 − 10,500 = 370; 000002 162,000 + 48,900 − 205,000 = 5,900. Fees 231.31, tax 105.00.
1,010,500.00 + 6,270.00 − 336.31 = 1,016,433.69.
"""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import polars as pl

from rotation_pipeline.backtest.stock_level.account import Account, LotRows, lots_of, spread
from rotation_pipeline.backtest.stock_level.kernel import BUY, FILLS, LEDGER, REASONS, SELL, Orders, run_sessions
from rotation_pipeline.backtest.stock_level.options import StockLevelOptions
from rotation_pipeline.backtest.stock_level.panel import MonthData, build_panel, ordinal
from rotation_pipeline.market.identifiers import asset_key

DAYS = tuple(date(2023, 8, day) for day in (24, 25, 28, 29, 30, 31))
SMALL, BIG = asset_key("000002.SZ"), asset_key("600001.SH")
OPTIONS = StockLevelOptions(execution="open", participation=1.0, slippage_bp=0.0)
PRICES = {  # prev_close, open, close
    BIG: [(9.50, 9.60, 9.70), (9.70, 9.80, 9.75), (9.75, 9.75, 9.75), (9.75, 9.90, 9.95), (9.95, 9.95, 9.95), (9.95, 9.95, 9.95)],
    SMALL: [(18.18, 20.00, 20.00), (20.00, 20.50, 20.80), (20.80, 20.80, 20.90), (20.90, 21.00, 21.00),
            (16.15, 16.20, 16.25), (16.25, 16.30, 16.40)],
}  # fmt: skip


def month() -> MonthData:
    rows: list[dict[str, Any]] = []
    for asset, path in PRICES.items():
        for day, (before, first, last) in zip(DAYS, path, strict=True):
            idle = asset == BIG and day == date(2023, 8, 28)
            rows.append(
                {"asset_key": asset, "day": day, "open": first, "high": max(first, last), "low": min(first, last), "close": last,
                 "prev_close": before, "volume": 0.0 if idle else 1e6, "amount": 0.0 if idle else 1e6 * last,
                 "is_suspended": idle, "is_st": False, "board": "main"}
            )  # fmt: skip
    bars = pl.DataFrame(rows).with_columns(pl.col("asset_key").cast(pl.Int32)).sort("asset_key", "day")
    dividends = pl.DataFrame(
        {
            "asset_key": [BIG, SMALL],
            "ex_day": [DAYS[0], DAYS[4]],
            "cash_per_share": [0.5, 0.0],
            "shares_per_share": [0.0, 0.3],
        }
    ).with_columns(pl.col("asset_key").cast(pl.Int32))
    listings = pl.DataFrame(
        [(asset, date(2000, 1, 4), None) for asset in PRICES], orient="row",
        schema={"asset_key": pl.Int32, "listed_on": pl.Date, "delisted_on": pl.Date},
    )  # fmt: skip
    return MonthData(DAYS, date(2023, 8, 23), bars, dividends, listings)


def ints(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def run() -> tuple[dict[str, list[int]], list[dict[str, Any]]]:
    assets = ints(SMALL, BIG)
    mark = ints(181_800, 100_000)
    lots = LotRows(ints(BIG), ints(ordinal(date(2023, 8, 1))), ints(1050), np.zeros((1, 3), dtype=np.int64))
    account = Account(100_000_000, ints(BIG), ints(1050), ints(0), ints(100_000), lots)
    panel = build_panel(month(), assets, mark, OPTIONS)
    orders = Orders(
        asset=ints(0, 1, 1, 0), side=ints(BUY, SELL, SELL, SELL), shares=ints(10_000, 500, 550, 10_000),
        first=ints(0, 1, 2, 4), last=ints(4, 1, 5, 5),
    )  # fmt: skip
    long, short = spread(account, assets)
    held = lots_of(account, assets, panel.market, orders.asset, orders.side, ints(5, 1, 4, 2))
    ledger, fills, profit = run_sessions(panel.market, panel.terms, held, orders, long, short, mark, account.cash)
    assert long.tolist() == [0, 0]
    assert profit.tolist() == [590_000, 37_000]
    rows = [dict(zip(FILLS, row, strict=True)) for row in fills.tolist()]
    return {name: ledger[:, i].tolist() for i, name in enumerate(LEDGER)}, rows


def test_the_month_is_the_one_computed_by_hand() -> None:
    ledger, _ = run()
    assert ledger["cash"] == [100_052_500, 80_031_175, 80_031_175, 80_569_398, 96_757_086, 101_643_369]
    assert ledger["long_value"] == [1_018_500, 536_250 + 20_800_000, 536_250 + 20_900_000, 21_000_000, 4_875_000, 0]
    assert ledger["dividends"] == [52_500, 0, 0, 0, 0, 0]
    assert ledger["commission"] == [0, 500 + 5_125, 0, 500, 4_050, 1_223]
    assert ledger["stamp_duty"] == [0, 490, 0, 272, 8_100, 2_445]
    assert ledger["transfer_fee"] == [0, 5 + 205, 0, 5, 162, 49]
    assert ledger["dividend_tax"] == [0, 5_000, 0, 5_500, 0, 0]
    assert sum(ledger["profit"]) == 627_000


def test_every_order_says_why_it_was_not_done() -> None:
    _, fills = run()
    told = [
        (row["order"], str(DAYS[row["session"]]), row["requested"], row["filled"], REASONS[row["reason"]])
        for row in fills
    ]
    assert told == [
        (0, "2023-08-24", 10_000, 0, "limit_up"),
        (0, "2023-08-25", 10_000, 10_000, "filled"),
        (1, "2023-08-25", 500, 500, "filled"),
        (2, "2023-08-28", 550, 0, "suspended"),
        (2, "2023-08-29", 550, 550, "filled"),
        (3, "2023-08-30", 13_000, 10_000, "t_plus_1"),
        (3, "2023-08-31", 3_000, 3_000, "filled"),
    ]
