"""Charts of styles, forecasts and the data they rest on."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from rotation_pipeline.factors.styles import STYLES
from rotation_pipeline.forecasting.tables import EXPERTS
from rotation_pipeline.reporting.charts.base import MIDMONTH, canvas, dates, line, numbers
from rotation_pipeline.reporting.data import ReportData
from rotation_pipeline.reporting.palette import AXIS, EXPERT_COLOURS, INK, MUTED, SEQUENTIAL, STYLE_COLOURS, faded
from rotation_pipeline.reporting.words import Words

if TYPE_CHECKING:
    import plotly.graph_objects as go

BINS = 5


def style_cumulative(data: ReportData, words: Words) -> go.Figure:
    """Growth of 1 in each style's long-short book, before costs; months without a return leave a gap."""
    rows = data.history("longshort")
    figure = canvas(data, words, height=400)
    for style in STYLES:
        own = rows[rows["factor"] == style]
        returns = own["long_short"].astype(float)
        growth = (1.0 + returns.fillna(0.0)).cumprod().where(returns.notna())
        line(figure, dates(own["month"]), numbers(growth), words(f"style.{style}"), STYLE_COLOURS[style], width=2.0)
    figure.add_hline(y=1.0, line={"color": AXIS, "width": 1})
    figure.update_yaxes(title_text=words("axis.growth"), type="log", nticks=8, tickformat=".2~f")
    return figure


def quantile_bars(data: ReportData, words: Words) -> go.Figure:
    """Mean monthly return of the five groups of each style, lowest scores left, with the mean of all groups as a line."""
    import plotly.graph_objects as go

    rows = data.history("groups")
    figure = canvas(data, words, height=320, dated=False, legend=False)
    groups = int(rows["quantile"].max())
    ticks: list[float] = []
    for place, style in enumerate(STYLES):
        own = rows[rows["factor"] == style]
        mean = own.assign(value=own["return_equal"].astype(float)).groupby("quantile")["value"].agg(["mean", "count"])
        positions = [place * (groups + 1.5) + float(group) for group in mean.index]
        ticks.append(place * (groups + 1.5) + (groups + 1) / 2)
        steps = [0.3 + 0.7 * (float(group) - 1.0) / max(groups - 1, 1) for group in mean.index]
        figure.add_trace(
            go.Bar(
                x=positions, y=numbers(mean["mean"]), name=words(f"style.{style}"), width=0.86,
                marker={"color": [faded(STYLE_COLOURS[style], step) for step in steps]},
                text=[words("cell.group", group=int(group), n=int(count)) for group, count in zip(mean.index, mean["count"], strict=True)],
                textposition="none", hovertemplate="%{text}: %{y:+.2%}<extra>" + words(f"style.{style}") + "</extra>",
            )
        )  # fmt: skip
        level = numbers([mean["mean"].mean()])[0]
        figure.add_shape(
            type="line", x0=min(positions, default=0.0) - 0.6, x1=max(positions, default=0.0) + 0.6, y0=level, y1=level,
            line={"color": MUTED, "width": 1, "dash": "dot"},
        )  # fmt: skip
    figure.update_xaxes(
        tickvals=ticks,
        ticktext=[words(f"style.{style}") for style in STYLES],
        showgrid=False,
        zeroline=False,
        tickfont={"color": INK, "size": 12},
        tickangle=0,
    )
    figure.update_yaxes(tickformat=".1%", zeroline=True, title_text=words("axis.monthly_return"))
    return figure


def expert_weights(data: ReportData, words: Words) -> go.Figure:
    """Weight of each forecaster in the mixture, stacked to 100 %; the zero-tilt expert at the bottom."""
    import plotly.graph_objects as go

    rows = data.history("expert_weights")
    figure = canvas(data, words, height=320)
    for expert in EXPERTS:
        own = rows[rows["expert"] == expert]
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
    """Each forecast beside the return it was about: month of the forecast, style, mean, outcome (month + 1)."""
    forecasts = data.history("forecasts")[["month", "style", "mean"]]
    realised = data.history("longshort")[["month", "factor", "long_short"]]
    earlier = realised.assign(month=realised["month"] - pd.offsets.MonthBegin(1)).rename(
        columns={"factor": "style", "long_short": "outcome"}
    )
    pairs = forecasts.merge(earlier, on=["month", "style"], how="inner")
    return pairs.dropna(subset=["mean", "outcome"]).reset_index(drop=True)


