"""Charts of styles and of the data everything rests on."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import numpy as np

from rotation_pipeline.factors.statistics import newey_west_t
from rotation_pipeline.factors.styles import STYLES
from rotation_pipeline.reporting.charts.base import canvas, dates, line, numbers
from rotation_pipeline.reporting.data import ReportData
from rotation_pipeline.reporting.frames import floats, labels, months_later, months_of, stamp, where
from rotation_pipeline.reporting.palette import AXIS, INK, MUTED, SEQUENTIAL, STYLE_COLOURS, faded
from rotation_pipeline.reporting.words import Words

if TYPE_CHECKING:
    import plotly.graph_objects as go

SURE = 1.96
"""|t| of a two-sided test at 5 %."""


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
    # on a phone two words side by side would run into the next style's name
    names = [words(f"style.{style}").replace(" ", "<br>") for style in STYLES]
    figure.update_xaxes(
        tickvals=ticks, ticktext=names, tickfont={"color": INK}, tickangle=0, showgrid=False, zeroline=False
    )
    figure.update_yaxes(tickformat=".1%", zeroline=True, title_text=words("axis.monthly_return"))
    return figure


def ic_decay(data: ReportData, words: Words) -> go.Figure:
    """Mean rank IC of each style's score with the return of one month, by the score's age; filled where |t| ≥ 1.96."""
    import plotly.graph_objects as go

    rows = data.history("decay")
    figure = canvas(data, words, height=320, dated=False)
    for style in STYLES:
        own = where(rows, factor=style)
        age, ic = floats(own, "horizon"), floats(own, "rank_ic")
        ages = sorted({int(one) for one in age.tolist()})
        series = [ic[(age == one) & ~np.isnan(ic)] for one in ages]
        tests = [newey_west_t(values) for values in series]
        colour = STYLE_COLOURS[style]
        sure = [bool(abs(t) >= SURE) for t in tests]
        figure.add_trace(
            go.Scatter(
                x=ages, y=numbers(values.mean() if values.size else None for values in series), mode="lines+markers",
                name=words(f"style.{style}"), line={"color": colour, "width": 1.8},
                marker={"size": 8, "color": colour, "symbol": ["circle" if one else "circle-open" for one in sure]},
                text=[f"t {t:.2f}, n {values.size}" for t, values in zip(tests, series, strict=True)],
                hovertemplate="%{y:+.3f} (%{text})",
            )
        )  # fmt: skip
    figure.update_xaxes(title_text=words("axis.age"), showgrid=False, dtick=1)
    figure.update_yaxes(title_text=words("axis.rank_ic"), zeroline=True, tickformat=".2f")
    figure.update_layout(hovermode="x unified")
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
