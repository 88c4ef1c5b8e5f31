"""What the charts and tables show is what the frames hold."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from reporting_frames import build

from rotation_pipeline.factors.styles import STYLES
from rotation_pipeline.regimes.names import REGIMES
from rotation_pipeline.reporting import charts, sheets
from rotation_pipeline.reporting.charts.base import numbers, spells
from rotation_pipeline.reporting.charts.forecasts import outcome_pairs
from rotation_pipeline.reporting.charts.performance import ROLLING_MONTHS
from rotation_pipeline.reporting.data import ReportData
from rotation_pipeline.reporting.terminal import verdict_table_text
from rotation_pipeline.reporting.words import Words

EN = Words("en")


@pytest.fixture(scope="module")
def data() -> ReportData:
    return build()


def test_net_value_starts_at_one_a_month_before_its_first_return(data: ReportData) -> None:
    figure = charts.net_value(data, EN)
    trace = next(trace for trace in figure.data if trace.name == "Rotation")
    own = data.backtest[data.backtest["strategy"] == "rotation"]
    assert (trace.x[0], trace.y[0]) == ("2015-01-01", 1.0)
    assert list(trace.y[1:]) == numbers(own["net_value"])
    gross = next(trace for trace in figure.data if trace.name == "Rotation, before costs")
    assert gross.y[-1] == pytest.approx(np.prod(1.0 + own["gross_return"]), rel=1e-5)
    hidden = {trace.name for trace in figure.data if trace.visible == "legendonly"}
    assert "Oracle" in hidden
    assert "Equal weight" not in hidden


def test_rolling_sharpe_against_a_loop(data: ReportData) -> None:
    trace = charts.rolling_sharpe(data, EN).data[0]
    own = data.backtest[data.backtest["strategy"] == "rotation"]["net_return"].to_numpy()
    slow = [
        own[end - ROLLING_MONTHS : end].mean() / own[end - ROLLING_MONTHS : end].std(ddof=1) * 12**0.5
        for end in range(ROLLING_MONTHS, len(own) + 1)
    ]
    assert list(trace.y) == pytest.approx(slow, rel=1e-5)


def test_heatmap_cells_are_the_evidence_rows(data: ReportData) -> None:
    rows = data.regime_evidence
    for labelling, draw in (
        ("filtered", charts.regime_heatmap_filtered),
        ("in_sample", charts.regime_heatmap_in_sample),
    ):
        trace = draw(data, EN).data[0]
        for i, style in enumerate(reversed(STYLES)):
            for j, regime in enumerate(REGIMES):
                row = rows[
                    (rows["labelling"] == labelling) & (rows["style"] == style) & (rows["regime"] == regime)
                ].iloc[0]
                assert trace.z[i][j] == pytest.approx(row["mean"], rel=1e-5)
                assert f"n {row['months']}" in trace.text[i][j]
                assert ("<b>" in trace.text[i][j]) == (row["low"] > 0 or row["high"] < 0)


def test_a_regime_never_seen_is_a_blank_cell(data: ReportData) -> None:
    rows = data.regime_evidence[data.regime_evidence["regime"] != "bear"]
    trace = charts.regime_heatmap_filtered(replace(data, regime_evidence=rows), EN).data[0]
    assert [line[1] for line in trace.z] == [None] * len(STYLES)
    assert trace.text[0][1] == "no month"


def test_quantile_bars_are_means_over_months(data: ReportData) -> None:
    figure = charts.quantile_bars(data, EN)
    for trace, style in zip(figure.data, STYLES, strict=True):
        own = data.groups[data.groups["factor"] == style]
        slow = [own[own["quantile"] == group]["return_equal"].mean() for group in range(1, 6)]
        assert list(trace.y) == pytest.approx(slow, rel=1e-5)


def test_forecasts_meet_the_return_of_the_month_after(data: ReportData) -> None:
    pairs = outcome_pairs(data)
    realised = data.longshort.set_index(["month", "factor"])["long_short"]
    stamps = sorted(data.forecasts["month"].unique())
    assert len(pairs) == (len(stamps) - 1) * len(STYLES)  # the newest forecast has no outcome yet
    for row in pairs.sample(25, random_state=1).itertuples():
        assert row.outcome == realised[(row.month + pd.DateOffset(months=1), row.style)]


def test_yearly_excess_is_strategy_minus_equal_weight(data: ReportData) -> None:
    trace = charts.yearly_excess(data, EN).data[0]
    net = data.backtest.pivot(index="month", columns="strategy", values="net_return")
    for year, excess in zip(trace.x, trace.y, strict=True):
        own = net[net.index.year == int(year)]
        slow = np.prod(1 + own["rotation"]) - np.prod(1 + own["equal_weight"])
        assert excess == pytest.approx(slow, rel=1e-3, abs=1e-6)


def test_weights_panels_are_points_from_equal_weight(data: ReportData) -> None:
    figure = charts.weights_history(data, EN)
    own = data.weights[data.weights["strategy"] == "rotation"]
    for trace, style in zip(figure.data, STYLES, strict=True):
        assert list(trace.y) == pytest.approx(100 * (own[own["style"] == style]["weight"] - 0.2), rel=1e-5, abs=1e-9)


def test_the_kmeans_detector_never_shades_the_index(data: ReportData) -> None:
    other = data.regimes.assign(regime=np.where(data.regimes["detector"] == "kmeans", "bear", data.regimes["regime"]))
    assert charts.regime_index(replace(data, regimes=other), EN).to_json() == charts.regime_index(data, EN).to_json()


def test_spells_join_months_and_break_at_gaps() -> None:
    months = ["2020-01-01", "2020-02-01", "2020-04-01", "2020-05-01"]
    assert spells(months, ["bear", "bear", "bear", "range"]) == [
        ("2020-01-01", "2020-03-01", "bear"), ("2020-04-01", "2020-05-01", "bear"), ("2020-05-01", "2020-06-01", "range"),
    ]  # fmt: skip


def test_numbers_keep_nulls_and_six_digits() -> None:
    assert numbers([1 / 3, None, float("nan"), 1234567.8]) == [0.333333, None, None, 1234570.0]


def test_figures_are_small_json_without_null_traces(data: ReportData) -> None:
    figure = json.loads(charts.regime_index(data, EN).to_json())
    assert "bdata" not in json.dumps(figure)
    assert len(json.dumps(figure)) < 60_000


def test_headline_sheet_and_terminal_rows_agree_with_the_measures(data: ReportData) -> None:
    sheet = sheets.headline(data, EN)
    assert [row[0].text for row in sheet.rows][:4] == [
        "Rotation",
        "Softmax on mixture",
        "Softmax on network",
        "Equal weight",
    ]
    assert sheet.rows[-1][0].text == "Oracle"
    assert sheet.rows[-1][0].aside == "upper bound"
    sharpe = data.measure_index()[("rotation", "all", data.cost_bp, "sharpe")]
    rows = verdict_table_text(data)
    assert len(rows) == len(sheet.rows)
    assert rows[0]["role"] == "strategy"
    assert rows[0]["months"] == "59"
    assert rows[0]["sharpe"].replace("−", "-") == f"{sharpe.value:.2f} [{sharpe.low:.2f}, {sharpe.high:.2f}]"
    assert rows[3]["information_ratio"] == "–"


def test_trials_are_those_the_deflated_ratio_counts(data: ReportData) -> None:
    assert data.trial_count() == 3
    more = data.significance.assign(trials=data.significance["trials"].where(data.significance["trials"].isna(), 12))
    assert replace(data, significance=more).trial_count() == 12


def test_quarantine_is_counted_by_table_and_rule(data: ReportData) -> None:
    rows = [[cell.text for cell in row] for row in sheets.quarantine(data, EN).rows]
    assert rows[0][:4] == ["daily_bars", "limit_exceeded", "0", "1"]
    assert rows[1][:4] == ["daily_bars", "price_positive", "1", "0"]


def test_significance_splits_equal_weight_from_the_other_baselines(data: ReportData) -> None:
    first = sheets.significance(data, EN)
    assert {row[0].text for row in first.rows} == {"Equal weight", "Zero"}
    assert len(first.rows) == 8
    others = sheets.differences(data, EN)
    assert [cell.text for cell in others.rows[0]] == ["Rule-based", "0.08", "0.660", "0.680", "0.910"]
    assert len(others.rows) == 9
