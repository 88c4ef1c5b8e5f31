"""What all charts share: the empty canvas, the source badge, number lists that stay small, and regime bands.

Monthly points are drawn in the middle of their month (``xperiod``), so that a regime band covers exactly its month.
Numbers go into a figure as plain lists of six significant digits: every figure becomes readable JSON of few bytes,
the same for the same data.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from rotation_pipeline.reporting.data import ReportData
from rotation_pipeline.reporting.frames import labels, months_later, number, stamp, where
from rotation_pipeline.reporting.palette import AXIS, GRID, INK, MUTED, REGIME_COLOURS, faded
from rotation_pipeline.reporting.words import Words

if TYPE_CHECKING:
    import plotly.graph_objects as go

FONT = (
    "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', 'Noto Sans', 'PingFang SC', 'Hiragino Sans GB', "
    "'Microsoft YaHei', 'Noto Sans CJK SC', sans-serif"
)
CLEAR = "rgba(0,0,0,0)"
MIDMONTH: dict[str, Any] = {"xperiod": "M1", "xperiodalignment": "middle", "xhoverformat": "%Y-%m"}


MONTH_TICKS: list[dict[str, Any]] = [
    {"dtickrange": [None, "M11"], "value": "%Y-%m"}, {"dtickrange": ["M12", None], "value": "%Y"},
]  # fmt: skip
"""Months as everywhere on the page: the chart library knows English names of months only."""


def canvas(data: ReportData, words: Words, *, height: int, dated: bool = True, legend: bool = True) -> go.Figure:
    """An empty figure in the house style with the source badge in its upper right corner.

    Args:
        height: pixels; the width follows the page.
        dated: the x axis shows months.
        legend: the page shows a legend above the chart (drawn there in HTML; here it is only asked for).
    """
    import plotly.graph_objects as go

    axis = {
        "gridcolor": GRID, "linecolor": AXIS, "zerolinecolor": AXIS, "zerolinewidth": 1, "tickcolor": AXIS,
        "tickfont": {"color": MUTED, "size": 12}, "title": {"font": {"color": MUTED, "size": 12}, "standoff": 8},
        "automargin": True,
    }  # fmt: skip
    figure = go.Figure(
        layout=go.Layout(
            template=go.layout.Template(layout={"xaxis": axis, "yaxis": axis}),
            height=height,
            margin={"l": 8, "r": 12, "t": 26, "b": 8},
            font={"family": FONT, "size": 12, "color": INK},
            paper_bgcolor=CLEAR,
            plot_bgcolor=CLEAR,
            showlegend=legend,
            legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
            hovermode="x unified" if dated else "closest",
            hoverlabel={"font": {"family": FONT, "size": 12}},
            bargap=0.2,
        )
    )
    if dated:
        figure.update_xaxes(
            type="date", hoverformat="%Y-%m", showgrid=False, ticks="outside", ticklen=4, tickformatstops=MONTH_TICKS,
        )  # fmt: skip
    figure.add_annotation(
        text=words(f"badge.{data.source_kind}"), name="badge", xref="paper", yref="paper", x=1, y=1, xanchor="right",
        yanchor="bottom", yshift=6, showarrow=False, font={"size": 10, "color": MUTED}, bordercolor=AXIS,
        borderwidth=1 if data.source_kind == "simulated" else 0, borderpad=2,
    )  # fmt: skip
    return figure


def numbers(values: Iterable[object], *, scale: float = 1.0) -> list[float | None]:
    """Six significant digits of each value × ``scale``; nulls stay null."""
    known = (number(value) for value in values)
    return [None if value is None else float(f"{value * scale:.6g}") for value in known]


def dates(months: Iterable[object]) -> list[str]:
    """Months as ``YYYY-MM-DD`` text."""
    return [f"{stamp(month):%Y-%m-%d}" for month in months]


def line(
    figure: go.Figure, x: Sequence[str], y: Sequence[float | None], name: str, colour: str, *, width: float = 1.6,
    dash: str = "solid", visible: bool | str = True, hover: str = "%{y:.3f}", row: int | None = None, **more: Any,
) -> None:  # fmt: skip
    """Add a monthly line; ``hover`` formats its value."""
    import plotly.graph_objects as go

    trace = go.Scatter(
        x=x, y=y, name=name, mode="lines", line={"color": colour, "width": width, "dash": dash}, visible=visible,
        hovertemplate=hover, **MIDMONTH, **more,
    )  # fmt: skip
    if row is None:
        figure.add_trace(trace)
    else:
        figure.add_trace(trace, row=row, col=1)


def spells(months: Sequence[str], labels: Sequence[str]) -> list[tuple[str, str, str]]:
    """Unbroken stretches of one label as (first month, first month after, label); a missing month ends a stretch."""
    found: list[tuple[str, str, str]] = []
    for month, label in zip(months, labels, strict=True):
        after = f"{months_later(month, 1):%Y-%m-%d}"
        if found and found[-1][2] == label and found[-1][1] == month:
            found[-1] = (found[-1][0], after, label)
        else:
            found.append((month, after, label))
    return found


def shade_regimes(
    figure: go.Figure, regimes: pd.DataFrame, *, yref: str = "y domain", xref: str = "x", opacity: float = 0.24
) -> None:
    """Colour the background of each month with its regime (``regimes``: month, regime of one detector)."""
    stretches = spells(dates(regimes["month"]), labels(regimes, "regime"))
    shapes = [
        {
            "type": "rect", "xref": xref, "yref": yref, "x0": start, "x1": end, "y0": 0, "y1": 1, "layer": "below",
            "line": {"width": 0}, "fillcolor": faded(REGIME_COLOURS[label], opacity),
        }
        for start, end, label in stretches
    ]  # fmt: skip
    figure.layout.shapes = (*figure.layout.shapes, *shapes)


def regime_keys(figure: go.Figure, words: Words, **where: Any) -> None:
    """Legend entries for the regime bands (traces without points)."""
    import plotly.graph_objects as go

    for regime, colour in REGIME_COLOURS.items():
        figure.add_trace(
            go.Scatter(
                x=[None], y=[None], mode="markers", name=words(f"regime.{regime}"), hoverinfo="skip",
                marker={"color": faded(colour, 0.5), "size": 11, "symbol": "square"}, meta={"key": "band"},
            ),
            **where,
        )  # fmt: skip


def main_detector(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows of the detector the pipeline acts on: the only one there, or the hidden Markov model among several."""
    return frame if len(set(frame["detector"])) == 1 else where(frame, detector="hmm")
