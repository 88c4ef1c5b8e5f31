"""A small picture of what an asset wrote, as Markdown for its metadata."""

from __future__ import annotations

import polars as pl

from rotation_pipeline.market.schema import Table
from rotation_pipeline.reporting.thumbnails import sparkline_svg, svg_data_uri

PLOTTED: dict[str, str] = {
    "intermediate.index_daily": "close",
    "intermediate.index_features": "volatility",
    "marts.factor_longshort": "long_short",
    "marts.factor_longshort_daily": "long_short",
    "marts.factor_evidence": "rank_ic",
    "marts.regimes": "p_bear",
    "marts.forecasts": "mean",
    "marts.weights": "weight",
    "marts.books": "turnover",
    "marts.backtest": "net_value",
    "marts.factor_decay": "rank_ic",
    "marts.attribution": "value",
    "marts.forecast_scores": "hit_rate",
}
"""The column worth a line; other tables show their rows per month."""


def plotted(table: Table) -> tuple[str, ...]:
    """Columns :func:`plot_markdown` reads."""
    column = PLOTTED.get(table.full_name)
    return ("month",) if column is None else ("month", column)


def plot_markdown(table: Table, frame: pl.DataFrame) -> str | None:
    """A sparkline of the table's telling column (its mean by month), or of its rows per month; None below 2 months."""
    column = PLOTTED.get(table.full_name)
    values = pl.len().alias("value") if column is None else pl.col(column).mean().alias("value")
    monthly = frame.group_by("month").agg(values).sort("month").drop_nulls()
    if monthly.height < 2:
        return None
    caption = f"{column or 'rows'} by month, {monthly['month'][0]:%Y-%m} … {monthly['month'][-1]:%Y-%m}"
    picture = svg_data_uri(sparkline_svg([float(value) for value in monthly["value"]]))
    return f"![{caption}]({picture})\n\n{caption}"
