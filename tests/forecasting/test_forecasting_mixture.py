"""Mixture: weights by their recursion, the floor of the zero tilt, intervals, replay."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rotation_pipeline.factors.styles import STYLES
from rotation_pipeline.forecasting.mixture import interval_half_width, mix
from rotation_pipeline.forecasting.options import ExpertName, ForecastOptions
from rotation_pipeline.forecasting.tables import EXPERT_WEIGHTS, FORECASTS
from rotation_pipeline.forecasting.tables import EXPERTS as ALL
from rotation_pipeline.forecasting.walk_forward import ForecastInputError

EXPERTS = ("zero", "historical_mean", "factor_momentum")
OPTIONS = ForecastOptions(experts=EXPERTS)


def panel(months: int, seed: int, skill: float = 0.0, noise: float = 0.03) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(expert_forecasts, style_returns); factor_momentum knows ``skill`` of next month's premium, historical_mean is noise."""
    rng = np.random.default_rng(seed)
    index = pd.date_range("2015-01-01", periods=months, freq="MS", name="month")
    premium = rng.normal(0.0, 0.02, (months, 5))
    returns = rng.normal(0.0, noise, (months, 5))
    returns[1:] += skill * premium[:-1]
    means = {
        "zero": np.zeros((months, 5)),
        "historical_mean": rng.normal(0.0, 0.01, (months, 5)),
        "factor_momentum": premium,
    }
    frames = [
        pd.DataFrame(
            {
                "month": np.repeat(index, 5),
                "expert": name,
                "style": list(STYLES) * months,
                "mean": values.ravel(),
                "standard_error": noise,
            }
        )
        for name, values in means.items()
    ]
    forecasts = pd.concat(frames).sort_values(["month", "expert", "style"], ignore_index=True)
    return forecasts, pd.DataFrame(returns, index, list(STYLES))


def slow_weights(forecasts: pd.DataFrame, returns: pd.DataFrame, options: ForecastOptions) -> dict[str, list[float]]:
    """The module's recursion, one number at a time."""
    names = list(options.experts)
    prior = {n: options.zero_prior if n == "zero" else (1 - options.zero_prior) / (len(names) - 1) for n in names}
    mean = forecasts.set_index(["month", "expert", "style"])["mean"]
    path: dict[str, list[float]] = {n: [prior[n]] for n in names}
    months = list(returns.index)
    for t in range(1, len(months)):
        past = [returns.loc[m] - returns.loc[m].mean() for m in months[max(0, t - options.loss_memory_months) : t]]
        variance = sum(float((y**2).sum()) for y in past) / (len(past) * (len(STYLES) - 1))
        y = returns.loc[months[t]] - returns.loc[months[t]].mean()
        grown: dict[str, float] = {}
        for n in names:
            f = pd.Series({s: mean[months[t - 1], n, s] for s in STYLES})
            d = f - f.mean()
            ratio = (float((y**2).sum()) - float(((y - d) ** 2).sum())) / (2 * variance)
            grown[n] = path[n][-1] * math.exp(options.learning_rate * ratio)
        total = sum(grown.values())
        for n in names:
            path[n].append((1 - options.fixed_share) * grown[n] / total + options.fixed_share * prior[n])
    return path


def test_weights_and_forecast_follow_the_recursion() -> None:
    forecasts, returns = panel(30, 0, skill=0.7)
    result = mix(forecasts, returns, list(returns.index), OPTIONS)
    assert list(result.forecasts.columns) == FORECASTS.stored_names
    assert list(result.expert_weights.columns) == EXPERT_WEIGHTS.stored_names
    expected = slow_weights(forecasts, returns, OPTIONS)
    made = result.expert_weights.pivot(index="month", columns="expert", values="weight")
    for name in EXPERTS:
        np.testing.assert_allclose(made[name], expected[name], rtol=1e-10)
    last = returns.index[-1]
    rows = forecasts[forecasts["month"] == last].pivot(index="style", columns="expert", values="mean")
    blend = sum(rows[name] * expected[name][-1] for name in EXPERTS)
    got = result.forecasts[result.forecasts["month"] == last].set_index("style")["mean"]
    np.testing.assert_allclose(got[list(STYLES)], blend[list(STYLES)], rtol=1e-10)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.floats(-2.0, 2.0), st.floats(0.5, 0.95), st.floats(0.01, 0.5), st.floats(0.0, 10.0))
