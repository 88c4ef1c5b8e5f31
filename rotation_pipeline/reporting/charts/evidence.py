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
from rotation_pipeline.reporting.frames import chosen, floats, labels, months_later, months_of, stamp, where
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
        own = where(rows, factor=style)
        returns = floats(own, "long_short")
        growth = np.where(np.isnan(returns), np.nan, np.cumprod(1.0 + np.nan_to_num(returns)))
        line(figure, dates(own["month"]), numbers(growth), words(f"style.{style}"), STYLE_COLOURS[style], width=2.0)
    figure.add_hline(y=1.0, line={"color": AXIS, "width": 1})
    figure.update_yaxes(title_text=words("axis.growth"), type="log", nticks=8, tickformat=".2~f")
    return figure


def quantile_bars(data: ReportData, words: Words) -> go.Figure:
    """Mean monthly return of the five groups of each style, lowest scores left, with the mean of all groups as a line."""
    import plotly.graph_objects as go

    rows = data.history("groups")
    figure = canvas(data, words, height=320, dated=False, legend=False)
    groups = int(floats(rows, "quantile").max())
    ticks: list[float] = []
    for place, style in enumerate(STYLES):
        own = where(rows, factor=style)
        group, earned = floats(own, "quantile"), floats(own, "return_equal")
        known = ~np.isnan(earned)
        present = [one for one in range(1, groups + 1) if (known & (group == one)).any()]
        means = [float(earned[known & (group == one)].mean()) for one in present]
        counts = [int((known & (group == one)).sum()) for one in present]
        positions = [place * (groups + 1.5) + one for one in present]
        ticks.append(place * (groups + 1.5) + (groups + 1) / 2)
        steps = [0.3 + 0.7 * (one - 1.0) / max(groups - 1, 1) for one in present]
        figure.add_trace(
            go.Bar(
                x=positions, y=numbers(means), name=words(f"style.{style}"), width=0.86,
                marker={"color": [faded(STYLE_COLOURS[style], step) for step in steps]},
                text=[words("cell.group", group=one, n=n) for one, n in zip(present, counts, strict=True)],
                textposition="none", hovertemplate="%{text}: %{y:+.2%}<extra>" + words(f"style.{style}") + "</extra>",
            )
        )  # fmt: skip
        if means:
            level = numbers([sum(means) / len(means)])[0]
            figure.add_shape(
                type="line", x0=positions[0] - 0.6, x1=positions[-1] + 0.6, y0=level, y1=level,
                line={"color": MUTED, "width": 1, "dash": "dot"},
            )  # fmt: skip
    names = [words(f"style.{style}") for style in STYLES]
    figure.update_xaxes(
        tickvals=ticks, ticktext=names, tickfont={"color": INK}, tickangle=0, showgrid=False, zeroline=False
    )
    figure.update_yaxes(tickformat=".1%", zeroline=True, title_text=words("axis.monthly_return"))
    return figure


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
    """Each forecast beside the return it was about: month of the forecast, style, mean, outcome (month + 1)."""
    realised = data.history("longshort")
    keys = zip((months_later(month, -1) for month in realised["month"]), labels(realised, "factor"), strict=True)
    outcome = dict(zip(keys, floats(realised, "long_short").tolist(), strict=True))
    made = data.history("forecasts")
    stamps = [stamp(month) for month in made["month"]]
    found = [outcome.get(key, np.nan) for key in zip(stamps, labels(made, "style"), strict=True)]
    pairs = pd.DataFrame(
        {"month": stamps, "style": labels(made, "style"), "mean": floats(made, "mean"), "outcome": found}
    )
    return chosen(pairs, ~np.isnan(floats(pairs, "mean")) & ~np.isnan(floats(pairs, "outcome")))


def forecast_outcomes(data: ReportData, words: Words) -> go.Figure:
    """Forecast against what happened a month later, one dot per style and month, with the mean of each forecast fifth."""
    import plotly.graph_objects as go

    pairs = outcome_pairs(data)
    figure = canvas(data, words, height=400, dated=False)
    for style in STYLES:
        own = where(pairs, style=style)
        figure.add_trace(
            go.Scatter(
                x=numbers(own["mean"]), y=numbers(own["outcome"]), mode="markers", name=words(f"style.{style}"),
                marker={"color": STYLE_COLOURS[style], "size": 5, "opacity": 0.45}, text=[month[:7] for month in dates(own["month"])],
                hovertemplate="%{text}: %{x:+.2%} → %{y:+.2%}",
            )
        )  # fmt: skip
    forecast, outcome = floats(pairs, "mean"), floats(pairs, "outcome")
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
                x=ends, y=ends, mode="lines", name=words("series.perfect"), hoverinfo="skip",
                line={"color": AXIS, "width": 1.2, "dash": "dash"},
            )
        )  # fmt: skip
    figure.update_xaxes(tickformat=".1%", zeroline=True, title_text=words("axis.forecast"), nticks=7)
    figure.update_yaxes(tickformat=".0%", zeroline=True, title_text=words("axis.outcome"))
    return figure


def data_coverage(data: ReportData, words: Words) -> go.Figure:
    """Rows stored per table and month as a share of that table's usual (median) number; gaps are blank."""
    import plotly.graph_objects as go

    rows = data.history("ingestions")
    first, last = (months_of(rows)[place] for place in (0, -1))
    months = [first]
    while months[-1] < last:
        months.append(months_later(months[-1], 1))
    names = sorted(set(labels(rows, "table_name")), reverse=True)
    counts = np.full((len(names), len(months)), np.nan)
    places = {month: place for place, month in enumerate(months)}
    for name, month, stored in zip(labels(rows, "table_name"), rows["month"], floats(rows, "rows"), strict=True):
        cell = names.index(name), places[stamp(month)]
        if stored > 0.0:
            counts[cell] = stored + np.nan_to_num(counts[cell])
    usual = [float(np.median(line[line > 0])) if (line > 0).any() else 1.0 for line in counts]
    figure = canvas(data, words, height=80 + 24 * len(names), legend=False)
    figure.add_trace(
        go.Heatmap(
            x=dates(months), y=[escape(name) for name in names], z=[numbers(line / one) for line, one in zip(counts, usual, strict=True)],
            text=[["" if value is None else f"{value:,.0f}" for value in numbers(line)] for line in counts],
            colorscale=SEQUENTIAL, zmin=0, zmax=1, showscale=False, xgap=0, ygap=3, xperiod="M1", xperiodalignment="middle",
            hovertemplate="%{y} · %{x|%Y-%m}<br>" + words("cell.rows") + "<extra></extra>",
        )
    )  # fmt: skip
    figure.update_layout(hovermode="closest")
    figure.update_yaxes(showgrid=False, ticks="", tickfont={"color": INK, "size": 11}, type="category")
    return figure
