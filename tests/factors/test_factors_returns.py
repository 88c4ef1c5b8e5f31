"""Long-short returns: against a slow version, by hand, replay, turnover."""

from __future__ import annotations

import math
from datetime import date

import numpy as np
import pandas as pd
import polars as pl
import pytest
from factors_reference import Market, key_of, make_market
from hypothesis import given, settings
from hypothesis import strategies as st

from rotation_pipeline.factors import holding
from rotation_pipeline.factors.errors import BadInput, MissingExposures, MissingInput
from rotation_pipeline.factors.exposures import compute_exposures, scores_by_month
from rotation_pipeline.factors.formation import formations
from rotation_pipeline.factors.options import FactorOptions
from rotation_pipeline.factors.paths import month_paths
from rotation_pipeline.factors.raw import compute_raw_factors
from rotation_pipeline.factors.returns import LongShortResult, long_short_returns, longshort_wide
from rotation_pipeline.factors.styles import SERIES
from rotation_pipeline.factors.tables import GROUPS, LONGSHORT, LONGSHORT_DAILY
from rotation_pipeline.market.calendar import add_months

OPTIONS = FactorOptions(min_names=10, min_factor_names=5)
TABLES = {"longshort": LONGSHORT, "groups": GROUPS, "daily": LONGSHORT_DAILY}


@pytest.fixture(scope="module")
def market() -> Market:
    return make_market(5, n_assets=42, n_months=24)


@pytest.fixture(scope="module")
def exposures(market: Market) -> pl.DataFrame:
    raw = compute_raw_factors(
        market.bars, market.index_daily, market.snapshot, market.universe, market.sessions, market.months[8:], OPTIONS
    )
    return compute_exposures(raw, market.universe, market.snapshot, OPTIONS)


@pytest.fixture(scope="module")
def result(market: Market, exposures: pl.DataFrame) -> LongShortResult:
    return long_short_returns(exposures, market.bars, market.snapshot, market.months[8:], OPTIONS, market.months[8])


def slow_member_paths(market: Market, keys: list[int], month: date) -> dict[int, list[float]]:
    """Value of one unit of each member at every close of the month, row by row."""
    rows = market.bars.filter(pl.col("day").dt.month_start() == month)
    days = sorted(set(rows["day"]))
    paths = {}
    for key in keys:
        ret = {row["day"]: row["ret"] for row in rows.filter(pl.col("asset_key") == key).iter_rows(named=True)}
        value, path = 1.0, []
        for day in days:
            value *= 1 + (ret.get(day) or 0.0)
            path.append(value)
        paths[key] = path
    return paths


def test_returns_equal_the_slow_version(market: Market, exposures: pl.DataFrame, result: LongShortResult) -> None:
    for month in (market.months[9], market.months[15], market.months[20]):
        before = add_months(month, -1)
        formed = exposures.filter((pl.col("month") == before) & pl.col("quantile").is_not_null())
        size = dict(
            market.snapshot.filter(pl.col("month") == before).select("asset_key", "total_market_value").iter_rows()
        )
        paths = slow_member_paths(market, sorted(set(formed["asset_key"])), month)
        for factor in ("MOM", "VAL", "beta_252", "log_market_value"):
            group = dict(formed.filter(pl.col("factor") == factor).select("asset_key", "quantile").iter_rows())
            value = {}
            for g in range(1, 6):
                names = [key for key in group if group[key] == g]
                equal = np.mean([paths[key] for key in names], axis=0)
                sized = [key for key in names if size.get(key) is not None]
                weighted = np.average([paths[key] for key in sized], axis=0, weights=[size[key] for key in sized])
                value[g] = equal
                row = (
                    result.groups.query("factor == @factor and quantile == @g")
                    .set_index("month")
                    .loc[pd.Timestamp(month)]
                )
                assert row["n"] == len(names)
                assert row["return_equal"] == pytest.approx(equal[-1] - 1, abs=1e-12)
                assert row["return_value"] == pytest.approx(weighted[-1] - 1, abs=1e-12)
            row = result.longshort.query("factor == @factor").set_index("month").loc[pd.Timestamp(month)]
            assert row["long_short"] == pytest.approx(value[5][-1] - value[1][-1], abs=1e-12)
            assert (row["n_long"], row["n_short"]) == (
                len([k for k in group if group[k] == 5]),
                len([k for k in group if group[k] == 1]),
            )
            daily = (
                result.daily.query("factor == @factor")
                .set_index("month")
                .loc[pd.Timestamp(month)]["long_short"]
                .to_numpy()
            )
            legs = [np.diff(np.concatenate(([1.0], value[g]))) / np.concatenate(([1.0], value[g][:-1])) for g in (5, 1)]
            np.testing.assert_allclose(daily, legs[0] - legs[1], atol=1e-12)


