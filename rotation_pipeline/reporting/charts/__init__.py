"""One function per chart: ``(ReportData, Words) → plotly Figure``. Needs plotly only when a chart is drawn."""

from rotation_pipeline.reporting.charts.attribution import attribution_paths
from rotation_pipeline.reporting.charts.base import main_detector
from rotation_pipeline.reporting.charts.evidence import data_coverage, ic_decay, quantile_bars, style_cumulative
from rotation_pipeline.reporting.charts.forecasts import (
    expert_weights,
    forecast_calibration,
    forecast_coverage,
    forecast_hit_rate,
    forecast_outcomes,
    interval_pairs,
    spoken_pairs,
)
from rotation_pipeline.reporting.charts.performance import (
    cost_sensitivity,
    drawdown,
    net_value,
    rolling_sharpe,
    sharpe_intervals,
    turnover,
    yearly_excess,
)
from rotation_pipeline.reporting.charts.regimes import (
    regime_heatmap_filtered,
    regime_heatmap_in_sample,
    regime_index,
    transition_matrix,
)
from rotation_pipeline.reporting.charts.sensitivity import sensitivity_intervals
from rotation_pipeline.reporting.charts.weights import showcase_market, showcase_weights, weights_history, weights_now

__all__ = [
    "attribution_paths",
    "cost_sensitivity",
    "data_coverage",
    "drawdown",
    "expert_weights",
    "forecast_calibration",
    "forecast_coverage",
    "forecast_hit_rate",
    "forecast_outcomes",
    "ic_decay",
    "interval_pairs",
    "main_detector",
    "net_value",
    "quantile_bars",
    "regime_heatmap_filtered",
    "regime_heatmap_in_sample",
    "regime_index",
    "rolling_sharpe",
    "sensitivity_intervals",
    "sharpe_intervals",
    "showcase_market",
    "showcase_weights",
    "spoken_pairs",
    "style_cumulative",
    "transition_matrix",
    "turnover",
    "weights_history",
    "weights_now",
    "yearly_excess",
]
