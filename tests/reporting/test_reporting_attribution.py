"""Attribution, calibration, hit rates and decay on the page: what they show is what the frames hold, and it adds up."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from reporting_frames import build

from rotation_pipeline.backtest.tables import EFFECTS
from rotation_pipeline.factors.styles import STYLES
from rotation_pipeline.reporting import attribution, charts, sheets
from rotation_pipeline.reporting.charts.forecasts import clustered_error, wilson_interval
from rotation_pipeline.reporting.data import ReportData, ReportError
from rotation_pipeline.reporting.sheets import Sheet
from rotation_pipeline.reporting.words import Words

EN = Words("en")


@pytest.fixture(scope="module")
def data() -> ReportData:
    return build()


def values(sheet: Sheet) -> np.ndarray:
    """The numbers of a sheet of percentages, empty cells as NaN."""
    text = [[cell.text.replace("−", "-").rstrip("%") for cell in row[1:]] for row in sheet.rows]
    return np.array([[float(one) if one else np.nan for one in row] for row in text]) / 100.0


def test_effects_add_up_to_the_excess_of_the_backtest(data: ReportData) -> None:
    shown = values(attribution.by_decision(data, EN))
    net = data.backtest.pivot(index="month", columns="strategy", values="net_return")
    excess = 12.0 * (net["rotation"] - net["equal_weight"]).mean()
    effects, total, stated = shown[:4], shown[4], shown[5]
    assert effects.sum(axis=0) == pytest.approx(total, abs=3e-5)
    assert effects[:, :5].sum(axis=1) == pytest.approx(effects[:, 5], abs=3e-5)
    assert total[5] == stated[5] == pytest.approx(excess, abs=1e-5)
    own = data.attribution[(data.attribution["effect"] == "inertia") & (data.attribution["style"] == STYLES[3])]
    assert shown[EFFECTS.index("inertia"), 3] == pytest.approx(12.0 * own["value"].mean(), abs=1e-5)


def test_regimes_add_up_to_the_same(data: ReportData) -> None:
    sheet = attribution.by_regime(data, EN)
    shown = values(sheet)[:, 1:]
    assert shown[:-1].sum(axis=0) == pytest.approx(shown[-1], abs=4e-5)
    assert shown[-1, -1] == pytest.approx(values(attribution.by_decision(data, EN))[4, 5], abs=1e-5)
    months = [int(row[1].text) for row in sheet.rows]
    assert sum(months[:-1]) == months[-1] == 59


def test_the_dark_line_is_the_running_excess(data: ReportData) -> None:
    figure = charts.attribution_paths(data, EN)
    net = data.backtest.pivot(index="month", columns="strategy", values="net_return")
    slow = 100.0 * (net["rotation"] - net["equal_weight"]).cumsum()
    assert list(figure.data[-1].y) == pytest.approx(slow.tolist(), rel=1e-4, abs=1e-6)
    assert [trace.name for trace in figure.data] == [*(EN(f"effect.{name}") for name in EFFECTS), EN("effect.sum")]


def test_a_month_without_an_effect_is_refused(data: ReportData) -> None:
    rows = data.attribution
    last = rows["month"].max()
    gap = rows[(rows["month"] != last) | (rows["effect"] != "cost")]
    with pytest.raises(ReportError, match=f"attribution of {last:%Y-%m} lacks an effect"):
        attribution.by_decision(replace(data, attribution=gap), EN)
    with pytest.raises(ReportError, match="'luck'"):
        attribution.by_decision(replace(data, attribution=rows.assign(effect="luck")), EN)


def test_clustered_error_is_that_of_a_regression_on_a_constant() -> None:
    random = np.random.default_rng(3)
    clusters = np.repeat(np.arange(30), 5)
    y = random.normal(0.0, 1.0, 150) + random.normal(0.0, 1.0, 30)[clusters]
    fit = sm.OLS(y, np.ones(150)).fit(cov_type="cluster", cov_kwds={"groups": clusters, "use_correction": True})
    # statsmodels also scales by (n − 1) / (n − k), which is 1 here
    assert clustered_error(y, clusters) == pytest.approx(float(fit.bse[0]), rel=1e-10)
    assert np.isnan(clustered_error(y[:5], clusters[:5]))


def test_wilson_interval_published_case() -> None:
    # Newcombe (1998), Statistics in Medicine 17, table I, method 3: 81/263, 15/148, 0/20, 1/29
    cases = {
        (81, 263): (0.2553, 0.3662),
        (15, 148): (0.0624, 0.1605),
        (0, 20): (0.0, 0.1611),
        (1, 29): (0.0061, 0.1718),
    }
    for (hits, count), expected in cases.items():
        assert wilson_interval(hits / count, count) == pytest.approx(expected, abs=5e-5)


def test_hit_rate_and_coverage_by_year(data: ReportData) -> None:
    pairs = charts.spoken_pairs(data)
    pairs = pairs.assign(year=[(month + pd.DateOffset(months=1)).year for month in pairs["month"]])
    trace = charts.forecast_hit_rate(data, EN).data[0]
    slow = pairs.groupby("year").apply(
        lambda own: (np.sign(own["mean"]) == np.sign(own["outcome"])).mean(), include_groups=False
    )
    assert list(trace.x) == [str(year) for year in slow.index]
    assert list(trace.y) == pytest.approx(slow.tolist(), rel=1e-5)
    covered = charts.interval_pairs(data)
    inside = (covered["outcome"] >= covered["low"]) & (covered["outcome"] <= covered["high"])
    counts = [int(text.split(" ")[-1]) for text in charts.forecast_coverage(data, EN).data[0].text]
    share = np.array(charts.forecast_coverage(data, EN).data[0].y)
    assert (share * counts).sum() == pytest.approx(inside.sum(), abs=1e-2)


def test_a_forecast_of_zero_is_no_forecast(data: ReportData) -> None:
    early = data.forecasts["month"] < pd.Timestamp("2016-01-01")
    quiet = replace(data, forecasts=data.forecasts.assign(mean=data.forecasts["mean"].where(~early, 0.0)))
    assert charts.spoken_pairs(quiet)["month"].min() == pd.Timestamp("2016-01-01")
    calibration = charts.forecast_calibration(quiet, EN).data[0]
    sizes = [int(text.split(" ")[-1]) for text in calibration.text]
    assert sum(sizes) == len(charts.spoken_pairs(quiet))


def test_decay_is_the_mean_over_months_by_age(data: ReportData) -> None:
    figure = charts.ic_decay(data, EN)
    for trace, style in zip(figure.data, STYLES, strict=True):
        slow = data.decay[data.decay["factor"] == style].groupby("horizon")["rank_ic"].mean()
        assert list(trace.x) == slow.index.tolist()
        assert list(trace.y) == pytest.approx(slow.tolist(), rel=1e-5)


def test_both_kinds_of_cost_add_up(data: ReportData) -> None:
    sheet = sheets.cost_kinds(data, EN)
    own = data.backtest[data.backtest["strategy"] == "rotation"]
    between, inside, both = (float(cell.text.rstrip("%")) / 100.0 for cell in sheet.rows[0][1:4])
    assert between == pytest.approx(12.0 * own["factor_cost"].mean(), abs=1e-4)
    assert both == pytest.approx(between + inside, abs=1.1e-4)
