"""The sensitivity study as a table: one row a cell, and where the settings in use stand among them."""

from __future__ import annotations

from collections.abc import Iterable

from rotation_pipeline.backtest.sensitivity import IN_USE, Unvaried, standing
from rotation_pipeline.reporting.data import Measure, ReportData
from rotation_pipeline.reporting.formats import count, interval, percent, plain
from rotation_pipeline.reporting.frames import number, records
from rotation_pipeline.reporting.sheets import Cell, Head, Sheet
from rotation_pipeline.reporting.words import Words

LAGS = {"0": "no_lag", "1 d": "one_session", "1 m": "one_month"}
"""Lags as the cells name them."""
HEADS = (
    "axis",
    "setting_value",
    "net_sharpe",
    "equal_weight_sharpe",
    "difference",
    "active_share",
    "turnover_year",
    "months",
)


def cell_value(axis: str, value: str, words: Words) -> str:
    """A cell's value in the page's language."""
    if value == IN_USE:
        return words("sensitivity.default")
    return words(f"sensitivity.{LAGS[value]}") if axis == "lag" and value in LAGS else value


def sensitivity(data: ReportData, words: Words) -> Sheet:
    """Every cell in the order of its axes, those of the settings in use bold; the rank of the latter in the explanation."""
    found = data.latest("sensitivity")
    rows = records(found)
    cells = [
        [
            Cell(words(f"sensitivity.{row['axis']}")),
            Cell(cell_value(str(row["axis"]), str(row["value"]), words), words("sensitivity.default") if row["is_default"] else ""),
            Cell(plain(row["sharpe"])), Cell(plain(row["baseline_sharpe"])),
            Cell(plain(row["difference"], 3), interval(Measure(None, number(row["low"]), number(row["high"]), 0), 3)),
            Cell(percent(row["active_share"])), Cell(percent(row["turnover"], 0)), Cell(count(row["months"])),
        ]
        for row in rows
    ]  # fmt: skip
    marked = frozenset(place for place, row in enumerate(rows) if row["is_default"])
    heads = [Head(words(f"head.{name}"), numeric=place > 1) for place, name in enumerate(HEADS)]
    return Sheet("sensitivity", words("table.sensitivity"), explanation(data, words), heads, cells, marked=marked)


def unvaried_axes(unvaried: Iterable[Unvaried], words: Words) -> str:
    """Why axes are not varied, or not wholly; nothing where all are."""
    return _joined((words(f"sensitivity.idle.{one.reason}", **one.values) for one in unvaried), words)


def _joined(sentences: Iterable[str], words: Words) -> str:
    return (" " if words.language == "en" else "").join(sentence for sentence in sentences if sentence)


def explanation(data: ReportData, words: Words) -> str:
    """Rank of the settings in use and spread of the differences, in words, and what was not varied."""
    where = standing(data.latest("sensitivity"))
    told = words(
        "table.sensitivity.how", cells=where.cells, rank=where.rank, positive=where.positive, significant=where.significant,
        worse=where.worse, smallest=plain(where.smallest, 3), median=plain(where.median, 3), largest=plain(where.largest, 3),
    )  # fmt: skip
    return _joined((told, unvaried_axes(data.unvaried, words)), words)