def forecast_outcomes(data: ReportData, words: Words) -> go.Figure:
    """Forecast against what happened a month later, one dot per style and month, with the mean of each forecast fifth."""
    import plotly.graph_objects as go

    pairs = outcome_pairs(data)
    figure = canvas(data, words, height=400, dated=False)
    for style in STYLES:
        own = pairs[pairs["style"] == style]
        figure.add_trace(
            go.Scatter(
                x=numbers(own["mean"]), y=numbers(own["outcome"]), mode="markers", name=words(f"style.{style}"),
                marker={"color": STYLE_COLOURS[style], "size": 5, "opacity": 0.45}, text=[month[:7] for month in dates(own["month"])],
                hovertemplate="%{text}: %{x:+.2%} → %{y:+.2%}",
            )
        )  # fmt: skip
    forecast, outcome = pairs["mean"].astype(float).to_numpy(), pairs["outcome"].astype(float).to_numpy()
    if len(pairs) >= 4 * BINS and np.ptp(forecast) > 0.0:
        order = np.argsort(forecast, kind="stable")
        parts = [part for part in np.array_split(order, BINS) if len(part)]
        figure.add_trace(
            go.Scatter(
                x=numbers(forecast[part].mean() for part in parts), y=numbers(outcome[part].mean() for part in parts),
                error_y={
                    "type": "data", "array": numbers(1.96 * outcome[part].std(ddof=1) / np.sqrt(len(part)) for part in parts),
                    "color": INK, "thickness": 1.6, "width": 0,
                },
                mode="lines+markers", name=words("series.binned"), line={"color": INK, "width": 1.6}, marker={"size": 9},
                text=[f"n {len(part)}" for part in parts], hovertemplate="%{x:+.2%} → %{y:+.2%}, %{text}",
            )
        )  # fmt: skip
    if len(pairs):
        ends = numbers([forecast.min(), forecast.max()])
        figure.add_trace(
            go.Scatter(
                x=ends,
                y=ends,
                mode="lines",
                name=words("series.perfect"),
                line={"color": AXIS, "width": 1.2, "dash": "dash"},
                hoverinfo="skip",
            )
        )
    figure.update_xaxes(tickformat=".1%", zeroline=True, title_text=words("axis.forecast"), nticks=7)
    figure.update_yaxes(tickformat=".0%", zeroline=True, title_text=words("axis.outcome"))
    return figure


def data_coverage(data: ReportData, words: Words) -> go.Figure:
    """Rows stored per table and month as a share of that table's usual (median) number; gaps are blank."""
    import plotly.graph_objects as go

    rows = data.history("ingestions")
    table = rows.assign(rows=rows["rows"].astype(float)).pivot_table(
        index="table_name", columns="month", values="rows", aggfunc="sum", sort=True
    )
    months = pd.date_range(table.columns.min(), table.columns.max(), freq="MS")
    table = table.reindex(columns=months).iloc[::-1]
    median = table.replace(0.0, np.nan).median(axis=1)
    share = table.div(median, axis=0)
    figure = canvas(data, words, height=80 + 24 * len(table), legend=False)
    figure.add_trace(
        go.Heatmap(
            x=dates(months), y=[escape(str(name)) for name in table.index], z=[numbers(row) for row in share.to_numpy()],
            text=[["" if value is None else f"{value:,.0f}" for value in numbers(row)] for row in table.to_numpy()],
            colorscale=SEQUENTIAL, zmin=0, zmax=1, showscale=False, xgap=0, ygap=3, xperiod="M1", xperiodalignment="middle",
            hovertemplate="%{y} · %{x|%Y-%m}<br>" + words("cell.rows") + "<extra></extra>",
        )
    )  # fmt: skip
    figure.update_layout(hovermode="closest")
    figure.update_yaxes(showgrid=False, ticks="", tickfont={"color": INK, "size": 11}, type="category")
    return figure
