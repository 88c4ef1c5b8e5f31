"""Evidence: published cases, alphalens on the same input, replay."""

from __future__ import annotations

import math
from datetime import date

import numpy as np
import pandas as pd
import polars as pl
import pytest
from factors_reference import Market, make_market
from scipy import stats

from rotation_pipeline.factors import evidence, statistics
from rotation_pipeline.factors.errors import BadInput, MissingExposures, MissingInput
from rotation_pipeline.factors.exposures import compute_exposures
from rotation_pipeline.factors.formation import formations
from rotation_pipeline.factors.options import FactorOptions
from rotation_pipeline.factors.paths import month_paths
from rotation_pipeline.factors.raw import compute_raw_factors
from rotation_pipeline.factors.returns import LongShortResult, long_short_returns
from rotation_pipeline.factors.styles import SERIES
from rotation_pipeline.factors.tables import DECAY, EVIDENCE, SUMMARY
from rotation_pipeline.market.calendar import add_months

OPTIONS = FactorOptions(min_names=10, min_factor_names=5)


@pytest.fixture(scope="module")
def market() -> Market:
    return make_market(21, n_assets=40, n_months=26)


@pytest.fixture(scope="module")
def exposures(market: Market) -> pl.DataFrame:
    raw = compute_raw_factors(
        market.bars, market.index_daily, market.snapshot, market.universe, market.sessions, market.months[8:], OPTIONS
    )
    return compute_exposures(raw, market.universe, market.snapshot, OPTIONS)


@pytest.fixture(scope="module")
def result(market: Market, exposures: pl.DataFrame) -> LongShortResult:
    return long_short_returns(exposures, market.bars, market.snapshot, market.months[8:], OPTIONS, market.months[8])


@pytest.fixture(scope="module")
def monthly(market: Market, exposures: pl.DataFrame) -> pd.DataFrame:
    return evidence.monthly_evidence(exposures, market.bars, market.months[8:], market.months[8])


def test_rank_ic_published_case() -> None:
    # alphalens-reloaded 0.5.1, tests/test_performance.py, test_information_coefficient (Apache-2.0)
    factor = [[1, 2, 3, 4], [4, 3, 2, 1]]
    inverse = [[4, 3, 2, 1], [1, 2, 3, 4]]
    for day, against in zip(factor, inverse, strict=True):
        assert statistics.spearman(day, day) == pytest.approx(1.0, abs=1e-12)
        assert statistics.spearman(day, against) == pytest.approx(-1.0, abs=1e-12)


def test_rank_autocorrelation_published_case() -> None:
    # alphalens-reloaded 0.5.1, tests/test_performance.py, test_factor_rank_autocorrelation (Apache-2.0)
    a, b, c = [1, 2, 3, 4], [2, 1, 4, 3], [4, 3, 2, 1]
    cases = [
        ([a, a, a, a], 1, [1.0, 1.0, 1.0]),
        ([c, a, c, a], 1, [-1.0, -1.0, -1.0]),
        ([a, b, c, a, b, c, b, c, a, b, b, c], 3, [1.0, 1.0, 1.0, 0.6, -0.6, -1.0, 1.0, -0.6, -1.0]),
    ]
    for days, period, expected in cases:
        got = [statistics.spearman(days[t], days[t - period]) for t in range(period, len(days))]
        np.testing.assert_allclose(got, expected, atol=1e-9)


def test_a_constant_month_has_no_ic_and_is_left_out_of_the_t_statistic() -> None:
    # alphalens-reloaded 0.5.1, test_missing_ic_workflow.py (Apache-2.0)
    returns = [[0.01, 0.02, 0.03], [0.01, 0.03, 0.02], [0.03, 0.02, 0.01], [0.01, 0.02, 0.03], [0.02, 0.01, 0.03]]
    factor = [[1, 2, 3], [1, 2, 3], [1, 2, 3], [1, 1, 1], [1, 2, 3]]
    ics = [statistics.spearman(f, r) for f, r in zip(factor, returns, strict=True)]
    np.testing.assert_allclose(ics, [1.0, 0.5, -1.0, math.nan, 0.5], atol=1e-9)
    described = statistics.describe(ics)
    assert described.n == 4
    assert described.ratio * math.sqrt(described.n) == pytest.approx(0.5773502691896258, abs=1e-9)