def slow_book(exposures: pl.DataFrame, month: date, factor: str) -> dict[int, float]:
    rows = exposures.filter((pl.col("month") == month) & (pl.col("factor") == factor))
    out: dict[int, float] = {}
    for g, side in ((5, 1.0), (1, -1.0)):
        names = rows.filter(pl.col("quantile") == g)["asset_key"].to_list()
        out |= {name: side / len(names) for name in names}
    return out


def test_book_turnover_equals_the_slow_version(
    market: Market, exposures: pl.DataFrame, result: LongShortResult
) -> None:
    for month in (market.months[12], market.months[20]):
        for factor in ("MOM", "SIZE", "dividend_yield"):
            old, new = (slow_book(exposures, add_months(month, -lag), factor) for lag in (2, 1))
            paths = slow_member_paths(market, sorted(old), add_months(month, -1))
            grown = {key: weight * paths[key][-1] for key, weight in old.items()}
            legs = [sum(w for w in grown.values() if w > 0), -sum(w for w in grown.values() if w < 0)]
            drifted = {key: w / (legs[0] if w > 0 else legs[1]) for key, w in grown.items()}
            expected = 0.5 * sum(abs(new.get(k, 0.0) - drifted.get(k, 0.0)) for k in set(new) | set(drifted))
            row = result.longshort.query("factor == @factor").set_index("month").loc[pd.Timestamp(month)]
            assert row["book_turnover"] == pytest.approx(expected, abs=1e-12)


def test_group_turnover_published_case() -> None:
    # alphalens-reloaded 0.5.1, tests/test_performance.py, test_quantile_turnover (Apache-2.0)
    up, down, mixed = [1, 2, 3, 4], [4, 3, 2, 1], [1, 3, 2, 4]
    nan = math.nan
    cases = [
        ([up, down, up, up], 4, 1, [nan, 1.0, 1.0, 0.0]),
        ([up, down, up, up], 4, 2, [nan, nan, 0.0, 1.0]),
        ([up, down, up, up], 4, 3, [nan, nan, nan, 0.0]),
        ([up, down, up, down], 2, 1, [nan, 1.0, 1.0, 1.0]),
        ([up, mixed, up, mixed, up, mixed, up, mixed, up, mixed, up, up], 3, 10, [nan] * 10 + [0.0, 1.0]),
    ]
    same = np.arange(4)
    for days, quantile, period, expected in cases:
        got = [nan] * period
        for t in range(period, len(days)):
            now, before = np.array([days[t]]), np.array([days[t - period]])
            got.append(holding.group_turnover(now, before, same, 4)[0, quantile - 1])
        np.testing.assert_array_equal(got, expected)


def test_group_turnover_counts_newcomers(market: Market, exposures: pl.DataFrame, result: LongShortResult) -> None:
    month = market.months[16]
    for g in (1, 3, 5):
        now, old = (
            set(
                exposures.filter(
                    (pl.col("month") == add_months(month, -lag))
                    & (pl.col("factor") == "VAL")
                    & (pl.col("quantile") == g)
                )["asset_key"]
            )
            for lag in (1, 2)
        )
        row = result.groups.query("factor == 'VAL' and quantile == @g").set_index("month").loc[pd.Timestamp(month)]
        assert row["turnover"] == len(now - old) / len(now)


