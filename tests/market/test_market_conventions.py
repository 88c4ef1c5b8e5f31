"""Trading conventions: each change of rule on its first day, the day before it, and limit prices in decimals."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, get_args

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rotation_pipeline.market.conventions import (
    COMMISSION,
    DIVIDEND_TAX,
    FIRST_DAYS,
    LOTS,
    PRICE_LIMITS,
    SETTLEMENT,
    STAMP_DUTY,
    TRANSFER_FEE,
    Board,
    ConventionError,
    Side,
    commission,
    dividend_tax,
    in_force,
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


@pytest.mark.parametrize(
    ("day", "buy", "sell"),
    [
        ("2007-05-30", 0.003, 0.003),
        ("2008-04-23", 0.003, 0.003),
        ("2008-04-24", 0.001, 0.001),
        ("2008-09-18", 0.001, 0.001),
        ("2008-09-19", 0.0, 0.001),
        ("2023-08-27", 0.0, 0.001),
        ("2023-08-28", 0.0, 0.0005),
    ],
)
def test_stamp_duty(day: str, buy: float, sell: float) -> None:
    assert stamp_duty(date.fromisoformat(day), "buy") == buy
    assert stamp_duty(date.fromisoformat(day), "sell") == sell


def test_stamp_duty_before_the_first_recorded_rule() -> None:
    with pytest.raises(ConventionError, match="2007-05-30"):
        stamp_duty(date(2007, 5, 29), "sell")


@pytest.mark.parametrize(
    ("exchange", "day", "of_turnover", "per_share"),
    [
        ("SH", "2012-09-01", 0.0, 0.0003),
        ("SH", "2015-07-31", 0.0, 0.0003),
        ("SH", "2015-08-01", 0.00002, 0.0),
        ("SH", "2022-04-28", 0.00002, 0.0),
        ("SH", "2022-04-29", 0.00001, 0.0),
        ("SZ", "2015-07-31", 0.0, 0.0),
        ("SZ", "2015-08-01", 0.00002, 0.0),
        ("SZ", "2022-04-28", 0.00002, 0.0),
        ("SZ", "2022-04-29", 0.00001, 0.0),
        ("BJ", "2021-11-15", 0.000025, 0.0),
        ("BJ", "2022-04-28", 0.000025, 0.0),
        ("BJ", "2022-04-29", 0.00001, 0.0),
    ],
)
def test_transfer_fee(exchange: str, day: str, of_turnover: float, per_share: float) -> None:
    fee = transfer_fee(date.fromisoformat(day), exchange)
    assert (fee.of_turnover, fee.per_share) == (of_turnover, per_share)


def test_transfer_fee_errors() -> None:
    with pytest.raises(ConventionError, match="'HK'"):
        transfer_fee(date(2022, 4, 29), "HK")
    with pytest.raises(ConventionError, match=r"\(BJ\).*2021-11-15"):
        transfer_fee(date(2021, 11, 14), "BJ")


@pytest.mark.parametrize(
    ("day", "side", "cost"),
    [
        # 10,000 shares for 100,000 CNY: commission 25; then the transfer fee and the duty of the day
        ("2015-07-31", "sell", 25 + 100 + 3),
        ("2015-08-01", "sell", 25 + 100 + 2),
        ("2022-04-28", "buy", 25 + 2),
        ("2022-04-29", "buy", 25 + 1),
        ("2023-08-27", "sell", 25 + 100 + 1),
        ("2023-08-28", "sell", 25 + 50 + 1),
    ],
)
def test_order_cost_at_each_change_of_rule(day: str, side: Side, cost: float) -> None:
    assert order_cost(date.fromisoformat(day), side, 10_000, 100_000) == pytest.approx(cost, abs=1e-9)


def test_commission_and_its_minimum() -> None:
    assert (commission(date(2014, 1, 2)).of_turnover, commission(date(2014, 1, 2)).minimum) == (0.00025, 5.0)
    # 20,000 CNY is where 0.025 % reaches 5 CNY; without duty and fee the rest is commission alone
    day = date(2014, 1, 2)
    assert order_cost(day, "buy", 100, 19_999, exchange="SZ") == 5.0
    assert order_cost(day, "buy", 100, 20_400, exchange="SZ") == pytest.approx(5.1, abs=1e-12)
    assert order_cost(day, "buy", 100, 20_400, exchange="SZ", commission_rate=0.001, commission_minimum=0.0) == (
        pytest.approx(20.4, abs=1e-12)
    )
    with pytest.raises(ConventionError, match="1990-12-19"):
        commission(date(1990, 12, 18))


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
        ("main", "1996-12-16", False, 0.10),
        ("main", "1998-04-21", True, 0.10),
        ("main", "1998-04-22", True, 0.05),
        ("main", "2014-01-02", False, 0.10),
        ("main", "2014-01-02", True, 0.05),
        ("main", "2026-07-05", True, 0.05),
        ("main", "2026-07-06", True, 0.10),
        ("main", "2026-07-06", False, 0.10),
        ("chinext", "2009-10-30", False, 0.10),
        ("chinext", "2020-08-23", False, 0.10),
        ("chinext", "2020-08-23", True, 0.05),
        ("chinext", "2020-08-24", False, 0.20),
        ("chinext", "2020-08-24", True, 0.20),
        ("star", "2019-07-22", False, 0.20),
        ("star", "2024-01-02", True, 0.20),
        ("beijing", "2021-11-15", False, 0.30),
        ("beijing", "2021-11-15", True, 0.30),
    ],
)
def test_limit_rate(board: str, day: str, is_st: bool, rate: float) -> None:
    assert limit_rate([board], days(day), np.array([is_st]))[0] == rate


@pytest.mark.parametrize(
    ("board", "first"),
    [("main", "1996-12-16"), ("chinext", "2009-10-30"), ("star", "2019-07-22"), ("beijing", "2021-11-15")],
)
def test_no_board_has_a_limit_before_its_first_rule(board: str, first: str) -> None:
    before = days(first) - np.timedelta64(1, "D")
    with pytest.raises(ConventionError, match=f"'{board}' on {before[0]}; the first rule is of {first}"):
        limit_rate([board], before, np.array([False]))


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
        ("main", "1996-12-16", 0, np.inf, np.inf),
        ("main", "1996-12-17", 1, 0.10, 0.10),
        ("main", "2023-04-07", 0, 0.36, 0.44),
        ("main", "2023-04-10", 0, np.inf, np.inf),
        ("main", "2023-04-10", 1, 0.10, 0.10),  # listed on 2023-04-07 under the old rule
        ("main", "2023-04-14", 4, np.inf, np.inf),  # fifth session of a share listed on 2023-04-10
        ("main", "2023-04-17", 5, 0.10, 0.10),
        ("chinext", "2009-10-30", 0, np.inf, np.inf),
        ("chinext", "2009-11-02", 1, 0.10, 0.10),
        ("chinext", "2013-12-31", 0, np.inf, np.inf),
        ("chinext", "2014-01-02", 0, 0.36, 0.44),
        ("chinext", "2020-08-21", 0, 0.36, 0.44),
        ("chinext", "2020-08-24", 0, np.inf, np.inf),
        ("chinext", "2020-08-24", 1, 0.20, 0.20),
        ("chinext", "2020-08-28", 4, np.inf, np.inf),
        ("chinext", "2020-08-31", 5, 0.20, 0.20),
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


def test_special_treatment_leaves_the_first_day_as_it_is() -> None:
    down, up = limit_rates(["main"] * 2, days("2014-01-02", "2014-01-03"), np.array([True, True]), np.array([0, 1]))
    assert (down.tolist(), up.tolist()) == ([0.36, 0.05], [0.44, 0.05])
    low, high = limit_prices(np.array([7.01, 7.01]), down, up)
    assert high.tolist() == [10.09, 7.36]  # 10.0944 and 7.3605
    assert low.tolist() == [4.49, 6.66]  # 4.4864 and 6.6595


TABLES: dict[str, Sequence[Any]] = {
    "stamp duty": STAMP_DUTY, "commission": COMMISSION, "settlement": SETTLEMENT, "dividend tax": DIVIDEND_TAX,
    **{f"transfer fee {name}": table for name, table in TRANSFER_FEE.items()},
    **{f"limit {name}": table for name, table in PRICE_LIMITS.items()},
    **{f"first days {name}": table for name, table in FIRST_DAYS.items()},
    **{f"lots {name}": table for name, table in LOTS.items()},
}  # fmt: skip


@pytest.mark.parametrize("name", TABLES)
def test_tables_ascend_and_every_row_names_its_source(name: str) -> None:
    starts = [row.effective_from for row in TABLES[name]]
    assert starts == sorted(set(starts))
    assert all(len(row.source.split()) >= 3 for row in TABLES[name])


@pytest.mark.parametrize("name", TABLES)
def test_a_rule_holds_from_its_day_on_and_not_before(name: str) -> None:
    rows, day = TABLES[name], timedelta(days=1)
    for position, row in enumerate(rows):
        assert in_force(rows, row.effective_from, name) is row
        if position:
            assert in_force(rows, row.effective_from - day, name) is rows[position - 1]
    with pytest.raises(ConventionError, match=f"no {name} is recorded"):
        in_force(rows, rows[0].effective_from - day, name)


def test_every_board_has_every_kind_of_rule() -> None:
    boards = set(get_args(Board))
    assert boards == set(PRICE_LIMITS) == set(FIRST_DAYS) == set(LOTS)


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


@pytest.mark.parametrize(
    ("board", "before", "first", "minimum", "step"),
    [
        ("main", "1990-12-18", "1990-12-19", 100, 100),
        ("chinext", "2009-10-29", "2009-10-30", 100, 100),
        ("star", "2019-07-21", "2019-07-22", 200, 1),
        ("beijing", "2021-11-14", "2021-11-15", 100, 1),
    ],
)
def test_lots_from_the_first_day_of_each_board(board: str, before: str, first: str, minimum: int, step: int) -> None:
    rule = lots(board, date.fromisoformat(first))
    assert (rule.minimum, rule.step) == (minimum, step)
    with pytest.raises(ConventionError, match=first):
        lots(board, date.fromisoformat(before))


@given(st.floats(0, 1e7), st.sampled_from(["main", "chinext", "star", "beijing"]))
@settings(deadline=None, max_examples=50)
def test_a_rounded_order_is_the_largest_one_taken(shares: float, board: str) -> None:
    rule = lots(board, date(2024, 1, 2))
    found = round_lots(shares, board, date(2024, 1, 2))
    taken = [0] if shares < rule.minimum else list(range(max(rule.minimum, int(shares) - 250), int(shares) + 1))
    assert found == max(size for size in taken if size == 0 or (size - rule.minimum) % rule.step == 0)


def test_settlement() -> None:
    assert settlement(date(1995, 1, 1)) == 1
    assert settlement(date(2014, 1, 2)) == 1
    with pytest.raises(ConventionError, match="1995-01-01"):
        settlement(date(1994, 12, 31))


@pytest.mark.parametrize(
    ("ex_day", "bought", "sold", "rate"),
    [
        ("2015-09-08", "2015-09-01", "2015-10-01", 0.20),
        ("2015-09-08", "2015-09-01", "2015-10-02", 0.10),
        ("2015-09-08", "2015-09-01", "2016-09-01", 0.10),
        ("2015-09-08", "2015-09-01", "2016-09-02", 0.0),
        ("2015-09-07", "2014-09-01", "2016-09-02", 0.05),
        ("2012-12-31", "2012-12-30", "2013-01-02", 0.10),
        ("2012-12-31", "2010-12-30", "2013-01-02", 0.10),
        ("2013-01-01", "2012-12-28", "2013-01-28", 0.20),
        ("2013-01-01", "2012-12-28", "2013-01-29", 0.10),
        ("2013-01-01", "2011-12-28", "2013-01-04", 0.05),
        ("2005-06-13", "2005-06-10", "2005-06-14", 0.10),
        ("2015-09-07", "2015-09-01", "2015-09-21", 0.20),
        ("2020-02-03", "2020-01-31", "2020-02-29", 0.20),
        ("2020-02-03", "2020-01-31", "2020-03-01", 0.10),
    ],
)
def test_dividend_tax(ex_day: str, bought: str, sold: str, rate: float) -> None:
    assert dividend_tax(*(date.fromisoformat(text) for text in (ex_day, bought, sold))) == rate


def test_dividend_tax_order() -> None:
    with pytest.raises(ConventionError, match="2005-06-13"):
        dividend_tax(date(2005, 6, 10), date(2005, 6, 1), date(2005, 6, 14))
    with pytest.raises(ConventionError, match="before the purchase"):
        dividend_tax(date(2020, 1, 2), date(2020, 1, 3), date(2020, 1, 2))
