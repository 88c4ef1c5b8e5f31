"""Value paths: what they are, and the same however the bars lie in memory."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from factors_reference import Market, key_of, make_market
from hypothesis import given, settings
from hypothesis import strategies as st

from rotation_pipeline.factors.errors import BadInput
from rotation_pipeline.factors.paths import month_paths


@pytest.fixture(scope="module")
def market() -> Market:
    return make_market(11, n_assets=14, n_months=8)


def in_pieces(bars: pl.DataFrame, cuts: list[int]) -> pl.DataFrame:
    """The same rows in several pieces of memory."""
    edges = sorted({0, bars.height, *(cut % bars.height for cut in cuts)})
    parts = [bars.slice(low, high - low) for low, high in pairwise(edges)]
    made = pl.concat(parts, rechunk=False)
    assert made.n_chunks() == len(parts)
    return made


def test_paths_equal_the_slow_version(market: Market) -> None:
    months = market.months[2:6]
    paths = month_paths(market.bars, months)
    for month in months:
        rows = market.bars.filter(pl.col("month") == month)
        days = sorted(set(rows["day"].to_list()))
        assert paths[month].days.tolist() == days
        assert paths[month].asset_key.tolist() == sorted(set(rows["asset_key"].to_list()))
        for key, growth in zip(paths[month].asset_key.tolist(), paths[month].growth, strict=True):
            own = {row["day"]: row["ret"] for row in rows.filter(pl.col("asset_key") == key).iter_rows(named=True)}
            value, expected = 1.0, []
            for day in days:
                value *= 1.0 + (own.get(day) or 0.0)
                expected.append(value)
            assert growth.tolist() == expected


@settings(deadline=None, max_examples=20)
@given(st.lists(st.integers(1, 100_000), max_size=12))
def test_paths_do_not_depend_on_how_the_bars_lie(cuts: list[int]) -> None:
    market = make_market(11, n_assets=14, n_months=8)
    months = [market.months[1], market.months[2], market.months[5]]
    whole, pieces = (month_paths(bars, months) for bars in (market.bars, in_pieces(market.bars, cuts)))
    for month in months:
        np.testing.assert_array_equal(whole[month].days, pieces[month].days)
        np.testing.assert_array_equal(whole[month].asset_key, pieces[month].asset_key)
        np.testing.assert_array_equal(whole[month].growth, pieces[month].growth)


def test_wrong_rows_are_found_across_pieces(market: Market) -> None:
    bars, months = market.bars, market.months[2:5]
    inside = bars.filter(pl.col("month").is_in(months))
    row = pl.int_range(pl.len())
    wild = inside.with_columns(pl.when(row == 400).then(-1.5).otherwise("ret").alias("ret"))
    with pytest.raises(BadInput, match=r"has ret -1\.5; quarantine the row"):
        month_paths(in_pieces(wild, [150, 399, 400, 401]), months)
    twice = pl.concat([inside.head(201), inside.slice(200)])
    with pytest.raises(BadInput, match="out of order or twice"):
        month_paths(in_pieces(twice, [201]), months)
    keyless = inside.with_columns(pl.when(row != 300).then(pl.col("asset_key")).alias("asset_key"))
    with pytest.raises(BadInput, match="asset_key is null in 1 rows"):
        month_paths(in_pieces(keyless, [100, 200]), months)


def test_what_lies_where_a_return_is_unknown_does_not_matter(market: Market) -> None:
    """A null return leaves the value as it is, whatever number its place in memory holds."""
    month, key = market.months[3], key_of(1)
    hidden = market.bars.with_columns(
        pl.when((pl.col("asset_key") == key) & (pl.col("month") == month))
        .then(None)
        .otherwise(pl.col("ret"))
        .alias("ret")
    )
    paths = month_paths(hidden, [month])[month]
    assert (paths.growth[paths.asset_key.tolist().index(key)] == 1.0).all()