def member_returns(market: Market, month: date) -> pd.Series:
    rows = market.bars.filter(pl.col("day").dt.month_start() == month)
    grown = rows.group_by("asset_key").agg(((1 + pl.col("ret").fill_null(0.0)).product() - 1).alias("r"))
    return grown.to_pandas().set_index("asset_key")["r"]


def test_monthly_evidence_equals_the_slow_version(
    market: Market, exposures: pl.DataFrame, monthly: pd.DataFrame
) -> None:
    assert list(monthly.columns) == EVIDENCE.stored_names
    indexed = monthly.set_index(["month", "factor"])
    for month in (market.months[9], market.months[-1]):
        returns = member_returns(market, month)
        for factor in ("MOM", "earnings_yield"):
            rows = exposures.filter(pl.col("factor") == factor).to_pandas()
            rows["month"] = pd.to_datetime(rows["month"])
            before = rows[rows["month"] == pd.Timestamp(add_months(month, -1))].set_index("asset_key")
            now = rows[rows["month"] == pd.Timestamp(month)].set_index("asset_key")
            held = before[before["in_tradable"]].join(returns, how="inner").dropna(subset="score")
            got = indexed.loc[(pd.Timestamp(month), factor)]
            assert got["ic"] == pytest.approx(stats.pearsonr(held["score"], held["r"])[0], abs=1e-12)
            assert got["rank_ic"] == pytest.approx(stats.spearmanr(held["score"], held["r"])[0], abs=1e-12)
            assert got["coverage"] == before["in_coverage"].mean()
            both = before.join(now, rsuffix="_now", how="inner").dropna(subset=["score", "score_now"])
            assert got["autocorrelation"] == pytest.approx(
                stats.spearmanr(both["score"], both["score_now"])[0], abs=1e-12
            )


def test_a_month_alone_equals_the_range_bit_for_bit(
    market: Market, exposures: pl.DataFrame, monthly: pd.DataFrame
) -> None:
    for month in (market.months[9], market.months[-2]):
        seen = pl.col("month").is_between(add_months(month, -1), month)
        bars = market.bars.filter(pl.col("day").dt.month_start() == month)
        alone = evidence.monthly_evidence(exposures.filter(seen), bars, [month], market.months[8])
        expected = monthly[monthly["month"] == pd.Timestamp(month)].reset_index(drop=True)
        pd.testing.assert_frame_equal(alone, expected, check_exact=True)
    assert evidence.monthly_evidence(exposures, market.bars, [market.months[8]], market.months[8]).empty


def test_summary_replays_bit_for_bit_and_equals_the_functions(
    market: Market, result: LongShortResult, monthly: pd.DataFrame
) -> None:
    whole = evidence.summary(result.longshort, monthly, result.groups, market.months[8:], OPTIONS)
    assert list(whole.columns) == SUMMARY.stored_names
    assert whole["month"].min() == pd.Timestamp(market.months[9])
    for month in (market.months[9], market.months[11], market.months[-1]):
        stamp = pd.Timestamp(month)
        cut = [frame[frame["month"] <= stamp] for frame in (result.longshort, monthly, result.groups)]
        alone = evidence.summary(*cut, [month], OPTIONS)
        pd.testing.assert_frame_equal(alone, whole[whole["month"] == stamp].reset_index(drop=True), check_exact=True)
    row = whole.set_index(["month", "factor"]).loc[(pd.Timestamp(market.months[-1]), "VAL")]
    returns = result.longshort.query("factor == 'VAL'").sort_values("month")["long_short"]
    ics = monthly.query("factor == 'VAL'").sort_values("month")["rank_ic"]
    assert row["months"] == len(returns) == 17
    assert row["mean"] == pytest.approx(returns.mean())
    assert row["t_newey_west"] == statistics.newey_west_t(returns)
    assert row["sharpe"] == pytest.approx(returns.mean() / returns.std() * math.sqrt(12))
    assert row["hit_rate"] == (returns > 0).mean()
    assert row["ic_mean"] == pytest.approx(ics.mean())
    assert row["icir"] == pytest.approx(ics.mean() / ics.std())
    assert row["ic_positive"] == (ics > 0).mean()
    means = result.groups.query("factor == 'VAL'").groupby("quantile")["return_equal"].mean()
    assert row["monotonicity"] == pytest.approx(stats.spearmanr(means.index, means)[0])
    two = whole[whole["month"] == pd.Timestamp(market.months[10])]
    assert two["t_newey_west"].isna().all()
    assert two["mean"].notna().all()