def test_first_book_has_turnover_one_and_the_first_month_no_row(result: LongShortResult, market: Market) -> None:
    first = result.longshort["month"].min()
    assert first == pd.Timestamp(market.months[9])
    opening = result.longshort[result.longshort["month"] == first]
    np.testing.assert_allclose(opening["book_turnover"], 1.0, atol=1e-12)
    assert result.groups[result.groups["month"] == first]["turnover"].isna().all()
    later = result.longshort[result.longshort["month"] > first]
    assert later["book_turnover"].between(0, 2).all()
    assert result.groups[result.groups["month"] > first]["turnover"].between(0, 1).all()


def test_table_contract(result: LongShortResult) -> None:
    for name, table in TABLES.items():
        frame = getattr(result, name)
        assert list(frame.columns) == table.stored_names
        assert not frame.duplicated(list(table.key)).any()
        pd.testing.assert_frame_equal(frame, frame.sort_values(list(table.key), kind="stable").reset_index(drop=True))
        for column in table.columns:
            assert column.nullable or frame[column.name].notna().all(), column.name
            if column.minimum is not None:
                assert frame[column.name].min() >= column.minimum
            if column.maximum is not None:
                assert frame[column.name].max() <= column.maximum


def test_a_month_alone_on_cut_data_equals_the_range_bit_for_bit(
    market: Market, exposures: pl.DataFrame, result: LongShortResult
) -> None:
    for month in (market.months[9], market.months[10], market.months[-1]):
        seen = pl.col("month").is_between(add_months(month, -2), add_months(month, -1))
        bars = market.bars.filter(pl.col("day").dt.month_start().is_between(add_months(month, -1), month))
        alone = long_short_returns(
            exposures.filter(seen), bars, market.snapshot.filter(pl.col("month") == add_months(month, -1)), [month], OPTIONS,
            market.months[8],
        )  # fmt: skip
        for name in TABLES:
            whole = getattr(result, name)
            expected = whole[whole["month"] == pd.Timestamp(month)].reset_index(drop=True)
            pd.testing.assert_frame_equal(getattr(alone, name), expected, check_exact=True)


