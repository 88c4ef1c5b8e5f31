"""The stock-level books as a table: for the page, and for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from rotation_pipeline.backtest.stock_level.tables import STOCK_STRATEGIES
from rotation_pipeline.backtest.stock_level.targets import PORTFOLIOS
from rotation_pipeline.reporting.data import Measure, ReportData
from rotation_pipeline.reporting.formats import UNKNOWN, interval, percent, plain, probability
from rotation_pipeline.reporting.frames import floats, labels, number, records
from rotation_pipeline.reporting.sheets import Cell, Head, Sheet
from rotation_pipeline.reporting.words import Words

SHOWN = (
    "annualised_return", "volatility", "sharpe", "max_drawdown", "turnover", "cost_drag", "excess_to_index", "information_ratio",
    "excess_to_equal_weight", "unfilled", "capacity",
)  # fmt: skip
ON_PAGE = (
    "annualised_return", "sharpe", "max_drawdown", "turnover", "cost_drag", "excess_to_index", "excess_to_equal_weight", "capacity",
)  # fmt: skip
"""What fits the width of the page; `rotation status --json` and marts.stock_measures have them all."""
_BARE = ("sharpe", "information_ratio")
_WITH_INTERVAL = (*_BARE, "excess_to_equal_weight")
_FINE = ("cost_drag", "excess_to_index", "excess_to_equal_weight", "unfilled")


def stock_level(data: ReportData, words: Words) -> Sheet:
    """Every stock-level book over the whole sample, the headline's style weights first."""
    heads = [Head(words("head.book"), numeric=False)]
    heads += [Head(words(f"stock.{name}")) for name in ON_PAGE] + [Head(words("head.months"))]
    rows = [
        [Cell(title), *(cells[SHOWN.index(name)] for name in ON_PAGE), Cell(str(months))]
        for title, cells, months in _books(data.latest("stock_measures"), words)
    ]
    return Sheet("stock_level", words("table.stock_level"), words("table.stock_level.how"), heads, rows)


SURE = (
    "excess_return", "sharpe_difference_bootstrap", "sharpe_difference_adjusted", "probabilistic_sharpe", "deflated_sharpe",
)  # fmt: skip
"""Statistics shown, in this order."""


def stock_significance(data: ReportData, words: Words) -> Sheet:
    """The rotation's stock-level books against equal weight traded in the same way."""
    rows = [row for row in records(data.latest("stock_significance")) if row["baseline"] == "equal_weight"]
    found = {(str(row["portfolio"]), str(row["statistic"])): row for row in rows}
    counts = [number(row["trials"]) for row in rows]
    trials = max((int(count) for count in counts if count is not None), default=0)
    measured = floats(data.latest("stock_measures"), "months").astype(int).tolist()
    heads = [Head(words("head.book"), numeric=False), *(Head(words(f"statistic.{name}")) for name in SURE)]
    cells: list[list[Cell]] = []
    for portfolio in PORTFOLIOS:
        own = {name: found[portfolio, name] for name in SURE if (portfolio, name) in found}
        if own:
            cells.append([Cell(words(f"stock.{portfolio}")), *(_sure(name, own.get(name)) for name in SURE)])
    how = words("table.stock_significance.how", months=max(measured, default=0), trials=trials)
    return Sheet("stock_significance", words("table.stock_significance"), how, heads, cells)


def _sure(name: str, row: Mapping[str, object] | None) -> Cell:
    if row is None:
        return Cell(UNKNOWN)
    if name == "sharpe_difference_adjusted":
        return Cell(probability(row["p_value"]))
    value, low, high = (number(row[part]) for part in ("value", "low", "high"))
    if name == "excess_return":
        aside = "" if low is None or high is None else f"[{plain(100.0 * low)}, {plain(100.0 * high)}]"
        return Cell(UNKNOWN if value is None else percent(value, 2), aside)
    return Cell(plain(value), interval(Measure(None, low, high, 0)))


def stock_level_text(measures: pd.DataFrame, language: str = "en") -> list[dict[str, str]]:
    """One row per book from the rows of marts.stock_measures of one month: figures as text, intervals in brackets."""
    words = Words(language)
    return [
        {"book": title, **{name: f"{cell.text} {cell.aside}".strip() for name, cell in zip(SHOWN, cells, strict=True)}, "months": str(months)}
        for title, cells, months in _books(measures, words)
    ]  # fmt: skip


def _books(measures: pd.DataFrame, words: Words) -> Sequence[tuple[str, list[Cell], int]]:
    found: dict[tuple[str, str, str], Measure] = {}
    parts = [[number(value) for value in floats(measures, name).tolist()] for name in ("value", "low", "high")]
    keys = zip(*(labels(measures, name) for name in ("strategy", "portfolio", "measure")), strict=True)
    counts = floats(measures, "months").astype(int).tolist()
    for key, value, low, high, months in zip(keys, *parts, counts, strict=True):
        found[key] = Measure(value, low, high, months)
    books: list[tuple[str, list[Cell], int]] = []
    for portfolio in PORTFOLIOS:
        for strategy in STOCK_STRATEGIES:
            own = {name: found[strategy, portfolio, name] for name in SHOWN if (strategy, portfolio, name) in found}
            if own:
                title = words("stock.book", portfolio=words(f"stock.{portfolio}"), strategy=words(f"book.{strategy}"))
                months = next(iter(own.values())).months
                flat = own.get("volatility")
                if flat is not None and flat.value == 0.0:  # money that was never invested has no return to be compared
                    title, own = f"{title} {words('stock.empty')}", {}
                books.append((title, [_cell(name, own.get(name)) for name in SHOWN], months))
    return books


def _cell(name: str, measure: Measure | None) -> Cell:
    if measure is None or measure.value is None:
        return Cell(UNKNOWN)
    if name == "capacity":
        return Cell(plain(measure.value / 1e6, 0))
    if name in _BARE:
        return Cell(plain(measure.value), interval(measure))
    text = percent(measure.value, 2 if name in _FINE else 1)
    if name not in _WITH_INTERVAL or measure.low is None or measure.high is None:
        return Cell(text)
    return Cell(text, f"[{plain(100.0 * measure.low)}, {plain(100.0 * measure.high)}]")