def test_summary_follows_the_weighting(market: Market, result: LongShortResult, monthly: pd.DataFrame) -> None:
    value = evidence.summary(
        result.longshort, monthly, result.groups, [market.months[-1]], FactorOptions(weighting="value")
    )
    expected = result.longshort.groupby("factor")["long_short_value_weighted"].mean()
    np.testing.assert_allclose(value.set_index("factor")["mean"], expected)


def test_summary_names_a_gap(result: LongShortResult, monthly: pd.DataFrame, market: Market) -> None:
    with pytest.raises(MissingInput, match="factor_longshort has no row for 2020-03"):
        evidence.summary(result.longshort, monthly, result.groups, [add_months(market.months[-1], 1)], OPTIONS)


def test_missing_exposures_are_named(market: Market, exposures: pl.DataFrame) -> None:
    month = market.months[12]
    with pytest.raises(MissingExposures, match="no row for 2018-12"):
        evidence.monthly_evidence(
            exposures.filter(pl.col("month") != market.months[11]), market.bars, [month], market.months[8]
        )
    with pytest.raises(MissingExposures, match="no row for 2019-01"):
        evidence.monthly_evidence(exposures.filter(pl.col("month") != month), market.bars, [month], market.months[8])


def test_ic_decay_starts_with_the_monthly_rank_ic(
    market: Market, exposures: pl.DataFrame, monthly: pd.DataFrame
) -> None:
    decay = evidence.ic_decay(exposures, market.bars, market.months[9:], OPTIONS)
    assert list(decay.columns) == ["factor", "horizon", "months", "ic_mean", "t_newey_west"]
    assert len(decay) == 12 * len(SERIES)
    first = decay[decay["horizon"] == 1].set_index("factor")
    expected = monthly.groupby("factor")["rank_ic"].mean()
    np.testing.assert_allclose(first["ic_mean"].loc[expected.index], expected, rtol=1e-12)
    third = decay.query("factor == 'MOM' and horizon == 3").iloc[0]
    ics = []
    for month in market.months[11:]:
        before = exposures.filter(
            (pl.col("factor") == "MOM") & (pl.col("month") == add_months(month, -3)) & pl.col("in_tradable")
        )
        held = (
            before.to_pandas()
            .set_index("asset_key")
            .join(member_returns(market, month), how="inner")
            .dropna(subset="score")
        )
        ics.append(stats.spearmanr(held["score"], held["r"])[0])
    assert third["months"] == len(ics)
    assert third["ic_mean"] == pytest.approx(np.mean(ics))


def test_correlations_between_factors(market: Market, exposures: pl.DataFrame, result: LongShortResult) -> None:
    returns = evidence.factor_correlations(result.longshort).set_index(["factor_a", "factor_b"])
    wide = result.longshort.pivot(index="month", columns="factor", values="long_short")
    for pair in (("MOM", "VAL"), ("SIZE", "log_market_value"), ("VOL", "VOL")):
        assert returns.loc[pair, "correlation"] == pytest.approx(wide[pair[0]].corr(wide[pair[1]]))
    assert len(returns) == len(SERIES) ** 2
    scores = evidence.score_correlations(exposures, market.months[8:]).set_index(["factor_a", "factor_b"])
    assert scores.loc[("SIZE", "log_market_value"), "correlation"] == pytest.approx(1.0)
    by_month = []
    for month in market.months[8:]:
        part = exposures.filter(pl.col("month") == month).pivot("factor", index="asset_key", values="score").to_pandas()
        by_month.append(part["MOM"].corr(part["mom_20"], method="spearman"))
    assert scores.loc[("MOM", "mom_20"), "correlation"] == pytest.approx(np.mean(by_month))
    with pytest.raises(MissingExposures, match="compute that month first"):
        evidence.score_correlations(exposures, [market.months[0]])