def test_weights_sum_to_one_and_zero_keeps_its_floor(
    seed: int, skill: float, prior: float, share: float, rate: float
) -> None:
    forecasts, returns = panel(25, seed, skill)
    options = ForecastOptions(experts=EXPERTS, zero_prior=prior, fixed_share=share, learning_rate=rate)
    weights = mix(forecasts, returns, list(returns.index), options).expert_weights.pivot(
        index="month", columns="expert", values="weight"
    )
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, atol=1e-12)
    assert (weights >= 0.0).all(axis=None)
    assert (weights["zero"] >= share * prior - 1e-12).all()
    assert weights["zero"].iloc[0] == prior


def test_month_alone_in_range_and_on_cut_data_are_the_same_bits() -> None:
    forecasts, returns = panel(60, 1, skill=0.5)
    months = list(returns.index[30:])
    whole = mix(forecasts, returns, months, OPTIONS)
    month = months[11]
    changed = returns.copy()
    changed.loc[changed.index > month] = 3.0
    variants = [
        mix(forecasts, returns, [month], OPTIONS),
        mix(forecasts[forecasts["month"] <= month], returns.loc[:month], [month], OPTIONS),
        mix(forecasts, changed, months, OPTIONS),
    ]
    for other in variants:
        for part in ("forecasts", "expert_weights"):
            a, b = (getattr(r, part) for r in (whole, other))
            pd.testing.assert_frame_equal(
                a[a["month"] == month].reset_index(drop=True),
                b[b["month"] == month].reset_index(drop=True),
                check_exact=True,
            )


def test_skill_is_found_and_noise_returns_to_the_zero_tilt() -> None:
    skilled, nothing, silent = [], [], []
    for seed in range(8):
        forecasts, returns = panel(100, seed, skill=1.0)
        weights = mix(forecasts, returns, [returns.index[-1]], OPTIONS).expert_weights.set_index("expert")["weight"]
        skilled.append(weights["factor_momentum"])
        forecasts, returns = panel(100, seed, skill=0.0)
        result = mix(forecasts, returns, [returns.index[-1]], OPTIONS)
        nothing.append(result.expert_weights.set_index("expert")["weight"]["zero"])
        silent.append(result.expert_weights.set_index("expert")["weight"]["factor_momentum"])
    assert np.mean(skilled) > 0.8
    assert np.mean(nothing) > 0.5
    assert np.mean(silent) < 0.15


def test_levels_do_not_matter_to_the_weights() -> None:
    forecasts, returns = panel(40, 2, skill=0.5)
    shifted = forecasts.copy()
    shifted.loc[shifted["expert"] == "factor_momentum", "mean"] += 0.5
    a, b = (mix(f, returns, list(returns.index), OPTIONS).expert_weights["weight"] for f in (forecasts, shifted))
    np.testing.assert_allclose(a, b, rtol=1e-9)


def test_missing_forecasts_prefer_nothing() -> None:
    forecasts, returns = panel(40, 3, skill=1.0)
    quiet = forecasts.copy()
    quiet.loc[quiet["expert"] != "zero", ["mean", "standard_error"]] = np.nan
    result = mix(quiet, returns, list(returns.index), OPTIONS)
    assert result.forecasts["mean"].eq(0.0).all()
    np.testing.assert_allclose(result.expert_weights.loc[result.expert_weights["expert"] == "zero", "weight"], 0.5)
    one = forecasts.copy()
    last = returns.index[-1]
    one.loc[(one["month"] == last) & (one["style"] == "SIZE") & (one["expert"] != "zero"), "mean"] = np.nan
    rows = mix(one, returns, [last], OPTIONS).forecasts.set_index("style")["mean"]
    assert rows["SIZE"] == pytest.approx(rows.drop("SIZE").mean())


def test_interval_covers_what_it_says() -> None:
    inside, count = 0, 0
    for seed in range(6):
        forecasts, returns = panel(160, 100 + seed, skill=0.5)
        rows = mix(forecasts, returns, list(returns.index[40:-1]), OPTIONS).forecasts
        outcome = returns.shift(-1).rename_axis(columns="style").stack().rename("outcome").reset_index()
        joined = rows.merge(outcome, on=["month", "style"])
        inside += int(joined["outcome"].between(joined["low"], joined["high"]).sum())
        count += len(joined)
    assert count > 3000
    assert inside / count == pytest.approx(0.8, abs=0.03)


