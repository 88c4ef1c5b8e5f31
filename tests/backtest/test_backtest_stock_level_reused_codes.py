"""Books on a market where a code was given to a second company: as if that one had a code of its own."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
import stock_level_world as world
from polars.testing import assert_frame_equal

from rotation_pipeline.allocation.frames import MissingMonthError
from rotation_pipeline.backtest.stock_level import engine
from rotation_pipeline.backtest.stock_level.against import Against
from rotation_pipeline.backtest.stock_level.engine import StockInputs, StockResult, run_stock_level
from rotation_pipeline.backtest.stock_level.options import EnhancedOptions
from rotation_pipeline.backtest.stock_level.rows import Stored
from rotation_pipeline.backtest.stock_level.targets import read_signal
from rotation_pipeline.market.calendar import add_months, last_session, month_start

FIRST = int(world.KEYS[13])
NEXT = FIRST + 4
"""The second company's own code: nobody has it, and none lies between."""
OLD = date(2001, 1, 5)
OPTIONS = replace(world.OPTIONS, portfolios=("long_only", "long_short", "index_tilt"), delisting_recovery=0.4)
FRAMES = ("exposures", "snapshot", "daily_bars", "dividends", "listings")
TABLES = ("daily", "orders", "positions", "lots")
CASES = [
    (date(2023, 8, 9), date(2023, 9, 13), True, None),  # months and sessions with neither between them
    (date(2023, 8, 9), date(2023, 8, 17), True, None),  # both in one month
    (date(2023, 8, 17), date(2023, 8, 17), True, None),  # on one day
    (date(2023, 8, 17), date(2023, 8, 24), True, date(2023, 8, 9)),  # so, and a bar of the first is lost
    (date(2023, 9, 1), date(2023, 9, 1), True, None),  # one after the other, between two months
    (date(2023, 9, 29), date(2023, 9, 30), True, None),  # between the last session of a month and the next one
    (date(2023, 8, 29), date(2023, 9, 5), False, None),  # only the listing of the second tells of the end
]


def company(key: int, seed: int, score: float, first: date, gone: date) -> dict[str, pl.DataFrame]:
    """Rows of one company under the code ``key`` from ``first`` until the day before ``gone``; known at the closes between."""
    source = world.inputs(seed)
    found = {name: getattr(source, name).filter(pl.col("asset_key") == FIRST) for name in FRAMES}
    months = [month for month in world.STORED if first <= last_session(month) < gone]
    for name, day in (("daily_bars", "day"), ("dividends", "ex_day")):
        found[name] = found[name].filter((pl.col(day) >= first) & (pl.col(day) < gone))
    # the split makes of what is held more shares, if not of the right company
    split = {
        "month": month_start(gone),
        "asset_key": FIRST,
        "ex_day": first,
        "cash_per_share": 1.5,
        "shares_per_share": 1.0,
    }
    if first > OLD:
        own = pl.DataFrame([{**split, "month": month_start(first)}], schema=found["dividends"].schema)
        found["dividends"] = pl.concat([own, found["dividends"]])
    for name in ("exposures", "snapshot"):
        found[name] = found[name].filter(pl.col("month").is_in(months))
    found["exposures"] = found["exposures"].with_columns(score=pl.lit(score), in_tradable=pl.lit(value=True))
    return {name: frame.with_columns(pl.lit(key, dtype=pl.Int32).alias("asset_key")) for name, frame in found.items()}


def listing(key: int, months: list[date], listed: date, delisted: date | None) -> pl.DataFrame:
    rows = [(m, key, listed, delisted if delisted and month_start(delisted) == m else None) for m in months]
    return pl.DataFrame(rows, orient="row", schema=world.inputs().listings.schema)


def apart(gone: date, back: date, said: bool, score: float) -> StockInputs:
    """The first company ends before ``gone``, the second begins on ``back``; ``said``: the listings of the first tell its end."""
    base = world.inputs()
    one, two = company(FIRST, 3, score, OLD, gone), company(NEXT, 11, score, back, date.max)
    last_known = month_start(gone) if gone > month_start(gone) else add_months(month_start(gone), -1)
    before = [month for month in world.STORED if month <= last_known]
    after = [month for month in world.STORED if month >= month_start(back)]
    one["listings"] = listing(FIRST, before, OLD, gone if said else None)
    two["listings"] = listing(NEXT, after, back, None)
    frames = {
        name: pl.concat([getattr(base, name).filter(pl.col("asset_key") != FIRST), one[name], two[name]])
        for name in FRAMES
    }
    return replace(base, **frames)  # pyright: ignore[reportArgumentType]


def renamed(frame: pl.DataFrame) -> pl.DataFrame:
    key = pl.when(pl.col("asset_key") == NEXT).then(FIRST).otherwise("asset_key")
    return frame.with_columns(key.cast(frame.schema["asset_key"]).alias("asset_key"))