def test_sub_periods_are_the_tear_sheet_of_their_months(
    market: Market, result: LongShortResult, monthly: pd.DataFrame
) -> None:
    cut = market.months[14]
    periods = {
        "early": (market.months[9], cut),
        "late": (add_months(cut, 1), market.months[-1]),
        "none": (date(1999, 1, 1), date(1999, 1, 1)),
    }
    table = evidence.sub_periods(result.longshort, monthly, periods, OPTIONS).set_index(["period", "factor"])
    upto = evidence.summary(result.longshort, monthly, result.groups, [cut], OPTIONS).set_index("factor")
    for name in ("mean", "t_newey_west", "sharpe", "hit_rate", "max_drawdown", "ic_mean", "icir", "ic_positive"):
        np.testing.assert_array_equal(table.loc["early"][name].loc[upto.index], upto[name])
    assert table.loc["early"]["months"].iloc[0] + table.loc["late"]["months"].iloc[0] == 17
    assert (table.loc["none"]["months"] == 0).all()
    assert table.loc["none"]["mean"].isna().all()
    with pytest.raises(BadInput, match="before it begins"):
        evidence.sub_periods(result.longshort, monthly, {"odd": (date(2020, 2, 1), date(2020, 1, 1))})


def test_agreement_with_alphalens(
    market: Market, exposures: pl.DataFrame, result: LongShortResult, monthly: pd.DataFrame
) -> None:
    from alphalens import performance

    pieces = []
    for month in market.months[9:]:
        before = exposures.filter(
            (pl.col("factor") == "VAL") & (pl.col("month") == add_months(month, -1)) & pl.col("quantile").is_not_null()
        )
        piece = (
            before.to_pandas()
            .set_index("asset_key")
            .join(member_returns(market, month).rename("1D"), how="left")
            .fillna({"1D": 0.0})
        )
        pieces.append(piece.assign(date=pd.Timestamp(month)).reset_index())
    data = pd.concat(pieces).rename(
        columns={"asset_key": "asset", "score": "factor", "factor": "name", "quantile": "factor_quantile"}
    )
    data = data.set_index(["date", "asset"]).sort_index()[["1D", "factor", "factor_quantile"]]
    ours = result.groups.query("factor == 'VAL'").set_index(["quantile", "month"])
    means, _ = performance.mean_return_by_quantile(data, by_date=True, demeaned=False)
    for (quantile, stamp), value in means["1D"].items():
        assert ours.loc[(quantile, stamp), "return_equal"] == pytest.approx(value, abs=1e-12)
    spread = means["1D"].unstack(0)
    longshort = result.longshort.query("factor == 'VAL'").set_index("month")["long_short"]
    np.testing.assert_allclose(longshort, spread[5] - spread[1], atol=1e-12)
    ic = performance.factor_information_coefficient(data)["1D"]
    indexed = monthly.query("factor == 'VAL'").set_index("month")
    present = {stamp: set(part.index.get_level_values("asset")) for stamp, part in data.groupby(level="date")}
    checked = 0
    for stamp, value in ic.items():
        rows = set(market.bars.filter(pl.col("month") == stamp.date())["asset_key"])
        if present[stamp] <= rows:  # alphalens was given 0 for a name without rows, ours leaves it out of the IC
            assert indexed.loc[stamp, "rank_ic"] == pytest.approx(value, abs=1e-12)
            checked += 1
    assert checked >= 15
    for quantile in (1, 5):
        turnover = performance.quantile_turnover(data["factor_quantile"], quantile)
        got = ours.loc[quantile]["turnover"].to_numpy()
        np.testing.assert_allclose(got, turnover.to_numpy(), atol=1e-12)


