"""Scores, styles and groups: against the slow version, the table's contract, the rules for gaps, replay."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pytest
from factors_reference import Market, key_of, make_market, slow_scores
from hypothesis import given, settings
from hypothesis import strategies as st

from rotation_pipeline.factors import preprocess
from rotation_pipeline.factors.errors import BadInput, MissingInput, TooFewNames
from rotation_pipeline.factors.exposures import compute_exposures, quantile_groups
from rotation_pipeline.factors.options import FactorOptions
from rotation_pipeline.factors.raw import compute_raw_factors
from rotation_pipeline.factors.styles import RAW_FACTOR_NAMES, RAW_FACTORS, SERIES, STYLES
from rotation_pipeline.factors.tables import EXPOSURES

OPTIONS = FactorOptions(min_names=10, min_factor_names=5)


@pytest.fixture(scope="module")
def market() -> Market:
    return make_market(11, n_assets=42, n_months=30)


@pytest.fixture(scope="module")
def raw(market: Market) -> pl.DataFrame:
    return compute_raw_factors(
        market.bars, market.index_daily, market.snapshot, market.universe, market.sessions, market.months[8:], OPTIONS
    )


@pytest.fixture(scope="module")
def exposures(market: Market, raw: pl.DataFrame) -> pl.DataFrame:
    return compute_exposures(raw, market.universe, market.snapshot, OPTIONS)


def wide(exposures: pl.DataFrame, column: str) -> pd.DataFrame:
    frame = exposures.pivot("factor", index=["month", "asset_key"], values=column)
    return frame.to_pandas().set_index(["month", "asset_key"])


def test_snapshot_factors_by_hand(market: Market) -> None:
    month = market.months[-1]
    figures = {
        "pb": [2.0, -4.0, 0.0, None], "pe_ttm": [10.0, -5.0, 0.0, None], "dividend_yield": [0.03, 0.0, None, 0.1],
        "roe_ttm": [0.1, -0.2, None, 0.0], "net_profit_ttm": [12.0, 5.0, -30.0, 5.0],
        "net_profit_ttm_year_ago": [10.0, -10.0, -10.0, 0.0], "total_market_value": [np.e**3, 1.0, 0.0, None],
    }  # fmt: skip
    keys = [key_of(n) for n in (0, 1, 2, 4)]
    snapshot = pl.DataFrame({"month": [month] * 4, "asset_key": keys, **figures}).cast({"asset_key": pl.Int32})
    universe = market.universe.filter((pl.col("month") == month) & pl.col("asset_key").is_in(keys))
    got = compute_raw_factors(market.bars, market.index_daily, snapshot, universe, market.sessions, [month], OPTIONS)
    expected = {
        "book_to_price": [0.5, -0.25, None, None], "earnings_yield": [0.1, -0.2, None, None],
        "dividend_yield": [0.03, 0.0, None, 0.1], "roe_ttm": [0.1, -0.2, None, 0.0],
        "profit_growth": [0.2, 1.5, -2.0, None], "log_market_value": [3.0, 0.0, None, None],
    }  # fmt: skip
    for name, want in expected.items():
        assert got[name].to_list() == [pytest.approx(v) if v is not None else None for v in want], name


def test_table_contract(exposures: pl.DataFrame, market: Market) -> None:
    assert exposures.columns == EXPOSURES.stored_names
    members = market.universe.filter(pl.col("month").is_in(market.months[8:])).height
    assert exposures.height == members * len(SERIES)
    assert exposures.equals(exposures.sort(EXPOSURES.key[0], "asset_key", "factor"))
    assert not exposures.select("month", "asset_key", "factor").is_duplicated().any()
    for column in EXPOSURES.columns:
        values = exposures["asset_key" if column.type == "ASSET" else column.name]
        assert column.nullable or values.null_count() == 0, column.name
        assert not (values.dtype == pl.Float64 and values.is_nan().any())
        if column.minimum is not None:
            assert values.min() >= column.minimum
            assert values.max() <= column.maximum
        if column.allowed:
            assert set(values.unique()) <= set(column.allowed)
    styles = exposures.filter(pl.col("kind") == "style")
    assert styles["raw_value"].null_count() == styles.height
    assert (
        exposures.filter(pl.col("kind") == "raw")["in_coverage"]
        == exposures.filter(pl.col("kind") == "raw")["raw_value"].is_not_null()
    ).all()


def test_scores_equal_the_slow_version(exposures: pl.DataFrame, raw: pl.DataFrame, market: Market) -> None:
    scores = wide(exposures, "score")
    for month in (market.months[8], market.months[20], market.months[-1]):
        values = raw.filter(pl.col("month") == month).to_pandas().set_index("asset_key")[list(RAW_FACTOR_NAMES)]
        estimation = market.universe.filter(pl.col("month") == month).sort("asset_key")["in_estimation"].to_numpy()
        expected = slow_scores(values, estimation)
        got = scores.loc[pd.Timestamp(month)]
        np.testing.assert_allclose(got[list(RAW_FACTOR_NAMES)], expected[list(RAW_FACTOR_NAMES)], rtol=1e-9, atol=1e-10)
        for style in STYLES:
            own = expected[[factor.name for factor in RAW_FACTORS if factor.style == style]]
            mean = own.mean(axis=1).where(own.notna().sum(axis=1) >= own.shape[1] / 2)
            inside = mean[estimation].dropna()
            np.testing.assert_allclose(got[style], (mean - inside.mean()) / inside.std(ddof=1), rtol=1e-9, atol=1e-10)


def test_groups_are_quintiles_of_tradable_members(exposures: pl.DataFrame) -> None:
    outside = exposures.filter(~pl.col("in_tradable") | pl.col("score").is_null())
    assert outside.height
    assert outside["quantile"].null_count() == outside.height
    inside = exposures.filter(pl.col("quantile").is_not_null())
    sizes = inside.group_by("month", "factor", "quantile").len()
    spread = sizes.group_by("month", "factor").agg(
        pl.col("len").max() - pl.col("len").min(), pl.col("quantile").n_unique()
    )
    assert spread["len"].max() <= 1
    assert (spread["quantile"] == 5).all()
    edges = inside.group_by("month", "factor", "quantile").agg(
        pl.col("score").min().alias("low"), pl.col("score").max().alias("high")
    )
    edges = edges.sort("month", "factor", "quantile").with_columns(
        pl.col("high").shift(1).over("month", "factor").alias("below")
    )
    assert (edges["below"].fill_null(-99) <= edges["low"]).all()


@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(0, 6), min_size=0, max_size=60), st.integers(2, 10), st.integers(0, 99))
def test_group_sizes_differ_by_at_most_one_and_follow_the_score(values: list[int], n_groups: int, seed: int) -> None:
    score = np.array(values, dtype=float)
    rng = np.random.default_rng(seed)
    tradable, keys = rng.random(score.size) < 0.8, rng.permutation(score.size).astype(np.int32)
    group = quantile_groups(score, tradable, keys, n_groups)
    assert not group[~tradable].any()
    assert (group[tradable] > 0).all()
    sizes = np.bincount(group[tradable], minlength=n_groups + 1)[1:]
    assert sizes.max(initial=0) - sizes.min(initial=score.size) <= 1
    order = sorted(np.flatnonzero(tradable), key=lambda i: (score[i], keys[i]))
    assert (np.diff(group[order]) >= 0).all()
    shuffle = rng.permutation(score.size)
    assert (
        quantile_groups(score[shuffle], tradable[shuffle], keys[shuffle], n_groups).tolist() == group[shuffle].tolist()
    )


def test_a_month_alone_equals_the_range_bit_for_bit(exposures: pl.DataFrame, raw: pl.DataFrame, market: Market) -> None:
    for options in (
        OPTIONS,
        FactorOptions(min_names=10, min_factor_names=5, neutralise="both", neutralise_weights="sqrt_mv"),
    ):
        everything = compute_exposures(raw, market.universe, market.snapshot, options)
        for month in (market.months[8], market.months[-1]):
            one = pl.col("month") == month
            alone = compute_exposures(
                raw.filter(one), market.universe.filter(one), market.snapshot.filter(one), options
            )
            assert alone.equals(everything.filter(one))
    assert exposures.equals(compute_exposures(raw, market.universe, market.snapshot, OPTIONS))


def test_order_of_input_rows_does_not_matter(exposures: pl.DataFrame, raw: pl.DataFrame, market: Market) -> None:
    shuffled = market.universe.sample(fraction=1.0, shuffle=True, seed=1)
    assert compute_exposures(raw, shuffled, market.snapshot.reverse(), OPTIONS).equals(exposures)


def one_month(market: Market, raw: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    one = pl.col("month") == market.months[-1]
    return raw.filter(one), market.universe.filter(one), market.snapshot.filter(one)


def test_a_constant_or_absent_factor_has_no_score_and_styles_use_the_rest(market: Market, raw: pl.DataFrame) -> None:
    month_raw, universe, snapshot = one_month(market, raw)
    changed = month_raw.with_columns(
        pl.lit(0.1).alias("rsi_14"),
        pl.lit(None, pl.Float64).alias("roe_ttm"),
        pl.lit(None, pl.Float64).alias("profit_growth"),
    )
    got = compute_exposures(changed, universe, snapshot, OPTIONS)
    scores, covered = wide(got, "score"), wide(got, "in_coverage")
    assert scores["rsi_14"].isna().all()
    assert covered["rsi_14"].all()
    assert scores["MOM"].notna().sum() > 30  # two of three factors are left
    assert scores[["roe_ttm", "profit_growth", "QLTY"]].isna().all().all()
    assert not covered["QLTY"].any()
    alone = compute_exposures(changed.with_columns(pl.lit(0.0).alias("mom_20")), universe, snapshot, OPTIONS)
    assert wide(alone, "score")["MOM"].isna().all()  # one of three is less than half


def test_a_factor_with_too_few_values_is_not_scored(market: Market, raw: pl.DataFrame) -> None:
    month_raw, universe, snapshot = one_month(market, raw)
    few = month_raw.with_columns(pl.when(pl.col("asset_key") < key_of(6)).then(pl.col("mom_20")).alias("mom_20"))
    assert wide(compute_exposures(few, universe, snapshot, FactorOptions(min_names=10)), "score")["mom_20"].isna().all()


def test_statistics_come_from_estimation_members_only(market: Market, raw: pl.DataFrame) -> None:
    month_raw, universe, snapshot = one_month(market, raw)
    number = key_of(1)
    outside = universe.with_columns((pl.col("asset_key") != number).alias("in_estimation"))
    extreme = month_raw.with_columns(
        pl.when(pl.col("asset_key") == number).then(1e6).otherwise(pl.col("mom_20")).alias("mom_20")
    )
    a = wide(compute_exposures(month_raw, outside, snapshot, OPTIONS), "score")["mom_20"].droplevel(0)
    b = wide(compute_exposures(extreme, outside, snapshot, OPTIONS), "score")["mom_20"].droplevel(0)
    assert a.drop(number).equals(b.drop(number))
    assert b[number] > 3


def test_neutralised_scores_are_uncorrelated_and_size_is_not_taken_from_itself(
    market: Market, raw: pl.DataFrame
) -> None:
    month_raw, universe, snapshot = one_month(market, raw)
    universe = universe.with_columns(pl.lit(True).alias("in_estimation"), pl.col("industry").fill_null("other"))
    snapshot = snapshot.with_columns(pl.col("total_market_value").fill_null(1e11))
    month_raw = month_raw.with_columns(
        month_raw.select("month", "asset_key")
        .join(snapshot, on=["month", "asset_key"], how="left")["total_market_value"]
        .log()
        .alias("log_market_value")
    )
    options = FactorOptions(min_names=10, neutralise="both", winsorisation="none")
    got = wide(compute_exposures(month_raw, universe, snapshot, options), "score").droplevel(0)
    size = month_raw["log_market_value"].to_numpy()
    industry = universe.sort("asset_key")["industry"].to_numpy()
    known = got["mom_20"].notna().to_numpy()
    assert np.corrcoef(got["mom_20"][known], size[known])[0, 1] == pytest.approx(0, abs=1e-9)
    assert got["mom_20"].groupby(industry).mean().abs().max() < 1e-9
    assert got["log_market_value"].groupby(industry).mean().abs().max() < 1e-9
    within = pd.Series(size, got.index) - pd.Series(size, got.index).groupby(industry).transform("mean")
    np.testing.assert_allclose(got["log_market_value"], -preprocess.zscore(within.to_numpy()), atol=1e-9)
    only_size = FactorOptions(min_names=10, neutralise="size", winsorisation="none")
    plain = FactorOptions(min_names=10, winsorisation="none")
    a, b = (wide(compute_exposures(month_raw, universe, snapshot, o), "score") for o in (only_size, plain))
    assert a["log_market_value"].equals(b["log_market_value"])
    # a factor that is size in disguise has nothing left to score
    disguised = month_raw.with_columns((2 * pl.col("log_market_value") + 5).alias("mom_20"))
    assert wide(compute_exposures(disguised, universe, snapshot, only_size), "score")["mom_20"].isna().all()


@pytest.mark.parametrize("winsorisation", ["mad", "quantile", "none"])
def test_winsorisation_is_a_choice(market: Market, raw: pl.DataFrame, winsorisation: str) -> None:
    month_raw, universe, snapshot = one_month(market, raw)
    universe = universe.with_columns(pl.lit(True).alias("in_estimation"))
    wild = month_raw.with_columns(
        pl.when(pl.col("asset_key") == key_of(1)).then(50.0).otherwise(pl.col("mom_20")).alias("mom_20")
    )
    options = FactorOptions(min_names=10, winsorisation=winsorisation, quantile_low=0.05, quantile_high=0.95)
    top = wide(compute_exposures(wild, universe, snapshot, options), "score")["mom_20"].max()
    assert (top > 6) == (winsorisation == "none")


def test_too_few_names_is_an_error_that_names_month_count_and_setting(market: Market, raw: pl.DataFrame) -> None:
    with pytest.raises(
        TooFewNames, match=r"2018-09: intermediate.universe has \d+ estimation members.*min_names = 500"
    ):
        compute_exposures(raw, market.universe, market.snapshot, FactorOptions(min_names=500))


def test_bad_input_is_named(market: Market, raw: pl.DataFrame) -> None:
    month_raw, universe, snapshot = one_month(market, raw)
    with pytest.raises(BadInput, match="different members"):
        compute_exposures(month_raw.head(20), universe, snapshot, OPTIONS)
    with pytest.raises(BadInput, match="twice"):
        compute_exposures(month_raw, pl.concat([universe, universe.head(1)]), snapshot, OPTIONS)
    with pytest.raises(BadInput, match=r"stock_snapshot.*twice"):
        compute_exposures(month_raw, universe, pl.concat([snapshot, snapshot.head(1)]), OPTIONS)
    with pytest.raises(MissingInput, match="lacks"):
        compute_exposures(month_raw, universe.drop("industry"), snapshot, OPTIONS)
    with pytest.raises(ValueError, match="beta_min_days"):
        FactorOptions(beta_window=100, beta_min_days=120)


def test_no_months_give_an_empty_table(market: Market) -> None:
    empty = compute_raw_factors(
        market.bars, market.index_daily, market.snapshot, market.universe, market.sessions, [], OPTIONS
    )
    assert compute_exposures(empty, market.universe, market.snapshot, OPTIONS).columns == EXPOSURES.stored_names
