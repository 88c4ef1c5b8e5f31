"""Chart of the sensitivity study: what each choice does to the difference from equal weight."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rotation_pipeline.reporting.charts.base import canvas, numbers
from rotation_pipeline.reporting.data import ReportData
from rotation_pipeline.reporting.frames import number, records
from rotation_pipeline.reporting.palette import BOOK_COLOURS, INK, ROTATION
from rotation_pipeline.reporting.sensitivity import cell_value
from rotation_pipeline.reporting.words import Words

if TYPE_CHECKING:
    import plotly.graph_objects as go


def sensitivity_intervals(data: ReportData, words: Words) -> go.Figure:
    """Sharpe difference of every cell with its interval, one line a cell, the settings in use as diamonds."""
    import plotly.graph_objects as go

    def label(row: dict[str, object]) -> str:
        axis = str(row["axis"])
        return f"{words(f'sensitivity.{axis}')}  {cell_value(axis, str(row['value']), words)}"

    rows = [row for row in records(data.latest("sensitivity")) if number(row["difference"]) is not None]
    figure = canvas(data, words, height=80 + 21 * max(len(rows), 1), dated=False, legend=False)
    for default in (False, True):
        own = [row for row in rows if bool(row["is_default"]) is default]
        values = [number(row["difference"]) or 0.0 for row in own]
        lows = [number(row["low"]) for row in own]
        highs = [number(row["high"]) for row in own]
        colour = ROTATION if default else BOOK_COLOURS["softmax_mixture"]
        figure.add_trace(
            go.Scatter(
                x=numbers(values), mode="markers", name=words("sensitivity.default") if default else "",
                y=[label(row) for row in own],
                marker={"color": colour, "size": 10 if default else 7, "symbol": "diamond" if default else "circle"},
                error_x={
                    "type": "data", "color": colour, "thickness": 2.2 if default else 1.3, "width": 0,
                    "array": numbers(0.0 if high is None else high - value for high, value in zip(highs, values, strict=True)),
                    "arrayminus": numbers(0.0 if low is None else value - low for low, value in zip(lows, values, strict=True)),
                },
                hovertemplate="%{x:.3f}<extra>%{y}</extra>",
            )
        )  # fmt: skip
    order = [label(row) for row in rows]
    figure.update_xaxes(zeroline=True, title_text=words("axis.difference"))
    figure.update_yaxes(
        tickfont={"color": INK, "size": 11},
        categoryorder="array",
        categoryarray=order[::-1],
        range=[-0.7, len(order) - 0.3],
    )
    return figure
