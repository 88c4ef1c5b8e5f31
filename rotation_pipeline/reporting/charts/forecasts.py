"""Charts of the forecasts: against outcomes, how often right, how well calibrated, and whom the mixture listens to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from rotation_pipeline.factors.styles import STYLES
from rotation_pipeline.forecasting.tables import EXPERTS
from rotation_pipeline.reporting.charts.base import MIDMONTH, canvas, dates, numbers
from rotation_pipeline.reporting.data import ReportData
from rotation_pipeline.reporting.frames import chosen, floats, labels, months_later, stamp, where
from rotation_pipeline.reporting.palette import AXIS, EXPERT_COLOURS, INK, MUTED, ROTATION, STYLE_COLOURS, faded
from rotation_pipeline.reporting.words import Words

if TYPE_CHECKING:
    import plotly.graph_objects as go

Floats = npt.NDArray[np.float64]
BINS = 5
USUAL_LEVEL = 0.8
"""Of the forecasts' intervals, where the settings do not say."""
Z = 1.959963984540054
"""Of a two-sided 95 % interval."""


def expert_weights(data: ReportData, words: Words) -> go.Figure:
    """Weight of each forecaster in the mixture, stacked to 100 %; the zero-tilt expert at the bottom."""
    import plotly.graph_objects as go

    rows = data.history("expert_weights")
    figure = canvas(data, words, height=320)
    for expert in EXPERTS:
        own = where(rows, expert=expert)
        if own.empty:
            continue
        figure.add_trace(
            go.Scatter(
                x=dates(own["month"]), y=numbers(own["weight"]), name=words(f"expert.{expert}"), stackgroup="w", mode="lines",
                line={"width": 0.5, "color": EXPERT_COLOURS[expert]}, fillcolor=faded(EXPERT_COLOURS[expert], 0.85),
                hovertemplate="%{y:.1%}", **MIDMONTH,
            )
        )  # fmt: skip
    figure.update_yaxes(range=[0, 1], tickformat=".0%", title_text=words("axis.mixture_weight"))
    return figure


def outcome_pairs(data: ReportData) -> pd.DataFrame:
    """Each forecast beside the return it was about: month of the forecast, style, mean, low, high, outcome (month + 1)."""
    realised = data.history("longshort")
    keys = zip((months_later(month, -1) for month in realised["month"]), labels(realised, "factor"), strict=True)
    outcome = dict(zip(keys, floats(realised, "long_short").tolist(), strict=True))
    made = data.history("forecasts")
    stamps = [stamp(month) for month in made["month"]]
    found = [outcome.get(key, np.nan) for key in zip(stamps, labels(made, "style"), strict=True)]
    numbers_of = {name: floats(made, name) for name in ("mean", "low", "high")}
    pairs = pd.DataFrame({"month": stamps, "style": labels(made, "style"), **numbers_of, "outcome": found})
    return chosen(pairs, ~np.isnan(floats(pairs, "mean")) & ~np.isnan(floats(pairs, "outcome")))


def spoken_pairs(data: ReportData) -> pd.DataFrame:
    """Of :func:`outcome_pairs` those whose forecast is not 0, as it is before the forecasters have enough history."""
    pairs = outcome_pairs(data)
    return chosen(pairs, floats(pairs, "mean") != 0.0)


def forecast_outcomes(data: ReportData, words: Words) -> go.Figure:
    """Forecast against what happened a month later, one dot per style and month."""
    import plotly.graph_objects as go

    pairs = spoken_pairs(data)
    figure = canvas(data, words, height=400, dated=False)
    for style in STYLES:
        own = where(pairs, style=style)
        figure.add_trace(
            go.Scatter(
                x=numbers(own["mean"]), y=numbers(own["outcome"]), mode="markers", name=words(f"style.{style}"),
                marker={"color": STYLE_COLOURS[style], "size": 5, "opacity": 0.55}, text=[month[:7] for month in dates(own["month"])],
                hovertemplate="%{text}: %{x:+.2%} → %{y:+.2%}",
            )
        )  # fmt: skip
    if len(pairs):
        forecast = floats(pairs, "mean")
        ends = numbers([forecast.min(), forecast.max()])
        figure.add_trace(_identity(ends, words))
    figure.update_xaxes(tickformat=".1%", zeroline=True, title_text=words("axis.forecast"), nticks=7)
    figure.update_yaxes(tickformat=".0%", zeroline=True, title_text=words("axis.outcome"))
    return figure


def _identity(ends: list[float | None], words: Words) -> go.Scatter:
    import plotly.graph_objects as go

    return go.Scatter(
        x=ends, y=ends, mode="lines", name=words("series.perfect"), hoverinfo="skip",
        line={"color": AXIS, "width": 1.2, "dash": "dash"},
    )  # fmt: skip


