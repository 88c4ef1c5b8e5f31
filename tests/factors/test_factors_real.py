"""The factor stage on real SSE 50 files; skipped where they are not beside the project."""

from __future__ import annotations

import math
from datetime import date

import numpy as np
import pandas as pd
import polars as pl
import pytest
from factors_real_data import real_inputs

from rotation_pipeline.factors.evidence import monthly_evidence
from rotation_pipeline.factors.exposures import compute_exposures
from rotation_pipeline.factors.options import FactorOptions
from rotation_pipeline.factors.raw import compute_raw_factors
from rotation_pipeline.factors.returns import long_short_returns
from rotation_pipeline.factors.styles import RAW_FACTOR_NAMES
from rotation_pipeline.market.calendar import add_months, months_between
from rotation_pipeline.market.identifiers import asset_key

MONTHS = months_between(date(2014, 8, 1), date(2014, 11, 1))  # three to six members suspended at the month ends
OPTIONS = FactorOptions()
MOUTAI = asset_key("600519.SH")
Inputs = dict[str, pl.DataFrame]


@pytest.fixture(scope="module")
def real() -> Inputs:
    return real_inputs(MONTHS)


def factors_of(real: Inputs, months: list[date]) -> pl.DataFrame:
    return compute_raw_factors(
        real["bars"],
        real["index_daily"],
        real["snapshot"],
        real["universe"],
        real["sessions"]["day"].to_numpy(),
        months,
        OPTIONS,
    )


def test_fifty_names_a_month(real: Inputs) -> None:
    raw = factors_of(real, MONTHS)
    assert raw.group_by("month").len()["len"].to_list() == [50] * len(MONTHS)
    nulls = {name: raw[name].null_count() for name in RAW_FACTOR_NAMES}
    assert max(nulls.values()) <= 12, nulls


def test_moutai_by_hand(real: Inputs) -> None:
    month = MONTHS[0]
    row = factors_of(real, [month]).filter(pl.col("asset_key") == MOUTAI).row(0, named=True)
    end = pl.col("day") < add_months(month, 1)
    own = real["bars"].filter((pl.col("asset_key") == MOUTAI) & end & ~pl.col("is_suspended")).to_pandas()
    price = own["adj_close"]
    assert row["mom_20"] == pytest.approx(price.iloc[-1] / price.iloc[-21] - 1, rel=1e-12)
    assert row["mom_120"] == pytest.approx(price.iloc[-1] / price.iloc[-121] - 1, rel=1e-12)
    assert row["volatility_60"] == pytest.approx(price.pct_change().tail(60).std() * math.sqrt(244), rel=1e-9)
    change = price.diff().dropna()
    up, down = (
        side.ewm(alpha=1 / 14, adjust=False).mean().iloc[-1] for side in (change.clip(lower=0), -change.clip(upper=0))
    )
    assert row["rsi_14"] == pytest.approx(100 - 100 / (1 + up / down), abs=1e-10)
    index = real["index_daily"].filter(end).to_pandas().set_index("day")["close"]
    frame = pd.DataFrame({"stock": price.to_numpy(), "index": index.loc[own["day"]].to_numpy()}).pct_change().tail(252)
    assert row["beta_252"] == pytest.approx(frame.cov().loc["stock", "index"] / frame["index"].var(), rel=1e-9)
    figures = real["snapshot"].filter((pl.col("asset_key") == MOUTAI) & (pl.col("month") == month)).row(0, named=True)
    assert row["book_to_price"] == pytest.approx(1 / figures["pb"], rel=1e-6)
    assert row["profit_growth"] == pytest.approx(figures["net_profit_ttm"] / figures["net_profit_ttm_year_ago"] - 1)


def test_the_whole_stage_and_the_suspended(real: Inputs) -> None:
    exposures = compute_exposures(factors_of(real, MONTHS), real["universe"], real["snapshot"], OPTIONS)
    suspended = exposures.filter(~pl.col("in_tradable"))
    assert suspended["asset_key"].n_unique() >= 3
    assert suspended["quantile"].null_count() == suspended.height
    assert exposures["score"].abs().max() < 8
    result = long_short_returns(exposures, real["bars"], real["snapshot"], MONTHS, OPTIONS, MONTHS[0])
    assert len(result.longshort) == 16 * (len(MONTHS) - 1)
    assert result.longshort["n_long"].between(7, 10).all()
    assert result.longshort["long_short"].abs().max() < 0.6
    month = MONTHS[1]
    formed = exposures.filter(
        (pl.col("month") == MONTHS[0]) & (pl.col("factor") == "VAL") & pl.col("quantile").is_in([1, 5])
    )
    bars = (
        real["bars"]
        .filter(pl.col("day").dt.month_start() <= month)
        .filter(pl.col("asset_key").is_in(formed["asset_key"].to_list()))
    )
    ends = bars.group_by("asset_key", pl.col("day").dt.month_start().alias("m")).agg(
        pl.col("adj_close").sort_by("day").last()
    )
    price = (
        ends.filter(pl.col("m").is_in(MONTHS[:2]))
        .pivot("m", index="asset_key", values="adj_close")
        .to_pandas()
        .set_index("asset_key")
    )
    growth = price[str(month)] / price[str(MONTHS[0])] - 1
    legs = [growth.loc[formed.filter(pl.col("quantile") == g)["asset_key"].to_list()].mean() for g in (5, 1)]
    got = result.longshort.query("factor == 'VAL'").set_index("month").loc[pd.Timestamp(month), "long_short"]
    assert got == pytest.approx(legs[0] - legs[1], abs=1e-9)
    monthly = monthly_evidence(exposures, real["bars"], MONTHS, MONTHS[0])
    assert monthly[["ic", "rank_ic", "autocorrelation"]].notna().all().all()


def test_a_month_from_its_own_window_of_real_data_is_the_same(real: Inputs) -> None:
    month = MONTHS[-1]
    days = real["sessions"]["day"].to_numpy()
    first = days[np.searchsorted(days, np.datetime64(add_months(month, 1))) - OPTIONS.lookback_sessions].item()
    cut = real | {
        "bars": real["bars"].filter(pl.col("day") >= first),
        "index_daily": real["index_daily"].filter(pl.col("day") >= first),
    }
    assert factors_of(cut, [month]).equals(factors_of(real, MONTHS).filter(pl.col("month") == month))