def test_decay_averages_to_the_decay_and_begins_with_the_rank_ic(
    market: Market, exposures: pl.DataFrame, monthly: pd.DataFrame
) -> None:
    months = market.months[9:]
    found = evidence.evidence_tables(exposures, market.bars, months, OPTIONS, market.months[8]).decay
    assert list(found.columns) == DECAY.column_names
    first = found[found["horizon"] == 1].set_index(["month", "factor"])["rank_ic"]
    pd.testing.assert_series_equal(first, monthly.set_index(["month", "factor"])["rank_ic"].loc[first.index])
    curve = evidence.ic_decay(exposures, market.bars, months, OPTIONS).set_index(["factor", "horizon"])
    means = found.groupby(["factor", "horizon"])["rank_ic"].agg(["mean", "count"])
    np.testing.assert_allclose(means["mean"], curve["ic_mean"].loc[means.index], rtol=1e-12)
    assert (means["count"] == curve["months"].loc[means.index]).all()
    assert found.groupby("month")["horizon"].max().tolist() == [min(place, 12) for place in range(1, len(months) + 1)]


def test_both_tables_of_one_reading_are_those_of_the_single_months_and_horizons(
    market: Market, exposures: pl.DataFrame, monthly: pd.DataFrame
) -> None:
    months, first = market.months[8:], market.months[8]
    formed = formations(exposures, months)
    lines: list[pd.DataFrame] = []
    for place, month in enumerate(months):
        for horizon in range(1, min(place, OPTIONS.ic_horizons) + 1):
            known = month_paths(market.bars, [month])[month]
            ics = evidence.rank_ic_of(formed[months[place - horizon]], known)
            names = sorted(SERIES)
            lines.append(
                pd.DataFrame({"month": pd.Timestamp(month), "factor": names, "horizon": horizon, "rank_ic": ics})
            )
    decay = pd.concat(lines).sort_values(["month", "factor", "horizon"], ignore_index=True)
    decay = decay.astype({"month": "datetime64[ns]", "horizon": "int32"})
    columns = formations(exposures, months), month_paths(market.bars, months[1:])
    for given in ((exposures, market.bars), columns):
        found = evidence.evidence_tables(*given, months, OPTIONS, first)
        pd.testing.assert_frame_equal(found.evidence, monthly, check_exact=True)
        pd.testing.assert_frame_equal(found.decay, decay, check_exact=True)
    alone = evidence.evidence_tables(exposures, market.bars, [months[5]], OPTIONS, first)
    for table, whole in ((alone.evidence, monthly), (alone.decay, decay)):
        expected = whole[whole["month"] == pd.Timestamp(months[5])].reset_index(drop=True)
        pd.testing.assert_frame_equal(table, expected, check_exact=True)
    with pytest.raises(MissingExposures, match=f"no row for {months[3]:%Y-%m}"):
        evidence.evidence_tables(
            exposures.filter(pl.col("month") != months[3]), market.bars, [months[8]], OPTIONS, first
        )
    with pytest.raises(MissingInput, match=f"no paths of {months[1]:%Y-%m}"):
        evidence.evidence_tables(exposures, month_paths(market.bars, months[2:]), months, OPTIONS, first)


def test_decay_of_a_month_alone_is_that_of_the_range(market: Market, exposures: pl.DataFrame) -> None:
    whole = evidence.evidence_tables(exposures, market.bars, market.months[8:], OPTIONS, market.months[8]).decay
    month = market.months[15]
    known = exposures.filter(pl.col("month") <= month)
    bars = market.bars.filter(pl.col("day") < add_months(month, 1))
    alone = evidence.evidence_tables(known, bars, [month], OPTIONS, market.months[8]).decay
    expected = whole[whole["month"] == pd.Timestamp(month)].reset_index(drop=True)
    pd.testing.assert_frame_equal(alone, expected, check_exact=True)
    gap = known.filter(pl.col("month") != market.months[12])
    with pytest.raises(MissingExposures, match=f"no row for {market.months[12]:%Y-%m}"):
        evidence.evidence_tables(gap, bars, [month], OPTIONS, market.months[8])
