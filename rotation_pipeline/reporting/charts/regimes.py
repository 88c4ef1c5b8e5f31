"""Charts of the market's regimes and of what styles earned in them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rotation_pipeline.factors.styles import STYLES
from rotation_pipeline.regimes.names import REGIMES
from rotation_pipeline.reporting.charts.base import (
    MIDMONTH,
    MONTH_TICKS,
    canvas,
    dates,
    line,
    main_detector,
    numbers,
    regime_keys,
    shade_regimes,
)
from rotation_pipeline.reporting.data import ReportData
from rotation_pipeline.reporting.formats import count, percent, plain
from rotation_pipeline.reporting.frames import number, records, where
from rotation_pipeline.reporting.palette import DIVERGING, INK, REGIME_COLOURS, SEQUENTIAL, faded
from rotation_pipeline.reporting.words import Words

if TYPE_CHECKING:
    import plotly.graph_objects as go

PROBABILITY_ORDER = ("slow_bull", "range", "bear")


def regime_index(data: ReportData, words: Words) -> go.Figure:
    """The index on a log scale over bands of the regime known at each close; below, the filtered probabilities."""
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    base = canvas(data, words, height=460)
    figure = make_subplots(
        rows=2, cols=1, shared_xaxes=True, row_heights=[0.7, 0.3], vertical_spacing=0.05, figure=base
    )
    regimes = main_detector(data.history("regimes"))
    index = data.history("index")
    label = {
        str(month): words(f"regime.{regime}") for month, regime in zip(regimes["month"], regimes["regime"], strict=True)
    }
    line(
        figure, dates(index["month"]), numbers(index["close"]), words("series.index"), INK, width=1.8, row=1,
        hover="%{y:,.0f} %{text}", text=[label.get(str(month), "") for month in index["month"]],
    )  # fmt: skip
    shade_regimes(figure, regimes)
    regime_keys(figure, words, row=1, col=1)
    for name in PROBABILITY_ORDER:
        figure.add_trace(
            go.Scatter(
                x=dates(regimes["month"]), y=numbers(regimes[f"p_{name}"]), name=words("series.probability", regime=words(f"regime.{name}")),
                stackgroup="p", mode="lines", line={"width": 0, "color": REGIME_COLOURS[name]},
                fillcolor=faded(REGIME_COLOURS[name], 0.6), hovertemplate="%{y:.0%}", meta={"legend": False}, **MIDMONTH,
            ),
            row=2, col=1,
        )  # fmt: skip
    figure.update_xaxes(type="date", showgrid=False, hoverformat="%Y-%m", ticks="", tickformatstops=MONTH_TICKS)
    figure.update_xaxes(row=2, col=1, ticks="outside")
    figure.update_yaxes(row=1, col=1, type="log", nticks=6, tickformat=",.0f", title_text=words("axis.index"))
    figure.update_yaxes(
        row=2, col=1, range=[0, 1], tickvals=[0, 0.5, 1], tickformat=".0%", title_text=words("axis.probability")
    )
    figure.update_layout(hovermode="x unified", hoversubplots="axis")
    return figure


def regime_heatmap_filtered(data: ReportData, words: Words) -> go.Figure:
    """Mean style return in each regime as it was known at the time."""
    return _heatmap(data, words, "filtered")


def regime_heatmap_in_sample(data: ReportData, words: Words) -> go.Figure:
    """The same by labels drawn with hindsight: description, not evidence."""
    return _heatmap(data, words, "in_sample")


def _heatmap(data: ReportData, words: Words, labelling: str) -> go.Figure:
    import plotly.graph_objects as go

    every = data.latest("regime_evidence")
    means = [abs(value) for value in numbers(every["mean"]) if value is not None]
    limit = max(means, default=0.0) or 0.01
    rows = {(str(row["style"]), str(row["regime"])): row for row in records(where(every, labelling=labelling))}
    z: list[list[float | None]] = []
    text: list[list[str]] = []
    for style in reversed(STYLES):
        cells = [rows.get((style, regime)) for regime in REGIMES]
        z.append(numbers((None if cell is None else cell["mean"]) for cell in cells))
        text.append([_cell_text(cell, words) for cell in cells])
    figure = canvas(data, words, height=420, dated=False, legend=False)
    figure.add_trace(
        go.Heatmap(
            z=z, x=[words(f"regime.{regime}") for regime in REGIMES], y=[words(f"style.{style}") for style in reversed(STYLES)],
            text=text, texttemplate="%{text}", textfont={"color": INK, "size": 12}, colorscale=DIVERGING,
            zmin=-limit, zmax=limit, showscale=False, xgap=3, ygap=3, hovertemplate="%{y} · %{x}<br>%{text}<extra></extra>",
        )
    )  # fmt: skip
    _matrix_axes(figure)
    return figure


def _cell_text(cell: Mapping[str, object] | None, words: Words) -> str:
    """Mean (bold where its interval excludes 0), interval and number of months."""
    mean = None if cell is None else number(cell["mean"])
    if cell is None or mean is None:
        return words("cell.no_months")
    low, high = number(cell["low"]), number(cell["high"])
    head, months = percent(mean, 2, signed=True), f"n {count(cell['months'])}"
    if low is None or high is None:
        return f"{head}<br>{words('cell.no_interval')}<br>{months}"
    strong = f"<b>{head}</b>" if low > 0 or high < 0 else head
    return f"{strong}<br>[{plain(100 * low)}, {plain(100 * high)}]<br>{months}"


def transition_matrix(data: ReportData, words: Words) -> go.Figure:
    """How often the regime in a row was followed, a month later, by the regime in a column."""
    import plotly.graph_objects as go

    rows = {
        (str(row["from_regime"]), str(row["to_regime"])): row
        for row in records(main_detector(data.latest("regime_transitions")))
    }
    order = list(reversed(REGIMES))
    z: list[list[float | None]] = []
    text: list[list[str]] = []
    for before in order:
        found = [rows.get((before, after)) for after in REGIMES]
        shares = numbers((None if one is None else one["probability"]) for one in found)
        z.append(shares)
        text.append(
            [
                words("cell.no_months") if one is None or share is None else f"{share:.0%}<br>n {count(one['count'])}"
                for one, share in zip(found, shares, strict=True)
            ]
        )
    figure = canvas(data, words, height=300, dated=False, legend=False)
    figure.add_trace(
        go.Heatmap(
            z=z, x=[words(f"regime.{after}") for after in REGIMES], y=[words(f"regime.{before}") for before in order],
            text=text, texttemplate="%{text}", textfont={"color": INK, "size": 12}, colorscale=SEQUENTIAL, zmin=0, zmax=1,
            showscale=False, xgap=3, ygap=3, hovertemplate="%{y} → %{x}<br>%{text}<extra></extra>",
        )
    )  # fmt: skip
    _matrix_axes(figure)
    figure.update_yaxes(title_text=words("axis.from_regime"))
    figure.update_xaxes(title_text=words("axis.to_regime"))
    return figure


def _matrix_axes(figure: go.Figure) -> None:
    figure.update_xaxes(showgrid=False, zeroline=False, ticks="", tickfont={"color": INK, "size": 12})
    figure.update_yaxes(showgrid=False, zeroline=False, ticks="", tickfont={"color": INK, "size": 12})