def one_code(inputs: StockInputs) -> StockInputs:
    """The same with one code for both companies; a month in which both were listed tells of the second."""
    frames = {name: renamed(getattr(inputs, name)) for name in FRAMES}
    frames["listings"] = frames["listings"].sort("month", "asset_key", "listed_on").unique(
        ["month", "asset_key"], keep="last", maintain_order=True
    )  # fmt: skip
    return replace(inputs, **frames)  # pyright: ignore[reportArgumentType]


def run(inputs: StockInputs) -> StockResult:
    return run_stock_level(inputs, world.MONTHS, world.FIRST, None, OPTIONS)


def same(found: StockResult, expected: StockResult) -> None:
    for name in TABLES:
        assert_frame_equal(getattr(found, name), renamed_rows(getattr(expected, name)), check_exact=True)


def renamed_rows(frame: pl.DataFrame) -> pl.DataFrame:
    return renamed(frame) if "asset_key" in frame.columns else frame


@pytest.mark.parametrize("score", [3.0, -3.0])  # held, and owed by the long-short book
@pytest.mark.parametrize(("gone", "back", "said", "lost"), CASES)
def test_a_second_company_of_the_code_is_as_one_of_another_code(
    gone: date, back: date, said: bool, lost: date | None, score: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    two = apart(gone, back, said, score)
    absent = (pl.col("asset_key") == FIRST) & pl.col("day").eq_missing(pl.lit(lost, dtype=pl.Date))
    two = replace(two, daily_bars=two.daily_bars.filter(~absent))
    one = one_code(two)
    expected, found = run(two), run(one)
    same(found, expected)
    ended = found.orders.filter((pl.col("asset_key") == FIRST) & (pl.col("side") == "delisting"))
    last_bar = two.daily_bars.filter(pl.col("asset_key") == FIRST).sort("day")["close"][-1]
    assert ended["price"].round(6).unique().to_list() == [round(last_bar, 6)], "the last price of the first company"
    portfolio = "long_only" if score > 0 else "long_short"
    assert ended.filter(pl.col("portfolio") == portfolio).height == 2, "one for each strategy"
    assert (
        found.positions.filter((pl.col("asset_key") == FIRST) & (pl.col("month") == world.MONTHS[-1]))[
            "shares"
        ].to_list()
        != []
    )
    for before, month in pairwise(world.MONTHS):
        stored = Stored(
            *(getattr(found, name).filter(pl.col("month") == before) for name in ("daily", "positions", "lots"))
        )
        frames = {name: getattr(one, name) for name in StockInputs.__slots__}
        near = {
            name: None if rows is None else rows.filter(pl.col("month").is_between(before, month))
            for name, rows in frames.items()
        }
        alone = run_stock_level(StockInputs(**near), [month], world.FIRST, stored, OPTIONS)  # pyright: ignore[reportArgumentType]
        for name in TABLES:
            assert_frame_equal(
                getattr(alone, name), getattr(found, name).filter(pl.col("month") == month), check_exact=True
            )
    monkeypatch.setattr(engine, "handed_over", lambda listings, *_: listings.clear())
    ended_before = said and last_session(month_start(gone)) < back and gone < last_session(month_start(gone))
    assert run(one).daily.equals(found.daily) == ended_before, "else nothing is tested"


def test_what_says_that_a_code_was_given_on_is_asked_for_by_name() -> None:
    inputs = one_code(apart(date(2023, 8, 9), date(2023, 8, 17), True, 3.0))
    lacking = replace(inputs, listings=inputs.listings.filter(pl.col("month") != world.STORED[0]))
    with pytest.raises(MissingMonthError, match=r"raw\.listings has no rows for 2023-06"):
        run(lacking)


def test_risk_is_that_of_the_present_company() -> None:
    """The covariance of a member's code reads none of the days before its company was listed."""
    gone, back = date(2023, 8, 9), date(2023, 8, 17)
    two = apart(gone, back, True, 1.0)
    one = one_code(two)
    options = EnhancedOptions(risk_months=3)
    month = date(2023, 9, 1)

    def returns(inputs: StockInputs) -> np.ndarray:
        index = inputs.exposures.select("month", "asset_key").unique(maintain_order=True).with_columns(
            industry=pl.lit("a"), index_weight=pl.lit(1.0)
        )  # fmt: skip
        history = inputs.daily_bars.select("month", "asset_key", "day", "close", "prev_close")
        against = Against(index, history, inputs.listings, options)
        at = (frame.filter(pl.col("month") == month) for frame in (inputs.exposures, inputs.snapshot))
        return against.at(read_signal(*at), month).returns

    expected = returns(two)
    np.testing.assert_array_equal(returns(one), expected)
    assert np.isnan(expected).any()
    np.testing.assert_array_equal(
        returns(replace(one, **{name: getattr(one, name).filter(pl.col("month") <= month) for name in FRAMES})),
        expected,
    )
    blind = one.listings.with_columns(listed_on=pl.lit(OLD))
    assert not np.array_equal(returns(replace(one, listings=blind)), expected, equal_nan=True)
    with pytest.raises(MissingMonthError, match=r"raw\.listings has no rows for 2023-08, .* covariance at 2023-09"):
        returns(replace(one, listings=one.listings.filter(pl.col("month") != date(2023, 8, 1))))
