"""Charts of the weights: what to hold now, and how far and when the book left equal weight."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rotation_pipeline.factors.styles import STYLES
from rotation_pipeline.reporting.charts.base import (
    MONTH_TICKS,
    canvas,
    dates,
    line,
    main_detector,
    numbers,
    shade_regimes,
)
from rotation_pipeline.reporting.data import ReportData
from rotation_pipeline.reporting.formats import percent
from rotation_pipeline.reporting.frames import between, floats, months_later, where
from rotation_pipeline.reporting.palette import AXIS, INK, MUTED, STYLE_COLOURS, faded
from rotation_pipeline.reporting.words import Words

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

EQUAL = 1.0 / len(STYLES)


def weights_now(data: ReportData, words: Words) -> go.Figure:
    """Weight of each style from this month on (bar), the weight it drifted to (tick) and equal weight (line)."""
    import plotly.graph_objects as go

    rows = data.latest("weights")
    own = where(rows, strategy=data.headline()).set_index("style").reindex(list(STYLES))
    order = list(reversed(STYLES))
    weight = numbers(own.loc[order, "weight"])
    names = [f"{words(f'style.{style}')}  <b>{percent(value)}</b>" for style, value in zip(order, weight, strict=True)]
    figure = canvas(data, words, height=230, dated=False, legend=False)
    figure.add_trace(
        go.Bar(
            x=weight, y=names, orientation="h", name=words("series.weight"), width=0.56,
            marker={"color": [STYLE_COLOURS[style] for style in order]},
            hovertemplate="%{y}<extra></extra>",
        )
    )  # fmt: skip
    figure.add_trace(
        go.Scatter(
            x=numbers(own.loc[order, "drifted"]), y=names, mode="markers", name=words("series.drifted"),
            marker={"symbol": "line-ns", "size": 20, "line": {"width": 2, "color": INK}},
            hovertemplate="%{y}: %{x:.1%}<extra>" + words("series.drifted") + "</extra>",
        )
    )  # fmt: skip
    figure.add_vline(x=EQUAL, line={"color": AXIS, "width": 1, "dash": "dot"})
    figure.add_annotation(
        x=EQUAL, y=1, yref="paper", yanchor="bottom", xanchor="right", text=words("series.equal"), showarrow=False, yshift=4,
        font={"size": 11, "color": MUTED},
    )  # fmt: skip
    shown = [value for value in (*weight, *numbers(own["drifted"]), EQUAL, 0.0) if value is not None]
    span = max(shown) - min(shown)
    figure.update_xaxes(
        tickformat=".0%",
        range=[min(shown) - (0.04 * span if min(shown) < 0 else 0.0), max(shown) + 0.06 * span],
        zeroline=True,
    )
    figure.update_yaxes(showgrid=False, tickfont={"color": INK, "size": 13})
    return figure


def weights_history(data: ReportData, words: Words) -> go.Figure:
    """Five panels, one per style: its weight minus equal weight, filled, over all months."""
    from plotly.subplots import make_subplots

    rows = data.history("weights")
    own = where(rows, strategy=data.headline())
    limit = max(0.02, 1.08 * float(np.nanmax(np.abs(floats(own, "weight") - EQUAL))))
    base = canvas(data, words, height=520, legend=False)
    figure = make_subplots(rows=len(STYLES), cols=1, shared_xaxes=True, vertical_spacing=0.025, figure=base)
    for row, style in enumerate(STYLES, start=1):
        one = where(own, style=style)
        colour = STYLE_COLOURS[style]
        line(
            figure, dates(one["month"]), numbers(100.0 * (floats(one, "weight") - EQUAL)), words(f"style.{style}"), colour, width=1.4,
            hover="%{y:+.1f}", row=row, fill="tozeroy", fillcolor=faded(colour, 0.35),
        )  # fmt: skip
        figure.add_annotation(
            text=words(f"style.{style}"), xref="paper", x=0, xanchor="left", xshift=6, showarrow=False, yanchor="top",
            yref="y domain" if row == 1 else f"y{row} domain", y=1.0, font={"color": colour, "size": 13},
        )  # fmt: skip
    figure.update_yaxes(range=[-100.0 * limit, 100.0 * limit], nticks=4, tickformat="d", zeroline=True, gridwidth=0.5)
    figure.update_xaxes(type="date", showgrid=False, hoverformat="%Y-%m", ticks="", tickformatstops=MONTH_TICKS)
    figure.update_xaxes(row=len(STYLES), col=1, ticks="outside")
    figure.update_layout(hovermode="x unified", hoversubplots="axis")
    return figure


def showcase_market(data: ReportData, words: Words, start: pd.Timestamp, end: pd.Timestamp) -> go.Figure:
    """The index over a period, its close marked each month, on bands of the regime known at the time."""
    index = between(data.history("index"), start, end)
    regimes = between(data.history("regimes"), start, end)
    figure = canvas(data, words, height=230, legend=False)
    months = dates(index["month"])
    line(
        figure, months, numbers(index["close"]), words("series.index"), INK, width=2.2, hover="%{y:,.0f}",
    )  # fmt: skip
    figure.update_traces(mode="lines+markers", marker={"size": 6})
    shade_regimes(figure, main_detector(regimes))
    _monthly_ticks(figure, start, end)
    figure.update_yaxes(tickformat=",.0f", title_text=words("axis.index"), nticks=5)
    return figure


def showcase_weights(data: ReportData, words: Words, start: pd.Timestamp, end: pd.Timestamp) -> go.Figure:
    """Weights of the five styles at the close of each month of a period."""
    rows = data.history("weights")
    own = between(where(rows, strategy=data.headline()), start, end)
    figure = canvas(data, words, height=230)
    for style in STYLES:
        one = where(own, style=style)
        line(
            figure, dates(one["month"]), numbers(one["weight"]), words(f"style.{style}"), STYLE_COLOURS[style], width=2.0,
            hover="%{y:.1%}",
        )  # fmt: skip
    figure.update_traces(mode="lines+markers", marker={"size": 5})
    figure.add_hline(y=EQUAL, line={"color": AXIS, "width": 1, "dash": "dot"})
    _monthly_ticks(figure, start, end)
    figure.update_yaxes(tickformat=".0%", title_text=words("axis.weight"), nticks=5)
    return figure


def _monthly_ticks(figure: go.Figure, start: pd.Timestamp, end: pd.Timestamp) -> None:
    """Labels under the middle of their month, at most four of them; the axis spans whole months."""
    after = months_later(end, 1)
    months = (after.year - start.year) * 12 + after.month - start.month
    figure.update_xaxes(
        range=[f"{start:%Y-%m-%d}", f"{after:%Y-%m-%d}"], dtick=f"M{-(-months // 4)}", tick0=f"{start:%Y-%m-%d}",
        ticklabelmode="period", tickformat="%Y-%m", tickangle=0,
    )  # fmt: skip
