"""The chart of where the excess over equal weight came from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rotation_pipeline.backtest.tables import EFFECTS
from rotation_pipeline.reporting.attribution import by_month
from rotation_pipeline.reporting.charts.base import canvas, dates, line, numbers
from rotation_pipeline.reporting.data import ReportData
from rotation_pipeline.reporting.palette import EFFECT_COLOURS, ROTATION
from rotation_pipeline.reporting.words import Words

if TYPE_CHECKING:
    import plotly.graph_objects as go


def attribution_paths(data: ReportData, words: Words) -> go.Figure:
    """Running sum of each effect in percentage points, and of all of them."""
    found = by_month(data)
    figure = canvas(data, words, height=360)
    months = dates(found.months)
    sums = 100.0 * np.cumsum(found.effects.sum(axis=2), axis=0)
    for place, effect in enumerate(EFFECTS):
        line(
            figure, months, numbers(sums[:, place]), words(f"effect.{effect}"), EFFECT_COLOURS[effect], width=1.8,
            hover="%{y:+.2f}",
        )  # fmt: skip
    line(
        figure, months, numbers(sums.sum(axis=1)), words("effect.sum"), ROTATION, width=3.0, hover="%{y:+.2f}",
        legendrank=1,
    )  # fmt: skip
    figure.update_yaxes(title_text=words("axis.points"), zeroline=True)
    return figure