def test_half_width_is_the_conformal_order_statistic_or_normal() -> None:
    errors = np.arange(1.0, 31.0) * np.where(np.arange(30) % 2, 1.0, -1.0)
    assert interval_half_width(errors, 1.0, OPTIONS) == 25.0  # ceil(31 × 0.8) = 25
    assert interval_half_width(errors[:10], 2.0, OPTIONS) == pytest.approx(2.0 * 1.2815515655446004)


def test_volatility_needs_half_a_year_and_uses_the_last_year() -> None:
    forecasts, returns = panel(20, 4)
    rows = mix(forecasts, returns, [returns.index[4], returns.index[5], returns.index[19]], OPTIONS).forecasts
    by_month = rows.set_index(["month", "style"])
    assert by_month.loc[returns.index[4], ["volatility", "standard_error", "low", "high"]].isna().all(axis=None)
    assert by_month.loc[(returns.index[5], "VAL"), "volatility"] == pytest.approx(returns["VAL"].iloc[:6].std())
    assert by_month.loc[(returns.index[19], "VAL"), "volatility"] == pytest.approx(returns["VAL"].iloc[8:].std())


def test_the_zero_expert_alone_is_equal_weight() -> None:
    forecasts, returns = panel(20, 4)
    result = mix(forecasts, returns, list(returns.index), ForecastOptions(experts=("zero",)))
    assert result.forecasts["mean"].eq(0.0).all()
    assert result.expert_weights["weight"].eq(1.0).all()


def test_missing_or_double_rows_are_named() -> None:
    forecasts, returns = panel(20, 4)
    cut = forecasts[~((forecasts["expert"] == "historical_mean") & (forecasts["month"] == returns.index[9]))]
    with pytest.raises(ForecastInputError, match=r"no row of \['historical_mean'\] for 2015-10"):
        mix(cut, returns, [returns.index[9]], OPTIONS)
    with pytest.raises(ForecastInputError, match="twice for 2015-01"):
        mix(pd.concat([forecasts, forecasts.iloc[:1]]), returns, [returns.index[9]], OPTIONS)
    with pytest.raises(ForecastInputError, match="month 2040-01"):
        mix(forecasts, returns, [pd.Timestamp("2040-01-01")], OPTIONS)
    with pytest.raises(ForecastInputError, match="style_returns does not"):
        mix(forecasts, returns.iloc[:10], [returns.index[9]], OPTIONS)


def crowd(names: tuple[ExpertName, ...], seed: int, size: float) -> tuple[float, float, float]:
    """(weight of zero, root mean square of the mixture's tilts, largest weight of another) after 120 months in which every
    expert but zero forecasts noise of ``size``."""
    rng = np.random.default_rng(seed)
    index = pd.date_range("2010-01-01", periods=120, freq="MS", name="month")
    returns = pd.DataFrame(rng.normal(0.0, 0.03, (120, 5)), index, list(STYLES))
    frames = [
        pd.DataFrame(
            {
                "month": np.repeat(index, 5),
                "expert": name,
                "style": list(STYLES) * 120,
                "mean": np.zeros(600) if name == "zero" else rng.normal(0.0, size, 600),
                "standard_error": 0.03,
            }
        )
        for name in names
    ]
    found = mix(pd.concat(frames), returns, list(index[-6:]), ForecastOptions(experts=names))
    tilts = found.forecasts.pivot(index="month", columns="style", values="mean")
    weights = found.expert_weights.set_index(["month", "expert"])["weight"].unstack()
    tilts = tilts.sub(tilts.mean(axis=1), axis=0)
    others = weights.drop(columns="zero")
    return float(weights["zero"].mean()), float(np.sqrt((tilts**2).mean(axis=None))), float(others.max(axis=None))


def test_all_experts_at_once_behave_no_worse_than_the_default_ones() -> None:
    """Where nobody knows anything, ten more experts take next to nothing of the zero tilt and make the tilts smaller, not
    larger: their errors differ, and so average out."""
    default = ForecastOptions().experts
    assert len(ALL) == 17
    few, many = (np.mean([crowd(names, seed, 0.01) for seed in range(12)], axis=0) for names in (default, ALL))
    assert many[0] > 0.5
    assert many[0] > few[0] - 0.05
    assert many[1] < few[1]
    assert many[2] < few[2]