def tiny(
    returns: dict[int, list[float | None]], groups: dict[int, int | None], month: date = date(2020, 3, 1)
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Exposures of the month before (one grouping for all series), bars and snapshot of a hand-made market."""
    before = add_months(month, -1)
    members = list(groups)
    exposures = pl.DataFrame(
        [
            {
                "month": before,
                "asset_key": key,
                "factor": f,
                "score": float(i),
                "quantile": groups[key],
                "in_coverage": True,
                "in_tradable": groups[key] is not None,
            }
            for i, key in enumerate(members)
            for f in SERIES
        ],
        schema_overrides={"asset_key": pl.Int32, "quantile": pl.Int32},
    )
    bars = pl.DataFrame(
        [
            {"day": date(month.year, month.month, 2 + d), "asset_key": key, "ret": r}
            for key, path in sorted(returns.items())
            for d, r in enumerate(path)
        ],
        schema_overrides={"asset_key": pl.Int32},
    )
    snapshot = pl.DataFrame(
        {
            "month": [before] * len(members),
            "asset_key": members,
            "total_market_value": [1.0 + i for i in range(len(members))],
        }
    )
    return exposures, bars, snapshot


def test_suspended_earn_nothing_until_they_trade_and_the_delisted_keep_their_last_path() -> None:
    two = FactorOptions(n_groups=2)
    month = date(2020, 3, 1)
    # 4: suspended, resumes with +30 %; 8: delisted after −50 %; 12: no row in the month; 16: plain
    exposures, bars, snapshot = tiny(
        {4: [None, None, 0.3], 8: [-0.5], 16: [0.1, 0.1, 0.0], 20: [0.0, 0.0, 0.0]}, {4: 2, 8: 1, 12: 1, 16: 2, 20: 1}
    )
    got = long_short_returns(exposures, bars, snapshot, [month], two, add_months(month, -1))
    row = got.longshort.iloc[0]
    top, bottom = (0.3 + 0.21) / 2, (-0.5 + 0 + 0) / 3
    assert row["long_short"] == pytest.approx(top - bottom)
    assert row["long_short_value_weighted"] == pytest.approx((1 * 0.3 + 4 * 0.21) / 5 - (2 * -0.5) / (2 + 3 + 5))
    daily = got.daily.query("factor == 'MOM'")["long_short"].to_numpy()
    np.testing.assert_allclose(daily[:2], [0.05 - (-0.5 / 3), (1 + 1.21) / (1 + 1.1) - 1])
    assert len(daily) == 3


def test_empty_groups_and_unknown_sizes_are_null() -> None:
    month = date(2020, 3, 1)
    exposures, bars, snapshot = tiny({4: [0.1], 8: [0.2]}, {4: 1, 8: 2})
    got = long_short_returns(exposures, bars, snapshot, [month], OPTIONS, add_months(month, -1))
    assert got.longshort["long_short"].isna().all()
    assert (got.longshort["n_long"] == 0).all()
    assert got.daily["long_short"].isna().all()
    assert (got.longshort["book_turnover"] == 0).all()
    nothing = snapshot.with_columns(pl.lit(None, pl.Float64).alias("total_market_value"))
    two = FactorOptions(n_groups=2)
    got = long_short_returns(exposures, bars, nothing, [month], two, add_months(month, -1))
    assert got.longshort["long_short"].to_numpy() == pytest.approx(0.1)
    assert got.longshort["long_short_value_weighted"].isna().all()
    assert got.groups["return_value"].isna().all()


def test_value_weighting_moves_the_daily_series(
    market: Market, exposures: pl.DataFrame, result: LongShortResult
) -> None:
    options = FactorOptions(min_names=10, weighting="value")
    got = long_short_returns(exposures, market.bars, market.snapshot, market.months[8:], options, market.months[8])
    pd.testing.assert_frame_equal(got.longshort, result.longshort, check_exact=True)
    assert not np.allclose(got.daily["long_short"], result.daily["long_short"])


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 10**6))
def test_flipping_the_groups_swaps_the_sign_and_shuffling_changes_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    keys = [4 * i for i in range(1, 13)]
    groups = {key: int(g) for key, g in zip(keys, rng.permutation(np.arange(12) % 5 + 1), strict=True)}
    returns = {key: (0.05 * rng.standard_normal(4)).tolist() for key in keys}
    month = date(2020, 3, 1)
    exposures, bars, snapshot = tiny(returns, groups)
    first = add_months(month, -1)
    plain = long_short_returns(exposures, bars, snapshot, [month], OPTIONS, first)
    flipped = long_short_returns(
        exposures.with_columns((6 - pl.col("quantile")).alias("quantile")), bars, snapshot, [month], OPTIONS, first
    )
    np.testing.assert_array_equal(flipped.longshort["long_short"], -plain.longshort["long_short"])
    np.testing.assert_array_equal(flipped.daily["long_short"], -plain.daily["long_short"])
    shuffled = long_short_returns(
        exposures.sample(fraction=1.0, shuffle=True, seed=seed), bars, snapshot.reverse(), [month], OPTIONS, first
    )
    pd.testing.assert_frame_equal(shuffled.longshort, plain.longshort, check_exact=True)


def test_missing_inputs_are_named(market: Market, exposures: pl.DataFrame) -> None:
    month, first = market.months[15], market.months[8]
    args = (market.bars, market.snapshot, [month], OPTIONS)
    with pytest.raises(MissingExposures, match=r"no row for 2019-03.*returns of 2019-04"):
        long_short_returns(exposures.filter(pl.col("month") != add_months(month, -1)), *args, first)
    gap = exposures.filter(pl.col("month") != add_months(month, -2))
    with pytest.raises(MissingExposures, match="no row for 2019-02"):
        long_short_returns(gap, *args, first)
    assert (long_short_returns(gap, *args).longshort["book_turnover"].round(12) == 1).all()
    with pytest.raises(MissingInput, match="adjusted_bars has no row in 2019-04"):
        long_short_returns(
            exposures, market.bars.filter(pl.col("month") != month), market.snapshot, [month], OPTIONS, first
        )
    few = market.bars.filter((pl.col("month") != month) | (pl.col("asset_key") < key_of(5)))
    with pytest.raises(MissingInput, match=r"for \d+ of \d+ held members"):
        long_short_returns(exposures, few, market.snapshot, [month], OPTIONS, first)
    with pytest.raises(MissingInput, match="stock_snapshot has no row for 2019-03"):
        long_short_returns(exposures, market.bars, market.snapshot.clear(), [month], OPTIONS, first)
    with pytest.raises(BadInput, match=r"has ret -1\.5"):
        long_short_returns(
            exposures, market.bars.with_columns(pl.lit(-1.5).alias("ret")), market.snapshot, [month], OPTIONS, first
        )
    with pytest.raises(BadInput, match="each of the 16 series once"):
        long_short_returns(exposures.filter(pl.col("factor") != "VOL"), *args, first)
    with pytest.raises(BadInput, match="unknown series 'AI'"):
        long_short_returns(exposures.with_columns(pl.lit("AI").alias("factor")), *args, first)
    with pytest.raises(BadInput, match="distinct first days"):
        long_short_returns(exposures, market.bars, market.snapshot, [month, month], OPTIONS, first)


def test_columns_made_before_give_the_same_tables(
    market: Market, exposures: pl.DataFrame, result: LongShortResult
) -> None:
    months, first = market.months[8:], market.months[8]
    raw = compute_raw_factors(
        market.bars, market.index_daily, market.snapshot, market.universe, market.sessions, months, OPTIONS
    )
    scored = scores_by_month(raw, market.universe, market.snapshot, OPTIONS)
    formed, paths = {month: one.formation for month, one in scored.items()}, month_paths(market.bars, months[1:])
    got = long_short_returns(formed, paths, market.snapshot, months, OPTIONS, first)
    for name in TABLES:
        pd.testing.assert_frame_equal(getattr(got, name), getattr(result, name), check_exact=True)
    stored = formations(exposures, months)
    for month, made in formed.items():
        for name in ("asset_key", "score", "group", "covered", "tradable"):
            np.testing.assert_array_equal(getattr(stored[month], name), getattr(made, name))


def test_groups_of_another_setting_are_refused(market: Market, exposures: pl.DataFrame) -> None:
    three = FactorOptions(n_groups=3)
    with pytest.raises(BadInput, match=r"members in group 5, factors\.n_groups is 3"):
        long_short_returns(exposures, market.bars, market.snapshot, [market.months[15]], three, market.months[8])


def test_wide_export(result: LongShortResult) -> None:
    wide = longshort_wide(result.longshort)
    assert list(wide.columns) == ["month", *SERIES]
    assert wide["month"].is_monotonic_increasing
    long = result.longshort.set_index(["month", "factor"])
    assert (
        wide.set_index("month").loc[pd.Timestamp("2019-05-01"), "VOL"]
        == long.loc[(pd.Timestamp("2019-05-01"), "VOL"), "long_short"]
    )
    value = longshort_wide(result.longshort, "value")
    assert (
        value.set_index("month").loc[pd.Timestamp("2019-05-01"), "VOL"]
        == long.loc[(pd.Timestamp("2019-05-01"), "VOL"), "long_short_value_weighted"]
    )
    with pytest.raises(BadInput, match="equal or value"):
        longshort_wide(result.longshort, "capped")
