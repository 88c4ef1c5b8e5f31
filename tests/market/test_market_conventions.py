"""Trading conventions: each change of rule on its first day, the day before it, and limit prices in decimals."""

from __future__ import annotations

from datetime import date
from decimal import ROUND_HALF_UP, Decimal

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rotation_pipeline.market.conventions import (
    FIRST_DAYS,
    PRICE_LIMITS,
    ConventionError,
    commission,
    dividend_tax,
    limit_prices,
    limit_rate,
    limit_rates,
    lots,
    order_cost,
    round_lots,
    settlement,
    stamp_duty,
    transfer_fee,
)


def days(*texts: str) -> np.ndarray:
    return np.array(texts, dtype="datetime64[D]")


def test_stamp_duty() -> None:
    assert stamp_duty(date(2008, 9, 18), "buy") == 0.001
    assert stamp_duty(date(2008, 9, 19), "buy") == 0.0
    assert stamp_duty(date(2008, 9, 19), "sell") == 0.001
    assert stamp_duty(date(2023, 8, 27), "sell") == 0.001
    assert stamp_duty(date(2023, 8, 28), "sell") == 0.0005
    with pytest.raises(ConventionError, match="2007-05-30"):
        stamp_duty(date(2000, 1, 1), "sell")


def test_transfer_fee() -> None:
    before = transfer_fee(date(2015, 7, 31))
    assert (before.of_turnover, before.per_share) == (0.0, 0.0003)
    assert transfer_fee(date(2015, 7, 31), "SZ").per_share == 0.0
    assert transfer_fee(date(2015, 8, 1)).of_turnover == 0.00002
    assert transfer_fee(date(2022, 4, 28)).of_turnover == 0.00002
    assert transfer_fee(date(2022, 4, 29)).of_turnover == 0.00001
    with pytest.raises(ConventionError, match="'HK'"):
        transfer_fee(date(2022, 4, 29), "HK")


def test_order_cost() -> None:
    # 1,000 shares at 20: 5 CNY of commission exactly at the minimum, 20 of stamp duty, 0.4 of transfer fee
    assert order_cost(date(2020, 1, 2), "sell", 1_000, 20_000) == pytest.approx(5 + 20 + 0.4, abs=1e-12)
    assert order_cost(date(2020, 1, 2), "buy", 1_000, 20_000) == pytest.approx(5.4, abs=1e-12)
    assert order_cost(date(2020, 1, 2), "buy", 100, 2_000) == pytest.approx(5.04, abs=1e-12)
    assert order_cost(date(2014, 1, 2), "buy", 10_000, 100_000) == pytest.approx(25 + 3, abs=1e-12)
    assert order_cost(date(2014, 1, 2), "buy", 0, 0) == 0
    assert commission(date(2020, 1, 2)).minimum == 5
    with pytest.raises(ConventionError, match="at least 0"):
        order_cost(date(2014, 1, 2), "buy", -1, 10)


@pytest.mark.parametrize(
    ("board", "day", "is_st", "rate"),
    [
        ("main", "2014-01-02", False, 0.10),
        ("main", "2014-01-02", True, 0.05),
        ("main", "2026-07-05", True, 0.05),
        ("main", "2026-07-06", True, 0.10),
        ("chinext", "2020-08-23", False, 0.10),
        ("chinext", "2020-08-23", True, 0.05),
        ("chinext", "2020-08-24", False, 0.20),
        ("chinext", "2020-08-24", True, 0.20),
        ("star", "2019-07-22", False, 0.20),
        ("star", "2024-01-02", True, 0.20),
        ("beijing", "2021-11-15", False, 0.30),
    ],
)
def test_limit_rate(board: str, day: str, is_st: bool, rate: float) -> None:
    assert limit_rate([board], days(day), np.array([is_st]))[0] == rate


def test_limit_rate_errors() -> None:
    with pytest.raises(ConventionError, match="'star' on 2019-07-21"):
        limit_rate(pl.Series(["main", "star"]), days("2019-07-21", "2019-07-21"), np.array([False, False]))
    with pytest.raises(ConventionError, match="'nasdaq' is no board"):
        limit_rate(["main", "nasdaq"], days("2019-07-21", "2019-07-21"), np.array([False, False]))


