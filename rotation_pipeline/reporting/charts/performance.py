"""Charts of the backtest: is the strategy better than doing nothing, when, and at what cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from rotation_pipeline.reporting.charts.base import MIDMONTH, canvas, dates, line, numbers
from rotation_pipeline.reporting.data import ReportData
from rotation_pipeline.reporting.frames import floats, months_later, where
from rotation_pipeline.reporting.palette import AXIS, BOOK_COLOURS, INK, MUTED, ROTATION, faded
from rotation_pipeline.reporting.words import Words

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

ROLLING_MONTHS = 36
_DASHES = {"index": "dot", "upper_bound": "dash"}


def sharpe_intervals(data: ReportData, words: Words) -> go.Figure:
    """Net Sharpe ratio of every book with its 95 % interval, best estimate as a dot."""
    import plotly.graph_objects as go

    measures = data.measure_index()
    roles = data.roles()
    books = [book for book in reversed(data.strategies()) if roles[book] != "upper_bound"]
    rows = [(book, measures.get((book, "all", data.cost_bp, "sharpe"))) for book in books]
    shown = [(book, measure) for book, measure in rows if measure is not None and measure.value is not None]
    figure = canvas(data, words, height=70 + 26 * max(len(shown), 1), dated=False, legend=False)
    for book, measure in shown:
        value = float(measure.value or 0.0)
        low = value if measure.low is None else measure.low
        high = value if measure.high is None else measure.high
        main = book == data.headline()
        figure.add_trace(
            go.Scatter(
                x=numbers([value]), y=[words(f"book.{book}")], mode="markers", name=words(f"book.{book}"),
                marker={"color": BOOK_COLOURS[book], "size": 11 if main else 8, "symbol": "diamond" if main else "circle"},
                error_x={
                    "type": "data", "array": numbers([high - value]), "arrayminus": numbers([value - low]),
                    "color": BOOK_COLOURS[book], "thickness": 2.6 if main else 1.4, "width": 0,
                },
                text=[f"[{low:.2f}, {high:.2f}]"], hovertemplate="%{x:.2f} %{text}<extra>%{y}</extra>",
            )
        )  # fmt: skip
    figure.update_xaxes(zeroline=True, title_text=words("axis.sharpe"))
    figure.update_yaxes(showgrid=True, tickfont={"color": INK, "size": 12}, range=[-0.7, len(shown) - 0.3])
    return figure


def net_value(data: ReportData, words: Words) -> go.Figure:
    """Growth of 1: every book after costs and, as the figure's other edition, before them.

    The edition after costs also has the strategy before costs, so that what trading took is seen.
    """
    rows = data.history("backtest")
    figure = canvas(data, words, height=440)
    headline, roles = data.headline(), data.roles()
    for book in reversed(data.strategies()):
        own = where(rows, strategy=book)
        main, role = book == headline, roles[book]
        quiet = role in ("alternative", "upper_bound") or book.startswith("only_")
        look: dict[str, Any] = {
            "width": 3.0 if main else 1.6, "dash": _DASHES.get(role, "solid"), "visible": "legendonly" if quiet else True,
            "legendrank": data.strategies().index(book) + 1,
        }  # fmt: skip
        net = _from_one(own, floats(own, "net_value"))
        line(figure, *net, words(f"book.{book}"), BOOK_COLOURS[book], meta={"edition": "net", "book": book}, **look)
        before: npt.NDArray[np.float64] = np.cumprod(1.0 + floats(own, "gross_return"), dtype=np.float64)
        gross, name = _from_one(own, before), words("series.gross", book=words(f"book.{book}"))
        line(figure, *gross, name, BOOK_COLOURS[book], meta={"edition": "gross", "book": book}, **look)
        if main:
            again = {"edition": "net", "copy": True}
            line(figure, *gross, name, ROTATION, width=1.2, dash="dot", legendrank=1, meta=again)
    figure.update_yaxes(title_text=words("axis.net_value"), type="log", nticks=8, tickformat=".2~f")
    figure.update_layout(meta={"gross": {"yaxis": {"title": {"text": words("axis.growth")}}}})
    return figure


def _from_one(rows: pd.DataFrame, values: npt.NDArray[np.float64]) -> tuple[list[str], list[float | None]]:
    """A growth path with the 1 it starts from, stamped one month before its first return."""
    months = dates(rows["month"])
    return [f"{months_later(months[0], -1):%Y-%m-%d}", *months], [1.0, *numbers(values)]


def drawdown(data: ReportData, words: Words) -> go.Figure:
    """Fall from the highest net value so far: the strategy filled, equal weight and the index as lines."""
    rows = data.history("backtest")
    figure = canvas(data, words, height=270)
    for book in (data.headline(), "equal_weight", "index"):
        own = where(rows, strategy=book)
        if own.empty:
            continue
        main = book == data.headline()
        line(
            figure, dates(own["month"]), numbers(own["drawdown"]), words(f"book.{book}"), BOOK_COLOURS[book],
            width=2.0 if main else 1.3, dash="dot" if book == "index" else "solid", hover="%{y:.1%}",
            fill="tozeroy" if main else "none", fillcolor=faded(ROTATION, 0.14),
        )  # fmt: skip
    figure.update_yaxes(tickformat=".0%", rangemode="tozero", title_text=words("axis.drawdown"))
    return figure


def rolling_sharpe(data: ReportData, words: Words) -> go.Figure:
    """Annualised net Sharpe ratio over the 36 months up to each month, strategy and equal weight."""
    rows = data.history("backtest")
    figure = canvas(data, words, height=270)
    for book in (data.headline(), "equal_weight"):
        own = where(rows, strategy=book)
        months, returns = dates(own["month"]), floats(own, "net_return")
        ends = range(ROLLING_MONTHS, len(returns) + 1)
        ratios = [_sharpe(returns[end - ROLLING_MONTHS : end]) for end in ends]
        line(
            figure, [months[end - 1] for end in ends], numbers(ratios), words(f"book.{book}"), BOOK_COLOURS[book],
            width=2.4 if book == data.headline() else 1.6, hover="%{y:.2f}",
        )  # fmt: skip
    figure.update_yaxes(title_text=words("axis.sharpe"))
    return figure


def _sharpe(returns: npt.NDArray[np.float64]) -> float | None:
    """Annualised mean over deviation (ddof 1); None for constant or missing returns."""
    deviation = float(returns.std(ddof=1))
    return float(returns.mean()) / deviation * 12.0**0.5 if deviation > 0.0 else None


def cost_sensitivity(data: ReportData, words: Words) -> go.Figure:
    """Net Sharpe ratio of the strategy and the diversified baselines at every cost level."""
    import plotly.graph_objects as go

    figure = canvas(data, words, height=320, dated=False)
    measures = data.measure_index()
    costs = sorted({cost for (_, sample, cost, name) in measures if sample == "all" and name == "sharpe"})
    roles = data.roles()
    for book in data.strategies():
        if roles[book] not in ("strategy", "baseline") or book.startswith("only_"):
            continue
        found = [measures.get((book, "all", cost, "sharpe")) for cost in costs]
        main = book == data.headline()
        figure.add_trace(
            go.Scatter(
                x=numbers(costs), y=numbers(None if one is None else one.value for one in found), mode="lines+markers",
                name=words(f"book.{book}"), line={"color": BOOK_COLOURS[book], "width": 3.0 if main else 1.6},
                marker={"size": 8 if main else 6}, hovertemplate="%{y:.2f}",
            )
        )  # fmt: skip
    figure.add_vline(x=data.cost_bp, line={"color": AXIS, "width": 1, "dash": "dot"})
    figure.add_annotation(
        x=data.cost_bp, y=0, yref="paper", text=words("chart.cost_sensitivity.default"), showarrow=False, xanchor="left",
        yanchor="bottom", xshift=4, font={"size": 11, "color": MUTED},
    )  # fmt: skip
    figure.update_xaxes(title_text=words("axis.cost_bp"), tickvals=numbers(costs), showgrid=False)
    figure.update_yaxes(title_text=words("axis.sharpe"))
    figure.update_layout(hovermode="x unified")
    return figure


def yearly_excess(data: ReportData, words: Words) -> go.Figure:
    """Net return of each calendar year minus that of equal weight, with the months it rests on."""
    import plotly.graph_objects as go

    measures = data.measure_index()
    samples = sorted({sample for (_, sample, _, _) in measures if sample.startswith("year:")})
    years = [sample.removeprefix("year:") for sample in samples]
    excess: list[float | None] = []
    count: list[int] = []
    for sample in samples:
        own, base = (
            measures.get((book, sample, data.cost_bp, "total_return")) for book in (data.headline(), "equal_weight")
        )
        if own is None or base is None or own.value is None or base.value is None:
            excess.append(None)
        else:
            excess += numbers([own.value - base.value])
        count.append(0 if own is None else own.months)
    figure = canvas(data, words, height=250, dated=False, legend=False)
    figure.add_trace(
        go.Bar(
            x=years, y=excess, name=words("axis.excess"), marker={"color": ROTATION},
            text=[f"n {months}" for months in count], textposition="none",
            hovertemplate="%{x}: %{y:+.1%} · %{text}<extra></extra>",
        )
    )  # fmt: skip
    figure.update_xaxes(type="category", showgrid=False, tickangle=0)
    figure.update_layout(bargap=0.45, meta={"narrow": {"xaxis": {"nticks": 6}}})
    figure.update_yaxes(tickformat=".1%", zeroline=True, title_text=words("axis.excess"))
    return figure


def turnover(data: ReportData, words: Words) -> go.Figure:
    """Monthly turnover between styles with its 12-month mean."""
    import plotly.graph_objects as go

    rows = data.history("books")
    own = where(rows, strategy=data.headline())
    months, values = dates(own["month"]), floats(own, "turnover")
    figure = canvas(data, words, height=230)
    figure.add_trace(
        go.Bar(
            x=months, y=numbers(values), name=words("series.turnover"),
            marker={"color": faded(ROTATION, 0.35)}, hovertemplate="%{y:.1%}", **MIDMONTH,
        )
    )  # fmt: skip
    ends = range(12, len(values) + 1)
    means = numbers(values[end - 12 : end].mean() for end in ends)
    line(
        figure,
        [months[end - 1] for end in ends],
        means,
        words("series.turnover_mean"),
        ROTATION,
        width=2.2,
        hover="%{y:.1%}",
    )
    figure.update_yaxes(tickformat=".0%", rangemode="tozero", title_text=words("axis.turnover"))
    return figure