def forecast_calibration(data: ReportData, words: Words) -> go.Figure:
    """Mean outcome of each fifth of the forecasts, lowest to highest, with a 95 % interval clustered by month."""
    import plotly.graph_objects as go

    pairs = spoken_pairs(data)
    figure = canvas(data, words, height=330, dated=False)
    forecast, outcome = floats(pairs, "mean"), floats(pairs, "outcome")
    if len(pairs) >= 4 * BINS and np.ptp(forecast) > 0.0:
        months = np.unique(np.asarray(pairs["month"], dtype="datetime64[ns]"), return_inverse=True)[1]
        parts = np.array_split(np.argsort(forecast, kind="stable"), BINS)
        means = [float(outcome[part].mean()) for part in parts]
        reach = [Z * clustered_error(outcome[part], months[part]) for part in parts]
        centres = numbers(forecast[part].mean() for part in parts)
        figure.add_trace(
            go.Scatter(
                x=centres, y=numbers(means), mode="lines+markers", name=words("series.binned"), line={"color": ROTATION, "width": 2.0},
                marker={"size": 9}, error_y={"type": "data", "array": numbers(reach), "color": ROTATION, "thickness": 1.6, "width": 0},
                text=[f"[{mean - half:+.2%}, {mean + half:+.2%}], n {len(part)}" for mean, half, part in zip(means, reach, parts, strict=True)],
                hovertemplate="%{x:+.2%} → %{y:+.2%} %{text}<extra></extra>",
            )
        )  # fmt: skip
        figure.add_trace(_identity(centres, words))
    figure.update_xaxes(tickformat=".1%", zeroline=True, title_text=words("axis.forecast"), nticks=6)
    figure.update_yaxes(tickformat=".1%", zeroline=True, title_text=words("axis.mean_outcome"))
    return figure


def clustered_error(values: Floats, clusters: npt.NDArray[np.int64]) -> float:
    """Standard error of the mean of ``values`` (n,), those of one cluster (one month) free to move together: Liang-Zeger 1986.

    NaN for fewer than two clusters.
    """
    sums = np.bincount(clusters, weights=values - values.mean()).astype(np.float64)
    count = len(np.unique(clusters))
    if count < 2:
        return float("nan")
    return float(np.sqrt(count / (count - 1) * (sums**2).sum()) / len(values))


def forecast_hit_rate(data: ReportData, words: Words) -> go.Figure:
    """Share of forecasts with the right sign, by the calendar year of the outcome."""
    pairs = spoken_pairs(data)
    right = np.sign(floats(pairs, "mean")) == np.sign(floats(pairs, "outcome"))
    return _shares(data, words, pairs, right, 0.5, words("axis.hit_rate"))


def interval_pairs(data: ReportData) -> pd.DataFrame:
    """Of :func:`outcome_pairs` those whose forecast has an interval."""
    pairs = outcome_pairs(data)
    return chosen(pairs, ~np.isnan(floats(pairs, "low")) & ~np.isnan(floats(pairs, "high")))


def forecast_coverage(data: ReportData, words: Words) -> go.Figure:
    """Share of outcomes inside the forecast's interval, by the calendar year of the outcome."""
    pairs = interval_pairs(data)
    outcome = floats(pairs, "outcome")
    inside = (outcome >= floats(pairs, "low")) & (outcome <= floats(pairs, "high"))
    return _shares(data, words, pairs, inside, interval_level(data), words("axis.coverage"))


def interval_level(data: ReportData) -> float:
    """Probability the forecasts' intervals were made for."""
    group = data.settings.get("forecasts")
    if not isinstance(group, Mapping):
        return USUAL_LEVEL
    return float(str({str(key): value for key, value in group.items()}.get("interval_level", USUAL_LEVEL)))


def _shares(
    data: ReportData, words: Words, pairs: pd.DataFrame, hit: npt.NDArray[np.bool_], aim: float, axis: str
) -> go.Figure:
    """Share of hits by year of the outcome as dots with 95 % intervals (Wilson 1927), the aim as a line."""
    import plotly.graph_objects as go

    years = np.array([months_later(month, 1).year for month in pairs["month"]], dtype=np.int64)
    known = sorted(set(years.tolist()))
    counts = [int((years == year).sum()) for year in known]
    shares = [float(hit[years == year].mean()) for year in known]
    ends = [wilson_interval(share, n) for share, n in zip(shares, counts, strict=True)]
    figure = canvas(data, words, height=280, dated=False, legend=False)
    figure.add_trace(
        go.Scatter(
            x=[str(year) for year in known], y=numbers(shares), mode="markers", name=axis, marker={"color": ROTATION, "size": 8},
            error_y={
                "type": "data", "array": numbers(high - share for share, (_, high) in zip(shares, ends, strict=True)),
                "arrayminus": numbers(share - low for share, (low, _) in zip(shares, ends, strict=True)), "color": ROTATION, "thickness": 1.4, "width": 0,
            },
            text=[f"[{low:.0%}, {high:.0%}], n {n}" for (low, high), n in zip(ends, counts, strict=True)],
            hovertemplate="%{x}: %{y:.1%} %{text}<extra></extra>",
        )
    )  # fmt: skip
    figure.add_hline(y=aim, line={"color": MUTED, "width": 1, "dash": "dash"})
    figure.update_xaxes(type="category", showgrid=False, tickfont={"color": INK}, nticks=6, tickangle=0)
    figure.update_yaxes(tickformat=".0%", title_text=axis)
    return figure


def wilson_interval(share: float, count: int) -> tuple[float, float]:
    """95 % interval of a proportion ``share`` of ``count`` trials taken as independent (Wilson 1927)."""
    centre = share + Z**2 / (2 * count)
    half = Z * float(np.sqrt(share * (1 - share) / count + Z**2 / (4 * count**2)))
    scale = 1 + Z**2 / count
    return (centre - half) / scale, (centre + half) / scale