@pytest.mark.parametrize(
    ("board", "day", "age", "down", "up"),
    [
        ("main", "2013-12-31", 0, np.inf, np.inf),
        ("main", "2014-01-02", 0, 0.36, 0.44),
        ("main", "2014-01-02", 1, 0.10, 0.10),
        ("main", "2023-04-07", 0, 0.36, 0.44),
        ("main", "2023-04-10", 0, np.inf, np.inf),
        ("main", "2023-04-10", 1, 0.10, 0.10),  # listed on 2023-04-07 under the old rule
        ("main", "2023-04-14", 4, np.inf, np.inf),  # fifth session of a share listed on 2023-04-10
        ("main", "2023-04-17", 5, 0.10, 0.10),
        ("chinext", "2020-08-21", 0, 0.36, 0.44),
        ("chinext", "2020-08-24", 0, np.inf, np.inf),
        ("chinext", "2020-08-24", 1, 0.20, 0.20),
        ("chinext", "2020-08-28", 4, np.inf, np.inf),
        ("star", "2019-07-22", 0, np.inf, np.inf),
        ("star", "2019-07-26", 4, np.inf, np.inf),
        ("star", "2019-07-29", 5, 0.20, 0.20),
        ("beijing", "2021-11-15", 0, np.inf, np.inf),
        ("beijing", "2021-11-16", 1, 0.30, 0.30),
        ("main", "2024-01-02", -1, 0.10, 0.10),
    ],
)
def test_first_days(board: str, day: str, age: int, down: float, up: float) -> None:
    low, high = limit_rates([board], days(day), np.array([False]), np.array([age]))
    assert (low[0], high[0]) == (down, up)


def test_tables_ascend_and_name_their_source() -> None:
    for table in (*PRICE_LIMITS.values(), *FIRST_DAYS.values()):
        starts = [row.effective_from for row in table]
        assert starts == sorted(set(starts))
        assert all(row.source for row in table)


def test_half_a_cent_goes_up() -> None:
    # 5.55 × 1.1 = 6.105 and 2.05 × 0.9 = 1.845: exactly half a cent, which floats put on either side
    low, high = limit_prices(np.array([5.55, 2.05]), np.array([0.1, 0.1]))
    assert high.tolist() == [6.11, 2.26]
    assert low.tolist() == [5.0, 1.85]


def test_no_limit_and_no_price() -> None:
    low, high = limit_prices(np.array([10.0, np.nan]), np.array([np.inf, 0.1]), np.array([np.inf, 0.1]))
    assert (low[0], high[0]) == (0.0, np.inf)
    assert np.isnan([low[1], high[1]]).all()


@given(st.integers(1, 400_000), st.sampled_from(["0.05", "0.1", "0.2", "0.3"]))
@settings(deadline=None, max_examples=200)
def test_limit_prices_against_decimal(cents: int, rate: str) -> None:
    price = Decimal(cents) / 100
    low, high = limit_prices(np.array([float(price)]), np.array([float(rate)]))
    cent = Decimal("0.01")
    assert Decimal(str(high[0])) == (price * (1 + Decimal(rate))).quantize(cent, ROUND_HALF_UP)
    assert Decimal(str(low[0])) == (price * (1 - Decimal(rate))).quantize(cent, ROUND_HALF_UP)


def test_lots() -> None:
    assert round_lots(199.9, "main", date(2024, 1, 2)) == 100
    assert round_lots(99, "main", date(2024, 1, 2)) == 0
    assert round_lots(199, "star", date(2024, 1, 2)) == 0
    assert round_lots(231.7, "star", date(2024, 1, 2)) == 231
    assert round_lots(231, "beijing", date(2024, 1, 2)) == 231
    with pytest.raises(ConventionError, match="2019-07-22"):
        lots("star", date(2019, 7, 21))
    with pytest.raises(ConventionError, match="no board"):
        lots("otc", date(2019, 7, 21))


def test_settlement() -> None:
    assert settlement(date(2014, 1, 2)) == 1


@pytest.mark.parametrize(
    ("ex_day", "bought", "sold", "rate"),
    [
        ("2015-09-08", "2015-09-01", "2015-10-01", 0.20),
        ("2015-09-08", "2015-09-01", "2015-10-02", 0.10),
        ("2015-09-08", "2015-09-01", "2016-09-01", 0.10),
        ("2015-09-08", "2015-09-01", "2016-09-02", 0.0),
        ("2015-09-07", "2014-09-01", "2016-09-02", 0.05),
        ("2012-12-31", "2012-12-30", "2013-01-02", 0.10),
        ("2020-02-03", "2020-01-31", "2020-02-29", 0.20),
        ("2020-02-03", "2020-01-31", "2020-03-01", 0.10),
    ],
)
def test_dividend_tax(ex_day: str, bought: str, sold: str, rate: float) -> None:
    assert dividend_tax(*(date.fromisoformat(text) for text in (ex_day, bought, sold))) == rate


def test_dividend_tax_order() -> None:
    with pytest.raises(ConventionError, match="before the purchase"):
        dividend_tax(date(2020, 1, 2), date(2020, 1, 3), date(2020, 1, 2))
